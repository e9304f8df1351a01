/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * abi.c - the layout of every struct of abi.h as this compiler sees it.
 *
 * Read once at start by lua/moontap/abi.lua, which compares it with what LuaJIT makes of the
 * same text.  A new field of abi.h gets a line here.
 */
#include "abi.h"

/* Sizes that speed rests on: elements of a batch must not straddle more cache lines than needed. */
_Static_assert(sizeof(struct mt_packet) == 48, "mt_packet grew");
_Static_assert(sizeof(struct mt_decoded) == 32, "mt_decoded grew");

/* clang-format off */
#define SIZE(type) {#type, sizeof(struct type)}
#define FIELD(type, field) {#type "." #field, offsetof(struct type, field)}
/* clang-format on */

static const struct mt_abi_entry table[] = {
        SIZE(mt_packet),
        FIELD(mt_packet, ts_ns),
        FIELD(mt_packet, data),
        FIELD(mt_packet, options),
        FIELD(mt_packet, caplen),
        FIELD(mt_packet, wirelen),
        FIELD(mt_packet, iface),
        FIELD(mt_packet, linktype),
        FIELD(mt_packet, options_len),
        FIELD(mt_packet, direction),
        FIELD(mt_packet, verdict),
        FIELD(mt_packet, flags),
        FIELD(mt_packet, reserved),
        FIELD(mt_packet, cut),
        SIZE(mt_decoded),
        FIELD(mt_decoded, l3_offset),
        FIELD(mt_decoded, l4_offset),
        FIELD(mt_decoded, payload_offset),
        FIELD(mt_decoded, src_offset),
        FIELD(mt_decoded, payload_len),
        FIELD(mt_decoded, ethertype),
        FIELD(mt_decoded, vlan),
        FIELD(mt_decoded, sport),
        FIELD(mt_decoded, dport),
        FIELD(mt_decoded, ip_version),
        FIELD(mt_decoded, proto),
        FIELD(mt_decoded, tcp_flags),
        FIELD(mt_decoded, ttl),
        FIELD(mt_decoded, bits),
        FIELD(mt_decoded, reserved),
        SIZE(mt_batch),
        FIELD(mt_batch, seq),
        FIELD(mt_batch, n),
        FIELD(mt_batch, decoded),
        FIELD(mt_batch, bytes),
        FIELD(mt_batch, last),
        FIELD(mt_batch, packets),
        FIELD(mt_batch, decode),
        SIZE(mt_segment_view),
        FIELD(mt_segment_view, seq),
        FIELD(mt_segment_view, n),
        FIELD(mt_segment_view, start_ns),
        FIELD(mt_segment_view, first_ns),
        FIELD(mt_segment_view, last_ns),
        FIELD(mt_segment_view, packets),
        FIELD(mt_segment_view, bytes),
        FIELD(mt_segment_view, captured_bytes),
        FIELD(mt_segment_view, wire_bytes),
        FIELD(mt_segment_view, reason),
        FIELD(mt_segment_view, source),
        SIZE(mt_packet_handle),
        FIELD(mt_packet_handle, _packet),
        FIELD(mt_packet_handle, _decoded),
        FIELD(mt_packet_handle, _generation),
        SIZE(mt_address),
        FIELD(mt_address, high),
        FIELD(mt_address, low),
        FIELD(mt_address, len),
        FIELD(mt_address, reserved),
        SIZE(mt_batch_view),
        FIELD(mt_batch_view, n),
        FIELD(mt_batch_view, reserved),
        FIELD(mt_batch_view, _generation),
        FIELD(mt_batch_view, _index),
        SIZE(mt_segment_handle),
        FIELD(mt_segment_handle, _segment),
        SIZE(mt_iface_view),
        FIELD(mt_iface_view, source),
        FIELD(mt_iface_view, name),
        FIELD(mt_iface_view, description),
        FIELD(mt_iface_view, number),
        FIELD(mt_iface_view, linktype),
        SIZE(mt_hook_state),
        FIELD(mt_hook_state, batch),
        FIELD(mt_hook_state, flow),
        FIELD(mt_hook_state, generation),
        FIELD(mt_hook_state, before),
        FIELD(mt_hook_state, first_ns),
        FIELD(mt_hook_state, clock_ns),
        FIELD(mt_hook_state, from),
        FIELD(mt_hook_state, to),
        FIELD(mt_hook_state, index),
        FIELD(mt_hook_state, script),
        FIELD(mt_hook_state, phase),
        FIELD(mt_hook_state, action),
        FIELD(mt_hook_state, stop),
        FIELD(mt_hook_state, errors),
        FIELD(mt_hook_state, slack),
        SIZE(mt_abi_entry),
        FIELD(mt_abi_entry, name),
        FIELD(mt_abi_entry, value),
        {NULL, 0} /* the end */
};

const struct mt_abi_entry *mt_abi_table(void)
{
	return table;
}
