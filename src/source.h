/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source.h - one thing packets are read from: a file, a pipe, an interface, a libtrace URI.
 *
 * Data flow: a backend (source_file.c, source_pcap.c, source_trace.c) parses some packets
 * into the source's run; mt_source_fill then applies what all backends share (time
 * offset, snap length, filter, --from/--to, flags) and the merge takes packets from the
 * run.  Everything here belongs to the thread that reads the source: the merging thread, or a
 * thread of its own (feed.h).
 */
#ifndef MT_SOURCE_H
#define MT_SOURCE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "abi.h"
#include "chunk.h"
#include "err.h"
#include "iface.h"
#include "lag.h"
#include "readahead.h"

/* What reading functions return. */
enum mt_read {
	MT_ERROR = -1, /* err is set; the source has ended */
	MT_END = 0,    /* nothing more will come */
	MT_OK = 1,     /* at least one packet */
	MT_WAIT = 2,   /* nothing right now: poll mt_source_fd, or try again within wait_ms */
	MT_FULL = 3    /* all buffers are in flight: release batch wait_batch first */
};

enum { MT_RUN_PACKETS = 32 }; /* packets parsed ahead, per source */

enum mt_source_kind {
	MT_SOURCE_FILE,      /* native reader: regular file, pipe or standard input */
	MT_SOURCE_INTERFACE, /* libpcap */
	MT_SOURCE_TRACE      /* libtrace URI */
};

/* A source as the command line names it. */
struct mt_source_spec {
	enum mt_source_kind kind;
	char *word;         /* as given, for messages; owned */
	char *target;       /* path, "-", device name, or libtrace URI; owned */
	char *name;         /* name= or what stands in for it: the path, URI or device; owned */
	char *filter;       /* filter=, or NULL: the run's -F; owned */
	char *tstamp;       /* tstamp= (libpcap time stamp type), or NULL; owned */
	const char *format; /* forced by a URI prefix: "pcap", "pcapng", "erf", or NULL: by content */
	int64_t offset_ns;  /* offset=, added to every time */
	uint32_t snaplen;   /* snaplen=, or 0: the run's -s */
	bool promisc;       /* promisc=, default true */
	bool follow;        /* follow=: go on at the end of a growing file */
	bool not_live;      /* live=no */
	bool live;          /* an interface, a capture URI, follow=yes or live=yes */
};

/* Parse "SOURCE[,KEY=VALUE...]" (-r: is_file, -i: is_interface, a bare word: neither) and
 * resolve what it is.  0, or -1 with err.  Free with mt_source_spec_clear. */
int mt_source_spec_parse(struct mt_source_spec *spec, const char *word, bool is_file, bool is_interface,
                         struct mt_err *err);
void mt_source_spec_clear(struct mt_source_spec *spec);

/* What all sources of a run share. */
struct mt_source_context {
	struct mt_chunks *chunks;
	struct mt_ifaces *ifaces;
	const char *filter;      /* -F, or NULL */
	bool filter_changes;     /* mt_source_set_filter may be called */
	uint32_t snaplen;        /* -s */
	int64_t from_ns, to_ns;  /* --from, --to: half-open; INT64_MIN and INT64_MAX if not given */
	unsigned window_ms;      /* -w; see mt_source_handover_ms */
	size_t kernel_buffer;    /* --kernel-buffer, bytes of the capture ring; 0: the system's default */
	const atomic_bool *stop; /* set by a signal: ends a wait inside mt_source_open; may be NULL */
	struct mt_readahead_pool *readahead; /* decodes compressed files; NULL: they are decoded as read */
};

/* How long a live interface may hold packets back, ms: half a window, so that the other half is for waiting;
 * never so long that a stop would be slow. */
static inline int mt_source_handover_ms(const struct mt_source_context *context)
{
	unsigned ms = context->window_ms / 2;
	return ms < 1 ? 1 : ms < 100 ? (int)ms : 100;
}

struct mt_source;
struct mt_feed;
struct mt_reorder;

/* A backend. */
struct mt_source_ops {
	const char *name;
	/* Open and read the file header; *impl is the backend's own state. 0 or -1. */
	int (*open)(struct mt_source *s, struct mt_err *err);
	/* Parse up to MT_RUN_PACKETS packets into s->run, set s->run_n.  enum mt_read.
	 * An error that follows good packets is kept for the next call. */
	enum mt_read (*fill)(struct mt_source *s, struct mt_err *err);
	/* Descriptor to poll after MT_WAIT, or -1. */
	int (*fd)(struct mt_source *s);
	/* s->filter is another one: tell whoever filters for us.  May be NULL. */
	void (*refilter)(struct mt_source *s);
	/* Packets that the kernel or the card lost so far; UINT64_MAX: unknown. */
	uint64_t (*kernel_drops)(struct mt_source *s);
	/* Free s->impl; may be called twice. */
	void (*close)(struct mt_source *s);
};

