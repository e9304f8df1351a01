-- SPDX-License-Identifier: BSD-2-Clause
--- The hook thread's side of Lua: loads the chain, runs the driver, deals with failing scripts.
--
-- C calls the functions of this module, one protected call per batch.  A hook that raises
-- never loses the batch: what is done with the packet in hand is the script's on_error rule,
-- and the driver goes on behind it.
-- @module moontap.runtime

local ffi = require "ffi"
local bit = require "bit"
local C = require "moontap.abi"
local ageing = require "moontap.ageing"
local api = require "moontap.init"
local driver = require "moontap.driver"
local failure = require "moontap.failure"
local intervals = require "moontap.intervals"
local loader = require "moontap.loader"
local pace = require "moontap.pace"
local packet = require "moontap.packet"
local segment = require "moontap.segment"
local suggest = require "moontap.suggest"

local M = {}

local PHASE_INTERVAL, PHASE_ROTATE = C.MT_PHASE_INTERVAL, C.MT_PHASE_ROTATE
local DONE, SERVICE, ROTATE = C.MT_ACTION_DONE, C.MT_ACTION_SERVICE, C.MT_ACTION_ROTATE
local STOP, FAIL = C.MT_ACTION_STOP, C.MT_ACTION_FAIL
local STOP_RUN = C.MT_STOP_RUN

local st          -- struct mt_hook_state *
local settings    -- from C: see script.c
local scripts = {}
local stages = {}
local shared = {} -- what the generated loop uses
local profile     -- moontap.profile with --profile, else nil
local resume      -- where the last stage goes on after C has served it
local failed = false
local interpreted = false -- the compiler waits; see wait_to_compile

local EXIT, OUT_OF_MEMORY, on_raise = failure.EXIT, failure.OUT_OF_MEMORY, failure.on_raise

-- --- errors ---------------------------------------------------------------------------------

local function place_of_packet(what)
  if st.batch.n == 0 or st.index >= st.batch.n then
    return ""
  end
  local q = st.batch.packets + st.index
  local view = ffi.new "struct mt_iface_view"
  C.mt_flow_iface(st.flow, q.iface, view)
  return (" (%s %d, from %s, at %s)"):format(what, st.before + st.index + 1, ffi.string(view.source),
    api.format.time(q.ts_ns))
end

-- Where the stream was in a hook that is not about packets.
local place_of = {
  on_interval = function(now, last)
    return last and (" (the last one, at %s)"):format(api.format.time(now)) or ""
  end,
  on_segment_open = function(s)
    return (" (segment %d, of %s)"):format(s.seq, api.format.time(s.start))
  end,
  on_segment_close = function(line) return (" (segment %s)"):format(line.file) end,
  on_block = function(block) return (" (a block of %d bytes)"):format(block.len) end,
}

local function report(script, hook, why, where)
  local text = ("script %s: %s: %s%s"):format(script.label, hook, why.message, where)
  if script.rule == "stop" and why.traceback ~= "" then
    text = text .. "\n" .. why.traceback
  end
  C.mt_script_log(0, text)
end

local rebuild

-- What xpcall gave back: running out of memory comes as a bare string, past the handler.  To deal
-- with it takes some memory too: up to as much again, since LuaJIT may double a table in one piece.
-- The handler's own errors are strings too: without room on the stack for it, say.
local function as_error(why)
  if type(why) ~= "string" then
    return why -- a table from on_raise, or EXIT
  elseif not why:find(OUT_OF_MEMORY) then
    return { message = why, traceback = "" }
  end
  st.slack = settings.memory
  return { message = why .. " (--script-memory)", traceback = "", out_of_memory = true }
end

-- A script that was switched off for errors still prints at the end what it has found until then.
local function switch_off(script)
  script.off = true
  -- The loop that is being left still stands on the stack: it must not hold on to the hooks.
  for _, stage in ipairs(stages) do
    stage.run, stage.timed, stage.intervals = nil, nil, nil
  end
  C.mt_script_log(1, ("script %s: switched off after %d error(s); its packets are %s"):format(script.label,
    script.errors, script.rule == "drop" and "dropped" or "kept"))
  rebuild()
end

