/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_topk.c - the keys with the largest sums: SpaceSaving with weights (Metwally, Agrawal, El Abbadi
 * 2005), merged as in Agarwal et al., "Mergeable Summaries" (2012).
 *
 * It watches m keys, some hundred to some ten thousand.  A key that is not watched takes the place of the one
 * with the smallest count and inherits that count, which is the most it can have had before: its error.  The
 * counts never add up to more than the total N of all weights, so the smallest, and with it every error, is at
 * most N/m; every key with a sum above that is watched.
 *
 * Counts are in a heap of four children a node (64 bytes: a cache line), since weights are any numbers.  Keys
 * are in slots of one size beside it, and an open-addressed index leads to them, a quarter of it used at most:
 * nobody can guess where a longer search ends.  A packet costs one look into the index, and a way down the heap
 * that is short for large counts.  The index is hashed with a random seed; no result depends on it.
 */
#include <stdlib.h>

#include "seed.h"
#include "sketch.h"

enum { CHILDREN = 4 };
#define NO_SLOT UINT32_MAX

struct heap_item {
	double count;
	uint32_t slot;
	uint32_t reserved;
};

struct index_item {
	uint32_t hash;
	uint32_t place; /* slot + 1; 0: free */
};

struct entry {
	double error;
	uint32_t hash;
	uint32_t len;
	uint8_t tag, turned;
	uint8_t reserved[6];
	uint8_t bytes[];
};

struct saved_head {
	uint32_t kind, counters, key_bytes, k, used, reserved;
	double total;
};

struct topk {
	struct mt_topk view; /* what Lua sees; the first member */
	uint64_t seed;
	uint32_t mask;
	size_t stride;          /* bytes from entry to entry */
	struct heap_item *heap; /* behind the last: infinite counts */
	uint32_t *at;           /* of each slot: its place in the heap */
	struct index_item *index;
	uint8_t *entries;
};

static inline struct entry *entry_of(const struct topk *t, uint32_t slot)
{
	return (struct entry *)(t->entries + slot * t->stride);
}

/* --- index --------------------------------------------------------------------------------- */

static uint32_t hash_of(const struct topk *t, const struct mt_sketch_key *key)
{
	uint64_t h = mt_sketch_hash(key, t->seed);
	return (uint32_t)(h ^ h >> 32);
}

static inline bool is_same(const struct entry *e, const struct mt_sketch_key *key)
{
	return e->tag == key->tag && e->len == key->len &&
	       !memcmp(e->bytes, mt_sketch_key_bytes(key), key->len);
}

static uint32_t find(const struct topk *t, const struct mt_sketch_key *key, uint32_t hash)
{
	for (uint32_t i = hash & t->mask; t->index[i].place; i = (i + 1) & t->mask) {
		uint32_t slot = t->index[i].place - 1;
		if (t->index[i].hash == hash && is_same(entry_of(t, slot), key))
			return slot;
	}
	return NO_SLOT;
}

static void index_put(struct topk *t, uint32_t hash, uint32_t slot)
{
	uint32_t i = hash & t->mask;
	while (t->index[i].place)
		i = (i + 1) & t->mask;
	t->index[i] = (struct index_item){.hash = hash, .place = slot + 1};
}

/* Items behind the one that goes move up, unless that is before their home. */
static void index_remove(struct topk *t, uint32_t hash, uint32_t slot)
{
	uint32_t gap = hash & t->mask;
	while (t->index[gap].place != slot + 1)
		gap = (gap + 1) & t->mask;
	for (uint32_t i = (gap + 1) & t->mask; t->index[i].place; i = (i + 1) & t->mask) {
		uint32_t steps = (i - t->index[i].hash) & t->mask;
		if (steps < ((i - gap) & t->mask))
			continue;
		t->index[gap] = t->index[i];
		gap = i;
	}
	t->index[gap].place = 0;
}

/* --- heap ---------------------------------------------------------------------------------- */

/* Every node has all its children. */
static size_t heap_size(uint32_t counters)
{
	return (size_t)counters + CHILDREN - 1;
}

static void begin_heap(struct topk *t)
{
	for (size_t i = 0; i < heap_size(t->view.counters); i++)
		t->heap[i].count = INFINITY;
}

static inline void heap_put(struct topk *t, uint32_t i, struct heap_item item)
{
	t->heap[i] = item;
	t->at[item.slot] = i;
}

/* The smallest of the children, without a branch: which it is nobody can guess. */
static inline uint32_t least_child(const struct topk *t, uint32_t first)
{
	const struct heap_item *child = &t->heap[first];
	uint32_t a = child[1].count < child[0].count;
	uint32_t b = 2 + (child[3].count < child[2].count);
	return first + (child[b].count < child[a].count ? b : a);
}

