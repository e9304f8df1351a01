-- SPDX-License-Identifier: BSD-2-Clause
-- Behaviours that were broken once: each is told here as what moontap does.
local t = require("support.moontap")
local c = require("support.capture")

local SUMS = { "packets", "kept", "filtered", "script_dropped", "dropped" }

local function packet(i, at)
  return { c.T0 + math.floor(at), at % 1 * 1e6, c.udp { id = i % 65536, sport = i % 65536, payload = "number " .. i } }
end

-- n packets, one every `step` seconds, in in.pcap.
local function make(n, step)
  local file = {}
  for i = 0, n - 1 do
    file[i + 1] = packet(i, i * step)
  end
  return t.write("in.pcap", c.pcap(file))
end

-- The object of --json, which must balance in total, for each source and over all sources.
local function json(command, code, options)
  local r, run = t.json(command, code, options)
  t.balances(r)
  for _, key in ipairs(SUMS) do
    local sum = 0
    for _, source in ipairs(r.sources) do
      t.balances(source)
      sum = sum + source[key]
    end
    assert.equal(r[key], sum, key .. " is not the sum over the sources")
  end
  return r, run
end

local function manifest_packets(dir)
  local sum = 0
  for _, line in ipairs(t.json_lines(dir .. "/manifest.jsonl")) do
    assert.equal(line.packets, t.count(dir .. "/" .. line.file))
    sum = sum + line.packets
  end
  return sum
end

local function needs_root()
  if t.run("id -u").out ~= "0\n" then
    pending("needs root")
  end
end

local function tmpfs(name, size)
  needs_root()
  local ok, why = t.tmpfs(name, "size=" .. size)
  if not ok then
    pending(why)
  end
end

