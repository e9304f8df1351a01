-- SPDX-License-Identifier: BSD-2-Clause
-- Makes the small traces of spec/fixtures/made that no recorder would write.
--   luajit make-fixtures.lua all DIR                 write them all
--   luajit make-fixtures.lua outer-tag VID IN OUT    put an 802.1ad tag around each frame of a µs pcap

local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local c = require("support.capture")

local files = {}

-- Four packets; the second is cut by a snap length of 50.
local function four(unit)
  local t = {}
  for i = 1, 4 do
    local data = c.udp { sport = 1000 + i, dport = 53, id = i, payload = "packet " .. i .. (" "):rep(i) }
    t[i] = { c.T0 + math.floor(i / 3), i * unit, i == 2 and data:sub(1, 50) or data, len = #data }
  end
  return t
end

local function pcap(f, packets)
  for i, packet in ipairs(packets) do
    f[i] = packet
  end
  return c.pcap(f)
end

for _, order in ipairs { "le", "be" } do
  files["us-" .. order .. ".pcap"] = pcap({ order = order }, four(111111))
  files["ns-" .. order .. ".pcap"] = pcap({ order = order, nano = true }, four(111111111))
  files["modified-" .. order .. ".pcap"] = pcap({ order = order, modified = true }, four(111111))
end

-- A section with every kind of packet block, three resolutions, an offset, a block nobody
-- knows, and statistics.
local function section(o)
  local function frame(i) return c.udp { sport = 2000 + i, dport = 443, id = i, payload = "block " .. i } end
  return table.concat {
    c.section(o, { { 1, "made by hand" } }),
    c.interface(o, { name = "micro", description = "microseconds by default", snaplen = 1500 }),
    c.interface(o, { name = "binary", tsresol = 0x80 + 10 }),
    c.interface(o, { name = "shifted", tsresol = 3, tsoffset = c.T0 }),
    c.enhanced(o, 0, c.T0 * 1e6 + 1, frame(1), { { 1, "a comment" }, { 2, c.uint(1, 4, o) } }),
    c.enhanced(o, 1, c.T0 * 1024 + 512, frame(2), { { 2, c.uint(2, 4, o) } }),
    c.block(o, 0x00000bad, "nobody knows this block"),
    c.enhanced(o, 2, 750, frame(3), nil, 1400),
    c.old_packet(o, 0, c.T0 * 1e6 + 800000, frame(4)),
    c.statistics(o, 0, c.T0 * 1e6 + 900000, 17, 5),
  }
end
files["ng-le.pcapng"] = section("le")
files["ng-be.pcapng"] = section("be")

-- Both orders in one file; the second section numbers its interfaces anew.
files["ng-sections.pcapng"] = section("le") .. c.section("be") .. c.interface("be", { name = "again", tsresol = 6 })
  .. c.enhanced("be", 0, (c.T0 + 1) * 1e6, c.udp { payload = "second section" })
files["ng-simple.pcapng"] = c.section("le") .. c.interface("le", { name = "s", snaplen = 60 })
  .. c.simple("le", c.udp { payload = "simple" }) .. c.simple("le", c.udp { payload = ("s"):rep(100) }:sub(1, 60), 142)
files["ng-two-linktypes.pcapng"] = c.section("le") .. c.interface("le", { name = "ether" })
  .. c.interface("le", { name = "raw", linktype = c.RAW })
  .. c.enhanced("le", 0, c.T0 * 1e6, c.udp { payload = "framed" })
  .. c.enhanced("le", 1, c.T0 * 1e6 + 1, c.ip_udp { payload = "bare" })
files["ng-truncated.pcapng"] = section("le"):sub(1, -70)

-- Broken framing after three good packets.
local good = files["us-le.pcap"]
local three = pcap({}, { unpack(four(111111), 1, 3) })
files["truncated-header.pcap"] = good:sub(1, #three + 7)
files["truncated-body.pcap"] = good:sub(1, -2)
files["oversize.pcap"] = three .. c.pcap_record({}, { c.T0 + 2, 0, "x", caplen = 700000, len = 700000 })
files["short-file-header.pcap"] = good:sub(1, 23)
files["no-packets.pcap"] = good:sub(1, 24)
files["empty.pcap"] = ""
files["not-a-capture.pcap"] = "This is a text, not a capture.\n"

-- Order: times that run backwards, and two files with the same times.
local backwards, equal = {}, { a = {}, b = {} }
for i = 1, 10 do
  backwards[i] = { c.T0 + 10 - i, 0, c.udp { id = i, payload = "backwards " .. i } }
  for name, t in pairs(equal) do
    t[i] = { c.T0 + math.floor(i / 4), 0, c.udp { id = i, payload = name .. i } }
  end
end
files["backwards.pcap"] = c.pcap(backwards)
files["equal-a.pcap"] = c.pcap(equal.a)
files["equal-b.pcap"] = c.pcap(equal.b)

local raw = { linktype = c.RAW }
for i = 1, 4 do
  raw[i] = { c.T0, i, c.ip_udp { id = i, payload = "raw " .. i } }
end
files["raw-ip.pcap"] = c.pcap(raw)

-- Two ports of a card; the third record was cut to 40 bytes when captured.
files["ports.erf"] = c.erf(0, c.T0, 0, c.udp { payload = "port zero" })
  .. c.erf(1, c.T0, 2 ^ 31, c.udp { payload = "port one" })
  .. c.erf(0, c.T0 + 1, 2 ^ 30, c.udp { payload = "cut short" }:sub(1, 40), 51)

local commands = {}

function commands.all(dir)
  assert(os.execute("rm -rf '" .. dir .. "' && mkdir -p '" .. dir .. "'") == 0)
  for name, bytes in pairs(files) do
    c.write(dir .. "/" .. name, bytes)
  end
end

commands["outer-tag"] = function(vid, input, output)
  local bytes = c.read(input)
  assert(bytes:sub(1, 4) == "\xd4\xc3\xb2\xa1", input .. ": not a little-endian microsecond pcap")
  local function u32(at)
    local a, b, d, e = bytes:byte(at, at + 3)
    return a + b * 2 ^ 8 + d * 2 ^ 16 + e * 2 ^ 24
  end
  local t, at = { bytes:sub(1, 24) }, 25
  while at < #bytes do
    local caplen, len = u32(at + 8), u32(at + 12)
    local frame = bytes:sub(at + 16, at + 15 + caplen)
    frame = frame:sub(1, 12) .. "\x88\xa8" .. c.uint(tonumber(vid), 2, "be") .. frame:sub(13)
    t[#t + 1] = bytes:sub(at, at + 7) .. c.uint(caplen + 4, 4, "le") .. c.uint(len + 4, 4, "le") .. frame
    at = at + 16 + caplen
  end
  c.write(output, table.concat(t))
end

local command = commands[arg[1]] or error("usage: make-fixtures.lua all DIR | outer-tag VID IN OUT")
command(unpack(arg, 2))
