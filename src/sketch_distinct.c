/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_distinct.c - how many different keys there were: HyperLogLog with a 64-bit hash (Heule, Nunkesser,
 * Hall 2013) and Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017,
 * algorithm 6), which needs neither tables nor a switch between ranges.
 *
 * m = 2^precision registers of a byte, 16 KiB by default, give a standard error of 1.04/sqrt(m).  While there
 * are few keys, the same memory holds their hashes in an open-addressed set, and the answer is exact (but for
 * two hashes in 2^64 that fall together).  It turns into registers when the set is three quarters full; what
 * state is reached depends on the set of keys alone, not on their order, so a merge gives what one would have
 * given.
 *
 * Bytes instead of 6 bits: a register is one load and one store, and the sizes are small anyway.
 */
#include <stdlib.h>

#include "sketch.h"

enum { SET_PRECISION = 14, MOST_RANK = 65 }; /* a larger precision needs no larger set */

struct saved_head {
	uint32_t kind, precision;
	double seed;
	int32_t is_exact;
	uint32_t n;
};

struct distinct {
	struct mt_distinct view; /* what Lua sees; the first member */
	union {
		uint8_t *registers;
		uint64_t *set; /* hashes; 0: free */
	};
};

static uint32_t n_registers(const struct mt_distinct *view)
{
	return (uint32_t)1 << view->precision;
}

static uint32_t set_size(const struct mt_distinct *view)
{
	uint32_t bits = view->precision < SET_PRECISION ? view->precision : SET_PRECISION;
	return ((uint32_t)1 << bits) / sizeof(uint64_t);
}

/* --- adding ---------------------------------------------------------------------------------- */

/* The first bits of the hash are the register, the zeros that follow them, and one, its rank. */
static inline void count_hash(struct distinct *d, uint64_t hash)
{
	uint32_t p = d->view.precision;
	uint8_t *reg = &d->registers[hash >> (64 - p)];
	uint8_t rank = (uint8_t)(__builtin_clzll(hash << p | (uint64_t)1 << (p - 1)) + 1);
	if (*reg < rank)
		*reg = rank;
}

static void give_up_set(struct distinct *d)
{
	uint64_t hashes[((uint32_t)1 << SET_PRECISION) / sizeof(uint64_t)];
	uint32_t size = set_size(&d->view);
	memcpy(hashes, d->set, size * sizeof hashes[0]);
	memset(d->registers, 0, n_registers(&d->view));
	d->view.is_exact = 0;
	d->view.n = 0;
	for (uint32_t i = 0; i < size; i++)
		if (hashes[i])
			count_hash(d, hashes[i]);
}

static void set_hash(struct distinct *d, uint64_t hash)
{
	uint32_t size = set_size(&d->view), i = (uint32_t)hash & (size - 1);
	for (; d->set[i]; i = (i + 1) & (size - 1))
		if (d->set[i] == hash)
			return;
	if (d->view.n >= size / 4 * 3) {
		give_up_set(d);
		count_hash(d, hash);
		return;
	}
	d->set[i] = hash;
	d->view.n++;
}

static void add_hash(struct distinct *d, uint64_t hash)
{
	hash = hash ? hash : 1;
	if (d->view.is_exact)
		set_hash(d, hash);
	else
		count_hash(d, hash);
}

int mt_distinct_packet(struct mt_distinct *view, const struct mt_packet *packet,
                       const struct mt_decoded *decoded)
{
	struct mt_sketch_key key;
	if (!mt_sketch_key_of_packet(view->kind, packet, decoded, &key))
		return 0;
	add_hash((struct distinct *)view, mt_sketch_hash(&key, view->seed));
	return 1;
}

int mt_distinct_key(struct mt_distinct *view, struct mt_sketch_key *key)
{
	mt_sketch_key_finish(key);
	add_hash((struct distinct *)view, mt_sketch_hash(key, view->seed));
	return 1;
}

/* --- the estimate ---------------------------------------------------------------------------- */

/* Ertl's sigma: what registers that are still 0 tell. */
static double sigma(double x)
{
	double y = 1, z = x, before;
	if (x == 1)
		return INFINITY;
	do {
		before = z;
		x *= x;
		z += x * y;
		y += y;
	} while (z != before);
	return z;
}

/* Ertl's tau: what registers that can not grow any more tell. */
static double tau(double x)
{
	double y = 1, z = 1 - x, before;
	if (x == 0 || x == 1)
		return 0;
	do {
		before = z;
		x = sqrt(x);
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z != before);
	return z / 3;
}

