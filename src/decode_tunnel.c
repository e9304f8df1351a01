/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_tunnel.c - the packet inside of a packet: GRE, VXLAN, Geneve, GTP and their like.
 *
 * Only when a script asks (p:inner(), p.tunnel), then for the whole batch: a call from the hook for each packet
 * would keep LuaJIT from leaving the packet's handle out of memory.  Each step takes the description of a
 * packet, finds the header of a tunnel in it, and describes what that carries with the functions that describe
 * an outer packet, limited to the bytes of the outer payload.  UDP tunnels are known by their ports; whatever
 * else a header says that can be checked is checked, since those ports are used by others too.
 */
#include "decode.h"

enum { MAX_TUNNELS = 32 /* around each other */ };

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

/* What a tunnel carries, apart from Ethernet types. */
enum payload { PAYLOAD_UNKNOWN, PAYLOAD_ETHERNET, PAYLOAD_IP, PAYLOAD_PPP, PAYLOAD_TYPE };

/* A tunnel header on its way from `at` to its payload. */
struct tunnel {
	const uint8_t *data; /* of the packet */
	uint32_t at, end;    /* what is left of the outer payload */
	uint32_t id;
	enum mt_tunnel kind;
	enum payload payload;
	uint16_t type; /* PAYLOAD_TYPE: an Ethernet type */
};

static uint32_t left(const struct tunnel *t)
{
	return t->end - t->at;
}

static const uint8_t *here(const struct tunnel *t)
{
	return t->data + t->at;
}

/* Go on behind n bytes.  False: they were not captured. */
static bool skip(struct tunnel *t, uint32_t n)
{
	if (left(t) < n)
		return false;
	t->at += n;
	return true;
}

static unsigned nibble(const struct tunnel *t)
{
	return left(t) ? here(t)[0] >> 4 : 0;
}

/* The payload is an IP packet, if its first byte says so too. */
static void carries_ip(struct tunnel *t)
{
	if (nibble(t) == 4 || nibble(t) == 6)
		t->payload = PAYLOAD_IP;
}

/* Only types that mt_decode_type understands: what else there is can not be shown. */
static void carries_type(struct tunnel *t, uint16_t type)
{
	t->type = type;
	switch (type) {
	case GRE_ETHERNET:
		t->payload = PAYLOAD_ETHERNET;
		break;
	case GRE_PPP:
		t->payload = PAYLOAD_PPP;
		break;
	case MT_TYPE_IPV4:
		t->payload = nibble(t) == 4 ? PAYLOAD_TYPE : PAYLOAD_UNKNOWN;
		break;
	case MT_TYPE_IPV6:
		t->payload = nibble(t) == 6 ? PAYLOAD_TYPE : PAYLOAD_UNKNOWN;
		break;
	case MT_TYPE_ARP:
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
	case MT_TYPE_PPPOE_SESSION:
		t->payload = left(t) >= 4 ? PAYLOAD_TYPE : PAYLOAD_UNKNOWN;
		break;
	default:
		t->payload = mt_is_vlan(type) && left(t) >= 2 ? PAYLOAD_TYPE : PAYLOAD_UNKNOWN;
		break;
	}
}

/* Could this be an Ethernet header?  A known type, and an IP version that agrees: for where nothing else
 * says so. */
static bool looks_like_ethernet(const struct tunnel *t, uint32_t offset)
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
static void erspan(struct tunnel *t, bool sequenced)
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
	t->payload = PAYLOAD_ETHERNET;
}

/* The source routes of RFC 1701: address family, offset, length, and as much data. */
static bool skip_routes(struct tunnel *t)
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
static void pptp(struct tunnel *t, uint16_t flags)
{
	const uint8_t *p = here(t);

	t->kind = MT_TUNNEL_PPTP;
	if (!skip(t, flags & 0x0080 ? 12 : 8) || !(flags & 0x1000) || t->type != GRE_PPP)
		return;
	t->id = get16(p + 2);
	if (get16(p) < left(t))
		t->end = t->at + get16(p);
	t->payload = PAYLOAD_PPP;
}

