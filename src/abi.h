/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * abi.h - everything that C and Lua both see, and nothing else.
 *
 * The Makefile strips the preprocessor lines and the MT_EXPORT marks from this file and
 * compiles the rest into the binary as the text of one ffi.cdef.  So only what LuaJIT's
 * parser takes may stand here: fixed-width integers, enums with 32-bit values, no
 * typedefs of the C library.  lua/moontap/abi.lua compares ffi.sizeof and ffi.offsetof
 * with the table that abi.c exports and refuses to run on a difference.
 */
#ifndef MT_ABI_H
#define MT_ABI_H
#include <stddef.h>
#include <stdint.h>
#define MT_EXPORT __attribute__((visibility("default")))

enum {
	MT_BATCH_PACKETS = 1024, /* the most packets in a batch */
	MT_MAX_CAPLEN = 262144,  /* the longest captured packet that is accepted, bytes */
	MT_NO_OFFSET = 0xffff,   /* an offset in mt_decoded that does not exist */
	MT_DATA_SLACK = 16 /* bytes behind the last packet of a buffer that may be read, whatever they hold */
};

/* What is to become of a packet: mt_packet.verdict.  1 to MT_VERDICT_LAST_OUTPUT are the
 * outputs that --out declared, in their order. */
enum mt_verdict {
	MT_VERDICT_DEFAULT = 0,       /* to the default output */
	MT_VERDICT_LAST_OUTPUT = 249, /* the highest index of a named output */
	MT_VERDICT_LATE = 250,        /* came too late, with --late=drop: counted as dropped */
	MT_VERDICT_OUTSIDE = 251,     /* not between --from and --to: not there at all */
	MT_VERDICT_UNWRITABLE = 252,  /* kept, but its output could not take it: counted as dropped */
	MT_VERDICT_FILTERED = 253,    /* rejected by -F or filter=: only the clock sees it */
	MT_VERDICT_BYPASS_DROP = 254, /* dropped by the on_error rule of a script */
	MT_VERDICT_DROPPED = 255      /* dropped by a script */
};

enum mt_direction { MT_DIRECTION_UNKNOWN = 0, MT_DIRECTION_IN = 1, MT_DIRECTION_OUT = 2 };

/* Bits of mt_packet.flags. */
enum mt_packet_flag {
	MT_PACKET_OPTIONS_SWAPPED = 1, /* options are in the other byte order */
	MT_PACKET_BAD_TIME = 2,        /* its time did not fit and was clamped */
	MT_PACKET_DISORDER = 4,        /* earlier than the packet before it of the same source */
	MT_PACKET_BYPASSED = 8,        /* a hook did not finish it (script_bypassed) */
	MT_PACKET_LATE = 16,           /* earlier than what live capture had already written */
	MT_PACKET_CLOCK_JUMP = 32,     /* live, over 60 s ahead of the wall clock: moves no clock */
	MT_PACKET_EDITED = 128         /* a script has changed its bytes or its time */
};

/* One captured frame.  data and options are borrowed: valid until the batch is released. */
struct mt_packet {
	int64_t ts_ns;       /* nanoseconds since 1970-01-01 UTC */
	const uint8_t *data; /* caplen bytes, from the link-layer header on; MT_DATA_SLACK more can be read */
	const uint8_t *options; /* raw options of a pcapng block, or NULL */
	uint32_t caplen;        /* captured bytes */
	uint32_t wirelen;       /* bytes on the wire, without frame check sequence */
	uint32_t iface;         /* index into the run's interface table (iface.h) */
	uint16_t linktype;      /* LINKTYPE_ value, as in a pcap file header */
	uint16_t options_len;   /* bytes at options */
	uint8_t direction;      /* enum mt_direction */
	uint8_t verdict;        /* enum mt_verdict, or the index of a named output */
	uint8_t flags;          /* enum mt_packet_flag */
	uint8_t reserved;
	uint32_t cut; /* captured bytes that p:truncate has taken off caplen */
};

/* Bits of mt_decoded.bits. */
enum mt_decoded_bit {
	MT_IS_TCP = 1,
	MT_IS_UDP = 2,
	MT_IS_ICMP = 4,     /* ICMP or ICMPv6 */
	MT_IS_FRAGMENT = 8, /* of an IP packet, also the first */
	MT_HAS_PORTS = 16,  /* sport and dport were captured */
	MT_HAS_VLAN = 32,
	MT_HAS_MPLS = 64
};

/* Tunnels, by the header that stands before the inner packet: mt_decoded.tunnel. */
enum mt_tunnel {
	MT_TUNNEL_NONE,
	MT_TUNNEL_IPIP, /* IPv4 or IPv6 in either */
	MT_TUNNEL_GRE,
	MT_TUNNEL_PPTP,
	MT_TUNNEL_ERSPAN,
	MT_TUNNEL_ETHERIP, /* also Ethernet in IP as SRv6 has it */
	MT_TUNNEL_VXLAN,   /* also VXLAN-GPE */
	MT_TUNNEL_GENEVE,
	MT_TUNNEL_GTP,
	MT_TUNNEL_L2TP,
	MT_TUNNEL_TEREDO,
	MT_TUNNEL_LISP,
	MT_TUNNEL_MPLS, /* MPLS in IP or UDP */
	MT_TUNNEL_NSH,
	MT_TUNNEL_PBB,       /* IEEE 802.1ah */
	MT_TUNNEL_PSEUDOWIRE /* Ethernet in MPLS */
};

/* What is known of the packet inside: mt_decoded.inner. */
enum mt_inner_state {
	MT_INNER_UNKNOWN, /* nobody has asked */
	MT_INNER_NONE,    /* mt_batch.inner is the packet itself */
	MT_INNER_FOUND,
	MT_INNER_THIS /* this describes an inner packet */
};

/* Where the headers of a packet are, and the few values every script asks for, in host
 * byte order.  All offsets count from mt_packet.data. */
struct mt_decoded {
	uint16_t l3_offset;      /* IP header or other network header, or MT_NO_OFFSET */
	uint16_t l4_offset;      /* transport header (first fragments only), or MT_NO_OFFSET */
	uint16_t payload_offset; /* after the transport header, or MT_NO_OFFSET */
	uint16_t src_offset;     /* IP source address, or MT_NO_OFFSET; destination follows it */
	uint32_t payload_len;    /* captured payload bytes, without link-layer padding */
	uint16_t ethertype;      /* after all VLAN tags; 0 if none */
	uint16_t vlan;           /* VLAN id of the outermost tag; 0 if none */
	uint16_t sport;          /* 0 if none */
	uint16_t dport;          /* 0 if none */
	uint8_t ip_version;      /* 4, 6, or 0 */
	uint8_t proto;           /* IP protocol after extension headers; 0 if no IP */
	uint8_t tcp_flags;       /* 0 if not TCP */
	uint8_t ttl;             /* TTL or hop limit; 0 if no IP */
	uint8_t bits;            /* enum mt_decoded_bit */
	uint8_t address_len;     /* bytes of an IP address: 4, 16, or 0 */
	uint16_t l2_offset;      /* Ethernet header, or MT_NO_OFFSET */
	uint16_t tag_offset;     /* first VLAN tag, without one the first MPLS label; 0 if none */
	uint8_t tunnel;          /* enum mt_tunnel, once inner is known */
	uint8_t inner;           /* enum mt_inner_state */
};

/* A DNS message of a batch, found before a script asks for it (dns_batch.c). */
struct mt_dns_note {
	uint32_t offset; /* of the message in mt_packet.data; the others as in struct mt_dns */
	uint32_t len;
	uint32_t missing;
	uint32_t question;
	uint32_t opt;       /* MT_DNS_UNKNOWN: nobody has looked */
	uint32_t malformed; /* 1, 0 or MT_DNS_UNKNOWN */
};

/* Two IP addresses of a packet as they were read, behind each other, and what Crypto-PAn makes of them. */
struct mt_other_addresses {
	uint32_t at, len; /* where the first is, and bytes of each: 4 or 16; 0: there are none */
	uint64_t other[4];
};

