/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output.c - an output: when a segment begins and ends, and what packets go where.
 *
 * Called once or a few times a batch (1024 packets).  The work per packet is in the encoders,
 * which stop where a trigger or a full block needs a decision from here.
 *
 * A segment opens with its first packet.  A time slot that gets none is an empty segment
 * when some source is live, made when the slot ends, so that its name tells the slot;
 * files never make empty segments.
 */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "boundary.h"
#include "edit.h"
#include "encode.h"
#include "linktype.h"
#include "log.h"
#include "manifest.h"
#include "output_file.h"
#include "profile.h"
#include "segment.h"
#include "sink_trace.h"
#include "split.h"
#include "units.h"

enum {
	EMPTY_MAX = 100,     /* empty segments that one step of the clock makes at most */
	LOOK_MS = 1000,      /* between two looks whether it is still there */
	PAUSE_MS = 1000,     /* between the starts of commands, from the second failure in a row on */
	PAUSE_DOUBLINGS = 5, /* it doubles with each */
	LITTLE = 256 * 1024, /* bytes free on a disk that is full */
};
static const int64_t JUMP_NS = 60 * INT64_C(1000000000); /* ahead of the wall clock: not believed */

struct mt_output {
	const struct mt_output_config *config;
	const struct mt_output_hooks *hooks;
	struct mt_encoder encoder;
	struct mt_sink *sink;
	struct mt_run_counters *counters;
	struct mt_segments *segments; /* NULL without -B */
	struct mt_trace_sink *trace;  /* NULL unless the format is MT_FORMAT_TRACE */
	struct mt_split *split;       /* NULL unless it is split by a key */
	struct mt_segment_view view;  /* of the open segment or file; zeros if none */
	struct mt_segment_view total; /* of those that were closed */
	bool open;                    /* a segment or file takes packets */
	bool dead;                    /* failed: takes nothing more */
	bool closed;
	bool failed;                        /* see mt_output_failed */
	bool created;                       /* the file of an output without segments is new */
	uint64_t n;                         /* segments begun */
	uint8_t linktypes[MT_LINKTYPE_SET]; /* written, but for those of the open file */
	const char *reason;                 /* why the next segment opens */
	bool due;                           /* live: the time slot has no segment yet */
	unsigned broken;                    /* commands that failed one after the other */
	int64_t looked_ms;                  /* for the file of an output without segments */
	int64_t begun_ms;                   /* when the segment opened, by the monotonic clock */
	int64_t hold_until_ms;              /* no new command before */
	bool holding;                       /* packets are dropped until then; ends between batches */
	struct mt_space space;
	int64_t due_ns;         /* when it began; INT64_MIN: not known yet */
	atomic_int interrupted; /* 1: told to end, 2: at once */
};

static void reset_view(struct mt_output *o)
{
	o->view = (struct mt_segment_view){
	        .first_ns = INT64_MAX, .last_ns = INT64_MIN, .reason = "", .source = ""};
}

static enum mt_stage enter_stage(const struct mt_output *o, enum mt_stage stage)
{
	return mt_stage_enter(o->hooks ? o->hooks->clock : NULL, stage);
}

static const char *source_name(const struct mt_output *o, const struct mt_packet *p)
{
	const char *name = p && o->encoder.ifaces && !o->config->anonymous
	                           ? mt_ifaces_get(o->encoder.ifaces, p->iface)->source
	                           : NULL;
	return name ? name : "";
}

static void add_view(struct mt_segment_view *sum, const struct mt_segment_view *v)
{
	sum->packets += v->packets;
	sum->captured_bytes += v->captured_bytes;
	sum->wire_bytes += v->wire_bytes;
	if (v->first_ns < sum->first_ns)
		sum->first_ns = v->first_ns;
	if (v->last_ns > sum->last_ns)
		sum->last_ns = v->last_ns;
}

/* The view ends: add its counters to the totals. */
static void account(struct mt_output *o)
{
	add_view(&o->total, &o->view);
	for (size_t i = 0; i < sizeof o->linktypes; i++)
		o->linktypes[i] |= o->encoder.linktypes[i];
	reset_view(o);
	o->open = false;
}

