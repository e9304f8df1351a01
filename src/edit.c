/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit.c - memory for edited packets, the notes that undo them, and changes of length.
 *
 * mt_edit_begin runs for each packet that a script edits, 10 million a second: it takes memory from
 * blocks of the batch, which are reused, and copies the packet.  A batch holds at most what its
 * packets need, once for each script of the chain that edits them.
 */
#include "edit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCK = 256 << 10,
	KEPT_BLOCKS = 16, /* that a batch keeps for the next one */
	KEPT_EDITS = 4,   /* batches' worth that the pool keeps */
	HEADROOM = 16,    /* that an edited packet may grow without moving: some tags */
	RESTORED_FLAGS = MT_PACKET_EDITED | MT_PACKET_OPTIONS_SWAPPED
};

struct block {
	struct block *next;
	size_t size, used;
	_Alignas(16) uint8_t data[];
};

/* The edits of one batch. */
struct mt_edits {
	struct mt_edit_pool *pool;
	struct mt_batch *batch;
	struct mt_edits *next;                  /* in the pool */
	struct block *blocks;                   /* the first one takes what is asked for next */
	struct block *spare;                    /* empty ones */
	unsigned features;                      /* of any packet */
	struct mt_edit *last[MT_BATCH_PACKETS]; /* the latest edit of each packet, or NULL */
};

struct mt_edit_pool {
	pthread_mutex_t lock;
	struct mt_edits *edits;
	unsigned n;
};

/* --- memory -------------------------------------------------------------------------------- */

struct mt_edit_pool *mt_edit_pool_new(void)
{
	struct mt_edit_pool *pool = calloc(1, sizeof *pool);
	if (pool)
		pthread_mutex_init(&pool->lock, NULL);
	return pool;
}

static void free_blocks(struct block *b)
{
	while (b) {
		struct block *next = b->next;
		free(b);
		b = next;
	}
}

static void free_edits(struct mt_edits *edits)
{
	free_blocks(edits->blocks);
	free_blocks(edits->spare);
	free(edits);
}

