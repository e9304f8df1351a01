/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * readahead.c - see readahead.h.
 *
 * One lock guards the queue of streams, what waits of each, and the free buffers; it is taken
 * twice a buffer by either side and never held while bytes are decoded or copied.  A stream
 * is decoded by who has it `busy`: a worker, or the reading thread.  Workers go around: one
 * buffer of the stream that waits longest, then the stream goes to the end of the queue.
 */
#include "readahead.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_THREADS = 4,
	OWN_BYTES = 512 << 10, /* decoded by the reading thread before workers have a stream */
	BUDGET = 8 << 20,      /* bytes of buffers, for all streams together */
	MIN_BUFFER = 16 << 10,
	MAX_BUFFER = 1 << 20,
	FEW_STREAMS = 8, /* up to here a stream has three buffers, then two */
	STOP_MS = 100    /* how soon a stop is noticed */
};

struct buffer {
	struct buffer *next;
	size_t size, pos, len; /* bytes pos .. len - 1 are to be read */
	uint8_t data[];
};

struct mt_readahead_pool {
	pthread_mutex_t lock;
	pthread_cond_t work; /* the queue has grown, or quit */
	struct mt_readahead *first, **end;
	unsigned n_queued, n_streams;
	struct buffer *free;
	size_t allocated; /* bytes of all buffers, also free ones */
	pthread_t threads[MAX_THREADS];
	unsigned n_threads, max_threads, n_idle;
	bool quit;
};

struct mt_readahead {
	struct mt_readahead_pool *pool;
	mt_readahead_fill *fill;
	mt_readahead_meanwhile *meanwhile;
	void *ctx;
	struct buffer *oldest, **newest; /* decoded, to be read */
	unsigned n_ready;
	size_t own_bytes; /* decoded by the reading thread, until workers have a turn */
	bool busy;        /* somebody is in fill */
	bool over;        /* fill has said the end or an error, or it is being closed */
	bool queued;
	struct mt_readahead *next; /* in the queue */
	atomic_bool cancel;
	pthread_cond_t changed; /* busy has ended */
};

/* --- buffers --------------------------------------------------------------------------- */

static unsigned buffers_each(const struct mt_readahead_pool *pool)
{
	return pool->n_streams <= FEW_STREAMS ? 3 : 2;
}

static size_t buffer_size(const struct mt_readahead_pool *pool)
{
	size_t limit = (size_t)BUDGET / buffers_each(pool) / (pool->n_streams ? pool->n_streams : 1);
	size_t size = MIN_BUFFER;
	while (size < MAX_BUFFER && size * 2 <= limit)
		size *= 2;
	return size;
}

static void drop_buffer(struct mt_readahead_pool *pool, struct buffer *b)
{
	pool->allocated -= b->size;
	free(b);
}

/* A buffer of the present size.  NULL: out of memory. */
static struct buffer *take_buffer(struct mt_readahead_pool *pool)
{
	size_t size = buffer_size(pool);
	while (pool->free) {
		struct buffer *b = pool->free;
		pool->free = b->next;
		if (b->size == size)
			return b;
		drop_buffer(pool, b);
	}
	struct buffer *b = malloc(sizeof *b + size);
	if (!b)
		return NULL;
	b->size = size;
	pool->allocated += size;
	return b;
}

static void give_buffer(struct mt_readahead_pool *pool, struct buffer *b)
{
	if (pool->allocated > BUDGET) {
		drop_buffer(pool, b);
		return;
	}
	b->next = pool->free;
	pool->free = b;
}

/* --- the queue of streams ---------------------------------------------------------------- */

static void append(struct mt_readahead *a)
{
	struct mt_readahead_pool *pool = a->pool;
	a->next = NULL;
	a->queued = true;
	*pool->end = a;
	pool->end = &a->next;
	pool->n_queued++;
}

static void unqueue(struct mt_readahead *a)
{
	struct mt_readahead_pool *pool = a->pool;
	if (!a->queued)
		return;
	struct mt_readahead **at = &pool->first;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (!a->next)
		pool->end = at;
	a->queued = false;
	pool->n_queued--;
}

static bool wants_worker(const struct mt_readahead *a)
{
	return !a->busy && !a->over && !a->queued && a->own_bytes >= OWN_BYTES &&
	       a->n_ready < buffers_each(a->pool);
}

/* --- workers --------------------------------------------------------------------------- */

/* Decode one buffer of it.  Called and left with the lock held. */
static void work_on(struct mt_readahead *a)
{
	struct mt_readahead_pool *pool = a->pool;
	struct mt_err err; /* the reading thread gets it when it has come that far */
	struct buffer *b = take_buffer(pool);
	if (!b)
		return; /* it will be decoded by the reading thread */
	a->busy = true;
	pthread_mutex_unlock(&pool->lock);
	ssize_t n = a->fill(a->ctx, b->data, b->size, &a->cancel, &err);
	pthread_mutex_lock(&pool->lock);
	a->busy = false;
	a->over = a->over || n == 0 || n == -1;
	if (n > 0) {
		b->pos = 0;
		b->len = (size_t)n;
		b->next = NULL;
		*a->newest = b;
		a->newest = &b->next;
		a->n_ready++;
		if (wants_worker(a))
			append(a);
	} else {
		give_buffer(pool, b);
	}
	pthread_cond_signal(&a->changed);
}

