/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reorder.c - a binary heap of packets whose data is copied into chunks.
 *
 * A million packets a second held for 100 ms are 100,000 in the heap: some 17 comparisons each.
 * A chunk is given back when all of its packets are in batches.
 */
#include "reorder.h"

#include <stdlib.h>
#include <string.h>

#include "units.h"

#define CLOCK_SET_BACK_NS INT64_C(60000000000) /* what is earlier by more is a new clock */

enum { ALIGN = 8 };

struct block {
	struct mt_chunk *chunk;
	size_t used;
	unsigned left;  /* packets in it that are not in a batch yet */
	uint64_t first; /* batch that the first of them went into; 0: none did */
};

struct held {
	int64_t ts_ns;
	uint64_t number; /* in order of coming */
	int64_t arrival_ms;
	struct block *block;
	struct mt_packet packet;
};

struct mt_reorder {
	struct mt_chunks *pool;
	struct mt_chunk_share share;
	int64_t span_ns;
	int64_t newest_ns; /* latest time that came */
	uint64_t number;
	bool flushing; /* the clock was set back: all that is held leaves first */
	struct held *heap;
	size_t n, size;
	struct block *current;

	struct mt_packet raw[MT_RUN_PACKETS]; /* come and not yet copied */
	unsigned raw_pos, raw_n;
	int64_t raw_arrival_ms;
	struct block *in_run[MT_RUN_PACKETS]; /* where the packets of the source's run are */
	unsigned n_in_run;
	enum mt_read over; /* MT_END or MT_ERROR when nothing more will come, else MT_OK */
	struct mt_err err;
};

struct mt_reorder *mt_reorder_new(struct mt_chunks *pool, uint32_t span_ms)
{
	struct mt_reorder *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	*r = (struct mt_reorder){
	        .pool = pool, .span_ns = (int64_t)span_ms * 1000000, .newest_ns = INT64_MIN, .over = MT_OK};
	return r;
}

/* --- the heap ------------------------------------------------------------------------------ */

static bool before(const struct held *a, const struct held *b)
{
	return a->ts_ns != b->ts_ns ? a->ts_ns < b->ts_ns : a->number < b->number;
}