struct mt_edits;
/* Up to MT_BATCH_PACKETS packets in merged order, the unit that moves through the program. */
struct mt_batch {
	uint64_t seq;              /* number of this batch, from 1 */
	uint32_t n;                /* packets in it */
	int32_t decoded;           /* 1 when decode[0..n-1] is filled in */
	uint32_t bytes;            /* sum of caplen */
	uint32_t last;             /* 1: the stream ends after this batch */
	uint32_t screened;         /* 1: -F and -s have been applied (screen.h) */
	uint32_t dns_depth;        /* enum mt_dns_depth: what dns_place and dns hold */
	uint32_t dns_wanted;       /* the same, for the batches to come: set while hooks run */
	uint32_t hash_kind;        /* enum mt_table_kind: what key_hash holds; 0: nothing */
	uint32_t hash_wanted;      /* the same, for the batches to come: set while hooks run */
	uint32_t addresses_of;     /* number of an anonymizer: what other_addresses holds; 0: nothing */
	uint32_t addresses_wanted; /* the same, for the batches to come: set while hooks run */
	uint32_t reserved;
	struct mt_edits *edits; /* what scripts have changed in it (edit.h), or NULL */
	struct mt_packet packets[MT_BATCH_PACKETS];
	struct mt_decoded decode[MT_BATCH_PACKETS];
	/* Where decode[].inner is known: the innermost packet, and the number of the outermost tunnel. */
	struct mt_decoded inner[MT_BATCH_PACKETS];
	uint32_t tunnel_id[MT_BATCH_PACKETS];
	/* Of packets whose verdict is a split output (split.h): number of the key; 0: the others. */
	uint32_t part[MT_BATCH_PACKETS];
	/* Where dns_depth is not 0: place of each packet's message in dns, 0 if it has none, or MT_DNS_ASK. */
	uint16_t dns_place[MT_BATCH_PACKETS];
	struct mt_dns_note dns[MT_BATCH_PACKETS + 1];
	/* Where hash_kind is not 0: hash of each packet's key for tables of that kind (table_key.c); 0: it has
	 * none. */
	uint32_t key_hash[MT_BATCH_PACKETS];
	/* Where addresses_of is not 0: what becomes of the addresses of each packet (anonymize_ahead.c). */
	struct mt_other_addresses other_addresses[MT_BATCH_PACKETS];
};

/* What a script may know of a segment (rotate, on_segment_open). */
struct mt_segment_view {
	uint64_t seq;     /* sequence number, 1 to 99999999 */
	uint64_t n;       /* number of the segment in this run, from 1 */
	int64_t start_ns; /* time of its first packet, or of the boundary that opened it */
	int64_t first_ns; /* smallest packet time in it; INT64_MAX while empty */
	int64_t last_ns;  /* largest packet time in it; INT64_MIN while empty */
	uint64_t packets;
	uint64_t bytes; /* encoded bytes so far, before codec and pipe */
	uint64_t captured_bytes;
	uint64_t wire_bytes;
	const char *reason; /* why it was opened: start time size packets signal script */
	const char *source; /* source name of the packet that opened it, or "" */
};

/* Decode every packet of the batch into batch->decode and set batch->decoded. */
MT_EXPORT void mt_batch_decode(struct mt_batch *batch);
/* Decode one packet. */
MT_EXPORT void mt_decode(const struct mt_packet *packet, struct mt_decoded *decoded);
/* Hash of addresses, protocol and ports, equal for both directions of a flow; 0 without IP. */
MT_EXPORT uint32_t mt_flow_hash(const struct mt_packet *packet, const struct mt_decoded *decoded);
/* What mt_packet_hash leaves out of an IP packet: what stands before the IP header; TTL or hop limit and the
 * IPv4 header checksum. */
enum mt_hash_ignore { MT_HASH_IGNORE_LINK = 1, MT_HASH_IGNORE_TTL = 2 };
/* Hash of the captured bytes, 53 bits, the same in every run. */
MT_EXPORT double mt_packet_hash(const struct mt_packet *packet, const struct mt_decoded *decoded,
                                uint32_t ignore);
/* Write an address of len bytes (4 or 16) as text.  Returns the number of characters; at
 * most 45 and a NUL are written. */
MT_EXPORT int mt_address_format(const uint8_t *address, int len, char *text);
/* Write len bytes as lines of offset, hex and ASCII, 16 a line.  Returns the number of
 * characters that the whole needs; at most size - 1 and a NUL are written. */
MT_EXPORT size_t mt_hexdump(const uint8_t *data, size_t len, char *text, size_t size);

/* What p is in a script: valid while its generation is the one of mt_hook_state.  Fields with
 * an underscore are not for scripts. */
struct mt_packet_handle {
	struct mt_packet *_packet;
	struct mt_decoded *_decoded;
	double _generation;
};

/* An IP address, in network byte order.  len: 4 or 16 bytes; the rest is zero. */
struct mt_address {
	uint64_t high;
	uint64_t low;
	uint32_t len;
	uint32_t reserved;
};

/* What on_batch gets: the packets of a batch that its script is to see. */
struct mt_batch_view {
	uint32_t n; /* packets in it; view[0] to view[n - 1] */
	uint32_t reserved;
	double _generation;
	uint32_t _index[MT_BATCH_PACKETS]; /* their places in the batch */
};

/* What rotate gets. */
struct mt_segment_handle {
	const struct mt_segment_view *_segment;
};

/* One entry of the interface table, for p.source and p.interface. */
struct mt_iface_view {
	const char *source;
	const char *name;        /* NULL if it has none */
	const char *description; /* NULL if it has none */
	uint32_t number;
	uint32_t linktype;
};

/* The stage that routes packets to outputs; see flow.h. */
struct mt_flow;
/* Write every packet before index i of the batch in hand, then say whether the caller has
 * to return to C before packet i is looked at (a rotation is due, or a block hook): 1 yes, 0 no. */
MT_EXPORT int mt_flow_advance(struct mt_flow *flow, uint32_t i);
/* The open segment of the default output (zeros if there is none); valid until the run ends. */
MT_EXPORT const struct mt_segment_view *mt_flow_segment(struct mt_flow *flow);
/* Entry id of the interface table; the strings live as long as the run. */
MT_EXPORT void mt_flow_iface(struct mt_flow *flow, uint32_t id, struct mt_iface_view *view);
/* A message on standard error: level 0 error, 1 warning. */
MT_EXPORT void mt_script_log(int level, const char *text);

struct mt_edit_pool;
/* What the hook driver and C tell each other; one for a run.  The driver stores index and
 * script before it calls a hook, so that an error is laid at the right door. */
struct mt_hook_state {
	struct mt_batch *batch; /* in hand */
	struct mt_flow *flow;
	double generation; /* packet handles made under another one are stale */
	double before;     /* packets of the run before this batch, for messages */
	int64_t first_ns;  /* time of the run's first packet */
	int64_t clock_ns;  /* the stream clock */
	uint32_t from, to; /* range of the batch to work on */
	uint32_t index;    /* packet in hand; see in_hand */
	uint32_t script;   /* place of the running script in the chain, from 1 */
	uint32_t phase;    /* enum mt_hook_phase; MT_PHASE_INTERVAL whenever no packet is in hand */
	uint32_t action;   /* out: enum mt_hook_action */
	int32_t stop;      /* enum mt_hook_stop */
	uint32_t errors;   /* hooks that failed so far */
	double slack;      /* bytes over --script-memory that may be used to deal with an error */
	/* memory for edits, see edit.h */
	struct mt_edit_pool *edit_pool;

	uint32_t fresh;      /* in: a new range, not one that goes on behind a MT_ACTION_SERVICE */
	uint32_t last_stage; /* packets before index have been through the whole chain */
	uint32_t lost;       /* in: place of a script that came back too late, which is an error of it; or 0 */
	uint32_t in_hand;    /* MT_PHASE_BATCH: packet that the hook has looked at last */
	int64_t hook_ns;     /* stream time of the hook that runs, if it is not about a packet; see phase */

	uint64_t dns_seq;   /* of the batch that mt_dns_prepare was last called for */
	uint32_t dns_asked; /* how often messages on the usual ports were asked for since */
	uint32_t dns_walks; /* 1: and for more of one than its first question */
};

