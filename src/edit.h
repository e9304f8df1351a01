/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit.h - packets that a script changes: where their bytes live, and the way back.
 *
 * p:edit() copies the packet into memory that belongs to its batch and points the batch at the
 * copy, so that every later reader (scripts, outputs, --print) sees it and the read buffer is never
 * written.  What the packet was before is noted first: a hook that fails is undone
 * (mt_edit_undo), and the counts are about what was read (mt_edits_restore).  Nothing here
 * runs, and nothing is allocated, until a script edits.
 *
 * Memory of a batch lives until mt_edits_release and then goes back to a pool, 1 MiB a batch of
 * 800-byte packets.  Hook thread, but for mt_edits_release: any thread.
 */
#ifndef MT_EDIT_H
#define MT_EDIT_H
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "abi.h"

struct mt_edit_pool;

/* NULL: out of memory. */
struct mt_edit_pool *mt_edit_pool_new(void);
/* After every batch was released. */
void mt_edit_pool_free(struct mt_edit_pool *pool);

/* Nobody reads the packets of the batch any more: their edits may be forgotten. */
void mt_edits_release(struct mt_batch *batch);
/* Packets from to to - 1 are written: make them what they were when they were read, but for
 * their verdicts. */
void mt_edits_restore(struct mt_batch *batch, uint32_t from, uint32_t to);

/* What an output may be unable to write. */
enum mt_edit_feature {
	MT_EDITED_COMMENT = 1,     /* a script has added a comment */
	MT_EDITED_NANOSECONDS = 2, /* a script has set a time finer than the one that was read */
	MT_EDITED_LONGER = 4       /* more bytes than snaplen */
};
/* Those of packets from to to - 1 that have the verdict. */
unsigned mt_edits_features(const struct mt_batch *batch, uint32_t from, uint32_t to, uint8_t verdict,
                           uint32_t snaplen);

/* --- between the files edit*.c ------------------------------------------------------------- */

/* Bytes of the edit that may be written; packet->caplen of them are the packet. */
static inline uint8_t *mt_edit_data(const struct mt_edit *e)
{
	return (uint8_t *)(uintptr_t)e->packet->data;
}

static inline void mt_put16(uint8_t *p, uint32_t v)
{
	uint16_t swapped = htobe16((uint16_t)v);
	memcpy(p, &swapped, sizeof swapped);
}

/* Make the packet caplen bytes long; new ones are not set, its headers are not touched. */
enum mt_edit_result mt_edit_resize(struct mt_edit *e, uint32_t caplen);
/* Make it shorter, or as long as it is. */
static inline void mt_edit_shorten(struct mt_edit *e, uint32_t caplen)
{
	struct mt_packet *p = e->packet;
	p->caplen = caplen;
	/* Captured bytes and those cut off are as many as were read, in unsigned arithmetic. */
	p->cut = e->before.caplen + e->before.cut - caplen;
}
/* The bytes have changed: decode again what describes them.  decoded: of the handle that was used. */
void mt_edit_decode(struct mt_edit *e, struct mt_decoded *decoded);
/* Does this describe a packet in a tunnel? */
bool mt_edit_in_tunnel(const struct mt_edit *e, const struct mt_decoded *decoded);
/* Decode what another version of the packet has in the place of decoded. */
void mt_edit_decode_as(const struct mt_packet *packet, const struct mt_decoded *decoded,
                       struct mt_decoded *result);
/* The note about a packet of the batch in hand, made if this hook has none yet.  NULL: no memory. */
struct mt_edit *mt_edit_note(struct mt_hook_state *st, struct mt_packet *packet);
/* n bytes that live as long as the batch.  NULL: no memory. */
void *mt_edit_alloc(struct mt_edits *edits, size_t n);
/* Remember that a packet of the batch has this. */
void mt_edit_feature(struct mt_edit *e, enum mt_edit_feature feature);
/* What the packet was when it was read. */
const struct mt_packet *mt_edit_original(const struct mt_edit *e);

/* Where a link layer header says what follows, and where that begins. */
struct mt_link_place {
	uint32_t type_at, body;
};
/* That of the packet; false: not with this link type, or it was not captured. */
bool mt_link_start(const struct mt_packet *p, const struct mt_decoded *d, struct mt_link_place *place);
/* Is a VLAN tag at place->body? */
bool mt_link_is_tag(const struct mt_packet *p, const struct mt_link_place *place);
/* Go on behind a VLAN tag or a SNAP header; false: neither follows. */
bool mt_link_next(const struct mt_packet *p, struct mt_link_place *place);

/* Where the IP packet ends on the wire; 0 in its length field: where the frame ends.  It must have src_offset.
 */
uint32_t mt_ip_end(const struct mt_packet *p, const struct mt_decoded *d);

/* Where the parts of an IPv6 packet are that mt_decoded does not tell. */
struct mt_ipv6_chain {
	uint32_t next_at;     /* the byte that names the transport protocol */
	uint32_t destination; /* the final destination, which a routing header may hold */
};
struct mt_ipv6_chain mt_ipv6_chain(const struct mt_packet *p, const struct mt_decoded *d);

#endif
