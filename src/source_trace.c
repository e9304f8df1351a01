/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source_trace.c - whatever else libtrace 3 or 4 reads.
 *
 * Files are read packet by packet (a million or two a second); live formats through
 * trace_event, with waits of our own, because libtrace's are 0.0 s while it is too early.
 * libtrace uses a packet's buffer again behind it, so each is copied at once.  It counts a
 * frame check sequence of 4 bytes into most wire lengths, ours do not.
 */
#include "source_trace.h"

#include <fcntl.h>
#include <libtrace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linktype.h"
#include "log.h"
#include "source.h"

/* Not by LIBTRACE_API_VERSION: the header that 4.0.34 installs has "@LIBTRACE_MAJOR @" in it. */
#ifdef LIBTRACE_STAT_FIELDS
#define TRACE_4 1
#else
#define TRACE_4 0
#endif

enum { FCS = 4, PORTS = 4, WAIT_MS = 5, READ_NOTHING = -2, RADIOTAP_HAS_FCS = 0x10 };
enum { LINK_ETHERNET = 1, LINK_PPP_HDLC = 50, LINK_C_HDLC = 104, LINK_USER0 = 147, LINK_TZSP = 128 };

struct trace {
	libtrace_t *trace;
	libtrace_packet_t *packet;
	bool live;
	bool pending; /* packet holds one that is not taken yet */
	bool resets;  /* its drop counts are deltas since the last query */
	int fd;       /* of the last IOWAIT, or -1 */
	uint64_t drops;
	uint16_t linktype;   /* of the packets seen last, with their interfaces */
	uint32_t ids[PORTS]; /* run's table index + 1; 0: not seen */
};

/* --- what libtrace has ----------------------------------------------------------------- */

/* What trace_help prints, which it does on standard output only; NULL: no descriptor is left. */
static FILE *read_help(void)
{
	int memory = memfd_create("libtrace help", MFD_CLOEXEC),
	    saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	fflush(stdout);
	if (memory >= 0 && dup2(memory, STDOUT_FILENO) >= 0) {
		trace_help();
		fflush(stdout);
		if (saved >= 0)
			dup2(saved, STDOUT_FILENO);
		else
			close(STDOUT_FILENO);
	}
	if (saved >= 0)
		close(saved);
	FILE *help = memory >= 0 ? fdopen(memory, "r") : NULL;
	if (help)
		rewind(help);
	else if (memory >= 0)
		close(memory);
	return help;
}

const char *mt_trace_version(void)
{
	static char text[16];
	FILE *help = read_help();
	if (!help || fscanf(help, "libtrace %15s", text) != 1)
		snprintf(text, sizeof text, TRACE_4 ? "4" : "3");
	if (help)
		fclose(help);
	return text;
}

static bool is_format(const char *uri, const char *const *names)
{
	size_t len = strcspn(uri, ":");
	for (; *names; names++)
		if (strlen(*names) == len && memcmp(*names, uri, len) == 0)
			return true;
	return false;
}

bool mt_trace_knows(const char *uri)
{
	if (strcspn(uri, ":") > 15) /* libtrace's own limit */
		return false;
	libtrace_t *dead = trace_create_dead(uri);
	if (!dead)
		return false;
	bool known = !trace_is_err(dead);
	trace_destroy_dead(dead);
	return known;
}

bool mt_trace_is_live(const char *uri)
{
	static const char *const live[] = {"int",      "ring",     "pcapint",  "bpf",       "dag",   "rt",
	                                   "ndag",     "dpdk",     "xdp",      "pfring",    "linux", "dpdkndag",
	                                   "etsilive", "tzsplive", "dpdkvdev", "pfringold", "kafka", NULL};
	return is_format(uri, live);
}

/* Measured: libtrace 3 and 4 both lose VLAN tags there, and nanoseconds with pcapint:. */
bool mt_trace_prefers_libpcap(const char *uri)
{
	static const char *const captured[] = {"int", "ring", "pcapint", NULL};
	return is_format(uri, captured);
}

void mt_trace_print_formats(FILE *out)
{
	FILE *help = read_help();
	for (int c; help && (c = getc(help)) != EOF;)
		putc(c, out);
	if (help)
		fclose(help);
}

/* --- opening --------------------------------------------------------------------------- */

static int failed(struct trace *t, struct mt_err *err)
{
	libtrace_err_t e = trace_get_err(t->trace);
	size_t len = strcspn(e.problem, "\n");
	return mt_err_set(err, "libtrace: %.*s", len ? (int)len : 23,
	                  len ? e.problem : "failed without a reason");
}

