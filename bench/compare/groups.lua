-- SPDX-License-Identifier: BSD-2-Clause
-- What is compared.  A group: name · needs(run), the bytes its files take · make(run), which makes the
-- inputs in the folder at hand and returns title, rows, targets, base (the name of the row that the others
-- are compared to; row.beside overrides it) and rounds if not those of the run.
--
-- run: packets (of the largest trace), own (the user's traces, see inputs.lua, or nil).
local inputs = require("compare.inputs")
local same = require("compare.same")
local shell = require("compare.shell")
local target = require("compare.target")
local codecs = require("compare.codecs")
local common = require("compare.common")
local recipes = require("compare.recipes")

local dd_to_file, dd_to_nowhere, describe = common.dd_to_file, common.dd_to_nowhere, common.describe
local ours = common.ours

local M = {}

-- --- merge -----------------------------------------------------------------------------

-- The rows of a merge of in/*: out.pcap must be the packets of reference.
local function merge_rows(packets, format, reference, options)
  local check = same.file("out.pcap", reference, options.ties)
  local function row(name, command)
    return { name = name, command = command, packets = packets, output = "out.pcap", check = check }
  end
  local rows = { dd_to_file(reference, packets), row("mergecap", ("mergecap -F %s -w out.pcap in/*"):format(format)) }
  if options.tracemerge then
    rows[3] = row("tracemerge", "tracemerge pcapfile:out.pcap $(printf 'pcapfile:%s ' in/*)")
    rows[3].tool = "tracemerge"
  end
  rows[#rows + 1] = ours(row("moontap", "moontap -q --format pcap -o out.pcap in/*"))
  local hook = ours(row("moontap, hook", "moontap -q --format pcap -l bench/hook.lua -o out.pcap in/*"))
  hook.check = same.printed(packets, check)
  rows[#rows + 1] = hook
  return rows
end

local small_targets = {
  target.as_fast(5, "moontap, hook", "mergecap"),
  target.at_most(2, "moontap, hook", "dd"),
  target.at_most(1.5, "moontap", "dd"),
}
local large_targets = { target.at_most(1.2, "moontap, hook", "dd") }

-- A group that merges four generated files.
local function generated_merge(f)
  return {
    name = f.name,
    needs = function(run)
      return run.own and 0 or f.packets(run) * f.record * 3
    end,
    make = function(run)
      local packets = f.packets(run)
      inputs.generate("in", packets, 4, f.options)
      shell.run("mergecap -F pcap -w merged.pcap in/*")
      return {
        title = describe(packets, "merged.pcap", f.text), base = "moontap", targets = f.targets,
        rows = merge_rows(packets, "pcap", "merged.pcap", { tracemerge = true }),
      }
    end,
  }
end

local merge = generated_merge {
  name = "merge", packets = function(run) return run.packets end, record = 80, options = "--snaplen 64",
  text = "4 files merged into one, 64 bytes of each packet captured", targets = small_targets,
}
local make_generated = merge.make

function merge.needs(run)
  return run.own and run.own.bytes * 2 or run.packets * 80 * 3
end

function merge.make(run)
  if not run.own then
    return make_generated(run)
  end
  local own = run.own
  local options = { ties = true, tracemerge = own.plain }
  return {
    title = describe(own.packets, "own.pcap", ("%d files merged into one"):format(#own.paths)),
    rows = merge_rows(own.packets, own.format, "own.pcap", options), base = "moontap",
    targets = own.captured < 250 and small_targets or own.captured > 500 and large_targets or {},
  }
end

M[#M + 1] = merge
M[#M + 1] = generated_merge {
  name = "mix", packets = function(run) return math.ceil(run.packets / 2) end, record = 100,
  options = "--snaplen 96 --mean-size 400 --vlan 40 --ipv6 50 --flows 100000",
  text = "the same with 96 bytes, VLAN tags on 40 % and IPv6 in 50 % of the flows", targets = small_targets,
}
M[#M + 1] = generated_merge {
  name = "full", packets = function(run) return math.ceil(run.packets / 10) end, record = 766,
  options = "--snaplen 65535 --mean-size 750",
  text = "4 files merged into one, whole packets of 750 bytes on average", targets = large_targets,
}

-- --- statistics ------------------------------------------------------------------------

-- tshark takes 16 µs a packet and more: it gets a part of them.
local TSHARK_PART = 20

M[#M + 1] = {
  name = "statistics",
  needs = function(run)
    return run.own and run.own.bytes / TSHARK_PART or run.packets * 80 * 1.1
  end,
  make = function(run)
    local path, packets = common.single(run, run.packets)
    local part = math.max(1, math.floor(packets / TSHARK_PART))
    shell.run(("editcap -F %s -r %s part.pcap 1-%d"):format(run.own and run.own.format or "pcap", path, part))
    local count_by_port = "moontap -q -l bench/ports.lua "
    local function dnsjit(input)
      return {
        name = "dnsjit, " .. input, tool = "dnsjit", packets = packets, check = same.printed(packets),
        command = ("dnsjit bench/rivals/dnsjit.lua %s %s"):format(input, path), note = "an empty loop",
      }
    end
    return {
      title = describe(packets, path, "one file, no output; moontap and tshark count by port"),
      base = "moontap, hook",
      rows = {
        dd_to_nowhere(path, packets),
        dnsjit("mmpcap"),
        dnsjit("fpcap"),
        {
          name = "tshark, Lua tap", tool = "tshark", packets = packets, scale = packets / part,
          command = "tshark -n -q -r part.pcap -X lua_script:bench/rivals/tshark.lua",
          check = same.printed(part, not run.own and same.prints_what(count_by_port .. "part.pcap") or nil),
          note = ("timed with %s packets, multiplied by %g"):format(common.thousands(part), packets / part),
        },
        ours {
          name = "moontap, hook", packets = packets, command = count_by_port .. path, check = same.printed(packets),
        },
      },
      targets = { target.as_fast(2, "moontap, hook", "dnsjit, mmpcap") },
    }
  end,
}

-- --- flows -----------------------------------------------------------------------------

M[#M + 1] = {
  name = "flows",
  generated_only = true,
  needs = function(run)
    return run.packets * 80 * 2
  end,
  make = function(run)
    local packets, rows, targets = run.packets, {}, {}
    for i, flows in ipairs { 1000, 1000000 } do
      local dir = ("in%d"):format(flows)
      inputs.generate(dir, packets, 1, "--flows " .. flows)
      local path = dir .. "/1.pcap"
      rows[1] = rows[1] or dd_to_nowhere(path, packets)
      local name = ("moontap, %s flows"):format(common.thousands(flows))
      rows[i + 1] = ours {
        name = name, packets = packets, command = "moontap -q -l bench/flows.lua " .. path,
        check = same.printed(packets), aside = flows > 1000 and "script tables" or nil,
      }
      targets[i] = target.rate(8, name)
    end
    return {
      title = describe(packets, "in1000/1.pcap", "one file, packets and bytes of each flow in a moontap.table"),
      rows = rows, base = rows[2].name, targets = targets,
    }
  end,
}

-- --- many sources ----------------------------------------------------------------------

M[#M + 1] = {
  name = "sources",
  generated_only = true,
  needs = function(run)
    return run.packets * 0.6 * 80 * 7
  end,
  make = function(run)
    local packets = math.ceil(run.packets * 0.6)
    local rows = { dd_to_file("merged.pcap", packets) }
    for _, files in ipairs { 2, 4, 16, 64, 256 } do
      -- The same packets each time, dealt out to more files.
      local dir = ("in%d"):format(files)
      inputs.generate(dir, packets, files, "--random-order")
      if files == 2 then
        shell.run(("mergecap -F pcap -w merged.pcap %s/*"):format(dir))
      end
      local name = ("moontap, %d files"):format(files)
      rows[#rows + 1] = {
        name = ("mergecap, %d files"):format(files), packets = packets, output = "out.pcap", beside = name,
        command = ("mergecap -F pcap -w out.pcap %s/*"):format(dir), check = same.file("out.pcap", "merged.pcap"),
      }
      rows[#rows + 1] = ours {
        name = name, packets = packets, output = "out.pcap", check = same.file("out.pcap", "merged.pcap"),
        command = ("moontap -q --format pcap -o out.pcap %s/*"):format(dir),
      }
    end
    return {
      title = describe(packets, "merged.pcap", "2 to 256 files in random order merged into one"),
      rows = rows, base = "moontap, 2 files",
      targets = { target.at_most(2, "moontap, 256 files", "moontap, 2 files") },
    }
  end,
}

-- --- filters ---------------------------------------------------------------------------

M[#M + 1] = {
  name = "filters",
  generated_only = true,
  needs = function(run)
    return run.packets * 80 * 1.5
  end,
  make = function(run)
    local packets = run.packets
    local path = common.single(run, packets)
    local function row(name, reference, command)
      local check = same.file("out.pcap", reference)
      return { name = name, packets = packets, command = command, output = "out.pcap", check = check }
    end
    local function tcpdump(reference, filter)
      shell.run(("tcpdump -r %s -w %s '%s'"):format(path, reference, filter))
      local name = ("tcpdump '%s'"):format(filter)
      return row(name, reference, ("tcpdump -r %s -w out.pcap '%s'"):format(path, filter))
    end
    local rows = {
      dd_to_file(path, packets),
      tcpdump("udp.pcap", "udp port 53"),
      ours(row("moontap -F", "udp.pcap", "moontap -q -F 'udp port 53' -o out.pcap " .. path)),
      tcpdump("dst.pcap", "dst port 53"),
      ours(row("moontap -e", "dst.pcap", "moontap -q -e 'p.dport == 53' -o out.pcap " .. path)),
    }
    rows[4].beside = "moontap -e"
    return {
      title = describe(packets, path, "one file, 'udp port 53' or destination port 53 kept"), rows = rows,
      base = "moontap -F",
      targets = {
        target.as_fast(3, "moontap -F", rows[2].name), target.as_fast(3, "moontap -e", rows[4].name),
      },
    }
  end,
}

-- --- hooks and their slow twins -----------------------------------------------------------

-- The same result in a way that compiles well and in one that does not: the examples of docs/performance.md.
local TWINS = { "address", "count", "function", "bytes", "print" }

M[#M + 1] = {
  name = "hooks",
  generated_only = true,
  needs = function(run)
    return run.packets * 80 * 1.1 / 10
  end,
  make = function(run)
    local path, packets = common.single(run, math.ceil(run.packets / 10))
    local rows = {}
    for _, twin in ipairs(TWINS) do
      for _, kind in ipairs { "fast", "slow" } do
        rows[#rows + 1] = ours {
          name = twin .. "-" .. kind, packets = packets, beside = twin .. "-fast", check = same.printed(packets),
          command = ("moontap -q -l bench/hooks/%s-%s.lua %s 2>/dev/null"):format(twin, kind, path),
        }
      end
    end
    return {
      title = describe(packets, path, "one file, no output; hooks that compile well and their slow twins"),
      base = "address-fast", rows = rows, targets = {},
    }
  end,
}

M[#M + 1] = codecs.unpack
M[#M + 1] = codecs.pack
M[#M + 1] = recipes

-- --- short runs ------------------------------------------------------------------------

M[#M + 1] = {
  name = "short",
  rounds = 20,
  needs = function(run)
    return run.own and 0 or math.min(run.packets, 1000000) * 80
  end,
  make = function(run)
    local path = common.single(run, math.min(run.packets, 1000000))
    shell.run(("editcap -F %s -r %s one.pcap 1-1"):format(run.own and run.own.format or "pcap", path))
    local function row(name, command)
      local check = same.file("out.pcap", "one.pcap")
      return { name = name, packets = 1, command = command, output = "out.pcap", check = check }
    end
    return {
      title = "the first packet of a file; what it costs to start and to end", base = "moontap -c 1",
      rows = {
        row("tcpdump -c 1", ("%s -c 1 -r %s -w out.pcap"):format(common.tcpdump(run), path)),
        ours(row("moontap -c 1", "moontap -q -c 1 -o out.pcap " .. path)),
        ours(row("moontap -c 1, hook", "moontap -q -c 1 -l bench/hook.lua -o out.pcap " .. path)),
      },
      targets = { target.within(20, "moontap -c 1"), target.within(20, "moontap -c 1, hook") },
    }
  end,
}

return M
