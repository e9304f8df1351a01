-- SPDX-License-Identifier: BSD-2-Clause
--- Packets and bytes counted by one to four packet fields: what `top` is made of.
--
-- Values are kept as they are in nested tables, so that counting makes no strings and the hook
-- stays compiled; text is made for the entries that are shown.  At most a million
-- different combinations are told apart, the rest counts as others.
-- @module moontap.group

local C = require "moontap.abi"
local address = require "moontap.address"
local format = require "moontap.format"
local list_of = require("moontap.list").new
local suggest = require "moontap.suggest"

local M = {}

M.MAX_FIELDS = 4
M.MAX_ENTRIES = 1000000

local function plain(n)
  return n == 0 and "-" or tostring(n)
end

local function named(name_of)
  return function(n)
    return n == 0 and "-" or name_of(n)
  end
end

local function ip(key)
  return key == "" and "-" or address.key_text(key)
end

-- Fields that can be counted by, and how a value is shown.
local SHOW = {
  src = ip, dst = ip, sport = plain, dport = plain, proto = named(format.protocol), flow = tostring, source = tostring,
  interface = tostring, vlan = plain, ethertype = named(format.ethertype), ip_version = plain, ttl = plain,
  linktype = tostring, wirelen = tostring, caplen = tostring,
}

-- `src/24`, `dst/24/56`: bits of IPv4, bits of IPv6 (48 if not given).
local function parse_prefix(name)
  local field, bits, bits6 = name:match "^([sd][rs][ct])/(%d+)/?(%d*)$"
  bits, bits6 = tonumber(bits), tonumber(bits6 ~= "" and bits6 or 48)
  if (field == "src" or field == "dst") and bits <= 32 and bits6 and bits6 <= 128 then
    return field, bits, bits6
  end
end

