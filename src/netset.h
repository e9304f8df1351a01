/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netset.h - the two halves of a set of prefixes: netset.c turns prefixes into ranges of addresses,
 * netset_ranges.c finds the range of an address.
 */
#ifndef MT_NETSET_H
#define MT_NETSET_H
#include "abi.h"

/* Ranges of 64-bit numbers: one begins at each key and goes up to the next.  keys[0] is 0 or, where
 * the low half of a key is its value, below 2^32. */
struct mt_ranges {
	uint64_t *keys; /* ascending */
	uint32_t n;
	uint32_t n_nodes, n_slots;
	struct mt_ranges_node *nodes;
	struct mt_ranges_slot *slots;
	double bytes; /* memory taken */
};

/* Memory that is quick to look around in: whole huge pages where it is large.  For free(). */
void *mt_ranges_memory(size_t bytes, double *sum);
/* Take n keys, at least one, that are not freed before, and make their index.  0, or -1: no memory. */
int mt_ranges_open(struct mt_ranges *ranges, uint64_t *keys, uint32_t n);
void mt_ranges_close(struct mt_ranges *ranges);
/* The last key that is not above x. */
uint32_t mt_ranges_find(const struct mt_ranges *ranges, uint64_t x);

#endif
