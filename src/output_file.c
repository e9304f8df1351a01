/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output_file.c - the file of an output without segments: found, refused or created; and what
 * endings of file names mean.  Called once a run.
 */
#include "output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static int open_standard_output(struct mt_err *err)
{
	if (isatty(STDOUT_FILENO))
		return mt_err_set(err, "-o -: standard output is a terminal; expected a file or a pipe");
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 ? fd : mt_err_set(err, "-o -: standard output is not open: %s", strerror(errno));
}

static int create_file(const char *path, struct mt_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0)
		return fd;
	if (errno == EEXIST) /* since we looked, or a link that leads nowhere */
		return mt_err_set(err, "%s: exists already (--overwrite replaces it)", path);
	return mt_err_set(err, "can not create %s: %s", path, strerror(errno));
}

int mt_output_file_open(const char *path, bool overwrite, bool *created, struct mt_err *err)
{
	struct stat st;
	*created = false;
	if (!strcmp(path, "-") || !strcmp(path, "/dev/stdout"))
		return open_standard_output(err);
	if (stat(path, &st)) {
		if (errno != ENOENT)
			return mt_err_set(err, "can not create %s: %s", path, strerror(errno));
		*created = true;
		return create_file(path, err);
	}
	if (S_ISDIR(st.st_mode))
		return mt_err_set(err, "%s: is a folder; expected a file (-B writes segments into a folder)",
		                  path);
	if (S_ISREG(st.st_mode) && !overwrite)
		return mt_err_set(err, "%s: the file exists already (--overwrite replaces it)", path);
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		mt_err_set(err, "can not open %s for writing: %s", path, strerror(errno));
	return fd;
}

void mt_output_file_failed(const char *path)
{
	struct stat st;
	char *name;
	if (!strcmp(path, "-") || stat(path, &st) || !S_ISREG(st.st_mode) ||
	    asprintf(&name, "%s.failed", path) < 0)
		return;
	if (rename(path, name))
		mt_log_warn("can not rename %s to %s: %s", path, name, strerror(errno));
	free(name);
}

/* Does text[0..len-1] end in this? Then *len is what stands before it. */
static bool strip(const char *text, size_t *len, const char *ending)
{
	size_t n = strlen(ending);
	if (*len < n || strncasecmp(text + *len - n, ending, n) != 0)
		return false;
	*len -= n;
	return true;
}

void mt_output_guess(const char *path, enum mt_format *format, enum mt_codec_id *codec)
{
	static const enum mt_format formats[] = {MT_FORMAT_PCAPNG, MT_FORMAT_PCAP, MT_FORMAT_ERF};
	size_t len = strlen(path);
	*format = MT_FORMAT_AUTO;
	*codec = MT_CODEC_NONE;
	for (int id = MT_CODEC_GZIP; id <= MT_CODEC_BZ2 && *codec == MT_CODEC_NONE; id++)
		if (strip(path, &len, mt_codec_extension((enum mt_codec_id)id)))
			*codec = (enum mt_codec_id)id;
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		char ending[16] = ".";
		if (strip(path, &len, strcat(ending, mt_format_name(formats[i])))) {
			*format = formats[i];
			return;
		}
	}
}

const char *mt_format_name(enum mt_format format)
{
	static const char *const names[] = {
	        [MT_FORMAT_AUTO] = "auto", [MT_FORMAT_PCAP] = "pcap",   [MT_FORMAT_PCAPNG] = "pcapng",
	        [MT_FORMAT_ERF] = "erf",   [MT_FORMAT_TRACE] = "trace",
	};
	return format >= MT_FORMAT_AUTO && format <= MT_FORMAT_TRACE ? names[format] : "unknown";
}
