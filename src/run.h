/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run.h - a run from the inside, for those who move its packets.
 *
 * run.c opens the sources, pipeline.c moves packets with threads, pull.c without (the prompt).  A run is
 * started by one of the two, never by both.
 */
#ifndef MT_RUN_H
#define MT_RUN_H
#include <pthread.h>

#include "feed.h"
#include "merge.h"
#include "pipeline.h"
#include "profile.h"
#include "queue.h"
#include "screen.h"

/* What one source lost, copied by the reading thread for others to look at. */
struct losses {
	_Atomic uint64_t dropped, kernel;
};

struct mt_run {
	const struct mt_options *options;
	struct mt_ifaces *ifaces;
	struct mt_source_context context, live_context;
	struct mt_chunks *chunks, *scratch; /* scratch: of the capture threads, from which they copy */
	struct mt_wake wake;                /* of the reading thread, when it waits for live sources */
	struct mt_readahead_pool *readahead;
	struct mt_screen *reader_screen, *hook_screen; /* NULL: sources filter */
	struct mt_source **sources;
	unsigned n, n_live;
	struct losses *losses;
	struct mt_merge *merge;
	struct mt_queue *queue;
	struct mt_flow *flow;
	struct mt_metrics *metrics;   /* or NULL */
	struct mt_control *control;   /* or NULL */
	int64_t metrics_at_ms;        /* hook thread */
	struct mt_profile *profile;   /* or NULL */
	struct mt_hooks *scripts;     /* for the profile; or NULL */
	struct mt_stage_clock *clock; /* of the reading thread; or NULL */

	pthread_t reader, hooks;
	bool reader_started, hooks_started;
	int done_fd;
	atomic_bool *stop; /* the main thread's */
	atomic_bool want_rotate, want_stats, abort, read_all, done;
	int64_t drain_until_ms; /* reading thread: 0 before the stop was noticed */
	int64_t losses_at_ms, lag_at_ms;
	uint64_t held; /* hook thread: batch that a stuck hook has; 0: none */
	bool failed;   /* a source broke before the threads started */
	char *filter;  /* -F, or what mt_run_set_filter has put in its place; NULL: none; owned */
};

/* Have another -F (NULL: none) for the sources that have no filter of their own, each from one of its next
 * packets on.  Not before they were started; one thread.  0, or -1 with err and the old one still in force. */
int mt_run_set_filter(struct mt_run *run, const char *text, struct mt_err *err);
/* Is some source still to take it on? */
bool mt_run_filter_waits(const struct mt_run *run);
/* Copy the sources' losses for others to look at, and once a second say who is late.  Merging thread. */
void mt_run_note_losses(struct mt_run *run);
/* After a stop: must what is being read end now?  quiet: the sources have nothing right now. */
bool mt_run_must_end(struct mt_run *run, bool quiet);
/* Start the threads of live sources.  0, or -1 with err. */
int mt_run_start_feeds(struct mt_run *run, struct mt_err *err);
/* All is read, or nobody wants more: those threads end. */
void mt_run_end_feeds(struct mt_run *run);

#endif
