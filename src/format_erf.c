/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * format_erf.c - Endace's record format: no file header, records of 16 bytes and more.
 *
 * Lengths are big-endian, the time is a little-endian fixed-point number of seconds.  The
 * wire length of a record counts the frame check sequence, ours does not.  Ethernet, PPP
 * and IP records become plain frames; any other kind is handed on whole, as LINKTYPE_ERF.
 */
#include "format.h"

#include <string.h>

enum { HEADER = 16, EXTENSION = 8, ETHERNET_PAD = 2, FCS = 4 };

/* Whether a field has to be swapped on this machine. */
enum { LITTLE = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__, BIG = !LITTLE };

enum {
	TYPE_HDLC_POS = 1,
	TYPE_ETH = 2,
	TYPE_COLOR_HDLC_POS = 10,
	TYPE_COLOR_ETH = 11,
	TYPE_DSM_COLOR_HDLC_POS = 15,
	TYPE_DSM_COLOR_ETH = 16,
	TYPE_COLOR_MC_HDLC_POS = 17,
	TYPE_COLOR_HASH_POS = 19,
	TYPE_COLOR_HASH_ETH = 20,
	TYPE_IPV4 = 22,
	TYPE_IPV6 = 23,
	TYPE_META = 27,
	TYPE_LAST = 29,
	TYPE_PAD = 48
};

enum {
	LINK_ETHERNET = 1,
	LINK_PPP_HDLC = 50,
	LINK_C_HDLC = 104,
	LINK_ERF = 197,
	LINK_IPV4 = 228,
	LINK_IPV6 = 229
};

static const uint16_t linktypes[] = {LINK_ETHERNET, LINK_PPP_HDLC, LINK_C_HDLC, LINK_ERF, LINK_IPV4, LINK_IPV6};
enum { N_LINKTYPES = sizeof linktypes / sizeof *linktypes, PORTS = 4 };

struct erf {
	struct mt_parser base;
	uint32_t ids[PORTS][N_LINKTYPES]; /* interface table index + 1; 0: not seen */
};

static bool is_known(uint8_t type)
{
	return (type >= TYPE_HDLC_POS && type <= TYPE_LAST) || type == TYPE_PAD;
}

/* Extension headers follow while the top bit of the type, then of each of them, is set.
 * Returns the length of all headers; SIZE_MAX if they run out of the len bytes. */
static size_t header_length(const uint8_t *p, size_t len)
{
	size_t at = HEADER;
	bool more = p[8] & 0x80;
	while (more) {
		if (len < at + EXTENSION)
			return SIZE_MAX;
		more = p[at] & 0x80;
		at += EXTENSION;
	}
	return at;
}

static bool is_plausible(const uint8_t *p, size_t avail)
{
	size_t rlen = mt_load16(p + 10, BIG);
	uint8_t type = p[8] & 0x7f;
	if (!is_known(type) || rlen < HEADER)
		return false;
	size_t header = header_length(p, rlen < avail ? rlen : avail);
	if (header == SIZE_MAX)
		return rlen > avail;
	bool has_data = type != TYPE_META && type != TYPE_PAD;
	return rlen >= header && (!has_data || mt_load16(p + 14, BIG));
}

/* The first records look like ERF: known types, sane lengths, times that go together. */
static bool erf_detect(const uint8_t *p, size_t avail)
{
	uint64_t previous = 0;
	unsigned seen = 0;
	while (avail >= HEADER && seen < 4) {
		uint64_t seconds = mt_load64(p, LITTLE) >> 32;
		if (!is_plausible(p, avail) || seconds < 300000000) /* 1979: there is no older card */
			return false;
		if (seen && (seconds + 60 < previous || seconds > previous + 86400 * 7))
			return false;
		previous = seconds;
		seen++;
		size_t rlen = mt_load16(p + 10, BIG);
		if (rlen > avail)
			break;
		p += rlen;
		avail -= rlen;
	}
	return seen > 0;
}

