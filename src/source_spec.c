/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source_spec.c - "SOURCE,KEY=VALUE,..." to a struct, and what kind of thing SOURCE is.
 *
 * The rules favour what exists: a word that names a file is that file, whatever commas and
 * colons are in it.  Nothing is guessed: a word that could be two things is refused.
 */
#include <errno.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "source.h"
#include "source_trace.h"
#include "units.h"

#define KEYS "filter, snaplen, offset, name, promisc, tstamp, live, follow"

/* What was given, to tell it from a default. */
struct given {
	bool promisc, live, not_live, follow;
};

/* --- KEY=VALUE ------------------------------------------------------------------------- */

static int set_text(char **field, const char *value)
{
	free(*field);
	*field = strdup(value);
	return *field ? 0 : -1;
}

static int parse_flag(const char *word, const char *key, const char *value, bool *flag, struct mt_err *err)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
		return mt_err_set(err, "%s: %s= expects yes or no, found \"%s\"", word, key, value);
	*flag = value[0] == 'y';
	return 0;
}

static int parse_snaplen(struct mt_source_spec *spec, const char *value, struct mt_err *err)
{
	uint64_t n;
	if (!mt_parse_u64(value, 1, MT_MAX_CAPLEN, &n))
		return mt_err_set(err, "%s: snaplen= expects a number from 1 to %d, found \"%s\"", spec->word,
		                  MT_MAX_CAPLEN, value);
	spec->snaplen = (uint32_t)n;
	return 0;
}

static int set_key(struct mt_source_spec *spec, struct given *given, const char *key, const char *value,
                   struct mt_err *err)
{
	bool flag = false;
	if (strcmp(key, "filter") == 0)
		return set_text(&spec->filter, value) ? mt_err_set(err, "out of memory") : 0;
	if (strcmp(key, "tstamp") == 0)
		return set_text(&spec->tstamp, value) ? mt_err_set(err, "out of memory") : 0;
	if (strcmp(key, "name") == 0) {
		if (!*value)
			return mt_err_set(err, "%s: name= expects a name", spec->word);
		return set_text(&spec->name, value) ? mt_err_set(err, "out of memory") : 0;
	}
	if (strcmp(key, "snaplen") == 0)
		return parse_snaplen(spec, value, err);
	if (strcmp(key, "offset") == 0) {
		if (!mt_parse_seconds(value, &spec->offset_ns))
			return mt_err_set(err, "%s: offset= expects seconds, as in -0.0015, found \"%s\"",
			                  spec->word, value);
		return 0;
	}
	if (parse_flag(spec->word, key, value, &flag, err))
		return -1;
	if (strcmp(key, "promisc") == 0) {
		spec->promisc = flag;
		given->promisc = true;
	} else if (strcmp(key, "live") == 0) {
		given->live = flag;
		given->not_live = !flag;
	} else {
		spec->follow = flag;
		given->follow = true;
	}
	return 0;
}

static bool is_key(const char *text, size_t len)
{
	static const char *const keys[] = {"filter",  "snaplen", "offset", "name",
	                                   "promisc", "tstamp",  "live",   "follow"};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (strlen(keys[i]) == len && memcmp(keys[i], text, len) == 0)
			return true;
	return false;
}

/* The next comma that is not written as "\,", or the end. */
static char *next_comma(char *text)
{
	for (; *text && *text != ','; text++)
		if (text[0] == '\\' && text[1] == ',')
			text++;
	return text;
}

/* Where the first ",KEY=" with a known key begins, or the end of the text. */
static char *find_options(char *text)
{
	char *comma = next_comma(text);
	while (*comma) {
		const char *key = comma + 1;
		size_t len = strcspn(key, "=,");
		if (key[len] == '=' && is_key(key, len))
			return comma;
		comma = next_comma(comma + 1);
	}
	return comma;
}

/* "\," to ",", in place. */
static void unescape(char *text)
{
	char *out = text;
	for (; *text; text++) {
		if (text[0] == '\\' && text[1] == ',')
			text++;
		*out++ = *text;
	}
	*out = 0;
}

