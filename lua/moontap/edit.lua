-- SPDX-License-Identifier: BSD-2-Clause
--- `p:edit()`: change a packet; what comes out is what is written.
--
--    return { on_packet = function(p)
--      if p.is_tcp and p.dport == 8080 then
--        local e = p:edit()
--        e.dport = 80
--        e.ttl = e.ttl - 1
--        e:fix_checksums()
--      end
--    end }
--
-- From `p:edit()` on the packet is the edited one: for `p` itself, for later scripts of the chain, rotate hooks,
-- outputs and --print. The file it was read from is never touched. A hook that fails leaves the packet as it found it.
-- An edit ends with its hook, as `p` does; `p:edit()` again in the same hook gives the same edit. It has all fields
-- and methods of a packet. Counters and the stream clock go by what was read.
--
-- **Fields that can be set**: `src`, `dst` (an address or its text, of the same IP version), `sport`, `dport`, `ttl`,
-- `proto`, `dscp`, `ecn`, `ip_id` (of IPv4), `flow_label`, `tcp_flags`, `tcp_seq`, `tcp_ack`, `tcp_window`,
-- `icmp_type`, `icmp_code`, `icmp_id`, `icmp_seq`, `vlan`, `vlan_priority` (of the outermost tag), `ethertype`,
-- `eth_src`, `eth_dst` (an address or text like `02:00:00:00:00:01`), `wirelen` (not below `caplen`), `ts` (seconds,
-- rounded to microseconds), `ts_ns` (exact). Setting what the packet does not have raises an error, as does a number
-- that does not fit. A new time does not move the packet: packets are written in the order they were read in.
--
-- **Checksums** are repaired by `fix_checksums`, never by themselves.
--
-- **Tunnels**: `p:inner():edit()` sets the fields of the inner packet, and its `fix_checksums` repairs the innermost
-- and the outermost packet, not what a tunnel's own header may sum up. An inner packet keeps its length.
-- @module moontap.edit

local ffi = require "ffi"
local C = require "moontap.abi"
local address = require "moontap.address"
local mac = require "moontap.mac"
local misuse = require "moontap.misuse"
local packet = require "moontap.packet"
local suggest = require "moontap.suggest"

local M = {}

-- A trace that meets a function for the first time must find it looked up.
for _, name in ipairs { "mt_edit_begin", "mt_edit_set", "mt_edit_set_address", "mt_edit_set_mac", "mt_edit_set_time",
  "mt_edit_put", "mt_edit_write", "mt_edit_set_payload", "mt_edit_insert", "mt_edit_remove", "mt_edit_push_vlan",
  "mt_edit_pop_vlan", "mt_edit_fix_checksums", "mt_edit_comment" } do
  assert(C[name])
end

local state = packet.state() -- struct mt_hook_state *
local fields, methods = packet.fields, packet.methods
local istype = ffi.istype
local address_t = ffi.typeof "struct mt_address"
local int64_t = ffi.typeof "int64_t"
local MAX_CAPLEN, OUTSIDE = C.MT_MAX_CAPLEN, C.MT_EDIT_OUTSIDE

-- --- errors -----------------------------------------------------------------------------------

local raise = misuse.raise

local function stale()
  raise "this edit is gone: it ends with its hook, as its packet does"
end

local function a_type(value)
  return value == nil and "nothing" or "a " .. type(value)
end

local function wrong_type(name, wanted, value)
  raise("%s: expected %s, found %s", name, wanted, a_type(value))
end

-- What a result other than MT_EDIT_DONE means; name: of the field or method, e: the edit.
local REASONS = {
  [C.MT_EDIT_NO_MEMORY] = function() return "out of memory" end,
  [C.MT_EDIT_ABSENT] = function(name)
    return name == "set_payload" and "this packet has no payload that is known" or "this packet has none"
  end,
  [C.MT_EDIT_RANGE] = function(_, value) return ("%s does not fit"):format(tostring(value)) end,
  [C.MT_EDIT_VERSION] = function(_, value, e)
    return ("%s is no address for an IPv%d packet"):format(tostring(value), e.ip_version)
  end,
  [C.MT_EDIT_OUTSIDE] = function(_, value, e)
    return ("offset %s is outside of the %d captured bytes"):format(tostring(value), e.caplen)
  end,
  [C.MT_EDIT_CAPLEN] = function() return ("the packet would have more than %d bytes"):format(MAX_CAPLEN) end,
  [C.MT_EDIT_LENGTH] = function() return "a length field of its headers can not say that many bytes" end,
  [C.MT_EDIT_LINK] = function(_, _, e) return ("not possible with link type %d"):format(e.linktype) end,
  [C.MT_EDIT_INNER] = function()
    return "a packet in a tunnel keeps its length; change the outer one, which p:edit() gives"
  end,
}

