/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table_key.c - keys of packets for tables: addresses, ports and protocol in 1 to 5 words.
 *
 * Both mt_key_of_packet and the hashes run for every packet of a batch; about 5 ns each.
 */
#include <pthread.h>
#include <string.h>

#include "seed.h"
#include "table.h"

_Static_assert(sizeof(struct mt_key_flow) == 40, "as many bytes as MT_KEY_WORDS");
_Static_assert(sizeof(struct mt_key_pair) == 40, "as many bytes as MT_KEY_WORDS");
_Static_assert(offsetof(struct mt_key_flow, turned) == 39 && offsetof(struct mt_key_pair, turned) == 39,
               "mt_key_last_mask masks the last byte");
_Static_assert(sizeof(struct mt_key_address) == 24 && sizeof(struct mt_key_port) == 8, "whole words");

/* An address as struct mt_address has it: the bytes in order, zeros behind them. */
static inline void load_address(const uint8_t *bytes, bool v6, uint64_t *high, uint64_t *low)
{
	*high = *low = 0;
	if (v6) {
		memcpy(high, bytes, 8);
		memcpy(low, bytes + 8, 8);
	} else {
		memcpy(high, bytes, 4);
	}
}

/* Which of two ends is put first does not matter, if it is always the same. */
static inline bool behind(uint64_t a_high, uint64_t a_low, uint16_t a_port, uint64_t b_high, uint64_t b_low,
                          uint16_t b_port)
{
	if (a_high != b_high)
		return a_high > b_high;
	if (a_low != b_low)
		return a_low > b_low;
	return a_port > b_port;
}

static void turn_flow(struct mt_key_flow *key)
{
	struct mt_key_flow k = *key;
	*key = (struct mt_key_flow){
	        .src_high = k.dst_high,
	        .src_low = k.dst_low,
	        .dst_high = k.src_high,
	        .dst_low = k.src_low,
	        .sport = k.dport,
	        .dport = k.sport,
	        .proto = k.proto,
	        .src_len = k.dst_len,
	        .dst_len = k.src_len,
	        .turned = !k.turned,
	};
}

static void turn_pair(struct mt_key_pair *key)
{
	struct mt_key_pair k = *key;
	*key = (struct mt_key_pair){
	        .src_high = k.dst_high,
	        .src_low = k.dst_low,
	        .dst_high = k.src_high,
	        .dst_low = k.src_low,
	        .src_len = k.dst_len,
	        .dst_len = k.src_len,
	        .turned = !k.turned,
	};
}

static inline void flow_key(const struct mt_packet *packet, const struct mt_decoded *d, bool ordered,
                            struct mt_key_flow *key)
{
	bool v6 = d->ip_version == 6;
	uint8_t len = v6 ? 16 : 4;
	const uint8_t *src = packet->data + d->src_offset;
	uint64_t src_high, src_low, dst_high, dst_low;
	load_address(src, v6, &src_high, &src_low);
	load_address(src + len, v6, &dst_high, &dst_low);
	bool turn = ordered && behind(src_high, src_low, d->sport, dst_high, dst_low, d->dport);
	*key = (struct mt_key_flow){
	        .src_high = turn ? dst_high : src_high,
	        .src_low = turn ? dst_low : src_low,
	        .dst_high = turn ? src_high : dst_high,
	        .dst_low = turn ? src_low : dst_low,
	        .sport = turn ? d->dport : d->sport,
	        .dport = turn ? d->sport : d->dport,
	        .proto = d->proto,
	        .src_len = len,
	        .dst_len = len,
	        .turned = turn,
	};
}

static void pair_key(const struct mt_packet *packet, const struct mt_decoded *d, struct mt_key_pair *key)
{
	bool v6 = d->ip_version == 6;
	uint8_t len = v6 ? 16 : 4;
	const uint8_t *src = packet->data + d->src_offset;
	*key = (struct mt_key_pair){.src_len = len, .dst_len = len};
	load_address(src, v6, &key->src_high, &key->src_low);
	load_address(src + len, v6, &key->dst_high, &key->dst_low);
	if (behind(key->src_high, key->src_low, 0, key->dst_high, key->dst_low, 0))
		turn_pair(key);
}

static void address_key(const struct mt_packet *packet, const struct mt_decoded *d, bool dst,
                        struct mt_key_address *key)
{
	bool v6 = d->ip_version == 6;
	uint8_t len = v6 ? 16 : 4;
	*key = (struct mt_key_address){.addr_len = len};
	load_address(packet->data + d->src_offset + (dst ? len : 0), v6, &key->addr_high, &key->addr_low);
}

