-- SPDX-License-Identifier: BSD-2-Clause
-- Nothing stalls a live capture: what is slow is slow while packets wait in the buffer.
local json = require("cjson")
local live = require("support.live")
local t = require("support.moontap")
local it = live.it(it, pending)

local HOOK = [[local flows = moontap.table { key = "flow", value = { packets = "count" } }
  return { on_packet = function(p) local f = flows[p] f.packets = f.packets + 1 end }]]

describe("nothing is lost while", function()
  before_each(live.setup)
  after_each(t.clean)

  -- n small packets on each link, as fast as two senders can or at `rate` packets a second.
  local function flood(n, rate, options)
    t.write("flood.cfg", [[{ eth(da=02:00:00:00:00:01, sa=02:00:00:00:00:02), ipv4(da=10.0.0.2, sa=10.0.0.1, ttl=64),
      udp(sp=1000, dp=2000), fill('x', 18) }]])
    local send = ("%s trafgen -q -i flood.cfg -n %d -P 1 %s -o veth"):format(live.net.right, n, rate and "-b " .. rate .. "pps" or "")
    live.run(([[rm -rf out; start --json -q -l ./hook.lua -B out %s; %s0 >/dev/null 2>&1 & one=$!; %s1 >/dev/null 2>&1 & two=$!
      wait $one $two; sleep 0.3; end_with INT]]):format(options, send, send))
    local r = live.adds_up(json.decode(t.read("json")), 2 * n)
    assert.equal(r.kept, live.in_segments("out"))
    return r, r.dropped + r.dropped_kernel
  end

  it("a hundred segments are rotated, at any rate: no more than without", function()
    t.write("hook.lua", HOOK)
    local n = (t.asan or t.tsan) and 20000 or 150000
    -- A quarter of what two senders reach here when nothing else runs.
    local r, lost = flood(n, n / 2, "-P " .. n / 50)
    assert.equal(0, lost)
    assert.equal(100, #r.segments)
    -- As fast as it goes, for which the machine may be too busy: a tenth of a percent is its noise.
    local _, without = flood(n, nil, "")
    local with
    r, with = flood(n, nil, "-P " .. n / 50)
    assert.is_true(#r.segments > 50)
    assert.is_true(with <= without + 2 * n / 1000, with .. " lost with rotation, " .. without .. " without")
  end)

  it("hooks of segments take their time", function()
    t.write("slow.lua", [[
      local function pause() local till = os.clock() + 0.15 while os.clock() < till do end end
      return { on_segment_close = pause, on_segment_open = function(s) pause() return "mine" .. s.n end }]])
    local r = live.capture("-l ./slow.lua -B out -P 10000")
    live.nothing_lost(r)
    assert.equal(40000, live.in_segments("out"))
    assert.equal("mine4.pcapng", r.segments[4].file)
  end)

  it("a command for closed segments takes its time", function()
    local r = live.capture("-B out -P 4000 --on-close 'sleep 0.5; echo $MOONTAP_FILE >>closed'")
    live.nothing_lost(r)
    assert.equal(10, #r.segments)
    local _, closed = t.read("closed"):gsub("\n", "")
    assert.equal(10, closed)
  end)

  it("a --pipeout reads slowly, and takes long to end", function()
    t.write("slowcat", "#!/bin/sh\nwhile head -c 65536 >.piece.$$ && test -s .piece.$$; do cat .piece.$$; sleep 0.02; done\nsleep 0.3\n")
    t.run("chmod +x slowcat")
    local r = live.capture("-B out -P 20000 --pipeout ./slowcat")
    live.nothing_lost(r)
    assert.equal(40000, live.in_segments("out"))
  end)

  it("standard output is read slowly", function()
    local r = live.run(([[mkfifo slow; (while head -c 100000 >piece && test -s piece; do cat piece >>out.pcapng; sleep 0.02; done) <slow & reader=$!
      LEFT moontap -F 'udp port 2000' -i veth0 -i veth1 --format pcapng --json -o - >slow 2>json & pid=$!
      sleep 0.5; both 40000; kill -INT $pid; wait $pid; code=$?; wait $reader; exit $code]]):gsub("LEFT", live.net.left), 0)
    assert.equal("", r.err)
    local o = live.adds_up(json.decode(t.read("json"):match("{.*")))
    live.nothing_lost(o)
    assert.equal(40000, t.count("out.pcapng"))
  end)

  it("a watchfile is waited for", function()
    local r = live.capture("-B out -P 15000 -W go", { beside = "sleep 0.4; touch go" })
    live.nothing_lost(r)
    assert.equal(40000, live.in_segments("out"))
  end)

  it("a disk is full for a moment", function()
    if not t.tmpfs("disk", "size=3M") then
      pending("mounting a tmpfs is not allowed here")
    end
    local r, said = live.capture("-B disk/out -P 5000 --on-full wait", {
      beside = "mkdir away; until grep -q 'waiting for space' .err; do sleep 0.05; done; sleep 0.3; mv disk/out/*.pcapng away",
      after = "sleep 0.3" })
    live.nothing_lost(r)
    assert.is_truthy(said.err:find("waiting for space", 1, true), said.err)
    assert.is_true(r.outputs[1].waited_ms > 0)
    assert.equal(40000, live.in_segments("disk/out") + live.in_segments("away"))
  end)
end)

describe("what does not fit into the buffer is counted", function()
  before_each(live.setup)
  after_each(t.clean)

  it("with a hook that is slow", function()
    t.write("slow.lua", [[local n = 0
      return { on_packet = function() n = n + 1 if n % 500 == 0 then os.execute("sleep 0.02") end end }]])
    local r = live.capture("--buffer-size 4M -l ./slow.lua -o out.pcapng")
    assert.equal(r.kept, t.count("out.pcapng"))
  end)

  it("with a full disk that stays full", function()
    if not t.tmpfs("disk", "size=1M") then
      pending("mounting a tmpfs is not allowed here")
    end
    local r, said = live.capture("--buffer-size 4M -B disk/out --on-full wait", { times = 2, code = 3, after = "kill -USR1 $pid; sleep 0.8" })
    assert.is_true(r.dropped > 20000)
    assert.equal(r.kept, live.in_segments("disk/out"))
    live.contains(said.err, "waiting for space", "veth0: ", "it waits for space")
    assert.is_truthy(said.err:find("veth1: [%d,]+ dropped"), said.err) -- SIGUSR1, meanwhile
  end)
end)
