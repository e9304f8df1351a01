-- SPDX-License-Identifier: BSD-2-Clause
--- The prompt beside a stream of its own: what its lines see, and what is printed.
--
--   line -> rewrite -> eval, under a watch -> text
--
-- C (prompt.c) reads the lines; what they move is in stream.lua, the commands in walk.lua, trial.lua and numbers.lua.
-- @module moontap.repl.prompt

local ffi = require "ffi"
local packet = require "moontap.packet"
local eval = require "moontap.repl.eval"
local help = require "moontap.repl.help"
local show = require "moontap.repl.show"
local streams = require "moontap.repl.stream"
local suggest = require "moontap.suggest"
local tree = require "moontap.repl.tree"

local M = {}

local parts = { require "moontap.repl.walk", require "moontap.repl.trial", require "moontap.repl.numbers", help }

local BUDGET = 10 -- seconds that a command may go on without moving
local BESIDE_BUDGET = 5 -- … beside a capture
local PATIENCE = 10 -- seconds that a command waits there for a packet

local commands = {}
local evaluator, stream
local last -- values of the last line, with n
local env = {} -- what is set at the prompt

-- --- names --------------------------------------------------------------------------------------

-- What a misspelt name may have meant.
local function known_names()
  local known = { p = true, moontap = true }
  for name in pairs(commands) do
    known[name] = true
  end
  for name in pairs(env) do
    known[name] = true
  end
  for name in pairs(_G) do
    known[name] = true
  end
  return known
end

local function lookup(_, name)
  if name == "p" then
    local p, why = stream:current()
    if not p then
      error(why, 2)
    end
    return p
  end
  local value = commands[name]
  if value == nil then
    value = _G[name]
  end
  if value == nil then
    local hint = packet.fields[name] and (": did you mean p.%s?"):format(name)
      or suggest.suffix(tostring(name), known_names())
    if hint ~= "" then
      error(("'%s' is not set%s"):format(tostring(name), hint), 2)
    end
  end
  return value
end

local function assign(t, name, value)
  if name == "p" then
    error("p is the current packet and can not be set", 2)
  end
  rawset(t, name, value)
end

-- --- lines --------------------------------------------------------------------------------------

-- Commands that ask something of each packet. Where their only argument is an expression in p, its value for the
-- current packet can not be meant.
local OF_EACH = { find = true, find_all = true, run = true, break_on = true, histogram = true }

local function compiles(text)
  return loadstring("return " .. text) ~= nil
end

-- (p.dport == 53) as (function(p) return p.dport == 53 end); nil: it is no expression in p.
local function as_function(argument)
  local inner = argument:sub(2, -2)
  if not inner:find "%f[%w_]p%f[^%w_]" or inner:find "^%s*function%f[^%w_]" or inner:find "^%s*[\"'%[]" then
    return nil
  end
  local changed = ("(function(p) return %s end)"):format(inner)
  return compiles(changed) and changed or nil
end

-- find(p.dport == 53) as find(function(p) return p.dport == 53 end), and histogram(p.ttl) also inside of plot().
local function rewrite(text)
  local head, name, argument, rest = text:match "^(%s*([%a_]+)%s*)(%b())(.*)$"
  if name and OF_EACH[name] and rest:find "^%s*$" then
    return head .. (as_function(argument) or argument) .. rest
  end
  return (text:gsub("(%f[%w_]histogram%s*)(%b())", function(before, of)
    return before .. (as_function(of) or of)
  end))
end

-- A name alone that is a function: what it is.
local function display(value)
  if type(value) == "function" then
    for name, command in pairs(commands) do
      if command == value then
        return help.line(name)
      end
    end
  end
  return show.value(value)
end

-- After what was stopped or has failed in the middle: back to where it began.
local function restore()
  local at = evaluator.restore
  evaluator.restore = nil
  if at then
    evaluator:call(function() stream:restore(at) end)
  end
end

local WORDS = { quit = true, exit = true }

local function run_line(text)
  last = nil
  if WORDS[text:match "^%s*(%a+)%s*%(?%s*%)?%s*$"] then
    return "exit", ""
  elseif text:find "^%s*$" then
    evaluator.line = evaluator.line + 1
    return "done", ""
  end
  local result = evaluator:run(rewrite(text))
  if result.incomplete then
    return "more", result.text
  end
  if not result.ok then
    restore()
  end
  evaluator.restore = nil
  if result.exit then
    return "exit", ""
  end
  last = result.values
  return result.ok and "done" or result.interrupted and "interrupted" or "error", result.text
