/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_fuzz.c - any packet made anonymous: the walk stays inside of its memory, leaves what was read
 * alone, can be undone, gives the same again, changes the addresses it keeps, and what it keeps does not depend
 * on what it cuts.
 *
 * The input: link type, policy, bytes that were not captured, then the packet.
 */
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "anonymize.h"
#include "edit.h"
#include "fuzz.h"

#define KEY "abcdefghijklmnopqrstuvwxyz012345"

enum { HEAD = 3, SEEDS = 64, POLICIES = 8 };

static const uint16_t linktypes[] = {1, 1, 1, 1, 1, 113, 276, 101, 104, 51, 9, 0, 204, 105};

static struct mt_hook_state state;
static struct mt_batch *batch;
static struct mt_anonymizer *anonymizers[POLICIES];

/* Policies: bits 0 and 1 what becomes of the rest, 2 ports, TCP times and vendors. */
static struct mt_anonymizer *get(unsigned i)
{
	i %= POLICIES;
	if (!anonymizers[i]) {
		const struct mt_anonymize_policy policy = {.payload = i % 4 % 3,
		                                           .ports = i / 4,
		                                           .tcp_times = i / 4,
		                                           .mac = i / 4,
		                                           .shift_ns = i,
		                                           .round_ns = i / 2};
		anonymizers[i] = mt_anonymizer_new(KEY, &policy);
	}
	MT_FUZZ_CHECK(anonymizers[i]);
	return anonymizers[i];
}

/* Is it what Crypto-PAn makes of the address, or zeroed? */
static bool is_mapped(const uint8_t *before, const uint8_t *after, unsigned len)
{
	static struct mt_cryptopan *pan;
	static const uint8_t zeros[16];
	struct mt_address address = {.len = len};
	if (!pan)
		pan = mt_cryptopan_new(KEY);
	MT_FUZZ_CHECK(pan);
	memcpy(&address.high, before, len < 8 ? len : 8);
	if (len > 8)
		memcpy(&address.low, before + 8, len - 8);
	mt_cryptopan_map(pan, &address);
	return !memcmp(after, zeros, len) || (!memcmp(after, &address.high, len < 8 ? len : 8) &&
	                                      (len < 16 || !memcmp(after + 8, &address.low, 8)));
}

/* An IPv4 or IPv6 address that was not one of all must be another now. */
static void check_addresses(const struct mt_packet *before, const struct mt_packet *after)
{
	struct mt_decoded d;
	mt_decode(before, &d);
	if (d.src_offset == MT_NO_OFFSET)
		return;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t at = d.src_offset + i * d.address_len;
		const uint8_t *p = before->data + at;
		bool group = d.address_len == 4 ? p[0] >= 224 : p[0] == 0xff || p[0] == 0xfe || p[0] == 0;
		if (at + d.address_len > after->caplen || group || !(p[0] | p[1] | p[2] | p[3]))
			continue;
		MT_FUZZ_CHECK(is_mapped(p, after->data + at, d.address_len));
	}
}

/* The packet, made anonymous, into out; returns what is kept of it. */
static uint32_t run(struct mt_anonymizer *a, const struct mt_packet *packet, uint8_t *out)
{
	batch->n = 1;
	batch->decoded = 0;
	batch->packets[0] = *packet;
	state.batch = batch;
	state.generation++;
	struct mt_packet *p = batch->packets;
	MT_FUZZ_CHECK(mt_anonymize(a, &state, p) == 0);
	uint32_t kept = p->caplen;
	MT_FUZZ_CHECK(kept <= packet->caplen && p->wirelen == packet->wirelen && !p->options_len);
	MT_FUZZ_CHECK(p->caplen + p->cut == packet->caplen + packet->cut);
	memcpy(out, p->data, kept);
	check_addresses(packet, p);
	struct mt_decoded now;
	mt_decode(p, &now);
	MT_FUZZ_CHECK(!memcmp(&now, &batch->decode[0], sizeof now));
	mt_anonymize(a, &state, p); /* again in the same hook, and undone with it */
	MT_FUZZ_CHECK(p->caplen <= kept);
	mt_edit_undo(&state);
	MT_FUZZ_CHECK(p->data == packet->data && p->caplen == packet->caplen && p->ts_ns == packet->ts_ns);
	mt_edits_release(batch);
	return kept;
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	static uint8_t first[MT_FUZZ_MAX], second[MT_FUZZ_MAX];
	if (!batch) {
		batch = calloc(1, sizeof *batch);
		state.edit_pool = mt_edit_pool_new();
		state.script = 1;
	}
	if (size < HEAD || size > MT_FUZZ_MAX)
		return 0;
	uint32_t caplen = (uint32_t)size - HEAD;
	uint8_t *packet = malloc(caplen + MT_DATA_SLACK);
	MT_FUZZ_CHECK(batch && state.edit_pool && packet);
	memcpy(packet, data + HEAD, caplen);
	memset(packet + caplen, 0xee, MT_DATA_SLACK);
	const struct mt_packet p = {.data = packet,
	                            .caplen = caplen,
	                            .wirelen = caplen + data[2],
	                            .linktype = linktypes[data[0] % (sizeof linktypes / sizeof *linktypes)]};
	struct mt_anonymizer *a = get(data[1]);
	uint64_t mpls = a->counts.headers[MT_HEADER_MPLS];
	uint32_t kept = run(a, &p, first);
	MT_FUZZ_CHECK(!memcmp(packet, data + HEAD, caplen));
	MT_FUZZ_CHECK(run(a, &p, second) == kept && !memcmp(first, second, kept));
	/* Whether a pseudowire has a control word is a guess from what is behind. */
	if (a->policy.payload == MT_REST_CUT && a->counts.headers[MT_HEADER_MPLS] == mpls) {
		for (uint32_t i = kept; i < caplen; i++)
			packet[i] = (uint8_t)~packet[i];
		if (run(a, &p, second) == kept)
			MT_FUZZ_CHECK(!memcmp(first, second, kept));
	}
	free(packet);
	return 0;
}

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
#define ETHERNET         "\2\0\0\0\0\2\2\0\0\0\0\1"
#define IPV4(len, proto) "\x45\0\0" len "\0\1\0\0\x40" proto "\0\0\12\0\0\1\12\0\0\2"
#define IPV6(len, proto)                                                                                      \
	"\x60\0\0\0\0" len proto "\x40\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0" \
	"\2"
