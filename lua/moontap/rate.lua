-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.rate`: packets and bytes by interval of stream time, for the last intervals.
--
--    local load = moontap.rate { every = 1, keep = 3600 }
--
--    return {
--      on_packet = function(p) load:add(p) end,
--      on_stop = function()
--        for _, second in ipairs(load:list()) do
--          print(second.time, second.packets, second.bytes * 8)
--        end
--      end,
--    }
--
-- **Intervals** begin at whole multiples of `every` seconds since 1970-01-01 UTC. The newest `keep` of them have a slot
-- each; what falls into an older one, or is in a slot that a newer interval needs, is counted in `dropped`. A late
-- packet goes to the slot of its own time as long as there is one.
--
-- **Memory** is 16 bytes for each of the `keep` slots, 58 KB by default, taken at once. Sums are exact for whole
-- numbers up to 2^53; a merge gives exactly what one would have given.
-- @module moontap.rate

local ffi = require "ffi"
local C = require "moontap.abi"
local format = require "moontap.format"
local packet = require "moontap.packet"
local sketch = require "moontap.sketch"
local table_key = require "moontap.table_key"

local M = {}

assert(C.mt_rate_add) -- a trace must find it looked up

local istype, handle_t, state = ffi.istype, packet.handle, sketch.state
local raise, found, weight_of, stale = sketch.raise, sketch.found, sketch.weight, sketch.stale
local int64_t = ffi.typeof "int64_t"
local NEVER = -0x8000000000000000LL
local MOST_SECONDS = 9.2e9 -- what fits into 64 bits of nanoseconds
local class -- below

local methods = {}

local function add_other(c, what, packets, bytes)
  local copy = table_key.copied(what)
  if not copy then
    raise("rate:add: expected a packet or a time (p.ts or p.ts_ns), found %s", what ~= what and "NaN" or found(what))
  end
  C.mt_rate_add(c, copy._packet[0].ts_ns, packets, bytes or copy._packet[0].wirelen)
end

--- Count a packet, or anything that has a time.
-- @function add
-- @param what a packet; or a time: `p.ts_ns` (exact) or a number of seconds such as `p.ts`
-- @tparam[opt] number bytes default: `p.wirelen`; 0 with a time
-- @tparam[opt=1] number packets
-- @raise if there is no time, or a number is not from 0 to 2^53
function methods.add(r, what, bytes, packets)
  if not istype(class, r) then sketch.not_self("rate", "add", r) end
  local c = r._c
  if bytes ~= nil then
    bytes = weight_of("rate:add", bytes)
  end
  packets = weight_of("rate:add", packets)
  if istype(handle_t, what) then
    if what._generation ~= state.generation then stale() end
    local q = what._packet
    C.mt_rate_add(c, q.ts_ns, packets, bytes or q.wirelen)
  elseif istype(int64_t, what) then
    C.mt_rate_add(c, what, packets, bytes or 0)
  elseif type(what) == "number" and what >= -MOST_SECONDS and what <= MOST_SECONDS then
    C.mt_rate_add(c, math.floor(what * 1e9 + 0.5), packets, bytes or 0)
  else
    add_other(c, what, packets, bytes)
  end
end

--- The intervals that have a slot, from the first with a packet to the newest, empty ones between them too.
-- @function list
-- @treturn {{time=,packets=,bytes=},...} time: begin of the interval, seconds since the epoch
function methods.list(r)
  local c, list = r._c, {}
  if c.newest == NEVER then
    return list
  end
  local newest, every = tonumber(c.newest), tonumber(c.every_ns)
  for interval = newest - c.keep + 1, newest do
    local slot = c.slots[interval % c.keep]
    if #list > 0 or slot.packets > 0 or slot.bytes > 0 then
      list[#list + 1] = { time = interval * every / 1e9, packets = slot.packets, bytes = slot.bytes }
    end
  end
  return list
end

--- What was counted since the beginning, dropped intervals included.
-- @function total
-- @treturn number packets
-- @treturn number bytes
function methods.total(r)
  return r._c.total.packets, r._c.total.bytes
end

--- What is in no slot: too old, or too late.
-- @function dropped
-- @treturn number packets
-- @treturn number bytes
function methods.dropped(r)
  return r._c.dropped.packets, r._c.dropped.bytes
end

--- Add what another one with the same `every` and `keep` has counted. Gives exactly what one would have given.
-- @function merge
-- @tparam rate other
-- @treturn rate this one
-- @raise if other is something else, or was made with other options
function methods.merge(r, other)
  sketch.check_merge("rate", class, r, other, { "every_ns", "keep" })
  C.mt_rate_merge(r._c, other._c)
  return r
end

--- Its state as a string.
-- @function save
-- @treturn string for moontap.load, in this run or another
function methods.save(r)
  return sketch.save("rate", r._c, C.mt_rate_save)
end

--- Begin anew.
-- @function clear
function methods.clear(r)
  C.mt_rate_clear(r._c)
end

--- Bytes of memory that it takes.
-- @function memory
-- @treturn integer
function methods.memory(r)
  return r._c.memory
end

local function text(r)
  local c = r._c
  local every = tonumber(c.every_ns) / 1e9
  local list, most = r:list(), 0
  for _, interval in ipairs(list) do
    most = math.max(most, interval.bytes)
  end
  local line = ("%s packets, %s in %d intervals of %s, the most in one %s"):format(format.count(c.total.packets),
    format.bytes(c.total.bytes), #list, format.duration(every), format.bitrate(most * 8 / every))
  if c.dropped.packets > 0 then
    line = line .. (", %s packets dropped"):format(format.count(c.dropped.packets))
  end
  return line
end

class = sketch.class("rate", "struct mt_rate", methods, { __tostring = text })

local OPTIONS = { every = true, keep = true }

--- Make one.
-- @function moontap.rate
-- @tparam[opt] table options
--
-- - every: length of an interval in seconds, 0.00001 or more (1)
-- - keep: how many of the newest intervals have a slot, at most 1,000,000 (3,600)
-- @treturn rate
-- @raise if an option makes no sense
function M.new(options)
  options = options or {}
  sketch.check_options("moontap.rate", options, OPTIONS)
  local every = sketch.number("moontap.rate: every", options.every, 1, C.MT_RATE_LEAST_NS / 1e9, 1e6)
  local keep = sketch.whole("moontap.rate: keep", options.keep, 3600, 1, C.MT_RATE_MOST_KEEP)
  local c = C.mt_rate_new(math.floor(every * 1e9 + 0.5), keep)
  return sketch.own("moontap.rate", class, c, C.mt_rate_free)
end

--- One from the body of a saved string, for moontap.load.
-- @tparam string body
-- @tparam integer version
-- @treturn ?rate
-- @treturn ?string why not
function M.restore(body, version)
  local c, why = sketch.restore("rate", body, version, C.mt_rate_restore)
  if not c then
    return nil, why
  end
  return sketch.own("moontap.load", class, c, C.mt_rate_free)
end

return M
