-- SPDX-License-Identifier: BSD-2-Clause
-- Reads two bytes by way of a string.
local n, sum = 0, 0
return {
  on_packet = function(p)
    n = n + 1
    local high, low = p:bytes(16, 2):byte(1, 2)
    sum = sum + (low and high * 256 + low or 0)
  end,
  on_stop = function() print(("%d packets, %.0f"):format(n, sum)) end,
}
