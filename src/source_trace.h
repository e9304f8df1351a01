/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source_trace.h - what the rest has to know about libtrace, without its header.
 */
#ifndef MT_SOURCE_TRACE_H
#define MT_SOURCE_TRACE_H
#include <stdbool.h>
#include <stdio.h>

/* Does libtrace know the format of "FORMAT:REST"? */
bool mt_trace_knows(const char *uri);
/* Does the URI capture, or does it read a file? */
bool mt_trace_is_live(const char *uri);
/* An interface that libpcap captures better than libtrace: ring: int: pcapint:. */
bool mt_trace_prefers_libpcap(const char *uri);
/* libtrace's own list of formats. */
void mt_trace_print_formats(FILE *out);

#endif
