/* SPDX-License-Identifier: BSD-2-Clause */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights that later kernels and headers have: versions 2 and 3 of the interface. */
#define RIGHT_REFER    (UINT64_C(1) << 13)
#define RIGHT_TRUNCATE (UINT64_C(1) << 14)

static const uint64_t write_rights = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                                     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

static int allow(int rules, const char *path, uint64_t rights, struct mt_err *err)
{
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		mt_err_set(err, "--sandbox: %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		rights &= LANDLOCK_ACCESS_FS_WRITE_FILE | RIGHT_TRUNCATE;
	struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
	long rc = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	int error = errno;
	close(fd);
	if (!rc || error == EBADFD) /* a pipe, as /dev/stdout may be: Landlock has no say in those */
		return 0;
	return mt_err_set(err, "--sandbox: %s: %s", path, strerror(error));
}

int mt_sandbox_enter(const char *const *paths, unsigned n, struct mt_err *err)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 1)
		return mt_err_set(err, "--sandbox: this kernel has no Landlock, or it is not enabled (%s)",
		                  strerror(errno));
	uint64_t rights = write_rights | (version >= 2 ? RIGHT_REFER : 0) | (version >= 3 ? RIGHT_TRUNCATE : 0);
	struct landlock_ruleset_attr handled = {.handled_access_fs = rights | LANDLOCK_ACCESS_FS_EXECUTE};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled.handled_access_fs, 0);
	if (rules < 0)
		return mt_err_set(err, "--sandbox: %s", strerror(errno));
	int rc = 0;
	for (unsigned i = 0; i < n && !rc; i++)
		rc = allow(rules, paths[i], rights, err);
	if (!rc && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, rules, 0)))
		rc = mt_err_set(err, "--sandbox: %s", strerror(errno));
	close(rules);
	return rc;
}
