/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scan.c - see scan.h.  Runs at the speed of the disk, over left-overs of some gigabytes at most.
 */
#include "scan.h"

#include <stdlib.h>
#include <string.h>

#include "format.h"

enum {
	FILE_HEADER = 24,
	RECORD_HEADER = 16,
	ERF_HEADER = 16,
	ERF_LAST = 29, /* the highest record type there is, but for padding */
	ERF_PAD = 48,
	BLOCK_MIN = 12,
	BLOCK_MAX = 16 * 1024 * 1024, /* a longer pcapng block is none of ours */
	EPB_HEADER = 28,
	IDB_HEADER = 16
};
enum { BLOCK_SHB = 0x0a0d0d0a, BLOCK_IDB = 1, BLOCK_EPB = 6 };

void mt_scan_init(struct mt_scan *s, bool named_erf)
{
	memset(s, 0, sizeof *s);
	s->named_erf = named_erf;
	s->first_ns = INT64_MAX;
	s->last_ns = INT64_MIN;
}

void mt_scan_clear(struct mt_scan *s)
{
	free(s->interfaces);
	s->interfaces = NULL;
}

static uint16_t load16(const struct mt_scan *s, const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return s->swap ? __builtin_bswap16(v) : v;
}

static uint32_t load32(const struct mt_scan *s, const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return s->swap ? __builtin_bswap32(v) : v;
}

static void saw(struct mt_scan *s, uint16_t linktype)
{
	s->linktypes[linktype >> 3] |= (uint8_t)(1u << (linktype & 7));
}

static void count(struct mt_scan *s, int64_t ts_ns, uint32_t caplen, uint32_t wirelen)
{
	s->packets++;
	s->captured_bytes += caplen;
	s->wire_bytes += wirelen;
	if (ts_ns < s->first_ns)
		s->first_ns = ts_ns;
	if (ts_ns > s->last_ns)
		s->last_ns = ts_ns;
}

/* --- pcap ------------------------------------------------------------------------------ */

static size_t pcap_header(struct mt_scan *s, const uint8_t *p, size_t len)
{
	if (len < FILE_HEADER)
		return 0;
	s->snaplen = load32(s, p + 16);
	saw(s, (uint16_t)load32(s, p + 20));
	return FILE_HEADER;
}

static size_t pcap_record(struct mt_scan *s, const uint8_t *p, size_t len)
{
	if (len < RECORD_HEADER)
		return 0;
	uint32_t caplen = load32(s, p + 8), fraction = load32(s, p + 4);
	s->bad = caplen > BLOCK_MAX || fraction >= 1000000000;
	if (s->bad || caplen > len - RECORD_HEADER)
		return 0;
	count(s, (int64_t)load32(s, p) * 1000000000 + (int64_t)fraction * (s->microseconds ? 1000 : 1), caplen,
	      load32(s, p + 12));
	return RECORD_HEADER + (size_t)caplen;
}

/* --- pcapng ---------------------------------------------------------------------------- */

static void pcapng_interface(struct mt_scan *s, const uint8_t *p)
{
	uint16_t *list = reallocarray(s->interfaces, s->n_interfaces + 1, sizeof *list);
	if (!list) {
		s->bad = true;
		return;
	}
	s->interfaces = list;
	s->interfaces[s->n_interfaces++] = load16(s, p + 8);
	s->snaplen = load32(s, p + 12);
}

static void pcapng_packet(struct mt_scan *s, const uint8_t *p, uint32_t block)
{
	uint32_t number = load32(s, p + 8), caplen = load32(s, p + 20);
	s->bad = number >= s->n_interfaces || caplen > block - EPB_HEADER - 4;
	if (s->bad)
		return;
	saw(s, s->interfaces[number]);
	count(s, (int64_t)((uint64_t)load32(s, p + 12) << 32 | load32(s, p + 16)), caplen, load32(s, p + 24));
}

