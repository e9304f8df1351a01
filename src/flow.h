/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flow.h - what happens to a batch behind the queue: scripts, routing, outputs, counts.
 *
 * batch -> scripts give each packet a verdict -> packets go to the output their verdict
 * names -> every packet is counted once, under its source.  Rotation happens between two
 * packets, so a script that looks at the open segment always sees everything before the
 * packet in its hand.
 *
 * When scripts run on a thread of their own (hooks.h) and a hook does not come back, the batch is taken from
 * it. Packets that it had finished keep their verdicts; the others, and all batches until it is back, go on as
 * they came, by the on_error rules of the chain.  The hook keeps the old batch, of which nothing is written any
 * more; a copy of the packets from before it got them goes on in its place.
 */
#ifndef MT_FLOW_H
#define MT_FLOW_H
#include <jansson.h>
#include <stdbool.h>

#include "abi.h"
#include "counts.h"
#include "err.h"
#include "iface.h"
#include "options.h"
#include "output.h"

struct mt_hooks;
struct mt_script;

struct mt_flow;

/* A flow without outputs.  options, ifaces: borrowed.  script, and what calls it: both NULL or both borrowed.
 */
struct mt_flow *mt_flow_new(const struct mt_options *options, const struct mt_ifaces *ifaces,
                            struct mt_script *script, struct mt_hooks *scripts);
void mt_flow_free(struct mt_flow *f);

/* Add an output; the first is the default one if has_default was said in options, the others
 * get the verdicts 1, 2, … .  Takes o. */
int mt_flow_set_default(struct mt_flow *f, struct mt_output *o);
int mt_flow_add_named(struct mt_flow *f, struct mt_output *o);

/* on_start of the scripts.  Returns an exit status; what is wrong was reported. */
int mt_flow_start(struct mt_flow *f, const json_t *sources);
/* on_stop of the scripts that have not failed. */
void mt_flow_stop(struct mt_flow *f, const json_t *stats, const json_t *sources);
/* --pre: what was recorded, as in --json; NULL without.  New reference. */
json_t *mt_flow_recorder_json(const struct mt_flow *flow);
/* Record now, reason as in moontap.trigger.  Any thread.  0, or -1: there is no flight recorder. */
int mt_flow_trigger(struct mt_flow *flow, const char *reason, int64_t ts_ns, int64_t post_ns);
/* Nothing more can be written: count the packets of the batch (NULL: what is left of the one in hand) as
 * dropped. */
void mt_flow_lose(struct mt_flow *flow, struct mt_batch *batch);
/* Work on a batch.  1: go on; 0: the run has come to its end (-c, --duration, a script said
 * stop); -1: an output or a script failed, it was reported, mt_flow_status tells. */
int mt_flow_batch(struct mt_flow *f, struct mt_batch *batch);
/* Number of the batch that a stuck hook still has; 0: none.  When it has just become that of mt_flow_batch,
 * the batch is the flow's, and the one that goes on in its place is mt_flow_replacement. */
uint64_t mt_flow_held(struct mt_flow *f);
struct mt_batch *mt_flow_replacement(const struct mt_flow *f);
/* Nothing has come for a while: timers of outputs and scripts.  clock_ns: the stream clock
 * (wall clock minus window), INT64_MIN when no source is live.  1, 0 or -1 as above. */
int mt_flow_idle(struct mt_flow *f, int64_t clock_ns);
/* SIGHUP: close the segment. */
int mt_flow_rotate(struct mt_flow *f);
/* End: last intervals, outputs closed, on_stop.  0, or -1 after a failure. */
int mt_flow_finish(struct mt_flow *f);
/* Told to end at once, from another thread: finish the outputs, if the thread that works for the flow is in a
 * hook that has no time limit.  false: it is not, or it has been told to leave the hook alone and finish. */
bool mt_flow_abandon(struct mt_flow *f);

/* Worst exit status so far: 0, MT_STATUS_OUTPUT, MT_STATUS_SCRIPT. */
int mt_flow_status(const struct mt_flow *f);
/* What hooks have asked of the batches so far: the reading thread does it with those to come while it is ahead.
 */
struct mt_wants {
	bool decode;        /* also --print */
	uint32_t dns;       /* enum mt_dns_depth */
	uint32_t hashes;    /* enum mt_table_kind */
	uint32_t addresses; /* number of an anonymizer, see mt_ahead_new; 0: none */
};
struct mt_wants mt_flow_wants(const struct mt_flow *f);
/* What was counted.  Hook thread, or once it has ended; mt_counts_progress at any time. */
struct mt_counts_table *mt_flow_counts(const struct mt_flow *f);
struct mt_output *mt_flow_output(const struct mt_flow *f, unsigned verdict);
unsigned mt_flow_outputs(const struct mt_flow *f);
/* For how long the longest write that goes on has done so; 0: there is none.  Hook thread. */
int64_t mt_flow_busy_ms(const struct mt_flow *f, int64_t now_ms);
/* Does an output wait for space?  *deleted: segments that went for it.  Any thread. */
bool mt_flow_waits_for_space(const struct mt_flow *f, uint64_t *deleted);
/* An array with one object a source, cumulative, for manifests: name, dropped, dropped_kernel. */
json_t *mt_flow_sources_json(void *flow);
/* What sources lost before their packets reached us; set by the pipeline, any thread. */
typedef void mt_source_drops_fn(void *ctx, uint32_t group, uint64_t *dropped, uint64_t *kernel);
void mt_flow_set_drops(struct mt_flow *f, mt_source_drops_fn *fn, void *ctx);
/* The same for others to ask; f may be NULL (nothing is known then). */
void mt_flow_drops(const struct mt_flow *f, uint32_t group, uint64_t *dropped, uint64_t *kernel);
/* --profile: the clock of the thread that works for the flow.  Before outputs are opened. */
void mt_flow_set_clock(struct mt_flow *f, struct mt_stage_clock *clock);
/* For outputs: hooks and counters they are opened with. */
const struct mt_output_hooks *mt_flow_output_hooks(struct mt_flow *f);
struct mt_run_counters *mt_flow_run_counters(struct mt_flow *f);

#endif