static bool is_loss_counter(uint8_t type)
{
	switch (type) {
	case TYPE_COLOR_HDLC_POS: /* these use the field for a colour or a hash */
	case TYPE_COLOR_ETH:
	case TYPE_DSM_COLOR_HDLC_POS:
	case TYPE_DSM_COLOR_ETH:
	case TYPE_COLOR_MC_HDLC_POS:
	case TYPE_COLOR_HASH_POS:
	case TYPE_COLOR_HASH_ETH:
		return false;
	default:
		return true;
	}
}

/* Which of linktypes[], and what stands before and after the frame. */
static unsigned classify(uint8_t type, const uint8_t *data, size_t len, unsigned *pad, unsigned *fcs)
{
	*pad = 0;
	*fcs = 0;
	switch (type) {
	case TYPE_ETH:
	case TYPE_COLOR_ETH:
	case TYPE_DSM_COLOR_ETH:
	case TYPE_COLOR_HASH_ETH:
		*pad = ETHERNET_PAD;
		*fcs = FCS;
		return 0;
	case TYPE_HDLC_POS:
	case TYPE_COLOR_HDLC_POS:
	case TYPE_DSM_COLOR_HDLC_POS:
	case TYPE_COLOR_HASH_POS:
		*fcs = FCS;
		return len >= 2 && data[0] == 0xff && data[1] == 0x03 ? 1 : 2;
	case TYPE_IPV4:
		return 4;
	case TYPE_IPV6:
		return 5;
	default:
		return 3;
	}
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Fixed point to the nearest nanosecond. */
static int64_t erf_time(const uint8_t *p)
{
	uint64_t t = mt_load64(p, LITTLE);
	return (int64_t)((t >> 32) * 1000000000 + (((t & 0xffffffff) * 1000000000 + 0x80000000) >> 32));
}

static int packet_iface(struct erf *f, uint8_t port, unsigned kind, uint32_t *id, struct mt_err *err)
{
	uint32_t *slot = &f->ids[port][kind];
	if (!*slot) {
		struct mt_iface *iface =
		        mt_parser_add_iface(&f->base, port, linktypes[kind], 0, NULL, NULL, err);
		if (!iface)
			return -1;
		*slot = iface->id + 1;
	}
	*id = *slot - 1;
	return 0;
}

/* Each record names its own link type: look ahead for the first, so that it is known when
 * the source is open. */
static int name_first(struct erf *f, const uint8_t *p, size_t avail, struct mt_err *err)
{
	while (avail >= HEADER && is_plausible(p, avail)) {
		size_t rlen = mt_load16(p + 10, BIG), header = header_length(p, rlen);
		uint8_t type = p[8] & 0x7f;
		if (rlen > avail || header == SIZE_MAX)
			return 0;
		if (type != TYPE_META && type != TYPE_PAD) {
			unsigned pad, fcs, kind = classify(type, p + header, rlen - header, &pad, &fcs);
			uint32_t id;
			return packet_iface(f, p[9] & 3, kind, &id, err);
		}
		p += rlen;
		avail -= rlen;
	}
	return 0;
}

static enum mt_parse erf_header(struct mt_parser *base, const uint8_t *p, size_t avail, bool at_end,
                                size_t *used, size_t *want, struct mt_err *err)
{
	*used = 0;
	if (avail < HEADER && !at_end) {
		*want = HEADER;
		return MT_PARSE_MORE;
	}
	if (avail && avail < HEADER)
		return mt_err_set(err, "no valid ERF record: the file ends after %zu of 16 bytes", avail);
	if (avail && !is_plausible(p, avail))
		return mt_err_set(err, "no valid ERF record: type %u, record length %u, wire length %u",
		                  p[8] & 0x7f, mt_load16(p + 10, BIG), mt_load16(p + 14, BIG));
	return name_first((struct erf *)base, p, avail, err) ? MT_PARSE_ERROR : MT_PARSE_OK;
}

/* A whole record of rlen bytes at p, headers of `header` bytes.  1 a packet, 0 none, -1. */
static int parse_record(struct erf *f, const uint8_t *p, size_t rlen, size_t header, struct mt_packet *out,
                        struct mt_err *err)
{
	const unsigned long long number = f->base.packets + 1;
	uint8_t type = p[8] & 0x7f;
	uint32_t wlen = mt_load16(p + 14, BIG);
	unsigned pad, fcs;
	unsigned kind = classify(type, p + header, rlen - header, &pad, &fcs);
	if (rlen < header + pad)
		return mt_err_set(err, "packet %llu: ERF record length %zu, expected at least %zu", number,
		                  rlen, header + pad);
	*out = (struct mt_packet){.ts_ns = erf_time(p), .linktype = linktypes[kind]};
	if (packet_iface(f, p[9] & 3, kind, &out->iface, err))
		return -1;
	if (linktypes[kind] == LINK_ERF) {
		out->data = p;
		out->caplen = (uint32_t)rlen;
		out->wirelen = (uint32_t)header + wlen;
		if (out->wirelen < out->caplen)
			out->wirelen = out->caplen;
	} else {
		out->data = p + header + pad;
		out->wirelen = wlen > fcs ? wlen - fcs : 0;
		out->caplen = min_u32((uint32_t)(rlen - header - pad), out->wirelen);
	}
	if (is_loss_counter(type) && mt_parser_add_loss(&f->base, out->iface, mt_load16(p + 12, BIG), err))
		return -1;
	f->base.packets++;
	return 1;
}

/* Check the record at p before it is trusted. */
static enum mt_parse check_record(const struct erf *f, const uint8_t *p, size_t left, bool at_end, size_t *rlen,
                                  size_t *header, size_t *want, struct mt_err *err)
{
	const unsigned long long number = f->base.packets + 1;
	*want = HEADER;
	if (left < HEADER) {
		if (at_end && !left)
			*want = 0;
		else if (at_end)
			return mt_err_set(err,
			                  "packet %llu: cut short, the file ends after %zu of 16 header bytes",
			                  number, left);
		return MT_PARSE_MORE;
	}
	*rlen = mt_load16(p + 10, BIG);
	if (*rlen < HEADER)
		return mt_err_set(err, "packet %llu: ERF record length %zu, expected at least 16", number,
		                  *rlen);
	if (!is_known(p[8] & 0x7f))
		return mt_err_set(err, "packet %llu: unknown ERF record type %u", number, p[8] & 0x7f);
	*want = *rlen;
	if (left < *rlen) {
		if (at_end)
			return mt_err_set(err,
			                  "packet %llu: cut short, the file ends after %zu of %zu record bytes",
			                  number, left, *rlen);
		return MT_PARSE_MORE;
	}
	*header = header_length(p, *rlen);
	if (*header == SIZE_MAX)
		return mt_err_set(err, "packet %llu: ERF extension headers exceed the record length %zu",
		                  number, *rlen);
	return MT_PARSE_OK;
}

static enum mt_parse erf_parse(struct mt_parser *base, const uint8_t *p, size_t avail, bool at_end,
                               struct mt_packet *out, unsigned max, unsigned *n, size_t *used, size_t *want,
                               struct mt_err *err)
{
	struct erf *f = (struct erf *)base;
	size_t at = 0, rlen = 0, header = 0;
	enum mt_parse result;
	*n = 0;
	while ((result = check_record(f, p + at, avail - at, at_end, &rlen, &header, want, err)) ==
	       MT_PARSE_OK) {
		uint8_t type = p[at + 8] & 0x7f;
		if (type != TYPE_META && type != TYPE_PAD) {
			if (*n == max)
				break;
			if (parse_record(f, p + at, rlen, header, &out[*n], err) < 0) {
				result = MT_PARSE_ERROR;
				break;
			}
			++*n;
		}
		at += rlen;
	}
	*used = at;
	return result;
}

const struct mt_parser_ops mt_parser_erf = {
        .name = "ERF",
        .size = sizeof(struct erf),
        .detect = erf_detect,
        .header = erf_header,
        .parse = erf_parse,
};
