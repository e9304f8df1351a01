/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * feed.h - a live source that is read by a thread of its own.
 *
 *   capture thread: backend -> run -> offset, filter, cut -> records in chunks
 *   merging thread: records -> run of the source that stands in for it -> merge
 *
 * A capture thread empties the ring of its interface whatever the others do, so what waits for the
 * merge, for a slow script or for a slow disk waits in the chunks of --buffer-size, and not in the
 * kernel.  When the budget is spent, packets of interfaces are dropped and counted; pipes and
 * followed files are not read meanwhile, so that they lose nothing.
 *
 * A record is a packet with its data behind it.  The records of a feed are one list of chunks
 * with one writer and one reader; nothing is locked but the pool, once a chunk.
 *
 * An interface that goes down or disappears is tried again until it is back or the run stops.
 */
#ifndef MT_FEED_H
#define MT_FEED_H
#include "source.h"
#include "wake.h"

struct mt_feed;

/* A source that stands in for `inner`, which is open and live, in the merge.  Takes inner, also on failure.
 * promise_bytes: of the budget of context->chunks, whatever other sources take.  wake: of the merging thread;
 * borrowed.  NULL: out of memory. */
struct mt_source *mt_feed_new(struct mt_source *inner, struct mt_chunks *chunks, size_t promise_bytes,
                              struct mt_wake *wake);
/* Start its thread.  0, or -1 with err. */
int mt_feed_start(struct mt_source *s, struct mt_err *err);
/* The capture threads need not wait any longer to see that the run was told to stop. */
void mt_feed_nudge(struct mt_source *s);
/* End the thread now; what it has read and nobody has taken is lost.  Returns when it has ended. */
void mt_feed_quit(struct mt_source *s);
/* The source that its thread reads. */
struct mt_source *mt_feed_inner(const struct mt_source *s);
/* Is there a packet, or has it ended?  Merging thread. */
bool mt_feed_has(struct mt_source *s);
/* How often did the interface go away?  Any thread. */
unsigned mt_feed_outages(const struct mt_source *s);

/* Room for len bytes of a packet.  may_turn: also in a new chunk, no packet of the run is in the present one.
 * MT_OK, MT_WAIT (hand the run on first), MT_FULL. */
enum mt_read mt_feed_room(struct mt_feed *f, size_t len, bool may_turn, uint8_t **room);
void mt_feed_free(struct mt_feed *f);

#endif
