/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source_file.c - the native reader: files, pipes and standard input.
 *
 * A window slides over a chunk: bytes are read behind it, packets are parsed at its head
 * and point into the chunk.  When the chunk is full, the record that is not whole is
 * copied to the head of the next one.  Read calls are as large as a chunk; no packet is
 * copied.  Thousands of these exist at once, closed but for those that overlap in time.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format.h"
#include "source.h"
#include "stream.h"

enum { FOLLOW_MS = 50, SNIFF_BYTES = 128 };

struct file {
	struct mt_stream *stream;
	struct mt_parser *format; /* NULL until it is known */
	size_t pos, end;          /* the window in the current chunk */
	uint64_t skip;            /* bytes to pass over before the next ones count */
	bool at_end;
	bool failed; /* late holds an error for the next call */
	struct mt_err late;
};

/* --- bytes ----------------------------------------------------------------------------- */

/* Make room for a window of want bytes: enum mt_read, MT_OK or MT_FULL or MT_ERROR. */
static enum mt_read make_room(struct mt_source *s, size_t want, struct mt_err *err)
{
	struct file *f = s->impl;
	struct mt_chunk *chunk = s->ring.current, *old;
	if (chunk && !s->filled && f->pos) { /* no packet points into it yet */
		memmove(chunk->data, chunk->data + f->pos, f->end - f->pos);
		f->end -= f->pos;
		f->pos = 0;
	}
	if (chunk && chunk->size - f->pos >= want && f->end < chunk->size)
		return MT_OK;
	switch (mt_chunk_ring_next(&s->ring, want, &old, &s->wait_batch)) {
	case 1:
		break;
	case MT_FULL:
		return MT_FULL;
	default:
		mt_err_set(err, "out of memory for a buffer of %zu bytes", want);
		return MT_ERROR;
	}
	if (old)
		memcpy(s->ring.current->data, old->data + f->pos, f->end - f->pos);
	f->end -= f->pos;
	f->pos = 0;
	return MT_OK;
}

/* What came is part of a block to be passed over. */
static void drop_skipped(struct file *f)
{
	size_t n = f->end - f->pos;
	if (n > f->skip)
		n = (size_t)f->skip;
	f->pos += n;
	f->skip -= n;
}

/* Read on, so that want bytes may stand in the window. MT_OK: something came, or the end. */
static enum mt_read read_more(struct mt_source *s, size_t want, struct mt_err *err)
{
	struct file *f = s->impl;
	enum mt_read room = make_room(s, want, err);
	if (room != MT_OK)
		return room;
	struct mt_chunk *chunk = s->ring.current;
	ssize_t n = mt_stream_read(f->stream, chunk->data + f->end, chunk->size - f->end, err);
	s->bytes_read = mt_stream_consumed(f->stream);
	if (n == MT_STREAM_WAIT) {
		s->wait_ms = FOLLOW_MS;
		return MT_WAIT;
	}
	if (n < 0)
		return MT_ERROR;
	f->at_end = n == 0;
	f->end += (size_t)n;
	return MT_OK;
}

/* The same, waiting for as long as it takes; only while opening. 0 or -1. */
static int read_more_blocking(struct mt_source *s, size_t want, struct mt_err *err)
{
	struct file *f = s->impl;
	for (;;) {
		switch (read_more(s, want, err)) {
		case MT_OK:
			return 0;
		case MT_WAIT:
			if (mt_stream_wait(f->stream, s->context->stop, err))
				return -1;
			break;
		case MT_FULL: /* can not be: nothing was handed on yet, and two chunks are always granted */
			return mt_err_set(err, "no buffer is left for its header");
		default:
			return -1;
		}
	}
}

/* --- the format ------------------------------------------------------------------------ */

static bool ends_in(const char *name, size_t len, const char *ending)
{
	size_t n = strlen(ending);
	return len > n && strncasecmp(name + len - n, ending, n) == 0;
}

