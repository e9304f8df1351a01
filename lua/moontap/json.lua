-- SPDX-License-Identifier: BSD-2-Clause
--- JSON (RFC 8259) for results: one library for all of moontap, jansson.
--
--    on_stop = function() print(moontap.json.encode { packets = n, top = moontap.list(top) }) end
--
-- prints one line, so several calls make JSON lines.
-- @module moontap.json

local M = {}

local encode, decode

--- A value as JSON, on one line, keys in alphabetical order.
--
-- A table with the keys 1 to n and no others is an array, any other an object, whose keys are texts; an empty one is
-- an object unless `moontap.list()` made it. 64-bit integers
-- are numbers with all their digits; addresses and other objects are their text; strings that are no UTF-8 are hex;
-- NaN, infinity, a table within itself and what is deeper than 32 tables are null.
-- @tparam any value
-- @treturn string
function M.encode(value)
  return (encode(value))
end

--- A value from JSON: tables, strings, numbers, booleans; null is nil.
-- @tparam string text
-- @treturn any
-- @treturn ?string what is wrong with the text (the value is nil then)
function M.decode(text)
  if type(text) ~= "string" then
    error("moontap.json.decode: expected a string, found a " .. type(text), 2)
  end
  return decode(text)
end

--- Called once by the runtime.
-- @tparam function c_encode value to text
-- @tparam function c_decode text to value, or nil and why not
-- @local
function M.attach(c_encode, c_decode)
  encode, decode = c_encode, c_decode
end

return M
