/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cryptopan.h - Crypto-PAn of single addresses (abi.h has the rest), and looking ahead.
 *
 * An address is its bytes in the order of the network, in one word or two.  A known one takes a few nanoseconds
 * if its place in the cache is near the processor, and many if not: expect_ asks for that place some packets
 * before.
 */
#ifndef MT_CRYPTOPAN_H
#define MT_CRYPTOPAN_H
#include "abi.h"

/* Of functions for what is in no cache: callers that find it there need not save registers for them. */
#define MT_SELDOM __attribute__((noinline, cold))

void mt_cryptopan_expect_ipv4(const struct mt_cryptopan *c, uint32_t address);
void mt_cryptopan_expect_ipv6(const struct mt_cryptopan *c, uint64_t high, uint64_t low);
/* The other address. */
uint32_t mt_cryptopan_map_ipv4(struct mt_cryptopan *c, uint32_t address);
/* The same, in place. */
void mt_cryptopan_map_ipv6(struct mt_cryptopan *c, uint64_t *high, uint64_t *low);

#endif
