/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_quantiles.c - quantiles with a relative error: DDSketch (Masson, Rim, Lee 2019).
 *
 * Bin i counts the numbers in (g^(i-1), g^i] with g = (1 + a) / (1 - a), so that (1 - a) g^i is no further than
 * the part a of any of them from it.  Why this and not KLL or t-digest: the error is of the number, not of its
 * rank (a p99.9 of a long tail is what people ask for), it holds always and not on most days, and bins of two
 * sketches simply add up: a merge gives exactly what one would have given.
 *
 * Bins are an array over the range that was seen, for numbers above and below 0 apart; a range of a
 * million-fold takes 690 of them (5.5 KB) at 1 %.  None is ever collapsed, which would void the promise: all of
 * what a double can be are 72,000 bins, 0.6 MB, a side.
 */
#include <float.h>
#include <stdlib.h>

#include "sketch.h"

enum { LEAST_SLACK = 32 }; /* bins of room beyond the one that is needed */

#define LEAST_ERROR 1e-4
#define MOST_ERROR  0.5

struct bins {
	double *n;
	int32_t first; /* number of the bin at n[0] */
	int32_t size;
};

struct saved_head {
	double error, sum, min, max, zero, infinite[2];
};

struct saved_bins {
	int32_t first, size;
};

struct quantiles {
	struct mt_quantiles view; /* what Lua sees; the first member */
	double log_base;          /* ln g */
	double bins_per_log;      /* 1 / ln g */
	int32_t lowest, highest;  /* the bins of the smallest and of the largest number */
	struct bins side[2];      /* numbers above 0, and the absolute values of those below */
	double infinite[2];       /* how many were +inf, -inf */
	double zero;              /* 0, and what is too small for a bin */
};

/* --- bins ------------------------------------------------------------------------------------ */

static inline int32_t bin_of(const struct quantiles *q, double x)
{
	return (int32_t)ceil(log(x) * q->bins_per_log);
}

static double number_of(const struct quantiles *q, int32_t bin)
{
	return fmin((1 - q->view.error) * exp(bin * q->log_base), DBL_MAX);
}

static inline bool has(const struct bins *b, int32_t bin)
{
	return (uint32_t)bin - (uint32_t)b->first < (uint32_t)b->size;
}

static void count_bytes(struct quantiles *q)
{
	size_t bins = (size_t)q->side[0].size + (size_t)q->side[1].size;
	q->view.memory = (double)(sizeof *q + bins * sizeof(double));
}

/* Make room from bin `from` to bin `to`.  False: no memory, and nothing has changed. */
static bool cover(struct quantiles *q, struct bins *b, int32_t from, int32_t to)
{
	if (b->size && from > b->first)
		from = b->first;
	if (b->size && to < b->first + b->size - 1)
		to = b->first + b->size - 1;
	double *n = calloc((size_t)(to - from) + 1, sizeof *n);
	if (!n)
		return false;
	if (b->size)
		memcpy(n + (b->first - from), b->n, (size_t)b->size * sizeof *n);
	free(b->n);
	*b = (struct bins){.n = n, .first = from, .size = to - from + 1};
	count_bytes(q);
	return true;
}

/* The same for a bin and some beside it, on the side to which the range grows. */
static bool reach(struct quantiles *q, struct bins *b, int32_t bin)
{
	int32_t slack = b->size / 2 > LEAST_SLACK ? b->size / 2 : LEAST_SLACK;
	int32_t from = bin - slack > q->lowest ? bin - slack : q->lowest;
	int32_t to = bin + slack < q->highest ? bin + slack : q->highest;
	if (b->size && bin < b->first)
		return cover(q, b, from, bin);
	if (b->size)
		return cover(q, b, bin, to);
	return cover(q, b, from, to);
}

/* --- adding ---------------------------------------------------------------------------------- */

static bool count(struct quantiles *q, double x, double weight)
{
	double size = fabs(x);
	int below = x < 0;
	if (size < DBL_MIN) {
		q->zero += weight;
		return true;
	}
	if (size > DBL_MAX) {
		q->infinite[below] += weight;
		return true;
	}
	int32_t bin = bin_of(q, size);
	struct bins *b = &q->side[below];
	if (!has(b, bin) && !reach(q, b, bin))
		return false;
	b->n[bin - b->first] += weight;
	return true;
}

int mt_quantiles_add(struct mt_quantiles *view, double x, double weight)
{
	if (weight == 0)
		return 0;
	if (!count((struct quantiles *)view, x, weight))
		return -1;
	view->count += weight;
	view->sum += x * weight;
	view->min = fmin(view->min, x);
	view->max = fmax(view->max, x);
	return 0;
}

/* --- the answer ------------------------------------------------------------------------------ */

/* The first number in rising order at which more than `rank` have been counted. */
static double number_at(const struct quantiles *q, double rank)
{
	const struct bins *above = &q->side[0], *below = &q->side[1];
	double seen = q->infinite[1];
	if (seen > rank)
		return -INFINITY;
	for (int32_t i = below->size; i-- > 0;)
		if ((seen += below->n[i]) > rank)
			return -number_of(q, below->first + i);
	if ((seen += q->zero) > rank)
		return 0;
	for (int32_t i = 0; i < above->size; i++)
		if ((seen += above->n[i]) > rank)
			return number_of(q, above->first + i);
	return q->view.max;
}

double mt_quantiles_get(const struct mt_quantiles *view, double q)
{
	if (view->count == 0 || q >= 1)
		return view->max;
	if (q <= 0)
		return view->min;
	double x = number_at((const struct quantiles *)view, q * (view->count - 1));
	return fmax(view->min, fmin(view->max, x));
}

