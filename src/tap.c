/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap.c - a ring with one writer that never waits and readers that check, after they have copied a record,
 * whether it was still there.
 *
 * Positions count bytes from the start of time; a record at position a is at a % RING_BYTES and never wraps.
 * The writer announces how far it is going to write before it does: what is more than RING_BYTES behind that
 * may be overwritten.
 */
#include "tap.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stepper.h"
#include "units.h"

enum {
	RING_BYTES = 8 << 20,
	RECORDS = 8192,
	MOST_CAPLEN = 64 << 10,  /* longer packets are cut */
	MOST_OPTIONS = 4 << 10,  /* longer ones are left out */
	BURST = 2000,            /* packets that may be taken at once after a silence */
	LOOK_MS = 5,             /* how often a reader that waits looks */
	BATCH_BYTES = 256 << 10, /* a batch is full then */
	ALIGN = 8
};

/* A record: the packet, its data with MT_DATA_SLACK, its options. */
struct record {
	struct mt_packet packet;
	uint8_t bytes[];
};

struct place {
	_Atomic uint64_t number; /* of the record, from 1 */
	_Atomic uint64_t at;
	_Atomic uint32_t size;
};

struct shared {
	atomic_bool wanted, ended;
	_Atomic uint64_t seen, taken;
	_Alignas(64) _Atomic uint64_t newest; /* number of the last record */
	_Atomic uint64_t announced;           /* position that the writer goes up to */
	struct place places[RECORDS];         /* record n at n % RECORDS */
	_Alignas(64) uint8_t ring[RING_BYTES];
};

struct mt_tap {
	struct shared *shared;
	/* the writer's */
	uint64_t at;     /* end of the last record */
	uint64_t newest; /* its number */
	double tokens;   /* packets that may be taken now */
	int64_t filled_ms;
	uint32_t phase; /* pseudo-random: where in a batch the first is taken */
};

struct mt_tap *mt_tap_new(void)
{
	struct mt_tap *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	/* cppcheck-suppress invalidFunctionArg ; -1 is what an anonymous mapping takes */
	t->shared = mmap(NULL, sizeof *t->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t->phase = 2463534242u;
	if (t->shared != MAP_FAILED)
		return t;
	free(t);
	return NULL;
}

void mt_tap_free(struct mt_tap *t)
{
	if (!t)
		return;
	munmap(t->shared, sizeof *t->shared);
	free(t);
}

void mt_tap_want(struct mt_tap *t, bool wanted)
{
	atomic_store_explicit(&t->shared->wanted, wanted, memory_order_relaxed);
}

void mt_tap_end(struct mt_tap *t)
{
	atomic_store(&t->shared->ended, true);
}

void mt_tap_counts(const struct mt_tap *t, uint64_t *seen, uint64_t *taken)
{
	*seen = atomic_load_explicit(&t->shared->seen, memory_order_relaxed);
	*taken = atomic_load_explicit(&t->shared->taken, memory_order_relaxed);
}

/* --- the hook thread ------------------------------------------------------------------------------ */

static size_t align(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static void put(struct mt_tap *t, const struct mt_packet *p)
{
	struct shared *s = t->shared;
	uint32_t caplen = p->caplen < MOST_CAPLEN ? p->caplen : MOST_CAPLEN;
	uint32_t options = p->options_len <= MOST_OPTIONS ? p->options_len : 0;
	size_t size = align(sizeof(struct record) + caplen + MT_DATA_SLACK + options);
	uint64_t left = RING_BYTES - t->at % RING_BYTES;
	uint64_t at = left < size ? t->at + left : t->at;
	atomic_store_explicit(&s->announced, at + size, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* … before a byte of it is written */
	struct record *r = (struct record *)(s->ring + at % RING_BYTES);
	r->packet = *p;
	r->packet.caplen = caplen;
	r->packet.options_len = (uint16_t)options;
	memcpy(r->bytes, p->data, caplen);
	if (options)
		memcpy(r->bytes + caplen + MT_DATA_SLACK, p->options, options);
	struct place *place = &s->places[++t->newest % RECORDS];
	atomic_store_explicit(&place->number, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&place->at, at, memory_order_relaxed);
	atomic_store_explicit(&place->size, (uint32_t)size, memory_order_relaxed);
	atomic_store_explicit(&place->number, t->newest, memory_order_release);
	atomic_store_explicit(&s->newest, t->newest, memory_order_release);
	t->at = at + size;
}

static bool is_there(const struct mt_packet *p)
{
	return p->verdict <= MT_VERDICT_LAST_OUTPUT;
}

/* How many packets may be taken now. */
static uint32_t allowance(struct mt_tap *t)
{
	int64_t now_ms = mt_monotonic_ms();
	t->tokens += (double)(now_ms - t->filled_ms) * MT_TAP_RATE / 1000;
	t->filled_ms = now_ms;
	if (t->tokens > BURST)
		t->tokens = BURST;
	return (uint32_t)t->tokens;
}

/* xorshift (Marsaglia, 2003): even sampling of traffic that repeats would see the same over and over. */
static uint32_t next_phase(struct mt_tap *t)
{
	t->phase ^= t->phase << 13;
	t->phase ^= t->phase >> 17;
	t->phase ^= t->phase << 5;
	return t->phase;
}

void mt_tap_batch(struct mt_tap *t, const struct mt_batch *b)
{
	struct shared *s = t->shared;
	if (!atomic_load_explicit(&s->wanted, memory_order_relaxed))
		return;
	uint32_t n = 0, want = allowance(t), taken = 0;
	for (uint32_t i = 0; i < b->n; i++)
		n += is_there(&b->packets[i]);
	if (!n)
		return;
	want = want < n ? want : n;
	uint32_t sum = want < n ? next_phase(t) % n : 0;
	for (uint32_t i = 0; i < b->n; i++) {
		if (!is_there(&b->packets[i]))
			continue;
		sum += want;
		if (sum < n)
			continue;
		sum -= n;
		put(t, &b->packets[i]);
		taken++;
	}
	t->tokens -= taken;
	atomic_fetch_add_explicit(&s->seen, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->taken, taken, memory_order_relaxed);
}

/* --- a reader ---------------------------------------------------------------------------------------- */

struct mt_tap_reader {
	struct shared *shared;
	uint64_t next; /* number of the record */
	bool (*know)(void *ctx, uint32_t iface);
	void *ctx;
	uint8_t *data[MT_STEPPER_BATCHES]; /* of batch n at n % MT_STEPPER_BATCHES; BATCH_BYTES and a record */
	size_t used;                       /* of that of the batch being filled */
};

enum {
	DATA_BYTES =
	        BATCH_BYTES + (int)sizeof(struct record) + MOST_CAPLEN + MT_DATA_SLACK + MOST_OPTIONS + ALIGN
};

struct mt_tap_reader *mt_tap_reader_new(struct mt_tap *t, bool (*know)(void *ctx, uint32_t iface), void *ctx)
{
	struct mt_tap_reader *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	/* What is typed here can not harm the others. */
	mprotect(t->shared, sizeof *t->shared, PROT_READ);
	r->shared = t->shared;
	r->know = know;
	r->ctx = ctx;
	return r;
}

void mt_tap_reader_free(struct mt_tap_reader *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < MT_STEPPER_BATCHES; i++)
		free(r->data[i]);
	free(r);
}

/* Copy the next record behind those of the batch.  NULL: it has been overwritten. */
static struct record *copy(struct mt_tap_reader *r, uint8_t *data)
{
	struct shared *s = r->shared;
	struct place *place = &s->places[r->next % RECORDS];
	if (atomic_load_explicit(&place->number, memory_order_acquire) != r->next)
		return NULL;
	uint64_t at = atomic_load_explicit(&place->at, memory_order_relaxed);
	uint32_t size = atomic_load_explicit(&place->size, memory_order_relaxed);
	if (size > (uint32_t)DATA_BYTES - BATCH_BYTES || at % RING_BYTES + size > RING_BYTES)
		return NULL;
	struct record *to = (struct record *)(data + r->used);
	memcpy(to, s->ring + at % RING_BYTES, size);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&place->number, memory_order_relaxed) != r->next ||
	    atomic_load_explicit(&s->announced, memory_order_relaxed) - at > RING_BYTES)
		return NULL;
	to->packet.data = to->bytes;
	to->packet.options = to->packet.options_len ? to->bytes + to->packet.caplen + MT_DATA_SLACK : NULL;
	r->used += size;
	return to;
}

