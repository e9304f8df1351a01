/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * format_pcap.c - the classic capture file: a 24-byte header, then records.
 *
 * The loop over records is the hottest of the whole program (tens of millions of packets a
 * second), so it is compiled once for each byte order and time unit, with no call and no
 * division in it.  Rare variants (the 24-byte record headers of patched libpcap, files from
 * before 1998 with swapped lengths) share one slow copy.
 */
#include "format.h"

#include <string.h>

enum { FILE_HEADER = 24, RECORD_HEADER = 16, MODIFIED_HEADER = 24 };

enum {
	MAGIC_MICROSECONDS = 0xa1b2c3d4,
	MAGIC_NANOSECONDS = 0xa1b23c4d,
	MAGIC_MODIFIED = 0xa1b2cd34 /* records carry interface, protocol and packet type */
};

struct pcap {
	struct mt_parser base;
	bool swap, nanoseconds, modified;
	uint8_t lengths; /* 0: captured length first; 1: second; 2: the smaller one is it */
	uint32_t iface;
	uint16_t linktype;
};

static bool known_magic(uint32_t magic)
{
	return magic == MAGIC_MICROSECONDS || magic == MAGIC_NANOSECONDS || magic == MAGIC_MODIFIED;
}

static bool pcap_detect(const uint8_t *p, size_t avail)
{
	return avail >= 4 && (known_magic(mt_load32(p, false)) || known_magic(mt_load32(p, true)));
}

static int check_version(struct pcap *f, uint16_t major, uint16_t minor, struct mt_err *err)
{
	if (major != 2 && major != 543)
		return mt_err_set(err, "no valid pcap header: version %u.%u, expected 2.x", major, minor);
	if (major == 2 && minor < 3)
		f->lengths = 1;
	else if (major == 2 && minor == 3)
		f->lengths = 2;
	return 0;
}

static enum mt_parse pcap_header(struct mt_parser *base, const uint8_t *p, size_t avail, bool at_end,
                                 size_t *used, size_t *want, struct mt_err *err)
{
	struct pcap *f = (struct pcap *)base;
	if (avail < FILE_HEADER) {
		*want = FILE_HEADER;
		if (at_end)
			return mt_err_set(err, "no valid pcap header: the file ends after %zu of 24 bytes",
			                  avail);
		return MT_PARSE_MORE;
	}
	uint32_t magic = mt_load32(p, false);
	f->swap = !known_magic(magic);
	magic = mt_load32(p, f->swap);
	if (!known_magic(magic))
		return mt_err_set(err, "no valid pcap header: it starts with %02x%02x%02x%02x", p[0], p[1],
		                  p[2], p[3]);
	f->nanoseconds = magic == MAGIC_NANOSECONDS;
	f->modified = magic == MAGIC_MODIFIED;
	base->microseconds = !f->nanoseconds;
	if (check_version(f, mt_load16(p + 4, f->swap), mt_load16(p + 6, f->swap), err))
		return MT_PARSE_ERROR;
	/* The upper bits are reserved, or say how long a frame check sequence is. */
	f->linktype = mt_parser_linktype(mt_load32(p + 20, f->swap));
	uint32_t snaplen = mt_load32(p + 16, f->swap);
	struct mt_iface *iface = mt_parser_add_iface(base, 0, f->linktype, snaplen, NULL, NULL, err);
	if (!iface)
		return MT_PARSE_ERROR;
	f->iface = iface->id;
	*used = FILE_HEADER;
	return MT_PARSE_OK;
}

/* The hot loop: stops at max packets, at a record that is not whole, or at one that lies. */
static inline __attribute__((always_inline)) unsigned parse_records(const struct pcap *f, const uint8_t *p,
                                                                    const uint8_t *end, struct mt_packet *out,
                                                                    unsigned max, const uint8_t **stop,
                                                                    const bool swap, const unsigned unit)
{
	const uint32_t iface = f->iface;
	const uint16_t linktype = f->linktype;
	unsigned n = 0;
	while (n < max && end - p >= RECORD_HEADER) {
		uint32_t caplen = mt_load32(p + 8, swap);
		if (caplen > MT_MAX_CAPLEN || end - p - RECORD_HEADER < (ptrdiff_t)caplen)
			break;
		out[n] = (struct mt_packet){
		        .ts_ns = (int64_t)mt_load32(p, swap) * 1000000000 +
		                 (int64_t)mt_load32(p + 4, swap) * unit,
		        .data = p + RECORD_HEADER,
		        .caplen = caplen,
		        .wirelen = mt_load32(p + 12, swap),
		        .iface = iface,
		        .linktype = linktype,
		};
		n++;
		p += RECORD_HEADER + caplen;
	}
	*stop = p;
	return n;
}

