/* SPDX-License-Identifier: BSD-2-Clause */
#include "control_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control_ask.h"
#include "flow.h"
#include "hooks.h"
#include "lines.h"
#include "log.h"
#include "manifest.h"
#include "profile.h"
#include "prompt.h"
#include "script_prompt.h"
#include "stepper.h"
#include "units.h"

enum {
	LINE_BYTES = 1 << 20,    /* of a client's line */
	ANSWER_BYTES = 64 << 20, /* of the capture's */
	ANSWER_MS = 5000,        /* how long the capture may take for it */
	TEXT_BYTES = 1 << 20,    /* printed text that is sent of one command */
	READ_MS = 30000,         /* how long a client may take to read an answer */
	STUCK_S = 10, /* a command that does not even look whether it shall end is ended with the session */
	FILE_BYTES = 1 << 28, /* the longest file: what is printed is one */
	OPEN_MS = 2000        /* how long a client may take to show what it is */
};

struct session {
	const struct mt_control_place *place;
	int fd;
	bool json;
	struct mt_lines in; /* JSON only */
	size_t looked;      /* bytes of it that hold no interruption */
	int printed[2];     /* JSON only: what went to standard output and standard error */
	struct mt_lines capture;
	atomic_bool interrupted, stop;

	bool ready; /* what follows is there */
	struct mt_options options;
	struct mt_ifaces *ifaces;
	struct mt_script *script;
	struct mt_hooks *hooks;
	struct mt_flow *flow;
	struct mt_tap_reader *reader;
	struct mt_stepper *stepper;
	struct mt_stage_clock clock;
	struct mt_script_prompt lua;
};

/* --- a session that hangs ------------------------------------------------------------------------------- */

static struct session *the_session; /* for the signal */

static void on_alarm(int number)
{
	static const char json[] = "{\"ok\": false, \"error\": \"ended: the command did not come back\", "
	                           "\"exit\": true}\n";
	static const char text[] = "ended: the command did not come back\n";
	bool as_json = the_session->json;
	(void)number;
	(void)!send(the_session->fd, as_json ? json : text, as_json ? sizeof json - 1 : sizeof text - 1,
	            MSG_DONTWAIT | MSG_NOSIGNAL);
	_exit(1);
}

/* The command shows that it is alive; 0: it is over. */
static void arm(unsigned seconds)
{
	alarm(seconds);
}

/* --- questions to the capture ----------------------------------------------------------------------------- */

/* Make a channel and send the capture its end. */
static int open_channel(struct session *s)
{
	int pair[2];
	char byte = 'c';
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data,
	                         .msg_iovlen = 1,
	                         .msg_control = control.bytes,
	                         .msg_controllen = sizeof control.bytes};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(part), &pair[1], sizeof(int));
	ssize_t n = sendmsg(s->place->capture_fd, &message, MSG_NOSIGNAL);
	close(pair[1]);
	s->capture = (struct mt_lines){.fd = pair[0], .most = ANSWER_BYTES};
	return n == 1 ? 0 : -1;
}

static json_t *ask(void *ctx, const char *what, json_t *arguments, struct mt_err *err)
{
	struct session *s = ctx;
	json_t *question = arguments ? arguments : json_object();
	json_object_set_new(question, "ask", json_string(what));
	char *text = json_dumps(question, JSON_COMPACT), *line = NULL;
	size_t len = 0;
	json_decref(question);
	if (text && strlen(text) > MT_CONTROL_QUESTION) {
		free(text);
		mt_err_set(err, "%s: longer than the %d bytes that the capture takes", what,
		           MT_CONTROL_QUESTION);
		return NULL;
	}
	int rc = text ? mt_lines_send(s->capture.fd, text, strlen(text), ANSWER_MS) : -1;
	free(text);
	enum mt_line r = rc || mt_lines_send(s->capture.fd, "\n", 1, ANSWER_MS)
	                         ? MT_LINE_END
	                         : mt_lines_wait(&s->capture, &line, &len, ANSWER_MS);
	if (r != MT_LINE_OK) {
		/* what comes later would be taken for the answer to another question */
		mt_err_set(err, r == MT_LINE_WAIT ? "the capture does not answer" : "the capture has ended");
		s->capture.ended = true;
		return NULL;
	}
	json_t *answer = json_loadb(line, len, 0, NULL), *value = json_object_get(answer, "value");
	if (value)
		json_incref(value);
	else
		mt_err_set(err, "%s",
		           answer ? json_string_value(json_object_get(answer, "error")) : "no answer");
	json_decref(answer);
	return value;
}

