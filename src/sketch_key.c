/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sketch_key.c - keys of sketches and their 64-bit hash.
 *
 * A key is that of a packet (table_key.c), or a string, number, address or boolean that a script gives.
 * The hash is XXH3, which gives the same numbers in every version since 0.8, so that sketches of
 * different runs can be merged.  The header is compiled in (XXH_INLINE_ALL, see .ci/probe): keys are 8 to 40
 * bytes most of the time, where the call would cost as much as the hash; about 3 ns.
 */
#include <xxhash.h>

#include "sketch.h"
#include "table.h"

_Static_assert(sizeof(((struct mt_sketch_key *)NULL)->words) == sizeof(union mt_key),
               "holds every key of a packet");
_Static_assert(offsetof(struct mt_key_flow, turned) == offsetof(struct mt_key_pair, turned), "taken for both");

static bool is_two_way(uint32_t tag)
{
	return tag == MT_TABLE_FLOW || tag == MT_TABLE_PAIR;
}

uint32_t mt_sketch_key_len(uint32_t tag)
{
	switch (tag) {
	case MT_TABLE_FLOW:
	case MT_TABLE_TUPLE:
		return sizeof(struct mt_key_flow);
	case MT_TABLE_PAIR:
		return sizeof(struct mt_key_pair);
	case MT_TABLE_SRC:
	case MT_TABLE_DST:
	case MT_KEY_ADDRESS:
		return sizeof(struct mt_key_address);
	case MT_TABLE_SPORT:
	case MT_TABLE_DPORT:
		return sizeof(struct mt_key_port);
	case MT_KEY_NUMBER:
	case MT_KEY_BOOLEAN:
		return sizeof(double);
	default:
		return 0;
	}
}

/* Which end sent is no part of a key of both directions: it stands beside. */
static void put_key(struct mt_sketch_key *key, union mt_key *k)
{
	key->len = mt_sketch_key_len(key->tag);
	key->turned = 0;
	if (is_two_way(key->tag)) {
		key->turned = k->flow.turned;
		k->flow.turned = 0;
	}
	memcpy(key->words, k, key->len);
}

int mt_sketch_key_of_packet(uint32_t kind, const struct mt_packet *packet, const struct mt_decoded *decoded,
                            struct mt_sketch_key *key)
{
	union mt_key k;
	if (!mt_key_of_packet((enum mt_table_kind)kind, packet, decoded, &k))
		return 0;
	key->tag = (uint8_t)kind;
	put_key(key, &k);
	return 1;
}

static union mt_key key_of(const struct mt_sketch_key *key)
{
	union mt_key k;
	memcpy(&k, key->words, sizeof k);
	return k;
}

static void order(struct mt_sketch_key *key)
{
	union mt_key k = key_of(key);
	if (is_two_way(key->tag))
		k.flow.turned = key->turned;
	mt_key_order((enum mt_table_kind)key->tag, &k);
	put_key(key, &k);
}

void mt_sketch_key_restore(struct mt_sketch_key *key)
{
	union mt_key k = key_of(key);
	if (!is_two_way(key->tag))
		return;
	k.flow.turned = key->turned;
	mt_key_restore((enum mt_table_kind)key->tag, &k);
	memcpy(key->words, &k, key->len);
	key->turned = 0;
}

void mt_sketch_key_finish(struct mt_sketch_key *key)
{
	if (key->tag == MT_KEY_STRING)
		return;
	key->len = mt_sketch_key_len(key->tag);
	if (key->tag < MT_KEY_STRING)
		order(key);
	else if (key->tag == MT_KEY_NUMBER && key->number == 0)
		key->number = 0; /* -0 is equal */
}

static bool is_address(uint64_t high, uint64_t low, uint8_t len)
{
	uint8_t bytes[8];
	memcpy(bytes, &high, sizeof bytes);
	return len == 16 || (len == 4 && !low && !bytes[4] && !bytes[5] && !bytes[6] && !bytes[7]);
}

static bool is_sound_pair(const union mt_key *key)
{
	const struct mt_key_pair *k = &key->pair;
	return is_address(k->src_high, k->src_low, k->src_len) &&
	       is_address(k->dst_high, k->dst_low, k->dst_len);
}

static bool is_sound_flow(const union mt_key *key)
{
	const struct mt_key_flow *k = &key->flow;
	return is_address(k->src_high, k->src_low, k->src_len) &&
	       is_address(k->dst_high, k->dst_low, k->dst_len);
}

bool mt_sketch_key_is_sound(uint32_t kind, const struct mt_sketch_key *key)
{
	union mt_key k = key_of(key);
	if (kind != MT_TABLE_PARTS && key->tag != kind)
		return false;
	if (kind == MT_TABLE_PARTS && (key->tag < MT_KEY_STRING || key->tag > MT_KEY_BOOLEAN))
		return false;
	switch (key->tag) {
	case MT_TABLE_FLOW:
	case MT_TABLE_TUPLE:
		return is_sound_flow(&k);
	case MT_TABLE_PAIR:
		return is_sound_pair(&k);
	case MT_TABLE_SRC:
	case MT_TABLE_DST:
	case MT_KEY_ADDRESS:
		return is_address(k.address.addr_high, k.address.addr_low, k.address.addr_len);
	case MT_KEY_NUMBER:
		return !isnan(key->number);
	case MT_KEY_BOOLEAN:
		return key->number == 0 || key->number == 1;
	default:
		return true;
	}
}

uint64_t mt_sketch_hash(const struct mt_sketch_key *key, uint64_t seed)
{
	return XXH3_64bits_withSeed(mt_sketch_key_bytes(key), key->len, seed + key->tag * 0x9e3779b97f4a7c15);
}
