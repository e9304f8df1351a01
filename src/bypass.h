/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bypass.h - what becomes of packets that go past a chain of scripts.
 *
 * While a hook does not come back nobody may ask Lua, so what C has to know of each script is told
 * when the chain starts: its on_error rule and its filter= and keep=, compiled once more, since the
 * script's own filters may be in use.  Walked once a packet then, and never otherwise.
 */
#ifndef MT_BYPASS_H
#define MT_BYPASS_H
#include <stdbool.h>

#include "abi.h"
#include "err.h"
#include "options.h"

struct mt_filter;
struct mt_bypass;

struct mt_bypass_script {
	char *label;
	enum mt_error_rule rule;
	bool packets; /* it has on_packet or on_batch */
	bool batch;   /* it has on_batch */
	bool blocks;  /* it has on_block */
	bool results; /* it has on_stop or results */
	struct mt_filter *filter, *keep;
};

struct mt_bypass *mt_bypass_new(void);
void mt_bypass_free(struct mt_bypass *b);
/* Add the next script of the chain.  label, and the expressions filter and keep (or NULL), are copied;
 * linktype: of the first packets.  0 or -1. */
int mt_bypass_add(struct mt_bypass *b, const struct mt_bypass_script *script, const char *filter,
                  const char *keep, uint16_t linktype, struct mt_err *err);
/* The script at a place of the chain, from 1; never NULL. */
const struct mt_bypass_script *mt_bypass_at(const struct mt_bypass *b, uint32_t place);
/* What holds for the chain: stop before drop before keep.  blocks: of scripts with on_block, else of those
 * that see packets. */
enum mt_error_rule mt_bypass_rule(const struct mt_bypass *b, bool blocks);
/* Has any script results to tell at the end? */
bool mt_bypass_results(const struct mt_bypass *b);
/* Give a packet the verdict, or the mark, that it has without the hooks: what keep= rejects is dropped; what a
 * hook would have seen follows the rule of its script; the rest is kept. */
void mt_bypass_packet(const struct mt_bypass *b, struct mt_packet *packet);

#endif
