---@meta

-- For the Lua language server: completion and types in scripts for moontap.  Written by make docs.

moontap = {}

---End the run after the packet in hand, as if the sources had ended.
function moontap.stop() end

---An IP address from its text, to compare with `p.src` and `p.dst`.
---@param text string `10.0.0.1` or `2001:db8::1`
---@return moontap.Address
function moontap.address(text) end

---An Ethernet address from its text, to compare with `p.eth_src` and `p.eth_dst`.
---@param text string `02:00:00:00:00:01`
---@return moontap.Mac
function moontap.mac(text) end

---Text of a key that `p.src_key`, `p.dst_key`, `p.eth_src_key` or `p.eth_dst_key` gave.
---@param key string 4, 16 or 6 bytes
---@return string
function moontap.key_text(key) end

---A table for results that is an array in JSON even while it is empty.
---@param t? table
---@return table # the same
function moontap.list(t) end

---The packet as a script sees it: `p`.
---@class moontap.Packet
---@field ts number time of the packet; a double, so exact only to some 200 ns (seconds since 1970-01-01 UTC)
---@field ts_ns integer exact time of the packet, a 64-bit integer (nanoseconds since 1970-01-01 UTC)
---@field t number time since the first packet of the run, an exact number (nanoseconds)
---@field number integer number of the packet in the run, from 1
---@field caplen integer captured length, from the link-layer header on (bytes)
---@field wirelen integer length on the wire, without frame check sequence (bytes)
---@field linktype integer LINKTYPE_ value of the frame, as in a pcap file: 1 is Ethernet
---@field source string name of the source it came from: a file or an interface
---@field interface string name of the capture interface; its number as text when it has no name
---@field interface_id integer number of the interface in its source, from 0
---@field direction string? "in" or "out", where the capture says so
---@field eth_src moontap.Mac? Ethernet source address; compares with text and prints
---@field eth_dst moontap.Mac? Ethernet destination address; compares with text and prints
---@field eth_src_key string the 6 bytes of eth_src as a string, for use as key of a Lua table; moontap.key_text prints it
---@field eth_dst_key string the 6 bytes of eth_dst as a string, for use as key of a Lua table; moontap.key_text prints it
---@field ethertype integer Ethernet type after all VLAN tags and LLC/SNAP: 0x0800 is IPv4; 0 too when a length stands there
---@field has_vlan boolean there is a VLAN tag (802.1Q or 802.1ad)
---@field vlan integer VLAN id of the outermost tag, 0 to 4095; 0 too for a tag that only has a priority: see has_vlan
---@field vlan_inner integer VLAN id of the second tag (Q-in-Q)
---@field vlan_priority integer priority (PCP) of the outermost VLAN tag, 0 to 7
---@field has_mpls boolean there is an MPLS label
---@field mpls_label integer the outermost MPLS label, 0 to 1048575; 0 is a label too: see has_mpls
---@field is_arp boolean the frame is ARP
---@field arp_op integer ARP operation: 1 request, 2 reply
---@field arp_src moontap.Address? ARP sender's IPv4 address
---@field arp_dst moontap.Address? ARP target's IPv4 address, the one that is asked for
---@field arp_src_mac moontap.Mac? ARP sender's hardware address
---@field arp_dst_mac moontap.Mac? ARP target's hardware address; zeros in a request
---@field is_ip boolean the packet is IPv4 or IPv6
---@field ip_version integer 4 or 6
---@field l3_offset integer where the network header begins: IP, ARP or whatever the Ethernet type says. IP directly at the start of the frame (raw IP) gives 0 too (bytes from the start of the frame)
---@field src moontap.Address? IP source address; compares with text and prints
---@field dst moontap.Address? IP destination address; compares with text and prints
---@field src_key string the 4 or 16 bytes of src as a string, for use as key of a Lua table; moontap.key_text prints it
---@field dst_key string the 4 or 16 bytes of dst as a string, for use as key of a Lua table; moontap.key_text prints it
---@field proto integer IP protocol number, in IPv6 after all extension headers: 6 is TCP. The last one that could be read when an extension header was cut; 0 too for a cut hop-by-hop header
---@field ttl integer time to live, or hop limit
---@field ip_len integer length of the whole IP packet as its header says; 0 too where the header says 0 (jumbograms, packets from segmentation offload) (bytes)
---@field ip_id integer identification: 16 bits of every IPv4 packet, 32 bits of IPv6 fragments
---@field dscp integer differentiated services code point, 0 to 63
---@field ecn integer explicit congestion notification: 0 not capable, 1 or 2 capable, 3 congestion
---@field flow_label integer IPv6 flow label, 0 to 1048575
---@field dont_fragment boolean the don't-fragment bit of IPv4
---@field is_fragment boolean the IP packet is a fragment, the first one too; only the first one has ports
---@field fragment_offset integer place of a fragment in its packet; 0 is the first one (bytes)
---@field more_fragments boolean a fragment that is not the last one
---@field l4_offset integer where the header behind IP begins: TCP, UDP, ICMP …; absent in all fragments but the first (bytes from the start of the frame)
---@field is_tcp boolean the IP protocol is TCP, also in a fragment without its header
---@field is_udp boolean the IP protocol is UDP, also in a fragment without its header
---@field is_sctp boolean the IP protocol is SCTP, also in a fragment without its header
---@field is_icmp boolean the IP protocol is ICMP or ICMPv6
---@field has_ports boolean sport and dport were captured: TCP, UDP, UDP-Lite, SCTP, DCCP
---@field sport integer source port
---@field dport integer destination port
---@field tcp_flags integer TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128
---@field tcp_seq integer TCP sequence number as it stands in the header, 0 to 4294967295
---@field tcp_ack integer TCP acknowledgment number as it stands in the header; it means something with the ACK flag
---@field tcp_window integer TCP window as it stands in the header, not scaled
---@field tcp_header_len integer length of the TCP header with options as it says; less than 20 is wrong (bytes)
---@field icmp_type integer ICMP or ICMPv6 type; 0 is an echo reply too: see is_icmp and l4_offset
---@field icmp_code integer ICMP or ICMPv6 code
---@field icmp_id integer identifier of an ICMP or ICMPv6 echo, of an ICMP timestamp, information or address mask message
---@field icmp_seq integer sequence number of the messages that have an icmp_id
---@field payload_offset integer where the payload begins: behind the TCP, UDP, SCTP, DCCP or ICMP header, else behind IP (bytes from the start of the frame)
---@field payload_len integer captured payload, without what pads a short frame (bytes)
---@field flow_hash integer hash of addresses, protocol and ports, 32 bits, the same for both directions of a flow
---@field tunnel string? the outermost tunnel that the packet is in: "ipip", "gre", "pptp", "erspan", "etherip", "vxlan", "geneve", "gtp", "l2tp", "teredo", "lisp", "mpls" (in IP or UDP), "nsh", "pbb", "pseudowire" (Ethernet in MPLS)
---@field tunnel_id integer number of the outermost tunnel: VXLAN and Geneve VNI, GTP TEID, GRE key, PPTP call, ERSPAN session, L2TP tunnel * 65536 + session, LISP instance, NSH service path, PBB service, MPLS label
local moontap_Packet = {}

