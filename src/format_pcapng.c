/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * format_pcapng.c - sections, interfaces and packets of a pcapng file.
 *
 * Everything is a block: type, length, body, length again.  Interfaces belong to their
 * section, and so does the byte order.  A file has a handful of interfaces as a rule, but
 * may describe thousands.  Blocks that are not needed are skipped, however long, without
 * being held in memory.  Times come in any unit of 10^-n or 2^-n seconds with an offset in
 * seconds, so they are computed in 128 bits and clamped.
 */
#include "format.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 2, /* obsolete */
	BLOCK_SIMPLE = 3,
	BLOCK_STATISTICS = 5,
	BLOCK_ENHANCED = 6
};

enum {
	BLOCK_MIN = 12,       /* type and both lengths */
	MAX_BLOCK = 16 << 20, /* of blocks that have to be held whole */
	BYTE_ORDER_MAGIC = 0x1a2b3c4d
};

enum { OPTION_END = 0, OPTION_NAME = 2, OPTION_DESCRIPTION = 3, OPTION_TSRESOL = 9, OPTION_TSOFFSET = 14 };
enum { OPTION_EPB_FLAGS = 2, OPTION_EPB_DROPS = 4, OPTION_IF_DROPS = 5, OPTION_OS_DROPS = 7 };

__extension__ typedef __int128 mt_int128;
__extension__ typedef unsigned __int128 mt_uint128;

struct interface {
	mt_int128 offset_ns;
	enum { TIME_MULTIPLY, TIME_DIVIDE, TIME_SHIFT, TIME_ZERO } unit;
	uint64_t factor; /* to multiply or divide by, or bits to shift */
	uint32_t id;     /* in the run's table */
	uint32_t snaplen;
	uint16_t linktype;
	uint64_t drops_reported; /* by interface statistics */
	uint64_t drops_noted;    /* between packets */
	uint64_t drops_counted;  /* already added to the run's table */
};

struct pcapng {
	struct mt_parser base;
	bool swap;
	bool trailer_due; /* the body of a skipped block is over, its trailing length comes next */
	uint32_t skipped_length;
	struct interface *interfaces; /* of the section */
	uint32_t n_interfaces, room;
	uint32_t warned_version;
	bool described; /* an interface was, in any section */
};

/* One block, whole and checked. */
struct block {
	const uint8_t *body;
	size_t len; /* of the body */
	uint32_t type;
};

static bool pcapng_detect(const uint8_t *p, size_t avail)
{
	return avail >= 4 && mt_load32(p, false) == BLOCK_SECTION;
}

