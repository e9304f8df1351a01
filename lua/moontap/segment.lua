-- SPDX-License-Identifier: BSD-2-Clause
--- What hooks get beside packets: runs, segments, blocks and batches.
--
-- **`run`**, in on_start and on_stop:
--
-- - `args`: the arguments of the script, name to value; those without a default that were not given are nil
-- - `sources`: a list of tables, one a source, with `name`, `linktypes` (a list of libpcap's names: `"EN10MB"`) and
--   the counters of `stats`. A source whose first packet has not come may be missing from the list in on_start
-- - `live`, `json`: booleans, there is a live source, and --json was given
-- - `stats`, only in on_stop: the counters of the run as in `--json`. `packets` is `kept` + `filtered` +
--   `script_dropped` + `dropped`; `bytes` were captured and `wire_bytes` on the wire; `dropped_kernel` (nil where it
--   is not known), `late`, `disorder`, `bad_time`, `clock_jumps`, `script_bypassed`; `first_ts` and `last_ts` are
--   texts of seconds with nine decimals, nil without packets
--
-- **`segment`**, in rotate and on_segment_open:
--
-- - `seq`: its sequence number; `n`: its number in this run, from 1
-- - `start`: where its time begins, `first_ts` and `last_ts`: its first and last packet, in seconds since 1970; nil
--   while it has none
-- - `packets`, `bytes` (of its file before compression), `captured_bytes`, `wire_bytes`: so far
-- - `reason`: why it was opened: `"start"`, `"time"`, `"size"`, `"packets"`, `"signal"`, `"script"`, `"moved"` (the one
--   before was moved or deleted by somebody); `source`: where its first packet is from
--
-- rotate always gets the open segment of the default output. What on_segment_close gets is a table like the line in
-- manifest.jsonl, where times are texts: `file`, `seq`, `output`, `start`, `end`, `first_ts`, `last_ts`, `packets`,
-- `captured_bytes`, `wire_bytes`, `file_bytes`, `reason`, `format`, `sources`, and `sha256` with --sha256.
--
-- **`block`**, in on_block: `len`, its bytes, and `block:string()`.
--
-- **`batch`**, in on_batch: `n` packets, `batch[0]` to `batch[n - 1]`, each like `p` of on_packet, good until the hook
-- ends.
-- @module moontap.segment

local ffi = require "ffi"
local C = require "moontap.abi"
local packet = require "moontap.packet"
local suggest = require "moontap.suggest"

local M = {}

-- A time of the view as a number of seconds; nil while the segment is empty.
local function seconds(ns)
  if ns == 0x7fffffffffffffffLL or ns == -0x7fffffffffffffffLL - 1 then
    return nil
  end
  return tonumber(ns) / 1e9
end

local fields = {
  seq = function(v) return tonumber(v.seq) end,
  n = function(v) return tonumber(v.n) end,
  start = function(v) return seconds(v.start_ns) end,
  first_ts = function(v) return seconds(v.first_ns) end,
  last_ts = function(v) return seconds(v.last_ns) end,
  packets = function(v) return tonumber(v.packets) end,
  bytes = function(v) return tonumber(v.bytes) end,
  captured_bytes = function(v) return tonumber(v.captured_bytes) end,
  wire_bytes = function(v) return tonumber(v.wire_bytes) end,
  reason = function(v) return v.reason ~= nil and ffi.string(v.reason) or "" end,
  source = function(v) return v.source ~= nil and ffi.string(v.source) or "" end,
}

local handle_t = ffi.metatype("struct mt_segment_handle", {
  __index = function(h, key)
    local field = fields[key]
    if not field then
      error(("a segment has no field '%s'%s"):format(tostring(key), suggest.suffix(tostring(key), fields)), 2)
    end
    return (field(h._segment))
  end,
})

local flow_ptr = ffi.typeof "struct mt_flow *"

--- The segment that rotate hooks get: always the open one of the default output.
-- @param flow `struct mt_flow *`
function M.handle(flow)
  return handle_t(C.mt_flow_segment(ffi.cast(flow_ptr, flow)))
end

--- What on_segment_open gets: a table, so that it may be kept.
-- @param view `struct mt_segment_view *`
-- @treturn table seq, n, start, reason, source and counters
function M.table_of(view)
  local v = ffi.cast("const struct mt_segment_view *", view)
  local result = {}
  for name, field in pairs(fields) do
    result[name] = field(v)
  end
  return result
end

-- --- blocks -----------------------------------------------------------------------------------

local Block = {}
Block.__index = function(_, key)
  if Block[key] then
    return Block[key]
  end
  error(("a block has no field '%s'; it has len and string()"):format(tostring(key)), 2)
end

--- The bytes of the block, copied.
-- @treturn string
function Block:string()
  local data = rawget(self, "data")
  if not data then
    error("this block is gone: it ends with its hook, keep block:string()", 2)
  end
  return type(data) == "string" and data or ffi.string(data, self.len)
end

--- What on_block gets.
-- @param data `const uint8_t *`, or a string
-- @tparam integer len bytes
function M.block(data, len)
  return setmetatable({ data = data, len = len }, Block)
end

--- The hook has returned: a kept block must not read freed memory.
function M.expire(block)
  block.data = false
end

-- --- batches ----------------------------------------------------------------------------------

local state
local batch_methods = {}

local function check(view)
  if view._generation ~= state.generation then
    error("this batch is gone: a batch ends with its hook", 3)
  end
end

local function slot(view, i)
  check(view)
  if not (type(i) == "number" and i >= 0 and i < view.n) then
    error(("batch index %s is not between 0 and %d"):format(tostring(i), view.n - 1), 3)
  end
  return view._index[i]
end

--- Drop a packet.
-- @tparam integer i 0 to batch.n - 1
function batch_methods.drop(view, i)
  state.batch.packets[slot(view, i)].verdict = 255
end

--- Write a packet to a named output instead of the default one.
-- @tparam integer i 0 to batch.n - 1
-- @tparam string name declared with --out
function batch_methods.route(view, i, name)
  state.batch.packets[slot(view, i)].verdict = M.route(name)
end

ffi.metatype("struct mt_batch_view", {
  __index = function(view, key)
    if type(key) == "number" then
      local at = slot(view, key)
      state.in_hand = at -- for messages, and the time of what is done with it
      return (packet.handle(state.batch.packets + at, state.batch.decode + at, view._generation))
    end
    local method = batch_methods[key]
    if not method then
      error(("a batch has no field '%s'; it has n, [i], drop and route"):format(tostring(key)), 2)
    end
    return method
  end,
  __len = function(view)
    return view.n
  end,
})

--- Tie batches to the shared state.  Called once.
function M.attach(hook_state, route)
  state = hook_state
  M.route = route
end

return M