/* Interfaces come into our table in the capture's order, so that they have the same numbers. */
static bool know(void *ctx, uint32_t iface)
{
	struct session *s = ctx;
	struct mt_err err;
	size_t i;
	json_t *o;
	if (iface < mt_ifaces_count(s->ifaces))
		return true;
	json_t *list = ask(s, "interfaces", NULL, &err);
	json_array_foreach(list, i, o)
	{
		if (i < mt_ifaces_count(s->ifaces))
			continue;
		uint32_t group = mt_ifaces_group(s->ifaces, json_string_value(json_object_get(o, "source")));
		mt_ifaces_add(s->ifaces, group, (uint32_t)json_integer_value(json_object_get(o, "number")),
		              (uint16_t)json_integer_value(json_object_get(o, "linktype")),
		              (uint32_t)json_integer_value(json_object_get(o, "snaplen")),
		              json_string_value(json_object_get(o, "name")),
		              json_string_value(json_object_get(o, "description")));
	}
	json_decref(list);
	return iface < mt_ifaces_count(s->ifaces);
}

/* What the prompt knows as its counters: those of the capture. */
static json_t *report(void *ctx)
{
	struct mt_err err;
	json_t *totals = ask(ctx, "report", NULL, &err);
	if (!totals)
		return json_pack("{s:{}, s:[], s:s}", "totals", "sources", "why", err.text);
	json_t *sources = json_incref(json_object_get(totals, "sources"));
	return json_pack("{s:o, s:o}", "totals", totals, "sources", sources);
}

/* --- interruptions ------------------------------------------------------------------------------------------
 */

/* A line that asks for an end becomes blank. */
static bool find_interruption(struct session *s)
{
	struct mt_lines *in = &s->in;
	bool found = false;
	for (char *end; (end = memchr(in->bytes + s->looked, '\n', in->n - s->looked));) {
		char *line = in->bytes + s->looked;
		size_t len = (size_t)(end - line);
		json_t *o = memmem(line, len, "\"interrupt\"", 11) ? json_loadb(line, len, 0, NULL) : NULL;
		if (json_object_get(o, "interrupt")) {
			memset(line, ' ', len);
			found = true;
		}
		json_decref(o);
		s->looked += len + 1;
	}
	return found;
}

static bool interrupted(void *ctx)
{
	struct session *s = ctx;
	struct pollfd state = {.fd = s->fd, .events = POLLIN};
	arm(STUCK_S);
	if (poll(&state, 1, 0) <= 0)
		return false;
	if (state.revents & (POLLHUP | POLLERR)) /* nobody is there any more */
		_exit(0);
	if (!s->json)
		return false;
	mt_lines_fill(&s->in);
	return find_interruption(s);
}

/* --- Lua ----------------------------------------------------------------------------------------------------
 */

/* The options of a prompt beside the capture: its own, but for what the capture writes and runs. */
static void set_options(struct session *s)
{
	const struct mt_options *from = s->place->options;
	s->options = *from;
	s->options.repl = s->options.any_live = true;
	s->options.sources = NULL;
	s->options.scripts = NULL;
	s->options.named = NULL;
	s->options.texts = NULL;
	s->options.n_sources = s->options.n_scripts = s->options.n_named = s->options.n_texts = 0;
	s->options.has_output = s->options.has_format = s->options.has_codec = false;
	s->options.json = s->options.print = s->options.profile = s->options.overwrite = false;
	s->options.pre_ns = 0;
	s->options.control = NULL;
	s->options.script_timeout_ms = 0;
	s->options.on_script_error = MT_RULE_DEFAULT;
	s->options.output.on_full = MT_FULL_STOP;
}

static int open_lua(struct session *s, struct mt_err *err)
{
	set_options(s);
	s->ifaces = mt_ifaces_new();
	s->script = s->ifaces ? mt_script_new(&s->options, s->ifaces, err) : NULL;
	if (!s->script || mt_script_load(s->script, NULL, err) < 0)
		return -1;
	s->hooks = mt_hooks_new(s->script, s->ifaces, 0, &s->stop);
	s->flow = s->hooks ? mt_flow_new(&s->options, s->ifaces, s->script, s->hooks) : NULL;
	s->reader = mt_tap_reader_new(s->place->tap, know, s);
	if (!s->flow || !s->reader)
		return mt_err_set(err, "out of memory");
	json_t *sources = json_array();
	int status = mt_flow_start(s->flow, sources);
	json_decref(sources);
	if (status)
		return mt_err_set(err, "the scripts could not be started");
	s->stepper =
	        mt_stepper_new(mt_tap_supply(s->reader), s->ifaces, &s->options, mt_flow_counts(s->flow), err);
	if (!s->stepper)
		return -1;
	s->lua.script = s->script;
	s->lua.stepper = s->stepper;
	s->lua.report = report;
	s->lua.interrupted = interrupted;
	s->lua.ask = ask;
	s->lua.ctx = s;
	s->lua.clock = &s->clock;
	s->lua.live = true;
	return mt_script_prompt_begin(&s->lua) ? mt_err_set(err, "the prompt could not be started") : 0;
}

