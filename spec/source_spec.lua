-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

-- Reads `command`'s source and compares with what tshark reads from `expected`.
local function reads_like(expected, source, options)
  t.run("moontap -o out.pcap " .. source, 0, options)
  assert.same(t.packets(expected), t.packets("out.pcap"))
end

describe("source", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("formats", function()
    for _, name in ipairs { "us-le", "us-be", "ns-le", "ns-be", "modified-le", "modified-be", "backwards", "raw-ip" } do
      it("reads " .. name .. ".pcap", function()
        reads_like("m/" .. name .. ".pcap", "m/" .. name .. ".pcap")
      end)
    end

    it("reads the same packets from every byte order and resolution", function()
      reads_like("m/us-le.pcap", "m/us-be.pcap")
      t.run("moontap --overwrite -o out.pcap m/ns-be.pcap")
      assert.same(t.packets("m/ns-le.pcap"), t.packets("out.pcap"))
      t.run("moontap --overwrite -o out.pcap m/modified-be.pcap")
      assert.same(t.packets("m/us-le.pcap"), t.packets("out.pcap"))
    end)

    it("reads packets longer than the header's snap length", function()
      t.write("in.pcap", c.pcap { snaplen = 64, { c.T0, 0, c.udp { payload = ("x"):rep(5000) } } })
      t.run("moontap -o out.pcap in.pcap")
      assert.same({ "5042" }, t.field("out.pcap", "frame.cap_len"))
    end)

    it("reads a packet of 262,144 bytes", function()
      local data = c.udp { payload = "long" } .. ("x"):rep(262144)
      t.write("in.pcap", c.pcap { { c.T0, 0, data:sub(1, 262144) } })
      t.run("moontap -o out.pcap in.pcap")
      assert.equal(24 + 16 + 262144, #t.read("out.pcap"))
      assert.equal(t.read("in.pcap"):sub(41), t.read("out.pcap"):sub(41))
    end)
  end)

  describe("codecs, found by content", function()
    for name, command in pairs { gzip = "gzip -c", zstd = "zstd -qc", lz4 = "lz4 -qc", xz = "xz -c", bzip2 = "bzip2 -c" } do
      it("reads " .. name, function()
        t.run(command .. " f/web.pcap >packed")
        reads_like("f/web.pcap", "packed")
      end)

      it("reads " .. name .. " from a pipe", function()
        t.run(command .. " f/web.pcap >packed")
        t.run("cat packed | moontap -o out.pcap -")
        assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
      end)

      it("reads two " .. name .. " streams, one after the other", function()
        local half = 24 + 16 + 55 -- inside the first record or after: a codec must not care
        t.run(("head -c %d f/web.pcap | %s >packed; tail -c +%d f/web.pcap | %s >>packed")
          :format(half, command, half + 1, command))
        reads_like("f/web.pcap", "packed")
      end)

      it("tells that a " .. name .. " stream was cut", function()
        t.run(command .. " f/web.pcap | head -c 6000 >packed")
        -- gzip and xz hand out what came before the cut, the others have one block here.
        local whole_blocks = name ~= "gzip" and name ~= "xz"
        t.refuses("moontap -o out.pcap packed", whole_blocks and 1 or 2, "packed")
        if not whole_blocks then
          assert.is_true(t.count("out.pcap") > 0)
        end
      end)
    end
  end)

  it("reads gzip every time, whatever the memory it decodes in held before", function()
    t.run("gzip -c f/web.pcap >packed; for i in $(seq 25); do moontap --overwrite -o out.pcap packed || exit; done")
  end)

  describe("standard input and pipes", function()
    it("reads a file that is standard input", function()
      t.run("moontap -o out.pcap - <f/web.pcap")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)

    it("reads a pipe that comes in small pieces", function()
      t.run("dd if=f/ping.ns.pcap bs=7 status=none | moontap -o out.pcap -")
      assert.same(t.packets("f/ping.ns.pcap"), t.packets("out.pcap"))
    end)

    it("merges two named pipes and a file", function()
      t.run([[mkfifo a b
        cat f/web.pcap >a & cat f/ping.ns.pcap >b &
        moontap -o out.pcap a b f/dns.pcap.gz; code=$?; wait; exit $code]])
      assert.same(t.mergecap("nsecpcap", "f/web.pcap", "f/ping.ns.pcap", "f/dns.pcap.gz"), t.packets("out.pcap"))
    end)

    it("waits for a slow pipe without losing order", function()
      t.run("{ head -c 3000 f/web.pcap; sleep 0.5; tail -c +3001 f/web.pcap; } | moontap -o out.pcap - f/ping.ns.pcap")
      assert.same(t.mergecap("nsecpcap", "f/web.pcap", "f/ping.ns.pcap"), t.packets("out.pcap"))
    end)
  end)

  describe("names", function()
    it("takes -r for a file", function()
      reads_like("f/web.pcap", "-r f/web.pcap")
    end)

    it("merges several -r in their order", function()
      t.run("moontap -o out.pcap -r m/equal-b.pcap -r m/equal-a.pcap")
      assert.equal("b1", (t.field("out.pcap", "udp.payload")[1]:gsub("%x%x", function(x)
        return string.char(tonumber(x, 16))
      end)))
    end)

    for _, prefix in ipairs { "pcapfile:", "pcap:", "libtrace:pcapfile:" } do
      it("takes the URI " .. prefix, function()
        reads_like("f/web.pcap", prefix .. "f/web.pcap")
      end)
    end

    it("takes the URI erf:", function()
      t.run("moontap -o out.pcap erf:f/dns.erf")
      assert.equal(t.count("f/dns.erf"), t.count("out.pcap"))
    end)

    it("refuses a word that is nothing, and says what it was tried as", function()
      t.refuses("moontap -o out.pcap no-such-thing", 1, "no-such-thing", "file", "interface")
      assert.is_false(t.exists("out.pcap"))
    end)

    it("refuses a word that is a file and an interface, and names both spellings", function()
      t.run("cp f/web.pcap lo")
      t.refuses("moontap -o out.pcap lo", 1, "-r lo", "-i lo")
      reads_like("f/web.pcap", "-r lo")
    end)

    it("refuses an interface that does not exist", function()
      t.refuses("moontap -o out.pcap -i nothere0", 1, "nothere0")
    end)

    it("refuses a missing file", function()
      t.refuses("moontap -o out.pcap -r nothere.pcap", 1, "nothere.pcap", "No such file")
    end)

    it("refuses a folder", function()
      t.refuses("moontap -o out.pcap f", 1, "f")
    end)
  end)

  describe("options", function()
    it("offset= shifts times", function()
      t.run("moontap -o out.pcap m/us-le.pcap,offset=10.5")
      assert.same({ "1700000010.611111000", "1700000010.722222000", "1700000011.833333000", "1700000011.944444000" },
        t.field("out.pcap", "frame.time_epoch"))
    end)

    it("offset= shifts back, to the nanosecond", function()
      t.run("moontap -o out.pcap m/ns-le.pcap,offset=-0.000000001")
      assert.equal("1700000000.111111110", t.field("out.pcap", "frame.time_epoch")[1])
    end)

    it("offset= decides the order of the merge", function()
      t.run("moontap -o out.pcap m/equal-a.pcap,offset=100 m/equal-b.pcap")
      local payloads = t.field("out.pcap", "udp.payload")
      assert.equal("6231", payloads[1])
      assert.equal("6131", payloads[11])
    end)

    it("snaplen= cuts one source and keeps the length on the wire", function()
      t.run("moontap -o out.pcap f/web.pcap,snaplen=60")
      local whole, cut = t.packets("f/web.pcap", { "frame.len", "frame.cap_len" }), t.packets("out.pcap", { "frame.len", "frame.cap_len" })
      for i, line in ipairs(whole) do
        local len, caplen = line:match("(%d+) (%d+)")
        whole[i] = len .. " " .. math.min(caplen, 60)
      end
      assert.same(whole, cut)
    end)

    it("-s cuts every source and snaplen= replaces it", function()
      t.run("moontap -o out.pcap -s 40 m/us-le.pcap m/equal-a.pcap,snaplen=44")
      local lens = {}
      for _, len in ipairs(t.field("out.pcap", "frame.cap_len")) do
        lens[len] = (lens[len] or 0) + 1
      end
      assert.same({ ["40"] = 4, ["44"] = 10 }, lens)
    end)

    it("name= names the source in statistics and in pcapng", function()
      local r = t.json("moontap --json -o out.pcapng f/web.pcap,name=outside f/ping.ns.pcap,name=inside")
      assert.equal("outside", r.sources[1].name)
      assert.equal("inside", r.sources[2].name)
      local names = t.interfaces("out.pcapng")
      assert.equal(2, #names)
      assert.equal("outside", names[1].name)
      assert.equal("inside", names[2].name)
    end)

    it("sources of one name= are one source in statistics", function()
      local r = t.json("moontap --json -o out.pcap m/equal-a.pcap,name=x m/equal-b.pcap,name=x")
      assert.equal(1, #r.sources)
      assert.equal(20, r.sources[1].packets)
    end)

    it("filter= replaces -F for its source", function()
      local r = t.balances(t.json("moontap --json -o out.pcap -F 'tcp port 443' f/web.pcap 'f/dns.pcap.gz,filter=udp port 53'"))
      local expected = #t.field("f/web.pcap", "frame.number", "tcp.port == 443") + #t.field("f/dns.pcap.gz", "frame.number", "udp.port == 53")
      assert.equal(expected, r.kept)
      assert.equal(expected, t.count("out.pcap"))
    end)

    it("several options stand together, with a comma inside a value", function()
      t.run([[moontap -o out.pcapng 'f/web.pcap,name=a\,b,snaplen=80,filter=udp port 53']])
      assert.equal("a,b", t.interfaces("out.pcapng")[1].name)
      assert.equal(#t.field("f/web.pcap", "frame.number", "udp.port == 53"), t.count("out.pcapng"))
    end)

    it("an existing file wins over what looks like an option", function()
      t.run("cp m/us-le.pcap a.pcap; cp m/equal-a.pcap a.pcap,snaplen=20")
      t.run("moontap -o out.pcap a.pcap,snaplen=20")
      assert.same(t.packets("m/equal-a.pcap"), t.packets("out.pcap"))
    end)

    it("an unknown KEY= belongs to the name", function()
      t.refuses("moontap -o out.pcap f/web.pcap,colour=red", 1, "f/web.pcap,colour=red")
    end)

    it("refuses values that make no sense, by name", function()
      t.refuses("moontap -o out.pcap f/web.pcap,snaplen=many", 1, "snaplen", "many")
      t.refuses("moontap -o out.pcap f/web.pcap,offset=soon", 1, "offset", "soon")
      t.refuses("moontap -o out.pcap f/web.pcap,promisc=maybe", 1, "promisc", "maybe")
      t.refuses("moontap -o out.pcap 'f/web.pcap,filter=udp prt 53'", 1, "udp prt 53")
    end)
  end)
end)
