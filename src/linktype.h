/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linktype.h - LINKTYPE_ values of files against libpcap's DLT_ values: equal but for a few
 * old ones, whose DLT differs between systems.
 */
#ifndef MT_LINKTYPE_H
#define MT_LINKTYPE_H
#include <stdint.h>

int mt_linktype_to_dlt(uint16_t linktype);
uint16_t mt_linktype_from_dlt(int dlt);

#endif
