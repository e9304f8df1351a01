/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_address.c - other addresses, ports and numbers in place of those of a packet.
 *
 * IP addresses go through Crypto-PAn, all but those that everybody has: 0.0.0.0, ::, 255.255.255.255 and groups
 * that IANA has assigned for the use of all.  Other groups stay groups of the same kind, and an address of
 * fe80::/64 stays link-local.  MAC addresses become pseudonyms: the first bytes of HMAC-SHA256 with the same
 * key, with the group bit as it was and the "locally administered" bit set.  Ports are permuted.
 */
#include <nettle/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "anonymize.h"
#include "edit.h"

enum { MAC_BYTES = 6, CACHE_BITS = 14, CACHE = 1 << CACHE_BITS, PORTS = 1 << 16 };

struct mac_entry {
	uint64_t in; /* the address, and USED */
	uint8_t out[MAC_BYTES];
	bool changed; /* it is not one that everybody has */
};

#define USED (UINT64_C(1) << 63)

struct mt_pseudonyms {
	struct hmac_sha256_ctx hmac;
	struct mac_entry macs[CACHE];
	uint16_t ports[]; /* a permutation, if ports are hidden; else none */
};

/* The first `size` bytes of HMAC of a purpose and a value. */
static void pseudonym(struct mt_pseudonyms *p, const char *purpose, const uint8_t *value, size_t len,
                      uint8_t *result, size_t size)
{
	hmac_sha256_update(&p->hmac, strlen(purpose) + 1, (const uint8_t *)purpose);
	hmac_sha256_update(&p->hmac, len, value);
	hmac_sha256_digest(&p->hmac, size, result); /* and begins anew */
}

/* A random number below n, from the key: number i of a series. */
static uint32_t random_below(struct mt_pseudonyms *p, uint32_t i, uint32_t n)
{
	uint8_t bytes[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, result[8];
	pseudonym(p, "port", bytes, sizeof bytes, result, sizeof result);
	uint64_t v = (uint64_t)get32(result) << 32 | get32(result + 4);
	return (uint32_t)(v % n);
}

/* Fisher and Yates.  0 is no port and stays. */
static void permute_ports(struct mt_pseudonyms *p)
{
	for (uint32_t i = 0; i < PORTS; i++)
		p->ports[i] = (uint16_t)i;
	for (uint32_t i = PORTS - 1; i > 1; i--) {
		uint32_t j = 1 + random_below(p, i, i);
		uint16_t swapped = p->ports[i];
		p->ports[i] = p->ports[j];
		p->ports[j] = swapped;
	}
}

struct mt_pseudonyms *mt_pseudonyms_new(const char *key, bool ports)
{
	struct mt_pseudonyms *p = calloc(1, sizeof *p + (ports ? PORTS * sizeof *p->ports : 0));
	if (!p)
		return NULL;
	hmac_sha256_set_key(&p->hmac, MT_CRYPTOPAN_KEY, (const uint8_t *)key);
	if (ports)
		permute_ports(p);
	return p;
}

void mt_pseudonyms_free(struct mt_pseudonyms *p)
{
	if (!p)
		return;
	explicit_bzero(&p->hmac, sizeof p->hmac);
	free(p);
}

/* --- IP ------------------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* Local and internetwork control blocks (RFC 5771), and SSDP. */
static bool common_ipv4(const uint8_t *p)
{
	static const uint8_t ssdp[] = {239, 255, 255, 250};
	uint32_t v = get32(p);
	return v == 0 || v == UINT32_MAX || v >> 8 == 0xe00000 || v >> 8 == 0xe00001 ||
	       !memcmp(p, ssdp, sizeof ssdp);
}

/* Permanent groups (RFC 4291, 2.7) with a number below 0x20000, as IANA has them, of any scope. */
static bool common_ipv6(const uint8_t *p)
{
	if (p[0] != 0xff)
		return is_zero(p, 16);
	return p[1] < 0x10 && is_zero(p + 2, 11) && p[13] <= 1;
}

/* Bits in front that stay as they are. */
static unsigned ipv6_prefix(const uint8_t *p)
{
	static const uint8_t solicited[] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
	static const uint8_t link_local[] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0};
	if (!memcmp(p, solicited, sizeof solicited))
		return sizeof solicited;
	if (!memcmp(p, link_local, sizeof link_local))
		return sizeof link_local;
	return p[0] == 0xff ? 2 : 0; /* flags and scope of a group */
}

