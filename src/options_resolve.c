/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options_resolve.c - what needs the whole command line: combinations that have no meaning,
 * times, and the sources in their order.
 *
 * Runs once, after the last word was read.  An option that would do nothing is refused by
 * name, never ignored.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options_table.h"
#include "units.h"

enum { LIVE_SCRIPT_TIMEOUT_MS = 2000 };

static const char *needs_text[] = {
        [MT_NEEDS_SEGMENTS] = "-B DIR",
        [MT_NEEDS_OUTPUT] = "an output (-o, -B or --out)",
        [MT_NEEDS_WRITER] = "an output (-o, -B, --out or one of a script)",
        [MT_NEEDS_FILE] = "an output file (-o or --out)",
        [MT_NEEDS_SCRIPT] = "a script (-l or -e)",
};

static bool has_needed(const struct mt_parse *p, enum mt_needs needs)
{
	const struct mt_options *o = p->options;
	switch (needs) {
	case MT_NEEDS_SEGMENTS:
		return p->base != NULL;
	case MT_NEEDS_OUTPUT:
		return p->output || p->base || o->n_named;
	case MT_NEEDS_WRITER:
		return p->output || p->base || o->n_named || o->n_scripts;
	case MT_NEEDS_FILE:
		return p->output || o->n_named || o->n_scripts; /* a script may declare one */
	case MT_NEEDS_SCRIPT:
		return o->n_scripts != 0 || o->repl;
	case MT_NEEDS_NOTHING:
		break;
	}
	return true;
}

static int check_needs(const struct mt_parse *p, struct mt_err *err)
{
	for (size_t i = 0; mt_options_table[i].name; i++) {
		enum mt_needs needs = mt_options_table[i].needs;
		if (p->given[i] && !has_needed(p, needs))
			return mt_err_set(err, "%s%s%s has no meaning without %s", p->given[i],
			                  p->values[i] ? " " : "", p->values[i] ? p->values[i] : "",
			                  needs_text[needs]);
	}
	return 0;
}

static bool writes_stdout(const struct mt_options *o)
{
	if (o->has_output && !o->output.segmented && strcmp(o->output.path, "-") == 0)
		return true;
	for (unsigned i = 0; i < o->n_named; i++)
		if (strcmp(o->named[i].output.path, "-") == 0)
			return true;
	return false;
}

static int check_print(const struct mt_options *o, struct mt_err *err)
{
	if (o->print && writes_stdout(o))
		return mt_err_set(err,
		                  "--print: standard output takes packets already (-); give one of the two");
	if (o->print && o->json)
		return mt_err_set(err, "--print and --json: expected one of the two on standard output");
	return 0;
}

