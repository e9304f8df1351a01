-- SPDX-License-Identifier: BSD-2-Clause
--- What a table's keys and values look like in memory: declarations read, C structs written.
--
-- A key is a list of parts {name, type, prefix}; an address takes three members of the struct
-- (prefix_high, prefix_low, prefix_len), the others one.  Errors are sentences for `error`.
-- @module moontap.table_layout

local ffi = require "ffi"
local suggest = require "moontap.suggest"

local M = {}

-- What a value or a part of a key may be.  Bounds: what does not fit raises an error instead of
-- going round.
local TYPES = {
  count = { c = "double", size = 8 },
  double = { c = "double", size = 8 },
  float = { c = "float", size = 4 },
  u32 = { c = "uint32_t", size = 4, min = 0, max = 4294967295 },
  i32 = { c = "int32_t", size = 4, min = -2147483648, max = 2147483647 },
  u16 = { c = "uint16_t", size = 2, min = 0, max = 65535 },
  i16 = { c = "int16_t", size = 2, min = -32768, max = 32767 },
  u8 = { c = "uint8_t", size = 1, min = 0, max = 255 },
  i8 = { c = "int8_t", size = 1, min = -128, max = 127 },
}
M.TYPES = TYPES

local address, port, proto = "address", "u16", "u8"
local SRC, DST = { "src", address, "src" }, { "dst", address, "dst" }

local FLOW = { SRC, DST, { "sport", port, "sport" }, { "dport", port, "dport" }, { "proto", proto, "proto" } }

-- The keys of packets: their struct and number are in abi.h.
M.KINDS = {
  flow = { id = "MT_TABLE_FLOW", struct = "struct mt_key_flow", parts = FLOW, arrow = "<>" },
  tuple = { id = "MT_TABLE_TUPLE", struct = "struct mt_key_flow", parts = FLOW, arrow = ">" },
  pair = { id = "MT_TABLE_PAIR", struct = "struct mt_key_pair", parts = { SRC, DST }, arrow = "<>" },
  src = { id = "MT_TABLE_SRC", struct = "struct mt_key_address", parts = { { "src", address, "addr" } } },
  dst = { id = "MT_TABLE_DST", struct = "struct mt_key_address", parts = { { "dst", address, "addr" } } },
  sport = { id = "MT_TABLE_SPORT", struct = "struct mt_key_port",
    parts = { { "sport", port, "port" }, { "proto", proto, "proto" } } },
  dport = { id = "MT_TABLE_DPORT", struct = "struct mt_key_port",
    parts = { { "dport", port, "port" }, { "proto", proto, "proto" } } },
}

local KEY_TYPES = { address = true, u8 = true, u16 = true, u32 = true, i8 = true, i16 = true, i32 = true }

local function fail(text, ...)
  error({ layout = text:format(...) }, 0)
end

local function check_name(what, name)
  if type(name) ~= "string" or not name:match "^%a[%w_]*$" then
    fail("%s '%s': a name is letters, digits and _, with a letter first", what, tostring(name))
  end
  if not pcall(ffi.typeof, ("struct { int %s; }"):format(name)) then
    fail("%s '%s' is a word of C and can not be a name here", what, name)
  end
end

local function check_type(what, name, kind, known)
  if kind == "u64" or kind == "i64" then
    fail("%s '%s': there is no %s, since LuaJIT's does not add up with other numbers; 'count' is whole to 2^53",
      what, name, kind)
  end
  if not known[kind] then
    fail("%s '%s': no type '%s'%s (there are %s)", what, name, tostring(kind), suggest.suffix(tostring(kind), known),
      suggest.list(known))
  end
end

-- {name, type} pairs as they are written; names must differ.
local function pairs_of(what, declared, known)
  local list, seen = {}, {}
  for k, pair in ipairs(declared) do
    if type(pair) ~= "table" then
      fail("%s %d: expected { \"name\", \"type\" }, found %s", what, k, tostring(pair))
    end
    local name, kind = pair[1], pair[2]
    check_name(what, name)
    check_type(what, name, kind, known)
    if seen[name] then
      fail("%s '%s' is declared twice", what, name)
    end
    seen[name] = true
    list[k] = { name, kind }
  end
  return list
end

-- What becomes of a field when two tables are made one.
M.MERGES = { sum = true, max = true, min = true, last = true }

