-- SPDX-License-Identifier: BSD-2-Clause
--- Errors of a script in the use of our functions: they are laid at the script's line.
-- @module moontap.misuse

local M = {}

local function is_ours(source)
  return source:find "^@lua/moontap/" ~= nil or source:find "^=moontap%." ~= nil
end

--- Raise an error at the innermost line that is not of a module of moontap.
-- @tparam string text a format of string.format
-- @param ... what it takes
-- @raise always
function M.raise(text, ...)
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and (info.what == "C" or is_ours(info.source)) do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(text:format(...), level)
end

--- The innermost line on the stack that is not of a module of moontap.
-- @treturn ?string `./s.lua:3: `; nil: there is none
function M.script_line()
  local level = 2
  local info = debug.getinfo(level, "Sl")
  while info and (info.what == "C" or is_ours(info.source)) do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return info and ("%s:%d: "):format(info.short_src, info.currentline) or nil
end

return M
