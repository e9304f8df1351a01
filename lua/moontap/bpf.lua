-- SPDX-License-Identifier: BSD-2-Clause
--- BPF programs as Lua source text, for moontap.filter.
--
-- libpcap compiles an expression to a program of mostly 5 to 60 instructions with jumps forward only.  In
-- a loop over packets LuaJIT makes machine code of the text that follows from it.
--
-- The 32-bit registers are held as bit operations leave them, as signed integers, so that all of it stays
-- integer arithmetic; what is known of their largest values says where plain comparisons do for
-- unsigned ones.  A load outside of the packet ends a program with "no match", as every other
-- reject does.  So the length may be checked early for all that has to be loaded on every way to
-- a match, and most ways through a program check it once.
-- @module moontap.bpf

local bit = require "bit"
local ffi = require "ffi"

local M = {}

--- What translated programs call, as the names and values of local variables.
M.NAMES = "band, bor, bxor, lshift, rshift, bswap, tobit, floor, cast, word"
M.VALUES = { bit.band, bit.bor, bit.bxor, bit.lshift, bit.rshift, bit.bswap, bit.tobit, math.floor, ffi.cast,
  ffi.typeof "const int32_t *" }

local MAX = 0xffffffff
local SIGNED = 2 ^ 31

-- Instructions by code: what they are, and the size of loads, the operand of arithmetic and jumps.
local INSTRUCTIONS = {
  [0x20] = { "load", size = 4 }, [0x28] = { "load", size = 2 }, [0x30] = { "load", size = 1 },
  [0x40] = { "load_x", size = 4 }, [0x48] = { "load_x", size = 2 }, [0x50] = { "load_x", size = 1 },
  [0xb1] = { "msh", size = 1 },
  [0x00] = { "imm", "a" }, [0x80] = { "len", "a" }, [0x60] = { "mem", "a" },
  [0x01] = { "imm", "x" }, [0x81] = { "len", "x" }, [0x61] = { "mem", "x" },
  [0x02] = { "store", "a" }, [0x03] = { "store", "x" }, [0x07] = { "move", "x", from = "a" },
  [0x87] = { "move", "a", from = "x" },
  [0x06] = { "ret" }, [0x16] = { "ret_a" }, [0x05] = { "jump" }, [0x84] = { "neg" },
}
for code, name in pairs { [0x04] = "add", [0x14] = "sub", [0x24] = "mul", [0x34] = "div", [0x44] = "or", [0x54] = "and",
  [0x64] = "lsh", [0x74] = "rsh", [0x94] = "mod", [0xa4] = "xor", [0x15] = "eq", [0x25] = "gt", [0x35] = "ge",
  [0x45] = "set" } do
  local kind = code % 16 == 5 and "test" or "alu"
  INSTRUCTIONS[code] = { kind, name }
  INSTRUCTIONS[code + 8] = { kind, name, by_x = true }
end

-- --- reading a program ------------------------------------------------------------------------

-- Operands that libpcap's interpreter takes on trust.
local function is_sane(name, k)
  if name == "mem" or name == "store" then
    return k < 16
  elseif name == "div" or name == "mod" then
    return k ~= 0
  elseif name == "lsh" or name == "rsh" then
    return k < 32
  end
  return true
end

-- The instructions as tables, from 1 on: kind, name, size, by_x, k, yes, no (the next ones).  Or nothing.
local function read(code, n)
  local list = {}
  for i = 1, n do
    local raw = code[i - 1]
    local known = INSTRUCTIONS[raw.code]
    if not known then
      return nil
    end
    local k = tonumber(raw.k)
    local ins = { kind = known[1], name = known[2], size = known.size, by_x = known.by_x, from = known.from, k = k }
    if ins.kind == "jump" then
      ins.yes, ins.no = i + 1 + k, i + 1 + k
    elseif ins.kind == "test" then
      ins.yes, ins.no = i + 1 + raw.jt, i + 1 + raw.jf
    elseif ins.kind ~= "ret" and ins.kind ~= "ret_a" then
      ins.yes, ins.no = i + 1, i + 1
    end
    if not is_sane(ins.kind == "alu" and not ins.by_x and ins.name or ins.kind, k) or (ins.yes or 1) > n
      or (ins.no or 1) > n then
      return nil
    end
    list[i] = ins
  end
  return list