static size_t padded(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

/* --- options --------------------------------------------------------------------------- */

struct option {
	uint16_t code, len;
	const uint8_t *value;
};

/* Take an option off the list. 1, 0 at its end, -1 if it runs over the end. */
static int next_option(const uint8_t **at, const uint8_t *end, bool swap, struct option *option)
{
	if (end - *at < 4)
		return 0;
	option->code = mt_load16(*at, swap);
	option->len = mt_load16(*at + 2, swap);
	option->value = *at + 4;
	if (option->code == OPTION_END)
		return 0;
	if (end - *at - 4 < (ptrdiff_t)option->len)
		return -1;
	size_t step = 4 + padded(option->len);
	*at = (size_t)(end - *at) < step ? end : *at + step;
	return 1;
}

static char *text_option(const struct option *option)
{
	return strndup((const char *)option->value, option->len);
}

/* --- time ------------------------------------------------------------------------------ */

static uint64_t power10(unsigned n)
{
	uint64_t v = 1;
	while (n--)
		v *= 10;
	return v;
}

static void set_resolution(struct interface *i, uint8_t tsresol)
{
	unsigned n = tsresol & 0x7f;
	if (tsresol & 0x80) {
		i->unit = TIME_SHIFT;
		i->factor = n;
	} else if (n <= 9) {
		i->unit = TIME_MULTIPLY;
		i->factor = power10(9 - n);
	} else if (n <= 28) {
		i->unit = TIME_DIVIDE;
		i->factor = power10(n - 9);
	} else {
		i->unit = TIME_ZERO; /* 2^64 of them are less than a nanosecond */
	}
}

static mt_int128 to_ns(const struct interface *i, uint64_t units)
{
	switch (i->unit) {
	case TIME_MULTIPLY:
		return (mt_int128)units * (mt_int128)i->factor;
	case TIME_DIVIDE:
		return units / i->factor;
	case TIME_SHIFT:
		return (mt_int128)(((mt_uint128)units * 1000000000u) >> i->factor);
	default:
		return 0;
	}
}

static void set_time(const struct interface *i, uint32_t high, uint32_t low, struct mt_packet *packet)
{
	mt_int128 ns = to_ns(i, (uint64_t)high << 32 | low) + i->offset_ns;
	if (ns > INT64_MAX || ns < INT64_MIN) {
		ns = ns > 0 ? INT64_MAX : INT64_MIN;
		packet->flags |= MT_PACKET_BAD_TIME;
	}
	packet->ts_ns = (int64_t)ns;
}

/* --- blocks that describe -------------------------------------------------------------- */

static int parse_section(struct pcapng *f, const struct block *b, struct mt_err *err)
{
	if (b->len < 16)
		return mt_err_set(err, "pcapng section header of %zu bytes, expected at least 28",
		                  b->len + BLOCK_MIN);
	uint32_t version = mt_load32(b->body + 4, false);
	uint16_t major = mt_load16(b->body + 4, f->swap), minor = mt_load16(b->body + 6, f->swap);
	if (major != 1 && f->warned_version != version) {
		f->warned_version = version;
		mt_log_warn("%s: pcapng version %u.%u, expected 1.0: read as that", f->base.label, major,
		            minor);
	}
	const uint8_t *at = b->body + 16;
	struct option option;
	int more;
	while ((more = next_option(&at, b->body + b->len, f->swap, &option)) > 0)
		;
	if (more < 0)
		return mt_err_set(err, "pcapng section header: option %u of %u bytes exceeds its block",
		                  option.code, option.len);
	f->n_interfaces = 0;
	return 0;
}

static int grow_interfaces(struct pcapng *f, struct mt_err *err)
{
	if (f->n_interfaces < f->room)
		return 0;
	uint32_t room = f->room ? f->room * 2 : 4;
	struct interface *list = realloc(f->interfaces, room * sizeof *list);
	if (!list)
		return mt_err_set(err, "out of memory for %u interfaces", room);
	f->interfaces = list;
	f->room = room;
	return 0;
}

static int parse_interface_options(struct pcapng *f, const struct block *b, struct interface *i, char **name,
                                   char **description, struct mt_err *err)
{
	const uint8_t *at = b->body + 8;
	struct option option;
	int more;
	while ((more = next_option(&at, b->body + b->len, f->swap, &option)) > 0) {
		if (option.code == OPTION_NAME && !*name)
			*name = text_option(&option);
		else if (option.code == OPTION_DESCRIPTION && !*description)
			*description = text_option(&option);
		else if (option.code == OPTION_TSRESOL && option.len >= 1)
			set_resolution(i, option.value[0]);
		else if (option.code == OPTION_TSOFFSET && option.len >= 8)
			i->offset_ns = (mt_int128)(int64_t)mt_load64(option.value, f->swap) * 1000000000;
	}
	if (more < 0)
		return mt_err_set(err, "interface %u: option %u of %u bytes exceeds its block", f->n_interfaces,
		                  option.code, option.len);
	return 0;
}

static int parse_interface(struct pcapng *f, const struct block *b, struct mt_err *err)
{
	if (b->len < 8)
		return mt_err_set(err, "interface %u: description block of %zu bytes, expected at least 20",
		                  f->n_interfaces, b->len + BLOCK_MIN);
	struct interface i = {.linktype = mt_parser_linktype(mt_load16(b->body, f->swap)),
	                      .snaplen = mt_load32(b->body + 4, f->swap)};
	set_resolution(&i, 6);
	char *name = NULL, *description = NULL;
	int result = parse_interface_options(f, b, &i, &name, &description, err);
	if (result == 0)
		result = grow_interfaces(f, err);
	if (result == 0) {
		struct mt_iface *entry = mt_parser_add_iface(&f->base, f->n_interfaces, i.linktype, i.snaplen,
		                                             name, description, err);
		if (entry) {
			bool whole = i.unit == TIME_MULTIPLY && i.factor % 1000 == 0;
			i.id = entry->id;
			f->base.microseconds = whole && (f->base.microseconds || !f->described);
			f->base.finer_may_come = f->described = true;
			f->interfaces[f->n_interfaces++] = i;
		} else {
			result = -1;
		}
	}
	free(name);
	free(description);
	return result;
}

/* Some writers note losses between packets, some in statistics blocks, some in both. */
static int count_drops(struct pcapng *f, struct interface *i, struct mt_err *err)
{
	uint64_t total = i->drops_reported > i->drops_noted ? i->drops_reported : i->drops_noted;
	uint64_t before = i->drops_counted;
	i->drops_counted = total > before ? total : before;
	return mt_parser_add_loss(&f->base, i->id, i->drops_counted - before, err);
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static int parse_statistics(struct pcapng *f, const struct block *b, struct mt_err *err)
{
	uint32_t number = b->len >= 12 ? mt_load32(b->body, f->swap) : UINT32_MAX;
	if (number >= f->n_interfaces)
		return 0; /* of no interface: nothing that could be told */
	struct interface *i = &f->interfaces[number];
	const uint8_t *at = b->body + 12;
	struct option option;
	uint64_t drops = 0;
	bool known = false;
	while (next_option(&at, b->body + b->len, f->swap, &option) > 0)
		if ((option.code == OPTION_IF_DROPS || option.code == OPTION_OS_DROPS) && option.len >= 8) {
			drops = add_saturating(drops, mt_load64(option.value, f->swap));
			known = true;
		}
	if (!known)
		return 0;
	i->drops_reported = drops;
	return count_drops(f, i, err);
}

/* --- packets --------------------------------------------------------------------------- */

static struct interface *find_interface(struct pcapng *f, uint32_t number, struct mt_err *err)
{
	if (number < f->n_interfaces)
		return &f->interfaces[number];
	mt_err_set(err, "packet %llu: interface %u is not described, the section has %u",
	           (unsigned long long)f->base.packets + 1, number, f->n_interfaces);
	return NULL;
}

static int check_lengths(const struct pcapng *f, uint32_t caplen, size_t room, struct mt_err *err)
{
	if (caplen > MT_MAX_CAPLEN)
		return mt_err_set(err, "packet %llu: captured length %u exceeds %u",
		                  (unsigned long long)f->base.packets + 1, caplen, MT_MAX_CAPLEN);
	if (caplen > room)
		return mt_err_set(err, "packet %llu: captured length %u exceeds the %zu bytes of its block",
		                  (unsigned long long)f->base.packets + 1, caplen, room);
	return 0;
}

/* Keep the whole options, up to the end mark or the first that lies, and read those that
 * say something about the packet. */
static int parse_packet_options(struct pcapng *f, struct interface *i, const uint8_t *options,
                                const uint8_t *end, struct mt_packet *out, struct mt_err *err)
{
	const uint8_t *at = options, *last = options;
	struct option option;
	while (next_option(&at, end, f->swap, &option) > 0 && at - options <= UINT16_MAX) {
		last = at;
		if (option.code == OPTION_EPB_FLAGS && option.len == 4)
			out->direction = (uint8_t)(mt_load32(option.value, f->swap) & 3);
		else if (option.code == OPTION_EPB_DROPS && option.len == 8)
			i->drops_noted = add_saturating(i->drops_noted, mt_load64(option.value, f->swap));
	}
	if (out->direction > MT_DIRECTION_OUT)
		out->direction = MT_DIRECTION_UNKNOWN;
	if (last > options) {
		out->options = options;
		out->options_len = (uint16_t)(last - options);
		if (f->swap)
			out->flags |= MT_PACKET_OPTIONS_SWAPPED;
	}
	return i->drops_noted > i->drops_counted ? count_drops(f, i, err) : 0;
}

static int parse_simple(struct pcapng *f, const struct block *b, struct mt_packet *out, struct mt_err *err)
{
	struct interface *i = find_interface(f, 0, err);
	if (!i)
		return -1;
	if (b->len < 4)
		return mt_err_set(err, "packet %llu: simple packet block of %zu bytes, expected at least 16",
		                  (unsigned long long)f->base.packets + 1, b->len + BLOCK_MIN);
	uint32_t wirelen = mt_load32(b->body, f->swap), caplen = wirelen;
	if (i->snaplen && caplen > i->snaplen)
		caplen = i->snaplen;
	if (check_lengths(f, caplen, b->len - 4, err))
		return -1;
	*out = (struct mt_packet){.data = b->body + 4,
	                          .caplen = caplen,
	                          .wirelen = wirelen,
	                          .iface = i->id,
	                          .linktype = i->linktype};
	return 0;
}

/* The enhanced packet block and the obsolete packet block differ in their first four bytes. */
static int parse_packet(struct pcapng *f, const struct block *b, struct mt_packet *out, struct mt_err *err)
{
	if (b->len < 20)
		return mt_err_set(err, "packet %llu: packet block of %zu bytes, expected at least 32",
		                  (unsigned long long)f->base.packets + 1, b->len + BLOCK_MIN);
	bool old = b->type == BLOCK_PACKET;
	struct interface *i =
	        find_interface(f, old ? mt_load16(b->body, f->swap) : mt_load32(b->body, f->swap), err);
	uint32_t caplen = mt_load32(b->body + 12, f->swap);
	if (!i || check_lengths(f, caplen, b->len - 20, err))
		return -1;
	*out = (struct mt_packet){.data = b->body + 20,
	                          .caplen = caplen,
	                          .wirelen = mt_load32(b->body + 16, f->swap),
	                          .iface = i->id,
	                          .linktype = i->linktype};
	set_time(i, mt_load32(b->body + 4, f->swap), mt_load32(b->body + 8, f->swap), out);
	uint16_t drops = old ? mt_load16(b->body + 2, f->swap) : 0xffff;
	if (drops != 0xffff) { /* else unknown */
		i->drops_noted = add_saturating(i->drops_noted, drops);
		if (count_drops(f, i, err))
			return -1;
	}
	size_t options = 20 + padded(caplen);
	if (b->len < options + 4)
		return 0;
	return parse_packet_options(f, i, b->body + options, b->body + b->len, out, err);
}

/* --- framing --------------------------------------------------------------------------- */

static bool is_packet(uint32_t type)
{
	return type == BLOCK_ENHANCED || type == BLOCK_SIMPLE || type == BLOCK_PACKET;
}

static bool is_wanted(uint32_t type)
{
	return is_packet(type) || type == BLOCK_SECTION || type == BLOCK_INTERFACE || type == BLOCK_STATISTICS;
}

static enum mt_parse need(size_t want_bytes, const char *what, size_t left, bool at_end, const struct pcapng *f,
                          size_t *want, struct mt_err *err)
{
	*want = want_bytes;
	if (!at_end)
		return MT_PARSE_MORE;
	return mt_err_set(err, "after packet %llu: cut short, the file ends after %zu of %zu bytes of %s",
	                  (unsigned long long)f->base.packets, left, want_bytes, what);
}

static int bad_trailer(const struct pcapng *f, uint32_t length, uint32_t trailer, struct mt_err *err)
{
	return mt_err_set(err, "after packet %llu: pcapng block of %u bytes repeats its length as %u",
	                  (unsigned long long)f->base.packets, length, trailer);
}

static int check_length(const struct pcapng *f, uint32_t type, uint32_t length, struct mt_err *err)
{
	const unsigned long long after = f->base.packets;
	if (length < BLOCK_MIN)
		return mt_err_set(err, "after packet %llu: pcapng block length %u, expected at least 12", after,
		                  length);
	if (length % 4)
		return mt_err_set(err, "after packet %llu: pcapng block length %u is not a multiple of 4",
		                  after, length);
	if (is_wanted(type) && length > MAX_BLOCK)
		return mt_err_set(err,
		                  "after packet %llu: pcapng block of type %u has %u bytes, the limit is %u",
		                  after, type, length, MAX_BLOCK);
	return 0;
}

/* A section header carries its own byte order. */
static enum mt_parse section_order(struct pcapng *f, const uint8_t *p, size_t left, bool at_end, size_t *want,
                                   struct mt_err *err)
{
	if (left < BLOCK_MIN)
		return need(BLOCK_MIN, "a section header", left, at_end, f, want, err);
	uint32_t magic = mt_load32(p + 8, false);
	if (magic != BYTE_ORDER_MAGIC && magic != __builtin_bswap32(BYTE_ORDER_MAGIC))
		return mt_err_set(err,
		                  "pcapng section header: byte-order magic %02x%02x%02x%02x, expected 1a2b3c4d",
		                  p[8], p[9], p[10], p[11]);
	f->swap = magic != BYTE_ORDER_MAGIC;
	return MT_PARSE_OK;
}

/* Find the block at p and check its frame.  *length is its whole length; a block that is to
 * be skipped may be longer than what is there. */
static enum mt_parse next_block(struct pcapng *f, const uint8_t *p, size_t left, bool at_end, struct block *b,
                                uint32_t *length, size_t *want, struct mt_err *err)
{
	if (!left && at_end) {
		*want = 0;
		return MT_PARSE_MORE;
	}
	if (left < 8)
		return need(8, "a block header", left, at_end, f, want, err);
	if (mt_load32(p, false) == BLOCK_SECTION) {
		enum mt_parse order = section_order(f, p, left, at_end, want, err);
		if (order != MT_PARSE_OK)
			return order;
	}
	b->type = mt_load32(p, f->swap);
	*length = mt_load32(p + 4, f->swap);
	if (check_length(f, b->type, *length, err))
		return MT_PARSE_ERROR;
	if (left < *length) {
		if (is_wanted(b->type))
			return need(*length, "a block", left, at_end, f, want, err);
		return MT_PARSE_OK;
	}
	b->body = p + 8;
	b->len = *length - BLOCK_MIN;
	uint32_t trailer = mt_load32(p + *length - 4, f->swap);
	if (trailer != *length)
		return bad_trailer(f, *length, trailer, err);
	return MT_PARSE_OK;
}

static int describe(struct pcapng *f, const struct block *b, struct mt_err *err)
{
	switch (b->type) {
	case BLOCK_SECTION:
		return parse_section(f, b, err);
	case BLOCK_INTERFACE:
		return parse_interface(f, b, err);
	case BLOCK_STATISTICS:
		return parse_statistics(f, b, err);
	default:
		return 0;
	}
}

/* The trailing length of a block whose body was skipped unread. */
static enum mt_parse skipped_trailer(struct pcapng *f, const uint8_t *p, size_t left, bool at_end, size_t *want,
                                     struct mt_err *err)
{
	if (left < 4)
		return need(4, "the end of a block", left, at_end, f, want, err);
	uint32_t trailer = mt_load32(p, f->swap);
	if (trailer != f->skipped_length)
		return bad_trailer(f, f->skipped_length, trailer, err);
	f->trailer_due = false;
	return MT_PARSE_OK;
}

static enum mt_parse pcapng_parse(struct mt_parser *base, const uint8_t *p, size_t avail, bool at_end,
                                  struct mt_packet *out, unsigned max, unsigned *n, size_t *used, size_t *want,
                                  struct mt_err *err)
{
	struct pcapng *f = (struct pcapng *)base;
	*n = 0;
	*used = 0;
	if (f->trailer_due) {
		enum mt_parse result = skipped_trailer(f, p, avail, at_end, want, err);
		if (result != MT_PARSE_OK)
			return result;
		*used = 4;
	}
	for (;;) {
		struct block b;
		uint32_t length = 0;
		enum mt_parse result = next_block(f, p + *used, avail - *used, at_end, &b, &length, want, err);
		if (result != MT_PARSE_OK)
			return result;
		if (is_packet(b.type)) {
			if (*n == max)
				return MT_PARSE_OK;
			if ((b.type == BLOCK_SIMPLE ? parse_simple : parse_packet)(f, &b, &out[*n], err))
				return MT_PARSE_ERROR;
			++*n;
			base->packets++;
		} else if (length > avail - *used) { /* skip all but the trailer */
			f->trailer_due = true;
			f->skipped_length = length;
			*used += length - 4;
			*want = 4;
			return MT_PARSE_MORE;
		} else if (describe(f, &b, err)) {
			return MT_PARSE_ERROR;
		}
		*used += length;
	}
}

/* The section header; what follows is parse's. */
static enum mt_parse pcapng_header(struct mt_parser *base, const uint8_t *p, size_t avail, bool at_end,
                                   size_t *used, size_t *want, struct mt_err *err)
{
	struct pcapng *f = (struct pcapng *)base;
	struct block b;
	uint32_t length = 0;
	enum mt_parse result = next_block(f, p, avail, at_end, &b, &length, want, err);
	if (result == MT_PARSE_OK)
		result = parse_section(f, &b, err) ? MT_PARSE_ERROR : MT_PARSE_OK;
	if (result == MT_PARSE_OK)
		*used = length;
	if (result == MT_PARSE_ERROR)
		mt_err_prefix(err, "no valid pcapng header");
	return result;
}

static void pcapng_clear(struct mt_parser *base)
{
	free(((struct pcapng *)base)->interfaces);
}

const struct mt_parser_ops mt_parser_pcapng = {
        .name = "pcapng",
        .size = sizeof(struct pcapng),
        .detect = pcapng_detect,
        .header = pcapng_header,
        .parse = pcapng_parse,
        .clear = pcapng_clear,
};
