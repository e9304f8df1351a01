/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relocate.c - see relocate.h.  Asked once a second and at the end of each segment; acts once in a lifetime.
 */
#include "relocate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static bool is_at(int fd, const char *path)
{
	struct stat mine, there;
	return !fstat(fd, &mine) && !stat(path, &there) && mine.st_ino == there.st_ino &&
	       mine.st_dev == there.st_dev;
}

bool mt_part_displaced(const struct mt_part *part)
{
	return part->path && part->lock_fd >= 0 && !is_at(part->lock_fd, part->path);
}

/* The path that the file has now; new string, or NULL. */
static char *present_path(int fd)
{
	char link[64], path[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return NULL;
	path[n] = 0;
	return is_at(fd, path) ? strdup(path) : NULL;
}

/* Length of text without this ending, or 0 if it has another. */
static size_t without(const char *text, const char *ending)
{
	size_t n = strlen(text), k = strlen(ending);
	return n > k && !strcmp(text + n - k, ending) ? n - k : 0;
}

/* The file is at path now: which base, which name below it?  The name stays if the whole folder was moved. */
static int set_place(struct mt_part *part, char *path)
{
	const char *slash = strrchr(part->name, '/'), *file = slash ? slash + 1 : part->name;
	int folder = (int)(strrchr(path, '/') - path);
	char *ending = NULL, *base = NULL, *name = NULL;
	if (asprintf(&ending, "/%.*s%s", (int)(file - part->name), part->name, strrchr(path, '/') + 1) < 0)
		ending = NULL;
	size_t rest = ending ? without(path, ending) : 0;
	base = strndup(path, rest ? rest : (size_t)folder);
	name = strdup(rest ? part->name : file);
	free(ending);
	if (!base || !name) {
		free(base);
		free(name);
		free(path);
		errno = ENOMEM;
		return -1;
	}
	free(part->base);
	free(part->name);
	free(part->path);
	part->base = base;
	part->name = name;
	part->path = path;
	return 0;
}

static int copy_bytes(int from, int to)
{
	off_t at = 0;
	ssize_t n;
	do
		n = sendfile(to, from, &at, INT_MAX);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -1 : 0;
}

static int copy_part(struct mt_part *part, struct mt_err *err)
{
	struct mt_part copy;
	int fd = -1;
	if (mt_part_create(&copy, part->base, part->name, part->extension, &fd, err)) {
		int problem = errno;
		mt_part_clear(&copy);
		errno = problem;
		return -1;
	}
	int rc = copy_bytes(part->lock_fd, fd), problem = errno;
	if (close(fd) && !rc) {
		rc = -1;
		problem = errno;
	}
	if (rc) {
		mt_err_set(err,
		           "%s was deleted while it was written, and its bytes can not be copied to a new "
		           "file: %s",
		           part->path, strerror(problem));
		mt_part_discard(&copy);
		mt_part_clear(&copy);
		errno = problem;
		return -1;
	}
	mt_log_warn("%s was deleted while it was written: it is made anew from what it held", part->path);
	mt_part_clear(part);
	*part = copy;
	return 0;
}

int mt_part_relocate(struct mt_part *part, struct mt_err *err)
{
	struct stat st;
	if (!fstat(part->lock_fd, &st) && !st.st_nlink)
		return copy_part(part, err);
	char *path = present_path(part->lock_fd);
	if (!path) {
		errno = ENOENT;
		return mt_err_set(err, "%s is gone and can not be found", part->path);
	}
	mt_log_warn("%s was moved while it was written: the segment ends as part of %s", part->path, path);
	return set_place(part, path) ? mt_err_set(err, "%s: out of memory", part->path) : 0;
}
