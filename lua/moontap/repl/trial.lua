-- SPDX-License-Identifier: BSD-2-Clause
--- Trying scripts: load them, run them over some packets, look at what they know.
--
-- Scripts run here as in a capture, but interpreted, so that Ctrl-C stops them; `profile` runs them compiled. They see
-- the packets behind the current one, as far as `run` goes. Nothing is written: packets that a script sends to outputs
-- are counted.
-- @module moontap.repl.trial

local ffi = require "ffi"
local C = require "moontap.abi"
local eval = require "moontap.repl.eval"
local format = require "moontap.format"
local loader = require "moontap.loader"
local show = require "moontap.repl.show"
local walk = require "moontap.repl.walk"

local M = {}
local commands = {}

local chain, stream, watch, report
local breaks = {} -- conditions at which a run ends: { text =, filter =, test = }
local outputs     -- names by verdict
local clock       -- of this thread, for profiles

--- Tie the commands to a stream and the chain of scripts.
-- @tparam table context stream, watch, chain, report, outputs
-- @local
function M.attach(context)
  chain, stream, watch, report = context.chain, context.stream, context.watch, context.report
  outputs, clock = context.outputs, context.clock
end

local function fail(text, ...)
  error(text:format(...), 3)
end

local recipes = require "moontap.recipe_list"

-- --- the chain ------------------------------------------------------------------------------

-- The place of a script by its name, or nil.
local function place_of(name)
  for place, script in ipairs(chain.scripts()) do
    if not script.gone and (script.name == name or script.word == name) then
      return place
    end
  end
  return nil
end

local function insert(make, place, word)
  local script, why = chain.insert(make, place, report().sources)
  if not script then
    error(why, 4)
  end
  script.word = word
  return script
end

local function say(script, verb)
  return show.text(("%s %s%s"):format(script.label, verb, script.without))
end

local lua_load = load

--- Load a script into the chain: a recipe or a file, with its arguments as with -l. One of the same name takes the
-- place of the one before. With a function it is Lua's own `load`.
-- @tparam string word `"top,by=src"`, `"./mine.lua"`, or `"top,help"`
function commands.load(word, ...)
  if type(word) == "function" then
    return lua_load(word, ...)
  elseif type(word) ~= "string" then
    fail("load: expected the name of a recipe or file, found %s", tostring(word))
  end
  local name = word:match("^[^,]*"):gsub("^.*/", ""):gsub("%.lua$", "")
  local script = insert(function() return loader.load(word, recipes) end, place_of(name), word)
  if script.help then
    return show.text(script.help)
  end
  return say(script, "is loaded: run() runs it")
end

--- Put a hook into the chain, in the place of the one of that name.
-- @tparam function|string f on_packet, or an expression as with -e
-- @tparam string name
-- @tparam ?string rule on_error of it
-- @treturn table the script
-- @local
function M.insert_hook(f, name, rule)
  return insert(function()
    local made = type(f) == "string" and loader.expression(f) or { args = {}, hooks = { on_packet = f } }
    made.name, made.label, made.rule = name, name, rule
    return made
  end, place_of(name))
end

--- Have a function see each packet that `run` comes to, as on_packet of a script. Its result is the verdict. A new one
-- takes the place of the one before.
-- @tparam function|string f function of a packet; a string is an expression as with -e
-- @tparam[opt="hook"] string name to have several at a time
function commands.hook(f, name)
  name = name or "hook"
  if f == nil then
    return commands.unload(name)
  elseif type(f) ~= "function" and type(f) ~= "string" then
    fail("hook: expected a function of a packet, found a %s", type(f))
  end
  return say(M.insert_hook(f, name), "is in the chain: run() runs it")
end

--- Take a script or hook out of the chain.
-- @tparam string name
function commands.unload(name)
  local place = place_of(name)
  if not place then
    fail("unload: no script '%s' is loaded", tostring(name))
  end
  chain.remove(place)
  return show.text(name .. " is gone")
end

