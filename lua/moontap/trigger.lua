-- SPDX-License-Identifier: BSD-2-Clause
--- The flight recorder.
--
-- `moontap.trigger` has it write what it holds:
--
--    return { on_packet = function(p)
--      if p.is_tcp and p.rst then moontap.trigger("reset", { post = 10 }) end
--    end }
--
-- With `moontap --pre 30s -B DIR`, packets stay in memory, and only the last 30 seconds of them. A trigger writes
-- those of the time before it, and what comes in the `post` seconds after it, to one segment that is named by the
-- reason. A trigger before that time is over makes the same segment longer; its manifest line has all reasons.
-- @module moontap.trigger

local C = require "moontap.abi"
local misuse = require "moontap.misuse"
local sketch = require "moontap.sketch"

local M = {}

local state = sketch.state
local KNOWN = { post = true }
local MOST_POST = 86400

--- Record the packets around now, which is the time of the packet in hand.
-- @function moontap.trigger
-- @tparam string reason becomes part of the segment's name
-- @tparam[opt] table options `post`: seconds after now that are recorded too (0)
-- @raise if there is no flight recorder, or an option makes no sense
function M.pull(reason, options)
  if type(reason) ~= "string" then
    misuse.raise("moontap.trigger: expected a reason, found %s", sketch.found(reason))
  end
  local post = 0
  if options ~= nil then
    sketch.check_options("moontap.trigger", options, KNOWN)
    post = options.post or 0
    if type(post) ~= "number" or not (post >= 0 and post <= MOST_POST) then
      misuse.raise("moontap.trigger: post: expected seconds from 0 to %d, found %s", MOST_POST, sketch.found(post))
    end
  end
  local result = C.mt_trigger(state, reason, post)
  if result == -1 then
    misuse.raise "moontap.trigger: there is no flight recorder: --pre TIME starts one"
  elseif result == -2 then
    misuse.raise "moontap.trigger can only be called while moontap runs"
  end
end

return M
