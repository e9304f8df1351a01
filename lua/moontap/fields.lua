-- SPDX-License-Identifier: BSD-2-Clause
--- Every field of a packet: name, meaning and how it is read.
--
-- The one place where a field is defined.  packet.lua compiles the getters from it, and whatever
-- documents or completes field names reads it too.  Each entry has
--
--   name    as in `p.name`
--   type    integer, number, int64, boolean, string, address or mac
--   text    what it is; begins in lower case, ends without a full stop
--   unit    of numbers that have one
--   absent  the value when there is none: "0", "nil", "false", '""', or "never absent"
--   needs   which bytes must have been captured for it, if it is not the field's own bytes alone
--   body    Lua text of the getter: `q` is the packet, after DECODE `d` is what is known of it
-- @module moontap.fields

local DECODE = [[
      if state.batch.decoded == 0 then C.mt_batch_decode(state.batch) end
      local d = h._decoded
]]

local NETWORK = DECODE .. [[
      if d.ip_version == 0 or d.src_offset == 0xffff then return 0 end
      local b = q.data + d.l3_offset
]]

-- The first `bytes` bytes of a transport header, if it is of the kind of bit: behind these lines b is the
-- header.  With a payload all of the header was captured.
local function transport(bit, bytes)
  return DECODE .. ([[
      if band(d.bits, %d) == 0 or d.l4_offset == 0xffff
        or (d.payload_offset == 0xffff and captured(q, d) < %d) then return 0 end
      local b = q.data + d.l4_offset
]]):format(bit, bytes)
end

-- ARP up to the end of what is wanted; absent: what to return else.
local function arp(bytes, absent)
  return DECODE .. ([[
      local o = d.l3_offset
      if d.ethertype ~= 0x0806 or o == 0xffff or o + 8 > q.caplen then return %s end
      local b = q.data + o
      local hw, len = b[4], b[5]
      if o + %s > q.caplen then return %s end
]]):format(absent, bytes, absent)
end

local function echo(at)
  return transport(4, 8) .. ([[
      local kind = b[0]
      if d.ip_version == 4 then
        if kind ~= 8 and kind ~= 0 and (kind < 13 or kind > 18) then return 0 end
      elseif kind ~= 128 and kind ~= 129 then return 0 end
      return b[%d] * 256 + b[%d] ]]):format(at, at + 1)
end

local U16 = "return b[%d] * 256 + b[%d]"
local U32 = "return ((b[%d] * 256 + b[%d]) * 256 + b[%d]) * 256 + b[%d]"

local function u16(at)
  return U16:format(at, at + 1)
end

local function u32(at)
  return U32:format(at, at + 1, at + 2, at + 3)
end

local IP_HEADER = "the IP header without options or extension headers (20 or 40 bytes)"

