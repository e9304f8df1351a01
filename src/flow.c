/* SPDX-License-Identifier: BSD-2-Clause */
#include "flow.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bypass.h"
#include "edit.h"
#include "hooks.h"
#include "log.h"
#include "manifest.h"
#include "print.h"
#include "profile.h"
#include "queue.h"
#include "recorder.h"
#include "script.h"
#include "units.h"

enum { MAX_OUTPUTS = MT_VERDICT_LAST_OUTPUT + 1 };

/* A live packet further ahead of the wall clock than this does not move the stream clock. */
#define CLOCK_JUMP_NS INT64_C(60000000000)

/* struct mt_wants, for another thread to read. */
struct wants {
	atomic_bool decode;
	_Atomic uint32_t dns, hashes, addresses;
};

struct mt_flow {
	const struct mt_options *options;
	const struct mt_ifaces *ifaces;
	struct mt_hooks *scripts;    /* or NULL */
	struct mt_hook_state *state; /* NULL without scripts; not to be touched while a turn is lost */
	const struct mt_bypass *bypass;
	struct mt_edit_pool *edit_pool;
	unsigned said; /* enum mt_edit_feature: what an output lost and was warned of */
	bool packet_hooks;

	struct mt_output *outputs[MAX_OUTPUTS]; /* by verdict; [0] may be NULL */
	unsigned n_outputs;                     /* highest verdict in use + 1 */
	bool splits;                            /* one of them is split by a key */
	struct mt_output_hooks hooks;
	struct mt_run_counters counters;

	struct mt_batch *batch;         /* in hand */
	uint32_t next;                  /* packets before this one are routed and counted */
	uint64_t before;                /* packets of the run before the batch */
	struct mt_packet *pristine;     /* scripts on a thread of their own: the range in hand as it came */
	struct mt_segment_view segment; /* … what rotate hooks see */
	struct mt_batch *spare;         /* … takes the place of the batch that a stuck hook has */
	struct mt_batch *stuck;         /* … and here it is meanwhile; NULL: no hook has one */
	struct mt_counts_table *counts;
	uint64_t kept;
	struct mt_recorder *recorder; /* --pre, of the default output; or NULL */
	int64_t first_ns, clock_ns;   /* INT64_MIN: no packet yet */
	bool limit_reached;
	bool finished; /* no batch is in hand any more */

	int status;
	bool failed;           /* an output takes nothing more */
	struct mt_err failure; /* of an output below mt_flow_advance */
	struct wants wants;
	struct mt_stage_clock *clock; /* --profile, or NULL; for whoever has the turn */

	mt_source_drops_fn *drops;
	void *drops_ctx;
};

/* --- construction ---------------------------------------------------------------------- */

static const char *segment_open(void *ctx, const struct mt_segment_view *segment)
{
	struct mt_flow *f = ctx;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	const char *name = mt_hooks_segment_open(f->scripts, segment);
	mt_stage_enter(f->clock, before);
	return name;
}

static void segment_close(void *ctx, const json_t *line)
{
	struct mt_flow *f = ctx;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	mt_hooks_segment_close(f->scripts, line);
	mt_stage_enter(f->clock, before);
}

static bool block(void *ctx, const uint8_t **data, size_t *len)
{
	struct mt_flow *f = ctx;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	bool keep = mt_hooks_block(f->scripts, data, len);
	mt_stage_enter(f->clock, before);
	return keep;
}

/* What scripts on a thread of their own need. */
static int prepare_apart(struct mt_flow *f)
{
	f->pristine = malloc(MT_BATCH_PACKETS * sizeof *f->pristine);
	f->spare = malloc(sizeof *f->spare);
	return f->pristine && f->spare ? 0 : -1;
}

struct mt_flow *mt_flow_new(const struct mt_options *options, const struct mt_ifaces *ifaces,
                            struct mt_script *script, struct mt_hooks *scripts)
{
	struct mt_flow *f = calloc(1, sizeof *f);
	if (f)
		f->counts = mt_counts_new(ifaces);
	if (f)
		f->edit_pool = mt_edit_pool_new();
	if (!f || !f->counts || !f->edit_pool || (scripts && mt_hooks_apart(scripts) && prepare_apart(f))) {
		mt_flow_free(f);
		return NULL;
	}
	if (options->pre_ns) {
		f->recorder = mt_recorder_new(options->pre_ns, options->pre_bytes, f->counts);
		if (!f->recorder) {
			mt_flow_free(f);
			return NULL;
		}
	}
	f->options = options;
	f->ifaces = ifaces;
	f->scripts = scripts;
	f->first_ns = f->clock_ns = INT64_MIN;
	f->counters = (struct mt_run_counters){.sources = mt_flow_sources_json, .ctx = f};
	f->hooks.ctx = f;
	if (script) {
		f->state = mt_script_state(script);
		f->state->flow = f;
		f->state->edit_pool = f->edit_pool;
		f->bypass = mt_script_bypass(script);
		f->packet_hooks = mt_script_has_packet_hooks(script);
		f->hooks.segment_open = mt_script_has_segment_open(script) ? segment_open : NULL;
		f->hooks.segment_close = mt_script_has_segment_close(script) ? segment_close : NULL;
		f->hooks.block = mt_script_has_block(script) ? block : NULL;
	}
	atomic_store(&f->wants.decode, options->print);
	return f;
}

