/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options_table.c - every option of the command line, with the function that stores it.
 *
 * The parser and --help both walk this table, so they can not disagree.  A setter looks at
 * one option only; what needs two or more is in options_resolve.c.
 */
#include "options_table.h"
#include "control.h"
#include "metrics.h"

#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "units.h"

#define AT(member) offsetof(struct mt_options, member)

enum { DAY_MS = 86400000, HOUR_MS = 3600000 };

static void *member(const struct mt_parse *p, const struct mt_option *option)
{
	return (char *)p->options + option->offset;
}

static int set_flag(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	(void)value, (void)err;
	*(bool *)member(p, option) = true;
	return 0;
}

static int set_verbose(struct mt_parse *p, const struct mt_option *option, const char *value,
                       struct mt_err *err)
{
	(void)option, (void)value, (void)err;
	p->options->verbosity++;
	return 0;
}

static int check_text(const struct mt_parse *p, const struct mt_option *option, const char *value,
                      struct mt_err *err)
{
	if (*value)
		return 0;
	return mt_err_set(err, "%s: expected %s, found an empty string", p->spelt, option->argument);
}

static int set_text(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	if (check_text(p, option, value, err))
		return -1;
	*(const char **)member(p, option) = value;
	return 0;
}

static int bad_number(const struct mt_parse *p, const struct mt_option *option, const char *value,
                      struct mt_err *err)
{
	if (option->max == INT64_MAX)
		return mt_err_set(err, "%s %s: expected %s, at least %llu", p->spelt, value, option->what,
		                  (unsigned long long)option->min);
	return mt_err_set(err, "%s %s: expected %s from %llu to %llu", p->spelt, value, option->what,
	                  (unsigned long long)option->min, (unsigned long long)option->max);
}

static int set_u64(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	uint64_t n;
	if (!mt_parse_u64(value, option->min, option->max, &n))
		return bad_number(p, option, value, err);
	*(uint64_t *)member(p, option) = n;
	return 0;
}

static int set_u32(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	uint64_t n;
	if (!mt_parse_u64(value, option->min, option->max, &n))
		return bad_number(p, option, value, err);
	*(uint32_t *)member(p, option) = (uint32_t)n;
	return 0;
}

static int set_size(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	uint64_t n;
	char least[32];
	if (!mt_parse_size(value, &n))
		return mt_err_set(err, "%s %s: expected a size such as 500K, 64M or 2G (a plain number is MiB)",
		                  p->spelt, value);
	if (n < option->min)
		return mt_err_set(err, "%s %s: expected at least %s", p->spelt, value,
		                  mt_format_size(option->min, least, sizeof least));
	if (n > option->max)
		return mt_err_set(err, "%s %s: expected at most %s", p->spelt, value,
		                  mt_format_size(option->max, least, sizeof least));
	*(uint64_t *)member(p, option) = n;
	return 0;
}

/* The setters of single options. */

static int set_command(struct mt_parse *p, const struct mt_option *option, const char *value,
                       struct mt_err *err)
{
	struct mt_options *o = p->options;
	if (o->command != MT_COMMAND_RUN && o->command != option->command)
		return mt_err_set(err,
		                  "%s can not be given together with another option that only lists or repairs",
		                  p->spelt);
	o->command = option->command;
	if (o->command == MT_COMMAND_HELP)
		o->topic = value;
	if (value && o->command != MT_COMMAND_HELP) {
		if (check_text(p, option, value, err))
			return -1;
		*(o->command == MT_COMMAND_ATTACH ? &o->attach : &o->recover_dir) = value;
	}
	return 0;
}

static int set_word(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	if (check_text(p, option, value, err))
		return -1;
	return mt_parse_add_word(p, (enum mt_word_kind)option->min, value, err);
}

static int set_output(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	if (check_text(p, option, value, err))
		return -1;
	p->output = value;
	return 0;
}

static bool is_number(const char *text)
{
	uint64_t n;
	return mt_parse_u64(text, 0, UINT64_MAX, &n);
}

