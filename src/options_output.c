/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options_output.c - what is written where, and in which format and codec.
 *
 * The format is the one of --format, else of a prefix ("erf:PATH"), else of the ending, else
 * left to the caller (MT_FORMAT_AUTO).  The codec is that of -Z, else of the ending, else gzip
 * if there is a -z.  Called once at start for the default output and each --out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options_table.h"
#include "source_trace.h"

/* What may stand before the colon of an output that we write ourselves. */
static const struct {
	const char *prefix;
	enum mt_format format;
} prefixes[] = {
        {"pcap", MT_FORMAT_PCAP},
        {"pcapfile", MT_FORMAT_PCAP},
        {"pcapng", MT_FORMAT_PCAPNG},
        {"erf", MT_FORMAT_ERF},
};

/* The path of "PREFIX:PATH" with its format, or word itself and MT_FORMAT_AUTO.  libtrace gets
 * the whole URI; "libtrace:URI" is libtrace's whatever follows. */
static const char *split_prefix(const char *word, enum mt_format *format)
{
	const char *colon = strchr(word, ':');
	size_t len = colon ? (size_t)(colon - word) : 0;
	*format = MT_FORMAT_AUTO;
	if (len == 0)
		return word;
	if (len == strlen("libtrace") && memcmp(word, "libtrace", len) == 0) {
		*format = MT_FORMAT_TRACE;
		return colon + 1;
	}
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		if (strlen(prefixes[i].prefix) == len && memcmp(word, prefixes[i].prefix, len) == 0) {
			*format = prefixes[i].format;
			return colon + 1;
		}
	}
	if (mt_trace_knows(word)) /* whether it can be written is for libtrace to say */
		*format = MT_FORMAT_TRACE;
	return word;
}

/* What libtrace writes by itself can not pass through our codecs and pipes. */
static int check_trace(const struct mt_parse *p, const struct mt_output_config *c, const char *spelt,
                       struct mt_err *err)
{
	const char *ours = "only pcap, pcapng and erf can";
	if (c->segmented)
		return mt_err_set(err, "%s %s: libtrace's formats can not be written as segments; %s", spelt,
		                  c->path, ours);
	if (p->format)
		return mt_err_set(err, "%s %s: --format %s contradicts it; give one of the two", spelt, c->path,
		                  p->format);
	if (p->codec && c->codec != MT_CODEC_NONE)
		return mt_err_set(err, "%s %s: -Z %s: what libtrace writes can not be compressed; %s", spelt,
		                  c->path, p->codec, ours);
	if (c->level >= 0)
		return mt_err_set(err, "%s %s: -z %d: what libtrace writes can not be compressed; %s", spelt,
		                  c->path, c->level, ours);
	if (c->pipeout)
		return mt_err_set(err,
		                  "%s %s: --pipeout: what libtrace writes can not go through a command; %s",
		                  spelt, c->path, ours);
	if (c->on_full != MT_FULL_STOP)
		return mt_err_set(err, "%s %s: --on-full: what libtrace writes ends when the disk is full; %s",
		                  spelt, c->path, ours);
	enum mt_format format;
	enum mt_codec_id codec = MT_CODEC_NONE;
	mt_output_guess(c->path, &format, &codec);
	if (codec != MT_CODEC_NONE && !p->codec)
		return mt_err_set(err,
		                  "%s %s: what libtrace writes can not be compressed, but the name ends in %s",
		                  spelt, c->path, mt_codec_extension(codec));
	return 0;
}

/* The text whose ending tells format and codec, or NULL. */
static const char *ending_of(const struct mt_output_config *c)
{
	if (!c->segmented)
		return c->path;
	return c->segment.name ? c->segment.name : c->segment.extension;
}

/* Fill in path, format and codec of c, which holds what the options stated.  spelt: the option
 * that named the output. */
