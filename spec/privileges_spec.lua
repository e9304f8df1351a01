-- SPDX-License-Identifier: BSD-2-Clause
-- Capturing with as few rights as possible.
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

local is_root = io.popen("id -u"):read("*l") == "0"

local function find_obstacle()
  if not is_root then
    return "needs root"
  end
  t.fresh()
  local net, why = t.netns()
  t.clean()
  return not net and why or nil
end

local function numbered(path, n)
  local packets = {}
  for i = 1, n do
    packets[i] = { 1000, i, c.udp { id = i, payload = ("%08d"):format(i) } }
  end
  c.write(t.path(path), c.pcap(packets))
end

describe("privileges", function()
  local net
  local why = find_obstacle()
  local it = why and function(name) it(name, function() pending(why) end) end or it

  before_each(function()
    t.fresh()
    net = t.netns()
    t.run("chmod 755 .; mkdir out; chmod 777 out")
    numbered("a.pcap", 3000)
    t.run("chmod 644 a.pcap")
  end)
  after_each(t.clean)

  it("capabilities are enough to capture", function()
    t.run([[cp "$(readlink -f "$(command -v moontap)")" tap; chmod 755 tap; setcap cap_net_raw,cap_net_admin=ep tap]])
    local r = t.sh("setpriv --reuid=nobody --regid=nogroup --clear-groups ./tap --version")
    if r.code ~= 0 then
      return pending("the file system of the test knows no capabilities") -- or the program can not be read
    end
    r = t.run(([[%s setpriv --reuid=nobody --regid=nogroup --clear-groups ./tap --json -F 'udp port 2000' -B out -P 1000 veth0 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=10000 -i veth0 a.pcap >/dev/null 2>&1; sleep 0.4; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    local o = t.balances(json.decode(t.read("json")))
    assert.equal(3000, o.kept, r.err)
    assert.equal("nobody\n", t.run("stat -c %U out/manifest.jsonl").out)
  end)

  it("without them a plain sentence says what is missing", function()
    t.refuses(net.left .. " setpriv --reuid=nobody --regid=nogroup --clear-groups moontap -o out/x.pcap veth0", 1, "veth0",
      "CAP_NET_RAW")
  end)

  it("--user: later segments, manifest, sequence and commands still work, as that user and with no way back", function()
    t.write("names.lua", [[return { on_segment_open = function(s) return "named-" .. s.n end }]])
    t.run("chmod 644 names.lua")
    local r = t.run(([[%s moontap --json --user nobody -F 'udp port 2000' -l ./names.lua -N out/sequence -B out -P 1000 --metrics 19100 --pipeout cat \
        --on-close 'id -un >>out/who; grep NoNewPrivs /proc/self/status >>out/who' veth0 >json & pid=$!; sleep 0.8
      grep -E '^(Uid|Groups|CapEff|NoNewPrivs)' /proc/$pid/status >status
      for task in /proc/$pid/task/*/status; do grep -E '^(Uid|CapPrm|NoNewPrivs)' $task | xargs >>tasks; done
      %s tcpreplay -q --pps=10000 -i veth0 a.pcap >/dev/null 2>&1; sleep 0.4; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    local o = t.balances(json.decode(t.read("json")))
    assert.equal(3000, o.kept, r.err)
    assert.equal(3, #t.json_lines("out/manifest.jsonl"))
    assert.equal("nobody\n", t.run("stat -c %U out/named-3.pcap").out)
    assert.equal("3", t.read("out/sequence"):match("%d+"))
    assert.equal(("nobody\nNoNewPrivs:\t1\n"):rep(3), t.read("out/who"))
    local status = t.read("status")
    assert.is_truthy(status:find("CapEff:%s+0000000000000000"), status)
    assert.is_truthy(status:find("NoNewPrivs:%s+1"), status)
    local id = t.run("id -u nobody").out:match("%d+")
    assert.is_truthy(status:find("Uid:%s+" .. (id .. "%s+"):rep(3) .. id), status)
    local n, tasks = 0, t.read("tasks")
    for task in tasks:gmatch("[^\n]+") do
      n = n + 1
      assert.equal(("Uid: %s %s %s %s CapPrm: 0000000000000000 NoNewPrivs: 1"):format(id, id, id, id), task, tasks)
    end
    assert.is_true(n > 4, tasks)
  end)

  it("--user with a folder that the user can not write is refused at start", function()
    t.run("mkdir mine")
    t.refuses(net.left .. " moontap --user nobody -B mine veth0", 1, "mine", "Permission denied")
  end)

  it("--sandbox: segments, manifest and names work, live and as another user", function()
    local r = t.run(([[%s moontap --json --sandbox --user nobody -F 'udp port 2000' --name 'a/%%{n}' -N out/sequence -B out -P 1000 -Z zst veth0 >json & pid=$!; sleep 0.8
      %s tcpreplay -q --pps=10000 -i veth0 a.pcap >/dev/null 2>&1; sleep 0.4; kill -INT $pid; wait $pid]]):format(net.left, net.right))
    assert.equal(3000, t.balances(json.decode(t.read("json"))).kept, r.err)
    assert.is_true(t.exists("out/a/3.pcap.zst"))
  end)

  it("--sandbox makes a new folder as the user of --user, and only where that one may", function()
    local r = t.sh("moontap -q --sandbox --user nobody -B out/new a.pcap")
    if r.err:find("this kernel has no Landlock", 1, true) then
      return pending("this kernel has no Landlock")
    end
    assert.equal(0, r.code, r.err)
    assert.equal("nobody\n", t.run("stat -c %U out/new").out)
    t.refuses("moontap --sandbox --user nobody -B elsewhere a.pcap", 1, "elsewhere", "Permission denied")
    assert.is_false(t.exists("elsewhere"))
  end)
end)

describe("--sandbox", function()
  before_each(t.fresh)
  after_each(t.clean)
  -- Not every kernel has it.
  local function sandbox(options)
    local r = t.sh("moontap --sandbox " .. options)
    if r.code == 1 and r.err:find("this kernel has no Landlock", 1, true) then
      pending("this kernel has no Landlock")
      return nil
    end
    return r
  end

  it("leaves writing below the output folders, and nothing else", function()
    t.write("s.lua", [[
      local function try(path) local f, why = io.open(path, "w") if f then f:close() end return f and "written" or why end
      return { on_stop = function()
        print(try("elsewhere"))
        print(try("out/note"))
        print(try("/dev/shm/moontap-sandbox-test"))
        print(try("f/web.pcap"))
        print(os.rename("out/note", "note"))
        print(os.remove("s.lua"))
        print(os.execute("touch ran"))
        local pipe = io.popen("echo ran")
        print(pipe and pipe:read("*a"))
        print(io.open("s.lua"):read("*l") ~= nil)
      end }]])
    local r = sandbox("-l ./s.lua -B out f/web.pcap")
    if not r then return end
    assert.equal(0, r.code, r.err)
    local lines = {}
    for line in r.out:gmatch("[^\n]+") do
      lines[#lines + 1] = line
    end
    assert.is_truthy(lines[1]:find("Permission denied", 1, true), r.out)
    assert.equal("written", lines[2], r.out)
    assert.is_truthy(lines[3]:find("Permission denied", 1, true), r.out)
    assert.equal("true", lines[#lines])
    assert.is_false(t.exists("elsewhere"))
    assert.is_false(t.exists("ran"))
    assert.is_false(t.exists("note"))
    assert.is_true(t.exists("s.lua"))
    assert.is_false(t.exists("/dev/shm/moontap-sandbox-test"))
    assert.is_true(#t.read("f/web.pcap") > 1000)
  end)

  it("one file and standard output can be written", function()
    if not sandbox("-o out.pcap f/web.pcap") then return end
    assert.equal(t.count("f/web.pcap"), t.count("out.pcap"))
    t.run("moontap --sandbox -o - f/web.pcap >stdout.pcap")
    assert.equal(t.count("f/web.pcap"), t.count("stdout.pcap"))
    t.run("moontap --sandbox -o /dev/null f/web.pcap")
    t.run("moontap --sandbox -o /dev/stdout f/web.pcap | cat >piped.pcap")
    assert.equal(t.count("f/web.pcap"), t.count("piped.pcap"))
  end)

  it("refuses what needs more, by name", function()
    if not sandbox("-o out.pcap f/web.pcap") then return end
    t.refuses("moontap --sandbox -B out --pipeout cat f/web.pcap", 1, "--sandbox", "--pipeout cat")
    t.refuses("moontap --sandbox -B out --on-close true f/web.pcap", 1, "--sandbox", "--on-close true")
    t.refuses("moontap --sandbox -B out -N number f/web.pcap", 1, "--sandbox", "-N number", "out")
    t.refuses("moontap --sandbox -o libtrace:pcapfile:x.pcap f/web.pcap", 1, "--sandbox", "libtrace")
    for word, option in pairs { ["on_close='true'"] = "--on-close true", ["pipe='cat'"] = "--pipeout cat" } do
      t.write("s.lua", "local o = moontap.output { name = 'o', dir = 'out/o', " .. word .. " } return { on_packet = function() return o end }")
      t.refuses("moontap --sandbox -l ./s.lua -B out f/web.pcap", 1, "s.lua:1", "--sandbox", option)
    end
  end)
end)

describe("names from scripts and packets", function()
  before_each(t.fresh)
  after_each(t.clean)

  it("stay in the folder and out of the shell", function()
    local names = { "../up", "/tmp/abs", "a/../../up", "..", ".", "", "-rf", "$(touch pwned)", "`touch pwned`", "a;touch pwned",
      "a\nb", "a\0b", "a'b\"c", "x|y&z", "%n%s", ("long"):rep(200), "a//b", "./c", "~root", "a\\..\\b", "caf\xc3\xa9", "\xff\xfe", "\27[31m" }
    local quoted = {}
    for i, name in ipairs(names) do
      quoted[i] = ("%q"):format(name):gsub("\n", "n")
    end
    t.write("n.lua", ("local names = { %s }\nreturn { on_segment_open = function(s) return names[(s.n - 1) %% #names + 1] end }")
      :format(table.concat(quoted, ", ")))
    t.run([[moontap -q -l ./n.lua -B out -P 1 -c 25 --on-close 'printf "%s\n" "$MOONTAP_FILE" >>closed' f/web.pcap]])
    assert.is_false(t.exists("pwned"))
    assert.is_false(t.exists("up"))
    assert.is_false(t.exists("/tmp/abs"))
    local files = tonumber(t.run("find out -type f -name '*.pcap' | wc -l").out)
    assert.equal(25, files)
    assert.equal("0\n", t.run("find out -type f -name '*.part' | wc -l").out)
    for line in t.read("closed"):gmatch("[^\n]+") do
      assert.is_truthy(line:find("^%.?/?.-out/"), line)
    end
  end)
end)
