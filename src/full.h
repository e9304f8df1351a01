/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * full.h - --on-full: what an output does when there is no space left.
 *
 * stop: the write fails.  wait: it is tried again until there is space; live sources fill the buffer
 * meanwhile, then drop and count.  drop-oldest: the oldest segment of this output that its manifest lists
 * is deleted; when none is left, wait.
 *
 * Asked by whichever thread of an output writes, one at a time.
 */
#ifndef MT_FULL_H
#define MT_FULL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum mt_on_full { MT_FULL_STOP, MT_FULL_WAIT, MT_FULL_DROP_OLDEST };

struct mt_space {
	enum mt_on_full rule;
	const atomic_int *interrupted;    /* gives up a wait; may be NULL */
	bool (*delete_oldest)(void *ctx); /* false: there is none; NULL: the output has no segments */
	void *ctx;
	_Atomic int64_t waiting_since_ms;    /* 0: it does not */
	_Atomic uint64_t deleted, waited_ms; /* in all */
};

/* A call on path failed with this errno: is it worth another try?  May have slept or deleted a file. */
bool mt_space_again(struct mt_space *s, int error, const char *path);
/* A call went well. */
void mt_space_found(struct mt_space *s, const char *path);

#endif