-- Let go of the memory that a script holds on to.
local function let_go(script)
  for name in pairs(script.hooks) do
    script.hooks[name] = function() end
  end
  script.results = nil
  rebuild()
  collectgarbage()
  collectgarbage()
  st.slack = 0
end

-- Count an error of a script; switch it off when there were too many.  True: the run must end.
local function count_error(script, hook, why, where)
  script.errors = script.errors + 1
  st.errors = st.errors + 1
  if script.rule == "stop" or script.errors <= 10 then
    report(script, hook, why, where)
  elseif script.errors == 11 then
    C.mt_script_log(1, ("script %s: further errors are counted, not shown"):format(script.label))
  end
  if script.rule == "stop" then
    failed, script.failed = true, true
    return true
  end
  if not script.off and (script.errors >= settings.max_errors or why.out_of_memory) then
    switch_off(script)
    if why.out_of_memory then
      let_go(script)
    end
  end
  return false
end

-- Call a hook that is not about one packet.  True and its result, or false: it failed and was
-- reported; the second value then says whether the run must end.
local function call(place, hook, ...)
  local script = scripts[place]
  st.script = place
  st.hook_ns, st.generation = st.clock_ns, st.generation + 1
  local result = { xpcall(script.hooks[hook] or script[hook], on_raise, ...) }
  if result[1] then
    return true, result[2]
  end
  if result[2] == EXIT then
    return true, nil
  end
  local ok, where = pcall(place_of[hook] or tostring, ...) -- the hook may have changed what it got
  return false, count_error(script, hook, as_error(result[2]), ok and place_of[hook] and where or "")
end

-- --- the chain ------------------------------------------------------------------------------

local Message = { __tostring = function(m) return m.message end }

-- An error without a place in our own code, which would mislead.
local function raise(text)
  error(setmetatable({ message = text }, Message), 0)
end

local function route(name)
  if type(name) ~= "string" then
    raise(("on_packet returned a %s; expected nothing, true, false or the name of an output"):format(type(name)))
  end
  local index = settings.outputs[name]
  if not index then
    local there = next(settings.outputs) and "declared: " .. suggest.list(settings.outputs) or "none is declared"
    local text = "on_packet returned '%s', but no output of that name is declared with --out %s=PATH (%s)"
    raise(text:format(name, name, there))
  end
  return index
end

function rebuild()
  if profile then
    profile.begin_stages()
  end
  stages = driver.stages(shared, scripts, intervals.of)
end

-- --- a failing hook ---------------------------------------------------------------------------

-- The rule of a script for a packet that its hook did not finish.
local function bypass(script, q)
  if script.rule == "keep" then
    q.flags = bit.bor(q.flags, C.MT_PACKET_BYPASSED)
  else
    q.verdict = 254
  end
end

-- One script on one packet, as the generated loop does it; for packets behind an error.
local function one_packet(script, q, i)
  if script.keep_test and not script.keep_test(q) then
    q.verdict = 255
    return
  end
  if script.filter_test and not script.filter_test(q) then
    return
  end
  if script.off then
    bypass(script, q)
    return
  end
  st.generation = st.generation + 1
  local verdict = script.hooks.on_packet(packet.handle(q, st.batch.decode + i, st.generation))
  if verdict == false or (script.expression and not verdict) then
    q.verdict = 255
  elseif verdict ~= nil and verdict ~= true and not script.expression then
    q.verdict = route(verdict)
  end
end

-- A hook failed on packet i of a loop stage: apply its rule, then let the scripts behind it have
-- the packet.  True: the run must end.
local function after_packet_error(stage, why)
  local i = st.index
  local q = st.batch.packets + i
  while true do
    local script, place = scripts[st.script], st.script
    C.mt_edit_undo(st)
    if why ~= EXIT and count_error(script, "on_packet", why, place_of_packet "packet") then
      return true
    end
    bypass(script, q)
    why = nil
    for _, later in ipairs(stage.places) do
      if later > place and q.verdict < 250 and (scripts[later].hooks.on_packet or scripts[later].keep_test) then
        st.script = later
        local ok, err = xpcall(one_packet, on_raise, scripts[later], q, i)
        if not ok then
          why = as_error(err)
          break
        end
      end
    end
    if not why then
      return false
    end
  end
end

