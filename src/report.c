/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <stdlib.h>
#include <string.h>

#include "linktype.h"
#include "log.h"
#include "manifest.h"
#include "metric.h"
#include "units.h"

/* What only the counters know of an output. */
static json_t *output_json(const struct mt_flow *flow, unsigned v)
{
	json_t *o = mt_output_json(mt_flow_output(flow, v));
	struct mt_counts odd = mt_counts_odd_of(mt_flow_counts(flow), (uint8_t)v);
	json_object_set_new(o, "dropped_kernel", json_null());
	json_object_set_new(o, "late", json_integer((json_int_t)odd.late));
	json_object_set_new(o, "disorder", json_integer((json_int_t)odd.disorder));
	json_object_set_new(o, "bad_time", json_integer((json_int_t)odd.bad_time));
	json_object_set_new(o, "clock_jumps", json_integer((json_int_t)odd.clock_jumps));
	json_object_set_new(o, "script_bypassed", json_integer((json_int_t)odd.script_bypassed));
	return o;
}

static json_t *time_or_null(int64_t ns, bool any)
{
	char text[MT_TIME_TEXT];
	return any ? json_string(mt_format_seconds(ns, text)) : json_null();
}

static json_t *integer(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* The counts and what was lost before, in the order that people read them. */
static void set_counts(json_t *o, const struct mt_counts *c, uint64_t lost, uint64_t kernel)
{
	bool any = c->packets > 0;
	json_object_set_new(o, "packets", integer(c->packets + lost));
	json_object_set_new(o, "bytes", integer(c->bytes));
	json_object_set_new(o, "wire_bytes", integer(c->wire_bytes));
	json_object_set_new(o, "kept", integer(c->kept));
	json_object_set_new(o, "filtered", integer(c->filtered));
	json_object_set_new(o, "script_dropped", integer(c->script_dropped));
	json_object_set_new(o, "dropped", integer(c->dropped + lost));
	json_object_set_new(o, "dropped_kernel", kernel == UINT64_MAX ? json_null() : integer(kernel));
	json_object_set_new(o, "late", integer(c->late));
	json_object_set_new(o, "disorder", integer(c->disorder));
	json_object_set_new(o, "bad_time", integer(c->bad_time));
	json_object_set_new(o, "clock_jumps", integer(c->clock_jumps));
	json_object_set_new(o, "script_bypassed", integer(c->script_bypassed));
	json_object_set_new(o, "first_ts", time_or_null(c->first_ns, any));
	json_object_set_new(o, "last_ts", time_or_null(c->last_ns, any));
}

/* Add a name that is not there yet. */
static void add_name(json_t *list, const char *name)
{
	size_t i;
	json_t *known;
	json_array_foreach(list, i, known)
	{
		if (!strcmp(json_string_value(known), name))
			return;
	}
	json_array_append_new(list, json_string(name));
}

json_t *mt_report_sources(const struct mt_flow *flow, const struct mt_ifaces *ifaces)
{
	json_t *list = json_array();
	uint32_t groups = mt_ifaces_groups(ifaces), n = mt_ifaces_count(ifaces);
	struct mt_counts *sums = calloc(groups + 1u, sizeof *sums);
	if (!sums)
		return list;
	for (uint32_t g = 0; g < groups; g++) {
		sums[g] = mt_counts_zero();
		json_t *o = json_object();
		json_object_set_new(o, "name", mt_json_text(mt_ifaces_group_name(ifaces, g)));
		json_object_set_new(o, "linktypes", json_array());
		json_array_append_new(list, o);
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct mt_iface *iface = mt_ifaces_get(ifaces, i);
		struct mt_counts c = flow ? mt_counts_of(mt_flow_counts(flow), i) : mt_counts_zero();
		mt_counts_sum(&sums[iface->group], &c);
		add_name(json_object_get(json_array_get(list, iface->group), "linktypes"),
		         mt_linktype_name(iface->linktype));
	}
	for (uint32_t g = 0; g < groups; g++) {
		uint64_t lost, kernel;
		mt_flow_drops(flow, g, &lost, &kernel);
		set_counts(json_array_get(list, g), &sums[g], lost, kernel);
	}
	free(sums);
	return list;
}

json_t *mt_report_totals(const struct mt_flow *flow, const struct mt_ifaces *ifaces)
{
	struct mt_counts sum = flow ? mt_counts_total(mt_flow_counts(flow)) : mt_counts_zero();
	uint64_t lost = 0, kernel = UINT64_MAX;
	for (uint32_t g = 0; g < mt_ifaces_groups(ifaces); g++) {
		uint64_t l, k;
		mt_flow_drops(flow, g, &l, &k);
		lost += l;
		if (k != UINT64_MAX)
			kernel = (kernel == UINT64_MAX ? 0 : kernel) + k;
	}
	json_t *o = json_object();
	set_counts(o, &sum, lost, kernel);
	json_t *names = json_array();
	for (uint32_t i = 0; i < mt_ifaces_count(ifaces); i++)
		add_name(names, mt_linktype_name(mt_ifaces_get(ifaces, i)->linktype));
	json_object_set_new(o, "linktypes", names);
	return o;
}

json_t *mt_report_now(const struct mt_flow *flow, const struct mt_ifaces *ifaces)
{
	json_t *o = mt_report_totals(flow, ifaces), *outputs = json_array();
	json_object_set_new(o, "sources", mt_report_sources(flow, ifaces));
	for (unsigned v = 0; v < mt_flow_outputs(flow); v++)
		if (mt_flow_output(flow, v))
			json_array_append_new(outputs, output_json(flow, v));
	json_object_set_new(o, "outputs", outputs);
	return o;
}

json_t *mt_report_all(const struct mt_flow *flow, const struct mt_ifaces *ifaces, json_t *results, int status)
{
	json_t *o = mt_report_totals(flow, ifaces);
	json_object_set_new(o, "sources", mt_report_sources(flow, ifaces));
	json_t *outputs = json_array(), *segments = json_array();
	for (unsigned v = 0; flow && v < mt_flow_outputs(flow); v++) {
		const struct mt_output *out = mt_flow_output(flow, v);
		if (!out)
			continue;
		json_array_append_new(outputs, output_json(flow, v));
		json_t *lines = mt_output_segments_json(out);
		json_array_extend(segments, lines);
		json_decref(lines);
	}
	json_object_set_new(o, "outputs", outputs);
	json_object_set_new(o, "segments", segments);
	json_object_set_new(o, "scripts", results ? results : json_object());
	json_t *recorder = flow ? mt_flow_recorder_json(flow) : NULL;
	if (recorder)
		json_object_set_new(o, "recorder", recorder);
	json_t *metrics = mt_metric_json();
	if (metrics)
		json_object_set_new(o, "metrics", metrics);
	json_object_set_new(o, "status", json_integer(status));
	return o;
}

bool mt_report_lossy(const json_t *totals)
{
	return json_integer_value(json_object_get(totals, "dropped")) > 0 ||
	       json_integer_value(json_object_get(totals, "dropped_kernel")) > 0;
}

static void print_line(const char *name, const json_t *o)
{
	static const char *const keys[] = {"kept",     "filtered",       "script_dropped",
	                                   "dropped",  "dropped_kernel", "late",
	                                   "disorder", "bad_time",       "script_bypassed"};
	char line[1024], number[32];
	size_t n = (size_t)snprintf(line, 512, "%.200s: %s packets", name,
	                            mt_format_count((uint64_t)json_integer_value(json_object_get(o, "packets")),
	                                            number, sizeof number));
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const json_t *v = json_object_get(o, keys[i]);
		if (json_integer_value(v) > 0 || i == 0)
			n += (size_t)snprintf(
			        line + n, sizeof line - n, ", %s %s",
			        mt_format_count((uint64_t)json_integer_value(v), number, sizeof number),
			        keys[i]);
	}
	mt_log_info(0, "%s", line);
}

void mt_report_print(const struct mt_flow *flow, const struct mt_ifaces *ifaces)
{
	json_t *sources = mt_report_sources(flow, ifaces), *totals = mt_report_totals(flow, ifaces);
	size_t i;
	json_t *o;
	json_array_foreach(sources, i, o)
	{
		print_line(json_string_value(json_object_get(o, "name")), o);
	}
	if (json_array_size(sources) > 1)
		print_line("total", totals);
	json_decref(sources);
	json_decref(totals);
}
