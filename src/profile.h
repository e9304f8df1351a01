/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * profile.h - where a run's time went (--profile).
 *
 * Each of the two threads has a clock that is always in one stage: whoever begins another kind
 * of work enters its stage and afterwards the one before, so the stages of a thread add up to the
 * time it ran.  Stages change a few times a batch and once for every 32 packets read, never for a
 * packet (but for a rotate hook, which has packets written one by one).  Without --profile the clocks
 * are NULL, and entering a stage is one branch.
 *
 * The split between the hooks of a chain is Lua's part: lua/moontap/profile.lua and the functions
 * mt_hook_… of abi.h.
 */
#ifndef MT_PROFILE_H
#define MT_PROFILE_H
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hooks.h"

/* In the order of the report.  READER: on the reading thread; the others on the hook thread. */
enum mt_stage {
	MT_STAGE_READ,        /* sources: system calls, decompressors and the waits for them, records */
	MT_STAGE_MERGE,       /* and the rest of the reading thread */
	MT_STAGE_DECODE,      /* headers, for hooks that ask for them */
	MT_STAGE_WAIT_QUEUE,  /* the hook thread has not taken what there is */
	MT_STAGE_WAIT_CHUNK,  /* the hook thread still uses all memory for packets */
	MT_STAGE_WAIT_SOURCE, /* interfaces and pipes have nothing */
	MT_STAGE_HOOK,        /* scripts, and the loop that calls them */
	MT_STAGE_ROUTE,       /* counts, and the rest of the hook thread */
	MT_STAGE_PRINT,       /* --print */
	MT_STAGE_ENCODE,
	MT_STAGE_WRITE,      /* codec, pipe command, file, segments, and waiting for these */
	MT_STAGE_WAIT_BATCH, /* the reading thread has not brought anything */
	MT_STAGES
};

/* Of one thread, which alone writes it; others may read ns at any time. */
struct mt_stage_clock {
	_Atomic uint64_t ns[MT_STAGES];
	_Atomic uint64_t begun_ns, ended_ns; /* CLOCK_MONOTONIC; 0: not yet */
	uint64_t since_ns;                   /* when the stage was entered */
	enum mt_stage stage;
	bool runs; /* between begin and end: what happens before and after is not counted */
};

struct mt_profile {
	struct mt_stage_clock reader, hooks;
};

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t mt_profile_ns(void);
/* The thread begins, in this stage; it ends.  NULL is fine. */
void mt_stage_begin(struct mt_stage_clock *c, enum mt_stage stage);
void mt_stage_end(struct mt_stage_clock *c);
/* Go to another stage; returns the one before. */
enum mt_stage mt_stage_switch(struct mt_stage_clock *c, enum mt_stage stage);

/* The same for a clock that may be NULL. */
static inline enum mt_stage mt_stage_enter(struct mt_stage_clock *c, enum mt_stage stage)
{
	return __builtin_expect(!c, 1) ? stage : mt_stage_switch(c, stage);
}

/* The object "profile" of --json.  scripts: NULL if there are none or they may not be asked now.  While the run
 * goes on: from the hook thread.  New reference. */
json_t *mt_profile_json(const struct mt_profile *p, struct mt_hooks *scripts);
/* The same as text on standard error (profile_print.c). */
void mt_profile_report(const struct mt_profile *p, struct mt_hooks *scripts);

#endif