/* --- failures -------------------------------------------------------------------------- */

/* The counters go back to what they were; its name stays. */
static void restore_view(struct mt_output *o, const struct mt_segment_view *v)
{
	o->view.packets = v->packets;
	o->view.captured_bytes = v->captured_bytes;
	o->view.wire_bytes = v->wire_bytes;
	o->view.first_ns = v->first_ns;
	o->view.last_ns = v->last_ns;
}

/* A hook dropped the block: what was in it is not written. */
static void note_dropped(struct mt_output *o)
{
	if (mt_sink_dropped(o->sink))
		restore_view(o, mt_sink_pushed(o->sink));
}

/* A write failed: only what can be read from the file was written. */
static void count_saved(struct mt_output *o, uint64_t packets)
{
	if (packets < o->view.packets)
		restore_view(o, mt_sink_saved(o->sink));
	o->view.packets = packets;
}

/* The same for a file without segments. */
static void count_saved_file(struct mt_output *o, bool command_failed)
{
	count_saved(o, command_failed ? 0 : mt_sink_saved(o->sink)->packets);
}

/* A live capture goes on with another command: the first time at once, then no more often than every second,
 * two, four, up to half a minute.  Packets are dropped meanwhile, and scripts go on.  Once the run was told
 * to end, there is no other: each could be as stuck. */
static void survive_command(struct mt_output *o, const struct mt_err *err)
{
	unsigned doublings = o->broken > PAUSE_DOUBLINGS ? PAUSE_DOUBLINGS : o->broken - (o->broken > 0);
	int64_t now = mt_monotonic_ms();
	mt_log_error("%s", err->text);
	o->failed = true;
	if (atomic_load(&o->interrupted)) {
		o->hold_until_ms = INT64_MAX;
		o->holding = true;
		return;
	}
	if (o->broken++) {
		o->hold_until_ms = o->begun_ms + ((int64_t)PAUSE_MS << doublings);
		o->holding = now < o->hold_until_ms;
	}
	if (o->holding)
		mt_log_warn("%s: the next command starts in %.1f s, packets until then are dropped",
		            o->config->path, (double)(o->hold_until_ms - now) / 1e3);
}

/* The segment in hand is spoilt: save what is whole.  A failed pipe command does not stop a live
 * capture: 0.  Else the output is dead: -1. */
static int give_up(struct mt_output *o, struct mt_err *err)
{
	bool command = o->sink && mt_sink_command_failed(o->sink);
	if (o->segments) {
		count_saved(o, mt_segments_abandon(o->segments, &o->view, err));
	} else if (o->sink) {
		struct mt_sink_result ignored;
		mt_sink_abort(o->sink, &ignored);
		count_saved_file(o, command);
		if (command)
			mt_output_file_failed(o->config->path);
	}
	account(o);
	if (command && o->segments && o->config->segment.live) {
		survive_command(o, err);
		return 0;
	}
	o->dead = true;
	return -1;
}

/* Send the block on.  0 or -1; after a failure that is survived, nothing is open. */
static int push(struct mt_output *o, struct mt_err *err)
{
	if (!mt_sink_block(o->sink)->used)
		return 0;
	enum mt_stage before = enter_stage(o, MT_STAGE_WRITE);
	int rc = mt_sink_push(o->sink, err);
	enter_stage(o, before);
	if (rc)
		return give_up(o, err);
	note_dropped(o);
	return 0;
}

/* --- begin and end --------------------------------------------------------------------- */

static int begin_encoder(struct mt_output *o, struct mt_err *err)
{
	memset(o->encoder.linktypes, 0, sizeof o->encoder.linktypes);
	o->encoder.any_linktype = false;
	o->open = true;
	if (!o->encoder.ops->begin(&o->encoder)) {
		mt_sink_set_header(o->sink, mt_sink_block(o->sink)->used);
		return 0;
	}
	mt_err_set(err, "%s: out of memory for the file header", o->config->path);
	return give_up(o, err);
}

