-- SPDX-License-Identifier: BSD-2-Clause
--- Help at the prompt.
--
-- It comes from docs/reference.md, which is made from the comments in the code, so both say the same.
-- @module moontap.repl.help

local ffi = require "ffi"
local api = require "moontap.init"
local packet = require "moontap.packet"
local recipes = require "moontap.recipe_list"
local show = require "moontap.repl.show"
local suggest = require "moontap.suggest"

local M = {}
local commands = {}
local WIDTH = 110
local known_commands = {} -- all of the prompt
local beside -- commands that are there beside a capture, by name; nil: this prompt has a stream of its own
local BESIDE = "Prompt: beside a capture"

--- Learn what there is to be helped with.
-- @tparam table context commands, ask
-- @local
function M.attach(context)
  known_commands = context.commands
  beside = context.ask and require("moontap.repl.beside").commands
end

-- Is there a command of that chapter at this prompt?
local function is_here(name, chapter)
  if chapter.title == BESIDE then
    return beside ~= nil
  end
  return not (beside and beside[name] and chapter.title:find "^Prompt")
end

-- --- the reference, taken apart -----------------------------------------------------------------

local reference -- items = list of { name, short, signature, text, chapter }, chapters = list of { title, text, items }

local function name_of(signature)
  return signature:match "^[%w_.:]+"
end

