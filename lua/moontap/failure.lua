-- SPDX-License-Identifier: BSD-2-Clause
--- What scripts and commands raise, as something that can be told: message, place, traceback.
-- @module moontap.failure

local loader = require "moontap.loader"
local misuse = require "moontap.misuse"

local M = {}

--- Raised by os.exit.
M.EXIT = {}

--- Raised by the allocator of script.c: over the limit, but there is still some to deal with it.
M.OUT_OF_MEMORY = "not enough memory$"

-- What Lua says where a function of ours is given something else than it takes: mostly a dot instead of a colon.
local WRONG_CALL = { "^attempt to ", "^bad argument ", "^cannot convert ", "has no field '_", "has no member named" }
local HINT = "wrong use of a moontap function (methods are called with a colon, as in t:add(p)): %s, in %s"

-- An error that was raised in a line of ours is laid at the line of the script that has called.  Runs in the handler
-- of xpcall, where the stack still stands.
local function at_script(text)
  local place, what = text:match "^(lua/moontap/[^:]+:%d+): (.*)$"
  if not place then
    place, what = text:match "^(moontap%.%l+:%d+): (.*)$"
  end
  local line = place and misuse.script_line()
  if not line then
    return text
  end
  for _, pattern in ipairs(WRONG_CALL) do
    if what:find(pattern) then
      return line .. HINT:format((what:gsub("(has no field '_[^']*').*", "%1")), place)
    end
  end
  return line .. what
end

local function message_of(why)
  return type(why) == "table" and why.message and tostring(why.message)
end

-- What was raised as text; it may be an object whose metamethods fail.
local function text_of(why)
  local ok, text = pcall(tostring, why)
  return ok and text or ("a %s that can not be shown: %s"):format(type(why), tostring(text))
end

--- What was raised, for a message: the handler of xpcall.
-- @param why whatever was raised
-- @treturn table message, traceback (the part of it that is the script's), out_of_memory; or M.EXIT
function M.on_raise(why)
  if why == M.EXIT then
    return M.EXIT
  end
  if type(why) == "string" and why:find(M.OUT_OF_MEMORY) then
    why = why:gsub("^moontap%.loop:%d+: ", "") -- a compiled hook came back to the loop before it was caught
    return { message = why .. " (--script-memory)", traceback = "", out_of_memory = true }
  end
  local ok, message = pcall(message_of, why)
  if ok and message then
    return { message = message, traceback = "" }
  end
  return { message = at_script(text_of(why)), traceback = loader.trim_traceback(debug.traceback("", 2)) }
end

return M