static int set_base(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	if (check_text(p, option, value, err))
		return -1;
	if (is_number(value))
		return mt_err_set(
		        err,
		        "%s %s: expected a folder for segments, found a number: the size of the capture "
		        "buffer is --kernel-buffer (a folder of that name is ./%s)",
		        p->spelt, value, value);
	p->base = value;
	return 0;
}

static int set_watchfile(struct mt_parse *p, const struct mt_option *option, const char *value,
                         struct mt_err *err)
{
	if (is_number(value))
		return mt_err_set(
		        err,
		        "%s %s: expected a file to wait for, found a number: to keep only so many segments "
		        "there is --keep-files (a file of that name is ./%s)",
		        p->spelt, value, value);
	return set_text(p, option, value, err);
}

static int set_pre(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	struct mt_options *o = p->options;
	const char *comma = strchr(value, ',');
	char time[32];
	uint64_t bytes = 256 << 20;
	(void)option;
	snprintf(time, sizeof time, "%.*s", (int)(comma ? comma - value : (ptrdiff_t)strlen(value)), value);
	if (!mt_parse_duration(time, &o->pre_ns) || o->pre_ns <= 0)
		return mt_err_set(err,
		                  "%s %s: expected a time such as 30s, and a size behind a comma if wanted",
		                  p->spelt, value);
	if (comma && (!mt_parse_size(comma + 1, &bytes) || bytes < 1 << 20 || bytes > (uint64_t)1 << 40))
		return mt_err_set(err, "%s %s: expected a size from 1M to 1T behind the comma", p->spelt,
		                  value);
	o->pre_bytes = (size_t)bytes;
	o->output.segment.on_demand = true;
	return 0;
}

static int set_on_full(struct mt_parse *p, const struct mt_option *option, const char *value,
                       struct mt_err *err)
{
	static const char *const rules[] = {"stop", "wait", "drop-oldest"};
	(void)option;
	for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
		if (strcmp(value, rules[i]) == 0) {
			p->options->output.on_full = (enum mt_on_full)i;
			return 0;
		}
	return mt_err_set(err, "%s %s: expected stop, wait or drop-oldest", p->spelt, value);
}

static int set_metrics(struct mt_parse *p, const struct mt_option *option, const char *value,
                       struct mt_err *err)
{
	return mt_metrics_check(value, err) ? -1 : set_text(p, option, value, err);
}

static int set_control(struct mt_parse *p, const struct mt_option *option, const char *value,
                       struct mt_err *err)
{
	return mt_control_check(value, err) ? mt_err_prefix(err, "%s", p->spelt)
	                                    : set_text(p, option, value, err);
}

static int set_late(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	(void)option;
	p->options->drop_late = strcmp(value, "drop") == 0;
	if (p->options->drop_late || strcmp(value, "keep") == 0)
		return 0;
	return mt_err_set(err, "%s %s: expected keep or drop", p->spelt, value);
}

static int set_window(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	if (!is_number(value))
		return mt_err_set(err,
		                  "%s %s: expected milliseconds, found no number: the file to write is -o %s",
		                  p->spelt, value, value);
	return set_u32(p, option, value, err);
}

static int set_level(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	uint64_t n;
	if (!is_number(value))
		return mt_err_set(
		        err,
		        "%s %s: expected a compression level, found no number: the type of compression is -Z, "
		        "a command for each closed segment --on-close",
		        p->spelt, value);
	if (!mt_parse_u64(value, option->min, option->max, &n))
		return bad_number(p, option, value, err);
	p->options->output.level = (int)n;
	return 0;
}

static int set_codec(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	enum mt_codec_id codec;
	(void)option;
	if (!*value || mt_codec_parse(value, &codec))
		return mt_err_set(err, "%s %s: unknown compression, expected gz, zst, lz4, xz, bz2 or none",
		                  p->spelt, value);
	p->codec = value;
	p->options->output.codec = codec;
	return 0;
}

static int set_format(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	(void)option;
	for (enum mt_format f = MT_FORMAT_PCAP; f <= MT_FORMAT_ERF; f++) {
		if (strcmp(value, mt_format_name(f)))
			continue;
		p->format = value;
		p->options->output.format = f;
		return 0;
	}
	return mt_err_set(
	        err,
	        "%s %s: unknown format, expected pcap, pcapng or erf (a format of libtrace is named before "
	        "the path, as in -o FORMAT:PATH)",
	        p->spelt, value);
}

