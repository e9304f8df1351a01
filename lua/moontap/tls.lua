-- SPDX-License-Identifier: BSD-2-Clause
--- `p:tls()`: the hello of a TLS or DTLS client or server.
--
--    return {
--      on_packet = function(p)
--        local t = p:tls()
--        if t and t.is_client_hello then
--          print(p.src, t.sni, t.version_name, t.alpn)
--        end
--      end,
--    }
--
-- A view, not a copy: nothing is made before it is asked for, no memory is taken but for strings, and it ends with
-- the hook. The hello must begin with the payload. One in several records of a segment is put together; what
-- follows in the next segment is not, and then `is_whole` is false and all that stands before is there. (Hellos with
-- post-quantum keys are often longer than a segment.) QUIC is not read.
--
-- **Absent values.** Numbers are 0, booleans false, strings nil. `malformed` is true if lengths in the hello
-- contradict each other. GREASE values (RFC 8701), which clients send only so that servers get used to unknown
-- ones, are left out of everything; `has_grease` says that there were some.
-- @module moontap.tls

local ffi = require "ffi"
local C = require "moontap.abi"
local packet = require "moontap.packet"
local view = require "moontap.view"

local M = {}

-- The functions that run per packet.  A trace that meets them for the first time must find them looked up.
for _, name in ipairs { "mt_batch_decode", "mt_tls_find", "mt_tls_parse", "mt_tls_next_number",
  "mt_tls_next_extension", "mt_tls_next_name", "mt_tls_text", "mt_tls_host_match" } do
  assert(C[name])
end

local ffi_string = ffi.string
local state = packet.state() -- struct mt_hook_state *
local raise = view.raise

-- What C has found out about one hello.  A view knows which hello it is about, and has C look again when
-- there was another one since.
local memo = ffi.new "struct mt_tls"
local name_text = ffi.new("char[?]", C.MT_TLS_NAME_TEXT)
local offset, body, body_len = ffi.new "uint32_t[1]", ffi.new "uint32_t[1]", ffi.new "uint32_t[1]"

local hello_t = ffi.typeof [[
  struct { const uint8_t *_payload; uint32_t _len; uint32_t _dtls; double _stamp; double _generation; }
]]
-- What a loop over a list goes by: the hello, and where in it the next item is.
local list_t = ffi.typeof [[
  struct { const uint8_t *_payload; uint32_t _len; uint32_t _dtls; double _stamp; double _generation;
    uint32_t _next; uint32_t _end; }
]]

-- The memo about the hello of a view.
local function parsed(v)
  if memo.stamp ~= v._stamp then
    memo.payload, memo.payload_len, memo.dtls = v._payload, v._len, v._dtls
    C.mt_tls_parse(memo)
    memo.stamp = v._stamp
  end
  return memo
end

local VERSIONS = {
  [0x0300] = "SSL 3.0", [0x0301] = "TLS 1.0", [0x0302] = "TLS 1.1", [0x0303] = "TLS 1.2", [0x0304] = "TLS 1.3",
  [0xfeff] = "DTLS 1.0", [0xfefd] = "DTLS 1.2", [0xfefc] = "DTLS 1.3",
}
for draft = 0, 28 do
  VERSIONS[0x7f00 + draft] = "TLS 1.3 draft " .. draft
end

-- A version that has no name; made once for each.
local function new_version(n)
  VERSIONS[n] = ("0x%04x"):format(n)
  return VERSIONS[n]
end

local function sni(v, lower)
  local m = parsed(v)
  if m.sni == 0 then
    return nil
  end
  local n = C.mt_tls_text(m.hello + m.sni, m.sni_len, lower, name_text)
  return (ffi_string(name_text, n))
end

local function first_alpn(v)
  local m = parsed(v)
  if m.alpn == 0 then
    return nil
  end
  offset[0] = m.alpn
  local len = C.mt_tls_next_name(m.hello, offset, m.alpn + m.alpn_len, body)
  if len < 0 then
    return nil
  end
  local n = C.mt_tls_text(m.hello + body[0], len, 0, name_text)
  return (ffi_string(name_text, n))
end

local function number(member)
  return ("return parsed(v).%s"):format(member)
end

