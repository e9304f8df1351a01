-- SPDX-License-Identifier: BSD-2-Clause
--- `moontap.recent`: was the same packet seen a moment ago?
--
--    local recent = moontap.recent { window = 0.01 }
--
--    return {
--      on_packet = function(p)
--        if recent:add(p) then return false end -- two taps, or a mirror port, show it twice
--      end,
--    }
--
-- Two packets are the same if their captured bytes and their lengths on the wire are, but for what is to be ignored.
-- The window begins with the first of them: what comes again does not make it longer. Time is the stream's clock,
-- so the result is the same live and from a file.
--
-- Compared are hashes of 64 bits and lengths, not the bytes: of a million different packets of one length within
-- a window, two are taken for the same once in some 40 million runs.
--
-- **Memory** is outside of --script-memory: 28 to 56 bytes for each packet of the window, half as much again while it
-- grows, 37 KB at least. Where there are more than `limit`, the oldest are forgotten, and counted.
-- @module moontap.recent

local ffi = require "ffi"
local C = require "moontap.abi"
local format = require "moontap.format"
local packet = require "moontap.packet"
local sketch = require "moontap.sketch"
local table_key = require "moontap.table_key"

local M = {}

assert(C.mt_recent_add) -- a trace must find it looked up

local istype, handle_t, state = ffi.istype, packet.handle, sketch.state
local raise, found, stale = sketch.raise, sketch.found, sketch.stale
local class -- below

local methods = {}

local function add_copy(c, p)
  local copy = table_key.copied(p)
  if not copy then
    raise("recent:add: expected a packet, found %s", found(p))
  end
  return C.mt_recent_add(c, state, copy._packet, copy._decoded) == 1
end

--- A packet comes. It is in the window from now on.
-- @function add
-- @tparam packet p
-- @treturn boolean was the same seen within the window
function methods.add(r, p)
  if not istype(class, r) then sketch.not_self("recent", "add", r) end
  if not istype(handle_t, p) then
    return (add_copy(r._c, p))
  end
  if p._generation ~= state.generation then stale() end
  return C.mt_recent_add(r._c, state, p._packet, p._decoded) == 1
end

--- Packets that are in the window as of the last one.
-- @function count
-- @treturn integer
function methods.count(r)
  return C.mt_recent_count(r._c)
end

--- Packets that were forgotten before their window was over, because there were more than `limit`.
-- @function forgotten
-- @treturn integer
function methods.forgotten(r)
  return r._c.forgotten
end

--- Bytes of memory that it takes.
-- @function memory
-- @treturn integer
function methods.memory(r)
  return r._c.memory
end

class = sketch.class("recent", "struct mt_recent", methods, {
  __tostring = function(r)
    return format.count(C.mt_recent_count(r._c)) .. " recent packets"
  end,
})

local OPTIONS = { window = true, ignore = true, limit = true }
local IGNORE = { none = 0, link = 1, ttl = 2, ["link,ttl"] = 3, ["ttl,link"] = 3 }

--- Make one.
-- @function moontap.recent
-- @tparam table options
--
-- - window: seconds, 0.000001 to 1,000,000
-- - ignore: what may differ: `link`, everything before the IP header; `ttl`, TTL or hop limit and the IPv4 header
--   checksum; `link,ttl` (`none`). Packets without IP are compared whole.
-- - limit: packets that are remembered at most (1,000,000)
-- @treturn recent
-- @raise if an option makes no sense
function M.new(options)
  sketch.check_options("moontap.recent", options, OPTIONS)
  local window = sketch.number("moontap.recent: window", options.window, nil, 1e-6, 1e6)
  local limit = sketch.whole("moontap.recent: limit", options.limit, 1e6, 1, 2 ^ 30)
  local ignore = IGNORE[options.ignore or "none"]
  if not ignore then
    raise("moontap.recent: ignore: expected none, link, ttl or link,ttl, found %s", tostring(options.ignore))
  end
  local c = C.mt_recent_new(math.floor(window * 1e9 + 0.5), limit, ignore)
  return sketch.own("moontap.recent", class, c, C.mt_recent_free)
end

return M
