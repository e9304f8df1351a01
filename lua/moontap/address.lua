-- SPDX-License-Identifier: BSD-2-Clause
--- IP addresses as values: they compare (also with text), print, and know what they are for.
--
--    if p.src == "10.0.0.1" and p.dst and p.dst.is_multicast then …
--    local a = moontap.address "192.168.7.9"
--    print(a, a.version, a.is_private, a:mask(24))   -- 192.168.7.9  4  true  192.168.7.0
--
-- `==` and `<` take addresses and their texts. IPv4 comes before IPv6. An IPv6 address that holds one of IPv4
-- (`::ffff:10.0.0.1`) is an IPv6 address and equal to none of IPv4.
--
-- A Lua table finds an address by identity, not by value: use `addr:key()` as the key, or moontap.table.
--
-- **Fields**, all boolean but the first. They are what IANA's registries of special-purpose addresses say (RFC 6890
-- and its successors).
--
-- - `version`: 4 or 6
-- - `is_global`: unicast that can be routed on the Internet: neither multicast nor set aside by a registry for
--   something that is not (where a registry does not say, as for 6to4, it is not); of IPv6, only 2000::/3, all
--   that is given out so far, and 64:ff9b::/96
-- - `is_private`: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), fc00::/7 (unique local, RFC 4193)
-- - `is_shared`: 100.64.0.0/10, behind the NAT of a carrier (RFC 6598)
-- - `is_loopback`: 127.0.0.0/8, ::1
-- - `is_link_local`: 169.254.0.0/16, fe80::/10
-- - `is_multicast`: 224.0.0.0/4, ff00::/8
-- - `is_unspecified`: 0.0.0.0, ::
-- - `is_documentation`: 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20
-- @module moontap.address

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local mac = require "moontap.mac"
local raise = require("moontap.misuse").raise
local suggest = require "moontap.suggest"

-- Looked up now: a first look in a compiled loop would end its recording.
assert(C.mt_address_kind)

local M = {}

local band, bor, bxor, rshift = bit.band, bit.bor, bit.bxor, bit.rshift
local cast, istype = ffi.cast, ffi.istype
local address_t = ffi.typeof "struct mt_address"
local u64_ptr = ffi.typeof "const uint64_t *"
local bytes_ptr = ffi.typeof "uint8_t *"
local text_buffer = ffi.new "char[64]"

local MOST_CACHED = 4096
local cache, cached = {}, 0 -- text of a constant in a script -> address, or false

