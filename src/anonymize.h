/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize.h - packets without what tells who sent them: what the files anonymize*.c share.
 *
 * A walk goes through the headers of a packet, from the link layer inwards, and keeps only what it understands:
 * each function below takes the header at `at`, writes its harmless form to w->out, and returns where the bytes
 * end that may stay.  Those before are safe, those behind go.  What it reads is w->in, the packet as it was.
 * Nobody else decides, so that a header that is not known, lies or was cut can leave nothing behind.
 *
 * Half a million to some million packets a second, most of it AES and HMAC for addresses not in a cache.
 */
#ifndef MT_ANONYMIZE_H
#define MT_ANONYMIZE_H
#include "decode.h"

struct mt_anonymizer {
	struct mt_anonymize_policy policy;
	struct mt_anonymize_counts counts;
	uint32_t ahead; /* its number, see anonymize_ahead.h; 0: none */
	uint32_t asked; /* packets of batch seq so far */
	uint64_t seq;
	struct mt_cryptopan *pan;
	struct mt_pseudonyms *pseudonyms;
};

struct mt_walk {
	struct mt_anonymizer *a;
	const struct mt_packet *original;       /* as the hook found it; its data is `in` */
	const struct mt_other_addresses *known; /* what becomes of some of its addresses, or NULL */
	const uint8_t *in;
	uint8_t *out;
	unsigned depth;            /* headers around the one in hand */
	uint32_t payload_at;       /* where the payload of TCP or UDP begins; 0: there was no way to it */
	enum mt_anonymize_cut why; /* why the walk ended */
};

/* Bytes that a header may be in.  Fields of 64-bit words, as those are passed in registers: two 32-bit members
 * would be put together in memory for each call, and wait there for as long as the rest of it takes. */
struct mt_span {
	uint64_t at : 32, end : 32; /* captured; end <= original->caplen */
	uint64_t wire : 32;         /* where the bytes ended on the wire, >= at */
};

/* --- anonymize_address.c ------------------------------------------------------------------------ */

/* key: MT_CRYPTOPAN_KEY bytes.  NULL: out of memory. */
struct mt_pseudonyms *mt_pseudonyms_new(const char *key, bool ports);
void mt_pseudonyms_free(struct mt_pseudonyms *p);
/* Put another address of len bytes (4 or 16) at out[at], for that at in[at]. */
void mt_anonymize_address(struct mt_walk *w, uint32_t at, unsigned len);
/* The same for six bytes of a MAC address. */
void mt_anonymize_mac(struct mt_walk *w, uint32_t at);
/* The same for the four bytes of two ports. */
void mt_anonymize_ports(struct mt_walk *w, uint32_t at);
/* The same for four bytes of a number that is meaningful to others. */
void mt_anonymize_number(struct mt_walk *w, uint32_t at);

/* --- the walk ----------------------------------------------------------------------------------- */

/* anonymize_link.c */
uint32_t mt_anonymize_link(struct mt_walk *w);
/* sure: false if nothing says that this is Ethernet; then its type must be a known one. */
uint32_t mt_anonymize_ethernet(struct mt_walk *w, struct mt_span s, bool sure);
uint32_t mt_anonymize_type(struct mt_walk *w, struct mt_span s, uint16_t type);
uint32_t mt_anonymize_ppp(struct mt_walk *w, struct mt_span s);
/* anonymize_ip.c; quoted: by an ICMP message, so the packet was longer than what is here of it. */
uint32_t mt_anonymize_ip(struct mt_walk *w, struct mt_span s, bool quoted);

/* An IP packet, as far as those inside of it need it. */
struct mt_ip_place {
	uint32_t addresses;  /* where source and destination are */
	uint8_t address_len; /* 4 or 16 */
	uint8_t proto;       /* of what is inside */
	bool fragment, quoted;
};
/* The checksum at s.at + field of what begins there, over what is kept (before `kept`, which is behind the
 * field), zeros behind it and (if pseudo) the addresses: that of a packet with zeros for all that is gone.  0
 * in fragments. */
void mt_anonymize_checksum(struct mt_walk *w, const struct mt_ip_place *ip, struct mt_span s, uint32_t field,
                           uint32_t kept, bool pseudo);
/* anonymize_icmp.c */
uint32_t mt_anonymize_icmp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip);
uint32_t mt_anonymize_icmpv6(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip);
uint32_t mt_anonymize_igmp(struct mt_walk *w, struct mt_span s, const struct mt_ip_place *ip);
/* anonymize_tunnel.c: what d describes carries a tunnel.  False: none that is known, *kept is not set. */
bool mt_anonymize_tunnel(struct mt_walk *w, struct mt_span s, const struct mt_decoded *d, uint32_t *kept);

/* --- small things ------------------------------------------------------------------------------- */

static inline void mt_count_header(struct mt_walk *w, enum mt_anonymize_header kind)
{
	w->a->counts.headers[kind]++;
}

static inline void mt_count_change(struct mt_walk *w, enum mt_anonymize_change kind)
{
	w->a->counts.changed[kind]++;
}

/* The walk ends here: nothing from `at` on stays. */
static inline uint32_t mt_stop(struct mt_walk *w, uint32_t at, enum mt_anonymize_cut why)
{
	w->why = why;
	return at;
}

/* Are n bytes at s.at + skip captured? */
static inline bool mt_captured(struct mt_span s, uint32_t skip, uint32_t n)
{
	uint32_t left = s.end - s.at;
	return skip <= left && n <= left - skip;
}

/* What is behind the first n captured bytes. */
static inline struct mt_span mt_behind(struct mt_span s, uint32_t n)
{
	s.at += n;
	if (s.wire < s.at)
		s.wire = s.at;
	return s;
}

#endif
