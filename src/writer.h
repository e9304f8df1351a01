/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writer.h - a thread that compresses blocks, if they are, and writes them, in the order they are handed over.
 *
 *   sink.c (hook thread) -- swap of buffers --> up to MT_WRITER_BLOCKS blocks --> codec -> write
 *
 * Blocks have 256 KiB, so there are some thousand a second at most.  Between two files the thread
 * waits for the next.  Any one thread at a time may call these functions; all but the work itself
 * is done there.
 *
 * The first failure ends the file: blocks that were handed over already are dropped, and so are
 * those that follow until mt_writer_finish or mt_writer_drop has been called.
 */
#ifndef MT_WRITER_H
#define MT_WRITER_H
#include "codec.h"
#include "sink.h"

enum { MT_WRITER_BLOCKS = 3 }; /* on their way at a time, besides the one that is being filled */

/* Bytes for the codec.  data: borrowed until the work function returns. */
struct mt_write {
	const uint8_t *data;
	size_t len;
	enum mt_codec_step step;
	bool first;                  /* the file begins with them */
	struct mt_segment_view view; /* of the file once these bytes are in it */
};

/* Compress and write.  Called on the thread.  0, or -1 with err. */
typedef int mt_writer_work(void *ctx, const struct mt_write *write, struct mt_err *err);

struct mt_writer;

/* Start the thread.  ctx is borrowed.  NULL when there can be none. */
struct mt_writer *mt_writer_new(mt_writer_work *work, void *ctx);
/* Drops what is on its way and ends the thread.  NULL is fine. */
void mt_writer_free(struct mt_writer *w);
/* Would mt_writer_push go on at once? */
bool mt_writer_has_room(struct mt_writer *w);
/* Hand write->data over, waiting for room.  If that is block's own memory, block gets another
 * buffer of at least MT_BLOCK_BYTES in exchange; other bytes are copied.  0, or -1 out of memory. */
int mt_writer_push(struct mt_writer *w, struct mt_block *block, const struct mt_write *write,
                   struct mt_err *err);
/* For how long the block in hand has been worked on; 0: none is.  For any thread. */
int64_t mt_writer_busy_ms(const struct mt_writer *w, int64_t now_ms);
/* Something failed; mt_writer_finish says what. */
bool mt_writer_failed(const struct mt_writer *w);
/* Wait until everything is done.  0, or -1 with the failure, which is forgotten then.  Afterwards
 * what the work function uses belongs to the caller until the next push. */
int mt_writer_finish(struct mt_writer *w, struct mt_err *err);
/* Drop what is not begun yet, wait for what is, forget a failure. */
void mt_writer_drop(struct mt_writer *w);

#endif