end

--- Run a line, with those before it that it completes.
-- @tparam string text
-- @treturn string `"done"`, `"error"`, `"interrupted"`, `"more"` (the text goes on in the next line), or `"exit"`
-- @treturn string what is to be printed, without a newline at its end
function M.line(text)
  local ok, how, answer = eval.pcall(run_line, text)
  if not ok then -- memory ran out, and it was noticed late
    return "error", (tostring(how):gsub("^lua/moontap/[%w_/]+%.lua:%d+: ", ""))
  end
  return how, answer
end

local MOST = 10000 -- tables, entries and texts in a value

-- A value as tables, numbers, texts and booleans, `left` of them at most.
local function plain(value, left, depth)
  left.n = left.n - 1
  if left.n < 0 or depth > 20 then
    error("too much", 0)
  end
  if show.is_text(value) then
    return plain(rawget(value, "value"), left, depth + 1)
  elseif type(value) == "cdata" and (ffi.istype(packet.handle, value) or ffi.istype(packet.copy_type, value)) then
    local fields = {}
    for _, field in ipairs(packet.field_docs) do
      local ok, of = eval.pcall(function() return value[field.name] end)
      if ok and of ~= nil and not field.name:find "_key$" then -- keys are bytes, no text
        fields[field.name] = plain(of, left, depth + 1)
      end
    end
    return fields
  elseif type(value) == "table" and not (getmetatable(value) or {}).__tostring then
    local copy = setmetatable({}, getmetatable(value))
    for key, of in next, value do
      copy[key] = plain(of, left, depth + 1)
    end
    return copy
  elseif type(value) == "table" and show.is_list(value) then
    local copy = {}
    for i, of in ipairs(value) do
      copy[i] = plain(of, left, depth + 1)
    end
    return require("moontap.list").new(copy)
  elseif type(value) == "function" or type(value) == "userdata" then
    return nil
  elseif type(value) == "cdata" and (ffi.istype("int64_t", value) or ffi.istype("uint64_t", value)) then
    return value
  elseif type(value) == "cdata" or type(value) == "table" then
    return tostring(value)
  end
  return value
end

--- The first value of the last line, for JSON.
-- @return nil: there is none, or it is too large
function M.value()
  local value = last and last[1]
  last = nil
  local ok, copy = eval.pcall(plain, value, { n = MOST }, 1)
  return ok and copy or nil
end

--- Names that a text may be meant to end with.
-- @tparam string text up to where the cursor is
-- @treturn {string,...} what could stand in place of the last word
-- @treturn integer length of the last word
function M.complete(text)
  local ok, names, length = eval.pcall(require("moontap.repl.complete").names, text, {
    env = env, commands = commands, stream = stream,
  })
  if not ok then
    return {}, 0
  end
  return names, length
end

--- Begin.
-- @param stepper `struct mt_stepper *` as a light userdata
-- @tparam table options report (function, gives totals and sources), interrupted (function), live, outputs (names to
-- verdicts), clock (light userdata); beside a capture ask and manifests
-- @tparam table chain moontap.repl.chain
function M.begin(stepper, options, chain)
  evaluator = eval.new { env = setmetatable(env, { __index = lookup, __newindex = assign }),
    budget = options.ask and BESIDE_BUDGET or BUDGET,
    interrupted = options.interrupted, display = display }
  evaluator.live = options.live
  show.colours = options.colours
  local handle = ffi.cast("struct mt_stepper *", stepper)
  stream = streams.new(handle, evaluator, options.ask and PATIENCE or nil)
  local context = { stepper = handle, stream = stream, watch = evaluator, chain = chain, report = options.report,
    outputs = options.outputs, clock = options.clock, commands = commands, ask = options.ask,
    manifests = options.manifests }
  if options.ask then
    parts[#parts + 1] = require "moontap.repl.beside"
  end
  for _, part in ipairs(parts) do
    part.attach(context)
    for name, command in pairs(part.commands) do
      commands[name] = command
    end
  end
  show.register(packet.handle, tree.text)
  show.register(packet.copy_type, tree.text)
  packet.methods.hexdump = tree.hexdump
end

return M
