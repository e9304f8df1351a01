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
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum;
}

/* Sum of the bytes as words of network order, an odd last one with a 0 behind it; 16 bits. */
static inline uint32_t mt_sum_bytes(const uint8_t *data, size_t n)
{
	uint64_t sum = 0;
	uint32_t last = 0;
	for (; n >= 4; data += 4, n -= 4) {
		uint32_t word;
		memcpy(&word, data, sizeof word);
		sum += word;
	}
	for (size_t i = 0; i < n; i++)
		((uint8_t *)&last)[i] = data[i];
	uint16_t folded = (uint16_t)mt_sum_fold(sum + last);
	uint8_t bytes[2];
	memcpy(bytes, &folded, sizeof bytes);
	return (uint32_t)(bytes[0] << 8 | bytes[1]); /* a sum of swapped words is the swapped sum */
}

#endif
