-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.table`: a hash table outside the Lua heap, for millions of flows.
--
--    local flows = moontap.table { key = "flow", value = { packets = "count", bytes = "count" } }
--
--    return {
--      on_packet = function(p)
--        local bytes = p.wirelen          -- what is read before the lookup costs less
--        local f = flows[p]               -- made, with zeros, when it is new
--        if f then                        -- nil: no IP packet, so no flow
--          f.packets = f.packets + 1
--          f.bytes = f.bytes + bytes
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
-- ports 0, with `"sport"` and `"dport"` not at all. Or parts of one's own,
-- `{ { "client", "address" }, { "port", "u16" } }`, which are passed by hand: `t:get(p.src, p.dport)`;
-- types: address, u8, u16, u32, i8, i16, i32.
--
-- **Values.** Fields are numbers and begin as 0. `count`: whole numbers, exact to 2^53 (9 · 10^15); `double`;
-- `float`; `u8`, `u16`, `u32`, `i8`, `i16`, `i32`: less memory, a fraction is cut off and a number that does not fit
-- raises an error. A value is a reference into the table. It stays good, also while the table grows, until its
-- entry ends, is removed, or the table is cleared; from then on using it raises an error.
--
-- `back` of a value of a `"flow"` or `"pair"` table is true if the packet (or the key) that it was looked up by goes
-- the other way than the first packet of its entry; a field of that name goes before it.
--
-- **Limits.** `limit` is the most entries there may be (default: as many as fit into 1 GiB). What happens to a new key
-- when they are there is the `policy`:
--
-- - `"overflow"` (default): it gets the overflow entry, which all such keys share, so that sums over the entries
--   and `t:overflow()` stay right;
-- - `"evict"`: the least recently used entry ends and makes room.
--
-- A warning says once that the table is full, and `t:stats()` counts how often; nothing is dropped in silence.
--
-- **Ageing.** With `idle = SECONDS` an entry ends when it was not looked up for so long, with `active = SECONDS`
-- when it is so old; a packet that comes then begins a new one, as in NetFlow and IPFIX. Time is the stream's clock,
-- so the result is the same live and from a file, and does not depend on how packets fall into batches: an entry ends
-- at exactly the nanosecond last lookup + idle or first lookup + active, and is never seen after that. (The clock
-- does not run backwards: a late packet counts as of the latest time before it.) `t[p]`, `get` and `find` are
-- lookups, `pairs` and `top` are not. Values then have `first_seen` and `last_seen`, the times of the first and the
-- last lookup in seconds since the epoch, and `first_seen_ns`, `last_seen_ns`, the exact times as 64-bit integers.
--
-- `on_expire = function(key, value, reason)` is called once for each entry that ends by itself, in the order of their
-- times; `reason` is `"idle"`, `"active"`, `"full"` (it made room), or `"end"`: what is left when the stream ends
-- comes before on_stop, in the order in which keys came. It is called within the lookup that finds that time has
-- passed, before each on_interval of its script, and at the latest when the clock has passed a full second. The entry
-- is out of the table by then; its value can be read until the function returns. The function may use the table.
-- A table with on_expire lives until the end of the run.
--
--    local flows = moontap.table {
--      key = "flow", value = { packets = "count", bytes = "count" },
--      limit = 100000, policy = "evict", idle = 15, active = 60,
--      on_expire = function(key, f, reason)
--        print(("%s %.6f s %d packets (%s)"):format(key, f.last_seen - f.first_seen, f.packets, reason))
--      end,
--    }
--
-- **Memory** is outside of --script-memory and bounded: at most `limit` entries, each with 8 bytes, its key (a flow or
-- a pair takes 40, an address 24, a port 8), its value, 11 to 32 bytes of index, with ageing 22 and with `"evict"`
-- 35 more; and 80 KB a table. While on_expire runs, those that wait for it come on top, up to `limit` again.
--
-- Iteration goes by the order in which keys came (places of entries that have ended are taken first). Keys
-- are hashed with a random seed: who sends packets can not make them collide, and no result depends on the seed.
-- @module moontap.table

local ffi = require "ffi"
local C = require "moontap.abi"
local ageing = require "moontap.ageing"
local classes = require "moontap.table_class"
local layout = require "moontap.table_layout"
local list_of = require("moontap.list").new
local packet = require "moontap.packet"
local raise = require("moontap.misuse").raise
local suggest = require "moontap.suggest"
local top = require "moontap.table_top"

local M = {}

local GIB = 2 ^ 30
local MOST_ENTRIES = 2 ^ 30
local NEVER = 0x7fffffffffffffffLL

local cast, istype = ffi.cast, ffi.istype
local plain_entry = ffi.typeof "struct mt_table_entry *"

local state = packet.state() -- struct mt_hook_state *

-- What only Lua knows of a table of C, by its address: the options that it was made with.
local options_of = {}

local function address_of(c)
  return tonumber(cast("uintptr_t", c))
end

-- --- methods ----------------------------------------------------------------------------------

-- The entries of a table as one array of C.
local function entries_of(class, t)
  class.settle(t)
  return cast(class.entry_ptr, t._table.entries), t._table
end

-- The rows of results need one name for each column.
local function check_names(class)
  for _, part in ipairs(class.key.parts) do
    if class.readers[part[1]] then
      raise("row: '%s' is a part of the key and a field of the value; call one of them otherwise", part[1])
    end
  end
  class.names_checked = true
end

local function row_of(class, key, value)
  local row = {}
  for _, part in ipairs(class.key.parts) do
    local v = key[part[1]]
    row[part[1]] = part[2] == "address" and tostring(v) or v
  end
  for _, field in ipairs(class.fields) do
    row[field[1]] = value[field[1]]
  end
  if class.ages.timed then
    row.first_seen, row.last_seen = value.first_seen, value.last_seen
  end
  return row
end

local function largest(class, what, t, n, field)
  if not (type(n) == "number" and n >= 0) then
    raise("%s: expected a number of entries and a field, found %s", what, tostring(n))
  end
  local read = class.readers[field]
  if not read then
    raise("%s: a value of this table has no field '%s'%s", what, tostring(field),
      suggest.suffix(tostring(field), class.readers))
  end
  local entries, c = entries_of(class, t)
  return entries, n >= 1 and top.largest(entries, c.used, read, math.floor(n)) or {}
end

local function class_and_methods(key, fields, ages)
  local class, is_new = classes.of(key, fields, ages)
  if not is_new then
    return class
  end
  local entry_ptr, value_t, key_of = class.entry_ptr, class.value_t, class.key_of
  local methods = { get = class.get, find = class.find }

  --- The value of a key, made with zeros when there is none.  `t[p]` is the same for a packet.
  -- @function get
  -- @param ... a packet, a key that `pairs` or `top` gave, or the parts of a key
  -- @treturn ?value nil: the packet has no such key

  --- The value of a key, if there is one.
  -- @function find
  -- @param ... as with get
  -- @treturn ?value

  --- Remove an entry; on_expire is not called.
  -- @function remove
  -- @param ... as with get; or a value that get or find gave, which is faster
  -- @treturn boolean was there one
  function methods.remove(t, what, ...)
    local value = what
    if not istype(value_t, what) then
      value = class.find(t, what, ...)
      if value == nil then
        return false
      end
    elseif what._entry.generation ~= what._generation then
      return false
    end
    if C.mt_table_remove(t._table, cast(plain_entry, value._entry)) == 0 then
      raise "remove: the value is of another table, or the one of overflow()"
    end
    return true
  end

  --- Remove all entries, and begin the counts of `stats` anew; on_expire is not called.
  -- @function clear
  function methods.clear(t)
    C.mt_table_clear(t._table)
  end

  --- Number of entries; `#t` is the same.
  -- @function count
  -- @treturn integer
  function methods.count(t)
    class.settle(t)
    return t._table.count
  end

  --- Bytes of memory that the table takes.
  -- @function memory
  -- @treturn integer
  function methods.memory(t)
    return C.mt_table_memory(t._table)
  end

  --- What a table holds and what has become of its entries.
  -- @function stats
  -- @treturn table `entries`, `limit`, `memory` (bytes), and since the start or `clear`: `refused` (lookups that got
  -- the overflow entry), `evicted`, `idle` and `active` (entries that ended for want of room, or for their age)
  function methods.stats(t)
    class.settle(t)
    local c = t._table
    return {
      entries = c.count, limit = c.limit, memory = C.mt_table_memory(c), refused = c.refused, evicted = c.evicted,
      idle = c.idle, active = c.active,
    }
  end

  --- What came when the table was full.
  -- @function overflow
  -- @treturn value all keys without an entry together
  -- @treturn integer how many times `get` gave this value; 0: the table was never full
  function methods.overflow(t)
    local c = t._table
    local entry = cast(entry_ptr, c.overflow)
    return value_t(entry, entry.generation), c.refused
  end

  --- `for key, value in t:pairs() do`, or `in pairs(t)`, in the order in which the keys came (places of entries that
  -- have ended are taken first).  Entries may be removed meanwhile; one that is added may be passed over.
  -- @function pairs
  -- @treturn function
  function methods.pairs(t)
    local place = -1
    class.settle(t)
    return function() -- without a loop in it, so that one over the entries is compiled
      local c = t._table
      place = C.mt_table_next(c, place)
      if place < 0 then
        place = 2 ^ 31 - 2 -- called again, it stays at the end
        return nil
      end
      local entry = cast(entry_ptr, c.entries) + place
      return key_of(c, entry), value_t(entry, entry.generation)
    end
  end

  --- The entries with the largest values, in falling order; of equal ones the first to come is first.
  -- @function top
  -- @tparam integer n how many at most
  -- @tparam string field what they are sorted by
  -- @treturn {{key=,value=},...}
  function methods.top(t, n, field)
    local entries, list = largest(class, "top", t, n, field)
    for k, place in ipairs(list) do
      local entry = entries + place
      list[k] = { key = key_of(t._table, entry), value = value_t(entry, entry.generation) }
    end
    return list
  end

  --- An entry as a plain Lua table that may be kept and becomes an object in JSON.
  -- @function row
  -- @tparam key k
  -- @tparam value value
  -- @treturn table the parts of the key (addresses as text), the fields of the value, and with ageing first_seen and
  -- last_seen
  function methods.row(_, k, value)
    if not class.names_checked then
      check_names(class)
    end
    return row_of(class, k, value)
  end

  --- Entries as rows: what a script's `results` may return.
  -- @function rows
  -- @tparam[opt] integer n only so many, with the largest values; default: all, as `pairs` gives them
  -- @tparam[opt] string field what those are sorted by
  -- @treturn {table,...} as of `row`
  function methods.rows(t, n, field)
    local rows = {}
    if n == nil then
      for k, value in methods.pairs(t) do
        rows[#rows + 1] = methods.row(t, k, value)
      end
    else
      local entries, list = largest(class, "rows", t, n, field)
      for k, place in ipairs(list) do
        local entry = entries + place
        rows[k] = methods.row(t, key_of(t._table, entry), value_t(entry, entry.generation))
      end
    end
    return list_of(rows)
  end

  --- End all entries, in the order in which their keys came.
  -- @function drain
  -- @tparam[opt] function f called with key, value and "end" for each; default: on_expire
  -- @raise if there is neither; if called by on_expire
  function methods.drain(t, f)
    local c = t._table
    f = f or classes.listener(c)
    if type(f) ~= "function" then
      raise("drain: expected a function of key, value and reason, found %s", f == nil and "nothing" or "a " .. type(f))
    elseif c.reporting == state.generation then
      raise "drain: a table can not be drained by its own on_expire"
    end
    class.settle(t)
    C.mt_table_drain(c)
    class.tell(c, f)
  end

  --- Add the entries of another table of the same declaration, as if this one had seen what the other one saw after
  -- it.  Fields are added; one declared as `{ "double", merge = "max" }` becomes the larger value, `"min"` the smaller
  -- one (0 counts as not set), `"last"` that of the later lookup. A sum that does not fit its type stays at the bound
  -- of the type. The other table stays as it is.
  -- @function merge
  -- @tparam table other options besides key, value and whether there is ageing may differ
  -- @treturn moontap.Table this one
  -- @raise if the declarations differ
  function methods.merge(t, other)
    local theirs = M.class_of(other)
    if not theirs then
      raise("merge: expected a moontap.table, found a %s", type(other))
    elseif other._table == t._table then
      raise "merge: a table can not be merged with itself"
    elseif classes.signature(theirs.key, theirs.fields) ~= classes.signature(class.key, class.fields) then
      raise("merge: the tables are not declared alike: key and value must be the same (%s, %s)", tostring(t),
        tostring(other))
    elseif theirs.ages.timed ~= class.ages.timed then
      raise 'merge: one of the tables has ageing or policy = "evict" and the other has not'
    end
    require("moontap.table_saved").merge(class, t, other)
    return t
  end

  --- The table as a string for `moontap.load`, also in another run. The string is in the Lua heap: 1 million flows take
  -- some 60 MB of --script-memory. on_expire is not saved: make a table with it and `merge` the loaded one into it.
  -- @function save
  -- @treturn string
  function methods.save(t)
    return require("moontap.table_saved").save(class, t, options_of[address_of(t._table)])
  end

  local get, table_t = class.get, class.table_t
  for name, method in pairs(methods) do
    if method ~= class.get and method ~= class.find then -- those check it themselves
      methods[name] = function(t, ...)
        if not ffi.istype(table_t, t) then
          classes.not_self(t)
        end
        return method(t, ...)
      end
    end
  end
  ffi.metatype(table_t, {
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
    __pairs = methods.pairs,
    __len = function(t)
      class.settle(t)
      return t._table.count
    end,
    __tostring = function(t)
      return ("moontap.table of %s, %d entries"):format(key.kind, t._table.count)
    end,
  })
  M.classes[tonumber(class.table_t)] = class
  return class
end

M.classes = {} -- by the number of their ctype

--- The class of a table.
-- @param object anything
-- @treturn ?table nil: it is no moontap.table
function M.class_of(object)
  return type(object) == "cdata" and M.classes[tonumber(ffi.typeof(object))] or nil
end

-- --- making one -------------------------------------------------------------------------------

local living = {} -- every table of C there is, by number
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

local OPTIONS = {
  key = true, value = true, size = true, limit = true, policy = true, idle = true, active = true, on_expire = true,
}
local POLICIES = { overflow = true, evict = true }

local function number_option(options, name, default, most)
  local n = options[name]
  if n == nil then
    return default
  elseif type(n) ~= "number" or not (n >= 1 and n <= most) then
    raise("moontap.table: %s: expected a number of entries, 1 to %d, found %s", name, most, tostring(n))
  end
  return math.floor(n)
end

local function seconds_option(options, name)
  local n = options[name]
  if n == nil then
    return NEVER
  elseif type(n) ~= "number" or not (n >= 1e-6 and n <= 1e9) then
    raise("moontap.table: %s: expected seconds, 0.000001 to 1000000000, found %s", name, tostring(n))
  end
  return cast("int64_t", math.floor(n * 1e9 + 0.5))
end

local function check_options(options)
  if type(options) ~= "table" then
    raise("moontap.table: expected { key = …, value = … }, found a %s", type(options))
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      raise("moontap.table: there is no '%s'%s (there are %s)", tostring(name),
        suggest.suffix(tostring(name), OPTIONS), suggest.list(OPTIONS))
    end
  end
  local policy, f = options.policy, options.on_expire
  if policy ~= nil and not POLICIES[policy] then
    raise("moontap.table: policy: there is no '%s'%s (there are %s)", tostring(policy),
      suggest.suffix(tostring(policy), POLICIES), suggest.list(POLICIES))
  elseif f ~= nil and type(f) ~= "function" then
    raise("moontap.table: on_expire: expected a function of key, value and reason, found a %s", type(f))
  end
end

-- The class of a declaration; what is wrong with it is raised as a sentence.
local function declare(options)
  local evicts = options.policy == "evict"
  local ages = { evicts = evicts, timed = evicts or options.idle ~= nil or options.active ~= nil }
  local ok, class = pcall(function()
    return class_and_methods(layout.key(options.key), layout.value(options.value, ages.timed and classes.AGES), ages)
  end)
  if not ok then
    if type(class) == "table" and class.layout then
      raise("moontap.table: %s", class.layout)
    end
    error(class, 0)
  end
  return class
end

-- What C is to make: a plan, and a word for what of it makes one table of a class differ from another.
local function plan_for(class, options)
  local entry_bytes = ffi.sizeof(class.entry_t)
  local plan = ffi.new "struct mt_table_plan"
  plan.limit = number_option(options, "limit", math.min(math.floor(GIB / entry_bytes), MOST_ENTRIES), MOST_ENTRIES)
  plan.size = number_option(options, "size", 1, plan.limit)
  plan.idle_ns, plan.active_ns = seconds_option(options, "idle"), seconds_option(options, "active")
  plan.kind = C[class.key.id]
  plan.key_bytes, plan.entry_bytes = class.key_bytes, entry_bytes
  plan.timed, plan.evicts = class.ages.timed and 1 or 0, class.ages.evicts and 1 or 0
  plan.reports = options.on_expire and 1 or 0
  plan.what = class.key.kind:sub(1, ffi.sizeof(plan.what) - 1)
  return plan, ("%d %s %s"):format(plan.limit, tostring(plan.idle_ns), tostring(plan.active_ns))
end

-- A table of C: one that was let go of, or a new one.
local function take(class, plan, idle)
  if class.made then
    collectgarbage() -- tables are small for the collector, however much they hold
  end
  class.made = true
  if idle and #idle > 0 then
    local c = table.remove(idle)
    c.warned = 0
    return c
  end
  local c = C.mt_table_new(plan)
  if c == nil then
    raise("moontap.table: there is no memory for a table of %d entries of %d bytes", plan.limit, plan.entry_bytes)
  end
  living[#living + 1] = c
  return c
end

-- on_expire is told until the end of the run, also what is left then: the table must not go before.
local function keep_until_end(class, t, f)
  local c = t._table
  classes.listen(c, f)
  ageing.watch(state.script, function()
    class.settle(t)
    if c.ended ~= 0 then -- left by an error
      class.report(t)
    end
  end, function()
    C.mt_table_drain(c)
    class.report(t)
  end)
end

local function make(options)
  check_options(options)
  local class = declare(options)
  local plan, word = plan_for(class, options)
  local idle = class.idle[word] or {}
  class.idle[word] = idle
  local c = take(class, plan, options.on_expire == nil and idle)
  options_of[address_of(c)] = { idle = options.idle, active = options.active, policy = options.policy }
  local t = class.table_t(c)
  if options.on_expire then
    keep_until_end(class, t, options.on_expire)
    return t, class
  end
  return ffi.gc(t, function()
    if not closed then
      C.mt_table_clear(c)
      table.insert(idle, c)
    end
  end), class
end

--- Make a table.  Do it once, outside of hooks, and use `t:clear()` to begin anew.
-- @function moontap.table
-- @tparam table options
--
-- - key: `"flow"`, `"tuple"`, `"pair"`, `"src"`, `"dst"`, `"sport"`, `"dport"`, or a list of `{ name, type }`
-- - value: fields and their types; without it the table is a set. A field may say how it is merged:
--   `{ first = { "double", merge = "min" } }`
-- - size: how many entries to expect; only saves work
-- - limit: the most entries
-- - policy: `"overflow"` or `"evict"`, what happens at the limit
-- - idle: seconds without a lookup after which an entry ends
-- - active: seconds after which an entry ends in any case
-- - on_expire: `function(key, value, reason)`, called for each entry that ends by itself
-- @treturn moontap.Table
-- @raise if the declaration makes no sense
function M.new(options)
  local t = make(options)
  return t
end

--- A table from what `t:save()` gave, for moontap.load.
-- @tparam string body
-- @tparam integer version
-- @treturn ?table nil if the string can not be what save gave
-- @treturn ?string why not
function M.restore(body, version)
  local saved = require "moontap.table_saved"
  if version ~= saved.VERSION then
    return nil, ("it was saved by another version of moontap (%d, not %d)"):format(version, saved.VERSION)
  end
  local ok, t = pcall(saved.read, body, make)
  if ok then
    return t
  end
  return nil, type(t) == "table" and t.saved or "damaged: " .. tostring(t):gsub("^.-:%d+: ", "")
end

return M