static void *worker_main(void *arg)
{
	struct mt_readahead_pool *pool = arg;
	pthread_setname_np(pthread_self(), "mt-decode");
	pthread_mutex_lock(&pool->lock);
	while (!pool->quit) {
		struct mt_readahead *a = pool->first;
		if (a) {
			unqueue(a);
			work_on(a);
			continue;
		}
		pool->n_idle++;
		pthread_cond_wait(&pool->work, &pool->lock);
		pool->n_idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Signals are for the threads that expect them. */
static int create_blocked(pthread_t *thread, struct mt_readahead_pool *pool)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(thread, NULL, worker_main, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* Have it decoded on, if there is room and need. */
static void offer(struct mt_readahead *a)
{
	struct mt_readahead_pool *pool = a->pool;
	if (!wants_worker(a))
		return;
	append(a);
	if (pool->n_queued > pool->n_idle && pool->n_threads < pool->max_threads) {
		if (create_blocked(&pool->threads[pool->n_threads], pool))
			pool->max_threads = pool->n_threads; /* so many it stays */
		else
			pool->n_threads++;
	}
	pthread_cond_signal(&pool->work);
}

static unsigned processors(void)
{
	cpu_set_t set;
	long n = sched_getaffinity(0, sizeof set, &set) ? sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
	return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (unsigned)n;
}

struct mt_readahead_pool *mt_readahead_pool_new(void)
{
	struct mt_readahead_pool *pool = calloc(1, sizeof *pool);
	if (!pool)
		return NULL;
	pool->end = &pool->first;
	pool->max_threads = processors();
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	return pool;
}

void mt_readahead_pool_free(struct mt_readahead_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	while (pool->free) {
		struct buffer *b = pool->free;
		pool->free = b->next;
		drop_buffer(pool, b);
	}
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* --- one stream ------------------------------------------------------------------------ */

struct mt_readahead *mt_readahead_new(struct mt_readahead_pool *pool, mt_readahead_fill *fill,
                                      mt_readahead_meanwhile *meanwhile, void *ctx)
{
	struct mt_readahead *a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	a->pool = pool;
	a->fill = fill;
	a->meanwhile = meanwhile;
	a->ctx = ctx;
	a->newest = &a->oldest;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->changed, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_lock(&pool->lock);
	pool->n_streams++;
	pthread_mutex_unlock(&pool->lock);
	return a;
}

size_t mt_readahead_buffer_bytes(const struct mt_readahead *a)
{
	pthread_mutex_lock(&a->pool->lock);
	size_t size = buffer_size(a->pool);
	pthread_mutex_unlock(&a->pool->lock);
	return size;
}

static void remove_oldest(struct mt_readahead *a)
{
	struct buffer *b = a->oldest;
	a->oldest = b->next;
	if (!a->oldest)
		a->newest = &a->oldest;
	a->n_ready--;
	give_buffer(a->pool, b);
}

/* What is ready, up to size bytes.  The lock is held, but not while bytes are copied: the oldest
 * buffer is this thread's. */
static size_t copy_ready(struct mt_readahead *a, uint8_t *to, size_t size)
{
	size_t copied = 0;
	while (a->oldest && copied < size) {
		struct buffer *b = a->oldest;
		size_t n = b->len - b->pos < size - copied ? b->len - b->pos : size - copied;
		pthread_mutex_unlock(&a->pool->lock);
		memcpy(to + copied, b->data + b->pos, n);
		b->pos += n;
		copied += n;
		pthread_mutex_lock(&a->pool->lock);
		if (b->pos == b->len)
			remove_oldest(a);
		offer(a);
	}
	return copied;
}

/* Decode in this thread, into the reader's own memory. */
static ssize_t fill_here(struct mt_readahead *a, uint8_t *buffer, size_t size, struct mt_err *err)
{
	unqueue(a);
	a->busy = true;
	pthread_mutex_unlock(&a->pool->lock);
	ssize_t n = a->fill(a->ctx, buffer, size, &a->cancel, err);
	pthread_mutex_lock(&a->pool->lock);
	a->busy = false;
	a->over = a->over || n == 0 || n == -1;
	if (n > 0 && a->own_bytes < OWN_BYTES)
		a->own_bytes += (size_t)n;
	/* Little came: it is a slow pipe or the end, and not worth waking a worker. */
	if (n >= MIN_BUFFER || n == (ssize_t)size)
		offer(a);
	return n;
}

static void wait_a_while(struct mt_readahead *a)
{
	pthread_mutex_unlock(&a->pool->lock);
	bool worked = a->meanwhile(a->ctx);
	pthread_mutex_lock(&a->pool->lock);
	if (worked || !a->busy || a->oldest)
		return;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += STOP_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_cond_timedwait(&a->changed, &a->pool->lock, &until);
}

ssize_t mt_readahead_read(struct mt_readahead *a, uint8_t *buffer, size_t size, const atomic_bool *stop,
                          ssize_t wait_code, struct mt_err *err)
{
	pthread_mutex_lock(&a->pool->lock);
	ssize_t n;
	for (;;) {
		n = (ssize_t)copy_ready(a, buffer, size);
		if (n)
			break;
		if (!a->busy) {
			n = fill_here(a, buffer, size, err);
			break;
		}
		if (stop && atomic_load_explicit(stop, memory_order_relaxed)) {
			n = wait_code;
			break;
		}
		wait_a_while(a);
	}
	pthread_mutex_unlock(&a->pool->lock);
	return n;
}

void mt_readahead_free(struct mt_readahead *a)
{
	if (!a)
		return;
	atomic_store(&a->cancel, true);
	pthread_mutex_lock(&a->pool->lock);
	a->over = true;
	unqueue(a);
	while (a->busy)
		pthread_cond_wait(&a->changed, &a->pool->lock);
	while (a->oldest)
		remove_oldest(a);
	a->pool->n_streams--;
	pthread_mutex_unlock(&a->pool->lock);
	pthread_cond_destroy(&a->changed);
	free(a);
}
