-- SPDX-License-Identifier: BSD-2-Clause
-- Captures of other projects, where they are at hand: MANIFEST.tsv says what an independent
-- parser and capinfos found in each, INDEX.tsv how many packets stand before a fault.
local t = require("support.moontap")

local SECONDS, KILOBYTES = 2, 200 * 1024

local dir, why = t.corpus()
if not dir then
  describe("corpus", function()
    it("of other projects' captures", function() pending(why) end)
  end)
  return
end

-- "2018-04-09T02:45:53.739049000Z" as "1523241953.739049000"; nil beyond what a time can be.
local function epoch(utc)
  local year, month, day, hour, min, sec, frac = utc:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)%.(%d+)Z$")
  if not year then
    return nil
  end
  -- specs run with TZ=UTC
  return ("%d.%s"):format(os.time { year = year, month = month, day = day, hour = hour, min = min, sec = sec, isdst = false }, frac)
end

-- Runs moontap over a file within the time and memory that any file may take.
local function read(path)
  local seconds = t.asan and SECONDS * 5 or SECONDS
  local r = t.sh(("/usr/bin/time -f 'kilobytes %%M' timeout -k 1 %d moontap --json -o out.pcapng %s"):format(seconds, t.quote(path)))
  assert.is_true(r.code ~= 124 and r.code < 128, ("exit status %d: %s"):format(r.code, r.err))
  local kilobytes = tonumber(r.err:match("kilobytes (%d+)"))
  if not t.asan then
    assert.is_true(kilobytes < KILOBYTES, kilobytes .. " kB")
  end
  r.err = r.err:gsub("Command exited with non%-zero status %d+\n", ""):gsub("kilobytes %d+\n", "")
  r.json = r.out ~= "" and t.balances(require("cjson").decode(r.out)) or nil
  return r
end

local index = {}
for _, row in ipairs(t.tsv(dir .. "/hostile/derived/INDEX.tsv")) do
  index["hostile/derived/" .. row.file] = row
end

local function expected_packets(row)
  local n = index[row.path] and tonumber(index[row.path].valid_packets_before_fault)
  return n and n >= 0 and n or tonumber(row.packets)
end

local function is_broken(row)
  return row.special:find("FRAMING-BROKEN", 1, true) ~= nil
end

local function is_valid(row)
  local entry = index[row.path]
  return not is_broken(row) and (not entry or entry.what:find("^VALID") ~= nil)
end

local function check_times(row, json)
  local first, last = epoch(row.first_timestamp_utc), epoch(row.last_timestamp_utc)
  if row.special:find("has-SPB", 1, true) then
    return -- simple packets have no time, and tools differ in what they make of that
  end
  if first then
    assert.equal(first, json.first_ts)
  end
  if last then
    assert.equal(last, json.last_ts)
  elseif row.last_timestamp_utc ~= "" then
    assert.is_true(json.bad_time > 0, "a time beyond int64 nanoseconds is counted")
  end
end

describe("corpus", function()
  before_each(t.fresh)
  after_each(t.clean)

  for _, row in ipairs(t.tsv(dir .. "/MANIFEST.tsv")) do
    local path = dir .. "/" .. row.path

    if row.path:find("^hostile/") then
      it(row.path, function()
        local r = read(path)
        if is_broken(row) then
          assert.is_true(r.code == 1 or r.code == 2, ("exit status %d: %s"):format(r.code, r.err))
          assert.is_truthy(r.err:find(row.path:match("[^/]*$"), 1, true), "the message names the file: " .. r.err)
        elseif is_valid(row) and row.byte_format ~= "?" then
          assert.equal(0, r.code, r.err)
        end
        if r.code ~= 1 then
          assert.equal(expected_packets(row), r.json.packets, r.err)
          assert.equal(r.json.kept, t.count("out.pcapng"))
        else
          assert.equal(0, expected_packets(row), r.err)
        end
      end)
    else
      it(row.path, function()
        local r = read(path)
        if is_broken(row) then
          assert.is_true(r.code == 1 or r.code == 2, ("exit status %d: %s"):format(r.code, r.err))
          return
        end
        assert.equal(0, r.code, r.err)
        for line in r.err:gmatch("[^\n]+") do
          assert.is_truthy(line:find("^moontap: warning: "), line)
        end
        assert.equal(tonumber(row.packets), r.json.packets)
        assert.equal(r.json.packets, r.json.kept)
        check_times(row, r.json)
        if row.capinfos_rc == "0" and tonumber(row.packets) > 0 then
          local info = t.capinfos("out.pcapng")
          assert.equal(tonumber(row.capinfos_packets), info.packets)
          assert.equal(row.capinfos_encap, info.encap)
        end
      end)
    end
  end
end)
