-- SPDX-License-Identifier: BSD-2-Clause
-- What the figures should be.  A target: text · judge(rows by name), which gives the value found as text and whether it
-- is met, or nothing where a row has no figures.
local M = {}

-- Seconds a packet.
local function cost(row)
  return row and row.seconds and row.seconds / row.packets
end

local function ratio(a, b)
  local over, under = cost(a), cost(b)
  return over and under and over / under
end

--- `name` takes at most `limit` times as long for a packet as `other`.
function M.at_most(limit, name, other)
  return {
    text = ("%s: at most %g times the time of %s"):format(name, limit, other),
    judge = function(rows)
      local value = ratio(rows[name], rows[other])
      if value then
        return ("%.2f times"):format(value), value <= limit
      end
    end,
  }
end

--- `name` is at least `limit` times as fast as `other`.
function M.as_fast(limit, name, other)
  return {
    text = limit == 1 and ("%s: at least as fast as %s"):format(name, other)
      or ("%s: at least %g times as fast as %s"):format(name, limit, other),
    judge = function(rows)
      local value = ratio(rows[other], rows[name])
      if value then
        return ("%.2f times"):format(value), value >= limit
      end
    end,
  }
end

--- `name` works off at least so many million packets a second.
function M.rate(mpps, name)
  return {
    text = ("%s: at least %g million packets a second"):format(name, mpps),
    judge = function(rows)
      local value = cost(rows[name])
      if value then
        return ("%.1f million"):format(1e-6 / value), 1e-6 / value >= mpps
      end
    end,
  }
end

--- `name` is done in less than so many milliseconds.
function M.within(ms, name)
  return {
    text = ("%s: less than %g ms"):format(name, ms),
    judge = function(rows)
      local row = rows[name]
      if row and row.seconds then
        return ("%.1f ms"):format(row.seconds * 1000), row.seconds * 1000 < ms
      end
    end,
  }
end

--- No row of moontap needs as much memory, but those with an excuse; `groups` are the groups' results.
function M.memory(limit_mb, groups)
  local peak, where, excused = nil, nil, {}
  for _, group in ipairs(groups) do
    for _, row in ipairs(group.rows) do
      if row.ours and row.aside then
        excused[row.aside] = true
      elseif row.ours and row.peak and row.peak > (peak or 0) then
        peak, where = row.peak, ("%s, %s"):format(group.name, row.name)
      end
    end
  end
  local reasons = {}
  for reason in pairs(excused) do
    reasons[#reasons + 1] = reason
  end
  table.sort(reasons)
  return {
    text = ("every row of moontap: less than %d MB of memory"):format(limit_mb)
      .. (#reasons > 0 and (" (aside: %s)"):format(table.concat(reasons, ", ")) or ""),
    judge = function()
      if peak then
        return ("%.1f MB (%s)"):format(peak / 1e6, where), peak < limit_mb * 1e6
      end
    end,
  }
end

return M
