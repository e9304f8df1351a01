/* SPDX-License-Identifier: BSD-2-Clause */
#include "member_check.h"

#include <isa-l/crc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mark {
	uint64_t at;
	uint32_t crc;
	bool end;
};

struct mt_member_check {
	pthread_mutex_t lock; /* of the marks */
	struct mark *marks;   /* not reached yet, oldest first */
	size_t n, size;
	_Atomic size_t waiting; /* n, for a look without the lock */

	/* the reading thread's */
	uint64_t pos;
	uint32_t crc;
	bool sums;
};

struct mt_member_check *mt_member_check_new(void)
{
	struct mt_member_check *c = calloc(1, sizeof *c);
	if (c)
		pthread_mutex_init(&c->lock, NULL);
	return c;
}

void mt_member_check_free(struct mt_member_check *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c->marks);
	free(c);
}

static int add(struct mt_member_check *c, struct mark mark)
{
	int rc = 0;
	pthread_mutex_lock(&c->lock);
	if (c->n == c->size) {
		struct mark *marks = realloc(c->marks, (2 * c->size + 16) * sizeof *marks);
		if (marks) {
			c->marks = marks;
			c->size = 2 * c->size + 16;
		}
		rc = marks ? 0 : -1;
	}
	if (!rc)
		c->marks[c->n++] = mark;
	atomic_store(&c->waiting, c->n);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mt_member_check_begin(struct mt_member_check *c, uint64_t at, uint32_t crc)
{
	return add(c, (struct mark){at, crc, false});
}

int mt_member_check_end(struct mt_member_check *c, uint64_t at, uint32_t crc)
{
	return add(c, (struct mark){at, crc, true});
}

static bool peek(struct mt_member_check *c, struct mark *mark)
{
	if (!atomic_load(&c->waiting))
		return false;
	pthread_mutex_lock(&c->lock);
	*mark = c->marks[0];
	pthread_mutex_unlock(&c->lock);
	return true;
}

static void drop_first(struct mt_member_check *c)
{
	pthread_mutex_lock(&c->lock);
	memmove(c->marks, c->marks + 1, --c->n * sizeof *c->marks);
	atomic_store(&c->waiting, c->n);
	pthread_mutex_unlock(&c->lock);
}

size_t mt_member_check_pass(struct mt_member_check *c, const uint8_t *bytes, size_t n, bool *wrong)
{
	size_t done = 0;
	for (;;) {
		struct mark mark;
		bool marked = peek(c, &mark);
		size_t part = n - done;
		if (marked && mark.at - c->pos < part)
			part = (size_t)(mark.at - c->pos);
		if (c->sums && part)
			c->crc = crc32_gzip_refl(c->crc, bytes + done, part);
		done += part;
		c->pos += part;
		if (!marked || mark.at != c->pos)
			return done;
		drop_first(c);
		*wrong = mark.end && c->sums && c->crc != mark.crc;
		c->sums = !mark.end;
		c->crc = mark.crc;
		if (*wrong)
			return done;
	}
}
