/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chunk.h - read buffers that packets in flight point into.
 *
 * A source reads into chunks of 16 to 256 KiB and packets borrow from them.  When a source
 * moves on to its next chunk, the old one is stamped with the number of the batch being
 * filled; it may be reused once that batch is released.  No reference counts per packet.
 * One budget (24 MiB for files, --buffer-size live) covers all chunks of a run.
 *
 * A ring belongs to one thread, the one that reads its source.  Live sources have threads of
 * their own, which take chunks with mt_chunk_take; the merging thread gives them back.  The pool
 * itself may be used by any thread.
 */
#ifndef MT_CHUNK_H
#define MT_CHUNK_H
#include <stddef.h>
#include <stdint.h>

struct mt_chunk {
	struct mt_chunk *next; /* owner's list */
	uint64_t first;        /* first batch that may point into it */
	uint64_t stamp;        /* last batch that may point into it; 0: none */
	size_t size;           /* bytes at data, MT_DATA_SLACK behind them not counted */
	uint8_t *data;
	struct mt_chunk_share *share; /* whose it is; NULL: a ring's */
};

struct mt_chunks; /* the pool of a run */

/* budget_bytes: for all chunks together; a source always gets two whatever the budget. */
struct mt_chunks *mt_chunks_new(size_t budget_bytes);
void mt_chunks_free(struct mt_chunks *pool);
/* How many sources are open or about to be: chunk sizes follow from it. */
void mt_chunks_expect(struct mt_chunks *pool, unsigned sources);
/* The batch being filled; reading thread. */
void mt_chunks_set_batch(struct mt_chunks *pool, uint64_t batch_seq);
/* All batches up to batch_seq are done with; any thread. */
void mt_chunks_release(struct mt_chunks *pool, uint64_t batch_seq);
/* A hook that does not come back still reads this batch: what it points into is not reused, though the batch
 * is released and later ones come and go.  0: it is back.  Before the batch is released; any thread, one at a
 * time.  At most the chunks of one batch are kept from the budget that way. */
void mt_chunks_hold(struct mt_chunks *pool, uint64_t batch_seq);
uint64_t mt_chunks_released(const struct mt_chunks *pool);
/* Bytes of the chunks that are in use, and the budget; any thread. */
void mt_chunks_usage(struct mt_chunks *pool, size_t *used, size_t *budget);

/* What one live source has of the budget: embed, zero to initialise.  It lives as long as the pool's chunks. */
struct mt_chunk_share {
	size_t used;     /* bytes of the chunks it has taken, until they are free again */
	size_t promised; /* bytes that it may always have, whatever others take */
};

/* Promise bytes of the budget to a share; what is promised and not yet used is nobody else's. */
void mt_chunks_promise(struct mt_chunks *pool, struct mt_chunk_share *share, size_t bytes);
/* A chunk of at least min_bytes (0: the usual size) on account of the share.  NULL: the budget is spent, or
 * memory is; it is worth another try when mt_chunks_released has changed.  Any thread. */
struct mt_chunk *mt_chunk_take(struct mt_chunks *pool, struct mt_chunk_share *share, size_t min_bytes);
/* The batch being filled is the last that points into it, and `first` was the first: it is free when they are
 * released.  first 0: none does, it is free at once. */
void mt_chunk_give(struct mt_chunks *pool, struct mt_chunk *c, uint64_t first);
/* The share ends: chunks of it that are still in flight are nobody's. */
void mt_chunks_disown(struct mt_chunks *pool, struct mt_chunk_share *share);
/* The batch being filled; merging thread. */
uint64_t mt_chunks_batch(const struct mt_chunks *pool);

/* The chunks of one source: embed, zero to initialise. */
struct mt_chunk_ring {
	struct mt_chunks *pool;
	struct mt_chunk *current; /* being filled or parsed */
	struct mt_chunk *oldest;  /* stamped ones, oldest first */
	struct mt_chunk *newest;
	unsigned count; /* all of them */
};

/* Stamp the current chunk and make another current, at least min_bytes large (0: the usual
 * size).  Bytes that shall survive must be copied from *old, the former current chunk (NULL
 * the first time), before the next call.
 * Returns 1 done; 3 (MT_FULL) when all chunks of this source are in use and the budget is
 * spent: batch *wait_batch must be released first (it may be the one being filled: hand that
 * on), nothing was changed; -1 out of memory.  Packets not yet put into a batch must not point
 * into the current chunk. */
int mt_chunk_ring_next(struct mt_chunk_ring *ring, size_t min_bytes, struct mt_chunk **old,
                       uint64_t *wait_batch);
/* Give all chunks back; those still in use are freed by the pool when their batch is released. */
void mt_chunk_ring_close(struct mt_chunk_ring *ring);
/* The same when no packet was ever handed on from them: they are free at once. */
void mt_chunk_ring_discard(struct mt_chunk_ring *ring);

#endif
