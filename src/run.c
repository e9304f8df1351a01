/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run.c - the sources of a run: opened, closed, asked.
 */
#include "run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "filter.h"
#include "log.h"
#include "readahead.h"
#include "units.h"

enum {
	LINK_ETHERNET = 1,
	FILE_BUDGET = 24 << 20, /* bytes of chunks when no source is live */
	BATCHES = 16,
	SCRATCH_BYTES = 768 << 10, /* chunks of a pipe or followed file, from which its capture thread copies */
	LAG_MS = 1000,             /* how often live sources are looked at for being late */
	DRAIN_MS = 1000            /* after a stop, pipes are waited for that long */
};

static unsigned count_live(const struct mt_options *o)
{
	unsigned n = 0;
	for (unsigned i = 0; i < o->n_sources; i++)
		n += o->sources[i].live;
	return n;
}

static size_t live_buffer(const struct mt_options *o)
{
	return o->buffer_bytes < SIZE_MAX ? (size_t)o->buffer_bytes : SIZE_MAX;
}

/* A live source gets a thread of its own.  Half of the buffer is divided among them, half is for whoever
 * needs it. */
static int feed_source(struct mt_run *run, unsigned i)
{
	size_t promise = live_buffer(run->options) / 2 / run->n_live;
	run->sources[i] = mt_feed_new(run->sources[i], run->chunks, promise, &run->wake);
	if (run->sources[i])
		return 0;
	mt_log_error("out of memory");
	return -1;
}

static int open_source(struct mt_run *run, unsigned i)
{
	/* The spec is taken over: the options keep an empty one. */
	struct mt_source_spec *spec = &run->options->sources[i];
	struct mt_err err;
	run->sources[i] = mt_source_new(spec, i, spec->live ? &run->live_context : &run->context, &err);
	if (run->sources[i] && !mt_source_open(run->sources[i], &err)) {
		run->n = i + 1;
		return run->sources[i]->spec.live ? feed_source(run, i) : 0;
	}
	mt_log_error("%s", err.text);
	run->n = i + 1;
	return -1;
}

/* Read the time of a file's first packet and close it until the merge reaches that time. */
static void park(struct mt_run *run, struct mt_source *s)
{
	struct mt_err err;
	enum mt_read r = mt_source_fill(s, &err);
	if (r == MT_ERROR) {
		mt_log_error("%s", err.text);
		run->failed = true;
	}
	s->has_first = r == MT_OK;
	if (s->has_first)
		s->first_ns = s->run[s->run_pos].ts_ns;
	mt_source_close(s);
	/* Another user may not be allowed to open it again. */
	if (run->options->user && s->has_first)
		s->kept_fd = open(s->spec.target, O_RDONLY | O_CLOEXEC);
}

static int set_reorder(struct mt_run *run, struct mt_source *s)
{
	if (!run->options->reorder_ms || !mt_source_set_reorder(s, run->chunks, run->options->reorder_ms))
		return 0;
	mt_log_error("out of memory");
	return -1;
}

static int open_sources(struct mt_run *run)
{
	int failed = 0;
	for (unsigned i = 0; i < run->options->n_sources; i++) {
		if (open_source(run, i) || set_reorder(run, run->sources[i]))
			failed = -1;
		else if (run->sources[i]->parkable)
			park(run, run->sources[i]);
	}
	return failed;
}

/* Is what -F and -s ask for the same for all packets, and does nothing else need it earlier? */
static bool screens_batches(const struct mt_options *o)
{
	for (unsigned i = 0; i < o->n_sources; i++)
		if (o->sources[i].filter || o->sources[i].snaplen)
			return false;
	return o->filter && *o->filter && !o->any_live && !o->control;
}

static int open_screens(struct mt_run *run)
{
	struct mt_err err;
	if (!screens_batches(run->options))
		return 0;
	uint32_t snaplen = run->context.snaplen ? run->context.snaplen : MT_MAX_CAPLEN;
	run->reader_screen = mt_screen_new(run->context.filter, snaplen, run->ifaces, &err);
	if (run->reader_screen)
		run->hook_screen = mt_screen_new(run->context.filter, snaplen, run->ifaces, &err);
	run->context.filter = NULL;
	run->context.snaplen = 0;
	if (run->hook_screen)
		return 0;
	mt_log_error("%s", err.text);
	return -1;
}

