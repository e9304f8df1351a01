-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.split`: one output with a file for each value of a key.
--
--    local files = moontap.split { name = "clients", dir = "clients", files = 1000 }
--
--    return {
--      on_packet = function(p) return files:to(p, p.is_ip and tostring(p.src) or "none") end,
--    }
--
-- A file is made when its key comes for the first time. Its name is the key as text: `/` and blanks are `_`, bytes
-- other than letters, digits and `._-:,[]` are `%XX`, and so is a `.` or `-` that it begins with. A key of more
-- than 180
-- characters is cut, with a hash behind it. A name that is taken gets `-1`, `-2`…, so nothing is overwritten; the
-- manifest of the folder has the key of each file. Keys beyond `files` share the file `others`.
--
-- There may be many thousands of files: only one is open at a time. What goes to them is gathered in 32 MiB of memory
-- and appended. With a codec each time is a member of its own, which readers take for one stream. A file has its
-- final name at the end of the run; `moontap --recover DIR` makes what a killed run has left whole. There is no
-- rotation.
-- @module moontap.split

local ffi = require "ffi"
local C = require "moontap.abi"
local misuse = require "moontap.misuse"
local output = require "moontap.output"
local packet = require "moontap.packet"
local sketch = require "moontap.sketch"
local suggest = require "moontap.suggest"

local M = {}

local state = sketch.state
local cast, istype = ffi.cast, ffi.istype
local handle_t, PACKET = packet.handle, C.MT_PHASE_PACKET
local bytes_t = ffi.typeof "const uint8_t *"
local SIZE = ffi.sizeof "struct mt_packet"
local KNOWN = { name = true, dir = true, files = true, format = true, compress = true, level = true, snaplen = true,
  only = true }
local MOST = 1000000

local Split = {}
Split.__index = Split

--- Send a packet to the file of a number that `part` gave.
-- @tparam packet p
-- @tparam integer number 0: others
-- @treturn string what the hook has to return
function Split:send(p, number)
  local batch = state.batch
  local i = state.index
  if state.phase ~= PACKET or not istype(handle_t, p) then -- else it is the packet in hand, and need not be read
    i = (cast(bytes_t, p._packet) - cast(bytes_t, batch.packets)) / SIZE
  end
  if i < 0 or i >= batch.n then
    misuse.raise "moontap.split: a copy of a packet can not be sent"
  end
  batch.part[i] = number
  return self.name
end

--- A new file.
-- @tparam string key its text
-- @treturn integer a number for `send`; 0 if there are as many files as there may be
function Split:part(key)
  if self.full then
    return 0
  end
  local number = C.mt_split_add(state, self.verdict, key, #key)
  if number < 0 then
    misuse.raise "moontap.split: files can only be made while moontap runs, and memory lasts"
  end
  self.full = number == 0
  return number
end

--- Send a packet to the file of a key.
-- @tparam packet p
-- @tparam string|number|boolean|moontap.Address key
-- @treturn string what the hook has to return
function Split:to(p, key)
  if type(key) == "cdata" then
    key = tostring(key)
  end
  local number = self.known[key]
  if not number then
    number = self:part(tostring(key))
    if number > 0 then
      self.known[key] = number
    end
  end
  return self:send(p, number)
end

--- What there is, in the order in which the keys came, the others first if there are any.
-- @treturn {table,...} key, file, packets, bytes (on the wire); others is true for the file of the others
function Split:files()
  local list, view, number = {}, ffi.new "struct mt_split_view", 0
  while C.mt_split_look(state, self.verdict, number, view) == 1 do
    if view.packets > 0 then
      list[#list + 1] = { key = ffi.string(view.key), file = view.file ~= nil and ffi.string(view.file) or nil,
        packets = tonumber(view.packets), bytes = tonumber(view.wire_bytes), others = number == 0 or nil }
    end
    number = number + 1
  end
  return list
end

--- Declare a split output: at the top of a script, or in its `outputs`.
-- @function moontap.split
-- @tparam table t
--
-- - name: for messages and counts
-- - dir: the folder of the files
-- - files: the most of them (1000)
-- - only: true if all packets go there: -o and -B are refused then, as they would get none
-- - format, compress, level, snaplen: as in moontap.output
-- @treturn table with the methods of this page
-- @raise if something is wrong with it, or in a hook
function M.new(t)
  if type(t) ~= "table" then
    misuse.raise("moontap.split: expected { name = …, dir = … }, found a %s", type(t))
  end
  for word in pairs(t) do
    if not KNOWN[word] then
      misuse.raise("moontap.split: there is no '%s'%s (there are %s)", tostring(word),
        suggest.suffix(tostring(word), KNOWN), suggest.list(KNOWN))
    end
  end
  for _, word in ipairs { "name", "dir" } do
    if type(t[word]) ~= "string" or t[word] == "" then
      misuse.raise("moontap.split: expected a %s", word)
    end
  end
  local files = t.files or 1000
  if type(files) ~= "number" or not (files >= 1 and files <= MOST and files % 1 == 0) then
    misuse.raise("moontap.split: files: expected 1 to %d, found %s", MOST, tostring(files))
  end
  local verdict = output.declare_split { name = t.name, dir = t.dir, files = files, format = t.format,
    only = t.only, compress = t.compress, level = t.level, snaplen = t.snaplen }
  return setmetatable({ name = t.name, verdict = verdict, known = {}, full = false }, Split)
end

return M
