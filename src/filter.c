/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter.c - BPF expressions compiled by libpcap, one program for each link type, run by bpf.c.
 *
 * A run sees one link type as a rule and a handful at most.  The program of the last
 * packet is tried first, so that a match costs the program and one comparison.  Each thread
 * compiles its own, which libpcap allows from 1.8 on.
 */
#include "filter.h"

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf.h"

_Static_assert(sizeof(struct mt_filter_insn) == sizeof(struct bpf_insn) &&
                       offsetof(struct mt_filter_insn, jt) == offsetof(struct bpf_insn, jt) &&
                       offsetof(struct mt_filter_insn, jf) == offsetof(struct bpf_insn, jf) &&
                       offsetof(struct mt_filter_insn, k) == offsetof(struct bpf_insn, k),
               "Lua sees libpcap's instructions");

struct program {
	struct bpf_program code;
	struct mt_bpf *bpf; /* the same; NULL: bpf_filter runs it */
	uint16_t linktype;
	bool valid; /* the expression has a meaning for it */
};

struct mt_filter {
	char *text;
	struct program *programs;
	unsigned n;
	unsigned last;
};

/* A capture file without packets.  libpcap compiles some expressions in another way for files than for
 * handles of pcap_open_dead: BSD's numbers for IPv6 behind a loopback header, no ancillary data. */
static pcap_t *empty_file(uint16_t linktype, char *why)
{
	struct pcap_file_header header = {.magic = 0xa1b2c3d4,
	                                  .version_major = PCAP_VERSION_MAJOR,
	                                  .version_minor = PCAP_VERSION_MINOR,
	                                  .snaplen = MT_MAX_CAPLEN,
	                                  .linktype = linktype};
	FILE *file = fmemopen(&header, sizeof header, "rb");
	pcap_t *p = file ? pcap_fopen_offline(file, why) : NULL;
	if (!file)
		snprintf(why, PCAP_ERRBUF_SIZE, "out of memory");
	else if (!p)
		fclose(file);
	return p;
}

static int compile(const char *text, uint16_t linktype, struct bpf_program *code, struct mt_err *err)
{
	char why[PCAP_ERRBUF_SIZE];
	pcap_t *p = empty_file(linktype, why);
	if (!p)
		return mt_err_set(err, "filter \"%s\": %s", text, why);
	int result = pcap_compile(p, code, text, 1, PCAP_NETMASK_UNKNOWN);
	if (result)
		mt_err_set(err, "filter \"%s\": %s", text, pcap_geterr(p));
	pcap_close(p);
	return result ? -1 : 0;
}

static struct program *add_program(struct mt_filter *f, uint16_t linktype, struct mt_err *err)
{
	struct program *list = realloc(f->programs, (f->n + 1) * sizeof *list);
	if (!list) {
		mt_err_set(err, "out of memory for a filter");
		return NULL;
	}
	f->programs = list;
	struct program *program = &list[f->n];
	memset(program, 0, sizeof *program);
	program->linktype = linktype;
	program->valid = compile(f->text, linktype, &program->code, err) == 0;
	if (program->valid)
		program->bpf = mt_bpf_new(program->code.bf_insns, program->code.bf_len);
	f->last = f->n++;
	return program;
}

/* An expression such as "wlan type data" means nothing on Ethernet and is still right. */
static bool means_something(const char *text)
{
	static const uint16_t others[] = {101, 105, 113, 127, 117, 123, 140, 9, 0};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct bpf_program code;
		struct mt_err ignored;
		if (compile(text, others[i], &code, &ignored) == 0) {
			pcap_freecode(&code);
			return true;
		}
	}
	return false;
}

struct mt_filter *mt_filter_new(const char *text, uint16_t linktype, struct mt_err *err)
{
	struct mt_filter *f = calloc(1, sizeof *f);
	if (!f || !(f->text = strdup(text))) {
		mt_err_set(err, "out of memory for a filter");
		free(f);
		return NULL;
	}
	struct program *program = add_program(f, linktype, err);
	if (program && (program->valid || means_something(text)))
		return f;
	mt_filter_free(f);
	return NULL;
}

struct mt_filter *mt_filter_open(const char *text, uint16_t linktype, char *why, size_t size)
{
	struct mt_err err = {{0}};
	struct mt_filter *f = mt_filter_new(text, linktype, &err);
	if (!f)
		snprintf(why, size, "%s", err.text);
	return f;
}

void mt_filter_free(struct mt_filter *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->n; i++) {
		mt_bpf_free(f->programs[i].bpf);
		if (f->programs[i].valid)
			pcap_freecode(&f->programs[i].code);
	}
	free(f->programs);
	free(f->text);
	free(f);
}

static struct program *program_for(struct mt_filter *f, uint16_t linktype)
{
	struct mt_err ignored;
	for (unsigned i = 0; i < f->n; i++)
		if (f->programs[i].linktype == linktype) {
			f->last = i;
			return &f->programs[i];
		}
	return add_program(f, linktype, &ignored);
}

int mt_filter_match(struct mt_filter *f, const struct mt_packet *packet)
{
	const struct program *program = &f->programs[f->last];
	if (program->linktype != packet->linktype && !(program = program_for(f, packet->linktype)))
		return -1;
	if (!program->valid)
		return -1;
	if (__builtin_expect(!program->bpf, 0))
		return bpf_filter(program->code.bf_insns, packet->data, packet->wirelen, packet->caplen) != 0;
	return mt_bpf_run(program->bpf, packet->data, packet->wirelen, packet->caplen) != 0;
}

uint32_t mt_filter_program(struct mt_filter *f, uint16_t linktype, const struct mt_filter_insn **code)
{
	const struct program *program = program_for(f, linktype);
	if (!program || !program->valid)
		return 0;
	*code = (const void *)program->code.bf_insns;
	return program->code.bf_len;
}
