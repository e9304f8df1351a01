-- SPDX-License-Identifier: BSD-2-Clause
--- What LuaJIT's compiler gave up, where in a script and why, in plain words.
--
-- Listens to the compiler's own events: a trace is begun, kept, or given up.  Does not need
-- LuaJIT's Lua files (jit.vmdef), which are often not installed beside the library: the numbers are those
-- of LuaJIT 2.1.
-- @module moontap.profile_aborts

local bit = require "bit"
local ffi = require "ffi"
local jutil = require "jit.util"

local M = {}

local MAX_PLACES = 200
local FORL_TO_FUNCF = 10 -- in LuaJIT's list of instructions: FORL ITERL LOOP JMP FUNCF FUNCV, three of each but JMP

-- Instructions that are not compiled, as differences to FORL, which M.forl is.
local INSTRUCTIONS = {
  [-29] = "makes a closure that is closed in a loop", -- UCLO
  [-28] = "makes a function (a closure)",             -- FNEW
  [-16] = "puts a variable number of values into a table", -- TSETM
  [-8] = "takes apart `...` of unknown length",       -- VARG
}

-- %s: the function or instruction.
local REASONS = {
  [0] = "an error was raised while it was compiled",
  [1] = "too little to compile",
  [2] = "too long a path for one piece of machine code: do less in the hook, or do part of it for fewer packets",
  [3] = "calls nested too deep",
  [4] = "too many branches on one path: make the hook simpler",
  [5] = "runs into code that was given up before",
  [6] = "tried again",
  [7] = "%s, which LuaJIT can not compile: move it out of the per-packet hook, e.g. into on_start or on_interval",
  [8] = "a loop ended before it was compiled",
  [9] = "has a loop of its own inside",
  [10] = "a loop with too few or too many turns to unroll",
  [11] = "passes a value of the wrong type to a library function",
  [12] = "calls %s, for which compiling is switched off",
  [13] = "recursion, or too many calls, to unroll",
  [14] = "recursion",
  [15] = "calls %s in a way that LuaJIT can not compile: move it out of the per-packet hook, e.g. into on_interval",
  [16] = "returned to its caller while it was compiled",
  [17] = "stores nil or NaN as a key of a table",
  [18] = "does arithmetic or the like on a value that has no metamethod for it",
  [19] = "an __index chain that leads back to itself",
  [20] = "a table that is array and hash at once in a way LuaJIT can not compile",
  [21] = "a C symbol that was used for the first time",
  [22] = "a conversion between C types that LuaJIT can not compile",
  [23] = "calls a C function of a type that LuaJIT can not compile (variadic, or structs by value)",
  [24] = "a condition that would always fail",
  [25] = "too many values change from packet to packet: make the hook simpler",
  [26] = "a variable that changes its type from packet to packet",
  [27] = "no memory for machine code could be had",
  [28] = "too much machine code",
  [29] = "ran into the end of the memory for machine code, tried again",
  [30] = "too many values at once: make the hook simpler",
  [31] = "an inner error of LuaJIT (registers)",
  [32] = "an operation that LuaJIT has no machine code for on this processor",
  [33] = "values that change places in a way LuaJIT can not compile: make the hook simpler",
  [34] = "too many values at once: make the hook simpler",
}

-- Part of compiling anything: another attempt, from another place, follows.
local HARMLESS = { [0] = true, [1] = true, [5] = true, [6] = true, [8] = true, [9] = true, [10] = true, [13] = true,
  [14] = true, [16] = true, [21] = true, [24] = true, [29] = true }

M.reasons, M.harmless = REASONS, HARMLESS

local places = {}  -- by key, and in order
local n_places, unlisted = 0, 0
local begun = setmetatable({}, { __mode = "v" }) -- where the trace in hand begins
local totals = { traces = 0, flushes = 0 }
local library      -- sources that begin so are ours
local names = {}   -- of library functions

-- --- states of code ------------------------------------------------------------------------

local function opcode(func, pc)
  local ins = jutil.funcbc(func, pc)
  return ins and bit.band(ins, 0xff)
end

-- FORL is the last instruction but one of a function that is only a loop; nil in a LuaJIT that orders
-- its instructions in another way.
local function find_forl()
  local function probe() for _ = 1, 0 do end end -- luacheck: ignore
  local pc, last, before = 1, nil, nil
  while opcode(probe, pc) do
    before, last = last, opcode(probe, pc)
    pc = pc + 1
  end
  return last and before and opcode(probe, 0) == before + FORL_TO_FUNCF and before or nil
end

M.forl = find_forl()

--- Was this place given up for good, or is it compiled?  LuaJIT patches the instruction there.
-- @tparam function func
-- @tparam integer pc the head of the function (0) or the end of a loop
-- @treturn ?string "blacklisted" or "compiled"
function M.state_of(func, pc)
  local op = M.forl and opcode(func, pc)
  local kind = op and op - M.forl
  if not kind or kind < 0 or kind == 9 or kind > FORL_TO_FUNCF + 5 then
    return nil
  end
  local variant = (kind > 9 and kind - FORL_TO_FUNCF or kind) % 3
  return variant == 1 and "blacklisted" or variant == 2 and "compiled" or nil
end

--- The state of the outermost loop of a function, its last one.
-- @tparam function func
-- @treturn ?string
function M.state_of_loop(func)
  local state
  local pc = 1
  while opcode(func, pc) do
    state = M.state_of(func, pc) or state
    pc = pc + 1
  end
  return state
end

-- --- names ---------------------------------------------------------------------------------

