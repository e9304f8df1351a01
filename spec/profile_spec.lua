-- SPDX-License-Identifier: BSD-2-Clause
-- --profile: where the time went.  The figures are not judged, what is said of them is.
local t = require("support.moontap")

local FAST = [[local n = 0 return { on_packet = function(p) n = n + p.wirelen + p.sport end }]]
local SLOW = [[local n = 0
return {
  on_packet = function(p)
    local f = function() return p.sport end
    n = n + f()
  end,
}]]

local function profile(command, code)
  return t.json("moontap --json --profile " .. command, code).profile
end

local function hook(r, script, name)
  for _, row in ipairs(r.hooks) do
    if row.script == script and row.hook == name then
      return row
    end
  end
  error(("no row for %s of %s"):format(name, script), 2)
end

describe("--profile", function()
  before_each(function()
    t.fresh()
    t.write("fast.lua", FAST)
    t.write("slow.lua", SLOW)
  end)
  after_each(t.clean)

  local function make(packets)
    t.generate("in", "--files 1 --packets " .. packets)
  end

  it("counts the calls of every hook and says what is compiled", function()
    make(200000)
    local r = profile("-l ./fast.lua -e 'p.dport ~= 1' -o out.pcap in/1.pcap")
    assert.equal(200000, hook(r, "./fast.lua", "on_packet").calls)
    assert.equal("compiled", hook(r, "./fast.lua", "on_packet").how)
    assert.equal(200000, hook(r, "-e", "on_packet").calls)
    for _, abort in ipairs(r.aborts) do -- an attempt that began at a bad place is no harm
      assert.is_false(abort.blacklisted)
    end
    assert.is_true(r.compiler)
  end)

  it("does not change what a script does", function()
    make(50000)
    t.write("s.lua", [[local n = 0
      return { filter = "udp", keep = "ip", interval = 1,
        on_packet = function(p) n = n + 1 if p.sport % 3 == 0 then return false end end,
        on_interval = function(now, last) print(now, last, n) end,
        rotate = function(segment, p) return segment.packets >= 10000 end }]])
    for _, option in ipairs { "", "--profile -q" } do
      t.run(("moontap %s -l ./s.lua -l ./fast.lua -B out%s in/1.pcap >printed%s 2>/dev/null; cat out%s/*.pcap >all%s"):format(
        option, #option, #option, #option, #option))
    end
    t.run("cmp printed0 printed12 && cmp all0 all12")
    assert.is_true(#t.list("out0") > 2)
  end)

  it("names the line that can not be compiled and why, and no other", function()
    make(100000)
    local r = profile("-l ./fast.lua -l ./slow.lua in/1.pcap")
    assert.is_truthy(r.aborts[1].place:find("slow.lua:4", 1, true))
    assert.is_truthy(r.aborts[1].reason:find("closure", 1, true))
    local slow = hook(r, "./slow.lua", "on_packet")
    assert.is_truthy(slow.how:find("interpreted: see", 1, true))
    assert.is_truthy(slow.how:find("slow.lua:4", 1, true))
    for _, abort in ipairs(r.aborts) do
      assert.is_falsy(abort.place:find("fast.lua", 1, true))
    end
  end)

  it("has every stage of both threads, and they add up", function()
    make(200000)
    local r = profile("-l ./fast.lua -o out.pcap in/1.pcap")
    for name, stages in pairs {
      reading_thread = { "read", "merge", "decode", "wait_queue_full", "wait_no_memory", "wait_sources" },
      hook_thread = { "hooks", "route", "encode", "write", "print", "wait_queue_empty" },
    } do
      local sum, n = 0, 0
      for _ in pairs(r[name].stages) do
        n = n + 1
      end
      for _, stage in ipairs(stages) do
        sum = sum + r[name].stages[stage]
      end
      assert.equal(#stages, n)
      assert.is_true(math.abs(sum - r[name].seconds) < 0.001 + r[name].seconds / 100, name)
    end
    assert.is_true(r.hook_thread.stages.hooks > 0 and r.hook_thread.stages.write > 0)
    assert.is_true(r.reading_thread.stages.read > 0 and r.reading_thread.stages.merge > 0)
  end)

  it("blames the thread that was busy", function()
    make(30000)
    t.write("busy.lua", [[local x = 0 return { on_packet = function(p) for i = 1, 5000 do x = x + i % 7 end end }]])
    assert.is_truthy(profile("-l ./busy.lua in/1.pcap").conclusion:find("the hook thread was the bottleneck", 1, true))
    t.run("cat in/1.pcap in/1.pcap >/dev/null; xz -6 -T1 in/1.pcap")
    local r = profile("-l ./fast.lua in/1.pcap.xz")
    assert.is_truthy(r.conclusion:find("the reading thread was the bottleneck", 1, true))
  end)

  it("prints the same in plain words on standard error", function()
    make(100000)
    local r = t.run("moontap --profile -q -l ./slow.lua in/1.pcap")
    assert.is_truthy(r.err:find("moontap: profile: reading thread: ", 1, true))
    assert.is_truthy(r.err:find("moontap: profile: hook thread: hooks ", 1, true))
    assert.is_truthy(r.err:find("./slow.lua: on_packet: 100,000 calls, ", 1, true))
    assert.is_truthy(r.err:find("profile: not compiled: ./slow.lua:4: ", 1, true))
    assert.is_truthy(r.err:find("given up for good", 1, true))
  end)

  it("counts hooks that are not called for every packet", function()
    make(20000)
    t.write("s.lua", [[return { interval = 3600, on_start = function() end, on_interval = function() end,
      on_segment_open = function() end, on_segment_close = function() end, on_block = function() end, on_stop = function() end }]])
    local r = profile("-l ./s.lua -B out -P 5000 in/1.pcap")
    assert.equal(1, hook(r, "./s.lua", "on_start").calls)
    assert.equal(4, hook(r, "./s.lua", "on_segment_open").calls)
    assert.equal(4, hook(r, "./s.lua", "on_segment_close").calls)
    assert.is_true(hook(r, "./s.lua", "on_block").calls >= 4)
    assert.equal(1, hook(r, "./s.lua", "on_stop").calls)
  end)

  it("goes on when a script is switched off for its errors", function()
    make(20000)
    t.write("bad.lua", [[return { on_error = "keep", on_packet = function(p) if p.sport % 2 == 0 then error "odd" end end }]])
    local r = profile("--script-errors 3 -l ./bad.lua -l ./fast.lua in/1.pcap", 4)
    assert.is_true(hook(r, "./bad.lua", "on_packet").calls < 20000)
    -- Behind an error the rest of the chain is called outside of the loop, where nothing counts.
    assert.equal(20000 - 3, hook(r, "./fast.lua", "on_packet").calls)
  end)

  it("works with forty hooks in a chain", function()
    make(50000)
    local r = profile(("-l ./fast.lua "):rep(40) .. "in/1.pcap")
    assert.is_true(#r.hooks >= 41)
    assert.equal(50000, r.hooks[40].calls)
  end)
end)

describe("hooks that become slow for good", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("are compiled anew, once, and it is said", function()
    t.generate("in", "--files 1 --packets 500000")
    t.write("s.lua", [[local n, x = 0, 0
      return { on_packet = function(p) n = n + 1
        for i = 1, n > 350000 and 80000 or 100 do x = x + i % 7 end end }]])
    local r = t.sh("timeout -s INT 9 moontap -q -l ./s.lua in/1.pcap")
    local _, said = r.err:gsub("they are compiled anew", "")
    assert.equal(1, said)
  end)
end)
