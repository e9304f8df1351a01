/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lines.h - lines of text over a socket, in pieces as they come.
 */
#ifndef MT_LINES_H
#define MT_LINES_H
#include <stdbool.h>
#include <stddef.h>

/* Zero to initialise, but for fd and most. */
struct mt_lines {
	int fd;      /* borrowed */
	size_t most; /* bytes that a line may have */
	char *bytes; /* owned */
	size_t n, size, taken;
	bool ended; /* the other side sends no more, or the connection has failed */
};

enum mt_line {
	MT_LINE_END = 0,      /* nothing more will come */
	MT_LINE_OK = 1,       /* there is one */
	MT_LINE_WAIT = 2,     /* not yet */
	MT_LINE_TOO_LONG = -1 /* … than `most`: nothing more can be read */
};

/* The next line that is there already, without its end; it may have zeros inside, and a NUL is behind its len
 * bytes.  Valid until the next call.  The last one needs no newline. */
enum mt_line mt_lines_take(struct mt_lines *l, char **line, size_t *len);
/* Read what is there, without waiting, as far as there is room. */
void mt_lines_fill(struct mt_lines *l);
/* Wait for a line up to timeout_ms; -1: for ever. */
enum mt_line mt_lines_wait(struct mt_lines *l, char **line, size_t *len, int timeout_ms);
void mt_lines_clear(struct mt_lines *l);

/* Send everything to a socket; -1 when the other side does not take it within timeout_ms, or is gone. */
int mt_lines_send(int fd, const char *text, size_t len, int timeout_ms);

#endif