static uint32_t odd_caplen(const struct pcap *f, const uint8_t *p, uint32_t *wirelen)
{
	uint32_t first = mt_load32(p + 8, f->swap), second = mt_load32(p + 12, f->swap);
	bool exchanged = f->lengths == 1 || (f->lengths == 2 && first > second);
	*wirelen = exchanged ? first : second;
	return exchanged ? second : first;
}

/* The rare variants. */
static unsigned parse_odd_records(const struct pcap *f, const uint8_t *p, const uint8_t *end,
                                  struct mt_packet *out, unsigned max, const uint8_t **stop)
{
	const unsigned header = f->modified ? MODIFIED_HEADER : RECORD_HEADER;
	unsigned n = 0;
	for (; n < max && end - p >= (ptrdiff_t)header; n++) {
		uint32_t wirelen, caplen = odd_caplen(f, p, &wirelen);
		if (caplen > MT_MAX_CAPLEN || end - p - header < (ptrdiff_t)caplen)
			break;
		out[n] = (struct mt_packet){
		        .ts_ns = (int64_t)mt_load32(p, f->swap) * 1000000000 +
		                 (int64_t)mt_load32(p + 4, f->swap) * (f->nanoseconds ? 1 : 1000),
		        .data = p + header,
		        .caplen = caplen,
		        .wirelen = wirelen,
		        .iface = f->iface,
		        .linktype = f->linktype,
		};
		if (f->modified) /* the packet type of Linux: 4 is outgoing */
			out[n].direction = p[22] == 4 ? MT_DIRECTION_OUT : MT_DIRECTION_IN;
		p += header + caplen;
	}
	*stop = p;
	return n;
}

static unsigned parse_fitting(const struct pcap *f, const uint8_t *p, const uint8_t *end, struct mt_packet *out,
                              unsigned max, const uint8_t **stop)
{
	if (f->modified || f->lengths)
		return parse_odd_records(f, p, end, out, max, stop);
	if (f->swap)
		return f->nanoseconds ? parse_records(f, p, end, out, max, stop, true, 1)
		                      : parse_records(f, p, end, out, max, stop, true, 1000);
	return f->nanoseconds ? parse_records(f, p, end, out, max, stop, false, 1)
	                      : parse_records(f, p, end, out, max, stop, false, 1000);
}

/* Why the loop stopped before a record: not enough bytes yet, or a fault. */
static enum mt_parse explain_stop(const struct pcap *f, const uint8_t *p, size_t left, bool at_end,
                                  size_t *want, struct mt_err *err)
{
	const size_t header = f->modified ? MODIFIED_HEADER : RECORD_HEADER;
	const unsigned long long number = f->base.packets + 1;
	if (!left) {
		*want = at_end ? 0 : header;
		return MT_PARSE_MORE;
	}
	if (left < header) {
		*want = header;
		if (at_end)
			return mt_err_set(err,
			                  "packet %llu: cut short, the file ends after %zu of %zu header bytes",
			                  number, left, header);
		return MT_PARSE_MORE;
	}
	uint32_t wirelen, caplen = odd_caplen(f, p, &wirelen);
	if (caplen > MT_MAX_CAPLEN)
		return mt_err_set(err, "packet %llu: captured length %u exceeds %u", number, caplen,
		                  MT_MAX_CAPLEN);
	*want = header + caplen;
	if (at_end)
		return mt_err_set(err, "packet %llu: cut short, the file ends after %zu of %u captured bytes",
		                  number, left - header, caplen);
	return MT_PARSE_MORE;
}

static enum mt_parse pcap_parse(struct mt_parser *base, const uint8_t *p, size_t avail, bool at_end,
                                struct mt_packet *out, unsigned max, unsigned *n, size_t *used, size_t *want,
                                struct mt_err *err)
{
	struct pcap *f = (struct pcap *)base;
	const uint8_t *stop;
	*n = parse_fitting(f, p, p + avail, out, max, &stop);
	base->packets += *n;
	*used = (size_t)(stop - p);
	if (*n == max)
		return MT_PARSE_OK;
	return explain_stop(f, stop, avail - *used, at_end, want, err);
}

const struct mt_parser_ops mt_parser_pcap = {
        .name = "pcap",
        .size = sizeof(struct pcap),
        .detect = pcap_detect,
        .header = pcap_header,
        .parse = pcap_parse,
};
