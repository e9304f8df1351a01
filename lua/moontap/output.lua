-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.output`: outputs of a script's own, with their own format and rotation.
--
--    local dns = moontap.output { name = "dns", dir = "dns", rotate = { seconds = 3600 }, compress = "zst" }
--    local big = moontap.output { name = "big", path = "big.pcapng", snaplen = 128 }
--
--    return {
--      on_packet = function(p)
--        if p.sport == 53 or p.dport == 53 then
--          return dns
--        elseif p.wirelen > 1400 then
--          return big
--        end
--      end,
--    }
--
-- Says the same as `--out NAME=PATH` on the command line, and more.  A packet whose hook returns the name goes there
-- instead of to the default output.  Outputs are opened, and refused if they can not be, before the first packet.
-- @module moontap.output

local misuse = require "moontap.misuse"
local suggest = require "moontap.suggest"

local M = {}

local declare, outputs -- from the runtime; declare is nil once the scripts are loaded

-- Our words, and the options of the command line that mean the same: their setters check the values.
local WORDS = {
  format = "format", compress = "compress", level = "level", snaplen = "write-snaplen", pipe = "pipeout",
  template = "name", utc = "utc", keep_files = "keep-files", keep_bytes = "keep-bytes", sha256 = "sha256",
  on_close = "on-close", on_full = "on-full",
}
local ROTATE = { seconds = "rotate-seconds", bytes = "rotate-size", packets = "rotate-packets" }
local NEEDS_DIR = { template = true, keep_files = true, keep_bytes = true, sha256 = true, on_close = true }
local ALL = { name = true, path = true, dir = true, rotate = true }
for word in pairs(WORDS) do
  ALL[word] = true
end

-- A size as a number is bytes here, as everywhere in scripts; the command line takes a plain number for MiB.
local BYTES = { bytes = true, keep_bytes = true }

local function raise(text, ...)
  misuse.raise("moontap.output: " .. text, ...)
end

local function as_text(word, value)
  if BYTES[word] and type(value) == "number" then
    if value % 1024 ~= 0 then
      raise("%s: expected a multiple of 1024, or text such as \"10M\", found %s", word, tostring(value))
    end
    return ("%.0fK"):format(value / 1024)
  end
  return type(value) == "number" and ("%.14g"):format(value) or tostring(value)
end

local function add(list, option, word, value)
  if value == false then
    return
  end
  list[#list + 1], list[#list + 2] = option, as_text(word, value)
end

local function check_words(given, known, what)
  for word in pairs(given) do
    if not known[word] then
      raise("there is no '%s'%s%s (there are %s)", tostring(word), what, suggest.suffix(tostring(word), known),
        suggest.list(known))
    end
  end
end

--- Declare an output; at the top of a script, outside of hooks.
-- @function moontap.output
-- @tparam table t
--
-- - name: what hooks return
-- - path: the file, or dir: a folder for segments
-- - format: `"pcap"`, `"pcapng"`, `"erf"`; else the ending of path says it
-- - compress: `"gz"`, `"zst"`, `"lz4"`, `"xz"`, `"bz2"`; level: 0 (fast) to 9 (small)
-- - snaplen: bytes of a packet that are written
-- - rotate: `{ seconds =, bytes =, packets = }`, with dir; bytes as a multiple of 1024 or as `"10M"`
-- - template: names of segments, as `--name` has it; utc: true for UTC in names and boundaries
-- - keep_files, keep_bytes, sha256, on_close, on_full, pipe: as the options of these names (pipe: `--pipeout`);
--   on_full is that of the command line unless it is given
-- @treturn string the name
-- @raise if something is wrong with it, or in a hook
function M.new(t)
  if type(t) ~= "table" then
    raise("expected { name = …, path = … }, found a %s", type(t))
  end
  check_words(t, ALL, "")
  if type(t.name) ~= "string" or t.name == "" then
    raise("expected a name")
  end
  local place = t.path or t.dir
  if type(place) ~= "string" or place == "" or (t.path and t.dir) then
    raise("%s: expected a path (one file) or a dir (segments)", t.name)
  end
  if not declare then
    raise("%s: outputs are declared at the top of the script, not in hooks", t.name)
  end
  local rotate, options = t.rotate or {}, {}
  if type(rotate) ~= "table" then
    raise("%s: rotate: expected { seconds =, bytes =, packets = }, found a %s", t.name, type(rotate))
  end
  check_words(rotate, ROTATE, " in rotate")
  if t.path and next(rotate) then
    raise("%s: rotate needs a dir for the segments, found a path", t.name)
  end
  for word in pairs(NEEDS_DIR) do
    if t[word] and t.path then
      raise("%s: %s needs a dir for the segments, found a path", t.name, word)
    end
  end
  for word, option in pairs(WORDS) do
    if t[word] ~= nil then
      add(options, option, word, t[word])
    end
  end
  for word, option in pairs(ROTATE) do
    if rotate[word] ~= nil then
      add(options, option, word, rotate[word])
    end
  end
  local index, why = declare(t.name, place, t.dir ~= nil, options)
  if not index then
    raise("%s: %s", t.name, why)
  end
  outputs[t.name] = index
  return t.name
end

--- Declare an output that is split, for moontap.split.
-- @tparam table t name, dir, files, and format, compress, level, snaplen as above
-- @treturn integer the place of its verdict
-- @raise
-- @local
function M.declare_split(t)
  if not declare then
    misuse.raise("moontap.split: %s: outputs are declared at the top of the script, or in its outputs, not in hooks",
      t.name)
  end
  local options = {}
  for _, word in ipairs { "format", "compress", "level", "snaplen" } do
    if t[word] ~= nil then
      add(options, WORDS[word], word, t[word])
    end
  end
  local index, why = declare(t.name, t.dir, true, options, t.files, t.only == true)
  if not index then
    misuse.raise("moontap.split: %s: %s", t.name, why)
  end
  outputs[t.name] = index
  return index
end

--- Called by the runtime before scripts are loaded, and with nothing afterwards.
-- @tparam ?function c_declare
-- @tparam ?table names output names to places
-- @local
function M.attach(c_declare, names)
  declare, outputs = c_declare, names
end

return M
