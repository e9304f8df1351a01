-- SPDX-License-Identifier: BSD-2-Clause
--- One line of a prompt: compiled, run under a watch, its results as text.
--
-- What runs here is interpreted, and every few thousand instructions somebody looks whether it shall end: because
-- the user said so, or because nothing has moved for too long.  An end can not be caught by pcall.
-- @module moontap.repl.eval

local C = require "moontap.abi"
local failure = require "moontap.failure"
local show = require "moontap.repl.show"

local M = {}

local LOOK = 5000 -- instructions between two looks

local Stop = { __tostring = function(stop) return stop.message end }

local Evaluator = {}
Evaluator.__index = Evaluator

local function is_stop(why)
  return getmetatable(why) == Stop
end

-- pcall, xpcall and coroutine.resume of what is typed: an end goes through them.
local function passing(call)
  local function pass(ok, why, ...)
    if not ok and is_stop(why) then
      error(why, 0)
    end
    return ok, why, ...
  end
  return function(...)
    return pass(call(...))
  end
end

local raw_pcall, raw_xpcall = pcall, xpcall

-- A handler does not get to see it either.
local function xpcall_around(handler)
  return function(why)
    return is_stop(why) and why or handler(why)
  end
end

local function guard_globals()
  local passing_xpcall = passing(xpcall)
  pcall = passing(pcall) -- luacheck: ignore 121
  xpcall = function(f, handler, ...) -- luacheck: ignore 121
    return passing_xpcall(f, xpcall_around(handler), ...)
  end
  coroutine.resume = passing(coroutine.resume) -- luacheck: ignore 122
  local resume = coroutine.resume
  coroutine.wrap = function(f) -- luacheck: ignore 122
    local co = coroutine.create(f)
    return function(...)
      local function results(ok, ...)
        if not ok then
          error((...), 0)
        end
        return ...
      end
      return results(resume(co, ...))
    end
  end
end

--- An evaluator.  The compiler is off in this Lua state from now on.
-- @tparam table options
--
-- - env: table in which names are looked up and set
-- - interrupted: function, true once after the user asked for the end of what runs
-- - budget: seconds that a command may go on without `progress`; nil: for ever
-- - display: optional function from a value to text, or nil for the usual one
-- @treturn evaluator
function M.new(options)
  jit.off()
  jit.flush()
  if not M.guarded then
    M.guarded = true
    guard_globals()
  end
  return setmetatable({ env = options.env, interrupted = options.interrupted, budget = options.budget,
    display = options.display, line = 0 }, Evaluator)
end

--- Something has moved: the budget begins anew.
function Evaluator:progress()
  self.since = C.mt_hook_now()
end

local function pack(...)
  return { n = select("#", ...), ... }
end

-- Raise if what runs shall end.
local function look(self)
  if self.interrupted and self.interrupted() then
    self.stop = setmetatable({ message = "interrupted", interrupted = true }, Stop)
  elseif self.budget and C.mt_hook_now() - self.since > self.budget * 1e9 then
    self.stop = setmetatable({ message = ("stopped: it went on for %g s without a result"):format(self.budget) }, Stop)
  end
  if self.stop then
    error(self.stop, 0)
  end
end

--- The same, for functions that wait in C.
-- @raise if what runs shall end
function Evaluator:look()
  if self.stop or not self.running then
    return
  end
  look(self)
end

--- Call f without the watch, so that it can be compiled; it has to look itself.
-- @tparam function f
-- @return its results
function Evaluator:unwatched(f)
  debug.sethook()
  local results = pack(raw_pcall(f))
  debug.sethook(function() look(self) end, "", LOOK)
  if not results[1] then
    error(results[2], 0)
  end
  return unpack(results, 2, results.n)
end

--- Call f until it returns or the user asks for its end, which then is no error.
-- @tparam function f
function Evaluator:until_interrupted(f)
  local ok, why = raw_pcall(f)
  if not ok then
    if not (is_stop(why) and why.interrupted) then
      error(why, 0)
    end
    self.stop = nil
  end
end

-- More lines belong to it: the compiler has stopped at the end of the text.
local function incomplete(why)
  return why:find "near '<eof>'$" ~= nil
end

-- The text as a function; an expression gives its value.  nil, what is wrong, and whether more may mend that.
local function compile(text, line)
  local shift = ("\n"):rep(line - 1) -- messages have the number of the line in the session
  local chunk, why = loadstring(shift .. "return " .. text .. "\n", "=line")
  if chunk then
    return chunk
  end
  local statement, why_not = loadstring(shift .. text .. "\n", "=line")
  if statement then
    return statement
  end
  return nil, why_not, incomplete(why) or incomplete(why_not)
end

-- Several values in a line, unless one of them takes lines of its own.
function Evaluator:text_of(values)
  local parts, separator = {}, "\t"
  for i = 1, values.n do
    parts[i] = self.display and self.display(values[i]) or show.value(values[i])
    if parts[i]:find "\n" then
      separator = "\n"
    end
  end
  return table.concat(parts, separator)
end

-- What was raised as text. A place in our own code would mislead; the line of the session says more.
local function message_of(self, why)
  if is_stop(why) then
    return why.message
  end
  local text = type(why) == "table" and why.message or tostring(why) -- memory ran out: past the handler
  local ours
  text, ours = text:gsub("^lua/moontap/[%w_/]+%.lua:%d+: ", "")
  if ours > 0 or not text:find "^[^%s:]+:%d+: " then
    text = ("line:%d: %s"):format(self.line, text)
  end
  return text
end

-- Call f under the watch.
function Evaluator:watched(f)
  self:progress()
  self.stop, self.running = nil, true
  debug.sethook(function() look(self) end, "", LOOK)
  local results = pack(raw_xpcall(f, xpcall_around(failure.on_raise)))
  debug.sethook()
  self.running = false
  return results
end

--- Run a text: an expression or statements, one line or several.
-- @tparam string text
-- @treturn table `ok`; `text`, the results or the message; `values`, with n; `incomplete`: the text goes on in
-- another line; `exit`: the end was asked for
function Evaluator:run(text)
  local first = self.line + 1
  local chunk, why, more = compile(text, first)
  if not chunk then
    if not more then
      self.line = self.line + select(2, text:gsub("\n", "")) + 1
    end
    return { ok = false, text = why, incomplete = more }
  end
  self.line = self.line + select(2, text:gsub("\n", "")) + 1
  setfenv(chunk, self.env)
  local shown
  local results = self:watched(function()
    local values = pack(chunk())
    shown = self:text_of(values) -- a value's own __tostring may run away, too
    return unpack(values, 1, values.n)
  end)
  if not results[1] then
    if results[2] == failure.EXIT then
      return { ok = true, text = "", exit = true }
    end
    return { ok = false, text = message_of(self, results[2]), interrupted = is_stop(results[2]) and
      results[2].interrupted or nil }
  end
  local values = pack(unpack(results, 2, results.n))
  return { ok = true, text = values.n > 0 and shown or "", values = values }
end

--- Call a function with arguments under the watch, as if it had been typed.
-- @tparam function f
-- @param ... its arguments
-- @treturn boolean whether it came to its end
-- @return its results, or the message
function Evaluator:call(f, ...)
  local arguments = pack(...)
  local results = self:watched(function() return f(unpack(arguments, 1, arguments.n)) end)
  if not results[1] then
    return false, message_of(self, results[2])
  end
  return unpack(results, 1, results.n)
end

-- For what must go on after errors of what was typed.
M.pcall = raw_pcall

return M
