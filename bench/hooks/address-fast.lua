-- SPDX-License-Identifier: BSD-2-Clause
-- Compares an address as a value.
local n, found, home = 0, 0, moontap.address "10.0.0.1"
return {
  on_packet = function(p)
    n = n + 1
    if p.src == home then
      found = found + 1
    end
  end,
  on_stop = function() print(("%d packets, %d found"):format(n, found)) end,
}
