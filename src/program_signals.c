/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"
#include "program.h"
#include "units.h"

enum {
	STATS_MS = 500,        /* how long the hook thread may take for statistics */
	ABANDON_MS = 2000,     /* after a second signal: how long a script may take to let go */
	WAKE_SIGNAL = SIGUSR2, /* ends the wait of the signal thread */
	SAME_SIGNAL_MS = 250   /* timeout(1) signals a process and its group: that is one signal, not two */
};

static void interrupt_outputs(struct mt_program *p, bool at_once)
{
	for (unsigned v = 0; v < mt_flow_outputs(p->flow); v++)
		if (mt_flow_output(p->flow, v))
			mt_output_interrupt(mt_flow_output(p->flow, v), at_once);
}

/* A second SIGINT or SIGTERM: finish the outputs and end, even if a script never comes back. */
static _Noreturn void end_at_once(struct mt_program *p)
{
	bool finished = false;
	mt_log_progress(NULL);
	if (p->run)
		mt_run_abort(p->run);
	if (p->flow && atomic_load(&p->phase) != MT_PROGRAM_OPENING)
		interrupt_outputs(p, true);
	for (int waited = 0; p->flow && waited < ABANDON_MS && !finished; waited += 50) {
		struct pollfd done = {.fd = mt_run_done_fd(p->run), .events = POLLIN};
		finished = mt_flow_abandon(p->flow) || (poll(&done, 1, 50) > 0 && mt_run_done(p->run));
	}
	mt_log_error("interrupted a second time: %s",
	             finished ? "ended, the outputs are complete up to here" : "ended at once");
	if (finished && p->options.json)
		mt_program_print_json(p, NULL, true, &(int){MT_STATUS_INTERRUPTED});
	if (p->control)
		mt_control_unlink(p->control);
	_exit(MT_STATUS_INTERRUPTED);
}

/* Ctrl-C ends what runs at the prompt, or the line that is edited; what does not answer is ended with the
 * program by another one.  Other signals end the session. */
static void on_prompt_signal(struct mt_program *p, int number)
{
	uint64_t one = 1;
	if (number == SIGUSR1)
		return;
	int64_t now = mt_monotonic_ms();
	if (number != SIGINT)
		atomic_store(&p->stop, true);
	else if (!atomic_load(&p->interrupted))
		p->interrupted_ms = now;
	else if (now - p->interrupted_ms >= SAME_SIGNAL_MS) {
		mt_log_error("the command did not come back: ended");
		_exit(MT_STATUS_INTERRUPTED);
	}
	atomic_store(&p->interrupted, true);
	if (write(p->prompt_fd, &one, sizeof one) < 0)
		return; /* it has been woken already */
}

static void on_signal(struct mt_program *p, int number)
{
	const struct mt_options *o = &p->options;
	if (atomic_load(&p->phase) == MT_PROGRAM_PROMPT) {
		on_prompt_signal(p, number);
		return;
	}
	bool running = atomic_load(&p->phase) == MT_PROGRAM_RUNNING;
	int64_t now = mt_monotonic_ms();
	if (number == SIGUSR1) {
		if (running)
			mt_run_print_stats(p->run);
		return;
	}
	if (number == SIGHUP && o->has_output && o->output.segmented) {
		if (running)
			mt_run_rotate(p->run);
		return;
	}
	if (number != SIGHUP && p->interrupted_ms && now - p->interrupted_ms >= SAME_SIGNAL_MS)
		end_at_once(p);
	if (number != SIGHUP && !p->interrupted_ms) {
		p->interrupted_ms = now;
		if (isatty(STDERR_FILENO))
			mt_log_info(0, "ending; interrupt again to end at once");
	}
	atomic_store(&p->stop, true);
	mt_notify("STOPPING=1");
	if (running)
		interrupt_outputs(p, false);
}

/* The hook thread waits for a disk, a command or a file, and would print the statistics when that is over. */
static void print_stats_instead(struct mt_program *p)
{
	char kept[32], lost_text[32];
	uint64_t lost, kernel, deleted;
	if (atomic_load(&p->phase) != MT_PROGRAM_RUNNING || !mt_run_stats_wanted(p->run))
		return;
	for (uint32_t g = 0; g < mt_ifaces_groups(p->ifaces); g++) {
		mt_flow_drops(p->flow, g, &lost, &kernel);
		if (kernel == UINT64_MAX)
			kernel = 0;
		if (lost || kernel)
			mt_log_info(
			        0, "%s: %s dropped, %llu dropped_kernel", mt_ifaces_group_name(p->ifaces, g),
			        mt_format_count(lost, lost_text, sizeof lost_text), (unsigned long long)kernel);
	}
	struct mt_counts seen = mt_counts_progress(mt_flow_counts(p->flow));
	mt_log_info(0, "total: %s kept, %s dropped, up to where an output or script holds everything up%s",
	            mt_format_count(seen.kept, kept, sizeof kept),
	            mt_format_count(seen.dropped, lost_text, sizeof lost_text),
	            mt_flow_waits_for_space(p->flow, &deleted) ? ": it waits for space" : "");
}

/* A thread of its own, so that a signal counts whatever the others are stuck in. */
static void *signal_main(void *arg)
{
	const struct timespec patience = {STATS_MS / 1000, STATS_MS % 1000 * 1000000L};
	struct mt_program *p = arg;
	bool asked = false; /* for statistics, just now */
	while (!atomic_load(&p->done)) {
		int number = sigtimedwait(&p->signals, NULL, asked ? &patience : NULL);
		if (number < 0 && errno == EAGAIN)
			print_stats_instead(p);
		asked = number == SIGUSR1;
		if (number > 0 && number != WAKE_SIGNAL && !atomic_load(&p->done))
			on_signal(p, number);
	}
	return NULL;
}

int mt_program_start_signals(struct mt_program *p)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is a write that fails */
	sigemptyset(&p->signals);
	sigaddset(&p->signals, SIGINT);
	sigaddset(&p->signals, SIGTERM);
	sigaddset(&p->signals, SIGHUP);
	sigaddset(&p->signals, SIGUSR1);
	sigaddset(&p->signals, WAKE_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &p->signals, NULL);
	p->signal_thread_runs = !pthread_create(&p->signal_thread, NULL, signal_main, p);
	if (!p->signal_thread_runs)
		mt_log_error("the thread for signals could not be started");
	return p->signal_thread_runs ? 0 : -1;
}

void mt_program_end_signals(struct mt_program *p)
{
	if (!p->signal_thread_runs)
		return;
	atomic_store(&p->done, true);
	pthread_kill(p->signal_thread, WAKE_SIGNAL);
	pthread_join(p->signal_thread, NULL);
}
