/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c - from the command line to the exit status.
 *
 * Order matters: scripts are loaded first (their mistakes cost nothing), then sources are
 * opened, privileges given up, outputs opened, hooks started.  The main thread then only
 * shows progress; a thread of its own waits for signals.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "beat.h"
#include "control.h"
#include "flow.h"
#include "hooks.h"
#include "linktype.h"
#include "log.h"
#include "metrics.h"
#include "notify.h"
#include "options.h"
#include "part.h"
#include "pipeline.h"
#include "privileges.h"
#include "profile.h"
#include "progress.h"
#include "prompt.h"
#include "pull.h"
#include "report.h"
#include "sandbox.h"
#include "script.h"
#include "script_prompt.h"
#include "stepper.h"
#include "units.h"

enum {
	STATUS_MS = 5000,      /* the service manager's status line */
	PROGRESS_MS = 250,     /* how often the progress line is renewed */
	STATS_MS = 500,        /* how long the hook thread may take for statistics */
	BLOCKED_MS = 500,      /* how long to wait for a reader of what a stuck script may hold up */
	ABANDON_MS = 2000,     /* after a second signal: how long a script may take to let go */
	WAKE_SIGNAL = SIGUSR2, /* ends the wait of the signal thread */
	SAME_SIGNAL_MS = 250   /* timeout(1) signals a process and its group: that is one signal, not two */
};

struct program {
	struct mt_metrics *metrics; /* or NULL */
	struct mt_control *control; /* or NULL */
	struct mt_options options;
	struct mt_ifaces *ifaces;
	struct mt_script *script;
	struct mt_hooks *hooks; /* NULL without scripts */
	struct mt_run *run;
	struct mt_flow *flow;
	bool sources_tried;
	char run_id[32];
	int64_t started_ms;
	struct mt_profile profile; /* filled in with --profile */
	pthread_t signal_thread;
	sigset_t signals;
	pthread_mutex_t printing;
	bool printed; /* the object of --json; under printing */
	bool signal_thread_runs;
	atomic_int phase;        /* enum phase */
	atomic_bool stop;        /* told to end; sources look at it */
	atomic_bool interrupted; /* prompt: Ctrl-C, not answered yet */
	int prompt_fd;           /* … which wakes the prompt; -1: there is none */
	atomic_bool done;        /* the signal thread has nothing more to wait for */
	int64_t interrupted_ms;  /* signal thread: when the first SIGINT or SIGTERM came; 0: none yet */
};

/* What the main thread is about, for the signal thread. */
enum phase { PHASE_OPENING, PHASE_RUNNING, PHASE_PROMPT, PHASE_ENDING };

/* --- preparations ------------------------------------------------------------------------ */

static int version(void)
{
	const char *pcap = pcap_lib_version(), *words = strstr(pcap, "version ");
	printf("moontap %s\n%s\nlibpcap %s\nlibtrace %s\n", MT_VERSION, mt_script_version(),
	       words ? words + strlen("version ") : pcap, mt_trace_version());
	return 0;
}

