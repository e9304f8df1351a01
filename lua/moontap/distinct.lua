-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.distinct`: how many different keys there were, in memory that does not grow.
--
--    local sources = moontap.distinct { key = "src" }
--    local names = moontap.distinct()
--
--    return {
--      on_packet = function(p)
--        sources:add(p)
--        names:add(p.dport)
--      end,
--      on_stop = function() print(sources:count(), names:count()) end,
--    }
--
-- **Keys** are those of moontap.topk: of packets by name, or given by value.
--
-- **Error.** Up to 1,536 keys the count is exact (with a precision below 14: up to 3/32 of 2^precision). Beyond, its
-- standard error is `1.04 / sqrt(2^precision)`: 0.81 % by default, so that two counts of three are within 0.81 %, 95
-- of 100 within 1.6 %, and practically all within 3.3 %, from thousands of keys to 2^60.
--
-- **Memory** is 2^precision bytes, 16 KiB by default, taken at once.
--
-- **Seed.** The hash is XXH3 with a seed that is 0 unless it is given, so that sketches of different runs can be
-- merged. Who knows the seed can choose keys so that they count as more or as fewer than they are; where that matters,
-- give a number nobody knows. Sketches with different seeds can not be merged.
--
-- The method is HyperLogLog with a 64-bit hash (Heule, Nunkesser, Hall 2013) and Ertl's estimator (2017). A merge
-- gives exactly what one sketch would have given.
-- @module moontap.distinct

local ffi = require "ffi"
local C = require "moontap.abi"
local packet = require "moontap.packet"
local sketch = require "moontap.sketch"
local sketch_key = require "moontap.sketch_key"

local M = {}

for _, name in ipairs { "mt_distinct_packet", "mt_distinct_key", "mt_batch_decode" } do
  assert(C[name]) -- a trace must find it looked up
end

local istype, handle_t, state = ffi.istype, packet.handle, sketch.state
local put, scratch, stale = sketch_key.put, sketch_key.scratch, sketch.stale
local PARTS = C.MT_TABLE_PARTS
local class -- below

local methods = {}

--- Take note of a key.
-- @function add
-- @param key a packet if the sketch was made with `key`, else a string, number, address or boolean
-- @treturn boolean false: the packet has no such key (no IP; for ports: none captured)
-- @raise if there is no key
function methods.add(d, key)
  if not istype(class, d) then sketch.not_self("distinct", "add", d) end
  local c = d._c
  if istype(handle_t, key) then
    if key._generation ~= state.generation then stale() end
    if c.kind == PARTS then sketch_key.no_packet "distinct:add" end
    if state.batch.decoded == 0 then C.mt_batch_decode(state.batch) end
    return C.mt_distinct_packet(c, key._packet, key._decoded) ~= 0
  end
  if not put("distinct:add", c.kind, key) then
    return false
  end
  C.mt_distinct_key(c, scratch)
  return true
end

--- How many different keys there were.
-- @function count
-- @treturn number a whole number
-- @treturn number its relative standard error: 0 means exact, 0.0081 is the default's
function methods.count(d)
  local c = d._c
  local n = math.floor(C.mt_distinct_count(c) + 0.5)
  return n, c.is_exact ~= 0 and 0 or 1.04 / math.sqrt(2 ^ c.precision)
end

--- Add the keys of another one with the same `key`, `precision` and `seed`. Gives exactly what one would have given.
-- @function merge
-- @tparam distinct other
-- @treturn distinct this one
-- @raise if other is something else, or was made with other options
function methods.merge(d, other)
  sketch.check_merge("distinct", class, d, other, { "precision", "seed" })
  sketch_key.check_merge(d._c, other._c)
  C.mt_distinct_merge(d._c, other._c)
  return d
end

--- Its state as a string.
-- @function save
-- @treturn string for moontap.load, in this run or another
function methods.save(d)
  return sketch.save("distinct", d._c, C.mt_distinct_save)
end

--- Begin anew.
-- @function clear
function methods.clear(d)
  C.mt_distinct_clear(d._c)
end

--- Bytes of memory that it takes.
-- @function memory
-- @treturn integer
function methods.memory(d)
  return d._c.memory
end

local function text(d)
  local n, err = d:count()
  return err == 0 and ("%.0f"):format(n) or ("%.0f ± %.2g%%"):format(n, err * 100)
end

class = sketch.class("distinct", "struct mt_distinct", methods, { __tostring = text })

local OPTIONS = { key = true, precision = true, seed = true }

--- Make one.
-- @function moontap.distinct
-- @tparam[opt] table options
--
-- - key: which key of a packet, `"src"` and the others of moontap.table; nil: keys are given by value
-- - precision: 2^precision bytes, 4 to 18 (14)
-- - seed: of the hash, a whole number from 0 to 2^53 (0)
-- @treturn distinct
-- @raise if an option makes no sense
function M.new(options)
  options = options or {}
  sketch.check_options("moontap.distinct", options, OPTIONS)
  local kind = sketch_key.kind("moontap.distinct", options.key)
  local precision = sketch.whole("moontap.distinct: precision", options.precision, 14,
    C.MT_DISTINCT_LEAST_PRECISION, C.MT_DISTINCT_MOST_PRECISION)
  local seed = sketch.whole("moontap.distinct: seed", options.seed, 0, 0, 2 ^ 53)
  local c = C.mt_distinct_new(kind, precision, seed)
  return sketch.own("moontap.distinct", class, c, C.mt_distinct_free)
end

--- One from the body of a saved string, for moontap.load.
-- @tparam string body
-- @tparam integer version
-- @treturn ?distinct
-- @treturn ?string why not
function M.restore(body, version)
  local c, why = sketch.restore("distinct", body, version, C.mt_distinct_restore)
  if not c then
    return nil, why
  end
  return sketch.own("moontap.load", class, c, C.mt_distinct_free)
end

return M
