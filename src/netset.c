/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netset.c - a set of prefixes that finds the longest one that matches an address (moontap.netset).
 *
 * Built once, from a handful up to some millions of prefixes, and asked once or twice a packet.  Prefixes
 * contain each other or lie apart, so a walk over them in order, with a stack of those that are
 * open, cuts all addresses into at most two ranges a prefix, each with the longest prefix
 * that covers it.  Finding a prefix is then finding a range (netset_ranges.c): no walk through lengths,
 * and memory that depends on the number of prefixes only, which tries and DIR-24-8 do not offer.
 *
 * A range of IPv4 is one 64-bit word: where it begins, and its prefix in the low half.  For IPv6 the words are
 * the upper halves of addresses.  Few sets have prefixes longer than 64 bits; where there are some, the
 * range is exactly one upper half wide and points to the ranges of lower halves.
 */
#include "netset.h"

#include <endian.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST_PREFIXES = 1 << 28,
	MOST_LABELS = MT_NETSET_TEXT - 1, /* bytes of labels */
	DEEP = 1 << 30                    /* netset.values6[]: spans + the rest of it */
};

/* Ranges of the lower halves of addresses: lows[first] to lows[first + n - 1]. */
struct span {
	uint32_t first, n;
};

struct netset {
	struct mt_netset seen; /* first: what Lua knows */
	uint32_t room, label_bytes, label_room;
	struct mt_ranges v4, v6;
	uint32_t *values6; /* of each key of v6: number of a prefix, 0 for none, or DEEP */
	struct span *spans;
	uint64_t *lows;
	uint32_t *low_values;
};

static struct netset *of(struct mt_netset *set)
{
	return (struct netset *)set;
}

struct mt_netset *mt_netset_new(void)
{
	return calloc(1, sizeof(struct netset));
}

void mt_netset_free(struct mt_netset *set)
{
	if (!set)
		return;
	struct netset *s = of(set);
	mt_ranges_close(&s->v4);
	mt_ranges_close(&s->v6);
	free(set->prefixes);
	free(set->labels);
	free(s->values6);
	free(s->spans);
	free(s->lows);
	free(s->low_values);
	free(s);
}

/* --- adding ------------------------------------------------------------------------------ */

int mt_netset_add(struct mt_netset *set, const struct mt_net *net, uint32_t label)
{
	struct netset *s = of(set);
	if (set->count == s->room) {
		uint32_t room = s->room ? 2 * s->room : 64;
		void *more =
		        room <= MOST_PREFIXES ? realloc(set->prefixes, room * sizeof *set->prefixes) : NULL;
		if (!more)
			return -1;
		set->prefixes = more;
		s->room = room;
	}
	set->prefixes[set->count] = (struct mt_netset_prefix){.high = net->_high,
	                                                      .low = net->_low,
	                                                      .len = (uint8_t)net->_len,
	                                                      .bits = (uint8_t)net->_bits,
	                                                      .label = label,
	                                                      .place = set->count};
	set->count++;
	return 0;
}

/* Keep the text of a label; 0 for none.  -1: no memory. */
static int keep_label(struct mt_netset *set, const char *text, size_t len, uint32_t *label)
{
	struct netset *s = of(set);
	*label = 0;
	if (len == 0)
		return 0;
	if (len >= MOST_LABELS - s->label_bytes)
		return -1;
	while (s->label_bytes + len + 1 > s->label_room) {
		uint32_t room = s->label_room ? 2 * s->label_room : 4096;
		void *more = realloc(set->labels, room);
		if (!more)
			return -1;
		set->labels = more;
		s->label_room = room;
	}
	*label = MT_NETSET_TEXT + s->label_bytes;
	memcpy(set->labels + s->label_bytes, text, len);
	set->labels[s->label_bytes + len] = 0;
	s->label_bytes += (uint32_t)len + 1;
	return 0;
}

/* --- text -------------------------------------------------------------------------------- */

