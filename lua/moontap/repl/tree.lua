-- SPDX-License-Identifier: BSD-2-Clause
--- A packet as a readable tree, and its bytes with the field under each.
-- @module moontap.repl.tree

local format = require "moontap.format"
local dissect = require "moontap.repl.dissect"
local show = require "moontap.repl.show"

local M = {}

local NAME = 16 -- columns of a field's name
local PER_LINE = 16
local MOST_BYTES = 4096 -- of a dump

local function head(p)
  local captured = p.caplen == p.wirelen and "" or (", %d captured"):format(p.caplen)
  local direction = p.direction and ", " .. p.direction or ""
  local interface = p.interface ~= p.source and p.interface ~= "0" and " " .. p.interface or ""
  return ("packet %.0f, %s%s, %s, %d bytes%s%s"):format(p.number, p.source, interface, format.time(p.ts_ns), p.wirelen,
    captured, direction)
end

local function range(layer)
  if layer.len <= 0 then
    return ""
  end
  return ("%d-%d"):format(layer.offset, layer.offset + layer.len - 1)
end

local function add_layer(lines, layer, caplen)
  local missing = layer.offset + layer.len > caplen and
    (", %d not captured"):format(math.min(layer.len, layer.offset + layer.len - caplen)) or ""
  lines[#lines + 1] = show.paint(show.escape(layer.name), "bold") ..
    ("  (%d bytes, %s%s)"):format(layer.len, range(layer), missing)
  for _, field in ipairs(layer.fields) do
    local place = field.offset and ("%6d"):format(field.offset) or (" "):rep(6)
    local text = show.escape(field.text)
    lines[#lines + 1] = ("%s  %-" .. NAME .. "s %s"):format(show.paint(place, "dim"), field.name,
      text:find "%(wrong%)$" and show.paint(text, "red") or text)
  end
end

--- Lines about a packet: a head, then each layer with its fields, their offsets and values.
-- @param p packet
-- @treturn string
function M.text(p)
  local lines = { show.escape(head(p)) }
  for _, layer in ipairs(dissect.layers(p)) do
    add_layer(lines, layer, p.caplen)
  end
  return table.concat(lines, "\n")
end

-- Which field each byte belongs to: by offset, { name, first, last }.
local function owners(p)
  local of = {}
  for _, layer in ipairs(dissect.layers(p)) do
    local any = false
    for _, field in ipairs(layer.fields) do
      if field.offset then
        any = true
        for at = field.offset, field.offset + field.len - 1 do
          of[at] = field
        end
      end
    end
    if not any then -- a payload: one field of that name
      local field = { name = layer.name, offset = layer.offset, len = layer.len }
      for at = layer.offset, layer.offset + layer.len - 1 do
        of[at] = of[at] or field
      end
    end
  end
  return of
end

-- Names under the bytes from `from` to `to` - 1, three columns a byte.
local function names_line(of, from, to)
  local parts, any = {}, false
  local at = from
  while at < to do
    local field = of[at]
    local stop = at + 1
    while stop < to and of[stop] == field do
      stop = stop + 1
    end
    local width = 3 * (stop - at) - 1
    local name = field and (at == math.max(field.offset, from)) and field.name or ""
    if #name > width then
      name = name:sub(1, width)
    end
    any = any or name ~= ""
    parts[#parts + 1] = name .. (field and "-" or " "):rep(width - #name)
    at = stop
  end
  return any and table.concat(parts, " ") or nil
end

--- The captured bytes in lines of 16, below them the names of the fields that they belong to.
-- @param p packet
-- @treturn string
function M.hexdump(p)
  local of, lines = owners(p), {}
  local caplen = math.min(p.caplen, MOST_BYTES)
  for from = 0, caplen - 1, PER_LINE do
    local to = math.min(from + PER_LINE, caplen)
    local bytes = p:bytes(from, to - from)
    local hex = bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)
    lines[#lines + 1] = ("%04x  %-48s  %s"):format(from, hex, (bytes:gsub("[^ -~]", ".")))
    local names = names_line(of, from, to)
    if names then
      lines[#lines + 1] = "      " .. show.escape((names:gsub(" +$", "")))
    end
  end
  if p.caplen > caplen then
    lines[#lines + 1] = ("… %d more bytes"):format(p.caplen - caplen)
  end
  return table.concat(lines, "\n")
end

return M
