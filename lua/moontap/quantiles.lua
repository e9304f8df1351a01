-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.quantiles`: median, p99 and every other quantile of numbers, with a relative error.
--
--    local sizes = moontap.quantiles()
--
--    return {
--      on_packet = function(p) sizes:add(p.wirelen) end,
--      on_stop = function() print(sizes(0.5), sizes(0.99)) end,
--    }
--
-- **Error.** A quantile q is the number at place `floor(q · (n - 1))`, counted from 0, of all n in rising order, not
-- one between two others. What is given is no further from it than the part `error` (0.01) of its size: where the true
-- p99 is 100 ms, it is between 99 and 101 ms. This holds always, for every q, also after merges. The smallest, the
-- largest, count and sum are exact (count and sum for whole numbers up to 2^53).
--
-- **Which numbers.** Any but NaN, also below 0; those nearer to 0 than 2.2e-308 count as 0; infinite ones are
-- the largest and smallest of all, and an answer where they are at the place.
--
-- **Memory** grows with the logarithm of the range: 8 bytes a bin, and at error 0.01 a million-fold range takes 690
-- bins, 5.5 KB, with room beside them at most 17 KB. All numbers there are take 1.2 MB, which is the limit; memory and
-- limit are inversely proportional to the error.
--
-- The method is DDSketch (Masson, Rim, Lee 2019), without collapsing of bins. A merge gives exactly what one
-- sketch would have given.
-- @module moontap.quantiles

local ffi = require "ffi"
local C = require "moontap.abi"
local sketch = require "moontap.sketch"

local M = {}

assert(C.mt_quantiles_add) -- a trace must find it looked up

local istype = ffi.istype
local raise, found, weight_of = sketch.raise, sketch.found, sketch.weight
local LEAST_ERROR, MOST_ERROR = 1e-4, 0.5
local class -- below

local methods = {}

local function no_number(x)
  raise("quantiles:add: expected a number, found %s", type(x) == "number" and "NaN" or found(x))
end

--- Add a number.
-- @function add
-- @tparam number x any but NaN
-- @tparam[opt=1] number weight how many times, 0 to 2^53
-- @raise if x is no number, or there is no memory for its bin
function methods.add(q, x, weight)
  if not istype(class, q) then sketch.not_self("quantiles", "add", q) end
  if type(x) ~= "number" or x ~= x then
    no_number(x)
  end
  if C.mt_quantiles_add(q._c, x, weight_of("quantiles:add", weight)) ~= 0 then
    raise "quantiles:add: there is no memory for another bin"
  end
end

--- A quantile; `q(0.99)` is the same.
-- @function get
-- @tparam number part 0 (the smallest) to 1 (the largest); 0.5 is the median
-- @treturn ?number nil before the first number
-- @raise if part is not from 0 to 1
function methods.get(q, part)
  sketch.number("quantiles:get", part, nil, 0, 1)
  if q._c.count == 0 then
    return nil
  end
  return C.mt_quantiles_get(q._c, part)
end

--- The sum of weights: how many numbers there were.
-- @function count
-- @treturn number
function methods.count(q)
  return q._c.count
end

--- The sum of the numbers, each as often as its weight says.
-- @function sum
-- @treturn number
function methods.sum(q)
  return q._c.sum
end

--- Their mean.
-- @function mean
-- @treturn ?number nil before the first number
function methods.mean(q)
  local c = q._c
  if c.count == 0 then
    return nil
  end
  return c.sum / c.count
end

--- The smallest number.
-- @function min
-- @treturn ?number nil before the first number
function methods.min(q)
  local c = q._c
  if c.count == 0 then
    return nil
  end
  return c.min
end

--- The largest number.
-- @function max
-- @treturn ?number nil before the first number
function methods.max(q)
  local c = q._c
  if c.count == 0 then
    return nil
  end
  return c.max
end

--- Add the numbers of another one with the same `error`. Gives exactly what one would have given.
-- @function merge
-- @tparam quantiles other
-- @treturn quantiles this one
-- @raise if other is something else, or its error differs
function methods.merge(q, other)
  sketch.check_merge("quantiles", class, q, other, { "error" })
  if C.mt_quantiles_merge(q._c, other._c) ~= 0 then
    raise "quantiles:merge: there is no memory for more bins"
  end
  return q
end

--- Its state as a string.
-- @function save
-- @treturn string for moontap.load, in this run or another
function methods.save(q)
  return sketch.save("quantiles", q._c, C.mt_quantiles_save)
end

--- Begin anew.
-- @function clear
function methods.clear(q)
  C.mt_quantiles_clear(q._c)
end

--- Bytes of memory that it takes.
-- @function memory
-- @treturn integer
function methods.memory(q)
  return q._c.memory
end

local function text(q)
  local c = q._c
  if c.count == 0 then
    return "count 0"
  end
  return ("count %.15g  min %.6g  p50 %.6g  p90 %.6g  p99 %.6g  max %.6g  mean %.6g"):format(c.count, c.min, q(0.5),
    q(0.9), q(0.99), c.max, q:mean())
end

class = sketch.class("quantiles", "struct mt_quantiles", methods, {
  __call = methods.get,
  __tostring = text,
})

local OPTIONS = { error = true }

--- Make one.
-- @function moontap.quantiles
-- @tparam[opt] table options
--
-- - error: the largest relative error, 0.0001 to 0.5 (0.01)
-- @treturn quantiles
-- @raise if an option makes no sense
function M.new(options)
  options = options or {}
  sketch.check_options("moontap.quantiles", options, OPTIONS)
  local c = C.mt_quantiles_new(sketch.number("moontap.quantiles: error", options.error, 0.01, LEAST_ERROR, MOST_ERROR))
  return sketch.own("moontap.quantiles", class, c, C.mt_quantiles_free)
end

--- One from the body of a saved string, for moontap.load.
-- @tparam string body
-- @tparam integer version
-- @treturn ?quantiles
-- @treturn ?string why not
function M.restore(body, version)
  local c, why = sketch.restore("quantiles", body, version, C.mt_quantiles_restore)
  if not c then
    return nil, why
  end
  return sketch.own("moontap.load", class, c, C.mt_quantiles_free)
end

return M