static int set_filter(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	struct stat st;
	if (*value && stat(value, &st) == 0 && !S_ISDIR(st.st_mode))
		return mt_err_set(
		        err,
		        "%s %s: expected a filter expression, found the name of an existing file: to take the "
		        "expression from it write %s \"$(cat %s)\"",
		        p->spelt, value, p->spelt, value);
	return set_text(p, option, value, err);
}

static int set_snaplen(struct mt_parse *p, const struct mt_option *option, const char *value,
                       struct mt_err *err)
{
	if (set_u32(p, option, value, err))
		return -1;
	if (p->options->snaplen == 0) /* as tcpdump has it */
		p->options->snaplen = MT_MAX_CAPLEN;
	return 0;
}

static int set_from_or_to(struct mt_parse *p, const struct mt_option *option, const char *value,
                          struct mt_err *err)
{
	if (check_text(p, option, value, err))
		return -1;
	*(option->offset == AT(from_ns) ? &p->from : &p->to) = value;
	return 0;
}

static int set_duration(struct mt_parse *p, const struct mt_option *option, const char *value,
                        struct mt_err *err)
{
	int64_t ns;
	if (!mt_parse_duration(value, &ns) || ns <= 0)
		return mt_err_set(err,
		                  "%s %s: expected a time above 0, in seconds or as in 500ms, 30s, 5m, 2h, 1d",
		                  p->spelt, value);
	*(int64_t *)member(p, option) = ns;
	return 0;
}

static int set_flush(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	int64_t ns;
	(void)option;
	if (!mt_parse_duration(value, &ns) || ns < 1000000 || ns / 1000000 > DAY_MS)
		return mt_err_set(err, "%s %s: expected seconds from 0.001 to 86400, or as in 500ms", p->spelt,
		                  value);
	p->options->output.flush_ms = (unsigned)(ns / 1000000);
	return 0;
}

static int set_script_timeout(struct mt_parse *p, const struct mt_option *option, const char *value,
                              struct mt_err *err)
{
	int64_t ns;
	(void)option;
	if (!mt_parse_duration(value, &ns) || ns < 10000000 || ns / 1000000 > DAY_MS)
		return mt_err_set(err, "%s %s: expected seconds from 0.01 to 86400, or as in 500ms", p->spelt,
		                  value);
	p->options->script_timeout_ms = (unsigned)(ns / 1000000);
	return 0;
}

static int set_script(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	struct mt_options *o = p->options;
	if (check_text(p, option, value, err))
		return -1;
	struct mt_script_option *scripts = reallocarray(o->scripts, o->n_scripts + 1, sizeof *scripts);
	if (!scripts)
		return mt_err_set(err, "%s: out of memory", p->spelt);
	o->scripts = scripts;
	bool expression = option->min != 0;
	const char *comma = expression ? NULL : strchr(value, ',');
	if (comma && strcmp(comma, ",help") == 0)
		o->script_help = true;
	scripts[o->n_scripts++] = (struct mt_script_option){.expression = expression, .text = value};
	return 0;
}

int mt_options_add_named(struct mt_parse *p, char *name, const char *path, struct mt_err *err)
{
	struct mt_options *o = p->options;
	int status = 0;
	if (o->n_named == MT_VERDICT_LAST_OUTPUT)
		status = mt_err_set(err, "%s %s: expected at most %d named outputs", p->spelt, path,
		                    MT_VERDICT_LAST_OUTPUT);
	for (unsigned i = 0; i < o->n_named && name && !status; i++)
		if (strcmp(o->named[i].name, name) == 0)
			status = mt_err_set(err, "%s %s: an output of the name '%s' was given already",
			                    p->spelt, path, name);
	struct mt_named_output *named = status ? NULL : reallocarray(o->named, o->n_named + 1, sizeof *named);
	if (named)
		o->named = named;
	if (!named || !name) {
		free(name);
		return status ? -1 : mt_err_set(err, "%s: out of memory", p->spelt);
	}
	named[o->n_named++] = (struct mt_named_output){.name = name, .path = path};
	return 0;
}

