/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * queue.h - batches on their way from the reading thread to the hook thread, and back.
 *
 * A ring of preallocated batches with one producer and one consumer.  Waking the other
 * side for every batch costs half the speed, so a sleeping consumer is woken when
 * several batches wait, and whoever goes to sleep wakes the other side first: that way
 * neither can sleep on work it has been given.
 */
#ifndef MT_QUEUE_H
#define MT_QUEUE_H
#include <stdbool.h>

#include "abi.h"

struct mt_queue;

/* Nothing is known of the packets of a batch, and nothing was asked of it. */
static inline void mt_batch_forget(struct mt_batch *b)
{
	b->decoded = 0;
	b->dns_depth = b->dns_wanted = 0;
	b->hash_kind = b->hash_wanted = 0;
	b->addresses_of = b->addresses_wanted = 0;
	b->edits = NULL;
}

/* capacity: batches, rounded up to a power of two; memory is taken as they are first used. */
struct mt_queue *mt_queue_new(unsigned capacity);
void mt_queue_free(struct mt_queue *q);

/* Producer: the next batch to fill, empty and numbered; waits for one up to timeout_ms
 * (-1: for ever).  NULL: none yet, the consumer has gone, or out of memory. */
struct mt_batch *mt_queue_reserve(struct mt_queue *q, int timeout_ms);
/* Producer: hand the reserved batch on. */
void mt_queue_push(struct mt_queue *q);
/* Producer: about to sleep elsewhere (poll): wake the consumer if anything waits. */
void mt_queue_nudge(struct mt_queue *q);
/* Producer: wait until the consumer has released batch seq, or has gone. */
void mt_queue_wait_released(struct mt_queue *q, uint64_t seq);

/* Batches that the consumer has not given back yet, and how many there can be; any thread. */
unsigned mt_queue_capacity(const struct mt_queue *q);
unsigned mt_queue_waiting(struct mt_queue *q);
/* Consumer: the oldest batch, or NULL after timeout_ms. */
struct mt_batch *mt_queue_pop(struct mt_queue *q, int timeout_ms);
/* Consumer: put another batch into the place of the one that pop gave, which is the caller's from then on.
 * Takes b. */
void mt_queue_replace(struct mt_queue *q, struct mt_batch *b);
/* Consumer: done with the batch that pop gave. */
void mt_queue_release(struct mt_queue *q);
/* Consumer: no more batches will be taken; the producer's waits end. */
void mt_queue_leave(struct mt_queue *q);
bool mt_queue_left(struct mt_queue *q);

#endif