end

-- --- how much has to be there -----------------------------------------------------------------

-- For each instruction: the bytes that every way from it to a match loads (ins.need), and the bytes behind
-- offset X (ins.need_x) as long as X stays the same.
local function find_needs(list)
  for i = #list, 1, -1 do
    local ins = list[i]
    if ins.kind == "ret" and ins.k == 0 then
      ins.need, ins.need_x = math.huge, math.huge -- no way to a match
    elseif not ins.yes then
      ins.need, ins.need_x = 0, 0
    else
      local yes, no = list[ins.yes], list[ins.no]
      ins.need, ins.need_x = math.min(yes.need, no.need), math.min(yes.need_x, no.need_x)
      if ins.kind == "load_x" then
        ins.need_x = math.max(ins.need_x, ins.k + ins.size)
        ins.need = math.max(ins.need, ins.k + ins.size)
      elseif ins.size then
        ins.need = math.max(ins.need, ins.k + ins.size)
      end
      if ins.kind == "msh" or ins.name == "x" then
        ins.need_x = 0
      end
    end
  end
end

-- --- text -------------------------------------------------------------------------------------

-- What is known where an instruction begins: `have`, captured bytes that there are; `have_x`, the same
-- behind offset X; the largest value of a, x and m0 to m15.
local function meet(known, other)
  if not known then
    local copy = {}
    for key, value in pairs(other) do
      copy[key] = value
    end
    return copy
  end
  for key, value in pairs(other) do
    known[key] = (key == "have" or key == "have_x") and math.min(known[key], value) or math.max(known[key] or 0, value)
  end
  return known
end

local function number(k)
  return ("%d"):format(k >= SIGNED and k - 2 ^ 32 or k)
end

-- The smallest 2^n - 1 that is not below k.
local function ones(k)
  local value = 1
  while value - 1 < k do
    value = value * 2
  end
  return value - 1
end

-- A 32-bit load in one go where the processor may load from anywhere.
local one_load = ffi.abi "le" and (jit.arch == "x64" or jit.arch == "x86" or jit.arch == "arm64")
local LOADS = {
  "%s[%d]",
  "bor(lshift(%s[%d], 8), %s[%d])",
  [4] = one_load and "bswap(cast(word, %s + %d)[0])"
    or "bor(lshift(%s[%d], 24), lshift(%s[%d], 16), lshift(%s[%d], 8), %s[%d])",
}

local function load_text(base, k, size)
  return LOADS[size]:format(base, k, base, k + 1, base, k + 2, base, k + 3)
end

local emit = {} -- by kind: f(translation, ins, known); false: the packet is too short whatever it is

function emit.load(t, ins, known)
  local last = ins.k + ins.size
  if known.have < last then
    known.have = math.max(last, ins.need)
    if known.have == math.huge then
      return false
    end
    t:line("if n < %d then return false end", known.have)
  end
  t:line("a = %s", load_text("d", ins.k, ins.size))
  known.a = 256 ^ ins.size - 1
end

function emit.load_x(t, ins, known)
  local last = ins.k + ins.size
  if known.have_x < last then
    local need = math.max(last, ins.need_x)
    if need >= SIGNED then
      return false -- longer than any packet
    end
    known.have_x, known.have = need, math.max(known.have, need)
    t:line("if %sx > tobit(n - %d) then return false end", known.x >= SIGNED and "x < 0 or " or "", need)
    known.x = math.min(known.x, SIGNED - 1)
  end
  t:line("a = %s", load_text("(d + x)", ins.k, ins.size))
  known.a = 256 ^ ins.size - 1
