/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * supply.h - where the batches of a stepper come from: a run of its own (pull.h), or packets sampled from
 * another one (tap.h).
 *
 * Batches are numbered from 1; what a batch points into stays until it is released.  One thread.
 */
#ifndef MT_SUPPLY_H
#define MT_SUPPLY_H
#include "abi.h"
#include "err.h"
#include "source.h"

struct mt_supply_ops {
	/* Begin.  0, or -1 with err. */
	int (*start)(void *ctx, struct mt_err *err);
	/* Fill an empty batch that has a number, one higher than the last, and decode it.  MT_OK: it has
	 * packets; MT_END: there are no more after those in it, perhaps none; MT_WAIT: nothing came within
	 * max_ms; MT_FULL: release batch *wait_batch and all before it first (it may be this one's
	 * predecessor), then try again with the same batch. */
	enum mt_read (*pull)(void *ctx, struct mt_batch *batch, int max_ms, uint64_t *wait_batch);
	/* Batches up to this one are done with. */
	void (*release)(void *ctx, uint64_t batch_seq);
	/* Can it begin again?  NULL: yes; else the name of what can not be read a second time. */
	const char *(*once)(void *ctx);
	/* Begin again at the first packet; every batch was released.  0, or -1 with err. */
	int (*rewind)(void *ctx, struct mt_err *err);
	/* No more will be asked for. */
	void (*end)(void *ctx);
};

struct mt_supply {
	const struct mt_supply_ops *ops;
	void *ctx;
};

#endif
