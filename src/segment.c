/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment.c - see segment.h.
 *
 * Capture never stops for a name or for book-keeping: a name that does not work gives way
 * to the default name, a manifest or sequence file that can not be written is reported
 * and remembered for the exit status.
 */
#include "segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "beat.h"
#include "child.h"
#include "keep.h"
#include "log.h"
#include "manifest.h"
#include "naming.h"
#include "part.h"
#include "recover.h"
#include "relocate.h"
#include "sequence.h"

enum {
	WATCH_MS = 200,     /* between two looks for the watchfile */
	LOOK_MS = 1000,     /* between two looks whether the open segment is still there */
	ON_CLOSE_MS = 10000 /* for the last commands to end */
};

struct mt_segments {
	const struct mt_output_config *config;
	const struct mt_output_hooks *hooks;
	const struct mt_run_counters *counters;
	struct mt_sink *sink;
	struct mt_space *space;
	const atomic_int *interrupted;
	const char *output; /* in the manifest */
	char extension[64];
	struct mt_sequence sequence;
	struct mt_keep *keep;
	struct mt_child_pool *pool;
	struct mt_part part;                         /* the open segment */
	uint64_t late, clock_jumps, script_bypassed; /* as of the segment before */
	json_t *sources;
	uint64_t deleted, waited_ms; /* --on-full, as of the segment before */
	int64_t looked_ms;           /* for the open segment */
	json_t *unlisted;            /* lines that are in no manifest */
	json_t *moved;               /* folders that were renamed, with manifests of this run */
	uint64_t closed;
	bool troubled;
};

/* --- left-overs of earlier runs -------------------------------------------------------- */

struct leftovers {
	const char *folder;
	unsigned n;
	char names[512];
};

static void note_leftover(void *ctx, const char *rel)
{
	struct leftovers *l = ctx;
	size_t len = strlen(l->names);
	if (mt_part_is_locked(l->folder, rel))
		return;
	if (l->n++ < 5)
		snprintf(l->names + len, sizeof l->names - len, "%s%s", len ? ", " : "", rel);
}

static void report_leftovers(const char *folder)
{
	struct leftovers l = {.folder = folder};
	mt_part_each(folder, note_leftover, &l);
	if (l.n)
		mt_log_warn("%s: %u unfinished segment%s of an earlier run: %s%s (moontap --recover %s makes "
		            "them whole)",
		            folder, l.n, l.n == 1 ? "" : "s", l.names, l.n > 5 ? ", …" : "", folder);
}

/* --- open and close -------------------------------------------------------------------- */

static int prepare(struct mt_segments *s, struct mt_err *err)
{
	const struct mt_segment_config *c = &s->config->segment;
	const char *folder = s->config->path;
	if (c->extension && strlen(c->extension) >= sizeof s->extension)
		return mt_err_set(err, "--file-ext %s: at most %zu characters", c->extension,
		                  sizeof s->extension - 1);
	if (c->extension)
		snprintf(s->extension, sizeof s->extension, "%s", c->extension);
	else
		snprintf(s->extension, sizeof s->extension, ".%s%s", mt_format_name(s->config->format),
		         mt_codec_extension(s->config->codec));
	if (c->name && mt_name_template_check(c->name, err))
		return -1;
	if (mt_make_folders(folder, err))
		return mt_err_prefix(err, "-B %s", folder);
	if (access(folder, W_OK | X_OK))
		return mt_err_set(err, "-B %s: can not create files there: %s", folder, strerror(errno));
	if (mt_sequence_open(&s->sequence, c->sequence_file, err))
		return -1;
	report_leftovers(folder);
	bool keep = c->keep_files || c->keep_bytes || s->config->on_full == MT_FULL_DROP_OLDEST;
	if (keep)
		s->keep = mt_keep_new(folder, s->output, c->keep_files, c->keep_bytes);
	if (c->on_close)
		s->pool = mt_child_pool_new(c->on_close);
	if ((c->on_close && !s->pool) || (keep && !s->keep))
		return mt_err_set(err, "%s: out of memory", folder);
	return 0;
}

