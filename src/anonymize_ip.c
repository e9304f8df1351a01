/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_ip.c - IPv4, IPv6 with extension headers, TCP, UDP and SCTP of a packet that becomes anonymous.
 *
 * Addresses are replaced.  IPv4 options become no-operation, options of IPv6 become padding, routing headers
 * lose their addresses and count as arrived.  Checksums become those of the packet as it is now, with zeros for
 * all that was cut: right if nothing was, and saying nothing of what was.
 */
#include <endian.h>
#include <isa-l/crc.h>
#include <string.h>

#include "anonymize.h"
#include "edit.h"
#include "internet_sum.h"

enum {
	PROTO_HOP_BY_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_IGMP = 2,
	PROTO_ROUTING = 43,
	PROTO_ESP = 50,
	PROTO_ICMPV6 = 58,
	PROTO_NONE = 59,
	PROTO_DESTINATION = 60,
	PROTO_SCTP = 132,
	PROTO_UDPLITE = 136
};
enum {
	MAX_DEPTH = 32,
	MAX_EXTENSIONS = 32,
	IPV4_HEADER = 20,
	IPV6_HEADER = 40,
	TCP_HEADER = 20,
	UDP_HEADER = 8
};

/* --- checksums ------------------------------------------------------------------------------------ */

void mt_anonymize_checksum(struct mt_walk *w, const struct mt_ip_place *ip, struct mt_span s, uint32_t field,
                           uint32_t kept, bool pseudo)
{
	uint8_t *p = w->out + s.at;
	uint32_t len = s.wire - s.at, there = (kept < s.wire ? kept : s.wire) - s.at;
	uint64_t sum = 0;
	mt_count_change(w, MT_CHANGE_CHECKSUM);
	if (ip->fragment) { /* it covers other fragments */
		mt_put16(p + field, 0);
		return;
	}
	if (pseudo)
		sum = mt_sum_add(0, w->out + ip->addresses, 2u * ip->address_len) +
		      htobe16((uint16_t)(len >> 16)) + htobe16((uint16_t)len) + htobe16(ip->proto);
	/* Not over the field: words of which a part was just written take ten times as long to read. */
	sum = mt_sum_add(sum, p, field);
	sum = mt_sum_add(sum, p + field + 2, there - field - 2);
	mt_put16(p + field, ~mt_sum_end(sum) & 0xffff);
}

/* --- transport ------------------------------------------------------------------------------------ */

static uint32_t payload(struct mt_walk *w, struct mt_span s)
{
	w->payload_at = s.at;
	if (s.at == s.end)
		return mt_stop(w, s.at, MT_CUT_NOTHING);
	if (w->a->policy.payload == MT_REST_KEEP)
		return mt_stop(w, s.end, MT_CUT_NOTHING);
	return mt_stop(w, s.at, MT_CUT_PAYLOAD);
}

/* Options whose values tell little: segment size, window scale, selective acknowledgement; timestamps if they
 * may. */
static bool keep_option(const struct mt_walk *w, uint8_t kind, uint8_t len)
{
	switch (kind) {
	case 2:
		return len == 4;
	case 3:
		return len == 3;
	case 4:
		return len == 2;
	case 5:
		return len >= 10 && len <= 34 && len % 8 == 2;
	case 8:
		return len == 10 && w->a->policy.tcp_times;
	default:
		return false;
	}
}

/* Others become no-operation, those that lie as well. */
static void tcp_options(struct mt_walk *w, uint32_t at, uint32_t end)
{
	bool changed = false;
	while (at < end) {
		uint8_t kind = w->in[at], len = kind > 1 && end - at >= 2 ? w->in[at + 1] : 1;
		bool whole = kind <= 1 || (len >= 2 && len <= end - at);
		if (kind == 0 || !whole) { /* the end of the list: zeros */
			changed = changed || !whole;
			memset(w->out + at, 0, end - at);
			break;
		}
		if (kind > 1 && !keep_option(w, kind, len)) {
			memset(w->out + at, 1, len);
			changed = true;
		}
		at += len;
	}
	if (changed)
		mt_count_change(w, MT_CHANGE_TCP_OPTIONS);
}

/* The beginning of a header: ports and what stands in front of the checksum, in words of 4 bytes. */
static uint32_t cut_header(struct mt_walk *w, struct mt_span s, uint32_t before_checksum)
{
	uint32_t there = (s.end - s.at) & ~3u, n = there < before_checksum ? there : before_checksum;
	if (n >= 4)
		mt_anonymize_ports(w, s.at);
	return mt_stop(w, s.at + n, MT_CUT_SHORT);
}