static int resolve_one(const struct mt_parse *p, struct mt_output_config *c, bool *has_format, bool *has_codec,
                       const char *spelt, const char *word, struct mt_err *err)
{
	enum mt_format prefix, format = MT_FORMAT_AUTO;
	enum mt_codec_id codec = MT_CODEC_NONE;
	c->path = split_prefix(word, &prefix);
	if (!*c->path || c->path[strlen(c->path) - 1] == ':')
		return mt_err_set(err, "%s %s: expected a path behind the colon", spelt, word);
	if (prefix == MT_FORMAT_TRACE) {
		c->format = MT_FORMAT_TRACE;
		*has_format = true;
		return check_trace(p, c, spelt, err);
	}
	if (p->format && prefix != MT_FORMAT_AUTO && prefix != c->format)
		return mt_err_set(err, "%s %s: --format %s contradicts it; give one of the two", spelt, word,
		                  p->format);
	const char *ending = ending_of(c);
	if (ending && !p->options->as_mtracecap)
		mt_output_guess(ending, &format, &codec);
	if (prefix != MT_FORMAT_AUTO)
		format = prefix;
	if (!p->format)
		c->format = format;
	*has_format = c->format != MT_FORMAT_AUTO;
	/* with a command the ending describes what the command makes */
	if (!p->codec)
		c->codec = c->pipeout ? MT_CODEC_NONE : codec;
	if (!p->codec && c->codec == MT_CODEC_NONE && c->level >= 0)
		c->codec = MT_CODEC_GZIP;
	*has_codec = p->codec || c->codec != MT_CODEC_NONE;
	if (c->codec == MT_CODEC_NONE && c->level >= 0 && !p->options->as_mtracecap)
		return mt_err_set(err, "-z %d has no meaning with -Z %s", c->level, p->codec);
	if (c->codec == MT_CODEC_NONE)
		return 0;
	return mt_codec_check(c->codec, c->level, err) ? mt_err_prefix(err, "%s %s", spelt, word) : 0;
}

/* What mtracecap writes if nothing else is said: microsecond pcap, names without ending. */
static void mtracecap_output(struct mt_options *o)
{
	struct mt_output_config *c = &o->output;
	if (!o->as_mtracecap)
		return;
	if (c->format == MT_FORMAT_AUTO) {
		c->format = MT_FORMAT_PCAP;
		o->has_format = true;
	}
	c->microseconds = c->format == MT_FORMAT_PCAP;
	c->segment.manifest = false;
	if (!c->segment.extension)
		c->segment.extension = "";
}

int mt_options_resolve_outputs(struct mt_parse *p, struct mt_err *err)
{
	struct mt_options *o = p->options;
	bool has_codec;
	if (p->output && p->base)
		return mt_err_set(err, "-o %s and -B %s: expected one of the two (more outputs are --out)",
		                  p->output, p->base);
	o->output.overwrite = o->overwrite;
	struct mt_output_config shared = o->output;
	shared.segment = (struct mt_segment_config){.utc = o->output.segment.utc};
	for (unsigned i = 0; i < o->n_named; i++) {
		struct mt_named_output *named = &o->named[i];
		named->output = shared;
		named->output.name = named->name;
		if (resolve_one(p, &named->output, &named->has_format, &has_codec, "--out", named->path, err))
			return -1;
	}
	o->has_output = p->output || p->base;
	if (!o->has_output)
		return 0;
	if (o->pre_ns && !o->output.segment.name)
		o->output.segment.name = "%Y%m%d-%H%M%S-%{seq}-%{reason}";
	o->output.segmented = p->base != NULL;
	o->output.segment.manifest = o->output.segmented;
	if (resolve_one(p, &o->output, &o->has_format, &o->has_codec, p->base ? "-B" : "-o",
	                p->base ? p->base : p->output, err))
		return -1;
	mtracecap_output(o);
	return 0;
}

/* A file that is written: as named, and as the file system knows it. */
struct place {
	const char *spelt, *path;
	bool exists;  /* st is filled in */
	bool special; /* a device or folder: several may share it */
	struct stat st;
};

static struct place place_of(const char *spelt, const char *path, bool is_uri, int standard)
{
	const char *colon = is_uri ? strchr(path, ':') : NULL;
	struct place place = {.spelt = spelt, .path = colon ? colon + 1 : path};
	bool dash = strcmp(place.path, "-") == 0;
	place.exists = dash ? fstat(standard, &place.st) == 0 : stat(place.path, &place.st) == 0;
	place.special = place.exists && !S_ISREG(place.st.st_mode) && !(S_ISFIFO(place.st.st_mode) && !dash);
	return place;
}

static bool same_place(const struct place *a, const struct place *b)
{
	if (a->special || b->special)
		return false;
	if (a->exists && b->exists)
		return a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino;
	return !a->exists && !b->exists && strcmp(a->path, b->path) == 0;
}

static int check_sources(const struct mt_options *o, const struct place *places, unsigned n, struct mt_err *err)
{
	for (unsigned s = 0; n && s < o->n_sources; s++) {
		const struct mt_source_spec *spec = &o->sources[s];
		if (spec->kind == MT_SOURCE_INTERFACE || !spec->target) /* NULL: it has been opened long ago */
			continue;
		struct place source = place_of("", spec->target, spec->kind == MT_SOURCE_TRACE, STDIN_FILENO);
		for (unsigned i = 0; i < n; i++)
			if (same_place(&source, &places[i]))
				return mt_err_set(
				        err, "%s %s: is also a source (%s); expected another file to write to",
				        places[i].spelt, places[i].path, spec->word);
	}
	return 0;
}