-- As in moontap.fields: what there is, when it is absent, and the text of its getter.
local fields = {
  { name = "is_client_hello", type = "boolean", absent = "never absent",
    text = "it is of a client",
    body = "return parsed(v).type == 1" },
  { name = "is_server_hello", type = "boolean", absent = "never absent",
    text = "it is of a server",
    body = "return parsed(v).type == 2" },
  { name = "is_retry", type = "boolean", absent = "never absent",
    text = "the server asks for another hello (HelloRetryRequest)",
    body = "return parsed(v).retry ~= 0" },
  { name = "is_dtls", type = "boolean", absent = "never absent",
    text = "it is DTLS, over UDP",
    body = "return v._dtls ~= 0" },
  { name = "is_whole", type = "boolean", absent = "never absent",
    text = "all of the hello is in this packet",
    body = "return parsed(v).missing == 0" },
  { name = "malformed", type = "boolean", absent = "never absent",
    text = "its lengths contradict each other",
    body = "return parsed(v).malformed ~= 0" },
  { name = "has_grease", type = "boolean", absent = "never absent",
    text = "there were GREASE values, which are left out of everything",
    body = "return parsed(v).grease ~= 0" },
  { name = "record_version", type = "integer", absent = "never absent",
    text = "version in the record around it",
    body = number "record_version" },
  { name = "legacy_version", type = "integer", absent = "0",
    text = "version at the start of the hello; stays TLS 1.2 in later ones",
    body = number "legacy_version" },
  { name = "version", type = "integer", absent = "0",
    text = "newest version that the client offers, or what the server chose: 0x0304 is TLS 1.3",
    body = number "version" },
  { name = "version_name", type = "string", absent = "nil",
    text = 'its name: "TLS 1.3", "DTLS 1.2", "TLS 1.3 draft 28", …; without a name "0xfb17"',
    body = [[
  local n = parsed(v).version
  if n == 0 then return nil end
  return VERSIONS[n] or (new_version(n))]] },
  { name = "cipher", type = "integer", absent = "0",
    text = "cipher suite that the server chose, as IANA numbers them",
    body = number "cipher" },
  { name = "cipher_count", type = "integer", absent = "0",
    text = "number of cipher suites",
    body = number "cipher_count" },
  { name = "extension_count", type = "integer", absent = "0",
    text = "number of extensions",
    body = number "extension_count" },
  { name = "session_id_len", type = "integer", unit = "bytes", absent = "0",
    text = "length of the session identifier",
    body = number "session_id_len" },
  { name = "sni", type = "string", absent = "nil",
    text = "server name, as it was sent; bytes that are not printable are \\DDD",
    body = "return (sni(v, 0))" },
  { name = "sni_lower", type = "string", absent = "nil",
    text = "server name in lower case",
    body = "return (sni(v, 1))" },
  { name = "alpn", type = "string", absent = "nil",
    text = "first protocol of the ALPN extension, or what the server chose",
    body = "return (first_alpn(v))" },
}

local aliases = {
  server_name = "sni", host = "sni", hostname = "sni", name = "sni", protocol = "alpn", ciphers_count = "cipher_count",
  cipher_suite = "cipher", cipher_suites = "ciphers", is_client = "is_client_hello", is_server = "is_server_hello",
  tls_version = "version", session_id = "session_id_len",
}

local methods = {}
local check

local function gone()
  raise "this TLS hello is gone: it ends with the packet's hook"
end

local function next_number(s, i)
  if s._generation ~= state.generation then
    gone()
  end
  offset[0] = s._next
  local n = C.mt_tls_next_number(parsed(s).hello, offset, s._end)
  if n < 0 then
    return nil
  end
  s._next = offset[0]
  return i + 1, n
end

local function next_extension(s, i)
  if s._generation ~= state.generation then
    gone()
  end
  offset[0] = s._next
  local n = C.mt_tls_next_extension(parsed(s).hello, offset, s._end, body, body_len)
  if n < 0 then
    return nil
  end
  s._next = offset[0]
  return i + 1, n
end

local function next_alpn(s, i)
  if s._generation ~= state.generation then
    gone()
  end
  local m = parsed(s)
  offset[0] = s._next
  local len = C.mt_tls_next_name(m.hello, offset, s._end, body)
  if len < 0 then
    return nil
  end
  s._next = offset[0]
  local n = C.mt_tls_text(m.hello + body[0], len, 0, name_text)
  return i + 1, ffi_string(name_text, n)
end

local function list(v, from, to)
  return list_t(v._payload, v._len, v._dtls, v._stamp, v._generation, from, to)
end

--- The cipher suites in their order: `for i, cipher in t:ciphers() do`; numbers, as IANA has them. Of a server: the one
-- that it chose.
-- @function ciphers
-- @treturn function for `for`
function methods.ciphers(v)
  check(v)
  local m = parsed(v)
  return next_number, list(v, m.ciphers, m.ciphers + m.ciphers_len), 0
