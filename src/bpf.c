/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf.c - a BPF machine with fused operations, see bpf.h.
 *
 * Translation: every instruction becomes one operation, except that a load from a fixed offset
 * takes the conditional jump behind it along, if nothing else jumps to that one.  Jumps are
 * forward only, as in the kernel's and libpcap's validators, so every program ends.
 */
#include "bpf.h"

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdlib.h>

#include "decode.h"

/* clang-format off */
#define OPERATIONS(X) \
	X(RET_K) X(RET_A) \
	X(LD_W) X(LD_H) X(LD_B) X(LD_W_IND) X(LD_H_IND) X(LD_B_IND) \
	X(LD_IMM) X(LD_LEN) X(LD_MEM) X(LDX_IMM) X(LDX_LEN) X(LDX_MEM) X(LDX_MSH) X(ST) X(STX) \
	X(JA) X(JEQ) X(JGT) X(JGE) X(JSET) X(JEQ_X) X(JGT_X) X(JGE_X) X(JSET_X) \
	X(ADD) X(SUB) X(MUL) X(DIV) X(MOD) X(AND) X(OR) X(XOR) X(LSH) X(RSH) \
	X(ADD_X) X(SUB_X) X(MUL_X) X(DIV_X) X(MOD_X) X(AND_X) X(OR_X) X(XOR_X) X(LSH_X) X(RSH_X) \
	X(NEG) X(TAX) X(TXA) \
	X(LD_W_JEQ) X(LD_H_JEQ) X(LD_B_JEQ) X(LD_W_JGT) X(LD_H_JGT) X(LD_B_JGT) \
	X(LD_W_JGE) X(LD_H_JGE) X(LD_B_JGE) X(LD_W_JSET) X(LD_H_JSET) X(LD_B_JSET)
/* clang-format on */

#define NAME(name) name,
enum code { OPERATIONS(NAME) UNKNOWN };
#undef NAME

struct operation {
	uint32_t code;    /* enum code */
	uint32_t k;       /* operand; of a load: the offset */
	uint32_t value;   /* of a fused one: the operand of the test */
	uint32_t yes, no; /* places to go on at */
};

struct mt_bpf {
	unsigned n;
	struct operation operations[];
};

/* --- translation ------------------------------------------------------------------------- */

static enum code load_code(uint16_t code)
{
	switch (code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return LD_W;
	case BPF_LD | BPF_H | BPF_ABS:
		return LD_H;
	case BPF_LD | BPF_B | BPF_ABS:
		return LD_B;
	case BPF_LD | BPF_W | BPF_IND:
		return LD_W_IND;
	case BPF_LD | BPF_H | BPF_IND:
		return LD_H_IND;
	case BPF_LD | BPF_B | BPF_IND:
		return LD_B_IND;
	case BPF_LD | BPF_IMM:
		return LD_IMM;
	case BPF_LD | BPF_W | BPF_LEN:
		return LD_LEN;
	case BPF_LD | BPF_MEM:
		return LD_MEM;
	case BPF_LDX | BPF_W | BPF_IMM:
		return LDX_IMM;
	case BPF_LDX | BPF_W | BPF_LEN:
		return LDX_LEN;
	case BPF_LDX | BPF_W | BPF_MEM:
		return LDX_MEM;
	case BPF_LDX | BPF_MSH | BPF_B:
		return LDX_MSH;
	default:
		return UNKNOWN;
	}
}

static enum code jump_code(uint16_t code)
{
	bool x = BPF_SRC(code) == BPF_X;
	switch (BPF_OP(code)) {
	case BPF_JA:
		return JA;
	case BPF_JEQ:
		return x ? JEQ_X : JEQ;
	case BPF_JGT:
		return x ? JGT_X : JGT;
	case BPF_JGE:
		return x ? JGE_X : JGE;
	case BPF_JSET:
		return x ? JSET_X : JSET;
	default:
		return UNKNOWN;
	}
}

static enum code alu_code(uint16_t code)
{
	bool x = BPF_SRC(code) == BPF_X;
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return x ? ADD_X : ADD;
	case BPF_SUB:
		return x ? SUB_X : SUB;
	case BPF_MUL:
		return x ? MUL_X : MUL;
	case BPF_DIV:
		return x ? DIV_X : DIV;
	case BPF_MOD:
		return x ? MOD_X : MOD;
	case BPF_AND:
		return x ? AND_X : AND;
	case BPF_OR:
		return x ? OR_X : OR;
	case BPF_XOR:
		return x ? XOR_X : XOR;
	case BPF_LSH:
		return x ? LSH_X : LSH;
	case BPF_RSH:
		return x ? RSH_X : RSH;
	case BPF_NEG:
		return NEG;
	default:
		return UNKNOWN;
	}
}

