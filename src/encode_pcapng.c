/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * encode_pcapng.c - pcapng: one section, an interface block for each (source, interface).
 *
 * Interfaces that are known when the output is opened are described at the start of every
 * file, so that an empty one still says what it was; the others before their first packet.
 * Where thousands of files are read, all are described on demand, else each segment would
 * begin with hundreds of kilobytes.  Interface numbers count within one file.  At the end
 * every interface gets a statistics block.  Of a file: isb_ifrecv is the number of its packets in this
 * file, isb_ifdrop what the source's own statistics said so far.  Of a live interface, since
 * the capture began: isb_ifrecv what passed it, isb_ifdrop what of that was lost here or in the kernel,
 * isb_osdrop what in the kernel; and isb_usrdeliv is the number of its packets in this file. Up to 20 million
 * packets a second.
 */
#include <stdlib.h>
#include <string.h>

#include "encode.h"

enum {
	BLOCK_SHB = 0x0a0d0d0a,
	BLOCK_IDB = 1,
	BLOCK_ISB = 5,
	BLOCK_EPB = 6,
	EPB_HEADER = 28,
	BLOCK_TAIL = 4,
	ISB_BYTES = 24 + 12 * 6 + 4 + 4, /* with all options that we write */
	EAGER_MAX = 256,                 /* interfaces described before they have packets */
	TEXT_MAX = 65535
};
enum { OPT_END = 0, OPT_COMMENT = 1, SHB_USERAPPL = 4 };
enum { IF_NAME = 2, IF_DESCRIPTION = 3, IF_TSRESOL = 9 };
enum { ISB_STARTTIME = 2, ISB_ENDTIME = 3, ISB_IFRECV = 4, ISB_IFDROP = 5, ISB_OSDROP = 7, ISB_USRDELIV = 8 };
enum { EPB_FLAGS = 2, EPB_DROPCOUNT = 4, EPB_PACKETID = 5, EPB_QUEUE = 6 };
enum { CUSTOM_FIRST = 2988, CUSTOM_LAST = 19373 }; /* 2988 2989 19372 19373: an enterprise number leads */

/* An interface of the file being written. */
struct described {
	uint32_t iface; /* index in the run's table */
	uint64_t packets;
	int64_t first_ns, last_ns;
};

struct pcapng {
	uint32_t *number_of; /* by table index: number in this file + 1; 0: not described yet */
	uint32_t n_number_of;
	struct described *list; /* by number */
	uint32_t n, size;
	uint32_t known; /* table entries below this are described at the start */
};

static void put16(uint8_t **at, uint16_t v)
{
	memcpy(*at, &v, sizeof v);
	*at += sizeof v;
}

static void put32(uint8_t **at, uint32_t v)
{
	memcpy(*at, &v, sizeof v);
	*at += sizeof v;
}

static void put_time(uint8_t **at, uint64_t ns)
{
	put32(at, (uint32_t)(ns >> 32));
	put32(at, (uint32_t)ns);
}

static size_t pad4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static void put_padded(uint8_t **at, const void *data, size_t len)
{
	memcpy(*at, data, len);
	memset(*at + len, 0, pad4(len) - len);
	*at += pad4(len);
}

static void put_option(uint8_t **at, uint16_t code, const void *value, size_t len)
{
	put16(at, code);
	put16(at, (uint16_t)len);
	put_padded(at, value, len);
}

static void put_option64(uint8_t **at, uint16_t code, uint64_t v)
{
	put_option(at, code, &v, sizeof v);
}

static void put_option_time(uint8_t **at, uint16_t code, int64_t ns)
{
	uint32_t v[2] = {(uint32_t)((uint64_t)ns >> 32), (uint32_t)ns};
	put_option(at, code, v, sizeof v);
}

static void put_option_end(uint8_t **at)
{
	put32(at, OPT_END);
}

/* Length into both ends of the block that began at start; returns it. */
static size_t close_block(uint8_t *start, uint8_t *at)
{
	uint32_t total = (uint32_t)(at - start) + BLOCK_TAIL;
	memcpy(start + 4, &total, sizeof total);
	memcpy(at, &total, sizeof total);
	return total;
}

static size_t text_len(const char *text)
{
	size_t len = text ? strlen(text) : 0;
	return len < TEXT_MAX ? len : TEXT_MAX;
}

/* --- section and interfaces ------------------------------------------------------------ */

