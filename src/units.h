/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * units.h - numbers, sizes and times as people write and read them.
 */
#ifndef MT_UNITS_H
#define MT_UNITS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_TIME_TEXT = 48 }; /* bytes that any of the time texts below fits in */

/* The whole string as a decimal number between min and max. */
bool mt_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);
/* A size in bytes: "10K", "2M", "1G" (1024-based); a plain number is MiB. */
bool mt_parse_size(const char *text, uint64_t *bytes);
/* Seconds with up to 9 decimals and an optional sign, to nanoseconds: "-0.0015". */
bool mt_parse_seconds(const char *text, int64_t *ns);
/* A duration: seconds as above, or with a unit ns us ms s m h d: "30s", "500ms". */
bool mt_parse_duration(const char *text, int64_t *ns);
/* A point in time: epoch seconds with decimals, ISO 8601 (2026-11-22T10:00:00.5Z, +01:00;
 * without a zone it is local time, or UTC with utc), date alone, or "YYYY-MM-DD HH:MM[:SS]". */
bool mt_parse_time(const char *text, bool utc, int64_t *ns);
/* "2026-11-22T10:00:00.123456789Z" into text[MT_TIME_TEXT]; returns text. */
char *mt_format_time_utc(int64_t ns, char *text);
/* "SEC.NNNNNNNNN" ("-0.500000000" for negative times); returns text. */
char *mt_format_seconds(int64_t ns, char *text);
/* "1.5 GiB", "812 B"; returns text (at least 32 bytes). */
char *mt_format_size(uint64_t bytes, char *text, size_t size);
/* "12,345,678"; returns text (at least 32 bytes). */
char *mt_format_count(uint64_t n, char *text, size_t size);
/* CLOCK_MONOTONIC in ms, CLOCK_REALTIME in ns. */
int64_t mt_monotonic_ms(void);
int64_t mt_wall_ns(void);

#endif
