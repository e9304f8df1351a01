/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * help.c - the texts of --help: a first screen, and one for each topic.
 *
 * The options of a topic are printed from the table that the parser uses; only the paragraph
 * above them is written here.  Everything goes to standard output.
 */
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "options_table.h"

enum { HELP_COLUMN = 34 };

static const char front[] =
        "moontap - capture, merge, filter and rotate packet traces, with Lua on every packet\n"
        "\n"
        "usage: moontap [options] SOURCE...      a SOURCE is a file, -, an interface or a libtrace URI\n"
        "\n"
        "  moontap trace.pcap.gz                               what is in it\n"
        "  moontap -o all.pcapng a.pcap b.pcap.zst             merge files by time\n"
        "  moontap -B /traces -G 3600 -S 1G -Z zst eth0        hourly segments, at most 1 GB each\n"
        "  moontap -l top,by=src,n=20 trace.pcap.gz            a recipe; -l FILE.lua is your own script\n"
        "  moontap -e 'p.dport == 53 and p.wirelen > 512' -o big-dns.pcap trace.pcap\n"
        "  moontap --from 2026-11-22T10:00Z --to 2026-11-22T10:05Z -o cut.pcap traces/*.pcap.zst\n"
        "\n"
        "--help TOPIC shows the options:\n";

struct topic {
	const char *name, *alias;
	const char *summary;
	const char *text; /* above the options */
	int options;      /* enum mt_topic, or -1 for a topic of text only */
};

static const struct topic topics[] = {
        {"sources", "source", "files, interfaces, URIs and what stands behind them",
         "A SOURCE without option is, in this order: a URI with a known format, - for standard input,\n"
         "an existing file, an interface. pcap, pcapng and ERF are read natively, also in gz, zst, lz4,\n"
         "xz and bz2, found by content; all else by libtrace (libtrace:URI forces it).\n"
         "Behind a source: ,KEY=VALUE...   (\\, is a comma of the name itself)\n"
         "  filter=BPF   instead of -F         snaplen=BYTES  instead of -s\n"
         "  offset=SEC   added to its times    name=NAME      in statistics and interface blocks\n"
         "  promisc=no   leave that mode off   tstamp=TYPE    kind of time stamp (see -D)\n"
         "  live=yes     may drop when full    follow=yes     go on at the end of a growing file\n"
         "Packets of several sources are merged by time; equal times in the order given here.\n",
         MT_TOPIC_SOURCES},
        {"output", "outputs", "one file or many, formats, compression",
         "-o writes one file, -B a folder of segments (see --help segments); with a script or nothing,\n"
         "neither is needed. The ending of the name tells format and compression: .pcap .pcapng .erf,\n"
         "then .gz .zst .lz4 .xz .bz2. So does a prefix: pcapng:PATH, erf:PATH, or a format of libtrace.\n"
         "Without either it is pcap, or pcapng when link types differ. With --pipeout only -Z and -z\n"
         "compress, since the ending describes what COMMAND makes.\n",
         MT_TOPIC_OUTPUT},
        {"segments", "segment", "rotated files: when, under which names, how many",
         "With -B DIR. The triggers compose: whichever comes first opens a new segment, before the\n"
         "packet that would overstep; so does SIGHUP, and a script's rotate. Sizes take K, M and G, a\n"
         "plain number is MiB. The default name is YYYYMMDD-HHMMSS-NNNNNNNN.EXT. A segment is called\n"
         ".NAME.part until it is whole; each whole one adds a line to DIR/manifest.jsonl.\n",
         MT_TOPIC_SEGMENTS},
        {"select", "time", "filters, time ranges, counts, cutting",
         "All of them must hold. TIME is 2026-11-22T10:00:00.5Z (or +01:00), '2026-11-22 10:00:00' in\n"
         "local time (UTC with -U), 2026-11-22, or seconds since 1970, after offset= was added.\n"
         "--duration is clock time live, and packet time from the first packet with files.\n"
         "In -e the packet is p; nil and false drop. Its fields: --help scripts.\n",
         MT_TOPIC_SELECT},
        {"scripts", "script", "Lua: recipes, hooks, packet fields, errors",
         "-l NAME is a recipe; with a slash or .lua it is your file, which returns a table of hooks.\n"
         "Several -l and -e form a chain in the order given.\n"
         "Hooks: on_start(run)  on_packet(p)  on_batch(batch)  on_interval(now, last)\n"
         "       rotate(segment, p)  on_segment_open(segment)  on_segment_close(segment)\n"
         "       on_block(block)  on_stop(run);  beside them: summary args filter keep interval\n"
         "       on_error results\n"
         "on_packet returns nothing or true to keep, false to drop, or the name of an --out.\n"
         "Fields: ts ts_ns t number caplen wirelen source interface direction linktype ethertype\n"
         "  vlan ip_version proto src dst src_key dst_key sport dport tcp_flags ttl is_ip is_tcp\n"
         "  is_udp is_icmp is_fragment has_ports has_vlan payload_offset payload_len flow_hash tunnel\n"
         "  and some forty more; numbers are 0 when absent, addresses nil\n"
         "Methods: p:u8(off) p:u16(off) p:u32(off) p:bytes(off, len) p:hexdump() p:time() p:copy()\n"
         "  p:inner() p:dns() p:tls() p:edit() p:comment(text) p:truncate(len)\n"
         "moontap. address net netset mac filter table topk distinct quantiles histogram rate load\n"
         "  output json format list stop; all of it is in docs/scripting.md and docs/reference.md\n",
         MT_TOPIC_SCRIPTS},
        {"live", NULL, "interfaces: window, buffers, privileges",
         "An interface is captured through libpcap with nanosecond stamps. What fits neither the\n"
         "kernel's buffer nor ours is dropped and counted; -v prints both sizes at the start. SIGINT\n"
         "and SIGTERM end with everything written that was read; a second one ends at once.\n",
         MT_TOPIC_LIVE},
        {"misc", NULL, "what is printed, help, version", "", MT_TOPIC_MISC},
        {"exit", "status", "exit status and signals",
         "  0    done\n"
         "  1    bad command line or script, a source without a valid file header, an output that\n"
         "       was refused at start (it exists, the folder is not writable, link types differ)\n"
         "  2    a source broke after its header; with --strict also if packets were dropped\n"
         "  3    an output failed while running, also a reader that went away\n"
         "  4    a script failed\n"
         "  130  ended at once by a second SIGINT or SIGTERM\n"
         "If several hold, 3 goes before 4 before 2.\n"
         "\n"
         "  SIGINT, SIGTERM  end cleanly     SIGHUP   a new segment with -B, else as SIGTERM\n"
         "  SIGUSR1          statistics now\n",
         -1},
        {"mtracecap", NULL, "when the program is called by that name",
         "  mtracecap [options] OUTPUT SOURCE...\n"
         "  mtracecap [options] -B DIR SOURCE...\n"
         "\n"
         "Snap length 64, microsecond pcap unless a prefix says otherwise (erf:PATH), compression\n"
         "only by -Z and -z, segments named with --file-ext alone and without manifest. The window\n"
         "is 50 ms; it was 1. An existing output is refused without --overwrite.\n",
         -1},
};
enum { TOPICS = sizeof topics / sizeof *topics };

