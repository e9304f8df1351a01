/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split_heap.h - records for thousands of files: gathered in memory, appended by a thread.
 *
 *   hook thread -- extents of a heap --> full or waited --> the thread: open, write, close for each file
 *
 * There are two heaps, in turn.  The one that is filled gives each file small pieces of memory (extents), one
 * behind the other; they are never moved or freed one by one.  When it is full, or its oldest byte has waited
 * for --flush, the thread gets all of it and the other one is filled.  So a byte is copied once, no page is
 * touched that was not before, and the hook thread waits for the disk only when it is faster.
 *
 * The few files that most packets go to have two heaps of their own, the busy ones: else they would fill the
 * others' again and again, and thousands of files be opened for some packets each.  Which side a file is
 * on is decided anew when what it has is handed over; the thread never has something of a file from both.
 *
 * With a codec each time is a member or frame of its own.  What a failed write has left is cut off again. After
 * a failure nothing more is written; view_saved of each file says what is in it.
 */
#ifndef MT_SPLIT_HEAP_H
#define MT_SPLIT_HEAP_H
#include "codec.h"
#include "full.h"
#include "part.h"
#include "sink.h"

struct mt_extent {
	struct mt_extent *next;
	size_t used;
	uint8_t data[];
};

enum { MT_PIECE_LINKTYPES = 8 }; /* remembered for the manifest line of a file */

/* One file of a split output. */
struct mt_piece {
	/* the hook thread's; what every packet needs comes first */
	struct mt_block block; /* the extent that is filled; size 0: none */
	uint16_t linktype; /* of the encoder between two packets of this file, as are trailer, begun and impl */
	bool begun, started;
	bool busy;                   /* its records go to the busy heaps */
	struct mt_segment_view view; /* what was encoded */
	struct mt_extent *first, *last;
	void *impl;
	size_t trailer;
	uint64_t late, bypassed;
	uint16_t linktypes[MT_PIECE_LINKTYPES];
	unsigned n_linktypes;
	uint32_t number; /* among the files of the output */
	char *key;

	/* the thread's while a heap is written */
	struct mt_extent *going;
	struct mt_segment_view view_going;
	struct mt_part file;               /* path: NULL before the first write */
	struct mt_segment_view view_saved; /* what is in the file */
	uint64_t file_bytes;
};

struct mt_split_heap;

/* config and space are borrowed.  NULL with err. */
struct mt_split_heap *mt_split_heap_new(const struct mt_output_config *config, const char *extension,
                                        struct mt_space *space, struct mt_err *err);
/* Drops what is not written yet. */
void mt_split_heap_free(struct mt_split_heap *h);
/* Make room for `need` bytes in piece->block, another extent if need be; may wait for the thread.  0, or -1
 * with err: out of memory, or something could not be written. */
int mt_split_heap_room(struct mt_split_heap *h, struct mt_piece *piece, size_t need, struct mt_err *err);
/* Hand over what has waited for --flush, unless the thread is busy.  0, or -1: something could not be written.
 */
int mt_split_heap_tick(struct mt_split_heap *h, int64_t now_ms, struct mt_err *err);
/* The end: hand over all there is.  0, or -1: something could not be written. */
int mt_split_heap_end(struct mt_split_heap *h, struct mt_err *err);
/* Behind mt_split_heap_end: wait until all there was of a piece is written; then what is the thread's of it
 * belongs to the caller.  Pieces are written in the order of their numbers.  0, or -1: something could not be
 * written. */
int mt_split_heap_wait(struct mt_split_heap *h, const struct mt_piece *piece, struct mt_err *err);
/* The name of a file, or NULL before its first write; good until the end of the output. */
const char *mt_split_heap_name(struct mt_split_heap *h, const struct mt_piece *piece);

#endif