struct text {
	const char *at, *end;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct text trimmed(struct text t)
{
	while (t.at < t.end && is_blank(*t.at))
		t.at++;
	while (t.at < t.end && is_blank(t.end[-1]))
		t.end--;
	return t;
}

/* The line without comment: # at its begin or after a blank; ; at its begin, as block lists have it. */
static struct text without_comment(struct text line)
{
	line = trimmed(line);
	if (line.at < line.end && *line.at == ';')
		line.end = line.at;
	for (const char *c = line.at; c < line.end; c++)
		if (*c == '#' && (c == line.at || is_blank(c[-1])))
			line.end = c;
	return trimmed(line);
}

/* What is between the quotes, if the text is in quotes.  A doubled quote inside stays doubled. */
static struct text unquoted(struct text t)
{
	if (t.end - t.at >= 2 && *t.at == '"' && t.end[-1] == '"') {
		t.at++;
		t.end--;
	}
	return t;
}

/* The first column; the rest of the line, which is the label, stays in *line. */
static struct text first_column(struct text *line)
{
	struct text column = *line;
	const char *c = line->at;
	while (c < line->end && !is_blank(*c) && *c != ',' && *c != ';')
		c++;
	column.end = c;
	while (c < line->end && is_blank(*c))
		c++;
	if (c < line->end && (*c == ',' || *c == ';'))
		c++;
	line->at = c;
	*line = trimmed(*line);
	return unquoted(column);
}

static int add_line(struct mt_netset *set, struct text line, char why[MT_NET_WHY])
{
	struct mt_net net;
	uint32_t label;
	line = without_comment(line);
	if (line.at == line.end)
		return 0;
	struct text column = first_column(&line);
	if (mt_net_parse(column.at, (size_t)(column.end - column.at), &net, why))
		return -1;
	line = unquoted(line);
	if (memchr(line.at, 0, (size_t)(line.end - line.at))) {
		snprintf(why, MT_NET_WHY, "there is a NUL byte in the line");
		return -1;
	}
	if (keep_label(set, line.at, (size_t)(line.end - line.at), &label) || mt_netset_add(set, &net, label)) {
		snprintf(why, MT_NET_WHY, "there is no memory for more than %u networks", set->count);
		return -1;
	}
	return 0;
}

int mt_netset_add_text(struct mt_netset *set, const char *text, size_t len, double *line, char why[MT_NET_WHY])
{
	const char *end = text + len;
	*line = 0;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* as spreadsheets begin their UTF-8 */
		text += 3;
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		if (!stop)
			stop = end;
		++*line;
		if (add_line(set, (struct text){text, stop}, why))
			return -1;
		text = stop < end ? stop + 1 : end;
	}
	return 0;
}

/* --- prefixes in order ------------------------------------------------------------------- */

/* IPv4 first, by first address, then by length: a prefix stands before those it contains. */
static int compare(const struct mt_netset_prefix *a, const struct mt_netset_prefix *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	if (a->high != b->high)
		return be64toh(a->high) < be64toh(b->high) ? -1 : 1;
	if (a->low != b->low)
		return be64toh(a->low) < be64toh(b->low) ? -1 : 1;
	return (a->bits > b->bits) - (a->bits < b->bits);
}

static int compare_with_place(const void *a, const void *b)
{
	const struct mt_netset_prefix *p = a, *q = b;
	int order = compare(p, q);
	return order ? order : (p->place > q->place) - (p->place < q->place);
}

/* In order, each prefix once; of equal ones the last that was added. */
static void sort(struct mt_netset *set)
{
	struct mt_netset_prefix *p = set->prefixes;
	uint32_t n = 0;
	if (set->count)
		qsort(p, set->count, sizeof *p, compare_with_place);
	for (uint32_t i = 0; i < set->count; i++) {
		if (n && compare(&p[n - 1], &p[i]) == 0)
			n--;
		p[n++] = p[i];
	}
	set->count = n;
	void *fitting = n ? realloc(p, n * sizeof *p) : NULL;
	if (fitting) {
		set->prefixes = fitting;
		of(set)->room = n;
	}
}

/* --- prefixes to ranges ------------------------------------------------------------------ */

