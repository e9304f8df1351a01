/* SPDX-License-Identifier: BSD-2-Clause */
#include "flow.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edit.h"
#include "log.h"
#include "print.h"
#include "profile.h"
#include "script.h"
#include "units.h"

enum { MAX_OUTPUTS = MT_VERDICT_LAST_OUTPUT + 1 };

/* A live packet further ahead of the wall clock than this does not move the stream clock. */
#define CLOCK_JUMP_NS INT64_C(60000000000)

/* Where the thread that runs hooks is; another may take over only while it is in a script. */
enum { IN_C, IN_SCRIPT, ABANDONED };

struct mt_flow {
	const struct mt_options *options;
	const struct mt_ifaces *ifaces;
	struct mt_script *script;
	struct mt_hook_state *state; /* NULL without scripts */
	struct mt_edit_pool *edit_pool;
	unsigned said; /* enum mt_edit_feature: what an output lost and was warned of */
	bool packet_hooks;

	struct mt_output *outputs[MAX_OUTPUTS]; /* by verdict; [0] may be NULL */
	unsigned n_outputs;                     /* highest verdict in use + 1 */
	struct mt_output_hooks hooks;
	struct mt_run_counters counters;

	struct mt_batch *batch; /* in hand */
	uint32_t next;          /* packets before this one are routed and counted */
	struct mt_counts_table *counts;
	uint64_t kept;
	int64_t first_ns, clock_ns; /* INT64_MIN: no packet yet */
	bool limit_reached;
	bool finished; /* no batch is in hand any more */

	int status;
	bool failed;           /* an output takes nothing more */
	struct mt_err failure; /* of an output below mt_flow_advance */
	atomic_int where;
	atomic_bool wants_decode;
	struct mt_stage_clock *clock; /* --profile, or NULL; for whom `where` says */

	mt_source_drops_fn *drops;
	void *drops_ctx;
};

/* --- construction ---------------------------------------------------------------------- */

static const char *segment_open(void *ctx, const struct mt_segment_view *segment)
{
	struct mt_flow *f = ctx;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	const char *name = mt_script_segment_open(f->script, segment);
	mt_stage_enter(f->clock, before);
	return name;
}

static void segment_close(void *ctx, const json_t *line)
{
	struct mt_flow *f = ctx;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	mt_script_segment_close(f->script, line);
	mt_stage_enter(f->clock, before);
}

static bool block(void *ctx, const uint8_t **data, size_t *len)
{
	struct mt_flow *f = ctx;
	enum mt_stage before = mt_stage_enter(f->clock, MT_STAGE_HOOK);
	bool keep = mt_script_block(f->script, data, len);
	mt_stage_enter(f->clock, before);
	return keep;
}

struct mt_flow *mt_flow_new(const struct mt_options *options, const struct mt_ifaces *ifaces,
                            struct mt_script *script)
{
	struct mt_flow *f = calloc(1, sizeof *f);
	if (f)
		f->counts = mt_counts_new(ifaces);
	if (f)
		f->edit_pool = mt_edit_pool_new();
	if (!f || !f->counts || !f->edit_pool) {
		mt_flow_free(f);
		return NULL;
	}
	f->options = options;
	f->ifaces = ifaces;
	f->script = script;
	f->first_ns = f->clock_ns = INT64_MIN;
	f->counters = (struct mt_run_counters){.sources = mt_flow_sources_json, .ctx = f};
	f->hooks.ctx = f;
	if (script) {
		f->state = mt_script_state(script);
		f->state->flow = f;
		f->state->edit_pool = f->edit_pool;
		f->packet_hooks = mt_script_has_packet_hooks(script);
		f->hooks.segment_open = mt_script_has_segment_open(script) ? segment_open : NULL;
		f->hooks.segment_close = mt_script_has_segment_close(script) ? segment_close : NULL;
		f->hooks.block = mt_script_has_block(script) ? block : NULL;
	}
	atomic_store(&f->wants_decode, options->print);
	return f;
}

void mt_flow_free(struct mt_flow *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->n_outputs; i++)
		mt_output_free(f->outputs[i]);
	mt_counts_free(f->counts);
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
	return mt_counts_watch(f->counts, (uint8_t)f->n_outputs++);
}

const struct mt_output_hooks *mt_flow_output_hooks(struct mt_flow *f)
{
	return &f->hooks;
}

