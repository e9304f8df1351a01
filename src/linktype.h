/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linktype.h - LINKTYPE_ values of files against libpcap's DLT_ values: equal but for a few
 * old ones, whose DLT differs between systems.
 */
#ifndef MT_LINKTYPE_H
#define MT_LINKTYPE_H
#include <jansson.h>
#include <stdint.h>

int mt_linktype_to_dlt(uint16_t linktype);
uint16_t mt_linktype_from_dlt(int dlt);

/* libpcap's short name, as in tcpdump -L: "EN10MB"; "DLT_147" if it has none.  Valid until the
 * same thread asks again. */
const char *mt_linktype_name(uint16_t linktype);
/* libpcap's words for it: "Ethernet"; the short name if it has none. */
const char *mt_linktype_description(uint16_t linktype);

enum { MT_LINKTYPE_SET = 65536 / 8 }; /* bytes of a set with a bit for each link type */

/* Short names of the link types in a set of MT_LINKTYPE_SET bytes, as a JSON array; new reference. */
json_t *mt_linktype_names(const uint8_t *set);

#endif