struct mt_run *mt_run_open(const struct mt_options *options, struct mt_ifaces *ifaces, atomic_bool *stop)
{
	struct mt_run *run = calloc(1, sizeof *run);
	if (!run)
		return NULL;
	run->options = options;
	run->ifaces = ifaces;
	run->stop = stop;
	run->filter = options->filter && *options->filter ? strdup(options->filter) : NULL;
	run->done_fd = eventfd(0, EFD_CLOEXEC);
	run->wake.fd = -1;
	run->n_live = count_live(options);
	run->chunks = mt_chunks_new(options->any_live     ? live_buffer(options)
	                            : options->reorder_ms ? live_buffer(options) + FILE_BUDGET
	                                                  : FILE_BUDGET);
	run->scratch = mt_chunks_new(SCRATCH_BYTES);
	run->readahead = mt_readahead_pool_new();
	run->sources = calloc(options->n_sources + 1, sizeof *run->sources);
	run->losses = calloc(options->n_sources + 1, sizeof *run->losses);
	run->queue = mt_queue_new(BATCHES);
	if (run->done_fd < 0 || !run->chunks || !run->scratch || mt_wake_init(&run->wake) || !run->readahead ||
	    !run->sources || !run->losses || !run->queue) {
		mt_log_error("out of memory");
		mt_run_free(run);
		return NULL;
	}
	run->context = (struct mt_source_context){.chunks = run->chunks,
	                                          .ifaces = ifaces,
	                                          .filter = options->filter,
	                                          .filter_changes = options->control != NULL,
	                                          .snaplen = options->snaplen,
	                                          .from_ns = options->from_ns,
	                                          .to_ns = options->to_ns,
	                                          .window_ms = options->window_ms,
	                                          .kernel_buffer = (size_t)options->kernel_buffer,
	                                          .stop = stop,
	                                          .readahead = run->readahead};
	run->live_context = run->context;
	run->live_context.chunks = run->scratch;
	run->live_context.readahead = NULL;
	if (options->reorder_ms) /* what is read is copied */
		run->context.chunks = run->scratch;
	mt_chunks_expect(run->chunks, options->n_sources < 16 ? options->n_sources : 16);
	if (open_screens(run) || open_sources(run)) {
		mt_run_free(run);
		return NULL;
	}
	for (unsigned i = 0; i < run->n; i++)
		atomic_store(&run->losses[i].kernel, UINT64_MAX);
	run->merge = mt_merge_new(run->sources, run->n, run->chunks);
	if (!run->merge) {
		mt_log_error("out of memory");
		mt_run_free(run);
		return NULL;
	}
	if (options->any_live)
		mt_merge_set_live(run->merge,
		                  &(struct mt_merge_live){.window_ms = options->window_ms + options->reorder_ms,
		                                          .drop_late = options->drop_late,
		                                          .wake = &run->wake});
	return run;
}

void mt_run_free(struct mt_run *run)
{
	if (!run)
		return;
	mt_merge_free(run->merge);
	for (unsigned i = 0; i < run->n; i++)
		mt_source_free(run->sources[i]);
	free(run->sources);
	free(run->losses);
	free(run->filter);
	mt_readahead_pool_free(run->readahead);
	mt_screen_free(run->reader_screen);
	mt_screen_free(run->hook_screen);
	mt_queue_free(run->queue);
	mt_chunks_free(run->chunks);
	mt_chunks_free(run->scratch);
	mt_wake_close(&run->wake);
	if (run->done_fd >= 0)
		close(run->done_fd);
	free(run);
}

struct mt_link_summary mt_run_links(const struct mt_run *run)
{
	struct mt_link_summary links = {0};
	for (uint32_t i = 0; i < mt_ifaces_count(run->ifaces); i++) {
		const struct mt_iface *iface = mt_ifaces_get(run->ifaces, i);
		if (links.n && iface->linktype == links.linktype[0])
			continue;
		if (links.n > 1)
			continue;
		links.linktype[links.n] = iface->linktype;
		links.source[links.n++] = iface->source;
	}
	return links;
}

bool mt_run_microseconds(const struct mt_run *run, bool *sure)
{
	*sure = true;
	for (unsigned i = 0; i < run->n; i++) {
		*sure = *sure && !run->sources[i]->finer_may_come;
		if (!run->sources[i]->microseconds || run->sources[i]->spec.offset_ns % 1000)
			return false;
	}
	return true;
}

/* --- while it runs ----------------------------------------------------------------------- */

int mt_run_start_feeds(struct mt_run *run, struct mt_err *err)
{
	for (unsigned i = 0; i < run->n; i++)
		if (run->sources[i]->stands_in && mt_feed_start(run->sources[i], err))
			return -1;
	return 0;
}

void mt_run_end_feeds(struct mt_run *run)
{
	for (unsigned i = 0; i < run->n; i++)
		if (run->sources[i]->stands_in)
			mt_feed_quit(run->sources[i]);
}

