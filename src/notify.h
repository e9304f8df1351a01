/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify.h - tell the service manager how things are: the protocol of sd_notify(3).
 *
 * Without NOTIFY_SOCKET in the environment nothing is told.
 */
#ifndef MT_NOTIFY_H
#define MT_NOTIFY_H
#include <stdbool.h>
#include <stdint.h>

/* Before a sandbox or another user could be in the way. */
void mt_notify_open(void);
/* Lines such as "READY=1" or "STATUS=…\nWATCHDOG=1".  Never waits. */
void mt_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Is there one that listens? */
bool mt_notify_wanted(void);
/* The service manager expects a sign of life that often; 0: it does not, or not from this process. */
int64_t mt_notify_watchdog_ms(void);

#endif
