-- SPDX-License-Identifier: BSD-2-Clause
-- Whether a program produced the packets it should have: capinfos counts them, cmp compares the bytes
-- behind the file header (24 bytes, which may name another snap length).
--
-- Each function makes a check: it gets the run and returns nil or what is wrong.
local shell = require("compare.shell")

local M = {}

--- How many packets a file has, by capinfos.
function M.count(path)
  local out = shell.run("capinfos -M -c " .. shell.quote(path))
  return tonumber(out:match("Number of packets:%s*(%d+)"))
end

local function digest(path)
  local packets, backwards, hash = shell.run("digest " .. shell.quote(path)):match("(%d+) (%d+) (%x+)")
  return tonumber(packets), tonumber(backwards), hash
end

-- The same packets, in an order that is as good: traces of one's own may have equal time stamps, which
-- mergecap and moontap order differently.
local function as_good(path, reference)
  local packets, backwards, hash = digest(path)
  local want, want_backwards, want_hash = digest(reference)
  if packets ~= want or hash ~= want_hash then
    return "other packets than " .. reference
  end
  if backwards > 0 and want_backwards == 0 then
    return ("%d packets are out of order"):format(backwards)
  end
end

--- The file has exactly the packets of another.
-- @tparam string path
-- @tparam string reference
-- @tparam[opt] boolean ties packets of equal time may stand in another order
function M.file(path, reference, ties)
  return function()
    local found, wanted = M.count(path), M.count(reference)
    if found ~= wanted then
      return ("%d packets instead of %d"):format(found, wanted)
    end
    local equal = ("cmp -i 24 %s %s"):format(path, reference)
    local _, difference = shell.try(equal .. " 1>&2")
    if difference and ties then
      return as_good(path, reference)
    end
    return difference and difference:gsub("\n$", "")
  end
end

--- What a command prints has the bytes of a file, behind the header of either.
-- @tparam string command
-- @tparam string reference
function M.stream(command, reference)
  return function()
    local _, difference = shell.try(("%s | cmp -i 24 - %s 1>&2"):format(command, reference))
    return difference and difference:gsub("\n$", "")
  end
end

--- The program printed the number of packets, "N packets …".
-- @tparam integer packets
-- @tparam[opt] function further check
function M.printed(packets, further)
  return function(run)
    local found = run.out:match("(%d+) packets")
    if tonumber(found) ~= packets then
      return ("counted %s packets instead of %d"):format(found or "no", packets)
    end
    return further and further(run)
  end
end

--- The program printed the same line as a command does.
function M.prints_what(command)
  return function(run)
    local wanted = shell.run(command)
    local found = run.out:gsub("\n$", "")
    if found ~= wanted then
      return ('printed "%s", but %s "%s"'):format(found, command, wanted)
    end
  end
end

return M