local M = {
  -- --- the record ---
  { name = "ts", type = "number", unit = "seconds since 1970-01-01 UTC", absent = "never absent",
    text = "time of the packet; a double, so exact only to some 200 ns",
    body = "return tonumber(q.ts_ns) / 1e9" },
  { name = "ts_ns", type = "int64", unit = "nanoseconds since 1970-01-01 UTC", absent = "never absent",
    text = "exact time of the packet, a 64-bit integer",
    body = "return q.ts_ns" },
  { name = "t", type = "number", unit = "nanoseconds", absent = "never absent",
    text = "time since the first packet of the run, an exact number",
    body = "return tonumber(q.ts_ns - state.first_ns)" },
  { name = "number", type = "integer", absent = "never absent",
    text = "number of the packet in the run, from 1",
    body = [[
      local i = h._decoded - state.batch.decode -- inner packets lie behind
      if i < 0 or i > 2047 then i = state.index end
      return state.before + band(i, 1023) + 1]] },
  { name = "caplen", type = "integer", unit = "bytes", absent = "never absent",
    text = "captured length, from the link-layer header on",
    body = "return q.caplen" },
  { name = "wirelen", type = "integer", unit = "bytes", absent = "never absent",
    text = "length on the wire, without frame check sequence",
    body = "return q.wirelen" },
  { name = "linktype", type = "integer", absent = "never absent",
    text = "LINKTYPE_ value of the frame, as in a pcap file: 1 is Ethernet",
    body = "return q.linktype" },
  { name = "source", type = "string", absent = "never absent",
    text = "name of the source it came from: a file or an interface",
    body = "return M.source_names[q.iface] or (M.learn(q.iface, M.source_names))" },
  { name = "interface", type = "string", absent = "never absent",
    text = "name of the capture interface; its number as text when it has no name",
    body = "return M.interface_names[q.iface] or (M.learn(q.iface, M.interface_names))" },
  { name = "interface_id", type = "integer", absent = "never absent",
    text = "number of the interface in its source, from 0",
    body = "return M.interface_numbers[q.iface] or (M.learn(q.iface, M.interface_numbers))" },
  { name = "direction", type = "string", absent = "nil",
    text = '"in" or "out", where the capture says so',
    body = "local v = q.direction if v == 1 then return 'in' elseif v == 2 then return 'out' end return nil" },

  -- --- link layer ---
  { name = "eth_src", type = "mac", absent = "nil",
    text = "Ethernet source address; compares with text and prints",
    body = DECODE .. [[
      local o = d.l2_offset
      if o == 0xffff or o + 12 > q.caplen then return nil end
      return (mac(q.data + o + 6))]] },
  { name = "eth_dst", type = "mac", absent = "nil",
    text = "Ethernet destination address; compares with text and prints",
    body = DECODE .. [[
      local o = d.l2_offset
      if o == 0xffff or o + 6 > q.caplen then return nil end
      return (mac(q.data + o))]] },
  { name = "eth_src_key", type = "string", absent = '""',
    text = "the 6 bytes of eth_src as a string, for use as key of a Lua table; moontap.key_text prints it",
    body = DECODE .. [[
      local o = d.l2_offset
      if o == 0xffff or o + 12 > q.caplen then return "" end
      return (ffi_string(q.data + o + 6, 6))]] },
  { name = "eth_dst_key", type = "string", absent = '""',
    text = "the 6 bytes of eth_dst as a string, for use as key of a Lua table; moontap.key_text prints it",
    body = DECODE .. [[
      local o = d.l2_offset
      if o == 0xffff or o + 6 > q.caplen then return "" end
      return (ffi_string(q.data + o, 6))]] },
  { name = "ethertype", type = "integer", absent = "0",
    text = "Ethernet type after all VLAN tags and LLC/SNAP: 0x0800 is IPv4; 0 too when a length stands there",
    body = DECODE .. "return d.ethertype" },
  { name = "has_vlan", type = "boolean", absent = "false",
    text = "there is a VLAN tag (802.1Q or 802.1ad)",
    body = DECODE .. "return band(d.bits, 32) ~= 0" },
  { name = "vlan", type = "integer", absent = "0",
    text = "VLAN id of the outermost tag, 0 to 4095; 0 too for a tag that only has a priority: see has_vlan",
    body = DECODE .. "return d.vlan" },
  { name = "vlan_inner", type = "integer", absent = "0",
    text = "VLAN id of the second tag (Q-in-Q)",
    body = DECODE .. [[
      local o = d.tag_offset
      if band(d.bits, 32) == 0 or o + 6 > q.caplen then return 0 end
      local b = q.data + o
      local kind = b[2] * 256 + b[3]
      if kind ~= 0x8100 and kind ~= 0x88a8 and kind ~= 0x9100 then return 0 end
      return band(b[4] * 256 + b[5], 0xfff)]] },
  { name = "vlan_priority", type = "integer", absent = "0",
    text = "priority (PCP) of the outermost VLAN tag, 0 to 7",
    body = DECODE .. [[
      local o = d.tag_offset
      if band(d.bits, 32) == 0 or o >= q.caplen then return 0 end
      return rshift(q.data[o], 5)]] },
  { name = "has_mpls", type = "boolean", absent = "false", needs = "the first label",
    text = "there is an MPLS label",
    body = DECODE .. "return band(d.bits, 64) ~= 0" },
  { name = "mpls_label", type = "integer", absent = "0",
    text = "the outermost MPLS label, 0 to 1048575; 0 is a label too: see has_mpls",
    body = DECODE .. [[
      if band(d.bits, 64) == 0 then return 0 end
      return (C.mt_mpls_label(q, d))]] },

  -- --- ARP ---
  { name = "is_arp", type = "boolean", absent = "false", needs = "the Ethernet type",
    text = "the frame is ARP",
    body = DECODE .. "return d.ethertype == 0x0806" },
  { name = "arp_op", type = "integer", absent = "0",
    text = "ARP operation: 1 request, 2 reply",
    body = arp("8", "0") .. u16(6) },
  { name = "arp_src", type = "address", absent = "nil",
    text = "ARP sender's IPv4 address",
    body = arp("8 + hw + len", "nil") .. [[
      if len ~= 4 or b[2] ~= 8 or b[3] ~= 0 then return nil end
      return (from_bytes(b + 8 + hw, 4))]] },
  { name = "arp_dst", type = "address", absent = "nil",
    text = "ARP target's IPv4 address, the one that is asked for",
    body = arp("8 + 2 * (hw + len)", "nil") .. [[
      if len ~= 4 or b[2] ~= 8 or b[3] ~= 0 then return nil end
      return (from_bytes(b + 8 + 2 * hw + 4, 4))]] },
  { name = "arp_src_mac", type = "mac", absent = "nil",
    text = "ARP sender's hardware address",
    body = arp("8 + hw", "nil") .. [[
      if hw ~= 6 then return nil end
      return (mac(b + 8))]] },
  { name = "arp_dst_mac", type = "mac", absent = "nil",
    text = "ARP target's hardware address; zeros in a request",
    body = arp("8 + 2 * hw + len", "nil") .. [[
      if hw ~= 6 then return nil end
      return (mac(b + 8 + hw + len))]] },

  -- --- IP ---
  { name = "is_ip", type = "boolean", absent = "false", needs = "the first byte of the IP header",
    text = "the packet is IPv4 or IPv6",
    body = DECODE .. "return d.ip_version ~= 0" },
  { name = "ip_version", type = "integer", absent = "0", needs = "the first byte of the IP header",
    text = "4 or 6",
    body = DECODE .. "return d.ip_version" },
  { name = "l3_offset", type = "integer", unit = "bytes from the start of the frame", absent = "0",
    text = "where the network header begins: IP, ARP or whatever the Ethernet type says. "
      .. "IP directly at the start of the frame (raw IP) gives 0 too",
    body = DECODE .. "local o = d.l3_offset if o == 0xffff then return 0 end return o" },
  { name = "src", type = "address", absent = "nil", needs = IP_HEADER,
    text = "IP source address; compares with text and prints",
    body = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return nil end
      return (from_bytes(q.data + o, d.address_len))]] },
  { name = "dst", type = "address", absent = "nil", needs = IP_HEADER,
    text = "IP destination address; compares with text and prints",
    body = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return nil end
      local len = d.address_len
      return (from_bytes(q.data + o + len, len))]] },
  { name = "src_key", type = "string", absent = '""', needs = IP_HEADER,
    text = "the 4 or 16 bytes of src as a string, for use as key of a Lua table; moontap.key_text prints it",
    body = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return "" end
      return (ffi_string(q.data + o, d.address_len))]] },
  { name = "dst_key", type = "string", absent = '""', needs = IP_HEADER,
    text = "the 4 or 16 bytes of dst as a string, for use as key of a Lua table; moontap.key_text prints it",
    body = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return "" end
      return (ffi_string(q.data + o + d.address_len, d.address_len))]] },
  { name = "proto", type = "integer", absent = "0",
    text = "IP protocol number, in IPv6 after all extension headers: 6 is TCP. The last one that could be read when "
      .. "an extension header was cut; 0 too for a cut hop-by-hop header",
    body = DECODE .. "return d.proto" },
  { name = "ttl", type = "integer", absent = "0",
    text = "time to live, or hop limit",
    body = DECODE .. "return d.ttl" },
  { name = "ip_len", type = "integer", unit = "bytes", absent = "0", needs = IP_HEADER,
    text = "length of the whole IP packet as its header says; 0 too where the header says 0 "
      .. "(jumbograms, packets from segmentation offload)",
    body = NETWORK .. [[
      if d.ip_version == 4 then return b[2] * 256 + b[3] end
      local n = b[4] * 256 + b[5]
      if n == 0 then return 0 end
      return n + 40]] },
  { name = "ip_id", type = "integer", absent = "0", needs = IP_HEADER .. " and the fragment header",
    text = "identification: 16 bits of every IPv4 packet, 32 bits of IPv6 fragments",
    body = NETWORK .. [[
      if d.ip_version == 4 then return b[4] * 256 + b[5] end
      if band(d.bits, 8) == 0 then return 0 end
      return (C.mt_fragment_id(q, d))]] },
  { name = "dscp", type = "integer", absent = "0", needs = IP_HEADER,
    text = "differentiated services code point, 0 to 63",
    body = NETWORK .. [[
      if d.ip_version == 4 then return rshift(b[1], 2) end
      return rshift(band(b[0] * 256 + b[1], 0xfff), 6)]] },
  { name = "ecn", type = "integer", absent = "0", needs = IP_HEADER,
    text = "explicit congestion notification: 0 not capable, 1 or 2 capable, 3 congestion",
    body = NETWORK .. [[
      if d.ip_version == 4 then return band(b[1], 3) end
      return band(rshift(b[1], 4), 3)]] },
  { name = "flow_label", type = "integer", absent = "0", needs = IP_HEADER,
    text = "IPv6 flow label, 0 to 1048575",
    body = NETWORK .. [[
      if d.ip_version ~= 6 then return 0 end
      return (band(b[1], 15) * 256 + b[2]) * 256 + b[3] ]] },
  { name = "dont_fragment", type = "boolean", absent = "false", needs = IP_HEADER,
    text = "the don't-fragment bit of IPv4",
    body = DECODE .. [[
      if d.ip_version ~= 4 or d.src_offset == 0xffff then return false end
      return band(q.data[d.l3_offset + 6], 0x40) ~= 0]] },
  { name = "is_fragment", type = "boolean", absent = "false", needs = IP_HEADER .. " and the fragment header",
    text = "the IP packet is a fragment, the first one too; only the first one has ports",
    body = DECODE .. "return band(d.bits, 8) ~= 0" },
  { name = "fragment_offset", type = "integer", unit = "bytes", absent = "0",
    needs = IP_HEADER .. " and the fragment header",
    text = "place of a fragment in its packet; 0 is the first one",
    body = DECODE .. [[
      if band(d.bits, 8) == 0 then return 0 end
      return band(C.mt_fragment_place(q, d), 0x1fff) * 8]] },
  { name = "more_fragments", type = "boolean", absent = "false", needs = IP_HEADER .. " and the fragment header",
    text = "a fragment that is not the last one",
    body = DECODE .. [[
      if band(d.bits, 8) == 0 then return false end
      return band(C.mt_fragment_place(q, d), 0x2000) ~= 0]] },

  -- --- transport ---
  { name = "l4_offset", type = "integer", unit = "bytes from the start of the frame", absent = "0",
    needs = IP_HEADER .. " and the first byte of the transport header",
    text = "where the header behind IP begins: TCP, UDP, ICMP …; absent in all fragments but the first",
    body = DECODE .. "local o = d.l4_offset if o == 0xffff then return 0 end return o" },
  { name = "is_tcp", type = "boolean", absent = "false", needs = "the IP protocol",
    text = "the IP protocol is TCP, also in a fragment without its header",
    body = DECODE .. "return band(d.bits, 1) ~= 0" },
  { name = "is_udp", type = "boolean", absent = "false", needs = "the IP protocol",
    text = "the IP protocol is UDP, also in a fragment without its header",
    body = DECODE .. "return band(d.bits, 2) ~= 0" },
  { name = "is_sctp", type = "boolean", absent = "false", needs = "the IP protocol",
    text = "the IP protocol is SCTP, also in a fragment without its header",
    body = DECODE .. "return d.proto == 132" },
  { name = "is_icmp", type = "boolean", absent = "false", needs = "the IP protocol",
    text = "the IP protocol is ICMP or ICMPv6",
    body = DECODE .. "return band(d.bits, 4) ~= 0" },
  { name = "has_ports", type = "boolean", absent = "false", needs = "4 bytes of the transport header",
    text = "sport and dport were captured: TCP, UDP, UDP-Lite, SCTP, DCCP",
    body = DECODE .. "return band(d.bits, 16) ~= 0" },
  { name = "sport", type = "integer", absent = "0", needs = "4 bytes of the transport header",
    text = "source port",
    body = DECODE .. "return d.sport" },
  { name = "dport", type = "integer", absent = "0", needs = "4 bytes of the transport header",
    text = "destination port",
    body = DECODE .. "return d.dport" },
  { name = "tcp_flags", type = "integer", absent = "0",
    text = "TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128",
    body = DECODE .. "return d.tcp_flags" },
  { name = "tcp_seq", type = "integer", absent = "0",
    text = "TCP sequence number as it stands in the header, 0 to 4294967295",
    body = transport(1, 8) .. u32(4) },
  { name = "tcp_ack", type = "integer", absent = "0",
    text = "TCP acknowledgment number as it stands in the header; it means something with the ACK flag",
    body = transport(1, 12) .. u32(8) },
  { name = "tcp_window", type = "integer", absent = "0",
    text = "TCP window as it stands in the header, not scaled",
    body = transport(1, 16) .. u16(14) },
  { name = "tcp_header_len", type = "integer", unit = "bytes", absent = "0",
    text = "length of the TCP header with options as it says; less than 20 is wrong",
    body = transport(1, 13) .. "return rshift(b[12], 4) * 4" },
  { name = "icmp_type", type = "integer", absent = "0",
    text = "ICMP or ICMPv6 type; 0 is an echo reply too: see is_icmp and l4_offset",
    body = transport(4, 1) .. "return b[0]" },
  { name = "icmp_code", type = "integer", absent = "0",
    text = "ICMP or ICMPv6 code",
    body = transport(4, 2) .. "return b[1]" },
  { name = "icmp_id", type = "integer", absent = "0", needs = "8 bytes of the ICMP header",
    text = "identifier of an ICMP or ICMPv6 echo, of an ICMP timestamp, information or address mask message",
    body = echo(4) },
  { name = "icmp_seq", type = "integer", absent = "0", needs = "8 bytes of the ICMP header",
    text = "sequence number of the messages that have an icmp_id",
    body = echo(6) },
  { name = "payload_offset", type = "integer", unit = "bytes from the start of the frame", absent = "0",
    needs = "the transport header with its options",
    text = "where the payload begins: behind the TCP, UDP, SCTP, DCCP or ICMP header, else behind IP",
    body = DECODE .. "local o = d.payload_offset if o == 0xffff then return 0 end return o" },
  { name = "payload_len", type = "integer", unit = "bytes", absent = "0",
    needs = "the transport header with its options",
    text = "captured payload, without what pads a short frame",
    body = DECODE .. "return d.payload_len" },
  { name = "flow_hash", type = "integer", absent = "0", needs = IP_HEADER,
    text = "hash of addresses, protocol and ports, 32 bits, the same for both directions of a flow",
    body = DECODE .. "return C.mt_flow_hash(q, d)" },

  -- --- tunnels ---
  { name = "tunnel", type = "string", absent = "nil", needs = "the first bytes of the tunnel's header",
    text = 'the outermost tunnel that the packet is in: "ipip", "gre", "pptp", "erspan", "etherip", "vxlan", "geneve", '
      .. '"gtp", "l2tp", "teredo", "lisp", "mpls" (in IP or UDP), "nsh", "pbb", "pseudowire" (Ethernet in MPLS)',
    body = DECODE .. [[
      if d.inner == 0 then C.mt_find_inner(state.batch, q, d) end
      return M.tunnels[d.tunnel] ]] },
  { name = "tunnel_id", type = "integer", absent = "0",
    text = "number of the outermost tunnel: VXLAN and Geneve VNI, GTP TEID, GRE key, PPTP call, ERSPAN session, "
      .. "L2TP tunnel * 65536 + session, LISP instance, NSH service path, PBB service, MPLS label",
    body = DECODE .. [[
      if d.inner == 0 then C.mt_find_inner(state.batch, q, d) end
      local i = d - state.batch.decode
      if i >= 0 and i < 1024 then return state.batch.tunnel_id[i] end
      return (C.mt_tunnel_id(q, d))]] },
}

return M