/* The stream of the prompt; see stepper.h. */
struct mt_stepper;
struct mt_filter;
/* A batch that the stepper keeps. */
struct mt_step {
	struct mt_batch *batch; /* NULL: it is not kept any more, or not read yet */
	double before;          /* packets of the stream before it */
};
enum mt_step_result {
	MT_STEP_ERROR = -1, /* reported */
	MT_STEP_END = 0,    /* the stream has ended */
	MT_STEP_OK = 1,     /* there is a new batch */
	MT_STEP_WAIT = 2    /* nothing came within wait_ms */
};
/* Read the next batch; the oldest may go for it. */
MT_EXPORT int mt_stepper_fetch(struct mt_stepper *s, int32_t wait_ms);
/* Numbers of the oldest and the newest batch that are kept; oldest > newest: none. */
MT_EXPORT double mt_stepper_oldest(const struct mt_stepper *s);
MT_EXPORT double mt_stepper_newest(const struct mt_stepper *s);
/* The batch of that number. */
MT_EXPORT void mt_stepper_at(const struct mt_stepper *s, double seq, struct mt_step *step);
/* Back to the first packet: nothing is kept then.  0, or -1 and a sentence in why[size]. */
MT_EXPORT int mt_stepper_rewind(struct mt_stepper *s, char *why, size_t size);
/* The source that can not be read a second time, or NULL: all can. */
MT_EXPORT const char *mt_stepper_once(const struct mt_stepper *s);
/* Place of the first packet from `from` on that is one of the stream (neither filtered by -F nor outside of
 * --from and --to) and matches; filter may be NULL.  batch->n if there is none. */
MT_EXPORT uint32_t mt_step_next(const struct mt_batch *batch, uint32_t from, struct mt_filter *filter);
/* The same backwards: from `from` down to 0; -1 if there is none. */
MT_EXPORT int32_t mt_step_back(const struct mt_batch *batch, int32_t from);
/* Scripts shall see the packets from `from` to to - 1 as if for the first time: their verdicts and what was cut
 * off are undone. */
MT_EXPORT void mt_step_again(struct mt_batch *batch, uint32_t from, uint32_t to);
/* A time as --from takes it, in nanoseconds.  0, or -1: it is none. */
MT_EXPORT int mt_time_of(const char *text, int64_t *ns);
/* Write n packets to a new file, its format by the ending of its name as with -o.  0, or -1 and a sentence in
 * why[size]. */
MT_EXPORT int mt_stepper_save(struct mt_stepper *s, const char *path, struct mt_packet *packets, uint32_t n,
                              char *why, size_t size);
/* A packet as a line, as --print has it: characters that it needs; at most size - 1 and a NUL are written. */
MT_EXPORT size_t mt_packet_line(const struct mt_packet *packet, const struct mt_decoded *decoded,
                                const char *source, char *line, size_t size);

enum mt_hook_stop {
	MT_STOP_NOT,
	MT_STOP_BATCH, /* C went on without this hook: leave the batch as soon as it is back */
	MT_STOP_RUN    /* a script asked for the end of the run */
};

enum mt_hook_phase { MT_PHASE_INTERVAL, MT_PHASE_PACKET, MT_PHASE_ROTATE, MT_PHASE_BATCH };

enum mt_hook_action {
	MT_ACTION_DONE,    /* the whole range has its verdicts */
	MT_ACTION_SERVICE, /* let the flow write everything before index, rotate if due, call again */
	MT_ACTION_ROTATE,  /* a script wants the segment closed before packet index; call again */
	MT_ACTION_STOP,    /* moontap.stop(): packets before `to` have verdicts, the run ends */
	MT_ACTION_FAIL,    /* a script failed and its rule is stop: packets before index are good */
	MT_ACTION_BROKEN   /* the library failed: nothing is known of the range */
};

/* What --profile measures of one stretch of the timed loop: [0] while it was interpreted, [1] while it ran
 * compiled. */
struct mt_hook_slot {
	uint64_t ns[2];
	uint64_t n[2];
	uint64_t least[2]; /* the shortest stretch; 0: none */
	uint64_t left;     /* compiled code before the stretch, interpreted after it */
	double timed;      /* calls, as n but never set back */
	double untimed;    /* calls in loops that read no clock */
};

struct mt_hook_times {
	uint64_t last_ns;        /* when the last stretch ended */
	const void *interpreter; /* where its calls come from */
	uint32_t compiled;       /* the last stretch ended in compiled code */
	uint32_t reserved;
	struct mt_hook_slot slot[];
};

/* The clock of a thread's stages; see profile.h. */
struct mt_stage_clock;
/* The stretch ends here.  One clock reading: some 25 ns. */
MT_EXPORT void mt_hook_tick(struct mt_hook_times *times, uint32_t slot);
/* Find out where interpreted code calls from: to be called from a function that is not compiled. */
MT_EXPORT void mt_hook_calibrate(struct mt_hook_times *times);
/* CLOCK_MONOTONIC in nanoseconds. */
MT_EXPORT double mt_hook_now(void);
/* How long this thread has been in scripts so far, in nanoseconds. */
MT_EXPORT double mt_hook_stage_ns(const struct mt_stage_clock *clock);

/* What the key of a table is: of a packet (table_key.c), or made of parts that a script gives. */
enum mt_table_kind {
	MT_TABLE_PARTS,
	MT_TABLE_FLOW,  /* struct mt_key_flow, one for both directions */
	MT_TABLE_TUPLE, /* struct mt_key_flow */
	MT_TABLE_PAIR,  /* struct mt_key_pair, one for both directions */
	MT_TABLE_SRC,   /* struct mt_key_address */
	MT_TABLE_DST,
	MT_TABLE_SPORT, /* struct mt_key_port */
	MT_TABLE_DPORT
};

/* Keys are compared and hashed as 64-bit words, so every byte counts and unused ones are 0.
 * An address is high, low and len of struct mt_address. */
struct mt_key_flow {
	uint64_t src_high, src_low, dst_high, dst_low;
	uint16_t sport, dport;
	uint8_t proto, src_len, dst_len;
	uint8_t turned; /* in an entry: 1 if its first packet went from dst to src; not compared */
};
struct mt_key_pair {
	uint64_t src_high, src_low, dst_high, dst_low;
	uint8_t src_len, dst_len, reserved[5];
	uint8_t turned; /* as in mt_key_flow */
};
struct mt_key_address {
	uint64_t addr_high, addr_low;
	uint8_t addr_len, reserved[7];
};
struct mt_key_port {
	uint16_t port;
	uint8_t proto, reserved[5];
};

/* How an entry of a table begins; its key, its age if the table is timed, and its value follow.  The
 * generation is 0 in a free place, and below 0 in an entry that has ended and waits to be reported. */
struct mt_table_entry {
	double generation; /* never the same for two entries of a table */
};
/* When an entry was used: kept in tables whose entries end by themselves.  Where the table evicts, a double
 * follows: the number of the last lookup. */
struct mt_table_age {
	int64_t first_ns,
	        last_ns; /* stream time of the first and the last lookup; INT64_MIN: before the first packet */
};

/* Why an entry ended. */
enum mt_table_reason {
	MT_ENDED_IDLE,   /* not used for idle_ns */
	MT_ENDED_ACTIVE, /* active_ns old */
	MT_ENDED_FULL,   /* made room for another */
	MT_ENDED_DRAINED
};

/* What a table is to be like. */
struct mt_table_plan {
	double size, limit;         /* entries to make room for at once; the most there may be, to 2^30 */
	int64_t idle_ns, active_ns; /* INT64_MAX: never */
	uint32_t kind;              /* enum mt_table_kind */
	uint32_t key_bytes;         /* a multiple of 8 */
	uint32_t entry_bytes;
	uint32_t timed;   /* 1: entries have an age; needed for the rest */
	uint32_t evicts;  /* 1: when it is full the least recently used entry makes room */
	uint32_t reports; /* 1: entries that end wait for mt_table_next_ended */
	char what[64];    /* the kind of key, for messages */
};

enum { MT_NOTED_ABSENT = -2 /* in noted[], where else is the generation of an entry */ };

