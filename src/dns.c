/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dns.c - DNS messages (RFC 1035) as offsets: p:dns().
 *
 * Called by hooks, so up to some million times a second: mt_dns_find looks at the ports, the header and the
 * first question; records are walked only when a script asks for them.  Nothing is allocated or copied but
 * names, when their text is asked for.
 *
 * A message is what somebody sent: every length is checked against the captured bytes, a compression
 * pointer must point before the piece of the name it stands in (so none can loop), and no number in the
 * header makes for more work than there are bytes.
 */
#include <stdbool.h>
#include <string.h>

#include "decode.h"
#include "dns.h"

enum { PORT_DNS = 53, PORT_NETBIOS_NS = 137, PORT_MDNS = 5353, PORT_LLMNR = 5355 };

enum {
	MIN_QUESTION = 5,  /* bytes: the root, type and class */
	MIN_RECORD = 11,   /* the root and the fixed part */
	MAX_POINTERS = 127 /* in one name; more than there can be labels says nothing */
};

enum { CLASS_IN = 1, CLASS_CHAOS = 3, CLASS_HESIOD = 4, CLASS_NONE = 254, CLASS_ANY = 255 };

enum { OPTION_CLIENT_SUBNET = 8 }; /* RFC 7871 6 */

enum { QUESTIONS, ANSWERS, AUTHORITY, ADDITIONAL, SECTIONS };

/* --- names ------------------------------------------------------------------------------- */

uint32_t mt_dns_skip_name(const uint8_t *data, uint32_t len, uint32_t offset)
{
	uint32_t start = offset;

	while (offset < len) {
		uint8_t n = data[offset];
		if (n >= 0xc0)
			return len - offset >= 2 ? offset + 2 : MT_DNS_CUT;
		if (n >= 0x40 || offset + 1 + n - start > MT_DNS_NAME_MAX)
			return MT_DNS_BAD;
		offset += 1u + n;
		if (!n)
			return offset;
	}
	return MT_DNS_CUT;
}

/* The name at offset without compression; wire has MT_DNS_NAME_MAX bytes, or is NULL.  Returns its bytes, or
 * -1. */
static int unpack(const uint8_t *data, uint32_t len, uint32_t offset, uint8_t *wire)
{
	uint32_t start = offset; /* of the piece in hand */
	int used = 0, pointers = 0;

	while (offset < len) {
		uint8_t n = data[offset];
		if (n >= 0xc0) {
			if (len - offset < 2 || ++pointers > MAX_POINTERS)
				return -1;
			offset = get16(data + offset) & 0x3fff;
			if (offset >= start)
				return -1;
			start = offset;
			continue;
		}
		if (n >= 0x40 || used + 1 + n > MT_DNS_NAME_MAX || len - offset < 1u + n)
			return -1;
		if (wire)
			memcpy(wire + used, data + offset, 1u + n);
		used += 1 + n;
		if (!n)
			return used;
		offset += 1u + n;
	}
	return -1;
}

static uint8_t lower_case(uint8_t c)
{
	return (uint8_t)(c | ((uint8_t)(c - 'A') < 26) << 5);
}

/* A character as it stands in the text of a name (RFC 4343 2.1). */
static inline char *put(char *text, uint8_t c)
{
	if (c > 0x20 && c < 0x7f) {
		if (c == '.' || c == '\\')
			*text++ = '\\';
		*text++ = (char)c;
		return text;
	}
	*text++ = '\\';
	*text++ = (char)('0' + c / 100);
	*text++ = (char)('0' + c / 10 % 10);
	*text++ = (char)('0' + c % 10);
	return text;
}

