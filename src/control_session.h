/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control_session.h - one client of --control, in a process of its own: a prompt over packets that are sampled
 * from the capture.
 *
 * What the client sends first decides: a line that begins with { is an object of JSON, and so are all that
 * follow, each answered by one object in a line; else every line is one of a prompt, as from a pipe, and its
 * results are text.  Objects:
 *
 *   {"run": TEXT}       -> {"ok": BOOL, "output": TEXT, "error": TEXT, "value": …}; also "more": true (the
 *                          text is not complete: send it again with more), "interrupted", "exit".  With
 * "value": false the value is left out.
 *   {"complete": TEXT}  -> {"ok": true, "names": [], "word": BYTES}
 *   {"hello": true}     -> {"ok": true, "version":, "pid":}; before the first run also with "colours" and
 * "utf8"
 *   {"interrupt": true} -> no answer: what runs ends
 *
 * An "id" comes back in the answer.
 */
#ifndef MT_CONTROL_SESSION_H
#define MT_CONTROL_SESSION_H
#include "control_server.h"

/* Serve the client at fd until it has gone, then exit. */
_Noreturn void mt_control_session(const struct mt_control_place *place, int fd);

#endif