/* Is it called .erf, perhaps with the ending of a codec behind? */
static bool is_named_erf(const char *name)
{
	static const char *const codecs[] = {".gz", ".zst", ".lz4", ".xz", ".bz2"};
	size_t len = strlen(name);
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
		if (ends_in(name, len, codecs[i])) {
			len -= strlen(codecs[i]);
			break;
		}
	return ends_in(name, len, ".erf");
}

static const struct mt_parser_ops *forced_format(const struct mt_source_spec *spec)
{
	if (!spec->format)
		return NULL;
	if (strcmp(spec->format, "erf") == 0)
		return &mt_parser_erf;
	return strcmp(spec->format, "pcapng") == 0 ? &mt_parser_pcapng : &mt_parser_pcap;
}

static const struct mt_parser_ops *detect_format(const struct mt_source *s, const uint8_t *p, size_t len)
{
	const struct mt_parser_ops *forced = forced_format(&s->spec);
	/* libtrace's "pcap:" reads pcapng no more than "pcapng:" reads pcap; be kind to both. */
	if (forced &&
	    (forced == &mt_parser_erf || !(mt_parser_pcap.detect(p, len) || mt_parser_pcapng.detect(p, len))))
		return forced;
	if (mt_parser_pcap.detect(p, len))
		return &mt_parser_pcap;
	if (mt_parser_pcapng.detect(p, len))
		return &mt_parser_pcapng;
	if (is_named_erf(s->spec.target) || mt_parser_erf.detect(p, len))
		return &mt_parser_erf;
	return NULL;
}