local function after_batch_error(stage, why)
  local script = scripts[stage.place]
  C.mt_edit_undo(st)
  if why ~= EXIT and count_error(script, "on_batch", why, place_of_packet "batch from packet") then
    return true
  end
  -- how far it got is not known: its rule is for all of them
  for k = 0, stage.view.n - 1 do
    local q = st.batch.packets + stage.view._index[k]
    if q.verdict < 250 then
      bypass(script, q)
    end
  end
  return false
end

-- Where a stage goes on after an error, as from, hooks_done, rotate_done; nil: the run ends and
-- st.index is the first packet that is not to be written.
local function recover(stage, why)
  local i = st.index
  if st.phase == PHASE_INTERVAL then
    if why == EXIT or count_error(scripts[st.script], intervals.hook, why, place_of_packet "before packet") then
      return nil
    end
    return i, -1, -1
  elseif st.phase == PHASE_ROTATE then
    C.mt_edit_undo(st)
    if why == EXIT then
      st.index = i + 1
      return nil
    end
    if count_error(scripts[st.script], "rotate", why, place_of_packet "packet") then
      return nil
    end
    return i, i, i
  elseif stage.is_batch then
    if after_batch_error(stage, why) then
      return nil
    end
    if st.stop ~= 0 then
      st.index = stage.next
      return nil
    end
    return stage.next, -1, -1
  end
  if after_packet_error(stage, why) then
    return nil
  end
  if st.stop ~= 0 then
    st.index = i + 1
    return nil
  end
  return i, i, -1
end

-- --- called by C ------------------------------------------------------------------------------

-- Run a stage over [from, to).  Returns the end of what it has done.
local function run_stage(k, from, to, hooks_done, rotate_done)
  while true do
    local stage = stages[k]
    local ok, why = xpcall(profile and profile.enter(stage) or stage.run, on_raise, from, to, hooks_done, rotate_done)
    if profile then
      profile.leave(stage)
    end
    if ok then
      return st.index
    end
    from, hooks_done, rotate_done = recover(stages[k], as_error(why))
    if not from then
      st.action = failed and FAIL or STOP
      return st.index
    end
  end
end

local function begin_over(times)
  jit.flush()
  C.mt_script_log(1, ("hooks take %.0f times as long for a packet as they did: they are compiled anew"):format(times))
end

-- A hook came back when C had gone on without it: that is an error of its script.
local function count_lost()
  local script = scripts[st.lost]
  st.lost = 0
  if script then
    script.errors, st.errors = script.errors + 1, st.errors + 1
    if not script.off and script.errors >= settings.max_errors then
      switch_off(script)
    end
  end
end

-- A moontap.table knows nothing at first, so every lookup takes the way of a new key, and a loop that is compiled
-- then has a call of C in the middle of it, behind which LuaJIT can not leave out the packet's handle: half
-- the speed for good.  So the compiler waits until tables have been filled a little.
local FILLED = 1024

local function wait_to_compile()
  interpreted = package.loaded["moontap.table"] ~= nil and jit.status()
  if interpreted then
    jit.off()
  end
end

local function compile_now()
  interpreted = false
  jit.on()
end

local function run_stages()
  if interpreted and st.before >= FILLED then
    compile_now()
  end
  local from, to = st.from, st.to
  if st.lost ~= 0 then
    count_lost()
  end
  if st.fresh ~= 0 then
    st.fresh, resume = 0, nil
  end
  local ending = DONE
  local first, hooks_done, rotate_done = 1, -1, -1
  if resume then
    first, hooks_done, rotate_done = #stages, resume.hooks_done, resume.rotate_done
    resume = nil
  end
  local stop = st.stop
  for k = first, #stages do
    -- What an earlier stage has let through before it stopped goes through all of the later ones.
    st.stop = 0
    -- C may look at any time, and takes index for good once last_stage is set
    st.index = from
    st.last_stage = k == #stages and 1 or 0
    to = run_stage(k, from, to, hooks_done, rotate_done)
    stop = math.max(stop, st.stop)
    st.stop = stop
    st.phase = PHASE_INTERVAL -- no packet is in hand
    if st.action == SERVICE or st.action == ROTATE then
      resume = { hooks_done = st.index, rotate_done = st.action == ROTATE and st.index or -1 }
      return
    elseif st.action ~= DONE then
      ending = st.action
    end
    hooks_done, rotate_done = -1, -1
  end
  st.index, st.action = to, ending
