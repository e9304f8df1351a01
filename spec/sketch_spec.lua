-- SPDX-License-Identifier: BSD-2-Clause
-- topk, distinct, quantiles, histogram and rate: against exact answers, tshark, and moontap.table.
local t = require("support.moontap")
local c = require("support.capture")

-- What scripts here begin with: streams of numbers that are the same in every run, and exact answers.
local STREAMS = [[
local S = {}

-- Numbers from 0 to below 1: Park and Miller's generator.
function S.random(seed)
  local x = seed
  return function()
    x = x * 16807 % 2147483647
    return x / 2147483647
  end
end

-- Whole numbers from 1 to n, all as often.
function S.uniform(seed, n)
  local random = S.random(seed)
  return function() return math.floor(random() * n) + 1 end
end

-- Whole numbers from 1 to n, k about as often as 1 / k.
function S.zipf(seed, n)
  local random = S.random(seed)
  return function() return math.floor(math.exp(random() * math.log(n))) end
end

function S.check(good, text, ...)
  if not good then error(text:format(...), 2) end
end

-- The documented bound of a topk, for each key there is.  sums: exact; n: their sum.
function S.check_topk(top, sums, counters)
  local n, listed, watched = 0, top:list(counters), {}
  for _, sum in pairs(sums) do n = n + sum end
  S.check(top:total() == n, "total %g is not %g", top:total(), n)
  S.check(top:bound() <= n / counters, "bound %g", top:bound())
  local before = math.huge
  for _, e in ipairs(listed) do
    local sum = sums[e.key] or 0
    watched[e.key] = true
    S.check(e.count <= before, "order")
    S.check(e.count - e.error <= sum and sum <= e.count, "%s: %g is not in %g - %g", e.key, sum, e.count, e.error)
    S.check(e.error <= n / counters, "%s: error %g", e.key, e.error)
    before = e.count
  end
  for key, sum in pairs(sums) do
    S.check(watched[key] or sum <= n / counters, "%s has %g and is not there", key, sum)
    local count, err = top:get(key)
    S.check(count - err <= sum and sum <= count, "get %s: %g is not in %g - %g", key, sum, count, err)
  end
  return #listed
end

-- The documented bound of quantiles.  numbers: all there were.
function S.check_quantiles(q, numbers, err)
  table.sort(numbers)
  for i = 0, 1000 do
    local exact = numbers[math.floor(i / 1000 * (#numbers - 1)) + 1]
    local given = q:get(i / 1000)
    S.check(given == exact or math.abs(given - exact) <= err * math.abs(exact) * (1 + 1e-9), "%g: %.17g is not %.17g", i / 1000,
      given, exact)
  end
  S.check(q:count() == #numbers and q:min() == numbers[1] and q:max() == numbers[#numbers], "count, min, max")
end
return S]]

local function each(packets)
  local file = {}
  for i, packet in ipairs(packets) do
    file[i] = { packet[1], packet[2] or 0, c.udp(packet[3] or {}) }
  end
  return t.write("in.pcap", c.pcap(file))
end

-- Runs a script of this text and returns what it printed, line by line.  The text has S, the streams; it runs before
-- the first packet, or gives hooks.
local function script(text, options, code)
  t.write("streams.lua", STREAMS)
  t.write("none.pcap", c.pcap {})
  t.write("s.lua", "local S = dofile 'streams.lua'\n" .. text .. "\nreturn { on_start = function() end }")
  local r = t.run("moontap -l ./s.lua " .. (options or "none.pcap"), code, { timeout = 60 })
  local lines = {}
  for line in r.out:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines, r
end

-- With these hooks and this text before them.
local function hooks(text, table_text, options)
  return script(text .. "\ndo return { " .. table_text .. " } end", options or "f/web.pcap")
end

-- Calls, each with words: it must raise an error at its own line of the script that says them.
local function refuses(calls)
  local lines = { "local function try(f) local ok, why = pcall(f) print(ok, (tostring(why):gsub('\\n', ' '))) end" }
  for i, call in ipairs(calls) do
    lines[i + 1] = "try(function() " .. call[1] .. " end)"
  end
  local out = script(table.concat(lines, "\n"))
  for i, call in ipairs(calls) do
    local said = tostring(out[i])
    if not said:find(("^false\t[^\t]*s%%.lua:%d: "):format(i + 2)) then
      error(("%s\nexpected an error at line %d of the script, found\n%s"):format(call[1], i + 2, said), 2)
    end
    for k = 2, #call do
      if not said:find(call[k], 1, true) then
        error(("%s\nexpected %q in\n%s"):format(call[1], call[k], said), 2)
      end
    end
  end
end

-- The sums of one field of tshark's by another: {key = sum}.
local function tshark_sums(file, by, of)
  local sums = {}
  for _, line in ipairs(t.packets(file, { by, of })) do
    local key, n = line:match("^(%S+) (%d+)$")
    if key then
      sums[key] = (sums[key] or 0) + tonumber(n)
    end
  end
  return sums
end

describe("topk", function()
  before_each(t.fresh)
  after_each(t.clean)

  for _, stream in ipairs { "uniform", "zipf" } do
    for _, weighted in ipairs { "packets", "bytes" } do
      it(("keeps its bound: %s keys, %s"):format(stream, weighted), function()
        local lines = script(([[
          local next_key, size, sums = S.%s(7, 20000), S.uniform(8, 1500), {}
          local top = moontap.topk { counters = 200 }
          for _ = 1, 200000 do
            local key, weight = next_key(), %s
            sums[key] = (sums[key] or 0) + weight
            top:add(key, weight)
          end
          print(S.check_topk(top, sums, 200))]]):format(stream, weighted == "bytes" and "size()" or "1"))
        assert.same({ "200" }, lines)
      end)
    end
  end

  it("keeps the bound of the whole when 2 or 4 are merged, saved, loaded and go on", function()
    local lines = script [[
      for _, parts in ipairs { 2, 4 } do
        local sums, tops = {}, {}
        local next_key, size = S.zipf(3, 30000), S.uniform(4, 1500)
        local function feed(top, n)
          for _ = 1, n do
            local key, weight = next_key(), size()
            sums[key] = (sums[key] or 0) + weight
            top:add(key, weight)
          end
        end
        for i = 1, parts do
          tops[i] = moontap.topk { counters = 150 }
          feed(tops[i], i * 30000) -- parts of different size
        end
        for i = 2, parts do
          assert(tops[1]:merge(tops[i]) == tops[1])
        end
        S.check_topk(tops[1], sums, 150)
        feed(tops[1], 50000)
        S.check_topk(tops[1], sums, 150)
        local loaded = assert(moontap.load(tops[1]:save()))
        feed(loaded, 50000)
        print(S.check_topk(loaded, sums, 150))
      end]]
    assert.same({ "150", "150" }, lines)
  end)

  it("is exact, also when merged, as long as there are no more keys than counters", function()
    local lines = script [[
      local a, b, sums = moontap.topk { counters = 1000 }, moontap.topk { counters = 1000 }, {}
      local next_key = S.zipf(5, 900)
      for i = 1, 50000 do
        local key = "name " .. next_key()
        sums[key] = (sums[key] or 0) + 1
        if i % 3 == 0 then a:add(key) else b:add(key) end
      end
      a:merge(b)
      for _, e in ipairs(a:list(1000)) do
        S.check(e.error == 0 and sums[e.key] == e.count, "%s", e.key)
        sums[e.key] = nil
      end
      print(next(sums), a:bound(), a:get("no such name"))]]
    assert.same({ "nil\t0\t0\t0" }, lines)
  end)

  it("goes on after it was loaded as it would have without", function()
    local lines = script [[
      local a = moontap.topk { counters = 64 }
      local next_key = S.zipf(11, 5000)
      for _ = 1, 20000 do a:add(next_key()) end
      local b = assert(moontap.load(a:save()))
      for _ = 1, 20000 do local key = next_key() a:add(key) b:add(key) end
      local x, y = a:list(64), b:list(64)
      for i = 1, 64 do
        S.check(x[i].key == y[i].key and x[i].count == y[i].count and x[i].error == y[i].error, "%d", i)
      end
      print(#x, a:total() == b:total())]]
    assert.same({ "64\ttrue" }, lines)
  end)

  it("counts the keys of packets as moontap.table does, whatever the kind", function()
    local lines = hooks([[
      local kinds = { "flow", "tuple", "pair", "src", "dst", "sport", "dport" }
      local tops, tables = {}, {}
      for i, kind in ipairs(kinds) do
        tops[i] = moontap.topk { key = kind }
        tables[i] = moontap.table { key = kind, value = { packets = "count", bytes = "count" } }
      end]], [[
      on_packet = function(p)
        for i, top in ipairs(tops) do
          local v = tables[i]:get(p)
          assert(top:add(p, p.wirelen) == (v ~= nil))
          if v then v.packets, v.bytes = v.packets + 1, v.bytes + p.wirelen end
          assert(top:get(p) == (v and v.bytes))
        end
      end,
      on_stop = function()
        for i, kind in ipairs(kinds) do
          local list = tops[i]:list(1000)
          for _, e in ipairs(list) do
            local v = tables[i]:find(e.key) -- a key of one is one of the other
            S.check(v and v.bytes == e.count and e.error == 0, "%s %s", kind, tostring(e.key))
            assert(tops[i]:get(e.key) == e.count)
          end
          for key in tables[i]:pairs() do
            local same = false
            for _, e in ipairs(list) do same = same or (e.key == key and tostring(e.key) == tostring(key)) end
            S.check(same, "%s %s", kind, tostring(key))
          end
          local loaded = assert(moontap.load(tops[i]:save()))
          S.check(tostring(loaded) == tostring(tops[i]), "%s", kind)
          assert(#list == #tables[i])
          print(kind, #list)
        end
      end]])
    assert.equal(7, #lines)
    for _, line in ipairs(lines) do
      assert.is_true(tonumber(line:match("%d+$")) > 1, line)
    end
  end)

  it("finds the talkers that tshark finds", function()
    local want = tshark_sums("f/web.pcap", "ip.src", "frame.len")
    local want6 = tshark_sums("f/web.pcap", "ipv6.src", "frame.len")
    for key, sum in pairs(want6) do
      want[key] = sum
    end
    local lines = hooks("local top = moontap.topk { key = 'src' }", [[
      on_packet = function(p) top:add(p, p.wirelen) end,
      on_stop = function() for _, e in ipairs(top:list()) do print(e.key, e.count) end end]])
    assert.is_true(#lines >= 4)
    local before = math.huge
    for _, line in ipairs(lines) do
      local key, count = line:match("^(%S+)\t(%d+)$")
      assert.equal(want[key], tonumber(count), key)
      assert.is_true(tonumber(count) <= before)
      before = tonumber(count)
      want[key] = nil
    end
    assert.same({}, want)
  end)

  it("tells keys of different types apart, and 0 from -0 not", function()
    local lines = script [[
      local top = moontap.topk()
      local address = moontap.address "10.0.0.80"
      for i, key in ipairs { 80, "80", address, "10.0.0.80", true, false, 0, "", moontap.address "::1", 1 } do
        top:add(key, i)
      end
      top:add(-0, 7) top:add(0.5, 20) top:add("a\0b", 30) top:add(-1 / 0, 40)
      for _, e in ipairs(top:list(20)) do
        print(type(e.key), (tostring(e.key):gsub("%z", "\\0")), e.count)
      end]]
    assert.same({ "number\t-inf\t40", "string\ta\\0b\t30", "number\t0.5\t20", "number\t0\t14", "number\t1\t10", "cdata\t::1\t9",
      "string\t\t8", "boolean\tfalse\t6", "boolean\ttrue\t5", "string\t10.0.0.80\t4", "cdata\t10.0.0.80\t3", "string\t80\t2",
      "number\t80\t1" }, lines)
  end)

  it("takes addresses as keys of src and dst, and copies of packets", function()
    local lines = hooks([[
      local top, copies = moontap.topk { key = "src" }, moontap.topk { key = "src" }
      local flows, flow_copies = moontap.topk { key = "flow" }, moontap.topk { key = "flow" }]], [[
      on_packet = function(p)
        if p.src then top:add(p.src, p.wirelen) else top:add(p) end
        copies:add(p:copy(), p.wirelen)
        flows:add(p)
        flow_copies:add(p:copy())
      end,
      on_stop = function()
        print(tostring(top) == tostring(copies), tostring(flows) == tostring(flow_copies), #top:list(), #flows:list(1000))
      end]])
    assert.same({ "true\ttrue\t4\t28" }, lines)
  end)

  it("can be as small as one counter", function()
    local lines = script [[
      local top = moontap.topk { k = 1, counters = 1 }
      print(#top:list(), top:total(), top:bound(), tostring(top))
      for i = 1, 9 do top:add(i) end
      local e = top:list()[1]
      print(#top:list(), e.key, e.count, e.error, top:bound(), top:get(5))
      print(#top:list(0))]]
    assert.same({ "0\t0\t0\tkey  count  error  share", "1\t9\t9\t8\t9\t9\t9", "0" }, lines)
  end)

  it("takes weights from 0, which count nothing, to 2^53", function()
    local lines = script [[
      local top = moontap.topk()
      top:add("nothing", 0)
      top:add("much", 2 ^ 53)
      top:add("half", 0.5) top:add("half", 0.5)
      for _, e in ipairs(top:list()) do print(e.key, ("%.0f"):format(e.count)) end
      for i = 1, 100 do top:add(i % 9, 2 ^ 53) end
      local again = moontap.load(top:save())
      print(again:total() == top:total(), #again:list())
      top:clear()
      print(top:total(), #top:list(), top:get("much"))]]
    assert.same({ "much\t9007199254740992", "half\t1", "true\t10", "0\t0\t0\t0" }, lines)
  end)

  it("cuts long strings at key_bytes", function()
    local lines = script [[
      local top = moontap.topk { key_bytes = 4 }
      for _, key in ipairs { "abcd", "abcdefg", "abce", "abc", ("x"):rep(100000) } do top:add(key) end
      for _, e in ipairs(top:list()) do print(e.key, e.count) end
      print(top:get("abcdzzz"))]]
    assert.same({ "abcd\t2", "abc\t1", "abce\t1", "xxxx\t1", "2\t0" }, lines)
  end)

  it("prints its list", function()
    local _, r = script [[
      local top = moontap.topk { counters = 3, k = 2 }
      for i, key in ipairs { "www", "mail", "www", "ns", "www", "other" } do top:add(key, i * 1000) end
      print(top)]]
    assert.equal("key    count  error  share\nwww    9,000         42.9%\nother  8,000  2,000  38.1%\n", r.out)
  end)

  it("takes as much memory as its description says", function()
    local lines = script [[
      print(moontap.topk { key = "src" }:memory() <= 101000, moontap.topk():memory() <= 335000)
      local top = moontap.topk { counters = 10 }
      local before = top:memory()
      for i = 1, 10000 do top:add(("k"):rep(i % 300) .. i) end
      print(top:memory() == before)]]
    assert.same({ "true\ttrue", "true" }, lines)
  end)

  it("refuses what makes no sense, at the script's line", function()
    refuses {
      { "moontap.topk { keys = 'src' }", "there is no 'keys'", "did you mean 'key'" },
      { "moontap.topk { key = 'source' }", "key: there is no 'source'", "src" },
      { "moontap.topk { k = 0 }", "moontap.topk: k: expected a number from 1", "found the number 0" },
      { "moontap.topk { k = 1.5 }", "expected a whole number, found 1.5" },
      { "moontap.topk { k = 10, counters = 9 }", "counters: expected a number from 10" },
      { "moontap.topk { counters = '9' }", "counters", "found a string" },
      { "moontap.topk { key_bytes = 0 / 0 }", "key_bytes" },
      { "moontap.topk { counters = 2 ^ 20, key_bytes = 4096 }", "keys of key_bytes = 4096 take more than 512 MB" },
      { "moontap.topk 'src'", "expected a table of options, found a string" },
      { "moontap.topk():ad(1)", "a topk has no method 'ad'", "did you mean 'add'" },
      { "local top = moontap.topk() top.k = 3", "'k' of a topk can not be set" },
      { "moontap.topk():add(1, -1)", "topk:add: a weight is a number from 0 to 2^53, found -1" },
      { "moontap.topk():add(1, 0 / 0)", "topk:add: a weight is a number from 0" },
      { "moontap.topk():add(1, 2 ^ 53 + 2)", "found 9007199254740994" },
      { "moontap.topk():add(1, '5')", "topk:add: expected a number as weight, found a string" },
      { "moontap.topk():add(nil)", "topk:add: the key is nil", "without IP" },
      { "moontap.topk():add(0 / 0)", "expected a string, a number, an address or a boolean as key, found NaN" },
      { "moontap.topk():add({})", "as key, found a table" },
      { "moontap.topk():add(5LL)", "as key, found a cdata (int64_t)" },
      { "moontap.topk { key = 'src' }:add(80)", "its keys are the src of packets", "found the number 80" },
      { "moontap.topk { key = 'flow' }:get(moontap.address '::1')", "topk:get: its keys are the flow of packets" },
      { "moontap.topk():list(-1)", "topk:list: expected a number from 0" },
      { "moontap.topk():merge(moontap.distinct())", "merge: expected another topk" },
      { "moontap.topk():merge()", "merge: expected another topk, found nothing" },
      { "moontap.topk():merge(moontap.topk { counters = 7, k = 1 })", "merge: counters differs: 1000 and 7" },
      { "moontap.topk { key = 'src' }:merge(moontap.topk { key = 'dst' })", "merge: the keys differ: src and dst" },
      { "moontap.topk { key = 'src' }:merge(moontap.topk())", "merge: the keys differ: src and by value" },
    }
  end)

  it("refuses packets where keys are given by value, and stale ones", function()
    each { { c.T0 }, { c.T0 + 1 } }
    t.write("s.lua", "local top = moontap.topk()\nreturn { on_packet = function(p) top:add(p) end }")
    t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: topk:add: this one takes keys by value", 'key = "src"')
    for _, add in ipairs { "moontap.topk { key = 'src' }", "moontap.distinct { key = 'src' }", "moontap.rate()" } do
      t.write("s.lua", "local s, kept = " .. add .. "\nreturn { on_packet = function(p)\nif kept then s:add(kept) end kept = p end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:3: this packet is gone", "p:copy()")
    end
  end)
end)

describe("distinct", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("is exact up to 1,536 keys and within 3.3 % beyond, for every type of key", function()
    local lines = script [[
      local ffi = require "ffi"
      local makers = {
        function(i) return i end,
        function(i) return "host-" .. i .. ".example.org" end,
        function(i) return ffi.new("struct mt_address", i * 4294967296 + 10, i, 16) end,
        function(i) return i / 3 end,
      }
      for kind, make in ipairs(makers) do
        local d = moontap.distinct()
        for i = 1, 300000 do
          d:add(make(i))
          if i % 2 == 0 then d:add(make(i / 2)) end -- seen before
          if i == 1536 or i == 1537 or i == 5000 or i == 40000 or i == 300000 then
            local n, err = d:count()
            S.check(i > 1536 and err > 0.008 and err < 0.0082 or i == 1536 and err == 0, "%d: %g", i, err)
            S.check(math.abs(n - i) <= i * 0.033 and (err > 0 or n == i) and n % 1 == 0, "%d: %d is not %d", kind, n, i)
          end
        end
        print(d:memory() < 16500)
      end]]
    assert.same({ "true", "true", "true", "true" }, lines)
  end)

  it("has the standard error that it says: over 60 seeds, for 5 precisions", function()
    local lines = script [[
      for _, precision in ipairs { 4, 7, 8, 10, 12 } do
        local squares, sum = 0, 0
        for seed = 1, 60 do
          local d = moontap.distinct { precision = precision, seed = seed }
          for i = 1, 6000 do d:add(i) end
          local n, err = d:count()
          S.check(math.abs(err - 1.04 / math.sqrt(2 ^ precision)) < 1e-12, "%g", err)
          squares = squares + ((n - 6000) / 6000 / err) ^ 2
          sum = sum + (n - 6000) / 6000 / err
        end
        -- of 60 samples: the root of mean squares is 1 +- 0.09, the mean 0 +- 0.13
        S.check(math.sqrt(squares / 60) < 1.3, "precision %d: %g times the standard error", precision, math.sqrt(squares / 60))
        S.check(math.abs(sum / 60) < 0.45, "precision %d: %g off", precision, sum / 60)
      end
      print "good"]]
    assert.same({ "good" }, lines)
  end)

  it("gives exactly what one would have given when 2 or 4 are merged", function()
    local lines = script [[
      for _, n in ipairs { 0, 10, 1000, 1536, 1537, 3000, 100000 } do
        for _, parts in ipairs { 2, 4 } do
          local one, list = moontap.distinct(), {}
          for i = 1, parts do list[i] = moontap.distinct() end
          local part = S.zipf(9, parts + 0.99)
          for i = 1, n do
            local key = "k" .. i % 80000
            one:add(key)
            list[part()]:add(key)
          end
          for _, other in ipairs(list) do
            local all = moontap.distinct()
            for _, d in ipairs(list) do all:merge(d) end
            S.check(all:save() == one:save(), "%d keys, %d parts", n, parts)
          end
          for i = parts, 2, -1 do list[1]:merge(list[i]) end
          S.check(list[1]:save() == one:save() and list[1]:count() == one:count(), "%d keys, %d parts", n, parts)
          one:merge(one)
          S.check(list[1]:save() == one:save(), "with itself")
        end
      end
      print "good"]]
    assert.same({ "good" }, lines)
  end)

  it("is the same in every run, goes on after it was loaded, and begins anew", function()
    local text = [[
      local d = moontap.distinct { seed = 5 }
      for i = 1, %d do d:add(i) d:add("s" .. i) d:add(moontap.address("10.0.0." .. i %% 256)) end
      local file = io.open("state", "rb")
      if file then
        print(file:read "*a" == d:save())
        file:close()
        local e = assert(moontap.load(d:save()))
        for i = 1, 9999 do d:add(i / 7) e:add(i / 7) end
        print(d:save() == e:save(), d:count() == e:count())
        d:clear()
        print(d:count(), tostring(d))
      else
        assert(io.open("state", "wb")):write(d:save())
      end]]
    for _, n in ipairs { 100, 20000 } do
      t.run("rm -f state")
      script(text:format(n))
      assert.same({ "true", "true\ttrue", "0\t0" }, (script(text:format(n))))
    end
  end)

  it("counts the keys of packets as moontap.table does", function()
    local lines = hooks([[
      local kinds = { "flow", "tuple", "pair", "src", "dst", "sport", "dport" }
      local sketches, tables, copies = {}, {}, {}
      for i, kind in ipairs(kinds) do
        sketches[i], tables[i] = moontap.distinct { key = kind }, moontap.table { key = kind }
        copies[i] = moontap.distinct { key = kind }
      end]], [[
      on_packet = function(p)
        for i, d in ipairs(sketches) do
          assert(d:add(p) == (tables[i]:get(p) ~= nil))
          assert(copies[i]:add(p:copy()) == (tables[i]:get(p) ~= nil))
        end
      end,
      on_stop = function()
        for i, d in ipairs(sketches) do
          S.check(d:count() == #tables[i], "%s: %d, %d", kinds[i], d:count(), #tables[i])
          for key in tables[i]:pairs() do d:add(key) end -- a key of a table is one of the sketch
          S.check(d:count() == #tables[i] and d:save() == copies[i]:save(), "%s again", kinds[i])
        end
        print(sketches[1]:count(), sketches[4]:count())
      end]])
    assert.same({ "28\t0\t4\t0" }, { (lines[1]:gsub("^(%d+)\t(%d+)\t0$", "%1\t0\t%2\t0")) })
  end)

  it("refuses what makes no sense, at the script's line", function()
    refuses {
      { "moontap.distinct { precison = 4 }", "there is no 'precison'", "did you mean 'precision'" },
      { "moontap.distinct { precision = 3 }", "precision: expected a number from 4 to 18, found the number 3" },
      { "moontap.distinct { seed = -1 }", "seed: expected a number from 0" },
      { "moontap.distinct():add(nil)", "distinct:add: the key is nil" },
      { "moontap.distinct():add(print)", "as key, found a function" },
      { "moontap.distinct():merge(moontap.distinct { seed = 1 })", "merge: seed differs: 0 and 1" },
      { "moontap.distinct():merge(moontap.distinct { precision = 5 })", "merge: precision differs: 14 and 5" },
      { "moontap.distinct():merge(moontap.distinct { key = 'pair' })", "merge: the keys differ: by value and pair" },
      { "moontap.distinct():counts()", "a distinct has no method 'counts'", "did you mean 'count'" },
    }
  end)
end)

describe("quantiles", function()
  before_each(t.fresh)
  after_each(t.clean)

  local STREAM = [[
    local random = S.random(21)
    local streams = {
      uniform = function() return random() end,
      whole = function() return math.floor(random() * 1500) end,
      wide = function() return math.exp((random() - 0.5) * 1400) end,
      normal = function() return math.sqrt(-2 * math.log(random())) * math.cos(6.283185 * random()) end,
      skewed = function() return 1e-6 / random() ^ 2 end,
      same = function() return 42 end,
      sparse = function() return math.floor(random() * 3 - 1) * 1e9 end,
    }
    local function feed(f, n, ...)
      local numbers = {}
      for i = 1, n do
        local x = f()
        numbers[i] = x
        for k = 1, select("#", ...) do
          select(k, ...)[k == 1 and 1 or (i - 1) % (#select(k, ...)) + 1]:add(x)
        end
      end
      return numbers
    end]]

  it("keeps its relative error for every distribution and every size", function()
    local lines = script(STREAM .. [[
      for name, f in pairs(streams) do
        for _, err in ipairs { 0.1, 0.01, 0.001 } do
          for _, n in ipairs { 1, 2, 3, 10, 1000, 20000 } do
            local q = moontap.quantiles { error = err }
            local numbers = feed(f, n, { q })
            local ok, why = pcall(S.check_quantiles, q, numbers, err)
            S.check(ok, "%s, error %g, %d numbers: %s", name, err, n, tostring(why))
          end
        end
      end
      print "good"]])
    assert.same({ "good" }, lines)
  end)

  it("gives exactly what one would have given when 2 or 4 are merged", function()
    local lines = script(STREAM .. [[
      for name, f in pairs(streams) do
        for _, parts in ipairs { 2, 4 } do
          local one, list = moontap.quantiles(), {}
          for i = 1, parts do list[i] = moontap.quantiles() end
          local numbers = feed(f, 5000, { one }, list)
          for i = 2, parts do list[1]:merge(list[i]) end
          S.check_quantiles(list[1], numbers, 0.01)
          for i = 0, 1000 do S.check(list[1](i / 1000) == one(i / 1000), "%s %d", name, i) end
          local whole = name == "whole" or name == "same" or name == "sparse"
          S.check(not whole or list[1]:save() == one:save(), "%s: bytes", name)
          S.check(math.abs(list[1]:sum() - one:sum()) <= 1e-9 * math.abs(one:sum()), "%s: sum", name)
        end
      end
      local empty = moontap.quantiles():merge(moontap.quantiles())
      print(empty:count(), empty(0.5), empty:merge(moontap.quantiles()):max())]])
    assert.same({ "0\tnil\tnil" }, lines)
  end)

  it("knows count, sum, mean, smallest and largest exactly, with weights", function()
    local lines = script [[
      local q = moontap.quantiles()
      print(q:count(), q:sum(), q:mean(), q:min(), q:max(), q(0.5), tostring(q))
      for i = 1, 99 do q:add(i, i) end
      q:add(1000, 0)
      print(q:count(), q:sum(), q:mean(), q:min(), q:max(), q(0), q(1))
      print(math.abs(q:get(0.5) - 70) <= 0.7, q)
      q:add(7, 2 ^ 53)
      print(math.abs(q(0.5) - 7) <= 0.07, math.abs(q(1e-18) - 1) <= 0.01)
      q:clear()
      print(q:count(), q(0.5), q:memory())]]
    assert.same({ "0\t0\tnil\tnil\tnil\tnil\tcount 0", "4950\t328350\t66.333333333333\t1\t99\t1\t99" }, { lines[1], lines[2] })
    assert.is_truthy(lines[3]:find("^true\tcount 4950  min 1  p50 %d+%.?%d*  p90 %d+%.?%d*  p99 %d+%.?%d*  max 99  mean 66.3333$"))
    assert.equal("true\ttrue", lines[4])
    assert.is_truthy(lines[5]:find("^0\tnil\t%d%d%d$"))
  end)

  it("counts infinite numbers as the ends, and the tiniest as 0", function()
    local lines = script [[
      local q = moontap.quantiles()
      for _, x in ipairs { -1 / 0, -1 / 0, -5, -5e-324, 0, -0, 1e-310, 5, 1.7976931348623157e308, 1 / 0 } do q:add(x) end
      local want = { -1 / 0, -1 / 0, -5, 0, 0, 0, 0, 5, 1.7976931348623157e308, 1 / 0 }
      for i = 1, 10 do
        local x = q((i - 1) / 9)
        S.check(x == want[i] or math.abs(x - want[i]) <= 0.01 * math.abs(want[i]), "%d: %g", i, x)
      end
      print(q:count(), q:min(), q:max(), q:sum() ~= q:sum())
      local again = assert(moontap.load(q:save()))
      print(again:save() == q:save(), tostring(again) == tostring(q))]]
    assert.same({ "10\t-inf\tinf\ttrue", "true\ttrue" }, lines)
  end)

  it("takes as much memory as its description says", function()
    local lines = script [[
      local q = moontap.quantiles()
      for i = 0, 100000 do q:add(10 ^ (i / 100000 * 6)) end
      print(q:memory() <= 17000, #q:save() <= 5700)
      local random = S.random(2)
      for i = 1, 100000 do q:add(math.exp((random() - 0.5) * 1416) * (i % 2 == 0 and -1 or 1)) end
      print(q:memory() > 1e6, q:memory() <= 1.2e6)]]
    assert.same({ "true\ttrue", "true\ttrue" }, lines)
  end)

  it("refuses what makes no sense, at the script's line", function()
    refuses {
      { "moontap.quantiles { err = 1 }", "there is no 'err'", "did you mean 'error'" },
      { "moontap.quantiles { error = 0 }", "error: expected a number from 0.0001 to 0.5, found the number 0" },
      { "moontap.quantiles():add(0 / 0)", "quantiles:add: expected a number, found NaN" },
      { "moontap.quantiles():add(nil)", "quantiles:add: expected a number, found nothing" },
      { "moontap.quantiles():add('1')", "expected a number, found a string" },
      { "moontap.quantiles():add(1, -1)", "quantiles:add: a weight is a number from 0 to 2^53, found -1" },
      { "moontap.quantiles():get(99)", "quantiles:get: expected a number from 0 to 1, found the number 99" },
      { "moontap.quantiles()(nil)", "quantiles:get: expected a number from 0 to 1, found nothing" },
      { "moontap.quantiles():merge(moontap.quantiles { error = 0.1 })", "merge: error differs: 0.01 and 0.1" },
      { "moontap.quantiles():p50()", "a quantiles has no method 'p50'" },
    }
  end)
end)

describe("histogram", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("counts each number between the edges that rows() gives", function()
    local lines = script [[
      local made = {
        moontap.histogram { from = 0, to = 1500, step = 100 },
        moontap.histogram { from = -0.7, to = 1.1, step = 0.1 },
        moontap.histogram { from = 64, to = 65536, log = 2 },
        moontap.histogram { from = 0.001, to = 1000, log = 10 ^ (1 / 5) },
        moontap.histogram { edges = { -3, 0, 0.5, 1e6 } },
        moontap.histogram { from = 0, to = 5, step = 10 },
        moontap.histogram { from = 0, to = 100000, step = 1 },
      }
      local random = S.random(4)
      for i, h in ipairs(made) do
        local rows, numbers = h:rows(), {}
        for _, row in ipairs(rows) do -- the edges themselves, and what is beside them
          for _, x in ipairs { row.from, row.to } do
            for _, f in ipairs { 1, 1 - 2 ^ -53, 1 + 2 ^ -52 } do numbers[#numbers + 1] = x * f end
          end
        end
        local low, high = rows[1].from, rows[#rows].to
        for _ = 1, 3000 do numbers[#numbers + 1] = low - 1 + random() * (high - low + 2) end
        numbers[#numbers + 1], numbers[#numbers + 2] = 1 / 0, -1 / 0
        local want, under, over = {}, 0, 0
        table.sort(numbers)
        local at = 1
        for k, x in ipairs(numbers) do
          local weight = k % 3
          h:add(x, weight)
          while at <= #rows and x >= rows[at].to do at = at + 1 end
          if x < low then under = under + weight
          elseif at > #rows then over = over + weight
          else want[at] = (want[at] or 0) + weight end
        end
        rows = h:rows()
        for k, row in ipairs(rows) do S.check(row.count == (want[k] or 0), "%d: bucket %d: %g", i, k, row.count) end
        S.check(h:under() == under and h:over() == over, "%d: ends", i)
        print(#rows, rows[1].from, rows[1].to, rows[#rows].from, rows[#rows].to, h:memory() <= 16 * #rows + 100)
      end]]
    assert.same({ "15\t0\t100\t1400\t1500\ttrue", "18\t-0.7\t-0.6\t1\t1.1\ttrue", "10\t64\t128\t32768\t65536\ttrue",
      "30\t0.001\t0.0015848931924611\t630.95734448019\t1000\ttrue", "3\t-3\t0\t0.5\t1000000\ttrue", "1\t0\t5\t0\t5\ttrue",
      "100000\t0\t1\t99999\t100000\ttrue" }, lines)
  end)

  it("gives exactly what one would have given when 2 or 4 are merged, saved and loaded", function()
    local lines = script [[
      local function new() return moontap.histogram { from = 1, to = 10000, log = 1.1 } end
      for _, parts in ipairs { 2, 4 } do
        local one, list, next_number = new(), {}, S.zipf(6, 30000)
        for i = 1, parts do list[i] = new() end
        for i = 1, 30000 do
          local x = next_number() - 1
          one:add(x, i % 5)
          list[i % parts + 1]:add(x, i % 5)
        end
        for i = 2, parts do list[1]:merge(assert(moontap.load(list[i]:save()))) end
        S.check(list[1]:save() == one:save() and tostring(list[1]) == tostring(one), "merge")
        print(one:under() > 0, one:over() > 0, one:count() == 60000)
        one:clear()
        print(one:count(), one:save() == new():save())
      end]]
    assert.same({ "true\ttrue\ttrue", "0\ttrue", "true\ttrue\ttrue", "0\ttrue" }, lines)
  end)

  it("counts packet sizes as tshark does", function()
    local want = {}
    for _, len in ipairs(t.field("f/web.pcap", "frame.len")) do
      local bucket = math.min(math.floor(tonumber(len) / 100), 15)
      want[bucket] = (want[bucket] or 0) + 1
    end
    local lines = hooks("local h = moontap.histogram { from = 0, to = 1500, step = 100 }", [[
      on_packet = function(p) h:add(p.wirelen) end,
      on_stop = function()
        for _, row in ipairs(h:rows()) do print(row.from / 100, row.count) end
        print(15, h:over())
      end]])
    assert.equal(16, #lines)
    for _, line in ipairs(lines) do
      local bucket, count = line:match("^(%d+)\t(%d+)$")
      assert.equal(want[tonumber(bucket)] or 0, tonumber(count), line)
    end
  end)

  it("prints bars, without the empty ends and with one line for a long gap", function()
    local _, r = script [[
      local h = moontap.histogram { from = 0, to = 2000, step = 100 }
      print(h)
      h:add(-5, 2) h:add(150, 8000) h:add(250, 4000) h:add(450, 1) h:add(1250, 99) h:add(2000, 700)
      print(h)
      print(h:chart(40))
      local again = moontap.histogram { from = 1, to = 5, step = 1 }
      again:add(2) again:add(4)
      print(again)]]
    assert.equal([[
from  below  count  share
from  below  count  share
          0      2   0.0%  ▏
   0    100      0   0.0%
 100    200  8,000  62.5%  █████████████████████████████████████████████████████
 200    300  4,000  31.2%  ██████████████████████████▌
 300    400      0   0.0%
 400    500      1   0.0%  ▏
   …      …
1200   1300     99   0.8%  ▋
   …      …
2000           700   5.5%  ████▋
from  below  count  share
          0      2   0.0%  ▏
   0    100      0   0.0%
 100    200  8,000  62.5%  █████████████
 200    300  4,000  31.2%  ██████▌
 300    400      0   0.0%
 400    500      1   0.0%  ▏
   …      …
1200   1300     99   0.8%  ▏
   …      …
2000           700   5.5%  █▏
from  below  count  share
   2      3      1  50.0%  █████████████████████████████████████████████████████
   3      4      0   0.0%
   4      5      1  50.0%  █████████████████████████████████████████████████████
]], r.out)
  end)

  it("refuses what makes no sense, at the script's line", function()
    refuses {
      { "moontap.histogram()", "expected a table of options, found nothing" },
      { "moontap.histogram {}", "expected { from = …, to = …, step = … }" },
      { "moontap.histogram { from = 0, to = 9, steps = 1 }", "there is no 'steps'", "did you mean 'step'" },
      { "moontap.histogram { from = 0, to = 9, step = 1, log = 2 }", "expected { from" },
      { "moontap.histogram { from = 9, to = 9, step = 1 }", "'to' must be more than 'from'" },
      { "moontap.histogram { from = 0, to = 9, step = 0 }", "step: expected a number" },
      { "moontap.histogram { from = 0, to = 9, step = 1e-5 }", "more than 100000 buckets" },
      { "moontap.histogram { from = 1e20, to = 1.00000000000000001e20 + 1e6, step = 1 }", "histogram: " },
      { "moontap.histogram { from = 0, to = 9, log = 2 }", "'from' must be more than 0" },
      { "moontap.histogram { from = 1, to = 9, log = 1 }", "log: expected a number" },
      { "moontap.histogram { from = 1, to = 1e300, log = 1.0001 }", "more than 100000 buckets" },
      { "moontap.histogram { edges = { 1 } }", "edges: expected a list of two numbers or more, found 1" },
      { "moontap.histogram { edges = { 1, 3, 2 } }", "edges rise, but edge 3 is 2 after 3" },
      { "moontap.histogram { edges = { 1, 'x' } }", "edge 2: expected a number" },
      { "moontap.histogram { edges = { 1, 2 }, step = 1 }", "'step' has no place beside it" },
      { "moontap.histogram { edges = { 1, 2 } }:add(0 / 0)", "histogram:add: expected a number, found NaN" },
      { "moontap.histogram { edges = { 1, 2 } }:add(1, -1)", "histogram:add: a weight" },
      { "moontap.histogram { edges = { 1, 2 } }:merge(moontap.histogram { edges = { 1, 3 } })", "edges of the buckets differ" },
      { "moontap.histogram { edges = { 1, 2 } }:merge(moontap.histogram { edges = { 1, 2, 3 } })", "buckets differs: 1 and 2" },
    }
  end)
end)

describe("rate", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("counts packets and bytes of each interval as tshark does", function()
    for every, digits in pairs { [1] = 0, [0.1] = 1, [0.01] = 2 } do
      local want = {}
      for _, line in ipairs(t.packets("f/web.pcap", { "frame.time_epoch", "frame.len" })) do
        local second, decimals, len = line:match("^(%d+)%.(%d+) (%d+)$")
        local key = second .. (digits > 0 and "." .. decimals:sub(1, digits) or "")
        want[key] = want[key] or { 0, 0 }
        want[key][1], want[key][2] = want[key][1] + 1, want[key][2] + tonumber(len)
      end
      local lines = hooks(("local r, exact, by_ts = moontap.rate { every = %g }, moontap.rate { every = %g }, moontap.rate { every = %g }")
        :format(every, every, every), ([[
        on_packet = function(p) r:add(p) exact:add(p.ts_ns, p.wirelen) by_ts:add(p:copy()) end,
        on_stop = function()
          assert(r:save() == exact:save() and r:save() == by_ts:save())
          for _, e in ipairs(r:list()) do print(("%%.%df"):format(e.time), e.packets, e.bytes) end
        end]]):format(digits))
      local seen = 0
      for _, line in ipairs(lines) do
        local time, packets, bytes = line:match("^(%S+)\t(%d+)\t(%d+)$")
        local w = want[time] or { 0, 0 }
        assert.same({ w[1], w[2] }, { tonumber(packets), tonumber(bytes) }, line)
        seen = seen + w[1]
      end
      assert.equal(169, seen)
    end
  end)

  it("keeps the newest intervals, counts what falls off, and takes late packets as long as there is a slot", function()
    local lines = script [[
      local r = moontap.rate { every = 10, keep = 3 }
      local function show()
        local parts = {}
        for _, e in ipairs(r:list()) do parts[#parts + 1] = ("%g:%g/%g"):format(e.time, e.packets, e.bytes) end
        local packets, bytes = r:total()
        print(table.concat(parts, " "), packets, bytes, r:dropped())
      end
      show()
      r:add(1005, 10) r:add(1000, 1) r:add(1019.5, 5) show()
      r:add(1030, 7) show()    -- 1000 falls off
      r:add(1012, 3) show()    -- late, but there is a slot
      r:add(1009.9, 4) show()  -- too late
      r:add(2000, 2) show()    -- everything falls off
      r:add(1985, 1, 6) show()
      r:clear() show()]]
    assert.same({ "\t0\t0\t0\t0", "1000:2/11 1010:1/5\t3\t16\t0\t0", "1010:1/5 1020:0/0 1030:1/7\t4\t23\t2\t11",
      "1010:2/8 1020:0/0 1030:1/7\t5\t26\t2\t11", "1010:2/8 1020:0/0 1030:1/7\t6\t30\t3\t15", "2000:1/2\t7\t32\t6\t30",
      "1980:6/1 1990:0/0 2000:1/2\t13\t33\t6\t30", "\t0\t0\t0\t0" }, lines)
  end)

  it("gives exactly what one would have given, in any order, when 2 or 4 are merged, saved and loaded", function()
    local lines = script [[
      for _, parts in ipairs { 2, 4 } do
        local one, shuffled, list = moontap.rate { keep = 50 }, moontap.rate { keep = 50 }, {}
        for i = 1, parts do list[i] = moontap.rate { keep = 50 } end
        local random, packets = S.random(parts), {}
        for i = 1, 4000 do
          packets[i] = { 1700000000 + math.floor(random() * i / 20) + random(), math.floor(random() * 1500) }
        end
        for i, p in ipairs(packets) do
          one:add(p[1], p[2])
          list[i % 7 % parts + 1]:add(p[1], p[2])
        end
        for i = #packets, 2, -1 do
          local k = math.floor(random() * i) + 1
          packets[i], packets[k] = packets[k], packets[i]
        end
        for _, p in ipairs(packets) do shuffled:add(p[1], p[2]) end
        local merged = moontap.rate { keep = 50 }
        for i = parts, 1, -1 do merged:merge(assert(moontap.load(list[i]:save()))) end
        S.check(merged:save() == one:save(), "merged")
        S.check(shuffled:save() == one:save(), "shuffled")
        print(#one:list(), one:dropped() > 1000, one:total(), one:memory())
      end]]
    assert.same({ "50\ttrue\t4000", "50\ttrue\t4000" }, { lines[1]:match("^50\ttrue\t4000"), lines[2]:match("^50\ttrue\t4000") })
  end)

  it("works before 1970 and at the ends of time", function()
    local lines = script [[
      local r = moontap.rate { every = 1, keep = 4 }
      for _, x in ipairs { -2.5, -2, -1.25, -0.5, 0, 0.5 } do r:add(x, 1) end
      for _, e in ipairs(r:list()) do print(e.time, e.packets) end
      for _, every in ipairs { 0.00001, 1, 1000000 } do
        local ends = moontap.rate { every = every, keep = 2 }
        ends:add(-0x8000000000000000LL, 1) ends:add(-0x8000000000000000LL, 1)
        print(#ends:list(), ends:list()[1].packets)
        ends:add(0x7fffffffffffffffLL, 1) ends:add(0x7fffffffffffffffLL, 1)
        print(#ends:list(), ends:list()[1].packets, (ends:dropped()))
        assert(assert(moontap.load(ends:save())):save() == ends:save())
      end]]
    assert.same({ "-3\t1", "-2\t2", "-1\t1", "0\t2", "1\t2", "1\t2\t2", "1\t2", "1\t2\t2", "1\t2", "1\t2\t2" }, lines)
  end)

  it("prints its sums", function()
    local _, r = script [[
      local r = moontap.rate { every = 0.5, keep = 4 }
      for i = 0, 9 do r:add(1700000000 + i / 4, 125000) end
      print(r)]]
    assert.equal("10 packets, 1.2 MiB in 4 intervals of 500.0 ms, the most in one 4.0 Mbit/s, 2 packets dropped\n", r.out)
  end)

  it("refuses what makes no sense, at the script's line", function()
    refuses {
      { "moontap.rate { interval = 1 }", "there is no 'interval'", "every, keep" },
      { "moontap.rate { every = 0 }", "every: expected a number from 1e-05" },
      { "moontap.rate { keep = 0 }", "keep: expected a number from 1" },
      { "moontap.rate():add(nil)", "rate:add: expected a packet or a time (p.ts or p.ts_ns), found nothing" },
      { "moontap.rate():add(0 / 0)", "found NaN" },
      { "moontap.rate():add(1e10)", "found the number 10000000000" },
      { "moontap.rate():add(1, -1)", "rate:add: a weight is a number from 0" },
      { "moontap.rate():merge(moontap.rate { every = 2 })", "merge: every_ns differs: 1000000000 and 2000000000" },
    }
  end)
end)

describe("saved sketch", function()
  before_each(t.fresh)
  after_each(t.clean)

  local MAKE = [[
    local function feed(s, n, f)
      for i = 1, n do s:add(f(i)) end
      return s
    end
    local random = S.random(77)
    local function all()
      return {
        feed(moontap.topk { counters = 20 }, 60, function(i) return i % 3 == 0 and i % 25 or i % 3 == 1 and "k" .. i % 7 or true end),
        feed(moontap.topk { counters = 20 }, 15, function(i) return moontap.address("10.0.0." .. i) end),
        feed(moontap.topk { key = "src", counters = 12 }, 40, function(i) return moontap.address(("2001:db8::%x"):format(i % 15)) end),
        feed(moontap.distinct { precision = 9 }, 20, function(i) return i end),
        feed(moontap.distinct { precision = 6 }, 500, function(i) return i end),
        feed(moontap.quantiles { error = 0.1 }, 50, function(i) return (i - 20) ^ 3 end),
        feed(moontap.quantiles { error = 0.1 }, 0, function(i) return i end),
        feed(moontap.histogram { from = 0, to = 10, step = 1 }, 30, function(i) return i % 12 - 1, i end),
        feed(moontap.rate { keep = 6 }, 30, function(i) return i / 4, i end),
        feed(moontap.rate { keep = 6 }, 0, function(i) return i / 4, i end),
      }
    end]]

  it("comes back the same, for every kind", function()
    local lines = script(MAKE .. [[
      for _, s in ipairs(all()) do
        local again = assert(moontap.load(s:save()))
        S.check(again:save() == s:save() and tostring(again) == tostring(s) and again:memory() <= s:memory(), "%s", tostring(s))
        again:merge(s)
      end
      print "good"]])
    assert.same({ "good" }, lines)
  end)

  it("is refused when it is damaged, of another version, or no string of ours", function()
    local lines = script(MAKE .. [[
      local saved = require "moontap.saved"
      for _, s in ipairs(all()) do
        local bytes = s:save()
        for i = 1, #bytes do
          local changed = bytes:sub(1, i - 1) .. string.char((bytes:byte(i) + 1) % 256) .. bytes:sub(i + 1)
          local object, why = moontap.load(changed)
          S.check(object == nil and type(why) == "string", "byte %d", i)
          object, why = moontap.load(bytes:sub(1, i - 1))
          S.check(object == nil and type(why) == "string", "%d bytes", i - 1)
        end
        local kind, body = bytes:match "^moontap (%l+) [^\n]*\n(.*)$"
        print(select(2, moontap.load(saved.wrap(kind, 2, body))))
        print(select(2, moontap.load(saved.wrap(kind, 1, body .. "x"))))
        S.check(moontap.load(saved.wrap(kind, 1, body)), "the body is right")
      end]])
    assert.equal("this moontap reads version 1 of a saved topk, not 2", lines[1])
    assert.equal("damaged: its bytes are no topk that could be (or there is no memory for it)", lines[2])
    assert.equal(20, #lines)
  end)

  it("is harmless when its bytes are forged behind a right checksum", function()
    local lines = script(MAKE .. [[
      local saved = require "moontap.saved"
      local function use(s, kind)
        tostring(s) s:memory() s:save()
        if kind:find "topk" then for _, e in ipairs(s:list()) do tostring(e.key) end end
        if kind == "histogram" then s:rows() end
        s:merge(s)
        if kind == "quantiles" then s:add(5) s(0.3) else s:add(kind == "topk src" and moontap.address "::1" or 7) end
        tostring(s) s:save()
        s:clear()
      end
      local whole = { "\0", "\1", "\255", "\127", "\128" }
      local good, bad = 0, 0
      for _, s in ipairs(all()) do
        local kind, body = s:save():match "^moontap (%l+) [^\n]*\n(.*)$"
        local use_as = pcall(s.add, s, 7) and kind or "topk src"
        for round = 1, 1500 do
          local bytes = body
          for _ = 1, math.floor(random() * 3) + 1 do
            local i = math.floor(random() * math.min(#bytes, random() < 0.5 and 64 or 1e9)) + 1
            local what = random() < 0.5 and whole[math.floor(random() * #whole) + 1] or string.char(math.floor(random() * 256))
            what = random() < 0.3 and what:rep(4) or what
            bytes = bytes:sub(1, i - 1) .. what .. bytes:sub(i + #what)
          end
          if random() < 0.1 then bytes = bytes:sub(1, math.floor(random() * #bytes)) end
          local object, why = moontap.load(saved.wrap(kind, 1, bytes))
          if object then
            good = good + 1
            if object:memory() < 1e6 then
              local ok, text = pcall(use, object, use_as)
              S.check(ok or tostring(text):find "keys are", "%s: %s", kind, tostring(text))
            end
          else
            S.check(type(why) == "string", "%s", kind)
            bad = bad + 1
          end
        end
      end
      print(good > 1000, bad > 1000)]])
    assert.same({ "true\ttrue" }, lines)
  end)

  it("has no value of Lua in a sum that was forged", function()
    local lines = script [[
      local saved, ffi = require "moontap.saved", require "ffi"
      local q = moontap.quantiles()
      q:add(1)
      local body = q:save():match "\n(.*)$"
      for _, high in ipairs { "\255\255", "\255\254", "\254\255", "\251\255" } do
        local forged = saved.wrap("quantiles", 1, body:sub(1, 8) .. "\0\0\0\0\0\0" .. high .. body:sub(17))
        print(type(assert(moontap.load(forged)):sum()))
      end]]
    assert.same({ "number", "number", "number", "number" }, lines)
  end)

  it("is freed when nobody uses it, so that many can be made", function()
    local _, r = script [[
      local function kilobytes()
        for line in io.lines "/proc/self/status" do
          local n = line:match "^VmRSS:%s+(%d+)"
          if n then return tonumber(n) end
        end
      end
      local before = kilobytes()
      for i = 1, 3000 do
        local d = moontap.distinct { precision = 18 } -- 256 KiB each, 750 MiB together
        d:add(i)
        for k = 1, 100 do d:add(k) end
      end
      print(kilobytes() - before < 300000)]]
    assert.equal(t.asan and r.out or "true\n", r.out)
  end)
end)

describe("sketch in a hook", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- Twice in a hook: LuaJIT does not look through calls of C, and would make an object of p for the second one.
  it("makes nothing for the collector, packet for packet", function()
    local file = {}
    for i = 0, 9999 do
      file[i + 1] = { c.T0 + math.floor(i / 1000), i % 1000 * 1000, c.udp { src = "10.0." .. i % 50 .. "." .. i % 250,
        sport = i % 2 == 0 and 53 or 4000 + i % 100, payload = ("x"):rep(i % 7) } }
    end
    t.write("in.pcap", c.pcap(file))
    for _, add in ipairs { "topk { key = 'src' }:add(p, p.wirelen)", "topk { key = 'flow' }:add(p)", "topk():add(p.sport)",
      "topk():add(p.src, p.wirelen)", "topk():add(p.is_fragment)", "distinct { key = 'flow' }:add(p)", "distinct():add(p.src)",
      "distinct():add(p.sport)", "quantiles():add(p.wirelen)", "histogram { from = 0, to = 1500, step = 100 }:add(p.wirelen)",
      "rate():add(p)", "rate():add(p.ts_ns, p.wirelen)", "rate():add(p.ts, p.wirelen)" } do
      local make, call = add:match("^(.*)(:add.*)$")
      local lines = hooks("local sketch, n, before = moontap." .. make .. ", 0, 0", ([[
        on_packet = function(p)
          n = n + 1
          if n == 5000 then collectgarbage() collectgarbage "stop" before = collectgarbage "count" end
          sketch%s
          sketch%s
        end,
        on_stop = function() print((collectgarbage "count" - before) * 1024 / 5000) end]]):format(call, call), "in.pcap")
      assert.is_true(tonumber(lines[1]) < 12, add .. ": " .. lines[1] .. " bytes a packet")
    end
  end)
end)
