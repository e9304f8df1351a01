-- SPDX-License-Identifier: BSD-2-Clause
--- Numbers of the stream and of what is in it, also as plots.
--
-- `rate` and `histogram` go through the packets behind the current one, up to the end of files, and come back; on a
-- live source they go on until Ctrl-C and show what they have until then.
-- @module moontap.repl.numbers

local ffi = require "ffi"
local format = require "moontap.format"
local plot = require "moontap.plot"
local show = require "moontap.repl.show"

local M = {}
local commands = {}

local stream, watch, report

local WIDTH, HEIGHT = 64, 8

--- Tie the commands to a stream.
-- @tparam table context stream, watch, report
-- @local
function M.attach(context)
  stream, watch, report = context.stream, context.watch, context.report
end

local function fail(text, ...)
  error(text:format(...), 3)
end

-- --- counters ---------------------------------------------------------------------------------

local function source_line(source)
  local parts = { ("%s packets"):format(format.count(source.packets)) }
  for _, key in ipairs { "filtered", "late", "disorder", "dropped", "dropped_kernel" } do
    local n = tonumber(source[key])
    if n and n > 0 then
      parts[#parts + 1] = ("%s %s"):format(format.count(n), key)
    end
  end
  return ("%-24s %s"):format(show.escape(tostring(source.name)), table.concat(parts, ", "))
end

-- Seconds with decimals as a whole number of nanoseconds.
local function ns_of(text)
  local sign, seconds, rest = text:match "^(%-?)(%d+)%.?(%d*)$"
  local ns = ffi.cast("int64_t", tonumber(seconds)) * 1000000000LL + tonumber((rest .. "000000000"):sub(1, 9))
  return sign == "-" and -ns or ns
end

--- Totals as lines.
-- @tparam string name what stands before the first
-- @tparam table totals as in the JSON report
-- @treturn {string,...}
-- @local
function M.total_lines(name, totals)
  local lines = { source_line { name = name, packets = totals.packets, filtered = totals.filtered,
    late = totals.late, disorder = totals.disorder, dropped = totals.dropped, dropped_kernel = totals.dropped_kernel } }
  lines[#lines + 1] = ("%-24s %s captured, %s on the wire"):format("bytes", format.count(totals.bytes or 0),
    format.count(totals.wire_bytes or 0))
  if type(totals.first_ts) == "string" and type(totals.last_ts) == "string" then
    lines[#lines + 1] = ("%-24s %s, %.6f s"):format("from", format.time(ns_of(totals.first_ts)),
      tonumber(ns_of(totals.last_ts) - ns_of(totals.first_ts)) / 1e9)
  end
  return lines
end

--- What was read so far: packets, bytes, times, losses. The fields are those of the JSON report.
-- @treturn table
function commands.stats()
  local totals = report().totals
  local lines = M.total_lines("read so far", totals)
  lines[#lines + 1] = ("%-24s %.0f"):format("current packet", stream:at())
  return show.text(table.concat(lines, "\n"), totals)
end

--- The sources, each with its packets so far and its losses. The fields are those of the JSON report.
-- @treturn {table,...}
function commands.sources()
  local sources, lines = report().sources, {}
  for i, source in ipairs(sources) do
    lines[i] = source_line(source)
  end
  return show.list(table.concat(lines, "\n"), sources)
end

-- --- over the packets ---------------------------------------------------------------------------

-- Call f with each packet behind the current one, then come back. On a live source an interruption is the end.
local function each_packet(most, f)
  local at, n = stream:at(), 0
  watch.restore = at
  local function go()
    while n < most do
      local p = stream:forward()
      if not p then
        return
      end
      n = n + 1
      f(p)
    end
  end
  if watch.live then
    watch:until_interrupted(go)
  else
    go()
  end
  watch.restore = nil
  stream:restore(at)
  return n
end

local UNITS = { ns = 1e-9, us = 1e-6, ["µs"] = 1e-6, ms = 1e-3, s = 1, min = 60, m = 60, h = 3600 }

local function seconds_of(step, name)
  local value = tonumber(step)
  if type(step) == "string" and not value then
    local number, unit = step:match "^(%d+%.?%d*)%s*(.-)$"
    value = number and UNITS[unit] and tonumber(number) * UNITS[unit]
  end
  if not value or not (value >= 1e-6 and value <= 1e9) then
    error(("%s: expected a time such as 1s, 100ms or 1min, found %s"):format(name, tostring(step)), 3)
  end
  return value
end

-- A number of each packet: a field, or a function.
local function number_of(what, name)
  if type(what) == "function" then
    return what
  elseif type(what) == "string" and what:find "^[%a_][%w_]*$" then
    return function(p) return p[what] end
  end
  error(("%s: expected the name of a field, or a function of a packet, found %s"):format(name, tostring(what)), 3)
end

local SLOTS = 100000

--- Packets or bytes for each step of time, over the packets behind the current one.
-- @tparam[opt="1s"] string step `"1s"`, `"100ms"`, `"1min"`
-- @tparam[opt="packets"] string|function what `"packets"`, `"bytes"` (on the wire), or a function that gives a number
-- of each packet
-- @treturn table a list of numbers, with `step` in seconds and `first`, the time of the first; plot() draws it
function commands.rate(step, what)
  local seconds = seconds_of(step or "1s", "rate")
  local value
  if what == nil or what == "packets" then
    value = function() return 1 end
  elseif what == "bytes" then
    value = function(p) return p.wirelen end
  elseif type(what) == "function" then
    value = what
  else
    fail('rate: expected "packets", "bytes" or a function of a packet, found %s', tostring(what))
  end
  local every = ffi.cast("int64_t", seconds * 1e9)
  local begin, counts, most, outside = nil, {}, 0, 0
  each_packet(math.huge, function(p)
    begin = begin or p.ts_ns - p.ts_ns % every
    local slot = tonumber((p.ts_ns - begin) / every) + 1
    if slot >= 1 and slot <= SLOTS then
      counts[slot] = (counts[slot] or 0) + (tonumber(value(p)) or 0)
      most = math.max(most, slot)
    else
      outside = outside + 1
    end
  end)
  local list = {}
  for i = 1, most do
    list[i] = counts[i] or 0
  end
  local unit = what == "bytes" and "bytes" or type(what) == "function" and "" or "packets"
  local result = show.list("", list)
  rawset(result, "step", seconds)
  rawset(result, "first", begin and tonumber(begin) / 1e9)
  rawset(result, "unit", unit)
  local text = most == 0 and "no packets" or commands.plot(result).text
  if outside > 0 then
    text = ("%s\n%s packets are not counted: before the first one, or more than %s steps behind it"):format(text,
      format.count(outside), format.count(SLOTS))
  end
  show.retext(result, text)
  return result
end

--- Draw a curve.
-- @tparam {number,...} values numbers, or what `rate` gave
-- @treturn string
function commands.plot(values)
  if type(values) ~= "table" then
    fail("plot: expected a list of numbers, or what rate() gives, found %s", tostring(values))
  elseif show.is_text(values) then -- a histogram, which is a drawing already
    return values
  end
  local numbers = {}
  for i = 1, #values do
    numbers[i] = math.max(0, tonumber(values[i]) or 0)
  end
  if #numbers == 0 then
    return show.text "nothing to draw"
  end
  local text = plot.chart(numbers, { width = WIDTH, height = HEIGHT, label = format.count })
  local step = rawget(values, "step")
  if step then
    text = ("%s\n%s a step of %g s, %d steps from %s"):format(text, rawget(values, "unit"), step, #numbers,
      format.time(ffi.cast("int64_t", rawget(values, "first") * 1e9)))
  end
  return show.text(text, values)
end

-- Round a step up to 1, 2 or 5 times a power of ten.
local function round_step(step)
  local power = 10 ^ math.floor(math.log10(step))
  for _, times in ipairs { 1, 2, 5, 10 } do
    if step <= times * power * (1 + 1e-9) then
      return times * power
    end
  end
end

local BARS, VALUES = 24, 5000000

local function bars(values, name)
  local low, high, sum = math.huge, -math.huge, 0
  for _, value in ipairs(values) do
    low, high, sum = math.min(low, value), math.max(high, value), sum + value
  end
  local whole = high == math.floor(high) and low == math.floor(low)
  local step = round_step(math.max((high - low) / BARS, whole and 1 or 1e-9))
  local first, counts, most = math.floor(low / step), {}, 0
  for _, value in ipairs(values) do
    local slot = math.floor(value / step) - first
    counts[slot] = (counts[slot] or 0) + 1
    most = math.max(most, counts[slot])
  end
  local lines = { ("%s: %s values from %.6g to %.6g, mean %.6g"):format(name, format.count(#values), low, high,
    sum / #values) }
  local stop, slot = math.floor(high / step) - first, 0
  while slot <= stop do
    local n, behind = counts[slot] or 0, slot
    while not counts[behind] do
      behind = behind + 1
    end
    if behind - slot > 3 then
      lines[#lines + 1] = ("%20s"):format("…")
      slot, n = behind, counts[behind]
    end
    local from = (first + slot) * step
    local label = step == 1 and ("%.6g"):format(from) or ("%.6g to %.6g"):format(from, from + step)
    lines[#lines + 1] = (("%20s %10s %s"):format(label, format.count(n), plot.bar(n, most, 40)):gsub(" +$", ""))
    slot = slot + 1
  end
  return table.concat(lines, "\n")
end

--- How a number is distributed over the packets behind the current one, as bars.
-- @tparam string|function what the name of a field, or a function that gives a number of each packet (nil: left out);
-- alone in its line also an expression: `histogram(p.wirelen)`
-- @treturn {number,...} the values
function commands.histogram(what)
  local value = number_of(what, "histogram")
  local values = {}
  local n = each_packet(VALUES, function(p)
    local v = value(p)
    if type(v) == "cdata" or type(v) == "string" then
      v = tonumber(v)
    elseif type(v) == "boolean" then
      v = v and 1 or 0
    end
    if v and v == v and math.abs(v) < 1 / 0 then
      values[#values + 1] = v
    end
  end)
  if #values == 0 then
    return show.text "no packet behind the current one has such a number"
  end
  local text = bars(values, type(what) == "string" and what or "value")
  return show.list(n < VALUES and text or ("%s\nof the next %s packets only"):format(text, format.count(n)), values)
end

M.commands = commands

return M
