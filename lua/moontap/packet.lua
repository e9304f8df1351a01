-- SPDX-License-Identifier: BSD-2-Clause
--- The packet as a script sees it: `p`.
--
-- `p` is a small handle {packet, decoded, generation}.  The driver raises the generation
-- with every packet, each getter compares, and a handle that was kept past its hook
-- raises an error instead of reading memory that has moved on.  In compiled loops the
-- handle is never allocated and the comparison is free.
--
-- Getters must not end in a tail call: LuaJIT allows 15 of those in a trace, and a hook with
-- more field reads than that would not compile.  `return (f(x))` is no tail call.
-- @module moontap.packet

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local address = require "moontap.address"
local fields = require "moontap.fields"
local format = require "moontap.format"
local mac = require "moontap.mac"
local suggest = require "moontap.suggest"

local M = {}

local handle_t = ffi.typeof "struct mt_packet_handle"
-- The handles that the loop over packets gives to hooks, one after the other. A hook gets a pointer: LuaJIT keeps a
-- struct of its own out of memory only as long as nothing of it is read behind a call of C, and an object for each
-- packet costs 100 ns. One that was kept is stale while others are in its place; after another SLOTS packets it is,
-- for that one packet, the same as the packet in hand.
local SLOTS = 1024 -- a power of 2
local slots = ffi.new("struct mt_packet_handle[?]", SLOTS)
local copy_t -- below
local band = bit.band
local from_bytes = address.from_bytes
local BATCH = C.MT_BATCH_PACKETS -- a power of 2

local state -- struct mt_hook_state *, set once by M.attach

local function stale()
  error("this packet is gone: a packet ends with its hook, keep it with p:copy()", 4)
end

-- Bytes from the transport header to the end of what was captured of the IP packet, for a header that was cut or
-- is wrong.
local function captured(q, d)
  local b = q.data + d.l3_offset
  local len = b[2] * 256 + b[3]
  if d.ip_version == 6 then
    len = b[4] * 256 + b[5]
    if len ~= 0 then
      len = len + 40
    end
  end
  local stop = d.l3_offset + len
  if len == 0 or stop > q.caplen then
    stop = q.caplen
  end
  return stop - d.l4_offset
end

-- Getters are generated from moontap.fields, so that each is one straight function with the check in it.
-- The state is an upvalue that never changes: LuaJIT makes a constant of it, sees that the generation it
-- compares is the one the loop has just stored, and leaves the check out.
local function getter(body)
  local text = ([[
    local state, C, stale, band, rshift, captured, from_bytes, mac, ffi_string, M = ...
    return function(h)
      if h._generation ~= state.generation then stale() end
      local q = h._packet
      %s
    end]]):format(body)
  return assert(loadstring(text, "=moontap.packet"))
end

-- What other tools call these fields.
local aliases = {
  src_port = "sport", source_port = "sport", srcport = "sport", dst_port = "dport", dest_port = "dport",
  dstport = "dport", port = "dport", len = "wirelen", length = "wirelen", size = "wirelen", cap_len = "caplen",
  timestamp = "ts", protocol = "proto", ip_proto = "proto", ip_src = "src", ip_dst = "dst",
  src_ip = "src", dst_ip = "dst", saddr = "src", daddr = "dst", flags = "tcp_flags", vlan_id = "vlan",
  hop_limit = "ttl", eth_type = "ethertype", iface = "interface", version = "ip_version",
  data = "bytes", payload = "payload_len", inner_vlan = "vlan_inner", vlan_pcp = "vlan_priority",
  priority = "vlan_priority", label = "mpls_label", mpls = "mpls_label", src_mac = "eth_src", dst_mac = "eth_dst",
  mac_src = "eth_src", mac_dst = "eth_dst", ether_src = "eth_src", ether_dst = "eth_dst", id = "ip_id",
  ip_dscp = "dscp", tos = "dscp", dsfield = "dscp", ip_ecn = "ecn", frag_offset = "fragment_offset",
  mf = "more_fragments", df = "dont_fragment", seq = "tcp_seq", ack = "tcp_ack", window = "tcp_window",
  tcp_window_size = "tcp_window", tcp_hdr_len = "tcp_header_len", data_offset = "tcp_header_len", arp_opcode = "arp_op",
  vni = "tunnel_id", teid = "tunnel_id", gre_key = "tunnel_id", encapsulation = "tunnel",
  ip_offset = "l3_offset", network_offset = "l3_offset", transport_offset = "l4_offset",
}

local getters, methods = {}, {}

M.source_names, M.interface_names, M.interface_numbers = {}, {}, {}

