/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "units.h"

enum {
	POLL_MS = 100,       /* a stop is noticed that soon */
	STATISTICS_MS = 100, /* the kernel is asked for its losses that often */
	WAKE_PACKETS = 512,  /* the merge is woken for so many, or when there are no more */
	MARGIN_MS = 5,       /* beyond the time in which the kernel hands its last block over */
	DRAIN_MS = 1000,     /* after a stop, a source that never falls silent is read for that long */
	RETRY_MS = 250,      /* an interface that went away is looked for that often */
	ALIGN = 8
};

/* A packet in a chunk.  Its data is behind it. */
struct record {
	struct mt_packet packet;
	int64_t arrival_ms; /* monotonic */
	size_t size;        /* bytes to the next record */
};

/* The beginning of each chunk. */
struct block {
	struct mt_chunk *chunk;
	_Atomic(struct block *) next;
	_Atomic size_t published; /* the records up to here are complete */
};

struct mt_feed {
	struct mt_source *inner; /* read by the capture thread once that runs */
	struct mt_source *outer;
	struct mt_chunks *chunks;
	struct mt_chunk_share share;
	struct mt_wake *wake;
	struct mt_wake nudge; /* of the capture thread, always armed */
	pthread_t thread;
	bool started;

	/* the capture thread's */
	_Alignas(64) struct block *writing;
	size_t at;         /* end of the last record, or of the room given last */
	bool full;         /* no chunk was left ... */
	uint64_t full_at;  /* ... when that batch had been released */
	unsigned unwoken;  /* packets published since the merge was woken */
	int64_t stop_ms;   /* since when it is to stop; 0: it is not */
	int64_t asked_ms;  /* when the kernel was asked for its losses */
	struct mt_err err; /* why it ended, if failed */

	/* the merging thread's */
	_Alignas(64) struct block *reading;
	size_t pos;
	uint64_t first_batch; /* that the chunk being read is in; 0: none */

	/* both */
	_Alignas(64) atomic_bool wanted; /* the merge has none of its packets */
	atomic_bool quit, ended, failed;
	_Atomic unsigned outages;
	_Atomic uint64_t dropped, kernel;
};

static size_t align(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* --- the capture thread: records ----------------------------------------------------------- */

static struct block *block_new(struct mt_feed *f, size_t min_bytes)
{
	struct mt_chunk *c = mt_chunk_take(f->chunks, &f->share, min_bytes);
	if (!c)
		return NULL;
	struct block *b = (struct block *)c->data;
	b->chunk = c;
	atomic_init(&b->next, NULL);
	atomic_init(&b->published, align(sizeof *b));
	return b;
}

enum mt_read mt_feed_room(struct mt_feed *f, size_t len, bool may_turn, uint8_t **room)
{
	size_t size = align(sizeof(struct record) + len + MT_DATA_SLACK);
	if (f->at + size > f->writing->chunk->size) {
		if (!may_turn)
			return MT_WAIT;
		uint64_t released = mt_chunks_released(f->chunks);
		if (f->full && f->full_at == released)
			return MT_FULL;
		struct block *b = block_new(f, align(sizeof *b) + size);
		f->full = !b;
		f->full_at = released;
		if (!b)
			return MT_FULL;
		atomic_store_explicit(&f->writing->next, b, memory_order_release);
		f->writing = b;
		f->at = align(sizeof *b);
	}
	struct record *r = (struct record *)((uint8_t *)f->writing + f->at);
	r->size = size;
	*room = (uint8_t *)(r + 1);
	f->at += size;
	return MT_OK;
}

static void wake(struct mt_feed *f)
{
	f->unwoken = 0;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&f->wanted, memory_order_relaxed))
		mt_wake(f->wake);
}

/* What was written may be read. */
static void publish(struct mt_feed *f, unsigned n)
{
	atomic_store_explicit(&f->writing->published, f->at, memory_order_release);
	f->unwoken += n;
	if (f->unwoken >= WAKE_PACKETS)
		wake(f);
}

