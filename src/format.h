/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * format.h - parsers of capture formats, working on a window of bytes in memory.
 *
 * source_file.c fills the window, calls parse, and moves on by what was used.  A call
 * parses many packets in one tight loop; packets borrow their bytes from the window.  A
 * record that is not wholly there yet is left alone and asked for through *want.
 */
#ifndef MT_FORMAT_H
#define MT_FORMAT_H
#include <stdbool.h>

#include "abi.h"
#include "err.h"
#include "iface.h"

enum mt_parse {
	MT_PARSE_ERROR = -1, /* err is set; the packets before the fault are delivered */
	MT_PARSE_MORE =
	        0, /* *want bytes have to stand behind *used to go on; 0: a clean end if the file ends here */
	MT_PARSE_OK = 1 /* header: done; packets: as many as there was room for */
};

struct mt_parser;

struct mt_parser_ops {
	const char *name;
	size_t size; /* of the parser's own struct, which begins with struct mt_parser */
	/* Could these first bytes of a file be of this format? */
	bool (*detect)(const uint8_t *p, size_t avail);
	/* Read the file header. */
	enum mt_parse (*header)(struct mt_parser *f, const uint8_t *p, size_t avail, bool at_end, size_t *used,
	                        size_t *want, struct mt_err *err);
	/* Parse up to max packets into out; *n is how many.  max 0: only what stands before the
	 * next packet.  *used may be larger than avail: that much is to be skipped unread. */
	enum mt_parse (*parse)(struct mt_parser *f, const uint8_t *p, size_t avail, bool at_end,
	                       struct mt_packet *out, unsigned max, unsigned *n, size_t *used, size_t *want,
	                       struct mt_err *err);
	void (*clear)(struct mt_parser *f); /* free what the parser allocated; may be NULL */
};

/* What all parsers share. */
struct mt_parser {
	const struct mt_parser_ops *ops;
	struct mt_ifaces *ifaces;
	uint32_t group;
	const char *label;       /* of the source, for warnings; borrowed */
	uint64_t packets;        /* parsed so far: the next one is number packets + 1 */
	uint16_t first_linktype; /* of the first interface; 0xffff: none described yet */
	bool microseconds;       /* times are whole microseconds, as far as is known */
	bool finer_may_come;     /* pcapng: an interface still to come may have finer ones */
	/* Losses that this parser added to interfaces, so that they can be taken back when the
	 * file is read again from its start; no longer noted once it can not be. */
	struct mt_parser_loss {
		uint32_t iface;
		uint64_t packets;
	} * losses;
	size_t n_losses, losses_room;
	bool losses_stay;
};

extern const struct mt_parser_ops mt_parser_pcap, mt_parser_pcapng, mt_parser_erf;

/* Count packets as lost by the capturing system.  0, or -1: out of memory. */
int mt_parser_add_loss(struct mt_parser *f, uint32_t iface, uint64_t packets, struct mt_err *err);
/* Take back all that was added. */
void mt_parser_undo_losses(struct mt_parser *f);
/* Packets were handed on: what was and will be added stays, and is no longer noted. */
void mt_parser_keep_losses(struct mt_parser *f);
/* Add an interface and note the first link type. NULL with err. */
struct mt_iface *mt_parser_add_iface(struct mt_parser *f, uint32_t number, uint16_t linktype, uint32_t snaplen,
                                     const char *name, const char *description, struct mt_err *err);
/* Link type as written in a file to a LINKTYPE_ value: some writers put in their platform's DLT. */
uint16_t mt_parser_linktype(uint32_t field);
void mt_parser_free(struct mt_parser *f);

static inline uint16_t mt_load16(const uint8_t *p, bool swap)
{
	uint16_t v;
	__builtin_memcpy(&v, p, sizeof v);
	return swap ? __builtin_bswap16(v) : v;
}

static inline uint32_t mt_load32(const uint8_t *p, bool swap)
{
	uint32_t v;
	__builtin_memcpy(&v, p, sizeof v);
	return swap ? __builtin_bswap32(v) : v;
}

static inline uint64_t mt_load64(const uint8_t *p, bool swap)
{
	uint64_t v;
	__builtin_memcpy(&v, p, sizeof v);
	return swap ? __builtin_bswap64(v) : v;
}

#endif
