/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dns.h - what the parts of the DNS reader share: messages and names in dns.c, record data as text
 * in dns_text.c, whole batches in dns_batch.c.  The functions that Lua calls are in abi.h.
 */
#ifndef MT_DNS_H
#define MT_DNS_H
#include "abi.h"

enum {
	MT_DNS_HEADER = 12,
	MT_DNS_NAME_MAX = 255, /* bytes of a name, RFC 1035 2.3.4 */
	MT_DNS_FIXED = 10      /* type, class, TTL and length of a record */
};

enum mt_dns_type {
	MT_DNS_A = 1,
	MT_DNS_NS = 2,
	MT_DNS_CNAME = 5,
	MT_DNS_SOA = 6,
	MT_DNS_PTR = 12,
	MT_DNS_HINFO = 13,
	MT_DNS_MX = 15,
	MT_DNS_TXT = 16,
	MT_DNS_AAAA = 28,
	MT_DNS_SRV = 33,
	MT_DNS_DNAME = 39,
	MT_DNS_OPT = 41,
	MT_DNS_SVCB = 64,
	MT_DNS_HTTPS = 65,
	MT_DNS_SPF = 99,
	MT_DNS_CAA = 257
};

/* Where what follows the name at offset begins, or one of these. */
enum { MT_DNS_CUT = 0 /* it runs past len */, MT_DNS_BAD = 1 /* it is no name */ };
uint32_t mt_dns_skip_name(const uint8_t *data, uint32_t len, uint32_t offset);
/* Does the data of a record of this type have the form that its type asks for?  fixed: see mt_dns_record.
 * True also for types that are not known here. */
int mt_dns_rdata_valid(const uint8_t *data, uint32_t fixed);

/* Note the messages on usual ports of a batch, which is decoded if it is not yet: enum mt_dns_depth. */
void mt_dns_batch(struct mt_batch *batch, uint32_t depth);

#endif
