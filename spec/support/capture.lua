-- SPDX-License-Identifier: BSD-2-Clause
-- Builds capture files byte by byte: packets, pcap, pcapng and ERF in either byte order.
-- make-fixtures.lua and the specs use it for what no recorder would write.

local M = {}

M.T0 = 1700000000 -- 2023-11-14T22:13:20Z, where the hand-made traces begin
M.ETHERNET, M.RAW = 1, 101

-- An unsigned number as `bytes` bytes; order is "le" or "be".
function M.uint(n, bytes, order)
  local t = {}
  for i = 1, bytes do
    t[order == "be" and bytes + 1 - i or i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(t)
end

local function be(n, bytes)
  return M.uint(n, bytes, "be")
end

local function ipv4_address(text)
  return (text:gsub("(%d+)%.?", function(n) return string.char(tonumber(n)) end))
end

local function checksum(bytes)
  local sum = 0
  for i = 1, #bytes, 2 do
    sum = sum + bytes:byte(i) * 256 + (bytes:byte(i + 1) or 0)
  end
  while sum > 0xffff do
    sum = sum % 0x10000 + math.floor(sum / 0x10000)
  end
  return 0xffff - sum
end

-- An IPv4 UDP packet; fields src, dst, sport, dport, payload all have defaults.
function M.ip_udp(f)
  local payload = f.payload or ""
  local head = "\x45\0" .. be(28 + #payload, 2) .. be(f.id or 0, 2) .. "\0\0\x40\x11"
  local addresses = ipv4_address(f.src or "10.0.0.1") .. ipv4_address(f.dst or "10.0.0.2")
  return head .. be(checksum(head .. addresses), 2) .. addresses
    .. be(f.sport or 1000, 2) .. be(f.dport or 2000, 2) .. be(8 + #payload, 2) .. "\0\0" .. payload
end

-- The same in an Ethernet frame, with the VLAN tags of f.vlans ({100} or {300, 200}).
function M.udp(f)
  local tags = {}
  for i, vlan in ipairs(f.vlans or {}) do
    tags[i] = (i < #f.vlans and "\x88\xa8" or "\x81\0") .. be(vlan, 2)
  end
  return "\2\0\0\0\0\2\2\0\0\0\0\1" .. table.concat(tags) .. "\8\0" .. M.ip_udp(f)
end

-- --- pcap ------------------------------------------------------------------------------

-- f.order "le"/"be", f.nano, f.modified (the 1990s' patched libpcap), f.linktype, f.snaplen
function M.pcap_header(f)
  local o = f.order or "le"
  local magic = f.modified and 0xa1b2cd34 or f.nano and 0xa1b23c4d or 0xa1b2c3d4
  return M.uint(magic, 4, o) .. M.uint(2, 2, o) .. M.uint(4, 2, o) .. M.uint(0, 8, o)
    .. M.uint(f.snaplen or 262144, 4, o) .. M.uint(f.linktype or M.ETHERNET, 4, o)
end

-- packet: {sec, frac, data [, len =, caplen =]}; frac counts µs, or ns with f.nano
function M.pcap_record(f, packet)
  local o, data = f.order or "le", packet[3]
  local extra = f.modified and M.uint(3, 4, o) .. M.uint(8, 2, o) .. "\0\0" or ""
  return M.uint(packet[1], 4, o) .. M.uint(packet[2], 4, o) .. M.uint(packet.caplen or #data, 4, o)
    .. M.uint(packet.len or #data, 4, o) .. extra .. data
end

function M.pcap(f)
  local t = { M.pcap_header(f) }
  for _, packet in ipairs(f) do
    t[#t + 1] = M.pcap_record(f, packet)
  end
  return table.concat(t)
end

-- --- pcapng ----------------------------------------------------------------------------

local function padded(data)
  return data .. ("\0"):rep(-#data % 4)
end

function M.block(o, kind, body)
  local len = M.uint(12 + #padded(body), 4, o)
  return M.uint(kind, 4, o) .. len .. padded(body) .. len
end

-- options: a list of {code, bytes}
function M.options(o, options)
  local t = {}
  for i, option in ipairs(options or {}) do
    t[i] = M.uint(option[1], 2, o) .. M.uint(#option[2], 2, o) .. padded(option[2])
  end
  if #t == 0 then
    return ""
  end
  return table.concat(t) .. "\0\0\0\0"
end

function M.section(o, options)
  return M.block(o, 0x0a0d0d0a, M.uint(0x1a2b3c4d, 4, o) .. M.uint(1, 2, o) .. M.uint(0, 2, o)
    .. ("\xff"):rep(8) .. M.options(o, options))
end

-- f: linktype, snaplen, and the options name, description, tsresol (the byte), tsoffset (seconds)
function M.interface(o, f)
  local options = {}
  if f.name then options[#options + 1] = { 2, f.name } end
  if f.description then options[#options + 1] = { 3, f.description } end
  if f.tsresol then options[#options + 1] = { 9, string.char(f.tsresol) } end
  if f.tsoffset then options[#options + 1] = { 14, M.uint(f.tsoffset, 8, o) } end
  return M.block(o, 1, M.uint(f.linktype or M.ETHERNET, 2, o) .. "\0\0" .. M.uint(f.snaplen or 0, 4, o)
    .. M.options(o, options))
end

-- units: the time in units of the interface's resolution, below 2^53
local function split(units, o)
  return M.uint(math.floor(units / 2 ^ 32), 4, o) .. M.uint(units % 2 ^ 32, 4, o)
end

function M.enhanced(o, interface, units, data, options, len)
  return M.block(o, 6, M.uint(interface, 4, o) .. split(units, o) .. M.uint(#data, 4, o)
    .. M.uint(len or #data, 4, o) .. padded(data) .. M.options(o, options))
end

function M.simple(o, data, len)
  return M.block(o, 3, M.uint(len or #data, 4, o) .. data)
end

-- The obsolete Packet Block.
function M.old_packet(o, interface, units, data)
  return M.block(o, 2, M.uint(interface, 2, o) .. M.uint(0xffff, 2, o) .. split(units, o)
    .. M.uint(#data, 4, o) .. M.uint(#data, 4, o) .. padded(data))
end

-- Interface Statistics with if_recv (option 4) and if_drop (option 5).
function M.statistics(o, interface, units, received, dropped)
  return M.block(o, 5, M.uint(interface, 4, o) .. split(units, o)
    .. M.options(o, { { 4, M.uint(received, 8, o) }, { 5, M.uint(dropped, 8, o) } }))
end

-- The blocks of a pcapng file in their order: {{type, body}, …}; raises where lengths do not fit.
function M.blocks(bytes)
  local function u32(at)
    local a, b, d, e = bytes:byte(at, at + 3)
    return a + b * 2 ^ 8 + d * 2 ^ 16 + e * 2 ^ 24
  end
  local blocks, at = {}, 1
  while at <= #bytes do
    local len = u32(at + 4)
    assert(len >= 12 and len % 4 == 0 and at + len - 1 <= #bytes and u32(at + len - 4) == len,
      ("block at %d: length %d does not fit"):format(at - 1, len))
    blocks[#blocks + 1] = { u32(at), bytes:sub(at + 8, at + len - 5) }
    at = at + len
  end
  return blocks
end

-- Options as a table code -> value of the first option of that code; at: where they begin in body.
function M.options_of(body, at)
  local options = {}
  while at + 3 <= #body do
    local a, b, d, e = body:byte(at, at + 3)
    local code, len = a + b * 256, d + e * 256
    if code == 0 then
      break
    end
    options[code] = options[code] or body:sub(at + 4, at + 3 + len)
    at = at + 4 + len + -len % 4
  end
  return options
end

-- --- ERF -------------------------------------------------------------------------------

-- An Ethernet record (type 2): port 0 to 3, time in seconds and a 32-bit binary fraction;
-- the wire length counts the 4 bytes of the frame check sequence.
function M.erf(port, sec, fraction, data, wirelen)
  return M.uint(fraction, 4, "le") .. M.uint(sec, 4, "le") .. "\2" .. string.char(port + 4)
    .. be(18 + #data, 2) .. be(0, 2) .. be((wirelen or #data) + 4, 2) .. "\0\0" .. data
end

-- --- files -----------------------------------------------------------------------------

function M.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  assert(file:close())
  return path
end

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

return M
