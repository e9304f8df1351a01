-- SPDX-License-Identifier: BSD-2-Clause
--- `p:dns()`: the DNS message in a packet.
--
--    return {
--      on_packet = function(p)
--        local d = p:dns()
--        if d and d.rcode_name == "NXDOMAIN" then
--          print(p.dst, d.name, d.qtype_name)
--        end
--      end,
--    }
--
-- A view, not a copy: nothing is read before it is asked for, no memory is taken but for strings, and it ends with the
-- hook. The message is looked at where the packet has it: a message over TCP that does not lie in one segment, or over
-- UDP whose later fragments are other packets, is not put together.
--
-- **Absent values.** Numbers are 0, booleans false, strings and addresses nil. A message that is cut, by the capture
-- or by its sender, gives what is there: `is_whole` is false if not all of it was captured, `malformed` is true if it
-- contradicts itself or the standard. Records stop at the first that can not be read.
--
-- **Names** have no dot at their end, the root is `.`; a dot or backslash inside of a label has a backslash before it,
-- and bytes that are no printable ASCII are `\DDD`, so a name can be printed whatever was sent. `name` is as it was
-- sent (resolvers mix the case of letters on purpose), `name_lower` is for counting.
-- @module moontap.dns

local bit = require "bit"
local ffi = require "ffi"
local C = require "moontap.abi"
local packet = require "moontap.packet"
local text_key = require "moontap.text_key"
local view = require "moontap.view"

local M = {}

-- The functions that run per packet.  A trace that meets them for the first time must find them looked up.
for _, name in ipairs { "mt_batch_decode", "mt_dns_prepare", "mt_dns_find", "mt_dns_walk", "mt_dns_malformed",
  "mt_dns_record", "mt_dns_name", "mt_dns_name_match", "mt_dns_option", "mt_dns_client_subnet", "mt_dns_rdata_text" } do
  assert(C[name])
end

local band, rshift = bit.band, bit.rshift
local UNKNOWN, ASK = C.MT_DNS_UNKNOWN, C.MT_DNS_ASK
local BATCH, EDITED = C.MT_BATCH_PACKETS, C.MT_PACKET_EDITED
local ffi_string = ffi.string
local state = packet.state() -- struct mt_hook_state *
local raise = view.raise

-- What C has found out about one message.  A view knows which message it is about, and has C look again
-- when there was another one since.
local memo = ffi.new "struct mt_dns"
local name_text = ffi.new("char[?]", C.MT_DNS_NAME_TEXT)
local key_begin, key_text, key_buffer, new_key = text_key.begin, text_key.text, text_key.buffer, text_key.new
local option_len = ffi.new "uint32_t[1]"
local subnet = ffi.new "struct mt_address"

local message_t = ffi.typeof [[
  struct { const uint8_t *_data; uint32_t _len; uint32_t _missing; uint32_t _question; uint32_t _opt;
    uint32_t _malformed; double _stamp; double _generation; }
]]
local question_t = ffi.typeof [[
  struct { const uint8_t *_data; uint32_t _len; uint32_t _name; uint32_t _fixed; double _generation; }
]]
local record_t = ffi.typeof [[
  struct { const uint8_t *_data; uint32_t _len; uint32_t _name; uint32_t _fixed; uint32_t _rdlength;
    double _generation; }
]]
-- What a loop over a section goes by: the message, and which section.
local section_t = ffi.typeof [[
  struct { const uint8_t *_data; uint32_t _len; uint32_t _missing; uint32_t _question; double _stamp;
    double _generation; uint32_t _section; }
]]

-- --- names of numbers -------------------------------------------------------------------------