static int set_named(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	const char *equals = strchr(value, '=');
	(void)option;
	if (!equals || equals == value || !equals[1])
		return mt_err_set(err, "%s %s: expected NAME=PATH", p->spelt, value);
	return mt_options_add_named(p, strndup(value, (size_t)(equals - value)), equals + 1, err);
}

static int set_error_rule(struct mt_parse *p, const struct mt_option *option, const char *value,
                          struct mt_err *err)
{
	static const struct {
		const char *name;
		enum mt_error_rule rule;
	} rules[] = {{"keep", MT_RULE_KEEP}, {"drop", MT_RULE_DROP}, {"stop", MT_RULE_STOP}};
	(void)option;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		if (strcmp(value, rules[i].name) == 0) {
			p->options->on_script_error = rules[i].rule;
			return 0;
		}
	}
	return mt_err_set(err, "%s %s: expected keep, drop or stop", p->spelt, value);
}

static int set_user(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	if (*value && !getpwnam(value))
		return mt_err_set(err, "%s %s: there is no user of that name", p->spelt, value);
	return set_text(p, option, value, err);
}

static int set_folder(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err)
{
	struct stat st;
	if (*value && stat(value, &st))
		return mt_err_set(err, "%s %s: %s", p->spelt, value, strerror(errno));
	if (*value && !S_ISDIR(st.st_mode))
		return mt_err_set(err, "%s %s: expected a folder", p->spelt, value);
	return set_text(p, option, value, err);
}

