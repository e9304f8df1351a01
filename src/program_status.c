/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "beat.h"
#include "log.h"
#include "notify.h"
#include "program.h"
#include "progress.h"
#include "units.h"

enum {
	STATUS_MS = 5000,  /* the service manager's status line */
	PROGRESS_MS = 250, /* how often the progress line is renewed */
};

static void show_progress(struct mt_program *p, struct mt_progress *progress)
{
	char line[MT_PROGRESS_LINE];
	struct mt_counts seen = mt_counts_progress(mt_flow_counts(p->flow));
	progress->packets = seen.packets;
	progress->kept = seen.kept;
	progress->dropped = seen.dropped;
	for (uint32_t g = 0; p->options.any_live && g < mt_ifaces_groups(p->ifaces); g++) {
		uint64_t lost, kernel;
		mt_flow_drops(p->flow, g, &lost, &kernel);
		progress->dropped += lost + (kernel == UINT64_MAX ? 0 : kernel);
	}
	progress->full = mt_flow_waits_for_space(p->flow, &progress->deleted);
	mt_run_progress(p->run, &progress->bytes_done, &progress->bytes_total);
	mt_progress_sample(progress, mt_monotonic_ms() - p->started_ms, seen.packets, seen.wire_bytes);
	progress->wire_bytes = seen.wire_bytes;
	progress->elapsed_ms = mt_monotonic_ms() - p->started_ms;
	progress->columns = mt_progress_columns();
	mt_progress_line(progress, line, sizeof line);
	mt_log_progress(line);
}

/* What the service manager was told last. */
struct alive {
	int64_t every_ms; /* at most so long between two signs of life; 0: none are wanted */
	int64_t said_ms;
	unsigned beats[MT_BEAT_SIDES];
};

/* The watchdog hears of the data path, not of this thread: nothing is said when one side has not moved.  The
 * longest time to sleep before the next call, or -1. */
static int tell_alive(struct mt_program *p, struct alive *a)
{
	int64_t now_ms = mt_monotonic_ms();
	int64_t every_ms = a->every_ms && a->every_ms < STATUS_MS ? a->every_ms : STATUS_MS;
	if (!mt_notify_wanted())
		return -1;
	if (a->said_ms && now_ms - a->said_ms < every_ms)
		return (int)(every_ms - (now_ms - a->said_ms));
	bool first = !a->said_ms; /* nothing to compare with */
	a->said_ms = now_ms;
	bool moved = true;
	for (unsigned i = 0; i < MT_BEAT_SIDES; i++) {
		unsigned beats = atomic_load(&mt_beats[i]);
		bool ended = mt_run_done(p->run) || (i == MT_BEAT_READER && mt_run_read_all(p->run));
		moved = moved && (beats != a->beats[i] || ended || first);
		a->beats[i] = beats;
	}
	struct mt_counts seen = mt_counts_progress(mt_flow_counts(p->flow));
	char packets[32], kept[32];
	uint64_t deleted;
	mt_notify("STATUS=%s packets, %s kept%s%s%s", mt_format_count(seen.packets, packets, sizeof packets),
	          mt_format_count(seen.kept, kept, sizeof kept),
	          mt_flow_waits_for_space(p->flow, &deleted) ? ", waiting for space" : "",
	          moved ? "" : ", stuck", moved && a->every_ms ? "\nWATCHDOG=1" : "");
	return (int)every_ms;
}

void mt_program_supervise(struct mt_program *p)
{
	bool live = p->options.any_live;
	bool show = !p->options.quiet && isatty(STDERR_FILENO) && !p->options.print;
	struct mt_progress progress = {.live = live};
	struct alive alive = {.every_ms = mt_notify_watchdog_ms() / 2};
	mt_notify("READY=1\nSTATUS=capturing");
	int64_t stop_ms =
	        live && p->options.duration_ns ? p->started_ms + p->options.duration_ns / 1000000 : INT64_MAX;
	struct pollfd done = {.fd = mt_run_done_fd(p->run), .events = POLLIN};
	for (;;) {
		int64_t left = stop_ms == INT64_MAX ? -1 : stop_ms - mt_monotonic_ms();
		int timeout = show ? PROGRESS_MS : -1;
		if (left >= 0 && (timeout < 0 || left < timeout))
			timeout = (int)left;
		int pause = tell_alive(p, &alive);
		if (pause >= 0 && (timeout < 0 || pause < timeout))
			timeout = pause;
		int ready = poll(&done, 1, timeout);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			break;
		if (mt_monotonic_ms() >= stop_ms) {
			stop_ms = INT64_MAX;
			atomic_store(&p->stop, true);
			mt_notify("STOPPING=1");
		}
		if (show)
			show_progress(p, &progress);
	}
	mt_notify("STOPPING=1");
	mt_log_progress(NULL);
}
