/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * naming.h - names of segments: templates, defaults, and making any text safe as a name.
 *
 * Names are relative to the folder of the output and never lead out of it.
 */
#ifndef MT_NAMING_H
#define MT_NAMING_H
#include <stdbool.h>

#include "abi.h"
#include "err.h"

/* Is text a good --name template? 0, or -1 with err naming what is not known. */
int mt_name_template_check(const char *text, struct mt_err *err);
/* The name that the template gives (NULL: YYYYMMDD-HHMMSS-NNNNNNNN).  New string, or NULL. */
char *mt_name_expand(const char *template, const struct mt_segment_view *segment, bool utc);
/* Make a name safe and end it with the extension, unless it does: control characters, "..", an
 * absolute path, leading dots and over-long parts are made harmless.  New string; NULL: nothing
 * is left of it, or out of memory. */
char *mt_name_clean(const char *name, const char *extension);
/* The name with "-k" before its extension; k 0: unchanged.  New string, or NULL. */
char *mt_name_number(const char *name, const char *extension, unsigned k);

#endif
