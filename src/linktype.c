/* SPDX-License-Identifier: BSD-2-Clause */
#include "linktype.h"

#include <pcap/dlt.h>

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