-- Names of enum mt_tunnel.
M.tunnels = { "ipip", "gre", "pptp", "erspan", "etherip", "vxlan", "geneve", "gtp", "l2tp", "teredo", "lisp", "mpls",
  "nsh", "pbb", "pseudowire" }

-- Look an interface up once and remember its names; runs only for the first packet of each.
function M.learn(id, wanted)
  local view = ffi.new "struct mt_iface_view"
  C.mt_flow_iface(state.flow, id, view)
  M.source_names[id] = ffi.string(view.source)
  M.interface_names[id] = view.name ~= nil and ffi.string(view.name) or tostring(view.number)
  M.interface_numbers[id] = view.number
  return wanted[id]
end


local function check(h)
  if type(h) ~= "cdata" then
    error("the methods of a packet are called with a colon: p:bytes()", 3)
  end
  if h._generation ~= state.generation then
    stale()
  end
  return h._packet
end

local function no_number(what, value)
  error(("p:%s: expected a number, found %s"):format(what, value == nil and "nothing" or "a " .. type(value)), 3)
end

--- One byte.
-- @tparam integer off offset from the start of the frame
-- @treturn ?integer 0 to 255, or nil outside of the captured bytes
function methods.u8(h, off)
  local q = check(h)
  if type(off) ~= "number" then
    no_number("u8(offset)", off)
  end
  if not (off >= 0 and off + 1 <= q.caplen) then
    return nil
  end
  return q.data[off]
end

--- Two bytes in network order.
-- @tparam integer off offset from the start of the frame
-- @treturn ?integer 0 to 65535, or nil outside of the captured bytes
function methods.u16(h, off)
  local q = check(h)
  if type(off) ~= "number" then
    no_number("u16(offset)", off)
  end
  if not (off >= 0 and off + 2 <= q.caplen) then
    return nil
  end
  local d = q.data + off
  return d[0] * 256 + d[1]
end

--- Four bytes in network order.
-- @tparam integer off offset from the start of the frame
-- @treturn ?integer 0 to 4294967295, or nil outside of the captured bytes
function methods.u32(h, off)
  local q = check(h)
  if type(off) ~= "number" then
    no_number("u32(offset)", off)
  end
  if not (off >= 0 and off + 4 <= q.caplen) then
    return nil
  end
  local d = q.data + off
  return ((d[0] * 256 + d[1]) * 256 + d[2]) * 256 + d[3]
end

--- Captured bytes as a string; what lies outside of the packet is left out.
-- @tparam[opt=0] integer off offset from the start of the frame
-- @tparam[opt] integer len default: to the end
-- @treturn string
function methods.bytes(h, off, len)
  local q = check(h)
  off = off or 0
  if type(off) ~= "number" or type(len or 0) ~= "number" then
    no_number("bytes(offset, length)", type(off) ~= "number" and off or len)
  end
  local rest = q.caplen - off
  if not (off >= 0 and rest > 0) then
    return ""
  end
  if not len or len > rest then
    len = rest
  end
  return len > 0 and ffi.string(q.data + off, len) or ""
end

--- The captured bytes as lines of offset, hex and ASCII.
-- @treturn string
function methods.hexdump(h)
  local q = check(h)
  local size = C.mt_hexdump(q.data, q.caplen, nil, 0) + 1
  local text = ffi.new("char[?]", size)
  C.mt_hexdump(q.data, q.caplen, text, size)
  return ffi.string(text, size - 1)
end

--- When it was captured, as text.
-- @tparam[opt="utc"] string zone `"utc"`, or `"local"` for the time zone of the machine
-- @treturn string `2026-11-22 10:00:00.123456789 UTC`
-- @raise if there is no such zone
function methods.time(h, zone)
  local q = check(h)
  return (format.time(q.ts_ns, zone))
end

--- A packet of its own that outlives the hook; it has the same fields and methods.
-- @treturn packet
function methods.copy(h)
  local q = check(h)
  local c = ffi.new(copy_t, q.caplen + C.MT_DATA_SLACK)
  ffi.copy(c._data, q.data, q.caplen)
  c._packet[0] = q[0]
  c._packet[0].data = c._data
  c._packet[0].options = nil
  c._packet[0].options_len = 0
  C.mt_decode_copy(state.batch, c._packet, h._decoded, c._decoded)
  c.number = h.number
  c.t = tonumber(q.ts_ns - state.first_ns)
  return c
end

-- Of a copy: a copy again, since a handle does not keep its memory alive.
local function inner_copy(h)
  local c = methods.copy(h)
  if c._decoded[0].inner ~= C.MT_INNER_THIS then
    local inner = ffi.new "struct mt_decoded"
    if C.mt_decode_inner(c._packet, c._decoded, inner) ~= 0 then
      c._decoded[0] = inner
    end
  end
  return c
