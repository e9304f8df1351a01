/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dns_text.c - the data of a DNS record as it would stand in a zone file (RFC 1035 5.1).
 *
 * For r.text of a script, so some thousand times a second at most.  Types that are not known here, and
 * data that does not have the form of its type, are written as RFC 3597 has it: \# LENGTH HEX.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "decode.h"
#include "dns.h"

/* Keys of SVCB and HTTPS records, RFC 9460 14.3.2 and RFC 9461. */
enum { KEY_ALPN = 1, KEY_NO_DEFAULT_ALPN = 2, KEY_PORT = 3, KEY_IPV4HINT = 4, KEY_IPV6HINT = 6 };

/* Text that may not all fit. */
struct text {
	char *place;
	size_t size;
	size_t used; /* characters that the whole needs */
};

/* Data of a record: bytes of the message from offset to end. */
struct rdata {
	const uint8_t *message;
	uint32_t offset, end;
};

static void add_char(struct text *t, char c)
{
	if (t->used + 1 < t->size)
		t->place[t->used] = c;
	t->used++;
}

static void add_bytes(struct text *t, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_char(t, bytes[i]);
}

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	char piece[64]; /* numbers only */
	va_list args;

	va_start(args, format);
	int n = vsnprintf(piece, sizeof piece, format, args);
	va_end(args);
	if (n > 0)
		add_bytes(t, piece, (size_t)n < sizeof piece ? (size_t)n : sizeof piece - 1);
}

/* --- parts of record data: each returns false if it is not there ---------------------------- */

static bool has_left(const struct rdata *r, uint32_t n)
{
	return r->end - r->offset >= n;
}

static bool add_u8(struct text *t, struct rdata *r)
{
	if (!has_left(r, 1))
		return false;
	add(t, "%u", r->message[r->offset]);
	r->offset += 1;
	return true;
}

static bool add_u16(struct text *t, struct rdata *r)
{
	if (!has_left(r, 2))
		return false;
	add(t, "%u", get16(r->message + r->offset));
	r->offset += 2;
	return true;
}

static bool add_u32(struct text *t, struct rdata *r)
{
	if (!has_left(r, 4))
		return false;
	add(t, " %u", get32(r->message + r->offset));
	r->offset += 4;
	return true;
}

static bool add_name(struct text *t, struct rdata *r)
{
	char name[MT_DNS_NAME_TEXT];
	int32_t n = mt_dns_name(r->message, r->end, r->offset, 0, name);

	if (n < 0)
		return false;
	add_bytes(t, name, (size_t)n);
	r->offset = mt_dns_skip_name(r->message, r->end, r->offset);
	return true;
}

static bool add_address(struct text *t, struct rdata *r, uint32_t len)
{
	char address[64];

	if (!has_left(r, len))
		return false;
	add_bytes(t, address, (size_t)mt_address_format(r->message + r->offset, (int)len, address));
	r->offset += len;
	return true;
}

static void add_quoted(struct text *t, const uint8_t *bytes, uint32_t n)
{
	add_char(t, '"');
	for (uint32_t i = 0; i < n; i++) {
		if (bytes[i] < 0x20 || bytes[i] >= 0x7f)
			add(t, "\\%03u", bytes[i]);
		else
			add(t, bytes[i] == '"' || bytes[i] == '\\' ? "\\%c" : "%c", bytes[i]);
	}
	add_char(t, '"');
}

/* A string behind its length. */
static bool add_string(struct text *t, struct rdata *r)
{
	if (!has_left(r, 1) || !has_left(r, 1u + r->message[r->offset]))
		return false;
	uint32_t n = r->message[r->offset];
	add_quoted(t, r->message + r->offset + 1, n);
	r->offset += 1 + n;
	return true;
}

/* The same of plain characters, without quotes. */
static bool add_token(struct text *t, struct rdata *r)
{
	if (!has_left(r, 1) || !has_left(r, 1u + r->message[r->offset]))
		return false;
	uint32_t n = r->message[r->offset];
	for (uint32_t i = 1; i <= n; i++) {
		uint8_t c = r->message[r->offset + i];
		if (c <= 0x20 || c >= 0x7f || c == '"' || c == ',' || c == '\\')
			return false;
		add_char(t, (char)c);
	}
	r->offset += 1 + n;
	return true;
}

/* --- types ------------------------------------------------------------------------------- */

static bool add_strings(struct text *t, struct rdata *r)
{
	bool good = add_string(t, r);

	while (good && has_left(r, 1)) {
		add_char(t, ' ');
		good = add_string(t, r);
	}
	return good;
}

static bool add_soa(struct text *t, struct rdata *r)
{
	if (!add_name(t, r))
		return false;
	add_char(t, ' ');
	return add_name(t, r) && add_u32(t, r) && add_u32(t, r) && add_u32(t, r) && add_u32(t, r) &&
	       add_u32(t, r);
}

