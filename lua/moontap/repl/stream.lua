-- SPDX-License-Identifier: BSD-2-Clause
--- Where the prompt stands in the stream, and how it moves.
--
-- The stepper keeps the newest batches. A position is a batch and a place in it; 0 is before the first packet. What
-- is older than the window is had again by reading from the start, if all sources are files.
-- @module moontap.repl.stream

local ffi = require "ffi"
local C = require "moontap.abi"
local packet = require "moontap.packet"

local M = {}

local WAIT_MS = 100 -- between two looks at Ctrl-C while a live source brings nothing

local Stream = {}
Stream.__index = Stream

--- A stream that stands before its first packet.
-- @param stepper `struct mt_stepper *`
-- @tparam table watch `look()` raises when what runs shall end, `progress()` says that something has moved
-- @tparam ?number patience seconds without a packet after which a wait ends; nil: never
-- @treturn stream
function M.new(stepper, watch, patience)
  return setmetatable({ stepper = stepper, watch = watch, patience = patience,
    state = packet.state(), step = ffi.new "struct mt_step",
    seq = 0, i = -1, placed = 0, why = ffi.new "char[1024]" }, Stream)
end

-- Make a batch that is kept the one in hand.
function Stream:enter(seq)
  C.mt_stepper_at(self.stepper, seq, self.step)
  local st = self.state
  st.generation = st.generation + 1
  if self.step.batch == nil then
    self.batch = nil
    return false
  end
  self.seq, self.batch = seq, self.step.batch
  st.batch, st.before = self.step.batch, self.step.before
  if st.first_ns == -0x7fffffffffffffffLL - 1 then
    st.first_ns = self.batch.packets[0].ts_ns
  end
  return true
end

--- Why there is no packet behind the current one.
-- @treturn string
function Stream:end_text()
  return self.waited and ("no packet has come for %g s"):format(self.patience) or "the stream has ended"
end

-- The batch behind the one in hand; false at the end.
function Stream:enter_next()
  local until_ns = self.patience and C.mt_hook_now() + self.patience * 1e9
  self.waited = false
  local newest = C.mt_stepper_newest(self.stepper)
  local seq = math.max(self.seq + 1, C.mt_stepper_oldest(self.stepper))
  while seq > newest do
    self.watch:look()
    local result = C.mt_stepper_fetch(self.stepper, WAIT_MS)
    self.watch:progress()
    if result == C.MT_STEP_END or result == C.MT_STEP_ERROR then
      return false
    elseif result == C.MT_STEP_WAIT and until_ns and C.mt_hook_now() > until_ns then
      self.waited = true
      return false
    end
    newest = C.mt_stepper_newest(self.stepper)
  end
  self.watch:progress()
  return self:enter(seq)
end

-- Stand on packet i of the batch in hand.
function Stream:place(i)
  local st = self.state
  self.i, self.placed = i, self.seq
  st.index, st.generation = i, st.generation + 1
  st.clock_ns = self.batch.packets[i].ts_ns
end

--- Number of the current packet; 0 before the first.
-- @treturn number
function Stream:at()
  return self.i >= 0 and self.before_batch + self.i + 1 or 0
end

function Stream:remember()
  self.before_batch = self.state.before
end

--- The current packet; nil before the first, and when it has left the window.
-- @treturn ?packet
-- @treturn ?string why there is none
function Stream:current()
  if self.i < 0 then
    return nil, "there is no packet yet: next() goes to the first"
  end
  if not self:kept() then
    return nil, "the packet is not kept any more: next() goes on"
  end
  return packet.handle(self.batch.packets + self.i, self.batch.decode + self.i, self.state.generation)
end

--- Go to the next packet that matches.
-- @param[opt] filter `struct mt_filter *`
-- @treturn ?packet nil at the end of the stream, where the position is the last packet
function Stream:forward(filter)
  local i = self:enter_behind()
  while i do
    local place = C.mt_step_next(self.batch, i, filter)
    if place < self.batch.n then
      self:place(place)
      self:remember()
      return (self:current())
    end
    i = self:enter_next() and 0 or nil
  end
  return nil
end

-- Is the batch of the current packet still kept? Then it is in hand again, if a search has gone beyond it.
function Stream:kept()
  if self.seq ~= self.placed then
    return self:enter(self.placed)
  end
  C.mt_stepper_at(self.stepper, self.seq, self.step)
  return self.step.batch ~= nil
end

-- Have the batch with the packet behind the current one in hand: the place of that packet, which may be the end of the
-- batch. nil: the stream has ended.
function Stream:enter_behind()
  if self.i >= 0 and self:kept() then
    return self.i + 1
  end
  self.seq = C.mt_stepper_oldest(self.stepper) - 1 -- or the packet has left the window: the oldest that is kept
  return self:enter_next() and 0 or nil
end

-- The oldest batch that is kept; false: none is.
function Stream:enter_oldest()
  local oldest = C.mt_stepper_oldest(self.stepper)
  return oldest <= C.mt_stepper_newest(self.stepper) and self:enter(oldest)
end

