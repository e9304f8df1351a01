-- SPDX-License-Identifier: BSD-2-Clause
-- Live capture goes on, or ends well, whatever happens around it.  Every packet that was sent is accounted for.
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

describe("live capture survives", function()
  local net
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    net = t.netns(2)
    numbered("a.pcap", 20000, 1)
    numbered("b.pcap", 20000, 2)
  end)
  after_each(t.clean)

  -- Capture both links with the options while they carry 20,000 packets each at `pps`; `also`: a command
  -- that runs beside.  The --json object and the result.
  local function capture(options, o)
    o = o or {}
    local send = ("%s tcpreplay -q --pps=%d -i veth%d %s.pcap >/dev/null 2>&1")
    local r = t.run(([[%s moontap --json -F 'udp port 2000' -i veth0 -i veth1 %s >json & pid=$!; sleep 0.8
      %s & one=$!; %s & two=$!; %s
      wait $one $two; %s
      sleep 0.4; kill -%s $pid; wait $pid]]):format(net.left, options, send:format(net.right, o.pps or 20000, 0, "a"),
        send:format(net.right, o.pps or 20000, 1, "b"), o.also or ":", o.after or ":", o.signal or "INT"), o.code or 0)
    return t.balances(json.decode(t.read("json"))), r
  end

  -- All that was sent is in a count.
  local function adds_up(r)
    local kernel = r.dropped_kernel == t.null and 0 or r.dropped_kernel
    assert.equal(40000, r.kept + r.script_dropped + r.dropped + kernel)
  end

  local function in_segments(folder)
    local n = 0
    for _, name in ipairs(t.tree(folder)) do
      if name:match("%.pcapng") and not name:match("%.failed$") then
        assert.is_nil(name:match("%.part$"), name)
        n = n + t.count(folder .. "/" .. name)
      end
    end
    return n
  end

  it("a hundred rotations with a hook, and drops no more than without", function()
    t.write("hook.lua", [[local flows = moontap.table { key = "flow", value = { packets = "count" } }
      return { on_packet = function(p) local f = flows[p] f.packets = f.packets + 1 end }]])
    local one = capture("-l ./hook.lua -B one")
    adds_up(one)
    assert.equal(0, one.dropped + one.dropped_kernel)
    local r = capture("-l ./hook.lua -B out -P 400 --on-close 'sleep 0.05'")
    adds_up(r)
    assert.equal(0, r.dropped + r.dropped_kernel)
    assert.equal(100, #r.segments)
    assert.equal(40000, in_segments("out"))
  end)

  it("a slow command for closed segments, and a slow hook for them", function()
    t.write("slow.lua", [[return { on_segment_close = function() local till = os.clock() + 0.3 while os.clock() < till do end end }]])
    local r = capture("-l ./slow.lua -B out -P 8000 --on-close 'sleep 1'")
    adds_up(r)
    assert.equal(0, r.dropped + r.dropped_kernel)
    assert.equal(40000, in_segments("out"))
  end)

  it("a slow hook: what does not fit is dropped and counted", function()
    t.write("slow.lua", [[local n = 0
      return { on_packet = function() n = n + 1 if n % 500 == 0 then os.execute("sleep 0.02") end end }]])
    local r = capture("--buffer-size 4M -l ./slow.lua -o out.pcapng")
    adds_up(r)
    assert.equal(r.kept, t.count("out.pcapng"))
  end)

  it("a --pipeout that reads slowly", function()
    t.write("slowcat", "#!/bin/sh\nwhile head -c 65536 >.piece.$$ && test -s .piece.$$; do cat .piece.$$; sleep 0.02; done; rm -f .piece.$$\n")
    t.run("chmod +x slowcat")
    local r = capture("-B out -P 10000 --pipeout ./slowcat")
    adds_up(r)
    assert.equal(0, r.dropped + r.dropped_kernel)
    assert.equal(40000, in_segments("out"))
  end)

  it("a --pipeout that dies", function()
    local r, said = capture("-B out -P 10000 --pipeout 'if test -e broken; then cat; else touch broken; head -c 1000; exit 7; fi'", { code = 3 })
    adds_up(r)
    assert.is_truthy(said.err:find("status 7", 1, true), said.err)
    assert.is_true(r.dropped > 0)
    assert.equal(r.kept, in_segments("out"))
  end)

  it("a --pipeout that never reads, which a signal ends", function()
    local r = capture("--buffer-size 4M -B out --pipeout 'sleep 60'", { code = 3, pps = 40000 })
    adds_up(r)
    assert.equal(0, r.kept)
  end)

  it("a watchfile that comes late, and SIGTERM while it is waited for", function()
    local r = capture("-B out -P 15000 -W go", { also = "sleep 0.5; touch go" })
    adds_up(r)
    assert.equal(40000, r.kept)
    t.run("rm go")
    r = capture("-B late -W go", { signal = "TERM" })
    adds_up(r)
    assert.equal(r.kept, in_segments("late"))
  end)

  it("SIGHUP, which rotates", function()
    local r = capture("-B out", { also = "sleep 0.5; kill -HUP $pid; sleep 0.2; kill -HUP $pid" })
    assert.equal(40000, r.kept)
    assert.equal(3, #r.segments)
    assert.equal("signal", r.segments[3].reason)
  end)

  it("SIGKILL: --recover gives back all but the last second", function()
    for _, codec in ipairs { "no", "zst", "gz" } do
      t.run(([[%s moontap -F 'udp port 2000' -i veth0 -i veth1 -Z %s -B %s >json & pid=$!; sleep 0.8
        %s tcpreplay -q --pps=20000 -i veth0 a.pcap >/dev/null 2>&1; sleep 1.3; kill -KILL $pid; wait $pid; true]])
        :format(net.left, codec, codec, net.right))
      t.run("moontap --recover " .. codec)
      assert.equal(20000, in_segments(codec))
    end
  end)

  it("a full disk, with wait: what does not fit is dropped and counted", function()
    if not t.tmpfs("disk", "size=1M") then
      return
    end
    local r, said = capture("--buffer-size 4M -B disk/out --on-full wait", { also = "sleep 3", after = "rm -f disk/out/*.pcapng; sleep 0.5", code = 3 })
    adds_up(r)
    assert.is_truthy(said.err:find("waiting for space", 1, true), said.err)
  end)

  it("the output folder removed: the run ends with 3 and says so", function()
    local r = t.run(([[%s moontap --json -q -F 'udp port 2000' -B out -P 1000 -i veth0 -i veth1 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=5000 -l 2 -i veth0 a.pcap >/dev/null 2>&1 & sleep 1; rm -r out; wait $pid]]):format(net.left, net.right), 3)
    assert.is_truthy(r.err:find("out", 1, true), r.err)
    t.balances(json.decode(t.read("json")))
  end)

  it("a pipe whose clock jumps ahead and back", function()
    local packets = {}
    local now = os.time()
    for i = 1, 300 do
      local jump = (i > 100 and i <= 110) and 86400 or i > 200 and -3600 or 0
      packets[i] = { now + jump, i, c.udp { src = "10.0.0.3", id = i, payload = ("%08d"):format(i) } }
    end
    c.write(t.path("jumps.pcap"), c.pcap(packets))
    local r = t.run(([[mkfifo fifo; (cat jumps.pcap; sleep 3) >fifo &
      %s moontap --json -F 'udp port 2000' -B out -G 60 -i veth0 fifo >json & pid=$!; sleep 2; kill -INT $pid; wait $pid]]):format(net.left))
    local o = t.balances(json.decode(t.read("json")))
    assert.same({ 300, 10 }, { o.kept, o.clock_jumps })
    assert.is_true(#o.segments <= 2, #o.segments .. " segments")
    assert.is_falsy(r.err:find("script", 1, true))
  end)

  it("a script that raises, that loops for ever, or that eats memory", function()
    t.write("raise.lua", "local n = 0 return { on_error = 'keep', on_packet = function() n = n + 1 if n == 5000 then error('oops') end end }")
    local r = capture("-l ./raise.lua -o raise.pcapng", { code = 4 })
    adds_up(r)
    assert.equal(40000, r.kept)
    t.write("loop.lua", "local n = 0 return { on_error = 'keep', on_packet = function() n = n + 1 if n == 5000 then while true do end end end }")
    r = capture("--script-timeout 0.5 -l ./loop.lua -o loop.pcapng", { code = 4 })
    adds_up(r)
    assert.equal(40000, r.kept)
    t.write("eat.lua", "local all = {} return { on_error = 'keep', on_packet = function(p) all[#all + 1] = ('x'):rep(10000) .. p.ip_id end }")
    r = capture("--script-memory 16M -l ./eat.lua -o eat.pcapng", { code = 4 })
    adds_up(r)
    assert.equal(40000, r.kept)
    for _, name in ipairs { "raise", "loop", "eat" } do
      assert.equal(40000, t.count(name .. ".pcapng"))
    end
  end)

  it("SIGINT at any moment: whole files, the right status, nothing left", function()
    t.run(([[mkdir out; %s tcpreplay -q --pps=3000 -i veth0 -l 100 a.pcap >/dev/null 2>&1 & sender=$!
      for i in $(seq 1 40); do
        %s moontap -q -F 'udp port 2000' -B out/$i -P 150 -i veth0 -i veth1 & pid=$!
        until test -d out/$i; do sleep 0.01; done # a shell has SIGINT ignored before we take it
        sleep 0.0$((i * 7 %% 10)); sleep 0.0$((i * 3 %% 7)); kill -INT $pid; wait $pid || { kill $sender; exit 9; }
      done; kill $sender; test -z "$(find out -name '*.part' -o -name '*.failed')"]]):format(net.right, net.left))
    for _, name in ipairs(t.tree("out")) do
      if name:match("%.pcapng$") then
        t.capinfos("out/" .. name)
      end
    end
  end)
end)
