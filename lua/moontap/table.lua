-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.table`: a hash table outside the Lua heap, for millions of flows.
--
--    local flows = moontap.table { key = "flow", value = { packets = "count", bytes = "count" } }
--
--    return {
--      on_packet = function(p)
--        local f = flows[p]               -- made, with zeros, when it is new
--        if f then                        -- nil: no IP packet, so no flow
--          f.packets = f.packets + 1
--          f.bytes = f.bytes + p.wirelen
--        end
--      end,
--      on_stop = function()
--        for _, top in ipairs(flows:top(10, "bytes")) do
--          print(top.key, top.value.packets, top.value.bytes)
--        end
--      end,
--    }
--
-- **Keys.** `"flow"`: addresses, ports and IP protocol, the same for both directions; `key.src` is who sent the
-- first packet. `"tuple"`: the same as seen, each direction for itself. `"pair"`: both addresses, the same for both
-- directions. `"src"`, `"dst"`: one address. `"sport"`, `"dport"`: a port and its protocol. A packet that has no
-- such key (no IP; for ports: none captured) gives nil. Later fragments have no ports: they count under
-- ports 0, with `"sport"` and `"dport"` not at all. Or parts of one's own, `{ { "client", "address" }, { "port", "u16" } }`,
-- which are passed by hand: `t:get(p.src, p.dport)`; types: address, u8, u16, u32, i8, i16, i32.
--
-- **Values.** Fields are numbers and begin as 0. `count`: whole numbers, exact to 2^53 (9 · 10^15); `double`;
-- `float`; `u8`, `u16`, `u32`, `i8`, `i16`, `i32`: less memory, a fraction is cut off and a number that does not fit
-- raises an error. A value is a reference into the table. It stays good, also while the table grows, until its
-- entry is removed or the table cleared; from then on using it raises an error.
--
-- **Limits.** `limit` is the most entries there may be (default: as many as fit into 1 GiB). When they are there, a
-- new key gets the overflow entry, which all such keys share: sums over the entries and `t:overflow()` stay
-- right, a warning says so once, and nothing is dropped in silence.
--
-- Iteration goes by the order in which keys came. Keys are hashed with a random seed: who sends packets
-- can not make them collide, and no result depends on the seed. Memory is outside of --script-memory.
-- @module moontap.table

local ffi = require "ffi"
local C = require "moontap.abi"
local address = require "moontap.address"
local layout = require "moontap.table_layout"
local packet = require "moontap.packet"
local suggest = require "moontap.suggest"
local table_key = require "moontap.table_key"

local M = {}

local GIB = 2 ^ 30
local MOST_ENTRIES = 2 ^ 31 - 1

-- The functions that run per packet.  A trace that meets them for the first time must find them looked up.
for _, name in ipairs { "mt_table_prepare", "mt_table_packet", "mt_table_key", "mt_table_remove" } do
  assert(C[name])
end

local address_t = ffi.typeof "struct mt_address"
local istype, cast = ffi.istype, ffi.cast

local state = packet.state() -- struct mt_hook_state *

-- Raise an error at the line of the script.
local function raise(text, ...)
  local level = 2
  while (debug.getinfo(level, "S") or { source = "" }).source:find "moontap[./]table" do
    level = level + 1
  end
  error(text:format(...), level)
end

local function stale()
  raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
end

local function gone()
  raise "this value is gone: its entry was removed from the table"
end

local function load_text(text, ...)
  return assert(loadstring(text, "=moontap.table"))(...)
end

-- --- values -----------------------------------------------------------------------------------

local GET = [[
local gone = ...
return function(f)
  local e = f._entry
  if e.generation ~= f._generation then gone() end
  return e.value.NAME
end]]

local SET = [[
local gone, wrong, MIN, MAX = ...
return function(f, v)
  local e = f._entry
  if e.generation ~= f._generation then gone() end
  if type(v) ~= "number" CHECK then wrong("NAME", v) end
  e.value.NAME = v
end]]

-- The type of references to values of a class; fields: {{name, type}, …}.
local function value_type(entry_t, fields)
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
    getters[name] = load_text(GET:gsub("NAME", name), gone)
    local set = SET:gsub("NAME", name):gsub("CHECK", kind.min and "or not (v >= MIN and v <= MAX)" or "")
    setters[name] = load_text(set, gone, wrong, kind.min, kind.max)
  end

  local function unknown(name)
    local hint = suggest.suffix(tostring(name), getters)
    raise("a value of this table has no field '%s'%s", tostring(name),
      hint ~= "" and hint or "; it has " .. (next(getters) and suggest.list(getters) or "none"))
  end

  return ffi.metatype(ffi.typeof("struct { $ *_entry; double _generation; }", entry_t), {
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
        end]]):gsub("NAME", name):gsub("MEMBER", member):gsub("aK", "a" .. k)
    else
      lines[k] = ([[
        if type(aK) ~= "number" or not (aK >= MIN and aK <= MAX) or aK %% 1 ~= 0 then not_in("NAME", "KIND", aK) end
        k.MEMBER = aK]]):gsub("%%%%", "%%"):gsub("NAME", name):gsub("KIND", kind):gsub("MEMBER", member):gsub("aK", "a" .. k)
        :gsub("MIN", layout.TYPES[kind].min):gsub("MAX", layout.TYPES[kind].max)
    end
  end
  local text = ("local to_address, not_in = ... return function(k, %s)\n%s\nend"):format(table.concat(names, ", "),
    table.concat(lines, "\n"))
  return load_text(text, to_address, not_in)
end

-- --- lookups ----------------------------------------------------------------------------------

-- Loaded afresh for each class, so that LuaJIT sees constants.  ADD: 1, make the entry if there is none.
-- The note of a packet is right until p:truncate or p:edit (flag 128) changes it; C knows what to do then.
local LOOKUP = [[
local state, C, istype, cast, handle_t, entry_ptr, value_t, stale, other = ...
return function(t, a1 MORE)
  if not istype(handle_t, a1) then return (other(t, ADD, a1 MORE)) end
  if a1._generation ~= state.generation then stale() end
  local c, batch = t._table, state.batch
  if c.seq ~= batch.seq then C.mt_table_prepare(c, batch) end
  c.asked = c.asked + 1
  local q, d = a1._packet, a1._decoded
  local i = d - batch.decode
  if i >= 1024 then i = -1 end -- p:inner(): there are no notes of those
  local e = nil
  if i >= 0 then e = c.entry[i] end
  if e == nil or q.cut ~= 0 or q.flags > 127 then
    e = C.mt_table_packet(c, q, d, i, ADD)
    if e == nil then return nil end
  end
  local entry = cast(entry_ptr, e)
  return (value_t(entry, entry.generation))
end]]

local function more_names(n)
  local names = {}
  for k = 2, n do
    names[k - 1] = ", a" .. k
  end
  return table.concat(names)
end

-- A lookup by anything but a packet in its hook: a key, a copy of a packet, or the parts of a key.
local OTHER = [[
local C, istype, type, cast, key_t, entry_ptr, value_t, scratch, fill, copied = ...
return function(t, add, a1 MORE)
  local c, e = t._table, nil
  if istype(key_t, a1) then
    e = C.mt_table_key(c, a1._key, add)
  else
    local copy = copied(a1)
    if copy then
      e = C.mt_table_packet(c, copy._packet, copy._decoded, -1, add)
    else
      fill(scratch, a1 MORE)
      e = C.mt_table_key(c, scratch, add)
    end
  end
  if e == nil then return nil end
  local entry = cast(entry_ptr, e)
  return (value_t(entry, entry.generation))
end]]

-- --- sorted ----------------------------------------------------------------------------------

-- A heap of the n best: numbers[1] is the smallest of them.  Of equal ones the first to come is better.
local function worse(numbers, places, i, j)
  return numbers[i] < numbers[j] or (numbers[i] == numbers[j] and places[i] > places[j])
end

local function swap(numbers, places, i, j)
  numbers[i], numbers[j] = numbers[j], numbers[i]
  places[i], places[j] = places[j], places[i]
end

local function rise(numbers, places, i)
  while i > 1 do
    local up = math.floor(i / 2)
    if not worse(numbers, places, i, up) then
      return
    end
    swap(numbers, places, i, up)
    i = up
  end
end

local function sink(numbers, places, n)
  local i = 1
  while true do
    local down = 2 * i
    if down < n and worse(numbers, places, down + 1, down) then
      down = down + 1
    end
    if down > n or not worse(numbers, places, down, i) then
      return
    end
    swap(numbers, places, i, down)
    i = down
  end
end

-- Places of the n entries with the largest number, in falling order.
local function largest(entries, used, read, n)
  local numbers, places, size = {}, {}, 0
  for place = 0, used - 1 do
    local e = entries + place
    if e.generation ~= 0 then
      local number = read(e)
      if size < n then
        size = size + 1
        numbers[size], places[size] = number, place
        rise(numbers, places, size)
      elseif number > numbers[1] then
        numbers[1], places[1] = number, place
        sink(numbers, places, n)
      end
    end
  end
  for last = size, 2, -1 do -- the worst goes to the end, and so on
    swap(numbers, places, 1, last)
    sink(numbers, places, last - 1)
  end
  return places
end

-- --- classes ----------------------------------------------------------------------------------

local classes = {} -- by declaration: ctypes and compiled functions are never freed, so they are shared
local living = {}  -- every table of C there is, by number
local closed = false

local function free_all()
  closed = true
  for _, c in ipairs(living) do
    C.mt_table_free(c)
  end
end
-- Runs when the program ends.  A table of C that a script lets go of before is cleared and used
-- again instead: a value of it that was kept must find memory to see that it is gone.
M._at_end = ffi.gc(ffi.new "char[1]", free_all)

local function methods_of(class)
  local entry_ptr, value_t, key_t = class.entry_ptr, class.value_t, class.key_t
  local methods = { get = class.get, find = class.find }

  local function key_of(c, entry)
    local key = key_t()
    C.mt_table_copy_key(c, cast("struct mt_table_entry *", entry), key)
    return key
  end

  --- The value of a key, made with zeros when there is none.  `t[p]` is the same for a packet.
  -- @function get
  -- @param ... a packet, a key that `pairs` or `top` gave, or the parts of a key
  -- @treturn ?value nil: the packet has no such key

  --- The value of a key, if there is one.
  -- @function find
  -- @param ... as with get
  -- @treturn ?value

  --- Remove an entry.
  -- @param ... as with get
  -- @treturn boolean was there one
  function methods.remove(t, ...)
    local value = class.find(t, ...)
    if value == nil then
      return false
    end
    C.mt_table_remove(t._table, cast("struct mt_table_entry *", value._entry))
    return true
  end

  --- Remove all entries.
  function methods.clear(t)
    C.mt_table_clear(t._table)
  end

  --- Number of entries; `#t` is the same.
  -- @treturn integer
  function methods.count(t)
    return t._table.count
  end

  --- Bytes of memory that the table takes.
  -- @treturn integer
  function methods.memory(t)
    return t._table.bytes
  end

  --- What came when the table was full.
  -- @treturn value all keys without an entry together
  -- @treturn integer how many times `get` gave this value; 0: the table was never full
  function methods.overflow(t)
    local c = t._table
    local entry = cast(entry_ptr, c.overflow)
    return value_t(entry, entry.generation), c.refused
  end

  --- `for key, value in t:pairs() do`, in the order in which the keys came (places of removed entries are
  -- taken first).  Entries may be removed meanwhile; one that is added may be passed over.
  -- @treturn function
  function methods.pairs(t)
    local place = -1
    return function()
      local c = t._table
      local entries = cast(entry_ptr, c.entries)
      while place + 1 < c.used do
        place = place + 1
        local entry = entries + place
        if entry.generation ~= 0 then
          return key_of(c, entry), value_t(entry, entry.generation)
        end
      end
    end
  end

  --- The entries with the largest values, in falling order.
  -- @tparam integer n how many at most
  -- @tparam string field what they are sorted by
  -- @treturn {{key=,value=},...}
  function methods.top(t, n, field)
    if not (type(n) == "number" and n >= 0) then
      raise("top: expected a number of entries and a field, found %s", tostring(n))
    end
    local read = class.readers[field]
    if not read then
      raise("top: a value of this table has no field '%s'%s", tostring(field),
        suggest.suffix(tostring(field), class.readers))
    end
    local c = t._table
    local entries = cast(entry_ptr, c.entries)
    local list = n >= 1 and largest(entries, c.used, read, math.floor(n)) or {}
    for k, place in ipairs(list) do
      local entry = entries + place
      list[k] = { key = key_of(c, entry), value = value_t(entry, entry.generation) }
    end
    return list
  end

  return methods