/* One file a source may be open at a time, and thousands overlap at worst. */
static void raise_file_limit(void)
{
	struct rlimit limit;
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int load_scripts(struct program *p)
{
	const struct mt_options *o = &p->options;
	bool needs_result = !o->n_scripts && !o->has_output && !o->print && !o->repl;
	const char *extra = needs_result ? "summary" : NULL;
	struct mt_err err;
	if (!extra && !o->n_scripts && !o->repl)
		return 1;
	p->script = mt_script_new(o, p->ifaces, &err);
	if (p->script)
		mt_script_set_outputs(p->script, &p->options);
	if (p->script && o->profile)
		mt_script_set_clock(p->script, &p->profile.hooks);
	int r = p->script ? mt_script_load(p->script, extra, &err) : -1;
	if (r < 0)
		mt_log_error("%s", err.text);
	return r;
}

/* --- outputs ----------------------------------------------------------------------------- */

static int refuse_mixed(const struct mt_output_config *c, const struct mt_link_summary *links)
{
	char first[64];
	snprintf(first, sizeof first, "%s", mt_linktype_description(links->linktype[0]));
	mt_log_error("%s: one pcap file holds one link type, but %s has %s and %s has %s; write pcapng instead "
	             "(--format pcapng, or a name ending in .pcapng)",
	             c->path, links->source[0], first, links->source[1],
	             mt_linktype_description(links->linktype[1]));
	return -1;
}

/* Fill in what follows from the sources. */
static int settle_output(struct program *p, struct mt_output_config *c)
{
	struct mt_link_summary links = mt_run_links(p->run);
	if (c->format == MT_FORMAT_AUTO)
		c->format = links.n > 1 || p->options.live_interfaces > 1 ? MT_FORMAT_PCAPNG : MT_FORMAT_PCAP;
	if (c->format == MT_FORMAT_PCAP && links.n > 1 && !c->split_files)
		return refuse_mixed(c, &links);
	if (!p->options.as_mtracecap) {
		bool sure;
		c->microseconds = mt_run_microseconds(p->run, &sure);
		c->refuse_finer = c->microseconds && !sure;
	}
	/* each file of a split output may have another */
	c->linktype = links.n && !c->split_files ? links.linktype[0] : 0xffff;
	c->segment.live = p->options.any_live;
	c->segment.run_id = p->run_id;
	return 0;
}

static struct mt_output *open_output(struct program *p, struct mt_output_config *c)
{
	struct mt_err err;
	if (settle_output(p, c))
		return NULL;
	struct mt_output *o = mt_output_open(c, p->ifaces, mt_flow_output_hooks(p->flow),
	                                     mt_flow_run_counters(p->flow), &err);
	if (!o)
		mt_log_error("%s", err.text);
	return o;
}

static int open_outputs(struct program *p)
{
	if (p->options.has_output) {
		struct mt_output *o = open_output(p, &p->options.output);
		if (!o)
			return -1;
		if (mt_flow_set_default(p->flow, o))
			return -1;
	}
	for (unsigned i = 0; i < p->options.n_named; i++) {
		struct mt_output *o = open_output(p, &p->options.named[i].output);
		if (!o)
			return -1;
		if (mt_flow_add_named(p->flow, o))
			return -1;
	}
	return 0;
}

/* --- while it runs ----------------------------------------------------------------------- */

/* Does an output wait for space?  *deleted: segments that went for it. */
static bool waits_for_space(const struct program *p, uint64_t *deleted)
{
	bool waits = false;
	*deleted = 0;
	for (unsigned v = 0; v < mt_flow_outputs(p->flow); v++) {
		const struct mt_output *o = mt_flow_output(p->flow, v);
		const struct mt_space *space = o ? mt_output_space(o) : NULL;
		if (!space)
			continue;
		waits = waits || atomic_load(&space->waiting_since_ms);
		*deleted += atomic_load(&space->deleted);
	}
	return waits;
}

static void show_progress(struct program *p, struct mt_progress *progress)
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
	progress->full = waits_for_space(p, &progress->deleted);
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
static int tell_alive(struct program *p, struct alive *a)
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
	          waits_for_space(p, &deleted) ? ", waiting for space" : "", moved ? "" : ", stuck",
	          moved && a->every_ms ? "\nWATCHDOG=1" : "");
	return (int)every_ms;
}

/* Wait for the end of the hook thread. */
static void supervise(struct program *p)
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

/* --- signals ----------------------------------------------------------------------------- */

/* stdio is the scripts' too.  While one is stuck, perhaps in a print, what is left to say goes past it, and
 * waits only as long as somebody reads. */
static void write_patiently(int fd, const char *text)
{
	struct pollfd out = {.fd = fd, .events = POLLOUT};
	for (size_t left = strlen(text); left && poll(&out, 1, BLOCKED_MS) > 0;) {
		ssize_t n = write(fd, text, left < PIPE_BUF ? left : PIPE_BUF);
		if (n <= 0)
			break;
		text += n;
		left -= (size_t)n;
	}
}

/* What was printed before is still in the buffer. */
static void flush_patiently(FILE *file)
{
	struct pollfd out = {.fd = fileno(file), .events = POLLOUT};
	if (ftrylockfile(file))
		return;
	if (poll(&out, 1, BLOCKED_MS) > 0)
		fflush(file);
	funlockfile(file);
}

/* The exit status once scripts were asked for results, in which they may have failed. */
static int with_results(const struct program *p, int status)
{
	bool failed = mt_script_failed(p->script) || mt_hooks_any_lost(p->hooks);
	return failed && (status == MT_STATUS_OK || status == MT_STATUS_SOURCE) ? MT_STATUS_SCRIPT : status;
}

/* hooks: NULL if there are none, or if the scripts may not be asked for results.  stuck: a script may hold
 * standard output.  *status: as far as it was known without the results. */