static enum mt_prompt_result run(struct session *s, const char *text)
{
	arm(STUCK_S);
	enum mt_prompt_result r = mt_script_prompt_line(&s->lua, text);
	arm(0);
	return r;
}

/* --- text
 * ------------------------------------------------------------------------------------------------------ */

static enum mt_prompt_result run_text(void *ctx, const char *text)
{
	return run(ctx, text);
}

static void serve_text(struct session *s)
{
	struct mt_err err;
	struct mt_prompt prompt = {.calls = {.run = run_text, .ctx = s},
	                           .name = "",
	                           .wake_fd = -1,
	                           .interrupted = &s->interrupted,
	                           .stop = &s->stop};
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(s->fd, fd);
	if (open_lua(s, &err)) {
		mt_log_error("%s", err.text);
		return;
	}
	mt_prompt_session(&prompt);
	fflush(stdout);
}

/* --- JSON
 * ------------------------------------------------------------------------------------------------------ */

/* What is printed goes to files in memory, and from there into the answer. */
static int catch_output(struct session *s)
{
	for (int i = 0; i < 2; i++) {
		s->printed[i] = memfd_create("moontap-printed", MFD_CLOEXEC);
		if (s->printed[i] < 0 || fcntl(s->printed[i], F_SETFL, O_APPEND) ||
		    dup2(s->printed[i], STDOUT_FILENO + i) < 0)
			return -1;
	}
	return 0;
}

/* What was printed, and forget it. */
static json_t *caught(struct session *s, int i)
{
	struct stat st;
	fflush(i ? stderr : stdout);
	size_t len = fstat(s->printed[i], &st) ? 0 : (size_t)st.st_size,
	       most = len < TEXT_BYTES ? len : TEXT_BYTES;
	char *text = malloc(most + 64);
	ssize_t n = text ? pread(s->printed[i], text, most, 0) : 0;
	for (ssize_t k = 0; k < n; k++)
		if (!text[k]) /* text ends there for JSON */
			text[k] = '.';
	if (text)
		text[n > 0 ? n : 0] = '\0';
	if (len > most && text)
		snprintf(text + most, 64, "\n… (%zu bytes in all)\n", len);
	json_t *o = mt_json_text(text ? text : "");
	free(text);
	if (ftruncate(s->printed[i], 0))
		_exit(1);
	return o;
}

static void set_text(json_t *answer, const char *key, json_t *text)
{
	if (*json_string_value(text))
		json_object_set(answer, key, text);
	json_decref(text);
}

static json_t *answer_run(struct session *s, const char *text, bool value)
{
	json_t *answer = json_object();
	enum mt_prompt_result r = run(s, text);
	json_object_set_new(answer, "ok", json_boolean(r == MT_PROMPT_DONE || r == MT_PROMPT_EXIT));
	set_text(answer, "output", caught(s, 0));
	set_text(answer, "error", caught(s, 1));
	if (r == MT_PROMPT_MORE)
		json_object_set_new(answer, "more", json_true());
	if (r == MT_PROMPT_INTERRUPTED)
		json_object_set_new(answer, "interrupted", json_true());
	if (r == MT_PROMPT_EXIT)
		json_object_set_new(answer, "exit", json_true());
	arm(STUCK_S);
	json_t *v = value && r == MT_PROMPT_DONE ? mt_script_prompt_value(&s->lua) : NULL;
	arm(0);
	if (v && !json_is_null(v))
		json_object_set(answer, "value", v);
	json_decref(v);
	return answer;
}

static json_t *answer_complete(struct session *s, const char *text)
{
	size_t word = 0;
	json_t *names = json_array();
	arm(STUCK_S);
	char **list = mt_script_prompt_complete(&s->lua, text, &word);
	arm(0);
	for (size_t i = 0; list && list[i]; i++) {
		json_array_append_new(names, mt_json_text(list[i]));
		free(list[i]);
	}
	free(list);
	return json_pack("{s:b, s:o, s:I}", "ok", 1, "names", names, "word", (json_int_t)word);
}