---One byte.
---@param off integer offset from the start of the frame
---@return integer? # 0 to 255, or nil outside of the captured bytes
function moontap_Packet:u8(off) end

---Two bytes in network order.
---@param off integer offset from the start of the frame
---@return integer? # 0 to 65535, or nil outside of the captured bytes
function moontap_Packet:u16(off) end

---Four bytes in network order.
---@param off integer offset from the start of the frame
---@return integer? # 0 to 4294967295, or nil outside of the captured bytes
function moontap_Packet:u32(off) end

---Captured bytes as a string; what lies outside of the packet is left out.
---@param off? integer offset from the start of the frame
---@param len? integer default: to the end
---@return string
function moontap_Packet:bytes(off, len) end

---The captured bytes as lines of offset, hex and ASCII.
---@return string
function moontap_Packet:hexdump() end

---When it was captured, as text.
---@param zone? string `"utc"`, or `"local"` for the time zone of the machine
---@return string # `2026-11-22 10:00:00.123456789 UTC`
function moontap_Packet:time(zone) end

---A packet of its own that outlives the hook; it has the same fields and methods.
---@return moontap.Packet
function moontap_Packet:copy() end

---The innermost packet that this one carries, through all tunnels: its fields and methods mean that packet.
---
--- GRE (also PPTP, ERSPAN and Ethernet in GRE), VXLAN and VXLAN-GPE (UDP ports 4789, 8472, 4790), Geneve (6081),
--- GTP-U (2152, 3386), L2TP version 2 (1701), Teredo (3544), LISP (4341), MPLS in IP or UDP (6635), IP in IP, EtherIP,
--- 802.1ah, NSH, Ethernet in MPLS; in any order, up to 32 of them.  `p.tunnel` names the outermost.
---
--- Offsets still count from the start of the frame, so `p:u8` and `p:bytes` read the same bytes on both.  What belongs
--- to the record (ts, caplen, wirelen, source …) is the same.  MPLS and PPPoE in front of the outermost IP header are
--- no tunnels.  A `moontap.filter` looks at the whole frame, whichever of the two it is given.  It ends with the hook,
--- as the packet does.
---@return moontap.Packet # the packet itself if it carries none, or none whose header was captured
function moontap_Packet:inner() end

---A hash of the captured bytes, to tell packets apart: the same packet has the same one in every run.
---@param ignore? string what is left out of IP packets: `"link"`, all that stands before the IP header; `"ttl"`,  the TTL or hop limit and the IPv4 header checksum; `"link,ttl"`
---@return integer # whole number of 53 bits
function moontap_Packet:hash(ignore) end

---Keep only the first len captured bytes; wirelen stays.
---@param len integer longer than the packet: nothing happens
function moontap_Packet:truncate(len) end

---The DNS message in the packet, of UDP port 53, 5353 (mDNS) or 5355 (LLMNR) or TCP port 53; see moontap.dns.
---@param where? integer|string a port to look at instead of these, or `"any"`: all UDP and TCP that looks like  DNS, but not NetBIOS names (port 137)
---@return moontap.Dns? # nil: it is no DNS
function moontap_Packet:dns(where) end

---The TLS or DTLS hello of client or server at the start of the payload, on any port; see moontap.tls.
---@return moontap.Tls? # nil: there is none
function moontap_Packet:tls() end

---The packet as one that can be changed: from here on it is the packet, for all that see it later; see moontap.edit.
---
--- On a copy it gives another copy, which is changed without the first one.
---@return moontap.Edit # the same again when called again in the same hook
function moontap_Packet:edit() end

---Add a comment, which pcapng keeps with the packet; those that it has already stay.
--- Other formats have none: the
--- run then warns once.
---@param text string UTF-8
---@return boolean? # true; nil: with the options of the packet it would be more than 65,535 bytes
---@return string? # why not
function moontap_Packet:comment(text) end

---The comments of the packet, those that it came with and those that scripts have added.
---@return table
function moontap_Packet:comments() end

---`p:edit()`: change a packet; what comes out is what is written.
---@class moontap.Edit: moontap.Packet
local moontap_Edit = {}

---Set one byte.
---@param off integer offset from the start of the frame
---@param value integer 0 to 255
function moontap_Edit:set_u8(off, value) end

---Set two bytes in network order.
---@param off integer offset from the start of the frame
---@param value integer 0 to 65535
function moontap_Edit:set_u16(off, value) end

---Set four bytes in network order.
---@param off integer offset from the start of the frame
---@param value integer 0 to 4294967295
function moontap_Edit:set_u32(off, value) end

---Put bytes in the place of others; the length stays.
---@param off integer offset from the start of the frame
---@param bytes string
function moontap_Edit:set_bytes(off, bytes) end

---Another payload, of any length.
--- All of the old one is replaced, also what of it was not captured; `caplen`,
--- `wirelen` and the lengths in the IP, UDP, PPPoE and 802.3 headers follow. Padding of Ethernet frames goes.
---@param bytes string
function moontap_Edit:set_payload(bytes) end

