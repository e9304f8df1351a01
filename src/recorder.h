/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recorder.h - --pre: keep the last packets in memory, and write them when something asks for it.
 *
 *   flow.c: kept packets of the default output -> recorder -> output.c
 *
 * Until a trigger comes, packets go into a ring of bounded size and leave it at its other end, unwritten. A
 * trigger has a time: what the ring holds of the time before goes to a new segment, named by the trigger's
 * reason, and so does what comes until `post` later.  A trigger during that time extends the same segment.  A
 * packet is never written twice.
 *
 * Times are those of packets.  The hook thread calls; triggers may come from any thread.
 */
#ifndef MT_RECORDER_H
#define MT_RECORDER_H
#include <jansson.h>

#include "counts.h"
#include "output.h"

struct mt_recorder;

/* pre_ns: how long a packet is kept; bytes: size of the ring.  counts: where packets that leave unwritten are
 * counted as dropped by the scripts; borrowed.  NULL: out of memory. */
struct mt_recorder *mt_recorder_new(int64_t pre_ns, size_t bytes, struct mt_counts_table *counts);
void mt_recorder_free(struct mt_recorder *r);

/* Record what was kept before ts_ns and what comes until post_ns later.  ts_ns INT64_MIN: the time of the
 * latest packet.  Takes effect with the next packet or tick.  reason is copied and cut to 63 bytes.  Any
 * thread. */
void mt_recorder_trigger(struct mt_recorder *r, const char *reason, int64_t ts_ns, int64_t post_ns);

/* Take those of packets[0..n-1] with the verdict of the default output; as mt_output_write otherwise. */
int mt_recorder_write(struct mt_recorder *r, struct mt_output *o, struct mt_packet *packets, uint32_t n,
                      struct mt_err *err);
/* Would mt_recorder_write call a hook for the packet?  As mt_output_needs_hook. */
bool mt_recorder_needs_hook(struct mt_recorder *r, const struct mt_output *o, const struct mt_packet *packet,
                            bool takes);
/* Do what mt_recorder_needs_hook announces for the packet.  0 or -1. */
int mt_recorder_prepare(struct mt_recorder *r, struct mt_output *o, const struct mt_packet *packet,
                        struct mt_err *err);
/* Timer: start or end what is due; clock_ns: the stream clock, or INT64_MIN.  0 or -1. */
int mt_recorder_tick(struct mt_recorder *r, struct mt_output *o, int64_t clock_ns, struct mt_err *err);
/* The run ends: a trigger that nothing followed is still obeyed, what the ring holds then leaves.  0 or -1. */
int mt_recorder_end(struct mt_recorder *r, struct mt_output *o, struct mt_err *err);

/* Packets that it has taken and not written: in the ring, and gone. */
uint64_t mt_recorder_held(const struct mt_recorder *r);
uint64_t mt_recorder_passed(const struct mt_recorder *r);
/* {"triggers", "recordings", "not_recorded"}; new reference. */
json_t *mt_recorder_json(const struct mt_recorder *r);

#endif