#define SEED(text)                    \
	{                             \
		sizeof text - 1, text \
	}
	static const struct {
		size_t len;
		const char *text;
	} packets[] = {
	        SEED(ETHERNET "\x08\0" IPV4("\x26", "\x11") "\0\x35\x20\0\0\x12\x12\x34"
	                                                    "0123456789"),
	        SEED(ETHERNET
	             "\x81\0\0\7\x08\0" IPV4("\x38", "\6") "\0\x50\x20\0\0\0\0\1\0\0\0\2\x80\x10\1\0\0\0\0\0"
	                                                   "\2\4\5\xb4\1\1\x08\12\0\0\0\1data"),
	        SEED(ETHERNET "\x08\0" IPV4("\x38", "\1") "\3\3\0\0\0\0\0\0" IPV4(
	                "\x26", "\x11") "\0\x35\x20\0\0\x12\0\0"),
	        SEED(ETHERNET
	             "\x86\xdd" IPV6("\x20", "\x3a") "\x87\0\0\0\0\0\0\0\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\3"
	                                             "\1\1\2\0\0\0\0\1"),
	        SEED(ETHERNET "\x86\xdd" IPV6(
	                "\x18", "\x2b") "\x11\1\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\x35\x20\0\0\x08\0\0"),
	        SEED(ETHERNET "\x08\6\0\1\x08\0\6\4\0\1\2\0\0\0\0\1\12\0\0\1\0\0\0\0\0\0\12\0\0\2"),
	        SEED(ETHERNET
	             "\x08\0" IPV4("\x40", "\x11") "\xc0\0\x12\xb5\0\x2c\0\1\x08\0\0\0\0\0\5\0" ETHERNET
	                                           "\x08\0" IPV4("\x14", "\x3b")),
	        SEED(ETHERNET
	             "\x08\0" IPV4("\x30", "\x2f") "\xb0\0\x08\0\0\0\0\0\0\0\0\1\0\0\0\2" IPV4("\x14", "\x3b")),
	        SEED(ETHERNET "\x08\0" IPV4("\x38", "\x11") "\x08\x68\x08\x68\0\x24\0\0\x34\xff\0\x18\0\0\0\1\0"
	                                                    "\0\0\x85\1\0\0\0" IPV4("\x14", "\x3b")),
	        SEED(ETHERNET "\x88\x47\0\1\1\xff" ETHERNET
	                      "\x08\0" IPV4("\x14", "\x84") "\0\7\0\7\0\0\0\1\0\0\0\0chunk"),
	        SEED(ETHERNET "\x08\0" IPV4("\x1c", "\2") "\x16\0\0\0\xe0\0\0\xfb"),
	};
	const unsigned n = sizeof packets / sizeof *packets;
	if (i >= SEEDS)
		return 0;
	data[0] = 0;
	data[1] = (uint8_t)(i / n);
	data[2] = i & 8 ? 40 : 0;
	memcpy(data + HEAD, packets[i % n].text, packets[i % n].len);
	return HEAD + packets[i % n].len;
}
