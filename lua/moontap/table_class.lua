-- SPDX-License-Identifier: BSD-2-Clause
--- What tables of one declaration share: the types of their keys, values and entries, and the functions that
-- look something up, written as text for the declaration and compiled.
--
-- ctypes and compiled functions are never freed, so there is one class for a declaration however many tables
-- are made of it.  See moontap.table for what a script sees.
-- @module moontap.table_class

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local address = require "moontap.address"
local layout = require "moontap.table_layout"
local packet = require "moontap.packet"
local raise = require("moontap.misuse").raise
local suggest = require "moontap.suggest"
local table_key = require "moontap.table_key"

local M = {}

-- The functions that run per packet.  A trace that meets them for the first time must find them looked up.
for _, name in ipairs { "mt_table_prepare", "mt_table_packet", "mt_table_key", "mt_table_remove", "mt_table_expire",
  "mt_table_next_ended", "mt_table_now", "mt_table_copy_key", "mt_table_next" } do
  assert(C[name])
end

local address_t = ffi.typeof "struct mt_address"
local istype, cast = ffi.istype, ffi.cast
local plain_entry = ffi.typeof "struct mt_table_entry *"

local state = packet.state() -- struct mt_hook_state *

local function stale()
  raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
end

local function gone()
  raise "this value is gone: its entry was removed from the table"
end

--- Refuse what is no table of the class where a method was called with a dot, or with another table.
-- @param value what it was called with
-- @raise always
function M.not_self(value)
  local what = type(value) == "cdata" and "something else" or value == nil and "nothing" or "a " .. type(value)
  raise("a method of a table: expected the table before the colon, found %s", what)
end

local function load_text(text, ...)
  return assert(loadstring(text, "=moontap.table"))(...)
end

-- --- values -----------------------------------------------------------------------------------

-- What the values of timed tables have besides their fields.
local AGES = {
  first_seen = "tonumber(e.age.first_ns) / 1e9", last_seen = "tonumber(e.age.last_ns) / 1e9",
  first_seen_ns = "e.age.first_ns", last_seen_ns = "e.age.last_ns",
}
M.AGES = AGES

local GET = [[
local gone, tonumber = ...
return function(f)
  local e = f._entry
  if e.generation ~= f._generation then gone() end
  return WHAT
end]]

local SET = [[
local gone, wrong, MIN, MAX = ...
return function(f, v)
  local e = f._entry
  if e.generation ~= f._generation then gone() end
  if type(v) ~= "number" CHECK then wrong("NAME", v) end
  e.value["NAME"] = v
end]]

local function read_only(name, what)
  return function()
    raise("'%s' of a value can not be set: it is %s", name, what)
  end
end

-- Whether the packet that a value was looked up by goes against its entry's first one.
local BACK = "f._back ~= 0"

-- The type of references to values of a class; fields: {{name, type, merge}, …}.  directed: they know `back`.
local function value_type(entry_t, fields, timed, directed)
  local getters, setters, bounds = {}, {}, {}

  local function wrong(name, v)
    if type(v) ~= "number" then
      raise("field '%s' of a value takes a number, found a %s", name, type(v))
    end
    raise("field '%s' of a value is a %s: %s does not fit", name, bounds[name], tostring(v))
  end

  for _, field in ipairs(fields) do
    local name, kind = field[1], layout.TYPES[field[2]]
    bounds[name] = field[2]
    getters[name] = load_text(GET:gsub("WHAT", ("e.value[%q]"):format(name)), gone)
    local set = SET:gsub("CHECK", kind.min and "or not (v >= MIN and v <= MAX)" or ""):gsub("NAME", name)
    setters[name] = load_text(set, gone, wrong, kind.min, kind.max)
  end
  for name, what in pairs(timed and AGES or {}) do
    getters[name] = load_text(GET:gsub("WHAT", what), gone, tonumber)
    setters[name] = read_only(name, "the time of a lookup")
  end
  if directed and not getters.back then
    getters.back = load_text(GET:gsub("WHAT", BACK), gone)
    setters.back = read_only("back", "the way of a packet")
  end

  local function unknown(name)
    local hint = suggest.suffix(tostring(name), getters)
    raise("a value of this table has no field '%s'%s", tostring(name),
      hint ~= "" and hint or "; it has " .. (next(getters) and suggest.list(getters) or "none"))
  end

  local text = "struct { $ *_entry; double _generation; " .. (directed and "int32_t _back; }" or "}")
  return ffi.metatype(ffi.typeof(text, entry_t), {
    __index = function(f, name)
      local get = getters[name]
      if get then
        return (get(f))
      end
      unknown(name)
    end,
    __newindex = function(f, name, v)
      local set = setters[name]
      if not set then
        unknown(name)
      end
      set(f, v)
    end,
    __tostring = function(f)
      local parts = {}
      for k, field in ipairs(fields) do
        parts[k] = ("%s=%.15g"):format(field[1], f[field[1]])
      end
      return table.concat(parts, " ")
    end,
  })
