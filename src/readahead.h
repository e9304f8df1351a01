/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * readahead.h - compressed streams decoded ahead of the thread that reads them.
 *
 * Data flow: a worker of the run's pool calls a stream's fill function, which decodes into a
 * buffer of 16 KiB to 1 MiB; up to three such buffers wait until the reading thread copies them
 * into its chunk.  The first half MiB of a stream is always decoded by the reading thread
 * itself, so small files and files that are only looked into make no thread and no buffer.
 * It also decodes when nothing waits and no worker is at the stream: with more streams than
 * workers, or if no thread could be made, nobody sits idle.
 *
 * From one to 256 streams are read at a time; a worker's turn takes 0.05 to 30 ms (bzip2).
 */
#ifndef MT_READAHEAD_H
#define MT_READAHEAD_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct mt_readahead_pool; /* the workers and buffers of a run */
struct mt_readahead;      /* what was decoded ahead of one stream */

/* Put up to size bytes into buffer: their number, 0 at the end, -1 on an error, another negative
 * number (MT_STREAM_WAIT) if there is nothing right now.  Called by one thread at a time, but
 * not always the same.  Never blocks, but for a disk; called again after 0 or -1 it says the
 * same again.  When *cancel is set, it comes back soon: the stream is being closed. */
typedef ssize_t mt_readahead_fill(void *ctx, uint8_t *buffer, size_t size, const atomic_bool *cancel,
                                  struct mt_err *err);

/* Something that the thread that waits for a worker can do meanwhile, besides the worker: read the
 * bytes that it will ask for next.  False if there was nothing to do. */
typedef bool mt_readahead_meanwhile(void *ctx);

/* A pool without threads: they are made when there is something to do, at most one a processor
 * and four.  NULL: out of memory. */
struct mt_readahead_pool *mt_readahead_pool_new(void);
/* Ends the threads.  Every mt_readahead of it must be freed before.  NULL is fine. */
void mt_readahead_pool_free(struct mt_readahead_pool *pool);

/* ctx (borrowed) is for both functions, which nobody else may call from now on.  NULL: out of memory. */
struct mt_readahead *mt_readahead_new(struct mt_readahead_pool *pool, mt_readahead_fill *fill,
                                      mt_readahead_meanwhile *meanwhile, void *ctx);
/* Size of a buffer as things are: 1 MiB for one or two streams, down to 16 KiB for many. */
size_t mt_readahead_buffer_bytes(const struct mt_readahead *a);
/* The next bytes, as fill returns them: those decoded ahead, or fresh ones.  Blocks while a worker
 * is at the stream and nothing of it is ready, until *stop (may be NULL) is set: wait_code then. */
ssize_t mt_readahead_read(struct mt_readahead *a, uint8_t *buffer, size_t size, const atomic_bool *stop,
                          ssize_t wait_code, struct mt_err *err);
/* Waits for the worker that is at it.  NULL is fine. */
void mt_readahead_free(struct mt_readahead *a);

#endif
