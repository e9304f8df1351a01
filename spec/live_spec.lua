-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")

-- Why there can be no network namespaces here, or nil.
local function find_obstacle()
  t.fresh()
  local net, why = t.netns()
  t.clean()
  return not net and why or nil
end

describe("live capture", function()
  local net
  local why = find_obstacle()
  -- busted has no pending() in before_each.
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    net = t.netns()
  end)
  after_each(t.clean)

  it("-c 100 ends while ping goes on", function()
    local r = t.run(([[%s ping -q -i 0.01 -c 1000 10.77.0.2 >/dev/null & ping=$!
      %s moontap -c 100 -F icmp -o out.pcap veth0; code=$?; kill $ping; exit $code]]):format(net.left, net.left))
    assert.equal(100, t.count("out.pcap"))
    assert.equal(100, #t.field("out.pcap", "frame.number", "icmp"))
    assert.equal("nsecpcap", t.capinfos("out.pcap").type)
    assert.equal("", r.out)
  end)

  it("SIGINT writes everything that was captured", function()
    t.run(([[%s moontap --json -F icmp -o out.pcap veth0 >json & pid=$!; sleep 0.8
      %s ping -q -i 0.01 -c 50 10.77.0.2 >/dev/null; sleep 0.3; kill -INT $pid; wait $pid]]):format(net.left, net.left))
    assert.equal(100, t.count("out.pcap"))
    local r = t.balances(require("cjson").decode(t.read("json")))
    assert.equal(100, r.kept)
    assert.equal(0, r.dropped_kernel)
  end)

  it("SIGTERM at once leaves a valid empty file", function()
    t.run(("%s moontap -o out.pcap veth0 -F 'icmp' & pid=$!; sleep 0.8; kill -TERM $pid; wait $pid"):format(net.left))
    assert.equal(0, t.count("out.pcap"))
  end)

  it("-i takes the interface, --duration ends it by the clock", function()
    t.run(("%s moontap --duration 1 -o out.pcap -i veth0"):format(net.left))
    t.capinfos("out.pcap")
  end)

  it("gives back VLAN tags", function()
    t.run(([[%s moontap -F vlan -o out.pcap veth0 & pid=$!; sleep 0.8
      %s tcpreplay -q -t -i veth0 f/vlan.pcap >/dev/null 2>&1; sleep 0.5; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    assert.same(t.field("f/vlan.pcap", "frame.md5_hash"), t.field("out.pcap", "frame.md5_hash"))
  end)

  it("names source and interface of packets", function()
    t.write("s.lua", "return { on_packet = function(p) print(p.source, p.interface) end }")
    local r = t.run(([[%s moontap -c 4 -F icmp -l ./s.lua veth0 & pid=$!; sleep 0.8
      %s ping -q -i 0.2 -c 2 10.77.0.2 >/dev/null; wait $pid]]):format(net.left, net.left))
    assert.equal(("veth0\tveth0\n"):rep(4), r.out)
  end)

  it("rotates a silent line, and empty segments are valid", function()
    t.run(("%s moontap -F 'udp port 9' -B out -G 1 veth0 & pid=$!; sleep 3.5; kill -INT $pid; wait $pid"):format(net.left))
    local lines = t.json_lines("out/manifest.jsonl")
    assert.is_true(#lines >= 3, #lines .. " segments")
    for _, line in ipairs(lines) do
      assert.equal(0, line.packets)
      assert.equal(t.null, line.first_ts)
      assert.equal(0, t.count("out/" .. line.file))
    end
  end)

  it("writes pcapng with the interface's name", function()
    t.run(([[%s moontap -c 4 -F icmp -o out.pcapng veth0 & pid=$!; sleep 0.8
      %s ping -q -i 0.2 -c 2 10.77.0.2 >/dev/null; wait $pid]]):format(net.left, net.left))
    assert.equal("veth0", t.interfaces("out.pcapng")[1].name)
    assert.equal(4, t.count("out.pcapng"))
  end)

  it("calls on_interval on a silent line", function()
    t.write("s.lua", "return { interval = 1, on_interval = function(now, last) if not last then print('tick') end end }")
    local r = t.run(("%s moontap -F 'udp port 9' -l ./s.lua veth0 & pid=$!; sleep 3.3; kill -INT $pid; wait $pid"):format(net.left))
    assert.is_truthy(r.out:find("tick\ntick\n", 1, true))
  end)

  it("of an interface that is down or gone says so", function()
    t.refuses(net.left .. " moontap -o out.pcap nothere0", 1, "nothere0")
  end)

  it("-v says how large the buffers are", function()
    local r = t.run(net.left .. " moontap -v --duration 0.5 -o out.pcap veth0")
    assert.is_truthy(r.err:find("buffer", 1, true))
  end)

  it("with a bad filter is refused", function()
    t.refuses(net.left .. " moontap -o out.pcap -F 'udp prt 53' veth0", 1, "udp prt 53")
  end)
end)
