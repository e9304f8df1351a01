/* SPDX-License-Identifier: BSD-2-Clause */
#include "queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { WAKE_AT = 2 }; /* batches that wait before a sleeping side is woken */

struct mt_queue {
	struct mt_batch **slots;
	uint64_t capacity;
	_Alignas(64) _Atomic uint64_t pushed;   /* batches handed on so far */
	_Alignas(64) _Atomic uint64_t released; /* batches given back so far */
	_Alignas(64) atomic_bool producer_sleeps;
	atomic_bool consumer_sleeps;
	atomic_bool left;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* both sides sleep here: at most one of them does */
};

struct mt_queue *mt_queue_new(unsigned capacity)
{
	struct mt_queue *q = aligned_alloc(64, sizeof *q);
	if (!q)
		return NULL;
	*q = (struct mt_queue){.capacity = 4};
	while (q->capacity < capacity)
		q->capacity *= 2;
	q->slots = calloc(q->capacity, sizeof *q->slots);
	if (!q->slots) {
		free(q);
		return NULL;
	}
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&q->lock, NULL);
	return q;
}

void mt_queue_free(struct mt_queue *q)
{
	if (!q)
		return;
	for (uint64_t i = 0; i < q->capacity; i++)
		free(q->slots[i]);
	free(q->slots);
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

/* The lock is let go first: whoever is woken wants it. */
static void wake(struct mt_queue *q)
{
	pthread_mutex_lock(&q->lock); /* who is about to sleep does so now */
	pthread_mutex_unlock(&q->lock);
	pthread_cond_broadcast(&q->wake);
}

static bool have_slot(struct mt_queue *q, uint64_t seq)
{
	(void)seq;
	return atomic_load(&q->pushed) - atomic_load(&q->released) < q->capacity;
}

static bool have_released(struct mt_queue *q, uint64_t seq)
{
	return atomic_load(&q->released) >= seq;
}

static bool have_batch(struct mt_queue *q, uint64_t seq)
{
	(void)seq;
	return atomic_load(&q->pushed) > atomic_load(&q->released);
}

/* The other side may sleep. It is woken once: until it has slept its fill this does not take the lock, which
 * may be held by a thread that waits for a processor. */
static void wake_if(struct mt_queue *q, atomic_bool *sleeps)
{
	if (atomic_load(sleeps) && atomic_exchange(sleeps, false))
		wake(q);
}

/* Sleep until ready(q, seq), the consumer has left, or timeout_ms have gone by.  `sleeps` tells
 * the other side; it is set before each look, so that no wake-up is missed. */
static bool sleep_until(struct mt_queue *q, atomic_bool *sleeps, bool (*ready)(struct mt_queue *, uint64_t),
                        uint64_t seq, int timeout_ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	bool ok, late = false;
	pthread_mutex_lock(&q->lock);
	pthread_cond_broadcast(&q->wake);
	for (;;) {
		atomic_store(sleeps, true);
		ok = ready(q, seq);
		if (ok || late || atomic_load(&q->left))
			break;
		if (timeout_ms < 0)
			pthread_cond_wait(&q->wake, &q->lock);
		else
			late = pthread_cond_timedwait(&q->wake, &q->lock, &until);
	}
	atomic_store(sleeps, false);
	pthread_mutex_unlock(&q->lock);
	return ok;
}

struct mt_batch *mt_queue_reserve(struct mt_queue *q, int timeout_ms)
{
	if (!have_slot(q, 0) &&
	    (timeout_ms == 0 || !sleep_until(q, &q->producer_sleeps, have_slot, 0, timeout_ms)))
		return NULL;
	if (atomic_load(&q->left))
		return NULL;
	uint64_t seq = atomic_load_explicit(&q->pushed, memory_order_relaxed) + 1;
	struct mt_batch **slot = &q->slots[seq % q->capacity];
	if (!*slot && !(*slot = malloc(sizeof **slot)))
		return NULL;
	struct mt_batch *b = *slot;
	b->seq = seq;
	b->n = b->bytes = b->last = b->screened = 0;
	mt_batch_forget(b);
	return b;
}

void mt_queue_push(struct mt_queue *q)
{
	uint64_t waiting = atomic_fetch_add(&q->pushed, 1) + 1 - atomic_load(&q->released);
	if (waiting >= WAKE_AT)
		wake_if(q, &q->consumer_sleeps);
}

unsigned mt_queue_waiting(struct mt_queue *q)
{
	return (unsigned)(atomic_load_explicit(&q->pushed, memory_order_relaxed) - atomic_load(&q->released));
}

unsigned mt_queue_capacity(const struct mt_queue *q)
{
	return (unsigned)q->capacity;
}

void mt_queue_nudge(struct mt_queue *q)
{
	if (have_batch(q, 0))
		wake_if(q, &q->consumer_sleeps);
}

void mt_queue_wait_released(struct mt_queue *q, uint64_t seq)
{
	if (!have_released(q, seq))
		sleep_until(q, &q->producer_sleeps, have_released, seq, -1);
}

struct mt_batch *mt_queue_pop(struct mt_queue *q, int timeout_ms)
{
	if (!have_batch(q, 0) &&
	    (timeout_ms == 0 || !sleep_until(q, &q->consumer_sleeps, have_batch, 0, timeout_ms)))
		return NULL;
	return q->slots[(atomic_load_explicit(&q->released, memory_order_relaxed) + 1) % q->capacity];
}

void mt_queue_replace(struct mt_queue *q, struct mt_batch *b)
{
	q->slots[(atomic_load_explicit(&q->released, memory_order_relaxed) + 1) % q->capacity] = b;
}

void mt_queue_release(struct mt_queue *q)
{
	uint64_t released = atomic_fetch_add(&q->released, 1) + 1;
	if (!atomic_load(&q->producer_sleeps))
		return;
	/* The producer sleeps: let it gather some room before it is woken, but not starve us. */
	uint64_t waiting = atomic_load(&q->pushed) - released;
	if (waiting <= q->capacity / 2)
		wake_if(q, &q->producer_sleeps);
}

void mt_queue_leave(struct mt_queue *q)
{
	atomic_store(&q->left, true);
	wake(q);
}

bool mt_queue_left(struct mt_queue *q)
{
	return atomic_load(&q->left);
}
