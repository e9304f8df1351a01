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
#include "abi.h"
#include "err.h"
#include "source.h"

struct mt_run;

/* Begin.  0, or -1 with err. */
int mt_pull_start(struct mt_run *run, struct mt_err *err);
/* Fill an empty batch that has a number, one higher than the last.  MT_OK: it has packets; MT_END: there are no
 * more after those in it, perhaps none; MT_WAIT: nothing came within max_ms; MT_FULL: release batch *wait_batch
 * and all before it first (it may be this one's predecessor), then try again with the same batch. */
enum mt_read mt_pull(struct mt_run *run, struct mt_batch *batch, int max_ms, uint64_t *wait_batch);
/* Batches up to this one are done with. */
void mt_pull_release(struct mt_run *run, uint64_t batch_seq);
/* Begin again at the first packet; every batch was released.  0, or -1 with err: a source can not be read a
 * second time. */
int mt_pull_rewind(struct mt_run *run, struct mt_err *err);
/* Can it?  NULL: yes; else the name of the first source that can not be read a second time. */
const char *mt_pull_once(const struct mt_run *run);
/* No more will be asked for. */
void mt_pull_end(struct mt_run *run);

#endif
