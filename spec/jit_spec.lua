-- SPDX-License-Identifier: BSD-2-Clause
-- The loop over packets and the hooks in it become machine code.  Judge: LuaJIT's own log of traces
-- (jit.v), switched on by a script ahead of the one that is looked at.
local t = require("support.moontap")
local c = require("support.capture")
local T = require("support.tunnels")

local has_log = pcall(require, "jit.v")

-- A finalizer that the collector calls ends whatever trace is being recorded (it is tried again): files that
-- were read to load the scripts go before the first packet.
local LOG = [[require("jit.v").on("trace.txt")
  local pad = ("x"):rep(%d)
  return { on_start = function() collectgarbage() collectgarbage() return #pad end }]]

-- 40,000 packets over TCP and UDP, both IP versions' worth of branches taken.
local function make()
  local file = {}
  for i = 0, 39999 do
    file[i + 1] = { c.T0 + math.floor(i / 1000), i % 1000 * 1000,
      c.udp { id = i % 60000, sport = i % 2 == 0 and 53 or 4000 + i % 100, payload = ("x"):rep(i % 7) } }
  end
  t.write("in.pcap", c.pcap(file))
end

-- What jit.v says of traces that begin in the generated loop or in the script.  One that leaves the
-- loop at its end returns to C, which LuaJIT does not compile: that is once a batch, and no fault.
local function traces(command, shift)
  t.write("log.lua", LOG:format(shift or 0))
  t.run("moontap -l ./log.lua " .. command)
  local loops, aborts = 0, {}
  for line in t.read("trace.txt"):gmatch("[^\n]+") do
    if line:find("%[TRACE +%d+ moontap%.loop:%d+ loop%]") then
      loops = loops + 1
    end
    local start, why = line:match("%[TRACE %-%-%- %(?[%d/]*%)? ?([^ ]+) %-%- (.*)%]")
    if start and (start:find("^moontap.loop") or start:find("^moontap.filter") or start:find("^s.lua"))
      and not why:find("^NYI: return to lower frame at moontap.loop")
      -- a loop inside is compiled first, and the one around it at the next try
      and not why:find("^inner loop in root trace") then
      aborts[#aborts + 1] = line
    end
  end
  return loops, table.concat(aborts, "\n")
end

-- LuaJIT counts how hot code is in a small table hashed by address, so once in some dozen runs it
-- begins with a hook instead of the loop and gives a few attempts up.  Where memory lies the same in each run that
-- is each time, so code is moved a little for each try.  A loop that can not be compiled fails every time.
local function compiles(command)
  local loops, aborts
  for try = 0, 4 do
    loops, aborts = traces(command, 2000 + try * 52)
    if aborts == "" and loops >= 1 then
      return
    end
  end
  assert.equal("", aborts)
  assert.is_true(loops >= 1, "the loop was compiled")
end

describe("hook loop", function()
  before_each(function()
    t.fresh()
    make()
  end)
  after_each(t.clean)

  local function spec(name, body)
    it(name, function()
      if not has_log then
        pending("LuaJIT's jit.v is not installed")
        return
      end
      body()
    end)
  end

  spec("compiles with a hook that reads addresses, ports and lengths", function()
    t.write("s.lua", [[local n = 0 return { on_packet = function(p)
      n = n + p.sport + p.dport + p.wirelen
      if p.src == p.dst then n = n + 1 end end }]])
    compiles("-l ./s.lua in.pcap")
  end)

  spec("is compiled anew after 100,000 packets, when most are as they will be", function()
    t.write("log.lua", LOG:format(0))
    for flushes, files in pairs { [0] = "in.pcap in.pcap", "in.pcap in.pcap in.pcap" } do
      t.run("moontap -l ./log.lua -e p.sport==53 -o out.pcap --overwrite " .. files)
      assert.equal(flushes, select(2, t.read("trace.txt"):gsub("TRACE flush", "")), files)
      assert.equal(40000 + 20000 * flushes, t.count("out.pcap"))
    end
  end)

  spec("compiles with verdicts, an expression, an interval and BPF filters", function()
    t.write("s.lua", [[local n = 0 return { filter = "udp", keep = "ip", interval = 1,
      on_packet = function(p) n = n + 1 if p.dport == 53 then return false end return true end,
      on_interval = function() n = 0 end }]])
    compiles("-l ./s.lua -e 'p.sport ~= 4001' -o out.pcap in.pcap")
  end)

  spec("compiles with predicates of moontap.filter, also for a link type that comes late", function()
    local raw = { linktype = c.RAW }
    for i = 0, 39999 do
      raw[i + 1] = { c.T0 + 20 + math.floor(i / 1000), i % 1000 * 1000, c.ip_udp { sport = i % 2 == 0 and 53 or 4000 + i % 100 } }
    end
    t.write("raw.pcap", c.pcap(raw))
    t.write("s.lua", [[local dns, low = moontap.filter "udp port 53", moontap.filter "ip[8] * ip[2:2] % 7 < 5 and (net 10.0.0.0/8 or vlan)"
      local n, m = 0, 0
      return { filter = "ip and udp and not tcp[13] & 2 != 0", keep = "len < 1000 and (portrange 50-4050 or host 10.9.9.9)",
        on_packet = function(p)
          if dns(p) then n = n + 1 end
          if low(p) then m = m + 1 end
        end, on_stop = function() print(n) end }]])
    compiles("-l ./s.lua in.pcap raw.pcap")
    assert.equal("40000\n", t.run("moontap -l ./s.lua in.pcap raw.pcap").out)
  end)

  spec("compiles with filters of chains, long ones too", function()
    local ports = {}
    for i = 1, 60 do
      ports[i] = "port " .. 4000 + i
    end
    t.write("s.lua", ([[local n = 0 return { filter = "%s", on_packet = function(p) n = n + p.sport end }]]):format(
      table.concat(ports, " or ")))
    t.write("r.lua", "local n = 0 return { filter = 'host 10.0.0.1 and portrange 53-4010', on_packet = function(p) n = n + p.sport end }")
    compiles("-l ./s.lua -l ./r.lua -l ./r.lua -l ./r.lua in.pcap")
  end)

  spec("compiles with routes and a rotate hook", function()
    t.write("s.lua", [[return {
      on_packet = function(p) if p.sport == 53 then return "dns" end end,
      rotate = function(segment, p) return p.sport == 4099 and segment.packets >= 5000 end }]])
    compiles("-l ./s.lua --out dns=dns.pcap -B out --overwrite in.pcap")
  end)

  spec("compiles with 64 field reads, which tail calls in getters would break", function()
    t.write("s.lua", "local n = 0 return { on_packet = function(p) n = n"
      .. (" + p.sport + p.dport + p.wirelen + p.caplen + p.ttl + p.proto + p.tcp_flags + p.payload_len"):rep(8) .. " end }")
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with a chain of ten hooks", function()
    t.write("s.lua", "local n = 0 return { on_packet = function(p) n = n + p.sport + p.dport if p.src == p.dst then return false end end }")
    compiles(("-l ./s.lua "):rep(10) .. "in.pcap")
  end)

  spec("compiles with networks, the order of addresses, their kinds and masks", function()
    t.write("s.lua", [[local home, edge, n = moontap.net "10.0.0.0/30", moontap.address "10.0.0.2", 0
      return { on_packet = function(p)
        local src, dst = p.src, p.dst
        if home:contains(src) and not home:contains("10.0.0.4") then n = n + 1 end
        if src and src < edge and edge <= dst then n = n + 1 end
        if src and src.is_private and not dst.is_global and src.version == 4 then n = n + 1 end
        if src and src:mask(24, 64) == "10.0.0.0" and moontap.net(dst, 24, 64):contains(src) then n = n + 1 end
        if moontap.net("10.0.0.0/8") == home then n = n + 1 end
      end }]])
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with lookups in sets of networks", function()
    t.write("s.lua", [[local set, n = moontap.netset { "10.0.0.0/8", ["10.0.0.1"] = "one", ["10.0.0.2"] = 2 }, 0
      return { on_packet = function(p)
        local value = set:lookup(p.src)
        if value == "one" then n = n + 1 end
        if set:contains(p.dst) and set:match(p.src).prefix_len == 32 then n = n + 1 end
      end }]])
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with edits: fields, addresses, bytes, payload, tags, checksums, comments", function()
    t.write("s.lua", [[return { on_packet = function(p)
      local e = p:edit()
      e.ttl = 3
    end }]])
    compiles("-l ./s.lua -o out.pcap in.pcap")
    t.write("s.lua", [[local to = moontap.address "192.0.2.1"
      return { on_packet = function(p)
        local e = p:edit()
        e.ttl = e.ttl - 1
        e.src, e.dst, e.sport = p.dst, to, 99
        e.eth_src, e.ts_ns = "02:00:00:00:00:01", p.ts_ns + 1000
        e:set_u16(24, 7)
        e:set_payload "payload"
        e:push_vlan(7)
        e:fix_checksums()
        p:comment "edited"
      end }]])
    compiles("-l ./s.lua -o out.pcapng in.pcap")
  end)

  -- 40,000 packets of which every third is in VXLAN, in GRE over IPv6, or in none.
  local function make_tunnels()
    local inside = T.ipv4(6, T.tcp { sport = 99, inside = "GET" }, { src = "\192\168\7\1" })
    local frames = { T.ethernet(0x0800, T.ipv4(17, T.udp(4789, T.vxlan(5, T.inner_ethernet(0x0800, inside))))),
      T.ethernet(0x86dd, T.ipv6(47, T.gre(0, 0x86dd, "", T.ipv6(17, T.udp(53, "query"))))), T.ethernet(0x0800, inside, T.vlan(7)) }
    local file = {}
    for i = 0, 39999 do
      file[i + 1] = { c.T0 + math.floor(i / 1000), i % 1000 * 1000, frames[i % 3 + 1] }
    end
    t.write("in.pcap", c.pcap(file))
  end

  spec("compiles with p:inner() on traffic in tunnels of several kinds", function()
    make_tunnels()
    t.write("s.lua", [[local n, same, vxlan = 0, 0, 0 return { on_packet = function(p)
        local q = p:inner()
        n = n + q.sport + q.dport + q.payload_len + q.ttl + p.sport + q.tcp_seq + p.tunnel_id
        if q.src == p.src then same = same + 1 end
        if p.tunnel == "vxlan" then vxlan = vxlan + 1 end
      end, on_stop = function() print(same, vxlan) end }]])
    compiles("-l ./s.lua in.pcap")
    assert.equal("26666\t13334\n", t.run("moontap -l ./s.lua in.pcap").out)
  end)

  spec("compiles with every field that is a number or a boolean", function()
    make_tunnels()
    t.write("s.lua", [[
      local text = { "local n, m = 0, 0 return { on_packet = function(p) " }
      for _, f in ipairs(require("moontap.packet").field_docs) do
        if f.type == "integer" or f.type == "number" then
          text[#text + 1] = ("n = n + p.%s "):format(f.name)
        elseif f.type == "boolean" then
          text[#text + 1] = ("if p.%s then m = m + 1 end "):format(f.name)
        end
      end
      text[#text + 1] = "end }"
      return assert(loadstring(table.concat(text), "@s.lua"))()]])
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with Ethernet and ARP addresses", function()
    t.write("s.lua", [[local n = 0 return { on_packet = function(p)
      if p.eth_src == "02:00:00:00:00:01" then n = n + 1 end
      if p.eth_src == p.eth_dst or p.eth_dst.is_multicast or p.arp_src == p.src then n = n + 1 end end }]])
    compiles("-l ./s.lua in.pcap")
  end)

  -- The packets are of 20,000 flows; each new one leaves the trace for the function that makes the entry.
  local TABLE = [[local f = moontap.table { key = "flow", value = { packets = "count", bytes = "u32" } %s }
    return { on_packet = function(p)
      local v = f[p]
      v.packets = v.packets + 1
      v.bytes = v.bytes + p.wirelen
    end }]]

  spec("compiles with a table", function()
    t.write("s.lua", TABLE:format(""))
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with tables that age and evict, whatever ends", function()
    t.write("s.lua", TABLE:format(", idle = 0.5, active = 2"))
    compiles("-l ./s.lua in.pcap")
    t.write("s.lua", TABLE:format(", limit = 50, policy = 'evict'"))
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with on_expire", function()
    t.write("s.lua", "local n = 0 " .. TABLE:format(", idle = 0.01, limit = 90, policy = 'evict', on_expire = function(k, v) n = n + v.packets + k.sport end"))
    compiles("-l ./s.lua in.pcap")
  end)

  spec("compiles with tables whose keys are given by hand, with find and remove", function()
    t.write("s.lua", [[local x = moontap.table { key = { { "who", "address" }, { "port", "u16" } }, value = { n = "count" }, idle = 1 }
      local y = moontap.table { key = "src", value = { n = "count" } }
      return { on_packet = function(p)
        local v = x:get(p.src, p.sport)
        v.n = v.n + 1
        local w = y:find(p)
        if w then w.n = w.n + 1 else y[p].n = 1 end
      end }]])
    compiles("-l ./s.lua in.pcap")
  end)

  spec("the recipes compile", function()
    compiles("-l summary -l top -l top,by=src,dport in.pcap")
  end)

  spec("compiles with sketches of packets, numbers, strings and addresses", function()
    t.write("s.lua", [[local top, flows, ports, sources = moontap.topk { key = "src" }, moontap.topk { key = "flow" }, moontap.topk(), moontap.topk()
      local d, values = moontap.distinct { key = "dst" }, moontap.distinct()
      local q, h, r = moontap.quantiles(), moontap.histogram { from = 0, to = 1500, step = 100 }, moontap.rate()
      return { on_packet = function(p)
        top:add(p, p.wirelen) flows:add(p) ports:add(p.sport) sources:add(p.src, p.wirelen) ports:add(p.is_udp)
        d:add(p) values:add(p.dst) values:add(p.dport) values:add(p.sport == 53 and "dns" or "other")
        q:add(p.wirelen) h:add(p.wirelen, 2) r:add(p) r:add(p.ts_ns, p.wirelen) r:add(p.ts) end }]])
    compiles("-l ./s.lua in.pcap")
  end)

  for name, body in pairs {
    topk = "local s = moontap.topk { key = 'flow' } return { on_packet = function(p) s:add(p, p.wirelen) end }",
    ["topk by value"] = "local s = moontap.topk() return { on_packet = function(p) s:add(p.src) end }",
    distinct = "local s = moontap.distinct { key = 'src' } return { on_packet = function(p) s:add(p) end }",
    quantiles = "local s = moontap.quantiles() return { on_packet = function(p) s:add(p.wirelen) end }",
    histogram = "local s = moontap.histogram { from = 64, to = 1e6, log = 2 } return { on_packet = function(p) s:add(p.wirelen) end }",
    rate = "local s = moontap.rate() return { on_packet = function(p) s:add(p) end }",
  } do
    spec("compiles with " .. name, function()
      t.write("s.lua", body)
      compiles("-l ./s.lua in.pcap")
    end)
  end


  -- DNS messages and TLS hellos between packets that are neither.
  local function make_messages()
    local dns = "\0\1\129\131\0\1\0\2\0\0\0\1" .. "\3www\7example\3com\0\0\1\0\1"
      .. ("\192\12\0\1\0\1\0\0\1\44\0\4\192\0\2\1"):rep(2) .. "\0\0\41\4\208\0\0\0\0\0\0"
    local hello = "\3\3" .. ("r"):rep(32) .. "\0\0\4\19\1\192\47\1\0" .. "\0\29" .. "\0\0\0\16\0\14\0\0\11example.com"
      .. "\0\16\0\5\0\3\2h2"
    local handshake = "\1\0\0" .. string.char(#hello) .. hello
    local tls = "\22\3\1\0" .. string.char(#handshake) .. handshake
    local tcp = "\2\0\0\0\0\2\2\0\0\0\0\1\8\0\69\0\0" .. string.char(40 + #tls) .. "\0\1\0\0\64\6\0\0\10\0\0\1\10\0\0\2"
      .. "\0\50\1\187\0\0\0\1\0\0\0\1\80\24\1\0\0\0\0\0" .. tls
    local file = {}
    for i = 0, 39999 do
      local frame = i % 3 == 0 and tcp or c.udp { sport = i % 3 == 1 and 53 or 4000, payload = dns }
      file[i + 1] = { c.T0 + math.floor(i / 1000), i % 1000 * 1000, frame }
    end
    t.write("in.pcap", c.pcap(file))
  end

  spec("compiles with p:dns(): header, rcode with EDNS, name, comparisons, a record", function()
    make_messages()
    t.write("s.lua", [[local n, m = 0, 0 return { on_packet = function(p)
      local d = p:dns()
      if d and d.rcode == 3 then n = n + 1 end
      if d and d.is_response and d:name_ends("example.com") and d.name == "www.example.com" and d.qtype_name == "A" then
        local r = d:answer()
        if r and r.ttl == 300 and r.address == "192.0.2.1" and not d.malformed then m = m + d.udp_size end
      end end, on_stop = function() print(n, m) end }]])
    compiles("-l ./s.lua in.pcap")
    assert.equal("13333\t16426256\n", t.run("moontap -l ./s.lua in.pcap").out)
  end)

  spec("compiles with p:tls(): name, version, ALPN, comparisons", function()
    make_messages()
    t.write("s.lua", [[local n = 0 return { on_packet = function(p)
      local h = p:tls()
      if h and h.is_client_hello and h.sni == "example.com" and h:sni_ends("com") and h.version_name == "TLS 1.2"
        and h.alpn == "h2" and h:has_extension(16) then n = n + h.cipher_count end
      end, on_stop = function() print(n) end }]])
    compiles("-l ./s.lua in.pcap")
    assert.equal("26668\n", t.run("moontap -l ./s.lua in.pcap").out)
  end)

  spec("compiles with loops over the records of a message and the lists of a hello", function()
    make_messages()
    t.write("s.lua", [[local n = 0 return { on_packet = function(p)
      local d, h = p:dns(), p:tls()
      if d then for i, r in d:answers() do n = n + r.ttl end end
      if h then for i, cipher in h:ciphers() do n = n + cipher end end
      end, on_stop = function() print(n) end }]])
    -- the loop in the hook is compiled by itself first, which jit.v shows as attempts given up
    local hook
    for _ = 1, 6 do
      local r = t.json("moontap --json --profile -l ./s.lua in.pcap")
      hook = r.profile.hooks[1]
      if hook.compiled >= 0.95 then
        break
      end
    end
    assert.equal("on_packet", hook.hook)
    assert.is_true(hook.compiled >= 0.95, hook.how)
  end)

  spec("sees a loop that does not compile", function() -- this spec can fail
    t.write("s.lua", "return { on_packet = function(p) local f = function() return p end f() end }")
    local _, aborts = traces("-l ./s.lua in.pcap")
    assert.is_truthy(aborts:find("NYI", 1, true))
  end)
end)