/* What stands in if_name and if_description: the source is named in one of them, unless nobody shall know. */
static void interface_texts(const struct mt_encoder *e, const struct mt_iface *iface, const char **name,
                            const char **description)
{
	*name = *description = NULL;
	if (e->config->anonymous)
		return;
	*name = iface->name ? iface->name : iface->source;
	*description = iface->description;
	if (!*description && iface->source && *name && strcmp(*name, iface->source) != 0)
		*description = iface->source;
}

static size_t interface_bytes(const struct mt_encoder *e, uint32_t id)
{
	const char *name, *description;
	interface_texts(e, mt_ifaces_get(e->ifaces, id), &name, &description);
	size_t len = 16 + 8 + 4 + BLOCK_TAIL; /* if_tsresol is 8 */
	len += text_len(name) ? 4 + pad4(text_len(name)) : 0;
	return len + (text_len(description) ? 4 + pad4(text_len(description)) : 0);
}

static int remember(struct pcapng *ng, uint32_t id)
{
	if (id >= ng->n_number_of) {
		uint32_t n = id + 64;
		uint32_t *map = reallocarray(ng->number_of, n, sizeof *map);
		if (!map)
			return -1;
		memset(map + ng->n_number_of, 0, (n - ng->n_number_of) * sizeof *map);
		ng->number_of = map;
		ng->n_number_of = n;
	}
	if (ng->n == ng->size) {
		uint32_t size = ng->size ? ng->size * 2 : 16;
		struct described *list = reallocarray(ng->list, size, sizeof *list);
		if (!list)
			return -1;
		ng->list = list;
		ng->size = size;
	}
	ng->list[ng->n++] = (struct described){.iface = id, .first_ns = INT64_MAX, .last_ns = INT64_MIN};
	ng->number_of[id] = ng->n;
	return 0;
}

/* Describe interface id; the block has room.  Returns the bytes written, 0: out of memory. */
static size_t put_interface(struct mt_encoder *e, uint32_t id)
{
	const struct mt_iface *iface = mt_ifaces_get(e->ifaces, id);
	const uint8_t nanoseconds = 9;
	const char *name, *description;
	uint8_t *start = e->block->data + e->block->used, *at = start;
	if (remember(e->impl, id))
		return 0;
	interface_texts(e, iface, &name, &description);
	put32(&at, BLOCK_IDB);
	put32(&at, 0);
	put16(&at, iface->linktype);
	put16(&at, 0);
	put32(&at, e->config->snaplen);
	if (name && *name)
		put_option(&at, IF_NAME, name, text_len(name));
	if (description && *description)
		put_option(&at, IF_DESCRIPTION, description, text_len(description));
	put_option(&at, IF_TSRESOL, &nanoseconds, 1);
	put_option_end(&at);
	size_t len = close_block(start, at);
	e->block->used += len;
	e->trailer += ISB_BYTES;
	return len;
}

static void put_section(struct mt_encoder *e)
{
	static const char program[] = "moontap " MT_VERSION;
	uint8_t *start = e->block->data + e->block->used, *at = start;
	put32(&at, BLOCK_SHB);
	put32(&at, 0);
	put32(&at, 0x1a2b3c4d);
	put16(&at, 1);
	put16(&at, 0);
	put32(&at, UINT32_MAX); /* section length: not given */
	put32(&at, UINT32_MAX);
	put_option(&at, SHB_USERAPPL, program, sizeof program - 1);
	put_option_end(&at);
	size_t len = close_block(start, at);
	e->block->used += len;
	e->view->bytes += len;
}

static int pcapng_open(struct mt_encoder *e, struct mt_err *err)
{
	struct pcapng *ng = calloc(1, sizeof *ng);
	if (!ng)
		return mt_err_set(err, "%s: out of memory", e->config->path);
	/* Counted once, before the reading thread may add more. */
	ng->known = e->ifaces ? mt_ifaces_count(e->ifaces) : 0;
	if (ng->known > EAGER_MAX)
		ng->known = 0;
	e->impl = ng;
	return 0;
}

static void pcapng_close(struct mt_encoder *e)
{
	struct pcapng *ng = e->impl;
	if (!ng)
		return;
	free(ng->number_of);
	free(ng->list);
	free(ng);
	e->impl = NULL;
}

static int pcapng_begin(struct mt_encoder *e)
{
	struct pcapng *ng = e->impl;
	if (ng->number_of)
		memset(ng->number_of, 0, ng->n_number_of * sizeof *ng->number_of);
	ng->n = 0;
	e->trailer = 0;
	if (mt_block_reserve(e->block, 128))
		return -1;
	put_section(e);
	for (uint32_t id = 0; id < ng->known; id++) {
		if (mt_block_reserve(e->block, interface_bytes(e, id)))
			return -1;
		size_t len = put_interface(e, id);
		if (!len)
			return -1;
		e->view->bytes += len;
	}
	e->begun = true;
	return 0;
}

