-- SPDX-License-Identifier: BSD-2-Clause
-- What tshark and moontap say about the headers of each packet, in the same words: the judge of decode_spec.
--
-- A packet is a list of layers: an outer packet and those inside of its tunnels, outermost first.  A layer is a
-- table of packet fields as strings; a field that is not there is absent.

local M = {}

-- --- tshark ------------------------------------------------------------------------------

-- Our field, and what tshark calls it under each protocol of frame.protocols.
local FIELDS = {
  eth = { eth_src = "eth.src", eth_dst = "eth.dst" },
  vlan = { vlan = "vlan.id", vlan_priority = "vlan.priority" },
  ieee8021ad = { vlan = "ieee8021ad.id", vlan_priority = "ieee8021ad.priority" },
  mpls = { mpls_label = "mpls.label" },
  arp = { arp_op = "arp.opcode", arp_src = "arp.src.proto_ipv4", arp_dst = "arp.dst.proto_ipv4",
    arp_src_mac = "arp.src.hw_mac", arp_dst_mac = "arp.dst.hw_mac" },
  ip = { src = "ip.src", dst = "ip.dst", proto = "ip.proto", ttl = "ip.ttl", ip_id = "ip.id", ip_len = "ip.len",
    dscp = "ip.dsfield.dscp", ecn = "ip.dsfield.ecn", dont_fragment = "ip.flags.df", more_fragments = "ip.flags.mf",
    fragment_offset = "ip.frag_offset" },
  ipv6 = { src = "ipv6.src", dst = "ipv6.dst", proto = "ipv6.nxt", ttl = "ipv6.hlim", ip_len = "ipv6.plen", dscp = "ipv6.tclass.dscp",
    ecn = "ipv6.tclass.ecn", flow_label = "ipv6.flow" },
  ["ipv6.hopopts"] = { proto = "ipv6.hopopts.nxt" },
  ["ipv6.dstopts"] = { proto = "ipv6.dstopts.nxt" },
  ["ipv6.routing"] = { proto = "ipv6.routing.nxt" },
  ah = { proto = "ah.next_header" },
  ["ipv6.fraghdr"] = { proto = "ipv6.fraghdr.nxt", ip_id = "ipv6.fraghdr.ident", fragment_offset = "ipv6.fraghdr.offset",
    more_fragments = "ipv6.fraghdr.more" },
  tcp = { sport = "tcp.srcport", dport = "tcp.dstport", tcp_flags = "tcp.flags", tcp_seq = "tcp.seq_raw",
    tcp_ack = "tcp.ack_raw", tcp_window = "tcp.window_size_value", tcp_header_len = "tcp.hdr_len", payload_len = "tcp.len" },
  udp = { sport = "udp.srcport", dport = "udp.dstport", payload_len = "udp.length" },
  sctp = { sport = "sctp.srcport", dport = "sctp.dstport" },
  dccp = { sport = "dccp.srcport", dport = "dccp.dstport" },
  icmp = { icmp_type = "icmp.type", icmp_code = "icmp.code", icmp_id = "icmp.ident", icmp_seq = "icmp.seq" },
  icmpv6 = { icmp_type = "icmpv6.type", icmp_code = "icmpv6.code", icmp_id = "icmpv6.echo.identifier",
    icmp_seq = "icmpv6.echo.sequence_number" },
}

local TRANSPORT = { tcp = "6", udp = "17", sctp = "132", dccp = "33", icmp = "1", icmpv6 = "58" }

local function set(words)
  local names = {}
  for name in words:gmatch "%S+" do
    names[name] = true
  end
  return names
end

-- Behind these a packet of its own begins.
local TUNNELS = set "gre erspan vxlan geneve gtp teredo l2tp lisp-data etherip nsh pwethheuristic pwethcw pwethnocw ieee8021ah"
local EXTENSIONS = set "ipv6.hopopts ipv6.dstopts ipv6.routing ipv6.fraghdr ah"

