-- SPDX-License-Identifier: BSD-2-Clause
--- The loop over a batch that calls the hooks, generated as source text for a chain of scripts.
--
-- One loop calls the per-packet hooks of neighbouring scripts in order, so LuaJIT compiles
-- loop and hooks into one trace.  It is loaded afresh for every chain: a prototype that was
-- once given up by the compiler stays slow for good.  A script with on_batch is a stage
-- of its own; stages run one after the other over the whole range.
--
-- Before each hook the loop stores packet, script and phase in the shared state, so whoever
-- catches an error knows where to go on.
-- @module moontap.driver

local ffi = require "ffi"
local bit = require "bit"
local C = require "moontap.abi"
local ageing = require "moontap.ageing"
local packet = require "moontap.packet"

local M = {}

-- Pieces of the loop.  K is the script's place in the chain.

local HEAD = [[
local st, flow, C, slots, band, bor, tobit, route, intervals, scripts, due, segment = ...
]]

local LOOP = [[
return function(from, to, hooks_done, rotate_done)
  local batch = st.batch
  local packets, decoded = batch.packets, batch.decode
  hooks_done, rotate_done = tobit(hooks_done), tobit(rotate_done) -- integers, as i is
  for i = from, to - 1 do
    if st.stop ~= 0 then -- the packet before was the last
      st.index = i
      st.action = 3
      return
    end
    local q = packets + i
]]

-- The clock goes by every packet between --from and --to, also by those that nobody sees.
local INTERVALS = [[
    if i ~= hooks_done and TIME >= due[0] and q.verdict ~= 251 and band(q.flags, 32) == 0 then
      st.index = i
      st.phase = 0
      intervals(TIME)
    end
]]

-- And by the times that were read: a script of an earlier stage may have set others (flag 128).
local TIME_READ = [[
    local ts_ns = q.ts_ns
    if q.flags > 127 then ts_ns = C.mt_edit_time(batch, i) end
]]

local HOOKS = [[
    if q.verdict < 250 then
      st.index = i
      if i ~= hooks_done then
        local generation = st.generation + 1
        st.generation = generation
        st.phase = 1
        local p = slots + band(generation, MASK)
        p._packet, p._decoded = q, decoded + i
        p._generation = generation
]]

local KEEP = [[
        if not keepK(q) then q.verdict = 255 goto next end
]]

local CALL = [[
        st.script = K
        do
          local v = hookK(p)
          if v == false then
            q.verdict = 255
            goto next
          elseif v ~= nil and v ~= true then
            q.verdict = route(v)
          end
        end
]]

local EXPRESSION = [[
        st.script = K
        if not hookK(p) then q.verdict = 255 goto next end
]]

-- A script that was switched off: its rule speaks for every packet it would have seen.
local BYPASS_KEEP = [[
        q.flags = bor(q.flags, 8)
]]
local BYPASS_DROP = [[
        q.verdict = 254
        goto next
]]

local ROTATE_HEAD = [[
      if i ~= rotate_done then
        st.phase = 2
        if C.mt_flow_advance(flow, i) ~= 0 then
          st.action = 1
          return
        end
        local generation = st.generation + 1
        st.generation = generation
        local p = slots + band(generation, MASK)
        p._packet, p._decoded = q, decoded + i
        p._generation = generation
]]

local ROTATE = [[
        st.script = K
        if rotateK(segment, p) == true then
          st.action = 2
          return
        end
]]

local TAIL = [[
    end
    ::next::
  end
  st.index = to
  st.action = 0
end
]]

local function with_place(text, place)
  return (text:gsub("K%f[^%w]", tostring(place)))
end

-- The part of the loop for one script.
local function script_part(script, place)
  local keep = script.keep_test and with_place(KEEP, place) or ""
  local call = ""
  if script.off then
    call = script.rule == "drop" and BYPASS_DROP or BYPASS_KEEP
  elseif script.hooks.on_packet then
    call = with_place(script.expression and EXPRESSION or CALL, place)
  end
  if script.filter_test and call ~= "" then
    call = ("if filter%d(q) then\n%send\n"):format(place, call)
  end
  return keep .. call
end

local function needs_loop(script)
  return script.hooks.on_packet or script.keep_test or script.hooks.on_interval
end

