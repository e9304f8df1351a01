-- SPDX-License-Identifier: BSD-2-Clause
-- Addresses, networks, sets of networks, and times as text.  Judges: a search without any cleverness in this file,
-- Python's ipaddress, date(1).
local t = require("support.moontap")
local c = require("support.capture")

-- What a script prints that only speaks at the start.
local function prints(text, env)
  t.write("s.lua", text .. "\nreturn {}")
  return t.run("moontap -l ./s.lua f/web.pcap", 0, { env = env }).out
end

-- What the script's error says, for an expression.
local function refusal(expression)
  local out = prints("print(select(2, pcall(function() local value = " .. expression .. " return value end)))")
  return (out:gsub("\n$", ""))
end

local function lines(text)
  local list = {}
  for line in text:gmatch("([^\n]*)\n") do
    list[#list + 1] = line
  end
  return list
end

local has_python = t.quote and os.execute("python3 -c 'import ipaddress' 2>/dev/null") == 0

local function python(text)
  t.write("judge.py", text)
  return t.run("python3 judge.py").out
end

describe("address", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("compares with addresses and texts, and has an order: IPv4 first", function()
    local out = prints [[
      local a = moontap.address
      local list = { a "::2", a "255.255.255.255", a "2001:db8::1", a "0.0.0.1", a "::1", a "10.0.0.10", a "10.0.0.9",
        a "2001:db8::", a "ffff::", a "::1:0:0:0:0" }
      table.sort(list, function(x, y) return x < y end)
      for _, x in ipairs(list) do print(x) end
      print(a "10.0.0.1" == "10.0.0.1", a "10.0.0.1" == a "::ffff:10.0.0.1", a "10.0.0.1" <= "10.0.0.1",
        a "10.0.0.1" < "10.0.0.1", "10.0.0.2" > a "10.0.0.1", a "::" >= "255.255.255.255")]]
    assert.same({ "0.0.0.1", "10.0.0.9", "10.0.0.10", "255.255.255.255", "::1", "::2", "0:0:0:1::", "2001:db8::",
      "2001:db8::1", "ffff::", "true\tfalse\ttrue\tfalse\ttrue\ttrue" }, lines(out))
  end)

  it("is read strictly: no octal, no zone, nothing around it", function()
    for _, text in ipairs { "010.0.0.1", "10.0.0", "10.0.0.256", "1.2.3.4.5", " 10.0.0.1", "10.0.0.1 ", "", ":", ":::",
      "1::2::3", "fe80::1%eth0", "12345::", "::1.2.3", "10.0.0.1/32", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9" } do
      assert.is_truthy(refusal(("moontap.address %q"):format(text)):find("is no IP address", 1, true), text)
    end
  end)

  it("knows its version, its network and its key", function()
    local out = prints [[
      local v4, v6 = moontap.address "192.168.7.9", moontap.address "2001:db8:1:2:3:4:5:6"
      print(v4.version, v6.version, v4:mask(24), v4:mask(0), v4:mask(32), v4:mask(9, 64), v6:mask(48), v6:mask(24, 64),
        v6:mask(127), v6:mask(65), v6:mask(0))
      print(#v4:key(), #v6:key(), moontap.key_text(v4:key()), moontap.key_text(v6:key()))]]
    assert.equal("4\t6\t192.168.7.0\t0.0.0.0\t192.168.7.9\t192.128.0.0\t2001:db8:1::\t2001:db8:1:2::\t2001:db8:1:2:3:4:5:6\t"
      .. "2001:db8:1:2::\t::\n4\t16\t192.168.7.9\t2001:db8:1:2:3:4:5:6\n", out)
    assert.equal("./s.lua:1: the prefix length of an IPv4 address is 0 to 32, found 33",
      refusal "moontap.address('10.0.0.1'):mask(33)")
    assert.equal("./s.lua:1: the prefix length of an IPv6 address is 0 to 128, found 1.5",
      refusal "moontap.address('::'):mask(24, 1.5)")
  end)

  it("knows what IANA set it aside for", function()
    -- The blocks of the special-purpose registries, their borders, and what is outside of all.
    local kinds = {
      is_unspecified = "0.0.0.0 ::",
      is_private = "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 fc00:: fdff:ffff::1",
      is_shared = "100.64.0.0 100.127.255.255",
      is_loopback = "127.0.0.1 127.255.255.255 ::1",
      is_link_local = "169.254.0.0 169.254.255.255 fe80::1 febf:ffff::",
      is_multicast = "224.0.0.1 239.255.255.255 ff02::1 ffff::",
      is_documentation = "192.0.2.1 198.51.100.255 203.0.113.0 2001:db8:ffff:: 3fff:fff::",
      is_global = "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.0.0.1 128.0.0.1 172.15.255.255 "
        .. "172.32.0.0 192.0.0.9 192.0.0.10 192.0.1.0 192.31.196.1 192.52.193.1 192.175.48.1 198.17.255.255 198.20.0.0 "
        .. "223.255.255.255 2000:: 2001:200:: 2001:1::1 2001:1::2 2001:1::3 2001:3::1 2001:4:112::1 2001:20::1 2001:3f::1 "
        .. "2001:db7:ffff:: 2001:db9:: 2003:: 2620:4f:8000::1 3fff:1000:: 64:ff9b::1",
      [""] = "0.0.0.1 0.255.255.255 192.0.0.1 192.0.0.8 192.0.0.170 192.88.99.1 198.18.0.0 198.19.255.255 240.0.0.0 "
        .. "255.255.255.255 ::2 ::ffff:8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:1::4 2001:10::1 2001:40::1 "
        .. "2001:1ff:ffff::1 2002:808:808::1 4000:: 5f00::1 fec0::1 1fff:: ::ffff:10.0.0.1",
    }
    local text = { "local names, a = {}, nil" }
    for name in pairs(kinds) do
      if name ~= "" then
        text[#text + 1] = ("names[#names + 1] = %q"):format(name)
      end
    end
    local expected = {}
    for name, addresses in pairs(kinds) do
      for address in addresses:gmatch("%S+") do
        text[#text + 1] = ([[a = moontap.address %q
          for _, name in ipairs(names) do if a[name] then print(%q, name) end end]]):format(address, address)
        if name ~= "" then
          expected[#expected + 1] = address .. "\t" .. name
        end
      end
    end
    local found = lines(prints(table.concat(text, "\n")))
    table.sort(found)
    table.sort(expected)
    assert.same(expected, found)
  end)

  it("says what is wrong", function()
    assert.equal("./s.lua:1: an address has no field 'is_privat': did you mean 'is_private'?",
      refusal "moontap.address('::').is_privat")
    assert.is_truthy(refusal("moontap.address('::') < 'x'"):find("can not be compared with 'x', which is no IP address", 1, true))
    assert.is_truthy(refusal("moontap.address('::') <= 5"):find("can not be compared with a number", 1, true))
    assert.is_truthy(prints("print(pcall(function() local a = moontap.address '::' a.version = 4 end))")
      :find("field 'version' of an address can not be set", 1, true))
  end)
end)

describe("moontap.net", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("has fields, prints, compares, and sorts", function()
    local out = prints [[
      for _, text in ipairs { "10.0.0.0/8", "10.0.0.0/255.0.0.0", "0.0.0.0/0", "1.2.3.4", "2001:DB8::/32", "::/0", "::1", "1::/65" } do
        local n = moontap.net(text)
        print(n, n.first, n.last, n.address, n.prefix_len, n.version)
      end
      local n = moontap.net
      print(n "10.0.0.0/8" == n "10.0.0.0/255.0.0.0", n "10.0.0.0/8" == "10.0.0.0/8", n "10.0.0.0/8" == n "10.0.0.0/9",
        n "0.0.0.0/0" == n "::/0", n "10.0.0.0/8" == "nonsense", n "10.0.0.0/8" == n(moontap.address "10.7.7.7", 8))
      local list = { n "::/0", n "10.0.0.0/9", n "10.0.0.0/8", n "9.0.0.0/8" }
      table.sort(list, function(a, b) return a < b end)
      print(list[1], list[2], list[3], list[4])
      print(n("10.1.2.3", 24, 64), n("2001:db8:1:2:3::", 24, 64), n("2001:db8:1:2:3::", 24), n(nil, 24))]]
    assert.same({
      "10.0.0.0/8\t10.0.0.0\t10.255.255.255\t10.0.0.0\t8\t4",
      "10.0.0.0/8\t10.0.0.0\t10.255.255.255\t10.0.0.0\t8\t4",
      "0.0.0.0/0\t0.0.0.0\t255.255.255.255\t0.0.0.0\t0\t4",
      "1.2.3.4/32\t1.2.3.4\t1.2.3.4\t1.2.3.4\t32\t4",
      "2001:db8::/32\t2001:db8::\t2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\t2001:db8::\t32\t6",
      "::/0\t::\tffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\t::\t0\t6",
      "::1/128\t::1\t::1\t::1\t128\t6",
      "1::/65\t1::\t1::7fff:ffff:ffff:ffff\t1::\t65\t6",
      "true\ttrue\tfalse\tfalse\tfalse\ttrue",
      "9.0.0.0/8\t10.0.0.0/8\t10.0.0.0/9\t::/0",
      "10.1.2.0/24\t2001:db8:1:2::/64\t2001:d00::/24\tnil",
    }, lines(out))
  end)

  it("contains addresses, their texts and networks; nothing where there is no address", function()
    local out = prints [[
      local n, w = moontap.net "10.0.0.0/8", moontap.net "2001:db8::/33"
      print(n:contains "10.0.0.0", n:contains "10.255.255.255", n:contains "9.255.255.255", n:contains "11.0.0.0",
        n:contains(nil), n:contains "::ffff:10.0.0.1", n:contains "10.0.0.0/8", n:contains(moontap.net "10.7.0.0/16"),
        n:contains "0.0.0.0/0", n:contains "::/128")
      print(w:contains "2001:db8::1", w:contains "2001:db8:8000::", w:contains "2001:db8:7fff::", w:contains "32.1.13.184",
        moontap.net "0.0.0.0/0":contains "::", moontap.net "::/0":contains "0.0.0.0", moontap.net "::/0":contains "::")]]
    assert.same({ "true\ttrue\tfalse\tfalse\tfalse\tfalse\ttrue\ttrue\tfalse\tfalse",
      "true\tfalse\ttrue\tfalse\tfalse\tfalse\ttrue" }, lines(out))
  end)

  it("refuses what is no network, and names the one that is meant", function()
    for text, why in pairs {
      ["10.1.2.3/8"] = "bits are set behind the prefix: the network is 10.0.0.0/8, the address alone 10.1.2.3",
      ["2001:db8::1/32"] = "bits are set behind the prefix: the network is 2001:db8::/32, the address alone 2001:db8::1",
      ["10.0.0.0/33"] = "the prefix length of an IPv4 network is 0 to 32",
      ["10.0.0.0/4294967304"] = "the prefix length of an IPv4 network is 0 to 32",
      ["::/129"] = "the prefix length of an IPv6 network is 0 to 128",
      ["::/255.0.0.0"] = "expected a prefix length behind the slash",
      ["10.0.0.0/"] = "expected a prefix length behind the slash",
      ["10.0.0.0/-1"] = "expected a prefix length behind the slash",
      ["10.0.0.0/8/8"] = "expected a prefix length behind the slash",
      ["10.0.0.0/0.255.255.255"] = "0.255.255.255 is a wildcard mask: the netmask is 255.0.0.0",
      ["10.0.0.0/255.0.255.0"] = "the netmask 255.0.255.0 is not ones followed by zeros",
      ["10/8"] = "expected a network such as 10.0.0.0/8 or 2001:db8::/32, or an IP address",
      [""] = "expected a network such as 10.0.0.0/8 or 2001:db8::/32, or an IP address",
      [("1"):rep(64)] = "it is too long",
    } do
      local shown = #text > 63 and text:sub(1, 63) .. "…" or text
      assert.equal(("./s.lua:1: moontap.net: '%s': %s"):format(shown, why), refusal(("moontap.net %q"):format(text)))
    end
    assert.equal("./s.lua:1: moontap.net: expected a network, found nothing", refusal "moontap.net()")
    assert.equal("./s.lua:1: a network has no field 'bits': did you mean 'prefix_len'?", refusal "moontap.net('::/0').bits")
    assert.equal("./s.lua:1: net:contains(address): expected an address or a network, found a number",
      refusal "moontap.net('::/0'):contains(5)")
  end)

  it("reads and refuses what Python's ipaddress does", function()
    if not has_python then
      pending("python3 is not installed")
      return
    end
    local texts = {}
    math.randomseed(11)
    for i = 1, 400 do
      local octets = {}
      for k = 1, 4 do
        octets[k] = ({ 0, 0, 10, 128, 192, 255, 256 })[math.random(i % 10 == 0 and 7 or 6)]
      end
      texts[#texts + 1] = table.concat(octets, ".") .. "/" .. math.random(0, 33)
      local groups = {}
      for k = 1, math.random(1, 5) do
        groups[k] = ("%x"):format(({ 0, 0, 1, 0x8000, 0xff00, 0xffff, 0x10000 })[math.random(i % 10 == 0 and 7 or 6)])
      end
      texts[#texts + 1] = table.concat(groups, ":") .. (i % 9 == 0 and ":" or "::") .. "/" .. math.random(0, 129)
    end
    t.write("nets.txt", table.concat(texts, "\n") .. "\n")
    local judged = python [[
import ipaddress
for text in open("nets.txt").read().split():
    try:
        n = ipaddress.ip_network(text)
        print(n[0].packed.hex(), n[-1].packed.hex(), n.prefixlen, n.version)
    except ValueError:
        print("no")
]]
    local found = prints [[
      local function hex(a) return (a:key():gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
      for text in io.lines "nets.txt" do
        local ok, n = pcall(moontap.net, text)
        print(ok and ("%s %s %d %d"):format(hex(n.first), hex(n.last), n.prefix_len, n.version) or "no")
      end]]
    assert.same(lines(judged), lines(found))
    assert.is_true(select(2, found:gsub("no\n", "")) > 100 and select(2, found:gsub(" ", "")) > 300)
  end)
end)

-- --- sets ---------------------------------------------------------------------------------------

-- An address as the text of its bits, and back.
local function random_bits(n)
  local bits = {}
  for i = 1, n do
    bits[i] = math.random(0, 1)
  end
  return table.concat(bits)
end

local function text_of(bits)
  local parts = {}
  if #bits == 32 then
    for i = 1, 32, 8 do
      parts[#parts + 1] = tonumber(bits:sub(i, i + 7), 2)
    end
    return table.concat(parts, ".")
  end
  for i = 1, 128, 16 do
    parts[#parts + 1] = ("%x"):format(tonumber(bits:sub(i, i + 15), 2))
  end
  return table.concat(parts, ":")
end

-- The address after or before.
local function neighbour(bits, one, zero)
  local head, tail = bits:match("^(.*)" .. zero .. "(" .. one .. "*)$")
  return head and head .. one .. zero:rep(#tail) or bits
end

-- n prefixes that contain each other and lie side by side: most begin as one before does.
local function prefixes(n, width, shortest)
  local list = { width == 32 and "00001010" or "0010000000000001" }
  for i = 2, n do
    local mother = list[math.random(#list)]
    if i % 10 == 0 then
      mother = ""
    elseif i % 7 == 0 then
      mother = mother:sub(1, -2) .. (mother:sub(-1) == "0" and "1" or "0")
    end
    local room = width - #mother
    local more = i % 3 == 0 and math.random(0, room) or math.min(room, math.random(0, 6))
    list[i] = mother .. random_bits(math.max(more, shortest - #mother))
  end
  return list
end

-- Addresses in and around them.
local function addresses(list, width)
  local found = {}
  for _, p in ipairs(list) do
    local first, last = p .. ("0"):rep(width - #p), p .. ("1"):rep(width - #p)
    for _, bits in ipairs { first, last, neighbour(last, "1", "0"), neighbour(first, "0", "1"), p .. random_bits(width - #p) } do
      found[#found + 1] = bits
    end
  end
  for _ = 1, 500 do
    found[#found + 1] = random_bits(width)
  end
  return found
end

-- The prefixes as a table, and what a walk through all lengths finds in it.
local function walk(list)
  local there = {}
  for i, p in ipairs(list) do
    there[p] = i
  end
  return function(bits)
    for n = #bits, 0, -1 do
      local found = there[bits:sub(1, n)]
      if found then
        return found
      end
    end
    return nil
  end
end

describe("moontap.netset", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("is made of lists, of pairs, and of values of any kind", function()
    local out = prints [[
      local s = moontap.netset { "10.0.0.0/8", ["10.7.0.0/16"] = "lab", ["2001:db8::/32"] = 7, moontap.net "10.7.7.7",
        ["2001:db8::5"] = true, [moontap.net "10.9.0.0/16"] = "other", "::ffff:0:0/96" }
      print(#s, s)
      print(s:lookup "10.1.1.1", s:lookup "10.7.1.1", s:lookup "10.7.7.7", s:lookup "10.9.0.0", s:lookup "11.0.0.0")
      print(s:lookup "2001:db8::9", s:lookup "2001:db8::5", s:lookup "::", s:lookup(nil), s:lookup "::ffff:10.7.1.1")
      print(s:contains "10.1.1.1", s:contains "11.0.0.0", s:contains(nil), s:match "10.7.1.1", s:match "::", s:match(nil))
      for net, value in s:pairs() do print(net, value) end
      local empty = moontap.netset {}
      print(#empty, empty:lookup "1.2.3.4", empty:contains "::", empty:match "::", empty:pairs()())
      local all = moontap.netset { "0.0.0.0/0", "::/0", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::" }
      print(all:match "1.2.3.4", all:match "255.255.255.255", all:match "255.255.255.254", all:match "::", all:match "::1",
        all:match "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", all:match "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")]]
    assert.same({ "7\tmoontap.netset of 7 networks",
      "10.0.0.0/8\tlab\t10.7.7.7/32\tother\tnil",
      "7\ttrue\tnil\tnil\t::ffff:0.0.0.0/96",
      "true\tfalse\tfalse\t10.7.0.0/16\tnil\tnil",
      "10.0.0.0/8\t10.0.0.0/8", "10.7.0.0/16\tlab", "10.7.7.7/32\t10.7.7.7/32", "10.9.0.0/16\tother",
      "::ffff:0.0.0.0/96\t::ffff:0.0.0.0/96", "2001:db8::/32\t7", "2001:db8::5/128\ttrue",
      "0\tnil\tfalse\tnil\tnil",
      "0.0.0.0/0\t255.255.255.255/32\t0.0.0.0/0\t::/128\t::/0\tffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128\t::/0",
    }, lines(out))
  end)

  it("reads files as people and block lists write them; the last of equal networks counts", function()
    t.write("sites.txt", "\239\187\191# sites\n\n10.0.0.0/8 campus\n  10.7.0.0/16\tthe lab   # first floor\n"
      .. "192.0.2.0/24,\"Example, Inc.\"\r\n1.10.16.0/20 ; SBL256894\n; a comment\n\"2001:db8::/32\" , ACME #1\n"
      .. "203.0.113.7\n198.51.100.0/24 a\n198.51.100.0/24 b\n10.8.0.0/255.255.0.0 1")
    local out = prints [[
      for net, value in moontap.netset { file = "sites.txt" }:pairs() do print(net, value) end
      local s = moontap.netset { file = "sites.txt", "10.0.0.0/8", "198.51.100.0/24", ["198.51.100.0/24"] = "mine" }
      print(s:lookup "10.0.0.1", s:lookup "198.51.100.1", #s, type(s:lookup "10.8.0.1"))]]
    assert.same({ "1.10.16.0/20\tSBL256894", "10.0.0.0/8\tcampus", "10.7.0.0/16\tthe lab", "10.8.0.0/16\t1",
      "192.0.2.0/24\tExample, Inc.", "198.51.100.0/24\tb", "203.0.113.7/32\t203.0.113.7/32", "2001:db8::/32\tACME",
      "10.0.0.0/8\tmine\t8\tstring" }, lines(out))
  end)

  it("says in which line of the file the fault is", function()
    t.write("bad.txt", "# two good lines\n10.0.0.0/8\n\n10.1.2.3/16 x\n")
    assert.equal("./s.lua:1: moontap.netset: bad.txt:4: '10.1.2.3/16': bits are set behind the prefix: the network is "
      .. "10.1.0.0/16, the address alone 10.1.2.3", refusal "moontap.netset { file = 'bad.txt' }")
    t.write("bad.txt", "10.0.0.0/8 a\0b\n")
    assert.equal("./s.lua:1: moontap.netset: bad.txt:1: there is a NUL byte in the line",
      refusal "moontap.netset { file = 'bad.txt' }")
    t.write("bad.txt", "\27[31mred\n")
    assert.is_truthy(refusal("moontap.netset { file = 'bad.txt' }"):find("bad.txt:1: '?[31mred': expected a network", 1, true))
    assert.equal("./s.lua:1: moontap.netset: none.txt: No such file or directory", refusal "moontap.netset { file = 'none.txt' }")
    assert.equal("./s.lua:1: moontap.netset: .: Is a directory", refusal "moontap.netset { file = '.' }")
    assert.is_truthy(refusal("moontap.netset { fiel = 'x' }"):find("did you mean 'file'?", 1, true))
    assert.is_truthy(refusal("moontap.netset { [7] = '::' }"):find("found the number 7", 1, true))
    assert.is_truthy(refusal("moontap.netset { 5 }"):find("expected a network, found a number", 1, true))
    assert.is_truthy(refusal("moontap.netset 'x.txt'"):find("expected a table such as", 1, true))
    assert.is_truthy(refusal("moontap.netset {}.lokup"):find("did you mean 'lookup'?", 1, true))
    assert.is_truthy(refusal("moontap.netset {}:lookup(5)"):find("netset:lookup(address): expected an address, found a number", 1, true))
    assert.is_truthy(refusal("moontap.netset {}:match('x')"):find("netset:match(address): expected an address, found 'x'", 1, true))
  end)

  -- Each address with the number of the longest prefix in a list, 0 for none; the judge is walk().
  local function agrees(list, width)
    local text, queries, expected = {}, {}, {}
    for i, p in ipairs(list) do
      text[i] = ("%s/%d %d"):format(text_of(p .. ("0"):rep(width - #p)), #p, i)
    end
    local judge = walk(list)
    for i, bits in ipairs(addresses(list, width)) do
      queries[i] = text_of(bits)
      expected[i] = tostring(judge(bits) or 0)
    end
    t.write("list.txt", table.concat(text, "\n"))
    t.write("queries.txt", table.concat(queries, "\n") .. "\n")
    local found = lines(prints [[
      local s = moontap.netset { file = "list.txt" }
      for line in io.lines "queries.txt" do
        local a = moontap.address(line)
        local value, net = s:lookup(a), s:match(a)
        assert(s:contains(a) == (value ~= nil) and (net ~= nil) == (value ~= nil) and (not net or net:contains(a)))
        print(value or 0)
      end]])
    for i, value in ipairs(expected) do
      if found[i] ~= value then
        error(("%s: found %s, expected %s"):format(queries[i], tostring(found[i]), value))
      end
    end
    assert.equal(#expected, #found)
    return #expected
  end

  it("finds the longest match that a walk through all lengths finds", function()
    math.randomseed(7)
    for _, n in ipairs { 1, 2, 3, 17, 300, 6000 } do
      agrees(prefixes(n, 32, 0), 32)
      agrees(prefixes(n, 128, 0), 128)
      agrees(prefixes(n, 128, 64), 128) -- below the border of its halves
    end
  end)

  it("finds it among prefixes that are of no help to its tables", function()
    local list = {}
    for n = 0, 128 do -- one in the other
      list[#list + 1] = ("0"):rep(n)
      list[#list + 1] = ("1"):rep(n)
      list[#list + 1] = ("01"):rep(64):sub(1, n)
      list[#list + 1] = ("0"):rep(60) .. ("1"):rep(math.max(0, n - 60))
    end
    agrees(list, 128)
    math.randomseed(3)
    for k = 1, 1500 do -- crowds at distances that double
      local n = k % 32
      list[k] = ("0"):rep(n) .. "1" .. random_bits(math.random(0, 31 - n))
    end
    for k = #list, 1501, -1 do
      list[k] = nil
    end
    agrees(list, 32)
    for k = 1, 3000 do -- hosts side by side
      local bits = {}
      for b = 15, 0, -1 do
        bits[#bits + 1] = math.floor(k * 3 / 2 ^ b) % 2
      end
      list[k] = ("0"):rep(112) .. table.concat(bits)
    end
    agrees(list, 128)
  end)

  it("agrees with Python's ipaddress", function()
    if not has_python then
      pending("python3 is not installed")
      return
    end
    math.randomseed(5)
    local text, queries = {}, {}
    for _, width in ipairs { 32, 128 } do
      local list = prefixes(120, width, 0)
      for _, p in ipairs(list) do
        text[#text + 1] = ("%s/%d"):format(text_of(p .. ("0"):rep(width - #p)), #p)
      end
      for _, bits in ipairs(addresses(list, width)) do
        queries[#queries + 1] = text_of(bits)
      end
    end
    t.write("list.txt", table.concat(text, "\n") .. "\n")
    t.write("queries.txt", table.concat(queries, "\n") .. "\n")
    local judged = python [[
import ipaddress
nets = [ipaddress.ip_network(line.strip()) for line in open("list.txt")]
for line in open("queries.txt"):
    a = ipaddress.ip_address(line.strip())
    print(max((n for n in nets if n.version == a.version and a in n), key=lambda n: n.prefixlen, default="none"))
]]
    local found = prints [[
      local list = {}
      for line in io.lines "list.txt" do list[#list + 1] = line end
      local s = moontap.netset(list)
      for line in io.lines "queries.txt" do print(s:match(line) or "none") end]]
    -- Each writes the texts of IPv6 in its own way.
    judged, found = lines(judged), lines(found)
    local same = prints(([[
      local judged, found = {%s}, {%s}
      for i = 1, #judged do if not (judged[i] == found[i] or moontap.net(judged[i]) == moontap.net(found[i])) then print(judged[i], found[i]) end end]])
      :format("'" .. table.concat(judged, "','") .. "'", "'" .. table.concat(found, "','") .. "'"))
    assert.equal("", same)
    assert.equal(#judged, #found)
  end)

  it("takes bounded memory, and sets that nobody holds are let go of", function()
    local out = prints [[
      local n, parts, seed = 100000, {}, 1
      for i = 1, n do
        seed = seed * 16807 % 2147483647
        parts[i] = ("%d.%d.%d.0/24"):format(seed % 223 + 1, math.floor(seed / 256) % 256, math.floor(seed / 65536) % 256)
      end
      local file = io.open("many.txt", "w")
      file:write(table.concat(parts, "\n"))
      file:close()
      local all, most = 0, 0
      for _ = 1, 40 do
        local s = moontap.netset { file = "many.txt" }
        for i = 1, n, 1000 do assert(s:lookup(parts[i]:match "[^/]*") == parts[i]) end
        all, most = all + s:memory(), math.max(most, s:memory() / #s)
      end
      collectgarbage() collectgarbage()
      for line in io.lines "/proc/self/status" do
        local kb = line:match "VmHWM:%s+(%d+)"
        if kb then print(most, all / 2 ^ 20, kb / 1024) end
      end]]
    local most, all, peak = out:match("^(%S+)\t(%S+)\t(%S+)\n$")
    assert.is_true(tonumber(most) < 90, most .. " bytes a network")
    if not t.asan then
      assert.is_true(tonumber(all) > 150 and tonumber(peak) < tonumber(all) * 0.8,
        ("sets of %s MiB one after the other, at most %s MiB at a time"):format(all, peak))
    end
  end)
end)

-- --- in hooks -----------------------------------------------------------------------------------

local function udp6(src, dst)
  local function bytes(group)
    return (group:gsub("..", function(hex) return string.char(tonumber(hex, 16)) end))
  end
  return "\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd\x60\0\0\0\0\8\x11\x40" .. bytes(src) .. bytes(dst) .. "\0\1\0\2\0\8\0\0"
end

-- IPv4, IPv6 and ARP by turns.
local function make(n)
  local file = {}
  for i = 0, n - 1 do
    local data
    if i % 3 == 0 then
      data = c.udp { src = ("10.%d.7.%d"):format(i % 5, i % 250), dst = ("192.168.0.%d"):format(i % 9) }
    elseif i % 3 == 1 then
      data = udp6(("20010db8%024x"):format(i % 50), ("20010db9%024x"):format(i % 7))
    else
      data = "\255\255\255\255\255\255\2\0\0\0\0\1\8\6" .. ("\0"):rep(28)
    end
    file[i + 1] = { c.T0, i % 1000000, data }
  end
  return t.write("in.pcap", c.pcap(file))
end

-- What is asked of networks and addresses; then of a set.  Counters have names of their own, so that a miscount shows.
local NETS = [[
local home, wide, edge = moontap.net "10.0.0.0/14", moontap.net "2001:db8::/32", moontap.address "10.2.0.0"
local n = { home = 0, less = 0, most = 0, equal = 0, private = 0, global = 0, six = 0, text = 0, inner = 0 }
local function hook(p)
  local src = p.src
  if home:contains(src) or wide:contains(src) then n.home = n.home + 1 end
  if src then
    if src < edge then n.less = n.less + 1 end
    if src <= "2001:db8::7" then n.most = n.most + 1 end
    if src == "10.3.7.3" then n.equal = n.equal + 1 end
    if src.is_private then n.private = n.private + 1 end
    if src.is_global then n.global = n.global + 1 end
    if moontap.net(src, 24, 64).version == 6 then n.six = n.six + 1 end
    if moontap.net("10.4.0.0/16"):contains(src) then n.text = n.text + 1 end
    if src:mask(16, 64) == "10.1.0.0" then n.inner = n.inner + 1 end
  end
end
local function report()
  print(n.home, n.less, n.most, n.equal, n.private, n.global, n.six, n.text, n.inner)
end
]]

local SET = [[
local set = moontap.netset { "10.1.0.0/16", ["10.2.0.0/16"] = "two", ["2001:db8::/64"] = 6, ["2001:db8::7"] = "seven" }
local n = { two = 0, six = 0, seven = 0, own = 0 }
local function hook(p)
  local value = set:lookup(p.src)
  if value == "two" then n.two = n.two + 1
  elseif value == 6 then n.six = n.six + 1
  elseif value == "seven" then n.seven = n.seven + 1
  elseif value then n.own = n.own + 1 end
end
local function report() print(n.two, n.six, n.seven, n.own) end
]]

local MATCH = [[
local set = moontap.netset { "10.1.0.0/16", "10.2.0.0/16", "2001:db8::/64", "2001:db8::7" }
local n = { sixteen = 0, other = 0 }
local function hook(p)
  local net = set:match(p.src)
  if net then
    if net.prefix_len == 16 then n.sixteen = n.sixteen + 1 else n.other = n.other + 1 end
  end
end
local function report() print(n.sixteen, n.other) end
]]

local CONTAINS = [[
local set = moontap.netset { "10.1.0.0/16", "10.2.0.0/16", "2001:db8::/64" }
local n = 0
local function hook(p) if set:contains(p.src) or set:contains(p.dst) then n = n + 1 end end
local function report() print(n) end
]]

local SUBNETS = [[
local subnets = moontap.table { key = { { "net", "address" } }, value = { n = "count" } }
local function hook(p)
  local src = p.src
  if src then
    local s = subnets:get(src:mask(16, 64))
    s.n = s.n + 1
  end
end
local function report()
  for _, top in ipairs(subnets:top(9, "n")) do print(top.key.net, top.value.n) end
end
]]

local COUNTING = [[
local packets, before = 0, nil
return { on_start = function() collectgarbage() collectgarbage "stop" end,
  on_packet = function(p)
    packets = packets + 1
    if packets == 15001 then before = collectgarbage "count" end
    hook(p)
  end,
  on_stop = function() print(collectgarbage "count" - before) end }]]

describe("addresses in a hook", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("find what they should", function()
    make(3000)
    local expected = { [NETS] = "1800\t400\t1160\t4\t1000\t0\t1000\t200\t200\n", [SET] = "200\t980\t20\t200\n",
      [MATCH] = "400\t1000\n", [CONTAINS] = "1400\n",
      [SUBNETS] = "2001:db8::\t1000\n10.0.0.0\t200\n10.3.0.0\t200\n10.1.0.0\t200\n10.4.0.0\t200\n10.2.0.0\t200\n" }
    for text, counts in pairs(expected) do
      t.write("s.lua", text .. "return { on_packet = hook, on_stop = report }")
      assert.equal(counts, t.run("moontap -l ./s.lua in.pcap").out)
    end
  end)

  it("leave no garbage behind", function()
    make(45000)
    for _, text in ipairs { NETS, SET, MATCH, CONTAINS, SUBNETS } do
      t.write("s.lua", text .. COUNTING)
      local kib = math.huge
      for _ = 1, 5 do -- once in some runs LuaJIT begins to compile at a bad place
        kib = kib < 300 and kib or tonumber(t.run("moontap -l ./s.lua in.pcap").out)
      end
      assert.is_true(kib < 300, ("30,000 packets left %.0f KiB: %s"):format(kib, text)) -- an address each would be 780
    end
  end)

  it("leave some where they are kept", function() -- the spec before can fail
    make(45000)
    t.write("s.lua", "local kept = nil local function hook(p) kept = p.src or kept end\n" .. COUNTING)
    assert.is_true(tonumber(t.run("moontap -l ./s.lua in.pcap").out) > 300)
  end)
end)

-- --- times --------------------------------------------------------------------------------------

describe("times", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- Seconds around what is hard: changes of summer time, 1970, before standard time, the ends of int64.
  local SECONDS = { -9223372036, -3000000000, -2524521600, -1700000000, -86401, -86400, -1, 0, 1, 86399, 951782400, 1667091599,
    1667091600, 1667095199, 1667095200, 1679792399, 1679792400, 1699167600, 1699171199, 1699171200, 1700000000, 2147483647,
    2147483648, 4102444800, 7258118400, 9223372036 }
  local ZONES = { "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Sao_Paulo", "Australia/Lord_Howe",
    "Pacific/Apia", "EST5EDT,M3.2.0,M11.1.0", "<+0330>-3:30" }

  it("are those of date(1), in UTC and in local time", function()
    for _, zone in ipairs(ZONES) do
      local stamps, calls = {}, {}
      for i, s in ipairs(SECONDS) do
        stamps[i] = ("@%d"):format(s)
        local ns = s < 0 and ("-%dLL * 1000000000LL"):format(-s) or ("%dLL * 1000000000LL"):format(s)
        calls[i] = ("print(f.time(%s), f.time(%s, 'local'), f.rfc3339(%s), f.rfc3339(%s, 'local'))"):format(ns, ns, ns, ns)
      end
      t.write("stamps", table.concat(stamps, "\n") .. "\n")
      local utc = lines(t.run("TZ=UTC date -f stamps '+%Y-%m-%d %H:%M:%S.%N UTC'").out)
      local place = lines(t.run(("TZ='%s' date -f stamps '+%%Y-%%m-%%d %%H:%%M:%%S.%%N %%Z'"):format(zone)).out)
      local iso = lines(t.run(("TZ='%s' date -f stamps '+%%Y-%%m-%%dT%%H:%%M:%%S.%%N%%:z %%::z'"):format(zone)).out)
      local found = lines(prints("local f = moontap.format\n" .. table.concat(calls, "\n"), { TZ = zone }))
      for i in ipairs(SECONDS) do
        local a, b, d, e = found[i]:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$")
        assert.equal(utc[i], a)
        assert.equal(place[i], b)
        assert.equal(utc[i]:gsub(" ", "T", 1):gsub(" UTC", "Z"), d)
        local stamp, seconds = iso[i]:match("^(%S+) %S+:(%d%d)$")
        if seconds == "00" then -- else the offset is rounded, see below
          assert.equal(stamp, e)
        end
      end
    end
  end)

  it("as RFC 3339 name the same moment when the offset had seconds", function()
    local out = prints([[print(moontap.format.rfc3339(-3000000000LL * 1000000000LL, "local"))]], { TZ = "Europe/Berlin" })
    assert.equal("1874-12-07T19:33:00.000000000+00:53\n", out)
    assert.equal("-3000000000\n", t.run("date -d '1874-12-07T19:33:00+00:53' +%s").out)
  end)

  it("are exact to the last nanosecond, whatever their form", function()
    local out = prints [[
      local f = moontap.format.time
      print(f(-9223372036854775807LL - 1)) print(f(9223372036854775807LL)) print(f(-1LL)) print(f(999999999LL))
      print(f(1.5)) print(f(-1e-6)) print(f(1700000000.9999999))
      print(f "1700000000.000000001") print(f "-0.000000001") print(f "-5.000000000") print(f(5ULL))]]
    assert.same({ "1677-09-21 00:12:43.145224192 UTC", "2262-04-11 23:47:16.854775807 UTC", "1969-12-31 23:59:59.999999999 UTC",
      "1970-01-01 00:00:00.999999999 UTC", "1970-01-01 00:00:01.500000 UTC", "1969-12-31 23:59:59.999999 UTC",
      "2023-11-14 22:13:21.000000 UTC", "2023-11-14 22:13:20.000000001 UTC", "1969-12-31 23:59:59.999999999 UTC", "1969-12-31 23:59:55.000000000 UTC",
      "1970-01-01 00:00:00.000000005 UTC" }, lines(out))
    for _, bad in ipairs { "0/0", "1/0", "1e300", "nil", "'x'", "{}", "'99999999999999.0'", "1.7e18" } do
      assert.is_truthy(refusal("moontap.format.time(" .. bad .. ")"):find("expected a time", 1, true), bad)
    end
    assert.is_truthy(refusal("moontap.format.time(0, 'CET')"):find([[expected the zone "utc" or "local", found 'CET']], 1, true))
  end)

  it("are seconds as numbers, like all that scripts get", function()
    t.write("in.pcap", c.pcap { { c.T0, 250000, c.udp {} } })
    t.write("s.lua", [[local f = moontap.format.time
      return { interval = 10, on_packet = function(p) print(f(p.ts)) end, on_interval = function(now) print(f(now)) end }]])
    assert.equal(("2023-11-14 22:13:20.250000 UTC\n"):rep(2), t.run("moontap -l ./s.lua in.pcap").out)
  end)

  it("of packets: p:time(), p:time \"local\"", function()
    t.write("in.pcap", c.pcap { nano = true, { c.T0, 123456789, c.udp {} } })
    t.write("s.lua", [[return { on_packet = function(p) print(p:time(), p:time "local", p:copy():time "utc") end }]])
    local r = t.run("moontap -l ./s.lua in.pcap", 0, { env = { TZ = "America/New_York" } })
    assert.equal("2023-11-14 22:13:20.123456789 UTC\t2023-11-14 17:13:20.123456789 EST\t2023-11-14 22:13:20.123456789 UTC\n", r.out)
  end)
end)