int32_t mt_dns_name(const uint8_t *data, uint32_t len, uint32_t offset, int32_t lower, char *text)
{
	uint8_t wire[MT_DNS_NAME_MAX];
	const uint8_t *label = wire;
	char *end = text;

	if (unpack(data, len, offset, wire) < 0)
		return -1;
	if (!*label)
		*end++ = '.';
	for (; *label; label += 1 + *label) {
		if (label != wire)
			*end++ = '.';
		for (unsigned i = 1; i <= *label; i++)
			end = put(end, lower ? lower_case(label[i]) : label[i]);
	}
	return (int32_t)(end - text);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* One character of a text, with its escapes.  Returns how many it took, 0 if they make no sense. */
static uint32_t get(const char *text, uint32_t left, uint8_t *c)
{
	*c = (uint8_t)text[0];
	if (*c != '\\')
		return 1;
	if (left < 2)
		return 0;
	*c = (uint8_t)text[1];
	if (!is_digit(text[1]))
		return 2;
	if (left < 4 || !is_digit(text[2]) || !is_digit(text[3]))
		return 0;
	int code = (text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0');
	*c = (uint8_t)code;
	return code <= 255 ? 4 : 0;
}

/* The name that a text means, with or without a dot at its end.  Returns its bytes, or -1. */
static int pack(const char *text, uint32_t len, uint8_t wire[MT_DNS_NAME_MAX])
{
	int label = 0, used = 1; /* where the label in hand has its length */
	uint32_t taken;

	if (len == 1 && text[0] == '.')
		len = 0;
	for (uint32_t i = 0; i < len; i += taken) {
		uint8_t c;
		taken = get(text + i, len - i, &c);
		bool dot = text[i] == '.';
		if (!taken || used >= MT_DNS_NAME_MAX || (dot && used == label + 1) || used - label > 64)
			return -1;
		if (dot) {
			wire[label] = (uint8_t)(used - label - 1);
			label = used++;
		} else {
			wire[used++] = c;
		}
	}
	if (used - label > 64 || used >= MT_DNS_NAME_MAX)
		return -1;
	wire[label] = (uint8_t)(used - label - 1);
	if (wire[label]) /* no dot at the end */
		wire[used++] = 0;
	return used;
}

/* Lengths of labels are below 'A', so they may be compared as the letters are. */
static bool same(const uint8_t *a, const uint8_t *b, int n)
{
	for (int i = 0; i < n; i++)
		if (lower_case(a[i]) != lower_case(b[i]))
			return false;
	return true;
}

int32_t mt_dns_name_match(const uint8_t *data, uint32_t len, uint32_t offset, const char *text, size_t text_len,
                          int32_t ends)
{
	uint8_t name[MT_DNS_NAME_MAX], wanted[MT_DNS_NAME_MAX];

	if (text_len > MT_DNS_NAME_TEXT)
		return 0;
	int wanted_len = pack(text, (uint32_t)text_len, wanted);
	int name_len = wanted_len < 0 ? -1 : unpack(data, len, offset, name);
	int skip = name_len - wanted_len;
	if (name_len < 0 || skip < 0 || (skip && !ends) || !same(name + skip, wanted, wanted_len))
		return 0;
	int label = 0;
	while (label < skip)
		label += 1 + name[label];
	return label == skip;
}

/* --- records ----------------------------------------------------------------------------- */

/* The fixed part of the record at offset, or MT_DNS_CUT or MT_DNS_BAD. */
static uint32_t record_at(const uint8_t *data, uint32_t len, uint32_t offset)
{
	uint32_t fixed = mt_dns_skip_name(data, len, offset);

	if (fixed < MT_DNS_HEADER)
		return fixed;
	if (len - fixed < MT_DNS_FIXED || len - fixed - MT_DNS_FIXED < get16(data + fixed + 8))
		return MT_DNS_CUT;
	return fixed;
}

/* The same for questions, which have type and class only. */
static uint32_t question_at(const uint8_t *data, uint32_t len, uint32_t offset)
{
	uint32_t fixed = mt_dns_skip_name(data, len, offset);

	return fixed >= MT_DNS_HEADER && len - fixed < 4 ? (uint32_t)MT_DNS_CUT : fixed;
}

static uint32_t count(const uint8_t *data, unsigned section)
{
	return get16(data + 4 + 2 * section);
}

/* Entry at *offset of a section: its fixed part (or MT_DNS_CUT, MT_DNS_BAD); *offset goes on to the next. */
static uint32_t next_entry(const struct mt_dns *dns, unsigned section, uint32_t *offset)
{
	bool question = section == QUESTIONS;
	uint32_t fixed =
	        question ? question_at(dns->data, dns->len, *offset) : record_at(dns->data, dns->len, *offset);

	if (fixed >= MT_DNS_HEADER)
		*offset = question ? fixed + 4 : fixed + MT_DNS_FIXED + get16(dns->data + fixed + 8);
	return fixed;
}

void mt_dns_walk(struct mt_dns *dns)
{
	uint32_t offset = MT_DNS_HEADER;

	memset(dns->start, 0, sizeof dns->start);
	dns->walked = 1;
	dns->broken = 0;
	dns->opt = 0;
	dns->index = 0;
	for (unsigned section = 0; section < SECTIONS; section++) {
		dns->start[section] = offset;
		for (uint32_t n = count(dns->data, section); n; n--) {
			uint32_t fixed = next_entry(dns, section, &offset);
			if (fixed < MT_DNS_HEADER) {
				dns->broken = fixed == MT_DNS_BAD || !dns->missing;
				return;
			}
			if (section == ADDITIONAL && !dns->opt && get16(dns->data + fixed) == MT_DNS_OPT)
				dns->opt = fixed;
		}
	}
}

int32_t mt_dns_record(struct mt_dns *dns, uint32_t section, uint32_t index)
{
	if (section >= SECTIONS || !dns->start[section] || index == 0 || index > count(dns->data, section))
		return 0;
	uint32_t at = 0, next = dns->start[section];
	if (dns->index && dns->section == section && dns->index <= index) { /* go on from the last one */
		at = dns->index - 1;
		next = dns->name;
	}
	while (at < index) {
		uint32_t name = next, fixed = next_entry(dns, section, &next);
		if (fixed < MT_DNS_HEADER)
			return 0;
		at++;
		dns->section = section;
		dns->index = at;
		dns->name = name;
		dns->fixed = fixed;
	}
	return 1;
}

static bool name_valid(const uint8_t *data, uint32_t len, uint32_t offset)
{
	return unpack(data, len, offset, NULL) >= 0;
}

int32_t mt_dns_malformed(struct mt_dns *dns)
{
	uint32_t offset = MT_DNS_HEADER;

	if (!dns->walked)
		mt_dns_walk(dns);
	if (dns->broken)
		return 1;
	for (unsigned section = 0; section < SECTIONS; section++) {
		for (uint32_t n = count(dns->data, section); n; n--) {
			uint32_t name = offset, fixed = next_entry(dns, section, &offset);
			if (fixed < MT_DNS_HEADER)
				return 0; /* not captured */
			if (!name_valid(dns->data, dns->len, name) ||
			    (section != QUESTIONS && !mt_dns_rdata_valid(dns->data, fixed)))
				return 1;
		}
	}
	return 0;
}

static bool one_name(const uint8_t *data, uint32_t offset, uint32_t end)
{
	return offset <= end && mt_dns_skip_name(data, end, offset) == end && name_valid(data, end, offset);
}

static bool soa(const uint8_t *data, uint32_t offset, uint32_t end)
{
	uint32_t second = mt_dns_skip_name(data, end, offset);

	return end - offset > 20 && second >= MT_DNS_HEADER && name_valid(data, end, offset) &&
	       one_name(data, second, end - 20);
}

static bool strings(const uint8_t *data, uint32_t offset, uint32_t end)
{
	if (offset == end)
		return false;
	while (offset < end)
		offset += 1u + data[offset];
	return offset == end;
}

static bool options(const uint8_t *data, uint32_t offset, uint32_t end)
{
	while (end - offset >= 4) {
		uint32_t n = get16(data + offset + 2);
		if (end - offset - 4 < n)
			return false;
		offset += 4 + n;
	}
	return offset == end;
}

int mt_dns_rdata_valid(const uint8_t *data, uint32_t fixed)
{
	uint32_t n = get16(data + fixed + 8), offset = fixed + MT_DNS_FIXED, end = offset + n;
	uint16_t class = get16(data + fixed + 2);

	if (!n && (class == CLASS_ANY || class == CLASS_NONE)) /* in an update, RFC 2136 2.4 and 2.5 */
		return true;
	switch (get16(data + fixed)) {
	case MT_DNS_A:
		return n == 4 || class == CLASS_CHAOS;
	case MT_DNS_AAAA:
		return n == 16;
	case MT_DNS_NS:
	case MT_DNS_CNAME:
	case MT_DNS_PTR:
	case MT_DNS_DNAME:
		return one_name(data, offset, end);
	case MT_DNS_MX:
		return one_name(data, offset + 2, end);
	case MT_DNS_SRV:
		return one_name(data, offset + 6, end);
	case MT_DNS_SOA:
		return soa(data, offset, end);
	case MT_DNS_TXT:
	case MT_DNS_SPF:
		return strings(data, offset, end);
	case MT_DNS_OPT:
		return options(data, offset, end);
	default:
		return true;
	}
}

uint32_t mt_dns_option(const struct mt_dns *dns, uint32_t code, uint32_t *len)
{
	if (!dns->opt)
		return 0;
	uint32_t offset = dns->opt + MT_DNS_FIXED, end = offset + get16(dns->data + dns->opt + 8);
	if (end > dns->len)
		return 0;
	while (end - offset >= 4) {
		*len = get16(dns->data + offset + 2);
		if (end - offset - 4 < *len)
			break;
		if (get16(dns->data + offset) == code)
			return offset + 4;
		offset += 4 + *len;
	}
	return 0;
}

int32_t mt_dns_client_subnet(const struct mt_dns *dns, struct mt_address *address)
{
	uint32_t n, offset = mt_dns_option(dns, OPTION_CLIENT_SUBNET, &n);
	uint8_t bytes[16] = {0};

	if (!offset || n < 4)
		return -1;
	const uint8_t *option = dns->data + offset;
	uint32_t family = get16(option), bits = option[2], size = family == 1 ? 4 : family == 2 ? 16 : 0;
	if (bits > size * 8 || n - 4 != (bits + 7) / 8)
		return -1;
	memcpy(bytes, option + 4, n - 4);
	memcpy(&address->high, bytes, 8);
	memcpy(&address->low, bytes + 8, 8);
	address->len = size;
	return size ? (int32_t)bits : -1;
}

/* --- is it DNS --------------------------------------------------------------------------- */

/* May the first question be one?  True if it was not captured. */
static bool question_plausible(const uint8_t *data, uint32_t len)
{
	uint32_t fixed = question_at(data, len, MT_DNS_HEADER);

	if (fixed < MT_DNS_HEADER)
		return fixed == MT_DNS_CUT;
	switch (get16(data + fixed + 2) & 0x7fff) { /* the first bit is another thing in mDNS */
	case CLASS_IN:
	case CLASS_CHAOS:
	case CLASS_HESIOD:
	case CLASS_NONE:
	case CLASS_ANY:
		return get16(data + fixed) != 0;
	default:
		return false;
	}
}

/* Does it look like a message of `size` bytes, for where the port does not say so? */
static bool plausible(const uint8_t *data, uint32_t len, uint32_t size)
{
	unsigned opcode = data[2] >> 3 & 15;
	uint32_t records = count(data, ANSWERS) + count(data, AUTHORITY) + count(data, ADDITIONAL);

	if (opcode == 3 || opcode > 6 || data[3] & 0x40 || (records == 0 && count(data, QUESTIONS) == 0))
		return false;
	if (size - MT_DNS_HEADER <
	    (uint64_t)count(data, QUESTIONS) * MIN_QUESTION + (uint64_t)records * MIN_RECORD)
		return false;
	if (count(data, QUESTIONS))
		return question_plausible(data, len);
	return data[2] & 0x80 && record_at(data, len, MT_DNS_HEADER) != MT_DNS_BAD;
}

static bool is_port(uint16_t n, bool udp)
{
	return n == PORT_DNS || (udp && (n == PORT_MDNS || n == PORT_LLMNR));
}

static bool ports_fit(const struct mt_decoded *d, int32_t port, bool udp)
{
	if (port == MT_DNS_USUAL_PORTS)
		return is_port(d->sport, udp) || is_port(d->dport, udp);
	if (port ==
	    MT_DNS_ANY_PORT) /* NetBIOS names (RFC 1002 4.2) come in the same form, but mean something else */
		return d->sport != PORT_NETBIOS_NS && d->dport != PORT_NETBIOS_NS;
	return d->sport == port || d->dport == port;
}

/* The message in a UDP payload.  size: bytes of it that were sent. */
static bool over_udp(struct mt_dns *dns, const struct mt_packet *packet, const struct mt_decoded *d,
                     uint32_t *size)
{
	uint16_t udp_len = get16(packet->data + d->l4_offset + 4);

	dns->data = packet->data + d->payload_offset;
	dns->len = d->payload_len;
	*size = udp_len >= 8 ? udp_len - 8u
	                     : d->payload_len + (packet->wirelen > packet->caplen); /* 0: jumbogram */
	return true;
}

/* The message at the start of a TCP payload, behind its length (RFC 1035 4.2.2).  One that goes on in
 * the next segment is none; one that goes on behind what was captured is. */
static bool over_tcp(struct mt_dns *dns, const struct mt_packet *packet, const struct mt_decoded *d,
                     uint32_t *size)
{
	uint32_t not_captured = packet->wirelen > packet->caplen ? packet->wirelen - packet->caplen : 0;

	if (d->payload_len < 2 + MT_DNS_HEADER)
		return false;
	dns->data = packet->data + d->payload_offset + 2;
	dns->len = d->payload_len - 2;
	*size = get16(dns->data - 2);
	return *size <= (uint64_t)dns->len + not_captured;
}

int32_t mt_dns_find(struct mt_dns *dns, const struct mt_packet *packet, const struct mt_decoded *decoded,
                    int32_t port)
{
	bool udp = decoded->bits & MT_IS_UDP;
	uint32_t size = 0;

	if (!(decoded->bits & MT_HAS_PORTS) || !(decoded->bits & (MT_IS_UDP | MT_IS_TCP)) ||
	    decoded->payload_len < MT_DNS_HEADER || decoded->l4_offset + 8u > decoded->payload_offset ||
	    !ports_fit(decoded, port, udp))
		return 0;
	dns->stamp = 0; /* it is about no message until all is well */
	if (!(udp ? over_udp : over_tcp)(dns, packet, decoded, &size))
		return 0;
	dns->missing = size > dns->len;
	if (size < dns->len)
		dns->len = size;
	if (dns->len < MT_DNS_HEADER)
		return 0;
	if ((!udp || port == MT_DNS_ANY_PORT) && !plausible(dns->data, dns->len, size))
		return 0;
	dns->question = count(dns->data, QUESTIONS) ? question_at(dns->data, dns->len, MT_DNS_HEADER) : 0;
	if (dns->question < MT_DNS_HEADER)
		dns->question = 0;
	dns->walked = 0;
	dns->made += 1;
	dns->stamp = dns->made;
	return 1;
}
