/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * member_check.h - checksums of gzip members, summed up by the thread that reads what another has decoded.
 *
 * Decoding is what a compressed file waits for, so the sum, some 3 % of it, is left to the reading thread,
 * which has the bytes at hand.  The decoding thread says where in the stream a sum begins and ends, and what it
 * should be then.  Positions count decoded bytes of the whole stream.
 */
#ifndef MT_MEMBER_CHECK_H
#define MT_MEMBER_CHECK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mt_member_check;

/* NULL: out of memory. */
struct mt_member_check *mt_member_check_new(void);
void mt_member_check_free(struct mt_member_check *c);

/* Decoding thread, before the bytes behind `at` are handed on: the sum of the bytes before is crc, and the
 * reader goes on with it.  0, or -1: out of memory. */
int mt_member_check_begin(struct mt_member_check *c, uint64_t at, uint32_t crc);
/* Decoding thread: the sum of the bytes up to `at` has to be crc. */
int mt_member_check_end(struct mt_member_check *c, uint64_t at, uint32_t crc);
/* Reading thread: the next n bytes of the stream.  How many of them are good: all, or those before the end of a
 * member whose sum is another (*wrong). */
size_t mt_member_check_pass(struct mt_member_check *c, const uint8_t *bytes, size_t n, bool *wrong);

#endif
