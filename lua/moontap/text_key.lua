-- SPDX-License-Identifier: BSD-2-Clause
--- Text that is counted without becoming a string: what `d:name_key()` of a DNS message gives.
--
-- To make a string of each name costs more than to count it. Such a key lives in one buffer that the next one takes, so
-- it is used at once: `names:add(d:name_key())`. moontap.topk and moontap.distinct count it as the string that
-- `tostring` makes of it.
-- @module moontap.text_key

local ffi = require "ffi"
local C = require "moontap.abi"
local view = require "moontap.view"

local M = {}

local MOST = tonumber(C.MT_DNS_NAME_TEXT)
local BEFORE = 64 -- bytes that stand in front

local text_key_t = ffi.typeof "struct { uint32_t _len; double _stamp; }"
local buffer = ffi.new("char[?]", BEFORE + 1 + MOST)
local latest = ffi.new "double[1]"

--- The type of such keys.
M.type = text_key_t
--- Where their text is.
M.buffer = buffer

local function check(key)
  if key._stamp ~= latest[0] then
    view.raise "this key is gone: the next one took its place; use it at once, or keep its tostring"
  end
end
M.check = check

--- Put a text into the buffer.
-- @tparam integer at
-- @tparam string text
-- @treturn integer its bytes
-- @raise if it is no string, or a long one
function M.text(at, text)
  if type(text) ~= "string" or #text > BEFORE then
    view.raise("name_key: expected a string of at most %d bytes, found %s", BEFORE,
      type(text) == "string" and "one of " .. #text or "a " .. type(text))
  end
  ffi.copy(buffer + at, text, #text)
  return #text
end

--- Begin a key: what stands in front of the name, and a blank.
-- @tparam string before
-- @treturn integer bytes, so where the name goes
function M.begin(before)
  local n = M.text(0, before)
  buffer[n] = 32
  return n + 1
end

--- The key of the first bytes of the buffer.
-- @tparam integer len
function M.new(len)
  latest[0] = latest[0] + 1
  return text_key_t(len, latest[0])
end

ffi.metatype(text_key_t, {
  __tostring = function(key)
    check(key)
    return ffi.string(buffer, key._len)
  end,
  __index = function(_, name)
    view.raise("a name's key has no '%s': it is added to moontap.topk or moontap.distinct, or made a tostring",
      tostring(name))
  end,
})

return M
