-- SPDX-License-Identifier: BSD-2-Clause
--- Packets without what tells who sent them.
--
--    local anonymize = moontap.anonymizer { key_file = "secret.key" }
--    return { on_error = "drop", private = true, on_packet = function(p) anonymize(p) end }
--
-- Calling it changes the packet as an edit does. It keeps headers that it understands and cuts everything else; IP
-- addresses go through `moontap.cryptopan` with the same key, also in tunnels, in quotes of ICMP and in ARP. The recipe
-- `anonymize` is made of it, and docs/recipes.md says what becomes of which header.
--
-- A script with `private = true` keeps names of files and interfaces out of what is written: out of interface blocks,
-- manifests and names of segments. Of `on_error=keep` it makes `drop`.
-- @module moontap.anonymizer

local ffi = require "ffi"
local C = require "moontap.abi"
local misuse = require "moontap.misuse"
local sketch = require "moontap.sketch"

local M = {}

local KEY_BYTES = tonumber(ffi.cast("uint32_t", C.MT_CRYPTOPAN_KEY))
local KNOWN = { key = true, key_file = true, payload = true, mac = true, ports = true, tcp_times = true, shift = true,
  round = true }
local REST = { cut = C.MT_REST_CUT, zero = C.MT_REST_ZERO, keep = C.MT_REST_KEEP }
local MAC = { hide = C.MT_MAC_HIDE, oui = C.MT_MAC_OUI, keep = C.MT_MAC_KEEP }
local PORTS = { keep = 0, hide = 1 }
local TCP_TIMES = { hide = 0, keep = 1 }
local MOST_SECONDS = 4e9

-- Names in the order of the enums in abi.h.
local CUTS = { [0] = "nothing", "payload", "padding", "link type", "type above link", "IP protocol", "fragment",
  "message body", "header not captured", "malformed header", "too deep" }
local HEADERS = { [0] = "ethernet", "cooked", "vlan", "mpls", "ppp", "arp", "ipv4", "ipv6", "tcp", "udp", "sctp",
  "icmp", "icmpv6", "igmp", "icmp quote", "tunnel", "other" }
local CHANGES = { [0] = "ipv4 addresses", "ipv6 addresses", "mac addresses", "ports", "ip options", "tcp options",
  "tunnel headers", "checksums", "packet comments" }

local state = sketch.state
local class, methods = {}, {}

-- C functions that run per packet are looked up before a trace meets them.
assert(C.mt_anonymize)

function class.__call(anonymizer, p)
  if p._generation ~= state.generation then
    misuse.raise "anonymizer: expected a packet of the hook that runs"
  end
  local r = C.mt_anonymize(anonymizer._c, state, p._packet)
  if r ~= 0 then
    misuse.raise(r == -2 and "anonymizer: a copy is not written; call it with the packet itself" or
      "anonymizer: out of memory")
  end
end

local function numbers(array, names)
  local list = {}
  for i = 0, #names do
    local n = tonumber(array[i])
    if n > 0 then
      list[names[i]] = n
    end
  end
  return list
end

--- What was done so far: `packets`, `bytes` (captured), `whole` packets that lost nothing; and by name: `headers` that
-- were kept, `changed` fields, `cut` packets and `cut_bytes` by the reason why their rest went.
-- @treturn table
function methods.counts(anonymizer)
  local c = C.mt_anonymizer_counts(anonymizer._c)
  local cut = numbers(c.cut, CUTS)
  local whole = cut.nothing or 0
  cut.nothing = nil
  return { packets = tonumber(c.packets), bytes = tonumber(c.bytes), whole = whole, cut = cut,
    cut_bytes = numbers(c.cut_bytes, CUTS), headers = numbers(c.headers, HEADERS),
    changed = numbers(c.changed, CHANGES) }
end

class.__index = function(_, name)
  return methods[name] or misuse.raise("an anonymizer is called with a packet and has counts, it has no '%s'",
    tostring(name))
end

--- The 32 bytes of a key file.
-- @tparam string path
-- @treturn ?string
-- @treturn ?string why it can not be had
-- @local
function M.read_key(path)
  local key, why = ffi.new("char[?]", KEY_BYTES), ffi.new "char[512]"
  if C.mt_key_file_read(path, key, KEY_BYTES, why, 512) ~= 0 then
    return nil, ffi.string(why)
  end
  return ffi.string(key, KEY_BYTES)
end

local function choice(options, name, values, default)
  local value = options[name]
  if value == nil then
    value = default
  end
  if not values[value] then
    local list = {}
    for word in pairs(values) do
      list[#list + 1] = word
    end
    table.sort(list)
    misuse.raise("moontap.anonymizer: %s: expected %s, found %s", name, table.concat(list, ", "), tostring(value))
  end
  return values[value]
end

local function seconds(options, name, least)
  local value = options[name] or 0
  if type(value) ~= "number" or not (value >= least and value <= MOST_SECONDS) then
    misuse.raise("moontap.anonymizer: %s: expected seconds, found %s", name, sketch.found(value))
  end
  local whole = math.floor(value)
  return ffi.cast("int64_t", whole) * 1000000000 + math.floor((value - whole) * 1e9 + 0.5)
end

--- Make one; call it with a packet.
-- @function moontap.anonymizer
-- @tparam table options
--
-- - key: a string of 32 bytes, or
-- - key_file: a file of 32 bytes that nobody but its owner may read
-- - payload: what becomes of bytes that are not known to be safe: `cut` (default), `zero`, or `keep`, which keeps the
--   payload of TCP, UDP and echoes and cuts what else is not known
-- - mac: `hide` (default), `oui`, `keep`
-- - ports: `keep` (default), `hide`
-- - tcp_times: the timestamps option: `hide` (default), `keep`
-- - shift: seconds that are added to times
-- - round: seconds to a multiple of which times are rounded down
-- @treturn function with a method `counts`
-- @raise if an option makes no sense, the key can not be read, or others may read it
function M.new(options)
  options = options or {}
  sketch.check_options("moontap.anonymizer", options, KNOWN)
  local key = options.key
  if (key == nil) == (options.key_file == nil) then
    misuse.raise "moontap.anonymizer: expected one of key and key_file"
  elseif key == nil then
    local why
    key, why = M.read_key(tostring(options.key_file))
    if not key then
      misuse.raise("moontap.anonymizer: key_file %s", why)
    end
  elseif type(key) ~= "string" or #key ~= KEY_BYTES then
    misuse.raise("moontap.anonymizer: key: expected a string of %d bytes, found %s", KEY_BYTES,
      type(key) == "string" and ("one of " .. #key) or sketch.found(key))
  end
  local policy = ffi.new("struct mt_anonymize_policy", {
    payload = choice(options, "payload", REST, "cut"), mac = choice(options, "mac", MAC, "hide"),
    ports = choice(options, "ports", PORTS, "keep"), tcp_times = choice(options, "tcp_times", TCP_TIMES, "hide"),
    shift_ns = seconds(options, "shift", -MOST_SECONDS), round_ns = seconds(options, "round", 0),
  })
  local c = C.mt_anonymizer_new(key, policy)
  if c == nil then
    misuse.raise "moontap.anonymizer: out of memory"
  end
  return setmetatable({ _c = ffi.gc(c, C.mt_anonymizer_free) }, class)
end

return M
