/* SPDX-License-Identifier: BSD-2-Clause */
#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "units.h"

enum { PIECE = 4096 };

enum mt_line mt_lines_take(struct mt_lines *l, char **line, size_t *len)
{
	if (l->taken) {
		memmove(l->bytes, l->bytes + l->taken, l->n - l->taken);
		l->n -= l->taken;
		l->taken = 0;
	}
	char *end = l->n ? memchr(l->bytes, '\n', l->n) : NULL;
	size_t n = end ? (size_t)(end - l->bytes) : l->n;
	if (n > l->most)
		return MT_LINE_TOO_LONG;
	if (!end && !l->ended)
		return MT_LINE_WAIT;
	if (!end && !l->n)
		return MT_LINE_END;
	l->taken = end ? n + 1 : n;
	l->bytes[n] = '\0'; /* there is room for one more */
	if (n && l->bytes[n - 1] == '\r')
		l->bytes[--n] = '\0';
	*line = l->bytes;
	*len = n;
	return MT_LINE_OK;
}

void mt_lines_fill(struct mt_lines *l)
{
	while (!l->ended && l->n <= l->most) {
		if (l->size - l->n < PIECE + 1) {
			size_t size = l->size ? 2 * l->size : 2 * PIECE;
			char *bytes = realloc(l->bytes, size);
			if (!bytes) {
				l->ended = true;
				return;
			}
			l->bytes = bytes;
			l->size = size;
		}
		ssize_t n = recv(l->fd, l->bytes + l->n, PIECE, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		l->ended = n <= 0;
		l->n += n > 0 ? (size_t)n : 0;
	}
}

enum mt_line mt_lines_wait(struct mt_lines *l, char **line, size_t *len, int timeout_ms)
{
	int64_t until_ms = mt_monotonic_ms() + timeout_ms;
	for (;;) {
		enum mt_line r = mt_lines_take(l, line, len);
		if (r != MT_LINE_WAIT)
			return r;
		int64_t left_ms = timeout_ms < 0 ? -1 : until_ms - mt_monotonic_ms();
		if (timeout_ms >= 0 && left_ms <= 0)
			return MT_LINE_WAIT;
		struct pollfd in = {.fd = l->fd, .events = POLLIN};
		poll(&in, 1, (int)left_ms);
		mt_lines_fill(l);
	}
}

void mt_lines_clear(struct mt_lines *l)
{
	free(l->bytes);
	l->bytes = NULL;
	l->n = l->size = l->taken = 0;
}

int mt_lines_send(int fd, const char *text, size_t len, int timeout_ms)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			struct pollfd out = {.fd = fd, .events = POLLOUT};
			if (poll(&out, 1, timeout_ms) == 0)
				return -1;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}