static uint32_t anonymize_tcp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	if (!mt_captured(s, 0, TCP_HEADER))
		return cut_header(w, s, 16);
	uint32_t header = (w->in[s.at + 12] >> 4) * 4u, there = s.end - s.at < header ? s.end - s.at : header;
	mt_count_header(w, MT_HEADER_TCP);
	mt_anonymize_ports(w, s.at);
	if (w->in[s.at + 12] & 0x0e)
		w->out[s.at + 12] &= 0xf1; /* reserved bits */
	if (!(w->in[s.at + 13] & 0x20) && get16(w->in + s.at + 18))
		mt_put16(w->out + s.at + 18, 0); /* an urgent pointer that is none */
	uint32_t kept = s.at + TCP_HEADER;
	if (header < TCP_HEADER)
		mt_stop(w, kept, MT_CUT_MALFORMED);
	else if (there < header)
		mt_stop(w, kept, MT_CUT_SHORT); /* options of which a part is missing */
	else {
		tcp_options(w, kept, s.at + header);
		kept = payload(w, mt_behind(s, header));
	}
	mt_anonymize_checksum(w, ip, s, 16, kept, true);
	return kept;
}

/* What is known of the packet around a tunnel before its transport header. */
static struct mt_decoded describe(const struct mt_ip_place *ip)
{
	struct mt_decoded d = mt_nothing_decoded;
	d.ip_version = ip->address_len == 4 ? 4 : 6;
	d.proto = ip->proto;
	d.address_len = ip->address_len;
	return d;
}

/* UDP, or UDP-Lite, which has the coverage of the checksum in the place of its length. */
static uint32_t anonymize_udp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	if (!mt_captured(s, 0, UDP_HEADER))
		return cut_header(w, s, 4);
	uint32_t said = get16(w->in + s.at + 4), kept = s.at + UDP_HEADER;
	bool lite = ip->proto == PROTO_UDPLITE,
	     none = !lite && ip->address_len == 4 && !get16(w->in + s.at + 6);
	mt_count_header(w, MT_HEADER_UDP);
	mt_anonymize_ports(w, s.at);
	if (!lite && said >= UDP_HEADER && said < s.wire - s.at && !ip->fragment)
		s.wire = s.at + said; /* what is behind is no part of it */
	if (s.end > s.wire)
		s.end = s.wire;
	struct mt_span inside = mt_behind(s, UDP_HEADER);
	struct mt_decoded d = describe(ip);
	d.l4_offset = s.at < MT_NO_OFFSET ? (uint16_t)s.at : MT_NO_OFFSET;
	d.payload_offset = kept < MT_NO_OFFSET ? (uint16_t)kept : MT_NO_OFFSET;
	d.payload_len = s.end - kept;
	d.sport = get16(w->in + s.at);
	d.dport = get16(w->in + s.at + 2);
	d.bits = MT_IS_UDP | MT_HAS_PORTS;
	bool tunnel = !lite && !ip->quoted && mt_anonymize_tunnel(w, inside, &d, &kept);
	if (!tunnel)
		kept = payload(w, inside);
	if (none)
		return kept;
	mt_anonymize_checksum(w, ip, s, 6, kept, true);
	if (!ip->fragment && !get16(w->out + s.at + 6))
		mt_put16(w->out + s.at + 6, 0xffff); /* 0 would say that there is none, RFC 768 */
	if (lite)
		mt_put16(w->out + s.at + 4, 0); /* it covers everything, RFC 3828 */
	return kept;
}

/* The common header: ports, tag, CRC-32C as if zeros followed (RFC 9260, 3.1).  Chunks may hold addresses. */
static uint32_t anonymize_sctp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	static uint8_t zeros[1024];
	uint8_t *p = w->out + s.at;
	if (!mt_captured(s, 0, 12))
		return cut_header(w, s, 8);
	mt_count_header(w, MT_HEADER_SCTP);
	mt_anonymize_ports(w, s.at);
	memset(p + 8, 0, 4);
	mt_count_change(w, MT_CHANGE_CHECKSUM);
	if (!ip->fragment && s.wire - s.at <= UINT16_MAX) {
		uint32_t crc = crc32_iscsi(p, 12, UINT32_MAX);
		for (uint32_t left = s.wire - s.at - 12, n; left; left -= n) {
			n = left < sizeof zeros ? left : (uint32_t)sizeof zeros;
			crc = crc32_iscsi(zeros, (int)n, crc);
		}
		for (unsigned i = 0; i < 4; i++)
			p[8 + i] = (uint8_t)(~crc >> 8 * i);
	}
	return mt_stop(w, s.at + 12, s.end == s.at + 12 ? MT_CUT_NOTHING : MT_CUT_PAYLOAD);
}

