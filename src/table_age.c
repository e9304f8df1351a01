/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_age.c - entries that end by themselves: for their age, or for want of room; see table.h.
 *
 * An entry's time comes at last_ns + idle or at first_ns + active, whichever is sooner.  Two wheels
 * (table_wheel.c) hold the places, by that time and, where the table evicts, by the number of the
 * last use.  Both numbers only rise while an entry lives, so that a lookup has but to store them.
 *
 * Order: entries end in the order of their time, those of the same nanosecond in the order in
 * which they came.  What has ended is out of the index at once; if it is to be reported its
 * place waits in `ended` until Lua has asked for it.
 */
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define SOON (UINT64_C(1) << 16) /* ns; what ends within them is prepared for that */

static struct mt_table_body *body(const struct mt_table *view)
{
	return (struct mt_table_body *)(uintptr_t)view;
}

/* Times as numbers of a wheel, which have no sign. */
static inline uint64_t number_of(int64_t ns)
{
	return (uint64_t)ns ^ UINT64_C(1) << 63;
}

static inline int64_t time_of(uint64_t number)
{
	return (int64_t)(number ^ UINT64_C(1) << 63);
}

static inline int64_t after(int64_t ns, int64_t span_ns)
{
	int64_t sum;
	return span_ns == MT_NEVER || __builtin_add_overflow(ns, span_ns, &sum) ? MT_NEVER : sum;
}

/* When an entry ends, and of what. */
static int64_t end_of(const struct mt_table_body *t, const struct mt_table_age *age, uint32_t *reason)
{
	int64_t idle = after(age->last_ns, t->plan.idle_ns), active = after(age->first_ns, t->plan.active_ns);
	*reason = active < idle ? MT_ENDED_ACTIVE : MT_ENDED_IDLE;
	return active < idle ? active : idle;
}

/* --- entries that have ended --------------------------------------------------------------- */

static bool ended_room(struct mt_table_body *t)
{
	if (t->n_ended < t->ended_room)
		return true;
	uint32_t room = t->ended_room ? t->ended_room * 2 : 64;
	struct mt_ended *grown = realloc(t->ended, room * sizeof *grown);
	if (!grown)
		return false;
	t->ended = grown;
	t->ended_room = room;
	return true;
}

static void end_entry(struct mt_table_body *t, uint32_t place, uint32_t reason)
{
	struct mt_table_entry *entry = mt_entry_at(t, place);
	mt_table_unlink(t, entry);
	t->view.idle += reason == MT_ENDED_IDLE;
	t->view.active += reason == MT_ENDED_ACTIVE;
	t->view.evicted += reason == MT_ENDED_FULL;
	if (!ended_room(t)) {
		mt_table_free_place(t, place); /* there is no memory left to report it */
		return;
	}
	entry->generation = -entry->generation;
	t->ended[t->n_ended++] = (struct mt_ended){place, reason};
	t->view.ended = (int32_t)(t->n_ended - t->ended_head);
}

static int by_coming(const void *a, const void *b, void *table)
{
	const struct mt_table_body *t = table;
	const struct mt_ended *x = a, *y = b;
	double i = mt_entry_at(t, x->place)->generation, j = mt_entry_at(t, y->place)->generation;
	return (i < j) - (i > j); /* below 0 */
}

/* Those from number `from` on ended at the same moment. */
static void sort_ended(struct mt_table_body *t, uint32_t from)
{
	if (t->n_ended - from > 1)
		qsort_r(t->ended + from, t->n_ended - from, sizeof *t->ended, by_coming, t);
}

/* Nobody asks for them: their places are free. */
static void let_ended_go(struct mt_table_body *t)
{
	for (uint32_t i = t->ended_head; i < t->n_ended; i++)
		mt_table_free_place(t, t->ended[i].place);
	t->n_ended = t->ended_head = 0;
	t->view.ended = 0;
}

/* Before this nothing ends by time.  While entries wait to be reported that is at once, so that what an
 * error has left is not forgotten. */
