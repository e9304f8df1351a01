/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * print.c - a packet as one line of text.
 *
 * Called by --print for each kept packet; a microsecond or so each.  Scripts read these lines:
 * what stands where does not change.
 */
#include "print.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

/* Text that is cut at the end of its buffer. */
struct text {
	char *buffer;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	va_list args;
	size_t room = t->size - t->len;

	va_start(args, format);
	int n = vsnprintf(t->buffer + t->len, room, format, args);
	va_end(args);
	if (n > 0)
		t->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void add_time(struct text *t, int64_t ts_ns, bool utc)
{
	time_t seconds = (time_t)(ts_ns / 1000000000);
	int64_t rest = ts_ns % 1000000000;
	char date[32];
	struct tm tm;

	if (rest < 0) {
		rest += 1000000000;
		seconds--;
	}
	if (utc)
		gmtime_r(&seconds, &tm);
	else
		localtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	add(t, "%s.%09d", date, (int)rest);
}

/* File names may hold anything; a line must stay one. */
static void add_name(struct text *t, const char *name)
{
	for (; *name && t->len + 1 < t->size; name++) {
		unsigned char c = (unsigned char)*name;
		t->buffer[t->len++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	t->buffer[t->len] = 0;
}

/* Source or destination: 10.0.0.1:53, [fd00::1]:53, or the address alone. */
static void add_end(struct text *t, const uint8_t *address, const struct mt_decoded *d, uint16_t port)
{
	bool v6 = d->ip_version == 6;
	char name[64];

	mt_address_format(address, v6 ? 16 : 4, name);
	if (!(d->bits & MT_HAS_PORTS))
		add(t, "%s", name);
	else
		add(t, v6 ? "[%s]:%u" : "%s:%u", name, port);
}

static void add_tcp_flags(struct text *t, uint8_t flags)
{
	static const char letters[] = "FSRP.UEW"; /* bit 0 to 7 */
	char set[9];
	size_t n = 0;

	for (unsigned i = 0; i < 8; i++)
		if (flags >> i & 1)
			set[n++] = letters[i];
	set[n] = 0;
	add(t, " [%s]", n ? set : "none");
}

static void add_icmp(struct text *t, const struct mt_packet *p, const struct mt_decoded *d)
{
	if (d->l4_offset == MT_NO_OFFSET || p->caplen - d->l4_offset < 2)
		return;
	unsigned type = p->data[d->l4_offset], code = p->data[d->l4_offset + 1];
	bool v6 = d->proto == 58;
	if (type == (v6 ? 128 : 8))
		add(t, " echo request");
	else if (type == (v6 ? 129 : 0))
		add(t, " echo reply");
	else
		add(t, " type %u code %u", type, code);
}

static const char *protocol_name(uint8_t proto)
{
	switch (proto) {
	case 1:
		return "ICMP";
	case 2:
		return "IGMP";
	case 6:
		return "TCP";
	case 17:
		return "UDP";
	case 47:
		return "GRE";
	case 50:
		return "ESP";
	case 51:
		return "AH";
	case 58:
		return "ICMPv6";
	case 89:
		return "OSPF";
	case 132:
		return "SCTP";
	default:
		return NULL;
	}
}

static void add_protocol(struct text *t, const struct mt_packet *p, const struct mt_decoded *d)
{
	const char *name = protocol_name(d->proto);

	if (name)
		add(t, " %s", name);
	else
		add(t, " proto %u", d->proto);
	if (d->bits & MT_IS_FRAGMENT && d->l4_offset == MT_NO_OFFSET)
		add(t, " fragment");
	else if (d->bits & MT_IS_TCP && d->bits & MT_HAS_PORTS)
		add_tcp_flags(t, d->tcp_flags);
	else if (d->bits & MT_IS_ICMP)
		add_icmp(t, p, d);
}

size_t mt_print_packet(const struct mt_packet *p, const struct mt_decoded *d, const char *source, bool utc,
                       char *line, size_t size)
{
	struct text t = {line, size, 0};

	add_time(&t, p->ts_ns, utc);
	add(&t, " ");
	add_name(&t, source);
	if (d->bits & MT_HAS_VLAN)
		add(&t, " vlan %u", d->vlan);
	if (d->src_offset != MT_NO_OFFSET) {
		const uint8_t *address = p->data + d->src_offset;
		add(&t, " ");
		add_end(&t, address, d, d->sport);
		add(&t, " > ");
		add_end(&t, address + (d->ip_version == 6 ? 16 : 4), d, d->dport);
		add_protocol(&t, p, d);
	} else if (d->ethertype == 0x0806)
		add(&t, " ARP");
	else if (d->ethertype)
		add(&t, " ethertype 0x%04x", d->ethertype);
	else
		add(&t, " linktype %u", p->linktype);
	add(&t, " %u", p->wirelen);
	return t.len;
}