/* A table of moontap.table (table.c), as far as Lua reads it without a call. */
struct mt_table {
	uint64_t seq;                 /* batch that entry[], noted[] and clock[] are about; 0: none */
	int32_t asked;                /* lookups of its packets so far, counted by Lua */
	int32_t count;                /* entries in use */
	int32_t used;                 /* places in entries[] that were ever in use */
	int32_t limit;                /* the most entries there may be */
	int32_t ended;                /* entries that wait for mt_table_next_ended */
	int32_t reason;               /* of the one that it gave last: enum mt_table_reason */
	int32_t made;                 /* mt_table_absorb: the entry is new */
	int32_t later;                /* and it was used last in the other table */
	int32_t warned;               /* it was said that the table is full */
	int32_t back_now;             /* of the last lookup in C, as back[] */
	int64_t now_ns;               /* stream time of the last lookup; INT64_MIN: before the first packet */
	int64_t due_ns;               /* no entry ends by time before this */
	double uses;                  /* lookups, counted by Lua in tables that evict */
	double reporting;             /* hook (mt_hook_state.generation) that is reporting ended entries */
	double refused;               /* lookups that got the overflow entry */
	double newest;                /* generation of the newest entry */
	double newest_noted;          /* that at the last mt_table_prepare; -1 if it noted nothing */
	double idle, active, evicted; /* entries that ended, by reason */
	uint8_t *entries;             /* places; they never move while the table lives */
	struct mt_table_entry *overflow;
	int64_t *clock; /* stream time at each packet of the batch; NULL: the table is not timed */
	struct mt_table_entry *entry[MT_BATCH_PACKETS]; /* of each packet, if its generation is noted[i]; */
	double noted[MT_BATCH_PACKETS]; /* MT_NOTED_ABSENT: there was none; else ask mt_table_packet */
	uint8_t back[MT_BATCH_PACKETS]; /* 1: a key without direction, and the entry's first packet went the
	                                   other way */
};
/* NULL: no memory. */
MT_EXPORT struct mt_table *mt_table_new(const struct mt_table_plan *plan);
MT_EXPORT void mt_table_free(struct mt_table *table);
/* A batch is in hand that entry[] is not about: find the entries of all its packets. */
MT_EXPORT void mt_table_prepare(struct mt_table *table, struct mt_hook_state *state);
/* The entry of a packet, made if insert is 1.  i: its place in the batch of the last
 * mt_table_prepare, MT_BATCH_PACKETS more if it is an inner packet there, or -1.  NULL: the packet has no such
 * key, or there is no entry. */
MT_EXPORT struct mt_table_entry *mt_table_packet(struct mt_table *table, const struct mt_packet *packet,
                                                 const struct mt_decoded *decoded, int32_t i, int32_t insert);
/* The entry of a key (turned: 0), made if insert is 1; NULL: there is none. */
MT_EXPORT struct mt_table_entry *mt_table_key(struct mt_table *table, const void *key, int32_t insert);
/* The entry of a table that has the key of an entry of another table of the same layout; made with the
 * other's value if there is none. */
MT_EXPORT struct mt_table_entry *mt_table_absorb(struct mt_table *table, const struct mt_table_entry *other);
/* Copy the key of an entry, as the first packet had it. */
MT_EXPORT void mt_table_copy_key(const struct mt_table *table, const struct mt_table_entry *entry, void *key);
/* 1, or 0: the entry is none of this table's. */
MT_EXPORT int32_t mt_table_remove(struct mt_table *table, struct mt_table_entry *entry);
/* Remove all entries; give memory back to the system where there is much. */
MT_EXPORT void mt_table_clear(struct mt_table *table);
/* The place of the first entry behind this place, -1 for the first of all; -1: there is none. */
MT_EXPORT int32_t mt_table_next(const struct mt_table *table, int32_t place);
/* Bytes that the table takes from the system. */
MT_EXPORT double mt_table_memory(const struct mt_table *table);
/* Bring now_ns up to the hook that is running. */
MT_EXPORT void mt_table_now(struct mt_table *table, struct mt_hook_state *state);
/* End the entries whose time has come by now_ns, in the order of their time. */
MT_EXPORT void mt_table_expire(struct mt_table *table, int64_t now_ns);
/* End all entries, in the order in which they came; they wait for mt_table_next_ended. */
MT_EXPORT void mt_table_drain(struct mt_table *table);
/* The next entry that has ended, in the order in which they did; its place is free from the next call on.
 * NULL: no more. */
MT_EXPORT struct mt_table_entry *mt_table_next_ended(struct mt_table *table);
/* Ages of entries were changed by hand. */
MT_EXPORT void mt_table_aged(struct mt_table *table);
/* Write the places of all entries, in the order of their last use where the table evicts, else as they
 * lie.  Returns how many; n is the room at places. */
MT_EXPORT uint32_t mt_table_places(const struct mt_table *table, uint32_t *places, uint32_t n);

/* CRC-32 as gzip has it (ISO 3309), of a whole string. */
MT_EXPORT uint32_t mt_crc32(const uint8_t *data, size_t len);

/* A compiled BPF expression; see filter.h. */
struct mt_filter;
/* struct bpf_insn of libpcap. */
struct mt_filter_insn {
	uint16_t code;
	uint8_t jt, jf; /* instructions to skip */
	uint32_t k;
};
/* Compile text; linktype: the one to find its faults with, others are compiled when a packet of theirs
 * comes.  NULL: it is wrong for all of them, and why holds the reason, cut to size bytes. */
MT_EXPORT struct mt_filter *mt_filter_open(const char *text, uint16_t linktype, char *why, size_t size);
MT_EXPORT void mt_filter_free(struct mt_filter *filter);
/* 1 if the packet matches, 0 if not, -1 if the expression has no meaning for its link type. */
MT_EXPORT int mt_filter_match(struct mt_filter *filter, const struct mt_packet *packet);
/* The program for a link type: its length, and its instructions in *code, valid until the filter is
 * freed.  0: the expression has no meaning for it. */
MT_EXPORT uint32_t mt_filter_program(struct mt_filter *filter, uint16_t linktype,
                                     const struct mt_filter_insn **code);
/* What sketches can be asked for. */
enum mt_sketch_limit {
	MT_TOPK_MOST_COUNTERS = 1 << 20,
	MT_TOPK_MOST_KEY_BYTES = 4096,
	MT_TOPK_MOST_BYTES = 1 << 29, /* counters times what one takes, key included */
	MT_DISTINCT_LEAST_PRECISION = 4,
	MT_DISTINCT_MOST_PRECISION = 18,
	MT_HISTOGRAM_MOST_BUCKETS = 100000,
	MT_RATE_MOST_KEEP = 1000000,
	MT_RATE_LEAST_NS = 10000
};

/* What a key of a sketch is when it is not of a packet: goes on from enum mt_table_kind. */
enum mt_key_tag { MT_KEY_STRING = 16, MT_KEY_NUMBER, MT_KEY_ADDRESS, MT_KEY_BOOLEAN };

/* A key for moontap.topk and moontap.distinct.  Keys of different tags differ. */
struct mt_sketch_key {
	union {
		uint64_t words[5];             /* as struct mt_key_flow and the others have them */
		double number;                 /* MT_KEY_NUMBER, MT_KEY_BOOLEAN (0 or 1) */
		struct mt_key_address address; /* MT_KEY_ADDRESS */
	};
	const char *text; /* MT_KEY_STRING: len bytes, borrowed */
	uint32_t len;
	uint8_t tag;    /* enum mt_key_tag, or enum mt_table_kind */
	uint8_t turned; /* as in mt_key_flow, where it is 0 here */
	uint8_t reserved[2];
};

/* The key of kind (enum mt_table_kind) that a packet has: 1, or 0: it has none. */
MT_EXPORT int mt_sketch_key_of_packet(uint32_t kind, const struct mt_packet *packet,
                                      const struct mt_decoded *decoded, struct mt_sketch_key *key);

/* The keys with the largest sums (sketch_topk.c), as far as Lua reads it. */
struct mt_topk {
	uint32_t kind;      /* enum mt_table_kind; MT_TABLE_PARTS: keys are given by value */
	uint32_t counters;  /* the most keys it watches */
	uint32_t key_bytes; /* a longer string is cut */
	uint32_t k;         /* how many a script wants to see */
	uint32_t used;      /* keys it watches */
	uint32_t reserved;
	double total;  /* of all weights */
	double memory; /* bytes taken from the system */
};
/* A watched key: count - error <= its sum <= count. */
struct mt_topk_item {
	double count;
	double error;
	struct mt_sketch_key key; /* text: valid until the next key is added */
};
/* NULL: no memory. */
MT_EXPORT struct mt_topk *mt_topk_new(uint32_t kind, uint32_t counters, uint32_t key_bytes, uint32_t k);
MT_EXPORT void mt_topk_free(struct mt_topk *topk);
/* Count a packet, or a key, which may change its form.  1, or 0: the packet has no such key. */
MT_EXPORT int mt_topk_packet(struct mt_topk *topk, const struct mt_packet *packet,
                             const struct mt_decoded *decoded, double weight);
