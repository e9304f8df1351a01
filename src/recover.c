/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recover.c - see recover.h; and moontap --recover DIR.
 *
 * What is not compressed is cut in place, which works on a full disk too.  A compressed part is
 * unpacked as far as it can be read and packed again with the same codec into a new file.
 */
#include "recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linktype.h"
#include "log.h"
#include "output.h"
#include "relocate.h"
#include "scan.h"
#include "sink.h"
#include "stream.h"

enum { READ_BYTES = 1024 * 1024, HELD_MAX = 32 * 1024 * 1024 };

/* The part, unpacked and walked over. */
struct walk {
	struct mt_part *part;
	const struct mt_manifest_entry *known;
	struct mt_stream *stream;
	struct mt_scan scan;
	uint8_t *held; /* bytes that are no whole record yet */
	size_t len, size;
	uint64_t whole;       /* unpacked bytes that are whole records */
	struct mt_sink *copy; /* packs them again; NULL: the part is not packed */
};

/* Whole records go to the copy. */
static int take(struct walk *w, size_t n, struct mt_err *err)
{
	for (size_t at = 0; w->copy && at < n;) {
		struct mt_block *block = mt_sink_block(w->copy);
		size_t piece = n - at < MT_BLOCK_BYTES ? n - at : MT_BLOCK_BYTES;
		memcpy(block->data, w->held + at, piece);
		block->used = piece;
		if (mt_sink_push(w->copy, err))
			return -1;
		at += piece;
	}
	memmove(w->held, w->held + n, w->len - n);
	w->len -= n;
	w->whole += n;
	return 0;
}

/* Read to the end or the fault: both are good ends here. 0, or -1 when the copy failed. */
static int walk(struct walk *w, struct mt_err *err)
{
	struct mt_err read_err;
	for (;;) {
		if (w->size - w->len < READ_BYTES) {
			uint8_t *held = w->size < HELD_MAX ? realloc(w->held, w->size + READ_BYTES) : NULL;
			if (!held)
				return mt_err_set(err, "%s: out of memory", w->part->path);
			w->held = held;
			w->size += READ_BYTES;
		}
		ssize_t n = mt_stream_read(w->stream, w->held + w->len, w->size - w->len, &read_err);
		if (n <= 0)
			return 0;
		w->len += (size_t)n;
		if (take(w, mt_scan_step(&w->scan, w->held, w->len), err))
			return -1;
		if (w->scan.bad)
			return 0;
	}
}

static enum mt_codec_id codec_of(int fd)
{
	uint8_t head[MT_DECODER_MAGIC];
	enum mt_codec_id id = MT_CODEC_NONE;
	ssize_t n = pread(fd, head, sizeof head, 0);
	const struct mt_decoder_ops *codec = n > 0 ? mt_decoder_detect(head, (size_t)n) : NULL;
	if (codec)
		mt_codec_parse(codec->name, &id);
	return id;
}

