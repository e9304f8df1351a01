-- SPDX-License-Identifier: BSD-2-Clause
-- Sources that are cut or lie: a message that names file, packet and fault, the exit status,
-- and the packets before the fault in a readable output.
local t = require("support.moontap")
local c = require("support.capture")

describe("bad input", function()
  before_each(t.fresh)
  after_each(t.clean)

  for name, words in pairs {
    ["truncated-header.pcap"] = { "packet 4" },
    ["truncated-body.pcap"] = { "packet 4" },
    ["oversize.pcap"] = { "packet 4", "700000", "262144" },
    ["ng-truncated.pcapng"] = { "ng-truncated.pcapng" },
  } do
    it(name .. ": the packets before the fault, a message, 2", function()
      local r = t.refuses("moontap -o out.pcapng m/" .. name, 2, name, unpack(words))
      assert.equal(3, t.count("out.pcapng"))
      assert.is_nil(r.err:find("out.pcapng", 1, true))
    end)

    it(name .. ": the same through a pipe", function()
      t.refuses("cat m/" .. name .. " | moontap -o out.pcapng -", 2, "standard input", words[1]:match("^packet.*") or "")
      assert.equal(3, t.count("out.pcapng"))
    end)

    it(name .. ": other sources go on to their end", function()
      t.run("moontap -o out.pcapng m/" .. name .. " f/web.pcap", 2)
      assert.equal(3 + t.count("f/web.pcap"), t.count("out.pcapng"))
    end)
  end

  for _, name in ipairs { "short-file-header.pcap", "empty.pcap", "not-a-capture.pcap" } do
    it(name .. " has no valid header: 1, and no output", function()
      t.refuses("moontap -o out.pcap m/" .. name, 1, name)
      assert.is_false(t.exists("out.pcap"))
    end)

    it(name .. " through a pipe has no valid header either", function()
      t.refuses("cat m/" .. name .. " | moontap -o out.pcap -", 1, "standard input")
      assert.is_false(t.exists("out.pcap"))
    end)
  end

  it("a message says what was expected and what was found", function()
    local r = t.refuses("moontap m/oversize.pcap", 2)
    assert.is_truthy(r.err:find("moontap: m/oversize.pcap: packet 4: captured length 700000 exceeds 262144\n", 1, true))
  end)

  it("captured length beyond the packet's end of file, with plausible numbers", function()
    t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0, 1, "x", caplen = 1000, len = 1000 } })
    t.refuses("moontap -o out.pcap in.pcap", 2, "in.pcap", "packet 2")
    assert.equal(1, t.count("out.pcap"))
  end)

  it("a packet longer on record than on the wire is kept", function()
    t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { payload = ("x"):rep(50) }, len = 20 } })
    t.run("moontap -o out.pcap in.pcap")
    assert.equal(1, t.count("out.pcap"))
  end)

  it("packets of no bytes are kept", function()
    t.write("in.pcap", c.pcap { { c.T0, 0, "" }, { c.T0, 1, "", len = 60 } })
    t.run("moontap -o out.pcap -e 'p.dport == 0 and p.src == nil and p.caplen == 0' in.pcap")
    assert.equal(2, t.count("out.pcap"))
  end)

  it("fractions of a second that are too large are added up", function()
    t.write("in.pcap", c.pcap { { c.T0, 1500000, c.udp {} } })
    assert.equal("1700000001.500000000", t.json("moontap --json in.pcap").first_ts)
  end)

  it("times beyond int64 nanoseconds are clamped and counted", function()
    t.write("in.pcapng", c.section("le") .. c.interface("le", { tsresol = 0 }) .. c.enhanced("le", 0, 2 ^ 40, c.udp {})
      .. c.enhanced("le", 0, 5, c.udp {}))
    local r = t.balances(t.json("moontap --json -o out.pcapng in.pcapng"))
    assert.equal(1, r.bad_time)
    assert.equal(2, r.kept)
  end)

  it("pcap after 2038 and at the end of its 32 bits is read and written", function()
    t.write("in.pcap", c.pcap { { 2 ^ 31 + 5, 0, c.udp {} }, { 2 ^ 32 - 1, 999999, c.udp {} } })
    local r = t.json("moontap --json -o out.pcap in.pcap")
    assert.equal("2147483653.000000000", r.first_ts)
    assert.equal("4294967295.999999000", r.last_ts)
    assert.same(t.packets("in.pcap"), t.packets("out.pcap"))
  end)

  describe("pcapng", function()
    local function good(n)
      local t_ = { c.section("le"), c.interface("le", { name = "x" }) }
      for i = 1, n do t_[#t_ + 1] = c.enhanced("le", 0, i, c.udp { id = i }) end
      return table.concat(t_)
    end

    for name, tail in pairs {
      ["a block length under 12"] = "\6\0\0\0\8\0\0\0\8\0\0\0",
      ["a block length that is no multiple of 4"] = "\6\0\0\0\33\0\0\0" .. ("\0"):rep(29),
      ["a block length of 4 GiB"] = "\6\0\0\0\252\255\255\255" .. ("\0"):rep(100),
      ["a trailing length that differs"] = c.block("le", 0xbad, "12345678"):sub(1, -5) .. "\16\0\0\0",
      ["a captured length beyond the block"] = c.block("le", 6, ("\0"):rep(12) .. "\255\255\0\0\255\255\0\0" .. ("x"):rep(60)),
      ["an interface that was not described"] = c.enhanced("le", 7, 1, c.udp {}),
      ["a packet block that is too short"] = c.block("le", 6, "1234"),
      ["an interface block that is too short"] = c.block("le", 1, "12"),
    } do
      it(name .. ": the packets before it, a message, 2", function()
        t.write("in.pcapng", good(2) .. tail .. c.enhanced("le", 0, 9, c.udp {}))
        t.refuses("moontap -o out.pcapng in.pcapng", 2, "in.pcapng")
        assert.equal(2, t.count("out.pcapng"))
      end)
    end

    it("options that lie about their length do not hurt the packet", function()
      local body = c.uint(0, 4, "le") .. c.uint(0, 4, "le") .. c.uint(1, 4, "le") .. c.uint(4, 4, "le") .. c.uint(4, 4, "le") .. "abcd"
      t.write("in.pcapng", good(1) .. c.block("le", 6, body .. "\1\0\255\255comm") .. c.enhanced("le", 0, 2, c.udp {}))
      local r = t.sh("moontap -o out.pcapng in.pcapng")
      assert.is_true(r.code == 0 or r.code == 2)
      assert.is_true(t.count("out.pcapng") >= 1)
    end)
  end)

  describe("erf", function()
    for name, tail in pairs {
      ["a record length under its header"] = ("\0"):rep(8) .. "\2\4\0\15\0\0\0\100",
      ["a record that is cut"] = c.erf(0, c.T0 + 9, 0, c.udp {}):sub(1, -5),
      ["a header that is cut"] = c.erf(0, c.T0 + 9, 0, c.udp {}):sub(1, 9),
    } do
      it(name .. ": the packets before it, a message, 2", function()
        t.write("in.erf", c.erf(0, c.T0, 0, c.udp {}) .. c.erf(0, c.T0 + 1, 0, c.udp {}) .. tail)
        t.refuses("moontap -o out.pcap in.erf", 2, "in.erf")
        assert.equal(2, t.count("out.pcap"))
      end)
    end
  end)

  it("a file that shrinks while it is read ends like one that is cut", function()
    local file = {}
    for i = 1, 20000 do file[i] = { c.T0 + i, 0, c.udp { payload = ("x"):rep(400) } } end
    t.write("in.pcap", c.pcap(file))
    t.write("s.lua", [[local n = 0 return { on_packet = function(p) n = n + 1 if n == 10 then os.execute("truncate -s 100000 in.pcap") end end }]])
    local r = t.sh("moontap -o out.pcap -l ./s.lua in.pcap")
    assert.is_true(r.code == 2 or r.code == 0, r.code .. r.err)
    t.packets("out.pcap", { "frame.len" })
  end)

  it("two files put one after the other break at the second header", function()
    t.run("cat m/us-le.pcap m/us-le.pcap >in.pcap")
    t.refuses("moontap -o out.pcap in.pcap", 2, "in.pcap")
    assert.is_true(t.count("out.pcap") >= 4)
  end)
end)
