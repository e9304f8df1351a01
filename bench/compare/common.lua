-- SPDX-License-Identifier: BSD-2-Clause
-- What several groups need.
local inputs = require("compare.inputs")
local shell = require("compare.shell")

local M = {}

--- 1234567 as "1,234,567".
function M.thousands(n)
  local text = ("%.0f"):format(n)
  local groups = (text:reverse():gsub("(%d%d%d)", "%1,"):reverse())
  return (groups:gsub("^,", ""))
end

--- The title of a group: how much there is, then the text.
function M.describe(packets, path, text)
  return ("%s packets, %.0f MB; %s"):format(M.thousands(packets), shell.size(path) / 1e6, text)
end

--- tcpdump, told to keep nanoseconds where there are some.
function M.tcpdump(run)
  return run.own and run.own.format == "nsecpcap" and "tcpdump --nano" or "tcpdump"
end

--- Marks a row as one of moontap.
function M.ours(row)
  row.ours = true
  return row
end

-- The limit: the bytes of a file read and written, 256 KiB at a time.  (cat would let the kernel copy.)
function M.dd_to_file(path, packets)
  return {
    name = "dd", packets = packets, command = ("dd bs=256K if=%s of=copy.pcap status=none"):format(path),
    output = "copy.pcap", note = "a copy of the bytes: the limit",
  }
end

--- The limit where nothing is written.
function M.dd_to_nowhere(path, packets)
  return {
    name = "dd", packets = packets, command = ("dd bs=256K if=%s of=/dev/null status=none"):format(path),
    note = "the bytes read: the limit",
  }
end

--- One trace in one file: generated, or the user's.
-- @tparam table run
-- @tparam integer packets how many to generate
-- @treturn string its path
-- @treturn integer packets
function M.single(run, packets)
  if run.own then
    return "own.pcap", run.own.packets
  end
  inputs.generate("in", packets, 1)
  return "in/1.pcap", packets
end

return M
