-- SPDX-License-Identifier: BSD-2-Clause
-- Counts by the text of the source address in a Lua table.
local n, counts = 0, {}
return {
  on_packet = function(p)
    n = n + 1
    if p.src then
      local key = tostring(p.src)
      counts[key] = (counts[key] or 0) + 1
    end
  end,
  on_stop = function()
    local addresses = 0
    for _ in pairs(counts) do
      addresses = addresses + 1
    end
    print(("%d packets, %d addresses"):format(n, addresses))
  end,
}
