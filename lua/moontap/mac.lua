-- SPDX-License-Identifier: BSD-2-Clause
--- Ethernet addresses as values: they compare with `==` (also with text) and print.
--
-- `p.eth_src == "02:00:00:00:00:01"` makes no string; the text is read once.
--
-- **Fields**, both boolean.
--
-- - `is_multicast`: to a group, broadcast too
-- - `is_broadcast`: ff:ff:ff:ff:ff:ff
-- @module moontap.mac

local bit = require "bit"
local ffi = require "ffi"

local M = {}

local band, cast, istype = bit.band, ffi.cast, ffi.istype
local mac_t = ffi.typeof "struct { uint64_t _bytes; }" -- the last two are 0
local u64_ptr = ffi.typeof "const uint64_t *"
local bytes_ptr = ffi.typeof "const uint8_t *"
local six_bytes = ffi.abi "le" and 0x0000ffffffffffffULL or 0xffffffffffff0000ULL

local cache = {} -- text of a constant in a script -> address, or false

local function parse(text)
  local mac = cache[text]
  if mac == nil then
    mac = false
    local digits = text:gsub("[:-]", "")
    local plain = text:match "^%x%x([:-])%x%x%1%x%x%1%x%x%1%x%x%1%x%x$" or text:match "^%x+$"
    if plain and #digits == 12 then
      local buffer = ffi.new "uint8_t[8]"
      for i = 0, 5 do
        buffer[i] = tonumber(digits:sub(2 * i + 1, 2 * i + 2), 16)
      end
      mac = mac_t(cast(u64_ptr, buffer)[0])
    end
    cache[text] = mac
  end
  return mac
end

--- An Ethernet address from its text, to compare with `p.eth_src` and `p.eth_dst`.
-- @tparam string text `02:00:00:00:00:01`, `02-00-00-00-00-01` or `020000000001`
-- @treturn mac
-- @raise if the text is no such address
function M.new(text)
  local mac = type(text) == "string" and parse(text)
  if not mac then
    error(("'%s' is no Ethernet address"):format(tostring(text)), 2)
  end
  return mac
end

--- The bytes at a pointer as an address; 8 bytes are read (see MT_DATA_SLACK).
-- @param ptr `const uint8_t *`
-- @treturn mac
function M.from_bytes(ptr)
  return (mac_t(band(cast(u64_ptr, ptr)[0], six_bytes)))
end

--- Six bytes as text.
-- @param ptr `const uint8_t *`, or a string of 6 bytes
-- @treturn string `02:00:00:00:00:01`
function M.text(ptr)
  local b = cast(bytes_ptr, ptr)
  return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(b[0], b[1], b[2], b[3], b[4], b[5])
end

local function equal(a, b)
  if type(a) == "string" then
    a = parse(a)
  elseif type(b) == "string" then
    b = parse(b)
  end
  if not a or not b or not istype(mac_t, a) or not istype(mac_t, b) then
    return false
  end
  return a._bytes == b._bytes
end

local members = {
  is_multicast = function(a) -- broadcast too
    return band(cast(bytes_ptr, a)[0], 1) ~= 0
  end,
  is_broadcast = function(a)
    return a._bytes == six_bytes
  end,
}

-- Its type, for those who take one.
M.type = mac_t

ffi.metatype(mac_t, {
  __eq = equal,
  __index = function(a, key)
    local member = members[key]
    if member then
      return (member(a))
    end
    error(("an Ethernet address has no '%s'; it has is_broadcast, is_multicast"):format(tostring(key)), 2)
  end,
  __tostring = function(a)
    return M.text(cast(bytes_ptr, a))
  end,
  __concat = function(a, b)
    return tostring(a) .. tostring(b)
  end,
})

return M
