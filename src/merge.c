/* SPDX-License-Identifier: BSD-2-Clause */
#include "merge.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "feed.h"
#include "lag.h"
#include "log.h"
#include "profile.h"
#include "units.h"
#include "wake.h"

/* A key orders a packet: its time, then the slot of its source.  Slots are given in source
 * order, so equal times come out in the order of the command line. */
typedef uint64_t narrow_key;        /* (ts - base) << 8 | slot: 256 slots, 2.2 years */
typedef unsigned __int128 wide_key; /* ts with its sign flipped << 32 | slot */

#define NARROW_SLOTS 256u
#define NARROW_SPAN  ((UINT64_C(1) << 56) - 1)
#define NARROW_END   (NARROW_SPAN << 8) /* | slot: this source has nothing (more) */
#define WIDE_END     ((wide_key)1 << 96)
#define WIDE_SLOT    0xffffffffu
/* Room below the first time, for sources that run backwards: 208 days. */
#define BASE_MARGIN (INT64_C(1) << 54)

enum {
	BATCH_BYTES = 384 * 1024, /* hand a batch on while its packets are still in the cache */
	LIVE_POLL = 256,          /* look at quiet live sources and at the clock once in so many packets */
	GRAIN_MS = 2              /* sleep at least so long for packets that wait for the window */
};

#define CLOCK_JUMP_NS INT64_C(60000000000) /* ahead of the wall clock: such a time makes nothing late */

/* Why packets stopped moving into the batch. */
enum play {
	PLAY_BATCH_FULL,
	PLAY_USED_UP, /* the run of a slot */
	PLAY_PARKED,  /* a parked source's time has come */
	PLAY_NOTHING, /* no slot has a packet */
	PLAY_HELD     /* live: the next one waits for quiet sources */
};

struct mt_merge {
	struct mt_chunks *chunks;
	struct mt_source **all; /* borrowed, in command line order */
	unsigned n_all;

	struct mt_source **parked; /* by first time, then index; [next_parked ..) are waiting */
	int64_t *parked_ns;        /* first time of parked[i] */
	unsigned n_parked, next_parked;

	struct mt_source **slots; /* open sources in command line order */
	unsigned char *pending;   /* slot must be filled before the merge can go on */
	unsigned n_slots, n_ended, n_pending, n_quiet;

	bool wide; /* which of the two trees is in use */
	int64_t base_ns;
	unsigned leaves;    /* power of two >= n_slots */
	narrow_key *narrow; /* [0] winner, [1..leaves-1] losers */
	wide_key *wide_nodes;
	wide_key *scratch; /* winners of the pairs while a tree is built */

	bool any_live;
	struct mt_merge_live live;
	int64_t watermark_ns;  /* earliest watermark of the quiet live sources */
	int64_t expired_ms;    /* what arrived up to then has waited for the window */
	int64_t wall_limit_ns; /* what is later than that is a clock that jumped */
	int64_t released_ns;   /* latest time that has left */
	int64_t held_until_ms; /* the next packet is held until then; 0: none is */

	struct mt_stage_clock *clock; /* --profile; or NULL */
	bool failed;
	_Atomic uint64_t bytes_closed; /* stored size of the files that were read to their end */
	_Atomic uint64_t bytes_open;   /* read so far of those that are open */
	uint64_t bytes_total;
};

/* --- keys ------------------------------------------------------------------------------ */

static bool narrow_fits(const struct mt_merge *m, int64_t ts_ns)
{
	return (uint64_t)ts_ns - (uint64_t)m->base_ns < NARROW_SPAN && ts_ns >= m->base_ns;
}

static narrow_key narrow_of(const struct mt_merge *m, int64_t ts_ns, unsigned slot)
{
	return ((uint64_t)ts_ns - (uint64_t)m->base_ns) << 8 | slot;
}

static wide_key wide_of(int64_t ts_ns, unsigned slot)
{
	return (wide_key)((uint64_t)ts_ns ^ (UINT64_C(1) << 63)) << 32 | slot;
}

static bool has_packet(const struct mt_source *s)
{
	return s->run_pos < s->run_n;
}

/* --- the tree -------------------------------------------------------------------------- */

