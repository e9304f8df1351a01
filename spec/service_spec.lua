-- SPDX-License-Identifier: BSD-2-Clause
-- moontap as a service: readiness, watchdog, metrics, the unit file.
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

local function find_obstacle()
  t.fresh()
  local net, why = t.netns(2)
  t.clean()
  return not net and why or nil
end

local function numbered(path, n, link)
  local packets = {}
  for i = 1, n do
    packets[i] = { 1000, i, c.udp { src = "10.0.0." .. link, id = i % 65536, payload = ("%08d"):format(i) } }
  end
  c.write(t.path(path), c.pcap(packets))
end

-- Listens on a datagram socket as a service manager does, and writes what it hears.
local LISTENER = [[
import socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + name[1:] if name[0] == "@" else name)
out = open("heard", "w")
while True:
    out.write(s.recv(4096).decode() + "\n--\n")
    out.flush()
]]

describe("a service", function()
  local net
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    net = t.netns(2)
    numbered("a.pcap", 2000, 1)
    t.write("listen.py", LISTENER)
  end)
  after_each(t.clean)

  it("says when it is ready, gives signs of life, and when it ends", function()
    for _, name in ipairs { "./notify", "@moontap-spec" } do
      local address = name:gsub("^%./", t.path("")):gsub("^@", "@" .. t.dir:match("[^.]*$"))
      t.run(([[rm -f notify heard; %s python3 listen.py '%s' & listener=$!; for i in 1 2 3 4 5 6 7 8 9; do test -e heard && break; sleep 0.3; done
        NOTIFY_SOCKET='%s' WATCHDOG_USEC=400000 %s moontap -F 'udp port 2000' -o out.pcapng --overwrite veth0 & pid=$!; sleep 0.8
        %s tcpreplay -q --pps=2000 -i veth0 a.pcap >/dev/null 2>&1; sleep 0.6; kill -TERM $pid; wait $pid; code=$?; sleep 0.2; kill $listener; exit $code]])
        :format(net.left, address, address, net.left, net.right))
      local heard = t.read("heard")
      assert.is_truthy(heard:find("^READY=1\n"), heard)
      local _, signs = heard:gsub("WATCHDOG=1", "")
      assert.is_true(signs >= 5, heard)
      assert.is_falsy(heard:match("STATUS=%d[^\n]*"):find("stuck", 1, true), heard)
      assert.is_truthy(heard:find("STATUS=[%d,]+ packets, [%d,]+ kept"), heard)
      assert.is_truthy(heard:find("STOPPING=1", 1, true), heard)
    end
  end)

  it("says that it ends when it does by itself", function()
    t.write("s.lua", "return { on_stop = function() os.execute 'sleep 0.2; cp heard before' end }")
    t.run(([[python3 listen.py "$PWD/notify" & listener=$!; for i in 1 2 3 4 5 6 7 8 9; do test -e heard && break; sleep 0.3; done
      NOTIFY_SOCKET="$PWD/notify" %s moontap -l ./s.lua --duration 1 -o out.pcapng veth0; sleep 0.2; kill $listener]]):format(net.left))
    assert.is_truthy(t.read("before"):find("STOPPING=1", 1, true), t.read("before"))
    t.run([[rm -f notify heard; python3 listen.py "$PWD/notify" & listener=$!; for i in 1 2 3 4 5 6 7 8 9; do test -e heard && break; sleep 0.3; done
      NOTIFY_SOCKET="$PWD/notify" moontap a.pcap; sleep 0.2; kill $listener]])
    assert.is_truthy(t.read("heard"):find("STOPPING=1", 1, true), t.read("heard"))
  end)

  it("gives signs of life while what was read is still being written", function()
    t.run([[rm -f notify heard; python3 listen.py "$PWD/notify" & listener=$!; for i in 1 2 3 4 5 6 7 8 9; do test -e heard && break; sleep 0.3; done
      NOTIFY_SOCKET="$PWD/notify" WATCHDOG_USEC=800000 moontap -q -B out -P 1000 --pipeout 'sleep 1; cat' a.pcap; sleep 0.2; kill $listener]])
    local heard = t.read("heard")
    local _, signs = heard:gsub("WATCHDOG=1", "")
    assert.is_true(signs >= 3, heard)
  end)

  it("gives no sign of life when the data path is stuck", function()
    -- nobody reads standard output: a write to it does not come back
    t.run(([[python3 listen.py "$PWD/notify" & listener=$!; for i in 1 2 3 4 5 6 7 8 9; do test -e heard && break; sleep 0.3; done
      mkfifo out; sleep 20 <out & reader=$!
      NOTIFY_SOCKET="$PWD/notify" WATCHDOG_USEC=400000 %s moontap -F 'udp port 2000' -o - veth0 >out & pid=$!; sleep 0.8
      cp heard before; %s tcpreplay -q --pps=4000 -i veth0 a.pcap >/dev/null 2>&1; sleep 1; lines=$(wc -l <heard); sleep 1.5
      tail -n +$((lines + 1)) heard >after; kill -KILL $pid $reader; kill $listener; true]]):format(net.left, net.right))
    assert.is_truthy(t.read("before"):find("WATCHDOG=1", 1, true), t.read("before"))
    assert.is_falsy(t.read("after"):find("WATCHDOG=1", 1, true), t.read("after"))
    assert.is_truthy(t.read("heard"):find("stuck", 1, true), t.read("heard"))
  end)

  it("--metrics: counts add up, in Prometheus' format, also of scripts", function()
    t.write("s.lua", [[
      local open = moontap.gauge("open_flows", "Flows that are open")
      local ports = moontap.counter("port_packets_total", "Packets of each port", { "port", "direction" })
      local odd = moontap.counter("odd_total", "Odd\nhelp \\ text", { "what" })
      local n = 0
      return { on_packet = function(p)
        n = n + 1
        open:set(n)
        ports:add(1, p.dport, "to")
        ports:add(1, p.sport, "from")
        if n == 1 then odd:add(2, 'a "quote" \\ and\nline') end
        return p.ip_id % 2 == 0
      end }]])
    t.run(([[%s sh -c 'ip link set lo up
        exec moontap --json --metrics 19100 -F "udp port 2000" -l ./s.lua -o out.pcapng -i veth0,name=left -i veth1' >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=5000 -i veth0 a.pcap >/dev/null 2>&1; sleep 1.2
      %s curl -s http://127.0.0.1:19100/metrics >page; %s curl -si http://127.0.0.1:19100/other >other; %s curl -si -X POST -d x http://127.0.0.1:19100/metrics >post
      %s curl -sI http://127.0.0.1:19100/metrics >head
      kill -INT $pid; wait $pid]]):format(net.left, net.right, net.left, net.left, net.left, net.left))
    local page = t.read("page")
    local values = {}
    for name, value in page:gmatch("\n([%w_]+[^\n]-) ([^ \n]+)\n?") do
      values[name] = tonumber(value)
    end
    local o = t.balances(json.decode(t.read("json")))
    assert.same({ 2000, 1000 }, { o.kept + o.script_dropped, o.kept })
    assert.equal(1000, values['moontap_kept_packets_total{source="left"}'], page)
    assert.equal(1000, values['moontap_script_dropped_packets_total{source="left"}'])
    assert.equal(0, values['moontap_kernel_dropped_packets_total{source="left"}'])
    local sum = 0
    for _, what in ipairs { "kept", "filtered", "script_dropped", "dropped" } do
      sum = sum + values[('moontap_%s_packets_total{source="left"}'):format(what)]
    end
    assert.equal(values['moontap_packets_total{source="left"}'], sum)
    assert.equal(1000, values['moontap_output_packets_total{output="out.pcapng"}'])
    assert.equal(2000, values['port_packets_total{port="2000",direction="to"}'])
    assert.is_truthy(page:find('odd_total{what="a \\"quote\\" \\\\ and\\nline"} 2', 1, true), page)
    assert.is_truthy(t.read("other"):find("404"))
    assert.is_truthy(t.read("post"):find("405"))
    assert.is_truthy(t.read("head"):find("200"))
    if t.sh("command -v promtool").code == 0 then
      t.run("promtool check metrics <page")
    end
    local found = {}
    for _, m in ipairs(o.metrics) do
      found[m.name .. m.labels] = m.value
    end
    assert.equal(2000, found['port_packets_totalport="2000",direction="to"'])
  end)

  it("--metrics listens on loopback unless told otherwise, and refuses what it can not", function()
    local r = t.run(([[%s sh -c 'ip link set lo up; exec moontap --metrics 19100 -o out.pcapng veth0' & pid=$!; sleep 0.8
      %s sh -c 'ss -ltnH 2>/dev/null || cat /proc/net/tcp'; %s moontap --metrics 19100 -o two.pcapng veth0; echo $?; kill -INT $pid; wait $pid]])
      :format(net.left, net.left, net.left))
    assert.is_truthy(r.out:find("127.0.0.1:19100", 1, true) or r.out:find("0100007F", 1, true), r.out)
    assert.is_truthy(r.out:find("\n1\n") and r.err:find("19100", 1, true), r.out .. r.err)
    t.refuses("moontap --metrics nowhere:80 -o x.pcap a.pcap", 1, "--metrics", "nowhere")
    t.refuses("moontap --metrics 0 -o x.pcap a.pcap", 1, "--metrics 0", "65535")
    t.refuses("moontap --metrics 1.2.3.4: -o x.pcap a.pcap", 1, "--metrics")
  end)

  it("has a unit file that systemd takes", function()
    t.run("make -C '" .. os.getenv("PWD") .. "' -s install DESTDIR=" .. t.path("root") .. " PREFIX=/usr >/dev/null")
    local unit = "root/usr/lib/systemd/system/moontap@.service"
    assert.is_truthy(t.read(unit):find("ExecStart=/usr/bin/moontap ", 1, true))
    if t.sh("command -v systemd-analyze").code ~= 0 then
      return pending("systemd-analyze is not here")
    end
    t.run("sed 's|/usr/bin/moontap|/bin/true|' " .. unit .. " >moontap@x.service")
    t.run("systemd-analyze verify --man=no ./moontap@x.service 2>said; cat said >&2; ! grep -i moontap said")
  end)
