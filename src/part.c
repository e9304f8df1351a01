/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * part.c - see part.h.  Called once a segment.
 */
#include "part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest.h"
#include "naming.h"
#include "relocate.h"

enum { NUMBERS_MAX = 100000, DEPTH_MAX = 32 };

static bool exists(const char *path)
{
	struct stat st;
	return !lstat(path, &st);
}

/* "base/a/b" + suffix; new string or NULL. */
static char *join(const char *base, const char *rel, const char *suffix)
{
	char *path;
	return asprintf(&path, "%s/%s%s", base, rel, suffix) < 0 ? NULL : path;
}

/* base/a/.b.part for the name a/b. */
static char *part_path(const char *base, const char *name)
{
	const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name;
	char *path;
	return asprintf(&path, "%s/%.*s.%s.part", base, (int)(file - name), name, file) < 0 ? NULL : path;
}

static bool folder_is_locked(const char *base, const char *rel);

static int make_folder(const char *path, struct mt_err *err)
{
	struct stat st;
	if (!mkdir(path, 0777))
		return 0;
	int problem = errno;
	if (problem == EEXIST && (stat(path, &st) || S_ISDIR(st.st_mode)))
		return 0;
	return mt_err_set(err, "can not make the folder %s: %s", path,
	                  problem == EEXIST ? "there is a file of that name" : strerror(problem));
}

int mt_make_folders(const char *path, struct mt_err *err)
{
	struct stat st;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return 0;
	char *copy = strdup(path);
	int rc = copy ? 0 : mt_err_set(err, "%s: out of memory", path);
	for (char *p = copy; !rc && (p = strchr(p + 1, '/'));) {
		*p = 0;
		rc = make_folder(copy, err);
		*p = '/';
	}
	if (!rc)
		rc = make_folder(copy, err);
	free(copy);
	return rc;
}

static int make_folders_of(const char *path, struct mt_err *err)
{
	char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
	int rc = 0;
	if (slash) {
		*slash = 0;
		rc = mt_make_folders(copy, err);
	}
	free(copy);
	return rc;
}

