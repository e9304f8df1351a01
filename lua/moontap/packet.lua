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
local format = require "moontap.format"
local suggest = require "moontap.suggest"

local M = {}

local handle_t = ffi.typeof "struct mt_packet_handle"
local copy_t -- below
local band = bit.band
local from_bytes = address.from_bytes

local state -- struct mt_hook_state *, set once by M.attach

local function stale()
  error("this packet is gone: a packet ends with its hook, keep it with p:copy()", 4)
end

-- Getters are generated, so that each is one straight function with the check in it.  The state
-- is an upvalue that never changes: LuaJIT makes a constant of it, sees that the generation it
-- compares is the one the loop has just stored, and leaves the check out.
local function getter(body)
  local text = ([[
    local state, C, stale, band, from_bytes, ffi_string, M = ...
    return function(h)
      if h._generation ~= state.generation then stale() end
      local q = h._packet
      %s
    end]]):format(body)
  return assert(loadstring(text, "=moontap.packet"))
end

local DECODE = [[
      if state.batch.decoded == 0 then C.mt_batch_decode(state.batch) end
      local d = h._decoded
]]

local bodies = {
  ts = "return tonumber(q.ts_ns) / 1e9",
  ts_ns = "return q.ts_ns",
  t = "return tonumber(q.ts_ns - state.first_ns)",
  caplen = "return q.caplen",
  wirelen = "return q.wirelen",
  linktype = "return q.linktype",
  source = "return M.source_names[q.iface] or (M.learn(q.iface, M.source_names))",
  interface = "return M.interface_names[q.iface] or (M.learn(q.iface, M.interface_names))",
  interface_id = "return M.interface_numbers[q.iface] or (M.learn(q.iface, M.interface_numbers))",
  direction = "local v = q.direction if v == 1 then return 'in' elseif v == 2 then return 'out' end return nil",
  number = "return state.before + state.index + 1",
  ethertype = DECODE .. "return d.ethertype",
  vlan = DECODE .. "return d.vlan",
  ip_version = DECODE .. "return d.ip_version",
  proto = DECODE .. "return d.proto",
  sport = DECODE .. "return d.sport",
  dport = DECODE .. "return d.dport",
  tcp_flags = DECODE .. "return d.tcp_flags",
  ttl = DECODE .. "return d.ttl",
  payload_len = DECODE .. "return d.payload_len",
  payload_offset = DECODE .. "local o = d.payload_offset if o == 0xffff then return 0 end return o",
  is_ip = DECODE .. "return d.ip_version ~= 0",
  is_tcp = DECODE .. "return band(d.bits, 1) ~= 0",
  is_udp = DECODE .. "return band(d.bits, 2) ~= 0",
  is_icmp = DECODE .. "return band(d.bits, 4) ~= 0",
  is_fragment = DECODE .. "return band(d.bits, 8) ~= 0",
  has_ports = DECODE .. "return band(d.bits, 16) ~= 0",
  has_vlan = DECODE .. "return band(d.bits, 32) ~= 0",
  flow_hash = DECODE .. "return C.mt_flow_hash(q, d)",
  src = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return nil end
      return (from_bytes(q.data + o, d.address_len))]],
  dst = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return nil end
      local len = d.address_len
      return (from_bytes(q.data + o + len, len))]],
  src_key = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return "" end
      return (ffi_string(q.data + o, d.address_len))]],
  dst_key = DECODE .. [[
      local o = d.src_offset
      if o == 0xffff then return "" end
      return (ffi_string(q.data + o + d.address_len, d.address_len))]],
}

-- What other tools call these fields.
local aliases = {
  src_port = "sport", source_port = "sport", srcport = "sport", dst_port = "dport", dest_port = "dport",
  dstport = "dport", port = "dport", len = "wirelen", length = "wirelen", size = "wirelen", cap_len = "caplen",
  timestamp = "ts", protocol = "proto", ip_proto = "proto", ip_src = "src", ip_dst = "dst",
  src_ip = "src", dst_ip = "dst", saddr = "src", daddr = "dst", flags = "tcp_flags", vlan_id = "vlan",
  hop_limit = "ttl", eth_type = "ethertype", iface = "interface", version = "ip_version",
  data = "bytes", payload = "payload_len",
}

local getters, methods = {}, {}

M.source_names, M.interface_names, M.interface_numbers = {}, {}, {}

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
  C.mt_decode(c._packet, c._decoded)
  c.number = state.before + state.index + 1
  c.t = tonumber(q.ts_ns - state.first_ns)
  return c
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
    C.mt_decode(q, h._decoded)
  end
end

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

local copy_methods = {} -- made when they are first asked for
setmetatable(copy_methods, {
  __index = function(_, name)
    local method = methods[name]
    if method and not rawget(copy_methods, name) then
      copy_methods[name] = function(c, ...)
        return method(handle_of(c), ...)
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
  for name, body in pairs(bodies) do
    getters[name] = getter(body)(hook_state, C, stale, band, from_bytes, ffi.string, M)
  end
end

--- What attach was given; nil before.
function M.state()
  return state
end

M.handle = handle_t
M.fields = getters
M.methods = methods
M.copy_methods = copy_methods
M.aliases = aliases

-- For moontap.edit, whose handles are packets too.
M.stale, M.unknown, M.text = stale, unknown, text

return M
