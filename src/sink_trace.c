/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sink_trace.c - libtrace output URIs, see sink_trace.h.  libtrace 3 and 4 agree
 * on everything that is used here.
 */
#include "sink_trace.h"

#include <errno.h>
#include <libtrace.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"
#include "source_trace.h"

enum { LENGTH_MAX = 65535 }; /* trace_construct_packet takes a 16-bit length */

/* What trace_construct_packet puts before the data: a pcap record header in host order.  It
 * holds the time of the call and the captured length only, so it is filled in by us. */
struct record_header {
	uint32_t sec, usec, caplen, wirelen;
};

struct mt_trace_sink {
	const struct mt_output_config *config;
	libtrace_out_t *out;
	libtrace_packet_t *packet;
};

static const struct {
	uint16_t linktype;
	libtrace_linktype_t type;
} linktypes[] = {
        {1, TRACE_TYPE_ETH},
        {9, TRACE_TYPE_PPP},
        {100, TRACE_TYPE_LLCSNAP},
        {101, TRACE_TYPE_NONE},
        {104, TRACE_TYPE_HDLC_POS},
        {105, TRACE_TYPE_80211},
        {108, TRACE_TYPE_OPENBSD_LOOP},
        {113, TRACE_TYPE_LINUX_SLL},
        {117, TRACE_TYPE_PFLOG},
        {119, TRACE_TYPE_80211_PRISM},
        {127, TRACE_TYPE_80211_RADIO},
        {50, TRACE_TYPE_POS},
        {228, TRACE_TYPE_NONE},
        {229, TRACE_TYPE_NONE},
};

/* Of "a/b" 2, of "/a" 1, of "a" 0. */
static size_t folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The file behind "format:path" must not be there yet, unless --overwrite, and its folder must
 * be one to write in: libtrace opens the file no sooner than a packet comes. */
static int check_file(const struct mt_output_config *config, struct mt_err *err)
{
	const char *colon = strchr(config->path, ':');
	struct stat st;
	if (!colon || mt_trace_is_live(config->path) || strcmp(colon + 1, "-") == 0)
		return 0;
	const char *path = colon + 1;
	bool exists = stat(path, &st) == 0;
	if (exists && S_ISREG(st.st_mode) && !config->overwrite)
		return mt_err_set(err, "%s: the file exists already (--overwrite replaces it)", path);
	char *folder = exists ? strdup(path) : strndup(path, folder_length(path));
	if (!folder)
		return mt_err_set(err, "%s: out of memory", path);
	int status = 0;
	if (access(*folder ? folder : ".", W_OK))
		status = mt_err_set(err, "%s: can not be written: %s", *folder ? folder : ".", strerror(errno));
	free(folder);
	return status;
}

static int trace_failed(struct mt_trace_sink *t, const char *what, struct mt_err *err)
{
	libtrace_err_t e = trace_get_err_output(t->out);
	return mt_err_set(err, "%s: libtrace can not %s: %s", t->config->path, what,
	                  e.err_num ? e.problem : "it gives no reason");
}

/* For a format that it does not write, the name in libtrace 3's own message is freed memory. */
static void creation_failed(struct mt_trace_sink *t, struct mt_err *err)
{
	libtrace_err_t e = trace_get_err_output(t->out);
	const char *uri = t->config->path;
	if (e.err_num == TRACE_ERR_BAD_FORMAT || e.err_num == TRACE_ERR_UNSUPPORTED)
		mt_err_set(err, "%s: libtrace %s has no output of the format %.*s", uri, mt_trace_version(),
		           (int)strcspn(uri, ":"), uri);
	else
		mt_err_set(err, "%s: libtrace can not make this output: %s", uri, e.problem);
}

struct mt_trace_sink *mt_trace_sink_open(const struct mt_output_config *config, struct mt_err *err)
{
	if (config->segmented) {
		mt_err_set(err, "%s: segments are written as pcap, pcapng or erf, not through libtrace",
		           config->path);
		return NULL;
	}
	if (check_file(config, err))
		return NULL;
	struct mt_trace_sink *t = calloc(1, sizeof *t);
	if (!t) {
		mt_err_set(err, "%s: out of memory", config->path);
		return NULL;
	}
	t->config = config;
	t->packet = trace_create_packet();
	t->out = trace_create_output(config->path);
	if (!t->packet || !t->out)
		mt_err_set(err, "%s: libtrace can not make this output", config->path);
	else if (trace_is_err_output(t->out))
		creation_failed(t, err);
	else if (trace_start_output(t->out) < 0)
		trace_failed(t, "open it", err);
	else
		return t;
	mt_trace_sink_close(t);
	return NULL;
}

static bool find_type(uint16_t linktype, libtrace_linktype_t *type)
{
	for (size_t i = 0; i < sizeof linktypes / sizeof *linktypes; i++) {
		if (linktypes[i].linktype != linktype)
			continue;
		*type = linktypes[i].type;
		return true;
	}
	return false;
}

int mt_trace_sink_write(struct mt_trace_sink *t, const struct mt_packet *p, struct mt_err *err)
{
	libtrace_linktype_t type;
	uint64_t sec = (uint64_t)p->ts_ns / 1000000000;
	uint32_t cut = t->config->write_snaplen, caplen = cut && cut < p->caplen ? cut : p->caplen;
	if (sec > UINT32_MAX || !find_type(p->linktype, &type))
		return 0;
	if (caplen > LENGTH_MAX)
		caplen = LENGTH_MAX;
	trace_construct_packet(t->packet, type, p->data, (uint16_t)caplen);
	struct record_header header = {(uint32_t)sec, (uint32_t)((uint64_t)p->ts_ns % 1000000000 / 1000),
	                               caplen, p->wirelen};
	memcpy(t->packet->header, &header, sizeof header);
	/* 0 is no error: the "pcap:" format of libtrace 3 returns it when all went well.  Formats that
	 * write through its own buffering thread never report a full disk, here or at the end. */
	if (trace_write_packet(t->out, t->packet) >= 0 && !trace_is_err_output(t->out))
		return 1;
	return trace_failed(t, "write a packet", err);
}

void mt_trace_sink_close(struct mt_trace_sink *t)
{
	if (!t)
		return;
	if (t->out)
		trace_destroy_output(t->out);
	if (t->packet)
		trace_destroy_packet(t->packet);
	free(t);
}
