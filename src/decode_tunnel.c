/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_tunnel.c - headers of tunnels: GRE, VXLAN, Geneve, GTP and their like.
 *
 * Called by decode_inner.c for packets that are not TCP or ICMP, when a script asks for tunnels: some 10 ns
 * where there is none.  UDP tunnels are known by their ports; whatever else a header says that can be checked
 * is checked, since those ports are used by others too.
 */
#include "decode_tunnel.h"

enum {
	PROTO_IPV4 = 4,
	PROTO_IPV6 = 41,
	PROTO_GRE = 47,
	PROTO_ETHERIP = 97,
	PROTO_MPLS = 137,
	PROTO_ETHERNET = 143
};

enum {
	GRE_ETHERNET = 0x6558,
	GRE_PPP = 0x880b,
	GRE_WCCP = 0x883e,
	GRE_ERSPAN = 0x88be, /* types I and II */
	GRE_ERSPAN_III = 0x22eb,
	TYPE_PBB = 0x88e7,
	TYPE_NSH = 0x894f
};

enum {
	PORT_L2TP = 1701,
	PORT_GTP = 2152,
	PORT_GTP_V0 = 3386,
	PORT_TEREDO = 3544,
	PORT_LISP = 4341,
	PORT_VXLAN = 4789,
	PORT_VXLAN_GPE = 4790,
	PORT_GENEVE = 6081,
	PORT_MPLS = 6635,
	PORT_VXLAN_LINUX = 8472
};

static uint32_t left(const struct mt_tunnel_header *t)
{
	return t->end - t->at;
}

static const uint8_t *here(const struct mt_tunnel_header *t)
{
	return t->data + t->at;
}

/* Go on behind n bytes.  False: they were not captured. */
static bool skip(struct mt_tunnel_header *t, uint32_t n)
{
	if (left(t) < n)
		return false;
	t->at += n;
	return true;
}

static unsigned nibble(const struct mt_tunnel_header *t)
{
	return left(t) ? here(t)[0] >> 4 : 0;
}

/* The payload is an IP packet, if its first byte says so too. */
static void carries_ip(struct mt_tunnel_header *t)
{
	if (nibble(t) == 4 || nibble(t) == 6)
		t->payload = MT_PAYLOAD_IP;
}

/* Only types that mt_decode_type understands: what else there is can not be shown. */
static void carries_type(struct mt_tunnel_header *t, uint16_t type)
{
	t->type = type;
	switch (type) {
	case GRE_ETHERNET:
		t->payload = MT_PAYLOAD_ETHERNET;
		break;
	case GRE_PPP:
		t->payload = MT_PAYLOAD_PPP;
		break;
	case MT_TYPE_IPV4:
		t->payload = nibble(t) == 4 ? MT_PAYLOAD_TYPE : MT_PAYLOAD_UNKNOWN;
		break;
	case MT_TYPE_IPV6:
		t->payload = nibble(t) == 6 ? MT_PAYLOAD_TYPE : MT_PAYLOAD_UNKNOWN;
		break;
	case MT_TYPE_ARP:
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
	case MT_TYPE_PPPOE_SESSION:
		t->payload = left(t) >= 4 ? MT_PAYLOAD_TYPE : MT_PAYLOAD_UNKNOWN;
		break;
	default:
		t->payload = mt_is_vlan(type) && left(t) >= 2 ? MT_PAYLOAD_TYPE : MT_PAYLOAD_UNKNOWN;
		break;
	}
}

/* Could this be an Ethernet header?  A known type, and an IP version that agrees: for where nothing else
 * says so. */
static bool looks_like_ethernet(const struct mt_tunnel_header *t, uint32_t offset)
{
	const uint8_t *p = here(t) + offset;

	if (left(t) < offset + MT_ETHERNET_HEADER + 4)
		return false;
	uint16_t type = get16(p + 12);
	switch (type) {
	case MT_TYPE_IPV4:
		return p[14] >> 4 == 4 && (p[14] & 15) >= 5;
	case MT_TYPE_IPV6:
		return p[14] >> 4 == 6;
	case MT_TYPE_ARP:
		return get16(p + 14) == 1;
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
	case MT_TYPE_PPPOE_SESSION:
		return true;
	default:
		return mt_is_vlan(type) ||
		       (type <= MT_TYPE_MAX_LENGTH && type >= 3 && p[14] == p[15] && p[16] == 3);
	}
}

/* --- GRE and what it carries -------------------------------------------------------------- */

