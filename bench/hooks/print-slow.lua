-- SPDX-License-Identifier: BSD-2-Clause
-- Prints a line for every packet.
local n = 0
return {
  on_packet = function(p)
    n = n + 1
    io.stderr:write(("%.6f %d\n"):format(p.ts, p.wirelen))
  end,
  on_stop = function() print(("%d packets, %d lines"):format(n, n)) end,
}
