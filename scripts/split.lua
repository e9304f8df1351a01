-- SPDX-License-Identifier: BSD-2-Clause
-- One file for each value of a key: an address, a prefix, a port, a VLAN, a flow, or what an expression gives.
--
--   moontap -l split,by=src,dir=clients trace.pcap
--   moontap -l split,by=dst/24,dir=nets,max=100,compress=zst trace.pcap
--   moontap -l split,by=vlan,dport,dir=services trace.pcap
--   moontap -l split,by='p.dport < 1024',dir=ports trace.pcap       true.pcap and false.pcap
--
-- Every packet goes to exactly one file. `by` takes the fields that `top` takes, among them dns and tls (the name that
-- is asked for), or a Lua expression. The file is named after the value: `/` and blanks are `_`, other bytes than
-- letters, digits and `._-:,[]` are `%XX`, a name that is taken gets `-1`. Without a value it is `none`. Values beyond
-- `max` share the file `others`. The folder's manifest has the key of each file. Only one file is open at a time.
-- Example: -l split,by=dst/24,dir=nets,n=4 spec/fixtures/web.pcap
local format = require "moontap.format"
local group = require "moontap.group"
local loader = require "moontap.loader"

local args, files, number_of
local sums -- of all, once the run is over

local function is_expression(by)
  return by:find "p[.:]" ~= nil
end

-- Numbers for the values of an expression.
local function values_of(expression, most)
  local value_of, numbers, n = loader.function_of(expression, "by='%s': %s"), {}, 0
  return function(p)
    local value = value_of(p)
    if value == nil then
      value = "none"
    elseif type(value) == "cdata" or value ~= value then
      value = tostring(value)
    end
    local number = numbers[value]
    if number then return number end
    if n >= most then return 0 end
    n = n + 1
    number = files:part(tostring(value))
    numbers[value] = number
    return number
  end
end

local FORMATS = { auto = true, pcap = true, pcapng = true, erf = true }
local CODECS = { none = true, gz = true, zst = true, lz4 = true, xz = true, bz2 = true }

local function count()
  local list = files:files()
  sums = { keys = #list, files = moontap.list(list), packets = 0, bytes = 0, others = 0 }
  for _, file in ipairs(list) do
    sums.packets, sums.bytes = sums.packets + file.packets, sums.bytes + file.bytes
    if file.others then
      sums.others, sums.keys = file.packets, sums.keys - 1
      file.others = nil
    end
  end
  table.sort(list, function(a, b)
    if a.packets ~= b.packets then return a.packets > b.packets end
    return tostring(a.file) < tostring(b.file)
  end)
end

local function print_table()
  if sums.packets == 0 then return print "no packets" end
  local rows = {}
  for i, file in ipairs(sums.files) do
    if i > args.n then break end
    rows[i] = { file.file or "-", file.key, format.count(file.packets), format.count(file.bytes) }
  end
  print(format.table({ "file", "key", ">packets", ">bytes" }, rows))
  if #sums.files > args.n then print(("and %s more files"):format(format.count(#sums.files - args.n))) end
  print(("total  %s packets, %s bytes in %s files below %s"):format(format.count(sums.packets),
    format.count(sums.bytes), format.count(#sums.files), args.dir))
  if sums.others > 0 then
    print(("%s packets of values beyond max=%d are in others"):format(format.count(sums.others), args.max))
  end
end

return {
  summary = "one file for each value of a key: addresses, prefixes, ports, flows, an expression",
  args = {
    by = { default = "src", help = "fields as top has them, such as src, dst/24 or vlan,dport; or an expression of p",
      check = function(by)
        if is_expression(by) then loader.function_of(by, "by='%s': %s") return end
        return (select(2, group.parse(by)))
      end },
    dir = { default = "split", help = "the folder of the files",
      check = function(dir) return dir == "" and "expected a folder" end },
    max = { default = 1000, help = "files at most; packets of other values go to the file others",
      check = function(n) return not (n >= 1 and n <= 1000000 and n % 1 == 0) and "expected 1 to 1000000" end },
    n = { default = 20, help = "files in the table, the largest; --json has all",
      check = function(n) return not (n >= 1 and n % 1 == 0) and "expected 1 or more" end },
    format = { default = "auto", help = "pcap, pcapng or erf; auto: pcapng if link types differ, else pcap",
      check = function(f) return not FORMATS[f] and "expected auto, pcap, pcapng or erf, found " .. f end },
    compress = { default = "none", help = "none, gz, zst, lz4, xz or bz2",
      check = function(c) return not CODECS[c] and "expected none, gz, zst, lz4, xz or bz2, found " .. c end },
  },
  outputs = function(given)
    files = moontap.split { name = "split", dir = given.dir, files = given.max, only = true,
      format = given.format ~= "auto" and given.format or nil,
      compress = given.compress ~= "none" and given.compress or nil }
  end,
  on_start = function(run)
    args = run.args
    if is_expression(args.by) then
      number_of = values_of(args.by, args.max)
    else
      number_of = group.numbers(group.parse(args.by), args.max, function(key) return files:part(key) end)
    end
  end,
  on_packet = function(p) return files:send(p, number_of(p)) end,
  on_stop = function(run)
    count()
    if not run.json then print_table() end
  end,
  results = function() return sums end,
}
