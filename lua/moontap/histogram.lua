-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.histogram`: counts of numbers in fixed buckets, also as a bar chart.
--
--    local sizes = moontap.histogram { from = 0, to = 1600, step = 100 }
--
--    return {
--      on_packet = function(p) sizes:add(p.wirelen) end,
--      on_stop = function() print(sizes) end,
--    }
--
-- **Buckets** go from an edge to just below the next: with `from = 0, to = 1500, step = 100` the first holds
-- 0 to 99.99…, and 1500 is over. They are made in one of three ways:
--
--    { from = 0, to = 1500, step = 100 }      equal width; the last is narrower where step does not divide
--    { from = 64, to = 65536, log = 2 }       each `log` times as wide as the one before: 64, 128, 256, …
--    { edges = { 64, 128, 256, 512, 1519 } }  any
--
-- What is below the first edge or not below the last is counted apart; so are infinite numbers. NaN raises an error.
--
-- **Memory** is 16 bytes a bucket, taken at once; at most 100,000 buckets. Counts are exact for whole numbers up to
-- 2^53; a merge gives exactly what one histogram would have given.
-- @module moontap.histogram

local ffi = require "ffi"
local C = require "moontap.abi"
local format = require "moontap.format"
local sketch = require "moontap.sketch"

local M = {}

assert(C.mt_histogram_add) -- a trace must find it looked up

local istype = ffi.istype
local raise, found, weight_of = sketch.raise, sketch.found, sketch.weight
local MOST_BUCKETS = C.MT_HISTOGRAM_MOST_BUCKETS
local WHAT = "moontap.histogram"
local class -- below

local methods = {}

local function no_number(x)
  raise("histogram:add: expected a number, found %s", type(x) == "number" and "NaN" or found(x))
end

--- Count a number.
-- @function add
-- @tparam number x any but NaN
-- @tparam[opt=1] number weight how many times, 0 to 2^53
-- @raise if x is no number
function methods.add(h, x, weight)
  if not istype(class, h) then sketch.not_self("histogram", "add", h) end
  if type(x) ~= "number" or x ~= x then
    no_number(x)
  end
  C.mt_histogram_add(h._c, x, weight_of("histogram:add", weight))
end

--- All buckets in rising order, empty ones too.
-- @function rows
-- @treturn {{from=,to=,count=},...} each counts from <= x < to
function methods.rows(h)
  local c, rows = h._c, {}
  for i = 1, c.buckets do
    rows[i] = { from = c.edges[i - 1], to = c.edges[i], count = c.counts[i - 1] }
  end
  return rows
end

--- What was below the first bucket.
-- @function under
-- @treturn number
function methods.under(h)
  return h._c.under
end

--- What was above the last bucket, its upper edge included.
-- @function over
-- @treturn number
function methods.over(h)
  return h._c.over
end

--- The sum of all counts, under and over too.
-- @function count
-- @treturn number
function methods.count(h)
  local c = h._c
  local sum = c.under + c.over
  for i = 0, c.buckets - 1 do
    sum = sum + c.counts[i]
  end
  return sum
end

--- Add the counts of another one with the same buckets.
-- @function merge
-- @tparam histogram other
-- @treturn histogram this one
-- @raise if other is something else, or its buckets differ
function methods.merge(h, other)
  sketch.check_merge("histogram", class, h, other, { "buckets" })
  if C.mt_histogram_merge(h._c, other._c) ~= 0 then
    raise "merge: the edges of the buckets differ"
  end
  return h
end

--- Its state as a string.
-- @function save
-- @treturn string for moontap.load, in this run or another
function methods.save(h)
  return sketch.save("histogram", h._c, C.mt_histogram_save)
end

--- Begin anew.
-- @function clear
function methods.clear(h)
  C.mt_histogram_clear(h._c)
end

--- Bytes of memory that it takes.
-- @function memory
-- @treturn integer
function methods.memory(h)
  return h._c.memory
end

-- --- as text --------------------------------------------------------------------------------

local EIGHTHS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }
local MOST_EMPTY = 3 -- rows in between; more are one row
local WIDTH, LEAST_BAR = 80, 10

local function bar(count, most, room)
  local eighths = math.floor(count / most * room * 8 + 0.5)
  if count > 0 and eighths == 0 then
    eighths = 1
  end
  return ("█"):rep(math.floor(eighths / 8)) .. (EIGHTHS[eighths % 8] or "")
end

local function edge(x)
  return ("%.10g"):format(x)
end

-- The rows to show: {from, to, count}, or false for empty ones that are left out.
local function shown(h)
  local rows, waiting = {}, {}
  local function add(row)
    if #waiting > MOST_EMPTY then
      rows[#rows + 1] = false
    else
      for _, empty in ipairs(waiting) do
        rows[#rows + 1] = empty
      end
    end
    waiting = {}
    rows[#rows + 1] = row
  end
  local c = h._c
  if c.under > 0 then
    add { "", edge(c.edges[0]), c.under }
  end
  for _, bucket in ipairs(h:rows()) do
    local row = { edge(bucket.from), edge(bucket.to), bucket.count }
    if bucket.count > 0 then
      add(row)
    elseif #rows > 0 then
      waiting[#waiting + 1] = row
    end
  end
  if c.over > 0 then
    add { edge(c.edges[c.buckets]), "", c.over }
  end
  return rows
end

--- The buckets as lines with a bar each; empty ones at the ends are left out, and more than three in between are one
-- line. `tostring` gives the same with a width of 80.
-- @function chart
-- @tparam[opt=80] integer width of the longest line, in characters
-- @treturn string UTF-8, without a newline at the end
function methods.chart(h, width)
  width = sketch.whole("histogram:chart", width, WIDTH, 1, 10000)
  local rows, cells, most, total = shown(h), {}, 0, h:count()
  for i, row in ipairs(rows) do
    cells[i] = row and { row[1], row[2], format.count(row[3]), format.share(row[3], total) } or { "…", "…", "", "" }
    most = math.max(most, row and row[3] or 0)
  end
  local lines = {}
  for line in format.table({ ">from", ">below", ">count", ">share" }, cells):gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
  local room = math.max(LEAST_BAR, width - #lines[1] - 2)
  for i, row in ipairs(rows) do
    if row and row[3] > 0 then
      lines[i + 1] = lines[i + 1] .. "  " .. bar(row[3], most, room)
    end
  end
  return table.concat(lines, "\n")
end

class = sketch.class("histogram", "struct mt_histogram", methods, {
  __tostring = function(h)
    return h:chart()
  end,
})

-- --- buckets ----------------------------------------------------------------------------------

local function too_many()
  raise("%s: these are more than %d buckets", WHAT, MOST_BUCKETS)
end

local function equal_edges(from, to, step)
  local n = math.ceil((to - from) / step - 1e-9)
  if n > MOST_BUCKETS then
    too_many()
  end
  local edges = {}
  for i = 1, n do
    edges[i] = from + (i - 1) * step
  end
  edges[n + 1] = to
  return edges
end

local function log_edges(from, to, base)
  local edges, i = {}, 0
  while from * base ^ i < to * (1 - 1e-12) do
    if i >= MOST_BUCKETS then
      too_many()
    end
    edges[i + 1] = from * base ^ i
    i = i + 1
  end
  edges[i + 1] = to
  return edges
end

local function given_edges(edges)
  if type(edges) ~= "table" or #edges < 2 then
    raise("%s: edges: expected a list of two numbers or more, found %s", WHAT,
      type(edges) == "table" and #edges or found(edges))
  elseif #edges > MOST_BUCKETS + 1 then
    too_many()
  end
  for i, x in ipairs(edges) do
    sketch.number(("%s: edge %d"):format(WHAT, i), x, nil, -1e300, 1e300)
    if i > 1 and x <= edges[i - 1] then
      raise("%s: edges rise, but edge %d is %.15g after %.15g", WHAT, i, x, edges[i - 1])
    end
  end
  return edges
end

local function edges_of(options)
  if options.edges ~= nil then
    for _, name in ipairs { "from", "to", "step", "log" } do
      if options[name] ~= nil then
        raise("%s: 'edges' says it all: '%s' has no place beside it", WHAT, name)
      end
    end
    return given_edges(options.edges)
  elseif (options.step == nil) == (options.log == nil) then
    raise("%s: expected { from = …, to = …, step = … }, { from = …, to = …, log = 2 } or { edges = { … } }", WHAT)
  end
  local from = sketch.number(WHAT .. ": from", options.from, nil, -1e300, 1e300)
  local to = sketch.number(WHAT .. ": to", options.to, nil, -1e300, 1e300)
  if to <= from then
    raise("%s: 'to' must be more than 'from': found %.15g and %.15g", WHAT, to, from)
  elseif options.step ~= nil then
    local step = sketch.number(WHAT .. ": step", options.step, nil, 1e-300, 1e300)
    return equal_edges(from, to, step)
  elseif from <= 0 then
    raise("%s: with 'log', 'from' must be more than 0, found %.15g", WHAT, from)
  end
  return log_edges(from, to, sketch.number(WHAT .. ": log", options.log, nil, 1.0001, 1e300))
end

local OPTIONS = { from = true, to = true, step = true, log = true, edges = true }

--- Make one.
-- @function moontap.histogram
-- @tparam table options
--
-- - from: the first edge
-- - to: the last edge
-- - step: the width of all buckets
-- - log: instead of step, each edge is so many times the one before: 2, 10, 10 ^ (1 / 3), …
-- - edges: instead of all these, the edges themselves in rising order
-- @treturn histogram
-- @raise if the options make no sense
function M.new(options)
  sketch.check_options(WHAT, options, OPTIONS)
  local edges = edges_of(options)
  local c = C.mt_histogram_new(ffi.new("double[?]", #edges, edges), #edges)
  if c == nil and #edges > 1 then
    raise("%s: the steps are too small for numbers of this size, or there is no memory for %d buckets", WHAT,
      #edges - 1)
  end
  return sketch.own(WHAT, class, c, C.mt_histogram_free)
end

--- One from the body of a saved string, for moontap.load.
-- @tparam string body
-- @tparam integer version
-- @treturn ?histogram
-- @treturn ?string why not
function M.restore(body, version)
  local c, why = sketch.restore("histogram", body, version, C.mt_histogram_restore)
  if not c then
    return nil, why
  end
  return sketch.own("moontap.load", class, c, C.mt_histogram_free)
end

return M
