/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sink.h - the way of encoded bytes to a file: block, block hook, codec, descriptor or command.
 *
 * One sink serves all segments of an output, one after the other; buffers are made once.
 * Without a codec everything happens in the call, until blocks take much longer to fill than to write.  With
 * one, or from then on, a thread of the sink (writer.h) compresses and writes, from the first block that is
 * full or waits for the flush timer; the thread stays over all segments.  A failure there is told by the next
 * push, tick or end.
 */
#ifndef MT_SINK_H
#define MT_SINK_H
#include <stdatomic.h>

#include "output.h"

enum { MT_BLOCK_BYTES = 256 * 1024 }; /* usual size of a block; a longer record makes it grow */

/* Encoded bytes on their way. */
struct mt_block {
	uint8_t *data;
	size_t used, size;
};

/* Make room for n more bytes.  0, or -1 out of memory. */
int mt_block_reserve(struct mt_block *block, size_t n);

struct mt_sink_config {
	struct mt_space *space; /* asked when there is none left; NULL: a write fails */
	enum mt_codec_id codec;
	int level;
	const char *pipeout; /* or NULL */
	bool sha256;         /* of the bytes of the file */
	unsigned flush_ms;
	const struct mt_segment_view *view;  /* what has been encoded for the file so far; may be NULL */
	const struct mt_output_hooks *hooks; /* block is used; may be NULL */
	size_t (*whole)(const uint8_t *data, size_t len, bool first, uint64_t *packets); /* of the encoder */
	const atomic_int *interrupted; /* see mt_output_interrupt; may be NULL */
};

/* What became of a file. */
struct mt_sink_result {
	uint64_t file_bytes;
	char sha256[65];     /* hex, or empty */
	bool command_failed; /* the pipe command did; the text is in err */
	bool removed;        /* mt_sink_removed when it was closed */
};

struct mt_sink;

/* config is copied, what it points to is borrowed.  NULL with err. */
struct mt_sink *mt_sink_new(const struct mt_sink_config *config, struct mt_err *err);
/* Drops what is held.  NULL is fine. */
void mt_sink_free(struct mt_sink *s);
struct mt_block *mt_sink_block(struct mt_sink *s);
/* Start a file on fd, which the sink takes.  path is for messages and copied; file is what
 * the command sees as MOONTAP_FILE.  may_cut: the file is ours from its first byte, so after
 * a failed write it may be cut at the last whole record. */
int mt_sink_begin(struct mt_sink *s, int fd, const char *path, const char *file, bool may_cut,
                  struct mt_err *err);
/* Send the block on; it is empty afterwards.  0 or -1. */
int mt_sink_push(struct mt_sink *s, struct mt_err *err);
/* Flush when something is held for flush_ms; never waits for a codec.  0 or -1. */
int mt_sink_tick(struct mt_sink *s, int64_t now_ms, struct mt_err *err);
/* End the file: send the rest, end the codec, close, wait for the command.  Closes in every
 * case; 0 or -1. */
int mt_sink_end(struct mt_sink *s, struct mt_sink_result *result, struct mt_err *err);
/* After a failure: close without sending anything; *result as far as known. */
void mt_sink_abort(struct mt_sink *s, struct mt_sink_result *result);
/* The first n bytes of the next block are the file header: written even if the block hook drops
 * the block. */
void mt_sink_set_header(struct mt_sink *s, size_t n);
/* The block hook dropped a block since the last call. */
bool mt_sink_dropped(struct mt_sink *s);
/* The view as of the last block that was not dropped. */
const struct mt_segment_view *mt_sink_pushed(const struct mt_sink *s);
/* The view as of what can be read from the file for certain: all that was written, with a codec what
 * was flushed.  Only after a failure or the end of the file. */
const struct mt_segment_view *mt_sink_saved(const struct mt_sink *s);
/* For how long the thread has been at the block in hand; 0: there is none. */
int64_t mt_sink_busy_ms(const struct mt_sink *s, int64_t now_ms);
/* Has the open file no name any more? */
bool mt_sink_removed(const struct mt_sink *s);
/* The last failure was the pipe command's, not the file's. */
bool mt_sink_command_failed(const struct mt_sink *s);

#endif
