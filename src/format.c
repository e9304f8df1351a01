/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * format.c - what the parsers of pcap, pcapng and ERF share: interfaces and their losses.
 */
#include "format.h"

#include <stdlib.h>

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - 1 - b ? UINT64_MAX - 1 : a + b; /* UINT64_MAX means unknown */
}

static struct mt_parser_loss *find_loss(struct mt_parser *f, uint32_t iface)
{
	for (unsigned i = 0; i < f->n_losses; i++)
		if (f->losses[i].iface == iface)
			return &f->losses[i];
	struct mt_parser_loss *list = realloc(f->losses, (f->n_losses + 1) * sizeof *list);
	if (!list)
		return NULL;
	f->losses = list;
	list[f->n_losses] = (struct mt_parser_loss){.iface = iface};
	return &list[f->n_losses++];
}

int mt_parser_add_loss(struct mt_parser *f, uint32_t iface, uint64_t packets, struct mt_err *err)
{
	struct mt_iface *entry = mt_ifaces_get(f->ifaces, iface);
	if (entry->dropped == UINT64_MAX)
		entry->dropped = 0;
	if (!packets)
		return 0;
	struct mt_parser_loss *loss = find_loss(f, iface);
	if (!loss)
		return mt_err_set(err, "out of memory for interface statistics");
	uint64_t before = entry->dropped;
	entry->dropped = add_saturating(before, packets);
	loss->packets += entry->dropped - before;
	return 0;
}

void mt_parser_undo_losses(struct mt_parser *f)
{
	for (unsigned i = 0; i < f->n_losses; i++)
		mt_ifaces_get(f->ifaces, f->losses[i].iface)->dropped -= f->losses[i].packets;
	f->n_losses = 0;
}

struct mt_iface *mt_parser_add_iface(struct mt_parser *f, uint32_t number, uint16_t linktype, uint32_t snaplen,
                                     const char *name, const char *description, struct mt_err *err)
{
	struct mt_iface *iface =
	        mt_ifaces_add(f->ifaces, f->group, number, linktype, snaplen, name, description);
	if (!iface) {
		mt_err_set(err, "no room for interface %u: over a million interfaces, or out of memory",
		           number);
		return NULL;
	}
	if (f->first_linktype == 0xffff)
		f->first_linktype = linktype;
	return iface;
}

uint16_t mt_parser_linktype(uint32_t field)
{
	uint16_t linktype = (uint16_t)field;
	/* DLT_RAW is 12 on most systems and 14 on OpenBSD; LINKTYPE_RAW is 101. */
	return linktype == 12 || linktype == 14 ? 101 : linktype;
}

void mt_parser_free(struct mt_parser *f)
{
	if (!f)
		return;
	if (f->ops->clear)
		f->ops->clear(f);
	free(f->losses);
	free(f);
}
