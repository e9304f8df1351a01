/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_ahead.h - what becomes of the IP addresses of a batch, found out before a script asks.
 *
 * The reading thread does it while it is ahead, with a cache of its own: a quarter of the time of the hook
 * thread was this.  An anonymizer has a number here, by which batches say what is asked for and whose notes
 * they hold. Notes are about bytes as they were read.
 */
#ifndef MT_ANONYMIZE_AHEAD_H
#define MT_ANONYMIZE_AHEAD_H
#include "abi.h"

/* An anonymizer with this key (MT_CRYPTOPAN_KEY bytes, copied).  Its number; 0: out of memory, it does without.
 */
uint32_t mt_ahead_new(const char *key);
/* The anonymizer is gone.  0 is fine. */
void mt_ahead_free(uint32_t number);
/* Note the outermost addresses of a decoded batch, if that anonymizer is there.  Any thread, one at a time. */
void mt_ahead_batch(uint32_t number, struct mt_batch *batch);

#endif
