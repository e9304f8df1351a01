/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * merge.h - many sources into one stream in time order.
 *
 * An exact k-way merge: the earliest packet leaves first, equal times in the order of the
 * sources, and a source that runs backwards is merged as it comes.  Typical: 2 to 256 open
 * sources, 30 million packets a second; several thousand named, of which few overlap.
 *
 * A loser tree over packed keys (time since a base, then slot) picks the winner without
 * branches; times that do not fit the packing switch it to 128-bit keys.  Regular files
 * are parked - closed, with the time of their first packet known - until the stream
 * reaches that time, so memory and descriptors follow how many overlap.
 *
 * Live, a source that has nothing right now may still bring an earlier packet.  Its watermark
 * is the time of the last one that it showed.  A packet before the watermarks of all quiet
 * sources leaves at once, any other when it has waited for the window since it reached the
 * program.  What is earlier than something that has left is late.
 */
#ifndef MT_MERGE_H
#define MT_MERGE_H
#include <stdbool.h>

#include "abi.h"
#include "source.h"

struct mt_merge;
struct mt_stage_clock;
struct mt_wake;

/* How live sources are merged. */
struct mt_merge_live {
	unsigned window_ms;   /* longest wait of a packet for quiet sources */
	bool drop_late;       /* --late=drop */
	struct mt_wake *wake; /* wakes mt_merge_poll when a feed has something */
};

/* Merge over sources in command line order; borrowed.  Those that are parkable are closed, with
 * has_first and first_ns set; the others are open.  NULL: out of memory. */
struct mt_merge *mt_merge_new(struct mt_source **sources, unsigned n, struct mt_chunks *chunks);
void mt_merge_free(struct mt_merge *m);
/* Some sources are live; copied. */
void mt_merge_set_live(struct mt_merge *m, const struct mt_merge_live *live);
/* --profile: the clock of the thread that merges; borrowed. */
void mt_merge_set_clock(struct mt_merge *m, struct mt_stage_clock *clock);

/* Append packets to the batch until it is full.  MT_OK: it is; MT_END: all sources have
 * ended; MT_WAIT: nothing can be released right now, see mt_merge_poll; MT_FULL: hand the
 * batch on, then wait until batch *wait_batch is released.  A source that breaks is
 * reported, ends alone, and sets mt_merge_failed. */
enum mt_read mt_merge_fill(struct mt_merge *m, struct mt_batch *batch, uint64_t *wait_batch);
/* The run was told to stop: files that have not begun never will. */
void mt_merge_stop(struct mt_merge *m);
/* Sources that are waited for and have no thread of their own end. */
void mt_merge_give_up(struct mt_merge *m);
/* After MT_WAIT: sleep until a source may have something or a packet has waited for long enough, at most
 * max_ms. */
void mt_merge_poll(struct mt_merge *m, int max_ms);
/* Say which live sources are steadily late, and by how much; once a second or so. */
void mt_merge_report_lag(struct mt_merge *m);
/* Did a source break after its header? */
bool mt_merge_failed(const struct mt_merge *m);
/* Bytes of regular files read so far and in all, for the progress bar; any thread. */
void mt_merge_progress(const struct mt_merge *m, uint64_t *done, uint64_t *total);

#endif
