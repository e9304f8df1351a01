/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writer.c - a ring of blocks between two threads, see writer.h.
 *
 * One lock and one condition: at most one of the two sides sleeps, and at some thousand
 * blocks a second neither is ever seen in a profile.
 */
#include "writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

struct slot {
	struct mt_block block;
	struct mt_write write; /* data is block.data */
};

struct mt_writer {
	mt_writer_work *work;
	void *ctx;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	struct slot slots[MT_WRITER_BLOCKS];
	uint64_t pushed, done; /* blocks so far; the slot of the n-th is n % MT_WRITER_BLOCKS */
	bool leave;            /* the thread ends */
	bool drop;             /* blocks are not worked on */
	atomic_bool failed;    /* implies drop */
	_Atomic int64_t
	        begun_ms;  /* when the thread took the block in hand, by the monotonic clock; 0: it has none */
	struct mt_err err; /* of the first failure */
};

/* The next block, or NULL at the end. */
static struct slot *next_slot(struct mt_writer *w, bool *drop)
{
	pthread_mutex_lock(&w->lock);
	while (w->pushed == w->done && !w->leave)
		pthread_cond_wait(&w->changed, &w->lock);
	struct slot *slot = w->pushed == w->done ? NULL : &w->slots[w->done % MT_WRITER_BLOCKS];
	*drop = w->drop;
	pthread_mutex_unlock(&w->lock);
	return slot;
}

static void slot_done(struct mt_writer *w, int rc, const struct mt_err *err)
{
	pthread_mutex_lock(&w->lock);
	if (rc && !w->drop) {
		w->err = *err;
		w->drop = true;
		atomic_store(&w->failed, true);
	}
	w->done++;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void *writer_main(void *arg)
{
	struct mt_writer *w = arg;
	struct slot *slot;
	bool drop;
	pthread_setname_np(pthread_self(), "mt-writer"); /* for top -H, perf */
	while ((slot = next_slot(w, &drop))) {
		struct mt_err err;
		atomic_store_explicit(&w->begun_ms, mt_monotonic_ms(), memory_order_relaxed);
		int rc = drop ? 0 : w->work(w->ctx, &slot->write, &err);
		atomic_store_explicit(&w->begun_ms, 0, memory_order_relaxed);
		slot_done(w, rc, &err);
	}
	return NULL;
}

struct mt_writer *mt_writer_new(mt_writer_work *work, void *ctx)
{
	struct mt_writer *w = calloc(1, sizeof *w);
	if (!w)
		return NULL;
	w->work = work;
	w->ctx = ctx;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	if (!pthread_create(&w->thread, NULL, writer_main, w))
		return w;
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

void mt_writer_free(struct mt_writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->leave = w->drop = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	for (unsigned i = 0; i < MT_WRITER_BLOCKS; i++)
		free(w->slots[i].block.data);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

bool mt_writer_has_room(struct mt_writer *w)
{
	pthread_mutex_lock(&w->lock);
	bool room = w->pushed - w->done < MT_WRITER_BLOCKS;
	pthread_mutex_unlock(&w->lock);
	return room;
}

/* The bytes move into the slot, which nobody else uses now. */
static int fill(struct slot *slot, struct mt_block *block, const struct mt_write *write)
{
	bool own = write->data == block->data;
	slot->block.used = 0;
	if (mt_block_reserve(&slot->block, own || write->len < MT_BLOCK_BYTES ? MT_BLOCK_BYTES : write->len))
		return -1;
	slot->write = *write;
	if (own) {
		struct mt_block free_block = slot->block;
		slot->block = *block;
		*block = free_block;
	} else if (write->len) {
		memcpy(slot->block.data, write->data, write->len);
	}
	slot->write.data = slot->block.data;
	return 0;
}

int mt_writer_push(struct mt_writer *w, struct mt_block *block, const struct mt_write *write,
                   struct mt_err *err)
{
	pthread_mutex_lock(&w->lock);
	while (w->pushed - w->done == MT_WRITER_BLOCKS)
		pthread_cond_wait(&w->changed, &w->lock);
	struct slot *slot = &w->slots[w->pushed % MT_WRITER_BLOCKS];
	pthread_mutex_unlock(&w->lock);
	if (fill(slot, block, write))
		return mt_err_set(err, "out of memory for an output block");
	pthread_mutex_lock(&w->lock);
	w->pushed++;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

int64_t mt_writer_busy_ms(const struct mt_writer *w, int64_t now_ms)
{
	int64_t begun_ms = atomic_load_explicit(&w->begun_ms, memory_order_relaxed);
	return begun_ms ? now_ms - begun_ms : 0;
}

bool mt_writer_failed(const struct mt_writer *w)
{
	return atomic_load_explicit(&w->failed, memory_order_relaxed);
}

/* With the lock held. */
static void wait_idle(struct mt_writer *w)
{
	while (w->pushed != w->done)
		pthread_cond_wait(&w->changed, &w->lock);
	w->drop = false;
}

int mt_writer_finish(struct mt_writer *w, struct mt_err *err)
{
	pthread_mutex_lock(&w->lock);
	wait_idle(w);
	bool failed = atomic_exchange(&w->failed, false);
	if (failed)
		*err = w->err;
	pthread_mutex_unlock(&w->lock);
	return failed ? -1 : 0;
}

void mt_writer_drop(struct mt_writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->drop = true;
	wait_idle(w);
	atomic_store(&w->failed, false);
	pthread_mutex_unlock(&w->lock);
}
