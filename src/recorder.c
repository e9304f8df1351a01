/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recorder.c - a ring of bytes: records one behind the other, with room left at the end where the next one did
 * not fit.  A packet costs one copy, whether it is written in the end or not.
 */
#include "recorder.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum { REASON_BYTES = 64, TEXT_BYTES = 512, MAX_PENDING = 32, DUMP_PACKETS = 256, ALIGN = 8 };

/* What stands before the data and options of a packet. */
struct record {
	size_t size; /* to the next record; 0: the next one is at the ring's begin */
	struct mt_packet packet;
};

struct trigger {
	char reason[REASON_BYTES];
	int64_t ts_ns, post_ns;
};

struct mt_recorder {
	int64_t pre_ns;
	uint8_t *ring;
	size_t size, head, tail; /* records are from head to tail; equal: there are none */
	uint64_t held, passed;
	int64_t newest_ns; /* of a packet whose clock did not jump; INT64_MIN: none */
	struct mt_counts_table *counts;

	bool recording;
	int64_t end_ns;            /* what is later is not written any more */
	char texts[2][TEXT_BYTES]; /* reasons of the segment that is written, and of the one before */
	unsigned text;
	uint64_t recordings;

	pthread_mutex_t lock; /* of what follows */
	struct trigger pending[MAX_PENDING];
	_Atomic unsigned n_pending;
	uint64_t triggers;
};

struct mt_recorder *mt_recorder_new(int64_t pre_ns, size_t bytes, struct mt_counts_table *counts)
{
	struct mt_recorder *r = calloc(1, sizeof *r);
	uint8_t *ring = malloc(bytes); /* pages that are never used cost nothing */
	if (!r || !ring) {
		free(r);
		free(ring);
		return NULL;
	}
	*r = (struct mt_recorder){
	        .pre_ns = pre_ns, .ring = ring, .size = bytes, .newest_ns = INT64_MIN, .counts = counts};
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void mt_recorder_free(struct mt_recorder *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r->ring);
	free(r);
}

void mt_recorder_trigger(struct mt_recorder *r, const char *reason, int64_t ts_ns, int64_t post_ns)
{
	pthread_mutex_lock(&r->lock);
	unsigned n = atomic_load(&r->n_pending);
	r->triggers++;
	if (n == MAX_PENDING) { /* so many at once say the same: the last one reaches furthest */
		struct trigger *last = &r->pending[n - 1];
		last->post_ns = post_ns > last->post_ns ? post_ns : last->post_ns;
		last->ts_ns = ts_ns;
	} else {
		snprintf(r->pending[n].reason, REASON_BYTES, "%s", *reason ? reason : "trigger");
		r->pending[n].ts_ns = ts_ns;
		r->pending[n].post_ns = post_ns;
		atomic_store(&r->n_pending, n + 1);
	}
	pthread_mutex_unlock(&r->lock);
}

