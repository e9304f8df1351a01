-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

-- Packet lines of equal times in a defined order, for where two tools may break ties differently.
local function sorted(lines)
  local copy = { unpack(lines) }
  table.sort(copy)
  return copy
end

describe("merge", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("equals mergecap packet for packet, in nanoseconds", function()
    t.run("moontap -o out.pcap f/web.pcap f/ping.ns.pcap f/dns.pcap.gz")
    assert.same(t.mergecap("nsecpcap", "f/web.pcap", "f/ping.ns.pcap", "f/dns.pcap.gz"), t.packets("out.pcap"))
    assert.equal("nsecpcap", t.capinfos("out.pcap").type)
  end)

  it("equals mergecap packet for packet, in microseconds", function()
    t.run("moontap -o out.pcap f/web.pcap f/dns.pcap.gz")
    assert.same(t.mergecap("pcap", "f/web.pcap", "f/dns.pcap.gz"), t.packets("out.pcap"))
    assert.equal("pcap", t.capinfos("out.pcap").type)
  end)

  it("equals mergecap for pcap, gzip and pcapng with two interfaces together", function()
    local names = { "f/web.pcap", "f/ping.ns.pcap", "f/two-interfaces.pcapng", "f/vlan.pcap", "f/dns.pcap.gz" }
    t.run("moontap -o out.pcapng " .. table.concat(names, " "))
    assert.same(sorted(t.mergecap("pcapng", unpack(names))), sorted(t.packets("out.pcapng")))
  end)

  it("writes times that never run backwards", function()
    t.run("moontap -o out.pcapng f/web.pcap f/two-interfaces.pcapng f/vlan.pcap f/dns.erf f/ping.ns.pcap")
    local times = t.field("out.pcapng", "frame.time_epoch")
    for i = 2, #times do
      assert.is_true(times[i - 1] <= times[i], "packet " .. i)
    end
  end)

  it("keeps one source as it is", function()
    t.run("moontap -o out.pcap f/web.pcap")
    assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
  end)

  it("orders equal times as the sources stand on the command line", function()
    local function order(names)
      t.run("moontap --overwrite -o out.pcap " .. names)
      local letters = {}
      for _, payload in ipairs(t.field("out.pcap", "udp.payload")) do
        -- the payload is the hex of "a1", "b1", ...
        letters[#letters + 1] = payload:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)
      end
      return table.concat(letters, " ")
    end
    assert.equal("a1 a2 a3 b1 b2 b3 a4 a5 a6 a7 b4 b5 b6 b7 a8 a9 a10 b8 b9 b10", order("m/equal-a.pcap m/equal-b.pcap"))
    assert.equal("b1 b2 b3 a1 a2 a3 b4 b5 b6 b7 a4 a5 a6 a7 b8 b9 b10 a8 a9 a10", order("m/equal-b.pcap m/equal-a.pcap"))
  end)

  it("merges the same file with itself", function()
    t.run("moontap -o out.pcap f/web.pcap f/web.pcap")
    local twice = {}
    for _, line in ipairs(t.packets("f/web.pcap")) do
      twice[#twice + 1] = line
      twice[#twice + 1] = line
    end
    assert.same(twice, t.packets("out.pcap"))
  end)

  it("merges a source that runs backwards as it comes and counts its disorder", function()
    local r = t.balances(t.json("moontap --json -o out.pcap m/backwards.pcap"))
    assert.equal(9, r.disorder)
    assert.equal(10, r.kept)
    assert.same(t.packets("m/backwards.pcap"), t.packets("out.pcap"))
    assert.equal("1700000000.000000000", r.first_ts)
    assert.equal("1700000009.000000000", r.last_ts)
  end)

  it("counts no disorder for sources that are in order", function()
    assert.equal(0, t.json("moontap --json f/web.pcap f/ping.ns.pcap").disorder)
  end)

  it("takes sources without packets as empty", function()
    t.run("moontap -o out.pcap m/no-packets.pcap m/us-le.pcap m/no-packets.pcap")
    assert.same(t.packets("m/us-le.pcap"), t.packets("out.pcap"))
  end)

  it("writes a valid file when there is no packet at all", function()
    t.run("moontap -o out.pcap m/no-packets.pcap")
    assert.equal(0, t.count("out.pcap"))
  end)

  describe("of 300 files", function()
    local lines

    -- Three packets each; the files overlap everywhere.
    before_each(function()
      lines = {}
      math.randomseed(7)
      for i = 1, 300 do
        local file, at = {}, math.random(0, 999999)
        for j = 1, 3 do
          at = at + math.random(1, 400000)
          file[j] = { c.T0 + math.floor(at / 1e6), at % 1e6, c.udp { id = i * 3 + j, payload = i .. "/" .. j } }
          lines[#lines + 1] = ("%d.%06d"):format(file[j][1], file[j][2])
        end
        t.write(("in%03d.pcap"):format(i), c.pcap(file))
      end
      table.sort(lines)
    end)

    local function times(name)
      local list = t.field(name, "frame.time_epoch")
      for i, time in ipairs(list) do
        list[i] = time:sub(1, 17)
      end
      return list
    end

    it("is in order and complete", function()
      t.run("moontap -o out.pcap in*.pcap")
      assert.same(lines, times("out.pcap"))
      local seen, payloads = {}, t.field("out.pcap", "udp.payload")
      for _, payload in ipairs(payloads) do
        assert.is_nil(seen[payload])
        seen[payload] = true
      end
      assert.equal(900, #payloads)
    end)

    it("takes their names from a list", function()
      t.run("ls in*.pcap >list; moontap -o out.pcap --files-from list")
      assert.same(lines, times("out.pcap"))
    end)

    it("takes their names from standard input", function()
      t.run("ls in*.pcap | moontap -o out.pcap --files-from -")
      assert.same(lines, times("out.pcap"))
    end)

    it("needs descriptors only for those that overlap", function()
      -- The same packets, one file after the other in time.
      for i = 1, 300 do
        local file = {}
        for j = 1, 3 do
          file[j] = { c.T0 + i, j, c.udp { id = i * 3 + j } }
        end
        t.write(("in%03d.pcap"):format(i), c.pcap(file))
      end
      local r = t.json("ulimit -n 40; moontap --json -o out.pcap in*.pcap")
      assert.equal(900, r.kept)
      assert.equal(900, t.count("out.pcap"))
    end)
  end)

  it("names a file of the list that is not there", function()
    t.write("list", "f/web.pcap\nnot-there.pcap\n")
    t.refuses("moontap -o out.pcap --files-from list", 1, "not-there.pcap")
  end)

  it("names a list that is not there", function()
    t.refuses("moontap -o out.pcap --files-from no-list", 1, "no-list")
  end)
end)
