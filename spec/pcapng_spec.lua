-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

local FIELDS = { "frame.time_epoch", "frame.interface_name", "frame.len", "frame.cap_len", "frame.md5_hash",
  "frame.comment", "frame.packet_flags_direction" }

describe("pcapng", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("reading", function()
    for _, order in ipairs { "le", "be" } do
      it("takes every packet block, resolution and offset (" .. order .. ")", function()
        t.run("moontap -o out.pcapng m/ng-" .. order .. ".pcapng")
        assert.same({
          "1700000000.000001000 micro 49 49",
          "1700000000.500000000 binary 49 49",
          "1700000000.750000000 shifted 1400 49",
          "1700000000.800000000 micro 49 49",
        }, t.packets("out.pcapng", { "frame.time_epoch", "frame.interface_name", "frame.len", "frame.cap_len" }))
      end)
    end

    it("takes a second section of the other byte order", function()
      local r = t.balances(t.json("moontap --json -o out.pcapng m/ng-sections.pcapng"))
      assert.equal(5, r.kept)
      assert.equal("1700000001.000000000", r.last_ts)
      local last = t.packets("out.pcapng", { "frame.interface_name", "frame.md5_hash" })[5]
      assert.equal("again", last:match("%S+"))
    end)

    it("takes simple packet blocks, cut at the interface's snap length", function()
      t.run("moontap -o out.pcapng m/ng-simple.pcapng")
      assert.same({ "48 48", "142 60" }, t.packets("out.pcapng", { "frame.len", "frame.cap_len" }))
    end)

    it("takes two link types", function()
      local r = t.json("moontap --json -o out.pcapng m/ng-two-linktypes.pcapng")
      assert.equal(2, r.kept)
      assert.same({ "eth:ethertype:ip:udp:data", "raw:ip:udp:data" }, t.field("out.pcapng", "frame.protocols"))
    end)

    it("takes resolutions from 1 s to 2^-30 s and 10^-12 s", function()
      local units = { [0] = 5, [1] = 51, [9] = 5123456789, [12] = 5123456789012, [0x80] = 5, [0x80 + 1] = 11,
        [0x80 + 30] = 5 * 2 ^ 30 + 2 ^ 29 }
      local seconds = { [0] = "5.000000000", [1] = "5.100000000", [9] = "5.123456789", [12] = "5.123456789",
        [0x80] = "5.000000000", [0x80 + 1] = "5.500000000", [0x80 + 30] = "5.500000000" }
      for tsresol, n in pairs(units) do
        t.write("in.pcapng", c.section("le") .. c.interface("le", { tsresol = tsresol })
          .. c.enhanced("le", 0, n, c.udp {}))
        local r = t.json("moontap --json in.pcapng")
        assert.equal(seconds[tsresol], r.first_ts, "tsresol " .. tsresol)
      end
    end)

    it("keeps what stands before a cut", function()
      t.refuses("moontap -o out.pcapng m/ng-truncated.pcapng", 2, "ng-truncated.pcapng")
      assert.equal(3, t.count("out.pcapng"))
    end)

    it("skips unknown blocks and options", function()
      t.write("in.pcapng", c.section("le", { { 60000, "?" } }) .. c.block("le", 0x80001234, "?")
        .. c.interface("le", {}) .. c.block("le", 0xfff, ("?"):rep(70000))
        .. c.enhanced("le", 0, 1, c.udp {}, { { 40000, "?" } }))
      t.run("moontap -o out.pcapng in.pcapng")
      assert.equal(1, t.count("out.pcapng"))
    end)

    it("leaves packets alone while it passes over a block larger than its buffers", function()
      local file = { c.section("le"), c.interface("le", {}) }
      for i = 1, 5 do
        file[#file + 1] = c.enhanced("le", 0, i, c.udp { id = i, payload = ("x"):rep(10 * i) })
      end
      local packets = table.concat(file)
      t.write("in.pcapng", packets .. c.block("le", 0xfff, ("?"):rep(2000000)) .. file[7])
      t.write("want.pcapng", packets .. file[7])
      t.run("moontap -o out.pcapng in.pcapng")
      assert.same(t.packets("want.pcapng"), t.packets("out.pcapng"))
    end)

    it("counts the losses of many interfaces at once", function()
      local interface, file = c.interface("le", {}), { c.section("le") }
      for i = 1, 30000 do
        file[i + 1] = interface
        file[i + 30001] = c.statistics("le", i - 1, 0, 1, 2)
      end
      t.write("in.pcapng", table.concat(file) .. c.enhanced("le", 0, 1, c.udp {}))
      local r = t.json("timeout 20 moontap --json in.pcapng")
      assert.equal(60000, r.dropped_kernel)
    end)
  end)

  describe("writing", function()
    it("has an interface block for each interface of each source", function()
      t.run("moontap -o out.pcapng f/two-interfaces.pcapng m/ng-le.pcapng")
      local names = {}
      for i, interface in ipairs(t.interfaces("out.pcapng")) do
        names[i] = interface.name .. ": " .. interface.description
      end
      table.sort(names)
      -- Without a description of its own an interface is described by its source.
      assert.same({ "binary: m/ng-le.pcapng", "lan0: f/two-interfaces.pcapng", "micro: microseconds by default",
        "shifted: m/ng-le.pcapng", "wan0: f/two-interfaces.pcapng" }, names)
    end)

    it("keeps packets with their interface", function()
      t.run("moontap -o out.pcapng f/two-interfaces.pcapng")
      assert.same(t.packets("f/two-interfaces.pcapng", { "frame.time_epoch", "frame.interface_name", "frame.md5_hash" }),
        t.packets("out.pcapng", { "frame.time_epoch", "frame.interface_name", "frame.md5_hash" }))
    end)

    it("carries comments and packet flags over, from either byte order", function()
      for _, order in ipairs { "le", "be" } do
        local name = "m/ng-" .. order .. ".pcapng"
        t.run("moontap --overwrite -o out.pcapng " .. name)
        assert.same(t.packets(name, FIELDS, "eth"), t.packets("out.pcapng", FIELDS, "eth"))
      end
    end)

    it("names the interface of a plain file after its source", function()
      t.run("moontap -o out.pcapng f/web.pcap,name=tap")
      local interfaces = t.interfaces("out.pcapng")
      assert.equal(1, #interfaces)
      assert.equal("tap", interfaces[1].name)
      assert.equal(tostring(t.count("f/web.pcap")), interfaces[1].packets)
    end)

    it("ends with interface statistics, with the drops that the source told", function()
      t.run("moontap -o out.pcapng m/ng-le.pcapng")
      local blocks, dropped, n = c.blocks(t.read("out.pcapng")), nil, 0
      for _, block in ipairs(blocks) do
        if block[1] == 5 then
          n = n + 1
          dropped = dropped or c.options_of(block[2], 13)[5]
        end
      end
      assert.equal(3, n)
      assert.equal(5, blocks[#blocks][1])
      assert.equal(c.uint(5, 8, "le"), dropped)
    end)

    it("writes times in nanoseconds", function()
      t.run("moontap -o out.pcapng f/ping.ns.pcap")
      assert.same(t.packets("f/ping.ns.pcap"), t.packets("out.pcapng"))
    end)

    it("reads what it wrote", function()
      t.run("moontap -o one.pcapng f/two-interfaces.pcapng f/web.pcap && moontap -o two.pcapng one.pcapng")
      assert.same(t.packets("one.pcapng", FIELDS), t.packets("two.pcapng", FIELDS))
      local one, two = t.interfaces("one.pcapng"), t.interfaces("two.pcapng")
      assert.equal(#one, #two)
      for i, interface in ipairs(one) do
        assert.equal(interface.name, two[i].name)
        assert.equal(interface.packets, two[i].packets)
      end
    end)

    it("has every interface in front of its first packet, segment by segment", function()
      t.run("moontap -B out -P 50 --format pcapng f/two-interfaces.pcapng f/web.pcap")
      local n = 0
      for _, line in ipairs(t.json_lines("out/manifest.jsonl")) do
        n = n + t.count("out/" .. line.file)
        t.packets("out/" .. line.file)
      end
      assert.equal(t.count("f/two-interfaces.pcapng") + t.count("f/web.pcap"), n)
    end)
  end)
end)
