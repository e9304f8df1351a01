-- SPDX-License-Identifier: BSD-2-Clause
-- Make a trace that can be given away: other addresses with the same prefixes, headers only, no names.
--
--   (umask 077; head -c 32 /dev/urandom >secret.key)
--   moontap -l anonymize,key=secret.key -o public.pcap trace.pcap
--   moontap -l anonymize,key=secret.key,ports=hide,round=1 -B /data -G 3600 eth0
--
-- Headers that are understood stay, with what is named below changed; all else is cut off the captured bytes, while the
-- length on the wire stays. The same key gives the same result in every run. A packet that fails is dropped.
--
-- IP addresses go through Crypto-PAn, in headers, tunnels, ICMP quotes, ARP and neighbour discovery alike. What
-- everybody has stays: 0.0.0.0, ::, 255.255.255.255, groups assigned by IANA for all. Other groups stay groups of the
-- same kind, addresses of fe80::/64 stay link-local; loopback addresses are mapped like any. MAC addresses become
-- pseudonyms. IP options, TCP timestamps and unknown TCP options, routing headers, options of tunnels and comments are
-- blanked. Checksums are those of a packet with zeros for what was cut: right where all is left, and no hint at the
-- rest; 0 in fragments. Names of files and interfaces are not written.
--
-- Lengths, times (without round), ports, TTL, DSCP, flow labels, IP identification, TCP sequence numbers, windows and
-- segment sizes, numbers of echoes, SCTP tags, indexes of IPsec, VLAN and tunnel numbers stay, and can tell who
-- somebody is to one who knows the network or saw the traffic.
-- payload=keep is for payload that is harmless: it is not looked at.
-- Example: -l anonymize,key=secret.key -o public.pcap spec/fixtures/web.pcap
local anonymizer = require "moontap.anonymizer"
local format = require "moontap.format"

local key, anonymize
local counts = { packets = 0 }

local function one_of(...)
  local words, text = {}, table.concat({ ... }, ", ")
  for _, word in ipairs { ... } do words[word] = true end
  return function(v) return not words[v] and ("expected %s; found %s"):format(text, v) end
end

local function print_counts(title, list)
  local rows = {}
  for name, n in pairs(list) do rows[#rows + 1] = { name, n } end
  if #rows == 0 then return end
  table.sort(rows, function(a, b) return a[2] > b[2] or (a[2] == b[2] and a[1] < b[1]) end)
  for _, row in ipairs(rows) do row[2] = format.count(row[2]) end
  print("\n" .. format.table({ title, ">count" }, rows))
end

local function sum(list)
  local n = 0
  for _, v in pairs(list) do n = n + v end
  return n
end

return {
  summary = "other addresses (Crypto-PAn), headers only: a trace that can be given away",
  args = {
    key = { default = "", help = "file of 32 random bytes that only its owner can read; must be given",
      check = function(path)
        local why = "expected key=FILE, a file of 32 bytes, as head -c 32 /dev/urandom makes them"
        if path ~= "" then key, why = anonymizer.read_key(path) end
        return not key and why
      end },
    payload = { default = "cut", help = "cut, zero, or keep that of TCP, UDP and echoes",
      check = one_of("cut", "zero", "keep") },
    mac = { default = "hide", help = "MAC addresses: hide, oui (keep the vendor), keep",
      check = one_of("hide", "oui", "keep") },
    ports = { default = "keep", help = "keep or hide", check = one_of("keep", "hide") },
    tcp_times = { default = "hide", help = "the timestamps option of TCP: hide or keep",
      check = one_of("hide", "keep") },
    shift = { default = 0, help = "seconds that are added to times",
      check = function(n) return math.abs(n) > 4e9 and "expected at most 4e9 each way" end },
    round = { default = 0, help = "seconds to a multiple of which times are rounded down; 0: not",
      check = function(n) return not (n >= 0 and n <= 4e9) and "expected 0 to 4e9" end },
  },
  on_error = "drop",
  private = function(args) return (args.shift ~= 0 or args.round ~= 0) and "times" or "names" end,
  on_start = function(run)
    local a = run.args
    anonymize = moontap.anonymizer { key = key, payload = a.payload, mac = a.mac, ports = a.ports,
      tcp_times = a.tcp_times, shift = a.shift, round = a.round }
  end,
  on_packet = function(p) anonymize(p) end,
  on_stop = function(run)
    counts = anonymize:counts()
    if run.json then return end
    if counts.packets == 0 then return print "no packets" end
    print(("anonymized %s packets: %s kept whole, %s cut by %s of %s captured bytes"):format(
      format.count(counts.packets), format.count(counts.whole), format.count(counts.packets - counts.whole),
      format.count(sum(counts.cut_bytes)), format.count(counts.bytes)))
    print_counts("kept header", counts.headers)
    print_counts("changed", counts.changed)
    print_counts("cut from, packets", counts.cut)
  end,
  results = function() return counts end,
}
