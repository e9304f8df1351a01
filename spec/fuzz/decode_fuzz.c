/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_fuzz.c - the decoder on any bytes: it stays inside of them, and what it says fits together.
 *
 * The first byte of the input picks the link type, the rest is the packet.
 */
#include "abi.h"
#include "fuzz.h"

static const uint16_t linktypes[] = {1,   0,   9,   12,  50,  51,  101, 104, 105,
                                     108, 113, 127, 204, 228, 229, 276, 147};

static void check_offset(uint32_t offset, uint32_t caplen)
{
	MT_FUZZ_CHECK(offset == MT_NO_OFFSET || offset <= caplen);
}

static void check(const struct mt_packet *p, const struct mt_decoded *d)
{
	check_offset(d->l3_offset, p->caplen);
	check_offset(d->l4_offset, p->caplen);
	check_offset(d->payload_offset, p->caplen);
	check_offset(d->src_offset, p->caplen);
	if (d->src_offset != MT_NO_OFFSET)
		MT_FUZZ_CHECK((d->address_len == 4 || d->address_len == 16) &&
		              d->src_offset + 2u * d->address_len <= p->caplen);
	if (d->payload_offset != MT_NO_OFFSET)
		MT_FUZZ_CHECK(d->payload_offset + d->payload_len <= p->caplen);
	if (d->bits & MT_HAS_PORTS)
		MT_FUZZ_CHECK(d->l4_offset != MT_NO_OFFSET && d->l4_offset + 4u <= p->caplen);
	MT_FUZZ_CHECK(d->ip_version == 0 || d->l3_offset != MT_NO_OFFSET);
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	struct mt_packet packet = {.data = data + 1};
	struct mt_decoded decoded;

	if (!size)
		return 0;
	packet.linktype = linktypes[data[0] % (sizeof linktypes / sizeof *linktypes)];
	packet.caplen = packet.wirelen = (uint32_t)size - 1;
	mt_decode(&packet, &decoded);
	check(&packet, &decoded);
	return 0;
}