/* draft-foschiano-erspan: type I has no header of its own, types II and III have 8 and 12 bytes. */
static void erspan(struct mt_tunnel_header *t, bool sequenced)
{
	bool third = t->type == GRE_ERSPAN_III || (sequenced && nibble(t) == 2);

	if (third || sequenced) {
		const uint8_t *p = here(t);
		if (!skip(t, third ? 12 : 8))
			return;
		t->id = get16(p + 2) & 0x3ff;
		if (third && p[11] & 1 && !skip(t, 8)) /* platform specific */
			return;
		if (third && (p[10] >> 2 & 0x1f) == 2) { /* the mirrored frame is IP */
			carries_ip(t);
			return;
		}
	}
	t->payload = MT_PAYLOAD_ETHERNET;
}

/* The source routes of RFC 1701: address family, offset, length, and as much data. */
static bool skip_routes(struct mt_tunnel_header *t)
{
	while (left(t) >= 4) {
		const uint8_t *p = here(t);
		if (!skip(t, 4u + p[3]))
			return false;
		if (get16(p) == 0 && p[3] == 0)
			return true;
	}
	return false;
}

/* RFC 2637: a key of payload length and call id; without a sequence number it is no more than an ack. */
static void pptp(struct mt_tunnel_header *t, uint16_t flags)
{
	const uint8_t *p = here(t);

	t->kind = MT_TUNNEL_PPTP;
	if (!skip(t, flags & 0x0080 ? 12 : 8) || !(flags & 0x1000) || t->type != GRE_PPP)
		return;
	t->id = get16(p + 2);
	if (get16(p) < left(t))
		t->end = t->at + get16(p);
	t->payload = MT_PAYLOAD_PPP;
}

/* RFC 2784 and 2890; the routing bit is of RFC 1701. */
static bool gre(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 4) || (p[1] & 7) > 1)
		return false;
	uint16_t flags = get16(p);
	t->type = get16(p + 2);
	bool mirrored = t->type == GRE_ERSPAN || t->type == GRE_ERSPAN_III;
	t->kind = mirrored ? MT_TUNNEL_ERSPAN : MT_TUNNEL_GRE;
	if (flags & 7) {
		pptp(t, flags);
		return true;
	}
	if (flags & 0xc000 && !skip(t, 4))
		return true;
	if (flags & 0x2000) {
		if (!skip(t, 4))
			return true;
		t->id = get32(here(t) - 4);
	}
	if ((flags & 0x1000 && !skip(t, 4)) || (flags & 0x4000 && !skip_routes(t)))
		return true;
	if (mirrored)
		erspan(t, flags & 0x1000);
	else if (t->type == GRE_WCCP) { /* version 2 has 4 bytes more than version 1 */
		if (nibble(t) == 4 || skip(t, 4))
			carries_ip(t);
	} else
		carries_type(t, t->type);
	return true;
}

/* --- in UDP ------------------------------------------------------------------------------- */

/* A next protocol of VXLAN-GPE and NSH. */
static void carries_next(struct mt_tunnel_header *t, uint8_t next)
{
	switch (next) {
	case 1:
		carries_type(t, MT_TYPE_IPV4);
		break;
	case 2:
		carries_type(t, MT_TYPE_IPV6);
		break;
	case 3:
		t->payload = MT_PAYLOAD_ETHERNET;
		break;
	case 5:
		carries_type(t, MT_TYPE_MPLS);
		break;
	default:
		break;
	}
}

/* RFC 8300: the length is in words of 4 bytes. */
static bool nsh(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (left(t) < 8 || p[0] >> 6)
		return false;
	uint32_t size = (p[1] & 0x3fu) * 4;
	if (size < 8 || !skip(t, size))
		return false;
	if (t->kind == MT_TUNNEL_NONE) {
		t->kind = MT_TUNNEL_NSH;
		t->id = get32(p + 4) >> 8;
	}
	carries_next(t, p[3]);
	return true;
}

/* RFC 7348; the G bit and the policy of Linux do not matter here. */
static bool vxlan(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 8) || !(p[0] & 0x08))
		return false;
	t->kind = MT_TUNNEL_VXLAN;
	t->id = get32(p + 4) >> 8;
	t->payload = MT_PAYLOAD_ETHERNET;
	return true;
}

/* draft-ietf-nvo3-vxlan-gpe: there is a next protocol, with the P bit; some forget to set that. */
static bool vxlan_gpe(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!vxlan(t))
		return false;
	if (p[0] & 0x04 || p[3]) {
		t->payload = MT_PAYLOAD_UNKNOWN;
		if (p[3] == 4)
			nsh(t);
		else
			carries_next(t, p[3]);
	}
	return true;
}

