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

/* Files may have statistics of a hundred thousand interfaces: there is no search here. */
static int note_loss(struct mt_parser *f, uint32_t iface, uint64_t packets)
{
	if (f->losses_stay)
		return 0;
	if (f->n_losses && f->losses[f->n_losses - 1].iface == iface) {
		f->losses[f->n_losses - 1].packets += packets;
		return 0;
	}
	if (f->n_losses == f->losses_room) {
		size_t room = f->losses_room ? f->losses_room * 2 : 8;
		struct mt_parser_loss *list = reallocarray(f->losses, room, sizeof *list);
		if (!list)
			return -1;
		f->losses = list;
		f->losses_room = room;
	}
	f->losses[f->n_losses++] = (struct mt_parser_loss){.iface = iface, .packets = packets};
	return 0;
}

int mt_parser_add_loss(struct mt_parser *f, uint32_t iface, uint64_t packets, struct mt_err *err)
{
	struct mt_iface *entry = mt_ifaces_get(f->ifaces, iface);
	uint64_t before = entry->dropped == UINT64_MAX ? 0 : entry->dropped;
	uint64_t after = add_saturating(before, packets);
	if (after > before && note_loss(f, iface, after - before))
		return mt_err_set(err, "out of memory for interface statistics");
	__atomic_store_n(&entry->dropped, after, __ATOMIC_RELAXED); /* outputs look at it */
	return 0;
}

void mt_parser_undo_losses(struct mt_parser *f)
{
	for (size_t i = 0; i < f->n_losses; i++) {
		struct mt_iface *entry = mt_ifaces_get(f->ifaces, f->losses[i].iface);
		__atomic_store_n(&entry->dropped, entry->dropped - f->losses[i].packets, __ATOMIC_RELAXED);
	}
	f->n_losses = 0;
}

void mt_parser_keep_losses(struct mt_parser *f)
{
	if (f->losses_stay)
		return;
	f->losses_stay = true;
	free(f->losses);
	f->losses = NULL;
	f->n_losses = f->losses_room = 0;
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
