/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize.c - a packet becomes one that can be given away: headers without addresses, the rest cut.
 *
 * Called by a hook for each packet.  anonymize.h tells how the walk goes.
 */
#include "anonymize.h"

#include <stdlib.h>
#include <string.h>

#include "anonymize_ahead.h"
#include "edit.h"

void mt_anonymizer_free(struct mt_anonymizer *a)
{
	if (!a)
		return;
	mt_ahead_free(a->ahead);
	mt_cryptopan_free(a->pan);
	mt_pseudonyms_free(a->pseudonyms);
	free(a);
}

struct mt_anonymizer *mt_anonymizer_new(const char *key, const struct mt_anonymize_policy *policy)
{
	struct mt_anonymizer *a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	a->policy = *policy;
	a->ahead = mt_ahead_new(key);
	a->pan = mt_cryptopan_new(key);
	a->pseudonyms = mt_pseudonyms_new(key, policy->ports);
	if (!a->pan || !a->pseudonyms) {
		mt_anonymizer_free(a);
		return NULL;
	}
	return a;
}

const struct mt_anonymize_counts *mt_anonymizer_counts(const struct mt_anonymizer *a)
{
	return &a->counts;
}

/* Times that do not fit become the last one that does. */
static int64_t change_time(const struct mt_anonymize_policy *policy, int64_t ts_ns)
{
	int64_t shifted;
	if (__builtin_add_overflow(ts_ns, policy->shift_ns, &shifted))
		shifted = policy->shift_ns < 0 ? INT64_MIN : INT64_MAX;
	if (policy->round_ns > 0) {
		int64_t past = shifted % policy->round_ns;
		past += past < 0 ? policy->round_ns : 0;
		if (__builtin_sub_overflow(shifted, past, &shifted))
			shifted = INT64_MIN;
	}
	return shifted;
}

/* The packet as it is now, of which nothing changes from here on; a copy if this hook has changed it before.
 * NULL: no memory. */
static const struct mt_packet *snapshot(struct mt_edit *e, bool edited)
{
	const struct mt_packet *p = e->packet;
	size_t size = (size_t)p->caplen + MT_DATA_SLACK;
	if (!edited)
		return &e->before;
	struct mt_packet *copy = mt_edit_alloc(e->edits, sizeof *copy + size);
	if (!copy)
		return NULL;
	*copy = *p;
	copy->data = memcpy(copy + 1, p->data, size);
	return copy;
}

/* Comments and other options of the packet are text of others; its direction is kept elsewhere. */
static void drop_options(struct mt_anonymizer *a, struct mt_packet *p)
{
	if (p->options_len)
		a->counts.changed[MT_CHANGE_METADATA]++;
	p->options = NULL;
	p->options_len = 0;
}

/* Describe the packet as it is now.  If the walk went to the payload of the outer packet, then all headers in
 * front of it are where they were, of the same kinds, and what changed of them is no part of the description.
 */
static void describe(const struct mt_walk *w, struct mt_edit *e)
{
	struct mt_decoded *d = e->decoded;
	uint32_t at = d->payload_offset, caplen = e->packet->caplen;
	if (d->inner != MT_INNER_UNKNOWN || !(d->bits & (MT_IS_TCP | MT_IS_UDP)) || at != w->payload_at ||
	    at > caplen) {
		mt_edit_decode(e, d);
		return;
	}
	if (d->payload_len > caplen - at)
		d->payload_len = caplen - at;
	if (w->a->policy.ports) {
		d->sport = get16(e->packet->data + d->l4_offset);
		d->dport = get16(e->packet->data + d->l4_offset + 2);
	}
}

/* Half of the time would be waiting for memory else: that of packets to come is asked for. */
static void look_ahead(const struct mt_anonymizer *a, const struct mt_batch *batch, size_t i)
{
	enum { PACKETS = 3 };
	if (i + 4 * PACKETS < batch->n) {
		const struct mt_packet *later = &batch->packets[i + 3 * PACKETS];
		__builtin_prefetch(later + PACKETS);
		__builtin_prefetch(&batch->decode[i + 3 * PACKETS]);
		__builtin_prefetch(later->data);
		__builtin_prefetch(later->data + 63);
	}
	if (batch->addresses_of != a->ahead && i + PACKETS < batch->n && batch->decoded) {
		struct mt_other_addresses expected;
		mt_ahead_find(a->pan, &batch->packets[i + PACKETS], &batch->decode[i + PACKETS], &expected);
	}
}

/* Are addresses to be looked up before packets come here?  Not for a script that wants few of them. */
static void ask_ahead(struct mt_anonymizer *a, struct mt_batch *batch)
{
	enum { WORTH_IT = 8 };
	if (a->seq != batch->seq) {
		a->seq = batch->seq;
		a->asked = 0;
	}
	if (++a->asked * WORTH_IT >= batch->n)
		batch->addresses_wanted = a->ahead;
}

int32_t mt_anonymize(struct mt_anonymizer *a, struct mt_hook_state *st, struct mt_packet *packet)
{
	const uint8_t *before = packet->data;
	if (packet < st->batch->packets || packet >= st->batch->packets + st->batch->n)
		return -2;
	size_t i = (size_t)(packet - st->batch->packets);
	bool as_read = !(packet->flags & MT_PACKET_EDITED);
	ask_ahead(a, st->batch);
	look_ahead(a, st->batch, i);
	struct mt_edit *e = mt_edit_begin(st, packet);
	if (!e)
		return -1;
	struct mt_walk w = {.a = a, .original = snapshot(e, packet->data == before), .out = mt_edit_data(e)};
	if (!w.original)
		return -1;
	if (as_read && a->ahead && st->batch->addresses_of == a->ahead)
		w.known = &st->batch->other_addresses[i];
	w.in = w.original->data;
	uint32_t caplen = packet->caplen, kept = mt_anonymize_link(&w), gone = caplen - kept;
	a->counts.packets++;
	a->counts.bytes += caplen;
	if (gone) {
		enum mt_anonymize_cut why = w.why == MT_CUT_NOTHING ? MT_CUT_PADDING : w.why;
		a->counts.cut[why]++;
		a->counts.cut_bytes[why] += gone;
		memset(w.out + kept, 0, gone);
		if (a->policy.payload != MT_REST_ZERO)
			mt_edit_shorten(e, kept);
	} else {
		a->counts.cut[MT_CUT_NOTHING]++;
	}
	drop_options(a, packet);
	if (a->policy.shift_ns || a->policy.round_ns)
		mt_edit_set_time(e, change_time(&a->policy, packet->ts_ns));
	describe(&w, e);
	return 0;
}