static void set_due(struct mt_table_body *t)
{
	uint64_t number;
	bool exact;
	if (!t->times)
		return;
	if (t->view.ended)
		t->view.due_ns = MT_NO_TIME;
	else
		t->view.due_ns = mt_wheel_first(t->times, &number, &exact) ? time_of(number) : MT_NEVER;
}

struct mt_table_entry *mt_table_next_ended(struct mt_table *view)
{
	struct mt_table_body *t = body(view);
	if (t->reported != MT_NO_PLACE)
		mt_table_free_place(t, t->reported);
	t->reported = MT_NO_PLACE;
	if (t->ended_head == t->n_ended) {
		t->ended_head = t->n_ended = 0;
		set_due(t);
		return NULL;
	}
	struct mt_ended ended = t->ended[t->ended_head++];
	t->reported = ended.place;
	view->ended--;
	view->reason = (int32_t)ended.reason;
	return mt_entry_at(t, ended.place);
}

void mt_table_drain(struct mt_table *view)
{
	struct mt_table_body *t = body(view);
	uint32_t from = t->n_ended;
	for (uint32_t place = 0; place < (uint32_t)view->used; place++)
		if (mt_entry_at(t, place)->generation > 0)
			end_entry(t, place, MT_ENDED_DRAINED);
	sort_ended(t, from);
}

/* --- by time ------------------------------------------------------------------------------- */

/* The next places of a list, with their entries on the way. */
static uint32_t take_some(const struct mt_table_body *t, struct mt_wheel *w, uint32_t *list, uint32_t *places)
{
	uint32_t n = mt_wheel_take(w, list, places);
	for (uint32_t i = 0; i < n; i++) {
		struct mt_table_entry *entry = mt_entry_at(t, places[i]);
		__builtin_prefetch(entry);
		__builtin_prefetch(mt_entry_age(t, entry));
	}
	return n;
}

/* A place of a slot that was opened: its entry ends, or the place goes where it belongs by now. */
static void end_or_push(struct mt_table_body *t, uint32_t place, uint64_t number, bool exact)
{
	uint32_t reason;
	struct mt_table_entry *entry = mt_entry_at(t, place);
	if (entry->generation <= 0)
		return;
	int64_t end = end_of(t, mt_entry_age(t, entry), &reason);
	if (exact && number_of(end) <= number) {
		end_entry(t, place, reason);
	} else if (end != MT_NEVER) {
		mt_wheel_push(t->times, place, number_of(end));
		if ((number_of(end) ^ number) < SOON)
			mt_table_fetch(t, entry);
	}
}

static void open_times(struct mt_table_body *t, uint64_t number, bool exact)
{
	uint32_t from = t->n_ended, places[MT_BUNDLE], list = mt_wheel_open(t->times), n;
	while ((n = take_some(t, t->times, &list, places)))
		for (uint32_t i = 0; i < n; i++)
			end_or_push(t, places[i], number, exact);
	sort_ended(t, from);
}

/* The wheel is turned on to the next time that may be one, also when that is to come: then
 * nothing needs to be looked at before. */
void mt_table_expire(struct mt_table *view, int64_t now_ns)
{
	struct mt_table_body *t = body(view);
	uint64_t number;
	bool exact;
	mt_ages_set_now(t, now_ns);
	while (mt_wheel_first(t->times, &number, &exact)) {
		if (exact && number > number_of(view->now_ns))
			break;
		open_times(t, number, exact);
	}
	if (!t->plan.reports)
		let_ended_go(t);
	set_due(t);
}

static void hang_in(struct mt_table_body *t, uint32_t place)
{
	const struct mt_table_age *age = mt_entry_age(t, mt_entry_at(t, place));
	uint32_t reason;
	int64_t end = end_of(t, age, &reason);
	if (end == MT_NEVER || t->view.now_ns == MT_NO_TIME)
		return;
	if (end < t->view.due_ns)
		t->view.due_ns = end;
	if (!mt_wheel_has(t->times, place))
		mt_wheel_push(t->times, place, number_of(end));
}

/* --- by use -------------------------------------------------------------------------------- */