void mt_flow_free(struct mt_flow *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->n_outputs; i++)
		mt_output_free(f->outputs[i]);
	mt_recorder_free(f->recorder);
	mt_counts_free(f->counts);
	free(f->pristine);
	free(f->spare);
	free(f->stuck);
	mt_edit_pool_free(f->edit_pool);
	free(f);
}

int mt_flow_set_default(struct mt_flow *f, struct mt_output *o)
{
	f->outputs[MT_VERDICT_DEFAULT] = o;
	if (f->n_outputs < 1)
		f->n_outputs = 1;
	return mt_counts_watch(f->counts, MT_VERDICT_DEFAULT);
}

int mt_flow_add_named(struct mt_flow *f, struct mt_output *o)
{
	if (f->n_outputs < 1)
		f->n_outputs = 1;
	if (f->n_outputs >= MAX_OUTPUTS)
		return -1;
	f->outputs[f->n_outputs] = o;
	f->splits = f->splits || mt_output_split(o);
	return mt_counts_watch(f->counts, (uint8_t)f->n_outputs++);
}

const struct mt_output_hooks *mt_flow_output_hooks(struct mt_flow *f)
{
	return &f->hooks;
}

struct mt_run_counters *mt_flow_run_counters(struct mt_flow *f)
{
	return &f->counters;
}

void mt_flow_set_drops(struct mt_flow *f, mt_source_drops_fn *fn, void *ctx)
{
	f->drops = fn;
	f->drops_ctx = ctx;
}

void mt_flow_set_clock(struct mt_flow *f, struct mt_stage_clock *clock)
{
	f->clock = f->hooks.clock = clock;
}

/* --- counts ---------------------------------------------------------------------------- */

/* The hook has the edits; the packets as they came are at hand, too. */
static void restore_pristine(struct mt_flow *f, uint32_t upto)
{
	for (uint32_t i = f->next; i < upto; i++) {
		struct mt_packet *p = &f->batch->packets[i];
		const uint8_t ours = MT_PACKET_EDITED | MT_PACKET_OPTIONS_SWAPPED;
		uint8_t verdict = p->verdict, flags = p->flags;
		*p = f->pristine[i];
		p->verdict = verdict;
		p->flags = (uint8_t)((flags & ~ours) | (p->flags & ours));
	}
}

/* Count the packets of the batch from f->next to upto. */
static void count(struct mt_flow *f, uint32_t upto)
{
	/* What counts is what was read. */
	if (f->stuck == NULL || f->stuck->seq != f->batch->seq)
		mt_edits_restore(f->batch, f->next, upto);
	else
		restore_pristine(f, upto);
	uint64_t kept = mt_counts_add(f->counts, f->batch->packets + f->next, upto - f->next, &f->clock_ns);
	struct mt_counts totals = mt_counts_odd(f->counts);
	f->kept += kept;
	f->counters.late = totals.late;
	f->counters.script_bypassed = totals.script_bypassed;
	f->counters.clock_jumps = totals.clock_jumps;
}

struct mt_counts_table *mt_flow_counts(const struct mt_flow *f)
{
	return f->counts;
}

void mt_flow_drops(const struct mt_flow *f, uint32_t group, uint64_t *dropped, uint64_t *kernel)
{
	*dropped = 0;
	*kernel = UINT64_MAX;
	if (f && f->drops)
		f->drops(f->drops_ctx, group, dropped, kernel);
}

