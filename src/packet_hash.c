/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * packet_hash.c - a hash of a packet's captured bytes, to tell packets apart.
 *
 * XXH3 (xxHash 0.8), the same in every run and on every machine.
 */
#include <stdbool.h>

#include <xxhash.h>

#include "abi.h"

/* A part of the bytes that are hashed, up to the one that is left out. */
static void add(XXH3_state_t *state, const struct mt_packet *p, uint32_t *at, uint32_t to, uint32_t skip)
{
	to = to < p->caplen ? to : p->caplen;
	if (to > *at)
		XXH3_64bits_update(state, p->data + *at, to - *at);
	*at = to + skip > *at ? to + skip : *at;
}

double mt_packet_hash(const struct mt_packet *p, const struct mt_decoded *d, uint32_t ignore)
{
	bool is_ip = d->ip_version != 0 && d->l3_offset != MT_NO_OFFSET;
	uint32_t at = is_ip && (ignore & MT_HASH_IGNORE_LINK) ? d->l3_offset : 0;
	uint64_t hash;
	if (!is_ip || !(ignore & MT_HASH_IGNORE_TTL)) {
		hash = XXH3_64bits(p->data + at, at < p->caplen ? p->caplen - at : 0);
	} else {
		XXH3_state_t state;
		XXH3_64bits_reset(&state);
		if (d->ip_version == 4) {
			add(&state, p, &at, d->l3_offset + 8u, 1);
			add(&state, p, &at, d->l3_offset + 10u, 2);
		} else {
			add(&state, p, &at, d->l3_offset + 7u, 1);
		}
		add(&state, p, &at, p->caplen, 0);
		hash = XXH3_64bits_digest(&state);
	}
	return (double)(hash >> 11); /* what a double holds exactly */
}