static bool is_called(const struct topic *topic, const char *name)
{
	return strcmp(topic->name, name) == 0 || (topic->alias && strcmp(topic->alias, name) == 0);
}

static void print_option(const struct mt_option *option)
{
	char text[96];
	int n = option->letter ? snprintf(text, sizeof text, "  -%c, --%s", option->letter, option->name)
	                       : snprintf(text, sizeof text, "      --%s", option->name);
	if (option->alias)
		n += snprintf(text + n, sizeof text - (size_t)n, ", --%s", option->alias);
	if (option->argument)
		n += snprintf(text + n, sizeof text - (size_t)n, option->optional ? " [%s]" : " %s",
		              option->argument);
	if (n >= HELP_COLUMN)
		printf("%s\n%*s%s\n", text, HELP_COLUMN, "", option->help);
	else
		printf("%-*s%s\n", HELP_COLUMN, text, option->help);
}

static void print_topic(const struct topic *topic)
{
	printf("%s: %s\n\n%s", topic->name, topic->summary, topic->text);
	if (topic->options < 0)
		return;
	if (*topic->text)
		putchar('\n');
	for (const struct mt_option *o = mt_options_table; o->name; o++)
		if ((int)o->topic == topic->options)
			print_option(o);
}

static void print_front(void)
{
	fputs(front, stdout);
	for (int i = 0; i < TOPICS; i++)
		printf("  %-11s%s\n", topics[i].name, topics[i].summary);
	puts("  all        everything        (the manual: man moontap)");
}

static int unknown_topic(const char *name, struct mt_err *err)
{
	char names[256] = "";
	for (int i = 0; i < TOPICS; i++) {
		strcat(names, topics[i].name);
		strcat(names, " ");
	}
	return mt_err_set(err, "--help %s: unknown topic, expected one of: %sall", name, names);
}

int mt_help_print(const char *topic, struct mt_err *err)
{
	bool all = topic && strcmp(topic, "all") == 0, found = false;
	if (!topic || all)
		print_front();
	for (int i = 0; topic && i < TOPICS; i++) {
		if (!all && !is_called(&topics[i], topic))
			continue;
		if (all)
			putchar('\n');
		print_topic(&topics[i]);
		found = true;
	}
	if (topic && !found)
		return unknown_topic(topic, err);
	if (fflush(stdout))
		return mt_err_set(err, "--help: standard output can not be written");
	return 0;
}
