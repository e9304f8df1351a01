-- SPDX-License-Identifier: BSD-2-Clause
--- What each hook costs and whether it runs compiled, for --profile.
--
-- Hooks that are called now and then are timed at each call.  The per-packet loop is generated
-- twice.  One copy counts calls, and its time as a whole is measured a batch at a time.  The other reads
-- a clock behind each hook and runs on one batch in 16: from it come the proportions in which the hooks
-- share the first one's time (less what the clock itself takes, which is more than many hooks), and
-- the share of calls that ended in compiled code, which mt_hook_tick sees.
-- @module moontap.profile

local ffi = require "ffi"
local C = require "moontap.abi"
local compiler = require "moontap.profile_aborts"
local list = require("moontap.list").new

local M = {}

local SAMPLE, FIRST = 16, 3 -- the timed batches; the very first one counts until there is a better one
-- Slots of struct mt_hook_times: the loop, the clock itself, writing before a rotate hook; behind them
-- three for each script.
local LOOP, CLOCK, ELSEWHERE, SCRIPTS = 0, 1, 2, 3
local PARTS = { "filter= and keep=", "on_packet", "rotate" }
local HOOKS = { "on_start", "on_batch", "on_interval", "on_segment_open", "on_segment_close", "on_block", "on_stop" }
local OUTSIDE = { on_start = true, on_stop = true } -- not on the hook thread

local clock        -- struct mt_stage_clock * of the hook thread
local scripts = {} -- by place: script, source, sums[hook] = calls, ns
local loops = {}   -- in the order of their stages
local built = 0    -- of them, by the stages that are being made
local current      -- the loop that is being timed
local inside_ns = 0 -- in hooks that are timed at each call

--- Begin.
-- @param hook_clock `struct mt_stage_clock *` as a light userdata
function M.start(hook_clock)
  clock = ffi.cast("struct mt_stage_clock *", hook_clock)
  -- C functions that a trace has to look up end it.
  assert(C.mt_hook_tick and C.mt_hook_now and C.mt_hook_stage_ns and C.mt_hook_calibrate)
  compiler.listen()
end

-- --- hooks that are timed at each call ------------------------------------------------------

local function timed(hook, sum)
  return function(a, b)
    local begun = C.mt_hook_now()
    local result = hook(a, b)
    local now = C.mt_hook_now()
    sum[0], sum[1] = sum[0] + 1, sum[1] + now - begun
    inside_ns = inside_ns + now - begun
    if current then
      current.times.last_ns = now
    end
    return result
  end
end

local function source_of(script)
  for _, name in ipairs { "on_packet", "on_batch", "rotate", "on_interval" } do
    if script.hooks[name] then
      return debug.getinfo(script.hooks[name], "S").source
    end
  end
end

--- A script was loaded: time those of its hooks that are not called for every packet.
-- @tparam table script
-- @tparam integer place in the chain
function M.add(script, place)
  scripts[place] = { script = script, source = source_of(script), sums = {} }
  for _, name in ipairs(HOOKS) do
    if script.hooks[name] then
      local sum = ffi.new "double[2]"
      scripts[place].sums[name] = sum
      script.hooks[name] = timed(script.hooks[name], sum)
    end
  end
end

-- --- the loop -------------------------------------------------------------------------------

-- The clock is read, and calls are counted, by statements of the loop itself: a function around each call
-- would be compiled on its own, and seem compiled where the loop is not.
local HEAD = [[
local T, C = require("moontap.profile").times(%d)
]]

local COUNT = "T.slot[%d].untimed = T.slot[%d].untimed + 1"
local TICK = "C.mt_hook_tick(T, %d)"

local function slot_of(place, part)
  return SCRIPTS + 3 * (place - 1) + part - 1
end

local PART_OF = { filter = 1, keep = 1, hook = 2, rotate = 3 }

-- Put a statement behind each call of a hook or filter: `if hook1(p) then` becomes
-- `called = hook1(p) STATEMENT if called then`.
local function around(text, statement)
  local function line(indent, before, name, place, arguments, after)
    local part = PART_OF[name]
    if not part then
      return nil
    end
    local slot = slot_of(place, part)
    local counted = statement:format(slot, slot)
    return ("%scalled = %s%s%s %s %scalled%s\n"):format(indent, name, place, arguments, counted, before, after)
  end
  text = text:gsub("( *)([^\n]-)%f[%w](%l+)(%d+)(%b())([^\n]*)\n", line)
  return (text:gsub("(local q = packets %+ i)\n", "%1\n    local called\n"))
