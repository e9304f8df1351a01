/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * profile.c - the clocks of --profile, and what they say as JSON.  profile_print.c makes text of it.
 */
#include "profile.h"

#include <string.h>
#include <time.h>

#include "abi.h"

#define SHORT_SECONDS 0.02

uint64_t mt_profile_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- stages ------------------------------------------------------------------------------ */

/* Only one thread writes, so a load and a store do for an addition. */
static void add(_Atomic uint64_t *sum, uint64_t ns)
{
	atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + ns, memory_order_relaxed);
}

void mt_stage_begin(struct mt_stage_clock *c, enum mt_stage stage)
{
	if (!c)
		return;
	c->since_ns = mt_profile_ns();
	c->stage = stage;
	c->runs = true;
	atomic_store(&c->begun_ns, c->since_ns);
}

enum mt_stage mt_stage_switch(struct mt_stage_clock *c, enum mt_stage stage)
{
	enum mt_stage before = c->stage;
	if (stage == before || !c->runs)
		return before;
	uint64_t now = mt_profile_ns();
	add(&c->ns[before], now - c->since_ns);
	c->since_ns = now;
	c->stage = stage;
	return before;
}

void mt_stage_end(struct mt_stage_clock *c)
{
	if (!c)
		return;
	uint64_t now = mt_profile_ns();
	add(&c->ns[c->stage], now - c->since_ns);
	c->runs = false;
	atomic_store(&c->ended_ns, now);
}

/* --- for Lua ----------------------------------------------------------------------------- */

double mt_hook_now(void)
{
	return (double)mt_profile_ns();
}

double mt_hook_stage_ns(const struct mt_stage_clock *c)
{
	struct mt_stage_clock *clock = (struct mt_stage_clock *)(uintptr_t)c;
	uint64_t ns = atomic_load_explicit(&clock->ns[MT_STAGE_HOOK], memory_order_relaxed);
	return (double)(clock->stage == MT_STAGE_HOOK ? ns + mt_profile_ns() - clock->since_ns : ns);
}

/* The interpreter calls C from one place of its code, compiled Lua from wherever the trace is: so the
 * return address tells which of the two is running. */
void mt_hook_calibrate(struct mt_hook_times *t)
{
	t->interpreter = __builtin_extract_return_addr(__builtin_return_address(0));
	t->compiled = 0;
	t->last_ns = mt_profile_ns();
}

void mt_hook_tick(struct mt_hook_times *t, uint32_t slot)
{
	struct mt_hook_slot *s = &t->slot[slot];
	uint32_t compiled = __builtin_extract_return_addr(__builtin_return_address(0)) != t->interpreter;
	uint64_t now = mt_profile_ns(), ns = now - t->last_ns;
	s->ns[compiled] += ns;
	s->n[compiled]++;
	if (ns < s->least[compiled] || !s->least[compiled])
		s->least[compiled] = ns;
	s->timed++;
	s->left += t->compiled && !compiled;
	t->compiled = compiled;
	t->last_ns = now;
}

/* --- the report -------------------------------------------------------------------------- */

static const char *const stage_names[MT_STAGES] = {
        [MT_STAGE_READ] = "read",
        [MT_STAGE_MERGE] = "merge",
        [MT_STAGE_DECODE] = "decode",
        [MT_STAGE_WAIT_QUEUE] = "wait_queue_full",
        [MT_STAGE_WAIT_CHUNK] = "wait_no_memory",
        [MT_STAGE_WAIT_SOURCE] = "wait_sources",
        [MT_STAGE_HOOK] = "hooks",
        [MT_STAGE_ROUTE] = "route",
        [MT_STAGE_PRINT] = "print",
        [MT_STAGE_ENCODE] = "encode",
        [MT_STAGE_WRITE] = "write",
        [MT_STAGE_WAIT_BATCH] = "wait_queue_empty",
};

struct span {
	uint64_t begun_ns, ended_ns;
};

/* When the thread ran; up to now if it still runs. */
static struct span span_of(const struct mt_stage_clock *c)
{
	struct mt_stage_clock *clock = (struct mt_stage_clock *)(uintptr_t)c;
	struct span s = {atomic_load(&clock->begun_ns), atomic_load(&clock->ended_ns)};
	if (s.begun_ns && !s.ended_ns)
		s.ended_ns = mt_profile_ns();
	return s;
}

static double stage_seconds(const struct mt_stage_clock *c, enum mt_stage stage)
{
	struct mt_stage_clock *clock = (struct mt_stage_clock *)(uintptr_t)c;
	return (double)atomic_load_explicit(&clock->ns[stage], memory_order_relaxed) / 1e9;
}

