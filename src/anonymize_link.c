/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_link.c - link layers, tags, labels, PPP and ARP of a packet that becomes anonymous.
 *
 * Ethernet, Linux cooked (both), BSD loopback, raw IP, PPP, PPPoE and Cisco HDLC; of other link types nothing
 * is kept.  A packet comes here once, and again for each frame in a tunnel.
 */
#include <string.h>

#include "anonymize.h"

enum { MAX_DEPTH = 32, MAC_BYTES = 6, TYPE_PPPOE_DISCOVERY = 0x8863, TYPE_PBB = 0x88e7, TYPE_NSH = 0x894f };
enum { ARPHRD_NETLINK = 824 };

static uint32_t anonymize_arp(struct mt_walk *w, struct mt_span s)
{
	const uint8_t *p = w->in + s.at;
	if (!mt_captured(s, 0, 28))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	/* Ethernet and IPv4: 6 and 4 bytes */
	if (get16(p + 2) != MT_TYPE_IPV4 || p[4] != MAC_BYTES || p[5] != 4)
		return mt_stop(w, s.at + 8, MT_CUT_TYPE);
	mt_count_header(w, MT_HEADER_ARP);
	mt_anonymize_mac(w, s.at + 8);
	mt_anonymize_address(w, s.at + 14, 4);
	mt_anonymize_mac(w, s.at + 18);
	mt_anonymize_address(w, s.at + 24, 4);
	return s.at + 28;
}

/* Labels, then IP or what decode_tunnel.c takes for Ethernet. */
static uint32_t anonymize_mpls(struct mt_walk *w, struct mt_span s)
{
	struct mt_decoded d = mt_nothing_decoded;
	struct mt_span start = s;
	uint32_t kept;
	for (unsigned i = 0;; i++) {
		if (i == MT_MAX_LABELS)
			return mt_stop(w, s.at, MT_CUT_DEEP);
		if (!mt_captured(s, 0, 4))
			return mt_stop(w, s.at, MT_CUT_SHORT);
		bool last = w->in[s.at + 2] & 1;
		s = mt_behind(s, 4);
		if (last)
			break;
	}
	mt_count_header(w, MT_HEADER_MPLS);
	unsigned version = mt_captured(s, 0, 1) ? w->in[s.at] >> 4 : 0;
	if (version == 4 || version == 6)
		return mt_anonymize_ip(w, s, false);
	if (start.at < MT_NO_OFFSET) {
		d.l3_offset = (uint16_t)start.at;
		d.ethertype = MT_TYPE_MPLS;
		if (mt_anonymize_tunnel(w, start, &d, &kept))
			return kept;
	}
	return mt_stop(w, s.at, s.at == s.end ? MT_CUT_NOTHING : MT_CUT_TYPE);
}

/* From the protocol number on, in one byte or two (RFC 1661, 6.5). */
static uint32_t ppp_protocol(struct mt_walk *w, struct mt_span s)
{
	if (!mt_captured(s, 0, 1))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	uint32_t size = w->in[s.at] & 1 ? 1 : 2;
	if (!mt_captured(s, 0, size))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	uint16_t protocol = size == 1 ? w->in[s.at] : get16(w->in + s.at);
	s = mt_behind(s, size);
	mt_count_header(w, MT_HEADER_PPP);
	switch (protocol) {
	case 0x0021:
	case 0x0057:
		return mt_anonymize_ip(w, s, false);
	case 0x0281:
	case 0x0283:
		return anonymize_mpls(w, s);
	default:
		return mt_stop(w, s.at, MT_CUT_TYPE);
	}
}

uint32_t mt_anonymize_ppp(struct mt_walk *w, struct mt_span s)
{
	if (mt_captured(s, 0, 2) && w->in[s.at] == 0xff && w->in[s.at + 1] == 3)
		s = mt_behind(s, 2);
	return ppp_protocol(w, s);
}

