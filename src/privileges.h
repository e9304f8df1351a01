/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * privileges.h - become another user once the sources are open.
 */
#ifndef MT_PRIVILEGES_H
#define MT_PRIVILEGES_H
#include "err.h"

/* Programs that this thread and those that it starts run gain no privileges, for good (no_new_privs).  Before
 * there are other threads.  0, or -1 with err. */
int mt_privileges_gain_none(struct mt_err *err);
/* Take on the user's id, group and supplementary groups, for good and in all threads.  0, or -1 with err. */
int mt_privileges_drop(const char *user, struct mt_err *err);
/* From now on this thread makes files and folders as the user would; NULL: as itself again.  Nothing happens
 * if there is no such user. */
void mt_privileges_make_as(const char *user);

#endif