MT_EXPORT int mt_topk_key(struct mt_topk *topk, struct mt_sketch_key *key, double weight);
/* What is known of a key, watched or not. */
MT_EXPORT void mt_topk_get(const struct mt_topk *topk, struct mt_sketch_key *key, struct mt_topk_item *item);
/* The most that a key which is not watched can have. */
MT_EXPORT double mt_topk_bound(const struct mt_topk *topk);
/* The n largest, in falling order.  Returns how many, or -1: no memory. */
MT_EXPORT int mt_topk_list(const struct mt_topk *topk, struct mt_topk_item *items, uint32_t n);
/* Add what another with equal settings has seen.  0, or -1: no memory. */
MT_EXPORT int mt_topk_merge(struct mt_topk *topk, const struct mt_topk *other);
MT_EXPORT void mt_topk_clear(struct mt_topk *topk);
/* Write the state to `to` unless it is NULL; returns its size.  Of every sketch. */
MT_EXPORT size_t mt_topk_save(const struct mt_topk *topk, uint8_t *to);
/* NULL: the bytes make no sense, or there is no memory.  Of every sketch. */
MT_EXPORT struct mt_topk *mt_topk_restore(const uint8_t *bytes, size_t len);

/* How many different keys there were (sketch_distinct.c). */
struct mt_distinct {
	uint32_t kind;      /* as in mt_topk */
	uint32_t precision; /* 2^precision registers */
	uint64_t seed;      /* of the hash */
	double memory;
	int32_t is_exact; /* it still knows the hash of every key */
	uint32_t n;       /* how many those are */
};
MT_EXPORT struct mt_distinct *mt_distinct_new(uint32_t kind, uint32_t precision, double seed);
MT_EXPORT void mt_distinct_free(struct mt_distinct *distinct);
MT_EXPORT int mt_distinct_packet(struct mt_distinct *distinct, const struct mt_packet *packet,
                                 const struct mt_decoded *decoded);
MT_EXPORT int mt_distinct_key(struct mt_distinct *distinct, struct mt_sketch_key *key);
MT_EXPORT double mt_distinct_count(const struct mt_distinct *distinct);
MT_EXPORT void mt_distinct_merge(struct mt_distinct *distinct, const struct mt_distinct *other);
MT_EXPORT void mt_distinct_clear(struct mt_distinct *distinct);
MT_EXPORT size_t mt_distinct_save(const struct mt_distinct *distinct, uint8_t *to);
MT_EXPORT struct mt_distinct *mt_distinct_restore(const uint8_t *bytes, size_t len);

/* Quantiles of numbers (sketch_quantiles.c). */
struct mt_quantiles {
	double error; /* the relative one that is promised */
	double count; /* of all weights */
	double sum;
	double min, max; /* NaN before the first number */
	double memory;
};
MT_EXPORT struct mt_quantiles *mt_quantiles_new(double error);
MT_EXPORT void mt_quantiles_free(struct mt_quantiles *quantiles);
/* x: not NaN.  0, or -1: no memory, and nothing was added. */
MT_EXPORT int mt_quantiles_add(struct mt_quantiles *quantiles, double x, double weight);
/* The number of rank q (0 to 1), NaN before the first. */
MT_EXPORT double mt_quantiles_get(const struct mt_quantiles *quantiles, double q);
MT_EXPORT int mt_quantiles_merge(struct mt_quantiles *quantiles, const struct mt_quantiles *other);
MT_EXPORT void mt_quantiles_clear(struct mt_quantiles *quantiles);
MT_EXPORT size_t mt_quantiles_save(const struct mt_quantiles *quantiles, uint8_t *to);
MT_EXPORT struct mt_quantiles *mt_quantiles_restore(const uint8_t *bytes, size_t len);

/* Counts of numbers in fixed buckets (sketch_histogram.c). */
struct mt_histogram {
	double *edges;  /* buckets + 1, rising */
	double *counts; /* of numbers from edges[i] to below edges[i + 1] */
	uint32_t buckets;
	uint32_t reserved;
	double under; /* below edges[0] */
	double over;  /* edges[buckets] and more */
	double memory;
};
/* edges: n of them, copied. */
MT_EXPORT struct mt_histogram *mt_histogram_new(const double *edges, uint32_t n);
MT_EXPORT void mt_histogram_free(struct mt_histogram *histogram);
MT_EXPORT void mt_histogram_add(struct mt_histogram *histogram, double x, double weight);
/* 0, or -1: the edges differ. */
MT_EXPORT int mt_histogram_merge(struct mt_histogram *histogram, const struct mt_histogram *other);
MT_EXPORT void mt_histogram_clear(struct mt_histogram *histogram);
MT_EXPORT size_t mt_histogram_save(const struct mt_histogram *histogram, uint8_t *to);
MT_EXPORT struct mt_histogram *mt_histogram_restore(const uint8_t *bytes, size_t len);

/* What fell into an interval of time. */
struct mt_rate_slot {
	double packets;
	double bytes;
};
/* Packets and bytes by interval (sketch_rate.c).  Interval n begins at n * every_ns. */
struct mt_rate {
	int64_t every_ns;
	int64_t newest;              /* interval; -2^63 before the first packet */
	struct mt_rate_slot *slots;  /* interval n, one of the last `keep`, at n modulo keep */
	struct mt_rate_slot total;   /* of all time */
	struct mt_rate_slot dropped; /* that is in no slot any more, or came too late for its own */
	double memory;
	uint32_t keep;
	uint32_t reserved;
};
MT_EXPORT struct mt_rate *mt_rate_new(double every_ns, uint32_t keep);
MT_EXPORT void mt_rate_free(struct mt_rate *rate);
MT_EXPORT void mt_rate_add(struct mt_rate *rate, int64_t ts_ns, double packets, double bytes);
MT_EXPORT void mt_rate_merge(struct mt_rate *rate, const struct mt_rate *other);
MT_EXPORT void mt_rate_clear(struct mt_rate *rate);
MT_EXPORT size_t mt_rate_save(const struct mt_rate *rate, uint8_t *to);
MT_EXPORT struct mt_rate *mt_rate_restore(const uint8_t *bytes, size_t len);

/* Packets of the last moments (recent.c). */
struct mt_recent {
	double forgotten; /* for want of room, before their window was over */
	double memory;
};
/* ignore: bits of mt_hash_ignore. NULL: no memory. */
MT_EXPORT struct mt_recent *mt_recent_new(int64_t window_ns, uint32_t limit, uint32_t ignore);
MT_EXPORT void mt_recent_free(struct mt_recent *recent);
/* A packet comes.  1: the same was seen within the window before; 0: not, but now. */
MT_EXPORT int32_t mt_recent_add(struct mt_recent *recent, struct mt_hook_state *st,
                                const struct mt_packet *packet, const struct mt_decoded *decoded);
MT_EXPORT double mt_recent_count(const struct mt_recent *recent);

/* An address from its text, len bytes.  0, or -1: it is none. */
MT_EXPORT int mt_address_parse(const char *text, size_t len, struct mt_address *address);

/* What IANA set an address aside for; bits, several can be set (address.c). */
enum mt_address_kind {
	MT_ADDRESS_GLOBAL = 1,
	MT_ADDRESS_PRIVATE = 2,
	MT_ADDRESS_SHARED = 4,
	MT_ADDRESS_LOOPBACK = 8,
	MT_ADDRESS_LINK_LOCAL = 16,
	MT_ADDRESS_MULTICAST = 32,
	MT_ADDRESS_UNSPECIFIED = 64,
	MT_ADDRESS_DOCUMENTATION = 128,
	MT_ADDRESS_ALIKE = 256 /* and so are all with the same first 16 bits, IPv6: 32 bits */
};
/* Takes the fields of a struct mt_address one by one, so that compiled Lua need not make one. */
MT_EXPORT uint32_t mt_address_kind(uint64_t high, uint64_t low, uint32_t len);

enum { MT_NET_WHY = 256 /* bytes of the sentence that says why a text is no network */ };

/* A network: the addresses that begin with the same bits.  Words as in struct mt_address. */
struct mt_net {
	uint64_t _high; /* its first address */
	uint64_t _low;
	uint64_t _high_mask; /* the bits that count */
	uint64_t _low_mask;
	uint32_t _len;  /* 4 or 16 */
	uint32_t _bits; /* prefix length */
};
/* A network from its text, len bytes.  0, or -1 and why not. */
MT_EXPORT int mt_net_parse(const char *text, size_t len, struct mt_net *net, char why[MT_NET_WHY]);

enum { MT_NETSET_TEXT = 0x40000000 /* mt_netset_prefix.label: labels + the rest of it */ };