end

local function new_class(key, fields)
  local key_struct, value_struct = ffi.typeof(key.struct), ffi.typeof(layout.value_struct(fields))
  local entry_t = ffi.typeof("struct { double generation; $ key; $ value; }", key_struct, value_struct)
  local entry_ptr = ffi.typeof("$ *", entry_t)
  local class = { key = key, entry_t = entry_t, entry_ptr = entry_ptr, idle = {}, readers = {},
    key_bytes = ffi.offsetof(entry_t, "value") - 8 }
  class.value_t = value_type(entry_t, fields)
  class.key_t = table_key.type(key)
  for _, field in ipairs(fields) do
    class.readers[field[1]] = load_text(("return function(e) return e.value.%s end"):format(field[1]))
  end

  local more = more_names(#key.parts)
  local other = load_text(OTHER:gsub(" MORE", more), C, istype, type, cast, class.key_t, entry_ptr, class.value_t,
    ffi.new(key_struct), filler(key.parts), table_key.copied)
  local function lookup(add)
    if key.id == "MT_TABLE_PARTS" then
      return load_text(("local other = ... return function(t, a1%s) return (other(t, %d, a1%s)) end"):format(more, add,
        more), other)
    end
    return load_text(LOOKUP:gsub(" MORE", more):gsub("ADD", add), state, C, istype, cast, packet.handle, entry_ptr,
      class.value_t, stale, other)
  end
  class.get, class.find = lookup(1), lookup(0)

  local methods = methods_of(class)
  local get = class.get
  class.table_t = ffi.metatype(ffi.typeof "struct { struct mt_table *_table; }", {
    __index = function(t, name)
      if type(name) ~= "string" then
        return (get(t, name))
      end
      local method = methods[name]
      if not method then
        raise("a table has no method '%s'%s; it has %s", name, suggest.suffix(name, methods), suggest.list(methods))
      end
      return method
    end,
    __newindex = function()
      raise "entries are not set: t[p] gives a value, whose fields are set"
    end,
    __len = function(t)
      return t._table.count
    end,
    __tostring = function(t)
      return ("moontap.table of %s, %d entries"):format(key.kind, t._table.count)
    end,
  })
  return class
end

local function signature(key, fields)
  local words = { key.struct, key.id, key.kind }
  for _, field in ipairs(fields) do
    words[#words + 1] = field[1] .. " " .. field[2]
  end
  return table.concat(words, "\n")
end

local function class_of(key, fields)
  local name = signature(key, fields)
  classes[name] = classes[name] or new_class(key, fields)
  return classes[name]
end

-- A table of C: one that was let go of, or a new one.
local function take(class, size, limit)
  if class.made then
    collectgarbage() -- tables are small for the collector, however much they hold
  end
  class.made = true
  local idle = class.idle[limit]
  if idle and #idle > 0 then
    return table.remove(idle)
  end
  local c = C.mt_table_new(C[class.key.id], class.key_bytes, ffi.sizeof(class.entry_t), size, limit, class.key.kind)
  if c == nil then
    raise("there is no memory for a table of %d entries of %d bytes", limit, ffi.sizeof(class.entry_t))
  end
  living[#living + 1] = c
  return c
end

local OPTIONS = { key = true, value = true, size = true, limit = true }

local function number_option(options, name, default, most)
  local n = options[name]
  if n == nil then
    return default
  elseif type(n) ~= "number" or not (n >= 1 and n <= most) then
    raise("%s: expected a number of entries, 1 to %d, found %s", name, most, tostring(n))
  end
  return math.floor(n)
end

--- Make a table.  Do it once, outside of hooks, and use `t:clear()` to begin anew.
-- @tparam table options
--
-- - key: `"flow"`, `"tuple"`, `"pair"`, `"src"`, `"dst"`, `"sport"`, `"dport"`, or a list of `{ name, type }`
-- - value: fields and their types; without it the table is a set
-- - size: how many entries to expect; only saves work
-- - limit: the most entries
-- @treturn table
-- @raise if the declaration makes no sense
function M.new(options)
  if type(options) ~= "table" then
    raise("moontap.table: expected { key = …, value = … }, found a %s", type(options))
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      raise("moontap.table: there is no '%s'%s (there are %s)", tostring(name),
        suggest.suffix(tostring(name), OPTIONS), suggest.list(OPTIONS))
    end
  end
  local ok, class = pcall(function()
    return class_of(layout.key(options.key), layout.value(options.value))
  end)
  if not ok then
    if type(class) == "table" and class.layout then
      raise("moontap.table: %s", class.layout)
    end
    error(class, 0)
  end
  local fit = math.min(math.floor(GIB / ffi.sizeof(class.entry_t)), MOST_ENTRIES)
  local limit = number_option(options, "limit", fit, MOST_ENTRIES)
  local size = number_option(options, "size", 1, limit)
  local c = take(class, size, limit)
  return ffi.gc(class.table_t(c), function()
    if not closed then
      C.mt_table_clear(c)
      class.idle[limit] = class.idle[limit] or {}
      table.insert(class.idle[limit], c)
    end
  end)
end

return M
