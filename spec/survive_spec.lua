-- SPDX-License-Identifier: BSD-2-Clause
-- Live capture goes on, or ends well, whatever happens around it.  Every packet that was sent is accounted for.
local c = require("support.capture")
local json = require("cjson")
local live = require("support.live")
local t = require("support.moontap")
local it = live.it(it, pending)

describe("live capture goes on when", function()
  before_each(live.setup)
  after_each(t.clean)

  it("a --pipeout dies: the next segment has another", function()
    local r, said = live.capture("-B out -P 10000 --pipeout 'if test -e broken; then cat; else touch broken; head -c 1000; exit 7; fi'",
      { code = 3 })
    live.contains(said.err, "exit status 7", ".failed")
    assert.is_true(r.dropped > 0 and r.kept > 20000, r.dropped .. " dropped")
    assert.equal(r.kept, live.in_segments("out"))
    assert.equal(1, #live.files("out", "%.failed$"))
  end)

  it("every --pipeout dies: packets are dropped and counted, scripts see them, and few are started", function()
    t.write("count.lua", "local n = 0 return { on_packet = function() n = n + 1 end, on_stop = function() print('seen', n) end }")
    local r, said = live.capture("-B out -l ./count.lua --pipeout 'echo >>started; exit 1'", { code = 3, pps = 15000 })
    assert.same({ 0, 40000 }, { r.kept, r.dropped })
    live.contains(said.err, "seen\t40000", "the next command starts in", "exit status 1")
    assert.is_true(#t.read("started") <= 4, #t.read("started") .. " were started")
  end)

  it("no process can be started for a --pipeout", function()
    live.run([[chmod 755 .; mkdir -m 777 out; limit() { setpriv --reuid=nobody --regid=nogroup --clear-groups prlimit --pid $pid --nproc=$1:; }
      start --json --user nobody -B out -P 10000 --pipeout cat; send 0 40000; sleep 0.3
      limit 1; send 1 40000; sleep 1; limit 4096; send 0 40000; sleep 0.2; end_with INT]], 3)
    local r = live.adds_up(json.decode(t.read("json")), 60000)
    assert.is_true(r.kept >= 40000 and r.dropped > 0, r.kept .. " kept")
    assert.equal(r.kept, live.in_segments("out"))
  end)

  it("a --pipeout meets a full disk: the oldest go, and the next command has room", function()
    if not t.tmpfs("disk", "size=2M") then
      pending("mounting a tmpfs is not allowed here")
    end
    local r, said = live.capture("-B disk/out -P 3000 --on-full drop-oldest --pipeout 'cat 2>/dev/null'", { code = 3 })
    assert.is_true(r.dropped > 0 and r.kept > 25000, r.kept .. " kept")
    live.contains(said.err, "is full: the oldest segment", "exit status 1")
    local sum = 0
    for _, line in ipairs(r.segments) do
      sum = sum + (t.exists("disk/out/" .. line.file) and line.packets or 0)
    end
    assert.equal(sum, live.in_segments("disk/out"))
    assert.is_true(t.exists("disk/out/" .. r.segments[#r.segments].file))
  end)

  it("the folder is removed: the open segment is made anew, and the folder with it", function()
    for _, codec in ipairs { "no", "zst" } do
      local out = "out-" .. codec
      local r, said = live.capture(("-B %s -Z %s -P 15000"):format(out, codec), { beside = "sleep 0.3; rm -r " .. out })
      live.nothing_lost(r)
      live.contains(said.err, "was deleted while it was written", ".part")
      local sum = 0
      for _, line in ipairs(t.json_lines(out .. "/manifest.jsonl")) do
        sum = sum + line.packets
      end
      assert.equal(sum, live.in_segments(out))
      assert.is_true(sum >= 25000, sum .. " packets after the folder was removed")
      assert.equal(#r.segments, #t.json_lines(out .. "/manifest.jsonl"))
    end
  end)

  it("the folder is removed while it is silent: within a second or so the file is back", function()
    live.run("start -B out; send 0 40000; sleep 0.5; rm -r out; sleep 1.5; ls -A out >there; end_with INT")
    live.contains(t.read("there"), "00000001.pcapng", "manifest.jsonl")
    assert.equal(live.packets, live.in_segments("out"))
  end)

  it("the folder is renamed: the open segment ends where it is, the next ones are in a new folder", function()
    local r, said = live.capture("-B out -P 15000 --on-close 'echo $MOONTAP_FILE >>closed'", { beside = "sleep 0.3; mv out moved" })
    live.nothing_lost(r)
    live.contains(said.err, "was moved while it was written", "moved/.")
    local moved = live.in_segments("moved")
    assert.is_true(moved > 0)
    assert.equal(40000, moved + live.in_segments("out"))
    local sum = 0
    for _, line in ipairs(r.segments) do
      sum = sum + line.packets
    end
    assert.equal(40000, sum)
    for name in t.read("closed"):gmatch("[^\n]+") do
      assert.is_true(t.exists(name) or t.exists((name:gsub("^out/", "moved/"))), name)
    end
  end)

  it("the part of a segment is renamed or deleted alone", function()
    for _, command in ipairs { "mv out/.*.part out/mine", "rm out/.*.part" } do
      local r = live.capture("-B out", { beside = "sleep 0.3; " .. command })
      live.nothing_lost(r)
      assert.equal(40000, live.in_segments("out"))
      assert.is_false(t.exists("out/mine"))
      t.run("rm -r out")
    end
  end)

  it("a clock jumps ahead and back", function()
    local packets = {}
    local now = os.time()
    for i = 1, 300 do
      local jump = (i > 100 and i <= 110) and 86400 or i > 200 and -3600 or 0
      packets[i] = { now + jump, i, c.udp { src = "10.0.0.3", id = i, payload = ("%08d"):format(i) } }
    end
    c.write(t.path("jumps.pcap"), c.pcap(packets))
    t.write("tick.lua", "local n = 0 return { interval = 60, on_interval = function() n = n + 1 end, on_stop = function() print('ticks', n) end }")
    local r = t.run(([[mkfifo fifo; (cat jumps.pcap; sleep 2) >fifo &
      %s moontap --json -F 'udp port 2000' -l ./tick.lua -B out -G 60 -i veth0 fifo >json & pid=$!; sleep 1; kill -INT $pid; wait $pid]])
      :format(live.net.left))
    local o = t.balances(json.decode(t.read("json")))
    assert.same({ 300, 10 }, { o.kept, o.clock_jumps })
    assert.equal(300, live.in_segments("out"))
    assert.is_true(#o.segments <= 2, #o.segments .. " segments")
    assert.is_true(tonumber(r.err:match("ticks\t(%d+)")) <= 2, r.err)
  end)

  it("a script raises, loops for ever, or eats memory", function()
    for name, o in pairs {
      raise = { "", "local n = 0 return { on_packet = function() n = n + 1 if n == 5000 then error('oops') end end }" },
      loop = { "--script-timeout 0.3", "local n = 0 return { on_packet = function() n = n + 1 if n == 5000 then while true do end end end }" },
      eat = { "--script-memory 16M", "local all = {} return { on_packet = function(p) all[#all + 1] = ('x'):rep(10000) .. p.sport + #all end }" },
    } do
      t.write(name .. ".lua", o[2])
      local r, said = live.capture(("%s -l ./%s.lua -B %s -P 10000"):format(o[1], name, name), { code = 4 })
      live.nothing_lost(r)
      assert.is_true(r.script_bypassed > 0)
      assert.equal(40000, live.in_segments(name))
      live.contains(said.err, "script ./" .. name .. ".lua")
    end
  end)
end)

describe("a live capture into one file", function()
  before_each(live.setup)
  after_each(t.clean)

  it("ends with 3 within a second or so when the file is deleted: there is nothing left of it", function()
    for _, options in ipairs { "", "-Z zst", "--pipeout cat" } do
      local r = live.run(("start --json %s -o out.pcapng; send 0 40000; rm out.pcapng; wait $pid"):format(options), 3, { timeout = 6 })
      live.contains(r.err, "out.pcapng was deleted while it was written")
      local o = t.balances(json.decode(t.read("json")))
      assert.same({ 0, o.packets - o.filtered }, { o.kept, o.dropped })
    end
  end)

  it("ends with 3 when its reader goes away", function()
    local r = live.run(([[mkfifo pipe; (head -c 1000000 >/dev/null) <pipe & %s moontap -F 'udp port 2000' --json -i veth0 -i veth1 --format pcapng -o pipe >json & pid=$!
      sleep 0.5; both 40000; wait $pid]]):format(live.net.left), 3)
    live.contains(r.err, "pipe")
    local o = t.balances(json.decode(t.read("json")))
    assert.is_true(o.kept >= 1000, o.kept .. " were read")
    assert.is_true(o.dropped > 0)
  end)
end)
