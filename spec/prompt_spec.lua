-- SPDX-License-Identifier: BSD-2-Clause
-- moontap --repl: lines from a pipe, the same on a terminal, and beside a live capture.
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

local net, why_not = (function()
  t.fresh()
  local net, why = t.netns(1)
  t.clean()
  return net, why
end)()
local live_it = net and it or function(name) it(name, function() pending(why_not) end) end

local function contains(text, ...)
  for _, words in ipairs { ... } do
    assert.is_truthy(text:find(words, 1, true), words .. "\nis not in\n" .. text)
  end
end

-- Lines to a prompt on these sources; exit status `code`.
local function prompt(lines, sources, code)
  return t.run("moontap --repl " .. (sources or "f/web.pcap"), code, { stdin = lines .. "\n" })
end

-- Standard output as a list of lines.
local function out(...)
  local lines = {}
  for line in prompt(...).out:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

-- Numbers of the packets in lists.
local function numbers(text)
  local list = {}
  for n in ("\n" .. text):gmatch("\n(%d+) +%d%d%d%d%-") do
    list[#list + 1] = tonumber(n)
  end
  return list
end

-- A file of n packets, more than are kept; their source port is their number.
local function long(n, name)
  local packets = {}
  for i = 1, n do
    packets[i] = { c.T0 + math.floor(i / 1000), i % 1000 * 1000, c.udp { sport = i % 65536, id = i % 65536, payload = "x" } }
  end
  return t.write(name or "long.pcap", c.pcap(packets))
end

describe("prompt from a pipe:", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("prints plain results", function()
    assert.same({ "53" }, { prompt("next(3)\np.dport").out:match("\n(%d+)\n$") })
    assert.same({ "2", "10.9.1.2", "nil", "a\tb", '{ 1, 2, x = { "y" } }' },
      out('1 + 1\nx = next() and tostring(p.src)\nx\nnil\n"a", "b"\n{1, 2, x = {"y"}}'))
  end)

  it("goes on after an error, and ends with 4", function()
    local r = prompt("next()\np.srcc\nlod 'top'\nerror 'oops'\n)\np.dport", nil, 4)
    contains(r.err, "line:2: a packet has no field 'srcc': did you mean 'src'?", "line:3: 'lod' is not set: did you mean 'load'?",
      "line:4: oops", "line:5: ")
    assert.equal("53", r.out:match("([^\n]*)\n$"))
  end)

  it("puts lines together that belong together, and an empty line throws an unfinished text away", function()
    assert.same({ "1", "2", "7" }, out("for i = 1, 2 do\nprint(i)\nend\nfunction f(a)\n  return a + 1\nend\nf(\n6)"))
    local r = prompt("f(\n\n1", nil, 4)
    contains(r.err, "not complete")
    assert.equal("1\n", r.out)
    assert.equal(4, t.sh("printf 'x = {' | moontap --repl f/web.pcap").code)
  end)

  it("a runaway expression is stopped, also one that catches errors", function()
    local r = prompt("while true do end\npcall(function() while true do end end)\nsetmetatable({}, {__tostring = function() while true do end end})\n1", nil, 4)
    assert.equal(3, select(2, r.err:gsub("stopped: it went on for 10 s without a result", "")))
    assert.equal("1\n", r.out)
  end, 60)

  it("too much memory is an error of the line", function()
    local r = t.run("moontap --script-memory 64M --repl f/web.pcap", 4, { stdin = "x = ('x'):rep(5e8)\nt = {} for i = 1, 1e8 do t[i] = {} end\nt = nil\n1\n" })
    contains(r.err, "not enough memory")
    assert.equal("1", r.out:match("([^\n]*)\n$"))
  end)

  it("a huge table is cut with a count, and control characters do not reach the terminal", function()
    local r = prompt('t = {} for i = 1, 100000 do t[i] = i end\nt\n"a\\27[2Jb\\255\\194\\155"')
    contains(r.out, "… 99960 more (100000 in all)", "a\\x1b[2Jb\\xff\\xc2\\x9b")
    assert.is_true(#r.out < 2000)
  end)

  it("end: quit, exit, os.exit and the end of input", function()
    for _, word in ipairs { "quit", "exit", "quit()", "os.exit(3)" } do
      assert.equal("1\n", prompt("1\n" .. word .. "\n2").out)
    end
  end)

  it("SIGTERM and SIGINT end the wait for a line", function()
    for _, signal in ipairs { "TERM", "INT" } do
      t.run(("mkfifo in.%s; sleep 30 >in.%s & s=$!; moontap --repl f/web.pcap <in.%s & sleep 0.5; kill -%s $!; wait $!; kill $s"):format(signal,
        signal, signal, signal), 0, { timeout = 10 })
    end
  end)

  it("refuses what has no meaning at a prompt", function()
    t.refuses("moontap --repl -o out.pcap f/web.pcap", 1, "-o out.pcap has no meaning with --repl", "save()")
    t.refuses("moontap --repl --json f/web.pcap", 1, "--json has no meaning with --repl")
    t.refuses("moontap --repl -c 3 f/web.pcap", 1, "-c 3 has no meaning with --repl")
    t.refuses("moontap --repl -", 1, "standard input")
    t.refuses("moontap --repl nowhere.pcap", 1, "nowhere.pcap")
  end)
end)

describe("prompt, stepping:", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("next shows the packets that it passes, the last 20 of many, and says where the stream ends", function()
    assert.same({ 1, 2, 3, 4 }, numbers(prompt("next()\nnext(3)").out))
    local r = prompt("next(1000)\nnext()\nnext()\np.number")
    assert.same({ 150, 169 }, { numbers(r.out)[1], numbers(r.out)[20] })
    contains(r.out, "… 149 packets", "the stream has ended")
    assert.equal("169", r.out:match("([^\n]*)\n$"))
    assert.equal("a\n", prompt("k = next({a = 1})\nk").out)
    assert.equal("169", prompt("n = 0 while next() do n = n + 1 end\nn").out:match("([^\n]*)\n$"))
  end)

  it("back and goto come to every packet, also outside of what is kept", function()
    long(150000)
    local r = prompt(table.concat({ "next(140000) and nil", "p.sport", "back()", "goto(2) and p.sport", "back()", "back()", "p.sport",
      "goto(149999) and p.sport", "goto(75000) and p.sport", "back(70000) and p.sport", "goto(200000)", "p.sport", "goto(0)", "next() and p.sport" }, "\n"),
      "long.pcap", 4)
    local list = {}
    for line in r.out:gmatch("[^\n]+") do
      list[#list + 1] = line:match("^%d+$") and tonumber(line)
    end
    assert.same({ 140000 % 65536, 2, 1, 149999 % 65536, 75000 % 65536, 5000, 5000, 1 }, list)
    contains(r.err, "there is no packet 200000, the stream ends with 150000")
    contains(r.out, "this is the first packet", "before the first packet")
  end)

  it("goto takes times, as tshark finds them", function()
    local first = t.run("tshark -r f/web.pcap -Y 'frame.time_relative >= 0.5' -T fields -e frame.number | head -1").out
    assert.equal(first:match("%d+"), tostring(numbers(prompt('goto "+0.5"').out)[1]))
    assert.equal(first:match("%d+"), tostring(numbers(prompt('next(100) and nil\ngoto "+0.5s"').out)[1]))
    assert.same({ 1 }, numbers(prompt('goto "2026-11-22T09:26:30Z"').out))
    t.run("TZ=UTC moontap --repl f/web.pcap <<'X' | grep -q '^4 '\ngoto \"09:26:31.041184\"\nX\n")
    contains(prompt('goto "2027-01-01"', nil, 4).err, "ends before that time")
    contains(prompt('goto "noon"', nil, 4).err, "expected a packet's number or a time")
  end)

  it("find goes where tshark's display filter says, by BPF, function or expression", function()
    local want = {}
    for n in t.run("tshark -r f/web.pcap -Y 'tcp.port == 443' -T fields -e frame.number").out:gmatch("%d+") do
      want[#want + 1] = tonumber(n)
    end
    local three = { want[1], want[2], want[3] }
    for _, what in ipairs { 'find "tcp port 443"', "find(function(p) return p.is_tcp and (p.sport == 443 or p.dport == 443) end)",
      "find(p.is_tcp and (p.sport == 443 or p.dport == 443))", "find(f)" } do
      assert.same(three, numbers(prompt("function f(p) return p.is_tcp and (p.sport == 443 or p.dport == 443) end\n" .. (what .. "\n"):rep(3)).out))
    end
    assert.same({ #want }, { tonumber(prompt('#find_all "tcp port 443"').out) })
    local r = prompt('next(5) and nil\nfind "udp port 9"\np.number\nfind "tcp prt 3"\nfind(3)\nfind()\np.number', nil, 4)
    contains(r.out, "no packet behind this one matches")
    assert.same({ "5", "5" }, { r.out:match("\n(%d+)\n"), r.out:match("(%d+)\n$") })
    contains(r.err, "syntax error", "find: expected a BPF expression or a function")
  end)

  it("save writes what is marked or found, as tcpdump reads it", function()
    local r = prompt('#find_all "udp port 53"\nsave "a.pcap"\nmark()\nnext(2) and nil\nmark()\nsave "b.pcapng.gz"\n'
      .. 'save("c.pcap", "found")\nsave "a.pcap"\nunmark()\nmarks()\nsegments()', nil, 4)
    local want = t.run("tcpdump -r f/web.pcap -w - udp port 53 2>/dev/null | tcpdump -r - -tttt -x 2>/dev/null").out
    assert.equal(want, t.run("tcpdump -r a.pcap -tttt -x 2>/dev/null").out)
    assert.equal(want, t.run("tcpdump -r c.pcap -tttt -x 2>/dev/null").out)
    assert.equal(2, t.count("b.pcapng.gz"))
    contains(r.err, "a.pcap: the file exists already")
    contains(r.out, "no packet is marked", "b.pcapng.gz", "c.pcap")
    contains(prompt('save "x.pcap"\nsave(3)\nsave("x.pcap", 3)\nnext() and mark() and nil\nsave "no/such/x.pcap"', nil, 4).err, "no packet is marked or found",
      "expected the name of a file", 'expected "marks", "found"', "no/such")
  end)

  it("a packet of before is gone, a copy stays", function()
    local r = prompt("next()\nq = p\nx = p:copy()\nnext()\nq.dport\nx.number\nx\np = 3", nil, 4)
    contains(r.err, "this packet is gone", "p is the current packet and can not be set")
    contains(r.out, "packet 1, f/web.pcap")
  end)

  it("several sources are one stream in order of time, filtered by -F", function()
    t.run("tcpdump -r f/web.pcap -w tcp.pcap tcp 2>/dev/null; tcpdump -r f/web.pcap -w udp.pcap udp 2>/dev/null")
    local lines = prompt("n = 0 last = 0 while next() do assert(p.ts >= last) n, last = n + 1, p.ts end\nn\nsources()", "tcp.pcap udp.pcap").out
    contains(lines, "tcp.pcap ", "udp.pcap ")
    local all = t.count("tcp.pcap") + t.count("udp.pcap")
    contains(lines, "\n" .. all .. "\n")
    local udp = t.count("udp.pcap")
    contains(prompt("n = 0 while next() do n = n + 1 end\nn\nstats()", "-F udp f/web.pcap").out, "\n" .. udp .. "\n", (169 - udp) .. " filtered")
  end)

  it("a pipe can be stepped through and back as far as packets are kept", function()
    long(150000)
    local r = t.run("mkfifo pipe; cat long.pcap >pipe & moontap --repl pipe", 4, { stdin = "next(149000) and nil\nback(2) and p.sport\ngoto(1)\np.sport\nwhere()\n" })
    assert.same({ tostring((149000 - 2) % 65536), tostring((149000 - 2) % 65536) }, { r.out:match("(%d+)\n(%d+)\n") })
    contains(r.err, "can only be read once, and the packets before number ")
  end)

  it("after a search through a pipe to its end, the packet that was left is gone or still the same", function()
    long(3000)
    local pipe = "mkfifo pipe; cat long.pcap >pipe & moontap --repl pipe"
    local r = t.run(pipe, 0, { stdin = 'next(2000) and nil\nfind "udp port 1"\np.sport\nnext() and p.sport\n' })
    assert.same({ "2000", "2001" }, { r.out:match("\n(%d+)\n(%d+)\n$") })
    long(150000)
    r = t.run("rm pipe; " .. pipe, 4, { stdin = 'next(2000) and nil\nfind "tcp"\np.sport\nwhere()\nnext()\n' })
    contains(r.err, "the packet is not kept any more")
    contains(r.out, "no packet matches up to the end")
    assert.equal(r.out:match("packets (%d+) to 150000 are kept"), r.out:match("\n(%d+)[^\n]*\n$"))
  end)

  it("whatever the capture, every packet can be shown", function()
    local everything = [[n = 0 while next() do n = n + 1 assert(#require("moontap.repl.tree").text(p) > 10) assert(p:hexdump()) end io.write("\nshown ", n, "\n")]]
    for _, file in ipairs { "f/vlan.pcap", "f/two-interfaces.pcapng", "f/dns.pcap.gz", "f/dns.erf", "f/ping.ns.pcap" } do
      local n = tonumber(prompt(everything, file).out:match("shown (%d+)"))
      assert.equal(t.count(file), n)
    end
    local folder, why = t.corpus()
    if not folder then
      return pending(why)
    end
    for _, file in ipairs(t.tree(folder)) do
      if not file:find("^licenses/") and file:find("/") then
        local r = t.sh("moontap --repl " .. t.quote(folder .. "/" .. file), { stdin = everything .. "\n" })
        assert.is_truthy(r.code == 1 or r.out:find("\nshown %d+\n$"), file .. "\n" .. r.err)
      end
    end
  end)
end)

describe("prompt, a packet:", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("is shown as a tree with names and offsets, down to what we decode", function()
    local r = prompt("goto(1) and nil\np")
    contains(r.out, "packet 1, f/web.pcap, 2026-11-22 09:26:30.963403000 UTC, 99 bytes", "Ethernet  (14 bytes, 0-13)",
      "\n     0  eth_dst          be:a8:75:18:2d:2f", "\n    26  src              10.9.1.2", "\n    36  dport            53", "DNS  (57 bytes, 42-98)",
      "name             www.moontap.test")
    contains(prompt("find(p:tls())\np").out, "TLS", "sni              ")
    contains(prompt("find(p.has_vlan)\np", "f/vlan.pcap").out, "VLAN tag  (4 bytes, 14-17)", "\n    14  vlan             ")
  end)

  it("checksums are judged as tshark judges them", function()
    -- three packets with right sums and three of which one byte was changed
    t.write("s.lua", [[return { on_packet = function(p) local e = p:edit() e:fix_checksums() if p.number % 2 == 0 then e:set_u8(p.payload_offset, 33) end end }]])
    t.run("moontap -q -F 'ip and tcp and len > 100' -c 6 -l ./s.lua -o sums.pcap f/web.pcap")
    local want = t.run("tshark -r sums.pcap -o tcp.check_checksum:TRUE -T fields -e tcp.checksum.status").out:gsub("\n", " ")
    local got = prompt([[while next() do
      io.write("\n=", tostring(require("moontap.repl.tree").text(p)):match("tcp_window.-checksum +0x%x+ %((%l+)") == "right" and 1 or 0, " ")
      end]], "sums.pcap").out
    assert.equal(want, got:gsub("[^\n]*\n=(%d )", "%1"):gsub("\n?[^\n]*%d%d%d%d%-[^\n]*", ""):gsub("the stream[^\n]*", ""):gsub("\n", ""))
  end)

  it("hexdump has the names of the fields below their bytes", function()
    local r = prompt("goto(1) and nil\np:hexdump()")
    contains(r.out, "\n0000  be a8 75 18 2d 2f ", "\n      eth_dst---------- eth_src---------- ether ip ds\n", "sport dport lengt check DNS")
  end)

  it("in a tunnel, what is inside is shown too", function()
    local inner = c.udp { sport = 1111, dport = 2222, payload = "inside" }
    t.write("vxlan.pcap", c.pcap { { 1, 0, c.udp { dport = 4789, payload = "\8\0\0\0\0\0\42\0" .. inner } } })
    local r = prompt("next() and nil\np", "vxlan.pcap")
    contains(r.out, "tunnel vxlan  (8 bytes, 42-49)", "tunnel_id        42", "dport            4789", "dport            2222")
  end)
end)

describe("prompt, scripts:", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("load and run give what moontap -l gives", function()
    local want = t.run("moontap -q -l top,by=src,sort=packets f/web.pcap").out
    local r = prompt('load "top,by=src,sort=packets"\nrun() and nil\nfinish()')
    contains(r.out, want)
    local object = t.json("moontap --json -l top,by=src f/web.pcap").scripts.top
    assert.equal(tostring(object.packets), prompt('load "top,by=src"\nrun() and nil\nresults("top").packets').out:match("(%d+)\n$"))
  end)

  it("-l and -e of the command line are in the chain", function()
    contains(prompt("scripts()\nrun()", "-l top -e 'p.is_udp' f/web.pcap").out, "top ", "-e", "dropped")
  end)

  it("run goes so far as it is told", function()
    local r = prompt(table.concat({ "hook(function(p) n = n + 1 end)", "n = 0", "run(10) and n", "run(p.dport == 443)", "p.number", "n",
      'run("tcp port 80") and p.number', "break_on(p.number == 100)", "run() and p.number", "break_on()", "run() and n" }, "\n"))
    local list = {}
    for n in r.out:gmatch("%f[^\n](%d+)%f[\n]") do
      list[#list + 1] = tonumber(n)
    end
    local https = tonumber(t.run("tshark -r f/web.pcap -Y 'frame.number > 10 && (tcp.dstport == 443 || udp.dstport == 443)' -T fields -e frame.number | head -1").out)
    local http = tonumber(t.run(("tshark -r f/web.pcap -Y 'frame.number > %d && tcp.port == 80' -T fields -e frame.number | head -1"):format(https)).out)
    assert.same({ 10, https, https, http, 100, 169 }, list)
  end)

  it("verdicts are counted, and a packet can be run again", function()
    local r = prompt("hook(function(p) return p.is_udp end)\nrun()\ngoto(0)\nhook(function(p) p:truncate(20) end)\nrun(3)\np.caplen\n"
      .. "goto(0)\nhook()\nhook(function() end)\nrun(3) and p.caplen")
    local udp = tonumber(t.run("tshark -r f/web.pcap -Y udp | wc -l").out)
    contains(r.out, ("169 packets in "), (": %d kept, %d dropped"):format(udp, 169 - udp), "\n20\n")
    assert.equal("99", r.out:match("([^\n]*)\n$"))
  end)

  it("an error of a hook ends the run at its packet, and the prompt goes on", function()
    local r = prompt("hook(function(p) if p.number == 7 then error 'oops' end end)\nrun()\np.number\nrun(1)\np.number", nil, 4)
    contains(r.err, "script hook: on_packet: line:1: oops (packet 7, from f/web.pcap", "a script failed")
    assert.is_truthy(r.out:find("\n7\n"))
    assert.equal("8", r.out:match("([^\n]*)\n$"))
  end)

  it("a hook that does not come back is stopped", function()
    local r = prompt("hook(function(p) while true do end end)\nrun()\np.number\nunload 'hook'\nnext() and p.number", nil, 4)
    contains(r.err, "stopped: it went on for 10 s")
    assert.same({ "1", "2" }, { r.out:match("\n(%d)\n"), r.out:match("(%d)\n$") })
  end)

  it("state shows what a script knows, reload begins with the file as it is now", function()
    t.write("mine.lua", "local seen, last = { n = 0 }, nil\nreturn { on_packet = function(p) seen.n = seen.n + 1 last = p.dport end }")
    local lines = [[load "./mine.lua"
run(5) and nil
state("mine").seen.n
state("mine").last
os.rename("other.lua", "mine.lua")
reload()
run(3) and nil
state("mine").seen.n]]
    t.write("other.lua", "local seen = { n = 100 }\nreturn { on_packet = function(p) seen.n = seen.n + 1 end }")
    local r = prompt(lines)
    contains(r.out, "mine.lua is loaded", "\n5\n53\n", "\n./mine.lua is loaded anew\n")
    assert.equal("103", r.out:match("([^\n]*)\n$"))
    contains(prompt('load "./none.lua"\nload "tpo"\nload "top,bye=src"\nload(3)\nstate "x"\nreload "x"\nunload "x"', nil, 4).err, "none.lua", "did you mean 'top'",
      "unknown argument 'bye': did you mean 'by'", "load: expected", "state: no script 'x'", "reload: no script 'x'", "unload: no script 'x'")
  end)

  it("load and next of tables and functions stay Lua's", function()
    assert.same({ "7", "a\t1" }, out('once = "return 7"\nload(function() local f = once once = nil return f end)()\nnext({a = 1})'))
  end)

  it("scripts that rotate or have outputs are run without them, and packets to outputs are counted by name", function()
    t.write("r.lua", "return { on_packet = function(p) end, rotate = function(s, p) return true end, on_block = function() end }")
    t.write("o.lua", 'local o = moontap.output { name = "odd", path = "odd.pcap" } return { on_packet = function(p) if p.number % 2 == 1 then return o end end }')
    contains(prompt("run()", "-l ./r.lua f/web.pcap").out, ": 169 kept")
    contains(prompt('load "./r.lua"\nrun()').out, "not called here, as nothing is written: rotate, on_block", ": 169 kept")
    for _, r in ipairs { prompt("run()", "-l ./o.lua f/web.pcap"), prompt('load "./o.lua"\nrun()') } do
      contains(r.out, ": 84 kept, 85 to odd")
    end
    contains(prompt('load "split"', nil, 4).err, "a prompt writes no files of keys")
    assert.is_false(t.exists("odd.pcap") or t.exists("split"))
  end)

  it("on_interval and p:edit work as in a capture", function()
    t.write("s.lua", [[return { interval = 0.5, on_interval = function(now, last) print("tick", last) end, on_packet = function(p) p:edit().ttl = 9 end }]])
    local r = prompt('load "./s.lua"\nrun()\np.ttl\nfinish()')
    contains(r.out, "tick\tfalse", "\n9\n", "tick\ttrue")
  end)

  it("profile says what is compiled, and where not", function()
    long(120000)
    local r = prompt("hook(function(p) local f = function() return p end end)\nprofile(50000)\nhook(function(p) n = p.dport end)\nprofile()\njit.status()", "long.pcap")
    contains(r.out, "not compiled: line:1: makes a function (a closure)", "interpreted: see line:1", "hook: on_packet: 50,000 calls")
    local second = r.out:match("is in the chain.-is in the chain(.*)")
    contains(second, "70,000 calls", ", compiled")
    assert.is_truthy(r.out:find("false", 1, true))
  end)
end)

describe("prompt, numbers:", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("rate counts as tshark does, and comes back", function()
    local r = prompt('next(2) and nil\nr = rate("100ms")\n#r\nr[1]\nr.step\np.number\nplot(r)\nrate("1s", "bytes")[1]')
    local first = tonumber(t.run([[tshark -r f/web.pcap -Y 'frame.number > 2' -T fields -e frame.time_epoch |
      awk '{ s = int($1 * 10); if (!f) f = s; n += s == f } END { print n }']]).out)
    assert.same({ tostring(first), "0.1", "2" }, { r.out:match("\n%d+\n(%d+)\n([%d.]+)\n(%d+)\n") })
    contains(r.out, "packets a step of 0.1 s")
  end)

  it("histogram takes a field, a function or an expression", function()
    local mean = t.run("tshark -r f/web.pcap -T fields -e frame.len | awk '{ s += $1 } END { printf \"%.6g\", s / NR }'").out
    for _, what in ipairs { '"wirelen"', "p.wirelen", "function(p) return p.wirelen end" } do
      contains(prompt("histogram(" .. what .. ")").out, "169 values from 66 to 3165, mean " .. mean)
    end
    contains(prompt("plot(histogram(p.wirelen))\nhistogram(p.is_tcp)").out, "169 values", "values from 0 to 1")
    contains(prompt('histogram("nothing")\nhistogram()\nrate("soon")\nplot(3)', nil, 4).err, "no field 'nothing'", "histogram: expected", "rate: expected a time",
      "plot: expected")
  end)

  it("help says something about every command, field, recipe and module", function()
    local r = prompt("help()")
    contains(r.out, "next([n])", "break_on([what])", "histogram(what)", "dedup", "Most frequent keys")
    for name in r.out:gmatch("\n  (%l[%l_]+)%(") do
      contains(prompt(('help "%s"\nhelp(%s)'):format(name, name == "goto" and '"goto"' or name)).out, name .. "(")
    end
    contains(prompt('help(p)', nil, 4).err, "no packet yet")
    contains(prompt('next() and nil\nhelp(p)\nhelp "tcp_flags"\nhelp "topk"\nhelp "top"\nhelp "p:u16"\nhelp "DNS messages"').out, "has these fields",
      "p.tcp_flags  integer",
      "moontap.topk([options])", "top - most packets", "p:u16(off)", "dns:answers()")
    contains(prompt('help "hexdmp"\nhelp(3)', nil, 4).err, "did you mean 'hexdump'?", "help: expected a name")
  end)
end)

-- --- terminal ---------------------------------------------------------------------------------------

-- Steps on a terminal; the transcript.
local function terminal(steps, options, code)
  t.write("steps", json.encode(steps))
  return t.run(("PATIENCE=%d XDG_STATE_HOME=$PWD/state TERM=xterm LANG=C.UTF-8 %s %s/spec/support/terminal steps moontap --repl %s"):format(
    (t.tsan or t.asan) and 60 or 20, options and options.env or "", os.getenv("PWD"), options and options.sources or "f/web.pcap"), code)
end

local function type_and_see(...)
  local steps = { { expect = "moontap> " } }
  for _, pair in ipairs { ... } do
    if not pair.expect then
      steps[#steps + 1] = { [pair.key and "key" or "send"] = pair.key or pair[1] }
    else
      steps[#steps + 1] = pair
    end
    local expected = pair.key and pair[1] or pair[2]
    if expected then
      steps[#steps + 1] = { expect = expected }
    end
  end
  steps[#steps + 1] = { expect = "moontap> " }
  steps[#steps + 1] = { send = "quit\r" }
  return steps
end

describe("prompt on a terminal:", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("steps, shows and ends with Ctrl-D", function()
    local steps = type_and_see({ "next(2)\r", "2      2026-11-22" }, { "p.dport\r", "50367" }, { "p.srcc\r", "did you mean 'src'?" })
    steps[#steps] = { pause = 0.5 } -- libedit has not had the terminal yet when the prompt is there
    steps[#steps + 1] = { key = "c-d" }
    contains(terminal(steps).out, "moontap> ^D")
  end)

  it("completes names, fields, methods, recipes and their arguments", function()
    terminal(type_and_see({ "nex\t", "next(" }, { ")\r", "1      2026" }, { "p.tcp_fl\t", "p.tcp_flags" }, { "\r", "0" }, { "p:hexd\t", "p:hexdump(" }, { ")\r",
      "0000  be" },
      { 'load "to\t', 'load "top' }, { ",b\t", ",by=" }, { 'dst"\r', "is loaded" }, { "moontap.addr\t", "moontap.address" }, { "\r", "moontap> " }, { "fin\t\t",
        "find_all(" }, { key = "c-c", "^C" }))
  end)

  it("Ctrl-C leaves the line, and ends what runs with the stream where it was", function()
    terminal(type_and_see({ "next(3)\r", "\n3 " }, { "some text", "some text" }, { key = "c-c", "^C\nmoontap> " }, { "while true do end\r", "while true do end\n" },
      { key = "c-c", "interrupted" }, { expect = "moontap> " },
      { "p.number\r", "\n3" }, { "find(function(p) while true do end end)\r", "end end)\n" }, { key = "c-c", "interrupted" }, { expect = "moontap> " },
        { "p.number + 1000\r", "1003" }))
  end)

  it("lines of one text have another prompt; Ctrl-C throws all of them away", function()
    terminal(type_and_see({ "for i = 1, 2 do\r", "      .. " }, { "print(i + 100)\r", "      .. " }, { "end\r", "102" }, { "f(\r", "      .. " }, { key = "c-c",
      "^C\nmoontap> " }, { "8 * 8\r", "64" }))
  end)

  it("keeps a history across sessions, for nobody else to read", function()
    terminal(type_and_see({ "111 * 3\r", "333" }))
    terminal(type_and_see({ key = "up", "quit" }, { key = "up", "111 * 3" }, { "\r", "333" }))
    assert.equal("600\n", t.run("stat -c %a state/moontap/history").out)
    assert.equal(0, t.sh("grep -q '111' state/moontap/history").code)
  end)

  it("has colours unless NO_COLOR says no", function()
    t.write("steps", json.encode(type_and_see({ "next() and nil\r", "nil" }, { "p\r", "Ethernet" })))
    local command = "XDG_STATE_HOME=$PWD/state TERM=xterm %s script -qec 'moontap --repl f/web.pcap' /dev/null <<'X'\nnext() and nil\np\nquit\nX\n"
    assert.is_truthy(t.run(command:format("")).out:find("\27[1mEthernet", 1, true))
    assert.is_falsy(t.run(command:format("NO_COLOR=1")).out:find("\27[1mEthernet", 1, true))
    assert.is_falsy(prompt("next() and nil\np").out:find("\27", 1, true))
  end)

  it("SIGTERM ends the session", function()
    terminal({ { expect = "moontap> " }, { signal = "SIGTERM" } })
  end)

  it("UTF-8 is typed as it is", function()
    terminal(type_and_see({ '"größe €"\r', '\ngröße €' }))
  end)
end)

describe("prompt beside an interface:", function()
  before_each(t.fresh)
  after_each(t.clean)

  live_it("waits for packets, steps through them and counts", function()
    local ns = t.netns(1)
    local r = t.run(([[
      %s sysctl -qw net.ipv6.conf.all.disable_ipv6=1; %s sysctl -qw net.ipv6.conf.all.disable_ipv6=1
      (sleep 0.7; %s ping -q -c 3 -i 0.2 10.77.0.1 >/dev/null 2>&1) &
      (echo 'next(4)'; echo 'n = 0'; echo 'hook(function(p) n = n + 1 end)'; echo 'run(2)'; echo n
       sleep 2; echo 'back() and nil'; echo 'sources()') | %s moontap --repl -F 'icmp or arp' -i veth0]])
      :format(ns.left, ns.right, ns.right, ns.left))
    contains(r.out, "\n2\n", "veth0 ")
    assert.is_true(#numbers(r.out) >= 4)
  end)
end)
