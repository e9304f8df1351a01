/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_field.c - the few fields that take a walk through headers and that hooks ask for rarely.
 *
 * The getters of lua/moontap/packet.lua call these through FFI for fragments and for labels; all else
 * they read in place.
 */
#include "decode.h"

/* All of the IP header's fixed part was captured. */
static bool has_ip_header(const struct mt_decoded *d)
{
	return d->ip_version && d->src_offset != MT_NO_OFFSET;
}

/* The fragment header of an IPv6 packet that has one, or NULL. */
static const uint8_t *fragment_header(const struct mt_packet *packet, const struct mt_decoded *d)
{
	const struct mt_frame f = {packet->data, packet->caplen, NULL};
	uint32_t at = d->l3_offset + 40;
	uint8_t proto = packet->data[d->l3_offset + 6];
	int unit;

	while ((unit = mt_extension_unit(proto)) >= 0 && has(&f, at, 8)) {
		if (proto == MT_PROTO_FRAGMENT)
			return packet->data + at;
		proto = packet->data[at];
		at += 8 + packet->data[at + 1] * (uint32_t)unit;
	}
	return NULL;
}

uint32_t mt_fragment_place(const struct mt_packet *packet, const struct mt_decoded *d)
{
	if (!(d->bits & MT_IS_FRAGMENT) || !has_ip_header(d))
		return 0;
	if (d->ip_version == 4)
		return get16(packet->data + d->l3_offset + 6) & 0x3fff;
	const uint8_t *p = fragment_header(packet, d);
	return p ? (uint32_t)get16(p + 2) >> 3 | (p[3] & 1u) << 13 : 0;
}

uint32_t mt_fragment_id(const struct mt_packet *packet, const struct mt_decoded *d)
{
	if (!has_ip_header(d))
		return 0;
	if (d->ip_version == 4)
		return get16(packet->data + d->l3_offset + 4);
	const uint8_t *p = d->bits & MT_IS_FRAGMENT ? fragment_header(packet, d) : NULL;
	return p ? get32(p + 4) : 0;
}

uint32_t mt_mpls_label(const struct mt_packet *packet, const struct mt_decoded *d)
{
	const struct mt_frame f = {packet->data, packet->caplen, NULL};
	uint32_t at = d->tag_offset;

	if (!(d->bits & MT_HAS_MPLS) || !d->tag_offset)
		return 0;
	if (d->bits &
	    MT_HAS_VLAN) { /* the labels stand behind the tags, and behind PPPoE if that carries them */
		uint16_t type = MT_TYPE_VLAN;
		for (; mt_is_vlan(type) && has(&f, at, 4); at += 4)
			type = get16(f.data + at + 2);
		if (type == MT_TYPE_PPPOE_SESSION && has(&f, at, 8))
			at += f.data[at + 6] & 1 ? 7 : 8;
		else if (type != MT_TYPE_MPLS && type != MT_TYPE_MPLS_MULTICAST)
			return 0;
	}
	return has(&f, at, 4) ? get32(f.data + at) >> 12 : 0;
}
