/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * internet_sum.h - ones' complement sums of 16-bit words (RFC 1071), four bytes at a time.
 */
#ifndef MT_INTERNET_SUM_H
#define MT_INTERNET_SUM_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* 16 bits of a sum. */
static inline uint32_t mt_sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16); /* 2^17 at most */
	return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

/* Add bytes to a sum of words in the order of this machine's memory, an odd last one with a 0 behind it: only
 * the last call may have an odd n.  A sum begins with 0 and takes 2^32 words before mt_sum_end. */
static inline uint64_t mt_sum_add(uint64_t sum, const uint8_t *data, size_t n)
{
	uint32_t word;
	uint16_t half;
	for (; n >= sizeof word; data += sizeof word, n -= sizeof word) {
		memcpy(&word, data, sizeof word);
		sum += word;
	}
	if (n & 2) {
		memcpy(&half, data, sizeof half);
		sum += half;
		data += sizeof half;
	}
	if (n & 1) {
		uint8_t last[2] = {*data, 0};
		memcpy(&half, last, sizeof half);
		sum += half;
	}
	return sum;
}

/* The sum as 16 bits of network order: a sum of swapped words is the swapped sum. */
static inline uint32_t mt_sum_end(uint64_t sum)
{
	uint16_t folded = (uint16_t)mt_sum_fold(sum);
	uint8_t bytes[2];
	memcpy(bytes, &folded, sizeof bytes);
	return (uint32_t)(bytes[0] << 8 | bytes[1]);
}

/* Sum of the bytes as words of network order. */
static inline uint32_t mt_sum_bytes(const uint8_t *data, size_t n)
{
	return mt_sum_end(mt_sum_add(0, data, n));
}

#endif