/* clang-format off */
const struct mt_option mt_options_table[] = {
	/* sources */
	{.name = "interface", .letter = 'i', .argument = "NAME", .repeats = true, .topic = MT_TOPIC_SOURCES,
	 .set = set_word, .min = MT_WORD_INTERFACE,
	 .help = "capture from this interface"},
	{.name = "read", .letter = 'r', .argument = "FILE", .repeats = true, .topic = MT_TOPIC_SOURCES,
	 .set = set_word, .min = MT_WORD_FILE,
	 .help = "read this file; - is standard input"},
	{.name = "files-from", .argument = "LIST", .repeats = true, .topic = MT_TOPIC_SOURCES,
	 .set = set_word, .min = MT_WORD_LIST,
	 .help = "read the files named in LIST, one a line; - is standard input"},
	{.name = "list-interfaces", .letter = 'D', .topic = MT_TOPIC_SOURCES,
	 .set = set_command, .command = MT_COMMAND_INTERFACES,
	 .help = "list interfaces, link types, kinds of time stamp"},
	{.name = "list-formats", .letter = 'H', .topic = MT_TOPIC_SOURCES,
	 .set = set_command, .command = MT_COMMAND_FORMATS,
	 .help = "list the formats that this build reads and writes"},

	/* output */
	{.name = "output", .letter = 'o', .argument = "PATH", .topic = MT_TOPIC_OUTPUT,
	 .set = set_output,
	 .help = "write packets to PATH; - is standard output"},
	{.name = "base", .letter = 'B', .argument = "DIR", .topic = MT_TOPIC_OUTPUT,
	 .set = set_base,
	 .help = "write segments into the folder DIR, which is made"},
	{.name = "out", .argument = "NAME=PATH", .repeats = true,
	 .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_SCRIPT,
	 .set = set_named,
	 .help = "one more output, for scripts to send packets to"},
	{.name = "format", .argument = "FORMAT", .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_OUTPUT,
	 .set = set_format,
	 .help = "pcap, pcapng or erf, whatever the ending says"},
	{.name = "compress", .letter = 'Z', .argument = "TYPE",
	 .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_OUTPUT,
	 .set = set_codec,
	 .help = "gz, zst, lz4, xz, bz2 or none, whatever the ending says"},
	{.name = "level", .letter = 'z', .argument = "LEVEL",
	 .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_OUTPUT,
	 .set = set_level, .max = 9, .what = "a compression level",
	 .help = "compress faster (0) or smaller (9); alone it means gzip"},
	{.name = "overwrite", .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_FILE,
	 .set = set_flag, .offset = AT(overwrite),
	 .help = "replace an existing file"},
	{.name = "write-snaplen", .argument = "BYTES", .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_OUTPUT,
	 .set = set_u32, .offset = AT(output.write_snaplen), .min = 1, .max = MT_MAX_CAPLEN, .what = "bytes",
	 .help = "cut packets when written, after the scripts"},
	{.name = "flush", .argument = "SEC", .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_OUTPUT,
	 .set = set_flush,
	 .help = "what was read is in the file after SEC (default 1)"},
	{.name = "pipeout", .argument = "COMMAND", .topic = MT_TOPIC_OUTPUT, .needs = MT_NEEDS_OUTPUT,
	 .set = set_text, .offset = AT(output.pipeout),
	 .help = "write through this shell command"},

	/* segments */
	{.name = "rotate-seconds", .letter = 'G', .argument = "SEC",
	 .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_u64, .offset = AT(output.segment.rotate_seconds), .min = 1, .max = UINT32_MAX, .what = "seconds",
	 .help = "a new segment when the time of day is a multiple of SEC"},
	{.name = "rotate-size", .letter = 'S', .argument = "SIZE",
	 .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_size, .offset = AT(output.segment.rotate_bytes), .min = 1, .max = INT64_MAX,
	 .help = "a new segment before SIZE is exceeded (uncompressed)"},
	{.name = "rotate-packets", .letter = 'P', .argument = "N",
	 .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_u64, .offset = AT(output.segment.rotate_packets), .min = 1, .max = INT64_MAX, .what = "packets",
	 .help = "a new segment after N packets"},
	{.name = "utc", .letter = 'U', .topic = MT_TOPIC_SEGMENTS,
	 .set = set_flag, .offset = AT(output.segment.utc),
	 .help = "UTC, not local time: names, -G, --from, --to"},
	{.name = "name", .argument = "TEMPLATE", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_text, .offset = AT(output.segment.name),
	 .help = "names: strftime and %{seq} %{n} %{source} %{reason}"},
	{.name = "file-ext", .argument = "EXT", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_text, .offset = AT(output.segment.extension),
	 .help = "ending of the names, as in .pcap.gz"},
	{.name = "seqfile", .letter = 'N', .argument = "FILE",
	 .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_text, .offset = AT(output.segment.sequence_file),
	 .help = "keep the sequence number across restarts"},
	{.name = "watchfile", .letter = 'W', .argument = "FILE",
	 .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_watchfile, .offset = AT(output.segment.watchfile),
	 .help = "hold back the next segment until FILE exists"},
	{.name = "pre", .argument = "TIME[,SIZE]", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_pre,
	 .help = "flight recorder: write TIME before a script's trigger"},
	{.name = "on-full", .argument = "RULE", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_WRITER,
	 .set = set_on_full,
	 .help = "no space left: stop (default), wait, drop-oldest"},
	{.name = "keep-files", .argument = "N", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_u64, .offset = AT(output.segment.keep_files), .min = 1, .max = INT64_MAX, .what = "a number of files",
	 .help = "remove the oldest segments beyond N"},
	{.name = "keep-bytes", .argument = "SIZE", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_size, .offset = AT(output.segment.keep_bytes), .min = 1, .max = INT64_MAX,
	 .help = "remove the oldest segments beyond SIZE in all"},
	{.name = "on-close", .argument = "COMMAND", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_text, .offset = AT(output.segment.on_close),
	 .help = "run for each whole segment, its path in MOONTAP_FILE"},
	{.name = "sha256", .topic = MT_TOPIC_SEGMENTS, .needs = MT_NEEDS_SEGMENTS,
	 .set = set_flag, .offset = AT(output.segment.sha256),
	 .help = "put the hash of each segment into the manifest"},
	{.name = "recover", .argument = "DIR", .topic = MT_TOPIC_SEGMENTS,
	 .set = set_command, .command = MT_COMMAND_RECOVER,
	 .help = "make whole segments of left-over .part files, then end"},

	/* select */
	{.name = "filter", .letter = 'F', .argument = "BPF", .topic = MT_TOPIC_SELECT,
	 .set = set_filter, .offset = AT(filter),
	 .help = "only packets that match, as in 'udp port 53'"},
	{.name = "expression", .letter = 'e', .argument = "LUA", .repeats = true, .topic = MT_TOPIC_SELECT,
	 .set = set_script, .min = true,
	 .help = "only packets for which this is true, as in 'p.ttl < 5'"},
	{.name = "from", .argument = "TIME", .topic = MT_TOPIC_SELECT,
	 .set = set_from_or_to, .offset = AT(from_ns),
	 .help = "only packets at or after TIME"},
	{.name = "to", .argument = "TIME", .topic = MT_TOPIC_SELECT,
	 .set = set_from_or_to, .offset = AT(to_ns),
	 .help = "only packets before TIME"},
	{.name = "count", .letter = 'c', .argument = "N", .topic = MT_TOPIC_SELECT,
	 .set = set_u64, .offset = AT(count), .min = 1, .max = INT64_MAX, .what = "packets",
	 .help = "stop after N kept packets"},
	{.name = "duration", .argument = "TIME", .topic = MT_TOPIC_SELECT,
	 .set = set_duration, .offset = AT(duration_ns),
	 .help = "stop after so many seconds, or 500ms, 5m, 2h, 1d"},
	{.name = "snaplen", .letter = 's', .argument = "BYTES", .topic = MT_TOPIC_SELECT,
	 .set = set_snaplen, .offset = AT(snaplen), .max = MT_MAX_CAPLEN, .what = "bytes",
	 .help = "cut packets at the source (default 262144, also 0)"},

	/* scripts */
	{.name = "script", .letter = 'l', .argument = "NAME[,k=v...]", .repeats = true,
	 .topic = MT_TOPIC_SCRIPTS,
	 .set = set_script, .min = false,
	 .help = "run a recipe, or a script FILE.lua; NAME,help"},
	{.name = "recipes", .topic = MT_TOPIC_SCRIPTS,
	 .set = set_command, .command = MT_COMMAND_RECIPES,
	 .help = "list the recipes"},
	{.name = "on-script-error", .argument = "RULE", .topic = MT_TOPIC_SCRIPTS, .needs = MT_NEEDS_SCRIPT,
	 .set = set_error_rule,
	 .help = "keep, drop or stop: packets a hook did not finish"},
	{.name = "script-errors", .argument = "N", .topic = MT_TOPIC_SCRIPTS, .needs = MT_NEEDS_SCRIPT,
	 .set = set_u64, .offset = AT(script_errors), .min = 1, .max = INT64_MAX, .what = "a number of errors",
	 .help = "switch a hook off after N errors (default 100)"},
	{.name = "script-memory", .argument = "SIZE", .topic = MT_TOPIC_SCRIPTS, .needs = MT_NEEDS_SCRIPT,
	 .set = set_size, .offset = AT(script_memory), .min = 16 << 20, .max = INT64_MAX,
	 .help = "memory all scripts may take (default 1G)"},
	{.name = "script-timeout", .argument = "SEC", .topic = MT_TOPIC_SCRIPTS, .needs = MT_NEEDS_SCRIPT,
	 .set = set_script_timeout,
	 .help = "go on without a hook after SEC (default 2 live, none with files)"},
	{.name = "lua-dir", .argument = "DIR", .topic = MT_TOPIC_SCRIPTS,
	 .set = set_folder, .offset = AT(lua_dir),
	 .help = "modules in DIR go before the built-in ones"},

	/* live */
	{.name = "window", .alias = "maxwait_ms", .letter = 'w', .argument = "MS", .topic = MT_TOPIC_LIVE,
	 .set = set_window, .offset = AT(window_ms), .min = 1, .max = DAY_MS, .what = "milliseconds",
	 .help = "longest wait for other sources (default 50)"},
	{.name = "late", .argument = "keep|drop", .topic = MT_TOPIC_LIVE,
	 .set = set_late,
	 .help = "packets that come when later ones have left (default keep)"},
	{.name = "reorder", .argument = "MS", .topic = MT_TOPIC_LIVE,
	 .set = set_u32, .offset = AT(reorder_ms), .min = 1, .max = HOUR_MS, .what = "milliseconds",
	 .help = "sort each source's packets that are at most MS out of order"},
	{.name = "mixed-clocks", .topic = MT_TOPIC_LIVE,
	 .set = set_flag, .offset = AT(mixed_clocks),
	 .help = "merge live sources whose times are of different clocks"},
	{.name = "buffer-size", .argument = "SIZE", .topic = MT_TOPIC_LIVE,
	 .set = set_size, .offset = AT(buffer_bytes), .min = 4 << 20, .max = (uint64_t)1 << 40,
	 .help = "memory for waiting packets, all together (default 64M)"},
	{.name = "kernel-buffer", .argument = "SIZE", .topic = MT_TOPIC_LIVE,
	 .set = set_size, .offset = AT(kernel_buffer), .min = 64 << 10, .max = 2147483647,
	 .help = "capture ring of each interface (default 16M)"},
	{.name = "relinquish-privileges", .alias = "user", .argument = "USER", .topic = MT_TOPIC_LIVE,
	 .set = set_user, .offset = AT(user),
	 .help = "become USER when the sources are open"},
	{.name = "metrics", .argument = "[ADDR:]PORT", .topic = MT_TOPIC_LIVE,
	 .set = set_metrics, .offset = AT(metrics),
	 .help = "numbers for Prometheus by HTTP, of this host only unless ADDR"},
	{.name = "control", .argument = "SOCKET", .topic = MT_TOPIC_LIVE,
	 .set = set_control, .offset = AT(control),
	 .help = "a socket for --attach and for programs: look, filter, rotate"},
	{.name = "sandbox", .topic = MT_TOPIC_LIVE,
	 .set = set_flag, .offset = AT(sandbox),
	 .help = "write below the output folders only, run no program"},

	/* misc */
	{.name = "repl", .topic = MT_TOPIC_MISC,
	 .set = set_flag, .offset = AT(repl),
	 .help = "a prompt: step through packets, try scripts"},
	{.name = "attach", .argument = "SOCKET", .topic = MT_TOPIC_MISC,
	 .set = set_command, .command = MT_COMMAND_ATTACH,
	 .help = "a prompt beside the capture that has --control SOCKET"},
	{.name = "print", .topic = MT_TOPIC_MISC,
	 .set = set_flag, .offset = AT(print),
	 .help = "print one line for each kept packet"},
	{.name = "json", .topic = MT_TOPIC_MISC,
	 .set = set_flag, .offset = AT(json),
	 .help = "print results as one JSON object at the end"},
	{.name = "quiet", .letter = 'q', .topic = MT_TOPIC_MISC,
	 .set = set_flag, .offset = AT(quiet),
	 .help = "no progress bar and no status line"},
	{.name = "verbose", .letter = 'v', .topic = MT_TOPIC_MISC,
	 .set = set_verbose,
	 .help = "say more; twice: even more"},
	{.name = "profile", .topic = MT_TOPIC_MISC,
	 .set = set_flag, .offset = AT(profile),
	 .help = "say at the end where the time went, hook by hook"},
	{.name = "strict", .topic = MT_TOPIC_MISC,
	 .set = set_flag, .offset = AT(strict),
	 .help = "exit status 2 if packets were dropped"},
	{.name = "help", .letter = 'h', .argument = "TOPIC", .optional = true, .topic = MT_TOPIC_MISC,
	 .set = set_command, .command = MT_COMMAND_HELP,
	 .help = "the short help, one topic, or all"},
	{.name = "version", .topic = MT_TOPIC_MISC,
	 .set = set_command, .command = MT_COMMAND_VERSION,
	 .help = "versions of moontap and of its libraries"},
	{.name = NULL},
};
/* clang-format on */

_Static_assert(sizeof mt_options_table / sizeof *mt_options_table <= MT_OPTIONS_MAX, "raise MT_OPTIONS_MAX");
_Static_assert(sizeof(unsigned) == sizeof(uint32_t), "window_ms is stored by set_u32");
