/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.c - reads argv by the table of options_table.c.
 *
 * Options and sources may stand in any order; "--" ends the options.  There is no
 * abbreviation of long names: what a script spells today must not change its meaning with
 * the next option.  An unknown option is refused, with the nearest one named.
 */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options_table.h"

/* Options of other tools, with what to say instead of "unknown". */
static const struct {
	char letter;
	const char *instead;
} habits[] = {
        {'A', "to look at packets there are --print and the recipes"},
        {'C', "to rotate by size there is -S SIZE, with -B DIR"},
        {'L', "link types are listed by -D"},
        {'X', "to look at packets there are --print and the recipes"},
        {'Y', "to select packets there are -F BPF and -e LUA"},
        {'a', "to stop there are -c N and --duration SEC"},
        {'b', "to rotate there are -G, -S and -P, with -B DIR"},
        {'f', "a filter is -F BPF"},
        {'j', "the kind of time stamp stands behind the source: eth0,tstamp=TYPE"},
        {'n', "names are never looked up"},
        {'p', "promiscuous mode stands behind the source: eth0,promisc=no"},
        {'t', "to print packets there is --print"},
        {'x', "to look at packets there are --print and the recipes"},
        {'y', "link types are kept as the source has them"},
};

int mt_parse_add_word(struct mt_parse *p, enum mt_word_kind kind, const char *text, struct mt_err *err)
{
	/* doubled at each power of two: command lines name thousands of files */
	if ((p->n_words & (p->n_words - 1)) == 0) {
		struct mt_word *words =
		        reallocarray(p->words, p->n_words ? 2 * (size_t)p->n_words : 1, sizeof *words);
		if (!words)
			return mt_err_set(err, "%s: out of memory", text);
		p->words = words;
	}
	p->words[p->n_words++] = (struct mt_word){.kind = kind, .text = text};
	return 0;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;
	return m < c ? m : c;
}

/* Levenshtein distance; 99 if either is too long to be a typing error. */
static unsigned distance(const char *a, const char *b)
{
	enum { LONGEST = 40 };
	unsigned row[LONGEST + 1];
	size_t n = strlen(a), m = strlen(b);
	if (n > LONGEST || m > LONGEST)
		return 99;
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			unsigned above = row[j];
			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[m];
}

/* A long name that text may have been meant to be, or NULL: its beginning, or near to it. */
static const char *nearest(const char *text)
{
	const char *best = NULL;
	size_t len = strlen(text);
	unsigned limit = len < 3 ? 0 : len < 6 ? 1 : (unsigned)(len / 3), best_distance = limit + 1;
	for (const struct mt_option *o = mt_options_table; o->name; o++) {
		const char *names[] = {o->name, o->alias};
		for (unsigned i = 0; i < 2 && names[i]; i++) {
			unsigned d =
			        len >= 2 && strncmp(names[i], text, len) == 0 ? 0 : distance(names[i], text);
			if (d < best_distance) {
				best_distance = d;
				best = names[i];
			}
		}
	}
	return best;
}

static int unknown_long(const char *name, struct mt_err *err)
{
	const char *near = nearest(name);
	if (near)
		return mt_err_set(err, "unknown option --%s; the nearest is --%s", name, near);
	return mt_err_set(err, "unknown option --%s; --help lists the options", name);
}

static const struct mt_option *find_letter(char letter)
{
	for (const struct mt_option *o = mt_options_table; o->name; o++)
		if (letter && o->letter == letter)
			return o;
	return NULL;
}

static int unknown_letter(char letter, struct mt_err *err)
{
	for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
		if (habits[i].letter == letter)
			return mt_err_set(err, "unknown option -%c: %s", letter, habits[i].instead);
	const struct mt_option *other = find_letter((char)(letter ^ 0x20));
	if (other)
		return mt_err_set(err, "unknown option -%c; there is -%c: %s", letter, other->letter,
		                  other->help);
	if (letter <= ' ' || letter > '~')
		return mt_err_set(err, "unknown option - followed by byte 0x%02x; --help lists the options",
		                  (unsigned)(unsigned char)letter);
	return mt_err_set(err, "unknown option -%c; --help lists the options", letter);
}

static const struct mt_option *find_name(const char *name, size_t len)
{
	for (const struct mt_option *o = mt_options_table; o->name; o++)
		if ((strlen(o->name) == len && memcmp(o->name, name, len) == 0) ||
		    (o->alias && strlen(o->alias) == len && memcmp(o->alias, name, len) == 0))
			return o;
	return NULL;
}

/* Store one option with its value (NULL: none was given). */
static int store(struct mt_parse *p, const struct mt_option *option, const char *spelt, int spelt_len,
                 const char *value, struct mt_err *err)
{
	size_t index = (size_t)(option - mt_options_table);
	char typed[sizeof p->spellings[0]];
	snprintf(typed, sizeof typed, "%.*s", spelt_len, spelt);
	if (option->argument && !option->repeats && p->given[index])
		return mt_err_set(err, "%s %s: %s was given already; it can be given only once", typed,
		                  value ? value : "", p->given[index]);
	memcpy(p->spellings[index], typed, sizeof typed);
	p->given[index] = p->spelt = p->spellings[index];
	p->values[index] = value;
	return option->set(p, option, value, err);
}

/* The argument of an option that may come without: the next word unless it is an option. */
static const char *optional_value(int argc, char **argv, int *i)
{
	if (*i + 1 < argc && argv[*i + 1][0] != '-')
		return argv[++*i];
	return NULL;
}

