/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * units.c - numbers, sizes and times as people write and read them.
 *
 * Called for options at start and for text in statistics, manifests and --print: at most a
 * few times a packet.  Parsers take the whole string or refuse it, and never round: what
 * can not be told exactly in nanoseconds is refused too.
 */
#include "units.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NS_PER_S = 1000000000 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Decimal digits into *value; returns the first other character, NULL if there is none or
 * the number exceeds 64 bits. */
static const char *parse_digits(const char *text, uint64_t *value)
{
	const char *p = text;
	uint64_t n = 0;

	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (unsigned)(*p - '0'), &n))
			return NULL;
	*value = n;
	return p == text ? NULL : p;
}

bool mt_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	uint64_t n;
	const char *end = parse_digits(text, &n);

	if (!end || *end || n < min || n > max)
		return false;
	*value = n;
	return true;
}

bool mt_parse_size(const char *text, uint64_t *bytes)
{
	unsigned shift = 20;
	uint64_t n;
	const char *end = parse_digits(text, &n);

	if (!end)
		return false;
	if (*end) {
		switch (*end++) {
		case 'K':
		case 'k':
			shift = 10;
			break;
		case 'M':
		case 'm':
			break;
		case 'G':
		case 'g':
			shift = 30;
			break;
		default:
			return false;
		}
	}
	if (*end || n > UINT64_MAX >> shift)
		return false;
	*bytes = n << shift;
	return true;
}

/* Up to 9 digits behind a decimal point, as billionths.  Returns what follows, or NULL. */
static const char *parse_fraction(const char *p, uint32_t *billionths)
{
	uint32_t n = 0, scale = NS_PER_S;

	if (!is_digit(*p))
		return NULL;
	for (; is_digit(*p); p++) {
		if (scale == 1)
			return NULL;
		scale /= 10;
		n += (uint32_t)(*p - '0') * scale;
	}
	*billionths = n;
	return p;
}

/* [+-]N[.N] as billionths of one.  Returns what follows, or NULL. */
static const char *parse_decimal(const char *p, __int128 *billionths)
{
	bool negative = *p == '-';
	uint64_t whole = 0;
	uint32_t fraction = 0;

	if (*p == '-' || *p == '+')
		p++;
	if (*p != '.')
		p = parse_digits(p, &whole);
	if (p && *p == '.')
		p = parse_fraction(p + 1, &fraction);
	if (!p)
		return NULL;
	*billionths = (__int128)whole * NS_PER_S + fraction;
	if (negative)
		*billionths = -*billionths;
	return p;
}

static bool fits_i64(__int128 value, int64_t *out)
{
	if (value < INT64_MIN || value > INT64_MAX)
		return false;
	*out = (int64_t)value;
	return true;
}

bool mt_parse_seconds(const char *text, int64_t *ns)
{
	__int128 value;
	const char *end = parse_decimal(text, &value);

	return end && !*end && fits_i64(value, ns);
}

bool mt_parse_duration(const char *text, int64_t *ns)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = {
	        {"", NS_PER_S}, {"s", NS_PER_S},        {"ms", 1000000},          {"us", 1000},
	        {"ns", 1},      {"m", 60LL * NS_PER_S}, {"h", 3600LL * NS_PER_S}, {"d", 86400LL * NS_PER_S}};
	__int128 value;
	const char *unit = parse_decimal(text, &value);

	if (!unit)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		return !__builtin_mul_overflow(value, (__int128)units[i].ns, &value) && value % NS_PER_S == 0 &&
		       fits_i64(value / NS_PER_S, ns);
	}
	return false;
}

/* Exactly `digits` digits with a value from min to max.  Returns what follows, or NULL. */
static const char *parse_field(const char *p, int digits, int min, int max, int *value)
{
	int n = 0;

	for (; digits > 0; digits--, p++) {
		if (!is_digit(*p))
			return NULL;
		n = n * 10 + (*p - '0');
	}
	*value = n;
	return n < min || n > max ? NULL : p;
}

