-- SPDX-License-Identifier: BSD-2-Clause
--- Moving through packets, looking at them, keeping some.
--
-- `p` is the current packet. Written alone it is shown as a tree; it has the fields and methods that packets have
-- in scripts, and `p:hexdump()` shows below its bytes which fields they are.
--
-- An argument that asks something of each packet is a BPF expression (`find "tcp port 443"`), a function of `p`, or,
-- when the call stands alone in its line, an expression in `p`: `find(p.dport == 53)`.
-- @module moontap.repl.walk

local ffi = require "ffi"
local C = require "moontap.abi"
local format = require "moontap.format"
local show = require "moontap.repl.show"

local M = {}
local commands = {}

local SHOWN = 20 -- lines of a list of packets
local FOUND = 1000 -- packets that find_all keeps
local KEPT = 100000 -- packets that are marked or found, at most

local stream, watch, stepper
local marks, found = {}, {}
local found_by -- what was looked for last

--- Tie the commands to a stream.
-- @tparam table context stream, watch, stepper
-- @local
function M.attach(context)
  stream, watch, stepper = context.stream, context.watch, context.stepper
end

local line_buffer = ffi.new "char[1024]"

--- A packet in one line, with its number.
-- @param p packet or copy of one
-- @treturn string
-- @local
function M.line(p)
  local n = C.mt_packet_line(p._packet, p._decoded, p.source, line_buffer, ffi.sizeof(line_buffer))
  return ("%-6.0f %s"):format(p.number, show.escape(ffi.string(line_buffer, n)))
end

local function fail(text, ...)
  error(text:format(...), 3)
end

-- --- conditions ---------------------------------------------------------------------------

local function compile_filter(text, level)
  local why = ffi.new "char[1024]"
  local linktype = stream.batch and stream.batch.packets[0].linktype or 1
  local filter = not text:find "%z" and C.mt_filter_open(text, linktype, why, ffi.sizeof(why)) or nil
  if filter == nil then
    error(ffi.string(why), level + 1)
  end
  return ffi.gc(filter, C.mt_filter_free)
end

--- What is asked of each packet: a filter of C, or a function.
-- @param what BPF expression, function, or callable object
-- @tparam string command for messages
-- @treturn ?cdata `struct mt_filter *`
-- @treturn ?function
-- @raise if it is none of these
-- @local
function M.condition(what, command)
  if type(what) == "string" then
    return compile_filter(what, 3)
  elseif type(what) == "function" or (type(what) == "table" and (getmetatable(what) or {}).__call) then
    return nil, what
  end
  error(("%s: expected a BPF expression or a function of a packet, found %s"):format(command,
    what == nil and "nothing" or type(what) == "boolean" and "true or false: write the test itself, as in "
    .. command .. "(p.dport == 53), or a function" or "a " .. type(what)), 3)
end

-- The next packet for which the condition holds.
local function search(filter, test)
  while true do
    local p = stream:forward(filter)
    if not p then
      return nil
    end
    if not test or test(p) then
      return p
    end
  end
end

-- Run something that moves; what raises leaves the position as it was before.
local function moving(f, ...)
  watch.restore = stream:at()
  local a, b = f(...)
  watch.restore = nil
  return a, b
end

-- --- lists of packets ---------------------------------------------------------------------

-- Lines that are added one by one, of which the last ones are shown.
local function new_list()
  return { n = 0, lines = {} }
end

local function add_line(list, p)
  list.n = list.n + 1
  list.lines[(list.n - 1) % SHOWN + 1] = M.line(p)
end

