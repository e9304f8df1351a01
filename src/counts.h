/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counts.h - every packet counted once, under its interface and what became of it.
 *
 * packets = kept + filtered + script_dropped + dropped holds at any time.  The hook thread
 * counts; others may look at the few numbers of mt_counts_progress.
 */
#ifndef MT_COUNTS_H
#define MT_COUNTS_H
#include "abi.h"
#include "iface.h"

/* Counts of one interface table entry, or the sum over several. */
struct mt_counts {
	uint64_t packets, bytes, wire_bytes; /* that reached the program; bytes as captured */
	uint64_t kept, filtered, script_dropped, dropped;
	uint64_t late, disorder, bad_time, script_bypassed, clock_jumps;
	int64_t first_ns, last_ns; /* smallest and largest time; INT64_MAX / INT64_MIN: none */
};

struct mt_counts_table;

/* Nothing counted yet. */
struct mt_counts mt_counts_zero(void);
/* Add c to *sum. */
void mt_counts_sum(struct mt_counts *sum, const struct mt_counts *c);

/* ifaces: borrowed.  NULL: out of memory. */
struct mt_counts_table *mt_counts_new(const struct mt_ifaces *ifaces);
void mt_counts_free(struct mt_counts_table *t);
/* Count n packets by verdict and flags.  Returns how many of them were kept.  *clock_ns goes up to
 * the latest time of those between --from and --to whose clock did not jump. */
uint64_t mt_counts_add(struct mt_counts_table *t, const struct mt_packet *packets, uint32_t n,
                       int64_t *clock_ns);
/* Remember the interfaces of the packets kept last with this verdict, for mt_counts_lose.  0 or -1. */
int mt_counts_watch(struct mt_counts_table *t, uint8_t verdict);
/* Kept packets with this verdict so far; it must be watched. */
uint64_t mt_counts_kept(const struct mt_counts_table *t, uint8_t verdict);
/* The n packets kept last with this verdict never reached their file: they are dropped, not kept. */
void mt_counts_lose(struct mt_counts_table *t, uint8_t verdict, uint64_t n);
/* A packet of the default output that was counted as kept is one that a script dropped after all; or its output
 * could not take it. */
void mt_counts_pass(struct mt_counts_table *t, uint32_t iface);
void mt_counts_refuse(struct mt_counts_table *t, uint32_t iface);
/* Counts of one interface; zeros if nothing came from it. */
struct mt_counts mt_counts_of(const struct mt_counts_table *t, uint32_t iface);
struct mt_counts mt_counts_total(const struct mt_counts_table *t);
/* The rare ones in total: late, disorder, bad_time, script_bypassed, clock_jumps. */
struct mt_counts mt_counts_odd(const struct mt_counts_table *t);
/* The same of the packets that went to a watched output. */
struct mt_counts mt_counts_odd_of(const struct mt_counts_table *t, uint8_t verdict);
/* packets, wire_bytes, kept and dropped in total, as of the last batch; any thread. */
struct mt_counts mt_counts_progress(struct mt_counts_table *t);

#endif