end

--- The innermost packet that this one carries, through all tunnels: its fields and methods mean that packet.
-- GRE (also PPTP, ERSPAN and Ethernet in GRE), VXLAN and VXLAN-GPE (UDP ports 4789, 8472, 4790), Geneve (6081),
-- GTP-U (2152, 3386), L2TP version 2 (1701), Teredo (3544), LISP (4341), MPLS in IP or UDP (6635), IP in IP, EtherIP,
-- 802.1ah, NSH, Ethernet in MPLS; in any order, up to 32 of them.  `p.tunnel` names the outermost.
--
-- Offsets still count from the start of the frame, so `p:u8` and `p:bytes` read the same bytes on both.  What belongs
-- to the record (ts, caplen, wirelen, source …) is the same.  MPLS and PPPoE in front of the outermost IP header are
-- no tunnels.  A `moontap.filter` looks at the whole frame, whichever of the two it is given.  It ends with the hook,
-- as the packet does.
-- @treturn packet the packet itself if it carries none, or none whose header was captured
function methods.inner(h)
  local q = check(h)
  local batch, d, generation = state.batch, h._decoded, h._generation
  if batch.decoded == 0 or d.inner == 0 then
    C.mt_find_inner(batch, q, d)
  end
  local i = d - batch.decode
  if not (i >= 0 and i < 2 * BATCH) then
    return (inner_copy(h))
  end
  return (handle_t(q, batch.inner + band(i, BATCH - 1), generation)) -- the inner one of an inner one is itself
end

local IGNORE = { [""] = 0, link = C.MT_HASH_IGNORE_LINK, ttl = C.MT_HASH_IGNORE_TTL,
  ["link,ttl"] = C.MT_HASH_IGNORE_LINK + C.MT_HASH_IGNORE_TTL }

--- A hash of the captured bytes, to tell packets apart: the same packet has the same one in every run.
-- @tparam[opt] string ignore what is left out of IP packets: `"link"`, all that stands before the IP header; `"ttl"`,
-- the TTL or hop limit and the IPv4 header checksum; `"link,ttl"`
-- @treturn integer whole number of 53 bits
function methods.hash(h, ignore)
  local q = check(h)
  local flags = 0
  if ignore ~= nil then
    flags = IGNORE[ignore]
    if not flags then
      error("p:hash: expected link, ttl or link,ttl to ignore, found " .. tostring(ignore), 2)
    end
  end
  if flags ~= 0 and state.batch.decoded == 0 then
    C.mt_batch_decode(state.batch)
  end
  return C.mt_packet_hash(q, h._decoded, flags)
end

--- Keep only the first len captured bytes; wirelen stays.
-- @tparam integer len longer than the packet: nothing happens
-- @raise if len is negative
function methods.truncate(h, len)
  local q = check(h)
  if not (type(len) == "number" and len >= 0) then
    error("p:truncate(len): expected a length of 0 or more, got " .. tostring(len), 2)
  end
  len = math.floor(len)
  if len < q.caplen then
    q.cut = q.cut + (q.caplen - len)
    q.caplen = len
    C.mt_decode_again(state.batch, q, h._decoded)
  end
end

-- Readers are loaded when a script first asks for one, and then stand in methods instead of this.
local function reader(name, module)
  methods[name] = function(h, ...)
    local of = require(module).of
    methods[name] = of
    return (of(h, ...))
  end
end

--- The DNS message in the packet, of UDP port 53, 5353 (mDNS) or 5355 (LLMNR) or TCP port 53; see moontap.dns.
-- @function dns
-- @tparam[opt] integer|string where a port to look at instead of these, or `"any"`: all UDP and TCP that looks like
-- DNS, but not NetBIOS names (port 137)
-- @treturn ?message nil: it is no DNS
reader("dns", "moontap.dns")

--- The TLS or DTLS hello of client or server at the start of the payload, on any port; see moontap.tls.
-- @function tls
-- @treturn ?hello nil: there is none
reader("tls", "moontap.tls")

--- The packet as one that can be changed: from here on it is the packet, for all that see it later; see moontap.edit.
-- On a copy it gives another copy, which is changed without the first one.
-- @function edit
-- @treturn edit the same again when called again in the same hook

--- Add a comment, which pcapng keeps with the packet; those that it has already stay. Other formats have none: the
-- run then warns once.
-- @function comment
-- @tparam string text UTF-8
-- @treturn ?boolean true; nil: with the options of the packet it would be more than 65,535 bytes
-- @treturn ?string why not
-- @raise if the text is not UTF-8, or the packet is a copy, which is not written

