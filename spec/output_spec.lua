-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

describe("output", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("format", function()
    for ending, kind in pairs { pcap = "pcap", pcapng = "pcapng", erf = "erf" } do
      it("follows the ending ." .. ending, function()
        t.run("moontap -o out." .. ending .. " f/web.pcap")
        assert.equal(kind, t.capinfos("out." .. ending).type)
      end)

      it("follows --format " .. ending .. " whatever the ending", function()
        t.run("moontap --format " .. ending .. " -o out.bin f/web.pcap")
        assert.equal(kind, t.capinfos("out.bin").type)
      end)
    end

    it("follows a URI prefix", function()
      t.run("moontap -o pcapng:a f/web.pcap && moontap -o erf:b f/web.pcap && moontap -o pcapfile:c f/web.pcap")
      assert.equal("pcapng", t.capinfos("a").type)
      assert.equal("erf", t.capinfos("b").type)
      assert.equal("pcap", t.capinfos("c").type)
    end)

    it("is pcap without an ending", function()
      t.run("moontap -o out f/web.pcap")
      assert.equal("pcap", t.capinfos("out").type)
    end)

    it("is pcapng without an ending when link types differ", function()
      t.run("moontap -o out f/web.pcap m/raw-ip.pcap")
      assert.equal("pcapng", t.capinfos("out").type)
      assert.equal(t.count("f/web.pcap") + 4, t.count("out"))
    end)

    it("is microseconds only if every source is a microsecond file", function()
      t.run("moontap -o us.pcap f/web.pcap f/vlan.pcap && moontap -o ns.pcap f/web.pcap f/ping.ns.pcap")
      assert.equal("pcap", t.capinfos("us.pcap").type)
      assert.equal("nsecpcap", t.capinfos("ns.pcap").type)
    end)

    it("keeps the link type", function()
      t.run("moontap -o out.pcap m/raw-ip.pcap")
      assert.equal("rawip", t.capinfos("out.pcap").encap)
    end)

    it("is what libtrace writes for a libtrace URI", function()
      t.run("moontap -o libtrace:pcapfile:out.pcap f/web.pcap")
      assert.same(t.field("f/web.pcap", "frame.md5_hash"), t.field("out.pcap", "frame.md5_hash"))
    end)

    it("refuses an unknown one by name", function()
      t.refuses("moontap --format tape -o out f/web.pcap", 1, "tape", "pcapng")
    end)
  end)

  describe("of mixed link types", function()
    it("is refused at start for pcap, and the option that helps is named", function()
      t.refuses("moontap -o out.pcap f/web.pcap m/raw-ip.pcap", 1, "link type", "pcapng")
      assert.is_false(t.exists("out.pcap"))
    end)

    it("that appears midway is dropped, counted, and makes the exit status 3", function()
      local blocks = { c.section("le"), c.interface("le", {}) }
      for i = 1, 3000 do
        blocks[#blocks + 1] = c.enhanced("le", 0, i, c.udp { payload = ("x"):rep(500) })
      end
      blocks[#blocks + 1] = c.interface("le", { linktype = c.RAW }) .. c.enhanced("le", 1, 4000, c.ip_udp {})
        .. c.enhanced("le", 0, 5000, c.udp {})
      t.write("in.pcapng", table.concat(blocks))
      local r = t.balances(t.json("moontap --json -o out.pcap in.pcapng", 3))
      assert.equal(3001, r.kept)
      assert.equal(1, r.dropped)
      assert.equal(3001, t.count("out.pcap"))
    end)
  end)

  describe("snap length", function()
    it("--write-snaplen cuts what is written and keeps the length on the wire", function()
      t.run("moontap --write-snaplen 60 -o out.pcap f/web.pcap")
      local expected = t.packets("f/web.pcap", { "frame.time_epoch", "frame.len", "frame.cap_len" })
      for i, line in ipairs(expected) do
        local head, caplen = line:match("^(.*) (%d+)$")
        expected[i] = head .. " " .. math.min(caplen, 60)
      end
      assert.same(expected, t.packets("out.pcap", { "frame.time_epoch", "frame.len", "frame.cap_len" }))
    end)

    it("--write-snaplen leaves scripts the whole packet", function()
      local r = t.run([[moontap --write-snaplen 20 -o out.pcap -e 'print(p.caplen) or true' f/dns.pcap.gz]])
      assert.equal(table.concat(t.field("f/dns.pcap.gz", "frame.cap_len"), "\n") .. "\n", r.out)
    end)

    it("-s cuts before scripts see it", function()
      local r = t.run([[moontap -s 20 -o out.pcap -e 'print(p.caplen) or true' f/dns.pcap.gz]])
      assert.equal(("20\n"):rep(t.count("f/dns.pcap.gz")), r.out)
    end)
  end)

  describe("codec", function()
    it("gzip by the ending", function()
      t.run("moontap -o out.pcap.gz f/web.pcap && gzip -t out.pcap.gz && gzip -dc out.pcap.gz >out.pcap")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)

    it("gzip by -Z, whatever the ending", function()
      t.run("moontap -Z gzip -o out.bin f/web.pcap && gzip -dc <out.bin >out.pcap")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)

    it("-Z no writes plainly under a name that ends in .gz", function()
      t.run("moontap -Z no -o out.pcap.gz f/web.pcap")
      assert.not_equal("\31\139", t.read("out.pcap.gz"):sub(1, 2))
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap.gz"))
    end)

    it("-z sets the level", function()
      t.run("moontap -z 1 -o a.pcap.gz f/web.pcap f/two-interfaces.pcapng && moontap -z 3 -o b.pcap.gz f/web.pcap f/two-interfaces.pcapng")
      assert.equal(t.count("a.pcap.gz"), t.count("b.pcap.gz"))
      assert.is_true(#t.read("a.pcap.gz") >= #t.read("b.pcap.gz"))
    end)

    it("refuses an unknown one by name", function()
      t.refuses("moontap -Z rar -o out.pcap f/web.pcap", 1, "rar", "gz")
    end)
  end)

  describe("standard output", function()
    it("is a trace and nothing else", function()
      t.run("moontap -o - f/web.pcap >out.pcap")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)

    it("sends what scripts print, and the JSON, to standard error", function()
      local r = t.run([[moontap --json -o - -e 'print("said") or true' m/us-le.pcap >out.pcap]])
      assert.equal(4, t.count("out.pcap"))
      assert.is_truthy(r.err:find("said\n", 1, true))
      assert.is_truthy(r.err:find('"packets"', 1, true))
    end)

    it("is refused on a terminal", function()
      local r = t.run("script -qec 'moontap -o - f/web.pcap' /dev/null", 1)
      assert.is_truthy(r.out:find("terminal", 1, true))
    end)

    it("ends with 3 and a message when its reader goes away", function()
      t.run([[{ moontap -o - f/two-interfaces.pcapng f/two-interfaces.pcapng f/two-interfaces.pcapng f/web.pcap 2>message
        echo $? >code; } | head -c 100 >/dev/null]])
      assert.equal("3\n", t.read("code"))
      assert.is_truthy(t.read("message"):find("Broken pipe", 1, true))
    end)
  end)

  describe("existing files", function()
    it("are not touched without --overwrite", function()
      t.write("out.pcap", "precious")
      t.refuses("moontap -o out.pcap f/web.pcap", 1, "out.pcap", "--overwrite")
      assert.equal("precious", t.read("out.pcap"))
    end)

    it("are replaced whole with --overwrite", function()
      t.write("out.pcap", ("x"):rep(200000))
      t.run("moontap --overwrite -o out.pcap m/us-le.pcap")
      assert.same(t.packets("m/us-le.pcap"), t.packets("out.pcap"))
      assert.equal(#t.read("m/us-le.pcap"), #t.read("out.pcap"))
    end)

    it("are never written when they are a source too", function()
      t.run("cp f/web.pcap a.pcap; ln a.pcap hard.pcap; ln -s a.pcap soft.pcap")
      for _, name in ipairs { "a.pcap", "./a.pcap", "hard.pcap", "soft.pcap" } do
        t.refuses("moontap --overwrite -o " .. name .. " a.pcap", 1, name)
        assert.equal(t.read("f/web.pcap"), t.read("a.pcap"))
      end
    end)

    it("are not touched when a source is missing", function()
      t.write("out.pcap", "precious")
      t.refuses("moontap --overwrite -o out.pcap nothere.pcap", 1, "nothere.pcap")
      assert.equal("precious", t.read("out.pcap"))
    end)

    it("are protected as named outputs as well", function()
      t.write("out.pcap", "precious")
      t.refuses("moontap --out x=out.pcap f/web.pcap", 1, "out.pcap")
      assert.equal("precious", t.read("out.pcap"))
    end)

    it("do not include devices", function()
      t.run("moontap -o /dev/null f/web.pcap")
    end)

    it("do not include named pipes", function()
      t.run("mkfifo p; cat p >out.pcap & moontap -o p f/web.pcap; code=$?; wait; exit $code")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)
  end)

  describe("failure", function()
    it("of a full device ends with 3 and names it", function()
      t.refuses("moontap -o /dev/full f/web.pcap", 3, "/dev/full", "No space left")
    end)

    it("of a full device with gzip ends with 3", function()
      t.refuses("moontap -Z gz -o /dev/full f/web.pcap", 3, "/dev/full", "No space left")
    end)

    it("of a full disk leaves a valid file of the packets that fitted", function()
      local ok, why = t.tmpfs("small", "size=64k")
      if not ok then pending(why) end
      local r = t.balances(t.json("moontap --json -o small/out.pcap f/two-interfaces.pcapng f/two-interfaces.pcapng", 3))
      local whole = t.mergecap("nsecpcap", "f/two-interfaces.pcapng", "f/two-interfaces.pcapng")
      local written = t.packets("small/out.pcap")
      assert.is_true(#written > 50)
      assert.same({ unpack(whole, 1, #written) }, written)
      assert.is_true(#written <= r.kept)
    end)

    it("of a full disk is found by the thread that writes where hooks work hard, as well", function()
      local ok, why = t.tmpfs("small", "size=16M")
      if not ok then pending(why) end
      t.generate("in", "--packets 400000 --files 1 --snaplen 64") -- 32 MB
      t.write("hard.lua", "local n = 0 return { on_packet = function() for i = 1, 200 do n = n * 3 % 7 + i end end }")
      local r = t.balances(t.json("moontap --json --format pcap -l ./hard.lua -o small/out.pcap in/1.pcap", 3))
      local written = t.count("small/out.pcap")
      assert.is_true(written > 150000 and written < 250000)
      assert.equal(written, r.kept)
      t.run("tcpdump -nr small/out.pcap >here; tcpdump -c " .. written .. " -nr in/1.pcap >there; cmp here there")
    end)

    it("of one named output still writes the other", function()
      t.write("r.lua", [[return { on_packet = function(p) return p.is_udp and "a" or "b" end }]])
      t.refuses("moontap --out a=/dev/full --out b=b.pcap -l ./r.lua f/web.pcap", 3, "/dev/full")
      assert.equal(#t.field("f/web.pcap", "frame.number", "!udp"), t.count("b.pcap"))
    end)

    it("to open is refused at start", function()
      t.refuses("moontap -o no/such/folder/out.pcap f/web.pcap", 1, "no/such/folder/out.pcap", "No such file")
      t.refuses("moontap -o f/web.pcap/out.pcap f/dns.erf", 1, "f/web.pcap/out.pcap", "Not a directory")
      t.refuses("moontap -o f f/web.pcap", 1, "f")
    end)

    it("of a folder that can not be written is refused at start", function()
      local ok, why = t.tmpfs("locked", "ro")
      if not ok then pending(why) end
      t.refuses("moontap -o locked/out.pcap f/web.pcap", 1, "locked/out.pcap", "Read-only")
      t.refuses("moontap -B locked/out f/web.pcap", 1, "locked/out", "Read-only")
    end)
  end)

  describe("--pipeout", function()
    it("writes what the command makes of the bytes", function()
      t.run("moontap --pipeout='gzip -9c' -o out.pcap.gz -Z no f/web.pcap && gzip -dc out.pcap.gz >out.pcap")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)

    it("reads the command's exit status", function()
      local r = t.refuses("moontap --pipeout='cat; exit 5' -o out.pcap f/web.pcap", 3, "5")
      assert.is_truthy(r.err:find("cat; exit 5", 1, true))
    end)
  end)

  it("several named outputs take what scripts route to them", function()
    t.write("r.lua", [[return { on_packet = function(p) if p.is_udp then return "dns" end end }]])
    local r = t.balances(t.json("moontap --json -o rest.pcap --out dns=dns.pcapng -l ./r.lua f/web.pcap"))
    assert.equal(#t.field("f/web.pcap", "frame.number", "udp"), t.count("dns.pcapng"))
    assert.equal(#t.field("f/web.pcap", "frame.number", "!udp"), t.count("rest.pcap"))
    assert.equal(t.count("f/web.pcap"), r.kept)
    assert.equal(2, #r.outputs)
  end)
end)