end

-- --- keys -------------------------------------------------------------------------------------

local function to_address(what, value)
  if istype(address_t, value) then
    return value
  elseif type(value) == "string" then
    local ok, parsed = pcall(address.new, value)
    if not ok then
      raise("key: %s: '%s' is no IP address", what, value)
    end
    return parsed
  end
  raise("key: %s: expected an address, found %s", what, value == nil and "nothing" or "a " .. type(value))
end

local function not_in(what, kind, value)
  if type(value) ~= "number" then
    raise("key: %s: expected a number, found %s", what, value == nil and "nothing" or "a " .. type(value))
  end
  raise("key: %s is a %s: %s does not fit", what, kind, tostring(value))
end

-- A function that writes its arguments into a key: f(key, a1, a2, …).
local function filler(parts)
  local lines, names = {}, {}
  for k, part in ipairs(parts) do
    local name, kind, member = part[1], part[2], part[3]
    names[k] = "a" .. k
    if kind == "address" then
      lines[k] = ([[
        do
          local a = to_address("NAME", aK)
          k.MEMBER_high, k.MEMBER_low, k.MEMBER_len = a.high, a.low, a.len
        end]]):gsub("MEMBER", member):gsub("aK", "a" .. k):gsub("NAME", name)
    else
      lines[k] = ([[
        if type(aK) ~= "number" or not (aK >= MIN and aK <= MAX) or aK %% 1 ~= 0 then not_in("NAME", "KIND", aK) end
        k.MEMBER = aK]]):gsub("%%%%", "%%"):gsub("MIN", layout.TYPES[kind].min):gsub("MAX", layout.TYPES[kind].max)
        :gsub("MEMBER", member):gsub("aK", "a" .. k):gsub("KIND", kind):gsub("NAME", name)
    end
  end
  local text = ("local to_address, not_in = ... return function(k, %s)\n%s\nend"):format(table.concat(names, ", "),
    table.concat(lines, "\n"))
  return load_text(text, to_address, not_in)
end

-- --- lookups ----------------------------------------------------------------------------------

-- Loaded afresh for each class, so that LuaJIT sees constants.  ADD: 1, make the entry if there is none.
-- The note of a packet is right while the entry has the generation that was noted, and until p:truncate or p:edit
-- (flag 128) changes the packet; C knows what to do then.
local LOOKUP = [[
local state, C, istype, cast, band, handle_t, entry_ptr, value_t, stale, other, expire, report, table_t, not_self = ...
return function(t, a1 MORE)
  if not istype(table_t, t) then not_self(t) end
  if not istype(handle_t, a1) then return (other(t, ADD, a1 MORE)) end
  if a1._generation ~= state.generation then stale() end
  local c, batch = t._table, state.batch
  if c.seq ~= batch.seq then C.mt_table_prepare(c, state) end
  c.asked = c.asked + 1
  local q, d = a1._packet, a1._decoded
  local i = d - batch.decode
  local k = band(i, 1023) -- p:inner() lies behind: there are no notes of those
  EXPIRE
  ABSENT
  local e = c.entry[k]
  local generation = e.generation
  if generation == c.noted[k] and q.cut == 0 and q.flags < 128 and i < 1024 then
    local entry = cast(entry_ptr, e)
    USE
    return (value_t(entry, generation NOTED_BACK))
  end
  e = C.mt_table_packet(c, q, d, i, ADD)
  if e == nil then return nil end
  local back = c.back_now -- REPORT may look up others
  generation = e.generation
  REPORT
  return (value_t(cast(entry_ptr, e), generation BACK_NOW))
end]]

-- A lookup by anything but a packet in its hook: a key, a copy of a packet, or the parts of a key.  Parts are read
-- before C is called, so that addresses made for them need no memory; on_expire may have used scratch since.
local OTHER = [[
local state, C, istype, cast, key_t, entry_ptr, value_t, scratch, fill, copied, settle, report, table_t, not_self = ...
return function(t, add, a1 MORE)
  if not istype(table_t, t) then not_self(t) end
  local c, e = t._table, nil
  if istype(key_t, a1) then
    SETTLE
    e = C.mt_table_key(c, a1._key, add)
  else
    local copy = copied(a1)
    if copy then
      SETTLE
      e = C.mt_table_packet(c, copy._packet, copy._decoded, -1, add)
    else
      fill(scratch, a1 MORE)
      REFILL
      e = C.mt_table_key(c, scratch, add)
    end
  end
  if e == nil then return nil end
  local back = c.back_now
  local generation = e.generation
  REPORT
  return (value_t(cast(entry_ptr, e), generation BACK_NOW))
end]]

