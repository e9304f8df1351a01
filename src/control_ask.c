/* SPDX-License-Identifier: BSD-2-Clause */
#include "control_ask.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "chunk.h"
#include "log.h"
#include "manifest.h"
#include "publish.h"
#include "run.h"
#include "units.h"

enum {
	REPORT_MS = 1000, /* how long the hook thread may take for fresh numbers */
	FRESH_MS = 50,    /* numbers that young are taken again */
	FILTER_MS = 1000, /* how long the sources may take for another filter */
	ROTATE_TRIES = 3, /* each takes REPORT_MS at most */
	MOST_POST_S = 86400,
	TEXT_SHOWN = 512 /* bytes of a client's text in a message */
};

static json_t *fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static json_t *fail(const char *format, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	return json_pack("{s:o}", "error", mt_json_text(text));
}

static json_t *value(json_t *v)
{
	return json_pack("{s:o}", "value", v);
}

/* --- numbers ------------------------------------------------------------------------------------------- */

/* Under the lock: wait for numbers that are fresh, but not for ever. */
static void wait_for_report(struct mt_control_run *c)
{
	struct timespec until;
	if (c->report && mt_monotonic_ms() - c->reported_ms < FRESH_MS)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += REPORT_MS / 1000;
	atomic_store(&c->wanted, true);
	while (atomic_load(&c->wanted) && !mt_run_done(c->run))
		if (pthread_cond_timedwait(&c->updated, &c->lock, &until))
			break;
}

static json_t *report(struct mt_control_run *c)
{
	pthread_mutex_lock(&c->lock);
	wait_for_report(c);
	json_t *o = c->report ? json_deep_copy(c->report) : NULL;
	double age_s = (double)(mt_monotonic_ms() - c->reported_ms) / 1e3;
	pthread_mutex_unlock(&c->lock);
	if (!o)
		return fail("there are no numbers yet: an output or a script holds the run up");
	json_object_set_new(o, "run", mt_json_text(c->run_id));
	json_object_set_new(o, "age_s", json_real(age_s));
	json_object_set_new(o, "elapsed_s", json_real((double)(mt_monotonic_ms() - c->began_ms) / 1e3));
	return value(o);
}

static json_t *queues(struct mt_control_run *c)
{
	uint64_t deleted;
	bool waits = mt_flow_waits_for_space(c->flow, &deleted);
	size_t used, budget;
	mt_chunks_usage(c->run->chunks, &used, &budget);
	return value(json_pack("{s:i, s:i, s:I, s:I, s:b, s:b}", "batches",
	                       (int)mt_queue_waiting(c->run->queue), "batches_most",
	                       (int)mt_queue_capacity(c->run->queue), "buffer_bytes", (json_int_t)used,
	                       "buffer_bytes_most", (json_int_t)budget, "waits_for_space", waits, "read_all",
	                       mt_run_read_all(c->run)));
}

static json_t *sample(struct mt_control_run *c)
{
	uint64_t seen, taken;
	mt_tap_counts(c->tap, &seen, &taken);
	return value(json_pack("{s:I, s:I, s:i}", "seen", (json_int_t)seen, "taken", (json_int_t)taken,
	                       "most_per_second", MT_TAP_RATE));
}

static json_t *text_or_null(const char *text)
{
	return text ? mt_json_text(text) : json_null();
}

static json_t *interfaces(struct mt_control_run *c)
{
	json_t *list = json_array();
	uint32_t n = mt_ifaces_count(c->ifaces);
	for (uint32_t i = 0; i < n; i++) {
		const struct mt_iface *iface = mt_ifaces_get(c->ifaces, i);
		json_array_append_new(
		        list,
		        json_pack("{s:o, s:I, s:i, s:I, s:o, s:o}", "source", mt_json_text(iface->source),
		                  "number", (json_int_t)iface->number, "linktype", (int)iface->linktype,
		                  "snaplen", (json_int_t)iface->snaplen, "name", text_or_null(iface->name),
		                  "description", text_or_null(iface->description)));
	}
	return value(list);
}

/* --- changes --------------------------------------------------------------------------------------------- */