/* A command that fails may have met a full disk, which only it was told. */
static void wait_for_space(struct mt_output *o)
{
	const char *path = o->config->path;
	struct statvfs fs;
	while (!statvfs(path, &fs) && fs.f_blocks &&
	       (geteuid() ? fs.f_bavail : fs.f_bfree) * fs.f_frsize < LITTLE)
		if (!mt_space_again(&o->space, ENOSPC, path))
			return;
	mt_space_found(&o->space, path);
}

/* Open a segment; p is the packet it opens with, or NULL. */
static int begin_segment(struct mt_output *o, int64_t start_ns, const struct mt_packet *p, struct mt_err *err)
{
	reset_view(o);
	o->view.n = ++o->n;
	o->view.start_ns = start_ns;
	o->view.reason = o->reason;
	o->view.source = source_name(o, p);
	o->due = false;
	enum mt_stage before = enter_stage(o, MT_STAGE_WRITE);
	if (o->broken)
		wait_for_space(o);
	o->begun_ms = mt_monotonic_ms();
	int rc = mt_segments_begin(o->segments, &o->view, err);
	enter_stage(o, before);
	if (rc > 0 && o->config->segment.live) {
		survive_command(o, err);
		reset_view(o);
		return 0;
	}
	if (rc) {
		o->dead = true;
		reset_view(o);
		return -1;
	}
	return begin_encoder(o, err);
}

/* Close the segment; the next one opens for this reason. */
static int end_segment(struct mt_output *o, const char *reason, struct mt_err *err)
{
	o->reason = reason;
	if (push(o, err))
		return -1;
	if (!o->open)
		return 0;
	if (o->encoder.ops->end(&o->encoder)) {
		mt_err_set(err, "%s: out of memory for the end of the file", o->config->path);
		return give_up(o, err);
	}
	bool command_failed = false;
	int64_t end_ns = !strcmp(reason, "time")              ? o->encoder.stop_ns
	                 : o->view.last_ns > o->view.start_ns ? o->view.last_ns
	                                                      : o->view.start_ns;
	uint64_t saved;
	enum mt_stage before = enter_stage(o, MT_STAGE_WRITE);
	int rc = mt_segments_end(o->segments, &o->view, end_ns, mt_encoder_linktypes(&o->encoder), &saved, err);
	enter_stage(o, before);
	if (rc) {
		command_failed = mt_sink_command_failed(o->sink);
		count_saved(o, saved);
	}
	account(o);
	if (!rc) {
		o->broken = 0;
		return 0;
	}
	if (command_failed && o->config->segment.live) {
		survive_command(o, err);
		return 0;
	}
	o->dead = true;
	return -1;
}

static int empty_segment(struct mt_output *o, const char *next_reason, struct mt_err *err)
{
	if (begin_segment(o, o->due_ns == INT64_MIN ? mt_wall_ns() : o->due_ns, NULL, err))
		return -1;
	return o->open ? end_segment(o, next_reason, err) : 0;
}

/* --- the clock ------------------------------------------------------------------------- */

static int64_t boundary_after(const struct mt_output *o, int64_t ns)
{
	return mt_boundary_after(ns, o->config->segment.rotate_seconds, o->config->segment.utc);
}

/* Too far ahead of the wall clock to be believed? */
static bool jumped(const struct mt_output *o, int64_t ns)
{
	return o->config->segment.live && ns > mt_wall_ns() + JUMP_NS;
}

/* Does this time act on the -G boundary?  INT64_MAX: there is none. */
static bool at_boundary(const struct mt_output *o, int64_t ns)
{
	return ns >= o->encoder.stop_ns && o->encoder.stop_ns != INT64_MAX && !jumped(o, ns);
}

/* Live: every slot that ends gets its segment. */
static int pass_live(struct mt_output *o, int64_t ns, struct mt_err *err)
{
	for (unsigned i = 0; o->encoder.stop_ns <= ns && o->encoder.stop_ns != INT64_MAX; i++) {
		int rc = 0;
		if (o->open)
			rc = end_segment(o, "time", err);
		else if (o->due)
			rc = empty_segment(o, "time", err);
		if (rc)
			return -1;
		o->reason = "time";
		o->due = !o->config->segment.on_demand;
		o->due_ns = o->encoder.stop_ns;
		o->encoder.stop_ns = boundary_after(o, i < EMPTY_MAX ? o->due_ns : ns);
	}
	return 0;
}

