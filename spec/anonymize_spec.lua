-- SPDX-License-Identifier: BSD-2-Clause
-- The recipe anonymize, judged by tshark, by AES of OpenSSL and by traceanon.
local c = require("support.capture")
local frames = require("support.tunnels")
local t = require("support.moontap")

local KEY = "abcdefghijklmnopqrstuvwxyz012345"
local be = frames.be
local judge = os.getenv("PWD") .. "/spec/support/cryptopan"

local function setup()
  t.fresh()
  t.write("key", KEY)
  t.run("chmod 600 key")
end

-- Packets through the recipe: a list of the bytes that come out.
local function through(packets, options)
  local list = {}
  for i, p in ipairs(packets) do
    list[i] = type(p) == "table" and p or { 1000 + i, 0, p }
  end
  c.write(t.path("in.pcap"), c.pcap(list))
  t.run("moontap -q --overwrite -l anonymize,key=key" .. (options or "") .. " -o out.pcap in.pcap")
  local bytes, out, at = t.read("out.pcap"), {}, 25
  local function u32(i)
    local a, b, d, e = bytes:byte(i, i + 3)
    return a + b * 256 + d * 65536 + e * 16777216
  end
  while at < #bytes do
    local n = u32(at + 8)
    out[#out + 1] = { bytes:sub(at + 16, at + 15 + n), wire = u32(at + 12) }
    at = at + 16 + n
  end
  return out
end

local function one(packet, options)
  local out = through({ packet }, options)[1]
  return out[1], out.wire
end

local ADDRESSES = { "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "eth.src", "eth.dst", "arp.src.hw_mac", "arp.dst.hw_mac",
  "arp.src.proto_ipv4", "arp.dst.proto_ipv4", "icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address",
  "icmpv6.opt.linkaddr", "icmpv6.opt.prefix", "sll.src.eth", "icmp.redir_gw", "ip.rec_rt", "ip.src_rt",
  "ipv6.routing.src.addr", "teredo.orig.addr" }
local CHECKSUMS = { "ip", "tcp", "udp", "icmp", "icmpv6", "igmp", "sctp" }

-- Unicast addresses that tshark finds anywhere in a capture, and the number of wrong checksums; nil: it can not read it.
local function look(file)
  local fields = {}
  for _, name in ipairs(ADDRESSES) do fields[#fields + 1] = "-e " .. name end
  for _, name in ipairs(CHECKSUMS) do fields[#fields + 1] = "-e " .. name .. ".checksum.status" end
  local r = t.sh(("tshark -n -r '%s' -T fields -E occurrence=a -E separator=/t -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE"
    .. " -o udp.check_checksum:TRUE %s 2>/dev/null"):format(file, table.concat(fields, " ")))
  if r.code ~= 0 and r.out == "" then return nil end
  local found, wrong = {}, 0
  for line in r.out:gmatch("[^\n]+") do
    local column = 0
    for cell in (line .. "\t"):gmatch("([^\t]*)\t") do
      column = column + 1
      for value in cell:gmatch("[^,]+") do
        if column > #ADDRESSES then
          wrong = wrong + ((value == "0" or value == "Bad") and 1 or 0)
        else
          local mac = value:match("^(%x%x):%x%x:%x%x:%x%x:%x%x:%x%x$")
          local first = tonumber(value:match("^(%d+)%.%d+%.%d+%.%d+$"))
          local group = (mac and tonumber(mac, 16) % 2 == 1) or (first and first >= 224 and first < 240) or value:match("^ff%x%x:")
          if not group and value ~= "00:00:00:00:00:00" and value ~= "0.0.0.0" and value ~= "255.255.255.255" and value ~= "::" then
            found[value] = true
          end
        end
      end
    end
  end
  return found, wrong
end

describe("anonymize", function()
  before_each(setup)
  after_each(t.clean)

  it("names what is wrong with arguments and keys, and says when there is nothing", function()
    t.refuses("moontap -l anonymize f/web.pcap", 1, "argument key: expected key=FILE")
    t.refuses("moontap -l anonymize,key=nokey f/web.pcap", 1, "nokey: No such file")
    t.run("cp key open; chmod 644 open; head -c 31 key >short; chmod 600 short")
    t.refuses("moontap -l anonymize,key=open f/web.pcap", 1, "open: others may read or write it (mode 644): chmod 600 it")
    t.refuses("moontap -l anonymize,key=short f/web.pcap", 1, "short: expected 32 bytes, found 31")
    t.refuses("moontap -l anonymize,key=key,payloads=cut f/web.pcap", 1, "unknown argument 'payloads'", "key, mac, payload, ports")
    for argument, words in pairs { payload = "cut, zero, keep", mac = "hide, oui, keep", ports = "keep, hide", tcp_times = "hide, keep" } do
      t.refuses(("moontap -l anonymize,key=key,%s=some f/web.pcap"):format(argument), 1, argument .. ": expected " .. words, "found some")
    end
    t.refuses("moontap -l anonymize,key=key,round=-1 f/web.pcap", 1, "argument round: expected 0")
    assert.is_truthy(t.run("moontap -l anonymize,help").out:find("tcp_times", 1, true))
    c.write(t.path("empty.pcap"), c.pcap {})
    assert.equal("no packets\n", t.run("moontap -l anonymize,key=key empty.pcap").out)
  end)

  it("reports what was kept, changed and cut", function()
    local r = t.json("moontap --json -l anonymize,key=key -o o.pcap f/web.pcap")
    local a = r.scripts.anonymize
    assert.same({ r.packets, r.bytes }, { a.packets, a.bytes })
    assert.equal(a.packets, a.whole + a.cut.payload)
    local left = 0
    for _, n in ipairs(t.field("o.pcap", "frame.cap_len")) do left = left + n end
    assert.equal(a.bytes - left, a.cut_bytes.payload)
    assert.equal(a.packets, a.headers.ethernet)
    local text = t.run("moontap --overwrite -l anonymize,key=key -o o.pcap f/web.pcap").out
    assert.is_truthy(text:find("anonymized 169 packets: " .. a.whole .. " kept whole", 1, true), text)
  end)

  it("agrees with AES of OpenSSL and with traceanon on every address", function()
    t.run("moontap -q -l anonymize,key=key -o o.pcap f/web.pcap")
    for _, family in ipairs { "ip", "ipv6" } do
      for _, side in ipairs { "src", "dst" } do
        local field = family .. "." .. side
        local asked, got = t.field("f/web.pcap", field, family), t.field("o.pcap", field, family)
        t.write("asked", table.concat(asked, "\n"))
        local want = {}
        for line in t.run(judge .. " key <asked").out:gmatch("[^\n]+") do want[#want + 1] = line end
        assert.is_true(#want > 50)
        assert.same(want, got)
        if family == "ip" and t.sh("command -v traceanon").code == 0 then
          t.run("traceanon -s -d -f key pcapfile:f/web.pcap pcapfile:theirs.pcap")
          assert.same(t.field("theirs.pcap", field, family), got)
        end
      end
    end
  end)

  it("leaves no unicast address of any real capture, and no wrong checksum", function()
    local dir, why = t.corpus()
    if not dir then return pending(why) end
    local n = 0
    for file in t.run("find '" .. dir .. "/real' -type f | sort").out:gmatch("[^\n]+") do
      local r = t.sh(("moontap -q --overwrite -l anonymize,key=key -o o.pcapng '%s'"):format(file))
      assert.is_true(r.code == 0 or r.code == 2, file .. ": " .. r.err)
      local before = look(file)
      local after, wrong = look("o.pcapng")
      if before and after then
        n = n + 1
        assert.equal(0, wrong, file)
        for address in pairs(after) do
          assert.is_nil(before[address], file .. ": " .. address)
        end
      end
    end
    assert.is_true(n > 50)
  end)

  for turns = 1, 2 do
    it(turns .. " anonymizers: an address that was looked up before the script runs is Crypto-PAn's", function()
      t.generate("d", "--packets 60000 --files 2 --snaplen 60 --dns")
      local r = t.run(("moontap -q -l %s/spec/support/address_notes.lua,turns=%d d/*"):format(os.getenv("PWD"), turns))
      assert.equal("many, ahead, 0 differ\n", r.out)
    end)
  end

  it("keeps conversations", function()
    t.run("moontap -q -l anonymize,key=key,ports=hide -o o.pcap f/web.pcap")
    for _, kind in ipairs { "ip", "ipv6", "tcp", "udp", "eth" } do
      local counts = {}
      for i, file in ipairs { "f/web.pcap", "o.pcap" } do
        counts[i] = {}
        for frames_of in t.run(("tshark -n -q -r %s -z conv,%s 2>/dev/null"):format(file, kind)).out:gmatch("<%->%s+%S+%s+(%d+)") do
          counts[i][#counts[i] + 1] = tonumber(frames_of)
        end
        table.sort(counts[i])
      end
      assert.is_true(#counts[1] > 0)
      assert.equal(#counts[1], #counts[2], kind)
    end
  end)

  it("walks through every tunnel that the decoder knows, and leaves nothing of the inner packet", function()
    local script = [[return { on_packet = function(p) local i = p:inner()
      print(p.tunnel, i and i.src or "-", i and i.dst or "-", i and i.proto or "-") end }]]
    t.write("s.lua", script)
    local list = {}
    for i, f in ipairs(frames.frames) do list[i] = { 1000 + i, 0, f[4] } end
    through(list)
    local function lines(file)
      local l = {}
      for line in t.run("moontap -q -l ./s.lua " .. file).out:gmatch("[^\n]+") do l[#l + 1] = line end
      return l
    end
    local before, after = lines("in.pcap"), lines("out.pcap")
    local gone = {}
    for i, f in ipairs(frames.frames) do
      if before[i]:match("^%S+") ~= after[i]:match("^%S+") then
        gone[#gone + 1] = f[1]
      else
        assert.equal(before[i]:match("%S+$"), after[i]:match("%S+$"), f[1])
        local address = before[i]:match("^%S+%s+(%S+)")
        assert.is_true(address == "-" or address == "nil" or after[i]:match("^%S+%s+(%S+)") ~= address, f[1])
      end
    end
    assert.same({ "GRE with source routes" }, gone) -- they are addresses
    local found, wrong = look("out.pcap")
    assert.equal(0, wrong)
    for address in pairs(look("in.pcap")) do assert.is_nil(found[address], address) end
    for i, out in ipairs(through(list)) do
      for _, bytes in ipairs { "\10\0\0\1", "\10\0\0\2", "\192\168\7\1", "\192\168\7\2", "\32\1\13\184\0", "\2\0\0\0\0\1", "\2\0\0\0\1\2" } do
        assert.is_nil(out[1]:find(bytes, 1, true), frames.frames[i][1])
      end
    end
  end)

  it("cuts what it does not know", function()
    local secret = "SECRET!!"
    local cases = {
      payload = frames.ethernet(0x0800, frames.ipv4(17, frames.udp(9, secret))),
      padding = frames.ethernet(0x0800, frames.ipv4(17, frames.udp(9, "")) .. secret),
      type = frames.ethernet(0x88cc, secret),
      llc = frames.ethernet(8 + 3, "\66\66\3" .. secret),
      protocol = frames.ethernet(0x0800, frames.ipv4(253, secret)),
      fragment = frames.ethernet(0x0800, frames.ipv4(6, secret .. secret .. secret, { fragment = 3 })),
      options = frames.ethernet(0x0800, frames.ipv4(17, frames.udp(9, ""), { options = "\7\11\12" .. secret .. "\0" })),
      tcp_option = frames.ethernet(0x0800, frames.ipv4(6, frames.tcp { options = "\253\10" .. secret .. "\1\1" })),
      lying_option = frames.ethernet(0x0800, frames.ipv4(6, frames.tcp { options = "\253\40" .. secret .. "\1\1" })),
      echo = frames.ethernet(0x0800, frames.ipv4(1, "\8\0\0\0\0\1\0\1" .. secret)),
      icmp = frames.ethernet(0x0800, frames.ipv4(1, "\44\0\0\0" .. secret)),
      quote = frames.ethernet(0x0800, frames.ipv4(1, "\3\3\0\0\0\0\0\0" .. frames.ipv4(17, frames.udp(9, secret)))),
      extension = frames.ethernet(0x86dd, frames.ipv6(60, "\17\1\5\12" .. secret .. "\0\0\0\0" .. frames.udp(9, ""))),
      routing = frames.ethernet(0x86dd, frames.ipv6(43, "\17\2\0\1\0\0\0\0" .. secret .. secret .. frames.udp(9, ""))),
      mobility = frames.ethernet(0x86dd, frames.ipv6(135, "\59\1\0\0\0\0\0\0" .. secret)),
      router = frames.ethernet(0x86dd, frames.ipv6(58, "\134\0\0\0\64\0\0\0\0\0\0\0\0\0\0\0" .. "\25\3\0\0\0\0\0\0" .. secret .. secret)),
      geneve = frames.ethernet(0x0800, frames.ipv4(17, frames.udp(6081, frames.geneve(3, 0x0800, "\1\2\3\2" .. secret, frames.ipv4(6, frames.tcp {}))))),
      sctp = frames.ethernet(0x0800, frames.ipv4(132, "\0\1\0\2\0\0\0\0\0\0\0\0\1\0\0\20" .. secret .. secret)),
      version = frames.ethernet(0x0800, "\37" .. secret .. secret .. secret),
      short = frames.ethernet(0x0800, "\69\0\0\60\0\0\0\0\64\6" .. secret),
      arp = frames.ethernet(0x0806, "\0\1\8\0\8\4\0\1" .. secret .. secret .. secret),
    }
    for _, policy in ipairs { "", ",payload=zero", ",payload=keep" } do
      for name, frame in pairs(cases) do
        local out, wire = one(frame, policy)
        local kept = policy == ",payload=keep" and (name == "payload" or name == "echo" or name == "quote")
        assert.equal(kept, out:find(secret, 1, true) ~= nil, name .. policy)
        assert.equal(#frame, wire, name)
        if policy == ",payload=zero" then assert.equal(#frame, #out, name) end
        assert.is_nil(out:find("\2\0\0\0\0\1", 1, true), name)
      end
    end
    -- of a link type that is not known nothing is left
    c.write(t.path("x.pcap"), c.pcap { linktype = 147, { 1000, 0, secret } })
    t.run("moontap -q -l anonymize,key=key -o x.out x.pcap")
    assert.is_nil(t.read("x.out"):find(secret, 1, true))
    assert.equal(1, t.count("x.out"))
  end)

  it("changes ARP, neighbour discovery, redirects and groups", function()
    local a, b = "\10\1\2\3", "\10\1\2\4"
    local arp = one(frames.ethernet(0x0806, "\0\1\8\0\6\4\0\1\2\0\0\0\0\1" .. a .. "\0\0\0\0\0\0" .. b))
    assert.equal("\0\1\8\0\6\4\0\1", arp:sub(15, 22))
    assert.equal(arp:sub(7, 12), arp:sub(23, 28)) -- the sender's pseudonym is the same on both layers
    assert.equal("\0\0\0\0\0\0", arp:sub(33, 38))
    assert.is_true(arp:sub(29, 32) ~= a and arp:sub(29, 31) == arp:sub(39, 41) and arp:sub(39, 42) ~= b)
    assert.equal(2, arp:byte(7) % 4) -- local, no group
    local target = "\32\1\13\184" .. ("\0"):rep(11) .. "\1"
    local ns = one("\51\51\255\0\0\9" .. "\2\0\0\0\0\1\134\221" .. frames.ipv6(58, "\135\0\0\0\1\2\3\4" .. target .. "\1\1\2\0\0\0\0\1"))
    assert.equal(ns:sub(7, 12), ns:sub(81, 86))
    assert.equal(ns:sub(23, 38), ns:sub(63, 78)) -- source and target were the same
    assert.equal("\51\51\255", ns:sub(1, 3))
    assert.is_true(ns:sub(4, 6) ~= "\0\0\9")
    local prefix = "\32\1\13\184\0\1\0\2" .. ("\0"):rep(8)
    local ra = one(frames.ethernet(0x86dd, frames.ipv6(58, "\134\0\0\0\64\0\7\8\0\0\0\0\0\0\0\0" .. "\3\4\64\192\0\0\0\9\0\0\0\8\0\0\0\0" .. prefix)))
    assert.is_true(ra:sub(87, 94) ~= prefix:sub(1, 8))
    assert.equal(("\0"):rep(8), ra:sub(95, 102))
    local redirect = one(frames.ethernet(0x0800, frames.ipv4(1, "\5\1\0\0" .. a .. frames.ipv4(6, frames.tcp { sport = 7 }, { src = a, dst = b }))))
    assert.is_nil(redirect:find(a, 1, true))
    assert.equal(redirect:sub(39, 42), redirect:sub(55, 58))
    -- the MAC address of a group that everybody has is also that of others
    local shared = one("\1\0\94\0\0\5" .. "\2\0\0\0\0\1\8\0" .. frames.ipv4(17, frames.udp(9, ""), { dst = "\239\0\0\5" }))
    assert.equal("\1\0\94", shared:sub(1, 3))
    assert.is_true(shared:sub(4, 6) ~= "\0\0\5")
    local function group(address) return one(frames.ethernet(0x0800, frames.ipv4(17, frames.udp(9, ""), { dst = address }))):sub(31, 34) end
    assert.equal("\224\0\0\251", group("\224\0\0\251"))
    assert.equal("\239\255\255\250", group("\239\255\255\250"))
    assert.equal("\255\255\255\255", group("\255\255\255\255"))
    assert.is_true(group("\233\252\1\1") ~= "\233\252\1\1" and group("\233\252\1\1"):byte() >= 224 and group("\233\252\1\1"):byte() < 240)
    local out = through({ frames.ethernet(0x0800, frames.ipv4(17, frames.udp(9, ""), { dst = "\127\0\0\1" })) })[1][1]
    assert.is_true(out:sub(31, 34) ~= "\127\0\0\1")
  end)

  it("has policies for MAC addresses, ports, TCP times and times", function()
    local stamps = "\8\10\0\1\2\3\0\4\5\6\1\1"
    local frame = frames.ethernet(0x0800, frames.ipv4(6, frames.tcp { sport = 5555, dport = 443, options = stamps }))
    assert.equal(("\1"):rep(12), one(frame):sub(55, 66))
    assert.equal(stamps, one(frame, ",tcp_times=keep"):sub(55, 66))
    assert.equal("\2\0\0", one(frame, ",mac=oui"):sub(7, 9))
    assert.is_true(one(frame, ",mac=oui"):sub(10, 12) ~= "\0\0\1")
    assert.equal("\2\0\0\0\0\1", one(frame, ",mac=keep"):sub(7, 12))
    assert.equal(be(5555, 2) .. be(443, 2), one(frame):sub(35, 38))
    local hidden = one(frame, ",ports=hide")
    assert.is_true(hidden:sub(35, 36) ~= be(5555, 2) and hidden:sub(37, 38) ~= be(443, 2))
    assert.equal(hidden, one(frame, ",ports=hide"))
    -- one to one
    local list, seen = {}, {}
    for i = 1, 2000 do list[i] = frames.ethernet(0x0800, frames.ipv4(17, frames.udp(i, "", i))) end
    for _, out in ipairs(through(list, ",ports=hide")) do
      local port = out[1]:sub(35, 36)
      assert.equal(port, out[1]:sub(37, 38))
      assert.is_nil(seen[port])
      seen[port] = true
    end
    through({ { 1000, 600000, frame }, { 1007, 1, frame } }, ",shift=-100.5,round=2")
    assert.same({ "900.000000000", "906.000000000" }, t.field("out.pcap", "frame.time_epoch"))
  end)

  it("writes no names: of files, interfaces, comments, sources", function()
    local o = "le"
    local frame = frames.ethernet(0x0800, frames.ipv4(17, frames.udp(9, "")))
    c.write(t.path("SECRET.pcapng"), c.section(o, { { 2, "SECRET hardware" }, { 3, "SECRET os" }, { 1, "SECRET comment" } })
      .. c.interface(o, { name = "SECRET0", description = "SECRET card" })
      .. c.enhanced(o, 0, 1e6, frame, { { 1, "SECRET remark" }, { 2, c.uint(1, 4, o) } })
      .. c.block(o, 4, "\1\0\10\0\10\0\0\1SECRET\0\0\0\0\0\0"))
    t.run("moontap -q -l anonymize,key=key -o o.pcapng SECRET.pcapng; mkdir d")
    t.run("moontap -q -l anonymize,key=key --format pcapng -B d -G 60 --name '%{source}-%{seq}' SECRET.pcapng")
    assert.is_nil(t.read("o.pcapng"):find("SECRET", 1, true))
    assert.equal(1, t.count("o.pcapng"))
    assert.equal("", t.run("grep -rl SECRET d || true").out)
    for _, name in ipairs(t.tree("d")) do assert.is_nil(name:find("SECRET", 1, true), name) end
    -- without the recipe they are there
    t.run("moontap -q -o plain.pcapng SECRET.pcapng")
    assert.is_truthy(t.read("plain.pcapng"):find("SECRET0", 1, true))
  end)

  it("drops what a private script did not finish, whatever is asked for", function()
    t.write("s.lua", "return { private = true, on_packet = function(p) if p.number % 2 == 0 then error 'no' end end }")
    for _, rule in ipairs { "keep", "drop" } do
      local r = t.sh("moontap -q --json --overwrite --on-script-error " .. rule .. " -l ./s.lua -o o.pcap f/web.pcap")
      assert.equal(4, r.code, r.err)
      assert.equal(85, t.count("o.pcap"))
    end
    t.write("s.lua", "return { private = function() return 'yes' end }")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "private must give")
  end)

  it("gives the same live as from a file", function()
    local net, why = t.netns(1)
    if not net then return pending(why) end
    t.run(net.left .. " sysctl -qw net.ipv6.conf.all.disable_ipv6=1; " .. net.right .. " sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    local list = {}
    for i = 1, 200 do
      list[i] = { 1000, i, frames.ethernet(0x0800, frames.ipv4(17, frames.udp(2000, "payload"), { id = i, src = "\10\5\1" .. string.char(i), dst = "\10\6\1\9" })) }
    end
    c.write(t.path("in.pcap"), c.pcap(list))
    t.run("moontap -q -l anonymize,key=key -o file.pcap in.pcap")
    t.run(([[%s moontap -q -F 'udp port 2000' -l anonymize,key=key -c 200 -o live.pcap -i veth0 & pid=$!
      i=0; until [ "$(%s cat /proc/net/packet | wc -l)" -gt 1 ] || [ $i -gt 200 ]; do i=$((i+1)); sleep 0.02; done
      sleep 0.2; %s tcpreplay -q --pps=2000 -i veth0 in.pcap >/dev/null 2>&1; (sleep 5; kill -INT $pid 2>/dev/null) & wait $pid]]):format(
      net.left, net.left, net.right))
    local fields = { "frame.len", "frame.cap_len", "eth.src", "eth.dst", "ip.src", "ip.dst", "ip.id", "ip.checksum", "udp.checksum" }
    assert.same(t.packets("file.pcap", fields), t.packets("live.pcap", fields))
    assert.equal(200, t.count("live.pcap"))
  end)
end)
