/* SPDX-License-Identifier: BSD-2-Clause */
#include "prompt.h"

#include <errno.h>
#include <histedit.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "err.h"
#include "library.h"
#include "log.h"
#include "part.h"

enum {
	HISTORY_LINES = 2000,
	TEXT_BYTES = 1 << 20, /* the longest text that lines are put together to */
	MANY_NAMES = 200      /* more completions are not listed */
};

/* The library and what it needs would make every start slower: it is loaded when it is wanted. */
#define LIBRARY "libedit.so.2"
static struct {
	__typeof__(&el_init) init;
	__typeof__(&el_end) end;
	__typeof__(&el_set) set;
	__typeof__(&el_gets) gets;
	__typeof__(&el_reset) reset;
	__typeof__(&el_line) line;
	__typeof__(&el_insertstr) insertstr;
	__typeof__(&el_source) source;
	__typeof__(&history_init) history_init;
	__typeof__(&history_end) history_end;
	__typeof__(&history) history;
} edit;

struct session {
	const struct mt_prompt *prompt;
	EditLine *el;
	History *history;
	char *history_path;
	bool more;      /* the text goes on */
	bool abandoned; /* the line was, by Ctrl-C */
	char *line;     /* plain ones; owned */
	size_t size;
	bool to_stderr; /* the line is edited there, as standard output is no terminal */
};

static bool load(void)
{
	void *library = mt_library_load(LIBRARY);
	return library && mt_library_find(library, "el_init", &edit.init) &&
	       mt_library_find(library, "el_end", &edit.end) && mt_library_find(library, "el_set", &edit.set) &&
	       mt_library_find(library, "el_gets", &edit.gets) &&
	       mt_library_find(library, "el_reset", &edit.reset) &&
	       mt_library_find(library, "el_line", &edit.line) &&
	       mt_library_find(library, "el_insertstr", &edit.insertstr) &&
	       mt_library_find(library, "el_source", &edit.source) &&
	       mt_library_find(library, "history_init", &edit.history_init) &&
	       mt_library_find(library, "history_end", &edit.history_end) &&
	       mt_library_find(library, "history", &edit.history);
}

bool mt_prompt_colours(int fd)
{
	const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
	return isatty(fd) && term && *term && strcmp(term, "dumb") != 0 && !(none && *none);
}

bool mt_prompt_interactive(void)
{
	return isatty(STDIN_FILENO);
}

/* --- history ----------------------------------------------------------------------------- */

/* $XDG_STATE_HOME/moontap/history, its folder made; NULL: there is no place for it. */
static char *history_path(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char path[PATH_MAX];
	struct mt_err err;
	int n = -1;
	if (state && *state == '/')
		n = snprintf(path, sizeof path, "%s/moontap", state);
	else if (home && *home == '/')
		n = snprintf(path, sizeof path, "%s/.local/state/moontap", home);
	if (n < 0 || (size_t)n + sizeof "/history" > sizeof path || mt_make_folders(path, &err))
		return NULL;
	strcat(path, "/history");
	return strdup(path);
}

static void open_history(struct session *s)
{
	HistEvent event;
	s->history = edit.history_init();
	if (!s->history)
		return;
	edit.history(s->history, &event, H_SETSIZE, HISTORY_LINES);
	edit.history(s->history, &event, H_SETUNIQUE, 1);
	s->history_path = history_path();
	if (s->history_path)
		edit.history(s->history, &event, H_LOAD, s->history_path);
	edit.set(s->el, EL_HIST, edit.history, s->history);
}

static void remember(struct session *s, const char *line)
{
	HistEvent event;
	if (!s->history || line[strspn(line, " \t\n")] == '\0')
		return;
	edit.history(s->history, &event, H_ENTER, line);
	mode_t before = umask(077);
	if (s->history_path)
		edit.history(s->history, &event, H_SAVE, s->history_path);
	umask(before);
}

/* --- editing ------------------------------------------------------------------------------- */

/* libedit's callbacks get the editor only, and there is one terminal. */
static struct session *the_session;

static char *prompt_text(EditLine *el)
{
	static char text[64];
	const struct session *s = the_session;
	(void)el;
	const char *name = s->more ? "      .. " : s->prompt->name;
	if (s->prompt->colours)
		snprintf(text, sizeof text, "\1\33[1;36m\1%s\1\33[0m\1", name);
	else
		snprintf(text, sizeof text, "%s", name);
	return text;
}

