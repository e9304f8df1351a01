/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_fuzz.c - the decoder on any bytes: it stays inside of them, and what it says fits together.
 *
 * The first byte of the input picks the link type, the rest is the packet.  The inputs to begin with are
 * headers in random order, each announcing the next one rightly, so that tunnels in tunnels are reached.
 */
#include <string.h>

#include "abi.h"
#include "fuzz.h"

static const uint16_t linktypes[] = {1,   0,   9,   10,  12,  50,  51,  101, 104, 105,
                                     108, 113, 127, 204, 228, 229, 239, 242, 276, 147};

enum { SEEDS = 400 };

/* Where a header may stand: behind one that announces this. */
enum place { ETHERNET, IP, IN_IPV4, IN_IPV6, PPP, MPLS, END };

struct header {
	enum place place, next;
	uint8_t size;
	const char *bytes;
};

#define ADDRESSES   "\2\0\0\0\0\2\2\0\0\0\0\1"
#define IPV4(proto) "\x45\0\0\0\0\1\0\0\x40" proto "\0\0\12\0\0\1\12\0\0\2" /* a length of 0: all there is */
#define IPV6(proto) \
	"\x60\0\0\0\0\0" proto "\x40\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\2"
#define UDP(port) "\xc0\1" port "\xff\xff\0\0"
#define HEADER(place, next, text)                   \
	{                                           \
		place, next, sizeof(text) - 1, text \
	}

