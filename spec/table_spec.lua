-- SPDX-License-Identifier: BSD-2-Clause
-- moontap.table.  Judges: tshark, and a Lua table with text as keys that does the same by hand.
local t = require("support.moontap")
local c = require("support.capture")

local NOTES = os.getenv("PWD") .. "/spec/support/key_notes.lua"

local function script(text, options, code)
  t.write("s.lua", text)
  return t.run("moontap -q -l ./s.lua " .. (options or "f/web.pcap"), code)
end

-- What print gave, without the line end.
local function output(text, options)
  return (script(text, options).out:gsub("\n$", ""))
end

-- The script fails: with its line and these words.
local function raises(text, ...)
  t.write("s.lua", text)
  local r = t.sh("moontap -q -l ./s.lua f/web.pcap")
  assert.is_true(r.code ~= 0, "the script was taken: " .. text)
  assert.is_truthy(r.err:find("s.lua:1:", 1, true), "its line is in " .. r.err)
  for _, word in ipairs { ... } do
    assert.is_truthy(r.err:find(word, 1, true), ("%q is in %s"):format(word, r.err))
  end
end

-- What is wrong with a declaration.
local function refuses(options, ...)
  raises("local x = moontap.table " .. options .. " return { on_packet = function() end }", ...)
end

-- UDP packets from a list of { seconds, source port or fields }, seconds since T0 in whole microseconds.
local function make(name, packets)
  local file = {}
  for i, p in ipairs(packets) do
    local fields = type(p[2]) == "table" and p[2] or { sport = p[2] }
    local us = math.floor(p[1] * 1e6 + 0.5)
    file[i] = { c.T0 + math.floor(us / 1e6), us % 1e6, c.udp(fields) }
  end
  return t.write(name, c.pcap(file))
end

-- The same numbers on every machine.
local function random(seed)
  return function(n)
    seed = (seed * 16807) % 2147483647
    return seed % n
  end
end

-- n packets of up to `flows` flows, both directions, some at the same time, some late, with pauses.
local function make_random(name, n, flows, seed, late)
  local pick, at, packets = random(seed), 0, {}
  for i = 1, n do
    local step = pick(100)
    at = at + (step < 10 and 0 or step < 97 and pick(2000) * 1e-6 or pick(3000000) * 1e-6)
    local flow, back = pick(flows), late and pick(20) == 0 and pick(4000) * 1e-4 or 0
    local a, b = { "10.1.0." .. flow % 200, 1000 + flow }, { "10.2.0.1", 53 + flow % 3 }
    if pick(2) == 1 then a, b = b, a end
    packets[i] = { math.max(at - back, 0), { src = a[1], dst = b[1], sport = a[2], dport = b[2], payload = ("x"):rep(pick(9)) } }
  end
  return make(name, packets)
end

local function sorted_lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  table.sort(lines)
  return table.concat(lines, "\n")
end

-- For scripts: one key as text, both ways.
local TEXT = [[
local function ends(p)
  local a, b = tostring(p.src) .. "," .. p.sport, tostring(p.dst) .. "," .. p.dport
  return a, b
end
local function flow_text(p)
  local a, b = ends(p)
  if a > b then a, b = b, a end
  return p.proto .. " " .. a .. " " .. b
end
local KEYS = {
  flow = flow_text,
  tuple = function(p) local a, b = ends(p) return p.proto .. " " .. a .. " " .. b end,
  pair = function(p) local a, b = tostring(p.src), tostring(p.dst) if a > b then a, b = b, a end return a .. " " .. b end,
  src = function(p) return tostring(p.src) end,
  dst = function(p) return tostring(p.dst) end,
  sport = function(p) return p.proto .. " " .. p.sport end,
  dport = function(p) return p.proto .. " " .. p.dport end,
}
-- The same text from a key of the table.
local function of_key(kind, k)
  if kind == "flow" or kind == "tuple" then
    return KEYS[kind] { src = k.src, dst = k.dst, sport = k.sport, dport = k.dport, proto = k.proto }
  elseif kind == "sport" or kind == "dport" then
    return k.proto .. " " .. k[kind]
  end
  return KEYS[kind](setmetatable({}, { __index = function(_, name) return name ~= "sport" and name ~= "dport" and k[name] or 0 end }))
end
]]

