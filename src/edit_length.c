/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edit_length.c - edits that make a packet longer or shorter, and the length fields of its headers.
 *
 * A length field follows when its header stands whole before the place of the change and what it
 * counts reaches there: 802.3, PPPoE, IPv4, IPv6, UDP.  A field that says 0 (segmentation offload,
 * jumbograms) or that ends before the place stays as it is.  Nothing is changed when a result would
 * not fit.  A few calls a packet at most.
 */
#include <string.h>

#include "decode.h"
#include "edit.h"

enum { MAX_FIELDS = 12, LINK_ETHERNET = 1, LINK_PPPOE = 51, TAG = 4 };

/* A length field of 16 bits. */
struct length_field {
	uint32_t at;    /* where it is */
	uint32_t start; /* what it counts begins here */
	uint32_t body;  /* behind the fixed part of its header */
	uint32_t max;
	bool whole; /* its end is that of the packet, not that of a datagram in fragments */
};

struct length_fields {
	uint32_t n;
	struct length_field list[MAX_FIELDS];
};

static void add(struct length_fields *fields, const struct mt_packet *p, struct length_field field)
{
	if (fields->n < MAX_FIELDS && field.at + 2 <= p->caplen)
		fields->list[fields->n++] = field;
}

static void add_pppoe(struct length_fields *fields, const struct mt_packet *p, uint32_t at)
{
	add(fields, p, (struct length_field){at + 4, at + 6, at + 6, UINT16_MAX, true});
}

static void add_link(struct length_fields *fields, const struct mt_packet *p, const struct mt_decoded *d)
{
	struct mt_link_place place;
	if (p->linktype == LINK_PPPOE)
		add_pppoe(fields, p, 0);
	if (!mt_link_start(p, d, &place))
		return;
	for (unsigned i = 0; i < MAX_FIELDS; i++) {
		if (get16(p->data + place.type_at) <= MT_TYPE_MAX_LENGTH)
			add(fields, p,
			    (struct length_field){place.type_at, place.body, place.body, MT_TYPE_MAX_LENGTH,
			                          true});
		if (!mt_link_next(p, &place))
			break;
	}
	if (get16(p->data + place.type_at) == MT_TYPE_PPPOE_SESSION)
		add_pppoe(fields, p, place.body);
}

static void add_ip(struct length_fields *fields, const struct mt_packet *p, const struct mt_decoded *d)
{
	uint32_t ip = d->l3_offset, l4 = d->l4_offset;
	if (d->src_offset == MT_NO_OFFSET)
		return;
	if (d->ip_version == 4)
		add(fields, p, (struct length_field){ip + 2, ip, ip + 20, UINT16_MAX, true});
	else
		add(fields, p, (struct length_field){ip + 4, ip + 40, ip + 40, UINT16_MAX, true});
	if (d->bits & MT_IS_UDP && l4 != MT_NO_OFFSET)
		add(fields, p,
		    (struct length_field){l4 + 4, l4, l4 + 8, UINT16_MAX, !(d->bits & MT_IS_FRAGMENT)});
}

static struct length_fields find_fields(const struct mt_edit *e)
{
	struct length_fields fields = {0};
	add_link(&fields, e->packet, e->decoded);
	add_ip(&fields, e->packet, e->decoded);
	return fields;
}

/* What the fields are to say, so that nothing is written before all of it fits. */
struct lengths {
	struct length_fields fields;
	int64_t value[MAX_FIELDS];
};

static enum mt_edit_result check(const struct lengths *l)
{
	for (uint32_t i = 0; i < l->fields.n; i++)
		if (l->value[i] < 0 || l->value[i] > l->fields.list[i].max)
			return MT_EDIT_LENGTH;
	return MT_EDIT_DONE;
}

static void store(struct mt_edit *e, const struct lengths *l)
{
	for (uint32_t i = 0; i < l->fields.n; i++)
		mt_put16(mt_edit_data(e) + l->fields.list[i].at, (uint32_t)l->value[i]);
}

/* Bytes are put in or taken out at `off`: the fields that change, all of which stand before it, and their new
 * values. */
static struct lengths changed(const struct mt_edit *e, uint32_t off, uint32_t added, uint32_t removed)
{
	struct length_fields fields = find_fields(e);
	struct lengths l = {.fields = {0}};
	for (uint32_t i = 0; i < fields.n; i++) {
		const struct length_field *f = &fields.list[i];
		uint32_t value = get16(e->packet->data + f->at), end = f->start + value;
		if (!value || off < f->body || off > end)
			continue;
		uint32_t gone = removed < end - off ? removed : end - off; /* the rest was padding */
		l.value[l.fields.n] = (int64_t)value + added - gone;
		l.fields.list[l.fields.n++] = *f;
	}
	return l;
}

