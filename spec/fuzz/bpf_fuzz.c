/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_fuzz.c - our BPF machine on any program and packet says what libpcap's says.
 *
 * Input: a byte for the number of instructions, 8 bytes for each (the first picks the operation out of those
 * that libpcap makes, jumps go as far as there is room), 4 bytes of wire length, the packet.
 */
#include <pcap/pcap.h>
#include <string.h>

#include "bpf.h"
#include "fuzz.h"

enum { LONGEST = 64, SEEDS = 64 };

static const uint16_t codes[] = {0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xb1, 0x00, 0x80, 0x60, 0x01, 0x81,
                                 0x61, 0x02, 0x03, 0x07, 0x87, 0x06, 0x16, 0x05, 0x84, 0x04, 0x14, 0x24,
                                 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4, 0x0c, 0x1c, 0x2c, 0x3c, 0x4c,
                                 0x5c, 0x6c, 0x7c, 0x9c, 0xac, 0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d,
                                 0x4d, 0x28, 0x28, 0x30, 0x30, 0x15, 0x15, 0x45, 0x20, 0x15};

static uint32_t word(const uint8_t *p)
{
	uint32_t k;
	memcpy(&k, p, sizeof k);
	return k;
}

/* Operands that a program of libpcap can have. */
static uint32_t operand(uint16_t code, const uint8_t *p)
{
	uint32_t k = p[3] & 1 ? word(p + 4) : p[4]; /* small ones more often */
	switch (code) {
	case 0x60:
	case 0x61:
	case 0x02:
	case 0x03:
		return k % BPF_MEMWORDS;
	case 0x64:
	case 0x74:
		return k % 32;
	case 0x34:
	case 0x94:
		return k ? k : 1;
	default:
		return k;
	}
}

/* Cells are set before all else: in libpcap's machine they hold what was on the stack. */
static unsigned make_program(struct bpf_insn *program, const uint8_t *data, unsigned n)
{
	unsigned at = 0, end = BPF_MEMWORDS + n;
	while (at < BPF_MEMWORDS) {
		program[at] = (struct bpf_insn){.code = BPF_ST, .k = at};
		at++;
	}
	for (; at < end; at++, data += 8) {
		struct bpf_insn *i = &program[at];
		unsigned room = end - at; /* instructions that a jump may skip */
		i->code = codes[data[0] % (sizeof codes / sizeof *codes)];
		i->jt = (uint8_t)(data[1] % room);
		i->jf = (uint8_t)(data[2] % room);
		i->k = operand(i->code, data);
		if (i->code == 0x05)
			i->k %= room;
	}
	program[end] = (struct bpf_insn){.code = BPF_RET | BPF_A};
	return end + 1;
}

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	uint64_t random = i + 1;
	if (i == SEEDS)
		return 0;
	data[0] = (uint8_t)i;
	for (size_t k = 1; k < 8 * SEEDS; k++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		data[k] = (uint8_t)(random >> 56 & (k % 3 ? 0xff : 0x0f));
	}
	return 8 * i + 8 + i * 2;
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	struct bpf_insn program[BPF_MEMWORDS + LONGEST + 1];
	unsigned n = size ? data[0] % LONGEST : 0;
	if (size < 1 + 8 * (size_t)n + 4)
		return 0;
	unsigned length = make_program(program, data + 1, n);
	const uint8_t *packet = data + 1 + 8 * (size_t)n + 4;
	uint32_t caplen = (uint32_t)(data + size - packet), wirelen = word(packet - 4);

	MT_FUZZ_CHECK(bpf_validate(program, (int)length));
	struct mt_bpf *bpf = mt_bpf_new(program, length);
	MT_FUZZ_CHECK(bpf);
	MT_FUZZ_CHECK(mt_bpf_run(bpf, packet, wirelen, caplen) == bpf_filter(program, packet, wirelen, caplen));
	mt_bpf_free(bpf);
	return 0;
}
