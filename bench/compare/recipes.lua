-- SPDX-License-Identifier: BSD-2-Clause
-- The group about recipes, see groups.lua: each beside the plain hook of the merge, on the same files.
local common = require("compare.common")
local inputs = require("compare.inputs")
local same = require("compare.same")
local shell = require("compare.shell")
local target = require("compare.target")

local HOOK = "moontap, hook"

-- Name of the row, what stands behind moontap -l, and whether packets are written: "file" or "folder".
local RECIPES = {
  { "summary", "summary" },
  { "rates", "rates" },
  { "top", "top" },
  { "flows", "flows", aside = "script tables" },
  { "dns", "dns", aside = "script tables" },
  { "tls", "tls" },
  { "sample", "sample,n=10", "file" },
  { "dedup", "dedup", "file" },
  { "anonymize", "anonymize,key=key", "file", all = true },
  { "split, ports", "split,by=dport,dir=folder", "folder" },
  { "split, addresses", "split,by=src,dir=folder", "folder" },
}

local function half(run)
  return math.ceil(run.packets / 2)
end

-- Every packet is in the file, or the recipe has something to say.
local function check(recipe, packets)
  return function(run)
    if recipe.all and same.count("out.pcap") ~= packets then
      return ("%d packets instead of %d"):format(same.count("out.pcap"), packets)
    end
    return run.out == "" and recipe[3] ~= "file" and "it printed nothing" or nil
  end
end

return {
  name = "recipes",
  generated_only = true,
  needs = function(run) return half(run) * 90 * 2.2 end,
  make = function(run)
    local packets = half(run)
    inputs.generate("in", packets, 4, "--snaplen 64 --dns")
    shell.run("umask 077; head -c 32 /dev/urandom >key")
    local function row(name, script, output)
      local to = output == "file" and "--format pcap -o out.pcap " or ""
      return common.ours {
        name = name, packets = packets, command = ("moontap -q -l %s %sin/*"):format(script, to),
        output = output == "file" and "out.pcap" or output,
      }
    end
    local rows, targets = { row(HOOK, "bench/hook.lua", "file") }, {}
    rows[1].check = same.printed(packets)
    for i, recipe in ipairs(RECIPES) do
      local r = row(recipe[1], recipe[2], recipe[3])
      r.check, r.aside = check(recipe, packets), recipe.aside
      rows[i + 1], targets[i] = r, target.at_most(2, r.name, HOOK)
    end
    return {
      title = ("%s packets in 4 files, 64 bytes of each captured, a quarter of them DNS messages captured whole")
        :format(common.thousands(packets)),
      base = HOOK, rows = rows, targets = targets,
    }
  end,
}