/* The stream clock has reached ns, at or past the boundary. */
static int pass_boundary(struct mt_output *o, int64_t ns, struct mt_err *err)
{
	if (o->encoder.stop_ns == INT64_MIN) { /* the first time that we hear of */
		o->encoder.stop_ns = boundary_after(o, ns);
		return 0;
	}
	if (o->config->segment.live)
		return pass_live(o, ns, err);
	int rc = o->open && o->view.packets ? end_segment(o, "time", err) : 0;
	o->encoder.stop_ns = boundary_after(o, ns);
	return rc;
}

/* --- writing --------------------------------------------------------------------------- */

/* Act on what stopped the encoder.  0 or -1; the segment may be closed afterwards. */
static int make_room(struct mt_output *o, enum mt_encode_stop stop, struct mt_err *err)
{
	switch (stop) {
	case MT_STOP_FULL:
		if (mt_sink_block(o->sink)->used)
			return push(o, err);
		if (!mt_block_reserve(mt_sink_block(o->sink), o->encoder.need))
			return 0;
		mt_err_set(err, "%s: out of memory for a record of %zu bytes", o->config->path,
		           o->encoder.need);
		return give_up(o, err);
	case MT_STOP_BYTES:
		return end_segment(o, "size", err);
	case MT_STOP_PACKETS:
		return end_segment(o, "packets", err);
	default:
		return 0;
	}
}

/* No segment is open: go on to the packet that opens one, passing boundaries on the way. */
static int seek_opener(struct mt_output *o, struct mt_packet *packets, uint32_t n, uint32_t *i, uint8_t verdict,
                       struct mt_err *err)
{
	for (; *i < n; ++*i) {
		struct mt_packet *p = &packets[*i];
		o->counters->at = p;
		if (at_boundary(o, p->ts_ns) && pass_boundary(o, p->ts_ns, err))
			return -1;
		if (p->verdict != verdict)
			continue;
		enum mt_refusal why = o->holding ? MT_REFUSED_COMMAND : o->encoder.ops->check(&o->encoder, p);
		if (why == MT_REFUSALS)
			return begin_segment(o, p->ts_ns, p, err);
		mt_encoder_refuse(&o->encoder, p, why);
	}
	return 0;
}

/* A packet from the far future: written, but the clock stands. */
static int write_jumped(struct mt_output *o, struct mt_packet *packets, uint32_t *i, uint8_t verdict,
                        struct mt_err *err)
{
	int64_t stop_ns = o->encoder.stop_ns;
	o->encoder.stop_ns = INT64_MAX;
	enum mt_encode_stop stop = o->encoder.ops->encode(&o->encoder, packets, *i + 1, i, verdict);
	o->encoder.stop_ns = stop_ns;
	return make_room(o, stop, err);
}

static int write_trace(struct mt_output *o, struct mt_packet *packets, uint32_t n, uint8_t verdict,
                       struct mt_err *err)
{
	for (uint32_t i = 0; i < n; i++) {
		struct mt_packet *p = &packets[i];
		if (p->verdict != verdict)
			continue;
		int rc = mt_trace_sink_write(o->trace, p, err);
		if (rc < 0) {
			o->dead = true;
			return -1;
		}
		if (rc)
			mt_encode_count(&o->view, p, mt_encode_caplen(&o->encoder, p), 0);
		else
			mt_encoder_refuse(&o->encoder, p,
			                  (uint64_t)p->ts_ns / 1000000000 > UINT32_MAX ? MT_REFUSED_TIME
			                                                               : MT_REFUSED_LINKTYPE);
	}
	return 0;
}

static int write_bytes(struct mt_output *o, struct mt_packet *packets, uint32_t n, uint8_t verdict,
                       struct mt_err *err)
{
	for (uint32_t i = 0; i < n;) {
		int rc;
		if (!o->open) {
			if (seek_opener(o, packets, n, &i, verdict, err))
				return -1;
			continue;
		}
		enum mt_encode_stop stop = o->encoder.ops->encode(&o->encoder, packets, n, &i, verdict);
		o->counters->at = packets + i;
		if (stop != MT_STOP_TIME)
			rc = make_room(o, stop, err);
		else if (jumped(o, packets[i].ts_ns))
			rc = write_jumped(o, packets, &i, verdict, err);
		else
			rc = pass_boundary(o, packets[i].ts_ns, err);
		if (rc)
			return -1;
	}
	return 0;
}

