-- SPDX-License-Identifier: BSD-2-Clause
-- The traces: made by bench/generate.c, or the user's own merged into one by mergecap.
local shell = require("compare.shell")
local same = require("compare.same")

local M = {}

--- Make a trace DIR/1.pcap, DIR/2.pcap …
-- @tparam string dir a folder to make
-- @tparam integer packets
-- @tparam integer files
-- @tparam[opt] string more options of generate
function M.generate(dir, packets, files, more)
  shell.run(("mkdir -p %s && generate --packets %.0f --files %d %s --dir %s"):format(dir, packets, files, more or "",
    dir))
end

-- What capinfos says about a file.
local function facts(path)
  local out = shell.run("capinfos -tcFM " .. shell.quote(path))
  local kind = out:match("File type:%s*([^\n]*)") or ""
  return {
    packets = tonumber(out:match("Number of packets:%s*(%d+)")),
    plain = kind == "pcap",
    compressed = kind:find("compressed", 1, true) ~= nil,
    us = out:find("precision:%s*microseconds") ~= nil,
  }
end

--- Look at the user's files.
-- @tparam table paths absolute
-- @treturn table paths, packets, bytes (about, unpacked), format ("pcap" or "nsecpcap"), plain (all are
-- uncompressed pcap files of microseconds)
function M.look(paths)
  local own = { paths = paths, packets = 0, bytes = 0, format = "pcap", plain = true }
  for _, path in ipairs(paths) do
    local file = facts(path)
    own.packets = own.packets + file.packets
    own.bytes = own.bytes + shell.size(path) * (file.compressed and 5 or 1)
    own.plain = own.plain and file.plain
    own.format = file.us and own.format or "nsecpcap"
  end
  return own
end

--- Link the user's files as in/0001, in/0002 … and merge them into own.pcap; both in the benchmark's folder.
-- @tparam table own what look() returned; bytes becomes exact, captured (a packet's mean) is added
function M.merge(own)
  shell.run("mkdir in")
  for i, path in ipairs(own.paths) do
    shell.run(("ln -s %s in/%04d"):format(shell.quote(path), i))
  end
  shell.run(("mergecap -F %s -w own.pcap in/*"):format(own.format))
  local packets = same.count("own.pcap")
  if packets ~= own.packets then
    error({ message = ("mergecap made %d packets of %d"):format(packets, own.packets) })
  end
  own.bytes = shell.size("own.pcap")
  own.captured = packets > 0 and (own.bytes - 24) / packets - 16 or 0
end

return M
