/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * seed.h - random numbers for hash tables, so that nobody who sends packets can choose keys that
 * fall together.
 */
#ifndef MT_SEED_H
#define MT_SEED_H
#include <stddef.h>
#include <stdint.h>

/* Fill n words (at most 32).  Never waits for randomness. */
void mt_seed_draw(uint64_t *words, size_t n);

#endif
