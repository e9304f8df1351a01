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
local format = require "moontap.format"

local NOT_IP = 1000 -- keys: an IP protocol, or this plus an Ethernet type
local MAX_SOURCES = 20 -- lines of the table of sources
local packets, bytes = {}, {}

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
  local count, seconds = format.count, stats.duration or 0
  print(("packets     %s in %d source%s"):format(count(stats.packets), sources, sources == 1 and "" or "s"))
  print(("bytes       %s on the wire (%s), %s captured"):format(count(wire_bytes), format.bytes(wire_bytes),
    count(stats.bytes)))
  if stats.packets > 0 then
    print("first       " .. format.time(stats.first_ts or stats.first_ns))
    print("last        " .. format.time(stats.last_ts or stats.last_ns))
    print("duration    " .. format.duration(seconds))
  end
  if seconds > 0 then
    local bits = format.bitrate(8 * wire_bytes / seconds)
    print(("rate        %s packets/s, %s"):format(count(stats.packets / seconds), bits))
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
    local key = p.is_ip and p.proto or NOT_IP + p.ethertype
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
