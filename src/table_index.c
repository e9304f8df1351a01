/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_index.c - where in a table an entry with a certain hash is; and the pages of tables.
 *
 * At most three quarters of the items are taken, of a small index half as many: nobody can guess where a longer
 * search ends, and a wrong guess costs more than all else where memory is near.  Then a new index is made and
 * each new entry moves MOVED items of the old one, so that the old one is empty long before the new one is
 * full: no packet waits for more than that.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "table.h"

enum {
	MIN_ITEMS = 64,
	SMALL_ITEMS = 1 << 15, /* 256 KiB */
	MOVED = 16             /* items moved with each new entry */
};

/* --- memory ------------------------------------------------------------------------------ */

uint8_t *mt_pages_reserve(size_t size)
{
	if (size > SIZE_MAX - 2 * (size_t)MT_HUGE_PAGE)
		return NULL;
	size_t room = size + MT_HUGE_PAGE;
	/* cppcheck-suppress invalidFunctionArg ; -1 is what an anonymous mapping takes */
	uint8_t *p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t head = -(uintptr_t)p % MT_HUGE_PAGE;
	if (head)
		munmap(p, head);
	munmap(p + head + size, room - head - size);
	/* cppcheck-suppress deallocret ; only what is before and behind it was given back */
	return p + head;
}

int mt_pages_commit(uint8_t *base, size_t from, size_t to)
{
	if (mprotect(base + from, to - from, PROT_READ | PROT_WRITE))
		return -1;
	if (to - from >= MT_HUGE_PAGE)
		madvise(base + from, to - from, MADV_HUGEPAGE); /* worth half as much again */
	return 0;
}

void mt_pages_wipe(uint8_t *base, size_t size)
{
	if (size < MT_HUGE_PAGE || madvise(base, size, MADV_DONTNEED))
		memset(base, 0, size);
}

void mt_pages_free(uint8_t *base, size_t size)
{
	if (base)
		munmap(base, size);
}

/* --- one index --------------------------------------------------------------------------- */

static size_t bytes_of(const struct mt_index *index)
{
	return index->items ? (index->mask + 1) * sizeof *index->items : 0;
}

static bool is_paged(size_t bytes)
{
	return bytes >= MT_HUGE_PAGE;
}

static int open_one(struct mt_index *index, size_t n_items)
{
	size_t bytes = n_items * sizeof *index->items;
	*index = (struct mt_index){.mask = n_items - 1};
	if (!is_paged(bytes)) {
		index->items = calloc(n_items, sizeof *index->items);
		return index->items ? 0 : -1;
	}
	uint8_t *pages = mt_pages_reserve(bytes);
	if (pages && mt_pages_commit(pages, 0, bytes)) {
		mt_pages_free(pages, bytes);
		pages = NULL;
	}
	index->items = (uint64_t *)pages;
	return pages ? 0 : -1;
}

static void close_one(struct mt_index *index)
{
	size_t bytes = bytes_of(index);
	if (is_paged(bytes))
		mt_pages_free((uint8_t *)index->items, bytes);
	else
		free(index->items);
	index->items = NULL;
}

/* How many of its items may be taken. */
static size_t most_of(size_t n_items)
{
	return n_items <= SMALL_ITEMS ? n_items / 8 * 3 : n_items / 4 * 3;
}

static void put_one(struct mt_index *index, uint64_t item)
{
	size_t at = (size_t)(item >> 32) & index->mask;
	while (index->items[at])
		at = (at + 1) & index->mask;
	index->items[at] = item;
	index->taken++;
}

/* Where an item is, or SIZE_MAX. */
static size_t find_item(const struct mt_index *index, uint64_t item)
{
	size_t at = (size_t)(item >> 32) & index->mask;
	for (; index->items[at]; at = (at + 1) & index->mask)
		if (index->items[at] == item)
			return at;
	return SIZE_MAX;
}

/* Items behind a gap that could not have their home before it move up: there are no marks of what was
 * removed, however often that happens. */
static void close_gap(struct mt_index *index, size_t gap)
{
	size_t mask = index->mask, at = gap;
	uint64_t item;
	while (at = (at + 1) & mask, (item = index->items[at])) {
		size_t home = (size_t)(item >> 32) & mask;
		if (((at - home) & mask) < ((at - gap) & mask))
			continue;
		index->items[gap] = item;
		gap = at;
	}
	index->items[gap] = 0;
	index->taken--;
}

/* --- the pair ---------------------------------------------------------------------------- */

int mt_index_open(struct mt_index_pair *pair, size_t n)
{
	size_t n_items = MIN_ITEMS;
	while (most_of(n_items) < n)
		n_items *= 2;
	*pair = (struct mt_index_pair){.moved = 0};
	return open_one(&pair->now, n_items);
}

void mt_index_close(struct mt_index_pair *pair)
{
	close_one(&pair->now);
	close_one(&pair->old);
}

void mt_index_clear(struct mt_index_pair *pair)
{
	close_one(&pair->old);
	mt_pages_wipe((uint8_t *)pair->now.items, bytes_of(&pair->now));
	pair->now.taken = 0;
}

static void move(struct mt_index_pair *pair, size_t n)
{
	struct mt_index *old = &pair->old;
	for (; old->items && n; n--) {
		uint64_t item = old->items[pair->moved];
		if ((uint32_t)item > 1) {
			old->items[pair->moved] = 1;
			put_one(&pair->now, item);
		}
		if (pair->moved++ == old->mask)
			close_one(old);
	}
}

bool mt_index_room(struct mt_index_pair *pair)
{
	struct mt_index *now = &pair->now;
	size_t n_items = now->mask + 1;
	if (now->taken + 1 <= most_of(n_items))
		return true;
	move(pair, SIZE_MAX); /* done already, unless memory ran out before */
	struct mt_index larger;
	if (open_one(&larger, n_items * 2))
		return now->taken + 1 <= n_items / 8 * 7;
	pair->old = *now;
	pair->now = larger;
	pair->moved = 0;
	return true;
}

void mt_index_put(struct mt_index_pair *pair, uint32_t hash, uint32_t place)
{
	put_one(&pair->now, mt_index_item(hash, place));
	move(pair, MOVED);
}

void mt_index_remove(struct mt_index_pair *pair, uint32_t hash, uint32_t place)
{
	uint64_t item = mt_index_item(hash, place);
	size_t at = find_item(&pair->now, item);
	if (at != SIZE_MAX)
		close_gap(&pair->now, at);
	else if (pair->old.items && (at = find_item(&pair->old, item)) != SIZE_MAX)
		pair->old.items[at] = 1; /* items behind it must still be found, and each moves once */
}

size_t mt_index_bytes(const struct mt_index_pair *pair)
{
	return bytes_of(&pair->now) + bytes_of(&pair->old);
}