static int configure(struct mt_source *s, struct trace *t, struct mt_err *err)
{
	if (!t->live)
		return 0;
	int promisc = s->spec.promisc, snaplen = (int)s->snaplen;
	/* Formats that have no promiscuous mode or snap length refuse them: that is no fault. */
	if (trace_config(t->trace, TRACE_OPTION_PROMISC, &promisc) < 0)
		(void)trace_get_err(t->trace);
	if (!s->filter && !s->context->filter_changes && snaplen < MT_MAX_CAPLEN &&
	    trace_config(t->trace, TRACE_OPTION_SNAPLEN, &snaplen) < 0)
		(void)trace_get_err(t->trace);
	return trace_is_err(t->trace) ? failed(t, err) : 0;
}

/* --- a packet -------------------------------------------------------------------------- */

static bool is_pcap(const libtrace_packet_t *p)
{
	return p->type >= TRACE_RT_DATA_DLT && p->type < TRACE_RT_DATA_DLT_END;
}

/* LINKTYPE_ value, or -1: not a packet of data. */
static int find_linktype(const libtrace_packet_t *p, libtrace_linktype_t type, const uint8_t *data,
                         uint32_t len)
{
	if (is_pcap(p))
		return mt_linktype_from_dlt((int)p->type - TRACE_RT_DATA_DLT);
	switch ((int)type) {
	case TRACE_TYPE_ETH:
		return LINK_ETHERNET;
	case TRACE_TYPE_HDLC_POS:
		return len >= 2 && data[0] == 0xff && data[1] == 0x03 ? LINK_PPP_HDLC : LINK_C_HDLC;
	case TRACE_TYPE_POS:
	case TRACE_TYPE_PPP:
		return LINK_PPP_HDLC;
	case TRACE_TYPE_NONE:
		return 101;
	case TRACE_TYPE_80211:
		return 105;
	case TRACE_TYPE_80211_PRISM:
		return 119;
	case TRACE_TYPE_80211_RADIO:
		return 127;
	case TRACE_TYPE_LINUX_SLL:
		return 113;
	case TRACE_TYPE_PFLOG:
		return 117;
	case TRACE_TYPE_OPENBSD_LOOP:
		return 108;
	case TRACE_TYPE_AAL5:
	case TRACE_TYPE_LLCSNAP:
		return 100;
	case TRACE_TYPE_ATM: /* bare cells have no LINKTYPE of their own */
		return LINK_USER0;
#if TRACE_4
	case TRACE_TYPE_TZSP:
		return LINK_TZSP;
	case TRACE_TYPE_ETSILI:
		return LINK_USER0;
#endif
	default:
		return -1;
	}
}

/* The frame, without what libtrace 4 puts before it for formats of its own. */
static const uint8_t *find_frame(const libtrace_packet_t *p, libtrace_linktype_t *type, uint32_t *len)
{
	const uint8_t *data = trace_get_packet_buffer(p, type, len);
#if TRACE_4
	if (data && (*type == TRACE_TYPE_XDP || *type == TRACE_TYPE_CORSAROTAG))
		data = trace_get_layer2(p, type, len);
#endif
	return data;
}

/* Does the radiotap header say that a frame check sequence ends the frame?  It has a time
 * (bit 0 of the bitmap) before the flags (bit 1), and may have further bitmaps. */
static bool radiotap_has_fcs(const uint8_t *data, uint32_t len)
{
	uint32_t at = 8;
	if (len < at)
		return false;
	bool more = data[7] & 0x80;
	while (more && at + 4 <= len) {
		more = data[at + 3] & 0x80;
		at += 4;
	}
	if (data[4] & 1)
		at = ((at + 7) & ~7u) + 8;
	return data[4] & 2 && at < len && data[at] & RADIOTAP_HAS_FCS;
}

/* libtrace adds 4 to the length of Ethernet frames; ERF and the DAG formats count the frame
 * check sequence themselves; for radiotap its flags say. */
static bool counts_fcs(const struct mt_source *s, libtrace_packet_t *p, libtrace_linktype_t type,
                       const uint8_t *data, uint32_t len, size_t wire)
{
	if (strncmp(s->spec.target, "legacynzix:", 11) == 0)
		return false;
	switch ((int)type) {
	case TRACE_TYPE_ETH:
		return true;
	case TRACE_TYPE_HDLC_POS:
		return !is_pcap(p);
	case TRACE_TYPE_80211_RADIO:
		return is_pcap(p) && wire >= len + FCS && !radiotap_has_fcs(data, len);
	default:
		return false;
	}
}