/* A prefix of a set. */
struct mt_netset_prefix {
	uint64_t high; /* as in struct mt_address */
	uint64_t low;
	uint32_t label; /* what was passed with it, or MT_NETSET_TEXT and a place in labels; 0: none */
	uint32_t place; /* how many were added before it */
	uint8_t len;    /* 4 or 16 */
	uint8_t bits;   /* prefix length */
	uint16_t reserved[3];
};
/* Prefixes, searched for the longest that matches an address (netset.c); what Lua reads of it. */
struct mt_netset {
	uint32_t count; /* prefixes */
	uint32_t reserved;
	double bytes;                      /* memory taken */
	struct mt_netset_prefix *prefixes; /* once built: IPv4 first, by address, then by length */
	char *labels;                      /* texts that end with NUL */
};
/* NULL: no memory. */
MT_EXPORT struct mt_netset *mt_netset_new(void);
MT_EXPORT void mt_netset_free(struct mt_netset *set);
/* Add a prefix.  label: below MT_NETSET_TEXT.  0, or -1: no memory. */
MT_EXPORT int mt_netset_add(struct mt_netset *set, const struct mt_net *net, uint32_t label);
/* Add the prefixes of a text, one a line, labels behind them.  0; or -1, the line and why it will not do. */
MT_EXPORT int mt_netset_add_text(struct mt_netset *set, const char *text, size_t len, double *line,
                                 char why[MT_NET_WHY]);
/* To be called once, when all prefixes were added.  0, or -1: no memory. */
MT_EXPORT int mt_netset_build(struct mt_netset *set);
/* The longest prefix that matches: 1 for prefixes[0] and so on, 0 for none.  Takes the fields of a
 * struct mt_address.  5 to 50 ns. */
MT_EXPORT uint32_t mt_netset_find(const struct mt_netset *set, uint64_t high, uint64_t low, uint32_t len);

enum { MT_ZONE_TEXT = 32 /* bytes of the name of a time zone */ };

/* How many seconds local time (TZ) is ahead of UTC at a time, and what the zone is called then. */
MT_EXPORT int32_t mt_local_offset(int64_t seconds, char zone[MT_ZONE_TEXT]);

/* Find out what is in decoded->tunnel and decoded->inner: for the whole batch if decoded is of it, with
 * batch->inner and batch->tunnel_id. */
MT_EXPORT void mt_find_inner(struct mt_batch *batch, const struct mt_packet *packet,
                             struct mt_decoded *decoded);
/* The innermost packet that outer carries: 1, or 0 if it carries none.  Sets outer->tunnel and outer->inner. */
MT_EXPORT int mt_decode_inner(const struct mt_packet *packet, struct mt_decoded *outer,
                              struct mt_decoded *inner);
/* The packet has changed: decode again what decoded describes, and the other one of outer and inner.
 * batch: may be NULL if decoded is not of one. */
MT_EXPORT void mt_decode_again(struct mt_batch *batch, const struct mt_packet *packet,
                               struct mt_decoded *decoded);
/* What decoded says, for a copy of its packet that lives outside of the batch. */
MT_EXPORT void mt_decode_copy(struct mt_batch *batch, const struct mt_packet *packet,
                              const struct mt_decoded *decoded, struct mt_decoded *copy);
/* Number of the outermost tunnel: VNI, TEID, key …; 0 if there is none. */
MT_EXPORT uint32_t mt_tunnel_id(const struct mt_packet *packet, const struct mt_decoded *decoded);
/* Place of a fragment as IPv4 writes it: offset in units of 8 bytes, 0x2000: more follow; 0: no fragment. */
MT_EXPORT uint32_t mt_fragment_place(const struct mt_packet *packet, const struct mt_decoded *decoded);
/* Identification of an IPv4 packet or of an IPv6 fragment; 0 if there is none. */
MT_EXPORT uint32_t mt_fragment_id(const struct mt_packet *packet, const struct mt_decoded *decoded);
/* The outermost MPLS label; 0 if there is none. */
MT_EXPORT uint32_t mt_mpls_label(const struct mt_packet *packet, const struct mt_decoded *decoded);
/* How far the messages of a batch are looked at in advance. */
enum mt_dns_depth { MT_DNS_NOTHING, MT_DNS_QUESTIONS, MT_DNS_RECORDS };
enum {
	MT_DNS_ASK = 0xffff,         /* no note of this packet is right: ask mt_dns_find */
	MT_DNS_UNKNOWN = 0x7fffffff, /* in a note: nobody has looked */
	MT_DNS_USUAL_PORTS = 0,      /* 53, and over UDP also 5353 and 5355 */
	MT_DNS_ANY_PORT = -1,        /* whatever looks like DNS */
	MT_DNS_NAME_TEXT = 1024      /* bytes that hold the text of any name */
};

/* A DNS message, as far as it was looked at (dns.c).  Offsets count from data; 0: it is not there. */
struct mt_dns {
	double made;         /* stamps given out so far */
	double stamp;        /* of this message, another one for each */
	const uint8_t *data; /* borrowed from the packet */
	uint32_t len;        /* captured bytes of the message, at least 12 */
	uint32_t missing;    /* 1: there is more of it than was captured */
	uint32_t question;   /* type and class of the first question */
	uint32_t walked;     /* 1: the rest is filled in */
	uint32_t start[4];   /* where questions, answers, authority and additional records begin */
	uint32_t broken;     /* 1: it does not hold the records that its header announces */
	uint32_t opt;        /* type of the OPT record */
	uint32_t section;    /* of the record that mt_dns_record found last */
	uint32_t index;      /* its place there, from 1; 0: none was looked for */
	uint32_t name;       /* where its name is */
	uint32_t fixed;      /* its type and what follows */
};
/* Find the message in a packet.  port: MT_DNS_USUAL_PORTS, MT_DNS_ANY_PORT or a port.  Returns 1, or 0: there
 * is none, and *dns means nothing. */
MT_EXPORT int32_t mt_dns_find(struct mt_dns *dns, const struct mt_packet *packet,
                              const struct mt_decoded *decoded, int32_t port);
/* Note the messages on usual ports of a whole batch, if the batch before was asked for many, or its reader has
 * done it already. Called once for a batch, before the first of them is asked for. */
MT_EXPORT void mt_dns_prepare(struct mt_hook_state *state);
/* Go over all records and fill in what comes behind `walked`. */
MT_EXPORT void mt_dns_walk(struct mt_dns *dns);
/* 1: the message, or a name or the data of a record in it, is not as the standards have it. */
MT_EXPORT int32_t mt_dns_malformed(struct mt_dns *dns);
/* Record index (from 1) of section 1 to 3, or question index of section 0, of a walked message.  Returns 1 and
 * fills in dns->name and dns->fixed: type, class, for records TTL (4 bytes) and length of data (2 bytes), all
 * of them and the data inside of len; 0 if there is none. */
MT_EXPORT int32_t mt_dns_record(struct mt_dns *dns, uint32_t section, uint32_t index);
/* Write the name at offset as text, of MT_DNS_NAME_TEXT bytes at most and without NUL.  Returns its length, -1
 * if it can not be read. */
MT_EXPORT int32_t mt_dns_name(const uint8_t *data, uint32_t len, uint32_t offset, int32_t lower, char *text);
/* 1 if the name at offset is, or with ends = 1 is or is below, the one that the text means; case does not
 * matter. */
MT_EXPORT int32_t mt_dns_name_match(const uint8_t *data, uint32_t len, uint32_t offset, const char *text,
                                    size_t text_len, int32_t ends);
/* Data of a record as in a zone file.  Returns the number of characters that the whole needs; at most size - 1
 * and a NUL are written. */
MT_EXPORT size_t mt_dns_rdata_text(const uint8_t *data, uint32_t len, uint32_t fixed, char *text, size_t size);
/* Where the value of an EDNS option of a walked message is; 0: there is none. */
MT_EXPORT uint32_t mt_dns_option(const struct mt_dns *dns, uint32_t code, uint32_t *len);
/* The client subnet option of a walked message.  Returns its prefix length, -1 if there is none. */
MT_EXPORT int32_t mt_dns_client_subnet(const struct mt_dns *dns, struct mt_address *address);

enum {
	MT_TLS_JOINED = 16384,  /* the longest hello in several records that is put together */
	MT_TLS_NAME_TEXT = 1024 /* bytes that hold the text of any name */
};