/* Packets of the batch in hand that stand before the one at which a segment closes: they are counted later. */
static void add_in_hand(const struct mt_flow *f, struct mt_counts *sums)
{
	const struct mt_packet *p = f->batch ? f->batch->packets + f->next : NULL, *end = f->counters.at;
	if (!p || !end || end < p || end > f->batch->packets + f->batch->n)
		return;
	for (; p < end; p++) {
		struct mt_counts *c = &sums[mt_ifaces_get(f->ifaces, p->iface)->group];
		c->packets++;
		c->late += !!(p->flags & MT_PACKET_LATE);
		if (p->verdict <= MT_VERDICT_LAST_OUTPUT)
			c->kept++;
		else if (p->verdict == MT_VERDICT_OUTSIDE || p->verdict == MT_VERDICT_FILTERED)
			c->filtered++;
		else if (p->verdict == MT_VERDICT_UNWRITABLE || p->verdict == MT_VERDICT_LATE)
			c->dropped++;
		else
			c->script_dropped++;
	}
}

static json_t *source_json(const char *name, const struct mt_counts *c, uint64_t lost, uint64_t kernel)
{
	json_t *o = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "name", mt_json_text(name), "packets",
	                      (json_int_t)(c->packets + lost), "kept", (json_int_t)c->kept, "filtered",
	                      (json_int_t)c->filtered, "script_dropped", (json_int_t)c->script_dropped, "late",
	                      (json_int_t)c->late, "dropped", (json_int_t)(c->dropped + lost));
	if (o)
		json_object_set_new(o, "dropped_kernel",
		                    kernel == UINT64_MAX ? json_null() : json_integer((json_int_t)kernel));
	return o ? o : json_null();
}

json_t *mt_flow_sources_json(void *flow)
{
	const struct mt_flow *f = flow;
	uint32_t groups = mt_ifaces_groups(f->ifaces);
	struct mt_counts *sums = calloc(groups + 1u, sizeof *sums);
	json_t *list = json_array();
	for (uint32_t i = 0; sums && i < mt_ifaces_count(f->ifaces); i++) {
		struct mt_counts c = mt_counts_of(f->counts, i);
		mt_counts_sum(&sums[mt_ifaces_get(f->ifaces, i)->group], &c);
	}
	if (sums)
		add_in_hand(f, sums);
	for (uint32_t g = 0; sums && g < groups; g++) {
		uint64_t lost, kernel;
		mt_flow_drops(f, g, &lost, &kernel);
		json_array_append_new(list,
		                      source_json(mt_ifaces_group_name(f->ifaces, g), &sums[g], lost, kernel));
	}
	free(sums);
	return list;
}

/* --- routing --------------------------------------------------------------------------- */

static int output_failed(struct mt_flow *f, const struct mt_err *err)
{
	if (!f->failed)
		mt_log_error("%s", err->text);
	f->failed = true;
	f->status = MT_STATUS_OUTPUT;
	return -1;
}

static void print_packets(struct mt_flow *f, uint32_t upto)
{
	char lines[16384] = "";
	size_t n = 0;
	if (ftrylockfile(stdout)) /* a script is stuck in a print: there is no way to standard output */
		return;
	if (!f->batch->decoded)
		mt_batch_decode(f->batch);
	for (uint32_t i = f->next; i < upto; i++) {
		const struct mt_packet *p = &f->batch->packets[i];
		if (p->verdict > MT_VERDICT_LAST_OUTPUT)
			continue;
		if (sizeof lines - n < 1024) {
			if (fwrite(lines, 1, n, stdout) < n)
				break;
			n = 0;
		}
		n += mt_print_packet(p, &f->batch->decode[i], mt_ifaces_get(f->ifaces, p->iface)->source,
		                     f->options->output.segment.utc, lines + n, 1023);
		lines[n++] = '\n';
	}
	fwrite(lines, 1, n, stdout);
	fflush(stdout);
	funlockfile(stdout);
}

/* What an output took and then could not write was not kept. */
static void settle(struct mt_flow *f)
{
	for (unsigned v = 0; v < f->n_outputs; v++) {
		uint64_t written = f->outputs[v] ? mt_output_written(f->outputs[v]) : 0;
		uint64_t kept = f->outputs[v] ? mt_counts_kept(f->counts, (uint8_t)v) : 0;
		if (v == MT_VERDICT_DEFAULT && f->recorder)
			kept -= mt_recorder_held(f->recorder);
		if (written >= kept)
			continue;
		mt_counts_lose(f->counts, (uint8_t)v, kept - written);
		f->kept -= kept - written;
	}
}

static int write_packets(struct mt_flow *f, unsigned v, uint32_t upto, struct mt_err *err)
{
	struct mt_packet *packets = f->batch->packets + f->next;
	if (v == MT_VERDICT_DEFAULT && f->recorder)
		return mt_recorder_write(f->recorder, f->outputs[v], packets, upto - f->next, err);
	if (mt_output_split(f->outputs[v]))
		return mt_output_write_parts(f->outputs[v], packets, f->batch->part + f->next, upto - f->next,
		                             (uint8_t)v, err);
	return mt_output_write(f->outputs[v], packets, upto - f->next, (uint8_t)v, err);
}

