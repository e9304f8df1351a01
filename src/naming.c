/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * naming.c - see naming.h.  Called once a segment.
 */
#include "naming.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	COMPONENT_MAX = 230, /* of 255: leaves room for ".", ".part", "-123456" and ".failed" */
	NAME_MAX_BYTES = 1024
};

static const char *const fields[] = {"seq", "n", "source", "reason"};

/* Which of fields[] stands in braces at text ("{seq}…")? -1: none. *len: with its braces. */
static int find_field(const char *text, size_t *len)
{
	const char *end = strchr(text, '}');
	if (!end)
		return -1;
	*len = (size_t)(end - text) + 1;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (strlen(fields[i]) == *len - 2 && !memcmp(fields[i], text + 1, *len - 2))
			return (int)i;
	return -1;
}

int mt_name_template_check(const char *text, struct mt_err *err)
{
	static const char conversions[] = "aAbBcCdDeFgGhHIjklmMpPrRsSTuUVwWxXyYzZ%";
	if (!*text)
		return mt_err_set(err, "--name: the template is empty");
	for (const char *p = text; (p = strchr(p, '%')); p++) {
		size_t len = 0;
		p++;
		if (*p == '{') {
			if (find_field(p, &len) < 0)
				return mt_err_set(
				        err,
				        "--name %s: unknown %%%.*s (there are %%{seq} %%{n} %%{source} "
				        "%%{reason} and the conversions of strftime)",
				        text, len ? (int)len : (int)strlen(p), p);
			p += len - 1;
			continue;
		}
		p += strspn(p, "_-0^#");
		p += strspn(p, "EO");
		if (!*p)
			return mt_err_set(err, "--name %s: a %% at the end; expected a conversion behind it",
			                  text);
		if (!strchr(conversions, *p))
			return mt_err_set(err, "--name %s: unknown conversion %%%c", text, *p);
	}
	return 0;
}

static void put_field(FILE *out, int field, const struct mt_segment_view *segment)
{
	const char *text = field == 2 ? segment->source : segment->reason;
	if (field == 0)
		fprintf(out, "%08" PRIu64, segment->seq);
	else if (field == 1)
		fprintf(out, "%" PRIu64, segment->n);
	else
		for (; *text; text++) { /* a source may be a path: no folders from it, no conversions */
			if (*text == '%')
				fputc('%', out);
			fputc(*text == '/' ? '_' : *text, out);
		}
}

/* The template with our fields filled in, as a format for strftime. */
static char *fill_fields(const char *template, const struct mt_segment_view *segment)
{
	char *text = NULL;
	size_t size, len = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	for (const char *p = template; *p; p++) {
		int field = *p == '%' && p[1] == '{' ? find_field(p + 1, &len) : -1;
		if (field >= 0) {
			put_field(out, field, segment);
			p += len;
		} else {
			fputc(*p, out);
			if (*p == '%' && p[1] == '%')
				fputc(*++p, out);
		}
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static int64_t floor_seconds(int64_t ns)
{
	return ns / 1000000000 - (ns % 1000000000 < 0);
}

/* The template was checked at start, and strftime can not go wrong on any. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static char *format_time(const char *format, int64_t ns, bool utc)
{
	struct tm tm;
	time_t sec = (time_t)floor_seconds(ns);
	if (!(utc ? gmtime_r(&sec, &tm) : localtime_r(&sec, &tm)))
		return NULL;
	size_t size = strlen(format) * 4 + 256;
	char *text = malloc(size);
	if (text && !strftime(text, size, format, &tm))
		text[0] = 0; /* too long, or nothing */
	return text;
}
#pragma GCC diagnostic pop

char *mt_name_expand(const char *template, const struct mt_segment_view *segment, bool utc)
{
	char *format = fill_fields(template ? template : "%Y%m%d-%H%M%S-%{seq}", segment);
	if (!format)
		return NULL;
	char *text = format_time(format, segment->start_ns, utc);
	free(format);
	return text;
}

/* Length of the UTF-8 sequence at p, 0 if it is none. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = *p < 0x80                 ? 1
	           : *p >= 0xc2 && *p < 0xe0 ? 2
	           : *p >= 0xe0 && *p < 0xf0 ? 3
	           : *p >= 0xf0 && *p < 0xf5 ? 4
	                                     : 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
	    (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* Append one component of len bytes to out (which has room), made safe; returns its length. */
static size_t clean_component(char *out, const char *part, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len && n < COMPONENT_MAX;) {
		size_t step = utf8_length((const unsigned char *)part + i);
		if (step <= 1) {
			unsigned char c = (unsigned char)part[i++];
			out[n++] = step == 0 || c < 0x20 || c == 0x7f ? '_' : (char)c;
			continue;
		}
		if (n + step > COMPONENT_MAX)
			break;
		memcpy(out + n, part + i, step);
		n += step;
		i += step;
	}
	if (n && out[0] == '.')
		out[0] = '_'; /* hidden files are ours */
	return n;
}

/* Without the extension, if it ends in that (and is more than that). */
static size_t stem_length(const char *name, const char *extension)
{
	size_t len = strlen(name), ext = strlen(extension);
	return ext && len > ext && !strcmp(name + len - ext, extension) && name[len - ext - 1] != '/'
	               ? len - ext
	               : len;
}

char *mt_name_clean(const char *name, const char *extension)
{
	size_t ext = strlen(extension), stem = stem_length(name, extension);
	char *out = ext < 64 ? malloc(stem + ext + 2) : NULL;
	size_t n = 0, last = 0;
	if (!out)
		return NULL;
	for (size_t at = 0; at < stem;) {
		size_t len = strcspn(name + at, "/");
		if (len > stem - at)
			len = stem - at;
		if (len && !(len == 1 && name[at] == '.') && !(len == 2 && !memcmp(name + at, "..", 2))) {
			if (n)
				out[n++] = '/';
			last = n;
			n += clean_component(out + n, name + at, len);
		}
		at += len + 1;
	}
	if (n > NAME_MAX_BYTES) { /* too deep: the file alone */
		memmove(out, out + last, n - last);
		n -= last;
		last = 0;
	}
	if (n - last + ext > COMPONENT_MAX) {
		n = last + COMPONENT_MAX - ext;
		while (n > last && ((unsigned char)out[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(out + n, extension, ext + 1);
	for (size_t i = n; i < n + ext; i++)
		if (out[i] == '/' || (unsigned char)out[i] < 0x20)
			out[i] = '_';
	if (n > last)
		return out;
	free(out);
	return NULL;
}

char *mt_name_number(const char *name, const char *extension, unsigned k)
{
	size_t stem = stem_length(name, extension);
	char *text;
	if (!k)
		return strdup(name);
	return asprintf(&text, "%.*s-%u%s", (int)stem, name, k, name + stem) < 0 ? NULL : text;
}
