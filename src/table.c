/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.c - entries of a table, and the lookup of a whole batch; see table.h.
 *
 * The hash is keyed with random numbers that are drawn for each table, so that nobody who sends
 * packets can choose them to fall together.  Places are taken in order, which is the order of
 * iteration: the seed shows nowhere.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "seed.h"

enum {
	FIRST_COMMIT = 1 << 16, /* bytes of entries made usable at first; then as many again */
	WORTH_PREPARING = 8,    /* one packet in so many was asked for */
	MANY_REMOVED = 32       /* in one batch: its notes are given up */
};

#define NO_PLACE UINT32_MAX

struct table {
	struct mt_table view; /* what Lua sees; the first member */
	struct mt_index_pair index;
	uint64_t seed[3];
	uint64_t last_mask; /* what of the last word of a key is compared */
	enum mt_table_kind kind;
	uint32_t key_bytes, entry_bytes;
	size_t reserved, committed; /* bytes at view.entries */
	double generation;          /* of the last new entry */
	uint32_t free_place;        /* head of the list of removed entries, or NO_PLACE */
	bool warned;

	/* the batch in hand */
	uint32_t n;                        /* packets in it */
	uint32_t removed;                  /* entries removed since it was prepared */
	bool noting;                       /* view.entry[] is written */
	bool hashed;                       /* hashes and keys hold */
	uint32_t hashes[MT_BATCH_PACKETS]; /* 0: no key made */
	union mt_key *keys;                /* of its packets; NULL if kind is MT_TABLE_PARTS */
	char what[64];
};

static struct table *table_of(struct mt_table *view)
{
	return (struct table *)view;
}

static inline struct mt_table_entry *entry_at(const struct table *t, uint32_t place)
{
	return (struct mt_table_entry *)(t->view.entries + (size_t)place * t->entry_bytes);
}

static inline uint32_t place_of(const struct table *t, const struct mt_table_entry *entry)
{
	return (uint32_t)((size_t)((const uint8_t *)entry - t->view.entries) / t->entry_bytes);
}

static inline uint64_t *key_of(const struct mt_table_entry *entry)
{
	return (uint64_t *)(entry + 1);
}

/* --- hash and search ----------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Never 0. */
static inline uint32_t hash_key(const struct table *t, const uint64_t *key)
{
	uint32_t words = t->key_bytes / 8, i = 0;
	uint64_t h = t->seed[0];
	for (; i + 1 < words; i += 2)
		h = mix(key[i] ^ h, key[i + 1] ^ t->seed[1]);
	if (i < words)
		h = mix((key[i] & t->last_mask) ^ h, t->seed[2]);
	else
		h = mix(h, t->seed[2]);
	uint32_t folded = (uint32_t)(h ^ h >> 32);
	return folded ? folded : 1;
}

