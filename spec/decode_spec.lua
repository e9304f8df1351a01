-- SPDX-License-Identifier: BSD-2-Clause
-- Packet fields, and p:inner() through tunnels.  Judge: tshark, field by field over other projects' captures.
local t = require("support.moontap")
local c = require("support.capture")
local layers = require("support.layers")
local T = require("support.tunnels")

-- Where moontap and tshark mean to differ: file, "outer" or "inner", fields (or "all"), why.
local DELIBERATE = {
  { "arkime__arkime_synthetic.pcap", "outer", "ip_version src dst proto ttl ip_id ip_len icmp_type",
    "packet 315: Cisco metadata (type 0x8909) is not decoded" },
  { "arkime__arkime_synthetic.pcap", "outer", "payload_len",
    "packet 818: a UDP length of 0 is wrong; the payload is what the IP length says" },
  { "libpcap__dsa.pcap", "file", "all", "this tshark does not read link type 284" },
  { "tcpdump__dsa-high-vid.pcap", "file", "all", "this tshark does not read link type 285" },
  { "suricata-verify__decode-dce_input.pcap", "outer", "all", "Cisco FabricPath is not decoded" },
  { "tcpdump__LINKTYPE_PKTAP.pcap", "outer", "all", "link type PKTAP is not decoded" },
  { "tcpdump__LINKTYPE_USER2_PKTAP.pcap", "outer", "all", "link type PKTAP is not decoded" },
  { "tcpdump__bgp-aigp.pcap", "outer", "all", "Juniper's link types are not decoded" },
  { "tcpdump__isis_poi.pcap", "outer", "all", "Juniper's link types are not decoded" },
  { "tcpdump__bigtcp-ipv4.pcap", "outer", "ip_len",
    "the header says 0 (segmentation offload); tshark puts the captured length there" },
  { "tcpdump__bigtcp-ipv4-vxlan-ipv6.pcap", "outer", "ip_len payload_len", "the same, and a UDP length of 0" },
  { "tcpdump__bigtcp-ipv4-vxlan-ipv6.pcap", "inner", "all", "tshark does not look behind a UDP length of 0" },
}

local function set(words)
  local names = {}
  for word in words:gmatch "%S+" do
    names[word] = true
  end
  return names
end

local deliberate, used = {}, {}
for _, row in ipairs(DELIBERATE) do
  deliberate[row[1] .. " " .. row[2]] = deliberate[row[1] .. " " .. row[2]] or {}
  for name in pairs(set(row[3])) do
    deliberate[row[1] .. " " .. row[2]][name] = true
  end
end

-- Is it meant that they differ here?
local function is_meant(file, which, name)
  local names = deliberate[file .. " " .. which]
  local found = names and (names[name] and name or names.all and "all")
  if found then
    used[file .. " " .. which .. " " .. found] = true
  end
  return found
end

