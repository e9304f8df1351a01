/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pull.h - packets of a run for one thread that asks for them, batch by batch.
 *
 *   sources -> merge -> -F, -s -> decode -> batch
 *
 * What the prompt reads from, in place of the threads of pipeline.c.  Live sources still have threads of
 * their own, so they go on capturing while nobody asks, as far as their buffers go.
 */
#ifndef MT_PULL_H
#define MT_PULL_H
#include "supply.h"

struct mt_run;

/* The packets of a run that was opened and not started; borrowed. */
struct mt_supply mt_pull_supply(struct mt_run *run);

#endif
