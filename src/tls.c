/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls.c - the hello that begins a TLS connection (RFC 8446 4.1, RFC 5246 7.4.1) or a DTLS one: p:tls().
 *
 * Called by hooks for every packet of theirs, so the first bytes decide at once that most are no hello.
 * Of a hello one pass notes where everything is, some 2 ns an extension; strings are made when they are asked
 * for.  A hello that lies in several records of one segment is put together; what is behind the segment or was
 * not captured is missing, and all that stands before is there.
 */
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "decode.h"
#include "tls.h"

enum {
	RECORD_HEADER = 5,
	DTLS_RECORD_HEADER = 13,
	HANDSHAKE_HEADER = 4,
	DTLS_HANDSHAKE_HEADER = 12,
	RECORD_MAX = 16384 + 2048, /* RFC 5246 6.2.3 */
	HELLO_MAX = 1 << 17,       /* no hello is as long as this */
	RANDOM = 32,
	NAME_MAX_BYTES = 255 /* of a server: it is a DNS name */
};

enum { CONTENT_HANDSHAKE = 22 };

enum { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16, EXTENSION_VERSIONS = 43 };

/* The random of a ServerHello that is a HelloRetryRequest, RFC 8446 4.1.3. */
static const uint8_t retry[RANDOM] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                      0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                      0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

