-- SPDX-License-Identifier: BSD-2-Clause
--- Objects of scripts in which something ends as the stream's clock goes on: who they belong to, and when they are
-- looked after.
--
-- The runtime sweeps them before each on_interval of their script, at each full second, and once more at
-- the end of the stream; it finishes them before on_stop.  In between an object sees by itself that time has passed
-- whenever it is used.  Both functions may raise what a script's function has raised; called again they
-- go on behind it.
-- @module moontap.ageing

local M = {}

local watched = {} -- by place of the script in the chain

--- Look after an object until the run ends.
-- @tparam integer place of its script in the chain
-- @tparam function sweep reports what has ended by the time of the hook that runs
-- @tparam function finish reports the rest; the stream has ended
function M.watch(place, sweep, finish)
  watched[place] = watched[place] or {}
  table.insert(watched[place], { sweep = sweep, finish = finish })
end

--- Look after the objects of a script no longer.
-- @tparam integer place
function M.forget(place)
  watched[place] = nil
end

--- Has a script such objects?
-- @tparam integer place
-- @treturn boolean
function M.has(place)
  return watched[place] ~= nil
end

--- Report what has ended by now in the objects of a script.
-- @tparam integer place
function M.sweep(place)
  for _, object in ipairs(watched[place]) do
    object.sweep()
  end
end

--- Report the rest, at the end.
-- @tparam integer place
function M.finish(place)
  for _, object in ipairs(watched[place]) do
    object.sweep()
    object.finish()
  end
end

return M