const struct mt_run_counters *mt_flow_run_counters(struct mt_flow *f)
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

/* Count the packets of the batch from f->next to upto. */
static void count(struct mt_flow *f, uint32_t upto)
{
	/* What counts is what was read. */
	mt_edits_restore(f->batch, f->next, upto);
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

json_t *mt_flow_sources_json(void *flow)
{
	const struct mt_flow *f = flow;
	json_t *list = json_array();
	for (uint32_t g = 0; g < mt_ifaces_groups(f->ifaces); g++) {
		uint64_t dropped, kernel;
		mt_flow_drops(f, g, &dropped, &kernel);
		for (uint32_t i = 0; i < mt_ifaces_count(f->ifaces); i++)
			if (mt_ifaces_get(f->ifaces, i)->group == g)
				dropped += mt_counts_of(f->counts, i).dropped;
		json_t *o = json_pack("{s:s, s:I}", "name", mt_ifaces_group_name(f->ifaces, g), "dropped",
		                      (json_int_t)dropped);
		if (o)
			json_object_set_new(o, "dropped_kernel",
			                    kernel == UINT64_MAX ? json_null()
			                                         : json_integer((json_int_t)kernel));
		json_array_append_new(list, o ? o : json_null());
	}
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
}

/* What an output took and then could not write was not kept. */
static void settle(struct mt_flow *f)
{
	for (unsigned v = 0; v < f->n_outputs; v++) {
		uint64_t written = f->outputs[v] ? mt_output_written(f->outputs[v]) : 0;
		uint64_t kept = f->outputs[v] ? mt_counts_kept(f->counts, (uint8_t)v) : 0;
		if (written >= kept)
			continue;
		mt_counts_lose(f->counts, (uint8_t)v, kept - written);
		f->kept -= kept - written;
	}
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
		if (!f->failed && mt_output_write(f->outputs[v], f->batch->packets + f->next, upto - f->next,
		                                  (uint8_t)v, &err))
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

/* Wait for ever: another thread has taken the outputs over and will end the process. */
static void give_up(void)
{
	for (;;)
		pause();
}

static void enter_script(struct mt_flow *f)
{
	mt_stage_enter(f->clock, MT_STAGE_HOOK);
	atomic_store(&f->where, IN_SCRIPT);
}

static void leave_script(struct mt_flow *f)
{
	int expected = IN_SCRIPT;
	if (!atomic_compare_exchange_strong(&f->where, &expected, IN_C))
		give_up();
	mt_stage_enter(f->clock, MT_STAGE_ROUTE);
}

int mt_flow_advance(struct mt_flow *f, uint32_t i)
{
	struct mt_output *o = f->outputs[MT_VERDICT_DEFAULT];
	int service = 0;
	leave_script(f);
	while (f->next < i && !service) {
		if (o && mt_output_needs_hook(o, &f->batch->packets[f->next]))
			service = 1;
		else if (route(f, f->next + 1))
			service = 1;
	}
	if (o && !service && f->batch->packets[i].verdict == MT_VERDICT_DEFAULT &&
	    mt_output_needs_hook(o, &f->batch->packets[i]))
		service = 1;
	enter_script(f);
	return service;
}

const struct mt_segment_view *mt_flow_segment(struct mt_flow *f)
{
	static const struct mt_segment_view none = {
	        .first_ns = INT64_MAX, .last_ns = INT64_MIN, .reason = "", .source = ""};
	return f->outputs[MT_VERDICT_DEFAULT] ? mt_output_segment(f->outputs[MT_VERDICT_DEFAULT]) : &none;
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
	int rc = mt_output_prepare(o, &f->batch->packets[index], &err);
	mt_stage_enter(f->clock, before);
	return rc ? output_failed(f, &err) : 0;
}

/* Has a script asked for the end, in any hook? */
static bool stopped(const struct mt_flow *f)
{
	return f->state && f->state->stop;
}

static int script_range(struct mt_flow *f, uint32_t from, uint32_t to)
{
	struct mt_hook_state *st = f->state;
	struct mt_output *o = f->outputs[MT_VERDICT_DEFAULT];
	struct mt_err err;
	for (st->from = from, st->to = to;; st->from = st->index) {
		enter_script(f);
		mt_script_batch(f->script);
		leave_script(f);
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
			return route(f, st->index) ? -1 : 0;
		default:
			/* The packet that the script failed on was read, so it is counted too. */
			f->status = f->status ? f->status : MT_STATUS_SCRIPT;
			if (st->index < to && f->batch->packets[st->index].verdict <= MT_VERDICT_LAST_OUTPUT)
				f->batch->packets[st->index].verdict = MT_VERDICT_BYPASS_DROP;
			route(f, st->index < to ? st->index + 1 : to);
			return -1;
		}
	}
}

/* The end of the range that may be looked at without overstepping -c or --duration. */
static uint32_t limit(struct mt_flow *f, uint32_t from)
{
	const struct mt_packet *p = f->batch->packets;
	uint64_t left = f->options->count ? f->options->count - f->kept : UINT64_MAX;
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
		if (f->outputs[v] && mt_output_tick(f->outputs[v], clock_ns, now_ms, &err))
			rc = output_failed(f, &err);
	}
	mt_stage_enter(f->clock, before);
	return rc;
}