/* A TLS hello: where things are in it (tls.c).  Offsets count from hello; 0: it is not there. */
struct mt_tls {
	double made;            /* stamps given out so far */
	double stamp;           /* of this hello, another one for each */
	const uint8_t *payload; /* what it was read from: borrowed from the packet */
	uint32_t payload_len;
	uint32_t dtls;        /* 1: DTLS */
	const uint8_t *hello; /* without its header; in the payload, or in joined */
	uint32_t len;         /* captured bytes at hello */
	uint32_t missing;     /* 1: there is more of it, not captured or in another segment */
	uint32_t type;        /* 1 client, 2 server */
	uint32_t malformed;   /* 1: its lengths contradict each other */
	uint32_t grease;      /* 1: there were GREASE values, RFC 8701 */
	uint32_t retry;       /* 1: a HelloRetryRequest */
	uint16_t record_version;
	uint16_t legacy_version;
	uint16_t version;      /* the highest that the client offers, or what the server chose */
	uint16_t cipher;       /* what the server chose */
	uint32_t cipher_count; /* without GREASE, as all counts */
	uint32_t extension_count;
	uint32_t session_id_len;
	uint32_t ciphers, ciphers_len;
	uint32_t extensions, extensions_end;
	uint32_t sni, sni_len;
	uint32_t alpn, alpn_len; /* list of names behind their lengths */
	uint8_t joined[MT_TLS_JOINED];
};
/* Find a hello at the start of the payload and parse it.  Returns 1, or 0: there is none, and *tls means
 * nothing. */
MT_EXPORT int32_t mt_tls_find(struct mt_tls *tls, const struct mt_packet *packet,
                              const struct mt_decoded *decoded);
/* Parse again what payload, payload_len and dtls of an earlier one say. */
MT_EXPORT void mt_tls_parse(struct mt_tls *tls);
/* The value at *offset of a list of 16-bit numbers up to end, GREASE passed over, or -1; *offset goes on. */
MT_EXPORT int32_t mt_tls_next_number(const uint8_t *hello, uint32_t *offset, uint32_t end);
/* The same of extensions: the type; *body and *len are where its content is. */
MT_EXPORT int32_t mt_tls_next_extension(const uint8_t *hello, uint32_t *offset, uint32_t end, uint32_t *body,
                                        uint32_t *len);
/* The same of names behind their lengths: the length; *name is where it is. */
MT_EXPORT int32_t mt_tls_next_name(const uint8_t *hello, uint32_t *offset, uint32_t end, uint32_t *name);
/* Write at most 255 bytes as text, what is not printable as \DDD, without NUL.  Returns its length. */
MT_EXPORT int32_t mt_tls_text(const uint8_t *bytes, uint32_t len, int32_t lower, char *text);
/* 1 if a host is, or with ends = 1 is or is below, the one of the text; case does not matter. */
MT_EXPORT int32_t mt_tls_host_match(const uint8_t *host, uint32_t len, const char *text, size_t text_len,
                                    int32_t ends);
/* A packet that a script edits (edit.h). */
struct mt_edit {
	struct mt_packet *packet;   /* in its batch, or of a copy; its data may be written */
	struct mt_decoded *decoded; /* of the outer packet; of a copy: what its fields are of */
	struct mt_edits *edits;     /* of the batch; NULL: of a copy */
	struct mt_edit *earlier;    /* of the same packet, by a hook before; or NULL */
	double generation;          /* the hook that edits: */
	uint32_t script;            /* these two are those of mt_hook_state */
	uint32_t room;              /* bytes that fit at packet->data; 0: it is not copied yet */
	uint32_t options_room;      /* bytes that fit at packet->options; 0: they are not copied yet */
	uint32_t features;          /* enum mt_edit_feature */
	struct mt_packet before;    /* the packet as the hook found it */
};

/* What an edit may answer. */
enum mt_edit_result {
	MT_EDIT_DONE,
	MT_EDIT_NO_MEMORY,
	MT_EDIT_ABSENT,  /* the packet has no such field, or it was not captured */
	MT_EDIT_RANGE,   /* the value does not fit the field */
	MT_EDIT_VERSION, /* an address of the other IP version */
	MT_EDIT_OUTSIDE, /* not within the captured bytes */
	MT_EDIT_CAPLEN,  /* longer than MT_MAX_CAPLEN */
	MT_EDIT_LENGTH,  /* more than a length field of a header can say */
	MT_EDIT_LINK,    /* not with this link type */
	MT_EDIT_TEXT,    /* not UTF-8 */
	MT_EDIT_INNER,   /* not to a packet in a tunnel */
	MT_EDIT_OPTIONS, /* more options than a packet can have */
	MT_EDIT_COPY,    /* not on a copy, which is not written */
	MT_EDIT_CUT,     /* checksums: its header was not captured whole */
	MT_EDIT_LIES,    /* checksums: a length in the packet is wrong */
	MT_EDIT_UNSEEN   /* checksums: it covers bytes that were not captured, or other fragments */
};

/* Fields that mt_edit_set sets. */
enum mt_edit_field {
	MT_EDIT_SPORT,
	MT_EDIT_DPORT,
	MT_EDIT_TTL,
	MT_EDIT_PROTO,
	MT_EDIT_DSCP,
	MT_EDIT_ECN,
	MT_EDIT_IP_ID,
	MT_EDIT_TCP_FLAGS,
	MT_EDIT_TCP_SEQ,
	MT_EDIT_TCP_ACK,
	MT_EDIT_TCP_WINDOW,
	MT_EDIT_ICMP_TYPE,
	MT_EDIT_ICMP_CODE,
	MT_EDIT_ICMP_ID,
	MT_EDIT_ICMP_SEQ,
	MT_EDIT_FLOW_LABEL,
	MT_EDIT_VLAN,
	MT_EDIT_VLAN_PRIORITY,
	MT_EDIT_ETHERTYPE,
	MT_EDIT_WIRELEN
};

/* Edit a packet of the batch in hand; the same again within one hook.  NULL: no memory. */
MT_EXPORT struct mt_edit *mt_edit_begin(struct mt_hook_state *st, struct mt_packet *packet);
/* A copy of a packet to be edited, that belongs to nobody else.  NULL: no memory. */
MT_EXPORT struct mt_edit *mt_edit_copy(struct mt_batch *batch, const struct mt_packet *packet,
                                       const struct mt_decoded *decoded);
MT_EXPORT void mt_edit_free(struct mt_edit *e);
/* The hook in hand failed: every packet that it has edited becomes what it was. */
MT_EXPORT void mt_edit_undo(struct mt_hook_state *st);
/* Time of packet i of the batch when it was read. */
MT_EXPORT int64_t mt_edit_time(const struct mt_batch *batch, uint32_t i);

/* The functions below return an enum mt_edit_result; if it is not MT_EDIT_DONE, nothing was
 * changed.  decoded: of the handle in use, e->decoded or that of an inner packet. */
MT_EXPORT int32_t mt_edit_set(struct mt_edit *e, struct mt_decoded *decoded, uint32_t field, double value);
MT_EXPORT int32_t mt_edit_set_address(struct mt_edit *e, struct mt_decoded *decoded, uint32_t is_dst,
                                      uint64_t high, uint64_t low, uint32_t len);
/* mac: the first six bytes in memory. */
MT_EXPORT int32_t mt_edit_set_mac(struct mt_edit *e, const struct mt_decoded *decoded, uint32_t is_dst,
                                  uint64_t mac);
MT_EXPORT int32_t mt_edit_set_time(struct mt_edit *e, int64_t ts_ns);
MT_EXPORT int32_t mt_edit_put(struct mt_edit *e, struct mt_decoded *decoded, double off, double value,
                              uint32_t bytes);
MT_EXPORT int32_t mt_edit_write(struct mt_edit *e, struct mt_decoded *decoded, double off, const char *bytes,
                                size_t len);
MT_EXPORT int32_t mt_edit_set_payload(struct mt_edit *e, struct mt_decoded *decoded, const char *bytes,
                                      size_t len);
MT_EXPORT int32_t mt_edit_insert(struct mt_edit *e, struct mt_decoded *decoded, double off, const char *bytes,
                                 size_t len);
MT_EXPORT int32_t mt_edit_remove(struct mt_edit *e, struct mt_decoded *decoded, double off, double len);
/* tpid 0: 0x8100, or 0x88a8 around another tag. */
MT_EXPORT int32_t mt_edit_push_vlan(struct mt_edit *e, struct mt_decoded *decoded, double id, double tpid);
MT_EXPORT int32_t mt_edit_pop_vlan(struct mt_edit *e, struct mt_decoded *decoded);
/* Repair what can be repaired; the result tells of the first that could not. */
MT_EXPORT int32_t mt_edit_fix_checksums(struct mt_edit *e, const struct mt_decoded *decoded);
/* Add a comment to a packet of the batch in hand. */
MT_EXPORT int32_t mt_edit_comment(struct mt_hook_state *st, struct mt_packet *packet, const char *text,
                                  size_t len);