/* At a prompt packets go where the user takes them: it has no output, no end and no report of its own. */
static bool means_something_to_a_prompt(const struct mt_option *option)
{
	static const char *const without[] = {"count",   "duration", "script-timeout",
	                                      "metrics", "control",  "sandbox"};
	static const char *const with[] = {"utc", "quiet", "verbose", "repl"};
	for (size_t i = 0; i < sizeof with / sizeof *with; i++)
		if (strcmp(option->name, with[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof without / sizeof *without; i++)
		if (strcmp(option->name, without[i]) == 0)
			return false;
	return option->topic == MT_TOPIC_SOURCES || option->topic == MT_TOPIC_SELECT ||
	       option->topic == MT_TOPIC_SCRIPTS || option->topic == MT_TOPIC_LIVE;
}

static int check_repl(const struct mt_parse *p, struct mt_err *err)
{
	for (size_t i = 0; p->options->repl && mt_options_table[i].name; i++)
		if (p->given[i] && !means_something_to_a_prompt(&mt_options_table[i]))
			return mt_err_set(err, "%s%s%s has no meaning with --repl%s", p->given[i],
			                  p->values[i] ? " " : "", p->values[i] ? p->values[i] : "",
			                  mt_options_table[i].topic == MT_TOPIC_OUTPUT
			                          ? ": at the prompt, save() writes packets"
			                          : "");
	for (unsigned i = 0; p->options->repl && i < p->options->n_sources; i++)
		if (strcmp(p->options->sources[i].target, "-") == 0)
			return mt_err_set(err, "--repl reads its lines from standard input: "
			                       "it can not be a source (-) too");
	return 0;
}

/* May option stand beside a command such as --recover? */
static bool goes_with(const struct mt_option *option, enum mt_command command)
{
	if (option->letter == 'v' || option->letter == 'q' || option->command == command)
		return true;
	return command == MT_COMMAND_RECIPES && strcmp(option->name, "lua-dir") == 0;
}

/* --recover and the lists stand alone, but for how much is said. */
static int check_command(const struct mt_parse *p, struct mt_err *err)
{
	enum mt_command command = p->options->command;
	const char *spelt = "", *other = NULL;
	for (size_t i = 0; mt_options_table[i].name; i++) {
		if (p->given[i] && mt_options_table[i].command == command)
			spelt = p->given[i];
		else if (p->given[i] && !goes_with(&mt_options_table[i], command))
			other = p->given[i];
	}
	if (other)
		return mt_err_set(err, "%s stands alone: expected no %s beside it", spelt, other);
	if (p->n_words)
		return mt_err_set(err, "%s stands alone: expected no source, found '%s'", spelt,
		                  p->words[0].text);
	return 0;
}

/* mtracecap's first plain word is its output. */
static int take_output_word(struct mt_parse *p, struct mt_err *err)
{
	if (!p->options->as_mtracecap || p->base || p->output)
		return 0;
	for (unsigned i = 0; i < p->n_words; i++) {
		if (p->words[i].kind != MT_WORD_BARE)
			continue;
		p->output = p->words[i].text;
		memmove(&p->words[i], &p->words[i + 1], (p->n_words - i - 1) * sizeof *p->words);
		p->n_words--;
		if (!*p->output)
			return mt_err_set(
			        err, "mtracecap: expected an output before the sources, found an empty word");
		return 0;
	}
	return mt_err_set(err, "no output given: mtracecap [options] OUTPUT SOURCE..., or mtracecap [options] "
	                       "-B DIR SOURCE...");
}

static int parse_one_time(const char *spelt, const char *text, bool utc, int64_t *ns, struct mt_err *err)
{
	if (text && !mt_parse_time(text, utc, ns))
		return mt_err_set(err,
		                  "%s %s: expected a time such as 2026-11-22T10:00:00Z, '2026-11-22 10:00', "
		                  "2026-11-22 or "
		                  "seconds since 1970",
		                  spelt, text);
	return 0;
}

static int resolve_times(const struct mt_parse *p, struct mt_err *err)
{
	struct mt_options *o = p->options;
	bool utc = o->output.segment.utc;
	if (parse_one_time("--from", p->from, utc, &o->from_ns, err) ||
	    parse_one_time("--to", p->to, utc, &o->to_ns, err))
		return -1;
	if (o->from_ns >= o->to_ns)
		return mt_err_set(err, "--to %s: expected a time after --from %s", p->to,
		                  p->from ? p->from : "");
	return 0;
}

static int add_source(struct mt_options *o, const char *word, enum mt_word_kind kind, struct mt_err *err)
{
	/* doubled at each power of two, as the words were */
	if ((o->n_sources & (o->n_sources - 1)) == 0) {
		size_t room = o->n_sources ? 2 * (size_t)o->n_sources : 1;
		struct mt_source_spec *sources = reallocarray(o->sources, room, sizeof *sources);
		if (!sources)
			return mt_err_set(err, "%s: out of memory", word);
		o->sources = sources;
	}
	struct mt_source_spec *spec = &o->sources[o->n_sources];
	memset(spec, 0, sizeof *spec);
	if (mt_source_spec_parse(spec, word, kind == MT_WORD_FILE, kind == MT_WORD_INTERFACE, err)) {
		mt_source_spec_clear(spec);
		o->source_failed = true;
		return -1;
	}
	o->n_sources++;
	return 0;
}

static int read_list(struct mt_options *o, FILE *list, const char *path, struct mt_err *err)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int status = 0;
	for (unsigned long n = 1; status == 0 && (len = getline(&line, &size, list)) >= 0; n++) {
		if (strlen(line) != (size_t)len) {
			status = mt_err_set(
			        err, "--files-from %s: line %lu: expected the name of a file, found a NUL byte",
			        path, n);
			break;
		}
		line[strcspn(line, "\r\n")] = '\0';
		if (*line && add_source(o, line, MT_WORD_FILE, err))
			status = mt_err_prefix(err, "--files-from %s: line %lu", path, n);
	}
	if (status == 0 && ferror(list))
		status = mt_err_set(err, "--files-from %s: %s", path, strerror(errno));
	free(line);
	return status;
}

static int add_list(struct mt_options *o, const char *path, struct mt_err *err)
{
	if (strcmp(path, "-") == 0)
		return read_list(o, stdin, path, err);
	FILE *list = fopen(path, "r");
	if (!list)
		return mt_err_set(err, "--files-from %s: %s", path, strerror(errno));
	int status = read_list(o, list, path, err);
	fclose(list);
	return status;
}

static int resolve_sources(struct mt_parse *p, struct mt_err *err)
{
	struct mt_options *o = p->options;
	unsigned stdin_uses = 0;
	for (unsigned i = 0; i < p->n_words; i++) {
		const struct mt_word *word = &p->words[i];
		bool list = word->kind == MT_WORD_LIST;
		if (!*word->text)
			return mt_err_set(err, "expected a source, found an empty word");
		stdin_uses += list && strcmp(word->text, "-") == 0;
		if (list ? add_list(o, word->text, err) : add_source(o, word->text, word->kind, err))
			return -1;
	}
	for (unsigned i = 0; i < o->n_sources; i++)
		stdin_uses += o->sources[i].kind == MT_SOURCE_FILE && strcmp(o->sources[i].target, "-") == 0;
	if (stdin_uses > 1)
		return mt_err_set(err, "standard input (-) is named %u times; it can be read only once",
		                  stdin_uses);
	if (o->n_sources == 0 && p->n_words)
		return mt_err_set(err, "no source given: the list of --files-from is empty");
	if (o->n_sources == 0 && !o->script_help)
		return mt_err_set(err, "no source given: %s SOURCE...; --help shows more",
		                  o->as_mtracecap ? "mtracecap [options] OUTPUT" : "moontap [options]");
	return 0;
}

static bool is_pipe(const char *target)
{
	struct stat st;
	int failed = strcmp(target, "-") == 0 ? fstat(STDIN_FILENO, &st) : stat(target, &st);
	return !failed && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode));
}

