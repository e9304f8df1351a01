/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keep.h - --keep-files and --keep-bytes: the oldest segments of an output make room.
 *
 * Only files that the manifest lists for the same output are ever deleted; for the limits never
 * the newest one.
 */
#ifndef MT_KEEP_H
#define MT_KEEP_H
#include <stdbool.h>
#include <stdint.h>

struct mt_keep;

/* folder and output (the manifest's "output") are borrowed.  Reads the manifest. NULL: out of memory. */
struct mt_keep *mt_keep_new(const char *folder, const char *output, uint64_t files, uint64_t bytes);
void mt_keep_free(struct mt_keep *keep);
/* The disk is full: delete the oldest, whatever the limits are.  false: there is none. */
bool mt_keep_drop(struct mt_keep *keep);
/* A segment was closed: delete what is too much. */
void mt_keep_add(struct mt_keep *keep, const char *file, uint64_t bytes);

#endif
