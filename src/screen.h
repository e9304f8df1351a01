/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * screen.h - -F and -s on whole batches, for runs in which they are the same for all sources.
 *
 * Packets of files could be filtered by the thread that reads or by the thread that runs hooks; which
 * of the two has time depends on what the run does, so whoever waits for the other does it: pipeline.c.
 * A screen belongs to one thread, hence there are two of them.  With live sources, or when a source has a
 * filter or a snap length of its own, source.c does the work.
 */
#ifndef MT_SCREEN_H
#define MT_SCREEN_H
#include "abi.h"
#include "err.h"
#include "iface.h"

struct mt_screen;

/* filter: the expression; snaplen: bytes that are left of a packet after the filter has seen it.
 * ifaces: borrowed, for messages.  NULL with err. */
struct mt_screen *mt_screen_new(const char *filter, uint32_t snaplen, const struct mt_ifaces *ifaces,
                                struct mt_err *err);
void mt_screen_free(struct mt_screen *screen);
/* Give the packets of the batch that the filter rejects their verdict, and cut the rest.  Sets
 * batch->screened; nothing happens if it is set. */
void mt_screen_batch(struct mt_screen *screen, struct mt_batch *batch);

#endif
