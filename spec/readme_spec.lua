-- SPDX-License-Identifier: BSD-2-Clause
-- Every example of the README prints what the README says.
local t = require("support.moontap")

-- The blocks of README.md whose first line is a command: { commands, output }.
local function examples()
  local file = assert(io.open("README.md"))
  local text = file:read("*a")
  file:close()
  local found = {}
  for block in text:gmatch("\n```\n(%$ .-)\n```") do
    found[#found + 1] = block
  end
  return found, text
end

describe("README", function()
  before_each(t.fresh)
  after_each(t.clean)

  local blocks, text = examples()
  local script = text:match("```lua\n(.-)```")

  it("has examples", function()
    assert.is_true(#blocks >= 5)
  end)

  for _, block in ipairs(blocks) do
    it(block:match("%$ (%S+ %S+ ?%S*)"), function()
      t.write("slow.lua", script)
      t.sh("mkdir -p spec && ln -sfn ../f spec/fixtures && ln -sf $(command -v moontap) moontap")
      local commands, expected = {}, {}
      for line in (block .. "\n"):gmatch("([^\n]*)\n") do
        if line:find("^%$ ") then
          commands[#commands + 1] = line:sub(3)
        else
          expected[#expected + 1] = line
        end
      end
      local out = t.sh(table.concat(commands, "\n")).out
      assert.equal(table.concat(expected, "\n"), (out:gsub("\n$", "")))
    end)
  end
end)
