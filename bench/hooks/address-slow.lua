-- SPDX-License-Identifier: BSD-2-Clause
-- Makes the text of every address to compare it.
local n, found = 0, 0
return {
  on_packet = function(p)
    n = n + 1
    if tostring(p.src) == "10.0.0.1" then
      found = found + 1
    end
  end,
  on_stop = function() print(("%d packets, %d found"):format(n, found)) end,
}
