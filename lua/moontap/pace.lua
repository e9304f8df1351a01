-- SPDX-License-Identifier: BSD-2-Clause
--- Says when what LuaJIT has compiled of the hooks is to be made anew.
--
-- LuaJIT compiles the paths that packets take first, and all other paths as detours of those; nothing in it begins
-- over by itself.
--
-- **Early.** The first packets are not like the others: each brings a new key, and tables grow. What was compiled then
-- is thrown away after 100,000 packets. The loop then begins with whatever kind of packet comes to be compiled first,
-- and all others take longer; so that is done three times at least, and until a packet takes no more than 5 % longer
-- than it did at best. It takes some milliseconds in all, and again after 10 million packets, and a billion; a packet
-- takes up to a third less.
--
-- **Late.** When traffic changes, in a run of weeks, a packet may come to go through many small pieces of code. So
-- nanoseconds a packet are measured over some ten thousand packets at a time. If they stay above three times their
-- best for five seconds, everything compiled is thrown away, at most once a minute. If that did not help, the work
-- itself has grown, and what it takes now is the new best.
-- @module moontap.pace

local M = {}

local WINDOW_PACKETS, WINDOW_NS = 10000, 10e6 -- both must be there
local TIMES, LONG_NS, PAUSE_NS = 3, 5e9, 60e9

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

local FIRST, FACTOR = 1e5, 100                -- packets before the first tries; times that, before the next ones
local ROUND_PACKETS, ROUND_NS = 10000, 2e6    -- both must be there
local ROUNDS = 6                              -- of a try; in the first LuaJIT compiles, the best of the others counts
local LEAST_TRIES, MOST_TRIES, CLOSE = 3, 8, 1.05

local seen, next_at = 0, FIRST
local tries = 0                  -- 0: it is settled
local best_try, this_try         -- ns a packet
local rounds, round_packets, round_ns

local function begin_try()
  tries, this_try = tries + 1, math.huge
  rounds, round_packets, round_ns = 0, 0, 0
end

-- Some batches have run.  true: a round is over.
local function ends_round(n, took)
  round_packets, round_ns = round_packets + n, round_ns + took
  if round_packets < ROUND_PACKETS or round_ns < ROUND_NS then
    return false
  end
  rounds = rounds + 1
  if rounds > 1 then
    this_try = math.min(this_try, round_ns / round_packets)
  end
  round_packets, round_ns = 0, 0
  return true
end

--- Hooks have run.
-- @tparam integer n for so many packets
-- @tparam number begun CLOCK_MONOTONIC before, in nanoseconds
-- @tparam number now the same afterwards
-- @treturn boolean the compiled code is to go: it is of the first packets, or was better before
function M.is_early(n, begun, now)
  seen = seen + n
  if tries == 0 then
    if seen < next_at then
      return false
    end
    next_at, best_try = next_at * FACTOR, math.huge
    begin_try()
    return true
  end
  if not ends_round(n, now - begun) or rounds < ROUNDS then
    return false
  end
  best_try = math.min(best_try, this_try)
  if tries >= MOST_TRIES or (tries >= LEAST_TRIES and this_try <= best_try * CLOSE) then
    tries = 0
    return false
  end
  begin_try()
  return true
end

jit.off(M.is_early)
jit.off(M.note) -- once a batch: a trace of its own would be no gain

return M
