/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hooks.h - whose turn it is: the scripts, or the C code that calls them.
 *
 * Everything that asks a script something while a run lasts goes through here.  Without a time limit
 * (files) the calling thread runs Lua itself, and nothing stands between.  With one (live, or
 * --script-timeout) Lua runs on a thread of its own and the caller waits for it, so a script sees the
 * same order of events either way; what overlaps is reading.  Stock LuaJIT can not interrupt compiled
 * code: a hook that does not come back within the limit loses its turn by one atomic exchange, the
 * caller goes on at once, and until the hook comes back every turn is lost without waiting.
 *
 * A turn costs two wake-ups, some 10 us, and there are a few of them a batch.
 *
 * What a lost turn still holds: the one batch it was called for (struct, packet data and edits, see
 * mt_flow_held) and copies of its own of all else.  It is given nothing else before it has come back, so no
 * more than one batch is ever out of hand.  A process that ends meanwhile must end by _exit.
 */
#ifndef MT_HOOKS_H
#define MT_HOOKS_H
#include <jansson.h>
#include <stdbool.h>

#include "abi.h"
#include "options.h"
#include "script.h"

struct mt_hooks;

enum mt_turn {
	MT_TURN_FAILED = -1, /* a script failed and its rule is stop; it was reported */
	MT_TURN_GOOD = 0,
	MT_TURN_LOST = 1 /* the hook is not back; when that was new, it was reported */
};

/* script: borrowed.  limit_ms 0: no limit, no thread.  stop: told to end, borrowed: from then on
 * on_start too has a limit.  NULL: out of memory. */
struct mt_hooks *mt_hooks_new(struct mt_script *script, const struct mt_ifaces *ifaces, unsigned limit_ms,
                              const atomic_bool *stop);
/* No turn may be lost. */
void mt_hooks_free(struct mt_hooks *h);

/* The same as the functions of script.h.  One thread at a time may call them. */
enum mt_turn mt_hooks_start(struct mt_hooks *h, const json_t *sources, int *status);
/* packets: those of the batch as they came, while the scripts change them. */
enum mt_turn mt_hooks_batch(struct mt_hooks *h, const struct mt_packet *packets);
enum mt_turn mt_hooks_tick(struct mt_hooks *h, int64_t clock_ns);
enum mt_turn mt_hooks_last_interval(struct mt_hooks *h);
enum mt_turn mt_hooks_stop(struct mt_hooks *h, const json_t *stats, const json_t *sources);
const char *mt_hooks_segment_open(struct mt_hooks *h, const struct mt_segment_view *segment);
void mt_hooks_segment_close(struct mt_hooks *h, const json_t *line);
bool mt_hooks_block(struct mt_hooks *h, const uint8_t **data, size_t *len);
json_t *mt_hooks_results(struct mt_hooks *h);
json_t *mt_hooks_profile(struct mt_hooks *h, double hook_seconds);

/* May the scripts' state be touched: is every turn back?  Reports one that has just come back. */
bool mt_hooks_ready(struct mt_hooks *h);
/* Is a turn out that has been lost?  Any thread. */
bool mt_hooks_lost(const struct mt_hooks *h);
/* The script whose turn is lost has the rule that ends the run. */
bool mt_hooks_lost_ends(const struct mt_hooks *h);
/* Has a turn ever been lost?  The thread that calls hooks, or after it. */
bool mt_hooks_any_lost(const struct mt_hooks *h);
/* Do scripts run on a thread of their own? */
bool mt_hooks_apart(const struct mt_hooks *h);
/* Called below a hook: C code that belongs to the caller begins (false: the turn was lost, touch
 * nothing and return to Lua) and ends. */
bool mt_hooks_leave_script(struct mt_hooks *h);
void mt_hooks_enter_script(struct mt_hooks *h);
/* Packets before this index of the batch in hand went through all scripts and will not be touched any more.
 * After a lost turn, or after mt_hooks_abandon. */
uint32_t mt_hooks_finished(const struct mt_hooks *h, uint32_t from);
/* From another thread, told to end at once: take the turn from a script that has it.  false: none has; or
 * the caller of the hook will see to it at once. */
bool mt_hooks_abandon(struct mt_hooks *h);

#endif
