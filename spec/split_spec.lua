-- SPDX-License-Identifier: BSD-2-Clause
-- The recipe split and moontap.split, judged by tshark and mergecap.
local c = require("support.capture")
local t = require("support.moontap")

local function split(arguments, files)
  return t.json(("moontap --json -l split,%s %s"):format(arguments, files)).scripts.split
end

local function hashes(file, filter)
  local list = t.field(file, "frame.md5_hash", filter)
  table.sort(list)
  return list
end

-- Packets of `n` senders, round and round.
local function write_many(file, n, rounds)
  local list = {}
  for r = 1, rounds do
    for k = 0, n - 1 do
      local src = "\10" .. string.char(math.floor(k / 65536) % 256, math.floor(k / 256) % 256, k % 256)
      local ip = "\69\0\0\28" .. c.uint(r, 2, "be") .. "\0\0\64\17\0\0" .. src .. "\10\200\0\1"
      list[#list + 1] = { 1000 + r, k, "\2\0\0\0\0\2\2\0\0\0\0\1\8\0" .. ip .. "\0\7\0\9\0\8\0\0" }
    end
  end
  c.write(t.path(file), c.pcap(list))
end

describe("split", function()
  before_each(t.fresh)
  after_each(t.clean)

  for by, field in pairs { src = "ip.src", dport = "udp.dstport", ["src,dport"] = "ip.src" } do
    it("by=" .. by .. " gives each packet to the file that tshark's filter selects", function()
      local r = split(("by=%s,dir=d"):format(by), "f/web.pcap")
      local all, sum = {}, 0
      for _, file in ipairs(r.files) do
        for _, hash in ipairs(hashes("d/" .. file.file)) do
          all[#all + 1] = hash
        end
        sum = sum + file.packets
        assert.equal(file.packets, t.count("d/" .. file.file))
        local value = file.key:match("^[^_]+")
        if value ~= "none" and by ~= "dport" and not value:find(":") then
          local filter = field .. " == " .. value
          if by == "src,dport" then
            local port = file.key:match("_(.*)$")
            filter = filter .. (port == "none" and " && !tcp.port && !udp.port" or (" && (tcp.dstport == %s || udp.dstport == %s)"):format(port, port))
          end
          assert.same(hashes("f/web.pcap", filter .. " && !icmp.type == 3"), hashes("d/" .. file.file), file.key)
        elseif by == "dport" and value ~= "none" then
          assert.same(hashes("f/web.pcap", ("tcp.dstport == %s || udp.dstport == %s"):format(value, value)), hashes("d/" .. file.file), value)
        end
      end
      assert.equal(169, sum)
      table.sort(all)
      assert.same(hashes("f/web.pcap"), all)
    end)
  end

  it("takes an expression, flows, names, prefixes, and fields of a misspelt name get a suggestion", function()
    local r = split("by='p.dport < 1024',dir=e", "f/web.pcap")
    assert.equal(2, #r.files)
    assert.equal(#t.field("f/web.pcap", "frame.number", "tcp.dstport < 1024 || udp.dstport < 1024 || !(tcp || udp)"), t.count("e/true.pcap"))
    local flows = split("by=flow,dir=fl", "f/web.pcap")
    local want = t.json("moontap --json -l flows,idle=100000 f/web.pcap").scripts.flows.flows
    assert.is_true(#flows.files == want or #flows.files == want + 1)
    assert.is_true(#split("by=dns,dir=dns", "f/web.pcap").files > 1)
    assert.is_true(#split("by=tls,dir=tls", "f/web.pcap").files > 1)
    t.refuses("moontap -l split,by=sorce f/web.pcap", 1, "sorce", "source")
    t.refuses("moontap -l split,by='p.dport <' f/web.pcap", 1, "by=")
    t.refuses("moontap -l split -B base -G 60 f/web.pcap", 1, "not rotated")
  end)

  it("has 3,000 keys with 256 descriptors, in every format and codec", function()
    write_many("many.pcap", 3000, 3)
    for _, how in ipairs { "format=pcap", "format=pcapng", "format=pcap,compress=gz", "format=pcapng,compress=zst" } do
      local r = t.run(("rm -rf d; ulimit -n 256; moontap -l split,by=src,max=5000,dir=d,%s many.pcap"):format(how))
      assert.is_truthy(r.out:find("in 3,000 files", 1, true), r.out .. r.err)
      t.run("ulimit -n 8192; find d -type f ! -name manifest.jsonl | LC_ALL=C sort > names; moontap -q --files-from names -o back.pcap --overwrite")
      assert.same(hashes("many.pcap"), hashes("back.pcap"))
      assert.equal(3000, select(2, t.read("d/manifest.jsonl"):gsub("\n", "")))
    end
  end)

  it("keeps each file in order when one key has most of a time, then another", function()
    local list, pad = {}, ("p"):rep(900)
    local function add(k)
      local src = "\10\0" .. string.char(math.floor(k / 256), k % 256)
      local ip = "\69\0" .. c.uint(28 + #pad, 2, "be") .. c.uint(#list % 65536, 2, "be") .. "\0\0\64\17\0\0"
        .. src .. "\10\200\0\1"
      local udp = "\0\7\0\9" .. c.uint(8 + #pad, 2, "be") .. "\0\0"
      list[#list + 1] = { 1000, #list, "\2\0\0\0\0\2\2\0\0\0\0\1\8\0" .. ip .. udp .. pad }
    end
    for round = 1, 80 do
      local heavy = round % 40 < 20 and 0 or 1
      for k = 2, 300 do
        add(k)
        add(heavy)
        add(heavy)
      end
      add(1 - heavy)
    end
    c.write(t.path("heavy.pcap"), c.pcap(list))
    t.run("moontap -q -o want.pcap heavy.pcap")
    for _, how in ipairs { "", ",compress=zst" } do
      local r = split("dir=d" .. how, "heavy.pcap")
      assert.equal(301, #r.files)
      t.run("find d -type f ! -name manifest.jsonl > names; moontap -q --files-from names -o back.pcap --overwrite")
      t.run("cmp want.pcap back.pcap && rm -r d")
    end
  end)

  it("puts values beyond max into others, and says so", function()
    write_many("many.pcap", 50, 2)
    local r = t.run("moontap -l split,max=10,dir=d many.pcap")
    assert.is_truthy(r.out:find("80 packets of values beyond max=10 are in others", 1, true), r.out)
    assert.equal(80, t.count("d/others.pcap"))
  end)

  it("sends packets without a value to none, also when there are as many files as there may be", function()
    local arp = ("\255"):rep(6) .. ("\2"):rep(6) .. "\8\6" .. ("\0"):rep(28)
    local cut = c.udp({ src = "10.0.0.4" }):sub(1, 20) -- the IP header ends before the addresses
    local list = {}
    for round = 1, 3000 do -- so many that numbers are looked up for whole batches
      for _, frame in ipairs { arp, c.udp { src = "10.0.0.1" }, cut, c.udp { src = "10.0.0.2" }, c.udp { src = "10.0.0.3" }, cut, arp } do
        list[#list + 1] = { c.T0 + round, #list % 1000, frame }
      end
    end
    t.write("in.pcap", c.pcap(list))
    for by, none in pairs { src = "none", ["dst/32"] = "none", ["src,proto"] = "none_none", flow = "none" } do
      local r = split("max=" .. (by == "src,proto" and 3 or 2) .. ",dir=d,by=" .. by, "in.pcap")
      if by ~= "flow" then -- has protocol and addresses in its name
        assert.equal(12000, t.count("d/" .. none .. ".pcap"), by)
      end
      local sum = 0
      for _, file in ipairs(r.files) do sum = sum + file.packets end
      assert.equal(21000, sum)
      t.run("rm -r d")
    end
  end)

  it("writes over nothing, and makes names of any text", function()
    t.write("keys.lua", [[
      local keys = { "/", "..", "", "a\0b", ("x"):rep(5000), ("x"):rep(4999) .. "y", "a/b", "a_b", "manifest.jsonl", "others", "-rf", "\255\n", ".split.lock" }
      local s, i = moontap.split { name = "s", dir = "d" }, 0
      return { on_packet = function(p) i = i % #keys + 1 return s:to(p, keys[i]) end }]])
    for pass = 1, 2 do
      local r = t.json("moontap --json -l ./keys.lua f/web.pcap")
      assert.equal(169, r.outputs[1].kept)
      assert.equal(13, #r.segments)
      assert.equal(tostring(13 * pass + 1), (t.run("find d -type f | wc -l").out:gsub("%s", "")))
    end
    assert.equal("0", (t.run("find . -newer keys.lua -type f -not -path './d/*' -name '*.pcap' | wc -l").out:gsub("%s", "")))
  end)

  it("leaves parts that --recover makes whole when it is killed", function()
    write_many("many.pcap", 40, 50)
    t.run("mkfifo p; (cat many.pcap; sleep 2.5) > p & moontap -l split,dir=d p & id=$!; sleep 1.7; moontap --recover d; ls -A d > during; kill -9 $id; wait $id; true")
    assert.is_truthy(t.read("during"):find(".10.0.0.7.pcap.part", 1, true), t.read("during"))
    t.run("moontap --recover d")
    t.run("moontap -q -o back.pcap d/*.pcap")
    assert.same(hashes("many.pcap"), hashes("back.pcap"))
  end)

  it("has a script that does not come back: what was sent is in whole files, the rest goes by the rule", function()
    write_many("many.pcap", 100, 50)
    t.write("s.lua", [[local s, n = moontap.split { name = "s", dir = "d" }, 0
      return { on_packet = function(p)
        n = n + 1
        if n == 2500 then while true do n = n + 1 end end
        return s:to(p, p.src)
      end }]])
    for rule, kept in pairs { drop = 2499, keep = 5000, stop = 2499 } do
      local r = t.balances(t.json("rm -rf d; moontap --json --script-timeout 0.5 --on-script-error " .. rule .. " -l ./s.lua many.pcap", 4))
      assert.equal(kept, r.kept)
      assert.equal(2499, r.outputs[1].kept)
      assert.equal(100, #r.segments)
      assert.same({}, t.run("find d -name '*.part'").out == "" and {} or t.tree("d"))
      t.run("moontap -q --overwrite -o back.pcap d/*.pcap")
      assert.same({ unpack(t.field("many.pcap", "frame.md5_hash"), 1, 2499) }, t.field("back.pcap", "frame.md5_hash"))
    end
  end)

  it("has bounded memory for two million values, and for tens of thousands of files", function()
    if t.asan or t.tsan then
      return pending("memory is not measured under a sanitizer")
    end
    t.generate("in", "--packets 2000000 --files 1 --snaplen 64 --flows 4000000000")
    t.write("peak.lua", [[return { on_stop = function()
      print(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)")) end }]])
    local r = t.run("moontap -q -l ./peak.lua -l split,by=src,n=1,dir=d in/1.pcap")
    assert.is_truthy(r.out:find("2,000,000 packets, [%d,]+ bytes in 1,001 files"), r.out)
    assert.is_true(tonumber(r.out:match("^%d+")) < 96 * 1024, r.out)
    r = t.run("moontap -q -c 60000 -l ./peak.lua -l split,by=flow,n=1,max=1000000,dir=e in/1.pcap")
    local files = tonumber((r.out:match("bytes in ([%d,]+) files"):gsub(",", "")))
    assert.is_true(files > 50000, r.out)
    assert.is_true(tonumber(r.out:match("^%d+")) < 200 * 1024, r.out)
    local packets = 0
    for _, line in ipairs(t.json_lines("e/manifest.jsonl")) do
      packets = packets + line.packets
    end
    assert.equal(60000, packets)
  end)

  describe("without space", function()
    local function obstacle()
      t.fresh()
      local ok, why = t.tmpfs("disk", "size=1M")
      t.clean()
      return not ok and why or nil
    end
    local why = obstacle()
    local it = why and function(name) it(name, function() pending(why) end) end or it

    local function on_disk()
      local n = 0
      for _, name in ipairs(t.tree("disk/d")) do
        n = n + (name:match("%.pcap%f[%z%.]") and t.count("disk/d/" .. name) or 0)
      end
      return n
    end

    before_each(function()
      t.generate("in", "--packets 600000 --files 1 --snaplen 64")
    end)

    for _, codec in ipairs { "none", "zst" } do
      it("ends with 3, and counts what is in whole files, compress=" .. codec, function()
        assert(t.tmpfs("disk", "size=" .. (codec == "none" and "24M" or "3M")))
        local r = t.balances(t.json("moontap --json -q -l split,by=dport,max=10,dir=disk/d,compress=" .. codec .. " in/1.pcap", 3))
        assert.is_true(r.dropped > 0)
        assert.is_true(r.kept > 1000)
        assert.equal(r.kept, on_disk())
        assert.equal(#r.segments, #t.json_lines("disk/d/manifest.jsonl"))
      end)
    end

    it("waits for it with --on-full wait, and nothing is lost", function()
      assert(t.tmpfs("disk", "size=16M"))
      local r = t.run([[moontap --json -q --on-full wait -l split,by=dport,max=10,dir=disk/d in/1.pcap >json & pid=$!
        ]] .. t.once("waiting for space") .. [[; kill -0 $pid && mount -o remount,size=200M disk; wait $pid]])
      local o = t.balances(require("cjson").decode(t.read("json")))
      assert.is_truthy(r.err:find("waiting for space", 1, true) and r.err:find("there is space again", 1, true), r.err)
      assert.equal(600000, o.kept)
      assert.equal(600000, on_disk())
    end)

    it("ends such a wait at a signal", function()
      assert(t.tmpfs("disk", "size=16M"))
      t.run([[moontap --json -q --on-full wait -l split,by=dport,max=10,dir=disk/d in/1.pcap >json & pid=$!
        ]] .. t.once("waiting for space") .. [[; kill -INT $pid; wait $pid]], 3)
      local o = t.balances(require("cjson").decode(t.read("json")))
      assert.is_true(o.kept > 1000)
      assert.equal(o.kept, on_disk())
    end)
  end)
end)