int mt_flow_start(struct mt_flow *f, const json_t *sources)
{
	enter_script(f);
	int status = mt_script_start(f->script, sources);
	leave_script(f);
	return status;
}

void mt_flow_stop(struct mt_flow *f, const json_t *stats, const json_t *sources)
{
	enter_script(f);
	mt_script_stop(f->script, stats, sources);
	leave_script(f);
}

int mt_flow_batch(struct mt_flow *f, struct mt_batch *batch)
{
	f->batch = batch;
	f->next = 0;
	if (f->first_ns == INT64_MIN)
		note_first(f);
	if (f->options->any_live)
		mark_jumps(batch);
	if (f->state) {
		f->state->batch = batch;
		f->state->first_ns = f->first_ns;
	}
	if (stopped(f))
		return 0;
	for (uint32_t from = 0; from < batch->n;) {
		uint32_t to = limit(f, from);
		int r = 1;
		if (to > from)
			r = f->packet_hooks ? script_range(f, from, to) : route(f, to) ? -1 : !stopped(f);
		if (r <= 0)
			return r;
		if (f->limit_reached || (f->options->count && f->kept >= f->options->count))
			return 0;
		from = to;
	}
	if (batch->decoded && !atomic_load(&f->wants_decode))
		atomic_store(&f->wants_decode, true);
	if (f->state) {
		f->state->before += batch->n;
		f->state->clock_ns = f->clock_ns;
	}
	return tick_outputs(f, INT64_MIN) ? -1 : 1;
}

int mt_flow_idle(struct mt_flow *f, int64_t clock_ns)
{
	if (clock_ns != INT64_MIN && clock_ns > f->clock_ns) {
		f->clock_ns = clock_ns;
		if (f->script) {
			f->state->clock_ns = clock_ns;
			enter_script(f);
			int r = mt_script_tick(f->script, clock_ns);
			leave_script(f);
			if (r) {
				f->status = f->status ? f->status : MT_STATUS_SCRIPT;
				return -1;
			}
			if (f->state->stop)
				return 0;
		}
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
		if (!f->outputs[v] || !mt_output_close(f->outputs[v], &err))
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
	int r = 0;
	f->finished = true;
	if (f->script) {
		enter_script(f);
		r = mt_script_last_interval(f->script);
		leave_script(f);
	}
	if (r && !f->status)
		f->status = MT_STATUS_SCRIPT;
	return close_outputs(f) ? -1 : r;
}

bool mt_flow_abandon(struct mt_flow *f)
{
	int expected = IN_SCRIPT;
	if (!atomic_compare_exchange_strong(&f->where, &expected, ABANDONED))
		return false;
	/* Scripts are out of the game: no hook may be called from here. */
	f->hooks = (struct mt_output_hooks){0};
	if (f->batch && !f->finished && f->state->index <= f->batch->n)
		route(f, f->state->index);
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

bool mt_flow_wants_decode(const struct mt_flow *f)
{
	return atomic_load_explicit(&((struct mt_flow *)(uintptr_t)f)->wants_decode, memory_order_relaxed);
}

struct mt_output *mt_flow_output(const struct mt_flow *f, unsigned verdict)
{
	return verdict < f->n_outputs ? f->outputs[verdict] : NULL;
}

unsigned mt_flow_outputs(const struct mt_flow *f)
{
	return f->n_outputs;
}