end

--- Give the packets st.from to st.to - 1 of the batch in hand their verdicts.
function M.batch()
  local begun, from = C.mt_hook_now(), st.from
  run_stages()
  local now = C.mt_hook_now()
  local n = st.index > from and st.index - from or 0
  local times = pace.note(n, begun, now)
  if pace.is_early(n, begun, now) then
    jit.flush()
  elseif times then
    begin_over(times)
  end
end

-- Never part of a loop over packets: compiling them would only cost a trace per batch.
jit.off(M.batch)
jit.off(run_stages)
jit.off(run_stage)

--- The stream clock went on to st.clock_ns without packets.
-- @treturn boolean false: a script failed and its rule is stop
function M.tick()
  for k = 1, #stages do -- by index: switching a script off makes new stages
    while stages[k].due[0] <= st.clock_ns and stages[k].due[0] ~= intervals.FOREVER do
      local ok, why = xpcall(stages[k].intervals, on_raise, st.clock_ns)
      if not ok and why == EXIT then
        return true
      elseif not ok and count_error(scripts[st.script], intervals.hook, as_error(why),
        (" (at %s)"):format(api.format.time(st.clock_ns))) then
        return false
      end
    end
  end
  return true
end

-- Sweep or finish what has aged in the objects of a script.  False: an error ends the run.
local function report_ended(place, work)
  local script = scripts[place]
  while ageing.has(place) and not script.failed do
    st.script, st.hook_ns, st.generation = place, st.clock_ns, st.generation + 1
    local ok, why = xpcall(work, on_raise, place)
    if ok or why == EXIT then
      return true
    elseif count_error(script, "on_expire", as_error(why), "") then
      return false
    elseif script.off then
      return true
    end
  end
  return true
end

--- The end of the stream: every on_interval once more, with last = true.
-- @treturn boolean false: a script failed and its rule is stop
function M.last_interval()
  for place, script in ipairs(scripts) do
    if not report_ended(place, ageing.sweep) then
      return false
    end
    if script.hooks.on_interval and not script.off and not script.failed then
      local now = st.clock_ns == ffi.cast("int64_t", bit.lshift(1LL, 63)) and 0 or tonumber(st.clock_ns) / 1e9
      local ok, ends = call(place, "on_interval", now, true)
      if not ok and ends then
        return false
      end
    end
  end
  return true
end

-- What C has to know of a script while it may not ask.
local function add_bypass(script)
  local hooks = script.hooks
  settings.add_bypass(script.label, script.rule, hooks.on_packet ~= nil or hooks.on_batch ~= nil,
    hooks.on_batch ~= nil, hooks.on_block ~= nil, hooks.on_stop ~= nil or script.results ~= nil, script.filter,
    script.keep)
end

local function run_object(script, sources)
  return { args = script.args, sources = sources, json = settings.json, live = settings.live }
end

-- Compile filter and keep of a script.  True, or nil and what is wrong.
local function compile_tests(script)
  for _, key in ipairs { "filter", "keep" } do
    if script[key] then
      local test, why = require("moontap.filter").test(script[key], settings.linktype())
      if not test then
        return nil, ("script %s: %s: %s"):format(script.label, key, why)
      end
      script[key .. "_test"] = test
    end
  end
  return true
end

--- The sources are open: compile filters, build the loop, call on_start.
-- @tparam table sources for run.sources
-- @treturn ?boolean false: a hook failed; nil: a filter is no filter; it was reported
function M.start(sources)
  for _, script in ipairs(scripts) do
    local good, why = compile_tests(script)
    if not good then
      C.mt_script_log(0, why)
      return nil
    end
    add_bypass(script)
  end
  for place, script in ipairs(scripts) do
    if script.hooks.on_start then
      local ok, ends = call(place, "on_start", run_object(script, sources))
      if not ok and ends then
        return false
      end
    end
  end
  shared.flow, shared.segment = st.flow, segment.handle(st.flow)
  rebuild()
  wait_to_compile()
  return true
end