static inline __attribute__((always_inline)) bool
make_key(enum mt_table_kind kind, const struct mt_packet *packet, const struct mt_decoded *d, union mt_key *key)
{
	if (kind == MT_TABLE_SPORT || kind == MT_TABLE_DPORT) {
		if (!(d->bits & MT_HAS_PORTS))
			return false;
		key->port = (struct mt_key_port){
		        .port = kind == MT_TABLE_SPORT ? d->sport : d->dport,
		        .proto = d->proto,
		};
		return true;
	}
	if (d->src_offset == MT_NO_OFFSET)
		return false;
	switch (kind) {
	case MT_TABLE_FLOW:
	case MT_TABLE_TUPLE:
		flow_key(packet, d, kind == MT_TABLE_FLOW, &key->flow);
		return true;
	case MT_TABLE_PAIR:
		pair_key(packet, d, &key->pair);
		return true;
	case MT_TABLE_SRC:
	case MT_TABLE_DST:
		address_key(packet, d, kind == MT_TABLE_DST, &key->address);
		return true;
	default:
		return false;
	}
}

bool mt_key_of_packet(enum mt_table_kind kind, const struct mt_packet *packet, const struct mt_decoded *d,
                      union mt_key *key)
{
	return make_key(kind, packet, d, key);
}

/* --- hashes ----------------------------------------------------------------------------- */

static uint64_t seed[3];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void draw_seed(void)
{
	mt_seed_draw(seed, sizeof seed / sizeof seed[0]);
}

const uint64_t *mt_key_seed(void)
{
	pthread_once(&seed_once, draw_seed);
	return seed;
}

/* kind is a constant where this is inlined. */
static inline __attribute__((always_inline)) void hash_all(enum mt_table_kind kind,
                                                           const struct mt_batch *batch, uint32_t *hashes)
{
	const uint64_t s[] = {seed[0], seed[1], seed[2]}, last_mask = mt_key_last_mask(kind);
	const size_t bytes = kind == MT_TABLE_SPORT || kind == MT_TABLE_DPORT ? sizeof(struct mt_key_port)
	                     : kind == MT_TABLE_SRC || kind == MT_TABLE_DST   ? sizeof(struct mt_key_address)
	                                                                      : sizeof(union mt_key);
	const uint32_t words = (uint32_t)bytes / 8; /* as the plan of a table of this kind says */
	union mt_key key;
	for (uint32_t i = 0; i < batch->n; i++) {
		bool has = batch->packets[i].verdict <= MT_VERDICT_LAST_OUTPUT &&
		           make_key(kind, &batch->packets[i], &batch->decode[i], &key);
		hashes[i] = has ? mt_key_hash(s, key.words, words, last_mask) : 0;
	}
}

void mt_key_hashes(enum mt_table_kind kind, struct mt_batch *batch, uint32_t hashes[MT_BATCH_PACKETS])
{
	mt_key_seed();
	if (!batch->decoded)
		mt_batch_decode(batch);
	switch (kind) {
	case MT_TABLE_FLOW:
		hash_all(MT_TABLE_FLOW, batch, hashes);
		break;
	case MT_TABLE_TUPLE:
		hash_all(MT_TABLE_TUPLE, batch, hashes);
		break;
	case MT_TABLE_PAIR:
		hash_all(MT_TABLE_PAIR, batch, hashes);
		break;
	case MT_TABLE_SRC:
		hash_all(MT_TABLE_SRC, batch, hashes);
		break;
	case MT_TABLE_DST:
		hash_all(MT_TABLE_DST, batch, hashes);
		break;
	case MT_TABLE_SPORT:
		hash_all(MT_TABLE_SPORT, batch, hashes);
		break;
	case MT_TABLE_DPORT:
		hash_all(MT_TABLE_DPORT, batch, hashes);
		break;
	case MT_TABLE_PARTS:
		memset(hashes, 0, batch->n * sizeof *hashes);
		break;
	}
}

/* --- order of the ends --------------------------------------------------------------------- */

void mt_key_order(enum mt_table_kind kind, union mt_key *key)
{
	struct mt_key_flow *flow = &key->flow;
	struct mt_key_pair *pair = &key->pair;

	if (kind == MT_TABLE_FLOW &&
	    behind(flow->src_high, flow->src_low, flow->sport, flow->dst_high, flow->dst_low, flow->dport))
		turn_flow(flow);
	else if (kind == MT_TABLE_PAIR &&
	         behind(pair->src_high, pair->src_low, 0, pair->dst_high, pair->dst_low, 0))
		turn_pair(pair);
}

void mt_key_restore(enum mt_table_kind kind, union mt_key *key)
{
	struct mt_key_flow *flow = &key->flow;
	struct mt_key_pair *pair = &key->pair;

	if (kind == MT_TABLE_FLOW && flow->turned)
		turn_flow(flow);
	else if (kind == MT_TABLE_PAIR && pair->turned)
		turn_pair(pair);
}

uint64_t mt_key_last_mask(enum mt_table_kind kind)
{
	uint8_t bytes[8] = {255, 255, 255, 255, 255, 255, 255, 255};
	uint64_t mask;

	if (kind == MT_TABLE_FLOW || kind == MT_TABLE_PAIR)
		bytes[7] = 0;
	memcpy(&mask, bytes, sizeof mask);
	return mask;
}
