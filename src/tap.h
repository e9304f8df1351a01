/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap.h - packets of a running capture, sampled for other processes to look at.
 *
 *   hook thread -> ring in shared memory -> reader, in another process -> batches of a stepper
 *
 * The hook thread copies some packets of each batch, evenly, at most MT_TAP_RATE a second, and only while
 * somebody wants them; it waits for nobody and looks at nothing that a reader writes.  A reader that is too
 * slow misses packets.
 */
#ifndef MT_TAP_H
#define MT_TAP_H
#include "abi.h"
#include "err.h"
#include "supply.h"

enum { MT_TAP_RATE = 10000 }; /* packets a second */

struct mt_tap;

/* Before the processes part.  NULL: out of memory. */
struct mt_tap *mt_tap_new(void);
/* Forget it in this process. */
void mt_tap_free(struct mt_tap *t);

/* Does anybody want packets?  Any thread of the capture. */
void mt_tap_want(struct mt_tap *t, bool wanted);
/* A batch that scripts are about to get.  Hook thread. */
void mt_tap_batch(struct mt_tap *t, const struct mt_batch *batch);
/* No more will come. */
void mt_tap_end(struct mt_tap *t);
/* Packets that passed while somebody wanted them, and how many of them were taken; any process. */
void mt_tap_counts(const struct mt_tap *t, uint64_t *seen, uint64_t *taken);

struct mt_tap_reader;

/* The packets from now on; from now on this process can only read the ring.  know: make interface `iface` known
 * to this process, if it is not; false: it can not be, packets of it are left out.  Borrows t.  NULL: out of
 * memory. */
struct mt_tap_reader *mt_tap_reader_new(struct mt_tap *t, bool (*know)(void *ctx, uint32_t iface), void *ctx);
void mt_tap_reader_free(struct mt_tap_reader *r);
/* Its batches; r is borrowed. */
struct mt_supply mt_tap_supply(struct mt_tap_reader *r);

#endif
