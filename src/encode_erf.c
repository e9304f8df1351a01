/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * encode_erf.c - Endace's record format: 16 bytes of header, then the frame; no file header.
 *
 * Lengths in a record have 16 bits: longer data is cut, longer wire lengths become 65535.
 * The wire length counts the frame check sequence of Ethernet and HDLC, which ours does not.
 */
#include <string.h>

#include "encode.h"

enum { HEADER = 16, ETHERNET_PAD = 2, FCS = 4, LENGTH_MAX = 65535 };
enum { TYPE_HDLC_POS = 1, TYPE_ETH = 2, TYPE_IPV4 = 22, TYPE_IPV6 = 23, TYPE_AS_IS = 0xff, TYPE_NONE = 0xfe };
enum { FLAG_VARYING = 4 };

static uint8_t type_of(const struct mt_packet *p)
{
	switch (p->linktype) {
	case 1:
		return TYPE_ETH;
	case 9:
	case 50:
	case 104:
		return TYPE_HDLC_POS;
	case 228:
		return TYPE_IPV4;
	case 229:
		return TYPE_IPV6;
	case 101:
		if (p->caplen && p->data[0] >> 4 == 4)
			return TYPE_IPV4;
		return p->caplen && p->data[0] >> 4 == 6 ? TYPE_IPV6 : TYPE_NONE;
	case 197:
		return p->caplen >= HEADER ? TYPE_AS_IS : TYPE_NONE;
	default:
		return TYPE_NONE;
	}
}

static void put_be16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Little-endian fixed point, rounded up: reading it back gives the same nanosecond, whether
 * the reader rounds or cuts. */
static void put_time(uint8_t *p, int64_t ts_ns)
{
	uint64_t sec = (uint64_t)ts_ns / 1000000000, ns = (uint64_t)ts_ns % 1000000000;
	uint64_t t = sec << 32 | (((ns << 32) + 999999999) / 1000000000);
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(t >> 8 * i);
}

static size_t frame_offset(uint8_t type)
{
	return type == TYPE_AS_IS ? 0 : type == TYPE_ETH ? HEADER + ETHERNET_PAD : HEADER;
}

/* Bytes of the frame that fit. */
static uint32_t frame_bytes(const struct mt_encoder *e, const struct mt_packet *p, uint8_t type)
{
	uint32_t caplen = mt_encode_caplen(e, p), most = LENGTH_MAX - (uint32_t)frame_offset(type);
	if (type == TYPE_AS_IS && caplen < HEADER)
		caplen = HEADER; /* a cut leaves the record its header */
	return caplen < most ? caplen : most;
}

static void put_record(uint8_t *out, const struct mt_encoder *e, const struct mt_packet *p, uint8_t type,
                       uint32_t caplen)
{
	size_t offset = frame_offset(type);
	if (type == TYPE_AS_IS) {
		memcpy(out, p->data, caplen);
		put_be16(out + 10, caplen);
		return;
	}
	size_t wlen = (size_t)p->wirelen + (type == TYPE_ETH || type == TYPE_HDLC_POS ? FCS : 0);
	put_time(out, p->ts_ns);
	out[8] = type;
	out[9] = FLAG_VARYING | (e->ifaces ? mt_ifaces_get(e->ifaces, p->iface)->number & 3 : 0);
	put_be16(out + 10, offset + caplen);
	put_be16(out + 12, 0); /* packets lost before this one */
	put_be16(out + 14, wlen < LENGTH_MAX ? wlen : LENGTH_MAX);
	memset(out + HEADER, 0, offset - HEADER);
	memcpy(out + offset, p->data, caplen);
}

static enum mt_refusal erf_check(const struct mt_encoder *e, const struct mt_packet *p)
{
	(void)e;
	if (type_of(p) == TYPE_NONE)
		return p->linktype == 101 || p->linktype == 197 ? MT_REFUSED_RECORD : MT_REFUSED_LINKTYPE;
	return (uint64_t)p->ts_ns / 1000000000 > UINT32_MAX ? MT_REFUSED_TIME : MT_REFUSALS;
}

static enum mt_encode_stop erf_encode(struct mt_encoder *e, struct mt_packet *packets, uint32_t n,
                                      uint32_t *index, uint8_t verdict)
{
	struct mt_segment_view v = *e->view;
	enum mt_encode_stop stop = MT_STOP_END;
	const int64_t last_ns = mt_encoder_last_ns(e);
	uint32_t i = *index;
	for (; i < n; i++) {
		struct mt_packet *p = &packets[i];
		if (p->ts_ns > last_ns) {
			stop = MT_STOP_TIME;
			break;
		}
		if (p->verdict != verdict)
			continue;
		enum mt_refusal why = erf_check(e, p);
		if (why != MT_REFUSALS) {
			mt_encoder_refuse(e, p, why);
			continue;
		}
		uint8_t type = type_of(p);
		uint32_t caplen = frame_bytes(e, p, type);
		size_t record = frame_offset(type) + caplen;
		stop = mt_encode_room(e, &v, e->block->used, record);
		if (stop != MT_STOP_END)
			break;
		put_record(e->block->data + e->block->used, e, p, type, caplen);
		e->block->used += record;
		mt_encode_count(&v, p, caplen, record);
		if (p->linktype != e->last_linktype || !e->any_linktype)
			mt_encoder_saw(e, p->linktype);
	}
	*e->view = v;
	*index = i;
	return stop;
}

static int erf_begin(struct mt_encoder *e)
{
	e->begun = true;
	return 0;
}

static int erf_end(struct mt_encoder *e)
{
	(void)e;
	return 0;
}

static size_t erf_record_size(const struct mt_encoder *e, const struct mt_packet *p)
{
	uint8_t type = type_of(p);
	return frame_offset(type) + frame_bytes(e, p, type);
}

static size_t erf_whole(const uint8_t *data, size_t len, bool first, uint64_t *packets)
{
	size_t at = 0;
	(void)first;
	*packets = 0;
	while (len - at >= HEADER) {
		size_t record = (size_t)data[at + 10] << 8 | data[at + 11];
		if (record < HEADER || record > len - at)
			break;
		at += record;
		++*packets;
	}
	return at;
}

const struct mt_encoder_ops mt_encode_erf = {
        .format = MT_FORMAT_ERF,
        .begin = erf_begin,
        .encode = erf_encode,
        .end = erf_end,
        .check = erf_check,
        .record_size = erf_record_size,
        .whole = erf_whole,
};