--- The comments of the packet, those that it came with and those that scripts have added.
-- @function comments
-- @treturn {string,...}

-- Methods that come with a module of their own, when one of them is first asked for.
local LATER = { edit = "moontap.edit", comment = "moontap.edit", comments = "moontap.edit" }

setmetatable(methods, {
  __index = function(_, name)
    if LATER[name] then
      require(LATER[name])
      return rawget(methods, name)
    end
  end,
})

-- more: names besides those of every packet; level: whose fault it is, as with error.
local function unknown(name, more, level)
  local known = {}
  for _, names in ipairs { getters, methods, LATER, more or {} } do
    for key in pairs(names) do
      known[key] = true
    end
  end
  local hint = suggest.suffix(tostring(name), known, aliases)
  if hint == "" then
    hint = "; it has " .. suggest.list(known)
  end
  error(("a packet has no field '%s'%s"):format(tostring(name), hint), (level or 2) + 1)
end

local function index(h, key)
  local get = getters[key]
  if get then
    return (get(h))
  end
  local method = methods[key]
  if method then
    return method
  end
  unknown(key)
end

local function endpoint(addr, port, has_ports)
  if has_ports then
    return tostring(addr) .. (addr:find(":", 1, true) and "." or ":") .. port
  end
  return addr
end

local function text(p)
  local seconds = p.ts_ns / 1000000000LL
  local head = ("%s.%09d %s"):format(tostring(seconds):gsub("LL$", ""), tonumber(p.ts_ns % 1000000000LL), p.source)
  if not p.is_ip then
    return ("%s ethertype 0x%04x %d bytes"):format(head, p.ethertype, p.wirelen)
  end
  return ("%s %s > %s proto %d %d bytes"):format(head, endpoint(tostring(p.src), p.sport, p.has_ports),
    endpoint(tostring(p.dst), p.dport, p.has_ports), p.proto, p.wirelen)
end

local function read_only(_, key)
  error(("field '%s' of a packet can not be set; what p:edit() gives can be changed"):format(tostring(key)), 2)
end

ffi.metatype(handle_t, { __index = index, __newindex = read_only, __tostring = text })

-- A copy hands every access to a handle of the present generation, so it is never stale.
copy_t = ffi.typeof [[
  struct { struct mt_packet _packet[1]; struct mt_decoded _decoded[1]; double number; double t; uint8_t _data[?]; }
]]

local function handle_of(c)
  return handle_t(c._packet, c._decoded, state.generation)
end

-- Copies of which there are views: they live as long as these, that is until the generation changes.
local viewed, viewed_generation = {}, nil
local gives_view = { dns = true, tls = true }

local function keep_for_views(c)
  if viewed_generation ~= state.generation then
    viewed, viewed_generation = {}, state.generation
  end
  viewed[#viewed + 1] = c
end

local copy_methods = {} -- made when they are first asked for
setmetatable(copy_methods, {
  __index = function(_, name)
    if methods[name] and not rawget(copy_methods, name) then
      copy_methods[name] = function(c, ...)
        if gives_view[name] then
          keep_for_views(c)
        end
        return methods[name](handle_of(c), ...)
      end
    end
    return rawget(copy_methods, name)
  end,
})

ffi.metatype(copy_t, {
  __index = function(c, key)
    return copy_methods[key] or index(handle_of(c), key)
  end,
  __newindex = read_only,
  __tostring = text,
})

--- Tie the getters to the state that the driver and C share.  Called once.
-- @param hook_state `struct mt_hook_state *`
function M.attach(hook_state)
  state = hook_state
  for _, field in ipairs(fields) do
    getters[field.name] = getter(field.body)(hook_state, C, stale, band, bit.rshift, captured, from_bytes,
      mac.from_bytes, ffi.string, M)
  end
end

--- What attach was given; nil before.
function M.state()
  return state
end

-- Looked up once: a first lookup inside of a trace would end it.
for _, name in ipairs { "mt_batch_decode", "mt_flow_hash", "mt_find_inner", "mt_tunnel_id", "mt_mpls_label",
  "mt_fragment_id", "mt_fragment_place", "mt_decode_again", "mt_packet_hash" } do
  assert(C[name])
end

M.handle = handle_t
M.slots, M.SLOTS = slots, SLOTS
M.copy_type = copy_t

--- Every field in the order of the guide: name, type, text, unit, absent, needs; see moontap.fields.
M.field_docs = fields
M.fields = getters
M.methods = methods
M.copy_methods = copy_methods
M.keep_for_views, M.gives_view = keep_for_views, gives_view
M.aliases = aliases

-- For moontap.edit, whose handles are packets too.
M.stale, M.unknown, M.text = stale, unknown, text

return M
