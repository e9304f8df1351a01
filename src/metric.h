/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metric.h - the gauges and counters of scripts (moontap.gauge, moontap.counter).
 *
 * One table for the run.  Scripts write values through pointers that stay where they are (abi.h);
 * whoever tells the world reads them meanwhile.
 */
#ifndef MT_METRIC_H
#define MT_METRIC_H
#include <jansson.h>

#include "abi.h"

/* Call fn for each series, those of one name one after the other. */
void mt_metric_each(void (*fn)(void *ctx, const struct mt_metric *metric), void *ctx);
/* An array of {"name", "kind", "labels", "value"}, or NULL if scripts have none; new reference. */
json_t *mt_metric_json(void);

#endif