/* The item at i has grown. */
static void sink(struct topk *t, uint32_t i)
{
	struct heap_item item = t->heap[i];
	for (uint32_t first; (first = CHILDREN * i + 1) < t->view.used;) {
		uint32_t least = least_child(t, first);
		if (t->heap[least].count >= item.count)
			break;
		heap_put(t, i, t->heap[least]);
		i = least;
	}
	heap_put(t, i, item);
}

/* The item at i is new. */
static void rise(struct topk *t, uint32_t i)
{
	struct heap_item item = t->heap[i];
	for (uint32_t up; i > 0; i = up) {
		up = (i - 1) / CHILDREN;
		if (t->heap[up].count <= item.count)
			break;
		heap_put(t, i, t->heap[up]);
	}
	heap_put(t, i, item);
}

/* --- counting -------------------------------------------------------------------------------- */

static void set_entry(struct topk *t, uint32_t slot, const struct mt_sketch_key *key, uint32_t hash,
                      double error)
{
	struct entry *e = entry_of(t, slot);
	*e = (struct entry){
	        .error = error, .hash = hash, .len = key->len, .tag = key->tag, .turned = key->turned};
	memcpy(e->bytes, mt_sketch_key_bytes(key), key->len);
	index_put(t, hash, slot);
}

/* A key in a slot of its own, at the end of the heap. */
static void append(struct topk *t, const struct mt_sketch_key *key, uint32_t hash, double count, double error)
{
	uint32_t slot = t->view.used++;
	set_entry(t, slot, key, hash, error);
	heap_put(t, slot, (struct heap_item){.count = count, .slot = slot});
}

static void replace_smallest(struct topk *t, const struct mt_sketch_key *key, uint32_t hash, double weight)
{
	struct heap_item *root = &t->heap[0];
	index_remove(t, entry_of(t, root->slot)->hash, root->slot);
	set_entry(t, root->slot, key, hash, root->count);
	root->count += weight;
	sink(t, 0);
}

static void add(struct topk *t, const struct mt_sketch_key *key, double weight)
{
	if (weight == 0)
		return;
	t->view.total += weight;
	uint32_t hash = hash_of(t, key);
	uint32_t slot = find(t, key, hash);
	if (slot != NO_SLOT) {
		t->heap[t->at[slot]].count += weight;
		sink(t, t->at[slot]);
	} else if (t->view.used < t->view.counters) {
		append(t, key, hash, weight, 0);
		rise(t, t->view.used - 1);
	} else {
		replace_smallest(t, key, hash, weight);
	}
}

/* Bring a key that Lua made into the form that is kept here. */
static void finish(const struct topk *t, struct mt_sketch_key *key)
{
	mt_sketch_key_finish(key);
	if (key->tag == MT_KEY_STRING && key->len > t->view.key_bytes)
		key->len = t->view.key_bytes;
}

int mt_topk_packet(struct mt_topk *view, const struct mt_packet *packet, const struct mt_decoded *decoded,
                   double weight)
{
	struct mt_sketch_key key;
	if (!mt_sketch_key_of_packet(view->kind, packet, decoded, &key))
		return 0;
	add((struct topk *)view, &key, weight);
	return 1;
}

int mt_topk_key(struct mt_topk *view, struct mt_sketch_key *key, double weight)
{
	struct topk *t = (struct topk *)view;
	finish(t, key);
	add(t, key, weight);
	return 1;
}

/* --- answers --------------------------------------------------------------------------------- */

double mt_topk_bound(const struct mt_topk *view)
{
	return view->used < view->counters ? 0 : ((const struct topk *)view)->heap[0].count;
}

/* What an entry says; the bytes of its key stay where they are. */
static struct mt_topk_item item_of(const struct topk *t, uint32_t slot)
{
	const struct entry *e = entry_of(t, slot);
	struct mt_topk_item item = {
	        .count = t->heap[t->at[slot]].count,
	        .error = e->error,
	        .key = {.len = e->len, .tag = e->tag, .turned = e->turned},
	};
	if (e->tag == MT_KEY_STRING)
		item.key.text = (const char *)e->bytes;
	else
		memcpy(item.key.words, e->bytes, e->len);
	return item;
}

void mt_topk_get(const struct mt_topk *view, struct mt_sketch_key *key, struct mt_topk_item *item)
{
	const struct topk *t = (const struct topk *)view;
	finish(t, key);
	uint32_t slot = find(t, key, hash_of(t, key));
	double bound = mt_topk_bound(view);
	*item = (struct mt_topk_item){.count = bound, .error = bound};
	if (slot != NO_SLOT)
		*item = item_of(t, slot);
}

