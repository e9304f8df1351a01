-- SPDX-License-Identifier: BSD-2-Clause
-- TLS: which servers were named, by whom, and in which versions.
--
--   moontap -l tls trace.pcap              statistics
--   moontap -l tls,log=yes trace.pcap      a line for each hello
--
-- Read are client and server hellos that lie in one packet. Names are counted in bounded memory: a count may be too
-- high by what is in the column error.
-- Example: -l tls,n=3 spec/fixtures/web.pcap
local format = require "moontap.format"

local args
local hellos, answers, unnamed = 0, 0, 0
local versions, chosen, protocols = {}, {}, {}
local names, clients

local function add(counts, key) counts[key] = (counts[key] or 0) + 1 end

local function on_client(p, t)
  hellos = hellos + 1
  add(versions, t.version_name)
  for name in (t.alpn or "none"):gmatch "[^, ]+" do add(protocols, name) end
  if t.sni then names:add(t.sni) else unnamed = unnamed + 1 end
  clients:add(p.src)
end

local function log(p, t)
  print(("%s %s > %s %s %s %s %s"):format(format.rfc3339(p.ts_ns), p.src, p.dst,
    t.is_client_hello and "client" or "server", t.version_name, t.sni or "-", t.alpn or "-"))
end

local function print_ranking(title, counts, total)
  local text = format.ranking(title, counts, total, args.n)
  if text then print("\n" .. text) end
end

return {
  summary = "TLS hellos: server names, versions, application protocols, clients; or a log",
  args = {
    log = { default = "no", help = "yes: a line for each hello instead of statistics",
      check = function(v) return v ~= "yes" and v ~= "no" and "expected yes or no, found " .. v end },
    n = { default = 10, help = "lines a table",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more, found " .. n end },
  },
  on_start = function(run)
    args = run.args
    names, clients = moontap.topk { k = args.n }, moontap.topk { k = args.n }
  end,
  on_packet = function(p)
    local t = p:tls()
    if not t then return end
    if args.log == "yes" and not args.json then log(p, t) end
    if t.is_client_hello then
      on_client(p, t)
    else
      answers = answers + 1
      add(chosen, t.version_name)
    end
  end,
  on_stop = function(run)
    if run.json then return end
    if hellos + answers == 0 then return print "no TLS hellos" end
    if args.log == "yes" then return end
    print(("client hellos  %s, %s of them without a name"):format(format.count(hellos), format.count(unnamed)))
    print(("server hellos  %s"):format(format.count(answers)))
    print_ranking("server name", names:list(args.n), hellos)
    print_ranking("newest version offered", versions, hellos)
    print_ranking("version chosen", chosen, answers)
    print_ranking("protocol offered", protocols, hellos)
    print_ranking("client", clients:list(args.n), hellos)
  end,
  results = function()
    return { client_hellos = hellos, server_hellos = answers, unnamed = unnamed,
      names = format.counts(names:list(args.n)), versions = format.counts(versions), chosen = format.counts(chosen),
      protocols = format.counts(protocols), clients = format.counts(clients:list(args.n)) }
  end,
}