double mt_distinct_count(const struct mt_distinct *view)
{
	const struct distinct *d = (const struct distinct *)view;
	uint32_t of_rank[MOST_RANK + 1] = {0}, most = 64 - view->precision;
	double m = n_registers(view);
	if (view->is_exact)
		return view->n;
	for (uint32_t i = 0; i < n_registers(view); i++)
		of_rank[d->registers[i]]++;
	double z = m * tau(1 - of_rank[most + 1] / m);
	for (uint32_t rank = most; rank >= 1; rank--)
		z = 0.5 * (z + of_rank[rank]);
	z += m * sigma(of_rank[0] / m);
	return m * m / (2 * M_LN2 * z);
}

/* --- merge ----------------------------------------------------------------------------------- */

void mt_distinct_merge(struct mt_distinct *view, const struct mt_distinct *other_view)
{
	struct distinct *d = (struct distinct *)view;
	const struct distinct *other = (const struct distinct *)other_view;
	if (other_view->is_exact) {
		for (uint32_t i = 0; i < set_size(other_view); i++)
			if (other->set[i])
				add_hash(d, other->set[i]);
		return;
	}
	if (view->is_exact)
		give_up_set(d);
	for (uint32_t i = 0; i < n_registers(view); i++)
		if (d->registers[i] < other->registers[i])
			d->registers[i] = other->registers[i];
}

/* --- saved state ------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
	uint64_t x, y;
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

/* Sorted, so that equal state is equal bytes. */
static void save_set(const struct distinct *d, struct mt_save *save)
{
	size_t from = save->size;
	for (uint32_t i = 0; i < set_size(&d->view); i++)
		if (d->set[i])
			mt_save_bytes(save, &d->set[i], sizeof d->set[i]);
	if (save->to)
		qsort(save->to + from, d->view.n, sizeof d->set[0], by_value);
}

size_t mt_distinct_save(const struct mt_distinct *view, uint8_t *to)
{
	const struct distinct *d = (const struct distinct *)view;
	struct mt_save save = {.to = to};
	struct saved_head head = {view->kind, view->precision, (double)view->seed, view->is_exact, view->n};
	mt_save_bytes(&save, &head, sizeof head);
	if (view->is_exact)
		save_set(d, &save);
	else
		mt_save_bytes(&save, d->registers, n_registers(view));
	return save.size;
}

static bool restore_set(struct distinct *d, struct mt_saved *saved, uint32_t n)
{
	uint64_t hash;
	if (n > set_size(&d->view) / 4 * 3 || saved->left != n * sizeof hash)
		return false;
	while (mt_saved_read(saved, &hash, sizeof hash))
		add_hash(d, hash);
	return d->view.n == n;
}

static bool restore_registers(struct distinct *d, struct mt_saved *saved, uint32_t n)
{
	uint32_t most = 64 - d->view.precision + 1;
	if (n || saved->left != n_registers(&d->view))
		return false;
	d->view.is_exact = 0;
	mt_saved_read(saved, d->registers, saved->left);
	for (uint32_t i = 0; i < n_registers(&d->view); i++)
		if (d->registers[i] > most)
			return false;
	return true;
}

struct mt_distinct *mt_distinct_restore(const uint8_t *bytes, size_t len)
{
	struct mt_saved saved = {.at = bytes, .left = len};
	struct saved_head head;
	if (!mt_saved_read(&saved, &head, sizeof head))
		return NULL;
	struct mt_distinct *view = mt_distinct_new(head.kind, head.precision, head.seed);
	if (!view)
		return NULL;
	struct distinct *d = (struct distinct *)view;
	if (head.is_exact ? restore_set(d, &saved, head.n) : restore_registers(d, &saved, head.n))
		return view;
	mt_distinct_free(view);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

struct mt_distinct *mt_distinct_new(uint32_t kind, uint32_t precision, double seed)
{
	if (kind > MT_TABLE_DPORT || precision < MT_DISTINCT_LEAST_PRECISION ||
	    precision > MT_DISTINCT_MOST_PRECISION || !(seed >= 0 && seed <= 0x1p53))
		return NULL;
	struct distinct *d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	d->view = (struct mt_distinct){
	        .kind = kind, .precision = precision, .seed = (uint64_t)seed, .is_exact = 1};
	d->view.memory = (double)(sizeof *d + n_registers(&d->view));
	d->registers = calloc(n_registers(&d->view), 1);
	if (d->registers)
		return &d->view;
	free(d);
	return NULL;
}

void mt_distinct_clear(struct mt_distinct *view)
{
	struct distinct *d = (struct distinct *)view;
	memset(d->registers, 0, n_registers(view));
	view->is_exact = 1;
	view->n = 0;
}

void mt_distinct_free(struct mt_distinct *view)
{
	struct distinct *d = (struct distinct *)view;
	if (!d)
		return;
	free(d->registers);
	free(d);
}