/* Larger counts first; the rest is there for one order in every run. */
static int by_rank(const void *left, const void *right)
{
	const struct mt_topk_item *a = left, *b = right;
	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	if (a->error != b->error)
		return a->error < b->error ? -1 : 1;
	if (a->key.tag != b->key.tag)
		return a->key.tag < b->key.tag ? -1 : 1;
	if (a->key.len != b->key.len)
		return a->key.len < b->key.len ? -1 : 1;
	return memcmp(mt_sketch_key_bytes(&a->key), mt_sketch_key_bytes(&b->key), a->key.len);
}

int mt_topk_list(const struct mt_topk *view, struct mt_topk_item *items, uint32_t n)
{
	struct mt_topk_item *all = malloc((view->used + 1) * sizeof *all);
	if (!all)
		return -1;
	for (uint32_t slot = 0; slot < view->used; slot++)
		all[slot] = item_of((const struct topk *)view, slot);
	qsort(all, view->used, sizeof *all, by_rank);
	n = n < view->used ? n : view->used;
	for (uint32_t i = 0; i < n; i++) {
		items[i] = all[i];
		mt_sketch_key_restore(&items[i].key);
	}
	free(all);
	return (int)n;
}

/* --- merge ----------------------------------------------------------------------------------- */

/* The keys of both in falling order.  Of a key that one of them does not watch, that one may have seen as
 * much as its smallest count: so much is added to count and error. */
static uint32_t collect(const struct topk *a, const struct topk *b, struct mt_topk_item *items)
{
	uint32_t n = 0;
	double bound_a = mt_topk_bound(&a->view), bound_b = mt_topk_bound(&b->view);
	for (uint32_t slot = 0; slot < a->view.used; slot++) {
		struct mt_topk_item item = item_of(a, slot);
		uint32_t same = find(b, &item.key, hash_of(b, &item.key));
		item.count += same == NO_SLOT ? bound_b : b->heap[b->at[same]].count;
		item.error += same == NO_SLOT ? bound_b : entry_of(b, same)->error;
		items[n++] = item;
	}
	for (uint32_t slot = 0; slot < b->view.used; slot++) {
		struct mt_topk_item item = item_of(b, slot);
		if (find(a, &item.key, hash_of(a, &item.key)) != NO_SLOT)
			continue;
		item.count += bound_a;
		item.error += bound_a;
		items[n++] = item;
	}
	qsort(items, n, sizeof *items, by_rank);
	return n;
}

int mt_topk_merge(struct mt_topk *view, const struct mt_topk *other)
{
	struct topk *t = (struct topk *)view;
	struct mt_topk_item *items = malloc(((size_t)view->used + other->used + 1) * sizeof *items);
	struct mt_topk *sum = mt_topk_new(view->kind, view->counters, view->key_bytes, view->k);
	if (!items || !sum) {
		free(items);
		mt_topk_free(sum);
		return -1;
	}
	uint32_t n = collect(t, (const struct topk *)other, items);
	struct topk *s = (struct topk *)sum;
	for (uint32_t i = n < view->counters ? n : view->counters; i-- > 0;) /* rising: that is a heap */
		append(s, &items[i].key, hash_of(s, &items[i].key), items[i].count, items[i].error);
	sum->total = view->total + other->total;
	struct topk old = *t;
	*t = *s;
	*s = old;
	mt_topk_free(sum);
	free(items);
	return 0;
}

/* --- saved state ------------------------------------------------------------------------------ */

size_t mt_topk_save(const struct mt_topk *view, uint8_t *to)
{
	const struct topk *t = (const struct topk *)view;
	struct mt_save save = {.to = to};
	struct saved_head head = {view->kind, view->counters, view->key_bytes, view->k, view->used,
	                          0,          view->total};
	mt_save_bytes(&save, &head, sizeof head);
	for (uint32_t i = 0; i < view->used; i++) { /* in the heap's order: it goes on as it would have */
		const struct entry *e = entry_of(t, t->heap[i].slot);
		uint8_t about[4] = {e->tag, e->turned};
		mt_save_bytes(&save, &t->heap[i].count, sizeof t->heap[i].count);
		mt_save_bytes(&save, &e->error, sizeof e->error);
		mt_save_bytes(&save, about, sizeof about);
		mt_save_bytes(&save, &e->len, sizeof e->len);
		mt_save_bytes(&save, e->bytes, e->len);
	}
	return save.size;
}

