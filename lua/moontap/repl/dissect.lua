-- SPDX-License-Identifier: BSD-2-Clause
--- A packet taken apart for the eye: its headers as layers, each with fields, their places and values.
--
-- Where the headers are is what the decoder says (struct mt_decoded), so what is shown is what `p.src` and the like
-- give; a field that scripts can ask for has the name that they use. Only captured bytes are looked at.
--
--   layer: { name =, offset =, len =, fields = { { offset =, len =, name =, text = }, … }, note = }
-- @module moontap.repl.dissect

local bit = require "bit"
local C = require "moontap.abi"
local address = require "moontap.address"
local format = require "moontap.format"
local mac = require "moontap.mac"

local M = {}

local band, rshift = bit.band, bit.rshift
local NO_OFFSET = C.MT_NO_OFFSET

-- Those that format.ethertype has no name for.
local ETHERTYPES = { [0x8100] = "802.1Q", [0x88a8] = "802.1ad", [0x9100] = "802.1Q", [0x88e5] = "MACsec",
  [0x88e7] = "802.1ah", [0x88f7] = "PTP", [0x6558] = "Ethernet", [0x894f] = "NSH", [0x9000] = "loopback" }

local ICMP4 = { [0] = "echo reply", [3] = "destination unreachable", [4] = "source quench", [5] = "redirect",
  [8] = "echo request", [9] = "router advertisement", [10] = "router solicitation", [11] = "time exceeded",
  [12] = "parameter problem", [13] = "timestamp", [14] = "timestamp reply" }
local ICMP6 = { [1] = "destination unreachable", [2] = "packet too big", [3] = "time exceeded",
  [4] = "parameter problem", [128] = "echo request", [129] = "echo reply", [130] = "listener query",
  [131] = "listener report", [132] = "listener done", [133] = "router solicitation", [134] = "router advertisement",
  [135] = "neighbor solicitation", [136] = "neighbor advertisement", [137] = "redirect", [143] = "listener report v2" }

local EXTENSIONS = { [0] = "hop-by-hop options", [43] = "routing header", [44] = "fragment header",
  [51] = "authentication header", [60] = "destination options", [135] = "mobility header", [139] = "HIP",
  [140] = "Shim6" }

local TCP_OPTIONS = { [2] = "MSS", [3] = "window scale", [4] = "SACK permitted", [5] = "SACK", [8] = "timestamps",
  [19] = "MD5", [28] = "user timeout", [29] = "TCP-AO", [30] = "MPTCP", [34] = "fast open" }

local FLAGS = { "FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR" }

-- --- reading ------------------------------------------------------------------------------

-- A layer that fields are added to; what was not captured is left out.
local Layer = {}
Layer.__index = Layer

local function layer_of(p, name, offset, len)
  return setmetatable({ p = p, name = name, offset = offset, len = len, fields = {}, caplen = p.caplen }, Layer)
end

