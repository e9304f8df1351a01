-- SPDX-License-Identifier: BSD-2-Clause
--- Tables made one, and as strings.
--
-- A saved table is lines of text, `word value`, which declare it and count; an empty line; the value of its overflow
-- entry; and for each entry its key as the first packet had it, its age if it is timed, and its value. Who reads
-- such a string back trusts nothing of it: the declaration is checked like that of a script, keys are made
-- anew from their parts and must come out the same, and what is no number LuaJIT knows becomes its own NaN.
-- @module moontap.table_saved

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local classes = require "moontap.table_class"
local layout = require "moontap.table_layout"
local saved = require "moontap.saved"

local M = {}

local VERSION = 1
local MOST_USES = 2 ^ 53

local plain_entry = ffi.typeof "struct mt_table_entry *"
local words_ptr = ffi.typeof "const uint64_t *"
local places_t = ffi.typeof "uint32_t[?]"
local cast = ffi.cast

-- --- merge ------------------------------------------------------------------------------------

-- How a field of a becomes that of both, as text.  0 is a field that was never set.
local JOIN = {
  sum = "a.F = a.F + b.F",
  max = "if b.F > a.F then a.F = b.F end",
  min = "if b.F ~= 0 and (a.F == 0 or b.F < a.F) then a.F = b.F end",
  last = "if later then a.F = b.F end",
}
local BOUNDED_SUM = [[
  do
    local sum = a.F + b.F
    if sum > MAX then sum = MAX elseif sum < MIN then sum = MIN end
    a.F = sum
  end]]

-- A function that joins the value of one entry to another's: f(entry, other, later).
local function joiner(fields)
  local lines = {}
  for k, field in ipairs(fields) do
    local kind = layout.TYPES[field[2]]
    local text = field[3] == "sum" and kind.min and BOUNDED_SUM or JOIN[field[3]]
    lines[k] = text:gsub("MAX", kind.max or 0):gsub("MIN", kind.min or 0):gsub("%.F", ("[%q]"):format(field[1]))
  end
  local text = "return function(entry, other, later)\nlocal a, b = entry.value, other.value\n%s\nend"
  return assert(loadstring(text:format(table.concat(lines, "\n")), "=moontap.table"))()
end

local function all_places(c)
  local places = places_t(math.max(c.count, 1))
  return places, C.mt_table_places(c, places, c.count)
end

--- Add all entries of a table to another.
-- @tparam table class of the one that gets them
-- @tparam table t
-- @tparam table other of the same declaration
function M.merge(class, t, other)
  local c, o = t._table, other._table
  local entries = cast(class.entry_ptr, o.entries)
  class.join = class.join or joiner(class.fields)
  local join = class.join
  class.settle(t)
  local places, n = all_places(o)
  for k = 0, n - 1 do
    local from = entries + places[k]
    local entry = cast(class.entry_ptr, C.mt_table_absorb(c, cast(plain_entry, from)))
    if c.made == 0 then
      join(entry, from, c.later ~= 0)
    end
  end
  join(cast(class.entry_ptr, c.overflow), cast(class.entry_ptr, o.overflow), true)
  c.refused, c.idle, c.active = c.refused + o.refused, c.idle + o.idle, c.active + o.active
  c.evicted = c.evicted + o.evicted
  if class.ages.timed then
    if o.now_ns > c.now_ns then
      c.now_ns = o.now_ns
    end
    C.mt_table_aged(c)
  end
  if c.ended ~= 0 then
    class.report(t)
  end
end

-- --- save -------------------------------------------------------------------------------------

local COUNTERS = { "refused", "idle", "active", "evicted" }

local function record_type(class)
  local age = (class.ages.timed and "struct mt_table_age age; " or "") .. (class.ages.evicts and "double used;" or "")
  class.record_t = class.record_t or ffi.typeof("struct { $ key; " .. age .. " $ value; }", class.key_struct,
    class.value_struct)
  return class.record_t
end

