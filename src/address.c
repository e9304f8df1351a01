/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * address.c - IP addresses from text, and what IANA set them aside for.
 *
 * mt_address_kind answers p.src.is_private and its kin.  The tables are IANA's special-purpose address
 * registries (RFC 6890, RFC 8190) and address space registries, as of 2025.  A row stands before those
 * that contain it, so the first that matches is the one that counts.  A walk over the rows is some 15 ns;
 * Lua notes an answer where it holds for all addresses that begin alike, so most packets need no call.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "abi.h"

int mt_address_parse(const char *text, size_t len, struct mt_address *address)
{
	char copy[INET6_ADDRSTRLEN];

	*address = (struct mt_address){.len = 0};
	if (len >= sizeof copy || memchr(text, 0, len))
		return -1;
	memcpy(copy, text, len);
	copy[len] = 0;
	bool v6 = strchr(copy, ':');
	if (inet_pton(v6 ? AF_INET6 : AF_INET, copy, &address->high) != 1)
		return -1;
	address->len = v6 ? 16 : 4;
	return 0;
}

/* --- kinds ------------------------------------------------------------------------------- */

enum {
	NONE = 0,
	GLOBAL = MT_ADDRESS_GLOBAL,
	PRIVATE = MT_ADDRESS_PRIVATE,
	SHARED = MT_ADDRESS_SHARED,
	LOOPBACK = MT_ADDRESS_LOOPBACK,
	LINK_LOCAL = MT_ADDRESS_LINK_LOCAL,
	MULTICAST = MT_ADDRESS_MULTICAST,
	UNSPECIFIED = MT_ADDRESS_UNSPECIFIED,
	DOCUMENTATION = MT_ADDRESS_DOCUMENTATION
};

struct row4 {
	uint8_t prefix[4];
	uint32_t bits, kind;
};

struct row6 {
	uint64_t high, low;
	uint32_t bits, kind;
};

static const struct row4 table4[] = {
        {{0, 0, 0, 0}, 32, UNSPECIFIED},        /* RFC 1122 */
        {{0, 0, 0, 0}, 8, NONE},                /* this network, RFC 791 */
        {{10, 0, 0, 0}, 8, PRIVATE},            /* RFC 1918 */
        {{100, 64, 0, 0}, 10, SHARED},          /* behind a carrier's NAT, RFC 6598 */
        {{127, 0, 0, 0}, 8, LOOPBACK},          /* RFC 1122 */
        {{169, 254, 0, 0}, 16, LINK_LOCAL},     /* RFC 3927 */
        {{172, 16, 0, 0}, 12, PRIVATE},         /* RFC 1918 */
        {{192, 0, 0, 9}, 32, GLOBAL},           /* port control anycast, RFC 7723 */
        {{192, 0, 0, 10}, 32, GLOBAL},          /* TURN anycast, RFC 8155 */
        {{192, 0, 0, 0}, 24, NONE},             /* IETF protocol assignments, RFC 6890 */
        {{192, 0, 2, 0}, 24, DOCUMENTATION},    /* RFC 5737 */
        {{192, 88, 99, 0}, 24, NONE},           /* 6to4 relays, withdrawn by RFC 7526 */
        {{192, 168, 0, 0}, 16, PRIVATE},        /* RFC 1918 */
        {{198, 18, 0, 0}, 15, NONE},            /* benchmarking, RFC 2544 */
        {{198, 51, 100, 0}, 24, DOCUMENTATION}, /* RFC 5737 */
        {{203, 0, 113, 0}, 24, DOCUMENTATION},  /* RFC 5737 */
        {{224, 0, 0, 0}, 4, MULTICAST},         /* RFC 5771 */
        {{240, 0, 0, 0}, 4, NONE},              /* reserved, RFC 1112, and limited broadcast */
        {{0, 0, 0, 0}, 0, GLOBAL},
};

static const struct row6 table6[] = {
        {0, 0, 128, UNSPECIFIED},                   /* RFC 4291 */
        {0, 1, 128, LOOPBACK},                      /* RFC 4291 */
        {0x0064ff9b00000000, 0, 96, GLOBAL},        /* IPv4 translated, RFC 6052 */
        {0x2001000100000000, 1, 128, GLOBAL},       /* port control anycast, RFC 7723 */
        {0x2001000100000000, 2, 128, GLOBAL},       /* TURN anycast, RFC 8155 */
        {0x2001000100000000, 3, 128, GLOBAL},       /* DNS-SD registration anycast, RFC 9665 */
        {0x2001000300000000, 0, 32, GLOBAL},        /* AMT, RFC 7450 */
        {0x2001000401120000, 0, 48, GLOBAL},        /* AS112, RFC 7535 */
        {0x2001002000000000, 0, 28, GLOBAL},        /* ORCHIDv2, RFC 7343 */
        {0x2001003000000000, 0, 28, GLOBAL},        /* drone identifiers, RFC 9374 */
        {0x2001000000000000, 0, 23, NONE},          /* IETF assignments, RFC 2928; Teredo */
        {0x20010db800000000, 0, 32, DOCUMENTATION}, /* RFC 3849 */
        {0x2002000000000000, 0, 16, NONE},          /* 6to4, RFC 3056: not said to be global */
        {0x3fff000000000000, 0, 20, DOCUMENTATION}, /* RFC 9637 */
        {0x2000000000000000, 0, 3, GLOBAL},         /* global unicast, RFC 4291 */
        {0xfc00000000000000, 0, 7, PRIVATE},        /* unique local, RFC 4193 */
        {0xfe80000000000000, 0, 10, LINK_LOCAL},    /* RFC 4291 */
        {0xff00000000000000, 0, 8, MULTICAST},      /* RFC 4291 */
        {0, 0, 0, NONE},                            /* mapped IPv4, discard-only, reserved */
};

/* How many bits from the first on are equal. */
static uint32_t common(uint64_t a, uint64_t b)
{
	return a == b ? 64 : (uint32_t)__builtin_clzll(a ^ b);
}

static uint32_t kind4(uint32_t address)
{
	uint32_t alike = MT_ADDRESS_ALIKE;
	for (const struct row4 *row = table4;; row++) {
		const uint8_t *p = row->prefix;
		uint32_t prefix = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
		uint32_t n = common((uint64_t)address << 32, (uint64_t)prefix << 32);
		if (n >= 16 && row->bits > 16)
			alike = 0; /* others with these 16 bits may be of another kind */
		if (n >= row->bits)
			return row->kind | alike;
	}
}

static uint32_t kind6(uint64_t high, uint64_t low)
{
	uint32_t alike = MT_ADDRESS_ALIKE;
	for (const struct row6 *row = table6;; row++) {
		uint32_t n = common(high, row->high);
		if (n == 64)
			n += common(low, row->low);
		if (n >= 32 && row->bits > 32)
			alike = 0;
		if (n >= row->bits)
			return row->kind | alike;
	}
}

uint32_t mt_address_kind(uint64_t high, uint64_t low, uint32_t len)
{
	return len == 4 ? kind4((uint32_t)(be64toh(high) >> 32)) : kind6(be64toh(high), be64toh(low));
}
