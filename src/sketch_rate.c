/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_rate.c - packets and bytes by interval of time, for the last `keep` intervals (3,600 by default).
 *
 * A ring of slots.  What it holds in the end is all that fell into the last intervals, whatever order it came
 * in: a slot is dropped only when a newer one needs its place, and counted then, as are packets that come after
 * that.  So a merge gives exactly what one would have given.
 *
 * Almost every packet falls into the interval of the one before, which is found without a division: 2 ns.
 */
#include <stdlib.h>

#include "sketch.h"

#define NEVER INT64_MIN

struct saved_head {
	int64_t every_ns, newest;
	uint32_t keep, n; /* slots that follow, the last of them the newest */
	struct mt_rate_slot total, dropped;
};

struct rate {
	struct mt_rate view;       /* what Lua sees; the first member */
	int64_t start;             /* of the interval that was added to last, ns */
	struct mt_rate_slot *slot; /* its slot; NULL: none, or it begins before time does */
};

static int64_t floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The first interval that there is a slot for when that one is the newest. */
static inline int64_t oldest(const struct mt_rate *view, int64_t newest)
{
	return newest - view->keep + 1;
}

static inline struct mt_rate_slot *slot_of(const struct rate *r, int64_t interval)
{
	int64_t place = interval % r->view.keep;
	return &r->view.slots[place < 0 ? place + r->view.keep : place];
}

static bool is_empty(const struct mt_rate_slot *slot)
{
	return slot->packets == 0 && slot->bytes == 0;
}

static inline void add_to(struct mt_rate_slot *slot, double packets, double bytes)
{
	slot->packets += packets;
	slot->bytes += bytes;
}

/* The ring moves on to an interval after the newest. */
static void advance(struct rate *r, int64_t interval)
{
	struct mt_rate *view = &r->view;
	int64_t from = view->newest == NEVER ? interval : view->newest + 1;
	if (from < oldest(view, interval))
		from = oldest(view, interval);
	for (int64_t i = from; i <= interval; i++) {
		struct mt_rate_slot *slot = slot_of(r, i);
		add_to(&view->dropped, slot->packets, slot->bytes);
		*slot = (struct mt_rate_slot){0};
	}
	view->newest = interval;
}

static void add_to_interval(struct rate *r, int64_t interval, double packets, double bytes)
{
	struct mt_rate *view = &r->view;
	if (view->newest == NEVER || interval > view->newest)
		advance(r, interval);
	if (interval < oldest(view, view->newest)) {
		add_to(&view->dropped, packets, bytes);
		return;
	}
	struct mt_rate_slot *slot = slot_of(r, interval);
	add_to(slot, packets, bytes);
	r->slot = __builtin_mul_overflow(interval, view->every_ns, &r->start) ? NULL : slot;
}

void mt_rate_add(struct mt_rate *view, int64_t ts_ns, double packets, double bytes)
{
	struct rate *r = (struct rate *)view;
	add_to(&view->total, packets, bytes);
	if (r->slot && ts_ns >= r->start && (uint64_t)ts_ns - (uint64_t)r->start < (uint64_t)view->every_ns)
		add_to(r->slot, packets, bytes);
	else
		add_to_interval(r, floor_divide(ts_ns, view->every_ns), packets, bytes);
}

/* --- merge ----------------------------------------------------------------------------------- */

void mt_rate_merge(struct mt_rate *view, const struct mt_rate *other)
{
	struct rate *r = (struct rate *)view;
	add_to(&view->total, other->total.packets, other->total.bytes);
	add_to(&view->dropped, other->dropped.packets, other->dropped.bytes);
	if (other->newest == NEVER)
		return;
	for (int64_t i = oldest(other, other->newest); i <= other->newest; i++) {
		const struct mt_rate_slot *slot = slot_of((const struct rate *)other, i);
		if (!is_empty(slot) || i == other->newest)
			add_to_interval(r, i, slot->packets, slot->bytes);
	}
}

/* --- saved state ------------------------------------------------------------------------------ */

size_t mt_rate_save(const struct mt_rate *view, uint8_t *to)
{
	const struct rate *r = (const struct rate *)view;
	struct mt_save save = {.to = to};
	struct saved_head head = {view->every_ns, view->newest, view->keep, 0, view->total, view->dropped};
	int64_t from = view->newest == NEVER ? 0 : oldest(view, view->newest);
	int64_t to_interval = view->newest == NEVER ? -1 : view->newest;
	while (from < to_interval && is_empty(slot_of(r, from)))
		from++;
	head.n = (uint32_t)(to_interval - from + 1);
	mt_save_bytes(&save, &head, sizeof head);
	for (int64_t i = from; i <= to_interval; i++)
		mt_save_bytes(&save, slot_of(r, i), sizeof *view->slots);
	return save.size;
}

static bool is_sound(const struct saved_head *head, size_t left)
{
	double sums[4] = {head->total.packets, head->total.bytes, head->dropped.packets, head->dropped.bytes};
	int64_t end = INT64_MAX / MT_RATE_LEAST_NS + 1; /* of intervals, both ways */
	return mt_are_sums(sums, 4) && head->n <= head->keep && left == head->n * sizeof(struct mt_rate_slot) &&
	       (head->newest == NEVER ? head->n == 0
	                              : head->n > 0 && head->newest >= -end && head->newest <= end);
}

static bool restore_slots(struct rate *r, struct mt_saved *saved, const struct saved_head *head)
{
	struct mt_rate_slot slot;
	int64_t interval = head->newest - head->n + 1;
	r->view.newest = head->newest;
	for (; mt_saved_read(saved, &slot, sizeof slot); interval++) {
		if (!mt_is_sum(slot.packets) || !mt_is_sum(slot.bytes))
			return false;
		*slot_of(r, interval) = slot;
	}
	r->view.total = head->total;
	r->view.dropped = head->dropped;
	return true;
}

struct mt_rate *mt_rate_restore(const uint8_t *bytes, size_t len)
{
	struct mt_saved saved = {.at = bytes, .left = len};
	struct saved_head head;
	if (!mt_saved_read(&saved, &head, sizeof head) || !is_sound(&head, saved.left))
		return NULL;
	struct mt_rate *view = mt_rate_new((double)head.every_ns, head.keep);
	if (view && restore_slots((struct rate *)view, &saved, &head))
		return view;
	mt_rate_free(view);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

struct mt_rate *mt_rate_new(double every_ns, uint32_t keep)
{
	if (!(every_ns >= MT_RATE_LEAST_NS && every_ns <= 0x1p53) || keep < 1 || keep > MT_RATE_MOST_KEEP)
		return NULL;
	struct rate *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->view = (struct mt_rate){.every_ns = (int64_t)every_ns, .newest = NEVER, .keep = keep};
	r->view.slots = calloc(keep, sizeof *r->view.slots);
	r->view.memory = (double)(sizeof *r + keep * sizeof *r->view.slots);
	if (r->view.slots)
		return &r->view;
	free(r);
	return NULL;
}

void mt_rate_clear(struct mt_rate *view)
{
	struct rate *r = (struct rate *)view;
	memset(view->slots, 0, view->keep * sizeof *view->slots);
	view->total = view->dropped = (struct mt_rate_slot){0};
	view->newest = NEVER;
	r->slot = NULL;
}

void mt_rate_free(struct mt_rate *view)
{
	if (!view)
		return;
	free(view->slots);
	free(view);
}