/* A range of addresses begins here. */
struct edge {
	uint64_t high, low; /* numbers, not network order */
	uint32_t value;     /* number of the longest prefix that covers it, 0 for none */
};

struct edges {
	struct edge *list;
	uint32_t n;
	uint32_t open[130];   /* numbers of the prefixes around the place in hand, outermost first */
	struct edge end[130]; /* where they end: the first address behind; value 0: there is none */
	uint32_t n_open;
};

static void begin_range(struct edges *e, uint64_t high, uint64_t low, uint32_t value)
{
	struct edge *last = &e->list[e->n - 1];
	if (last->high == high && last->low == low)
		e->n--; /* the range before is empty */
	if (e->n && e->list[e->n - 1].value == value)
		return; /* and this one goes on with the one before it */
	e->list[e->n++] = (struct edge){high, low, value};
}

static uint64_t ones(uint32_t bits)
{
	return bits ? UINT64_MAX >> (64 - bits) : 0;
}

/* The first address behind a prefix.  value 0: it reaches to the last address. */
static struct edge behind(const struct mt_netset_prefix *p)
{
	uint32_t rest = (p->len == 4 ? 32 : 128) - p->bits;
	if (p->len == 4)
		rest += 96;
	struct edge e = {be64toh(p->high) | ones(rest > 64 ? rest - 64 : 0),
	                 be64toh(p->low) | ones(rest < 64 ? rest : 64), 1};
	if (++e.low == 0 && ++e.high == 0)
		e.value = 0;
	return e;
}

static bool is_before(const struct edge *e, uint64_t high, uint64_t low)
{
	return e->value && (e->high < high || (e->high == high && e->low <= low));
}

static void close_last(struct edges *e)
{
	const struct edge *end = &e->end[--e->n_open];
	if (end->value)
		begin_range(e, end->high, end->low, e->n_open ? e->open[e->n_open - 1] : 0);
}

/* The edges of prefixes[from] to prefixes[to - 1], all of one IP version. */
static int find_edges(struct edges *e, const struct mt_netset *set, uint32_t from, uint32_t to)
{
	e->list = malloc((2 * (size_t)(to - from) + 1) * sizeof *e->list);
	if (!e->list)
		return -1;
	e->list[0] = (struct edge){0, 0, 0};
	e->n = 1;
	e->n_open = 0;
	for (uint32_t i = from; i < to; i++) {
		const struct mt_netset_prefix *p = &set->prefixes[i];
		uint64_t high = be64toh(p->high), low = be64toh(p->low);
		while (e->n_open && is_before(&e->end[e->n_open - 1], high, low))
			close_last(e);
		begin_range(e, high, low, i + 1);
		e->end[e->n_open] = behind(p);
		e->open[e->n_open++] = i + 1;
	}
	while (e->n_open)
		close_last(e);
	return 0;
}

static int open_v4(struct netset *s, const struct edges *e)
{
	uint64_t *keys = mt_ranges_memory(e->n * sizeof *keys, &s->seen.bytes);
	if (!keys)
		return -1;
	for (uint32_t i = 0; i < e->n; i++)
		keys[i] = e->list[i].high | e->list[i].value;
	return mt_ranges_open(&s->v4, keys, e->n);
}

/* --- IPv6 -------------------------------------------------------------------------------- */

/* Does the range begin or end within one upper half? */
static bool is_deep(const struct edges *e, uint32_t i)
{
	return e->list[i].low || (i + 1 < e->n && e->list[i + 1].high == e->list[i].high);
}

struct sizes {
	size_t keys, spans, lows;
};

/* Turn the edges from i on that share an upper half into ranges of the lower halves.  Without
 * memory (s->lows is NULL) they are counted only.  Returns the first edge behind them. */