static bool delete_oldest(void *ctx)
{
	struct mt_segments *s = ctx;
	return s->keep && mt_keep_drop(s->keep);
}

struct mt_segments *mt_segments_new(const struct mt_output_config *config, const struct mt_output_hooks *hooks,
                                    const struct mt_run_counters *counters, struct mt_sink *sink,
                                    struct mt_space *space, const atomic_int *interrupted, struct mt_err *err)
{
	struct mt_segments *s = calloc(1, sizeof *s);
	if (!s) {
		mt_err_set(err, "%s: out of memory", config->path);
		return NULL;
	}
	s->config = config;
	s->hooks = hooks;
	s->counters = counters;
	s->sink = sink;
	s->interrupted = interrupted;
	s->space = space;
	space->delete_oldest = delete_oldest;
	space->ctx = s;
	s->output = config->name && *config->name ? config->name : "default";
	s->part.lock_fd = -1;
	s->unlisted = json_array();
	s->moved = json_array();
	if (!prepare(s, err))
		return s;
	mt_segments_free(s);
	return NULL;
}

void mt_segments_free(struct mt_segments *s)
{
	if (!s)
		return;
	mt_child_pool_free(s->pool, ON_CLOSE_MS, s->interrupted);
	mt_keep_free(s->keep);
	mt_part_clear(&s->part);
	json_decref(s->sources);
	json_decref(s->unlisted);
	json_decref(s->moved);
	free(s);
}

void mt_segments_tick(struct mt_segments *s)
{
	if (s->pool)
		mt_child_pool_tick(s->pool);
}

bool mt_segments_displaced(struct mt_segments *s, int64_t now_ms)
{
	if (now_ms - s->looked_ms < LOOK_MS)
		return false;
	s->looked_ms = now_ms;
	return mt_part_displaced(&s->part);
}

/* --- begin ----------------------------------------------------------------------------- */

/* Hold the segment back until the watchfile exists, or a signal says to end: then what was
 * read is still written. */
static void wait_for_watchfile(struct mt_segments *s)
{
	const char *path = s->config->segment.watchfile;
	const struct timespec pause = {0, WATCH_MS * 1000000L};
	if (!path || !access(path, F_OK) || atomic_load(s->interrupted))
		return;
	mt_log_info(1, "waiting for %s", path);
	while (access(path, F_OK) && !atomic_load(s->interrupted)) {
		nanosleep(&pause, NULL);
		mt_beat(MT_BEAT_WRITER);
		mt_segments_tick(s);
	}
}

/* The name that the script or the template wants, made safe; NULL: the default will do. */
static char *wanted_name(struct mt_segments *s, const struct mt_segment_view *view)
{
	const struct mt_segment_config *c = &s->config->segment;
	const char *asked =
	        s->hooks && s->hooks->segment_open ? s->hooks->segment_open(s->hooks->ctx, view) : NULL;
	char *name = NULL;
	if (asked)
		name = mt_name_clean(asked, s->extension);
	if (name || !c->name)
		return name;
	char *expanded = mt_name_expand(c->name, view, c->utc);
	name = expanded ? mt_name_clean(expanded, s->extension) : NULL;
	free(expanded);
	return name;
}

static char *default_name(const struct mt_segments *s, const struct mt_segment_view *view)
{
	char *expanded = mt_name_expand(NULL, view, s->config->segment.utc);
	char *name = expanded ? mt_name_clean(expanded, s->extension) : NULL;
	free(expanded);
	return name;
}

