-- SPDX-License-Identifier: BSD-2-Clause
--- Keys of moontap.topk and moontap.distinct: of packets by name, or given by value.
--
-- By name, `key = "src"`, they are those of moontap.table: `"flow"`, `"tuple"`, `"pair"`, `"src"`, `"dst"`, `"sport"`,
-- `"dport"`. What is added is then a packet, a copy of one, a key that a sketch or table of that kind gave, or for
-- `"src"` and `"dst"` an address.
--
-- By value they are strings, numbers, addresses and booleans. Keys of different types are different: 80 is not "80",
-- and `p.src` not its text.
-- @module moontap.sketch_key

local ffi = require "ffi"
local C = require "moontap.abi"
local layout = require "moontap.table_layout"
local sketch = require "moontap.sketch"
local suggest = require "moontap.suggest"
local table_key = require "moontap.table_key"
local text_key = require "moontap.text_key"

local M = {}

local raise, found = sketch.raise, sketch.found
local istype = ffi.istype
local address_t = ffi.typeof "struct mt_address"
local text_key_t, text_of_keys, check_text = text_key.type, text_key.buffer, text_key.check
local STRING, NUMBER, ADDRESS, BOOLEAN = C.MT_KEY_STRING, C.MT_KEY_NUMBER, C.MT_KEY_ADDRESS, C.MT_KEY_BOOLEAN
local PARTS, SRC, DST = C.MT_TABLE_PARTS, C.MT_TABLE_SRC, C.MT_TABLE_DST

-- One for all calls: C copies what it keeps.
local scratch = ffi.new "struct mt_sketch_key"
M.scratch = scratch

local names, views = {}, {} -- by enum mt_table_kind
for name, kind in pairs(layout.KINDS) do
  names[tonumber(C[kind.id])] = name
end

--- What a script calls a kind of key.
-- @tparam integer kind enum mt_table_kind
-- @treturn ?string nil: keys by value
function M.name(kind)
  return names[kind]
end

-- The type of keys of a kind, as scripts get them.
local function view(kind)
  if not views[kind] then
    views[kind] = table_key.type(layout.key(names[kind]))
  end
  return views[kind]
end

--- The number of the kind that the option `key` names.
-- @tparam string what `moontap.topk`
-- @param name nil: keys are given by value
-- @treturn integer enum mt_table_kind
-- @raise if there is no such kind
function M.kind(what, name)
  if name == nil then
    return PARTS
  end
  local kind = layout.KINDS[name]
  if not kind then
    raise("%s: key: there is no '%s'%s (there are %s; without key=, keys are given by value)", what, tostring(name),
      suggest.suffix(tostring(name), layout.KINDS), suggest.list(layout.KINDS))
  end
  return tonumber(C[kind.id])
end

--- Refuse a packet where keys are given by value.
-- @tparam string what `topk:add`
-- @raise always
function M.no_packet(what)
  raise("%s: this one takes keys by value, such as p.dport; to give it packets, make it with key = \"src\" or another "
    .. "of %s", what, suggest.list(layout.KINDS))
end

local function put_address(tag, address)
  scratch.tag, scratch.turned = tag, 0
  scratch.words[0], scratch.words[1], scratch.words[2] = address.high, address.low, 0
  scratch.address.addr_len = address.len
end

-- Anything but a packet, where keys are those of packets.  False: a copy of a packet without such a key.
local function put_packet_key(what, kind, key)
  if istype(view(kind), key) then
    scratch.tag, scratch.turned = kind, 0
    ffi.copy(scratch.words, key._key, ffi.sizeof(key))
    return true
  elseif istype(address_t, key) and (kind == SRC or kind == DST) then
    put_address(kind, key)
    return true
  end
  local copy = table_key.copied(key)
  if copy then
    return C.mt_sketch_key_of_packet(kind, copy._packet, copy._decoded, scratch) ~= 0
  end
  raise("%s: its keys are the %s of packets: expected a packet or such a key, found %s", what, names[kind], found(key))
end

local function no_key(what, key)
  if key == nil then
    raise("%s: the key is nil; p.src and p.dst are nil for packets without IP", what)
  elseif table_key.copied(key) then
    M.no_packet(what)
  end
  raise("%s: expected a string, a number, an address or a boolean as key, found %s", what,
    key ~= key and "NaN" or found(key))
end

--- Write a key into scratch.
-- @tparam string what `topk:add`, for messages
-- @tparam integer kind enum mt_table_kind of the sketch
-- @param key what the script gave, but no packet in its hook
-- @treturn boolean false: it is a copy of a packet that has no such key
-- @raise if it can be no key
function M.put(what, kind, key)
  if kind ~= PARTS then
    return (put_packet_key(what, kind, key))
  end
  local kind_of = type(key)
  if kind_of == "string" then
    scratch.tag, scratch.text, scratch.len = STRING, key, #key
  elseif kind_of == "number" and key == key then
    scratch.tag, scratch.number = NUMBER, key
  elseif istype(address_t, key) then
    put_address(ADDRESS, key)
  elseif istype(text_key_t, key) then
    check_text(key)
    scratch.tag, scratch.text, scratch.len = STRING, text_of_keys, key._len
  elseif kind_of == "boolean" then
    scratch.tag, scratch.number = BOOLEAN, key and 1 or 0
  else
    no_key(what, key)
  end
  return true
end

--- Check that the keys of two sketches are of one kind.
-- @param a state of one
-- @param b state of the other
-- @raise if they are not
function M.check_merge(a, b)
  if a.kind ~= b.kind then
    raise("merge: the keys differ: %s and %s", names[a.kind] or "by value", names[b.kind] or "by value")
  end
end

--- The key of C as a script gets it.
-- @param key struct mt_sketch_key
-- @return a string, number, address or boolean; or a copy of a packet's key as moontap.table gives it
function M.value(key)
  local tag = key.tag
  if tag == STRING then
    return ffi.string(key.text, key.len)
  elseif tag == NUMBER then
    return key.number
  elseif tag == BOOLEAN then
    return key.number == 1
  elseif tag == ADDRESS then
    return address_t(key.address.addr_high, key.address.addr_low, key.address.addr_len)
  end
  local value = view(tag)()
  ffi.copy(value._key, key.words, ffi.sizeof(value))
  return value
end

return M
