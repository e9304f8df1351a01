/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * child.c - run shell commands, see child.h.
 *
 * A few commands a minute as a rule, some a second at worst.  posix_spawn instead of fork:
 * the process has threads and may be large.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"
#include "beat.h"
#include "log.h"
#include "units.h"

enum {
	RUNNING_MAX = 8,     /* --on-close commands at a time */
	WAITING_MAX = 10000, /* segments whose command has to wait */
	GRACE_MS = 3000,     /* for a command to end after an interrupt */
	NAP_MS = 10
};

static void nap(int ms)
{
	struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
	nanosleep(&ts, NULL);
}

/* environ with MOONTAP_FILE=file; free the array and its first string. */
static char **make_environment(const char *file)
{
	size_t n = 0;
	while (environ && environ[n])
		n++;
	char **env = calloc(n + 2, sizeof *env);
	if (!env)
		return NULL;
	if (asprintf(&env[0], "MOONTAP_FILE=%s", file) < 0) {
		free(env);
		return NULL;
	}
	size_t k = 1;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "MOONTAP_FILE=", 13) != 0)
			env[k++] = environ[i];
	return env;
}

/* Default signals, none blocked, own process group. */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	int rc = posix_spawnattr_setsigmask(attr, &none);
	if (!rc)
		rc = posix_spawnattr_setsigdefault(attr, &all);
	if (!rc)
		rc = posix_spawnattr_setpgroup(attr, 0);
	if (!rc)
		rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
		                                            POSIX_SPAWN_SETPGROUP);
	return rc;
}

static int set_files(posix_spawn_file_actions_t *files, int in, int out)
{
	int rc = out >= 0 ? posix_spawn_file_actions_adddup2(files, out, STDOUT_FILENO)
	                  : posix_spawn_file_actions_adddup2(files, STDERR_FILENO, STDOUT_FILENO);
	if (rc)
		return rc;
	return in >= 0 ? posix_spawn_file_actions_adddup2(files, in, STDIN_FILENO)
	               : posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
}

int mt_child_spawn(const char *command, int in, int out, const char *file, pid_t *pid, struct mt_err *err)
{
	char *argv[] = {"sh", "-c", (char *)command, NULL};
	char **env = make_environment(file);
	posix_spawnattr_t attr;
	posix_spawn_file_actions_t files;
	if (!env)
		return mt_err_set(err, "command \"%s\": out of memory", command);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_init(&files);
	int rc = set_attributes(&attr);
	if (!rc)
		rc = set_files(&files, in, out);
	if (!rc)
		rc = posix_spawn(pid, "/bin/sh", &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	free(env[0]);
	free(env);
	return rc ? mt_err_set(err, "can not start /bin/sh for the command \"%s\": %s", command, strerror(rc))
	          : 0;
}

int32_t mt_execute(const char *command)
{
	char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
	enum { NOT_STARTED = 127 << 8 };
	pid_t pid;
	int status = NOT_STARTED;
	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ))
		return NOT_STARTED;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* 1: it ended (or was collected by someone else: status 0), 0: it runs. */
static int collect(pid_t pid, int *status)
{
	pid_t got;
	do
		got = waitpid(pid, status, WNOHANG);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		*status = 0;
	return got != 0;
}

int mt_child_wait(pid_t pid, int timeout_ms, const atomic_int *interrupted, int *status)
{
	int64_t start = mt_monotonic_ms(), give_up = 0;
	for (int pause = 1;; pause = pause < NAP_MS ? pause * 2 : NAP_MS) {
		if (collect(pid, status))
			return 1;
		int64_t now = mt_monotonic_ms();
		if (timeout_ms >= 0 && now - start >= timeout_ms)
			return 0;
		if (timeout_ms < 0 && interrupted && atomic_load(interrupted)) {
			if (!give_up)
				give_up = now + GRACE_MS;
			if (now >= give_up || atomic_load(interrupted) > 1) {
				*status = mt_child_kill(pid);
				return 1;
			}
		}
		mt_beat(MT_BEAT_WRITER);
		nap(pause);
	}
}

