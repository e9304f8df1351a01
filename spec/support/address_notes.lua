-- SPDX-License-Identifier: BSD-2-Clause
-- Does an anonymizer write what Crypto-PAn makes of each address, also where the reading thread has found that out
-- ahead?  Some packets are edited or cut first, which must count.  Two anonymizers take turns: notes are of one.
local state = require("moontap.packet").state()

local KEYS = { ("k"):rep(32), ("K"):rep(32) }
local anonymizers, pans = {}, {}
local compared, ahead, differ = 0, 0, 0
local turns

local function is_group(a)
  local text = tostring(a)
  return text:find "^22[4-9]%." or text:find "^2[345]%d%." or text:find "^ff" or text:find "^fe8"
end

local function check(before, after, which, p)
  if before and not is_group(before) then
    compared = compared + 1
    if tostring(after) ~= tostring(pans[which](before)) then
      differ = differ + 1
      if differ <= 3 then print(("packet %d: %s became %s"):format(p.number, before, after)) end
    end
  end
end

return {
  args = { turns = { default = 1, help = "anonymizers" } },
  on_start = function(run)
    turns = run.args.turns
    for i, key in ipairs(KEYS) do
      anonymizers[i], pans[i] = moontap.anonymizer { key = key }, moontap.cryptopan { key = key }
    end
  end,
  on_packet = function(p)
    local which = p.number % turns + 1
    if p.number % 7 == 0 then
      p:truncate(p.number % 5 * 12)
    elseif p.number % 11 == 0 and p.src then
      p:edit().src = p.ip_version == 4 and "198.51.100.7" or "2001:db8:7::1"
    end
    local src, dst = p.src, p.dst -- values: they stay what they are
    anonymizers[which](p)
    ahead = ahead + (state.batch.addresses_of > 0 and 1 or 0)
    check(src, p.src, which, p)
    check(dst, p.dst, which, p)
  end,
  on_stop = function()
    print(("%s, %s, %d differ"):format(compared > 50000 and "many" or "few",
      ahead > 30000 and "ahead" or "seldom ahead", differ))
  end,
}