end)

describe("moontap.gauge and moontap.counter", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("count without a server, too, and are in --json", function()
    t.write("s.lua", [[local g, n = moontap.gauge("g", "G"), moontap.counter("n", "N")
      return { on_packet = function(p) n:add() g:set(5) g:add(-2) end }]])
    local r = t.json("moontap --json -l ./s.lua f/web.pcap")
    assert.same({ { name = "g", kind = "gauge", labels = "", value = 3 }, { name = "n", kind = "counter", labels = "", value = r.packets } },
      r.metrics)
  end)

  it("values of labels are text that Prometheus and JSON take, whatever a packet holds", function()
    t.write("s.lua", [[local n, g = moontap.counter("n", "N", { "x" }), moontap.gauge("g", "G", { "x" })
      for _, x in ipairs { "a\0b", "\255\254", "caf\195\169", "\192\128", "\237\160\128", "\225\128\194\128\128", "\240\159\140\153", 12345678901LL, 7ULL, 1.5 } do
        n:add(1, x)
      end
      n:add(1, true) n:add(1, false) n:add(1, moontap.address "::1")
      g:set(0/0, "nan") g:set(1/0, "inf")
      return { on_packet = function() end }]])
    local labels, values = {}, {}
    for _, m in ipairs(t.json("moontap --json -l ./s.lua f/web.pcap").metrics) do
      if m.name == "n" then
        labels[#labels + 1] = m.labels:match '^x="(.*)"$'
      else
        values[#values + 1] = m.value
      end
    end
    assert.same({ "610062", "fffe", "caf\195\169", "c080", "eda080", "e180c28080", "\240\159\140\153", "12345678901", "7", "1.5", "true", "false", "::1" }, labels)
    assert.same({ json.null, json.null }, values)
  end)

  it("file names that are no UTF-8 stay apart in --json and the manifest", function()
    t.run("cp f/web.pcap \255.pcap; cp f/web.pcap \254.pcap")
    local names = {}
    for _, s in ipairs(t.json("moontap --json -B out \255.pcap \254.pcap").sources) do
      names[#names + 1] = s.name
    end
    assert.same({ "\\xff.pcap", "\\xfe.pcap" }, names)
    for i, s in ipairs(t.json_lines("out/manifest.jsonl")[1].sources) do
      assert.equal(names[i], s.name)
    end
  end)

  it("refuse what makes no sense, at the script's line", function()
    for line, words in pairs {
      ["moontap.gauge('a b', 'x')"] = "expected a name of letters, digits and _, found 'a b'",
      ["moontap.gauge('moontap_x', 'x')"] = "names that begin with moontap_ are taken",
      ["moontap.gauge('x')"] = "expected a sentence on what 'x' counts, found nothing",
      ["moontap.gauge('x', 'x', { 'a', 'b', 'c', 'd' })"] = "at most 3 names of labels, found 4",
      ["moontap.gauge('x', 'x', { '1a' })"] = "expected the name of a label",
      ["moontap.gauge('x', 'x', { 'a', 'a' })"] = "label 'a' is there twice",
      ["moontap.gauge('x', 'x', { a = 'b' })"] = "at most 3 names of labels, found a table with keys",
      ["moontap.gauge('x', 'x\\255')"] = "the sentence on 'x' is no UTF-8 text",
      ["moontap.gauge('x', 'x'):set(1, 'y')"] = "x: more values than labels: found a string beyond the 0",
      ["moontap.counter('x', 'x', { 'a' }):add(1, 'y', 2)"] = "x: more values than labels: found the number 2 beyond the 1",
      ["moontap.counter('x', 'x', { 'a' }):add(1, 0/0)"] = "expected a value of label 'a', found the number nan",
      ["moontap.gauge('x', 'x') moontap.counter('x', 'x')"] = "it is a gauge already",
      ["moontap.counter('x', 'x'):add(-1)"] = "expected a number that is not negative, found the number -1",
      ["moontap.counter('x', 'x'):set(1)"] = "a counter has no method 'set'",
      ["moontap.gauge('x', 'x'):set('1')"] = "expected a number, found a string",
      ["moontap.gauge('x', 'x', { 'a' }):set(1)"] = "expected a value of label 'a', found nothing",
      ["local g = moontap.gauge('x', 'x', { 'a' }) for i = 1, 10001 do g:set(i, i) end"] = "there are 10000 series already",
    } do
      t.write("s.lua", line)
      local r = t.refuses("moontap -l ./s.lua f/web.pcap", 1, words)
      assert.is_truthy(r.err:find("s.lua:1:", 1, true), r.err)
    end
  end)

  it("are fast enough for every packet", function()
    t.write("s.lua", [[local n = moontap.counter("n", "N", { "port" }) return { on_packet = function(p) n:add(1, p.dport) end }]])
    t.generate("in", "--packets 20000 --files 1")
    local r = t.run("moontap --profile -l ./s.lua in/*.pcap 2>&1")
    assert.is_falsy(r.out:find("abort", 1, true), r.out)
  end)
end)