static int unknown_format(const struct mt_source *s, const uint8_t *p, size_t len, struct mt_err *err)
{
	char hex[9] = "";
	if (!len)
		return mt_err_set(err, "empty file, no capture header");
	for (size_t i = 0; i < 4 && i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", p[i]);
	return mt_err_set(err,
	                  "not pcap, pcapng or ERF (starts with %s); name the format of others, as in tsh:%s",
	                  hex, s->spec.target);
}

static int new_format(struct mt_source *s, const struct mt_parser_ops *ops, struct mt_err *err)
{
	struct file *f = s->impl;
	f->format = calloc(1, ops->size);
	if (!f->format)
		return mt_err_set(err, "out of memory");
	f->format->ops = ops;
	f->format->ifaces = s->context->ifaces;
	f->format->group = s->group;
	f->format->label = s->spec.target;
	f->format->first_linktype = 0xffff;
	return 0;
}

/* pcap and pcapng tell themselves in four bytes, ERF needs some records. */
static size_t sniff_bytes(const uint8_t *p, size_t len)
{
	return len < 4 || mt_parser_pcap.detect(p, len) || mt_parser_pcapng.detect(p, len) ? 4 : SNIFF_BYTES;
}

static int find_format(struct mt_source *s, struct mt_err *err)
{
	struct file *f = s->impl;
	size_t want = 4;
	do {
		if (read_more_blocking(s, want, err))
			return -1;
		want = sniff_bytes(s->ring.current->data, f->end);
	} while (f->end < want && !f->at_end);
	const uint8_t *p = s->ring.current->data;
	const struct mt_parser_ops *ops =
	        f->end || forced_format(&s->spec) == &mt_parser_erf || is_named_erf(s->spec.target)
	                ? detect_format(s, p, f->end)
	                : NULL;
	return ops ? new_format(s, ops, err) : unknown_format(s, p, f->end, err);
}

static int read_header(struct mt_source *s, struct mt_err *err)
{
	struct file *f = s->impl;
	for (;;) {
		size_t used = 0, want = 0;
		enum mt_parse result = f->format->ops->header(f->format, s->ring.current->data + f->pos,
		                                              f->end - f->pos, f->at_end, &used, &want, err);
		if (result == MT_PARSE_ERROR)
			return -1;
		if (result == MT_PARSE_OK) {
			f->pos += used;
			return 0;
		}
		if (read_more_blocking(s, want, err))
			return -1;
	}
}

/* --- packets --------------------------------------------------------------------------- */

static void keep_error(struct file *f, const struct mt_err *err)
{
	f->late = *err;
	f->failed = true;
}

static enum mt_parse parse(struct mt_source *s, unsigned max, size_t *want, struct mt_err *err)
{
	struct file *f = s->impl;
	size_t used = 0;
	if (f->skip) {
		drop_skipped(f);
		if (f->skip && !f->at_end) {
			*want = 1;
			return MT_PARSE_MORE;
		}
	}
	enum mt_parse result = f->format->ops->parse(f->format, s->ring.current->data + f->pos, f->end - f->pos,
	                                             f->at_end, s->run, max, &s->run_n, &used, want, err);
	if (used > f->end - f->pos) {
		f->skip = used - (f->end - f->pos);
		used = f->end - f->pos;
	}
	f->pos += used;
	return result;
}

/* Go on to the first packet or interface, so that the link type is known before the start. */
static int read_preamble(struct mt_source *s, struct mt_err *err)
{
	struct file *f = s->impl;
	while (f->format->first_linktype == 0xffff) {
		size_t want = 0;
		enum mt_parse result = parse(s, 0, &want, err);
		if (result == MT_PARSE_ERROR)
			keep_error(f, err);
		if (result != MT_PARSE_MORE || (f->at_end && !want))
			break;
		if (f->format->first_linktype == 0xffff && read_more_blocking(s, want, err))
			return -1;
	}
	return 0;
}

static void file_facts(struct mt_source *s)
{
	struct file *f = s->impl;
	s->first_linktype = f->format->first_linktype;
	s->microseconds = f->format->microseconds;
	s->finer_may_come = f->format->finer_may_come;
	s->file_bytes = mt_stream_size(f->stream);
	s->parkable = mt_stream_is_regular(f->stream) && !s->spec.follow && strcmp(s->spec.target, "-") != 0;
}

static int file_open(struct mt_source *s, struct mt_err *err)
{
	struct file *f = calloc(1, sizeof *f);
	if (!f)
		return mt_err_set(err, "out of memory");
	s->impl = f;
	f->stream = mt_stream_open(s->spec.target, s->kept_fd, s->spec.follow, err);
	if (!f->stream)
		return -1;
	mt_stream_read_ahead(f->stream, s->context->readahead, s->context->stop);
	if (find_format(s, err) || read_header(s, err))
		return -1;
	if (f->format->ops != &mt_parser_erf && read_preamble(s, err))
		return -1;
	file_facts(s);
	return 0;
}

static enum mt_read file_fill(struct mt_source *s, struct mt_err *err)
{
	struct file *f = s->impl;
	if (f->failed) {
		*err = f->late;
		return MT_ERROR;
	}
	if (s->taken)
		mt_parser_keep_losses(f->format);
	for (;;) {
		size_t want = 0;
		enum mt_parse result = parse(s, MT_RUN_PACKETS, &want, err);
		if (result == MT_PARSE_ERROR)
			keep_error(f, err);
		s->first_linktype = f->format->first_linktype;
		s->microseconds = f->format->microseconds;
		if (s->run_n)
			return MT_OK;
		if (result == MT_PARSE_ERROR)
			return MT_ERROR;
		if (f->at_end || mt_source_stopped(s))
			return MT_END; /* after a stop what was read is worked off, and nothing more read */
		enum mt_read more = read_more(s, want, err);
		if (more == MT_ERROR)
			keep_error(f, err);
		if (more != MT_OK)
			return more;
	}
}

static int file_fd(struct mt_source *s)
{
	struct file *f = s->impl;
	return f && f->stream ? mt_stream_fd(f->stream) : -1;
}

static void file_close(struct mt_source *s)
{
	struct file *f = s->impl;
	if (!f)
		return;
	/* Losses of a file that will be read again from its start must not count twice. */
	if (f->format && !s->taken && !s->ended && s->run_pos == 0)
		mt_parser_undo_losses(f->format);
	mt_parser_free(f->format);
	mt_stream_close(f->stream);
	free(f);
	s->impl = NULL;
}

const struct mt_source_ops mt_source_file = {
        .name = "file",
        .open = file_open,
        .fill = file_fill,
        .fd = file_fd,
        .close = file_close,
};