int mt_child_kill(pid_t pid)
{
	int status = 0;
	kill(-pid, SIGTERM);
	if (mt_child_wait(pid, 1000, NULL, &status))
		return status;
	kill(-pid, SIGKILL);
	if (!mt_child_wait(pid, 1000, NULL, &status))
		status = SIGKILL;
	return status;
}

const char *mt_child_status(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "exit status %d%s", WEXITSTATUS(status),
		         WEXITSTATUS(status) == 127 ? " (command not found)" : "");
	return text;
}

struct job {
	struct job *next;
	pid_t pid; /* 0: waits */
	char file[];
};

struct mt_child_pool {
	const char *command;
	struct job *running;
	struct job *first, *last; /* waiting */
	unsigned n_running, n_waiting;
	uint64_t skipped;
};

struct mt_child_pool *mt_child_pool_new(const char *command)
{
	struct mt_child_pool *pool = calloc(1, sizeof *pool);
	if (pool)
		pool->command = command;
	return pool;
}

static void start_job(struct mt_child_pool *pool, struct job *job)
{
	struct mt_err err;
	if (mt_child_spawn(pool->command, -1, -1, job->file, &job->pid, &err)) {
		mt_log_warn("--on-close for %s: %s", job->file, err.text);
		free(job);
		return;
	}
	job->next = pool->running;
	pool->running = job;
	pool->n_running++;
}

void mt_child_pool_add(struct mt_child_pool *pool, const char *file)
{
	size_t size = strlen(file) + 1;
	struct job *job = pool->n_waiting < WAITING_MAX ? calloc(1, sizeof *job + size) : NULL;
	if (!job) {
		if (!pool->skipped++)
			mt_log_warn("--on-close: %d segments wait for their command already; some get none",
			            WAITING_MAX);
		return;
	}
	memcpy(job->file, file, size);
	if (pool->last)
		pool->last->next = job;
	else
		pool->first = job;
	pool->last = job;
	pool->n_waiting++;
	mt_child_pool_tick(pool);
}

static void collect_jobs(struct mt_child_pool *pool)
{
	for (struct job **link = &pool->running; *link;) {
		struct job *job = *link;
		int status;
		char text[64];
		if (!collect(job->pid, &status)) {
			link = &job->next;
			continue;
		}
		if (status)
			mt_log_warn("--on-close for %s: the command \"%s\" ended with %s", job->file,
			            pool->command, mt_child_status(status, text, sizeof text));
		*link = job->next;
		pool->n_running--;
		free(job);
	}
}

void mt_child_pool_tick(struct mt_child_pool *pool)
{
	collect_jobs(pool);
	while (pool->first && pool->n_running < RUNNING_MAX) {
		struct job *job = pool->first;
		pool->first = job->next;
		if (!pool->first)
			pool->last = NULL;
		pool->n_waiting--;
		start_job(pool, job);
	}
}

void mt_child_pool_free(struct mt_child_pool *pool, int wait_ms, const atomic_int *interrupted)
{
	if (!pool)
		return;
	int64_t end = mt_monotonic_ms() + wait_ms;
	for (;;) {
		mt_child_pool_tick(pool);
		if (!pool->n_running || mt_monotonic_ms() >= end)
			break;
		if (interrupted && atomic_load(interrupted) > 1)
			break;
		if (interrupted && atomic_load(interrupted) && end - mt_monotonic_ms() > GRACE_MS)
			end = mt_monotonic_ms() + GRACE_MS;
		nap(NAP_MS);
	}
	if (pool->n_running)
		mt_log_warn("--on-close: %u commands still run and go on without moontap", pool->n_running);
	if (pool->n_waiting || pool->skipped)
		mt_log_warn("--on-close: the command was not run for %llu segments",
		            (unsigned long long)(pool->n_waiting + pool->skipped));
	for (struct job *job = pool->running; job;) {
		struct job *next = job->next;
		free(job);
		job = next;
	}
	for (struct job *job = pool->first; job;) {
		struct job *next = job->next;
		free(job);
		job = next;
	}
	free(pool);
}
