/* SPDX-License-Identifier: BSD-2-Clause */
#include "counts.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "log.h"

enum { PAGE = 64, MAX_PAGES = 16384, RECENT = 1 << 15 /* more than a block and a batch hold */ };

/* The packets of one output. */
struct recent {
	uint64_t n; /* kept so far */
	struct mt_counts odd;
	uint32_t iface[RECENT];
};

struct mt_counts_table {
	const struct mt_ifaces *ifaces;
	struct mt_counts *pages[MAX_PAGES]; /* entries never move */
	struct mt_counts odd;
	struct recent *recent[MT_VERDICT_LAST_OUTPUT + 1];
	_Atomic uint64_t packets, wire_bytes, kept, dropped; /* for mt_counts_progress */
};

struct mt_counts mt_counts_zero(void)
{
	return (struct mt_counts){.first_ns = INT64_MAX, .last_ns = INT64_MIN};
}

void mt_counts_sum(struct mt_counts *sum, const struct mt_counts *c)
{
	sum->packets += c->packets;
	sum->bytes += c->bytes;
	sum->wire_bytes += c->wire_bytes;
	sum->kept += c->kept;
	sum->filtered += c->filtered;
	sum->script_dropped += c->script_dropped;
	sum->dropped += c->dropped;
	sum->late += c->late;
	sum->disorder += c->disorder;
	sum->bad_time += c->bad_time;
	sum->script_bypassed += c->script_bypassed;
	sum->clock_jumps += c->clock_jumps;
	if (c->first_ns < sum->first_ns)
		sum->first_ns = c->first_ns;
	if (c->last_ns > sum->last_ns)
		sum->last_ns = c->last_ns;
}

struct mt_counts_table *mt_counts_new(const struct mt_ifaces *ifaces)
{
	struct mt_counts_table *t = calloc(1, sizeof *t);
	if (t)
		t->ifaces = ifaces;
	return t;
}

void mt_counts_free(struct mt_counts_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < MAX_PAGES; i++)
		free(t->pages[i]);
	for (unsigned v = 0; v <= MT_VERDICT_LAST_OUTPUT; v++)
		free(t->recent[v]);
	free(t);
}

static __attribute__((noinline)) struct mt_counts *new_page(struct mt_counts_table *t, uint32_t page)
{
	struct mt_counts *p = calloc(PAGE, sizeof *p);
	if (!p) {
		mt_log_error("out of memory for counters");
		abort();
	}
	for (unsigned i = 0; i < PAGE; i++)
		p[i] = mt_counts_zero();
	return t->pages[page] = p;
}

static inline struct mt_counts *entry(struct mt_counts_table *t, uint32_t iface)
{
	struct mt_counts *page = t->pages[iface / PAGE % MAX_PAGES];
	if (__builtin_expect(!page, 0))
		page = new_page(t, iface / PAGE % MAX_PAGES);
	return &page[iface % PAGE];
}

static void count_odd(struct mt_counts *c, const struct mt_packet *p)
{
	c->disorder += !!(p->flags & MT_PACKET_DISORDER);
	c->bad_time += !!(p->flags & MT_PACKET_BAD_TIME);
	c->late += !!(p->flags & MT_PACKET_LATE);
	c->script_bypassed += p->flags & MT_PACKET_BYPASSED && p->verdict <= MT_VERDICT_LAST_OUTPUT;
	c->clock_jumps += !!(p->flags & MT_PACKET_CLOCK_JUMP);
}

/* One thread writes, another only looks: no locked instruction is needed. */
static void add_seen(_Atomic uint64_t *sum, uint64_t n)
{
	atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n, memory_order_relaxed);
}

/* A packet that goes to no output. */
static void count_other(struct mt_counts *c, const struct mt_packet *p, uint64_t *dropped)
{
	if (p->verdict == MT_VERDICT_OUTSIDE || p->verdict == MT_VERDICT_FILTERED) {
		c->filtered++;
	} else if (p->verdict == MT_VERDICT_UNWRITABLE || p->verdict == MT_VERDICT_LATE) {
		c->dropped++;
		++*dropped;
	} else {
		c->script_dropped++;
	}
}

static void count_flags(struct mt_counts_table *t, struct mt_counts *c, const struct mt_packet *p)
{
	count_odd(c, p);
	count_odd(&t->odd, p);
	if (p->verdict <= MT_VERDICT_LAST_OUTPUT && t->recent[p->verdict])
		count_odd(&t->recent[p->verdict]->odd, p);
}

