-- SPDX-License-Identifier: BSD-2-Clause
-- A script can not hurt a capture: hooks that do not come back, eat memory or end the process.
local t = require("support.moontap")
local c = require("support.capture")

-- Why there can be no network namespaces here, or nil.
local function find_obstacle()
  t.fresh()
  local net, why = t.netns()
  t.clean()
  return not net and why or nil
end

local SPIN = "local function spin() local n = 0 while true do n = n + 1 end end\n"

-- n packets, one a millisecond; the UDP payload is "number I" from 0.
local function make(n)
  local file = {}
  for i = 0, n - 1 do
    file[i + 1] = { c.T0 + math.floor(i / 1000), i % 1000 * 1000, c.udp { id = i, sport = i, payload = "number " .. i } }
  end
  return t.write("in.pcap", c.pcap(file))
end

local function count(text, what)
  local _, n = text:gsub(what, "")
  return n
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

  local PINGS = 60 -- 120 packets, the answers too, in a second

  -- Capture the pings with the script; the interrupt comes while the hook is stuck.  given: options, output
  -- (default -o out.pcap), out (what standard output goes to), before and after (commands around it).
  -- Returns the object of --json (nil with out), standard error, and the seconds from the interrupt to the end.
  local function capture(script, given, code)
    given = given or {}
    t.write("s.lua", SPIN .. script)
    local r = t.run(([[%s
      %s moontap %s -F 'icmp[0] = 0 or icmp[0] = 8' %s %s -l ./s.lua veth0 >%s & pid=$!; sleep 0.8
      %s ping -q -i 0.01 -c %d 10.77.0.2 >/dev/null; sleep 0.3; %s
      date +%%s.%%N >begun; kill -INT $pid; wait $pid; code=$?; date +%%s.%%N >ended; exit $code]]):format(given.before or "", net.left,
      given.out and "" or "--json", given.options or "--script-timeout 0.3", given.output or "-o out.pcap", given.out or "json", net.left, PINGS,
      given.after or ""), code or 4, { timeout = 60 })
    local took = tonumber(t.read("ended")) - tonumber(t.read("begun"))
    return not given.out and t.balances(require("cjson").decode(t.read("json"))) or nil, r.err, took
  end

  -- Everything was captured and written, once.
  local function is_whole(r)
    assert.equal(2 * PINGS, r.kept)
    assert.equal(0, r.dropped)
    assert.equal(2 * PINGS, t.count("out.pcap"))
    assert.equal(PINGS, #t.field("out.pcap", "icmp.seq", "icmp.type == 8"))
  end

  it("goes on when on_packet never comes back: the packets it had not finished are kept and counted", function()
    local r, err, took = capture([[local n = 0
      return { on_packet = function(p) n = n + 1 if n == 30 then spin() end end, on_stop = function() print(n) end }]])
    is_whole(r)
    assert.equal(2 * PINGS - 29, r.script_bypassed)
    assert.is_truthy(err:find("script ./s.lua: on_packet has not come back for 0.", 1, true), err)
    assert.is_truthy(err:find("%(packet %d+, from veth0, at %d+%-%d+%-%d+ [%d:.]+ UTC%)"), err)
    assert.is_truthy(err:find("results of scripts are missing", 1, true), err)
    assert.equal(2, count(err, "has not come back"), err)
    assert.is_true(took < 3, took .. " s")
  end)

  it("waits two seconds for a hook without --script-timeout", function()
    local r, err = capture([[local n = 0 return { on_packet = function() n = n + 1 if n == 30 then spin() end end }]],
      { options = "" })
    is_whole(r)
    assert.is_truthy(err:find("has not come back for 2.", 1, true), err)
  end)

  it("asks a hook again that comes back late, and discards what it says of the batch", function()
    local r, err = capture([[local n, latch = 0, io.open("latch", "r+")
      return {
        on_packet = function(p)
          n = n + 1
          if n == 30 then latch:read() return false end
        end,
        on_stop = function() print("seen", n) end,
      }]], { before = "mkfifo latch;", after = "echo >latch; sleep 0.5; " .. net.left .. " ping -q -i 0.01 -c 20 10.77.0.2 >/dev/null; sleep 0.3;" })
    assert.equal(2 * PINGS + 40, r.kept)
    assert.equal(2 * PINGS + 40, t.count("out.pcap"))
    assert.equal(2 * PINGS - 29, r.script_bypassed)
    assert.is_truthy(err:find(("seen\t%d\n"):format(30 + 40), 1, true), err)
    assert.is_truthy(err:find("on_packet came back after", 1, true), err)
  end)

  it("drops what goes past a script whose rule is drop", function()
    local r = capture([[local n = 0
      return { on_error = "drop", on_packet = function() n = n + 1 if n == 30 then spin() end end }]])
    assert.equal(29, r.kept)
    assert.equal(2 * PINGS - 29, r.script_dropped)
    assert.equal(0, r.script_bypassed)
    assert.equal(29, t.count("out.pcap"))
  end)

  it("drops it also when a script behind the stuck one says so, but only what that one would see", function()
    t.write("drop.lua", [[return { on_error = "drop", filter = "icmp[0] = 8", on_packet = function() end }]])
    local r = capture([[return { on_packet = function() spin() end }]], { options = "--script-timeout 0.3 -l ./drop.lua" })
    assert.equal(PINGS, r.kept)
    assert.equal(PINGS, r.script_bypassed)
    assert.equal(PINGS, r.script_dropped)
    assert.equal(0, #t.field("out.pcap", "icmp.seq", "icmp.type == 8"))
  end)

  it("still drops what keep= rejects", function()
    local r = capture([[return { keep = "icmp[0] = 0", on_packet = function() spin() end }]])
    assert.equal(PINGS, r.kept)
    assert.equal(PINGS, r.script_dropped)
  end)

  it("ends with the rule stop: what was finished is written", function()
    local r, err = capture([[local n = 0
      return { on_error = "stop", on_packet = function() n = n + 1 if n == 30 then spin() end end }]],
      { after = "sleep 0.3; kill() { :; }" })
    assert.equal(29, r.kept)
    assert.equal(1, r.script_dropped)
    assert.equal(29, t.count("out.pcap"))
    assert.is_truthy(err:find("the run ends", 1, true), err)
  end)

  it("goes on when on_batch, on_interval or on_block do not come back", function()
    for hook, text in pairs {
      on_batch = "on_batch = function(b) n = n + b.n if n > 30 then spin() end end",
      on_interval = "interval = 0.5, on_interval = function(_, last) if not last then spin() end end",
      on_block = "on_block = function() spin() end",
    } do
      t.run("rm -f out.pcap")
      local r, err, took = capture("local n = 0 return {" .. text .. "}", { options = "--flush 0.2 --script-timeout 0.3" })
      is_whole(r)
      assert.equal(hook == "on_batch", r.script_bypassed > 0)
      assert.is_truthy(err:find("script ./s.lua: " .. hook .. " has not come back for 0.", 1, true), err)
      assert.is_true(took < 3, took .. " s")
    end
  end)

  it("goes on, and ends, when a hook is blocked in a print", function()
    if t.tsan then
      pending("TSan flushes standard output in _exit")
    end
    local _, err, took = capture([[local n = 0
      return { on_packet = function() n = n + 1 if n > 30 then io.stdout:write(("x"):rep(100000)) end end }]],
      { before = "mkfifo full; exec 3<>full;", out = "full" })
    assert.equal(2 * PINGS, t.count("out.pcap"))
    assert.equal(2 * PINGS, t.count("out.pcap"))
    assert.is_truthy(err:find("on_packet has not come back", 1, true), err)
    assert.is_true(took < 3, took .. " s")
  end)

  it("goes on when a hook waits in io.read", function()
    local r = capture([[local n, f = 0, io.popen("sleep 60 >/dev/null")
      return { on_packet = function() n = n + 1 if n == 30 then f:read() end end }]])
    is_whole(r)
    assert.is_true(r.script_bypassed > 60)
  end)

  it("names a segment by default when on_segment_open does not come back, and still rotates", function()
    local r, err = capture([[return { on_segment_open = function(s) if s.n == 2 then spin() end return "mine" .. s.n end }]],
      { output = "-B out -P 40" })
    assert.equal(2 * PINGS, r.kept)
    local names = {}
    for i, line in ipairs(t.json_lines("out/manifest.jsonl")) do
      assert.equal(40, line.packets)
      assert.equal(40, t.count("out/" .. line.file))
      names[i] = line.file
    end
    assert.equal(3, #names)
    assert.equal("mine1.pcap", names[1])
    assert.is_truthy(names[2]:find("^%d+%-%d+%-00000002%.pcap$"), names[2])
    assert.is_truthy(err:find("on_segment_open has not come back for 0.%d s %(segment 2%)"), err)
  end)

  it("closes its segments when on_segment_close or rotate do not come back", function()
    for hook, text in pairs { on_segment_close = "on_segment_close = function() spin() end",
      rotate = "rotate = function(s) if s.packets == 30 then spin() end end" } do
      t.run("rm -rf out")
      local r, err = capture("return {" .. text .. "}", { output = "-B out -P 40" })
      assert.equal(2 * PINGS, r.kept)
      assert.equal(3, #t.json_lines("out/manifest.jsonl"))
      assert.is_truthy(err:find(hook .. " has not come back", 1, true), err)
    end
  end)

  it("goes on when a script grows without end, in any way", function()
    for _, grow in ipairs { "for i = 1, 1e5 do list[#list + 1] = { i } end", -- the collector is asked
      "for i = 1, 1e9 do list[#list + 1] = i end", -- one compiled loop that never asks it
      "text = text .. text" } do
      t.run("rm -f out.pcap")
      local r, err = capture("local list, text = {}, 'xx' return { on_packet = function(p) " .. grow .. " end }",
        { options = "--script-memory 32M" })
      is_whole(r)
      assert.is_true(r.script_bypassed > 0)
      assert.is_truthy(err:find("script ./s.lua: .*not enough memory .*%(packet %d+, from veth0, at "), err)
    end
  end)

  it("ends at os.exit, with everything written and on_stop called", function()
    local r, err = capture([[local n = 0
      return { on_packet = function() n = n + 1 if n == 30 then os.exit(7) end end, on_stop = function() print("seen", n) end }]],
      { after = "kill() { :; }" }, 0)
    assert.equal(30, r.kept)
    assert.equal(30, t.count("out.pcap"))
    assert.is_truthy(err:find("seen\t30", 1, true), err)
  end)

  it("raises for a packet that was kept past its hook, says where, and keeps the packet", function()
    local r, err = capture([[local old
      return { on_packet = function(p) if old then local n = old.caplen end old = p end }]], { options = "--script-errors 1000" })
    is_whole(r)
    assert.equal(2 * PINGS - 1, r.script_bypassed)
    assert.is_truthy(err:find("script ./s.lua: on_packet: ./s.lua:3: this packet is gone: .- %(packet %d+, from veth0, at %d+%-"), err)
  end)

  it("ends when on_stop does not come back", function()
    local r, err, took = capture([[return { on_stop = function() spin() end }]])
    is_whole(r)
    assert.is_truthy(err:find("on_stop has not come back", 1, true), err)
    assert.is_true(took < 5, took .. " s")
  end)

  it("a second interrupt ends at once, whatever the time limit", function()
    local r, err, took = capture([[return { on_packet = function() spin() end }]], { options = "--script-timeout 3600",
      after = "kill -INT $pid; sleep 0.5" }, 130)
    assert.equal(r.kept, t.count("out.pcap"))
    assert.is_truthy(err:find("interrupted a second time", 1, true), err)
    assert.is_true(took < 3, took .. " s")
  end)
end)

describe("--script-timeout with files", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("finishes the outputs and ends with status 4", function()
    make(3000)
    t.write("s.lua", SPIN .. [[return { on_packet = function(p) if p.sport == 2000 then spin() end end }]])
    local r, out = t.json("moontap --json --script-timeout 0.5 -l ./s.lua -o out.pcap in.pcap", 4)
    t.balances(r)
    assert.equal(2000, r.kept)
    assert.equal(2000, t.count("out.pcap"))
    assert.is_truthy(out.err:find("script ./s.lua: on_packet has not come back for 0.%d s %(packet 2001, from in.pcap, at " ..
      "2023%-11%-14 22:13:22.000000000 UTC%); the run ends"), out.err)
  end)

  it("goes on by the rule of the script, if it has one", function()
    make(3000)
    t.write("s.lua", SPIN .. [[return { on_packet = function(p) if p.sport == 2000 then spin() end end }]])
    for rule, kept in pairs { keep = 3000, drop = 2000 } do
      local r = t.json("moontap --json --script-timeout 0.5 --on-script-error " .. rule ..
        " -l ./s.lua --overwrite -o out.pcap in.pcap", 4)
      t.balances(r)
      assert.equal(kept, r.kept)
      assert.equal(rule == "keep" and 1000 or 0, r.script_bypassed)
      assert.equal(kept, t.count("out.pcap"))
    end
    assert.same({ "1999" }, { t.field("out.pcap", "udp.srcport")[2000] })
  end)

  it("gives packets of a batch that later scripts have not seen their rule", function()
    make(3000)
    t.write("s.lua", SPIN .. [[return { on_error = "keep", on_batch = function(b) if b[0].number > 2000 then spin() end end }]])
    t.write("drop.lua", [[return { on_error = "drop", on_packet = function(p) if p.sport % 2 == 0 then return false end end }]])
    local r = t.json("moontap --json --script-timeout 0.5 -l ./s.lua -l ./drop.lua -o out.pcap in.pcap", 4)
    t.balances(r)
    for _, port in ipairs(t.field("out.pcap", "udp.srcport")) do
      assert.equal(1, tonumber(port) % 2)
    end
    assert.equal(r.kept, t.count("out.pcap"))
  end)

  it("writes the edits of packets that were finished, and the others as they were read", function()
    make(2500)
    t.write("s.lua", SPIN .. [[return { on_packet = function(p)
      local e = p:edit()
      e.dport = 9
      e.ts_ns = e.ts_ns + 1000000000000LL
      if p.sport == 2000 then spin() end
    end }]])
    local r = t.json("moontap --json --script-timeout 0.5 --on-script-error keep -l ./s.lua -o out.pcap in.pcap", 4)
    t.balances(r)
    assert.equal(500, r.script_bypassed)
    assert.equal(2500, r.kept)
    assert.equal("1700000000.000000000", r.first_ts)
    assert.equal("1700000002.499000000", r.last_ts)
    assert.equal(2000, #t.field("out.pcap", "udp.srcport", "udp.dstport == 9"))
    assert.equal("2000", t.field("out.pcap", "udp.srcport", "udp.dstport != 9")[1])
    assert.equal(500, #t.field("out.pcap", "udp.srcport", "udp.dstport != 9 && frame.time_epoch < 1700000003"))
  end)

  it("changes nothing for scripts that come back", function()
    make(5000)
    t.write("s.lua", [[local n = 0 return { interval = 1,
      on_packet = function(p) n = n + 1 if n % 7 == 0 then return false end end,
      rotate = function(s) return s.packets == 700 end,
      on_segment_open = function(s) return "part" .. s.n end,
      on_segment_close = function(line) print(line.file, line.packets) end,
      on_interval = function(now, last) print(now, n, last) end,
      on_stop = function() print(n) end }]])
    local plain = t.run("moontap -l ./s.lua -B a in.pcap")
    local apart = t.run("moontap --script-timeout 60 -l ./s.lua -B b in.pcap")
    assert.equal(plain.out, apart.out)
    assert.is_truthy(plain.out:find("part6.pcap", 1, true), plain.out)
    t.run("for f in a/*.pcap; do cmp $f b/${f#a/} || exit 1; done")
  end)

  it("is refused when it is no time", function()
    for _, value in ipairs { "0", "-1", "soon", "90000" } do
      t.refuses("moontap --script-timeout " .. value .. " -e true f/web.pcap", 1, "--script-timeout", value)
    end
    t.refuses("moontap --script-timeout 1 -o out.pcap f/web.pcap", 1, "--script-timeout")
  end)

  it("a second interrupt still ends a stuck script without it, but writes nothing that a later script has not seen", function()
    make(3000)
    t.write("s.lua", SPIN .. [[return { on_batch = function(b) if b[0].number > 2000 then spin() end end }]])
    t.write("odd.lua", [[return { on_packet = function(p) if p.sport % 2 == 0 then return false end end }]])
    t.run([[moontap -l ./s.lua -l ./odd.lua -o out.pcap in.pcap & pid=$!
      sleep 1; kill -INT $pid; sleep 0.5; kill -INT $pid; wait $pid]], 130)
    for _, port in ipairs(t.field("out.pcap", "udp.srcport")) do
      assert.equal(1, tonumber(port) % 2)
    end
  end)
end)

describe("an error message", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("has script line and place, in every hook", function()
    make(1500)
    for hook, place in pairs {
      on_packet = "packet 1, from in.pcap, at 2023%-11%-14 22:13:20.000000000 UTC",
      on_batch = "batch from packet 1, from in.pcap, at 2023",
      rotate = "packet 1, from in.pcap, at 2023",
      on_interval = "before packet 1001, from in.pcap, at 2023%-11%-14 22:13:21.000000000 UTC",
      on_segment_open = "segment 1, of 2023%-11%-14 22:13:20",
      on_segment_close = "segment one.pcap",
      on_block = "a block of %d+ bytes",
    } do
      t.write("s.lua", ("local h = { on_error = 'keep', interval = %s }\nh.%s = function(p)\n  error('boom')\nend\nreturn h")
        :format(hook == "on_interval" and "1" or "nil", hook))
      local r = t.run("rm -rf out; moontap -B out --name one -l ./s.lua in.pcap", 4)
      assert.is_truthy(r.err:find("script ./s.lua: " .. hook .. ": ./s.lua:3: boom %(" .. place), hook .. "\n" .. r.err)
      assert.equal(1500, t.count("out/" .. t.json_lines("out/manifest.jsonl")[1].file))
    end
  end)

  it("guesses what a wrong name meant, also a misspelt one of other tools", function()
    make(1)
    for wrong, right in pairs { sorce_port = "sport", dst_prot = "dport", captlen = "caplen", Proto = "proto" } do
      t.write("s.lua", "return { on_packet = function(p) return p." .. wrong .. " > 0 end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, ("no field '%s': did you mean '%s'?"):format(wrong, right), "s.lua:1:")
    end
  end)
end)
