-- SPDX-License-Identifier: BSD-2-Clause
-- Counts the packets to each destination port, for benchmarks: statistics without an output.
--
--   moontap -l bench/ports.lua 1.pcap
--
--   10000000 packets, 624512 to port 53
local count = {}
for port = 0, 65535 do
  count[port] = 0
end

return {
  summary = "count by destination port, for benchmarks",
  on_packet = function(p)
    local port = p.dport
    count[port] = count[port] + 1
  end,
  on_stop = function()
    local packets = 0
    for port = 0, 65535 do
      packets = packets + count[port]
    end
    print(("%d packets, %d to port 53"):format(packets, count[53]))
  end,
}