static uint64_t use_of(const struct mt_table_body *t, uint32_t place)
{
	return (uint64_t)*mt_entry_used(t, mt_entry_at(t, place));
}

/* Open the first slot: the place that is used least recently if it is exact; the others are hung in again. */
static uint32_t open_uses(struct mt_table_body *t, uint64_t number, bool exact)
{
	uint32_t found = MT_NO_PLACE, places[MT_BUNDLE], list = mt_wheel_open(t->uses), n;
	while ((n = take_some(t, t->uses, &list, places))) {
		for (uint32_t i = 0; i < n; i++) {
			if (mt_entry_at(t, places[i])->generation <= 0)
				continue;
			if (exact && found == MT_NO_PLACE && use_of(t, places[i]) <= number) {
				found = places[i];
				continue;
			}
			mt_wheel_push(t->uses, places[i], use_of(t, places[i]));
			if ((use_of(t, places[i]) ^ number) < MT_WHEEL_SLOTS)
				mt_table_fetch(t, mt_entry_at(t, places[i]));
		}
	}
	return found;
}

bool mt_ages_evict(struct mt_table_body *t)
{
	uint64_t number;
	bool exact;
	while (mt_wheel_first(t->uses, &number, &exact)) {
		uint32_t place = open_uses(t, number, exact);
		if (place == MT_NO_PLACE)
			continue;
		end_entry(t, place, MT_ENDED_FULL);
		if (!t->plan.reports)
			let_ended_go(t);
		return true;
	}
	return false;
}

/* --- time ---------------------------------------------------------------------------------- */

/* The stream begins: entries that were made before it are as old as it is. */
static void begin(struct mt_table_body *t)
{
	for (uint32_t place = 0; place < (uint32_t)t->view.used; place++) {
		struct mt_table_entry *entry = mt_entry_at(t, place);
		struct mt_table_age *age = mt_entry_age(t, entry);
		if (entry->generation <= 0 || age->last_ns != MT_NO_TIME)
			continue;
		age->first_ns = age->last_ns = t->view.now_ns;
		hang_in(t, place);
	}
}

void mt_ages_set_now(struct mt_table_body *t, int64_t now_ns)
{
	if (now_ns <= t->view.now_ns)
		return;
	bool first = t->view.now_ns == MT_NO_TIME;
	t->view.now_ns = now_ns;
	if (!first)
		return;
	mt_wheel_turn(t->times, number_of(now_ns));
	begin(t);
}

/* As mt_counts_add moves the stream clock. */
void mt_ages_batch(struct mt_table_body *t, const struct mt_hook_state *state)
{
	const struct mt_packet *p = state->batch->packets;
	mt_ages_set_now(t, state->first_ns);
	int64_t latest = state->clock_ns > t->view.now_ns ? state->clock_ns : t->view.now_ns;
	for (uint32_t i = 0; i < state->batch->n; i++) {
		bool moves = p[i].verdict != MT_VERDICT_OUTSIDE && !(p[i].flags & MT_PACKET_CLOCK_JUMP);
		int64_t ts_ns = p[i].flags & MT_PACKET_EDITED ? mt_edit_time(state->batch, i) : p[i].ts_ns;
		if (moves && ts_ns > latest)
			latest = ts_ns;
		t->view.clock[i] = latest;
	}
}

void mt_table_now(struct mt_table *view, struct mt_hook_state *state)
{
	struct mt_table_body *t = body(view);
	uint32_t i = state->phase == MT_PHASE_BATCH ? state->in_hand : state->index;
	if (state->phase == MT_PHASE_INTERVAL || i >= state->batch->n) {
		mt_ages_set_now(t, state->hook_ns);
		return;
	}
	if (view->seq != state->batch->seq)
		mt_table_prepare(view, state);
	mt_ages_set_now(t, view->clock[i]);
}

void mt_ages_use(struct mt_table_body *t, struct mt_table_entry *entry)
{
	struct mt_table_age *age = mt_entry_age(t, entry);
	age->last_ns = t->view.now_ns > age->last_ns ? t->view.now_ns : age->last_ns;
	if (t->uses)
		*mt_entry_used(t, entry) = ++t->view.uses;
}