local columns, place = {}, {}
for _, fields in pairs(FIELDS) do
  for _, field in pairs(fields) do
    columns[#columns + 1] = field
  end
end
table.sort(columns)
table.insert(columns, 1, "frame.protocols")
for i, field in ipairs(columns) do
  place[field] = i
end

-- The command that makes tshark write all of this about a file.
function M.tshark(path)
  return "tshark -n -r " .. path .. " -o ip.defragment:FALSE -o ipv6.defragment:FALSE -o tcp.desegment_tcp_streams:FALSE"
    .. " -o gtp.dissect_tpdu_as:TPDU -T fields -E separator=/t -E occurrence=a -E aggregator=, -e " .. table.concat(columns, " -e ")
end

-- A value of theirs in our words.
local function plain(theirs, text)
  if text:match "^0x%x+$" then
    text = tostring(tonumber(text))
  elseif text == "True" or text == "False" then
    text = text == "True" and "1" or "0"
  end
  if theirs == "ip.frag_offset" or theirs == "ipv6.fraghdr.offset" then
    return tostring(tonumber(text) * 8)
  elseif theirs == "tcp.flags" then
    return tostring(tonumber(text) % 256)
  elseif theirs == "ipv6.plen" then
    return text == "0" and "0" or tostring(tonumber(text) + 40)
  elseif theirs == "udp.length" then
    return tostring(math.max(0, tonumber(text) - 8))
  end
  return text
end

-- Add the next occurrence of each field of this protocol to the layer.
local function take(layer, protocol, values, used)
  used[protocol] = (used[protocol] or 0) + 1
  for ours, theirs in pairs(FIELDS[protocol]) do
    local value = values[theirs] and values[theirs][used[protocol]]
    if value then
      layer[ours] = plain(theirs, value)
    end
  end
end

local function take_vlan(layer, protocol, values, used)
  if not layer.vlan then
    take(layer, protocol, values, used)
  else
    local second = {}
    take(second, protocol, values, used)
    layer.vlan_inner = layer.vlan_inner or second.vlan
  end
end

local function take_mpls(layer, values, used)
  local label = layer.mpls_label
  take(layer, "mpls", values, used)
  layer.mpls_label = label or layer.mpls_label
end

local function is_ip(protocol)
  return protocol == "ip" or protocol == "ipv6"
end

-- Does a packet of its own begin with this protocol?
local function begins(layer, protocol, before)
  return layer.tunnel or (is_ip(protocol) and layer.family and (not layer.transport or before == "udp"))
end

-- Add a protocol to the last layer or begin a new one.  False: what follows is no header of ours.
local function add(layers, protocol, before, values, used)
  local layer = layers[#layers]
  if TUNNELS[protocol] then
    layer.tunnel = true
    return true
  elseif begins(layer, protocol, before) then
    layer = {}
    layers[#layers + 1] = layer
  end
  if protocol == "vlan" or protocol == "ieee8021ad" then
    take_vlan(layer, protocol, values, used)
  elseif protocol == "mpls" then
    take_mpls(layer, values, used)
  elseif is_ip(protocol) and not layer.family then
    layer.family = protocol
    take(layer, protocol, values, used)
  elseif (protocol == "eth" or protocol == "arp") and not layer.family then
    take(layer, protocol, values, used)
    layer.is_arp = protocol == "arp" and "1" or nil
  elseif EXTENSIONS[protocol] then
    if layer.family == "ipv6" then
      take(layer, protocol, values, used)
    end
  elseif TRANSPORT[protocol] and layer.family and not layer.transport then
    layer.transport = protocol
    take(layer, protocol, values, used)
    return not protocol:find "^icmp" -- what follows is what the message quotes
  else
    return not layer.family
  end
  return true
end

-- What follows from the others.
local function derive(layer)
  layer.ip_version = layer.family and (layer.family == "ip" and "4" or "6")
  layer.is_fragment = (layer.more_fragments == "1" or (layer.fragment_offset or "0") ~= "0") and "1" or nil
  if layer.is_fragment == nil and layer.family == "ipv6" then
    layer.ip_id = nil -- of an atomic fragment
  end
  layer.has_ports = layer.sport and "1"
  layer.has_vlan = layer.vlan and "1"
  layer.has_mpls = layer.mpls_label and "1"
end

-- The layers of a line of tshark.
function M.of_tshark(line)
  local cells = {}
  for cell in (line .. "\t"):gmatch "([^\t]*)\t" do
    cells[#cells + 1] = cell
  end
  local values, used = {}, {}
  for field, at in pairs(place) do
    if cells[at] and cells[at] ~= "" then
      values[field] = {}
      for value in cells[at]:gmatch "[^,]+" do
        table.insert(values[field], value)
      end
    end
  end
  local layers, before = { {}, protocols = cells[1] }, nil
  for protocol in cells[1]:gmatch "[^:]+" do
    if not add(layers, protocol, before, values, used) then
      break
    end
    before = protocol
  end
  if #layers > 1 and not next(layers[#layers]) then
    layers[#layers] = nil -- a tunnel that carries a message of its own
  end
  local whole = true
  for _, layer in ipairs(layers) do
    derive(layer)
    whole = whole and not layer.is_fragment
    if not whole or (layer.transport ~= "tcp" and layer.transport ~= "udp") then
      layer.payload_len = nil
    end
  end
  return layers
end

-- --- moontap -----------------------------------------------------------------------------

local NAMES = { "ip_version", "src", "dst", "proto", "ttl", "ip_id", "ip_len", "dscp", "ecn", "flow_label", "dont_fragment",
  "more_fragments", "fragment_offset", "is_fragment", "sport", "dport", "has_ports", "tcp_flags", "tcp_seq", "tcp_ack", "tcp_window",
  "tcp_header_len", "payload_len", "payload_offset", "icmp_type", "icmp_code", "icmp_id", "icmp_seq", "eth_src", "eth_dst",
  "has_vlan", "vlan", "vlan_inner", "vlan_priority", "has_mpls", "mpls_label", "is_arp", "arp_op", "arp_src", "arp_dst", "arp_src_mac",
  "arp_dst_mac", "l4_offset", "tunnel", "caplen", "wirelen" }

-- A script that writes a line a packet: the fields of p, then those of p:inner().
M.script = ([[
local names = { "%s" }
local function add(line, p)
  for i = 1, #names do line[#line + 1] = tostring(p[names[i] ]) end
end
return { on_packet = function(p)
  local line = {}
  add(line, p)
  add(line, p:inner())
  io.write(table.concat(line, "\t"), "\n")
end }]]):format(table.concat(NAMES, '", "'))

-- Outer and inner packet of a line of that script.
function M.of_moontap(line)
  local outer, inner, i = {}, {}, 0
  for cell in (line .. "\t"):gmatch "([^\t]*)\t" do
    i = i + 1
    local value = cell == "true" and "1" or cell == "false" and "0" or cell
    if i <= #NAMES then
      outer[NAMES[i]] = value
    else
      inner[NAMES[i - #NAMES]] = value
    end
  end
  return outer, inner
end

-- --- the comparison ----------------------------------------------------------------------

local ABSENT = { ["0"] = true, ["nil"] = true, [""] = true }
local NOT_COMPARED = set "payload_offset l4_offset tunnel caplen wirelen"

local function differs(theirs, ours, name)
  if NOT_COMPARED[name] or (name == "payload_len" and (not theirs.payload_len or ours.caplen ~= ours.wirelen)) then
    return false
  end
  local a, b = theirs[name] or "0", ours[name]
  return a ~= b and not (ABSENT[a] and ABSENT[b])
end

-- Call found(name, theirs, ours) for each field in which they differ.
function M.compare(theirs, ours, found)
  for _, name in ipairs(NAMES) do
    if differs(theirs, ours, name) then
      found(name, theirs[name] or "nothing", ours[name])
    end
  end
end

return M