/* The packet is to end at `end`: the new values.  shift: by how much the IP packet grows. */
static struct lengths ended(const struct mt_edit *e, uint32_t end, int64_t shift)
{
	struct lengths l = {.fields = find_fields(e)};
	for (uint32_t i = 0; i < l.fields.n; i++) {
		const struct length_field *f = &l.fields.list[i];
		l.value[i] = f->whole ? (int64_t)end - f->start : get16(e->packet->data + f->at) + shift;
	}
	return l;
}

static void shift_wirelen(struct mt_edit *e, int64_t by)
{
	int64_t wirelen = e->packet->wirelen + by;
	e->packet->wirelen = wirelen < 0 ? 0 : wirelen > UINT32_MAX ? UINT32_MAX : (uint32_t)wirelen;
}

uint32_t mt_ip_end(const struct mt_packet *p, const struct mt_decoded *d)
{
	bool v4 = d->ip_version == 4;
	uint32_t len = get16(p->data + d->l3_offset + (v4 ? 2 : 4));
	if (!len)
		return p->wirelen > p->caplen ? p->wirelen : p->caplen;
	return d->l3_offset + len + (v4 ? 0 : 40);
}

/* --- insert and remove ----------------------------------------------------------------------- */

static enum mt_edit_result insert(struct mt_edit *e, uint32_t off, const void *bytes, size_t len)
{
	uint32_t caplen = e->packet->caplen;
	if (len > MT_MAX_CAPLEN - caplen)
		return MT_EDIT_CAPLEN;
	enum mt_edit_result r = mt_edit_resize(e, caplen + (uint32_t)len);
	if (r != MT_EDIT_DONE)
		return r;
	uint8_t *p = mt_edit_data(e) + off;
	memmove(p + len, p, caplen - off);
	memcpy(p, bytes, len);
	shift_wirelen(e, (int64_t)len);
	return MT_EDIT_DONE;
}

static enum mt_edit_result cut_out(struct mt_edit *e, uint32_t off, uint32_t len)
{
	uint8_t *p = mt_edit_data(e) + off;
	uint32_t caplen = e->packet->caplen;
	memmove(p, p + len, caplen - off - len);
	shift_wirelen(e, -(int64_t)len);
	return mt_edit_resize(e, caplen - len);
}

static bool is_offset(double off, uint32_t max)
{
	return off >= 0 && off <= max && off == (double)(uint32_t)off;
}

int32_t mt_edit_insert(struct mt_edit *e, struct mt_decoded *decoded, double off, const char *bytes, size_t len)
{
	if (mt_edit_in_tunnel(e, decoded))
		return MT_EDIT_INNER;
	if (!is_offset(off, e->packet->caplen))
		return MT_EDIT_OUTSIDE;
	if (len > MT_MAX_CAPLEN)
		return MT_EDIT_CAPLEN;
	struct lengths lengths = changed(e, (uint32_t)off, (uint32_t)len, 0);
	enum mt_edit_result r = check(&lengths);
	if (r != MT_EDIT_DONE)
		return r;
	r = insert(e, (uint32_t)off, bytes, len);
	if (r != MT_EDIT_DONE)
		return r;
	store(e, &lengths);
	mt_edit_decode(e, decoded);
	return MT_EDIT_DONE;
}

int32_t mt_edit_remove(struct mt_edit *e, struct mt_decoded *decoded, double off, double len)
{
	if (mt_edit_in_tunnel(e, decoded))
		return MT_EDIT_INNER;
	if (!is_offset(off, e->packet->caplen) || !is_offset(len, e->packet->caplen - (uint32_t)off))
		return MT_EDIT_OUTSIDE;
	struct lengths lengths = changed(e, (uint32_t)off, 0, (uint32_t)len);
	enum mt_edit_result r = check(&lengths);
	if (r != MT_EDIT_DONE)
		return r;
	store(e, &lengths);
	r = cut_out(e, (uint32_t)off, (uint32_t)len);
	mt_edit_decode(e, decoded);
	return r;
}

/* What follows the IP packet: padding of Ethernet, which goes; the check sequence of other links, which stays.
 */
