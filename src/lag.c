/* SPDX-License-Identifier: BSD-2-Clause */
#include "lag.h"

#include <math.h>
#include <stdio.h>

#include "log.h"
#include "source.h"
#include "units.h"

enum { LEAST = 10, STEADY_S = 2, AGAIN_MS = 60000 };

/* The live source whose packets are the freshest, or NULL. */
static const struct mt_source *freshest(struct mt_source **sources, unsigned n, const struct mt_source *but)
{
	const struct mt_source *best = NULL;
	for (unsigned i = 0; i < n; i++) {
		const struct mt_source *s = sources[i];
		if (s != but && s->spec.live && s->lag.packets && (!best || s->lag.age_ns < best->lag.age_ns))
			best = s;
	}
	return best;
}

static void report(const struct mt_source *s, const struct mt_source *other, unsigned window_ms)
{
	double behind_ms = (double)(s->lag.age_ns - other->lag.age_ns) / 1e6;
	double offset = round((double)s->spec.offset_ns / 1e6 + behind_ms) / 1e3;
	char late[32], mend[48];
	if (behind_ms < 1)
		return;
	if (offset == 0)
		snprintf(mend, sizeof mend, "to leave out offset=");
	else
		snprintf(mend, sizeof mend, "offset=%.3f", offset);
	mt_log_warn(
	        "%s is steadily late: %s of its packets of the last second came when later ones of other "
	        "sources "
	        "had left. Its times are %.3f s behind those of %s: if its clock is, the remedy is %s; if its "
	        "packets take so long to get here, it is -w %.0f",
	        s->spec.word, mt_format_count(s->lag.late, late, sizeof late), behind_ms / 1e3,
	        other->spec.word, mend, ceil(behind_ms) + window_ms);
}

void mt_lag_report(struct mt_source **sources, unsigned n, unsigned window_ms)
{
	int64_t now_ms = mt_monotonic_ms();
	for (unsigned i = 0; i < n; i++) {
		struct mt_source *s = sources[i];
		bool late = s->lag.late >= LEAST && s->lag.late >= s->lag.packets / 2;
		s->lag.seconds = late ? s->lag.seconds + 1 : 0;
		if (s->lag.seconds < STEADY_S || (s->lag.said_ms && now_ms - s->lag.said_ms < AGAIN_MS))
			continue;
		const struct mt_source *other = freshest(sources, n, s);
		if (other)
			report(s, other, window_ms);
		s->lag.said_ms = now_ms;
	}
	for (unsigned i = 0; i < n; i++)
		mt_lag_begin(&sources[i]->lag);
}