---Put bytes in; `caplen` and `wirelen` grow.
--- The lengths in IP, UDP, PPPoE and 802.3 headers that stand whole
--- before the place grow too, if what they count reaches there: bytes put in front of the IP header change none of them.
---@param off integer offset from the start of the frame, 0 to `caplen`
---@param bytes string
function moontap_Edit:insert(off, bytes) end

---Take bytes out; `caplen` and `wirelen` shrink, and length fields as with `insert`.
---@param off integer offset from the start of the frame
---@param len integer
function moontap_Edit:remove(off, len) end

---Put a VLAN tag outside of all others.
---@param id integer 0 to 4095
---@param tpid? integer 0x8100, 0x88a8 or 0x9100; default 0x88a8 if there is a tag already, else 0x8100
function moontap_Edit:push_vlan(id, tpid) end

---Take the outermost VLAN tag off.
function moontap_Edit:pop_vlan() end

---Repair the checksums of IPv4, TCP, UDP, UDP-Lite, DCCP, ICMP, ICMPv6, IGMP and SCTP.
--- They are computed where all
--- that they cover was captured. Where the snap length has cut the packet, and in the first of several fragments, they
--- are brought up to date from what has changed (RFC 1624): right if they were right before. A UDP checksum of 0 over
--- IPv4, which says that there is none, stays. Later fragments have only that of the IP header.
---@return boolean? # true; nil: one of them could not be repaired and is as it was
---@return string? # why not
function moontap_Edit:fix_checksums() end

---IP addresses as values: they compare (also with text), print, and know what they are for.
---@class moontap.Address
---@field version integer 4 or 6
---@field is_global boolean unicast that can be routed on the Internet: neither multicast nor set aside by a registry for
---@field is_private boolean 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), fc00::/7 (unique local, RFC 4193)
---@field is_shared boolean 100.64.0.0/10, behind the NAT of a carrier (RFC 6598)
---@field is_loopback boolean 127.0.0.0/8, ::1
---@field is_link_local boolean 169.254.0.0/16, fe80::/10
---@field is_multicast boolean 224.0.0.0/4, ff00::/8
---@field is_unspecified boolean 0.0.0.0, ::
---@field is_documentation boolean 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20
local moontap_Address = {}

---The first address of the network that it is in: what to count by.
---
---
---    local subnets = moontap.table { key = { { "net", "address" } }, value = { packets = "count" } }
---    … local s = subnets:get(p.src:mask(24, 64))
---@param bits integer how many bits to keep, 0 to 32 for IPv4, to 128 for IPv6; the others become 0
---@param bits6? integer how many to keep of an IPv6 address
---@return moontap.Address
function moontap_Address:mask(bits, bits6) end

---The address as a key of a Lua table, as `p.src_key` is; moontap.key_text gives its text.
---@return string # 4 or 16 bytes
function moontap_Address:key() end

---Ethernet addresses as values: they compare with `==` (also with text) and print.
---@class moontap.Mac
---@field is_multicast boolean to a group, broadcast too
---@field is_broadcast boolean ff:ff:ff:ff:ff:ff
local moontap_Mac = {}

---IP networks as values.
---@class moontap.Net
---@field first moontap.Address its first and last address; `address` is another name of `first`
---@field last moontap.Address its first and last address; `address` is another name of `first`
---@field prefix_len integer how many bits its addresses have in common, 0 to 32 or 128
---@field version integer 4 or 6
local moontap_Net = {}

---A network from its text, or the network of an address.
---
---
---    moontap.net "10.0.0.0/8"     moontap.net "10.0.0.0/255.0.0.0"     moontap.net "2001:db8::/32"
---    moontap.net "10.1.2.3"       one address: /32, or /128 for IPv6
---    moontap.net(p.src, 24, 64)   what p.src is in: /24 of IPv4, /64 of IPv6
---
--- In a text no bit may be set behind the prefix (`10.1.2.3/8`); the error says which network is meant.
---@param value any a text; with bits: an address, its text, or nil
---@param bits? integer prefix length
---@param bits6? integer prefix length where the address is one of IPv6
---@return moontap.Net # with bits and without an address: nil
function moontap.net(value, bits, bits6) end

---Is the address in this network?
---@param value any an address or its text; nil: there is none; or a network, all of which must be in this one
---@return boolean
function moontap_Net:contains(value) end

---`moontap.netset`: up to millions of networks, searched for the longest prefix that matches an address.
---@class moontap.NetSet
local moontap_NetSet = {}

---The value of the longest prefix that matches.
---@param a moontap.Address? or its text
---@return string? # the value that was given with the network, of whatever type; its text if there was none;    nil if no network matches or there is no address
function moontap_NetSet:lookup(a) end

---Is the address in one of the networks?
---@param a moontap.Address? or its text
---@return boolean
function moontap_NetSet:contains(a) end

---The longest prefix that matches.
---@param a moontap.Address? or its text
---@return moontap.Net? # nil if none matches or there is no address
function moontap_NetSet:match(a) end

---`for net, value in set:pairs() do`: IPv4 first, by address, a network before those within it.
---@return function
function moontap_NetSet:pairs() end

---Bytes of memory that the set takes outside of the Lua heap.
---@return integer
function moontap_NetSet:memory() end

---Make a set.
---@param source table a list of networks (or addresses: one alone), pairs of network and value, or both;    and `file`, the path of a file of networks
---@return moontap.NetSet
function moontap.netset(source) end

---BPF expressions as predicates: `moontap.filter`, and `filter=` and `keep=` of scripts.
---@class moontap.Filter
local moontap_Filter = {}

---A BPF expression as a predicate: `local web = moontap.filter "tcp port 80"`, then `if web(p) then … end`.
---
--- It is called with a packet, a copy or an edit of one, and sees what is written: the frame with its VLAN
--- tags, as far as it was captured.  Where the expression has no meaning for the packet's link type
--- there is no match.  `tostring` gives the expression back.
---@param expression string as for tcpdump, see pcap-filter(7)
---@return function # a callable object: packet to boolean
function moontap.filter(expression) end

