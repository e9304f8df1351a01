-- SPDX-License-Identifier: BSD-2-Clause
-- --pre and moontap.trigger: the flight recorder.
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

-- n packets, one each `step` ms from second 1000 on, numbered from 1.
local function numbered(path, n, step, from)
  local packets = {}
  for i = 1, n do
    local us = (i - 1) * step * 1000
    packets[i] = { (from or 1000) + math.floor(us / 1e6), us % 1e6, c.udp { id = i % 65536, payload = ("%08d"):format(i) } }
  end
  c.write(t.path(path), c.pcap(packets))
end

-- A script that triggers at packets by number: { [number] = "reason", post }
local function triggers(list, more)
  local parts = {}
  for number, what in pairs(list) do
    parts[#parts + 1] = ("[%d] = { %q, %g }"):format(number, what[1], what[2])
  end
  t.write("t.lua", ([[local at = { %s } local n = 0
    return { %s on_packet = function(p) n = n + 1 local what = at[n] if what then moontap.trigger(what[1], { post = what[2] }) end end }]])
    :format(table.concat(parts, ", "), more or ""))
end

local function numbers(file)
  local list = {}
  for i, hex in ipairs(t.field(file, "udp.payload")) do
    list[i] = tonumber((hex:sub(1, 16):gsub("%x%x", function(b) return string.char(tonumber(b, 16)) end)))
  end
  return list
end

local function range(first, last)
  local list = {}
  for i = first, last do
    list[#list + 1] = i
  end
  return list
end

describe("--pre", function()
  before_each(function()
    t.fresh()
    numbered("in.pcap", 5000, 10) -- 50 s
  end)
  after_each(t.clean)

  local function run(options, code)
    local r, said = t.json("moontap --json -l ./t.lua -B out " .. options .. " in.pcap", code)
    return t.balances(r), said
  end

  it("writes what was before a trigger and what comes after it, named by the reason", function()
    triggers { [2000] = { "link flap", 3 } }
    local r, said = run("--pre 2s")
    assert.equal(1, #r.segments)
    assert.same(range(1800, 2300), numbers("out/" .. r.segments[1].file))
    assert.is_truthy(r.segments[1].file:find("%-00000001%-link flap%.pcap$"), r.segments[1].file)
    assert.equal("link flap", r.segments[1].reason)
    assert.same({ triggers = 1, recordings = 1, not_recorded = 5000 - 501 }, r.recorder)
    assert.same({ 501, 5000 - 501, 0 }, { r.kept, r.script_dropped, r.dropped })
    assert.is_truthy(said.err:find("the last 2 s in at most 256", 1, true), said.err)
  end)

  it("writes nothing without a trigger", function()
    triggers {}
    local r = run("--pre 2s")
    assert.same({ 0, 5000, 0 }, { r.kept, r.script_dropped, #r.segments })
    assert.equal("", t.run("find out -type f").out)
  end)

  it("extends one segment where triggers overlap, and does not write a packet twice", function()
    triggers { [1000] = { "one", 1 }, [1050] = { "two", 1 }, [1140] = { "three", 0.5 }, [1250] = { "four", 0 } }
    local r = run("--pre 1s")
    assert.equal(2, #r.segments)
    assert.same(range(900, 1190), numbers("out/" .. r.segments[1].file))
    assert.equal("one, two, three", r.segments[1].reason)
    -- its second before has been written in part
    assert.same(range(1191, 1250), numbers("out/" .. r.segments[2].file))
    assert.equal("four", r.segments[2].reason)
    assert.equal(351, r.kept)
  end)

  it("agrees with what tshark cuts out", function()
    triggers { [2500] = { "x", 4 } }
    local r = run("--pre 3s")
    t.run("tshark -r in.pcap -Y 'frame.time_epoch >= 1021.99 && frame.time_epoch <= 1028.99' -w judge.pcap 2>/dev/null")
    assert.same(t.field("judge.pcap", "frame.md5_hash"), t.field("out/" .. r.segments[1].file, "frame.md5_hash"))
  end)

  it("is bounded in bytes, and works with packets of any size", function()
    local packets = {}
    for i = 1, 3000 do
      packets[i] = { 1000, i, c.udp { id = i, payload = ("%08d"):format(i) .. ("x"):rep(i % 7 == 0 and 9000 or i % 1400) } }
    end
    c.write(t.path("in.pcap"), c.pcap(packets))
    triggers { [2900] = { "x", 0 } }
    local r = run("--pre 100s,1M")
    local list = numbers("out/" .. r.segments[1].file)
    assert.equal(2900, list[#list])
    assert.same(range(list[1], 2900), list)
    local bytes = r.segments[1].captured_bytes
    assert.is_true(bytes > 700000 and bytes < 1048576, bytes .. " bytes")
  end)

  it("also with a trigger at the first and at the last packet, and at the end of the run", function()
    triggers({ [1] = { "first", 0 }, [5000] = { "last", 60 } })
    local r = run("--pre 1s")
    assert.same({ 1 }, numbers("out/" .. r.segments[1].file))
    assert.same(range(4900, 5000), numbers("out/" .. r.segments[2].file))
    triggers({}, "on_stop = function() end, interval = 10, on_interval = function(now, last) if last then moontap.trigger('end') end end,")
    r = run("--pre 1s -N number")
    assert.equal(1, #r.segments)
    assert.equal(100, r.kept >= 100 and r.kept <= 101 and 100 or r.kept)
  end)

  it("rotates inside a long recording", function()
    triggers { [1000] = { "long", 10 } }
    local r = run("--pre 5s -P 400")
    assert.equal(4, #r.segments)
    local all = {}
    for _, segment in ipairs(r.segments) do
      for _, number in ipairs(numbers("out/" .. segment.file)) do
        all[#all + 1] = number
      end
    end
    assert.same(range(500, 2000), all)
    assert.same({ "long", "packets" }, { r.segments[1].reason, r.segments[2].reason })
  end)

  it("works below filters, beside named outputs, with -c, and with hooks on segments", function()
    t.write("t.lua", [[
      local n = 0
      return {
        on_segment_open = function(s) return "by-hook-" .. s.reason end,
        on_segment_close = function(s) print("closed", s.packets) end,
        on_packet = function(p)
          n = n + 1
          if n == 1000 then moontap.trigger("hook", { post = 1 }) end
          if n % 2 == 0 then return "side" end
          return n % 3 ~= 0
        end }]])
    t.run("moontap -q -l ./t.lua --pre 1s -B out --out side=side.pcap in.pcap")
    assert.equal(2500, t.count("side.pcap"))
    local list = numbers("out/by-hook-hook.pcap")
    local want = {}
    for i = 900, 1100 do
      if i % 2 == 1 and i % 3 ~= 0 then
        want[#want + 1] = i
      end
    end
    assert.same(want, list)
    triggers { [1000] = { "c", 30 } }
    local r = t.balances(t.json("moontap --json -l ./t.lua --pre 1s -c 150 -B counted in.pcap"))
    assert.equal(150, r.kept)
    assert.same(range(900, 1049), numbers("counted/" .. r.segments[1].file))
  end)

  it("takes no reason for a path or a shell word", function()
    for i, reason in ipairs { "../../up", "/etc/x", "$(touch pwned)", "", ("x"):rep(500), "a/b", "line\nfeed", "\27[2J" } do
      triggers { [100] = { reason, 0 } }
      local r = t.json(("moontap --json -l ./t.lua -B out%d --pre 1s --on-close 'test -f \"$MOONTAP_FILE\" && echo ok >>closed' in.pcap"):format(i))
      assert.equal(1, #r.segments)
      assert.is_true(t.exists(("out%d/%s"):format(i, r.segments[1].file)))
      assert.is_true(#r.segments[1].file < 200)
    end
    assert.is_false(t.exists("pwned"))
    assert.equal(("ok\n"):rep(8), t.read("closed"))
  end)

  it("refuses what makes no sense", function()
    triggers {}
    t.refuses("moontap --pre 5s -o x.pcap in.pcap", 1, "--pre", "-B")
    t.refuses("moontap --pre soon -B out in.pcap", 1, "--pre soon", "30s")
    t.refuses("moontap --pre 5s,1K -B out in.pcap", 1, "--pre", "1M")
    for line, words in pairs {
      ["moontap.trigger()"] = "expected a reason, found nothing",
      ["moontap.trigger('x', { pst = 1 })"] = "did you mean 'post'",
      ["moontap.trigger('x', { post = -1 })"] = "post: expected seconds from 0 to 86400",
    } do
      t.write("t.lua", "return { on_packet = function() " .. line .. " end }")
      t.refuses("moontap -l ./t.lua --pre 1s -B out in.pcap", 4, words, "t.lua:1:")
    end
    t.write("t.lua", "return { on_packet = function() moontap.trigger('x') end }")
    t.refuses("moontap -l ./t.lua -B out2 in.pcap", 4, "there is no flight recorder", "--pre TIME")
    t.write("t.lua", "moontap.trigger('x')")
    t.refuses("moontap -l ./t.lua --pre 1s -B out3 in.pcap", 1, "while moontap runs")
  end)
end)

local function find_obstacle()
  t.fresh()
  local net, why = t.netns()
  t.clean()
  return not net and why or nil
end

describe("--pre, live", function()
  local net
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it
  before_each(function()
    t.fresh()
    net = t.netns()
  end)
  after_each(t.clean)

  it("records around a trigger, ends the segment on a silent line, and begins no others", function()
    numbered("in.pcap", 3000, 1)
    triggers { [1000] = { "live", 0.5 } }
    t.run(([[%s moontap --json -F 'udp port 2000' -l ./t.lua --pre 0.5s -G 1 -B out veth0 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=1000 -L 1200 -i veth0 in.pcap >/dev/null 2>&1; sleep 1.5; ls -A out >listed; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    local o = t.balances(json.decode(t.read("json")))
    local all = {}
    for _, segment in ipairs(o.segments) do
      for _, number in ipairs(numbers("out/" .. segment.file)) do
        all[#all + 1] = number
      end
    end
    assert.is_true(#o.segments <= 2)
    assert.same(range(all[1], 1200), all)
    assert.is_true(all[1] > 400 and all[1] < 600, all[1])
    assert.is_falsy(t.read("listed"):find(".part", 1, true), t.read("listed"))
  end)

  it("SIGINT in the time after a trigger leaves a whole segment", function()
    numbered("in.pcap", 3000, 1)
    triggers { [1000] = { "live", 60 } }
    t.run(([[%s moontap --json -F 'udp port 2000' -l ./t.lua --pre 60s -B out veth0 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=3000 -i veth0 in.pcap >/dev/null 2>&1; sleep 0.3; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    local o = t.balances(json.decode(t.read("json")))
    assert.same(range(1, 3000), numbers("out/" .. o.segments[1].file))
  end)
end)
