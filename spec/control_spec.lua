-- SPDX-License-Identifier: BSD-2-Clause
-- --control and --attach: what can be asked and changed beside a running capture, and that nobody can harm it there.
local json = require("cjson")
local live = require("support.live")
local t = require("support.moontap")

local contains = live.contains
local it = live.it(it, pending)
local talk = os.getenv("PWD") .. "/spec/support/talk"

-- Standard output and error of lines to an attached prompt.
local function attach(lines, code, options)
  return t.run("moontap --attach sock " .. (options or ""), code, { stdin = lines .. "\n" })
end

-- Answers to objects that are sent, one in a line.
local function ask(...)
  local lines = {}
  for i, question in ipairs { ... } do
    lines[i] = json.encode(question)
  end
  local out = t.run(talk .. " sock", 0, { stdin = table.concat(lines, "\n") .. "\n" }).out
  local answers = {}
  for line in out:gmatch("([^\n]+)\n") do
    answers[#answers + 1] = json.decode(line)
  end
  return answers
end

-- The value of an expression at the prompt.
local function value(text)
  local answer = ask({ run = text })[1]
  assert.is_true(answer.ok, answer.error)
  return answer.value
end

-- A capture of veth0 and veth1 with a control socket, in the background; ended after the test. Text of shell behind it
-- may use the functions of support.live.
local function capture(options, filter)
  t.run(([[%s moontap %s --control sock -i veth0 -i veth1 --json %s >json 2>err & echo $! >pid
    i=0; until [ "$(%s cat /proc/net/packet | wc -l)" -gt 2 ] && test -S sock || ! kill -0 $(cat pid) || [ $i -gt 200 ]; do i=$((i+1)); sleep 0.02; done]])
    :format(live.net.left, filter or "-F 'udp port 2000'", options or "", live.net.left))
  t.finally("kill -KILL $(cat " .. t.path("pid") .. ") 2>/dev/null")
end

local function send(pps, times)
  live.run(("both %d; "):format(pps or 40000):rep(times or 1))
end

-- End the capture; its --json object.
local function finish(signal)
  t.run(("kill -%s $(cat pid); while kill -0 $(cat pid) 2>/dev/null; do sleep 0.02; done"):format(signal or "INT"))
  return json.decode(t.read("json"))
end

local function wait_for(command, seconds)
  t.run(("i=0; until %s; do i=$((i+1)); [ $i -lt %d ] || exit 1; sleep 0.05; done"):format(command, (seconds or 10) * 20))
end

describe("a socket beside a capture:", function()
  before_each(live.setup)
  after_each(t.clean)

  it("numbers, segments, sources and the sample", function()
    capture("-B segments -P 15000")
    send()
    local r = attach("stats()\nqueues()\nsources()\nsegments()\nwhere()")
    assert.equal("", r.err)
    contains(r.out, "40,000 packets", "veth0                    20,000 packets", "veth1                    20,000 packets", "batches in flight",
      "15,000 packets", "before the first packet")
    local stats = value("stats()")
    assert.same({ 40000, 40000, 0 }, { stats.packets, stats.kept, stats.dropped })
    assert.same({ "veth0", "veth1" }, { stats.sources[1].name, stats.sources[2].name })
    local list = value("segments()")
    assert.same({ 2, 15000, "start", "packets" }, { #list, list[2].packets, list[1].reason, list[2].reason })
    assert.is_true(t.exists("segments/" .. list[1].file))
    live.nothing_lost(live.adds_up(finish()))
  end)

  it("packets are sampled: all of few, some of many", function()
    capture("-o out.pcapng")
    t.write("lines", 'next(1000)\np.dport, p.caplen\nq = queues()\nq.seen == q.taken\nfind "src host 10.0.0.2"\nback()\n')
    t.run(live.shell() .. "(sleep 0.5; both 2000) & moontap --attach sock <lines >few; kill %1; wait")
    contains(t.read("few"), "\n2000\t50\n", "\ntrue\n", "10.0.0.2:")
    t.run(live.shell() .. [[(sleep 0.5; both 60000) & printf 'next(3000)\nq = queues()\nq.taken < q.seen\nq.taken > 1000\n' | moontap --attach sock >many; wait]])
    contains(t.read("many"), "\ntrue\ntrue\n")
    live.adds_up(finish(), json.decode(t.read("json")).kept)
  end)

  it("a hook is tried on the sample, and nothing changes in the capture", function()
    capture("-o out.pcapng")
    t.run(live.shell() .. [[(sleep 0.5; both 10000) & cat >lines <<'EOF'
try(function(p) return p.source == "veth0" end, 1000)
try("p.nosuch", 5)
try(function(p) p:edit():set("ttl", 1) end, 10)
load "top,by=src"
run(500)
results("top")
scripts()
EOF
      moontap --attach sock <lines >out 2>said; code=$?; wait; exit $code]], 4)
    local out = t.read("out")
    local kept, dropped = out:match("([%d,]+) kept, ([%d,]+) dropped")
    assert.equal(1000, tonumber((kept:gsub(",", ""))) + tonumber((dropped:gsub(",", ""))))
    contains(out, "10.0.0.1", "10.0.0.2", "\ntop ")
    contains(t.read("said"), "a packet has no field 'nosuch'")
    local r = live.adds_up(finish())
    live.nothing_lost(r)
    assert.same({ 0, 0 }, { r.script_dropped, r.script_bypassed })
  end)

  it("another filter comes into force in the kernel too, and loses nothing that both let through", function()
    capture("-o out.pcapng")
    assert.equal("udp port 2000", value("filter()"))
    contains(attach('filter(("x"):rep(70000))\nfilter("udp\\n port 2000")\nstats().packets', 4).err, "filter: longer than the 65536 bytes")
    assert.is_truthy(t.read("err"):find("control: the filter is now udp  port 2000\n", 1, true))
    value 'filter "udp port 2000"'
    local r = attach('filter "udp prt 9"\nfilter(7)\nfilter()', 4)
    contains(r.err, "filter \"udp prt 9\": ", "filter: expected a BPF expression, found a number")
    assert.equal("udp port 2000\n", r.out)
    live.run([[(for i in $(seq 40); do printf 'filter "udp"\nfilter "udp port 2000 or tcp port %d"\n' $i; done | moontap --attach sock >filters) & beside=$!
      both 20000; wait $beside]])
    contains(t.read("filters"), "tcp port 40")
    contains(t.read("err"), "control: the filter is now udp")
    assert.same({ 40000, 0 }, { value("stats()").kept, value("stats()").filtered })
    value('filter "udp port 9"')
    send()
    local stats = value("stats()")
    assert.equal(40000, stats.kept)
    assert.is_true(stats.packets < 80000 / 2 + 1000) -- the kernel has left them out
    value('filter ""')
    assert.is_nil(value("filter()"))
    send()
    local report = finish()
    assert.same({ 80000, 0, 0 }, { report.kept, report.dropped, report.dropped_kernel })
    assert.equal(80000, t.count("out.pcapng"))
  end)

  it("a source keeps a filter of its own; files are filtered too", function()
    t.run("mkfifo pipe; (cat f/web.pcap; sleep 5) >pipe & moontap --control sock -r 'f/vlan.pcap,filter=ip' -r pipe -o out.pcapng -F tcp 2>err & echo $! >pid; sleep 0.5")
    local r = attach('filter()\nfilter "udp"')
    contains(r.out, "tcp\nf/vlan.pcap has its own: ip\nudp\n")
    t.run("kill -INT $(cat pid); while kill -0 $(cat pid) 2>/dev/null; do sleep 0.02; done")
  end)

  it("rotate closes the segment", function()
    capture("-B segments")
    contains(attach("rotate()").out, "no segment was closed")
    send()
    local line = value("rotate()")
    assert.same({ 40000, "start" }, { line.packets, line.reason })
    send()
    local r = finish()
    assert.same({ 2, 40000, "signal" }, { #r.segments, r.segments[2].packets, r.segments[2].reason })
    assert.equal(80000, (live.in_segments("segments")))
  end)

  it("rotate and trigger say when there is nothing for them to do", function()
    capture("-o out.pcap")
    local r = attach('rotate()\ntrigger "x"\ntrigger()\ntrigger("x", { post = -1 })', 4)
    contains(r.err, "rotate: there are no segments: -B DIR writes them", "trigger: there is no flight recorder: --pre TIME starts one",
      "trigger: expected a reason, found nothing", "post: expected seconds")
    finish()
  end)

  it("trigger has the flight recorder write", function()
    capture("-B segments --pre 60s")
    send()
    assert.is_true(#t.list("segments") == 0 or not t.list("segments")[1]:find("%.pcap$"))
    attach('trigger("look here", { post = 1 })')
    send()
    local r = finish()
    assert.equal(1, #r.segments)
    contains(r.segments[1].file, "look")
    assert.is_true(r.segments[1].packets >= 40000)
  end)

  it("scripts publish values", function()
    t.write("count.lua", [[local n = 0
      return { interval = 0.1, on_packet = function() n = n + 1 end,
        on_interval = function() moontap.publish("seen", { packets = n, list = { 1, 2 } }) moontap.publish("word", "hi")
          moontap.publish("gone", 1) moontap.publish("gone", nil) end }]])
    capture("-o out.pcapng -l ./count.lua")
    send()
    t.run("sleep 0.5")
    assert.same({ seen = { packets = 40000, list = { 1, 2 } }, word = "hi" }, value("published()"))
    assert.equal("hi", value('published "word"'))
    contains(attach('published()\npublished "x"', 4).err, "published: no script has published 'x'")
    assert.is_nil(value("published().gone"))
    live.nothing_lost(live.adds_up(finish()))
    t.refuses("moontap -e 'moontap.publish()' f/web.pcap", 4, "moontap.publish: expected a name, found nothing")
    t.run("moontap -q -l ./count.lua f/web.pcap") -- nobody can attach: nothing happens
  end)

  it("one object a line for programs", function()
    capture("-o out.pcap")
    local a = ask({ run = "1 + 1", id = 7 }, { run = "x = {" }, { run = "x = {\n1}" }, { run = "x" }, { run = "y.z" }, { complete = "quer" },
      { complete = "queu" }, { nothing = 1 }, { hello = true }, { run = "print(1) io.write(2) io.stderr:write(3)" },
      { run = "x", value = false }, { run = "quit()" }, { run = "7" })
    assert.same({ id = 7, ok = true, output = "2\n", value = 2 }, a[1])
    assert.same({ ok = false, more = true }, a[2])
    assert.same({ { ok = true }, { ok = true, output = "{ 1 }\n", value = { 1 } } }, { a[3], a[4] })
    contains(a[5].error, "'y' is not set")
    assert.same({ "queues(" }, a[7].names)
    assert.equal(4, a[7].word)
    assert.same({}, a[6].names)
    contains(a[8].error, "expected a JSON object with run, complete, hello or interrupt")
    assert.is_truthy(a[9].version)
    assert.same({ "1\n2", "3" }, { a[10].output, a[10].error })
    assert.same({ ok = true, output = "{ 1 }\n" }, a[11])
    assert.same({ { ok = true, exit = true } }, { a[12], a[13] })
    contains(t.run(talk .. " sock", 0, { stdin = '{"run": 1}\nnonsense\n{"run": "2"}\n' }).out, "expected a JSON object", '"output":"2\\n"')
    finish()
  end)

  it("plain lines as text, and a value that can not be JSON", function()
    capture("-o out.pcap")
    assert.equal("2\nhi\n7\n", t.run(talk .. " sock", 0, { stdin = "1 + 1\nprint 'hi'\nfor i = 7, 7 do\nprint(i)\nend\n" }).out)
    contains(t.run(talk .. " sock", 0, { stdin = "nosuch()\n3\n" }).out, "line:1: ", "\n3\n")
    assert.same({ { ok = true, output = "function\n" } }, ask { run = "function() end" })
    local big = ask({ run = "t = {} for i = 1, 100000 do t[i] = i end return t" })[1]
    assert.is_nil(big.value)
    contains(big.output, "more (100000 in all)")
    finish()
  end)

  it("a session on a terminal: editing, completion, Ctrl-C, the end of the capture", function()
    capture("-o out.pcap")
    t.write("steps", json.encode { { expect = "attached to moontap" }, { send = "stats" }, { key = "tab" }, { send = ")\r" }, { expect = "running for" },
      { expect = "moontap>" }, { send = "run(1e9)\r" }, { pause = 0.5 }, { key = "c-c" }, { expect = "moontap>" }, { send = "while true do end\r" },
      { pause = 0.5 }, { key = "c-c" }, { expect = "interrupted" }, { send = "1 + 41\r" }, { expect = "42" }, { send = "quit()\r" } })
    t.run(talk:gsub("talk$", "terminal") .. " steps moontap --attach sock", 0, { env = { TERM = "xterm", HOME = t.dir } })
    t.write("steps", json.encode { { expect = "moontap>" }, { send = "1 + 41\r" }, { expect = "42" }, { pause = 3 }, { send = "1\r" },
      { expect = "connection has ended" } })
    t.run(("(sleep 2.5; kill -INT $(cat pid)) & %s steps moontap --attach sock; code=$?; wait; exit $code"):format((talk:gsub("talk$", "terminal"))), 2,
      { env = { TERM = "xterm", HOME = t.dir } })
  end)
end)

describe("nobody harms a capture through its socket:", function()
  before_each(live.setup)
  after_each(t.clean)

  it("a hundred sessions come and go while it captures at speed, and nothing is lost", function()
    live.run([[start --json -o out.pcapng --control sock
      (for i in $(seq 100); do printf 'stats()\nnext(20)\n' | timeout 20 moontap --attach sock >/dev/null || echo $? >>failed; done; touch over) &
      until test -e over; do both 40000; echo >>sent; done
      end_with INT]], 0, { timeout = 120 })
    assert.is_false(t.exists("failed"))
    live.nothing_lost(live.adds_up(json.decode(t.read("json")), 2 * live.packets * #t.read("sent")), 2 * live.packets * #t.read("sent"))
  end)

  it("what runs away is stopped, what hangs or crashes is gone, and others go on", function()
    capture("-o out.pcapng")
    -- TSan puts a signal off until the code that it interrupts calls something.
    t.write("hangs", t.tsan and "while true do end\n" or 'string.find(("a"):rep(40), ("a*"):rep(40) .. "b")\n3\n')
    local r = t.run(live.shell() .. [[
      printf 'while true do end\n1 + 1\n' | moontap --attach sock >a 2>&1 & a=$!
      moontap --attach sock <hangs >b 2>&1 & b=$!
      printf 'require("ffi").cast("int *", 8)[0] = 1\n' | moontap --attach sock >c 2>&1; echo $? >c.code
      printf 't = {} while true do t[#t + 1] = ("x"):rep(1e6) .. #t end\n' | moontap --attach sock >d 2>&1; echo $? >d.code
      printf 'os.exit(3)\n' | moontap --attach sock >e 2>&1; echo $? >e.code
      both 40000
      wait $a; echo $? >a.code; wait $b; echo $? >b.code]])
    assert.equal("", r.out)
    contains(t.read("a"), "stopped: it went on for 5 s without a result", "\n2\n")
    contains(t.read("b"), t.tsan and "stopped" or "ended: the command did not come back")
    contains(t.read("c"), "the connection has ended")
    assert.is_truthy(t.read("d"):find("not enough memory", 1, true) or t.read("d"):find("stopped", 1, true)) -- whichever comes first
    assert.same({ "4\n", t.tsan and "4\n" or "2\n", "2\n", "4\n", "0\n" }, { t.read("a.code"), t.read("b.code"), t.read("c.code"), t.read("d.code"), t.read("e.code") })
    live.nothing_lost(live.adds_up(finish()))
  end)

  it("garbage, endless lines, silent and deaf clients", function()
    capture("-o out.pcapng")
    assert.equal("refused: this is no text\n", t.run(talk .. " sock bytes 100000").out)
    contains(t.run(talk .. " sock", 0, { stdin = '{"run": "' .. ("x"):rep(2000000) .. '"}\n' }).out, "a line longer than 1 MiB is refused")
    contains(t.run(talk .. " sock", 0, { stdin = "x = '" .. ("x"):rep(2000000) .. "'\n1 + 1\n" }).out, "longer than", "\n2\n")
    contains(t.run(talk .. " sock", 0, { stdin = ("("):rep(100000) .. "\n1 + 1\n" }).out, "2\n")
    contains(t.run(talk .. " sock", 0, { stdin = "{" .. ('"a":['):rep(100000) .. "\n" .. '{"run":"1 + 1"}\n' }).out, '"output":"2\\n"')
    t.run(live.shell() .. ([[
      sleep 6 | %s sock idle 100 >idle & idle=$!
      printf '{"run":"(\\"x\\"):rep(100000)"}\n' >big; %s sock deaf <big & deaf=$!
      sleep 1; both 40000; printf '1 + 1\n' | moontap --attach sock >answer; wait $idle $deaf]]):format(talk, talk))
    assert.same({ "100 0\n", "2\n" }, { t.read("idle"), t.read("answer") })
    live.nothing_lost(live.adds_up(finish()))
  end)

  it("only its owner may attach", function()
    capture("-o out.pcap")
    assert.equal("600", t.run("stat -c %a sock").out:match("%d+"))
    t.run("chmod 755 .; chmod 666 sock")
    contains(t.run("setpriv --reuid nobody --clear-groups " .. talk .. " sock </dev/null || true").out, "refused: only the owner of the capture may attach")
    assert.equal("2\n", attach("1 + 1").out)
    finish()
    assert.is_false(t.exists("sock"))
  end)

  it("--user: the socket is that user's, and so are the sessions", function()
    t.run("chmod 777 .")
    capture("--user nobody -o /dev/null")
    assert.equal("nobody", t.run("stat -c %U sock").out:match("%a+"))
    contains(t.run("setpriv --reuid nobody --clear-groups " .. talk .. " sock", 0, { stdin = "io.popen('id -un'):read()\n" }).out, "nobody")
    finish()
  end)

  it("--sandbox: sessions write below the output folders only, and run nothing", function()
    t.run("mkdir segments")
    t.run("chmod 755 .")
    capture("--sandbox -B segments")
    if t.read("err"):find("Landlock", 1, true) then
      return pending("no Landlock here")
    end
    send()
    local r = attach("io.open('" .. t.dir .. "/x', 'w')\nos.execute('touch " .. t.dir .. "/y')\nnext = nil\nstats().kept")
    contains(r.out, "ermission denied", "40000")
    assert.same({ false, false }, { t.exists("x"), t.exists("y") })
    live.nothing_lost(live.adds_up(finish()))
  end)

  it("it ends with the capture, also when that is killed", function()
    capture("-o out.pcap")
    t.run("(printf 'next()\n'; sleep 20) | timeout 30 moontap --attach sock >out 2>&1 & sleep 0.5")
    wait_for("[ $(pgrep -f -c -- '--control [s]ock') -ge 3 ]")
    t.run("kill -KILL $(cat pid)")
    wait_for("! pgrep -f -- '--control [s]ock' >/dev/null")
    wait_for("grep -q 'connection has ended' out")
    assert.is_true(t.exists("sock"))
    t.refuses("moontap --attach sock", 1, "Connection refused: no capture listens there")
    capture("-o out2.pcap") -- a socket that nobody listens on is replaced
    assert.equal("2\n", attach("1 + 1").out)
    finish()
  end)
end)

describe("the place of the socket:", function()
  before_each(t.fresh)
  after_each(t.clean)

  local function refuses(command, ...)
    t.refuses(command, 1, ...)
  end

  it("is refused where something else is", function()
    t.write("file", "precious")
    refuses("moontap --control file f/web.pcap", "file: it exists and is no socket")
    assert.equal("precious", t.read("file"))
    refuses("moontap --control nosuch/sock f/web.pcap", "nosuch/sock: No such file or directory")
    refuses("moontap --control " .. ("x"):rep(120) .. " f/web.pcap", "characters at most")
    refuses("moontap --control '' f/web.pcap", "--control")
    refuses("moontap --attach nosuch", "--attach nosuch: No such file or directory")
    refuses("moontap --attach f/web.pcap", "--attach f/web.pcap: ")
    refuses("moontap --attach sock f/web.pcap", "stands alone")
    refuses("moontap --attach sock -F ip", "stands alone")
    refuses("moontap --control sock --repl f/web.pcap", "--control sock has no meaning with --repl")
  end)

  it("is refused while another capture listens there, which goes on", function()
    t.run([[mkfifo pipe; sleep 5 >pipe & moontap --control sock -r pipe -o out.pcap >/dev/null 2>&1 & echo $! >pid
      i=0; until test -S sock; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.05; done]])
    refuses("moontap --control sock f/web.pcap", "sock: another program listens there")
    assert.is_true(t.exists("sock"))
    t.run("kill -INT $(cat pid)")
  end)

  it("is cleared up after runs of files, short ones too", function()
    for _ = 1, 10 do
      assert.equal(60, t.json("moontap --json --control sock -c 60 -o /dev/null f/web.pcap").kept)
      assert.is_false(t.exists("sock"))
    end
    t.refuses("moontap --control sock nosuch.pcap", 1, "nosuch.pcap")
    assert.is_false(t.exists("sock"))
  end)
end)