static void put_statistics(struct mt_encoder *e, uint32_t number)
{
	const struct described *d = &((struct pcapng *)e->impl)->list[number];
	const struct mt_iface *iface = mt_ifaces_get(e->ifaces, d->iface);
	/* the reading thread may be adding to it */
	uint64_t dropped = __atomic_load_n(&iface->dropped, __ATOMIC_RELAXED);
	int64_t now = d->packets ? d->last_ns : e->view->last_ns > 0 ? e->view->last_ns : e->view->start_ns;
	uint8_t *start = e->block->data + e->block->used, *at = start;
	put32(&at, BLOCK_ISB);
	put32(&at, 0);
	put32(&at, number);
	put_time(&at, now > 0 ? (uint64_t)now : 0);
	if (d->packets) {
		put_option_time(&at, ISB_STARTTIME, d->first_ns);
		put_option_time(&at, ISB_ENDTIME, d->last_ns);
	}
	uint64_t received = __atomic_load_n(&iface->live.received, __ATOMIC_RELAXED);
	if (received) {
		uint64_t here = __atomic_load_n(&iface->live.dropped, __ATOMIC_RELAXED);
		uint64_t kernel = __atomic_load_n(&iface->live.kernel, __ATOMIC_RELAXED);
		put_option64(&at, ISB_IFRECV, received + here + kernel);
		put_option64(&at, ISB_IFDROP, here + kernel);
		put_option64(&at, ISB_OSDROP, kernel);
		put_option64(&at, ISB_USRDELIV, d->packets);
	} else {
		put_option64(&at, ISB_IFRECV, d->packets);
		if (dropped != UINT64_MAX)
			put_option64(&at, ISB_IFDROP, dropped);
	}
	put_option_end(&at);
	size_t len = close_block(start, at);
	e->block->used += len;
	e->view->bytes += len;
}

static int pcapng_end(struct mt_encoder *e)
{
	struct pcapng *ng = e->impl;
	for (uint32_t i = 0; i < ng->n; i++) {
		if (mt_block_reserve(e->block, ISB_BYTES))
			return -1;
		put_statistics(e, i);
	}
	return 0;
}

/* --- packets --------------------------------------------------------------------------- */

static uint16_t load16(const uint8_t *p, bool swap)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return swap ? __builtin_bswap16(v) : v;
}

static void reverse(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len / 2; i++) {
		uint8_t t = p[i];
		p[i] = p[len - 1 - i];
		p[len - 1 - i] = t;
	}
}

/* Length of the list without its end mark; SIZE_MAX if it is malformed. */
static size_t options_length(const struct mt_packet *p)
{
	bool swap = p->flags & MT_PACKET_OPTIONS_SWAPPED;
	size_t at = 0, len = p->options_len;
	while (len - at >= 4) {
		uint16_t code = load16(p->options + at, swap);
		size_t whole = 4 + pad4(load16(p->options + at + 2, swap));
		if (code == OPT_END)
			return at;
		if (whole > len - at)
			return SIZE_MAX;
		at += whole;
	}
	return at == len ? at : SIZE_MAX;
}

/* A value in the other byte order becomes one in ours. */
static void swap_value(uint16_t code, uint8_t *value, size_t len)
{
	if ((code == EPB_FLAGS || code == EPB_QUEUE) && len == 4)
		reverse(value, 4);
	else if ((code == EPB_DROPCOUNT || code == EPB_PACKETID) && len == 8)
		reverse(value, 8);
	else if ((code == CUSTOM_FIRST || code == CUSTOM_FIRST + 1 || code == CUSTOM_LAST - 1 ||
	          code == CUSTOM_LAST) &&
	         len >= 4)
		reverse(value, 4);
}

/* Copy len bytes of checked options. */
static void put_options(uint8_t **at, const struct mt_packet *p, size_t len)
{
	uint8_t *out = *at;
	memcpy(out, p->options, len);
	*at += len;
	if (!(p->flags & MT_PACKET_OPTIONS_SWAPPED))
		return;
	while (out < *at) {
		reverse(out, 2);
		reverse(out + 2, 2);
		size_t size = load16(out + 2, false);
		swap_value(load16(out, false), out + 4, size);
		out += 4 + pad4(size);
	}
}

