-- SPDX-License-Identifier: BSD-2-Clause
-- Runs the rows of a group in turn, checks what they produced, and sums up.
--
-- A row: name · command · packets · ours (it is moontap) · tool (the program it needs) · output (a file or folder to
-- delete after each run) · check (of the first run, see same.lua) · scale (the time is multiplied by it: the command
-- works on a part of the packets only) · aside (what excuses its memory) · note.
-- After the race it also has: runs, seconds, least, most, cpu, peak, output_bytes, or failed (why).
local shell = require("compare.shell")

local M = {}

function M.median(values)
  local sorted = {}
  for i, value in ipairs(values) do
    sorted[i] = value
  end
  table.sort(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[(n + 1) / 2] or (sorted[n / 2] + sorted[n / 2 + 1]) / 2
end

local function why(run)
  local line = run.err:match("[^\n]+") or "no message"
  return run.status == 124 and ("not done after %d s"):format(shell.limit)
    or ("exit status %d: %s"):format(run.status, line)
end

-- One run of the row; sets row.failed if it went wrong.
local function once(row, first)
  local run = shell.timed(row.command)
  if run.status ~= 0 then
    row.failed = why(run)
  else
    row.runs[#row.runs + 1] = run
    if first then
      row.failed = row.check and row.check(run)
      row.output_bytes = row.output and not row.failed and shell.size(row.output)
    end
  end
  if row.output then
    shell.run("rm -rf " .. row.output)
  end
end

local function sum_up(row)
  local seconds, cpu, peak = {}, {}, 0
  for i, run in ipairs(row.runs) do
    seconds[i], cpu[i] = run.seconds * (row.scale or 1), run.cpu * (row.scale or 1)
    peak = math.max(peak, run.peak)
  end
  row.seconds, row.cpu, row.peak = M.median(seconds), M.median(cpu), peak
  row.least, row.most = math.min(unpack(seconds)), math.max(unpack(seconds))
end

--- Run a group's rows, all of them once in each round.
-- @tparam table rows
-- @tparam integer rounds
function M.run(rows, rounds)
  for _, row in ipairs(rows) do
    row.runs = {}
    if row.tool and not shell.has(row.tool) then
      row.failed = row.tool .. " is not there"
      row.missing = true
    end
  end
  for round = 1, rounds do
    for _, row in ipairs(rows) do
      if not row.failed then
        once(row, round == 1)
      end
    end
  end
  for _, row in ipairs(rows) do
    if not row.failed then
      sum_up(row)
    end
  end
end

return M