void mt_run_note_losses(struct mt_run *run)
{
	run->losses_at_ms = mt_monotonic_ms();
	if (run->options->any_live && run->losses_at_ms - run->lag_at_ms >= LAG_MS) {
		run->lag_at_ms = run->losses_at_ms;
		mt_merge_report_lag(run->merge);
	}
	for (unsigned i = 0; i < run->n; i++) {
		struct mt_source *s = run->sources[i];
		uint64_t kernel = s->impl ? mt_source_kernel_drops(s) : s->kernel_drops;
		atomic_store_explicit(&run->losses[i].dropped, s->dropped, memory_order_relaxed);
		atomic_store_explicit(&run->losses[i].kernel, kernel, memory_order_relaxed);
		if (s->iface == UINT32_MAX)
			continue;
		struct mt_iface *iface = mt_ifaces_get(run->ifaces, s->iface);
		__atomic_store_n(&iface->live.received, s->packets_read, __ATOMIC_RELAXED);
		__atomic_store_n(&iface->live.dropped, s->dropped, __ATOMIC_RELAXED);
		__atomic_store_n(&iface->live.kernel, kernel == UINT64_MAX ? 0 : kernel, __ATOMIC_RELAXED);
	}
}

/* After a stop what files and pipes have read is worked off.  Live sources end by themselves when all is read
 * that was captured before; a pipe that is not live and says nothing is waited for no longer. */
bool mt_run_must_end(struct mt_run *run, bool quiet)
{
	if (!atomic_load_explicit(run->stop, memory_order_relaxed))
		return false;
	int64_t now = mt_monotonic_ms();
	if (!run->drain_until_ms) {
		run->drain_until_ms = now + DRAIN_MS;
		mt_merge_stop(run->merge);
		for (unsigned i = 0; i < run->n; i++)
			if (run->sources[i]->stands_in)
				mt_feed_nudge(run->sources[i]);
	}
	bool window_over = now >= run->drain_until_ms - DRAIN_MS + run->options->window_ms;
	if (!run->options->any_live)
		return now >= run->drain_until_ms || (quiet && window_over);
	if (quiet && now >= run->drain_until_ms)
		mt_merge_give_up(run->merge);
	return false;
}

/* --- another filter ------------------------------------------------------------------------ */

static int set_filter_of(struct mt_source *s, const char *text, struct mt_err *err)
{
	struct mt_filter *filter = text ? mt_filter_new(text, LINK_ETHERNET, err) : NULL;
	if (text && !filter)
		return -1;
	return mt_source_set_filter(s, filter) ? mt_err_set(err, "out of memory") : 0;
}

int mt_run_set_filter(struct mt_run *run, const char *text, struct mt_err *err)
{
	struct mt_filter *check = text ? mt_filter_new(text, LINK_ETHERNET, err) : NULL;
	char *copy = text ? strdup(text) : NULL;
	int rc = text && (!check || !copy) ? -1 : 0;
	if (check && !copy)
		mt_err_set(err, "out of memory");
	mt_filter_free(check);
	for (unsigned i = 0; i < run->n && !rc; i++)
		if (!run->sources[i]->spec.filter)
			rc = set_filter_of(run->sources[i], text, err);
	if (rc) {
		free(copy);
		return -1;
	}
	free(run->filter);
	run->filter = copy;
	return 0;
}

bool mt_run_filter_waits(const struct mt_run *run)
{
	for (unsigned i = 0; i < run->n; i++)
		if (mt_source_filter_waits(run->sources[i]))
			return true;
	return false;
}

/* --- asked --------------------------------------------------------------------------------- */

bool mt_run_source_failed(const struct mt_run *run)
{
	for (unsigned i = 0; i < run->n; i++)
		if (mt_feed_outages(run->sources[i]))
			return true;
	return run->failed || mt_merge_failed(run->merge);
}

void mt_run_progress(const struct mt_run *run, uint64_t *done, uint64_t *total)
{
	mt_merge_progress(run->merge, done, total);
}

/* Losses that the files themselves tell (pcapng interface statistics, ERF loss counters). */
static uint64_t losses_in_files(const struct mt_run *run, uint32_t group)
{
	uint64_t sum = UINT64_MAX;
	for (uint32_t i = 0; i < mt_ifaces_count(run->ifaces); i++) {
		const struct mt_iface *iface = mt_ifaces_get(run->ifaces, i);
		uint64_t n = __atomic_load_n(&iface->dropped, __ATOMIC_RELAXED);
		if (iface->group == group && n != UINT64_MAX)
			sum = (sum == UINT64_MAX ? 0 : sum) + n;
	}
	return sum;
}

void mt_run_drops(void *ctx, uint32_t group, uint64_t *dropped, uint64_t *kernel)
{
	struct mt_run *run = ctx;
	*dropped = 0;
	*kernel = losses_in_files(run, group);
	for (unsigned i = 0; i < run->n; i++) {
		if (run->sources[i]->group != group)
			continue;
		*dropped += atomic_load_explicit(&run->losses[i].dropped, memory_order_relaxed);
		uint64_t k = atomic_load_explicit(&run->losses[i].kernel, memory_order_relaxed);
		if (k != UINT64_MAX)
			*kernel = (*kernel == UINT64_MAX ? 0 : *kernel) + k;
	}
}
