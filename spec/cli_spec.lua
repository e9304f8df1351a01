-- SPDX-License-Identifier: BSD-2-Clause
local t = require("support.moontap")
local c = require("support.capture")

local TOPICS = { "sources", "output", "segments", "select", "scripts", "live", "misc", "exit", "mtracecap" }

describe("command line", function()
  before_each(t.fresh)
  after_each(t.clean)

  describe("--help", function()
    it("is on standard output, ends with 0 and names every topic", function()
      for _, option in ipairs { "--help", "-h" } do
        local r = t.run("moontap " .. option)
        assert.equal("", r.err)
        for _, topic in ipairs(TOPICS) do
          assert.is_truthy(r.out:find("  " .. topic .. " ", 1, true), topic)
        end
      end
    end)

    for _, topic in ipairs(TOPICS) do
      it(topic .. " fits a screen", function()
        local out = t.run("moontap --help " .. topic).out
        local lines = 0
        for line in out:gmatch("([^\n]*)\n") do
          lines = lines + 1
          assert.is_true(#line <= 100, line)
        end
        assert.is_true(lines > 5 and lines <= 40, lines .. " lines")
      end)
    end

    it("of an unknown topic is refused, and the topics are named", function()
      t.refuses("moontap --help sorcery", 1, "sorcery", "sources")
    end)

    it("names every option that DESIGN names", function()
      local out = t.run("moontap --help all").out
      for _, option in ipairs { "-i", "-r", "--files-from", "-D", "-H", "-o", "-B", "--out", "--format", "-Z", "-z", "--overwrite",
        "--write-snaplen", "--flush", "--pipeout", "-G", "-S", "-P", "-U", "--name", "--file-ext", "-N", "-W",
        "--keep-files", "--keep-bytes", "--on-close", "--sha256", "--recover", "-F", "-e", "--from", "--to", "-c",
        "--duration", "-s", "-l", "--on-script-error", "--script-errors", "--script-memory", "--lua-dir",
        "-w", "--buffer-size", "--kernel-buffer", "--relinquish-privileges", "--print", "--json", "-q", "-v", "--strict",
        "--version" } do
        assert.is_truthy(out:find("[%s,]" .. option:gsub("%-", "%%-") .. "[%s,]"), option)
      end
    end)
  end)

  it("--version names moontap and the versions of libtrace, libpcap and LuaJIT", function()
    local out = t.run("moontap --version").out
    assert.is_truthy(out:find("^moontap %d+%.%d+"))
    assert.is_truthy(out:find("libtrace %d+%.%d+%.%d+"))
    assert.is_truthy(out:find("libpcap %d+%.%d+"))
    assert.is_truthy(out:find("LuaJIT 2%.1"))
  end)

  it("-H lists formats", function()
    local out = t.run("moontap -H").out
    for _, word in ipairs { "pcap", "pcapng", "erf", "gz", "zst", "xz", "lz4", "bz", "libtrace" } do
      assert.is_truthy(out:find(word, 1, true), word)
    end
  end)

  it("-D lists interfaces", function()
    assert.is_truthy(t.run("moontap -D").out:find("lo", 1, true))
  end)

  it("--recipes lists summary and top", function()
    local out = t.run("moontap --recipes").out
    assert.is_truthy(out:find("summary", 1, true))
    assert.is_truthy(out:find("top", 1, true))
  end)

  describe("misuse", function()
    local cases = {
      { "moontap", "source" },
      { "moontap --colour f/web.pcap", "--colour" },
      { "moontap --formt pcap f/web.pcap", "--formt", "--format" },
      { "moontap -o", "-o" },
      { "moontap -o a -o b f/web.pcap", "-o", "once" },
      { "moontap -o a -B b f/web.pcap", "-o", "-B" },
      { "moontap -c many f/web.pcap", "-c", "many" },
      { "moontap -s -1 f/web.pcap", "-s", "-1" },
      { "moontap -s 300000 f/web.pcap", "-s", "300000", "262144" },
      { "moontap -F 'udp prt 53' f/web.pcap", "udp prt 53" },
      { "moontap --from yesterdayish f/web.pcap", "--from", "yesterdayish" },
      { "moontap --from 2026-01-02 --to 2026-01-01 f/web.pcap", "--to", "--from" },
      { "moontap --duration long f/web.pcap", "--duration", "long" },
      { "moontap --out x f/web.pcap", "--out", "NAME=PATH" },
      { "moontap --out x=a --out x=b f/web.pcap", "--out", "x" },
      { "moontap --name x f/web.pcap", "--name", "-B" },
      { "moontap --keep-files 3 f/web.pcap", "--keep-files", "-B" },
      { "moontap --overwrite f/web.pcap", "--overwrite" },
      { "moontap - - f/web.pcap", "standard input" },
      { "moontap --on-script-error panic -e true f/web.pcap", "--on-script-error", "panic" },
      { "moontap --buffer-size lots f/web.pcap", "--buffer-size", "lots" },
      -- habits from other tools
      { "moontap -w out.pcap f/web.pcap", "-w", "-o" },
      { "moontap -W 10 f/web.pcap", "-W", "--keep-files" },
      { "moontap -B 4096 f/web.pcap", "-B", "--kernel-buffer" },
      { "moontap -z gzip -o x f/web.pcap", "-z", "-Z" },
      { "moontap -F f/web.pcap -o x", "-F", "f/web.pcap" },
    }
    for _, case in ipairs(cases) do
      it("is refused by name: " .. case[1], function()
        local before = t.list()
        t.refuses(case[1], 1, unpack(case, 2))
        assert.equal(#before + 3, #t.list()) -- .command, .err and .out of the helper
      end)
    end
  end)

  describe("called as mtracecap", function()
    it("takes the output first, snap length 64, microseconds", function()
      t.run("mtracecap out.pcap f/web.pcap f/ping.ns.pcap")
      local info = t.capinfos("out.pcap")
      assert.equal("pcap", info.type)
      assert.equal(t.count("f/web.pcap") + t.count("f/ping.ns.pcap"), info.packets)
      for _, len in ipairs(t.field("out.pcap", "frame.cap_len")) do
        assert.is_true(tonumber(len) <= 64)
      end
    end)

    it("takes format:path", function()
      t.run("mtracecap pcapfile:out.x f/web.pcap && mtracecap erf:out.y f/web.pcap")
      assert.equal("pcap", t.capinfos("out.x").type)
      assert.equal("erf", t.capinfos("out.y").type)
    end)

    it("takes -B, extension only from --file-ext, and writes no manifest", function()
      t.run("mtracecap -B out pcapfile:f/web.pcap")
      local names = t.list("out")
      assert.equal(1, #names)
      assert.is_truthy(names[1]:find("^%d%d%d%d%d%d%d%d%-%d%d%d%d%d%d%-00000001$"))
      t.run("mtracecap -B out2 --file-ext=.pcap f/web.pcap")
      assert.is_truthy(t.list("out2")[1]:find("%.pcap$"))
    end)

    it("takes -s, -F, -z and -Z as mtracecap does", function()
      t.run("mtracecap -s 100 -F 'udp port 53' -z 1 -Z gz out.pcap.gz f/web.pcap && gzip -t out.pcap.gz")
      assert.equal(#t.field("f/web.pcap", "frame.number", "udp.port == 53"), t.count("out.pcap.gz"))
    end)

    it("without an output says how it is called", function()
      t.refuses("mtracecap", 1, "mtracecap")
    end)
  end)

  describe("selection", function()
    it("-F keeps what matches and counts the rest as filtered", function()
      local r = t.balances(t.json("moontap --json -F 'udp port 53' -o out.pcap f/web.pcap"))
      local dns = #t.field("f/web.pcap", "frame.number", "udp.port == 53")
      assert.equal(dns, r.kept)
      assert.equal(t.count("f/web.pcap") - dns, r.filtered)
      assert.equal(dns, t.count("out.pcap"))
    end)

    it("-F means the frame as written: vlan works and IP without vlan does not look behind tags", function()
      t.run("moontap -F 'vlan 100' -o a.pcap f/vlan.pcap && moontap -F 'ip' -o b.pcap f/vlan.pcap && tcpdump -r f/vlan.pcap -w judge.pcap vlan 100")
      assert.same(t.packets("judge.pcap"), t.packets("a.pcap"))
      assert.equal(0, t.count("b.pcap"))
    end)

    for _, filter in ipairs { "tcp port 443", "ip6", "icmp or icmp6", "host 10.9.1.2 and not port 80", "less 100", "ether[0] & 1 != 0",
      "tcp[tcpflags] & tcp-syn != 0", "vlan and ip" } do
      it("-F '" .. filter .. "' keeps what tcpdump keeps", function()
        for _, name in ipairs { "f/web.pcap", "f/vlan.pcap" } do
          t.run(("moontap --overwrite -F '%s' -o out.pcap %s && tcpdump -r %s -w judge.pcap '%s'"):format(filter, name, name, filter))
          assert.same(t.packets("judge.pcap"), t.packets("out.pcap"))
        end
      end)
    end

    it("-c stops after that many kept packets", function()
      local r = t.balances(t.json("moontap --json -c 7 -F 'tcp' -o out.pcap f/web.pcap f/ping.ns.pcap"))
      assert.equal(7, r.kept)
      assert.equal(7, t.count("out.pcap"))
      local all = t.packets("f/web.pcap", nil, "tcp")
      for i, line in ipairs(t.packets("out.pcap")) do
        assert.equal(all[i]:match("%S+$"), line:match("%S+$"))
      end
    end)

    it("-c counts what scripts keep", function()
      t.run("moontap -c 3 -e 'p.is_udp' -o out.pcap f/web.pcap")
      assert.equal(3, t.count("out.pcap"))
    end)

    it("--from and --to are half-open, on packet time", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { sport = 1 } }, { c.T0 + 1, 0, c.udp { sport = 2 } },
        { c.T0 + 2, 0, c.udp { sport = 3 } }, { c.T0 + 3, 0, c.udp { sport = 4 } } })
      for _, times in ipairs { "--from 1700000001 --to 1700000003", "--from 2023-11-14T22:13:21Z --to 2023-11-14T22:13:23Z",
        "--from 2023-11-14T23:13:21+01:00 --to '2023-11-14 22:13:23'", "--from 1700000000.000000001 --to 1700000002.000000001" } do
        local r = t.balances(t.json("moontap --overwrite --json " .. times .. " -o out.pcap in.pcap"))
        assert.same({ "2", "3" }, t.field("out.pcap", "udp.srcport"), times)
        assert.equal(2, r.kept)
      end
    end)

    it("--from and --to apply after offset=", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { sport = 1 } }, { c.T0 + 1, 0, c.udp { sport = 2 } } })
      t.run("moontap --from 1700000011 -o out.pcap in.pcap,offset=10")
      assert.same({ "2" }, t.field("out.pcap", "udp.srcport"))
    end)

    it("--from takes local time", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp { sport = 1 } }, { c.T0 + 1, 0, c.udp { sport = 2 } } })
      t.run("moontap --from '2023-11-15 03:43:21' -o out.pcap in.pcap", 0, { env = { TZ = "IST-5:30" } })
      assert.same({ "2" }, t.field("out.pcap", "udp.srcport"))
    end)

    it("--duration is packet time with files", function()
      t.write("in.pcap", c.pcap { { c.T0, 0, c.udp {} }, { c.T0 + 4, 999999, c.udp {} }, { c.T0 + 5, 0, c.udp {} } })
      t.run("moontap --duration 5 -o out.pcap in.pcap")
      assert.equal(2, t.count("out.pcap"))
    end)
  end)

  describe("--json", function()
    it("is one object with every key", function()
      local r = t.balances(t.json("moontap --json -o out.pcap f/web.pcap f/ping.ns.pcap"))
      for _, key in ipairs { "packets", "bytes", "kept", "filtered", "script_dropped", "dropped", "dropped_kernel", "late", "disorder",
        "bad_time", "clock_jumps", "script_bypassed", "first_ts", "last_ts", "linktypes", "sources", "outputs" } do
        assert.is_not_nil(r[key], key)
      end
      assert.equal(t.count("f/web.pcap") + t.count("f/ping.ns.pcap"), r.packets)
      assert.equal(t.capinfos("out.pcap").first, r.first_ts)
      assert.equal(t.capinfos("out.pcap").last, r.last_ts)
      assert.equal(2, #r.sources)
      assert.equal(1, #r.outputs)
      assert.equal("out.pcap", r.outputs[1].path)
      assert.equal(t.count("f/web.pcap"), r.sources[1].packets)
      assert.equal(r.bytes, r.sources[1].bytes + r.sources[2].bytes)
    end)

    it("balances in total and for each source, with every way to lose a packet", function()
      t.write("s.lua", [[return { on_error = "drop", on_packet = function(p)
        if p.is_tcp and p.dport == 443 then return false elseif p.dport == 80 then error("!") end end }]])
      local r = t.balances(t.json("moontap --json -F 'not udp' --from 1 -l ./s.lua -o out.pcap f/web.pcap f/ping.ns.pcap 2>/dev/null", 4))
      assert.is_true(r.filtered > 0 and r.script_dropped > 0 and r.kept > 0)
      for _, source in ipairs(r.sources) do
        t.balances(source)
      end
    end)

    it("has null times and empty lists without packets", function()
      local r = t.balances(t.json("moontap --json m/no-packets.pcap"))
      assert.equal(0, r.packets)
      assert.equal(t.null, r.first_ts)
      assert.equal(t.null, r.last_ts)
    end)

    it("replaces the default summary, and carries its results", function()
      local r = t.json("moontap --json f/web.pcap")
      assert.is_table(r.scripts.summary)
    end)

    it("comes at any exit status once a source was tried", function()
      local r = t.balances(t.json("moontap --json m/truncated-body.pcap", 2))
      assert.equal(3, r.packets)
      r = t.balances(t.json("moontap --json m/truncated-body.pcap -e 'error()'", 4))
      assert.is_true(r.packets >= 1)
      t.balances(t.json("moontap --json -o /dev/full m/us-le.pcap", 3))
    end)
  end)

  describe("what is printed", function()
    it("is a summary, when neither output nor script is given", function()
      local out = t.run("moontap f/web.pcap f/vlan.pcap").out
      for _, text in ipairs { "web.pcap", "vlan.pcap", "Ethernet", "TCP", "UDP", tostring(t.count("f/web.pcap")) } do
        assert.is_truthy(out:find(text, 1, true), text)
      end
    end)

    it("is nothing on standard output with -o", function()
      assert.equal("", t.run("moontap -o out.pcap f/web.pcap").out)
    end)

    it("is no progress bar, when it is no terminal", function()
      assert.equal("", t.run("moontap -o out.pcap f/web.pcap").err)
    end)

    it("is one line a kept packet with --print", function()
      local out = t.run("moontap --print -F 'udp port 53' f/web.pcap").out
      local _, lines = out:gsub("\n", "")
      assert.equal(#t.field("f/web.pcap", "frame.number", "udp.port == 53"), lines)
      assert.is_truthy(out:find("10.9.1.2", 1, true))
    end)

    it("works from any folder: recipes need no path", function()
      local out = t.run("P=$PWD; cd / && $P/.bin/moontap -l top,by=dport,n=3 $P/f/web.pcap").out
      assert.is_truthy(out:find("dport", 1, true))
      assert.is_truthy(out:find("443", 1, true))
    end)

    it("goes to a reader that went away without hanging", function()
      t.run("moontap --print f/web.pcap f/web.pcap f/two-interfaces.pcapng f/two-interfaces.pcapng 2>/dev/null | head -n 1")
    end)
  end)

  describe("exit status", function()
    it("prefers 3 to 4 to 2", function()
      t.run("moontap -o /dev/full m/truncated-body.pcap", 3)
      t.run("moontap -e 'error(\"x\")' m/truncated-body.pcap", 4)
      t.run("moontap m/truncated-body.pcap", 2)
    end)

    it("is 1 for a source without a valid header, and nothing is written", function()
      t.refuses("moontap -o out.pcap f/web.pcap m/not-a-capture.pcap", 1, "not-a-capture.pcap")
      assert.is_false(t.exists("out.pcap"))
    end)
  end)

  describe("signals", function()
    -- Feeds in.pcap's packets through a pipe that stays open, sends the signal, and returns the exit status.
    local function signalled(signal, options, pause)
      return t.sh("mkfifo p; moontap " .. options .. [[ -r p & pid=$!
        exec 3>p; cat f/web.pcap >&3; sleep ]] .. (pause or 0.7) .. "; kill -" .. signal .. " $pid; wait $pid")
    end

    for _, signal in ipairs { "INT", "TERM", "HUP" } do
      it("SIG" .. signal .. " ends cleanly with everything written", function()
        assert.equal(0, signalled(signal, "-o out.pcap").code)
        assert.same(t.packets("f/web.pcap"), t.packets("out.pcap"))
      end)
    end

    it("SIGTERM ends segments cleanly", function()
      assert.equal(0, signalled("TERM", "-B out").code)
      assert.equal(t.count("f/web.pcap"), t.json_lines("out/manifest.jsonl")[1].packets)
    end)

    it("SIGTERM prints the JSON", function()
      local r = signalled("TERM", "--json -o out.pcap")
      assert.equal(t.count("f/web.pcap"), require("cjson").decode(r.out).kept)
    end)

    it("SIGUSR1 prints statistics and goes on", function()
      local r = t.run([[mkfifo p; moontap -o out.pcap -r p & pid=$!
        exec 3>p; cat f/web.pcap >&3; sleep 0.6; kill -USR1 $pid; sleep 0.4; exec 3>&-; wait $pid]])
      assert.is_truthy(r.err:find(tostring(t.count("f/web.pcap")), 1, true))
      assert.equal(t.count("f/web.pcap"), t.count("out.pcap"))
    end)

    it("a second SIGINT ends a stuck script at once with 130 and a valid output", function()
      t.write("s.lua", [[local n = 0 return { on_packet = function(p) n = n + 1 if n == 100 then while true do end end end }]])
      local r = t.sh([[moontap -o out.pcap -l ./s.lua f/web.pcap & pid=$!
        sleep 0.7; kill -INT $pid; sleep 0.5; kill -INT $pid; wait $pid]], { timeout = 10 })
      assert.equal(130, r.code)
      t.packets("out.pcap")
    end)
  end)

  it("--relinquish-privileges changes the user after sources are open", function()
    if t.run("id -u").out ~= "0\n" then pending("changing the user needs root") end
    t.run("chmod 755 .; mkdir out; chmod 777 out; cp f/web.pcap in.pcap; chmod 644 in.pcap")
    t.run("moontap --relinquish-privileges=nobody -o out/o.pcap in.pcap")
    assert.equal("nobody\n", t.run("stat -c %U out/o.pcap").out)
    assert.equal(t.count("f/web.pcap"), t.count("out/o.pcap"))
  end)

  it("--relinquish-privileges refuses an unknown user by name", function()
    t.refuses("moontap --relinquish-privileges=nobody-here -o o.pcap f/web.pcap", 1, "nobody-here")
  end)
end)