static int create_part(struct mt_segments *s, const struct mt_segment_view *view, int *fd, struct mt_err *err)
{
	char *name = wanted_name(s, view);
	if (name) {
		int rc;
		do {
			errno = 0;
			rc = mt_part_create(&s->part, s->config->path, name, s->extension, fd, err);
		} while (rc && mt_space_again(s->space, errno, s->config->path));
		free(name);
		if (!rc)
			return 0;
		mt_part_clear(&s->part);
		mt_log_warn("%s; the segment gets its default name", err->text);
	}
	name = default_name(s, view);
	if (!name)
		return mt_err_set(err, "%s: out of memory for a name", s->config->path);
	int rc;
	do {
		errno = 0;
		rc = mt_part_create(&s->part, s->config->path, name, s->extension, fd, err);
	} while (rc && mt_space_again(s->space, errno, s->config->path));
	if (!rc)
		mt_space_found(s->space, s->config->path);
	free(name);
	return rc;
}

/* Segments make no room for a sequence file on another disk.  Keeps errno. */
static bool may_find_space(const struct mt_segments *s)
{
	struct stat file, folder;
	int problem = errno;
	bool same = !stat(s->sequence.path, &file) && !stat(s->config->path, &folder) &&
	            file.st_dev == folder.st_dev;
	errno = problem;
	return same || s->space->rule != MT_FULL_DROP_OLDEST;
}

int mt_segments_begin(struct mt_segments *s, struct mt_segment_view *view, struct mt_err *err)
{
	int fd = -1;
	wait_for_watchfile(s);
	int rc = mt_sequence_next(&s->sequence, &view->seq, err);
	while (rc && may_find_space(s) && mt_space_again(s->space, errno, s->sequence.path))
		rc = mt_sequence_save(&s->sequence, err);
	if (rc) {
		if (!s->troubled)
			mt_log_warn("%s", err->text);
		s->troubled = true;
	}
	if (create_part(s, view, &fd, err)) {
		mt_part_discard(&s->part);
		mt_part_clear(&s->part);
		return -1;
	}
	char *final = mt_part_final_path(&s->part);
	rc = mt_sink_begin(s->sink, fd, final ? final : s->part.path, final ? final : s->part.path, true, err);
	free(final);
	if (!rc)
		return 0;
	mt_part_discard(&s->part);
	mt_part_clear(&s->part);
	return mt_sink_command_failed(s->sink) ? 1 : -1;
}

/* --- end ------------------------------------------------------------------------------- */

static json_t *find_source(json_t *sources, const char *name)
{
	size_t i;
	json_t *source;
	json_array_foreach(sources, i, source)
	{
		const char *have = json_string_value(json_object_get(source, "name"));
		if (have && name && !strcmp(have, name))
			return source;
	}
	return NULL;
}

/* Subtract from one number what it was at the end of the segment before. */
static void subtract(json_t *source, const json_t *before, const char *key)
{
	json_t *now = json_object_get(source, key), *then = json_object_get(before, key);
	if (json_is_integer(now) && json_is_integer(then))
		json_object_set_new(source, key,
		                    json_integer(json_integer_value(now) - json_integer_value(then)));
}

/* Counts of each source since the segment before; new reference. */
static json_t *sources_since(struct mt_segments *s)
{
	static const char *const keys[] = {"packets", "kept",    "filtered",      "script_dropped",
	                                   "late",    "dropped", "dropped_kernel"};
	json_t *now =
	        s->counters && s->counters->sources ? s->counters->sources(s->counters->ctx) : json_array();
	json_t *since = json_deep_copy(now), *source;
	size_t i;
	json_array_foreach(since, i, source)
	{
		json_t *before = find_source(s->sources, json_string_value(json_object_get(source, "name")));
		for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
			subtract(source, before, keys[k]);
	}
	json_decref(s->sources);
	s->sources = now;
	return since;
}

static uint64_t since(uint64_t now, uint64_t *before)
{
	uint64_t difference = now - *before;
	*before = now;
	return difference;
}

