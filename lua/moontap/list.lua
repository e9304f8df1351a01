-- SPDX-License-Identifier: BSD-2-Clause
--- Tables that are arrays in JSON even while they are empty.
-- @module moontap.list

local M = {}

local List = { __list = true } -- src/script_json.c looks at it

--- Mark a table as an array.
-- @tparam[opt] table t
-- @treturn table the same, or a new one
function M.new(t)
  return setmetatable(t or {}, List)
end

return M
