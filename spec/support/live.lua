-- SPDX-License-Identifier: BSD-2-Clause
-- A capture of two links in network namespaces while they carry numbered packets.
--
--   local live = require("support.live")
--   local it = live.it(it, pending)            -- skips by name where there are no namespaces
--   before_each(live.setup) after_each(t.clean)
--   it("…", function() local r = live.capture("-o out.pcapng") … end)
local assert = require("luassert")
local c = require("support.capture")
local json = require("cjson")
local t = require("support.moontap")

local M = { packets = 20000 } -- on each link

t.fresh()
local net, why = t.netns(2)
t.clean()

-- busted's `it`, or one that skips by name.
function M.it(it, pending)
  return net and it or function(name)
    it(name, function() pending(why) end)
  end
end

-- a.pcap and b.pcap: udp port 2000 from 10.0.0.1 and .2, payloads count from 1.
function M.setup()
  t.fresh()
  M.net = t.netns(2)
  for _, side in pairs(M.net) do -- no packets but ours
    t.run(side .. " sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
  end
  for link, name in ipairs { "a", "b" } do
    local packets = {}
    for i = 1, M.packets do
      packets[i] = { 1000, i, c.udp { src = "10.0.0." .. link, id = i % 65536, payload = ("%08d"):format(i) } }
    end
    c.write(t.path(name .. ".pcap"), c.pcap(packets))
  end
end

-- Shell functions: start OPTIONS (moontap on both links; $pid; returns when it captures), send LINK PPS (all
-- packets of a link), both PPS, end_with SIGNAL (ends with the status of moontap).
function M.shell()
  return (([[
    start() {
      LEFT moontap -F 'udp port 2000' -i veth0 -i veth1 "$@" >json & pid=$!
      i=0; until [ "$(LEFT cat /proc/net/packet | wc -l)" -gt 2 ] || ! kill -0 $pid || [ $i -gt 200 ]; do i=$((i+1)); sleep 0.02; done
      sleep 0.1; }
    send() {
      if [ $1 = 0 ]; then set -- $1 $2 a; else set -- $1 $2 b; fi
      RIGHT tcpreplay -q --pps=$2 -i veth$1 $3.pcap >/dev/null 2>&1; }
    both() { send 0 $1 & one=$!; send 1 $1 & two=$!; wait $one $two; sleep 0.1; }
    end_with() { kill -$1 $pid; wait $pid; }
  ]]):gsub("LEFT", M.net.left):gsub("RIGHT", M.net.right))
end

-- Run shell text with these functions.
function M.run(text, code, options)
  return t.run(M.shell() .. text, code, options)
end

-- Capture what both links carry at `pps` (default 40,000 each).  o.beside: a command that runs at the same time,
-- o.times: how often (1); o.after: one for when all is sent; o.signal, o.code.  The --json object, and the result.
function M.capture(options, o)
  o = o or {}
  local r = M.run(([[start --json %s; (%s) & beside=$!; %s wait $beside; %s
    end_with %s]]):format(options, o.beside or ":", ("both %d; "):format(o.pps or 40000):rep(o.times or 1), o.after or ":", o.signal or "INT"), o.code, { timeout = 120 })
  return M.adds_up(json.decode(t.read("json")), 2 * M.packets * (o.times or 1)), r
end

-- All that was sent is in a count.
function M.adds_up(r, sent)
  t.balances(r)
  local kernel = r.dropped_kernel == t.null and 0 or r.dropped_kernel
  assert.equal(sent or 2 * M.packets, r.kept + r.script_dropped + r.dropped + kernel)
  return r
end

function M.nothing_lost(r, sent)
  assert.same({ sent or 2 * M.packets, 0, 0 }, { r.kept, r.dropped, r.dropped_kernel })
end

-- Names of the processes that still run in the left namespace.
function M.left_over()
  return t.run("for pid in $(ip netns pids " .. M.net.left:match("%S+$") .. "); do cat /proc/$pid/comm; done").out
end

-- Files of a folder, and below it, whose names match.
function M.files(folder, pattern)
  local list = {}
  for _, name in ipairs(t.tree(folder)) do
    if name:match(pattern) then
      list[#list + 1] = name
    end
  end
  return list
end

-- All these words stand in the text.
function M.contains(text, ...)
  for _, words in ipairs { ... } do
    assert.is_truthy(text:find(words, 1, true), words .. "\nis not in\n" .. text)
  end
end

-- The packets in the whole segments of a folder, and in each, by path; nothing unfinished lies there.
function M.in_segments(folder)
  local sum, each = 0, {}
  assert.equal("", t.run("find " .. folder .. " -name '.*.part*'").out)
  local out = t.run(("find %s -name '*.pcap*' ! -name '*.failed' -print0 | xargs -0r capinfos -rTMc"):format(folder)).out
  for path, n in out:gmatch("([^\t\n]+)\t(%d+)\n") do
    each[path] = tonumber(n)
    sum = sum + each[path]
  end
  return sum, each
end

return M