static enum code code_of(const struct bpf_insn *in)
{
	switch (BPF_CLASS(in->code)) {
	case BPF_LD:
	case BPF_LDX:
		return load_code(in->code);
	case BPF_ST:
		return ST;
	case BPF_STX:
		return STX;
	case BPF_ALU:
		return alu_code(in->code);
	case BPF_JMP:
		return jump_code(in->code);
	case BPF_RET:
		return BPF_RVAL(in->code) == BPF_A ? RET_A : BPF_RVAL(in->code) == BPF_K ? RET_K : UNKNOWN;
	default:
		return BPF_MISCOP(in->code) == BPF_TAX ? TAX : BPF_MISCOP(in->code) == BPF_TXA ? TXA : UNKNOWN;
	}
}

static bool is_jump(enum code code)
{
	return code >= JA && code <= JSET_X;
}

/* Operands that bpf_filter trusts its validator with. */
static bool is_sane(enum code code, uint32_t k)
{
	switch (code) {
	case LD_MEM:
	case LDX_MEM:
	case ST:
	case STX:
		return k < BPF_MEMWORDS;
	case DIV:
	case MOD:
		return k != 0;
	case LSH:
	case RSH:
		return k < 32;
	default:
		return code != UNKNOWN;
	}
}

static bool translate(struct operation *o, const struct bpf_insn *in, uint64_t at, unsigned n)
{
	enum code code = code_of(in);
	uint64_t yes = at + 1, no = yes;
	if (code == JA) {
		yes = no = at + 1 + in->k;
	} else if (is_jump(code)) {
		yes += in->jt;
		no += in->jf;
	}
	bool ends = code == RET_K || code == RET_A;
	if (!is_sane(code, in->k) || (!ends && (yes >= n || no >= n)))
		return false;
	*o = (struct operation){.code = code, .k = in->k, .yes = (uint32_t)yes, .no = (uint32_t)no};
	return true;
}

/* The operation for a load and the test behind it, or UNKNOWN. */
static enum code fused(enum code load, enum code test)
{
	static const enum code first[] = {LD_W_JEQ, LD_W_JGT, LD_W_JGE, LD_W_JSET};
	if (load < LD_W || load > LD_B || test < JEQ || test > JSET)
		return UNKNOWN;
	return first[test - JEQ] + (load - LD_W);
}

/* The second operation of a pair stays, for those who jump to it. */
static void fuse(struct mt_bpf *bpf)
{
	for (unsigned i = 0; i + 1 < bpf->n; i++) {
		struct operation *o = &bpf->operations[i], *next = o + 1;
		enum code code = fused((enum code)o->code, (enum code)next->code);
		if (code == UNKNOWN)
			continue;
		o->code = code;
		o->value = next->k;
		o->yes = next->yes;
		o->no = next->no;
	}
}

struct mt_bpf *mt_bpf_new(const struct bpf_insn *program, unsigned n)
{
	struct mt_bpf *bpf = n ? malloc(sizeof *bpf + n * sizeof bpf->operations[0]) : NULL;
	if (!bpf)
		return NULL;
	bpf->n = n;
	for (unsigned i = 0; i < n; i++) {
		if (translate(&bpf->operations[i], &program[i], i, n))
			continue;
		free(bpf);
		return NULL;
	}
	fuse(bpf);
	return bpf;
}

void mt_bpf_free(struct mt_bpf *bpf)
{
	free(bpf);
}

/* --- the machine --------------------------------------------------------------------------- */

static inline uint32_t load(const uint8_t *p, unsigned size)
{
	return size == 4 ? get32(p) : size == 2 ? get16(p) : *p;
}

/* clang-format off */
#define NEXT goto *labels[(o = operations + o->yes)->code]
#define BRANCH(condition) goto *labels[(o = operations + ((condition) ? o->yes : o->no))->code]
#define FETCH(size) \
	if (o->k > caplen || caplen - o->k < (size)) \
		return 0; \
	a = load(data + o->k, size)
#define FETCH_IND(size) \
	if (o->k > caplen || x > caplen - o->k || caplen - o->k - x < (size)) \
		return 0; \
	a = load(data + o->k + x, size)
