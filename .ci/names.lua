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

local function print_fields(module, object, fields)
  for _, field in ipairs(fields) do
    print("field " .. table.concat({ module, object, field.name, field.type or "", field.absent or "", field.unit or "",
      field.text or "" }, "\t"))
  end
end

return {
  on_start = function()
    local packet, dns = require "moontap.packet", require "moontap.dns"
    for _, name in ipairs(moontap.names()) do
      if name ~= "version" then
        print("global " .. name)
      end
    end
    for _, name in ipairs(sorted(packet.methods)) do
      print("method " .. name)
    end
    for _, part in ipairs { "walk", "trial", "numbers", "beside", "help" } do
      for _, name in ipairs(sorted(require("moontap.repl." .. part).commands)) do
        print("command " .. name)
      end
    end
    print_fields("moontap.packet", "p", packet.field_docs)
    print_fields("moontap.dns", "dns", dns.fields.message)
    print_fields("moontap.dns", "record", dns.fields.record)
    print_fields("moontap.dns", "question", dns.fields.question)
    print_fields("moontap.tls", "tls", require("moontap.tls").fields)
  end,
}
