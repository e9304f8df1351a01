-- SPDX-License-Identifier: BSD-2-Clause
--- Values as text for people: what a prompt prints of a result.
-- @module moontap.repl.show

local ffi = require "ffi"

local M = {}

local ENTRIES, DEPTH, LONGEST, WIDTH = 40, 4, 4000, 100

local CODES = { bold = "1", dim = "2", red = "31" }

--- Are there colours? Set once.
M.colours = false

--- A text in a colour, if there are any.
-- @tparam string text without control characters
-- @tparam string how bold, dim or red
-- @treturn string
function M.paint(text, how)
  return M.colours and ("\27[%sm%s\27[0m"):format(CODES[how], text) or text
end

-- Texts that commands give: printed as they are, also inside of other values.
local Text = { __tostring = function(t) return t.text end }
Text.__index = function(t, key)
  local of = rawget(t, "value")
  if of ~= nil then
    return of[key]
  end
  return nil
end

--- A result that is shown as a text and used as a value.
-- @tparam string text
-- @param value what its fields are those of, or nil
-- @treturn table
function M.text(text, value)
  return setmetatable({ text = text, value = value }, Text)
end

--- Is it such a result?
-- @param value
-- @treturn boolean
function M.is_text(value)
  return getmetatable(value) == Text
end

local texts = setmetatable({}, { __mode = "k" })
local List = { __tostring = function(list) return texts[list] end }

--- A list that is shown as a text.
-- @tparam string text
-- @tparam table list is copied
-- @treturn table
function M.list(text, list)
  local copy = setmetatable({}, List)
  for i, value in ipairs(list) do
    copy[i] = value
  end
  texts[copy] = text
  return copy
end

--- Is it such a list?
-- @param value
-- @treturn boolean
function M.is_list(value)
  return getmetatable(value) == List
end

--- Give such a list another text.
-- @tparam table list
-- @tparam string text
function M.retext(list, text)
  texts[list] = text
end

local shapes = {} -- how things of C are shown: { ctype, function }

--- Have values of a C type shown by a function.
-- @param ctype
-- @tparam function f gives the text of a value
function M.register(ctype, f)
  shapes[#shapes + 1] = { ctype, f }
end

-- Control characters and what is no UTF-8 must not reach a terminal.
local function escape(text)
  if text:find "[%c\127-\255]" then
    text = text:gsub("[%z\1-\8\11-\31\127]", function(c) return ("\\x%02x"):format(c:byte()) end)
    local out, at = {}, 1
    while at <= #text do
      local whole = text:match("^[%z\1-\127]+", at) or text:match("^[\194-\223][\128-\191]", at)
        or text:match("^[\224-\239][\128-\191][\128-\191]", at)
        or text:match("^[\240-\244][\128-\191][\128-\191][\128-\191]", at)
      -- C1 control characters are UTF-8 too
      if whole and whole:match "^\194[\128-\159]$" then
        whole = nil
      end
      out[#out + 1] = whole or ("\\x%02x"):format(text:byte(at))
      at = at + (whole and #whole or 1)
    end
    text = table.concat(out)
  end
  return text
end

--- A string with what a terminal would take for commands written as \xNN; newlines and tabs stay.
-- @tparam string text
-- @treturn string
M.escape = escape

local function cut(text)
  if #text > LONGEST then
    return ("%s … (%d bytes in all)"):format(text:sub(1, LONGEST), #text)
  end
  return text
end

local function number(value)
  if value == math.floor(value) and math.abs(value) < 2 ^ 53 then
    return ("%.0f"):format(value)
  end
  return ("%.14g"):format(value)
end

local function cdata(value)
  for _, shape in ipairs(shapes) do
    if ffi.istype(shape[1], value) then
      return shape[2](value)
    end
  end
  return (tostring(value):gsub("^(-?%d+)U?LL$", "%1"))
end

-- Whole numbers first and in their order, then names.
local function before(a, b)
  if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
    return a < b
  end
  return type(a) == "number" and type(b) ~= "number" or type(b) ~= "number" and tostring(a) < tostring(b)
end

local inner

local function key_text(key, depth, seen)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then
    return key
  end
  return "[" .. inner(key, depth, seen) .. "]"
end

-- The elements of a list, several in a line.
local function wrapped(parts, array, width)
  local rows, row = {}, nil
  for i, part in ipairs(parts) do
    if i <= array and row and #row + #part + 2 <= width then
      row = row .. ", " .. part
    else
      rows[#rows + 1] = row
      row = part
    end
    if i >= array then
      rows[#rows + 1] = row
      row = nil
    end
  end
  rows[#rows + 1] = row
  return rows
end

local function table_text(t, depth, seen)
  if seen[t] then
    return "{ itself }"
  elseif depth > DEPTH then
    return "{ … }"
  end
  local keys, n = {}, 0
  for key in next, t do
    n = n + 1
    if n <= 100000 then
      keys[n] = key
    end
  end
  if n == 0 then
    return "{}"
  end
  table.sort(keys, before)
  seen[t] = true
  local parts, length, array, lines = {}, 4, 0, false
  for i = 1, math.min(n, ENTRIES) do
    local key = keys[i]
    local text = inner(t[key], depth + 1, seen)
    if key == array + 1 then
      array = key
    else
      text = key_text(key, depth + 1, seen) .. " = " .. text
    end
    parts[i] = text
    length = length + #text + 2
    lines = lines or text:find "\n" ~= nil
  end
  seen[t] = nil
  if n > ENTRIES then
    parts[#parts + 1] = ("… %d more (%d in all)"):format(n - ENTRIES, n)
  end
  if lines or length + 2 * depth > WIDTH then
    parts = lines and parts or wrapped(parts, array, WIDTH - 2 * depth)
    local indent = ("  "):rep(depth)
    return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth - 1) .. "}"
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- As an element of something else.
function inner(value, depth, seen)
  local kind = type(value)
  if kind == "string" then
    return '"' .. cut(escape(value)):gsub('[\n"]', { ["\n"] = "\\n", ['"'] = '\\"' }) .. '"'
  elseif kind == "number" then
    return number(value)
  elseif kind == "cdata" then
    return (cdata(value))
  elseif kind == "table" then
    local meta = getmetatable(value)
    if type(meta) == "table" and meta.__tostring then
      return cut(escape(tostring(value)))
    end
    return table_text(value, depth, seen)
  end
  return kind == "function" and "function" or tostring(value)
end

--- A value as text: strings as they are, tables with their entries, the first of them if there are many.
-- @param value
-- @treturn string
function M.value(value)
  if type(value) == "string" then
    return cut(escape(value))
  elseif M.is_text(value) then
    return value.text
  elseif getmetatable(value) == List then
    return texts[value]
  end
  return inner(value, 1, {})
end

return M
