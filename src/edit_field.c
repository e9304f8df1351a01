/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit_field.c - header fields of an edited packet by name: where each one is, and what fits it.
 *
 * Called for each field that a script sets, a few times a packet.  A field that the packet does not
 * have, or whose bytes were not captured, is refused.
 */
#include <stdbool.h>
#include <string.h>

#include "decode.h"
#include "edit.h"

enum { PROTO_ROUTING = 43 };
enum { LINK_C_HDLC = 104, LINK_LINUX_SLL = 113, LINK_LINUX_SLL2 = 276 };
enum { MAC_BYTES = 6 };

/* Is everything up to `end` there? */
static bool reaches(const struct mt_edit *e, uint32_t start, uint32_t end)
{
	return start != MT_NO_OFFSET && end <= e->packet->caplen;
}

static void put32(uint8_t *p, uint32_t v)
{
	mt_put16(p, v >> 16);
	mt_put16(p + 2, v);
}

/* --- link layer ---------------------------------------------------------------------------- */

bool mt_link_start(const struct mt_packet *p, const struct mt_decoded *d, struct mt_link_place *place)
{
	uint32_t l2 = d->l2_offset;
	if (l2 != MT_NO_OFFSET)
		*place = (struct mt_link_place){l2 + 12, l2 + 14};
	else if (d->inner == MT_INNER_THIS)
		return false;
	else if (p->linktype == LINK_LINUX_SLL)
		*place = (struct mt_link_place){14, 16};
	else if (p->linktype == LINK_LINUX_SLL2)
		*place = (struct mt_link_place){0, 20};
	else if (p->linktype == LINK_C_HDLC)
		*place = (struct mt_link_place){2, 4};
	else
		return false;
	return p->caplen >= place->body;
}

bool mt_link_is_tag(const struct mt_packet *p, const struct mt_link_place *place)
{
	return mt_is_vlan(get16(p->data + place->type_at)) && p->caplen - place->body >= 4;
}

bool mt_link_next(const struct mt_packet *p, struct mt_link_place *place)
{
	static const uint8_t snap[6] = {0xaa, 0xaa, 3, 0, 0, 0};
	const uint8_t *body = p->data + place->body;
	uint32_t left = p->caplen - place->body;
	if (mt_link_is_tag(p, place)) {
		*place = (struct mt_link_place){place->body + 2, place->body + 4};
		return true;
	}
	if (get16(p->data + place->type_at) > MT_TYPE_MAX_LENGTH || left < 8)
		return false;
	for (unsigned i = 0; i < sizeof snap; i++)
		if (body[i] != snap[i])
			return false;
	*place = (struct mt_link_place){place->body + 6, place->body + 8};
	return true;
}

static enum mt_edit_result set_tag(struct mt_edit *e, const struct mt_decoded *d, uint32_t keep, uint32_t v)
{
	if (!(d->bits & MT_HAS_VLAN) || d->tag_offset + 2u > e->packet->caplen)
		return MT_EDIT_ABSENT;
	uint8_t *tag = mt_edit_data(e) + d->tag_offset;
	mt_put16(tag, (get16(tag) & keep) | v);
	return MT_EDIT_DONE;
}

/* The type that no tag follows. */
static enum mt_edit_result set_ethertype(struct mt_edit *e, const struct mt_decoded *d, uint32_t type)
{
	struct mt_link_place place;
	if (!d->ethertype)
		return MT_EDIT_ABSENT;
	if (!mt_link_start(e->packet, d, &place))
		return MT_EDIT_LINK;
	while (mt_link_next(e->packet, &place))
		;
	if (get16(e->packet->data + place.type_at) != d->ethertype)
		return MT_EDIT_LINK;
	mt_put16(mt_edit_data(e) + place.type_at, type);
	return MT_EDIT_DONE;
}

int32_t mt_edit_set_mac(struct mt_edit *e, const struct mt_decoded *decoded, uint32_t is_dst, uint64_t mac)
{
	uint32_t at = decoded->l2_offset + (is_dst ? 0u : MAC_BYTES);
	if (!reaches(e, decoded->l2_offset, at + MAC_BYTES))
		return MT_EDIT_ABSENT;
	memcpy(mt_edit_data(e) + at, &mac, MAC_BYTES);
	return MT_EDIT_DONE;
}

/* --- IP ------------------------------------------------------------------------------------ */

/* Where the last of the addresses in a routing header is, which the transport checksum counts as the
 * destination (RFC 8200 8.1); 0: it is not one of the types that hold some. */
static uint32_t last_address(const uint8_t *data, uint32_t at, uint32_t size)
{
	const uint8_t *header = data + at;
	if (!header[3] || size < 24) /* no segments left: the destination is in the IP header */
		return 0;
	switch (header[2]) {
	case 0: /* source route, RFC 2460 */
	case 2: /* mobile IPv6, RFC 6275 */
		return at + size - 16;
	case 4: /* segment routing, RFC 8754: the list is in reverse */
		return at + 8;
	default:
		return 0;
	}
}