/* clang-format on */

/* Labels as values are GNU C, which gcc and clang have. */
uint32_t mt_bpf_run(const struct mt_bpf *bpf, const uint8_t *data, uint32_t wirelen, uint32_t caplen)
{
#define LABEL(name) [name] = &&name,
	/* cppcheck-suppress assignBoolToPointer ; it takes && for the operator */
	static const void *const labels[] = {OPERATIONS(LABEL)};
#undef LABEL
	const struct operation *operations = bpf->operations, *o = operations;
	uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};

	goto *labels[o->code];
RET_K:
	return o->k;
RET_A:
	return a;
LD_W:
	FETCH(4);
	NEXT;
LD_H:
	FETCH(2);
	NEXT;
LD_B:
	FETCH(1);
	NEXT;
LD_W_IND:
	FETCH_IND(4);
	NEXT;
LD_H_IND:
	FETCH_IND(2);
	NEXT;
LD_B_IND:
	FETCH_IND(1);
	NEXT;
LD_IMM:
	a = o->k;
	NEXT;
LD_LEN:
	a = wirelen;
	NEXT;
LD_MEM:
	a = memory[o->k];
	NEXT;
LDX_IMM:
	x = o->k;
	NEXT;
LDX_LEN:
	x = wirelen;
	NEXT;
LDX_MEM:
	x = memory[o->k];
	NEXT;
LDX_MSH: /* the length of an IPv4 header */
	if (o->k >= caplen)
		return 0;
	x = (data[o->k] & 15u) * 4;
	NEXT;
ST:
	memory[o->k] = a;
	NEXT;
STX:
	memory[o->k] = x;
	NEXT;
JA:
	NEXT;
JEQ:
	BRANCH(a == o->k);
JGT:
	BRANCH(a > o->k);
JGE:
	BRANCH(a >= o->k);
JSET:
	BRANCH(a & o->k);
JEQ_X:
	BRANCH(a == x);
JGT_X:
	BRANCH(a > x);
JGE_X:
	BRANCH(a >= x);
JSET_X:
	BRANCH(a & x);
ADD:
	a += o->k;
	NEXT;
SUB:
	a -= o->k;
	NEXT;
MUL:
	a *= o->k;
	NEXT;
DIV:
	a /= o->k;
	NEXT;
MOD:
	a %= o->k;
	NEXT;
AND:
	a &= o->k;
	NEXT;
OR:
	a |= o->k;
	NEXT;
XOR:
	a ^= o->k;
	NEXT;
LSH:
	a <<= o->k;
	NEXT;
RSH:
	a >>= o->k;
	NEXT;
ADD_X:
	a += x;
	NEXT;
SUB_X:
	a -= x;
	NEXT;
MUL_X:
	a *= x;
	NEXT;
DIV_X:
	if (!x)
		return 0;
	a /= x;
	NEXT;
MOD_X:
	if (!x)
		return 0;
	a %= x;
	NEXT;
AND_X:
	a &= x;
	NEXT;
OR_X:
	a |= x;
	NEXT;
XOR_X:
	a ^= x;
	NEXT;
LSH_X:
	a = x < 32 ? a << x : 0;
	NEXT;
RSH_X:
	a = x < 32 ? a >> x : 0;
	NEXT;
NEG:
	a = 0u - a;
	NEXT;
TAX:
	x = a;
	NEXT;
TXA:
	a = x;
	NEXT;
LD_W_JEQ:
	FETCH(4);
	BRANCH(a == o->value);
LD_H_JEQ:
	FETCH(2);
	BRANCH(a == o->value);
LD_B_JEQ:
	FETCH(1);
	BRANCH(a == o->value);
LD_W_JGT:
	FETCH(4);
	BRANCH(a > o->value);
LD_H_JGT:
	FETCH(2);
	BRANCH(a > o->value);
LD_B_JGT:
	FETCH(1);
	BRANCH(a > o->value);
LD_W_JGE:
	FETCH(4);
	BRANCH(a >= o->value);
LD_H_JGE:
	FETCH(2);
	BRANCH(a >= o->value);
LD_B_JGE:
	FETCH(1);
	BRANCH(a >= o->value);
LD_W_JSET:
	FETCH(4);
	BRANCH(a & o->value);
LD_H_JSET:
	FETCH(2);
	BRANCH(a & o->value);
LD_B_JSET:
	FETCH(1);
	BRANCH(a & o->value);
}
