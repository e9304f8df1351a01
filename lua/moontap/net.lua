-- SPDX-License-Identifier: BSD-2-Clause
--- IP networks as values.
--
--    local home = moontap.net "192.168.0.0/16"
--    …
--    if home:contains(p.src) and not home:contains(p.dst) then …
--
-- `net:contains(address)` is false where there is no address, so packets without IP need no test of their own.
-- A network of IPv4 contains no IPv6 address, not even `::ffff:192.168.0.1`, which holds one of IPv4.
--
-- Networks compare with `==` (also with their text) and `<` (IPv4 first, by first address, then the larger first),
-- and print as `192.168.0.0/16`. Nothing of this makes a string or leaves garbage.
--
-- **Fields.**
--
-- - `first`, `last`: its first and last address; `address` is another name of `first`
-- - `prefix_len`: how many bits its addresses have in common, 0 to 32 or 128
-- - `version`: 4 or 6
-- @module moontap.net

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local address = require "moontap.address"
local raise = require("moontap.misuse").raise
local suggest = require "moontap.suggest"

local M = {}

local band, bnot, bor, bxor = bit.band, bit.bnot, bit.bor, bit.bxor
local istype = ffi.istype
local address_t = ffi.typeof "struct mt_address"
local net_t = ffi.typeof "struct mt_net"
local masks, prefix_length = address.masks, address.prefix_length
local why = ffi.new("char[?]", C.MT_NET_WHY)

local MOST_CACHED = 4096
local cache, cached = {}, 0 -- text -> network, so that one may stand in a hook

-- A network from its text; nil and why not.
local function parse(text)
  local net = cache[text]
  if net then
    return net
  end
  net = net_t()
  if C.mt_net_parse(text, #text, net, why) ~= 0 then
    return nil, ffi.string(why)
  end
  if cached == MOST_CACHED then -- texts that are made while packets come must not pile up
    cache, cached = {}, 0
  end
  cache[text] = net
  cached = cached + 1
  return net
end

local function of_address(a, bits)
  local high, low = masks(a.len, bits)
  return (net_t(band(a.high, high), band(a.low, low), high, low, a.len, bits))
end

M.of_address = of_address

--- The network that a value of the script stands for.
-- @param value a network or its text
-- @treturn ?net nil if it is neither
-- @treturn ?string why not
function M.from(value)
  if istype(net_t, value) then
    return value
  elseif istype(address_t, value) then
    return (of_address(value, 8 * value.len))
  elseif type(value) ~= "string" then
    return nil, ("expected a network, found %s"):format(value == nil and "nothing" or "a " .. type(value))
  end
  return parse(value)
end

--- A network from its text, or the network of an address.
--
--    moontap.net "10.0.0.0/8"     moontap.net "10.0.0.0/255.0.0.0"     moontap.net "2001:db8::/32"
--    moontap.net "10.1.2.3"       one address: /32, or /128 for IPv6
--    moontap.net(p.src, 24, 64)   what p.src is in: /24 of IPv4, /64 of IPv6
--
-- In a text no bit may be set behind the prefix (`10.1.2.3/8`); the error says which network is meant.
-- @function moontap.net
-- @param value a text; with bits: an address, its text, or nil
-- @tparam[opt] integer bits prefix length
-- @tparam[opt] integer bits6 prefix length where the address is one of IPv6
-- @treturn net with bits and without an address: nil
-- @raise if the text is no network
function M.new(value, bits, bits6)
  if bits == nil then
    local net, reason = M.from(value)
    if not net then
      raise("moontap.net: %s", reason)
    end
    return net
  elseif value == nil then
    return nil
  end
  local a = address.from(value)
  if not a then
    raise("moontap.net(address, bits): expected an address, found %s",
      type(value) == "string" and "'" .. value .. "'" or "a " .. type(value))
  end
  return (of_address(a, prefix_length(a, bits, bits6)))
end

-- --- fields and methods -----------------------------------------------------------------------

local methods, getters = {}, {}

local function has(net, a)
  return bor(band(bxor(a.high, net._high), net._high_mask), band(bxor(a.low, net._low), net._low_mask),
    bxor(a.len, net._len)) == 0 -- one branch for all of it
end

-- Whatever is not an address.
local function contains_other(net, value)
  if value == nil then
    if not istype(net_t, net) then -- net.contains(p.src) would find nothing, and not say why
      raise "net:contains(address) is a method: write a colon, not a dot"
    end
    return false
  end
  local a = address.from(value)
  if a then
    return has(net, a)
  end
  local inner, reason = M.from(value)
  if not inner then
    raise("net:contains(address): %s", type(value) == "string" and reason
      or "expected an address or a network, found a " .. type(value))
  end
  return inner._bits >= net._bits and has(net, inner.first)
end

--- Is the address in this network?
-- @function net:contains
-- @param value an address or its text; nil: there is none; or a network, all of which must be in this one
-- @treturn boolean
-- @raise if it is something else
function methods.contains(net, value)
  if istype(address_t, value) then
    return has(net, value)
  end
  return (contains_other(net, value))
end

function getters.first(net)
  return (address_t(net._high, net._low, net._len))
end

getters.address = getters.first

function getters.last(net)
  local high, low = masks(net._len, 8 * net._len) -- all bits that an address has
  return (address_t(bor(net._high, band(bnot(net._high_mask), high)), bor(net._low, band(bnot(net._low_mask), low)),
    net._len))
end

function getters.prefix_len(net)
  return net._bits
end

function getters.version(net)
  return net._len == 4 and 4 or 6
end

local function unknown(name)
  local known = {}
  for _, names in ipairs { getters, methods } do
    for key in pairs(names) do
      known[key] = true
    end
  end
  local aliases = { bits = "prefix_len", prefixlen = "prefix_len", network = "first", broadcast = "last" }
  local hint = suggest.suffix(tostring(name), known, aliases)
  raise("a network has no field '%s'%s", tostring(name), hint ~= "" and hint or "; it has " .. suggest.list(known))
end

local function pair(a, b)
  local x, y = M.from(a), M.from(b)
  if not x or not y then
    local other = istype(net_t, a) and b or a
    raise("a network can not be compared with %s",
      type(other) == "string" and "'" .. other .. "'" or "a " .. type(other))
  end
  return x, y
end

local function less(a, b)
  local x, y = pair(a, b)
  if x.first ~= y.first then
    return x.first < y.first
  end
  return x._bits < y._bits
end

ffi.metatype(net_t, {
  __index = function(net, name)
    local get = getters[name]
    if get then
      return (get(net))
    end
    local method = methods[name]
    if method then
      return method
    end
    unknown(name)
  end,
  __newindex = function(_, name)
    raise("field '%s' of a network can not be set", tostring(name))
  end,
  __eq = function(a, b)
    if type(a) == "string" then
      a = parse(a)
    elseif type(b) == "string" then
      b = parse(b)
    end
    if not a or not b or not istype(net_t, a) or not istype(net_t, b) then
      return false
    end
    return bor(bxor(a._high, b._high), bxor(a._low, b._low), bxor(a._len, b._len), bxor(a._bits, b._bits)) == 0
  end,
  __lt = less,
  __le = function(a, b)
    return not less(b, a)
  end,
  __tostring = function(net)
    return ("%s/%d"):format(tostring(net.first), net._bits)
  end,
  __concat = function(a, b)
    return tostring(a) .. tostring(b)
  end,
})

return M