/* clang-format off */
static const struct header headers[] = {
        HEADER(ETHERNET, IP, ADDRESSES "\x08\0"),
        HEADER(ETHERNET, IP, ADDRESSES "\x81\0\x60\1\x08\0"),
        HEADER(ETHERNET, IP, ADDRESSES "\x88\xa8\0\2\x81\0\0\1\x86\xdd"),
        HEADER(ETHERNET, IP, ADDRESSES "\0\x40\xaa\xaa\3\0\0\0\x08\0"),
        HEADER(ETHERNET, MPLS, ADDRESSES "\x88\x47"),
        HEADER(ETHERNET, PPP, ADDRESSES "\x88\x64\x11\0\0\1\0\x40"),
        HEADER(ETHERNET, ETHERNET, ADDRESSES "\x88\xe7\0\0\0\1"),
        HEADER(ETHERNET, ETHERNET, ADDRESSES "\x89\x4f\0\2\2\3\0\0\1\xff"),
        HEADER(ETHERNET, END, ADDRESSES "\x08\6\0\1\x08\0\6\4\0\1" ADDRESSES ADDRESSES),
        HEADER(MPLS, MPLS, "\0\1\0\x40"),
        HEADER(MPLS, IP, "\0\1\1\x40"),
        HEADER(MPLS, ETHERNET, "\0\1\1\x40\0\0\0\0"),
        HEADER(PPP, IP, "\0\x21"),
        HEADER(PPP, IP, "\xff\3\x57"),
        HEADER(PPP, MPLS, "\2\x81"),
        HEADER(IP, IP, IPV4("\4")),
        HEADER(IP, IP, IPV4("\x29")),
        HEADER(IP, IP, IPV6("\4")),
        HEADER(IP, IP, IPV6("\x3c") "\x29\0\1\4\0\0\0\0"),
        HEADER(IP, IN_IPV6, IPV6("\0") "\x2c\0\1\4\0\0\0\0\x11\0\0\1\0\0\0\1"),
        HEADER(IP, IN_IPV4, IPV4("\x11")),
        HEADER(IP, IN_IPV6, IPV6("\x11")),
        HEADER(IP, END, IPV4("\6") "\0\x50\xc0\1\0\0\0\1\0\0\0\2\x60\x12\1\0\0\0\0\0\2\4\5\xb4" "payload"),
        HEADER(IP, END, IPV4("\1") "\x08\0\0\0\0\1\0\2" "payload"),
        HEADER(IP, END, IPV6("\x3a") "\x80\0\0\0\0\1\0\2" "payload"),
        HEADER(IP, END, IPV4("\x84") "\0\1\0\2\0\0\0\0\0\0\0\0" "payload"),
        HEADER(IP, IP, IPV4("\x33") "\4\4\0\0\0\0\0\1\0\0\0\1hhhhhhhhhhhh"),
        HEADER(IP, ETHERNET, IPV4("\x61") "\x30\0"),
        HEADER(IP, ETHERNET, IPV6("\x8f")),
        HEADER(IP, MPLS, IPV4("\x89")),
        HEADER(IP, IP, IPV4("\x2f") "\xb0\0\x08\0\0\0\0\0\0\0\0\1\0\0\0\2"),
        HEADER(IP, IP, IPV4("\x2f") "\x40\0\x86\xdd\0\0\0\0\x08\0\0\4\12\0\0\1\0\0\0\0"),
        HEADER(IP, ETHERNET, IPV6("\x2f") "\x20\0\x65\x58\0\0\0\1"),
        HEADER(IP, ETHERNET, IPV4("\x2f") "\x10\0\x88\xbe\0\0\0\1\x10\0\0\1\0\0\0\0"),
        HEADER(IP, ETHERNET, IPV4("\x2f") "\x10\0\x22\xeb\0\0\0\1\x20\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0"),
        HEADER(IP, MPLS, IPV4("\x2f") "\0\0\x88\x47"),
        HEADER(IP, PPP, IPV4("\x2f") "\x30\x81\x88\x0b\1\0\0\1\0\0\0\1\0\0\0\1"),
        HEADER(IN_IPV4, ETHERNET, UDP("\x12\xb5") "\x08\0\0\0\0\0\1\0"),
        HEADER(IN_IPV6, ETHERNET, UDP("\x21\x18") "\x88\0\0\0\0\0\1\0"),
        HEADER(IN_IPV4, IP, UDP("\x12\xb6") "\x0c\0\0\1\0\0\1\0"),
        HEADER(IN_IPV4, ETHERNET, UDP("\x12\xb6") "\x0c\0\0\4\0\0\1\0\0\2\2\3\0\0\1\xff"),
        HEADER(IN_IPV6, ETHERNET, UDP("\x17\xc1") "\2\0\x65\x58\0\0\1\0\1\2\3\1\0\0\0\0"),
        HEADER(IN_IPV4, IP, UDP("\x08\x68") "\x34\xff\0\0\0\0\0\1\0\0\0\x85\1\x10\5\0"),
        HEADER(IN_IPV4, IP, UDP("\x0d\x3a") "\x1e\xff\0\0\0\1\0\2\xff\xff\xff\xff\0\0\0\0\0\0\0\1"),
        HEADER(IN_IPV4, PPP, UDP("\6\xa5") "\x4a\2\0\0\0\1\0\2\0\0\0\0\0\2pp\xff\3"),
        HEADER(IN_IPV4, IP, UDP("\x0d\xd8") "\0\1\0\0nnnnnnnn\0\0\0\1\2\12\0\0\1"),
        HEADER(IN_IPV6, IP, UDP("\x10\xf5") "\0\0\0\0\0\0\0\0"),
        HEADER(IN_IPV4, MPLS, UDP("\x19\xeb")),
        HEADER(IN_IPV4, END, UDP("\0\x35") "payload"),
        HEADER(IN_IPV6, END, UDP("\0\x35") "payload")};
/* clang-format on */

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	uint64_t random = i + 1;
	enum place place = i % 8 ? ETHERNET : IP;
	size_t size = 1;

	if (i == SEEDS)
		return 0;
	data[0] = place == IP ? 7 : 0; /* raw IP, Ethernet */
	while (place != END) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		const struct header *h = &headers[(random >> 33) % (sizeof headers / sizeof *headers)];
		if (h->place != place)
			continue;
		if (size + h->size > MT_FUZZ_MAX)
			break;
		memcpy(data + size, h->bytes, h->size);
		size += h->size;
		place = h->next;
	}
	return size;
}

static void check_offset(uint32_t offset, uint32_t caplen)
{
	MT_FUZZ_CHECK(offset == MT_NO_OFFSET || offset <= caplen);
}