static void print_object(struct program *p, struct mt_hooks *hooks, bool stuck, int *status)
{
	FILE *out = mt_options_packets_on_stdout(&p->options) ? stderr : stdout;
	json_t *results = hooks ? mt_hooks_results(hooks) : NULL;
	if (hooks)
		*status = with_results(p, *status);
	json_t *o = mt_report_all(p->flow, p->ifaces, results, *status);
	if (p->options.profile)
		json_object_set_new(o, "profile", mt_profile_json(&p->profile, hooks));
	char *text = json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	if (text && (stuck || mt_hooks_lost(hooks))) {
		flush_patiently(out);
		write_patiently(fileno(out), text);
		write_patiently(fileno(out), "\n");
	} else if (text) {
		fprintf(out, "%s\n", text);
		fflush(out);
	}
	free(text);
}

/* Once: after a second interrupt two threads may come to it. */
static void print_json(struct program *p, struct mt_hooks *hooks, bool stuck, int *status)
{
	pthread_mutex_lock(&p->printing);
	if (!p->printed)
		print_object(p, hooks, stuck, status);
	p->printed = true;
	pthread_mutex_unlock(&p->printing);
}

static void interrupt_outputs(struct program *p, bool at_once)
{
	for (unsigned v = 0; v < mt_flow_outputs(p->flow); v++)
		if (mt_flow_output(p->flow, v))
			mt_output_interrupt(mt_flow_output(p->flow, v), at_once);
}

/* A second SIGINT or SIGTERM: finish the outputs and end, even if a script never comes back. */
static _Noreturn void end_at_once(struct program *p)
{
	bool finished = false;
	mt_log_progress(NULL);
	if (p->run)
		mt_run_abort(p->run);
	if (p->flow && atomic_load(&p->phase) != PHASE_OPENING)
		interrupt_outputs(p, true);
	for (int waited = 0; p->flow && waited < ABANDON_MS && !finished; waited += 50) {
		struct pollfd done = {.fd = mt_run_done_fd(p->run), .events = POLLIN};
		finished = mt_flow_abandon(p->flow) || (poll(&done, 1, 50) > 0 && mt_run_done(p->run));
	}
	mt_log_error("interrupted a second time: %s",
	             finished ? "ended, the outputs are complete up to here" : "ended at once");
	if (finished && p->options.json)
		print_json(p, NULL, true, &(int){MT_STATUS_INTERRUPTED});
	_exit(MT_STATUS_INTERRUPTED);
}

/* Ctrl-C ends what runs at the prompt, or the line that is edited; what does not answer is ended with the
 * program by another one.  Other signals end the session. */
static void on_prompt_signal(struct program *p, int number)
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

static void on_signal(struct program *p, int number)
{
	const struct mt_options *o = &p->options;
	if (atomic_load(&p->phase) == PHASE_PROMPT) {
		on_prompt_signal(p, number);
		return;
	}
	bool running = atomic_load(&p->phase) == PHASE_RUNNING;
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
static void print_stats_instead(struct program *p)
{
	char kept[32], lost_text[32];
	uint64_t lost, kernel, deleted;
	if (atomic_load(&p->phase) != PHASE_RUNNING || !mt_run_stats_wanted(p->run))
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
	            waits_for_space(p, &deleted) ? ": it waits for space" : "");
}