/* Enter a new key for a slot and let it play its way up; the winner ends up in node[0]. */
static inline void narrow_replay(narrow_key *node, unsigned leaves, unsigned slot, narrow_key key)
{
	for (unsigned i = (leaves + slot) >> 1; i; i >>= 1) {
		narrow_key other = node[i];
		bool less = key < other;
		node[i] = less ? other : key;
		key = less ? key : other;
	}
	node[0] = key;
}

static inline void wide_replay(wide_key *node, unsigned leaves, unsigned slot, wide_key key)
{
	for (unsigned i = (leaves + slot) >> 1; i; i >>= 1) {
		wide_key other = node[i];
		bool less = key < other;
		node[i] = less ? other : key;
		key = less ? key : other;
	}
	node[0] = key;
}

/* Play the whole tournament: of each pair the winner goes up, the loser stays.  The arrays
 * are large enough for all sources at once, so this can not fail. */
static void build_tree(struct mt_merge *m)
{
	unsigned leaves = 1;
	while (leaves < m->n_slots)
		leaves *= 2;
	m->leaves = leaves;
	if (m->n_slots > NARROW_SLOTS)
		m->wide = true;
	for (unsigned i = 0; i < m->n_slots && !m->wide; i++)
		if (has_packet(m->slots[i]) && !narrow_fits(m, m->slots[i]->run[m->slots[i]->run_pos].ts_ns))
			m->wide = true;

	wide_key *win = m->scratch;
	for (unsigned i = 0; i < leaves; i++) {
		const struct mt_source *s = i < m->n_slots ? m->slots[i] : NULL;
		bool any = s && has_packet(s);
		if (m->wide)
			win[leaves + i] = any ? wide_of(s->run[s->run_pos].ts_ns, i) : WIDE_END | i;
		else
			win[leaves + i] = any ? narrow_of(m, s->run[s->run_pos].ts_ns, i) : NARROW_END | i;
	}
	for (unsigned i = leaves - 1; i; i--) {
		wide_key a = win[2 * i], b = win[2 * i + 1];
		win[i] = a < b ? a : b;
		if (m->wide)
			m->wide_nodes[i] = a < b ? b : a;
		else
			m->narrow[i] = (narrow_key)(a < b ? b : a);
	}
	if (m->wide)
		m->wide_nodes[0] = win[1];
	else
		m->narrow[0] = (narrow_key)win[1];
}

/* The key of a slot after its run was filled, or has ended. */
static void rekey(struct mt_merge *m, unsigned slot)
{
	const struct mt_source *s = m->slots[slot];
	bool any = has_packet(s);
	int64_t ts_ns = any ? s->run[s->run_pos].ts_ns : 0;
	if (!m->wide && any && !narrow_fits(m, ts_ns)) {
		m->wide = true;
		build_tree(m);
		return;
	}
	/* Replaying a slot is only right for the current winner.  It is: only the winner's run
	 * is ever used up; all else goes through build_tree. */
	if (m->wide)
		wide_replay(m->wide_nodes, m->leaves, slot, any ? wide_of(ts_ns, slot) : WIDE_END | slot);
	else
		narrow_replay(m->narrow, m->leaves, slot, any ? narrow_of(m, ts_ns, slot) : NARROW_END | slot);
}

static bool winner(const struct mt_merge *m, unsigned *slot)
{
	if (!m->n_slots)
		return false;
	if (m->wide) {
		*slot = (unsigned)(m->wide_nodes[0] & WIDE_SLOT);
		return m->wide_nodes[0] < WIDE_END;
	}
	*slot = (unsigned)(m->narrow[0] & 0xff);
	return m->narrow[0] < NARROW_END;
}

/* --- sources come and go --------------------------------------------------------------- */

static void broke(struct mt_merge *m, const struct mt_err *err)
{
	mt_log_error("%s", err->text);
	m->failed = true;
}

static void ended(struct mt_merge *m, struct mt_source *s)
{
	atomic_fetch_add(&m->bytes_closed, s->file_bytes);
	mt_source_close(s);
	m->n_ended++;
}

/* Fill a slot whose run is used up.  MT_OK, MT_END (nothing more; it has been closed),
 * MT_WAIT for a source that must be waited for, MT_FULL. */
