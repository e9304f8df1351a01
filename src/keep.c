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

struct entry {
	struct entry *next;
	uint64_t bytes;
	char file[];
};

struct mt_keep {
	const char *folder, *output;
	uint64_t max_files, max_bytes; /* 0: no limit */
	uint64_t files, bytes;
	struct entry *oldest, *newest;
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

static void append(struct mt_keep *k, const char *file, uint64_t bytes)
{
	struct entry *e = malloc(sizeof *e + strlen(file) + 1);
	if (!e)
		return; /* it is kept for ever then */
	e->next = NULL;
	e->bytes = bytes;
	memcpy(e->file, file, strlen(file) + 1);
	if (k->newest)
		k->newest->next = e;
	else
		k->oldest = e;
	k->newest = e;
	k->files++;
	k->bytes += bytes;
}

/* Open the folder once a call: it is not renamed under a running capture, but costs nothing. */
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
	if (!fstatat(fd, file, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
		append(k, file, (uint64_t)st.st_size);
	close(fd);
}

struct mt_keep *mt_keep_new(const char *folder, const char *output, uint64_t files, uint64_t bytes)
{
	struct mt_keep *k = calloc(1, sizeof *k);
	if (!k)
		return NULL;
	k->folder = folder;
	k->output = output;
	k->max_files = files;
	k->max_bytes = bytes;
	mt_manifest_each(folder, read_line, k);
	return k;
}

static struct entry *take_oldest(struct mt_keep *k)
{
	struct entry *e = k->oldest;
	k->oldest = e->next;
	if (!k->oldest)
		k->newest = NULL;
	k->files--;
	k->bytes -= e->bytes;
	return e;
}

void mt_keep_free(struct mt_keep *k)
{
	while (k && k->oldest)
		free(take_oldest(k));
	free(k);
}

void mt_keep_add(struct mt_keep *k, const char *file, uint64_t bytes)
{
	append(k, file, bytes);
	int fd = folder_fd(k);
	while (fd >= 0 && k->files > 1 &&
	       ((k->max_files && k->files > k->max_files) || (k->max_bytes && k->bytes > k->max_bytes))) {
		struct entry *e = take_oldest(k);
		if (unlinkat(fd, e->file, 0) && errno != ENOENT)
			mt_log_warn("can not delete the old segment %s/%s: %s", k->folder, e->file,
			            strerror(errno));
		free(e);
	}
	if (fd >= 0)
		close(fd);
}
