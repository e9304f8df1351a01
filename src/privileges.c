/* SPDX-License-Identifier: BSD-2-Clause */
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

int mt_privileges_gain_none(struct mt_err *err)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? mt_err_set(err, "no_new_privs: %s", strerror(errno))
	                                              : 0;
}

int mt_privileges_drop(const char *user, struct mt_err *err)
{
	errno = 0;
	const struct passwd *pw = getpwnam(user);
	if (!pw)
		return mt_err_set(err, "user %s: %s", user, errno ? strerror(errno) : "there is no such user");
	if (geteuid() == pw->pw_uid && getuid() == pw->pw_uid)
		return 0;
	if (initgroups(user, pw->pw_gid) || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
		return mt_err_set(err, "user %s: could not be taken on: %s", user, strerror(errno));
	if (pw->pw_uid && (setuid(0) == 0 || geteuid() == 0))
		return mt_err_set(err, "user %s: privileges could still be regained", user);
	return 0;
}

void mt_privileges_make_as(const char *user)
{
	const struct passwd *pw = user ? getpwnam(user) : NULL;
	if (user && !pw)
		return;
	setfsgid(pw ? pw->pw_gid : getegid());
	setfsuid(pw ? pw->pw_uid : geteuid());
}
