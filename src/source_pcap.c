/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source_pcap.c - a live interface, by libpcap.
 *
 * Up to some million packets a second.  libpcap lends each packet until the next one is
 * asked for, so it is copied into the source's chunks.  When those are all in flight the
 * ring of the kernel is emptied all the same, and what had no room is counted: a drop that
 * is known is better than one that is not.
 */
#include <limits.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel_filter.h"
#include "linktype.h"
#include "log.h"
#include "source.h"
#include "units.h"

enum { LINK_SLL = 113, LINK_SLL2 = 276, OUTGOING = 4, MAX_DRAIN = 65536, LOOK_MS = 250, MARGIN_MS = 5 };

struct capture {
	pcap_t *pcap;
	uint32_t iface;
	uint16_t linktype;
	unsigned unit_ns;           /* of the fraction in time stamps: 1 or 1000 */
	struct pcap_pkthdr *header; /* packet taken from libpcap and not yet from us, or NULL */
	const u_char *data;
	int socket;        /* to ask for the state of the interface; -1: none */
	bool down;         /* it was at the last look */
	int64_t looked_ms; /* when that was */
	bool failed;       /* reading did, after packets that are in the run */
	struct mt_err err;
	bool lingered;                   /* it has, and what the kernel still had was waited for */
	int timeout_ms;                  /* the kernel hands a block over after that */
	uint32_t last_drop, last_ifdrop; /* libpcap's counters are 32 bits and wrap */
	uint64_t drops;                  /* also of what was open before, if it is opened again */
};

/* --- opening --------------------------------------------------------------------------- */

static int unknown_tstamp(struct mt_source *s, pcap_t *p, struct mt_err *err)
{
	char names[256] = "";
	size_t len = 0;
	int *types, n = pcap_list_tstamp_types(p, &types);
	for (int i = 0; i < n && len < sizeof names - 1; i++)
		len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i ? ", " : "",
		                        pcap_tstamp_type_val_to_name(types[i]));
	if (n > 0)
		pcap_free_tstamp_types(types);
	return mt_err_set(err, "time stamp type \"%s\" is not one that it has: %s", s->spec.tstamp,
	                  n > 0 ? names : "it has no choice of them");
}

static int set_tstamp(struct mt_source *s, pcap_t *p, struct mt_err *err)
{
	if (!s->spec.tstamp)
		return 0;
	int type = pcap_tstamp_type_name_to_val(s->spec.tstamp);
	return type < 0 || pcap_set_tstamp_type(p, type) != 0 ? unknown_tstamp(s, p, err) : 0;
}

static int configure(struct mt_source *s, struct capture *c, struct mt_err *err)
{
	pcap_t *p = c->pcap;
	const struct mt_source_context *context = s->context;
	size_t buffer = context->kernel_buffer < INT_MAX ? context->kernel_buffer : INT_MAX;
	c->timeout_ms = mt_source_handover_ms(context);
	/* The filter sees the packet before it is cut. */
	bool whole = s->filter || context->filter_changes;
	int result = pcap_set_snaplen(p, whole ? MT_MAX_CAPLEN : (int)s->snaplen);
	result |= pcap_set_promisc(p, s->spec.promisc);
	result |= pcap_set_timeout(p, c->timeout_ms);
	if (buffer)
		result |= pcap_set_buffer_size(p, (int)buffer);
	if (result)
		return mt_err_set(err, "libpcap does not take the capture's settings: %s", pcap_geterr(p));
	pcap_set_tstamp_precision(p, PCAP_TSTAMP_PRECISION_NANO); /* else microseconds */
	return set_tstamp(s, p, err);
}