static void set_lengths(const struct mt_source *s, libtrace_packet_t *p, libtrace_linktype_t type,
                        const uint8_t *data, uint32_t len, struct mt_packet *out)
{
	size_t wire = trace_get_wire_length(p);
	bool fcs = counts_fcs(s, p, type, data, len, wire);
	if (fcs)
		wire = wire > FCS ? wire - FCS : 0;
	out->wirelen = wire > UINT32_MAX ? len : (uint32_t)wire;
	/* Where the frame check sequence was captured too, it goes. */
	out->caplen = fcs && !is_pcap(p) && len > out->wirelen ? out->wirelen : len;
}

/* ERF and the DAG formats say by the direction on which port a packet came. */
static unsigned find_port(libtrace_packet_t *p, uint8_t *direction)
{
	int way = trace_get_direction(p);
	if (is_pcap(p) || p->type == TRACE_RT_DATA_LINUX_NATIVE || p->type == TRACE_RT_DATA_LINUX_RING) {
		*direction = way == TRACE_DIR_OUTGOING   ? MT_DIRECTION_OUT
		             : way == TRACE_DIR_INCOMING ? MT_DIRECTION_IN
		                                         : MT_DIRECTION_UNKNOWN;
		return 0;
	}
	return way > 0 && way < PORTS ? (unsigned)way : 0;
}

static int set_iface(struct mt_source *s, unsigned port, uint16_t linktype, struct mt_packet *out,
                     struct mt_err *err)
{
	struct trace *t = s->impl;
	if (t->linktype != linktype)
		memset(t->ids, 0, sizeof t->ids);
	t->linktype = linktype;
	if (!t->ids[port]) {
		struct mt_iface *iface =
		        mt_ifaces_add(s->context->ifaces, s->group, port, linktype, 0, NULL, NULL);
		if (!iface)
			return mt_err_set(err, "no room for another interface");
		t->ids[port] = iface->id + 1;
		if (s->first_linktype == 0xffff)
			s->first_linktype = linktype;
	}
	out->linktype = linktype;
	out->iface = t->ids[port] - 1;
	return 0;
}

static int64_t packet_time(const libtrace_packet_t *p)
{
	uint64_t t = trace_get_erf_timestamp(p); /* seconds, 32 bits before and after the point */
	return (int64_t)((t >> 32) * 1000000000 + (((t & 0xffffffff) * 1000000000 + 0x80000000) >> 32));
}

/* Copy the packet in hand into the run. MT_OK: taken, or it was none. */
static enum mt_read take_packet(struct mt_source *s, struct mt_err *err)
{
	struct trace *t = s->impl;
	libtrace_linktype_t type;
	uint32_t len = 0;
	const uint8_t *data = find_frame(t->packet, &type, &len);
	int linktype = data && t->packet->type >= TRACE_RT_DATA_SIMPLE
	                       ? find_linktype(t->packet, type, data, len)
	                       : -1;
	if (linktype < 0)
		return MT_OK;
	unsigned long long number = s->packets_read + s->run_n + 1;
	if (len > MT_MAX_CAPLEN) {
		mt_err_set(err, "packet %llu: captured length %u exceeds %u", number, len, MT_MAX_CAPLEN);
		return MT_ERROR;
	}
	struct mt_packet out = {.ts_ns = packet_time(t->packet)};
	unsigned port = find_port(t->packet, &out.direction);
	set_lengths(s, t->packet, type, data, len, &out);
	uint8_t *copy;
	enum mt_read room = mt_source_room(s, out.caplen, &copy, err);
	if (room == MT_FULL && t->live) {
		s->dropped++;
		return MT_OK;
	}
	if (room != MT_OK)
		return room;
	if (set_iface(s, port, (uint16_t)linktype, &out, err))
		return MT_ERROR;
	memcpy(copy, data, out.caplen);
	out.data = copy;
	s->run[s->run_n++] = out;
	return MT_OK;
}

/* --- reading --------------------------------------------------------------------------- */

static enum mt_read read_result(struct mt_source *s, struct trace *t, int got, struct mt_err *err)
{
	if (got > 0)
		return MT_OK;
	if (got == 0)
		return MT_END;
	if (got == READ_NOTHING)
		return MT_WAIT;
	failed(t, err);
	return mt_err_prefix(err, "packet %llu", (unsigned long long)s->packets_read + s->run_n + 1);
}

static enum mt_read next_live(struct mt_source *s, struct trace *t, struct mt_err *err)
{
	libtrace_eventobj_t event = trace_event(t->trace, t->packet);
	t->fd = -1;
	s->wait_ms = WAIT_MS;
	switch (event.type) {
	case TRACE_EVENT_PACKET:
		return read_result(s, t, event.size, err);
	case TRACE_EVENT_TERMINATE:
		return trace_is_err(t->trace) ? read_result(s, t, -1, err) : MT_END;
	case TRACE_EVENT_IOWAIT:
		t->fd = event.fd > 0 ? event.fd : -1;
		return MT_WAIT;
	default: /* SLEEP */
		return MT_WAIT;
	}
}

