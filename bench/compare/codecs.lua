-- SPDX-License-Identifier: BSD-2-Clause
-- The groups about compressed files, see groups.lua: unpack and pack.
local common = require("compare.common")
local same = require("compare.same")
local target = require("compare.target")
local shell = require("compare.shell")

local ours = common.ours

local M = {}

local function half(run)
  return math.ceil(run.packets / 2)
end

local WINDOWS = "codec windows"

M.unpack = {
  name = "unpack",
  needs = function(run)
    return run.own and run.own.bytes * 2 or half(run) * 80 * 2.6
  end,
  make = function(run)
    local path, packets = common.single(run, half(run))
    -- From standard input: gzip takes no symbolic link, which a trace of one's own is.
    shell.run(("gzip -1 -c <%s >packed.pcap.gz && zstd -1 -q -c <%s >packed.pcap.zst"):format(path, path))
    local function row(name, tool, command, beside)
      return {
        name = name, tool = tool, packets = packets, command = command .. " >/dev/null", beside = beside,
        check = same.stream(command, path),
      }
    end
    local function moontap(ending)
      local packed = ours(row("moontap, " .. ending, "moontap", ("moontap -q -o - packed.pcap.%s"):format(ending)))
      packed.aside = WINDOWS
      return packed
    end
    local statistics = ours {
      name = "moontap, gz, hook", packets = packets, command = "moontap -q -l bench/ports.lua packed.pcap.gz",
      check = same.printed(packets), aside = WINDOWS, note = "no output, counts by port",
    }
    return {
      title = common.describe(packets, path, "read from files that gzip -1 and zstd -1 made"),
      rows = {
        common.dd_to_nowhere(path, packets),
        row("gzip -dc", "gzip", "gzip -dc packed.pcap.gz"),
        row("igzip -dc", "igzip", "igzip -dc packed.pcap.gz"),
        moontap("gz"),
        statistics,
        row("zstd -dc", "zstd", "zstd -dc -q packed.pcap.zst", "moontap, zst"),
        moontap("zst"),
      },
      base = "moontap, gz",
      targets = {
        target.as_fast(1, "moontap, gz", "igzip -dc"), target.as_fast(1, "moontap, gz, hook", "igzip -dc"),
        target.as_fast(1, "moontap, zst", "zstd -dc"),
      },
    }
  end,
}

M.pack = {
  name = "pack",
  needs = function(run)
    return run.own and run.own.bytes or half(run) * 80 * 1.6
  end,
  make = function(run)
    local path, packets = common.single(run, half(run))
    local function row(name, ending, command, beside)
      local output = "out.pcap." .. ending
      local unpack = ending == "gz" and "gzip -dc" or "zstd -dc -q"
      return {
        name = name, packets = packets, output = output, beside = beside,
        command = command:gsub("tcpdump", common.tcpdump(run)):gsub("OUT", output):gsub("IN", path),
        check = same.stream(unpack .. " " .. output, path),
      }
    end
    local function moontap(name, ending, command, beside)
      local packed = ours(row(name, ending, command, beside))
      packed.aside = WINDOWS
      return packed
    end
    local rows = {
      common.dd_to_file(path, packets),
      row("tcpdump | gzip -1", "gz", "tcpdump -r IN -w - | gzip -1 >OUT"),
      moontap("moontap -Z gz", "gz", "moontap -q -Z gz -o OUT IN"),
      moontap("moontap -Z gz, hook", "gz", "moontap -q -Z gz -l bench/hook.lua -o OUT IN"),
      row("tcpdump | zstd -1", "zst", "tcpdump -r IN -w - | zstd -1 -q >OUT", "moontap -Z zst"),
      moontap("moontap | zstd -1", "zst", "moontap -q -o - IN | zstd -1 -q >OUT", "moontap -Z zst"),
      moontap("moontap -Z zst", "zst", "moontap -q -Z zst -o OUT IN"),
    }
    return {
      title = common.describe(packets, path, "one file written compressed"), rows = rows, base = "moontap -Z gz",
      sizes = true,
      targets = {
        target.as_fast(5, "moontap -Z gz", "tcpdump | gzip -1"),
        target.as_fast(1, "moontap -Z zst", "tcpdump | zstd -1"),
        target.as_fast(1, "moontap -Z zst", "moontap | zstd -1"),
      },
    }
  end,
}

return M