static void check(const struct mt_packet *p, const struct mt_decoded *d)
{
	check_offset(d->l2_offset, p->caplen);
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
	if (d->bits & (MT_HAS_VLAN | MT_HAS_MPLS))
		MT_FUZZ_CHECK(d->tag_offset && d->tag_offset + 2u <= p->caplen);
	MT_FUZZ_CHECK(d->ip_version == 0 || d->l3_offset != MT_NO_OFFSET);
}

/* What takes a walk of its own. */
static void check_fields(const struct mt_packet *p, const struct mt_decoded *d)
{
	MT_FUZZ_CHECK(mt_fragment_place(p, d) < 1 << 14);
	MT_FUZZ_CHECK(d->bits & MT_IS_FRAGMENT || mt_fragment_place(p, d) == 0);
	MT_FUZZ_CHECK(mt_mpls_label(p, d) < 1 << 20);
	mt_fragment_id(p, d);
	mt_tunnel_id(p, d);
}

static uint16_t moved(uint16_t offset, int by)
{
	return offset == MT_NO_OFFSET ? offset : (uint16_t)(offset + by);
}

/* The short path for plain Ethernet says what the long one says about the IP packet alone. */
static void check_short_path(const struct mt_packet *p, const struct mt_decoded *d)
{
	struct mt_packet ip = *p;
	struct mt_decoded expected;

	if (p->linktype != 1 || d->bits & MT_HAS_VLAN || d->l3_offset != 14 || !d->ip_version ||
	    p->caplen > 60000)
		return;
	if (d->ethertype != 0x0800 && d->ethertype != 0x86dd)
		return;
	ip.data += 14;
	ip.caplen -= 14;
	ip.linktype = 101;
	mt_decode(&ip, &expected);
	expected.l2_offset = 0;
	expected.ethertype = d->ethertype;
	expected.l3_offset = 14;
	expected.l4_offset = moved(expected.l4_offset, 14);
	expected.src_offset = moved(expected.src_offset, 14);
	expected.payload_offset = moved(expected.payload_offset, 14);
	MT_FUZZ_CHECK(!memcmp(&expected, d, sizeof expected));
}

static void check_inner(struct mt_batch *batch)
{
	struct mt_packet *p = &batch->packets[0];
	struct mt_decoded *outer = &batch->decode[0], *inner = &batch->inner[0], twin, other = *outer;

	mt_find_inner(batch, p, outer);
	MT_FUZZ_CHECK(outer->inner == MT_INNER_FOUND || outer->inner == MT_INNER_NONE);
	MT_FUZZ_CHECK(outer->inner == MT_INNER_NONE || outer->tunnel != MT_TUNNEL_NONE);
	MT_FUZZ_CHECK(inner->inner == MT_INNER_THIS && batch->tunnel_id[0] == mt_tunnel_id(p, outer));
	check(p, inner);
	check_fields(p, inner);
	MT_FUZZ_CHECK(mt_decode_inner(p, &other, &twin) == (outer->inner == MT_INNER_FOUND));
	MT_FUZZ_CHECK(other.tunnel == outer->tunnel);
	MT_FUZZ_CHECK(outer->inner == MT_INNER_NONE || !memcmp(&twin, inner, sizeof twin));
	p->caplen -= p->caplen / 3;
	mt_decode_again(batch, p, inner);
	check(p, outer);
	check(p, inner);
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	static struct mt_batch batch;
	struct mt_packet *p = &batch.packets[0];

	if (!size)
		return 0;
	*p = (struct mt_packet){.data = data + 1,
	                        .linktype = linktypes[data[0] % (sizeof linktypes / sizeof *linktypes)],
	                        .caplen = (uint32_t)size - 1,
	                        .wirelen = (uint32_t)size - 1};
	batch.n = 1;
	mt_batch_decode(&batch);
	check(p, &batch.decode[0]);
	check_fields(p, &batch.decode[0]);
	check_short_path(p, &batch.decode[0]);
	check_inner(&batch);
	return 0;
}