-- IANA "Domain Name System (DNS) Parameters".
local TYPES = {
  "A", "NS", "MD", "MF", "CNAME", "SOA", "MB", "MG", "MR", "NULL", "WKS", "PTR", "HINFO", "MINFO", "MX", "TXT",
  "RP", "AFDB", "X25", "ISDN", "RT", "NSAP", "NSAP-PTR", "SIG", "KEY", "PX", "GPOS", "AAAA", "LOC", "NXT", "EID",
  "NIMLOC", "SRV", "ATMA", "NAPTR", "KX", "CERT", "A6", "DNAME", "SINK", "OPT", "APL", "DS", "SSHFP", "IPSECKEY",
  "RRSIG", "NSEC", "DNSKEY", "DHCID", "NSEC3", "NSEC3PARAM", "TLSA", "SMIMEA",
  [55] = "HIP", [56] = "NINFO", [57] = "RKEY", [58] = "TALINK", [59] = "CDS", [60] = "CDNSKEY", [61] = "OPENPGPKEY",
  [62] = "CSYNC", [63] = "ZONEMD", [64] = "SVCB", [65] = "HTTPS", [66] = "DSYNC", [99] = "SPF", [100] = "UINFO",
  [101] = "UID", [102] = "GID", [103] = "UNSPEC", [104] = "NID", [105] = "L32", [106] = "L64", [107] = "LP",
  [108] = "EUI48", [109] = "EUI64", [128] = "NXNAME", [249] = "TKEY", [250] = "TSIG", [251] = "IXFR", [252] = "AXFR",
  [253] = "MAILB", [254] = "MAILA", [255] = "ANY", [256] = "URI", [257] = "CAA", [258] = "AVC", [259] = "DOA",
  [260] = "AMTRELAY", [261] = "RESINFO", [262] = "WALLET", [263] = "CLA", [264] = "IPN", [32768] = "TA",
  [32769] = "DLV",
}

local CLASSES = { "IN", [3] = "CH", [4] = "HS", [254] = "NONE", [255] = "ANY" }

local RCODES = {
  [0] = "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
  "NOTZONE", "DSOTYPENI", [16] = "BADVERS", [17] = "BADKEY", [18] = "BADTIME", [19] = "BADMODE", [20] = "BADNAME",
  [21] = "BADALG", [22] = "BADTRUNC", [23] = "BADCOOKIE",
}

local OPCODES = { [0] = "QUERY", "IQUERY", "STATUS", [4] = "NOTIFY", [5] = "UPDATE", [6] = "DSO" }

-- A number without a name, as RFC 3597 writes them; made once for each.
local function new_name(names, prefix, n)
  names[n] = prefix .. n
  return names[n]
end

-- --- messages ---------------------------------------------------------------------------------

-- The memo about the message of a view, with all records gone over.
local function walked(v)
  state.dns_walks = 1 -- from now on they are walked in advance
  if memo.stamp ~= v._stamp then
    memo.data, memo.len, memo.missing, memo.question = v._data, v._len, v._missing, v._question
    memo.walked = 0
    memo.stamp = v._stamp
  end
  if memo.walked == 0 then
    C.mt_dns_walk(memo)
  end
  return memo
end

local function malformed(v)
  return C.mt_dns_malformed(walked(v)) ~= 0
end

-- Where the OPT record is; 0: there is none.
local function opt_of(v)
  local o = v._opt
  if o == UNKNOWN then
    return (walked(v).opt)
  end
  return o
end

local function client_subnet(v)
  return C.mt_dns_client_subnet(walked(v), subnet)
end

local USES = {
  C = C, band = band, rshift = rshift, ffi_string = ffi_string, name_text = name_text, new_name = new_name,
  walked = walked, opt_of = opt_of, malformed = malformed, UNKNOWN = UNKNOWN, client_subnet = client_subnet,
  subnet = subnet, address_t = ffi.typeof "struct mt_address",
  TYPES = TYPES, CLASSES = CLASSES, RCODES = RCODES, OPCODES = OPCODES,
}

local function name_body(where, absent, lower)
  return ([[
  local o = %s
  if %s then return nil end
  local n = C.mt_dns_name(v._data, v._len, o, %d, name_text)
  if n < 0 then return nil end
  return (ffi_string(name_text, n))]]):format(where, absent, lower)
