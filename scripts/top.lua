-- SPDX-License-Identifier: BSD-2-Clause
-- Who or what there is most of: packets and bytes by any packet fields, the largest first.
--
--   moontap -l top,by=src,dport,n=2 trace.pcap
--   moontap -l top,by=dst/24 trace.pcap            prefixes of 24 bits (IPv6: 48; dst/24/56 says otherwise)
--
--   moontap -l top,by=src,interval=1m trace.pcap   a table for each minute
--
--   src          dport  packets      bytes   share
--   10.0.0.17    443      1,204    961,210   75.7%
--   10.0.0.17    53         173     15,022    1.2%
--   others (96)           1,961    292,811   23.1%
--   total                 3,338  1,269,043  100.0%
-- Up to a million different values are told apart (with interval: in each interval), and counts of these are exact;
-- what comes beyond counts in the total and in others only, and is said.
-- Example: -l top,by=src,dport,n=3 spec/fixtures/web.pcap
local ffi = require "ffi"
local format = require "moontap.format"
local group = require "moontap.group"

local MOST = 10000 -- intervals that --json remembers; the first ones leave
local UNITS = { [""] = 1, s = 1, m = 60, h = 3600, d = 86400 }

local args, fields, counted, add, every, every_ns, quiet
local interval -- in hand
local intervals, forgotten, any = {}, 0, false

local function seconds_of(text)
  local number, unit = text:match "^([%d.]+)([smhd]?)$"
  local n = tonumber(number)
  return n and n * UNITS[unit]
end

local function print_table(result)
  local headers, rows, first = {}, {}, fields[1]
  local function add_row(e)
    local row = {}
    for i, name in ipairs(fields) do
      headers[i], row[i] = name, e[name] or ""
    end
    row[#row + 1], row[#row + 2] = format.count(e.packets), format.count(e.bytes)
    row[#row + 1] = format.share(e[args.sort], result[args.sort])
    rows[#rows + 1] = row
  end
  for _, e in ipairs(result.top) do
    add_row(e)
  end
  if result.others.packets > 0 then
    result.others[first] = ("others (%s)"):format(format.count(result.others.entries))
    add_row(result.others)
  end
  result[first] = "total"
  add_row(result)
  for _, header in ipairs { ">packets", ">bytes", ">share" } do
    headers[#headers + 1] = header
  end
  print(format.table(headers, rows))
  if result.untold > 0 then
    print(("%s packets are of values beyond the first %s: none of them is in the lines above"):format(
      format.count(result.untold), format.count(group.MAX_ENTRIES)))
  end
end

local function end_interval()
  local result = counted.top(args.n, args.sort)
  result.time = interval * every
  if quiet then
    intervals[#intervals + 1] = result
    if #intervals > MOST then
      table.remove(intervals, 1)
      forgotten = forgotten + 1
    end
  else
    print(("%sfrom %s"):format(any and "\n" or "", format.time(result.time):sub(1, 23)))
    print_table(result)
  end
  any = true
  counted.clear()
end

-- A packet that comes late counts in the interval in hand.
local function go_to(now)
  if interval and now > interval then end_interval() end
  if not interval or now > interval then interval = now end
end

return {
  summary = "most packets or bytes by any fields: addresses, prefixes, ports, flows, VLANs",
  args = {
    by = { default = "src", help = "fields to count by, such as src, dport, flow, src/24 or src,dst,dport",
      check = function(by) return (select(2, group.parse(by))) end },
    n = { default = 10, help = "lines to print",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more, found " .. n end },
    interval = { default = "0", help = "a table for each: seconds, or such as 1m, 2h; 0: one for all",
      check = function(text)
        local n = seconds_of(text)
        return not (n and (n == 0 or (n >= 0.000001 and n <= 1e9))) and
          "expected seconds or a time such as 10s, 1m or 2h, found " .. text
      end },
    sort = { default = "bytes", help = "bytes (on the wire) or packets",
      check = function(key) return key ~= "bytes" and key ~= "packets" and "expected these, found " .. key end },
  },
  interval = function(given) return seconds_of(given.interval) > 0 and 1 or 1e9 end, -- 1e9: it does not come
  on_start = function(run)
    args, fields, quiet = run.args, group.parse(run.args.by), run.json
    every = seconds_of(args.interval)
    every_ns = every > 0 and ffi.cast("int64_t", every * 1e9 + 0.5)
    counted = group.new(fields)
    add = counted.add
  end,
  on_packet = function(p)
    if every_ns then
      local now = tonumber(p.ts_ns / every_ns)
      if now ~= interval then go_to(now) end
    end
    add(p)
  end,
  on_interval = function(now)
    if every_ns and interval and math.floor(now / every) > interval then
      end_interval()
      interval = nil
    end
  end,
  on_stop = function(run)
    if every_ns then
      if interval then end_interval() end
      if not quiet and not any then print "no packets" end
    elseif not run.json then
      print_table(counted.top(args.n, args.sort))
    end
  end,
  results = function()
    if not every_ns then return counted.top(args.n, args.sort) end
    return { interval = every, intervals = moontap.list(intervals), forgotten = forgotten }
  end,
}