static void sleep_ms(struct mt_feed *f, int fd, int ms)
{
	struct pollfd fds[2] = {{.fd = f->nudge.fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	wake(f);
	poll(fds, fd >= 0 ? 2 : 1, ms);
	mt_wake_disarm(&f->nudge);
	mt_wake_arm(&f->nudge);
}

/* A packet whose data is the backend's is copied.  Waits for room.  False: the thread must end. */
static bool copy_packet(struct mt_feed *f, const struct mt_packet *p, int64_t now_ms)
{
	uint8_t *room;
	size_t len = align(p->caplen) + p->options_len;
	while (mt_feed_room(f, len, true, &room) != MT_OK) {
		if (atomic_load(&f->quit))
			return false;
		sleep_ms(f, -1, 1);
	}
	struct record *r = (struct record *)room - 1;
	r->packet = *p;
	r->arrival_ms = now_ms;
	memcpy(room, p->data, p->caplen);
	r->packet.data = room;
	if (p->options_len) {
		memcpy(room + align(p->caplen), p->options, p->options_len);
		r->packet.options = room + align(p->caplen);
	}
	publish(f, 1);
	return true;
}

/* Hand the run on.  False: the thread must end. */
static bool commit(struct mt_feed *f)
{
	struct mt_source *s = f->inner;
	int64_t now_ms = mt_monotonic_ms();
	if (s->spec.kind == MT_SOURCE_FILE) {
		for (unsigned i = 0; i < s->run_n; i++)
			if (!copy_packet(f, &s->run[i], now_ms))
				return false;
		return true;
	}
	for (unsigned i = 0; i < s->run_n; i++) {
		struct record *r = (struct record *)(uintptr_t)s->run[i].data - 1;
		r->packet = s->run[i];
		r->arrival_ms = now_ms;
		f->at = (size_t)((uint8_t *)r - (uint8_t *)f->writing) +
		        r->size; /* a room may have been left empty */
	}
	publish(f, s->run_n);
	return true;
}

/* --- the capture thread: its life ------------------------------------------------------------ */

/* The kernel is asked now, or now and then. */
static void note_losses(struct mt_feed *f, bool now)
{
	int64_t now_ms = mt_monotonic_ms();
	atomic_store_explicit(&f->dropped, f->inner->dropped, memory_order_relaxed);
	if (!now && now_ms - f->asked_ms < STATISTICS_MS)
		return;
	f->asked_ms = now_ms;
	atomic_store_explicit(&f->kernel, mt_source_kernel_drops(f->inner), memory_order_relaxed);
}

/* Has the run been told to stop, and is all read that was captured before?  The kernel hands over a block
 * that is not full after a while. */
static bool is_over(struct mt_feed *f, int64_t now_ms, bool silent)
{
	if (atomic_load_explicit(&f->quit, memory_order_relaxed))
		return true;
	if (!mt_source_stopped(f->inner))
		return false;
	if (!f->stop_ms)
		f->stop_ms = now_ms;
	int64_t since = now_ms - f->stop_ms;
	return (silent && since >= mt_source_handover_ms(f->inner->context) + MARGIN_MS) || since >= DRAIN_MS;
}

/* The interface is down or gone.  True: it is back. */
static bool outlast(struct mt_feed *f, const struct mt_err *why)
{
	struct mt_source *s = f->inner;
	int64_t since_ms = mt_monotonic_ms(), last_ns = s->last_ns;
	atomic_fetch_add(&f->outages, 1);
	mt_log_error("%s; it is tried again until it is back", why->text);
	note_losses(f, true);
	struct mt_err err, said = {""};
	while (mt_source_open(s, &err)) {
		if (strcmp(err.text, said.text) != 0)
			mt_log_info(0, "%s", err.text); /* once for each reason */
		said = err;
		sleep_ms(f, -1, RETRY_MS);
		if (mt_source_stopped(s) || atomic_load(&f->quit))
			return false;
	}
	s->last_ns = last_ns;
	mt_log_warn("%s: is back and captured again; what it carried in %.1f s is missing", s->spec.target,
	            (double)(mt_monotonic_ms() - since_ms) / 1e3);
	return true;
}

static void *feed_main(void *arg)
{
	struct mt_feed *f = arg;
	struct mt_source *s = f->inner;
	pthread_setname_np(pthread_self(), "mt-capture");
	for (bool silent = false;;) {
		int64_t now_ms = mt_monotonic_ms();
		if (is_over(f, now_ms, silent))
			break;
		note_losses(f, false);
		struct mt_err err;
		s->wait_ms = -1;
		enum mt_read r = mt_source_fill(s, &err);
		silent = r == MT_WAIT;
		if (r == MT_OK && !commit(f))
			break;
		if (r == MT_ERROR && s->spec.kind == MT_SOURCE_INTERFACE && !mt_source_stopped(s)) {
			if (!outlast(f, &err))
				break;
		} else if (r == MT_ERROR || r == MT_END) {
			if (r == MT_ERROR)
				f->err = err;
			atomic_store(&f->failed, r == MT_ERROR);
			break;
		} else if (r == MT_WAIT) {
			int fd = mt_source_fd(s);
			int ms = fd < 0 && s->wait_ms >= 0 && s->wait_ms < POLL_MS ? s->wait_ms : POLL_MS;
			if (f->stop_ms)
				ms = 1;
			sleep_ms(f, fd, ms ? ms : 1);
		}
	}
	note_losses(f, true);
	mt_source_close(s);
	atomic_store(&f->ended, true);
	wake(f);
	return NULL;
}

/* --- the merging thread ---------------------------------------------------------------------- */

/* The chunk that was read last goes back: all of its packets are in batches. */
static void give(struct mt_feed *f)
{
	struct block *b = f->reading;
	f->reading = atomic_load_explicit(&b->next, memory_order_acquire);
	mt_chunk_give(f->chunks, b->chunk, f->first_batch);
	f->first_batch = 0;
	f->pos = align(sizeof *b);
}

/* The next record, or NULL. */
static const struct record *peek(struct mt_feed *f, bool may_give)
{
	for (;;) {
		struct block *b = f->reading;
		struct block *next = atomic_load_explicit(&b->next, memory_order_acquire);
		if (f->pos < atomic_load_explicit(&b->published, memory_order_acquire))
			return (const struct record *)((const uint8_t *)b + f->pos);
		if (!next || !may_give)
			return NULL;
		give(f);
	}
}

static enum mt_read feed_fill(struct mt_source *s, struct mt_err *err)
{
	struct mt_feed *f = s->impl;
	s->wait_ms = -1;
	bool ended = atomic_load(&f->ended);
	const struct record *r;
	/* One run has one time of arrival, and is in one chunk. */
	while (s->run_n < MT_RUN_PACKETS && (r = peek(f, !s->run_n))) {
		if (s->run_n && r->arrival_ms != s->arrival_ms)
			break;
		s->arrival_ms = r->arrival_ms;
		s->run[s->run_n++] = r->packet;
		f->pos += r->size;
	}
	if (s->run_n) {
		int64_t newest_ns = s->run[s->run_n - 1].ts_ns;
		s->shown_ns = newest_ns > s->shown_ns ? newest_ns : s->shown_ns;
		mt_lag_saw(&s->lag, s->run_n, s->arrival_ms, newest_ns);
		if (!f->first_batch)
			f->first_batch = mt_chunks_batch(f->chunks);
		if (atomic_load_explicit(&f->wanted, memory_order_relaxed))
			atomic_store_explicit(&f->wanted, false, memory_order_relaxed);
		return MT_OK;
	}
	if (!ended) {
		atomic_store_explicit(&f->wanted, true, memory_order_relaxed);
		return MT_WAIT;
	}
	if (!atomic_load(&f->failed))
		return MT_END;
	*err = f->err;
	return MT_ERROR;
}

struct mt_source *mt_feed_inner(const struct mt_source *s)
{
	return s->feed->inner;
}

bool mt_feed_has(struct mt_source *s)
{
	struct mt_feed *f = s->impl;
	return f && (atomic_load(&f->ended) || peek(f, true));
}

static uint64_t feed_kernel_drops(struct mt_source *s)
{
	struct mt_feed *f = s->feed;
	s->dropped = atomic_load_explicit(&f->dropped, memory_order_relaxed);
	return atomic_load_explicit(&f->kernel, memory_order_relaxed);
}

void mt_feed_nudge(struct mt_source *s)
{
	mt_wake(&s->feed->nudge);
}

void mt_feed_quit(struct mt_source *s)
{
	struct mt_feed *f = s->feed;
	if (!f->started)
		return;
	atomic_store(&f->quit, true);
	mt_feed_nudge(s);
	pthread_join(f->thread, NULL);
	f->started = false;
}

static void feed_close(struct mt_source *s)
{
	struct mt_feed *f = s->impl;
	if (!f)
		return;
	mt_feed_quit(s);
	while (f->reading)
		give(f);
	s->kernel_drops = feed_kernel_drops(s);
	s->impl = NULL;
}

static const struct mt_source_ops mt_source_feed = {
        .name = "feed",
        .fill = feed_fill,
        .kernel_drops = feed_kernel_drops,
        .close = feed_close,
};

unsigned mt_feed_outages(const struct mt_source *s)
{
	return s->feed ? atomic_load(&s->feed->outages) : 0;
}

/* --- life -------------------------------------------------------------------------------------- */

struct mt_source *mt_feed_new(struct mt_source *inner, struct mt_chunks *chunks, size_t promise_bytes,
                              struct mt_wake *wake)
{
	struct mt_feed *f = aligned_alloc(_Alignof(struct mt_feed), sizeof *f);
	struct mt_source *s = calloc(1, sizeof *s);
	if (!f || !s)
		goto fail;
	*f = (struct mt_feed){.inner = inner, .outer = s, .chunks = chunks, .wake = wake, .kernel = UINT64_MAX};
	mt_chunks_promise(chunks, &f->share, promise_bytes);
	if (mt_wake_init(&f->nudge))
		goto fail;
	mt_wake_arm(&f->nudge);
	f->writing = f->reading = block_new(f, 0);
	if (!f->writing) {
		mt_wake_close(&f->nudge);
		goto fail;
	}
	f->at = f->pos = align(sizeof(struct block));
	inner->feed = f;
	*s = (struct mt_source){.ops = &mt_source_feed,
	                        .impl = f,
	                        .feed = f,
	                        .stands_in = true,
	                        .spec = inner->spec, /* its texts stay inner's */
	                        .index = inner->index,
	                        .context = inner->context,
	                        .group = inner->group,
	                        .last_ns = INT64_MIN,
	                        .shown_ns = INT64_MIN,
	                        .kept_fd = -1,
	                        .iface = inner->iface,
	                        .first_linktype = inner->first_linktype,
	                        .microseconds = inner->microseconds,
	                        .finer_may_come = inner->finer_may_come,
	                        .kernel_drops = UINT64_MAX,
	                        .snaplen = MT_MAX_CAPLEN};
	mt_lag_begin(&s->lag);
	return s;
fail:
	mt_source_free(inner);
	free(f);
	free(s);
	return NULL;
}

int mt_feed_start(struct mt_source *s, struct mt_err *err)
{
	struct mt_feed *f = s->feed;
	if (pthread_create(&f->thread, NULL, feed_main, f))
		return mt_err_set(err, "%s: its capture thread could not be started", s->spec.target);
	f->started = true;
	return 0;
}

void mt_feed_free(struct mt_feed *f)
{
	if (!f)
		return;
	mt_chunks_disown(f->chunks, &f->share);
	mt_source_free(f->inner);
	mt_wake_close(&f->nudge);
	free(f);
}