static uint32_t anonymize_pppoe(struct mt_walk *w, struct mt_span s)
{
	if (!mt_captured(s, 0, 6))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	const uint8_t *p = w->in + s.at;
	if (p[0] != 0x11 || p[1] != 0)
		return mt_stop(w, s.at, MT_CUT_MALFORMED);
	uint32_t end = s.at + 6 + get16(p + 4);
	s = mt_behind(s, 6);
	s.end = end < s.end ? end : s.end;
	s.wire = end < s.wire ? end : s.wire;
	return ppp_protocol(w, s);
}

static bool known_type(uint16_t type)
{
	switch (type) {
	case MT_TYPE_IPV4:
	case MT_TYPE_IPV6:
	case MT_TYPE_ARP:
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
	case MT_TYPE_PPPOE_SESSION:
		return true;
	default:
		return mt_is_vlan(type);
	}
}

/* 802.2: SNAP with an Ethernet type, or IP; else the three bytes that name the protocol. */
static uint32_t anonymize_llc(struct mt_walk *w, struct mt_span s, uint16_t *type)
{
	const uint8_t *p = w->in + s.at;
	*type = 0;
	if (mt_captured(s, 0, 8) && p[0] == 0xaa && (p[1] & 0xfe) == 0xaa && p[2] == 3) {
		uint32_t oui = get32(p + 2) & 0xffffff;
		if (oui == 0 || oui == 0x0000f8)
			*type = get16(p + 6);
		return 8;
	}
	if (!mt_captured(s, 0, 3))
		return 0;
	if (p[0] == 6 && (p[1] & 0xfe) == 6 && p[2] == 3)
		*type = MT_TYPE_IPV4;
	return 3;
}

uint32_t mt_anonymize_type(struct mt_walk *w, struct mt_span s, uint16_t type)
{
	uint32_t kept;
	if (w->depth++ >= MAX_DEPTH)
		return mt_stop(w, s.at, MT_CUT_DEEP);
	if (mt_is_vlan(type)) {
		if (!mt_captured(s, 0, 4))
			return mt_stop(w, s.at, MT_CUT_SHORT);
		mt_count_header(w, MT_HEADER_VLAN);
		return mt_anonymize_type(w, mt_behind(s, 4), get16(w->in + s.at + 2));
	}
	if (type < MT_TYPE_MIN) {
		if (type > MT_TYPE_MAX_LENGTH)
			return mt_stop(w, s.at, MT_CUT_TYPE);
		if (type < s.wire - s.at)
			s.wire = s.at + type;
		if (s.end > s.wire)
			s.end = s.wire;
		uint32_t size = anonymize_llc(w, s, &type);
		s = mt_behind(s, size);
		return type >= MT_TYPE_MIN ? mt_anonymize_type(w, s, type) : mt_stop(w, s.at, MT_CUT_TYPE);
	}
	switch (type) {
	case MT_TYPE_IPV4:
	case MT_TYPE_IPV6:
		return mt_anonymize_ip(w, s, false);
	case MT_TYPE_ARP:
		return anonymize_arp(w, s);
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
		return anonymize_mpls(w, s);
	case MT_TYPE_PPPOE_SESSION:
		return anonymize_pppoe(w, s);
	case TYPE_PBB:
	case TYPE_NSH:
		if (s.at < MT_NO_OFFSET) {
			struct mt_decoded d = mt_nothing_decoded;
			d.l3_offset = (uint16_t)s.at;
			d.ethertype = type;
			if (mt_anonymize_tunnel(w, s, &d, &kept))
				return kept;
		}
		break;
	default:
		break;
	}
	return mt_stop(w, s.at, MT_CUT_TYPE);
}

uint32_t mt_anonymize_ethernet(struct mt_walk *w, struct mt_span s, bool sure)
{
	if (!mt_captured(s, 0, MT_ETHERNET_HEADER))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	uint16_t type = get16(w->in + s.at + 12);
	if (!sure && !known_type(type))
		return mt_stop(w, s.at, MT_CUT_TYPE);
	mt_count_header(w, MT_HEADER_ETHERNET);
	mt_anonymize_mac(w, s.at);
	mt_anonymize_mac(w, s.at + MAC_BYTES);
	return mt_anonymize_type(w, mt_behind(s, MT_ETHERNET_HEADER), type);
}

