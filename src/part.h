/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * part.h - segments that are being written: ".NAME.part" beside the place of NAME, locked.
 *
 * The lock (flock) lives as long as any descriptor of the open file, also that of a pipe
 * command, so an unlocked part is a left-over of a run that was killed.
 */
#ifndef MT_PART_H
#define MT_PART_H
#include <stdbool.h>

#include "err.h"

struct mt_part {
	char *base;      /* folder of the output; owned */
	char *name;      /* what the segment will be called, relative to base; owned */
	char *extension; /* numbers of taken names go before it; owned */
	char *path;      /* of the part, with base; owned */
	int lock_fd;     /* holds the lock; -1: not open */
};

/* Create and lock the part of a segment called name; with a number if that is taken.  Makes the
 * folders of the name.  *fd: a second descriptor, to write (and read).  0, or -1 with err;
 * free with mt_part_clear in both cases. */
int mt_part_create(struct mt_part *part, const char *base, const char *name, const char *extension, int *fd,
                   struct mt_err *err);
/* Take over a left-over: rel is its path below base.  1; 0: it is locked; -1. */
int mt_part_adopt(struct mt_part *part, const char *base, const char *rel, struct mt_err *err);
/* Rename it to its name, or with a number if that is taken meanwhile, and suffix ("" or
 * ".failed") behind; part->name is what it got, part->base where it is if its folder was renamed
 * meanwhile.  0, or -1 with errno. */
int mt_part_finish(struct mt_part *part, const char *suffix, struct mt_err *err);
/* Delete it. */
void mt_part_discard(struct mt_part *part);
void mt_part_clear(struct mt_part *part);
/* The file of the part->name, with base; new string. */
char *mt_part_final_path(const struct mt_part *part);

/* A lock that says: a run writes parts into this folder that it has not locked one by one.  Several may have
 * it. A descriptor, or -1 with errno. */
int mt_part_lock_folder(const char *folder);
/* The last one deletes its file.  fd -1 is fine. */
void mt_part_unlock_folder(const char *folder, int fd);

/* mkdir -p.  0 or -1. */
int mt_make_folders(const char *path, struct mt_err *err);
/* Call fn for every part below base, sub-folders too; rel is its path below base. */
void mt_part_each(const char *base, void (*fn)(void *ctx, const char *rel), void *ctx);
/* Is this part locked by a running program? */
bool mt_part_is_locked(const char *base, const char *rel);

#endif
