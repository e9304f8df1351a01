/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.h - the command line, parsed and checked, as a plain struct.
 *
 * options_table.c says which options there are, options.c reads argv by that table,
 * options_resolve.c does what needs the whole line (sources, outputs, combinations), help.c
 * prints the same table, main.c acts on the result.
 */
#ifndef MT_OPTIONS_H
#define MT_OPTIONS_H
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "output.h"
#include "source.h"

enum mt_command {
	MT_COMMAND_RUN,  /* read sources */
	MT_COMMAND_HELP, /* --help [TOPIC] */
	MT_COMMAND_VERSION,
	MT_COMMAND_INTERFACES, /* -D */
	MT_COMMAND_FORMATS,    /* -H */
	MT_COMMAND_RECOVER,    /* --recover DIR */
	MT_COMMAND_ATTACH,     /* --attach SOCKET */
	MT_COMMAND_RECIPES     /* --recipes */
};

/* One -l or -e, in the order of the command line. */
struct mt_script_option {
	bool expression;  /* -e */
	const char *text; /* as given */
};

/* One --out NAME=PATH. */
struct mt_named_output {
	const char *name, *path;        /* path: as given, with a format prefix */
	struct mt_output_config output; /* as mt_options.output: its own path, format and codec */
	bool has_format;
};

enum mt_error_rule { MT_RULE_DEFAULT, MT_RULE_KEEP, MT_RULE_DROP, MT_RULE_STOP };

struct mt_options {
	enum mt_command command;
	const char *topic; /* of --help, or NULL */
	const char *recover_dir;

	struct mt_source_spec *sources; /* in command line order */
	unsigned n_sources;
	bool any_live;
	unsigned live_interfaces; /* and capture URIs */

	struct mt_script_option *scripts;
	unsigned n_scripts;
	bool script_help; /* some -l is NAME,help: sources may be absent */
	struct mt_named_output *named;
	unsigned n_named;
	char **texts; /* that declared outputs borrow */
	unsigned n_texts;

	const char *filter;     /* -F */
	uint32_t snaplen;       /* -s, default MT_MAX_CAPLEN */
	int64_t from_ns, to_ns; /* INT64_MIN and INT64_MAX if not given */
	uint64_t count;         /* -c; 0: no limit */
	int64_t duration_ns;    /* --duration; 0: no limit */
	unsigned window_ms;     /* -w */
	bool drop_late;         /* --late=drop */
	bool mixed_clocks;      /* --mixed-clocks */
	uint32_t reorder_ms;    /* --reorder; 0: not */
	uint64_t buffer_bytes;  /* --buffer-size */
	uint64_t kernel_buffer; /* --kernel-buffer */

	/* the default output, and what all outputs share; format may be MT_FORMAT_AUTO */
	struct mt_output_config output;
	bool has_output; /* -o or -B was given */
	bool has_format; /* the format was stated, by option, prefix or ending */
	bool has_codec;

	bool repl;  /* --repl */
	bool print; /* --print */
	bool json;
	bool quiet; /* -q */
	bool strict;
	bool source_failed; /* parsing ended because a source is nothing that can be read */
	bool overwrite;
	bool as_mtracecap; /* called under that name */
	bool profile;      /* --profile */
	int verbosity;     /* -v */
	const char *user;  /* --relinquish-privileges */
	int64_t pre_ns;    /* --pre; 0: no flight recorder */
	size_t pre_bytes;
	bool sandbox;        /* --sandbox */
	const char *control; /* --control */
	const char *attach;  /* --attach */
	const char *metrics; /* --metrics */
	const char *lua_dir; /* --lua-dir */
	enum mt_error_rule on_script_error;
	uint64_t script_errors;     /* --script-errors */
	uint64_t script_memory;     /* --script-memory, bytes */
	unsigned script_timeout_ms; /* --script-timeout; 0: none */
};

/* Parse argv, which is not changed.  0, or -1 with err (status 1) and nothing to free.  Strings
 * are borrowed from argv or owned by the struct; free with mt_options_clear, which may be
 * called twice. */
int mt_options_parse(struct mt_options *options, int argc, char **argv, struct mt_err *err);
void mt_options_clear(struct mt_options *options);
/* An output that a script declares, as with --out NAME=PATH, or with -B PATH if segmented.  pairs: names of
 * options without dashes and their values, ended by NULL, as if given for this output.
 * Everything is copied.  The place in options->named, or -1 with err. */
int mt_options_declare_output(struct mt_options *options, const char *name, const char *path, bool segmented,
                              uint32_t split_files, const char *const *pairs, struct mt_err *err);
/* Forget the named outputs behind the first n. */
void mt_options_forget_outputs(struct mt_options *options, unsigned n);
/* Do packets go to standard output? */
bool mt_options_packets_on_stdout(const struct mt_options *options);

/* Print --help, whole or one topic, on standard output.  0, or -1 if the topic is unknown. */
int mt_help_print(const char *topic, struct mt_err *err);

#endif