static inline bool same_key(const struct table *t, const uint64_t *a, const uint64_t *b)
{
	uint32_t last = t->key_bytes / 8 - 1;
	uint64_t difference = (a[last] ^ b[last]) & t->last_mask;
	for (uint32_t i = 0; i < last; i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

/* The first place at or behind item `at` whose hash is that one, or NO_PLACE. */
static inline uint32_t next_place(const struct mt_index *index, uint32_t hash, size_t *at)
{
	for (uint64_t item; (item = index->items[*at]); *at = (*at + 1) & index->mask)
		if (item >> 32 == hash && (uint32_t)item > 1)
			return (uint32_t)item - 2;
	return NO_PLACE;
}

static struct mt_table_entry *find_in(const struct table *t, const struct mt_index *index, const uint64_t *key,
                                      uint32_t hash)
{
	size_t at = hash & index->mask;
	uint32_t place;
	while ((place = next_place(index, hash, &at)) != NO_PLACE) {
		struct mt_table_entry *entry = entry_at(t, place);
		if (same_key(t, key_of(entry), key))
			return entry;
		at = (at + 1) & index->mask;
	}
	return NULL;
}

static struct mt_table_entry *find(const struct table *t, const uint64_t *key, uint32_t hash)
{
	struct mt_table_entry *entry = find_in(t, &t->index.now, key, hash);
	if (!entry && t->index.old.items)
		entry = find_in(t, &t->index.old, key, hash);
	return entry;
}

/* --- new entries --------------------------------------------------------------------------- */

static void count_bytes(struct table *t)
{
	size_t keys = t->keys ? MT_BATCH_PACKETS * sizeof *t->keys : 0;

	t->view.bytes = (double)(sizeof *t + keys + t->entry_bytes + t->committed + mt_index_bytes(&t->index));
}

/* There is room for no more: the packet's numbers go where they are counted and seen. */
static struct mt_table_entry *refuse(struct table *t)
{
	t->view.refused++;
	if (!t->warned) {
		bool full = t->view.count >= t->view.limit;
		mt_log_warn("a table of %s %s at %d entries: new keys are counted together in its overflow()",
		            t->what, full ? "is full (limit)" : "got no memory", t->view.count);
		t->warned = true;
	}
	return t->view.overflow;
}

/* A place for an entry whose value is 0, or NO_PLACE. */
static uint32_t take_place(struct table *t)
{
	uint32_t place = t->free_place;
	if (place != NO_PLACE) {
		struct mt_table_entry *entry = entry_at(t, place);
		memcpy(&t->free_place, key_of(entry), sizeof t->free_place);
		memset(entry, 0, t->entry_bytes);
		return place;
	}
	size_t end = ((size_t)t->view.used + 1) * t->entry_bytes;
	if (end > t->committed) {
		size_t to = t->committed < FIRST_COMMIT   ? FIRST_COMMIT
		            : t->committed < MT_HUGE_PAGE ? t->committed * 2
		                                          : t->committed + MT_HUGE_PAGE;
		to = to < t->reserved ? to : t->reserved;
		if (mt_pages_commit(t->view.entries, t->committed, to))
			return NO_PLACE;
		t->committed = to;
	}
	return (uint32_t)t->view.used++;
}

static struct mt_table_entry *insert(struct table *t, const uint64_t *key, uint32_t hash)
{
	if (t->view.count >= t->view.limit || !mt_index_room(&t->index, (size_t)t->view.count))
		return refuse(t);
	uint32_t place = take_place(t);
	if (place == NO_PLACE)
		return refuse(t);
	struct mt_table_entry *entry = entry_at(t, place);
	entry->generation = ++t->generation;
	memcpy(key_of(entry), key, t->key_bytes);
	mt_index_put(&t->index, hash, place);
	t->view.count++;
	count_bytes(t);
	return entry;
}

/* --- a batch ------------------------------------------------------------------------------- */

/* Keys and hashes of the batch; the index is on its way when it returns. */
static void make_keys(struct table *t, const struct mt_batch *batch)
{
	for (uint32_t i = 0; i < batch->n; i++) {
		const struct mt_packet *packet = &batch->packets[i];
		t->hashes[i] = 0;
		if (packet->verdict > MT_VERDICT_LAST_OUTPUT ||
		    !mt_key_of_packet(t->kind, packet, &batch->decode[i], &t->keys[i]))
			continue;
		uint32_t hash = hash_key(t, t->keys[i].words);
		t->hashes[i] = hash;
		__builtin_prefetch(&t->index.now.items[hash & t->index.now.mask]);
		if (t->index.old.items)
			__builtin_prefetch(&t->index.old.items[hash & t->index.old.mask]);
	}
}

/* Note the first entry with the right hash, unseen; it is on its way when the function returns. */
static void find_candidates(struct table *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t hash = t->hashes[i];
		if (!hash)
			continue;
		size_t at = hash & t->index.now.mask;
		uint32_t place = next_place(&t->index.now, hash, &at);
		if (place == NO_PLACE && t->index.old.items) {
			at = hash & t->index.old.mask;
			place = next_place(&t->index.old, hash, &at);
		}
		if (place == NO_PLACE)
			continue;
		struct mt_table_entry *entry = entry_at(t, place);
		t->view.entry[i] = entry;
		__builtin_prefetch(entry, 1);
		__builtin_prefetch((uint8_t *)entry + t->entry_bytes - 1, 1);
	}
}

static void check_candidates(struct table *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct mt_table_entry *entry = t->view.entry[i];
		if (entry && !same_key(t, key_of(entry), t->keys[i].words))
			t->view.entry[i] = find(t, t->keys[i].words, t->hashes[i]);
	}
}

void mt_table_prepare(struct mt_table *view, struct mt_batch *batch)
{
	struct table *t = table_of(view);
	bool worth = (uint64_t)(uint32_t)view->asked * WORTH_PREPARING >= t->n;

	if (!batch->decoded)
		mt_batch_decode(batch);
	view->seq = batch->seq;
	view->asked = 0;
	t->n = batch->n;
	t->removed = 0;
	t->noting = true;
	t->hashed = worth && t->keys;
	memset(view->entry, 0, batch->n * sizeof view->entry[0]);
	if (!t->hashed)
		return;
	make_keys(t, batch);
	find_candidates(t);
	check_candidates(t);
}

/* --- one key ------------------------------------------------------------------------------- */

static struct mt_table_entry *look_up(struct table *t, const uint64_t *key, uint32_t hash, bool add)
{
	struct mt_table_entry *entry = find(t, key, hash);
	return entry || !add ? entry : insert(t, key, hash);
}