---`p:dns()`: the DNS message in a packet.
---@class moontap.Dns
---@field id integer identifier that query and response share
---@field is_response boolean true: a response; false: a query
---@field opcode integer kind of query: 0 is a usual one
---@field opcode_name string its name: "QUERY", "NOTIFY", "UPDATE", …; without a name "OPCODE15"
---@field aa boolean authoritative answer
---@field tc boolean the sender cut the message, ask again over TCP
---@field rd boolean recursion desired
---@field ra boolean recursion available
---@field ad boolean authentic data (DNSSEC)
---@field cd boolean checking disabled (DNSSEC)
---@field rcode integer response code, with the bits that EDNS adds
---@field rcode_name string its name: "NOERROR", "SERVFAIL", "NXDOMAIN", …; without a name "RCODE12"
---@field qdcount integer number of questions that the header announces
---@field ancount integer number of answers that the header announces
---@field nscount integer number of records in the authority section that the header announces
---@field arcount integer number of additional records that the header announces
---@field name string? name of the first question, as it was sent
---@field name_lower string? name of the first question in lower case
---@field qtype integer type of the first question: 1 is A, 28 is AAAA
---@field qtype_name string? its name: "A", "AAAA", "HTTPS", …; without a name "TYPE65280"
---@field qclass integer class of the first question: 1 is the internet; in mDNS the highest bit asks for a unicast response
---@field has_edns boolean there is an OPT record
---@field edns_version integer version of EDNS
---@field udp_size integer longest UDP message that the sender takes (bytes)
---@field dnssec_ok boolean the DO bit of EDNS
---@field client_subnet moontap.Address? address in the client subnet option of EDNS; compares and prints like p.src
---@field client_subnet_bits integer length of its prefix (bits)
---@field is_whole boolean all of the message was captured
---@field malformed boolean the message contradicts itself or the standard
local moontap_Dns = {}

---
---@class moontap.Record
---@field name string? whose record it is, or what is asked for, as it was sent; nil if it can not be read
---@field name_lower string? the same in lower case
---@field type integer type: 1 is A, 28 is AAAA
---@field type_name string its name: "A", "AAAA", "HTTPS", …; without a name "TYPE65280"
---@field class integer class: 1 is the internet; in mDNS the highest bit is a flag; of OPT the UDP size
---@field class_name string its name: "IN", "CH", "HS", "NONE", "ANY"; without a name "CLASS1232"
---@field ttl integer how long it may be kept (seconds)
---@field rdlength integer length of its data (bytes)
---@field data string its data, as it was sent
---@field address moontap.Address? address of A and AAAA; compares and prints like p.src
---@field target string? name that NS, CNAME, PTR, DNAME, MX, SRV, SVCB and HTTPS lead to; of SOA the primary server
---@field target_lower string? the same in lower case
---@field preference integer preference of MX, priority of SVCB and HTTPS
---@field priority integer priority of SRV
---@field weight integer weight of SRV
---@field port integer port of SRV
---@field txt string? strings of TXT and SPF, joined, as they were sent
---@field text string its data as in a zone file; where the type is not known as \# LENGTH HEX
local moontap_Record = {}

---
---@class moontap.Question
---@field name string? whose record it is, or what is asked for, as it was sent; nil if it can not be read
---@field name_lower string? the same in lower case
---@field type integer type: 1 is A, 28 is AAAA
---@field type_name string its name: "A", "AAAA", "HTTPS", …; without a name "TYPE65280"
---@field class integer class: 1 is the internet; in mDNS the highest bit is a flag; of OPT the UDP size
---@field class_name string its name: "IN", "CH", "HS", "NONE", "ANY"; without a name "CLASS1232"
local moontap_Question = {}

---The questions: `for i, q in d:questions() do`.
--- Beside its fields a question has the methods `q:name_is(text)` and
--- `q:name_ends(text)`.
---@return function # for `for`
function moontap_Dns:questions() end

---The records of the answer section: `for i, r in d:answers() do`.
--- Beside its fields a record has the methods
--- `r:name_is(text)`, `r:name_ends(text)`, `r:target_is(text)` and `r:target_ends(text)`, which compare as
--- `d:name_is` and `d:name_ends` do.
---@return function # for `for`
function moontap_Dns:answers() end

---One record of the answer section.
---@param i? integer its place, from 1
---@return moontap.Record? # nil: there are not as many
function moontap_Dns:answer(i) end

---The records of the authority section, as with answers.
---@return function # for `for`
function moontap_Dns:authority() end

---The records of the additional section, as with answers; the OPT record of EDNS is one of them.
---@return function # for `for`
function moontap_Dns:additional() end

---Is the first question about this name?
--- Case does not matter, a dot at the end neither. Makes no string.
---@param name string `example.com`
---@return boolean
function moontap_Dns:name_is(name) end

---Is the first question about this name or one below it?
--- `d:name_ends "example.com"` is true for
--- `www.example.com`, not for `badexample.com`. Makes no string.
---@param name string `example.com`
---@return boolean
function moontap_Dns:name_ends(name) end

---The name of the first question in lower case, to be counted: `names:add(d:name_key "(none)")` counts as
--- `names:add(d.name_lower or "(none)")` does, and makes no string.
--- Use it before the next one is made.
---@param absent? string what takes the place of a name that there is not, or makes no sense
---@param before? string what stands in front, with a blank between: `d.rcode_name`
---@return any? # for moontap.topk and moontap.distinct; nil: there is no such name, and no absent was given
function moontap_Dns:name_key(absent, before) end

---The value of an EDNS option.
---@param code integer 3 name server identifier, 8 client subnet, 10 cookie, 15 extended error
---@return string? # its bytes
function moontap_Dns:edns_option(code) end

