/* SPDX-License-Identifier: BSD-2-Clause */
#include "metric.h"

#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mt_metric *first, **end = &first;
static void *by_labels; /* tsearch(3): each series */
static void *by_name;   /* the last series of each name */
static unsigned n_metrics;

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct mt_metric *)a)->name, ((const struct mt_metric *)b)->name);
}

static int compare_series(const void *a, const void *b)
{
	int r = compare_names(a, b);
	return r ? r : strcmp(((const struct mt_metric *)a)->labels, ((const struct mt_metric *)b)->labels);
}

static struct mt_metric *copy_of(const struct mt_metric *like)
{
	struct mt_metric *m = calloc(1, sizeof *m);
	char *texts[] = {strdup(like->name), strdup(like->help), strdup(like->labels)};
	if (m && texts[0] && texts[1] && texts[2]) {
		*m = (struct mt_metric){
		        .kind = like->kind, .name = texts[0], .help = texts[1], .labels = texts[2]};
		return m;
	}
	for (unsigned i = 0; i < 3; i++)
		free(texts[i]);
	free(m);
	return NULL;
}

/* Behind the last of its name, so that those stay together. */
static struct mt_metric *insert(const struct mt_metric *like)
{
	struct mt_metric *m = copy_of(like), **last;
	if (!m || !tsearch(m, &by_labels, compare_series))
		return NULL;
	if (!(last = tsearch(m, &by_name, compare_names))) {
		tdelete(m, &by_labels, compare_series);
		return NULL;
	}
	struct mt_metric **at = *last == m ? end : &(*last)->next;
	m->next = *at;
	*at = *last = m;
	if (!m->next)
		end = &m->next;
	n_metrics++;
	return m;
}

struct mt_metric *mt_metric_new(uint32_t kind, const char *name, const char *help, const char *labels)
{
	struct mt_metric like = {.kind = kind, .name = name, .help = help, .labels = labels}, *found = NULL;
	pthread_mutex_lock(&lock);
	struct mt_metric **last = tfind(&like, &by_name, compare_names);
	struct mt_metric **series = tfind(&like, &by_labels, compare_series);
	bool clash = last && (*last)->kind != kind;
	if (series && !clash)
		found = *series;
	else if (!clash && n_metrics < MT_METRICS_MOST)
		found = insert(&like);
	pthread_mutex_unlock(&lock);
	return found;
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