-- Only for find.
local ABSENT = "if c.noted[k] == " .. tonumber(C.MT_NOTED_ABSENT)
  .. " and c.newest == c.newest_noted and q.cut == 0 and q.flags < 128 and i < 1024 then return nil end"
local EXPIRE = "if c.clock[k] >= c.due_ns then expire(t, c.clock[k]) end"
local USE = "if entry.age.last_ns < c.clock[k] then entry.age.last_ns = c.clock[k] end"
local COUNT_USE = " local uses = c.uses + 1 c.uses = uses entry.used = uses"
local REPORT = "if c.ended ~= 0 then report(t) end"

-- Is a key the same for both directions?
local function has_two_ways(key)
  return key.id == "MT_TABLE_FLOW" or key.id == "MT_TABLE_PAIR"
end

-- The text of a lookup: what a class has no need of is left out.
local function write(text, key, ages)
  local more = {}
  for k = 2, #key.parts do
    more[k - 1] = ", a" .. k
  end
  local directed = has_two_ways(key)
  return (text:gsub(" MORE", table.concat(more)):gsub("EXPIRE", ages.timed and EXPIRE or "")
    :gsub("USE", (ages.timed and USE or "") .. (ages.evicts and COUNT_USE or ""))
    :gsub("SETTLE", ages.timed and "settle(t)" or "")
    :gsub("REFILL", ages.timed and ("if settle(t) then fill(scratch, a1%s) end"):format(table.concat(more)) or "")
    :gsub("REPORT", ages.evicts and REPORT or "")
    :gsub(" NOTED_BACK", directed and ", c.back[k]" or ""):gsub(" BACK_NOW", directed and ", back" or ""))
end

-- The value NAME of the packet in hand; that of overflow() if it has no entry; nil: find has to look. Of this
-- module's tables only moontap.group uses it, for numbers of which none is ever removed. Where packets with and
-- without an entry take turns a loop needs two traces for find, of which one begins with all that the other does.
local READ = [[
local state, C, band, cast, entry_ptr, NO_OFFSET = ...
return function(t, p)
  local c, batch = t._table, state.batch
  if c.seq ~= batch.seq then C.mt_table_prepare(c, state) end
  c.asked = c.asked + 1
  local q, d = p._packet, p._decoded
  if c.newest ~= c.newest_noted or d.src_offset == NO_OFFSET or q.cut ~= 0 or q.flags >= 128 then return nil end
  return cast(entry_ptr, c.entry[band(d - batch.decode, 1023)]).value["NAME"]
end]]

--- A reader of a field, by packet.
-- @tparam table class of a table whose key is of addresses: src, dst, pair, flow or tuple
-- @tparam string field
-- @treturn function `f(table, packet)`: the value for the packet in hand, of `overflow()` if it has none; nil: ask find
function M.reader(class, field)
  return load_text((READ:gsub("NAME", field)), state, C, bit.band, cast, class.entry_ptr, C.MT_NO_OFFSET)
end

-- --- what has ended ---------------------------------------------------------------------------

local REASONS = {
  [C.MT_ENDED_IDLE] = "idle", [C.MT_ENDED_ACTIVE] = "active", [C.MT_ENDED_FULL] = "full", [C.MT_ENDED_DRAINED] = "end",
}

-- The on_expire of a table of C, by its address.
local listeners = {}

local function address_of(c)
  return tonumber(cast("uintptr_t", c))
end

--- Who is told when an entry ends.
-- @param c `struct mt_table *`
-- @tparam ?function f of key, value and reason; nil: nobody
function M.listen(c, f)
  listeners[address_of(c)] = f
end

--- Who is told when an entry ends.
-- @param c `struct mt_table *`
-- @treturn ?function
function M.listener(c)
  return listeners[address_of(c)]
end

-- Told about entries that t:drain(f) has ended and f, which raised, was not told of, where there is no on_expire.
local function nobody() end