end

function emit.msh(t, ins, known)
  if known.have < ins.k + 1 then
    known.have = math.max(ins.k + 1, ins.need)
    if known.have == math.huge then
      return false
    end
    t:line("if n < %d then return false end", known.have)
  end
  t:line("x = lshift(band(d[%d], 15), 2)", ins.k)
  known.x, known.have_x = 60, 0
end

local function set(known, register, value)
  known[register] = value
  if register == "x" then
    known.have_x = 0
  end
end

function emit.imm(t, ins, known)
  t:line("%s = %s", ins.name, number(ins.k))
  set(known, ins.name, ins.k)
end

function emit.len(t, ins, known)
  t:line("%s = tobit(q.wirelen)", ins.name)
  set(known, ins.name, MAX)
end

function emit.mem(t, ins, known)
  local cell = "m" .. ins.k
  t:line("%s = %s", ins.name, cell)
  set(known, ins.name, known[cell] or 0)
  t.cells[cell] = true
end

function emit.store(t, ins, known)
  local cell = "m" .. ins.k
  t:line("%s = %s", cell, ins.name)
  known[cell] = known[ins.name]
  t.cells[cell] = true
end

function emit.move(t, ins, known)
  t:line("%s = %s", ins.name, ins.from)
  set(known, ins.name, known[ins.from])
end

function emit.neg(t, _, known)
  t:line "a = tobit(-a)"
  known.a = MAX
end

-- Arithmetic: f(known, b, largest b, k) gives text and largest value; b is the text of the operand, k its
-- value or nil.
local alu = {}

function alu.add(a, b, max)
  return ("tobit(a + %s)"):format(b), a + max
end

function alu.sub(_, b)
  return ("tobit(a - %s)"):format(b), MAX
end

function alu.mul(a, b, max)
  if a * max < SIGNED then
    return ("tobit(a * %s)"):format(b), a * max
  end -- the product has more bits than a number: in two parts
  return ("tobit(band(a, 65535) * %s + lshift(tobit(rshift(a, 16) * %s), 16))"):format(b, b), MAX
end

local function unsigned(text, max)
  return max < SIGNED and text or ("(%s %% 4294967296)"):format(text)
end

function alu.div(a, b, max)
  return ("tobit(floor(%s / %s))"):format(unsigned("a", a), unsigned(b, max)), a
end

function alu.mod(a, b, max)
  return ("tobit(%s %% %s)"):format(unsigned("a", a), unsigned(b, max)), math.min(a, max)
end

alu["and"] = function(a, b, max)
  return ("band(a, %s)"):format(b), math.min(a, max)
end

alu["or"] = function(a, b, max)
  return ("bor(a, %s)"):format(b), ones(math.max(a, max))
end

function alu.xor(a, b, max)
  return ("bxor(a, %s)"):format(b), ones(math.max(a, max))
end

local function shift(name, bound)
  return function(a, b, max, k)
    local text = ("%s(a, %s)"):format(name, b)
    if max > 31 then -- LuaJIT looks at five bits only
      text = ("x >= 0 and x < 32 and %s or 0"):format(text)
    end
    return text, bound(a, k)
  end
end

alu.lsh = shift("lshift", function(a, k)
  return k and a * 2 ^ k or MAX
end)

alu.rsh = shift("rshift", function(a, k)
  return k and math.floor(a / 2 ^ k) or a
end)

function emit.alu(t, ins, known)
  local b, max = ins.by_x and "x" or number(ins.k), ins.by_x and known.x or ins.k
  if ins.by_x and (ins.name == "div" or ins.name == "mod") then
    t:line "if x == 0 then return false end"
  end
  local text, bound = alu[ins.name](known.a, b, max, not ins.by_x and ins.k or nil)
  t:line("a = %s", text)
  known.a = bound <= MAX and bound or MAX
end