/* What keeps the clock of a live source's times; NULL: not known. */
static const char *clock_of(const struct mt_source_spec *spec)
{
	static const char *const cards[] = {"dag:", "ndag:", "dpdkndag:", "dagvdev:"};
	if (spec->kind == MT_SOURCE_INTERFACE) {
		/* names as libpcap has them: pcap-tstamp(7) */
		if (spec->tstamp && strcmp(spec->tstamp, "adapter_unsynced") == 0)
			return "its adapter's own clock";
		if (spec->tstamp && strcmp(spec->tstamp, "host_hiprec_unsynced") == 0)
			return "a clock of the host that is not the system clock";
		return "the system clock";
	}
	for (size_t i = 0; spec->kind == MT_SOURCE_TRACE && i < sizeof cards / sizeof *cards; i++)
		if (strncmp(spec->target, cards[i], strlen(cards[i])) == 0)
			return "the clock of a capture card";
	return NULL;
}

static int check_clocks(const struct mt_options *o, struct mt_err *err)
{
	const struct mt_source_spec *first = NULL;
	for (unsigned i = 0; i < o->n_sources && !o->mixed_clocks; i++) {
		const struct mt_source_spec *spec = &o->sources[i];
		const char *clock = spec->live ? clock_of(spec) : NULL;
		if (clock && first && strcmp(clock, clock_of(first)) != 0)
			return mt_err_set(err,
			                  "%s has times of %s, %s of %s: they can not be put in order; "
			                  "--mixed-clocks does it all the same",
			                  first->word, clock_of(first), spec->word, clock);
		first = first || !clock ? first : spec;
	}
	return 0;
}