static json_t *make_line(struct mt_segments *s, const struct mt_segment_view *view, int64_t end_ns,
                         json_t *linktypes, const struct mt_sink_result *result)
{
	const struct mt_run_counters *c = s->counters;
	struct mt_manifest_entry entry = {
	        .run = s->config->segment.run_id,
	        .output = s->output,
	        .seq = view->seq,
	        .file = s->part.name,
	        .start_ns = view->start_ns,
	        .end_ns = end_ns,
	        .first_ns = view->first_ns,
	        .last_ns = view->last_ns,
	        .packets = view->packets,
	        .captured_bytes = view->captured_bytes,
	        .wire_bytes = view->wire_bytes,
	        .file_bytes = result->file_bytes,
	        .reason = view->reason,
	        .format = mt_format_name(s->config->format),
	        .linktypes = linktypes,
	        .snaplen = s->config->snaplen,
	        .late = c ? since(c->late, &s->late) : 0,
	        .clock_jumps = c ? since(c->clock_jumps, &s->clock_jumps) : 0,
	        .script_bypassed = c ? since(c->script_bypassed, &s->script_bypassed) : 0,
	        .sources = s->config->anonymous ? json_array() : sources_since(s),
	        .sha256 = s->config->segment.sha256 && result->sha256[0] ? result->sha256 : NULL,
	};
	json_t *line = mt_manifest_line(&entry);
	if (s->space->rule != MT_FULL_STOP) {
		json_object_set_new(line, "deleted_segments",
		                    json_integer((json_int_t)since(s->space->deleted, &s->deleted)));
		json_object_set_new(line, "waited_ms",
		                    json_integer((json_int_t)since(s->space->waited_ms, &s->waited_ms)));
	}
	return line;
}

static bool is_same_folder(const char *a, const char *b)
{
	struct stat sa, sb;
	return !strcmp(a, b) ||
	       (!stat(a, &sa) && !stat(b, &sb) && sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev);
}

/* The lines of a folder that was renamed belong to this run as well. */
static void note_folder(struct mt_segments *s)
{
	size_t n = json_array_size(s->moved);
	const char *last = n ? json_string_value(json_array_get(s->moved, n - 1)) : "";
	if (!is_same_folder(s->part.base, s->config->path) && strcmp(last, s->part.base) != 0)
		json_array_append_new(s->moved, json_string_nocheck(s->part.base));
}

/* Into the manifest of the folder where the segment is. */
static void record(struct mt_segments *s, json_t *line)
{
	struct mt_err err;
	if (!s->config->segment.manifest) {
		json_array_append(s->unlisted, line);
		return;
	}
	int rc;
	do {
		errno = 0;
		rc = mt_manifest_append(s->part.base, line, &err);
	} while (rc && mt_space_again(s->space, errno, s->config->path));
	if (!rc) {
		note_folder(s);
		mt_space_found(s->space, s->config->path);
		return;
	}
	json_array_append(s->unlisted, line);
	if (!s->troubled)
		mt_log_warn("%s", err.text);
	s->troubled = true;
}

/* Everybody hears of the whole file. */
static void announce(struct mt_segments *s, json_t *line, uint64_t file_bytes)
{
	char *path = mt_part_final_path(&s->part);
	record(s, line);
	if (s->hooks && s->hooks->segment_close)
		s->hooks->segment_close(s->hooks->ctx, line);
	if (s->pool && path)
		mt_child_pool_add(s->pool, path);
	if (s->keep && is_same_folder(s->part.base, s->config->path))
		mt_keep_add(s->keep, s->part.name, file_bytes);
	free(path);
}

/* What a failed command has written makes room like a segment: on a full disk each may have failed for that. */
static void may_go(struct mt_segments *s)
{
	char *file;
	struct stat st;
	if (s->config->on_full != MT_FULL_DROP_OLDEST || fstat(s->part.lock_fd, &st) ||
	    asprintf(&file, "%s.failed", s->part.name) < 0)
		return;
	mt_keep_add(s->keep, file, (uint64_t)st.st_size);
	free(file);
}

/* The command failed: what it wrote stays, under a name that says so. */
static void keep_failed_part(struct mt_segments *s, struct mt_err *err)
{
	struct mt_err rename_err;
	if (mt_part_finish(&s->part, ".failed", &rename_err)) {
		mt_log_warn("%s", rename_err.text);
	} else {
		size_t len = strlen(err->text);
		snprintf(err->text + len, sizeof err->text - len, " (left as %s.failed)", s->part.name);
		may_go(s);
	}
	mt_part_clear(&s->part);
}

