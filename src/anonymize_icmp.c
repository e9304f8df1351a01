/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_icmp.c - ICMP, ICMPv6 with neighbour discovery, and IGMP of a packet that becomes anonymous.
 *
 * Errors quote the packet that they are about: it is walked as well.  Of messages that are not known, type and
 * code are kept.
 */
#include <string.h>

#include "anonymize.h"

enum { FIXED = 8 /* the header of most messages */, ADDRESS = 16 };

/* The quoted packet behind the header; words: its length as RFC 4884 has it, 0: not told. */
static uint32_t quote(struct mt_walk *w, struct mt_span s, uint32_t length)
{
	struct mt_span inside = mt_behind(s, FIXED);
	if (length && length < inside.end - inside.at)
		inside.end = inside.at + length; /* extensions follow */
	if (inside.at == inside.end)
		return mt_stop(w, inside.at, MT_CUT_NOTHING);
	mt_count_header(w, MT_HEADER_QUOTE);
	return mt_anonymize_ip(w, inside, true);
}

/* Data of an echo: payload. */
static uint32_t echo(struct mt_walk *w, struct mt_span s)
{
	struct mt_span inside = mt_behind(s, FIXED);
	if (inside.at == inside.end)
		return mt_stop(w, inside.at, MT_CUT_NOTHING);
	bool keep = w->a->policy.payload == MT_REST_KEEP;
	return mt_stop(w, keep ? inside.end : inside.at, keep ? MT_CUT_NOTHING : MT_CUT_PAYLOAD);
}

/* The message ends behind n bytes; more is not understood. */
static uint32_t only(struct mt_walk *w, struct mt_span s, uint32_t n)
{
	return mt_stop(w, s.at + n, s.at + n == s.end ? MT_CUT_NOTHING : MT_CUT_MESSAGE);
}

uint32_t mt_anonymize_icmp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	const uint8_t *in = w->in + s.at;
	uint8_t *out = w->out + s.at;
	uint32_t kept;
	if (!mt_captured(s, 0, FIXED))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	mt_count_header(w, MT_HEADER_ICMP);
	switch (in[0]) {
	case 0:
	case 8:
		kept = echo(w, s);
		break;
	case 3: /* unreachable; code 4 has an MTU */
	case 4:
	case 11:
	case 12: /* a place in the header */
		out[4] = in[0] == 12 ? in[4] : 0;
		if (in[0] != 3 || in[1] != 4)
			memset(out + 6, 0, 2);
		kept = quote(w, s, in[5] * 4u);
		break;
	case 5: /* redirect: a router */
		mt_anonymize_address(w, s.at + 4, 4);
		kept = quote(w, s, 0);
		break;
	case 9: /* routers follow */
	case 13:
	case 14: /* times follow */
		kept = only(w, s, FIXED);
		break;
	default:
		kept = only(w, s, 4);
		break;
	}
	mt_anonymize_checksum(w, ip, s, 2, kept, false);
	return kept;
}

/* --- ICMPv6 ----------------------------------------------------------------------------------------- */

