/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netset_ranges.c - the range that a number lies in, of up to some millions; asked once a packet.
 *
 * A binary search of two million ranges is 21 steps, ten of which miss the caches.  So a table of slots of
 * equal width lies over the keys, about one for two keys; a slot that holds many gets a table of
 * its own, which begins at its first key and is as narrow as its keys allow (prefixes come in clusters,
 * those of IPv6 above all).  A search is then one or two steps through tables and a handful of keys
 * in one or two cache lines.  Where keys lie so that this does not help, the tables end at MOST_LEVELS
 * and the search is binary from there on: its time and the memory, 16 bytes a key, are bounded.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "netset.h"

enum {
	MOST_LEVELS = 4,
	MANY = 16, /* keys in a slot that are worth a table */
	CHILD = 0, /* mt_ranges_slot.n: it has a table */
	HUGE_PAGE = 1 << 21
};

struct mt_ranges_node {
	uint64_t base;  /* its first key */
	uint32_t first; /* its slots: slots[first] to slots[first + last] */
	uint32_t last;
	uint32_t shift;  /* a slot is 2^shift wide */
	uint32_t before; /* the key before its first */
};

struct mt_ranges_slot {
	uint32_t at; /* the last key before the slot, or its node */
	uint32_t n;  /* that key and those in the slot, or CHILD */
};

void *mt_ranges_memory(size_t bytes, double *sum)
{
	size_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
	size_t size = (bytes + unit - 1) / unit * unit;
	void *p = aligned_alloc(unit, size ? size : unit);
	if (!p)
		return NULL;
	if (unit == HUGE_PAGE)
		madvise(p, size, MADV_HUGEPAGE); /* a search meets a new page at every step */
	*sum += (double)size;
	return p;
}

/* --- making the tables ------------------------------------------------------------------- */

static void *grown(void *array, uint32_t n, uint32_t more, size_t size)
{
	/* Powers of two, so that most calls change nothing. */
	size_t room = 1, had = n ? 1 : 0;
	while (had && had < n)
		had *= 2;
	while (room < (size_t)n + more)
		room *= 2;
	return room == had ? array : realloc(array, room * size);
}

/* A node over keys[from] to keys[to - 1]; its number in *number.  Slots are not filled in. */
static int add_node(struct mt_ranges *r, uint32_t from, uint32_t to, uint32_t *number)
{
	uint64_t span = r->keys[to - 1] - r->keys[from];
	uint32_t wanted = (to - from) / 2 > 2 ? (to - from) / 2 : 2;
	struct mt_ranges_node node = {.base = r->keys[from], .first = r->n_slots, .before = from - !!from};
	while (span >> node.shift >= wanted)
		node.shift++;
	node.last = (uint32_t)(span >> node.shift);

	void *nodes = grown(r->nodes, r->n_nodes, 1, sizeof *r->nodes);
	if (!nodes)
		return -1;
	r->nodes = nodes;
	void *slots = grown(r->slots, r->n_slots, node.last + 1, sizeof *r->slots);
	if (!slots)
		return -1;
	r->slots = slots;
	*number = r->n_nodes;
	r->nodes[r->n_nodes++] = node;
	r->n_slots += node.last + 1;
	return 0;
}

static int make_table(struct mt_ranges *r, uint32_t from, uint32_t to, int level, uint32_t *number)
{
	if (add_node(r, from, to, number))
		return -1;
	struct mt_ranges_node node = r->nodes[*number];
	uint32_t a = from;
	for (uint32_t k = 0; k <= node.last; k++) {
		uint32_t b = a;
		while (b < to && (r->keys[b] - node.base) >> node.shift <= k)
			b++;
		uint32_t at = a > from ? a - 1 : from;
		struct mt_ranges_slot slot = {.at = at, .n = b - at};
		if (b - a > MANY && level < MOST_LEVELS) {
			slot.n = CHILD;
			if (make_table(r, a, b, level + 1, &slot.at))
				return -1;
		}
		r->slots[node.first + k] = slot;
		a = b;
	}
	return 0;
}

/* Move what grew to memory of its size. */
static int settle(struct mt_ranges *r)
{
	void *slots = mt_ranges_memory(r->n_slots * sizeof *r->slots, &r->bytes);
	if (!slots)
		return -1;
	memcpy(slots, r->slots, r->n_slots * sizeof *r->slots);
	free(r->slots);
	r->slots = slots;
	r->bytes += (double)r->n_nodes * sizeof *r->nodes;
	return 0;
}

int mt_ranges_open(struct mt_ranges *r, uint64_t *keys, uint32_t n)
{
	uint32_t root;
	*r = (struct mt_ranges){.keys = keys, .n = n};
	return make_table(r, 0, n, 1, &root) || settle(r) ? -1 : 0;
}

void mt_ranges_close(struct mt_ranges *r)
{
	free(r->keys);
	free(r->slots);
	free(r->nodes);
	*r = (struct mt_ranges){.n = 0};
}

/* --- searching --------------------------------------------------------------------------- */

uint32_t mt_ranges_find(const struct mt_ranges *r, uint64_t x)
{
	const struct mt_ranges_slot *slot;
	uint32_t number = 0;
	do {
		const struct mt_ranges_node *node = &r->nodes[number];
		if (x < node->base)
			return node->before;
		uint64_t k = (x - node->base) >> node->shift;
		slot = &r->slots[node->first + (k < node->last ? k : node->last)];
		number = slot->at;
	} while (slot->n == CHILD);

	uint32_t at = slot->at;
	for (uint32_t n = slot->n, half; n > 1; n -= half) {
		half = n / 2;
		at = r->keys[at + half] <= x ? at + half : at;
	}
	return at;
}