/* A thread of its own, so that a signal counts whatever the others are stuck in. */
static void *signal_main(void *arg)
{
	const struct timespec patience = {STATS_MS / 1000, STATS_MS % 1000 * 1000000L};
	struct program *p = arg;
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

static int start_signal_thread(struct program *p)
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

static void end_signal_thread(struct program *p)
{
	if (!p->signal_thread_runs)
		return;
	atomic_store(&p->done, true);
	pthread_kill(p->signal_thread, WAKE_SIGNAL);
	pthread_join(p->signal_thread, NULL);
}

/* --- the end ----------------------------------------------------------------------------- */

/* 3 before 4 before 2. */
static int exit_status(struct program *p, const json_t *totals)
{
	int status = mt_flow_status(p->flow);
	for (unsigned v = 0; v < mt_flow_outputs(p->flow); v++)
		if (mt_flow_output(p->flow, v) && mt_output_failed(mt_flow_output(p->flow, v)))
			status = MT_STATUS_OUTPUT;
	if (status == MT_STATUS_OUTPUT)
		return status;
	if (status || (p->script && (mt_script_failed(p->script) || mt_hooks_any_lost(p->hooks))))
		return MT_STATUS_SCRIPT;
	if (mt_run_source_failed(p->run) || (p->options.strict && mt_report_lossy(totals)))
		return MT_STATUS_SOURCE;
	return MT_STATUS_OK;
}

static void add_duration(json_t *totals)
{
	const char *first = json_string_value(json_object_get(totals, "first_ts"));
	const char *last = json_string_value(json_object_get(totals, "last_ts"));
	if (!first || !last)
		return;
	json_object_set_new(totals, "first_ns", json_real(strtod(first, NULL) * 1e9));
	json_object_set_new(totals, "last_ns", json_real(strtod(last, NULL) * 1e9));
	json_object_set_new(totals, "duration", json_real(strtod(last, NULL) - strtod(first, NULL)));
}

/* Lost packets are never silent, whatever the verbosity. */
static void warn_of_losses(const struct program *p, const json_t *totals)
{
	json_int_t dropped = json_integer_value(json_object_get(totals, "dropped"));
	json_int_t kernel = json_integer_value(json_object_get(totals, "dropped_kernel"));
	json_int_t bypassed = json_integer_value(json_object_get(totals, "script_bypassed"));
	if (dropped)
		mt_log_warn("%lld packets were dropped", (long long)dropped);
	if (kernel && p->options.any_live)
		mt_log_warn("%lld packets were lost by the kernel", (long long)kernel);
	if (bypassed)
		mt_log_warn("%lld packets were kept without their script (script_bypassed)",
		            (long long)bypassed);
}

static int finish(struct program *p)
{
	mt_run_join(p->run);
	if (p->control)
		mt_control_stop(p->control);
	atomic_store(&p->phase, PHASE_ENDING);
	json_t *totals = mt_report_totals(p->flow, p->ifaces);
	json_t *sources = mt_report_sources(p->flow, p->ifaces);
	if (p->script) {
		add_duration(totals);
		mt_flow_stop(p->flow, totals, sources);
	}
	warn_of_losses(p, totals);
	if (p->options.verbosity)
		mt_report_print(p->flow, p->ifaces);
	if (p->options.profile)
		mt_profile_report(&p->profile, p->hooks);
	int status = exit_status(p, totals);
	json_decref(totals);
	json_decref(sources);
	return status;
}

static void print_buffers(const struct mt_options *o)
{
	char buffer[32], kernel[32];
	if (o->pre_ns)
		mt_log_info(0,
		            "flight recorder: the last %g s in at most %s of memory; nothing is written before "
		            "a trigger",
		            (double)o->pre_ns / 1e9, mt_format_size(o->pre_bytes, buffer, sizeof buffer));
	if (o->any_live)
		mt_log_info(1, "buffer %s in all, %s in the kernel for each interface",
		            mt_format_size(o->buffer_bytes, buffer, sizeof buffer),
		            mt_format_size(o->kernel_buffer, kernel, sizeof kernel));
}

static int make_folders(const char *path, const char *user, struct mt_err *err)
{
	mt_privileges_make_as(user);
	int rc = mt_make_folders(path, err);
	mt_privileges_make_as(NULL);
	return rc;
}

/* --sandbox: the folders of outputs are there from now on, and writable; nothing else is. */
static int enter_sandbox(const struct mt_options *o, struct mt_err *err)
{
	const char *paths[1 + MT_VERDICT_LAST_OUTPUT];
	char *copies[1 + MT_VERDICT_LAST_OUTPUT] = {NULL};
	unsigned n = 0;
	int rc = 0;
	for (unsigned i = 0; i <= o->n_named && !rc; i++) {
		const struct mt_output_config *c = i ? &o->named[i - 1].output : &o->output;
		struct stat st;
		if (!c->path || strcmp(c->path, "-") == 0)
			continue;
		copies[n] = strdup(c->path);
		paths[n] = c->path;
		if (!copies[n])
			rc = mt_err_set(err, "out of memory");
		else if (c->segmented)
			rc = make_folders(c->path, o->user, err);
		else if (stat(c->path, &st) || S_ISREG(st.st_mode))
			paths[n] = dirname(copies[n]);
		n++;
	}
	if (!rc)
		rc = mt_sandbox_enter(paths, n, err);
	while (n)
		free(copies[--n]);
	return rc;
}

/* --- the prompt -------------------------------------------------------------------------- */

static int start_scripts(struct program *p)
{
	json_t *sources = mt_report_sources(p->flow, p->ifaces);
	int r = mt_flow_start(p->flow, sources);
	json_decref(sources);
	return r;
}

static json_t *prompt_report(void *ctx)
{
	const struct program *p = ctx;
	return json_pack("{s:o, s:o}", "totals", mt_report_totals(p->flow, p->ifaces), "sources",
	                 mt_report_sources(p->flow, p->ifaces));
}

static bool prompt_interrupted(void *ctx)
{
	struct program *p = ctx;
	return atomic_exchange(&p->interrupted, false);
}

static int prompt_session(struct program *p, struct mt_stepper *stepper)
{
	bool colours = mt_prompt_colours(STDOUT_FILENO);
	struct mt_script_prompt lua = {.script = p->script,
	                               .stepper = stepper,
	                               .report = prompt_report,
	                               .interrupted = prompt_interrupted,
	                               .ctx = p,
	                               .clock = &p->profile.hooks,
	                               .live = p->options.any_live,
	                               .colours = colours};
	struct mt_prompt prompt = {
	        .calls = {.run = mt_script_prompt_line, .complete = mt_script_prompt_complete, .ctx = &lua},
	        .name = "moontap> ",
	        .wake_fd = p->prompt_fd,
	        .interrupted = &p->interrupted,
	        .stop = &p->stop,
	        .colours = colours};
	if (mt_script_prompt_begin(&lua))
		return MT_STATUS_SCRIPT;
	if (mt_prompt_interactive() && !p->options.quiet)
		printf("moontap %s; help() says what there is, Ctrl-D ends\n", MT_VERSION);
	unsigned failed = mt_prompt_session(&prompt);
	if (failed && !mt_prompt_interactive())
		return MT_STATUS_SCRIPT;
	return mt_run_source_failed(p->run) ? MT_STATUS_SOURCE : MT_STATUS_OK;
}

static int run_prompt(struct program *p)
{
	struct mt_err err;
	int status = start_scripts(p);
	if (status)
		return status;
	struct mt_stepper *stepper =
	        mt_stepper_new(mt_pull_supply(p->run), p->ifaces, &p->options, mt_flow_counts(p->flow), &err);
	p->prompt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!stepper || p->prompt_fd < 0) {
		mt_log_error("%s", stepper ? "no descriptor is left" : err.text);
		mt_stepper_free(stepper);
		return MT_STATUS_USAGE;
	}
	atomic_store(&p->phase, PHASE_PROMPT);
	status = prompt_session(p, stepper);
	atomic_store(&p->phase, PHASE_ENDING);
	mt_stepper_free(stepper);
	return status;
}

