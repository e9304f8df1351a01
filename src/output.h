/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output.h - a place kept packets go: one file, standard output, a folder of segments, a
 * libtrace output URI; each also through a codec or a shell command.
 *
 * Data flow: flow.c hands over runs of packets; the output decides rotation (segment.c),
 * encodes records into blocks (encode_*.c), passes whole blocks through the block hook and
 * the codec (codec.c) and writes them (sink.c).  All calls come from the one thread that
 * runs the hooks; only the main thread may call mt_output_close after that thread has
 * been declared stuck.
 */
#ifndef MT_OUTPUT_H
#define MT_OUTPUT_H
#include <jansson.h>
#include <stdbool.h>

#include "abi.h"
#include "err.h"
#include "full.h"
#include "iface.h"

enum mt_format {
	MT_FORMAT_AUTO, /* pcap, or pcapng when link types differ: resolved before opening */
	MT_FORMAT_PCAP,
	MT_FORMAT_PCAPNG,
	MT_FORMAT_ERF,
	MT_FORMAT_TRACE /* a libtrace output URI: libtrace encodes and writes */
};

enum mt_codec_id { MT_CODEC_NONE, MT_CODEC_GZIP, MT_CODEC_ZSTD, MT_CODEC_LZ4, MT_CODEC_XZ, MT_CODEC_BZ2 };

struct mt_segment_config {
	uint64_t rotate_seconds;   /* -G; 0: off */
	uint64_t rotate_bytes;     /* -S; 0: off */
	uint64_t rotate_packets;   /* -P; 0: off */
	bool utc;                  /* -U */
	const char *name;          /* --name template, or NULL */
	const char *sequence_file; /* -N, or NULL */
	const char *extension;     /* --file-ext, or NULL: follows format and codec */
	const char *watchfile;     /* -W, or NULL */
	uint64_t keep_files;       /* --keep-files; 0: all */
	uint64_t keep_bytes;       /* --keep-bytes; 0: all */
	const char *on_close;      /* --on-close command, or NULL */
	bool sha256;               /* --sha256 */
	bool manifest;             /* write manifest.jsonl */
	bool on_demand;            /* --pre: a segment opens when one is asked for, never by the clock */
	bool live;                 /* some source is live: empty segments, clock rotation */
	const char *run_id;        /* the manifest's "run" */
};

struct mt_output_config {
	enum mt_on_full on_full; /* --on-full */
	const char *name;        /* of --out; "" for the default output */
	const char *path;        /* file, "-", URI, or the folder of segments */
	bool segmented;          /* -B */
	uint32_t split_files;    /* the most files of a split output (split.h), the others' aside; 0: no such */
	enum mt_format format;   /* not MT_FORMAT_AUTO */
	bool anonymous;          /* a script is private: no names of sources and interfaces */
	bool other_times;        /* … and changes times: the stream clock means nothing to the output */
	bool microseconds;       /* pcap: write microsecond stamps */
	bool refuse_finer;       /* … and no packet whose time would lose digits by that */
	uint16_t
	        linktype; /* pcap: of the file header; 0xffff: of the first packet, Ethernet if there is none */
	enum mt_codec_id codec;
	int level; /* -z; -1: the codec's default */
	bool overwrite;
	uint32_t snaplen;       /* snap length to put into headers */
	uint32_t write_snaplen; /* --write-snaplen: cut when written; 0: off */
	const char *pipeout;    /* shell command, or NULL */
	unsigned flush_ms;      /* --flush */
	struct mt_segment_config segment;
};

/* What the output asks of scripts.  Members may be NULL.  Called on the hook thread, from C,
 * never below an FFI call. */
struct mt_output_hooks {
	void *ctx;
	struct mt_stage_clock *clock; /* --profile: of the thread that calls the output */
	/* Name for the segment that is about to open, or NULL for the default; valid until the
	 * next call. */
	const char *(*segment_open)(void *ctx, const struct mt_segment_view *segment);
	/* A segment was renamed to its final name; line is its manifest line, borrowed. */
	void (*segment_close)(void *ctx, const json_t *line);
	/* A block of encoded bytes: *len bytes at *data may be replaced by others, valid until the
	 * next call.  false: the block must not be written (a script failed on it). */
	bool (*block)(void *ctx, const uint8_t **data, size_t *len);
};

/* Numbers of the run that a manifest line carries, cumulative; the output takes differences. */
struct mt_run_counters {
	uint64_t late, clock_jumps, script_bypassed;
	/* A new array of {"name", "packets", "kept", "filtered", "script_dropped", "late", "dropped",
	 * "dropped_kernel"}, one a source, cumulative; caller owns the reference.  Called when a segment
	 * closes. */
	json_t *(*sources)(void *ctx);
	void *ctx;
	/* Set by the output: the packet that is to be written next, while it is in mt_output_write; else NULL.
	 */
	const struct mt_packet *at;
};

struct mt_output;
struct mt_split;

/* Open.  Errors here are refusals at start (status 1): the file exists, the folder is not
 * writable, an unknown format.  config, its strings, ifaces, hooks and counters are borrowed
 * until mt_output_free. */
