/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net.c - IP networks from text: "10.0.0.0/8", "10.0.0.0/255.0.0.0", "2001:db8::/32", or one address.
 *
 * Called for each line of a list of networks: some 100 ns.  Strict, as Python's ipaddress and tcpdump are:
 * bits that are set behind the prefix are more often a slip than meant, so they are refused, and the
 * sentence names both readings.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "abi.h"

enum { SHOWN = 64 /* characters of a wrong text that a message shows */ };

__attribute__((format(printf, 2, 3))) static int refuse(char why[MT_NET_WHY], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why, MT_NET_WHY, format, args);
	va_end(args);
	return -1;
}

static uint64_t mask64(uint32_t bits)
{
	return bits ? UINT64_MAX << (64 - bits) : 0;
}

static void set_bits(struct mt_net *net, uint32_t bits)
{
	net->_bits = bits;
	net->_high_mask = htobe64(mask64(bits < 64 ? bits : 64));
	net->_low_mask = htobe64(mask64(bits < 64 ? 0 : bits - 64));
}

/* The prefix length that a dotted netmask means. */
static int parse_netmask(const char *text, uint32_t *bits, char why[MT_NET_WHY])
{
	struct in_addr address;
	if (inet_pton(AF_INET, text, &address) != 1)
		return refuse(why, "expected a prefix length behind the slash");
	uint32_t mask = ntohl(address.s_addr), rest = ~mask;
	if ((mask & (mask + 1)) == 0 && mask) {
		address.s_addr = htonl(rest);
		return refuse(why, "%s is a wildcard mask: the netmask is %s", text, inet_ntoa(address));
	}
	if (rest & (rest + 1))
		return refuse(why, "the netmask %s is not ones followed by zeros", text);
	*bits = 32 - (uint32_t)__builtin_popcount(rest);
	return 0;
}

static int parse_bits(const char *text, uint32_t most, uint32_t *bits, char why[MT_NET_WHY])
{
	if (most == 32 && strchr(text, '.'))
		return parse_netmask(text, bits, why);
	size_t len = strlen(text);
	if (len == 0 || strspn(text, "0123456789") != len)
		return refuse(why, "expected a prefix length behind the slash");
	*bits = 0;
	for (; *text && *bits <= most; text++)
		*bits = *bits * 10 + (uint32_t)(*text - '0');
	if (*bits > most)
		return refuse(why, "the prefix length of an IPv%c network is 0 to %u", most == 32 ? '4' : '6',
		              most);
	return 0;
}

static int refuse_host_bits(const struct mt_net *net, char why[MT_NET_WHY])
{
	struct mt_address address = {.high = net->_high, .low = net->_low, .len = net->_len};
	char host[INET6_ADDRSTRLEN], first[INET6_ADDRSTRLEN];

	mt_address_format((const uint8_t *)&address, (int)address.len, host);
	address.high &= net->_high_mask;
	address.low &= net->_low_mask;
	mt_address_format((const uint8_t *)&address, (int)address.len, first);
	return refuse(why, "bits are set behind the prefix: the network is %s/%u, the address alone %s", first,
	              net->_bits, host);
}

static int parse(char *text, struct mt_net *net, char why[MT_NET_WHY])
{
	struct mt_address address;
	char *slash = strchr(text, '/');
	if (slash)
		*slash++ = 0;
	if (mt_address_parse(text, strlen(text), &address))
		return refuse(why, "expected a network such as 10.0.0.0/8 or 2001:db8::/32, or an IP address");
	*net = (struct mt_net){._high = address.high, ._low = address.low, ._len = address.len};
	uint32_t bits = 8 * address.len;
	if (slash && parse_bits(slash, bits, &bits, why))
		return -1;
	set_bits(net, bits);
	if ((net->_high & ~net->_high_mask) | (net->_low & ~net->_low_mask))
		return refuse_host_bits(net, why);
	return 0;
}

int mt_net_parse(const char *text, size_t len, struct mt_net *net, char why[MT_NET_WHY])
{
	char copy[SHOWN], reason[MT_NET_WHY] = "it is too long";

	size_t n = len < sizeof copy ? len : sizeof copy - 1;
	memcpy(copy, text, n);
	copy[n] = 0;
	if (n == len && memchr(text, 0, len))
		snprintf(reason, sizeof reason, "there is a NUL byte in it");
	else if (n == len && parse(copy, net, reason) == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		copy[i] = (unsigned char)text[i] < ' ' || text[i] == 127 ? '?' : text[i]; /* for a terminal */
	return refuse(why, "'%s%s': %s", copy, n < len ? "…" : "", reason);
}
