/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * profile_print.c - the report of --profile as text for people, from its JSON object.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "profile.h"
#include "units.h"

static double number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* "  hooks 1.203 s (81 %)" for every stage that took some time. */
static void print_thread(const char *name, const json_t *thread, double wall)
{
	static const struct {
		const char *key, *words;
	} stages[] = {{"read", "read"},
	              {"merge", "merge"},
	              {"decode", "decode"},
	              {"hooks", "hooks"},
	              {"route", "count and route"},
	              {"print", "print"},
	              {"encode", "encode"},
	              {"write", "write"},
	              {"wait_queue_full", "waited for the hook thread"},
	              {"wait_no_memory", "waited for packet memory"},
	              {"wait_sources", "waited for packets to arrive"},
	              {"wait_queue_empty", "waited for the reading thread"}};
	char line[512];
	size_t n = (size_t)snprintf(line, sizeof line, "profile: %s:", name);
	const json_t *all = json_object_get(thread, "stages");
	const char *comma = "";
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
		double seconds = number(all, stages[i].key);
		if (seconds < 0.0005 && seconds < wall / 1000)
			continue;
		int m = snprintf(line + n, sizeof line - n, "%s %s %.3f s (%.0f %%)", comma, stages[i].words,
		                 seconds, wall > 0 ? 100 * seconds / wall : 0);
		n += m > 0 && (size_t)m < sizeof line - n ? (size_t)m : 0;
		comma = ",";
	}
	mt_log_info(0, "%s", line);
}

static void print_hook(const json_t *h)
{
	char calls[32], share[32] = "";
	const json_t *part = json_object_get(h, "share");
	mt_format_count((uint64_t)json_integer_value(json_object_get(h, "calls")), calls, sizeof calls);
	if (json_is_number(part))
		snprintf(share, sizeof share, ", %.0f %% of the hook thread", 100 * json_number_value(part));
	const char *how = text(h, "how");
	const char *hook = text(h, "hook");
	mt_log_info(0, "profile: %.200s: %s: %s calls, %.1f ns each%s%s%.600s", text(h, "script"), hook, calls,
	            number(h, "ns_per_call"), share, *how ? ", " : "", how);
}

static void print_abort(const json_t *a)
{
	json_int_t times = json_integer_value(json_object_get(a, "times"));
	mt_log_info(0, "profile: not compiled: %.200s: %.600s (tried %lld time%s%s)", text(a, "place"),
	            text(a, "reason"), (long long)times, times == 1 ? "" : "s",
	            json_is_true(json_object_get(a, "blacklisted")) ? ", given up for good" : "");
}

static void print_compiler(const json_t *o)
{
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(o, "hooks"), i, item)
	{
		print_hook(item);
	}
	json_array_foreach(json_object_get(o, "aborts"), i, item)
	{
		print_abort(item);
	}
	json_array_foreach(json_object_get(o, "stitches"), i, item)
	{
		mt_log_info(0, "profile: slow: %.200s: %.600s", text(item, "place"), text(item, "reason"));
	}
	json_int_t flushes = json_integer_value(json_object_get(o, "flushes"));
	if (flushes)
		mt_log_info(0,
		            "profile: all compiled code was thrown away %lld time%s, for want of room or by a "
		            "script",
		            (long long)flushes, flushes == 1 ? "" : "s");
	if (json_is_false(json_object_get(o, "compiler")))
		mt_log_info(0, "profile: LuaJIT's compiler is off: everything was interpreted");
}

void mt_profile_report(const struct mt_profile *p, struct mt_hooks *scripts)
{
	json_t *o = mt_profile_json(p, scripts);
	double wall = number(o, "seconds");
	mt_log_info(0, "profile: %.3f s; %s", wall, text(o, "conclusion"));
	print_thread("reading thread", json_object_get(o, "reading_thread"), wall);
	print_thread("hook thread", json_object_get(o, "hook_thread"), wall);
	print_compiler(o);
	json_decref(o);
}
