-- SPDX-License-Identifier: BSD-2-Clause
--- Gauges and counters of scripts.
--
-- They are shown by `--metrics` while the run goes on, and by `--json` at its end.
--
--    local open = moontap.gauge("open_flows", "Flows that are open")
--    local vlans = moontap.counter("vlan_packets_total", "Packets of each VLAN", { "vlan" })
--
--    return { on_packet = function(p) vlans:add(1, p.vlan) end }
--
-- A gauge goes up and down, a counter only up. With names of labels, each combination of their values is a number of
-- its own (a series); there can be 10,000 in all. Names are those of Prometheus: letters, digits and `_`; those that
-- begin with `moontap_` are ours. The same name again is the same metric.
-- @module moontap.metric

local ffi = require "ffi"
local C = require "moontap.abi"
local misuse = require "moontap.misuse"
local sketch = require "moontap.sketch"
local suggest = require "moontap.suggest"

local M = {}

local raise = misuse.raise
local MOST_LABELS = 3

-- What stands for a label's value in a table and in the text.
local function text_of(m, value, i)
  if type(value) == "table" or type(value) == "function" or value == nil then
    raise("%s: expected a value of label '%s', found %s", m._name, m._labels[i], sketch.found(value))
  end
  return tostring(value)
end

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

local function open_series(m, values)
  local parts = {}
  for i, label in ipairs(m._labels) do
    parts[i] = ('%s="%s"'):format(label, (values[i]:gsub('[\\\n"]', ESCAPES)))
  end
  local c = C.mt_metric_new(m._kind, m._name, m._help, table.concat(parts, ","))
  if c ~= nil then
    return c
  elseif C.mt_metric_count() >= C.MT_METRICS_MOST then
    raise("%s: there are %d series already, the most that there can be", m._name, tonumber(C.MT_METRICS_MOST))
  end
  raise("%s: it is a %s already", m._name, m._kind == C.MT_METRIC_COUNTER and "gauge" or "counter")
end

-- Tables of series below each other, one for each label. Strings and numbers are keys as they are.
local function find_series(m, a, b, c)
  local values, level, n = { a, b, c }, m._series, #m._labels
  local texts = {}
  for i = 1, n do
    texts[i] = text_of(m, values[i], i)
  end
  for i = 1, n do
    local key = type(values[i]) == "number" and values[i] or texts[i]
    if not level[key] then
      level[key] = i < n and {} or open_series(m, texts)
    end
    level = level[key]
  end
  return level
end

local function series(m, a, b, c)
  local n = m._n
  local s
  if n == 0 then
    return m._one
  elseif n == 1 then
    s = m._series[a]
  elseif n == 2 then
    s = m._series[a]
    s = s and s[b]
  else
    s = m._series[a]
    s = s and s[b]
    s = s and s[c]
  end
  return s or find_series(m, a, b, c)
end

local function no_number(m, value)
  raise("%s: expected %s, found %s", m._name,
    m._kind == C.MT_METRIC_COUNTER and "a number that is not negative" or "a number", sketch.found(value))
end

local gauge_methods, counter_methods = {}, {}

--- Set a gauge.
-- @function set
-- @tparam number value
-- @param[opt] ... the value of each label: a string, number, boolean or address
-- @raise if value is no number, or a label has none
function gauge_methods.set(m, value, a, b, c)
  if type(value) ~= "number" then
    no_number(m, value)
  end
  series(m, a, b, c).value = value
end

--- Add to a gauge, or take off.
-- @function add
-- @tparam[opt] number n 1 if it is not given
-- @param[opt] ... the value of each label
-- @raise if n is no number, or a label has no value
function gauge_methods.add(m, n, a, b, c)
  if n == nil then
    n = 1
  elseif type(n) ~= "number" then
    no_number(m, n)
  end
  local s = series(m, a, b, c)
  s.value = s.value + n
end

--- What it is now.
-- @function get
-- @param[opt] ... the value of each label
-- @treturn number
function gauge_methods.get(m, a, b, c)
  return tonumber(series(m, a, b, c).value)
end

--- Add to a counter.
-- @function add
-- @tparam[opt] number n not negative; 1 if it is not given
-- @param[opt] ... the value of each label: a string, number, boolean or address
-- @raise if n is negative or no number, or a label has no value
function counter_methods.add(m, n, a, b, c)
  if n == nil then
    n = 1
  elseif type(n) ~= "number" or n < 0 or n ~= n then
    no_number(m, n)
  end
  local s = series(m, a, b, c)
  s.value = s.value + n
end

--- What it is now.
-- @function get
-- @param[opt] ... the value of each label
-- @treturn number
function counter_methods.get(m, a, b, c)
  return tonumber(series(m, a, b, c).value)
end

local function class_of(what, methods)
  return { __index = setmetatable(methods, { __index = function(_, name)
    raise("a %s has no method '%s'%s", what, tostring(name), suggest.suffix(tostring(name), methods))
  end }) }
end
local gauge_class, counter_class = class_of("gauge", gauge_methods), class_of("counter", counter_methods)

local function check_label(what, label)
  if type(label) ~= "string" or not label:find "^[%a_][%w_]*$" or label:find "^__" then
    raise("%s: expected the name of a label (letters, digits and _), found %s", what,
      type(label) == "string" and "'" .. label .. "'" or sketch.found(label))
  end
end

local function new(what, kind, meta, name, help, labels)
  what = "moontap." .. what
  if type(name) ~= "string" or not name:find "^[%a_:][%w_:]*$" then
    raise("%s: expected a name of letters, digits and _, found %s", what,
      type(name) == "string" and "'" .. name .. "'" or sketch.found(name))
  elseif name:find "^moontap_" then
    raise("%s: '%s': names that begin with moontap_ are taken", what, name)
  elseif type(help) ~= "string" then
    raise("%s: expected a sentence on what '%s' counts, found %s", what, name, sketch.found(help))
  end
  labels = labels or {}
  if type(labels) ~= "table" or #labels > MOST_LABELS then
    raise("%s: expected a list of at most %d names of labels, found %s", what, MOST_LABELS,
      type(labels) == "table" and #labels .. " of them" or sketch.found(labels))
  end
  for _, label in ipairs(labels) do
    check_label(what, label)
  end
  local m = { _name = name, _help = help, _kind = tonumber(ffi.cast("uint32_t", kind)), _labels = labels, _n = #labels,
    _series = {} }
  if #labels == 0 then
    m._one = open_series(m, {})
  end
  return setmetatable(m, meta)
end

--- A number that goes up and down.
-- @function moontap.gauge
-- @tparam string name
-- @tparam string help a sentence on what it is
-- @tparam[opt] {string,...} labels up to three names
-- @treturn gauge
-- @raise if the name can not be one, or is a counter's
function M.gauge(name, help, labels)
  return new("gauge", C.MT_METRIC_GAUGE, gauge_class, name, help, labels)
end

--- A number that only goes up; its name ends in `_total` by custom.
-- @function moontap.counter
-- @tparam string name
-- @tparam string help a sentence on what it counts
-- @tparam[opt] {string,...} labels up to three names
-- @treturn counter
-- @raise if the name can not be one, or is a gauge's
function M.counter(name, help, labels)
  return new("counter", C.MT_METRIC_COUNTER, counter_class, name, help, labels)
end

return M