int mt_output_write(struct mt_output *o, struct mt_packet *packets, uint32_t n, uint8_t verdict,
                    struct mt_err *err)
{
	if (o->dead)
		return mt_err_set(err, "%s: nothing more is written after its failure", o->config->path);
	if (o->trace)
		return write_trace(o, packets, n, verdict, err);
	int rc = write_bytes(o, packets, n, verdict, err);
	o->counters->at = NULL;
	return rc;
}

int mt_output_write_parts(struct mt_output *o, struct mt_packet *packets, const uint32_t *parts, uint32_t n,
                          uint8_t verdict, struct mt_err *err)
{
	if (o->dead)
		return mt_err_set(err, "%s: nothing more is written after its failure", o->config->path);
	int rc = mt_split_write(o->split, packets, parts, n, verdict, err);
	o->dead = rc != 0;
	return rc;
}

struct mt_split *mt_output_split(const struct mt_output *o)
{
	return o->split;
}

/* What the encoder would stop for at this packet. */
static enum mt_encode_stop stop_at(const struct mt_output *o, const struct mt_packet *p)
{
	const struct mt_encoder *e = &o->encoder;
	size_t record = e->ops->record_size(e, p);
	if (o->view.packets >= e->stop_packets)
		return MT_STOP_PACKETS;
	if (o->view.packets && o->view.bytes + record + e->trailer > e->stop_bytes)
		return MT_STOP_BYTES;
	return record > e->block->size - e->block->used ? MT_STOP_FULL : MT_STOP_END;
}

bool mt_output_needs_hook(const struct mt_output *o, const struct mt_packet *p, bool takes)
{
	bool segments = o->segments && o->hooks && (o->hooks->segment_open || o->hooks->segment_close);
	bool blocks = o->hooks && o->hooks->block;
	if (o->dead || o->trace || o->split || (!segments && !blocks))
		return false;
	if (at_boundary(o, p->ts_ns))
		return true;
	if (!takes || o->encoder.ops->check(&o->encoder, p) != MT_REFUSALS)
		return false;
	if (!o->open)
		return !o->holding;
	enum mt_encode_stop stop = stop_at(o, p);
	return stop == MT_STOP_FULL ? blocks : stop != MT_STOP_END;
}

int mt_output_prepare(struct mt_output *o, const struct mt_packet *p, struct mt_err *err)
{
	if (o->dead || o->trace)
		return 0;
	if (at_boundary(o, p->ts_ns) && pass_boundary(o, p->ts_ns, err))
		return -1;
	if (p->verdict != MT_VERDICT_DEFAULT || o->encoder.ops->check(&o->encoder, p) != MT_REFUSALS)
		return 0;
	for (;;) {
		enum mt_encode_stop stop;
		if (!o->open && o->holding)
			return 0;
		if (!o->open && begin_segment(o, p->ts_ns, p, err))
			return -1;
		if (!o->open)
			continue; /* a live segment whose command failed at once: the next one */
		stop = stop_at(o, p);
		if (stop == MT_STOP_END)
			return 0;
		o->encoder.need = o->encoder.ops->record_size(&o->encoder, p);
		if (make_room(o, stop, err))
			return -1;
	}
}

int mt_output_rotate(struct mt_output *o, const char *reason, struct mt_err *err)
{
	if (o->dead || !o->segments || !o->open || !o->view.packets)
		return 0;
	return end_segment(o, reason, err);
}

void mt_output_set_reason(struct mt_output *o, const char *reason, bool next)
{
	if (next)
		o->reason = reason;
	else if (o->open)
		o->view.reason = reason;
}

/* Somebody deleted the file of an output without segments. */
static int file_removed(struct mt_output *o, struct mt_err *err)
{
	count_saved(o, 0);
	o->dead = true;
	return mt_err_set(err, "%s was deleted while it was written: all that was in it is lost",
	                  o->config->path);
}

