-- SPDX-License-Identifier: BSD-2-Clause
-- moontap.cryptopan, judged by published vectors and by AES of another library.
local t = require("support.moontap")

local KEY = "21,34,23,141,51,164,207,128,19,10,91,22,73,144,125,16,216,152,143,131,121,121,101,39,98,87,76,45,42,132,34,2"
local judge = os.getenv("PWD") .. "/spec/support/cryptopan"

-- Lines that a script prints at its start.
local function script(text)
  t.write("s.lua", ("local pan = moontap.cryptopan { key = string.char(%s) }\n"):format(KEY) .. text)
  local lines = {}
  for line in t.run("moontap -q -l ./s.lua -c 1 f/web.pcap").out:gmatch("[^\n]+") do
    lines[#lines + 1] = line
  end
  return lines
end

describe("moontap.cryptopan", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("gives what was published with the algorithm", function()
    local vectors = { { "128.11.68.132", "135.242.180.132" }, { "129.118.74.4", "134.136.186.123" },
      { "130.132.252.244", "133.68.164.234" }, { "141.223.7.43", "141.167.8.160" }, { "141.233.145.108", "141.129.237.235" },
      { "152.163.225.39", "151.140.114.167" }, { "156.29.3.236", "147.225.12.42" }, { "165.247.96.84", "162.9.99.234" },
      { "166.107.77.190", "160.132.178.185" }, { "192.102.249.13", "252.138.62.131" } }
    local asked, want = {}, {}
    for i, v in ipairs(vectors) do
      asked[i], want[i] = ("%q"):format(v[1]), v[2]
    end
    assert.same(want, script(("for _, a in ipairs { %s } do print(pan(moontap.address(a))) end return {}"):format(table.concat(asked, ", "))))
  end)

  it("agrees with AES of OpenSSL, for both IP versions", function()
    if t.sh("command -v openssl").code ~= 0 then
      return pending("openssl is not here")
    end
    t.write("judge.key", (KEY:gsub("(%d+),?", function(n) return string.char(tonumber(n)) end)))
    t.write("asked", "10.0.0.1\n10.0.0.2\n0.0.0.0\n255.255.255.255\n192.0.2.77\n2001:db8::1\n2001:db8::2\nfe80::1234\n::\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n")
    local theirs = {}
    for line in t.run(judge .. " judge.key <asked").out:gmatch("[^\n]+") do
      theirs[#theirs + 1] = line
    end
    assert.same(theirs, script("for a in io.lines('asked') do print(pan(moontap.address(a))) end return {}"))
  end)

  it("keeps prefixes, is one to one, and the cache changes nothing", function()
    local lines = script([[
      local seen, inputs, n = {}, {}, 0
      for i = 1, 200000 do
        local text = ("10.%d.%d.%d"):format(i % 3, math.floor(i / 3) % 256, math.floor(i / 768) % 256)
        local out = tostring(pan(moontap.address(text)))
        if not inputs[text] then n = n + 1 assert(not seen[out], out) end
        assert(not inputs[text] or inputs[text] == out)
        inputs[text], seen[out] = out, true
      end
      local a, b, c = tostring(pan(moontap.address "10.1.2.3")), tostring(pan(moontap.address "10.1.2.200")), tostring(pan(moontap.address "10.1.99.3"))
      print(n, a:match "^%d+%.%d+%.%d+%." == b:match "^%d+%.%d+%.%d+%.", a:match "^%d+%.%d+%." == c:match "^%d+%.%d+%.")
      print(pan(nil))
      return {}]])
    assert.same({ "196608\ttrue\ttrue", "nil" }, lines)
  end)

  it("reads a key file that only its owner can read, and refuses others", function()
    t.write("s.lua", "local pan = moontap.cryptopan { key_file = 'key' } print(pan(moontap.address '1.2.3.4')) return {}")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "key: No such file")
    t.run("head -c 32 /dev/zero >key; chmod 644 key")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "others may read or write it (mode 644)", "chmod 600")
    t.run("chmod 600 key && moontap -q -c 1 -l ./s.lua f/web.pcap")
    t.run("head -c 31 /dev/zero >key")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "expected 32 bytes, found 31")
    t.run("head -c 33 /dev/zero >key")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "expected 32 bytes, found 33")
    t.write("s.lua", "moontap.cryptopan { key = 'short' }")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "a string of 32 bytes, found one of 5", "s.lua:1:")
    t.write("s.lua", "moontap.cryptopan {}")
    t.refuses("moontap -l ./s.lua f/web.pcap", 1, "expected one of key and key_file")
  end)
end)
