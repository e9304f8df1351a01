/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * progress.c - one line of at most a terminal's width, a few times a second.
 *
 * Built from parts in order of importance; a part that does not fit is left out, so a narrow
 * terminal shows less instead of wrapping.
 */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "units.h"

enum { SAMPLE_MS = 200, BAR_WIDEST = 40, BAR_NARROWEST = 10, DEFAULT_COLUMNS = 80 };

/* A line being put together: parts that do not fit are left out. */
struct line {
	char *text;
	size_t len, room; /* room: characters, without NUL */
};

void mt_progress_sample(struct mt_progress *p, int64_t elapsed_ms, uint64_t packets, uint64_t wire_bytes)
{
	p->elapsed_ms = elapsed_ms;
	p->packets = packets;
	p->wire_bytes = wire_bytes;
	int64_t passed = elapsed_ms - p->sample_ms;
	if (passed < SAMPLE_MS)
		return;
	p->packet_rate = (double)(packets - p->sample_packets) * 1000 / (double)passed;
	p->bit_rate = (double)(wire_bytes - p->sample_bytes) * 8000 / (double)passed;
	p->sample_ms = elapsed_ms;
	p->sample_packets = packets;
	p->sample_bytes = wire_bytes;
}

/* Add part behind two blanks if all of it fits. */
static void add(struct line *l, const char *part)
{
	size_t gap = l->len ? 2 : 0, n = strlen(part);
	if (l->len + gap + n > l->room)
		return;
	memset(l->text + l->len, ' ', gap);
	memcpy(l->text + l->len + gap, part, n + 1);
	l->len += gap + n;
}

/* "25.1 Mpps", "812 bit/s". */
static const char *rate_text(double rate, const char *unit, char *text, size_t size)
{
	static const char *const prefixes[] = {"", "k", "M", "G", "T"};
	unsigned i = 0;
	for (; rate >= 999.5 && i < 4; i++)
		rate /= 1000;
	snprintf(text, size, i && rate < 99.95 ? "%.1f %s%s" : "%.0f %s%s", rate, prefixes[i], unit);
	return text;
}

static double percent_done(const struct mt_progress *p)
{
	/* a file that grows while it is read shows 100 % and no more */
	double done = (double)p->bytes_done / (double)p->bytes_total;
	return done > 1 ? 100 : 100 * done;
}

static void add_bar(struct line *l, const struct mt_progress *p)
{
	enum { OTHERS = 48 }; /* what stands behind the bar */
	char bar[BAR_WIDEST + 16];
	size_t width = l->room > OTHERS + BAR_NARROWEST ? l->room - OTHERS : 0;
	if (width > BAR_WIDEST)
		width = BAR_WIDEST;
	double percent = percent_done(p);
	size_t full = (size_t)(percent / 100 * (double)width), n = 0;
	if (width) {
		bar[n++] = '[';
		for (size_t i = 0; i < width; i++)
			bar[n++] = i < full ? '=' : i == full ? '>' : ' ';
		bar[n++] = ']';
		bar[n++] = ' ';
	}
	snprintf(bar + n, sizeof bar - n, "%3d%%", (int)percent); /* rounded down: 100 % is the end */
	add(l, bar);
}

/* Time left as "ETA 0:12" or "ETA 1:02:12", once it can be told. */
static void add_eta(struct line *l, const struct mt_progress *p)
{
	char text[48];
	if (p->bytes_done == 0 || p->elapsed_ms < 500 || p->bytes_done > p->bytes_total)
		return;
	double left =
	        (double)p->elapsed_ms / 1000 * (double)(p->bytes_total - p->bytes_done) / (double)p->bytes_done;
	if (left > 359999)
		return;
	unsigned s = (unsigned)(left + 0.5);
	if (s >= 3600)
		snprintf(text, sizeof text, "ETA %u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, sizeof text, "ETA %u:%02u", s / 60, s % 60);
	add(l, text);
}

static void add_count(struct line *l, uint64_t n, const char *what, bool what_first)
{
	char count[32], text[64];
	mt_format_count(n, count, sizeof count);
	snprintf(text, sizeof text, "%s %s", what_first ? what : count, what_first ? count : what);
	add(l, text);
}

/* The end of the segment's name tells most: the sequence number. */
static void add_segment(struct line *l, const char *name)
{
	char text[128];
	size_t n = strlen(name), room = l->room > l->len + 2 ? l->room - l->len - 2 : 0;
	if (room > sizeof text - 1)
		room = sizeof text - 1;
	if (n > room) {
		if (room < 12)
			return;
		snprintf(text, sizeof text, "...%s", name + n - (room - 3));
	} else {
		memcpy(text, name, n + 1);
	}
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f) /* a name must not move the cursor */
			*c = '?';
	add(l, text);
}

size_t mt_progress_line(const struct mt_progress *p, char *line, size_t size)
{
	struct line l = {.text = line, .room = (p->columns ? p->columns : DEFAULT_COLUMNS) - 1};
	char text[48];
	if (size == 0)
		return 0;
	line[0] = '\0';
	if (l.room > size - 1)
		l.room = size - 1;
	if (!p->live && p->bytes_total)
		add_bar(&l, p);
	if (p->full)
		add(&l, "waiting for space");
	add_count(&l, p->packets, "packets", false);
	add(&l, rate_text(p->packet_rate, "pps", text, sizeof text));
	if (!p->live && p->bytes_total)
		add_eta(&l, p);
	if (p->live || p->dropped)
		add_count(&l, p->dropped, "dropped", true);
	if (p->deleted)
		add_count(&l, p->deleted, p->deleted == 1 ? "segment deleted" : "segments deleted", false);
	if (p->live)
		add(&l, rate_text(p->bit_rate, "bit/s", text, sizeof text));
	if (p->kept != p->packets)
		add_count(&l, p->kept, "kept", true);
	if (p->segment && *p->segment && (p->live || !p->bytes_total))
		add_segment(&l, p->segment);
	return l.len;
}

unsigned mt_progress_columns(void)
{
	struct winsize w;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w))
		return 0;
	return w.ws_col;
}
