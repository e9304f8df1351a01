-- SPDX-License-Identifier: BSD-2-Clause
-- A script for moontap: every filter expression on every packet, whole and cut short, by three machines: the
-- translation to Lua, the one in C, and libpcap's bpf_filter.  Prints each disagreement, and a summary.
-- Writes to the file `matches` which packets of each source match, as "source, expression, count, hash".

local ffi = require "ffi"
local C = require "moontap.abi"
local filter = require "moontap.filter"
local filters = dofile(os.getenv "FILTERS")

ffi.cdef "unsigned bpf_filter(const struct mt_filter_insn *, const uint8_t *, unsigned, unsigned);"

filter.left = math.huge -- all programs in Lua

local MOST_SHOWN = 20
local CUTS = { 0, 1, 13, 14, 17, 20, 22, 23, 24, 34, 36, 38, 42, 54, 58, 68, 100 } -- captured lengths to try

-- Per expression: a loop of its own, so that each is compiled as it would be in a script.
local LOOP = [[
local test, object, ptrs, code_of, disagree, cuts, C, bpf_filter = ...
return function(n, matches)
  local code = nil
  local linktype = -1
  for i = 0, n - 1 do
    local q = ptrs[i]
    if q.linktype ~= linktype then
      linktype = q.linktype
      code = code_of(object, linktype)
    end
    local whole = q.caplen
    for k = 0, #cuts do
      local len = k == 0 and whole or cuts[k]
      if len <= whole then
        q.caplen = len
        local lua = test(q)
        local c = C.mt_filter_match(object, q)
        local pcap = code and bpf_filter(code, q.data, q.wirelen, len) ~= 0 or false
        if lua ~= pcap or (c == 1) ~= pcap then
          disagree(q, lua, c, pcap)
        end
        if k == 0 then matches[i] = lua and 1 or 0 end
      end
    end
    q.caplen = whole
  end
end]]

local nothing = ffi.new "char[1024]"
local out = ffi.new "const struct mt_filter_insn *[1]"
local ptrs = ffi.new("struct mt_packet *[?]", C.MT_BATCH_PACKETS)
local matched = ffi.new("uint8_t[?]", C.MT_BATCH_PACKETS)
local counts, disagreements, in_lua, in_c, refused, evaluations = {}, 0, 0, 0, 0, 0
local longest, checks, bpf = 0, {}, require "moontap.bpf"

local function code_of(object, linktype)
  local n = C.mt_filter_program(object, linktype, out)
  longest = math.max(longest, n)
  if n == 0 then
    return nil
  end
  if bpf.translate(out[0], n) then
    in_lua = in_lua + 1
  else
    in_c = in_c + 1
  end
  return out[0]
end

local function add(text, wanted)
  local object = C.mt_filter_open(text, 1, nothing, 1024)
  if object == nil then
    refused = refused + 1
    if wanted then
      print(("refused: %s"):format(ffi.string(nothing)))
    end
    return
  end
  object = ffi.gc(object, C.mt_filter_free)
  local function disagree(q, lua, c, pcap)
    disagreements = disagreements + 1
    if disagreements <= MOST_SHOWN then
      print(("disagree: %s: link type %d, caplen %d: Lua %s, C %d, libpcap %s"):format(text, q.linktype, q.caplen,
        tostring(lua), c, tostring(pcap)))
    end
  end
  local known = {} -- programs by link type
  local function code(o, linktype)
    if known[linktype] == nil then
      known[linktype] = code_of(o, linktype) or false
    end
    return known[linktype] or nil
  end
  checks[#checks + 1] = { text = text, run = assert(loadstring(LOOP, "=" .. #checks))(filter.test(text, 1), object, ptrs, code,
    disagree, CUTS, C, ffi.C.bpf_filter) }
end

local names = {} -- of the sources of the packets of a batch

-- The hashes of this batch's matches are added to what each source has.
local function note(index, n)
  for i = 0, n - 1 do
    if matched[i] == 1 then
      local all = counts[names[i]]
      local entry = all[index]
      if not entry then
        entry = { 0, 0 }
        all[index] = entry
      end
      entry[1] = entry[1] + 1
      entry[2] = filters.hash(entry[2], ptrs[i].data, ptrs[i].caplen, ptrs[i].wirelen)
    end
  end
end

return {
  args = { seed = { default = 1 }, random = { default = 300 }, list = { default = true },
    matches = { default = "" } },
  on_start = function(run)
    for _, text in ipairs(run.args.list and filters.list or {}) do
      add(text, true)
    end
    for _, text in ipairs(filters.random(run.args.seed, run.args.random)) do
      add(text, false)
    end
  end,
  on_batch = function(batch)
    for i = 0, batch.n - 1 do
      ptrs[i], names[i] = batch[i]._packet, batch[i].source
      counts[names[i]] = counts[names[i]] or {}
    end
    for index, check in ipairs(checks) do
      check.run(batch.n, matched)
      note(index, batch.n)
    end
    evaluations = evaluations + batch.n * #checks
  end,
  on_stop = function(run)
    print(("%d expressions, %d refused, longest program %d, %d in Lua, %d in C, %d packets tried, %d disagreements"):format(
      #checks, refused, longest, in_lua, in_c, evaluations / #checks, disagreements))
    if run.args.matches ~= "" then
      local file = assert(io.open(run.args.matches, "w"))
      for source, all in pairs(counts) do
        for index, check in ipairs(checks) do
          local entry = all[index] or { 0, 0 }
          file:write(("%s\t%s\t%d\t%.0f\n"):format(source, check.text, entry[1], entry[2]))
        end
      end
      file:close()
    end
  end,
}
