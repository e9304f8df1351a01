-- Reads addresses, ports and length of every packet: the hook of bench/merge.sh.
--
--   moontap -l bench/hook.lua -o out.pcap 1.pcap 2.pcap
--
--   10000000 packets, 7487500000 bytes, port sum 334215678901, 0 to themselves
local packets, bytes, ports, to_self = 0, 0, 0, 0

return {
  summary = "read the usual fields of every packet, for benchmarks",
  on_packet = function(p)
    packets = packets + 1
    bytes = bytes + p.wirelen
    ports = ports + p.sport + p.dport
    if p.src == p.dst then
      to_self = to_self + 1
    end
  end,
  on_stop = function()
    print(("%d packets, %.0f bytes, port sum %.0f, %d to themselves"):format(packets, bytes, ports, to_self))
  end,
}
