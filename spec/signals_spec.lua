-- SPDX-License-Identifier: BSD-2-Clause
-- Live capture and signals: what was captured is written, in whole files, and nothing is left behind.
local json = require("cjson")
local live = require("support.live")
local t = require("support.moontap")
local it = live.it(it, pending)

describe("live capture:", function()
  before_each(live.setup)
  after_each(t.clean)

  it("SIGHUP rotates segments, and ends a run with one file", function()
    live.run("start --json -B out; send 0 40000; sleep 0.3; kill -HUP $pid; sleep 0.3; send 1 40000; sleep 0.3; kill -HUP $pid; sleep 0.3; send 0 40000; end_with INT")
    local r = live.adds_up(json.decode(t.read("json")), 60000)
    live.nothing_lost(r, 60000)
    assert.same({ 3, "signal" }, { #r.segments, r.segments[3].reason })
    r = live.capture("-o out.pcapng", { signal = "HUP" })
    live.nothing_lost(r)
    assert.equal(40000, t.count("out.pcapng"))
  end)

  it("SIGTERM ends the wait for a watchfile, and what is in the buffer is written", function()
    local r = live.capture("-B out -W never", { signal = "TERM" })
    live.nothing_lost(r)
    assert.equal(40000, live.in_segments("out"))
  end)

  it("SIGTERM ends a --pipeout that never reads, or never ends", function()
    for _, command in ipairs { "sleep 60", "cat; sleep 60" } do
      local started = os.time()
      local r, said = live.capture("--buffer-size 4M -B out --pipeout '" .. command .. "'", { code = 3, signal = "TERM" })
      assert.is_true(os.time() - started < 8)
      assert.same({ 0, {} }, { r.kept, r.segments })
      live.contains(said.err, command)
      assert.equal(1, #live.files("out", "%.failed$"))
      assert.equal("", live.left_over())
      t.run("rm -r out")
    end
  end)

  it("a second SIGINT ends the command at once, and leaves nothing half written", function()
    for _, command in ipairs { "sleep 60", "cat; sleep 60" } do
      local r = live.run(([[start --json --buffer-size 4M -B out --pipeout '%s'; both 40000; kill -INT $pid; sleep 0.4
        end_with INT]]):format(command), 130, { timeout = 6 })
      live.contains(r.err, "interrupted a second time: ended, the outputs are complete")
      assert.equal(0, t.balances(json.decode(t.read("json"))).kept)
      assert.equal(1, #live.files("out", "%.failed$"))
      assert.same({}, live.files("out", "%.part$"))
      assert.equal("", live.left_over())
      t.run("rm -r out")
    end
  end)

  it("SIGKILL: --recover gives back what was captured, whatever the codec", function()
    for _, codec in ipairs { "no", "zst", "gz" } do
      live.run(([[start --flush 0.2 -P 7000 -Z %s -B %s; send 0 40000; sleep 0.5; kill -KILL $pid; wait $pid; true]])
        :format(codec, codec))
      assert.equal(2, #live.files(codec, "^[^.].*pcapng"))
      assert.equal(1, #live.files(codec, "^%..*%.part$"))
      t.run("moontap --recover " .. codec)
      assert.equal(live.packets, live.in_segments(codec))
      local sum = 0
      for _, line in ipairs(t.json_lines(codec .. "/manifest.jsonl")) do
        sum = sum + line.packets
      end
      assert.equal(live.packets, sum)
    end
  end)

  it("SIGINT is heard although a script runs commands all the time", function()
    t.generate("in", "--packets 1000000 --files 1 --snaplen 64")
    t.write("s.lua", [[local n = 0
      return { on_packet = function() n = n + 1 if n % 50 == 0 then assert(os.execute("true") == 0) end end }]])
    for _ = 1, 12 do
      t.run("moontap -q -l ./s.lua in/1.pcap & pid=$!; sleep 0.3; kill -INT $pid; wait $pid", 0, { timeout = 10 })
    end
  end)

  -- 60 runs, four at a time, while packets come in.  SIGTERM also while the program starts (it may not be listening
  -- yet: then nothing is there), SIGINT, which shells let background commands ignore until they ask for it, later.
  it("SIGINT and SIGTERM at any moment: whole files, the right status, nothing left", function()
    local seed, runs = os.time(), 60
    math.randomseed(seed)
    local list = {}
    for i = 1, runs do
      list[i] = ("%d %s %.4f"):format(i, i % 2 == 0 and "INT" or "TERM", math.random() * 0.15)
    end
    t.write("runs", table.concat(list, "\n") .. "\n")
    t.write("one", ([[
      LEFT moontap --json -F 'udp port 2000' -B out/$1 -P 100 --on-close true -l ./hook.lua -i veth0 -i veth1 >$1.json 2>$1.err & pid=$!
      [ $2 = TERM ] || until grep -q 'SigBlk:.*[2-3]$' /proc/$pid/task/$pid/status; do sleep 0.01; done
      sleep $3; kill -$2 $pid; wait $pid; echo "$1 $? $2 $3" >>codes]]):gsub("LEFT", live.net.left))
    t.write("hook.lua", "local n = 0 return { on_packet = function() n = n + 1 end, on_segment_close = function() end }")
    t.run(([[%s tcpreplay -q --pps=5000 -i veth0 -l 100 a.pcap >/dev/null 2>&1 & sender=$!
      xargs -L 1 -P 4 timeout -k 1 10 sh one <runs; kill $sender]]):format(live.net.right))
    local ended = 0
    for i, code, signal, after in t.read("codes"):gmatch("(%d+) (%d+) (%a+) ([%d.]+)\n") do
      local where = ("run %s, SIG%s after %s s, seed %d, status %s: %s"):format(i, signal, after, seed, code, t.read(i .. ".err"))
      if code == "143" and signal == "TERM" then
        assert.is_false(t.exists("out/" .. i), where)
      else
        assert.equal("0", code, where)
        local r = t.balances(json.decode(t.read(i .. ".json")))
        local sum = 0
        for _, line in ipairs(t.json_lines("out/" .. i .. "/manifest.jsonl")) do
          sum = sum + line.packets
        end
        assert.equal(r.kept, sum, where)
        ended = ended + r.kept
      end
    end
    assert.equal(runs, select(2, t.read("codes"):gsub("\n", "")))
    assert.is_true(ended > 0)
    assert.equal(ended, live.in_segments("out"))
    assert.same({}, live.files("out", "%.part"))
    assert.equal("", live.left_over())
  end)

  it("SIGKILL at any moment: --recover makes every file whole", function()
    local seed = os.time()
    math.randomseed(seed)
    local list = {}
    for i = 1, 24 do
      list[i] = ("%d %s %.4f"):format(i, ({ "no", "gz", "zst" })[i % 3 + 1], math.random() * 0.6)
    end
    t.write("runs", table.concat(list, "\n") .. "\n")
    t.write("one", ([[
      LEFT moontap -q -F 'udp port 2000' -B out/$1 -P 500 -Z $2 --flush 0.1 -i veth0 -i veth1 2>$1.err & pid=$!
      sleep $3; kill -KILL $pid; wait $pid; [ ! -e out/$1 ] || moontap --recover out/$1 || echo "$1 $2 $3" >>failed]])
      :gsub("LEFT", live.net.left))
    t.run(([[%s tcpreplay -q --pps=5000 -i veth0 -l 100 a.pcap >/dev/null 2>&1 & sender=$!
      xargs -L 1 -P 4 timeout -k 1 10 sh one <runs 2>/dev/null; kill $sender]]):format(live.net.right))
    assert.equal(nil, t.read("failed"), "seed " .. seed)
    local sum, each = live.in_segments("out")
    assert.is_true(sum > 0)
    local unlisted = 0
    for _ in pairs(each) do
      unlisted = unlisted + 1
    end
    for i = 1, #list do
      local folder = "out/" .. i .. "/"
      for _, line in ipairs(t.exists(folder .. "manifest.jsonl") and t.json_lines(folder .. "manifest.jsonl") or {}) do
        assert.equal(line.packets, each[folder .. line.file], folder .. line.file .. ", seed " .. seed)
        unlisted = unlisted - 1
      end
    end
    assert.is_true(unlisted <= #list, unlisted .. " are not listed") -- one whose run was killed just before
  end)
end)