static bool needs_hook(const struct mt_flow *f, unsigned v, const struct mt_packet *p, bool takes)
{
	if (v == MT_VERDICT_DEFAULT && f->recorder)
		return mt_recorder_needs_hook(f->recorder, f->outputs[v], p, takes);
	return mt_output_needs_hook(f->outputs[v], p, takes);
}

/* Write, print and count the packets from f->next to upto, which have their verdicts. */
static int route(struct mt_flow *f, uint32_t upto)
{
	int r = 0;
	if (upto <= f->next)
		return 0;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_ENCODE);
	for (unsigned v = 0; v < f->n_outputs; v++) {
		struct mt_err err;
		if (!f->outputs[v])
			continue;
		if (!f->failed && write_packets(f, v, upto, &err))
			r = output_failed(f, &err);
		if (f->batch->edits)
			mt_output_check_edits(f->outputs[v], f->batch, f->next, upto, (uint8_t)v, &f->said);
	}
	if (f->options->print) {
		mt_stage_enter(f->clock, MT_STAGE_PRINT);
		print_packets(f, upto);
	}
	mt_stage_enter(f->clock, MT_STAGE_ROUTE);
	count(f, upto);
	f->next = upto;
	if (f->failed || f->hooks.block)
		settle(f);
	mt_stage_enter(f->clock, before);
	return f->failed ? -1 : r;
}

/* Would a hook be called when the packet is written?  Below a hook that can not be. */
static bool calls_hook(const struct mt_flow *f, const struct mt_packet *p)
{
	for (unsigned v = 0; v < f->n_outputs; v++)
		if (f->outputs[v] && needs_hook(f, v, p, p->verdict == v))
			return true;
	return false;
}

int mt_flow_advance(struct mt_flow *f, uint32_t i)
{
	struct mt_output *o = f->outputs[MT_VERDICT_DEFAULT];
	int service = 0;
	if (!mt_hooks_leave_script(f->scripts))
		return 1; /* the batch is gone; what the loop says then is not heard */
	mt_stage_enter(f->clock, MT_STAGE_ROUTE);
	while (f->next < i && !service)
		service = calls_hook(f, &f->batch->packets[f->next]) || route(f, f->next + 1);
	if (o && !service && f->batch->packets[i].verdict == MT_VERDICT_DEFAULT)
		service = needs_hook(f, MT_VERDICT_DEFAULT, &f->batch->packets[i], true);
	if (f->pristine && o)
		f->segment = *mt_output_segment(o);
	mt_stage_enter(f->clock, MT_STAGE_HOOK);
	mt_hooks_enter_script(f->scripts);
	return service;
}

const struct mt_segment_view *mt_flow_segment(struct mt_flow *f)
{
	static const struct mt_segment_view none = {
	        .first_ns = INT64_MAX, .last_ns = INT64_MIN, .reason = "", .source = ""};
	if (!f->outputs[MT_VERDICT_DEFAULT])
		return &none;
	/* A hook that is stuck may look at it at any time. */
	return f->pristine ? &f->segment : mt_output_segment(f->outputs[MT_VERDICT_DEFAULT]);
}

/* --- batches --------------------------------------------------------------------------- */

/* Write what stands before packet `index`, and make the rotation that is due before it, so that a
 * rotate hook sees the segment the packet would go to. */
static int serve(struct mt_flow *f, uint32_t index)
{
	struct mt_output *o = f->outputs[MT_VERDICT_DEFAULT];
	struct mt_err err;
	if (route(f, index) || f->failed)
		return -1;
	if (!o || index >= f->batch->n)
		return 0;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_WRITE);
	int rc = f->recorder ? mt_recorder_prepare(f->recorder, o, &f->batch->packets[index], &err)
	                     : mt_output_prepare(o, &f->batch->packets[index], &err);
	mt_stage_enter(f->clock, before);
	return rc ? output_failed(f, &err) : 0;
}

/* Has a script asked for the end, in any hook? */
static bool stopped(const struct mt_flow *f)
{
	return f->state && __atomic_load_n(&f->state->stop, __ATOMIC_RELAXED) == MT_STOP_RUN;
}

static int script_failed(struct mt_flow *f)
{
	f->status = f->status ? f->status : MT_STATUS_SCRIPT;
	return -1;
}

/* --- batches that go past a hook that is stuck ------------------------------------------- */

static void keep_pristine(struct mt_flow *f, uint32_t from, uint32_t to)
{
	if (f->pristine)
		memcpy(f->pristine + from, f->batch->packets + from, (to - from) * sizeof *f->pristine);
}

