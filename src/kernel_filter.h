/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kernel_filter.h - let the kernel leave out what our filter would reject in any case.
 *
 * A filter means the frame as it is written.  The kernel keeps the outermost VLAN tag beside the frame and
 * its filters look at the rest, so the same expression would mean something else for tagged frames.  It is
 * asked to let all of those through and to filter the others, whose bytes are the same there and here; our own
 * filter looks at everything that comes.
 */
#ifndef MT_KERNEL_FILTER_H
#define MT_KERNEL_FILTER_H
#include <pcap/pcap.h>

#include "abi.h"

/* For a capture of an Ethernet interface that is activated.  Where it is not possible, nothing changes but
 * speed. */
void mt_kernel_filter_set(pcap_t *pcap, struct mt_filter *filter, uint16_t linktype);
/* The same while packets come: those that the filter before and this one let through are not lost.  filter
 * NULL: none. */
void mt_kernel_filter_change(pcap_t *pcap, struct mt_filter *filter, uint16_t linktype);

#endif