-- A field's type may be { "double", merge = "max" }; in a list merge stands beside name and type.
local function read_field(name, kind, merge)
  local keys = type(kind) == "table" and kind or {}
  for key in pairs(keys) do
    if key ~= 1 and key ~= "merge" then
      fail("value '%s': there is no '%s'%s; write { \"type\", merge = \"max\" }", tostring(name), tostring(key),
        suggest.suffix(tostring(key), { merge = true }))
    end
  end
  if type(kind) == "table" then
    kind, merge = kind[1], kind.merge
  end
  if merge ~= nil and not M.MERGES[merge] then
    fail("value '%s': merge can not be '%s'%s (there are %s)", tostring(name), tostring(merge),
      suggest.suffix(tostring(merge), M.MERGES), suggest.list(M.MERGES))
  end
  return { name, kind, merge or "sum" }
end

-- The fields as they are declared, and whether their order is to stay.
local function read_fields(declared)
  local list, ordered = {}, #declared > 0
  if ordered then
    for name in pairs(declared) do
      if type(name) ~= "number" then
        fail("value: '%s' stands beside a list; write all fields as { \"name\", \"type\" }", tostring(name))
      end
    end
    for k, field in ipairs(declared) do
      list[k] = type(field) == "table" and read_field(field[1], field[2], field.merge) or field
    end
  else
    for name, kind in pairs(declared) do
      list[#list + 1] = read_field(name, kind)
    end
  end
  return list, ordered
end

--- The fields of a value.
-- @tparam ?table declared `{ packets = "count" }`, or `{ { "packets", "count" } }` where the order is to stay
-- @tparam ?table taken names that a field can not have, because a value has them anyway
-- @treturn {{string,string,string},...} name, type and merge rule, in the order of the struct
function M.value(declared, taken)
  if declared == nil then
    return {}
  elseif type(declared) ~= "table" then
    fail("value: expected a table of fields, found a %s", type(declared))
  end
  local given, ordered = read_fields(declared)
  local list = pairs_of("value", given, TYPES)
  for k, field in ipairs(list) do
    if taken and taken[field[1]] then
      fail("value '%s': every value of a table with idle, active or policy = \"evict\" has that already", field[1])
    end
    field[3] = given[k][3]
  end
  if not ordered then
    table.sort(list, function(a, b)
      local x, y = TYPES[a[2]].size, TYPES[b[2]].size
      return x > y or (x == y and a[1] < b[1])
    end)
  end
  return list
end

--- The C struct of a value.
-- @tparam table fields of M.value
-- @treturn string
function M.value_struct(fields)
  local members = {}
  for k, field in ipairs(fields) do
    members[k] = ("%s %s; "):format(TYPES[field[2]].c, field[1])
  end
  return "struct { " .. table.concat(members) .. "}"
end

local function parts_struct(parts)
  local sized, lengths = {}, {}
  for k, part in ipairs(parts) do
    local is_address = part[2] == "address"
    sized[k] = { is_address and 16 or TYPES[part[2]].size, k,
      (is_address and "uint64_t %s_high, %s_low;" or TYPES[part[2]].c .. " %s;"):gsub("%%s", part[3]) }
    lengths[k] = is_address and ("uint8_t %s_len;"):format(part[3]) or ""
  end
  table.sort(sized, function(a, b)
    return a[1] > b[1] or (a[1] == b[1] and a[2] < b[2])
  end)
  for k, member in ipairs(sized) do
    sized[k] = member[3]
  end
  return ("struct { %s %s } __attribute__((aligned(8)))"):format(table.concat(sized, " "), table.concat(lengths, " "))
end

--- The parts of a key.
-- @param declared name of a kind, or a list of { name, type }
-- @treturn table parts; struct (text of C); kind, its name for messages; id, its enum mt_table_kind; arrow
function M.key(declared)
  local kind = type(declared) == "string" and M.KINDS[declared]
  if kind then
    return { parts = kind.parts, struct = kind.struct, kind = declared, id = kind.id, arrow = kind.arrow }
  end
  if type(declared) == "string" then
    fail("key: there is no '%s'%s (there are %s)", declared, suggest.suffix(declared, M.KINDS), suggest.list(M.KINDS))
  elseif type(declared) ~= "table" or #declared == 0 then
    fail("key: expected a name (%s) or a list of { \"name\", \"type\" }", suggest.list(M.KINDS))
  end
  local parts = pairs_of("key", declared, KEY_TYPES)
  local names = {}
  for k, part in ipairs(parts) do
    part[3] = ("part%d"):format(k)
    names[k] = part[1]
  end
  return { parts = parts, struct = parts_struct(parts), kind = table.concat(names, ", "), id = "MT_TABLE_PARTS" }
end

return M