/* argv[*i] is "--NAME" or "--NAME=VALUE"; *i moves to the last word used. */
static int parse_long(struct mt_parse *p, int argc, char **argv, int *i, struct mt_err *err)
{
	const char *word = argv[*i], *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct mt_option *option = find_name(word + 2, len - 2);
	if (!option) {
		char name[64];
		snprintf(name, sizeof name, "%.*s",
		         len - 2 < sizeof name ? (int)(len - 2) : (int)sizeof name - 1, word + 2);
		return unknown_long(name, err);
	}
	const char *value = equals ? equals + 1 : NULL;
	if (!option->argument && equals)
		return mt_err_set(err, "--%s takes no argument, found '%s'", option->name, value);
	if (option->argument && option->optional && !value)
		value = optional_value(argc, argv, i);
	if (option->argument && !option->optional && !value) {
		if (*i + 1 == argc)
			return mt_err_set(err, "%s: expected %s behind it", word, option->argument);
		value = argv[++*i];
	}
	return store(p, option, word, (int)len, value, err);
}

/* argv[*i] is "-abc" or "-aVALUE"; *i moves to the last word used. */
static int parse_letters(struct mt_parse *p, int argc, char **argv, int *i, struct mt_err *err)
{
	for (const char *c = argv[*i] + 1; *c; c++) {
		const struct mt_option *option = find_letter(*c);
		if (!option)
			return unknown_letter(*c, err);
		char spelt[] = {'-', *c, '\0'};
		if (!option->argument) {
			if (store(p, option, spelt, 2, NULL, err))
				return -1;
			continue;
		}
		const char *value = c[1] ? c + 1 : NULL;
		if (!value && option->optional)
			value = optional_value(argc, argv, i);
		if (!value && !option->optional) {
			if (*i + 1 == argc)
				return mt_err_set(err, "%s: expected %s behind it", spelt, option->argument);
			value = argv[++*i];
		}
		return store(p, option, spelt, 2, value, err);
	}
	return 0;
}

/* --help and --version are obeyed whatever else stands on the line behind them. */
static bool decided(const struct mt_options *o)
{
	return o->command == MT_COMMAND_HELP || o->command == MT_COMMAND_VERSION;
}

static int parse_words(struct mt_parse *p, int argc, char **argv, struct mt_err *err)
{
	bool options_ended = false;
	for (int i = 1; i < argc && !decided(p->options); i++) {
		const char *word = argv[i];
		int status;
		if (options_ended || word[0] != '-' || !word[1])
			status = mt_parse_add_word(p, MT_WORD_BARE, word, err);
		else if (word[1] != '-')
			status = parse_letters(p, argc, argv, &i, err);
		else if (word[2])
			status = parse_long(p, argc, argv, &i, err);
		else
			status = 0, options_ended = true;
		if (status)
			return -1;
	}
	return 0;
}

static void set_defaults(struct mt_options *o, const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	*o = (struct mt_options){
	        .command = MT_COMMAND_RUN,
	        .snaplen = MT_MAX_CAPLEN,
	        .from_ns = INT64_MIN,
	        .to_ns = INT64_MAX,
	        .window_ms = 50,
	        .buffer_bytes = 64 << 20,
	        .kernel_buffer = 16 << 20,
	        .script_errors = 100,
	        .script_memory = 1 << 30,
	        .output = {.name = "", .linktype = 0xffff, .level = -1, .flush_ms = 1000},
	};
	if (argv0 && strcmp(slash ? slash + 1 : argv0, "mtracecap") == 0) {
		o->as_mtracecap = true;
		o->snaplen = 64;
	}
}

int mt_options_parse(struct mt_options *options, int argc, char **argv, struct mt_err *err)
{
	struct mt_parse p = {.options = options};
	set_defaults(options, argc > 0 ? argv[0] : NULL);
	int status = parse_words(&p, argc, argv, err);
	if (status == 0 && !decided(options))
		status = mt_options_resolve(&p, err);
	free(p.words);
	if (status) {
		bool json = options->json, source_failed = options->source_failed;
		mt_options_clear(options);
		options->json = json;
		options->source_failed = source_failed;
	}
	return status;
}

static bool is_stdout(const struct mt_output_config *c)
{
	static const char *const names[] = {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"};
	for (size_t i = 0; c->path && i < sizeof names / sizeof *names; i++)
		if (!strcmp(c->path, names[i]))
			return true;
	return false;
}

bool mt_options_packets_on_stdout(const struct mt_options *o)
{
	bool any = o->has_output && is_stdout(&o->output);
	for (unsigned i = 0; i < o->n_named; i++)
		any |= is_stdout(&o->named[i].output);
	return any;
}

void mt_options_forget_outputs(struct mt_options *options, unsigned n)
{
	while (options->n_named > n)
		free((char *)(uintptr_t)options->named[--options->n_named].name);
}

void mt_options_clear(struct mt_options *options)
{
	for (unsigned i = 0; i < options->n_sources; i++)
		mt_source_spec_clear(&options->sources[i]);
	free(options->sources);
	free(options->scripts);
	for (unsigned i = 0; i < options->n_named; i++)
		free((char *)options->named[i].name);
	free(options->named);
	for (unsigned i = 0; i < options->n_texts; i++)
		free(options->texts[i]);
	free(options->texts);
	*options = (struct mt_options){.command = MT_COMMAND_RUN};
}