static enum mt_read refill(struct mt_merge *m, unsigned slot, uint64_t *wait_batch)
{
	struct mt_source *s = m->slots[slot];
	struct mt_err err;
	enum mt_stage before = mt_stage_enter(m->clock, MT_STAGE_READ);
	enum mt_read r = mt_source_fill(s, &err);
	mt_stage_enter(m->clock, before);
	if (r == MT_ERROR) {
		broke(m, &err);
		r = MT_END;
	}
	if (r == MT_END)
		ended(m, s);
	if (r == MT_FULL)
		*wait_batch = s->wait_batch;
	bool waits = r == MT_FULL || r == MT_WAIT;
	m->n_pending += waits && !m->pending[slot];
	m->n_pending -= !waits && m->pending[slot];
	m->pending[slot] = waits;
	return r;
}

static int by_index(const void *a, const void *b)
{
	const struct mt_source *const *x = a, *const *y = b;
	return ((*x)->index > (*y)->index) - ((*x)->index < (*y)->index);
}

/* Drop ended sources, take the new ones in, and build the tree anew. */
static void reseat(struct mt_merge *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n_slots; i++)
		if (m->slots[i]->impl)
			m->slots[n++] = m->slots[i];
	m->n_slots = n;
	m->n_ended = 0;
	qsort(m->slots, n, sizeof *m->slots, by_index);
	memset(m->pending, 0, m->n_all);
	m->n_pending = 0;
	for (unsigned i = 0; i < n; i++) {
		m->pending[i] = !has_packet(m->slots[i]);
		m->n_pending += m->pending[i];
	}
	build_tree(m);
}

/* Open the parked sources whose time has come (up to and including ts_ns; none of that if
 * nothing else is open: then the earliest one).  They are pending until filled. */
static void unpark(struct mt_merge *m, int64_t ts_ns)
{
	unsigned end = m->next_parked;
	while (end < m->n_parked && m->parked_ns[end] <= ts_ns)
		end++;
	/* Chunk sizes follow from how many are open, and those that begin within a second. */
	unsigned near = end;
	while (near < m->n_parked && m->parked_ns[near] - m->parked_ns[m->next_parked] < 1000000000)
		near++;
	mt_chunks_expect(m->chunks, m->n_slots - m->n_ended + near - m->next_parked);
	for (; m->next_parked < end; m->next_parked++) {
		struct mt_source *s = m->parked[m->next_parked];
		struct mt_err err;
		if (mt_source_open(s, &err)) {
			broke(m, &err);
			continue;
		}
		m->slots[m->n_slots++] = s;
	}
	reseat(m);
}

/* Fill every pending slot.  Returns MT_OK when none is left, else why not. */
static enum mt_read fill_pending(struct mt_merge *m, uint64_t *wait_batch)
{
	bool changed = false;
	enum mt_read result = MT_OK;
	m->n_quiet = 0;
	m->watermark_ns = INT64_MAX;
	for (unsigned i = 0; i < m->n_slots && m->n_pending; i++) {
		if (!m->pending[i])
			continue;
		enum mt_read r = refill(m, i, wait_batch);
		changed |= r == MT_OK || r == MT_END;
		if (r == MT_FULL)
			result = MT_FULL;
		if (r == MT_WAIT && m->slots[i]->spec.live) {
			m->n_quiet++; /* it holds nothing up for longer than the window */
			if (m->slots[i]->shown_ns < m->watermark_ns)
				m->watermark_ns = m->slots[i]->shown_ns;
		} else if (r == MT_WAIT && result == MT_OK)
			result = MT_WAIT;
	}
	if (changed)
		build_tree(m);
	return result;
}

static void look_at_clock(struct mt_merge *m)
{
	m->expired_ms = mt_monotonic_ms() - m->live.window_ms;
	m->wall_limit_ns = mt_wall_ns() + CLOCK_JUMP_NS;
}

/* --- construction ---------------------------------------------------------------------- */

struct first {
	struct mt_source *source;
	int64_t ts_ns;
};

static int by_first_time(const void *a, const void *b)
{
	const struct first *x = a, *y = b;
	if (x->ts_ns != y->ts_ns)
		return x->ts_ns < y->ts_ns ? -1 : 1;
	return (x->source->index > y->source->index) - (x->source->index < y->source->index);
}

/* Sort out what is parked and what is open. */
static unsigned park(struct mt_merge *m, struct first *firsts)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n_all; i++) {
		struct mt_source *s = m->all[i];
		m->bytes_total += s->file_bytes;
		if (!s->parkable)
			m->slots[m->n_slots++] = s;
		else if (s->has_first)
			firsts[n++] = (struct first){s, s->first_ns};
		else
			atomic_fetch_add(&m->bytes_closed, s->file_bytes);
	}
	return n;
}

