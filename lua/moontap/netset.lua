-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.netset`: up to millions of networks, searched for the longest prefix that matches an address.
--
--    local sites = moontap.netset {
--      ["10.0.0.0/8"] = "campus", ["10.7.0.0/16"] = "lab", ["2001:db8::/32"] = "campus",
--    }
--    local blocked = moontap.netset { file = "drop.txt" }
--    …
--    local site = sites:lookup(p.src)          -- "lab" for 10.7.1.1
--    if blocked:contains(p.src) then …
--
-- **Where they come from.** A list of networks or their texts, a table of network and value, a file, or all of
-- these in one table. A network without a value has its own text as its value, so that `lookup` says what matched.
--
-- **Files** have a network or an address in each line, and behind it, after blanks, a comma or a semicolon, what
-- `lookup` is to give: the rest of the line, without blanks and quotes around it, always a string. Empty lines are
-- skipped, and so is what follows a `#` that begins a line or stands after a blank, and a line that begins
-- with `;`.
--
-- Of equal networks the last one counts; a list in the script comes behind the file, its pairs behind the list.
--
-- A set does not change. `lookup`, `contains` and `match` cost some 10 to 50 ns and leave no garbage. Memory
-- is outside of the Lua heap, some 50 bytes for a network of IPv4, 70 of IPv6 (120 where it is longer than /64);
-- values that were looked up stand in a Lua table of 8 bytes a network.
-- @module moontap.netset

local ffi = require "ffi"
local new_table = require "table.new"
local C = require "moontap.abi"
local address = require "moontap.address"
local net = require "moontap.net"
local raise = require("moontap.misuse").raise
local suggest = require "moontap.suggest"

local M = {}

assert(C.mt_netset_find)

local istype = ffi.istype
local address_t = ffi.typeof "struct mt_address"
local MUCH = 2 ^ 26 -- bytes of sets that are worth a collection before the next is made

-- Of each set by its number: values[i] is that of its network i, once it was asked for; given: those
-- that the script passed.
local values_of, given_of = {}, {}
local made, held = 0, 0

local set_t = ffi.typeof "struct { struct mt_netset *_set; int32_t _id; }"

-- --- looking up -------------------------------------------------------------------------------

local function net_of(prefix)
  return (net.of_address(address_t(prefix.high, prefix.low, prefix.len), prefix.bits))
end

-- The value of network i, asked for the first time.
local function learn(set, i)
  local prefix = set._set.prefixes[i - 1]
  local label, value = prefix.label
  if label >= C.MT_NETSET_TEXT then
    value = ffi.string(set._set.labels + (label - C.MT_NETSET_TEXT))
  elseif label > 0 then
    value = given_of[set._id][label]
  else
    value = tostring(net_of(prefix))
  end
  values_of[set._id][i] = value
  return value
end

-- An address that is not one yet, or nil.
local function to_address(set, what, value)
  if value == nil then
    if not istype(set_t, set) then -- set.lookup(p.src) would find nothing, and not say why
      raise("netset:%s(address) is a method: write a colon, not a dot", what)
    end
    return nil
  end
  local a = address.from(value)
  if not a then
    raise("netset:%s(address): expected an address, found %s", what,
      type(value) == "string" and "'" .. value .. "'" or "a " .. type(value))
  end
  return a
end

local function not_self(name, value)
  raise("netset:%s: expected a netset before the colon, found %s", name,
    value == nil and "nothing" or type(value) == "cdata" and "something else" or "a " .. type(value))
end

local methods = {}

--- The value of the longest prefix that matches.
-- @function netset:lookup
-- @tparam ?address a or its text
-- @treturn ?string the value that was given with the network, of whatever type; its text if there was none;
--   nil if no network matches or there is no address
-- @raise if it is no address
function methods.lookup(set, a)
  if not istype(set_t, set) then not_self("lookup", set) end
  if not istype(address_t, a) then
    a = to_address(set, "lookup", a)
    if a == nil then
      return nil
    end
  end
  local i = C.mt_netset_find(set._set, a.high, a.low, a.len)
  if i == 0 then
    return nil
  end
  local value = values_of[set._id][i]
  if value == nil then
    value = (learn(set, i))
  end
  return value
end

--- Is the address in one of the networks?
-- @function netset:contains
-- @tparam ?address a or its text
-- @treturn boolean
-- @raise if it is no address
function methods.contains(set, a)
  if not istype(set_t, set) then not_self("contains", set) end
  if not istype(address_t, a) then
    a = to_address(set, "contains", a)
    if a == nil then
      return false
    end
  end
  return C.mt_netset_find(set._set, a.high, a.low, a.len) ~= 0
end

