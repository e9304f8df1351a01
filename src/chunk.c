/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chunk.c - the pool of read buffers and the ring of each source.
 *
 * A source changes its chunk once in 16 to 256 KiB, so nothing here is hot.  A chunk is
 * reused, oldest first, as soon as the last batch that can point into it is released; the
 * pool keeps a few free ones so that a run over thousands of files does not map and unmap.
 */
#include "chunk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "abi.h"

enum { MIN_CHUNK = 16 << 10, MAX_CHUNK = 256 << 10, PAGE = 4096, KEEP_FREE = 32 /* at least */ };

struct mt_chunks {
	size_t budget;
	uint64_t batch;       /* being filled; the merging thread's */
	pthread_mutex_t lock; /* of all that follows, but for the atomics */
	size_t allocated;     /* bytes of all chunks, also free ones and orphans */
	size_t promised;      /* bytes that shares may have and do not use */
	size_t chunk_size;
	_Atomic uint64_t released;
	_Atomic uint64_t held; /* see mt_chunks_hold */
	struct mt_chunk *free; /* of the usual size, nobody's */
	unsigned n_free;
	struct mt_chunk *orphans; /* of closed sources, still in flight */
};

struct mt_chunks *mt_chunks_new(size_t budget_bytes)
{
	struct mt_chunks *pool = calloc(1, sizeof *pool);
	if (!pool)
		return NULL;
	pool->budget = budget_bytes;
	pthread_mutex_init(&pool->lock, NULL);
	mt_chunks_expect(pool, 1);
	return pool;
}

static void chunk_free(struct mt_chunks *pool, struct mt_chunk *c)
{
	pool->allocated -= c->size;
	free(c->data);
	free(c);
}

static void list_free(struct mt_chunks *pool, struct mt_chunk *list)
{
	while (list) {
		struct mt_chunk *next = list->next;
		chunk_free(pool, list);
		list = next;
	}
}

