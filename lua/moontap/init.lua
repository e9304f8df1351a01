-- SPDX-License-Identifier: BSD-2-Clause
--- What scripts find in the global `moontap` (also `require "moontap"`).
--
-- Beside what stands here: `moontap.net`, `netset`, `filter`, `table`, `topk`, `distinct`, `quantiles`, `histogram`,
-- `rate`, `recent`, `gauge`, `counter`, `trigger`, `publish`, `cryptopan`, `anonymizer`, `load`, `output`, `split`,
-- `plot`, `json` and `format`, each in a chapter of its own. `moontap.version` is a string, the version of the program.
-- @module moontap

local address = require "moontap.address"
local format = require "moontap.format"
local list = require "moontap.list"
local mac = require "moontap.mac"
local suggest = require "moontap.suggest"

local M = {}

--- Version of the program, as `moontap --version` prints it.
M.version = "" -- set by the runtime

--- End the run after the packet in hand, as if the sources had ended.
function M.stop()
  error "moontap.stop can only be called while moontap runs"
end

--- An IP address from its text, to compare with `p.src` and `p.dst`.
-- @function moontap.address
-- @tparam string text `10.0.0.1` or `2001:db8::1`
-- @treturn address
-- @raise if the text is no address
M.address = address.new

--- An Ethernet address from its text, to compare with `p.eth_src` and `p.eth_dst`.
-- @function moontap.mac
-- @tparam string text `02:00:00:00:00:01`
-- @treturn mac
-- @raise if the text is no such address
M.mac = mac.new

--- Text of a key that `p.src_key`, `p.dst_key`, `p.eth_src_key` or `p.eth_dst_key` gave.
-- @function moontap.key_text
-- @tparam string key 4, 16 or 6 bytes
-- @treturn string
M.key_text = address.key_text

--- A table for results that is an array in JSON even while it is empty.
-- @function moontap.list
-- @tparam[opt] table t
-- @treturn table the same
M.list = list.new

M.format = format

-- What has a module of its own and is loaded when a script first names it, so that a short run does not
-- pay for what it does not use: the name, its module, and what of it is the value if not all.
local LATER = {
  counter = { "moontap.metric", "counter" },
  anonymizer = { "moontap.anonymizer", "new" },
  cryptopan = { "moontap.cryptopan", "new" },
  distinct = { "moontap.distinct", "new" },
  filter = { "moontap.filter", "new" },
  gauge = { "moontap.metric", "gauge" },
  histogram = { "moontap.histogram", "new" },
  json = { "moontap.json" },
  net = { "moontap.net", "new" },
  netset = { "moontap.netset", "new" },
  load = { "moontap.saved", "load" },
  output = { "moontap.output", "new" },
  plot = { "moontap.plot" },
  publish = { "moontap.publish", "publish" },
  quantiles = { "moontap.quantiles", "new" },
  rate = { "moontap.rate", "new" },
  recent = { "moontap.recent", "new" },
  split = { "moontap.split", "new" },
  table = { "moontap.table", "new" },
  trigger = { "moontap.trigger", "pull" },
  topk = { "moontap.topk", "new" },
}

--- The names of everything that is in `moontap`.
-- @treturn {string,...} sorted
-- @local
function M.names()
  local names = {}
  for _, list_of in ipairs { M, LATER } do
    for name in pairs(list_of) do
      if name ~= "names" and not (list_of == LATER and rawget(M, name)) then
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

local function later(_, name)
  local place = LATER[name]
  if place then
    local module = require(place[1])
    M[name] = place[2] and module[place[2]] or module
    return M[name]
  end
  local known = {}
  for _, names in ipairs { M, LATER } do
    for key in pairs(names) do
      known[key] = true
    end
  end
  error(("moontap has no '%s'%s"):format(tostring(name), suggest.suffix(tostring(name), known)), 2)
end

return setmetatable(M, { __index = later })
