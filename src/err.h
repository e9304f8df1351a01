/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * err.h - one error: a sentence for the user and the exit status it leads to.
 *
 * Functions that can fail take a struct mt_err * last and return -1 (or NULL) after
 * filling it in.  The sentence names the thing, what was expected and what was found,
 * has no newline and no program name: "eth0.pcap: packet 812: captured length 700000
 * exceeds 262144".
 */
#ifndef MT_ERR_H
#define MT_ERR_H

/* Exit statuses of the program. */
enum mt_status {
	MT_STATUS_OK = 0,
	MT_STATUS_USAGE = 1,        /* command line, script that does not load, source without header */
	MT_STATUS_SOURCE = 2,       /* a source broke after its header; drops with --strict */
	MT_STATUS_OUTPUT = 3,       /* an output failed while running */
	MT_STATUS_SCRIPT = 4,       /* a script failed */
	MT_STATUS_INTERRUPTED = 130 /* a second SIGINT or SIGTERM */
};

struct mt_err {
	char text[1024]; /* NUL-terminated; empty if nothing was set */
};

/* Set the text, cut to fit.  Always returns -1, so that callers can return it. */
int mt_err_set(struct mt_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Put "prefix: " before the text.  Always returns -1. */
int mt_err_prefix(struct mt_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
