/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keep.c - see keep.h.  Called once a segment; the list is as long as what is kept.
 */
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "manifest.h"

struct mt_keep {
	const char *folder, *output;
	uint64_t max_files, max_bytes; /* 0: no limit */
	uint64_t bytes;
	json_t *files; /* name: bytes, the oldest first */
};

/* A manifest may have been written by anybody: nothing outside the folder is touched. */
static bool is_inside(const char *file)
{
	if (!*file || *file == '/')
		return false;
	for (const char *p = file; *p; p += strcspn(p, "/"), p += *p == '/')
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return false;
	return true;
}

static uint64_t size_of(const json_t *file)
{
	return (uint64_t)json_integer_value(file);
}

/* A name that comes again is the file of its last line: the earlier one is gone. */
static void append(struct mt_keep *k, const char *file, uint64_t bytes)
{
	k->bytes -= size_of(json_object_get(k->files, file));
	json_object_del(k->files, file);
	/* Without memory for it, it is kept for ever. */
	if (!json_object_set_new_nocheck(k->files, file, json_integer((json_int_t)bytes)))
		k->bytes += bytes;
}

/* The folder of a name below fd, to which no link leads; *file is the rest of the name.  -1: there is none. */
static int open_parent(int fd, const char **file)
{
	int parent = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	for (const char *slash; parent >= 0 && (slash = strchr(*file, '/')); *file = slash + 1) {
		char *folder = strndup(*file, (size_t)(slash - *file));
		int below = folder ? openat(parent, folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		int problem = errno;
		free(folder);
		close(parent);
		parent = below;
		errno = problem;
	}
	return parent;
}

/* Opened for each call: it may be renamed under a running capture. */
static int folder_fd(const struct mt_keep *k)
{
	return open(k->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void read_line(void *ctx, json_t *line)
{
	struct mt_keep *k = ctx;
	const char *output = json_string_value(json_object_get(line, "output"));
	const char *file = json_string_value(json_object_get(line, "file"));
	struct stat st;
	int fd;
	if (!output || !file || strcmp(output, k->output) != 0 || !is_inside(file) || (fd = folder_fd(k)) < 0)
		return;
	const char *last = file;
	int parent = open_parent(fd, &last);
	if (parent >= 0 && !fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
		append(k, file, (uint64_t)st.st_size);
	if (parent >= 0)
		close(parent);
	close(fd);
}

struct mt_keep *mt_keep_new(const char *folder, const char *output, uint64_t files, uint64_t bytes)
{
	struct mt_keep *k = calloc(1, sizeof *k);
	if (!k || !(k->files = json_object())) {
		free(k);
		return NULL;
	}
	k->folder = folder;
	k->output = output;
	k->max_files = files;
	k->max_bytes = bytes;
	mt_manifest_each(folder, read_line, k);
	return k;
}

void mt_keep_free(struct mt_keep *k)
{
	if (!k)
		return;
	json_decref(k->files);
	free(k);
}

static bool too_much(const struct mt_keep *k)
{
	size_t n = json_object_size(k->files);
	return n > 1 && ((k->max_files && n > k->max_files) || (k->max_bytes && k->bytes > k->max_bytes));
}

/* true: it was there and is gone.  It is off the list in any case. */
static bool delete_oldest(struct mt_keep *k, int fd)
{
	void *oldest = json_object_iter(k->files);
	const char *file = json_object_iter_key(oldest);
	const char *last = file;
	int parent = open_parent(fd, &last);
	bool deleted = parent >= 0 && !unlinkat(parent, last, 0);
	if (!deleted && errno != ENOENT)
		mt_log_warn("can not delete the old segment %s/%s: %s", k->folder, file, strerror(errno));
	if (parent >= 0)
		close(parent);
	k->bytes -= size_of(json_object_iter_value(oldest));
	json_object_del(k->files, file);
	return deleted;
}

bool mt_keep_drop(struct mt_keep *k)
{
	int fd = folder_fd(k);
	bool deleted = false;
	while (fd >= 0 && !deleted && json_object_size(k->files)) {
		char *file = strdup(json_object_iter_key(json_object_iter(k->files)));
		deleted = delete_oldest(k, fd);
		if (deleted)
			mt_log_warn("%s is full: the oldest segment %s was deleted", k->folder,
			            file ? file : "");
		free(file);
	}
	if (fd >= 0)
		close(fd);
	return deleted;
}

void mt_keep_add(struct mt_keep *k, const char *file, uint64_t bytes)
{
	append(k, file, bytes);
	int fd = folder_fd(k);
	while (fd >= 0 && too_much(k))
		delete_oldest(k, fd);
	if (fd >= 0)
		close(fd);
}