static int check_pairs(const struct place *places, unsigned n, struct mt_err *err)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++)
			if (same_place(&places[i], &places[j]) ||
			    (strcmp(places[i].path, "-") == 0 && strcmp(places[j].path, "-") == 0))
				return mt_err_set(
				        err, "%s %s and %s %s: expected different files for different outputs",
				        places[j].spelt, places[j].path, places[i].spelt, places[i].path);
	return 0;
}

int mt_options_check_overlap(const struct mt_parse *p, struct mt_err *err)
{
	const struct mt_options *o = p->options;
	struct place *places = calloc((size_t)o->n_named + 1, sizeof *places);
	unsigned n = 0;
	if (!places)
		return mt_err_set(err, "out of memory");
	if (o->has_output && !o->output.segmented)
		places[n++] =
		        place_of("-o", o->output.path, o->output.format == MT_FORMAT_TRACE, STDOUT_FILENO);
	for (unsigned i = 0; i < o->n_named; i++) {
		const struct mt_output_config *c = &o->named[i].output;
		places[n++] = place_of("--out", c->path, c->format == MT_FORMAT_TRACE, STDOUT_FILENO);
	}
	int status = check_pairs(places, n, err) || check_sources(o, places, n, err) ? -1 : 0;
	free(places);
	return status;
}

/* --- outputs that scripts declare ---------------------------------------------------------- */

/* A copy that lives as long as the options. */
static const char *keep_text(struct mt_options *o, const char *text)
{
	char **texts = reallocarray(o->texts, o->n_texts + 1, sizeof *texts);
	char *copy = texts ? strdup(text) : NULL;
	if (texts)
		o->texts = texts;
	if (copy)
		o->texts[o->n_texts++] = copy;
	return copy;
}

/* What an output has that says nothing: no trigger, no codec, what all outputs share. */
static struct mt_output_config plain_output(const struct mt_options *o)
{
	return (struct mt_output_config){
	        .format = MT_FORMAT_AUTO,
	        .codec = MT_CODEC_NONE,
	        .level = -1,
	        .overwrite = o->overwrite,
	        .flush_ms = o->output.flush_ms,
	        .on_full = o->output.on_full,
	        .segment = {.utc = o->output.segment.utc, .live = o->any_live},
	};
}

/* Set what pairs say on p->options->output. */
static int set_pairs(struct mt_parse *p, struct mt_options *owner, const char *const *pairs, struct mt_err *err)
{
	for (; *pairs; pairs += 2) {
		const struct mt_option *option = mt_options_table;
		while (option->name && strcmp(option->name, pairs[0]) != 0)
			option++;
		if (!option->name)
			return mt_err_set(err, "there is no option %s", pairs[0]);
		const char *value = keep_text(owner, pairs[1]);
		if (!value)
			return mt_err_set(err, "out of memory");
		p->spelt = option->name;
		if (option->set(p, option, option->argument ? value : NULL, err))
			return -1;
	}
	return 0;
}

int mt_options_declare_output(struct mt_options *o, const char *name, const char *path, bool segmented,
                              uint32_t split_files, const char *const *pairs, struct mt_err *err)
{
	struct mt_options scratch = *o;
	struct mt_parse p = {.options = &scratch}, whole = {.options = o, .spelt = name};
	bool has_codec;
	scratch.output = plain_output(o);
	const char *kept_path = keep_text(o, path);
	if (!kept_path || mt_options_add_named(&whole, strdup(name), kept_path, err))
		return kept_path ? -1 : mt_err_set(err, "out of memory");
	struct mt_named_output *named = &o->named[o->n_named - 1];
	struct mt_output_config *c = &scratch.output;
	if (set_pairs(&p, o, pairs, err))
		return -1;
	c->name = named->name;
	c->split_files = split_files;
	if (split_files && c->on_full == MT_FULL_DROP_OLDEST)
		return mt_err_set(
		        err, "--on-full drop-oldest deletes segments; the files of a split output are none");
	c->segmented = c->segment.manifest = segmented;
	c->snaplen = o->output.snaplen;
	if (c->write_snaplen && c->write_snaplen < c->snaplen)
		c->snaplen = c->write_snaplen;
	if (resolve_one(&p, c, &named->has_format, &has_codec, segmented ? "dir" : "path", kept_path, err))
		return -1;
	named->output = *c;
	if (mt_options_check_overlap(&whole, err) || mt_options_check_sandbox(o, c, err))
		return -1;
	return (int)o->n_named - 1;
}