struct trailer {
	uint32_t at, captured, len;
};

static struct trailer find_trailer(const struct mt_edit *e, uint32_t payload_end)
{
	const struct mt_packet *p = e->packet;
	uint32_t end = mt_ip_end(p, e->decoded);
	end = end < payload_end ? payload_end : end; /* a length that lies */
	struct trailer t = {.at = end};
	if (p->linktype == LINK_ETHERNET)
		return t;
	t.captured = end < p->caplen ? p->caplen - end : 0;
	t.len = end < p->wirelen ? p->wirelen - end : 0;
	return t;
}

/* The IP packet, whose payload ended at `old` as far as it was captured, is to end at `end`. */
static enum mt_edit_result move_end(struct mt_edit *e, uint32_t old, uint32_t end)
{
	struct trailer t = find_trailer(e, old);
	uint32_t caplen = end + t.captured;
	enum mt_edit_result r = mt_edit_resize(e, caplen > e->packet->caplen ? caplen : e->packet->caplen);
	if (r != MT_EDIT_DONE)
		return r;
	if (t.captured)
		memmove(mt_edit_data(e) + end, mt_edit_data(e) + t.at, t.captured);
	e->packet->wirelen = end + (t.captured > t.len ? t.captured : t.len);
	return mt_edit_resize(e, caplen);
}

int32_t mt_edit_set_payload(struct mt_edit *e, struct mt_decoded *decoded, const char *bytes, size_t len)
{
	uint32_t start = decoded->payload_offset;
	/* A packet with a payload has its addresses. */
	if (mt_edit_in_tunnel(e, decoded))
		return MT_EDIT_INNER;
	if (start == MT_NO_OFFSET)
		return MT_EDIT_ABSENT;
	if (len > MT_MAX_CAPLEN - start)
		return MT_EDIT_CAPLEN;
	uint32_t end = start + (uint32_t)len;
	int64_t shift = (int64_t)len - decoded->payload_len;
	struct lengths lengths = ended(e, end, shift);
	enum mt_edit_result r = check(&lengths);
	if (r != MT_EDIT_DONE)
		return r;
	r = move_end(e, start + decoded->payload_len, end);
	if (r != MT_EDIT_DONE)
		return r;
	memcpy(mt_edit_data(e) + start, bytes, len);
	store(e, &lengths);
	mt_edit_decode(e, decoded);
	return MT_EDIT_DONE;
}

/* --- VLAN tags -------------------------------------------------------------------------------- */

/* The tag stands behind the type, which names it; the type it replaces ends it. */
int32_t mt_edit_push_vlan(struct mt_edit *e, struct mt_decoded *decoded, double id, double tpid)
{
	struct mt_link_place place;
	uint8_t tag[TAG];
	if (mt_edit_in_tunnel(e, decoded))
		return MT_EDIT_INNER;
	if (!mt_link_start(e->packet, decoded, &place))
		return MT_EDIT_LINK;
	if (!is_offset(id, 4095) || !is_offset(tpid, UINT16_MAX))
		return MT_EDIT_RANGE;
	uint32_t name = (uint32_t)tpid;
	if (!name)
		name = mt_link_is_tag(e->packet, &place) ? 0x88a8 : 0x8100;
	if (name != 0x8100 && name != 0x88a8 && name != 0x9100)
		return MT_EDIT_RANGE;
	mt_put16(tag, (uint32_t)id);
	memcpy(tag + 2, e->packet->data + place.type_at, 2);
	enum mt_edit_result r = insert(e, place.body, tag, TAG);
	if (r != MT_EDIT_DONE)
		return r;
	mt_put16(mt_edit_data(e) + place.type_at, name);
	mt_edit_decode(e, decoded);
	return MT_EDIT_DONE;
}

int32_t mt_edit_pop_vlan(struct mt_edit *e, struct mt_decoded *decoded)
{
	struct mt_link_place place;
	if (mt_edit_in_tunnel(e, decoded))
		return MT_EDIT_INNER;
	if (!mt_link_start(e->packet, decoded, &place))
		return MT_EDIT_LINK;
	if (!mt_link_is_tag(e->packet, &place))
		return MT_EDIT_ABSENT;
	memcpy(mt_edit_data(e) + place.type_at, e->packet->data + place.body + 2, 2);
	enum mt_edit_result r = cut_out(e, place.body, TAG);
	mt_edit_decode(e, decoded);
	return r;
}
