/* SPDX-License-Identifier: BSD-2-Clause */
#include "attach.h"

#include <errno.h>
#include <jansson.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "err.h"
#include "lines.h"
#include "log.h"
#include "prompt.h"

enum { ANSWER_BYTES = 64 << 20, SEND_MS = 10000 };

struct attachment {
	const char *path;
	struct mt_lines in;
	int wake_fd;
	atomic_bool *interrupted;
	const atomic_bool *stop;
	bool lost; /* the other side is gone */
};

static int connect_to(const char *path, struct mt_err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		return mt_err_set(err, "%s: the path of a socket can have %zu characters at most", path,
		                  sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address))
		return fd;
	int why = errno;
	if (fd >= 0)
		close(fd);
	return mt_err_set(err, "--attach %s: %s%s", path, strerror(why),
	                  why == ECONNREFUSED ? ": no capture listens there" : "");
}

static int send_object(struct attachment *a, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	int rc = text ? mt_lines_send(a->in.fd, text, strlen(text), SEND_MS) : -1;
	free(text);
	return rc || mt_lines_send(a->in.fd, "\n", 1, SEND_MS) ? -1 : 0;
}

/* The answer to what was sent, or NULL: the other side is gone, or the session is to end.  Ctrl-C asks for an
 * end of what runs there. */
static json_t *wait_for_answer(struct attachment *a)
{
	struct pollfd fds[2] = {{.fd = a->in.fd, .events = POLLIN}, {.fd = a->wake_fd, .events = POLLIN}};
	char *line;
	size_t len;
	for (;;) {
		mt_lines_fill(&a->in);
		enum mt_line r = mt_lines_take(&a->in, &line, &len);
		if (r == MT_LINE_OK)
			return json_loadb(line, len, 0, NULL);
		if (r != MT_LINE_WAIT || atomic_load(a->stop))
			return NULL;
		if (atomic_exchange(a->interrupted, false) &&
		    send_object(a, json_pack("{s:b}", "interrupt", 1)))
			return NULL;
		uint64_t count;
		if (poll(fds, 2, -1) > 0 && fds[1].revents && read(a->wake_fd, &count, sizeof count) < 0)
			continue;
	}
}

static json_t *ask(struct attachment *a, json_t *question)
{
	if (a->lost) {
		json_decref(question);
		return NULL;
	}
	json_t *answer = send_object(a, question) ? NULL : wait_for_answer(a);
	if (!answer && !atomic_load(a->stop)) {
		a->lost = true;
		fflush(stdout);
		mt_log_error("%s: the connection has ended, as the capture has, presumably", a->path);
	}
	return answer;
}

static void put(FILE *out, const char *text, bool red)
{
	if (!text || !*text)
		return;
	fputs(red ? "\33[31m" : "", out);
	fputs(text, out);
	fputs(red ? "\33[0m" : "", out);
	fflush(out);
}

static bool is_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static enum mt_prompt_result run(void *ctx, const char *text)
{
	struct attachment *a = ctx;
	json_t *o = ask(a, json_pack("{s:s, s:b}", "run", text, "value", 0));
	if (!o)
		return MT_PROMPT_EXIT;
	put(stdout, json_string_value(json_object_get(o, "output")), false);
	const char *why = json_string_value(json_object_get(o, "error"));
	put(stderr, why, mt_prompt_colours(STDERR_FILENO));
	if (why && *why && why[strlen(why) - 1] != '\n')
		fputc('\n', stderr);
	enum mt_prompt_result r = is_true(o, "exit")          ? MT_PROMPT_EXIT
	                          : is_true(o, "more")        ? MT_PROMPT_MORE
	                          : is_true(o, "interrupted") ? MT_PROMPT_INTERRUPTED
	                          : is_true(o, "ok")          ? MT_PROMPT_DONE
	                                                      : MT_PROMPT_FAILED;
	a->lost = a->lost || (r == MT_PROMPT_EXIT && !is_true(o, "ok"));
	json_decref(o);
	return r;
}

static char **complete(void *ctx, const char *text, size_t *word)
{
	json_t *o = ask(ctx, json_pack("{s:s}", "complete", text)), *names = json_object_get(o, "names");
	size_t n = json_array_size(names);
	char **list = calloc(n + 1, sizeof *list);
	for (size_t i = 0; list && i < n; i++)
		if (!(list[i] = strdup(json_string_value(json_array_get(names, i)))))
			break;
	*word = (size_t)json_integer_value(json_object_get(o, "word"));
	json_decref(o);
	return list;
}

static bool is_utf8(void)
{
	return setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* Say hello.  0, or -1 with err. */
static int greet(struct attachment *a, bool quiet, bool colours, struct mt_err *err)
{
	char *line = NULL;
	size_t len = 0;
	json_t *hello = json_pack("{s:b, s:b, s:b}", "hello", 1, "colours", colours, "utf8", is_utf8());
	enum mt_line r = send_object(a, hello) ? MT_LINE_END : mt_lines_wait(&a->in, &line, &len, SEND_MS);
	json_t *o = r == MT_LINE_OK ? json_loadb(line, len, 0, NULL) : NULL;
	if (!o || !is_true(o, "ok")) {
		mt_err_set(err, "--attach %s: %s", a->path,
		           r == MT_LINE_OK     ? line
		           : r == MT_LINE_WAIT ? "it does not answer"
		                               : "it has closed the connection");
		json_decref(o);
		return -1;
	}
	if (mt_prompt_interactive() && !quiet)
		printf("attached to moontap %s, process %lld; help() says what there is, Ctrl-D ends\n",
		       json_string_value(json_object_get(o, "version")),
		       (long long)json_integer_value(json_object_get(o, "pid")));
	json_decref(o);
	return 0;
}

int mt_attach(const char *path, bool quiet, int wake_fd, atomic_bool *interrupted, const atomic_bool *stop)
{
	bool colours = mt_prompt_colours(STDOUT_FILENO);
	struct mt_err err;
	struct attachment a = {.path = path,
	                       .in = {.fd = connect_to(path, &err), .most = ANSWER_BYTES},
	                       .wake_fd = wake_fd,
	                       .interrupted = interrupted,
	                       .stop = stop};
	if (a.in.fd < 0 || greet(&a, quiet, colours, &err)) {
		mt_log_error("%s", err.text);
		if (a.in.fd >= 0)
			close(a.in.fd);
		mt_lines_clear(&a.in);
		return MT_STATUS_USAGE;
	}
	struct mt_prompt prompt = {.calls = {.run = run, .complete = complete, .ctx = &a},
	                           .name = "moontap> ",
	                           .wake_fd = wake_fd,
	                           .interrupted = interrupted,
	                           .stop = stop,
	                           .colours = colours};
	unsigned failed = mt_prompt_session(&prompt);
	close(a.in.fd);
	mt_lines_clear(&a.in);
	if (a.lost)
		return MT_STATUS_SOURCE;
	return failed && !mt_prompt_interactive() ? MT_STATUS_SCRIPT : MT_STATUS_OK;
}
