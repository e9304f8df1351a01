-- SPDX-License-Identifier: BSD-2-Clause
--- Numbers, times and tables as people read them: what recipes print with.
--
-- Called for results, a few hundred times a run; nothing here belongs into a packet hook.
-- @module moontap.format

local ffi = require "ffi"
local C = require "moontap.abi"
local raise = require("moontap.misuse").raise

local list = require "moontap.list"

local M = {}

local floor = math.floor

-- libpcap's names of the link types people meet, in words.
local LINKTYPES = {
  EN10MB = "Ethernet", RAW = "Raw IP", IPV4 = "Raw IPv4", IPV6 = "Raw IPv6", LINUX_SLL = "Linux cooked",
  LINUX_SLL2 = "Linux cooked v2", NULL = "BSD loopback", LOOP = "OpenBSD loopback", PPP = "PPP", PPP_SERIAL = "PPP",
  C_HDLC = "Cisco HDLC", IEEE802_11 = "802.11", IEEE802_11_RADIO = "802.11 with radiotap", ERF = "ERF",
}

--- Link types in words, where there are some.
-- @tparam {string,...} names as libpcap calls them: `EN10MB`
-- @treturn string `Ethernet, Raw IP`
function M.linktypes(names)
  local words = {}
  for i, name in ipairs(names or {}) do
    words[i] = LINKTYPES[name] or name
  end
  return table.concat(words, ", ")
end

--- A whole number with thousands separators.
-- @tparam number n
-- @treturn string `12,345,678`
function M.count(n)
  local sign, digits = ("%.0f"):format(tonumber(n)):match "^(-?)(.*)$"
  local grouped = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return sign .. (grouped:gsub("^,", ""))
end

local function scaled(value, base, units)
  local i = 1
  while value >= base - base / 20000 and i < #units do
    value = value / base
    i = i + 1
  end
  return ("%.1f %s"):format(value, units[i])
end

