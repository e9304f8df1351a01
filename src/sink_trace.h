/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sink_trace.h - an output that libtrace encodes and writes: "erf:x.erf", "rt:…", "pcapfile:x".
 *
 * For formats that we do not write ourselves.  libtrace takes one packet a call and stores
 * microseconds; some million packets a second.
 */
#ifndef MT_SINK_TRACE_H
#define MT_SINK_TRACE_H
#include "output.h"

struct mt_trace_sink;

/* Open the URI in config->path.  config is borrowed.  NULL with err. */
struct mt_trace_sink *mt_trace_sink_open(const struct mt_output_config *config, struct mt_err *err);
/* Write a packet.  1 written, 0 libtrace has no form for it, -1 the output failed. */
int mt_trace_sink_write(struct mt_trace_sink *t, const struct mt_packet *p, struct mt_err *err);
/* Closes the output, which flushes it.  NULL is fine. */
void mt_trace_sink_close(struct mt_trace_sink *t);

#endif
