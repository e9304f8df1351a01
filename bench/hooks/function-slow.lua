-- SPDX-License-Identifier: BSD-2-Clause
-- Makes the function anew for each packet.
local n, sum = 0, 0
return {
  on_packet = function(p)
    local function larger_port()
      return math.max(p.sport, p.dport)
    end
    n = n + 1
    sum = sum + larger_port()
  end,
  on_stop = function() print(("%d packets, %.0f"):format(n, sum)) end,
}
