-- SPDX-License-Identifier: BSD-2-Clause
-- moontap.recent: the same packet within the last moments.
local c = require("support.capture")
local t = require("support.moontap")

-- Packets whose payloads are numbers from 1 to `kinds`, at random times up to `step` µs apart; some come late.
local function write_random(file, n, kinds, step)
  local list, at = {}, 0
  for i = 1, n do
    at = at + math.random(0, step)
    local late = math.random(20) == 1 and math.random(0, 10 * step) or 0
    local time = math.max(0, at - late)
    local kind = math.random(kinds)
    list[i] = { c.T0 + math.floor(time / 1e6), time % 1e6, c.udp { id = 1, sport = 7, payload = "kind " .. kind }, kind = kind, time = time }
  end
  c.write(t.path(file), c.pcap(list))
  return list
end

-- What add has to say of each packet, with a limit.
local function model(list, window, limit)
  local said, seen, now, forgotten = {}, {}, 0, 0
  for i, p in ipairs(list) do
    now = math.max(now, p.time)
    while seen[1] and seen[1].time + window <= now do table.remove(seen, 1) end
    local again = false
    for _, s in ipairs(seen) do again = again or s.kind == p.kind end
    if not again then
      if #seen == limit then
        table.remove(seen, 1)
        forgotten = forgotten + 1
      end
      seen[#seen + 1] = { kind = p.kind, time = now }
    end
    said[i] = again and "1" or "0"
  end
  return table.concat(said), forgotten
end

local SCRIPT = [[local recent, said = moontap.recent { %s }, {}
  return {
    %s
    on_stop = function() print(table.concat(said), recent:forgotten(), recent:count(), tostring(recent)) end,
  }]]
local EACH = [[on_packet = function(p) said[#said + 1] = recent:add(p) and "1" or "0" end,]]

local function run(options, hook, files, before)
  t.write("r.lua", SCRIPT:format(options, hook or EACH))
  local r = t.run(("moontap -q %s -l ./r.lua %s"):format(before or "", files or "in.pcap"))
  local said, forgotten = r.out:match("^(%d*)\t(%d+)\t")
  return said, tonumber(forgotten), r
end

describe("moontap.recent", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("says what a list of the last packets says, at any window and limit", function()
    math.randomseed(7)
    for _, try in ipairs { { 3000, 20, 10 }, { 3000, 400, 3 }, { 5000, 3000, 1 }, { 500, 2, 1000 } } do
      local list = write_random("in.pcap", unpack(try))
      for _, window in ipairs { 1, 50, 1000, 1000000 } do
        for _, limit in ipairs { 1, 7, 100, 1000000 } do
          local want, forgotten = model(list, window, limit)
          local said, lost = run(("window = %g, limit = %d"):format(window / 1e6, limit))
          assert.equal(want, said, ("window %d limit %d"):format(window, limit))
          assert.equal(forgotten, lost)
        end
      end
    end
  end)

  it("grows, and holds what it held", function()
    local list = write_random("in.pcap", 20000, 15000, 1)
    local said, lost, r = run("window = 100")
    local seen = {}
    for i, p in ipairs(list) do
      assert.equal(seen[p.kind] and "1" or "0", said:sub(i, i))
      seen[p.kind] = true
    end
    assert.equal(0, lost)
    assert.is_truthy(r.out:find("recent packets", 1, true))
  end)

  it("ignores what it is told to, over all links and IP versions", function()
    t.write("hop.lua", [[return { on_packet = function(p)
      local e = p:edit()
      if LINK then e.eth_src = moontap.mac "02:00:00:00:00:99" end
      if TTL and p.is_ip then e.ttl = p.ttl - 1 end
    end }]])
    for link = 0, 1 do
      for ttl = 0, 1 do
        local script = t.read("hop.lua"):gsub("LINK", tostring(link == 1)):gsub("TTL", tostring(ttl == 1))
        t.write("hop1.lua", script)
        t.run("moontap -q --overwrite -l ./hop1.lua -o hop.pcap f/web.pcap")
        for ignore, same in pairs { none = link + ttl == 0, link = ttl == 0, ttl = link == 0, ["link,ttl"] = true } do
          local said = run(("window = 1, ignore = %q"):format(ignore), nil, "f/web.pcap hop.pcap")
          assert.equal(338, #said)
          local again = select(2, said:gsub("1", ""))
          assert.is_true(same and again >= 169 or not same and again < 169, ignore .. link .. ttl .. ": " .. again)
        end
      end
    end
  end)

  it("sees a packet as scripts before it have left it, also in batches", function()
    local list, kept = write_random("in.pcap", 3000, 50, 10), {}
    t.write("cut.lua", "return { on_packet = function(p) p:truncate(42) end }")
    t.write("some.lua", "return { on_packet = function(p) return p.number % 3 ~= 0 end }")
    local batch = [[on_batch = function(b) for i = 0, b.n - 1 do said[#said + 1] = recent:add(b[i]) and "1" or "0" end end,]]
    local copy = [[on_packet = function(p) said[#said + 1] = recent:add(p:copy()) and "1" or "0" end,]]
    assert.equal((model(list, 1000, 1e6)), (run("window = 0.001", batch)))
    assert.equal((model(list, 1000, 1e6)), (run("window = 0.001", [[filter = "udp",]] .. EACH)))
    assert.equal((model(list, 1e9, 1e6)), (run("window = 1000", copy)))
    for i, p in ipairs(list) do
      kept[#kept + 1] = i % 3 ~= 0 and p or nil
    end
    assert.equal((model(kept, 1e9, 1e6)), (run("window = 1000", nil, nil, "-l ./some.lua")))
    -- without the payload they differ in length only, by one digit
    assert.equal(2, select(2, run("window = 1000", nil, nil, "-l ./cut.lua"):gsub("0", "")))
  end)

  it("refuses what makes no sense", function()
    for _, case in ipairs {
      { "moontap.recent { windo = 1 }", "there is no 'windo'", "window" },
      { "moontap.recent {}", "window: expected a number from 1e-06" },
      { "moontap.recent { window = 1, limit = 0 }", "limit: expected a number from 1" },
      { "moontap.recent { window = 1, ignore = 'mac' }", "ignore: expected none, link, ttl or link,ttl, found mac" },
      { "moontap.recent { window = 1 }:add(7)", "recent:add: expected a packet, found the number 7" },
      { "moontap.recent { window = 1 }.add(7)", "expected a recent before the colon" },
      { "moontap.recent { window = 1 }:remove()", "a recent has no method 'remove'" },
    } do
      t.write("r.lua", "return { on_start = function() local x = " .. case[1] .. " end }")
      t.refuses("moontap -l ./r.lua f/web.pcap", 4, unpack(case, 2))
    end
  end)
end)