void mt_edit_pool_free(struct mt_edit_pool *pool)
{
	if (!pool)
		return;
	while (pool->edits) {
		struct mt_edits *next = pool->edits->next;
		free_edits(pool->edits);
		pool->edits = next;
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static struct mt_edits *take_edits(struct mt_edit_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	struct mt_edits *edits = pool->edits;
	if (edits) {
		pool->edits = edits->next;
		pool->n--;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!edits)
		edits = calloc(1, sizeof *edits);
	if (edits)
		edits->pool = pool;
	return edits;
}

/* Empty the blocks; giants and what is too much go back to the system. */
static void reset(struct mt_edits *edits)
{
	unsigned kept = 0;
	for (struct block *b = edits->spare; b; b = b->next)
		kept++;
	while (edits->blocks) {
		struct block *b = edits->blocks;
		edits->blocks = b->next;
		if (b->size != BLOCK || kept++ >= KEPT_BLOCKS) {
			free(b);
			continue;
		}
		b->used = 0;
		b->next = edits->spare;
		edits->spare = b;
	}
	memset(edits->last, 0, sizeof edits->last);
	edits->features = 0;
}

void mt_edits_release(struct mt_batch *batch)
{
	struct mt_edits *edits = batch->edits;
	if (!edits)
		return;
	struct mt_edit_pool *pool = edits->pool;
	batch->edits = NULL;
	reset(edits);
	pthread_mutex_lock(&pool->lock);
	bool keep = pool->n < KEPT_EDITS;
	if (keep) {
		edits->next = pool->edits;
		pool->edits = edits;
		pool->n++;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		free_edits(edits);
}

static struct block *new_block(struct mt_edits *edits, size_t n)
{
	struct block *b = edits->spare;
	if (b && n <= BLOCK) {
		edits->spare = b->next;
		return b;
	}
	size_t size = n > BLOCK ? n : BLOCK;
	b = malloc(sizeof *b + size);
	if (b) {
		b->size = size;
		b->used = 0;
	}
	return b;
}

static inline void *take(struct mt_edits *edits, size_t n)
{
	n = (n + 15) & ~(size_t)15;
	struct block *b = edits->blocks;
	if (!b || n > b->size - b->used) {
		b = new_block(edits, n);
		if (!b)
			return NULL;
		b->next = edits->blocks;
		edits->blocks = b;
	}
	void *p = b->data + b->used;
	b->used += n;
	return p;
}

void *mt_edit_alloc(struct mt_edits *edits, size_t n)
{
	return take(edits, n);
}

/* Bytes that a copy had before it grew: what a script reads of it may point there until its hook ends. */
struct outgrown {
	struct outgrown *next;
	uint8_t data[];
};

/* An edit, and the packet that it edits. */
struct copy {
	struct mt_edit edit; /* the first member */
	struct mt_packet packet;
	struct mt_decoded decoded;
	struct outgrown *buffers; /* the first one is in use */
	uint8_t original[];       /* edit.before.data */
};

static uint8_t *copy_alloc(struct mt_edit *e, size_t n)
{
	struct copy *c = (struct copy *)e;
	struct outgrown *b = malloc(sizeof *b + n);
	if (!b)
		return NULL;
	b->next = c->buffers;
	c->buffers = b;
	return b->data;
}

/* The packet's bytes are in this memory of ours from here on. */
static inline void use_data(struct mt_edit *e, uint8_t *data, uint32_t room)
{
	memcpy(data, e->packet->data, e->packet->caplen);
	memset(data + e->packet->caplen, 0, MT_DATA_SLACK);
	e->packet->data = data;
	e->room = room;
}

/* Move the packet's bytes to memory of ours with room for so many. */
static int move_data(struct mt_edit *e, uint32_t room)
{
	size_t size = (size_t)room + MT_DATA_SLACK;
	uint8_t *data = e->edits ? mt_edit_alloc(e->edits, size) : copy_alloc(e, size);
	if (!data)
		return -1;
	use_data(e, data, room);
	return 0;
}

/* --- notes --------------------------------------------------------------------------------- */

static bool in_hook(const struct mt_edit *e, const struct mt_hook_state *st)
{
	return e && e->generation == st->generation && e->script == st->script;
}

/* The note of the hook that runs about packet i of the batch, or NULL. */
static inline struct mt_edit *find_note(const struct mt_hook_state *st, size_t i)
{
	const struct mt_edits *edits = st->batch->edits;
	return edits && in_hook(edits->last[i], st) ? edits->last[i] : NULL;
}

/* A new one, with so many bytes behind it. */
static inline struct mt_edit *new_note(struct mt_hook_state *st, size_t i, size_t more)
{
	struct mt_batch *batch = st->batch;
	if (!batch->edits) {
		batch->edits = take_edits(st->edit_pool);
		if (!batch->edits)
			return NULL;
		batch->edits->batch = batch;
	}
	struct mt_edit *e = take(batch->edits, sizeof *e + more);
	if (!e)
		return NULL;
	e->packet = &batch->packets[i];
	e->decoded = &batch->decode[i];
	e->edits = batch->edits;
	e->earlier = batch->edits->last[i];
	e->generation = st->generation;
	e->script = st->script;
	e->room = e->options_room = e->features = 0;
	e->before = batch->packets[i];
	batch->edits->last[i] = e;
	return e;
}

struct mt_edit *mt_edit_note(struct mt_hook_state *st, struct mt_packet *packet)
{
	size_t i = (size_t)(packet - st->batch->packets);
	struct mt_edit *e = find_note(st, i);
	return e ? e : new_note(st, i, 0);
}

struct mt_edit *mt_edit_begin(struct mt_hook_state *st, struct mt_packet *packet)
{
	if (!st->batch->decoded)
		mt_batch_decode(st->batch);
	size_t i = (size_t)(packet - st->batch->packets);
	uint32_t room = ((packet->caplen + 15) & ~15u) + HEADROOM;
	struct mt_edit *e = find_note(st, i);
	if (e && e->room)
		return e;
	if (e) {
		if (move_data(e, room))
			return NULL;
	} else {
		e = new_note(st, i, (size_t)room + MT_DATA_SLACK);
		if (!e)
			return NULL;
		use_data(e, (uint8_t *)(e + 1), room);
	}
	packet->flags |= MT_PACKET_EDITED;
	return e;
}

/* What is between two notes, read and write alike, is set back, but for the verdict and what
 * others have found out about the packet. */
static void restore(struct mt_edit *e)
{
	struct mt_packet *p = e->packet;
	uint8_t verdict = p->verdict, flags = p->flags;
	*p = e->before;
	p->verdict = verdict;
	p->flags = (uint8_t)((flags & ~RESTORED_FLAGS) | (e->before.flags & RESTORED_FLAGS));
}

void mt_edit_undo(struct mt_hook_state *st)
{
	struct mt_batch *batch = st->batch;
	if (!batch->edits)
		return;
	for (uint32_t i = 0; i < batch->n; i++) {
		struct mt_edit *e = batch->edits->last[i];
		if (!in_hook(e, st))
			continue;
		restore(e);
		batch->edits->last[i] = e->earlier;
		if (batch->decoded)
			mt_decode_again(batch, e->packet, e->decoded);
	}
}

void mt_edits_restore(struct mt_batch *batch, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; batch->edits && i < to; i++)
		for (struct mt_edit *e = batch->edits->last[i]; e; e = e->earlier)
			restore(e);
}

const struct mt_packet *mt_edit_original(const struct mt_edit *e)
{
	while (e->earlier)
		e = e->earlier;
	return &e->before;
}

void mt_edit_feature(struct mt_edit *e, enum mt_edit_feature feature)
{
	e->features |= feature;
	e->edits->features |= feature;
}

int64_t mt_edit_time(const struct mt_batch *batch, uint32_t i)
{
	const struct mt_edit *e = batch->edits ? batch->edits->last[i] : NULL;
	return e ? mt_edit_original(e)->ts_ns : batch->packets[i].ts_ns;
}

unsigned mt_edits_features(const struct mt_batch *batch, uint32_t from, uint32_t to, uint8_t verdict,
                           uint32_t snaplen)
{
	unsigned features = 0;
	if (!batch->edits || !batch->edits->features)
		return 0;
	for (uint32_t i = from; i < to; i++) {
		const struct mt_edit *e = batch->edits->last[i];
		if (!e || batch->packets[i].verdict != verdict)
			continue;
		if (batch->packets[i].caplen > snaplen)
			features |= MT_EDITED_LONGER;
		for (; e; e = e->earlier)
			features |= e->features;
	}
	return features;
}

/* --- copies -------------------------------------------------------------------------------- */

struct mt_edit *mt_edit_copy(struct mt_batch *batch, const struct mt_packet *packet,
                             const struct mt_decoded *decoded)
{
	struct copy *c = malloc(sizeof *c + packet->caplen + MT_DATA_SLACK);
	if (!c)
		return NULL;
	memcpy(c->original, packet->data, packet->caplen);
	memset(c->original + packet->caplen, 0, MT_DATA_SLACK);
	c->packet = *packet;
	c->packet.data = c->original;
	c->buffers = NULL;
	c->edit = (struct mt_edit){.packet = &c->packet, .decoded = &c->decoded, .before = c->packet};
	mt_decode_copy(batch, &c->packet, decoded, &c->decoded);
	if (move_data(&c->edit, packet->caplen + HEADROOM)) {
		free(c);
		return NULL;
	}
	return &c->edit;
}

void mt_edit_free(struct mt_edit *e)
{
	struct copy *c = (struct copy *)e;
	if (!c)
		return;
	while (c->buffers) {
		struct outgrown *next = c->buffers->next;
		free(c->buffers);
		c->buffers = next;
	}
	free(c);
}

/* --- bytes --------------------------------------------------------------------------------- */

void mt_edit_decode_as(const struct mt_packet *packet, const struct mt_decoded *decoded,
                       struct mt_decoded *result)
{
	result->inner = decoded->inner;
	mt_decode_again(NULL, packet, result);
}

void mt_edit_decode(struct mt_edit *e, struct mt_decoded *decoded)
{
	mt_decode_again(e->edits ? e->edits->batch : NULL, e->packet, decoded);
}

bool mt_edit_in_tunnel(const struct mt_edit *e, const struct mt_decoded *decoded)
{
	struct mt_decoded outer, inner;
	if (decoded->inner != MT_INNER_THIS)
		return false;
	mt_decode(e->packet, &outer);
	return mt_decode_inner(e->packet, &outer, &inner);
}

enum mt_edit_result mt_edit_resize(struct mt_edit *e, uint32_t caplen)
{
	if (caplen > MT_MAX_CAPLEN)
		return MT_EDIT_CAPLEN;
	if (caplen > e->room) {
		uint32_t room = caplen > 2 * e->room ? caplen + HEADROOM : 2 * e->room;
		if (move_data(e, room < MT_MAX_CAPLEN ? room : MT_MAX_CAPLEN))
			return MT_EDIT_NO_MEMORY;
	}
	if (e->edits && caplen > e->before.caplen)
		e->edits->features |= MT_EDITED_LONGER; /* perhaps than a snap length */
	mt_edit_shorten(e, caplen);
	return MT_EDIT_DONE;
}

int32_t mt_edit_set_time(struct mt_edit *e, int64_t ts_ns)
{
	e->packet->ts_ns = ts_ns;
	if (e->edits && ts_ns % 1000 && mt_edit_original(e)->ts_ns % 1000 == 0)
		mt_edit_feature(e, MT_EDITED_NANOSECONDS);
	return MT_EDIT_DONE;
}

/* Is [off, off + n) captured?  off comes from a script and may be any number. */
static bool captured(const struct mt_edit *e, double off, size_t n)
{
	uint32_t caplen = e->packet->caplen;
	return off >= 0 && n <= caplen && off <= caplen - n && off == (double)(uint32_t)off;
}

int32_t mt_edit_put(struct mt_edit *e, struct mt_decoded *decoded, double off, double value, uint32_t bytes)
{
	if (!captured(e, off, bytes))
		return MT_EDIT_OUTSIDE;
	double limit = bytes == 4 ? 4294967296.0 : bytes == 2 ? 65536 : 256;
	if (!(value >= 0 && value < limit) || value != (double)(uint32_t)value)
		return MT_EDIT_RANGE;
	uint8_t *p = mt_edit_data(e) + (uint32_t)off;
	for (uint32_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)((uint32_t)value >> 8 * (bytes - 1 - i));
	mt_edit_decode(e, decoded);
	return MT_EDIT_DONE;
}

int32_t mt_edit_write(struct mt_edit *e, struct mt_decoded *decoded, double off, const char *bytes, size_t len)
{
	if (!captured(e, off, len))
		return MT_EDIT_OUTSIDE;
	memcpy(mt_edit_data(e) + (uint32_t)off, bytes, len);
	mt_edit_decode(e, decoded);
	return MT_EDIT_DONE;
}
