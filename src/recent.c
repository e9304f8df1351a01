/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recent.c - moontap.recent: was the same packet seen within the last moments?
 *
 * The stream clock only rises, so packets are forgotten in the order in which they came: they are in a ring,
 * and its tail moves on.  Buckets have the newest packet with such a hash, each packet the one before it.  A
 * number that is not between tail and head any more ends the chain, so nothing is ever taken out of a bucket.
 *
 * Hashes are made for some packets of the batch at a time, and their buckets are on their way when they are
 * asked for.  Which bucket a hash belongs to depends on a random number, so nobody who sends packets can make
 * long chains. Some 10 million packets a second.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "abi.h"
#include "seed.h"

enum {
	FIRST_ROOM = 1024,
	MOST_ROOM = 1 << 30,
	TOGETHER = 16, /* packets whose hashes are made at a time */
	NETWORK = 12   /* bytes of an IP header that have all that may be ignored */
};

struct seen {
	uint64_t hash;
	int64_t since_ns;
	uint32_t len;    /* on the wire */
	uint32_t before; /* number of the packet before it in its bucket */
};

struct recent {
	struct mt_recent view; /* what Lua sees; the first member */
	int64_t window_ns, now_ns;
	uint32_t limit, ignore;
	struct seen *ring;
	uint32_t *buckets;   /* numbers; as many as the ring has room */
	uint32_t room;       /* a power of two */
	uint32_t tail, head; /* numbers of the oldest packet, and of the next; they go round */
	uint64_t factor;     /* odd, random */

	/* the batch in hand */
	uint64_t seq;
	uint32_t clocked, hashed; /* packets before these are in now_ns; have a hash */
	uint32_t first_hashed;
	uint64_t hashes[MT_BATCH_PACKETS];
};

static struct recent *body(struct mt_recent *view)
{
	return (struct recent *)view;
}

/* --- hashes ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15) * (b ^ 0xe7037ed1a0b428db);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Of the captured bytes from `from` on, without TTL and header checksum (IPv4), or hop limit (IPv6). */
static uint64_t hash_without_ttl(const struct mt_packet *p, const struct mt_decoded *d, uint32_t from)
{
	uint32_t at = d->l3_offset < p->caplen ? d->l3_offset : p->caplen;
	uint32_t n = p->caplen - at < NETWORK ? p->caplen - at : NETWORK;
	uint8_t header[NETWORK] = {0};
	memcpy(header, p->data + at, n);
	if (d->ip_version == 4)
		header[8] = header[10] = header[11] = 0;
	else
		header[7] = 0;
	uint64_t hash = mix(XXH3_64bits(header, n), XXH3_64bits(p->data + at + n, p->caplen - at - n));
	return at > from ? mix(hash, XXH3_64bits(p->data + from, at - from)) : hash;
}

static uint64_t hash_of(const struct mt_packet *p, const struct mt_decoded *d, uint32_t ignore)
{
	bool is_ip = ignore && d->ip_version != 0 && d->l3_offset != MT_NO_OFFSET;
	uint32_t from = is_ip && ignore & MT_HASH_IGNORE_LINK ? d->l3_offset : 0;
	if (is_ip && ignore & MT_HASH_IGNORE_TTL)
		return hash_without_ttl(p, d, from);
	return from < p->caplen ? XXH3_64bits(p->data + from, p->caplen - from) : 0;
}

static uint32_t *bucket_of(const struct recent *r, uint64_t hash)
{
	return &r->buckets[(hash * r->factor >> 32) & (r->room - 1)];
}

/* Hashes of packet i and of some that follow. */
static void make_hashes(struct recent *r, const struct mt_batch *b, uint32_t i)
{
	uint32_t end = i + TOGETHER < b->n ? i + TOGETHER : b->n;
	if (i != r->hashed)
		r->first_hashed = i;
	r->hashed = end;
	for (; i < end; i++) {
		if (b->packets[i].verdict > MT_VERDICT_LAST_OUTPUT)
			continue;
		r->hashes[i] = hash_of(&b->packets[i], &b->decode[i], r->ignore);
		__builtin_prefetch(bucket_of(r, r->hashes[i]), 1);
	}
}

/* --- time -------------------------------------------------------------------------------- */

static void set_now(struct recent *r, int64_t now_ns)
{
	r->now_ns = now_ns > r->now_ns ? now_ns : r->now_ns;
}

/* As mt_counts_add moves the stream clock: up to packet i. */
static void clock_to(struct recent *r, const struct mt_batch *b, uint32_t i)
{
	for (; r->clocked <= i; r->clocked++) {
		const struct mt_packet *p = &b->packets[r->clocked];
		if (p->verdict != MT_VERDICT_OUTSIDE && !(p->flags & MT_PACKET_CLOCK_JUMP))
			set_now(r, p->flags & MT_PACKET_EDITED ? mt_edit_time(b, r->clocked) : p->ts_ns);
	}
}

