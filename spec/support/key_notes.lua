-- SPDX-License-Identifier: BSD-2-Clause
-- Has each packet the entry of its key, also where the reading thread has hashed keys ahead?  Text is the judge.  Some
-- packets are cut or edited first, which hashes of what was read must not know of.
local state = require("moontap.packet").state()

local f, kind
local ids, n_ids, ahead, differ, compared = {}, 0, 0, 0, 0

local function in_order(a, b)
  return a < b and a .. " " .. b or b .. " " .. a
end

local TEXT = {
  flow = function(p)
    return p.src and p.proto .. " " .. in_order(p.src .. "/" .. p.sport, p.dst .. "/" .. p.dport)
  end,
  tuple = function(p)
    return p.src and ("%d %s/%d %s/%d"):format(p.proto, p.src, p.sport, p.dst, p.dport)
  end,
  pair = function(p) return p.src and in_order(tostring(p.src), tostring(p.dst)) end,
  src = function(p) return p.src and tostring(p.src) end,
  dst = function(p) return p.dst and tostring(p.dst) end,
  sport = function(p) return p.has_ports and p.proto .. " " .. p.sport end,
  dport = function(p) return p.has_ports and p.proto .. " " .. p.dport end,
}

local function compare(p, what)
  local text, entry = TEXT[kind](p), f[p]
  local id
  if text then
    if not ids[text] then
      n_ids = n_ids + 1
      ids[text] = n_ids
    end
    id = ids[text]
  end
  compared = compared + 1
  ahead = ahead + (state.batch.hash_kind > 0 and 1 or 0)
  if entry and entry.id == 0 then entry.id = id or -1 end
  if (entry and entry.id) ~= id then
    differ = differ + 1
    if differ <= 3 then print(("%s %d: %s"):format(what, p.number, text or "no key")) end
  end
end

return {
  args = { kind = { default = "flow", help = "kind of key" } },
  on_start = function(run)
    kind = run.args.kind
    f = moontap.table { key = kind, value = { id = "double" } }
  end,
  on_packet = function(p)
    if p.number % 7 == 0 then
      p:truncate(p.number % 5 * 8)
      compare(p, "cut")
    elseif p.number % 11 == 0 and p.has_ports then
      p:edit().dport = 5353
      compare(p, "edited")
    else
      compare(p, "packet")
    end
  end,
  on_stop = function()
    print(("%d packets, %s, %d differ, %d entries more"):format(compared, ahead > compared / 2 and "hashed ahead" or
      "seldom hashed ahead", differ, #f - n_ids))
  end,
}