uint64_t mt_counts_add(struct mt_counts_table *t, const struct mt_packet *packets, uint32_t n,
                       int64_t *clock_ns)
{
	uint64_t kept = 0, dropped = 0, wire_bytes = 0;
	int64_t latest_ns = *clock_ns;
	struct mt_counts *c = NULL;
	uint32_t iface = 0;
	for (const struct mt_packet *p = packets, *end = packets + n; p < end; p++) {
		if (!c || p->iface != iface) {
			iface = p->iface;
			c = entry(t, iface);
		}
		c->packets++;
		c->bytes += p->caplen + p->cut;
		c->wire_bytes += p->wirelen;
		c->first_ns = p->ts_ns < c->first_ns ? p->ts_ns : c->first_ns;
		c->last_ns = p->ts_ns > c->last_ns ? p->ts_ns : c->last_ns;
		wire_bytes += p->wirelen;
		if (__builtin_expect(p->flags != 0, 0))
			count_flags(t, c, p);
		if (p->verdict <= MT_VERDICT_LAST_OUTPUT) {
			struct recent *r = t->recent[p->verdict];
			c->kept++;
			kept++;
			if (r)
				r->iface[r->n++ % RECENT] = iface;
		} else {
			count_other(c, p, &dropped);
		}
		bool moves = p->verdict != MT_VERDICT_OUTSIDE && !(p->flags & MT_PACKET_CLOCK_JUMP);
		latest_ns = moves && p->ts_ns > latest_ns ? p->ts_ns : latest_ns;
	}
	*clock_ns = latest_ns;
	add_seen(&t->packets, n);
	add_seen(&t->wire_bytes, wire_bytes);
	add_seen(&t->kept, kept);
	add_seen(&t->dropped, dropped);
	return kept;
}

int mt_counts_watch(struct mt_counts_table *t, uint8_t verdict)
{
	t->recent[verdict] = calloc(1, sizeof *t->recent[verdict]);
	return t->recent[verdict] ? 0 : -1;
}

uint64_t mt_counts_kept(const struct mt_counts_table *t, uint8_t verdict)
{
	return t->recent[verdict]->n;
}

static uint64_t take_kept(struct mt_counts *c, uint64_t n)
{
	if (n > c->kept)
		n = c->kept;
	c->kept -= n;
	c->dropped += n;
	return n;
}

void mt_counts_lose(struct mt_counts_table *t, uint8_t verdict, uint64_t n)
{
	struct recent *r = t->recent[verdict];
	uint64_t left = n;
	for (unsigned i = 0; i < RECENT && left && r->n; i++) {
		r->n--;
		left -= take_kept(entry(t, r->iface[r->n % RECENT]), 1);
	}
	/* More than is remembered (a codec held it, a pipe command spoilt a segment): whose packets
	 * these were is not known any more, that they were lost is. */
	r->n -= left < r->n ? left : r->n;
	for (uint32_t i = 0; i < mt_ifaces_count(t->ifaces) && left; i++)
		left -= take_kept(entry(t, i), left);
	add_seen(&t->dropped, n);
	add_seen(&t->kept, -n);
}

static struct mt_counts *unkeep(struct mt_counts_table *t, uint32_t iface)
{
	struct mt_counts *c = entry(t, iface);
	c->kept--; /* it may be counted later in this batch */
	if (t->recent[MT_VERDICT_DEFAULT])
		t->recent[MT_VERDICT_DEFAULT]->n--;
	add_seen(&t->kept, (uint64_t)-1);
	return c;
}

void mt_counts_pass(struct mt_counts_table *t, uint32_t iface)
{
	unkeep(t, iface)->script_dropped++;
}

void mt_counts_refuse(struct mt_counts_table *t, uint32_t iface)
{
	unkeep(t, iface)->dropped++;
	add_seen(&t->dropped, 1);
}

struct mt_counts mt_counts_of(const struct mt_counts_table *t, uint32_t iface)
{
	const struct mt_counts *page = t->pages[iface / PAGE % MAX_PAGES];
	return page ? page[iface % PAGE] : mt_counts_zero();
}

struct mt_counts mt_counts_total(const struct mt_counts_table *t)
{
	struct mt_counts sum = mt_counts_zero();
	for (uint32_t i = 0; i < mt_ifaces_count(t->ifaces); i++) {
		struct mt_counts c = mt_counts_of(t, i);
		mt_counts_sum(&sum, &c);
	}
	return sum;
}

struct mt_counts mt_counts_odd(const struct mt_counts_table *t)
{
	return t->odd;
}

struct mt_counts mt_counts_odd_of(const struct mt_counts_table *t, uint8_t verdict)
{
	return t->recent[verdict] ? t->recent[verdict]->odd : mt_counts_zero();
}

struct mt_counts mt_counts_progress(struct mt_counts_table *t)
{
	return (struct mt_counts){
	        .packets = atomic_load_explicit(&t->packets, memory_order_relaxed),
	        .wire_bytes = atomic_load_explicit(&t->wire_bytes, memory_order_relaxed),
	        .kept = atomic_load_explicit(&t->kept, memory_order_relaxed),
	        .dropped = atomic_load_explicit(&t->dropped, memory_order_relaxed),
	};
}