/* A packet that is not of the batch comes now. */
static void clock_to_hook(struct recent *r, const struct mt_hook_state *st)
{
	uint32_t i = st->phase == MT_PHASE_BATCH ? st->in_hand : st->index;
	if (st->phase == MT_PHASE_INTERVAL || i >= st->batch->n)
		set_now(r, st->hook_ns);
	else
		clock_to(r, st->batch, i);
}

/* What is older than the window is forgotten. */
static void forget(struct recent *r)
{
	int64_t before_ns;
	if (__builtin_sub_overflow(r->now_ns, r->window_ns, &before_ns))
		return;
	while (r->tail != r->head && r->ring[r->tail & (r->room - 1)].since_ns <= before_ns)
		r->tail++;
}

/* --- the ring ---------------------------------------------------------------------------- */

static int open_ring(struct recent *r, uint32_t room)
{
	struct seen *ring = malloc(room * sizeof *ring);
	uint32_t *buckets = calloc(room, sizeof *buckets);
	if (!ring || !buckets) {
		free(ring);
		free(buckets);
		return -1;
	}
	free(r->buckets);
	for (uint32_t n = r->tail; n != r->head; n++)
		ring[n & (room - 1)] = r->ring[n & (r->room - 1)];
	free(r->ring);
	r->ring = ring;
	r->buckets = buckets;
	r->room = room;
	r->view.memory = (double)(sizeof *r + (size_t)room * (sizeof *ring + sizeof *buckets));
	for (uint32_t i = 0; i < room; i++)
		buckets[i] = r->head; /* nothing: it is not before head */
	for (uint32_t n = r->tail; n != r->head; n++) {
		struct seen *seen = &ring[n & (room - 1)];
		uint32_t *bucket = bucket_of(r, seen->hash);
		seen->before = *bucket;
		*bucket = n;
	}
	return 0;
}

/* Is it the number of a packet that came before number `end` and is not forgotten? */
static bool is_there(const struct recent *r, uint32_t number, uint32_t end)
{
	return number - r->tail < end - r->tail;
}

static bool find(const struct recent *r, uint64_t hash, uint32_t len)
{
	uint32_t n = *bucket_of(r, hash);
	for (uint32_t end = r->head; is_there(r, n, end); end = n, n = r->ring[n & (r->room - 1)].before) {
		const struct seen *seen = &r->ring[n & (r->room - 1)];
		if (seen->hash == hash && seen->len == len)
			return true;
	}
	return false;
}

static void put(struct recent *r, uint64_t hash, uint32_t len)
{
	uint32_t n = r->head - r->tail;
	if (n >= r->limit || (n == r->room && (r->room >= MOST_ROOM || open_ring(r, r->room * 2)))) {
		r->tail++;
		r->view.forgotten++;
	}
	uint32_t *bucket = bucket_of(r, hash);
	r->ring[r->head & (r->room - 1)] =
	        (struct seen){.hash = hash, .since_ns = r->now_ns, .len = len, .before = *bucket};
	*bucket = r->head++;
}

int32_t mt_recent_add(struct mt_recent *view, struct mt_hook_state *st, const struct mt_packet *p,
                      const struct mt_decoded *d)
{
	struct recent *r = body(view);
	struct mt_batch *b = st->batch;
	uint64_t hash;
	size_t i = d >= b->decode && d < b->decode + b->n ? (size_t)(d - b->decode) : SIZE_MAX;
	if (r->seq != b->seq) {
		r->seq = b->seq;
		r->clocked = r->hashed = r->first_hashed = 0;
		set_now(r, st->clock_ns);
		if (r->ignore && !b->decoded)
			mt_batch_decode(b);
	}
	if (i == SIZE_MAX || p->cut || p->flags & MT_PACKET_EDITED) {
		hash = hash_of(p, d, r->ignore);
	} else {
		if (i >= r->hashed || i < r->first_hashed)
			make_hashes(r, b, (uint32_t)i);
		hash = r->hashes[i];
	}
	if (i != SIZE_MAX)
		clock_to(r, b, (uint32_t)i);
	else
		clock_to_hook(r, st);
	forget(r);
	bool is_ip = r->ignore & MT_HASH_IGNORE_LINK && d->l3_offset != MT_NO_OFFSET;
	uint32_t len = p->wirelen - (is_ip ? d->l3_offset : 0);
	if (find(r, hash, len))
		return 1;
	put(r, hash, len);
	return 0;
}

/* --- life -------------------------------------------------------------------------------- */

double mt_recent_count(const struct mt_recent *view)
{
	const struct recent *r = (const struct recent *)view;
	return r->head - r->tail;
}

struct mt_recent *mt_recent_new(int64_t window_ns, uint32_t limit, uint32_t ignore)
{
	struct recent *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->window_ns = window_ns;
	r->now_ns = INT64_MIN;
	r->limit = limit;
	r->ignore = ignore;
	mt_seed_draw(&r->factor, 1);
	r->factor |= 1;
	if (!open_ring(r, FIRST_ROOM))
		return &r->view;
	mt_recent_free(&r->view);
	return NULL;
}

void mt_recent_free(struct mt_recent *view)
{
	struct recent *r = body(view);
	if (!r)
		return;
	free(r->ring);
	free(r->buckets);
	free(r);
}