end

-- Put a statement behind the line that makes the packet's handle.
local function at_packet(text, statement)
  return (text:gsub("([^\n]*p%._generation = [^\n]*)\n", "%1 " .. statement .. "\n"))
end

local function counted_text(text)
  return at_packet(around(text, COUNT), COUNT:format(LOOP, LOOP))
end

local function timed_text(text)
  text = around(text, TICK)
  text = at_packet(text, TICK:format(LOOP) .. " " .. TICK:format(CLOCK))
  -- Writing before a rotate hook: the call stands in a condition.
  return (text:gsub("if (C%.mt_flow_advance%b()) ~= 0 then",
    "called = %1 " .. TICK:format(ELSEWHERE) .. " if called ~= 0 then"))
end

--- For the text of loop k: where it counts, and the C functions.
function M.times(k)
  return loops[k].times, C
end

--- The stages are about to be made, at the start and when a script was switched off.
function M.begin_stages()
  built, current = 0, nil
  for _, loop in ipairs(loops) do
    loop.run = nil
  end
end

--- Make the two copies of a stage's loop: stage.run and stage.timed.
-- @tparam table stage
-- @tparam string text of the loop
-- @tparam function make turns text into the loop
function M.add_loop(stage, text, make)
  built = built + 1
  local loop = loops[built]
  if not loop then
    local n = SCRIPTS + 3 * #scripts
    -- A flexible array member is no room for LuaJIT: ffi.new would make the head alone.
    local memory = ffi.new("uint8_t[?]", ffi.sizeof "struct mt_hook_times" + n * ffi.sizeof "struct mt_hook_slot")
    loop = { times = ffi.cast("struct mt_hook_times *", memory), memory = memory, n_slots = n, runs = 0, plain_ns = 0 }
    loops[built] = loop
  end
  stage.run = make(HEAD:format(built) .. counted_text(text))
  stage.timed = make(HEAD:format(built) .. timed_text(text))
  stage.loop, loop.run = loop, stage.run
end

local function forget_times(loop)
  for i = 0, loop.n_slots - 1 do
    local slot = loop.times.slot[i]
    slot.ns[0], slot.ns[1], slot.n[0], slot.n[1], slot.left = 0, 0, 0, 0, 0
    slot.least[0], slot.least[1] = 0, 0
  end
end

--- A stage is about to run.
-- @tparam table stage
-- @treturn function the copy to run
function M.enter(stage)
  local loop = stage.loop
  if not loop then
    return stage.run
  end
  local timing = loop.runs == 0 or loop.runs % SAMPLE == FIRST
  if loop.runs == FIRST then
    forget_times(loop)
  end
  loop.runs = loop.runs + 1
  current = timing and loop or nil
  if timing then
    C.mt_hook_calibrate(loop.times)
  end
  loop.inside_ns, loop.begun_ns = inside_ns, C.mt_hook_stage_ns(clock)
  return timing and stage.timed or stage.run
end

--- A stage has run, or failed.
-- @tparam table stage
function M.leave(stage)
  local loop = stage.loop
  if loop and not current then
    loop.plain_ns = loop.plain_ns + C.mt_hook_stage_ns(clock) - loop.begun_ns - (inside_ns - loop.inside_ns)
  end
  current = nil
end

jit.off(M.enter) -- mt_hook_calibrate wants to be called by the interpreter
jit.off(M.leave)

-- --- the report -----------------------------------------------------------------------------

-- Nanoseconds of a slot without those that reading the clock takes, and how often it was timed.  What the clock takes
-- is the shortest time seen: on a busy machine the mean says how often the thread had to wait.
local function net(loop, i)
  local slot, empty = loop.times.slot[i], loop.times.slot[CLOCK]
  local ns, n = 0, 0
  for mode = 0, 1 do
    ns = ns + math.max(0, tonumber(slot.ns[mode]) - tonumber(empty.least[mode]) * tonumber(slot.n[mode]))
    n = n + tonumber(slot.n[mode])
  end
  return ns, n
