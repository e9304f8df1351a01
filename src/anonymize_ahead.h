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
/* Copy the outermost addresses of a packet as they are, if it is as it was read, and bring near what pan knows
 * of them: they are asked for soon.  MAC addresses are few and near. */
void mt_ahead_find(const struct mt_cryptopan *pan, const struct mt_packet *packet,
                   const struct mt_decoded *decoded, struct mt_other_addresses *found);
/* Note the outermost addresses of a decoded batch, if that anonymizer is there.  Any thread, one at a time. */
void mt_ahead_batch(uint32_t number, struct mt_batch *batch);

#endif
