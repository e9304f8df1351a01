/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * seed.c - random numbers for hash tables; once for the tables, and for some sketches.
 */
#include "seed.h"

#include <sys/random.h>
#include <time.h>

/* Step and finish of splitmix64, by Sebastiano Vigna. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void mt_seed_draw(uint64_t *words, size_t n)
{
	struct timespec now;
	if (getrandom(words, n * sizeof *words, GRND_NONBLOCK) == (ssize_t)(n * sizeof *words))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now); /* so early after boot that there is no randomness yet */
	uint64_t state = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + (uint64_t)(uintptr_t)words;
	for (size_t i = 0; i < n; i++)
		words[i] = next(&state);
}