--- The end, after the last segment.
-- @tparam table stats for run.stats
-- @tparam table sources for run.sources
-- @treturn boolean false: a script failed
function M.stop(stats, sources)
  if interpreted then
    compile_now()
  end
  local good = true
  for place, script in ipairs(scripts) do
    good = report_ended(place, ageing.finish) and good
    if script.hooks.on_stop and not script.failed then
      local run = run_object(script, sources)
      run.stats = stats
      good = call(place, "on_stop", run) and good
    end
  end
  io.stdout:flush()
  return good
end

--- Ask the scripts for the name of a segment; the last one that gives a name wins.
-- @param view `struct mt_segment_view *` as a light userdata
-- @treturn ?string
function M.segment_open(view)
  local name
  for place, script in ipairs(scripts) do
    if script.hooks.on_segment_open and not script.off then
      local ok, result = call(place, "on_segment_open", segment.table_of(view))
      if ok and type(result) == "string" then
        name = result
      elseif ok and result ~= nil then
        C.mt_script_log(1, ("script %s: on_segment_open returned a %s, not a name; the default name is used"):format(
          script.label, type(result)))
      end
    end
  end
  return name
end

--- A segment is complete.
-- @tparam table line its manifest line
function M.segment_close(line)
  for place, script in ipairs(scripts) do
    if script.hooks.on_segment_close and not script.off then
      local ok, ends = call(place, "on_segment_close", line)
      if not ok and ends then
        st.stop = STOP_RUN
      end
    end
  end
end

