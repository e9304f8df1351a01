/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control_ask.h"
#include "control_server.h"
#include "lines.h"
#include "log.h"
#include "report.h"
#include "tap.h"
#include "units.h"

enum {
	CHANNELS = MT_CONTROL_SESSIONS + 8, /* a few more: one may end while the next begins */
	SEND_MS = 1000,                     /* how long a client's process may take to read an answer */
	END_MS = 2000                       /* how long the server may take to end */
};

struct mt_control {
	char *path;
	struct stat made; /* the socket as it was made */
	uid_t owner;
	int listen_fd;
	int pair_fd; /* from the server process: channels of its sessions; -1: not started */
	pid_t server;
	struct mt_tap *tap;

	struct mt_control_run run;
	pthread_t thread;
	bool runs;
	int wake_fd;
	atomic_bool stop;
	struct mt_lines channels[CHANNELS]; /* fd -1: none */
};

/* --- the socket ----------------------------------------------------------------------------------- */

static int address_of(const char *path, struct sockaddr_un *address, struct mt_err *err)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!*path)
		return mt_err_set(err, "expected the path of a socket");
	if (strlen(path) >= sizeof address->sun_path)
		return mt_err_set(err, "%s: the path of a socket can have %zu characters at most", path,
		                  sizeof address->sun_path - 1);
	strcpy(address->sun_path, path);
	return 0;
}

int mt_control_check(const char *path, struct mt_err *err)
{
	struct sockaddr_un address;
	return address_of(path, &address, err);
}

/* Something is at the path.  0: it was a socket that nobody listens on, and is gone. */
static int clear_place(const struct sockaddr_un *address, struct mt_err *err)
{
	struct stat st;
	const char *path = address->sun_path;
	if (lstat(path, &st))
		return errno == ENOENT ? 0 : mt_err_set(err, "--control %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return mt_err_set(err, "--control %s: it exists and is no socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)address, sizeof *address);
	int why = errno;
	if (fd >= 0)
		close(fd);
	if (rc == 0 || why == EAGAIN)
		return mt_err_set(err, "--control %s: another program listens there", path);
	if (why != ECONNREFUSED)
		return mt_err_set(err, "--control %s: %s", path, strerror(why));
	if (unlink(path) && errno != ENOENT)
		return mt_err_set(err, "--control %s: a socket that nobody listens on can not be removed: %s",
		                  path, strerror(errno));
	return 0;
}

/* The socket belongs to the one that the capture is going to run as. */
static int give_to(struct mt_control *c, const char *user, struct mt_err *err)
{
	const struct passwd *pw = user ? getpwnam(user) : NULL;
	c->owner = pw ? pw->pw_uid : geteuid();
	if (!pw || !chown(c->path, pw->pw_uid, pw->pw_gid))
		return 0;
	return mt_err_set(err, "--control %s: can not be given to %s: %s", c->path, user, strerror(errno));
}

static int make_socket(struct mt_control *c, const char *user, struct mt_err *err)
{
	struct sockaddr_un address;
	if (address_of(c->path, &address, err) || clear_place(&address, err))
		return -1;
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode is there with the socket, never later: unix(7) */
	if (c->listen_fd < 0 || fchmod(c->listen_fd, 0600) ||
	    bind(c->listen_fd, (struct sockaddr *)&address, sizeof address))
		return mt_err_set(err, "--control %s: %s", c->path, strerror(errno));
	if (lstat(c->path, &c->made) || listen(c->listen_fd, SOMAXCONN))
		return mt_err_set(err, "--control %s: %s", c->path, strerror(errno));
	return give_to(c, user, err);
}

