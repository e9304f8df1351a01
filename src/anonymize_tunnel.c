/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_tunnel.c - headers of tunnels in a packet that becomes anonymous, and what they carry.
 *
 * decode_tunnel.c finds the header and checks it; here it loses whatever is not needed to find the way to the
 * packet inside: options, metadata, times, numbers of subscribers.
 */
#include <string.h>

#include "anonymize.h"
#include "decode_tunnel.h"
#include "edit.h"

enum { PORT_VXLAN_GPE = 4790 };

/* A header of n bytes, its first `keep` stay. */
static void keep_first(struct mt_walk *w, uint32_t at, uint32_t n, uint32_t keep)
{
	if (n > keep)
		memset(w->out + at + keep, 0, n - keep);
}

/* GRE with what ERSPAN adds: flags, type, key and sequence number stay. */
static void gre(struct mt_walk *w, uint32_t at, uint32_t n, enum mt_tunnel kind)
{
	uint16_t flags = get16(w->in + at);
	uint32_t base = 4;
	if (kind == MT_TUNNEL_PPTP) {
		keep_first(w, at, n, 16);
		return;
	}
	if (flags & 0xc000) {
		if (n >= 8)
			memset(w->out + at + 4, 0, 4); /* checksum, which is made later, and offset */
		base += 4;
	}
	base += (flags & 0x2000 ? 4u : 0) + (flags & 0x1000 ? 4u : 0);
	if (kind == MT_TUNNEL_ERSPAN)
		base += 4; /* version, VLAN, session; then an index and a time */
	keep_first(w, at, n, base);
	/* the byte of flags that tells of more behind an ERSPAN header of type III */
	if (kind == MT_TUNNEL_ERSPAN && n >= base + 8)
		w->out[at + base + 7] = w->in[at + base + 7] & 0x7d;
}

/* As written by RFC 2784: over the header and what it carries. */
static void gre_checksum(struct mt_walk *w, struct mt_span s, uint32_t kept)
{
	struct mt_ip_place ip = {.proto = 47};
	if (get16(w->in + s.at) & 0x8000 && kept >= s.at + 8)
		mt_anonymize_checksum(w, &ip, s, 4, kept, false);
}

/* Version 1: type of message, length, a pseudonym of the tunnel, sequence number, empty extensions. */
static void gtp(struct mt_walk *w, uint32_t at, uint32_t n)
{
	const uint8_t *in = w->in + at;
	if (in[0] >> 5 == 0) { /* version 0 has the subscriber's number */
		keep_first(w, at, n, 4);
		return;
	}
	mt_anonymize_number(w, at + 4);
	if (n <= 12)
		return;
	memset(w->out + at + 12, 0, n - 12);
	for (uint32_t i = 12; i < n;) {
		uint32_t size = in[i] * 4u;
		if (!size || size > n - i)
			break;
		w->out[at + i] = in[i];
		w->out[at + i + size - 1] = in[i + size - 1];
		i += size;
	}
}

/* Flags, length, tunnel and session; what is behind, as far as it is there, becomes zeros. */
static void l2tp(struct mt_walk *w, uint32_t at, uint32_t n)
{
	uint32_t ids = w->in[at] & 0x40 ? 8 : 6;
	keep_first(w, at, n, ids);
	if (w->in[at] & 0x02 &&
	    ids + (w->in[at] & 0x08 ? 4u : 0) + 2 <= n) { /* the size of what fills up stays */
		uint32_t size_at = at + ids + (w->in[at] & 0x08 ? 4 : 0);
		memcpy(w->out + size_at, w->in + size_at, 2);
	}
}

/* RFC 4380: an authentication, of which the lengths stay; the origin, hidden by flipped bits. */
static void teredo(struct mt_walk *w, uint32_t at, uint32_t n)
{
	const uint8_t *in = w->in + at;
	memset(w->out + at, 0, n);
	uint32_t i = 0;
	if (n >= 4 && get16(in) == 1) {
		memcpy(w->out + at, in, 4);
		i = 13u + in[2] + in[3];
	}
	if (i + 8 <= n) {
		static const uint8_t none[] = {0, 0, 255, 255, 255, 255, 255, 255}; /* port 0 of 0.0.0.0 */
		memcpy(w->out + at + i, none, sizeof none);
	}
}