end

local RCODE = [[
  local d = v._data
  local r = band(d[3], 15)
  if d[10] + d[11] ~= 0 then -- with EDNS there is more of it
    local opt = opt_of(v)
    if opt ~= 0 then r = r + d[opt + 4] * 16 end
  end
]]

-- A field of the OPT record; 0 or false if there is none.
local function opt_body(absent, value)
  return ([[
  local d = v._data
  if d[10] + d[11] == 0 then return %s end
  local o = opt_of(v)
  if o == 0 then return %s end
  return %s]]):format(absent, absent, value)
end

local function question_body(at)
  return ("local o = v._question if o == 0 then return 0 end return v._data[o + %d] * 256 + v._data[o + %d]"):format(
    at, at + 1)
end

local function count_body(at)
  return ("return v._data[%d] * 256 + v._data[%d]"):format(at, at + 1)
end

-- As in moontap.fields: what there is, when it is absent, and the text of its getter.
local fields = {
  { name = "id", type = "integer", absent = "never absent",
    text = "identifier that query and response share",
    body = count_body(0) },
  { name = "is_response", type = "boolean", absent = "never absent",
    text = "true: a response; false: a query",
    body = "return v._data[2] >= 128" },
  { name = "opcode", type = "integer", absent = "never absent",
    text = "kind of query: 0 is a usual one",
    body = "return band(rshift(v._data[2], 3), 15)" },
  { name = "opcode_name", type = "string", absent = "never absent",
    text = 'its name: "QUERY", "NOTIFY", "UPDATE", …; without a name "OPCODE15"',
    body = "local n = band(rshift(v._data[2], 3), 15) return OPCODES[n] or (new_name(OPCODES, 'OPCODE', n))" },
  { name = "aa", type = "boolean", absent = "never absent",
    text = "authoritative answer",
    body = "return band(v._data[2], 4) ~= 0" },
  { name = "tc", type = "boolean", absent = "never absent",
    text = "the sender cut the message, ask again over TCP",
    body = "return band(v._data[2], 2) ~= 0" },
  { name = "rd", type = "boolean", absent = "never absent",
    text = "recursion desired",
    body = "return band(v._data[2], 1) ~= 0" },
  { name = "ra", type = "boolean", absent = "never absent",
    text = "recursion available",
    body = "return band(v._data[3], 128) ~= 0" },
  { name = "ad", type = "boolean", absent = "never absent",
    text = "authentic data (DNSSEC)",
    body = "return band(v._data[3], 32) ~= 0" },
  { name = "cd", type = "boolean", absent = "never absent",
    text = "checking disabled (DNSSEC)",
    body = "return band(v._data[3], 16) ~= 0" },
  { name = "rcode", type = "integer", absent = "never absent",
    text = "response code, with the bits that EDNS adds",
    body = RCODE .. "return r" },
  { name = "rcode_name", type = "string", absent = "never absent",
    text = 'its name: "NOERROR", "SERVFAIL", "NXDOMAIN", …; without a name "RCODE12"',
    body = RCODE .. "return RCODES[r] or (new_name(RCODES, 'RCODE', r))" },
  { name = "qdcount", type = "integer", absent = "never absent",
    text = "number of questions that the header announces",
    body = count_body(4) },
  { name = "ancount", type = "integer", absent = "never absent",
    text = "number of answers that the header announces",
    body = count_body(6) },
  { name = "nscount", type = "integer", absent = "never absent",
    text = "number of records in the authority section that the header announces",
    body = count_body(8) },
  { name = "arcount", type = "integer", absent = "never absent",
    text = "number of additional records that the header announces",
    body = count_body(10) },
  { name = "name", type = "string", absent = "nil",
    text = "name of the first question, as it was sent",
    body = name_body("12", "v._question == 0", 0) },
  { name = "name_lower", type = "string", absent = "nil",
    text = "name of the first question in lower case",
    body = name_body("12", "v._question == 0", 1) },
  { name = "qtype", type = "integer", absent = "0",
    text = "type of the first question: 1 is A, 28 is AAAA",
    body = question_body(0) },
  { name = "qtype_name", type = "string", absent = "nil",
    text = 'its name: "A", "AAAA", "HTTPS", …; without a name "TYPE65280"',
    body = [[
  local o = v._question
  if o == 0 then return nil end
  local n = v._data[o] * 256 + v._data[o + 1]
  return TYPES[n] or (new_name(TYPES, "TYPE", n))]] },
  { name = "qclass", type = "integer", absent = "0",
    text = "class of the first question: 1 is the internet; in mDNS the highest bit asks for a unicast response",
    body = question_body(2) },
  { name = "has_edns", type = "boolean", absent = "never absent",
    text = "there is an OPT record",
    body = opt_body("false", "true") },
  { name = "edns_version", type = "integer", absent = "0",
    text = "version of EDNS",
    body = opt_body("0", "d[o + 5]") },
  { name = "udp_size", type = "integer", unit = "bytes", absent = "0",
    text = "longest UDP message that the sender takes",
    body = opt_body("0", "d[o + 2] * 256 + d[o + 3]") },
  { name = "dnssec_ok", type = "boolean", absent = "false",
    text = "the DO bit of EDNS",
    body = opt_body("false", "band(d[o + 6], 128) ~= 0") },
  { name = "client_subnet", type = "address", absent = "nil",
    text = "address in the client subnet option of EDNS; compares and prints like p.src",
    body = [[
  if client_subnet(v) < 0 then return nil end
  return (address_t(subnet.high, subnet.low, subnet.len))]] },
  { name = "client_subnet_bits", type = "integer", unit = "bits", absent = "0",
    text = "length of its prefix",
    body = "local n = client_subnet(v) if n < 0 then return 0 end return n" },
  { name = "is_whole", type = "boolean", absent = "never absent",
    text = "all of the message was captured",
    body = "return v._missing == 0" },
  { name = "malformed", type = "boolean", absent = "never absent",
    text = "the message contradicts itself or the standard",
    body = "local m = v._malformed if m == UNKNOWN then return (malformed(v)) end return m == 1" },
}

