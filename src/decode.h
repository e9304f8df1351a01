/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode.h - what the parts of the decoder share: link layers in decode.c, IP and transport in
 * decode_ip.c, tunnels in decode_tunnel.c and decode_inner.c, single fields in decode_field.c.  The
 * public functions are in abi.h.
 */
#ifndef MT_DECODE_H
#define MT_DECODE_H
#include <stdbool.h>

#include "abi.h"

enum { MT_PROTO_TCP = 6, MT_PROTO_UDP = 17, MT_PROTO_FRAGMENT = 44, MT_PROTO_AH = 51 };

enum {
	MT_TYPE_MAX_LENGTH = 1500, /* up to here an Ethernet type is a length, and LLC follows */
	MT_TYPE_MIN = 1536,
	MT_TYPE_IPV4 = 0x0800,
	MT_TYPE_ARP = 0x0806,
	MT_TYPE_VLAN = 0x8100,
	MT_TYPE_IPV6 = 0x86dd,
	MT_TYPE_MPLS = 0x8847,
	MT_TYPE_MPLS_MULTICAST = 0x8848,
	MT_TYPE_PPPOE_SESSION = 0x8864,
	MT_TYPE_QINQ = 0x88a8,
	MT_TYPE_QINQ_OLD = 0x9100
};

enum { MT_MAX_LABELS = 32, MT_ETHERNET_HEADER = 14 };

extern const struct mt_decoded mt_nothing_decoded;

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

static inline bool mt_is_vlan(uint16_t type)
{
	return type == MT_TYPE_VLAN || type == MT_TYPE_QINQ || type == MT_TYPE_QINQ_OLD;
}

/* Each decodes one kind of header at offset, with everything inside. */
void mt_decode_ethernet(struct mt_frame *f, uint32_t offset);
void mt_decode_type(struct mt_frame *f, uint32_t offset, uint16_t type);
void mt_decode_mpls(struct mt_frame *f, uint32_t offset);
/* A protocol number of PPP, in one byte or two; address and control bytes are gone. */
void mt_decode_ppp_protocol(struct mt_frame *f, uint32_t offset);
/* What the length byte of an IPv6 extension header counts, beyond its first 8 bytes; -1: this
 * is no extension header. */
int mt_extension_unit(uint8_t proto);
/* IP at offset, by its version nibble, with everything inside.  False if it is neither version. */
bool mt_decode_ip(struct mt_frame *f, uint32_t offset);

#endif
