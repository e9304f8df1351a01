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

  it("puts values beyond max into others, and says so", function()
    write_many("many.pcap", 50, 2)
    local r = t.run("moontap -l split,max=10,dir=d many.pcap")
    assert.is_truthy(r.out:find("80 packets of values beyond max=10 are in others", 1, true), r.out)
    assert.equal(80, t.count("d/others.pcap"))
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
end)
