-- SPDX-License-Identifier: BSD-2-Clause
-- Flow records: who talked to whom, packets and bytes each way, first and last time, TCP flags and state.
--
--   moontap -l flows trace.pcap                     the largest
--   moontap -l flows,format=csv trace.pcap          all of them, a line each as they end
--
-- A flow is both directions of addresses, ports and protocol; its source is who sent the first packet. It ends when it
-- is silent for `idle` seconds, or is `active` seconds old; what comes then is a new record, as in NetFlow. A TCP flow
-- is `attempt` (only a SYN), `open`, `closed` (FIN from both), `reset`, or `midstream` (it had begun before).
-- Example: -l flows,n=4 spec/fixtures/web.pcap
local bit = require "bit"
local format = require "moontap.format"

local FIN, SYN, RST, ACK = 1, 2, 4, 16
local FLAGS = { { 2, "S" }, { 1, "F" }, { 4, "R" }, { 8, "P" }, { 16, "." }, { 32, "U" }, { 64, "E" }, { 128, "C" } }
local COLUMNS = { "first", "last", "duration", "proto", "src", "sport", "dst", "dport", "packets", "packets_back",
  "bytes", "bytes_back", "flags", "flags_back", "state", "reason" }

local args, flows, write
local ended = { flows = 0, packets = 0, bytes = 0 }
local largest = {} -- a heap would be faster; it is as long as `n`

local function flags_text(bits)
  local text = ""
  for _, flag in ipairs(FLAGS) do
    if bit.band(bits, flag[1]) ~= 0 then text = text .. flag[2] end
  end
  return text
end

local function state_of(key, f)
  if key.proto ~= 6 then return "" end
  local both = bit.bor(f.flags, f.flags_back)
  if bit.band(both, RST) ~= 0 then return "reset" end
  if bit.band(f.flags, FIN) ~= 0 and bit.band(f.flags_back, FIN) ~= 0 then return "closed" end
  if bit.band(both, SYN) == 0 then return "midstream" end
  return bit.band(f.flags_back, SYN + ACK) ~= 0 and "open" or "attempt"
end

local function record(key, f, reason)
  local has_ports = key.sport ~= 0 or key.dport ~= 0
  return { first = format.rfc3339(f.first_seen_ns), last = format.rfc3339(f.last_seen_ns),
    duration = tonumber(f.last_seen_ns - f.first_seen_ns) / 1e9, proto = format.protocol(key.proto),
    src = tostring(key.src), dst = tostring(key.dst), sport = has_ports and key.sport or nil,
    dport = has_ports and key.dport or nil, packets = f.packets, packets_back = f.packets_back, bytes = f.bytes,
    bytes_back = f.bytes_back, flags = key.proto == 6 and flags_text(f.flags) or nil,
    flags_back = key.proto == 6 and flags_text(f.flags_back) or nil, state = state_of(key, f), reason = reason }
end

local writers = {
  csv = function(r)
    local cells = {}
    for i, name in ipairs(COLUMNS) do cells[i] = r[name] or "" end
    print(table.concat(cells, ","))
  end,
  jsonl = function(r) print(moontap.json.encode(r)) end,
}

-- The n largest, the largest first; of equal ones the first to end.
local function rank(key, f, reason)
  local bytes = f.bytes + f.bytes_back
  local last = largest[args.n]
  if last and last.total >= bytes then return end
  local at = #largest + 1
  while at > 1 and largest[at - 1].total < bytes do at = at - 1 end
  table.insert(largest, at, { total = bytes, record = record(key, f, reason) })
  largest[args.n + 1] = nil
end

local function end_flow(key, f, reason)
  ended.flows = ended.flows + 1
  ended.packets = ended.packets + f.packets + f.packets_back
  ended.bytes = ended.bytes + f.bytes + f.bytes_back
  if write then write(record(key, f, reason)) else rank(key, f, reason) end
end

local function print_table()
  if ended.flows == 0 then return print("no flows: there is no IP packet") end
  local rows = {}
  for i, entry in ipairs(largest) do
    local r = entry.record
    rows[i] = { r.first:sub(12, 23), format.duration(r.duration), r.proto, r.src .. (r.sport and " " .. r.sport or ""),
      r.dst .. (r.dport and " " .. r.dport or ""), format.count(r.packets), format.count(r.packets_back),
      format.count(r.bytes), format.count(r.bytes_back), r.flags and r.flags .. "/" .. r.flags_back or "", r.state }
  end
  print(format.table({ "first (UTC)", ">duration", "proto", "source", "destination", ">packets", ">back", ">bytes",
    ">back", "flags", "state" }, rows))
  if #largest < ended.flows then print(("and %s more"):format(format.count(ended.flows - #largest))) end
  print(("total  %s flows, %s packets, %s bytes"):format(format.count(ended.flows), format.count(ended.packets),
    format.count(ended.bytes)))
  local stats = flows:stats()
  if stats.evicted > 0 then
    print(("%s ended early: limit=%d flows at a time"):format(format.count(stats.evicted), args.limit))
  end
end

local function positive(n) return n <= 0 and "expected more than 0, found " .. n end

return {
  summary = "flow records with packets and bytes each way, times, TCP flags and state",
  args = {
    n = { default = 20, help = "flows in the table, the largest" ,
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more, found " .. n end },
    format = { default = "table", help = "table, csv or jsonl (a JSON object a line): these two have all flows",
      check = function(f) return f ~= "table" and not writers[f] and "expected these, found " .. f end },
    idle = { default = 60, help = "seconds of silence that end a flow", check = positive },
    active = { default = 1800, help = "seconds after which a flow is written though it goes on", check = positive },
    limit = { default = 1000000, help = "flows at a time; more end the least recently used", check = positive },
  },
  on_start = function(run)
    args = run.args
    write = not run.json and writers[args.format]
    flows = moontap.table { key = "flow", idle = args.idle, active = args.active, limit = args.limit, policy = "evict",
      on_expire = end_flow, value = { packets = "count", packets_back = "count", bytes = "count", bytes_back = "count",
        flags = "u8", flags_back = "u8" } }
    if write and args.format == "csv" then print(table.concat(COLUMNS, ",")) end
  end,
  on_packet = function(p)
    if not p.is_ip then return end
    local bytes, flags = p.wirelen, p.tcp_flags
    local f = flows[p]
    if not f then return end
    if f.back then
      f.packets_back, f.bytes_back = f.packets_back + 1, f.bytes_back + bytes
      f.flags_back = bit.bor(f.flags_back, flags)
    else
      f.packets, f.bytes, f.flags = f.packets + 1, f.bytes + bytes, bit.bor(f.flags, flags)
    end
  end,
  on_stop = function(run)
    if not run.json and not write then print_table() end
  end,
  results = function()
    local list = moontap.list()
    for i, entry in ipairs(largest) do list[i] = entry.record end
    return { flows = ended.flows, packets = ended.packets, bytes = ended.bytes, top = list }
  end,
}
