-- SPDX-License-Identifier: BSD-2-Clause
--- Crypto-PAn: other addresses in place of addresses, with their prefixes kept.
--
--    local pan = moontap.cryptopan { key_file = "secret.key" }
--    print(pan(moontap.address "10.1.2.3"), pan(moontap.address "10.1.2.4"))
--
-- Two addresses that share their first n bits share them afterwards as well, and no more; with the same key the result
-- is the same in every run. A key is 32 bytes, as `head -c 32 /dev/urandom` makes them. Who has the key can undo it,
-- and who can put packets of his own into a trace learns the prefixes of his addresses: it hides addresses, not their
-- structure.
--
-- J. Xu et al., "Prefix-preserving IP address anonymization", ICNP 2002.
-- @module moontap.cryptopan

local ffi = require "ffi"
local C = require "moontap.abi"
local misuse = require "moontap.misuse"
local sketch = require "moontap.sketch"

local M = {}

local KEY_BYTES = tonumber(ffi.cast("uint32_t", C.MT_CRYPTOPAN_KEY))
local address_t = ffi.typeof "struct mt_address"
local KNOWN = { key = true, key_file = true }
local class = {}

-- C functions that run per packet are looked up before a trace meets them.
assert(C.mt_cryptopan_map)

function class.__call(pan, address)
  if not ffi.istype(address_t, address) then
    if address == nil then
      return nil
    end
    misuse.raise("cryptopan: expected an address, found %s", sketch.found(address))
  end
  local mapped = address_t(address.high, address.low, address.len)
  C.mt_cryptopan_map(pan._c, mapped)
  return mapped
end

class.__index = function(_, name)
  misuse.raise("a cryptopan is called with an address, it has no '%s'", tostring(name))
end

local function read_key(path)
  if type(path) ~= "string" then
    misuse.raise("moontap.cryptopan: key_file: expected a path, found %s", sketch.found(path))
  end
  local key, why = ffi.new("char[?]", KEY_BYTES), ffi.new "char[512]"
  if C.mt_key_file_read(path, key, KEY_BYTES, why, 512) ~= 0 then
    misuse.raise("moontap.cryptopan: key_file %s", ffi.string(why))
  end
  return ffi.string(key, KEY_BYTES)
end

--- Make one; call it with an address (nil gives nil), it returns the other address.
-- @function moontap.cryptopan
-- @tparam table options one of:
--
-- - key: a string of 32 bytes
-- - key_file: a file of 32 bytes that nobody but its owner may read
-- @treturn function
-- @raise if the key can not be read, is not 32 bytes long, or others may read the file
function M.new(options)
  sketch.check_options("moontap.cryptopan", options or {}, KNOWN)
  local key = options.key
  if (key == nil) == (options.key_file == nil) then
    misuse.raise "moontap.cryptopan: expected one of key and key_file"
  elseif key == nil then
    key = read_key(options.key_file)
  elseif type(key) ~= "string" or #key ~= KEY_BYTES then
    misuse.raise("moontap.cryptopan: key: expected a string of %d bytes, found %s", KEY_BYTES,
      type(key) == "string" and ("one of " .. #key) or sketch.found(key))
  end
  local c = C.mt_cryptopan_new(key)
  if c == nil then
    misuse.raise "moontap.cryptopan: out of memory"
  end
  return setmetatable({ _c = ffi.gc(c, C.mt_cryptopan_free) }, class)
end

return M
