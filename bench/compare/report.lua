-- SPDX-License-Identifier: BSD-2-Clause
-- The results as text for a terminal and as Markdown.
--
-- A group: name, title, rows (see race.lua), base, judged (a list of {text, value, met}), sizes, rounds.
local M = {}

-- A spread wider than this says more about the machine than about the program.
local NOISY = 1.5

local function noisy(row)
  return row.seconds and #row.runs > 1 and row.most - row.least > 0.01 and row.most > NOISY * row.least
end

-- Seconds with three or four digits that count.
local function seconds(s)
  return s < 0.1 and ("%.4f"):format(s) or s < 10 and ("%.3f"):format(s) or ("%.1f"):format(s)
end

local function find(rows, name)
  for _, row in ipairs(rows) do
    if row.name == name then
      return row
    end
  end
end

-- A row's time for a packet as a multiple of moontap's.
local function multiple(group, row)
  local other = find(group.rows, row.beside or group.base)
  if not (other and other.seconds) then
    return "-"
  end
  return ("%.2f"):format(row.seconds / row.packets / (other.seconds / other.packets))
end

local function remarks(group, row)
  local list = {}
  if group.sizes and row.output_bytes then
    list[#list + 1] = ("%.1f MB"):format(row.output_bytes / 1e6)
  end
  list[#list + 1] = row.note
  if row.beside and row.beside ~= row.name then
    list[#list + 1] = "compared to " .. row.beside
  end
  if noisy(row) then
    list[#list + 1] = "noisy"
  end
  return table.concat(list, "; ")
end

local headings = { "program", "seconds", "least..most", "CPU s", "Mpps", "peak MB", "to moontap", "" }

-- The cells of a row; a failed one has only its name and what is wrong.
local function cells(group, row)
  if row.failed then
    return { row.name, (row.missing and "" or "FAILED: ") .. row.failed }
  end
  local mpps = row.packets / row.seconds / 1e6
  return {
    row.name, seconds(row.seconds), seconds(row.least) .. ".." .. seconds(row.most), seconds(row.cpu),
    mpps < 0.1 and ("%.4f"):format(mpps) or ("%.1f"):format(mpps), ("%.1f"):format(row.peak / 1e6),
    multiple(group, row), remarks(group, row),
  }
end

local function verdict(target)
  return target.met == nil and "unknown" or target.met and "met" or "missed"
end

--- A group's table for a terminal.
function M.text(group)
  local lines = { ("%s: %s; %d rounds"):format(group.name, group.title, group.rounds), "" }
  local format = "%-26s %9s %16s %8s %8s %8s %11s  %s"
  local function add(values)
    lines[#lines + 1] = (format:format(unpack(values)):gsub("%s+$", ""))
  end
  add(headings)
  for _, row in ipairs(group.rows) do
    local values = cells(group, row)
    if #values == 2 then
      lines[#lines + 1] = ("%-26s %s"):format(values[1], values[2])
    else
      add(values)
    end
  end
  for _, target in ipairs(group.judged) do
    lines[#lines + 1] = ("  %-8s %s: %s"):format(verdict(target), target.text, target.value or "not measured")
  end
  return table.concat(lines, "\n") .. "\n"
end

local function all_targets(groups, last)
  local list = {}
  for _, group in ipairs(groups) do
    for _, target in ipairs(group.judged) do
      list[#list + 1] = { group.name, target }
    end
  end
  list[#list + 1] = { "all", last }
  return list
end

--- The last lines: how many targets are met, the memory, whether the machine was quiet.
-- @tparam table groups
-- @tparam table memory the target for all of them
function M.summary(groups, memory)
  local count, noise = { met = 0, missed = 0, unknown = 0 }, {}
  for _, target in ipairs(all_targets(groups, memory)) do
    count[verdict(target[2])] = count[verdict(target[2])] + 1
  end
  for _, group in ipairs(groups) do
    for _, row in ipairs(group.rows) do
      noise[#noise + 1] = noisy(row) and ("%s (%s)"):format(row.name, group.name) or nil
    end
  end
  local lines = {
    ("  %-8s %s: %s"):format(verdict(memory), memory.text, memory.value or "not measured"), "",
    ("targets: %d met, %d missed, %d not measured"):format(count.met, count.missed, count.unknown),
  }
  if #noise > 0 then
    lines[#lines + 1] = ("The machine was not quiet: the slowest run took over %g times as long as the fastest for %s.")
      :format(NOISY, table.concat(noise, ", "))
  end
  return table.concat(lines, "\n") .. "\n"
end

-- --- Markdown --------------------------------------------------------------------------

local function line(values)
  local escaped = {}
  for i, value in ipairs(values) do
    escaped[i] = (tostring(value):gsub("|", "\\|"))
  end
  return "| " .. table.concat(escaped, " | ") .. " |"
end

local function group_markdown(group, add)
  add("")
  add(("## %s"):format(group.name))
  add("")
  add(("%s. %d runs of each."):format(group.title:gsub("^%l", string.upper), group.rounds))
  add("")
  add(line(headings))
  add("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
  for _, row in ipairs(group.rows) do
    local values = cells(group, row)
    if #values == 2 then
      values = { values[1], "-", "-", "-", "-", "-", "-", values[2] }
    end
    add(line(values))
  end
  add("")
  add("```")
  for _, row in ipairs(group.rows) do
    add(row.command)
  end
  add("```")
end

--- All of it as Markdown.
-- @tparam table groups
-- @tparam table memory the target for all of them
-- @tparam table facts {what, value} of the machine
-- @tparam string command what was typed
function M.markdown(groups, memory, facts, command)
  local lines = {}
  local function add(text)
    lines[#lines + 1] = text
  end
  add("# What the benchmark measured")
  add("")
  add(("`%s` wrote this on %s. The commands of a group ran in turn; in the first round each output was checked:")
    :format(command, os.date("!%Y-%m-%d")))
  add("the right number of packets by `capinfos`, the right bytes by `cmp`. *seconds* is the median, *CPU s* of all")
  add("threads and processes, *peak MB* the largest process, *to moontap* the time as a multiple of moontap's.")
  add("")
  add("| | |")
  add("| --- | --- |")
  for _, fact in ipairs(facts) do
    add(line(fact))
  end
  add("")
  add("## Targets")
  add("")
  add("| group | target | measured | |")
  add("| --- | --- | --- | --- |")
  for _, target in ipairs(all_targets(groups, memory)) do
    local goal = target[2]
    local met = goal.met == false and "**missed**" or verdict(goal)
    add(line { target[1], goal.text, goal.value or "not measured", met })
  end
  for _, group in ipairs(groups) do
    group_markdown(group, add)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