/* The next key; its text stays in the saved bytes. */
static bool read_key(struct mt_saved *saved, struct mt_sketch_key *key)
{
	uint8_t about[4];
	*key = (struct mt_sketch_key){.len = 0};
	if (!mt_saved_read(saved, about, sizeof about) || !mt_saved_read(saved, &key->len, sizeof key->len))
		return false;
	key->tag = about[0];
	key->turned = about[1] & 1;
	const uint8_t *bytes = mt_saved_take(saved, key->len);
	if (!bytes)
		return false;
	if (key->tag == MT_KEY_STRING) {
		key->text = (const char *)bytes;
		return true;
	}
	if (key->len != mt_sketch_key_len(key->tag))
		return false;
	memcpy(key->words, bytes, key->len);
	return true;
}

static bool restore_entry(struct topk *t, struct mt_saved *saved)
{
	double counted[2]; /* count, error */
	struct mt_sketch_key key;
	if (!mt_saved_read(saved, counted, sizeof counted) || !read_key(saved, &key))
		return false;
	uint32_t hash = hash_of(t, &key), at = t->view.used;
	if (!mt_are_sums(counted, 2) || counted[1] > counted[0] ||
	    (key.tag == MT_KEY_STRING && key.len > t->view.key_bytes) ||
	    !mt_sketch_key_is_sound(t->view.kind, &key) || find(t, &key, hash) != NO_SLOT ||
	    (at > 0 && t->heap[(at - 1) / CHILDREN].count > counted[0]))
		return false;
	append(t, &key, hash, counted[0], counted[1]);
	return true;
}

static bool restore_entries(struct topk *t, struct mt_saved *saved, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!restore_entry(t, saved))
			return false;
	return !saved->left;
}

struct mt_topk *mt_topk_restore(const uint8_t *bytes, size_t len)
{
	struct mt_saved saved = {.at = bytes, .left = len};
	struct saved_head head;
	if (!mt_saved_read(&saved, &head, sizeof head) || head.used > head.counters || !mt_is_sum(head.total))
		return NULL;
	struct mt_topk *view = mt_topk_new(head.kind, head.counters, head.key_bytes, head.k);
	if (!view)
		return NULL;
	view->total = head.total;
	if (restore_entries((struct topk *)view, &saved, head.used))
		return view;
	mt_topk_free(view);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

static bool is_sound(uint32_t kind, uint32_t counters, uint32_t key_bytes, uint32_t k)
{
	return kind <= MT_TABLE_DPORT && counters <= MT_TOPK_MOST_COUNTERS && k >= 1 && k <= counters &&
	       key_bytes >= 1 && key_bytes <= MT_TOPK_MOST_KEY_BYTES;
}

struct mt_topk *mt_topk_new(uint32_t kind, uint32_t counters, uint32_t key_bytes, uint32_t k)
{
	struct topk *t = is_sound(kind, counters, key_bytes, k) ? calloc(1, sizeof *t) : NULL;
	if (!t)
		return NULL;
	t->view = (struct mt_topk){.kind = kind, .counters = counters, .key_bytes = key_bytes, .k = k};
	uint32_t room = mt_sketch_key_len(kind == MT_TABLE_PARTS ? MT_KEY_ADDRESS : kind);
	if (kind == MT_TABLE_PARTS && key_bytes > room)
		room = key_bytes;
	t->stride = (sizeof(struct entry) + room + 7) / 8 * 8;
	if (counters > MT_TOPK_MOST_BYTES / t->stride) {
		free(t);
		return NULL;
	}
	size_t items = 4;
	while (items < 4 * (size_t)counters)
		items *= 2;
	t->mask = (uint32_t)items - 1;
	mt_seed_draw(&t->seed, 1);
	t->heap = calloc(heap_size(counters), sizeof *t->heap);
	t->at = calloc(counters, sizeof *t->at);
	t->index = calloc(items, sizeof *t->index);
	t->entries = calloc(counters, t->stride);
	t->view.memory = (double)(sizeof *t + items * sizeof *t->index + heap_size(counters) * sizeof *t->heap +
	                          counters * (sizeof *t->at + t->stride));
	if (t->heap && t->at && t->index && t->entries) {
		begin_heap(t);
		return &t->view;
	}
	mt_topk_free(&t->view);
	return NULL;
}

void mt_topk_clear(struct mt_topk *view)
{
	struct topk *t = (struct topk *)view;
	memset(t->index, 0, ((size_t)t->mask + 1) * sizeof *t->index);
	view->used = 0;
	view->total = 0;
	begin_heap(t);
}

void mt_topk_free(struct mt_topk *view)
{
	struct topk *t = (struct topk *)view;
	if (!t)
		return;
	free(t->heap);
	free(t->at);
	free(t->index);
	free(t->entries);
	free(t);
}
