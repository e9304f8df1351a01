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
-- its own (a series); there can be 10,000 in all. A value that is no UTF-8 text, as bytes of a packet may be, is
-- shown as hex digits. Names are those of Prometheus: letters, digits and `_`; those that begin with `moontap_` are
-- ours. The same name again is the same metric.
-- @module moontap.metric

local ffi = require "ffi"
local C = require "moontap.abi"
local misuse = require "moontap.misuse"
local sketch = require "moontap.sketch"
local suggest = require "moontap.suggest"

local M = {}

local raise = misuse.raise
local MOST_LABELS = 3

-- Well-formed UTF-8 (RFC 3629) beyond ASCII.
local SEQUENCES = { "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]", "[\225-\236\238\239][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]", "\240[\144-\191][\128-\191][\128-\191]", "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]" }

-- Neither Prometheus nor JSON take other text, and for C it ends at a zero.
local function is_text(s)
  if s:find "[\128-\255]" then
    for _, sequence in ipairs(SEQUENCES) do
      s = s:gsub(sequence, ".")
    end
  end
  return not s:find "[%z\128-\255]"
end

local function to_hex(s)
  return (s:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- What stands for a label's value in a table and in the text.
local function text_of(m, value, i)
  local kind = type(value)
  if kind == "table" or kind == "function" or value == nil or kind == "number" and value ~= value then
    raise("%s: expected a value of label '%s', found %s", m._name, m._labels[i], sketch.found(value))
  end
  local text = tostring(value)
  if ffi.istype("int64_t", value) or ffi.istype("uint64_t", value) then
    return (text:gsub("U?LL$", ""))
  end
  return is_text(text) and text or to_hex(text)
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
local function find_series(m, ...)
  local values, level, n = { ... }, m._series, m._n
  for i = n + 1, select("#", ...) do
    if type(values[i]) ~= "nil" then
      raise("%s: more values than labels: found %s beyond the %d", m._name, sketch.found(values[i]), n)
    end
  end
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

local function series(m, a, b, c, d)
  local n = m._n
  local s
  if n == 0 then
    return type(a) == "nil" and m._one or find_series(m, a)
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
  return s or find_series(m, a, b, c, d)
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
function gauge_methods.set(m, value, a, b, c, d)
  if type(value) ~= "number" then
    no_number(m, value)
  end
  series(m, a, b, c, d).value = value
end

--- Add to a gauge, or take off.
-- @function add
-- @tparam[opt] number n 1 if it is not given
-- @param[opt] ... the value of each label
-- @raise if n is no number, or a label has no value
function gauge_methods.add(m, n, a, b, c, d)
  if n == nil then
    n = 1
  elseif type(n) ~= "number" then
    no_number(m, n)
  end
  local s = series(m, a, b, c, d)
  s.value = s.value + n
end

--- What it is now.
-- @function get
-- @param[opt] ... the value of each label
-- @treturn number
function gauge_methods.get(m, a, b, c, d)
  return tonumber(series(m, a, b, c, d).value)
end

--- Add to a counter.
-- @function add
-- @tparam[opt] number n not negative; 1 if it is not given
-- @param[opt] ... the value of each label: a string, number, boolean or address
-- @raise if n is negative or no number, or a label has no value
function counter_methods.add(m, n, a, b, c, d)
  if n == nil then
    n = 1
  elseif type(n) ~= "number" or n < 0 or n ~= n then
    no_number(m, n)
  end
  local s = series(m, a, b, c, d)
  s.value = s.value + n
end

--- What it is now.
-- @function get
-- @param[opt] ... the value of each label
-- @treturn number
function counter_methods.get(m, a, b, c, d)
  return tonumber(series(m, a, b, c, d).value)
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
  if not is_text(help) then
    raise("%s: the sentence on '%s' is no UTF-8 text", what, name)
  end
  labels = labels or {}
  if type(labels) ~= "table" or #labels > MOST_LABELS or #labels == 0 and next(labels) ~= nil then
    raise("%s: expected a list of at most %d names of labels, found %s", what, MOST_LABELS,
      type(labels) ~= "table" and sketch.found(labels) or #labels > 0 and #labels .. " of them" or "a table with keys")
  end
  labels = { unpack(labels) }
  for i, label in ipairs(labels) do
    check_label(what, label)
    for k = 1, i - 1 do
      if labels[k] == label then
        raise("%s: label '%s' is there twice", what, label)
      end
    end
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
