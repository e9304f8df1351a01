-- SPDX-License-Identifier: BSD-2-Clause
--- The C side as Lua sees it: src/abi.h as one ffi.cdef, checked against the compiler's layout.
-- @module moontap.abi

local ffi = require "ffi"

ffi.cdef(require "moontap.abi_text")

local C = ffi.C

-- A build whose Lua and C halves disagree must not touch a packet.
local entry = C.mt_abi_table()
while entry.name ~= nil do
  local name = ffi.string(entry.name)
  local struct, field = name:match "^([%w_]+)%.?([%w_]*)$"
  local value
  if field == "" then
    value = ffi.sizeof("struct " .. struct)
  else
    value = ffi.offsetof("struct " .. struct, field)
  end
  if value ~= entry.value then
    error(("moontap was built wrong: %s is at %s in Lua and %d in C"):format(name, tostring(value), entry.value))
  end
  entry = entry + 1
end

-- A function that was never looked up ends the recording of a trace: look them all up now.
for _, name in ipairs { "mt_batch_decode", "mt_decode", "mt_flow_hash", "mt_filter_match", "mt_flow_advance",
  "mt_edit_time" } do
  assert(C[name])
end

return C
