-- SPDX-License-Identifier: BSD-2-Clause
--- The largest entries of a table, without sorting it: a heap of the best so far.
-- @module moontap.table_top

local M = {}

local floor = math.floor

-- A heap of the n best: numbers[1] is the smallest of them.  Of equal ones the first to come is better.
local function worse(numbers, places, i, j)
  return numbers[i] < numbers[j] or (numbers[i] == numbers[j] and places[i] > places[j])
end

local function swap(numbers, places, i, j)
  numbers[i], numbers[j] = numbers[j], numbers[i]
  places[i], places[j] = places[j], places[i]
end

local function rise(numbers, places, i)
  while i > 1 do
    local up = floor(i / 2)
    if not worse(numbers, places, i, up) then
      return
    end
    swap(numbers, places, i, up)
    i = up
  end
end

local function sink(numbers, places, n)
  local i = 1
  while true do
    local down = 2 * i
    if down < n and worse(numbers, places, down + 1, down) then
      down = down + 1
    end
    if down > n or not worse(numbers, places, down, i) then
      return
    end
    swap(numbers, places, i, down)
    i = down
  end
end

--- Places of the n entries with the largest number, in falling order.
-- @param entries pointer to all places
-- @tparam integer used how many places there are
-- @tparam function read gives the number of an entry; one that is no number (NaN) is less than all others
-- @tparam integer n
-- @treturn {integer,...}
function M.largest(entries, used, read, n)
  local numbers, places, size = {}, {}, 0
  for place = 0, used - 1 do
    local e = entries + place
    if e.generation > 0 then
      local number = tonumber(read(e))
      number = number == number and number or -math.huge
      if size < n then
        size = size + 1
        numbers[size], places[size] = number, place
        rise(numbers, places, size)
      elseif number > numbers[1] then
        numbers[1], places[1] = number, place
        sink(numbers, places, n)
      end
    end
  end
  for last = size, 2, -1 do -- the worst goes to the end, and so on
    swap(numbers, places, 1, last)
    sink(numbers, places, last - 1)
  end
  return places
end

return M
