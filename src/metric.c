/* SPDX-License-Identifier: BSD-2-Clause */
#include "metric.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mt_metric *first;
static unsigned n_metrics;

static bool same(const struct mt_metric *m, const char *name, const char *labels)
{
	return strcmp(m->name, name) == 0 && (!labels || strcmp(m->labels, labels) == 0);
}

/* Behind the last of its name, so that those stay together. */
static struct mt_metric *insert(uint32_t kind, const char *name, const char *help, const char *labels)
{
	struct mt_metric **at = &first, *m = calloc(1, sizeof *m);
	char *texts[] = {strdup(name), strdup(help), strdup(labels)};
	if (!m || !texts[0] || !texts[1] || !texts[2]) {
		free(texts[0]);
		free(texts[1]);
		free(texts[2]);
		free(m);
		return NULL;
	}
	*m = (struct mt_metric){.kind = kind, .name = texts[0], .help = texts[1], .labels = texts[2]};
	for (struct mt_metric **p = &first; *p; p = &(*p)->next)
		if (same(*p, name, NULL) || !(*p)->next)
			at = &(*p)->next;
	m->next = *at;
	*at = m;
	n_metrics++;
	return m;
}

struct mt_metric *mt_metric_new(uint32_t kind, const char *name, const char *help, const char *labels)
{
	struct mt_metric *found = NULL;
	bool clash = false;
	pthread_mutex_lock(&lock);
	for (struct mt_metric *m = first; m && !found && !clash; m = m->next) {
		clash = same(m, name, NULL) && m->kind != kind;
		found = same(m, name, labels) ? m : NULL;
	}
	if (!found && !clash && n_metrics < MT_METRICS_MOST)
		found = insert(kind, name, help, labels);
	pthread_mutex_unlock(&lock);
	return clash ? NULL : found;
}

uint32_t mt_metric_count(void)
{
	pthread_mutex_lock(&lock);
	uint32_t n = n_metrics;
	pthread_mutex_unlock(&lock);
	return n;
}

void mt_metric_each(void (*fn)(void *ctx, const struct mt_metric *metric), void *ctx)
{
	pthread_mutex_lock(&lock);
	for (const struct mt_metric *m = first; m; m = m->next)
		fn(ctx, m);
	pthread_mutex_unlock(&lock);
}

/* A value that JSON has no number for is null. */
static void add_json(void *ctx, const struct mt_metric *m)
{
	double value;
	__atomic_load(&m->value, &value, __ATOMIC_RELAXED);
	json_array_append_new(ctx, json_pack("{s:s, s:s, s:s, s:o?}", "name", m->name, "kind",
	                                     m->kind == MT_METRIC_COUNTER ? "counter" : "gauge", "labels",
	                                     m->labels, "value", json_real(value)));
}

json_t *mt_metric_json(void)
{
	json_t *list = json_array();
	mt_metric_each(add_json, list);
	if (json_array_size(list))
		return list;
	json_decref(list);
	return NULL;
}
