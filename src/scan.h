/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scan.h - walk over the records of a capture file that we wrote, to find where it is whole.
 *
 * Unlike the readers it makes no packets: it only needs lengths, times and link types.
 */
#ifndef MT_SCAN_H
#define MT_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output.h"

struct mt_scan {
	enum mt_format format; /* MT_FORMAT_AUTO: not known yet */
	bool swap, microseconds;
	bool named_erf; /* its name says ERF; without a name, only what looks like it is taken for it */
	bool bad;       /* what follows is no record */
	uint64_t packets, captured_bytes, wire_bytes;
	int64_t first_ns, last_ns;
	uint32_t snaplen;
	uint8_t linktypes[8192]; /* bit set */
	uint16_t *interfaces;    /* pcapng: link types by number */
	uint32_t n_interfaces;
};

void mt_scan_init(struct mt_scan *s, bool named_erf);
void mt_scan_clear(struct mt_scan *s);
/* How many of the len bytes are whole records; the rest is to be offered again with more
 * behind it. */
size_t mt_scan_step(struct mt_scan *s, const uint8_t *data, size_t len);

#endif
