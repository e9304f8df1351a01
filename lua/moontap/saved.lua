-- SPDX-License-Identifier: BSD-2-Clause
--- State as a string: what `:save()` of tables and sketches gives, and `moontap.load` takes.
--
-- A saved object is a line of text, `moontap KIND VERSION LENGTH CRC32`, and the object's own bytes behind it. The
-- bytes are in the machine's order, which the line names, so that a file from another machine is refused
-- instead of read wrong. Damage is found by the length and the checksum.
--
--    local file = io.open("flows.state", "wb")
--    file:write(flows:save())
--    file:close()
--    …
--    local flows = moontap.load(io.open("flows.state", "rb"):read("*a"))
-- @module moontap.saved

local ffi = require "ffi"
local C = require "moontap.abi"

local M = {}

local ORDER = ffi.abi "le" and "le" or "be"

-- Who reads which kind: a module with restore(body, version), which gives the object, or nil and why not.
local KINDS = {
  distinct = "moontap.distinct",
  histogram = "moontap.histogram",
  quantiles = "moontap.quantiles",
  rate = "moontap.rate",
  table = "moontap.table",
  topk = "moontap.topk",
}

--- Bytes of an object as a string to keep.
-- @tparam string kind a key of KINDS
-- @tparam integer version of the bytes' layout, for restore
-- @tparam string body
-- @treturn string
function M.wrap(kind, version, body)
  return ("moontap %s %d %s %d %08x\n"):format(kind, version, ORDER, #body, C.mt_crc32(body, #body)) .. body
end

--- An object from what its `:save()` gave, also that of another run.
-- @function moontap.load
-- @tparam string saved
-- @treturn ?object of the kind that was saved; nil if the string is damaged or of another kind of machine
-- @treturn ?string why not
-- @raise if it is no string
function M.load(saved)
  if type(saved) ~= "string" then
    error(("moontap.load: expected the string that :save() gave, found %s"):format(
      saved == nil and "nothing" or "a " .. type(saved)), 2)
  end
  local kind, version, order, length, crc, at = saved:match "^moontap ([%l_]+) (%d+) (%l%l) (%d+) (%x+)\n()"
  if not kind then
    return nil, "these are not bytes that :save() gave"
  elseif not KINDS[kind] then
    return nil, ("this moontap knows no saved '%s'"):format(kind)
  elseif order ~= ORDER then
    return nil, "it was saved on a machine of the other byte order"
  end
  local body = saved:sub(at)
  if #body ~= tonumber(length) then
    return nil, ("damaged: %s bytes were saved, %d are left"):format(length, #body)
  elseif C.mt_crc32(body, #body) ~= tonumber(crc, 16) then
    return nil, "damaged: the checksum differs"
  end
  return require(KINDS[kind]).restore(body, tonumber(version))
end

return M
