/* SPDX-License-Identifier: BSD-2-Clause */
#include "pipeline.h"

#include <stdatomic.h>
#include <unistd.h>

#include "anonymize_ahead.h"
#include "beat.h"
#include "control.h"
#include "dns.h"
#include "edit.h"
#include "log.h"
#include "metrics.h"
#include "report.h"
#include "run.h"
#include "table.h"
#include "units.h"

enum {
	HELP_AT = 3,   /* batches that wait for the hook thread before the reading thread works for it */
	TICK_MS = 100, /* timers, and how soon a stop is noticed */
	STUCK_MS = 300 /* that a write of a block takes at most, usually */
};

_Atomic unsigned mt_beats[MT_BEAT_SIDES];

/* --- the reading thread ------------------------------------------------------------------ */

/* Fill the batch.  MT_OK: hand it on; MT_WAIT: hand it on, the sources have nothing more right
 * now; MT_END: hand it on as the last one. */
static enum mt_read fill_batch(struct mt_run *run, struct mt_batch *b)
{
	bool quiet = false;
	for (;;) {
		if (mt_queue_left(run->queue) || mt_run_must_end(run, quiet))
			return MT_END;
		uint64_t wait_batch = 0;
		mt_beat(MT_BEAT_READER);
		enum mt_read r = mt_merge_fill(run->merge, b, &wait_batch);
		if (r == MT_OK || r == MT_END)
			return r;
		if (b->n)
			return MT_WAIT;
		mt_queue_nudge(run->queue);
		quiet = r == MT_WAIT;
		mt_stage_enter(run->clock, quiet ? MT_STAGE_WAIT_SOURCE : MT_STAGE_WAIT_CHUNK);
		if (r == MT_FULL)
			mt_queue_wait_released(run->queue, wait_batch);
		else
			mt_merge_poll(run->merge, TICK_MS);
		mt_stage_enter(run->clock, MT_STAGE_MERGE);
	}
}

/* What hooks need of each packet can be made by either thread: by this one while it is ahead. */
static void help(struct mt_run *run, struct mt_batch *b)
{
	if (mt_queue_waiting(run->queue) < HELP_AT)
		return;
	if (run->reader_screen)
		mt_screen_batch(run->reader_screen, b);
	struct mt_wants wants = mt_flow_wants(run->flow);
	if (!wants.decode)
		return;
	mt_stage_enter(run->clock, MT_STAGE_DECODE);
	mt_batch_decode(b);
	if (wants.dns)
		mt_dns_batch(b, wants.dns);
	if (wants.hashes) {
		mt_key_hashes((enum mt_table_kind)wants.hashes, b, b->key_hash);
		b->hash_kind = wants.hashes;
	}
	if (wants.addresses)
		mt_ahead_batch(wants.addresses, b);
	mt_stage_enter(run->clock, MT_STAGE_MERGE);
}

static void *reader_main(void *arg)
{
	struct mt_run *run = arg;
	bool live = run->options->any_live;
	pthread_setname_np(pthread_self(), "mt-reader"); /* for top -H, perf */
	mt_stage_begin(run->clock, MT_STAGE_MERGE);
	for (;;) {
		mt_beat(MT_BEAT_READER);
		mt_stage_enter(run->clock, MT_STAGE_WAIT_QUEUE);
		struct mt_batch *b = mt_queue_reserve(run->queue, TICK_MS);
		mt_stage_enter(run->clock, MT_STAGE_MERGE);
		if (!b && mt_queue_left(run->queue))
			break;
		if (!b) { /* a slow output or script; drops are counted on */
			if (live)
				mt_run_note_losses(run);
			continue;
		}
		enum mt_read r = fill_batch(run, b);
		help(run, b);
		b->last = r == MT_END;
		if (b->last || (live && mt_monotonic_ms() - run->losses_at_ms >= TICK_MS))
			mt_run_note_losses(run);
		mt_queue_push(run->queue);
		if (r != MT_OK)
			mt_queue_nudge(run->queue);
		if (r == MT_END)
			break;
	}
	mt_run_end_feeds(run);
	mt_run_note_losses(run);
	mt_stage_end(run->clock);
	atomic_store(&run->read_all, true);
	return NULL;
}

/* --- the hook thread --------------------------------------------------------------------- */

static void update_metrics(struct mt_run *run)
{
	int64_t now_ms = mt_monotonic_ms();
	if (now_ms - run->metrics_at_ms < MT_METRICS_EVERY_MS)
		return;
	run->metrics_at_ms = now_ms;
	mt_metrics_update(run->metrics, mt_report_now(run->flow, run->ifaces));
}

static void serve_requests(struct mt_run *run)
{
	/* A write that takes long is no sign of life, though hooks go on until there is no more room for
	 * packets.  Where it may take long, it gives one itself. */
	if (mt_flow_busy_ms(run->flow, mt_monotonic_ms()) < STUCK_MS)
		mt_beat(MT_BEAT_WRITER);
	if (run->metrics)
		update_metrics(run);
	if (run->control)
		mt_control_update(run->control);
	if (atomic_exchange(&run->want_rotate, false))
		mt_flow_rotate(run->flow);
	if (!atomic_exchange(&run->want_stats, false))
		return;
	mt_report_print(run->flow, run->ifaces);
	if (run->profile)
		mt_profile_report(run->profile, run->scripts);
}

