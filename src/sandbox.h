/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sandbox.h - --sandbox: from now on this process writes only below some folders and runs no program.
 *
 * By Landlock (Linux 5.13; landlock(7)), which needs no privileges and can not be undone.  Reading and
 * descriptors that are open already are not restricted.  It holds for the calling thread and those that
 * it starts, so it is entered before there are others.
 */
#ifndef MT_SANDBOX_H
#define MT_SANDBOX_H
#include "err.h"

/* n paths: folders, or devices, pipes and the like to be opened for writing.  0, or -1 with err. */
int mt_sandbox_enter(const char *const *paths, unsigned n, struct mt_err *err);

#endif
