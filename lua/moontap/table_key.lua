-- SPDX-License-Identifier: BSD-2-Clause
--- Keys as scripts get them from tables and sketches: copies, which may be kept, compare and print.
-- @module moontap.table_key

local ffi = require "ffi"
local format = require "moontap.format"
local suggest = require "moontap.suggest"
local raise = require("moontap.misuse").raise

local M = {}

local address_t = ffi.typeof "struct mt_address"

local function with_port(addr, port)
  return ((addr:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(addr, port))
end

local function key_text(k, key)
  if key.struct == "struct mt_key_flow" then
    return ("%s %s %s %s"):format(with_port(tostring(k.src), k.sport), key.arrow, with_port(tostring(k.dst), k.dport),
      format.protocol(k.proto))
  end
  local texts = {}
  for n, part in ipairs(key.parts) do
    local value = k[part[1]]
    texts[n] = part[1] == "proto" and format.protocol(value) or tostring(value)
  end
  return table.concat(texts, key.arrow and " " .. key.arrow .. " " or " ")
end

local function new_type(key)
  local members = {}
  for _, part in ipairs(key.parts) do
    members[part[1]] = part
  end
  return ffi.metatype(ffi.typeof("struct { $ _key; }", ffi.typeof(key.struct)), {
    __index = function(k, name)
      local part = members[name]
      if not part then
        raise("this key has no field '%s'%s; it has %s", tostring(name), suggest.suffix(tostring(name), members),
          suggest.list(members))
      end
      local member = part[3]
      if part[2] == "address" then
        return address_t(k._key[member .. "_high"], k._key[member .. "_low"], k._key[member .. "_len"])
      end
      return k._key[member]
    end,
    __newindex = function()
      raise "a key can not be changed"
    end,
    __tostring = function(k)
      return key_text(k, key)
    end,
    __eq = function(a, b)
      if type(a) ~= "cdata" or type(b) ~= "cdata" or tostring(ffi.typeof(a)) ~= tostring(ffi.typeof(b)) then
        return false
      end
      return ffi.string(a._key, ffi.sizeof(a)) == ffi.string(b._key, ffi.sizeof(b))
    end,
  })
end

local types = {} -- of the kinds that have a name, so that a key of a table is one of a sketch too

--- The type of the keys that a script gets.
-- @tparam table key of moontap.table_layout.key
-- @treturn ctype `struct { … _key; }`
function M.type(key)
  if key.id == "MT_TABLE_PARTS" then
    return new_type(key)
  end
  types[key.kind] = types[key.kind] or new_type(key)
  return types[key.kind]
end

local function has_packet(value)
  return value._packet ~= nil and value._decoded ~= nil
end

-- A field that every packet has; of one that is gone it raises.
local function caplen(p)
  return p.caplen
end

--- The value itself if it is what p:copy() or p:edit() gave.
-- @param value anything
-- @treturn ?packet nil: it is something else
-- @raise if it is an edit that ended with its hook
function M.copied(value)
  if type(value) ~= "cdata" or ffi.istype(address_t, value) then
    return nil
  end
  local ok, yes = pcall(has_packet, value)
  if not (ok and yes) then
    return nil
  elseif not pcall(caplen, value) then
    raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
  end
  return value
end

return M
