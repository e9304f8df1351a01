/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * screen.c - see screen.h.  Called once a batch.
 */
#include "screen.h"

#include <stdbool.h>
#include <stdlib.h>

#include "filter.h"
#include "log.h"

enum { LINK_ETHERNET = 1 };

struct mt_screen {
	struct mt_filter *filter;
	uint32_t snaplen;
	const struct mt_ifaces *ifaces;
	bool warned; /* of packets of this link type */
	uint16_t warned_linktype;
};

struct mt_screen *mt_screen_new(const char *filter, uint32_t snaplen, const struct mt_ifaces *ifaces,
                                struct mt_err *err)
{
	struct mt_screen *s = calloc(1, sizeof *s);
	if (!s) {
		mt_err_set(err, "out of memory for a filter");
		return NULL;
	}
	s->filter = mt_filter_new(filter, LINK_ETHERNET, err);
	if (!s->filter) {
		free(s);
		return NULL;
	}
	s->snaplen = snaplen;
	s->ifaces = ifaces;
	return s;
}

void mt_screen_free(struct mt_screen *s)
{
	if (!s)
		return;
	mt_filter_free(s->filter);
	free(s);
}

static void warn(struct mt_screen *s, const struct mt_packet *p)
{
	if (s->warned && s->warned_linktype == p->linktype)
		return;
	s->warned = true;
	s->warned_linktype = p->linktype;
	mt_log_warn("%s: the filter has no meaning for link type %u: its packets do not match",
	            mt_ifaces_get(s->ifaces, p->iface)->source, p->linktype);
}

void mt_screen_batch(struct mt_screen *s, struct mt_batch *batch)
{
	if (batch->screened)
		return;
	batch->screened = 1;
	for (struct mt_packet *p = batch->packets; p < batch->packets + batch->n; p++) {
		if (p->verdict == MT_VERDICT_DEFAULT) {
			int match = mt_filter_match(s->filter, p);
			if (match <= 0)
				p->verdict = MT_VERDICT_FILTERED;
			if (match < 0)
				warn(s, p);
		}
		if (p->caplen > s->snaplen)
			p->caplen = s->snaplen;
	}
}
