-- What the Lua here may use, and how long its lines may be.
std = "luajit"
max_line_length = 120
cache = false
files["scripts"] = { std = "luajit", read_globals = { "moontap" } }
files[".ci/names.lua"] = { std = "luajit", read_globals = { "moontap" } }
files["bench"] = { std = "luajit", read_globals = { "moontap" } }
files["spec"] = { std = "luajit+busted", max_line_length = 170 }
files["spec/support"] = { std = "luajit+busted", max_line_length = 170, read_globals = { "moontap" } }

-- Written by make docs, for the Lua language server.
exclude_files = { "docs/moontap.d.lua" }
