-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

describe("erf", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("reads what tcpdump recorded and traceconvert converted", function()
    -- dns.erf has the port 53 packets of web.pcap, whose times were rounded to 2^-32 s.
    t.run("moontap -o out.pcap f/dns.erf")
    local fields = { "frame.len", "frame.cap_len", "frame.md5_hash" }
    assert.same(t.packets("f/web.pcap", fields, "tcp.port == 53 || udp.port == 53"), t.packets("out.pcap", fields))
  end)

  it("reads times as tshark does", function()
    t.run("moontap -o out.pcap f/dns.erf")
    local theirs, ours = t.field("f/dns.erf", "frame.time_epoch"), t.field("out.pcap", "frame.time_epoch")
    assert.equal(#theirs, #ours)
    for i, time in ipairs(theirs) do
      local ns, our_ns = tonumber(time:match("%.(%d+)")), tonumber(ours[i]:match("%.(%d+)"))
      assert.equal(time:match("%d+"), ours[i]:match("%d+"))
      assert.is_true(math.abs(ns - our_ns) <= 1, time .. " and " .. ours[i])
    end
  end)

  it("reads ports as interfaces and lengths without the frame check sequence", function()
    t.run("moontap -o out.pcapng m/ports.erf")
    assert.same({ "1700000000.000000000 0 51 51", "1700000000.500000000 1 50 50", "1700000001.250000000 0 51 40" },
      t.packets("out.pcapng", { "frame.time_epoch", "frame.interface_id", "frame.len", "frame.cap_len" }))
  end)

  it("is not taken for gzip by a time that begins with its magic", function()
    t.write("in.erf", c.erf(0, c.T0, 0x778b1f, c.udp {}) .. c.erf(0, c.T0 + 1, 0x778b1f, c.udp {}))
    assert.equal(2, t.json("moontap --json in.erf").packets)
  end)

  it("skips extension headers", function()
    local record = c.erf(0, c.T0, 0, c.udp { payload = "extended" })
    -- The type's top bit says that 8 bytes more stand between the header and the data.
    record = record:sub(1, 8) .. "\130" .. record:sub(10, 10) .. c.uint(#record + 8, 2, "be") .. record:sub(13, 16)
      .. "\3\0\0\0\0\0\0\1" .. record:sub(17)
    t.write("in.erf", record .. c.erf(0, c.T0 + 1, 0, c.udp { payload = "plain" }))
    t.run("moontap -o out.pcap in.erf")
    assert.same({ "657874656e646564", "706c61696e" }, t.field("out.pcap", "udp.payload"))
  end)

  it("writes what tshark and capinfos read", function()
    t.run("moontap -o out.erf f/web.pcap")
    assert.equal("erf", t.capinfos("out.erf").encap)
    assert.equal(t.count("f/web.pcap"), t.count("out.erf"))
    assert.same(t.field("f/web.pcap", "frame.protocols"), (function()
      local protocols = t.field("out.erf", "frame.protocols")
      for i, text in ipairs(protocols) do
        protocols[i] = text:gsub("^erf:", "")
      end
      return protocols
    end)())
  end)

  it("gives back lengths, bytes and times when read again", function()
    t.run("moontap -o out.erf f/web.pcap && moontap -o back.pcap --format pcap out.erf")
    local fields = { "frame.len", "frame.cap_len", "frame.md5_hash" }
    assert.same(t.packets("f/web.pcap", fields), t.packets("back.pcap", fields))
    local before, after = t.field("f/web.pcap", "frame.time_epoch"), t.field("back.pcap", "frame.time_epoch")
    for i = 1, #before do
      assert.is_true(math.abs(tonumber(before[i]:match("%.(%d+)")) - tonumber(after[i]:match("%.(%d+)"))) <= 1)
    end
  end)

  it("keeps ports when written", function()
    t.run("moontap -o out.erf m/ports.erf && moontap -o out.pcapng out.erf")
    assert.same({ "0", "1", "0" }, t.field("out.pcapng", "frame.interface_id"))
  end)
end)