static int parse_options(struct mt_source_spec *spec, struct given *given, char *text, struct mt_err *err)
{
	while (*text) {
		char *end = next_comma(text), *next = *end ? end + 1 : end;
		*end = 0;
		char *value = strchr(text, '=');
		if (!value || !is_key(text, (size_t)(value - text)))
			return mt_err_set(err, "%s: unknown key \"%.*s\", known are " KEYS, spec->word,
			                  (int)strcspn(text, "="), text);
		*value++ = 0;
		unescape(value);
		if (set_key(spec, given, text, value, err))
			return -1;
		text = next;
	}
	return 0;
}

/* --- what it is ------------------------------------------------------------------------ */

static bool is_file(const char *path, bool *directory)
{
	struct stat st;
	bool there = stat(path, &st) == 0;
	*directory = there && S_ISDIR(st.st_mode);
	return there && !*directory;
}

/* Devices of libpcap that the kernel does not list as interfaces: any, usbmon0, nflog ... */
static bool is_pcap_device(const char *name)
{
	char text[PCAP_ERRBUF_SIZE];
	pcap_if_t *list;
	if (pcap_findalldevs(&list, text))
		return false;
	bool found = false;
	for (pcap_if_t *d = list; d && !found; d = d->next)
		found = strcmp(d->name, name) == 0;
	pcap_freealldevs(list);
	return found;
}

static bool is_interface(const char *name)
{
	if (!*name || strchr(name, '/'))
		return false;
	return if_nametoindex(name) || strcmp(name, "any") == 0 || is_pcap_device(name);
}

static int set_target(struct mt_source_spec *spec, enum mt_source_kind kind, const char *target,
                      struct mt_err *err)
{
	spec->kind = kind;
	if (!*target)
		return mt_err_set(err, "%s: no source is named", *spec->word ? spec->word : "\"\"");
	return set_text(&spec->target, target) ? mt_err_set(err, "out of memory") : 0;
}

static bool has_prefix(const char *text, size_t len, const char *prefix)
{
	return strlen(prefix) == len && memcmp(text, prefix, len) == 0;
}

/* FORMAT:REST. 1 it is one that we or libtrace know, 0 it is not, -1. */
static int resolve_uri(struct mt_source_spec *spec, const char *source, struct mt_err *err)
{
	const char *colon = strchr(source, ':');
	size_t len = colon ? (size_t)(colon - source) : 0;
	if (!len || memchr(source, '/', len))
		return 0;
	int result = -1;
	if (has_prefix(source, len, "libtrace")) {
		result = set_target(spec, MT_SOURCE_TRACE, colon + 1, err);
	} else if (has_prefix(source, len, "pcapfile") || has_prefix(source, len, "pcap")) {
		spec->format = "pcap";
		result = set_target(spec, MT_SOURCE_FILE, colon + 1, err);
	} else if (has_prefix(source, len, "pcapng")) {
		spec->format = "pcapng";
		result = set_target(spec, MT_SOURCE_FILE, colon + 1, err);
	} else if (has_prefix(source, len, "erf")) {
		spec->format = "erf";
		result = set_target(spec, MT_SOURCE_FILE, colon + 1, err);
	} else if (mt_trace_prefers_libpcap(source)) {
		result = set_target(spec, MT_SOURCE_INTERFACE, colon + 1, err);
	} else if (mt_trace_knows(source)) {
		result = set_target(spec, MT_SOURCE_TRACE, source, err);
	} else {
		return 0;
	}
	return result ? -1 : 1;
}

static int not_found(const char *source, struct mt_err *err)
{
	const char *colon = strchr(source, ':'), *comma = strrchr(source, ',');
	if (comma && strchr(comma, '='))
		return mt_err_set(err,
		                  "%s: no such file, no such interface, and \"%.*s\" is no key of a source "
		                  "(known are " KEYS ")",
		                  source, (int)strcspn(comma + 1, "="), comma + 1);
	if (colon && !strchr(source, '/'))
		return mt_err_set(
		        err,
		        "%s: no format \"%.*s\" is known (-H lists them), no such file, and no such interface",
		        source, (int)(colon - source), source);
	return mt_err_set(err, "%s: no such file, and no such interface (-D lists them)", source);
}

