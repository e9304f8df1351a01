/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_ip.c - IPv4, IPv6 with its extension headers, and the transport header behind them.
 *
 * Called by decode.c for each packet that does not take the short path: options, fragments,
 * tags in front of IP, IPv6, other transports than TCP and UDP.
 */
#include "decode.h"

enum {
	PROTO_HOP_BY_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_DCCP = 33,
	PROTO_ROUTING = 43,
	PROTO_ICMPV6 = 58,
	PROTO_NONE = 59,
	PROTO_DESTINATION = 60,
	PROTO_SCTP = 132,
	PROTO_MOBILITY = 135,
	PROTO_UDPLITE = 136,
	PROTO_HIP = 139,
	PROTO_SHIM6 = 140
};

enum { MAX_EXTENSIONS = 32 };

/* The payload starts here, possibly with no byte of it captured. */
static void set_payload(const struct mt_frame *f, uint32_t offset)
{
	if (offset > f->len || offset >= MT_NO_OFFSET)
		return;
	f->d->payload_offset = (uint16_t)offset;
	f->d->payload_len = f->len - offset;
}

static void decode_tcp(const struct mt_frame *f, uint32_t l4)
{
	uint32_t header;

	if (has(f, l4, 14))
		f->d->tcp_flags = f->data[l4 + 13];
	if (has(f, l4, 13) && (header = (f->data[l4 + 12] >> 4) * 4u) >= 20)
		set_payload(f, l4 + header);
}

static void decode_dccp(const struct mt_frame *f, uint32_t l4)
{
	uint32_t header;

	if (has(f, l4, 5) && (header = f->data[l4 + 4] * 4u) >= 12)
		set_payload(f, l4 + header);
}

static void decode_transport(const struct mt_frame *f, uint32_t l4)
{
	f->d->l4_offset = header_at(f, l4);
	switch (f->d->proto) {
	case MT_PROTO_TCP:
		decode_tcp(f, l4);
		break;
	case PROTO_DCCP:
		decode_dccp(f, l4);
		break;
	case MT_PROTO_UDP:
	case PROTO_UDPLITE:
		set_payload(f, l4 + 8);
		break;
	case PROTO_SCTP:
		set_payload(f, l4 + 12);
		break;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		set_payload(f, l4 + 8);
		return;
	case PROTO_NONE:
		f->d->l4_offset = MT_NO_OFFSET;
		return;
	default: /* no header that is known: all of it is payload */
		set_payload(f, l4);
		return;
	}
	if (has(f, l4, 4)) {
		f->d->sport = get16(f->data + l4);
		f->d->dport = get16(f->data + l4 + 2);
		f->d->bits |= MT_HAS_PORTS;
	}
}

static uint8_t protocol_bits(uint8_t proto)
{
	switch (proto) {
	case MT_PROTO_TCP:
		return MT_IS_TCP;
	case MT_PROTO_UDP:
		return MT_IS_UDP;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		return MT_IS_ICMP;
	default:
		return 0;
	}
}

/* Everything below the IP header ends where the IP packet does: what follows is padding.
 * 0 stands in packets that segmentation offload captured, and in jumbograms. */
static void limit_to_ip(struct mt_frame *f, uint32_t ip, uint32_t ip_len)
{
	if (ip_len && has(f, ip, ip_len))
		f->len = ip + ip_len;
}

static void decode_ipv4(struct mt_frame *f, uint32_t ip)
{
	struct mt_decoded *d = f->d;
	uint32_t header = (f->data[ip] & 15) * 4u;

	d->ip_version = 4;
	if (header < 20)
		return;
	if (has(f, ip, 9))
		d->ttl = f->data[ip + 8];
	if (has(f, ip, 10)) {
		d->proto = f->data[ip + 9];
		d->bits |= protocol_bits(d->proto);
	}
	if (!has(f, ip, 20))
		return;
	d->src_offset = header_at(f, ip + 12);
	d->address_len = 4;
	uint16_t fragment = get16(f->data + ip + 6);
	uint32_t total = get16(f->data + ip + 2);
	limit_to_ip(f, ip, total && total < header ? header : total);
	if (fragment & 0x3fff)
		d->bits |= MT_IS_FRAGMENT;
	if (fragment & 0x1fff)
		set_payload(f, ip + header);
	else
		decode_transport(f, ip + header);
}

int mt_extension_unit(uint8_t proto)
{
	switch (proto) {
	case PROTO_HOP_BY_HOP:
	case PROTO_ROUTING:
	case PROTO_DESTINATION:
	case PROTO_MOBILITY:
	case PROTO_HIP:
	case PROTO_SHIM6:
		return 8;
	case MT_PROTO_AH:
		return 4;
	case MT_PROTO_FRAGMENT:
		return 0;
	default:
		return -1;
	}
}

/* Follow the extension headers from offset.  True when *offset is at the transport header;
 * d->proto is the last type that could be read. */
static bool skip_extensions(const struct mt_frame *f, uint32_t *offset)
{
	struct mt_decoded *d = f->d;
	int unit;

	for (unsigned i = 0; i < MAX_EXTENSIONS && (unit = mt_extension_unit(d->proto)) >= 0; i++) {
		if (!has(f, *offset, 2))
			return false;
		uint32_t size = 8 + f->data[*offset + 1] * (uint32_t)unit;
		if (!has(f, *offset, size))
			return false;
		bool fragment = d->proto == MT_PROTO_FRAGMENT;
		uint16_t place = fragment ? get16(f->data + *offset + 2) : 0;
		d->proto = f->data[*offset];
		*offset += size;
		if (place & 0xfff9)
			d->bits |= MT_IS_FRAGMENT;
		if (place & 0xfff8) {
			set_payload(f, *offset);
			return false;
		}
	}
	return mt_extension_unit(d->proto) < 0;
}

static void decode_ipv6(struct mt_frame *f, uint32_t ip)
{
	struct mt_decoded *d = f->d;
	uint32_t offset = ip + 40;

	d->ip_version = 6;
	if (has(f, ip, 7))
		d->proto = f->data[ip + 6];
	if (has(f, ip, 8))
		d->ttl = f->data[ip + 7];
	if (has(f, ip, 40)) {
		d->src_offset = header_at(f, ip + 8);
		d->address_len = 16;
		uint32_t payload = get16(f->data + ip + 4);
		limit_to_ip(f, ip, payload ? 40 + payload : 0);
		if (skip_extensions(f, &offset))
			decode_transport(f, offset);
	}
	d->bits |= protocol_bits(d->proto);
}

bool mt_decode_ip(struct mt_frame *f, uint32_t offset)
{
	if (!has(f, offset, 1))
		return false;
	unsigned version = f->data[offset] >> 4;
	if (version != 4 && version != 6)
		return false;
	f->d->l3_offset = header_at(f, offset);
	if (version == 4)
		decode_ipv4(f, offset);
	else
		decode_ipv6(f, offset);
	return true;
}
