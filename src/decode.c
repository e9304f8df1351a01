/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode.c - where the headers of a packet are: link layer, IP, transport.
 *
 * Describes the outermost IP packet; tunnels are entered on demand, by decode_inner.c.  Called for a whole
 * batch at the first access to a decoded field, up to 30 million packets a second: TCP and UDP over IPv4
 * without options over plain Ethernet take a short path, everything else goes through the layers one by one.
 * Nothing is trusted: each read is checked against the captured length, and each chain of headers (tags,
 * labels, extension headers) has a limit.
 */
#include "decode.h"

enum {
	LINKTYPE_NULL = 0,
	LINKTYPE_ETHERNET = 1,
	LINKTYPE_PPP = 9,
	LINKTYPE_FDDI = 10,
	LINKTYPE_RAW_DLT = 12,
	LINKTYPE_PPP_HDLC = 50,
	LINKTYPE_PPPOE = 51,
	LINKTYPE_RAW = 101,
	LINKTYPE_C_HDLC = 104,
	LINKTYPE_IEEE802_11 = 105,
	LINKTYPE_LOOP = 108,
	LINKTYPE_LINUX_SLL = 113,
	LINKTYPE_RADIOTAP = 127,
	LINKTYPE_PPP_WITH_DIR = 204,
	LINKTYPE_IPV4 = 228,
	LINKTYPE_IPV6 = 229,
	LINKTYPE_NFLOG = 239,
	LINKTYPE_IPOIB = 242,
	LINKTYPE_LINUX_SLL2 = 276
};

enum {
	ARPHRD_NETLINK_TYPE = 824, /* cooked: the protocol field is a netlink family */
	MAX_TAGS = 32,             /* VLAN tags and LLC headers in a row */
	PREFETCH_AHEAD = 8         /* packets */
};

const struct mt_decoded mt_nothing_decoded = {.l3_offset = MT_NO_OFFSET,
                                              .l4_offset = MT_NO_OFFSET,
                                              .payload_offset = MT_NO_OFFSET,
                                              .src_offset = MT_NO_OFFSET,
                                              .l2_offset = MT_NO_OFFSET};

void mt_decode_mpls(struct mt_frame *f, uint32_t offset)
{
	if (!has(f, offset, 4))
		return;
	f->d->bits |= MT_HAS_MPLS;
	if (!f->d->tag_offset && offset < MT_NO_OFFSET)
		f->d->tag_offset = (uint16_t)offset;
	for (unsigned i = 0; i < MT_MAX_LABELS && has(f, offset, 4); i++, offset += 4) {
		if (f->data[offset + 2] & 1) { /* bottom of stack */
			mt_decode_ip(f, offset + 4);
			return;
		}
	}
}

void mt_decode_ppp_protocol(struct mt_frame *f, uint32_t offset)
{
	uint16_t protocol;

	if (!has(f, offset, 2))
		return;
	if (f->data[offset] & 1) /* compressed to one byte, RFC 1661 6.5 */
		protocol = f->data[offset++];
	else {
		protocol = get16(f->data + offset);
		offset += 2;
	}
	if (protocol == 0x0021 || protocol == 0x0057)
		mt_decode_ip(f, offset);
	else if (protocol == 0x0281 || protocol == 0x0283)
		mt_decode_mpls(f, offset);
}

static void decode_pppoe(struct mt_frame *f, uint32_t offset)
{
	if (has(f, offset, 6) && f->data[offset] == 0x11 && f->data[offset + 1] == 0)
		mt_decode_ppp_protocol(f, offset + 6);
}

/* LLC at *offset: true if an Ethernet type follows from it. */
static bool skip_llc(const struct mt_frame *f, uint32_t *offset, uint16_t *type)
{
	const uint8_t *p = f->data + *offset;

	if (has(f, *offset, 8) && p[0] == 0xaa && (p[1] & 0xfe) == 0xaa && p[2] == 3) {
		uint32_t oui = get32(p + 2) & 0xffffff;
		*type = get16(p + 6);
		*offset += 8;
		return (oui == 0 || oui == 0x0000f8) && *type >= MT_TYPE_MIN;
	}
	if (has(f, *offset, 3) && p[0] == 6 && (p[1] & 0xfe) == 6 && p[2] == 3) {
		*type = MT_TYPE_IPV4;
		*offset += 3;
		return true;
	}
	return false;
}