local aliases = {
  qr = "is_response", response = "is_response", query = "is_response", is_query = "is_response", qname = "name",
  type = "qtype", class = "qclass", type_name = "qtype_name", authoritative = "aa", truncated = "tc",
  ["do"] = "dnssec_ok",
  edns = "has_edns", authorities = "authority", additionals = "additional", answer = "answers", question = "questions",
  bufsize = "udp_size", transaction_id = "id", status = "rcode_name", flags = "rcode", ttl = "answers",
  address = "answers",
}

local methods = {}

local check

local function need_text(what, text)
  if type(text) ~= "string" then
    raise("%s: expected a name, found %s", what, text == nil and "nothing" or "a " .. type(text))
  end
end

-- Entry i of section n (0 questions, 1 answers, 2 authority, 3 additional); nil behind the last.
local function entry(v, n, i)
  local m = walked(v)
  if C.mt_dns_record(m, n, i) == 0 then
    return nil
  end
  local data, fixed = m.data, m.fixed
  if n == 0 then
    return (question_t(data, m.len, m.name, fixed, v._generation))
  end
  return (record_t(data, m.len, m.name, fixed, data[fixed + 8] * 256 + data[fixed + 9], v._generation))
end

-- A step of a loop over a section.
local function next_entry(s, i)
  if s._generation ~= state.generation then
    raise "this DNS message is gone: it ends with the packet's hook"
  end
  local r = entry(s, s._section, i + 1)
  if r then
    return i + 1, r
  end
  return nil
end

local function section(v, n)
  check(v)
  return section_t(v._data, v._len, v._missing, v._question, v._stamp, v._generation, n)
