/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split.h - an output that is split by a key: a file for each key, of which there may be many thousands.
 *
 * Records are gathered in memory (split_heap.h) and appended to their files when they have waited for --flush
 * or all memory is used; so no more than one file is open at a time, and each is appended to as often as its
 * key comes back.  With a codec each time is a member or frame of its own.  A file is ".NAME.part" until the
 * end, as segments are; a lock on the folder says that a run still writes them.
 *
 * Up to ten million packets a second; one lock a batch, since a hook that came back late may ask for a key.
 */
#ifndef MT_SPLIT_H
#define MT_SPLIT_H
#include "encode.h"
#include "full.h"
#include "output.h"

/* Make the folder and lock it.  Everything given is borrowed.  NULL with err. */
struct mt_split *mt_split_new(const struct mt_output_config *config, struct mt_encoder *encoder,
                              const struct mt_output_hooks *hooks, struct mt_space *space, struct mt_err *err);
void mt_split_free(struct mt_split *s);
/* As mt_output_write_parts.  After -1 mt_split_total has what is in files. */
int mt_split_write(struct mt_split *s, struct mt_packet *packets, const uint32_t *parts, uint32_t n,
                   uint8_t verdict, struct mt_err *err);
/* Append what has waited for --flush. */
int mt_split_tick(struct mt_split *s, int64_t now_ms, struct mt_err *err);
/* End and name all files, add their manifest lines.  0 or -1. */
int mt_split_close(struct mt_split *s, struct mt_err *err);
/* Sums of all files. */
struct mt_segment_view mt_split_total(const struct mt_split *s);
/* Files that got their names. */
uint64_t mt_split_closed(const struct mt_split *s);
/* Manifest lines of them; new reference. */
json_t *mt_split_json(const struct mt_split *s);
/* A manifest line was lost. */
bool mt_split_troubled(const struct mt_split *s);

#endif
