/* SPDX-License-Identifier: BSD-2-Clause */
#include <sys/eventfd.h>
#include <unistd.h>

#include "attach.h"
#include "log.h"
#include "program.h"
#include "prompt.h"
#include "pull.h"
#include "report.h"
#include "script_prompt.h"
#include "stepper.h"

int mt_program_start_scripts(struct mt_program *p)
{
	json_t *sources = mt_report_sources(p->flow, p->ifaces);
	int r = mt_flow_start(p->flow, sources);
	json_decref(sources);
	return r;
}

static json_t *prompt_report(void *ctx)
{
	const struct mt_program *p = ctx;
	return json_pack("{s:o, s:o}", "totals", mt_report_totals(p->flow, p->ifaces), "sources",
	                 mt_report_sources(p->flow, p->ifaces));
}

static bool prompt_interrupted(void *ctx)
{
	struct mt_program *p = ctx;
	return atomic_exchange(&p->interrupted, false);
}

static int prompt_session(struct mt_program *p, struct mt_stepper *stepper)
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

int mt_program_prompt(struct mt_program *p)
{
	struct mt_err err;
	int status = mt_program_start_scripts(p);
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
	atomic_store(&p->phase, MT_PROGRAM_PROMPT);
	status = prompt_session(p, stepper);
	atomic_store(&p->phase, MT_PROGRAM_ENDING);
	mt_stepper_free(stepper);
	return status;
}

int mt_program_attach(struct mt_program *p)
{
	p->prompt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->prompt_fd < 0) {
		mt_log_error("no descriptor is left");
		return MT_STATUS_USAGE;
	}
	if (mt_program_start_signals(p))
		return MT_STATUS_USAGE;
	atomic_store(&p->phase, MT_PROGRAM_PROMPT);
	int status = mt_attach(p->options.attach, p->options.quiet, p->prompt_fd, &p->interrupted, &p->stop);
	atomic_store(&p->phase, MT_PROGRAM_ENDING);
	mt_program_end_signals(p);
	return status;
}
