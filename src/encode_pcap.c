/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * encode_pcap.c - classic pcap files, microseconds or nanoseconds, in this machine's byte order.
 *
 * The loop in pcap_encode is the hottest of the output side: up to 30 million packets a
 * second.  The link type of the header comes from the configuration, or from the first
 * packet; then the header waits for that packet.
 */
#include <string.h>

#include "encode.h"

enum { FILE_HEADER = 24, RECORD_HEADER = 16 };

struct record_header {
	uint32_t sec, fraction, caplen, wirelen;
};

/* The file header for e->linktype goes to the start of the (empty) block. */
static void put_header(struct mt_encoder *e)
{
	uint32_t snaplen = e->config->snaplen ? e->config->snaplen : MT_MAX_CAPLEN;
	uint32_t header[6] = {e->config->microseconds ? 0xa1b2c3d4 : 0xa1b23c4d, 0, 0, 0, snaplen, e->linktype};
	uint16_t version[2] = {2, 4};
	memcpy(&header[1], version, sizeof version);
	memcpy(e->block->data + e->block->used, header, FILE_HEADER);
	e->block->used += FILE_HEADER;
	e->view->bytes += FILE_HEADER;
	e->begun = true;
	mt_encoder_saw(e, e->linktype);
}

static int pcap_begin(struct mt_encoder *e)
{
	e->begun = false;
	if (mt_block_reserve(e->block, FILE_HEADER))
		return -1;
	if (e->linktype != 0xffff)
		put_header(e);
	return 0;
}

static int pcap_end(struct mt_encoder *e)
{
	if (e->begun)
		return 0;
	e->linktype = 1; /* nothing ever came: an empty file of Ethernet */
	return pcap_begin(e);
}

static inline enum mt_refusal check_time(const struct mt_encoder *e, const struct mt_packet *p)
{
	if (e->config->refuse_finer && p->ts_ns % 1000)
		return MT_REFUSED_DIGITS;
	/* a negative time is a huge number of seconds here */
	return (uint64_t)p->ts_ns / 1000000000 > UINT32_MAX ? MT_REFUSED_TIME : MT_REFUSALS;
}

static inline enum mt_refusal check(const struct mt_encoder *e, const struct mt_packet *p)
{
	if (p->linktype != e->linktype && e->linktype != 0xffff)
		return MT_REFUSED_LINKTYPE;
	return check_time(e, p);
}

static enum mt_refusal pcap_check(const struct mt_encoder *e, const struct mt_packet *p)
{
	return check(e, p);
}

static inline void put_record(uint8_t *out, const struct mt_packet *p, uint32_t caplen, bool microseconds)
{
	uint64_t ns = (uint64_t)p->ts_ns;
	uint32_t fraction = (uint32_t)(ns % 1000000000);
	struct record_header header = {(uint32_t)(ns / 1000000000), microseconds ? fraction / 1000 : fraction,
	                               caplen, p->wirelen};
	memcpy(out, &header, RECORD_HEADER);
	memcpy(out + RECORD_HEADER, p->data, caplen);
}

static enum mt_encode_stop pcap_encode(struct mt_encoder *e, struct mt_packet *packets, uint32_t n,
                                       uint32_t *index, uint8_t verdict)
{
	struct mt_segment_view v = *e->view;
	struct mt_block *block = e->block;
	const bool microseconds = e->config->microseconds;
	const int64_t last_ns = mt_encoder_last_ns(e);
	enum mt_encode_stop stop = MT_STOP_END;
	size_t used = block->used;
	uint32_t i = *index;
	for (; i < n; i++) {
		struct mt_packet *p = &packets[i];
		if (p->ts_ns > last_ns) {
			stop = MT_STOP_TIME;
			break;
		}
		if (p->verdict != verdict)
			continue;
		enum mt_refusal why = check(e, p);
		if (why != MT_REFUSALS) {
			mt_encoder_refuse(e, p, why);
			continue;
		}
		if (!e->begun) {
			e->linktype = p->linktype;
			put_header(e);
			v.bytes = e->view->bytes;
			used = block->used;
		}
		uint32_t caplen = mt_encode_caplen(e, p);
		size_t record = RECORD_HEADER + (size_t)caplen;
		stop = mt_encode_room(e, &v, used, record);
		if (stop != MT_STOP_END)
			break;
		put_record(block->data + used, p, caplen, microseconds);
		used += record;
		mt_encode_count(&v, p, caplen, record);
	}
	block->used = used;
	*e->view = v;
	*index = i;
	return stop;
}

static bool pcap_put(const struct mt_encoder *e, const struct mt_packet *p, uint16_t linktype,
                     struct mt_block *block, struct mt_segment_view *view)
{
	uint32_t caplen = mt_encode_caplen(e, p);
	size_t record = RECORD_HEADER + (size_t)caplen;
	if (p->linktype != linktype || record > block->size - block->used || check_time(e, p) != MT_REFUSALS)
		return false;
	put_record(block->data + block->used, p, caplen, e->config->microseconds);
	block->used += record;
	mt_encode_count(view, p, caplen, record);
	return true;
}

static size_t pcap_record_size(const struct mt_encoder *e, const struct mt_packet *p)
{
	return (e->begun ? 0 : FILE_HEADER) + RECORD_HEADER + (size_t)mt_encode_caplen(e, p);
}

static size_t pcap_whole(const uint8_t *data, size_t len, bool first, uint64_t *packets)
{
	*packets = 0;
	size_t at = first ? FILE_HEADER : 0;
	if (len < at)
		return 0;
	while (len - at >= RECORD_HEADER) {
		struct record_header header;
		memcpy(&header, data + at, RECORD_HEADER);
		if (header.caplen > len - at - RECORD_HEADER)
			break;
		at += RECORD_HEADER + (size_t)header.caplen;
		++*packets;
	}
	return at;
}

const struct mt_encoder_ops mt_encode_pcap = {
        .format = MT_FORMAT_PCAP,
        .begin = pcap_begin,
        .encode = pcap_encode,
        .put = pcap_put,
        .end = pcap_end,
        .check = pcap_check,
        .record_size = pcap_record_size,
        .whole = pcap_whole,
};
