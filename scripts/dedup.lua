-- SPDX-License-Identifier: BSD-2-Clause
-- Drop packets that were seen before, as when two taps or a mirror port show the same one twice.
--
--   moontap -l dedup -o once.pcap tap1.pcap tap2.pcap
--   moontap -l dedup,window=0.005,ignore=link,ttl -o once.pcapng eth0 eth1
--
-- Two packets are the same if their captured bytes and lengths are, within `window` seconds. `ignore` names what may
-- differ: `link` everything before the IP header (MAC addresses, VLAN tags), `ttl` the TTL or hop limit and the IPv4
-- checksum, as behind a router. Packets without IP are compared whole. The first one is kept.
--
-- Compared are lengths and hashes of 64 bits: of a million different packets of one length within a window, two are
-- taken for the same once in some 40 million runs.
-- Example: -l dedup -o once.pcap spec/fixtures/web.pcap spec/fixtures/web.pcap
local format = require "moontap.format"

local args, recent
local seen, dropped = 0, 0

local IGNORE = { link = true, ttl = true, none = true }

return {
  summary = "drop packets that were seen before within a window",
  args = {
    window = { default = 0.01, help = "seconds between two of the same",
      check = function(n) return not (n > 0 and n <= 3600) and "expected more than 0 and at most 3600" end },
    ignore = { default = "none", help = "what may differ: none, link, ttl, or link,ttl",
      check = function(list)
        for name in list:gmatch "[^,]+" do
          if not IGNORE[name] then return "expected none, link, ttl or link,ttl, found " .. name end
        end
      end },
    limit = { default = 1000000, help = "packets that are remembered at most",
      check = function(n) return not (n >= 1 and n <= 2 ^ 30 and n % 1 == 0) and "expected 1 to 1073741824" end },
  },
  on_start = function(run)
    args = run.args
    local link, ttl = args.ignore:find "link", args.ignore:find "ttl"
    recent = moontap.recent { window = args.window, limit = args.limit,
      ignore = link and ttl and "link,ttl" or link and "link" or ttl and "ttl" or "none" }
  end,
  on_packet = function(p)
    seen = seen + 1
    if recent:add(p) then
      dropped = dropped + 1
      return false
    end
  end,
  on_stop = function(run)
    if run.json then return end
    if seen == 0 then return print "no packets" end
    print(("dropped %s of %s packets as duplicates, %s"):format(format.count(dropped), format.count(seen),
      format.share(dropped, seen)))
    local early = recent:forgotten()
    if early > 0 then
      print(("%s were forgotten before their window was over: limit=%d"):format(format.count(early), args.limit))
    end
  end,
  results = function() return { packets = seen, dropped = dropped } end,
}