struct mt_ipv6_chain mt_ipv6_chain(const struct mt_packet *p, const struct mt_decoded *d)
{
	struct mt_ipv6_chain chain = {d->l3_offset + 6u, d->l3_offset + 24u};
	uint32_t at = d->l3_offset + 40u;
	uint32_t end = d->l4_offset != MT_NO_OFFSET ? d->l4_offset : d->payload_offset;
	/* The decoder has been along here: up to `end` all of these are extension headers. */
	while (end != MT_NO_OFFSET && at + 8 <= end && end <= p->caplen) {
		const uint8_t *header = p->data + at;
		uint8_t type = p->data[chain.next_at];
		uint32_t size = type == MT_PROTO_FRAGMENT ? 8
		                : type == MT_PROTO_AH     ? (header[1] + 2u) * 4
		                                          : (header[1] + 1u) * 8;
		uint32_t last = type == PROTO_ROUTING && at + size <= end ? last_address(p->data, at, size) : 0;
		chain.destination = last ? last : chain.destination;
		chain.next_at = at;
		at += size;
	}
	return chain;
}

int32_t mt_edit_set_address(struct mt_edit *e, struct mt_decoded *d, uint32_t is_dst, uint64_t high,
                            uint64_t low, uint32_t len)
{
	if (d->src_offset == MT_NO_OFFSET)
		return MT_EDIT_ABSENT;
	if (len != d->address_len)
		return MT_EDIT_VERSION;
	uint8_t *p = mt_edit_data(e) + d->src_offset + (is_dst ? len : 0);
	const uint64_t halves[2] = {high, low};
	memcpy(p, halves, len == 4 ? 4 : 16);
	mt_edit_decode(e, d);
	return MT_EDIT_DONE;
}

/* How much of the IP header must be there. */
static uint32_t ip_needs(enum mt_edit_field field, bool v4)
{
	switch (field) {
	case MT_EDIT_TTL:
		return v4 ? 9 : 8;
	case MT_EDIT_PROTO:
		return v4 ? 10 : 7;
	case MT_EDIT_IP_ID:
		return 6;
	case MT_EDIT_FLOW_LABEL:
		return 4;
	default:
		return 2;
	}
}

static void set_class(uint8_t *ip, bool v4, uint32_t class)
{
	if (v4)
		ip[1] = (uint8_t) class;
	else
		mt_put16(ip, (get16(ip) & 0xf00fu) | class << 4);
}

static enum mt_edit_result set_ip(struct mt_edit *e, const struct mt_decoded *d, enum mt_edit_field field,
                                  uint32_t v)
{
	bool v4 = d->ip_version == 4;
	if (!d->ip_version || !reaches(e, d->l3_offset, d->l3_offset + ip_needs(field, v4)))
		return MT_EDIT_ABSENT;
	uint8_t *ip = mt_edit_data(e) + d->l3_offset;
	uint32_t class = v4 ? ip[1] : (get16(ip) >> 4 & 0xff);
	switch (field) {
	case MT_EDIT_TTL:
		ip[v4 ? 8 : 7] = (uint8_t)v;
		return MT_EDIT_DONE;
	case MT_EDIT_PROTO:
		mt_edit_data(e)[v4 ? d->l3_offset + 9u : mt_ipv6_chain(e->packet, d).next_at] = (uint8_t)v;
		return MT_EDIT_DONE;
	case MT_EDIT_IP_ID:
		if (!v4)
			return MT_EDIT_ABSENT;
		mt_put16(ip + 4, v);
		return MT_EDIT_DONE;
	case MT_EDIT_FLOW_LABEL:
		if (v4)
			return MT_EDIT_ABSENT;
		ip[1] = (uint8_t)((ip[1] & 0xf0u) | v >> 16);
		mt_put16(ip + 2, v);
		return MT_EDIT_DONE;
	case MT_EDIT_DSCP:
		set_class(ip, v4, v << 2 | (class & 3));
		return MT_EDIT_DONE;
	default:
		set_class(ip, v4, (class & ~3u) | v);
		return MT_EDIT_DONE;
	}
}

/* --- transport ------------------------------------------------------------------------------ */

/* bytes of the transport header at `offset` in it. */
static enum mt_edit_result set_transport(struct mt_edit *e, const struct mt_decoded *d, uint8_t bit,
                                         uint32_t offset, uint32_t bytes, uint32_t v)
{
	uint32_t at = d->l4_offset + offset;
	if (!(d->bits & bit) || !reaches(e, d->l4_offset, at + bytes))
		return MT_EDIT_ABSENT;
	uint8_t *p = mt_edit_data(e) + at;
	if (bytes == 1)
		*p = (uint8_t)v;
	else if (bytes == 2)
		mt_put16(p, v);
	else
		put32(p, v);
	return MT_EDIT_DONE;
}

