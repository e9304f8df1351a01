/* SPDX-License-Identifier: BSD-2-Clause */
#include "linktype.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

static const struct {
	uint16_t linktype;
	int dlt;
} different[] = {
        {100, DLT_ATM_RFC1483}, {101, DLT_RAW},      {102, DLT_SLIP_BSDOS},
        {103, DLT_PPP_BSDOS},   {106, DLT_ATM_CLIP}, {246, DLT_PFSYNC},
};

int mt_linktype_to_dlt(uint16_t linktype)
{
	for (unsigned i = 0; i < sizeof different / sizeof *different; i++)
		if (different[i].linktype == linktype)
			return different[i].dlt;
	return linktype;
}

uint16_t mt_linktype_from_dlt(int dlt)
{
	for (unsigned i = 0; i < sizeof different / sizeof *different; i++)
		if (different[i].dlt == dlt)
			return different[i].linktype;
	return (uint16_t)dlt;
}

const char *mt_linktype_name(uint16_t linktype)
{
	static _Thread_local char text[16];
	const char *name = pcap_datalink_val_to_name(mt_linktype_to_dlt(linktype));
	if (name)
		return name;
	snprintf(text, sizeof text, "DLT_%u", linktype);
	return text;
}

const char *mt_linktype_description(uint16_t linktype)
{
	const char *words = pcap_datalink_val_to_description(mt_linktype_to_dlt(linktype));
	return words ? words : mt_linktype_name(linktype);
}

json_t *mt_linktype_names(const uint8_t *set)
{
	json_t *list = json_array();
	static const uint8_t none[64];
	for (unsigned i = 0; i < 65536; i++) {
		if (!(i & 511) && !memcmp(set + (i >> 3), none, sizeof none))
			i |= 511;
		else if (!set[i >> 3])
			i |= 7;
		else if (set[i >> 3] >> (i & 7) & 1)
			json_array_append_new(list, json_string(mt_linktype_name((uint16_t)i)));
	}
	return list;
}
