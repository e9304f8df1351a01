-- SPDX-License-Identifier: BSD-2-Clause
-- Keep a part of the packets: one in n, the packets of one flow in n, or so many a second.
--
--   moontap -l sample,n=100 -o part.pcap trace.pcap              one packet in 100
--   moontap -l sample,n=100,by=flow -o part.pcap trace.pcap      all packets of one flow in 100
--   moontap -l sample,rate=1000 -o part.pcap eth0                at most 1,000 packets a second
--
-- by=packet takes each n-th packet, by=random each with a chance of 1 in n. by=flow goes by a hash of addresses, ports
-- and protocol that is the same in both directions and in every run: captures of two taps keep the same flows. Packets
-- without IP are kept then.
-- Example: -l sample,n=10,by=flow -o part.pcap spec/fixtures/web.pcap
local format = require "moontap.format"

local args
local seen, kept = 0, 0
local second, left = nil, 0

local deciders = {
  packet = function() return (seen - 1) % args.n == 0 end,
  random = function() return math.random() * args.n < 1 end,
  flow = function(p) return not p.is_ip or p.flow_hash % args.n == 0 end,
}
local decide

local function within_rate(p)
  local now = math.floor(p.ts)
  if now ~= second then second, left = now, args.rate end
  left = left - 1
  return left >= 0
end

return {
  summary = "keep one packet or flow in n, or so many packets a second",
  args = {
    n = { default = 1, help = "keep one in n",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more" end },
    by = { default = "packet", help = "packet (each n-th), random, or flow",
      check = function(by) return not deciders[by] and "expected these, found " .. by end },
    rate = { default = 0, help = "packets a second at most, after n; 0: no limit",
      check = function(n) return not (n >= 0 and n % 1 == 0) and "expected 0 or more" end },
  },
  on_start = function(run)
    args = run.args
    decide = deciders[args.by]
  end,
  on_packet = function(p)
    seen = seen + 1
    if not decide(p) or (args.rate > 0 and not within_rate(p)) then return false end
    kept = kept + 1
  end,
  on_stop = function(run)
    if run.json then return end
    if seen == 0 then return print "no packets" end
    print(("kept %s of %s packets, %s"):format(format.count(kept), format.count(seen), format.share(kept, seen)))
  end,
  results = function() return { packets = seen, kept = kept } end,
}
