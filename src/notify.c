/* SPDX-License-Identifier: BSD-2-Clause */
#include "notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_fd = -1;

void mt_notify_open(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = name ? strlen(name) : 0;
	if (len < 2 || len >= sizeof to.sun_path || (*name != '/' && *name != '@'))
		return;
	memcpy(to.sun_path, name, len);
	if (*name == '@') /* an abstract name */
		to.sun_path[0] = 0;
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify_fd >= 0 && connect(notify_fd, (struct sockaddr *)&to,
	                              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len))) {
		close(notify_fd);
		notify_fd = -1;
	}
}

void mt_notify(const char *format, ...)
{
	char text[512];
	va_list args;
	if (notify_fd < 0)
		return;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (len > 0)
		send(notify_fd, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1, MSG_NOSIGNAL);
}

bool mt_notify_wanted(void)
{
	return notify_fd >= 0;
}

int64_t mt_notify_watchdog_ms(void)
{
	const char *every = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	if (notify_fd < 0 || !every || (pid && strtoll(pid, NULL, 10) != getpid()))
		return 0;
	return strtoll(every, NULL, 10) / 1000;
}
