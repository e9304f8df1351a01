/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * script_prompt.h - the Lua side of the prompt: a line in, its text out (lua/moontap/repl/).
 */
#ifndef MT_SCRIPT_PROMPT_H
#define MT_SCRIPT_PROMPT_H
#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "prompt.h"
#include "script.h"
#include "stepper.h"

struct mt_stage_clock;

/* What the prompt has besides its scripts; all borrowed. */
struct mt_script_prompt {
	struct mt_script *script;
	struct mt_stepper *stepper;
	/* The counters it shows: {"totals": {}, "sources": []}, as in --json; new reference. */
	json_t *(*report)(void *ctx);
	/* Has the user asked for an end of what runs (Ctrl-C)?  Once: the answer takes the question back. */
	bool (*interrupted)(void *ctx);
	void *ctx;
	struct mt_stage_clock *clock; /* of this thread, which is in scripts from now on */
	/* Beside a running capture: have it answer a question or do something (control_ask.h); arguments:
	 * taken, may be NULL.  New reference, or NULL with err.  NULL: there is no capture. */
	json_t *(*ask)(void *ctx, const char *what, json_t *arguments, struct mt_err *err);
	bool live;
	bool colours; /* on standard output */
};

/* The scripts have been started.  0, or -1: it was reported. */
int mt_script_prompt_begin(struct mt_script_prompt *p);
/* What struct mt_prompt_calls has; ctx is a struct mt_script_prompt. */
enum mt_prompt_result mt_script_prompt_line(void *ctx, const char *text);
/* The first value of the last line, of a packet its fields; new reference, or NULL: there is none, or too
 * much. */
json_t *mt_script_prompt_value(struct mt_script_prompt *p);
char **mt_script_prompt_complete(void *ctx, const char *text, size_t *word);

#endif
