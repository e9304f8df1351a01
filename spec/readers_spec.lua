-- SPDX-License-Identifier: BSD-2-Clause
-- p:dns() and p:tls().  Judge: tshark, over the corpus of other projects' captures; and messages made here
-- that nobody would send who means well.
local t = require("support.moontap")
local c = require("support.capture")

local NOTES = os.getenv("PWD") .. "/spec/support/dns_notes.lua"

-- --- against tshark ----------------------------------------------------------------------------

-- What a script prints of each packet: lines of tab-separated values, the first is the packet's number.  Lists
-- are joined with "|".
local REPORT = [==[
local function list(from, f, keep)
  local values = {}
  for _, r in from do
    local v = f(r)
    if v ~= nil then values[#values + 1] = tostring(v) end
  end
  return table.concat(values, "|")
end
local function each(f, s, i, g) -- of an iterator's three values
  local values = {}
  for _, r in f, s, i do
    local v = g(r)
    if v ~= nil then values[#values + 1] = tostring(v) end
  end
  return values
end
local function records(d, g)
  local values = {}
  for _, name in ipairs { "answers", "authority", "additional" } do
    local f, s, i = d[name](d)
    for _, v in ipairs(each(f, s, i, g)) do values[#values + 1] = v end
  end
  return table.concat(values, "|")
end
local function same(v) return v end
local function target(type_name)
  return function(r) return r.type_name == type_name and r.target or nil end
end
local function print_dns(p, d)
  local f, s, i = d:questions()
  local questions = each(f, s, i, function(q) return q.name end)
  f, s, i = d:questions()
  local types = each(f, s, i, function(q) return q.type end)
  print(table.concat({ "dns", p.number, d.malformed and "malformed" or d.is_whole and "whole" or "cut", d.id,
    d.is_response and 1 or 0, d.opcode, d.rcode % 16, table.concat(questions, "|"), table.concat(types, "|"),
    d.ancount, records(d, function(r) return r.name end), records(d, function(r) return r.type end),
    records(d, function(r) if r.type ~= 41 then return r.ttl end end),
    records(d, function(r) return r.type == 1 and r.address or nil end),
    records(d, function(r) return r.type == 28 and r.address or nil end),
    records(d, target "CNAME"), records(d, target "NS"), records(d, target "PTR"), records(d, target "MX"),
    records(d, target "SOA"), records(d, target "SRV"), d.aa and 1 or 0, d.tc and 1 or 0, d.rd and 1 or 0,
    d.ra and 1 or 0, d.udp_size, d.has_edns and d.edns_version or "" }, "\t"))
end
local function print_tls(p, h)
  local lists = {}
  for k, name in ipairs { "ciphers", "extensions", "alpns" } do
    local f, s, i = h[name](h)
    lists[k] = table.concat(each(f, s, i, same), "|")
  end
  print(table.concat({ h.is_dtls and "dtls" or "tls", p.number, h.malformed and "malformed" or h.is_whole and "whole" or "cut",
    h.is_client_hello and 1 or 2, h.legacy_version, h.sni or "", lists[3], h.version, lists[1], lists[2],
    h.session_id_len }, "\t"))
end
return { on_packet = function(p)
  local d, h = p:dns(), p:tls()
  if d then print_dns(p, d) end
  if h then print_tls(p, h) end
end }
]==]

local DNS_FIELDS = { "dns.id", "dns.flags.response", "dns.flags.opcode", "dns.flags.rcode", "dns.qry.name", "dns.qry.type",
  "dns.count.answers", "dns.resp.name", "dns.resp.type", "dns.resp.ttl", "dns.a", "dns.aaaa", "dns.cname", "dns.ns",
  "dns.ptr.domain_name", "dns.mx.mail_exchange", "dns.soa.mname", "dns.srv.target", "dns.flags.authoritative",
  "dns.flags.truncated", "dns.flags.recdesired", "dns.flags.recavail", "dns.rr.udp_payload_size",
  "dns.resp.edns0_version" }
-- behind "tls." or "dtls."
local TLS_FIELDS = { "handshake.type", "handshake.version", "handshake.extensions_server_name",
  "handshake.extensions_alpn_str", "handshake.extensions.supported_version", "handshake.ciphersuite",
  "handshake.extension.type", "handshake.session_id_length" }

local function split(text, mark)
  local parts = {}
  for part in (text .. mark):gmatch("([^" .. mark .. "]*)%" .. mark) do
    parts[#parts + 1] = part
  end
  return parts
end

-- Of each kind: packet number -> { protocols =, field =, … } of the packets in which tshark sees it, each segment for
-- itself.
local function judge(path, kinds)
  local words = { "tshark -n -r", t.quote(path), "-o tcp.desegment_tcp_streams:FALSE -o ip.defragment:FALSE",
    "-o ipv6.defragment:FALSE -o tcp.check_checksum:FALSE -T fields -E occurrence=a -E 'aggregator=|'",
    "-Y 'dns || mdns || llmnr || tls.handshake || dtls.handshake' -e frame.number -e frame.protocols" }
  local packets = {}
  for _, kind in ipairs(kinds) do
    packets[kind.name] = {}
    for _, field in ipairs(kind.fields) do
      words[#words + 1] = "-e " .. kind.prefix .. field
    end
  end
  for line in t.sh(table.concat(words, " "), { timeout = 60 }).out:gmatch("([^\n]*)\n") do
    local values, at = split(line, "\t"), 2
    for _, kind in ipairs(kinds) do
      local packet = { protocols = values[2] }
      for _, field in ipairs(kind.fields) do
        at = at + 1
        packet[field] = values[at] or ""
      end
      if kind.is_there(packet) then
        packets[kind.name][tonumber(values[1])] = packet
      end
    end
  end
  return packets
end

local function number_list(text, base)
  local values = {}
  for _, word in ipairs(split(text, "|")) do
    values[#values + 1] = tostring(tonumber(word, base) or tonumber(word) or word)
  end
  return table.concat(values, "|")
end

-- Without GREASE, as p:tls() has it.
local function without_grease(text)
  local values = {}
  for _, word in ipairs(split(text, "|")) do
    local n = tonumber(word)
    if n and not (n % 256 == math.floor(n / 256) and n % 16 == 10) then
      values[#values + 1] = tostring(n)
    end
  end
  return table.concat(values, "|")
end

-- What tshark sees and p:dns() and p:tls() do not, on purpose.
local function is_deliberate(protocols)
  local _, ips = protocols:gsub("%f[^:%z]ipv?6?%f[:%z]", "")
  if ips > 1 then
    return "inside of a tunnel or of an ICMP error: p is the outer packet"
  elseif protocols:find("quic", 1, true) then
    return "QUIC is not read"
  elseif protocols:find("pktap", 1, true) or protocols:find("nflog", 1, true) then
    return "link types that are not decoded"
  end
  return nil
end

local RECORD = "the hello is whole in this segment, its record is not: tshark waits for that"
local PACKETS = {
  ["hostile/tcpdump__rtp-seg-fault-1.pcapng"] = { [1] = "9 bytes: not even a header of DNS" },
  ["real/pcapplusplus__null_loopback.pcap"] = { [3] = "an address family that no system has: no IP for us" },
  ["hostile/joincap__bad_end.pcap"] = { [181] = RECORD },
  ["hostile/joincap__very_small_snaplen.pcap"] = { [181] = RECORD },
  ["real/joincap__out_of_order.pcap"] = { [181] = RECORD },
  ["real/joincap__very_big_snaplen.pcap"] = { [181] = RECORD },
  ["real/snabb__lib_ljndpi_examples_lamernews.pcap"] = { [687] = RECORD, [696] = RECORD },
}

local function plain(name)
  return not name:find("[^%w%-_.|<>*]")
end

local function same_dns(mine, theirs, differ)
  local function check(what, a, b)
    if a ~= b then
      differ(what, a, b)
    end
  end
  local whole = mine[3] == "whole"
  check("id", tonumber(mine[4]), tonumber(theirs["dns.id"]))
  check("response", mine[5], theirs["dns.flags.response"])
  check("opcode", mine[6], theirs["dns.flags.opcode"])
  if mine[5] == "1" then -- tshark shows it of responses only
    check("rcode", mine[7], theirs["dns.flags.rcode"])
  end
  check("ancount", mine[10], theirs["dns.count.answers"])
  if theirs["dns.flags.authoritative"] ~= "" then
    check("aa", mine[22], theirs["dns.flags.authoritative"])
  end
  check("tc", mine[23], theirs["dns.flags.truncated"])
  if theirs["dns.flags.recdesired"] ~= "" then
    check("rd", mine[24], theirs["dns.flags.recdesired"])
  end
  if theirs["dns.flags.recavail"] ~= "" then
    check("ra", mine[25], theirs["dns.flags.recavail"])
  end
  if not whole then
    return
  end
  local function names(at, field)
    local a, b = mine[at]:gsub("%f[^|%z]%.%f[|%z]", "<Root>"), theirs[field]
    if plain(a) and plain(b) then
      check(field, a, b)
    end
  end
  names(8, "dns.qry.name")
  check("qtype", mine[9], number_list(theirs["dns.qry.type"]))
  names(11, "dns.resp.name")
  if not theirs["dns.resp.type"]:find("%f[%d]4[67]%f[^%d]") and not theirs["dns.resp.type"]:find("%f[%d]50%f[^%d]") then
    check("type", mine[12], theirs["dns.resp.type"]) -- NSEC: tshark also shows the types in it
    check("ttl", mine[13], theirs["dns.resp.ttl"])
  end
  check("a", mine[14], theirs["dns.a"])
  check("aaaa", mine[15], theirs["dns.aaaa"])
  names(16, "dns.cname")
  names(17, "dns.ns")
  names(18, "dns.ptr.domain_name")
  names(19, "dns.mx.mail_exchange")
  names(20, "dns.soa.mname")
  names(21, "dns.srv.target")
  if theirs["dns.resp.edns0_version"] ~= "" then
    check("edns", mine[27], theirs["dns.resp.edns0_version"])
    check("udp_size", mine[26], tostring(tonumber(theirs["dns.rr.udp_payload_size"])))
  end
end

local function same_tls(mine, theirs, differ)
  local function check(what, a, b)
    if a ~= b then
      differ(what, a, b)
    end
  end
  local types = split(theirs["handshake.type"], "|")
  check("type", mine[4], types[1])
  if mine[3] ~= "whole" then
    return
  end
  local first = #types == 1
  check("legacy_version", tonumber(mine[5]), tonumber((split(theirs["handshake.version"], "|")[1])))
  check("sni", mine[6], split(theirs["handshake.extensions_server_name"], "|")[1])
  check("alpn", mine[7], theirs["handshake.extensions_alpn_str"])
  local versions, best = split(without_grease(theirs["handshake.extensions.supported_version"]), "|"), 0
  for _, v in ipairs(versions) do
    v = tonumber(v) or 0
    best = mine[1] == "dtls" and best ~= 0 and math.min(best, v) or math.max(best, v) -- DTLS counts down
  end
  check("version", tonumber(mine[8]), best ~= 0 and best or tonumber(mine[5]))
  check("ciphers", mine[9], without_grease(theirs["handshake.ciphersuite"]))
  if first then
    check("extensions", mine[10], without_grease(theirs["handshake.extension.type"]))
  end
  check("session id", mine[11], split(theirs["handshake.session_id_length"], "|")[1])
end

local function is_hello(packet)
  return ("|" .. packet["handshake.type"] .. "|"):find("|[12]|") ~= nil
end

local KINDS = {
  { name = "dns", prefix = "", fields = DNS_FIELDS, same = same_dns, is_there = function(packet)
    return packet["dns.id"] ~= ""
  end },
  { name = "tls", prefix = "tls.", fields = TLS_FIELDS, same = same_tls, is_there = is_hello },
  { name = "dtls", prefix = "dtls.", fields = TLS_FIELDS, same = same_tls, is_there = is_hello },
}

-- The captures of the corpus that tshark sees any of it in.
local function captures(dir)
  local paths = {}
  for _, row in ipairs(t.tsv(dir .. "/MANIFEST.tsv")) do
    local readable = row.path:find("^real/") or (row.path:find("^hostile/") and not row.path:find("derived", 1, true))
    for _, word in ipairs { "dns", "mdns", "llmnr", "tls", "dtls" } do
      if readable and ("," .. row.tshark_protocols_first_500 .. ","):find("," .. word .. ",", 1, true) then
        paths[#paths + 1] = row.path
        break
      end
    end
  end
  return paths
end

-- What differs in the packets of one kind, as lines.  out: what REPORT printed; theirs: of judge.
local function differences_of(kind, out, theirs, known, differences)
  local function differ(...)
    differences[#differences + 1] = ("%s: packet %d: %s: %s, tshark has %s"):format(kind.name, ...)
  end
  for line in out:gmatch("([^\n]*)\n") do
    local mine = split(line, "\t")
    local number = tonumber(mine[2])
    local packet = theirs[number]
    if mine[1] == kind.name then
      theirs[number] = nil
      if packet then
        kind.same(mine, packet, function(what, a, b) differ(number, what, tostring(a), tostring(b)) end)
      elseif mine[3] == "whole" and not known[number] then
        differ(number, "seen", line, "nothing")
      end
    end
  end
  for number, packet in pairs(theirs) do
    if not is_deliberate(packet.protocols) and not known[number] then
      differ(number, "seen", "nothing", packet.protocols)
    end
  end
end

local dir, why_not = t.corpus()

describe("readers agree with tshark", function()
  before_each(t.fresh)
  after_each(t.clean)

  if not dir then
    it("over the corpus", function() pending(why_not) end)
    return
  end
  for _, path in ipairs(captures(dir)) do
    it("over " .. path, function()
      t.write("report.lua", REPORT)
      local out = t.sh("moontap -l ./report.lua " .. t.quote(dir .. "/" .. path), { timeout = 60 }).out
      local theirs, differences = judge(dir .. "/" .. path, KINDS), {}
      for _, kind in ipairs(KINDS) do
        differences_of(kind, out, theirs[kind.name], PACKETS[path] or {}, differences)
      end
      table.sort(differences)
      assert.equal("", table.concat(differences, "\n"))
    end)
  end
end)

-- --- made here ---------------------------------------------------------------------------------

local function be(n, bytes)
  return c.uint(n, bytes, "be")
end

local function tcp(f)
  local payload = f.payload or ""
  return "\2\0\0\0\0\2\2\0\0\0\0\1\8\0" .. "\x45\0" .. be(40 + #payload, 2) .. "\0\1\0\0\x40\6\0\0\10\0\0\1\10\0\0\2"
    .. be(f.sport or 1000, 2) .. be(f.dport or 2000, 2) .. be(1, 4) .. be(1, 4) .. "\x50\x18\x10\0\0\0\0\0" .. payload
end

-- A file of these frames; what the hook prints of each.
local function run(frames, hook, more)
  local file = {}
  for i, frame in ipairs(frames) do
    file[i] = type(frame) == "table" and frame or { c.T0, i, frame }
  end
  t.write("in.pcap", c.pcap(file))
  t.write("s.lua", ("local n = 0 return { on_packet = function(p) %s end %s }"):format(hook, more or ""))
  return t.run("moontap -l ./s.lua in.pcap", nil, { timeout = 60 }).out
end

local function lines(text)
  local list = {}
  for line in text:gmatch("([^\n]*)\n") do
    list[#list + 1] = line
  end
  return list
end

local function label(text)
  return string.char(#text) .. text
end

-- "www.example.com" as it is sent.
local function name(text)
  local labels = {}
  for part in text:gmatch("[^.]+") do
    labels[#labels + 1] = label(part)
  end
  return table.concat(labels) .. "\0"
end

local function pointer(offset)
  return be(0xc000 + offset, 2)
end

-- f: id, flags, counts {4}; then whatever follows
local function message(f, ...)
  local counts = f.counts or { 1, 0, 0, 0 }
  return be(f.id or 1, 2) .. be(f.flags or 0x0100, 2) .. be(counts[1], 2) .. be(counts[2], 2) .. be(counts[3], 2)
    .. be(counts[4], 2) .. table.concat { ... }
end

local function question(encoded, kind, class)
  return encoded .. be(kind or 1, 2) .. be(class or 1, 2)
end

local function record(encoded, kind, data, f)
  f = f or {}
  return encoded .. be(kind, 2) .. be(f.class or 1, 2) .. be(f.ttl or 300, 4) .. be(f.len or #data, 2) .. data
end

local function to_53(payload)
  return c.udp { dport = 53, payload = payload }
end

local ASK = message({}, question(name "www.example.com"))

describe("p:dns()", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- What an expression of d gives for messages over UDP.
  local function gives(expression, ...)
    local frames = {}
    for i, payload in ipairs { ... } do
      frames[i] = to_53(payload)
    end
    return lines(run(frames, "local d = p:dns() print(" .. expression .. ")"))
  end

  it("reads the header", function()
    local all = "d.id, d.is_response, d.opcode, d.opcode_name, d.aa, d.tc, d.rd, d.ra, d.ad, d.cd, d.rcode, d.rcode_name"
    assert.same({
      "4660\ttrue\t0\tQUERY\ttrue\ttrue\ttrue\ttrue\ttrue\ttrue\t3\tNXDOMAIN",
      "1\tfalse\t5\tUPDATE\tfalse\tfalse\tfalse\tfalse\tfalse\tfalse\t0\tNOERROR",
      "1\tfalse\t15\tOPCODE15\tfalse\tfalse\tfalse\tfalse\tfalse\tfalse\t12\tRCODE12",
    }, gives(all, message { id = 0x1234, flags = 0x87b3, counts = { 0, 0, 0, 0 } },
      message({ flags = 0x2800 }, question "\0"), message { flags = 0x780c, counts = { 0, 0, 0, 0 } }))
    assert.same({ "1\t2\t3\t4" }, gives("d.qdcount, d.ancount, d.nscount, d.arcount", message { counts = { 1, 2, 3, 4 } }))
  end)

  it("has 0, false and nil for what is not there", function()
    assert.same({ "nil nil 0 nil 0 false 0 0 false nil 0 true false" }, gives(
      [[table.concat({ tostring(d.name), tostring(d.name_lower), d.qtype, tostring(d.qtype_name), d.qclass,
      tostring(d.has_edns), d.edns_version, d.udp_size, tostring(d.dnssec_ok), tostring(d.client_subnet),
      d.client_subnet_bits, tostring(d.is_whole), tostring(d.malformed) }, " ")]], message { counts = { 0, 0, 0, 0 } }))
    assert.same({ "nil\tnil" }, gives("d:answer(), d:edns_option(3)", ASK))
  end)

  it("writes names so that they can be printed and read again", function()
    local out = gives("d.name, d.name_lower, d:name_is(d.name)",
      ASK, message({}, question "\0"), message({}, question(label "WWW" .. label "ExAmple" .. "\0")),
      message({}, question(label "a.b\\c" .. label "d e" .. "\0")), message({}, question(label "\0\255\127\r\n" .. "\0")))
    assert.same({ "www.example.com\twww.example.com\ttrue", ".\t.\ttrue", "WWW.ExAmple\twww.example\ttrue",
      [[a\.b\\c.d\032e]] .. "\t" .. [[a\.b\\c.d\032e]] .. "\ttrue",
      [[\000\255\127\013\010]] .. "\t" .. [[\000\255\127\013\010]] .. "\ttrue" }, out)
  end)

  it("compares names by labels, whatever their case", function()
    local cases = {
      { "www.example.com", true, true }, { "WWW.EXAMPLE.COM", true, true }, { "www.example.com.", true, true },
      { "example.com", false, true }, { "xample.com", false, false }, { "com", false, true }, { ".", false, true },
      { "", false, true }, { "a.www.example.com", false, false }, { "www.example.org", false, false },
      { "www..example.com", false, false }, { ".com", false, false }, { "\\119ww.example.com", true, true },
      { "\\www.example.com", true, true }, { "www\\.example.com", false, false }, { "www.example.com\\", false, false },
      { "\\999", false, false }, { ("a"):rep(64) .. ".com", false, false }, { ("a."):rep(200), false, false },
      { ("a"):rep(2000), false, false },
    }
    local hook, expected = {}, {}
    for i, case in ipairs(cases) do
      hook[i] = ("print(d:name_is(%q), d:name_ends(%q))"):format(case[1], case[1])
      expected[i] = tostring(case[2]) .. "\t" .. tostring(case[3])
    end
    assert.same(expected, lines(run({ to_53(message({}, question(name "wWw.example.com"))) },
      "local d = p:dns() " .. table.concat(hook, " "))))
  end)

  it("counts names without making strings of them", function()
    local asks = { to_53(message({}, question(name "wWw.example.com"))), to_53(message({}, question(name "www.EXAMPLE.com"))),
      to_53(message({}, question(name "a.b"))), to_53(message({ counts = { 0, 0, 0, 0 } })),
      to_53(message({}, question("\64" .. ("x"):rep(64) .. "\0"))) }
    t.write("in.pcap", c.pcap((function()
      local list = {}
      for i, ask in ipairs(asks) do list[i] = { c.T0, i, ask } end
      return list
    end)()))
    t.write("s.lua", [[
      local keys, strings, plain, kept = moontap.topk(), moontap.topk(), moontap.topk(), nil
      local seen, both = moontap.distinct(), moontap.distinct()
      return {
        on_packet = function(p)
          local d = p:dns()
          keys:add(d:name_key("none", d.rcode_name))
          strings:add(d.rcode_name .. " " .. (d.name_lower or "none"))
          local key = d:name_key()
          if key then plain:add(key, 2) seen:add(key) both:add(d.name_lower) both:add(key) end
          assert(tostring(key) == tostring(d.name_lower))
          kept = kept or key
        end,
        on_stop = function()
          print(keys) print(strings) print(plain:get("www.example.com"), seen:count(), both:count(), pcall(tostring, kept))
        end,
      }]])
    local out = lines(t.run("moontap -q -l ./s.lua in.pcap").out)
    assert.equal(9, #out)
    for i = 1, 4 do assert.equal(out[i], out[i + 4]) end
    assert.is_truthy(out[2]:find("NOERROR none +2") or out[3]:find("NOERROR none +2"), out[2])
    assert.is_truthy(out[9]:find("4\t2\t2\tfalse\t.*this key is gone: the next one took its place"), out[9])
  end)

  it("follows the limits of names: 63 bytes a label, 255 a name", function()
    local l63 = ("x"):rep(63)
    local longest = label(l63) .. label(l63) .. label(l63) .. label(("y"):rep(61)) .. "\0" -- 255
    local out = gives("#(d.name or ''), d.malformed, d.qtype", message({}, question(longest)),
      message({}, question(label(l63) .. label(l63) .. label(l63) .. label(("y"):rep(62)) .. "\0")),
      message({}, question("\64" .. ("x"):rep(64) .. "\0")), message({}, question("\128x\0")))
    assert.same({ "253\tfalse\t1", "0\ttrue\t0", "0\ttrue\t0", "0\ttrue\t0" }, out)
    -- the longest in a pointer's name, and one label more
    local far = message({ counts = { 1, 2, 0, 0 } }, question(longest), record(pointer(12), 1, "\1\2\3\4"),
      record(label "z" .. pointer(12), 1, "\1\2\3\4"))
    assert.same({ "253\tnil\ttrue" }, gives("#d:answer(1).name, d:answer(2).name, d.malformed", far))
  end)

  it("follows pointers that lead back, and no others", function()
    local at = 12 + #question(name "www.example.com") -- where the answer begins
    local function answer(encoded)
      return message({ counts = { 1, 1, 0, 0 } }, question(name "www.example.com"), record(encoded, 1, "\1\2\3\4"))
    end
    local out = gives("d.ancount, d:answer() and d:answer().name, d.malformed",
      answer(pointer(12)), answer(pointer(16)), answer(label "a" .. pointer(16)),
      answer(pointer(at)),             -- at itself
      answer(label "a" .. pointer(at)), -- a loop with a label in it
      answer(pointer(at + 8)),         -- forward
      answer(pointer(0x3fff)))         -- behind the end
    assert.same({ "1\twww.example.com\tfalse", "1\texample.com\tfalse", "1\ta.example.com\tfalse", "1\tnil\ttrue",
      "1\tnil\ttrue", "1\tnil\ttrue", "1\tnil\ttrue" }, out)
    -- the question points at itself; two names that point at each other
    out = gives("d.name, d.qtype, d.malformed", message({}, question(pointer(12))),
      message({ counts = { 2, 0, 0, 0 } }, question(pointer(18)), question(pointer(12))))
    assert.same({ "nil\t1\ttrue", "nil\t1\ttrue" }, out)
  end)

  it("gives a chain of pointers up that could not be a name's", function()
    -- data of an unknown type: the root, then pointers that each point at the one before
    local start, links = 12 + 11, { "\0\0" }
    for i = 0, 1999 do
      links[#links + 1] = pointer(start + 2 * i)
    end
    local fixed = record("\0", 65280, table.concat(links))
    local last = start + 2 * 2000
    local out = gives("d:answer(2) and d:answer(2).name, d.malformed",
      message({ counts = { 0, 2, 0, 0 } }, fixed, record(pointer(start + 2 * 100), 1, "\1\2\3\4")),
      message({ counts = { 0, 2, 0, 0 } }, fixed, record(pointer(last), 1, "\1\2\3\4")))
    assert.same({ ".\tfalse", "nil\ttrue" }, out)
  end)

  it("does no more work than there are bytes, whatever the counts say", function()
    local frames = {}
    for i = 1, 3000 do
      frames[i] = to_53(message({ counts = { 65535, 65535, 65535, 65535 } }, question(name "a.b")))
    end
    local before = os.time()
    local out = run(frames, [[local d = p:dns()
      for _, section in ipairs { "questions", "answers", "authority", "additional" } do
        for _ in d[section](d) do n = n + 1 end
      end
      if d.malformed and d.rcode == 0 and not d.has_edns then n = n + 1 end]], ", on_stop = function() print(n) end")
    assert.equal("6000\n", out) -- the one question there is, and that the rest is not
    assert.is_true(os.time() - before < 20)
  end)

  it("reads records of all sections and their data", function()
    local text = message({ flags = 0x8180, counts = { 1, 9, 2, 2 } }, question(name "example.com", 255),
      record(pointer(12), 1, "\192\0\2\1"), record(pointer(12), 28, "\32\1\13\184" .. ("\0"):rep(11) .. "\1"),
      record(pointer(12), 15, be(10, 2) .. label "mail" .. pointer(12)),
      record(pointer(12), 16, label 'v=spf1 "x"' .. label "\1-all"),
      record(pointer(12), 33, be(1, 2) .. be(2, 2) .. be(5060, 2) .. name "sip.example.net"),
      record(pointer(12), 5, pointer(12)), record(pointer(12), 257, "\0" .. label "issue" .. "ca.example"),
      record(pointer(12), 65, be(1, 2) .. "\0" .. be(1, 2) .. be(6, 2) .. label "h2" .. label "h3"
        .. be(3, 2) .. be(2, 2) .. be(8443, 2) .. be(4, 2) .. be(8, 2) .. "\1\2\3\4\5\6\7\8" .. be(7, 2) .. be(1, 2) .. "x"),
      record(pointer(12), 65280, "\222\173", { class = 1, ttl = 4294967295 }),
      record(pointer(12), 6, label "ns" .. pointer(12) .. label "admin" .. pointer(12) .. be(1, 4) .. be(2, 4) .. be(3, 4)
        .. be(4, 4) .. be(4294967295, 4)), record(pointer(12), 2, label "ns" .. pointer(12)),
      record(label "ns" .. pointer(12), 1, "\192\0\2\2"), record("\0", 41, "", { class = 1232, ttl = 0x00008000 }))
    local out = run({ to_53(text) }, [[local d = p:dns()
      for i, r in d:answers() do print(i, r) end
      for i, r in d:authority() do print(i, r) end
      for i, r in d:additional() do print(i, r) end
      for i, q in d:questions() do print(i, q, q.type, q.class, q:name_is("example.com"), q:name_ends("com")) end
      print(d.malformed, d.has_edns, d.udp_size, d.dnssec_ok)
      print(d)]])
    assert.same({
      "1\texample.com 300 IN A 192.0.2.1", "2\texample.com 300 IN AAAA 2001:db8::1",
      "3\texample.com 300 IN MX 10 mail.example.com", [[4	example.com 300 IN TXT "v=spf1 \"x\"" "\001-all"]],
      "5\texample.com 300 IN SRV 1 2 5060 sip.example.net", "6\texample.com 300 IN CNAME example.com",
      [[7	example.com 300 IN CAA 0 issue "ca.example"]],
      [[8	example.com 300 IN HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=1.2.3.4,5.6.7.8 key7="x"]],
      [[9	example.com 4294967295 IN TYPE65280 \# 2 dead]],
      "1\texample.com 300 IN SOA ns.example.com admin.example.com 1 2 3 4 4294967295",
      "2\texample.com 300 IN NS ns.example.com", "1\tns.example.com 300 IN A 192.0.2.2", [[2	. 32768 CLASS1232 OPT \# 0]],
      "1\texample.com IN ANY\t255\t1\ttrue\ttrue", "false\ttrue\t1232\ttrue",
      "DNS 1 response NOERROR example.com ANY 9/2/2",
    }, lines(out))
    out = run({ to_53(text) }, [[local d = p:dns()
      print(d:answer(1).address, d:answer(1).address == "192.0.2.1", d:answer(2).address == "2001:db8::1", d:answer(3).address)
      print(d:answer(3).preference, d:answer(3).target, d:answer(3).target_lower, d:answer(1).preference, d:answer(1).target)
      print(d:answer(4).txt == 'v=spf1 "x"\1-all', d:answer(1).txt)
      print(d:answer(5).priority, d:answer(5).weight, d:answer(5).port, d:answer(5).target, d:answer(3).port)
      print(d:answer(8).preference, d:answer(8).target, d:answer(9).data == "\222\173", d:answer(9).rdlength, d:answer(9).ttl)
      print(d:answer(3):target_is "MAIL.example.com", d:answer(3):target_ends "example.com", d:answer(1):target_is ".")
      print(d:answer(10), d:answer(9).type_name, d:answer(2).name, d:answer(1).name_lower)]])
    assert.same({ "192.0.2.1\ttrue\ttrue\tnil", "10\tmail.example.com\tmail.example.com\t0\tnil", "true\tnil",
      "1\t2\t5060\tsip.example.net\t0", "1\t.\ttrue\t2\t4294967295", "true\ttrue\tfalse",
      "nil\tTYPE65280\texample.com\texample.com" }, lines(out))
  end)

  it("writes data that has not the form of its type as RFC 3597 does, and says malformed", function()
    local function with(kind, data)
      return message({ flags = 0x8180, counts = { 0, 1, 0, 0 } }, record("\0", kind, data))
    end
    local out = gives("d:answer().text, d:answer().address, d:answer().target, d:answer().txt, d.malformed",
      with(1, "\1\2\3"), with(28, "\1\2\3\4"), with(5, "\3ab"), with(5, pointer(400)), with(15, "\1"), with(16, "\5abc"),
      with(16, ""), with(6, "\0\0" .. ("\0"):rep(19)), with(33, "\0\1\0\1\0"), with(2, "\0x"))
    assert.same({ "\\# 3 010203\tnil\tnil\tnil\ttrue", "\\# 4 01020304\tnil\tnil\tnil\ttrue",
      "\\# 3 036162\tnil\tnil\tnil\ttrue", "\\# 2 c190\tnil\tnil\tnil\ttrue", "\\# 1 01\tnil\tnil\tnil\ttrue",
      "\\# 4 05616263\tnil\tnil\tnil\ttrue", "\\# 0\tnil\tnil\t\ttrue",
      "\\# 21 " .. ("00"):rep(21) .. "\tnil\t.\tnil\ttrue", "\\# 5 0001000100\tnil\tnil\tnil\ttrue",
      "\\# 2 0078\tnil\t.\tnil\ttrue" }, out)
  end)

  it("reads EDNS: extended rcode, sizes, options, client subnet", function()
    local subnet = be(8, 2) .. be(7, 2) .. be(1, 2) .. "\24\0" .. "\192\0\2"
    local subnet6 = be(8, 2) .. be(8, 2) .. be(2, 2) .. "\32\0" .. "\32\1\13\184"
    local cookie = be(10, 2) .. be(8, 2) .. "abcdefgh"
    local function with(options, ttl)
      return message({ flags = 0x8180, counts = { 0, 0, 0, 1 } }, record("\0", 41, options, { class = 4096, ttl = ttl or 0 }))
    end
    local out = gives([[d.rcode, d.rcode_name, d.edns_version, d.udp_size, d.dnssec_ok, d.client_subnet, d.client_subnet_bits,
      d:edns_option(10), d.malformed]],
      with(cookie .. subnet, 0x01018000), with(subnet6, 0x01000000), with("", 0),
      with(be(8, 2) .. be(7, 2) .. be(1, 2) .. "\25\0" .. "\1\2\3"),  -- 25 bits need 4 bytes
      with(be(8, 2) .. be(50, 2) .. be(1, 2)))                       -- runs past the record
    assert.same({ "16\tBADVERS\t1\t4096\ttrue\t192.0.2.0\t24\tabcdefgh\tfalse",
      "16\tBADVERS\t0\t4096\tfalse\t2001:db8::\t32\tnil\tfalse", "0\tNOERROR\t0\t4096\tfalse\tnil\t0\tnil\tfalse",
      "0\tNOERROR\t0\t4096\tfalse\tnil\t0\tnil\tfalse", "0\tNOERROR\t0\t4096\tfalse\tnil\t0\tnil\ttrue" }, out)
  end)

  it("is safe on every beginning of a message, sent so or captured so", function()
    local whole = message({ flags = 0x8180, counts = { 1, 2, 1, 1 } }, question(name "www.example.com"),
      record(pointer(12), 5, label "x" .. pointer(16)), record(label "x" .. pointer(16), 1, "\1\2\3\4"),
      record(pointer(16), 6, name "ns" .. name "admin" .. ("\0"):rep(20)), record("\0", 41, "\0\3\0\2ab", { class = 1232 }))
    local frames = {}
    for n = 0, #whole do
      frames[#frames + 1] = to_53(whole:sub(1, n)) -- the sender's
    end
    local full = to_53(whole)
    for n = 0, #full do
      frames[#frames + 1] = { c.T0, n, full:sub(1, n), len = #full }
    end
    local out = lines(run(frames, [[local d = p:dns()
      if not d then print(p.payload_len < 12 and "short" or "?") return end
      local parts = { d.is_whole and "whole" or "cut", d.malformed and "malformed" or "good", d.name or "-", d.rcode,
        d.qtype, d.udp_size, tostring(d) ~= "" and "" }
      for _, section in ipairs { "questions", "answers", "authority", "additional" } do
        local count = 0
        for _, r in d[section](d) do
          count = count + 1
          if section ~= "questions" then parts[#parts + 1] = #r.text > 0 and "" end
        end
        parts[#parts + 1] = count
      end
      print(table.concat(parts, " "))]]))
    assert.equal(#frames, #out)
    for i, line in ipairs(out) do
      local n = i <= #whole + 1 and i - 1 or i - #whole - 2 - 42 -- bytes of the message
      local captured = i > #whole + 1
      if n < 12 then
        assert.equal("short", line)
      elseif n == #whole then
        assert.is_truthy(line:find("^whole good www.example.com 0 1 1232 .*1  *2  *1  *1$"), line)
      else
        assert.is_truthy(line:find(captured and "^cut good " or "^whole malformed "), i .. ": " .. line)
        assert.is_truthy(line:find(n < 29 and " - 0 0 0 " or n < 33 and " 0 0 0 " or " www.example.com 0 1 0 "), i .. ": " .. line)
      end
    end
  end)

  it("knows the ports of DNS, mDNS and LLMNR, one that is given, and what looks like DNS", function()
    local function over(sport, dport, payload)
      return c.udp { sport = sport, dport = dport, payload = payload or ASK }
    end
    local framed = be(#ASK, 2) .. ASK
    local frames = { over(53, 4000), over(4000, 53), over(5353, 5353), over(4000, 5355), over(4000, 8053), over(137, 137),
      tcp { dport = 53, payload = framed }, tcp { sport = 53, payload = framed .. framed },
      tcp { dport = 5353, payload = framed }, tcp { dport = 53, payload = ASK }, tcp { dport = 53, payload = framed:sub(1, -2) },
      tcp { dport = 53, payload = "" }, over(4000, 8053, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), over(4000, 53, "short") }
    local out = lines(run(frames, [[
      local function yes(d) return d and d.name or "-" end
      print(yes(p:dns()), yes(p:dns(8053)), yes(p:dns "any"))]]))
    local y = "www.example.com"
    out[13] = out[13]:gsub("\t[^\t]*\t", "\t?\t") -- whatever comes to a port that was named
    assert.same({ y .. "\t-\t" .. y, y .. "\t-\t" .. y, y .. "\t-\t" .. y, y .. "\t-\t" .. y, "-\t" .. y .. "\t" .. y,
      "-\t-\t-", y .. "\t-\t" .. y, y .. "\t-\t" .. y, "-\t-\t" .. y, "-\t-\t-", "-\t-\t-", "-\t-\t-", "-\t?\t-",
      "-\t-\t-" }, out)
  end)

  it("ends the message where UDP or its length over TCP does", function()
    local answer = message({ flags = 0x8180, counts = { 1, 1, 0, 0 } }, question "\0", record("\0", 1, "\1\2\3\4"))
    local short = c.udp { sport = 53, payload = answer }
    short = short:sub(1, 38) .. be(8 + #answer - 4, 2) .. short:sub(41) -- UDP length: 4 bytes less
    local out = lines(run({ short, tcp { sport = 53, payload = be(#answer, 2) .. answer .. "trailer" },
      { c.T0, 0, tcp { sport = 53, payload = be(#answer, 2) .. answer }:sub(1, -3), len = 40 + 14 + 2 + #answer } },
      "local d = p:dns() print(d.ancount, d:answer(), d.malformed, d.is_whole)"))
    assert.same({ "1\tnil\ttrue\ttrue", "1\t. 300 IN A 1.2.3.4\tfalse\ttrue", "1\tnil\tfalse\tfalse" }, out)
  end)

  it("of two packets at a time keeps them apart", function()
    local frames = {}
    for i = 1, 40 do
      frames[i] = to_53(message({ id = i, counts = { 1, 1, 0, 0 } }, question(name("n" .. i .. ".example")),
        record(pointer(12), 1, "\1\2\3" .. string.char(i))))
    end
    local out = run(frames, [[kept = kept or {}
      kept[#kept + 1] = p:copy()
      local views = {}
      for k, c in ipairs(kept) do views[k] = c:dns() end
      local mine = p:dns()
      for k, d in ipairs(views) do
        if d.name ~= "n" .. k .. ".example" or tostring(d:answer().address) ~= "1.2.3." .. k then n = n + 1 end
        for _, r in d:answers() do if mine:answer().data:byte(4) ~= #kept or r.data:byte(4) ~= k then n = n + 1 end end
      end]], [[, on_stop = function() for k, c in ipairs(kept) do if c:dns().id ~= k then n = n + 1 end end print(n, #kept) end]])
    assert.equal("0\t40\n", out)
  end)

  it("is not confused by a packet that turns out to be none", function()
    local junk = to_53(message({ counts = { 9, 9, 9, 9 } }, "\255\255 no DNS"))
    local out = run({ to_53(message({ flags = 0x8180, counts = { 1, 1, 0, 0 } }, question(name "a.b"), record(pointer(12), 1, "\1\2\3\4"))),
      junk }, [[kept = kept or p:copy()
      local d = kept:dns()
      n = p:dns("any")
      print(n and "yes", d:answer(), d.malformed, d.rcode_name)]])
    assert.equal("yes\ta.b 300 IN A 1.2.3.4\tfalse\tNOERROR\nnil\ta.b 300 IN A 1.2.3.4\tfalse\tNOERROR\n", out)
  end)

  it("of a copy lives on when the copy is gone", function()
    local out = run({ to_53(ASK) }, [[local d = p:copy():dns()
      for _ = 1, 20 do collectgarbage() local junk = ("x"):rep(1e6) end
      print(d.name)]])
    assert.equal("www.example.com\n", out)
  end)

  it("is the same where C looks at whole batches as where it looks at one packet", function()
    local files = ("f/dns.pcap.gz "):rep(100)
    assert.equal("2665 messages, noted, 0 differ\n", t.run("moontap -l " .. NOTES .. " " .. files).out)
    local corpus = t.corpus()
    for _, file in ipairs(corpus and { "dns", "dnssec", "mdns", "edns" } or {}) do
      for path in t.run(("find %s -iname '*%s*.pcap*' -o -iname '*%s*.cap'"):format(corpus, file, file)).out:gmatch "[^\n]+" do
        local out = t.run(("moontap --count 6000 -l %s %s"):format(NOTES, (path .. " "):rep(60)), false).out
        assert.is_truthy(out:find(", 0 differ\n", 1, true), path .. ": " .. out)
      end
    end
  end)

  it("makes no objects of message and packet as long as both are read before C is called", function()
    local frames = {}
    for i = 1, 20000 do frames[i] = to_53(ASK) end
    local out = run(frames, [[
      n = n + 1
      if n == 10000 then collectgarbage() collectgarbage "stop" before = collectgarbage "count" end
      local d = p:dns()
      if d and not d.malformed and d.qtype_name == "A" and d.rcode == 0 then
        names:add(d:name_key())
        clients:add(p)
        clients:add(p.src)
      end]], [[, on_start = function() names, clients = moontap.topk(), moontap.topk { key = "src" } end,
      on_stop = function() print((collectgarbage "count" - before) * 1024 / 10000) end]])
    assert.is_true(tonumber(out) < 12, out .. " bytes a packet")
  end)

  it("ends with the hook, and so do records and loops", function()
    for _, use in ipairs { "old.id", "old.name", "old.rcode", "old:name_is 'x'", "old:answers()", "oldr.ttl", "oldr.name", "oldr.text",
      "oldr:name_is 'x'", "f(s, 0)", "tostring(old)" } do
      t.write("in.pcap", c.pcap { { c.T0, 1, to_53(message({ counts = { 1, 1, 0, 0 } }, question "\0", record("\0", 1, "\1\2\3\4"))) },
        { c.T0, 2, to_53(ASK) } })
      t.write("s.lua", ([[local old, oldr, f, s
        return { on_packet = function(p)
          if old then
            local _ = %s
          end
          old = p:dns()
          oldr = old:answer()
          f, s = old:answers()
        end }]]):format(use))
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:4: this DNS", "is gone: it ends with the packet's hook")
    end
  end)

  it("tells misuse plainly, at the script's line", function()
    for _, case in ipairs {
      { "p:dns().qnam", "a DNS message has no field 'qnam': did you mean 'name'?" },
      { "p:dns().rdata", "a DNS message has no field 'rdata'" }, { "p:dns():answer().adress", "did you mean 'address'?" },
      { "p.dns()", "a colon, not a dot" }, { "p:dns('all')", "expected a port or \"any\", found all" },
      { "p:dns(0)", "expected a port" }, { "p:dns(70000)", "expected a port" },
      { "p:dns():name_is(nil)", "name_is: expected a name, found nothing" },
      { "p:dns().name_is('x')", "a method of a DNS message: write a colon" },
      { "p:dns():name_ends(5)", "name_ends: expected a name, found a number" },
      { "p:dns():name_key('', 5)", "name_key: expected a string of at most 64 bytes, found a number" },
      { "p:dns():name_key('', ('x'):rep(65))", "name_key: expected a string of at most 64 bytes, found one of 65" },
      { "p:dns():name_key().len", "a name's key has no 'len': it is added to moontap.topk" },
      { "(function() local d = p:dns() local k = d:name_key() d:name_key() return moontap.topk():add(k) end)()", "this key is gone" },
      { "p:dns():edns_option('x')", "edns_option: expected a code, found a string" },
      { "p:dns():answer(0)", "answer: expected a number from 1, found 0" },
    } do
      t.write("in.pcap", c.pcap { { c.T0, 1, to_53(message({ counts = { 1, 1, 0, 0 } }, question "\0", record("\0", 1, "\1\2\3\4"))) } })
      t.write("s.lua", "return { on_packet = function(p)\n local _ = " .. case[1] .. " end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: ", case[2])
    end
    t.write("s.lua", "return { on_packet = function(p)\n p:dns().id = 5 end }")
    t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: field 'id' of a DNS message can not be set")
  end)

  it("of an edit shows what it is now, and stays good while the edit grows", function()
    local other = message({ id = 7 }, question(name "other.example"))
    local out = run({ to_53(ASK), to_53(ASK) }, ([[
      local before = p:dns()
      for _, e in ipairs { p:edit(), p:copy():edit() } do
        local old = e:dns()
        e:set_payload(%q .. ("x"):rep(5000))
        local new = e:dns()
        for _ = 1, 10 do collectgarbage() e:set_payload(e:bytes(e.payload_offset, e.payload_len) .. ("x"):rep(5000)) end
        print(new.id, new.name, e:dns().id, old:name_ends "example", before.name, e:tls())
      end]]):format(other))
    assert.equal(("7\tother.example\t7\tfalse\twww.example.com\tnil\n"):rep(4), out)
  end)

  it("works in on_batch and after p:truncate", function()
    t.write("in.pcap", c.pcap { { c.T0, 1, to_53(ASK) }, { c.T0, 2, to_53(message({ id = 2 }, question(name "b"))) } })
    t.write("s.lua", [[return { on_batch = function(b)
      local views = {}
      for i = 0, b.n - 1 do views[i] = b[i]:dns() end
      for i = 0, b.n - 1 do print(views[i].name, views[i].malformed) end
      b[0]:truncate(14 + 28 + 20)
      local d = b[0]:dns()
      print(d.name, d.is_whole, d.malformed, views[0].name)
      b[0]:truncate(14 + 28 + 11)
      print(b[0]:dns())
    end }]])
    assert.equal("www.example.com\tfalse\nb\tfalse\nnil\tfalse\tfalse\twww.example.com\nnil\n",
      t.run("moontap -l ./s.lua in.pcap").out)
  end)
end)

local RANDOM = ("r"):rep(32)

local function vector(bytes, data)
  return be(#data, bytes) .. data
end

local function numbers(list)
  local parts = {}
  for i, n in ipairs(list) do
    parts[i] = be(n, 2)
  end
  return table.concat(parts)
end

local function extension(kind, data)
  return be(kind, 2) .. vector(2, data)
end

local function sni(host)
  return extension(0, vector(2, "\0" .. vector(2, host)))
end

local function alpn(...)
  local parts = {}
  for i, protocol in ipairs { ... } do
    parts[i] = vector(1, protocol)
  end
  return extension(16, vector(2, table.concat(parts)))
end

-- A handshake message: f: version, session, ciphers (list), cookie (DTLS)
local function client_hello(f, ...)
  return "\1" .. vector(3, be(f.version or 0x0303, 2) .. RANDOM .. vector(1, f.session or "")
    .. (f.cookie and vector(1, f.cookie) or "") .. vector(2, numbers(f.ciphers or { 0x1301, 0xc02f })) .. "\1\0"
    .. (select("#", ...) > 0 and vector(2, table.concat { ... }) or ""))
end

local function server_hello(f, ...)
  return "\2" .. vector(3, be(f.version or 0x0303, 2) .. (f.random or RANDOM) .. vector(1, f.session or "")
    .. be(f.cipher or 0x1301, 2) .. "\0" .. (select("#", ...) > 0 and vector(2, table.concat { ... }) or ""))
end

local function tls_record(handshake, version)
  return "\22" .. be(version or 0x0301, 2) .. vector(2, handshake)
end

local HELLO = client_hello({ session = ("s"):rep(32), ciphers = { 0x0a0a, 0x1301, 0x1302, 0xc02f } },
  extension(0x1a1a, ""), sni "www.Example.com", alpn("h2", "http/1.1"),
  extension(43, vector(1, numbers { 0x2a2a, 0x0304, 0x0303 })), extension(51, "key"), extension(0xfafa, "\0"))

describe("p:tls()", function()
  before_each(t.fresh)
  after_each(t.clean)

  -- What an expression of h gives for payloads over TCP.
  local function gives(expression, ...)
    local frames = {}
    for i, payload in ipairs { ... } do
      frames[i] = type(payload) == "table" and payload or tcp { dport = 443, payload = payload }
    end
    return lines(run(frames, "local h = p:tls() if not h then print '-' return end print(" .. expression .. ")"))
  end

  it("reads a client hello, without GREASE", function()
    assert.same({ "true\tfalse\tfalse\tfalse\ttrue\tfalse\ttrue" }, gives(
      "h.is_client_hello, h.is_server_hello, h.is_retry, h.is_dtls, h.is_whole, h.malformed, h.has_grease", tls_record(HELLO)))
    assert.same({ "769\t771\t772\tTLS 1.3\t0\t3\t4\t32\twww.Example.com\twww.example.com\th2" }, gives(
      [[h.record_version, h.legacy_version, h.version, h.version_name, h.cipher, h.cipher_count, h.extension_count,
      h.session_id_len, h.sni, h.sni_lower, h.alpn]], tls_record(HELLO)))
    local out = run({ tcp { payload = tls_record(HELLO) } }, [[local h = p:tls()
      for i, v in h:ciphers() do print("cipher", i, v) end
      for i, v in h:extensions() do print("extension", i, v) end
      for i, v in h:alpns() do print("alpn", i, v) end
      print(h:has_extension(51), h:extension(51), h:has_extension(13), h:extension(13), h)]])
    assert.same({ "cipher\t1\t4865", "cipher\t2\t4866", "cipher\t3\t49199", "extension\t1\t0", "extension\t2\t16",
      "extension\t3\t43", "extension\t4\t51", "alpn\t1\th2", "alpn\t2\thttp/1.1",
      "true\tkey\tfalse\tnil\tclient hello TLS 1.3 www.Example.com h2" }, lines(out))
  end)

  it("reads a server hello, and a request to try again", function()
    local retry = ("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"):gsub("%x%x", function(x)
      return string.char(tonumber(x, 16))
    end)
    assert.same({ "false\ttrue\tfalse\t772\tTLS 1.3\t4865\t1\th2", "false\ttrue\ttrue\t771\tTLS 1.2\t4866\t1\tnil",
      "false\ttrue\tfalse\t769\tTLS 1.0\t47\t1\tnil", "false\ttrue\tfalse\t32530\tTLS 1.3 draft 18\t4865\t1\tnil" }, gives(
      "h.is_client_hello, h.is_server_hello, h.is_retry, h.version, h.version_name, h.cipher, h.cipher_count, h.alpn",
      tls_record(server_hello({}, extension(43, "\3\4"), alpn "h2") .. "\11\0\0\1x"),
      tls_record(server_hello { random = retry, cipher = 0x1302 }), tls_record(server_hello { version = 0x0301, cipher = 47 }),
      tls_record("\2" .. vector(3, "\127\18" .. RANDOM .. "\19\1" .. vector(2, "")))))
  end)

  it("takes the newest version that is offered", function()
    local function offer(...)
      return tls_record(client_hello({}, extension(43, vector(1, numbers { ... }))))
    end
    assert.same({ "772\tTLS 1.3", "772\tTLS 1.3", "32540\tTLS 1.3 draft 28", "771\tTLS 1.2", "64279\t0xfb17", "768\tSSL 3.0" }, gives(
      "h.version, h.version_name", offer(0x0301, 0x0304, 0x0302), offer(0x7f1c, 0x0304, 0xfb17), offer(0x0303, 0x7f1c),
      offer(0x8a8a), offer(0xfb17), tls_record(client_hello { version = 0x0300 })))
  end)

  it("reads DTLS", function()
    local function datagram(handshake, f)
      f = f or {}
      local body = handshake:sub(5)
      local part = handshake:sub(1, 4) .. "\0\1" .. be(f.offset or 0, 3) .. be(f.len or #body, 3) .. body
      return { c.T0, 0, c.udp { dport = 4433, payload = "\22\254\255\0\0\0\0\0\0\0\0" .. vector(2, part) } }
    end
    local hello = client_hello({ version = 0xfefd, cookie = "cookie" }, sni "d.example",
      extension(43, vector(1, numbers { 0xfefd, 0xfefc })))
    assert.same({ "true\tDTLS 1.3\td.example\t65277\ttrue\tfalse", "true\tDTLS 1.0\tnil\t65279\ttrue\tfalse", "-",
      "true\tDTLS 1.2\tnil\t65277\tfalse\tfalse" }, gives(
      "h.is_dtls, h.version_name, h.sni, h.legacy_version, h.is_whole, h.malformed", datagram(hello),
      datagram(server_hello { version = 0xfeff }), datagram(hello, { offset = 1 }), datagram(hello, { len = 60 })))
  end)

  it("is nil for what is no hello", function()
    local good = tls_record(HELLO)
    assert.same({ "-", "-", "-", "-", "-", "-", "-", "-", "-" }, gives("1", "", good:sub(1, 5), "\23" .. good:sub(2),
      "\22\2\1" .. good:sub(4), "\22\3\9" .. good:sub(4), "\22\3\1\0\0" .. good:sub(6), "\22\3\1\255\255" .. good:sub(6),
      tls_record "\11\0\0\0", { c.T0, 0, c.udp { payload = good } }))
  end)

  it("compares server names by labels, whatever their case", function()
    local cases = { { "www.example.com", true, true }, { "WWW.EXAMPLE.COM.", true, true }, { "example.com", false, true },
      { "xample.com", false, false }, { ".example.com", false, false }, { "a.www.example.com", false, false }, { "", false, true } }
    local hook, expected = {}, {}
    for i, case in ipairs(cases) do
      hook[i] = ("print(h:sni_is(%q), h:sni_ends(%q))"):format(case[1], case[1])
      expected[i] = tostring(case[2]) .. "\t" .. tostring(case[3])
    end
    local out = run({ tcp { payload = tls_record(HELLO) } }, "local h = p:tls() " .. table.concat(hook, " "))
    assert.same(expected, lines(out))
    assert.same({ "false\tfalse" }, gives("h:sni_is '', h:sni_ends ''", tls_record(client_hello {})))
  end)

  it("writes what is not printable so that it can be printed", function()
    assert.same({ [[a\027[31m\092\255]] .. "\t" .. [[\013\010]] }, gives("h.sni, h.alpn",
      tls_record(client_hello({}, sni "a\27[31m\\\255", alpn("\10\10", "\r\n")))))
  end)

  it("puts a hello together that lies in several records, cut anywhere", function()
    local payloads, expected = {}, {}
    for n = 1, #HELLO - 1 do
      payloads[#payloads + 1] = tls_record(HELLO:sub(1, n)) .. tls_record(HELLO:sub(n + 1))
      expected[#expected + 1] = "www.Example.com\th2\t772\t4\ttrue\tfalse"
    end
    local bytes = HELLO:gsub(".", function(byte) return tls_record(byte) end)
    payloads[#payloads + 1], expected[#expected + 1] = bytes, expected[1]
    assert.same(expected, gives("h.sni, h.alpn, h.version, h.extension_count, h.is_whole, h.malformed", unpack(payloads)))
  end)

  it("gives what there is of a hello that is cut anywhere, and never more", function()
    local whole = tls_record(HELLO)
    local frames = {}
    for n = 0, #whole do
      frames[#frames + 1] = tcp { payload = whole:sub(1, n) }
    end
    local full = tcp { payload = whole }
    for n = 54, #full do
      frames[#frames + 1] = { c.T0, n, full:sub(1, n), len = #full }
    end
    local out = lines(run(frames, [[local h = p:tls() if not h then print(p.payload_len < 6 and "short" or "?") return end
      local list = {}
      for _, name in ipairs { "ciphers", "extensions", "alpns" } do
        local f, s, i = h[name](h)
        local count = 0
        for _ in f, s, i do count = count + 1 end
        list[#list + 1] = count
      end
      print(h.is_whole and "whole" or "cut", h.malformed, h.sni or "-", h.alpn or "-", h.version, table.concat(list, " "), tostring(h) ~= "")
    ]]))
    assert.equal(#frames, #out)
    for i, line in ipairs(out) do
      local n = (i - 1) % (#whole + 1)
      if n < 6 then
        assert.equal("short", line)
      elseif n == #whole then
        assert.equal("whole\tfalse\twww.Example.com\th2\t772\t3 4 2\ttrue", line)
      else
        assert.is_truthy(line:find("^cut\tfalse\t"), line)
      end
    end
    assert.equal("cut\tfalse\t-\t-\t771\t3 0 0\ttrue", out[1 + 9 + 2 + 32 + 33 + 2 + 8]) -- up to the ciphers
  end)

  it("says malformed when lengths contradict each other, and reads the rest", function()
    local all = "h.malformed, h.is_whole, h.sni, h.alpn, h.version, h.extension_count"
    assert.same({ "true\ttrue\tnil\th2\t771\t2", "true\ttrue\tnil\tnil\t771\t1", "true\ttrue\tnil\tnil\t771\t1",
      "true\ttrue\tx\tnil\t771\t1", "true\ttrue\tnil\tnil\t771\t0", "true\ttrue\tnil\tnil\t771\t0" }, gives(all,
      tls_record(client_hello({}, extension(0, vector(2, "\0\0\50x")), alpn "h2")),   -- the name runs past its list
      tls_record(client_hello({}, sni(("x"):rep(256)))),                             -- longer than a name can be
      tls_record(client_hello({}, sni "")),
      tls_record(client_hello({}, sni "x", "\0\16\0\9ab")),                          -- the second runs past the list
      tls_record("\1" .. vector(3, "\3\3" .. RANDOM .. "\40x")),                     -- the session runs past the hello
      tls_record("\1" .. vector(3, "\3\3" .. RANDOM .. "\0" .. vector(2, "\19\1\2") .. "\1\0"))))
  end)

  it("of two packets at a time keeps them apart", function()
    local payloads = {}
    for i = 1, 30 do
      local hello = client_hello({ ciphers = { 0x1300 + i, 0x1400 + i } }, sni("n" .. i .. ".example"), alpn("p" .. i, "q" .. i))
      payloads[i] = tcp { payload = i % 2 == 0 and tls_record(hello) or tls_record(hello:sub(1, 30)) .. tls_record(hello:sub(31)) }
    end
    local out = run(payloads, [[kept = kept or {}
      kept[#kept + 1] = p:copy()
      local views = {}
      for k, c in ipairs(kept) do views[k] = c:tls() end
      for k, h in ipairs(views) do
        if h.sni ~= "n" .. k .. ".example" then n = n + 1 end
        for i, cipher in h:ciphers() do if cipher ~= 0x1200 + 256 * i + k or p:tls().cipher_count ~= 2 then n = n + 1 end end
        for i, name in h:alpns() do if name ~= (i == 1 and "p" or "q") .. k or not p:tls() then n = n + 1 end end
      end]], ", on_stop = function() print(n, #kept, kept[3]:tls().sni) end")
    assert.equal("0\t30\tn3.example\n", out)
  end)

  it("ends with the hook and tells misuse plainly", function()
    local frame = tcp { payload = tls_record(HELLO) }
    for _, use in ipairs { "old.sni", "old.version", "old:sni_is 'x'", "old:ciphers()", "f(s, 0)", "tostring(old)" } do
      t.write("in.pcap", c.pcap { { c.T0, 1, frame }, { c.T0, 2, frame } })
      t.write("s.lua", ([[local old, f, s
        return { on_packet = function(p)
          if old then
            local _ = %s
          end
          old = p:tls()
          f, s = old:alpns()
        end }]]):format(use))
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:4: this TLS hello is gone: it ends with the packet's hook")
    end
    for _, case in ipairs {
      { "p:tls().server_name", "a TLS hello has no field 'server_name': did you mean 'sni'?" },
      { "p.tls()", "a colon, not a dot" }, { "p:tls():sni_ends()", "sni_ends: expected a name, found nothing" },
      { "p:tls():extension 'alpn'", "extension: expected the number of an extension, found a string" },
      { "p:tls().sni_is('x')", "a method of a TLS hello: write a colon" },
    } do
      t.write("s.lua", "return { on_packet = function(p)\n local _ = " .. case[1] .. " end }")
      t.refuses("moontap -l ./s.lua in.pcap", 4, "s.lua:2: ", case[2])
    end
  end)
end)
