/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode.h - what the two halves of the decoder share: link layers in decode.c, IP and
 * transport in decode_ip.c.  The public functions are in abi.h.
 */
#ifndef MT_DECODE_H
#define MT_DECODE_H
#include <stdbool.h>

#include "abi.h"

enum { MT_PROTO_TCP = 6, MT_PROTO_UDP = 17 };

/* A packet on its way through the layers. */
struct mt_frame {
	const uint8_t *data;
	uint32_t len; /* bytes that may be read: captured, below IP also inside the IP packet */
	struct mt_decoded *d;
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t get32le(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline bool has(const struct mt_frame *f, uint32_t offset, uint32_t n)
{
	return offset <= f->len && f->len - offset >= n;
}

/* An offset for mt_decoded: absent when it does not fit or nothing was captured there. */
static inline uint16_t header_at(const struct mt_frame *f, uint32_t offset)
{
	return offset < f->len && offset < MT_NO_OFFSET ? (uint16_t)offset : MT_NO_OFFSET;
}

/* IP at offset, by its version nibble, with everything inside.  False if it is neither version. */
bool mt_decode_ip(struct mt_frame *f, uint32_t offset);

#endif