#ifdef __SANITIZE_THREAD__
/* It knows no membarrier, which is what lets us read finished packets. */
extern void AnnotateIgnoreReadsBegin(const char *file, int line);
extern void AnnotateIgnoreReadsEnd(const char *file, int line);
#define IGNORE_READS_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define IGNORE_READS_END()   AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define IGNORE_READS_BEGIN() ((void)0)
#define IGNORE_READS_END()   ((void)0)
#endif

/* The packet is given its verdict without the scripts; those that dropped it had it. */
static void bypass(struct mt_flow *f, struct mt_packet *p, const struct mt_packet *seen)
{
	uint8_t verdict = __atomic_load_n(&seen->verdict, __ATOMIC_RELAXED);
	if (verdict > MT_VERDICT_LAST_OUTPUT)
		p->verdict = verdict;
	else
		mt_bypass_packet(f->bypass, p);
}

/* Packets of the range that need nothing more from the scripts end here. */
static uint32_t finished_of(const struct mt_flow *f, uint32_t from, uint32_t to)
{
	uint32_t finished = mt_hooks_finished(f->scripts, from);
	if (finished < f->next)
		finished = f->next;
	return finished < to ? finished : to;
}

/* The hook keeps the batch it has; go on with another one that holds what it has finished, and the
 * rest of the range as it came.  Where the rule is stop, the packet in hand is the last. */
static int pass_around(struct mt_flow *f, uint32_t from, uint32_t to)
{
	struct mt_batch *out = f->batch, *b = f->spare;
	uint32_t finished = finished_of(f, from, to);
	b->seq = out->seq;
	b->n = out->n;
	b->bytes = out->bytes;
	b->last = out->last;
	b->screened = out->screened;
	mt_batch_forget(b); /* edits are the hook's; what was read is in f->pristine */
	IGNORE_READS_BEGIN();
	memcpy(b->packets, out->packets, finished * sizeof *b->packets);
	if (f->splits) {
		memset(b->part, 0, sizeof b->part);
		memcpy(b->part, out->part, finished * sizeof *b->part);
	}
	memcpy(b->packets + finished, f->pristine + finished, (to - finished) * sizeof *b->packets);
	memcpy(b->packets + to, out->packets + to, (out->n - to) * sizeof *b->packets);
	f->stuck = out;
	f->spare = NULL;
	f->batch = b;
	int r = route(f, finished);
	IGNORE_READS_END();
	if (r)
		return r;
	if (mt_hooks_lost_ends(f->scripts)) {
		if (finished < to && b->packets[finished].verdict <= MT_VERDICT_LAST_OUTPUT)
			b->packets[finished].verdict = MT_VERDICT_BYPASS_DROP;
		route(f, finished < to ? finished + 1 : to);
		return script_failed(f);
	}
	for (uint32_t i = finished; i < to; i++)
		bypass(f, &b->packets[i], &out->packets[i]);
	return route(f, to) ? -1 : 1;
}

/* The hook still has an earlier batch. */
static int pass_by(struct mt_flow *f, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		bypass(f, &f->batch->packets[i], &f->batch->packets[i]);
	return route(f, to) ? -1 : 1;
}

/* No hook has the batch, and none will be called any more. */
static int pass_broken(struct mt_flow *f, uint32_t from, uint32_t to)
{
	uint32_t finished = finished_of(f, from, to);
	mt_edits_restore(f->batch, finished, to);
	if (mt_bypass_rule(f->bypass, false) != MT_RULE_STOP)
		return pass_by(f, finished, to);
	if (finished < to && f->batch->packets[finished].verdict <= MT_VERDICT_LAST_OUTPUT)
		f->batch->packets[finished].verdict = MT_VERDICT_BYPASS_DROP;
	route(f, finished < to ? finished + 1 : to);
	return script_failed(f);
}

/* Can scripts be asked?  What a hook had that is back is free again.  1; 0: they can not; -1: the run ends. */
static int scripts_ready(struct mt_flow *f)
{
	if (!f->scripts)
		return 0;
	if (!mt_hooks_ready(f->scripts))
		return mt_hooks_lost_ends(f->scripts) ? script_failed(f) : 0;
	if (f->stuck) {
		mt_edits_release(f->stuck);
		f->spare = f->stuck;
		f->stuck = NULL;
	}
	return 1;
}

uint64_t mt_flow_held(struct mt_flow *f)
{
	return f->stuck ? f->stuck->seq : 0;
}

struct mt_batch *mt_flow_replacement(const struct mt_flow *f)
{
	return f->batch;
}

/* --- batches through the scripts --------------------------------------------------------- */

