/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Verbosity and patience are set once, before threads start; the progress flag may be wiped by any thread. */
static int verbosity;
static int patience_ms = -1;
static atomic_bool progress_shown;

void mt_log_set_verbosity(int level)
{
	verbosity = level;
}

void mt_log_set_patience(int ms)
{
	patience_ms = ms;
}

/* A capture waits for nobody who does not read its messages.  A pipe that is full is given one chance, then
 * its messages are lost until it is read again. */
static bool have_reader(void)
{
	static atomic_bool blocked;
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	bool ready = poll(&fd, 1, atomic_load(&blocked) ? 0 : patience_ms) != 0;
	atomic_store(&blocked, !ready);
	return ready;
}

static void write_all(const char *text, size_t len)
{
	if (patience_ms >= 0 && !have_reader())
		return;
	while (len) {
		ssize_t n = write(STDERR_FILENO, text, len);
		if (n <= 0)
			return; /* standard error is gone: there is nobody to tell */
		text += n;
		len -= (size_t)n;
	}
}

static void message(const char *kind, const char *format, va_list ap)
{
	char line[2048];
	size_t n = 0;
	if (atomic_exchange(&progress_shown, false)) {
		memcpy(line, "\r\033[K", 4);
		n = 4;
	}
	n += (size_t)snprintf(line + n, sizeof line - n, "moontap: %s", kind);
	int m = vsnprintf(line + n, sizeof line - n - 1, format, ap);
	n = m < 0 || (size_t)m >= sizeof line - n - 1 ? strlen(line) : n + (size_t)m;
	line[n++] = '\n';
	write_all(line, n);
}

void mt_log_error(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	message("", format, ap);
	va_end(ap);
}

void mt_log_warn(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	message("warning: ", format, ap);
	va_end(ap);
}

void mt_log_info(int level, const char *format, ...)
{
	if (verbosity < level)
		return;
	va_list ap;
	va_start(ap, format);
	message("", format, ap);
	va_end(ap);
}

void mt_log_progress(const char *line)
{
	if (!line) {
		if (atomic_exchange(&progress_shown, false))
			write_all("\r\033[K", 4);
		return;
	}
	char text[512];
	int n = snprintf(text, sizeof text, "\r\033[K%s", line);
	if (n < 0)
		return;
	atomic_store(&progress_shown, true);
	write_all(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}
