-- SPDX-License-Identifier: BSD-2-Clause
--- "Did you mean …?": the known name that is nearest to a misspelt one.
-- @module moontap.suggest

local M = {}

--- Edit distance of two strings (insert, delete, replace, swap of neighbours).
-- @tparam string a
-- @tparam string b
-- @treturn integer
function M.distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do
    rows[0][j] = j
  end
  for i = 1, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local d = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        d = math.min(d, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = d
    end
  end
  return rows[#a][#b]
end

--- The nearest of the keys of a table, if it is near enough to be meant.
-- @tparam string name what was written
-- @tparam table known its keys are the names there are
-- @tparam[opt] table aliases names of other tools, mapped to ours
-- @treturn string `: did you mean 'sport'?`, or "" if nothing is near
function M.suffix(name, known, aliases)
  local best = aliases and aliases[name]
  if not best then
    -- Two letters of four are too many: 'file' is no 'pipe'.  What begins with the name is near.
    local best_distance = (#name < 5 and 1 or math.max(2, math.floor(#name / 3))) + 1
    local function consider(written, meant)
      local begins = #name > 1 and written:sub(1, #name) == name
      local d = begins and 1 or M.distance(name, written)
      if d < best_distance or (d == best_distance and best and meant < best) then
        best, best_distance = meant, d
      end
    end
    for key in pairs(known) do
      consider(key, key)
    end
    for key, meant in pairs(aliases or {}) do -- other tools' names are misspelt too: sorce_port
      consider(key, meant)
    end
  end
  return best and (": did you mean '%s'?"):format(best) or ""
end

--- The keys of a table, sorted, as one string.
-- @tparam table known
-- @treturn string `a, b, c`
function M.list(known)
  local names = {}
  for key in pairs(known) do
    names[#names + 1] = key
  end
  table.sort(names)
  return table.concat(names, ", ")
end

return M
