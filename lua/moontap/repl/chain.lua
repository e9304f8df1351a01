-- SPDX-License-Identifier: BSD-2-Clause
--- A chain of scripts that changes: at a prompt scripts come and go, and run over the packets that it says.
-- @module moontap.repl.chain

local C = require "moontap.abi"
local ageing = require "moontap.ageing"
local loader = require "moontap.loader"

local M = {}

local run -- of moontap.runtime: see M.attach

--- Tie it to the chain of a run.
-- @tparam table inside
--
-- - state: `struct mt_hook_state *`
-- - scripts: the chain, by place
-- - outputs: places of outputs, by name
-- - add, compile_tests, start_one, rebuild, run_range, set_profile: functions of moontap.runtime
-- @tparam table runtime moontap.runtime
function M.attach(inside, runtime)
  run = inside
  M.results, M.last_interval, M.stop = runtime.results, runtime.last_interval, runtime.stop
end

--- What declares outputs at a prompt, which writes nothing: an output has a place all the same, so that packets to it
-- are counted by its name.
-- @tparam table outputs places, by name
-- @treturn function as moontap.output takes it
function M.declare_place(outputs)
  return function(name, _, _, _, files)
    if files then
      return nil, "a prompt writes no files of keys"
    end
    local last = 0
    for _, place in pairs(outputs) do
      last = math.max(last, place)
    end
    return outputs[name] or last + 1
  end
end

--- Take hooks from a script for which there is no segment to rotate and no block to see.
-- @tparam table script gets `without`, a text about them
function M.without_output(script)
  local without = {}
  for _, name in ipairs { "rotate", "on_segment_open", "on_segment_close", "on_block" } do
    if script.hooks[name] then
      script.hooks[name] = nil
      without[#without + 1] = name
    end
  end
  script.without = #without > 0 and ("; not called here, as nothing is written: " .. table.concat(without, ", ")) or ""
end

--- Put a script into the chain, in the place of another or behind the last, and start it.
-- @tparam function make gives the script, as loader.load does; may raise
-- @tparam ?integer place
-- @tparam table sources for run.sources
-- @treturn ?table the script
-- @treturn ?string what is wrong
function M.insert(make, place, sources)
  place = place or #run.scripts + 1
  local old = run.scripts[place]
  run.state.script = place -- for objects that it makes
  ageing.forget(place)
  local output = require "moontap.output"
  output.attach(M.declare_place(run.outputs), run.outputs)
  local ok, script = pcall(make)
  output.attach(nil, nil)
  if not ok then
    return nil, loader.message_of(script)
  elseif script.help then
    return script
  end
  M.without_output(script)
  local good, why = run.compile_tests(script)
  if not good then
    return nil, why
  end
  run.add(script, place)
  if not run.start_one(place, sources) then
    run.scripts[place] = old
    run.rebuild()
    return nil, ("script %s: on_start failed"):format(script.label)
  end
  run.rebuild()
  return script
end

--- Take a script out of the chain. Its place stays, empty.
-- @tparam integer place
function M.remove(place)
  ageing.forget(place)
  run.scripts[place] = { name = "", label = "", hooks = {}, args = {}, errors = 0, rule = "keep", gone = true }
  run.rebuild()
end

--- The chain.
-- @treturn {table,...} scripts; one that was removed has `gone`
function M.scripts()
  return run.scripts
end

--- Run the chain over packets from `from` to `to` - 1 of the state, which are in its batch in hand.
-- @treturn boolean false: a script failed, it was reported; the state's index is the packet
function M.run_range()
  return run.run_range()
end

--- Call a function while hooks are compiled and measured.
-- @param clock `struct mt_stage_clock *` of the thread, which is in scripts all the time; a light userdata
-- @tparam function f
-- @treturn table what was measured: see moontap.profile
-- @raise what f raises
function M.profiled(clock, f)
  for _, name in ipairs { "moontap.profile", "moontap.profile_aborts" } do
    package.loaded[name] = nil
  end
  local profile = require "moontap.profile"
  profile.start(clock)
  run.set_profile(profile)
  local plain = {}
  for place, script in ipairs(run.scripts) do
    plain[place] = {}
    for name, hook in pairs(script.hooks) do
      plain[place][name] = hook
    end
    profile.add(script, place)
  end
  jit.on()
  run.rebuild()
  local begun = C.mt_hook_now()
  local ok, why = pcall(f)
  local found = profile.report((C.mt_hook_now() - begun) / 1e9)
  jit.off()
  jit.flush()
  profile.stop()
  run.set_profile(nil)
  for place, hooks in ipairs(plain) do
    for name, hook in pairs(hooks) do
      run.scripts[place].hooks[name] = hook
    end
  end
  run.rebuild()
  if not ok then
    error(why, 0)
  end
  return found
end

return M
