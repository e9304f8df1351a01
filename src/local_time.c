/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * local_time.c - the time zone of the machine, for texts (moontap.format.time).
 */
#include <stdio.h>
#include <time.h>

#include "abi.h"

int32_t mt_local_offset(int64_t seconds, char zone[MT_ZONE_TEXT])
{
	struct tm tm;
	time_t at = (time_t)seconds;
	zone[0] = 0;
	if (!localtime_r(&at, &tm))
		return 0;
	snprintf(zone, MT_ZONE_TEXT, "%s", tm.tm_zone ? tm.tm_zone : "");
	return (int32_t)tm.tm_gmtoff;
}
