/* SPDX-License-Identifier: BSD-2-Clause */
#include "control_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control_session.h"
#include "err.h"
#include "lines.h"
#include "log.h"
#include "privileges.h"

enum {
	NICE = 10,      /* sessions never compete with the capture */
	LOOK_MS = 1000, /* … whether a session has ended, should its signal be missed */
	REFUSE_MS = 0   /* nobody is waited for who is sent away */
};

struct server {
	const struct mt_control_place *place;
	int clients[MT_CONTROL_CLIENTS];
	unsigned n;
	pid_t sessions[MT_CONTROL_SESSIONS];
	unsigned n_sessions;
};

static void note_child(int number)
{
	(void)number; /* it ends a wait */
}

/* Signals are for the capture; this process ends with it. */
static void set_signals(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP};
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	struct sigaction child = {.sa_handler = note_child};
	sigaction(SIGCHLD, &child, NULL);
}

/* Nobody shall wait for a pipe's end because we hold it. */
static void leave_standard_files(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

static void refuse(int fd, const char *why)
{
	mt_lines_send(fd, why, strlen(why), REFUSE_MS);
	close(fd);
}

/* false: nobody else is waiting. */
static bool accept_client(struct server *s)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	int fd = accept4(s->place->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) ||
	    (peer.uid != s->place->owner && peer.uid != 0))
		refuse(fd, "refused: only the owner of the capture may attach\n");
	else if (s->n == MT_CONTROL_CLIENTS)
		refuse(fd, "refused: too many clients\n");
	else
		s->clients[s->n++] = fd;
	return true;
}

static void collect_sessions(struct server *s)
{
	for (unsigned i = 0; i < s->n_sessions;) {
		if (waitpid(s->sessions[i], NULL, WNOHANG) == 0)
			i++;
		else
			s->sessions[i] = s->sessions[--s->n_sessions];
	}
}

/* In the new process. */
static _Noreturn void begin_session(struct server *s, int fd, pid_t server)
{
	signal(SIGTERM, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != server)
		_exit(0);
	close(s->place->listen_fd);
	for (unsigned i = 0; i < s->n; i++)
		if (s->clients[i] != fd)
			close(s->clients[i]);
	mt_control_session(s->place, fd);
}

/* A client has said something, or has gone. */
static void hear(struct server *s, unsigned i)
{
	char byte;
	int fd = s->clients[i];
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		pid_t server = getpid(), pid = fork();
		if (pid == 0)
			begin_session(s, fd, server);
		if (pid > 0)
			s->sessions[s->n_sessions++] = pid;
		else
			refuse(fd, "refused: no process can be started\n");
	}
	close(fd);
	s->clients[i] = s->clients[--s->n];
}

static void end_sessions(struct server *s)
{
	for (unsigned i = 0; i < s->n_sessions; i++)
		kill(s->sessions[i], SIGTERM);
}

_Noreturn void mt_control_serve(const struct mt_control_place *place)
{
	struct server s = {.place = place};
	struct mt_err err;
	prctl(PR_SET_NAME, "mt-attach");
	setsid();
	set_signals();
	leave_standard_files();
	setpriority(PRIO_PROCESS, 0, NICE);
	if (place->options->user && mt_privileges_drop(place->options->user, &err)) {
		mt_log_error("--control: %s", err.text);
		_exit(1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user has none */
	for (;;) {
		bool room = s.n_sessions < MT_CONTROL_SESSIONS;
		struct pollfd fds[2 + MT_CONTROL_CLIENTS] = {{.fd = place->capture_fd, .events = POLLIN},
		                                             {.fd = place->listen_fd, .events = POLLIN}};
		unsigned n = s.n;
		for (unsigned i = 0; i < n; i++)
			fds[2 + i] = (struct pollfd){.fd = room ? s.clients[i] : -1, .events = POLLIN};
		int ready = poll(fds, 2 + n, s.n_sessions ? LOOK_MS : -1);
		collect_sessions(&s);
		if (ready <= 0)
			continue;
		if (fds[0].revents)
			break;
		/* from the last on: those that go leave their place to the last */
		for (unsigned i = n; i-- > 0;)
			if (fds[2 + i].revents && s.n_sessions < MT_CONTROL_SESSIONS)
				hear(&s, i);
		while (fds[1].revents && accept_client(&s))
			;
	}
	end_sessions(&s);
	_exit(0);
}