/* --attach: somebody else's capture. */
static int run_attached(struct program *p)
{
	p->prompt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->prompt_fd < 0) {
		mt_log_error("no descriptor is left");
		return MT_STATUS_USAGE;
	}
	if (start_signal_thread(p))
		return MT_STATUS_USAGE;
	atomic_store(&p->phase, PHASE_PROMPT);
	int status = mt_attach(p->options.attach, p->options.quiet, p->prompt_fd, &p->interrupted, &p->stop);
	atomic_store(&p->phase, PHASE_ENDING);
	end_signal_thread(p);
	return status;
}

static int run(struct program *p)
{
	struct mt_err err;
	int loaded = load_scripts(p);
	if (loaded <= 0)
		return loaded ? MT_STATUS_USAGE : MT_STATUS_OK;
	print_buffers(&p->options);
	p->sources_tried = true;
	p->run = mt_run_open(&p->options, p->ifaces, &p->stop);
	if (!p->run)
		return atomic_load(&p->stop) ? MT_STATUS_OK : MT_STATUS_USAGE;
	if (p->options.metrics && !(p->metrics = mt_metrics_start(p->options.metrics, &err))) {
		mt_log_error("%s", err.text);
		return MT_STATUS_USAGE;
	}
	if (p->options.user && mt_privileges_drop(p->options.user, &err)) {
		mt_log_error("%s", err.text);
		return MT_STATUS_USAGE;
	}
	if (p->script)
		p->hooks = mt_hooks_new(p->script, p->ifaces, p->options.script_timeout_ms, &p->stop);
	if (!p->script || p->hooks)
		p->flow = mt_flow_new(&p->options, p->ifaces, p->script, p->hooks);
	if (!p->flow) {
		mt_log_error("out of memory");
		return MT_STATUS_USAGE;
	}
	mt_flow_set_drops(p->flow, mt_run_drops, p->run);
	if (p->options.repl)
		return run_prompt(p);
	mt_run_set_metrics(p->run, p->metrics);
	if (p->options.profile) {
		mt_run_profile(p->run, &p->profile, p->hooks);
		mt_flow_set_clock(p->flow, &p->profile.hooks);
	}
	if (open_outputs(p))
		return MT_STATUS_USAGE;
	int started = p->script ? start_scripts(p) : MT_STATUS_OK;
	if (started)
		return started;
	mt_run_set_control(p->run, p->control);
	if ((p->control && mt_control_answer(p->control, p->run, p->flow, p->ifaces, p->run_id, &err)) ||
	    mt_run_start(p->run, p->flow, &err)) {
		mt_log_error("%s", err.text);
		return MT_STATUS_OUTPUT;
	}
	atomic_store(&p->phase, PHASE_RUNNING);
	supervise(p);
	return finish(p);
}

