-- SPDX-License-Identifier: BSD-2-Clause
--- What the sketches have in common: options, life in memory, saving, and errors at the script's line.
--
-- A sketch is a small cdata {pointer to its state in C}. The state is not on the Lua heap, does not count for
-- --script-memory, and is freed when the collector finds that nobody uses it any more.
-- @module moontap.sketch

local ffi = require "ffi"
local misuse = require "moontap.misuse"
local packet = require "moontap.packet"
local saved = require "moontap.saved"
local suggest = require "moontap.suggest"

local M = {}

local raise = misuse.raise
local MOST_WEIGHT = 2 ^ 53
local WORTH_COLLECTING = 2 ^ 24

M.raise = raise
M.MOST_WEIGHT = MOST_WEIGHT

--- What a value is, for messages: `nothing`, `a string`, `the number 7`.
-- @param value anything
-- @treturn string
function M.found(value)
  if value == nil then
    return "nothing"
  elseif type(value) == "number" then
    return "the number " .. ("%.15g"):format(value)
  elseif type(value) == "cdata" then
    return "a cdata (" .. tostring(ffi.typeof(value)):match "^ctype<(.*)>$" .. ")"
  end
  return "a " .. type(value)
end

local function no_weight(what, value)
  if type(value) ~= "number" then
    raise("%s: expected a number as weight, found %s", what, M.found(value))
  end
  raise("%s: a weight is a number from 0 to 2^53, found %.16g", what, value)
end

--- The weight of what is added: 1 if it is not given.
-- @tparam string what the method, for messages
-- @param value what the script gave
-- @treturn number
-- @raise if it is no number from 0 to 2^53
function M.weight(what, value)
  if value == nil then
    return 1
  elseif type(value) ~= "number" or not (value >= 0 and value <= MOST_WEIGHT) then
    no_weight(what, value)
  end
  return value
end

--- Refuse a packet that is not the one in hand any more.
-- @raise always
function M.stale()
  raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
end

--- The state that the driver and C share.
-- @treturn cdata struct mt_hook_state *
M.state = packet.state()

-- --- options ----------------------------------------------------------------------------------

--- Refuse options that there are not.
-- @tparam string what `moontap.topk`
-- @param options what the script gave
-- @tparam table known its keys are the options there are
-- @raise if one is unknown
function M.check_options(what, options, known)
  if type(options) ~= "table" then
    raise("%s: expected a table of options, found %s", what, M.found(options))
  end
  for name in pairs(options) do
    if not known[name] then
      raise("%s: there is no '%s'%s (there are %s)", what, tostring(name), suggest.suffix(tostring(name), known),
        suggest.list(known))
    end
  end
end

--- A number of an option.
-- @tparam string what `moontap.topk: k`
-- @param value what the script gave
-- @tparam ?number default nil: it must be given
-- @tparam number least
-- @tparam number most
-- @treturn number
-- @raise if it is none, or out of bounds
function M.number(what, value, default, least, most)
  if value == nil and default then
    return default
  elseif type(value) ~= "number" or not (value >= least and value <= most) then
    raise("%s: expected a number from %.15g to %.15g, found %s", what, least, most, M.found(value))
  end
  return value
end

--- A whole number of an option; arguments as with number.
-- @tparam string what
-- @param value
-- @tparam ?number default
-- @tparam number least
-- @tparam number most
-- @treturn integer
-- @raise if it is none, or out of bounds
function M.whole(what, value, default, least, most)
  local n = M.number(what, value, default, least, most)
  if n % 1 ~= 0 then
    raise("%s: expected a whole number, found %.15g", what, n)
  end
  return n
end

-- --- life -------------------------------------------------------------------------------------

local taken, since = 0, 0 -- bytes of all sketches; and of those that are new since the last collection

