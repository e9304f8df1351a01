/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sequence.h - the sequence number of segments, kept across restarts with -N FILE.
 *
 * The file holds the last number used, 1 to 99999999, in decimal and a newline.  It is
 * rewritten when a segment opens, so a number is never used twice.
 */
#ifndef MT_SEQUENCE_H
#define MT_SEQUENCE_H
#include <stdint.h>

#include "err.h"

enum { MT_SEQUENCE_MAX = 99999999 };

struct mt_sequence {
	const char *path; /* borrowed; NULL: numbers begin with 1 */
	uint64_t last;    /* 0: none used yet */
};

/* Read the file, or make it.  0, or -1: it can not be read or written, or holds something else. */
int mt_sequence_open(struct mt_sequence *s, const char *path, struct mt_err *err);
/* The next number, 1 after 99999999.  -1 with errno if the file could not be written; *seq is good still. */
int mt_sequence_next(struct mt_sequence *s, uint64_t *seq, struct mt_err *err);
/* Write the number of now once more, after a failure.  0, or -1 with errno. */
int mt_sequence_save(const struct mt_sequence *s, struct mt_err *err);

#endif
