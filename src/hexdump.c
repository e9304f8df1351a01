/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hexdump.c - bytes and addresses as text, for p:hexdump(), tostring(p.src) and --print.
 *
 * Called for single packets that somebody looks at, not for every one of a run.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "abi.h"

enum {
	LINE_BYTES = 16,
	LINE_TEXT = 96 /* the longest line is 18 + 49 + 2 + 16 characters */
};

int mt_address_format(const uint8_t *address, int len, char *text)
{
	text[0] = 0;
	if (len == 4)
		inet_ntop(AF_INET, address, text, INET_ADDRSTRLEN);
	else if (len == 16)
		inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
	return (int)strlen(text);
}

/* "0010  68 65 6c 6c 6f  ...  hello" of up to 16 bytes into line[LINE_TEXT]; its length. */
static size_t hexdump_line(const uint8_t *data, size_t n, size_t offset, int digits, char *line)
{
	size_t at = (size_t)snprintf(line, LINE_TEXT, "%0*zx ", digits, offset);

	for (size_t i = 0; i < LINE_BYTES; i++) {
		static const char hex[] = "0123456789abcdef";
		if (i == LINE_BYTES / 2)
			line[at++] = ' ';
		line[at++] = ' ';
		line[at++] = i < n ? hex[data[i] >> 4] : ' ';
		line[at++] = i < n ? hex[data[i] & 15] : ' ';
	}
	line[at++] = ' ';
	line[at++] = ' ';
	for (size_t i = 0; i < n; i++)
		line[at++] = data[i] >= 0x20 && data[i] < 0x7f ? (char)data[i] : '.';
	return at;
}

/* Lines are separated by newlines; there is none after the last. */
size_t mt_hexdump(const uint8_t *data, size_t len, char *text, size_t size)
{
	int digits = len > 0x10000 ? 6 : 4;
	size_t needed = 0, written = 0;
	char line[LINE_TEXT];

	for (size_t offset = 0; offset < len; offset += LINE_BYTES) {
		size_t left = len - offset;
		size_t n = hexdump_line(data + offset, left < LINE_BYTES ? left : LINE_BYTES, offset, digits,
		                        line);
		if (left > LINE_BYTES)
			line[n++] = '\n';
		needed += n;
		size_t room = size ? size - 1 - written : 0;
		if (n > room)
			n = room;
		if (n) /* text may be NULL when only the length is asked for */
			memcpy(text + written, line, n);
		written += n;
	}
	if (size)
		text[written] = 0;
	return needed;
}