void mt_chunks_free(struct mt_chunks *pool)
{
	if (!pool)
		return;
	list_free(pool, pool->free);
	list_free(pool, pool->orphans);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void mt_chunks_expect(struct mt_chunks *pool, unsigned sources)
{
	size_t limit = pool->budget / 3 / (sources ? sources : 1);
	size_t size = MIN_CHUNK;
	while (size < MAX_CHUNK && size * 2 <= limit)
		size *= 2;
	pthread_mutex_lock(&pool->lock);
	if (size != pool->chunk_size) {
		pool->chunk_size = size;
		list_free(pool, pool->free);
		pool->free = NULL;
		pool->n_free = 0;
	}
	pthread_mutex_unlock(&pool->lock);
}

void mt_chunks_usage(struct mt_chunks *pool, size_t *used, size_t *budget)
{
	pthread_mutex_lock(&pool->lock);
	*used = pool->allocated - pool->n_free * pool->chunk_size;
	*budget = pool->budget;
	pthread_mutex_unlock(&pool->lock);
}

/* --- shares ---------------------------------------------------------------------------- */

static size_t unused_promise(const struct mt_chunk_share *share)
{
	return share->used < share->promised ? share->promised - share->used : 0;
}

/* What a share uses changes by bytes, up or down. */
static void account(struct mt_chunks *pool, struct mt_chunk_share *share, ptrdiff_t bytes)
{
	pool->promised -= unused_promise(share);
	share->used += (size_t)bytes;
	pool->promised += unused_promise(share);
}

void mt_chunks_promise(struct mt_chunks *pool, struct mt_chunk_share *share, size_t bytes)
{
	pthread_mutex_lock(&pool->lock);
	pool->promised -= unused_promise(share);
	share->promised = bytes;
	pool->promised += unused_promise(share);
	pthread_mutex_unlock(&pool->lock);
}

/* A chunk that nothing points into goes to the free list, or away. */
static void recycle(struct mt_chunks *pool, struct mt_chunk *c)
{
	if (c->share)
		account(pool, c->share, -(ptrdiff_t)c->size);
	c->share = NULL;
	size_t keep = pool->budget / 4 / pool->chunk_size;
	if (c->size != pool->chunk_size || pool->n_free >= (keep > KEEP_FREE ? keep : KEEP_FREE)) {
		chunk_free(pool, c);
		return;
	}
	c->next = pool->free;
	pool->free = c;
	pool->n_free++;
}

/* Does the batch that is held point into it?  held is read after released: whoever releases a batch has said
 * before that it is held. */
static int is_held(const struct mt_chunks *pool, const struct mt_chunk *c)
{
	uint64_t held = atomic_load_explicit(&pool->held, memory_order_acquire);
	return held && c->first <= held && held <= c->stamp;
}

static void collect_orphans(struct mt_chunks *pool)
{
	uint64_t released = mt_chunks_released(pool);
	for (struct mt_chunk **at = &pool->orphans; *at;) {
		struct mt_chunk *c = *at;
		if (c->stamp > released || is_held(pool, c)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		recycle(pool, c);
	}
}

void mt_chunks_set_batch(struct mt_chunks *pool, uint64_t batch_seq)
{
	pool->batch = batch_seq;
	pthread_mutex_lock(&pool->lock);
	collect_orphans(pool);
	pthread_mutex_unlock(&pool->lock);
}

uint64_t mt_chunks_batch(const struct mt_chunks *pool)
{
	return pool->batch;
}

void mt_chunks_release(struct mt_chunks *pool, uint64_t batch_seq)
{
	atomic_store_explicit(&pool->released, batch_seq, memory_order_release);
}

void mt_chunks_hold(struct mt_chunks *pool, uint64_t batch_seq)
{
	atomic_store_explicit(&pool->held, batch_seq, memory_order_release);
}

uint64_t mt_chunks_released(const struct mt_chunks *pool)
{
	return atomic_load_explicit(&pool->released, memory_order_acquire);
}

static struct mt_chunk *chunk_new(struct mt_chunks *pool, size_t size)
{
	struct mt_chunk *c = pool->free;
	if (c && size == c->size) {
		pool->free = c->next;
		pool->n_free--;
		return c;
	}
	void *data;
	c = malloc(sizeof *c);
	if (!c || posix_memalign(&data, PAGE, size + MT_DATA_SLACK)) {
		free(c);
		return NULL;
	}
	*c = (struct mt_chunk){.size = size, .data = data};
	pool->allocated += size;
	return c;
}

/* Take the oldest chunk off the ring if no batch in flight points into it. */
static struct mt_chunk *take_oldest(struct mt_chunk_ring *ring, uint64_t released)
{
	struct mt_chunk *c = ring->oldest;
	if (!c || c->stamp > released)
		return NULL;
	ring->oldest = c->next;
	if (!ring->oldest)
		ring->newest = NULL;
	ring->count--;
	return c;
}

/* Are size bytes of the budget left, beside what is promised to others? */
static bool is_left(const struct mt_chunks *pool, size_t size, size_t promised)
{
	size_t unused = pool->free ? pool->n_free * pool->chunk_size : 0;
	return pool->allocated - unused + size + promised <= pool->budget;
}

struct mt_chunk *mt_chunk_take(struct mt_chunks *pool, struct mt_chunk_share *share, size_t min_bytes)
{
	pthread_mutex_lock(&pool->lock);
	size_t size = pool->chunk_size;
	if (min_bytes > size)
		size = (min_bytes + PAGE - 1) / PAGE * PAGE;
	collect_orphans(pool);
	/* Two it gets in any case: one that is filled, one that is read. */
	bool may = share->used + size <= share->promised || share->used < 2 * size ||
	           is_left(pool, size, pool->promised);
	struct mt_chunk *c = may ? chunk_new(pool, size) : NULL;
	if (c) {
		c->share = share;
		account(pool, share, (ptrdiff_t)c->size);
	}
	pthread_mutex_unlock(&pool->lock);
	return c;
}

void mt_chunk_give(struct mt_chunks *pool, struct mt_chunk *c, uint64_t first)
{
	pthread_mutex_lock(&pool->lock);
	c->first = first;
	c->stamp = first ? pool->batch : 0;
	c->next = pool->orphans;
	pool->orphans = c;
	if (!first)
		collect_orphans(pool);
	pthread_mutex_unlock(&pool->lock);
}

void mt_chunks_disown(struct mt_chunks *pool, struct mt_chunk_share *share)
{
	pthread_mutex_lock(&pool->lock);
	pool->promised -= unused_promise(share);
	for (struct mt_chunk *c = pool->orphans; c; c = c->next)
		if (c->share == share)
			c->share = NULL;
	pthread_mutex_unlock(&pool->lock);
}

/* --- rings ----------------------------------------------------------------------------- */

static struct mt_chunk *get_chunk(struct mt_chunk_ring *ring, size_t size, int *full)
{
	struct mt_chunk *c;
	uint64_t released = mt_chunks_released(ring->pool);
	while ((c = take_oldest(ring, released))) {
		if (is_held(ring->pool, c)) {
			c->next = ring->pool->orphans;
			ring->pool->orphans = c;
			continue;
		}
		if (c->size >= size && c->size / 4 < size)
			return c;
		recycle(ring->pool, c); /* too small for this record, or left from a giant one */
	}
	*full = ring->count >= 2 && !is_left(ring->pool, size, ring->pool->promised);
	return *full ? NULL : chunk_new(ring->pool, size);
}

static void retire_current(struct mt_chunk_ring *ring)
{
	struct mt_chunk *c = ring->current;
	c->stamp = ring->pool->batch;
	c->next = NULL;
	if (ring->newest)
		ring->newest->next = c;
	else
		ring->oldest = c;
	ring->newest = c;
}

int mt_chunk_ring_next(struct mt_chunk_ring *ring, size_t min_bytes, struct mt_chunk **old,
                       uint64_t *wait_batch)
{
	size_t size = ring->pool->chunk_size; /* changed by this thread only */
	if (min_bytes > size)
		size = (min_bytes + PAGE - 1) / PAGE * PAGE;
	int full = 0;
	pthread_mutex_lock(&ring->pool->lock);
	struct mt_chunk *c = get_chunk(ring, size, &full);
	pthread_mutex_unlock(&ring->pool->lock);
	if (full) {
		*wait_batch = ring->oldest ? ring->oldest->stamp : ring->pool->batch;
		return 3;
	}
	if (!c)
		return -1;
	*old = ring->current;
	if (ring->current)
		retire_current(ring);
	c->next = NULL;
	c->first = ring->pool->batch;
	ring->current = c;
	ring->count++;
	return 1;
}

static void drop_ring(struct mt_chunk_ring *ring)
{
	ring->current = ring->oldest = ring->newest = NULL;
	ring->count = 0;
}

void mt_chunk_ring_discard(struct mt_chunk_ring *ring)
{
	if (ring->current)
		retire_current(ring);
	if (!ring->oldest)
		return;
	pthread_mutex_lock(&ring->pool->lock);
	while (ring->oldest) {
		struct mt_chunk *c = ring->oldest;
		ring->oldest = c->next;
		recycle(ring->pool, c);
	}
	pthread_mutex_unlock(&ring->pool->lock);
	drop_ring(ring);
}

void mt_chunk_ring_close(struct mt_chunk_ring *ring)
{
	if (!ring->pool)
		return;
	if (ring->current)
		retire_current(ring);
	pthread_mutex_lock(&ring->pool->lock);
	if (ring->newest) {
		ring->newest->next = ring->pool->orphans;
		ring->pool->orphans = ring->oldest;
	}
	collect_orphans(ring->pool);
	pthread_mutex_unlock(&ring->pool->lock);
	drop_ring(ring);
}
