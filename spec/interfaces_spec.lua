-- SPDX-License-Identifier: BSD-2-Clause
-- Several live sources at once: complete, in order, and counted.
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

-- Why there can be no network namespaces here, or nil.
local function find_obstacle()
  t.fresh()
  local net, why = t.netns(2)
  t.clean()
  return not net and why or nil
end

-- A capture of n UDP packets from 10.0.0.<link> whose payloads count from 1.
local function numbered(path, n, link, vlans)
  local packets = {}
  for i = 1, n do
    packets[i] = { 1000, i, c.udp { src = "10.0.0." .. link, id = i % 65536, payload = ("%08d"):format(i), vlans = vlans } }
  end
  c.write(t.path(path), c.pcap(packets))
end

-- The packets of 10.0.0.<link> in the file are numbers 1 to n, in that order.
local function has_all(path, link, n)
  local payloads = t.field(path, "udp.payload", ("ip.src == 10.0.0.%d && udp.port == 2000"):format(link))
  assert.equal(n, #payloads, path .. ": packets of link " .. link)
  for i, hex in ipairs(payloads) do
    local number = tonumber((hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)))
    if number ~= i then
      error(("%s: packet %d of link %d is number %s"):format(path, i, link, number), 2)
    end
  end
end

-- Both links at once, then a moment of silence.
local SEND = [[
  %s tcpreplay -q --pps=%d -i veth0 a.pcap >/dev/null 2>&1 & first=$!
  %s tcpreplay -q --pps=%d -i veth1 b.pcap >/dev/null 2>&1 & second=$!
  wait $first $second; sleep 0.4]]