---`p:tls()`: the hello of a TLS or DTLS client or server.
---@class moontap.Tls
---@field is_client_hello boolean it is of a client
---@field is_server_hello boolean it is of a server
---@field is_retry boolean the server asks for another hello (HelloRetryRequest)
---@field is_dtls boolean it is DTLS, over UDP
---@field is_whole boolean all of the hello is in this packet
---@field malformed boolean its lengths contradict each other
---@field has_grease boolean there were GREASE values, which are left out of everything
---@field record_version integer version in the record around it
---@field legacy_version integer version at the start of the hello; stays TLS 1.2 in later ones
---@field version integer newest version that the client offers, or what the server chose: 0x0304 is TLS 1.3
---@field version_name string? its name: "TLS 1.3", "DTLS 1.2", "TLS 1.3 draft 28", …; without a name "0xfb17"
---@field cipher integer cipher suite that the server chose, as IANA numbers them
---@field cipher_count integer number of cipher suites
---@field extension_count integer number of extensions
---@field session_id_len integer length of the session identifier (bytes)
---@field sni string? server name, as it was sent; bytes that are not printable are \DDD
---@field sni_lower string? server name in lower case
---@field alpn string? first protocol of the ALPN extension, or what the server chose
local moontap_Tls = {}

---The cipher suites in their order: `for i, cipher in t:ciphers() do`; numbers, as IANA has them.
--- Of a server: the one
--- that it chose.
---@return function # for `for`
function moontap_Tls:ciphers() end

---The types of the extensions in their order: `for i, type in t:extensions() do`.
---@return function # for `for`
function moontap_Tls:extensions() end

---The protocols of the ALPN extension, the client's favourite first: `for i, name in t:alpns() do`.
---@return function # for `for`
function moontap_Tls:alpns() end

---Is this extension there?
---@param type integer 43 supported versions, 51 key share, 65037 encrypted hello …
---@return boolean
function moontap_Tls:has_extension(type) end

---The content of an extension.
---@param type integer
---@return string? # its bytes; nil if it is not there
function moontap_Tls:extension(type) end

---Is this the server name?
--- Case does not matter. Makes no string.
---@param host string `www.example.com`
---@return boolean
function moontap_Tls:sni_is(host) end

---Is the server name this one or below it?
--- `t:sni_ends "example.com"` is true for `www.example.com`, not for
--- `badexample.com`. Makes no string.
---@param host string `example.com`
---@return boolean
function moontap_Tls:sni_ends(host) end

---`moontap.table`: a hash table outside the Lua heap, for millions of flows.
---@class moontap.Table
local moontap_Table = {}

---The value of a key, made with zeros when there is none.
---  `t[p]` is the same for a packet.
---@param ... any a packet, a key that `pairs` or `top` gave, or the parts of a key
---@return table? # nil: the packet has no such key
function moontap_Table:get(...) end

---The value of a key, if there is one.
---@param ... any as with get
---@return table?
function moontap_Table:find(...) end

---Remove an entry; on_expire is not called.
---@param ... any as with get; or a value that get or find gave, which is faster
---@return boolean # was there one
function moontap_Table:remove(...) end

---Remove all entries, and begin the counts of `stats` anew; on_expire is not called.
function moontap_Table:clear() end

---Number of entries; `#t` is the same.
---@return integer
function moontap_Table:count() end

---Bytes of memory that the table takes.
---@return integer
function moontap_Table:memory() end

---What a table holds and what has become of its entries.
---@return table # `entries`, `limit`, `memory` (bytes), and since the start or `clear`: `refused` (lookups that got  the overflow entry), `evicted`, `idle` and `active` (entries that ended for want of room, or for their age)
function moontap_Table:stats() end

---What came when the table was full.
---@return table # all keys without an entry together
---@return integer # how many times `get` gave this value; 0: the table was never full
function moontap_Table:overflow() end

---`for key, value in t:pairs() do`, or `in pairs(t)`, in the order in which the keys came (places of entries that
--- have ended are taken first).
---  Entries may be removed meanwhile; one that is added may be passed over.
---@return function
function moontap_Table:pairs() end

---The entries with the largest values, in falling order; of equal ones the first to come is first.
---@param n integer how many at most
---@param field string what they are sorted by
---@return table
function moontap_Table:top(n, field) end

---An entry as a plain Lua table that may be kept and becomes an object in JSON.
---@param k any
---@param value table
---@return table # the parts of the key (addresses as text), the fields of the value, and with ageing first_seen and  last_seen
function moontap_Table:row(k, value) end

---Entries as rows: what a script's `results` may return.
---@param n? integer only so many, with the largest values; default: all, as `pairs` gives them
---@param field? string what those are sorted by
---@return table # as of `row`
function moontap_Table:rows(n, field) end

---End all entries, in the order in which their keys came.
---@param f? function called with key, value and "end" for each; default: on_expire
function moontap_Table:drain(f) end

---Add the entries of another table of the same declaration, as if this one had seen what the other one saw after
--- it.
---  Fields are added; one declared as `{ "double", merge = "max" }` becomes the larger value, `"min"` the smaller
--- one (0 counts as not set), `"last"` that of the later lookup. A sum that does not fit its type stays at the bound
--- of the type. The other table stays as it is.
---@param other table options besides key, value and whether there is ageing may differ
---@return moontap.Table # this one
function moontap_Table:merge(other) end

---The table as a string for `moontap.load`, also in another run.
--- The string is in the Lua heap: 1 million flows take
--- some 60 MB of --script-memory. on_expire is not saved: make a table with it and `merge` the loaded one into it.
---@return string
function moontap_Table:save() end

---Make a table.
---  Do it once, outside of hooks, and use `t:clear()` to begin anew.
---@param options table - key: `"flow"`, `"tuple"`, `"pair"`, `"src"`, `"dst"`, `"sport"`, `"dport"`, or a list of `{ name, type }`  - value: fields and their types; without it the table is a set. A field may say how it is merged:    `{ first = { "double", merge = "min" } }`  - size: how many entries to expect; only saves work  - limit: the most entries  - policy: `"overflow"` or `"evict"`, what happens at the limit  - idle: seconds without a lookup after which an entry ends  - active: seconds after which an entry ends in any case  - on_expire: `function(key, value, reason)`, called for each entry that ends by itself
---@return moontap.Table
function moontap.table(options) end

---`moontap.topk`: the keys with the most packets, bytes or whatever is counted, in memory that does not grow.
---@class moontap.TopK
local moontap_TopK = {}

