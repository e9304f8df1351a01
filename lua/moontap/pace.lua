-- SPDX-License-Identifier: BSD-2-Clause
--- Says when what LuaJIT has compiled of the hooks is to be made anew.
--
-- LuaJIT compiles the paths that packets take first, and all other paths as detours of those; nothing in it begins
-- over by itself.
--
-- **Early.** The first packets are not like the others: each brings a new key, and tables grow. What was compiled then
-- is thrown away after 100,000 packets, after a million, and so on. It takes a few milliseconds each time; a packet
-- takes up to a third less afterwards.
--
-- **Late.** When traffic changes, in a run of weeks, a packet may come to go through many small pieces of code. So
-- nanoseconds a packet are measured over some ten thousand packets at a time. If they stay above three times their
-- best for five seconds, everything compiled is thrown away, at most once a minute. If that did not help, the work
-- itself has grown, and what it takes now is the new best.
-- @module moontap.pace

local M = {}

local WINDOW_PACKETS, WINDOW_NS = 10000, 10e6 -- both must be there
local TIMES, LONG_NS, PAUSE_NS = 3, 5e9, 60e9

local FIRST, FACTOR = 1e5, 10 -- packets

local seen, next_at = 0, FIRST
local packets, ns = 0, 0 -- in the window
local best               -- ns a packet
local slow_since, flushed_at

-- What a full window says: true to begin over.
local function judge(each, now)
  if not best or each < best then
    best = each
  end
  if each <= TIMES * best then
    slow_since = nil
    return false
  end
  slow_since = slow_since or now
  if now - slow_since < LONG_NS or (flushed_at and now - flushed_at < PAUSE_NS) then
    return false
  end
  slow_since = nil
  if flushed_at then
    best, flushed_at = each, nil
    return false
  end
  flushed_at = now
  return true
end

--- Hooks have run.
-- @tparam integer n for so many packets
-- @tparam number begun CLOCK_MONOTONIC before, in nanoseconds
-- @tparam number now the same afterwards
-- @treturn ?number how many times as long as at best a packet takes, if the compiled code is to go
function M.note(n, begun, now)
  packets, ns = packets + n, ns + now - begun
  if packets < WINDOW_PACKETS or ns < WINDOW_NS then
    return nil
  end
  local each = ns / packets
  packets, ns = 0, 0
  return judge(each, now) and each / best or nil
end

--- Hooks have run.
-- @tparam integer n for so many packets
-- @treturn boolean the early code is to go: by now most packets are as they will be
function M.is_early(n)
  seen = seen + n
  if seen < next_at then
    return false
  end
  next_at = next_at * FACTOR
  return true
end

jit.off(M.is_early)
jit.off(M.note) -- once a batch: a trace of its own would be no gain

return M