static json_t *fail(const char *why)
{
	return json_pack("{s:b, s:o}", "ok", 0, "error", mt_json_text(why));
}

static json_t *answer_hello(struct session *s, const json_t *o)
{
	if (!s->ready) {
		s->lua.colours = json_is_true(json_object_get(o, "colours"));
		if (json_is_true(json_object_get(o, "utf8")))
			setenv("LC_ALL", "C.UTF-8", 1);
	}
	return json_pack("{s:b, s:s, s:i}", "ok", 1, "version", MT_VERSION, "pid", (int)getppid());
}

/* NULL: there is none to give. */
static json_t *answer(struct session *s, const json_t *o)
{
	static const char expected[] = "expected a JSON object with run, complete, hello or interrupt";
	const char *text = json_string_value(json_object_get(o, "run"));
	const char *complete = json_string_value(json_object_get(o, "complete"));
	struct mt_err err = {{0}};
	if (json_object_get(o, "interrupt"))
		return NULL; /* nothing runs */
	if (json_object_get(o, "hello"))
		return answer_hello(s, o);
	if (!text && !complete)
		return fail(expected);
	if (!s->ready && open_lua(s, &err))
		return fail(err.text);
	s->ready = true;
	return text ? answer_run(s, text, !json_is_false(json_object_get(o, "value")))
	            : answer_complete(s, complete);
}

static int send_answer(struct session *s, json_t *o, const json_t *question)
{
	json_t *id = json_object_get(question, "id");
	if (id)
		json_object_set(o, "id", id);
	char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	int rc = text ? mt_lines_send(s->fd, text, strlen(text), READ_MS) : -1;
	free(text);
	return rc || mt_lines_send(s->fd, "\n", 1, READ_MS);
}

static void serve_json(struct session *s)
{
	char *line;
	size_t len;
	s->in = (struct mt_lines){.fd = s->fd, .most = LINE_BYTES};
	if (catch_output(s))
		return;
	for (;;) {
		enum mt_line r = mt_lines_wait(&s->in, &line, &len, -1);
		s->looked = s->in.taken;
		if (r == MT_LINE_TOO_LONG)
			send_answer(s, fail("a line longer than 1 MiB is refused"), NULL);
		if (r != MT_LINE_OK)
			return;
		if (!line[strspn(line, " \t\r")] && strlen(line) == len)
			continue;
		json_error_t why;
		json_t *question = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
		json_t *o = question ? answer(s, question) : fail(why.text);
		bool exits = json_is_true(json_object_get(o, "exit"));
		int rc = o ? send_answer(s, o, question) : 0;
		json_decref(question);
		if (rc || exits)
			return;
	}
}

/* --- what the client is
 * ---------------------------------------------------------------------------------------- */

static bool is_text(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if ((c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
			return false;
	}
	return true;
}

/* Look at its first bytes.  '{', 't' for text, 0: neither. */
static char look_at_first(int fd)
{
	char bytes[512];
	int64_t until_ms = mt_monotonic_ms() + OPEN_MS;
	for (;;) {
		ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
		size_t blank = 0;
		while (n > 0 && blank < (size_t)n && strchr(" \t\r\n", bytes[blank]) && bytes[blank])
			blank++;
		if (n > 0 && !is_text(bytes, (size_t)n))
			return 0;
		if (n > 0 && blank < (size_t)n)
			return bytes[blank] == '{' ? '{' : 't';
		if (n == 0 || blank == sizeof bytes || mt_monotonic_ms() > until_ms)
			return 't';
		poll(NULL, 0, 5); /* blanks only: the rest is on its way */
	}
}

static void limit(void)
{
	struct rlimit files = {FILE_BYTES, FILE_BYTES}, none = {0, 0};
	setrlimit(RLIMIT_FSIZE, &files);
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGALRM, on_alarm);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "1000", 4); /* when memory is short, not the capture goes */
		close(fd);
	}
}

_Noreturn void mt_control_session(const struct mt_control_place *place, int fd)
{
	static const char refusal[] = "refused: this is no text\n";
	struct session s = {.place = place, .fd = fd};
	the_session = &s;
	limit();
	char kind = look_at_first(fd);
	s.json = kind == '{';
	if (kind && open_channel(&s))
		mt_lines_send(fd, "the capture does not answer\n", 28, READ_MS);
	else if (!kind)
		mt_lines_send(fd, refusal, sizeof refusal - 1, READ_MS);
	else if (s.json)
		serve_json(&s);
	else
		serve_text(&s);
	_exit(0);
}
