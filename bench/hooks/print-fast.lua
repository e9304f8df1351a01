-- SPDX-License-Identifier: BSD-2-Clause
-- Gathers while packets pass, prints once a millisecond of packet time.
local n, lines, bytes = 0, 0, 0
return {
  interval = 0.001,
  on_packet = function(p)
    n = n + 1
    bytes = bytes + p.wirelen
  end,
  on_interval = function(now)
    lines = lines + 1
    io.stderr:write(now, " ", bytes, "\n")
    bytes = 0
  end,
  on_stop = function() print(("%d packets, %d lines"):format(n, lines)) end,
}
