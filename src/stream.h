/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream.h - the decoded bytes of a file, a pipe or standard input.
 *
 * gzip, zstd, lz4 frames, xz and bzip2 are recognised by content; members or frames that
 * follow each other are one stream.  Damaged data gives the good bytes first, then an
 * error.  What is not compressed is read straight into the caller's buffer.
 */
#ifndef MT_STREAM_H
#define MT_STREAM_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "readahead.h"

enum { MT_STREAM_WAIT = -2 }; /* nothing to read right now */

struct mt_stream;

/* Open path ("-": standard input), or what kept_fd has open if that is not -1; kept_fd stays
 * the caller's.  follow: the end of a regular file is a reason to wait. */
struct mt_stream *mt_stream_open(const char *path, int kept_fd, bool follow, struct mt_err *err);
/* Before the first read: if it turns out to be compressed, have pool decode it ahead.  stop (may
 * be NULL) ends a wait for the pool.  Both are borrowed. */
void mt_stream_read_ahead(struct mt_stream *s, struct mt_readahead_pool *pool, const atomic_bool *stop);
/* Up to size bytes into buffer: their number, 0 at the end, -1 on an error, MT_STREAM_WAIT
 * if reading would block.  Never blocks, but for a regular file's disk and for a decoder that
 * is at work. */
ssize_t mt_stream_read(struct mt_stream *s, uint8_t *buffer, size_t size, struct mt_err *err);
/* Block until something can be read, or stop (may be NULL) is set.  0, or -1: stopped. */
int mt_stream_wait(struct mt_stream *s, const atomic_bool *stop, struct mt_err *err);
/* Descriptor to poll, or -1 for a regular file. */
int mt_stream_fd(const struct mt_stream *s);
bool mt_stream_is_regular(const struct mt_stream *s);
/* Size of a regular file, else 0; bytes read of what is stored, read-ahead included. */
uint64_t mt_stream_size(const struct mt_stream *s);
uint64_t mt_stream_consumed(const struct mt_stream *s);
void mt_stream_close(struct mt_stream *s);

/* --- stream_codec.c -------------------------------------------------------------------- */

struct mt_decoder;
struct mt_member_check;

/* Compressed bytes on their way in, decoded bytes on their way out. */
struct mt_decode_buffers {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
	bool at_end; /* no more input will come */
};

struct mt_decoder_ops {
	const char *name;
	const char *magic;
	size_t magic_len;
	int (*open)(struct mt_decoder *d);
	/* Move on in b.  1: go on (more input or room is needed), 0: the stream is over, -1. */
	int (*decode)(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err);
	void (*close)(struct mt_decoder *d);
};

enum { MT_DECODER_MAGIC = 6 }; /* bytes that tell every codec */

/* The codec of a file that begins with these bytes, or NULL: none. */
const struct mt_decoder_ops *mt_decoder_detect(const uint8_t *head, size_t len);
/* NULL: out of memory.  label (borrowed) names the source in warnings. */
struct mt_decoder *mt_decoder_new(const struct mt_decoder_ops *ops, const char *label);
/* Of gzip: what the reader has to pass the decoded bytes through, borrowed; NULL: none. */
struct mt_member_check *mt_decoder_check(const struct mt_decoder *d);
int mt_decoder_run(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err);
void mt_decoder_free(struct mt_decoder *d);

#endif