/* The next comment in the options of a packet from byte `at` of them on: where its text begins, or -1.
 * *len: bytes of the text.  The search goes on behind the text. */
MT_EXPORT int32_t mt_packet_comment(const struct mt_packet *packet, uint32_t at, uint32_t *len);

/* --- anonymization (cryptopan.c, anonymize.h) --------------------------------------------------- */

enum { MT_CRYPTOPAN_KEY = 32 }; /* bytes of a key: AES key, then what the pad is made of */

struct mt_cryptopan;
/* key: MT_CRYPTOPAN_KEY bytes.  NULL: out of memory. */
MT_EXPORT struct mt_cryptopan *mt_cryptopan_new(const char *key);
MT_EXPORT void mt_cryptopan_free(struct mt_cryptopan *c);
/* Put another address in its place. */
MT_EXPORT void mt_cryptopan_map(struct mt_cryptopan *c, struct mt_address *address);
/* A key of exactly len bytes from a file that nobody else may read.  0, or -1 and a sentence in why[size]. */
MT_EXPORT int32_t mt_key_file_read(const char *path, char *key, uint32_t len, char *why, uint32_t size);

/* What becomes of bytes that are not known to be safe: cut off, or zeroed; or TCP and UDP payload is kept. */
enum mt_anonymize_rest { MT_REST_CUT, MT_REST_ZERO, MT_REST_KEEP };
/* MAC addresses: pseudonyms; pseudonyms behind the vendor's first three bytes; as they are. */
enum mt_anonymize_mac { MT_MAC_HIDE, MT_MAC_OUI, MT_MAC_KEEP };

struct mt_anonymize_policy {
	int64_t shift_ns;   /* added to times */
	int64_t round_ns;   /* then they are rounded down to a multiple of it; 0: they are not */
	uint32_t payload;   /* enum mt_anonymize_rest */
	uint32_t mac;       /* enum mt_anonymize_mac */
	uint32_t ports;     /* 1: pseudonyms */
	uint32_t tcp_times; /* 1: the timestamps option of TCP stays */
};

/* Why the rest of a packet was not kept. */
enum mt_anonymize_cut {
	MT_CUT_NOTHING, /* all of it was */
	MT_CUT_PAYLOAD,
	MT_CUT_PADDING,   /* behind the IP packet */
	MT_CUT_LINK,      /* a link type that is not known */
	MT_CUT_TYPE,      /* an Ethernet type, or what PPP or MPLS carry */
	MT_CUT_PROTOCOL,  /* an IP protocol or extension header */
	MT_CUT_FRAGMENT,  /* not the first one */
	MT_CUT_MESSAGE,   /* the body of an ICMP, ND, IGMP or tunnel message */
	MT_CUT_SHORT,     /* a header that was not captured whole */
	MT_CUT_MALFORMED, /* a header that contradicts itself */
	MT_CUT_DEEP,      /* too many headers around each other */
	MT_CUT_REASONS
};

/* Headers that were kept: mt_anonymize_counts.headers. */
enum mt_anonymize_header {
	MT_HEADER_ETHERNET,
	MT_HEADER_COOKED,
	MT_HEADER_VLAN,
	MT_HEADER_MPLS,
	MT_HEADER_PPP,
	MT_HEADER_ARP,
	MT_HEADER_IPV4,
	MT_HEADER_IPV6,
	MT_HEADER_TCP,
	MT_HEADER_UDP,
	MT_HEADER_SCTP,
	MT_HEADER_ICMP,
	MT_HEADER_ICMPV6,
	MT_HEADER_IGMP,
	MT_HEADER_QUOTE,
	MT_HEADER_TUNNEL,
	MT_HEADER_OTHER,
	MT_HEADER_KINDS
};

/* What was changed: mt_anonymize_counts.changed. */
enum mt_anonymize_change {
	MT_CHANGE_IPV4,
	MT_CHANGE_IPV6,
	MT_CHANGE_MAC,
	MT_CHANGE_PORT,
	MT_CHANGE_IP_OPTIONS,
	MT_CHANGE_TCP_OPTIONS,
	MT_CHANGE_TUNNEL, /* fields of tunnel headers */
	MT_CHANGE_CHECKSUM,
	MT_CHANGE_METADATA, /* pcapng options of packets: comments and the like */
	MT_CHANGE_KINDS
};

struct mt_anonymize_counts {
	uint64_t packets;
	uint64_t bytes;                     /* captured */
	uint64_t cut[MT_CUT_REASONS];       /* packets that lost bytes */
	uint64_t cut_bytes[MT_CUT_REASONS]; /* also those that were zeroed */
	uint64_t headers[MT_HEADER_KINDS];
	uint64_t changed[MT_CHANGE_KINDS];
};

struct mt_anonymizer;
/* key: MT_CRYPTOPAN_KEY bytes.  policy is copied.  NULL: out of memory. */
MT_EXPORT struct mt_anonymizer *mt_anonymizer_new(const char *key, const struct mt_anonymize_policy *policy);
MT_EXPORT void mt_anonymizer_free(struct mt_anonymizer *a);
/* Borrowed, valid as long as a. */
MT_EXPORT const struct mt_anonymize_counts *mt_anonymizer_counts(const struct mt_anonymizer *a);
/* Make a packet of the batch in hand anonymous.  0; -1: out of memory; -2: it is a copy.  Then it is as it was.
 */
MT_EXPORT int32_t mt_anonymize(struct mt_anonymizer *a, struct mt_hook_state *st, struct mt_packet *packet);

/* --- outputs that are split by a key (split.h) ------------------------------------------------ */

/* What went to one file of a split output. */
struct mt_split_view {
	const char *key, *file; /* valid until the next call; file: NULL before there is one */
	uint64_t packets, captured_bytes, wire_bytes;
};
/* The number of a key that is new, from 1; the same key twice makes two files.  0: there are as many files as
 * there may be; -1: out of memory, or the output is not split.  verdict: of the output. */
MT_EXPORT int32_t mt_split_add(struct mt_hook_state *st, uint32_t verdict, const char *key, size_t len);
/* 1; 0: there is no such number.  Number 0 are the others. */
MT_EXPORT int32_t mt_split_look(struct mt_hook_state *st, uint32_t verdict, uint32_t number,
                                struct mt_split_view *view);

/* --- flight recorder (recorder.h) ------------------------------------------------------------- */

/* moontap.trigger; post: seconds.  0; -1: there is no flight recorder; -2: the run has not begun. */
MT_EXPORT int32_t mt_trigger(struct mt_hook_state *st, const char *reason, double post);

/* --- metrics of scripts (metric.h) ---------------------------------------------------------- */

enum mt_metric_kind { MT_METRIC_GAUGE, MT_METRIC_COUNTER };
enum { MT_METRICS_MOST = 10000 }; /* series, in all */

/* One series of a metric.  Scripts write value, others read it; the rest does not change, and it stays until
 * the program ends. */
struct mt_metric {
	double value;
	uint32_t kind; /* enum mt_metric_kind */
	uint32_t reserved;
	const char *name, *help;
	const char *labels; /* as Prometheus has them: a="x",b="y"; "": none */
	struct mt_metric *next;
};
/* The series of that name and labels, made if new.  NULL: the name is one of the other kind, there are too
 * many, or memory is out. */
MT_EXPORT struct mt_metric *mt_metric_new(uint32_t kind, const char *name, const char *help,
                                          const char *labels);
MT_EXPORT uint32_t mt_metric_count(void);

/* --- commands of scripts (child.c) ---------------------------------------------------------- */

/* os.execute: run a shell command, wait for its end, return its status as waitpid gives it.  As system(3), but
 * SIGINT and SIGQUIT are not ignored meanwhile: that also drops one that has come and was not taken yet, and
 * with a script that runs commands all the time a run could not be told to end. */
MT_EXPORT int32_t mt_execute(const char *command);

/* Layout table that abi.lua checks: name of a struct or "struct.field", size or offset. */
struct mt_abi_entry {
	const char *name;
	uint32_t value;
};
MT_EXPORT const struct mt_abi_entry *mt_abi_table(void);

#endif