-- Upvalues of the loop: only what the chain uses, so that a chain of many scripts stays below
-- LuaJIT's limit of 60 upvalues a function.
local function upvalues(scripts, places, rotates)
  local parts = {}
  for _, place in ipairs(places) do
    local script = scripts[place]
    if script.hooks.on_packet then
      parts[#parts + 1] = ("local hook%d = scripts[%d].hooks.on_packet\n"):format(place, place)
    end
    if script.filter_test then
      parts[#parts + 1] = ("local filter%d = scripts[%d].filter_test\n"):format(place, place)
    end
    if script.keep_test then
      parts[#parts + 1] = ("local keep%d = scripts[%d].keep_test\n"):format(place, place)
    end
  end
  for _, place in ipairs(rotates) do
    parts[#parts + 1] = ("local rotate%d = scripts[%d].hooks.rotate\n"):format(place, place)
  end
  return table.concat(parts)
end

--- Source text of the loop for some scripts of the chain.
-- @tparam table scripts the whole chain
-- @tparam table places which of them this loop calls, in order
-- @tparam table rotates which of them are asked whether to rotate
-- @tparam boolean has_interval does one of them have on_interval
-- @tparam boolean later are there stages before it
-- @treturn string
function M.loop_text(scripts, places, rotates, has_interval, later)
  local parts = { HEAD, upvalues(scripts, places, rotates), LOOP }
  local function add(text)
    parts[#parts + 1] = text
  end
  if has_interval and later then
    add(TIME_READ)
  end
  if has_interval then
    add((INTERVALS:gsub("TIME", later and "ts_ns" or "q.ts_ns")))
  end
  add(HOOKS)
  for _, place in ipairs(places) do
    add(script_part(scripts[place], place))
  end
  add "      end\n"
  if #rotates > 0 then
    add(ROTATE_HEAD)
    for _, place in ipairs(rotates) do
      if not scripts[place].off then
        add(with_place(ROTATE, place))
      end
    end
    add "      end\n"
  end
  add(TAIL)
  return (table.concat(parts):gsub("MASK", packet.SLOTS - 1)) -- a number: there are 60 upvalues at most
end

-- A stage that calls on_batch with the packets its script is to see, cut where its interval ends.
local function batch_stage(S, script, place, due, intervals)
  local st = S.state
  local view = ffi.new "struct mt_batch_view"
  local stage = { next = 0, view = view, place = place }

  local function take(q, j)
    if script.keep_test and not script.keep_test(q) then
      q.verdict = 255
    elseif script.off then
      if script.rule == "drop" then
        q.verdict = 254
      else
        q.flags = bit.bor(q.flags, 8)
      end
    elseif not script.filter_test or script.filter_test(q) then
      view._index[view.n] = j
      view.n = view.n + 1
    end
  end

  function stage.run(from, to)
    local packets = st.batch.packets
    stage.next = from
    while stage.next < to do
      view.n = 0
      local j = stage.next
      while j < to do
        local q = packets + j
        local ts_ns = q.flags > 127 and C.mt_edit_time(st.batch, j) or q.ts_ns
        if ts_ns >= due[0] and q.verdict ~= 251 and bit.band(q.flags, 32) == 0 then
          if view.n > 0 then
            break
          end
          st.index, st.phase = j, 0
          stage.next = j
          intervals(ts_ns)
        end
        if q.verdict < 250 then
          take(q, j)
        end
        j = j + 1
      end
      local first = stage.next
      stage.next = j
      if view.n > 0 then
        st.generation = st.generation + 1
        view._generation = st.generation
        st.index, st.in_hand, st.phase, st.script = first, view._index[0], 3, place
        script.hooks.on_batch(view)
        if st.stop ~= 0 then
          st.index, st.action = j, 3
          return
        end
      end
    end
    st.index, st.action = to, 0
  end
  return stage
end

--- Build the stages for a chain.
-- @tparam table S shared: state, flow, segment (handle for rotate hooks), route (function), profile (with --profile)
-- @tparam table scripts the chain
-- @tparam function intervals_for `f(places, due)` gives the function that calls due on_interval hooks
-- @treturn table stages, each with run(from, to, hooks_done, rotate_done), places, is_batch
function M.stages(S, scripts, intervals_for)
  local stages, places, rotates = {}, {}, {}
  for place, script in ipairs(scripts) do
    if script.hooks.rotate then
      rotates[#rotates + 1] = place
    end
  end

  local function due_of(list)
    local due, any = ffi.new("int64_t[1]", 0x7fffffffffffffffLL), false
    for _, place in ipairs(list) do
      local waits = scripts[place].hooks.on_interval ~= nil or ageing.has(place)
      any = any or (waits and not scripts[place].off)
    end
    if any then
      due[0] = -0x7fffffffffffffffLL
    end
    return due, any, intervals_for(list, due)
  end

  local function close_loop(last)
    local ask = last and rotates or {}
    if #places == 0 and #ask == 0 then
      return
    end
    local due, any, intervals = due_of(places)
    local text = M.loop_text(scripts, places, ask, any, #stages > 0)
    local function make(source)
      return assert(loadstring(source, "=moontap.loop"))(S.state, S.flow, C, packet.slots, bit.band, bit.bor,
        bit.tobit, S.route, intervals, scripts, due, S.segment)
    end
    local stage = { places = places, due = due, intervals = intervals }
    if S.profile then
      S.profile.add_loop(stage, text, make)
    else
      stage.run = make(text)
    end
    stages[#stages + 1] = stage
    places = {}
  end

  for place, script in ipairs(scripts) do
    if script.hooks.on_batch then
      close_loop(false)
      local due, _, intervals = due_of { place }
      local stage = batch_stage(S, script, place, due, intervals)
      stage.is_batch, stage.places, stage.due, stage.intervals = true, { place }, due, intervals
      stages[#stages + 1] = stage
    elseif needs_loop(script) then
      places[#places + 1] = place
    end
  end
  close_loop(true)
  return stages
end

return M
