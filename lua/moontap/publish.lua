-- SPDX-License-Identifier: BSD-2-Clause
--- Values for those who look at a running capture.
--
-- With `moontap --control SOCKET`, somebody may attach to the capture and ask what its scripts know:
--
--    return { interval = 1, on_interval = function() moontap.publish("flows", { open = flows:len() }) end }
--
-- shows `flows` at `published()` of `moontap --attach SOCKET`. A value is copied when it is published, so what it costs
-- is paid then: hand over what people read, not tables of a million entries.
-- @module moontap.publish

local misuse = require "moontap.misuse"
local sketch = require "moontap.sketch"

local M = {}

local put -- of C; nil: nobody can attach

--- Learn where values go.
-- @tparam ?function to
-- @local
function M.attach(to)
  put = to
end

--- Show a value to those who attach, in place of the last of that name. Where nobody can attach nothing happens.
-- @function moontap.publish
-- @tparam string name up to 1,000 of them
-- @param value what JSON can hold: table, string, number, boolean; nil: it has none any more
-- @raise if the name is no text, or there are too many
function M.publish(name, value)
  if type(name) ~= "string" or name == "" then
    misuse.raise("moontap.publish: expected a name, found %s", name == "" and "an empty text" or sketch.found(name))
  end
  if put and not put(name, value) then
    misuse.raise "moontap.publish: there are 1,000 names already, the most that there can be"
  end
end

return M
