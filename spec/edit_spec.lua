-- SPDX-License-Identifier: BSD-2-Clause
-- p:edit() and p:comment(): judged by tshark, which verifies every checksum it can.
local t = require("support.moontap")
local c = require("support.capture")
local T = require("support.tunnels")

local CHECK = "-o sctp.checksum:CRC-32C -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE"
local STATUS = { "ip", "tcp", "udp", "icmp", "icmpv6", "sctp", "igmp", "dccp" }

-- Runs moontap with a script of this text.
local function script(text, options, code)
  t.write("s.lua", text)
  return t.run("moontap -l ./s.lua " .. (options or "-o out.pcap f/web.pcap"), code)
end

-- The same with a hook of one packet: body uses p and e.
local function edit(body, options, code)
  return script("return { on_packet = function(p) local e = p:edit() " .. body .. " end }", options, code)
end

-- Fields of each packet as tshark sees them, separated by spaces; it verifies checksums.
local function fields(name, list, filter)
  local command = { "tshark -n -r", t.quote(t.path(name)), CHECK, "-T fields -E separator=/s" }
  for _, field in ipairs(list) do
    command[#command + 1] = "-e " .. field
  end
  if filter then
    command[#command + 1] = "-Y " .. t.quote(filter)
  end
  local lines = {}
  for line in t.run(table.concat(command, " ")).out:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

-- Packets with a checksum that tshark finds wrong: their numbers and protocols.
local function wrong_checksums(name)
  local terms = {}
  for i, protocol in ipairs(STATUS) do
    terms[i] = protocol .. ".checksum.status == 0"
  end
  return fields(name, { "frame.number", "frame.protocols" }, table.concat(terms, " || "))
end

local function md5(name)
  return t.run("md5sum <" .. t.quote(t.path(name))).out
end

-- One packet.
local function write_packet(bytes, f)
  f = f or {}
  t.write("in.pcap", c.pcap { linktype = f.linktype, { c.T0, 0, bytes, len = f.len } })
end

local function hex(text)
  return (text:gsub("%s", ""):gsub("..", function(two) return string.char(tonumber(two, 16)) end))
end

-- IPv4 with this protocol and payload; all checksums are left wrong.
local function ipv4(proto, payload)
  return "\2\0\0\0\0\2\2\0\0\0\0\1\8\0\x45\0" .. c.uint(20 + #payload, 2, "be") .. "\0\1\0\0\x40" .. string.char(proto)
    .. "\0\0\10\0\0\1\10\0\0\2" .. payload
end

describe("p:edit", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("fields", function()
    it("are written as they were set, and the file that was read stays as it is", function()
      t.run("cp f/web.pcap in.pcap")
      local before = md5("in.pcap")
      edit([[
        if not p.is_tcp or p.ip_version ~= 4 then return false end
        e.src, e.dst = "192.0.2.1", moontap.address "192.0.2.2"
        e.sport, e.dport, e.ttl, e.tcp_flags = 1234, 4321, 9, 0x18
        e.tcp_seq, e.tcp_ack, e.tcp_window = 4294967295, 17, 65535
        e.ip_id, e.dscp, e.ecn = 777, 46, 1
        e.eth_src, e.eth_dst = "02:00:00:00:00:0a", "02-00-00-00-00-0B"
        e:fix_checksums()]], "-o out.pcap in.pcap")
      assert.equal(before, md5("in.pcap"))
      local seen = {}
      for _, line in ipairs(fields("out.pcap", { "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "ip.ttl", "tcp.flags",
        "tcp.seq_raw", "tcp.ack_raw", "tcp.window_size_value", "ip.id", "ip.dsfield.dscp", "ip.dsfield.ecn", "eth.src", "eth.dst" })) do
        seen[line] = true
      end
      assert.same({ ["192.0.2.1 192.0.2.2 1234 4321 9 0x0018 4294967295 17 65535 0x0309 46 1 02:00:00:00:00:0a 02:00:00:00:00:0b"] = true },
        seen)
      assert.same({}, wrong_checksums("out.pcap"))
      assert.is_true(#t.packets("out.pcap") > 50)
    end)

    it("read back what was set, from the edit and from the packet", function()
      write_packet(c.udp { payload = "x" })
      local r = edit([[e.src, e.sport, e.ttl = "9.9.9.9", 99, 3
        print(e.src, p.src, p.src == "9.9.9.9", e.sport, p.sport, p.ttl, p:edit().sport, p.flow_hash == e.flow_hash)]], "in.pcap")
      assert.equal("9.9.9.9\t9.9.9.9\ttrue\t99\t99\t3\t99\ttrue\n", r.out)
    end)

    it("of IPv6: addresses, hop limit, traffic class, protocol behind extension headers", function()
      -- a destination options header in front of UDP
      write_packet("\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd" .. hex("60000000 0012 3c 40") .. hex(("20010db8" .. ("0"):rep(24)):rep(2))
        .. hex("11 00 01 04 00000000") .. hex("03e8 07d0 000a 0000") .. "hi")
      edit([[e.src, e.dst, e.ttl, e.dscp, e.ecn = "2001:db8::1", "2001:db8::2", 5, 10, 2
        e.flow_label = 0xabcde
        assert(e:fix_checksums())]], "-o out.pcap in.pcap")
      assert.same({ "2001:db8::1 2001:db8::2 5 10 2 1 0x0abcde" }, fields("out.pcap",
        { "ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.tclass.dscp", "ipv6.tclass.ecn", "udp.checksum.status", "ipv6.flow" }))
      edit("e.proto = 59", "--overwrite -o out.pcap in.pcap")
      assert.same({ "59" }, t.field("out.pcap", "ipv6.dstopts.nxt"))
    end)

    it("of ICMP, and the protocol", function()
      write_packet(ipv4(1, "\8\0\0\0\0\1\0\1ping"))
      edit("e.icmp_id, e.icmp_seq = 500, 600 assert(e:fix_checksums())", "-o echo.pcap in.pcap")
      assert.same({ "500 600 1" }, fields("echo.pcap", { "icmp.ident", "icmp.seq", "icmp.checksum.status" }))
      edit("e.icmp_type, e.icmp_code = 3, 1 e.ttl = 1 assert(e:fix_checksums())", "-o out.pcap in.pcap")
      assert.same({ "3 1 1 1" }, fields("out.pcap", { "icmp.type", "icmp.code", "icmp.checksum.status", "ip.checksum.status" }))
      edit("e.proto = 253", "--overwrite -o out.pcap in.pcap")
      assert.same({ "253" }, t.field("out.pcap", "ip.proto"))
    end)

    it("vlan and ethertype, behind any number of tags", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { vlans = { 100 } } }, { c.T0, 1, c.udp { vlans = { 300, 200 } } } })
      edit("e.vlan = 42 e.vlan_priority = 5 e.ethertype = 0x88b5", "-o out.pcap in.pcap")
      assert.same({ "  42 5 0x88b5", "42 5 200 0 0x88b5" }, fields("out.pcap",
        { "ieee8021ad.id", "ieee8021ad.priority", "vlan.id", "vlan.priority", "vlan.etype" }))
      edit("e.ethertype = 0x88b6", "-o plain.pcap f/web.pcap")
      assert.equal("0x88b6", t.field("plain.pcap", "eth.type")[1])
    end)

    it("wirelen, not below what is captured", function()
      edit("e.wirelen = 9000", "-o out.pcap f/web.pcap")
      assert.equal("9000", t.field("out.pcap", "frame.len")[1])
      t.write("s.lua", "return { on_packet = function(p) p:edit().wirelen = p.caplen - 1 end }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "s.lua:1: wirelen:", "does not fit")
    end)

    it("times: the packet stays where it is in the order", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { sport = 1 } }, { c.T0 + 1, 0, c.udp { sport = 2 } } })
      edit([[if p.sport == 1 then e.ts = p.ts + 100.25 else e.ts_ns = p.ts_ns - 5000LL end]], "-o out.pcap in.pcap")
      assert.same({ "1700000100.250000000 1", "1700000000.999995000 2" }, fields("out.pcap", { "frame.time_epoch", "udp.srcport" }))
    end)

    it("a time as a double keeps the microsecond it was given", function()
      t.write("in.pcap", c.pcap { { c.T0, 123457, c.udp {} }, { c.T0, 999999, c.udp {} } })
      edit("e.ts = p.ts + 1", "-o out.pcap in.pcap")
      assert.same({ "1700000001.123457000", "1700000001.999999000" }, t.field("out.pcap", "frame.time_epoch"))
    end)

    it("nanoseconds in a file of microseconds: said once", function()
      t.write("in.pcap", c.pcap { { c.T0, 1, c.udp {} }, { c.T0, 2, c.udp {} } })
      local r = edit("e.ts_ns = p.ts_ns + 7", "-o out.pcap in.pcap")
      assert.equal(1, select(2, r.err:gsub("nanoseconds", "")))
      assert.is_truthy(r.err:find("--format pcapng", 1, true))
      r = edit("e.ts_ns = p.ts_ns + 7", "-o out.pcapng in.pcap")
      assert.equal("", r.err)
      assert.same({ "1700000000.000001007", "1700000000.000002007" }, t.field("out.pcapng", "frame.time_epoch"))
    end)
  end)

  describe("bytes", function()
    it("set_u8, set_u16, set_u32 and set_bytes write in network order, and fields follow", function()
      write_packet(c.udp { sport = 1, dport = 2, payload = "abcdefgh" })
      local r = edit([[e:set_u16(34, 0x1234) e:set_u8(22, 3) e:set_u32(42, 0x61626380) e:set_bytes(46, "XY")
        print(e.sport, e.ttl, p:bytes(42))]], "-o out.pcap in.pcap")
      assert.equal("4660\t3\tabc\x80XYgh\n", r.out)
      assert.same({ "4660 3 6162638058596768" }, fields("out.pcap", { "udp.srcport", "ip.ttl", "data.data" }))
    end)

    it("set_payload: longer, shorter, none; lengths and checksums are right", function()
      for _, size in ipairs { 0, 1, 40, 1400, 65400 } do
        edit(([[if p.payload_offset == 0 then return false end
          e:set_payload(("z"):rep(%d)) assert(e.payload_len == %d and e.caplen == e.wirelen) assert(e:fix_checksums())]])
          :format(size, size), "--overwrite -o out.pcap f/web.pcap")
        assert.same({}, wrong_checksums("out.pcap"))
        for _, line in ipairs(fields("out.pcap", { "ip.len", "ipv6.plen", "udp.length", "tcp.len", "tcp.hdr_len", "frame.len", "frame.cap_len" })) do
          local ip, ip6, udp, tcp, tcp_header, len, caplen = line:match("^(%d*) (%d*) (%d*) (%d*) (%d*) (%d+) (%d+)$")
          assert.equal(len, caplen)
          assert.equal(tonumber(len), ip ~= "" and 14 + ip or 54 + ip6)
          assert.equal(size, udp ~= "" and udp - 8 or tonumber(tcp))
          assert.equal(tonumber(len), (ip ~= "" and 34 or 54) + (udp ~= "" and 8 or tcp_header) + size)
        end
      end
    end)

    it("set_payload replaces what was not captured too, and takes Ethernet padding away", function()
      local padded = c.udp { payload = "x" } .. ("\0"):rep(17)
      local cut = c.udp { payload = ("x"):rep(500) }
      t.write("in.pcap", c.pcap { { c.T0, 0, padded }, { c.T0, 1, cut:sub(1, 100), len = #cut } })
      edit([[e:set_payload("four") e:fix_checksums()]], "-o out.pcap in.pcap")
      assert.same({ "46 46 32 12", "46 46 32 12" }, fields("out.pcap", { "frame.len", "frame.cap_len", "ip.len", "udp.length" }))
    end)

    it("set_payload keeps the check sequence of other links, and follows PPPoE and 802.3 lengths", function()
      local ip = c.ip_udp { payload = "before" }
      -- PPPoE session with a PPP header of two bytes
      write_packet("\2\0\0\0\0\2\2\0\0\0\0\1\x88\x64\x11\0\0\1" .. c.uint(#ip + 2, 2, "be") .. "\0\x21" .. ip)
      edit([[e:set_payload("and after") e:fix_checksums()]], "-o out.pcap in.pcap")
      assert.same({ tostring(#ip + 5) }, t.field("out.pcap", "pppoe.payload_length"))
      assert.same({ "616e64206166746572" }, t.field("out.pcap", "data.data"))
      -- 802.3 with SNAP
      write_packet("\2\0\0\0\0\2\2\0\0\0\0\1" .. c.uint(#ip + 8, 2, "be") .. "\xaa\xaa\3\0\0\0\8\0" .. ip)
      edit([[e:set_payload("and after") e:fix_checksums()]], "--overwrite -o out.pcap in.pcap")
      assert.same({ tostring(#ip + 11) }, t.field("out.pcap", "eth.len"))
      -- raw 802.11 data to an access point, with its check sequence
      write_packet("\8\1\0\0" .. ("\2\0\0\0\0\1"):rep(3) .. "\0\0\xaa\xaa\3\0\0\0\8\0" .. ip .. "FCS!", { linktype = 105 })
      edit([[e:set_payload("and after") e:fix_checksums()]], "--overwrite -o out.pcap in.pcap")
      assert.equal("FCS!", t.read("out.pcap"):sub(-4))
      assert.same({ tostring(#ip + 3) }, t.field("out.pcap", "ip.len"))
    end)

    it("insert and remove: the lengths of headers around the place follow, others do not", function()
      write_packet(c.udp { payload = "abcdef" })
      edit([[e:insert(44, "--") assert(e.payload_len == 8) assert(e.wirelen == p.caplen)]], "-o out.pcap in.pcap")
      assert.same({ "36 16 61622d2d63646566" }, fields("out.pcap", { "ip.len", "udp.length", "data.data" }))
      edit([[e:remove(44, 2)]], "--overwrite -o out.pcap in.pcap")
      assert.same({ "32 12 61626566 46" }, fields("out.pcap", { "ip.len", "udp.length", "data.data", "frame.len" }))
      edit([[e:insert(p.caplen, "!")]], "--overwrite -o out.pcap in.pcap")
      assert.same({ "35 15 61626364656621" }, fields("out.pcap", { "ip.len", "udp.length", "data.data" }))
      -- an MPLS label in front of IP
      edit([[e:set_u16(12, 0x8847) e:insert(14, "\0\1\1\64")]], "--overwrite -o out.pcap in.pcap")
      assert.same({ "16 34 52" }, fields("out.pcap", { "mpls.label", "ip.len", "frame.len" }))
      -- and everything in front of IP off
      edit([[e:set_u16(12, 0x8847) e:insert(14, "\0\1\1\64") e:remove(12, 4) e:set_u16(12, 0x0800) e:remove(14, 0)]],
        "--overwrite -o out.pcap in.pcap")
    end)

    it("insert before a length field leaves all other bytes as they were", function()
      write_packet(c.udp { payload = "abcdef" })
      edit([[local before = p:bytes()
        for off = 0, p.caplen do
          e:insert(off, "ABCD")
          assert(e:bytes(off, 4) == "ABCD", off)
          e:remove(off, 4)
          assert(e:bytes() == before, off)
        end]], "-o out.pcap in.pcap")
    end)

    it("remove takes padding along without counting it", function()
      write_packet(c.udp { payload = "abcdef" } .. "PADDING")
      edit([[e:remove(46, 9)]], "-o out.pcap in.pcap")
      assert.same({ "32 12 61626364 46" }, fields("out.pcap", { "ip.len", "udp.length", "data.data", "frame.len" }))
    end)

    it("insert and remove in a packet that was cut keep the length on the wire in step", function()
      local whole = c.udp { payload = ("x"):rep(500) }
      write_packet(whole:sub(1, 60), { len = #whole })
      edit([[e:insert(50, "12345") e:remove(42, 1)]], "-o out.pcap in.pcap")
      assert.same({ ("%d 64 532"):format(#whole + 4) }, fields("out.pcap", { "frame.len", "frame.cap_len", "ip.len" }))
    end)

    it("push_vlan and pop_vlan", function()
      write_packet(c.udp { payload = "x" })
      edit("e:push_vlan(5) assert(p.vlan == 5 and p.has_vlan)", "-o one.pcap in.pcap")
      assert.same({ "5 0x8100 0x0800 47" }, fields("one.pcap", { "vlan.id", "eth.type", "vlan.etype", "frame.len" }))
      edit("e:push_vlan(9)", "-o two.pcap one.pcap")
      assert.same({ "9 5 0x88a8" }, fields("two.pcap", { "ieee8021ad.id", "vlan.id", "eth.type" }))
      edit("e:pop_vlan() e:pop_vlan()", "-o none.pcap two.pcap")
      t.run("cmp none.pcap in.pcap")
      write_packet("\0\0\0\1\0\6\2\0\0\0\0\1\0\0\8\0" .. c.ip_udp { payload = "x" }, { linktype = 113 })
      edit("e:push_vlan(5, 0x8100)", "-o sll.pcap in.pcap")
      assert.same({ "5 1000" }, fields("sll.pcap", { "vlan.id", "udp.srcport" }))
      edit("e:pop_vlan()", "-o back.pcap sll.pcap")
      t.run("cmp back.pcap in.pcap")
    end)

    it("truncate, before and after", function()
      edit([[e.ttl = 1 e:truncate(40)]], "-o out.pcap f/web.pcap")
      assert.same({ "99 40 1" }, { fields("out.pcap", { "frame.len", "frame.cap_len", "ip.ttl" })[1] })
      script([[return { on_packet = function(p) p:truncate(40) p:edit().ttl = 2 p:truncate(30) end }]], "--overwrite -o out.pcap f/web.pcap")
      assert.same({ "99 30 2" }, { fields("out.pcap", { "frame.len", "frame.cap_len", "ip.ttl" })[1] })
    end)

    it("grows to 262144 bytes and no further", function()
      write_packet("\2\0\0\0\0\2\2\0\0\0\0\1\x88\xb5of a private type")
      local r = edit([[e:insert(e.caplen, ("x"):rep(262144 - e.caplen)) print(e.caplen, pcall(e.insert, e, 0, "y"))]],
        "-o out.pcapng -c 1 in.pcap")
      assert.is_truthy(r.out:find("^262144\tfalse\t.*262144 bytes"))
      assert.same({ "262144" }, t.field("out.pcapng", "frame.cap_len"))
    end)

    it("says so when packets get longer than the snap length in the header", function()
      local r = edit([[e:push_vlan(1)]], "-s 60 -o out.pcap f/web.pcap")
      assert.equal(1, select(2, r.err:gsub("snap length of 60", "")))
      r = edit([[e:push_vlan(1)]], "-o o2.pcap f/web.pcap")
      assert.equal("", r.err)
    end)
  end)

  describe("fix_checksums", function()
    it("makes wrong ones right: UDP and TCP over IPv4 and IPv6, ICMP, ICMPv6", function()
      for i, file in ipairs { "f/web.pcap", "f/ping.ns.pcap", "f/vlan.pcap" } do
        edit([[for off = 14, 18 do if p.is_ip then e.ttl = e.ttl % 255 + 1 end end
          if p.has_ports then e.sport = 65535 - e.sport end
          if p.ip_version == 6 then e.src = "2001:db8::77" elseif p.src then e.dst = "203.0.113.9" end]], ("-o no%d.pcap %s"):format(i, file))
        edit("assert(e:fix_checksums())", ("-o yes%d.pcap no%d.pcap"):format(i, i))
        assert.is_true(#wrong_checksums(("no%d.pcap"):format(i)) > 0)
        assert.same({}, wrong_checksums(("yes%d.pcap"):format(i)))
      end
    end)

    -- The fixture was recorded where packets leave: the network card was to fill in their checksums.
    local function right()
      edit("assert(e:fix_checksums())", "--overwrite -o right.pcap f/web.pcap")
      return "right.pcap"
    end

    it("leaves a packet alone whose checksums were right", function()
      edit("assert(e:fix_checksums())", "-o out.pcap " .. right())
      t.run("cmp out.pcap right.pcap")
    end)

    it("SCTP: CRC-32C", function()
      write_packet(ipv4(132, hex("0007 0007 00000001 00000000") .. hex("00030012 00000001 0001 0001 00000000") .. "ab\0\0"))
      edit("e.sport = 9 assert(e:fix_checksums())", "-o out.pcap in.pcap")
      assert.same({ "9 1" }, fields("out.pcap", { "sctp.srcport", "sctp.checksum.status" }))
    end)

    it("a UDP checksum of 0 over IPv4 stays, over IPv6 there is one", function()
      local v4 = c.udp { payload = "x" }
      local v6 = "\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd" .. hex("60000000 000a 11 40") .. hex(("20010db8" .. ("0"):rep(24)):rep(2))
        .. hex("03e8 07d0 000a 0000") .. "hi"
      t.write("in.pcap", c.pcap { { c.T0, 0, v4 }, { c.T0, 1, v6 } })
      edit("e.dport = 5 assert(e:fix_checksums())", "-o out.pcap in.pcap")
      assert.equal("0x0000", t.field("out.pcap", "udp.checksum")[1])
      assert.same({}, wrong_checksums("out.pcap"))
      assert.equal("1", fields("out.pcap", { "udp.checksum.status" })[2])
    end)

    it("a UDP checksum that comes to 0 is sent as 0xffff", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { payload = "\0\0" } } })
      -- choose the payload so that the sum is 0xffff
      local r = edit([[e:set_u16(40, 1) e:set_u16(42, 0) e:fix_checksums() e:set_u16(42, p:u16(40)) e:set_u16(40, 1) e:fix_checksums()
        print(p:u16(40))]], "-o out.pcap in.pcap")
      assert.equal("65535\n", r.out)
      assert.same({ "1" }, fields("out.pcap", { "udp.checksum.status" }))
    end)

    -- The same edit on whole packets and on their first bytes must give the same checksums.
    local function same_when_cut(body, snaplen, file)
      edit(body .. " e:fix_checksums()", "--overwrite -o whole.pcap " .. file)
      t.run(("editcap -F pcap -s %d %s cut.in.pcap"):format(snaplen, file))
      edit(body .. " assert(e:fix_checksums())", "--overwrite -o cut.pcap cut.in.pcap")
      local list = { "ip.checksum", "tcp.checksum", "udp.checksum", "ip.len", "ipv6.plen", "frame.len" }
      assert.same({}, wrong_checksums("whole.pcap"))
      assert.same(fields("whole.pcap", list), fields("cut.pcap", list))
    end

    it("follows changes in packets that were cut", function()
      same_when_cut([[if p.ip_version == 4 then e.src = "198.51.100.7" else e.dst = "2001:db8::5" end e.sport = 1]], 80, right())
    end)

    it("follows bytes put in and taken out of packets that were cut, also an odd number", function()
      same_when_cut([[e:insert(e.payload_offset, "abc")]], 100, right())
      same_when_cut([[e:insert(e.payload_offset, "abcd") e.dport = 7]], 100, right())
      same_when_cut([[if e.payload_len > 4 then e:remove(e.payload_offset, 1) end]], 100, right())
    end)

    it("follows changes when the script itself cuts the packet", function()
      edit([[e.dport = 1 e:fix_checksums()]], "-o whole.pcap " .. right())
      edit([[e.dport = 1 e:truncate(74) e:fix_checksums()]], "-o cut.pcap " .. right())
      script([[return { on_packet = function(p) p:truncate(74) local e = p:edit() e.dport = 1 e:fix_checksums() end }]], "-o cut2.pcap " .. right())
      local list = { "ip.checksum", "tcp.checksum", "udp.checksum" }
      assert.same(fields("whole.pcap", list), fields("cut.pcap", list))
      assert.same(fields("whole.pcap", list), fields("cut2.pcap", list))
    end)

    it("follows a script before it that did not repair them", function()
      t.write("a.lua", [[return { on_packet = function(p) p:edit().dport = 1 end }]])
      t.write("b.lua", [[return { on_packet = function(p) local e = p:edit() e.sport = 2 assert(e:fix_checksums()) end }]])
      right()
      t.run("editcap -F pcap -s 80 right.pcap cut.in.pcap && moontap -l ./a.lua -l ./b.lua -o cut.pcap cut.in.pcap && "
        .. "moontap -l ./a.lua -l ./b.lua -o whole.pcap right.pcap")
      assert.same(fields("whole.pcap", { "tcp.checksum", "udp.checksum" }), fields("cut.pcap", { "tcp.checksum", "udp.checksum" }))
    end)

    it("fragments: the header in each, the transport checksum in the first", function()
      local whole = c.ip_udp { id = 77, payload = ("fragments "):rep(200) }
      t.write("u.pcap", c.pcap { linktype = 101, { c.T0, 0, whole } })
      edit("e:set_u16(26, 1) assert(e:fix_checksums())", "-o right.pcap u.pcap") -- with a UDP checksum
      local bytes = t.read("right.pcap"):sub(41)
      local function fragment(from, to, more)
        local data = bytes:sub(21 + from, 20 + to)
        return bytes:sub(1, 2) .. c.uint(20 + #data, 2, "be") .. bytes:sub(5, 6)
          .. c.uint(from / 8 + (more and 0x2000 or 0), 2, "be") .. bytes:sub(9, 20) .. data
      end
      t.write("in.pcap", c.pcap { linktype = 101, { c.T0, 0, fragment(0, 800, true) }, { c.T0, 1, fragment(800, 1600, true) },
        { c.T0, 2, fragment(1600, #bytes - 20) } })
      edit([[e.src = "192.0.2.200" if p.has_ports then e.dport = 53 end assert(e:fix_checksums())]], "-o out.pcap in.pcap")
      -- reassembled by tshark
      assert.same({ " 1", " 1", "1 1" }, fields("out.pcap", { "udp.checksum.status", "ip.checksum.status" }))
    end)

    it("says what it could not repair, and leaves it", function()
      write_packet(c.udp { payload = ("x"):rep(50) }:sub(1, 38), { len = 92 })
      local r = edit([[e.ttl = 4 print(e:fix_checksums()) print(e.ttl)]], "in.pcap")
      assert.equal("nil\tthe header was not captured whole\n4\n", r.out)
    end)
  end)

  describe("is seen by", function()
    it("later scripts, their filters and fields; print; tables", function()
      write_packet(c.udp { dport = 1000 })
      t.write("a.lua", [[local flows = moontap.table { key = "dport", value = { n = "count" } }
        return { on_packet = function(p) local f = flows[p] f.n = f.n + 1 p:edit().dport = 53 f = flows[p] f.n = f.n + 1 end,
          on_stop = function() for _, top in ipairs(flows:top(9, "n")) do print(top.key.dport, top.value.n) end end }]])
      t.write("b.lua", [[return { filter = "udp dst port 53", on_packet = function(p) print("b", p.dport) end }]])
      t.write("c.lua", [[return { on_batch = function(batch) local p = batch[0] print("c", p.dport) p:edit().sport = 9 end }]])
      t.write("d.lua", [[return { filter = "src port 9", on_packet = function(p) print("d", p.sport) end,
        rotate = function(segment, p) print("rotate", p.sport, p.dport) end }]])
      local r = t.run("moontap -l ./a.lua -l ./b.lua -l ./c.lua -l ./d.lua -B out in.pcap")
      assert.equal("b\t53\nc\t53\nd\t9\nrotate\t9\t53\n1000\t1\n53\t1\n", r.out)
      assert.is_truthy(t.run("moontap --print -l ./a.lua -l ./c.lua in.pcap").out:find(":9 > 10.0.0.2:53 UDP", 1, true))
    end)

    it("on_batch: any of its packets, twice the same", function()
      script([[return { on_batch = function(batch)
        for i = 0, batch.n - 1 do batch[i]:edit().ttl = 5 end
        for i = 0, batch.n - 1 do local e = batch[i]:edit() if e.is_ip then assert(e.ttl == 5) e.ttl = 6 end end
      end }]], "-o out.pcap -c 5 f/web.pcap")
      assert.same({ "6", "6", "6", "6", "6" }, t.field("out.pcap", "ip.ttl"))
    end)

    it("named outputs and rotation by time", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 1, 0, c.udp {} }, { c.T0 + 2, 0, c.udp {} } })
      script([[return { on_packet = function(p) local e = p:edit() e.ts_ns = e.ts_ns * 1 + 60LL * 1000000000LL * (p.number - 1)
        if p.number == 3 then e.ttl = 1 return "other" end end }]], "-B out -G 60 --out other=other.pcap in.pcap")
      assert.same({ "1" }, t.field("other.pcap", "ip.ttl"))
      assert.equal(2, #t.json_lines("out/manifest.jsonl"))
    end)
  end)

  describe("counts and clock", function()
    it("are those of what was read", function()
      t.write("s.lua", [[return { on_packet = function(p) local e = p:edit() e:set_payload(("x"):rep(1000)) e.ts = 1 end }]])
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 9, 0, c.udp {} } })
      local plain = t.json "moontap --json -o a.pcap in.pcap"
      local r = t.balances(t.json "moontap --json -l ./s.lua -o b.pcap in.pcap")
      for _, key in ipairs { "packets", "bytes", "wire_bytes", "first_ts", "last_ts", "kept" } do
        assert.equal(plain[key], r[key])
      end
      assert.equal(2 * 1042, r.outputs[1].captured_bytes)
    end)

    it("intervals of a later stage go by the times that were read", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 1, 0, c.udp {} }, { c.T0 + 2, 0, c.udp {} } })
      t.write("a.lua", [[return { on_batch = function(batch) for i = 0, batch.n - 1 do batch[i]:edit().ts = 1e9 end end }]])
      local count = [[interval = 1, on_interval = function(now, last) if not last then print(("%d"):format(now)) end end }]]
      t.write("b.lua", "return { on_packet = function() end, " .. count)
      t.write("c.lua", "return { on_batch = function() end, " .. count)
      assert.equal("1700000001\n1700000002\n", t.run("moontap -l ./a.lua -l ./b.lua in.pcap").out)
      assert.equal("1700000001\n1700000002\n", t.run("moontap -l ./a.lua -l ./c.lua in.pcap").out)
    end)
  end)

  describe("a hook that fails", function()
    local half = [[on_packet = function(p) local e = p:edit() e.ttl = 1 e:set_payload(("secret"):rep(100)) e.ts = 5 p:comment("half")
      if p.number % 2 == 0 then error "on purpose" end end }]]

    it("keep: the packet comes out as it was", function()
      t.write("s.lua", [[return { on_error = "keep", ]] .. half)
      t.run("moontap -l ./s.lua -o out.pcapng f/web.pcap", 4)
      local now = fields("out.pcapng", { "frame.time_epoch", "frame.md5_hash", "frame.comment" })
      local before = fields("f/web.pcap", { "frame.time_epoch", "frame.md5_hash", "frame.comment" })
      assert.equal(#before, #now)
      assert.equal(before[2], now[2])
      assert.equal(before[4], now[4])
      assert.are_not.equal(before[1], now[1])
    end)

    it("drop: it does not come out; stop: the run ends before it", function()
      write_packet(c.udp {})
      t.write("s.lua", [[return { on_error = "drop", ]] .. half)
      local r = t.json("moontap --json -l ./s.lua -o out.pcapng f/web.pcap", 4)
      assert.equal(r.kept, t.count("out.pcapng"))
      assert.equal(r.kept, #t.packets("out.pcapng", { "frame.comment" }, "frame.comment == half"))
      t.write("s.lua", [[return { ]] .. half)
      t.run("moontap -l ./s.lua -o stop.pcapng f/web.pcap", 4)
      assert.same({ "half" }, t.field("stop.pcapng", "frame.comment"))
    end)

    it("undoes its own edits, not those of scripts before it", function()
      t.write("a.lua", [[return { on_packet = function(p) local e = p:edit() e.src = "0.0.0.0" e:set_payload("") e:fix_checksums() end }]])
      t.write("b.lua", [[return { on_error = "keep", on_packet = function(p) local e = p:edit() e.src = "1.1.1.1" e:push_vlan(1) error "b" end }]])
      t.write("c.lua", [[return { on_packet = function(p) p:edit().ttl = 33 end }]])
      write_packet(c.udp { payload = "x" })
      t.run("moontap -l ./a.lua -l ./b.lua -l ./c.lua -o out.pcap in.pcap", 4)
      assert.same({ "0.0.0.0 33 42 8" }, fields("out.pcap", { "ip.src", "ip.ttl", "frame.len", "udp.length" }))
    end)

    it("on_batch: all of its packets", function()
      t.write("s.lua", [[return { on_error = "keep", on_batch = function(batch)
        for i = 0, batch.n - 1 do batch[i]:edit().ttl = 1 end batch[0].no_such_field() end }]])
      t.run("moontap -l ./s.lua -o out.pcap f/web.pcap", 4)
      t.run("cmp out.pcap f/web.pcap")
    end)

    it("an undeclared output, os.exit", function()
      write_packet(c.udp {})
      t.write("s.lua", [[return { on_error = "keep", on_packet = function(p) p:edit().ttl = 1 return "nowhere" end }]])
      t.run("moontap -l ./s.lua -o out.pcap in.pcap", 4)
      t.run("cmp out.pcap in.pcap")
      t.write("s.lua", [[return { on_error = "keep", on_packet = function(p) p:edit().ttl = 1 os.exit() end }]])
      t.run("moontap -l ./s.lua --overwrite -o out.pcap in.pcap")
      t.run("cmp out.pcap in.pcap")
    end)
  end)

  describe("misuse", function()
    before_each(function() write_packet(c.udp { payload = "x" }) end)

    local function refused(body, ...)
      t.write("s.lua", "return { on_packet = function(p) local e = p:edit()\n" .. body .. " end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: ", "packet 1, from in.pcap", ...)
    end

    it("what the packet does not have", function()
      refused("e.tcp_seq = 1", "tcp_seq: this packet has none")
      refused("e.icmp_type = 1", "icmp_type: this packet has none")
      refused("e.vlan = 1", "vlan: this packet has none")
      refused("e.flow_label = 1", "flow_label: this packet has none")
      refused("e:pop_vlan()", "pop_vlan: this packet has none")
      refused("e.src = '2001:db8::1'", "src: 2001:db8::1 is no address for an IPv4 packet")
      refused("e.src = 'localhost'", "src: 'localhost' is no IP address")
      refused("e.eth_src = '02:00:00'", "eth_src: '02:00:00' is no Ethernet address")
    end)

    it("what does not fit", function()
      refused("e.ttl = 256", "ttl: 256 does not fit")
      refused("e.sport = -1", "sport: -1 does not fit")
      refused("e.dscp = 1.5", "dscp: 1.5 does not fit")
      refused("e.ip_id = 0/0", "ip_id: nan does not fit", "")
      refused("e.ttl = '1'", "ttl: expected a number, found a string")
      refused("e.ts_ns = 1.5", "ts_ns: expected whole nanoseconds")
      refused("e:set_payload(('x'):rep(66000))", "set_payload: a length field of its headers can not say that many bytes")
      refused("e:set_u16(p.caplen - 1, 1)", "set_u16: offset 42 is outside of the 43 captured bytes")
      refused("e:set_bytes(1e15, 'x')", "set_bytes: offset 1e+15 is outside")
      refused("e:remove(40, 4)", "remove: offset 40, length 4, is outside")
      refused("e:push_vlan(4096)", "push_vlan: 4096 does not fit")
      refused("e:insert(0, 5)", "insert: expected a string, found a number")
    end)

    it("names that can not be set", function()
      refused("e.sprot = 1", "a packet has no field 'sprot' to set: did you mean 'sport'?")
      refused("e.srcport = 1", "did you mean 'sport'?")
      refused("e.caplen = 1", "field 'caplen' of a packet can not be set; use e:truncate")
      refused("e.is_tcp = true", "field 'is_tcp' of a packet can not be set; these can: dport")
      refused("print(e.sprot)", "a packet has no field 'sprot': did you mean 'sport'?")
      refused("print(e.fix_checksum)", "did you mean 'fix_checksums'?")
      refused("p.ttl = 1", "field 'ttl' of a packet can not be set; what p:edit() gives can be changed")
    end)

    it("an edit that was kept", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0, 1, c.udp {} } })
      t.write("s.lua", "local kept return { on_packet = function(p) if kept then\nkept.ttl = 1 end kept = p:edit() end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: this edit is gone")
      t.write("s.lua", "local kept return { on_packet = function(p) if kept then\nkept:fix_checksums() end kept = p:edit() end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: this edit is gone")
      t.write("s.lua", "local kept return { on_packet = function(p) if kept then\nprint(kept.ttl) end kept = p:edit() end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: this packet is gone")
      t.write("a.lua", "return { on_packet = function(p) string.kept = p:edit() end }")
      t.write("s.lua", "return { on_packet = function(p)\nstring.kept.ttl = 1 end }")
      t.refuses("moontap -l ./a.lua -l ./s.lua in.pcap", 4, "s.lua:2: this edit is gone")
    end)

    for what, use in pairs {
      ["a table"] = "moontap.table { key = 'src' }:get(kept)",
      ["a topk"] = "moontap.topk { key = 'src' }:add(kept)",
      ["a distinct"] = "moontap.distinct { key = 'src' }:add(kept)",
      ["a rate"] = "moontap.rate { every = 1 }:add(kept)",
      ["a filter"] = "local _ = moontap.filter 'udp' (kept)",
    } do
      it("an edit that was kept, given to " .. what, function()
        t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0, 1, c.udp {} } })
        t.write("s.lua", "local kept return { on_packet = function(p) kept = kept or p:edit() end, on_stop = function()\n"
          .. use .. " end }")
        t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: this packet is gone")
      end)
    end
  end)

  it("of a copy is a packet of its own", function()
    write_packet(c.udp { payload = "abc" })
    local r = script([[local first
      return { on_packet = function(p)
        local copy = p:copy()
        local e = copy:edit()
        e.sport, e.ttl = 7, 8
        e:set_payload(("x"):rep(3000))
        e:push_vlan(3)
        assert(e:fix_checksums())
        local again = e:edit()
        again.sport = 9
        first = e
        print(p.sport, copy.sport, e.sport, again.sport, e.vlan, e.number, e.payload_len, e:copy().vlan)
      end,
      on_stop = function() collectgarbage() print(first.sport, first.src, #first:bytes()) end }]], "-o out.pcap in.pcap")
    assert.equal("1000\t1000\t7\t9\t3\t1\t3000\t3\n7\t10.0.0.1\t3046\n", r.out)
    t.run("cmp out.pcap in.pcap")
  end)

  it("of a copy: what was read from it stays readable while it grows", function()
    local r = script([[return { on_packet = function(p)
      local e = p:copy():edit()
      local d = e:dns()
      for i = 1, 12 do e:insert(e.caplen, ("x"):rep(5000)) end
      print(d.name, p:copy():edit():dns().name == d.name)
      collectgarbage()
    end }]], "-c 1 f/web.pcap")
    assert.is_truthy(r.out:find("^%S+%.%S*\ttrue\n$"), r.out)
  end)

  describe("in tunnels", function()
    local inside = T.ipv4(6, T.tcp { sport = 99, inside = "GET" }, { src = "\192\168\7\1" })
    local frame = T.ethernet(0x0800, T.ipv4(17, T.udp(4789, T.vxlan(5, T.inner_ethernet(0x0800, inside)))))

    it("p:inner():edit() sets the inner packet's fields, and repairs both", function()
      write_packet(frame)
      local r = edit([[local i = p:inner():edit()
        e.ttl, i.ttl, i.src, i.sport = 44, 33, "192.0.2.9", 98
        e.eth_src, i.eth_src = "02:00:00:00:00:0e", p.eth_dst
        e:set_u16(40, 1) -- let the outer UDP have a checksum
        print(i:fix_checksums())
        print(e.ttl, e.src == p.src, p:inner().src, p:inner().sport, i.sport, e.sport, i.eth_src == p.eth_dst)]], "-o out.pcap in.pcap")
      local sport = t.field("in.pcap", "udp.srcport")[1]
      assert.equal(("true\n44\ttrue\t192.0.2.9\t98\t98\t%s\ttrue\n"):format(sport), r.out)
      assert.same({ "44,33 1,1 1 1 98" }, fields("out.pcap", { "ip.ttl", "ip.checksum.status", "udp.checksum.status", "tcp.checksum.status",
        "tcp.srcport" }))
      assert.equal("192.0.2.9", t.field("out.pcap", "ip.src")[1]:match(",(.*)"))
    end)

    it("follows inner changes in a packet that was cut", function()
      write_packet(frame)
      edit("e:set_u16(40, 1) p:inner():edit():fix_checksums()", "-o right.pcap in.pcap")
      local body = [[local i = p:inner():edit() i.dst, i.dport = "192.0.2.77", 1234 i:fix_checksums()]]
      edit(body, "-o whole.pcap right.pcap")
      t.run(("editcap -F pcap -s %d right.pcap cut.in.pcap"):format(#frame - 3))
      edit(body, "-o cut.pcap cut.in.pcap")
      assert.same({}, wrong_checksums("whole.pcap"))
      local list = { "ip.checksum", "udp.checksum", "tcp.checksum" }
      assert.same(fields("whole.pcap", list), fields("cut.pcap", list))
    end)

    it("the length of an inner packet stays, the outer one can be taken off", function()
      write_packet(frame)
      t.write("s.lua", "return { on_packet = function(p)\np:inner():edit():set_payload('x') end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: set_payload: a packet in a tunnel keeps its length")
      edit([[e:remove(0, p:inner().l3_offset - 14) assert(p.src == "192.168.7.1" and p.tunnel == nil)]], "-o out.pcap in.pcap")
      assert.same({ "192.168.7.1 99" }, fields("out.pcap", { "ip.src", "tcp.srcport" }))
    end)

    it("a packet that is in none can change its length through p:inner() too", function()
      write_packet(c.udp { payload = "abc" })
      edit([[p:inner():edit():set_payload("four") p:inner():copy():edit():set_payload("four")
        assert(e.payload_len == 4 and p:inner().payload_len == 4)]], "-o out.pcap in.pcap")
      assert.same({ "32" }, t.field("out.pcap", "ip.len"))
    end)

    it("a copy of an inner packet is edited as one", function()
      write_packet(frame)
      local r = edit([[local i = p:inner():copy():edit() i.sport = 7 i.src = "10.9.9.9" print(i.sport, i.src, i:fix_checksums())]], "in.pcap")
      assert.equal("7\t10.9.9.9\ttrue\n", r.out)
    end)
  end)

  it("takes memory for a batch, not for the run", function()
    if t.asan then
      pending("memory is not measured under a sanitizer")
      return
    end
    local file = {}
    for i = 1, 40000 do
      file[i] = { c.T0 + i, 0, c.udp { payload = "x" } }
    end
    t.write("in.pcap", c.pcap(file))
    local r = script([[local payload = ("x"):rep(8000)
      return { on_packet = function(p) p:edit():set_payload(payload) end,
        on_stop = function() print(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)")) end }]], "-o /dev/null --overwrite in.pcap")
    assert.is_true(tonumber(r.out) < 120000, r.out .. " kB for 320 MB of packets")
  end)
end)

describe("p:comment", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("adds comments that tshark finds, behind those that were there", function()
    for _, order in ipairs { "le", "be" } do
      t.write("in.pcapng", c.section(order) .. c.interface(order, {})
        .. c.enhanced(order, 0, 1e15, c.udp {}, { { 1, "there" }, { 2, c.uint(1, 4, order) } })
        .. c.enhanced(order, 0, 1e15, c.udp {}))
      local r = script([[return { on_packet = function(p)
        print(#p:comments(), table.concat(p:comments(), "|"))
        assert(p:comment("one") and p:comment("zwei: ü, 日本") and p:comment(""))
        print(#p:comments(), table.concat(p:comments(), "|"))
      end }]], "--overwrite -o out.pcapng in.pcapng")
      assert.equal("1\tthere\n4\tthere|one|zwei: ü, 日本|\n0\t\n3\tone|zwei: ü, 日本|\n", r.out)
      local lines = t.packets("out.pcapng", { "frame.comment", "frame.packet_flags_direction" })
      assert.equal("there,one,zwei: ü, 日本, 0x00000001", lines[1])
      assert.equal("one,zwei: ü, 日本, ", lines[2])
      assert.same(t.field("in.pcapng", "frame.md5_hash"), t.field("out.pcapng", "frame.md5_hash"))
    end
  end)

  it("keeps the direction of a packet that had no options", function()
    -- Linux cooked in ERF or pcap has none; a libpcap file does not either: an ERF source tells it by its interface
    t.write("in.pcapng", c.section("le") .. c.interface("le", {})
      .. c.enhanced("le", 0, 1e15, c.udp {}, { { 2, c.uint(2, 4, "le") } }))
    script([[return { on_packet = function(p) p:comment("x") end }]], "-o out.pcapng in.pcapng")
    assert.same({ "x 0x00000002" }, t.packets("out.pcapng", { "frame.comment", "frame.packet_flags_direction" }))
  end)

  it("with another format: one warning", function()
    local r = script([[return { on_packet = function(p) p:comment("x") end }]], "-o out.pcap f/web.pcap")
    assert.equal(1, select(2, r.err:gsub("comments on packets are lost", "")))
    assert.is_truthy(r.err:find("--format pcapng", 1, true))
    r = script([[return { on_packet = function(p) if p.is_udp then p:comment("x") return "dns" end end }]],
      "-o a.pcap --out dns=b.pcapng f/web.pcap")
    assert.equal("", r.err)
    assert.equal("x", t.field("b.pcapng", "frame.comment")[1])
  end)

  it("takes UTF-8 only, and 65,535 bytes of options at most", function()
    local r = script([[local bad = { "\128", "\255", "a\192\128", "\237\160\128", "\244\144\128\128", "\226\130", "x\xc3" }
      return { on_packet = function(p)
        for _, text in ipairs(bad) do
          local ok, why = pcall(p.comment, p, text)
          assert(not ok and why:find "not UTF%-8", why)
        end
        assert(p:comment "\244\143\191\191 \237\159\191 \239\191\189")
        print(p:comment(("x"):rep(65531)))
        print(p:comment(("x"):rep(60000)), p:comment(("y"):rep(6000)), #p:comments())
      end }]], "-o out.pcapng -c 1 f/web.pcap")
    assert.equal("nil\tthe options of a packet are at most 65535 bytes\ntrue\tnil\t2\n", r.out)
    assert.equal(1, t.count("out.pcapng"))
  end)

  it("thousands on one packet", function()
    local r = script([[return { on_packet = function(p) local n = 0 while p:comment("x") do n = n + 1 end print(n, #p:comments()) end }]],
      "-o out.pcapng -c 1 f/web.pcap")
    assert.equal("8191\t8191\n", r.out)
  end)

  it("not on a copy", function()
    t.write("s.lua", "return { on_packet = function(p) p:copy()\n:comment('x') end }")
    t.refuses("moontap -l ./s.lua f/web.pcap", 4, "a copy is not written")
    assert.equal("0\n", script("return { on_packet = function(p) print(#p:copy():comments()) end }", "-c 1 f/web.pcap").out)
  end)
end)

describe("p:edit on other people's captures", function()
  before_each(t.fresh)
  after_each(t.clean)

  local corpus, why = t.corpus()
  it("gives packets whose checksums tshark finds right", function()
    if not corpus then
      pending(why)
      return
    end
    t.write("s.lua", [[local seen = {}
      return { on_packet = function(p)
        seen[p.source] = (seen[p.source] or 0) + 1
        if p.payload_offset == 0 or p.is_fragment or seen[p.source] > 500 then return false end
        local e = p:edit()
        e.ttl = 7
        e:set_payload("payload of packet " .. p.number)
        if not e:fix_checksums() then return false end
      end }]])
    local files = {}
    for _, name in ipairs(t.list(corpus .. "/real")) do
      if name:find("%.p?cap") or name:find("%.dmp$") then
        files[#files + 1] = t.quote(corpus .. "/real/" .. name)
      end
    end
    assert.is_true(#files > 50)
    t.sh("moontap -l ./s.lua -o out.pcapng " .. table.concat(files, " "))
    assert.is_true(t.count("out.pcapng") > 5000)
    assert.same({}, wrong_checksums("out.pcapng"))
  end)
end)