--- Where the window begins.
-- @treturn ?number the oldest packet that is kept; nil: none is
-- @treturn ?number the newest
function Stream:window()
  local oldest, newest = C.mt_stepper_oldest(self.stepper), C.mt_stepper_newest(self.stepper)
  if oldest > newest then
    return nil
  end
  C.mt_stepper_at(self.stepper, oldest, self.step)
  local first = self.step.before + 1
  C.mt_stepper_at(self.stepper, newest, self.step)
  return first, self.step.before + self.step.batch.n
end

--- The source that can be read only once; nil: all can be read again.
-- @treturn ?string
function Stream:once()
  local name = C.mt_stepper_once(self.stepper)
  return name ~= nil and ffi.string(name) or nil
end

--- Go back before the first packet.
-- @treturn ?boolean true
-- @treturn ?string why not
function Stream:rewind()
  local st = self.state
  if C.mt_stepper_rewind(self.stepper, self.why, ffi.sizeof(self.why)) ~= 0 then
    return nil, ffi.string(self.why)
  end
  st.generation = st.generation + 1
  self.seq, self.i, self.placed, self.batch = C.mt_stepper_newest(self.stepper), -1, 0, nil
  return true
end

-- In a batch that is in hand: stand on the first packet of the stream from place i on.
function Stream:stand(i)
  local place = C.mt_step_next(self.batch, i, nil)
  if place == self.batch.n then
    return nil
  end
  self:place(place)
  self:remember()
  return (self:current())
end

-- Begin at the oldest that is kept, or at the start of the files, such that what is looked for is not passed.
-- comes(stream): does what is looked for come in the batch in hand or later?
function Stream:begin(comes)
  if self:enter_oldest() and comes(self) then
    return true
  end
  if not self:once() then
    local good, why = self:rewind()
    return good and self:enter_next(), why
  end
  local first = self:window()
  return nil, ("%s can only be read once, and the packets before number %.0f are not kept"):format(self:once(),
    first or self:at() + 1)
end

--- Go to a packet by its number. One that a filter has taken out leads to the next one that is there.
-- @tparam number number from 1; 0: before the first
-- @treturn ?packet nil: there is none; the position is as it was if it can be
-- @treturn ?string why not
function Stream:to_number(number)
  if number <= 0 then
    return nil, select(2, self:rewind())
  end
  local good, why = self:begin(function(s) return number > s.state.before end)
  if not good then
    return nil, why or "there are no packets"
  end
  repeat
    local i = number - 1 - self.state.before
    if i < self.batch.n then
      local p = self:stand(math.max(i, 0))
      if p then
        return p
      end
    end
  until not self:enter_next()
  return nil, ("there is no packet %.0f, the stream ends with %.0f"):format(number,
    self.state.before + self.state.batch.n)
end

--- Go to the first packet that is not earlier than a time.
-- @tparam cdata ns nanoseconds since 1970, int64_t
-- @treturn ?packet
-- @treturn ?string why not
function Stream:to_time(ns)
  local good, why = self:begin(function(s)
    return s.batch.packets[0].ts_ns < ns or s.state.before == 0
  end)
  if not good then
    return nil, why or "there are no packets"
  end
  repeat
    for i = 0, self.batch.n - 1 do
      if self.batch.packets[i].ts_ns >= ns then
        local p = self:stand(i)
        if p then
          return p
        end
        break
      end
    end
  until not self:enter_next()
  return nil, "the stream ends before that time"
end

--- Go to the packet before the current one.
-- @treturn ?packet nil: there is none
-- @treturn ?string why not
function Stream:backward()
  local at = self:at()
  if at == 0 then
    return nil, "there is no packet before the first"
  end
  local i = self:kept() and C.mt_step_back(self.batch, self.i - 1) or -1
  while i < 0 do
    local seq = self.seq - 1
    if not self:kept() or seq < C.mt_stepper_oldest(self.stepper) then
      return self:before(at)
    end
    self:enter(seq)
    i = C.mt_step_back(self.batch, self.batch.n - 1)
  end
  self:place(i)
  self:remember()
  return (self:current())
end

-- The packet before number `at`, which is not in the window: the last one before it, from the start on.
function Stream:before(at)
  local first = self:window()
  if first and first <= 1 then
    self:to_number(at)
    return nil, "this is the first packet"
  end
  local once = self:once()
  if once then
    self:to_number(at)
    return nil, ("%s can only be read once, and the packets before number %.0f are not kept"):format(once, first or at)
  end
  self:rewind()
  local last
  while self:enter_next() and self.state.before < at - 1 do
    local stop = math.min(at - 1 - self.state.before, self.batch.n)
    local i = C.mt_step_back(self.batch, stop - 1)
    if i >= 0 then
      last = self.state.before + i + 1
    end
  end
  return self:to_number(last or at)
end

--- Go back to where something began, as far as that can be.
-- @tparam number number of the packet; 0: before the first
-- @treturn boolean whether the position is that one
function Stream:restore(number)
  if number == self:at() and (number == 0 or self:kept()) then
    if number > 0 then
      self:enter(self.seq)
      self:place(self.i)
    end
    return true
  end
  if number == 0 then
    return self:rewind() == true
  end
  return self:to_number(number) ~= nil
end

return M