static void drain(int fd)
{
	uint64_t n;
	if (read(fd, &n, sizeof n) < 0)
		return;
}

/* One byte of the terminal; 0 at its end; -1: the line is to be left. */
static int read_byte(struct session *s, char *byte)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
	                        {.fd = s->prompt->wake_fd, .events = POLLIN}};
	for (;;) {
		if (atomic_load(s->prompt->stop))
			return -1;
		if (atomic_exchange(s->prompt->interrupted, false)) {
			s->abandoned = true;
			return -1;
		}
		int ready = poll(fds, 2, -1);
		if (ready < 0 && errno != EINTR)
			return -1;
		if (ready > 0 && fds[1].revents)
			drain(fds[1].fd);
		if (ready <= 0 || !fds[0].revents)
			continue;
		ssize_t n = read(STDIN_FILENO, byte, 1);
		if (n >= 0 || errno != EINTR)
			return n < 0 ? -1 : (int)n;
	}
}

static int read_character(EditLine *el, wchar_t *out)
{
	mbstate_t state = {0};
	(void)el;
	for (;;) {
		char byte;
		int n = read_byte(the_session, &byte);
		if (n <= 0)
			return n;
		size_t used = mbrtowc(out, &byte, 1, &state);
		if (used == (size_t)-1) { /* no text in this locale: as it is */
			*out = (unsigned char)byte;
			return 1;
		}
		if (used != (size_t)-2)
			return 1;
	}
}

static size_t common_prefix(char **names)
{
	size_t n = strlen(names[0]);
	for (size_t i = 1; names[i]; i++)
		for (size_t k = 0; k < n; k++)
			if (names[i][k] != names[0][k])
				n = k;
	return n;
}

