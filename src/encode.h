/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * encode.h - packets into the bytes of a capture file.
 *
 * An encoder appends whole records to a block (sink.h).  One call takes a run of up to 1024
 * packets, so that nothing is called per packet: 30 million 64-byte packets a second.  It
 * stops where the block is full or where a trigger of the segment says so, and the output
 * (output.c) acts on that and calls again.
 */
#ifndef MT_ENCODE_H
#define MT_ENCODE_H
#include "output.h"
#include "sink.h"

/* Why an encoder looked no further. */
enum mt_encode_stop {
	MT_STOP_END,    /* all packets were looked at */
	MT_STOP_FULL,   /* the record needs mt_encoder.need bytes, the block has less left */
	MT_STOP_TIME,   /* this packet, wanted or not, is at or past stop_ns */
	MT_STOP_BYTES,  /* it would overstep stop_bytes */
	MT_STOP_PACKETS /* there are stop_packets packets in the segment already */
};

/* Why a packet can not be written in a format. */
enum mt_refusal {
	MT_REFUSED_LINKTYPE,
	MT_REFUSED_TIME,
	MT_REFUSED_DIGITS,
	MT_REFUSED_RECORD,
	MT_REFUSED_COMMAND, /* none of the packet's: --pipeout fails again and again; said by the output */
	MT_REFUSALS
};

struct mt_encoder {
	const struct mt_encoder_ops *ops;
	const struct mt_output_config *config;
	const struct mt_ifaces *ifaces;
	struct mt_block *block;       /* of the sink; borrowed */
	struct mt_segment_view *view; /* counters of the segment, kept up to date by encode; borrowed */
	void *impl;                   /* the encoder's own state */

	/* Triggers, all at their maximum when off. */
	int64_t stop_ns;
	uint64_t stop_bytes, stop_packets;
	size_t need;    /* see MT_STOP_FULL */
	size_t trailer; /* bytes that end() will add, as far as known */

	uint16_t linktype; /* pcap: of the file; 0xffff: not yet known */
	bool begun;        /* the header of this file is in the block */

	uint64_t refused[MT_REFUSALS]; /* packets marked MT_VERDICT_UNWRITABLE */
	uint64_t refused_bytes;        /* captured bytes of them */
	unsigned reported;             /* bit for each mt_refusal that was said already */

	uint16_t last_linktype; /* of the packet before, valid if any_linktype */
	bool any_linktype;
	uint8_t linktypes[8192]; /* bit set: link types written to this file */
};

/* The last time that does not stop the encoder: INT64_MAX without a -G boundary. */
static inline int64_t mt_encoder_last_ns(const struct mt_encoder *e)
{
	return e->stop_ns == INT64_MAX || e->stop_ns == INT64_MIN ? e->stop_ns : e->stop_ns - 1;
}

struct mt_encoder_ops {
	enum mt_format format;
	/* Make impl.  0 or -1. */
	int (*open)(struct mt_encoder *e, struct mt_err *err);
	void (*close)(struct mt_encoder *e);
	/* Start a file: header into the block, which is empty.  0, or -1 out of memory. */
	int (*begin)(struct mt_encoder *e);
	/* Append those of packets[*i..n-1] that have the verdict; *i is the first not looked at. */
	enum mt_encode_stop (*encode)(struct mt_encoder *e, struct mt_packet *packets, uint32_t n, uint32_t *i,
	                              uint8_t verdict);
	/* The same for one packet of a file that has begun, whose encoder's state is elsewhere; of that only
	 * the link type is needed, which a packet must have.  False: nothing was done, encode must be asked.
	 * NULL: always. */
	bool (*put)(const struct mt_encoder *e, const struct mt_packet *p, uint16_t linktype,
	            struct mt_block *block, struct mt_segment_view *view);
	/* End the file: trailer into the block.  0, or -1 out of memory. */
	int (*end)(struct mt_encoder *e);
	/* Can the packet be written at all? MT_REFUSALS: yes; else why not. */
	enum mt_refusal (*check)(const struct mt_encoder *e, const struct mt_packet *p);
	/* Bytes that encode would add for a packet that passes check. */
	size_t (*record_size)(const struct mt_encoder *e, const struct mt_packet *p);
	/* How many of these bytes, which begin with a record (or with the file header if first),
	 * are whole records; *packets of these are packets. */
	size_t (*whole)(const uint8_t *data, size_t len, bool first, uint64_t *packets);
};

extern const struct mt_encoder_ops mt_encode_pcap, mt_encode_pcapng, mt_encode_erf;

/* Make *e ready: ops by config->format.  0 or -1.  Everything given is borrowed. */
int mt_encoder_open(struct mt_encoder *e, const struct mt_output_config *config, const struct mt_ifaces *ifaces,
                    struct mt_segment_view *view, struct mt_err *err);
void mt_encoder_close(struct mt_encoder *e);
/* Mark p MT_VERDICT_UNWRITABLE, count it, and say so the first time. */
void mt_encoder_refuse(struct mt_encoder *e, struct mt_packet *p, enum mt_refusal why);
/* Remember that this file has packets of the link type. */
void mt_encoder_saw(struct mt_encoder *e, uint16_t linktype);
/* Link types of the file so far, ascending; new reference. */
json_t *mt_encoder_linktypes(const struct mt_encoder *e);

/* Captured bytes of p that are written. */
static inline uint32_t mt_encode_caplen(const struct mt_encoder *e, const struct mt_packet *p)
{
	uint32_t cut = e->config->write_snaplen;
	return cut && cut < p->caplen ? cut : p->caplen;
}

/* Count a record of `record` bytes that carries caplen bytes of p. */
static inline void mt_encode_count(struct mt_segment_view *v, const struct mt_packet *p, uint32_t caplen,
                                   size_t record)
{
	v->packets++;
	v->bytes += record;
	v->captured_bytes += caplen;
	v->wire_bytes += p->wirelen;
	if (p->ts_ns < v->first_ns)
		v->first_ns = p->ts_ns;
	if (p->ts_ns > v->last_ns)
		v->last_ns = p->ts_ns;
}

/* Does a record of `record` bytes fit? MT_STOP_END if so. */
static inline enum mt_encode_stop mt_encode_room(struct mt_encoder *e, const struct mt_segment_view *v,
                                                 size_t used, size_t record)
{
	if (v->packets >= e->stop_packets)
		return MT_STOP_PACKETS;
	if (v->bytes + record + e->trailer > e->stop_bytes && v->packets)
		return MT_STOP_BYTES;
	if (record > e->block->size - used) {
		e->need = record;
		return MT_STOP_FULL;
	}
	return MT_STOP_END;
}

#endif
