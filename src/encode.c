/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * encode.c - what all encoders share: making one, link types seen, packets refused.
 */
#include "encode.h"

#include <string.h>

#include "linktype.h"
#include "log.h"
#include "units.h"

static const struct mt_encoder_ops *const encoders[] = {&mt_encode_pcap, &mt_encode_pcapng, &mt_encode_erf};

int mt_encoder_open(struct mt_encoder *e, const struct mt_output_config *config, const struct mt_ifaces *ifaces,
                    struct mt_segment_view *view, struct mt_err *err)
{
	memset(e, 0, sizeof *e);
	e->config = config;
	e->ifaces = ifaces;
	e->view = view;
	e->stop_ns = INT64_MAX;
	e->stop_bytes = e->stop_packets = UINT64_MAX;
	e->linktype = config->linktype;
	for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
		if (encoders[i]->format == config->format)
			e->ops = encoders[i];
	if (!e->ops)
		return mt_err_set(err, "%s: no encoder for the format \"%s\"", config->path,
		                  mt_format_name(config->format));
	return e->ops->open ? e->ops->open(e, err) : 0;
}

void mt_encoder_close(struct mt_encoder *e)
{
	if (e->ops && e->ops->close)
		e->ops->close(e);
	e->ops = NULL;
}

static void say_refused(const struct mt_encoder *e, const struct mt_packet *p, enum mt_refusal why)
{
	const char *path = e->config->path, *format = mt_format_name(e->config->format);
	char text[MT_TIME_TEXT];
	switch (why) {
	case MT_REFUSED_LINKTYPE:
		if (e->config->format == MT_FORMAT_PCAP)
			mt_log_warn(
			        "%s: a packet of link type %u can not be written to a pcap file of link type "
			        "%u; all of that kind are dropped (--format pcapng takes them)",
			        path, p->linktype, e->linktype);
		else
			mt_log_warn("%s: packets of link type %u can not be written as %s; they are dropped "
			            "(--format pcapng takes them)",
			            path, p->linktype, format);
		break;
	case MT_REFUSED_DIGITS:
		mt_log_warn(
		        "%s: begun with microseconds as its sources were, but a packet has the time %s; all of "
		        "that kind are dropped (--format pcapng takes them)",
		        path, mt_format_time_utc(p->ts_ns, text));
		break;
	case MT_REFUSED_TIME:
		mt_log_warn(
		        "%s: a packet with the time %s can not be written as %s, which takes %s; all of that "
		        "kind are dropped%s",
		        path, mt_format_time_utc(p->ts_ns, text), format,
		        e->config->format == MT_FORMAT_PCAPNG ? "times from 1970 on"
		                                              : "times from 1970 to 2106",
		        p->ts_ns >= 0 ? " (--format pcapng takes them)" : "");
		break;
	case MT_REFUSED_COMMAND:
		break;
	default:
		mt_log_warn(
		        "%s: a packet of link type %u with %u captured bytes has no form in %s; all of that "
		        "kind are dropped (--format pcapng takes them)",
		        path, p->linktype, p->caplen, format);
	}
}

void mt_encoder_refuse(struct mt_encoder *e, struct mt_packet *p, enum mt_refusal why)
{
	p->verdict = MT_VERDICT_UNWRITABLE;
	e->refused[why]++;
	e->refused_bytes += p->caplen;
	if (e->reported & 1u << why)
		return;
	e->reported |= 1u << why;
	say_refused(e, p, why);
}

void mt_encoder_saw(struct mt_encoder *e, uint16_t linktype)
{
	e->linktypes[linktype >> 3] |= (uint8_t)(1u << (linktype & 7));
	e->last_linktype = linktype;
	e->any_linktype = true;
}

json_t *mt_encoder_linktypes(const struct mt_encoder *e)
{
	return mt_linktype_names(e->linktypes);
}