---Count a key.
---@param key any a packet if the sketch was made with `key`, else a string, number, address or boolean
---@param weight? number 0 to 2^53, such as `p.wirelen`
---@return boolean # false: the packet has no such key (no IP; for ports: none captured), nothing was counted
function moontap_TopK:add(key, weight) end

---What is known of one key.
---@param key any as with add
---@return number? # count: its sum is no more than this; nil: the packet has no such key
---@return number? # error: and no less than count - error
function moontap_TopK:get(key) end

---The keys with the largest counts, in falling order; equal ones by smaller error.
---@param n? integer how many at most
---@return table
function moontap_TopK:list(n) end

---The sum of all weights.
---@return number
function moontap_TopK:total() end

---The most that a key which is not watched can have: the largest error there is now.
---@return number # 0 as long as all is exact
function moontap_TopK:bound() end

---Add what another one with the same `key`, `counters` and `key_bytes` has counted.
--- The error is within
--- the same bound as if one had counted all.
---@param other moontap.TopK
---@return moontap.TopK # this one
function moontap_TopK:merge(other) end

---Its state as a string.
---@return string # for moontap.load, in this run or another
function moontap_TopK:save() end

---Begin anew.
function moontap_TopK:clear() end

---Bytes of memory that it takes.
---@return integer
function moontap_TopK:memory() end

---Make one.
---@param options? table - key: which key of a packet, `"src"` and the others of moontap.table; nil: keys are given by value  - k: how many `list` and `print` show (10)  - counters: keys that are watched; the error is at most the total divided by this (8 · k, but at least 1,000)  - key_bytes: longer strings are cut to so many bytes, and count as one if these are equal (256)
---@return moontap.TopK
function moontap.topk(options) end

---`moontap.distinct`: how many different keys there were, in memory that does not grow.
---@class moontap.Distinct
local moontap_Distinct = {}

---Take note of a key.
---@param key any a packet if the sketch was made with `key`, else a string, number, address or boolean
---@return boolean # false: the packet has no such key (no IP; for ports: none captured)
function moontap_Distinct:add(key) end

---How many different keys there were.
---@return number # a whole number
---@return number # its relative standard error: 0 means exact, 0.0081 is the default's
function moontap_Distinct:count() end

---Add the keys of another one with the same `key`, `precision` and `seed`.
--- Gives exactly what one would have given.
---@param other moontap.Distinct
---@return moontap.Distinct # this one
function moontap_Distinct:merge(other) end

---Its state as a string.
---@return string # for moontap.load, in this run or another
function moontap_Distinct:save() end

---Begin anew.
function moontap_Distinct:clear() end

---Bytes of memory that it takes.
---@return integer
function moontap_Distinct:memory() end

---Make one.
---@param options? table - key: which key of a packet, `"src"` and the others of moontap.table; nil: keys are given by value  - precision: 2^precision bytes, 4 to 18 (14)  - seed: of the hash, a whole number from 0 to 2^53 (0)
---@return moontap.Distinct
function moontap.distinct(options) end

---`moontap.quantiles`: median, p99 and every other quantile of numbers, with a relative error.
---@class moontap.Quantiles
local moontap_Quantiles = {}

---Add a number.
---@param x number any but NaN
---@param weight? number how many times, 0 to 2^53
function moontap_Quantiles:add(x, weight) end

---A quantile; `q(0.99)` is the same.
---@param part number 0 (the smallest) to 1 (the largest); 0.5 is the median
---@return number? # nil before the first number
function moontap_Quantiles:get(part) end

---The sum of weights: how many numbers there were.
---@return number
function moontap_Quantiles:count() end

---The sum of the numbers, each as often as its weight says.
---@return number
function moontap_Quantiles:sum() end

---Their mean.
---@return number? # nil before the first number
function moontap_Quantiles:mean() end

---The smallest number.
---@return number? # nil before the first number
function moontap_Quantiles:min() end

---The largest number.
---@return number? # nil before the first number
function moontap_Quantiles:max() end

---Add the numbers of another one with the same `error`.
--- Gives exactly what one would have given.
---@param other moontap.Quantiles
---@return moontap.Quantiles # this one
function moontap_Quantiles:merge(other) end

---Its state as a string.
---@return string # for moontap.load, in this run or another
function moontap_Quantiles:save() end

---Begin anew.
function moontap_Quantiles:clear() end

---Bytes of memory that it takes.
---@return integer
function moontap_Quantiles:memory() end

---Make one.
---@param options? table - error: the largest relative error, 0.0001 to 0.5 (0.01)
---@return moontap.Quantiles
function moontap.quantiles(options) end

---`moontap.histogram`: counts of numbers in fixed buckets, also as a bar chart.
---@class moontap.Histogram
local moontap_Histogram = {}

---Count a number.
---@param x number any but NaN
---@param weight? number how many times, 0 to 2^53
function moontap_Histogram:add(x, weight) end

---All buckets in rising order, empty ones too.
---@return table # each counts from <= x < to
function moontap_Histogram:rows() end

---What was below the first bucket.
---@return number
function moontap_Histogram:under() end

---What was above the last bucket, its upper edge included.
---@return number
function moontap_Histogram:over() end

---The sum of all counts, under and over too.
---@return number
function moontap_Histogram:count() end

---Add the counts of another one with the same buckets.
---@param other moontap.Histogram
---@return moontap.Histogram # this one
function moontap_Histogram:merge(other) end

---Its state as a string.
---@return string # for moontap.load, in this run or another
function moontap_Histogram:save() end

---Begin anew.
function moontap_Histogram:clear() end

---Bytes of memory that it takes.
---@return integer
function moontap_Histogram:memory() end

---The buckets as lines with a bar each; empty ones at the ends are left out, and more than three in between are one
--- line.
--- `tostring` gives the same with a width of 80.
---@param width? integer of the longest line, in characters
---@return string # UTF-8, without a newline at the end
function moontap_Histogram:chart(width) end

---Make one.
---@param options table - from: the first edge  - to: the last edge  - step: the width of all buckets  - log: instead of step, each edge is so many times the one before: 2, 10, 10 ^ (1 / 3), …  - edges: instead of all these, the edges themselves in rising order
---@return moontap.Histogram
function moontap.histogram(options) end