--- A block of encoded bytes, before the codec.
-- @param data light userdata
-- @tparam integer len
-- @treturn ?string what replaces it; false when a failing script may not let it pass
function M.block(data, len)
  local replaced
  for place, script in ipairs(scripts) do
    if script.hooks.on_block then
      local view = segment.block(replaced or ffi.cast("const uint8_t *", data), replaced and #replaced or len)
      local ok, result = false, nil
      if not script.off then
        ok, result = call(place, "on_block", view)
      end
      segment.expire(view)
      if ok and type(result) == "string" then
        replaced = result
      elseif ok and result ~= nil then
        C.mt_script_log(1, ("script %s: on_block returned a %s, not a string; the block is written as it is"):format(
          script.label, type(result)))
      elseif not ok and script.rule ~= "keep" then
        st.stop = script.rule == "stop" and STOP_RUN or st.stop
        return false
      end
    end
  end
  return replaced
end

--- Results of all scripts that have some, for --json.
-- @treturn table name to whatever its results() gave
function M.results()
  local all = {}
  for place, script in ipairs(scripts) do
    if script.results then
      local ok, result = call(place, "results")
      local name, n = script.name, 1
      while all[name] do
        n = n + 1
        name = script.name .. "-" .. n
      end
      all[name] = ok and result or nil
    end
  end
  return all
end

--- What --profile has measured.
-- @tparam number hook_seconds how long the hook thread has run
-- @treturn table see moontap.profile
function M.profile(hook_seconds)
  return profile.report(hook_seconds)
end

local function has(hook)
  for _, script in ipairs(scripts) do
    if script.hooks[hook] then
      return true
    end
  end
  return false
end

local function install_globals()
  api.version = settings.version
  api.stop = function()
    st.stop = STOP_RUN
  end
  _G.moontap = api
  package.loaded.moontap = api
  os.exit = function() -- luacheck: ignore 122
    st.stop = STOP_RUN -- even if the script catches the error
    error(EXIT, 0)
  end
  os.execute = function(command) -- luacheck: ignore 122
    if command == nil then
      return 1 -- there is a shell
    elseif type(command) ~= "string" and type(command) ~= "number" then
      error(("bad argument #1 to 'execute' (string expected, got %s)"):format(type(command)), 2)
    end
    return C.mt_execute(tostring(command))
  end
  if settings.print_to_stderr then
    print = function(...) -- luacheck: ignore 121
      local parts = {}
      for k = 1, select("#", ...) do
        parts[k] = tostring((select(k, ...)))
      end
      io.stderr:write(table.concat(parts, "\t"), "\n")
    end
    io.output(io.stderr) -- io.write too
    io.stdout = io.stderr -- luacheck: ignore 122
  end
end

local function add(script, place)
  place = place or #scripts + 1
  script.errors = 0
  script.rule = settings.rule or script.rule or (settings.live and "keep" or "stop")
  if script.private and script.rule == "keep" then
    script.rule = "drop" -- what it did not finish is not for others, whatever was asked for
  end
  intervals.begin(script)
  scripts[place] = script
  if profile then
    profile.add(script, place)
  end
end

--- Load the chain.
-- @param hook_state `struct mt_hook_state *` as a light userdata
-- @tparam table given settings from C
-- @treturn ?table which hooks there are; or { help = text }
-- @treturn ?string what is wrong
function M.load(hook_state, given)
  st = ffi.cast("struct mt_hook_state *", hook_state)
  settings = given
  packet.attach(st)
  intervals.attach(st, scripts)
  segment.attach(st, route)
  shared.state, shared.route = st, route
  if given.clock then
    profile = require "moontap.profile"
    profile.start(given.clock)
    shared.profile = profile
  end
  require("moontap.json").attach(given.json_encode, given.json_decode)
  if given.publish then
    require("moontap.publish").attach(given.publish)
  end
  local output = require "moontap.output"
  local chain = given.repl and require "moontap.repl.chain"
  output.attach(chain and chain.declare_place(given.outputs) or given.declare_output, given.outputs)
  install_globals()
  local recipes = require "moontap.recipe_list"
  for _, word in ipairs(given.scripts) do
    st.script = #scripts + 1 -- for objects that it makes
    local ok, script = pcall(word.expression and loader.expression or loader.load, word.text, recipes)
    if not ok then
      return nil, loader.message_of(script)
    end
    if script.help then
      return { help = script.help }
    end
    script.word = not word.expression and word.text or nil
    if chain then
      chain.without_output(script)
    end
    add(script)
  end
  output.attach(nil, nil)
  local private, times = false, false
  for _, script in ipairs(scripts) do
    private, times = private or not not script.private, times or script.private == "times"
  end
  return {
    is_private = private, moves_times = times,
    packet = has "on_packet" or has "on_batch" or has "on_interval" or has "rotate" or M.any_keep(),
    segment_open = has "on_segment_open", segment_close = has "on_segment_close", block = has "on_block",
  }
end

-- --- for a chain that changes: moontap.repl.chain -------------------------------------------------

-- Start one script. False: on_start failed, it was reported.
local function start_one(place, sources)
  local good = not scripts[place].hooks.on_start or call(place, "on_start", run_object(scripts[place], sources))
  failed = failed and good
  return good
end

-- Run the chain over packets st.from to st.to - 1 of the batch in hand, without notes about its pace. False: a script
-- failed, it was reported; st.index is the packet.
local function run_range()
  st.fresh, st.stop, resume = 1, 0, nil
  run_stages()
  local good = not failed
  failed = false
  for _, script in ipairs(scripts) do
    script.failed = nil
  end
  return good
end

local function set_profile(to)
  profile, shared.profile = to, to
end

--- Begin a prompt: M.line, M.complete and M.value are there from then on.
-- @param stepper `struct mt_stepper *` as a light userdata
-- @tparam table options see moontap.repl.prompt
function M.prompt(stepper, options)
  local prompt, chain = require "moontap.repl.prompt", require "moontap.repl.chain"
  options.outputs = settings.outputs
  chain.attach({ state = st, scripts = scripts, outputs = settings.outputs, add = add, compile_tests = compile_tests,
    start_one = start_one, rebuild = rebuild, run_range = run_range, set_profile = set_profile }, M)
  prompt.begin(stepper, options, chain)
  M.line, M.complete, M.value = prompt.line, prompt.complete, prompt.value
end

--- Does a script drop packets by `keep`?
function M.any_keep()
  for _, script in ipairs(scripts) do
    if script.keep then
      return true
    end
  end
  return false
end

--- Names and summaries of the recipes that are built in.
-- @treturn string lines
function M.list_recipes()
  local lines = {}
  for _, name in ipairs(require "moontap.recipe_list") do
    lines[#lines + 1] = ("%-10s %s"):format(name, require("recipes." .. name).summary or "")
  end
  return table.concat(lines, "\n")
end

return M