struct mt_source {
	/* the merge's side */
	struct mt_packet run[MT_RUN_PACKETS];
	unsigned run_pos, run_n; /* packets run_pos .. run_n - 1 are next */
	unsigned index;          /* place on the command line, decides equal times */
	uint64_t wait_batch;     /* after MT_FULL */
	int wait_ms;             /* after MT_WAIT without a descriptor: try again after this long */
	bool has_first;          /* a parked file: it has packets, the first at first_ns */
	int64_t first_ns;
	int64_t arrival_ms; /* live: monotonic time at which the run reached the program */
	int64_t shown_ns;   /* live: latest time of a packet that was in the run */
	struct mt_lag lag;  /* live */

	/* the backend's side */
	const struct mt_source_ops *ops;
	void *impl;
	struct mt_chunk_ring ring;
	const struct mt_source_context *context;
	struct mt_source_spec spec;
	uint32_t group;             /* source group, iface.h */
	struct mt_feed *feed;       /* it is read by a thread of its own (feed.h), or NULL */
	struct mt_reorder *reorder; /* sorts its packets, or NULL; owned */
	bool stands_in;             /* for the source that this thread reads; owns the feed */

	/* kept by mt_source_fill */
	struct mt_filter *filter;                  /* owned; NULL: none */
	_Atomic(struct mt_filter_change *) change; /* one that takes its place, or NULL; owned */
	int64_t last_ns;                           /* time of the packet read last */
	uint64_t packets_read;   /* for messages: number of the packet being parsed is this + 1 */
	uint64_t file_bytes;     /* size of a regular file; 0 unknown */
	uint64_t bytes_read;     /* of the file as stored, for the progress bar */
	uint64_t dropped;        /* live: packets that no buffer was left for */
	bool microseconds;       /* times are whole microseconds, as far as is known */
	bool finer_may_come;     /* but that may change (pcapng) */
	bool parkable;           /* a regular file: may be closed and opened again */
	int kept_fd;             /* the file, to be opened again by; -1: by its name; owned */
	uint32_t iface;          /* live: its entry in the interface table; UINT32_MAX: none, or several */
	uint16_t first_linktype; /* of the first interface; 0xffff: none described yet */
	uint64_t kernel_drops;   /* as of the last query; UINT64_MAX unknown */
	size_t copied;           /* bytes used of the current chunk, by backends that copy packets */
	uint32_t snaplen;        /* cut packets to this; at least MT_MAX_CAPLEN: never */
	bool touched;            /* offset, snap length, filter, --from or --to are in force */
	bool taken;              /* since it was opened, packets of it were handed on */
	bool filled;             /* since it was opened, the run was filled */
	bool ended;              /* since it was opened, MT_END or MT_ERROR was returned */
	bool warned;             /* that the filter has no meaning for a link type */
	uint16_t warned_linktype;
};

/* A new source for spec, which it takes.  Does not open anything. */
struct mt_source *mt_source_new(struct mt_source_spec *spec, unsigned index,
                                const struct mt_source_context *context, struct mt_err *err);
/* Open and read the header.  0, or -1: no such file, no valid header, no such device … */
int mt_source_open(struct mt_source *s, struct mt_err *err);
/* --reorder: sort what the source gives.  pool: where packets are held; borrowed.  Its own chunks must be
 * others'. 0, or -1: out of memory. */
int mt_source_set_reorder(struct mt_source *s, struct mt_chunks *pool, uint32_t span_ms);
/* Fill the run when it is empty. */
enum mt_read mt_source_fill(struct mt_source *s, struct mt_err *err);
/* From one of its next runs on, another filter (NULL: none) is in force; taken.  For sources that have none of
 * their own (filter=).  Any thread.  0, or -1: out of memory. */
int mt_source_set_filter(struct mt_source *s, struct mt_filter *filter);
/* Is one still waiting for a run? */
bool mt_source_filter_waits(const struct mt_source *s);
/* Close the file or device and give its buffers back; the source can be opened again from
 * its start if it is parkable, and counts packets_read anew then.  Packets left in the run
 * are gone. */
void mt_source_close(struct mt_source *s);
/* Close and free.  NULL is fine. */
void mt_source_free(struct mt_source *s);
/* Has the run been told to stop?  For backends: read nothing more. */
bool mt_source_stopped(const struct mt_source *s);
/* Descriptor to poll after MT_WAIT, or -1. */
int mt_source_fd(struct mt_source *s);
/* Fresh number of packets lost before they reached the program; UINT64_MAX: unknown. */
uint64_t mt_source_kernel_drops(struct mt_source *s);

/* For backends: room for len bytes of a packet that has to be copied, at *room.  MT_OK; MT_WAIT
 * if the packets in the run have to be handed on first; MT_FULL; MT_ERROR. */
enum mt_read mt_source_room(struct mt_source *s, size_t len, uint8_t **room, struct mt_err *err);

extern const struct mt_source_ops mt_source_file, mt_source_pcap, mt_source_trace;

/* -D: interfaces with link types and time stamp types, on out. 0 or -1. */
int mt_source_list_interfaces(FILE *out, struct mt_err *err);
/* -H: formats and codecs this build reads and writes, with libtrace's own list. */
void mt_source_list_formats(FILE *out);
/* Version of libtrace in use, as "3.0.22". */
const char *mt_trace_version(void);

#endif
