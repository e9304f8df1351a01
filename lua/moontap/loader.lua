-- SPDX-License-Identifier: BSD-2-Clause
--- From the words of -l and -e to checked script tables.
--
-- A script is a Lua file that returns a table of hooks.  Everything in that table is declared
-- below; an unknown key is refused by name, because a misspelt hook would silently do nothing.
-- @module moontap.loader

local packet = require "moontap.packet"
local suggest = require "moontap.suggest"

local M = {}

local HOOKS = {
  on_start = true, on_packet = true, on_batch = true, on_interval = true, rotate = true, on_segment_open = true,
  on_segment_close = true, on_block = true, on_stop = true,
}

-- Other keys of a script table, and the types they may have.
local KEYS = {
  summary = { string = true },
  args = { table = true },
  filter = { string = true, ["function"] = true },
  keep = { string = true, ["function"] = true },
  interval = { number = true, ["function"] = true },
  on_error = { string = true },
  outputs = { ["function"] = true }, -- declares outputs by the arguments
  private = { boolean = true, ["function"] = true }, -- outputs do not name sources; see M.load
  results = { ["function"] = true },
}

local RULES = { keep = true, drop = true, stop = true }

local function fail(format, ...)
  error({ message = format:format(...) }, 0)
end

--- Split `NAME,k=v,…`: a part without `=` continues the value before it.
-- @tparam string word
-- @treturn string name
-- @treturn table arguments, name to text
-- @treturn boolean help was asked for
function M.split(word)
  local parts = {}
  for part in (word .. ","):gmatch "([^,]*)," do
    parts[#parts + 1] = part
  end
  local arguments, last, help = {}, nil, false
  for i = 2, #parts do
    local key, value = parts[i]:match "^([%a_][%w_]*)=(.*)$"
    if key then
      arguments[key] = value
      last = key
    elseif last then
      arguments[last] = arguments[last] .. "," .. parts[i]
    elseif parts[i] == "help" then
      help = true
    else
      fail("-l %s: expected NAME,key=value or NAME,help, found '%s'", word, parts[i])
    end
  end
  return parts[1], arguments, help
end

local function exists(path)
  local file = io.open(path, "r")
  if file then
    file:close()
  end
  return file ~= nil
end

local function environment()
  return setmetatable({}, { __index = _G })
end

-- The chunk of an embedded recipe, made afresh: a recipe keeps its state in upvalues.
local function recipe_chunk(name)
  for _, searcher in ipairs(package.loaders) do
    local found = searcher("recipes." .. name)
    if type(found) == "function" then
      return found
    end
  end
  return nil
end

local function read_file(path)
  local file, why = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then
    file:close()
  end
  if not text then
    fail("script %s", why or (path .. ": not a readable file"))
  end
  if text:byte(1) == 27 then
    fail("script %s: expected Lua source, found bytecode", path)
  end
  return (text:gsub("^#[^\n]*", ""))
end

local function load_chunk(name, recipes)
  if name:find("/", 1, true) or name:match "%.lua$" then
    local chunk, why = loadstring(read_file(name), "@" .. name)
    if not chunk then
      fail("script %s", why)
    end
    return chunk
  end
  local chunk = name:match "^[%w_-]+$" and recipe_chunk(name)
  if not chunk then
    local known = {}
    for _, recipe in ipairs(recipes) do
      known[recipe] = true
    end
    local file = exists(name) and ("; for the file of that name write -l ./%s"):format(name) or ""
    fail("no recipe '%s'%s (there are: %s)%s", name, suggest.suffix(name, known), suggest.list(known), file)
  end
  return chunk
end

local function check_keys(name, script)
  local known = {}
  for key in pairs(HOOKS) do
    known[key] = true
  end
  for key in pairs(KEYS) do
    known[key] = true
  end
  for key, value in pairs(script) do
    local kind = type(value)
    if HOOKS[key] then
      if kind ~= "function" then
        fail("script %s: %s must be a function, found a %s", name, key, kind)
      end
    elseif not KEYS[key] then
      fail("script %s: unknown key '%s'%s", name, tostring(key), suggest.suffix(tostring(key), known))
    elseif not KEYS[key][kind] then
      fail("script %s: %s can not be a %s", name, key, kind)
    end
  end
  if script.on_packet and script.on_batch then
    fail("script %s: has both on_packet and on_batch; one is enough", name)
  end
  if script.filter and not (script.on_packet or script.on_batch) then
    fail("script %s: filter chooses what on_packet sees, and there is none; to drop what does not match write keep",
      name)
  end
  if script.on_error and not RULES[script.on_error] then
    fail("script %s: on_error must be keep, drop or stop, found '%s'", name, script.on_error)
  end
  if script.on_interval and not script.interval then
    fail("script %s: on_interval needs interval, the seconds between two calls", name)
  end
  if script.interval and not script.on_interval then
    fail("script %s: interval is set but there is no on_interval", name)
  end
end

-- Arguments are declared as name = { default = …, help = "…", check = function(value) … end }; check
-- returns a sentence when the value will not do.  A value has the type of its default.

-- The text of an argument as the type of its default.
local function convert(name, key, text, default)
  if type(default) == "number" then
    local value = tonumber(text)
    if not value or value ~= value then
      fail("script %s: argument %s must be a number, found '%s'", name, key, text)
    end
    return value
  elseif type(default) == "boolean" then
    local words = { yes = true, ["true"] = true, ["1"] = true, on = true, no = false, ["false"] = false, ["0"] = false,
      off = false }
    if words[text] == nil then
      fail("script %s: argument %s must be yes or no, found '%s'", name, key, text)
    end
    return words[text]
  end
  return text
end

local function arguments(name, declared, given)
  local values = {}
  for key, declaration in pairs(declared) do
    if type(declaration) ~= "table" then
      fail("script %s: args.%s must be a table with default and help", name, tostring(key))
    end
    values[key] = declaration.default
  end
  for key, text in pairs(given) do
    if not declared[key] then
      local there = next(declared) and ("it takes " .. suggest.list(declared)) or "it takes none"
      fail("script %s: unknown argument '%s'%s (%s)", name, key, suggest.suffix(key, declared), there)
    end
    values[key] = convert(name, key, text, declared[key].default)
  end
  for key, declaration in pairs(declared) do
    local why = declaration.check and values[key] ~= nil and declaration.check(values[key])
    if why then
      if type(why) ~= "string" then
        fail("script %s: check of the argument %s returned a %s; expected nothing or a sentence on what is wrong",
          name, key, type(why))
      end
      fail("script %s: argument %s: %s", name, key, why)
    end
  end
  return values
end

local function help_text(name, script)
  local lines = { ("%s - %s"):format(name, script.summary or "no summary"), "" }
  local names = {}
  for key in pairs(script.args or {}) do
    names[#names + 1] = key
  end
  table.sort(names)
  lines[#lines + 1] = #names > 0 and "Arguments:" or "It takes no arguments."
  for _, key in ipairs(names) do
    local declaration = script.args[key]
    local none = declaration.default == nil or declaration.default == ""
    local default = none and "" or (" (default %s)"):format(tostring(declaration.default))
    lines[#lines + 1] = ("  %-12s %s%s"):format(key, declaration.help or "", default)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = ("Use: moontap -l %s%s FILE..."):format(name, names[1] and ("," .. names[1] .. "=…") or "")
  return table.concat(lines, "\n")
end

-- A value of the table that may also be a function of the arguments.
local function resolve(name, script, key, values, wanted)
  local value = script[key]
  if type(value) == "function" then
    local ok, result = pcall(value, values)
    if not ok then
      fail("script %s: %s: %s", name, key, tostring(result))
    end
    value = result
  end
  if value ~= nil and type(value) ~= wanted then
    fail("script %s: %s must give a %s, found a %s", name, key, wanted, type(value))
  end
  return value
end

local function base_name(name)
  return (name:gsub("^.*/", ""):gsub("%.lua$", ""))
end

--- What `load` or `expression` have raised, as text.
-- @param why
-- @treturn string
function M.message_of(why)
  return type(why) == "table" and why.message or tostring(why)
end

--- Load a script.
-- @tparam string word as given to -l
-- @tparam table recipes names of the recipes that are built in
-- @treturn table script: name, args, hooks, filter, keep, interval_ns, rule; or with help = text
-- @raise a table with `message`
function M.load(word, recipes)
  local name, given, help = word, {}, false
  if not (word:match "%.lua$" and exists(word)) then
    name, given, help = M.split(word)
  end
  local chunk = setfenv(load_chunk(name, recipes), environment())
  local ok, script = xpcall(function() return chunk(name) end, function(why)
    return type(why) == "table" and why or debug.traceback(tostring(why), 2)
  end)
  if not ok then
    fail("script %s: %s", name, type(script) == "table" and tostring(script.message) or
      M.trim_traceback(script))
  end
  if type(script) ~= "table" then
    fail("script %s: expected it to return a table of hooks, found %s", name,
      script == nil and "nothing" or "a " .. type(script))
  end
  check_keys(name, script)
  if help then
    return { help = help_text(name, script) }
  end
  local values = arguments(name, script.args or {}, given)
  local interval = resolve(name, script, "interval", values, "number")
  if interval and not (interval >= 1e-6 and interval <= 1e9) then
    fail("script %s: interval must be between 0.000001 and 1000000000 seconds, found %s", name, tostring(interval))
  end
  resolve(name, script, "outputs", values, "nil")
  local private = script.private
  if type(private) == "function" then
    private = resolve(name, script, "private", values, "string")
  end
  if type(private) == "string" and private ~= "times" and private ~= "names" then
    fail("script %s: private must give \"names\" or \"times\", found '%s'", name, private)
  end
  local hooks = {}
  for key in pairs(HOOKS) do
    hooks[key] = script[key]
  end
  return {
    name = base_name(name), label = name, args = values,
    hooks = hooks, results = script.results, rule = script.on_error,
    filter = resolve(name, script, "filter", values, "string"),
    keep = resolve(name, script, "keep", values, "string"),
    interval = interval, private = private,
  }
end

--- The arguments that a recipe declares.
-- @tparam string name of the recipe
-- @treturn table name to { default =, help = }
-- @raise if there is no such recipe
function M.arguments_of(name)
  local script = setfenv(recipe_chunk(name), environment())(name)
  return script.args or {}
end

-- In an expression `dport` for `p.dport` would be nil and drop everything without a word.
local EXPRESSION = {
  __index = function(_, name)
    local value = _G[name]
    if value == nil and packet.fields[name] then
      error(("'%s' is not set: did you mean p.%s?"):format(name, name), 2)
    end
    return value
  end,
}

--- A script from the text of -e: the packet is kept if the expression is true.
-- @tparam string expression
-- @treturn table script
-- @raise a table with `message`
function M.expression(expression)
  return { name = "-e", label = "-e", expression = true, args = {},
    hooks = { on_packet = M.function_of(expression, "-e '%s': %s") } }
end

--- A function of a packet from the text of an expression.
-- @tparam string expression
-- @tparam string complaint message for what does not parse, of the text and why
-- @treturn function
-- @raise a table with `message`
function M.function_of(expression, complaint)
  local head = "local p = ...; return ("
  local chunk = loadstring(head .. expression .. ")", "=-e")
  local why
  if not chunk then -- it may end in a comment
    chunk, why = loadstring(head .. expression .. "\n)", "=-e")
  end
  if not chunk then
    fail(complaint, expression, (why:gsub("^%-e:%d+: ", "")))
  end
  return setfenv(chunk, setmetatable({}, EXPRESSION))
end

--- The part of a traceback that belongs to the user's script.
-- @tparam string text
-- @treturn string
function M.trim_traceback(text)
  local lines = {}
  for line in (tostring(text) .. "\n"):gmatch "([^\n]*)\n" do
    if line:find("moontap.loop", 1, true) or line:find("in function 'xpcall'", 1, true) then
      break
    end
    local ours = line:find("lua/moontap/", 1, true) or line:find("moontap%.%l+:%d")
    if line ~= "" and not ours then
      lines[#lines + 1] = line
    end
  end
  if lines[#lines] == "stack traceback:" then
    lines[#lines] = nil
  end
  return table.concat(lines, "\n")
end

return M