/* One of the messages that have an identifier and a sequence number. */
static bool is_echo(const struct mt_edit *e, const struct mt_decoded *d)
{
	if (!reaches(e, d->l4_offset, d->l4_offset + 8u))
		return false;
	uint8_t type = e->packet->data[d->l4_offset];
	if (d->ip_version == 4)
		return type == 0 || type == 8 || (type >= 13 && type <= 18);
	return type == 128 || type == 129;
}

static enum mt_edit_result set_wirelen(struct mt_edit *e, uint32_t v)
{
	if (v < e->packet->caplen)
		return MT_EDIT_RANGE;
	e->packet->wirelen = v;
	return MT_EDIT_DONE;
}

static enum mt_edit_result set(struct mt_edit *e, const struct mt_decoded *d, enum mt_edit_field field,
                               uint32_t v)
{
	switch (field) {
	case MT_EDIT_SPORT:
		return set_transport(e, d, MT_HAS_PORTS, 0, 2, v);
	case MT_EDIT_DPORT:
		return set_transport(e, d, MT_HAS_PORTS, 2, 2, v);
	case MT_EDIT_TCP_SEQ:
		return set_transport(e, d, MT_IS_TCP, 4, 4, v);
	case MT_EDIT_TCP_ACK:
		return set_transport(e, d, MT_IS_TCP, 8, 4, v);
	case MT_EDIT_TCP_FLAGS:
		return set_transport(e, d, MT_IS_TCP, 13, 1, v);
	case MT_EDIT_TCP_WINDOW:
		return set_transport(e, d, MT_IS_TCP, 14, 2, v);
	case MT_EDIT_ICMP_TYPE:
		return set_transport(e, d, MT_IS_ICMP, 0, 1, v);
	case MT_EDIT_ICMP_CODE:
		return set_transport(e, d, MT_IS_ICMP, 1, 1, v);
	case MT_EDIT_ICMP_ID:
		return is_echo(e, d) ? set_transport(e, d, MT_IS_ICMP, 4, 2, v) : MT_EDIT_ABSENT;
	case MT_EDIT_ICMP_SEQ:
		return is_echo(e, d) ? set_transport(e, d, MT_IS_ICMP, 6, 2, v) : MT_EDIT_ABSENT;
	case MT_EDIT_VLAN:
		return set_tag(e, d, 0xf000, v);
	case MT_EDIT_VLAN_PRIORITY:
		return set_tag(e, d, 0x1fff, v << 13);
	case MT_EDIT_ETHERTYPE:
		return set_ethertype(e, d, v);
	case MT_EDIT_WIRELEN:
		return set_wirelen(e, v);
	default:
		return set_ip(e, d, field, v);
	}
}

int32_t mt_edit_set(struct mt_edit *e, struct mt_decoded *decoded, uint32_t field, double value)
{
	static const struct {
		uint32_t min, max;
	} ranges[] = {
	        [MT_EDIT_SPORT] = {0, UINT16_MAX},
	        [MT_EDIT_DPORT] = {0, UINT16_MAX},
	        [MT_EDIT_TTL] = {0, UINT8_MAX},
	        [MT_EDIT_PROTO] = {0, UINT8_MAX},
	        [MT_EDIT_DSCP] = {0, 63},
	        [MT_EDIT_ECN] = {0, 3},
	        [MT_EDIT_IP_ID] = {0, UINT16_MAX},
	        [MT_EDIT_TCP_FLAGS] = {0, UINT8_MAX},
	        [MT_EDIT_TCP_SEQ] = {0, UINT32_MAX},
	        [MT_EDIT_TCP_ACK] = {0, UINT32_MAX},
	        [MT_EDIT_TCP_WINDOW] = {0, UINT16_MAX},
	        [MT_EDIT_ICMP_TYPE] = {0, UINT8_MAX},
	        [MT_EDIT_ICMP_CODE] = {0, UINT8_MAX},
	        [MT_EDIT_VLAN] = {0, 4095},
	        [MT_EDIT_VLAN_PRIORITY] = {0, 7},
	        [MT_EDIT_FLOW_LABEL] = {0, 0xfffff},
	        [MT_EDIT_ICMP_ID] = {0, UINT16_MAX},
	        [MT_EDIT_ICMP_SEQ] = {0, UINT16_MAX},
	        [MT_EDIT_ETHERTYPE] = {1536, UINT16_MAX},
	        [MT_EDIT_WIRELEN] = {0, UINT32_MAX},
	};
	if (field >= sizeof ranges / sizeof *ranges)
		return MT_EDIT_ABSENT;
	if (!(value >= ranges[field].min && value <= ranges[field].max) || value != (double)(uint32_t)value)
		return MT_EDIT_RANGE;
	enum mt_edit_result r = set(e, decoded, field, (uint32_t)value);
	if (r == MT_EDIT_DONE)
		mt_edit_decode(e, decoded);
	return r;
}