struct mt_merge *mt_merge_new(struct mt_source **sources, unsigned n, struct mt_chunks *chunks)
{
	struct mt_merge *m = calloc(1, sizeof *m);
	struct first *firsts = calloc(n + 1, sizeof *firsts);
	if (!m || !firsts)
		goto fail;
	m->chunks = chunks;
	m->all = sources;
	m->n_all = n;
	m->slots = calloc(n + 1, sizeof *m->slots);
	m->pending = calloc(n + 1, 1);
	m->parked = calloc(n + 1, sizeof *m->parked);
	m->parked_ns = calloc(n + 1, sizeof *m->parked_ns);
	size_t leaves = 1;
	while (leaves < n)
		leaves *= 2;
	m->narrow = calloc(leaves, sizeof *m->narrow);
	m->wide_nodes = calloc(leaves, sizeof *m->wide_nodes);
	m->scratch = calloc(2 * leaves, sizeof *m->scratch);
	if (!m->slots || !m->pending || !m->parked || !m->parked_ns || !m->narrow || !m->wide_nodes ||
	    !m->scratch)
		goto fail;
	m->n_parked = park(m, firsts);
	qsort(firsts, m->n_parked, sizeof *firsts, by_first_time);
	for (unsigned i = 0; i < m->n_parked; i++) {
		m->parked[i] = firsts[i].source;
		m->parked_ns[i] = firsts[i].ts_ns;
	}
	m->base_ns = m->n_parked ? m->parked_ns[0] : 0;
	m->base_ns = m->base_ns > INT64_MIN + BASE_MARGIN ? m->base_ns - BASE_MARGIN : INT64_MIN;
	if (!m->n_parked)
		m->wide = m->n_slots > 1; /* the first times are not known yet: pipes, interfaces */
	reseat(m);
	free(firsts);
	return m;
fail:
	free(firsts);
	mt_merge_free(m);
	return NULL;
}

void mt_merge_free(struct mt_merge *m)
{
	if (!m)
		return;
	free(m->slots);
	free(m->pending);
	free(m->parked);
	free(m->parked_ns);
	free(m->narrow);
	free(m->wide_nodes);
	free(m->scratch);
	free(m);
}

void mt_merge_set_live(struct mt_merge *m, const struct mt_merge_live *live)
{
	m->live = *live;
	m->any_live = true;
	m->wide = true;
	m->released_ns = INT64_MIN;
	m->watermark_ns = INT64_MAX;
	build_tree(m);
}

void mt_merge_set_clock(struct mt_merge *m, struct mt_stage_clock *clock)
{
	m->clock = clock;
}

/* --- the loop -------------------------------------------------------------------------- */

/* Move packets of the winners into the batch, until it is full or something has to be done first; the slot
 * whose run is used up in *slot.  Inlined twice, with `wide` known, so that each copy has one kind of key. */
static inline __attribute__((always_inline)) enum play play(struct mt_merge *m, struct mt_batch *b,
                                                            unsigned *slot, bool wide)
{
	int64_t parked_ns = m->next_parked < m->n_parked ? m->parked_ns[m->next_parked] : INT64_MAX;
	bool any_parked = m->next_parked < m->n_parked;
	struct mt_packet *out = b->packets + b->n, *end = b->packets + MT_BATCH_PACKETS;
	uint32_t bytes = b->bytes;
	narrow_key *narrow = m->narrow;
	wide_key *nodes = m->wide_nodes;
	unsigned leaves = m->leaves;
	enum play r = PLAY_BATCH_FULL;

	while (out < end && bytes < BATCH_BYTES) {
		if (wide ? nodes[0] >= WIDE_END : narrow[0] >= NARROW_END) {
			r = any_parked ? PLAY_PARKED : PLAY_NOTHING;
			break;
		}
		unsigned w = wide ? (unsigned)(nodes[0] & WIDE_SLOT) : (unsigned)(narrow[0] & 0xff);
		struct mt_source *s = m->slots[w];
		const struct mt_packet *p = &s->run[s->run_pos];
		if (any_parked && parked_ns <= p->ts_ns) {
			r = PLAY_PARKED;
			break;
		}
		*out++ = *p;
		bytes += p->caplen;
		if (++s->run_pos == s->run_n) {
			*slot = w;
			r = PLAY_USED_UP;
			break;
		}
		int64_t ts_ns = p[1].ts_ns;
		if (wide) {
			wide_replay(nodes, leaves, w, wide_of(ts_ns, w));
		} else if (__builtin_expect(narrow_fits(m, ts_ns), 1)) {
			narrow_replay(narrow, leaves, w, narrow_of(m, ts_ns, w));
		} else {
			m->wide = true;
			build_tree(m);
			break;
		}
	}
	b->n = (uint32_t)(out - b->packets);
	b->bytes = bytes;
	return r;
}