static int look_for_file(struct mt_output *o, int64_t now_ms, struct mt_err *err)
{
	if (now_ms - o->looked_ms < LOOK_MS)
		return 0;
	o->looked_ms = now_ms;
	if (!mt_sink_removed(o->sink) || !access(o->config->path, F_OK))
		return 0;
	struct mt_sink_result ignored;
	mt_sink_abort(o->sink, &ignored);
	return file_removed(o, err);
}

int mt_output_tick(struct mt_output *o, int64_t clock_ns, int64_t now_ms, struct mt_err *err)
{
	if (o->dead || o->trace)
		return 0;
	if (o->split) {
		int rc = mt_split_tick(o->split, now_ms, err);
		o->dead = rc != 0;
		return rc;
	}
	if (mt_sink_tick(o->sink, now_ms, err)) {
		if (give_up(o, err))
			return -1;
	} else {
		note_dropped(o);
	}
	if (!o->segments)
		return look_for_file(o, now_ms, err);
	mt_segments_tick(o->segments);
	if (o->holding && now_ms >= o->hold_until_ms)
		o->holding = false;
	if (o->open && mt_segments_displaced(o->segments, now_ms) && end_segment(o, "moved", err))
		return -1;
	if (clock_ns == INT64_MIN || o->config->other_times)
		return 0;
	if (o->due && o->due_ns == INT64_MIN)
		o->due_ns = clock_ns;
	bool passed = at_boundary(o, clock_ns);
	return passed ? pass_boundary(o, clock_ns, err) : 0;
}

/* --- open and close -------------------------------------------------------------------- */

static int open_file(struct mt_output *o, struct mt_err *err)
{
	const struct mt_output_config *c = o->config;
	int fd = mt_output_file_open(c->path, c->overwrite, &o->created, err);
	if (fd < 0)
		return -1;
	bool ours = strcmp(c->path, "-") != 0 && strcmp(c->path, "/dev/stdout") != 0;
	o->view.n = o->n = 1;
	o->view.reason = "start";
	if (mt_sink_begin(o->sink, fd, ours ? c->path : "standard output", c->path, ours, err)) {
		return -1;
	}
	return begin_encoder(o, err);
}

static int open_bytes(struct mt_output *o, struct mt_run_counters *counters, struct mt_err *err)
{
	const struct mt_output_config *c = o->config;
	o->space = (struct mt_space){.rule = c->on_full, .interrupted = &o->interrupted};
	struct mt_sink_config sink = {.codec = c->codec,
	                              .space = &o->space,
	                              .level = c->level,
	                              .pipeout = c->pipeout,
	                              .sha256 = c->segmented && c->segment.sha256,
	                              .flush_ms = c->flush_ms,
	                              .view = &o->view,
	                              .hooks = o->hooks,
	                              .whole = o->encoder.ops->whole,
	                              .interrupted = &o->interrupted};
	o->sink = mt_sink_new(&sink, err);
	if (!o->sink)
		return mt_err_prefix(err, "%s", c->path);
	o->encoder.block = mt_sink_block(o->sink);
	if (!c->segmented)
		return open_file(o, err);
	o->segments = mt_segments_new(c, o->hooks, counters, o->sink, &o->space, &o->interrupted, err);
	if (!o->segments)
		return -1;
	if (c->segment.rotate_seconds)
		o->encoder.stop_ns = INT64_MIN;
	if (c->segment.rotate_bytes)
		o->encoder.stop_bytes = c->segment.rotate_bytes;
	if (c->segment.rotate_packets)
		o->encoder.stop_packets = c->segment.rotate_packets;
	o->due = c->segment.live && !c->segment.on_demand;
	return 0;
}

