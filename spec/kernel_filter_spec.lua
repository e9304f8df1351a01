-- SPDX-License-Identifier: BSD-2-Clause
-- Filters live: partly in the kernel, and what comes out is what tcpdump finds in an unfiltered capture.
local json = require("cjson")
local t = require("support.moontap")

local function find_obstacle()
  t.fresh()
  local net, why = t.netns()
  t.clean()
  return not net and why or nil
end

-- All sorts: with and without tags, lengths, both IP versions, what no packet has, what every packet has.
local EXPRESSIONS = { "ip", "ip6", "arp", "udp port 53", "tcp", "vlan", "vlan 100", "vlan and udp", "not vlan", "len > 100", "less 90",
  "host 10.9.1.1", "tcp port 443", "icmp or icmp6", "ether proto 0x8100", "ether[12:2] == 0x800", "ip[8] < 65", "udp[4:2] > 40",
  "vlan and vlan", "tcp[tcpflags] & tcp-syn != 0", "not ip", "greater 1", "ether multicast", "net 10.0.0.0/8 and not udp" }

describe("a filter, live,", function()
  local net
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    net = t.netns()
    for _, side in ipairs { net.left, net.right } do -- no packets but ours: not all captures begin and end together
      t.run(side .. " sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    end
  end)
  after_each(t.clean)

  it("keeps what tcpdump finds in an unfiltered capture, with VLAN tags and without", function()
    t.generate("in", "--packets 2000 --files 1 --vlan 40 --ipv6 40 --snaplen 200")
    t.run("moontap -q -o all.pcap f/web.pcap f/vlan.pcap in/1.pcap; moontap -q --reorder 3600000 -o replay.pcap all.pcap || cp all.pcap replay.pcap")
    local starts, stops = {}, {}
    for i, expression in ipairs(EXPRESSIONS) do
      starts[i] = ("%s moontap --json -F '%s' -o %d.pcap veth0 >%d.json & p%d=$!"):format(net.left, expression, i, i, i)
      stops[i] = "p" .. i
    end
    local pids = "$" .. table.concat(stops, " $")
    t.run(([[%s moontap -o everything.pcap veth0 & all=$!
      %s
      for i in everything $(seq %d); do until test -e $i.pcap; do sleep 0.05; done; done # sources are open before outputs
      sleep 0.5; %s tcpreplay -q --pps=2000 -i veth0 replay.pcap >/dev/null 2>&1; sleep 0.8
      kill -INT $all %s; for p in $all %s; do wait $p || exit 9; done]]):format(net.left, table.concat(starts, "\n"), #EXPRESSIONS, net.right, pids, pids))
    local total = t.count("everything.pcap")
    assert.is_true(total >= 2000)
    for i, expression in ipairs(EXPRESSIONS) do
      -- as it is written: tcpdump's own compilation for files
      t.run(("tcpdump -r everything.pcap -w judge.pcap '%s' 2>/dev/null"):format(expression))
      local r = t.balances(json.decode(t.read(i .. ".json")))
      assert.same({ expression, t.count("judge.pcap"), 0 }, { expression, r.kept, r.dropped + r.dropped_kernel })
      assert.same(t.field("judge.pcap", "frame.md5_hash"), t.field(i .. ".pcap", "frame.md5_hash"))
    end
  end)

  it("is applied in the kernel where that means the same", function()
    t.run(([[%s moontap --json -F 'udp port 9' -o out.pcap veth0 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=2000 -i veth0 f/web.pcap >/dev/null 2>&1; sleep 0.4; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    assert.is_true(json.decode(t.read("json")).packets < 20)
    -- tagged frames come through, and are filtered here
    t.run(([[%s moontap --json -F 'udp port 9' -o out2.pcap veth0 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=2000 -i veth0 f/vlan.pcap >/dev/null 2>&1; sleep 0.4; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    local r = json.decode(t.read("json"))
    assert.is_true(r.filtered >= t.count("f/vlan.pcap"), r.filtered)
  end)
end)