local function failed(result, name, value, e)
  raise("%s: %s", name, REASONS[result](name, value, e))
end

-- --- fields -----------------------------------------------------------------------------------

local NUMBERS = {
  sport = C.MT_EDIT_SPORT, dport = C.MT_EDIT_DPORT, ttl = C.MT_EDIT_TTL, proto = C.MT_EDIT_PROTO, dscp = C.MT_EDIT_DSCP,
  ecn = C.MT_EDIT_ECN, ip_id = C.MT_EDIT_IP_ID, tcp_flags = C.MT_EDIT_TCP_FLAGS, tcp_seq = C.MT_EDIT_TCP_SEQ,
  tcp_ack = C.MT_EDIT_TCP_ACK, tcp_window = C.MT_EDIT_TCP_WINDOW, icmp_type = C.MT_EDIT_ICMP_TYPE,
  icmp_code = C.MT_EDIT_ICMP_CODE, icmp_id = C.MT_EDIT_ICMP_ID, icmp_seq = C.MT_EDIT_ICMP_SEQ,
  flow_label = C.MT_EDIT_FLOW_LABEL, vlan = C.MT_EDIT_VLAN, vlan_priority = C.MT_EDIT_VLAN_PRIORITY,
  ethertype = C.MT_EDIT_ETHERTYPE, wirelen = C.MT_EDIT_WIRELEN,
}

local CHECK = "if e._generation ~= state.generation or e._script ~= state.script then stale() end\n"

-- Setters are generated, so that LuaJIT sees a constant for the field; see moontap.packet.
local SET = {
  number = [[
    if type(v) ~= "number" then wrong_type("NAME", "a number", v) end
    local r = C.mt_edit_set(e._edit, e._decoded, FIELD, v)
    if r ~= 0 then failed(r, "NAME", v, e) end]],
  address = [[
    local a = v
    if not istype(address_t, a) then a = to_address("NAME", v) end
    local r = C.mt_edit_set_address(e._edit, e._decoded, FIELD, a.high, a.low, a.len)
    if r ~= 0 then failed(r, "NAME", v, e) end]],
  mac = [[
    local a = v
    if not istype(mac_t, a) then a = to_mac("NAME", v) end
    local r = C.mt_edit_set_mac(e._edit, e._decoded, FIELD, a._bytes)
    if r ~= 0 then failed(r, "NAME", v, e) end]],
  ts = [[
    if type(v) ~= "number" then wrong_type("NAME", "a number of seconds", v) end
    if not (v > -9e9 and v < 9e9) then failed(FIELD, "NAME", v, e) end
    C.mt_edit_set_time(e._edit, int64_t(floor(v * 1e6 + 0.5)) * 1000)]],
  ts_ns = [[
    if not istype(int64_t, v) and not (type(v) == "number" and v > -9e18 and v < 9e18 and v == floor(v)) then
      wrong_type("NAME", "whole nanoseconds", v)
    end
    C.mt_edit_set_time(e._edit, v)]],
}

local function to_address(name, value)
  if type(value) ~= "string" then
    wrong_type(name, "an address", value)
  end
  local ok, parsed = pcall(address.new, value)
  if not ok then
    raise("%s: '%s' is no IP address", name, value)
  end
  return parsed
end

local function to_mac(name, value)
  if type(value) ~= "string" then
    wrong_type(name, "an Ethernet address", value)
  end
  local ok, parsed = pcall(mac.new, value)
  if not ok then
    raise("%s: '%s' is no Ethernet address", name, value)
  end
  return parsed
