-- SPDX-License-Identifier: BSD-2-Clause
-- The bundled recipes, judged by tshark.
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

local function recipe(name, options, files)
  return t.json(("moontap --json -l %s%s %s"):format(name, options or "", files)).scripts[name]
end

local function plain(command)
  return t.run("moontap " .. command).out
end

-- Sum of a column of `tshark -z conv,KIND`: frames and bytes each way, by conversation.
local function conversations(file, kind)
  local list = {}
  for line in t.run(("tshark -n -q -r %s -z conv,%s 2>/dev/null"):format(file, kind)).out:gmatch("[^\n]+") do
    local a, b, rest = line:match("^(%S+)%s+<%->%s+(%S+)%s+(.*)$")
    if a then
      -- <- frames bytes, -> frames bytes; bytes may have a unit
      local n = {}
      for number, unit in rest:gmatch("([%d.]+)%s*(%a*)") do
        n[#n + 1] = tonumber(number) * (unit == "kB" and 1000 or unit == "MB" and 1e6 or 1)
      end
      list[a .. " " .. b] = { back_frames = n[1], frames = n[3] }
    end
  end
  return list
end

describe("recipe", function()
  before_each(t.fresh)
  after_each(t.clean)

  for _, name in ipairs { "summary", "top", "flows", "dns", "tls", "rates", "sample", "dedup", "split" } do
    it(name .. " has help, is listed, names wrong arguments, and says when there is nothing", function()
      assert.is_truthy(plain("--recipes"):find("\n" .. name .. " ") or plain("--recipes"):find("^" .. name .. " "))
      assert.is_true(#plain("-l " .. name .. ",help") > 40)
      t.refuses("moontap -l " .. name .. ",nothing_such=1 f/web.pcap", 1, "nothing_such")
      c.write(t.path("empty.pcap"), c.pcap {})
      local r = t.run("moontap -l " .. name .. " empty.pcap")
      assert.equal("", r.err)
      assert.is_true(#r.out > 0)
    end)

    it(name .. " reads every real capture", function()
      local dir, why = t.corpus()
      if not dir then
        return pending(why)
      end
      local real = {}
      for file in t.run("find '" .. dir .. "/real' -type f | sort").out:gmatch("[^\n]+") do
        real[#real + 1] = file
      end
      assert.is_true(#real > 50)
      for _, file in ipairs(real) do
        local options = name == "split" and ",format=pcapng" or "" -- pcap takes no times after 2106, nor two link types
        local r = t.sh(("moontap --json -l %s%s '%s'"):format(name, options, file))
        t.run("rm -rf split")
        assert.is_true(r.code <= 2, file .. ": " .. r.err) -- 1: no file of ours, 4: the script failed
      end
    end)
  end

  it("flows agrees with tshark's conversations", function()
    t.generate("in", "--packets 5000 --files 1 --flows 200 --snaplen 200")
    for _, file in ipairs { "f/web.pcap", "in/1.pcap" } do
      local ours, n = {}, 0
      for line in plain("-l flows,format=jsonl,idle=100000,active=1000000 " .. file):gmatch("[^\n]+") do
        local r = json.decode(line)
        if r.proto == "TCP" or r.proto == "UDP" then
          local side = "%s:%d"
          ours[side:format(r.src, r.sport) .. " " .. side:format(r.dst, r.dport)] = r
          n = n + 1
        end
      end
      assert.is_true(n > 10)
      local found = 0
      for _, kind in ipairs { "tcp", "udp" } do
        for pair, theirs in pairs(conversations(file, kind)) do
          local a, b = pair:match("(%S+) (%S+)")
          local r, frames, back = ours[pair], theirs.frames, theirs.back_frames
          if not r then
            r, frames, back = ours[b .. " " .. a], theirs.back_frames, theirs.frames
          end
          assert.is_truthy(r, file .. ": " .. pair)
          assert.same({ frames, back }, { r.packets, r.packets_back }, pair)
          found = found + 1
        end
      end
      assert.equal(n, found)
    end
  end)

  it("flows ends flows by time, knows TCP's states, and its totals are those of the trace", function()
    local list = {}
    local function tcp(at, src, dst, sport, dport, flags)
      local head = c.uint(sport, 2, "be") .. c.uint(dport, 2, "be") .. c.uint(0, 8, "be") .. "\80" .. string.char(flags) .. c.uint(0, 6, "be")
      local ip = "\69\0" .. c.uint(20 + #head, 2, "be") .. "\0\0\0\0\64\6\0\0" .. "\10\0\0" .. string.char(src) .. "\10\0\0" .. string.char(dst)
      list[#list + 1] = { 1000 + at, 0, "\2\0\0\0\0\2\2\0\0\0\0\1\8\0" .. ip .. head }
    end
    tcp(0, 1, 2, 10, 80, 2) tcp(0, 2, 1, 80, 10, 18) tcp(1, 1, 2, 10, 80, 17) tcp(1, 2, 1, 80, 10, 17) -- closed
    tcp(2, 1, 2, 11, 80, 2) -- attempt
    tcp(3, 3, 2, 12, 80, 24) tcp(3, 2, 3, 80, 12, 16) -- midstream
    tcp(4, 3, 2, 13, 80, 2) tcp(4, 2, 3, 80, 13, 20) -- reset
    tcp(100, 1, 2, 11, 80, 2) -- a record of its own: idle
    c.write(t.path("in.pcap"), c.pcap(list))
    local states = {}
    for line in plain("-l flows,format=jsonl in.pcap"):gmatch("[^\n]+") do
      local r = json.decode(line)
      states[#states + 1] = ("%d %s %s %d/%d"):format(r.sport, r.state, r.reason, r.packets, r.packets_back)
    end
    table.sort(states)
    assert.same({ "10 closed idle 2/2", "11 attempt end 1/0", "11 attempt idle 1/0", "12 midstream idle 1/1", "13 reset idle 1/1" }, states)
    local sums = recipe("flows", ",n=3", "f/web.pcap")
    local total = t.json("moontap --json f/web.pcap")
    assert.same({ total.packets, total.wire_bytes, 3 }, { sums.packets, sums.bytes, #sums.top })
    local csv = plain("-l flows,format=csv f/web.pcap")
    assert.equal(sums.flows + 1, select(2, csv:gsub("\n", "")))
  end)

  it("dns agrees with tshark", function()
    local r = recipe("dns", ",n=1000", "f/web.pcap")
    local names, queries, codes = {}, 0, {}
    for _, line in ipairs(t.field("f/web.pcap", "dns.qry.name", "dns.flags.response == 0")) do
      names[line:lower()] = (names[line:lower()] or 0) + 1
      queries = queries + 1
    end
    for _, code in ipairs(t.field("f/web.pcap", "dns.flags.rcode", "dns.flags.response == 1")) do
      codes[code] = (codes[code] or 0) + 1
    end
    assert.equal(queries, r.queries)
    for _, e in ipairs(r.names) do
      assert.equal(names[e.name], e.count, e.name)
    end
    assert.equal(codes["0"], r.rcodes[1].count)
    -- latency: tshark's dns.time
    local times = {}
    for i, text in ipairs(t.field("f/web.pcap", "dns.time", "dns.flags.response == 1 && dns.time")) do
      times[i] = tonumber(text) * 1000
    end
    table.sort(times)
    assert.equal(#times, r.matched)
    assert.is_true(math.abs(times[#times] - r.latency_ms.largest) / times[#times] < 0.02)
    assert.is_true(math.abs(times[math.ceil(#times / 2)] - r.latency_ms.median) / r.latency_ms.median < 0.05)
    local lines = select(2, plain("-l dns,log=yes f/web.pcap"):gsub("\n", ""))
    assert.equal(queries + r.responses, lines)
  end)

  it("tls agrees with tshark", function()
    local r = recipe("tls", ",n=1000", "f/web.pcap")
    local names, hellos = {}, t.field("f/web.pcap", "tls.handshake.extensions_server_name", "tls.handshake.type == 1")
    for _, name in ipairs(hellos) do
      names[name] = (names[name] or 0) + 1
    end
    assert.equal(#hellos, r.client_hellos)
    for _, e in ipairs(r.names) do
      assert.equal(names[e.name], e.count)
    end
    assert.equal(#t.field("f/web.pcap", "frame.number", "tls.handshake.type == 2"), r.server_hellos)
  end)

  it("rates agrees with tshark's io,stat", function()
    t.generate("in", "--packets 20000 --files 1 --flows 50 --snaplen 100")
    local r = recipe("rates", ",every=0.001", "in/1.pcap")
    local sum = 0
    for _, interval in ipairs(r.intervals) do
      sum = sum + interval.packets
    end
    assert.equal(20000, sum)
    local first = tonumber(t.field("in/1.pcap", "frame.time_epoch")[1])
    local from = math.floor(first / 0.001) * 0.001
    local inside = #t.field("in/1.pcap", "frame.number", ("frame.time_epoch >= %.3f && frame.time_epoch < %.3f"):format(from + 0.001, from + 0.002))
    assert.equal(inside, r.intervals[2].packets)
    local by = recipe("rates", ",every=0.5,by=protocol,n=20", "f/web.pcap")
    local packets = 0
    for _, interval in ipairs(by.intervals) do
      for _, e in ipairs(interval.top) do
        packets = packets + e.packets
      end
    end
    assert.equal(169, packets)
    assert.is_truthy(t.run("LC_ALL=C.UTF-8 moontap -l rates,every=0.2 f/web.pcap").out:find("█", 1, true))
    assert.is_falsy(t.run("LC_ALL=C moontap -l rates,every=0.2 f/web.pcap").out:find("█", 1, true))
    t.refuses("moontap -l rates,by=sorce f/web.pcap", 1, "by", "sorce")
    t.refuses("moontap -l rates,every=0 f/web.pcap", 1, "every")
  end)

  it("top,interval= counts each interval as tshark does", function()
    local r = recipe("top", ",by=src,interval=0.5,n=1000", "f/web.pcap")
    local sum = 0
    for _, interval in ipairs(r.intervals) do
      local range = ("frame.time_epoch >= %.3f && frame.time_epoch < %.3f && !icmp.type == 3"):format(interval.time, interval.time + 0.5)
      local want = {}
      for _, field in ipairs { "ip.src", "ipv6.src" } do
        for _, address in ipairs(t.field("f/web.pcap", field, range .. " && " .. field)) do
          want[address] = (want[address] or 0) + 1
        end
      end
      for _, e in ipairs(interval.top) do
        sum = sum + e.packets
        if e.src ~= "-" and want[e.src] then
          assert.equal(want[e.src], e.packets, e.src)
        end
      end
    end
    assert.equal(169, sum)
    assert.is_true(#r.intervals >= 3)
    local text = plain("-l top,interval=1m f/web.pcap")
    assert.equal(1, select(2, text:gsub("from 2026", "")))
    t.refuses("moontap -l top,interval=1x f/web.pcap", 1, "interval", "1x")
  end)

  it("top counts prefixes as tshark does", function()
    for _, file in ipairs { "f/web.pcap", "f/two-interfaces.pcapng" } do
      local bits = { [20] = { 2, 16 }, [24] = { 3, 1 } }
      for n, how in pairs(bits) do
        local want = {}
        for _, text in ipairs(t.field(file, "ip.src", "ip && !icmp.type == 3")) do
          local b = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)") }
          local prefix = how[1] == 3 and ("%s.%s.%s.0/24"):format(b[1], b[2], b[3]) or ("%s.%s.%d.0/20"):format(b[1], b[2], b[3] - b[3] % how[2])
          want[prefix] = (want[prefix] or 0) + 1
        end
        local r = recipe("top", (",by=src/%d,n=1000"):format(n), file)
        for _, e in ipairs(r.top) do
          local key = e["src/" .. n]
          if key:match("^%d+%.") then
            assert.equal(want[key], e.packets, key)
            want[key] = nil
          end
        end
        assert.same({}, want)
      end
    end
    t.refuses("moontap -l top,by=src/33 f/web.pcap", 1, "src/33")
  end)

  it("sample keeps a part, whole flows, the same in every run", function()
    t.generate("in", "--packets 20000 --files 1 --flows 500 --snaplen 100")
    t.run("moontap -q -l sample,n=10 -o tenth.pcap in/1.pcap")
    assert.equal(2000, t.count("tenth.pcap"))
    t.run("moontap -q -l sample,n=5,by=flow -o a.pcap in/1.pcap && moontap -q -l sample,n=5,by=flow -o b.pcap in/1.pcap && cmp a.pcap b.pcap")
    local all, part = recipe("flows", ",n=1", "in/1.pcap"), recipe("flows", ",n=1", "a.pcap")
    assert.is_true(part.flows > all.flows / 10 and part.flows < all.flows / 3)
    local whole = {}
    for line in plain("-l flows,format=jsonl in/1.pcap"):gmatch("[^\n]+") do
      local r = json.decode(line)
      whole[("%s %s %s %s %s"):format(r.proto, r.src, r.sport, r.dst, r.dport)] = r.packets + r.packets_back
    end
    for line in plain("-l flows,format=jsonl a.pcap"):gmatch("[^\n]+") do
      local r = json.decode(line)
      assert.equal(whole[("%s %s %s %s %s"):format(r.proto, r.src, r.sport, r.dst, r.dport)], r.packets + r.packets_back)
    end
    local r = recipe("sample", ",n=4,by=random", "in/1.pcap")
    assert.is_true(r.kept > 4500 and r.kept < 5500)
    local packets = {}
    for i = 1, 3000 do
      packets[i] = { 1000 + math.floor(i / 1000), i % 1000, c.udp { id = i } }
    end
    c.write(t.path("rate.pcap"), c.pcap(packets))
    assert.equal(301, recipe("sample", ",rate=100", "rate.pcap").kept) -- 3 seconds and one packet
  end)

  it("dedup drops what comes twice within the window, and nothing else", function()
    t.generate("in", "--packets 5000 --files 1 --flows 100 --snaplen 100")
    t.run("editcap -t 0.002 in/1.pcap again.pcap && moontap -q -l dedup -o once.pcap in/1.pcap again.pcap")
    assert.same(t.field("in/1.pcap", "frame.md5_hash"), t.field("once.pcap", "frame.md5_hash"))
    t.run("editcap -t 0.02 in/1.pcap late.pcap && moontap -q -l dedup -o both.pcap in/1.pcap late.pcap")
    assert.equal(10000, t.count("both.pcap"))
    -- behind a router: another MAC address, another TTL, another checksum
    t.write("hop.lua", [[return { on_packet = function(p)
      local e = p:edit()
      e.eth_src = moontap.mac "02:00:00:00:00:99"
      if p.is_ip then e.ttl = p.ttl - 1 end
    end }]])
    t.run("moontap -q -l ./hop.lua -o hop.pcap f/web.pcap")
    assert.equal(338, t.json("moontap --json -l dedup -o x1.pcap f/web.pcap hop.pcap").kept)
    assert.equal(169, t.json("moontap --json -l dedup,ignore=link,ttl -o x2.pcap f/web.pcap hop.pcap").kept)
    t.refuses("moontap -l dedup,ignore=mac f/web.pcap", 1, "mac", "link, ttl")
  end)
end)