end

--- The questions: `for i, q in d:questions() do`. Beside its fields a question has the methods `q:name_is(text)` and
-- `q:name_ends(text)`.
-- @function questions
-- @treturn function for `for`
function methods.questions(v)
  return next_entry, section(v, 0), 0
end

--- The records of the answer section: `for i, r in d:answers() do`. Beside its fields a record has the methods
-- `r:name_is(text)`, `r:name_ends(text)`, `r:target_is(text)` and `r:target_ends(text)`, which compare as
-- `d:name_is` and `d:name_ends` do.
-- @function answers
-- @treturn function for `for`
function methods.answers(v)
  return next_entry, section(v, 1), 0
end

--- One record of the answer section.
-- @function answer
-- @tparam[opt=1] integer i its place, from 1
-- @treturn ?record nil: there are not as many
function methods.answer(v, i)
  check(v)
  i = i or 1
  if type(i) ~= "number" or i < 1 then
    raise("answer: expected a number from 1, found %s", tostring(i))
  end
  return (entry(v, 1, i))
end

--- The records of the authority section, as with answers.
-- @function authority
-- @treturn function for `for`
function methods.authority(v)
  return next_entry, section(v, 2), 0
end

--- The records of the additional section, as with answers; the OPT record of EDNS is one of them.
-- @function additional
-- @treturn function for `for`
function methods.additional(v)
  return next_entry, section(v, 3), 0
end