/* A part that was deleted is written anew, for which there may be no space. */
static int finish_part(struct mt_segments *s, struct mt_err *err)
{
	int rc;
	do {
		errno = 0;
		rc = mt_part_finish(&s->part, "", err);
	} while (rc && mt_space_again(s->space, errno, s->config->path));
	if (!rc)
		mt_space_found(s->space, s->config->path);
	return rc;
}

int mt_segments_end(struct mt_segments *s, const struct mt_segment_view *view, int64_t end_ns,
                    json_t *linktypes, uint64_t *saved, struct mt_err *err)
{
	struct mt_sink_result result;
	*saved = 0;
	if (mt_sink_end(s->sink, &result, err)) {
		json_decref(linktypes);
		if (result.command_failed)
			keep_failed_part(s, err);
		else
			*saved = mt_segments_abandon(s, view, err);
		return -1;
	}
	if (finish_part(s, err)) {
		json_decref(linktypes);
		mt_part_clear(&s->part);
		return -1;
	}
	json_t *line = make_line(s, view, end_ns, linktypes, &result);
	s->closed++;
	announce(s, line, result.file_bytes);
	json_decref(line);
	mt_part_clear(&s->part);
	return 0;
}

uint64_t mt_segments_abandon(struct mt_segments *s, const struct mt_segment_view *view, struct mt_err *failure)
{
	const struct mt_manifest_entry known = {.run = s->config->segment.run_id,
	                                        .output = s->output,
	                                        .seq = view->seq,
	                                        .start_ns = view->start_ns,
	                                        .reason = view->reason};
	struct mt_sink_result result;
	struct mt_recovered recovered = {0};
	struct mt_err err = {0};
	bool command_failed = mt_sink_command_failed(s->sink);
	mt_sink_abort(s->sink, &result);
	if (!s->part.path)
		return 0;
	if (command_failed) {
		keep_failed_part(s, failure);
		return 0;
	}
	if (mt_recover_part(&s->part, &known, &recovered, &err))
		mt_log_warn("%s is not whole (moontap --recover %s, once there is room): %s", s->part.path,
		            s->config->path, err.text);
	else if (!recovered.empty)
		s->closed++;
	mt_part_clear(&s->part);
	return recovered.packets;
}

void mt_segments_discard(struct mt_segments *s)
{
	struct mt_sink_result ignored;
	mt_sink_abort(s->sink, &ignored);
	mt_part_discard(&s->part);
	mt_part_clear(&s->part);
}

/* --- questions ------------------------------------------------------------------------- */

struct collected {
	const struct mt_segments *s;
	json_t *lines;
};

static void collect_line(void *ctx, json_t *line)
{
	struct collected *c = ctx;
	const char *run = json_string_value(json_object_get(line, "run"));
	const char *output = json_string_value(json_object_get(line, "output"));
	const char *mine = c->s->config->segment.run_id;
	if (run && mine && output && !strcmp(run, mine) && !strcmp(output, c->s->output))
		json_array_append(c->lines, line);
}

json_t *mt_segments_json(const struct mt_segments *s)
{
	struct collected c = {s, json_array()};
	/* Read back, so that a capture of months does not hold all its lines in memory. */
	size_t i;
	json_t *folder;
	json_array_foreach(s->moved, i, folder)
	{
		mt_manifest_each(json_string_value(folder), collect_line, &c);
	}
	if (s->config->segment.manifest)
		mt_manifest_each(s->config->path, collect_line, &c);
	json_array_extend(c.lines, s->unlisted);
	return c.lines;
}

uint64_t mt_segments_closed(const struct mt_segments *s)
{
	return s->closed;
}

bool mt_segments_troubled(const struct mt_segments *s)
{
	return s->troubled;
}