void mt_ages_new(struct mt_table_body *t, uint32_t place)
{
	struct mt_table_entry *entry = mt_entry_at(t, place);
	struct mt_table_age *age = mt_entry_age(t, entry);
	age->first_ns = age->last_ns = t->view.now_ns;
	mt_wheel_turn(t->times, number_of(t->view.now_ns));
	hang_in(t, place);
	if (!t->uses)
		return;
	*mt_entry_used(t, entry) = ++t->view.uses;
	if (!mt_wheel_has(t->uses, place))
		mt_wheel_push(t->uses, place, use_of(t, place));
}

/* --- life ---------------------------------------------------------------------------------- */

static void empty_wheels(struct mt_table_body *t)
{
	mt_wheel_clear(t->times);
	if (t->uses)
		mt_wheel_clear(t->uses);
	t->view.due_ns = MT_NEVER;
}

int mt_ages_open(struct mt_table_body *t)
{
	t->view.now_ns = MT_NO_TIME;
	t->view.due_ns = MT_NEVER;
	t->view.reporting = -1;
	t->reported = MT_NO_PLACE;
	if (!t->plan.timed)
		return 0;
	t->times = mt_wheel_new(t->most);
	t->uses = t->plan.evicts ? mt_wheel_new(t->most) : NULL;
	t->view.clock = calloc(MT_BATCH_PACKETS, sizeof *t->view.clock);
	if (!t->times || (t->plan.evicts && !t->uses) || !t->view.clock)
		return -1;
	return 0;
}

int mt_ages_room(struct mt_table_body *t, uint32_t used)
{
	if (!t->times)
		return 0;
	return mt_wheel_room(t->times, used) || (t->uses && mt_wheel_room(t->uses, used)) ? -1 : 0;
}

void mt_ages_close(struct mt_table_body *t)
{
	mt_wheel_free(t->times);
	mt_wheel_free(t->uses);
	free(t->view.clock);
	free(t->ended);
}

void mt_ages_clear(struct mt_table_body *t)
{
	t->n_ended = t->ended_head = 0;
	t->view.ended = 0;
	t->reported = MT_NO_PLACE;
	t->view.now_ns = MT_NO_TIME;
	if (t->plan.timed)
		empty_wheels(t);
}

size_t mt_ages_bytes(const struct mt_table_body *t)
{
	return mt_wheel_bytes(t->times) + mt_wheel_bytes(t->uses) + t->ended_room * sizeof *t->ended +
	       (t->view.clock ? MT_BATCH_PACKETS * sizeof *t->view.clock : 0);
}

/* The wheels made anew from the ages. */
void mt_table_aged(struct mt_table *view)
{
	struct mt_table_body *t = body(view);
	uint32_t reason;
	empty_wheels(t);
	for (uint32_t place = 0; place < (uint32_t)view->used; place++) {
		struct mt_table_entry *entry = mt_entry_at(t, place);
		const struct mt_table_age *age = mt_entry_age(t, entry);
		if (entry->generation <= 0)
			continue;
		int64_t end = end_of(t, age, &reason);
		view->now_ns = age->last_ns > view->now_ns ? age->last_ns : view->now_ns;
		view->due_ns = end < view->due_ns ? end : view->due_ns;
		if (t->uses && *mt_entry_used(t, entry) > view->uses)
			view->uses = *mt_entry_used(t, entry);
	}
	if (view->due_ns != MT_NEVER)
		mt_wheel_turn(t->times, number_of(view->due_ns));
	for (uint32_t place = 0; place < (uint32_t)view->used; place++) {
		struct mt_table_entry *entry = mt_entry_at(t, place);
		if (entry->generation <= 0)
			continue;
		hang_in(t, place);
		if (t->uses)
			mt_wheel_push(t->uses, place, use_of(t, place));
	}
	view->seq = 0; /* clock[] may be behind now_ns */
}
