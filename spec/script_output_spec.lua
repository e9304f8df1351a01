-- SPDX-License-Identifier: BSD-2-Clause
-- moontap.output: what a script declares is opened, written and rotated like what the command line declares.
local t = require("support.moontap")

local function script(text)
  t.write("s.lua", text)
  return "moontap -l ./s.lua "
end

describe("moontap.output", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("writes each output in its own format, and the rest to the default one", function()
    t.run(script [[
      local dns = moontap.output { name = "dns", path = "dns.pcapng" }
      local tcp = moontap.output { name = "tcp", path = "tcp.pcap.gz", snaplen = 60 }
      return { on_packet = function(p)
        if p.sport == 53 or p.dport == 53 then return dns elseif p.is_tcp then return tcp end end }]]
      .. "-o rest.pcap f/web.pcap")
    local is_dns = "udp.port == 53 || tcp.port == 53"
    assert.same(t.packets("f/web.pcap", nil, is_dns), t.packets("dns.pcapng"))
    assert.same(t.packets("f/web.pcap", nil, ("!(%s) && !tcp"):format(is_dns)), t.packets("rest.pcap"))
    assert.equal("pcapng", t.capinfos("dns.pcapng").type)
    t.run("gzip -t tcp.pcap.gz")
    for _, line in ipairs(t.packets("tcp.pcap.gz", { "frame.cap_len", "frame.len" })) do
      local captured, wire = line:match("(%d+) (%d+)")
      assert.equal(math.min(60, tonumber(wire)), tonumber(captured))
    end
  end)

  it("rotates by packets, size and time, with names and a manifest", function()
    t.run(script [[
      moontap.output { name = "n", dir = "n", rotate = { packets = 50 }, template = "n-%{seq}" }
      moontap.output { name = "b", dir = "b", rotate = { bytes = 10 * 1024 }, compress = "zst", level = 3 }
      moontap.output { name = "s", dir = "s", rotate = { seconds = 1 }, format = "pcapng", utc = true }
      local names, i = { "n", "b", "s" }, 0
      return { on_packet = function() i = i % 3 + 1 return names[i] end }]]
      .. "f/web.pcap f/two-interfaces.pcapng")
    local total = 0
    for _, name in ipairs { "n", "b", "s" } do
      local lines = t.json_lines(name .. "/manifest.jsonl")
      assert.is_true(#lines > 1, name)
      for _, line in ipairs(lines) do
        assert.equal(name, line.output)
        assert.equal(line.packets, t.count(("%s/%s"):format(name, line.file)))
        total = total + line.packets
      end
    end
    assert.equal(438, total)
    assert.equal(50, t.json_lines("n/manifest.jsonl")[1].packets)
    assert.equal("n-00000001.pcap", t.json_lines("n/manifest.jsonl")[1].file)
  end)

  it("is counted in --json, and everything adds up", function()
    local r = t.balances(t.json(script [[local o = moontap.output { name = "odd", path = "odd.pcap" }
      return { on_packet = function(p) if p.number % 2 == 1 then return o end return false end }]] .. "--json f/web.pcap"))
    assert.equal(85, r.kept)
    assert.equal(84, r.script_dropped)
    assert.equal("odd", r.outputs[1].name)
    assert.equal(85, r.outputs[1].kept)
  end)

  it("goes together with --out, and names can not be given twice", function()
    t.run(script [[moontap.output { name = "a", path = "a.pcap" }
      return { on_packet = function(p) return p.is_tcp and "a" or "b" end }]] .. "--out b=b.pcap f/web.pcap")
    assert.equal(169, t.count("a.pcap") + t.count("b.pcap"))
    t.refuses(script [[moontap.output { name = "a", path = "c.pcap" } return {}]] .. "--out a=d.pcap f/web.pcap", 1,
      "s.lua:1", "'a' was given already")
  end)

  for declaration, words in pairs {
    ['{ path = "x" }'] = { "expected a name" },
    ['{ name = "a" }'] = { "a: expected a path" },
    ['{ name = "a", path = "x", dir = "y" }'] = { "a: expected a path" },
    ['{ name = "a", path = "x", rotate = { seconds = 1 } }'] = { "rotate needs a dir" },
    ['{ name = "a", path = "x", keep_files = 3 }'] = { "keep_files needs a dir" },
    ['{ name = "a", dir = "x", rotate = { second = 1 } }'] = { "second", "did you mean 'seconds'?" },
    ['{ name = "a", dir = "x", rotate = { seconds = 0 } }'] = { "rotate-seconds", "0" },
    ['{ name = "a", dir = "x", rotate = { bytes = 1000 } }'] = { "bytes", "1024" },
    ['{ name = "a", path = "x", formt = "pcap" }'] = { "formt", "did you mean 'format'?" },
    ['{ name = "a", path = "x", format = "txt" }'] = { "txt", "expected pcap, pcapng or erf" },
    ['{ name = "a", path = "x", compress = "zip" }'] = { "zip", "expected gz" },
    ['{ name = "a", path = "f/web.pcap" }'] = { "is also a source" },
    ['"x"'] = { "found a string" },
  } do
    it("refuses " .. declaration, function()
      local r = t.refuses(script("moontap.output(" .. declaration .. ") return {}") .. "f/web.pcap", 1, "s.lua:1", unpack(words))
      assert.is_truthy(r.err:find("moontap.output", 1, true))
      assert.is_false(t.exists("x"))
    end)
  end

  it("refuses a file that exists, and takes it with --overwrite", function()
    t.write("x.pcap", "something")
    local command = script [[moontap.output { name = "a", path = "x.pcap" } return { on_packet = function() return "a" end }]]
    t.refuses(command .. "f/web.pcap", 1, "x.pcap", "--overwrite")
    t.run(command .. "--overwrite f/web.pcap")
    assert.equal(169, t.count("x.pcap"))
  end)

  it("is an error in a hook", function()
    t.refuses(script [[return { on_packet = function(p) moontap.output { name = "a", path = "x" } end }]] .. "f/web.pcap", 4,
      "s.lua:1", "at the top of the script", "packet 1")
  end)

  it("fails like any output: status 3, and what was not written is counted", function()
    local r = t.balances(t.json(script [[moontap.output { name = "a", path = "/dev/full" }
      return { on_packet = function() return "a" end }]] .. "--json f/web.pcap", 3))
    assert.equal(169, r.dropped)
  end)

  it("takes part in on_block while a rotate hook is asked", function()
    t.generate("in", "--packets 60000 --files 1")
    local r = t.run(script [[local odd = moontap.output { name = "odd", path = "odd.pcap" }
      local bytes = 0
      return { on_packet = function(p) return p.sport % 2 == 1 and odd or true end,
        rotate = function(segment, p) return segment.packets >= 20000 end,
        on_block = function(block) bytes = bytes + #block:string() end,
        on_stop = function() print(bytes) end }]] .. "-B out in/1.pcap; cat out/*.pcap odd.pcap | wc -c")
    local hook, files = r.out:match("(%d+)\n(%d+)\n")
    assert.equal(files, hook)
    assert.is_true(tonumber(files) > 4800000)
  end)
end)