local function declaration(class, c, options)
  local lines = {}
  local function add(...)
    lines[#lines + 1] = table.concat({ ... }, " ")
  end
  local function number(name, value)
    add(name, ("%.0f"):format(value))
  end
  if class.key.id == "MT_TABLE_PARTS" then
    for _, part in ipairs(class.key.parts) do
      add("part", part[1], part[2])
    end
  else
    add("key", class.key.kind)
  end
  for _, field in ipairs(class.fields) do
    add("value", field[1], field[2], field[3])
  end
  for _, name in ipairs { "idle", "active" } do
    if options[name] then
      add(name .. "_seconds", ("%.17g"):format(options[name]))
    end
  end
  add("policy", options.policy or "overflow")
  number("limit", c.limit)
  number("entries", c.count)
  for _, name in ipairs(COUNTERS) do
    number(name, c[name])
  end
  return table.concat(lines, "\n") .. "\n\n"
end

--- A table as a string.
-- @tparam table class
-- @tparam table t
-- @tparam table options it was made with
-- @treturn string
function M.save(class, t, options)
  class.settle(t)
  local c = t._table
  local record_t = record_type(class)
  local places, n = all_places(c)
  local records = ffi.new(ffi.typeof("$[?]", record_t), n)
  local entries = cast(class.entry_ptr, c.entries)
  for k = 0, n - 1 do
    local entry, record = entries + places[k], records + k
    C.mt_table_copy_key(c, cast(plain_entry, entry), record.key)
    ffi.copy(record.value, entry.value, ffi.sizeof(class.value_struct))
    if class.ages.timed then
      record.age = entry.age
    end
    if class.ages.evicts then
      record.used = entry.used
    end
  end
  local overflow = ffi.string(cast(class.entry_ptr, c.overflow).value, ffi.sizeof(class.value_struct))
  return saved.wrap("table", VERSION, declaration(class, c, options) .. overflow
    .. ffi.string(records, n * ffi.sizeof(record_t)))
end

-- --- restore ----------------------------------------------------------------------------------

local function damaged(text, ...)
  error({ saved = "damaged: " .. text:format(...) }, 0)
end

local function whole(text, name)
  local n = text and text:match "^%d+$" and tonumber(text)
  if not n or n > MOST_USES then
    damaged("'%s' is '%s'", name, tostring(text))
  end
  return n
end

-- The lines of text as what moontap.table takes, and counters.
local function read_declaration(text)
  local options, given, parts, value = {}, {}, {}, {}
  for line in text:gmatch "[^\n]+" do
    local word, rest = line:match "^([%a_]+) (.+)$"
    local a, b, d = (rest or ""):match "^(%S+) ?(%S*) ?(%S*)$"
    if word == "part" then
      parts[#parts + 1] = { a, b }
    elseif word == "value" then
      value[#value + 1] = { a, b, merge = d }
    elseif word then
      given[word] = rest
    else
      damaged("a line is '%s'", line:sub(1, 40))
    end
  end
  options.key = #parts > 0 and parts or given.key
  options.value = #value > 0 and value or nil
  options.limit = whole(given.limit, "limit")
  options.policy = given.policy
  options.idle, options.active = tonumber(given.idle_seconds), tonumber(given.active_seconds)
  return options, given
end

-- A check of one part of a key, as text: k is what was saved.
local function address_is_right(k, member)
  local len = k[member .. "_len"]
  if len == 4 then
    local rest = ffi.abi "le" and 0xffffffff00000000ULL or 0x00000000ffffffffULL
    return k[member .. "_low"] == 0 and bit.band(k[member .. "_high"], rest) == 0
  end
  return len == 16
end

-- The key made anew from the parts of one that was saved must be the same in every byte.
local function check_key(class, key, scratch, values)
  for k, part in ipairs(class.key.parts) do
    local member = part[3]
    if part[2] ~= "address" then
      values[k] = key[member]
    elseif address_is_right(key, member) then
      values[k] = ffi.new("struct mt_address", key[member .. "_high"], key[member .. "_low"], key[member .. "_len"])
    else
      damaged "a key holds no address"
    end
  end
  class.fill(scratch, unpack(values, 1, #class.key.parts))
  local a, b = cast(words_ptr, key), cast(words_ptr, scratch)
  for k = 0, class.key_bytes / 8 - 1 do
    if a[k] ~= b[k] then
      damaged "a key has bytes that no key has"
    end
  end
end

local INFINITE = { double = 0x7ff0000000000000ULL, float = 0x7f800000 }

-- LuaJIT keeps what is no number in the bits of NaNs: those of a file must not become values.
local function clean_numbers(class, value)
  for _, field in ipairs(class.fields) do
    local name, kind = field[1], layout.TYPES[field[2]].c
    local at = cast("const uint8_t *", value) + ffi.offsetof(class.value_struct, name)
    if kind == "double" and bit.band(cast(words_ptr, at)[0], 0x7fffffffffffffffULL) > INFINITE.double then
      value[name] = 0 / 0
    elseif kind == "float" and bit.band(cast("const uint32_t *", at)[0], 0x7fffffff) > INFINITE.float then
      value[name] = 0 / 0
    end
  end
end

-- The age of a record, checked, for its entry.
local function take_age(class, record, entry)
  if class.ages.timed then
    if record.age.first_ns > record.age.last_ns then
      damaged "an entry ends before it begins"
    end
    entry.age = record.age
  end
  if class.ages.evicts then
    local at = cast("const uint8_t *", record) + ffi.offsetof(class.record_t, "used")
    if cast(words_ptr, at)[0] > 0x4340000000000000ULL or record.used % 1 ~= 0 then -- the bits first: it may be a NaN
      damaged "the use of an entry is no number"
    end
    entry.used = record.used
  end
end

-- The entries behind the declaration.
local function read_entries(class, t, data, n)
  local c, record_t = t._table, record_type(class)
  local record, scratch, values = record_t(), class.key_struct(), {}
  for k = 0, n - 1 do
    ffi.copy(record, data + k * ffi.sizeof(record_t), ffi.sizeof(record_t))
    check_key(class, record.key, scratch, values)
    clean_numbers(class, record.value)
    local e = C.mt_table_key(c, scratch, 1)
    if e == c.overflow then
      damaged "there is no memory for it"
    end
    local entry = cast(class.entry_ptr, e)
    ffi.copy(entry.value, record.value, ffi.sizeof(class.value_struct))
    take_age(class, record, entry)
  end
  if c.count ~= n then
    damaged "a key is there twice"
  end
end

--- A table from what M.save gave.
-- @tparam string body
-- @tparam function make moontap.table
-- @treturn table
-- @raise a table with `saved` or `layout`: what is wrong
function M.read(body, make)
  local text, at = body:match "^(.-\n)\n()"
  if not text then
    damaged "it has no head"
  end
  local options, given = read_declaration(text)
  local n = whole(given.entries, "entries")
  if n > options.limit then
    damaged("%d entries are more than the limit of %d", n, options.limit)
  end
  local t, class = make(options)
  local c, value_bytes = t._table, ffi.sizeof(class.value_struct)
  local size = value_bytes + n * ffi.sizeof(record_type(class))
  if #body - at + 1 ~= size then
    damaged("expected %.0f bytes of entries, found %d", size, #body - at + 1)
  end
  local data = cast("const uint8_t *", body) + at - 1
  local value = class.value_struct()
  ffi.copy(value, data, value_bytes)
  clean_numbers(class, value)
  ffi.copy(cast(class.entry_ptr, c.overflow).value, value, value_bytes)
  read_entries(class, t, data + value_bytes, n)
  for _, name in ipairs(COUNTERS) do
    c[name] = whole(given[name], name)
  end
  if class.ages.timed then
    C.mt_table_aged(c)
  end
  return t
end

M.VERSION = VERSION
M.signature = classes.signature

return M