struct mt_output *mt_output_open(const struct mt_output_config *config, const struct mt_ifaces *ifaces,
                                 const struct mt_output_hooks *hooks, struct mt_run_counters *counters,
                                 struct mt_err *err)
{
	struct mt_output *o = calloc(1, sizeof *o);
	if (!o) {
		mt_err_set(err, "%s: out of memory", config->path);
		return NULL;
	}
	o->config = config;
	o->hooks = hooks;
	o->counters = counters;
	o->reason = "start";
	o->due_ns = INT64_MIN;
	reset_view(o);
	o->total = o->view;
	int rc;
	if (config->format == MT_FORMAT_TRACE) {
		o->encoder.config = config;
		o->encoder.ifaces = ifaces;
		o->trace = mt_trace_sink_open(config, err);
		rc = o->trace ? 0 : -1;
	} else {
		rc = mt_encoder_open(&o->encoder, config, ifaces, &o->view, err);
		if (!rc && config->split_files) {
			o->space = (struct mt_space){.rule = config->on_full, .interrupted = &o->interrupted};
			o->split = mt_split_new(config, &o->encoder, hooks, &o->space, err);
			rc = o->split ? 0 : -1;
		} else if (!rc) {
			rc = open_bytes(o, counters, err);
		}
	}
	if (!rc)
		return o;
	mt_output_free(o);
	return NULL;
}

static int close_file(struct mt_output *o, struct mt_err *err)
{
	struct mt_sink_result result;
	int rc = 0;
	if (push(o, err) || !o->open)
		return -1;
	if (o->encoder.ops->end(&o->encoder))
		rc = mt_err_set(err, "%s: out of memory for the end of the file", o->config->path);
	struct mt_err end_err;
	if (mt_sink_end(o->sink, &result, &end_err) && !rc) {
		*err = end_err;
		rc = -1;
	}
	if (!rc && result.removed && access(o->config->path, F_OK))
		return file_removed(o, err);
	if (rc)
		count_saved_file(o, result.command_failed);
	if (result.command_failed)
		mt_output_file_failed(o->config->path);
	o->dead = rc != 0;
	return rc;
}

static int close_segments(struct mt_output *o, struct mt_err *err)
{
	if (o->open && !o->view.packets && !o->config->segment.live) {
		mt_segments_discard(o->segments);
		account(o);
		return 0;
	}
	if (o->open)
		return end_segment(o, "signal", err);
	return o->due && !o->holding ? empty_segment(o, "signal", err) : 0;
}

int mt_output_close(struct mt_output *o, struct mt_err *err)
{
	int rc = 0;
	if (o->closed)
		return 0;
	o->closed = true;
	if (o->split)
		rc = mt_split_close(o->split, err);
	else if (!o->dead && !o->trace)
		rc = o->segments ? close_segments(o, err) : close_file(o, err);
	if (o->trace)
		mt_trace_sink_close(o->trace);
	o->trace = NULL;
	if (!o->segments) {
		account(o);
		o->view.reason = "";
	}
	o->dead = true;
	return rc;
}

void mt_output_free(struct mt_output *o)
{
	if (!o)
		return;
	/* A start that was refused leaves nothing behind. */
	if (!o->closed && o->created)
		unlink(o->config->path);
	mt_segments_free(o->segments);
	mt_split_free(o->split);
	mt_sink_free(o->sink);
	mt_trace_sink_close(o->trace);
	mt_encoder_close(&o->encoder);
	free(o);
}

/* --- questions ------------------------------------------------------------------------- */

const struct mt_segment_view *mt_output_segment(const struct mt_output *o)
{
	return &o->view;
}

void mt_output_interrupt(struct mt_output *o, bool at_once)
{
	int none = 0;
	if (at_once)
		atomic_store(&o->interrupted, 2);
	else
		atomic_compare_exchange_strong(&o->interrupted, &none, 1);
}

static uint64_t refused(const struct mt_output *o)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < MT_REFUSALS; i++)
		n += o->encoder.refused[i];
	return n;
}

uint64_t mt_output_written(const struct mt_output *o)
{
	return o->split ? mt_split_total(o->split).packets : o->total.packets + o->view.packets;
}

