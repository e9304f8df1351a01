-- SPDX-License-Identifier: BSD-2-Clause
-- dnsjit's least possible loop: it takes each packet and looks at nothing.
--
--   dnsjit bench/rivals/dnsjit.lua mmpcap 1.pcap
--
--   10000000 packets
local input = require("dnsjit.input." .. arg[2]).new()
input:open(arg[3])
local next_packet, state = input:produce()
local packets = 0
while next_packet(state) ~= nil do
  packets = packets + 1
end
print(("%d packets"):format(packets))
