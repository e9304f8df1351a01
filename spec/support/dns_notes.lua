-- SPDX-License-Identifier: BSD-2-Clause
-- Are the messages that C notes for a whole batch those that it finds when asked for one?  A copy of a packet is
-- looked at alone: it is the judge.  Some packets are cut or edited first, which notes must not know of.
local dns = require "moontap.dns"
local state = require("moontap.packet").state()

local messages, noted, deep, differ = 0, 0, 0, 0

local function words(d)
  if not d then return "none" end
  local list = {}
  for _, field in ipairs(dns.fields.message) do
    list[#list + 1] = field.name .. "=" .. tostring(d[field.name])
  end
  list[#list + 1] = tostring(d:name_key())
  for _, r in d:answers() do list[#list + 1] = r.text end
  for _, r in d:additional() do list[#list + 1] = r.type end
  return table.concat(list, " ")
end

local function compare(p, what)
  local d = p:dns()
  local found, wanted = words(d), words(p:copy():dns())
  messages = messages + (d and 1 or 0)
  noted = noted + (state.batch.dns_depth > 0 and 1 or 0)
  deep = deep + (state.batch.dns_depth > 1 and 1 or 0)
  if found ~= wanted then
    differ = differ + 1
    if differ <= 3 then print(("%s of packet %d:\n  %s\n  %s"):format(what, p.number, found, wanted)) end
  end
end

return {
  on_packet = function(p)
    compare(p, "message")
    local inner = p:inner()
    if inner then compare(inner, "inner message") end
    if p.number % 7 == 0 then
      p:truncate(math.floor(p.caplen * 2 / 3))
      compare(p, "cut message")
    elseif p.number % 11 == 0 and p.has_ports then
      local e = p:edit()
      e.dport = 5353
      compare(e, "edited message")
    end
  end,
  on_stop = function()
    print(("%d messages, %s, %d differ"):format(messages, noted > 0 and deep > 0 and "noted" or "never noted", differ))
  end,
}