describe("several live sources", function()
  local net
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    net = t.netns(2)
  end)
  after_each(t.clean)

  -- Capture while both links carry the files; the --json object.
  local function capture(options, code, pps)
    local send = SEND:format(net.right, pps or 20000, net.right, pps or 20000)
    local r = t.run(([[%s moontap --json -F 'udp port 2000' %s >json & pid=$!; sleep 0.8
      %s; kill -INT $pid; wait $pid]]):format(net.left, options, send), code)
    return t.balances(json.decode(t.read("json"))), r
  end

  it("give one stream in order, with every packet once", function()
    numbered("a.pcap", 20000, 1)
    numbered("b.pcap", 20000, 2)
    local r = capture("-o out.pcapng -i veth0 -i veth1")
    assert.same({ 40000, 0, 0, 0 }, { r.kept, r.dropped, r.dropped_kernel, r.late })
    has_all("out.pcapng", 1, 20000)
    has_all("out.pcapng", 2, 20000)
    assert.is_true(t.in_order("out.pcapng"))
    local names = t.field("out.pcapng", "frame.interface_name", "ip.src == 10.0.0.2")
    assert.equal("veth1", names[1])
    assert.equal("veth1", names[#names])
  end)

  it("give pcapng if no format is stated", function()
    numbered("a.pcap", 10, 1)
    numbered("b.pcap", 10, 2)
    capture("-o out -i veth0 -i veth1")
    assert.equal("pcapng", t.capinfos("out").type)
    assert.equal(20, t.count("out"))
  end)

  it("have counts in the statistics of pcapng, the manifest and the report that are the same", function()
    numbered("a.pcap", 2000, 1)
    numbered("b.pcap", 1000, 2)
    local r = capture("-B segments --format pcapng -i veth0 -i veth1")
    local sum = {}
    for _, source in ipairs(r.sources) do
      sum[source.name] = source.kept
      assert.equal(source.packets, source.kept + source.filtered)
    end
    assert.same({ veth0 = 2000, veth1 = 1000 }, sum)
    local line = t.json_lines("segments/manifest.jsonl")[1]
    assert.equal(3000, line.packets)
    local file = "segments/" .. line.file
    local received = {}
    for _, block in ipairs(c.blocks(t.read(file))) do
      if block[1] == 5 then
        local options = c.options_of(block[2], 13)
        received[#received + 1] = { options[4], options[5], options[7], options[8] }
      end
    end
    local function u64(n) return c.uint(n, 8, "le") end
    assert.equal(2, #received)
    for i, n in ipairs { 2000, 1000 } do
      assert.same({ u64(r.sources[i].packets), u64(0), u64(0), u64(n) }, received[i])
    end
  end)

  it("tell the counts of each on SIGUSR1", function()
    numbered("a.pcap", 300, 1)
    numbered("b.pcap", 200, 2)
    local r = t.run(([[%s moontap -F 'udp port 2000' -o out.pcapng -i veth0 -i veth1 & pid=$!; sleep 0.8
      %s; kill -USR1 $pid; sleep 0.3; echo ---; kill -INT $pid; wait $pid]])
      :format(net.left, SEND:format(net.right, 1000, net.right, 1000)))
    local before = r.err .. r.out
    assert.is_truthy(before:find("veth0: [%d,]+ packets, 300 kept"), before)
    assert.is_truthy(before:find("veth1: [%d,]+ packets, 200 kept"), before)
  end)

  it("do not wait for a silent one beyond the window", function()
    numbered("a.pcap", 1, 1)
    t.run(net.left .. " sysctl -qw net.ipv6.conf.veth1.disable_ipv6=1") -- it does send now and then
    t.run(net.right .. " sysctl -qw net.ipv6.conf.veth1.disable_ipv6=1")
    local command = [[%s moontap -c 1 -w %d -F 'udp port 2000' -o out.pcapng --overwrite -i veth0 -i veth1 & pid=$!; sleep 0.8
      start=$(date +%%s%%3N); %s tcpreplay -q -t -i veth0 a.pcap >/dev/null 2>&1; wait $pid; code=$?
      echo $(($(date +%%s%%3N) - start)); exit $code]]
    local long = tonumber(t.run(command:format(net.left, 1500, net.right)).out)
    local short = tonumber(t.run(command:format(net.left, 50, net.right)).out)
    assert.is_true(long >= 1400 and long < 4000, "held for " .. long .. " ms with a window of 1500 ms")
    assert.is_true(short < 1000, "held for " .. short .. " ms with a window of 50 ms")
  end)

  it("with a long window lose nothing when they are told to end", function()
    numbered("a.pcap", 500, 1)
    numbered("b.pcap", 1, 2)
    local r = capture("-w 8000000 -o out.pcapng -i veth0 -i veth1", 0, 10000)
    assert.same({ 501, 0 }, { r.kept, r.dropped })
  end)

  it("lose nothing beside a silent one", function()
    numbered("a.pcap", 50000, 1)
    numbered("b.pcap", 1, 2)
    local r = capture("-w 1000 -o out.pcapng -i veth0 -i veth1", 0, 40000)
    assert.same({ 50001, 0, 0, 0 }, { r.kept, r.dropped, r.dropped_kernel, r.late })
    assert.is_true(t.in_order("out.pcapng"))
  end)

  it("one whose clock is behind is late, counted, and told the offset that mends it", function()
    numbered("a.pcap", 11000, 1) -- it takes two seconds in a row
    numbered("b.pcap", 11000, 2)
    local r, said
    for _ = 1, 3 do -- a machine that stands still for longer than the window makes others late as well: once more then
      r, said = capture("--overwrite -o out.pcapng -i veth0 -i veth1,offset=-0.3", 0, 2000)
      if r.sources[1].late == 0 then break end
    end
    assert.equal(22000, r.kept)
    assert.equal(0, r.sources[1].late)
    assert.is_true(r.sources[2].late > 4000, r.sources[2].late .. " are late")
    assert.is_truthy(said.err:find("veth1,offset=-0.3 is steadily late", 1, true), said.err)
    -- leaving out the offset, give or take a few ms
    assert.is_truthy(said.err:find("offset=%-?0%.0%d+") or said.err:find("leave out offset="), said.err)
    local _, wrong = capture("--overwrite -o out.pcapng -i veth0,offset=1 -i veth1", 0, 2000)
    assert.is_truthy(wrong.err:find("veth1 is steadily late", 1, true), wrong.err)
    assert.is_truthy(wrong.err:find("offset=1%.0%d%d") or wrong.err:find("offset=0%.9%d%d"), wrong.err)
  end)

  it("with an offset that is right are in order", function()
    numbered("a.pcap", 2000, 1)
    numbered("b.pcap", 2000, 2)
    local r = capture("-o out.pcapng -w 1000 -i veth0 -i veth1,offset=-0.3", 0, 2000)
    assert.equal(0, r.late)
    assert.is_true(t.in_order("out.pcapng"))
  end)

  it("--late=drop drops and counts what is late", function()
    numbered("a.pcap", 4000, 1)
    numbered("b.pcap", 4000, 2)
    local r = capture("--late=drop -o out.pcapng -i veth0 -i veth1,offset=-0.5", 0, 4000)
    assert.is_true(r.late > 1000)
    assert.equal(r.late, r.dropped)
    assert.equal(8000, r.kept + r.dropped)
    assert.is_true(t.in_order("out.pcapng"))
  end)

  it("have a filter and a snap length each, and VLAN tags are restored on both", function()
    numbered("a.pcap", 100, 1, { 7 })
    numbered("b.pcap", 100, 2, { 9 })
    capture("-o out.pcapng -i 'veth0,snaplen=40,filter=vlan 7 and udp' -i 'veth1,filter=vlan 9 and udp'")
    assert.equal(200, t.count("out.pcapng"))
    assert.same({ "40" }, { t.field("out.pcapng", "frame.cap_len", "vlan.id == 7")[1] })
    assert.equal(100, #t.field("out.pcapng", "frame.number", "vlan.id == 7"))
    assert.equal(100, #t.field("out.pcapng", "frame.number", "vlan.id == 9 && frame.cap_len == frame.len"))
  end)

  it("may be mixed with a pipe and a file that grows", function()
    numbered("a.pcap", 500, 1)
    numbered("b.pcap", 500, 2)
    numbered("grow.pcap", 0, 3)
    numbered("more.pcap", 700, 3)
    numbered("pipe.pcap", 600, 4)
    t.run(([[mkfifo fifo; (exec 3>fifo; head -c 24 pipe.pcap >&3; sleep 1.5; tail -c +25 pipe.pcap >&3; sleep 5) & feeder=$!
      %s moontap --json -F 'udp port 2000' -o out.pcapng -i veth0 -i veth1 fifo grow.pcap,follow=yes >json & pid=$!; sleep 0.8
      %s; tail -c +25 more.pcap >>grow.pcap; sleep 1.5; kill -INT $pid; wait $pid; code=$?; kill $feeder; exit $code]])
      :format(net.left, SEND:format(net.right, 1000, net.right, 1000)))
    local r = t.balances(json.decode(t.read("json")))
    assert.same({ 2300, 0 }, { r.kept, r.dropped })
    for link, n in ipairs { 500, 500, 700, 600 } do
      has_all("out.pcapng", link, n)
    end
  end)

  it("of different clocks are refused", function()
    local words = { "veth0", "veth1", "adapter", "--mixed-clocks" }
    t.refuses(net.left .. " moontap -o out.pcapng -i veth0 -i veth1,tstamp=adapter_unsynced", 1, unpack(words))
    -- allowed, but veth has no such clock
    t.refuses(net.left .. " moontap --mixed-clocks -o out.pcapng -i veth0 -i veth1,tstamp=adapter_unsynced", 1, "veth1",
      "time stamp type")
    assert.is_false(t.exists("out.pcapng"))
  end)

  it("outlast an interface that goes down or disappears", function()
    numbered("a.pcap", 100, 1)
    numbered("b.pcap", 100, 2)
    local r = t.run(([[
      both() { %s tcpreplay -q --pps=1000 -i veth0 a.pcap >/dev/null 2>&1; %s tcpreplay -q --pps=1000 -i veth1 b.pcap >/dev/null 2>&1; }
      %s moontap --json -F 'udp port 2000' -o out.pcapng -i veth0 -i veth1 >json & pid=$!; sleep 0.8
      both
      %s ip link set veth0 down; sleep 0.6; both; %s ip link set veth0 up; sleep 0.6; both
      %s ip link del veth1; sleep 0.4
      %s ip link add veth1 type veth peer name veth1 netns %s
      %s ip link set veth1 up; %s ip link set veth1 up; sleep 1; both
      sleep 0.4; kill -INT $pid; wait $pid]]):format(net.right, net.right, net.left, net.left, net.left, net.left,
        net.left, net.right:match("%S+$"), net.left, net.right), 2)
    local o = t.balances(json.decode(t.read("json")))
    assert.same({ 300, 400 }, { o.sources[1].kept, o.sources[2].kept })
    for _, words in ipairs { "veth0: is down", "veth0: is up again", "veth1: The interface disappeared", "veth1: is back" } do
      assert.is_truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
    assert.equal(700, t.count("out.pcapng"))
  end)

  it("use next to no processor when idle", function()
    local r = t.run(([[%s moontap -o out.pcapng -F 'udp port 2000' -i veth0 -i veth1 & pid=$!; sleep 1
      before=$(awk '{print $14 + $15}' /proc/$(pgrep -P $pid moontap || echo $pid)/stat); sleep 4
      after=$(awk '{print $14 + $15}' /proc/$(pgrep -P $pid moontap || echo $pid)/stat)
      echo $((after - before)); kill -INT $pid; wait $pid]]):format(net.left))
    assert.is_true(tonumber(r.out) <= 4, "ticks of 10 ms in 4 s: " .. r.out)
  end)
end)

describe("--reorder", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- n packets, one a millisecond, each moved back by up to `most` ms.
  local function shuffled(path, n, most)
    local dice, packets = 1, {}
    for i = 1, n do
      dice = dice * 16807 % 2147483647
      packets[i] = { key = i + dice % (most * 1000) / 1000, packet = { 1000 + math.floor(i / 1000), i % 1000 * 1000,
        c.udp { id = i, payload = ("%08d"):format(i) } } }
    end
    table.sort(packets, function(a, b) return a.key < b.key end)
    local f = {}
    for i, p in ipairs(packets) do
      f[i] = p.packet
    end
    c.write(t.path(path), c.pcap(f))
  end

  it("sorts what is out of order by no more", function()
    shuffled("in.pcap", 5000, 20)
    local before = t.json("moontap --json -o as-it-comes.pcap in.pcap")
    assert.is_true(before.disorder > 1000)
    assert.is_false(t.in_order("as-it-comes.pcap"))
    local r = t.balances(t.json("moontap --json --reorder 20 -o out.pcap in.pcap"))
    assert.same({ 5000, 0 }, { r.kept, r.disorder })
    assert.is_true(t.in_order("out.pcap"))
    has_all("out.pcap", 1, 5000)
    local less = t.json("moontap --json --reorder 5 -o less.pcap in.pcap")
    assert.is_true(less.disorder > 0 and less.disorder < before.disorder)
    assert.equal(5000, t.count("less.pcap"))
  end)

  it("keeps the order of equal times, comments, and works in a merge and from a pipe", function()
    shuffled("in.pcap", 3000, 10)
    shuffled("other.pcap", 3000, 15)
    t.run("cat in.pcap | moontap --reorder 10 -o piped.pcap -")
    has_all("piped.pcap", 1, 3000)
    t.run("moontap --reorder 20 -o merged.pcap in.pcap other.pcap")
    t.run("moontap --reorder 20 -o a.pcap in.pcap && moontap --reorder 20 -o b.pcap other.pcap && mergecap -F nsecpcap -w judge.pcap a.pcap b.pcap")
    assert.same(t.field("judge.pcap", "frame.md5_hash"), t.field("merged.pcap", "frame.md5_hash"))
    t.run("moontap -o commented.pcapng f/two-interfaces.pcapng && moontap --reorder 10 -o sorted.pcapng f/two-interfaces.pcapng")
    assert.equal(t.read("commented.pcapng"), t.read("sorted.pcapng"))
  end)

  it("with less memory than it takes loses nothing", function()
    shuffled("in.pcap", 5000, 20)
    local r = t.balances(t.json("moontap --json --buffer-size 4M --reorder 3600000 -o out.pcap in.pcap in.pcap in.pcap"))
    assert.equal(15000, r.kept)
  end)

  it("goes on when the clock is set back", function()
    local packets = {}
    for i = 1, 400 do
      packets[i] = { (i <= 200 and 900000 or 1000) + math.floor(i / 100), i % 100 * 10000, c.udp { id = i, payload = ("%08d"):format(i) } }
    end
    c.write(t.path("in.pcap"), c.pcap(packets))
    local r = t.json("moontap --json --reorder 100 -o out.pcap in.pcap")
    assert.same({ 400, 1 }, { r.kept, r.disorder })
    has_all("out.pcap", 1, 400)
  end)
end)
