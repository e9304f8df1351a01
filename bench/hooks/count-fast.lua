-- SPDX-License-Identifier: BSD-2-Clause
-- Counts by source address in a table outside the Lua heap.
local n, counts = 0, moontap.table { key = "src", value = { packets = "count" } }
return {
  on_packet = function(p)
    n = n + 1
    local c = counts[p]
    if c then
      c.packets = c.packets + 1
    end
  end,
  on_stop = function() print(("%d packets, %d addresses"):format(n, #counts)) end,
}