static size_t pcapng_block(struct mt_scan *s, const uint8_t *p, size_t len)
{
	if (len < BLOCK_MIN)
		return 0;
	uint32_t type = load32(s, p), block = load32(s, p + 4);
	uint32_t least = type == BLOCK_EPB ? EPB_HEADER + 4 : type == BLOCK_IDB ? IDB_HEADER + 4 : BLOCK_MIN;
	s->bad = block < least || block > BLOCK_MAX || block % 4;
	if (s->bad || block > len)
		return 0;
	s->bad = load32(s, p + block - 4) != block;
	if (!s->bad && type == BLOCK_IDB)
		pcapng_interface(s, p);
	else if (!s->bad && type == BLOCK_EPB)
		pcapng_packet(s, p, block);
	return s->bad ? 0 : block;
}

/* --- ERF ------------------------------------------------------------------------------- */

static size_t erf_record(struct mt_scan *s, const uint8_t *p, size_t len)
{
	if (len < ERF_HEADER)
		return 0;
	size_t record = (size_t)p[10] << 8 | p[11];
	unsigned type = p[8] & 0x7f;
	s->bad = record < ERF_HEADER || !type || (type > ERF_LAST && type != ERF_PAD);
	if (s->bad || record > len)
		return 0;
	uint64_t t = 0;
	for (unsigned i = 0; i < 8; i++)
		t |= (uint64_t)p[i] << 8 * i;
	unsigned before = type == 2 ? 2 : 0, fcs = type <= 2 ? 4 : 0; /* Ethernet, HDLC */
	uint32_t wirelen = (uint32_t)p[14] << 8 | p[15];
	saw(s, type == 2 ? 1 : type == 1 ? 104 : type == 22 ? 228 : type == 23 ? 229 : 197);
	count(s, (int64_t)((t >> 32) * 1000000000 + ((t & UINT32_MAX) * 1000000000 >> 32)),
	      (uint32_t)(record < ERF_HEADER + before ? 0 : record - ERF_HEADER - before),
	      wirelen > fcs ? wirelen - fcs : 0);
	return record;
}

/* --------------------------------------------------------------------------------------- */

/* The format by the first bytes; the file header, if there is one, is taken too. */
static size_t detect(struct mt_scan *s, const uint8_t *p, size_t len)
{
	if (len < ERF_HEADER)
		return 0;
	uint32_t magic = load32(s, p), swapped = __builtin_bswap32(magic);
	if (magic == BLOCK_SHB) {
		s->format = MT_FORMAT_PCAPNG;
		s->swap = load32(s, p + 8) == 0x4d3c2b1a;
		return pcapng_block(s, p, len);
	}
	if (magic == 0xa1b2c3d4 || magic == 0xa1b23c4d || swapped == 0xa1b2c3d4 || swapped == 0xa1b23c4d) {
		s->swap = magic != 0xa1b2c3d4 && magic != 0xa1b23c4d;
		s->microseconds = (s->swap ? swapped : magic) == 0xa1b2c3d4;
		size_t used = pcap_header(s, p, len);
		s->format = used ? MT_FORMAT_PCAP : MT_FORMAT_AUTO;
		s->swap = used && s->swap;
		return used;
	}
	s->format = MT_FORMAT_ERF;
	s->bad = !s->named_erf && !mt_parser_erf.detect(p, len);
	return s->bad ? 0 : erf_record(s, p, len);
}

size_t mt_scan_step(struct mt_scan *s, const uint8_t *data, size_t len)
{
	size_t at = 0, used;
	do {
		const uint8_t *p = data + at;
		size_t left = len - at;
		if (s->bad)
			break;
		used = s->format == MT_FORMAT_AUTO     ? detect(s, p, left)
		       : s->format == MT_FORMAT_PCAP   ? pcap_record(s, p, left)
		       : s->format == MT_FORMAT_PCAPNG ? pcapng_block(s, p, left)
		                                       : erf_record(s, p, left);
		at += used;
	} while (used);
	return at;
}
