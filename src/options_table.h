/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options_table.h - the table of command line options, shared by the parser (options.c), the
 * checks across options (options_resolve.c) and --help (help.c).
 *
 * About 55 entries, walked a few times at start.
 */
#ifndef MT_OPTIONS_TABLE_H
#define MT_OPTIONS_TABLE_H
#include "options.h"

enum mt_topic {
	MT_TOPIC_SOURCES,
	MT_TOPIC_OUTPUT,
	MT_TOPIC_SEGMENTS,
	MT_TOPIC_SELECT,
	MT_TOPIC_SCRIPTS,
	MT_TOPIC_LIVE,
	MT_TOPIC_MISC,
	MT_TOPICS
};

/* What else must be on the command line for an option to mean something. */
enum mt_needs {
	MT_NEEDS_NOTHING,
	MT_NEEDS_SEGMENTS, /* -B */
	MT_NEEDS_OUTPUT,   /* -o, -B or --out */
	MT_NEEDS_WRITER,   /* the same, or a script that may declare one */
	MT_NEEDS_FILE,     /* -o or --out */
	MT_NEEDS_SCRIPT    /* -l, -e or --repl */
};

enum { MT_OPTIONS_MAX = 80 };

/* A source as it stood on the command line, not yet looked at. */
enum mt_word_kind { MT_WORD_BARE, MT_WORD_FILE, MT_WORD_INTERFACE, MT_WORD_LIST };
struct mt_word {
	enum mt_word_kind kind;
	const char *text;
};

/* What is known while the command line is read. */
struct mt_parse {
	struct mt_options *options;
	const char *spelt;                  /* the option in hand as typed: "-s", "--snaplen" */
	const char *given[MT_OPTIONS_MAX];  /* how the option of that table index was typed; NULL: not given */
	const char *values[MT_OPTIONS_MAX]; /* its value, or NULL */
	struct mt_word *words;
	unsigned n_words;
	char spellings[MT_OPTIONS_MAX][32]; /* what given[] points to */
	const char *output, *base;          /* -o, -B */
	const char *format, *codec;         /* --format, -Z */
	const char *from, *to;              /* --from, --to: read when -U is known */
};

struct mt_option {
	const char *name;     /* long name */
	const char *alias;    /* second long name, or NULL */
	char letter;          /* or 0 */
	const char *argument; /* name of its argument in --help, or NULL if it takes none */
	bool optional;        /* the argument may be absent */
	bool repeats;         /* may be given several times */
	enum mt_topic topic;
	enum mt_needs needs;
	enum mt_command command; /* what it asks for, if not MT_COMMAND_RUN */
	const char *help;        /* one line without full stop */
	/* Store value (NULL: none).  0 or -1. */
	int (*set)(struct mt_parse *p, const struct mt_option *option, const char *value, struct mt_err *err);
	/* for the setters that several options share */
	size_t offset; /* of the member of struct mt_options */
	uint64_t min, max;
	const char *what; /* what is expected, for messages */
};

/* The table, ended by an entry without name. */
extern const struct mt_option mt_options_table[];
/* One word on the command line that names a source.  0 or -1. */
int mt_parse_add_word(struct mt_parse *p, enum mt_word_kind kind, const char *text, struct mt_err *err);
/* Everything that needs the whole command line: sources, outputs, times, combinations.  0 or -1. */
int mt_options_resolve(struct mt_parse *p, struct mt_err *err);
/* The part of it that is about outputs: fills in options->output and those of --out. */
int mt_options_resolve_outputs(struct mt_parse *p, struct mt_err *err);
/* Add an output of this name (taken over; freed if it fails) to options->named.  0 or -1. */
int mt_options_add_named(struct mt_parse *p, char *name, const char *path, struct mt_err *err);
/* Refuse an output that is also a source, and two outputs that are one file.  0 or -1. */
int mt_options_check_overlap(const struct mt_parse *p, struct mt_err *err);
/* --sandbox: what an output would need more than to write below folders is refused by name.  0, or -1 with err.
 */
int mt_options_check_sandbox(const struct mt_options *options, const struct mt_output_config *output,
                             struct mt_err *err);

#endif
