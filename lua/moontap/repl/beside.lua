-- SPDX-License-Identifier: BSD-2-Clause
--- Beside a running capture: its numbers, its filter, its segments.
--
-- These are there at `moontap --attach`. The packets of that prompt are sampled from the capture: all of them up to
-- 10,000 a second, evenly chosen ones beyond. What scripts of the capture hand to `moontap.publish` is in
-- `published`. Nothing else is changed there but by `filter`, `rotate` and `trigger`.
-- @module moontap.repl.beside

local eval = require "moontap.repl.eval"
local format = require "moontap.format"
local numbers = require "moontap.repl.numbers"
local show = require "moontap.repl.show"
local trial = require "moontap.repl.trial"

local M = {}
local commands = {}

local raw_ask, manifests, watch

local SHOWN = 20      -- segments that are listed
local SAMPLED = 1000  -- packets that a hook is tried on

--- Tie the commands to a capture.
-- @tparam table context ask, manifests, watch
-- @local
function M.attach(context)
  raw_ask, manifests, watch = context.ask, context.manifests, context.watch
end

local function fail(text, ...)
  error(text:format(...), 3)
end

-- What the capture answers.
local function ask(what, arguments)
  local answer, why = raw_ask(what, arguments)
  if answer == nil then
    error(why, 3)
  end
  watch:progress()
  return answer
end

local function report()
  return ask "report"
end

local function age_note(now)
  return now.age_s > 1.5 and ("\nthese counts are %.1f s old: an output or a script holds the run up"):format(now.age_s)
    or ""
end

local function size(bytes)
  local unit = 1
  local units = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" }
  while bytes >= 1024 and units[unit + 1] do
    bytes, unit = bytes / 1024, unit + 1
  end
  return (unit == 1 and "%.0f %s" or "%.1f %s"):format(bytes, units[unit])
end

local function duration(seconds)
  if seconds < 120 then
    return ("%.0f s"):format(seconds)
  elseif seconds < 7200 then
    return ("%.0f min"):format(seconds / 60)
  elseif seconds < 172800 then
    return ("%.1f h"):format(seconds / 3600)
  end
  return ("%.1f days"):format(seconds / 86400)
end

-- --- numbers ------------------------------------------------------------------------------------