/* RFC 8926 */
static bool geneve(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 8) || p[0] >> 6)
		return false;
	t->kind = MT_TUNNEL_GENEVE;
	t->id = get32(p + 4) >> 8;
	if (skip(t, (p[0] & 0x3fu) * 4))
		carries_type(t, get16(p + 2));
	return true;
}

enum { GTP_G_PDU = 255 };

/* The extension headers of GTP version 1, the first of type next.  3GPP TS 29.281, 5.2. */
static bool skip_gtp_extensions(struct mt_tunnel_header *t, uint8_t next)
{
	while (next) {
		uint32_t size = left(t) ? here(t)[0] * 4u : 0;
		if (!size || !skip(t, size))
			return false;
		next = here(t)[-1];
	}
	return true;
}

static bool gtp(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 8) || (p[0] & 0xf0) != 0x30 || p[1] != GTP_G_PDU) /* version 1, not GTP' */
		return false;
	t->kind = MT_TUNNEL_GTP;
	t->id = get32(p + 4);
	if (p[0] & 7 && (!skip(t, 4) || !skip_gtp_extensions(t, p[0] & 4 ? p[11] : 0)))
		return true;
	carries_ip(t);
	return true;
}

/* 3GPP TS 09.60: 20 bytes, with a flow label; the tunnel is the last 8 of them, of which the lower half is
 * kept. */
static bool gtp_v0(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 20) || (p[0] & 0xf0) != 0x10 || p[1] != GTP_G_PDU)
		return false;
	t->kind = MT_TUNNEL_GTP;
	t->id = get32(p + 16);
	carries_ip(t);
	return true;
}

/* RFC 2661, data messages */
static bool l2tp(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 6) || (get16(p) & 0xb4ff) != 2) /* no control message, reserved bits, version */
		return false;
	if (p[0] & 0x40 && !skip(t, 2)) /* length */
		return false;
	t->kind = MT_TUNNEL_L2TP;
	t->id = get32(here(t) - 4); /* tunnel and session */
	if (p[0] & 0x08 && !skip(t, 4))
		return true;
	if (p[0] & 0x02 && (!skip(t, 2) || !skip(t, get16(here(t) - 2))))
		return true;
	t->payload = MT_PAYLOAD_PPP;
	return true;
}

/* RFC 4380, 5.1.1: authentication, origin, then IPv6; its length must fit into the UDP datagram. */
static bool teredo(struct mt_tunnel_header *t)
{
	uint32_t udp_end = t->at + get16(here(t) - 4) - 8u;

	if (left(t) >= 4 && get16(here(t)) == 1 && !skip(t, 13u + here(t)[2] + here(t)[3]))
		return false;
	if (left(t) >= 2 && get16(here(t)) == 0 && !skip(t, 8))
		return false;
	if (nibble(t) != 6 || left(t) < 40 || t->at + 40 + get16(here(t) + 4) > udp_end)
		return false;
	t->kind = MT_TUNNEL_TEREDO;
	t->payload = MT_PAYLOAD_IP;
	return true;
}

/* RFC 9300, 5.1 */
static bool lisp(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 8) || (nibble(t) != 4 && nibble(t) != 6))
		return false;
	t->kind = MT_TUNNEL_LISP;
	t->id = p[0] & 0x08 ? get32(p + 4) >> 8 : 0; /* the instance */
	t->payload = MT_PAYLOAD_IP;
	return true;
}

/* RFC 7510, and RFC 4023 with an IP protocol of its own */
static bool mpls(struct mt_tunnel_header *t)
{
	if (left(t) < 4)
		return false;
	t->kind = MT_TUNNEL_MPLS;
	t->id = get32(here(t)) >> 12;
	carries_type(t, MT_TYPE_MPLS);
	return true;
}

static bool udp_to(struct mt_tunnel_header *t, uint16_t port)
{
	switch (port) {
	case PORT_VXLAN:
	case PORT_VXLAN_LINUX:
		return vxlan(t);
	case PORT_VXLAN_GPE:
		return vxlan_gpe(t);
	case PORT_GENEVE:
		return geneve(t);
	case PORT_LISP:
		return lisp(t);
	case PORT_MPLS:
		return mpls(t);
	case PORT_GTP:
		return gtp(t);
	case PORT_GTP_V0:
		return gtp_v0(t);
	case PORT_L2TP:
		return l2tp(t);
	case PORT_TEREDO:
		return teredo(t);
	default:
		return false;
	}
}

/* Answers come from the port of some tunnels; but the source port of most tells flows apart, and may be any.
 * So what is inside must look right. */
