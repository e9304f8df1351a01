/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize_ahead.c - see anonymize_ahead.h.
 *
 * The lock is taken once a batch, and when an anonymizer comes or goes.
 */
#include "anonymize_ahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cryptopan.h"

struct ahead {
	struct ahead *next;
	uint32_t number;
	char key[MT_CRYPTOPAN_KEY];
	struct mt_cryptopan *pan; /* NULL: no batch has come yet */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ahead *all;
static uint32_t last_number;

uint32_t mt_ahead_new(const char *key)
{
	struct ahead *a = calloc(1, sizeof *a);
	if (!a)
		return 0;
	memcpy(a->key, key, sizeof a->key);
	pthread_mutex_lock(&lock);
	uint32_t number = a->number = ++last_number;
	a->next = all;
	all = a;
	pthread_mutex_unlock(&lock);
	return number;
}

void mt_ahead_free(uint32_t number)
{
	struct ahead **at = &all, *a;
	pthread_mutex_lock(&lock);
	while ((a = *at) && a->number != number)
		at = &a->next;
	if (a)
		*at = a->next;
	pthread_mutex_unlock(&lock);
	if (!a)
		return;
	mt_cryptopan_free(a->pan);
	explicit_bzero(a, sizeof *a);
	free(a);
}

void mt_ahead_find(const struct mt_cryptopan *pan, const struct mt_packet *p, const struct mt_decoded *d,
                   struct mt_other_addresses *n)
{
	n->len = 0;
	if (p->verdict >= MT_VERDICT_OUTSIDE || d->src_offset == MT_NO_OFFSET || p->flags & MT_PACKET_EDITED ||
	    d->src_offset + 2u * d->address_len > p->caplen)
		return;
	n->at = d->src_offset;
	n->len = d->address_len;
	const uint8_t *in = p->data + n->at;
	if (n->len == 4) {
		uint32_t ipv4[2];
		memcpy(ipv4, in, sizeof ipv4);
		mt_cryptopan_expect_ipv4(pan, ipv4[0]);
		mt_cryptopan_expect_ipv4(pan, ipv4[1]);
		memcpy(n->other, ipv4, sizeof ipv4);
	} else {
		memcpy(n->other, in, sizeof n->other);
		mt_cryptopan_expect_ipv6(pan, n->other[0], n->other[1]);
		mt_cryptopan_expect_ipv6(pan, n->other[2], n->other[3]);
	}
}

static void map(struct mt_cryptopan *pan, struct mt_other_addresses *n)
{
	if (n->len == 4) {
		uint32_t ipv4[2];
		memcpy(ipv4, n->other, sizeof ipv4);
		ipv4[0] = mt_cryptopan_map_ipv4(pan, ipv4[0]);
		ipv4[1] = mt_cryptopan_map_ipv4(pan, ipv4[1]);
		memcpy(n->other, ipv4, sizeof ipv4);
	} else if (n->len) {
		mt_cryptopan_map_ipv6(pan, &n->other[0], &n->other[1]);
		mt_cryptopan_map_ipv6(pan, &n->other[2], &n->other[3]);
	}
}

void mt_ahead_batch(uint32_t number, struct mt_batch *batch)
{
	enum { LATER = 8 };
	struct mt_other_addresses *notes = batch->other_addresses;
	pthread_mutex_lock(&lock);
	struct ahead *a = all;
	while (a && a->number != number)
		a = a->next;
	if (a && !a->pan)
		a->pan = mt_cryptopan_new(a->key);
	if (a && a->pan) {
		for (uint32_t i = 0; i < batch->n + LATER; i++) {
			if (i < batch->n)
				mt_ahead_find(a->pan, &batch->packets[i], &batch->decode[i], &notes[i]);
			if (i >= LATER)
				map(a->pan, &notes[i - LATER]);
		}
		batch->addresses_of = number;
	}
	pthread_mutex_unlock(&lock);
}
