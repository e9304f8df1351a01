/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control_server.h - the process that --control's clients talk to.
 *
 * It takes connections of the capture's owner, and starts a process for each that says something: a client
 * that is silent costs a descriptor.  It ends with the capture.
 */
#ifndef MT_CONTROL_SERVER_H
#define MT_CONTROL_SERVER_H
#include <sys/types.h>

#include "options.h"
#include "tap.h"

enum {
	MT_CONTROL_CLIENTS = 256, /* that have said nothing yet; more are sent away */
	MT_CONTROL_SESSIONS = 16  /* the others; more wait */
};

/* What the server has from the capture. */
struct mt_control_place {
	const char *path; /* of the socket */
	int listen_fd;
	int capture_fd; /* SOCK_SEQPACKET; takes channels, ends with the capture */
	uid_t owner;    /* may attach, and root */
	struct mt_tap *tap;
	const struct mt_options *options; /* of the capture */
};

/* Serve until the capture ends, then exit. */
_Noreturn void mt_control_serve(const struct mt_control_place *place);

#endif
