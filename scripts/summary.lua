-- SPDX-License-Identifier: BSD-2-Clause
-- What is in the sources: packets, bytes, time span and rate, per source and per protocol.
--
--   moontap trace.pcap             (the same as moontap -l summary trace.pcap)
--
--   packets     3,338 in 1 source
--   bytes       1,269,043 on the wire (1.2 MiB), 213,632 captured
--   first       2026-11-22 10:00:00.000000 UTC
--   ...
--   protocol  packets      bytes  share
--   TCP         2,991  1,231,022  97.0%
--   UDP           347     38,021   3.0%
-- Example: -l summary spec/fixtures/web.pcap
local format = require "moontap.format"

local NOT_IP = 1000 -- keys: an IP protocol, or this plus an Ethernet type
local MAX_SOURCES = 20 -- lines of the table of sources
local packets, bytes = {}, {}
local seen, captured, origin, first, last = 0, 0, nil, 0, 0 -- first and last: nanoseconds since origin

local function protocols()
  local list, total = moontap.list(), 0
  for key, n in pairs(packets) do
    local name = key < NOT_IP and format.protocol(key) or format.ethertype(key - NOT_IP)
    list[#list + 1] = { name = name, packets = n, bytes = bytes[key] }
    total = total + bytes[key]
  end
  table.sort(list, function(a, b) return a.bytes > b.bytes or a.bytes == b.bytes and a.name < b.name end)
  return list, total
end

local function print_totals(stats, sources, wire_bytes)
  local count, seconds = format.count, (last - first) / 1e9
  print(("packets     %s in %d source%s"):format(count(seen), sources, sources == 1 and "" or "s"))
  if seen < stats.packets then print(("of          %s that were read"):format(count(stats.packets))) end
  print(("bytes       %s on the wire (%s), %s captured"):format(count(wire_bytes), format.bytes(wire_bytes),
    count(captured)))
  if seen > 0 then
    print("first       " .. format.time(origin + first))
    print("last        " .. format.time(origin + last))
    print("duration    " .. format.duration(seconds))
  end
  if seconds > 0 then
    local bits = format.bitrate(8 * wire_bytes / seconds)
    print(("rate        %s packets/s, %s"):format(count(seen / seconds), bits))
  end
  print("link types  " .. (#stats.linktypes > 0 and format.linktypes(stats.linktypes) or "none"))
  print("disorder    " .. count(stats.disorder))
end

local function print_sources(sources)
  local rows = {}
  for i = 1, math.min(#sources, MAX_SOURCES) do
    local s = sources[i]
    rows[i] = { s.name, format.count(s.packets), format.count(s.bytes), format.count(s.disorder),
      format.linktypes(s.linktypes) }
  end
  print("\n" .. format.table({ "source", ">packets", ">captured", ">disorder", "link types" }, rows))
  if #sources > MAX_SOURCES then print(("and %d more sources"):format(#sources - MAX_SOURCES)) end
end

return {
  summary = "packets, bytes, time span and rate, per source and per protocol",
  on_packet = function(p)
    local key, t = p.is_ip and p.proto or NOT_IP + p.ethertype, p.t
    if seen == 0 then origin, first, last = p.ts_ns - t, t, t end
    if t < first then first = t elseif t > last then last = t end
    seen, captured = seen + 1, captured + p.caplen
    packets[key] = (packets[key] or 0) + 1
    bytes[key] = (bytes[key] or 0) + p.wirelen
  end,
  on_stop = function(run)
    if run.json then return end
    local list, total = protocols()
    local rows = {}
    for i, e in ipairs(list) do
      rows[i] = { e.name, format.count(e.packets), format.count(e.bytes), format.share(e.bytes, total) }
    end
    print_totals(run.stats, #run.sources, total)
    print_sources(run.sources)
    if #rows > 0 then print("\n" .. format.table({ "protocol", ">packets", ">bytes", ">share" }, rows)) end
  end,
  results = function() return { protocols = (protocols()) } end,
}
