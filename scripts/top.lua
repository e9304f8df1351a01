-- SPDX-License-Identifier: BSD-2-Clause
-- Who or what there is most of: packets and bytes by any packet fields, the largest first.
--
--   moontap -l top,by=src,dport,n=2 trace.pcap
--   moontap -l top,by=dst/24 trace.pcap            prefixes of 24 bits (IPv6: 48; dst/24/56 says otherwise)
--
--   src          dport  packets      bytes   share
--   10.0.0.17    443      1,204    961,210   75.7%
--   10.0.0.17    53         173     15,022    1.2%
--   others (96)           1,961    292,811   23.1%
--   total                 3,338  1,269,043  100.0%
-- Example: -l top,by=src,dport,n=3 spec/fixtures/web.pcap
local format = require "moontap.format"
local group = require "moontap.group"

local args, fields, counted, add

local function print_table(result)
  local headers, rows, first = {}, {}, fields[1]
  local function add_row(e)
    local row = {}
    for i, name in ipairs(fields) do
      headers[i], row[i] = name, e[name] or ""
    end
    row[#row + 1], row[#row + 2] = format.count(e.packets), format.count(e.bytes)
    row[#row + 1] = format.share(e[args.sort], result[args.sort])
    rows[#rows + 1] = row
  end
  for _, e in ipairs(result.top) do
    add_row(e)
  end
  if result.others.packets > 0 then
    result.others[first] = ("others (%s)"):format(format.count(result.others.entries))
    add_row(result.others)
  end
  result[first] = "total"
  add_row(result)
  for _, header in ipairs { ">packets", ">bytes", ">share" } do
    headers[#headers + 1] = header
  end
  print(format.table(headers, rows))
end

return {
  summary = "most packets or bytes by any fields: addresses, prefixes, ports, flows, VLANs",
  args = {
    by = { default = "src", help = "fields to count by, such as src, dport, flow, src/24 or src,dst,dport",
      check = function(by) return (select(2, group.parse(by))) end },
    n = { default = 10, help = "lines to print",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more, found " .. n end },
    sort = { default = "bytes", help = "bytes (on the wire) or packets",
      check = function(key) return key ~= "bytes" and key ~= "packets" and "expected these, found " .. key end },
  },
  on_start = function(run)
    args, fields = run.args, group.parse(run.args.by)
    counted = group.new(fields)
    add = counted.add
  end,
  on_packet = function(p) add(p) end,
  on_stop = function(run)
    if not run.json then print_table(counted.top(args.n, args.sort)) end
  end,
  results = function() return counted.top(args.n, args.sort) end,
}