---`moontap.rate`: packets and bytes by interval of stream time, for the last intervals.
---@class moontap.Rate
local moontap_Rate = {}

---Count a packet, or anything that has a time.
---@param what any a packet; or a time: `p.ts_ns` (exact) or a number of seconds such as `p.ts`
---@param bytes? number default: `p.wirelen`; 0 with a time
---@param packets? number
function moontap_Rate:add(what, bytes, packets) end

---The intervals that have a slot, from the first with a packet to the newest, empty ones between them too.
---@return table # time: begin of the interval, seconds since the epoch
function moontap_Rate:list() end

---What was counted since the beginning, dropped intervals included.
---@return number # packets
---@return number # bytes
function moontap_Rate:total() end

---What is in no slot: too old, or too late.
---@return number # packets
---@return number # bytes
function moontap_Rate:dropped() end

---Add what another one with the same `every` and `keep` has counted.
--- Gives exactly what one would have given.
---@param other moontap.Rate
---@return moontap.Rate # this one
function moontap_Rate:merge(other) end

---Its state as a string.
---@return string # for moontap.load, in this run or another
function moontap_Rate:save() end

---Begin anew.
function moontap_Rate:clear() end

---Bytes of memory that it takes.
---@return integer
function moontap_Rate:memory() end

---Make one.
---@param options? table - every: length of an interval in seconds, 0.00001 or more (1)  - keep: how many of the newest intervals have a slot, at most 1,000,000 (3,600)
---@return moontap.Rate
function moontap.rate(options) end

---`moontap.recent`: was the same packet seen a moment ago?
---@class moontap.Recent
local moontap_Recent = {}

---A packet comes.
--- It is in the window from now on.
---@param p moontap.Packet
---@return boolean # was the same seen within the window
function moontap_Recent:add(p) end

---Packets that are in the window as of the last one.
---@return integer
function moontap_Recent:count() end

---Packets that were forgotten before their window was over, because there were more than `limit`.
---@return integer
function moontap_Recent:forgotten() end

---Bytes of memory that it takes.
---@return integer
function moontap_Recent:memory() end

---Make one.
---@param options table - window: seconds, 0.000001 to 1,000,000  - ignore: what may differ: `link`, everything before the IP header; `ttl`, TTL or hop limit and the IPv4 header    checksum; `link,ttl` (`none`). Packets without IP are compared whole.  - limit: packets that are remembered at most (1,000,000)
---@return moontap.Recent
function moontap.recent(options) end

---Make one; call it with an address (nil gives nil), it returns the other address.
---@param options table one of:   - key: a string of 32 bytes  - key_file: a file of 32 bytes that nobody but its owner may read
---@return function
function moontap.cryptopan(options) end

---Packets without what tells who sent them.
---@class moontap.Anonymizer
local moontap_Anonymizer = {}

---What was done so far: `packets`, `bytes` (captured), `whole` packets that lost nothing; and by name: `headers` that
--- were kept, `changed` fields, `cut` packets and `cut_bytes` by the reason why their rest went.
---@return table
function moontap_Anonymizer:counts() end

---Make one; call it with a packet.
---@param options table - key: a string of 32 bytes, or  - key_file: a file of 32 bytes that nobody but its owner may read  - payload: what becomes of bytes that are not known to be safe: `cut` (default), `zero`, or `keep`, which keeps the    payload of TCP, UDP and echoes and cuts what else is not known  - mac: `hide` (default), `oui`, `keep`  - ports: `keep` (default), `hide`  - tcp_times: the timestamps option: `hide` (default), `keep`  - shift: seconds that are added to times  - round: seconds to a multiple of which times are rounded down
---@return function # with a method `counts`
function moontap.anonymizer(options) end

---
---@class moontap.Gauge
local moontap_Gauge = {}

---
---@class moontap.Counter
local moontap_Counter = {}

---Set a gauge.
---@param value number
---@param ... any the value of each label: a string, number, boolean or address
function moontap_Gauge:set(value, ...) end

---Add to a gauge, or take off.
---@param n? number 1 if it is not given
---@param ... any the value of each label
function moontap_Gauge:add(n, ...) end

---What it is now.
---@param ... any the value of each label
---@return number
function moontap_Gauge:get(...) end

---Add to a counter.
---@param n? number not negative; 1 if it is not given
---@param ... any the value of each label: a string, number, boolean or address
function moontap_Counter:add(n, ...) end

---What it is now.
---@param ... any the value of each label
---@return number
function moontap_Counter:get(...) end

---A number that goes up and down.
---@param name string
---@param help string a sentence on what it is
---@param labels? table up to three names
---@return moontap.Gauge
function moontap.gauge(name, help, labels) end

---A number that only goes up; its name ends in `_total` by custom.
---@param name string
---@param help string a sentence on what it counts
---@param labels? table up to three names
---@return moontap.Counter
function moontap.counter(name, help, labels) end

---Record the packets around now, which is the time of the packet in hand.
---@param reason string becomes part of the segment's name
---@param options? table `post`: seconds after now that are recorded too (0)
function moontap.trigger(reason, options) end

---Show a value to those who attach, in place of the last of that name.
--- Where nobody can attach nothing happens.
---@param name string up to 1,000 of them
---@param value any what JSON can hold: table, string, number, boolean; nil: it has none any more
function moontap.publish(name, value) end

---An object from what its `:save()` gave, also that of another run.
---@param saved string
---@return table? # of the kind that was saved; nil if the string is damaged or of another kind of machine
---@return string? # why not
function moontap.load(saved) end

---Declare an output; at the top of a script, outside of hooks.
---@param t table - name: what hooks return  - path: the file, or dir: a folder for segments  - format: `"pcap"`, `"pcapng"`, `"erf"`; else the ending of path says it  - compress: `"gz"`, `"zst"`, `"lz4"`, `"xz"`, `"bz2"`; level: 0 (fast) to 9 (small)  - snaplen: bytes of a packet that are written  - rotate: `{ seconds =, bytes =, packets = }`, with dir; bytes as a multiple of 1024 or as `"10M"`  - template: names of segments, as `--name` has it; utc: true for UTC in names and boundaries  - keep_files, keep_bytes, sha256, on_close, on_full, pipe: as the options of these names (pipe: `--pipeout`);    on_full is that of the command line unless it is given
---@return string # the name
function moontap.output(t) end