/* RFC 2784 and 2890; the routing bit is of RFC 1701. */
static bool gre(struct tunnel *t)
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
static void carries_next(struct tunnel *t, uint8_t next)
{
	switch (next) {
	case 1:
		carries_type(t, MT_TYPE_IPV4);
		break;
	case 2:
		carries_type(t, MT_TYPE_IPV6);
		break;
	case 3:
		t->payload = PAYLOAD_ETHERNET;
		break;
	case 5:
		carries_type(t, MT_TYPE_MPLS);
		break;
	default:
		break;
	}
}

/* RFC 8300: the length is in words of 4 bytes. */
static bool nsh(struct tunnel *t)
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
static bool vxlan(struct tunnel *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 8) || !(p[0] & 0x08))
		return false;
	t->kind = MT_TUNNEL_VXLAN;
	t->id = get32(p + 4) >> 8;
	t->payload = PAYLOAD_ETHERNET;
	return true;
}

/* draft-ietf-nvo3-vxlan-gpe: there is a next protocol, with the P bit; some forget to set that. */
static bool vxlan_gpe(struct tunnel *t)
{
	const uint8_t *p = here(t);

	if (!vxlan(t))
		return false;
	if (p[0] & 0x04 || p[3]) {
		t->payload = PAYLOAD_UNKNOWN;
		if (p[3] == 4)
			nsh(t);
		else
			carries_next(t, p[3]);
	}
	return true;
}

/* RFC 8926 */
static bool geneve(struct tunnel *t)
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
static bool skip_gtp_extensions(struct tunnel *t, uint8_t next)
{
	while (next) {
		uint32_t size = left(t) ? here(t)[0] * 4u : 0;
		if (!size || !skip(t, size))
			return false;
		next = here(t)[-1];
	}
	return true;
}

static bool gtp(struct tunnel *t)
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
static bool gtp_v0(struct tunnel *t)
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
static bool l2tp(struct tunnel *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 6) || p[0] & 0x80 || (p[1] & 15) != 2)
		return false;
	if (p[0] & 0x40 && !skip(t, 2)) /* length */
		return false;
	t->kind = MT_TUNNEL_L2TP;
	t->id = get32(here(t) - 4); /* tunnel and session */
	if (p[0] & 0x08 && !skip(t, 4))
		return true;
	if (p[0] & 0x02 && (!skip(t, 2) || !skip(t, get16(here(t) - 2))))
		return true;
	t->payload = PAYLOAD_PPP;
	return true;
}

/* RFC 4380, 5.1.1: authentication, origin, then IPv6; its length must fit into the UDP datagram. */
static bool teredo(struct tunnel *t)
{
	uint32_t udp_end = t->at + get16(here(t) - 4) - 8u;

	if (left(t) >= 4 && get16(here(t)) == 1 && !skip(t, 13u + here(t)[2] + here(t)[3]))
		return false;
	if (left(t) >= 2 && get16(here(t)) == 0 && !skip(t, 8))
		return false;
	if (nibble(t) != 6 || left(t) < 40 || t->at + 40 + get16(here(t) + 4) > udp_end)
		return false;
	t->kind = MT_TUNNEL_TEREDO;
	t->payload = PAYLOAD_IP;
	return true;
}

/* RFC 9300, 5.1 */
static bool lisp(struct tunnel *t)
{
	const uint8_t *p = here(t);

	if (!skip(t, 8) || (nibble(t) != 4 && nibble(t) != 6))
		return false;
	t->kind = MT_TUNNEL_LISP;
	t->id = p[0] & 0x08 ? get32(p + 4) >> 8 : 0; /* the instance */
	t->payload = PAYLOAD_IP;
	return true;
}

/* RFC 7510, and RFC 4023 with an IP protocol of its own */
static bool mpls(struct tunnel *t)
{
	if (left(t) < 4)
		return false;
	t->kind = MT_TUNNEL_MPLS;
	t->id = get32(here(t)) >> 12;
	carries_type(t, MT_TYPE_MPLS);
	return true;
}