/* RFC 8701: 0x0a0a, 0x1a1a, … 0xfafa. */
static bool is_grease(uint16_t value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

/* The version of a number in the order in which versions came; drafts of TLS 1.3 (0x7f..) before it; 0: not
 * known. */
static unsigned version_rank(uint16_t version)
{
	switch (version >> 8) {
	case 3:
		return (version & 0xffu) << 8;
	case 0x7f:
		return 0x300 + (version & 0xffu);
	case 0xfe:
		return (0x100 - (version & 0xffu)) << 8;
	default:
		return 0;
	}
}

/* --- a piece of the hello, read from its front ------------------------------------------- */

struct piece {
	const uint8_t *hello;
	uint32_t offset, end; /* end: of the captured bytes, or of the vector that it is */
};

static bool has_left(const struct piece *p, uint32_t n)
{
	return p->end - p->offset >= n;
}

/* Take the vector behind a length of length_bytes.  False: it is not all there. */
static bool take(struct piece *p, unsigned length_bytes, struct piece *vector)
{
	if (!has_left(p, length_bytes))
		return false;
	uint32_t n = length_bytes == 1 ? p->hello[p->offset] : get16(p->hello + p->offset);
	if (!has_left(p, length_bytes + n))
		return false;
	*vector = (struct piece){p->hello, p->offset + length_bytes, p->offset + length_bytes + n};
	p->offset = vector->end;
	return true;
}

static bool take16(struct piece *p, uint16_t *value)
{
	if (!has_left(p, 2))
		return false;
	*value = get16(p->hello + p->offset);
	p->offset += 2;
	return true;
}

/* --- extensions -------------------------------------------------------------------------- */

/* RFC 6066 3.  A server confirms the name with an empty extension. */
static bool read_server_name(struct mt_tls *tls, struct piece body)
{
	struct piece list, name;

	if (body.offset == body.end)
		return tls->type == MT_TLS_SERVER_HELLO;
	if (!take(&body, 2, &list))
		return false;
	while (has_left(&list, 1)) {
		bool host_name = list.hello[list.offset++] == 0;
		if (!take(&list, 2, &name) || name.offset == name.end ||
		    name.end - name.offset > NAME_MAX_BYTES)
			return false;
		if (host_name && !tls->sni) {
			tls->sni = name.offset;
			tls->sni_len = name.end - name.offset;
		}
	}
	return true;
}

/* RFC 7301 3.1 */
static bool read_alpn(struct mt_tls *tls, struct piece body)
{
	struct piece list, name;

	if (!take(&body, 2, &list))
		return false;
	tls->alpn = list.offset;
	tls->alpn_len = list.end - list.offset;
	while (has_left(&list, 1))
		if (!take(&list, 1, &name) || name.offset == name.end)
			return false;
	return true;
}

/* RFC 8446 4.2.1 */
static bool read_versions(struct mt_tls *tls, struct piece body)
{
	uint16_t version, best = 0;
	struct piece list;

	if (tls->type == MT_TLS_SERVER_HELLO)
		return take16(&body, &tls->version);
	if (!take(&body, 1, &list))
		return false;
	while (take16(&list, &version)) {
		if (is_grease(version))
			tls->grease = 1;
		else if (!best || version_rank(version) > version_rank(best))
			best = version;
	}
	if (best)
		tls->version = best;
	return list.offset == list.end;
}

static bool read_extension(struct mt_tls *tls, uint16_t type, struct piece body)
{
	switch (type) {
	case EXTENSION_SERVER_NAME:
		return read_server_name(tls, body);
	case EXTENSION_ALPN:
		return read_alpn(tls, body);
	case EXTENSION_VERSIONS:
		return read_versions(tls, body);
	default:
		return true;
	}
}

/* False: an extension runs past the end of the list, or of what was captured. */
static bool read_extensions(struct mt_tls *tls, struct piece list)
{
	uint16_t type;
	struct piece body;

	while (list.offset < list.end) {
		if (!take16(&list, &type) || !take(&list, 2, &body))
			return false;
		tls->extensions_end = body.end;
		if (is_grease(type)) {
			tls->grease = 1;
			continue;
		}
		tls->extension_count++;
		if (!read_extension(tls, type, body))
			tls->malformed = 1;
	}
	return true;
}

/* --- the hello --------------------------------------------------------------------------- */

static bool read_client(struct mt_tls *tls, struct piece *p)
{
	struct piece cookie, ciphers, compression;

	if (tls->dtls && !take(p, 1, &cookie)) /* RFC 6347 4.2.1 */
		return false;
	if (!take(p, 2, &ciphers))
		return false;
	tls->ciphers = ciphers.offset;
	tls->ciphers_len = ciphers.end - ciphers.offset;
	tls->malformed |= tls->ciphers_len % 2;
	for (uint16_t cipher; take16(&ciphers, &cipher);) {
		tls->cipher_count += !is_grease(cipher);
		tls->grease |= is_grease(cipher);
	}
	return take(p, 1, &compression);
}

static bool read_server(struct mt_tls *tls, struct piece *p)
{
	if (!take16(p, &tls->cipher))
		return false;
	tls->cipher_count = 1;
	tls->ciphers = p->offset - 2;
	tls->ciphers_len = 2;
	return true;
}

static bool read_session_id(struct mt_tls *tls, struct piece *p)
{
	struct piece id;

	if (!take(p, 1, &id))
		return false;
	tls->session_id_len = id.end - id.offset;
	return true;
}

/* All but extensions.  False: it ends too early. */
static bool read_head(struct mt_tls *tls, struct piece *p)
{
	bool server = tls->type == MT_TLS_SERVER_HELLO;

	if (!take16(p, &tls->legacy_version) || !has_left(p, RANDOM))
		return false;
	tls->version = tls->legacy_version;
	tls->retry = server && memcmp(p->hello + p->offset, retry, RANDOM) == 0;
	p->offset += RANDOM;
	if (!server)
		return read_session_id(tls, p) && read_client(tls, p);
	if (tls->version >> 8 == 0x7f) /* drafts of TLS 1.3 up to 21: neither session nor compression */
		return read_server(tls, p);
	if (!read_session_id(tls, p) || !read_server(tls, p) || !has_left(p, 1))
		return false;
	p->offset += 1; /* compression */
	return true;
}

/* False: it ends too early. */
static bool read_hello(struct mt_tls *tls)
{
	struct piece p = {tls->hello, 0, tls->len};
	uint16_t n;

	if (!read_head(tls, &p))
		return false;
	if (!has_left(&p, 1) && !tls->missing) /* extensions may be left out */
		return true;
	if (!take16(&p, &n))
		return false;
	bool all = has_left(&p, n);
	p.end = all ? p.offset + n : p.end;
	tls->extensions = tls->extensions_end = p.offset;
	return read_extensions(tls, p) && all;
}

/* --- records ----------------------------------------------------------------------------- */

/* Bytes of the hello without its header, as the header has it. */
static uint32_t hello_size(const uint8_t *handshake)
{
	return get32(handshake) & 0xffffff;
}

/* Put the pieces of a handshake message together that lie in several records.  Returns how much there is. */
static uint32_t join(struct mt_tls *tls)
{
	uint32_t at = 0, used = 0, wanted = HANDSHAKE_HEADER;

	while (tls->payload_len - at > RECORD_HEADER && tls->payload[at] == CONTENT_HANDSHAKE) {
		uint32_t n = get16(tls->payload + at + 3), left = tls->payload_len - at - RECORD_HEADER;
		uint32_t room = (uint32_t)sizeof tls->joined - used, piece = n < left ? n : left;
		memcpy(tls->joined + used, tls->payload + at + RECORD_HEADER, piece < room ? piece : room);
		used += piece < room ? piece : room;
		if (used >= HANDSHAKE_HEADER)
			wanted = HANDSHAKE_HEADER + hello_size(tls->joined);
		if (used >= wanted || piece >= room || n >= left)
			break;
		at += RECORD_HEADER + n;
	}
	return used;
}

/* Where the body of the hello is: in the payload if it is in one piece there. */
static void place_stream(struct mt_tls *tls)
{
	const uint8_t *handshake = tls->payload + RECORD_HEADER;
	uint32_t in_record = get16(tls->payload + 3), captured = tls->payload_len - RECORD_HEADER;

	tls->type = handshake[0];
	tls->record_version = get16(tls->payload + 1);
	if (captured > in_record) {
		captured = in_record;
		if (in_record < HANDSHAKE_HEADER || hello_size(handshake) > in_record - HANDSHAKE_HEADER) {
			captured = join(tls);
			handshake = tls->joined;
		}
	}
	if (captured < HANDSHAKE_HEADER) {
		tls->hello = handshake + captured;
		tls->missing = 1;
		return;
	}
	uint32_t size = hello_size(handshake);
	captured -= HANDSHAKE_HEADER;
	tls->hello = handshake + HANDSHAKE_HEADER;
	tls->len = size < captured ? size : captured;
	tls->missing = size > captured;
}

static void place_datagram(struct mt_tls *tls)
{
	const uint8_t *p = tls->payload + DTLS_RECORD_HEADER; /* RFC 6347 4.2.2 */

	tls->type = p[0];
	tls->record_version = get16(tls->payload + 1);
	uint32_t size = hello_size(p), in_fragment = get32(p + 8) & 0xffffff, in_record = get16(p - 2);
	tls->hello = p + DTLS_HANDSHAKE_HEADER;
	tls->len = tls->payload_len - DTLS_RECORD_HEADER - DTLS_HANDSHAKE_HEADER;
	if (in_record < DTLS_HANDSHAKE_HEADER + tls->len)
		tls->len = in_record < DTLS_HANDSHAKE_HEADER ? 0 : in_record - DTLS_HANDSHAKE_HEADER;
	if (in_fragment < tls->len)
		tls->len = in_fragment;
	if (size < tls->len)
		tls->len = size;
	tls->missing = size > tls->len;
}

void mt_tls_parse(struct mt_tls *tls)
{
	size_t start = offsetof(struct mt_tls, hello);

	memset((uint8_t *)tls + start, 0, offsetof(struct mt_tls, joined) - start);
	(tls->dtls ? place_datagram : place_stream)(tls);
	if (!read_hello(tls) && !tls->missing)
		tls->malformed = 1;
}

/* --- is it one --------------------------------------------------------------------------- */

static bool is_hello_type(uint8_t type)
{
	return type == MT_TLS_CLIENT_HELLO || type == MT_TLS_SERVER_HELLO;
}

static bool begins_stream(const uint8_t *p, uint32_t len)
{
	const uint8_t *handshake = p + RECORD_HEADER;
	uint16_t in_record = get16(p + 3);

	if (p[1] != 3 || p[2] > 4 || in_record == 0 || in_record > RECORD_MAX || !is_hello_type(handshake[0]))
		return false;
	if (len <= RECORD_HEADER + HANDSHAKE_HEADER || in_record <= HANDSHAKE_HEADER)
		return true; /* no more of it in one piece */
	uint8_t version = handshake[HANDSHAKE_HEADER];
	return hello_size(handshake) <= HELLO_MAX && (version == 3 || version == 0x7f);
}

static bool begins_datagram(const uint8_t *p, uint32_t len)
{
	const uint8_t *handshake = p + DTLS_RECORD_HEADER;

	if (len < DTLS_RECORD_HEADER + DTLS_HANDSHAKE_HEADER || p[1] != 0xfe || p[2] < 0xfc)
		return false;
	return is_hello_type(handshake[0]) && hello_size(handshake) <= HELLO_MAX &&
	       (get32(handshake + 5) & 0xffffff) == 0; /* its first fragment */
}

int32_t mt_tls_find(struct mt_tls *tls, const struct mt_packet *packet, const struct mt_decoded *decoded)
{
	const uint8_t *payload = packet->data + decoded->payload_offset;

	if (decoded->payload_len < RECORD_HEADER + 1 || payload[0] != CONTENT_HANDSHAKE)
		return 0;
	bool udp = decoded->bits & MT_IS_UDP;
	if (!(decoded->bits & MT_HAS_PORTS) || !(udp || decoded->bits & MT_IS_TCP) ||
	    !(udp ? begins_datagram : begins_stream)(payload, decoded->payload_len))
		return 0;
	tls->payload = payload;
	tls->payload_len = decoded->payload_len;
	tls->dtls = udp;
	mt_tls_parse(tls);
	tls->made += 1;
	tls->stamp = tls->made;
	return 1;
}

/* --- lists ------------------------------------------------------------------------------- */

int32_t mt_tls_next_number(const uint8_t *hello, uint32_t *offset, uint32_t end)
{
	uint16_t value;
	struct piece p = {hello, *offset, end};

	while (take16(&p, &value)) {
		*offset = p.offset;
		if (!is_grease(value))
			return value;
	}
	return -1;
}

int32_t mt_tls_next_extension(const uint8_t *hello, uint32_t *offset, uint32_t end, uint32_t *body,
                              uint32_t *len)
{
	uint16_t type;
	struct piece p = {hello, *offset, end}, value;

	while (take16(&p, &type) && take(&p, 2, &value)) {
		*offset = p.offset;
		*body = value.offset;
		*len = value.end - value.offset;
		if (!is_grease(type))
			return type;
	}
	return -1;
}

int32_t mt_tls_next_name(const uint8_t *hello, uint32_t *offset, uint32_t end, uint32_t *name)
{
	struct piece p = {hello, *offset, end}, value;

	while (take(&p, 1, &value)) {
		uint32_t len = value.end - value.offset;
		*offset = p.offset;
		*name = value.offset;
		if (len != 2 || !is_grease(get16(hello + value.offset)))
			return (int32_t)len;
	}
	return -1;
}

/* --- text -------------------------------------------------------------------------------- */

int32_t mt_tls_text(const uint8_t *bytes, uint32_t len, int32_t lower, char *text)
{
	char *end = text;

	for (uint32_t i = 0; i < len; i++) {
		uint8_t c = bytes[i];
		if (c > 0x20 && c < 0x7f && c != '\\') {
			*end++ = (char)(lower && c >= 'A' && c <= 'Z' ? c | 0x20 : c);
			continue;
		}
		*end++ = '\\';
		*end++ = (char)('0' + c / 100);
		*end++ = (char)('0' + c / 10 % 10);
		*end++ = (char)('0' + c % 10);
	}
	return (int32_t)(end - text);
}

int32_t mt_tls_host_match(const uint8_t *host, uint32_t len, const char *text, size_t text_len, int32_t ends)
{
	if (text_len && text[text_len - 1] == '.')
		text_len--;
	if (len && host[len - 1] == '.')
		len--;
	if (text_len > len || (text_len < len && !ends) ||
	    strncasecmp((const char *)host + len - text_len, text, text_len) != 0)
		return 0;
	return text_len == len || !text_len || host[len - text_len - 1] == '.';
}
