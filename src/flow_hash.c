/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flow_hash.c - a hash of addresses, protocol and ports that is the same both ways.
 *
 * Called by scripts for each packet that they sort into flows.  Both ends become 64-bit
 * numbers which are put in order before they are mixed: two multiplications for IPv4.
 */
#include <stdbool.h>
#include <string.h>

#include "abi.h"

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Multiply to 128 bits and fold: every bit of the result depends on every bit of a and b. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15) * (b ^ 0xd6e8feb86659fd93);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* One end of a flow, in 64 bits. */
static inline uint64_t hash_end(const uint8_t *address, bool v6, uint16_t port)
{
	uint64_t high, low;

	if (!v6)
		return (uint64_t)get32(address) << 16 | port;
	memcpy(&high, address, 8);
	memcpy(&low, address + 8, 8);
	return mix(high, low) + port;
}

uint32_t mt_flow_hash(const struct mt_packet *packet, const struct mt_decoded *d)
{
	if (d->src_offset == MT_NO_OFFSET)
		return 0;
	bool v6 = d->ip_version == 6;
	const uint8_t *address = packet->data + d->src_offset;
	uint64_t a = hash_end(address, v6, d->sport);
	uint64_t b = hash_end(address + (v6 ? 16 : 4), v6, d->dport);
	uint64_t low = a < b ? a : b, high = a < b ? b : a;
	uint64_t h = mix(mix(low, high), d->proto);
	uint32_t folded = (uint32_t)(h ^ h >> 32);
	return folded ? folded : 1;
}
