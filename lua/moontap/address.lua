-- SPDX-License-Identifier: BSD-2-Clause
--- IP addresses as values: they compare with `==` (also with text) and print.
-- @module moontap.address

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local mac = require "moontap.mac"

local M = {}

local band, bor, bxor = bit.band, bit.bor, bit.bxor
local cast, istype = ffi.cast, ffi.istype
local address_t = ffi.typeof "struct mt_address"
local u64_ptr = ffi.typeof "const uint64_t *"
local bytes_ptr = ffi.typeof "uint8_t *"
local text_buffer = ffi.new "char[64]"

local cache = {} -- text of a constant in a script -> address, or false

local function parse_ipv4(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  if not a then
    return nil
  end
  local address = address_t()
  for i, part in ipairs { a, b, c, d } do
    local n = tonumber(part)
    if n > 255 or #part > 3 then
      return nil
    end
    cast(bytes_ptr, address)[i - 1] = n
  end
  address.len = 4
  return address
end

-- The groups of one side of "::", appended to list; false if one is malformed.
local function add_groups(list, text)
  if text == "" then
    return true
  end
  for group in (text .. ":"):gmatch "([^:]*):" do
    local v4 = group:find(".", 1, true) and parse_ipv4(group)
    if v4 then
      list[#list + 1] = cast(bytes_ptr, v4)[0] * 256 + cast(bytes_ptr, v4)[1]
      list[#list + 1] = cast(bytes_ptr, v4)[2] * 256 + cast(bytes_ptr, v4)[3]
    elseif #group >= 1 and #group <= 4 and group:match "^%x+$" then
      list[#list + 1] = tonumber(group, 16)
    else
      return false
    end
  end
  return true
end

local function parse_ipv6(text)
  local head, tail = text:match "^(.-)::(.*)$"
  local groups, after = {}, {}
  if not add_groups(groups, head or text) or not add_groups(after, tail or "") then
    return nil
  end
  local missing = 8 - #groups - #after
  if (head and missing < 1) or (not head and missing ~= 0) then
    return nil
  end
  for _ = 1, missing do
    groups[#groups + 1] = 0
  end
  for _, group in ipairs(after) do
    groups[#groups + 1] = group
  end
  local address = address_t()
  for i, group in ipairs(groups) do
    cast(bytes_ptr, address)[2 * i - 2] = math.floor(group / 256)
    cast(bytes_ptr, address)[2 * i - 1] = group % 256
  end
  address.len = 16
  return address
end

local function parse(text)
  local address = cache[text]
  if address == nil then
    address = parse_ipv4(text) or parse_ipv6(text) or false
    cache[text] = address
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

ffi.metatype(address_t, {
  __eq = equal,
  __tostring = function(a)
    return ffi.string(text_buffer, C.mt_address_format(cast(bytes_ptr, a), a.len, text_buffer))
  end,
  __concat = function(a, b)
    return tostring(a) .. tostring(b)
  end,
})

return M