/* --- merge ----------------------------------------------------------------------------------- */

static void add_bins(struct bins *b, const struct bins *other)
{
	for (int32_t i = 0; i < other->size; i++)
		b->n[other->first - b->first + i] += other->n[i];
}

int mt_quantiles_merge(struct mt_quantiles *view, const struct mt_quantiles *other_view)
{
	struct quantiles *q = (struct quantiles *)view;
	const struct quantiles *other = (const struct quantiles *)other_view;
	for (int i = 0; i < 2; i++) { /* all room first, so that a failure changes nothing */
		const struct bins *b = &other->side[i];
		if (b->size && !cover(q, &q->side[i], b->first, b->first + b->size - 1))
			return -1;
	}
	for (int i = 0; i < 2; i++) {
		add_bins(&q->side[i], &other->side[i]);
		q->infinite[i] += other->infinite[i];
	}
	q->zero += other->zero;
	view->count += other_view->count;
	view->sum += other_view->sum;
	view->min = fmin(view->min, other_view->min);
	view->max = fmax(view->max, other_view->max);
	return 0;
}

/* --- saved state ------------------------------------------------------------------------------ */

/* Without empty bins at the ends, so that equal state is equal bytes. */
static void save_bins(const struct bins *b, struct mt_save *save)
{
	int32_t from = 0, to = b->size;
	while (from < to && b->n[from] == 0)
		from++;
	while (to > from && b->n[to - 1] == 0)
		to--;
	struct saved_bins head = {.first = to > from ? b->first + from : 0, .size = to - from};
	mt_save_bytes(save, &head, sizeof head);
	if (head.size)
		mt_save_bytes(save, b->n + from, (size_t)head.size * sizeof *b->n);
}

size_t mt_quantiles_save(const struct mt_quantiles *view, uint8_t *to)
{
	const struct quantiles *q = (const struct quantiles *)view;
	struct mt_save save = {.to = to};
	struct saved_head head = {view->error, view->sum, view->min,
	                          view->max,   q->zero,   {q->infinite[0], q->infinite[1]}};
	mt_save_bytes(&save, &head, sizeof head);
	save_bins(&q->side[0], &save);
	save_bins(&q->side[1], &save);
	return save.size;
}

static bool restore_bins(struct quantiles *q, struct bins *b, struct mt_saved *saved)
{
	struct saved_bins head;
	if (!mt_saved_read(saved, &head, sizeof head) || head.size < 0)
		return false;
	if (!head.size)
		return true;
	if (head.first < q->lowest || head.first > q->highest || head.size > q->highest - head.first + 1 ||
	    saved->left < (size_t)head.size * sizeof *b->n ||
	    !cover(q, b, head.first, head.first + head.size - 1))
		return false;
	mt_saved_read(saved, b->n, (size_t)head.size * sizeof *b->n);
	for (int32_t i = 0; i < b->size; i++)
		q->view.count += b->n[i];
	return mt_are_sums(b->n, (size_t)b->size);
}

static bool restore_into(struct quantiles *q, const struct saved_head *head, struct mt_saved *saved)
{
	double ends[3] = {head->zero, head->infinite[0], head->infinite[1]};
	if (!mt_are_sums(ends, 3) || !restore_bins(q, &q->side[0], saved) ||
	    !restore_bins(q, &q->side[1], saved) || saved->left)
		return false;
	q->zero = head->zero;
	memcpy(q->infinite, head->infinite, sizeof q->infinite);
	q->view.count += head->zero + head->infinite[0] + head->infinite[1];
	q->view.sum = isnan(head->sum) ? copysign(NAN, head->sum) : head->sum; /* LuaJIT keeps more in NaNs */
	q->view.min = head->min;
	q->view.max = head->max;
	bool empty = q->view.count == 0;
	return mt_is_sum(q->view.count) &&
	       (empty ? isnan(head->min) && isnan(head->max) && head->sum == 0 : head->min <= head->max);
}

struct mt_quantiles *mt_quantiles_restore(const uint8_t *bytes, size_t len)
{
	struct mt_saved saved = {.at = bytes, .left = len};
	struct saved_head head;
	if (!mt_saved_read(&saved, &head, sizeof head))
		return NULL;
	struct mt_quantiles *view = mt_quantiles_new(head.error);
	if (view && restore_into((struct quantiles *)view, &head, &saved))
		return view;
	mt_quantiles_free(view);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

static void begin(struct quantiles *q)
{
	q->view.min = q->view.max = NAN;
	q->view.count = q->view.sum = q->zero = q->infinite[0] = q->infinite[1] = 0;
	for (int i = 0; i < 2; i++) {
		free(q->side[i].n);
		q->side[i] = (struct bins){.n = NULL};
	}
	count_bytes(q);
}

struct mt_quantiles *mt_quantiles_new(double error)
{
	if (!(error >= LEAST_ERROR && error <= MOST_ERROR))
		return NULL;
	struct quantiles *q = calloc(1, sizeof *q);
	if (!q)
		return NULL;
	q->view.error = error;
	q->log_base = log1p(2 * error / (1 - error));
	q->bins_per_log = 1 / q->log_base;
	q->lowest = bin_of(q, DBL_MIN);
	q->highest = bin_of(q, DBL_MAX);
	begin(q);
	return &q->view;
}

void mt_quantiles_clear(struct mt_quantiles *view)
{
	begin((struct quantiles *)view);
}

void mt_quantiles_free(struct mt_quantiles *view)
{
	if (!view)
		return;
	begin((struct quantiles *)view);
	free(view);
}
