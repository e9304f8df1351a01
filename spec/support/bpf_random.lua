-- SPDX-License-Identifier: BSD-2-Clause
-- A script for moontap: BPF programs put together at random, which do what no expression does, on random
-- packets by the translation to Lua and by libpcap's bpf_filter.  Prints disagreements and a summary.

local ffi = require "ffi"
local bpf = require "moontap.bpf"
local filters = dofile(os.getenv "FILTERS")

ffi.cdef "unsigned bpf_filter(const struct mt_filter_insn *, const uint8_t *, unsigned, unsigned);"

local CELLS = 4 -- of the 16 memory cells; all are set before anything else, since libpcap's hold garbage
local LONGEST = 64
local OPERANDS = { 0, 1, 2, 3, 5, 7, 8, 12, 15, 16, 31, 32, 64, 127, 128, 255, 256, 4096, 0xffff, 0x10000, 0x10001, 2 ^ 24,
  0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff }

local function maker(dice)
  local function operand()
    return dice(3) == 0 and dice(2147483646) * 2 + dice(2) or OPERANDS[dice(#OPERANDS) + 1]
  end

  local function offset()
    return dice(40) == 0 and operand() or dice(40)
  end

  -- Code and k of an instruction that goes on to the next.
  local function straight()
    local kind = dice(16)
    if kind < 4 then
      return 0x20 + 8 * dice(3), offset()
    elseif kind < 6 then
      return 0x40 + 8 * dice(3), offset()
    elseif kind == 6 then
      return dice(2) == 0 and 0xb1 or 0x80 + dice(2), dice(40)
    elseif kind == 7 then
      return dice(2), operand()
    elseif kind == 8 then
      return ({ 0x60, 0x61, 0x02, 0x03 })[dice(4) + 1], dice(CELLS)
    elseif kind < 11 then
      return dice(2) == 0 and 0x07 or 0x87, 0
    end
    local operation = ({ 0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x84, 0x94, 0xa4 })[dice(11) + 1]
    if operation == 0x84 or dice(2) == 0 then
      return operation == 0x84 and operation or operation + 8, 0
    elseif operation == 0x64 or operation == 0x74 then
      return operation, dice(32)
    end
    return operation, math.max(1, operand())
  end

  local function test(ins, left)
    ins.code, ins.k = 0x15 + 16 * dice(4) + 8 * dice(2), operand()
    ins.jt, ins.jf = dice(math.min(left, 12) + 1), dice(math.min(left, 12) + 1)
  end

  -- Ends in a test of one bit of the accumulator, which few mistakes before it escape.
  return function(code)
    local head = 2 * CELLS
    local n = head + 4 + dice(LONGEST - head - 4)
    for i = 0, head - 1 do
      code[i].code, code[i].k = i % 2 == 0 and 0x00 or 0x02, i % 2 == 0 and operand() or math.floor(i / 2)
    end
    for i = head, n - 4 do
      local ins, kind = code[i], dice(60)
      if kind == 0 then
        ins.code, ins.k = dice(3) == 0 and 0x16 or 0x06, dice(2)
      elseif kind == 1 then
        ins.code, ins.k = 0x05, dice(math.min(n - 4 - i, 12) + 1)
      elseif kind < 12 then
        test(ins, n - 4 - i)
      else
        ins.code, ins.k = straight()
      end
    end
    local last = code[n - 3]
    last.code, last.k, last.jt, last.jf = 0x45, 2 ^ dice(32), 0, 1
    code[n - 2].code, code[n - 2].k, code[n - 1].code, code[n - 1].k = 0x06, 1, 0x06, 0
    return n
  end
end

local function load_program(code, n)
  local text = bpf.translate(code, n)
  if not text then
    return nil
  end
  text = ("local %s = ... return function(q) local d, n = q.data, tobit(q.caplen)\n%s\nend"):format(bpf.NAMES, text)
  return assert(loadstring(text))(unpack(bpf.VALUES)), text
end

-- Loaded afresh for each program, so that it is compiled.
local LOOP = [[
local program, code, bpf_filter, q, data = ...
return function(n, wirelen)
  local different, yes = 0, 0
  for i = 1, n do
    q.data, q.caplen, q.wirelen = data + i % 61, i * 7 % 67, i * wirelen % 4294967296
    local lua = program(q)
    if lua then yes = yes + 1 end
    if lua ~= (bpf_filter(code, q.data, q.wirelen, q.caplen) ~= 0) then different = different + 1 end
  end
  return different, yes
end]]

return {
  args = { seed = { default = 1 }, programs = { default = 2000 }, packets = { default = 200 } },
  on_start = function(run)
    local dice = filters.dice(run.args.seed)
    local make = maker(dice)
    local q, data = ffi.new "struct mt_packet", ffi.new "uint8_t[160]"
    local disagreements, matches, refused = 0, 0, 0
    for i = 1, run.args.programs do
      local code = ffi.new("struct mt_filter_insn[?]", LONGEST)
      for k = 0, 159 do
        data[k] = dice(4) == 0 and dice(4) or dice(256)
      end
      local program, text = load_program(code, make(code))
      if program then
        local loop = assert(loadstring(LOOP))(program, code, ffi.C.bpf_filter, q, data)
        local different, yes = loop(run.args.packets, i % 3 == 0 and 30000001 or 1)
        matches = matches + yes
        if different > 0 then
          disagreements = disagreements + 1
          print(("program %d differs for %d packets:\n%s"):format(i, different, disagreements < 3 and text or ""))
        end
      else
        refused = refused + 1
      end
    end
    print(("%d programs, %d refused, %.1f %% match, %d disagreements"):format(run.args.programs, refused,
      100 * matches / run.args.programs / run.args.packets, disagreements))
  end,
}
