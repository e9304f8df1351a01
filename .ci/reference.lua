-- SPDX-License-Identifier: BSD-2-Clause
-- Filter for ldoc --filter: writes docs/reference.md and docs/moontap.d.lua from the comments in lua/moontap, and ends
-- with exit status 1 if something public has none.  Started by .ci/docs, in a folder with copies of the modules.
--
-- MT_DOCS: folder to write to.  MT_SOURCES: where the modules are.  MT_NAMES: what the program itself knows, a line a
-- name: "global NAME", "method NAME" (of packets), "command NAME" (of the
-- prompt), "field MODULE OBJECT NAME TYPE ABSENT UNIT TEXT" (tab separated).

local docs, sources = os.getenv("MT_DOCS"), os.getenv("MT_SOURCES")

-- The chapters in their order.  Functions of a module are CALL.name, methods OBJECT:name.  A module with several
-- kinds of objects has its methods in tables that are called OBJECT_methods.
local CHAPTERS = {
  { module = "moontap", file = "init", call = "moontap", title = "moontap" },
  { module = "moontap.packet", object = "p", class = "moontap.Packet", title = "Packets" },
  { module = "moontap.edit", object = "e", class = "moontap.Edit", parent = "moontap.Packet",
    title = "Editing packets" },
  { module = "moontap.address", object = "address", class = "moontap.Address", fields_in_text = true,
    title = "Addresses" },
  { module = "moontap.mac", object = "mac", class = "moontap.Mac", fields_in_text = true, title = "MAC addresses" },
  { module = "moontap.net", object = "net", class = "moontap.Net", fields_in_text = true, title = "Networks" },
  { module = "moontap.netset", object = "set", class = "moontap.NetSet", title = "Sets of networks" },
  { module = "moontap.filter", object = "filter", class = "moontap.Filter", title = "BPF filters" },
  { module = "moontap.dns", object = "dns", class = "moontap.Dns", title = "DNS messages" },
  { module = "moontap.tls", object = "tls", class = "moontap.Tls", title = "TLS hellos" },
  { module = "moontap.table", object = "t", class = "moontap.Table", title = "Tables" },
  { module = "moontap.topk", object = "top", class = "moontap.TopK", title = "Most frequent keys" },
  { module = "moontap.distinct", object = "d", class = "moontap.Distinct", title = "Distinct keys" },
  { module = "moontap.quantiles", object = "q", class = "moontap.Quantiles", title = "Quantiles" },
  { module = "moontap.histogram", object = "h", class = "moontap.Histogram", title = "Histograms" },
  { module = "moontap.rate", object = "r", class = "moontap.Rate", title = "Rates" },
  { module = "moontap.recent", object = "recent", class = "moontap.Recent", title = "Recent packets" },
  { module = "moontap.cryptopan", title = "Anonymization" },
  { module = "moontap.anonymizer", object = "anonymizer", class = "moontap.Anonymizer", title = "Anonymous packets" },
  { module = "moontap.metric", title = "Gauges and counters" },
  { module = "moontap.trigger", title = "The flight recorder" },
  { module = "moontap.publish", title = "Values for those who attach" },
  { module = "moontap.sketch_key", title = "Keys of sketches" },
  { module = "moontap.saved", title = "Saved state" },
  { module = "moontap.output", title = "Outputs of scripts" },
  { module = "moontap.split", title = "Outputs with a file for each key" },
  { module = "moontap.segment", title = "Runs, segments, blocks and batches" },
  { module = "moontap.plot", call = "moontap.plot", title = "Plots" },
  { module = "moontap.json", call = "moontap.json", title = "JSON" },
  { module = "moontap.format", call = "moontap.format", title = "Numbers and times as text" },
  { module = "moontap.repl.walk", prompt = true, title = "Prompt: packets" },
  { module = "moontap.repl.trial", prompt = true, title = "Prompt: scripts" },
  { module = "moontap.repl.numbers", prompt = true, title = "Prompt: numbers" },
  { module = "moontap.repl.beside", prompt = true, title = "Prompt: beside a capture" },
  { module = "moontap.repl.help", prompt = true, title = "Prompt: help and end" },
}

