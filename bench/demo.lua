-- SPDX-License-Identifier: BSD-2-Clause
-- Leave out ARP and the payload of TLS, tell what comes every half second, list the segments.
--
--   moontap -B segments -G 1 -l bench/demo.lua eth0.pcap eth1.pcapng
--
--   10:00:00.5   118 packets, 24 of DNS
--   segment                packets  on disk  why opened
--   100000-00000001.pcapng     118   9.1 KiB  start
local format = require "moontap.format"

local packets, dns, cut, arp = 0, 0, 0, 0
local segments = {}

return {
  summary = "the script of make demo: drop, cut, count by time, list segments",
  args = { every = { default = 0.5, help = "seconds between lines" } },
  interval = function(args) return args.every end,

  on_packet = function(p)
    if p.ethertype == 0x0806 then
      arp = arp + 1
      return false
    end
    packets = packets + 1
    if p.sport == 53 or p.dport == 53 then
      dns = dns + 1
    elseif (p.sport == 443 or p.dport == 443) and p.payload_len > 0 then
      cut = cut + p.payload_len
      p:truncate(p.payload_offset)
    end
  end,

  on_interval = function(now)
    if packets > 0 then
      local clock = os.date("!%H:%M:%S", math.floor(now)) .. (".%d"):format(now % 1 * 10)
      print(("%s %5d packets, %d of DNS"):format(clock, packets, dns))
    end
    packets, dns = 0, 0
  end,

  on_segment_close = function(segment)
    segments[#segments + 1] = { segment.file, segment.packets, format.bytes(segment.file_bytes), segment.reason }
  end,

  on_stop = function()
    print(("left out: %d ARP packets, %s of TLS payload\n"):format(arp, format.bytes(cut)))
    print(format.table({ "segment", ">packets", ">on disk", "why opened" }, segments))
  end,
}