local function read_lines(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

-- All differences that are not meant, as text.
local function differences(file, theirs, ours)
  if #theirs ~= #ours then
    return is_meant(file, "file", "all") and {} or { ("%s: %d packets by tshark, %d by moontap"):format(file, #theirs, #ours) }
  end
  local list = {}
  for i, line in ipairs(theirs) do
    local stack = layers.of_tshark(line)
    local outer, inner = layers.of_moontap(ours[i])
    local function look(which, layer, packet)
      layers.compare(layer, packet, function(name, a, b)
        if not is_meant(file, which, name) then
          list[#list + 1] = ("%s, packet %d, %s %s: tshark %s, moontap %s (%s)"):format(file, i, which, name, a, b,
            stack.protocols)
        end
      end)
    end
    look("outer", stack[1], outer)
    if #stack > 1 or outer.tunnel ~= "nil" then
      look("inner", stack[#stack], inner)
    end
  end
  return list
end

local dir, why = t.corpus()

describe("fields of a packet", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("agree with tshark over other projects' captures", function()
    if not dir then
      pending(why)
      return
    end
    t.write("fields.lua", layers.script)
    t.write("one.sh", layers.tshark('"$1"') .. ' >"$2.theirs" 2>/dev/null; moontap -l ./fields.lua "$1" >"$2.ours" 2>"$2.err"; '
      .. 'echo $? >"$2.status"')
    t.run(("find %s/real -type f | sort | while read -r f; do printf '%%s %%s\\n' \"$f\" \"$(basename $f)\"; done | xargs -n 2 -P 2 sh one.sh"):format(
      t.quote(dir)), 0, { timeout = 300 })
    local list, files, packets = {}, 0, 0
    for _, name in ipairs(t.list(".")) do
      local file = name:match "^(.*)%.ours$"
      if file then
        files = files + 1
        assert.is_truthy(t.read(file .. ".err"):find("^[^\n]*$") or not t.read(file .. ".err"):find("Sanitizer"), file)
        local theirs, ours = read_lines(t.read(file .. ".theirs")), read_lines(t.read(file .. ".ours"))
        packets = packets + #ours
        for _, line in ipairs(differences(file, theirs, ours)) do
          list[#list + 1] = line
        end
      end
    end
    assert.equal("", table.concat(list, "\n", 1, math.min(#list, 20)))
    assert.is_true(files > 100 and packets > 30000, files .. " files, " .. packets .. " packets")
    for _, row in ipairs(DELIBERATE) do
      for name in pairs(set(row[3])) do
        assert.is_true(used[row[1] .. " " .. row[2] .. " " .. name], "no longer differs: " .. row[1] .. " " .. name)
      end
    end
  end)

  it("of hostile captures do no harm", function()
    if not dir then
      pending(why)
      return
    end
    t.write("fields.lua", layers.script)
    t.write("one.sh", 'timeout 20 moontap -l ./fields.lua "$1" >/dev/null 2>err.$$; s=$?; '
      .. 'if [ $s -ge 124 ] || [ $s = 99 ] || grep -q "Sanitizer\\|runtime error" err.$$; then echo "$1 $s"; cat err.$$; fi; rm err.$$')
    local r = t.run(("find %s/hostile %s/conformance -type f | xargs -n 1 -P 2 sh one.sh"):format(t.quote(dir), t.quote(dir)), 0,
      { timeout = 200 })
    assert.equal("", r.out)
  end)
end)

-- --- by hand -----------------------------------------------------------------------------

-- Write the frames to in.pcap, one a packet; run the body of a hook over it; the lines it printed.
local function hook(frames, body, options)
  local file = { linktype = options and options.linktype }
  for i, frame in ipairs(frames) do
    file[i] = { c.T0, i % 1000000, type(frame) == "table" and frame[1] or frame, len = type(frame) == "table" and frame.len or nil }
  end
  t.write("in.pcap", c.pcap(file))
  t.write("s.lua", "return { on_packet = function(p)\n" .. body .. "\nend }")
  return read_lines(t.run("moontap -l ./s.lua in.pcap").out)
end

-- The values of these fields of one frame, joined by spaces.
local function fields(frame, names, options)
  local list = {}
  for name in names:gmatch "%S+" do
    list[#list + 1] = "tostring(p" .. ("." .. name):gsub("^%.inner", ":inner()") .. ")"
  end
  return hook({ frame }, "print(" .. table.concat(list, ", ' ', ") .. ")", options)[1]:gsub("\t", "")
end

local function frames_of(list)
  local frames = {}
  for i, row in ipairs(list) do
    frames[i] = row[4]
  end
  return frames
end

describe("tunnels", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("are named, numbered and looked into", function()
    local lines = hook(frames_of(T.frames), [[local q = p:inner()
      print(p.tunnel, p.tunnel_id, q.sport, q.dport, q.ttl, q.tunnel, q.payload_len > 0 and p:bytes(q.payload_offset, q.payload_len))]])
    for i, row in ipairs(T.frames) do
      local inside = row[1] == "VXLAN with ARP" and "0\t0\t0\tnil\tfalse" or "1111\t2222\t33\tnil\tinner payload"
      assert.equal(("%s\t%.0f\t%s"):format(row[2], row[3], inside), lines[i], row[1])
    end
  end)

  it("hold what tshark finds last", function()
    -- 8472 is not a port of VXLAN for it; it takes the control word for a part of the MAC address
    local unknown = { ["VXLAN on the port of Linux"] = true, ["pseudowire with control word"] = true }
    local lines = hook(frames_of(T.frames), [[local q = p:inner()
      print(tostring(q.ip_version == 0 and p.src or q.src), q.ip_version == 0 and p.sport or q.sport)]])
    local judged = t.sh("tshark -n -r in.pcap -T fields -E occurrence=l -E separator=/t -e ip.src -e ipv6.src -e udp.srcport -e frame.protocols")
    local n = 0
    for i, line in ipairs(read_lines(judged.out)) do
      local v4, v6, port, protocols = line:match "^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)"
      local last = protocols:match ".*:(ipv?6?):" == "ipv6" and v6 or v4
      if not unknown[T.frames[i][1]] then
        assert.equal(last .. "\t" .. port, lines[i], T.frames[i][1])
        n = n + 1
      end
    end
    assert.equal(#T.frames - 2, n)
  end)

  it("hold Ethernet with addresses and a tag of its own", function()
    local frame = T.ethernet(0x0800, T.ipv4(17, T.udp(4789, T.vxlan(1, T.inner_ethernet(0x0806, ("\0"):rep(28), T.vlan(0x6004))))), T.vlan(9))
    assert.equal("02:00:00:00:00:01 9 false 10.0.0.1", fields(frame, "eth_src vlan is_arp src"))
    assert.equal("02:00:00:00:01:01 4 3 true 2054 0 nil",
      fields(frame, "inner.eth_src inner.vlan inner.vlan_priority inner.is_arp inner.ethertype inner.ip_version inner.src"))
  end)

  it("are not entered in fragments behind the first", function()
    local inner = T.ipv4(6, T.tcp {})
    local first = T.ethernet(0x0800, T.ipv4(4, inner, { fragment = 0x2000 }))
    local second = T.ethernet(0x0800, T.ipv4(4, inner, { fragment = 0x2005 }))
    local names = "tunnel inner.proto inner.is_fragment"
    assert.equal("ipip 6 false", fields(first, names))
    assert.equal("nil 4 true", fields(second, names))
  end)

  it("have to look right", function()
    local function over(port, payload, sport)
      return T.ethernet(0x0800, T.ipv4(17, T.udp(port, payload, sport)))
    end
    for what, frame in pairs {
      ["VXLAN without the I flag"] = over(4789, T.vxlan(1, T.inner_ethernet(0x0800, T.ipv4(17, "")), 0)),
      ["Geneve of another version"] = over(6081, "\64" .. T.geneve(1, 0x6558, "", T.inner_ethernet(0x0800, T.ipv4(17, ""))):sub(2)),
      ["GTP' (not GTP)"] = over(2152, "\32\255\0\40\0\0\0\1" .. T.ipv4(17, "")),
      ["a GTP echo request"] = over(2152, "\50\1\0\4\0\0\0\0\0\0\0\0"),
      ["L2TP control"] = over(1701, "\200\2\0\20\0\0\0\0\0\0\0\0" .. ("\0"):rep(8)),
      ["L2TP version 3"] = over(1701, "\0\3\0\0\0\0\0\1" .. ("\0"):rep(20)),
      ["DNS from a port of VXLAN"] = over(53, "\8\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", 4789),
      ["Teredo with another length"] = over(3544, T.ipv6(17, "short"):sub(1, 40)),
      ["GRE of version 2"] = T.ethernet(0x0800, T.ipv4(47, T.gre(2, 0x0800, "", T.ipv4(17, "")))),
      ["IPv6 announced as IPv4"] = T.ethernet(0x0800, T.ipv4(4, T.ipv6(17, ""))),
      ["MPLS without Ethernet inside"] = T.ethernet(0x8847, T.mpls(16, "\0\0\0\0" .. ("\1"):rep(40))),
    } do
      assert.equal("nil", fields(frame, "tunnel"), what)
    end
  end)

  it("that carry nothing known leave the packet itself", function()
    local keepalive = T.ethernet(0x0800, T.ipv4(47, T.gre(0, 0, "", "")))
    assert.equal("gre 47 10.0.0.1", fields(keepalive, "tunnel inner.proto inner.src"))
    local echo = T.ethernet(0x0800, T.ipv4(47, T.gre(0x3001, 0x880b, "\0\6\0\6\0\0\0\1", "\255\3\192\33\1\1")))
    assert.equal("pptp 47", fields(echo, "tunnel inner.proto"))
  end)

  it("around each other have a limit", function()
    local inside = T.ipv4(17, T.udp(9, ""))
    for i = 1, 60 do
      inside = T.ipv4(4, inside, { ttl = i })
    end
    assert.equal("ipip 60 28", fields(T.ethernet(0x0800, inside), "tunnel ttl inner.ttl"))
  end)

  it("are not MPLS and PPPoE in front of the outermost IP header", function()
    local labels = T.ethernet(0x8847, T.mpls(100, T.mpls(200, T.ipv4(6, T.tcp {})), true), T.vlan(5) .. T.vlan(6))
    assert.equal("nil true 100 5 6 10.0.0.1", fields(labels, "tunnel has_mpls mpls_label vlan vlan_inner src"))
    local session = T.ethernet(0x8864, "\17\0\0\1\0\42\2\129" .. T.mpls(300, T.ipv4(6, T.tcp {})), T.vlan(5))
    assert.equal("nil 300 10.0.0.1", fields(session, "tunnel mpls_label src"))
  end)

  -- Every prefix of every frame: a value is that of the whole packet or of one around it, or absent, and what
  -- has come does not go when there is more.
  it("cut anywhere give less, never something else", function()
    local frames, place = {}, {}
    for i, row in ipairs(T.frames) do
      for n = 0, #row[4] do
        frames[#frames + 1] = { row[4]:sub(1, n), len = #row[4] }
        place[#frames] = { i, n }
      end
    end
    local names = "tunnel tunnel_id src dst sport dport ttl ip_len ip_id dscp eth_src eth_dst ethertype vlan mpls_label arp_src arp_dst"
    local print_them = {}
    for name in names:gmatch "%S+" do
      print_them[#print_them + 1] = "tostring(p." .. name .. ")"
    end
    for name in names:gmatch "%S+" do
      print_them[#print_them + 1] = "tostring(q." .. name .. ")"
    end
    local lines = hook(frames, "local q = p:inner() print(" .. table.concat(print_them, ", ") .. ")")
    assert.equal(#frames, #lines)
    local columns = #print_them / 2
    local seen = {}
    for k, line in ipairs(lines) do
      local i, n = place[k][1], place[k][2]
      if n == 0 then
        seen = {}
      end
      local j = 0
      for value in (line .. "\t"):gmatch "([^\t]*)\t" do
        j = j + 1
        local old = seen[j]
        if j <= columns and old and old ~= "nil" and old ~= "0" then
          assert.equal(old, value, ("%s, %d bytes, column %d"):format(T.frames[i][1], n, j))
        end
        seen[j] = value
      end
      assert.equal(2 * columns, j)
      if n == #T.frames[i][4] then
        assert.equal(T.frames[i][2], seen[1])
      end
    end
  end)
end)

describe("p:inner()", function()
  before_each(t.fresh)
  after_each(t.clean)

  local vxlan = T.ethernet(0x0800, T.ipv4(17, T.udp(4789, T.vxlan(7, T.inner_ethernet(0x0800, T.ipv4(6, T.tcp { sport = 99, inside = "GET" }))))))
  local plain = T.ethernet(0x0800, T.ipv4(6, T.tcp { sport = 5 }))

  it("is the packet itself when it carries none, and itself again", function()
    assert.same({ "5\t5\tnil" }, hook({ plain }, "print(p:inner().sport, p:inner():inner().sport, p.tunnel)"))
    assert.same({ "99\t99\t40000" }, hook({ vxlan }, "print(p:inner().sport, p:inner():inner().sport, p.sport)"))
  end)

  it("reads the same bytes as the packet", function()
    assert.same({ "GET\t99\ttrue" }, hook({ vxlan }, [[local q = p:inner()
      print(q:bytes(q.payload_offset, q.payload_len), p:u16(q.l4_offset), q.caplen == p.caplen)]]))
  end)

  it("ends with its hook", function()
    t.write("in.pcap", c.pcap { { c.T0, 1, vxlan }, { c.T0, 2, vxlan } })
    t.write("s.lua", "local old return { on_packet = function(p) if old then print(old.sport) end old = p:inner() end }")
    local r = t.run("moontap -l ./s.lua in.pcap", 4)
    assert.is_truthy(r.err:find("this packet is gone", 1, true))
  end)

  it("can be kept as a copy, and a copy has one", function()
    t.write("in.pcap", c.pcap { { c.T0, 1, vxlan }, { c.T0, 2, plain } })
    t.write("s.lua", [[local a, b
      return { on_packet = function(p)
          if a == nil then a, b = p:inner():copy(), p:copy() end
        end,
        on_stop = function()
          collectgarbage()
          print(a.sport, a:copy().sport, a:inner().sport, a.eth_src, b.sport, b.tunnel, b.tunnel_id, b:inner().sport, b:inner():copy().dport)
        end }]])
    assert.equal("99\t99\t99\t02:00:00:00:01:01\t40000\tvxlan\t7\t99\t80\n", t.run("moontap -l ./s.lua in.pcap").out)
  end)

  it("is the same for every script of a chain and for all packets of a batch", function()
    local file = {}
    for i = 1, 3000 do
      file[i] = { c.T0, i, i % 3 == 0 and plain or T.ethernet(0x0800, T.ipv4(4, T.ipv4(17, T.udp(53, "", i)))) }
    end
    t.write("in.pcap", c.pcap(file))
    t.write("a.lua", "local n = 0 return { on_packet = function(p) n = n + p:inner().sport end, on_stop = function() print(n) end }")
    t.write("b.lua", [[local n = 0
      return { on_batch = function(batch)
          local inner = {}
          for i = 0, batch.n - 1 do inner[i] = batch[i]:inner() end
          for i = 0, batch.n - 1 do n = n + inner[i].sport end
        end,
        on_stop = function() print(n) end }]])
    local sum = 0
    for i = 1, 3000 do
      sum = sum + (i % 3 == 0 and 5 or i)
    end
    local all = ("%d\n"):format(sum)
    assert.equal(all:rep(3), t.run("moontap -l ./a.lua -l ./b.lua -l ./a.lua in.pcap").out)
  end)

  it("follows p:truncate", function()
    local lines = hook({ vxlan }, [[local q = p:inner()
      p:truncate(60)
      print(p.caplen, p.dport, q.sport, tostring(q.src), p:inner().dport)
      q:truncate(52)
      print(q.caplen, p.tunnel, tostring(q.src), p:inner().dport)]])
    assert.same({ "60\t4789\t40000\t10.0.0.1\t4789", "52\tvxlan\t10.0.0.1\t4789" }, lines)
  end)

  it("follows p:edit, and can be edited", function()
    local lines = hook({ vxlan }, [[local q = p:inner()
      local e = q:edit()
      e.sport = 77
      print(q.sport, p:inner().sport, e.sport, p.sport, p:inner().src)
      p:edit().dport = 4000
      print(p.tunnel, q.sport, p:inner().sport)
      p:edit().dport = 8472
      print(p.tunnel, q.sport)]])
    assert.same({ "77\t77\t77\t40000\t10.0.0.1", "nil\t40000\t40000", "vxlan\t77" }, lines)
  end)

  it("has the DNS message of the inner packet", function()
    local query = "\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1"
    local frame = T.ethernet(0x0800, T.ipv4(47, T.gre(0, 0x0800, "", T.ipv4(17, T.udp(53, query)))))
    assert.same({ "nil\texample.com" }, hook({ frame }, "print(p:dns(), p:inner():dns().name)"))
  end)

  it("is counted by tables as a packet of its own", function()
    t.write("in.pcap", c.pcap { { c.T0, 1, vxlan }, { c.T0, 2, plain }, { c.T0, 3, vxlan } })
    t.write("s.lua", [[local outer = moontap.table { key = "flow", value = { n = "u32" } }
      local inner = moontap.table { key = "flow", value = { n = "u32" } }
      local function show(all, name)
        local list = {}
        for key, value in all:pairs() do list[#list + 1] = ("%s %s %d"):format(name, tostring(key), value.n) end
        table.sort(list)
        print(table.concat(list, "\n"))
      end
      return {
        on_packet = function(p)
          local o, i = outer[p], inner[p:inner()]
          o.n = o.n + 1
          i.n = i.n + 1
        end,
        on_stop = function() show(outer, "outer") show(inner, "inner") end }]])
    local r = t.sh "moontap -l ./s.lua in.pcap"
    assert.equal(0, r.code, r.err)
    assert.is_truthy(r.out:find("outer [^\n]*4789[^\n]* 2\n"), r.out)
    assert.is_truthy(r.out:find("inner [^\n]*:99[^\n]* 2\n"), r.out)
  end)
end)

describe("a field", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("is documented with type, absent value and meaning, each one", function()
    local out = hook({ T.ethernet(0x0800, T.ipv4(6, T.tcp {})) }, [[
      local packet = require "moontap.packet"
      local kinds = { integer = 1, number = 1, int64 = 1, boolean = 1, string = 1, address = 1, mac = 1 }
      local documented = {}
      for _, f in ipairs(packet.field_docs) do
        assert(kinds[f.type] and f.absent and f.text and not f.text:find "%.$" and not documented[f.name], f.name)
        documented[f.name] = true
      end
      for name in pairs(packet.fields) do print(name, documented[name]) end]])
    assert.is_true(#out > 60)
    for _, line in ipairs(out) do
      assert.is_truthy(line:find("\ttrue$"), line)
    end
  end)

  it("is absent as it is documented, in a packet of nothing", function()
    local out = hook({ { "", len = 60 } }, [[
      for _, f in ipairs(require("moontap.packet").field_docs) do
        local v = p[f.name]
        local shown = v == "" and '""' or tostring(v)
        if f.absent ~= "never absent" and shown ~= f.absent then print(f.name, shown, f.absent) end
      end]])
    assert.same({}, out)
  end)

  it("of TCP: sequence numbers, window, header length", function()
    local frame = T.ethernet(0x0800, T.ipv4(6, T.tcp { seq = 0xfedcba98, ack = 0x80000001, window = 512, flags = 0x12, options = "\2\4\5\180" }))
    local names = "tcp_seq tcp_ack tcp_window tcp_header_len tcp_flags l3_offset l4_offset payload_len"
    assert.equal("4275878552 2147483649 512 24 18 14 34 0", fields(frame, names))
    -- the IP packet ends in the middle of the header: what follows is padding
    local short = T.ethernet(0x0800, T.ipv4(6, T.tcp { seq = 5, ack = 6, window = 7 }:sub(1, 10)) .. ("\255"):rep(16))
    assert.equal("5 0 0 0 0 14 34 0", fields(short, names))
  end)

  it("of IP: identification, DSCP, ECN, fragments", function()
    local names = "ip_len ip_id dscp ecn dont_fragment is_fragment fragment_offset more_fragments flow_label"
    assert.equal("20 300 46 1 true false 0 false 0", fields(T.ethernet(0x0800, T.ipv4(59, "", { id = 300, tos = 185, fragment = 0x4000 })), names))
    assert.equal("28 7 0 0 false true 1480 true 0", fields(T.ethernet(0x0800, T.ipv4(17, "12345678", { fragment = 0x2000 + 185 })), names))
    assert.equal("0 0 46 1 false false 0 false 74565", fields(T.ethernet(0x86dd, T.ipv6(59, "", { tos = 185, label = 0x12345 })), names))
    local fragment = "\44\0\1\4\0\0\0\0" .. "\17\0\5\185\1\2\3\4" .. "12345678" -- behind destination options
    assert.equal("64 16909060 0 0 false true 1464 true 0", fields(T.ethernet(0x86dd, T.ipv6(60, fragment)), names))
    local atomic = "\17\0\0\0\1\2\3\4" .. T.udp(53, "")
    assert.equal("56 0 0 0 false false 0 false 0", fields(T.ethernet(0x86dd, T.ipv6(44, atomic)), names))
  end)

  it("of ICMP: type, code, identifier and sequence number of an echo", function()
    local names = "is_icmp icmp_type icmp_code icmp_id icmp_seq"
    assert.equal("true 8 0 258 3", fields(T.ethernet(0x0800, T.ipv4(1, "\8\0\0\0\1\2\0\3")), names))
    assert.equal("true 3 1 0 0", fields(T.ethernet(0x0800, T.ipv4(1, "\3\1\0\0\1\2\0\3")), names))
    assert.equal("true 129 0 258 3", fields(T.ethernet(0x86dd, T.ipv6(58, "\129\0\0\0\1\2\0\3")), names))
    assert.equal("true 8 0 0 0", fields(T.ethernet(0x0800, T.ipv4(1, "\8\0\0\0\1\2")), names))
    assert.equal("false 0 0 0 0", fields(T.ethernet(0x0800, T.ipv4(17, "\8\1\0\0\1\2\0\3")), names))
  end)

  it("of ARP: operation and addresses", function()
    local arp = "\0\1\8\0\6\4\0\1" .. "\2\0\0\0\0\1" .. "\10\0\0\1" .. "\0\0\0\0\0\0" .. "\10\0\0\2"
    local names = "is_arp arp_op arp_src arp_dst arp_src_mac arp_dst_mac l3_offset is_ip"
    assert.equal("true 1 10.0.0.1 10.0.0.2 02:00:00:00:00:01 00:00:00:00:00:00 14 false", fields(T.ethernet(0x0806, arp), names))
    assert.equal("true 1 10.0.0.1 nil 02:00:00:00:00:01 00:00:00:00:00:00 14 false", fields(T.ethernet(0x0806, arp:sub(1, 26)), names))
    assert.equal("true 1 nil nil nil nil 14 false", fields(T.ethernet(0x0806, arp:sub(1, 8)), names))
    assert.equal("false 0 nil nil nil nil 14 true", fields(T.ethernet(0x0800, T.ipv4(59, arp)), names))
    local other = "\0\7\8\0\1\4\0\2" .. "\1" .. "\10\0\0\1" .. "\2" .. "\10\0\0\2" -- hardware addresses of one byte
    assert.equal("true 2 10.0.0.1 10.0.0.2 nil nil 14 false", fields(T.ethernet(0x0806, other), names))
  end)

  it("with an Ethernet address compares with text and is a key", function()
    local lines = hook({ T.ethernet(0x0800, T.ipv4(59, "")) }, [[
      local seen = { [p.eth_src_key] = 1 }
      print(p.eth_src == "02:00:00:00:00:01", p.eth_src == "02-00-00-00-00-01", p.eth_src == p.eth_dst, p.eth_src == "nonsense",
        p.eth_dst == moontap.mac "020000000002", p.eth_src == nil, seen["\2\0\0\0\0\1"], moontap.key_text(p.eth_dst_key),
        p.eth_src.is_multicast, moontap.mac("ff:ff:ff:ff:ff:ff").is_broadcast, "from " .. p.eth_src)]])
    assert.same({ "true\ttrue\tfalse\tfalse\ttrue\tfalse\t1\t02:00:00:00:00:02\tfalse\ttrue\tfrom 02:00:00:00:00:01" }, lines)
    t.write("s.lua", "moontap.mac 'ab:cd' return { on_packet = function() end }")
    assert.is_truthy(t.sh("moontap -l ./s.lua in.pcap").err:find("'ab:cd' is no Ethernet address", 1, true))
  end)

  it("with the name of another tool gets a suggestion", function()
    for name, ours in pairs { vni = "tunnel_id", src_mac = "eth_src", frag_offset = "fragment_offset", seq = "tcp_seq" } do
      t.write("in.pcap", c.pcap { { c.T0, 1, c.udp {} } })
      local r = t.sh(("moontap -e 'p.%s' in.pcap"):format(name))
      assert.is_truthy(r.err:find(("did you mean '%s'?"):format(ours), 1, true), r.err)
    end
  end)

  it("of other link types: NFLOG, IP over InfiniBand, FDDI, loopback with an Ethernet type", function()
    local ip = T.ipv4(17, T.udp(53, "", 1234))
    local function tlv(kind, value)
      return c.uint(4 + #value, 2, "le") .. c.uint(kind, 2, "le") .. value .. ("\0"):rep(-#value % 4)
    end
    for linktype, head in pairs { [239] = "\2\0\0\5" .. tlv(1, "\0\0\1\0") .. tlv(10, "abc\0") .. c.uint(4 + #ip, 2, "le") .. "\9\0",
      [242] = ("\0"):rep(40) .. "\8\0\0\0", [10] = "\80" .. ("\1"):rep(12) .. "\170\170\3\0\0\0\8\0", [0] = "\15\0\8\0" } do
      assert.equal("10.0.0.1 1234 0", fields(head .. ip, "src sport payload_len", { linktype = linktype }))
    end
  end)

  it("finds tunnels in what -F left, whatever stood between", function()
    local inside = T.ipv4(6, T.tcp { sport = 99 }, { src = "\192\168\7\1" })
    local tunnel = T.ethernet(0x0800, T.ipv4(17, T.udp(4789, T.vxlan(5, T.inner_ethernet(0x0800, inside)))))
    local file = {}
    for i = 0, 4999 do
      local other = i % 2 == 0 and c.udp { payload = ("x"):rep(i % 40) } or "\2\0\0\0\0\2\2\0\0\0\0\1\8\6"
      file[i + 1] = { c.T0, i, i % 3 == 0 and tunnel or other }
    end
    t.write("in.pcap", c.pcap(file))
    t.write("s.lua", [[local n, found = 0, 0 return {
      on_packet = function(p) n = n + 1 if p:inner().src == "192.168.7.1" then found = found + 1 end end,
      on_stop = function() print(n, found) end }]])
    assert.equal("1667\t1667\n", t.run("moontap -F 'udp port 4789' -l ./s.lua in.pcap").out)
  end)
end)