/* The same while there is one source: its run goes into the batch as it is. */
static enum play play_alone(struct mt_merge *m, struct mt_batch *b)
{
	int64_t parked_ns = m->next_parked < m->n_parked ? m->parked_ns[m->next_parked] : INT64_MAX;
	bool any_parked = m->next_parked < m->n_parked;
	struct mt_source *s = m->slots[0];
	const struct mt_packet *p = &s->run[s->run_pos], *run_end = &s->run[s->run_n];
	struct mt_packet *out = b->packets + b->n, *end = b->packets + MT_BATCH_PACKETS;
	uint32_t bytes = b->bytes;
	enum play r = PLAY_BATCH_FULL;

	if (p == run_end)
		return any_parked ? PLAY_PARKED : PLAY_NOTHING;
	while (p < run_end && out < end && bytes < BATCH_BYTES) {
		if (any_parked && parked_ns <= p->ts_ns) {
			r = PLAY_PARKED;
			break;
		}
		bytes += p->caplen;
		*out++ = *p++;
	}
	s->run_pos = (unsigned)(p - s->run);
	b->n = (uint32_t)(out - b->packets);
	b->bytes = bytes;
	if (p == run_end)
		return PLAY_USED_UP;
	rekey(m, 0);
	return r;
}

/* A packet leaves: is it late? */
static void release(struct mt_merge *m, struct mt_source *s, struct mt_packet *p)
{
	if (p->verdict != MT_VERDICT_DEFAULT) /* filtered: it is not written */
		return;
	if (p->ts_ns >= m->released_ns) {
		if (p->ts_ns < m->wall_limit_ns)
			m->released_ns = p->ts_ns;
		return;
	}
	p->flags |= MT_PACKET_LATE;
	if (m->live.drop_late)
		p->verdict = MT_VERDICT_LATE;
	mt_lag_late(&s->lag);
}

/* The same with live sources; times do not have to fit narrow keys. */
static enum play play_live(struct mt_merge *m, struct mt_batch *b, unsigned *slot)
{
	bool any_parked = m->next_parked < m->n_parked;
	int64_t parked_ns = any_parked ? m->parked_ns[m->next_parked] : INT64_MAX;
	struct mt_packet *out = b->packets + b->n, *end = b->packets + MT_BATCH_PACKETS;
	uint32_t bytes = b->bytes;
	wide_key *nodes = m->wide_nodes;
	enum play r = PLAY_BATCH_FULL;

	while (out < end && bytes < BATCH_BYTES) {
		if (nodes[0] >= WIDE_END) {
			r = any_parked ? PLAY_PARKED : PLAY_NOTHING;
			break;
		}
		unsigned w = (unsigned)(nodes[0] & WIDE_SLOT);
		struct mt_source *s = m->slots[w];
		const struct mt_packet *p = &s->run[s->run_pos];
		if (any_parked && parked_ns <= p->ts_ns) {
			r = PLAY_PARKED;
			break;
		}
		if (p->ts_ns >= m->watermark_ns && s->arrival_ms > m->expired_ms) {
			m->held_until_ms = s->arrival_ms + m->live.window_ms;
			r = PLAY_HELD;
			break;
		}
		*out = *p;
		release(m, s, out);
		bytes += out++->caplen;
		if (++s->run_pos == s->run_n) {
			*slot = w;
			r = PLAY_USED_UP;
			break;
		}
		wide_replay(nodes, m->leaves, w, wide_of(p[1].ts_ns, w));
	}
	b->n = (uint32_t)(out - b->packets);
	b->bytes = bytes;
	return r;
}

static void count_progress(struct mt_merge *m)
{
	uint64_t bytes = 0;
	for (unsigned i = 0; i < m->n_slots; i++)
		bytes += m->slots[i]->impl ? m->slots[i]->bytes_read : 0;
	atomic_store(&m->bytes_open, bytes);
}