--- Is the first question about this name? Case does not matter, a dot at the end neither. Makes no string.
-- @function name_is
-- @tparam string name `example.com`
-- @treturn boolean
function methods.name_is(v, name)
  check(v)
  need_text("name_is", name)
  return v._question ~= 0 and C.mt_dns_name_match(v._data, v._len, 12, name, #name, 0) ~= 0
end

--- Is the first question about this name or one below it? `d:name_ends "example.com"` is true for
-- `www.example.com`, not for `badexample.com`. Makes no string.
-- @function name_ends
-- @tparam string name `example.com`
-- @treturn boolean
function methods.name_ends(v, name)
  check(v)
  need_text("name_ends", name)
  return v._question ~= 0 and C.mt_dns_name_match(v._data, v._len, 12, name, #name, 1) ~= 0
end

--- The name of the first question in lower case, to be counted: `names:add(d:name_key "(none)")` counts as
-- `names:add(d.name_lower or "(none)")` does, and makes no string. Use it before the next one is made.
-- @function name_key
-- @tparam[opt] string absent what takes the place of a name that there is not, or makes no sense
-- @tparam[opt] string before what stands in front, with a blank between: `d.rcode_name`
-- @treturn ?key for moontap.topk and moontap.distinct; nil: there is no such name, and no absent was given
function methods.name_key(v, absent, before)
  check(v)
  local at = before == nil and 0 or key_begin(before)
  local n = v._question == 0 and -1 or C.mt_dns_name(v._data, v._len, 12, 1, key_buffer + at)
  if n < 0 then
    if absent == nil then
      return nil
    end
    n = key_text(at, absent)
  end
  return (new_key(at + n))
end

--- The value of an EDNS option.
-- @function edns_option
-- @tparam integer code 3 name server identifier, 8 client subnet, 10 cookie, 15 extended error
-- @treturn ?string its bytes
function methods.edns_option(v, code)
  check(v)
  if type(code) ~= "number" then
    raise("edns_option: expected a code, found %s", code == nil and "nothing" or "a " .. type(code))
  end
  local at = C.mt_dns_option(walked(v), code, option_len)
  if at == 0 then
    return nil
  end
  return (ffi_string(v._data + at, option_len[0]))
end

local function message_text(v)
  local words = { v.id, v.is_response and "response" or "query" }
  words[#words + 1] = v.opcode ~= 0 and v.opcode_name or nil
  words[#words + 1] = v.is_response and v.rcode_name or nil
  words[#words + 1] = v.name and ("%s %s"):format(v.name, v.qtype_name)
  words[#words + 1] = v.is_response and ("%d/%d/%d"):format(v.ancount, v.nscount, v.arcount) or nil
  words[#words + 1] = v.malformed and "malformed" or nil
  return "DNS " .. table.concat(words, " ")
end

check = view.define(message_t, {
  name = "DNS message", fields = fields, uses = USES, methods = methods, aliases = aliases, tostring = message_text,
})

-- --- questions and records --------------------------------------------------------------------

local function match(what, v, offset, text, ends)
  need_text(what, text)
  return C.mt_dns_name_match(v._data, v._len, offset, text, #text, ends) ~= 0
end

local check_question, check_record

local question_methods = {
  name_is = function(q, text)
    check_question(q)
    return (match("name_is", q, q._name, text, 0))
  end,
  name_ends = function(q, text)
    check_question(q)
    return (match("name_ends", q, q._name, text, 1))
  end,
}

local function fixed16(at)
  return ("local o = v._fixed return v._data[o + %d] * 256 + v._data[o + %d]"):format(at, at + 1)
end

local function number_name(at, names, prefix)
  return ([[
  local o = v._fixed
  local n = v._data[o + %d] * 256 + v._data[o + %d]
  return %s[n] or (new_name(%s, '%s', n))]]):format(at, at + 1, names, names, prefix)
end

local entry_fields = {
  { name = "name", type = "string", absent = "nil",
    text = "whose record it is, or what is asked for, as it was sent; nil if it can not be read",
    body = name_body("v._name", "false", 0) },
  { name = "name_lower", type = "string", absent = "nil",
    text = "the same in lower case",
    body = name_body("v._name", "false", 1) },
  { name = "type", type = "integer", absent = "never absent",
    text = "type: 1 is A, 28 is AAAA",
    body = fixed16(0) },
  { name = "type_name", type = "string", absent = "never absent",
    text = 'its name: "A", "AAAA", "HTTPS", …; without a name "TYPE65280"',
    body = number_name(0, "TYPES", "TYPE") },
  { name = "class", type = "integer", absent = "never absent",
    text = "class: 1 is the internet; in mDNS the highest bit is a flag; of OPT the UDP size",
    body = fixed16(2) },
  { name = "class_name", type = "string", absent = "never absent",
    text = 'its name: "IN", "CH", "HS", "NONE", "ANY"; without a name "CLASS1232"',
    body = number_name(2, "CLASSES", "CLASS") },
}

local entry_aliases = {
  qname = "name", qtype = "type", qclass = "class", qtype_name = "type_name", rtype = "type", owner = "name",
}

check_question = view.define(question_t, {
  name = "DNS question", fields = entry_fields, uses = USES, methods = question_methods, aliases = entry_aliases,
  tostring = function(q)
    return ("%s %s %s"):format(q.name or "?", q.class_name, q.type_name)
  end,
})

-- Where in the data of a record the name is that it leads to, by type.
local TARGET = { [2] = 0, [5] = 0, [6] = 0, [12] = 0, [15] = 2, [33] = 6, [39] = 0, [64] = 2, [65] = 2 }
-- The same of numbers.
local PREFERENCE = { [15] = 0, [64] = 0, [65] = 0 }

-- The offset of the target; nil if the type has none, or there is not enough data.
local function target_of(r)
  local o = r._fixed
  local at = TARGET[r._data[o] * 256 + r._data[o + 1]]
  if not at or at >= r._rdlength then
    return nil
  end
  return o + 10 + at
end

local function target_name(r, lower)
  local o = target_of(r)
  if not o then
    return nil
  end
  local n = C.mt_dns_name(r._data, r._fixed + 10 + r._rdlength, o, lower, name_text)
  if n < 0 then
    return nil
  end
  return (ffi_string(name_text, n))
end

-- The strings of TXT, joined.  Most have one.
local function txt(r)
  local data, at = r._data, r._fixed + 10
  local stop = at + r._rdlength
  if r._rdlength > 0 and at + 1 + data[at] == stop then
    return (ffi_string(data + at + 1, data[at]))
  end
  local parts = {}
  while at < stop do
    local n = data[at]
    if at + 1 + n > stop then
      return nil
    end
    parts[#parts + 1] = ffi_string(data + at + 1, n)
    at = at + 1 + n
  end
  return table.concat(parts)
end

local function rdata_text(r)
  local n = tonumber(C.mt_dns_rdata_text(r._data, r._len, r._fixed, name_text, C.MT_DNS_NAME_TEXT))
  if n < C.MT_DNS_NAME_TEXT then
    return (ffi_string(name_text, n))
  end
  local buffer = ffi.new("char[?]", n + 1)
  C.mt_dns_rdata_text(r._data, r._len, r._fixed, buffer, n + 1)
  return ffi.string(buffer, n)
end

-- A number of 16 bits in the data of SRV.
local function srv(at)
  return ([[
  local d, o = v._data, v._fixed
  if d[o] ~= 0 or d[o + 1] ~= 33 or v._rdlength < %d then return 0 end
  return d[o + %d] * 256 + d[o + %d] ]]):format(at + 2, 10 + at, 11 + at)
end

local record_uses = {
  target_name = target_name, txt = txt, rdata_text = rdata_text, PREFERENCE = PREFERENCE,
  from_bytes = require("moontap.address").from_bytes,
}
local record_fields = {
  { name = "ttl", type = "integer", unit = "seconds", absent = "never absent",
    text = "how long it may be kept",
    body = "local d, o = v._data, v._fixed return ((d[o + 4] * 256 + d[o + 5]) * 256 + d[o + 6]) * 256 + d[o + 7]" },
  { name = "rdlength", type = "integer", unit = "bytes", absent = "never absent",
    text = "length of its data",
    body = "return v._rdlength" },
  { name = "data", type = "string", absent = "never absent",
    text = "its data, as it was sent",
    body = "return (ffi_string(v._data + v._fixed + 10, v._rdlength))" },
  { name = "address", type = "address", absent = "nil",
    text = "address of A and AAAA; compares and prints like p.src",
    body = [[
  local d, o, n = v._data, v._fixed, v._rdlength
  if d[o] ~= 0 or d[o + 3] ~= 1 then return nil end
  if not ((d[o + 1] == 1 and n == 4) or (d[o + 1] == 28 and n == 16)) then return nil end
  return (from_bytes(d + o + 10, n))]] },
  { name = "target", type = "string", absent = "nil",
    text = "name that NS, CNAME, PTR, DNAME, MX, SRV, SVCB and HTTPS lead to; of SOA the primary server",
    body = "return (target_name(v, 0))" },
  { name = "target_lower", type = "string", absent = "nil",
    text = "the same in lower case",
    body = "return (target_name(v, 1))" },
  { name = "preference", type = "integer", absent = "0",
    text = "preference of MX, priority of SVCB and HTTPS",
    body = [[
  local d, o = v._data, v._fixed
  local kind = d[o] * 256 + d[o + 1]
  if not PREFERENCE[kind] or v._rdlength < 2 then return 0 end
  return d[o + 10] * 256 + d[o + 11] ]] },
  { name = "priority", type = "integer", absent = "0",
    text = "priority of SRV",
    body = srv(0) },
  { name = "weight", type = "integer", absent = "0",
    text = "weight of SRV",
    body = srv(2) },
  { name = "port", type = "integer", absent = "0",
    text = "port of SRV",
    body = srv(4) },
  { name = "txt", type = "string", absent = "nil",
    text = "strings of TXT and SPF, joined, as they were sent",
    body = [[
  local d, o = v._data, v._fixed
  if d[o] ~= 0 or (d[o + 1] ~= 16 and d[o + 1] ~= 99) then return nil end
  return (txt(v))]] },
  { name = "text", type = "string", absent = "never absent",
    text = "its data as in a zone file; where the type is not known as \\# LENGTH HEX",
    body = "return (rdata_text(v))" },
}
for k, field in ipairs(entry_fields) do -- a record has these too
  table.insert(record_fields, k, field)
end
for name, value in pairs(USES) do
  record_uses[name] = value
end

local record_methods = {
  name_is = function(r, text)
    check_record(r)
    return (match("name_is", r, r._name, text, 0))
  end,
  name_ends = function(r, text)
    check_record(r)
    return (match("name_ends", r, r._name, text, 1))
  end,
  target_is = function(r, text)
    check_record(r)
    local o = target_of(r)
    return o ~= nil and (match("target_is", r, o, text, 0))
  end,
  target_ends = function(r, text)
    check_record(r)
    local o = target_of(r)
    return o ~= nil and (match("target_ends", r, o, text, 1))
  end,
}

local record_aliases = {
  rdata = "data", value = "text", cname = "target", ns = "target", ptr = "target", exchange = "target",
  addr = "address", ip = "address", a = "address", aaaa = "address", rrname = "name", rtype = "type", owner = "name",
}

check_record = view.define(record_t, {
  name = "DNS record", fields = record_fields, uses = record_uses, methods = record_methods, aliases = record_aliases,
  tostring = function(r)
    return ("%s %d %s %s %s"):format(r.name or "?", r.ttl, r.class_name, r.type_name, r.text)
  end,
})

-- --- p:dns() ----------------------------------------------------------------------------------

-- The place among the batch's notes of the message of packet k; 0: it has none; ASK: nobody has looked.
local function noted(q, k)
  local batch = state.batch
  if state.dns_seq ~= batch.seq then
    C.mt_dns_prepare(state)
  end
  state.dns_asked = state.dns_asked + 1
  if batch.dns_depth == 0 or q.cut ~= 0 or q.flags >= EDITED then
    return ASK
  end
  return batch.dns_place[k]
end

-- What C has noted when it looked at the whole batch.
local function from_note(q, place)
  local note = state.batch.dns[place]
  return (message_t(q.data + note.offset, note.len, note.missing, note.question, note.opt, note.malformed,
    -state.generation, state.generation))
end

local ANY, USUAL = C.MT_DNS_ANY_PORT, C.MT_DNS_USUAL_PORTS

local function port_of(where)
  if where == "any" then
    return ANY
  elseif type(where) == "number" and where >= 1 and where <= 65535 then
    return where
  end
  raise("p:dns(where): expected a port or \"any\", found %s", tostring(where))
end

--- The DNS message of a packet; what `p:dns(where)` calls.
-- @param h a packet, or an edit of one
-- @tparam[opt] integer|string where a port, or "any"
-- @treturn ?message
function M.of(h, where)
  if type(h) ~= "cdata" then
    raise "p:dns() is a method of a packet: a colon, not a dot"
  end
  if h._generation ~= state.generation then
    raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
  end
  if state.batch.decoded == 0 then
    C.mt_batch_decode(state.batch)
  end
  local port = USUAL
  if where ~= nil then
    port = port_of(where)
  else
    local k = h._decoded - state.batch.decode -- inner packets and copies are elsewhere
    local place = k >= 0 and k < BATCH and noted(h._packet, k) or ASK
    if place == 0 then
      return nil
    elseif place ~= ASK then
      return (from_note(h._packet, place))
    end
  end
  if C.mt_dns_find(memo, h._packet, h._decoded, port) == 0 then
    return nil
  end
  return (message_t(memo.data, memo.len, memo.missing, memo.question, UNKNOWN, UNKNOWN, memo.stamp,
    state.generation))
end

--- Every field of a message, a question and a record: lists of { name, type, unit, absent, text }.
M.fields = { message = fields, question = entry_fields, record = record_fields }

return M
