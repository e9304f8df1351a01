/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stepper.h - the stream as the prompt sees it: forward by batches, and back over a window of the past.
 *
 * The newest batches are kept, with the read buffers that they point into: up to MT_STEPPER_BATCHES, fewer when
 * the buffers' budget is spent.  What is older can be had again by going back to the start, if all sources
 * are files.  What Lua calls is in abi.h; one thread.
 */
#ifndef MT_STEPPER_H
#define MT_STEPPER_H
#include <stdbool.h>

#include "abi.h"
#include "counts.h"
#include "err.h"
#include "iface.h"
#include "options.h"
#include "supply.h"

enum { MT_STEPPER_BATCHES = 64 };

/* All is borrowed.  counts: packets are counted there when they are first seen, as kept or filtered.
 * NULL with err. */
struct mt_stepper *mt_stepper_new(struct mt_supply supply, const struct mt_ifaces *ifaces,
                                  struct mt_options *options, struct mt_counts_table *counts,
                                  struct mt_err *err);
void mt_stepper_free(struct mt_stepper *s);

#endif
