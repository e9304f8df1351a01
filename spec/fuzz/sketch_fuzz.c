/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_fuzz.c - saved state of sketches made of any bytes: it is refused, or it is a sketch that works
 * and is saved as the same bytes again.
 *
 * The first byte of the input picks the sketch, the rest is what its :save() would have given.
 */
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "fuzz.h"
#include "table.h"

enum { KINDS = 5, LARGE = 1 << 20 };

/* A key as packets have it: addresses of 4 bytes, the ends in order. */
static struct mt_sketch_key key_for(uint32_t kind, uint64_t x)
{
	struct mt_sketch_key key = {.tag = (uint8_t)kind};
	union mt_key k = {.words = {0}};
	switch (kind) {
	case MT_TABLE_PARTS:
		key.tag = MT_KEY_NUMBER;
		key.number = (double)x;
		return key;
	case MT_TABLE_FLOW:
	case MT_TABLE_TUPLE:
		k.flow = (struct mt_key_flow){
		        .dst_high = 10, .dport = 80, .proto = 6, .src_len = 4, .dst_len = 4};
		break;
	case MT_TABLE_PAIR:
		k.pair = (struct mt_key_pair){.dst_high = 10, .src_len = 4, .dst_len = 4};
		break;
	case MT_TABLE_SRC:
	case MT_TABLE_DST:
		k.address = (struct mt_key_address){.addr_high = 10, .addr_len = 4};
		break;
	default:
		k.port = (struct mt_key_port){.port = 80, .proto = 6};
	}
	memcpy(key.words, k.words, sizeof key.words);
	return key;
}