describe("moontap.table", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- --- keys ---------------------------------------------------------------------------------

  describe("keys of packets", function()
    -- Counts packets and bytes by each kind of key, in a table and by hand; prints how many keys, or what differs.
    local COUNT = TEXT .. [[
      local tables, by_hand, order = {}, {}, {}
      for kind in pairs(KEYS) do
        tables[kind] = moontap.table { key = kind, value = { packets = "count", bytes = "u32" } }
        by_hand[kind], order[kind] = {}, {}
      end
      return {
        on_packet = function(p)
          for kind, text in pairs(KEYS) do
            local v = tables[kind][p]
            local expected = p.is_ip and (p.has_ports or (kind ~= "sport" and kind ~= "dport"))
            assert((v ~= nil) == expected, "packet " .. p.number .. ": a key of " .. kind)
            if v then
              v.packets = v.packets + 1
              v.bytes = v.bytes + p.wirelen
              local k = text(p)
              local h = by_hand[kind][k]
              if not h then
                h = { 0, 0 }
                by_hand[kind][k] = h
                table.insert(order[kind], k)
              end
              h[1], h[2] = h[1] + 1, h[2] + p.wirelen
            end
          end
        end,
        on_stop = function()
          local counts = {}
          for _, kind in ipairs { "flow", "tuple", "pair", "src", "dst", "sport", "dport" } do
            local n = 0
            for key, v in tables[kind]:pairs() do
              n = n + 1
              local k = of_key(kind, key)
              assert(k == order[kind][n], kind .. ": " .. k .. " came as " .. tostring(order[kind][n]))
              local h = by_hand[kind][k]
              assert(h[1] == v.packets and h[2] == v.bytes, kind .. ": " .. k)
              assert(tables[kind]:find(key).packets == v.packets, "a key finds its value")
            end
            assert(n == #order[kind] and n == #tables[kind] and n == tables[kind]:count())
            counts[#counts + 1] = kind .. "=" .. n
          end
          print(table.concat(counts, " "))
        end,
      }]]

    it("count as tshark does, in the order in which they came", function()
      for _, file in ipairs { "f/web.pcap", "f/two-interfaces.pcapng" } do
        local counts = output(COUNT, file)
        local function distinct(...)
          local seen, n = {}, 0
          for _, field in ipairs { ... } do
            for _, value in ipairs(t.field(file, field)) do
              value = value:match("^[^,]*") -- of the outer header
              if value ~= "" and not seen[value] then
                seen[value] = true
                n = n + 1
              end
            end
          end
          return n
        end
        assert.equal(distinct("ip.src", "ipv6.src"), tonumber(counts:match("src=(%d+)")))
        assert.equal(distinct("ip.dst", "ipv6.dst"), tonumber(counts:match("dst=(%d+)")))
        local streams = {}
        for _, line in ipairs(t.packets(file, { "ip.proto", "ipv6.nxt", "tcp.stream", "udp.stream" })) do
          if line:find("%d$") or line:find("%d $") then streams[line] = true end
        end
        local n = 0
        for line in pairs(streams) do
          n = n + (line:match("^6 ") and 1 or 0)
        end
        assert.is_true(n <= tonumber(counts:match("flow=(%d+)")))
      end
    end)

    it("count many flows, with late packets and both directions", function()
      make_random("in.pcap", 5000, 700, 7, true)
      local flows = output(COUNT, "in.pcap"):match("flow=(%d+)")
      local streams = {}
      for _, n in ipairs(t.field("in.pcap", "udp.stream")) do streams[n] = true end
      local n = 0
      for _ in pairs(streams) do n = n + 1 end
      assert.equal(n, tonumber(flows))
    end)

    it("flow: the key is as the first packet had it", function()
      make("in.pcap", { { 0, { src = "10.0.0.9", dst = "10.0.0.1", sport = 5, dport = 6 } },
        { 1, { src = "10.0.0.1", dst = "10.0.0.9", sport = 6, dport = 5 } },
        { 2, { src = "10.0.0.1", dst = "10.0.0.9", sport = 7, dport = 5 } } })
      assert.equal("10.0.0.9:5 <> 10.0.0.1:6 UDP 10.0.0.9 5 10.0.0.1 6 17\n10.0.0.1:7 <> 10.0.0.9:5 UDP 10.0.0.1 7 10.0.0.9 5 17",
        output([[local f = moontap.table { key = "flow" }
          return { on_packet = function(p) local v = f[p] end, on_stop = function()
            for k in f:pairs() do print(tostring(k) .. " " .. k.src .. " " .. k.sport .. " " .. k.dst .. " " .. k.dport .. " " .. k.proto) end
          end }]], "in.pcap"))
    end)

    it("print: tuple, pair, addresses, ports", function()
      make("in.pcap", { { 0, { src = "10.9.1.2", dst = "10.9.1.1", sport = 4406, dport = 53 } } })
      assert.equal("10.9.1.2:4406 > 10.9.1.1:53 UDP|10.9.1.2 <> 10.9.1.1|10.9.1.2|10.9.1.1|4406 UDP|53 UDP",
        output([[local list = {}
          for k, kind in ipairs { "tuple", "pair", "src", "dst", "sport", "dport" } do list[k] = moontap.table { key = kind } end
          return { filter = "udp and ip", on_packet = function(p) for _, x in ipairs(list) do local v = x[p] end end,
            on_stop = function() local texts = {}
              for k, x in ipairs(list) do for key in x:pairs() do texts[k] = tostring(key) break end end
              print(table.concat(texts, "|")) end }]], "in.pcap"))
    end)

    it("parts of one's own, of every type", function()
      local r = output([[local x = moontap.table { key = { { "who", "address" }, { "port", "u16" }, { "a", "u8" }, { "b", "u32" },
          { "c", "i8" }, { "d", "i16" }, { "e", "i32" } }, value = { n = "count" } }
        local hand, keys = {}, 0
        return { on_packet = function(p) if p.is_ip then
            local v = x:get(p.src, p.dport, p.proto, p.wirelen, -p.proto, -p.proto * 100, -p.wirelen)
            v.n = v.n + 1
            local k = table.concat({ tostring(p.src), p.dport, p.proto, p.wirelen }, " ")
            if not hand[k] then keys = keys + 1 end
            hand[k] = (hand[k] or 0) + 1
          end end,
          on_stop = function()
            assert(#x == keys)
            for k, v in pairs(x) do
              assert(hand[table.concat({ tostring(k.who), k.port, k.a, k.b }, " ")] == v.n)
              assert(k.c == -k.a and k.d == -k.a * 100 and k.e == -k.b)
              assert(x:find(k).n == v.n)
            end
            print(x:find("10.9.1.2", 53, 17, 1, 0, 0, 0), x:get("::1", 1, 2, 3, 4, 5, 6).n, x:find("0:0::1", 1, 2, 3, 4, 5, 6).n)
          end }]])
      assert.equal("nil\t0\t0", r)
    end)

    it("parts of packets' keys may be given by hand, in either direction for a flow", function()
      make("in.pcap", { { 0, { src = "10.9.1.2", dst = "10.9.1.1", sport = 4406, dport = 53 } },
        { 1, { src = "10.9.1.1", dst = "10.9.1.2", sport = 53, dport = 4406 } } })
      assert.equal("2 2 nil 1", output([[local f = moontap.table { key = "flow", value = { n = "count" } }
        local s = moontap.table { key = "src", value = { n = "count" } }
        return { on_packet = function(p) f[p].n = f[p].n + 1 s[p].n = s[p].n + 1 end, on_stop = function()
          print(f:find("10.9.1.2", "10.9.1.1", 4406, 53, 17).n .. " " .. f:find(moontap.address "10.9.1.1", "10.9.1.2", 53, 4406, 17).n
            .. " " .. tostring(f:find("10.9.1.2", "10.9.1.1", 4406, 53, 6)) .. " " .. s:find("10.9.1.1").n)
          end }]], "in.pcap"))
    end)

    it("a copy of a packet is a key, also in a later hook and after the end", function()
      assert.equal("169 169", output([[local f, copies = moontap.table { key = "flow", value = { n = "count" } }, {}
        return { on_packet = function(p)
            copies[#copies + 1] = p:copy()
            local v = f[ copies[#copies] ]
            if v then v.n = v.n + 1 assert(f:find(p).n == v.n) end
          end,
          on_stop = function()
            local sum, found = 0, 0
            for _, v in f:pairs() do sum = sum + v.n end
            for _, q in ipairs(copies) do if f:find(q) or not q.is_ip then found = found + 1 end end
            for _, q in ipairs(copies) do if not q.is_ip then sum = sum + 1 end end
            print(sum .. " " .. found)
          end }]]))
    end)

    it("later fragments count under ports 0, and under no port", function()
      local first = c.udp { sport = 7, dport = 8, payload = ("x"):rep(24) }
      local later = first:sub(1, 20) .. "\0\3" .. first:sub(23) -- fragment offset 24
      first = first:sub(1, 20) .. "\32\0" .. first:sub(23)      -- more fragments
      t.write("in.pcap", c.pcap { { c.T0, 0, first }, { c.T0, 1, later } })
      assert.equal("10.0.0.1:7 <> 10.0.0.2:8 UDP,10.0.0.1:0 <> 10.0.0.2:0 UDP 1", output([[
        local f, s = moontap.table { key = "flow" }, moontap.table { key = "sport" }
        return { on_packet = function(p) local v, w = f[p], s[p] end, on_stop = function()
          local keys = {} for k in f:pairs() do keys[#keys + 1] = tostring(k) end
          print(table.concat(keys, ",") .. " " .. #s) end }]], "in.pcap"))
    end)

    it("a packet that p:truncate has cut has the key of what is left", function()
      assert.equal("0 0 169", output([[local f, n, wrong = moontap.table { key = "flow", value = { n = "count" } }, 0, 0
        return { on_packet = function(p)
            local before = f[p]
            if before then before.n = before.n + 1 end
            p:truncate(40) -- no ports are left of most, no address of IPv6
            local after = f:find(p)
            if not p.is_ip or not p.src then
              if after then wrong = wrong + 1 end
            elseif before and after and not p.has_ports and before.n ~= after.n then
              wrong = wrong + 1
            end
            p:truncate(20)
            if f[p] then wrong = wrong + 1 end
            n = n + 1
          end, on_stop = function()
            local zero = 0
            for k, v in f:pairs() do if v.n == 0 then zero = zero + 1 end end
            print(wrong .. " " .. zero .. " " .. n) end }]]))
    end)

    it("on_batch: each packet has its key, in any order", function()
      make_random("in.pcap", 3000, 50, 3)
      assert.equal("3000 50 0", output(TEXT .. [[
        local f, hand, wrong = moontap.table { key = "flow", value = { n = "count" } }, {}, 0
        return { on_batch = function(batch)
            for i = batch.n - 1, 0, -1 do
              local p = batch[i]
              f[p].n = f[p].n + 1
              local k = flow_text(p)
              hand[k] = (hand[k] or 0) + 1
            end
          end, on_stop = function()
            local sum = 0
            for k, v in f:pairs() do sum = sum + v.n if hand[of_key("flow", k)] ~= v.n then wrong = wrong + 1 end end
            print(sum .. " " .. #f .. " " .. wrong) end }]], "in.pcap"))
    end)

    it("several tables in a hook, and tables of several scripts in a chain", function()
      t.write("a.lua", [[local s, d = moontap.table { key = "src", value = { n = "count" } }, moontap.table { key = "dst", value = { n = "count" } }
        return { on_packet = function(p) local a, b = s[p], d[p] if a then a.n = a.n + 1 b.n = b.n + 1 end return p.is_tcp end,
          on_stop = function() print("a", #s, #d) end }]])
      t.write("b.lua", [[local f = moontap.table { key = "tuple", value = { n = "count" } }
        return { on_batch = function(batch) for i = 0, batch.n - 1 do f[ batch[i] ].n = f[ batch[i] ].n + 1 end end,
          on_stop = function() local sum = 0 for k, v in f:pairs() do assert(k.proto == 6) sum = sum + v.n end print("b", sum) end }]])
      local tcp = #t.field("f/web.pcap", "frame.number", "tcp")
      local src = {}
      for _, file in ipairs { "ip.src", "ipv6.src" } do
        for _, a in ipairs(t.field("f/web.pcap", file)) do if a ~= "" then src[a] = true end end
      end
      local n = 0
      for _ in pairs(src) do n = n + 1 end
      local lines = t.run("moontap -q -l ./a.lua -l ./b.lua f/web.pcap").out
      assert.equal(("a\t%d\t%d\nb\t%d\n"):format(n, tonumber(lines:match("a\t%d+\t(%d+)")), tcp), lines)
    end)
  end)

  describe("packets that a script has changed, and inner ones", function()
    it("an edited packet has the key of what it is now, in the same hook and in later scripts", function()
      make_random("in.pcap", 2500, 20, 31)
      t.write("b.lua", [[local f = moontap.table { key = "dst", value = { n = "count" } }
        return { on_packet = function(p) f[p].n = f[p].n + 1 end, on_stop = function()
          local n = 0 for k, v in f:pairs() do if tostring(k) == "192.0.2.9" then n = n + v.n end end print(n, #f) end }]])
      local n = #t.field("in.pcap", "frame.number", "ip.dst == 10.2.0.1")
      local r = output([[local f, n, home = moontap.table { key = "dst", value = { n = "count" } }, 0, moontap.address "10.2.0.1"
        return { on_packet = function(p)
          f[p].n = f[p].n + 1
          if p.dst == home then
            p:edit().dst = "192.0.2.9"
            assert(f[p].n == n)
            f[p].n = n + 1
            n = n + 1
            assert(f:find("192.0.2.9").n == n)
          end
        end, on_stop = function() assert(f:find("192.0.2.9").n == n) print(n) end }]], "-l ./b.lua in.pcap")
      assert.equal(n, tonumber(r:match("^(%d+)\n")))
      assert.equal(n, tonumber(r:match("\n(%d+)\t")))
    end)

    for _, kind in ipairs { "flow", "tuple", "pair", "src", "dst", "sport", "dport" } do
      it("keys that were hashed before the script runs are those of its packets: " .. kind, function()
        t.generate("d", "--packets 60000 --files 2 --snaplen 60 --dns")
        local r = t.run(("moontap -q -l %s,kind=%s -F 'not udp src port 53' d/*"):format(NOTES, kind))
        assert.is_truthy(r.out:find("^%d+ packets, hashed ahead, 0 differ, 0 entries more\n$"), r.out)
      end)
    end

    it("ageing goes by the time that was read, whatever a script makes of it", function()
      make("in.pcap", { { 0, 1 }, { 0.5, 1 }, { 1.2, 1 }, { 2.5, 1 } })
      t.write("b.lua", [[local f = moontap.table { key = "sport", value = { n = "count" }, idle = 1, on_expire = function(k, v, r)
          io.write(v.n, " ", r, " ", ("%.1f"):format(v.last_seen - 1.7e9), "|") end }
        return { on_HOOK }]])
      local expected = "3 idle 1.2|1 end 2.5|"
      for _, hook in ipairs { "packet = function(p) f[p].n = f[p].n + 1 end", "batch = function(b) for i = 0, b.n - 1 do f[ b[i] ].n = f[ b[i] ].n + 1 end end" } do
        t.write("c.lua", (t.read("b.lua"):gsub("HOOK", function() return hook end)))
        assert.equal(expected, output("return { on_packet = function(p) p:edit().ts = p.ts * 1.5 end }", "-l ./c.lua in.pcap"))
        assert.equal(expected, output("return { on_batch = function(b) for i = 0, b.n - 1 do b[i]:edit().ts = 5 end end }", "-l ./c.lua in.pcap"))
      end
    end)

    it("p:inner() has its own key, and the time of its packet", function()
      local inside = c.ip_udp { src = "192.168.1.1", dst = "192.168.1.2", sport = 7, dport = 8 }
      local file = {}
      for k = 0, 4 do -- IP in IP
        local outer = c.ip_udp { payload = inside:sub(9) } -- as long as the outer header with the inner packet
        file[k + 1] = { c.T0 + 2 * k, 0, "\2\0\0\0\0\2\2\0\0\0\0\1\8\0" .. outer:sub(1, 9) .. "\4" .. outer:sub(11, 20) .. inside }
      end
      t.write("in.pcap", c.pcap(file))
      local text = [[local told = ""
        local f = moontap.table { key = "flow", value = { n = "count" }, idle = 3, on_expire = function(k, v, r) told = told .. r end }
        local g = moontap.table { key = "flow", value = { n = "count" }, idle = 1, on_expire = function(k, v, r)
          told = told .. ("%s n=%d %.0f %s|"):format(k, v.n, v.last_seen - 1.7e9, r) end }
        local function use(p)
          local q = p:inner()
          f[q].n, f[p].n = f[q].n + 1, f[p].n + 2
          g[q].n = g[q].n + 1
          assert(f:find(q).n * 2 == f:find(p).n and #f == 2 and f:find("192.168.1.1", "192.168.1.2", 7, 8, 17).n == f[q].n)
        end
        return { on_HOOK, on_stop = function() print(told) end }]]
      local expected = "192.168.1.1:7 <> 192.168.1.2:8 UDP n=1 %d idle|"
      local lines = ""
      for k = 0, 3 do lines = lines .. expected:format(2 * k) end
      for _, hook in ipairs { "packet = use", "batch = function(b) for i = 0, b.n - 1 do use(b[i]) end end" } do
        assert.equal(lines .. "endend192.168.1.1:7 <> 192.168.1.2:8 UDP n=1 8 end|", output((text:gsub("HOOK", function() return hook end)), "in.pcap"))
      end
    end)
  end)

  -- --- values -------------------------------------------------------------------------------

  describe("values", function()
    it("hold what fits their type, to the bounds", function()
      assert.equal("ok", output([[local x = moontap.table { key = { { "k", "u8" } }, value = { count = "count", big = "double",
          small = "float", u8 = "u8", u16 = "u16", u32 = "u32", i8 = "i8", i16 = "i16", i32 = "i32", ["end"] = "u8", ["nil"] = "count" } }
        local v = x:get(1)
        local bounds = { u8 = { 0, 255 }, u16 = { 0, 65535 }, u32 = { 0, 4294967295 }, i8 = { -128, 127 }, i16 = { -32768, 32767 },
          i32 = { -2147483648, 2147483647 } }
        for name, b in pairs(bounds) do
          assert(v[name] == 0)
          for k = 1, 2 do v[name] = b[k] assert(v[name] == b[k]) end
          for _, bad in ipairs { b[1] - 1, b[2] + 1, 0 / 0, 1 / 0 } do
            local ok, why = pcall(function() v[name] = bad end)
            assert(not ok and why:find("field '" .. name .. "' of a value is a " .. name .. ": .* does not fit"), why)
          end
          v[name] = b[2] - 0.5
          assert(v[name] == b[2] - 1, "a fraction is cut off")
        end
        v.count, v.big, v.small, v["end"], v["nil"] = 2^53, 1e300, 0.5, 7, 8
        assert(v.count == 2^53 and v.big == 1e300 and v.small == 0.5 and v["end"] == 7 and v["nil"] == 8)
        return { on_stop = function() print "ok" end }]]))
    end)

    it("print, and are a plain table in a row", function()
      make("in.pcap", { { 0, { src = "10.9.1.2", dst = "10.9.1.1", sport = 4406, dport = 53, payload = "abc" } } })
      assert.equal("bytes=45 packets=1\n10.9.1.2 > 45 1 17 4406 53", output([[local f = moontap.table { key = "flow",
          value = { packets = "count", bytes = "count" } }
        return { on_packet = function(p) f[p].packets = 1 f[p].bytes = p.wirelen end,
          on_stop = function() for k, v in f:pairs() do print(v) local r = f:row(k, v)
            print(r.src .. " > " .. r.bytes .. " " .. r.packets .. " " .. r.proto .. " " .. r.sport .. " " .. r.dport) end end }]], "in.pcap"))
    end)

    it("are gone when their entry is removed, cleared, collected or made anew", function()
      for _, what in ipairs { "x:remove(1)", "x:clear()", "x:remove(1) x:get(1)", "x = nil collectgarbage() collectgarbage()",
        "x:drain(function() end)" } do
        raises("local x = moontap.table { key = { { 'k', 'u8' } }, value = { n = 'count' } } local v = x:get(1) v.n = 1 "
          .. what .. " v.n = 2 return {}", "this value is gone")
        raises("local x = moontap.table { key = { { 'k', 'u8' } }, value = { n = 'count' } } local v = x:get(1) v.n = 1 "
          .. what .. " print(v.n) return {}", "this value is gone")
      end
    end)

    it("remove their entry, once, and from their own table only", function()
      assert.equal("true\tfalse\tfalse\t1\ttrue\t0", output([[
        local function new() return moontap.table { key = { { "k", "u8" } }, value = { n = "count" } } end
        local x = new()
        local v, w = x:get(1), x:get(2)
        local a, b = x:remove(v), x:remove(v)
        x:get(1)
        local c = x:remove(v) -- another entry of the same key
        x:remove(1)
        local n = #x
        return { on_stop = function() print(a, b, c, n, x:remove(w), #x) end }]]))
      raises("local function new() return moontap.table { key = { { 'k', 'u8' } }, value = { n = 'count' } } end "
        .. "local x, y = new(), new() x:get(1) y:get(1) x:remove(y:get(1)) return {}", "remove: the value is of another table")
      raises("local x = moontap.table { key = { { 'k', 'u8' } }, value = { n = 'count' }, limit = 1 } "
        .. "x:get(1) x:remove(x:get(2)) return {}", "or the one of overflow()")
    end)

    it("stay good while the table grows", function()
      assert.equal("5", output([[local x = moontap.table { key = { { "k", "u32" } }, value = { n = "count" } }
        local v = x:get(1) v.n = 5
        for k = 2, 300000 do x:get(k) end
        return { on_stop = function() print(v.n) end }]]))
    end)
  end)

  -- --- misuse -------------------------------------------------------------------------------

  describe("says what is wrong", function()
    it("with a declaration", function()
      refuses("{ key = 'flwo' }", "there is no 'flwo'", "did you mean 'flow'?")
      refuses("{ kye = 'flow' }", "there is no 'kye'", "did you mean 'key'?")
      refuses("{}", "key: expected a name")
      refuses("{ key = {} }", "key: expected a name")
      refuses("{ key = { { 'a', 'adress' } } }", "key 'a': no type 'adress'", "did you mean 'address'?")
      refuses("{ key = { { 'a', 'double' } } }", "no type 'double'")
      refuses("{ key = { 'a' } }", "key 1: expected")
      refuses("{ key = { { 'a', 'u8' }, { 'a', 'u8' } } }", "key 'a' is declared twice")
      refuses("{ key = { { 'a b', 'u8' } } }", "a name is letters")
      refuses("{ key = 'flow', value = { n = 'cuont' } }", "value 'n': no type 'cuont'", "did you mean 'count'?")
      refuses("{ key = 'flow', value = { n = 'u64' } }", "there is no u64", "'count' is whole to 2^53")
      refuses("{ key = 'flow', value = { int = 'count' } }", "a word of C")
      refuses("{ key = 'flow', value = 'count' }", "value: expected a table")
      refuses("{ key = 'flow', value = { { 'n', 'count' }, m = 'count' } }", "'m' stands beside a list")
      refuses("{ key = 'flow', value = { n = { 'count', merge = 'maxx' } } }", "merge can not be 'maxx'", "did you mean 'max'?")
      refuses("{ key = 'flow', value = { n = { 'count', marge = 'max' } } }", "there is no 'marge'", "did you mean 'merge'?")
      refuses("{ key = 'flow', limit = 0 }", "limit: expected a number of entries, 1 to", "found 0")
      refuses("{ key = 'flow', limit = 'many' }", "found many")
      refuses("{ key = 'flow', limit = 10, size = 11 }", "size: expected a number of entries, 1 to 10")
      refuses("{ key = 'flow', policy = 'evcit' }", "policy: there is no 'evcit'", "did you mean 'evict'?")
      refuses("{ key = 'flow', idle = 0 }", "idle: expected seconds", "found 0")
      refuses("{ key = 'flow', active = 0/0 }", "active: expected seconds")
      refuses("{ key = 'flow', on_expire = 1 }", "on_expire: expected a function of key, value and reason, found a number")
      refuses("{ key = 'flow', idle = 1, value = { last_seen = 'double' } }", "value 'last_seen'", "has that already")
      raises("moontap.table 'flow'", "expected { key = …, value = … }, found a string")
    end)

    it("with a value, a key or a method", function()
      local x = "local x = moontap.table { key = { { 'port', 'u16' }, { 'who', 'address' } }, value = { packets = 'u8' } } "
      raises(x .. "x:get(1, '::1').packtes = 1", "no field 'packtes'", "did you mean 'packets'?")
      raises(x .. "print(x:get(1, '::1').packtes)", "no field 'packtes'", "did you mean 'packets'?")
      raises(x .. "x:get(1, '::1').packets = 'one'", "field 'packets' of a value takes a number, found a string")
      raises(x .. "x:get(1, '::1').packets = 256", "field 'packets' of a value is a u8: 256 does not fit")
      raises(x .. "x:get(65536, '::1')", "key: port is a u16: 65536 does not fit")
      raises(x .. "x:get(1.5, '::1')", "key: port is a u16: 1.5 does not fit")
      raises(x .. "x:get(nil, '::1')", "key: port: expected a number, found nothing")
      raises(x .. "x:get(1, 'example.org')", "key: who: 'example.org' is no IP address")
      raises(x .. "x:get(1)", "key: who: expected an address, found nothing")
      raises(x .. "x:get(1, {})", "key: who: expected an address, found a table")
      raises(x .. "x:gte(1, '::1')", "a table has no method 'gte'", "did you mean 'get'?")
      raises(x .. "x[1] = 2", "entries are not set")
      raises(x .. "x:top(10, 'packtes')", "no field 'packtes'", "did you mean 'packets'?")
      raises(x .. "x:top('packets', 10)", "top: expected a number of entries and a field, found packets")
      raises(x .. "x:rows(-1, 'packets')", "rows: expected a number of entries and a field, found -1")
      raises(x .. "x:get(1, '::1') for k in x:pairs() do print(k.prot) end", "no field 'prot'", "did you mean 'port'?")
      raises(x .. "x:get(1, '::1') for k in x:pairs() do k.port = 1 end", "a key can not be changed")
      raises(x .. "x:drain()", "drain: expected a function of key, value and reason, found nothing")
      raises("local x = moontap.table { key = 'src', idle = 1 } x:get('::1').last_seen = 1", "'last_seen' of a value can not be set")
    end)

    it("with a packet that is gone", function()
      raises("local x, q = moontap.table { key = 'flow' } return { on_packet = function(p) if q then local v = x[q] end q = p end }",
        "this packet is gone")
    end)
  end)

  -- --- limits -------------------------------------------------------------------------------

  describe("limit", function()
    it("overflow: what finds no room is counted together, and a warning says so once", function()
      make_random("in.pcap", 4000, 300, 11)
      local r = script(TEXT .. [[
        local f, hand, n = moontap.table { key = "flow", value = { n = "count" }, limit = 100 }, {}, 0
        local over = 0
        return { on_packet = function(p)
            local k = flow_text(p)
            if not hand[k] and n < 100 then hand[k] = 0 n = n + 1 end
            if hand[k] then hand[k] = hand[k] + 1 else over = over + 1 end
            local v = f[p]
            v.n = v.n + 1
          end, on_stop = function()
            for k, v in f:pairs() do assert(v.n == hand[of_key("flow", k)]) end
            local v, times = f:overflow()
            local s = f:stats()
            assert(v.n == over and times == over and s.refused == over and s.entries == 100 and s.limit == 100 and s.evicted == 0)
            print(#f, over > 0)
            f:clear()
            assert(f:stats().refused == 0 and f:overflow().n == 0 and #f == 0)
            for k = 1, 101 do f:get("::1", "::2", k, k, 17) end
          end }]], "in.pcap")
      assert.equal("100\ttrue\n", r.out)
      local _, warnings = r.err:gsub("a table of flow is full %(limit%) at 100 entries: new keys are counted together", "")
      assert.equal(1, warnings, r.err)
    end)

    it("find does not make entries, and find of a key without room gives nil", function()
      assert.equal("nil 1 nil 0", output([[local x = moontap.table { key = { { "k", "u8" } }, limit = 1 }
        local a = tostring(x:find(1)) x:get(1) local b = tostring(x:find(2))
        return { on_stop = function() print(a .. " " .. #x .. " " .. b .. " " .. x:stats().refused) end }]]))
    end)

    it("evict: the least recently used makes room, as in a list by hand", function()
      make_random("in.pcap", 6000, 300, 5, true)
      local r = script(TEXT .. [[
        local told, expected = {}, {}
        local f = moontap.table { key = "flow", value = { n = "count" }, limit = 100, policy = "evict",
          on_expire = function(k, v, reason) told[#told + 1] = of_key("flow", k) .. " " .. v.n .. " " .. reason end }
        local hand, use, n, uses = {}, {}, 0, 0
        return { on_packet = function(p)
            local k = flow_text(p)
            if not hand[k] and n == 100 then
              local oldest
              for other, u in pairs(use) do if not oldest or u < use[oldest] then oldest = other end end
              expected[#expected + 1] = oldest .. " " .. hand[oldest] .. " full"
              hand[oldest], use[oldest] = nil, nil
              n = n - 1
            end
            if not hand[k] then hand[k] = 0 n = n + 1 end
            uses = uses + 1
            hand[k], use[k] = hand[k] + 1, uses
            f[p].n = f[p].n + 1
          end, on_stop = function()
            local left = 0
            for i, line in ipairs(told) do
              if line:find "end$" then
                left = left + 1
                assert(hand[line:match "^(.*) %d+ end$"] == tonumber(line:match "(%d+) end$"), line)
              else
                assert(line == expected[i], i .. ": " .. line .. " instead of " .. tostring(expected[i]))
              end
            end
            assert(left == 100 and #told == #expected + 100)
            assert(f:stats().evicted == #expected)
            print(#f, #expected > 1000)
          end }]], "in.pcap")
      assert.equal("0\ttrue\n", r.out)
      local _, warnings = r.err:gsub("a table of flow is full %(limit%) at 100 entries: for each new one the least recently used ends", "")
      assert.equal(1, warnings, r.err)
    end)

    it("evict works with a limit of one, without on_expire, and after removals", function()
      assert.equal("1 999 5", output([[local x = moontap.table { key = { { "k", "u32" } }, value = { n = "u32" }, limit = 1, policy = "evict" }
        for k = 1, 1000 do x:get(k).n = k assert(#x == 1 and x:find(k).n == k and not x:find(k - 1)) end
        local y = moontap.table { key = { { "k", "u32" } }, limit = 3, policy = "evict" }
        for k = 1, 3 do y:get(k) end
        y:remove(2) y:get(4) y:get(1) y:get(5) -- 3 goes
        assert(not y:find(3) and y:find(1) and y:find(4) and y:find(5) and #y == 3)
        return { on_stop = function() local last for k in y:pairs() do last = k.k end print(#x .. " " .. x:stats().evicted .. " " .. last) end }]]))
    end)

    it("memory is outside of --script-memory, stays within the limit, and is given back", function()
      local r = output([[local x = moontap.table { key = { { "k", "u32" } }, value = { a = "double", b = "double" }, limit = 200000 }
        local before = x:memory()
        for k = 1, 1000000 do x:get(k).a = k end
        local full = x:memory()
        x:clear()
        return { on_stop = function() print(before < 200e3, full > 200000 * 32, full < 200000 * (32 + 32) + 2.5e6, x:memory() <= full) end }]],
        "--script-memory 16M f/web.pcap")
      assert.equal("true\ttrue\ttrue\ttrue", r)
    end)

    it("a million packets of 200,000 flows stay within a few megabytes", function()
      t.run(("cc -O1 -std=c11 -D_GNU_SOURCE -o generate %s/bench/generate.c"):format(os.getenv("PWD")))
      t.run("mkdir g && ./generate --packets 1000000 --files 1 --flows 200000 --dir g")
      local PEAK = [[local function peak() return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)")) / 1024 end ]]
      local plain = tonumber(output(PEAK .. [[local n = 0 return { on_packet = function(p) n = n + p.sport end, on_stop = function() print(peak()) end }]],
        "g/1.pcap"))
      for _, policy in ipairs { "limit = 50000", "limit = 50000, policy = 'evict'", "limit = 50000, policy = 'evict', idle = 0.05, on_expire = ended" } do
        local r = output(PEAK .. [[local packets = 0
          local function ended(k, v) packets = packets + v.packets end
          local f = moontap.table { key = "flow", value = { packets = "count", bytes = "count" }, ]] .. policy .. [[ }
          return { on_packet = function(p) local v = f[p] v.packets = v.packets + 1 v.bytes = v.bytes + p.wirelen end,
            on_stop = function()
              for _, v in f:pairs() do packets = packets + v.packets end
              print(packets + f:overflow().packets, f:stats().evicted, peak())
            end }]], "g/1.pcap")
        local packets, evicted, peak = r:match("(%d+)\t(%d+)\t([%d.]+)")
        if policy == "limit = 50000, policy = 'evict'" then
          assert.is_true(tonumber(evicted) > 100000)
        else
          assert.equal("1000000", packets)
        end
        if not t.asan then
          assert.is_true(tonumber(peak) < plain + 14, ("%s: %s MB, %s without a table"):format(policy, peak, plain))
        end
      end
    end)
  end)

  -- --- the rest of the methods --------------------------------------------------------------

  it("grows to a million keys, removes and finds them again, as by hand", function()
    assert.equal("ok", output([[local x = moontap.table { key = { { "k", "u32" } }, value = { n = "u32" } }
      for k = 0, 999999 do x:get(k * 7919 % 1000003).n = k end
      for k = 0, 999999 do assert(x:find(k * 7919 % 1000003).n == k) end
      for k = 0, 999999, 2 do assert(x:remove(k * 7919 % 1000003)) end
      assert(not x:remove(0) and #x == 500000)
      for k = 0, 999999 do
        local v = x:find(k * 7919 % 1000003)
        assert(k % 2 == 0 and v == nil or v.n == k)
      end
      for k = 0, 999999, 2 do x:get(k * 7919 % 1000003).n = k end
      local n, sum = 0, 0
      for _, v in x:pairs() do n, sum = n + 1, sum + v.n end
      assert(n == 1000000 and sum == 999999 * 500000)
      x:clear()
      assert(#x == 0 and not x:find(5))
      return { on_stop = function() print "ok" end }]]))
  end)

  it("removes and adds within a batch, as by hand", function()
    make_random("in.pcap", 5000, 40, 9)
    assert.equal("ok", output(TEXT .. [[
      local f, hand, n = moontap.table { key = "flow", value = { n = "count" } }, {}, 0
      return { on_packet = function(p)
          local k = flow_text(p)
          n = n + 1
          if n % 3 == 0 then
            assert(f:remove(p) == (hand[k] ~= nil))
            hand[k] = nil
          elseif n % 500 == 1 then
            f:clear()
            hand = {}
          else
            local v = f:find(p)
            assert((v ~= nil) == (hand[k] ~= nil))
            assert(not v or v.n == hand[k])
            hand[k] = (hand[k] or 0) + 1
            f[p].n = f[p].n + 1
          end
        end, on_stop = function()
          for k, v in f:pairs() do assert(hand[of_key("flow", k)] == v.n) hand[of_key("flow", k)] = nil end
          assert(next(hand) == nil)
          print "ok" end }]], "in.pcap"))
  end)

  it("pairs: removing while it goes; keys are values that compare", function()
    assert.equal("50 true true false", output([[local x = moontap.table { key = { { "k", "u8" } } }
      for k = 1, 100 do x:get(k) end
      local kept
      for k in x:pairs() do if k.k % 2 == 0 then x:remove(k) else kept = k end end
      local same, first
      for k in x:pairs() do first = first or k if k == kept then same = true end end
      return { on_stop = function() print(#x .. " " .. tostring(same) .. " " .. tostring(kept.k == 99) .. " " .. tostring(first == kept)) end }]]))
  end)

  it("top: the largest first, of equal ones the first to come, as sorting does", function()
    make_random("in.pcap", 3000, 200, 13)
    assert.equal("ok", output([[local f = moontap.table { key = "flow", value = { n = "count", x = "double" } }
      return { on_packet = function(p) f[p].n = f[p].n + 1 f[p].x = -f[p].n end, on_stop = function()
        local list = {}
        for k, v in f:pairs() do list[#list + 1] = { tostring(k), v.n, #list } end
        table.sort(list, function(a, b) return a[2] > b[2] or (a[2] == b[2] and a[3] < b[3]) end)
        for _, n in ipairs { 0, 1, 7, #f, 5000 } do
          local top, rows = f:top(n, "n"), f:rows(n, "n")
          assert(#top == math.min(n, #f) and #rows == #top)
          for i, e in ipairs(top) do
            assert(tostring(e.key) == list[i][1] and e.value.n == list[i][2] and rows[i].n == e.value.n)
          end
        end
        assert(#f:rows() == #f and f:top(1, "x")[1].value.n == list[#list][2])
        print "ok" end }]], "in.pcap"))
  end)

  it("rows are lists of objects in --json", function()
    t.write("s.lua", [[local f, none = moontap.table { key = "src", value = { n = "count" } }, moontap.table { key = "src" }
      return { on_packet = function(p) local v = f[p] if v then v.n = v.n + 1 end end,
        results = function() return { rows = f:rows(2, "n"), none = none:rows(), stats = f:stats(), top = f:top(1, "n") } end }]])
    local r = t.json("moontap --json -l ./s.lua f/web.pcap").scripts.s
    local counts = {}
    for _, a in ipairs(t.field("f/web.pcap", "ip.src")) do
      a = a:match("^[^,]*")
      if a ~= "" then counts[a] = (counts[a] or 0) + 1 end
    end
    assert.equal(2, #r.rows)
    for _, row in ipairs(r.rows) do
      if counts[row.src] then assert.equal(counts[row.src], row.n) end
    end
    assert.is_true(r.rows[1].n >= r.rows[2].n)
    assert.same({}, r.none)
    assert.equal(0, r.stats.evicted)
    assert.is_true(r.stats.entries >= 2)
    assert.equal(r.rows[1].src, r.top[1].key)
  end)

  it("many tables, made and let go of, take the memory of a few", function()
    local r = output([[local function peak() return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)")) / 1024 end
      local before = peak()
      for n = 1, 300 do
        local x = moontap.table { key = { { "k", "u32" } }, value = { n = "count" }, idle = n % 2 == 0 and 5 or nil }
        for k = 1, 20000 do x:get(k).n = n end
        assert(#x == 20000)
      end
      return { on_stop = function() print(peak() - before < 40) end }]])
    assert.equal("true", r)
  end)

  it("a table that was let go of is empty when it is used again, and warns anew", function()
    local r = script([[for n = 1, 3 do
        local x = moontap.table { key = { { "k", "u32" } }, value = { n = "count" }, limit = 10 }
        assert(#x == 0 and x:stats().refused == 0)
        for k = 1, 20 do x:get(k).n = 1 end
        x = nil collectgarbage() collectgarbage()
      end
      return {}]])
    local _, warnings = r.err:gsub("is full", "")
    assert.equal(3, warnings, r.err)
  end)

  -- --- ageing -------------------------------------------------------------------------------

  -- A script that does by hand what a table with these options does, and prints what on_expire was told; it
  -- raises on the first difference.  IDLE and ACTIVE in ns, LIMIT of entries.
  local function by_hand(options, idle, active, limit, more)
    return TEXT .. ([[
      local IDLE, ACTIVE, LIMIT = %s, %s, %s
      local told, expected, hand, n, seq, uses, clock, first_ns = {}, {}, {}, 0, 0, 0, -1, nil
      local f = moontap.table { key = "flow", value = { n = "count" }, %s, on_expire = function(k, v, reason)
        local line = ("%%s n=%%d %%d %%d %%s"):format(of_key("flow", k), v.n, tonumber(v.first_seen_ns - first_ns),
          tonumber(v.last_seen_ns - first_ns), reason)
        told[#told + 1] = line
        print(line)
      end }
      local function expect(k, reason)
        local h = hand[k]
        expected[#expected + 1] = ("%%s n=%%d %%d %%d %%s"):format(k, h.n, h.first, h.last, reason)
        hand[k], n = nil, n - 1
      end
      local function expire(now)
        local list = {}
        for k, h in pairs(hand) do
          local idle, active = h.last + IDLE, h.first + ACTIVE
          local at = math.min(idle, active)
          if at <= now then list[#list + 1] = { k, at, h.seq, active < idle and "active" or "idle" } end
        end
        table.sort(list, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[3] < b[3]) end)
        for _, e in ipairs(list) do expect(e[1], e[4]) end
      end
      local function use(p)
        first_ns = first_ns or p.ts_ns - p.t
        clock = math.max(clock, p.t)
        expire(clock)
        local k = flow_text(p)
        if not hand[k] and n == LIMIT then
          local oldest
          for other, h in pairs(hand) do if not oldest or h.use < hand[oldest].use then oldest = other end end
          expect(oldest, "full")
        end
        if not hand[k] then
          seq, n = seq + 1, n + 1
          hand[k] = { n = 0, first = clock, seq = seq }
        end
        uses = uses + 1
        local h, v = hand[k], f[p]
        h.n, h.last, h.use = h.n + 1, clock, uses
        v.n = v.n + 1
        assert(#f == n and v.n == h.n)
        assert(#told == #expected and told[#told] == expected[#told], tostring(told[#told]) .. " instead of " .. tostring(expected[#expected]))
      end
      local function ended()
        local rest = {}
        for k, h in pairs(hand) do rest[#rest + 1] = { k, h.seq } end
        table.sort(rest, function(a, b) return a[2] < b[2] end)
        for _, e in ipairs(rest) do expect(e[1], "end") end
        assert(#told == #expected)
        for i, line in ipairs(expected) do assert(told[i] == line, line) end
        local s = f:stats()
        local reasons = { idle = 0, active = 0, full = 0, ["end"] = 0 }
        for _, line in ipairs(told) do local r = line:match "%%a+$" reasons[r] = reasons[r] + 1 end
        assert(s.idle == reasons.idle and s.active == reasons.active and s.evicted == reasons.full and s.entries == 0)
        print(("idle %%d active %%d full %%d end %%d"):format(reasons.idle, reasons.active, reasons.full, reasons["end"]))
      end
      %s]]):format(idle or "math.huge", active or "math.huge", limit or "math.huge", options,
      more or "return { on_packet = use, on_stop = ended }")
  end

  describe("ageing", function()
    it("idle: an entry ends at the nanosecond, and a new one begins", function()
      make("in.pcap", { { 0, 1 }, { 0.5, 1 }, { 1.499999, 1 }, { 2.499999, 1 }, { 3, 1 } })
      assert.equal("0.000000 1.499999 n=3 idle\n2.499999 3.000000 n=2 end", output([[
        local f = moontap.table { key = "flow", value = { n = "count" }, idle = 1, on_expire = function(k, v, reason)
          print(("%.6f %.6f n=%d %s"):format(v.first_seen - 1.7e9, v.last_seen - 1.7e9, v.n, reason)) end }
        return { on_packet = function(p) f[p].n = f[p].n + 1 end }]], "in.pcap"))
    end)

    it("active: an entry ends at its age, however busy it is", function()
      make("in.pcap", { { 0, 1 }, { 0.5, 1 }, { 0.999999, 1 }, { 1, 1 }, { 1.999999, 1 }, { 2, 1 } })
      assert.equal("3 active\n2 active\n1 end", output([[
        local f = moontap.table { key = "flow", value = { n = "count" }, active = 1, on_expire = function(k, v, reason) print(v.n .. " " .. reason) end }
        return { on_packet = function(p) f[p].n = f[p].n + 1 end }]], "in.pcap"))
    end)

    for name, case in pairs {
      ["idle"] = { "idle = 0.02", "2e7", nil, nil },
      ["active"] = { "active = 0.5", nil, "5e8", nil },
      ["both"] = { "idle = 3, active = 5", "3e9", "5e9", nil },
      ["a limit, evicting"] = { "idle = 4, active = 5, limit = 70, policy = 'evict'", "4e9", "5e9", 70 },
      ["active and a limit, evicting"] = { "active = 0.3, limit = 20, policy = 'evict'", nil, "3e8", 20 },
    } do
      it("as by hand: " .. name, function()
        local ends = { idle = 0, active = 0, full = 0 }
        for seed = 1, 3 do
          make_random("in.pcap", 3000, ({ 100, 300, 700 })[seed], seed, seed > 1)
          local last = output(by_hand(case[1], case[2], case[3], case[4]), "in.pcap"):match("[^\n]*$")
          for reason, n in pairs(ends) do ends[reason] = n + tonumber(last:match(reason .. " (%d+)")) end
        end
        assert.same({ case[2] ~= nil, case[3] ~= nil, case[4] ~= nil }, { ends.idle > 0, ends.active > 0, ends.full > 0 })
      end)
    end

    it("does not depend on how packets fall into batches", function()
      make_random("in.pcap", 3000, 300, 4, true)
      local text = by_hand("idle = 0.1, active = 0.4, limit = 60, policy = 'evict'", "1e8", "4e8", 60)
      local whole = output(text, "in.pcap")
      assert.is_true(#whole > 10000)
      assert.equal(whole, output(text, "- < in.pcap"))
      local slow = t.run("(for k in 1 2 3 4 5 6 7; do head -c 20000; sleep 0.03; done; cat) < in.pcap | moontap -q -l ./s.lua -").out
      assert.equal(whole, (slow:gsub("\n$", "")))
      -- two sources that are merged give the same stream in other batches
      t.run("editcap -r in.pcap a.pcap 1-1111 2000-2100 && editcap in.pcap b.pcap 1-1111 2000-2100")
      make_random("in.pcap", 3000, 300, 4, false)
      whole = output(text, "in.pcap")
      t.run("editcap -r in.pcap a.pcap 1-500 1000-1700 && editcap in.pcap b.pcap 1-500 1000-1700")
      assert.equal(t.count("in.pcap"), t.count("a.pcap") + t.count("b.pcap"))
      local merged = output(text, "a.pcap b.pcap")
      assert.equal(#whole, #merged) -- packets of the same time may change places
      assert.is_true(sorted_lines(whole) == sorted_lines(merged) or #t.packets("in.pcap", { "frame.time_epoch" }) == 3000)
    end)

    it("on_batch gives what on_packet gives", function()
      make_random("in.pcap", 3000, 300, 6, true)
      local options = { "idle = 0.1, active = 0.4, limit = 60, policy = 'evict'", "1e8", "4e8", 60 }
      local one = output(by_hand(unpack(options)), "in.pcap")
      options[5] = "return { on_batch = function(batch) for i = 0, batch.n - 1 do use(batch[i]) end end, on_stop = ended }"
      assert.equal(one, output(by_hand(unpack(options)), "in.pcap"))
    end)

    it("lookups by parts are of the time of the packet in hand, in on_packet and on_batch", function()
      make_random("in.pcap", 3000, 100, 8, true)
      local text = [[
        local x = moontap.table { key = { { "port", "u16" } }, value = { n = "count" }, idle = 0.05, on_expire = function(k, v, reason)
          print(("%d %d %s %s %s"):format(k.port, v.n, tostring(v.first_seen_ns), tostring(v.last_seen_ns), reason)) end }
        local function use(p) local v = x:get(math.max(p.sport, p.dport)) v.n = v.n + 1 end
        local f = moontap.table { key = "flow", value = { n = "count" }, idle = 0.05, on_expire = function() end }
        return { on_]]
      local packets = output(text .. "packet = use }", "in.pcap")
      local batches = output(text .. "batch = function(batch) for i = 0, batch.n - 1 do use(batch[i]) end end }", "in.pcap")
      assert.is_true(#packets > 10000)
      assert.equal(packets, batches)
    end)

    it("find is a lookup, iteration is none; both never see what has ended", function()
      make("in.pcap", { { 0, 1 }, { 0, 2 }, { 0.9, 9 }, { 1.8, 9 }, { 2.7, 9 }, { 3.5, 9 } })
      assert.equal("0 2 3|0.9 2 3|1.8 1 2|2.7 1 2|3.5 1 2", output([[
        local f, lines = moontap.table { key = "flow", value = { n = "count" }, idle = 1 }, {}
        return { on_packet = function(p)
            local v = f[p]
            if p.sport ~= 2 and p.sport ~= 1 then f:find("10.0.0.1", "10.0.0.2", 1, 2000, 17) end
            local n = 0
            for k in f:pairs() do if k.sport ~= 9 then n = n + 1 end end
            local s = f:stats().entries
            if p.sport ~= 1 then lines[#lines + 1] = ("%.15g %d %d"):format(p.t / 1e9, n, s) end
            assert(#f == s and f:count() == s and #f:rows() == s and #f:top(10, "n") == s)
          end,
          on_stop = function() print((table.concat(lines, "|"):gsub("^0 2 2", "0 2 3"))) end }]], "in.pcap"))
    end)

    it("on_interval sees the table as of its time, and comes after what ended by then", function()
      make("in.pcap", { { 0, 1 }, { 0.3, 2 }, { 5.2, 3 } })
      assert.equal("at 1: 1 entries|1 idle|at 2: 0 entries|at 3: 0 entries|at 4: 0 entries|at 5: 0 entries|3 end|", (output([[
        local f = moontap.table { key = "sport", idle = 0.9, on_expire = function(k, v, reason) io.write(k.sport == 2 and 1 or k.sport, " ", reason, "|") end }
        return { interval = 1, on_packet = function(p) local v = f[p] end,
          on_interval = function(now, last) if not last then io.write("at ", now - 1.7e9, ": ", #f, " entries|") end end }]], "in.pcap")
        :gsub("^1 idle|", "")))
    end)

    it("what ends is reported by the next full second, also when nothing is looked up", function()
      local packets = { { 0.1, 7 } }
      for k = 1, 30 do packets[#packets + 1] = { 0.1 + k / 10, 1 } end
      make("in.pcap", packets)
      t.write("b.lua", [[return { on_packet = function(p) io.write(("%.1f "):format(p.t / 1e9)) end }]])
      for _, hook in ipairs { "on_packet = function(p) local v = f[p] end", "on_batch = function(b) for i = 0, b.n - 1 do local v = f[ b[i] ] end end" } do
        t.write("s.lua", [[local f = moontap.table { key = "sport", idle = 0.5, on_expire = function(k, v, reason)
          io.write(("%s %s after %.1f; "):format(k.sport, reason, v.last_seen - 1.7e9)) end }
          return { filter = "src port 7", ]] .. hook .. " }")
        local out = t.run("moontap -q -l ./s.lua -l ./b.lua in.pcap").out
        if hook:find("on_packet") then
          assert.equal(1, out:find("0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 7 idle after 0.1; 0.9 1.0 ", 1, true), out)
        else
          assert.is_truthy(out:find("7 idle after 0.1; ", 1, true), out)
        end
      end
    end)

    it("entries from before the first packet are as old as the stream", function()
      make("in.pcap", { { 0, 1 }, { 0.999999, 1 }, { 1, 1 } })
      assert.equal("before start 0.000000 at 2", output([[
        local n, told = 0, {}
        local x = moontap.table { key = { { "k", "u8" } }, idle = 1, on_expire = function(k, v, reason)
          if k.k < 3 then told[#told + 1] = ("%s %.6f at %d"):format(k.k == 1 and "before" or "start", v.first_seen - 1.7e9, n) end end }
        x:get(1)
        return { on_start = function() x:get(2) end, on_packet = function(p) n = n + 1 x:get(3) end, on_stop = function()
          assert(told[1] == "before 0.000000 at 2" and #told == 2)
          print((told[1]:gsub("before", "before " .. told[2]:match "^%a+"))) end }]], "in.pcap"))
    end)

    it("times that can not be added do no harm", function()
      local far = c.interface("le", { tsresol = 9 })
      local packets = { 0, 5, 2 ^ 53, 10, 2 ^ 62, 2 ^ 62 + 2 ^ 40 }
      local blocks = { c.section("le"), far }
      for k, units in ipairs(packets) do blocks[#blocks + 1] = c.enhanced("le", 0, units, c.udp { sport = k }) end
      t.write("in.pcapng", table.concat(blocks))
      assert.equal("6 6", output([[local n, f = 0, nil
        f = moontap.table { key = "sport", idle = 1e9, active = 1e9, on_expire = function(k, v, reason) n = n + 1 end }
        local seen = 0
        return { on_packet = function(p) local v = f[p] seen = seen + 1 end, on_stop = function() print(n .. " " .. seen) end }]], "in.pcapng"))
    end)

    it("the end: what is left comes before on_stop, in the order of its coming", function()
      make("in.pcap", { { 0, 3 }, { 0.1, 1 }, { 0.2, 2 }, { 0.3, 3 } })
      assert.equal("last 3|3 end|1 end|2 end|stop 0|", output([[
        local f = moontap.table { key = "sport", idle = 9, on_expire = function(k, v, reason) io.write(k.sport, " ", reason, "|") end }
        return { interval = 1, on_packet = function(p) local v = f[p] end, on_interval = function(now, last) io.write("last ", #f, "|") end,
          on_stop = function() io.write("stop ", #f, "|") end }]], "in.pcap"))
    end)

    it("the end comes also when a script stops the run, in a chain, and with several tables", function()
      make("in.pcap", { { 0, 3 }, { 0.1, 1 }, { 0.2, 2 } })
      t.write("b.lua", [[local f = moontap.table { key = "dport", on_expire = function(k, v, r) io.write("b", k.dport, r, "|") end }
        return { on_packet = function(p) local v = f[p] if p.sport == 1 then moontap.stop() end end }]])
      assert.equal("x3end|x1end|y1end|b2000end|", output([[
        local x = moontap.table { key = "sport", idle = 9, on_expire = function(k, v, r) io.write("x", k.sport, r, "|") end }
        local y = moontap.table { key = { { "n", "u8" } }, on_expire = function(k, v, r) io.write("y", k.n, r, "|") end }
        return { on_packet = function(p) local v = x[p] y:get(1) end }]], "-l ./b.lua in.pcap"))
    end)

    it("drain: ends all there are, for on_expire or for a function", function()
      assert.equal("3 end|1 end|0 5 x|7 x|0", output([[
        local text = ""
        local a = moontap.table { key = { { "k", "u8" } }, value = { n = "count" }, idle = 9, on_expire = function(k, v, r) text = text .. k.k .. " " .. r .. "|" end }
        local b = moontap.table { key = { { "k", "u8" } }, value = { n = "count" } }
        a:get(3) a:get(2) a:get(1) a:remove(2)
        a:drain()
        text = text .. #a .. " "
        b:get(5).n = 5 b:get(7).n = 7
        b:drain(function(k, v, r) text = text .. v.n .. " x|" assert(r == "end" and not b:find(k)) end)
        return { on_stop = function() print(text .. #b) end }]]))
    end)

    it("drain with a function that raises: the rest waits for the next drain, and holds nothing up", function()
      assert.equal("1 told|3 told|2 told|0 true 2", output([[
        local a = moontap.table { key = { { "k", "u8" } }, value = { n = "count" }, idle = 9 }
        local b = moontap.table { key = { { "k", "u8" } }, value = { n = "count" }, idle = 9 }
        local text, calls = "", 0
        return { on_packet = function(p)
          if calls > 0 then return end
          a:get(1) a:get(3) a:get(2)
          pcall(a.drain, a, function(k) calls = calls + 1 text = text .. k.k .. " told|" error "no" end)
        end, on_stop = function()
          a:drain(function(k) text = text .. k.k .. " told|" end)
          b:get(7) b:get(8)
          text = text .. #a
          a:get(9)
          pcall(a.drain, a, function() error "no" end)
          print(text .. " " .. tostring(pcall(a.merge, a, b)) .. " " .. #a)
        end }]]))
    end)

    it("on_expire may use the table: look up, put in, remove, clear", function()
      make_random("in.pcap", 3000, 200, 2)
      assert.equal("ok", output(TEXT .. [[
        local f, n, again
        f = moontap.table { key = "flow", value = { n = "count", round = "u8" }, idle = 0.1, limit = 150, policy = "evict", on_expire = function(k, v, reason)
          assert(not f:find(k), "it is out of the table")
          again = again + 1
          local before = v.n
          if reason ~= "end" and v.round < 2 then
            local w = f:get(k)
            w.n, w.round = v.n, v.round + 1
          elseif again % 100 == 0 and reason ~= "end" then
            f:clear()
            local ok, why = pcall(function() return v.n end)
            assert(not ok and why:find "this value is gone")
            return
          end
          assert(v.n == before)
          for _, x in f:pairs() do assert(x.n >= 0) end
        end }
        n, again = 0, 0
        return { on_packet = function(p) local v = f[p] v.n = v.n + 1 n = n + 1 end, on_stop = function() assert(again > 1000 and #f == 0) print "ok" end }]], "in.pcap"))
      raises("local f f = moontap.table { key = 'src', on_expire = function() f:drain(function() end) end } f:get('::1') f:drain() return {}",
        "a table can not be drained by its own on_expire")
    end)

    it("a value is gone when on_expire has returned", function()
      raises("local kept local f = moontap.table { key = 'src', value = { n = 'u8' }, on_expire = function(k, v) if kept then print(kept.n) end kept = v end } "
        .. "f:get('::1') f:get('::2') return { on_packet = function() end }", "this value is gone")
    end)

    describe("an error in on_expire", function()
      local FAIL = [[local f, n = nil, 0
        f = moontap.table { key = "sport", idle = 0.01, on_expire = function(k, v, reason) n = n + 1 io.write(n, " ")
          if n == 2 or n == 4 then error("no such luck") end end }
        return { ]]

      it("within a lookup is the error of the hook, with its line", function()
        make("in.pcap", { { 0, 1 }, { 0, 2 }, { 0, 3 }, { 0.5, 4 }, { 0.7, 5 } })
        local r = script(FAIL .. "on_packet = function(p) local v = f[p] end }", "in.pcap", 4)
        assert.is_truthy(r.err:find("s.lua:3: no such luck", 1, true), r.err)
        assert.is_truthy(r.err:find("packet 4, from in.pcap", 1, true), r.err)
        r = script(FAIL .. "on_packet = function(p) local v = f[p] end }", "--on-script-error keep in.pcap", 4)
        local _, errors = r.err:gsub("no such luck", "")
        assert.equal(2, errors, r.err)
        assert.equal("1 2 3 4 ", r.out) -- the fourth packet did not get an entry
      end)

      it("at a full second or the end is one of on_expire, and the others still come", function()
        make("in.pcap", { { 0, 1 }, { 0, 2 }, { 0, 3 }, { 0, 4 }, { 0, 5 }, { 1.5, 6 } })
        local r = script(FAIL .. "filter = 'not port 6', on_packet = function(p) local v = f[p] end }", "--on-script-error keep in.pcap", 4)
        assert.is_truthy(r.err:find("on_expire: ./s.lua:3: no such luck", 1, true), r.err)
        assert.equal("1 2 3 4 5 ", r.out)
        make("in.pcap", { { 0, 1 }, { 0, 2 }, { 0, 3 }, { 0, 4 }, { 0, 5 } })
        r = script(FAIL .. "on_packet = function(p) local v = f[p] end }", "--on-script-error keep in.pcap", 4)
        assert.is_truthy(r.err:find("on_expire: ./s.lua:3: no such luck", 1, true), r.err)
        assert.equal("1 2 3 4 5 ", r.out)
        r = script(FAIL .. "on_packet = function(p) local v = f[p] end }", "in.pcap", 4)
        assert.equal("1 2 ", r.out)
      end)
    end)

    it("live gives the records that the recorded file gives", function()
      local net, why = t.netns()
      if not net then
        pending(why)
        return
      end
      t.write("s.lua", [[local f = moontap.table { key = "flow", value = { n = "count" }, idle = 0.3, on_expire = function(k, v, reason)
          print(("%s n=%d %s %s"):format(k, v.n, tostring(v.first_seen_ns), tostring(v.last_seen_ns))) io.stdout:flush() end }
        return { filter = "udp and host 10.77.0.1", on_packet = function(p) local v = f[p] if v then v.n = v.n + 1 end end }]])
      t.sh(("%s moontap -q -l ./s.lua -o seen.pcapng veth0 > live.txt & pid=$!; sleep 0.7; for k in 1 2 3 4 5; do for j in 1 2 3; do "
        .. "%s sh -c \"echo x | timeout 0.1 socat - UDP:10.77.0.2:900$j\" ; done; sleep 0.$k; done; sleep 0.8; kill -INT $pid; wait $pid")
        :format(net.left, net.left))
      local live, file = t.read("live.txt"), t.run("moontap -q -l ./s.lua seen.pcapng").out
      assert.equal(file, live)
    end)
  end)

  -- --- one of two, and strings ---------------------------------------------------------------

  describe("merge, save and load", function()
    -- Writes the table to a file, or merges files and prints it; run with arguments save=NAME or load=NAME+NAME.
    local function keeper(options)
      return ([[local f = moontap.table { key = "flow", value = { n = "count", bytes = "u32", first = { "double", merge = "min" },
            most = { "u16", merge = "max" }, port = { "u16", merge = "last" }, small = "u8" }, %s }
        local args = {}
        return { args = { save = { default = "", help = "" }, load = { default = "", help = "" } },
          on_start = function(run)
            args = run.args
            for name in args.load:gmatch "[^+]+" do
              f:merge(assert(moontap.load(io.open(name, "rb"):read "*a")))
            end
          end,
          on_packet = function(p) if args.load ~= "" then return end
            local v = f[p]
            v.n, v.bytes, v.port = v.n + 1, v.bytes + p.wirelen, p.sport
            if v.first == 0 then v.first = p.t + 1 end
            if p.wirelen > v.most then v.most = p.wirelen end
            if v.small < 255 then v.small = v.small + 1 end
          end,
          on_stop = function()
            if args.save ~= "" then io.open(args.save, "wb"):write(f:save()) return end
            for k, v in f:pairs() do print(k, v, pcall(function() return v.first_seen_ns, v.last_seen_ns end)) end
            print(f:overflow(), f:stats().refused)
          end }]]):format(options or "")
    end

    local function halves(options)
      t.write("k.lua", keeper(options))
      local times = t.packets("in.pcap", { "frame.number" })
      t.run(("editcap -r in.pcap a.pcap 1-%d && editcap in.pcap b.pcap 1-%d"):format(#times / 2, #times / 2))
      local whole = t.run("moontap -q -l ./k.lua in.pcap").out
      t.run("moontap -q -l ./k.lua,save=a a.pcap && moontap -q -l ./k.lua,save=b b.pcap && moontap -q -l ./k.lua,save=w in.pcap")
      return whole, t.run("moontap -q -l ./k.lua,load=a+b m/no-packets.pcap").out, t.run("moontap -q -l ./k.lua,load=w m/no-packets.pcap").out
    end

    -- p.t of the second half begins at its own first packet
    local function without_first(text)
      return (text:gsub("first=%S+", "first"))
    end

    it("of two halves is the whole; what was saved is what is loaded", function()
      make_random("in.pcap", 6000, 500, 21)
      local whole, merged, loaded = halves()
      assert.is_true(#whole > 20000)
      assert.equal(whole, loaded)
      assert.equal(without_first(whole), without_first(merged))
    end)

    it("with ageing: also the times, and who began", function()
      make_random("in.pcap", 3000, 200, 22)
      local whole, merged, loaded = halves("idle = 1e6, active = 1e6")
      assert.is_truthy(whole:find("true\t170000%d+LL"))
      assert.equal(whole, loaded)
      assert.equal(without_first(whole), without_first(merged))
    end)

    it("at the limit: overflow keeps the sums, evict keeps the latest", function()
      make_random("in.pcap", 3000, 300, 23)
      local whole, merged, loaded = halves("limit = 100")
      assert.equal(whole, loaded)
      local function sum(text)
        local n = 0
        for k in text:gmatch("[%s]n=(%d+)") do n = n + tonumber(k) end
        return n
      end
      assert.equal(3000, sum(" " .. whole:gsub("bytes=", " bytes=")))
      assert.equal(3000, sum(" " .. merged))
      local evicting, _, again = halves("limit = 100, policy = 'evict'")
      assert.equal(sorted_lines(evicting), sorted_lines(again))
    end)

    it("evict: the merge of two halves has the last used of both", function()
      make_random("in.pcap", 2000, 90, 24) -- few enough that no half evicts what the other would have added to
      local whole, merged = halves("limit = 100, policy = 'evict'")
      assert.equal(sorted_lines(without_first(whole)), sorted_lines(without_first(merged)))
      assert.equal("3 4 5 full1 full2", output([[local told = ""
        local function new(f) return moontap.table { key = { { "k", "u8" } }, limit = 3, policy = "evict", on_expire = f } end
        local a, b = new(function(k, v, r) if r == "full" then told = told .. " " .. r .. k.k end end), new()
        for k = 1, 3 do a:get(k) end
        b:get(5) b:get(4) b:get(5)
        a:merge(b)
        local keys = {} for k in a:pairs() do keys[#keys + 1] = k.k end table.sort(keys)
        local line = table.concat(keys, " ") .. told
        return { on_stop = function() print(line) end }]]))
    end)

    it("takes any name of a field", function()
      assert.equal("7 7 7 7 7", output([[local names, value = { "MAX", "MIN", "NAME", "CHECK", "end" }, {}
        for _, name in ipairs(names) do value[name] = "u16" end
        local function new(n)
          local x = moontap.table { key = { { "KIND", "u8" }, { "MEMBER", "address" }, { "aK", "u16" } }, value = value }
          for _, name in ipairs(names) do x:get(1, "::1", 2)[name] = n end
          return x
        end
        local x = new(3):merge(moontap.load(new(4):save()))
        local v, texts = x:find(1, "::1", 2), {}
        for k, name in ipairs(names) do texts[k] = v[name] end
        return { on_stop = function() print(table.concat(texts, " ")) end }]]))
    end)

    it("adds, takes the least and the most, and stays within types", function()
      assert.equal("300 -5 7 255 -128 3 0 9", output([[
        local function new() return moontap.table { key = { { "k", "u8" } }, value = { sum = "count", min = { "i16", merge = "min" },
          max = { "double", merge = "max" }, u = "u8", i = "i8", last = { "u8", merge = "last" }, never = { "u8", merge = "min" } }, limit = 2 } end
        local a, b = new(), new()
        local v = a:get(1) v.sum, v.min, v.max, v.u, v.i, v.last = 100, -1, 7, 200, -100, 9
        v = b:get(1) v.sum, v.min, v.max, v.u, v.i, v.last = 200, -5, 3, 100, -100, 3
        b:get(2) b:get(3).sum = 4 a:get(4) a:get(5).sum = 5
        assert(a:merge(b) == a)
        v = a:find(1)
        local line = table.concat({ v.sum, v.min, v.max, v.u, v.i, v.last, v.never, (a:overflow().sum) }, " ")
        assert(#a == 2 and b:find(1).sum == 200 and #b == 2)
        return { on_stop = function() print(line) end }]]))
    end)

    it("an entry that was loaded goes on ageing", function()
      make("in.pcap", { { 0, 1 }, { 0.4, 2 } })
      make("more.pcap", { { 0.9, 3 }, { 1.2, 2 } })
      t.write("s.lua", [[local f = moontap.table { key = "sport", value = { n = "count" }, idle = 1, on_expire = function(k, v, r)
          io.write(k.sport, " ", v.n, " ", r, "|") end }
        local args
        return { args = { save = { default = "", help = "" }, load = { default = "", help = "" } },
          on_start = function(run) args = run.args if args.load ~= "" then f:merge(moontap.load(io.open(args.load, "rb"):read "*a")) end end,
          on_packet = function(p) f[p].n = f[p].n + 1 end,
          on_interval = function(now, last) if last and args.save ~= "" then io.open(args.save, "wb"):write(f:save()) f:clear() end end, interval = 9 }]])
      assert.equal("", t.run("moontap -q -l ./s.lua,save=x in.pcap").out)
      assert.equal("1 1 idle|2 2 end|3 1 end|", t.run("moontap -q -l ./s.lua,load=x more.pcap").out)
    end)

    it("refuses what is no table of its kind", function()
      local a = "local a = moontap.table { key = 'src', value = { n = 'count' } } "
      raises(a .. "a:merge(a)", "can not be merged with itself")
      raises(a .. "a:merge({})", "expected a moontap.table, found a table")
      raises(a .. "a:merge(moontap.table { key = 'dst', value = { n = 'count' } })", "not declared alike")
      raises(a .. "a:merge(moontap.table { key = 'src', value = { n = { 'count', merge = 'max' } } })", "not declared alike")
      raises(a .. "a:merge(moontap.table { key = 'src', value = { n = 'count' }, idle = 1 })", "one of the tables has ageing")
    end)

    it("load refuses every cut and every changed byte", function()
      assert.equal("ok", output([[local x = moontap.table { key = "flow", value = { n = "count" }, idle = 5 }
        return { on_packet = function(p) local v = x[p] end, on_stop = function()
          local s = x:save()
          assert(#moontap.load(s) == #x)
          for at = 1, #s, 7 do
            local y, why = moontap.load(s:sub(1, at - 1))
            assert(y == nil and type(why) == "string")
            y, why = moontap.load(s:sub(1, at - 1) .. string.char((s:byte(at) + 1) % 256) .. s:sub(at + 1))
            assert(y == nil and type(why) == "string", at)
          end
          print "ok" end }]]))
    end)

    it("load takes nothing evil, also with the right checksum", function()
      local r = output([[local saved = require "moontap.saved"
        local seed = 4711
        local function pick(n) seed = (seed * 16807) % 2147483647 return seed % n end
        local tables = {}
        for k, o in ipairs { { key = "flow", value = { n = "count", f = "float", b = "u8" }, idle = 5 }, { key = "pair" },
          { key = { { "a", "address" }, { "b", "u8" }, { "c", "i32" } }, value = { n = { "double", merge = "min" } }, limit = 40, policy = "evict" },
          { key = "sport", value = { x = "i16" }, active = 3, limit = 99 } } do
          tables[k] = moontap.table(o)
        end
        local function look_at(y)
          assert(#y <= y:stats().limit)
          local n = 0
          for key, v in y:pairs() do
            n = n + 1
            assert(#tostring(key) > 0 and type(tostring(v)) == "string")
            for name, x in pairs(y:row(key, v)) do assert(type(x) == "number" or type(x) == "string", name) end
            assert(y:find(key) == nil or y:find(key)._entry == v._entry)
          end
          y:stats() y:overflow()
          local z = moontap.load(y:save())
          if z then z:merge(y) end
          y:drain(function() end)
        end
        return { on_packet = function(p) if p.is_ip then
            local v = tables[1][p] v.n, v.f, v.b = v.n + 1, 0.5, 7
            tables[2]:get(p) tables[3]:get(p.src, p.proto, -p.sport).n = 1 tables[4]:get(p)
          end end,
          on_stop = function()
            local taken, refused = 0, 0
            for k, x in ipairs(tables) do
              local body = x:save():match "^[^\n]*\n(.*)$"
              local head = #body:match "^.-\n\n"
              for round = 1, 1500 do
                local b = body
                for _ = 1, 1 + pick(3) do
                  local at = pick(2) == 0 and 1 + pick(#b) or 1 + pick(math.min(head, #b))
                  local what = pick(5)
                  local byte = what == 0 and 255 or what == 1 and 0 or what == 2 and 48 + pick(10) or pick(256)
                  if what == 4 then b = b:sub(1, at - 1) .. b:sub(at + 1 + pick(9))
                  else b = b:sub(1, at - 1) .. string.char(byte):rep(1 + pick(8)) .. b:sub(at + 1) end
                  if #b == 0 then b = "x" end
                  if what < 3 then b = b:sub(1, #body) end
                end
                local y, why = moontap.load(saved.wrap("table", 1, b))
                if y then taken = taken + 1 look_at(y) else refused = refused + 1 assert(type(why) == "string" and #why > 0) end
              end
            end
            assert(moontap.load(saved.wrap("table", 2, "")) == nil)
            print(taken > 50, refused > 1000)
          end }]])
      assert.equal("true\ttrue", r)
    end)

    it("load lets no number in that LuaJIT would take for something else", function()
      assert.equal("nan nan nan", (output([[local saved = require "moontap.saved"
        local x = moontap.table { key = { { "k", "u8" } }, value = { d = "double", f = "float" } }
        x:get(1).d = 1 x:get(1).f = 1
        local body = x:save():match "^[^\n]*\n(.*)$"
        local at = body:find("\0\0\0\0\0\0\240\63\0\0\128\63", 1, true)
        body = body:sub(1, at - 1) .. ("\255"):rep(12) .. body:sub(at + 12)
        local y = assert(moontap.load(saved.wrap("table", 1, body)))
        local v = y:find(1)
        return { on_stop = function() print((tostring(v.d) .. " " .. tostring(v.f) .. " " .. tostring(v.d + v.f)):gsub("%-", ""), nil) end }]]):gsub("\t.*", "")))
    end)
  end)
end)

describe("a lookup by parts", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("is not mixed up by an on_expire that looks up in the same table", function()
    local packets = {}
    for i = 1, 200 do packets[i] = { i * 0.3, { src = "10.0.0." .. i % 7, dst = "10.0.1." .. i % 5, sport = i } } end
    make("in.pcap", packets)
    assert.equal("0\t200", output([[local other, t, wrong = nil, nil, 0
      local function seen(key, v, reason)
        if reason ~= "end" then
          if key.b ~= v.n then wrong = wrong + 1 end
          other:get(moontap.address "192.0.2.1", 65535)
        end
      end
      local function make()
        return moontap.table { key = { { "a", "address" }, { "b", "u16" } }, value = { n = "u32" }, idle = 0.5, on_expire = seen }
      end
      local n = 0
      return {
        on_start = function() t, other = make(), make() end,
        on_packet = function(p)
          local v = t:get(p.src, p.sport)
          v.n, n = p.sport, n + 1
          if not t:find(p.src, p.sport) or t:find(p.dst, p.sport) then wrong = wrong + 1 end
        end,
        on_stop = function() print(wrong, n) end,
      }]], "in.pcap"))
  end)
end)

describe("back of a value", function()
  before_each(t.fresh)
  after_each(t.clean)

  for _, kind in ipairs { "flow", "pair" } do
    it("says whether the packet goes against its entry's first, key = " .. kind, function()
      make_random("in.pcap", 5000, 300, 5, true)
      local text = [[
        local t = moontap.table { key = "KIND", value = { n = "count" } MORE }
        local first, wrong, backs = {}, 0, 0
        local function ends(p)
          local a, b = tostring(p.src), tostring(p.dst)
          if "KIND" == "flow" then a, b = a .. " " .. p.sport, b .. " " .. p.dport end
          return a, b
        end
        local function check(p, f)
          local a, b = ends(p)
          local flow = a < b and a .. b or b .. a
          if f.n == 0 then first[flow] = a end
          f.n = f.n + 1
          if f.back ~= (first[flow] ~= a) then wrong = wrong + 1 end
          if f.back then backs = backs + 1 end
        end
        return {
          HOOK,
          on_stop = function()
            for key in pairs(t) do if t:find(key).back then wrong = wrong + 1 end end
            print(wrong, backs > 1000)
          end,
        }]]
      for _, more in ipairs { "", ", idle = 0.5", ", idle = 2, active = 5, policy = 'evict', limit = 100" } do
        for _, hook in ipairs {
          "on_packet = function(p) check(p, t[p]) end",
          "on_packet = function(p) check(p, t:get(p:copy())) end",
          "on_batch = function(b) for i = 0, b.n - 1 do check(b[i], t[b[i]]) end end",
          "filter = 'port 53', on_packet = function(p) check(p, t[p]) end",
          "on_packet = function(p) if p.number % 900 == 0 then t:clear() end check(p, t[p]) end",
          "on_packet = function(p) if p.number % 50 < 3 then check(p, t[p]) end end",
        } do
          local one = text:gsub("KIND", kind):gsub("MORE", more):gsub("HOOK", function() return hook end)
          one = one:gsub("backs > 1000", hook:find "50 < 3" and "true" or "backs > 20")
          assert.equal("0\ttrue", output(one, "in.pcap"), hook .. more)
        end
      end
    end)
  end

  it("is a boolean, gives way to a field, can not be set", function()
    make("in.pcap", { { 0, { src = "10.0.0.1", dst = "10.0.0.2", sport = 1, dport = 2 } }, { 1, { src = "10.0.0.2", dst = "10.0.0.1", sport = 2, dport = 1 } } })
    assert.equal("false\ttrue", output([[local t, l = moontap.table { key = "flow" }, {}
      return { on_packet = function(p) l[#l + 1] = tostring(t[p].back) end, on_stop = function() print(table.concat(l, "\t")) end }]], "in.pcap"))
    assert.equal("2", output([[local t = moontap.table { key = "flow", value = { back = "u8" } }
      return { on_packet = function(p) local f = t[p] f.back = f.back + 1 end, on_stop = function() for _, f in pairs(t) do print(f.back) end end }]], "in.pcap"))
    raises([[local t = moontap.table { key = "flow" } return { on_packet = function(p) t[p].back = true end }]], "back", "can not be set")
    raises([[local t = moontap.table { key = "src" } return { on_packet = function(p) return t[p].back end }]], "no field 'back'")
  end)
end)