/* The header from at on, of n bytes.  False: it is not one that can be made harmless. */
static bool anonymize_header(struct mt_walk *w, const struct mt_decoded *d, enum mt_tunnel kind, uint32_t at,
                             uint32_t n)
{
	uint8_t *out = w->out + at;
	switch (kind) {
	case MT_TUNNEL_IPIP:
		return n == 0;
	case MT_TUNNEL_GRE:
	case MT_TUNNEL_PPTP:
	case MT_TUNNEL_ERSPAN:
		if (n < 4 || w->in[at] & 0x40) /* source routes are addresses */
			return false;
		gre(w, at, n, kind);
		return true;
	case MT_TUNNEL_ETHERIP:
		return n == 0 || n == 2;
	case MT_TUNNEL_VXLAN: /* flags, network number; of VXLAN-GPE what follows; service headers lose what
	                         they hold */
		out[1] = out[2] = out[7] = 0;
		if (d->dport != PORT_VXLAN_GPE && d->sport != PORT_VXLAN_GPE)
			out[3] = 0;
		keep_first(w, at, n, n > 8 ? 16 : 8);
		return n >= 8;
	case MT_TUNNEL_GENEVE: /* options become empty ones */
		out[7] = 0;
		keep_first(w, at, n, 8);
		return true;
	case MT_TUNNEL_GTP:
		gtp(w, at, n);
		return true;
	case MT_TUNNEL_L2TP:
		l2tp(w, at, n);
		return true;
	case MT_TUNNEL_TEREDO:
		teredo(w, at, n);
		return true;
	case MT_TUNNEL_LISP: /* no nonce, no locators, no instance */
		out[0] = 0;
		keep_first(w, at, n, 1);
		return true;
	case MT_TUNNEL_MPLS:
		return n == 0;
	case MT_TUNNEL_NSH:
		keep_first(w, at, n, 8);
		return true;
	case MT_TUNNEL_PBB:
		return n == 4;
	case MT_TUNNEL_PSEUDOWIRE: /* labels, perhaps a control word */
		for (uint32_t i = 0; i + 4 <= n; i += 4)
			if (w->in[at + i + 2] & 1) { /* the last label */
				keep_first(w, at, n, i + 4);
				return true;
			}
		return false;
	default:
		return false;
	}
}

static uint32_t anonymize_inside(struct mt_walk *w, struct mt_span s, const struct mt_tunnel_header *t)
{
	switch (t->payload) {
	case MT_PAYLOAD_ETHERNET:
		return mt_anonymize_ethernet(w, s, false);
	case MT_PAYLOAD_IP:
		return mt_anonymize_ip(w, s, false);
	case MT_PAYLOAD_PPP:
		return mt_anonymize_ppp(w, s);
	case MT_PAYLOAD_TYPE:
		return mt_anonymize_type(w, s, t->type);
	default:
		return mt_stop(w, s.at, s.at == s.end ? MT_CUT_NOTHING : MT_CUT_MESSAGE);
	}
}

bool mt_anonymize_tunnel(struct mt_walk *w, struct mt_span s, const struct mt_decoded *d, uint32_t *kept)
{
	struct mt_tunnel_header t;
	if (!mt_tunnel_find(w->original, s.end, d, &t) || t.kind == MT_TUNNEL_NONE)
		return false;
	if (t.at < s.at || t.at > s.end || !anonymize_header(w, d, t.kind, s.at, t.at - s.at)) {
		*kept = mt_stop(w, s.at, MT_CUT_MESSAGE);
		return true;
	}
	mt_count_header(w, MT_HEADER_TUNNEL);
	mt_count_change(w, MT_CHANGE_TUNNEL);
	struct mt_span inside = mt_behind(s, t.at - s.at);
	if (t.end < inside.end) { /* padding of the tunnel is behind */
		inside.end = t.end > inside.at ? t.end : inside.at;
		inside.wire = inside.end;
	}
	*kept = anonymize_inside(w, inside, &t);
	if (t.kind == MT_TUNNEL_GRE || t.kind == MT_TUNNEL_ERSPAN)
		gre_checksum(w, s, *kept);
	return true;
}
