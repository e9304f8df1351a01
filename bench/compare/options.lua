-- SPDX-License-Identifier: BSD-2-Clause
-- The command line of bench/run.
local M = {}

M.help = [[
bench/run [--packets N] [--rounds N] [--only GROUP,...] [--quick] [--input FILE...] [--dir DIR]
          [--results FILE]

Runs moontap and the programs one could use instead on the same packets, in turn, and prints for
each the median time, packets a second, the memory of its largest process, and its time as a
multiple of moontap's.  In the first round every output is checked: the same packets, by capinfos and cmp.

  --packets N        packets of the largest traces (10000000); the others follow
  --rounds N         runs of each command (5)
  --only GROUP,...   some of the groups: %s
  --quick            100000 packets, 2 rounds: to see that it works
  --input FILE...    your own traces instead of generated ones: merged, and the result read, counted,
                     unpacked and packed
  --dir DIR          where the traces go, best a tmpfs (/dev/shm)
  --results FILE     write the results as Markdown; a whole run of at least 5 rounds on generated
                     traces writes bench/RESULTS.md if this is not given

Exit status: 0 done, whether or not the targets are met (the table says so); 1 an output differs, a
program failed, or the command line is wrong.
]]

local function refuse(text, ...)
  io.stderr:write("bench/run: ", text:format(...), "\n")
  os.exit(1)
end

local function count(name, text)
  local n = text and text:match("^%d+$") and tonumber(text)
  if not n or n < 1 or n > 1e9 then
    refuse("%s: expected a number from 1 to 1000000000, found %s", name, text and '"' .. text .. '"' or "nothing")
  end
  return n
end

-- The values of --only, all of them groups.
local function chosen(text, groups)
  local known, only = {}, {}
  for _, name in ipairs(groups) do
    known[name] = true
  end
  for name in (text or ""):gmatch("[^,]+") do
    if not known[name] then
      refuse('--only: there is no group "%s"; there are %s', name, table.concat(groups, " "))
    end
    only[name] = true
  end
  if not next(only) then
    refuse("--only: expected groups: %s", table.concat(groups, " "))
  end
  return only
end

--- The options, or the end of the program.
-- @tparam table arguments
-- @tparam table groups names of the groups
-- @treturn table packets, rounds, only (a set or nil), input (paths or nil), dir, results (path or nil), whole
-- (nothing was left out, so the results stand for the program)
function M.parse(arguments, groups)
  local o = { dir = "/dev/shm" }
  local quick, i = false, 1
  local function value()
    i = i + 1
    return arguments[i] or refuse("%s needs a value", arguments[i - 1])
  end
  while i <= #arguments do
    local name = arguments[i]
    if name == "--packets" or name == "--rounds" then
      o[name:sub(3)] = count(name, value())
    elseif name == "--only" then
      o.only = chosen(value(), groups)
    elseif name == "--dir" or name == "--results" then
      o[name:sub(3)] = value()
    elseif name == "--quick" then
      quick = true
    elseif name == "--input" then
      o.input = {}
      while arguments[i + 1] and not arguments[i + 1]:find("^%-%-") do
        o.input[#o.input + 1] = value()
      end
      if #o.input == 0 then
        refuse("--input needs files")
      end
    elseif name == "--help" or name == "-h" then
      io.write((M.help:format(table.concat(groups, " "))))
      os.exit(0)
    else
      refuse("unknown option %s (--help lists them)", name)
    end
    i = i + 1
  end
  if o.input and o.packets then
    refuse("--packets is about generated traces: it does not go with --input")
  end
  o.whole = not (quick or o.only or o.input or o.packets)
  o.packets = o.packets or quick and 100000 or 10000000
  o.rounds = o.rounds or quick and 2 or 5
  o.whole = o.whole and o.rounds >= 5
  return o
end

return M
