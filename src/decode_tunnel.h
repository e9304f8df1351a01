/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_tunnel.h - what decode_tunnel.c finds in front of an inner packet and decode_inner.c goes on with.
 */
#ifndef MT_DECODE_TUNNEL_H
#define MT_DECODE_TUNNEL_H
#include "decode.h"

/* What a tunnel carries, apart from Ethernet types. */
enum mt_payload { MT_PAYLOAD_UNKNOWN, MT_PAYLOAD_ETHERNET, MT_PAYLOAD_IP, MT_PAYLOAD_PPP, MT_PAYLOAD_TYPE };

/* A tunnel header on its way from `at` to its payload. */
struct mt_tunnel_header {
	const uint8_t *data; /* of the packet */
	uint32_t at, end;    /* what is left of the outer payload */
	uint32_t id;
	enum mt_tunnel kind;
	enum mt_payload payload;
	uint16_t type; /* MT_PAYLOAD_TYPE: an Ethernet type */
};

/* The header of a tunnel in the packet that d describes; t->at and t->end are then its payload.  limit: where
 * the frame of d ends. */
bool mt_tunnel_find(const struct mt_packet *packet, uint32_t limit, const struct mt_decoded *d,
                    struct mt_tunnel_header *t);

#endif
