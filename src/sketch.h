/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch.h - what the sketches of scripts have in common: keys and their hash (sketch_key.c), and how
 * state is written to a string and read again.
 *
 * A sketch answers a question about a stream in memory that does not grow with it: moontap.topk,
 * moontap.distinct, moontap.quantiles, moontap.histogram and moontap.rate, each in a sketch_*.c of
 * its own.  Adding to one is a single call from a hook, some 10 to 50 ns; nothing is allocated for it,
 * but for new bins of quantiles.  The hook thread alone uses them.
 *
 * Saved state is untrusted: whoever restores one checks every length, number and order in it.
 */
#ifndef MT_SKETCH_H
#define MT_SKETCH_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "abi.h"

/* --- keys ---------------------------------------------------------------------------------- */

/* Finish a key that Lua made: its length, and one form for numbers that are equal. */
void mt_sketch_key_finish(struct mt_sketch_key *key);
/* Put the ends of a key of both directions into the order that its first packet had. */
void mt_sketch_key_restore(struct mt_sketch_key *key);
/* Can a sketch of this kind have that key, and does it make sense.  For saved ones. */
bool mt_sketch_key_is_sound(uint32_t kind, const struct mt_sketch_key *key);
/* Bytes of keys of this tag, 0 for strings and tags that do not exist. */
uint32_t mt_sketch_key_len(uint32_t tag);
/* The same for equal keys in every run of every machine of one byte order. */
uint64_t mt_sketch_hash(const struct mt_sketch_key *key, uint64_t seed);

static inline const void *mt_sketch_key_bytes(const struct mt_sketch_key *key)
{
	return key->tag == MT_KEY_STRING ? (const void *)key->text : (const void *)key->words;
}

/* --- saved state ------------------------------------------------------------------------------ */

/* Where state is written to; with to = NULL it is only measured. */
struct mt_save {
	uint8_t *to;
	size_t size;
};

static inline void mt_save_bytes(struct mt_save *save, const void *bytes, size_t n)
{
	if (save->to && n)
		memcpy(save->to + save->size, bytes, n);
	save->size += n;
}

/* What is left of saved state. */
struct mt_saved {
	const uint8_t *at;
	size_t left;
};

/* The next n bytes, or NULL: there are not so many. */
static inline const uint8_t *mt_saved_take(struct mt_saved *saved, size_t n)
{
	if (n > saved->left)
		return NULL;
	const uint8_t *at = saved->at;
	saved->at += n;
	saved->left -= n;
	return at;
}

static inline bool mt_saved_read(struct mt_saved *saved, void *to, size_t n)
{
	const uint8_t *bytes = mt_saved_take(saved, n);
	if (bytes && n)
		memcpy(to, bytes, n);
	return bytes;
}

/* What a sum of weights can be. */
static inline bool mt_is_sum(double x)
{
	return x >= 0 && x <= 1e300;
}

static inline bool mt_are_sums(const double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!mt_is_sum(x[i]))
			return false;
	return true;
}

#endif
