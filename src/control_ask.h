/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control_ask.h - what the sessions of --control can ask the capture, and have it do.
 *
 * A question is an object {"ask": NAME, …}, the answer {"value": …} or {"error": SENTENCE}.
 *
 *   report       totals, sources, outputs as in --json; run: its id; age_s: how old they are
 *   queues       what waits, and for what
 *   sample       packets that passed, and how many of them were taken
 *   interfaces   all, in the order of their numbers
 *   published    what scripts have published
 *   filter       the filter; with "text" (null: none) another one is set
 *   rotate       close the segment
 *   trigger      "reason", "post" (seconds): the flight recorder
 */
#ifndef MT_CONTROL_ASK_H
#define MT_CONTROL_ASK_H
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "flow.h"
#include "iface.h"
#include "tap.h"

struct mt_run;

enum { MT_CONTROL_QUESTION = 64 << 10 }; /* the longest question, bytes */

/* The capture as the control thread sees it. */
struct mt_control_run {
	struct mt_run *run;
	struct mt_flow *flow;
	struct mt_ifaces *ifaces;
	struct mt_tap *tap;
	const char *run_id;
	int64_t began_ms;

	pthread_mutex_t lock;   /* of what follows */
	pthread_cond_t updated; /* the hook thread has left a report */
	json_t *report;         /* its last one, or NULL; owned */
	int64_t reported_ms;
	atomic_bool wanted; /* another one */
};

/* The answer to a question (NULL: it was no JSON); new reference. */
json_t *mt_control_ask(struct mt_control_run *c, const json_t *question);

#endif