/* What was read is saved as bytes that are read and saved as the same. */
#define ROUND_TRIP(name)                                                                 \
	static void round_trip_##name(const struct mt_##name *object)                    \
	{                                                                                \
		size_t size = mt_##name##_save(object, NULL);                            \
		uint8_t *first = malloc(size), *second = malloc(size);                   \
		MT_FUZZ_CHECK(first &&second &&mt_##name##_save(object, first) == size); \
		struct mt_##name *again = mt_##name##_restore(first, size);              \
		MT_FUZZ_CHECK(again &&mt_##name##_save(again, NULL) == size);            \
		mt_##name##_save(again, second);                                         \
		MT_FUZZ_CHECK(!memcmp(first, second, size));                             \
		mt_##name##_free(again);                                                 \
		free(first);                                                             \
		free(second);                                                            \
	}
ROUND_TRIP(topk)
ROUND_TRIP(distinct)
ROUND_TRIP(quantiles)
ROUND_TRIP(histogram)
ROUND_TRIP(rate)

static void check_list(const struct mt_topk *t)
{
	struct mt_topk_item items[32];
	int n = mt_topk_list(t, items, 32);
	for (int i = 0; i < n; i++)
		MT_FUZZ_CHECK(items[i].error <= items[i].count &&
		              (i == 0 || items[i].count <= items[i - 1].count));
}

static void topk(const uint8_t *data, size_t size)
{
	struct mt_topk *t = mt_topk_restore(data, size);
	struct mt_topk_item item;
	if (t && t->memory < LARGE) {
		struct mt_sketch_key key = key_for(t->kind, 7);
		check_list(t);
		mt_topk_key(t, &key, 5);
		mt_topk_get(t, &key, &item);
		MT_FUZZ_CHECK(item.error <= item.count && item.count >= 5);
		round_trip_topk(t);
		mt_topk_merge(t, t);
		check_list(t);
	}
	mt_topk_free(t);
}

static void distinct(const uint8_t *data, size_t size)
{
	struct mt_distinct *d = mt_distinct_restore(data, size);
	if (d) {
		struct mt_sketch_key key = key_for(d->kind, 7);
		MT_FUZZ_CHECK(mt_distinct_count(d) >= 0);
		mt_distinct_key(d, &key);
		round_trip_distinct(d);
		double before = mt_distinct_count(d);
		mt_distinct_merge(d, d);
		MT_FUZZ_CHECK(before > 0 && mt_distinct_count(d) == before);
	}
	mt_distinct_free(d);
}

static void quantiles(const uint8_t *data, size_t size)
{
	struct mt_quantiles *q = mt_quantiles_restore(data, size);
	if (q) {
		mt_quantiles_add(q, -1e9, 3);
		round_trip_quantiles(q);
		mt_quantiles_merge(q, q);
		double low = mt_quantiles_get(q, 0.2), high = mt_quantiles_get(q, 0.8);
		MT_FUZZ_CHECK(q->min <= low && low <= high && high <= q->max);
	}
	mt_quantiles_free(q);
}

static void histogram(const uint8_t *data, size_t size)
{
	struct mt_histogram *h = mt_histogram_restore(data, size);
	if (h) {
		for (uint32_t i = 0; i <= h->buckets; i++)
			mt_histogram_add(h, h->edges[i], 1);
		round_trip_histogram(h);
		MT_FUZZ_CHECK(h->over > 0 && mt_histogram_merge(h, h) == 0);
	}
	mt_histogram_free(h);
}

static void rate(const uint8_t *data, size_t size)
{
	struct mt_rate *r = mt_rate_restore(data, size);
	if (r && r->memory < LARGE) {
		round_trip_rate(r);
		mt_rate_add(r, 5, 1, 100);
		mt_rate_add(r, INT64_MAX, 1, 100);
		mt_rate_add(r, INT64_MIN, 1, 100);
		mt_rate_merge(r, r);
	}
	mt_rate_free(r);
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	static void (*const kinds[KINDS])(const uint8_t *, size_t) = {topk, distinct, quantiles, histogram,
	                                                              rate};
	if (size)
		kinds[data[0] % KINDS](data + 1, size - 1);
	return 0;
}

/* --- to begin with: each sketch with something in it --------------------------------------------- */

static size_t seed_topk(uint32_t kind, uint8_t *data)
{
	struct mt_topk *t = mt_topk_new(kind, 8, 32, 3);
	struct mt_sketch_key text = {.tag = MT_KEY_STRING, .text = "www.example.org", .len = 15};
	for (uint64_t i = 0; i < 20; i++) {
		struct mt_sketch_key key = key_for(kind, i * i % 11);
		mt_topk_key(t, &key, 1);
	}
	if (kind == MT_TABLE_PARTS)
		mt_topk_key(t, &text, 9);
	size_t size = mt_topk_save(t, data);
	mt_topk_free(t);
	return size;
}

static size_t seed_distinct(uint64_t n, uint8_t *data)
{
	struct mt_distinct *d = mt_distinct_new(MT_TABLE_PARTS, 8, 0);
	for (uint64_t i = 0; i < n; i++) {
		struct mt_sketch_key key = key_for(MT_TABLE_PARTS, i);
		mt_distinct_key(d, &key);
	}
	size_t size = mt_distinct_save(d, data);
	mt_distinct_free(d);
	return size;
}

static size_t seed_quantiles(uint8_t *data)
{
	struct mt_quantiles *q = mt_quantiles_new(0.1);
	for (int i = -20; i < 20; i++)
		mt_quantiles_add(q, i * i * i, 1);
	size_t size = mt_quantiles_save(q, data);
	mt_quantiles_free(q);
	return size;
}

static size_t seed_histogram(uint8_t *data)
{
	const double edges[] = {0, 64, 128, 256, 1519};
	struct mt_histogram *h = mt_histogram_new(edges, 5);
	mt_histogram_add(h, 100, 3);
	size_t size = mt_histogram_save(h, data);
	mt_histogram_free(h);
	return size;
}

static size_t seed_rate(uint8_t *data)
{
	struct mt_rate *r = mt_rate_new(1e9, 5);
	for (int64_t i = 0; i < 9; i++)
		mt_rate_add(r, i * 700000000, 1, 100);
	size_t size = mt_rate_save(r, data);
	mt_rate_free(r);
	return size;
}

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	static const uint8_t kind_of[] = {0, 0, 1, 1, 2, 3, 4};
	if (i >= sizeof kind_of)
		return 0;
	data[0] = kind_of[i];
	switch (i) {
	case 0:
		return 1 + seed_topk(MT_TABLE_PARTS, data + 1);
	case 1:
		return 1 + seed_topk(MT_TABLE_SRC, data + 1);
	case 2:
		return 1 + seed_distinct(15, data + 1);
	case 3:
		return 1 + seed_distinct(500, data + 1);
	case 4:
		return 1 + seed_quantiles(data + 1);
	case 5:
		return 1 + seed_histogram(data + 1);
	default:
		return 1 + seed_rate(data + 1);
	}
}