struct mt_table_entry *mt_table_packet(struct mt_table *view, const struct mt_packet *packet,
                                       const struct mt_decoded *decoded, int32_t i, int32_t add)
{
	struct table *t = table_of(view);
	/* one that was cut or edited has another key now */
	bool noted = i >= 0 && (uint32_t)i < t->n && !packet->cut && !(packet->flags & MT_PACKET_EDITED);
	if (noted && t->hashed && t->hashes[i]) {
		struct mt_table_entry *entry = look_up(t, t->keys[i].words, t->hashes[i], add);
		if (t->noting && entry != view->overflow)
			view->entry[i] = entry;
		return entry;
	}
	union mt_key key;
	if (!mt_key_of_packet(t->kind, packet, decoded, &key))
		return NULL;
	struct mt_table_entry *entry = look_up(t, key.words, hash_key(t, key.words), add);
	if (noted && t->noting && entry != view->overflow)
		view->entry[i] = entry;
	return entry;
}

struct mt_table_entry *mt_table_key(struct mt_table *view, const void *key, int32_t add)
{
	struct table *t = table_of(view);
	const uint64_t *words = key;
	union mt_key ordered;
	if (t->kind == MT_TABLE_FLOW || t->kind == MT_TABLE_PAIR) {
		memcpy(&ordered, key, t->key_bytes);
		mt_key_order(t->kind, &ordered);
		words = ordered.words;
	}
	return look_up(t, words, hash_key(t, words), add);
}

void mt_table_copy_key(const struct mt_table *view, const struct mt_table_entry *entry, void *key)
{
	const struct table *t = (const struct table *)view;
	union mt_key k;
	if (t->kind == MT_TABLE_PARTS) {
		memcpy(key, key_of(entry), t->key_bytes);
		return;
	}
	memcpy(&k, key_of(entry), t->key_bytes);
	mt_key_restore(t->kind, &k);
	memcpy(key, &k, t->key_bytes);
}

/* --- removal ------------------------------------------------------------------------------- */

/* No note of the batch may lead to an entry that is gone. */
static void forget(struct table *t, const struct mt_table_entry *entry)
{
	if (!t->noting)
		return;
	if (++t->removed == MANY_REMOVED) {
		memset(t->view.entry, 0, t->n * sizeof t->view.entry[0]);
		t->noting = false;
		return;
	}
	for (uint32_t i = 0; i < t->n; i++)
		if (t->view.entry[i] == entry)
			t->view.entry[i] = NULL;
}

void mt_table_remove(struct mt_table *view, struct mt_table_entry *entry)
{
	struct table *t = table_of(view);
	uint32_t place = place_of(t, entry);
	mt_index_remove(&t->index, hash_key(t, key_of(entry)), place);
	forget(t, entry);
	entry->generation = 0;
	memcpy(key_of(entry), &t->free_place, sizeof t->free_place);
	t->free_place = place;
	view->count--;
}

void mt_table_clear(struct mt_table *view)
{
	struct table *t = table_of(view);
	mt_index_clear(&t->index);
	mt_pages_wipe(view->entries, (size_t)view->used * t->entry_bytes);
	memset(view->entry, 0, sizeof view->entry);
	memset(view->overflow, 0, t->entry_bytes);
	view->overflow->generation = ++t->generation;
	view->used = view->count = 0;
	view->refused = 0;
	t->free_place = NO_PLACE;
	count_bytes(t);
}

/* --- life ---------------------------------------------------------------------------------- */

struct mt_table *mt_table_new(uint32_t kind, uint32_t key_bytes, uint32_t entry_bytes, double size,
                              double limit, const char *what)
{
	struct table *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->kind = (enum mt_table_kind)kind;
	t->key_bytes = key_bytes;
	t->entry_bytes = entry_bytes;
	t->last_mask = mt_key_last_mask(t->kind);
	t->free_place = NO_PLACE;
	t->view.limit = (int32_t)limit;
	snprintf(t->what, sizeof t->what, "%s", what);
	mt_seed_draw(t->seed, sizeof t->seed / sizeof t->seed[0]);
	size_t page = FIRST_COMMIT; /* a multiple of every page size there is */
	t->reserved = ((size_t)limit * entry_bytes + page - 1) / page * page;
	t->view.entries = mt_pages_reserve(t->reserved);
	t->view.overflow = calloc(1, entry_bytes);
	if (kind != MT_TABLE_PARTS)
		t->keys = calloc(MT_BATCH_PACKETS, sizeof *t->keys);
	if (!t->view.entries || !t->view.overflow || (kind != MT_TABLE_PARTS && !t->keys) ||
	    mt_index_open(&t->index, (size_t)size)) {
		mt_table_free(&t->view);
		return NULL;
	}
	t->view.overflow->generation = ++t->generation;
	count_bytes(t);
	return &t->view;
}

void mt_table_free(struct mt_table *view)
{
	if (!view)
		return;
	struct table *t = table_of(view);
	mt_index_close(&t->index);
	mt_pages_free(view->entries, t->reserved);
	free(view->overflow);
	free(t->keys);
	free(t);
}