/* The first trigger that is not later than ts_ns. */
static bool take_trigger(struct mt_recorder *r, int64_t ts_ns, struct trigger *trigger)
{
	bool found = false;
	if (!atomic_load_explicit(&r->n_pending, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&r->lock);
	unsigned n = atomic_load(&r->n_pending);
	if (n && r->pending[0].ts_ns <= ts_ns) {
		found = true;
		*trigger = r->pending[0];
		memmove(r->pending, r->pending + 1, (n - 1) * sizeof *r->pending);
		atomic_store(&r->n_pending, n - 1);
	}
	pthread_mutex_unlock(&r->lock);
	return found;
}

/* --- the ring -------------------------------------------------------------------------------- */

static size_t align(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static struct record *first(struct mt_recorder *r)
{
	if (r->head == r->tail)
		return NULL;
	struct record *rec = (struct record *)(r->ring + r->head);
	if (r->size - r->head >= sizeof *rec && rec->size)
		return rec;
	r->head = 0;
	return r->head == r->tail ? NULL : (struct record *)r->ring;
}

static void remove_first(struct mt_recorder *r, const struct record *rec)
{
	r->head += rec->size;
	r->held--;
}

/* The oldest leaves, unwritten. */
static void pass_first(struct mt_recorder *r)
{
	struct record *rec = first(r);
	mt_counts_pass(r->counts, rec->packet.iface);
	r->passed++;
	remove_first(r, rec);
}

/* Room for a record of n bytes at the tail.  NULL: the ring is smaller than that. */
static struct record *make_room(struct mt_recorder *r, size_t n)
{
	if (n >= r->size)
		return NULL;
	for (;;) {
		if (r->held == 0)
			r->head = r->tail = 0;
		if (r->tail >= r->head) {
			if (r->size - r->tail >= n)
				return (struct record *)(r->ring + r->tail);
			if (r->head > n) { /* the tail must not meet the head */
				if (r->size - r->tail >= sizeof(struct record))
					((struct record *)(r->ring + r->tail))->size = 0;
				r->tail = 0;
				return (struct record *)r->ring;
			}
		} else if (r->head - r->tail > n) {
			return (struct record *)(r->ring + r->tail);
		}
		pass_first(r);
	}
}

static bool is_too_old(const struct mt_recorder *r, const struct record *rec)
{
	int64_t age_ns;
	if (r->newest_ns == INT64_MIN) /* only clocks that jumped so far */
		return false;
	return __builtin_sub_overflow(r->newest_ns, rec->packet.ts_ns, &age_ns)
	               ? r->newest_ns > rec->packet.ts_ns
	               : age_ns > r->pre_ns;
}

static void keep(struct mt_recorder *r, const struct mt_packet *p)
{
	size_t data = align(p->caplen),
	       size = align(sizeof(struct record) + data + p->options_len + MT_DATA_SLACK);
	struct record *rec = make_room(r, size);
	if (!rec) {
		mt_counts_pass(r->counts, p->iface);
		r->passed++;
		return;
	}
	uint8_t *at = (uint8_t *)(rec + 1);
	rec->size = size;
	rec->packet = *p;
	memcpy(at, p->data, p->caplen);
	rec->packet.data = at;
	if (p->options_len) {
		memcpy(at + data, p->options, p->options_len);
		rec->packet.options = at + data;
	}
	r->tail += size;
	r->held++;
	if (!(p->flags & MT_PACKET_CLOCK_JUMP) && p->ts_ns > r->newest_ns)
		r->newest_ns = p->ts_ns;
	for (struct record *old; (old = first(r)) && old != rec && is_too_old(r, old);)
		pass_first(r);
}

/* --- recording ------------------------------------------------------------------------------- */

/* Write what the ring holds of the time from from_ns on, in pieces. */
static int dump(struct mt_recorder *r, struct mt_output *o, int64_t from_ns, struct mt_err *err)
{
	struct mt_packet packets[DUMP_PACKETS];
	struct record *rec;
	while ((rec = first(r))) {
		uint32_t n = 0;
		for (; n < DUMP_PACKETS && (rec = first(r));) {
			if (rec->packet.ts_ns < from_ns) {
				if (n)
					break;
				pass_first(r);
				continue;
			}
			packets[n++] = rec->packet;
			remove_first(r, rec);
		}
		if (n && mt_output_write(o, packets, n, MT_VERDICT_DEFAULT, err))
			return -1;
		for (uint32_t i = 0; i < n; i++)
			if (packets[i].verdict == MT_VERDICT_UNWRITABLE)
				mt_counts_refuse(r->counts, packets[i].iface);
	}
	return 0;
}

static int64_t later(int64_t ts_ns, int64_t by_ns)
{
	int64_t sum;
	return __builtin_add_overflow(ts_ns, by_ns, &sum) ? INT64_MAX : sum;
}

static void add_reason(struct mt_recorder *r, struct mt_output *o, const char *reason)
{
	char *text = r->texts[r->text];
	size_t len = strlen(text), more = strlen(reason);
	if (len + more + 3 > TEXT_BYTES)
		return;
	snprintf(text + len, TEXT_BYTES - len, ", %s", reason);
	mt_output_set_reason(o, text, false);
}

/* A trigger: begin a segment, or extend the one that is written. */
static int obey(struct mt_recorder *r, struct mt_output *o, const struct trigger *t, struct mt_err *err)
{
	int64_t ts_ns = t->ts_ns == INT64_MIN ? r->newest_ns : t->ts_ns;
	int64_t end_ns = later(ts_ns == INT64_MIN ? 0 : ts_ns, t->post_ns);
	if (r->recording) {
		r->end_ns = end_ns > r->end_ns ? end_ns : r->end_ns;
		add_reason(r, o, t->reason);
		return 0;
	}
	r->recording = true;
	r->recordings++;
	r->end_ns = end_ns;
	r->text = !r->text;
	snprintf(r->texts[r->text], TEXT_BYTES, "%s", t->reason);
	mt_output_set_reason(o, r->texts[r->text], true);
	mt_log_info(1, "recording: %s", t->reason);
	int64_t from_ns;
	if (ts_ns == INT64_MIN || __builtin_sub_overflow(ts_ns, r->pre_ns, &from_ns))
		from_ns = INT64_MIN;
	return dump(r, o, from_ns, err);
}

static int end_recording(struct mt_recorder *r, struct mt_output *o, struct mt_err *err)
{
	r->recording = false;
	return mt_output_rotate(o, "trigger", err);
}

/* A clock that jumped is not believed. */
static int64_t time_of(const struct mt_recorder *r, const struct mt_packet *p)
{
	return p->flags & MT_PACKET_CLOCK_JUMP ? r->newest_ns : p->ts_ns;
}

/* Begin and end what is due before a packet of ts_ns. */
static int act(struct mt_recorder *r, struct mt_output *o, int64_t ts_ns, struct mt_err *err)
{
	struct trigger t;
	for (;;) {
		/* A trigger before the end extends the recording. */
		int64_t until_ns = r->recording && r->end_ns < ts_ns ? r->end_ns : ts_ns;
		if (take_trigger(r, until_ns, &t)) {
			if (obey(r, o, &t, err))
				return -1;
		} else if (r->recording && ts_ns > r->end_ns) {
			if (end_recording(r, o, err))
				return -1;
		} else {
			return 0;
		}
	}
}

int mt_recorder_write(struct mt_recorder *r, struct mt_output *o, struct mt_packet *packets, uint32_t n,
                      struct mt_err *err)
{
	for (uint32_t i = 0; i < n;) {
		if (act(r, o, time_of(r, &packets[i]), err))
			return -1;
		if (!r->recording) {
			if (packets[i].verdict == MT_VERDICT_DEFAULT)
				keep(r, &packets[i]);
			i++;
			continue;
		}
		/* As many at once as nothing can happen between. */
		uint32_t to = i + 1;
		while (to < n && (packets[to].ts_ns <= r->end_ns || packets[to].flags & MT_PACKET_CLOCK_JUMP) &&
		       !atomic_load_explicit(&r->n_pending, memory_order_relaxed))
			to++;
		for (uint32_t k = i; k < to; k++)
			if (!(packets[k].flags & MT_PACKET_CLOCK_JUMP) && packets[k].ts_ns > r->newest_ns)
				r->newest_ns = packets[k].ts_ns;
		if (mt_output_write(o, packets + i, to - i, MT_VERDICT_DEFAULT, err))
			return -1;
		i = to;
	}
	return 0;
}

bool mt_recorder_needs_hook(struct mt_recorder *r, const struct mt_output *o, const struct mt_packet *packet,
                            bool takes)
{
	int64_t ts_ns = time_of(r, packet);
	bool triggered = false;
	if (atomic_load(&r->n_pending)) {
		pthread_mutex_lock(&r->lock);
		triggered = atomic_load(&r->n_pending) && r->pending[0].ts_ns <= ts_ns;
		pthread_mutex_unlock(&r->lock);
	}
	return triggered || (r->recording && (ts_ns > r->end_ns || mt_output_needs_hook(o, packet, takes)));
}

int mt_recorder_prepare(struct mt_recorder *r, struct mt_output *o, const struct mt_packet *packet,
                        struct mt_err *err)
{
	if (act(r, o, time_of(r, packet), err))
		return -1;
	return r->recording ? mt_output_prepare(o, packet, err) : 0;
}

int mt_recorder_tick(struct mt_recorder *r, struct mt_output *o, int64_t clock_ns, struct mt_err *err)
{
	if (clock_ns > r->newest_ns && clock_ns != INT64_MIN)
		return act(r, o, clock_ns, err);
	return act(r, o, r->newest_ns, err);
}

int mt_recorder_end(struct mt_recorder *r, struct mt_output *o, struct mt_err *err)
{
	struct trigger t;
	while (take_trigger(r, INT64_MAX, &t))
		if (obey(r, o, &t, err))
			return -1;
	while (first(r))
		pass_first(r);
	return 0;
}

uint64_t mt_recorder_held(const struct mt_recorder *r)
{
	return r->held;
}

uint64_t mt_recorder_passed(const struct mt_recorder *r)
{
	return r->passed;
}

json_t *mt_recorder_json(const struct mt_recorder *r)
{
	return json_pack("{s:I, s:I, s:I}", "triggers", (json_int_t)r->triggers, "recordings",
	                 (json_int_t)r->recordings, "not_recorded", (json_int_t)r->passed);
}