/* The range is the scripts' from now on. */
static void hand_over(struct mt_flow *f, uint32_t from, uint32_t to)
{
	struct mt_hook_state *st = f->state;
	st->batch = f->batch;
	st->first_ns = f->first_ns;
	st->clock_ns = f->clock_ns;
	st->before = (double)f->before;
	st->from = from;
	st->to = to;
	st->fresh = 1;
	st->last_stage = 0;
}

static enum mt_turn ask_scripts(struct mt_flow *f)
{
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	enum mt_turn turn = mt_hooks_batch(f->scripts, f->pristine);
	mt_stage_enter(f->clock, before);
	return turn;
}

static int script_range(struct mt_flow *f, uint32_t from, uint32_t to)
{
	struct mt_hook_state *st = f->state;
	struct mt_output *o = f->outputs[MT_VERDICT_DEFAULT];
	struct mt_err err;
	int ready = scripts_ready(f);
	if (ready <= 0)
		return ready ? -1 : pass_by(f, from, to);
	keep_pristine(f, from, to);
	for (hand_over(f, from, to);; st->from = st->index) {
		if (ask_scripts(f) == MT_TURN_LOST)
			return pass_around(f, from, to);
		switch (st->action) {
		case MT_ACTION_DONE:
			return route(f, to) ? -1 : !stopped(f);
		case MT_ACTION_SERVICE:
			if (serve(f, st->index))
				return -1;
			break;
		case MT_ACTION_ROTATE:
			if (serve(f, st->index))
				return -1;
			mt_stage_enter(f->clock, MT_STAGE_WRITE);
			if (o && mt_output_rotate(o, "script", &err))
				return output_failed(f, &err);
			break;
		case MT_ACTION_STOP:
			if (!stopped(f)) /* it was to leave its loop for another reason */
				break;
			return route(f, st->index) ? -1 : 0;
		case MT_ACTION_BROKEN:
			return pass_broken(f, from, to);
		default:
			/* The packet that the script failed on was read, so it is counted too. */
			if (st->index < to && f->batch->packets[st->index].verdict <= MT_VERDICT_LAST_OUTPUT)
				f->batch->packets[st->index].verdict = MT_VERDICT_BYPASS_DROP;
			script_failed(f);
			route(f, st->index < to ? st->index + 1 : to);
			return -1;
		}
	}
}

/* -c counts what is kept for good. */
static uint64_t kept_now(const struct mt_flow *f)
{
	return f->recorder ? f->kept - mt_recorder_held(f->recorder) - mt_recorder_passed(f->recorder)
	                   : f->kept;
}

/* The end of the range that may be looked at without overstepping -c or --duration. */
static uint32_t limit(struct mt_flow *f, uint32_t from)
{
	const struct mt_packet *p = f->batch->packets;
	uint64_t left = f->options->count ? f->options->count - kept_now(f) : UINT64_MAX;
	bool timed = f->options->duration_ns && !f->options->any_live;
	int64_t end_ns;
	if (__builtin_add_overflow(f->first_ns, f->options->duration_ns, &end_ns))
		end_ns = INT64_MAX;
	if (left >= f->batch->n && !timed)
		return f->batch->n;
	uint32_t i = from;
	for (; i < f->batch->n && left; i++) {
		if (p[i].verdict == MT_VERDICT_OUTSIDE)
			continue;
		if (timed && p[i].ts_ns >= end_ns) {
			f->limit_reached = true;
			break;
		}
		left -= p[i].verdict != MT_VERDICT_FILTERED;
	}
	return i;
}

/* What a hook does not give a key goes to the others. */
static void reset_parts(struct mt_flow *f)
{
	if (f->splits)
		memset(f->batch->part, 0, sizeof f->batch->part);
}

/* The first packet sets the origin of p.t and --duration. */
static void note_first(struct mt_flow *f)
{
	for (uint32_t i = 0; i < f->batch->n && f->first_ns == INT64_MIN; i++)
		if (f->batch->packets[i].verdict != MT_VERDICT_OUTSIDE)
			f->first_ns = f->batch->packets[i].ts_ns;
}

static void mark_jumps(struct mt_batch *b)
{
	int64_t limit_ns = mt_wall_ns() + CLOCK_JUMP_NS;
	for (uint32_t i = 0; i < b->n; i++)
		if (b->packets[i].ts_ns > limit_ns)
			b->packets[i].flags |= MT_PACKET_CLOCK_JUMP;
}