struct mt_control *mt_control_listen(const char *path, const char *user, struct mt_err *err)
{
	struct mt_control *c = calloc(1, sizeof *c);
	if (!c || !(c->path = strdup(path))) {
		free(c);
		mt_err_set(err, "out of memory");
		return NULL;
	}
	c->listen_fd = c->pair_fd = c->wake_fd = -1;
	c->server = -1;
	pthread_mutex_init(&c->run.lock, NULL);
	/* a step of the wall clock shall not lengthen a wait */
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->run.updated, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (unsigned i = 0; i < CHANNELS; i++)
		c->channels[i] = (struct mt_lines){.fd = -1, .most = MT_CONTROL_QUESTION};
	if (!make_socket(c, user, err))
		return c;
	mt_control_free(c);
	return NULL;
}

/* --- the server process ------------------------------------------------------------------------------- */

int mt_control_start(struct mt_control *c, const struct mt_options *options, struct mt_err *err)
{
	int pair[2];
	pid_t parent = getpid();
	c->tap = mt_tap_new();
	if (!c->tap)
		return mt_err_set(err, "out of memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return mt_err_set(err, "--control: %s", strerror(errno));
	fflush(NULL);
	c->server = fork();
	if (c->server == 0) {
		close(pair[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		mt_control_serve(&(struct mt_control_place){.path = c->path,
		                                            .listen_fd = c->listen_fd,
		                                            .capture_fd = pair[1],
		                                            .owner = c->owner,
		                                            .tap = c->tap,
		                                            .options = options});
	}
	close(pair[1]);
	c->pair_fd = pair[0];
	close(c->listen_fd);
	c->listen_fd = -1;
	return c->server > 0 ? 0 : mt_err_set(err, "--control: %s", strerror(errno));
}

static void end_server(struct mt_control *c)
{
	if (c->pair_fd >= 0)
		close(c->pair_fd);
	for (int waited = 0; c->server > 0; waited += 10) {
		if (waitpid(c->server, NULL, WNOHANG))
			break;
		if (waited == END_MS)
			kill(c->server, SIGKILL);
		poll(NULL, 0, 10);
	}
}

/* --- the control thread: questions -------------------------------------------------------------------- */

/* A session of the server has sent its end of a channel. */
static void add_channel(struct mt_control *c)
{
	char byte;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data,
	                         .msg_iovlen = 1,
	                         .msg_control = control.bytes,
	                         .msg_controllen = sizeof control.bytes};
	int fd = -1;
	ssize_t n = recvmsg(c->pair_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == 0) {
		mt_log_warn("--control %s: its process has ended, nobody can attach any more", c->path);
		close(c->pair_fd);
		c->pair_fd = -1;
		if (waitpid(c->server, NULL, 0) == c->server)
			c->server = -1;
	}
	const struct cmsghdr *part = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(part), sizeof fd);
	for (unsigned i = 0; i < CHANNELS && fd >= 0; i++)
		if (c->channels[i].fd < 0) {
			c->channels[i].fd = fd;
			c->channels[i].ended = false;
			return;
		}
	if (fd >= 0)
		close(fd);
}

static void close_channel(struct mt_lines *channel)
{
	close(channel->fd);
	mt_lines_clear(channel);
	channel->fd = -1;
}

/* Answer what was asked, as a line.  -1: the other side is gone. */
static int answer(struct mt_control *c, struct mt_lines *channel)
{
	char *line;
	size_t len;
	mt_lines_fill(channel);
	enum mt_line r;
	while ((r = mt_lines_take(channel, &line, &len)) == MT_LINE_OK) {
		json_t *question = json_loadb(line, len, 0, NULL);
		json_t *o = mt_control_ask(&c->run, question);
		char *text = json_dumps(o, JSON_COMPACT);
		json_decref(question);
		json_decref(o);
		int rc = text ? mt_lines_send(channel->fd, text, strlen(text), SEND_MS) : -1;
		free(text);
		if (rc || mt_lines_send(channel->fd, "\n", 1, SEND_MS))
			return -1;
	}
	return r == MT_LINE_WAIT ? 0 : -1;
}

/* Packets are sampled as long as there is somebody to look at them. */
static void note_wanted(struct mt_control *c)
{
	bool any = false;
	for (unsigned i = 0; i < CHANNELS; i++)
		any = any || c->channels[i].fd >= 0;
	mt_tap_want(c->tap, any);
}

static void *control_main(void *arg)
{
	struct mt_control *c = arg;
	pthread_setname_np(pthread_self(), "mt-control");
	while (!atomic_load(&c->stop)) {
		struct pollfd fds[2 + CHANNELS] = {{.fd = c->wake_fd, .events = POLLIN},
		                                   {.fd = c->pair_fd, .events = POLLIN}};
		for (unsigned i = 0; i < CHANNELS; i++)
			fds[2 + i] = (struct pollfd){.fd = c->channels[i].fd, .events = POLLIN};
		if (poll(fds, 2 + CHANNELS, -1) < 0)
			continue;
		for (unsigned i = 0; i < CHANNELS; i++)
			if (fds[2 + i].revents && answer(c, &c->channels[i]))
				close_channel(&c->channels[i]);
		if (fds[1].revents)
			add_channel(c);
		note_wanted(c);
	}
	return NULL;
}

int mt_control_answer(struct mt_control *c, struct mt_run *run, struct mt_flow *flow, struct mt_ifaces *ifaces,
                      const char *run_id, struct mt_err *err)
{
	c->run.run = run;
	c->run.run_id = run_id;
	c->run.flow = flow;
	c->run.ifaces = ifaces;
	c->run.tap = c->tap;
	c->run.began_ms = mt_monotonic_ms();
	c->wake_fd = eventfd(0, EFD_CLOEXEC);
	c->runs = c->wake_fd >= 0 && !pthread_create(&c->thread, NULL, control_main, c);
	return c->runs ? 0 : mt_err_set(err, "--control: the thread could not be started");
}

/* --- the hook thread ------------------------------------------------------------------------------------ */

void mt_control_batch(struct mt_control *c, const struct mt_batch *batch)
{
	mt_tap_batch(c->tap, batch);
}

void mt_control_update(struct mt_control *c)
{
	if (!atomic_load_explicit(&c->run.wanted, memory_order_relaxed))
		return;
	json_t *report = mt_report_now(c->run.flow, c->run.ifaces);
	pthread_mutex_lock(&c->run.lock);
	json_t *old = c->run.report;
	c->run.report = report;
	c->run.reported_ms = mt_monotonic_ms();
	atomic_store(&c->run.wanted, false);
	pthread_cond_signal(&c->run.updated);
	pthread_mutex_unlock(&c->run.lock);
	json_decref(old);
}

/* --- the end -------------------------------------------------------------------------------------------- */

void mt_control_stop(struct mt_control *c)
{
	uint64_t one = 1;
	if (!c->runs)
		return;
	mt_tap_end(c->tap);
	atomic_store(&c->stop, true);
	/* the hook thread brings no more numbers: whoever waits for them goes on */
	pthread_mutex_lock(&c->run.lock);
	pthread_cond_broadcast(&c->run.updated);
	pthread_mutex_unlock(&c->run.lock);
	if (write(c->wake_fd, &one, sizeof one) == sizeof one)
		pthread_join(c->thread, NULL);
	c->runs = false;
}

void mt_control_unlink(const struct mt_control *c)
{
	struct stat st;
	/* Unless somebody else's stands there now. */
	if (c->made.st_ino && !lstat(c->path, &st) && st.st_ino == c->made.st_ino &&
	    st.st_dev == c->made.st_dev)
		unlink(c->path);
}

void mt_control_free(struct mt_control *c)
{
	if (!c)
		return;
	mt_control_stop(c);
	for (unsigned i = 0; i < CHANNELS; i++)
		if (c->channels[i].fd >= 0)
			close_channel(&c->channels[i]);
	end_server(c);
	mt_control_unlink(c);
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	mt_tap_free(c->tap);
	json_decref(c->run.report);
	pthread_cond_destroy(&c->run.updated);
	pthread_mutex_destroy(&c->run.lock);
	free(c->path);
	free(c);
}