end

local setters = {}

local function add_setter(name, kind, number)
  local text = "local state, C, stale, wrong_type, failed, istype, address_t, to_address, mac_t, to_mac, " ..
    "int64_t, floor = ...\n" ..
    "return function(e, v)\n" .. CHECK .. SET[kind]:gsub("NAME", name):gsub("FIELD", tostring(number)) .. "\nend"
  setters[name] = assert(loadstring(text, "=moontap.edit"))(state, C, stale, wrong_type, failed, istype, address_t,
    to_address, mac.type, to_mac, int64_t, math.floor)
end

for name, number in pairs(NUMBERS) do
  add_setter(name, "number", tonumber(number))
end
add_setter("src", "address", 0)
add_setter("dst", "address", 1)
add_setter("eth_src", "mac", 0)
add_setter("eth_dst", "mac", 1)
add_setter("ts", "ts", tonumber(C.MT_EDIT_RANGE))
add_setter("ts_ns", "ts_ns", 0)

-- What a script may mean by a name that can not be set.
local INSTEAD = {
  caplen = "use e:truncate, e:insert, e:remove or e:set_payload", payload_len = "use e:set_payload",
  payload = "use e:set_payload", data = "use e:set_bytes",
}

local function not_settable(name)
  name = tostring(name)
  if INSTEAD[name] or fields[name] then
    raise("field '%s' of a packet can not be set%s", name, INSTEAD[name] and "; " .. INSTEAD[name] or
      "; these can: " .. suggest.list(setters))
  end
  local hint = suggest.suffix(name, setters, packet.aliases)
  raise("a packet has no field '%s' to set%s", name, hint ~= "" and hint or "; it has " .. suggest.list(setters))
end

-- --- methods ----------------------------------------------------------------------------------

local edit_methods = {} -- of an edit, besides those of a packet

local function check(e)
  if e._generation ~= state.generation or e._script ~= state.script then
    if type(e) ~= "cdata" then
      raise "the methods of an edit are called with a colon: e:fix_checksums()"
    end
    stale()
  end
end

local function need_number(name, value)
  if type(value) ~= "number" then
    wrong_type(name, "a number", value)
  end
end

local function need_string(name, value)
  if type(value) ~= "string" then
    wrong_type(name, "a string", value)
  end
end

local function put(e, name, off, value, bytes)
  check(e)
  need_number(name, off)
  need_number(name, value)
  local r = C.mt_edit_put(e._edit, e._decoded, off, value, bytes)
  if r ~= 0 then
    failed(r, name, r == OUTSIDE and off or value, e)
  end
end

--- Set one byte.
-- @tparam integer off offset from the start of the frame
-- @tparam integer value 0 to 255
-- @raise if it is outside of the captured bytes, or does not fit
function edit_methods.set_u8(e, off, value)
  put(e, "set_u8", off, value, 1)
end

--- Set two bytes in network order.
-- @tparam integer off offset from the start of the frame
-- @tparam integer value 0 to 65535
-- @raise if they are outside of the captured bytes, or it does not fit
function edit_methods.set_u16(e, off, value)
  put(e, "set_u16", off, value, 2)
end

--- Set four bytes in network order.
-- @tparam integer off offset from the start of the frame
-- @tparam integer value 0 to 4294967295
-- @raise if they are outside of the captured bytes, or it does not fit
function edit_methods.set_u32(e, off, value)
  put(e, "set_u32", off, value, 4)
end

