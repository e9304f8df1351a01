/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source.c - what all sources share: opening, and the work done on every packet.
 *
 * A run of 32 packets at a time passes here.  Without offset, snap length, filter and time
 * range only the order of times is checked, about a nanosecond a packet.
 */
#include "source.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "feed.h"
#include "filter.h"
#include "log.h"
#include "reorder.h"

enum { LINK_ETHERNET = 1 };

static const struct mt_source_ops *ops_of(enum mt_source_kind kind)
{
	switch (kind) {
	case MT_SOURCE_INTERFACE:
		return &mt_source_pcap;
	case MT_SOURCE_TRACE:
		return &mt_source_trace;
	default:
		return &mt_source_file;
	}
}

struct mt_filter_change {
	struct mt_filter *filter; /* NULL: none */
};

static void note_touched(struct mt_source *s)
{
	const struct mt_source_context *context = s->context;
	s->touched = s->filter || s->spec.offset_ns || s->snaplen < MT_MAX_CAPLEN ||
	             context->from_ns != INT64_MIN || context->to_ns != INT64_MAX;
}

static int prepare(struct mt_source *s, struct mt_err *err)
{
	const struct mt_source_context *context = s->context;
	s->group = mt_ifaces_group(context->ifaces, s->spec.name);
	if (s->group == (uint32_t)MT_IFACES_NONE)
		return mt_err_set(err, "%s: no room for another source", s->spec.word);
	const char *filter = s->spec.filter ? s->spec.filter : context->filter;
	if (filter && *filter) {
		s->filter = mt_filter_new(filter, LINK_ETHERNET, err);
		if (!s->filter)
			return s->spec.filter ? mt_err_prefix(err, "%s", s->spec.word) : -1;
	}
	s->snaplen = s->spec.snaplen ? s->spec.snaplen : context->snaplen;
	if (!s->snaplen)
		s->snaplen = MT_MAX_CAPLEN;
	note_touched(s);
	return 0;
}

struct mt_source *mt_source_new(struct mt_source_spec *spec, unsigned index,
                                const struct mt_source_context *context, struct mt_err *err)
{
	struct mt_source *s = calloc(1, sizeof *s);
	if (!s) {
		mt_err_set(err, "%s: out of memory", spec->word);
		mt_source_spec_clear(spec);
		return NULL;
	}
	s->spec = *spec;
	memset(spec, 0, sizeof *spec);
	s->index = index;
	s->context = context;
	s->ops = ops_of(s->spec.kind);
	s->ring.pool = context->chunks;
	s->last_ns = INT64_MIN;
	s->kept_fd = -1;
	s->first_linktype = 0xffff;
	s->iface = UINT32_MAX;
	s->kernel_drops = UINT64_MAX;
	if (prepare(s, err)) {
		mt_source_free(s);
		return NULL;
	}
	return s;
}

int mt_source_set_reorder(struct mt_source *s, struct mt_chunks *pool, uint32_t span_ms)
{
	s->reorder = mt_reorder_new(pool, span_ms);
	return s->reorder ? 0 : -1;
}

bool mt_source_stopped(const struct mt_source *s)
{
	return s->context->stop && atomic_load_explicit(s->context->stop, memory_order_relaxed);
}

static const char *label(const struct mt_source *s)
{
	return strcmp(s->spec.target, "-") == 0 ? "standard input" : s->spec.target;
}

static void reset(struct mt_source *s)
{
	s->run_pos = s->run_n = 0;
	s->taken = s->filled = s->ended = false;
}

int mt_source_open(struct mt_source *s, struct mt_err *err)
{
	mt_source_close(s);
	s->last_ns = INT64_MIN;
	s->packets_read = 0;
	s->bytes_read = 0;
	if (s->ops->open(s, err) == 0)
		return 0;
	mt_source_close(s);
	return mt_err_prefix(err, "%s", label(s));
}

static void add_offset(struct mt_packet *p, int64_t offset_ns)
{
	if (!__builtin_add_overflow(p->ts_ns, offset_ns, &p->ts_ns))
		return;
	p->ts_ns = offset_ns > 0 ? INT64_MAX : INT64_MIN;
	p->flags |= MT_PACKET_BAD_TIME;
}

static bool matches(struct mt_source *s, const struct mt_packet *p)
{
	int match = mt_filter_match(s->filter, p);
	if (match < 0 && !(s->warned && s->warned_linktype == p->linktype)) {
		s->warned = true;
		s->warned_linktype = p->linktype;
		mt_log_warn("%s: the filter has no meaning for link type %u: its packets do not match",
		            label(s), p->linktype);
	}
	return match > 0;
}

/* Offset, filter, time range and snap length: the filter sees the packet before it is cut. */
static void touch_packets(struct mt_source *s)
{
	const struct mt_source_context *context = s->context;
	for (unsigned i = 0; i < s->run_n; i++) {
		struct mt_packet *p = &s->run[i];
		if (s->spec.offset_ns)
			add_offset(p, s->spec.offset_ns);
		if (p->ts_ns < context->from_ns || (p->ts_ns >= context->to_ns && context->to_ns != INT64_MAX))
			p->verdict = MT_VERDICT_OUTSIDE;
		else if (s->filter && !matches(s, p))
			p->verdict = MT_VERDICT_FILTERED;
		if (p->caplen > s->snaplen)
			p->caplen = s->snaplen;
	}
}