/* The new file beside the part; it is locked by nobody, but its name is no part's. */
static int open_copy(struct walk *w, enum mt_codec_id codec, char **path, struct mt_err *err)
{
	struct mt_sink_config config = {.codec = codec, .level = -1};
	*path = NULL;
	w->copy = mt_sink_new(&config, err);
	if (!w->copy || asprintf(path, "%s.whole", w->part->path) < 0)
		return mt_err_set(err, "%s: out of memory", w->part->path);
	int fd = open(*path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return mt_err_set(err, "can not create %s: %s", *path, strerror(errno));
	return mt_sink_begin(w->copy, fd, *path, *path, true, err);
}

/* The copy becomes the part, and has its lock. */
static int replace_part(struct mt_part *part, const char *copy, struct mt_err *err)
{
	int fd = open(copy, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) || rename(copy, part->path)) {
		mt_err_set(err, "can not rename %s to %s: %s", copy, part->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(part->lock_fd);
	part->lock_fd = fd;
	return 0;
}

/* Pack what is whole again, in place of the part. */
static int repack(struct walk *w, enum mt_codec_id codec, struct mt_err *err)
{
	struct mt_sink_result result;
	char *path;
	int rc = open_copy(w, codec, &path, err);
	if (!rc)
		rc = walk(w, err);
	if (!rc)
		rc = mt_sink_end(w->copy, &result, err);
	if (!rc && w->whole)
		rc = replace_part(w->part, path, err);
	if (path && (rc || !w->whole))
		unlink(path);
	free(path);
	mt_sink_free(w->copy);
	w->copy = NULL;
	return rc;
}

static int cut(struct walk *w, struct mt_err *err)
{
	if (walk(w, err))
		return -1;
	if (!w->whole || !ftruncate(w->part->lock_fd, (off_t)w->whole))
		return 0;
	return mt_err_set(err, "can not cut %s to %llu bytes: %s", w->part->path, (unsigned long long)w->whole,
	                  strerror(errno));
}

/* A line with what can be known; of a left-over, run, sequence number and reason can not. */
static int list_it(const struct walk *w, struct mt_err *err)
{
	const struct mt_scan *s = &w->scan;
	bool any = s->packets > 0;
	struct stat st;
	char *path = mt_part_final_path(w->part);
	struct mt_manifest_entry entry = {
	        .run = w->known->run,
	        .output = w->known->output,
	        .seq = w->known->seq,
	        .reason = w->known->reason,
	        .file = w->part->name,
	        .start_ns = w->known->start_ns != INT64_MIN ? w->known->start_ns
	                    : any                           ? s->first_ns
	                                                    : INT64_MIN,
	        .end_ns = any ? s->last_ns : INT64_MIN,
	        .first_ns = s->first_ns,
	        .last_ns = s->last_ns,
	        .packets = s->packets,
	        .captured_bytes = s->captured_bytes,
	        .wire_bytes = s->wire_bytes,
	        .file_bytes = path && !stat(path, &st) ? (uint64_t)st.st_size : 0,
	        .format = mt_format_name(s->format),
	        .linktypes = mt_linktype_names(s->linktypes),
	        .snaplen = s->snaplen,
	};
	free(path);
	json_t *line = mt_manifest_line(&entry);
	int rc = mt_manifest_append(w->part->base, line, err);
	json_decref(line);
	return rc;
}

/* The extension, so that a number for a taken name goes before it. */
static void guess_extension(struct mt_part *part)
{
	enum mt_format format;
	enum mt_codec_id codec;
	char *extension;
	if (*part->extension)
		return;
	mt_output_guess(part->name, &format, &codec);
	if (asprintf(&extension, "%s%s%s", format == MT_FORMAT_AUTO ? "" : ".",
	             format == MT_FORMAT_AUTO ? "" : mt_format_name(format), mt_codec_extension(codec)) < 0)
		return;
	free(part->extension);
	part->extension = extension;
}

static int finish(struct walk *w, struct mt_recovered *result, struct mt_err *err)
{
	struct stat st;
	result->packets = w->scan.packets;
	if (!w->whole) {
		if (fstat(w->part->lock_fd, &st) || (st.st_size > 0 && (w->scan.bad || w->len > 64)))
			return mt_err_set(err, "expected pcap, pcapng or ERF, found none of these");
		mt_part_discard(w->part);
		result->empty = true;
		return 0;
	}
	guess_extension(w->part);
	if (mt_part_finish(w->part, "", err))
		return -1;
	struct mt_err list_err;
	if (list_it(w, &list_err))
		mt_log_warn("%s", list_err.text); /* the segment itself is whole */
	return 0;
}

int mt_recover_part(struct mt_part *part, const struct mt_manifest_entry *known, struct mt_recovered *result,
                    struct mt_err *err)
{
	struct walk w = {.part = part, .known = known};
	*result = (struct mt_recovered){0};
	if (mt_part_displaced(part) && mt_part_relocate(part, err))
		return -1;
	enum mt_format named;
	enum mt_codec_id codec;
	mt_output_guess(part->name, &named, &codec);
	mt_scan_init(&w.scan, named == MT_FORMAT_ERF);
	codec = codec_of(part->lock_fd);
	int rc = -1;
	w.stream = mt_stream_open(part->path, -1, false, err);
	if (w.stream)
		rc = codec == MT_CODEC_NONE ? cut(&w, err) : repack(&w, codec, err);
	if (!rc)
		rc = finish(&w, result, err);
	if (w.stream)
		mt_stream_close(w.stream);
	mt_scan_clear(&w.scan);
	free(w.held);
	return rc;
}

/* --- moontap --recover DIR ------------------------------------------------------------- */

struct task {
	const char *folder;
	int status;
	unsigned found;
};

static void recover_one(void *ctx, const char *rel)
{
	/* --keep-* deletes these like the others: they are taken for the default output's. */
	const struct mt_manifest_entry unknown = {
	        .output = "default", .reason = "recovered", .start_ns = INT64_MIN};
	struct task *task = ctx;
	struct mt_part part;
	struct mt_recovered result;
	struct mt_err err = {0};
	task->found++;
	int rc = mt_part_adopt(&part, task->folder, rel, &err);
	if (rc > 0)
		rc = mt_recover_part(&part, &unknown, &result, &err) ? -1 : 1;
	if (rc < 0) {
		mt_log_error("%s/%s is left as it is: %s", task->folder, rel, err.text);
		task->status = MT_STATUS_OUTPUT;
	} else if (rc == 0) {
		printf("skipped %s: it is being written\n", rel);
	} else if (result.empty) {
		printf("removed %s: nothing was in it\n", rel);
	} else {
		printf("recovered %s: %llu packet%s\n", part.name, (unsigned long long)result.packets,
		       result.packets == 1 ? "" : "s");
	}
	mt_part_clear(&part);
}

int mt_recover(const char *dir)
{
	struct task task = {.folder = dir};
	struct stat st;
	if (stat(dir, &st) || !S_ISDIR(st.st_mode)) {
		mt_log_error("--recover %s: expected a folder of segments: %s", dir,
		             access(dir, F_OK) ? strerror(errno) : "it is none");
		return MT_STATUS_USAGE;
	}
	mt_part_each(dir, recover_one, &task);
	if (!task.found)
		printf("%s: nothing to recover\n", dir);
	if (fflush(stdout))
		task.status = MT_STATUS_OUTPUT;
	return task.status;
}
