-- SPDX-License-Identifier: BSD-2-Clause
-- Frames by hand: headers of link layers, IP and tunnels around each other.  M.frames has one of each tunnel.

local c = require("support.capture")

local M = {}

local function be(n, bytes)
  return c.uint(n, bytes, "be")
end
M.be = be

-- --- headers, each around what is inside -------------------------------------------------

function M.ethernet(kind, inside, tags)
  return "\2\0\0\0\0\2\2\0\0\0\0\1" .. (tags or "") .. be(kind, 2) .. inside
end

function M.vlan(id, kind) -- a tag in front of the type that ethernet() writes: kind is the tag's own type
  return be(kind or 0x8100, 2) .. be(id, 2)
end

-- The Ethernet frame inside of a tunnel, with addresses of its own.
function M.inner_ethernet(kind, inside, tags)
  return "\2\0\0\0\1\2\2\0\0\0\1\1" .. (tags or "") .. be(kind, 2) .. inside
end

function M.ipv4(proto, inside, f)
  f = f or {}
  local options = f.options or ""
  return string.char(0x45 + #options / 4, f.tos or 0) .. be(20 + #options + #inside, 2) .. be(f.id or 7, 2)
    .. be(f.fragment or 0, 2) .. string.char(f.ttl or 64, proto) .. "\0\0" .. (f.src or "\10\0\0\1")
    .. (f.dst or "\10\0\0\2") .. options .. inside
end

function M.ipv6(proto, inside, f)
  f = f or {}
  return be(0x60000000 + (f.tos or 0) * 2 ^ 20 + (f.label or 0), 4) .. be(#inside, 2) .. string.char(proto, f.ttl or 63)
    .. "\32\1\13\184" .. ("\0"):rep(11) .. "\1" .. "\32\1\13\184" .. ("\0"):rep(11) .. "\2" .. inside
end

function M.udp(dport, inside, sport)
  return be(sport or 40000, 2) .. be(dport, 2) .. be(8 + #inside, 2) .. "\0\0" .. inside
end

function M.tcp(f)
  local options = f.options or ""
  return be(f.sport or 40001, 2) .. be(f.dport or 80, 2) .. be(f.seq or 0, 4) .. be(f.ack or 0, 4)
    .. string.char(0x50 + #options * 4, f.flags or 16) .. be(f.window or 0, 2) .. "\0\0\0\0" .. options .. (f.inside or "")
end

-- flags: the first 16 bits
function M.gre(flags, kind, optional, inside)
  return be(flags, 2) .. be(kind, 2) .. optional .. inside
end

function M.vxlan(vni, inside, flags, next_protocol)
  return string.char(flags or 8) .. "\0\0" .. string.char(next_protocol or 0) .. be(vni, 3) .. "\0" .. inside
end

function M.geneve(vni, kind, options, inside)
  return string.char(#options / 4) .. "\0" .. be(kind, 2) .. be(vni, 3) .. "\0" .. options .. inside
end

function M.gtp(teid, flags, optional, inside)
  return string.char(0x30 + flags) .. "\255" .. be(#optional + #inside, 2) .. be(teid, 4) .. optional .. inside
end

function M.mpls(label, inside, more)
  return be(label * 0x1000 + (more and 0 or 0x100) + 64, 4) .. inside
end

-- --- one of each -------------------------------------------------------------------------

local ip = M.ipv4(17, M.udp(2222, "inner payload", 1111), { src = "\192\168\7\1", dst = "\192\168\7\2", ttl = 33 })
local ip6 = M.ipv6(17, M.udp(2222, "inner payload", 1111), { ttl = 33 })
local frame = M.inner_ethernet(0x0800, ip)
local tagged = M.inner_ethernet(0x0800, ip, M.vlan(77))

local function over_ip(proto, inside)
  return M.ethernet(0x0800, M.ipv4(proto, inside))
end

local function over_udp(port, inside, sport)
  return over_ip(17, M.udp(port, inside, sport))
end

-- {what, tunnel, id, frame}
M.frames = {
  { "IPv4 in IPv4", "ipip", 0, over_ip(4, ip) },
  { "IPv6 in IPv4", "ipip", 0, over_ip(41, ip6) },
  { "IPv4 in IPv6", "ipip", 0, M.ethernet(0x86dd, M.ipv6(4, ip)) },
  { "IPv6 in IPv6", "ipip", 0, M.ethernet(0x86dd, M.ipv6(41, ip6)) },
  { "IPv6 in IPv6 behind destination options", "ipip", 0, M.ethernet(0x86dd, M.ipv6(60, "\41\0\1\4\0\0\0\0" .. ip6)) },
  { "IPv4 in an authentication header", "ipip", 0, over_ip(51, "\4\4\0\0\0\0\0\1\0\0\0\1" .. ("h"):rep(12) .. ip) },
  { "GRE", "gre", 0, over_ip(47, M.gre(0, 0x0800, "", ip)) },
  { "GRE with IPv6", "gre", 0, over_ip(47, M.gre(0, 0x86dd, "", ip6)) },
  { "GRE over IPv6", "gre", 0, M.ethernet(0x86dd, M.ipv6(47, M.gre(0, 0x0800, "", ip))) },
  { "GRE with checksum", "gre", 0, over_ip(47, M.gre(0x8000, 0x0800, "\0\0\0\0", ip)) },
  { "GRE with key", "gre", 0x01020304, over_ip(47, M.gre(0x2000, 0x0800, "\1\2\3\4", ip)) },
  { "GRE with sequence number", "gre", 0, over_ip(47, M.gre(0x1000, 0x0800, "\0\0\0\9", ip)) },
  { "GRE with all of them", "gre", 0x01020304, over_ip(47, M.gre(0xb000, 0x0800, "\0\0\0\0\1\2\3\4\0\0\0\9", ip)) },
  { "GRE with source routes", "gre", 0, over_ip(47, M.gre(0x4000, 0x0800, "\0\0\0\0" .. "\8\0\0\4\10\0\0\9" .. "\0\0\0\0", ip)) },
  { "Ethernet in GRE", "gre", 0, over_ip(47, M.gre(0, 0x6558, "", frame)) },
  { "Ethernet with a VLAN tag in GRE", "gre", 5, over_ip(47, M.gre(0x2000, 0x6558, "\0\0\0\5", tagged)) },
  { "MPLS in GRE", "gre", 0, over_ip(47, M.gre(0, 0x8847, "", M.mpls(500, ip))) },
  { "WCCP in GRE", "gre", 0, over_ip(47, M.gre(0, 0x883e, "\0\0\0\0", ip)) },
  { "PPTP", "pptp", 6, over_ip(47, M.gre(0x3001, 0x880b, be(#ip + 4, 2) .. "\0\6\0\0\0\1", "\255\3\0\33" .. ip)) },
  { "PPTP with acknowledgment and short PPP", "pptp", 6,
    over_ip(47, M.gre(0x3081, 0x880b, be(#ip + 1, 2) .. "\0\6\0\0\0\1\0\0\0\2", "\33" .. ip)) },
  { "ERSPAN type I", "erspan", 0, over_ip(47, M.gre(0, 0x88be, "", frame)) },
  { "ERSPAN type II", "erspan", 100, over_ip(47, M.gre(0x1000, 0x88be, "\0\0\0\1", "\16\10\0\100\0\0\0\0" .. frame)) },
  { "ERSPAN type III", "erspan", 101,
    over_ip(47, M.gre(0x1000, 0x22eb, "\0\0\0\1", "\32\10\0\101\0\0\0\0\0\0\0\0" .. frame)) },
  { "ERSPAN type III with a platform header", "erspan", 101,
    over_ip(47, M.gre(0x1000, 0x22eb, "\0\0\0\1", "\32\10\0\101\0\0\0\0\0\0\0\1" .. ("\0"):rep(8) .. frame)) },
  { "EtherIP", "etherip", 0, over_ip(97, "\48\0" .. frame) },
  { "Ethernet in IPv6 (SRv6)", "etherip", 0, M.ethernet(0x86dd, M.ipv6(143, frame)) },
  { "MPLS in IP", "mpls", 500, over_ip(137, M.mpls(500, ip)) },
  { "VXLAN", "vxlan", 4096, over_udp(4789, M.vxlan(4096, frame)) },
  { "VXLAN on the port of Linux", "vxlan", 4096, over_udp(8472, M.vxlan(4096, frame)) },
  { "VXLAN with a group policy", "vxlan", 4096, over_udp(4789, M.vxlan(4096, tagged, 0x88)) },
  { "VXLAN over IPv6", "vxlan", 4096, M.ethernet(0x86dd, M.ipv6(17, M.udp(4789, M.vxlan(4096, frame)))) },
  { "VXLAN with ARP", "vxlan", 1, over_udp(4789, M.vxlan(1, M.inner_ethernet(0x0806,
    "\0\1\8\0\6\4\0\2" .. "\2\0\0\0\1\1" .. "\192\168\7\1" .. "\2\0\0\0\1\2" .. "\192\168\7\2"))) },
  { "VXLAN-GPE with IPv4", "vxlan", 9, over_udp(4790, M.vxlan(9, ip, 0x0c, 1)) },
  { "VXLAN-GPE with IPv6", "vxlan", 9, over_udp(4790, M.vxlan(9, ip6, 0x0c, 2)) },
  { "VXLAN-GPE with Ethernet", "vxlan", 9, over_udp(4790, M.vxlan(9, frame, 0x0c, 3)) },
  { "VXLAN-GPE with NSH", "vxlan", 9, over_udp(4790, M.vxlan(9, "\0\2\2\1\0\0\100\255" .. ip, 0x0c, 4)) },
  { "NSH", "nsh", 100, M.ethernet(0x894f, "\0\2\2\3\0\0\100\255" .. frame) },
  { "Geneve", "geneve", 0x123456, over_udp(6081, M.geneve(0x123456, 0x6558, "", frame)) },
  { "Geneve with options", "geneve", 3, over_udp(6081, M.geneve(3, 0x6558, "\1\2\3\1\0\0\0\1\1\2\4\0", frame)) },
  { "Geneve with IPv4", "geneve", 3, over_udp(6081, M.geneve(3, 0x0800, "", ip)) },
  { "Geneve from its port", "geneve", 3, over_udp(5555, M.geneve(3, 0x6558, "", frame), 6081) },
  { "GTP-U", "gtp", 0xdeadbeef, over_udp(2152, M.gtp(0xdeadbeef, 0, "", ip)) },
  { "GTP-U with sequence number", "gtp", 1, over_udp(2152, M.gtp(1, 2, "\0\1\0\0", ip6)) },
  { "GTP-U with extension headers", "gtp", 1,
    over_udp(2152, M.gtp(1, 4, "\0\0\0\133" .. "\1\16\5\192" .. "\1\0\0\0", ip)) },
  { "GTP version 0", "gtp", 0x00000102, over_udp(3386, "\30\255" .. be(#ip, 2) .. "\0\1\0\2\255\255\255\255"
    .. "\0\0\0\0\0\0\1\2" .. ip) },
  { "L2TP", "l2tp", 0x00010002, over_udp(1701, "\0\2\0\1\0\2\255\3\0\33" .. ip) },
  { "L2TP with length, sequence and offset", "l2tp", 0x00010002,
    over_udp(1701, "\74\2" .. be(20 + #ip, 2) .. "\0\1\0\2\0\0\0\0\0\2pp\255\3\0\33" .. ip, 1701) },
  { "Teredo", "teredo", 0, over_udp(3544, ip6) },
  { "Teredo from the server, with origin and authentication", "teredo", 0,
    over_udp(50000, "\0\1\0\0" .. ("n"):rep(8) .. "\0" .. "\0\0\1\2\10\0\0\9" .. ip6, 3544) },
  { "LISP", "lisp", 0, over_udp(4341, ("\0"):rep(8) .. ip) },
  { "MPLS in UDP", "mpls", 500, over_udp(6635, M.mpls(500, ip)) },
  { "802.1ah", "pbb", 0x010203, M.ethernet(0x88e7, "\0\1\2\3" .. frame, M.vlan(10, 0x88a8)) },
  { "pseudowire with control word", "pseudowire", 17, M.ethernet(0x8847, M.mpls(16, M.mpls(17, "\0\0\0\0" .. frame), true)) },
  { "pseudowire without control word", "pseudowire", 17, M.ethernet(0x8847, M.mpls(17, tagged)) },
  { "GRE in VXLAN in IPv6 in GTP", "gtp", 8, over_udp(2152, M.gtp(8, 0, "",
    M.ipv6(17, M.udp(4789, M.vxlan(1, M.inner_ethernet(0x0800, M.ipv4(47, M.gre(0, 0x0800, "", ip)))))))) },
}

return M
