/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit_checksum.c - the checksums of an edited packet: IPv4, TCP, UDP, UDP-Lite, DCCP, ICMP, ICMPv6, IGMP,
 * SCTP.
 *
 * Where all that a checksum covers was captured, it is computed, so one that was wrong or left to the
 * network card becomes right.  Where only a part was captured (snap length, first fragment), what it
 * says of the unseen rest follows from the packet as it was read, and stays: the idea of RFC 1624, also
 * for packets that became longer or shorter.  Called once a packet.
 */
#include <isa-l/crc.h>
#include <string.h>

#include "decode.h"
#include "edit.h"
#include "internet_sum.h"

enum {
	PROTO_ICMP = 1,
	PROTO_IGMP = 2,
	PROTO_DCCP = 33,
	PROTO_ICMPV6 = 58,
	PROTO_SCTP = 132,
	PROTO_UDPLITE = 136,
	SCTP_CHECKSUM_AT = 8
};

/* A transport header and its payload, as far as its checksum is concerned. */
struct covered {
	const uint8_t *data; /* from the transport header on */
	uint32_t len;        /* bytes that the checksum covers */
	uint32_t captured;   /* of them */
	uint32_t at;         /* where the checksum is */
	uint32_t pseudo;     /* sum of the pseudo header */
	uint8_t proto;
	bool fragment;
};

/* --- ones' complement sums (RFC 1071) -------------------------------------------------------- */

static uint32_t minus(uint32_t v)
{
	return ~v & 0xffff;
}

static void put_checksum(uint8_t *p, uint32_t sum)
{
	mt_put16(p, ~sum & 0xffff);
}

/* --- what is covered --------------------------------------------------------------------------- */

static uint32_t pseudo_header(const struct mt_packet *p, const struct mt_decoded *d, uint32_t len)
{
	uint32_t address = d->address_len;
	uint32_t dst = d->ip_version == 6 ? mt_ipv6_chain(p, d).destination : d->src_offset + address;
	uint64_t sum =
	        (uint64_t)mt_sum_bytes(p->data + d->src_offset, address) + mt_sum_bytes(p->data + dst, address);
	return mt_sum_fold(sum + (len >> 16) + (len & 0xffff) + d->proto);
}

/* Partial coverage: the bytes that the header says, 0 meaning all (UDP-Lite, RFC 3828; DCCP, RFC 4340 9.2). */
static uint32_t coverage(const struct covered *c)
{
	if (c->proto == PROTO_UDPLITE)
		return get16(c->data + 4);
	uint32_t words = c->data[5] & 15;
	return words ? c->data[4] * 4u + (words - 1) * 4 : 0;
}

static uint32_t checksum_at(uint8_t proto)
{
	switch (proto) {
	case MT_PROTO_TCP:
		return 16;
	case MT_PROTO_UDP:
	case PROTO_UDPLITE:
	case PROTO_DCCP:
		return 6;
	case PROTO_SCTP:
		return SCTP_CHECKSUM_AT;
	default:
		return 2;
	}
}

static bool has_checksum(const struct mt_decoded *d)
{
	switch (d->proto) {
	case MT_PROTO_TCP:
	case MT_PROTO_UDP:
	case PROTO_UDPLITE:
	case PROTO_DCCP:
	case PROTO_SCTP:
		return true;
	case PROTO_ICMP:
	case PROTO_IGMP:
		return d->ip_version == 4;
	case PROTO_ICMPV6:
		return d->ip_version == 6;
	default:
		return false;
	}
}

/* MT_EDIT_ABSENT: this packet has no transport checksum. */
static enum mt_edit_result find_covered(const struct mt_packet *p, const struct mt_decoded *d,
                                        struct covered *c)
{
	if (!has_checksum(d))
		return MT_EDIT_ABSENT;
	if (d->l4_offset == MT_NO_OFFSET) /* a later fragment has none */
		return d->bits & MT_IS_FRAGMENT ? MT_EDIT_ABSENT : MT_EDIT_CUT;
	uint32_t end = mt_ip_end(p, d), l4 = d->l4_offset;
	if (end < l4)
		return MT_EDIT_LIES;
	*c = (struct covered){.data = p->data + l4,
	                      .len = end - l4,
	                      .at = checksum_at(d->proto),
	                      .proto = d->proto,
	                      .fragment = d->bits & MT_IS_FRAGMENT};
	uint32_t captured = p->caplen - l4, header = c->at + (d->proto == PROTO_SCTP ? 4 : 2);
	if (captured < header)
		return MT_EDIT_CUT;
	if (c->len < header)
		return MT_EDIT_LIES;
	uint32_t said = d->proto == MT_PROTO_UDP ? get16(c->data + 4) : 0;
	if (said && (said < 8 || (said > c->len && !c->fragment)))
		return MT_EDIT_LIES;
	if (said)
		c->len = said;
	bool bare = d->proto == PROTO_ICMP || d->proto == PROTO_IGMP || d->proto == PROTO_SCTP;
	c->pseudo = bare ? 0 : pseudo_header(p, d, c->len);
	if (d->proto == PROTO_UDPLITE || d->proto == PROTO_DCCP) {
		uint32_t part = coverage(c);
		if (part && (part < 8 || part > c->len))
			return MT_EDIT_LIES;
		c->len = part ? part : c->len;
	}
	c->captured = captured < c->len ? captured : c->len;
	return MT_EDIT_DONE;
}

