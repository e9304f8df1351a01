-- Counts packets and bytes of every flow in a moontap.table: the 5-tuple row of the benchmarks.
--
--   moontap -q -l bench/flows.lua 1.pcap
--
--   993239 flows, 5000000 packets, 3743711871 bytes, 0 without a flow, 83 MB
local flows = moontap.table { key = "flow", value = { packets = "count", bytes = "count" } }
local others = 0

return {
  summary = "packets and bytes of every flow, for benchmarks",
  on_packet = function(p)
    local bytes = p.wirelen -- before the lookup, which may call C: see docs/performance.md
    local f = flows[p]
    if f then
      f.packets = f.packets + 1
      f.bytes = f.bytes + bytes
    else
      others = others + 1
    end
  end,
  on_stop = function()
    local packets, bytes = 0, 0
    for _, f in flows:pairs() do
      packets, bytes = packets + f.packets, bytes + f.bytes
    end
    print(("%d flows, %.0f packets, %.0f bytes, %d without a flow, %.0f MB"):format(#flows, packets, bytes, others,
      flows:memory() / 1e6))
  end,
}