struct mt_output *mt_output_open(const struct mt_output_config *config, const struct mt_ifaces *ifaces,
                                 const struct mt_output_hooks *hooks, struct mt_run_counters *counters,
                                 struct mt_err *err);
/* Write those of packets[0..n-1] whose verdict is `verdict`, rotating where a trigger says so.
 * A packet that the format can not take gets the verdict MT_VERDICT_UNWRITABLE and is
 * reported once.  0, or -1: the output failed, err says how; it takes nothing more. */
int mt_output_write(struct mt_output *o, struct mt_packet *packets, uint32_t n, uint8_t verdict,
                    struct mt_err *err);
/* The same for a split output: parts[i] is the number of the key of packets[i]. */
int mt_output_write_parts(struct mt_output *o, struct mt_packet *packets, const uint32_t *parts, uint32_t n,
                          uint8_t verdict, struct mt_err *err);
/* Its files; NULL: it is not split. */
struct mt_split *mt_output_split(const struct mt_output *o);
/* Would mt_output_write call a hook (rotation, full block with a block hook) before or while
 * it takes this packet?  takes: it is one that the output takes, and not only passes. */
bool mt_output_needs_hook(const struct mt_output *o, const struct mt_packet *packet, bool takes);
/* Do now, and call the hooks for, what mt_output_needs_hook announces for the packet: rotate,
 * open the segment that it goes to, send a full block on.  Afterwards needs_hook is false for
 * it.  0 or -1. */
int mt_output_prepare(struct mt_output *o, const struct mt_packet *packet, struct mt_err *err);
/* Packets from to to - 1 of the batch were written: warn of what scripts have put into them and this output
 * lost.  *said: enum mt_edit_feature, what was warned of already in this run. */
void mt_output_check_edits(const struct mt_output *o, const struct mt_batch *batch, uint32_t from, uint32_t to,
                           uint8_t verdict, unsigned *said);
/* Close the segment and let the next packet open another.  reason: "signal" or "script".  An
 * empty segment stays open.  0 or -1. */
int mt_output_rotate(struct mt_output *o, const char *reason, struct mt_err *err);
/* The text stays the caller's.  next: the next segment opens for this reason; else the open one did. */
void mt_output_set_reason(struct mt_output *o, const char *reason, bool next);
/* Timers, called at least every 200 ms while nothing is written and once a batch otherwise:
 * flush what is older than flush_ms (now_ms: monotonic); rotate by the stream clock when it
 * passed a -G boundary (clock_ns; INT64_MIN: unknown).  0 or -1. */
int mt_output_tick(struct mt_output *o, int64_t clock_ns, int64_t now_ms, struct mt_err *err);
/* Finish: write what is held, close codecs, wait for the pipe command, rename the last
 * segment, add its manifest line.  Safe to call once after a failure too.  0 or -1. */
int mt_output_close(struct mt_output *o, struct mt_err *err);
void mt_output_free(struct mt_output *o);

/* The open segment, or the whole file of an output without segments.  Never NULL. */
const struct mt_segment_view *mt_output_segment(const struct mt_output *o);
/* For how long one write has gone on by now; 0: none does. */
int64_t mt_output_busy_ms(const struct mt_output *o, int64_t now_ms);
/* Of --on-full; other threads may look at it. */
const struct mt_space *mt_output_space(const struct mt_output *o);
/* {"path" or "name", "packets", "bytes", …} of one output, as in --json; new reference. */
json_t *mt_output_json(const struct mt_output *o);
/* Manifest lines of all closed segments; new reference. */
json_t *mt_output_segments_json(const struct mt_output *o);
/* By the signal thread: gives up a wait for a watchfile, for space or, after some seconds or at once, for a
 * command. */
void mt_output_interrupt(struct mt_output *o, bool at_once);

/* Packets that were taken and are in files, or on their way there: less than what mt_output_write
 * took once a write has failed or a block was dropped.  Exact after mt_output_close. */
uint64_t mt_output_written(const struct mt_output *o);
/* Something went wrong that did not end the output (exit status 3): a pipe command failed while
 * live, a packet could not be written in the format, a manifest line was lost. */
bool mt_output_failed(const struct mt_output *o);

/* Format and codec by the ending of a file name (".pcap.gz"): MT_FORMAT_AUTO if it tells none.
 * codec may be set although the format is not. */
void mt_output_guess(const char *path, enum mt_format *format, enum mt_codec_id *codec);
/* "pcap", "pcapng", "erf", "trace". */
const char *mt_format_name(enum mt_format format);
/* -Z TYPE: gz gzip zlib zst zstd lz4 xz bz bz2 no none, by prefix as mtracecap does.  -1: unknown. */
int mt_codec_parse(const char *text, enum mt_codec_id *codec);
/* ".gz" … or "". */
const char *mt_codec_extension(enum mt_codec_id codec);
/* Can this build write the codec at this level? 0, or -1 with err naming what can. */
int mt_codec_check(enum mt_codec_id codec, int level, struct mt_err *err);
/* moontap --recover DIR: turn unlocked .part files into whole segments, print a line for each
 * on standard output.  Returns an exit status. */
int mt_recover(const char *dir);

#endif
