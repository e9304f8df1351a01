/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relocate.h - a part that is no longer where it was made.
 *
 * Somebody renames or removes the folder of segments while one is written.  The open file lives on: it is
 * found where its folder went, or, if it was deleted, its bytes are copied into a new part of the same name.
 */
#ifndef MT_RELOCATE_H
#define MT_RELOCATE_H
#include <stdbool.h>

#include "err.h"
#include "part.h"

/* Is something else, or nothing, at part->path? */
bool mt_part_displaced(const struct mt_part *part);
/* Nothing is written to the part any more: make *part tell where the file is now, or be a new one with the
 * same bytes; said as a warning.  0, or -1 with err and errno. */
int mt_part_relocate(struct mt_part *part, struct mt_err *err);

#endif