static int clean_up(struct program *p, int status)
{
	mt_control_free(p->control);
	if (mt_hooks_lost(p->hooks)) { /* it may use anything that would be freed, and hold up exit() */
		flush_patiently(stdout);
		_exit(status);
	}
	mt_metrics_stop(p->metrics);
	mt_hooks_free(p->hooks);
	mt_script_free(p->script); /* finalizers of scripts may look at packets and segments still */
	mt_flow_free(p->flow);
	mt_run_free(p->run);
	mt_ifaces_free(p->ifaces);
	mt_options_clear(&p->options);
	/* What a script printed must have arrived. */
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	mt_log_error("can not write standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
	return status == MT_STATUS_USAGE ? status : MT_STATUS_OUTPUT;
}

static int command(struct program *p)
{
	struct mt_err err;
	int r;
	switch (p->options.command) {
	case MT_COMMAND_HELP:
		r = mt_help_print(p->options.topic, &err);
		break;
	case MT_COMMAND_VERSION:
		return version();
	case MT_COMMAND_INTERFACES:
		r = mt_source_list_interfaces(stdout, &err);
		break;
	case MT_COMMAND_FORMATS:
		mt_source_list_formats(stdout);
		return 0;
	case MT_COMMAND_RECOVER:
		return mt_recover(p->options.recover_dir);
	case MT_COMMAND_ATTACH:
		return run_attached(p);
	default:
		r = mt_script_list_recipes(&err);
	}
	if (r)
		mt_log_error("%s", err.text);
	return r ? MT_STATUS_USAGE : MT_STATUS_OK;
}

int main(int argc, char **argv)
{
	struct program p = {
	        .started_ms = mt_monotonic_ms(), .prompt_fd = -1, .printing = PTHREAD_MUTEX_INITIALIZER};
	struct mt_err err;
	tzset();
	p.ifaces = mt_ifaces_new();
	if (!p.ifaces) {
		mt_log_error("out of memory");
		return MT_STATUS_USAGE;
	}
	if (mt_options_parse(&p.options, argc, argv, &err)) {
		mt_log_error("%s", err.text);
		if (p.options.json && p.options.source_failed)
			print_json(&p, NULL, false, &(int){MT_STATUS_USAGE});
		mt_ifaces_free(p.ifaces);
		return MT_STATUS_USAGE;
	}
	mt_log_set_verbosity(p.options.verbosity);
	if (p.options.any_live)
		mt_log_set_patience(BLOCKED_MS);
	if (p.options.command != MT_COMMAND_RUN)
		return clean_up(&p, command(&p));
	int64_t now_ns = mt_wall_ns();
	snprintf(p.run_id, sizeof p.run_id, "%lld-%d", (long long)(now_ns / 1000000), (int)getpid());
	raise_file_limit();
	mt_notify_open();
	int status = MT_STATUS_USAGE;
	const char *control = p.options.control;
	if ((control && !(p.control = mt_control_listen(control, p.options.user, &err))) ||
	    (p.options.sandbox && enter_sandbox(&p.options, &err)) ||
	    (p.options.user && mt_privileges_gain_none(&err)) ||
	    (control && mt_control_start(p.control, &p.options, &err)))
		mt_log_error("%s", err.text);
	else if (!start_signal_thread(&p))
		status = run(&p);
	if (p.options.json && p.sources_tried)
		print_json(&p, p.hooks, false, &status);
	end_signal_thread(&p);
	return clean_up(&p, status);
}
