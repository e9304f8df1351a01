/* SPDX-License-Identifier: BSD-2-Clause */
#include "publish.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

struct published {
	char *name;
	json_t *value;
	int64_t at_ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all that follows */
static struct published *table;
static size_t n;

/* Under the lock.  The place of a name, made if it is new; NULL: there is no room. */
static struct published *find(const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	if (n == MT_PUBLISH_MOST)
		return NULL;
	if (!table && !(table = calloc(MT_PUBLISH_MOST, sizeof *table)))
		return NULL;
	table[n] = (struct published){.name = strdup(name)};
	return table[n].name ? &table[n++] : NULL;
}

bool mt_publish(const char *name, json_t *value)
{
	pthread_mutex_lock(&lock);
	struct published *p = find(name);
	json_t *old = value;
	if (p && json_is_null(value)) {
		old = p->value;
		free(p->name);
		*p = table[--n];
	} else if (p) {
		old = p->value;
		p->value = value;
		p->at_ms = mt_monotonic_ms();
	}
	pthread_mutex_unlock(&lock);
	json_decref(old); /* which may be large */
	return p != NULL;
}

json_t *mt_published(void)
{
	json_t *all = json_object();
	int64_t now_ms = mt_monotonic_ms();
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < n; i++)
		json_object_set_new(all, table[i].name,
		                    json_pack("{s:O, s:f}", "value", table[i].value, "age_s",
		                              (double)(now_ms - table[i].at_ms) / 1e3));
	pthread_mutex_unlock(&lock);
	return all;
}
