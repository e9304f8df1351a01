/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipeline.h - a run: the threads, and what moves between them.
 *
 *   capture threads: a live source -> chunks, each for one      (feed)
 *   reading thread: sources -> merge -> batch -> decode        (chunks, queue)
 *   hook thread:    scripts -> route -> encode -> codec -> file (flow)
 *   main thread:    signals, progress, the clock of --duration
 *
 * The hook thread owns the Lua state and the outputs while it runs.  The queue is the only
 * thing the two share, besides counters.
 *
 * When there is a time limit for hooks (live, or --script-timeout) there is one more:
 *
 *   scripts' thread: Lua, whenever the hook thread asks      (hooks)
 *
 * The two take turns, so order and results are the same; but the hook thread does not wait longer than
 * the limit.  Memory of a batch that a stuck hook has is not used again before the hook is back: one batch
 * and the chunks it points into, and never a second one.
 */
#ifndef MT_PIPELINE_H
#define MT_PIPELINE_H
#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"
#include "flow.h"
#include "iface.h"
#include "options.h"
#include "script.h"

struct mt_run;
struct mt_hooks;
struct mt_control;
struct mt_metrics;
struct mt_profile;

/* Open all sources of the options.  Every one that fails is reported; then NULL.  The run
 * borrows options.  stop: when it is set, also while a source is waited for here, nothing more is read and
 * what was read is worked off; borrowed. */
struct mt_run *mt_run_open(const struct mt_options *options, struct mt_ifaces *ifaces, atomic_bool *stop);
void mt_run_free(struct mt_run *run);

/* The sources' common traits that the output formats follow from.  Link types of all
 * interfaces known so far: *n distinct ones, two of them named with a source each. */
struct mt_link_summary {
	unsigned n;
	uint16_t linktype[2];
	const char *source[2];
};
struct mt_link_summary mt_run_links(const struct mt_run *run);
/* Are all times whole microseconds, as far as is known?  *sure: nothing finer can come. */
bool mt_run_microseconds(const struct mt_run *run, bool *sure);

/* --profile: measure into *profile, which is borrowed; scripts are asked for their part at SIGUSR1. */
void mt_run_profile(struct mt_run *run, struct mt_profile *profile, struct mt_hooks *scripts);
/* --metrics: leave the numbers there now and then; borrowed. */
void mt_run_set_metrics(struct mt_run *run, struct mt_metrics *metrics);
/* --control: sampled packets and numbers go there; borrowed. */
void mt_run_set_control(struct mt_run *run, struct mt_control *control);
/* Start the threads.  flow is borrowed.  0, or -1 with err. */
int mt_run_start(struct mt_run *run, struct mt_flow *flow, struct mt_err *err);
/* Has the reading thread ended? */
bool mt_run_read_all(const struct mt_run *run);
/* Descriptor that becomes readable when the hook thread has ended. */
int mt_run_done_fd(const struct mt_run *run);
/* Has it?  Then its numbers may be read. */
bool mt_run_done(const struct mt_run *run);
/* End now: no batch is taken any more, the outputs are finished. */
void mt_run_abort(struct mt_run *run);
/* Ask the hook thread to close the segment, or to print statistics. */
void mt_run_rotate(struct mt_run *run);
void mt_run_print_stats(struct mt_run *run);
/* Are statistics still to be printed, as the hook thread waits for something?  Then they are the caller's to
 * print. */
bool mt_run_stats_wanted(struct mt_run *run);
/* Wait for all threads. */
void mt_run_join(struct mt_run *run);
/* Did a source break after its header?  After mt_run_join. */
bool mt_run_source_failed(const struct mt_run *run);
/* Bytes of files read and in all; any thread. */
void mt_run_progress(const struct mt_run *run, uint64_t *done, uint64_t *total);
/* Drops of a source group before its packets reached the scripts: by our buffers, by the kernel
 * or the capturing system (UINT64_MAX: unknown).  Signature of mt_source_drops_fn. */
void mt_run_drops(void *run, uint32_t group, uint64_t *dropped, uint64_t *kernel);

#endif