-- The condition of a test and its opposite; nil: it is never true.
local function condition(ins, known)
  local b, max = ins.by_x and "x" or number(ins.k), ins.by_x and known.x or ins.k
  if ins.name == "set" then
    return ("band(a, %s) ~= 0"):format(b), ("band(a, %s) == 0"):format(b)
  elseif not ins.by_x and (ins.k > known.a or (ins.name == "gt" and ins.k == known.a)) then
    return nil
  elseif ins.name == "eq" then
    return "a == " .. b, "a ~= " .. b
  end
  local a, above, not_above = "a", ">=", "<"
  if ins.name == "gt" then
    above, not_above = ">", "<="
  end
  if known.a >= SIGNED or max >= SIGNED then -- the order of unsigned numbers
    a, b = "bxor(a, -2147483648)", ins.by_x and "bxor(x, -2147483648)" or ("%d"):format(ins.k - SIGNED)
  end
  return ("%s %s %s"):format(a, above, b), ("%s %s %s"):format(a, not_above, b)
end

local Translation = {}
Translation.__index = Translation

function Translation:line(format, ...)
  self.lines[#self.lines + 1] = format:format(...)
end

-- Going on at an instruction from one where so much is known.
function Translation:go(place, known)
  local ins = self.list[place]
  if ins.kind == "ret" then
    return ins.k ~= 0 and "return true" or "return false"
  end
  self.known[place] = meet(self.known[place], known)
  self.is_target[place] = true
  return "goto L" .. place
end

function Translation:fall_through(place, known)
  self.known[place] = meet(self.known[place], known)
end

function Translation:jump(i, place, known)
  if place == i + 1 then
    self:fall_through(place, known)
  else
    self:line("do %s end", self:go(place, known))
  end
end

function Translation:test(i, ins, known)
  local yes, no = condition(ins, known)
  if not yes then
    self:jump(i, ins.no, known)
  elseif ins.yes ~= i + 1 then
    self:line("if %s then %s end", yes, self:go(ins.yes, known))
    self:jump(i, ins.no, known)
  else
    self:line("if %s then %s end", no, self:go(ins.no, known))
    self:fall_through(ins.yes, known)
  end
end

function Translation:instruction(i)
  local ins, known = self.list[i], self.known[i]
  if ins.kind == "ret" then
    self:line("do return %s end", tostring(ins.k ~= 0))
  elseif ins.kind == "ret_a" then
    self:line "do return a ~= 0 end"
  elseif ins.kind == "jump" then
    self:jump(i, ins.yes, known)
  elseif ins.kind == "test" then
    self:test(i, ins, known)
  elseif emit[ins.kind](self, ins, known) == false then
    self:line "do return false end"
  else
    self:fall_through(i + 1, known)
  end
end

--- Translate a program.
-- @param code array of `struct mt_filter_insn`
-- @tparam integer n instructions
-- @treturn ?string statements that return true or false.  They use q (the packet), d (its data), n (its
-- captured length as an integer) and M.NAMES, and declare what else they need.  Nothing: the program holds
-- what libpcap makes for no expression but `protochain`.
function M.translate(code, n)
  local list = read(code, n)
  if not list then
    return nil
  end
  find_needs(list)
  local t = setmetatable({ list = list, is_target = {}, cells = {} }, Translation)
  t.known = { { have = 0, have_x = 0, a = 0, x = 0 } } -- by instruction, where one leads there
  local parts = {}
  for i in ipairs(list) do
    if t.known[i] then
      t.lines = {}
      t:instruction(i)
      parts[#parts + 1] = (t.is_target[i] and ("::L%d::\n"):format(i) or "") .. table.concat(t.lines, "\n")
    end
  end
  local head = { "local a, x = 0, 0" }
  for cell in pairs(t.cells) do
    head[#head + 1] = ("local %s = 0"):format(cell)
  end
  return table.concat(head, "\n") .. "\n" .. table.concat(parts, "\n")
end

return M
