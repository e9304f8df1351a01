-- SPDX-License-Identifier: BSD-2-Clause
-- Reads two bytes as a number.
local n, sum = 0, 0
return {
  on_packet = function(p)
    n = n + 1
    sum = sum + (p:u16(16) or 0)
  end,
  on_stop = function() print(("%d packets, %.0f"):format(n, sum)) end,
}
