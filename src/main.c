/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c - from the command line to the exit status.
 *
 * Order matters: scripts are loaded first (their mistakes cost nothing), then sources are
 * opened, privileges given up, outputs opened, hooks started.  The main thread then only
 * shows progress; a thread of its own waits for signals: program.h.
 */
#include <errno.h>
#include <libgen.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linktype.h"
#include "log.h"
#include "notify.h"
#include "part.h"
#include "privileges.h"
#include "program.h"
#include "report.h"
#include "sandbox.h"
#include "script.h"
#include "seed.h"
#include "units.h"

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

static int load_scripts(struct mt_program *p)
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
static int settle_output(struct mt_program *p, struct mt_output_config *c)
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
	c->anonymous = p->script && mt_script_is_private(p->script);
	c->other_times = p->script && mt_script_moves_times(p->script);
	if (c->other_times && strchr(p->run_id, '-')) { /* it would tell when the run was */
		uint64_t random;
		mt_seed_draw(&random, 1);
		snprintf(p->run_id, sizeof p->run_id, "%016llx", (unsigned long long)random);
	}
	c->segment.run_id = p->run_id;
	return 0;
}

static struct mt_output *open_output(struct mt_program *p, struct mt_output_config *c)
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

static int open_outputs(struct mt_program *p)
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
/* --- the end ----------------------------------------------------------------------------- */

/* 3 before 4 before 2. */
static int exit_status(struct mt_program *p, const json_t *totals)
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
static void warn_of_losses(const struct mt_program *p, const json_t *totals)
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

static int finish(struct mt_program *p)
{
	mt_run_join(p->run);
	if (p->control)
		mt_control_stop(p->control);
	atomic_store(&p->phase, MT_PROGRAM_ENDING);
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
static int run(struct mt_program *p)
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
		return mt_program_prompt(p);
	mt_run_set_metrics(p->run, p->metrics);
	if (p->options.profile) {
		mt_run_profile(p->run, &p->profile, p->hooks);
		mt_flow_set_clock(p->flow, &p->profile.hooks);
	}
	if (open_outputs(p))
		return MT_STATUS_USAGE;
	int started = p->script ? mt_program_start_scripts(p) : MT_STATUS_OK;
	if (started)
		return started;
	mt_run_set_control(p->run, p->control);
	if ((p->control && mt_control_answer(p->control, p->run, p->flow, p->ifaces, p->run_id, &err)) ||
	    mt_run_start(p->run, p->flow, &err)) {
		mt_log_error("%s", err.text);
		return MT_STATUS_OUTPUT;
	}
	atomic_store(&p->phase, MT_PROGRAM_RUNNING);
	mt_program_supervise(p);
	return finish(p);
}

static int clean_up(struct mt_program *p, int status)
{
	mt_control_free(p->control);
	if (mt_hooks_lost(p->hooks)) { /* it may use anything that would be freed, and hold up exit() */
		mt_program_flush(stdout);
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

static int command(struct mt_program *p)
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
		return mt_program_attach(p);
	default:
		r = mt_script_list_recipes(&err);
	}
	if (r)
		mt_log_error("%s", err.text);
	return r ? MT_STATUS_USAGE : MT_STATUS_OK;
}

int main(int argc, char **argv)
{
	struct mt_program p = {
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
			mt_program_print_json(&p, NULL, false, &(int){MT_STATUS_USAGE});
		mt_ifaces_free(p.ifaces);
		return MT_STATUS_USAGE;
	}
	mt_log_set_verbosity(p.options.verbosity);
	if (p.options.any_live)
		mt_log_set_patience(MT_BLOCKED_MS);
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
	else if (!mt_program_start_signals(&p))
		status = run(&p);
	if (p.options.json && p.sources_tried)
		mt_program_print_json(&p, p.hooks, false, &status);
	mt_program_end_signals(&p);
	return clean_up(&p, status);
}