static bool skip_vlan(const struct mt_frame *f, uint32_t *offset, uint16_t *type)
{
	struct mt_decoded *d = f->d;

	if (!has(f, *offset, 2))
		return false;
	if (!(d->bits & MT_HAS_VLAN)) {
		d->bits |= MT_HAS_VLAN;
		d->vlan = get16(f->data + *offset) & 0xfff;
		d->tag_offset = *offset < MT_NO_OFFSET ? (uint16_t)*offset : 0;
	}
	if (!has(f, *offset, 4))
		return false;
	*type = get16(f->data + *offset + 2);
	*offset += 4;
	return true;
}

/* What an Ethernet type or length announces, at offset. */
void mt_decode_type(struct mt_frame *f, uint32_t offset, uint16_t type)
{
	for (unsigned i = 0; mt_is_vlan(type) || type < MT_TYPE_MIN; i++) {
		if (i == MAX_TAGS)
			return;
		if (mt_is_vlan(type) ? !skip_vlan(f, &offset, &type)
		                     : type > MT_TYPE_MAX_LENGTH || !skip_llc(f, &offset, &type))
			return;
	}
	f->d->ethertype = type;
	f->d->l3_offset = header_at(f, offset);
	switch (type) {
	case MT_TYPE_IPV4:
	case MT_TYPE_IPV6:
		mt_decode_ip(f, offset);
		break;
	case MT_TYPE_MPLS:
	case MT_TYPE_MPLS_MULTICAST:
		mt_decode_mpls(f, offset);
		break;
	case MT_TYPE_PPPOE_SESSION:
		decode_pppoe(f, offset);
		break;
	default:
		break;
	}
}

void mt_decode_ethernet(struct mt_frame *f, uint32_t offset)
{
	f->d->l2_offset = header_at(f, offset);
	if (has(f, offset, MT_ETHERNET_HEADER))
		mt_decode_type(f, offset + MT_ETHERNET_HEADER, get16(f->data + offset + 12));
}

/* PPP, with or without address and control bytes; Cisco HDLC comes under the same type. */
static void decode_ppp(struct mt_frame *f, uint32_t offset)
{
	if (!has(f, offset, 4))
		return;
	const uint8_t *p = f->data + offset;
	if (p[0] == 0x0f || p[0] == 0x8f)
		mt_decode_type(f, offset + 4, get16(p + 2));
	else
		mt_decode_ppp_protocol(f, p[0] == 0xff && p[1] == 3 ? offset + 2 : offset);
}

/* Linux cooked.  Below 1536 the type is a kernel constant, 4 means LLC. */
static void decode_cooked(struct mt_frame *f, uint32_t header, uint32_t type_at, uint32_t arphrd_at)
{
	if (!has(f, 0, header) || get16(f->data + arphrd_at) == ARPHRD_NETLINK_TYPE)
		return;
	uint16_t type = get16(f->data + type_at);
	if (type >= MT_TYPE_MIN || type == 4)
		mt_decode_type(f, header, type);
}

/* BSD loopback: an address family in the byte order of the machine that captured.  Some write an
 * Ethernet type where its lower half is in network order. */
static void decode_loopback(struct mt_frame *f)
{
	if (!has(f, 0, 5))
		return;
	if (get16(f->data + 2) >= MT_TYPE_MIN) {
		mt_decode_type(f, 4, get16(f->data + 2));
		return;
	}
	uint32_t family = get32(f->data);
	if (family > 0xffff)
		family = get32le(f->data);
	switch (family) {
	case 2: /* IPv4; IPv6 is 10 Linux, 23 Windows, 24 NetBSD and OpenBSD, 28 FreeBSD, 30 macOS */
	case 10:
	case 23:
	case 24:
	case 28:
	case 30:
		mt_decode_ip(f, 4);
		break;
	default:
		break;
	}
}

static void decode_llc(struct mt_frame *f, uint32_t offset)
{
	uint16_t type;

	if (skip_llc(f, &offset, &type))
		mt_decode_type(f, offset, type);
}