static enum play play_any(struct mt_merge *m, struct mt_batch *b, unsigned *slot)
{
	if (m->any_live)
		return play_live(m, b, slot);
	if (m->n_slots == 1)
		return play_alone(m, b);
	return m->wide ? play(m, b, slot, true) : play(m, b, slot, false);
}

enum mt_read mt_merge_fill(struct mt_merge *m, struct mt_batch *b, uint64_t *wait_batch)
{
	mt_chunks_set_batch(m->chunks, b->seq);
	count_progress(m);
	m->held_until_ms = 0;
	bool look = true; /* at quiet sources and the clock */
	for (unsigned since = 0;; since++) {
		look = look || since % (LIVE_POLL / MT_RUN_PACKETS) == 0;
		if (m->n_pending && (m->n_pending > m->n_quiet || look)) {
			enum mt_read r = fill_pending(m, wait_batch);
			if (r != MT_OK)
				return r;
		}
		if (m->any_live && look)
			look_at_clock(m);
		if (b->n == MT_BATCH_PACKETS || b->bytes >= BATCH_BYTES)
			return MT_OK;
		unsigned slot = 0, w;
		switch (play_any(m, b, &slot)) {
		case PLAY_BATCH_FULL:
			break;
		case PLAY_USED_UP:
			if (refill(m, slot, wait_batch) == MT_FULL)
				return MT_FULL;
			/* MT_WAIT: it is pending now, and its key says that it has nothing */
			rekey(m, slot);
			break;
		case PLAY_PARKED:
			unpark(m, winner(m, &w) ? m->slots[w]->run[m->slots[w]->run_pos].ts_ns
			                        : m->parked_ns[m->next_parked]);
			break;
		case PLAY_HELD:
			if (look) /* just now */
				return MT_WAIT;
			look = true;
			continue;
		case PLAY_NOTHING:
			return m->n_pending ? MT_WAIT : MT_END;
		}
		look = false;
	}
}

void mt_merge_stop(struct mt_merge *m)
{
	m->next_parked = m->n_parked;
}

void mt_merge_give_up(struct mt_merge *m)
{
	for (unsigned i = 0; i < m->n_slots; i++) {
		struct mt_source *s = m->slots[i];
		if (!m->pending[i] || s->stands_in)
			continue;
		ended(m, s);
		m->pending[i] = 0;
		m->n_pending--;
	}
}

/* Has a feed that the merge waits for got something in the meantime? */
static bool any_fed(const struct mt_merge *m)
{
	for (unsigned i = 0; i < m->n_slots; i++)
		if (m->pending[i] && m->slots[i]->stands_in && mt_feed_has(m->slots[i]))
			return true;
	return false;
}

void mt_merge_poll(struct mt_merge *m, int max_ms)
{
	struct pollfd fds[64];
	nfds_t n = 0;
	if (m->held_until_ms) {
		int64_t left = m->held_until_ms - mt_monotonic_ms();
		left = left < GRAIN_MS ? GRAIN_MS : left;
		max_ms = left < max_ms ? (int)left : max_ms;
	}
	if (m->any_live) {
		mt_wake_arm(m->live.wake);
		fds[n++] = (struct pollfd){.fd = m->live.wake->fd, .events = POLLIN};
	}
	for (unsigned i = 0; i < m->n_slots; i++) {
		if (!m->pending[i])
			continue;
		struct mt_source *s = m->slots[i];
		int fd = mt_source_fd(s);
		if (fd >= 0 && n < sizeof fds / sizeof *fds)
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
		else if (s->wait_ms >= 0 && s->wait_ms < max_ms)
			max_ms = s->wait_ms > 0 ? s->wait_ms : 1;
	}
	poll(fds, n, m->any_live && any_fed(m) ? 0 : max_ms);
	if (m->any_live)
		mt_wake_disarm(m->live.wake);
}

void mt_merge_report_lag(struct mt_merge *m)
{
	mt_lag_report(m->slots, m->n_slots, m->live.window_ms);
}

bool mt_merge_failed(const struct mt_merge *m)
{
	return m->failed;
}

void mt_merge_progress(const struct mt_merge *m, uint64_t *done, uint64_t *total)
{
	struct mt_merge *mutable = (struct mt_merge *)(uintptr_t)m;
	*done = atomic_load(&mutable->bytes_closed) + atomic_load(&mutable->bytes_open);
	*total = m->bytes_total;
}
