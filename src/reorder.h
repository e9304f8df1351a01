/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reorder.h - --reorder=MS: the packets of one source sorted by time.
 *
 * A packet is copied and held until the source has shown one that is MS later, or, live, until
 * MS have gone by since it came.  Equal times stay as they came.  What is further out of order
 * than that stays so and is counted.  A clock that was set back begins anew.
 *
 * Memory comes from the run's chunks; when they are spent the earliest packets leave before
 * their time.
 */
#ifndef MT_REORDER_H
#define MT_REORDER_H
#include "source.h"

struct mt_reorder;

/* pool: where held packets are; borrowed.  NULL: out of memory. */
struct mt_reorder *mt_reorder_new(struct mt_chunks *pool, uint32_t span_ms);
/* Fill the run of s with sorted packets.  As mt_source_fill; asks `fill` for more when it has to. */
enum mt_read mt_reorder_fill(struct mt_reorder *r, struct mt_source *s,
                             enum mt_read (*fill)(struct mt_source *s, struct mt_err *err), struct mt_err *err);
/* Forget what is held: the source was closed. */
void mt_reorder_clear(struct mt_reorder *r);
void mt_reorder_free(struct mt_reorder *r);

#endif