local function learn_names()
  local function from(prefix, t)
    for name, value in pairs(t) do
      if type(value) == "function" then
        names[value] = names[value] or prefix .. tostring(name)
      end
    end
  end
  from("", _G)
  for _, name in ipairs { "string", "table", "math", "io", "os", "debug", "coroutine", "bit", "jit", "package" } do
    from(name .. ".", _G[name])
  end
  from("ffi.", ffi)
  from("file:", getmetatable(io.stdout).__index)
end

local function name_of(func)
  if type(func) ~= "function" then
    return "a C function"
  end
  local info = debug.getinfo(func, "S")
  return names[func] or (info.what == "C" and "a C function")
    or ("the function at %s:%d"):format(info.short_src, info.linedefined)
end

local function is_ours(source)
  return source == "=moontap.loop" or source:sub(1, #library) == library
end

-- The script's line that the compiler was at: the first frame from the top that is not ours.  Then the
-- name of the library function it was in, or nil.  Nothing: no script is involved.
local function script_line()
  local inside
  for level = 4, 60 do -- above: getinfo's caller, note, the listener
    local frame = debug.getinfo(level, "Sl")
    if not frame or frame.source == "=moontap.loop" then
      return nil, nil, inside
    elseif frame.what ~= "C" and not is_ours(frame.source) then
      return frame.source, ("%s:%d"):format(frame.short_src, frame.currentline), inside
    elseif frame.what ~= "C" then
      inside = inside or ("%s:%d"):format(frame.short_src, frame.currentline)
    end
  end
end

-- --- listening -----------------------------------------------------------------------------

local function reason_of(code, info)
  local text = REASONS[code] or ("LuaJIT's reason number %s"):format(tostring(code))
  if code == 7 then
    local known = M.forl and INSTRUCTIONS[info - M.forl]
    return text:format(known or "an instruction of the language")
  elseif text:find("%s", 1, true) then
    return text:format(name_of(info))
  end
  return text
end

-- Count one more event of a kind ("abort" or "stitch") where the running script is.
local function note(kind, code, info)
  local source, place, inside = script_line()
  local key = ("%s %s %s %s %s"):format(kind, place or inside or "", source or "", tostring(code), tostring(info))
  local entry = places[key]
  if not entry and n_places >= MAX_PLACES then
    unlisted = unlisted + 1
    return nil
  elseif not entry then
    entry = { kind = kind, place = place or inside or "the loop over packets", source = source, ours = not place,
      code = code, times = 0, starts = {} }
    entry.reason = kind == "abort" and reason_of(code, info)
      or ("calls %s, which LuaJIT can not compile: it leaves compiled code there and comes back behind it; "
        .. "move it out of the per-packet hook if it counts"):format(name_of(info))
    if place and inside then
      entry.reason = ("%s (in %s)"):format(entry.reason, inside)
    end
    n_places = n_places + 1
    places[key], places[n_places] = entry, entry
  end
  entry.times = entry.times + 1
  return entry
end

local function add_start(entry)
  for _, start in ipairs(entry.starts) do
    if start.func == begun.func and start.pc == begun.pc then
      return
    end
  end
  if #entry.starts < 32 then
    entry.starts[#entry.starts + 1] = setmetatable({ func = begun.func, pc = begun.pc }, { __mode = "v" })
  end
end

local function listener(what, trace, func, pc, code, info)
  if what == "start" then
    begun.func, begun.pc, begun.root = func, pc, not code
  elseif what == "abort" then
    local entry = note("abort", code, info)
    if entry and begun.root and begun.func then
      add_start(entry)
    end
  elseif what == "stop" then
    totals.traces = totals.traces + 1
    local made = jutil.traceinfo(trace)
    if made and made.linktype == "stitch" then
      note("stitch", 0, func)
    end
  elseif what == "flush" then
    totals.flushes = totals.flushes + 1
  end
end

-- What the compiler does while it is told about the compiler is of no interest.
for _, f in ipairs { listener, note, add_start, script_line, reason_of, name_of } do
  jit.off(f)
end

--- Listen from now on.
function M.listen()
  library = debug.getinfo(1, "S").source:match "^(.*/)" or "@lua/moontap/"
  learn_names()
  jit.attach(listener, "trace")
end

--- Listen no longer.
function M.ignore()
  jit.attach(listener)
end

--- Has anything of this kind been listed?  The entries that a user should know of, most frequent first.
-- @tparam string kind "abort" or "stitch"
-- @treturn table of place, reason, times, blacklisted, source, code
-- @treturn integer how many further attempts were part of compiling anything
function M.found(kind)
  local result, harmless = {}, kind == "abort" and unlisted or 0
  for i = 1, n_places do
    local entry = places[i]
    entry.blacklisted = false
    for _, start in ipairs(entry.starts) do
      if start.func and M.state_of(start.func, start.pc) == "blacklisted" then
        entry.blacklisted = true
      end
    end
    if entry.kind == "stitch" and entry.ours then
      entry = {} -- between batches, where it costs nothing
    end
    local telling = kind == "stitch" or not HARMLESS[entry.code] or (entry.blacklisted and entry.code ~= 5)
    if entry.kind == kind and telling then
      result[#result + 1] = entry
    elseif entry.kind == kind then
      harmless = harmless + entry.times
    end
  end
  table.sort(result, function(a, b)
    if a.times ~= b.times then
      return a.times > b.times
    end
    return a.place < b.place
  end)
  return result, harmless
end

--- How many traces were compiled, and how often all of them were thrown away.
function M.totals()
  return totals
end

return M
