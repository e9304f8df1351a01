/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.h - hash tables outside of the Lua heap, with keys and values of fixed size.
 *
 * moontap.table for scripts (lua/moontap/table.lua); its C functions are in abi.h.  Made for
 * 5-tuple tables of a million flows that every packet is looked up in, 8 million packets a
 * second and more; where the Lua heap would stop for a second to grow, nothing here takes
 * longer than a system call.
 *
 * The way of a packet: the reading thread hashes the keys of a batch while it is ahead (table_key.c); the first
 * lookup of the batch calls mt_table_prepare, which hashes them if nobody has, fetches what they
 * need from memory side by side and notes each packet's entry and its generation; the other lookups read the
 * note and see by the generation whether it still holds.  A packet without one (a new flow, or no such key)
 * goes through mt_table_packet.  When a script asks for few packets of a batch, nothing is prepared and each
 * goes that way.
 *
 * Two parts in memory (table.c): entries side by side in the order of their coming, which never
 * move; and an index of hashes and places (table_index.c), which grows by moving a few items with
 * each new entry.
 *
 * A timed table (table_age.c) ends entries by itself.  Its time is the stream clock at the packet
 * or the boundary that a hook is called for, so what it holds at a lookup does not depend on batches.
 * Whoever looks something up first ends what is due (due_ns), which Lua then reports to the
 * script: C does not call Lua.
 *
 * Used by the hook thread alone, but for the hashes.
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

/* Random numbers for hashes, so that nobody who sends packets can choose them to fall together.  The same for
 * the whole run and all tables: hashes can be made before it is known which one they are for. */
const uint64_t *mt_key_seed(void);
/* Hashes of the keys of kind of a batch's packets, which is decoded if it is not yet; 0: a packet has no such
 * key, or it goes nowhere.  Any thread. */
void mt_key_hashes(enum mt_table_kind kind, struct mt_batch *batch, uint32_t hashes[MT_BATCH_PACKETS]);

static inline uint64_t mt_key_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Hash of a key of so many words; never 0. */
static inline __attribute__((always_inline)) uint32_t mt_key_hash(const uint64_t seed[3], const uint64_t *key,
                                                                  uint32_t words, uint64_t last_mask)
{
	uint64_t h = seed[0];
	uint32_t i = 0;
	for (; i + 1 < words; i += 2)
		h = mt_key_mix(key[i] ^ h, key[i + 1] ^ seed[1]);
	h = mt_key_mix(h ^ (i < words ? key[i] & last_mask : 0), seed[2]);
	uint32_t folded = (uint32_t)(h ^ h >> 32);
	return folded ? folded : 1;
}

/* --- the index --------------------------------------------------------------------------- */

/* Open addressing with linear steps.  An item is 0 (free), 1 (in the old one: has gone) or
 * hash << 32 | place + 2; its home is the low bits of the hash, so that the index grows without the keys. */