/* A link below the base could lead a name out of it. */
static int check_inside(const char *base, const char *path, struct mt_err *err)
{
	char *copy = strdup(path);
	int rc = 0;
	if (!copy)
		return mt_err_set(err, "%s: out of memory", path);
	for (char *slash = strchr(copy + strlen(base) + 1, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		struct stat st;
		*slash = 0;
		if (!lstat(copy, &st) && S_ISLNK(st.st_mode))
			rc = mt_err_set(err, "%s is a symbolic link, a name must stay below %s", copy, base);
		*slash = '/';
	}
	free(copy);
	return rc;
}

static int start(struct mt_part *part, const char *base, const char *name, const char *extension,
                 struct mt_err *err)
{
	*part = (struct mt_part){.lock_fd = -1};
	part->base = strdup(base);
	part->name = name ? strdup(name) : NULL;
	part->extension = strdup(extension);
	return part->base && part->extension && (part->name || !name)
	               ? 0
	               : mt_err_set(err, "%s: out of memory", base);
}

/* Create part->path under a lock.  1; 0: somebody else has it; -1. */
static int create_locked(struct mt_part *part, struct mt_err *err)
{
	struct stat mine, there;
	int fd = open(part->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0 && errno == EEXIST)
		return 0;
	if (fd < 0)
		return mt_err_set(err, "can not create %s: %s", part->path, strerror(errno));
	/* Between the two calls a --recover may have taken it for a left-over.  A file system without
	 * locks does without. */
	bool lost = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	if (!lost)
		lost = fstat(fd, &mine) || stat(part->path, &there) || mine.st_ino != there.st_ino;
	if (lost) {
		close(fd);
		return 0;
	}
	part->lock_fd = fd;
	return 1;
}

int mt_part_create(struct mt_part *part, const char *base, const char *name, const char *extension, int *fd,
                   struct mt_err *err)
{
	if (start(part, base, NULL, extension, err))
		return -1;
	for (unsigned k = 0; k < NUMBERS_MAX; k++) {
		free(part->name);
		free(part->path);
		part->name = mt_name_number(name, extension, k);
		part->path = part->name ? part_path(base, part->name) : NULL;
		char *final = part->name ? mt_part_final_path(part) : NULL;
		if (!part->path || !final)
			return mt_err_set(err, "%s/%s: out of memory", base, name);
		bool taken = exists(final) || !strcmp(part->name, MT_MANIFEST_NAME);
		free(final);
		if (taken)
			continue;
		if (!k && (check_inside(base, part->path, err) || make_folders_of(part->path, err)))
			return -1;
		int rc = create_locked(part, err);
		if (rc < 0)
			return -1;
		if (!rc)
			continue;
		*fd = fcntl(part->lock_fd, F_DUPFD_CLOEXEC, 3);
		return *fd >= 0 ? 0 : mt_err_set(err, "%s: %s", part->path, strerror(errno));
	}
	return mt_err_set(err, "%s/%s: this name and %d numbered ones are taken", base, name, NUMBERS_MAX);
}

int mt_part_adopt(struct mt_part *part, const char *base, const char *rel, struct mt_err *err)
{
	const char *slash = strrchr(rel, '/'), *file = slash ? slash + 1 : rel;
	char *name;
	struct stat mine, there;
	if (start(part, base, NULL, "", err))
		return -1;
	if (folder_is_locked(base, rel))
		return 0;
	if (asprintf(&name, "%.*s%.*s", (int)(file - rel), rel, (int)strlen(file) - 6, file + 1) < 0)
		return mt_err_set(err, "%s/%s: out of memory", base, rel);
	part->name = name;
	part->path = join(base, rel, "");
	part->lock_fd = open(part->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (part->lock_fd < 0)
		return mt_err_set(err, "can not open %s: %s", part->path, strerror(errno));
	if (flock(part->lock_fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK
		               ? 0
		               : mt_err_set(err, "can not lock %s: %s", part->path, strerror(errno));
	if (fstat(part->lock_fd, &mine) || stat(part->path, &there) || mine.st_ino != there.st_ino)
		return 0; /* its owner has just renamed it */
	return 1;
}

/* rename that never replaces.  0, 1: taken, -1: errno. */
static int rename_new(const char *from, const char *to)
{
	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (errno == EEXIST)
		return 1;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* A file system without it: a link can not replace either. */
	if (!link(from, to))
		return unlink(from);
	if (errno == EEXIST)
		return 1;
	return exists(to) ? 1 : rename(from, to);
}

int mt_part_finish(struct mt_part *part, const char *suffix, struct mt_err *err)
{
	int rc = 1, problem = 0;
	char *name = NULL;
	if (mt_part_displaced(part) && mt_part_relocate(part, err))
		return -1;
	for (unsigned k = 0; rc == 1 && k < NUMBERS_MAX; k++) {
		free(name);
		name = mt_name_number(part->name, part->extension, k);
		char *to = name ? join(part->base, name, suffix) : NULL;
		if (!to) {
			free(name);
			return mt_err_set(err, "%s: out of memory", part->path);
		}
		rc = rename_new(part->path, to);
		problem = errno;
		free(to);
	}
	if (rc) {
		mt_err_set(err, "can not rename %s to %s/%s%s: %s", part->path, part->base, name, suffix,
		           rc > 0 ? "all numbered names are taken" : strerror(problem));
		free(name);
		errno = problem;
		return -1;
	}
	free(part->name);
	part->name = name;
	return 0;
}

void mt_part_discard(struct mt_part *part)
{
	if (part->path && part->lock_fd >= 0 && !mt_part_displaced(part))
		unlink(part->path);
}

void mt_part_clear(struct mt_part *part)
{
	if (part->lock_fd >= 0)
		close(part->lock_fd);
	free(part->base);
	free(part->name);
	free(part->extension);
	free(part->path);
	*part = (struct mt_part){.lock_fd = -1};
}

char *mt_part_final_path(const struct mt_part *part)
{
	return join(part->base, part->name, "");
}

static bool is_part(const char *name)
{
	size_t len = strlen(name);
	return len > 6 && name[0] == '.' && !strcmp(name + len - 5, ".part");
}

static void visit(const char *base, const char *rel, int depth, void (*fn)(void *ctx, const char *rel),
                  void *ctx)
{
	char *path = join(base, rel, "");
	DIR *dir = path ? opendir(path) : NULL;
	free(path);
	/* cppcheck-suppress readdirCalled ; the stream is ours alone */
	for (struct dirent *d; dir && (d = readdir(dir));) {
		char *below;
		struct stat st;
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (asprintf(&below, "%s%s%s", rel, *rel ? "/" : "", d->d_name) < 0)
			continue;
		bool folder = d->d_type == DT_DIR, file = d->d_type == DT_REG;
		if (d->d_type == DT_UNKNOWN && !fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW)) {
			folder = S_ISDIR(st.st_mode);
			file = S_ISREG(st.st_mode);
		}
		if (folder && depth < DEPTH_MAX)
			visit(base, below, depth + 1, fn, ctx);
		else if (file && is_part(d->d_name))
			fn(ctx, below);
		free(below);
	}
	if (dir)
		closedir(dir);
}

void mt_part_each(const char *base, void (*fn)(void *ctx, const char *rel), void *ctx)
{
	visit(base, "", 0, fn, ctx);
}

#define FOLDER_LOCK ".split.lock"

int mt_part_lock_folder(const char *folder)
{
	struct stat mine, there;
	char *path = join(folder, FOLDER_LOCK, "");
	int fd = -1;
	if (!path)
		return -1;
	for (unsigned tries = 0; fd < 0 && tries < 1000; tries++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (fd < 0)
			break;
		/* A file system without locks does without. */
		flock(fd, LOCK_SH);
		if (!fstat(fd, &mine) && !stat(path, &there) && mine.st_ino == there.st_ino)
			break;
		close(fd); /* the last one before us has just deleted it */
		fd = -1;
	}
	free(path);
	return fd;
}

void mt_part_unlock_folder(const char *folder, int fd)
{
	char *path = fd >= 0 ? join(folder, FOLDER_LOCK, "") : NULL;
	if (path && !flock(fd, LOCK_EX | LOCK_NB))
		unlink(path);
	free(path);
	if (fd >= 0)
		close(fd);
}

static bool folder_is_locked(const char *base, const char *rel)
{
	const char *slash = strrchr(rel, '/');
	char *path;
	if (asprintf(&path, "%s/%.*s%s", base, slash ? (int)(slash - rel) + 1 : 0, rel, FOLDER_LOCK) < 0)
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	if (fd >= 0)
		close(fd);
	free(path);
	return locked;
}

bool mt_part_is_locked(const char *base, const char *rel)
{
	if (folder_is_locked(base, rel))
		return true;
	char *path = join(base, rel, "");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	if (fd >= 0)
		close(fd);
	free(path);
	return locked;
}
