/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source_list.c - what -D and -H print: interfaces, and formats that can be read.
 */
#include <pcap/pcap.h>

#include "source.h"
#include "source_trace.h"

static void print_tstamp_types(FILE *out, pcap_t *p)
{
	int *types, n = pcap_list_tstamp_types(p, &types);
	if (n <= 0)
		return;
	fputs("    time stamps:", out);
	for (int i = 0; i < n; i++)
		fprintf(out, " %s", pcap_tstamp_type_val_to_name(types[i]));
	fputc('\n', out);
	pcap_free_tstamp_types(types);
}

static void print_link_types(FILE *out, pcap_t *p)
{
	int *types, n = pcap_list_datalinks(p, &types);
	if (n <= 0)
		return;
	fputs("    link types:", out);
	for (int i = 0; i < n; i++) {
		const char *name = pcap_datalink_val_to_name(types[i]);
		if (name)
			fprintf(out, " %s", name);
		else
			fprintf(out, " DLT_%d", types[i]);
	}
	fputc('\n', out);
	pcap_free_datalinks(types);
}

static void print_details(FILE *out, const char *device)
{
	char text[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_create(device, text);
	if (!p) {
		fprintf(out, "    can not be opened: %s\n", text);
		return;
	}
	print_tstamp_types(out, p);
	int status = pcap_activate(p);
	if (status < 0)
		fprintf(out, "    can not be opened: %s\n", pcap_statustostr(status));
	else
		print_link_types(out, p);
	pcap_close(p);
}

int mt_source_list_interfaces(FILE *out, struct mt_err *err)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	pcap_if_t *list;
	if (pcap_findalldevs(&list, text))
		return mt_err_set(err, "interfaces can not be listed: %s", text);
	if (!list)
		fputs("no interfaces: capturing needs root or CAP_NET_RAW\n", out);
	for (const pcap_if_t *d = list; d; d = d->next) {
		bool loopback = d->flags & PCAP_IF_LOOPBACK, up = d->flags & PCAP_IF_UP;
		fprintf(out, "%s%s%s%s\n", d->name, d->description ? "  " : "",
		        d->description ? d->description : "",
		        loopback ? "  (loopback)"
		        : up     ? ""
		                 : "  (down)");
		print_details(out, d->name);
	}
	pcap_freealldevs(list);
	return 0;
}

void mt_source_list_formats(FILE *out)
{
	fputs("Read here: pcap (microseconds, nanoseconds), pcapng, ERF; found by content, or named as in\n"
	      "pcap:FILE, pcapng:FILE, erf:FILE.  gzip, zstd, lz4, xz and bzip2 around them are recognised.\n"
	      "Written here: pcap, pcapng, ERF.\n"
	      "\n",
	      out);
	fprintf(out, "By libtrace %s, as in FORMAT:REST (libtrace:URI forces it for any):\n\n",
	        mt_trace_version());
	mt_trace_print_formats(out);
}