static void list_names(FILE *out, char **names)
{
	struct winsize size = {0};
	size_t longest = 0, n = 0;
	for (; names[n]; n++)
		longest = strlen(names[n]) > longest ? strlen(names[n]) : longest;
	unsigned width = ioctl(STDIN_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
	size_t columns = width / (longest + 2) ? width / (longest + 2) : 1;
	size_t rows = (n + columns - 1) / columns;
	fputc('\n', out);
	if (n > MANY_NAMES) {
		fprintf(out, "%zu names\n", n);
		return;
	}
	for (size_t row = 0; row < rows; row++) {
		for (size_t at = row; at < n; at += rows)
			fprintf(out, at + rows < n ? "%-*s" : "%*.0s%s", (int)longest + 2, names[at],
			        names[at]);
		fputc('\n', out);
	}
	fflush(out);
}

static unsigned char complete(EditLine *el, int key)
{
	struct session *s = the_session;
	const struct mt_prompt_calls *calls = &s->prompt->calls;
	const LineInfo *line = edit.line(el);
	size_t word = 0;
	(void)key;
	char *text = strndup(line->buffer, (size_t)(line->cursor - line->buffer));
	char **names = text && calls->complete ? calls->complete(calls->ctx, text, &word) : NULL;
	unsigned char result = CC_ERROR;
	if (names && names[0]) {
		size_t prefix = common_prefix(names);
		if (prefix > word) {
			names[0][prefix] = names[1] ? '\0' : names[0][prefix];
			result = edit.insertstr(el, names[0] + word) ? CC_ERROR : CC_REFRESH;
		} else if (names[1]) {
			list_names(s->to_stderr ? stderr : stdout, names);
			result = CC_REDISPLAY;
		}
	}
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
	free(text);
	return result;
}

static bool open_editor(struct session *s)
{
	if (!load()) {
		mt_log_warn("line editing needs the library %s: %s", LIBRARY, dlerror());
		return false;
	}
	if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
	the_session = s;
	s->to_stderr = !isatty(STDOUT_FILENO);
	s->el = edit.init("moontap", stdin, s->to_stderr ? stderr : stdout, stderr);
	if (!s->el)
		return false;
	edit.set(s->el, EL_SIGNAL, 1);
	edit.set(s->el, EL_EDITOR, "emacs");
	edit.set(s->el, EL_PROMPT_ESC, prompt_text, '\1');
	edit.set(s->el, EL_GETCFN, read_character);
	edit.set(s->el, EL_ADDFN, "moontap-complete", "complete a name", complete);
	edit.set(s->el, EL_BIND, "^I", "moontap-complete", NULL);
	edit.set(s->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	edit.source(s->el, NULL); /* ~/.editrc */
	open_history(s);
	return true;
}

/* A line from the terminal, with its newline; NULL: the end.  Valid until the next call. */
static const char *edited_line(struct session *s)
{
	int n;
	s->abandoned = false;
	const char *line = edit.gets(s->el, &n);
	if (s->abandoned) {
		edit.reset(s->el);
		fputs("^C\n", s->to_stderr ? stderr : stdout);
		return "";
	}
	return line && n > 0 ? line : NULL;
}

static void close_editor(struct session *s)
{
	if (s->el)
		edit.end(s->el);
	if (s->history)
		edit.history_end(s->history);
	free(s->history_path);
	the_session = NULL;
}

/* A line without an editor, with its newline but at the end of the input; NULL: the end, or Ctrl-C.  Byte by
 * byte, so that a signal ends the wait. */
static const char *plain_line(struct session *s)
{
	size_t n = 0;
	char byte = '\0';
	int r;
	while (byte != '\n' && (r = read_byte(s, &byte)) > 0) {
		if (n + 2 > s->size) {
			char *line = realloc(s->line, 2 * s->size + 256);
			if (!line)
				return NULL;
			s->line = line;
			s->size = 2 * s->size + 256;
		}
		s->line[n++] = byte ? byte : '\1'; /* no text has a zero byte: that Lua refuses, by its line */
	}
	if (!n || atomic_load(s->prompt->stop) || s->abandoned)
		return NULL;
	s->line[n] = '\0';
	return s->line;
}

/* --- the session --------------------------------------------------------------------------- */

/* The text so far: lines that belong together. */
struct text {
	char *bytes;
	size_t len;
};

static int add_line(struct text *t, const char *line)
{
	size_t n = strlen(line);
	if (t->len + n + 2 > TEXT_BYTES)
		return -1;
	char *bytes = realloc(t->bytes, t->len + n + 2);
	if (!bytes)
		return -1;
	t->bytes = bytes;
	if (t->len)
		t->bytes[t->len++] = '\n';
	memcpy(t->bytes + t->len, line, n + 1);
	t->len += n;
	while (t->len && (t->bytes[t->len - 1] == '\n' || t->bytes[t->len - 1] == '\r'))
		t->bytes[--t->len] = '\0';
	return 0;
}

static bool is_blank(const char *line)
{
	return line[strspn(line, " \t\r\n")] == '\0';
}

/* An empty line, or the end, behind a text that is not complete: that is its error. */
static void say_incomplete(void)
{
	fflush(stdout);
	fprintf(stderr, "the text is not complete: it was thrown away\n");
}

unsigned mt_prompt_session(const struct mt_prompt *p)
{
	struct session s = {.prompt = p};
	struct text text = {NULL, 0};
	unsigned failed = 0;
	bool edits = mt_prompt_interactive() && open_editor(&s);
	while (!atomic_load(p->stop)) {
		const char *line = edits ? edited_line(&s) : plain_line(&s);
		if (!line)
			break;
		if (edits)
			remember(&s, line);
		if (s.abandoned || (s.more && is_blank(line))) {
			if (!s.abandoned) {
				say_incomplete();
				failed++;
			}
			text.len = 0;
			s.more = false;
			continue;
		}
		if (!s.more)
			text.len = 0;
		if (add_line(&text, line)) {
			fprintf(stderr, "the text is longer than %d bytes: it was thrown away\n", TEXT_BYTES);
			failed++;
			s.more = false;
			continue;
		}
		enum mt_prompt_result r = p->calls.run(p->calls.ctx, text.bytes);
		s.more = r == MT_PROMPT_MORE;
		failed += r == MT_PROMPT_FAILED || r == MT_PROMPT_INTERRUPTED;
		if (r == MT_PROMPT_EXIT)
			break;
	}
	if (s.more) {
		say_incomplete();
		failed++;
	}
	if (edits && !atomic_load(p->stop))
		fputc('\n', s.to_stderr ? stderr : stdout);
	close_editor(&s);
	free(text.bytes);
	free(s.line);
	return failed;
}