static void map(struct mt_walk *w, const uint8_t *in, uint8_t *out, unsigned len)
{
	struct mt_address address = {.len = len};
	memcpy(&address.high, in, len < 8 ? len : 8);
	if (len > 8)
		memcpy(&address.low, in + 8, len - 8);
	mt_cryptopan_map(w->a->pan, &address);
	memcpy(out, &address.high, len < 8 ? len : 8);
	if (len > 8)
		memcpy(out + 8, &address.low, len - 8);
}

void mt_anonymize_address(struct mt_walk *w, uint32_t at, unsigned len)
{
	const uint8_t *in = w->in + at;
	uint8_t *out = w->out + at;
	if (len == 4 ? common_ipv4(in) : common_ipv6(in)) {
		memcpy(out, in, len);
		return;
	}
	map(w, in, out, len);
	if (len == 16)
		memcpy(out, in, ipv6_prefix(in));
	else if (in[0] >> 4 == 0xe)
		out[0] = 0xe0 | (out[0] & 15);
	mt_count_change(w, len == 4 ? MT_CHANGE_IPV4 : MT_CHANGE_IPV6);
}

void mt_anonymize_number(struct mt_walk *w, uint32_t at)
{
	pseudonym(w->a->pseudonyms, "number", w->in + at, 4, w->out + at, 4);
	mt_count_change(w, MT_CHANGE_TUNNEL);
}

/* --- MAC addresses and ports ------------------------------------------------------------------------ */

/* Addresses that everybody has: none, broadcast, bridges (IEEE 802.1D) and Cisco's.  Those of IP groups are not
 * among them: groups that differ share one, so it would tell a part of one that is hidden. */
static bool common_mac(const uint8_t *p)
{
	static const uint8_t broadcast[] = {255, 255, 255, 255, 255, 255}, bridges[] = {1, 0x80, 0xc2, 0, 0},
	                     cisco[] = {1, 0, 0x0c, 0xcc, 0xcc};
	return is_zero(p, MAC_BYTES) || !memcmp(p, broadcast, sizeof broadcast) ||
	       !memcmp(p, bridges, sizeof bridges) || !memcmp(p, cisco, sizeof cisco);
}

/* Bytes in front that say no more than what kind of group it is. */
static unsigned mac_prefix(const uint8_t *p)
{
	if (p[0] == 0x33 && p[1] == 0x33)
		return p[2] == 0xff ? 3 : 2;
	return p[0] == 1 && p[1] == 0 && p[2] == 0x5e ? 3 : 0;
}

static void make_mac(struct mt_walk *w, const uint8_t *in, uint8_t *out)
{
	uint8_t hidden[MAC_BYTES];
	pseudonym(w->a->pseudonyms, "mac", in, MAC_BYTES, hidden, sizeof hidden);
	hidden[0] = (uint8_t)((hidden[0] & ~1) | 2 | (in[0] & 1));
	unsigned kept = w->a->policy.mac == MT_MAC_OUI ? 3 : 0, group = mac_prefix(in);
	memcpy(hidden, in, group > kept ? group : kept);
	if (in[0] == 1 && in[1] == 0 && in[2] == 0x5e)
		hidden[3] &= 0x7f; /* of IPv4 groups, RFC 1112 */
	memcpy(out, hidden, MAC_BYTES);
}

void mt_anonymize_mac(struct mt_walk *w, uint32_t at)
{
	const uint8_t *in = w->in + at;
	uint8_t *out = w->out + at;
	if (w->a->policy.mac == MT_MAC_KEEP) {
		memcpy(out, in, MAC_BYTES);
		return;
	}
	uint64_t mac = (uint64_t)get32(in) << 16 | get16(in + 4);
	struct mac_entry *e = &w->a->pseudonyms->macs[mac * 0x9e3779b97f4a7c15 >> (64 - CACHE_BITS)];
	if (e->in != (mac | USED)) {
		e->in = mac | USED;
		e->changed = !common_mac(in);
		if (e->changed)
			make_mac(w, in, e->out);
		else
			memcpy(e->out, in, MAC_BYTES);
	}
	memcpy(out, e->out, MAC_BYTES);
	if (e->changed)
		mt_count_change(w, MT_CHANGE_MAC);
}

void mt_anonymize_port(struct mt_walk *w, uint32_t at)
{
	uint16_t port = get16(w->in + at);
	if (!w->a->policy.ports) {
		mt_put16(w->out + at, port);
		return;
	}
	mt_put16(w->out + at, w->a->pseudonyms->ports[port]);
	mt_count_change(w, MT_CHANGE_PORT);
}
