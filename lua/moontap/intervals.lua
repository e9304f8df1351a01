-- SPDX-License-Identifier: BSD-2-Clause
--- When on_interval of a script is due, and when what has aged in its objects is looked after.
--
-- Times are those of packets, so that a file gives the same results at any speed. Boundaries are multiples of the
-- interval since 1970; a jump over more than a thousand of them is made at once.
-- @module moontap.intervals

local ffi = require "ffi"
local ageing = require "moontap.ageing"

local M = {}

local FOREVER = 0x7fffffffffffffffLL
local UNSET = -0x7fffffffffffffffLL
local MANY_INTERVALS = 1000
local SECOND = 1000000000LL

--- The time that never comes.
M.FOREVER = FOREVER
--- Which of a script's functions is running when something raises, for messages.
M.hook = "on_interval"

local st      -- struct mt_hook_state *
local scripts -- the chain

--- Tie it to a run.
-- @param state `struct mt_hook_state *`
-- @tparam table chain of scripts, by place
function M.attach(state, chain)
  st, scripts = state, chain
end

--- Give a script its clock, if it has an interval.
-- @tparam table script
function M.begin(script)
  if script.interval then
    script.every_ns = ffi.cast("int64_t", math.floor(script.interval * 1e9 + 0.5))
    script.next_ns = ffi.new("int64_t[1]", UNSET)
  end
end

local function floor_to(ts, every)
  local down = ts - ts % every
  return ts < 0 and down > every - FOREVER and ts % every ~= 0 and down - every or down
end

-- The boundary after this one; FOREVER when time ends before it.
local function after(now, every)
  return now > FOREVER - every and FOREVER or now + every
end

-- What has aged in the objects of a script by a time.  An error goes on with what is behind it.
local function sweep(place, now)
  if ageing.has(place) then
    st.script, st.hook_ns, st.generation = place, now, st.generation + 1
    M.hook = "on_expire"
    ageing.sweep(place)
  end
end

-- The boundaries of one script up to ts.  next_ns moves before the hook is called, so that an
-- error goes on with the one after.
local function run_intervals(place, ts)
  local script = scripts[place]
  local every, next_ns = script.every_ns, script.next_ns
  if next_ns[0] == UNSET then
    next_ns[0] = after(floor_to(ts, every), every)
    return
  end
  if ts >= next_ns[0] and (ts - next_ns[0]) / every >= MANY_INTERVALS then
    next_ns[0] = floor_to(ts, every)
  end
  while ts >= next_ns[0] and next_ns[0] ~= FOREVER do
    local now = next_ns[0]
    sweep(place, now)
    next_ns[0] = after(now, every)
    st.script, st.hook_ns, st.generation = place, now, st.generation + 1
    M.hook = "on_interval"
    script.hooks.on_interval(tonumber(now) / 1e9, false)
  end
end

-- Objects that age are looked after each full second, so that what has ended is reported also while
-- a script does not look anything up.
local function sweep_seconds(places, next_ns, ts)
  if ts >= next_ns[0] then
    local now = floor_to(ts, SECOND)
    for _, place in ipairs(places) do
      if not scripts[place].off then
        sweep(place, now)
      end
    end
    next_ns[0] = after(now, SECOND)
  end
end

--- What calls the hooks of some scripts that are due.
-- @tparam {integer,...} places of scripts in the chain
-- @param due `int64_t[1]`, is set to the next time at which there is something to do
-- @treturn function of a time, in nanoseconds; what a hook raises passes through, and the next call goes on behind it
function M.of(places, due)
  local second_ns, aged = ffi.new("int64_t[1]", UNSET), false
  for _, place in ipairs(places) do
    aged = aged or ageing.has(place)
  end
  return function(ts)
    local soonest = FOREVER
    st.generation = st.generation + 1 -- no packet outlives its hook
    for _, place in ipairs(places) do
      local script = scripts[place]
      if script.hooks.on_interval and not script.off then
        run_intervals(place, ts)
        if script.next_ns[0] < soonest then
          soonest = script.next_ns[0]
        end
      end
    end
    if aged then
      sweep_seconds(places, second_ns, ts)
      if second_ns[0] < soonest then
        soonest = second_ns[0]
      end
    end
    due[0] = soonest
  end
end

return M