local problems = {}

local function problem(text, ...)
  problems[#problems + 1] = text:format(...)
end

local function lines_of(path)
  local lines = {}
  local file = io.open(path)
  for line in file and file:lines() or function() end do
    lines[#lines + 1] = line
  end
  if file then
    file:close()
  end
  return lines
end

-- --- what the program knows ---------------------------------------------------------------

local known = { global = {}, method = {}, command = {} }
local fields_of = {} -- by module: a list of { object =, fields = }

local function add_field(module, object, field)
  fields_of[module] = fields_of[module] or {}
  local list = fields_of[module]
  if not list[object] then
    list[object] = { object = object, fields = {} }
    list[#list + 1] = list[object]
  end
  table.insert(list[object].fields, field)
end

for _, text_line in ipairs(lines_of(os.getenv("MT_NAMES"))) do
  local kind, rest = text_line:match("^(%l+) (.*)$")
  if kind == "field" then
    local part = {}
    for word in (rest .. "\t"):gmatch("([^\t]*)\t") do
      part[#part + 1] = word
    end
    add_field(part[1], part[2], { name = part[3], type = part[4], absent = part[5], unit = part[6], text = part[7] })
  else
    known[kind][rest] = true
  end
end

-- --- items ----------------------------------------------------------------------------------

-- What kind of thing an item of a module is, by the line of code that its comment stands on.
local function place_of(item, chapter)
  local name = item.name:match("([^.:]*)$")
  if chapter.prompt then
    return (item.name:match("^commands") or known.command[item.name]) and "command" or nil, name
  end
  local code = ""
  for at = item.lineno, item.lineno + 3 do -- the comment's last line, or the code
    local line = chapter.lines[at] or ""
    if line:match("^%s*function ") or line:match("^%s*local function ") or line:match("^%s*[%w_.]+ = ")
      or line:match("^%s*%[?[%w_\"]+%]? = function") then
      code = line
      break
    end
  end
  local owner = code:match("function%s+([%w_]+)[.:]") or code:match("^%s*([%w_]+)%.[%w_]+%s*=") or ""
  local object = owner:match("^(%l+)_methods$") or owner ~= "M" and owner:match("^%u%l+$") and owner:lower()
  if object then
    return "method", name, object
  end
  if item.name:match("^moontap%.") then
    return "global", item.name
  elseif owner == "getters" then
    return "field", name
  elseif chapter.object and (owner == "methods" or owner == "M" and not chapter.call and item.name:match("^methods%.")
    or item.name:match("^methods%.")) then
    return "method", name
  elseif chapter.object and owner ~= "M" then
    return "method", name
  elseif chapter.call then
    return "function", name
  end
  if owner ~= "M" and owner ~= "" then -- what other modules use
    problem("%s: %s stands where no one will find it", chapter.module, item.name)
  end
  return nil
end

local function is_hidden(item)
  return item.tags["local"] or item.type == "lfunction"
end

local function type_of(list, key)
  local modifiers = list and list[key]
  return modifiers and modifiers.type or nil, modifiers and modifiers.opt
end

-- The parameters that a caller writes: without the object itself.
local function parameters(item)
  local result = {}
  for i, name in ipairs(item.params or {}) do
    local of_type, optional = type_of(item.modifiers.param, i)
    result[#result + 1] = { name = name, type = of_type, optional = optional, text = item.params.map[name] or "" }
  end
  return result
end

local function returns(item)
  local result = {}
  for i, text in ipairs(item.ret or {}) do
    result[i] = { type = type_of(item.modifiers["return"], i), text = text }
  end
  return result
end

local function trim(text)
  return (text or ""):gsub("^%s+", ""):gsub("%s+$", "")
end

local function signature(prefix, name, params)
  local words = {}
  for i, param in ipairs(params) do
    words[i] = param.optional and "[" .. param.name .. "]" or param.name
  end
  return ("%s%s(%s)"):format(prefix, name, table.concat(words, ", "))
end

local function full_text(item)
  return trim(trim(item.summary) .. "\n" .. (item.description or ""))
end

-- --- Markdown -------------------------------------------------------------------------------

local out = {}

local function add(text, ...)
  out[#out + 1] = select("#", ...) > 0 and text:format(...) or text
end

local function optional_default(optional)
  return optional and optional ~= true and (", default %s"):format(optional) or ""
end

local function add_function(title, item)
  add("#### `%s`\n", title)
  add(full_text(item) .. "\n")
  for _, param in ipairs(parameters(item)) do
    add("- `%s`%s%s%s", param.name, param.type and " *" .. param.type .. "*" or "", optional_default(param.optional),
      trim(param.text) ~= "" and ": " .. trim(param.text) or "")
  end
  for i, ret in ipairs(returns(item)) do
    add("- %s%s%s", i == 1 and "returns" or "and", ret.type and " *" .. ret.type .. "*" or "",
      trim(ret.text) ~= "" and ": " .. trim(ret.text) or "")
  end
  if item.raise then -- ldoc moves @raise out of the tags
    add("- raises an error %s", (trim(item.raise)))
  end
  add("")
end

local function add_fields(entry)
  add("| field of `%s` | type | unit | absent | meaning |", entry.object)
  add("| --- | --- | --- | --- | --- |")
  for _, field in ipairs(entry.fields) do
    add("| `%s` | %s | %s | %s | %s |", field.name, field.type, field.unit, field.absent == "never absent" and "-"
      or "`" .. field.absent .. "`", (field.text:gsub("|", "\\|")))
  end
  add("")
end

local function add_object_fields(items)
  add("| field | type | meaning |")
  add("| --- | --- | --- |")
  for _, entry in ipairs(items) do
    local ret = returns(entry.item)[1] or {}
    add("| `%s` | %s | %s |", entry.name, ret.type or "", trim(full_text(entry.item) .. (trim(ret.text) ~= "" and ": "
      .. trim(ret.text) or "")):gsub("\n", " "):gsub("|", "\\|"))
  end
  add("")
end

local function add_chapter(chapter)
  add("## %s\n", chapter.title)
  add(trim(trim(chapter.summary) .. "\n\n" .. (chapter.description or "")) .. "\n")
  for _, entry in ipairs(fields_of[chapter.module] or {}) do
    add_fields(entry)
  end
  local objects = {}
  for _, entry in ipairs(chapter.items) do
    if entry.kind == "field" then
      objects[#objects + 1] = entry
    end
  end
  if #objects > 0 then
    add_object_fields(objects)
  end
  for _, entry in ipairs(chapter.items) do
    if entry.kind ~= "field" then
      local prefix = entry.kind == "method" and (entry.object or chapter.object) .. ":"
        or entry.kind == "function" and chapter.call .. "." or ""
      add_function(signature(prefix, entry.name, parameters(entry.item)), entry.item)
    end
  end
end

-- --- LuaLS ----------------------------------------------------------------------------------

local meta = {}

local function line(text, ...)
  text = select("#", ...) > 0 and text:format(...) or text
  meta[#meta + 1] = (text:gsub("[ #]+$", ""):gsub("[ #]+\n", "\n"))
end

-- Types in the words of LuaLS.
local LUALS = { int64 = "integer", address = "moontap.Address", mac = "moontap.Mac", packet = "moontap.Packet",
  edit = "moontap.Edit", message = "moontap.Dns", record = "moontap.Record", hello = "moontap.Tls", net = "moontap.Net",
  netset = "moontap.NetSet", topk = "moontap.TopK", distinct = "moontap.Distinct", quantiles = "moontap.Quantiles",
  histogram = "moontap.Histogram", rate = "moontap.Rate", recent = "moontap.Recent",
  gauge = "moontap.Gauge", counter = "moontap.Counter",
  value = "table", key = "any", object = "table",
  list = "table" }

-- What LuaLS knows itself; another type must be a class of ours.
local BASIC = { any = true, boolean = true, ["function"] = true, integer = true, number = true, string = true,
  table = true }
local used_types = {} -- type to the name of something that has it

local function luals_type(text, user)
  if not text then
    return "any"
  end
  local optional = text:sub(1, 1) == "?"
  local base = optional and text:sub(2) or text
  base = LUALS[base] or (base:match("^{") and "table") or (base:match("^[%w_.|]+$") and base) or "any"
  for word in base:gmatch("[^|]+") do
    used_types[word] = user
  end
  return base .. (optional and "?" or "")
end

local function comment(text)
  for text_line in (trim(text) .. "\n"):gmatch("([^\n]*)\n") do
    line("---%s", text_line)
  end
end

local function meta_function(name, item)
  comment(full_text(item))
  local words = {}
  for _, param in ipairs(parameters(item)) do
    if param.name ~= "..." then
      line("---@param %s%s %s %s", param.name, param.optional and "?" or "", luals_type(param.type, name),
        trim(param.text):gsub("\n", " "))
    else
      line("---@param ... any %s", trim(param.text):gsub("\n", " "))
    end
    words[#words + 1] = param.name
  end
  for _, ret in ipairs(returns(item)) do
    line("---@return %s # %s", luals_type(ret.type, name), trim(ret.text):gsub("\n", " "))
  end
  line("function %s(%s) end\n", name, table.concat(words, ", "))
end

-- The class of an object of a chapter: its own, or one named after the object.
local function class_of(chapter, object)
  if not object or object == chapter.object then
    return chapter.class
  end
  return "moontap." .. object:sub(1, 1):upper() .. object:sub(2)
end

local function variable(class)
  return (class:gsub("%.", "_"))
end

-- The objects of a chapter, in order, with their described fields.
local function objects_of(chapter)
  local objects, seen = {}, {}
  local function put(object, fields)
    local class = class_of(chapter, object)
    if class and not seen[class] then
      seen[class] = { class = class, fields = fields or {} }
      objects[#objects + 1] = seen[class]
    end
  end
  if chapter.class then
    local own = fields_of[chapter.module] and fields_of[chapter.module][chapter.object]
    put(chapter.object, own and own.fields)
  end
  for _, entry in ipairs(fields_of[chapter.module] or {}) do
    put(entry.object, entry.fields)
  end
  for _, entry in ipairs(chapter.items) do
    if entry.kind == "method" then
      put(entry.object or chapter.object)
    end
  end
  return objects
end

-- Fields that a chapter describes in a list of its text: "- `name`, `name`: meaning".
local FIELD_TYPES = { version = "integer", prefix_len = "integer", first = "moontap.Address", last = "moontap.Address" }

local function prose_fields(chapter)
  local fields = {}
  local list = (chapter.description or ""):match("%*%*Fields.*$") or ""
  for names, text in list:gmatch("\n *%- (`[^:]*`): ([^\n]*)") do
    for name in names:gmatch("`([%w_]+)`") do
      fields[#fields + 1] = { name = name, text = text }
    end
  end
  return chapter.fields_in_text and fields or {}
end

local function add_meta(chapter)
  for _, object in ipairs(objects_of(chapter)) do
    comment(object.class == chapter.class and trim(chapter.summary) or "")
    local own = object.class == chapter.class
    line("---@class %s%s", object.class, own and chapter.parent and ": " .. chapter.parent or "")
    for _, field in ipairs(own and prose_fields(chapter) or {}) do
      line("---@field %s %s %s", field.name, FIELD_TYPES[field.name] or "boolean", field.text)
    end
    for _, field in ipairs(object.fields) do
      line("---@field %s %s%s %s", field.name, luals_type(field.type, field.name), field.absent == "nil" and "?" or "",
        field.text .. (field.unit ~= "" and " (" .. field.unit .. ")" or ""))
    end
    for _, entry in ipairs(object.class == chapter.class and chapter.items or {}) do
      if entry.kind == "field" then
        local ret = returns(entry.item)[1] or {}
        line("---@field %s %s %s", entry.name, luals_type(ret.type, entry.name),
          (trim(full_text(entry.item)):gsub("\n", " ")))
      end
    end
    line("local %s = {}\n", variable(object.class))
  end
  if chapter.call and chapter.call ~= "moontap" then
    line("%s = {}\n", chapter.call)
  end
  for _, entry in ipairs(chapter.items) do
    if entry.kind == "method" then
      meta_function(variable(class_of(chapter, entry.object)) .. ":" .. entry.name, entry.item)
    elseif entry.kind == "function" then
      meta_function(chapter.call .. "." .. entry.name, entry.item)
    elseif entry.kind == "global" then
      meta_function(entry.name, entry.item)
    end
  end
end

-- --- all of it ------------------------------------------------------------------------------

local function write(name, lines)
  local file = assert(io.open(docs .. "/" .. name, "w"))
  file:write((table.concat(lines, "\n"):gsub("\n\n\n+", "\n\n"):gsub("%s*$", "\n")))
  file:close()
end

local function collect(modules)
  local by_name = {}
  for _, module in ipairs(modules) do
    by_name[module.name] = module
  end
  local documented = { global = {}, method = {}, command = {} }
  for _, chapter in ipairs(CHAPTERS) do
    local module = by_name[chapter.module]
    chapter.items = {}
    if not module then
      chapter.missing = true
    else
      chapter.summary, chapter.description = module.summary, module.description
      local file = chapter.file or chapter.module:match("^moontap%.(.*)$")
      chapter.lines = lines_of(("%s/%s.lua"):format(sources, file))
      for _, item in ipairs(module.items) do
        if not is_hidden(item) then
          local kind, name, object = place_of(item, chapter)
          if kind then
            chapter.items[#chapter.items + 1] = { kind = kind, name = name, item = item, object = object }
          end
          if kind == "command" then
            documented.command[name] = true
          elseif kind == "global" then
            documented.global[name:match("^moontap%.(.*)")] = true
          elseif kind == "function" and chapter.call == "moontap" then
            documented.global[name] = true
          elseif kind == "method" and chapter.class == "moontap.Packet" then
            documented.method[name] = true
          end
        end
      end
    end
  end
  return documented
end

local function check(documented)
  for _, chapter in ipairs(CHAPTERS) do
    if chapter.missing then
      problem("the chapter %s has no module", chapter.module)
    elseif chapter.call and chapter.call ~= "moontap" then
      documented.global[chapter.call:match("^moontap%.(.*)")] = true
    end
  end
  local prefixes = { global = "moontap.", method = "p:", command = "the command " }
  for kind, prefix in pairs(prefixes) do
    for name in pairs(known[kind]) do
      if not documented[kind][name] then
        problem("%s%s has no comment", prefix, name)
      end
    end
  end
  for module, objects in pairs(fields_of) do
    for _, entry in ipairs(objects) do
      for _, field in ipairs(entry.fields) do
        if field.text == "" or field.type == "" or field.absent == "" then
          problem("%s: the field %s of %s is not described", module, field.name, entry.object)
        end
      end
    end
  end
end

return {
  filter = function(modules)
    check(collect(modules))
    add("# Scripting reference\n")
    add("Written by `make docs` from the comments in `lua/`; the guide is [scripting.md](scripting.md). In signatures")
    add("`[x]` may be left out; a type that begins with `?` may be nil.\n")
    for _, chapter in ipairs(CHAPTERS) do
      if not chapter.missing then
        add("- [%s](#%s)", chapter.title, chapter.title:lower():gsub("[^%w ]", ""):gsub(" ", "-"))
      end
    end
    add("")
    line("---@meta\n")
    line("-- For the Lua language server: completion and types in scripts for moontap.  Written by make docs.\n")
    line("moontap = {}\n")
    for _, chapter in ipairs(CHAPTERS) do
      if not chapter.missing then
        add_chapter(chapter)
        if not chapter.prompt then
          add_meta(chapter)
        end
      end
    end
    local classes = {}
    for _, text in ipairs(meta) do
      classes[text:match("^%-%-%-@class ([%w.]+)") or ""] = true
    end
    for name, user in pairs(used_types) do
      if not BASIC[name] and not classes[name] then
        problem("%s: the type %s is none that editors know", user, name)
      end
    end
    write("reference.md", out)
    write("moontap.d.lua", meta)
    table.sort(problems)
    for _, text in ipairs(problems) do
      io.stderr:write("docs: ", text, "\n")
    end
    os.exit(#problems == 0 and 0 or 1)
  end,
}