-- The collector sees a few bytes of each sketch, so it is told when many have been made.
local function account(bytes)
  taken, since = taken + bytes, since + bytes
  if since > WORTH_COLLECTING and since > taken / 2 then
    since = 0
    collectgarbage()
    collectgarbage() -- what was finalized in the first is freed in the second
  end
end

--- Give a script the state that C made.
-- @tparam string what `moontap.topk`, for messages
-- @tparam ctype class `struct { … *_c; }`
-- @param c the state, or a NULL pointer
-- @tparam function free of C
-- @treturn cdata
-- @raise if there was no memory
function M.own(what, class, c, free)
  if c == nil then
    raise("%s: there is no memory for it", what)
  end
  local bytes = c.memory -- at first
  local object = ffi.gc(class(c), function(o)
    taken = taken - bytes
    free(o._c)
  end)
  account(bytes)
  return object
end

--- Refuse what is no such object where a method was called with a dot, or with another object.
-- @tparam string kind `topk`
-- @tparam string name of the method
-- @param value what it was called with
-- @raise always
function M.not_self(kind, name, value)
  raise("%s:%s: expected a %s before the colon, found %s", kind, name, kind, M.found(value))
end

--- Make the type of a sketch.
-- @tparam string kind `topk`
-- @tparam string struct `struct mt_topk`
-- @tparam table methods add must check itself what it is called with; the others are not called per packet
-- @tparam[opt] table more metamethods
-- @treturn ctype
function M.class(kind, struct, methods, more)
  local class = ffi.typeof(("struct { %s *_c; }"):format(struct))
  for name, method in pairs(methods) do
    if name ~= "add" then
      methods[name] = function(t, ...)
        if not ffi.istype(class, t) then
          M.not_self(kind, name, t)
        end
        return method(t, ...)
      end
    end
  end
  setmetatable(methods, { __index = function(_, name)
    raise("a %s has no method '%s'%s; it has %s", kind, tostring(name), suggest.suffix(tostring(name), methods),
      suggest.list(methods))
  end })
  local meta = more or {}
  meta.__index = methods
  meta.__newindex = function(_, name)
    raise("'%s' of a %s can not be set", tostring(name), kind)
  end
  return ffi.metatype(class, meta)
end

-- --- merge and saved state ----------------------------------------------------------------------

--- Check that two can be merged.
-- @tparam string kind `topk`
-- @tparam ctype class
-- @param a one sketch of the class
-- @param b what the script gave
-- @tparam {string,...} settings fields of their states that must be equal
-- @raise if b is none of the class, or made with other options
function M.check_merge(kind, class, a, b, settings)
  if not ffi.istype(class, b) then
    raise("merge: expected another %s, found %s", kind, type(b) == "cdata" and "another thing" or M.found(b))
  end
  for _, name in ipairs(settings) do
    local mine, other = a._c[name], b._c[name]
    if mine ~= other then
      raise("merge: %s differs: %s and %s", name, tostring(tonumber(mine)), tostring(tonumber(other)))
    end
  end
end

--- The state of a sketch as a string.
-- @tparam string kind `topk`
-- @param c its state
-- @tparam function save of C
-- @treturn string for moontap.load
function M.save(kind, c, save)
  local size = tonumber(save(c, nil))
  local bytes = ffi.new("uint8_t[?]", size)
  save(c, bytes)
  return saved.wrap(kind, 1, ffi.string(bytes, size))
end

--- A sketch from the body of a saved string.
-- @tparam string kind `topk`
-- @tparam string body
-- @tparam integer version
-- @tparam function restore of C
-- @treturn ?cdata the state
-- @treturn ?string why not
function M.restore(kind, body, version, restore)
  if version ~= 1 then
    return nil, ("this moontap reads version 1 of a saved %s, not %d"):format(kind, version)
  end
  local c = restore(body, #body)
  if c == nil then
    return nil, ("damaged: its bytes are no %s that could be (or there is no memory for it)"):format(kind)
  end
  return c
end

return M
