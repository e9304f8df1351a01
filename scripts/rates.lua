-- SPDX-License-Identifier: BSD-2-Clause
-- Packets and bytes in each interval, by protocol or any fields, and a curve of them.
--
--   moontap -l rates trace.pcap                    each second
--   moontap -l rates,every=60,by=protocol eth0     each minute, live: a line as it ends
--   moontap -l rates,by=src,n=3 trace.pcap         the three largest senders of each second
--
-- Intervals begin at multiples of `every`. A packet that comes late counts in the interval in hand.
-- Example: -l rates,every=0.2 spec/fixtures/web.pcap
local ffi = require "ffi"
local format = require "moontap.format"
local group = require "moontap.group"
local plot = require "moontap.plot"

local MOST = 100000 -- intervals that the curve and --json remember; the first ones leave
local MOST_GAP = 1000 -- empty intervals in a row that are printed

local args, fields, counted, add, quiet, every_ns
local interval, packets, bytes = nil, 0, 0 -- in hand
local rows, curve, total_packets, total_bytes = {}, {}, 0, 0
local headed = false

local function name_of(entry)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = tostring(entry[field] or "-") end
  return table.concat(parts, " ")
end

local function print_row(at, most)
  if not headed then
    print(("%-23s  %12s  %15s  %14s%s"):format("from (UTC)", "packets", "bytes", "rate",
      most and "  " .. args.by or ""))
    headed = true
  end
  local keys = {}
  for i, e in ipairs(most or {}) do
    keys[i] = ("%s %s"):format(name_of(e), format.bitrate(8 * e.bytes / args.every))
  end
  print(("%s  %12s  %15s  %14s%s"):format(format.time(at):sub(1, 23), format.count(packets), format.count(bytes),
    format.bitrate(8 * bytes / args.every), #keys > 0 and "  " .. table.concat(keys, ", ") or ""))
end

local function remember(at, most)
  rows[#rows + 1] = { time = at, packets = packets, bytes = bytes, top = most }
  curve[#curve + 1] = bytes
  if #rows > MOST then table.remove(rows, 1) table.remove(curve, 1) end
end

local function end_interval()
  local at = interval * args.every
  local most = counted and counted.top(args.n, "bytes").top
  if not quiet then print_row(at, most) end
  remember(at, most)
  packets, bytes = 0, 0
  if counted then counted.clear() end
end

-- Go on to the interval of a packet, past empty ones.
local function go_to(next_interval)
  if not interval then
    interval = next_interval
    return
  end
  local gap = next_interval - interval
  while interval < next_interval do
    end_interval()
    interval = gap > MOST_GAP and next_interval or interval + 1
  end
end

return {
  summary = "packets and bytes over time, by protocol or any fields, with a curve",
  args = {
    every = { default = 1, help = "seconds of an interval",
      check = function(n) return n < 0.000001 and "expected 0.000001 or more" end },
    by = { default = "none", help = "none, protocol, or fields to count by, such as src or dport",
      check = function(by) return by ~= "none" and by ~= "protocol" and select(2, group.parse(by)) or nil end },
    n = { default = 5, help = "keys to print for each interval",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more, found " .. n end },
  },
  interval = 1,
  on_start = function(run)
    args, quiet = run.args, run.json
    every_ns = ffi.cast("int64_t", args.every * 1e9 + 0.5)
    if args.by ~= "none" then
      fields = group.parse(args.by == "protocol" and "proto" or args.by)
      counted = group.new(fields)
      add = counted.add
    end
  end,
  on_packet = function(p)
    local now = tonumber(p.ts_ns / every_ns)
    if now ~= interval and (not interval or now > interval) then go_to(now) end
    local length = p.wirelen
    packets, bytes = packets + 1, bytes + length
    total_packets, total_bytes = total_packets + 1, total_bytes + length
    if add then add(p) end
  end,
  on_interval = function(now)
    if interval and math.floor(now / args.every) > interval then go_to(math.floor(now / args.every)) end
  end,
  on_stop = function()
    if interval then end_interval() end
    if quiet then return end
    if total_packets == 0 then return print "no packets" end
    print(("total                    %12s  %15s"):format(format.count(total_packets), format.count(total_bytes)))
    if #curve > 1 then
      print("\n" .. plot.chart(curve, { label = function(n) return format.bitrate(8 * n / args.every) end }))
    end
  end,
  results = function()
    return { every = args.every, packets = total_packets, bytes = total_bytes, intervals = moontap.list(rows) }
  end,
}
