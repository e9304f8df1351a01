-- SPDX-License-Identifier: BSD-2-Clause
-- Filter expressions for filter_spec.lua: a list that goes through pcap-filter(7), and as many more as are asked
-- for, put together at random.

local M = {}

-- One expression a line.
local LIST = [==[
ip
ip6
arp
rarp
tcp
udp
icmp
icmp6
sctp
igmp
igrp
pim
ah
esp
vrrp
carp
iso
clnp
esis
isis
stp
ipx
netbeui
decnet
atalk
aarp
lat
mopdl
moprc
host 10.0.0.1
src host 192.168.1.1
dst host 192.168.1.1
host 10.0.0.1 or host 192.168.0.1
ip host 127.0.0.1
arp host 10.0.0.1
host ::1
host fe80::1
src host 2001:db8::1
ip6 host ff02::1
net 10
net 192.168
net 10.0.0.0/8
net 192.168.0.0/16
net 172.16.0.0/12
net 0.0.0.0/1
net 128.0.0.0/1
src net 192.168.0.0/16
dst net 224.0.0.0/4
net 10.0.0.0 mask 255.0.0.0
src or dst net 10.1.0.0/16
src and dst net 10.0.0.0/8
net fe80::/10
net 2001::/16
ip6 net ff00::/8
src net 2001:db8::/32
dst net 2000::/3
net 2001:db8:1:2::/63
port 53
port 80
tcp port 80
udp port 53
src port 443
dst port 443
tcp src port 80
udp dst port 53
sctp port 2905
port 53 or port 80 or port 443
tcp port 80 or tcp port 443
not port 53
portrange 1-1023
portrange 1024-65535
tcp portrange 20-25
udp portrange 1000-2000
src portrange 1-1023
dst portrange 32768-60999
tcp src portrange 0-65535
not portrange 0-1023
proto 6
proto 17
ip proto 1
ip proto 255
ip6 proto 58
ip6 proto 6
ip proto \tcp
ip protochain 6
ip6 protochain 6
ether proto 0x800
ether proto 0x86dd
ether proto \arp
ether proto 0x88cc
ether proto 0x8847
ether host 01:80:c2:00:00:00
ether src ff:ff:ff:ff:ff:ff
ether dst ff:ff:ff:ff:ff:ff
ether dst 01:00:5e:00:00:fb
ether broadcast
ether multicast
broadcast
multicast
ip multicast
ip6 multicast
not broadcast and not multicast
vlan
vlan 1
vlan 100
vlan and ip
vlan and tcp port 80
vlan 100 and vlan 200
vlan and vlan and ip
vlan and not ip
not vlan
vlan 10 or vlan 20
mpls
mpls 100
mpls and ip
mpls and mpls and ip
mpls 16 and host 10.0.0.1
pppoed
pppoes
pppoes and ip
pppoes 0x1 and ip
pppoes and ip6
pppoes and tcp
geneve
geneve and ip
geneve 0xb and tcp
llc
llc i
llc s
llc u
llc ui
len >= 0
len > 100
len <= 60
len >= 1514
len = 60
len != 60
less 64
greater 1000
len & 1 = 1
len % 7 = 3
len / 3 > 20
len - 60 > 100
len * 16777216 > len
len << 27 > 0x80000000
len >> 3 = 8
4294967295 > len
len > 2147483647
len > 4294967000
len - 1000 > 2147483648
1000 - len < 940
tcp[tcpflags] & tcp-syn != 0
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[tcpflags] == tcp-syn
tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)
tcp[13] & 2 != 0
tcp[13] = 18
tcp[13] & 0x3f = 0x10
tcp[tcpflags] & (tcp-rst) != 0 and not src net 10.0.0.0/8
tcp[tcpflags] & tcp-push != 0 and ((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0
tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
port 80 and tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420
tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x48545450
tcp[((tcp[12] & 0xf0) / 4):2] = 0x1603
tcp[4:4] > 0x80000000
tcp[4:4] >= 2147483648
tcp[8:4] > tcp[4:4]
tcp[4:4] - tcp[8:4] > 1000
tcp[4:4] + tcp[8:4] < tcp[4:4]
tcp[14:2] > 1000
tcp[0:2] = 80 or tcp[2:2] = 80
tcp[0:2] < 1024 and tcp[2:2] >= 1024
tcp[0:2] * 65537 = 5242960
tcp[20:4] = 0x0101080a
udp[4:2] > 100
udp[4:2] = ip[2:2] - 20
udp[8:2] & 0x8000 != 0
udp[10] & 0x80 != 0
udp[10:2] & 0xf = 3 and src port 53
udp[0:4] = 0x00350035
icmp[icmptype] = icmp-echo
icmp[icmptype] == icmp-echoreply
icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply
icmp[icmpcode] = 3
icmp[0] = 8 and icmp[1] = 0
icmp6[icmp6type] = icmp6-echo
icmp6[icmp6type] == icmp6-neighborsolicit
icmp6 and ip6[40] = 135
ip[0] & 0xf != 5
ip[0] & 0xf > 5
ip[0] = 0x45
ip[1] & 0xfc >> 2 = 46
ip[2:2] > 576
ip[2:2] <= 40
ip[4:2] = 0
ip[6:2] & 0x1fff != 0
ip[6:2] & 0x3fff != 0
ip[6] & 0x40 != 0
ip[6:2] & 0x2000 != 0 or ip[6:2] & 0x1fff != 0
ip[8] < 64
ip[8] < 5
ip[8] % 2 = 1
ip[8] / 16 = 3
ip[9] = 6
ip[10:2] ^ 0xffff > 0x8000
ip[12:4] = ip[16:4]
ip[12:4] > ip[16:4]
ip[12:4] >= 0xc0a80000
ip[12:4] & 0xff000000 = 0x0a000000
ip[12:4] ^ ip[16:4] < 256
ip[16] >= 224
ip[16:4] > 3758096384
ip[12:4] + ip[16:4] < ip[12:4]
ip[12:4] - ip[16:4] > 0x7fffffff
ip[12:4] * ip[16:4] > 0x80000000
ip[12:4] * 3 = ip[16:4] * 5 - 7
ip[12:4] / 256 = ip[16:4] / 256
ip[12:4] % 1000 < 100
ip[12:4] % 4294967295 > 5
ip[12:4] / 3000000000 = 1
ip[12:4] / ip[16] > 1000
ip[12:4] % ip[16] = 1
ip[12:4] / ip[1] > 3
ip[12:4] % ip[1] = 0
ip[12:4] << ip[8] > 7
ip[12:4] >> ip[8] > 7
ip[12:4] >> (ip[8] & 31) = 1
ip[12:4] << (ip[8] & 31) > 0x80000000
1 << (ip[8] & 31) & 0x80008000 != 0
0 - ip[8] < 4294967200
-ip[8] < 4294967200
- ip[12:4] > ip[16:4]
-(ip[2:2]) + 2000 > 1000
ip[8] - 64 > 0
ip[8] - 64 >= 0x80000000
ip[2:2] - 1500 < 4294966000
ip[2:2] * 3 - 5 > 2147483648
ip[ip[0] & 0xf] > 5
ip[ip[8]] > 100
ip[ip[8]:2] > 100
ip[ip[8]:4] > 0x80000000
ip[ip[2:2] - 1] = 0
ip[ip[2:2] - 4:4] != 0
ip[ip[12:4]:1] = 0
ip[ip[8] - 64] = 0x45
ip[0x7ffffff0] = 1
ip[0xfffffff0:4] = 1
ip6[0] & 0xf0 = 0x60
ip6[4:2] > 100
ip6[6] = 6
ip6[6] = 44
ip6[7] < 64
ip6[8:4] = 0x20010db8
ip6[24] = 0xff
ip6[0:4] & 0x000fffff != 0
ip6[40 + 13] & 2 != 0
ether[0] & 1 != 0
ether[0] & 1 = 0 and ip[16] >= 224
ether[12:2] = 0x0800
ether[12:2] > 1500
ether[12:2] < 0x600
ether[0:4] = 0xffffffff and ether[4:2] = 0xffff
ether[6:4] > 0x7fffffff
ether[6:4] ^ ether[0:4] & 0xff != 0
ether[len - 1] = 0
ether[len - 4:4] = 0
ether[1000] = 0
ether[70000] = 1
ether[4:4] % 7 = 3
ether[14] * ether[15] * ether[16] * ether[17] > 1000000
ether[14:4] * ether[18:4] > 0x80000000
(ether[14:4] | ether[18:4]) & 0xf0f0f0f0 = 0xf0f0f0f0
ether[14:4] ^ ether[18:4] ^ ether[22:4] > 0x80000000
link[0] = 0
link[0] = 4
link[2:2] > 0
link[14:2] = 0x800
arp[6:2] = 1
arp[6:2] == 2
arp[14:4] = arp[24:4]
rarp[6:2] = 3
igmp[0] = 0x11
sctp[12] = 1
sctp[0:2] > 30000
wlan type mgt
wlan type mgt subtype beacon
type ctl
wlan type data subtype qos-data
type mgt subtype probe-req or type mgt subtype probe-resp
wlan host ff:ff:ff:ff:ff:ff
wlan addr1 ff:ff:ff:ff:ff:ff
wlan addr2 00:01:02:03:04:05
wlan ra ff:ff:ff:ff:ff:ff
dir nods
wlan[0] = 0x80
radio[2:2] > 10
inbound
outbound
ppp proto 0x21
tcp and not port 22
tcp and (port 80 or port 443) and not host 10.0.0.1
not (tcp or udp)
not ip and not ip6
not not ip
ip and not tcp and not udp and not icmp
ip or ip6 and tcp
(ip or ip6) and tcp
udp and (port 53 or port 5353 or port 67 or port 68 or port 123 or port 161 or port 500 or port 1900)
tcp and host 192.168.1.1 and port 80 or udp and host 10.0.0.1
(tcp[13] & 2 != 0 and tcp[13] & 16 = 0) or (icmp and icmp[0] = 8) or (udp and port 53)
ip and (ip[8] < 10 or ip[8] > 250) and not (ip[6:2] & 0x1fff != 0)
ip host 192.168.1.1 and not (port 80 or port 443 or port 22 or port 25 or port 110 or port 143)
host 10.0.0.1 or host 10.0.0.2 or host 10.0.0.3 or host 10.0.0.4 or host 10.0.0.5 or net 192.168.0.0/16 and port 80
ip and len - 14 != ip[2:2]
ip[2:2] < len - 14
0 = 0
0x80000000 > 0x7fffffff
ip[0] >= 0
ip[0] > 255
ip[0] = 256
ip[2:2] >= 65536
ether[0] & 0xffffff00 = 0
]==]

M.list = {}
for line in LIST:gmatch("[^\n]+") do
  M.list[#M.list + 1] = line
end

-- --- at random --------------------------------------------------------------------------------

-- The same numbers everywhere: math.random is not. Below n.
function M.dice(seed)
  local state = seed
  return function(n)
    state = (state * 16807) % 2147483647
    return state % n
  end
end

local CONSTANTS = { "0", "1", "2", "3", "4", "5", "7", "8", "14", "16", "20", "31", "32", "40", "53", "60", "64", "80", "100", "127",
  "128", "255", "256", "443", "1000", "1023", "0x800", "0x86dd", "0xffff", "65536", "16777216", "0x7fffffff", "0x80000000",
  "0x80000001", "0xfffffff0", "0xffffffff", "3232235777", "167772161" }
local BASES = { "ether", "ip", "ip", "ip", "tcp", "tcp", "udp", "ip6", "icmp", "link", "arp" }
local SIMPLE = { "ip", "ip6", "tcp", "udp", "icmp", "arp", "port 53", "tcp port 80", "host 10.0.0.1", "net 10.0.0.0/8",
  "net fe80::/10", "portrange 1-1023", "src port 443", "ether multicast", "vlan", "ip multicast", "dst net 192.168.0.0/16" }

-- The dice decide: text of a number, a condition, an expression; depth is how deep it may nest.
local function expression_maker(dice)
  local number

  local function one(list)
    return list[dice(#list) + 1]
  end

  local function field(depth)
    local offset = dice(4) == 0 and depth > 0 and number(depth - 1) or tostring(dice(64))
    return ("%s[%s:%d]"):format(one(BASES), offset, one { 1, 2, 4 })
  end

  function number(depth)
    local kind = dice(depth > 0 and 10 or 5)
    if kind < 2 then
      return one(CONSTANTS)
    elseif kind == 2 then
      return "len"
    elseif kind < 5 then
      return field(depth)
    elseif kind == 5 then
      return ("(%s %s %d)"):format(number(depth - 1), one { "<<", ">>" }, dice(32))
    elseif kind == 6 then
      return ("(%s %s %s)"):format(number(depth - 1), one { "<<", ">>" }, field(depth - 1))
    elseif kind == 7 then
      return ("(- %s)"):format(number(depth - 1))
    end
    return ("(%s %s %s)"):format(number(depth - 1), one { "+", "-", "*", "/", "%", "&", "|", "^" }, number(depth - 1))
  end

  local function condition(depth)
    if dice(3) == 0 then
      return one(SIMPLE)
    end
    return ("%s %s %s"):format(number(depth), one { "=", "!=", "<", ">", "<=", ">=" }, number(depth - 1))
  end

  local function expression(depth)
    local kind = dice(depth > 0 and 5 or 2)
    if kind < 2 then
      return condition(2)
    elseif kind == 2 then
      return ("not (%s)"):format(expression(depth - 1))
    end
    return ("(%s) %s (%s)"):format(expression(depth - 1), one { "and", "or" }, expression(depth - 1))
  end
  return expression
end

-- n expressions; libpcap takes most of them (it finds some divisions by zero).
function M.random(seed, n)
  local expression = expression_maker(M.dice(seed))
  local list = {}
  for i = 1, n do
    list[i] = expression(3)
  end
  return list
end

-- Mixes a packet into a hash of those before it; data: const uint8_t *.
function M.hash(h, data, caplen, wirelen)
  h = (h * 31 + caplen) % 1000000007
  h = (h * 31 + wirelen) % 1000000007
  for i = 0, caplen - 1, caplen > 100 and 13 or 3 do
    h = (h * 31 + data[i]) % 1000000007
  end
  return h
end

return M
