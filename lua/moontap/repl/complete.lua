-- SPDX-License-Identifier: BSD-2-Clause
--- What the last word of a line may be meant to become.
-- @module moontap.repl.complete

local api = require "moontap.init"
local loader = require "moontap.loader"
local packet = require "moontap.packet"
local recipes = require "moontap.recipe_list"

local M = {}

local function add_names(list, names, prefix, head, tail)
  for name in pairs(names) do
    if type(name) == "string" and name:sub(1, #prefix) == prefix and name:sub(1, 1) ~= "_" then
      list[#list + 1] = head .. name .. (tail or "")
    end
  end
end

local KEYWORDS = { ["and"] = true, ["end"] = true, ["false"] = true, ["for"] = true, ["function"] = true, ["if"] = true,
  ["local"] = true, ["nil"] = true, ["not"] = true, ["or"] = true, ["repeat"] = true, ["return"] = true,
  ["then"] = true, ["true"] = true, ["until"] = true, ["while"] = true }

-- load "top,by= : names of recipes and their arguments.
local function of_recipe(word)
  local list = {}
  local name, rest = word:match "^([%w_-]+),(.*)$"
  if not name then
    local names = {}
    for _, recipe in ipairs(recipes) do
      names[recipe] = true
    end
    add_names(list, names, word, "")
    return list, #word
  end
  local last = rest:match "([^,]*)$"
  local ok, script = pcall(loader.arguments_of, name)
  if not ok or last:find "=" then
    return {}, 0
  end
  add_names(list, script, last, "", "=")
  add_names(list, { help = true }, last, "")
  return list, #last
end

-- What hangs on an object: fields and methods of a packet, entries of a table.
local function of_object(path, separator, prefix, context)
  local list = {}
  if path == "p" then
    if separator == "." then
      add_names(list, packet.fields, prefix, "")
    else
      add_names(list, packet.methods, prefix, "", "(")
      add_names(list, { edit = true, comment = true, comments = true }, prefix, "", "(")
    end
    return list
  end
  local value = context.env
  for name in path:gmatch "[%a_][%w_]*" do
    local found
    if value == context.env then
      found = rawget(context.env, name) or context.commands[name] or _G[name]
    elseif type(value) == "table" then
      found = value[name]
    end
    value = found
    if value == nil then
      return list
    end
  end
  if value == api then
    local names = {}
    for _, name in ipairs(api.names()) do
      names[name] = true
    end
    add_names(list, names, prefix, "")
  elseif type(value) == "table" then
    add_names(list, value, prefix, "")
  end
  return list
end

--- What could stand in place of the last word of a text.
-- @tparam string text up to the cursor
-- @tparam table context env, commands
-- @treturn {string,...} sorted
-- @treturn integer length of the last word
function M.names(text, context)
  local recipe = text:match "load%s*%(?%s*[\"']([^\"']*)$"
  if recipe then
    local list, length = of_recipe(recipe)
    table.sort(list)
    return list, length
  end
  local helped = text:match "help%s*%(?%s*[\"']([%w_.:]*)$"
  local path, separator, prefix = text:match "([%a_][%w_.]*)([.:])([%w_]*)$"
  if path and not helped then
    local list = of_object(path, separator, prefix, context)
    table.sort(list)
    return list, #prefix
  end
  if not helped and text:find "[\"'][^\"']*$" and select(2, text:gsub("[\"']", "")) % 2 == 1 then
    return {}, 0 -- inside of a string
  end
  local word = helped or text:match "([%a_][%w_]*)$" or ""
  local list, seen = {}, {}
  local function add(names, tail)
    add_names(list, names, word, "", tail)
  end
  add(context.commands, helped and "" or "(")
  add { p = true, moontap = true }
  if helped then
    add(packet.fields)
    for _, name in ipairs(recipes) do
      add { [name] = true }
    end
    for _, name in ipairs(api.names()) do
      add { [name] = true }
    end
  else
    add(context.env)
    add(KEYWORDS)
    local globals = {}
    for name in pairs(_G) do
      globals[name] = not context.commands[name] or nil
    end
    add(globals)
  end
  table.sort(list)
  local result = {}
  for _, name in ipairs(list) do
    if not seen[name] then
      seen[name] = true
      result[#result + 1] = name
    end
  end
  return result, #word
end

return M
