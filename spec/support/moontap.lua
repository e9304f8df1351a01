-- SPDX-License-Identifier: BSD-2-Clause
-- What every spec uses: an own folder for each test, commands run in it, and the judges
-- (capinfos, tshark, mergecap) as functions.
--
--   local t = require("support.moontap")
--   before_each(t.fresh) after_each(t.clean)
--   it("…", function() local r = t.sh("moontap -o out.pcap f/web.pcap") assert.equal(0, r.code) end)
--
-- In the folder f is spec/fixtures and m is spec/fixtures/made; moontap and mtracecap are on the PATH.

local json = require("cjson")

local M = {}

local top = assert(os.getenv("PWD"), "PWD is not set")
local program = assert(os.getenv("MOONTAP"), "MOONTAP is not set: use spec/run")
M.asan = program:find("asan", 1, true) ~= nil
M.tsan = program:find("tsan", 1, true) ~= nil
M.dir = nil

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end
M.quote = quote

local function slurp(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local bytes = file:read("*a")
  file:close()
  return bytes
end

local function capture(command)
  local pipe = assert(io.popen(command, "r"))
  local out = pipe:read("*a")
  pipe:close()
  return out
end

-- --- the test's folder -----------------------------------------------------------------

local cleanups = {}

function M.fresh()
  M.dir = capture("mktemp -d /tmp/moontap-spec.XXXXXX"):match("%S+")
  cleanups = {}
  assert(os.execute(("cd %s && mkdir .bin && ln -s %s f && ln -s %s m && ln -s %s .bin/moontap && ln -s %s .bin/mtracecap")
    :format(M.dir, quote(top .. "/spec/fixtures"), quote(top .. "/spec/fixtures/made"), quote(program),
      quote(program))) == 0)
end

function M.clean()
  for i = #cleanups, 1, -1 do
    os.execute(cleanups[i])
  end
  os.execute("rm -rf " .. M.dir)
end

-- Run this shell command after the test, whatever becomes of it.
function M.finally(command)
  cleanups[#cleanups + 1] = command
end

function M.path(name)
  return name:sub(1, 1) == "/" and name or M.dir .. "/" .. name
end

function M.read(name)
  return slurp(M.path(name))
end

function M.write(name, text)
  local file = assert(io.open(M.path(name), "wb"))
  file:write(text)
  file:close()
  return name
end

function M.exists(name)
  return os.execute("test -e " .. quote(M.path(name))) == 0
end

-- Names in a folder, sorted, hidden ones too, without "." and "..".
function M.list(name)
  local names = {}
  for entry in capture("cd " .. quote(M.path(name or ".")) .. " && ls -A"):gmatch("[^\n]+") do
    names[#names + 1] = entry
  end
  return names
end

-- Paths of all files below a folder, relative to it, sorted.
function M.tree(name)
  local names = {}
  local command = "cd " .. quote(M.path(name)) .. " && find . -type f | sed 's,^\\./,,' | LC_ALL=C sort"
  for entry in capture(command):gmatch("[^\n]+") do
    names[#names + 1] = entry
  end
  return names
end

-- --- commands --------------------------------------------------------------------------

-- Run a shell command in the test's folder.  options: stdin (a string), env (a table),
-- timeout (seconds; 124 is the code then).  Returns {code, out, err}; what a sanitizer
-- reports is an error of the test at once.
function M.sh(command, options)
  options = options or {}
  local env = {}
  for name, value in pairs(options.env or {}) do
    env[#env + 1] = name .. "=" .. quote(value)
  end
  local stdin = "/dev/null"
  if options.stdin then
    stdin = M.path(".stdin")
    M.write(".stdin", options.stdin)
  end
  M.write(".command", command)
  local timeout = (options.timeout or 60) * (M.tsan and 4 or M.asan and 2 or 1)
  local line = ("cd %s && env PATH=%s/.bin:\"$PATH\" %s timeout -k 5 %g sh .command >.out 2>.err <%s")
    :format(M.dir, M.dir, table.concat(env, " "), timeout, stdin)
  local status = os.execute(line)
  local r = { code = math.floor(status / 256), out = M.read(".out"), err = M.read(".err"), command = command }
  for _, mark in ipairs { "Sanitizer", "runtime error:" } do
    if r.err:find(mark, 1, true) or r.out:find(mark, 1, true) then
      error(("%s\nsanitizer report:\n%s\n%s"):format(command, r.err:sub(1, 6000), r.out:sub(1, 2000)), 2)
    end
  end
  return r
end

local function show(r)
  return ("%s\nexit status %d\nstandard output:\n%s\nstandard error:\n%s")
    :format(r.command, r.code, r.out:sub(1, 3000), r.err:sub(1, 3000))
end

-- The same, and the exit status must be `code` (default 0).
function M.run(command, code, options)
  local r = M.sh(command, options)
  if r.code ~= (code or 0) then
    error(("expected exit status %d\n%s"):format(code or 0, show(r)), 2)
  end
  return r
end

-- The command must fail with this status and say every one of these words (plain text) on
-- standard error, as a message of moontap.
function M.refuses(command, code, ...)
  local r = M.sh(command)
  if r.code ~= code then
    error(("expected exit status %d\n%s"):format(code, show(r)), 2)
  end
  for _, word in ipairs { ... } do
    if not r.err:find(word, 1, true) then
      error(("expected %q in standard error\n%s"):format(word, show(r)), 2)
    end
  end
  if not r.err:find("moontap: ", 1, true) then
    error("expected a message that begins with the program's name\n" .. show(r), 2)
  end
  return r
end

-- For the shell: wait until the program of process $pid has said this on standard error, or has ended.
function M.once(text)
  return ("until grep -q %s .err || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done"):format(quote(text))
end

-- --json: the object a command printed as the only text on standard output.
function M.json(command, code, options)
  local r = M.run(command, code, options)
  local ok, object = pcall(json.decode, r.out)
  if not ok then
    error("standard output is not one JSON object: " .. tostring(object) .. "\n" .. show(r), 2)
  end
  return object, r
end

M.null = json.null

-- The equation that every run's --json obeys.
function M.balances(r)
  local sum = r.kept + r.filtered + r.script_dropped + r.dropped
  if r.packets ~= sum then
    error(("packets %d is not kept %d + filtered %d + script_dropped %d + dropped %d"):format(r.packets, r.kept,
      r.filtered, r.script_dropped, r.dropped), 2)
  end
  return r
end

-- The objects of a file of JSON lines.
function M.json_lines(name)
  local objects = {}
  for line in assert(M.read(name), name .. " is not there"):gmatch("([^\n]*)\n") do
    objects[#objects + 1] = json.decode(line)
  end
  return objects
end

-- --- the judges ------------------------------------------------------------------------

-- What tshark says about each packet: "epoch-time wire-length captured-length md5" (or other
-- fields), a list of lines.  It must read the file without complaint.
function M.packets(name, fields, filter)
  local t = { "tshark -n -r", quote(M.path(name)), "-o frame.generate_md5_hash:TRUE -T fields -E separator=/s" }
  for _, field in ipairs(fields or { "frame.time_epoch", "frame.len", "frame.cap_len", "frame.md5_hash" }) do
    t[#t + 1] = "-e " .. field
  end
  if filter then
    t[#t + 1] = "-Y " .. quote(filter)
  end
  local r = M.sh(table.concat(t, " "))
  local complaint = r.err:gsub('Running as user "root"[^\n]*\n', "")
  if r.code ~= 0 or complaint ~= "" then
    error(name .. ": tshark complains: " .. complaint .. "\n" .. show(r), 2)
  end
  local lines = {}
  for line in r.out:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

-- One field of each packet.
function M.field(name, field, filter)
  return M.packets(name, { field }, filter)
end

-- {packets, encap, first, last, type}: what capinfos says; first and last are the smallest
-- and largest times as "SEC.FRACTION", nil without packets.  Errors if it can not read the file.
function M.capinfos(name)
  local r = M.sh("capinfos -rTMtEcaeS " .. quote(M.path(name)))
  if r.code ~= 0 then
    error(name .. ": capinfos complains\n" .. show(r), 2)
  end
  local kind, encap, packets, first, last = r.out:match("^[^\t]*\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t\n]*)")
  assert(kind, "capinfos said: " .. r.out)
  return { type = kind, encap = encap, packets = tonumber(packets), first = first:match("%d[%d.]*"),
    last = last:match("%d[%d.]*") }
end

-- Does capinfos find the times in order?
function M.in_order(name)
  local order = M.run("capinfos -o " .. quote(M.path(name))).out:match("Strict time order:%s+(%a+)")
  return order == "True"
end

function M.count(name)
  return M.capinfos(name).packets
end

-- Interfaces of a pcapng file in their order, as capinfos knows them: {name, description, encap, packets}.
function M.interfaces(name)
  local out = M.run("capinfos -I " .. quote(M.path(name))).out
  local list = {}
  for line in out:gmatch("[^\n]+") do
    if line:match("^Interface #%d+ info") then
      list[#list + 1] = {}
    elseif #list > 0 then
      local key, value = line:match("^%s+(.-) = (.*)$")
      local keys = { Name = "name", Description = "description", Encapsulation = "encap",
        ["Number of packets"] = "packets" }
      if key and keys[key] then
        list[#list][keys[key]] = value
      end
    end
  end
  return list
end

-- The packets of mergecap's merge of these files.
function M.mergecap(format, ...)
  local names = {}
  for i, name in ipairs { ... } do
    names[i] = quote(M.path(name))
  end
  M.run(("mergecap -F %s -w judge.%s %s"):format(format, format, table.concat(names, " ")))
  return M.packets("judge." .. format)
end

-- --- what may be missing ---------------------------------------------------------------

-- The folder of other projects' captures, or nil and why not.
function M.corpus()
  local dir = os.getenv("MOONTAP_CAPTURES") or top .. "/../shared/captures"
  if slurp(dir .. "/MANIFEST.tsv") then
    return dir
  end
  return nil, "the corpus is not there (set MOONTAP_CAPTURES)"
end

-- A tab-separated file with a heading as a list of tables.
function M.tsv(path)
  local rows, names = {}, nil
  for line in assert(slurp(path), path .. " is not there"):gmatch("([^\n]*)\n") do
    local row, i = {}, 0
    for value in (line .. "\t"):gmatch("([^\t]*)\t") do
      i = i + 1
      row[names and names[i] or i] = value
    end
    if names then
      rows[#rows + 1] = row
    else
      names = row
    end
  end
  return rows
end

-- A trace made by bench/generate.c, which is built at the first call; options as it has them.  Makes DIR/1.pcap ….
function M.generate(dir, options)
  local tool = top .. "/build/spec/generate"
  if os.execute(("test %s -nt %s"):format(quote(tool), quote(top .. "/bench/generate.c"))) ~= 0 then
    -- A name of its own first: spec files run side by side.
    local own = tool .. M.dir:match("[^.]*$")
    assert(os.execute(("mkdir -p %s && ${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -o %s %s && mv %s %s"):format(
      quote(top .. "/build/spec"), quote(own), quote(top .. "/bench/generate.c"), quote(own), quote(tool))) == 0)
  end
  assert(os.execute(("mkdir -p %s && %s %s --dir %s"):format(M.path(dir), quote(tool), options, M.path(dir))) == 0)
end

-- Two network namespaces "left" and "right" with a cable veth0 - veth0 (10.77.0.1 and .2), and if `cables` is 2,
-- another veth1 - veth1; gone after the test.  Returns a table with `left` and `right`: prefixes for commands.
-- Or nil and why not.
function M.netns(cables)
  if capture("id -u"):match("%d+") ~= "0" then
    return nil, "network namespaces need root"
  end
  local id = M.dir:match("[^.]*$")
  local left, right = "mtl-" .. id, "mtr-" .. id
  M.finally(("ip netns del %s 2>/dev/null; ip netns del %s 2>/dev/null"):format(left, right))
  local status = os.execute(([[exec >/dev/null 2>&1
    ip netns add %s && ip netns add %s &&
    ip link add veth0 mtu 9000 netns %s type veth peer name veth0 mtu 9000 netns %s &&
    ip -n %s addr add 10.77.0.1/24 dev veth0 && ip -n %s addr add 10.77.0.2/24 dev veth0 &&
    ip -n %s link set veth0 up && ip -n %s link set veth0 up && ip -n %s link set lo up]])
    :format(left, right, left, right, left, right, left, right, left))
  if status ~= 0 then
    return nil, "no network namespaces here"
  end
  if cables == 2 and os.execute(([[exec >/dev/null 2>&1
    ip link add veth1 netns %s type veth peer name veth1 netns %s &&
    ip -n %s link set veth1 up && ip -n %s link set veth1 up]]):format(left, right, left, right)) ~= 0 then
    return nil, "no second cable here"
  end
  return { left = "ip netns exec " .. left, right = "ip netns exec " .. right }
end

-- A tmpfs of `size` at `name`; true, or nil and why not.
function M.tmpfs(name, options)
  local path = M.path(name)
  os.execute("mkdir -p " .. path)
  M.finally("umount " .. path .. " 2>/dev/null")
  if os.execute(("mount -t tmpfs -o %s none %s 2>/dev/null"):format(options, path)) ~= 0 then
    return nil, "mounting a tmpfs is not allowed here"
  end
  return true
end

return M