/* A hook that is stuck in batch b, or in none: what it still reads stays where it is, until it is back. Returns
 * the batch that is in hand in its place. */
static struct mt_batch *hold(struct mt_run *run, struct mt_batch *b)
{
	uint64_t held = mt_flow_held(run->flow);
	if (held == run->held)
		return b;
	if (b && held == b->seq) {
		b = mt_flow_replacement(run->flow);
		mt_queue_replace(run->queue, b);
	}
	mt_chunks_hold(run->chunks, held);
	run->held = held;
	return b;
}

/* Live, an output or a script has failed for good: what was captured up to now is lost, but counted. */
static bool gives_up(const struct mt_run *run)
{
	return run->options->any_live && mt_flow_status(run->flow) && !atomic_load(&run->abort);
}

static void lose_rest(struct mt_run *run, bool last)
{
	atomic_store(run->stop, true);
	while (!last && !atomic_load(&run->abort)) {
		struct mt_batch *b = mt_queue_pop(run->queue, TICK_MS);
		if (!b)
			continue;
		last = b->last;
		mt_flow_lose(run->flow, b);
		mt_chunks_release(run->chunks, b->seq);
		mt_queue_release(run->queue);
	}
}

static void *hooks_main(void *arg)
{
	struct mt_run *run = arg;
	struct mt_stage_clock *clock = run->profile ? &run->profile->hooks : NULL;
	pthread_setname_np(pthread_self(), "mt-hooks");
	mt_stage_begin(clock, MT_STAGE_ROUTE);
	bool last = false;
	for (;;) {
		mt_stage_enter(clock, MT_STAGE_WAIT_BATCH);
		struct mt_batch *b = mt_queue_pop(run->queue, TICK_MS);
		mt_stage_enter(clock, MT_STAGE_ROUTE);
		int r;
		if (b) {
			last = b->last;
			if (run->hook_screen)
				mt_screen_batch(run->hook_screen, b);
			if (run->control)
				mt_control_batch(run->control, b);
			uint64_t seq = b->seq;
			r = mt_flow_batch(run->flow, b);
			if (gives_up(run))
				mt_flow_lose(run->flow, NULL);
			b = hold(run, b);
			mt_edits_release(b);
			mt_chunks_release(run->chunks, seq);
			mt_queue_release(run->queue);
		} else {
			int64_t window_ns = (int64_t)run->options->window_ms * 1000000;
			r = mt_flow_idle(run->flow,
			                 run->options->any_live ? mt_wall_ns() - window_ns : INT64_MIN);
			hold(run, NULL);
		}
		serve_requests(run);
		if (r <= 0 || last || mt_flow_status(run->flow) || atomic_load(&run->abort))
			break;
	}
	if (gives_up(run))
		lose_rest(run, last);
	mt_queue_leave(run->queue);
	mt_flow_finish(run->flow);
	mt_stage_end(clock);
	atomic_store(&run->done, true);
	uint64_t one = 1;
	if (write(run->done_fd, &one, sizeof one) < 0)
		mt_log_error("eventfd: the end of the run could not be told");
	return NULL;
}

/* --- control ----------------------------------------------------------------------------- */

void mt_run_profile(struct mt_run *run, struct mt_profile *profile, struct mt_hooks *scripts)
{
	run->profile = profile;
	run->scripts = scripts;
	run->clock = &profile->reader;
	mt_merge_set_clock(run->merge, run->clock);
}

void mt_run_set_metrics(struct mt_run *run, struct mt_metrics *metrics)
{
	run->metrics = metrics;
}

void mt_run_set_control(struct mt_run *run, struct mt_control *control)
{
	run->control = control;
}

int mt_run_start(struct mt_run *run, struct mt_flow *flow, struct mt_err *err)
{
	run->flow = flow;
	if (pthread_create(&run->hooks, NULL, hooks_main, run))
		return mt_err_set(err, "the hook thread could not be started");
	run->hooks_started = true;
	if (mt_run_start_feeds(run, err)) {
		mt_queue_leave(run->queue);
		return -1;
	}
	if (pthread_create(&run->reader, NULL, reader_main, run)) {
		mt_queue_leave(run->queue);
		return mt_err_set(err, "the reading thread could not be started");
	}
	run->reader_started = true;
	return 0;
}

int mt_run_done_fd(const struct mt_run *run)
{
	return run->done_fd;
}

bool mt_run_read_all(const struct mt_run *run)
{
	return atomic_load(&run->read_all);
}

bool mt_run_done(const struct mt_run *run)
{
	return atomic_load(&run->done);
}

void mt_run_abort(struct mt_run *run)
{
	atomic_store(&run->abort, true);
}

void mt_run_rotate(struct mt_run *run)
{
	atomic_store(&run->want_rotate, true);
}

void mt_run_print_stats(struct mt_run *run)
{
	atomic_store(&run->want_stats, true);
}

bool mt_run_stats_wanted(struct mt_run *run)
{
	return atomic_exchange(&run->want_stats, false);
}

void mt_run_join(struct mt_run *run)
{
	if (run->reader_started)
		pthread_join(run->reader, NULL);
	if (run->hooks_started)
		pthread_join(run->hooks, NULL);
	run->reader_started = run->hooks_started = false;
}