-- The first bits of a key of 4 or 16 bytes, as a key whose other bits are 0.
local function cut_key(key, bits)
  local bytes = math.floor(bits / 8)
  local rest = bits % 8
  local head = key:sub(1, bytes)
  if rest > 0 then
    local byte = key:byte(bytes + 1)
    head = head .. string.char(byte - byte % 2 ^ (8 - rest))
  end
  return head .. ("\0"):rep(#key - #head)
end

local function show_prefix(name)
  local _, bits, bits6 = parse_prefix(name)
  return function(key)
    return key == "" and "-" or ("%s/%d"):format(address.key_text(key), #key == 4 and bits or bits6)
  end
end

-- Names that were asked for or sent, in lower case.
local function dns_name(p)
  local d = p:dns()
  return d and d.name_lower or ""
end

local function tls_name(p)
  local h = p:tls()
  return h and h.is_client_hello and h.sni or ""
end

local function text_or_none(text)
  return text == "" and "-" or text
end

SHOW.dns, SHOW.tls = text_or_none, text_or_none

local function prefix_reader(name)
  local field, bits, bits6 = parse_prefix(name)
  local key_field, cut = field .. "_key", {} -- addresses come again: their prefixes are remembered
  local n = 0
  return function(p)
    local key = p[key_field]
    local prefix = cut[key]
    if not prefix then
      if n >= M.MAX_ENTRIES then
        cut, n = {}, 0
      end
      prefix = key == "" and "" or cut_key(key, #key == 4 and bits or bits6)
      cut[key], n = prefix, n + 1
    end
    return prefix
  end
end

--- Split a list of fields.
-- @tparam string text `src,dport`, `dst/24`
-- @treturn ?{string,...} the names, or nil and a sentence that says what is wrong
function M.parse(text)
  local names = {}
  for name in (text .. ","):gmatch "([^,]*)," do
    if not SHOW[name] and parse_prefix(name) then
      SHOW[name] = show_prefix(name)
    end
    if not SHOW[name] then
      return nil, ("no field '%s' to count by%s (there are %s)"):format(name, suggest.suffix(name, SHOW),
        suggest.list(SHOW))
    end
    names[#names + 1] = name
  end
  if #names > M.MAX_FIELDS then
    return nil, ("expected at most %d fields, found %d"):format(M.MAX_FIELDS, #names)
  end
  return names
end

local function reader(name)
  if name == nil then
    return nil
  elseif parse_prefix(name) then
    return prefix_reader(name)
  elseif name == "dns" then
    return dns_name
  elseif name == "tls" then
    return tls_name
  elseif name == "flow" then -- the hash, widened by ports and protocol: a million flows stay apart
    return function(p)
      return p.flow_hash * 2097152 + (p.sport + p.dport) * 16 + p.proto % 16
    end
  end
  local field = (name == "src" or name == "dst") and name .. "_key" or name
  return function(p)
    return (p[field])
  end
end

local function flow_text(p)
  local function side(addr, port)
    local text = tostring(addr)
    return not p.has_ports and text or (text:find ":" and "[%s]:%d" or "%s:%d"):format(text, port)
  end
  return p.src and ("%s - %s %s"):format(side(p.src, p.sport), side(p.dst, p.dport), format.protocol(p.proto)) or "-"
end

-- The entries with the largest values, at most n, in order; equal ones as they came.
local function largest(values, count, n)
  local best = {}
  for entry = 1, count do
    local value = values[entry]
    if #best < n or value > values[best[#best]] then
      local low, high = 1, #best + 1
      while low < high do
        local middle = math.floor((low + high) / 2)
        if values[best[middle]] >= value then
          low = middle + 1
        else
          high = middle
        end
      end
      table.insert(best, low, entry)
      best[n + 1] = nil
    end
  end
  return best
end

-- Find the keys of the wanted entries: place[entry] gets the shown value of each field.
local function find_keys(t, names, depth, keys, place)
  for key, below in pairs(t) do
    keys[depth] = key
    if depth < #names then
      find_keys(below, names, depth + 1, keys, place)
    elseif place[below] then
      for i, name in ipairs(names) do
        place[below][name] = place[below][name] or SHOW[name](keys[i])
      end
    end
  end
end

local ASK = -2 -- what nobody gives as a number
local NO_OFFSET = C.MT_NO_OFFSET

-- A reader of the number of what a table tells apart; make(p) gives it to what is new. beyond: what is none of the
-- first `most`; none: a packet without such a key.
local function table_reader(kind, most, make, beyond, none)
  local tables = require "moontap.table"
  local known, n = tables.new { key = kind, value = { number = "double" }, limit = most + 1 }, 0
  local quick, rest = require("moontap.table_class").reader(tables.class_of(known), "number"), known:overflow()
  rest.number = ASK

  local function look_up(p)
    local entry = known:find(p)
    if entry then
      return entry.number
    elseif p._decoded.src_offset == NO_OFFSET then -- no IP, or a header that was cut
      return none
    elseif n >= most then
      return beyond
    end
    n = n + 1
    if n == most then
      rest.number = beyond
    end
    local number = make(p)
    known[p].number = number
    return number
  end

  return function(p)
    local number = quick(known, p)
    if number and number ~= ASK then
      return number
    end
    return (look_up(p))
  end
end

-- The same for prefixes; the addresses that were cut are remembered.
local function prefix_table_reader(name, most, make, beyond, none)
  local prefix_of, numbers, n, addresses = prefix_reader(name), {}, 0, 0
  local known = require("moontap.table").new { key = name:sub(1, 3), value = { number = "double" },
    limit = M.MAX_ENTRIES + 1 }
  local function number_of(p)
    local prefix = prefix_of(p)
    if prefix == "" then
      return none
    end
    if not numbers[prefix] then
      if n >= most then
        return beyond
      end
      n = n + 1
      numbers[prefix] = make(p)
    end
    return numbers[prefix]
  end
  local function add(p)
    local number = number_of(p)
    if number ~= none then
      if addresses >= M.MAX_ENTRIES then
        known:clear()
        addresses = 0
      end
      addresses = addresses + 1
      known[p].number = number
    end
    return number
  end
  return function(p)
    local entry = known:find(p)
    if entry then
      return entry.number
    end
    return (add(p))
  end
end

-- What makes the reader of a field whose values are told apart by a table, without a string for each packet.
local function table_of(name)
  if name == "flow" or name == "src" or name == "dst" then
    return table_reader, name
  elseif parse_prefix(name) then
    return prefix_table_reader, name
  end
end

-- What a packet's value of the field is in a name.
local function text_reader(name)
  local read = reader(name)
  return function(p)
    local text = name == "flow" and flow_text(p) or tostring(SHOW[name](read(p)))
    return text == "-" and "none" or text
  end
end

-- Keys of Lua tables: whole numbers too large for the array part, since LuaJIT gives up on a table
-- that has them in both parts. The low bits of such a double are those of the number, so they hash well.
local FAR = 2 ^ 52

local function far_reader(name, most)
  local new_reader, kind = table_of(name)
  local n = FAR
  if new_reader then
    return new_reader(kind, most, function()
      n = n + 1
      return n
    end, -1, 0)
  end
  local read = reader(name)
  return function(p)
    local value = read(p)
    return type(value) == "number" and value + FAR or value
  end
end

-- Numbers for the values of one field that has a table.
local function numbers_of_one(new_reader, name, most, add)
  local read, none = new_reader(name, most, add, 0, -1), nil
  return function(p)
    local number = read(p)
    if number < 0 then
      none = none or add(p)
      return none
    end
    return number
  end
end

--- Numbers for combinations of fields.
-- @tparam {string,...} names fields, as M.parse gives them
-- @tparam integer most combinations
-- @tparam function new is called with the text of each new one and gives its number
-- @treturn function of a packet: the number, 0 beyond the most
function M.numbers(names, most, new)
  local root, n, readers, texts = {}, 0, {}, {}
  for i, name in ipairs(names) do
    texts[i] = text_reader(name)
  end

  -- The number of a new combination.
  local function add(p)
    if n >= most then
      return 0
    end
    n = n + 1
    local list = {}
    for i, text in ipairs(texts) do
      list[i] = text(p)
    end
    return new(table.concat(list, "_"))
  end

  local new_reader, kind = table_of(names[1])
  if #names == 1 and new_reader then
    return numbers_of_one(new_reader, kind, most, add)
  end
  for i, name in ipairs(names) do
    readers[i] = far_reader(name, most)
  end
  local read1, read2, read3, read4 = readers[1], readers[2], readers[3], readers[4]

  local function add_far(p, ...)
    local values, t = { ... }, root
    for i = 1, #names do
      if values[i] == -1 then
        return 0
      end
    end
    local number = add(p)
    if number == 0 then
      return 0
    end
    for i = 1, #names - 1 do
      t[values[i]] = t[values[i]] or {}
      t = t[values[i]]
    end
    t[values[#names]] = number
    return number
  end

  if #names == 1 then
    return function(p)
      local v1 = read1(p)
      return root[v1] or n < most and add_far(p, v1) or 0
    end
  end
  return function(p)
    local v1, v2 = read1(p), read2(p)
    local v3, v4 = read3 and read3(p), read4 and read4(p)
    local t = root[v1]
    t = t and t[v2]
    if t and read3 then t = t[v3] end
    if t and read4 then t = t[v4] end
    return t or n < most and add_far(p, v1, v2, v3, v4) or 0
  end
end

--- A new count, empty.
-- @tparam {string,...} names fields, as M.parse gives them
-- @treturn table with `add(p)`, to be called with each packet, `top(n, order)`, and `clear()`
function M.new(names)
  local root, full = {}, {} -- key of the first field -> ... -> key of the last -> number of the entry
  local entries, packets, bytes = 0, { [0] = 0 }, { [0] = 0 } -- by number of the entry; 0: others
  local flows, has_flow = {}, false
  local read1, read2, read3, read4 = reader(names[1]), reader(names[2]), reader(names[3]), reader(names[4])
  for _, name in ipairs(names) do
    has_flow = has_flow or name == "flow"
  end

  local function child(t, key)
    local inner = t[key]
    if inner == nil then
      if entries >= M.MAX_ENTRIES then
        return full
      end
      inner = {}
      t[key] = inner
    end
    return inner
  end

  local function new_entry(p, t, key)
    if entries >= M.MAX_ENTRIES then
      return 0
    end
    entries = entries + 1
    t[key], packets[entries], bytes[entries] = entries, 0, 0
    if has_flow then
      flows[entries] = flow_text(p)
    end
    return entries
  end

  local group = {}

  function group.add(p)
    local t, key = root, read1(p)
    if read2 then
      t, key = child(t, key), read2(p)
    end
    if read3 then
      t, key = child(t, key), read3(p)
    end
    if read4 then
      t, key = child(t, key), read4(p)
    end
    local entry = t[key] or new_entry(p, t, key)
    packets[entry] = packets[entry] + 1
    bytes[entry] = bytes[entry] + p.wirelen
  end

  --- Begin anew.
  function group.clear()
    root, full, flows, entries = {}, {}, {}, 0
    packets[0], bytes[0] = 0, 0
  end

  --- The largest entries and what remains.
  -- @tparam integer n how many
  -- @tparam string order "packets" or "bytes"
  -- @treturn table top = array of { FIELD = shown value, …, packets = , bytes = }, entries = number of all,
  --   untold = packets of values beyond M.MAX_ENTRIES,
  --   packets and bytes = sums of all, others = { entries = , packets = , bytes = } of what is not in top
  function group.top(n, order)
    local list, place = list_of(), {}
    for i, entry in ipairs(largest(order == "packets" and packets or bytes, entries, n)) do
      list[i] = { packets = packets[entry], bytes = bytes[entry], flow = flows[entry] }
      place[entry] = list[i]
    end
    find_keys(root, names, 1, {}, place)
    local all = { packets = 0, bytes = 0 }
    local others = { entries = entries - #list, packets = 0, bytes = 0 }
    for entry = 0, entries do
      all.packets, all.bytes = all.packets + packets[entry], all.bytes + bytes[entry]
      if not place[entry] then
        others.packets, others.bytes = others.packets + packets[entry], others.bytes + bytes[entry]
      end
    end
    return { top = list, entries = entries, packets = all.packets, bytes = all.bytes, others = others,
      untold = packets[0] }
  end

  return group
end

return M