end

--- The types of the extensions in their order: `for i, type in t:extensions() do`.
-- @function extensions
-- @treturn function for `for`
function methods.extensions(v)
  check(v)
  local m = parsed(v)
  return next_extension, list(v, m.extensions, m.extensions_end), 0
end

--- The protocols of the ALPN extension, the client's favourite first: `for i, name in t:alpns() do`.
-- @function alpns
-- @treturn function for `for`
function methods.alpns(v)
  check(v)
  local m = parsed(v)
  return next_alpn, list(v, m.alpn, m.alpn + m.alpn_len), 0
end

-- Where in the memo's hello the content of an extension is: its start or nil, and its length.
local function find_extension(v, type)
  local m = parsed(v)
  offset[0] = m.extensions
  while true do
    local n = C.mt_tls_next_extension(m.hello, offset, m.extensions_end, body, body_len)
    if n < 0 then
      return nil, 0
    elseif n == type then
      return m.hello + body[0], body_len[0]
    end
  end
end

local function need_type(what, value)
  if type(value) ~= "number" then
    raise("%s: expected the number of an extension, found %s", what, value == nil and "nothing" or "a " .. type(value))
  end
end

--- Is this extension there?
-- @function has_extension
-- @tparam integer type 43 supported versions, 51 key share, 65037 encrypted hello …
-- @treturn boolean
function methods.has_extension(v, type)
  check(v)
  need_type("has_extension", type)
  return find_extension(v, type) ~= nil
end

--- The content of an extension.
-- @function extension
-- @tparam integer type
-- @treturn ?string its bytes; nil if it is not there
function methods.extension(v, type)
  check(v)
  need_type("extension", type)
  local start, len = find_extension(v, type)
  if not start then
    return nil
  end
  return (ffi_string(start, len))
end

local function match(what, v, host, ends)
  if type(host) ~= "string" then
    raise("%s: expected a name, found %s", what, host == nil and "nothing" or "a " .. type(host))
  end
  local m = parsed(v)
  return m.sni ~= 0 and C.mt_tls_host_match(m.hello + m.sni, m.sni_len, host, #host, ends) ~= 0
end

--- Is this the server name? Case does not matter. Makes no string.
-- @function sni_is
-- @tparam string host `www.example.com`
-- @treturn boolean
function methods.sni_is(v, host)
  check(v)
  return (match("sni_is", v, host, 0))
end

--- Is the server name this one or below it? `t:sni_ends "example.com"` is true for `www.example.com`, not for
-- `badexample.com`. Makes no string.
-- @function sni_ends
-- @tparam string host `example.com`
-- @treturn boolean
function methods.sni_ends(v, host)
  check(v)
  return (match("sni_ends", v, host, 1))
end

local function hello_text(v)
  local words = { v.is_client_hello and "client hello" or "server hello" }
  words[#words + 1] = v.version_name or (v.is_dtls and "DTLS" or "TLS")
  words[#words + 1] = v.sni
  words[#words + 1] = v.alpn
  words[#words + 1] = v.is_server_hello and ("0x%04x"):format(v.cipher) or nil
  words[#words + 1] = not v.is_whole and "cut" or nil
  words[#words + 1] = v.malformed and "malformed" or nil
  return table.concat(words, " ")
end

check = view.define(hello_t, {
  name = "TLS hello", fields = fields, methods = methods, aliases = aliases, tostring = hello_text,
  uses = { parsed = parsed, VERSIONS = VERSIONS, new_version = new_version, sni = sni, first_alpn = first_alpn },
})


--- The hello of a packet; what `p:tls()` calls.
-- @param h a packet, or an edit of one
-- @treturn ?hello
function M.of(h)
  if type(h) ~= "cdata" then
    raise "p:tls() is a method of a packet: a colon, not a dot"
  end
  if h._generation ~= state.generation then
    raise "this packet is gone: a packet ends with its hook, keep it with p:copy()"
  end
  if state.batch.decoded == 0 then
    C.mt_batch_decode(state.batch)
  end
  if C.mt_tls_find(memo, h._packet, h._decoded) == 0 then
    return nil
  end
  return (hello_t(memo.payload, memo.payload_len, memo.dtls, memo.stamp, state.generation))
end

--- Every field of a hello: a list of { name, type, unit, absent, text }.
M.fields = fields

return M
