/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.h - --control: a socket beside a running capture, and the capture's part of what is behind it.
 *
 *   client -> socket -> server process -> one process for each client that says something
 *                                          |  Lua, a prompt (control_session.h)
 *   hook thread -> sampled packets (tap.h) -+
 *   control thread <- questions, answers ---+
 *
 * Nothing that a client sends is read by the capture's process, and what is typed is run by a process of its
 * own: it may crash, hang or take memory, and the capture does not notice.  The server process is started
 * before the capture has threads, sources and scripts.  What the capture answers is what control_ask.c knows:
 * counters, queues, published values; another filter, rotate, trigger.
 */
#ifndef MT_CONTROL_H
#define MT_CONTROL_H
#include "err.h"
#include "flow.h"
#include "iface.h"
#include "options.h"

struct mt_control;
struct mt_run;

/* Is text a path that a socket can have?  0, or -1 with err. */
int mt_control_check(const char *path, struct mt_err *err);
/* Make the socket, with mode 0600, owned by `user` (NULL: this one).  One that nobody listens on any more is
 * replaced.  Before --sandbox.  NULL with err. */
struct mt_control *mt_control_listen(const char *path, const char *user, struct mt_err *err);
/* Start the server process, before there are threads.  0, or -1 with err. */
int mt_control_start(struct mt_control *c, const struct mt_options *options, struct mt_err *err);
/* Answer from now on.  run_id: of the manifests.  All is borrowed up to mt_control_stop.  0, or -1 with err. */
int mt_control_answer(struct mt_control *c, struct mt_run *run, struct mt_flow *flow, struct mt_ifaces *ifaces,
                      const char *run_id, struct mt_err *err);
/* A batch that scripts are about to get; hook thread. */
void mt_control_batch(struct mt_control *c, const struct mt_batch *batch);
/* Leave a copy of the counters there, if somebody wants one; hook thread, at least every 100 ms. */
void mt_control_update(struct mt_control *c);
/* Answer no more. */
void mt_control_stop(struct mt_control *c);
/* Remove the socket; for a process that ends at once. */
void mt_control_unlink(const struct mt_control *c);
/* End the server with its clients, remove the socket.  NULL is fine. */
void mt_control_free(struct mt_control *c);

#endif