end

-- The first thing in a script's file that was not compiled.
local function reason_in(source, aborts)
  for _, abort in ipairs(aborts) do
    if abort.source == source then
      return (": see %s"):format(abort.place)
    end
  end
end

-- Share of the calls of a hook that ran compiled, and words for it.  A loop that is compiled takes its hooks along,
-- and mt_hook_tick has seen who left it on the way; else a hook may be compiled on its own.
local function how(loop, i, hook, source, aborts)
  local slot = loop.times.slot[i]
  local n = tonumber(slot.n[0] + slot.n[1])
  if n == 0 then
    return nil
  end
  local share = tonumber(slot.n[1]) / n
  if not loop.run or compiler.state_of_loop(loop.run) ~= "compiled" then
    share = compiler.state_of(hook, 0) == "compiled" and 1 or 0
  end
  if share >= 0.95 then
    return share, "compiled"
  end
  local why = reason_in(source, aborts)
  if not why and aborts[1] and tonumber(slot.left) < 0.02 * n then
    why = (": not its own fault, see %s"):format(aborts[1].place)
  end
  local words = share < 0.05 and "interpreted" or ("compiled in %.0f %% of the calls"):format(100 * share)
  return share, words .. (why or "")
end

-- Rows for the parts of a loop.
local function add_loop_rows(rows, loop, aborts)
  local sum = 0
  for i = 0, loop.n_slots - 1 do
    sum = sum + (i ~= CLOCK and i ~= ELSEWHERE and net(loop, i) or 0)
  end
  local function add(script, hook, i, source, func)
    local slot = loop.times.slot[i]
    local ns, n = net(loop, i)
    local calls = slot.untimed + slot.timed
    local each
    if n > 0 and slot.untimed > 0 and sum > 0 then
      each = loop.plain_ns * (ns / sum) / slot.untimed
    elseif n > 0 then
      each = ns / n
    end
    if calls > 0 then
      local share, words
      if source then
        share, words = how(loop, i, func, source, aborts)
      end
      rows[#rows + 1] = { script = script, hook = hook, calls = calls, ns_per_call = each,
        seconds = each and each * calls / 1e9, compiled = share, how = words, timed_calls = n }
    end
  end
  for place, known in ipairs(scripts) do
    for part, name in ipairs(PARTS) do
      add(known.script.label, name, slot_of(place, part), part > 1 and known.source, known.script.hooks[name])
    end
  end
  add("moontap", "the loop around the hooks", LOOP)
end

local function add_call_rows(rows)
  for _, known in ipairs(scripts) do
    for _, name in ipairs(HOOKS) do
      local sum = known.sums[name]
      if sum and sum[0] > 0 then
        rows[#rows + 1] = { script = known.script.label, hook = name, calls = sum[0], ns_per_call = sum[1] / sum[0],
          seconds = sum[1] / 1e9, outside = OUTSIDE[name] }
      end
    end
  end
end

--- The end.
function M.stop()
  compiler.ignore()
end

--- What is known so far.
-- @tparam number hook_seconds how long the hook thread has run
-- @treturn table hooks, aborts, stitches (lists), retries, traces, flushes, compiler
function M.report(hook_seconds)
  local aborts, retries = compiler.found "abort"
  local rows = {}
  for _, loop in ipairs(loops) do
    add_loop_rows(rows, loop, aborts)
  end
  add_call_rows(rows)
  for _, row in ipairs(rows) do
    if row.seconds and not row.outside and hook_seconds > 0 then
      row.share = row.seconds / hook_seconds
    end
    row.outside = nil
  end
  local function shown(found)
    local result = {}
    for i, entry in ipairs(found) do
      result[i] = { place = entry.place, reason = entry.reason, times = entry.times, blacklisted = entry.blacklisted,
        code = entry.code, ours = entry.ours }
    end
    return list(result)
  end
  local totals = compiler.totals()
  return { hooks = list(rows), aborts = shown(aborts), stitches = shown((compiler.found "stitch")), retries = retries,
    traces = totals.traces, flushes = totals.flushes, compiler = (jit.status()) }
end

return M