/* 802.11 at offset; padded: the header is padded to a multiple of 4 (radiotap says so). */
static void decode_80211(struct mt_frame *f, uint32_t offset, bool padded)
{
	uint32_t header = 24;

	if (!has(f, offset, 2))
		return;
	uint8_t kind = f->data[offset], flags = f->data[offset + 1];
	if ((kind & 0x0f) != 0x08 || (kind & 0x40) || (flags & 0x40)) /* not data, no data, encrypted */
		return;
	if ((flags & 3) == 3) /* between two access points: a fourth address */
		header += 6;
	bool aggregate = false;
	if (kind & 0x80) { /* quality of service */
		if (!has(f, offset, header + 2))
			return;
		aggregate = f->data[offset + header] & 0x80;
		header += flags & 0x80 ? 6 : 2;
	}
	if (padded)
		header = (header + 3) & ~3u;
	decode_llc(f, offset + header + (aggregate ? 14 : 0));
}

/* Is the "data pad" flag set in a radiotap header of `size` captured bytes? */
static bool radiotap_padded(const struct mt_frame *f, uint32_t size)
{
	uint32_t at = 8, present = get32le(f->data + 4), first = present;

	for (; present & 0x80000000 && at + 4 <= size; at += 4)
		present = get32le(f->data + at);
	if (!(first & 2))
		return false;
	if (first & 1) /* a time stamp stands before the flags */
		at = ((at + 7) & ~7u) + 8;
	return at < size && f->data[at] & 0x20;
}

static void decode_radiotap(struct mt_frame *f)
{
	if (!has(f, 0, 8))
		return;
	uint32_t size = f->data[2] | (uint32_t)f->data[3] << 8;
	if (size >= 8 && has(f, 0, size))
		decode_80211(f, size, radiotap_padded(f, size));
}

static uint32_t number16(const uint8_t *p, bool big_endian)
{
	return big_endian ? get16(p) : p[0] | (uint32_t)p[1] << 8;
}

/* Netfilter log: values with length and type in the byte order of the machine that captured; the
 * first one is short, which tells that order.  Type 9 is the packet. */
static void decode_nflog(struct mt_frame *f)
{
	uint32_t size;

	if (!has(f, 0, 8) || f->data[1] != 0)
		return;
	bool big_endian = f->data[4] < f->data[5];
	for (uint32_t at = 4; has(f, at, 4); at += (size + 3) & ~3u) {
		size = number16(f->data + at, big_endian);
		if (size < 4)
			return;
		if (number16(f->data + at + 2, big_endian) == 9) {
			if (has(f, at, size))
				f->len = at + size;
			mt_decode_ip(f, at + 4);
			return;
		}
	}
}

static void decode_layers(const struct mt_packet *packet, struct mt_decoded *d)
{
	struct mt_frame f = {packet->data, packet->caplen, d};

	*d = mt_nothing_decoded;
	switch (packet->linktype) {
	case LINKTYPE_ETHERNET:
		mt_decode_ethernet(&f, 0);
		break;
	case LINKTYPE_RAW:
	case LINKTYPE_RAW_DLT:
	case LINKTYPE_IPV4:
	case LINKTYPE_IPV6:
		mt_decode_ip(&f, 0);
		break;
	case LINKTYPE_LINUX_SLL:
		decode_cooked(&f, 16, 14, 2);
		break;
	case LINKTYPE_LINUX_SLL2:
		decode_cooked(&f, 20, 0, 8);
		break;
	case LINKTYPE_NULL:
	case LINKTYPE_LOOP:
		decode_loopback(&f);
		break;
	case LINKTYPE_PPP:
	case LINKTYPE_PPP_HDLC:
		decode_ppp(&f, 0);
		break;
	case LINKTYPE_PPP_WITH_DIR:
		decode_ppp(&f, 1);
		break;
	case LINKTYPE_PPPOE:
		decode_pppoe(&f, 0);
		break;
	case LINKTYPE_C_HDLC:
		if (has(&f, 0, 4))
			mt_decode_type(&f, 4, get16(f.data + 2));
		break;
	case LINKTYPE_IEEE802_11:
		decode_80211(&f, 0, false);
		break;
	case LINKTYPE_RADIOTAP:
		decode_radiotap(&f);
		break;
	case LINKTYPE_NFLOG:
		decode_nflog(&f);
		break;
	case LINKTYPE_IPOIB:
		if (has(&f, 0, 44))
			mt_decode_type(&f, 44, get16(f.data + 40));
		break;
	case LINKTYPE_FDDI: /* frame control, two addresses, LLC */
		decode_llc(&f, 13);
		break;
	default:
		break;
	}
}