static bool udp_to(struct tunnel *t, uint16_t port)
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
static bool udp_from(struct tunnel *t, uint16_t port)
{
	return udp_to(t, port) && t->payload != PAYLOAD_UNKNOWN &&
	       (t->payload != PAYLOAD_ETHERNET || looks_like_ethernet(t, 0));
}

/* --- in IP, MPLS and Ethernet --------------------------------------------------------------- */

static bool ip_in_ip(struct tunnel *t, unsigned version)
{
	if (nibble(t) != version)
		return false;
	t->kind = MT_TUNNEL_IPIP;
	t->payload = PAYLOAD_IP;
	return true;
}

/* RFC 3378: 4 bits of version, 12 of zero */
static bool etherip(struct tunnel *t)
{
	if (!skip(t, 2) || get16(here(t) - 2) != 0x3000)
		return false;
	t->kind = MT_TUNNEL_ETHERIP;
	t->payload = PAYLOAD_ETHERNET;
	return true;
}

/* An authentication header in IPv4 (in IPv6 it is an extension header) that protects a whole packet. */
static bool authenticated(struct tunnel *t)
{
	const uint8_t *p = here(t);

	if (left(t) < 2 || !skip(t, 8 + p[1] * 4u))
		return false;
	return p[0] == PROTO_IPV4 ? ip_in_ip(t, 4) : p[0] == PROTO_IPV6 && ip_in_ip(t, 6);
}

static bool udp(struct tunnel *t, const struct mt_decoded *d)
{
	struct tunnel start = *t;

	if (udp_to(t, d->dport))
		return true;
	*t = start;
	return udp_from(t, d->sport);
}

static bool in_ip(struct tunnel *t, const struct mt_decoded *d)
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
		t->payload = PAYLOAD_ETHERNET;
		return true;
	case PROTO_MPLS:
		return mpls(t);
	default:
		return false;
	}
}

/* RFC 4448: Ethernet behind the last label, with a control word of 4 bytes or without. */
static bool pseudowire(struct tunnel *t)
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
	t->payload = PAYLOAD_ETHERNET;
	return true;
}

/* IEEE 802.1ah: the rest of a 6-byte tag, whose last 3 bytes are the service, then the customer's frame. */
static bool pbb(struct tunnel *t)
{
	if (!skip(t, 4))
		return false;
	t->kind = MT_TUNNEL_PBB;
	t->id = get32(here(t) - 4) & 0xffffff;
	t->payload = PAYLOAD_ETHERNET;
	return true;
}

/* Below any IP header. */
static bool in_link(struct tunnel *t, const struct mt_decoded *d)
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

