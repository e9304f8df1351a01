/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics.h - --metrics: the run's numbers for Prometheus, over HTTP.
 *
 * The hook thread, which owns the counts, leaves a copy of them here now and then; the server's own
 * thread (libmicrohttpd) answers from the copy, so that no request ever waits for the capture or the
 * capture for a request.
 */
#ifndef MT_METRICS_H
#define MT_METRICS_H
#include <jansson.h>

#include "err.h"

struct mt_metrics;

/* Listen on "PORT" (of the loopback addresses), "ADDRESS:PORT" or "[ADDRESS]:PORT".  NULL with err. */
struct mt_metrics *mt_metrics_start(const char *where, struct mt_err *err);
/* How often a copy is wanted, ms. */
enum { MT_METRICS_EVERY_MS = 500 };
/* The numbers as mt_report_all has them; taken. */
void mt_metrics_update(struct mt_metrics *m, json_t *report);
/* Is text a place to listen on?  0, or -1 with err. */
int mt_metrics_check(const char *where, struct mt_err *err);
/* NULL is fine. */
void mt_metrics_stop(struct mt_metrics *m);

#endif
