/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"
#include "report.h"

/* stdio is the scripts' too.  While one is stuck, perhaps in a print, what is left to say goes past it, and
 * waits only as long as somebody reads. */
static void write_patiently(int fd, const char *text)
{
	struct pollfd out = {.fd = fd, .events = POLLOUT};
	for (size_t left = strlen(text); left && poll(&out, 1, MT_BLOCKED_MS) > 0;) {
		ssize_t n = write(fd, text, left < PIPE_BUF ? left : PIPE_BUF);
		if (n <= 0)
			break;
		text += n;
		left -= (size_t)n;
	}
}

/* What was printed before is still in the buffer. */
void mt_program_flush(FILE *file)
{
	struct pollfd out = {.fd = fileno(file), .events = POLLOUT};
	if (ftrylockfile(file))
		return;
	if (poll(&out, 1, MT_BLOCKED_MS) > 0)
		fflush(file);
	funlockfile(file);
}

/* The exit status once scripts were asked for results, in which they may have failed. */
static int with_results(const struct mt_program *p, int status)
{
	bool failed = mt_script_failed(p->script) || mt_hooks_any_lost(p->hooks);
	return failed && (status == MT_STATUS_OK || status == MT_STATUS_SOURCE) ? MT_STATUS_SCRIPT : status;
}

/* hooks: NULL if there are none, or if the scripts may not be asked for results.  stuck: a script may hold
 * standard output.  *status: as far as it was known without the results. */
static void print_object(struct mt_program *p, struct mt_hooks *hooks, bool stuck, int *status)
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
		mt_program_flush(out);
		write_patiently(fileno(out), text);
		write_patiently(fileno(out), "\n");
	} else if (text) {
		fprintf(out, "%s\n", text);
		fflush(out);
	}
	free(text);
}

/* Once: after a second interrupt two threads may come to it. */
void mt_program_print_json(struct mt_program *p, struct mt_hooks *hooks, bool stuck, int *status)
{
	pthread_mutex_lock(&p->printing);
	if (!p->printed)
		print_object(p, hooks, stuck, status);
	p->printed = true;
	pthread_mutex_unlock(&p->printing);
}
