/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment.h - the files of a rotated output: name, .part file and lock, rename, manifest.
 *
 * output.c decides when a segment begins and ends; this is what then happens in the folder.
 * Typically one a minute, some hundred a second at worst.
 */
#ifndef MT_SEGMENT_H
#define MT_SEGMENT_H
#include "output.h"
#include "sink.h"

struct mt_segments;

/* Prepare the folder: make it, read the sequence file, report left-overs.  Everything given
 * is borrowed.  NULL with err. */
struct mt_segments *mt_segments_new(const struct mt_output_config *config, const struct mt_output_hooks *hooks,
                                    const struct mt_run_counters *counters, struct mt_sink *sink,
                                    struct mt_space *space, const atomic_int *interrupted, struct mt_err *err);
/* Waits a bounded time for --on-close commands.  NULL is fine. */
void mt_segments_free(struct mt_segments *s);
/* Wait for the watchfile, name the segment, create its .part file and start the sink on it.
 * n, start_ns, reason and source of *view are set; seq is filled in.  0; 1: the pipe command could not be
 * started, nothing is open; -1. */
int mt_segments_begin(struct mt_segments *s, struct mt_segment_view *view, struct mt_err *err);
/* End the sink, give the file its name, add the manifest line (linktypes: taken; end_ns: the
 * boundary that ended it, or its last time), call the hook and the command, delete what
 * --keep-* says.  0; -1: it is not whole, or its command failed, *saved packets were saved. */
int mt_segments_end(struct mt_segments *s, const struct mt_segment_view *view, int64_t end_ns,
                    json_t *linktypes, uint64_t *saved, struct mt_err *err);
/* After a failure while writing: close, and save what is whole in the file; failure: its text,
 * which may be added to.  Returns how many packets were saved. */
uint64_t mt_segments_abandon(struct mt_segments *s, const struct mt_segment_view *view, struct mt_err *failure);
/* Drop the open segment, nothing is in it. */
void mt_segments_discard(struct mt_segments *s);
/* Collect commands that ended. */
void mt_segments_tick(struct mt_segments *s);
/* Was the file of the open segment moved or removed?  Looks once a second. */
bool mt_segments_displaced(struct mt_segments *s, int64_t now_ms);
/* Manifest lines of all closed segments of this run; new reference. */
json_t *mt_segments_json(const struct mt_segments *s);
/* Segments closed, and trouble that did not stop anything (a lost manifest line). */
uint64_t mt_segments_closed(const struct mt_segments *s);
bool mt_segments_troubled(const struct mt_segments *s);

#endif
