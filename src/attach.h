/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach.h - --attach: the client's side of --control (control_session.h), a prompt whose lines are run beside
 * the capture.
 */
#ifndef MT_ATTACH_H
#define MT_ATTACH_H
#include <stdatomic.h>
#include <stdbool.h>

/* The session from standard input.  wake_fd: becomes readable when interrupted (Ctrl-C) or stop was set.
 * Returns an exit status. */
int mt_attach(const char *path, bool quiet, int wake_fd, atomic_bool *interrupted, const atomic_bool *stop);

#endif