static uint32_t add_span(struct netset *s, const struct edges *e, uint32_t i, struct sizes *n)
{
	uint64_t high = e->list[i].high;
	struct span span = {.first = (uint32_t)n->lows};
	if (e->list[i].low) { /* up to there the range before goes on */
		if (s->lows) {
			s->lows[n->lows] = 0;
			s->low_values[n->lows] = e->list[i - 1].value;
		}
		n->lows++;
	}
	for (; i < e->n && e->list[i].high == high; i++, n->lows++) {
		if (s->lows) {
			s->lows[n->lows] = e->list[i].low;
			s->low_values[n->lows] = e->list[i].value;
		}
	}
	span.n = (uint32_t)n->lows - span.first;
	if (s->lows)
		s->spans[n->spans] = span;
	n->spans++;
	return i;
}

static void add_key(struct netset *s, uint64_t *keys, struct sizes *n, uint64_t key, uint32_t value)
{
	if (keys) {
		keys[n->keys] = key;
		s->values6[n->keys] = value;
	}
	n->keys++;
}

/* The same twice: to count, and with memory. */
static struct sizes fill_v6(struct netset *s, const struct edges *e, uint64_t *keys)
{
	struct sizes n = {0};
	for (uint32_t i = 0; i < e->n;) {
		uint64_t high = e->list[i].high;
		if (!is_deep(e, i)) {
			add_key(s, keys, &n, high, e->list[i].value);
			i++;
			continue;
		}
		add_key(s, keys, &n, high, DEEP + (uint32_t)n.spans);
		i = add_span(s, e, i, &n);
		if (high != UINT64_MAX && (i == e->n || e->list[i].high != high + 1))
			add_key(s, keys, &n, high + 1,
			        e->list[i - 1].value); /* what the last of them goes on with */
	}
	return n;
}

static int open_v6(struct netset *s, const struct edges *e)
{
	double *sum = &s->seen.bytes;
	struct sizes n = fill_v6(s, e, NULL);
	uint64_t *keys = mt_ranges_memory(n.keys * sizeof *keys, sum);
	s->values6 = mt_ranges_memory(n.keys * sizeof *s->values6, sum);
	s->spans = mt_ranges_memory(n.spans * sizeof *s->spans, sum);
	s->low_values = mt_ranges_memory(n.lows * sizeof *s->low_values, sum);
	s->lows = mt_ranges_memory(n.lows * sizeof *s->lows, sum);
	if (!keys || !s->values6 || !s->spans || !s->low_values || !s->lows) {
		free(keys);
		return -1;
	}
	fill_v6(s, e, keys);
	return mt_ranges_open(&s->v6, keys, (uint32_t)n.keys);
}

/* --- the whole --------------------------------------------------------------------------- */

static int open_half(struct netset *s, uint32_t from, uint32_t to,
                     int (*open)(struct netset *, const struct edges *))
{
	struct edges e;
	if (find_edges(&e, &s->seen, from, to))
		return -1;
	int status = open(s, &e);
	free(e.list);
	return status;
}

int mt_netset_build(struct mt_netset *set)
{
	struct netset *s = of(set);
	sort(set);
	uint32_t n4 = 0;
	while (n4 < set->count && set->prefixes[n4].len == 4)
		n4++;
	set->bytes = sizeof *s + s->room * (double)sizeof *set->prefixes + s->label_room;
	if (open_half(s, 0, n4, open_v4) || open_half(s, n4, set->count, open_v6))
		return -1;
	set->bytes += s->v4.bytes + s->v6.bytes;
	return 0;
}

/* --- asking ------------------------------------------------------------------------------ */

static uint32_t find_low(const struct netset *s, const struct span *span, uint64_t low)
{
	uint32_t at = span->first;
	for (uint32_t n = span->n, half; n > 1; n -= half) {
		half = n / 2;
		at = s->lows[at + half] <= low ? at + half : at;
	}
	return s->low_values[at];
}

uint32_t mt_netset_find(const struct mt_netset *set, uint64_t high, uint64_t low, uint32_t len)
{
	const struct netset *s = (const struct netset *)set;
	if (len == 4)
		return (uint32_t)s->v4.keys[mt_ranges_find(&s->v4, be64toh(high) | UINT32_MAX)];
	uint32_t value = s->values6[mt_ranges_find(&s->v6, be64toh(high))];
	return value & DEEP ? find_low(s, &s->spans[value - DEEP], be64toh(low)) : value;
}
