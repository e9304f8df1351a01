/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report.h - the numbers of a run, as JSON and as lines for people.
 *
 * packets = kept + filtered + script_dropped + dropped holds in every object.
 */
#ifndef MT_REPORT_H
#define MT_REPORT_H
#include <jansson.h>
#include <stdio.h>

#include "flow.h"
#include "iface.h"

/* An array with one object a source group; new reference. */
json_t *mt_report_sources(const struct mt_flow *flow, const struct mt_ifaces *ifaces);
/* Totals: packets bytes kept … linktypes; new reference. */
json_t *mt_report_totals(const struct mt_flow *flow, const struct mt_ifaces *ifaces);
/* The object of --json; flow may be NULL (a run that did not start).  results: of the scripts, taken; may be
 * NULL.  New reference. */
json_t *mt_report_all(const struct mt_flow *flow, const struct mt_ifaces *ifaces, json_t *results, int status);
/* Totals with "sources" and "outputs", nothing of it shared: for another thread.  New reference. */
json_t *mt_report_now(const struct mt_flow *flow, const struct mt_ifaces *ifaces);
/* Did the run lose packets: by our buffers, by outputs, in the kernel? */
bool mt_report_lossy(const json_t *totals);
/* Statistics as text on standard error: SIGUSR1, and the end of a run with -v. */
void mt_report_print(const struct mt_flow *flow, const struct mt_ifaces *ifaces);

#endif
