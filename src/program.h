/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * program.h - a run of the program from the inside, for the files that main.c is made of.
 *
 *   program_status.c    the main thread while packets move: progress, service manager, --duration
 *   program_signals.c   the signal thread
 *   program_json.c      the object of --json, once
 *   program_prompt.c    --repl and --attach
 */
#ifndef MT_PROGRAM_H
#define MT_PROGRAM_H
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "control.h"
#include "flow.h"
#include "hooks.h"
#include "metrics.h"
#include "options.h"
#include "pipeline.h"
#include "profile.h"

enum { MT_BLOCKED_MS = 500 }; /* how long to wait for a reader of what a stuck script may hold up */

/* What the main thread is about, for the signal thread. */
enum mt_program_phase { MT_PROGRAM_OPENING, MT_PROGRAM_RUNNING, MT_PROGRAM_PROMPT, MT_PROGRAM_ENDING };

struct mt_program {
	struct mt_metrics *metrics; /* or NULL */
	struct mt_control *control; /* or NULL */
	struct mt_options options;
	struct mt_ifaces *ifaces;
	struct mt_script *script;
	struct mt_hooks *hooks; /* NULL without scripts */
	struct mt_run *run;
	struct mt_flow *flow;
	bool sources_tried;
	char run_id[32];
	int64_t started_ms;
	struct mt_profile profile; /* filled in with --profile */
	pthread_t signal_thread;
	sigset_t signals;
	pthread_mutex_t printing;
	bool printed; /* the object of --json; under printing */
	bool signal_thread_runs;
	atomic_int phase;        /* enum mt_program_phase */
	atomic_bool stop;        /* told to end; sources look at it */
	atomic_bool interrupted; /* prompt: Ctrl-C, not answered yet */
	int prompt_fd;           /* … which wakes the prompt; -1: there is none */
	atomic_bool done;        /* the signal thread has nothing more to wait for */
	int64_t interrupted_ms;  /* signal thread: when the first SIGINT or SIGTERM came; 0: none yet */
};

/* Wait for the end of the hook thread. */
void mt_program_supervise(struct mt_program *p);

/* Start the thread that waits for signals, and block them in all others.  0, or -1: it was reported. */
int mt_program_start_signals(struct mt_program *p);
void mt_program_end_signals(struct mt_program *p);

/* Print the object of --json, once, whichever thread comes to it first.  hooks: NULL if there are none, or if
 * the scripts may not be asked for results.  stuck: a script may hold standard output.  *status: as far as it
 * was known without the results. */
void mt_program_print_json(struct mt_program *p, struct mt_hooks *hooks, bool stuck, int *status);
/* Write what was printed before; waits only as long as somebody reads. */
void mt_program_flush(FILE *file);

/* on_start of the scripts.  An exit status. */
int mt_program_start_scripts(struct mt_program *p);
/* --repl: the sources are open.  An exit status. */
int mt_program_prompt(struct mt_program *p);
/* --attach.  An exit status. */
int mt_program_attach(struct mt_program *p);

#endif