--- The longest prefix that matches.
-- @function netset:match
-- @tparam ?address a or its text
-- @treturn ?net nil if none matches or there is no address
-- @raise if it is no address
function methods.match(set, a)
  if not istype(set_t, set) then not_self("match", set) end
  if not istype(address_t, a) then
    a = to_address(set, "match", a)
    if a == nil then
      return nil
    end
  end
  local i = C.mt_netset_find(set._set, a.high, a.low, a.len)
  if i == 0 then
    return nil
  end
  return (net_of(set._set.prefixes[i - 1]))
end

--- `for net, value in set:pairs() do`: IPv4 first, by address, a network before those within it.
-- @function netset:pairs
-- @treturn function
function methods.pairs(set)
  if not istype(set_t, set) then not_self("pairs", set) end
  local i = 0
  return function()
    if i == set._set.count then
      return nil
    end
    i = i + 1
    local value = values_of[set._id][i]
    if value == nil then
      value = learn(set, i)
    end
    return net_of(set._set.prefixes[i - 1]), value
  end
end

--- Bytes of memory that the set takes outside of the Lua heap.
-- @function netset:memory
-- @treturn integer
function methods.memory(set)
  if not istype(set_t, set) then not_self("memory", set) end
  return set._set.bytes
end

ffi.metatype(set_t, {
  __index = function(_, name)
    local method = methods[name]
    if not method then
      raise("a netset has no method '%s'%s; it has %s", tostring(name), suggest.suffix(tostring(name), methods),
        suggest.list(methods))
    end
    return method
  end,
  __newindex = function()
    raise "a netset can not be changed"
  end,
  __pairs = methods.pairs,
  __len = function(set)
    return set._set.count
  end,
  __tostring = function(set)
    return ("moontap.netset of %d networks"):format(set._set.count)
  end,
})

-- --- making one -------------------------------------------------------------------------------

local line, why = ffi.new "double[1]", ffi.new("char[?]", C.MT_NET_WHY)

local function add_file(set, path)
  if type(path) ~= "string" then
    raise("moontap.netset: file must be the path of a file, found a %s", type(path))
  end
  local file, reason = io.open(path, "rb")
  local text
  if file then
    text, reason = file:read "*a"
    file:close()
  end
  if not text then
    reason = reason and reason:sub(1, #path) == path and reason or path .. ": " .. (reason or "can not be read")
    raise("moontap.netset: %s", reason)
  end
  if C.mt_netset_add_text(set._set, text, #text, line, why) ~= 0 then
    raise("moontap.netset: %s:%d: %s", path, line[0], ffi.string(why))
  end
end

local function add(set, what, label)
  local n, reason = net.from(what)
  if not n then
    local hint = type(what) == "string" and suggest.suffix(what, { file = true }) or ""
    raise("moontap.netset: %s%s", reason, hint)
  end
  if C.mt_netset_add(set._set, n, label) ~= 0 then
    raise "moontap.netset: there is no memory for more networks"
  end
end

-- The keys of the pairs, in an order that does not change from run to run.
local function keys_of(source)
  local keys = {}
  for key in pairs(source) do
    if type(key) == "number" and not (key >= 1 and key <= #source and key % 1 == 0) then
      raise("moontap.netset: expected networks as keys, or a list; found the number %s", tostring(key))
    elseif type(key) ~= "number" and key ~= "file" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function free(set)
  held = held - set._set.bytes
  values_of[set._id], given_of[set._id] = nil, nil
  C.mt_netset_free(set._set)
end

local function new_set()
  if held > MUCH then
    collectgarbage() -- sets are small for the collector, however much they hold
  end
  local c = C.mt_netset_new()
  if c == nil then
    raise "moontap.netset: there is no memory for a set"
  end
  made = made + 1
  return ffi.gc(set_t(c, made), free)
end

--- Make a set.
-- @function moontap.netset
-- @tparam table source a list of networks (or addresses: one alone), pairs of network and value, or both;
--   and `file`, the path of a file of networks
-- @treturn netset
-- @raise if something is no network, with the file and the line where it stands in one; if the file can not
--   be read
function M.new(source)
  if type(source) ~= "table" then
    raise("moontap.netset: expected a table such as { \"10.0.0.0/8\", file = \"more.txt\" }, found %s",
      source == nil and "nothing" or "a " .. type(source))
  end
  local set, given = new_set(), {}
  if source.file ~= nil then
    add_file(set, source.file)
  end
  for _, what in ipairs(source) do
    add(set, what, 0)
  end
  for _, key in ipairs(keys_of(source)) do
    given[#given + 1] = source[key]
    add(set, key, #given)
  end
  if C.mt_netset_build(set._set) ~= 0 then
    raise("moontap.netset: there is no memory for %d networks", set._set.count)
  end
  held = held + set._set.bytes
  given_of[set._id] = given
  values_of[set._id] = new_table(set._set.count + 1, 0)
  return set
end

return M
