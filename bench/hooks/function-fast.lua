-- SPDX-License-Identifier: BSD-2-Clause
-- Calls a function that was made once.
local n, sum = 0, 0

local function larger_port(p)
  return math.max(p.sport, p.dport)
end

return {
  on_packet = function(p)
    n = n + 1
    sum = sum + larger_port(p)
  end,
  on_stop = function() print(("%d packets, %.0f"):format(n, sum)) end,
}
