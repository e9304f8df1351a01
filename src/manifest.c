/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * manifest.c - see manifest.h.  Lines have some hundred bytes to some kilobytes.
 */
#include "manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "units.h"

json_t *mt_json_text(const char *text)
{
	json_t *j = json_string(text);
	if (j)
		return j;
	char *copy = malloc(4 * strlen(text) + 1), *to = copy;
	if (!copy)
		return json_null();
	for (; *text; text++) {
		if ((unsigned char)*text >= 0x80)
			to += sprintf(to, "\\x%02x", (unsigned char)*text);
		else
			*to++ = *text;
	}
	*to = 0;
	j = json_string(copy);
	free(copy);
	return j ? j : json_null();
}

static json_t *text_or_null(const char *text)
{
	return text ? mt_json_text(text) : json_null();
}

static json_t *time_or_null(int64_t ns)
{
	char text[MT_TIME_TEXT];
	return ns == INT64_MIN || ns == INT64_MAX ? json_null() : json_string(mt_format_time_utc(ns, text));
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

json_t *mt_manifest_line(const struct mt_manifest_entry *e)
{
	json_t *j = json_object();
	json_object_set_new(j, "v", json_integer(1));
	json_object_set_new(j, "run", text_or_null(e->run));
	json_object_set_new(j, "output", text_or_null(e->output));
	json_object_set_new(j, "seq", e->seq ? number(e->seq) : json_null());
	json_object_set_new(j, "file", text_or_null(e->file));
	json_object_set_new(j, "start", time_or_null(e->start_ns));
	json_object_set_new(j, "end", time_or_null(e->end_ns));
	json_object_set_new(j, "first_ts", time_or_null(e->packets ? e->first_ns : INT64_MIN));
	json_object_set_new(j, "last_ts", time_or_null(e->packets ? e->last_ns : INT64_MIN));
	json_object_set_new(j, "packets", number(e->packets));
	json_object_set_new(j, "captured_bytes", number(e->captured_bytes));
	json_object_set_new(j, "wire_bytes", number(e->wire_bytes));
	json_object_set_new(j, "file_bytes", number(e->file_bytes));
	json_object_set_new(j, "reason", text_or_null(e->reason));
	json_object_set_new(j, "format", text_or_null(e->format));
	json_object_set_new(j, "linktypes", e->linktypes ? e->linktypes : json_array());
	json_object_set_new(j, "snaplen", number(e->snaplen));
	json_object_set_new(j, "late", number(e->late));
	json_object_set_new(j, "clock_jumps", number(e->clock_jumps));
	json_object_set_new(j, "script_bypassed", number(e->script_bypassed));
	json_object_set_new(j, "sources", e->sources ? e->sources : json_array());
	if (e->sha256)
		json_object_set_new(j, "sha256", json_string(e->sha256));
	return j;
}

static char *manifest_path(const char *folder)
{
	char *path;
	return asprintf(&path, "%s/" MT_MANIFEST_NAME, folder) < 0 ? NULL : path;
}

/* Does the file end inside a line?  A full disk or a crash may have left one. */
static bool ends_inside(int fd)
{
	char last;
	off_t end = lseek(fd, 0, SEEK_END);
	return end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n';
}

static int open_manifest(struct mt_manifest *m, struct mt_err *err)
{
	char *path = manifest_path(m->folder);
	if (!path)
		return mt_err_set(err, "%s: out of memory for a manifest line", m->folder);
	m->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	int problem = errno;
	if (m->fd < 0)
		mt_err_set(err, "can not open %s: %s", path, strerror(problem));
	free(path);
	errno = problem;
	return m->fd < 0 ? -1 : 0;
}

static int no_write(const struct mt_manifest *m, int problem, struct mt_err *err)
{
	mt_err_set(err, "can not write %s/" MT_MANIFEST_NAME ": %s", m->folder, strerror(problem));
	errno = problem;
	return -1;
}

static int put_text(struct mt_manifest *m, const char *text, size_t len, struct mt_err *err)
{
	ssize_t n;
	if (m->whole || !ends_inside(m->fd)) { /* no newline is needed in front */
		text++;
		len--;
	}
	do
		n = write(m->fd, text, len); /* one append, one line */
	while (n < 0 && errno == EINTR);
	m->whole = n == (ssize_t)len;
	return m->whole ? 0 : no_write(m, n < 0 ? errno : ENOSPC, err);
}

int mt_manifest_put(struct mt_manifest *m, const json_t *line, struct mt_err *err)
{
	char *object = json_dumps(line, JSON_COMPACT), *text = NULL;
	int len = object ? asprintf(&text, "\n%s\n", object) : -1;
	free(object);
	if (len < 0)
		return mt_err_set(err, "%s: out of memory for a manifest line", m->folder);
	int rc = m->fd < 0 ? open_manifest(m, err) : 0;
	if (!rc)
		rc = put_text(m, text, (size_t)len, err);
	int problem = errno;
	free(text);
	errno = problem;
	return rc;
}

int mt_manifest_close(struct mt_manifest *m, struct mt_err *err)
{
	int fd = m->fd;
	m->fd = -1;
	return fd >= 0 && close(fd) ? no_write(m, errno, err) : 0;
}

int mt_manifest_append(const char *folder, const json_t *line, struct mt_err *err)
{
	struct mt_manifest m = MT_MANIFEST(folder);
	struct mt_err other;
	int rc = mt_manifest_put(&m, line, err), problem = errno;
	if (!rc)
		return mt_manifest_close(&m, err);
	mt_manifest_close(&m, &other);
	errno = problem;
	return rc;
}

void mt_manifest_each(const char *folder, void (*fn)(void *ctx, json_t *line), void *ctx)
{
	char *path = manifest_path(folder), *text = NULL;
	size_t size = 0;
	FILE *file = path ? fopen(path, "re") : NULL;
	free(path);
	if (!file)
		return;
	while (getline(&text, &size, file) > 0) {
		json_t *line = json_loads(text, 0, NULL);
		if (json_is_object(line))
			fn(ctx, line);
		json_decref(line);
	}
	free(text);
	fclose(file);
}
