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

enum { CACHE = 1 << 15 };

struct entry {
	struct mt_address in, out; /* in.len 0: empty */
};

struct mt_cryptopan {
	struct aes128_ctx aes;
	uint8_t pad[AES_BLOCK_SIZE];
	struct entry *cache;
};

struct mt_cryptopan *mt_cryptopan_new(const char *key)
{
	struct mt_cryptopan *c = calloc(1, sizeof *c);
	if (c)
		c->cache = calloc(CACHE, sizeof *c->cache);
	if (!c || !c->cache) {
		mt_cryptopan_free(c);
		return NULL;
	}
	aes128_set_encrypt_key(&c->aes, (const uint8_t *)key);
	aes128_encrypt(&c->aes, AES_BLOCK_SIZE, c->pad, (const uint8_t *)key + AES128_KEY_SIZE);
	return c;
}

void mt_cryptopan_free(struct mt_cryptopan *c)
{
	if (!c)
		return;
	free(c->cache);
	explicit_bzero(c, sizeof *c);
	free(c);
}

/* Address bytes as they stand in memory, in network order. */
static void map(struct mt_cryptopan *c, const struct mt_address *in, struct mt_address *out)
{
	uint8_t address[16], block[AES_BLOCK_SIZE], result[AES_BLOCK_SIZE];
	memcpy(address, &in->high, 8);
	memcpy(address + 8, &in->low, 8);
	memcpy(block, c->pad, sizeof block);
	uint8_t mapped[16] = {0};
	for (unsigned i = 0; i < in->len * 8; i++) {
		aes128_encrypt(&c->aes, sizeof block, result, block);
		uint8_t bit = (uint8_t)(0x80 >> i % 8);
		uint8_t flip = result[0] & 0x80 ? bit : 0;
		mapped[i / 8] |= (address[i / 8] & bit) ^ flip;
		/* the next block has one bit more of the address */
		block[i / 8] = (uint8_t)((block[i / 8] & ~bit) | (address[i / 8] & bit));
	}
	*out = (struct mt_address){.len = in->len};
	memcpy(&out->high, mapped, 8);
	memcpy(&out->low, mapped + 8, 8);
}

void mt_cryptopan_map(struct mt_cryptopan *c, struct mt_address *address)
{
	uint64_t hash = (address->high ^ address->low * 0x9e3779b97f4a7c15 ^ address->len) * 0xd6e8feb86659fd93;
	struct entry *e = &c->cache[hash >> 49];
	if (e->in.len != address->len || e->in.high != address->high || e->in.low != address->low) {
		struct mt_address in = {.high = address->high, .low = address->low, .len = address->len};
		map(c, &in, &e->out);
		e->in = in;
	}
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
