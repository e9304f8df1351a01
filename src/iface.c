/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iface.c - the table of interfaces and source groups.
 *
 * Usually 1 to 10 entries, some thousands with thousands of input files, so it is hashed.
 * Entries live in blocks that never move: the reading thread adds while others look up.
 */
#include "iface.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, BLOCKS = 4096, SLOTS = 4096 };

struct entry {
	struct mt_iface iface; /* first: mt_iface * and entry * are the same address */
	struct entry *chain;
};

struct group {
	char *name;
	uint32_t id;
	struct group *chain;
};

struct mt_ifaces {
	struct entry *entries[BLOCKS];
	struct group *groups[BLOCKS];
	struct entry *entry_slots[SLOTS];
	struct group *group_slots[SLOTS];
	_Atomic uint32_t n_entries, n_groups;
	pthread_mutex_t lock; /* of mt_ifaces_add */
};

static uint32_t hash_text(uint32_t h, const char *text)
{
	for (; text && *text; text++)
		h = (h ^ (uint8_t)*text) * 16777619u;
	return h;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

struct mt_ifaces *mt_ifaces_new(void)
{
	struct mt_ifaces *t = calloc(1, sizeof *t);
	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void mt_ifaces_free(struct mt_ifaces *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->n_entries; i++) {
		struct mt_iface *iface = mt_ifaces_get(t, i);
		free(iface->name);
		free(iface->description);
	}
	for (uint32_t i = 0; i < t->n_groups; i++)
		free(t->groups[i / BLOCK][i % BLOCK].name);
	for (unsigned b = 0; b < BLOCKS; b++) {
		free(t->entries[b]);
		free(t->groups[b]);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

uint32_t mt_ifaces_group(struct mt_ifaces *t, const char *name)
{
	struct group **slot = &t->group_slots[hash_text(2166136261u, name) % SLOTS];
	for (struct group *g = *slot; g; g = g->chain)
		if (strcmp(g->name, name) == 0)
			return g->id;
	uint32_t id = t->n_groups;
	if (id == BLOCK * BLOCKS)
		return (uint32_t)MT_IFACES_NONE;
	if (!t->groups[id / BLOCK] && !(t->groups[id / BLOCK] = calloc(BLOCK, sizeof(struct group))))
		return (uint32_t)MT_IFACES_NONE;
	struct group *g = &t->groups[id / BLOCK][id % BLOCK];
	*g = (struct group){.name = strdup(name), .id = id, .chain = *slot};
	if (!g->name)
		return (uint32_t)MT_IFACES_NONE;
	*slot = g;
	t->n_groups = id + 1;
	return id;
}

const char *mt_ifaces_group_name(const struct mt_ifaces *t, uint32_t group)
{
	return t->groups[group / BLOCK][group % BLOCK].name;
}

uint32_t mt_ifaces_groups(const struct mt_ifaces *t)
{
	return t->n_groups;
}

static struct entry **find_slot(struct mt_ifaces *t, uint32_t group, uint32_t number, uint16_t linktype,
                                const char *name)
{
	uint32_t h = (((2166136261u ^ group) * 16777619u ^ number) * 16777619u ^ linktype) * 16777619u;
	return &t->entry_slots[hash_text(h, name) % SLOTS];
}

static struct entry *add_entry(struct mt_ifaces *t, const char *name, const char *description)
{
	uint32_t id = t->n_entries;
	if (id == BLOCK * BLOCKS)
		return NULL;
	if (!t->entries[id / BLOCK] && !(t->entries[id / BLOCK] = calloc(BLOCK, sizeof(struct entry))))
		return NULL;
	struct entry *e = &t->entries[id / BLOCK][id % BLOCK];
	e->iface.name = name ? strdup(name) : NULL;
	e->iface.description = description ? strdup(description) : NULL;
	if ((name && !e->iface.name) || (description && !e->iface.description)) {
		free(e->iface.name);
		free(e->iface.description);
		return NULL;
	}
	e->iface.id = id;
	return e;
}

static struct mt_iface *find_or_add(struct mt_ifaces *t, uint32_t group, uint32_t number, uint16_t linktype,
                                    uint32_t snaplen, const char *name, const char *description)
{
	struct entry **slot = find_slot(t, group, number, linktype, name);
	for (struct entry *e = *slot; e; e = e->chain)
		if (e->iface.group == group && e->iface.number == number && e->iface.linktype == linktype &&
		    same_text(e->iface.name, name))
			return &e->iface;
	struct entry *e = add_entry(t, name, description);
	if (!e)
		return NULL;
	e->iface.group = group;
	e->iface.number = number;
	e->iface.linktype = linktype;
	e->iface.snaplen = snaplen;
	e->iface.source = mt_ifaces_group_name(t, group);
	e->iface.dropped = UINT64_MAX;
	e->chain = *slot;
	*slot = e;
	t->n_entries++;
	return &e->iface;
}

struct mt_iface *mt_ifaces_add(struct mt_ifaces *t, uint32_t group, uint32_t number, uint16_t linktype,
                               uint32_t snaplen, const char *name, const char *description)
{
	pthread_mutex_lock(&t->lock);
	struct mt_iface *iface = find_or_add(t, group, number, linktype, snaplen, name, description);
	pthread_mutex_unlock(&t->lock);
	return iface;
}

struct mt_iface *mt_ifaces_get(const struct mt_ifaces *t, uint32_t id)
{
	return &t->entries[id / BLOCK][id % BLOCK].iface;
}

uint32_t mt_ifaces_count(const struct mt_ifaces *t)
{
	return t->n_entries;
}
