-- SPDX-License-Identifier: BSD-2-Clause
-- Every example of docs/scripting.md prints what stands below it, and every script there is run.
local t = require("support.moontap")

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local text = read("docs/scripting.md")

-- The blocks of Lua that are files, and the blocks that are commands, in their order.
local scripts, blocks = {}, {}
for script, name in text:gmatch("```lua\n(%-%- ([%w-]+%.lua).-)```") do
  scripts[#scripts + 1] = { name = name, text = script }
end
for block in text:gmatch("\n```\n(%$ .-)\n```") do
  blocks[#blocks + 1] = block
end

describe("docs/scripting.md", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("has a command for each script", function()
    assert.is_true(#scripts >= 15)
    for _, script in ipairs(scripts) do
      assert.is_truthy(text:find("-l ./" .. script.name, 1, true), script.name)
    end
  end)

  for _, block in ipairs(blocks) do
    it(block:match("%$ ([^\n]+)"), function()
      for _, script in ipairs(scripts) do
        t.write(script.name, script.text)
      end
      t.sh("mkdir -p spec && ln -sfn ../f spec/fixtures && ln -sf $(command -v moontap) moontap")
      local commands, expected = {}, {}
      for line in (block .. "\n"):gmatch("([^\n]*)\n") do
        if line:find("^%$ ") then
          commands[#commands + 1] = line:sub(3)
        else
          expected[#expected + 1] = line
        end
      end
      local r = t.sh(table.concat(commands, "\n"))
      assert.equal(table.concat(expected, "\n"), (r.out:gsub("\n$", "")))
      assert.equal("", (r.err:gsub("reading from file[^\n]*\n", ""):gsub('Running as user "root"[^\n]*\n', "")))
    end)
  end

  it("names only fields and functions that there are", function()
    local reference = read("docs/reference.md")
    local known = {}
    for name in reference:gmatch("`([%w_.:]+)") do
      known[name] = true
    end
    for name in text:gmatch("`p[.:]([%w_]+)") do
      assert.is_true(known[name] or known["p:" .. name] or false, "p." .. name)
    end
    for name in text:gmatch("`(moontap%.[%w_.]+)") do
      assert.is_true(known[name] or name == "moontap.json.encode" or name == "moontap.d.lua" or false, name)
    end
  end)
end)