static int tick_outputs(struct mt_flow *f, int64_t clock_ns)
{
	int64_t now_ms = mt_monotonic_ms();
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_WRITE);
	int rc = 0;
	for (unsigned v = 0; v < f->n_outputs && !rc; v++) {
		struct mt_err err;
		if (!f->outputs[v] || f->failed)
			continue;
		if ((v == MT_VERDICT_DEFAULT && f->recorder &&
		     mt_recorder_tick(f->recorder, f->outputs[v], clock_ns, &err)) ||
		    mt_output_tick(f->outputs[v], clock_ns, now_ms, &err))
			rc = output_failed(f, &err);
	}
	mt_stage_enter(f->clock, before);
	return rc;
}

int mt_flow_start(struct mt_flow *f, const json_t *sources)
{
	int status;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	mt_hooks_start(f->scripts, sources, &status);
	mt_stage_enter(f->clock, before);
	return status;
}

void mt_flow_stop(struct mt_flow *f, const json_t *stats, const json_t *sources)
{
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	mt_hooks_stop(f->scripts, stats, sources);
	mt_stage_enter(f->clock, before);
}

static void note_want(_Atomic uint32_t *want, uint32_t value)
{
	if (atomic_load_explicit(want, memory_order_relaxed) !=
	    value) /* else its line stays where it is read */
		atomic_store_explicit(want, value, memory_order_relaxed);
}

static void note_wants(struct wants *w, const struct mt_batch *b)
{
	if (b->decoded && !atomic_load_explicit(&w->decode, memory_order_relaxed))
		atomic_store_explicit(&w->decode, true, memory_order_relaxed);
	note_want(&w->dns, b->dns_wanted);
	note_want(&w->hashes, b->hash_wanted);
	note_want(&w->addresses, b->addresses_wanted);
}

int mt_flow_batch(struct mt_flow *f, struct mt_batch *batch)
{
	f->batch = batch;
	f->next = 0;
	reset_parts(f);
	if (f->first_ns == INT64_MIN)
		note_first(f);
	if (f->options->any_live)
		mark_jumps(batch);
	if (stopped(f))
		return 0;
	if (scripts_ready(f) < 0)
		return -1;
	for (uint32_t from = 0; from < batch->n;) {
		uint32_t to = limit(f, from);
		int r = 1;
		if (to > from)
			r = f->packet_hooks ? script_range(f, from, to) : route(f, to) ? -1 : !stopped(f);
		if (r <= 0)
			return r;
		if (f->limit_reached || (f->options->count && kept_now(f) >= f->options->count))
			return 0;
		from = to;
	}
	note_wants(&f->wants, f->batch);
	f->before += batch->n;
	return tick_outputs(f, INT64_MIN) ? -1 : 1;
}

int mt_flow_trigger(struct mt_flow *f, const char *reason, int64_t ts_ns, int64_t post_ns)
{
	if (!f->recorder)
		return -1;
	mt_recorder_trigger(f->recorder, reason, ts_ns, post_ns);
	return 0;
}

/* What scripts call: the time is that of the packet in hand, or of the hook. */
int32_t mt_trigger(struct mt_hook_state *st, const char *reason, double post)
{
	int64_t ts_ns = INT64_MIN;
	const struct mt_batch *b = st->batch;
	if (!st->flow)
		return -2;
	if (st->phase == MT_PHASE_INTERVAL)
		ts_ns = st->hook_ns;
	else if (b && st->phase == MT_PHASE_BATCH && st->in_hand < b->n)
		ts_ns = b->packets[st->in_hand].ts_ns;
	else if (b && st->index < b->n)
		ts_ns = b->packets[st->index].ts_ns;
	return mt_flow_trigger(st->flow, reason, ts_ns, (int64_t)(post * 1e9));
}

json_t *mt_flow_recorder_json(const struct mt_flow *f)
{
	return f->recorder ? mt_recorder_json(f->recorder) : NULL;
}

void mt_flow_lose(struct mt_flow *f, struct mt_batch *batch)
{
	if (batch) {
		f->batch = batch;
		f->next = 0;
	}
	if (!f->batch || f->next >= f->batch->n)
		return;
	for (uint32_t i = f->next; i < f->batch->n; i++)
		if (f->batch->packets[i].verdict <= MT_VERDICT_LAST_OUTPUT)
			f->batch->packets[i].verdict = MT_VERDICT_UNWRITABLE;
	count(f, f->batch->n);
	f->next = f->batch->n;
}

/* The stream clock goes on without packets. */
static int tick_scripts(struct mt_flow *f)
{
	int ready = scripts_ready(f);
	if (ready <= 0)
		return ready ? -1 : 1;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	enum mt_turn turn = mt_hooks_tick(f->scripts, f->clock_ns);
	mt_stage_enter(f->clock, before);
	if (turn == MT_TURN_FAILED || (turn == MT_TURN_LOST && mt_hooks_lost_ends(f->scripts)))
		return script_failed(f);
	return !stopped(f);
}

