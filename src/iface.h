/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iface.h - the run's interfaces: every (source group, interface) that packets come from.
 *
 * A plain capture file or a live device has one, a pcapng file one for each interface
 * description, an ERF file one for each port seen.  mt_packet.iface is an index into this
 * table.  Whoever reads a source adds entries, all others only read those whose index they
 * got with a packet: entries never move and are complete before the packet is handed on.
 *
 * A group is what statistics, p.source and interface blocks call "the source": one source,
 * or all sources with the same name=.
 */
#ifndef MT_IFACE_H
#define MT_IFACE_H
#include <stdint.h>

struct mt_iface {
	uint32_t id;        /* own index */
	uint32_t group;     /* index of the source group */
	uint32_t number;    /* interface number inside the source, from 0 (ERF: port) */
	uint16_t linktype;  /* LINKTYPE_ value */
	uint32_t snaplen;   /* 0: no limit known */
	char *name;         /* if_name of the file or device name; NULL if the source has none */
	char *description;  /* if_description, or NULL */
	const char *source; /* name of the group; borrowed from the table */
	uint64_t dropped;   /* packets the capturing system lost, as the file's interface
	                       statistics say; UINT64_MAX unknown */
	struct {
		uint64_t received;        /* packets that reached the program */
		uint64_t dropped, kernel; /* and those that no buffer was left for, here and in the kernel */
	} live;                           /* of an interface that is captured; told now and then */
};

struct mt_ifaces;

enum { MT_IFACES_NONE = -1 }; /* no group: the table is full (a million) or memory is */

struct mt_ifaces *mt_ifaces_new(void);
void mt_ifaces_free(struct mt_ifaces *t);
/* Index of the group of that name, made if new; (uint32_t)MT_IFACES_NONE on failure. */
uint32_t mt_ifaces_group(struct mt_ifaces *t, const char *name);
const char *mt_ifaces_group_name(const struct mt_ifaces *t, uint32_t group);
uint32_t mt_ifaces_groups(const struct mt_ifaces *t);
/* The entry for (group, number, linktype, name), made if new: a file that is closed and
 * opened again, or the next file of the same group, finds its entries again.  name and
 * description may be NULL and are copied.  NULL when the table (a million) or memory is full. */
struct mt_iface *mt_ifaces_add(struct mt_ifaces *t, uint32_t group, uint32_t number, uint16_t linktype,
                               uint32_t snaplen, const char *name, const char *description);
/* Entry id; id < mt_ifaces_count(t). */
struct mt_iface *mt_ifaces_get(const struct mt_ifaces *t, uint32_t id);
uint32_t mt_ifaces_count(const struct mt_ifaces *t);

#endif
