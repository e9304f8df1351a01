/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * print.h - a packet as one line of text, what --print writes for each kept packet.
 *
 *   DATE TIME SOURCE [vlan ID] FROM > TO PROTOCOL [what] BYTES
 *   2026-11-22 10:00:00.123456789 eth0 10.0.0.1:53 > 10.0.0.2:4000 UDP 512
 *   2026-11-22 10:00:00.123456790 eth0 vlan 12 [fd00::1]:443 > [fd00::2]:4000 TCP [S.] 74
 *   2026-11-22 10:00:00.123456791 eth0 ethertype 0x88cc 60
 *
 * BYTES is the length on the wire.
 */
#ifndef MT_PRINT_H
#define MT_PRINT_H
#include <stdbool.h>
#include <stddef.h>

#include "abi.h"

enum { MT_PRINT_LINE = 512 }; /* a line fits into this, the name of the source aside */

/* Write the line into line[size], size > 0, without a newline, cut to fit.  source: the name
 * to show.  utc: UTC, else local time.  Returns the number of characters. */
size_t mt_print_packet(const struct mt_packet *p, const struct mt_decoded *d, const char *source, bool utc,
                       char *line, size_t size);

#endif
