-- SPDX-License-Identifier: BSD-2-Clause
-- --on-full: what happens when there is no space left.
local json = require("cjson")
local t = require("support.moontap")

local function find_obstacle()
  t.fresh()
  local ok, why = t.tmpfs("disk", "size=1M")
  t.clean()
  return not ok and why or nil
end

describe("a full disk", function()
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    assert(t.tmpfs("disk", "size=2M"))
    t.generate("in", "--packets 60000 --files 1 --snaplen 64") -- about 5 MB
  end)
  after_each(t.clean)

  local function packets_on_disk()
    local n = 0
    for _, name in ipairs(t.tree("disk")) do
      if name:match("%.pcap[.gz]*$") then
        n = n + t.count("disk/" .. name)
      end
    end
    return n
  end

  it("ends the run with 3, and what is written is whole, without --on-full and with stop", function()
    for _, option in ipairs { "", "--on-full stop" } do
      local r = t.balances(json.decode(t.run("moontap --json -q -S 512K -B disk/" .. #option .. " " .. option .. " in/*.pcap", 3).out))
      assert.is_true(r.kept > 1000 and r.kept < 60000)
      assert.equal(r.kept, packets_on_disk())
      t.run("rm -r disk/" .. #option)
    end
  end)

  it("is waited for with wait, and nothing is lost", function()
    local r = t.run([[moontap --json -q -S 512K -B disk/out --on-full wait in/*.pcap >json & pid=$!
      for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        mkdir -p elsewhere; for f in disk/out/*.pcap; do test -e $f && mv $f elsewhere/; done; sleep 0.2
        kill -0 $pid 2>/dev/null || break
      done; wait $pid]])
    local o = t.balances(json.decode(t.read("json")))
    assert.equal(60000, o.kept)
    assert.is_true(o.outputs[1].waited_ms > 0)
    assert.is_truthy(r.err:find("waiting for space", 1, true) and r.err:find("there is space again", 1, true), r.err)
    t.run("test -z \"$(ls disk/out/*.pcap 2>/dev/null)\" || mv disk/out/*.pcap elsewhere/; mergecap -w all.pcap elsewhere/*.pcap")
    assert.equal(60000, t.count("all.pcap"))
    assert.equal(#o.segments, #t.json_lines("disk/out/manifest.jsonl"))
  end)

  it("a signal ends the wait, and what is written is whole", function()
    t.run([[moontap --json -q -S 512K -B disk/out --on-full wait in/*.pcap >json & pid=$!
      ]] .. t.once("waiting for space") .. [[; kill -INT $pid; wait $pid]], 3)
    local o = t.balances(json.decode(t.read("json")))
    assert.equal(o.kept, packets_on_disk())
    assert.is_true(o.kept > 1000)
  end)

  it("makes the oldest segments go with drop-oldest, and nothing else", function()
    t.write("disk/stranger.pcap", "not ours")
    local r = t.run("moontap --json -q -S 300K -N disk/seq -B disk/out --on-full drop-oldest in/*.pcap")
    local o = t.balances(json.decode(r.out))
    assert.equal(60000, o.kept)
    assert.is_true(o.outputs[1].deleted_segments > 3)
    local _, said = r.err:gsub("the oldest segment", "")
    assert.equal(o.outputs[1].deleted_segments, said)
    local listed = 0
    for _, line in ipairs(t.json_lines("disk/out/manifest.jsonl")) do
      listed = listed + line.deleted_segments
    end
    assert.equal(said, listed)
    assert.equal("not ours", t.read("disk/stranger.pcap"))
    assert.equal(#o.segments, tonumber(t.read("disk/seq")))
    -- the newest are there
    local left, sum = {}, 0
    for _, name in ipairs(t.tree("disk/out")) do
      left[name] = true
    end
    for i = #o.segments, 1, -1 do
      if left[o.segments[i].file] then
        sum = sum + t.count("disk/out/" .. o.segments[i].file)
        assert.is_true(i == #o.segments or left[o.segments[i + 1].file])
      end
    end
    assert.is_true(sum > 1000)
  end)

  it("takes those of earlier runs first, none of other outputs, and none that the manifest does not list", function()
    t.run("moontap -c 3000 -o part.pcap in/*.pcap; moontap -q -B disk/out --name old part.pcap; moontap -q -B disk/out --name other part.pcap")
    local lines = t.read("disk/out/manifest.jsonl")
    local other = lines:match('[^\n]*"other%.pcap"[^\n]*\n')
    lines = lines:gsub(other:gsub("%p", "%%%0"), function() return (other:gsub('"default"', '"web"')) end)
    for _, name in ipairs { "../mine.pcap", "link.pcap", "sub", "out2/far.pcap" } do
      lines = lines .. ('{"v":1,"output":"default","file":"%s"}\n'):format(name)
    end
    t.write("disk/out/manifest.jsonl", lines)
    t.run("cp part.pcap disk/out/mine.pcap; cp part.pcap disk/mine.pcap; ln -s ../mine.pcap disk/out/link.pcap")
    t.run("mkdir disk/out/sub disk/far; cp part.pcap disk/far/far.pcap; ln -s ../far disk/out/out2")
    local r = t.run("moontap --json -q -S 128K -B disk/out --on-full drop-oldest in/*.pcap")
    assert.equal(60000, t.balances(json.decode(r.out)).kept)
    assert.equal("old.pcap", r.err:match("the oldest segment (%S+)"))
    for _, name in ipairs { "out/other.pcap", "out/mine.pcap", "mine.pcap", "out/link.pcap", "out/sub", "far/far.pcap" } do
      assert.is_true(t.exists("disk/" .. name), name)
      assert.is_nil(r.err:find("segment " .. name:match("[^/]*$"), 1, true))
    end
  end)

  it("counts as deleted only what it deleted", function()
    t.run("cp in/*.pcap more.pcap")
    local r = t.run([[moontap --json -q -S 256K -B disk/out --on-full drop-oldest --on-close 'rm $MOONTAP_FILE; sleep 0.1' in/*.pcap]])
    local _, said = r.err:gsub("the oldest segment", "")
    assert.equal(said, json.decode(r.out).outputs[1].deleted_segments)
  end)

  it("shows in the status line", function()
    t.run([[script -qec "moontap -S 512K -B disk/out --on-full wait in/*.pcap" /dev/null >screen & sleep 1.2
      mkdir away; for i in 1 2 3 4; do mv disk/out/*.pcap away/; sleep 0.3; done; wait]])
    assert.is_truthy(t.read("screen"):find("waiting for space  ", 1, true))
    t.write("slow.lua", "return { on_segment_close = function() os.execute('sleep 0.1') end }")
    t.run([[script -qec "stty cols 140; moontap -S 512K -l ./slow.lua -B disk/out2 --on-full drop-oldest in/*.pcap in/*.pcap" /dev/null >screen]])
    assert.is_truthy(t.read("screen"):find("segments deleted", 1, true))
  end)

  it("of the sequence file is waited for as well, but segments make no room on another disk", function()
    assert(t.tmpfs("tiny", "size=8k"))
    for rule, status in pairs { wait = 0, ["drop-oldest"] = 3 } do
      local r = t.run(([[rm -rf out p tiny/*; mkfifo p; moontap --json -q -B out -N tiny/seq -P 30000 --on-full %s -r p >json & pid=$!
        exec 3>p; head -c 500000 in/1.pcap >&3; sleep 0.3; head -c 8192 /dev/zero >tiny/ballast 2>/dev/null
        tail -c +500001 in/1.pcap >&3 & exec 3>&-; sleep 0.5; rm tiny/ballast; wait $pid]]):format(rule), status, { timeout = 10 })
      local o = t.balances(json.decode(t.read("json")))
      assert.same({ 60000, 0, 2 }, { o.kept, o.outputs[1].deleted_segments, #t.json_lines("out/manifest.jsonl") })
      assert.equal(rule == "wait", r.err:find("tiny/seq: No space left on device; waiting for space", 1, true) ~= nil, r.err)
      assert.equal(rule == "wait" and "2\n" or "1\n", t.read("tiny/seq"))
    end
  end)

  it("is survived through a codec as well", function()
    local r = t.run("moontap --json -q -Z zst -S 256K -B disk/out --on-full drop-oldest in/*.pcap in/*.pcap in/*.pcap in/*.pcap in/*.pcap in/*.pcap")
    assert.equal(360000, json.decode(r.out).kept)
    for _, name in ipairs(t.tree("disk/out")) do
      if name:match("zst$") then
        t.run("zstd -qt disk/out/" .. name)
      end
    end
  end)

  it("leaves a compressed segment that has no room to be made whole to --recover", function()
    for _, codec in ipairs { "gz", "zst" } do
      local files = ("in/*.pcap "):rep(8)
      local r = t.json(("moontap --json -q -Z %s -B disk/%s %s"):format(codec, codec, files), 3)
      assert.same({ 0, r.packets }, { r.kept, r.dropped })
      t.run("mv disk/" .. codec .. " . && moontap --recover " .. codec)
      local names = t.list(codec)
      assert.same({ 2, "manifest.jsonl" }, { #names, names[2] })
      assert.is_true(t.count(codec .. "/" .. names[1]) > 60000)
    end
  end)

  it("one file without segments waits, or has nothing that could be dropped and waits, too", function()
    for _, rule in ipairs { "wait", "drop-oldest" } do
      local r = t.run(([[fallocate -l 1M disk/ballast; moontap --json -q --overwrite -o disk/one.pcap --on-full %s in/*.pcap >json & pid=$!
        %s; kill -0 $pid || exit 9; rm disk/ballast; sleep 0.5; kill -INT $pid; wait $pid; code=$?; cat json; exit $code]]):format(rule, t.once("waiting for space")), 3)
      local o = t.balances(json.decode(r.out))
      assert.equal(o.kept, t.count("disk/one.pcap"))
      t.run("rm disk/one.pcap")
    end
  end)

  it("a device without space is an output that fails", function()
    local r = t.balances(t.json("moontap --json -q -o /dev/full in/*.pcap", 3))
    assert.same({ 0, r.packets }, { r.kept, r.dropped })
    t.run("moontap -q --on-full wait -o /dev/full in/*.pcap & pid=$!; " .. t.once("waiting for space") .. "; kill -TERM $pid; wait $pid", 3, { timeout = 5 })
  end)

  it("so is a limit on the size of files", function()
    local r = t.json("ulimit -f 1000; moontap --json -q -o out.pcap in/*.pcap", 3)
    assert.equal(t.balances(r).kept, t.count("out.pcap"))
    assert.is_true(r.kept > 3000)
  end)

  it("holds for all outputs, and a script may say otherwise for its own", function()
    t.write("out.lua", [[moontap.output { name = "a", path = "disk/a.pcap" }
      moontap.output { name = "b", path = "disk/b.pcap", on_full = "stop" }
      return { on_packet = function(p) return p.number % 2 == 0 and "a" or nil end }]])
    local r = t.json("moontap --json -q --on-full wait --out c=disk/c.pcap -l ./out.lua f/web.pcap")
    local waits = {}
    for _, output in ipairs(r.outputs) do
      waits[output.name] = output.waited_ms
    end
    assert.same({ a = 0, c = 0 }, waits)
    t.write("out.lua", 'moontap.output { name = "a", path = "disk/a.pcap", on_full = "panic" } return {}')
    t.refuses("moontap -l ./out.lua f/web.pcap", 1, "panic", "stop, wait or drop-oldest")
  end)

  it("another word is refused, and one that would have no meaning", function()
    t.refuses("moontap --on-full panic -o x.pcap in/*.pcap", 1, "--on-full", "stop, wait or drop-oldest")
    t.refuses("moontap --on-full wait in/*.pcap", 1, "--on-full wait", "no meaning without an output")
    t.refuses("moontap --on-full wait -o libtrace:pcapfile:x.pcap in/*.pcap", 1, "--on-full", "libtrace")
  end)
end)
