/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel_filter.h"

#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <linux/filter.h>
#endif

enum { LINK_ETHERNET = 1, BEFORE = 3 };

void mt_kernel_filter_set(pcap_t *pcap, struct mt_filter *filter, uint16_t linktype)
{
#ifdef SKF_AD_VLAN_TAG_PRESENT
	_Static_assert(sizeof(struct bpf_insn) == sizeof(struct mt_filter_insn), "instructions differ");
	const struct mt_filter_insn *code;
	uint32_t n = linktype == LINK_ETHERNET ? mt_filter_program(filter, linktype, &code) : 0;
	struct bpf_insn *insns = n ? calloc(n + BEFORE, sizeof *insns) : NULL;
	if (!insns)
		return;
	/* Is there a tag beside the frame?  Then it is let through. */
	insns[0] = (struct bpf_insn)BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
	                                     (bpf_u_int32)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
	insns[1] = (struct bpf_insn)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	insns[2] = (struct bpf_insn)BPF_STMT(BPF_RET | BPF_K, MT_MAX_CAPLEN);
	memcpy(insns + BEFORE, code, n * sizeof *insns);
	struct bpf_program program = {.bf_len = n + BEFORE, .bf_insns = insns};
	pcap_setfilter(pcap, &program);
	free(insns);
#else
	(void)pcap;
	(void)filter;
	(void)linktype;
#endif
}