local function list_text(list, end_text)
  local lines = {}
  if list.n > SHOWN then
    lines[1] = ("… %s packets"):format(format.count(list.n - SHOWN))
  end
  for i = math.max(1, list.n - SHOWN + 1), list.n do
    lines[#lines + 1] = list.lines[(i - 1) % SHOWN + 1]
  end
  lines[#lines + 1] = end_text
  return table.concat(lines, "\n")
end

local function list_of(packets)
  local lines = {}
  for i = 1, math.min(#packets, SHOWN) do
    lines[i] = M.line(packets[i])
  end
  if #packets > SHOWN then
    lines[#lines + 1] = ("… %s more (%s in all)"):format(format.count(#packets - SHOWN), format.count(#packets))
  end
  return table.concat(lines, "\n")
end

local function packets_text(n)
  return n == 1 and "1 packet" or format.count(n) .. " packets"
end

local function count_of(n, name)
  if n == nil then
    return 1
  elseif type(n) ~= "number" or n < 1 or n ~= n then
    error(("%s: expected a number of packets, at least 1, found %s"):format(name, tostring(n)), 3)
  end
  return math.floor(n)
end

-- What is said where there is no result, so that `while next() do` ends.
local function say(text)
  io.stdout:write(text, "\n")
end

-- --- commands -------------------------------------------------------------------------------

local lua_next = next

--- Go to the next packet, or some further on, and show them; of more than 20, the last 20. On a live source it waits.
-- With a table it is Lua's own `next`.
-- @tparam[opt=1] integer n
-- @treturn ?packet the current one; nil: the stream has ended
function commands.next(n, ...)
  if type(n) == "table" then
    return lua_next(n, ...)
  end
  n = count_of(n, "next")
  local list, last = new_list(), nil
  while list.n < n do
    local at = stream:at()
    local p = stream:forward()
    if not p then
      stream:restore(at)
      local text = list_text(list, stream:at() == 0 and not stream.waited and "the stream has no packets"
        or stream:end_text())
      if list.n == 0 then
        return say(text)
      end
      return show.text(text, stream:current())
    end
    last = p
    add_line(list, p)
  end
  return show.text(list_text(list), last)
end

--- Go back to the packet before, or some before that. The newest packets are kept for it, some ten thousand; files are
-- read again from their start for what is older.
-- @tparam[opt=1] integer n
-- @treturn ?packet
function commands.back(n)
  n = count_of(n, "back")
  local p, why
  for _ = 1, n do
    p, why = stream:backward()
    if not p then
      break
    end
    watch:progress()
  end
  if why then
    local current = stream:current()
    return say(why .. (current and "\n" .. M.line(current) or ""))
  end
  return show.text(M.line(p), p)
end

local function keep_found(p)
  if #found < KEPT then
    found[#found + 1] = p:copy()
  end
end

--- Go to the next packet that matches, from the one behind the current on. It is added to what `save` writes, as long
-- as the same is looked for.
-- @tparam string|function what BPF expression, or function of a packet
-- @treturn ?packet nil: there is none; the position stays as far as it can
function commands.find(what)
  local filter, test = M.condition(what, "find")
  if what ~= found_by then
    found, found_by = {}, what
  end
  local at = stream:at()
  local p = moving(search, filter, test)
  if p then
    keep_found(p)
    return show.text(M.line(p), p)
  end
  return say(stream:restore(at) and "no packet behind this one matches" or
    "no packet matches up to the end of the stream")
end

--- Go through all packets behind the current one and keep those that match, for `save` and `found`. The position is
-- the last of them.
-- @tparam string|function what BPF expression, or function of a packet
-- @tparam[opt=1000] integer most to end with
-- @treturn {packet,...} copies of them
function commands.find_all(what, most)
  local filter, test = M.condition(what, "find_all")
  most = most and count_of(most, "find_all") or FOUND
  if most > KEPT then
    fail("find_all: at most %d packets can be kept", KEPT)
  end
  local at, last = stream:at(), nil
  local list = {}
  moving(function()
    while #list < most do
      local p = search(filter, test)
      if not p then
        break
      end
      last = p.number
      list[#list + 1] = p:copy()
    end
  end)
  stream:restore(last or at)
  found, found_by = list, what
  local more = #list == most and (", ended after %d"):format(most) or ""
  return show.list(#list == 0 and "no packet behind this one matches" or list_of(list) ..
    ("\n%s%s"):format(packets_text(#list), more), list)
end

--- What `find` and `find_all` have found.
-- @treturn {packet,...} copies
function commands.found()
  return show.list(#found == 0 and "nothing was looked for yet" or list_of(found), found)
end

local function to_time(text)
  local ns = ffi.new "int64_t[1]"
  local plus = text:match "^%+(%d+%.?%d*)s?$"
  if plus then
    if stream.state.first_ns < -0x7fffffffffffffffLL and not stream:forward() then
      return nil, "the stream has no packets"
    end
    return stream.state.first_ns + ffi.cast("int64_t", tonumber(plus) * 1e9)
  elseif C.mt_time_of(text, ns) == 0 then
    return ns[0]
  end
  local clock, rest = text:match "^(%d%d?:%d%d:?%d?%d?)(%.?%d*)$"
  local p = clock and (stream:current() or stream:forward())
  if p then -- the day of the packet in hand
    local day = p:time("local"):match "^%S+"
    if C.mt_time_of(("%s %s%s%s"):format(day, clock, #clock < 6 and ":00" or "", rest), ns) == 0 then
      return ns[0]
    end
  end
  return nil, ("goto: expected a packet's number or a time such as 10:00:05, 2026-11-22T10:00:05Z or +5s, found '%s'")
    :format(text)
end

--- Go to a packet by its number, or to the first one that is not earlier than a time. Files can be gone through as
-- often as wanted, other sources only as far back as packets are kept.
-- @tparam integer|string where number from 1 (0: before the first); or a time: `"10:00:05"` on the day of the current
-- packet, `"2026-11-22T10:00:05Z"`, `"+5s"` after the first packet
-- @treturn ?packet
-- @function goto
commands["goto"] = function(where)
  local at = stream:at()
  local p, why
  if type(where) == "number" and where >= 0 then
    p, why = moving(stream.to_number, stream, math.floor(where))
  elseif type(where) == "string" and where:find "^%d+$" then
    p, why = moving(stream.to_number, stream, math.floor(tonumber(where)))
  elseif type(where) == "string" then
    p, why = moving(function()
      local ns, wrong = to_time(where)
      if not ns then
        return nil, wrong
      end
      return stream:to_time(ns)
    end)
  else
    fail("goto: expected the number of a packet or a time, found %s", tostring(where))
  end
  if p then
    return show.text(M.line(p), p)
  end
  if where == 0 and not why then
    return say "before the first packet"
  end
  stream:restore(at)
  fail("%s", why)
end

--- The same under a name that is no word of Lua 5.2.
-- @function seek
-- @tparam integer|string where
-- @treturn ?packet
commands.seek = commands["goto"]

--- Where the stream is: the current packet, and which ones can be gone back to without reading again.
-- @treturn string
function commands.where()
  local first, last = stream:window()
  local p = stream:current()
  local once = stream:once()
  return ("%s\n%s%s"):format(p and M.line(p) or stream:at() == 0 and "before the first packet"
      or ("packet %.0f, which is not kept any more"):format(stream:at()),
    first and ("packets %.0f to %.0f are kept"):format(first, last) or "no packets are kept",
    once and ("; %s can only be read once"):format(once) or "")
end

--- Mark the current packet, or several, for `save`.
-- @tparam[opt] packet|{packet,...} what default: the current packet
function commands.mark(what)
  local p = what
  if what == nil or type(what) == "cdata" then
    p = what or stream:current()
    if not p then
      fail("mark: there is no packet yet")
    end
    p = { p }
  elseif show.is_text(what) then
    p = { what.value }
  elseif type(what) ~= "table" then
    fail("mark: expected a packet or a list of packets, found a %s", type(what))
  end
  for _, each in ipairs(p) do
    if #marks >= KEPT then
      fail("mark: at most %d packets can be marked", KEPT)
    end
    marks[#marks + 1] = each:copy()
  end
  return show.text(("%s marked"):format(packets_text(#marks)))
end

--- The marked packets.
-- @treturn {packet,...} copies
function commands.marks()
  return show.list(#marks == 0 and "no packet is marked: mark() marks the current one" or list_of(marks), marks)
end

--- Forget the marks.
function commands.unmark()
  marks = {}
end

local function chosen(what)
  if what == nil then
    return #marks > 0 and marks or found
  elseif what == "marks" then
    return marks
  elseif what == "found" then
    return found
  elseif show.is_text(what) then
    return { what.value }
  elseif type(what) == "cdata" then
    return { what }
  elseif type(what) == "table" then
    return what
  end
  return nil
end

local saved = {}

--- Write packets to a new file; the ending of its name says the format and the compression, as with -o.
-- @tparam string path
-- @tparam[opt] string|packet|{packet,...} what `"marks"`, `"found"`, packets, or a list of them; default: what is
-- marked, if nothing is, what was found
function commands.save(path, what)
  if type(path) ~= "string" or path == "" then
    fail("save: expected the name of a file, found %s", tostring(path))
  end
  local packets = chosen(what)
  if not packets then
    fail('save: expected "marks", "found", or packets, found %s', tostring(what))
  elseif #packets == 0 then
    fail("save: no packet is marked or found: mark() marks the current one")
  end
  local list = ffi.new("struct mt_packet[?]", #packets)
  for i, p in ipairs(packets) do
    list[i - 1] = p._packet[0]
  end
  local why = ffi.new "char[1024]"
  if C.mt_stepper_save(stepper, path, list, #packets, why, ffi.sizeof(why)) ~= 0 then
    fail("save: %s", ffi.string(why))
  end
  saved[#saved + 1] = { file = path, packets = #packets }
  return show.text(("%s written to %s"):format(packets_text(#packets), path))
end

--- The files that `save` has written: `file`, `packets`.
-- @treturn {table,...}
function commands.segments()
  local lines = {}
  for i, entry in ipairs(saved) do
    lines[i] = ("%-40s %s packets"):format(entry.file, format.count(entry.packets))
  end
  local text = #saved == 0 and "nothing was saved yet: a prompt writes with save()" or table.concat(lines, "\n")
  return show.list(text, saved)
end

M.commands = commands

return M
