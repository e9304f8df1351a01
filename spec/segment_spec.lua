-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

-- 100 packets of 60 bytes (records of 76), one every `seconds` from 22:13:20 on.
local function make(seconds, name)
  local file = {}
  for i = 0, 99 do
    file[i + 1] = { c.T0 + i * seconds, 0, c.udp { id = i, payload = ("%018d"):format(i) } }
  end
  return t.write(name or "in.pcap", c.pcap(file))
end

local function manifest()
  return t.json_lines("out/manifest.jsonl")
end

local function column(name)
  local values = {}
  for i, line in ipairs(manifest()) do
    values[i] = line[name]
  end
  return values
end

-- Every listed segment is a file that capinfos reads, with the packets the manifest says,
-- and together they are the input.  Returns the packet counts.
local function checked(input)
  local names, counts = {}, {}
  for i, line in ipairs(manifest()) do
    names[i] = t.quote("out/" .. line.file)
    counts[i] = line.packets
  end
  names = table.concat(names, " ")
  local said = {}
  for packets in t.run("capinfos -rTMc " .. names).out:gmatch("\t(%d+)\n") do
    said[#said + 1] = tonumber(packets)
  end
  assert.same(counts, said)
  t.run("rm -f all.pcap; mergecap -a -F nsecpcap -w all.pcap " .. names)
  assert.same(t.packets(input or "in.pcap"), t.packets("all.pcap"))
  return counts
end

describe("segments", function()
  before_each(function() t.fresh() make(6) end)
  after_each(t.clean)

  describe("trigger", function()
    it("-P: packets", function()
      t.run("moontap -B out -P 30 in.pcap")
      assert.same({ 30, 30, 30, 10 }, checked())
    end)

    it("-S: encoded bytes, header included, before the packet that would overstep", function()
      t.run("moontap -B out -S 1K in.pcap")
      assert.same({ 13, 13, 13, 13, 13, 13, 13, 9 }, checked())
    end)

    it("-S: a limit that is met exactly is not overstepped", function()
      make(6)
      t.write("in.pcap", t.read("in.pcap"):sub(1, 24 + 76 * 2))
      -- 24 + 76 + 76 = 176 bytes; a third record of 848 makes it 1024.
      t.write("in.pcap", t.read("in.pcap") .. c.pcap_record({}, { c.T0 + 50, 0, c.udp { payload = ("x"):rep(790) } }))
      t.run("moontap -B out -S 1K in.pcap")
      assert.same({ 3 }, checked())
    end)

    it("-S: a packet that is larger gets its own segment", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0, 1, c.udp { payload = ("x"):rep(3000) } }, { c.T0, 2, c.udp {} } })
      t.run("moontap -B out -S 1K in.pcap")
      assert.same({ 1, 1, 1 }, checked())
    end)

    it("-S: counts bytes before the codec", function()
      t.run("moontap -B out -S 1K -Z gz in.pcap")
      assert.same({ 13, 13, 13, 13, 13, 13, 13, 9 }, checked())
    end)

    it("-G: multiples of the time of day", function()
      t.run("moontap -B out -G 60 in.pcap")
      assert.same({ 7, 10, 10, 10, 10, 10, 10, 10, 10, 10, 3 }, checked())
    end)

    it("-G: a number of seconds that does not divide a day counts from the epoch", function()
      t.run("moontap -B out -G 7 in.pcap")
      local expected, last = {}, nil
      for i = 0, 99 do
        local slot = math.floor((c.T0 + i * 6) / 7)
        if slot ~= last then
          expected[#expected + 1] = 0
        end
        expected[#expected], last = expected[#expected] + 1, slot
      end
      assert.same(expected, checked())
    end)

    it("-G: hours begin where people expect them, in local time or with -U in UTC", function()
      make(60)
      local ist = { env = { TZ = "IST-5:30" } }
      t.run("moontap -B out -G 3600 in.pcap", 0, ist)
      assert.same({ 17, 60, 23 }, checked())
      assert.same({ "20231115-034320-00000001.pcap", "20231115-040020-00000002.pcap", "20231115-050020-00000003.pcap" }, column("file"))
      t.run("rm -r out; moontap -B out -U -G 3600 in.pcap", 0, ist)
      assert.same({ 47, 53 }, checked())
      assert.same({ "20231114-221320-00000001.pcap", "20231114-230020-00000002.pcap" }, column("file"))
    end)

    it("-G: a gap writes no empty segments", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 86400, 0, c.udp {} } })
      t.run("moontap -B out -G 60 in.pcap")
      assert.same({ 1, 1 }, checked())
    end)

    it("-G and -P compose, and -P does not move the time boundary", function()
      t.run("moontap -B out -G 60 -P 4 in.pcap")
      local expected = { 4, 3 }
      for _ = 1, 9 do
        expected[#expected + 1], expected[#expected + 2], expected[#expected + 3] = 4, 4, 2
      end
      expected[#expected + 1] = 3
      assert.same(expected, checked())
    end)

    it("-G and -S compose, and -S does not move the time boundary", function()
      t.run("moontap -B out -G 300 -S 1K in.pcap")
      -- boundaries at 22:15:00 (17 packets) and 22:20:00 (50 more)
      assert.same({ 13, 4, 13, 13, 13, 11, 13, 13, 7 }, checked())
    end)

    it("whichever comes first rotates", function()
      t.run("moontap -B out -G 60 -S 1K -P 9 in.pcap")
      local expected = { 7 }
      for _ = 1, 9 do
        expected[#expected + 1], expected[#expected + 2] = 9, 1
      end
      expected[#expected + 1] = 3
      assert.same(expected, checked())
      local reasons = column("reason")
      assert.equal("start", reasons[1])
      assert.equal("time", reasons[2])
      assert.equal("packets", reasons[3])
    end)

    it("says size where size rotated", function()
      t.run("moontap -B out -S 1K in.pcap")
      assert.equal("size", column("reason")[2])
    end)

    it("SIGHUP", function()
      t.run([[mkfifo p; moontap -B out -r p & pid=$!
        exec 3>p; head -c $((24 + 76 * 40)) in.pcap >&3; sleep 0.6
        kill -HUP $pid; sleep 0.6
        tail -c +$((25 + 76 * 40)) in.pcap >&3; exec 3>&-; wait $pid]])
      assert.same({ 40, 60 }, checked())
      assert.equal("signal", column("reason")[2])
    end)

    it("a script's rotate", function()
      t.write("r.lua", [[return { rotate = function(segment, p) return segment.packets > 0 and p.t % 120e9 == 0 end }]])
      t.run("moontap -B out -l ./r.lua in.pcap")
      assert.same({ 20, 20, 20, 20, 20 }, checked())
      assert.equal("script", column("reason")[2])
    end)

    for _, trigger in ipairs { "-G 60", "-S 1", "-P 5" } do
      it(trigger .. " without -B is refused", function()
        t.refuses("moontap -o out.pcap " .. trigger .. " in.pcap", 1, trigger:sub(1, 2), "-B")
      end)
    end

    it("values that make no sense are refused by name", function()
      t.refuses("moontap -B out -G 0 in.pcap", 1, "-G")
      t.refuses("moontap -B out -S 1X in.pcap", 1, "-S", "1X")
      t.refuses("moontap -B out -P -3 in.pcap", 1, "-P", "-3")
      assert.is_false(t.exists("out"))
    end)
  end)

  describe("names", function()
    it("are time and sequence number by default", function()
      t.run("moontap -B out -P 50 in.pcap")
      assert.same({ "20231114-221320-00000001.pcap", "20231114-221820-00000002.pcap", "manifest.jsonl" }, t.list("out"))
    end)

    it("follow format and codec", function()
      t.run("moontap -B out --format pcapng -Z gz -P 50 in.pcap")
      assert.same({ "20231114-221320-00000001.pcapng.gz", "20231114-221820-00000002.pcapng.gz" }, column("file"))
      t.run("gzip -t out/*.gz")
      checked()
    end)

    it("take --file-ext", function()
      t.run("moontap -B out --file-ext=.trace -P 50 in.pcap")
      assert.same({ "20231114-221320-00000001.trace", "20231114-221820-00000002.trace" }, column("file"))
    end)

    it("take a template with folders", function()
      t.run("moontap -B out --name '%Y/%m/%d/%H%M%S-%{seq}.pcap.gz' -P 50 in.pcap")
      assert.same({ "2023/11/14/221320-00000001.pcap.gz", "2023/11/14/221820-00000002.pcap.gz", "manifest.jsonl" }, t.tree("out"))
      t.run("gzip -t out/2023/11/14/*.gz")
      checked()
    end)

    it("take %{n} %{source} %{reason}", function()
      t.run("moontap -B out --name '%{n}-%{source}-%{reason}.pcap' -P 50 in.pcap,name=tap")
      assert.same({ "1-tap-start.pcap", "2-tap-packets.pcap" }, column("file"))
    end)

    it("that are taken get -1, -2", function()
      t.run("moontap -B out --name same.pcap -P 40 in.pcap")
      assert.same({ "same.pcap", "same-1.pcap", "same-2.pcap" }, column("file"))
      checked()
    end)

    it("that are taken by an earlier run are left alone", function()
      t.run("mkdir out; echo precious >out/20231114-221320-00000001.pcap; moontap -B out in.pcap")
      assert.equal("precious\n", t.read("out/20231114-221320-00000001.pcap"))
      assert.same({ 100 }, checked())
    end)

    it("never leave the base", function()
      for _, template in ipairs { "../away.pcap", "/tmp/moontap-away.pcap", "a/../../away.pcap" } do
        local r = t.sh("rm -rf out; moontap -B out --name '" .. template .. "' in.pcap")
        assert.is_false(t.exists("away.pcap"))
        assert.is_false(t.exists("/tmp/moontap-away.pcap"))
        if r.code == 0 then
          assert.same({ 100 }, checked())
        else
          assert.equal(1, r.code)
          assert.is_truthy(r.err:find(template, 1, true))
        end
      end
    end)

    it("from a script decide last", function()
      t.write("n.lua", [[return { on_segment_open = function(s)
        return ("by-script/%d-%d-%s.pcap"):format(s.n, s.seq, s.reason) end }]])
      t.run("moontap -B out --name template.pcap -P 50 -l ./n.lua in.pcap")
      assert.same({ "by-script/1-1-start.pcap", "by-script/2-2-packets.pcap" }, column("file"))
      checked()
    end)

    it("from a script that fails are the default ones", function()
      t.write("n.lua", [[return { on_error = "keep", on_segment_open = function(s) error("no name today") end }]])
      local r = t.sh("moontap -B out -P 50 -l ./n.lua in.pcap")
      assert.is_truthy(r.err:find("no name today", 1, true))
      assert.same({ "20231114-221320-00000001.pcap", "20231114-221820-00000002.pcap" }, column("file"))
      checked()
    end)

    it("from a script never leave the base", function()
      t.write("n.lua", [[return { on_segment_open = function(s) return "../away.pcap" end }]])
      t.sh("moontap -B out -l ./n.lua in.pcap")
      assert.is_false(t.exists("away.pcap"))
      assert.same({ 100 }, checked())
    end)
  end)

  describe("sequence file", function()
    it("goes on across runs", function()
      t.run("moontap -B out -N seq -P 50 in.pcap && moontap -B out -N seq -P 50 in.pcap")
      assert.same({ 1, 2, 3, 4 }, column("seq"))
      assert.equal("4", t.read("seq"):match("%d+"))
    end)

    it("wraps after 99,999,999", function()
      t.write("seq", "99999998\n")
      t.run("moontap -B out -N seq -P 50 in.pcap")
      assert.same({ 99999999, 1 }, column("seq"))
    end)

    it("that is corrupt is refused and not touched", function()
      for _, text in ipairs { "twelve", "12 monkeys", "-3", "123456789012" } do
        t.write("seq", text)
        t.refuses("moontap -B out -N seq in.pcap", 1, "seq")
        assert.equal(text, t.read("seq"))
      end
    end)
  end)

  describe("manifest", function()
    it("has every field of a segment", function()
      t.run("moontap -B out -P 50 --sha256 in.pcap")
      local line = manifest()[2]
      local size = #t.read("out/" .. line.file)
      assert.equal("20231114-221820-00000002.pcap", line.file)
      assert.equal(2, line.seq)
      assert.equal("2023-11-14T22:18:20.000000000Z", line.first_ts)
      assert.equal("2023-11-14T22:23:14.000000000Z", line.last_ts)
      assert.equal(50, line.packets)
      assert.equal(50 * 60, line.captured_bytes)
      assert.equal(50 * 60, line.wire_bytes)
      assert.equal(size, line.file_bytes)
      assert.equal(24 + 50 * 76, size)
      assert.equal("packets", line.reason)
      assert.equal("pcap", line.format)
      assert.equal(t.run("sha256sum out/" .. line.file).out:match("%x+"), line.sha256)
      for _, key in ipairs { "v", "run", "output", "start", "end", "linktypes", "snaplen", "late", "clock_jumps",
        "script_bypassed", "sources" } do
        assert.is_not_nil(line[key], key)
      end
    end)

    it("adds up to the input", function()
      local r = t.balances(t.json("moontap --json -B out -S 20K f/web.pcap f/two-interfaces.pcapng f/ping.ns.pcap"))
      local packets, captured, bytes = 0, 0, 0
      for _, line in ipairs(manifest()) do
        packets, captured, bytes = packets + line.packets, captured + line.captured_bytes, bytes + line.file_bytes
        assert.equal(line.packets, t.count("out/" .. line.file))
      end
      assert.equal(r.kept, packets)
      assert.equal(r.bytes, captured)
      local on_disk = 0
      for _, name in ipairs(t.list("out")) do
        on_disk = on_disk + (name == "manifest.jsonl" and 0 or #t.read("out/" .. name))
      end
      assert.equal(on_disk, bytes)
    end)

    it("counts each source in each segment: what is kept is what the file has of it", function()
      for _, how in ipairs { "-P 37", "-S 5K", "-G 1", "-P 20 -e 'p.caplen % 2 == 0'", "-P 20 -F tcp" } do
        t.run("rm -rf out")
        local r = t.json("moontap --json -B out --format pcapng " .. how .. " f/web.pcap f/two-interfaces.pcapng f/vlan.pcap")
        local sums = {}
        for _, line in ipairs(manifest()) do
          local kept = 0
          for _, source in ipairs(line.sources) do
            kept = kept + source.kept
            assert.equal(source.packets, source.kept + source.filtered + source.script_dropped + source.dropped)
            sums[source.name] = sums[source.name] or { packets = 0, kept = 0, filtered = 0, script_dropped = 0, dropped = 0, late = 0 }
            for key in pairs(sums[source.name]) do
              sums[source.name][key] = sums[source.name][key] + source[key]
            end
          end
          assert.equal(line.packets, kept, how)
        end
        for _, source in ipairs(r.sources) do
          for _, key in ipairs { "packets", "kept", "filtered", "script_dropped", "dropped", "late" } do
            assert.is_true(sums[source.name][key] <= source[key])
          end
          assert.equal(source.kept, sums[source.name].kept, how)
        end
      end
    end)

    it("is what --json lists as segments", function()
      local r = t.json("moontap --json -B out -P 30 in.pcap")
      assert.same(manifest(), r.segments)
    end)

    it("is added to by the next run, which has another run id", function()
      t.run("moontap -B out in.pcap && moontap -B out in.pcap")
      local runs = column("run")
      assert.equal(2, #runs)
      assert.not_equal(runs[1], runs[2])
    end)

    it("has the smallest and largest time, not the first and last", function()
      t.run("moontap -B out m/backwards.pcap")
      assert.equal("2023-11-14T22:13:20.000000000Z", column("first_ts")[1])
      assert.equal("2023-11-14T22:13:29.000000000Z", column("last_ts")[1])
    end)
  end)

  describe("what is kept", function()
    it("--keep-files: the newest", function()
      t.run("moontap -B out -P 10 --keep-files 3 in.pcap")
      assert.equal(10, #manifest())
      assert.same({ "20231114-222020-00000008.pcap", "20231114-222120-00000009.pcap", "20231114-222220-00000010.pcap",
        "manifest.jsonl" }, t.list("out"))
    end)

    it("--keep-bytes: as many as fit", function()
      t.run("moontap -B out -P 10 --keep-bytes 2K in.pcap")
      assert.same({ "20231114-222120-00000009.pcap", "20231114-222220-00000010.pcap", "manifest.jsonl" }, t.list("out"))
    end)

    it("never includes files of others", function()
      t.run("mkdir out; echo x >out/00000000-foreign.pcap; moontap -B out -P 10 --keep-files 1 in.pcap")
      assert.same({ "00000000-foreign.pcap", "20231114-222220-00000010.pcap", "manifest.jsonl" }, t.list("out"))
    end)

    it("counts the segments of earlier runs", function()
      t.run("moontap -B out -N seq -P 50 in.pcap && moontap -B out -N seq -P 50 --keep-files 3 in.pcap")
      assert.equal(4, #t.list("out"))
      assert.is_false(t.exists("out/20231114-221320-00000001.pcap"))
    end)

    it("counts a name that was used again once", function()
      t.run("moontap -B out -P 50 --name a in.pcap; rm out/a.pcap out/a-1.pcap")
      t.run("moontap -B out --name a in.pcap; moontap -B out --name b --keep-files 2 in.pcap")
      assert.same({ "a.pcap", "b.pcap", "manifest.jsonl" }, t.list("out"))
    end)
  end)

  describe("manifest", function()
    it("begins a line of its own behind half a line", function()
      t.run([[mkdir out; printf '{"v":1,"file":"hal' >out/manifest.jsonl; moontap -B out -P 50 in.pcap]])
      local lines = {}
      for line in t.read("out/manifest.jsonl"):gmatch("[^\n]+") do
        lines[#lines + 1] = line:sub(1, 6)
      end
      assert.same({ '{"v":1', '{"v":1', '{"v":1' }, lines)
    end)

    it("is never the name of a segment", function()
      t.run("moontap -B out --file-ext .jsonl --name manifest in.pcap")
      assert.same({ "manifest-1.jsonl", "manifest.jsonl" }, t.list("out"))
      assert.same({ 100 }, checked())
    end)
  end)

  describe("watchfile", function()
    it("holds back the first segment until it exists", function()
      t.run([[moontap -B out -W go in.pcap & pid=$!; sleep 1; ls -A out >before; touch go; wait $pid]])
      assert.is_nil(t.read("before"):find("%.pcap\n"))
      assert.same({ 100 }, checked())
    end)

    it("does not hold back a signal", function()
      local r = t.sh("moontap -B out -W never in.pcap & pid=$!; sleep 0.7; kill -TERM $pid; wait $pid", { timeout = 10 })
      assert.not_equal(124, r.code)
      assert.is_true(r.code < 128, "exit status " .. r.code)
    end)

    it("already there holds back nothing", function()
      t.run("touch go; moontap -B out -W go -P 50 in.pcap")
      assert.same({ 50, 50 }, checked())
    end)
  end)

  describe("while open", function()
    it("have a hidden name that ends in .part, and reach the file within a second", function()
      t.run([[mkfifo p; moontap -B out -r p & pid=$!
        exec 3>p; cat in.pcap >&3; sleep 2; ls -A out >during; stat -c %s out/.*.part >size; exec 3>&-; wait $pid]])
      assert.equal(".20231114-221320-00000001.pcap.part\n", t.read("during"))
      assert.equal(24 + 7600, tonumber(t.read("size")))
      assert.same({ "20231114-221320-00000001.pcap", "manifest.jsonl" }, t.list("out"))
    end)
  end)

  describe("after kill -9", function()
    local function killed(options)
      t.sh("mkfifo p; moontap -B out " .. options .. [[ -r p & pid=$!
        exec 3>p; cat in.pcap >&3; sleep 2; kill -9 $pid; wait $pid 2>/dev/null; exec 3>&-]])
      local left = t.run("ls -A out | grep -c '^\\.'").out
      assert.equal("1\n", left)
    end

    for _, options in ipairs { "", "-Z gz", "--format pcapng", "--format erf", "--format pcapng -Z gz" } do
      it("--recover turns what was left into whole segments " .. options, function()
        killed("-P 70 " .. options)
        local r = t.run("moontap --recover out")
        assert.is_truthy(r.out:find("00000002", 1, true))
        local n = 0
        for _, name in ipairs(t.list("out")) do
          assert.not_equal(".", name:sub(1, 1))
          n = n + (name:find("manifest", 1, true) and 0 or t.count("out/" .. name))
        end
        assert.equal(100, n)
      end)
    end

    it("the next start reports the left-over and leaves it alone", function()
      killed("")
      local r = t.run("moontap -B out in.pcap")
      assert.is_truthy(r.err:find(".part", 1, true))
      assert.is_truthy(r.err:find("--recover", 1, true))
      assert.equal("1\n", t.run("ls -A out | grep -c '^\\.'").out)
    end)

    it("--recover cuts a record that was half written", function()
      killed("")
      t.run("truncate -s -5 out/.*.part; moontap --recover out")
      assert.equal(99, t.count("out/20231114-221320-00000001.pcap"))
    end)
  end)

  it("--recover leaves the segment of a running capture alone", function()
    t.run([[mkfifo p; moontap -B out -r p & pid=$!
      exec 3>p; cat in.pcap >&3; sleep 0.5; moontap --recover out; ls -A out >during; exec 3>&-; wait $pid]])
    assert.equal(".20231114-221320-00000001.pcap.part\n", t.read("during"))
    assert.same({ 100 }, checked())
  end)

  it("--recover takes nothing for ERF that only lacks a header", function()
    t.run([[mkdir out; head -c 4000 /dev/zero | tr '\0' '\26' >out/.a.pcap.part]])
    t.refuses("moontap --recover out", 3, ".a.pcap.part", "expected pcap, pcapng or ERF")
    assert.is_true(t.exists("out/.a.pcap.part"))
  end)

  it("--recover of a folder with nothing to do is no error", function()
    t.run("mkdir out; moontap --recover out")
  end)

  it("--recover of what is no folder is refused", function()
    t.refuses("moontap --recover nowhere", 1, "nowhere")
  end)

  describe("--pipeout", function()
    it("gives each segment to a command whose output is the segment", function()
      t.run("moontap -B out -P 50 --pipeout='gzip -9c' --file-ext .pcap.gz in.pcap && gzip -t out/*.gz")
      assert.same({ 50, 50 }, checked())
    end)

    it("takes shell quoting", function()
      t.run([[moontap -B out --pipeout='cat; echo "two  spaces" >>log' in.pcap]])
      assert.equal("two  spaces\n", t.read("log"))
      assert.same({ 100 }, checked())
    end)

    it("that fails leaves NAME.failed, stops, and ends with 3", function()
      t.refuses("moontap -B out -P 50 --pipeout='cat; exit 7' in.pcap", 3, "cat; exit 7", "7")
      local failed = {}
      for _, name in ipairs(t.list("out")) do
        if name:find("%.failed$") then failed[#failed + 1] = name end
      end
      assert.same({ "20231114-221320-00000001.pcap.failed" }, failed)
    end)

    it("that can not start is a failure too", function()
      t.refuses("moontap -B out --pipeout=/no/such/command in.pcap", 3, "/no/such/command")
    end)
  end)

  it("--on-close runs for each segment with its name", function()
    t.run([[moontap -B out -P 40 --on-close 'echo "$MOONTAP_FILE" >>log' in.pcap]])
    local base = {}
    for line in t.read("log"):gmatch("[^\n]+") do
      assert.is_true(t.exists(line), line)
      base[#base + 1] = line:match("[^/]*$")
    end
    table.sort(base)
    assert.same(column("file"), base)
  end)

  it("scripts are told of each one that was closed, the last one too", function()
    t.write("s.lua", [[return { on_segment_close = function(s) print(s.file, s.packets, s.first_ts) end }]])
    local r = t.run("moontap -B out -P 60 -l ./s.lua in.pcap")
    assert.equal("20231114-221320-00000001.pcap\t60\t2023-11-14T22:13:20.000000000Z\n"
      .. "20231114-221920-00000002.pcap\t40\t2023-11-14T22:19:20.000000000Z\n", r.out)
  end)

  it("are not written over a file that is the base", function()
    t.write("out", "precious")
    t.refuses("moontap -B out in.pcap", 1, "out")
    assert.equal("precious", t.read("out"))
  end)

  it("end with 3 when the disk is full, and those that were closed are whole", function()
    local ok, why = t.tmpfs("out", "size=64k")
    if not ok then pending(why) end
    t.refuses("moontap -B out -P 100 f/two-interfaces.pcapng f/web.pcap", 3, "No space left")
    local n = 0
    for _, line in ipairs(manifest()) do
      n = n + t.count("out/" .. line.file)
    end
    assert.is_true(n >= 100)
  end)
end)
