/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit_comment.c - comments on packets, as pcapng keeps them: options with code 1 and UTF-8 text.
 *
 * The raw options of a packet stay in the byte order of the file they came from, and a comment
 * is added in the same one (pcapng, section 3.5.1).  A few calls a packet at most.
 */
#include <string.h>

#include "edit.h"

enum { OPTION_END = 0, OPTION_COMMENT = 1, OPTION_FLAGS = 2, OPTION_HEADER = 4, OPTIONS_MAX = UINT16_MAX };

static uint16_t load16(const uint8_t *p, bool swapped)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return swapped ? __builtin_bswap16(v) : v;
}

static size_t pad4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* The option at *at, moving *at behind it.  False: the end, or it lies about its length. */
static bool next_option(const struct mt_packet *p, uint32_t *at, uint16_t *code, uint16_t *len)
{
	bool swapped = p->flags & MT_PACKET_OPTIONS_SWAPPED;
	if (!p->options || *at > p->options_len || p->options_len - *at < OPTION_HEADER)
		return false;
	*code = load16(p->options + *at, swapped);
	*len = load16(p->options + *at + 2, swapped);
	if (*code == OPTION_END || pad4(*len) > p->options_len - *at - OPTION_HEADER)
		return false;
	*at += OPTION_HEADER + (uint32_t)pad4(*len);
	return true;
}

int32_t mt_packet_comment(const struct mt_packet *packet, uint32_t at, uint32_t *len)
{
	uint16_t code, size;
	for (uint32_t start = (at + 3) & ~3u; at = start, next_option(packet, &start, &code, &size);) {
		if (code != OPTION_COMMENT)
			continue;
		*len = size;
		return (int32_t)at + OPTION_HEADER;
	}
	return -1;
}

/* Bytes of the options that are whole, without an end mark. */
static uint32_t whole_options(const struct mt_packet *p)
{
	uint32_t at = 0;
	uint16_t code, len;
	while (next_option(p, &at, &code, &len))
		;
	return at;
}

/* Is this UTF-8 (RFC 3629: no surrogates, no overlong forms, up to U+10FFFF)? */
static bool is_utf8(const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint8_t c = s[i++];
		if (c < 0x80)
			continue;
		unsigned more = c >= 0xc2 && c <= 0xdf   ? 1
		                : (c & 0xf0) == 0xe0     ? 2
		                : c >= 0xf0 && c <= 0xf4 ? 3
		                                         : 0;
		if (!more || more > n - i)
			return false;
		if ((c == 0xe0 && s[i] < 0xa0) || (c == 0xed && s[i] > 0x9f) || (c == 0xf0 && s[i] < 0x90) ||
		    (c == 0xf4 && s[i] > 0x8f))
			return false;
		for (; more; more--)
			if ((s[i++] & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static uint8_t *put_option(uint8_t *at, uint16_t code, const void *value, size_t len, bool swapped)
{
	uint16_t header[2] = {code, (uint16_t)len};
	if (swapped)
		header[0] = __builtin_bswap16(header[0]), header[1] = __builtin_bswap16(header[1]);
	memcpy(at, header, OPTION_HEADER);
	memcpy(at + OPTION_HEADER, value, len);
	memset(at + OPTION_HEADER + len, 0, pad4(len) - len);
	return at + OPTION_HEADER + pad4(len);
}

/* Make the options ours, with room for `more` bytes behind those that there are. */
static enum mt_edit_result own_options(struct mt_edit *e, uint32_t used, uint32_t more)
{
	struct mt_packet *p = e->packet;
	if (used + more > OPTIONS_MAX)
		return MT_EDIT_OPTIONS;
	if (used + more > e->options_room) {
		uint32_t room = 2 * (used + more);
		uint8_t *options = mt_edit_alloc(e->edits, room);
		if (!options)
			return MT_EDIT_NO_MEMORY;
		if (used)
			memcpy(options, p->options, used);
		p->options = options;
		e->options_room = room;
	}
	return MT_EDIT_DONE;
}

int32_t mt_edit_comment(struct mt_hook_state *st, struct mt_packet *packet, const char *text, size_t len)
{
	if (packet < st->batch->packets || packet >= st->batch->packets + st->batch->n)
		return MT_EDIT_COPY;
	if (!is_utf8((const uint8_t *)text, len))
		return MT_EDIT_TEXT;
	if (len > OPTIONS_MAX - OPTION_HEADER)
		return MT_EDIT_OPTIONS;
	struct mt_edit *e = mt_edit_note(st, packet);
	if (!e)
		return MT_EDIT_NO_MEMORY;
	uint32_t used = whole_options(packet), flags = packet->direction;
	/* The direction of a packet is written as an option of its own only while there are no others. */
	uint32_t extra = used || !flags ? 0 : OPTION_HEADER + 4;
	enum mt_edit_result r = own_options(e, used, extra + OPTION_HEADER + (uint32_t)pad4(len));
	if (r != MT_EDIT_DONE)
		return r;
	if (!used)
		packet->flags &= (uint8_t)~MT_PACKET_OPTIONS_SWAPPED;
	uint8_t *options = (uint8_t *)(uintptr_t)packet->options, *at = options + used;
	if (extra)
		at = put_option(at, OPTION_FLAGS, &flags, sizeof flags, false);
	at = put_option(at, OPTION_COMMENT, text, len, packet->flags & MT_PACKET_OPTIONS_SWAPPED);
	packet->options_len = (uint16_t)(at - options);
	mt_edit_feature(e, MT_EDITED_COMMENT);
	return MT_EDIT_DONE;
}