int mt_flow_idle(struct mt_flow *f, int64_t clock_ns)
{
	if (clock_ns != INT64_MIN && clock_ns > f->clock_ns) {
		f->clock_ns = clock_ns;
		int r = f->scripts ? tick_scripts(f) : 1;
		if (r <= 0)
			return r;
	}
	return tick_outputs(f, clock_ns) ? -1 : 1;
}

int mt_flow_rotate(struct mt_flow *f)
{
	struct mt_err err;
	struct mt_output *o = f->outputs[MT_VERDICT_DEFAULT];
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_WRITE);
	int rc = o && mt_output_rotate(o, "signal", &err) ? output_failed(f, &err) : 0;
	mt_stage_enter(f->clock, before);
	return rc;
}

static int close_outputs(struct mt_flow *f)
{
	int r = 0;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_WRITE);
	for (unsigned v = 0; v < f->n_outputs; v++) {
		struct mt_err err;
		bool recorder = v == MT_VERDICT_DEFAULT && f->recorder && f->outputs[v] && !f->failed;
		bool failed = recorder && mt_recorder_end(f->recorder, f->outputs[v], &err);
		if (!f->outputs[v] || (!mt_output_close(f->outputs[v], &err) && !failed))
			continue;
		if (!f->failed)
			output_failed(f, &err);
		r = -1;
	}
	settle(f);
	mt_stage_enter(f->clock, before);
	return r;
}

int mt_flow_finish(struct mt_flow *f)
{
	enum mt_turn turn = MT_TURN_GOOD;
	f->finished = true;
	if (scripts_ready(f) > 0) {
		enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
		f->state->clock_ns = f->clock_ns;
		turn = mt_hooks_last_interval(f->scripts);
		mt_stage_enter(f->clock, before);
	}
	if (turn == MT_TURN_FAILED)
		script_failed(f);
	return close_outputs(f) || turn == MT_TURN_FAILED ? -1 : 0;
}

bool mt_flow_abandon(struct mt_flow *f)
{
	if (!f->scripts || !mt_hooks_abandon(f->scripts))
		return false;
	/* Scripts are out of the game: no hook may be called from here. */
	f->hooks = (struct mt_output_hooks){0};
	if (f->batch && !f->finished)
		route(f, mt_hooks_finished(f->scripts, f->next));
	close_outputs(f);
	return true;
}

void mt_flow_iface(struct mt_flow *f, uint32_t id, struct mt_iface_view *view)
{
	const struct mt_iface *i = mt_ifaces_get(f->ifaces, id);
	*view = (struct mt_iface_view){.source = i->source,
	                               .name = i->name,
	                               .description = i->description,
	                               .number = i->number,
	                               .linktype = i->linktype};
}

/* --- what others ask ------------------------------------------------------------------- */

int mt_flow_status(const struct mt_flow *f)
{
	return f->status;
}

struct mt_wants mt_flow_wants(const struct mt_flow *f)
{
	const struct wants *w = &f->wants;
	return (struct mt_wants){
	        .decode = atomic_load_explicit(&w->decode, memory_order_relaxed),
	        .dns = atomic_load_explicit(&w->dns, memory_order_relaxed),
	        .hashes = atomic_load_explicit(&w->hashes, memory_order_relaxed),
	        .addresses = atomic_load_explicit(&w->addresses, memory_order_relaxed),
	};
}

struct mt_output *mt_flow_output(const struct mt_flow *f, unsigned verdict)
{
	return verdict < f->n_outputs ? f->outputs[verdict] : NULL;
}

unsigned mt_flow_outputs(const struct mt_flow *f)
{
	return f->n_outputs;
}

bool mt_flow_waits_for_space(const struct mt_flow *f, uint64_t *deleted)
{
	bool waits = false;
	*deleted = 0;
	for (unsigned v = 0; v < f->n_outputs; v++) {
		const struct mt_space *space = f->outputs[v] ? mt_output_space(f->outputs[v]) : NULL;
		if (!space)
			continue;
		waits = waits || atomic_load(&space->waiting_since_ms);
		*deleted += atomic_load(&space->deleted);
	}
	return waits;
}

int64_t mt_flow_busy_ms(const struct mt_flow *f, int64_t now_ms)
{
	int64_t longest = 0;
	for (unsigned v = 0; v < f->n_outputs; v++) {
		int64_t ms = f->outputs[v] ? mt_output_busy_ms(f->outputs[v], now_ms) : 0;
		longest = ms > longest ? ms : longest;
	}
	return longest;
}