void mt_output_check_edits(const struct mt_output *o, const struct mt_batch *batch, uint32_t from, uint32_t to,
                           uint8_t verdict, unsigned *said)
{
	const struct mt_output_config *c = o->config;
	uint32_t snaplen = c->snaplen && !c->write_snaplen ? c->snaplen : MT_MAX_CAPLEN;
	unsigned lost = mt_edits_features(batch, from, to, verdict, snaplen) & ~*said;
	if (c->format == MT_FORMAT_PCAPNG)
		lost &= ~(unsigned)(MT_EDITED_COMMENT | MT_EDITED_NANOSECONDS);
	if (c->format == MT_FORMAT_ERF || (c->format == MT_FORMAT_PCAP && !c->microseconds))
		lost &= ~(unsigned)MT_EDITED_NANOSECONDS;
	if (c->format != MT_FORMAT_PCAPNG && c->format != MT_FORMAT_PCAP)
		lost &= ~(unsigned)MT_EDITED_LONGER;
	*said |= lost;
	if (lost & MT_EDITED_COMMENT)
		mt_log_warn("%s: comments on packets are lost, %s has none (--format pcapng keeps them)",
		            c->path, mt_format_name(c->format));
	if (lost & MT_EDITED_NANOSECONDS)
		mt_log_warn("%s: a script has set times in nanoseconds, they are cut to microseconds as its "
		            "sources "
		            "have them (--format pcapng keeps them)",
		            c->path);
	if (lost & MT_EDITED_LONGER)
		mt_log_warn(
		        "%s: a script has made packets longer than the snap length of %u in the file's header; "
		        "programs may cut them there when they read it",
		        c->path, c->snaplen);
}

bool mt_output_failed(const struct mt_output *o)
{
	return o->failed || refused(o) || (o->split && mt_split_troubled(o->split)) ||
	       (o->segments && mt_segments_troubled(o->segments));
}

int64_t mt_output_busy_ms(const struct mt_output *o, int64_t now_ms)
{
	return o->sink ? mt_sink_busy_ms(o->sink, now_ms) : 0;
}

const struct mt_space *mt_output_space(const struct mt_output *o)
{
	return &o->space;
}

static json_t *time_json(int64_t ns, bool any)
{
	char text[MT_TIME_TEXT];
	return any ? json_string(mt_format_seconds(ns, text)) : json_null();
}

json_t *mt_output_json(const struct mt_output *o)
{
	struct mt_segment_view sum = o->total;
	add_view(&sum, &o->view);
	if (o->split)
		sum = mt_split_total(o->split);
	bool any = sum.packets > 0;
	json_int_t dropped = (json_int_t)refused(o), kept = (json_int_t)sum.packets;
	json_t *j = json_pack("{s:o, s:s, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:I, s:o, s:o}", "path",
	                      mt_json_text(o->config->path), "format", mt_format_name(o->config->format),
	                      "packets", kept + dropped, "bytes",
	                      (json_int_t)(sum.captured_bytes + o->encoder.refused_bytes), "kept", kept,
	                      "filtered", 0, "script_dropped", 0, "dropped", dropped, "captured_bytes",
	                      (json_int_t)sum.captured_bytes, "wire_bytes", (json_int_t)sum.wire_bytes,
	                      "first_ts", time_json(sum.first_ns, any), "last_ts", time_json(sum.last_ns, any));
	uint8_t set[MT_LINKTYPE_SET];
	for (size_t i = 0; i < sizeof set; i++)
		set[i] = o->linktypes[i] | o->encoder.linktypes[i];
	json_object_set_new(j, "linktypes", mt_linktype_names(set));
	if (o->config->name && *o->config->name)
		json_object_set_new(j, "name", mt_json_text(o->config->name));
	if (o->segments)
		json_object_set_new(j, "segments", json_integer((json_int_t)mt_segments_closed(o->segments)));
	if (o->split)
		json_object_set_new(j, "segments", json_integer((json_int_t)mt_split_closed(o->split)));
	if (o->config->on_full != MT_FULL_STOP) {
		json_object_set_new(j, "deleted_segments",
		                    json_integer((json_int_t)atomic_load(&o->space.deleted)));
		json_object_set_new(j, "waited_ms", json_integer((json_int_t)atomic_load(&o->space.waited_ms)));
	}
	return j;
}

json_t *mt_output_segments_json(const struct mt_output *o)
{
	return o->split ? mt_split_json(o->split) : o->segments ? mt_segments_json(o->segments) : json_array();
}