/* What a client has said, for a line of the log. */
static const char *printable(const char *text, char shown[TEXT_SHOWN])
{
	size_t n = 0;
	for (; text && text[n] && n < TEXT_SHOWN - 1; n++)
		shown[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? ' ' : text[n];
	shown[n] = '\0';
	return shown;
}

/* The sources that have a filter of their own, which stays. */
static json_t *own_filters(const struct mt_run *run)
{
	json_t *own = json_object();
	for (unsigned i = 0; i < run->n; i++) {
		const struct mt_source_spec *spec = &run->sources[i]->spec;
		if (spec->filter)
			json_object_set_new(own, spec->name, mt_json_text(spec->filter));
	}
	return own;
}

static json_t *filter(struct mt_control_run *c, const json_t *text)
{
	struct mt_err err;
	if (text && !json_is_null(text) && !json_is_string(text))
		return fail("filter: expected a BPF expression");
	if (text) {
		const char *to = json_string_value(text);
		if (mt_run_set_filter(c->run, to && *to ? to : NULL, &err))
			return fail("%s", err.text);
		char shown[TEXT_SHOWN];
		mt_log_info(0, "control: %s%s",
		            c->run->filter ? "the filter is now " : "there is no filter any more",
		            printable(c->run->filter, shown));
	}
	for (int waited = 0; text && mt_run_filter_waits(c->run) && waited < FILTER_MS; waited += 10)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	return value(json_pack("{s:o, s:b, s:o}", "filter", text_or_null(c->run->filter), "in_force",
	                       !mt_run_filter_waits(c->run), "own", own_filters(c->run)));
}

/* Under the lock: segments that the default output has closed. */
static json_int_t closed(const struct mt_control_run *c)
{
	const json_t *output = json_array_get(json_object_get(c->report, "outputs"), 0);
	return json_integer_value(json_object_get(output, "segments"));
}

static json_t *rotate(struct mt_control_run *c)
{
	const struct mt_options *o = c->run->options;
	if (!o->has_output || !o->output.segmented)
		return fail("rotate: there are no segments: -B DIR writes them");
	pthread_mutex_lock(&c->lock);
	wait_for_report(c);
	json_int_t before = closed(c), now = before;
	mt_run_rotate(c->run);
	for (int waited = 0; now == before && waited < ROTATE_TRIES; waited++) {
		c->reported_ms = 0;
		wait_for_report(c);
		now = closed(c);
	}
	pthread_mutex_unlock(&c->lock);
	mt_log_info(1, "control: rotate");
	return value(json_pack("{s:b}", "closed", now > before));
}

static json_t *trigger(struct mt_control_run *c, const json_t *question)
{
	const char *reason = json_string_value(json_object_get(question, "reason"));
	double post = json_number_value(json_object_get(question, "post"));
	if (!reason || !*reason)
		return fail("trigger: expected a reason");
	if (!(post >= 0 && post <= MOST_POST_S))
		return fail("trigger: post: expected seconds from 0 to %d", MOST_POST_S);
	if (mt_flow_trigger(c->flow, reason, INT64_MIN, (int64_t)(post * 1e9)))
		return fail("trigger: there is no flight recorder: --pre TIME starts one");
	char shown[TEXT_SHOWN];
	mt_log_info(1, "control: trigger %s", printable(reason, shown));
	return value(json_true());
}

json_t *mt_control_ask(struct mt_control_run *c, const json_t *question)
{
	const char *ask = json_string_value(json_object_get(question, "ask"));
	if (!ask)
		return fail("no question");
	if (!strcmp(ask, "report"))
		return report(c);
	if (!strcmp(ask, "queues"))
		return queues(c);
	if (!strcmp(ask, "sample"))
		return sample(c);
	if (!strcmp(ask, "interfaces"))
		return interfaces(c);
	if (!strcmp(ask, "published"))
		return value(mt_published());
	if (!strcmp(ask, "filter"))
		return filter(c, json_object_get(question, "text"));
	if (!strcmp(ask, "rotate"))
		return rotate(c);
	if (!strcmp(ask, "trigger"))
		return trigger(c, question);
	return fail("unknown question '%s'", ask);
}
