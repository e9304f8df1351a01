/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.h - hash tables outside of the Lua heap, with keys and values of fixed size.
 *
 * moontap.table for scripts (lua/moontap/table.lua); its C functions are in abi.h.  Made for
 * 5-tuple tables of a million flows that every packet is looked up in, 8 million packets a
 * second and more; where the Lua heap would stop for a second to grow, nothing here takes
 * longer than a system call.
 *
 * The way of a packet: the first lookup of a batch calls mt_table_prepare, which makes the keys
 * of all its packets (table_key.c), fetches what they need from memory side by side and notes
 * each packet's entry; the other lookups read the note.  A packet without one (a new flow, or no
 * such key) goes through mt_table_packet.  When a script asks for few packets of a batch, nothing
 * is prepared and each goes that way.
 *
 * Two parts in memory (table.c): entries side by side in the order of their coming, which never
 * move; and an index of hashes and places (table_index.c), which grows by moving a few items with
 * each new entry.
 *
 * Where later work belongs: ageing walks `entries` a few places with each batch and calls
 * mt_table_remove; what happens at the limit is refuse() in table.c; saving and loading are the
 * entries in their order and a head with the layout, since nothing in them depends on the seed.
 *
 * Used by the hook thread alone.
 */
#ifndef MT_TABLE_H
#define MT_TABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

/* --- keys -------------------------------------------------------------------------------- */

enum { MT_KEY_WORDS = 5 }; /* 64-bit words of the longest key of a packet */

union mt_key {
	uint64_t words[MT_KEY_WORDS];
	struct mt_key_flow flow;
	struct mt_key_pair pair;
	struct mt_key_address address;
	struct mt_key_port port;
};

/* Make a key of kind from a packet, in the order that is the same for both directions where the
 * kind has no direction.  Words behind the kind's own are not touched.  False: the packet has no such key. */
bool mt_key_of_packet(enum mt_table_kind kind, const struct mt_packet *packet, const struct mt_decoded *decoded,
                      union mt_key *key);
/* Put the two ends of a key of kind into that order; turned says whether they were not. */
void mt_key_order(enum mt_table_kind kind, union mt_key *key);
/* Put them back into the order that the first packet had; turned becomes 0. */
void mt_key_restore(enum mt_table_kind kind, union mt_key *key);
/* What of the last word of a key of kind is compared: all but turned. */
uint64_t mt_key_last_mask(enum mt_table_kind kind);

/* --- the index --------------------------------------------------------------------------- */

/* Open addressing with linear steps.  An item is 0 (free), 1 (was removed) or hash << 32 | place + 2;
 * its home is the low bits of the hash, so that the index grows without the keys. */
struct mt_index {
	uint64_t *items;
	size_t mask;  /* items - 1; a power of two less one */
	size_t taken; /* items that are not free, removed ones too */
};

/* What of an index has not moved to the larger one yet, and the larger one. */
struct mt_index_pair {
	struct mt_index now, old; /* old.items is NULL most of the time */
	size_t moved;             /* items of old before this one are in now */
};

/* An index for n places.  0, or -1: no memory. */
int mt_index_open(struct mt_index_pair *pair, size_t n);
void mt_index_close(struct mt_index_pair *pair);
void mt_index_clear(struct mt_index_pair *pair);
/* Make sure that one more item fits beside live ones.  False: no memory. */
bool mt_index_room(struct mt_index_pair *pair, size_t live);
void mt_index_put(struct mt_index_pair *pair, uint32_t hash, uint32_t place);
void mt_index_remove(struct mt_index_pair *pair, uint32_t hash, uint32_t place);
size_t mt_index_bytes(const struct mt_index_pair *pair);

static inline uint64_t mt_index_item(uint32_t hash, uint32_t place)
{
	return (uint64_t)hash << 32 | (place + 2);
}

/* --- memory ------------------------------------------------------------------------------ */

enum { MT_HUGE_PAGE = 1 << 21 };

/* Address space of size bytes that can not be touched yet, aligned for huge pages; NULL: none. */
uint8_t *mt_pages_reserve(size_t size);
/* Make the bytes from..to of it usable; they are 0.  -1: no memory. */
int mt_pages_commit(uint8_t *base, size_t from, size_t to);
/* Make the first size bytes 0 again; large areas are given back to the system for that. */
void mt_pages_wipe(uint8_t *base, size_t size);
void mt_pages_free(uint8_t *base, size_t size);

#endif
