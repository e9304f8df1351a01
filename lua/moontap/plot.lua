-- SPDX-License-Identifier: BSD-2-Clause
--- Plots of text: bars and curves for a terminal.
--
--    print(moontap.plot.chart({ 3, 5, 9, 4 }, { width = 40, height = 6 }))
--
-- All functions return strings. They are drawn with block characters where the locale (`LC_ALL`, `LC_CTYPE`, `LANG`) is
-- one of UTF-8, else with `#`.
-- @module moontap.plot

local M = {}

local BLOCKS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }
local PARTS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" }

local function unicode()
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local value = os.getenv(name)
    if value and value ~= "" then
      return value:lower():find "utf%-?8" ~= nil
    end
  end
  return false
end

-- As many values as there are columns: the largest of those that fall into one.
local function squeeze(values, width)
  if #values <= width then
    return values
  end
  local out = {}
  for i = 1, width do
    local from, to = math.floor((i - 1) * #values / width) + 1, math.floor(i * #values / width)
    out[i] = 0
    for k = from, to do
      out[i] = math.max(out[i], values[k])
    end
  end
  return out
end

local function largest(values)
  local most = 0
  for _, value in ipairs(values) do
    most = math.max(most, value)
  end
  return most
end

--- A bar of a length that stands for a part of the largest value.
-- @tparam number value not negative
-- @tparam number most what a whole bar is
-- @tparam[opt=40] integer width characters of a whole bar
-- @treturn string without blanks at its end
function M.bar(value, most, width)
  width = width or 40
  local length = most > 0 and math.max(0, math.min(1, value / most)) * width or 0
  if not unicode() then
    return ("#"):rep(math.floor(length + 0.5))
  end
  local eighths = math.floor(length * 8 + 0.5)
  return ("█"):rep(math.floor(eighths / 8)) .. (PARTS[eighths % 8] or "")
end

--- A curve in one line.
-- @tparam {number,...} values not negative
-- @tparam[opt=60] integer width characters; of more values, the largest of those that share one is shown
-- @treturn string
function M.spark(values, width)
  local shown, text = squeeze(values, width or 60), {}
  local most, wide = largest(shown), unicode()
  for i, value in ipairs(shown) do
    local level = most > 0 and math.ceil(8 * value / most) or 0
    text[i] = level == 0 and " " or wide and BLOCKS[level] or level > 4 and "#" or "."
  end
  return table.concat(text)
end

--- A curve with its largest value at the axis.
-- @tparam {number,...} values not negative
-- @tparam[opt] table options
--
-- - width: columns of the curve (60); of more values, the largest of those that share one is shown
-- - height: lines (8)
-- - label: function that makes text of a value (tostring)
-- @treturn string lines, without a newline after the last
function M.chart(values, options)
  options = options or {}
  local shown, height, label = squeeze(values, options.width or 60), options.height or 8, options.label or tostring
  local most, wide = largest(shown), unicode()
  local top = label(most)
  local lines = {}
  for row = height, 1, -1 do
    local cells = {}
    for i, value in ipairs(shown) do
      local level = most > 0 and math.ceil(value / most * height * 8) - (row - 1) * 8 or 0
      cells[i] = level <= 0 and " " or wide and BLOCKS[math.min(level, 8)] or "#"
    end
    local axis = row == height and top or row == 1 and (" "):rep(#top - 1) .. "0" or (" "):rep(#top)
    lines[#lines + 1] = axis .. (wide and " ┤" or " |") .. table.concat(cells):gsub(" +$", "")
  end
  return table.concat(lines, "\n")
end

return M