static bool push(struct mt_reorder *r, const struct held *h)
{
	if (r->n == r->size) {
		size_t size = r->size ? 2 * r->size : 1024;
		struct held *heap = reallocarray(r->heap, size, sizeof *heap);
		if (!heap)
			return false;
		r->heap = heap;
		r->size = size;
	}
	size_t i = r->n++;
	for (; i && before(h, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
		r->heap[i] = r->heap[(i - 1) / 2];
	r->heap[i] = *h;
	return true;
}

static struct held pop(struct mt_reorder *r)
{
	struct held first = r->heap[0], last = r->heap[--r->n];
	size_t i = 0;
	for (size_t child = 1; child < r->n; child = 2 * i + 1) {
		child += child + 1 < r->n && before(&r->heap[child + 1], &r->heap[child]);
		if (!before(&r->heap[child], &last))
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	r->heap[i] = last;
	return first;
}

/* --- what is held ---------------------------------------------------------------------------- */

static size_t align(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static void give_if_done(struct mt_reorder *r, struct block *b)
{
	if (b->left || b == r->current)
		return;
	mt_chunk_give(r->pool, b->chunk, b->first);
	free(b);
}

/* A block with room for len bytes; NULL: there is no memory for one. */
static struct block *find_room(struct mt_reorder *r, size_t len)
{
	struct block *b = r->current;
	if (b && b->chunk->size - b->used >= len)
		return b;
	struct block *fresh = calloc(1, sizeof *fresh);
	if (!fresh || !(fresh->chunk = mt_chunk_take(r->pool, &r->share, len))) {
		free(fresh);
		return NULL;
	}
	r->current = fresh;
	if (b)
		give_if_done(r, b);
	return fresh;
}

/* Copy a packet that came.  False: there is no memory for it. */
static bool hold(struct mt_reorder *r, const struct mt_packet *p)
{
	size_t caplen = align(p->caplen), len = align(caplen + p->options_len + MT_DATA_SLACK);
	struct block *b = find_room(r, len);
	if (!b)
		return false;
	struct held h = {.ts_ns = p->ts_ns,
	                 .number = r->number++,
	                 .arrival_ms = r->raw_arrival_ms,
	                 .block = b,
	                 .packet = *p};
	uint8_t *room = b->chunk->data + b->used;
	memcpy(room, p->data, p->caplen);
	h.packet.data = room;
	if (p->options_len) {
		memcpy(room + caplen, p->options, p->options_len);
		h.packet.options = room + caplen;
	}
	h.packet.flags &= (uint8_t)~MT_PACKET_DISORDER;
	if (!push(r, &h))
		return false;
	b->used += len;
	b->left++;
	return true;
}

/* Times up to here are complete: none earlier is expected. */
static int64_t horizon(const struct mt_reorder *r)
{
	int64_t ns;
	return __builtin_sub_overflow(r->newest_ns, r->span_ns, &ns) ? INT64_MIN : ns;
}

/* May the earliest packet leave? */
static bool may_leave(const struct mt_reorder *r, int64_t now_ms)
{
	const struct held *h = &r->heap[0];
	return r->flushing || r->over != MT_OK || horizon(r) >= h->ts_ns ||
	       (now_ms && now_ms - h->arrival_ms >= r->span_ns / 1000000);
}

static void leave(struct mt_reorder *r, struct mt_source *s)
{
	struct held h = pop(r);
	if (!h.block->first)
		h.block->first = mt_chunks_batch(r->pool);
	if (!s->run_n || h.arrival_ms > s->arrival_ms)
		s->arrival_ms = h.arrival_ms;
	r->in_run[r->n_in_run++] = h.block;
	s->run[s->run_n++] = h.packet;
}

/* The packets of the last run are in batches. */
static void run_is_used_up(struct mt_reorder *r)
{
	for (unsigned i = 0; i < r->n_in_run; i++) {
		r->in_run[i]->left--;
		give_if_done(r, r->in_run[i]);
	}
	r->n_in_run = 0;
}

/* --- filling --------------------------------------------------------------------------------- */

/* Copy what came.  False: there is no memory for all of it. */
static bool take_in(struct mt_reorder *r)
{
	for (; r->raw_pos < r->raw_n; r->raw_pos++) {
		const struct mt_packet *p = &r->raw[r->raw_pos];
		bool set_back =
		        p->ts_ns < INT64_MAX - CLOCK_SET_BACK_NS && p->ts_ns + CLOCK_SET_BACK_NS < r->newest_ns;
		r->flushing = set_back && r->n;
		if (r->flushing)
			break;
		if (!hold(r, p))
			return false;
		if (p->ts_ns > r->newest_ns || set_back)
			r->newest_ns = p->ts_ns;
	}
	return true;
}

static void get_more(struct mt_reorder *r, struct mt_source *s,
                     enum mt_read (*fill)(struct mt_source *s, struct mt_err *err), enum mt_read *result)
{
	*result = fill(s, &r->err);
	if (*result == MT_END || *result == MT_ERROR)
		r->over = *result;
	r->raw_pos = 0;
	r->raw_n = *result == MT_OK ? s->run_n : 0;
	r->raw_arrival_ms = s->arrival_ms;
	memcpy(r->raw, s->run, r->raw_n * sizeof *r->raw);
	s->run_n = 0;
}

/* What a quiet source has shown: nothing earlier than what is held will come. */
static void show(const struct mt_reorder *r, struct mt_source *s)
{
	if (s->shown_ns == INT64_MIN)
		return;
	s->shown_ns = horizon(r);
	if (r->n && r->heap[0].ts_ns < s->shown_ns)
		s->shown_ns = r->heap[0].ts_ns;
}

enum mt_read mt_reorder_fill(struct mt_reorder *r, struct mt_source *s,
                             enum mt_read (*fill)(struct mt_source *s, struct mt_err *err), struct mt_err *err)
{
	enum mt_read result = MT_OK;
	bool squeezed = false;
	int64_t now_ms = 0;
	run_is_used_up(r);
	for (;;) {
		while (r->n && s->run_n < MT_RUN_PACKETS && (squeezed || may_leave(r, now_ms)))
			leave(r, s);
		if (s->run_n)
			break;
		if (r->over != MT_OK) {
			*err = r->err;
			return r->over;
		}
		if (now_ms) { /* it has nothing, and what is held is too fresh */
			if (r->n)
				s->wait_ms = (int)(r->span_ns / 1000000 - (now_ms - r->heap[0].arrival_ms));
			break;
		}
		squeezed = !take_in(r);
		if (squeezed && !r->n) {
			mt_err_set(err, "out of memory for a packet that --reorder holds");
			return MT_ERROR;
		}
		if (squeezed || r->raw_pos < r->raw_n || (r->n && may_leave(r, 0)))
			continue;
		get_more(r, s, fill, &result);
		if (result == MT_FULL)
			return MT_FULL;
		if (result == MT_WAIT)
			now_ms = mt_monotonic_ms();
		if (result == MT_WAIT && !s->spec.live)
			return MT_WAIT;
	}
	show(r, s);
	return s->run_n ? MT_OK : MT_WAIT;
}

/* --- life -------------------------------------------------------------------------------------- */

void mt_reorder_clear(struct mt_reorder *r)
{
	if (!r)
		return;
	struct block *current = r->current;
	r->current = NULL;
	if (current && !current->left)
		give_if_done(r, current);
	run_is_used_up(r);
	while (r->n) {
		struct held h = pop(r);
		h.block->left--;
		give_if_done(r, h.block);
	}
	r->raw_pos = r->raw_n = 0;
	r->flushing = false;
	r->over = MT_OK;
	r->newest_ns = INT64_MIN;
}

void mt_reorder_free(struct mt_reorder *r)
{
	if (!r)
		return;
	mt_reorder_clear(r);
	mt_chunks_disown(r->pool, &r->share);
	free(r->heap);
	free(r);
}
