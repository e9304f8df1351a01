/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.c - entries of a table, and the lookup of a whole batch; see table.h.
 *
 * Places are taken in order, which is the order of iteration: the seed of the hashes shows nowhere.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
	FIRST_COMMIT = 1 << 16, /* bytes of entries made usable at first; then as many again */
	WORTH_PREPARING = 8     /* one packet in so many was asked for */
};

static struct mt_table_body *body(const struct mt_table *view)
{
	return (struct mt_table_body *)(uintptr_t)view;
}

static inline uint32_t place_of(const struct mt_table_body *t, const struct mt_table_entry *entry)
{
	return (uint32_t)((size_t)((const uint8_t *)entry - t->view.entries) / t->plan.entry_bytes);
}

/* --- hash and search ----------------------------------------------------------------------- */

static uint32_t hash_key(const struct mt_table_body *t, const uint64_t *key)
{
	return mt_key_hash(t->seed, key, t->plan.key_bytes / 8, t->last_mask);
}

static inline __attribute__((always_inline)) bool same_words(const struct mt_table_body *t, const uint64_t *a,
                                                             const uint64_t *b, uint32_t words)
{
	uint64_t difference = (a[words - 1] ^ b[words - 1]) & t->last_mask;
	for (uint32_t i = 0; i + 1 < words; i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

static inline bool same_key(const struct mt_table_body *t, const uint64_t *a, const uint64_t *b)
{
	uint32_t words = t->plan.key_bytes / 8;
	return words == MT_KEY_WORDS ? same_words(t, a, b, MT_KEY_WORDS) : same_words(t, a, b, words);
}

/* The first place at or behind item `at` whose hash is that one, or MT_NO_PLACE. */
static inline uint32_t next_place(const struct mt_index *index, uint32_t hash, size_t *at)
{
	for (uint64_t item; (item = index->items[*at]); *at = (*at + 1) & index->mask)
		if (item >> 32 == hash && (uint32_t)item > 1)
			return (uint32_t)item - 2;
	return MT_NO_PLACE;
}

static struct mt_table_entry *find_in(const struct mt_table_body *t, const struct mt_index *index,
                                      const uint64_t *key, uint32_t hash)
{
	size_t at = hash & index->mask;
	uint32_t place;
	while ((place = next_place(index, hash, &at)) != MT_NO_PLACE) {
		struct mt_table_entry *entry = mt_entry_at(t, place);
		if (same_key(t, mt_entry_key(entry), key))
			return entry;
		at = (at + 1) & index->mask;
	}
	return NULL;
}

static struct mt_table_entry *find(const struct mt_table_body *t, const uint64_t *key, uint32_t hash)
{
	struct mt_table_entry *entry = find_in(t, &t->index.now, key, hash);
	if (!entry && t->index.old.items)
		entry = find_in(t, &t->index.old, key, hash);
	return entry;
}

/* --- new entries --------------------------------------------------------------------------- */

static void warn_full(struct mt_table_body *t, const char *what, const char *then)
{
	if (!t->view.warned)
		mt_log_warn("a table of %s %s at %d entries: %s", t->plan.what, what, t->view.count, then);
	t->view.warned = 1;
}

/* There is room for no more: the packet's numbers go where they are counted and seen. */
static struct mt_table_entry *refuse(struct mt_table_body *t)
{
	const char *what = t->view.count >= t->view.limit ? "is full (limit)" : "got no memory";

	t->view.refused++;
	warn_full(t, what, "new keys are counted together in its overflow()");
	return t->view.overflow;
}

static bool make_room(struct mt_table_body *t)
{
	if (!t->uses)
		return false;
	warn_full(t, "is full (limit)", "for each new one the least recently used ends");
	return mt_ages_evict(t);
}

/* Memory for one place more at the end. */
static uint32_t new_place(struct mt_table_body *t)
{
	size_t end = ((size_t)t->view.used + 1) * t->plan.entry_bytes;
	if ((uint32_t)t->view.used >= t->most || mt_ages_room(t, (uint32_t)t->view.used + 1))
		return MT_NO_PLACE;
	if (end > t->committed) {
		size_t to = t->committed < FIRST_COMMIT   ? FIRST_COMMIT
		            : t->committed < MT_HUGE_PAGE ? t->committed * 2
		                                          : t->committed + MT_HUGE_PAGE;
		to = to < t->reserved ? to : t->reserved;
		if (mt_pages_commit(t->view.entries, t->committed, to))
			return MT_NO_PLACE;
		t->committed = to;
	}
	return (uint32_t)t->view.used++;
}

/* A place for an entry whose value is 0, or MT_NO_PLACE. */
static uint32_t take_place(struct mt_table_body *t)
{
	uint32_t place = t->free_place;
	if (place == MT_NO_PLACE)
		return new_place(t);
	struct mt_table_entry *entry = mt_entry_at(t, place);
	memcpy(&t->free_place, mt_entry_key(entry), sizeof t->free_place);
	memset(entry, 0, t->plan.entry_bytes);
	return place;
}

void mt_table_free_place(struct mt_table_body *t, uint32_t place)
{
	struct mt_table_entry *entry = mt_entry_at(t, place);
	entry->generation = 0;
	memcpy(mt_entry_key(entry), &t->free_place, sizeof t->free_place);
	t->free_place = place;
}

static struct mt_table_entry *insert(struct mt_table_body *t, const uint64_t *key, uint32_t hash)
{
	if (t->view.count >= t->view.limit && !make_room(t))
		return refuse(t);
	if (!mt_index_room(&t->index))
		return refuse(t);
	uint32_t place = take_place(t);
	if (place == MT_NO_PLACE)
		return refuse(t);
	struct mt_table_entry *entry = mt_entry_at(t, place);
	entry->generation = t->view.newest = ++t->generation;
	memcpy(mt_entry_key(entry), key, t->plan.key_bytes);
	mt_index_put(&t->index, hash, place);
	t->view.count++;
	if (t->plan.timed)
		mt_ages_new(t, place);
	return entry;
}

/* --- a batch ------------------------------------------------------------------------------- */

#define NOT_KNOWN (-1.0) /* a generation that no entry has */
#define CANDIDATE 0.0    /* the entry may be the packet's */

/* Has the key the other direction than the entry's, for which that makes no difference? */
static inline uint8_t goes_back(const struct mt_table_body *t, const struct mt_table_entry *entry,
                                const uint64_t *key)
{
	uint32_t last = t->plan.key_bytes / 8 - 1;
	return ((mt_entry_key(entry)[last] ^ key[last]) & ~t->last_mask) != 0;
}

static inline void note(struct mt_table_body *t, uint32_t i, struct mt_table_entry *entry, const uint64_t *key)
{
	t->view.noted[i] = entry ? entry->generation : NOT_KNOWN;
	if (!entry)
		return;
	t->view.entry[i] = entry;
	t->view.back[i] = goes_back(t, entry, key);
}

static inline void note_absent(struct mt_table_body *t, uint32_t i)
{
	t->view.noted[i] = MT_NOTED_ABSENT;
	t->view.entry[i] = t->view.overflow;
}

/* Hashes of the batch; what the index has of them is on its way when it returns. */
static void take_hashes(struct mt_table_body *t, struct mt_batch *batch)
{
	if (batch->hash_kind == t->plan.kind)
		memcpy(t->hashes, batch->key_hash, batch->n * sizeof *t->hashes);
	else
		mt_key_hashes((enum mt_table_kind)t->plan.kind, batch, t->hashes);
	for (uint32_t i = 0; i < batch->n; i++)
		__builtin_prefetch(&t->index.now.items[t->hashes[i] & t->index.now.mask]);
	if (t->index.old.items)
		for (uint32_t i = 0; i < batch->n; i++)
			__builtin_prefetch(&t->index.old.items[t->hashes[i] & t->index.old.mask]);
}

/* Note the first entry with the right hash, unseen; it is on its way when the function returns.  Where there is
 * none, that is as good to know, until one is made. */
static void find_candidates(struct mt_table_body *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t hash = t->hashes[i];
		if (!hash)
			continue;
		size_t at = hash & t->index.now.mask;
		uint32_t place = next_place(&t->index.now, hash, &at);
		if (place == MT_NO_PLACE && t->index.old.items) {
			at = hash & t->index.old.mask;
			place = next_place(&t->index.old, hash, &at);
		}
		if (place == MT_NO_PLACE) {
			note_absent(t, i);
			continue;
		}
		struct mt_table_entry *entry = mt_entry_at(t, place);
		t->view.entry[i] = entry;
		t->view.noted[i] = CANDIDATE;
		__builtin_prefetch(entry, 1);
		__builtin_prefetch((uint8_t *)entry + t->plan.entry_bytes - 1, 1);
	}
}

/* Now that they are near: is it the key? */
static void check_candidates(struct mt_table_body *t, const struct mt_batch *batch)
{
	union mt_key key;
	for (uint32_t i = 0; i < t->n; i++) {
		struct mt_table_entry *entry = t->view.entry[i];
		if (t->view.noted[i] != CANDIDATE)
			continue;
		if (!mt_key_of_packet((enum mt_table_kind)t->plan.kind, &batch->packets[i], &batch->decode[i],
		                      &key))
			entry = NULL;
		else if (!same_key(t, mt_entry_key(entry), key.words))
			entry = find(t, key.words, t->hashes[i]);
		if (entry)
			note(t, i, entry, key.words);
		else
			note_absent(t, i);
	}
}

void mt_table_prepare(struct mt_table *view, struct mt_hook_state *state)
{
	struct mt_table_body *t = body(view);
	struct mt_batch *batch = state->batch;
	bool worth = (uint64_t)(uint32_t)view->asked * WORTH_PREPARING >= t->n;

	if (!batch->decoded)
		mt_batch_decode(batch);
	view->seq = batch->seq;
	view->asked = 0;
	t->n = batch->n;
	t->hashed = worth && t->plan.kind != MT_TABLE_PARTS;
	if (t->plan.timed)
		mt_ages_batch(t, state);
	for (uint32_t i = 0; i < t->n; i++)
		view->noted[i] = NOT_KNOWN;
	view->newest_noted = NOT_KNOWN;
	if (!t->hashed)
		return;
	batch->hash_wanted = t->plan.kind;
	take_hashes(t, batch);
	view->newest_noted = view->newest;
	find_candidates(t);
	check_candidates(t, batch);
}

/* --- one key ------------------------------------------------------------------------------- */

static struct mt_table_entry *look_up(struct mt_table_body *t, const uint64_t *key, uint32_t hash, bool add)
{
	struct mt_table_entry *entry = find(t, key, hash);
	if (!entry)
		return add ? insert(t, key, hash) : NULL;
	if (t->plan.timed)
		mt_ages_use(t, entry);
	return entry;
}

struct mt_table_entry *mt_table_packet(struct mt_table *view, const struct mt_packet *packet,
                                       const struct mt_decoded *decoded, int32_t i, int32_t add)
{
	struct mt_table_body *t = body(view);
	bool here = i >= 0 && (uint32_t)i < t->n;
	/* one that was cut or edited has another key now */
	bool noted = here && !packet->cut && !(packet->flags & MT_PACKET_EDITED);
	union mt_key key;
	if (i >= 0 && t->plan.timed)
		mt_ages_set_now(t, view->clock[i % MT_BATCH_PACKETS]);
	if (!mt_key_of_packet(t->plan.kind, packet, decoded, &key))
		return NULL;
	bool hashed = noted && t->hashed && t->hashes[i];
	struct mt_table_entry *entry =
	        look_up(t, key.words, hashed ? t->hashes[i] : hash_key(t, key.words), add);
	view->back_now = entry && entry != view->overflow && goes_back(t, entry, key.words);
	if (noted && entry != view->overflow)
		note(t, (uint32_t)i, entry, key.words);
	return entry;
}

struct mt_table_entry *mt_table_key(struct mt_table *view, const void *key, int32_t add)
{
	struct mt_table_body *t = body(view);
	const uint64_t *words = key;
	union mt_key ordered;
	if (t->plan.kind == MT_TABLE_FLOW || t->plan.kind == MT_TABLE_PAIR) {
		memcpy(&ordered, key, t->plan.key_bytes);
		mt_key_order(t->plan.kind, &ordered);
		words = ordered.words;
	}
	struct mt_table_entry *entry = look_up(t, words, hash_key(t, words), add);
	view->back_now = entry && entry != view->overflow && goes_back(t, entry, words);
	return entry;
}

/* Of two ages the whole: what one entry would have had that saw both. */
static void join_ages(struct mt_table_body *t, struct mt_table_entry *entry, const struct mt_table_entry *other)
{
	struct mt_table_age *mine = mt_entry_age(t, entry), *its = mt_entry_age(t, other);
	uint32_t last = t->plan.key_bytes / 8 - 1;
	if (its->first_ns < mine->first_ns || t->view.made) {
		mine->first_ns = its->first_ns;
		mt_entry_key(entry)[last] = mt_entry_key(other)[last]; /* who sent the first packet */
	}
	if (its->last_ns > mine->last_ns || t->view.made)
		mine->last_ns = its->last_ns;
	if (t->uses)
		*mt_entry_used(t, entry) = ++t->view.uses;
}

struct mt_table_entry *mt_table_absorb(struct mt_table *view, const struct mt_table_entry *other)
{
	struct mt_table_body *t = body(view);
	const uint64_t *key = mt_entry_key(other);
	uint32_t hash = hash_key(t, key);
	struct mt_table_entry *entry = find(t, key, hash);
	size_t head = sizeof *entry + t->plan.key_bytes;
	head += t->plan.timed ? sizeof(struct mt_table_age) : 0;
	head += t->uses ? sizeof(double) : 0;
	view->made = !entry;
	view->later =
	        !t->plan.timed || !entry || mt_entry_age(t, other)->last_ns >= mt_entry_age(t, entry)->last_ns;
	if (!entry)
		entry = insert(t, key, hash);
	if (entry == view->overflow) {
		view->made = 0;
		return entry;
	}
	if (t->plan.timed)
		join_ages(t, entry, other);
	if (view->made)
		memcpy((uint8_t *)entry + head, (const uint8_t *)other + head, t->plan.entry_bytes - head);
	return entry;
}

void mt_table_copy_key(const struct mt_table *view, const struct mt_table_entry *entry, void *key)
{
	const struct mt_table_body *t = body(view);
	union mt_key k;
	if (t->plan.kind == MT_TABLE_PARTS) {
		memcpy(key, mt_entry_key(entry), t->plan.key_bytes);
		return;
	}
	memcpy(&k, mt_entry_key(entry), t->plan.key_bytes);
	mt_key_restore(t->plan.kind, &k);
	memcpy(key, &k, t->plan.key_bytes);
}

/* --- removal ------------------------------------------------------------------------------- */

void mt_table_fetch(const struct mt_table_body *t, const struct mt_table_entry *entry)
{
	mt_index_fetch(&t->index, hash_key(t, mt_entry_key(entry)));
}

void mt_table_unlink(struct mt_table_body *t, struct mt_table_entry *entry)
{
	mt_index_remove(&t->index, hash_key(t, mt_entry_key(entry)), place_of(t, entry));
	t->view.count--;
}

int32_t mt_table_remove(struct mt_table *view, struct mt_table_entry *entry)
{
	struct mt_table_body *t = body(view);
	uintptr_t at = (uintptr_t)entry - (uintptr_t)view->entries;
	if (at >= (size_t)view->used * t->plan.entry_bytes)
		return 0;
	mt_table_unlink(t, entry);
	mt_table_free_place(t, place_of(t, entry));
	return 1;
}

void mt_table_clear(struct mt_table *view)
{
	struct mt_table_body *t = body(view);
	mt_index_clear(&t->index);
	mt_ages_clear(t);
	mt_pages_wipe(view->entries, (size_t)view->used * t->plan.entry_bytes);
	memset(view->overflow, 0, t->plan.entry_bytes);
	view->overflow->generation = ++t->generation;
	view->used = view->count = 0;
	view->refused = view->idle = view->active = view->evicted = 0;
	t->free_place = MT_NO_PLACE;
}

/* --- all of them --------------------------------------------------------------------------- */

int32_t mt_table_next(const struct mt_table *view, int32_t place)
{
	const struct mt_table_body *t = body(view);
	for (place++; place < view->used; place++)
		if (mt_entry_at(t, (uint32_t)place)->generation > 0)
			return place;
	return -1;
}

static int by_use(const void *a, const void *b, void *table)
{
	const struct mt_table_body *t = table;
	double i = *mt_entry_used(t, mt_entry_at(t, *(const uint32_t *)a));
	double j = *mt_entry_used(t, mt_entry_at(t, *(const uint32_t *)b));
	return (i > j) - (i < j);
}

uint32_t mt_table_places(const struct mt_table *view, uint32_t *places, uint32_t n)
{
	struct mt_table_body *t = body(view);
	uint32_t found = 0;
	for (uint32_t place = 0; place < (uint32_t)view->used && found < n; place++)
		if (mt_entry_at(t, place)->generation > 0)
			places[found++] = place;
	if (t->uses)
		qsort_r(places, found, sizeof *places, by_use, t);
	return found;
}

double mt_table_memory(const struct mt_table *view)
{
	const struct mt_table_body *t = body(view);
	return (double)(sizeof *t + t->plan.entry_bytes + t->committed + mt_index_bytes(&t->index) +
	                mt_ages_bytes(t));
}

/* --- life ---------------------------------------------------------------------------------- */

/* Entries that have ended and are not reported yet have places beside those of the limit: at
 * most as many again, when a script puts new ones in while old ones are reported to it.  That is
 * address space; memory is taken when it is used. */
static int open_entries(struct mt_table_body *t)
{
	size_t page = FIRST_COMMIT; /* a multiple of every page size there is */
	t->most = (uint32_t)t->plan.limit * 2;
	t->reserved = ((size_t)t->most * t->plan.entry_bytes + page - 1) / page * page;
	t->view.entries = mt_pages_reserve(t->reserved);
	t->view.overflow = calloc(1, t->plan.entry_bytes);
	return t->view.entries && t->view.overflow ? 0 : -1;
}

struct mt_table *mt_table_new(const struct mt_table_plan *plan)
{
	struct mt_table_body *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->plan = *plan;
	t->view.limit = (int32_t)plan->limit;
	t->last_mask = mt_key_last_mask((enum mt_table_kind)plan->kind);
	t->free_place = MT_NO_PLACE;
	t->seed = mt_key_seed();
	if (open_entries(t) || mt_index_open(&t->index, (size_t)plan->size) || mt_ages_open(t)) {
		mt_table_free(&t->view);
		return NULL;
	}
	t->view.overflow->generation = ++t->generation;
	for (uint32_t i = 0; i < MT_BATCH_PACKETS; i++) {
		t->view.entry[i] = t->view.overflow; /* always an address that can be read */
		t->view.noted[i] = NOT_KNOWN;
	}
	return &t->view;
}

void mt_table_free(struct mt_table *view)
{
	if (!view)
		return;
	struct mt_table_body *t = body(view);
	mt_index_close(&t->index);
	mt_ages_close(t);
	mt_pages_free(view->entries, t->reserved);
	free(view->overflow);
	free(t);
}