static int days_in_month(int year, int month)
{
	static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* YYYY-MM-DD */
static const char *parse_date(const char *p, struct tm *tm)
{
	int year, month;

	if (!(p = parse_field(p, 4, 1, 9999, &year)) || *p++ != '-')
		return NULL;
	if (!(p = parse_field(p, 2, 1, 12, &month)) || *p++ != '-')
		return NULL;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	return parse_field(p, 2, 1, days_in_month(year, month), &tm->tm_mday);
}

/* HH:MM[:SS[.N]] */
static const char *parse_clock(const char *p, struct tm *tm, uint32_t *ns)
{
	if (!(p = parse_field(p, 2, 0, 23, &tm->tm_hour)) || *p++ != ':')
		return NULL;
	p = parse_field(p, 2, 0, 59, &tm->tm_min);
	if (!p || *p != ':')
		return p;
	p = parse_field(p + 1, 2, 0, 60, &tm->tm_sec);
	if (!p || *p != '.')
		return p;
	return parse_fraction(p + 1, ns);
}

/* Z, +HH, +HHMM or +HH:MM as seconds east of UTC. */
static const char *parse_zone(const char *p, int *east_s)
{
	int sign = *p == '-' ? -1 : 1, hours, minutes = 0;

	*east_s = 0;
	if (*p == 'Z' || *p == 'z')
		return p + 1;
	if (*p != '+' && *p != '-')
		return NULL;
	if (!(p = parse_field(p + 1, 2, 0, 23, &hours)))
		return NULL;
	if (*p == ':')
		p++;
	else if (!*p)
		goto done;
	if (!(p = parse_field(p, 2, 0, 59, &minutes)))
		return NULL;
done:
	*east_s = sign * (hours * 3600 + minutes * 60);
	return p;
}

bool mt_parse_time(const char *text, bool utc, int64_t *ns)
{
	struct tm tm = {.tm_isdst = -1};
	uint32_t fraction = 0;
	int east_s = 0;
	const char *p = parse_date(text, &tm);

	if (!p)
		return mt_parse_seconds(text, ns);
	if (*p == 'T' || *p == 't' || *p == ' ') {
		if (!(p = parse_clock(p + 1, &tm, &fraction)))
			return false;
		if (*p) {
			utc = true;
			if (!(p = parse_zone(p, &east_s)))
				return false;
		}
	}
	if (*p)
		return false;
	/* -1 is also one second before 1970: nothing that reaches here can fail otherwise */
	time_t seconds = utc ? timegm(&tm) : mktime(&tm);
	return fits_i64(((__int128)seconds - east_s) * NS_PER_S + fraction, ns);
}

/* Split into whole seconds, rounded down, and 0 to 999,999,999 ns. */
static int64_t split_ns(int64_t ns, unsigned *rest)
{
	int64_t seconds = ns / NS_PER_S, r = ns % NS_PER_S;

	if (r < 0) {
		r += NS_PER_S;
		seconds--;
	}
	*rest = (unsigned)r;
	return seconds;
}

char *mt_format_time_utc(int64_t ns, char *text)
{
	unsigned rest;
	time_t seconds = (time_t)split_ns(ns, &rest);
	struct tm tm;

	gmtime_r(&seconds, &tm); /* int64 ns ends in 2262: can not fail */
	size_t n = strftime(text, MT_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, MT_TIME_TEXT - n, ".%09uZ", rest);
	return text;
}

char *mt_format_seconds(int64_t ns, char *text)
{
	uint64_t magnitude = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

	snprintf(text, MT_TIME_TEXT, "%s%llu.%09llu", ns < 0 ? "-" : "",
	         (unsigned long long)(magnitude / NS_PER_S), (unsigned long long)(magnitude % NS_PER_S));
	return text;
}

char *mt_format_size(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(text, size, "%llu B", (unsigned long long)bytes);
		return text;
	}
	for (; value >= 1023.95 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		value /= 1024;
	snprintf(text, size, "%.1f %s", value, units[i]);
	return text;
}

char *mt_format_count(uint64_t n, char *text, size_t size)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	size_t out = 0;

	for (int i = 0; i < len && out + 2 < size; i++) {
		if (i && (len - i) % 3 == 0)
			text[out++] = ',';
		text[out++] = digits[i];
	}
	if (size)
		text[out] = 0;
	return text;
}

static int64_t clock_now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t mt_monotonic_ms(void)
{
	return clock_now_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t mt_wall_ns(void)
{
	return clock_now_ns(CLOCK_REALTIME);
}
