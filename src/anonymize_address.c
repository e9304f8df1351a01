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
#include "cryptopan.h"
#include "edit.h"

enum { MAC_BYTES = 6, CACHE_BITS = 14, CACHE = 1 << CACHE_BITS, PORTS = 1 << 16 };

/* The bytes of an address, of which the first four are the lower half, and a flag. */
struct mac_entry {
	uint64_t in;  /* MAC_USED */
	uint64_t out; /* MAC_CHANGED: it is not an address that everybody has */
};

#define MAC_USED    (UINT64_C(1) << 63)
#define MAC_CHANGED MAC_USED

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

/* What becomes of the address in[at] of len bytes, if that was found out before the script ran. */
static const uint8_t *known(const struct mt_walk *w, uint32_t at, unsigned len)
{
	const struct mt_other_addresses *k = w->known;
	if (!k || k->len != len || (at != k->at && at != k->at + len))
		return NULL;
	return (const uint8_t *)k->other + (at - k->at);
}

static void anonymize_ipv4(struct mt_walk *w, uint32_t at)
{
	const uint8_t *in = w->in + at, *found = known(w, at, 4);
	uint8_t *out = w->out + at;
	uint32_t address;
	memcpy(&address, in, sizeof address);
	bool group = in[0] >= 0xe0; /* also 255.255.255.255 */
	if ((group || address == 0) && common_ipv4(in)) {
		memcpy(out, in, sizeof address);
		return;
	}
	if (found)
		memcpy(&address, found, sizeof address);
	else
		address = mt_cryptopan_map_ipv4(w->a->pan, address);
	memcpy(out, &address, sizeof address);
	if (group && in[0] < 0xf0)
		out[0] = 0xe0 | (out[0] & 15);
	mt_count_change(w, MT_CHANGE_IPV4);
}

static void anonymize_ipv6(struct mt_walk *w, uint32_t at)
{
	const uint8_t *in = w->in + at, *found = known(w, at, 16);
	uint8_t *out = w->out + at;
	uint64_t high, low;
	memcpy(&high, found ? found : in, sizeof high);
	memcpy(&low, (found ? found : in) + 8, sizeof low);
	if (common_ipv6(in)) {
		memcpy(out, in, 16);
		return;
	}
	if (!found)
		mt_cryptopan_map_ipv6(w->a->pan, &high, &low);
	memcpy(out, &high, sizeof high);
	memcpy(out + 8, &low, sizeof low);
	if (in[0] >= 0xfe)
		memcpy(out, in, ipv6_prefix(in));
	mt_count_change(w, MT_CHANGE_IPV6);
}

void mt_anonymize_address(struct mt_walk *w, uint32_t at, unsigned len)
{
	if (len == 4)
		anonymize_ipv4(w, at);
	else
		anonymize_ipv6(w, at);
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

static uint64_t load_mac(const uint8_t *p)
{
	uint32_t first;
	uint16_t last;
	memcpy(&first, p, sizeof first);
	memcpy(&last, p + sizeof first, sizeof last);
	return first | (uint64_t)last << 32;
}

static void store_mac(uint8_t *p, uint64_t mac)
{
	uint32_t first = (uint32_t)mac;
	uint16_t last = (uint16_t)(mac >> 32);
	memcpy(p, &first, sizeof first);
	memcpy(p + sizeof first, &last, sizeof last);
}

static uint64_t make_mac(const struct mt_walk *w, const uint8_t *in)
{
	uint8_t hidden[MAC_BYTES];
	pseudonym(w->a->pseudonyms, "mac", in, MAC_BYTES, hidden, sizeof hidden);
	hidden[0] = (uint8_t)((hidden[0] & ~1) | 2 | (in[0] & 1));
	unsigned kept = w->a->policy.mac == MT_MAC_OUI ? 3 : 0, group = mac_prefix(in);
	memcpy(hidden, in, group > kept ? group : kept);
	if (in[0] == 1 && in[1] == 0 && in[2] == 0x5e)
		hidden[3] &= 0x7f; /* of IPv4 groups, RFC 1112 */
	return load_mac(hidden);
}

static MT_SELDOM void new_mac(const struct mt_walk *w, const uint8_t *in, struct mac_entry *e)
{
	uint64_t mac = load_mac(in);
	e->in = mac | MAC_USED;
	e->out = common_mac(in) ? mac : make_mac(w, in) | MAC_CHANGED;
}

static struct mac_entry *mac_entry(struct mt_pseudonyms *p, uint64_t mac)
{
	return &p->macs[mac * 0x9e3779b97f4a7c15 >> (64 - CACHE_BITS)];
}

void mt_anonymize_mac(struct mt_walk *w, uint32_t at)
{
	const uint8_t *in = w->in + at;
	uint8_t *out = w->out + at;
	uint64_t mac = load_mac(in);
	if (w->a->policy.mac == MT_MAC_KEEP) {
		store_mac(out, mac);
		return;
	}
	struct mac_entry *e = mac_entry(w->a->pseudonyms, mac);
	if (e->in != (mac | MAC_USED))
		new_mac(w, in, e);
	store_mac(out, e->out);
	w->a->counts.changed[MT_CHANGE_MAC] += e->out >> 63;
}

void mt_anonymize_ports(struct mt_walk *w, uint32_t at)
{
	if (!w->a->policy.ports) {
		memcpy(w->out + at, w->in + at, 4);
		return;
	}
	for (unsigned i = 0; i < 4; i += 2) {
		mt_put16(w->out + at + i, w->a->pseudonyms->ports[get16(w->in + at + i)]);
		mt_count_change(w, MT_CHANGE_PORT);
	}
}
