/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * progress.h - the text of the progress bar over files and of the status line of a live run.
 *
 * Only numbers to text; main.c samples the counters a few times a second and shows the line
 * with mt_log_progress.
 */
#ifndef MT_PROGRESS_H
#define MT_PROGRESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_PROGRESS_LINE = 400 }; /* bytes that any line fits in */

/* Start with all zeros. */
struct mt_progress {
	bool live;            /* some source is live: a status line, no bar */
	unsigned columns;     /* of the terminal; the line is shorter; 0: 80 */
	int64_t elapsed_ms;   /* since the start */
	uint64_t bytes_done;  /* of the files, as stored */
	uint64_t bytes_total; /* 0: unknown, as for a pipe */
	uint64_t packets;     /* that reached the program */
	uint64_t wire_bytes;  /* their length on the wire */
	uint64_t kept;
	uint64_t dropped;    /* by buffers, kernel and outputs */
	uint64_t deleted;    /* segments, by --on-full */
	bool full;           /* an output waits for space */
	const char *segment; /* name of the open segment, or NULL; borrowed */

	/* kept by mt_progress_sample */
	double packet_rate; /* packets a second */
	double bit_rate;    /* bits a second on the wire */
	int64_t sample_ms;
	uint64_t sample_packets, sample_bytes;
};

/* Take in the counters of now and renew the rates if at least 200 ms have passed since they
 * were renewed last. */
void mt_progress_sample(struct mt_progress *p, int64_t elapsed_ms, uint64_t packets, uint64_t wire_bytes);
/* Write the line, without newline, at most columns - 1 characters, and a NUL.  Returns its length. */
size_t mt_progress_line(const struct mt_progress *p, char *line, size_t size);
/* Width of the terminal on standard error; 0 if it is none or says nothing. */
unsigned mt_progress_columns(void);

#endif
