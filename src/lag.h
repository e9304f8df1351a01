/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lag.h - is a live source steadily late, and how far behind the others are its times?
 *
 * The age of a packet is the time at which it reached the program less its own time.  What the kernel
 * and the network card add varies, so the smallest age of each second is what is compared.
 */
#ifndef MT_LAG_H
#define MT_LAG_H
#include <stdint.h>

struct mt_source;

/* What is known of a source; embed, mt_lag_reset to initialise.  The merging thread's. */
struct mt_lag {
	uint64_t packets, late; /* since the last report */
	int64_t age_ns;         /* smallest, with the monotonic clock; only differences mean something */
	unsigned seconds;       /* how many it has been late for in a row */
	int64_t said_ms;        /* when that was reported */
};

static inline void mt_lag_begin(struct mt_lag *lag)
{
	lag->packets = lag->late = 0;
	lag->age_ns = INT64_MAX;
}

/* A run of n packets came; the newest has the time ts_ns. */
static inline void mt_lag_saw(struct mt_lag *lag, unsigned n, int64_t arrival_ms, int64_t ts_ns)
{
	int64_t age_ns;
	lag->packets += n;
	if (!__builtin_sub_overflow(arrival_ms * 1000000, ts_ns, &age_ns) && age_ns < lag->age_ns)
		lag->age_ns = age_ns;
}

static inline void mt_lag_late(struct mt_lag *lag)
{
	lag->late++;
}

/* Once a second: warn of those that are steadily late, each at most once in a minute. */
void mt_lag_report(struct mt_source **sources, unsigned n, unsigned window_ms);

#endif
