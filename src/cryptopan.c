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

#include "abi.h"

enum { SET_BITS = 14, WAYS = 4, CACHE = WAYS << SET_BITS };

struct entry {
	struct mt_address in, out; /* in.len 0: empty */
};

/* Of IPv4, which most addresses are: half a line of the processor's cache.  Before anything else is known, all
 * hold 0.0.0.0 and what becomes of it. */
struct ipv4_set {
	uint32_t in[WAYS], out[WAYS];
};

struct mt_cryptopan {
	struct aes128_ctx aes;
	uint8_t pad[AES_BLOCK_SIZE];
	struct ipv4_set *ipv4; /* 1 << SET_BITS */
	struct entry *cache;   /* of other addresses: sets of WAYS */
	unsigned next;         /* the one that is given up next, in any set */
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
		c->cache = calloc(CACHE, sizeof *c->cache);
		c->ipv4 = calloc((size_t)1 << SET_BITS, sizeof *c->ipv4);
	}
	if (!c || !c->cache || !c->ipv4) {
		mt_cryptopan_free(c);
		return NULL;
	}
	aes128_set_encrypt_key(&c->aes, (const uint8_t *)key);
	aes128_encrypt(&c->aes, AES_BLOCK_SIZE, c->pad, (const uint8_t *)key + AES128_KEY_SIZE);
	struct mt_address zero = {.len = 4}, mapped;
	map(c, &zero, &mapped);
	for (size_t i = 0; i < (size_t)1 << SET_BITS; i++)
		for (unsigned k = 0; k < WAYS; k++)
			memcpy(&c->ipv4[i].out[k], &mapped.high, 4);
	return c;
}

void mt_cryptopan_free(struct mt_cryptopan *c)
{
	if (!c)
		return;
	free(c->cache);
	free(c->ipv4);
	explicit_bzero(c, sizeof *c);
	free(c);
}

static bool same(const struct mt_address *a, const struct mt_address *b)
{
	return a->high == b->high && a->low == b->low && a->len == b->len;
}

static void map_ipv4(struct mt_cryptopan *c, struct mt_address *address)
{
	uint32_t in;
	memcpy(&in, &address->high, 4);
	struct ipv4_set *set = &c->ipv4[in * UINT32_C(0x9e3779b1) >> (32 - SET_BITS)];
	unsigned way = 0;
	while (way < WAYS && set->in[way] != in)
		way++;
	if (way == WAYS) {
		struct mt_address out;
		way = c->next++ % WAYS;
		map(c, address, &out);
		set->in[way] = in;
		memcpy(&set->out[way], &out.high, 4);
	}
	memcpy(&address->high, &set->out[way], 4);
}

void mt_cryptopan_map(struct mt_cryptopan *c, struct mt_address *address)
{
	if (address->len == 4) {
		map_ipv4(c, address);
		return;
	}
	uint64_t hash = (address->high ^ address->low * 0x9e3779b97f4a7c15 ^ address->len) * 0xd6e8feb86659fd93;
	struct entry *ways = &c->cache[(hash >> (64 - SET_BITS)) * WAYS];
	for (unsigned i = 0; i < WAYS; i++)
		if (same(&ways[i].in, address)) {
			*address = ways[i].out;
			return;
		}
	struct entry *e = &ways[c->next++ % WAYS];
	e->in = (struct mt_address){.high = address->high, .low = address->low, .len = address->len};
	map(c, &e->in, &e->out);
	*address = e->out;
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