static int activate(struct mt_source *s, pcap_t *p, struct mt_err *err)
{
	int status = pcap_activate(p);
	const char *text = pcap_geterr(p);
	if (status < 0) {
		bool plain = !*text || strcmp(text, s->spec.target) == 0;
		if (status == PCAP_ERROR_PERM_DENIED || status == PCAP_ERROR_PROMISC_PERM_DENIED)
			return mt_err_set(err, "no permission to capture: run as root or with CAP_NET_RAW%s%s",
			                  plain ? "" : " - ", plain ? "" : text);
		return mt_err_set(err, "%s%s%s", pcap_statustostr(status), plain ? "" : " - ",
		                  plain ? "" : text);
	}
	if (status > 0)
		mt_log_warn("%s: %s%s%s", s->spec.target, pcap_statustostr(status), *text ? " - " : "", text);
	return 0;
}

static int add_iface(struct mt_source *s, struct capture *c, struct mt_err *err)
{
	c->linktype = mt_linktype_from_dlt(pcap_datalink(c->pcap));
	struct mt_iface *iface = mt_ifaces_add(s->context->ifaces, s->group, 0, c->linktype,
	                                       (uint32_t)pcap_snapshot(c->pcap), s->spec.target, NULL);
	if (!iface)
		return mt_err_set(err, "no room for another interface");
	c->iface = s->iface = iface->id;
	s->first_linktype = c->linktype;
	return 0;
}

static int pcap_source_open(struct mt_source *s, struct mt_err *err)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	struct capture *c = calloc(1, sizeof *c);
	if (!c)
		return mt_err_set(err, "out of memory");
	s->impl = c;
	c->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	c->drops = s->kernel_drops == UINT64_MAX ? 0 : s->kernel_drops;
	c->pcap = pcap_create(s->spec.target, text);
	if (!c->pcap)
		return mt_err_set(err, "%s", text);
	if (configure(s, c, err) || activate(s, c->pcap, err))
		return -1;
	if (pcap_setnonblock(c->pcap, 1, text) < 0)
		return mt_err_set(err, "%s", text);
	c->unit_ns = pcap_get_tstamp_precision(c->pcap) == PCAP_TSTAMP_PRECISION_NANO ? 1 : 1000;
	if (add_iface(s, c, err))
		return -1;
	if (s->filter)
		mt_kernel_filter_set(c->pcap, s->filter, c->linktype);
	return 0;
}

static void refilter(struct mt_source *s)
{
	struct capture *c = s->impl;
	if (c)
		mt_kernel_filter_change(c->pcap, s->filter, c->linktype);
}

/* --- reading --------------------------------------------------------------------------- */

/* Linux cooked headers say which way a packet went. */
static uint8_t direction(const struct capture *c, const u_char *data, uint32_t caplen)
{
	if (c->linktype == LINK_SLL && caplen >= 2)
		return data[1] == OUTGOING ? MT_DIRECTION_OUT : MT_DIRECTION_IN;
	if (c->linktype == LINK_SLL2 && caplen >= 11)
		return data[10] == OUTGOING ? MT_DIRECTION_OUT : MT_DIRECTION_IN;
	return MT_DIRECTION_UNKNOWN;
}

static void add_packet(struct mt_source *s, const struct capture *c, uint8_t *copy, uint32_t caplen)
{
	const struct pcap_pkthdr *h = c->header;
	memcpy(copy, c->data, caplen);
	s->run[s->run_n++] = (struct mt_packet){
	        .ts_ns = (int64_t)h->ts.tv_sec * 1000000000 + (int64_t)h->ts.tv_usec * c->unit_ns,
	        .data = copy,
	        .caplen = caplen,
	        .wirelen = h->len,
	        .iface = c->iface,
	        .linktype = c->linktype,
	        .direction = direction(c, c->data, caplen),
	};
}

