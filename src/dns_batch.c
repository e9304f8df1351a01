/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dns_batch.c - the DNS messages of a whole batch, for scripts that ask every packet for one.
 *
 * Done by the reading thread while it is ahead (pipeline.c), else by the hook thread.  Scripts find notes then
 * and need not call C: half of the time of a recipe that counts names.  A script that looks at few packets
 * only does not pay for the others.
 */
#include <stdbool.h>

#include "dns.h"

enum { WORTH_NOTING = 8 }; /* one in so many packets must have been asked */

/* Notes are of what was read. */
static bool is_as_read(const struct mt_packet *packet)
{
	return !packet->cut && !(packet->flags & MT_PACKET_EDITED);
}

static struct mt_dns_note note_of(struct mt_dns *dns, const struct mt_packet *packet, uint32_t depth)
{
	struct mt_dns_note note = {
	        .offset = (uint32_t)(dns->data - packet->data),
	        .len = dns->len,
	        .missing = dns->missing,
	        .question = dns->question,
	        .opt = MT_DNS_UNKNOWN,
	        .malformed = MT_DNS_UNKNOWN,
	};
	if (depth == MT_DNS_RECORDS) {
		note.malformed = (uint32_t)mt_dns_malformed(dns);
		note.opt = dns->opt;
	}
	return note;
}

void mt_dns_batch(struct mt_batch *batch, uint32_t depth)
{
	struct mt_dns dns = {.made = 0};
	uint16_t n = 0;

	if (!batch->decoded)
		mt_batch_decode(batch);
	for (uint32_t i = 0; i < batch->n; i++) {
		const struct mt_packet *packet = &batch->packets[i];
		batch->dns_place[i] = 0;
		if (packet->verdict >= MT_VERDICT_OUTSIDE) /* not decoded */
			continue;
		if (!is_as_read(packet)) {
			batch->dns_place[i] = MT_DNS_ASK;
		} else if (mt_dns_find(&dns, packet, &batch->decode[i], MT_DNS_USUAL_PORTS)) {
			batch->dns_place[i] = ++n;
			batch->dns[n] = note_of(&dns, packet, depth);
		}
	}
	batch->dns_depth = depth;
}

void mt_dns_prepare(struct mt_hook_state *state)
{
	struct mt_batch *batch = state->batch;
	bool worth = (uint64_t)state->dns_asked * WORTH_NOTING >= batch->n;

	state->dns_seq = batch->seq;
	state->dns_asked = 0;
	if (!worth)
		return;
	batch->dns_wanted = state->dns_walks ? MT_DNS_RECORDS : MT_DNS_QUESTIONS;
	if (!batch->dns_depth)
		mt_dns_batch(batch, batch->dns_wanted);
}
