/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * measure.c - run one command of the benchmark: how long it took, how much memory, how it ended.
 *
 *   measure SECONDS OUT ERR COMMAND
 *
 * COMMAND goes to sh -c in a process group of its own, standard output to the file OUT and standard
 * error to ERR.  Prints "WALL USER SYSTEM PEAK STATUS": seconds, the bytes of the largest process,
 * the exit status as a shell has it (128 + signal; 124 when it was still running after SECONDS and
 * was killed).  SIGINT, SIGTERM, SIGHUP and the end of the parent kill the command; the exit status is
 * 128 + signal then, otherwise 0.
 *
 * A small C program because a child's peak memory begins with that of the process that forked it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMED_OUT = 124, NOT_STARTED = 127 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void redirect(const char *path, int flags, int to)
{
	int fd = open(path, flags, 0644);

	if (fd < 0 || dup2(fd, to) < 0) {
		fprintf(stderr, "measure: can not open %s: %s\n", path, strerror(errno));
		_exit(NOT_STARTED);
	}
}

static _Noreturn void run_command(char **argv)
{
	static const int restored[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD};
	sigset_t none;

	setpgid(0, 0);
	for (size_t i = 0; i < sizeof(restored) / sizeof(*restored); i++)
		signal(restored[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	redirect("/dev/null", O_RDONLY, STDIN_FILENO);
	redirect(argv[2], O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
	redirect(argv[3], O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
	execl("/bin/sh", "sh", "-c", argv[4], (char *)NULL);
	fprintf(stderr, "measure: can not run /bin/sh: %s\n", strerror(errno));
	_exit(NOT_STARTED);
}

int main(int argc, char **argv)
{
	sigset_t waited;
	struct rusage usage;
	int status = 0, signal_number;

	if (argc != 5 || atof(argv[1]) <= 0) {
		fputs("usage: measure SECONDS OUT ERR COMMAND\n", stderr);
		return 1;
	}
	sigemptyset(&waited);
	sigaddset(&waited, SIGCHLD);
	sigaddset(&waited, SIGINT);
	sigaddset(&waited, SIGTERM);
	sigaddset(&waited, SIGHUP);
	sigprocmask(SIG_BLOCK, &waited, NULL);
	sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP}, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);

	struct timespec limit = {.tv_sec = (time_t)atof(argv[1])};
	double start = now();
	pid_t child = fork();
	if (child < 0) {
		fprintf(stderr, "measure: can not fork: %s\n", strerror(errno));
		return 1;
	}
	if (child == 0)
		run_command(argv);
	setpgid(child, child); /* whoever is first: the group is there before it is killed */
	do
		signal_number = sigtimedwait(&waited, NULL, &limit);
	while (signal_number < 0 && errno == EINTR);
	double wall = now() - start;
	if (signal_number != SIGCHLD)
		kill(-child, SIGKILL);
	while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR)
		;
	kill(-child, SIGKILL); /* what it may have left behind */
	if (signal_number > 0 && signal_number != SIGCHLD)
		return 128 + signal_number;

	int code = signal_number < 0   ? TIMED_OUT
	           : WIFEXITED(status) ? WEXITSTATUS(status)
	                               : 128 + WTERMSIG(status);
	printf("%.6f %.6f %.6f %ld %d\n", wall, seconds(usage.ru_utime), seconds(usage.ru_stime),
	       usage.ru_maxrss * 1024, code);
	return 0;
}