/* A prefix of neighbour discovery: that of other addresses, which begin with it as before. */
static void prefix_option(struct mt_walk *w, uint32_t at)
{
	uint8_t *out = w->out + at;
	unsigned bits = out[2] < 128 ? out[2] : 128;
	memset(out + 12, 0, 4); /* reserved */
	mt_anonymize_address(w, at + 16, ADDRESS);
	for (unsigned i = bits; i < 128; i++)
		out[16 + i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

/* Options of neighbour discovery (RFC 4861, 4.6) from at on, up to the first that is not known. */
static uint32_t nd_options(struct mt_walk *w, uint32_t at, uint32_t end)
{
	while (end - at >= 8) {
		uint32_t size = w->in[at + 1] * 8u;
		if (!size || size > end - at)
			return mt_stop(w, at, size ? MT_CUT_SHORT : MT_CUT_MALFORMED);
		switch (w->in[at]) {
		case 1: /* link-layer address of the source, of the target */
		case 2:
			if (size != 8)
				return mt_stop(w, at, MT_CUT_MESSAGE);
			mt_anonymize_mac(w, at + 2);
			break;
		case 3:
			if (size != 32)
				return mt_stop(w, at, MT_CUT_MALFORMED);
			prefix_option(w, at);
			break;
		case 5: /* MTU */
			if (size != 8)
				return mt_stop(w, at, MT_CUT_MALFORMED);
			memset(w->out + at + 2, 0, 2);
			break;
		default:
			return mt_stop(w, at, MT_CUT_MESSAGE);
		}
		at += size;
	}
	return mt_stop(w, at, at == end ? MT_CUT_NOTHING : MT_CUT_SHORT);
}

/* A message of n bytes, n_addresses of them at its end, then options. */
static uint32_t neighbour(struct mt_walk *w, struct mt_span s, uint32_t n, unsigned n_addresses)
{
	if (!mt_captured(s, 0, n))
		return mt_stop(w, s.at + 4, MT_CUT_SHORT);
	for (unsigned i = 1; i <= n_addresses; i++)
		mt_anonymize_address(w, s.at + n - i * ADDRESS, ADDRESS);
	return nd_options(w, s.at + n, s.end);
}

uint32_t mt_anonymize_icmpv6(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	const uint8_t *in = w->in + s.at;
	uint8_t *out = w->out + s.at;
	uint32_t kept;
	if (!mt_captured(s, 0, FIXED))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	mt_count_header(w, MT_HEADER_ICMPV6);
	switch (in[0]) {
	case 1:
	case 3: /* the quote's length in units of 8 */
		memset(out + 5, 0, 3);
		kept = quote(w, s, in[4] * 8u);
		break;
	case 2:
	case 4:
		kept = quote(w, s, 0);
		break;
	case 128:
	case 129:
		kept = echo(w, s);
		break;
	case 130:
	case 131:
	case 132: /* listeners of a group */
		memset(out + 6, 0, 2);
		if (mt_captured(s, FIXED, ADDRESS)) {
			mt_anonymize_address(w, s.at + FIXED, ADDRESS);
			kept = only(w, s, FIXED + ADDRESS);
		} else {
			kept = mt_stop(w, s.at + FIXED, MT_CUT_SHORT);
		}
		break;
	case 143:
		kept = only(w, s, FIXED);
		break;
	case 133:
		memset(out + 4, 0, 4);
		kept = neighbour(w, s, 8, 0);
		break;
	case 134:
		kept = neighbour(w, s, 16, 0);
		break;
	case 135:
		memset(out + 4, 0, 4);
		kept = neighbour(w, s, 24, 1);
		break;
	case 136: /* three flags */
		out[4] &= 0xe0;
		memset(out + 5, 0, 3);
		kept = neighbour(w, s, 24, 1);
		break;
	case 137:
		memset(out + 4, 0, 4);
		kept = neighbour(w, s, 40, 2);
		break;
	default:
		kept = only(w, s, 4);
		break;
	}
	mt_anonymize_checksum(w, ip, s, 2, kept, true);
	return kept;
}

/* --- IGMP ------------------------------------------------------------------------------------------- */

uint32_t mt_anonymize_igmp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip)
{
	uint32_t kept;
	if (!mt_captured(s, 0, FIXED))
		return mt_stop(w, s.at, MT_CUT_SHORT);
	mt_count_header(w, MT_HEADER_IGMP);
	switch (w->in[s.at]) {
	case 0x11:
	case 0x12:
	case 0x16:
	case 0x17:
		mt_anonymize_address(w, s.at + 4, 4);
		kept = only(w, s, FIXED); /* of version 3: sources */
		break;
	case 0x22: /* version 3: groups */
		kept = only(w, s, FIXED);
		break;
	default:
		kept = only(w, s, 4);
		break;
	}
	mt_anonymize_checksum(w, ip, s, 2, kept, false);
	return kept;
}