-- A field of len bytes at a place in the layer.  value: text, or a function that makes it of the offset in the frame.
function Layer:add(at, len, name, value)
  local offset = self.offset + at
  if offset + len > self.caplen then
    self.cut = true
    return
  end
  if type(value) == "function" then
    value = value(offset)
  end
  self.fields[#self.fields + 1] = { offset = offset, len = len, name = name, text = tostring(value) }
end

-- A number of 1, 2 or 4 bytes.
function Layer:number(at, len, name, make)
  self:add(at, len, name, function(offset)
    local p = self.p
    local value = len == 1 and p:u8(offset) or len == 2 and p:u16(offset) or p:u32(offset)
    return make and make(value) or ("%.0f"):format(value)
  end)
end

local function hex(value, name)
  return ("0x%04x%s"):format(value, name and " " .. name or "")
end

local function ethertype(value)
  if value <= 1500 then
    return value .. " bytes (802.3 length)"
  end
  local name = ETHERTYPES[value] or format.ethertype(value)
  return hex(value, not name:find "^0x" and name or nil)
end

local function protocol(value)
  local name = EXTENSIONS[value] or format.protocol(value)
  return name:find "^proto " and tostring(value) or ("%d %s"):format(value, name)
end

local function mac_at(p)
  return function(offset)
    return tostring(mac.from_bytes(p._packet[0].data + offset))
  end
end

local function address_at(p, len)
  return function(offset)
    return tostring(address.from_bytes(p._packet[0].data + offset, len))
  end
end

-- Sum of 16-bit words as in RFC 1071, from offset; nil if not all was captured.
local function ones_sum(p, offset, len, sum)
  if offset + len > p.caplen then
    return nil
  end
  for at = offset, offset + len - 2, 2 do
    sum = sum + p:u16(at)
  end
  if len % 2 == 1 then
    sum = sum + p:u8(offset + len - 1) * 256
  end
  while sum > 0xffff do
    sum = sum % 0x10000 + math.floor(sum / 0x10000)
  end
  return sum
end

local function judged(value, sum)
  if not sum then
    return hex(value)
  end
  return hex(value, sum == 0xffff and "(right)" or "(wrong)")
end

-- --- link layer -----------------------------------------------------------------------------

local function vlan_tag(value)
  return ("%d, priority %d%s"):format(band(value, 0xfff), rshift(value, 13), band(value, 0x1000) ~= 0 and ", DEI" or "")
end

-- Tags and labels from the place of an Ethernet type that has been shown, up to where the network header is.
local function between(p, layers, at, kind, stop)
  local count = 0
  while at + 4 <= p.caplen and (kind == 0x8100 or kind == 0x88a8 or kind == 0x9100) do
    local layer = layer_of(p, "VLAN tag", at, 4)
    count = count + 1
    layer:number(0, 2, count == 1 and "vlan" or count == 2 and "vlan_inner" or "tag", vlan_tag)
    layer:number(2, 2, "ethertype", ethertype)
    layers[#layers + 1] = layer
    kind = p:u16(at + 2)
    at = at + 4
  end
  if kind == 0x8864 and at + 8 <= p.caplen then
    local layer = layer_of(p, "PPPoE", at, 8)
    layer:number(2, 2, "session", function(v) return v end)
    layer:number(4, 2, "length")
    layer:number(6, 2, "PPP protocol", hex)
    layers[#layers + 1] = layer
    at = at + 8
  end
  local bottom = kind ~= 0x8847 and kind ~= 0x8848
  while not bottom and at + 4 <= p.caplen and at < stop do
    local layer = layer_of(p, "MPLS label", at, 4)
    layer:number(0, 4, "mpls_label", function(v)
      return ("%d, class %d%s, TTL %d"):format(math.floor(v / 4096), math.floor(v / 512) % 8,
        math.floor(v / 256) % 2 == 1 and ", bottom of stack" or "", v % 256)
    end)
    layers[#layers + 1] = layer
    bottom = math.floor(p:u32(at) / 256) % 2 == 1
    at = at + 4
  end
  return at
end

local function ethernet(p, layers, at, stop)
  local layer = layer_of(p, "Ethernet", at, 14)
  layer:add(0, 6, "eth_dst", mac_at(p))
  layer:add(6, 6, "eth_src", mac_at(p))
  layer:number(12, 2, "ethertype", ethertype)
  layers[#layers + 1] = layer
  local kind = p:u16(at + 12)
  return kind and between(p, layers, at + 14, kind, stop) or p.caplen
end

local SLL_TYPES = { [0] = "to us", "broadcast", "multicast", "to another host", "sent by us" }

local function sll(p, layers, stop)
  local layer = layer_of(p, "Linux cooked capture", 0, 16)
  layer:number(0, 2, "packet type", function(v) return SLL_TYPES[v] or v end)
  layer:number(2, 2, "ARPHRD type")
  layer:number(4, 2, "address length")
  if p:u16(4) == 6 then
    layer:add(6, 6, "address", mac_at(p))
  end
  layer:number(14, 2, "ethertype", ethertype)
  layers[#layers + 1] = layer
  return between(p, layers, 16, p:u16(14) or 0, stop)
end

local function sll2(p, layers, stop)
  local layer = layer_of(p, "Linux cooked capture v2", 0, 20)
  layer:number(0, 2, "ethertype", ethertype)
  layer:number(4, 4, "interface index")
  layer:number(8, 2, "ARPHRD type")
  layer:number(10, 1, "packet type", function(v) return SLL_TYPES[v] or v end)
  layer:number(11, 1, "address length")
  if p:u8(11) == 6 then
    layer:add(12, 6, "address", mac_at(p))
  end
  layers[#layers + 1] = layer
  return between(p, layers, 20, p:u16(0) or 0, stop)
end

-- Bytes that nothing is known of.
local function unnamed(p, layers, name, from, to)
  if to > from then
    layers[#layers + 1] = layer_of(p, name, from, to - from)
  end
end

local function link(p, layers, stop)
  local at
  if p.linktype == 1 then
    at = ethernet(p, layers, 0, stop)
  elseif p.linktype == 113 and p.caplen >= 16 then
    at = sll(p, layers, stop)
  elseif p.linktype == 276 and p.caplen >= 20 then
    at = sll2(p, layers, stop)
  else
    at = 0
  end
  unnamed(p, layers, at == 0 and ("link layer (LINKTYPE %d)"):format(p.linktype) or "more headers", at, stop)
end

-- --- network layer --------------------------------------------------------------------------

local function arp(p, layers, at)
  local hw, proto = p:u8(at + 4) or 6, p:u8(at + 5) or 4
  local layer = layer_of(p, "ARP", at, 8 + 2 * (hw + proto))
  layer:number(0, 2, "hardware type")
  layer:number(2, 2, "protocol type", ethertype)
  layer:number(6, 2, "arp_op", function(v) return v == 1 and "1 request" or v == 2 and "2 reply" or v end)
  if hw == 6 and proto == 4 then
    layer:add(8, 6, "arp_src_mac", mac_at(p))
    layer:add(14, 4, "arp_src", address_at(p, 4))
    layer:add(18, 6, "arp_dst_mac", mac_at(p))
    layer:add(24, 4, "arp_dst", address_at(p, 4))
  end
  layers[#layers + 1] = layer
  return at + layer.len
end

local function ipv4(p, layers, at)
  local len = band(p:u8(at) or 0x45, 15) * 4
  local layer = layer_of(p, "IPv4", at, len)
  layer:number(0, 1, "ip_version", function(v) return ("%d, header of %d bytes"):format(rshift(v, 4), len) end)
  layer:number(1, 1, "dscp", function(v) return ("%d, ecn %d"):format(rshift(v, 2), band(v, 3)) end)
  layer:number(2, 2, "ip_len")
  layer:number(4, 2, "ip_id", hex)
  layer:number(6, 2, "fragment_offset", function(v)
    return ("%d%s%s"):format(band(v, 0x1fff) * 8, band(v, 0x4000) ~= 0 and ", dont_fragment" or "",
      band(v, 0x2000) ~= 0 and ", more_fragments" or "")
  end)
  layer:number(8, 1, "ttl")
  layer:number(9, 1, "proto", protocol)
  layer:number(10, 2, "checksum", function(v) return judged(v, len >= 20 and ones_sum(p, at, len, 0) or nil) end)
  layer:add(12, 4, "src", address_at(p, 4))
  layer:add(16, 4, "dst", address_at(p, 4))
  if len > 20 then
    layer:add(20, len - 20, "options", (len - 20) .. " bytes")
  end
  layers[#layers + 1] = layer
  return at + len
end

local function extension_headers(p, layers, at, kind, stop)
  while EXTENSIONS[kind] and at + 8 <= p.caplen and at < stop do
    local len = kind == 44 and 8 or kind == 51 and (p:u8(at + 1) + 2) * 4 or (p:u8(at + 1) + 1) * 8
    local layer = layer_of(p, EXTENSIONS[kind], at, len)
    layer:number(0, 1, "next header", protocol)
    if kind == 44 then
      layer:number(2, 2, "fragment_offset", function(v)
        return ("%d%s"):format(v - v % 8, v % 2 == 1 and ", more_fragments" or "")
      end)
      layer:number(4, 4, "ip_id")
    end
    layers[#layers + 1] = layer
    local next_kind = p:u8(at)
    if kind == 44 and band(p:u16(at + 2), 0xfff8) ~= 0 then
      return at + len
    end
    kind, at = next_kind, at + len
  end
  return at
end

local function ipv6(p, layers, at, stop)
  local layer = layer_of(p, "IPv6", at, 40)
  layer:number(0, 4, "flow_label", function(v)
    local class = math.floor(v / 2 ^ 20) % 256
    return ("%d, ip_version %d, dscp %d, ecn %d"):format(v % 2 ^ 20, math.floor(v / 2 ^ 28), math.floor(class / 4),
      class % 4)
  end)
  layer:number(4, 2, "payload length")
  layer:number(6, 1, "next header", protocol)
  layer:number(7, 1, "ttl")
  layer:add(8, 16, "src", address_at(p, 16))
  layer:add(24, 16, "dst", address_at(p, 16))
  layers[#layers + 1] = layer
  return extension_headers(p, layers, at + 40, p:u8(at + 6) or 59, stop)
end

-- --- transport ------------------------------------------------------------------------------

-- Where the IP packet ends in what was captured.
local function ip_end(p)
  local len = p.ip_len
  local stop = p.l3_offset + len
  return len > 0 and stop < p.caplen and stop or p.caplen
end

-- The sum over transport header and payload with the pseudo header; nil if not all was captured.
local function transport_sum(p, at)
  if p.is_fragment or p.ip_len == 0 then
    return nil
  end
  local stop = p.l3_offset + p.ip_len
  local len = stop - at
  local size = p.ip_version == 6 and 16 or 4
  local from = p.l3_offset + (size == 16 and 8 or 12)
  local sum = ones_sum(p, from, 2 * size, 0)
  if not sum or len < 0 or stop > p.caplen then
    return nil
  end
  return ones_sum(p, at, len, sum + len + p.proto)
end

-- A checksum over the pseudo header; 0 means none in UDP.  A sum that only misses what the network card adds is
-- common in captures of the sending host.
local function transport_checksum(p, at)
  return function(value)
    if p.proto == 17 and value == 0 then
      return "0x0000 (none)"
    end
    return judged(value, transport_sum(p, at))
  end
end

local function flag_names(value)
  local names = {}
  for i, name in ipairs(FLAGS) do
    if band(rshift(value, i - 1), 1) == 1 then
      names[#names + 1] = name
    end
  end
  return ("%d %s"):format(value, #names > 0 and table.concat(names, " ") or "none")
end

local function tcp_option(p, layer, at, kind, len)
  local name = TCP_OPTIONS[kind] or "option " .. kind
  local place = at - layer.offset
  if kind == 2 and len == 4 then
    layer:add(place, len, name, p:u16(at + 2) or "")
  elseif kind == 3 and len == 3 then
    layer:add(place, len, name, p:u8(at + 2) or "")
  elseif kind == 8 and len == 10 and at + 10 <= p.caplen then
    layer:add(place, len, name, ("%.0f, echo %.0f"):format(p:u32(at + 2), p:u32(at + 6)))
  elseif kind == 5 and at + len <= p.caplen then
    local edges = {}
    for i = at + 2, at + len - 8, 8 do
      edges[#edges + 1] = ("%.0f-%.0f"):format(p:u32(i), p:u32(i + 4))
    end
    layer:add(place, len, name, table.concat(edges, " "))
  else
    layer:add(place, len, name, len > 2 and (len - 2) .. " bytes" or "")
  end
end

local function tcp(p, layers, at)
  local len = math.max(p.tcp_header_len, 20)
  local layer = layer_of(p, "TCP", at, len)
  layer:number(0, 2, "sport")
  layer:number(2, 2, "dport")
  layer:number(4, 4, "tcp_seq")
  layer:number(8, 4, "tcp_ack")
  layer:number(12, 1, "tcp_header_len", function(v) return rshift(v, 4) * 4 end)
  layer:number(13, 1, "tcp_flags", flag_names)
  layer:number(14, 2, "tcp_window")
  layer:number(16, 2, "checksum", transport_checksum(p, at))
  layer:number(18, 2, "urgent pointer")
  local o, stop = at + 20, at + len
  while o < stop do
    local kind = p:u8(o)
    if not kind or kind == 0 then
      break
    end
    local size = kind == 1 and 1 or p:u8(o + 1)
    if not size or size < 1 or (kind ~= 1 and size < 2) or o + size > stop then
      break
    end
    if kind ~= 1 then
      tcp_option(p, layer, o, kind, size)
    end
    o = o + size
  end
  layers[#layers + 1] = layer
end

local function udp(p, layers, at)
  local layer = layer_of(p, p.proto == 136 and "UDP-Lite" or "UDP", at, 8)
  layer:number(0, 2, "sport")
  layer:number(2, 2, "dport")
  layer:number(4, 2, p.proto == 136 and "coverage" or "length")
  layer:number(6, 2, "checksum", p.proto == 17 and transport_checksum(p, at) or hex)
  layers[#layers + 1] = layer
end

local function icmp(p, layers, at)
  local v6 = p.ip_version == 6
  local layer = layer_of(p, v6 and "ICMPv6" or "ICMP", at, 8)
  local names = v6 and ICMP6 or ICMP4
  layer:number(0, 1, "icmp_type", function(v) return ("%d%s"):format(v, names[v] and " " .. names[v] or "") end)
  layer:number(1, 1, "icmp_code")
  layer:number(2, 2, "checksum", function(v)
    if v6 then
      return judged(v, transport_sum(p, at))
    end
    local len = p.l3_offset + p.ip_len - at
    return judged(v, p.ip_len > 0 and len >= 8 and not p.is_fragment and ones_sum(p, at, len, 0) or nil)
  end)
  local kind = p.icmp_type
  if (v6 and (kind == 128 or kind == 129)) or (not v6 and (kind == 8 or kind == 0 or (kind >= 13 and kind <= 18))) then
    layer:number(4, 2, "icmp_id")
    layer:number(6, 2, "icmp_seq")
  elseif v6 and (kind == 135 or kind == 136) then
    layer:add(8, 16, "target", address_at(p, 16))
    layer.len = 24
  end
  layers[#layers + 1] = layer
end

local function sctp(p, layers, at)
  local layer = layer_of(p, p.proto == 33 and "DCCP" or "SCTP", at, 12)
  layer:number(0, 2, "sport")
  layer:number(2, 2, "dport")
  if p.is_sctp then
    layer:number(4, 4, "verification tag", function(v) return ("0x%08x"):format(v) end)
    layer:number(8, 4, "checksum", function(v) return ("0x%08x"):format(v) end)
  end
  layers[#layers + 1] = layer
end

-- --- what they carry ------------------------------------------------------------------------

local function dns_lines(d)
  local lines = {}
  local function say(...)
    lines[#lines + 1] = { ... }
  end
  say("id", ("0x%04x"):format(d.id))
  say(d.is_response and "response" or "query", d.is_response and ("%s, %d answers"):format(d.rcode_name, d.ancount)
    or d.opcode_name)
  if d.name then
    say("name", d.name)
    say("qtype_name", d.qtype_name)
  end
  local n = 0
  for _, record in d:answers() do
    n = n + 1
    if n > 20 then
      break
    end
    say("answer", ("%s %s %s, TTL %d"):format(record.name, record.type_name, record.text, record.ttl))
  end
  if d.malformed then
    say("malformed", "true")
  end
  return lines
end

local function tls_lines(t)
  local lines = { { "hello", t.is_server_hello and "server" or "client" }, { "version_name", t.version_name or "?" } }
  if t.sni then
    lines[#lines + 1] = { "sni", t.sni }
  end
  if t.alpn then
    lines[#lines + 1] = { "alpn", t.alpn }
  end
  return lines
end

-- What a layer says that has no bytes of its own.
local function with_lines(p, name, offset, len, lines)
  local layer = layer_of(p, name, offset, len)
  for _, line in ipairs(lines) do
    layer.fields[#layer.fields + 1] = { name = line[1], text = tostring(line[2]) }
  end
  return layer
end

local function payload(p, layers, from, to)
  if to <= from then
    return
  end
  local d = p.has_ports and p:dns()
  if d then
    layers[#layers + 1] = with_lines(p, "DNS", from, to - from, dns_lines(d))
    return
  end
  local t = p.has_ports and p:tls()
  if t then
    layers[#layers + 1] = with_lines(p, "TLS", from, to - from, tls_lines(t))
    return
  end
  layers[#layers + 1] = layer_of(p, "payload", from, to - from)
end

local function transport(p, layers, at)
  local proto = p.proto
  if p.is_tcp then
    tcp(p, layers, at)
  elseif p.is_udp or proto == 136 then
    udp(p, layers, at)
  elseif p.is_icmp then
    icmp(p, layers, at)
  elseif p.is_sctp or proto == 33 then
    sctp(p, layers, at)
  else
    return at
  end
  local last = layers[#layers]
  return p.payload_offset > 0 and p.payload_offset or last.offset + last.len
end

-- --- the whole ------------------------------------------------------------------------------

local function decoded(p)
  return p._decoded[0]
end

-- The headers from where the decoder has found the network header on; where the payload begins.
local function network(p, layers)
  local d = decoded(p)
  local at, stop = d.l3_offset, d.l4_offset ~= NO_OFFSET and d.l4_offset or p.caplen
  if p.is_arp then
    return arp(p, layers, at), p.caplen
  elseif not p.is_ip then
    return at, p.caplen
  end
  local behind = p.ip_version == 4 and ipv4(p, layers, at) or p.ip_version == 6 and ipv6(p, layers, at, stop) or at
  if d.l4_offset ~= NO_OFFSET then
    behind = transport(p, layers, d.l4_offset)
  end
  return behind, ip_end(p)
end

--- The layers of a packet, from the outside to the inside.
-- @param p packet
-- @treturn {layer,...}
function M.layers(p)
  local layers, d = {}, decoded(p)
  local l3 = d.l3_offset ~= NO_OFFSET and d.l3_offset or p.caplen
  link(p, layers, math.min(l3, p.caplen))
  if l3 >= p.caplen then
    return layers
  end
  local from, to = network(p, layers)
  local padding = to
  local tunnel, inner = p.tunnel, nil
  if tunnel then
    inner = p:inner()
    local di = decoded(inner)
    local first = di.l2_offset ~= NO_OFFSET and di.l2_offset > from and di.l2_offset or di.l3_offset
    if first ~= NO_OFFSET and first >= from then
      local name = ("tunnel %s"):format(tunnel)
      local layer = layer_of(p, name, from, first - from)
      layer.fields[1] = p.tunnel_id ~= 0 and { name = "tunnel_id", text = tostring(p.tunnel_id) } or nil
      layers[#layers + 1] = layer
      if first == di.l2_offset then
        ethernet(inner, layers, first, di.l3_offset)
      end
      from, to = network(inner, layers)
    else
      inner = nil
    end
  end
  payload(inner or p, layers, from, math.min(to, padding))
  unnamed(p, layers, "padding", math.max(padding, from), p.caplen)
  return layers
end

return M