--- Load the scripts of files and recipes anew, after they were edited. What they knew is gone.
-- @tparam[opt] string name only this one
function commands.reload(name)
  local lines = {}
  if name and not place_of(name) then
    fail("reload: no script '%s' is loaded", tostring(name))
  end
  for place, script in ipairs(chain.scripts()) do
    if script.word and not script.gone and (not name or place == place_of(name)) then
      insert(function() return loader.load(script.word, recipes) end, place, script.word)
      lines[#lines + 1] = script.word .. " is loaded anew"
    end
  end
  return show.text(#lines > 0 and table.concat(lines, "\n") or "no script of a file is loaded")
end

--- The chain of scripts.
-- @treturn {string,...} their names
function commands.scripts()
  local lines, names = {}, {}
  for _, script in ipairs(chain.scripts()) do
    if not script.gone then
      local off = script.off and ", switched off" or ""
      names[#names + 1] = script.name
      lines[#lines + 1] = ("%-16s %s%s"):format(script.name, script.word or script.label,
        script.errors > 0 and (", %d errors%s"):format(script.errors, off) or "")
    end
  end
  return show.list(#lines == 0 and "no script is loaded" or table.concat(lines, "\n"), names)
end

-- --- running ------------------------------------------------------------------------------------

local function tally(counts, batch, from, to)
  for i = from, to - 1 do
    local v = batch.packets[i].verdict
    if v ~= C.MT_VERDICT_FILTERED and v ~= C.MT_VERDICT_OUTSIDE and v ~= C.MT_VERDICT_LATE then
      counts.n = counts.n + 1
      counts[v] = (counts[v] or 0) + 1
    end
  end
end

local function verdict_name(v)
  if v == C.MT_VERDICT_DEFAULT then
    return "kept"
  elseif v == C.MT_VERDICT_DROPPED then
    return "dropped"
  elseif v == C.MT_VERDICT_BYPASS_DROP then
    return "dropped for errors"
  end
  for name, place in pairs(outputs) do
    if place == v then
      return "to " .. name
    end
  end
  return "to output " .. v
end

local function tally_text(counts)
  local parts = {}
  for v = 0, 255 do
    if counts[v] then
      parts[#parts + 1] = ("%s %s"):format(format.count(counts[v]), verdict_name(v))
    end
  end
  return table.concat(parts, ", ")
end

-- Run the chain over packets of the batch in hand.  True, or false and where it ended.
local function run_range(counts, from, to)
  local st = stream.state
  C.mt_step_again(stream.batch, from, to)
  stream:remember()
  st.from, st.to = from, to
  st.index = from
  local ok, good = eval.pcall(chain.run_range)
  if not ok then -- it was stopped, in the hook of the packet that it has come to
    stream:place(math.max(st.index, from))
    error(good, 0)
  end
  local stopped = st.action == C.MT_ACTION_STOP
  local stop = good and not stopped and to or stopped and math.max(st.index, from + 1) or st.index + 1
  tally(counts, stream.batch, from, good and stop or stop - 1)
  counts.failed = not good
  counts.stopped = stopped
  stream:place(math.max(stop - 1, from))
  watch:progress()
  return good and not stopped
end

local function breaks_at(q)
  for _, each in ipairs(breaks) do
    local hit
    if each.filter then
      hit = C.mt_filter_match(each.filter, q) > 0
    else
      local st = stream.state
      st.generation = st.generation + 1
      hit = each.test(stream:current())
    end
    if hit then
      return each
    end
  end
  return nil
end

-- Packets of the batch in hand from place i on, at most `left`.  How many were run, and whether to go on.
local function run_batch(counts, i, left)
  local batch, from = stream.batch, i
  local before = counts.n
  if #breaks == 0 then
    local to = from
    local n = 0
    while n < left do
      local place = C.mt_step_next(batch, to, nil)
      if place == batch.n then
        to = batch.n
        break
      end
      to, n = place + 1, n + 1
    end
    local good = run_range(counts, from, to)
    return counts.n - before, good
  end
  while i < batch.n and counts.n - before < left do
    if not run_range(counts, i, i + 1) then
      return counts.n - before, false
    end
    local v = batch.packets[i].verdict
    if v ~= C.MT_VERDICT_FILTERED and v ~= C.MT_VERDICT_OUTSIDE and v ~= C.MT_VERDICT_LATE then
      counts.at = breaks_at(batch.packets + i)
      if counts.at then
        return counts.n - before, false
      end
    end
    i = i + 1
  end
  return counts.n - before, true
end

-- Run over the next `most` packets.
local function run_packets(counts, most)
  local i = stream:enter_behind()
  if not i then
    counts.ended = true
    return
  end
  local left = most
  while left > 0 do
    watch:look()
    if i < stream.batch.n then
      local n, good = run_batch(counts, i, left)
      left = left - n
      if not good then
        return
      end
    end
    if left > 0 and not stream:enter_next() then
      counts.ended = true
      return
    end
    i = left > 0 and 0 or stream.i + 1
  end
end

-- The condition of run(until), as one that ends a run.
local function until_condition(what)
  local ns = ffi.new "int64_t[1]"
  if type(what) == "string" and C.mt_time_of(what, ns) == 0 then
    local stop = ns[0]
    return { text = what, test = function(p) return p.ts_ns >= stop end, quiet = true }
  end
  local filter, test = walk.condition(what, "run")
  return { text = type(what) == "string" and what or "the condition", filter = filter, test = test }
end

local function any_script()
  for _, script in ipairs(chain.scripts()) do
    if not script.gone then
      return true
    end
  end
  return false
end

local function outcome(counts, begun)
  local p = stream:current()
  local seconds = (C.mt_hook_now() - begun) / 1e9
  local lines = {}
  lines[1] = ("%s packets in %.3f s%s"):format(format.count(counts.n), seconds,
    counts.n > 0 and ": " .. tally_text(counts) or "")
  if counts.at then
    lines[#lines + 1] = "ended at " .. counts.at.text
  elseif counts.stopped then
    lines[#lines + 1] = "ended by moontap.stop()"
  elseif counts.ended then
    lines[#lines + 1] = stream:end_text() .. "; finish() has the scripts say what they have found"
  end
  if p then
    lines[#lines + 1] = walk.line(p)
  end
  return table.concat(lines, "\n")
end

local function run(what)
  local most, extra = math.huge, nil
  if type(what) == "number" then
    if what < 1 or what ~= what then
      error("run: expected a number of packets, at least 1, found " .. tostring(what), 3)
    end
    most = math.floor(what)
  elseif what ~= nil then
    extra = until_condition(what)
    breaks[#breaks + 1] = extra
  end
  local counts, begun = { n = 0 }, C.mt_hook_now()
  local ok, why = pcall(run_packets, counts, most)
  if extra then
    breaks[#breaks] = nil
  end
  if not ok then
    error(why, 0)
  end
  return counts, outcome(counts, begun)
end

--- Run the scripts over the packets behind the current one. It ends behind the packet for which a condition is true, at
-- an error of a script, at moontap.stop, or with the stream; the packet that it has ended at is the current one.
-- @tparam[opt] integer|string|function what so many packets; or up to the one for which a BPF expression or function is
-- true, or that has a time such as `"2026-11-22T10:00:05Z"`. Default: to the end
-- @treturn ?packet the current one
function commands.run(what)
  if not any_script() and #breaks == 0 and what == nil then
    fail('run: no script is loaded: load "top", or hook(function(p) … end)')
  end
  local counts, text = run(what)
  if counts.failed then
    error("a script failed\n" .. text, 0)
  end
  return show.text(text, stream:current())
end

--- End every run behind a packet for which something is true. Without an argument, forget all of these.
-- @tparam[opt] string|function what BPF expression, or function of a packet
function commands.break_on(what)
  if what == nil then
    breaks = {}
    return show.text "run() does not end before it has to"
  end
  local filter, test = walk.condition(what, "break_on")
  breaks[#breaks + 1] = { text = type(what) == "string" and what or "condition " .. #breaks + 1, filter = filter,
    test = test }
  return show.text(("run() ends at %s"):format(breaks[#breaks].text))
end

-- --- what scripts know --------------------------------------------------------------------------

local function state_of(script)
  local state, seen = {}, {}
  local function look(f)
    if seen[f] then
      return
    end
    seen[f] = true
    for i = 1, 250 do
      local name, value = debug.getupvalue(f, i)
      if not name then
        return
      end
      if type(value) == "function" then
        local source = debug.getinfo(value, "S").source
        if source == debug.getinfo(f, "S").source then
          look(value)
        end
      elseif value ~= nil and not (type(value) == "table" and (value == _G or M.is_module(value))) then
        state[name] = value
      end
    end
  end
  for _, hook in pairs(script.hooks) do
    look(hook)
  end
  if script.results then
    look(script.results)
  end
  return state
end

--- Is this table a loaded module?
-- @local
function M.is_module(value)
  for _, module in pairs(package.loaded) do
    if module == value then
      return true
    end
  end
  return value == jit or value == ffi
end

--- The variables that the functions of a script share: its state, by name. They are the script's own, so what is
-- changed in a table is changed for the script.
-- @tparam[opt] string name of the script; default: all, by name
-- @treturn table
function commands.state(name)
  if name ~= nil then
    local place = place_of(name)
    if not place then
      fail("state: no script '%s' is loaded", tostring(name))
    end
    return state_of(chain.scripts()[place])
  end
  local all = {}
  for _, script in ipairs(chain.scripts()) do
    if not script.gone then
      all[script.name] = state_of(script)
    end
  end
  return all
end

--- The results of the scripts so far, as the JSON report has them.
-- @tparam[opt] string name of one script; default: all, by name
-- @treturn table
function commands.results(name)
  local all = chain.results()
  if name ~= nil then
    if all[name] == nil then
      fail("results: no script '%s' has results", tostring(name))
    end
    return all[name]
  end
  return all
end

--- Call the last on_interval and on_stop of the scripts, as at the end of a capture: they print what they have found.
function commands.finish()
  local now = report()
  io.stdout:flush()
  if not (chain.last_interval() and chain.stop(now.totals, now.sources)) then
    error("a script failed", 0)
  end
end

-- --- profile ------------------------------------------------------------------------------------

local function profile_lines(found)
  local lines = {}
  for _, row in ipairs(found.hooks) do
    local each = row.ns_per_call and (", %.1f ns each"):format(row.ns_per_call) or ""
    local how = row.how and row.how ~= "" and ", " .. row.how or ""
    lines[#lines + 1] = ("%s: %s: %s calls%s%s"):format(row.script, row.hook, format.count(row.calls), each, how)
  end
  for _, entry in ipairs(found.aborts) do
    lines[#lines + 1] = ("not compiled: %s: %s (tried %d times%s)"):format(entry.place, entry.reason, entry.times,
      entry.blacklisted and ", given up for good" or "")
  end
  for _, entry in ipairs(found.stitches) do
    lines[#lines + 1] = ("slow: %s: %s"):format(entry.place, entry.reason)
  end
  return lines
end

--- Run the scripts compiled over the next packets and say what each hook costs, and what LuaJIT could not compile. A
-- hook that does not come back can only be ended with the program (Ctrl-C twice).
-- @tparam[opt=100000] integer n packets
-- @treturn table as `profile` of the JSON report has it: hooks, aborts
function commands.profile(n)
  if not any_script() then
    fail('profile: no script is loaded: load "top", or hook(function(p) … end)')
  end
  local counts, text
  local found = watch:unwatched(function()
    return chain.profiled(clock, function()
      counts, text = run(n or 100000)
    end)
  end)
  local lines = profile_lines(found)
  lines[#lines + 1] = text
  if counts.failed then
    error("a script failed\n" .. table.concat(lines, "\n"), 0)
  end
  return show.text(table.concat(lines, "\n"), found)
end

M.commands = commands

return M