/* Of a protocol without ports, perhaps a tunnel. */
static uint32_t anonymize_other(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	uint32_t kept;
	if (s.at == s.end)
		return mt_stop(w, s.at, MT_CUT_NOTHING);
	if (s.at < MT_NO_OFFSET && !ip->fragment && !ip->quoted) {
		struct mt_decoded d = describe(ip);
		d.l4_offset = d.payload_offset = (uint16_t)s.at;
		d.payload_len = s.end - s.at;
		if (mt_anonymize_tunnel(w, s, &d, &kept))
			return kept;
	}
	return mt_stop(w, s.at, MT_CUT_PROTOCOL);
}

/* What stands behind an IP header and its extensions. */
static uint32_t anonymize_transport(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	bool ipv4 = ip->address_len == 4;
	switch (ip->proto) {
	case MT_PROTO_TCP:
		return anonymize_tcp(w, s, ip);
	case MT_PROTO_UDP:
	case PROTO_UDPLITE:
		return anonymize_udp(w, s, ip);
	case PROTO_SCTP:
		return anonymize_sctp(w, s, ip);
	case PROTO_ICMP:
		return ipv4 ? mt_anonymize_icmp(w, s, ip) : mt_stop(w, s.at, MT_CUT_PROTOCOL);
	case PROTO_ICMPV6:
		return ipv4 ? mt_stop(w, s.at, MT_CUT_PROTOCOL) : mt_anonymize_icmpv6(w, s, ip);
	case PROTO_IGMP:
		return ipv4 ? mt_anonymize_igmp(w, s, ip) : mt_stop(w, s.at, MT_CUT_PROTOCOL);
	case PROTO_ESP: /* index and sequence number */
		mt_count_header(w, MT_HEADER_OTHER);
		return mt_captured(s, 0, 8) ? mt_stop(w, s.at + 8, MT_CUT_PAYLOAD)
		                            : mt_stop(w, s.at, MT_CUT_SHORT);
	case PROTO_NONE:
		return mt_stop(w, s.at, MT_CUT_PADDING);
	default:
		return anonymize_other(w, s, ip);
	}
}

/* --- IP ------------------------------------------------------------------------------------------- */

/* An authentication header: what it says of the packet goes.  Returns its size, 0: not captured. */
static uint32_t authentication(struct mt_walk *w, struct mt_span s)
{
	if (!mt_captured(s, 0, 12))
		return 0;
	uint32_t size = 8 + w->in[s.at + 1] * 4u;
	if (size < 12 || !mt_captured(s, 0, size))
		return 0;
	memset(w->out + s.at + 2, 0, 2);
	memset(w->out + s.at + 12, 0, size - 12);
	return size;
}

static uint32_t anonymize_ipv4(struct mt_walk *w, struct mt_span s, bool quoted)
{
	const uint8_t *in = w->in + s.at;
	uint8_t *out = w->out + s.at;
	if (!mt_captured(s, 0, IPV4_HEADER))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	uint32_t header = (in[0] & 15) * 4u, total = get16(in + 2), place = get16(in + 6);
	if (header < IPV4_HEADER)
		return mt_stop(w, s.at, MT_CUT_MALFORMED);
	mt_count_header(w, MT_HEADER_IPV4);
	mt_anonymize_address(w, s.at + 12, 4);
	mt_anonymize_address(w, s.at + 16, 4);
	uint32_t options = header - IPV4_HEADER, there = s.end - s.at - IPV4_HEADER;
	there = there < options ? there : options;
	if (there)
		memset(out + IPV4_HEADER, 1, there); /* no operation */
	if (options)
		mt_count_change(w, MT_CHANGE_IP_OPTIONS);
	uint64_t sum = mt_sum_add(mt_sum_add(0, in, 10), out + 12, 8) + options / 2 * 0x0101;
	mt_put16(out + 10, ~mt_sum_end(sum) & 0xffff);
	if (there < options)
		return mt_stop(w, s.at + IPV4_HEADER + there, MT_CUT_SHORT);
	struct mt_span inside = mt_behind(s, header);
	if (total && total < header)
		return mt_stop(w, inside.at, MT_CUT_MALFORMED);
	if (total && (quoted || s.at + total < inside.wire))
		inside.wire = s.at + total;
	if (inside.end > inside.wire)
		inside.end = inside.wire;
	struct mt_ip_place ip = {s.at + 12, 4, in[9], place & 0x3fff, quoted};
	if (place & 0x1fff)
		return mt_stop(w, inside.at, inside.at == inside.end ? MT_CUT_NOTHING : MT_CUT_FRAGMENT);
	if (ip.proto == MT_PROTO_AH) {
		uint32_t size = authentication(w, inside);
		if (!size)
			return mt_stop(w, inside.at, MT_CUT_SHORT);
		ip.proto = w->in[inside.at];
		inside = mt_behind(inside, size);
	}
	return anonymize_transport(w, inside, &ip);
}