static void mark_disorder(struct mt_source *s)
{
	int64_t last = s->last_ns;
	for (unsigned i = 0; i < s->run_n; i++) {
		if (s->run[i].ts_ns < last)
			s->run[i].flags |= MT_PACKET_DISORDER;
		last = s->run[i].ts_ns;
	}
	s->last_ns = last;
}

/* --- another filter -------------------------------------------------------------------- */

static void free_change(struct mt_filter_change *change)
{
	if (change)
		mt_filter_free(change->filter);
	free(change);
}

int mt_source_set_filter(struct mt_source *s, struct mt_filter *filter)
{
	struct mt_source *reads = s->stands_in ? mt_feed_inner(s) : s;
	struct mt_filter_change *change = malloc(sizeof *change);
	if (!change) {
		mt_filter_free(filter);
		return -1;
	}
	change->filter = filter;
	free_change(atomic_exchange(&reads->change, change));
	return 0;
}

bool mt_source_filter_waits(const struct mt_source *s)
{
	const struct mt_source *reads = s->stands_in ? mt_feed_inner(s) : s;
	return atomic_load(&reads->change) != NULL;
}

static void take_filter(struct mt_source *s)
{
	struct mt_filter_change *change = atomic_exchange(&s->change, NULL);
	if (!change)
		return;
	mt_filter_free(s->filter);
	s->filter = change->filter;
	free(change);
	s->warned = false;
	note_touched(s);
	if (s->ops->refilter)
		s->ops->refilter(s);
}

/* --- reading ----------------------------------------------------------------------------- */

/* A run as the backend gives it, with the work done on every packet. */
static enum mt_read fill_run(struct mt_source *s, struct mt_err *err)
{
	if (atomic_load_explicit(&s->change, memory_order_relaxed))
		take_filter(s);
	/* libtrace holds nothing back for us: after a stop its files end at once. */
	bool stopped = s->spec.kind == MT_SOURCE_TRACE && !s->spec.live && mt_source_stopped(s);
	enum mt_read result = stopped ? MT_END : s->ops->fill(s, err);
	if (result == MT_ERROR && !s->stands_in)
		mt_err_prefix(err, "%s", label(s));
	if (result != MT_OK)
		return result;
	s->packets_read += s->run_n;
	if (s->touched)
		touch_packets(s);
	return MT_OK;
}

enum mt_read mt_source_fill(struct mt_source *s, struct mt_err *err)
{
	if (s->filled)
		s->taken = true;
	s->run_pos = s->run_n = 0;
	enum mt_read result = s->reorder ? mt_reorder_fill(s->reorder, s, fill_run, err) : fill_run(s, err);
	s->ended = result == MT_ERROR || result == MT_END;
	if (result != MT_OK)
		return result;
	s->filled = true;
	if (s->reorder || !s->stands_in)
		mark_disorder(s);
	return MT_OK;
}

enum mt_read mt_source_room(struct mt_source *s, size_t len, uint8_t **room, struct mt_err *err)
{
	struct mt_chunk *old;
	if (s->feed)
		return mt_feed_room(s->feed, len, !s->run_n, room);
	if (!s->ring.current || s->ring.current->size - s->copied < len) {
		if (s->run_n) /* they point into the current chunk and are in no batch yet */
			return MT_WAIT;
		int next = mt_chunk_ring_next(&s->ring, len, &old, &s->wait_batch);
		if (next < 0)
			mt_err_set(err, "out of memory for a buffer of %zu bytes", len);
		if (next != 1)
			return next < 0 ? MT_ERROR : MT_FULL;
		s->copied = 0;
	}
	*room = s->ring.current->data + s->copied;
	s->copied += (len + 7) & ~(size_t)7;
	if (s->copied > s->ring.current->size)
		s->copied = s->ring.current->size;
	return MT_OK;
}

void mt_source_close(struct mt_source *s)
{
	bool untouched = !s->taken && s->run_pos == 0;
	mt_reorder_clear(s->reorder);
	s->ops->close(s);
	if (untouched)
		mt_chunk_ring_discard(&s->ring);
	else
		mt_chunk_ring_close(&s->ring);
	s->copied = 0;
	reset(s);
}

void mt_source_free(struct mt_source *s)
{
	if (!s)
		return;
	mt_source_close(s);
	mt_reorder_free(s->reorder);
	mt_filter_free(s->filter);
	free_change(atomic_load(&s->change));
	if (s->kept_fd >= 0)
		close(s->kept_fd);
	if (s->stands_in)
		mt_feed_free(s->feed); /* its texts are the other's */
	else
		mt_source_spec_clear(&s->spec);
	free(s);
}

int mt_source_fd(struct mt_source *s)
{
	return s->ops->fd ? s->ops->fd(s) : -1;
}

uint64_t mt_source_kernel_drops(struct mt_source *s)
{
	if (s->ops->kernel_drops)
		s->kernel_drops = s->ops->kernel_drops(s);
	return s->kernel_drops;
}