-- The times at which on_interval of a second script was called, as seconds since T0.
local function intervals(options, code)
  t.write("i.lua", ([[return { interval = 1, on_interval = function(now, last)
    if not last then print(("%%d"):format(now - %d)) end end }]]):format(c.T0))
  local list = {}
  for line in t.run("moontap " .. options, code, { timeout = 10 }).out:gmatch("[^\n]+") do
    list[#list + 1] = tonumber(line)
  end
  return list
end

describe("regression", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("os.exit", function()
    it("in a script with on_error = drop leaks nothing past the scripts behind it", function()
      make(3000, 0.001)
      t.write("exits.lua", [[return { on_error = "drop", on_packet = function(p) if p.sport == 1500 then os.exit(0) end end }]])
      t.write("drops.lua", [[return { on_packet = function() return false end }]])
      local r = json("moontap --json -o out.pcap -l ./exits.lua -l ./drops.lua in.pcap")
      assert.equal(0, r.kept)
      assert.equal(0, t.count("out.pcap"))
    end)

    for _, hook in ipairs { "on_start", "on_segment_open", "on_segment_close", "on_block" } do
      it("in " .. hook .. " ends the run early with status 0", function()
        make(50000, 0.0001)
        t.write("s.lua", "return { " .. hook .. " = function() os.exit(0) end }")
        local r = json("moontap --json -B out -P 100 -l ./s.lua in.pcap")
        assert.is_true(r.packets < 50000)
        assert.equal(r.kept, r.kept > 0 and manifest_packets("out") or 0)
      end)
    end

    it("inside the script's own pcall still stops", function()
      make(3000, 0.001)
      t.write("s.lua", [[return { on_packet = function(p) if p.sport == 1500 then pcall(os.exit, 0) end end }]])
      local r = json("moontap --json -o out.pcap -l ./s.lua in.pcap")
      assert.is_true(r.packets >= 1500 and r.packets < 3000)
      assert.equal(r.kept, t.count("out.pcap"))
    end)
  end)

  describe("signals", function()
    local STUCK = [[local n = 0
      return { %s = function() n = n + 1 if n == %d then while true do end end end }]]

    -- Interrupts a stuck run twice; returns how many milliseconds the end took after that.
    local function interrupt_twice()
      local r = t.sh([[moontap -o out.pcap -l ./s.lua in.pcap & pid=$!
        sleep 0.7; kill -INT $pid; sleep 0.4; begin=$(date +%s%N); kill -INT $pid; wait $pid; code=$?
        echo $((($(date +%s%N) - begin) / 1000000)); exit $code]], { timeout = 10 })
      assert.equal(130, r.code)
      return tonumber(r.out)
    end

    for _, case in ipairs { { "on_start", 1, 0 }, { "on_packet", 2500, 2499 }, { "on_stop", 1, 3000 } } do
      local hook, call, written = unpack(case)
      it("a second SIGINT ends a script that is stuck in " .. hook .. ", and the packets before are written", function()
        make(3000, 0.001)
        t.write("s.lua", STUCK:format(hook, call))
        assert.is_true(interrupt_twice() < 3000)
        local expected = t.packets("in.pcap")
        assert.same({ unpack(expected, 1, written) }, t.packets("out.pcap"))
      end)
    end

    it("a second SIGINT leaves whole segments", function()
      make(3000, 0.001)
      t.write("s.lua", STUCK:format("on_packet", 2500))
      local r = t.sh([[moontap -B out -P 1000 -l ./s.lua in.pcap & pid=$!
        sleep 0.7; kill -INT $pid; sleep 0.4; kill -INT $pid; wait $pid]], { timeout = 10 })
      assert.equal(130, r.code)
      assert.equal(2499, manifest_packets("out"))
    end)

    it("two at once, as timeout(1) sends them, count as one: what was read from a pipe is written", function()
      t.run([[mkfifo p; { cat f/web.pcap; sleep 1.5; } >p &
        timeout --preserve-status -s INT 0.7 moontap -o out.pcap -r p]])
      assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
    end)
  end)

  describe("on_block that fails", function()
    for _, rule in ipairs { "drop", "keep", "stop" } do
      it("with on_error = " .. rule .. " counts as kept what the file holds", function()
        make(30000, 0.0001) -- more than one block
        t.write("s.lua", ([[local n = 0 return { on_error = "%s",
          on_block = function() n = n + 1 if n == 2 then error("not this one") end end }]]):format(rule))
        local r = json("moontap --json -o out.pcap -l ./s.lua in.pcap", 4)
        assert.equal(r.kept, t.count("out.pcap"))
        assert.equal(rule == "keep" and 30000 or r.kept, r.kept)
        assert.is_true(rule == "keep" or r.kept < 30000)
      end)
    end

    it("with on_error = stop ends the run", function()
      make(200000, 0.0001)
      t.write("s.lua", [[return { on_error = "stop", on_block = function() error("not today") end }]])
      local r = json("moontap --json -o out.pcap -l ./s.lua in.pcap", 4)
      assert.is_true(r.packets < 200000)
      assert.equal(0, r.kept)
      assert.equal(0, t.count("out.pcap"))
    end)

    it("with on_error = drop and segments counts as kept what the files hold", function()
      make(3000, 0.001)
      t.write("s.lua", [[local n = 0 return { on_error = "drop",
        on_block = function() n = n + 1 if n == 2 then error("not this one") end end }]])
      local r = json("moontap --json -B out -P 1000 -l ./s.lua in.pcap", 4)
      assert.is_true(r.kept < 3000)
      assert.equal(r.kept, manifest_packets("out"))
    end)
  end)

  describe("a full disk", function()
    for _, name in ipairs { "out.pcap", "out.pcapng" } do
      it("counts as kept what " .. name .. " holds", function()
        tmpfs("small", "64k")
        local r = json("moontap --json -o small/" .. name .. " f/two-interfaces.pcapng f/web.pcap", 3)
        assert.is_true(r.kept > 0 and r.dropped > 0)
        assert.equal(r.kept, t.count("small/" .. name))
      end)
    end

    it("counts as kept what the segments hold", function()
      tmpfs("small", "128k")
      local r = json("moontap --json -B small -P 100 f/two-interfaces.pcapng f/web.pcap f/two-interfaces.pcapng", 3)
      assert.is_true(r.kept > 0 and r.dropped > 0)
      assert.equal(r.kept, manifest_packets("small"))
    end)

    it("that takes nothing leaves nothing kept", function()
      local r = json("moontap --json -o /dev/full f/two-interfaces.pcapng f/web.pcap", 3)
      assert.equal(0, r.kept)
      assert.equal(t.count("f/two-interfaces.pcapng") + t.count("f/web.pcap"), r.dropped)
    end)
  end)

  it("a --pipeout command that stops reading is a failure, and nothing counts as kept", function()
    make(30000, 0.0001)
    local r = json("moontap --json --pipeout='head -c 100' -o out.pcap in.pcap", 3)
    assert.equal(0, r.kept)
    assert.equal(r.packets, r.dropped)
  end)

  describe("text goes to standard error when packets go to standard output", function()
    for _, output in ipairs { "-o -", "-o /dev/stdout", "--out u=-" } do
      it("with " .. output, function()
        t.write("s.lua", [[return { on_start = function() print("printed") io.write("written\n") end,
          on_packet = function() print("more") io.write("and more\n") return ]]
          .. (output:find("u=") and '"u"' or "true") .. [[ end }]])
        local r = t.run("moontap --json " .. output .. " -l ./s.lua f/web.pcap | cat >out.pcap")
        assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
        for _, text in ipairs { "printed\n", "written\n", "and more\n", '"packets": 169' } do
          assert.is_truthy(r.err:find(text, 1, true), text)
        end
      end)
    end
  end)

  describe("a refused start", function()
    it("leaves the file that --overwrite would have replaced", function()
      t.write("old.pcap", "precious")
      t.refuses("moontap --overwrite -o old.pcap --out u=no/such/u.pcap -e true f/web.pcap", 1, "no/such/u.pcap")
      assert.equal("precious", t.read("old.pcap"))
      t.refuses("moontap --overwrite -o no/such/u.pcap --out u=old.pcap -e true f/web.pcap", 1, "no/such/u.pcap")
      assert.equal("precious", t.read("old.pcap"))
    end)

    it("leaves no new file", function()
      t.refuses("moontap -o new.pcap --out u=no/such/u.pcap -e true f/web.pcap", 1, "no/such/u.pcap")
      assert.is_false(t.exists("new.pcap"))
      t.refuses("moontap --out a=new.pcap --out u=no/such/u.pcap -e true f/web.pcap", 1, "no/such/u.pcap")
      assert.is_false(t.exists("new.pcap"))
    end)
  end)

  describe("on_interval", function()
    it("is called for the time of packets that an earlier script's on_batch dropped", function()
      make(5, 1)
      t.write("drops.lua", [[return { on_batch = function(batch) for i = 0, batch.n - 1 do batch:drop(i) end end }]])
      assert.same({ 1, 2, 3, 4 }, intervals("-l ./drops.lua -l ./i.lua in.pcap"))
    end)

    it("is called for the time of packets that -F rejects", function()
      make(5, 1)
      assert.same({ 1, 2, 3, 4 }, intervals("-F 'udp src port 0' -l ./i.lua in.pcap"))
    end)

    it("is not called for the time of packets outside --from and --to", function()
      make(10, 1)
      assert.same({ 3, 4 }, intervals(("--from %d --to %d -l ./i.lua in.pcap"):format(c.T0 + 2, c.T0 + 5)))
    end)
  end)

  describe("a packet at the end of time", function()
    -- A packet at T0 and one at INT64_MAX nanoseconds.
    local function last_moment()
      local data = c.udp {}
      local max = c.uint(0x7fffffff, 4, "le") .. ("\xff"):rep(4)
      return t.write("end.pcapng", c.section("le") .. c.interface("le", { tsresol = 9 })
        .. c.enhanced("le", 0, c.T0 * 2 ^ 9 * 5 ^ 9, data)
        .. c.block("le", 6, c.uint(0, 4, "le") .. max .. c.uint(#data, 4, "le") .. c.uint(#data, 4, "le")
          .. data .. ("\0"):rep(-#data % 4)))
    end

    it("ends a run with on_interval in time", function()
      t.write("i.lua", [[return { interval = 1, on_interval = function() end }]])
      last_moment()
      assert.equal(2, json("moontap --json -l ./i.lua end.pcapng", 0, { timeout = 5 }).packets)
    end)

    it("is where a later time is clamped to", function()
      t.write("i.lua", [[return { interval = 1, on_interval = function() end,
        on_packet = function(p) io.stderr:write(tostring(p.ts_ns), "\n") end }]])
      t.write("late.pcapng", c.section("le") .. c.interface("le", { tsresol = 0 }) .. c.enhanced("le", 0, 2 ^ 50, c.udp {}))
      local r, run = json("moontap --json -l ./i.lua late.pcapng", 0, { timeout = 5 })
      assert.equal(1, r.bad_time)
      assert.equal("9223372036854775807LL\n", run.err)
    end)

    it("is written to pcapng", function()
      last_moment()
      assert.equal(2, json("moontap --json -o out.pcapng end.pcapng", 0, { timeout = 5 }).kept)
      assert.equal(2, t.count("out.pcapng"))
    end)

    it("ends a run with -G", function()
      last_moment()
      assert.equal(2, json("moontap --json -B out -G 3600 --format pcapng end.pcapng", 0, { timeout = 5 }).kept)
      assert.equal(2, manifest_packets("out"))
    end)
  end)

  describe("--json", function()
    it("says of outputs what it says of sources", function()
      local r = json("moontap --json -o out.pcapng f/web.pcap")
      for _, key in ipairs { "packets", "bytes", "kept", "filtered", "script_dropped", "dropped", "dropped_kernel", "late", "disorder",
        "bad_time", "clock_jumps", "script_bypassed", "first_ts", "last_ts", "linktypes" } do
        assert.is_not_nil(r.sources[1][key], "sources: " .. key)
        assert.is_not_nil(r.outputs[1][key], "outputs: " .. key)
      end
      assert.equal(r.sources[1].first_ts, r.outputs[1].first_ts)
      assert.equal(r.sources[1].last_ts, r.outputs[1].last_ts)
      assert.same(r.sources[1].linktypes, r.outputs[1].linktypes)
    end)

    it("is printed also when a word is no source at all", function()
      local r = json("moontap --json no-such-thing", 1)
      assert.equal(0, r.packets)
    end)

    it("counts in bytes what was read, whatever scripts cut off", function()
      t.write("s.lua", [[return { on_packet = function(p) p:truncate(20) end }]])
      local whole = json("moontap --json -o whole.pcap f/web.pcap")
      local cut = json("moontap --json -o cut.pcap -l ./s.lua f/web.pcap")
      assert.equal("20", t.field("cut.pcap", "frame.cap_len")[1])
      assert.equal(whole.bytes, cut.bytes)
      assert.equal(whole.sources[1].bytes, cut.sources[1].bytes)
    end)

    it("writes a recipe's empty list as []", function()
      local r = t.run("moontap --json m/no-packets.pcap | jq -c .scripts.summary.protocols")
      assert.equal("[]\n", r.out)
    end)

    it("and the manifest call link types what libpcap calls them", function()
      for name, linktype in pairs { ["f/web.pcap"] = "EN10MB", ["m/raw-ip.pcap"] = "RAW" } do
        local r = json("moontap --json -B out-" .. linktype .. " " .. name)
        local line = t.json_lines("out-" .. linktype .. "/manifest.jsonl")[1]
        for _, list in ipairs { r.linktypes, r.sources[1].linktypes, r.outputs[1].linktypes, line.linktypes } do
          assert.same({ linktype }, list)
        end
      end
    end)
  end)

  describe("a script that eats its memory", function()
    local EATS = [[local hoard = {} return { on_error = "%s", on_packet = function(p)
      for i = 1, 1000 do hoard[#hoard + 1] = ("x"):rep(%d) .. p.sport .. " " .. i end end }]]

    for _, length in ipairs { 10, 1000 } do
      it("by strings of " .. length .. " bytes is switched off, and with on_error = keep all packets are kept", function()
        make(3000, 0.001)
        t.write("s.lua", EATS:format("keep", length))
        local r = json("moontap --json -o out.pcap --script-memory 32M -l ./s.lua in.pcap", 4)
        assert.equal(3000, r.kept)
        assert.is_true(r.script_bypassed > 2000 and r.script_bypassed <= 3000)
        assert.same(t.packets("in.pcap"), t.packets("out.pcap"))
      end)
    end

    it("is switched off, and with on_error = drop the rest is dropped", function()
      make(3000, 0.001)
      t.write("s.lua", EATS:format("drop", 1000))
      local r = json("moontap --json -o out.pcap --script-memory 32M -l ./s.lua in.pcap", 4)
      assert.is_true(r.kept > 0 and r.kept < 1000)
      assert.equal(3000 - r.kept, r.script_dropped)
      assert.equal(r.kept, t.count("out.pcap"))
    end)
  end)

  it("a gzip capture is read without a false alarm, 60 times", function()
    make(10000, 0.001)
    local r = t.run([[gzip in.pcap; n=0; i=0
      while [ $i -lt 60 ]; do moontap -o /dev/null in.pcap.gz || n=$((n + 1)); i=$((i + 1)); done; echo $n]], 0, { timeout = 60 })
    assert.equal("0\n", r.out)
    assert.equal("", r.err)
  end)

  it("--relinquish-privileges reads a source that only root may read", function()
    needs_root()
    t.run("chmod 755 .; mkdir -m 777 out; cp f/web.pcap in.pcap; chown root in.pcap; chmod 600 in.pcap")
    t.run("moontap --relinquish-privileges=nobody -o out/o.pcap in.pcap")
    assert.same(t.packets("f/web.pcap"), t.packets("out/o.pcap"))
    assert.equal("nobody\n", t.run("stat -c %U out/o.pcap").out)
  end)

  it("tostring of a packet begins with its exact time", function()
    t.write("s.lua", [[return { on_packet = function(p) print(tostring(p):match("^%S+")) end }]])
    assert.equal("1700000000.111111111\n1700000000.222222222\n1700000001.333333333\n1700000001.444444444\n",
      t.run("moontap -l ./s.lua m/ns-be.pcap").out)
  end)

  it("an error in -e says where in the expression", function()
    t.refuses("moontap -e 'p.foo' f/web.pcap", 4, "-e:1:", "foo")
  end)

  it("a wrong argument of a packet's method is an error at the script's line", function()
    t.write("s.lua", 'return {\n  on_packet = function(p)\n    local x = p:u8("a")\n  end,\n}')
    t.refuses("moontap -l ./s.lua f/web.pcap", 4, "./s.lua:3: ", "u8")
  end)
end)

describe("what a newcomer met", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("a packet kept for on_interval or on_stop is gone there", function()
    for _, hook in ipairs { "on_stop = function() print(kept.src) end", "interval = 0.2, on_interval = function() print(kept.src) end" } do
      t.write("s.lua", "local kept return { on_packet = function(p) kept = p end, " .. hook .. " }")
      local r = t.run("moontap -l ./s.lua f/web.pcap", 4)
      assert.is_truthy(r.err:find("this packet is gone", 1, true), r.err)
      assert.equal("", r.out)
    end
  end)

  it("a pcapng file of whole microseconds beside µs pcap gives µs pcap", function()
    t.run("editcap -F pcapng f/web.pcap us.pcapng")
    t.run("moontap -o out.pcap us.pcapng f/vlan.pcap")
    assert.equal("\xd4\xc3\xb2\xa1", t.read("out.pcap"):sub(1, 4))
    t.run("moontap -o ns.pcap f/two-interfaces.pcapng f/vlan.pcap")
    assert.equal("\x4d\x3c\xb2\xa1", t.read("ns.pcap"):sub(1, 4))
  end)

  it("a finer time that comes later is refused and counted, not cut", function()
    local first = c.section("le") .. c.interface("le", { tsresol = 6 })
    for i = 1, 3000 do
      first = first .. c.enhanced("le", 0, 1000000 + i, c.udp { id = i })
    end
    t.write("x.pcapng", first .. c.interface("le", { tsresol = 9 })
      .. c.enhanced("le", 1, 5000000123, c.udp { id = 7 }))
    local r = t.json("moontap --json -o out.pcap x.pcapng", 3)
    assert.equal(3000, r.kept)
    assert.equal(1, r.dropped)
  end)

  it("the summary is of the packets that passed, and says how many were read", function()
    local out = t.run("moontap -F udp f/web.pcap").out
    assert.is_truthy(out:find("packets     44 in 1 source\nof          169 that were read", 1, true), out)
  end)

  it("a full standard output is reported", function()
    local r = t.run("moontap f/web.pcap >/dev/full", 3)
    assert.is_truthy(r.err:find("standard output", 1, true), r.err)
  end)

  it("a field without p. in an expression is an error that says so", function()
    local r = t.run("moontap -e 'dport == 53' f/web.pcap", 4)
    assert.is_truthy(r.err:find("p.dport", 1, true), r.err)
  end)

  it("a script that was switched off for its errors still drops what its keep rejects", function()
    t.write("s.lua", [[return { keep = "udp", on_error = "keep", on_packet = function(p) error "always" end }]])
    local r = t.balances(t.json("moontap --json --script-errors 2 -o out.pcap -l ./s.lua f/web.pcap", 4))
    assert.equal(#t.packets("f/web.pcap", nil, "udp"), r.kept)
    assert.equal(r.kept, t.count("out.pcap"))
  end)
end)