/* One extension header of a known kind, of size captured bytes. */
static void anonymize_extension(struct mt_walk *w, uint32_t at, uint8_t proto, uint32_t size,
                                struct mt_ip_place *ip)
{
	uint8_t *out = w->out + at;
	if (proto == MT_PROTO_FRAGMENT) {
		out[1] = 0; /* reserved */
		ip->fragment = ip->fragment || get16(w->in + at + 2) & 0xfff9;
		return;
	}
	if (proto == PROTO_ROUTING)
		memset(out + 3, 0, size - 3); /* no segments left, and no addresses */
	else
		memset(out + 2, 0, size - 2); /* options of one byte, padding */
	mt_count_change(w, MT_CHANGE_IP_OPTIONS);
}

static uint32_t anonymize_ipv6(struct mt_walk *w, struct mt_span s, bool quoted)
{
	const uint8_t *in = w->in + s.at;
	if (!mt_captured(s, 0, IPV6_HEADER))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	uint32_t said = get16(in + 4);
	struct mt_ip_place ip = {s.at + 8, 16, in[6], false, quoted};
	mt_count_header(w, MT_HEADER_IPV6);
	mt_anonymize_address(w, s.at + 8, 16);
	mt_anonymize_address(w, s.at + 24, 16);
	struct mt_span inside = mt_behind(s, IPV6_HEADER);
	if (said && (quoted || said < inside.wire - inside.at))
		inside.wire = inside.at + said;
	if (inside.end > inside.wire)
		inside.end = inside.wire;
	for (unsigned i = 0; i < MAX_EXTENSIONS; i++) {
		uint32_t at = inside.at, size = 8;
		if (ip.proto == MT_PROTO_AH)
			size = authentication(w, inside);
		else if (ip.proto == PROTO_HOP_BY_HOP || ip.proto == PROTO_ROUTING ||
		         ip.proto == PROTO_DESTINATION)
			size = mt_captured(inside, 0, 8) ? 8 + w->in[at + 1] * 8u : 0;
		else if (ip.proto != MT_PROTO_FRAGMENT)
			return anonymize_transport(w, inside, &ip);
		if (!size || !mt_captured(inside, 0, size))
			return mt_stop(w, at, MT_CUT_SHORT);
		if (ip.proto != MT_PROTO_AH)
			anonymize_extension(w, at, ip.proto, size, &ip);
		bool later = ip.proto == MT_PROTO_FRAGMENT && get16(w->in + at + 2) & 0xfff8;
		ip.proto = w->in[at];
		inside = mt_behind(inside, size);
		if (later)
			return mt_stop(w, inside.at,
			               inside.at == inside.end ? MT_CUT_NOTHING : MT_CUT_FRAGMENT);
	}
	return mt_stop(w, inside.at, MT_CUT_DEEP);
}

uint32_t mt_anonymize_ip(struct mt_walk *w, struct mt_span s, bool quoted)
{
	if (w->depth++ >= MAX_DEPTH)
		return mt_stop(w, s.at, MT_CUT_DEEP);
	if (!mt_captured(s, 0, 1))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	switch (w->in[s.at] >> 4) {
	case 4:
		return anonymize_ipv4(w, s, quoted);
	case 6:
		return anonymize_ipv6(w, s, quoted);
	default:
		return mt_stop(w, s.at, MT_CUT_MALFORMED);
	}
}