/* Numbers of 16 bits, then a name. */
static bool add_numbers_and_name(struct text *t, struct rdata *r, unsigned numbers)
{
	for (; numbers; numbers--) {
		if (!add_u16(t, r))
			return false;
		add_char(t, ' ');
	}
	return add_name(t, r);
}

/* RFC 8659 4.1 */
static bool add_caa(struct text *t, struct rdata *r)
{
	if (!add_u8(t, r) || !has_left(r, 1) || !has_left(r, 1u + r->message[r->offset]))
		return false;
	uint32_t tag = r->message[r->offset];
	for (uint32_t i = 1; i <= tag; i++) {
		uint8_t c = r->message[r->offset + i];
		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
			return false;
	}
	add_char(t, ' ');
	add_bytes(t, (const char *)r->message + r->offset + 1, tag);
	add_char(t, ' ');
	r->offset += 1 + tag;
	add_quoted(t, r->message + r->offset, r->end - r->offset);
	r->offset = r->end;
	return true;
}

static bool add_list(struct text *t, struct rdata *r, uint32_t address_len)
{
	bool good = has_left(r, 1);

	while (good && has_left(r, 1)) {
		good = address_len ? add_address(t, r, address_len) : add_token(t, r);
		if (good && has_left(r, 1))
			add_char(t, ',');
	}
	return good;
}

/* One parameter of SVCB, whose value is the rest of *value. */
static bool add_parameter(struct text *t, uint16_t key, struct rdata *value)
{
	switch (key) {
	case KEY_ALPN:
		add(t, " alpn=");
		return add_list(t, value, 0);
	case KEY_NO_DEFAULT_ALPN:
		add(t, " no-default-alpn");
		return true;
	case KEY_PORT:
		add(t, " port=");
		return add_u16(t, value);
	case KEY_IPV4HINT:
		add(t, " ipv4hint=");
		return add_list(t, value, 4);
	case KEY_IPV6HINT:
		add(t, " ipv6hint=");
		return add_list(t, value, 16);
	default:
		add(t, " key%u=", key);
		add_quoted(t, value->message + value->offset, value->end - value->offset);
		value->offset = value->end;
		return true;
	}
}

static bool add_svcb(struct text *t, struct rdata *r)
{
	if (!add_numbers_and_name(t, r, 1))
		return false;
	while (has_left(r, 4)) {
		uint16_t key = get16(r->message + r->offset);
		uint32_t n = get16(r->message + r->offset + 2);
		struct rdata value = {r->message, r->offset + 4, r->offset + 4 + n};
		if (!has_left(r, 4 + n) || !add_parameter(t, key, &value) || value.offset != value.end)
			return false;
		r->offset = value.end;
	}
	return true;
}

static bool add_type(struct text *t, struct rdata *r, uint16_t type)
{
	switch (type) {
	case MT_DNS_A:
		return add_address(t, r, 4);
	case MT_DNS_AAAA:
		return add_address(t, r, 16);
	case MT_DNS_NS:
	case MT_DNS_CNAME:
	case MT_DNS_PTR:
	case MT_DNS_DNAME:
		return add_name(t, r);
	case MT_DNS_MX:
		return add_numbers_and_name(t, r, 1);
	case MT_DNS_SRV:
		return add_numbers_and_name(t, r, 3);
	case MT_DNS_SOA:
		return add_soa(t, r);
	case MT_DNS_TXT:
	case MT_DNS_SPF:
	case MT_DNS_HINFO:
		return add_strings(t, r);
	case MT_DNS_SVCB:
	case MT_DNS_HTTPS:
		return add_svcb(t, r);
	case MT_DNS_CAA:
		return add_caa(t, r);
	default:
		return false;
	}
}

static void add_unknown(struct text *t, const struct rdata *r)
{
	add(t, "\\# %u", r->end - r->offset);
	if (r->offset < r->end)
		add_char(t, ' ');
	for (uint32_t i = r->offset; i < r->end; i++)
		add(t, "%02x", r->message[i]);
}

size_t mt_dns_rdata_text(const uint8_t *data, uint32_t len, uint32_t fixed, char *text, size_t size)
{
	struct text t = {text, size, 0};
	uint32_t offset = fixed + MT_DNS_FIXED;

	if (fixed > len || len - fixed < MT_DNS_FIXED || len - offset < get16(data + fixed + 8))
		return 0;
	struct rdata r = {data, offset, offset + get16(data + fixed + 8)};
	const struct rdata whole = r;
	if (!add_type(&t, &r, get16(data + fixed)) || r.offset != r.end) {
		t.used = 0;
		add_unknown(&t, &whole);
	}
	if (size)
		text[t.used < size ? t.used : size - 1] = 0;
	return t.used;
}
