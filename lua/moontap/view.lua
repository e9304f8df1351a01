-- SPDX-License-Identifier: BSD-2-Clause
--- What the protocol readers share: views on a packet that end with its hook.
--
-- A view is a small struct of pointers and offsets with the packet's generation, which each getter compares;
-- in compiled loops it is never allocated and the comparison is free, as with packets. Getters and methods
-- must not end in a tail call (see moontap.packet).
-- @module moontap.view

local ffi = require "ffi"
local packet = require "moontap.packet"
local suggest = require "moontap.suggest"

local M = {}

local state = packet.state() -- struct mt_hook_state *

local function is_ours(level)
  local info = debug.getinfo(level + 1, "S")
  return info ~= nil and (info.source:find "^=moontap%." or info.source:find "^@lua/moontap/") ~= nil
end

--- Raise an error at the line of the script.
-- @tparam string text for string.format
-- @param ... its arguments
function M.raise(text, ...)
  local level = 2
  while is_ours(level) do
    level = level + 1
  end
  error(text:format(...), level)
end

local GETTER = [[
local state, gone, %s = ...
return function(v)
  if v._generation ~= state.generation then gone(v) end
  %s
end]]

-- A getter as one straight function, with all that it uses as upvalues that never change.
local function getter(name, body, gone, names, values)
  local text = GETTER:format(table.concat(names, ", "), body)
  return assert(loadstring(text, "=moontap." .. name))(state, gone, unpack(values))
end

--- Give a struct with a member `_generation` its fields and methods.
-- @tparam ctype struct
-- @tparam table what
--
-- - name: what it is, for messages ("DNS message")
-- - fields: list of { name, body }: its name, and the text of a function of `v`
-- - uses: name to what those texts use beside `v`
-- - methods: name to function; they must begin with check(v)
-- - aliases: what other tools call the fields
-- - tostring: function
-- @treturn function `check(v)` raises if the view's packet is gone
function M.define(struct, what)
  local names, values = {}, {}
  for name, value in pairs(what.uses) do
    names[#names + 1], values[#values + 1] = name, value
  end

  local function gone(v)
    if not ffi.istype(struct, v) then
      M.raise("this is a method of a %s: write a colon, not a dot", what.name)
    end
    M.raise("this %s is gone: it ends with the packet's hook, keep what is needed of it", what.name)
  end

  local getters, methods = {}, what.methods
  for _, field in ipairs(what.fields) do
    getters[field.name] = getter(field.name, field.body, gone, names, values)
  end

  local function unknown(name)
    local known = {}
    for _, list in ipairs { getters, methods } do
      for key in pairs(list) do
        known[key] = true
      end
    end
    local hint = suggest.suffix(tostring(name), known, what.aliases)
    M.raise("a %s has no field '%s'%s", what.name, tostring(name),
      hint ~= "" and hint or "; it has " .. suggest.list(known))
  end

  ffi.metatype(struct, {
    __index = function(v, key)
      local get = getters[key]
      if get then
        return (get(v))
      end
      local method = methods[key]
      if method then
        return method
      end
      unknown(key)
    end,
    __newindex = function(_, key)
      M.raise("field '%s' of a %s can not be set", tostring(key), what.name)
    end,
    __tostring = what.tostring,
  })

  return function(v)
    if v._generation ~= state.generation then
      gone(v)
    end
  end
end

return M
