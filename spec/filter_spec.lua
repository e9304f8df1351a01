-- SPDX-License-Identifier: BSD-2-Clause
-- BPF expressions in scripts: filter=, keep= and moontap.filter.  Judges: tcpdump for what matches, libpcap's
-- bpf_filter for every program on packets cut anywhere, and LuaJIT's log for what is compiled.
local ffi = require("ffi")
local t = require("support.moontap")
local c = require("support.capture")
local filters = require("support.filters")

local FILTERS = { env = { FILTERS = os.getenv("PWD") .. "/spec/support/filters.lua" }, timeout = 60 }
local CHECK = os.getenv("PWD") .. "/spec/support/filter_check.lua"
local RANDOM = os.getenv("PWD") .. "/spec/support/bpf_random.lua"

-- Packets of several link types in one file: {link type, frame} in turn.
local function several_types(packets)
  local seen, blocks, n = {}, {}, 0
  local body = {}
  for i, packet in ipairs(packets) do
    if not seen[packet[1]] then
      seen[packet[1]] = n
      n = n + 1
      blocks[#blocks + 1] = c.interface("le", { linktype = packet[1] })
    end
    body[i] = c.enhanced("le", seen[packet[1]], c.T0 * 1000000 + i, packet[2])
  end
  return c.section("le") .. table.concat(blocks) .. table.concat(body)
end

describe("filter", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- What a script prints.
  local function output(script, files, options)
    t.write("s.lua", script)
    return t.run(("moontap %s -l ./s.lua %s"):format(options or "", files)).out
  end

  describe("moontap.filter", function()
    it("tells the packets that tcpdump shows", function()
      for _, expression in ipairs { "tcp port 80", "udp", "src port 80", "len > 100", "not ip" } do
        local out = output(([[local f, n = moontap.filter "%s", 0
          return { on_packet = function(p) if f(p) then n = n + 1 end end, on_stop = function() print(n) end }]])
          :format(expression), "f/web.pcap")
        local judge = t.run(("tcpdump -nr f/web.pcap '%s'"):format(expression)).out
        assert.equal(select(2, judge:gsub("\n", "")), tonumber(out), expression)
      end
    end)

    it("takes copies, also behind the hook they came from", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { sport = 53 } }, { c.T0, 1, c.udp { sport = 54 } },
        { c.T0, 2, c.udp { sport = 53, vlans = { 7 } } } })
      assert.equal("true\tfalse\tfalse\ntrue\tfalse\tfalse\n", output([[local dns, kept = moontap.filter "port 53", {}
        return { on_packet = function(p) kept[#kept + 1] = p:copy() kept[-#kept] = dns(p) end,
          on_stop = function() print(dns(kept[1]), dns(kept[2]), dns(kept[3])) print(kept[-1], kept[-2], kept[-3]) end }]],
        "in.pcap"))
    end)

    it("sees what p:truncate has left", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { sport = 53 } } })
      assert.equal("true\nfalse\n", output([[local dns = moontap.filter "src port 53"
        return { on_packet = function(p) print(dns(p)) p:truncate(35) print(dns(p)) end }]], "in.pcap"))
    end)

    it("sees what p:edit changes, and takes edits", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { dport = 54 } } })
      assert.equal("false false false\ntrue true true\n", output([[local dns = moontap.filter "udp dst port 53"
        local function say(...) print(table.concat({ ... }, " ")) end
        return { on_packet = function(p)
          local e, s = p:edit(), tostring
          say(s(dns(p)), s(dns(e)), s(dns(p:copy():edit())))
          e.dport = 53
          say(s(dns(p)), s(dns(e)), s(dns(p:copy():edit()))) end }]], "in.pcap"))
    end)

    it("has a program for each link type of a run, and no match where there can be none", function()
      t.write("in.pcapng", several_types { { 1, c.udp { sport = 53 } }, { 101, c.ip_udp { sport = 53 } },
        { 147, c.ip_udp { sport = 53 } }, { 101, c.ip_udp { sport = 54 } }, { 1, c.udp { sport = 53 } },
        { 0, "\2\0\0\0" .. c.ip_udp { sport = 53 } } })
      local script = [[local f = moontap.filter "%s"
        return { on_packet = function(p) io.write(f(p) and 1 or 0) end }]]
      assert.equal("110011", output(script:format "udp port 53", "in.pcapng"))
      assert.equal("100010", output(script:format "ether src 02:00:00:00:00:01", "in.pcapng"))
      assert.equal("000000", output(script:format "wlan type data", "in.pcapng"))
    end)

    it("knows IPv6 behind a loopback header of any BSD", function()
      local packets = {}
      for i, family in ipairs { 24, 28, 30, 2, 10 } do
        packets[i] = { c.T0, i, c.uint(family, 4, "le") .. "\96" .. ("\0"):rep(39) }
      end
      packets.linktype = 0
      t.write("in.pcap", c.pcap(packets))
      assert.equal("11100", output([[local f = moontap.filter "ip6"
        return { on_packet = function(p) io.write(f(p) and 1 or 0) end }]], "in.pcap"))
      t.run("tcpdump -r in.pcap -w judge.pcap ip6")
      assert.equal(3, t.count("judge.pcap"))
      assert.equal(3, t.json("moontap --json -F ip6 -o out.pcap in.pcap").kept)
    end)

    it("goes on when a run has more link types than are kept at hand", function()
      local packets = {}
      for i = 1, 40 do
        packets[i] = { 147 + i % 13, c.ip_udp {} } -- user-defined ones have a length, and nothing else is known
      end
      t.write("in.pcapng", several_types(packets))
      assert.equal(("1"):rep(40), output([[local f = moontap.filter "len < 100"
        return { filter = "greater 1", on_packet = function(p) io.write(f(p) and 1 or 0) end }]], "in.pcapng"))
    end)

    it("is its expression as text, and made once", function()
      assert.equal("udp port 53\ttrue\tfalse\n", output([[
        print(tostring(moontap.filter "udp port 53"), moontap.filter "udp" == moontap.filter "udp",
          moontap.filter "udp" == moontap.filter "tcp")
        return {}]], "f/web.pcap"))
    end)

    it("works in an expression on the command line", function()
      local out = t.json("moontap --json -e 'moontap.filter(\"udp port 53\")(p)' -o out.pcap f/vlan.pcap")
      t.run("tcpdump -r f/vlan.pcap -w judge.pcap 'udp port 53'")
      assert.equal(t.count("judge.pcap"), out.kept)
    end)

    it("refuses what is no expression, with libpcap's words and the script's line", function()
      t.write("s.lua", "local x = 1\nlocal f = moontap.filter 'tcp prt 80'\nreturn {}")
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "s.lua:2:", "tcp prt 80", "syntax error")
      t.write("s.lua", "\n\nmoontap.filter(80)\nreturn {}")
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "s.lua:3:", "expected a BPF expression, found a number")
      t.write("s.lua", "moontap.filter()\nreturn {}")
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "s.lua:1:", "expected a BPF expression, found nothing")
      t.write("s.lua", "moontap.filter('tcp\\0')\nreturn {}")
      t.refuses("moontap -l ./s.lua f/web.pcap", 1, "s.lua:1:", "zero byte")
    end)

    it("refuses what is no packet, or one that is gone", function()
      t.write("s.lua", "local f = moontap.filter 'tcp'\nreturn { on_packet = function(p)\n f(1) end }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "s.lua:3:", "called with a packet, found a number")
      t.write("s.lua", "local f = moontap.filter 'tcp'\nreturn { on_packet = function(p)\n f(moontap.address '::1') end }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "s.lua:3:", "called with a packet")
      t.write("s.lua", "local f, old = moontap.filter 'tcp'\nreturn { on_packet = function(p)\n if old then f(old) end old = p end }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "s.lua:3:", "gone")
      t.write("s.lua", "local f, old = moontap.filter 'tcp'\nreturn { on_packet = function(p)\n if old then f(old) end old = p:edit() end }")
      t.refuses("moontap -l ./s.lua f/web.pcap", 4, "s.lua:3:", "gone")
    end)
  end)

  describe("filter= and keep=", function()
    it("choose as tcpdump does, for several link types in a run", function()
      local packets = {}
      for i = 1, 3000 do
        packets[i] = i % 3 == 0 and { 101, c.ip_udp { sport = i % 7 + 50 } } or { 1, c.udp { sport = i % 5 + 50 } }
      end
      t.write("in.pcapng", several_types(packets))
      local expected = 0
      for i = 1, 3000 do
        expected = expected + ((i % 3 == 0 and i % 7 or i % 5) == 3 and 1 or 0)
      end
      assert.equal(expected .. "\n", output([[local n = 0
        return { filter = "src port 53", on_packet = function() n = n + 1 end, on_stop = function() print(n) end }]],
        "in.pcapng"))
      assert.equal(expected, t.balances(t.json(
        "moontap --json -l ./k.lua -o out.pcapng in.pcapng", nil, { stdin = t.write("k.lua", "return { keep = 'src port 53' }") })).kept)
    end)

    it("choose the same for on_batch, and behind an error", function()
      t.write("b.lua", [[local n = 0 return { filter = "udp", keep = "port 53 or tcp", on_batch = function(b) n = n + b.n end,
        on_stop = function() print(n) end }]])
      t.write("p.lua", [[local n = 0 return { filter = "udp", keep = "port 53 or tcp", on_packet = function() n = n + 1 end,
        on_stop = function() print(n) end }]])
      t.write("bad.lua", "return { on_error = 'keep', on_packet = function(p) error 'x' end }")
      local counts = {}
      for i, words in ipairs { "-l ./b.lua", "-l ./p.lua", "-l ./bad.lua -l ./p.lua", "-l ./bad.lua -l ./b.lua" } do
        counts[i] = tonumber(t.sh("moontap --script-errors 1000000 " .. words .. " f/vlan.pcap").out)
      end
      local judge = t.run("tcpdump -nr f/vlan.pcap 'udp port 53'").out
      local n = select(2, judge:gsub("\n", ""))
      assert.same({ n, n, n, n }, counts)
    end)

    it("are counted by --profile", function()
      t.write("s.lua", "return { filter = 'udp', keep = 'ip', on_packet = function() end }")
      local err = t.run("moontap --profile -l ./s.lua f/web.pcap").err
      assert.is_truthy(err:find("filter= and keep=: %d"), err)
    end)
  end)

  describe("a program in Lua", function()
    it("says what libpcap's interpreter says, for programs put together at random", function()
      for _, seed in ipairs { 1, 2 } do
        local out = t.run(("moontap -l %s,seed=%d f/web.pcap"):format(RANDOM, seed), nil, FILTERS).out
        assert.is_truthy(out:find("2000 programs, 0 refused, ", 1, true), out)
        assert.is_truthy(out:find(" 0 disagreements\n", 1, true), out)
        assert.is_true(tonumber(out:match("([%d.]+) %% match")) > 5, out)
      end
    end)
  end)
end)

-- --- the corpus -------------------------------------------------------------------------------

local OF_A_FILE = 12 -- expressions that tcpdump tries on each file

-- Count and hash, as filter_check.lua makes them, of the packets of a pcap file in this machine's byte order.
local function matches_in(bytes)
  local u8 = ffi.cast("const uint8_t *", bytes)
  local u32 = ffi.typeof("const uint32_t *")
  local at, n, hash = 24, 0, 0
  while at < #bytes do
    local record = ffi.cast(u32, u8 + at)
    n, hash = n + 1, filters.hash(hash, u8 + at + 16, record[2], record[3])
    at = at + 16 + record[2]
  end
  return n, hash
end

describe("filter over the corpus", function()
  local dir, why = t.corpus()
  before_each(t.fresh)
  after_each(t.clean)

  local files = {}
  for _, row in ipairs(dir and t.tsv(dir .. "/MANIFEST.tsv") or {}) do
    if not row.special:find("FRAMING-BROKEN", 1, true) and not row.path:find("^hostile/") and tonumber(row.packets) > 0 then
      files[#files + 1] = dir .. "/" .. row.path
    end
  end

  it("decides on every packet, whole and cut, as libpcap's interpreter and as tcpdump", function()
    if not dir then
      pending(why)
      return
    end
    local words = {}
    for i, file in ipairs(files) do
      words[i] = t.quote(file)
    end
    local r = t.run(("moontap -l %s,random=80,matches=%s %s"):format(CHECK, t.path("matches"), table.concat(words, " ")), nil,
      { env = FILTERS.env, timeout = 120 })
    assert.is_truthy(r.out:find(" 0 disagreements\n", 1, true), r.out)

    local results, expressions = {}, {} -- by file and expression: count and hash
    for line in t.read("matches"):gmatch("[^\n]+") do
      local file, expression, count, hash = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$")
      if not results[file] then
        results[file] = {}
      end
      if file == files[1] then
        expressions[#expressions + 1] = expression
      end
      results[file][expression] = { tonumber(count), tonumber(hash) }
    end

    -- Each file with some of the expressions; tcpdump reads no file with more than one link type.
    local commands, tried = {}, {}
    for i, file in ipairs(files) do
      for k = 0, OF_A_FILE - 1 do
        local expression = k == 0 and "len >= 0" or expressions[(i * 37 + k * 41) % #expressions + 1]
        tried[#tried + 1] = { file = file, expression = expression }
        commands[#commands + 1] = ("tcpdump -Z root -r %s -w %d.pcap -- %s 2>%d.err; echo $?"):format(t.quote(file), #tried,
          t.quote(expression), #tried)
      end
    end
    local codes, judged, matching, readable = t.run(table.concat(commands, "\n"), nil, { timeout = 120 }).out:gmatch("%d+"), 0, 0, nil
    for i, pair in ipairs(tried) do
      local code, ours = codes(), results[pair.file][pair.expression] or { 0, 0 }
      readable = pair.expression == "len >= 0" and code == "0" or pair.expression ~= "len >= 0" and readable
      if readable then
        local n, hash = 0, 0
        if code == "0" then
          n, hash = matches_in(t.read(i .. ".pcap"))
        end
        assert.same({ n, hash }, ours, ("%s: %s: %s"):format(pair.file, pair.expression, t.read(i .. ".err")))
        judged, matching = judged + 1, matching + (n > 0 and 1 or 0)
      end
    end
    assert.is_true(judged > 1000 and matching > 200, ("%d judged, %d with matches"):format(judged, matching))
  end)
end)