static json_t *thread_json(const struct mt_stage_clock *c, enum mt_stage first, enum mt_stage last)
{
	struct span s = span_of(c);
	json_t *o = json_object(), *stages = json_object();
	json_object_set_new(o, "seconds", json_real((double)(s.ended_ns - s.begun_ns) / 1e9));
	for (enum mt_stage stage = first; stage <= last; stage++)
		json_object_set_new(stages, stage_names[stage], json_real(stage_seconds(c, stage)));
	json_object_set_new(o, "stages", stages);
	return o;
}

static double wall_seconds(const struct mt_profile *p)
{
	struct span r = span_of(&p->reader), h = span_of(&p->hooks);
	uint64_t begun = !r.begun_ns || (h.begun_ns && h.begun_ns < r.begun_ns) ? h.begun_ns : r.begun_ns;
	uint64_t ended = r.ended_ns > h.ended_ns ? r.ended_ns : h.ended_ns;
	return (double)(ended - begun) / 1e9;
}

struct share {
	const char *what;
	double seconds;
};

static struct share largest(const struct share *shares, size_t n)
{
	struct share most = shares[0];
	for (size_t i = 1; i < n; i++)
		if (shares[i].seconds > most.seconds)
			most = shares[i];
	return most;
}

static int percent(double part, double whole)
{
	return whole > 0 ? (int)(100 * part / whole + 0.5) : 0;
}

/* One sentence: which thread held the other up, and with what. */
static json_t *conclusion(const struct mt_profile *p, double wall)
{
	const struct mt_stage_clock *r = &p->reader, *h = &p->hooks;
	struct share reads[] = {{"reading", stage_seconds(r, MT_STAGE_READ)},
	                        {"merging", stage_seconds(r, MT_STAGE_MERGE)},
	                        {"decoding headers", stage_seconds(r, MT_STAGE_DECODE)}};
	struct share works[] = {{"scripts", stage_seconds(h, MT_STAGE_HOOK)},
	                        {"routing and counting", stage_seconds(h, MT_STAGE_ROUTE)},
	                        {"printing", stage_seconds(h, MT_STAGE_PRINT)},
	                        {"encoding", stage_seconds(h, MT_STAGE_ENCODE)},
	                        {"writing", stage_seconds(h, MT_STAGE_WRITE)}};
	double reader = 0, hooks = 0;
	for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
		reader += reads[i].seconds;
	for (size_t i = 0; i < sizeof works / sizeof *works; i++)
		hooks += works[i].seconds;
	struct share read = largest(reads, sizeof reads / sizeof *reads);
	struct share work = largest(works, sizeof works / sizeof *works);
	int quiet = percent(stage_seconds(r, MT_STAGE_WAIT_SOURCE), wall);
	int held = percent(stage_seconds(r, MT_STAGE_WAIT_QUEUE) + stage_seconds(r, MT_STAGE_WAIT_CHUNK), wall);
	int idle = percent(stage_seconds(h, MT_STAGE_WAIT_BATCH), wall);
	if (wall < SHORT_SECONDS)
		return json_string("too short a run to say what held it up");
	if (quiet >= 50)
		return json_sprintf("the sources were the limit: the reading thread waited %d %% of the time "
		                    "for packets",
		                    quiet);
	if (hooks >= reader)
		return json_sprintf("the hook thread was the bottleneck: %d %% busy, mostly %s (%d %%); the "
		                    "reading thread waited %d %% for it",
		                    percent(hooks, wall), work.what, percent(work.seconds, wall), held);
	return json_sprintf("the reading thread was the bottleneck: %d %% busy, mostly %s (%d %%); the hook "
	                    "thread waited %d %% for it",
	                    percent(reader, wall), read.what, percent(read.seconds, wall), idle);
}

json_t *mt_profile_json(const struct mt_profile *p, struct mt_hooks *scripts)
{
	json_t *o = json_object();
	double wall = wall_seconds(p);
	json_object_set_new(o, "seconds", json_real(wall));
	json_object_set_new(o, "reading_thread", thread_json(&p->reader, MT_STAGE_READ, MT_STAGE_WAIT_SOURCE));
	json_object_set_new(o, "hook_thread", thread_json(&p->hooks, MT_STAGE_HOOK, MT_STAGE_WAIT_BATCH));
	json_object_set_new(o, "conclusion", conclusion(p, wall));
	struct span hooks = span_of(&p->hooks);
	double hook_seconds = (double)(hooks.ended_ns - hooks.begun_ns) / 1e9;
	json_t *lua = scripts ? mt_hooks_profile(scripts, hook_seconds) : NULL;
	if (lua)
		json_object_update(o, lua);
	json_decref(lua);
	return o;
}