/* What the bytes that were not captured add to the sum, from the packet as it was read. */
static enum mt_edit_result unseen(const struct mt_edit *e, const struct mt_decoded *d,
                                  const struct covered *now, uint32_t *sum)
{
	const struct mt_packet *before = mt_edit_original(e);
	struct mt_decoded decoded;
	struct covered was;
	uint32_t rest = now->len - now->captured;
	mt_edit_decode_as(before, d, &decoded);
	if (find_covered(before, &decoded, &was) != MT_EDIT_DONE || was.proto != now->proto ||
	    was.fragment != now->fragment || rest > was.len)
		return MT_EDIT_UNSEEN;
	/* The rest is the same bytes, counted from the end; the packet may have been cut since. */
	uint32_t seen = was.len - rest;
	if (seen > was.captured || seen < was.at + 2)
		return MT_EDIT_UNSEEN;
	if (now->proto == MT_PROTO_UDP && !get16(was.data + was.at))
		return MT_EDIT_UNSEEN; /* it had no checksum that would tell */
	/* The checksum is the complement of the whole sum: take away what was seen, the checksum once more
	 * as it is among that. */
	uint32_t checksum = get16(was.data + was.at);
	uint32_t v = mt_sum_fold((uint64_t)minus(checksum) + minus(was.pseudo) +
	                         minus(mt_sum_bytes(was.data, seen)) + checksum);
	if (v == 0xffff)
		v = 0; /* nothing, and not bytes that come to nothing */
	/* At an odd place the bytes change sides in their words. */
	*sum = (seen ^ now->captured) & 1 ? (v >> 8 | v << 8) & 0xffff : v;
	return MT_EDIT_DONE;
}

/* --- repair -------------------------------------------------------------------------------------- */

static enum mt_edit_result fix_ipv4(struct mt_edit *e, const struct mt_decoded *d)
{
	uint8_t *ip = mt_edit_data(e) + d->l3_offset;
	uint32_t len = (ip[0] & 15) * 4u;
	if (d->l3_offset + len > e->packet->caplen)
		return MT_EDIT_CUT;
	ip[10] = ip[11] = 0;
	put_checksum(ip + 10, mt_sum_bytes(ip, len));
	return MT_EDIT_DONE;
}

/* CRC-32C over all of it (RFC 9260 appendix A), least significant byte first. */
static enum mt_edit_result fix_sctp(const struct mt_edit *e, const struct mt_decoded *d,
                                    const struct covered *c, uint8_t *header)
{
	if (c->fragment || c->captured < c->len) {
		/* It does not count addresses: right still, if nothing that it covers has changed. */
		const struct mt_packet *before = mt_edit_original(e);
		struct mt_decoded decoded;
		struct covered was;
		mt_edit_decode_as(before, d, &decoded);
		bool same = find_covered(before, &decoded, &was) == MT_EDIT_DONE && was.proto == c->proto &&
		            was.len == c->len && was.captured >= c->captured &&
		            !memcmp(was.data, c->data, c->captured);
		return same ? MT_EDIT_DONE : MT_EDIT_UNSEEN;
	}
	memset(header + c->at, 0, 4);
	uint32_t crc = ~crc32_iscsi(header, (int)c->len, UINT32_MAX);
	for (unsigned i = 0; i < 4; i++)
		header[c->at + i] = (uint8_t)(crc >> 8 * i);
	return MT_EDIT_DONE;
}

static enum mt_edit_result fix_transport(struct mt_edit *e, const struct mt_decoded *d)
{
	struct covered c;
	uint32_t rest = 0;
	enum mt_edit_result r = find_covered(e->packet, d, &c);
	if (r != MT_EDIT_DONE)
		return r == MT_EDIT_ABSENT ? MT_EDIT_DONE : r;
	uint8_t *header = mt_edit_data(e) + d->l4_offset;
	if (c.proto == PROTO_SCTP)
		return fix_sctp(e, d, &c, header);
	if (c.proto == MT_PROTO_UDP && d->ip_version == 4 && !get16(header + c.at))
		return MT_EDIT_DONE; /* sent without one, RFC 768 */
	if (c.fragment || c.captured < c.len)
		r = unseen(e, d, &c, &rest);
	if (r != MT_EDIT_DONE)
		return r;
	header[c.at] = header[c.at + 1] = 0;
	put_checksum(header + c.at, mt_sum_fold((uint64_t)c.pseudo + mt_sum_bytes(c.data, c.captured) + rest));
	if ((c.proto == MT_PROTO_UDP || c.proto == PROTO_UDPLITE) && !get16(header + c.at))
		header[c.at] = header[c.at + 1] = 0xff; /* 0 would say that there is none */
	return MT_EDIT_DONE;
}

static enum mt_edit_result fix_packet(struct mt_edit *e, const struct mt_decoded *d)
{
	if (!d->ip_version)
		return MT_EDIT_DONE;
	if (d->src_offset == MT_NO_OFFSET)
		return MT_EDIT_CUT;
	enum mt_edit_result ip = d->ip_version == 4 ? fix_ipv4(e, d) : MT_EDIT_DONE;
	enum mt_edit_result transport = fix_transport(e, d);
	return ip != MT_EDIT_DONE ? ip : transport;
}

int32_t mt_edit_fix_checksums(struct mt_edit *e, const struct mt_decoded *decoded)
{
	struct mt_decoded outer;
	enum mt_edit_result r = fix_packet(e, decoded);
	if (!mt_edit_in_tunnel(e, decoded))
		return r;
	mt_decode(e->packet, &outer);
	enum mt_edit_result around = fix_packet(e, &outer);
	return r != MT_EDIT_DONE ? r : around;
}