static bool udp_from(struct mt_tunnel_header *t, uint16_t port)
{
	return udp_to(t, port) && t->payload != MT_PAYLOAD_UNKNOWN &&
	       (t->payload != MT_PAYLOAD_ETHERNET || looks_like_ethernet(t, 0));
}

/* --- in IP, MPLS and Ethernet --------------------------------------------------------------- */

static bool ip_in_ip(struct mt_tunnel_header *t, unsigned version)
{
	if (nibble(t) != version)
		return false;
	t->kind = MT_TUNNEL_IPIP;
	t->payload = MT_PAYLOAD_IP;
	return true;
}

/* RFC 3378: 4 bits of version, 12 of zero */
static bool etherip(struct mt_tunnel_header *t)
{
	if (!skip(t, 2) || get16(here(t) - 2) != 0x3000)
		return false;
	t->kind = MT_TUNNEL_ETHERIP;
	t->payload = MT_PAYLOAD_ETHERNET;
	return true;
}

/* An authentication header in IPv4 (in IPv6 it is an extension header) that protects a whole packet. */
static bool authenticated(struct mt_tunnel_header *t)
{
	const uint8_t *p = here(t);

	if (left(t) < 2 || !skip(t, 8 + p[1] * 4u))
		return false;
	return p[0] == PROTO_IPV4 ? ip_in_ip(t, 4) : p[0] == PROTO_IPV6 && ip_in_ip(t, 6);
}

static bool udp(struct mt_tunnel_header *t, const struct mt_decoded *d)
{
	struct mt_tunnel_header start = *t;

	if (udp_to(t, d->dport))
		return true;
	*t = start;
	return udp_from(t, d->sport);
}

static bool in_ip(struct mt_tunnel_header *t, const struct mt_decoded *d)
{
	switch (d->proto) {
	case MT_PROTO_UDP:
		return d->bits & MT_HAS_PORTS && udp(t, d);
	case PROTO_IPV4:
		return ip_in_ip(t, 4);
	case PROTO_IPV6:
		return ip_in_ip(t, 6);
	case PROTO_GRE:
		return gre(t);
	case MT_PROTO_AH:
		return authenticated(t);
	case PROTO_ETHERIP:
		return etherip(t);
	case PROTO_ETHERNET:
		t->kind = MT_TUNNEL_ETHERIP;
		t->payload = MT_PAYLOAD_ETHERNET;
		return true;
	case PROTO_MPLS:
		return mpls(t);
	default:
		return false;
	}
}

/* RFC 4448: Ethernet behind the last label, with a control word of 4 bytes or without. */
static bool pseudowire(struct mt_tunnel_header *t)
{
	uint32_t label = get32(here(t));

	for (unsigned i = 1; !(label & 0x100); i++) {
		if (i == MT_MAX_LABELS || !skip(t, 4) || left(t) < 4)
			return false;
		label = get32(here(t));
	}
	skip(t, 4);
	uint32_t control = nibble(t) == 0 && looks_like_ethernet(t, 4) ? 4 : 0;
	if (!control && !looks_like_ethernet(t, 0))
		return false;
	skip(t, control);
	t->kind = MT_TUNNEL_PSEUDOWIRE;
	t->id = label >> 12;
	t->payload = MT_PAYLOAD_ETHERNET;
	return true;
}

/* IEEE 802.1ah: the rest of a 6-byte tag, whose last 3 bytes are the service, then the customer's frame. */
static bool pbb(struct mt_tunnel_header *t)
{
	if (!skip(t, 4))
		return false;
	t->kind = MT_TUNNEL_PBB;
	t->id = get32(here(t) - 4) & 0xffffff;
	t->payload = MT_PAYLOAD_ETHERNET;
	return true;
}

/* Below any IP header. */
static bool in_link(struct mt_tunnel_header *t, const struct mt_decoded *d)
{
	switch (d->ethertype) {
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
		return left(t) >= 4 && pseudowire(t);
	case TYPE_PBB:
		return pbb(t);
	case TYPE_NSH:
		return nsh(t);
	default:
		return false;
	}
}

bool mt_tunnel_find(const struct mt_packet *packet, uint32_t limit, const struct mt_decoded *d,
                    struct mt_tunnel_header *t)
{
	*t = (struct mt_tunnel_header){.data = packet->data, .end = limit};
	if (!d->ip_version) {
		t->at = d->l3_offset;
		return d->l3_offset != MT_NO_OFFSET && d->l3_offset < limit && in_link(t, d);
	}
	if (d->l4_offset == MT_NO_OFFSET || d->payload_offset == MT_NO_OFFSET)
		return false;
	t->at = d->payload_offset;
	t->end = d->payload_offset + d->payload_len;
	return in_ip(t, d);
}
