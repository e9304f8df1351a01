/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recover.h - a part file that nobody finishes becomes a whole segment.
 */
#ifndef MT_RECOVER_H
#define MT_RECOVER_H
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "manifest.h"
#include "part.h"

struct mt_recovered {
	uint64_t packets;
	bool empty; /* nothing was in it: the part was deleted */
};

/* Cut the part after its last whole record, give it its name, and add a line to the manifest of
 * part->base, with run, output, seq, start_ns and reason as in *known.  0, or -1: it is left as
 * it is. */
int mt_recover_part(struct mt_part *part, const struct mt_manifest_entry *known, struct mt_recovered *result,
                    struct mt_err *err);

#endif
