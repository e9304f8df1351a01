/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boundary.c - see boundary.h.  Called once a segment.
 */
#include "boundary.h"

#include <time.h>

enum { DAY = 86400 };

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Seconds that local time is ahead of UTC at this instant. */
static int64_t offset_at(int64_t sec, bool utc)
{
	time_t t = (time_t)sec;
	struct tm tm;
	return utc || !localtime_r(&t, &tm) ? 0 : tm.tm_gmtoff;
}

/* The first second after from, up to to, that has another offset than from. */
static int64_t transition(int64_t from, int64_t to, bool utc)
{
	int64_t offset = offset_at(from, utc);
	while (to - from > 1) {
		int64_t middle = from + (to - from) / 2;
		if (offset_at(middle, utc) == offset)
			from = middle;
		else
			to = middle;
	}
	return to;
}

/* The first instant from sec on (after it, if later) whose time of day under this offset fits. */
static int64_t next_fit(int64_t sec, int64_t step, int64_t offset, bool later)
{
	int64_t local = sec + offset;
	int64_t fit = floor_div(local, step) * step;
	if (fit < local || (later && fit == local))
		fit += step;
	return fit - offset;
}

int64_t mt_boundary_after(int64_t ts_ns, uint64_t seconds, bool utc)
{
	if (!seconds || seconds > INT32_MAX)
		return INT64_MAX;
	int64_t sec = floor_div(ts_ns, 1000000000), step = (int64_t)seconds;
	if (DAY % step)
		utc = true; /* counts from the epoch */
	int64_t offset = offset_at(sec, utc), next = next_fit(sec, step, offset, true);
	if (offset_at(next, utc) != offset) {
		/* The clocks change on the way: the times of day after that count. */
		int64_t change = transition(sec, next, utc);
		next = next_fit(change, step, offset_at(change, utc), false);
	}
	return next > INT64_MAX / 1000000000 ? INT64_MAX : next * 1000000000;
}