-- The functions of a class that end entries and tell about it.
local function add_endings(class)
  local key_t, value_t, entry_ptr = class.key_t, class.value_t, class.entry_ptr

  -- The key of an entry, as the first packet had it: a copy.
  local function key_of(c, entry)
    local key = key_t()
    C.mt_table_copy_key(c, cast(plain_entry, entry), key)
    return key
  end
  class.key_of = key_of

  -- Tell f of all entries that have ended.  What f does to the table may end others: they come in
  -- their turn, not within f.  If f raised in an earlier hook, this goes on behind that entry.
  local function tell(c, f)
    if c.reporting == state.generation then
      return
    end
    c.reporting = state.generation
    while true do
      local e = C.mt_table_next_ended(c)
      if e == nil then
        break
      end
      f(key_of(c, e), value_t(cast(entry_ptr, e), e.generation), REASONS[c.reason])
    end
    c.reporting = -1
  end
  class.tell = tell

  function class.report(t)
    tell(t._table, listeners[address_of(t._table)] or nobody)
  end

  function class.expire(t, now_ns)
    local c = t._table
    C.mt_table_expire(c, now_ns)
    if c.ended ~= 0 then
      class.report(t)
    end
  end

  --- Bring a table up to the time of the hook that runs, before something looks at it as a whole.
  -- @treturn boolean have entries ended
  function class.settle(t)
    local c = t._table
    if class.ages.timed then
      C.mt_table_now(c, state)
      if c.now_ns >= c.due_ns then
        class.expire(t, c.now_ns)
        return true
      end
    end
    return false
  end
end

-- --- classes ----------------------------------------------------------------------------------

local function add_lookups(class)
  local key = class.key
  local other = load_text(write(OTHER, key, class.ages), state, C, istype, cast, class.key_t, class.entry_ptr,
    class.value_t, class.scratch, class.fill, table_key.copied, class.settle, class.report, class.table_t, M.not_self)
  local function lookup(add)
    if key.id == "MT_TABLE_PARTS" then
      local text = write("local other = ... return function(t, a1 MORE) return (other(t, ADD, a1 MORE)) end", key, {})
      return load_text(text:gsub("ADD", add), other)
    end
    local text = write(LOOKUP, key, class.ages):gsub("ADD", add):gsub("ABSENT", add == 0 and ABSENT or "")
    return load_text(text, state, C, istype, cast, bit.band,
      packet.handle, class.entry_ptr, class.value_t, stale, other, class.expire, class.report, class.table_t,
      M.not_self)
  end
  class.get, class.find = lookup(1), lookup(0)
end

local function new_class(key, fields, ages)
  local key_struct, value_struct = ffi.typeof(key.struct), ffi.typeof(layout.value_struct(fields))
  local age = (ages.timed and "struct mt_table_age age; " or "") .. (ages.evicts and "double used;" or "")
  local entry_t = ffi.typeof("struct { double generation; $ key; " .. age .. " $ value; }", key_struct, value_struct)
  local class = {
    key = key, fields = fields, ages = ages, entry_t = entry_t, entry_ptr = ffi.typeof("$ *", entry_t),
    key_bytes = ffi.offsetof(entry_t, ages.timed and "age" or "value") - 8, idle = {}, readers = {},
    key_struct = key_struct, value_struct = value_struct, scratch = ffi.new(key_struct),
    table_t = ffi.typeof "struct { struct mt_table *_table; }", -- its metatype is set by moontap.table
  }
  class.value_t = value_type(entry_t, fields, ages.timed, has_two_ways(key))
  class.key_t = table_key.type(key)
  class.fill = filler(key.parts)
  for _, field in ipairs(fields) do
    class.readers[field[1]] = load_text(("return function(e) return e.value[%q] end"):format(field[1]))
  end
  for name, what in pairs(ages.timed and AGES or {}) do
    class.readers[name] = load_text(("local tonumber = ... return function(e) return %s end"):format(what), tonumber)
  end
  add_endings(class)
  add_lookups(class)
  return class
end

--- What distinguishes one declaration from another.
-- @tparam table key of moontap.table_layout
-- @tparam table fields of moontap.table_layout
-- @treturn string
function M.signature(key, fields)
  local words = { key.struct, key.id, key.kind }
  for _, field in ipairs(fields) do
    words[#words + 1] = table.concat(field, " ")
  end
  return table.concat(words, "\n")
end

local classes = {} -- by signature

--- The class of a declaration.
-- @tparam table key of moontap.table_layout
-- @tparam table fields of moontap.table_layout
-- @tparam table ages timed: entries know when they were used; evicts: and how long ago
-- @treturn table class; the second value is true if it is new and has no table_t yet
function M.of(key, fields, ages)
  local name = ("%s\n%s %s"):format(M.signature(key, fields), tostring(ages.timed), tostring(ages.evicts))
  local known = classes[name] ~= nil
  classes[name] = classes[name] or new_class(key, fields, ages)
  return classes[name], not known
end

return M
