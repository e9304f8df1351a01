/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * anonymize.c - a packet becomes one that can be given away: headers without addresses, the rest cut.
 *
 * Called by a hook for each packet.  anonymize.h tells how the walk goes.
 */
#include "anonymize.h"

#include <stdlib.h>
#include <string.h>

#include "edit.h"

void mt_anonymizer_free(struct mt_anonymizer *a)
{
	if (!a)
		return;
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

/* The packet as it is now; a copy if this hook has changed it before.  NULL: no memory. */
static const uint8_t *snapshot(struct mt_edit *e, bool edited)
{
	const struct mt_packet *p = e->packet;
	if (!edited)
		return e->before.data;
	uint8_t *copy = mt_edit_alloc(e->edits, (size_t)p->caplen + MT_DATA_SLACK);
	if (copy)
		memcpy(copy, p->data, (size_t)p->caplen + MT_DATA_SLACK);
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

int32_t mt_anonymize(struct mt_anonymizer *a, struct mt_hook_state *st, struct mt_packet *packet)
{
	const uint8_t *before = packet->data;
	if (packet < st->batch->packets || packet >= st->batch->packets + st->batch->n)
		return -2;
	struct mt_edit *e = mt_edit_begin(st, packet);
	if (!e)
		return -1;
	struct mt_walk w = {.a = a, .original = *packet, .in = snapshot(e, packet->data == before)};
	if (!w.in)
		return -1;
	w.original.data = w.in;
	w.out = mt_edit_data(e);
	uint32_t caplen = packet->caplen, kept = mt_anonymize_link(&w), gone = caplen - kept;
	a->counts.packets++;
	a->counts.bytes += caplen;
	if (gone) {
		enum mt_anonymize_cut why = w.why == MT_CUT_NOTHING ? MT_CUT_PADDING : w.why;
		a->counts.cut[why]++;
		a->counts.cut_bytes[why] += gone;
		memset(w.out + kept, 0, gone);
		if (a->policy.payload != MT_REST_ZERO)
			mt_edit_resize(e, kept); /* shorter: always possible */
	} else {
		a->counts.cut[MT_CUT_NOTHING]++;
	}
	drop_options(a, packet);
	if (a->policy.shift_ns || a->policy.round_ns)
		mt_edit_set_time(e, change_time(&a->policy, packet->ts_ns));
	mt_edit_decode(e, e->decoded);
	return 0;
}