--- Put bytes in the place of others; the length stays.
-- @tparam integer off offset from the start of the frame
-- @tparam string bytes
-- @raise if they reach beyond the captured bytes
function edit_methods.set_bytes(e, off, bytes)
  check(e)
  need_number("set_bytes", off)
  need_string("set_bytes", bytes)
  local r = C.mt_edit_write(e._edit, e._decoded, off, bytes, #bytes)
  if r ~= 0 then
    failed(r, "set_bytes", off, e)
  end
end

--- Another payload, of any length. All of the old one is replaced, also what of it was not captured; `caplen`,
-- `wirelen` and the lengths in the IP, UDP, PPPoE and 802.3 headers follow. Padding of Ethernet frames goes.
-- @tparam string bytes
-- @raise if the packet has no payload (`payload_offset` is 0), or a length field can not hold the length
function edit_methods.set_payload(e, bytes)
  check(e)
  need_string("set_payload", bytes)
  local r = C.mt_edit_set_payload(e._edit, e._decoded, bytes, #bytes)
  if r ~= 0 then
    failed(r, "set_payload", #bytes, e)
  end
end

--- Put bytes in; `caplen` and `wirelen` grow. The lengths in IP, UDP, PPPoE and 802.3 headers that stand whole
-- before the place grow too, if what they count reaches there: bytes put in front of the IP header change none of them.
-- @tparam integer off offset from the start of the frame, 0 to `caplen`
-- @tparam string bytes
-- @raise if the place is outside of the packet, or the packet would become too long
function edit_methods.insert(e, off, bytes)
  check(e)
  need_number("insert", off)
  need_string("insert", bytes)
  local r = C.mt_edit_insert(e._edit, e._decoded, off, bytes, #bytes)
  if r ~= 0 then
    failed(r, "insert", off, e)
  end
end

--- Take bytes out; `caplen` and `wirelen` shrink, and length fields as with `insert`.
-- @tparam integer off offset from the start of the frame
-- @tparam integer len
-- @raise if the bytes are not all captured
function edit_methods.remove(e, off, len)
  check(e)
  need_number("remove", off)
  need_number("remove", len)
  local r = C.mt_edit_remove(e._edit, e._decoded, off, len)
  if r ~= 0 then
    failed(r, "remove", ("%s, length %s,"):format(tostring(off), tostring(len)), e)
  end
end

--- Put a VLAN tag outside of all others.
-- @tparam integer id 0 to 4095
-- @tparam[opt] integer tpid 0x8100, 0x88a8 or 0x9100; default 0x88a8 if there is a tag already, else 0x8100
-- @raise if the link type has no VLAN tags: Ethernet, Linux cooked (both) and Cisco HDLC have
function edit_methods.push_vlan(e, id, tpid)
  check(e)
  need_number("push_vlan", id)
  need_number("push_vlan", tpid or 0)
  local r = C.mt_edit_push_vlan(e._edit, e._decoded, id, tpid or 0)
  if r ~= 0 then
    failed(r, "push_vlan", tpid and ("tag %s %s"):format(tostring(id), tostring(tpid)) or id, e)
  end
end

--- Take the outermost VLAN tag off.
-- @raise if there is none
function edit_methods.pop_vlan(e)
  check(e)
  local r = C.mt_edit_pop_vlan(e._edit, e._decoded)
  if r ~= 0 then
    failed(r, "pop_vlan", nil, e)
  end
end

-- Why a checksum could not be repaired.
local CHECKSUMS = {
  [tonumber(C.MT_EDIT_CUT)] = "the header was not captured whole",
  [tonumber(C.MT_EDIT_LIES)] = "a length in the packet is wrong",
  [tonumber(C.MT_EDIT_UNSEEN)] = "it covers bytes that were not captured, or that are in other fragments",
}

--- Repair the checksums of IPv4, TCP, UDP, UDP-Lite, DCCP, ICMP, ICMPv6, IGMP and SCTP. They are computed where all
-- that they cover was captured. Where the snap length has cut the packet, and in the first of several fragments, they
-- are brought up to date from what has changed (RFC 1624): right if they were right before. A UDP checksum of 0 over
-- IPv4, which says that there is none, stays. Later fragments have only that of the IP header.
-- @treturn ?boolean true; nil: one of them could not be repaired and is as it was
-- @treturn ?string why not
function edit_methods.fix_checksums(e)
  check(e)
  local r = C.mt_edit_fix_checksums(e._edit, e._decoded)
  if r ~= 0 then
    return nil, CHECKSUMS[r]
  end
  return true
end

-- Readers take a packet.
for name in pairs(packet.gives_view) do
  edit_methods[name] = function(e, argument)
    check(e)
    return (methods[name](packet.handle(e._packet, e._decoded, e._generation), argument))
  end
end

-- --- what a script holds ------------------------------------------------------------------------

local function index(e, name, level)
  local get = fields[name]
  if get then
    return (get(e))
  end
  local method = edit_methods[name] or methods[name]
  if method then
    return method
  end
  packet.unknown(name, edit_methods, level)
end

local function newindex(e, name, value)
  local set = setters[name]
  if not set then
    not_settable(name)
  end
  set(e, value)
end

local edit_t = ffi.metatype(ffi.typeof [[
  struct {
    struct mt_packet *_packet; struct mt_decoded *_decoded; struct mt_edit *_edit; double _generation; uint32_t _script;
  }
]], { __index = index, __newindex = newindex, __tostring = packet.text })

-- The methods of packets are described in moontap.packet.

-- What is read of p behind the call would have to be in memory then; read before, p need not be there at all.
function methods.edit(p)
  local q, d, generation = p._packet, p._decoded, p._generation
  if generation ~= state.generation then
    packet.stale()
  end
  local edit = C.mt_edit_begin(state, q)
  if edit == nil then
    raise "edit: out of memory"
  end
  return (edit_t(q, d, edit, generation, state.script))
end

-- --- edits of copies -----------------------------------------------------------------------------

local copy_t = ffi.typeof [[
  struct { struct mt_packet *_packet; struct mt_decoded *_decoded; struct mt_edit *_edit; double number; double t; }
]]

-- An edit of a copy never ends: every access goes through one of the present hook.
local function present(c)
  return (edit_t(c._packet, c._decoded, c._edit, state.generation, state.script))
end

local copy_methods = {}

-- The same method for copies, made when it is first asked for.
local function copy_method(name)
  if not copy_methods[name] and (edit_methods[name] or methods[name]) then
    copy_methods[name] = function(c, ...)
      if packet.gives_view[name] then
        packet.keep_for_views(c)
      end
      return (edit_methods[name] or methods[name])(present(c), ...)
    end
  end
  return copy_methods[name]
end

local function edit_copy(c)
  local edit = C.mt_edit_copy(state.batch, c._packet, c._decoded)
  if edit == nil then
    raise "edit: out of memory"
  end
  return copy_t(edit.packet, edit.decoded, edit, c.number, c.t)
end

copy_methods.edit = edit_copy

-- What readers show must not move while the edit grows: they look at a copy of what it is now.
for _, name in ipairs { "dns", "tls" } do
  copy_methods[name] = function(c, ...)
    local now = methods.copy(present(c))
    return now[name](now, ...)
  end
end

ffi.metatype(copy_t, {
  __index = function(c, name)
    return copy_method(name) or index(present(c), name, 3)
  end,
  __newindex = function(c, name, value)
    newindex(present(c), name, value)
  end,
  __tostring = packet.text,
  __gc = function(c)
    C.mt_edit_free(c._edit)
  end,
})

-- An edit of what p:copy() gave: a copy of its own, that is not written.
packet.copy_methods.edit = edit_copy

-- --- comments -------------------------------------------------------------------------------------

function methods.comment(p, text)
  if p._generation ~= state.generation then
    if type(p) ~= "cdata" then
      raise "the methods of a packet are called with a colon: p:comment(text)"
    end
    packet.stale()
  end
  need_string("comment", text)
  local r = C.mt_edit_comment(state, p._packet, text, #text)
  if r == C.MT_EDIT_OPTIONS then
    return nil, "the options of a packet are at most 65535 bytes"
  elseif r == C.MT_EDIT_TEXT then
    raise "comment: the text is not UTF-8"
  elseif r == C.MT_EDIT_COPY then
    raise "comment: a copy is not written; comment on the packet itself"
  elseif r ~= 0 then
    raise "comment: out of memory"
  end
  return true
end

function methods.comments(p)
  if p._generation ~= state.generation then
    packet.stale()
  end
  local list, len = {}, ffi.new "uint32_t[1]"
  local at = C.mt_packet_comment(p._packet, 0, len)
  while at >= 0 do
    list[#list + 1] = ffi.string(p._packet.options + at, len[0])
    at = C.mt_packet_comment(p._packet, at + len[0], len)
  end
  return list
end

return M
