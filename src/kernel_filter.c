/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel_filter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifdef __linux__
#include <linux/filter.h>
#endif

enum { LINK_ETHERNET = 1, BEFORE = 3 };

#ifdef SKF_AD_VLAN_TAG_PRESENT
_Static_assert(sizeof(struct bpf_insn) == sizeof(struct mt_filter_insn), "instructions differ");

/* The instructions for the kernel, or NULL: it can not filter.  To be freed. */
static struct bpf_insn *make_program(struct mt_filter *filter, uint16_t linktype, uint32_t *len)
{
	const struct mt_filter_insn *code;
	uint32_t n = filter && linktype == LINK_ETHERNET ? mt_filter_program(filter, linktype, &code) : 0;
	struct bpf_insn *insns = n ? calloc(n + BEFORE, sizeof *insns) : NULL;
	if (!insns)
		return NULL;
	/* Is there a tag beside the frame?  Then it is let through. */
	insns[0] = (struct bpf_insn)BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
	                                     (bpf_u_int32)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
	insns[1] = (struct bpf_insn)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	insns[2] = (struct bpf_insn)BPF_STMT(BPF_RET | BPF_K, MT_MAX_CAPLEN);
	memcpy(insns + BEFORE, code, n * sizeof *insns);
	*len = n + BEFORE;
	return insns;
}
#endif

void mt_kernel_filter_set(pcap_t *pcap, struct mt_filter *filter, uint16_t linktype)
{
#ifdef SKF_AD_VLAN_TAG_PRESENT
	struct bpf_program program = {0};
	program.bf_insns = make_program(filter, linktype, &program.bf_len);
	if (program.bf_insns)
		pcap_setfilter(pcap, &program);
	free(program.bf_insns);
#else
	(void)pcap;
	(void)filter;
	(void)linktype;
#endif
}

/* pcap_setfilter would throw away what is waiting in the socket; the kernel itself changes filters between two
 * packets. */
void mt_kernel_filter_change(pcap_t *pcap, struct mt_filter *filter, uint16_t linktype)
{
#ifdef SKF_AD_VLAN_TAG_PRESENT
	struct bpf_insn all = BPF_STMT(BPF_RET | BPF_K, MT_MAX_CAPLEN);
	struct bpf_program program = {.bf_len = 1, .bf_insns = &all};
	uint32_t len = 0;
	if (linktype != LINK_ETHERNET) /* none was set */
		return;
	struct bpf_insn *insns = make_program(filter, linktype, &len);
	if (insns && len <= BPF_MAXINSNS)
		program = (struct bpf_program){.bf_len = len, .bf_insns = insns};
	struct sock_fprog code = {.len = (unsigned short)program.bf_len,
	                          .filter = (struct sock_filter *)program.bf_insns};
	if (setsockopt(pcap_fileno(pcap), SOL_SOCKET, SO_ATTACH_FILTER, &code, sizeof code))
		pcap_setfilter(pcap, &program); /* it captures in another way */
	free(insns);
#else
	(void)pcap;
	(void)filter;
	(void)linktype;
#endif
}
