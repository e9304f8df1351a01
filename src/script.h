/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * script.h - the Lua side of a run: scripts are loaded here and their hooks called.
 *
 * The state is made and scripts are loaded on the main thread; while a run lasts, hooks.c calls
 * the rest, on whichever thread runs Lua.  C makes one protected call per batch; the loop over its packets is
 * Lua (lua/moontap/driver.lua).
 */
#ifndef MT_SCRIPT_H
#define MT_SCRIPT_H
#include <jansson.h>
#include <stdbool.h>

#include "abi.h"
#include "err.h"
#include "iface.h"
#include "options.h"

struct mt_bypass;
struct mt_script;
struct mt_stage_clock;

/* Start LuaJIT and load the library.  NULL with err. */
struct mt_script *mt_script_new(const struct mt_options *options, const struct mt_ifaces *ifaces,
                                struct mt_err *err);
/* Where outputs that scripts declare go; before mt_script_load.  Borrowed. */
void mt_script_set_outputs(struct mt_script *s, struct mt_options *options);
/* --profile: before mt_script_load; clock is that of the hook thread, borrowed. */
void mt_script_set_clock(struct mt_script *s, struct mt_stage_clock *clock);
/* Load all -l and -e (and the recipe `extra`, if not NULL).  1 loaded; 0 a NAME,help was printed
 * and the program is done; -1 err. */
int mt_script_load(struct mt_script *s, const char *extra, struct mt_err *err);
void mt_script_free(struct mt_script *s);

/* Shared with the driver; the flow fills in batch, from, to. */
struct mt_hook_state *mt_script_state(struct mt_script *s);
/* Which hooks any script has. */
bool mt_script_has_packet_hooks(const struct mt_script *s);
bool mt_script_has_segment_open(const struct mt_script *s);
bool mt_script_has_segment_close(const struct mt_script *s);
bool mt_script_has_block(const struct mt_script *s);
/* Is a script private: outputs shall not name sources and interfaces?  And does it change times? */
bool mt_script_is_private(const struct mt_script *s);
bool mt_script_moves_times(const struct mt_script *s);
/* Rules and filters of the chain, for packets that go past it; filled in by mt_script_start. */
struct mt_bypass *mt_script_bypass(const struct mt_script *s);

/* Sources and outputs are open: on_start.  sources: array for run.sources, borrowed.
 * Returns an exit status; what is wrong was reported. */
int mt_script_start(struct mt_script *s, const json_t *sources);
/* Call the driver on state->batch[state->from .. state->to - 1].  Sets state->index and
 * state->action; MT_ACTION_FAIL has been reported. */
void mt_script_batch(struct mt_script *s);
/* The stream clock went on without packets: intervals.  0, or -1: a script failed with rule stop. */
int mt_script_tick(struct mt_script *s, int64_t clock_ns);
/* The last interval of each script (last = true). 0 or -1. */
int mt_script_last_interval(struct mt_script *s);
/* on_stop with the final numbers (run.stats, run.sources).  0 or -1. */
int mt_script_stop(struct mt_script *s, const json_t *stats, const json_t *sources);
/* Hooks of outputs; see mt_output_hooks. */
const char *mt_script_segment_open(struct mt_script *s, const struct mt_segment_view *segment);
void mt_script_segment_close(struct mt_script *s, const json_t *line);
bool mt_script_block(struct mt_script *s, const uint8_t **data, size_t *len);
/* Results of recipes: {"top": …}; new reference. */
json_t *mt_script_results(struct mt_script *s);
/* What --profile knows of hooks and of the compiler: {"hooks": [], "aborts": [], …}.  hook_seconds: how
 * long the hook thread has run.  New reference, or NULL: not measured, or an error that was reported. */
json_t *mt_script_profile(struct mt_script *s, double hook_seconds);
/* " (packet 812, from eth0, at TIME)" of the packet in hand into text, or "" if there is none.  packets: those
 * of the batch as they came.  Returns text. */
enum { MT_SCRIPT_PLACE = 256 };
char *mt_script_place(const struct mt_script *s, const struct mt_packet *packets, char *text);
/* Has a hook failed, at any time and with any rule? */
bool mt_script_failed(const struct mt_script *s);
/* Print the recipes that are built in, with their summaries. */
int mt_script_list_recipes(struct mt_err *err);
/* Version of LuaJIT in use. */
const char *mt_script_version(void);

#endif