---
---@class moontap.Split
local moontap_Split = {}

---Send a packet to the file of a number that `part` gave.
---@param p moontap.Packet
---@param number integer 0: others
---@return string # what the hook has to return
function moontap_Split:send(p, number) end

---A new file.
---@param key string its text
---@return integer # a number for `send`; 0 if there are as many files as there may be
function moontap_Split:part(key) end

---Send a packet to the file of a key.
---@param p moontap.Packet
---@param key string|number|boolean|moontap.Address
---@return string # what the hook has to return
function moontap_Split:to(p, key) end

---What there is, in the order in which the keys came, the others first if there are any.
---@return table # key, file, packets, bytes (on the wire); others is true for the file of the others
function moontap_Split:files() end

---Declare a split output: at the top of a script, or in its `outputs`.
---@param t table - name: for messages and counts  - dir: the folder of the files  - files: the most of them (1000)  - only: true if all packets go there: -o and -B are refused then, as they would get none  - format, compress, level, snaplen: as in moontap.output
---@return table # with the methods of this page
function moontap.split(t) end

---
---@class moontap.Block
local moontap_Block = {}

---
---@class moontap.Batch
local moontap_Batch = {}

---The bytes of the block, copied.
---@return string
function moontap_Block:string() end

---Drop a packet.
---@param i integer 0 to batch.n - 1
function moontap_Batch:drop(i) end

---Write a packet to a named output instead of the default one.
---@param i integer 0 to batch.n - 1
---@param name string declared with --out
function moontap_Batch:route(i, name) end

moontap.plot = {}

---A bar of a length that stands for a part of the largest value.
---@param value number not negative
---@param most number what a whole bar is
---@param width? integer characters of a whole bar
---@return string # without blanks at its end
function moontap.plot.bar(value, most, width) end

---A curve in one line.
---@param values table not negative
---@param width? integer characters; of more values, the largest of those that share one is shown
---@return string
function moontap.plot.spark(values, width) end

---A curve with its largest value at the axis.
---@param values table not negative
---@param options? table - width: columns of the curve (60); of more values, the largest of those that share one is shown  - height: lines (8)  - label: function that makes text of a value (tostring)
---@return string # lines, without a newline after the last
function moontap.plot.chart(values, options) end

moontap.json = {}

---A value as JSON, on one line, keys in alphabetical order.
---
---
--- A table with the keys 1 to n and no others is an array, any other an object, whose keys are texts; an empty one is
--- an object unless `moontap.list()` made it. 64-bit integers
--- are numbers with all their digits; addresses and other objects are their text; strings that are no UTF-8 are hex;
--- NaN, infinity, a table within itself and what is deeper than 32 tables are null.
---@param value any
---@return string
function moontap.json.encode(value) end

---A value from JSON: tables, strings, numbers, booleans; null is nil.
---@param text string
---@return any
---@return string? # what is wrong with the text (the value is nil then)
function moontap.json.decode(text) end

moontap.format = {}

---Link types in words, where there are some.
---@param names table as libpcap calls them: `EN10MB`
---@return string # `Ethernet, Raw IP`
function moontap.format.linktypes(names) end

---A whole number with thousands separators.
---@param n number
---@return string # `12,345,678`
function moontap.format.count(n) end

---A number of bytes.
---@param n number
---@return string # `812 B`, `1.5 GiB`
function moontap.format.bytes(n) end

---Bits per second.
---@param n number
---@return string # `640.1 Mbit/s`
function moontap.format.bitrate(n) end

---A span of time.
---@param seconds number
---@return string # `12 µs`, `350.2 ms`, `12.3 s`, `5 m 03 s`, `2 h 05 m`, `3 d 04 h`
function moontap.format.duration(seconds) end

---A point in time.
---@param time any nanoseconds since 1970 as an int64 (`p.ts_ns`; printed with 9 decimals), seconds since 1970 as a number    (`p.ts`, `now` of on_interval; a double is exact to about 0.2 µs, so 6 decimals), or a string `SECONDS.NNNNNNNNN`
---@param zone? string `"utc"`, or `"local"` for the time zone of the machine (`TZ`) and its name
---@return string # `2026-11-22 10:00:00.123456789 UTC`, `2026-11-22 11:00:00.123456789 CET`
function moontap.format.time(time, zone) end

---A point in time as RFC 3339, which is ISO 8601 in one form, for other programs.
---
---
--- An offset has hours and minutes only: local mean time of the nineteenth century is rounded to a minute.
---@param time any as with moontap.format.time
---@param zone? string `"utc"` or `"local"`
---@return string # `2026-11-22T10:00:00.123456789Z`, `2026-11-22T11:00:00.123456789+01:00`
function moontap.format.rfc3339(time, zone) end

---A part of a whole.
---@param part number
---@param whole number 0 gives `-`
---@return string # `12.3%`
function moontap.format.share(part, whole) end

---Name of an IP protocol.
---@param number integer
---@return string # `TCP`, or `proto 99`
function moontap.format.protocol(number) end

---Name of an Ethernet type.
---@param number integer
---@return string # `ARP`, or `0x88f7`; `other` for 0
function moontap.format.ethertype(number) end

---Rows as aligned columns.
---@param headers table one a column; one that begins with `>` is aligned to the right
---@param rows table cells, any values that tostring takes
---@return string # lines, without a newline after the last
function moontap.format.table(headers, rows) end

---Counts as a list, the largest first; of equal ones by name.
---@param counts table `{ [name] = count }`, or what the `list` of a topk gave
---@param n? integer only so many
---@return table # a moontap.list; error as topk has it, absent where the count is exact
function moontap.format.counts(counts, n) end

---A table of the largest counts with their share of a total.
---@param title string over the names
---@param counts table as with moontap.format.counts
---@param total number what 100 % is
---@param n? integer only so many
---@return string? # lines; nil: there is nothing to show
function moontap.format.ranking(title, counts, total, n) end