static void fill(struct mt_tap_reader *r, struct mt_batch *b)
{
	uint8_t **data = &r->data[b->seq % MT_STEPPER_BATCHES];
	uint64_t newest = atomic_load_explicit(&r->shared->newest, memory_order_acquire);
	if (newest - r->next >= RECORDS && newest >= r->next)
		r->next = newest - RECORDS + 1;
	if (r->next > newest || (!*data && !(*data = malloc(DATA_BYTES))))
		return;
	for (; r->next <= newest && b->n < MT_BATCH_PACKETS && r->used < BATCH_BYTES; r->next++) {
		size_t used = r->used;
		const struct record *record = copy(r, *data);
		if (!record)
			continue;
		if (!r->know(r->ctx, record->packet.iface)) {
			r->used = used;
			continue;
		}
		b->packets[b->n++] = record->packet;
		b->bytes += record->packet.caplen;
	}
}

static int start(void *ctx, struct mt_err *err)
{
	struct mt_tap_reader *r = ctx;
	(void)err;
	r->next = atomic_load(&r->shared->newest) + 1;
	return 0;
}

static enum mt_read pull(void *ctx, struct mt_batch *b, int max_ms, uint64_t *wait_batch)
{
	struct mt_tap_reader *r = ctx;
	int64_t until_ms = mt_monotonic_ms() + max_ms;
	(void)wait_batch;
	r->used = 0;
	for (;;) {
		bool ended = atomic_load(&r->shared->ended);
		fill(r, b);
		if (b->n || ended) {
			b->last = ended && !b->n;
			mt_batch_decode(b);
			return b->last ? MT_END : MT_OK;
		}
		if (mt_monotonic_ms() >= until_ms)
			return MT_WAIT;
		poll(NULL, 0, LOOK_MS);
	}
}

static void release(void *ctx, uint64_t batch_seq)
{
	(void)ctx; /* a batch's memory is used again for the one that takes its place */
	(void)batch_seq;
}

static const char *once(void *ctx)
{
	(void)ctx;
	return "the sample of a running capture";
}

static int no_rewind(void *ctx, struct mt_err *err)
{
	return mt_err_set(err, "%s can only be read once", once(ctx));
}

static void end(void *ctx)
{
	(void)ctx;
}

struct mt_supply mt_tap_supply(struct mt_tap_reader *r)
{
	static const struct mt_supply_ops ops = {.start = start,
	                                         .pull = pull,
	                                         .release = release,
	                                         .once = once,
	                                         .rewind = no_rewind,
	                                         .end = end};
	return (struct mt_supply){&ops, r};
}