/* The next packet into t->packet. */
static enum mt_read next_packet(struct mt_source *s, struct trace *t, struct mt_err *err)
{
	if (t->pending)
		return MT_OK;
	enum mt_read result =
	        t->live ? next_live(s, t, err) : read_result(s, t, trace_read_packet(t->trace, t->packet), err);
	t->pending = result == MT_OK;
	return result;
}

/* Read the first packet of a file, so that its link type is known when it is open. */
static int look_ahead(struct mt_source *s, struct trace *t, struct mt_err *err)
{
	libtrace_linktype_t type;
	uint32_t len = 0;
	enum mt_read result = next_packet(s, t, err);
	if (result != MT_OK)
		return result == MT_ERROR ? -1 : 0;
	const uint8_t *data = find_frame(t->packet, &type, &len);
	int linktype = data && t->packet->type >= TRACE_RT_DATA_SIMPLE
	                       ? find_linktype(t->packet, type, data, len)
	                       : -1;
	if (linktype >= 0)
		s->first_linktype = (uint16_t)linktype;
	return 0;
}

static int trace_source_open(struct mt_source *s, struct mt_err *err)
{
	static const char *const packet_sockets[] = {"int", "ring", NULL};
	bool packet_socket = is_format(s->spec.target, packet_sockets);
	struct trace *t = calloc(1, sizeof *t);
	if (!t)
		return mt_err_set(err, "out of memory");
	s->impl = t;
	t->fd = -1;
	t->live = mt_trace_is_live(s->spec.target);
	t->resets = !TRACE_4 && packet_socket;
	t->trace = trace_create(s->spec.target);
	t->packet = trace_create_packet();
	if (!t->trace || !t->packet)
		return mt_err_set(err, "out of memory");
	if (trace_is_err(t->trace) || configure(s, t, err))
		return trace_is_err(t->trace) ? failed(t, err) : -1;
	if (trace_start(t->trace) < 0)
		return failed(t, err);
	/* Seen with 3.0.22 and 4.0.34: the kernel hands the tag over beside the frame, libtrace ignores it. */
	if (packet_socket)
		mt_log_warn("%s: libtrace leaves VLAN tags out of the frames; -i %s keeps them", s->spec.target,
		            strchr(s->spec.target, ':') + 1);
	return t->live ? 0 : look_ahead(s, t, err);
}

static enum mt_read trace_source_fill(struct mt_source *s, struct mt_err *err)
{
	struct trace *t = s->impl;
	enum mt_read result = MT_OK;
	for (unsigned tries = 0; s->run_n < MT_RUN_PACKETS && tries < 4096; tries++) {
		result = next_packet(s, t, err);
		if (result == MT_OK)
			result = take_packet(s, err);
		if (result != MT_OK)
			break;
		t->pending = false;
	}
	/* An error or the end that follows packets comes up again at the next call. */
	if (s->run_n)
		return MT_OK;
	if (result != MT_OK)
		return result;
	s->wait_ms = 0;
	return MT_WAIT;
}

static int trace_source_fd(struct mt_source *s)
{
	struct trace *t = s->impl;
	return t ? t->fd : -1;
}

static uint64_t query_drops(libtrace_t *trace)
{
#if TRACE_4
	const libtrace_stat_t *stat = trace_get_statistics(trace, NULL);
	return stat && stat->dropped_valid ? stat->dropped : UINT64_MAX;
#else
	return trace_get_dropped_packets(trace);
#endif
}

static uint64_t trace_source_drops(struct mt_source *s)
{
	struct trace *t = s->impl;
	if (!t || !t->trace || !t->live)
		return s->kernel_drops;
	uint64_t drops = query_drops(t->trace);
	if (drops == UINT64_MAX)
		return s->kernel_drops;
	t->drops = t->resets ? t->drops + drops : drops;
	return t->drops;
}

static void trace_source_close(struct mt_source *s)
{
	struct trace *t = s->impl;
	if (!t)
		return;
	if (t->trace && !trace_is_err(t->trace))
		s->kernel_drops = trace_source_drops(s);
	if (t->packet)
		trace_destroy_packet(t->packet);
	if (t->trace)
		trace_destroy(t->trace);
	free(t);
	s->impl = NULL;
}

const struct mt_source_ops mt_source_trace = {
        .name = "libtrace",
        .open = trace_source_open,
        .fill = trace_source_fill,
        .fd = trace_source_fd,
        .kernel_drops = trace_source_drops,
        .close = trace_source_close,
};
