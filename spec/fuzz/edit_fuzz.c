/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit_fuzz.c - edits of any packet: they stay inside of its memory, leave what was read alone, can be undone,
 * and checksums that were repaired add up.
 *
 * The input: link type, bytes that were not captured, number of edits, then that many edits of four bytes, then
 * the packet.
 */
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "edit.h"
#include "fuzz.h"

enum { HEAD = 3, EDIT = 4, MAX_EDITS = 16, SEEDS = 64 };

static const uint16_t linktypes[] = {1, 1, 1, 113, 276, 101, 104, 51, 105, 127};

static struct mt_hook_state state;

/* One edit; d: of the outer packet or of the inner one. */
static void edit(struct mt_edit *e, struct mt_decoded *d, const uint8_t *op)
{
	static const char filling[70000];
	uint32_t caplen = e->packet->caplen, value = (uint32_t)op[2] << 8 | op[3];
	uint32_t off = value % (caplen + 2);
	uint64_t address[2] = {value, value};

	switch (op[0] % 16) {
	case 0:
		mt_edit_set_address(e, d, op[1] & 1, address[0], address[1], op[1] & 2 ? 4 : 16);
		break;
	case 1:
		mt_edit_set_mac(e, d, op[1] & 1, value);
		break;
	case 2:
		mt_edit_put(e, d, off, op[1], 1u << op[1] % 3);
		break;
	case 3:
		mt_edit_write(e, d, off, filling, op[1]);
		break;
	case 4:
		mt_edit_set_payload(e, d, filling, op[1] & 1 ? value : value % 100);
		break;
	case 5:
		mt_edit_insert(e, d, off, filling, op[1] == 255 ? 70000 : op[1]);
		break;
	case 6:
		mt_edit_remove(e, d, off, op[1]);
		break;
	case 7:
		mt_edit_push_vlan(e, d, value % 5000, op[1] & 1 ? 0x9100 : 0);
		break;
	case 8:
		mt_edit_pop_vlan(e, d);
		break;
	case 9:
		mt_edit_comment(&state, e->packet, filling, op[1]);
		break;
	case 10:
		mt_edit_set_time(e, value);
		break;
	default:
		mt_edit_set(e, d, op[1] % 24,
		            op[0] & 16   ? value * 65536.0 + op[1]
		            : op[0] & 32 ? value
		                         : op[3]);
	}
}

