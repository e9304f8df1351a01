/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * prompt.h - lines from a terminal or a pipe, one after the other, to somebody who runs them.
 *
 * On a terminal with libedit: editing, history across sessions, completion.  Its library is loaded when it is
 * wanted; a terminal without it gives plain lines.  Knows nothing of what the lines mean.
 */
#ifndef MT_PROMPT_H
#define MT_PROMPT_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum mt_prompt_result {
	MT_PROMPT_DONE,
	MT_PROMPT_FAILED,      /* it was said why */
	MT_PROMPT_INTERRUPTED, /* the same, by the user */
	MT_PROMPT_MORE,        /* the text goes on in the next line */
	MT_PROMPT_EXIT         /* the session ends */
};

struct mt_prompt_calls {
	/* Run a text of one line, or of several when those before were not complete; print what comes of it. */
	enum mt_prompt_result (*run)(void *ctx, const char *text);
	/* What could stand in place of the last *word bytes of a text: an array that ends with NULL, all of it
	 * the caller's; NULL: nothing.  May be NULL. */
	char **(*complete)(void *ctx, const char *text, size_t *word);
	void *ctx;
};

struct mt_prompt {
	struct mt_prompt_calls calls;
	const char *name;         /* what stands before a line: "moontap> " */
	int wake_fd;              /* becomes readable when `interrupted` or `stop` was set; -1: never */
	atomic_bool *interrupted; /* Ctrl-C: the line that is being edited is thrown away */
	const atomic_bool *stop;  /* the session ends */
	bool colours;             /* on standard output */
};

/* Are there colours on a descriptor: a terminal that is not dumb, and no NO_COLOR? */
bool mt_prompt_colours(int fd);
/* Is standard input a terminal? */
bool mt_prompt_interactive(void);
/* Read standard input to its end.  Returns how many texts failed. */
unsigned mt_prompt_session(const struct mt_prompt *p);

#endif