local function parse(text)
  local address = cache[text]
  if address == nil then
    address = address_t()
    if type(text) ~= "string" or C.mt_address_parse(text, #text, address) ~= 0 then
      address = false
    end
    if cached == MOST_CACHED then -- texts that are made while packets come must not pile up
      cache, cached = {}, 0
    end
    cache[text] = address
    cached = cached + 1
  end
  return address
end

--- An address from its text.
-- @tparam string text `10.0.0.1` or `2001:db8::1`
-- @treturn address
-- @raise if the text is no address
function M.new(text)
  local address = parse(text)
  if not address then
    error(("'%s' is no IP address"):format(tostring(text)), 2)
  end
  return address
end

-- What of 16 bytes belongs to an address of 4 or 16 bytes.
local high_mask, low_mask = ffi.new "uint64_t[17]", ffi.new "uint64_t[17]"
high_mask[4], low_mask[4] = 0xffffffffULL, 0
high_mask[16], low_mask[16] = -1ULL, -1ULL
if ffi.abi "be" then
  high_mask[4] = 0xffffffff00000000ULL
end

--- The bytes at a pointer as an address.  Without a branch, so that a hook is one compiled
-- path for IPv4 and IPv6; initialised in one go, so that LuaJIT need not allocate it.
-- @param ptr `const uint8_t *`; 16 bytes are read whatever the length (see MT_DATA_SLACK)
-- @tparam integer len 4 or 16
-- @treturn address
function M.from_bytes(ptr, len)
  local halves = cast(u64_ptr, ptr)
  return (address_t(band(halves[0], high_mask[len]), band(halves[1], low_mask[len]), len))
end

--- Text of a key that `p.src_key`, `p.dst_key`, `p.eth_src_key` or `p.eth_dst_key` gave.
-- @tparam string key 4, 16 or 6 bytes
-- @treturn string `10.0.0.1`; "" for an empty key
function M.key_text(key)
  if #key == 6 then
    return mac.text(key)
  elseif #key ~= 4 and #key ~= 16 then
    return ""
  end
  return ffi.string(text_buffer, C.mt_address_format(cast("const uint8_t *", key), #key, text_buffer))
end

local function equal(a, b)
  if type(a) == "string" then
    a = parse(a)
  elseif type(b) == "string" then
    b = parse(b)
  end
  if not a or not b or not istype(address_t, a) or not istype(address_t, b) then
    return false
  end
  return bor(bxor(a.high, b.high), bxor(a.low, b.low), bxor(a.len, b.len)) == 0 -- one branch for all of it
end

--- The address that a value of the script stands for.
-- @param value an address or its text
-- @treturn ?address nil if it is neither
function M.from(value)
  if istype(address_t, value) then
    return value
  end
  return type(value) == "string" and parse(value) or nil
end

local function no_order(a, b)
  local other = istype(address_t, a) and b or a
  local what = type(other) == "string" and ("'%s', which is no IP address"):format(other) or "a " .. type(other)
  raise("an address can not be compared with %s", what)
end

-- As a number, whose order is that of addresses.
local to_number = ffi.abi "le" and bit.bswap or function(word)
  return word
end

local function less(a, b)
  local x, y = M.from(a), M.from(b)
  if not x or not y then
    no_order(a, b)
  end
  if x.len ~= y.len then
    return x.len < y.len
  elseif x.high ~= y.high then
    return to_number(x.high) < to_number(y.high)
  end
  return to_number(x.low) < to_number(y.low)
end

-- The bits that a prefix length keeps, by MASKS_OF[len] + prefix length.
local MASKS_OF = ffi.new("int32_t[17]")
MASKS_OF[16] = 33
local mask_high, mask_low = ffi.new "uint64_t[162]", ffi.new "uint64_t[162]"
local function fill_masks(len)
  for bits = 0, 8 * len do
    local i = MASKS_OF[len] + bits
    local high, low = cast(bytes_ptr, mask_high + i), cast(bytes_ptr, mask_low + i)
    for k = 0, len - 1 do
      local ones = math.max(0, math.min(8, bits - 8 * k))
      local bytes = k < 8 and high or low
      bytes[k % 8] = 256 - 2 ^ (8 - ones)
    end
  end
end
fill_masks(4)
fill_masks(16)

--- Masks of a prefix length.
-- @tparam integer len 4 or 16
-- @tparam integer bits
-- @return two 64-bit words, in network order as in `struct mt_address`
function M.masks(len, bits)
  local i = MASKS_OF[len] + bits
  return mask_high[i], mask_low[i]
end

local masks = M.masks

--- Check a prefix length for an address.
-- @tparam address a
-- @param bits prefix length for IPv4
-- @param bits6 prefix length for IPv6; nil: the same
-- @treturn integer the one that holds
-- @raise if it can not be one
function M.prefix_length(a, bits, bits6)
  local n = bits
  if a.len == 16 and bits6 ~= nil then
    n = bits6
  end
  if type(n) ~= "number" or not (n >= 0 and n <= 8 * a.len) or n % 1 ~= 0 then
    raise("the prefix length of an IPv%d address is 0 to %d, found %s", a.len == 4 and 4 or 6, 8 * a.len, tostring(n))
  end
  return n
end

local prefix_length = M.prefix_length

local methods, getters = {}, {}

--- The first address of the network that it is in: what to count by.
--
--    local subnets = moontap.table { key = { { "net", "address" } }, value = { packets = "count" } }
--    … local s = subnets:get(p.src:mask(24, 64))
-- @function address:mask
-- @tparam integer bits how many bits to keep, 0 to 32 for IPv4, to 128 for IPv6; the others become 0
-- @tparam[opt] integer bits6 how many to keep of an IPv6 address
-- @treturn address
-- @raise if there are no such bits
function methods.mask(a, bits, bits6)
  local high, low = masks(a.len, prefix_length(a, bits, bits6))
  return (address_t(band(a.high, high), band(a.low, low), a.len))
end

--- The address as a key of a Lua table, as `p.src_key` is; moontap.key_text gives its text.
-- @function address:key
-- @treturn string 4 or 16 bytes
function methods.key(a)
  return (ffi.string(cast(bytes_ptr, a), a.len))
end

function getters.version(a)
  return a.len == 4 and 4 or 6
end

-- The last kinds that were asked for, and for which first bits of an address (16 of IPv4, 32 of IPv6) each holds.
-- A call to C is not only slower: what a hook has at hand must be in memory behind it, so that it leaves garbage.
local PLACES = 4096 -- for each version
local kinds, heads = ffi.new("uint32_t[?]", 2 * PLACES), ffi.new("uint32_t[?]", 2 * PLACES)
local head_shift, first_place = ffi.new "int32_t[17]", ffi.new "int32_t[17]" -- by length, not to branch on it
head_shift[4], head_shift[16], first_place[16] = 64 - 16, 64 - 32, PLACES

local function ask(a, i, head)
  local kind = C.mt_address_kind(a.high, a.low, a.len)
  if band(kind, C.MT_ADDRESS_ALIKE) ~= 0 then
    kinds[i], heads[i] = kind, head
  end
  return kind
end

local function kind_of(a)
  local len = a.len
  local head = tonumber(rshift(to_number(a.high), head_shift[len]))
  local i = band(bxor(head, rshift(head, 16)), PLACES - 1) + first_place[len]
  local kind = kinds[i]
  if kind == 0 or heads[i] ~= head then
    kind = (ask(a, i, head))
  end
  return kind
end

-- Each a function of its own with its bit a constant in it.
for name, kind in pairs {
  is_global = C.MT_ADDRESS_GLOBAL, is_private = C.MT_ADDRESS_PRIVATE, is_shared = C.MT_ADDRESS_SHARED,
  is_loopback = C.MT_ADDRESS_LOOPBACK, is_link_local = C.MT_ADDRESS_LINK_LOCAL,
  is_multicast = C.MT_ADDRESS_MULTICAST, is_unspecified = C.MT_ADDRESS_UNSPECIFIED,
  is_documentation = C.MT_ADDRESS_DOCUMENTATION,
} do
  getters[name] = assert(loadstring(([[
    local kind_of, band = ...
    return function(a)
      return band(kind_of(a), %d) ~= 0
    end]]):format(kind), "=moontap.address"))(kind_of, band)
end

local function unknown(name)
  local known = {}
  for _, names in ipairs { getters, methods } do
    for key in pairs(names) do
      known[key] = true
    end
  end
  local hint = suggest.suffix(tostring(name), known)
  raise("an address has no field '%s'%s", tostring(name), hint ~= "" and hint or "; it has " .. suggest.list(known))
end

ffi.metatype(address_t, {
  __index = function(a, name)
    local get = getters[name]
    if get then
      return (get(a))
    end
    local method = methods[name]
    if method then
      return method
    end
    unknown(name)
  end,
  __call = function()
    raise "an address is no function: fields are read without parentheses, as in p.src"
  end,
  __newindex = function(_, name)
    raise("field '%s' of an address can not be set", tostring(name))
  end,
  __eq = equal,
  __lt = less,
  __le = function(a, b)
    return not less(b, a)
  end,
  __tostring = function(a)
    return ffi.string(text_buffer, C.mt_address_format(cast(bytes_ptr, a), a.len, text_buffer))
  end,
  __concat = function(a, b)
    return tostring(a) .. tostring(b)
  end,
})

return M
