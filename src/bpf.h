/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf.h - runs classic BPF programs (McCanne and Jacobson 1993) that libpcap has compiled.
 *
 * libpcap's bpf_filter takes one indirect jump for each instruction.  Here a program is translated
 * once into operations in which a load and the test behind it are one, which is most of what
 * a filter expression consists of; a packet then takes half of the time.  What a program
 * says of a packet is the same to the bit, also for packets that are cut short.
 *
 * Run for every packet when -F, filter= or keep= is given; programs have 4 to some hundred
 * instructions.
 */
#ifndef MT_BPF_H
#define MT_BPF_H
#include <stdint.h>

struct bpf_insn;
struct mt_bpf;

/* Translate n instructions, which are copied.  NULL: no memory, or an instruction that libpcap does
 * not make; bpf_filter has to do then. */
struct mt_bpf *mt_bpf_new(const struct bpf_insn *program, unsigned n);
void mt_bpf_free(struct mt_bpf *bpf);
/* What the program returns for a packet: 0, it does not match.  data: caplen bytes. */
uint32_t mt_bpf_run(const struct mt_bpf *bpf, const uint8_t *data, uint32_t wirelen, uint32_t caplen);

#endif
