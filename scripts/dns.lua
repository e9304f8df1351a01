-- SPDX-License-Identifier: BSD-2-Clause
-- DNS: what was asked for, by whom, what came back, and how long it took.
--
--   moontap -l dns trace.pcap              statistics
--   moontap -l dns,log=yes trace.pcap      a line for each message
--
-- A response belongs to the last query with the same addresses, client port and identifier in the last `timeout`
-- seconds. Names are counted in bounded memory: a count may be too high by what is in the column error.
-- Example: -l dns,n=3 spec/fixtures/web.pcap
local format = require "moontap.format"

local args
local queries, responses, malformed, matched = 0, 0, 0, 0
local types, rcodes = {}, {}
local names, clients, failed, latency, open

local function log(p, d)
  local answers = {}
  if d.is_response then
    for _, r in d:answers() do answers[#answers + 1] = r.type_name .. " " .. r.text end
  end
  print(("%s %s > %s %s %s %s%s"):format(format.rfc3339(p.ts_ns), p.src, p.dst,
    d.is_response and d.rcode_name or d.opcode_name, d.qtype_name or "-", d.name or "-",
    #answers > 0 and " " .. table.concat(answers, ", ") or ""))
end

-- Fields are read before what they are for is counted: LuaJIT then makes no objects of packet and message.
local function on_query(p, d)
  local kind, id, at = d.qtype_name or "none", d.id, p.t + 1 -- 0 is none
  queries = queries + 1
  types[kind] = (types[kind] or 0) + 1
  names:add(d:name_key "(none)")
  open:get(p.src, p.dst, p.sport, id).at = at
  clients:add(p)
end

local function on_response(p, d)
  local code, id, at = d.rcode_name, d.id, p.t + 1
  responses = responses + 1
  rcodes[code] = (rcodes[code] or 0) + 1
  if d.rcode ~= 0 then failed:add(d:name_key("(none)", code)) end
  local o = open:find(p.dst, p.src, p.dport, id)
  if o then
    local waited = at - o.at
    open:remove(o)
    latency:add(waited / 1e6)
    matched = matched + 1
  end
end

-- Queries that are forgotten, and those that still wait.
local function unanswered()
  local stats = open:stats()
  return stats.idle + stats.evicted + stats.entries
end

local function print_ranking(title, counts, total)
  local text = format.ranking(title, counts, total, args.n)
  if text then print("\n" .. text) end
end

local function print_statistics()
  if queries + responses == 0 then return print "no DNS messages" end
  print(("queries     %s"):format(format.count(queries)))
  print(("responses   %s, %s of them to queries that were seen"):format(format.count(responses), format.count(matched)))
  print(("unanswered  %s"):format(format.count(unanswered())))
  if malformed > 0 then print(("malformed   %s"):format(format.count(malformed))) end
  if matched > 0 then
    print(("latency     median %.3f ms, 95%% %.3f ms, largest %.3f ms"):format(latency(0.5), latency(0.95), latency(1)))
  end
  print_ranking("type", types, queries)
  print_ranking("response code", rcodes, responses)
  print_ranking("name", names:list(args.n), queries)
  print_ranking("client", clients:list(args.n), queries)
  print_ranking("failed", failed:list(args.n), responses)
end

return {
  summary = "DNS queries and responses: names, types, codes, latency, clients; or a log",
  args = {
    log = { default = "no", help = "yes: a line for each message instead of statistics",
      check = function(v) return v ~= "yes" and v ~= "no" and "expected yes or no, found " .. v end },
    n = { default = 10, help = "lines a table",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more, found " .. n end },
    timeout = { default = 10, help = "seconds after which a query is unanswered",
      check = function(n) return n <= 0 and "expected more than 0, found " .. n end },
  },
  on_start = function(run)
    args = run.args
    names, failed = moontap.topk { k = args.n }, moontap.topk { k = args.n }
    clients = moontap.topk { key = "src", k = args.n }
    latency = moontap.quantiles()
    open = moontap.table {
      key = { { "client", "address" }, { "server", "address" }, { "port", "u16" }, { "id", "u16" } },
      value = { at = "double" },
      idle = args.timeout, limit = 1000000, policy = "evict",
    }
  end,
  on_packet = function(p)
    local d = p:dns()
    if not d then return end
    if d.malformed then malformed = malformed + 1 end
    if args.log == "yes" then
      queries, responses = queries + (d.is_response and 0 or 1), responses + (d.is_response and 1 or 0)
      log(p, d)
    elseif d.is_response then
      on_response(p, d)
    else
      on_query(p, d)
    end
  end,
  on_stop = function(run)
    if run.json then return end
    if args.log == "no" or queries + responses == 0 then print_statistics() end
  end,
  results = function()
    return { queries = queries, responses = responses, matched = matched, unanswered = unanswered(),
      malformed = malformed,
      latency_ms = matched > 0 and { median = latency(0.5), p95 = latency(0.95), largest = latency(1) } or nil,
      types = format.counts(types), rcodes = format.counts(rcodes), names = format.counts(names:list(args.n)),
      clients = format.counts(clients:list(args.n)),
      failed = format.counts(failed:list(args.n)) }
  end,
}
