/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter.h - a BPF expression, compiled by libpcap once for each link type it meets.
 *
 * It means the frame as written, VLAN tag restored, live and from a file alike: compiled
 * without the kernel's ancillary data and run over the captured bytes.
 * One object belongs to one thread.  What Lua uses too is in abi.h.
 */
#ifndef MT_FILTER_H
#define MT_FILTER_H
#include "abi.h"
#include "err.h"

/* Compile text for linktype now, so that a bad expression is found at start; other link types
 * are compiled when a packet of theirs comes.  NULL with err on a syntax error. */
struct mt_filter *mt_filter_new(const char *text, uint16_t linktype, struct mt_err *err);

#endif