/* One packet at out, of `record` bytes in all, options of n_options bytes (0: none). */
static void put_packet(uint8_t *out, const struct mt_packet *p, uint32_t number, uint32_t caplen,
                       size_t n_options, uint32_t record)
{
	uint64_t ns = (uint64_t)p->ts_ns;
	uint32_t header[7] = {BLOCK_EPB,    record, number,    (uint32_t)(ns >> 32),
	                      (uint32_t)ns, caplen, p->wirelen};
	uint8_t *at = out + EPB_HEADER;
	memcpy(out, header, EPB_HEADER);
	put_padded(&at, p->data, caplen);
	if (n_options) {
		put_options(&at, p, n_options);
		put_option_end(&at);
	} else if (p->direction != MT_DIRECTION_UNKNOWN) {
		uint32_t flags = p->direction;
		put_option(&at, EPB_FLAGS, &flags, sizeof flags);
		put_option_end(&at);
	}
	memcpy(at, &record, BLOCK_TAIL);
}

static enum mt_refusal pcapng_check(const struct mt_encoder *e, const struct mt_packet *p)
{
	(void)e;
	return p->ts_ns < 0 ? MT_REFUSED_TIME : MT_REFUSALS;
}

static inline uint32_t number_of(const struct pcapng *ng, uint32_t iface)
{
	return iface < ng->n_number_of ? ng->number_of[iface] : 0;
}

static inline size_t options_bytes(const struct mt_packet *p, size_t *n_options)
{
	*n_options = 0;
	if (p->options && p->options_len) {
		size_t len = options_length(p);
		*n_options = len == SIZE_MAX ? 0 : len;
	}
	if (*n_options)
		return *n_options + 4;
	return p->direction != MT_DIRECTION_UNKNOWN ? 8 + 4 : 0;
}

static enum mt_encode_stop pcapng_encode(struct mt_encoder *e, struct mt_packet *packets, uint32_t n,
                                         uint32_t *index, uint8_t verdict)
{
	struct pcapng *ng = e->impl;
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
		if (p->ts_ns < 0) {
			mt_encoder_refuse(e, p, MT_REFUSED_TIME);
			continue;
		}
		uint32_t caplen = mt_encode_caplen(e, p), number = number_of(ng, p->iface);
		size_t n_options,
		        record = EPB_HEADER + pad4(caplen) + options_bytes(p, &n_options) + BLOCK_TAIL;
		size_t describe = number ? 0 : interface_bytes(e, p->iface);
		stop = mt_encode_room(e, &v, e->block->used, record + describe + (describe ? ISB_BYTES : 0));
		if (stop != MT_STOP_END)
			break;
		if (!number) {
			v.bytes += put_interface(e, p->iface);
			number = number_of(ng, p->iface);
			if (!number) {
				mt_encoder_refuse(e, p, MT_REFUSED_RECORD); /* out of memory */
				continue;
			}
		}
		put_packet(e->block->data + e->block->used, p, number - 1, caplen, n_options, (uint32_t)record);
		e->block->used += record;
		mt_encode_count(&v, p, caplen, record);
		struct described *d = &ng->list[number - 1];
		if (!d->packets++)
			mt_encoder_saw(e, p->linktype);
		d->first_ns = p->ts_ns < d->first_ns ? p->ts_ns : d->first_ns;
		d->last_ns = p->ts_ns > d->last_ns ? p->ts_ns : d->last_ns;
	}
	*e->view = v;
	*index = i;
	return stop;
}

static size_t pcapng_record_size(const struct mt_encoder *e, const struct mt_packet *p)
{
	size_t n_options;
	size_t describe = number_of(e->impl, p->iface) ? 0 : interface_bytes(e, p->iface) + ISB_BYTES;
	return EPB_HEADER + pad4(mt_encode_caplen(e, p)) + options_bytes(p, &n_options) + BLOCK_TAIL + describe;
}

static size_t pcapng_whole(const uint8_t *data, size_t len, bool first, uint64_t *packets)
{
	size_t at = 0;
	(void)first;
	*packets = 0;
	while (len - at >= 8) {
		uint32_t type, block;
		memcpy(&type, data + at, sizeof type);
		memcpy(&block, data + at + 4, sizeof block);
		if (block < 12 || block > len - at)
			break;
		at += block;
		*packets += type == BLOCK_EPB;
	}
	return at;
}

const struct mt_encoder_ops mt_encode_pcapng = {
        .format = MT_FORMAT_PCAPNG,
        .open = pcapng_open,
        .close = pcapng_close,
        .begin = pcapng_begin,
        .encode = pcapng_encode,
        .end = pcapng_end,
        .check = pcapng_check,
        .record_size = pcapng_record_size,
        .whole = pcapng_whole,
};
