-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

-- Runs moontap with a script of this text; returns {code, out, err}.
local function script(text, options, code)
  t.write("s.lua", text)
  return t.run("moontap -l ./s.lua " .. (options or "f/web.pcap"), code)
end

-- A packet every `step` seconds.
local function make(n, step)
  local file = {}
  for i = 0, n - 1 do
    local at = i * step
    file[i + 1] = { c.T0 + math.floor(at), at % 1 * 1e6, c.udp { id = i, sport = i, payload = "number " .. i } }
  end
  return t.write("in.pcap", c.pcap(file))
end

describe("script", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("hook", function()
    it("on_packet: false drops, nothing and true keep", function()
      make(9, 1)
      t.write("s.lua", [[local n = 0
        return { on_packet = function(p) n = n + 1 if n % 3 == 0 then return false elseif n % 3 == 1 then return true end end }]])
      local r = t.balances(t.json("moontap --json -o out.pcap -l ./s.lua in.pcap"))
      assert.equal(3, r.script_dropped)
      assert.equal(6, r.kept)
      assert.equal(6, t.count("out.pcap"))
    end)

    it("on_packet: a string routes to the output of that name instead of the default", function()
      make(10, 1)
      script([[return { on_packet = function(p) if p.sport % 2 == 1 then return "odd" end end }]], "-o even.pcap --out odd=odd.pcap in.pcap")
      assert.same({ "1", "3", "5", "7", "9" }, t.field("odd.pcap", "udp.srcport"))
      assert.same({ "0", "2", "4", "6", "8" }, t.field("even.pcap", "udp.srcport"))
    end)

    it("on_start knows sources and arguments", function()
      t.write("s.lua", [[return { args = { greeting = { default = "hello", help = "what to say" } },
        on_start = function(run) print(run.args.greeting, #run.sources, run.sources[1].name, run.sources[2].name) end }]])
      local r = t.run("moontap -l ./s.lua,greeting=hi f/web.pcap,name=one f/ping.ns.pcap,name=two")
      assert.equal("hi\t2\tone\ttwo\n", r.out)
    end)

    it("on_batch sees every packet, drops and routes", function()
      make(3000, 0.001)
      script([[local seen = 0
        return {
          on_batch = function(batch)
            for i = 0, batch.n - 1 do
              local p = batch[i]
              seen = seen + 1
              if p.sport % 3 == 0 then batch:drop(i) elseif p.sport % 3 == 1 then batch:route(i, "one") end
            end
          end,
          on_stop = function() print(seen) end,
        }]], "-o two.pcap --out one=one.pcap in.pcap")
      assert.equal(1000, t.count("one.pcap"))
      assert.equal(1000, t.count("two.pcap"))
      for _, port in ipairs(t.field("two.pcap", "udp.srcport")) do
        assert.equal(2, tonumber(port) % 3)
      end
    end)

    it("on_batch: every packet has its own number, and copies and inner packets have it too", function()
      make(2100, 0.001)
      assert.equal("2100\n", script([[local n = 0
        return { on_batch = function(batch)
            local first = batch[0]
            for i = 0, batch.n - 1 do
              n = n + 1
              assert(batch[i].number == n and batch[i]:inner().number == n and first.number == n - i)
              assert(n < 2000 or batch[i]:copy().number == n)
            end
          end, on_stop = function() print(n) end }]], "in.pcap").out)
    end)

    it("on_interval: the last call is at the last packet that was looked at, also if a script stops", function()
      make(100, 0.1)
      assert.equal("2.5\n", script([[return { interval = 100, on_packet = function(p) if p.number == 26 then moontap.stop() end end,
        on_interval = function(now, last) print(("%.1f"):format(now - 1.7e9)) end }]], "in.pcap").out)
      assert.equal("1.9\n", script([[return { interval = 100, on_interval = function(now, last) print(("%.1f"):format(now - 1.7e9)) end }]], "-c 20 in.pcap").out)
    end)

    it("on_interval is called at each boundary, and once at the end with last", function()
      make(10, 0.5)
      local r = script([[local n = 0
        return { interval = 1,
          on_packet = function(p) n = n + 1 end,
          on_interval = function(now, last) print(("%d"):format(now), n, last) n = 0 end }]], "in.pcap")
      local lines = {}
      for line in r.out:gmatch("[^\n]+") do lines[#lines + 1] = line end
      assert.equal(5, #lines)
      assert.same({ "1700000001\t2\tfalse", "1700000002\t2\tfalse", "1700000003\t2\tfalse", "1700000004\t2\tfalse" },
        { unpack(lines, 1, 4) })
      assert.is_truthy(lines[5]:find("\t2\ttrue$"))
    end)

    it("on_interval: every boundary of a gap is a call, but a gap of over 1,000 is one", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 50, 0, c.udp {} } })
      local count = [[local n = 0 return { interval = 1,
        on_interval = function(now, last) if not last then n = n + 1 end end, on_stop = function() print(n) end }]]
      assert.equal("50\n", script(count, "in.pcap").out)
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 5000, 0, c.udp {} } })
      assert.equal("1\n", script(count, "in.pcap").out)
    end)

    it("on_interval: interval may be a function of the arguments", function()
      make(10, 0.5)
      local r = script([[return { args = { every = { default = 1, help = "seconds" } },
        interval = function(args) return args.every end,
        on_interval = function(now, last) if not last then print(("%d"):format(now)) end end }]], "in.pcap")
      assert.equal("1700000001\n1700000002\n1700000003\n1700000004\n", r.out)
      r = t.run("moontap -l ./s.lua,every=2 in.pcap")
      assert.equal("1700000002\n1700000004\n", r.out)
    end)

    it("on_interval comes before the packets of the new interval, in any batch", function()
      make(3000, 0.01)
      local r = script([[local n, counts = 0, {}
        return { interval = 10,
          on_batch = function(batch) n = n + batch.n end,
          on_interval = function(now) counts[#counts + 1] = n n = 0 end,
          on_stop = function() print(table.concat(counts, " ")) end }]], "in.pcap")
      assert.equal("1000 1000 1000\n", r.out)
    end)

    it("rotate closes the segment before its packet", function()
      make(10, 1)
      script([[return { rotate = function(segment, p) return segment.packets == 4 end }]], "-B out in.pcap")
      local counts = {}
      for i, line in ipairs(t.json_lines("out/manifest.jsonl")) do counts[i] = line.packets end
      assert.same({ 4, 4, 2 }, counts)
    end)

    it("on_segment_open names, on_segment_close sees the manifest line", function()
      make(4, 1)
      local r = script([[return {
        rotate = function(segment) return segment.packets == 2 end,
        on_segment_open = function(s) return ("n%d.pcap"):format(s.n) end,
        on_segment_close = function(s) print(s.file, s.packets, s.seq) end }]], "-B out in.pcap")
      assert.equal("n1.pcap\t2\t1\nn2.pcap\t2\t2\n", r.out)
    end)

    it("on_block sees all encoded bytes, before the codec", function()
      local r = script([[local n = 0 return {
        on_block = function(block) n = n + #block:string() end, on_stop = function() print(n) end }]], "-Z gz -o out.pcap.gz f/web.pcap")
      assert.equal(#t.read("f/web.pcap") .. "\n", r.out)
      t.run("gzip -dc out.pcap.gz | cmp - f/web.pcap")
    end)

    it("on_block may replace the bytes", function()
      script([[return { on_block = function(block) return (block:string():gsub(".", "x")) end }]], "-o out.bin f/web.pcap")
      assert.equal(("x"):rep(#t.read("f/web.pcap")), t.read("out.bin"))
    end)

    it("on_stop comes last", function()
      local r = script([[return {
        on_start = function() print("start") end, on_stop = function() print("stop") end,
        on_segment_close = function() print("close") end, interval = 3600, on_interval = function(_, last) print(last) end }]],
        "-B out m/us-le.pcap")
      assert.equal("start\ntrue\nclose\nstop\n", r.out)
    end)
  end)

  describe("filter and keep", function()
    it("filter chooses for which packets the hook is called; the others are kept", function()
      local r = script([[local n = 0 return { filter = "udp port 53", on_packet = function(p) n = n + 1 return false end,
        on_stop = function() print(n) end }]], "-o out.pcap f/web.pcap")
      local dns = #t.field("f/web.pcap", "frame.number", "udp.port == 53")
      assert.equal(dns .. "\n", r.out)
      assert.equal(t.count("f/web.pcap") - dns, t.count("out.pcap"))
    end)

    it("keep drops the rest", function()
      script([[return { keep = "tcp port 443" }]], "-o out.pcap f/web.pcap")
      assert.equal(#t.field("f/web.pcap", "frame.number", "tcp.port == 443"), t.count("out.pcap"))
    end)

    it("a bad expression is refused and shown", function()
      t.write("s.lua", [[return { filter = "udp prt 53", on_packet = function() end }]])
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "udp prt 53", "s.lua")
    end)
  end)

  describe("chain", function()
    before_each(function()
      t.write("first.lua", [[local n = 0 return {
        on_packet = function(p) n = n + 1 if p.sport < 3 then return false elseif p.sport < 5 then return "side" end end,
        on_stop = function() print("first", n) end }]])
      t.write("second.lua", [[local n = 0 return {
        on_packet = function(p) n = n + 1 if p.sport == 3 then return false end end,
        on_stop = function() print("second", n) end }]])
      make(10, 1)
    end)

    it("a dropped packet is not seen by the next script, a routed one is", function()
      local r = t.run("moontap -o main.pcap --out side=side.pcap -l ./first.lua -l ./second.lua in.pcap")
      assert.equal("first\t10\nsecond\t7\n", r.out)
      assert.same({ "4" }, t.field("side.pcap", "udp.srcport"))
      assert.same({ "5", "6", "7", "8", "9" }, t.field("main.pcap", "udp.srcport"))
    end)

    it("runs in the order of -l and -e on the command line", function()
      local r = t.run("moontap -l ./second.lua -e 'p.sport ~= 9' -l ./first.lua --out side=side.pcap -o main.pcap in.pcap")
      assert.equal("second\t10\nfirst\t8\n", r.out)
    end)

    it("of 40 scripts works", function()
      local names = {}
      for i = 1, 40 do names[i] = "-l ./one.lua" end
      t.write("one.lua", [[return { on_packet = function(p) return p.sport ~= 5 end }]])
      t.run("moontap -o out.pcap " .. table.concat(names, " ") .. " in.pcap")
      assert.equal(9, t.count("out.pcap"))
    end)
  end)

  describe("-e", function()
    it("keeps packets for which the expression is true", function()
      t.run([[moontap -e 'p.dport == 53 and p.wirelen > 90' -o out.pcap f/web.pcap]])
      assert.equal(#t.field("f/web.pcap", "frame.number", "(udp.dstport == 53 || tcp.dstport == 53) && frame.len > 90"), t.count("out.pcap"))
    end)

    it("uses only the truth value: nil and false drop, all else keeps", function()
      make(4, 1)
      for expression, kept in pairs { ["nil"] = 0, ["false"] = 0, ["0"] = 4, ["\"no such output\""] = 4, ["{}"] = 4 } do
        t.run("moontap --overwrite -o out.pcap -e '" .. expression .. "' in.pcap")
        assert.equal(kept, t.count("out.pcap"), expression)
      end
    end)

    it("given several times must hold each time", function()
      t.run([[moontap -e 'p.is_udp' -e 'p.ip_version == 6' -o out.pcap f/web.pcap]])
      assert.equal(#t.field("f/web.pcap", "frame.number", "udp && ipv6"), t.count("out.pcap"))
    end)

    it("that is no Lua is refused with the text", function()
      t.refuses("moontap -e 'p.dport ==' -o out.pcap f/web.pcap", 1, "p.dport ==")
      assert.is_false(t.exists("out.pcap"))
    end)
  end)

  describe("arguments", function()
    local TEXT = [[return { summary = "Says things.", args = { word = { default = "none", help = "the word to say" },
      times = { default = 1, help = "how often" } },
      on_stop = function(run) print(run.args.word, run.args.times, type(run.args.times)) end }]]

    it("have defaults", function()
      assert.equal("none\t1\tnumber\n", script(TEXT, "m/us-le.pcap").out)
    end)

    it("are set behind the name; a part without = continues the value before it", function()
      t.write("s.lua", TEXT)
      assert.equal("a,b\t3\tnumber\n", t.run("moontap -l ./s.lua,word=a,b,times=3 m/us-le.pcap").out)
    end)

    it("that are unknown are refused by name", function()
      t.write("s.lua", TEXT)
      t.refuses("moontap -l ./s.lua,wrd=x m/us-le.pcap", 1, "wrd", "word")
    end)

    it("are refused with what check says, which must be a sentence", function()
      t.write("s.lua", [[return { args = { n = { default = 1, check = function(n) return n > 3 and "at most 3" end },
        k = { default = 1, check = function(k) return k > 3 end } }, on_packet = function() end }]])
      t.run("moontap -l ./s.lua,n=2 m/us-le.pcap")
      t.refuses("moontap -l ./s.lua,n=4 m/us-le.pcap", 1, "argument n: at most 3")
      t.refuses("moontap -l ./s.lua,k=4 m/us-le.pcap", 1, "check of the argument k returned a boolean", "a sentence")
    end)

    it("of the wrong kind are refused", function()
      t.write("s.lua", TEXT)
      t.refuses("moontap -l ./s.lua,times=often m/us-le.pcap", 1, "times", "often")
    end)

    it("are explained by NAME,help", function()
      t.write("s.lua", TEXT)
      local r = t.run("moontap -l ./s.lua,help")
      for _, text in ipairs { "Says things.", "the word to say", "how often", "none" } do
        assert.is_truthy(r.out:find(text, 1, true), text)
      end
    end)
  end)

  describe("fields", function()
    local function print_each(expression, source)
      return script("return { on_packet = function(p) print(" .. expression .. ") end }", source).out
    end

    local function joined(lines)
      return table.concat(lines, "\n") .. "\n"
    end

    it("equal what tshark decodes: addresses", function()
      local expected = {}
      for i, line in ipairs(t.packets("f/web.pcap", { "ip.src", "ip.dst", "ipv6.src", "ipv6.dst" })) do
        expected[i] = line:match("^%s*(.-)%s*$"):gsub("%s+", "\t")
      end
      assert.equal(joined(expected), print_each("p.src, p.dst"))
    end)

    it("equal what tshark decodes: ports, protocol, TTL, version, flags", function()
      local expected = {}
      local fields = { "ip.version", "ip.proto", "ip.ttl", "ipv6.nxt", "ipv6.hlim", "udp.srcport", "udp.dstport",
        "tcp.srcport", "tcp.dstport", "tcp.flags" }
      for i, line in ipairs(t.packets("f/web.pcap", fields)) do
        local numbers = {}
        for number in line:gmatch("%S+") do numbers[#numbers + 1] = ("%d"):format(tonumber(number)) end
        if #numbers == 5 then numbers[6] = "0" end -- UDP has no flags
        expected[i] = table.concat(numbers, "\t")
      end
      assert.equal(joined(expected), print_each("p.ip_version, p.proto, p.ttl, p.sport, p.dport, p.tcp_flags"))
    end)

    it("equal what tshark decodes: lengths and payload", function()
      local expected = {}
      for i, line in ipairs(t.packets("f/web.pcap", { "frame.cap_len", "frame.len", "tcp.len", "udp.length" })) do
        local caplen, len, rest = line:match("(%d+) (%d+) *(%d+)")
        local udp = line:match("%d+ %d+  ") ~= nil
        expected[i] = ("%s\t%s\t%d"):format(caplen, len, udp and rest - 8 or rest)
      end
      assert.equal(joined(expected), print_each("p.caplen, p.wirelen, p.payload_len"))
    end)

    it("equal what tshark decodes: VLAN tags and the type behind them", function()
      local expected = {}
      for i, line in ipairs(t.packets("f/vlan.pcap", { "ieee8021ad.id", "vlan.id", "vlan.etype" })) do
        local outer, kind = line:match("(%d+)"), line:match("0x%x+$")
        expected[i] = ("%s\ttrue\t%d"):format(outer, tonumber(kind))
      end
      assert.equal(joined(expected), print_each("p.vlan, p.has_vlan, p.ethertype", "f/vlan.pcap"))
    end)

    it("find IP behind one and two tags", function()
      local expected = #t.field("f/vlan.pcap", "frame.number", "ip || ipv6")
      local r = script([[local n = 0 return { on_packet = function(p) if p.is_ip then n = n + 1 end end, on_stop = function() print(n) end }]], "f/vlan.pcap")
      assert.equal(expected .. "\n", r.out)
    end)

    it("have exact times", function()
      assert.equal("1700000000111111111LL\n1700000000222222222LL\n1700000001333333333LL\n1700000001444444444LL\n",
        print_each("p.ts_ns", "m/ns-be.pcap"))
      assert.equal("0\n111111111\n1222222222\n1333333333\n", print_each("p.t", "m/ns-be.pcap"))
      assert.equal("1700000000.11\n1700000000.22\n1700000001.33\n1700000001.44\n", print_each("('%.2f'):format(p.ts)", "m/ns-be.pcap"))
    end)

    it("know kind of packet", function()
      local r = script([[local n = { tcp = 0, udp = 0, icmp = 0, ports = 0, ip = 0 } return { on_packet = function(p)
        if p.is_tcp then n.tcp = n.tcp + 1 end if p.is_udp then n.udp = n.udp + 1 end if p.is_icmp then n.icmp = n.icmp + 1 end
        if p.has_ports then n.ports = n.ports + 1 end if p.is_ip then n.ip = n.ip + 1 end end,
        on_stop = function() print(n.tcp, n.udp, n.icmp, n.ports, n.ip) end }]], "f/web.pcap f/ping.ns.pcap")
      local function n(filter) return #t.field("f/web.pcap", "frame.number", filter) + #t.field("f/ping.ns.pcap", "frame.number", filter) end
      assert.equal(("%d\t%d\t%d\t%d\t%d\n"):format(n("tcp"), n("udp"), n("icmp || icmpv6"), n("tcp || udp"), n("ip || ipv6")), r.out)
    end)

    it("absent are 0, false or nil", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, "\2\0\0\0\0\2\2\0\0\0\0\1\x88\xb5hello" } })
      assert.equal("0\t0\t0\t0\t0\tnil\tnil\tfalse\tfalse\tfalse\t0\n",
        print_each("p.ip_version, p.proto, p.sport, p.dport, p.tcp_flags, p.src, p.dst, p.is_ip, p.has_ports, p.has_vlan, p.vlan", "in.pcap"))
    end)

    it("name source, interface and direction", function()
      t.write("s.lua", [[return { on_packet = function(p) print(p.source, p.interface, p.direction) end }]])
      local r = t.run("moontap -l ./s.lua m/ng-le.pcapng,name=tap")
      assert.equal("tap\tmicro\tin\ntap\tbinary\tout\ntap\tshifted\tnil\ntap\tmicro\tnil\n", r.out)
    end)

    it("flow_hash is the same both ways and differs between flows", function()
      local r = script([[local hashes, n = {}, 0 return { on_packet = function(p)
          local a, b = tostring(p.src) .. p.sport, tostring(p.dst) .. p.dport
          local key = p.proto .. (a < b and a .. b or b .. a)
          if hashes[key] == nil then hashes[key] = p.flow_hash n = n + 1 end
          assert(hashes[key] == p.flow_hash, key)
        end,
        on_stop = function() local seen, distinct = {}, 0
          for _, hash in pairs(hashes) do if not seen[hash] then distinct = distinct + 1 end seen[hash] = true end
          print(n > 10, n - distinct) end }]], "f/web.pcap")
      assert.equal("true\t0\n", r.out)
    end)

    it("src_key and dst_key are strings that count addresses", function()
      local r = script([[local n = {} return { on_packet = function(p) n[p.src_key] = (n[p.src_key] or 0) + 1 end,
        on_stop = function() local k = 0 for key, count in pairs(n) do assert(type(key) == "string") k = k + 1 end print(k) end }]], "f/web.pcap")
      local distinct, k = {}, 0
      for _, src in ipairs(t.packets("f/web.pcap", { "ip.src", "ipv6.src" })) do
        if not distinct[src] then distinct[src], k = true, k + 1 end
      end
      assert.equal(k .. "\n", r.out)
    end)

    it("that do not exist are an error with a suggestion", function()
      t.write("s.lua", [[return { on_packet = function(p) return p.dprt == 53 end }]])
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "dprt", "dport", "s.lua:1")
    end)

    it("that are called say that they are fields", function()
      t.write("s.lua", [[return { on_packet = function(p) return p:src() == "10.0.0.1" end }]])
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "fields are read without parentheses", "s.lua:1")
    end)

    it("have no suggestion where nothing is near", function()
      t.write("s.lua", [[return { on_packet = function(p) return p.foo end }]])
      local r = t.refuses("moontap -l ./s.lua f/web.pcap", 4, "no field 'foo'; it has ", "payload_len", "s.lua:1")
      assert.is_nil(r.err:find("did you mean", 1, true))
    end)

    it("read outside any compiled path work too", function()
      local r = t.run([[moontap -e 'print(p.src == p.dst, p.src == p.src) or true' m/us-le.pcap]])
      assert.equal(("false\ttrue\n"):rep(4), r.out)
    end)
  end)

  describe("methods", function()
    it("u8, u16, u32, bytes read in network order", function()
      local r = script([[return { on_packet = function(p) print(p:u8(23), p:u16(12), p:u32(26), p:bytes(0, 2):byte(1, 2)) end }]], "m/us-le.pcap")
      assert.equal(("17\t2048\t167772161\t2\t0\n"):rep(4), r.out)
    end)

    it("never read outside the packet", function()
      for _, call in ipairs { "p:u8(p.caplen)", "p:u16(p.caplen - 1)", "p:u32(p.caplen - 3)", "p:u8(-1)", "p:u8(2^31)", "p:u8(2^53)",
        "p:bytes(0, p.caplen + 1)", "p:bytes(-1, 2)", "p:bytes(10, -1)", "p:bytes(2^31, 1)", "p:u32(0/0)" } do
        t.write("s.lua", "return { on_packet = function(p) local ok, value = pcall(function() return " .. call
          .. " end) assert(not ok or value == nil or (type(value) == 'string' and #value <= p.caplen), tostring(value)) end }")
        t.run("moontap -l ./s.lua m/us-le.pcap")
      end
    end)

    it("called with a dot are laid at the script's line, which is told of the colon", function()
      local objects = [[local t, k, d, q, n = moontap.table { key = "src", value = { n = "count" } }, moontap.topk { key = "src" },
        moontap.distinct { key = "src" }, moontap.quantiles(), moontap.net "10.0.0.0/8"
        local s = moontap.netset { "10.0.0.0/8" } ]]
      for _, call in ipairs { "t.get(p)", "t.find(p)", "k.add(p)", "d.add(p)", "q.count()", "n.contains(p.src)", "p.u8(3)",
        "p.dns()", "p.src.mask(24)", "s.lookup(p.src)", "p.edit()", "p:edit().set_payload 'x'", "p.comment 'x'" } do
        t.write("s.lua", objects .. "return { on_packet = function(p)\n" .. call .. " end }")
        t.refuses("moontap -l ./s.lua f/web.pcap", 4, "on_packet: ./s.lua:4: ", "colon", "(packet 1,")
      end
    end)

    it("used by print on a packet that is gone are laid at the script's line", function()
      t.write("s.lua", "local k return { on_packet = function(p) k = p end, on_stop = function()\nprint(k) end }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "on_stop: ./s.lua:2: this packet is gone")
    end)

    it("hexdump shows offset, bytes and text", function()
      local r = script([[return { on_packet = function(p) print(p:hexdump()) end }]], "m/us-le.pcap")
      assert.is_truthy(r.out:find("02 00 00 00", 1, true))
      assert.is_truthy(r.out:find("....packet\n", 1, true))
    end)

    it("copy outlives the hook", function()
      local r = script([[local kept = {} return { on_packet = function(p) kept[#kept + 1] = p:copy() end,
        on_stop = function() for _, p in ipairs(kept) do print(p.sport, p.caplen, p:bytes(0, p.caplen):sub(43, 50)) end end }]], "m/us-le.pcap")
      assert.equal("1001\t51\tpacket 1\n1002\t50\tpacket 2\n1003\t53\tpacket 3\n1004\t54\tpacket 4\n", r.out)
    end)

    it("a stale packet raises an error that names copy", function()
      make(3000, 0.001)
      t.write("s.lua", [[local first return { on_packet = function(p) if not first then first = p elseif p.sport > 2500 then return first.sport == 0 end end }]])
      t.refuses("moontap -l ./s.lua in.pcap", 4, "copy", "s.lua:1")
    end)

    it("truncate cuts what is written and keeps the length on the wire", function()
      script([[return { on_packet = function(p) p:truncate(p.is_udp and 42 or 54) end }]], "-o out.pcap f/web.pcap")
      local expected = t.packets("f/web.pcap", { "frame.len", "frame.cap_len", "ip.proto", "ipv6.nxt" })
      for i, line in ipairs(expected) do
        local len, caplen, proto = line:match("(%d+) (%d+) *(%d+)")
        expected[i] = len .. " " .. math.min(tonumber(caplen), proto == "17" and 42 or 54)
      end
      assert.same(expected, t.packets("out.pcap", { "frame.len", "frame.cap_len" }))
    end)

    it("truncate does not lengthen", function()
      script([[return { on_packet = function(p) p:truncate(1e6) end }]], "-o out.pcap f/web.pcap")
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)
  end)

  describe("that fails", function()
    local FAILS = [[return { %s on_packet = function(p)
      if p.sport == 5 then
        error("five is right out")
      end
    end }]]
    before_each(function() make(10, 1) end)

    it("stops with 4, a traceback, packet number and source, and what came before is written", function()
      t.write("s.lua", FAILS:format(""))
      t.refuses("moontap -o out.pcap -l ./s.lua in.pcap", 4, "five is right out", "s.lua:3", "packet 6", "in.pcap")
      assert.equal(5, t.count("out.pcap"))
    end)

    it("with on_error = keep goes on and counts", function()
      t.write("s.lua", FAILS:format([[on_error = "keep",]]))
      local r = t.balances(t.json("moontap --json -o out.pcap -l ./s.lua in.pcap", 4))
      assert.equal(1, r.script_bypassed)
      assert.equal(10, r.kept)
      assert.equal(10, t.count("out.pcap"))
    end)

    it("with on_error = drop leaks nothing", function()
      t.write("s.lua", FAILS:format([[on_error = "drop",]]))
      local r = t.balances(t.json("moontap --json -o out.pcap -l ./s.lua in.pcap", 4))
      assert.equal(9, r.kept)
      assert.same({ "0", "1", "2", "3", "4", "6", "7", "8", "9" }, t.field("out.pcap", "udp.srcport"))
    end)

    it("--on-script-error overrides the script", function()
      t.write("s.lua", FAILS:format([[on_error = "keep",]]))
      t.run("moontap -o out.pcap --on-script-error drop -l ./s.lua in.pcap", 4)
      assert.equal(9, t.count("out.pcap"))
    end)

    it("is switched off after --script-errors, and its rule goes on", function()
      t.write("s.lua", [[local n = 0 return { on_error = "drop", on_packet = function(p) n = n + 1 if p.sport >= 2 then error("again") end end,
        on_stop = function() print(n) end }]])
      t.run("moontap -o out.pcap --script-errors 3 -l ./s.lua in.pcap", 4)
      assert.equal(2, t.count("out.pcap"))
      assert.equal("5\n", t.sh("moontap --script-errors 3 -l ./s.lua in.pcap").out)
    end)

    it("in a chain, only its own rule holds for what it did not finish", function()
      t.write("first.lua", FAILS:format([[on_error = "keep",]]))
      t.write("second.lua", [[local n = 0 return { on_packet = function(p) n = n + 1 end, on_stop = function() print(n) end }]])
      assert.equal("10\n", t.run("moontap -o out.pcap -l ./first.lua -l ./second.lua in.pcap", 4).out)
    end)

    it("by naming an output that was not declared says so", function()
      t.write("s.lua", [[return { on_packet = function(p) return "nowhere" end }]])
      t.refuses("moontap -o out.pcap --out somewhere=s.pcap -l ./s.lua in.pcap", 4, "nowhere", "--out")
    end)

    it("by returning nonsense says so", function()
      t.write("s.lua", [[return { on_packet = function(p) return {} end }]])
      t.refuses("moontap -o out.pcap -l ./s.lua in.pcap", 4, "on_packet", "table")
    end)

    for _, hook in ipairs { "on_start", "on_stop", "on_segment_close", "rotate", "on_block" } do
      it("in " .. hook .. " ends with 4 and names hook and line", function()
        t.write("s.lua", "return { " .. hook .. " = function() error('not today') end }")
        t.refuses("moontap -B out -l ./s.lua in.pcap", 4, "not today", "s.lua:1", hook)
      end)
    end

    it("in on_interval ends with 4 and names it", function()
      t.write("s.lua", "return { interval = 1, on_interval = function() error('not today') end }")
      t.refuses("moontap -o out.pcap -l ./s.lua in.pcap", 4, "not today", "s.lua:1")
    end)

    it("by using too much memory is survived", function()
      t.write("s.lua", [[local hoard = {} return { on_packet = function(p) for i = 1, 1e6 do hoard[#hoard + 1] = ("x"):rep(1000) .. i end end }]])
      t.refuses("moontap -o out.pcap --script-memory 32M -l ./s.lua in.pcap", 4, "memory")
      t.capinfos("out.pcap")
    end)

    it("with an error that is no string is survived", function()
      t.write("s.lua", [[return { on_packet = function(p) error({ 1, 2 }) end }]])
      t.refuses("moontap -o out.pcap -l ./s.lua in.pcap", 4, "s.lua")
      t.write("s.lua", [[return { on_packet = function(p) error() end }]])
      t.refuses("moontap --overwrite -o out.pcap -l ./s.lua in.pcap", 4, "nil")
    end)

    it("with an error object whose metamethods fail is survived, and is no lack of memory", function()
      for _, method in ipairs { "__tostring", "__index" } do
        t.write("s.lua", ([[local why = setmetatable({}, { %s = function() error "within" end })
          return { on_error = "keep", on_packet = function(p) error(why) end }]]):format(method))
        local r = t.sh "moontap --json --overwrite --script-errors 1000 -o out.pcap -l ./s.lua in.pcap"
        assert.equal(4, r.code)
        assert.is_nil(r.err:find("memory", 1, true), r.err)
        assert.is_truthy(r.err:find("packet 10", 1, true), r.err)
        assert.equal(10, t.count "out.pcap")
      end
    end)

    it("in results ends with 4", function()
      t.write("s.lua", [[return { on_packet = function() end, results = function() error("not today") end }]])
      assert.equal(4, t.json("moontap --json -l ./s.lua in.pcap", 4).status)
    end)

    it("in what JSON is made with is survived", function()
      t.write("s.lua", [[return { on_packet = function() end, on_stop = function()
        rawset(_G, "tostring", nil)
        setmetatable(_G, { __index = function() error "within" end })
      end, results = function() return { value = 1LL } end }]])
      local r = t.balances(t.json("moontap --json -o out.pcap -l ./s.lua in.pcap"))
      assert.same({ value = 1 }, r.scripts.s)
    end)

    it("by calling methods of objects with something else is told so", function()
      t.write("s.lua", [[
        local objects = {
          moontap.table { key = "src", value = { n = "count" } }, moontap.table { key = { { "a", "address" } } },
          moontap.topk(), moontap.distinct(), moontap.quantiles(), moontap.histogram { from = 0, to = 9, step = 1 },
          moontap.rate(), moontap.netset { "10.0.0.0/8" },
        }
        local names = { "add", "bound", "chart", "clear", "contains", "count", "drain", "find", "get", "list", "lookup",
          "match", "max", "mean", "memory", "merge", "min", "over", "overflow", "pairs", "remove", "rows", "save", "stats",
          "sum", "top", "total", "under" }
        local called = 0
        for i, object in ipairs(objects) do
          for _, name in ipairs(names) do
            local has, method = pcall(function() return object[name] end)
            for _, other in ipairs(has and { {}, "x", false, objects[i % #objects + 1], moontap.address "::1" } or {}) do
              local ok, why = pcall(method, other or nil, "10.0.0.1", 1)
              assert(not ok and type(why) == "string", name)
              called = called + 1
            end
          end
        end
        return { on_stop = function() print(called > 300) end }]])
      assert.equal("true\n", t.run("moontap -l ./s.lua in.pcap").out)
    end)

    it("in a finalizer at the end finds packets and segments as they were", function()
      t.write("s.lua", [[local ffi, segment, packet = require "ffi"
        return { rotate = function(s) segment = s end, on_packet = function(p) packet = packet or p:copy() end,
          on_stop = function()
            anchor = ffi.gc(ffi.new "char[1]", function() print(segment.packets, packet.interface, packet.source) end)
          end }]])
      assert.equal("0\tin.pcap", (t.run("moontap -o out.pcap -l ./s.lua in.pcap").out:gsub("\t%d+\t", "\t"):gsub("\n", "")))
    end)

    it("by endless recursion is survived", function()
      t.write("s.lua", [[local function f() return 1 + f() end return { on_packet = function(p) f() end }]])
      t.refuses("moontap -o out.pcap -l ./s.lua in.pcap", 4, "stack overflow")
    end)
  end)

  it("that calls os.exit means stop: what was read is written", function()
    make(3000, 0.001)
    t.write("s.lua", [[return { on_packet = function(p) if p.sport == 2000 then os.exit(0) end end }]])
    local r = t.sh("moontap -o out.pcap -l ./s.lua in.pcap")
    assert.is_true(r.code == 0 or r.code == 4)
    assert.is_true(t.count("out.pcap") >= 2000)
    assert.is_true(t.count("out.pcap") < 3000)
  end)

  describe("that does not load", function()
    it("for a syntax error is refused with file and line", function()
      t.write("s.lua", "return {\n on_packet = function(p) end end\n}")
      t.refuses("moontap -o out.pcap -l ./s.lua f/web.pcap", 1, "s.lua:2")
      assert.is_false(t.exists("out.pcap"))
    end)

    it("because it is not there is refused by name", function()
      t.refuses("moontap -l ./nothere.lua f/web.pcap", 1, "nothere.lua", "No such file")
    end)

    it("because it has a filter and no hook for it is refused", function()
      t.write("s.lua", [[return { filter = "udp" }]])
      t.refuses("moontap -l ./s.lua -o out.pcap f/web.pcap", 1, "filter chooses what on_packet sees", "keep")
    end)

    it("because no recipe has that name is refused, with a suggestion", function()
      t.refuses("moontap -l tpo f/web.pcap", 1, "tpo", "top")
    end)

    it("because it raises is refused with its message", function()
      t.write("s.lua", [[error("missing moon")]])
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "missing moon", "s.lua:1")
    end)

    it("because it returns no table is refused", function()
      t.write("s.lua", "return 42")
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "s.lua", "table")
    end)

    it("because a hook is no function is refused by name", function()
      t.write("s.lua", "return { on_packet = 42 }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "s.lua", "on_packet")
    end)

    it("because on_error is no rule is refused by name", function()
      t.write("s.lua", [[return { on_error = "panic", on_packet = function() end }]])
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "on_error", "panic")
    end)
  end)

  it("without an output writes none", function()
    script([[return { on_packet = function(p) end }]])
    assert.same({ ".bin", ".command", ".err", ".out", "f", "m", "s.lua" }, t.list())
  end)

  it("has exact packets in batches that are full, and one more", function()
    for _, n in ipairs { 1, 1023, 1024, 1025, 2048 } do
      make(n, 0.001)
      assert.equal(n .. "\n", script([[local n = 0 return { on_packet = function(p) assert(p.sport == n) n = n + 1 end,
        on_stop = function() print(n) end }]], "in.pcap").out)
    end
  end)
end)