static int resolve_word(struct mt_source_spec *spec, const char *source, struct mt_err *err)
{
	bool directory, file = is_file(source, &directory);
	if (strcmp(source, "-") == 0)
		return set_target(spec, MT_SOURCE_FILE, source, err);
	if (!file) {
		int uri = resolve_uri(spec, source, err);
		if (uri)
			return uri < 0 ? -1 : 0;
	}
	bool interface = is_interface(source);
	if (file && interface)
		return mt_err_set(err, "%s: both a file and an interface: say -r %s or -i %s", source, source,
		                  source);
	if (file)
		return set_target(spec, MT_SOURCE_FILE, source, err);
	if (interface)
		return set_target(spec, MT_SOURCE_INTERFACE, source, err);
	if (directory)
		return mt_err_set(err, "%s: is a directory, expected a capture file; name the files in it",
		                  source);
	return not_found(source, err);
}

/* -r and -i say what it is; that it exists is checked here too, so that all is found at start. */
static int resolve(struct mt_source_spec *spec, const char *source, bool as_file, bool as_interface,
                   struct mt_err *err)
{
	bool directory;
	if (as_interface) {
		if (!is_interface(source))
			return mt_err_set(err, "%s: no such interface (-D lists them)", source);
		return set_target(spec, MT_SOURCE_INTERFACE, source, err);
	}
	if (!as_file)
		return resolve_word(spec, source, err);
	if (strcmp(source, "-") != 0 && !is_file(source, &directory)) {
		if (directory)
			return mt_err_set(err,
			                  "%s: is a directory, expected a capture file; name the files in it",
			                  source);
		return mt_err_set(err, "%s: %s", source, strerror(errno));
	}
	return set_target(spec, MT_SOURCE_FILE, source, err);
}

/* --- all of it ------------------------------------------------------------------------- */

/* Refuse what has no meaning for this kind of source, then say whether it is live. */
static int check(struct mt_source_spec *spec, const struct given *given, struct mt_err *err)
{
	bool capture = spec->kind == MT_SOURCE_INTERFACE ||
	               (spec->kind == MT_SOURCE_TRACE && mt_trace_is_live(spec->target));
	if (given->promisc && !capture)
		return mt_err_set(err, "%s: promisc= is for interfaces", spec->word);
	if (spec->tstamp && spec->kind != MT_SOURCE_INTERFACE)
		return mt_err_set(err, "%s: tstamp= is for interfaces", spec->word);
	if (given->follow && spec->kind != MT_SOURCE_FILE)
		return mt_err_set(err, "%s: follow= is for files", spec->word);
	if (given->not_live && (capture || spec->follow))
		return mt_err_set(err, "%s: live=no: %s is always live", spec->word,
		                  capture ? "an interface" : "a file with follow=yes");
	spec->not_live = given->not_live;
	spec->live = capture || spec->follow || given->live;
	return 0;
}

static int parse_word(struct mt_source_spec *spec, char *text, bool as_file, bool as_interface,
                      struct mt_err *err)
{
	struct given given = {0};
	bool directory;
	spec->promisc = true;
	if (is_file(text, &directory) && !as_interface) {
		if (resolve(spec, text, as_file, as_interface, err))
			return -1;
	} else {
		char *options = find_options(text);
		bool any = *options;
		*options = 0;
		unescape(text);
		if (any && parse_options(spec, &given, options + 1, err))
			return -1;
		if (resolve(spec, text, as_file, as_interface, err))
			return -1;
	}
	if (!spec->name && set_text(&spec->name, spec->target))
		return mt_err_set(err, "out of memory");
	return check(spec, &given, err);
}

int mt_source_spec_parse(struct mt_source_spec *spec, const char *word, bool as_file, bool as_interface,
                         struct mt_err *err)
{
	memset(spec, 0, sizeof *spec);
	spec->word = strdup(word);
	char *text = strdup(word);
	int result = spec->word && text ? parse_word(spec, text, as_file, as_interface, err)
	                                : mt_err_set(err, "out of memory");
	free(text);
	if (result)
		mt_source_spec_clear(spec);
	return result;
}

void mt_source_spec_clear(struct mt_source_spec *spec)
{
	free(spec->word);
	free(spec->target);
	free(spec->name);
	free(spec->filter);
	free(spec->tstamp);
	memset(spec, 0, sizeof *spec);
}
