/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cryptopan.c - Crypto-PAn: prefix-preserving anonymization of IP addresses.
 *
 * Two addresses that share their first n bits share them afterwards, and no more (J. Xu, J. Fan, M. H. Ammar,
 * S. B. Moon, "Prefix-preserving IP address anonymization: measurement-based security evaluation and a new
 * cryptography-based scheme", ICNP 2002).  Each bit of an address is flipped by the first bit of AES-128 of the
 * bits before it, filled up with a secret pad: 32 blocks for IPv4, 128 for IPv6, some microseconds.  So results
 * are kept in a cache that the addresses of a trace mostly hit.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/aes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cryptopan.h"

enum { SET_BITS = 14, WAYS = 4, SETS = 1 << SET_BITS, LINE = 64 };

/* A set of each cache is a line of the processor's cache or two.  Before anything else is known, all hold
 * the address 0 and what becomes of it. */
struct ipv4_set {
	uint32_t in[WAYS], out[WAYS];
};

struct ipv6 {
	uint64_t high, low;
};

struct ipv6_set {
	struct ipv6 in[WAYS], out[WAYS];
};

struct mt_cryptopan {
	struct aes128_ctx aes;
	uint8_t pad[AES_BLOCK_SIZE];
	struct ipv4_set *ipv4; /* SETS of each */
	struct ipv6_set *ipv6;
	unsigned next; /* the way that is given up next, in any set */
};

/* The first n bits of 64, from the highest on. */
static uint64_t first_bits(unsigned n)
{
	return n == 0 ? 0 : n >= 64 ? UINT64_MAX : ~(UINT64_MAX >> n);
}

/* All blocks of an address go through AES in one call, which is several times as fast as one by one. */
static void map(struct mt_cryptopan *c, const struct mt_address *in, struct mt_address *out)
{
	uint64_t blocks[2 * 128], pad[2], address[2] = {be64toh(in->high), be64toh(in->low)}, flips[2] = {0};
	unsigned bits = in->len * 8;
	memcpy(pad, c->pad, sizeof pad);
	pad[0] = be64toh(pad[0]);
	pad[1] = be64toh(pad[1]);
	for (unsigned i = 0; i < bits; i++) {
		uint64_t high = first_bits(i), low = first_bits(i < 64 ? 0 : i - 64);
		blocks[2 * i] = htobe64((address[0] & high) | (pad[0] & ~high));
		blocks[2 * i + 1] = htobe64((address[1] & low) | (pad[1] & ~low));
	}
	aes128_encrypt(&c->aes, (size_t)bits * AES_BLOCK_SIZE, (uint8_t *)blocks, (const uint8_t *)blocks);
	for (unsigned i = 0; i < bits; i++)
		flips[i / 64] |= (be64toh(blocks[2 * i]) >> 63) << (63 - i % 64);
	*out = (struct mt_address){
	        .high = htobe64(address[0] ^ flips[0]), .low = htobe64(address[1] ^ flips[1]), .len = in->len};
}

struct mt_cryptopan *mt_cryptopan_new(const char *key)
{
	struct mt_cryptopan *c = calloc(1, sizeof *c);
	if (c) {
		c->ipv4 = aligned_alloc(2 * LINE, SETS * sizeof *c->ipv4);
		c->ipv6 = aligned_alloc(2 * LINE, SETS * sizeof *c->ipv6);
	}
	if (!c || !c->ipv4 || !c->ipv6) {
		mt_cryptopan_free(c);
		return NULL;
	}
	aes128_set_encrypt_key(&c->aes, (const uint8_t *)key);
	aes128_encrypt(&c->aes, AES_BLOCK_SIZE, c->pad, (const uint8_t *)key + AES128_KEY_SIZE);
	struct mt_address zero = {.len = 4}, ipv4, ipv6;
	map(c, &zero, &ipv4);
	zero.len = 16;
	map(c, &zero, &ipv6);
	memset(c->ipv4, 0, SETS * sizeof *c->ipv4);
	memset(c->ipv6, 0, SETS * sizeof *c->ipv6);
	for (size_t i = 0; i < SETS; i++)
		for (unsigned k = 0; k < WAYS; k++) {
			memcpy(&c->ipv4[i].out[k], &ipv4.high, 4);
			c->ipv6[i].out[k] = (struct ipv6){ipv6.high, ipv6.low};
		}
	return c;
}

void mt_cryptopan_free(struct mt_cryptopan *c)
{
	if (!c)
		return;
	free(c->ipv4);
	free(c->ipv6);
	explicit_bzero(c, sizeof *c);
	free(c);
}

/* --- IPv4 --------------------------------------------------------------------------------------- */

static struct ipv4_set *ipv4_set(const struct mt_cryptopan *c, uint32_t address)
{
	return &c->ipv4[address * UINT32_C(0x9e3779b1) >> (32 - SET_BITS)];
}

void mt_cryptopan_expect_ipv4(const struct mt_cryptopan *c, uint32_t address)
{
	__builtin_prefetch(ipv4_set(c, address));
}

static MT_SELDOM unsigned add_ipv4(struct mt_cryptopan *c, struct ipv4_set *set, uint32_t address)
{
	struct mt_address in = {.len = 4}, out;
	unsigned way = c->next++ % WAYS;
	memcpy(&in.high, &address, 4);
	map(c, &in, &out);
	set->in[way] = address;
	memcpy(&set->out[way], &out.high, 4);
	return way;
}

/* Which way holds the address is as good as random: no branch could be foretold. */
uint32_t mt_cryptopan_map_ipv4(struct mt_cryptopan *c, uint32_t address)
{
	struct ipv4_set *set = ipv4_set(c, address);
	unsigned way = (set->in[1] == address) | (set->in[2] == address) << 1 | (set->in[3] == address) * 3;
	if (set->in[way] != address)
		way = add_ipv4(c, set, address);
	return set->out[way];
}

/* --- IPv6 --------------------------------------------------------------------------------------- */

static struct ipv6_set *ipv6_set(const struct mt_cryptopan *c, uint64_t high, uint64_t low)
{
	return &c->ipv6[(high ^ low * 0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 >> (64 - SET_BITS)];
}

void mt_cryptopan_expect_ipv6(const struct mt_cryptopan *c, uint64_t high, uint64_t low)
{
	const struct ipv6_set *set = ipv6_set(c, high, low);
	__builtin_prefetch(set->in);
	__builtin_prefetch(set->out);
}

static MT_SELDOM unsigned add_ipv6(struct mt_cryptopan *c, struct ipv6_set *set, uint64_t high, uint64_t low)
{
	struct mt_address in = {.high = high, .low = low, .len = 16}, out;
	unsigned way = c->next++ % WAYS;
	map(c, &in, &out);
	set->in[way] = (struct ipv6){high, low};
	set->out[way] = (struct ipv6){out.high, out.low};
	return way;
}

void mt_cryptopan_map_ipv6(struct mt_cryptopan *c, uint64_t *high, uint64_t *low)
{
	struct ipv6_set *set = ipv6_set(c, *high, *low);
	unsigned way = 0;
	for (unsigned i = 1; i < WAYS; i++)
		way |= i * ((set->in[i].high == *high) & (set->in[i].low == *low));
	if (set->in[way].high != *high || set->in[way].low != *low)
		way = add_ipv6(c, set, *high, *low);
	*high = set->out[way].high;
	*low = set->out[way].low;
}

void mt_cryptopan_map(struct mt_cryptopan *c, struct mt_address *address)
{
	if (address->len == 4) {
		uint32_t ipv4;
		memcpy(&ipv4, &address->high, 4);
		ipv4 = mt_cryptopan_map_ipv4(c, ipv4);
		memcpy(&address->high, &ipv4, 4);
	} else
		mt_cryptopan_map_ipv6(c, &address->high, &address->low);
}

int32_t mt_key_file_read(const char *path, char *key, uint32_t len, char *why, uint32_t size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st)) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	char more;
	ssize_t n = -1;
	if (!S_ISREG(st.st_mode))
		snprintf(why, size, "%s: expected a file", path);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		snprintf(why, size, "%s: others may read or write it (mode %03o): chmod 600 it", path,
		         (unsigned)(st.st_mode & 0777));
	else if ((n = read(fd, key, len)) != (ssize_t)len || read(fd, &more, 1) != 0)
		snprintf(why, size, "%s: expected %u bytes, found %lld", path, len, (long long)st.st_size);
	else
		n = 0;
	close(fd);
	return n == 0 ? 0 : -1;
}
