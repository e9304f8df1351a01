-- SPDX-License-Identifier: BSD-2-Clause
--- BPF expressions as predicates: `moontap.filter`, and `filter=` and `keep=` of scripts.
--
-- libpcap compiles an expression for each link type when the first packet of it comes; the program is
-- translated to Lua (moontap.bpf) and loaded as a function, which LuaJIT compiles into the loop that
-- calls it.  The functions of further link types hang behind the first one as a chain, so that a
-- run with one link type pays for one comparison.
-- @module moontap.filter

local ffi = require "ffi"
local C = require "moontap.abi"
local bpf = require "moontap.bpf"
local packet = require "moontap.packet"
local raise = require("moontap.misuse").raise

local M = {}

local SHORT = 64 -- instructions

--- How many instructions of programs longer than 64 may still be translated; the rest runs in C.  Each way
-- that packets take through a program is compiled with all that is behind it in the loop, and LuaJIT allows
-- some 900 tests on one way.
M.left = 400

local MOST_TYPES = 8 -- in a chain; C finds the program for more
local ETHERNET = 1

-- Texts are loaded afresh for each filter, so that LuaJIT sees constants and gives none up for what
-- became of another.

-- The test of packets of one link type.
local PROGRAM = [[
local filter, C, NAMES = ...
local following
return function(q)
  if q.linktype ~= LINKTYPE then return (following(q)) end
  BODY
end, function(f) following = f end]]

-- The same for all further ones.
local IN_C = [[
local filter, C = ...
return function(q)
  return C.mt_filter_match(filter, q) == 1
end]]

-- What a script calls with p.
local CALL = [[
local state, istype, handle_t, gone, other = ...
local first
return function(_, p)
  local q
  if istype(handle_t, p) then
    if p._generation ~= state.generation then gone() end
    q = p._packet
  else
    q = other(p)
  end
  return (first(q))
end, function(f) first = f end]]

local function load_text(text, ...)
  return assert(loadstring(text, "=moontap.filter"))(...)
end

local function worth_it(n)
  if n > SHORT and n > M.left then
    return false
  end
  M.left = n > SHORT and M.left - n or M.left
  return true
end

local function body_for(object, linktype)
  local code = ffi.new "const struct mt_filter_insn *[1]"
  local n = C.mt_filter_program(object, linktype, code)
  if n == 0 then
    return "do return false end"
  end
  local text = worth_it(n) and bpf.translate(code[0], n)
  return text and "local d, n = q.data, tobit(q.caplen)\n" .. text or "return C.mt_filter_match(filter, q) == 1"
end

-- Begin a chain.  attach: called with the function that is to test packets (struct mt_packet *), which is one
-- that learns at first.  Returns a function that adds a link type and returns the test for it and all others.
local function begin_chain(object, attach)
  local n, add = 0, nil
  local function learn(q)
    return (add(q.linktype)(q))
  end
  function add(linktype)
    local words = { NAMES = bpf.NAMES, LINKTYPE = tostring(linktype), BODY = body_for(object, linktype) }
    local program, follow = load_text(PROGRAM:gsub("%u%u+", words), object, C, unpack(bpf.VALUES))
    n = n + 1
    follow(n < MOST_TYPES and learn or load_text(IN_C, object, C))
    attach(program)
    attach = follow
    return program
  end
  attach(learn)
  return add
end

-- An expression as libpcap has it for a link type; or nil and what is wrong with it.
local function open(text, linktype)
  if text:find("%z") then
    return nil, "a filter can not hold a zero byte"
  end
  local why = ffi.new "char[1024]"
  local object = C.mt_filter_open(text, linktype, why, ffi.sizeof(why))
  if object == nil then
    return nil, ffi.string(why)
  end
  return ffi.gc(object, C.mt_filter_free)
end

--- The test for `filter=` and `keep=`.
-- @tparam string text a BPF expression
-- @tparam integer linktype the one that most packets will have
-- @treturn ?function f(q): does `struct mt_packet *` q match?
-- @treturn ?string what is wrong with the expression
function M.test(text, linktype)
  local object, why = open(text, linktype)
  if not object then
    return nil, why
  end
  return begin_chain(object, function() end)(linktype)
end

-- --- for scripts ------------------------------------------------------------------------------

local function gone()
  raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
end

local function found(value)
  return value == nil and "nothing" or "a " .. type(value)
end

local packet_ptr = ffi.typeof "struct mt_packet *"

local function inside(p)
  return ffi.cast(packet_ptr, p._packet)
end

local function caplen(p)
  return p.caplen
end

-- The packet in what is no handle: a copy, or an edit.
local function other(p)
  local ok, q = false, nil
  if type(p) == "cdata" then
    ok, q = pcall(inside, p)
  end
  if not ok then
    raise("a filter is called with a packet, found %s", found(p))
  end
  if not pcall(caplen, p) then
    gone()
  end
  return q
end

-- Filters by their text, so that one that is made in a hook is made once.
local known = setmetatable({}, { __mode = "v" })

--- A BPF expression as a predicate: `local web = moontap.filter "tcp port 80"`, then `if web(p) then … end`.
-- It is called with a packet, a copy or an edit of one, and sees what is written: the frame with its VLAN
-- tags, as far as it was captured.  Where the expression has no meaning for the packet's link type
-- there is no match.  `tostring` gives the expression back.
-- @function moontap.filter
-- @tparam string expression as for tcpdump, see pcap-filter(7)
-- @treturn function a callable object: packet to boolean
-- @raise if the expression is wrong, with libpcap's words
function M.new(expression)
  local filter = known[expression]
  if filter then
    return filter
  end
  if type(expression) ~= "string" then
    raise("moontap.filter: expected a BPF expression, found %s", found(expression))
  end
  local object, why = open(expression, ETHERNET)
  if not object then
    raise("%s", why)
  end
  local call, attach = load_text(CALL, packet.state(), ffi.istype, packet.handle, gone, other)
  begin_chain(object, attach)
  filter = setmetatable({}, {
    __call = call,
    __tostring = function()
      return expression
    end,
  })
  known[expression] = filter
  return filter
end

return M