struct mt_index {
	uint64_t *items;
	size_t mask;  /* items - 1; a power of two less one */
	size_t taken; /* items that are not free */
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
/* Make sure that one more item fits.  False: no memory. */
bool mt_index_room(struct mt_index_pair *pair);
void mt_index_put(struct mt_index_pair *pair, uint32_t hash, uint32_t place);
void mt_index_remove(struct mt_index_pair *pair, uint32_t hash, uint32_t place);
size_t mt_index_bytes(const struct mt_index_pair *pair);

/* It will be removed soon: have it near. */
static inline void mt_index_fetch(const struct mt_index_pair *pair, uint32_t hash)
{
	__builtin_prefetch(&pair->now.items[hash & pair->now.mask], 1);
}

static inline uint64_t mt_index_item(uint32_t hash, uint32_t place)
{
	return (uint64_t)hash << 32 | (place + 2);
}

/* --- order by number ----------------------------------------------------------------------- */

enum { MT_WHEEL_LEVELS = 8, MT_WHEEL_SLOTS = 256, MT_BUNDLE = 14 };

/* Places that hang in the same slot. */
struct mt_bundle {
	uint32_t next; /* number of a bundle, from 1; 0: the last */
	uint32_t n, places[MT_BUNDLE];
};

/* See table_wheel.c. */
struct mt_wheel {
	uint64_t base;   /* no number is smaller */
	uint32_t levels; /* a bit for each that has places */
	uint32_t places; /* how many it is for */
	struct mt_bundle *bundles;
	uint32_t n_bundles, free_bundle; /* that were ever in use; the first that is not */
	uint8_t *hanging;                /* a bit for each place */
	size_t bundle_bytes, hanging_bytes;
	uint64_t slots[MT_WHEEL_LEVELS][MT_WHEEL_SLOTS / 64]; /* a bit for each that has places */
	uint32_t heads[MT_WHEEL_LEVELS][MT_WHEEL_SLOTS];      /* then its first bundle */
};

/* An empty wheel for so many places.  NULL: no memory. */
struct mt_wheel *mt_wheel_new(uint32_t places);
void mt_wheel_free(struct mt_wheel *w);
void mt_wheel_clear(struct mt_wheel *w);
/* Bytes that it takes; w may be NULL. */
size_t mt_wheel_bytes(const struct mt_wheel *w);
/* Memory for the first `used` places.  0, or -1: there is none. */
int mt_wheel_room(struct mt_wheel *w, uint32_t used);
/* No smaller number will come: saves moves, if the wheel is empty. */
void mt_wheel_turn(struct mt_wheel *w, uint64_t number);
/* Does the place hang in the wheel? */
bool mt_wheel_has(const struct mt_wheel *w, uint32_t place);
/* Hang a place in that does not.  A number that has passed counts as the first. */
void mt_wheel_push(struct mt_wheel *w, uint32_t place, uint64_t number);
/* The smallest number there may be; exact: it is that of every place in the first slot.  False: empty. */
bool mt_wheel_first(const struct mt_wheel *w, uint64_t *number, bool *exact);
/* Take the first slot off: a list for mt_wheel_take. */
uint32_t mt_wheel_open(struct mt_wheel *w);
/* The next places of a list.  Returns how many; 0: it is empty. */
uint32_t mt_wheel_take(struct mt_wheel *w, uint32_t *list, uint32_t places[MT_BUNDLE]);

/* --- the table ----------------------------------------------------------------------------- */

#define MT_NO_PLACE UINT32_MAX
#define MT_NO_TIME  INT64_MIN /* before the first packet */
#define MT_NEVER    INT64_MAX

/* An entry that waits for mt_table_next_ended. */
struct mt_ended {
	uint32_t place, reason;
};

struct mt_table_body {
	struct mt_table view; /* what Lua sees; the first member */
	struct mt_table_plan plan;
	struct mt_index_pair index;
	const uint64_t *seed;
	uint64_t last_mask;         /* what of the last word of a key is compared */
	uint32_t most;              /* places that there may be */
	size_t reserved, committed; /* bytes at view.entries */
	double generation;          /* of the last new entry */
	uint32_t free_place;        /* head of the list of free places, or MT_NO_PLACE */

	/* the batch in hand */
	uint32_t n;                        /* packets in it */
	bool hashed;                       /* hashes[] are right */
	uint32_t hashes[MT_BATCH_PACKETS]; /* of the keys of its packets; 0: no such key */

	/* a timed table */
	struct mt_wheel *times, *uses; /* by the time when an entry ends; by the last use; or NULL */
	struct mt_ended *ended;        /* from ended_head to n_ended */
	uint32_t ended_head, n_ended, ended_room;
	uint32_t reported; /* place that mt_table_next_ended gave last, or MT_NO_PLACE */
};

static inline struct mt_table_entry *mt_entry_at(const struct mt_table_body *t, uint32_t place)
{
	return (struct mt_table_entry *)(t->view.entries + (size_t)place * t->plan.entry_bytes);
}

static inline uint64_t *mt_entry_key(const struct mt_table_entry *entry)
{
	return (uint64_t *)(entry + 1);
}

static inline struct mt_table_age *mt_entry_age(const struct mt_table_body *t,
                                                const struct mt_table_entry *entry)
{
	return (struct mt_table_age *)((uint8_t *)(entry + 1) + t->plan.key_bytes);
}

static inline double *mt_entry_used(const struct mt_table_body *t, const struct mt_table_entry *entry)
{
	return (double *)(mt_entry_age(t, entry) + 1);
}

/* An entry may end soon: have what that needs near. */
void mt_table_fetch(const struct mt_table_body *t, const struct mt_table_entry *entry);
/* Take an entry out of the index; its place is not free yet. */
void mt_table_unlink(struct mt_table_body *t, struct mt_table_entry *entry);
void mt_table_free_place(struct mt_table_body *t, uint32_t place);

/* --- ages (table_age.c) -------------------------------------------------------------------- */

/* Make what a table needs that plan says is timed, or reports.  0, or -1: no memory. */
int mt_ages_open(struct mt_table_body *t);
void mt_ages_close(struct mt_table_body *t);
void mt_ages_clear(struct mt_table_body *t);
size_t mt_ages_bytes(const struct mt_table_body *t);
/* Memory for so many places.  0, or -1: there is none. */
int mt_ages_room(struct mt_table_body *t, uint32_t used);
/* Stream time at each packet of the batch in hand. */
void mt_ages_batch(struct mt_table_body *t, const struct mt_hook_state *state);
/* Time goes on to now_ns, if it is later. */
void mt_ages_set_now(struct mt_table_body *t, int64_t now_ns);
/* A new entry: it is used at now_ns. */
void mt_ages_new(struct mt_table_body *t, uint32_t place);
/* An entry is used at now_ns. */
void mt_ages_use(struct mt_table_body *t, struct mt_table_entry *entry);
/* End the least recently used entry.  False: there is none. */
bool mt_ages_evict(struct mt_table_body *t);

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