/* The next packet of libpcap into c->header. MT_OK, MT_WAIT, MT_ERROR. */
static enum mt_read next_packet(struct capture *c, struct mt_err *err)
{
	if (c->header)
		return MT_OK;
	struct pcap_pkthdr *header;
	int got = pcap_next_ex(c->pcap, &header, &c->data);
	if (got == 0)
		return MT_WAIT;
	if (got < 0) {
		mt_err_set(err, "%s", pcap_geterr(c->pcap));
		if (c->lingered)
			return MT_ERROR;
		/* The kernel still hands over the block that it was filling, and libpcap looks at that first.
		 */
		c->lingered = true;
		poll(NULL, 0, c->timeout_ms + MARGIN_MS);
		return next_packet(c, err);
	}
	c->header = header;
	return MT_OK;
}

/* An interface that is down says nothing, and libpcap neither; it is captured again when it is up. */
static void look_at_state(struct mt_source *s, struct capture *c)
{
	struct ifreq request = {0};
	int64_t now_ms = mt_monotonic_ms();
	if (c->socket < 0 || now_ms - c->looked_ms < LOOK_MS || strlen(s->spec.target) >= IFNAMSIZ)
		return;
	c->looked_ms = now_ms;
	strcpy(request.ifr_name, s->spec.target);
	if (ioctl(c->socket, SIOCGIFFLAGS, &request))
		return; /* it is none of the kernel's, or gone */
	bool down = !(request.ifr_flags & IFF_UP);
	if (down && !c->down)
		mt_log_warn("%s: is down; nothing is captured until it is up again", s->spec.target);
	if (!down && c->down)
		mt_log_warn("%s: is up again", s->spec.target);
	c->down = down;
}

static enum mt_read pcap_source_fill(struct mt_source *s, struct mt_err *err)
{
	struct capture *c = s->impl;
	if (c->failed) {
		*err = c->err;
		return MT_ERROR;
	}
	for (unsigned drained = 0; s->run_n < MT_RUN_PACKETS && drained < MAX_DRAIN; drained++) {
		enum mt_read result = next_packet(c, err);
		if (result == MT_ERROR && s->run_n) { /* first these */
			c->failed = true;
			c->err = *err;
			break;
		}
		if (result == MT_ERROR)
			return result;
		if (result == MT_WAIT) {
			look_at_state(s, c);
			break;
		}
		uint32_t caplen = c->header->caplen < MT_MAX_CAPLEN ? c->header->caplen : MT_MAX_CAPLEN;
		uint8_t *copy;
		result = mt_source_room(s, caplen, &copy, err);
		if (result == MT_WAIT || result == MT_ERROR)
			return s->run_n ? MT_OK : result;
		if (result == MT_FULL)
			s->dropped++;
		else
			add_packet(s, c, copy, caplen);
		c->header = NULL;
	}
	s->wait_ms = 1;
	return s->run_n ? MT_OK : MT_WAIT;
}

static int pcap_source_fd(struct mt_source *s)
{
	struct capture *c = s->impl;
	return c && c->pcap ? pcap_get_selectable_fd(c->pcap) : -1;
}

static uint64_t pcap_source_drops(struct mt_source *s)
{
	struct capture *c = s->impl;
	struct pcap_stat stat;
	if (!c || !c->pcap || pcap_stats(c->pcap, &stat) != 0)
		return s->kernel_drops;
	c->drops += (uint32_t)(stat.ps_drop - c->last_drop);
	c->drops += (uint32_t)(stat.ps_ifdrop - c->last_ifdrop);
	c->last_drop = stat.ps_drop;
	c->last_ifdrop = stat.ps_ifdrop;
	return c->drops;
}

static void pcap_source_close(struct mt_source *s)
{
	struct capture *c = s->impl;
	if (!c)
		return;
	if (c->pcap) {
		s->kernel_drops = pcap_source_drops(s);
		pcap_close(c->pcap);
	}
	if (c->socket >= 0)
		close(c->socket);
	free(c);
	s->impl = NULL;
}

const struct mt_source_ops mt_source_pcap = {
        .name = "interface",
        .open = pcap_source_open,
        .fill = pcap_source_fill,
        .fd = pcap_source_fd,
        .refilter = refilter,
        .kernel_drops = pcap_source_drops,
        .close = pcap_source_close,
};
