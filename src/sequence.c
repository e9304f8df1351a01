/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sequence.c - see sequence.h.
 */
#include "sequence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "N" or "N\n" with N from 0 to 99999999. */
static int parse(const char *text, uint64_t *value)
{
	size_t digits = strspn(text, "0123456789");
	if (!digits || digits > 8 || (text[digits] && strcmp(text + digits, "\n") != 0))
		return -1;
	*value = strtoull(text, NULL, 10);
	return 0;
}

/* A new file beside it that is renamed over it: never half a number. */
static int store(const struct mt_sequence *s, uint64_t value, struct mt_err *err)
{
	char *temporary, text[16];
	int len = snprintf(text, sizeof text, "%llu\n", (unsigned long long)value);
	if (asprintf(&temporary, "%s.new", s->path) < 0)
		return mt_err_set(err, "-N %s: out of memory", s->path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ssize_t n = fd >= 0 ? write(fd, text, (size_t)len) : -1;
	bool good = n == len;
	int problem = n < 0 ? errno : ENOSPC;
	if (fd >= 0 && close(fd) && good) {
		good = false;
		problem = errno;
	}
	if (good && rename(temporary, s->path)) {
		good = false;
		problem = errno;
	}
	if (!good && fd >= 0)
		unlink(temporary);
	free(temporary);
	int rc = good ? 0
	              : mt_err_set(err, "-N %s: can not write the sequence number: %s", s->path,
	                           strerror(problem));
	errno = problem;
	return rc;
}

int mt_sequence_open(struct mt_sequence *s, const char *path, struct mt_err *err)
{
	char text[32];
	s->path = path;
	s->last = 0;
	if (!path)
		return 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return store(s, 0, err);
	if (fd < 0)
		return mt_err_set(err, "-N %s: can not read the sequence number: %s", path, strerror(errno));
	ssize_t n = read(fd, text, sizeof text - 1);
	int problem = errno;
	close(fd);
	if (n < 0)
		return mt_err_set(err, "-N %s: can not read the sequence number: %s", path, strerror(problem));
	text[n] = 0;
	if (strlen(text) != (size_t)n || parse(text, &s->last))
		return mt_err_set(err, "-N %s: not a sequence file: expected a number from 0 to 99999999",
		                  path);
	return store(s, s->last, err); /* so that an unwritable place is found out now */
}

int mt_sequence_next(struct mt_sequence *s, uint64_t *seq, struct mt_err *err)
{
	s->last = s->last >= MT_SEQUENCE_MAX ? 1 : s->last + 1;
	*seq = s->last;
	return mt_sequence_save(s, err);
}

int mt_sequence_save(const struct mt_sequence *s, struct mt_err *err)
{
	return s->path ? store(s, s->last, err) : 0;
}