--- A number of bytes.
-- @tparam number n
-- @treturn string `812 B`, `1.5 GiB`
function M.bytes(n)
  n = tonumber(n)
  if n < 1024 then
    return ("%.0f B"):format(n)
  end
  return scaled(n / 1024, 1024, { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" })
end

--- Bits per second.
-- @tparam number n
-- @treturn string `640.1 Mbit/s`
function M.bitrate(n)
  return scaled(n, 1000, { "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s" })
end

--- A span of time.
-- @tparam number seconds
-- @treturn string `12 µs`, `350.2 ms`, `12.3 s`, `5 m 03 s`, `2 h 05 m`, `3 d 04 h`
function M.duration(seconds)
  if seconds < 0 then
    return "-" .. M.duration(-seconds)
  elseif seconds < 0.0009995 then
    return ("%.0f µs"):format(seconds * 1e6)
  elseif seconds < 0.99995 then
    return ("%.1f ms"):format(seconds * 1e3)
  elseif seconds < 59.95 then
    return ("%.1f s"):format(seconds)
  end
  local whole = floor(seconds + 0.5)
  if whole < 3600 then
    return ("%d m %02d s"):format(floor(whole / 60), whole % 60)
  elseif whole < 86400 then
    return ("%d h %02d m"):format(floor(whole / 3600), floor(whole % 3600 / 60))
  end
  return ("%d d %02d h"):format(floor(whole / 86400), floor(whole % 86400 / 3600))
end

-- --- points in time ---------------------------------------------------------------------------

local int64_t, uint64_t = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local MOST_SECONDS = 2 ^ 63 / 1e9
local zone_text = ffi.new("char[?]", C.MT_ZONE_TEXT)

local function no_time(time)
  raise("expected a time: p.ts_ns, or seconds since 1970 such as p.ts, found %s",
    time == nil and "nothing" or type(time) == "string" and "'" .. time .. "'" or tostring(time))
end

-- Whole seconds since the epoch and the decimals of the next, for the three forms of a time.

local function split_text(text)
  local sign, whole, decimals = text:match "^(-?)(%d+)%.(%d+)$"
  local seconds = tonumber(whole)
  if not seconds or seconds > 2 ^ 33.1 then -- 2^63 ns
    no_time(text)
  end
  if sign == "-" then -- count on from the second before
    local part = tonumber(decimals)
    seconds = -seconds - (part > 0 and 1 or 0)
    decimals = part > 0 and ("%0" .. #decimals .. ".0f"):format(10 ^ #decimals - part) or decimals
  end
  return seconds, decimals
end

local function split_number(number)
  if not (number >= -MOST_SECONDS and number <= MOST_SECONDS) then
    no_time(number)
  end
  local seconds = floor(number)
  local us = floor((number - seconds) * 1000000 + 0.5)
  if us == 1000000 then
    seconds, us = seconds + 1, 0
  end
  return seconds, ("%06d"):format(us)
end

local function split_int64(time)
  if ffi.istype(uint64_t, time) then
    time = ffi.cast(int64_t, time)
  elseif not ffi.istype(int64_t, time) then
    no_time(time)
  end
  local seconds, part = tonumber(time / 1000000000LL), tonumber(time % 1000000000LL)
  if part < 0 then
    seconds, part = seconds - 1, part + 1000000000
  end
  return seconds, ("%09d"):format(part)
end

local SPLIT = { string = split_text, number = split_number, cdata = split_int64 }

-- How far a zone is ahead of UTC in seconds, and its name.
local function offset_of(zone, seconds)
  if zone == nil or zone == "utc" then
    return 0, "UTC"
  elseif zone ~= "local" then
    raise("expected the zone \"utc\" or \"local\", found '%s'", tostring(zone))
  end
  local offset = C.mt_local_offset(seconds, zone_text)
  return offset, ffi.string(zone_text)
end

local function split(time)
  return (SPLIT[type(time)] or no_time)(time)
end

--- A point in time.
-- @param time nanoseconds since 1970 as an int64 (`p.ts_ns`; printed with 9 decimals), seconds since 1970 as a number
--   (`p.ts`, `now` of on_interval; a double is exact to about 0.2 µs, so 6 decimals), or a string `SECONDS.NNNNNNNNN`
-- @tparam[opt="utc"] string zone `"utc"`, or `"local"` for the time zone of the machine (`TZ`) and its name
-- @treturn string `2026-11-22 10:00:00.123456789 UTC`, `2026-11-22 11:00:00.123456789 CET`
-- @raise if it is no time, or one that does not fit an int64 (the years 1677 to 2262)
function M.time(time, zone)
  local seconds, decimals = split(time)
  local offset, name = offset_of(zone, seconds)
  return ("%s.%s %s"):format(os.date("!%Y-%m-%d %H:%M:%S", seconds + offset), decimals, name)
end

--- A point in time as RFC 3339, which is ISO 8601 in one form, for other programs.
--
-- An offset has hours and minutes only: local mean time of the nineteenth century is rounded to a minute.
-- @param time as with moontap.format.time
-- @tparam[opt="utc"] string zone `"utc"` or `"local"`
-- @treturn string `2026-11-22T10:00:00.123456789Z`, `2026-11-22T11:00:00.123456789+01:00`
-- @raise if it is no time
function M.rfc3339(time, zone)
  local seconds, decimals = split(time)
  local minutes, suffix = floor(offset_of(zone, seconds) / 60 + 0.5), "Z"
  if zone == "local" then
    local size = math.abs(minutes)
    suffix = ("%s%02d:%02d"):format(minutes < 0 and "-" or "+", floor(size / 60), size % 60)
  end
  return ("%s.%s%s"):format(os.date("!%Y-%m-%dT%H:%M:%S", seconds + 60 * minutes), decimals, suffix)
end

--- A part of a whole.
-- @tparam number part
-- @tparam number whole 0 gives `-`
-- @treturn string `12.3%`
function M.share(part, whole)
  return whole > 0 and ("%.1f%%"):format(100 * part / whole) or "-"
end

local PROTOCOLS = {
  [1] = "ICMP", [2] = "IGMP", [4] = "IPv4 tunnel", [6] = "TCP", [17] = "UDP", [33] = "DCCP", [41] = "IPv6 tunnel",
  [47] = "GRE", [50] = "ESP", [51] = "AH", [58] = "ICMPv6", [89] = "OSPF", [103] = "PIM", [112] = "VRRP",
  [132] = "SCTP", [136] = "UDP-Lite",
}

--- Name of an IP protocol.
-- @tparam integer number
-- @treturn string `TCP`, or `proto 99`
function M.protocol(number)
  return PROTOCOLS[number] or ("proto %d"):format(number)
end

local ETHERTYPES = {
  [0x0800] = "IPv4", [0x0806] = "ARP", [0x86dd] = "IPv6", [0x8847] = "MPLS", [0x8848] = "MPLS", [0x8863] = "PPPoE",
  [0x8864] = "PPPoE", [0x888e] = "EAPOL", [0x88cc] = "LLDP", [0x8809] = "LACP",
}

--- Name of an Ethernet type.
-- @tparam integer number
-- @treturn string `ARP`, or `0x88f7`; `other` for 0
function M.ethertype(number)
  return number == 0 and "other" or ETHERTYPES[number] or ("0x%04x"):format(number)
end

local function width(text)
  return select(2, text:gsub("[^\128-\191]", "")) -- characters, not bytes, of UTF-8
end

--- Rows as aligned columns.
-- @tparam {string,...} headers one a column; one that begins with `>` is aligned to the right
-- @tparam {{string,...},...} rows cells, any values that tostring takes
-- @treturn string lines, without a newline after the last
function M.table(headers, rows)
  local lines, names, widths, right = {}, {}, {}, {}
  for i, header in ipairs(headers) do
    right[i] = header:sub(1, 1) == ">"
    names[i] = right[i] and header:sub(2) or header
    widths[i] = width(names[i])
  end
  for _, row in ipairs(rows) do
    for i = 1, #headers do
      widths[i] = math.max(widths[i], width(tostring(row[i])))
    end
  end
  local function add(row)
    local cells = {}
    for i = 1, #headers do
      local text = tostring(row[i])
      local pad = (" "):rep(widths[i] - width(text))
      cells[i] = right[i] and pad .. text or text .. pad
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  add(names)
  for _, row in ipairs(rows) do
    add(row)
  end
  return table.concat(lines, "\n")
end

--- Counts as a list, the largest first; of equal ones by name.
-- @tparam table counts `{ [name] = count }`, or what the `list` of a topk gave
-- @tparam[opt] integer n only so many
-- @treturn {{name=,count=,error=},...} a moontap.list; error as topk has it, absent where the count is exact
function M.counts(counts, n)
  local rows = list.new {}
  if counts[1] and type(counts[1]) == "table" then
    for i, e in ipairs(counts) do
      rows[i] = { name = tostring(e.key), count = e.count, error = e.error > 0 and e.error or nil }
    end
  else
    for name, count in pairs(counts) do
      rows[#rows + 1] = { name = tostring(name), count = count }
    end
    table.sort(rows, function(a, b) return a.count > b.count or a.count == b.count and a.name < b.name end)
  end
  for i = #rows, (n or #rows) + 1, -1 do
    rows[i] = nil
  end
  return rows
end

--- A table of the largest counts with their share of a total.
-- @tparam string title over the names
-- @tparam table counts as with moontap.format.counts
-- @tparam number total what 100 % is
-- @tparam[opt] integer n only so many
-- @treturn ?string lines; nil: there is nothing to show
function M.ranking(title, counts, total, n)
  local headers, rows = { title, ">count", ">share" }, {}
  for i, e in ipairs(M.counts(counts, n)) do
    rows[i] = { e.name, M.count(e.count), M.share(e.count, total) }
    if e.error then
      headers[4] = ">error"
      rows[i][4] = M.count(e.error)
    end
  end
  for _, row in ipairs(rows) do
    row[4] = headers[4] and (row[4] or "0") or nil
  end
  return #rows > 0 and M.table(headers, rows) or nil
end

return M