local function output_line(output)
  local parts = { ("%s packets"):format(format.count(output.kept)) }
  if output.segments then
    parts[#parts + 1] = ("%s segments closed"):format(format.count(output.segments))
  end
  if output.dropped > 0 then
    parts[#parts + 1] = ("%s dropped"):format(format.count(output.dropped))
  end
  return ("%-24s %s"):format(show.escape(output.name or output.path), table.concat(parts, ", "))
end

--- What the capture has read so far: packets, bytes, times, losses. The fields are those of the JSON report.
-- @treturn table
function commands.stats()
  local now = report()
  local lines = numbers.total_lines("running for " .. duration(now.elapsed_s), now)
  for _, output in ipairs(now.outputs) do
    lines[#lines + 1] = output_line(output)
  end
  return show.text(table.concat(lines, "\n") .. age_note(now), now)
end

--- What waits between the capture's threads, and how many packets the sample holds: `batches` that the hook thread
-- has not given back, `buffer_bytes` of waiting packets, each with what there can be (`_most`); `waits_for_space`;
-- `seen` and `taken`, the packets that passed and those that were sampled since somebody is attached.
-- @treturn table
function commands.queues()
  local q, s = ask "queues", ask "sample"
  for key, value in pairs(s) do
    q[key] = value
  end
  local lines = {
    ("%-24s %d of %d"):format("batches in flight", q.batches, q.batches_most),
    ("%-24s %s of %s"):format("buffers", size(q.buffer_bytes), size(q.buffer_bytes_most)),
    ("%-24s %s of %s packets since somebody is attached"):format("sampled", format.count(q.taken),
      format.count(q.seen)),
  }
  if q.waits_for_space then
    lines[#lines + 1] = "an output waits for space"
  end
  return show.text(table.concat(lines, "\n"), q)
end

-- The segments of the run, oldest first.
local function closed_segments(now)
  local folders, seen = {}, {}
  for _, output in ipairs(now.outputs) do
    if output.segments and not seen[output.path] then
      seen[output.path] = true
      folders[#folders + 1] = output.path
    end
  end
  return manifests(folders, now.run)
end

local function segment_line(line)
  return ("%-40s %12s packets %10s  %s"):format(show.escape(tostring(line.file)), format.count(line.packets or 0),
    size(line.file_bytes or 0), tostring(line.reason))
end

--- The segments that the capture has closed, with the fields of their lines in the manifest; the newest are shown.
-- @treturn {table,...} oldest first
function commands.segments()
  local now = report()
  local list, lines = closed_segments(now), {}
  for i = math.max(1, #list - SHOWN + 1), #list do
    lines[#lines + 1] = segment_line(list[i])
  end
  if #list > SHOWN then
    table.insert(lines, 1, ("… %s before (%s in all)"):format(format.count(#list - SHOWN), format.count(#list)))
  end
  local any = false
  for _, output in ipairs(now.outputs) do
    any = any or output.segments ~= nil
  end
  local text = #lines > 0 and table.concat(lines, "\n") or any and "no segment has been closed yet"
    or "the capture writes no segments: -B DIR does"
  return show.list(text, list)
end

--- What the capture's scripts have published, by name. The values are as old as their last `moontap.publish`.
-- @tparam[opt] string name of one value; default: all
-- @return the value, or a table of all
function commands.published(name)
  local all = ask "published"
  if name ~= nil then
    if not all[name] then
      fail("published: no script has published '%s'%s", tostring(name), next(all) and "" or ", nor anything else")
    end
    return all[name].value
  end
  local values, names, lines = {}, {}, {}
  for key, entry in pairs(all) do
    values[key] = entry.value
    names[#names + 1] = key
  end
  table.sort(names)
  for i, key in ipairs(names) do
    lines[i] = ("%s (%s ago) = %s"):format(key, duration(all[key].age_s), show.value(values[key]))
  end
  local text = #names == 0 and "no script has published anything: moontap.publish(name, value) does"
    or table.concat(lines, "\n")
  return show.text(text, values)
end

-- --- changes --------------------------------------------------------------------------------------

local function filter_text(answer)
  local lines = { answer.filter or "no filter" }
  for name, text in pairs(answer.own) do
    lines[#lines + 1] = ("%s has its own: %s"):format(show.escape(name), text)
  end
  return table.concat(lines, "\n")
end

--- The filter of the capture, or another one in its place, as with -F. It is in force from one of the next packets on,
-- in the kernel too; packets that both let through are not lost. Sources with a filter of their own keep it.
-- @tparam[opt] string text BPF expression; `""`: no filter
-- @treturn string
function commands.filter(text)
  if text == nil then
    local answer = ask "filter"
    return show.text(filter_text(answer), answer.filter)
  elseif type(text) ~= "string" then
    fail("filter: expected a BPF expression, found a %s", type(text))
  end
  local answer = ask("filter", { text = text })
  return show.text(filter_text(answer) .. (answer.in_force and "" or
    "\nit is in force as soon as the sources bring packets"), answer.filter)
end

--- Close the open segment of the capture and begin another. One that has no packets stays open.
-- @treturn ?table the manifest line of the segment
function commands.rotate()
  if not ask("rotate").closed then
    return show.text "no segment was closed: it has no packets yet, or the output is held up"
  end
  local list = closed_segments(report())
  local line = list[#list]
  return line and show.text(segment_line(line), line) or show.text "the segment was closed"
end

--- Have the flight recorder of the capture write what it holds.
-- @tparam string reason becomes part of the segment's name
-- @tparam[opt] table options `post`: seconds from now on that are recorded too (0)
function commands.trigger(reason, options)
  if type(reason) ~= "string" or reason == "" then
    fail("trigger: expected a reason, found %s", reason == nil and "nothing" or "a " .. type(reason))
  end
  local post = type(options) == "table" and options.post or 0
  if type(post) ~= "number" then
    fail("trigger: post: expected seconds, found a %s", type(post))
  end
  ask("trigger", { reason = reason, post = post })
  return show.text("the flight recorder writes: " .. show.escape(reason))
end

-- --- hooks on the sample ----------------------------------------------------------------------------

--- Try a hook on the next packets of the sample: what it would do in the capture, where nothing changes.
-- @tparam function|string f function of a packet, as on_packet of a script; a string is an expression as with -e
-- @tparam[opt=1000] integer n packets
function commands.try(f, n)
  if type(f) ~= "function" and type(f) ~= "string" then
    fail("try: expected a function of a packet, or an expression in quotes, found %s",
      f == nil and "nothing" or "a " .. type(f))
  elseif n ~= nil and (type(n) ~= "number" or n < 1 or n ~= n) then
    fail("try: expected a number of packets, at least 1, found %s", tostring(n))
  end
  trial.insert_hook(f, "try", "stop")
  local ok, result = eval.pcall(trial.commands.run, n or SAMPLED)
  eval.pcall(trial.commands.unload, "try")
  if not ok then
    error(result, 0)
  end
  return result
end

M.commands = commands

return M