/* The few bytes of a TCP header that end before its flags: ports without payload. */
static bool transport_cut(struct mt_decoded *d, const uint8_t *p, uint32_t l4, uint32_t len)
{
	bool tcp = d->proto == MT_PROTO_TCP;

	if (len < l4 + 4)
		return false;
	d->l4_offset = (uint16_t)l4;
	d->sport = get16(p + l4);
	d->dport = get16(p + l4 + 2);
	d->bits = MT_HAS_PORTS | (tcp ? MT_IS_TCP : MT_IS_UDP);
	if (!tcp && len >= l4 + 8) {
		d->payload_offset = (uint16_t)(l4 + 8);
		d->payload_len = len - l4 - 8;
	}
	return true;
}

/* Ethernet without tags, IPv4 without options or IPv6 without extension headers, no fragment, TCP or
 * UDP with its ports: most packets there are.  False: take the long way.  IPv4 and IPv6, TCP and UDP
 * mix at random in real traffic, so nothing here branches on which of them it is. */
static inline bool decode_fast(const struct mt_packet *packet, struct mt_decoded *d)
{
	enum { IP = 14, L4_IPV4 = IP + 20, L4_IPV6 = IP + 40, TCP_FLAGS_END = 14 };
	const uint8_t *p = packet->data;
	uint32_t len = packet->caplen;

	if (packet->linktype != LINKTYPE_ETHERNET || len < L4_IPV4 + 4)
		return false;
	uint16_t type = get16(p + 12);
	bool v4 = (type == MT_TYPE_IPV4) & (p[IP] == 0x45) & !(get16(p + IP + 6) & 0x3fff);
	bool v6 = (type == MT_TYPE_IPV6) & (p[IP] >> 4 == 6) & (len >= L4_IPV6 + 4);
	uint32_t ip_len = get16(p + (v6 ? IP + 4 : IP + 2)); /* IPv6: of what follows the header; 0: not said */
	if ((!v4 && !v6) || (v4 && ip_len < 20))
		return false; /* 0 in IPv4: segmentation offload; below 20 it lies */
	uint32_t l4 = v6 ? L4_IPV6 : L4_IPV4, end = ip_len + (v6 ? (uint32_t)L4_IPV6 : (uint32_t)IP);
	end = ip_len && end < len ? end : len;
	uint8_t proto = p[v6 ? IP + 6 : IP + 9];
	bool tcp = proto == MT_PROTO_TCP;
	if (!(tcp | (proto == MT_PROTO_UDP)))
		return false;
	*d = (struct mt_decoded){.l3_offset = IP,
	                         .payload_offset = MT_NO_OFFSET,
	                         .src_offset = v6 ? IP + 8 : IP + 12,
	                         .ethertype = type,
	                         .ip_version = v6 ? 6 : 4,
	                         .proto = proto,
	                         .ttl = p[v6 ? IP + 7 : IP + 8],
	                         .address_len = v6 ? 16 : 4};
	if (end < l4 + TCP_FLAGS_END)
		return transport_cut(d, p, l4, end);
	uint32_t header = tcp ? (p[l4 + 12] >> 4) * 4u : 8;
	bool payload = (header >= (tcp ? 20u : 8u)) & (l4 + header <= end);
	d->l4_offset = (uint16_t)l4;
	d->payload_offset = payload ? (uint16_t)(l4 + header) : MT_NO_OFFSET;
	d->payload_len = payload ? end - l4 - header : 0;
	d->sport = get16(p + l4);
	d->dport = get16(p + l4 + 2);
	d->tcp_flags = tcp ? p[l4 + 13] : 0;
	d->bits = MT_HAS_PORTS | (tcp ? MT_IS_TCP : MT_IS_UDP);
	return true;
}

void mt_decode(const struct mt_packet *packet, struct mt_decoded *decoded)
{
	if (!decode_fast(packet, decoded))
		decode_layers(packet, decoded);
}

void mt_batch_decode(struct mt_batch *batch)
{
	uint32_t n = batch->n;

	for (uint32_t i = 0; i < n; i++) {
		if (i + PREFETCH_AHEAD < n) {
			__builtin_prefetch(batch->packets[i + PREFETCH_AHEAD].data + 12);
			__builtin_prefetch(batch->packets[i + PREFETCH_AHEAD].data + 47);
		}
		if (batch->packets[i].verdict < MT_VERDICT_OUTSIDE) /* else nobody sees it */
			mt_decode(&batch->packets[i], &batch->decode[i]);
	}
	batch->decoded = 1;
}
