/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * child.h - shell commands: --pipeout gets a segment's bytes, --on-close hears of each file.
 *
 * Commands run as /bin/sh -c COMMAND in a process group of their own, so that Ctrl-C at
 * the terminal, which ends the capture, does not kill the command that is still to write
 * the last bytes.  All descriptors of ours are close-on-exec.
 */
#ifndef MT_CHILD_H
#define MT_CHILD_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

/* Start the command with these descriptors as its standard input and output (-1: /dev/null in,
 * our standard error out) and MOONTAP_FILE=file in its environment.  Signals are at their
 * defaults in it.  0, or -1 with err. */
int mt_child_spawn(const char *command, int in, int out, const char *file, pid_t *pid, struct mt_err *err);
/* Wait for it.  1: it ended, *status as of waitpid; 0: not within timeout_ms (-1: no limit).
 * With no limit it is terminated 3 s after *interrupted became 1, at once if it is more. */
int mt_child_wait(pid_t pid, int timeout_ms, const atomic_int *interrupted, int *status);
/* SIGTERM to its process group, SIGKILL a second later; returns its status. */
int mt_child_kill(pid_t pid);
/* "exit status 3", "signal 9 (Killed)" into text; returns text. */
const char *mt_child_status(int status, char *text, size_t size);

/* Commands that run beside the capture: some at a time, the others queue. */
struct mt_child_pool;
struct mt_child_pool *mt_child_pool_new(const char *command);
/* Run it for the file as soon as there is room; never blocks. */
void mt_child_pool_add(struct mt_child_pool *pool, const char *file);
/* Collect those that ended, start those that wait.  Never blocks. */
void mt_child_pool_tick(struct mt_child_pool *pool);
/* Let them end for at most wait_ms, warn of those that did not, free.  NULL is fine.
 * *interrupted cuts the wait short. */
void mt_child_pool_free(struct mt_child_pool *pool, int wait_ms, const atomic_int *interrupted);

#endif