/* Linux cooked: an address of address_len bytes in 8, of which six are a MAC address. */
static uint32_t anonymize_cooked(struct mt_walk *w, struct mt_span s, uint32_t header, uint32_t type_at,
                                 uint32_t arphrd_at, uint32_t address_at, uint32_t address_len)
{
	if (!mt_captured(s, 0, header))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	uint16_t type = get16(w->in + s.at + type_at);
	mt_count_header(w, MT_HEADER_COOKED);
	memset(w->out + s.at + address_at, 0, 8);
	if (address_len == MAC_BYTES)
		mt_anonymize_mac(w, s.at + address_at);
	bool netlink = get16(w->in + s.at + arphrd_at) == ARPHRD_NETLINK;
	s = mt_behind(s, header);
	if (type == 4 && !netlink) { /* LLC */
		s = mt_behind(s, anonymize_llc(w, s, &type));
	}
	return type >= MT_TYPE_MIN && !netlink ? mt_anonymize_type(w, s, type) : mt_stop(w, s.at, MT_CUT_TYPE);
}

/* As decode_loopback has it: an address family of either byte order, or an Ethernet type. */
static uint32_t anonymize_loopback(struct mt_walk *w, struct mt_span s)
{
	if (!mt_captured(s, 0, 4))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	const uint8_t *p = w->in + s.at;
	uint32_t family = get32(p) > 0xffff ? get32le(p) : get32(p);
	if (get16(p + 2) >= MT_TYPE_MIN)
		return known_type(get16(p + 2)) && !get16(p)
		               ? mt_anonymize_type(w, mt_behind(s, 4), get16(p + 2))
		               : mt_stop(w, s.at, MT_CUT_TYPE);
	switch (family) {
	case 2:
	case 10:
	case 23:
	case 24:
	case 28:
	case 30:
		mt_count_header(w, MT_HEADER_OTHER);
		return mt_anonymize_ip(w, mt_behind(s, 4), false);
	default:
		return mt_stop(w, s.at, MT_CUT_TYPE);
	}
}

/* Also with Cisco HDLC under the same link type. */
static uint32_t anonymize_serial(struct mt_walk *w, struct mt_span s, bool hdlc)
{
	if (!mt_captured(s, 0, 4))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	const uint8_t *p = w->in + s.at;
	if (!hdlc && p[0] != 0x0f && p[0] != 0x8f)
		return mt_anonymize_ppp(w, s);
	mt_count_header(w, MT_HEADER_OTHER);
	return mt_anonymize_type(w, mt_behind(s, 4), get16(p + 2));
}

uint32_t mt_anonymize_link(struct mt_walk *w)
{
	const struct mt_packet *p = w->original;
	struct mt_span s = {0, p->caplen, p->wirelen > p->caplen ? p->wirelen : p->caplen};
	switch (p->linktype) {
	case 1:
		return mt_anonymize_ethernet(w, s, true);
	case 12:
	case 101:
	case 228:
	case 229:
		return mt_anonymize_ip(w, s, false);
	case 113:
		return anonymize_cooked(w, s, 16, 14, 2, 6, mt_captured(s, 4, 2) ? get16(w->in + 4) : 0);
	case 276:
		if (mt_captured(s, 0, 20))
			memset(w->out + 2, 0, 6); /* reserved, number of the interface */
		return anonymize_cooked(w, s, 20, 0, 8, 12, mt_captured(s, 11, 1) ? w->in[11] : 0);
	case 0:
	case 108:
		return anonymize_loopback(w, s);
	case 9:
	case 50:
		return anonymize_serial(w, s, false);
	case 204: /* PPP behind a byte of direction */
		return mt_captured(s, 0, 1) ? anonymize_serial(w, mt_behind(s, 1), false)
		                            : mt_stop(w, s.at, MT_CUT_SHORT);
	case 51:
		return anonymize_pppoe(w, s);
	case 104:
		return anonymize_serial(w, s, true);
	default:
		return mt_stop(w, 0, MT_CUT_LINK);
	}
}
