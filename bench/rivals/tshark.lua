-- SPDX-License-Identifier: BSD-2-Clause
-- luacheck: globals Field Listener
-- What bench/ports.lua counts, as a tap of tshark.
--
--   tshark -n -q -r 1.pcap -X lua_script:bench/rivals/tshark.lua
--
--   10000000 packets, 624512 to port 53
local tcp, udp = Field.new("tcp.dstport"), Field.new("udp.dstport")
local tap = Listener.new()
local packets, count = 0, {}

function tap.packet()
  local port = tcp() or udp()
  if port then
    count[port.value] = (count[port.value] or 0) + 1
  end
  packets = packets + 1
end

function tap.draw()
  print(("%d packets, %d to port 53"):format(packets, count[53] or 0))
end
