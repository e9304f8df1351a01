-- SPDX-License-Identifier: BSD-2-Clause
-- The benchmark, started by bench/run: makes the inputs of one group after the other, races its programs,
-- prints its table, deletes its files.
--
--   luajit main.lua TOP BUILD MOONTAP NOTE OPTIONS...
--
-- TOP: the repository. BUILD: where generate, measure and digest are. MOONTAP: the program. NOTE: a file that gets
-- the name of the folder to delete at the end.
local top, build, moontap, note = unpack(arg, 1, 4)
local arguments = { unpack(arg, 5) }

local groups = require("compare.groups")
local inputs = require("compare.inputs")
local machine = require("compare.machine")
local options = require("compare.options")
local race = require("compare.race")
local report = require("compare.report")
local shell = require("compare.shell")
local target = require("compare.target")

local MEMORY_MB = 64
local quote = shell.quote

local function fail(...)
  error({ message = (...):format(select(2, ...)) })
end

local function write(path, text)
  local file, why = io.open(path, "w")
  if not (file and file:write(text) and file:close()) then
    fail("can not write %s: %s", path, why or "no space")
  end
end

-- The folder of the run, with the programs in bin; a group works in a folder of its own below.
local function make_folder(o)
  shell.dir = "/"
  local work = shell.try(("mktemp -d %s/moontap-bench.XXXXXX"):format(quote(o.dir)))
  if not work then
    fail("%s: not a folder one can write to (--dir)", o.dir)
  end
  write(note, work)
  shell.dir, shell.measure = work, build .. "/measure"
  shell.run("mkdir bin")
  local tools = quote(build)
  shell.run(("ln -s %s bin/moontap && ln -s %s/generate %s/digest bin"):format(quote(moontap), tools, tools))
  return work
end

local function check_programs()
  if not shell.try("test -x bin/moontap") then
    fail("%s is not there: run make first", moontap)
  end
  for _, program in ipairs { "mergecap", "capinfos", "editcap", "cmp", "dd" } do
    if not shell.has(program) then
      fail("%s is not there; .ci/deps bench installs it", program)
    end
  end
end

-- Bytes that can be written below dir: a tmpfs may offer more than there is memory.
local function free_bytes(dir)
  local kib = tonumber(shell.run("df -Pk " .. quote(dir)):match("\n%S+%s+%d+%s+%d+%s+(%d+)"))
  if shell.run("stat -f -c %T " .. quote(dir)) == "tmpfs" then
    kib = math.min(kib, machine.available_kib() or kib)
  end
  return kib * 1024
end

local function check_space(chosen, run, o)
  local needed, who = 0, nil
  for _, group in ipairs(chosen) do
    if group.needs(run) > needed then
      needed, who = group.needs(run), group.name
    end
  end
  if run.own then
    needed = needed + run.own.bytes
  end
  local free = free_bytes(o.dir)
  if needed > free then
    fail("%s has %.0f MB free, the group %s needs %.0f MB: give --dir, --packets or --only", o.dir, free / 1e6, who,
      needed / 1e6)
  end
end

local function choose(o)
  local chosen = {}
  for _, group in ipairs(groups) do
    if (not o.only or o.only[group.name]) and not (o.input and group.generated_only) then
      chosen[#chosen + 1] = group
    end
  end
  if #chosen == 0 then
    fail("--only: these groups make their own traces, they do not go with --input")
  end
  return chosen
end

local function judge(goal, rows)
  local value, met = goal.judge(rows)
  return { text = goal.text, value = value, met = met }
end

-- Race one group in a folder of its own.
local function run_group(group, run, o, work)
  io.stderr:write(group.name, " …\n")
  shell.dir = work .. "/" .. group.name
  os.execute("mkdir " .. quote(shell.dir))
  shell.run(("ln -s %s/bench bench && ln -s ../bin bin"):format(quote(top)))
  if run.own then
    shell.run("ln -s ../in ../own.pcap .")
  end
  local result = group.make(run)
  result.name = group.name
  result.rounds = group.rounds and math.max(o.rounds, o.rounds >= 5 and group.rounds or 0) or o.rounds
  race.run(result.rows, result.rounds)
  shell.dir = work
  shell.run("rm -rf " .. group.name)

  local by_name = {}
  for _, row in ipairs(result.rows) do
    by_name[row.name] = row
  end
  result.judged = {}
  for i, goal in ipairs(result.targets) do
    result.judged[i] = judge(goal, by_name)
  end
  return result
end

local function any_failed(results)
  for _, group in ipairs(results) do
    for _, row in ipairs(group.rows) do
      if row.failed and not row.missing then
        return true
      end
    end
  end
  return false
end

-- The paths of --input, absolute.
local function absolute(paths)
  local list = {}
  for i, path in ipairs(paths) do
    local pipe = io.popen("realpath -e " .. quote(path) .. " 2>/dev/null")
    list[i] = pipe:read("*l")
    pipe:close()
    if not list[i] then
      fail("%s: no such file", path)
    end
  end
  return list
end

local function main()
  local names = {}
  for i, group in ipairs(groups) do
    names[i] = group.name
  end
  local o = options.parse(arguments, names)
  local work = make_folder(o)
  check_programs()
  local run = { packets = o.packets, own = o.input and inputs.look(absolute(o.input)) }
  local chosen = choose(o)
  check_space(chosen, run, o)
  if run.own then
    inputs.merge(run.own)
  end
  local facts, results = machine.facts(o.dir), {}
  for _, group in ipairs(chosen) do
    results[#results + 1] = run_group(group, run, o, work)
    print(report.text(results[#results]))
    io.stdout:flush()
  end
  local memory = judge(target.memory(MEMORY_MB, results))
  io.write(report.summary(results, memory))

  local path = o.results or o.whole and not any_failed(results) and top .. "/bench/RESULTS.md"
  if path then
    local typed = o.whole and "make bench" or "bench/run " .. table.concat(arguments, " ")
    write(path, report.markdown(results, memory, facts, typed))
    print("written to " .. path)
  end
  return any_failed(results) and 1 or 0
end

local ok, result = xpcall(main, function(err)
  return type(err) == "table" and err or { message = debug.traceback(err, 2) }
end)
if not ok then
  io.stderr:write("bench/run: ", result.message, "\n")
end
io.stdout:flush()
os.exit(ok and result or result.status or 1)
