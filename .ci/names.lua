-- SPDX-License-Identifier: BSD-2-Clause
-- A script that prints the public names there are, for .ci/docs.
local function sorted(t)
  local names = {}
  for name in pairs(t) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

return {
  on_start = function()
    local packet = require "moontap.packet"
    for _, name in ipairs(moontap.names()) do
      if name ~= "version" then
        print("global " .. name)
      end
    end
    for _, name in ipairs(sorted(packet.methods)) do
      print("method " .. name)
    end
    for _, field in ipairs(packet.field_docs or {}) do
      print(("field %s\t%s\t%s\t%s\t%s"):format(field.name, field.type or "", field.absent or "", field.unit or "",
        field.text or ""))
    end
  end,
}
