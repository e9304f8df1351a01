/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h - messages for people, on standard error, whole lines in one write(2).
 *
 * Safe from every thread and free of stdio, so a script blocked in io.write can not hold
 * up the capture.  A progress line on the terminal is wiped before a message.
 */
#ifndef MT_LOG_H
#define MT_LOG_H

/* How much is said: 0 errors, warnings and notes, 1 with -v, 2 with -vv. */
void mt_log_set_verbosity(int level);
/* Wait at most so long for somebody to read a message (-1, the default: for ever), then lose it. */
void mt_log_set_patience(int ms);
/* "moontap: TEXT" on standard error. */
void mt_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "moontap: warning: TEXT". */
void mt_log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "moontap: TEXT", only if the verbosity is at least level. */
void mt_log_info(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Show a progress line in place of the last one; NULL wipes it.  Only for a terminal. */
void mt_log_progress(const char *line);

#endif
