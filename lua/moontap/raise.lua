-- SPDX-License-Identifier: BSD-2-Clause
--- An error at the line of the script that called into moontap, however deep in it the error is found.
-- @module moontap.raise

-- What `-bg` keeps of our own files' names, and what generated code is called.
local function is_own(source)
  return source:find("^@lua/moontap/") or source:find("^=moontap%.")
end

--- Raise an error.
-- @function raise
-- @tparam string text a format
-- @param ... what goes into it
return function(text, ...)
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and is_own(info.source) do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(text:format(...), level)
end