/* The header of a tunnel in the packet that d describes.  limit: where its frame ends. */
static bool find_tunnel(const struct mt_packet *packet, uint32_t limit, const struct mt_decoded *d,
                        struct tunnel *t)
{
	*t = (struct tunnel){.data = packet->data, .end = limit};
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

/* Describe what the tunnel carries.  False: no header of it is known. */
static bool decode_payload(const struct tunnel *t, struct mt_decoded *d)
{
	struct mt_frame f = {t->data, t->end, d};
	uint32_t at = t->at;

	*d = mt_nothing_decoded;
	d->inner = MT_INNER_THIS;
	switch (t->payload) {
	case PAYLOAD_ETHERNET:
		if (has(&f, at, MT_ETHERNET_HEADER))
			mt_decode_ethernet(&f, at);
		break;
	case PAYLOAD_IP:
		mt_decode_ip(&f, at);
		break;
	case PAYLOAD_PPP:
		if (has(&f, at, 2) && f.data[at] == 0xff && f.data[at + 1] == 3)
			at += 2;
		mt_decode_ppp_protocol(&f, at);
		break;
	case PAYLOAD_TYPE:
		mt_decode_type(&f, at, t->type);
		break;
	default:
		break;
	}
	return d->l2_offset != MT_NO_OFFSET || d->l3_offset != MT_NO_OFFSET || d->bits & MT_HAS_VLAN;
}

/* Go through all tunnels of outer.  id: where the number of the outermost goes.  True: inner is set. */
static bool descend(const struct mt_packet *packet, struct mt_decoded *outer, struct mt_decoded *inner,
                    uint32_t *id)
{
	struct mt_decoded *at = outer;
	struct mt_decoded next;
	struct tunnel t;
	uint32_t limit = packet->caplen;

	*id = 0;
	for (unsigned i = 0; i < MAX_TUNNELS && find_tunnel(packet, limit, at, &t); i++) {
		at->tunnel = (uint8_t)t.kind;
		if (at == outer)
			*id = t.id;
		if (!decode_payload(&t, &next))
			break;
		*inner = next;
		at = inner;
		limit = t.end;
	}
	if (outer->inner != MT_INNER_THIS)
		outer->inner = at == inner ? MT_INNER_FOUND : MT_INNER_NONE;
	return at == inner;
}

int mt_decode_inner(const struct mt_packet *packet, struct mt_decoded *outer, struct mt_decoded *inner)
{
	uint32_t id;

	return descend(packet, outer, inner, &id);
}

uint32_t mt_tunnel_id(const struct mt_packet *packet, const struct mt_decoded *decoded)
{
	struct tunnel t;

	return find_tunnel(packet, packet->caplen, decoded, &t) ? t.id : 0;
}

/* --- in a batch ------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct mt_batch, inner) ==
                       offsetof(struct mt_batch, decode) + sizeof((struct mt_batch *)0)->decode,
               "inner[] follows decode[]");

/* Which packet of the batch this describes, in decode[] or in inner[]; MT_BATCH_PACKETS: none. */
static size_t place_in(const struct mt_batch *batch, const struct mt_decoded *d)
{
	uintptr_t at = (uintptr_t)d, from = (uintptr_t)batch->decode, to = (uintptr_t)batch->tunnel_id;

	return at < from || at >= to ? MT_BATCH_PACKETS : (at - from) / sizeof *d % MT_BATCH_PACKETS;
}

/* A packet that carries none is its own inner one. */
static void find_in(const struct mt_packet *packet, struct mt_decoded *outer, struct mt_decoded *inner,
                    uint32_t *id)
{
	if (outer->bits & (MT_IS_TCP | MT_IS_ICMP)) { /* most packets there are */
		outer->inner = MT_INNER_NONE;
		*id = 0;
	}
	if (outer->inner == MT_INNER_NONE || !descend(packet, outer, inner, id)) {
		*inner = *outer;
		inner->inner = MT_INNER_THIS;
	}
}

void mt_find_inner(struct mt_batch *batch, const struct mt_packet *packet, struct mt_decoded *decoded)
{
	struct mt_decoded inner;
	uint32_t id;

	if (place_in(batch, decoded) == MT_BATCH_PACKETS) {
		find_in(packet, decoded, &inner, &id);
		return;
	}
	if (!batch->decoded)
		mt_batch_decode(batch);
	for (uint32_t i = 0; i < batch->n; i++)
		find_in(&batch->packets[i], &batch->decode[i], &batch->inner[i], &batch->tunnel_id[i]);
}

void mt_decode_again(struct mt_batch *batch, const struct mt_packet *packet, struct mt_decoded *decoded)
{
	size_t place = place_in(batch, decoded);
	struct mt_decoded outer;
	uint32_t id;

	if (place < MT_BATCH_PACKETS) {
		bool known = batch->decode[place].inner != MT_INNER_UNKNOWN;
		mt_decode(packet, &batch->decode[place]);
		if (known)
			find_in(packet, &batch->decode[place], &batch->inner[place], &batch->tunnel_id[place]);
	} else if (decoded->inner == MT_INNER_THIS) {
		mt_decode(packet, &outer);
		find_in(packet, &outer, decoded, &id);
	} else
		mt_decode(packet, decoded);
}

void mt_decode_copy(struct mt_batch *batch, const struct mt_packet *packet, const struct mt_decoded *decoded,
                    struct mt_decoded *copy)
{
	if (!batch->decoded && place_in(batch, decoded) < MT_BATCH_PACKETS)
		mt_decode(packet, copy);
	else
		*copy = *decoded;
	if (copy->inner != MT_INNER_THIS)
		copy->inner = MT_INNER_UNKNOWN;
}
