/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boundary.h - the instants at which -G rotates.
 *
 * Those whose time of day (local, or UTC) is a multiple of the seconds given, so that hours
 * and days begin where people expect, also on the days when clocks change; seconds that do
 * not divide a day count from the epoch.
 */
#ifndef MT_BOUNDARY_H
#define MT_BOUNDARY_H
#include <stdbool.h>
#include <stdint.h>

/* The first boundary later than ts_ns; INT64_MAX if none can be told. */
int64_t mt_boundary_after(int64_t ts_ns, uint64_t seconds, bool utc);

#endif