local function parse(text)
  local result = { items = {}, chapters = {}, fields = {} }
  local chapter, item, object
  local function add(line)
    local into = item or chapter
    if into then
      into.lines[#into.lines + 1] = line
    end
  end
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local title, signature = line:match "^## (.*)$", line:match "^#### `(.*)`$"
    if title then
      chapter, item = { title = title, lines = {}, items = {} }, nil
      if title ~= BESIDE or beside then
        result.chapters[#result.chapters + 1] = chapter
      end
    elseif signature then
      local name = name_of(signature)
      local here = is_here(name, chapter)
      item = { name = name, short = name:match "[^.:]*$", signature = signature, lines = {}, chapter = chapter }
      if here then
        result.items[#result.items + 1] = item
        chapter.items[#chapter.items + 1] = item
      end
    else
      object = line:match "^| field of `([%w_]+)`" or object
      local cells = {}
      for cell in line:gmatch "| ([^|]*) " do
        cells[#cells + 1] = cell
      end
      local field = line:match "^| `([%w_]+)` |"
      if field and object then
        result.fields[#result.fields + 1] = { name = field, object = object, type = cells[2], unit = cells[3],
          absent = cells[4], text = cells[5] }
      end
      add(line)
    end
  end
  return result
end

local function book()
  reference = reference or parse(require "moontap.help_text")
  return reference
end

-- Markdown as it is read in a terminal.
local function plain(lines)
  local text = table.concat(lines, "\n"):gsub("%*%*", ""):gsub("%[([^%]]*)%]%([^)]*%)", "%1")
  text = text:gsub("%*([%a|?{},._ ]+)%*", "%1"):gsub("`", ""):gsub("\n\n+", "\n")
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

local function first_sentence(item)
  local text = plain(item.lines):gsub("\n", " ")
  return ((text:match "^(.-[.:;]) " or text):gsub("[.:;]$", ""))
end

-- Words as lines that fit a terminal.
local function fill(head, words, indent)
  local lines, line = {}, head
  for i, word in ipairs(words) do
    local text = word .. (i < #words and ", " or "")
    if #line + #text > WIDTH then
      lines[#lines + 1] = line:gsub(" $", "")
      line = indent
    end
    line = line .. text
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

-- A line of an overview.
local function entry(item, width)
  local text = first_sentence(item)
  if #text > WIDTH - width - 3 then
    text = text:sub(1, WIDTH - width - 4):gsub("%s+%S*$", "") .. " …"
  end
  return ("  %-" .. width .. "s %s"):format(item.signature, text)
end

-- --- answers --------------------------------------------------------------------------------------

local function is_prompt(chapter)
  return chapter.title:find "^Prompt" ~= nil
end

local function overview()
  local lines = { "A line is an expression or statement of Lua; `p` is the current packet. What can be asked of each",
    'packet is a BPF expression in quotes, a function, or an expression in p: find "tcp port 443", find(p.ttl < 5).',
    "" }
  for _, chapter in ipairs(book().chapters) do
    if is_prompt(chapter) then
      lines[#lines + 1] = chapter.title:gsub("^Prompt: (%l)", string.upper) .. ":"
      for _, item in ipairs(chapter.items) do
        lines[#lines + 1] = entry(item, 24)
      end
    end
  end
  lines[#lines + 1] = ""
  local titles = {}
  for _, chapter in ipairs(book().chapters) do
    if not is_prompt(chapter) then
      titles[#titles + 1] = chapter.title
    end
  end
  lines[#lines + 1] = 'More: help(p), help "find", help "topk", help "tcp_flags"'
  lines[#lines + 1] = fill("Recipes to load: ", recipes, "  ")
  lines[#lines + 1] = fill("Chapters of the library: ", titles, "  ")
  return table.concat(lines, "\n")
end

local function item_text(item)
  return item.signature .. "\n" .. plain(item.lines)
end

local function field_text(field)
  local absent = field.absent ~= "-" and (", %s if there is none"):format(field.absent:gsub("`", "")) or ""
  local unit = field.unit ~= "" and ", " .. field.unit or ""
  return ("%s.%s  %s%s%s\n  %s"):format(field.object, field.name, field.type, unit, absent, field.text)
end

-- Several with one name: one after the other, up to a few.
local function join(texts)
  return table.concat(texts, "\n\n", 1, math.min(#texts, 5))
end

local function packet_help()
  local lines = { "A packet has these fields:" }
  for _, field in ipairs(packet.field_docs) do
    lines[#lines + 1] = ("  %-16s %s"):format(field.name, field.text)
  end
  lines[#lines + 1] = "and these methods:"
  for _, item in ipairs(book().items) do
    if item.name:find "^p:" then
      lines[#lines + 1] = entry(item, 24)
    end
  end
  return table.concat(lines, "\n")
end

local function chapter_named(word)
  local lower = word:lower()
  for _, chapter in ipairs(book().chapters) do
    if chapter.title:lower() == lower then
      return chapter
    end
  end
  return nil
end

local function chapter_text(chapter)
  local lines = { chapter.title, plain(chapter.lines) }
  for _, item in ipairs(chapter.items) do
    lines[#lines + 1] = entry(item, 32)
  end
  return table.concat(lines, "\n")
end

local function matching(word)
  local texts = {}
  for _, test in ipairs {
    function(item) return item.name == word and is_prompt(item.chapter) end,
    function(item) return item.name == word or item.name == "moontap." .. word end,
    function(item) return item.short == word end,
  } do
    for _, item in ipairs(book().items) do
      if test(item) then
        texts[#texts + 1] = item_text(item)
      end
    end
    if #texts > 0 then
      break
    end
  end
  local name = word:match "([%w_]+)$"
  local object = word:match "^([%w_]+)%.[%w_]+$"
  for _, field in ipairs(book().fields) do
    if field.name == name and (not object or object == field.object) then
      texts[#texts + 1] = field_text(field)
    end
  end
  return texts
end

local function is_recipe(word)
  for _, recipe in ipairs(recipes) do
    if recipe == word then
      return true
    end
  end
  return false
end

local function recipe_text(name)
  return require("moontap.loader").load(name .. ",help", recipes).help
end

local function not_found(word)
  local known = {}
  for _, item in ipairs(book().items) do
    known[item.short], known[item.name] = true, true
  end
  for _, field in ipairs(book().fields) do
    known[field.name] = true
  end
  for _, recipe in ipairs(recipes) do
    known[recipe] = true
  end
  error(("help: nothing is known of '%s'%s"):format(word, suggest.suffix(word, known, packet.aliases)), 3)
end

-- The name of a function or of another value that the help knows.
local function name_of_value(value)
  for name, command in pairs(known_commands) do
    if command == value then
      return name
    end
  end
  for _, name in ipairs(api.names()) do
    if api[name] == value then
      return "moontap." .. name
    end
  end
  return nil
end

--- One line about a command.
-- @tparam string name
-- @treturn string
-- @local
function M.line(name)
  for _, item in ipairs(book().items) do
    if item.name == name and is_prompt(item.chapter) then
      return ("%s  %s"):format(item.signature, first_sentence(item))
    end
  end
  return name
end

--- What there is, or what something is: a command, a field, a function of the library, a recipe, a chapter.
-- @tparam[opt] string|packet|function what a name, `p`, or the thing itself
-- @treturn string
function commands.help(what)
  if what == nil then
    return show.text(overview())
  elseif type(what) == "cdata" and (ffi.istype(packet.handle, what) or ffi.istype(packet.copy_type, what)) then
    return show.text(packet_help())
  end
  local word = type(what) == "string" and what or name_of_value(what)
  if not word then
    error('help: expected a name in quotes, as in help "find", or p', 2)
  elseif word == "p" then
    return show.text(packet_help())
  end
  word = word:gsub("%(.*$", "")
  local texts = matching(word)
  if is_recipe(word) then
    texts[#texts + 1] = recipe_text(word)
  end
  local chapter = chapter_named(word)
  if chapter then
    texts[#texts + 1] = chapter_text(chapter)
  end
  if #texts == 0 then
    not_found(word)
  end
  return show.text(join(texts))
end

--- End the session; the end of the input (Ctrl-D) does so too.
-- @function quit
function commands.quit()
  os.exit()
end

M.commands = commands

return M
