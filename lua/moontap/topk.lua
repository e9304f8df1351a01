-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.topk`: the keys with the most packets, bytes or whatever is counted, in memory that does not grow.
--
--    local talkers = moontap.topk { key = "src", k = 10 }
--
--    return {
--      on_packet = function(p) talkers:add(p, p.wirelen) end,
--      on_stop = function() print(talkers) end,
--    }
--
-- **Keys** are those of a packet by name (`key = "src"`: see "Keys of sketches"), or strings, numbers, addresses and
-- booleans by value: `top:add(p.dport)`, `top:add("www.example.org")`.
--
-- **Error.** `counters` keys are watched. With N the sum of all weights, for each of them
-- `count - error <= its true sum <= count`, and `error <= N / counters`; a key with a true sum of more than
-- N / counters is always among them. While there are no more keys than counters, all is exact. Sums are exact for whole
-- numbers up to 2^53.
--
-- **Memory** is taken at once, for each counter about 80 bytes and the key: 8 to 40 bytes for those of packets,
-- `key_bytes` for those by value. The default of 1,000 counters takes 100 KB with `key = "src"`, 335 KB by value; more
-- than 512 MB is refused.
-- Keys are hashed with a random seed that no result depends on.
--
-- The method is SpaceSaving (Metwally, Agrawal, El Abbadi 2005); merges are those of Agarwal et al. (2012).
-- @module moontap.topk

local ffi = require "ffi"
local C = require "moontap.abi"
local format = require "moontap.format"
local misuse = require "moontap.misuse"
local packet = require "moontap.packet"
local sketch = require "moontap.sketch"
local sketch_key = require "moontap.sketch_key"

local M = {}

for _, name in ipairs { "mt_topk_packet", "mt_topk_key", "mt_batch_decode" } do
  assert(C[name]) -- a trace must find it looked up
end

local istype, handle_t, state = ffi.istype, packet.handle, sketch.state
local put, scratch, weight_of, stale = sketch_key.put, sketch_key.scratch, sketch.weight, sketch.stale
local PARTS = C.MT_TABLE_PARTS
local LEAST_COUNTERS = 1000
local ENTRY_BYTES = 40 -- what stands beside a key, rounded up
local class -- below

local methods = {}

--- Count a key.
-- @function add
-- @param key a packet if the sketch was made with `key`, else a string, number, address or boolean
-- @tparam[opt=1] number weight 0 to 2^53, such as `p.wirelen`
-- @treturn boolean false: the packet has no such key (no IP; for ports: none captured), nothing was counted
-- @raise if there is no key, or the weight is none
function methods.add(t, key, weight)
  if not istype(class, t) then sketch.not_self("topk", "add", t) end
  local c = t._c
  weight = weight_of("topk:add", weight)
  if istype(handle_t, key) then
    if key._generation ~= state.generation then stale() end
    if c.kind == PARTS then sketch_key.no_packet "topk:add" end
    if state.batch.decoded == 0 then C.mt_batch_decode(state.batch) end
    return C.mt_topk_packet(c, key._packet, key._decoded, weight) ~= 0
  end
  if not put("topk:add", c.kind, key) then
    return false
  end
  C.mt_topk_key(c, scratch, weight)
  return true
end

--- What is known of one key.
-- @function get
-- @param key as with add
-- @treturn ?number count: its sum is no more than this; nil: the packet has no such key
-- @treturn ?number error: and no less than count - error
function methods.get(t, key)
  local c = t._c
  if istype(handle_t, key) then
    if key._generation ~= state.generation then stale() end
    if c.kind == PARTS then sketch_key.no_packet "topk:get" end
    if state.batch.decoded == 0 then C.mt_batch_decode(state.batch) end
    if C.mt_sketch_key_of_packet(c.kind, key._packet, key._decoded, scratch) == 0 then
      return nil
    end
  elseif not put("topk:get", c.kind, key) then
    return nil
  end
  local item = ffi.new "struct mt_topk_item"
  C.mt_topk_get(c, scratch, item)
  return item.count, item.error
end

--- The keys with the largest counts, in falling order; equal ones by smaller error.
-- @function list
-- @tparam[opt=k] integer n how many at most
-- @treturn {{key=,count=,error=},...}
function methods.list(t, n)
  local c = t._c
  n = math.min(sketch.whole("topk:list", n, c.k, 0, 2 ^ 53), c.used)
  local items = ffi.new("struct mt_topk_item[?]", n + 1)
  if C.mt_topk_list(c, items, n) < 0 then
    sketch.raise "topk:list: there is no memory for it"
  end
  local list = {}
  for i = 1, n do
    local item = items[i - 1]
    list[i] = { key = sketch_key.value(item.key), count = item.count, error = item.error }
  end
  return list
end

--- The sum of all weights.
-- @function total
-- @treturn number
function methods.total(t)
  return t._c.total
end

--- The most that a key which is not watched can have: the largest error there is now.
-- @function bound
-- @treturn number 0 as long as all is exact
function methods.bound(t)
  return C.mt_topk_bound(t._c)
end

--- Add what another one with the same `key`, `counters` and `key_bytes` has counted. The error is within
-- the same bound as if one had counted all.
-- @function merge
-- @tparam topk other
-- @treturn topk this one
-- @raise if other is something else, or was made with other options
function methods.merge(t, other)
  sketch.check_merge("topk", class, t, other, { "counters", "key_bytes" })
  sketch_key.check_merge(t._c, other._c)
  if C.mt_topk_merge(t._c, other._c) ~= 0 then
    sketch.raise "topk:merge: there is no memory for it"
  end
  return t
end

--- Its state as a string.
-- @function save
-- @treturn string for moontap.load, in this run or another
function methods.save(t)
  return sketch.save("topk", t._c, C.mt_topk_save)
end

--- Begin anew.
-- @function clear
function methods.clear(t)
  C.mt_topk_clear(t._c)
end

--- Bytes of memory that it takes.
-- @function memory
-- @treturn integer
function methods.memory(t)
  return t._c.memory
end

local function text(t)
  local rows, total = {}, t._c.total
  for i, e in ipairs(t:list()) do
    rows[i] = { tostring(e.key), format.count(e.count), e.error > 0 and format.count(e.error) or "",
      format.share(e.count, total) }
  end
  return format.table({ sketch_key.name(t._c.kind) or "key", ">count", ">error", ">share" }, rows)
end

class = sketch.class("topk", "struct mt_topk", methods, { __tostring = text })

local OPTIONS = { key = true, k = true, counters = true, key_bytes = true }

--- Make one.
-- @function moontap.topk
-- @tparam[opt] table options
--
-- - key: which key of a packet, `"src"` and the others of moontap.table; nil: keys are given by value
-- - k: how many `list` and `print` show (10)
-- - counters: keys that are watched; the error is at most the total divided by this (8 · k, but at least 1,000)
-- - key_bytes: longer strings are cut to so many bytes, and count as one if these are equal (256)
-- @treturn topk
-- @raise if an option makes no sense
function M.new(options)
  options = options or {}
  sketch.check_options("moontap.topk", options, OPTIONS)
  local kind = sketch_key.kind("moontap.topk", options.key)
  local most = C.MT_TOPK_MOST_COUNTERS
  local k = sketch.whole("moontap.topk: k", options.k, 10, 1, most)
  local counters = sketch.whole("moontap.topk: counters", options.counters, math.min(most,
    math.max(LEAST_COUNTERS, 8 * k)), k, most)
  local key_bytes = sketch.whole("moontap.topk: key_bytes", options.key_bytes, 256, 1, C.MT_TOPK_MOST_KEY_BYTES)
  if not options.key and counters * (key_bytes + ENTRY_BYTES) > C.MT_TOPK_MOST_BYTES then
    misuse.raise("moontap.topk: counters = %d keys of key_bytes = %d take more than %d MB", counters, key_bytes,
      C.MT_TOPK_MOST_BYTES / 2 ^ 20)
  end
  local c = C.mt_topk_new(kind, counters, key_bytes, k)
  return sketch.own("moontap.topk", class, c, C.mt_topk_free)
end

--- One from the body of a saved string, for moontap.load.
-- @tparam string body
-- @tparam integer version
-- @treturn ?topk
-- @treturn ?string why not
function M.restore(body, version)
  local c, why = sketch.restore("topk", body, version, C.mt_topk_restore)
  if not c then
    return nil, why
  end
  return sketch.own("moontap.load", class, c, C.mt_topk_free)
end

return M
