/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_wheel.c - places of a table in the order of 64-bit numbers: a hierarchical timing wheel.
 *
 * Eight wheels of 256 slots, one for each byte of a number: a place hangs in the wheel of the
 * highest byte in which its number differs from `base`, in the slot of that byte.  Whoever takes
 * places out opens the first slot, which turns `base` to it; its places go to lower wheels, or
 * are due when it was in the lowest.  So an exact order of nanoseconds costs a place at most
 * eight moves, mostly three or four.
 *
 * A place is not moved when its number rises; it is looked at when its old number comes, and put
 * where it belongs then.  Thus using an entry costs one store and no neighbour's cache line.
 * A place that became free stays, too: whoever has the place next has a larger number.
 *
 * A slot is a list of bundles, a cache line with 14 places each, so that it is read without
 * waiting for memory and the entries can be fetched together.
 *
 * Called for each new entry of a timed table, and when one's time may have come; some 20 ns.
 */
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum {
	BITS = 8, /* of a number for each level */
	/* Beside the full bundles: one that is not full in each slot, and one of a list in hand. */
	SPARE = MT_WHEEL_LEVELS * MT_WHEEL_SLOTS + 1,
	COMMIT = 1 << 17 /* bytes made usable at a time; a multiple of every page size there is */
};

_Static_assert(MT_WHEEL_LEVELS *BITS == 64 && MT_WHEEL_SLOTS == 1 << BITS, "every number has a slot");
_Static_assert(sizeof(struct mt_bundle) == 64, "a cache line");

static size_t whole_pages(size_t bytes)
{
	return (bytes + COMMIT - 1) / COMMIT * COMMIT;
}

static size_t bundle_bytes(uint32_t places)
{
	return whole_pages((places / MT_BUNDLE + 1 + SPARE) * sizeof(struct mt_bundle));
}

static size_t bit_bytes(uint32_t places)
{
	return whole_pages(places / 8 + 1);
}

/* --- life ---------------------------------------------------------------------------------- */

struct mt_wheel *mt_wheel_new(uint32_t places)
{
	struct mt_wheel *w = calloc(1, sizeof *w);
	if (!w)
		return NULL;
	w->places = places;
	w->bundles = (struct mt_bundle *)mt_pages_reserve(bundle_bytes(places));
	w->hanging = mt_pages_reserve(bit_bytes(places));
	if (w->bundles && w->hanging)
		return w;
	mt_wheel_free(w);
	return NULL;
}

void mt_wheel_free(struct mt_wheel *w)
{
	if (!w)
		return;
	mt_pages_free((uint8_t *)w->bundles, bundle_bytes(w->places));
	mt_pages_free(w->hanging, bit_bytes(w->places));
	free(w);
}

static int make_usable(uint8_t *pages, size_t *usable, size_t bytes)
{
	if (bytes <= *usable)
		return 0;
	if (mt_pages_commit(pages, *usable, bytes))
		return -1;
	*usable = bytes;
	return 0;
}

int mt_wheel_room(struct mt_wheel *w, uint32_t used)
{
	return make_usable((uint8_t *)w->bundles, &w->bundle_bytes, bundle_bytes(used)) ||
	                       make_usable(w->hanging, &w->hanging_bytes, bit_bytes(used))
	               ? -1
	               : 0;
}

void mt_wheel_clear(struct mt_wheel *w)
{
	mt_pages_wipe(w->hanging, w->hanging_bytes);
	memset(w->slots, 0, sizeof w->slots);
	w->levels = w->n_bundles = w->free_bundle = 0;
	w->base = 0;
}

size_t mt_wheel_bytes(const struct mt_wheel *w)
{
	return w ? sizeof *w + w->bundle_bytes + w->hanging_bytes : 0;
}

/* --- places go in -------------------------------------------------------------------------- */

void mt_wheel_turn(struct mt_wheel *w, uint64_t number)
{
	if (!w->levels && number > w->base)
		w->base = number;
}

bool mt_wheel_has(const struct mt_wheel *w, uint32_t place)
{
	return w->hanging[place / 8] >> place % 8 & 1;
}

static struct mt_bundle *bundle_at(struct mt_wheel *w, uint32_t bundle)
{
	return &w->bundles[bundle - 1];
}

/* An empty bundle before another: its number, from 1. */
static uint32_t new_bundle(struct mt_wheel *w, uint32_t next)
{
	uint32_t bundle = w->free_bundle;
	if (bundle)
		w->free_bundle = bundle_at(w, bundle)->next;
	else
		bundle = ++w->n_bundles;
	bundle_at(w, bundle)->next = next;
	bundle_at(w, bundle)->n = 0;
	return bundle;
}

void mt_wheel_push(struct mt_wheel *w, uint32_t place, uint64_t number)
{
	if (number < w->base)
		number = w->base;
	uint64_t difference = number ^ w->base;
	unsigned level = difference ? (unsigned)(63 - __builtin_clzll(difference)) / BITS : 0;
	unsigned slot = number >> level * BITS & (MT_WHEEL_SLOTS - 1);
	uint64_t *word = &w->slots[level][slot / 64], bit = UINT64_C(1) << slot % 64;
	uint32_t *head = &w->heads[level][slot];
	if (!(*word & bit))
		*head = new_bundle(w, 0);
	else if (bundle_at(w, *head)->n == MT_BUNDLE)
		*head = new_bundle(w, *head);
	struct mt_bundle *bundle = bundle_at(w, *head);
	bundle->places[bundle->n++] = place;
	w->hanging[place / 8] |= (uint8_t)(1 << place % 8);
	*word |= bit;
	w->levels |= 1U << level;
}

/* --- and come out -------------------------------------------------------------------------- */

/* The first slot of a level that has some. */
static unsigned first_slot(const struct mt_wheel *w, unsigned level)
{
	unsigned word = 0;
	while (!w->slots[level][word])
		word++;
	return word * 64 + (unsigned)__builtin_ctzll(w->slots[level][word]);
}

bool mt_wheel_first(const struct mt_wheel *w, uint64_t *number, bool *exact)
{
	if (!w->levels)
		return false;
	unsigned level = (unsigned)__builtin_ctz(w->levels), shift = level * BITS;
	uint64_t above = shift + BITS < 64 ? w->base >> (shift + BITS) << (shift + BITS) : 0;
	*number = above | (uint64_t)first_slot(w, level) << shift;
	*exact = level == 0;
	return true;
}

uint32_t mt_wheel_open(struct mt_wheel *w)
{
	bool exact;
	uint64_t number;
	if (!mt_wheel_first(w, &number, &exact))
		return 0;
	unsigned level = (unsigned)__builtin_ctz(w->levels), slot = first_slot(w, level);
	uint64_t *words = w->slots[level];
	w->base = number;
	words[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	if (!(words[0] | words[1] | words[2] | words[3]))
		w->levels &= ~(1U << level);
	return w->heads[level][slot];
}

uint32_t mt_wheel_take(struct mt_wheel *w, uint32_t *list, uint32_t places[MT_BUNDLE])
{
	if (!*list)
		return 0;
	struct mt_bundle *bundle = bundle_at(w, *list);
	uint32_t n = bundle->n, next = bundle->next;
	for (uint32_t i = 0; i < n; i++) {
		places[i] = bundle->places[i];
		w->hanging[places[i] / 8] &= (uint8_t) ~(1 << places[i] % 8);
	}
	bundle->next = w->free_bundle;
	w->free_bundle = *list;
	*list = next;
	if (next)
		__builtin_prefetch(bundle_at(w, next));
	return n;
}
