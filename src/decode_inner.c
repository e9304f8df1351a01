/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * decode_inner.c - the innermost packet, through all tunnels around it.
 *
 * Only when a script asks (p:inner(), p.tunnel), then for the whole batch: a call from the hook for each packet
 * would keep LuaJIT from leaving the packet's handle out of memory.  Each step takes the description of a
 * packet, finds the header of a tunnel in it (decode_tunnel.c), and describes what that carries with the
 * functions that describe an outer packet, limited to the bytes of the outer payload.
 */
#include "decode_tunnel.h"

enum { MAX_TUNNELS = 32 /* around each other */ };

/* Describe what the tunnel carries.  False: no header of it is known. */
static bool decode_payload(const struct mt_tunnel_header *t, struct mt_decoded *d)
{
	struct mt_frame f = {t->data, t->end, d};
	uint32_t at = t->at;

	*d = mt_nothing_decoded;
	d->inner = MT_INNER_THIS;
	switch (t->payload) {
	case MT_PAYLOAD_ETHERNET:
		if (has(&f, at, MT_ETHERNET_HEADER))
			mt_decode_ethernet(&f, at);
		break;
	case MT_PAYLOAD_IP:
		mt_decode_ip(&f, at);
		break;
	case MT_PAYLOAD_PPP:
		if (has(&f, at, 2) && f.data[at] == 0xff && f.data[at + 1] == 3)
			at += 2;
		mt_decode_ppp_protocol(&f, at);
		break;
	case MT_PAYLOAD_TYPE:
		mt_decode_type(&f, at, t->type);
		break;
	default:
		break;
	}
	return d->l2_offset != MT_NO_OFFSET || d->l3_offset != MT_NO_OFFSET || d->bits & MT_HAS_VLAN;
}

/* Go through all tunnels of outer.  id: where the number of the outermost goes.  True: inner is set. */
static bool descend(const struct mt_packet *packet, struct mt_decoded *outer, struct mt_decoded *inner,
                    uint32_t *id)
{
	struct mt_decoded *at = outer;
	struct mt_decoded next;
	struct mt_tunnel_header t;
	uint32_t limit = packet->caplen;

	*id = 0;
	for (unsigned i = 0; i < MAX_TUNNELS && mt_tunnel_find(packet, limit, at, &t); i++) {
		at->tunnel = (uint8_t)t.kind;
		if (at == outer)
			*id = t.id;
		if (!decode_payload(&t, &next))
			break;
		*inner = next;
		at = inner;
		limit = t.end;
	}
	if (outer->inner != MT_INNER_THIS)
		outer->inner = at == inner ? MT_INNER_FOUND : MT_INNER_NONE;
	return at == inner;
}

int mt_decode_inner(const struct mt_packet *packet, struct mt_decoded *outer, struct mt_decoded *inner)
{
	uint32_t id;

	return descend(packet, outer, inner, &id);
}

uint32_t mt_tunnel_id(const struct mt_packet *packet, const struct mt_decoded *decoded)
{
	struct mt_tunnel_header t;

	return mt_tunnel_find(packet, packet->caplen, decoded, &t) ? t.id : 0;
}

/* --- in a batch ------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct mt_batch, inner) ==
                       offsetof(struct mt_batch, decode) + sizeof((struct mt_batch *)0)->decode,
               "inner[] follows decode[]");

/* Which packet of the batch this describes, in decode[] or in inner[]; MT_BATCH_PACKETS: none. */
static size_t place_in(const struct mt_batch *batch, const struct mt_decoded *d)
{
	if (!batch)
		return MT_BATCH_PACKETS;
	uintptr_t at = (uintptr_t)d, from = (uintptr_t)batch->decode, to = (uintptr_t)batch->tunnel_id;

	return at < from || at >= to ? MT_BATCH_PACKETS : (at - from) / sizeof *d % MT_BATCH_PACKETS;
}

/* A packet that carries none is its own inner one. */
static void find_in(const struct mt_packet *packet, struct mt_decoded *outer, struct mt_decoded *inner,
                    uint32_t *id)
{
	if (outer->bits & (MT_IS_TCP | MT_IS_ICMP)) { /* most packets there are */
		outer->inner = MT_INNER_NONE;
		*id = 0;
	}
	if (outer->inner == MT_INNER_NONE || !descend(packet, outer, inner, id)) {
		*inner = *outer;
		inner->inner = MT_INNER_THIS;
	}
}

void mt_find_inner(struct mt_batch *batch, const struct mt_packet *packet, struct mt_decoded *decoded)
{
	struct mt_decoded inner;
	uint32_t id;

	if (place_in(batch, decoded) == MT_BATCH_PACKETS) {
		find_in(packet, decoded, &inner, &id);
		return;
	}
	if (!batch->decoded)
		mt_batch_decode(batch);
	for (uint32_t i = 0; i < batch->n; i++)
		if (batch->packets[i].verdict < MT_VERDICT_OUTSIDE) /* others were not decoded */
			find_in(&batch->packets[i], &batch->decode[i], &batch->inner[i], &batch->tunnel_id[i]);
}

void mt_decode_again(struct mt_batch *batch, const struct mt_packet *packet, struct mt_decoded *decoded)
{
	size_t place = place_in(batch, decoded);
	struct mt_decoded outer;
	uint32_t id;

	if (place < MT_BATCH_PACKETS) {
		bool known = batch->decoded && batch->decode[place].inner != MT_INNER_UNKNOWN;
		mt_decode(packet, &batch->decode[place]);
		if (known)
			find_in(packet, &batch->decode[place], &batch->inner[place], &batch->tunnel_id[place]);
	} else if (decoded->inner == MT_INNER_THIS) {
		mt_decode(packet, &outer);
		find_in(packet, &outer, decoded, &id);
	} else
		mt_decode(packet, decoded);
}

void mt_decode_copy(struct mt_batch *batch, const struct mt_packet *packet, const struct mt_decoded *decoded,
                    struct mt_decoded *copy)
{
	if (!batch->decoded && place_in(batch, decoded) < MT_BATCH_PACKETS)
		mt_decode(packet, copy);
	else
		*copy = *decoded;
	if (copy->inner != MT_INNER_THIS)
		copy->inner = MT_INNER_UNKNOWN;
}
