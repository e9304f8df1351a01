/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * manifest.h - manifest.jsonl: one JSON line for each closed segment of a folder.
 */
#ifndef MT_MANIFEST_H
#define MT_MANIFEST_H
#include <jansson.h>
#include <stdbool.h>

#include "abi.h"
#include "err.h"

#define MT_MANIFEST_NAME "manifest.jsonl"

/* What a line says.  Strings are borrowed, NULL or a time out of range gives null. */
struct mt_manifest_entry {
	const char *run, *output, *file, *reason, *format, *sha256;
	uint64_t seq;                        /* 0: null */
	int64_t start_ns, first_ns, last_ns; /* INT64_MIN: null */
	int64_t end_ns;
	uint64_t packets, captured_bytes, wire_bytes, file_bytes;
	uint32_t snaplen;
	uint64_t late, clock_jumps, script_bypassed;
	json_t *linktypes, *sources; /* taken */
};

/* The line; new reference, NULL: out of memory. */
json_t *mt_manifest_line(const struct mt_manifest_entry *entry);
/* Append it to folder/manifest.jsonl by one write.  0, or -1 with errno. */
int mt_manifest_append(const char *folder, const json_t *line, struct mt_err *err);

/* The manifest of a folder while many lines are appended in a row. */
struct mt_manifest {
	const char *folder; /* borrowed */
	int fd;             /* -1: not open yet */
	bool whole;         /* its last line is known to be */
};
#define MT_MANIFEST(folder)       \
	{                         \
		folder, -1, false \
	}

/* As mt_manifest_append; opens it if need be. */
int mt_manifest_put(struct mt_manifest *manifest, const json_t *line, struct mt_err *err);
/* 0, or -1 with errno: lines may be lost. */
int mt_manifest_close(struct mt_manifest *manifest, struct mt_err *err);
/* Call fn for each line of folder/manifest.jsonl that is a JSON object, oldest first; lines that
 * are not are skipped.  fn may not keep the line unless it takes a reference. */
void mt_manifest_each(const char *folder, void (*fn)(void *ctx, json_t *line), void *ctx);
/* Text as a JSON string; in text that is no UTF-8 the bytes beyond ASCII become \\xHH.  New reference. */
json_t *mt_json_text(const char *text);

#endif