static uint32_t ones_sum(const uint8_t *p, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void check_checksums(struct mt_edit *e, struct mt_decoded *d)
{
	static uint8_t once[MT_MAX_CAPLEN];
	int32_t result = mt_edit_fix_checksums(e, d);
	uint32_t caplen = e->packet->caplen;

	memcpy(once, e->packet->data, caplen);
	MT_FUZZ_CHECK(mt_edit_fix_checksums(e, d) == result);
	MT_FUZZ_CHECK(!memcmp(once, e->packet->data, caplen));
	mt_decode(e->packet, d);
	if (d->ip_version == 4 && d->src_offset != MT_NO_OFFSET) {
		const uint8_t *ip = e->packet->data + d->l3_offset;
		uint32_t len = (ip[0] & 15) * 4u;
		if (d->l3_offset + len <= caplen)
			MT_FUZZ_CHECK(ones_sum(ip, len) == 0xffff);
	}
}

/* All edits on one packet of the batch. */
static void edit_packet(struct mt_edit *e, struct mt_batch *batch, const uint8_t *ops, unsigned n)
{
	struct mt_packet *p = e->packet;

	for (unsigned i = 0; i < n; i++, ops += EDIT) {
		struct mt_decoded *d = e->decoded;
		if (ops[0] & 64 && e->edits) {
			mt_find_inner(batch, p, d);
			d = batch->inner;
		}
		edit(e, d, ops);
		MT_FUZZ_CHECK(p->caplen <= MT_MAX_CAPLEN && p->caplen <= e->room);
		if (ops[0] & 128)
			mt_edit_fix_checksums(e, d);
		struct mt_decoded now;
		mt_decode(p, &now);
		MT_FUZZ_CHECK(now.l3_offset == e->decoded->l3_offset &&
		              now.payload_len == e->decoded->payload_len && now.sport == e->decoded->sport &&
		              now.vlan == e->decoded->vlan);
		if (e->edits) /* what a copy has lost is not counted */
			MT_FUZZ_CHECK(p->caplen + p->cut == e->before.caplen + e->before.cut);
	}
	check_checksums(e, e->decoded);
}

static void check_undo(struct mt_batch *batch, const struct mt_packet *before)
{
	struct mt_packet *p = batch->packets;

	mt_edit_undo(&state);
	MT_FUZZ_CHECK(p->data == before->data && p->caplen == before->caplen && p->wirelen == before->wirelen);
	MT_FUZZ_CHECK(p->ts_ns == before->ts_ns && p->cut == before->cut && p->flags == before->flags);
	MT_FUZZ_CHECK(p->options == before->options && p->options_len == before->options_len);
}

static void run(struct mt_batch *batch, const uint8_t *ops, unsigned n)
{
	struct mt_packet before = batch->packets[0];

	state.batch = batch;
	state.generation++;
	struct mt_edit *e = mt_edit_begin(&state, batch->packets);
	MT_FUZZ_CHECK(e && mt_edit_begin(&state, batch->packets) == e);
	edit_packet(e, batch, ops, n);
	check_undo(batch, &before);
	struct mt_edit *copy = mt_edit_copy(batch, batch->packets, batch->decode);
	MT_FUZZ_CHECK(copy);
	edit_packet(copy, batch, ops, n);
	mt_edit_free(copy);
	state.generation++;
	e = mt_edit_begin(&state, batch->packets);
	edit_packet(e, batch, ops, n);
	struct mt_packet edited = batch->packets[0];
	state.generation++; /* another hook */
	e = mt_edit_begin(&state, batch->packets);
	edit_packet(e, batch, ops, n);
	check_undo(batch, &edited);
	mt_edits_restore(batch, 0, 1);
	MT_FUZZ_CHECK(!memcmp(&before, batch->packets, sizeof before));
	mt_edits_release(batch);
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	static struct mt_batch *batch;

	if (!batch) {
		batch = calloc(1, sizeof *batch);
		state.edit_pool = mt_edit_pool_new();
		state.script = 1;
	}
	if (size < HEAD)
		return 0;
	unsigned n = data[2] % MAX_EDITS;
	if (size < HEAD + n * EDIT)
		return 0;
	uint32_t caplen = (uint32_t)(size - HEAD - n * EDIT);
	/* as large as a read buffer says it is, so that the sanitizer sees what goes beyond */
	uint8_t *packet = malloc(caplen + MT_DATA_SLACK), *same = malloc(caplen + 1);
	MT_FUZZ_CHECK(batch && state.edit_pool && packet && same);
	memcpy(packet, data + size - caplen, caplen);
	memset(packet + caplen, 0xee, MT_DATA_SLACK);
	memcpy(same, packet, caplen);
	batch->n = 1;
	batch->decoded = 0;
	batch->packets[0] = (struct mt_packet){.data = packet,
	                                       .caplen = caplen,
	                                       .wirelen = caplen + data[1] % 100,
	                                       .linktype = linktypes[data[0] % (sizeof linktypes / 2)]};
	run(batch, data + HEAD, n);
	MT_FUZZ_CHECK(!memcmp(packet, same, caplen));
	free(packet);
	free(same);
	return 0;
}

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	static const char *const packets[] = {
	        "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0\x45\0\0\x26\0\1\0\0\x40\x11\0\0\12\0\0\1\12\0\0\2\0\x35\x20\0\0"
	        "\x12\x12\x34"
	        "0123456789",
	        "\2\0\0\0\0\2\2\0\0\0\0\1\x81\0\0\7\x08\0\x45\0\0\x2c\0\1\0\0\x40\6\0\0\12\0\0\1\12\0\0\2\0\x50"
	        "\x20\0\0\0\0\1"
	        "\0\0\0\2\x50\x10\1\0\0\0\0\0data",
	        "\2\0\0\0\0\2\2\0\0\0\0\1\x86\xdd\x60\0\0\0\0\x15\x3c\x40\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x20"
	        "\1\0\0\0\0\0\0"
	        "\0\0\0\0\0\0\0\2\x3a\0\1\4\0\0\0\0\x80\0\0\0\0\1\0\2hello",
	        "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0\x45\0\0\x5a\0\1\0\0\x40\x11\0\0\12\0\0\1\12\0\0\2\xc0\0\x12\xb5"
	        "\0\x46\0\1"
	        "\x08\0\0\0\0\0\5\0\2\0\0\0\1\2\2\0\0\0\1\1\x08\0\x45\0\0\x28\0\1\0\0\x40\x84\0\0\12\0\0\1\12\0"
	        "\0\2"
	        "\0\7\0\7\0\0\0\1\0\0\0\0"
	        "chunkchunk",
	};
	static const uint8_t sizes[] = {52, 62, 75, 104};
	if (i >= SEEDS)
		return 0;
	unsigned which = i % 4, n = i % 5;
	data[0] = 0;
	data[1] = i & 8 ? 40 : 0;
	data[2] = (uint8_t)n;
	for (unsigned k = 0; k < n * EDIT; k++)
		data[HEAD + k] = (uint8_t)(i * 37 + k * 101);
	memcpy(data + HEAD + n * EDIT, packets[which], sizes[which]);
	return HEAD + n * EDIT + sizes[which];
}