/* Which sources are live: a pipe is if another one is. */
static int resolve_live(struct mt_options *o, struct mt_err *err)
{
	for (unsigned i = 0; i < o->n_sources; i++)
		o->any_live = o->any_live || o->sources[i].live;
	for (unsigned i = 0; i < o->n_sources; i++) {
		struct mt_source_spec *spec = &o->sources[i];
		if (o->any_live && !spec->not_live && spec->kind == MT_SOURCE_FILE && is_pipe(spec->target))
			spec->live = true;
		o->live_interfaces += spec->live && spec->kind != MT_SOURCE_FILE;
	}
	o->output.segment.live = o->any_live;
	return check_clocks(o, err);
}

static bool is_below(const char *file, const char *folder)
{
	char *copy = strdup(file), *real_folder = folder ? realpath(folder, NULL) : NULL, *slash;
	if (copy && (slash = strrchr(copy, '/')))
		*slash = 0;
	char *real_file = copy ? realpath(slash ? (*copy ? copy : "/") : ".", NULL) : NULL;
	size_t n = real_folder ? strlen(real_folder) : 0;
	bool below = n && real_file && strncmp(real_file, real_folder, n) == 0 &&
	             (!real_file[n] || real_file[n] == '/');
	free(copy);
	free(real_file);
	free(real_folder);
	return below;
}

int mt_options_check_sandbox(const struct mt_options *o, const struct mt_output_config *c, struct mt_err *err)
{
	if (!o->sandbox)
		return 0;
	if (c->pipeout || c->segment.on_close)
		return mt_err_set(err, "--sandbox: %s %s: programs can not be run in it",
		                  c->pipeout ? "--pipeout" : "--on-close",
		                  c->pipeout ? c->pipeout : c->segment.on_close);
	if (c->segment.sequence_file && !is_below(c->segment.sequence_file, c->path))
		return mt_err_set(err, "--sandbox: -N %s: is not below the output folder %s",
		                  c->segment.sequence_file, c->path);
	if (c->path && c->format == MT_FORMAT_TRACE)
		return mt_err_set(err, "--sandbox: %s: libtrace's outputs can not be used in it", c->path);
	return 0;
}

static int check_sandbox(const struct mt_options *o, struct mt_err *err)
{
	int rc = mt_options_check_sandbox(o, &o->output, err);
	for (unsigned i = 0; i < o->n_named && !rc; i++)
		rc = mt_options_check_sandbox(o, &o->named[i].output, err);
	return rc;
}

/* The snap length that file headers state: the longest that any source lets through. */
static void resolve_snaplen(struct mt_options *o)
{
	uint32_t longest = o->n_sources ? 0 : o->snaplen;
	for (unsigned i = 0; i < o->n_sources; i++) {
		uint32_t n = o->sources[i].snaplen ? o->sources[i].snaplen : o->snaplen;
		longest = n > longest ? n : longest;
	}
	uint32_t cut = o->output.write_snaplen;
	o->output.snaplen = cut && cut < longest ? cut : longest;
	for (unsigned i = 0; i < o->n_named; i++) {
		o->named[i].output.snaplen = o->output.snaplen;
		o->named[i].output.segment.live = o->any_live;
	}
}

int mt_options_resolve(struct mt_parse *p, struct mt_err *err)
{
	struct mt_options *o = p->options;
	if (o->command != MT_COMMAND_RUN)
		return check_command(p, err);
	if (take_output_word(p, err) || check_needs(p, err) || mt_options_resolve_outputs(p, err) ||
	    check_print(o, err) || resolve_times(p, err) || resolve_sources(p, err) || resolve_live(o, err) ||
	    check_repl(p, err) || mt_options_check_overlap(p, err) || check_sandbox(o, err))
		return -1;
	resolve_snaplen(o);
	if (o->any_live && !o->script_timeout_ms && !o->repl)
		o->script_timeout_ms = LIVE_SCRIPT_TIMEOUT_MS;
	return 0;
}
