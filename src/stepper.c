/* SPDX-License-Identifier: BSD-2-Clause */
#include "stepper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edit.h"
#include "filter.h"
#include "log.h"
#include "output.h"
#include "print.h"
#include "queue.h"
#include "units.h"

struct mt_stepper {
	struct mt_supply supply;
	const struct mt_ifaces *ifaces;
	struct mt_options *options;
	struct mt_counts_table *counts;
	struct mt_step kept[MT_STEPPER_BATCHES]; /* number n at n % MT_STEPPER_BATCHES; batches are reused */
	uint64_t oldest, newest;                 /* numbers kept; oldest > newest: none */
	uint64_t before;                         /* packets before the next batch */
	uint64_t counted;                        /* packets of the stream that were counted already */
	int64_t clock_ns;
	bool ended;
	unsigned saved;
};

struct mt_stepper *mt_stepper_new(struct mt_supply supply, const struct mt_ifaces *ifaces,
                                  struct mt_options *options, struct mt_counts_table *counts,
                                  struct mt_err *err)
{
	struct mt_stepper *s = calloc(1, sizeof *s);
	if (!s) {
		mt_err_set(err, "out of memory");
		return NULL;
	}
	*s = (struct mt_stepper){.supply = supply,
	                         .ifaces = ifaces,
	                         .options = options,
	                         .counts = counts,
	                         .oldest = 1,
	                         .clock_ns = INT64_MIN};
	if (!supply.ops->start(supply.ctx, err))
		return s;
	free(s);
	return NULL;
}

static struct mt_step *slot(struct mt_stepper *s, uint64_t seq)
{
	return &s->kept[seq % MT_STEPPER_BATCHES];
}

/* Let go of the batches up to and including seq. */
static void release(struct mt_stepper *s, uint64_t seq)
{
	for (; s->oldest <= seq && s->oldest <= s->newest; s->oldest++)
		mt_edits_release(slot(s, s->oldest)->batch);
	s->supply.ops->release(s->supply.ctx, seq);
}

void mt_stepper_free(struct mt_stepper *s)
{
	if (!s)
		return;
	s->supply.ops->end(s->supply.ctx);
	release(s, s->newest);
	for (unsigned i = 0; i < MT_STEPPER_BATCHES; i++)
		free(s->kept[i].batch);
	free(s);
}

/* Packets that are read for the first time. */
static void count(struct mt_stepper *s, const struct mt_batch *b)
{
	uint64_t known = s->counted > s->before ? s->counted - s->before : 0;
	if (known >= b->n)
		return;
	mt_counts_add(s->counts, b->packets + known, b->n - (uint32_t)known, &s->clock_ns);
	s->counted = s->before + b->n;
}

static void empty(struct mt_batch *b, uint64_t seq)
{
	b->seq = seq;
	b->n = b->bytes = b->last = b->screened = 0;
	mt_batch_forget(b);
}

int mt_stepper_fetch(struct mt_stepper *s, int32_t wait_ms)
{
	uint64_t seq = s->newest + 1, wait_batch;
	if (s->ended)
		return MT_STEP_END;
	if (s->newest >= MT_STEPPER_BATCHES)
		release(s, seq - MT_STEPPER_BATCHES);
	struct mt_step *step = slot(s, seq);
	if (!step->batch && !(step->batch = malloc(sizeof *step->batch))) {
		mt_log_error("out of memory");
		return MT_STEP_ERROR;
	}
	enum mt_read r;
	do {
		empty(step->batch, seq);
		r = s->supply.ops->pull(s->supply.ctx, step->batch, wait_ms, &wait_batch);
		if (r == MT_FULL)
			release(s, wait_batch);
	} while (r == MT_FULL);
	if (r == MT_WAIT)
		return MT_STEP_WAIT;
	s->ended = r == MT_END;
	if (!step->batch->n)
		return MT_STEP_END;
	step->before = (double)s->before;
	count(s, step->batch);
	s->before += step->batch->n;
	s->newest = seq;
	return MT_STEP_OK;
}

double mt_stepper_oldest(const struct mt_stepper *s)
{
	return (double)s->oldest;
}

double mt_stepper_newest(const struct mt_stepper *s)
{
	return (double)s->newest;
}

void mt_stepper_at(const struct mt_stepper *s, double number, struct mt_step *step)
{
	uint64_t seq = number >= 1 && number <= (double)s->newest ? (uint64_t)number : 0;
	*step = (struct mt_step){NULL, 0};
	if (seq && seq >= s->oldest)
		*step = s->kept[seq % MT_STEPPER_BATCHES];
}

const char *mt_stepper_once(const struct mt_stepper *s)
{
	return s->supply.ops->once(s->supply.ctx);
}

int mt_stepper_rewind(struct mt_stepper *s, char *why, size_t size)
{
	struct mt_err err;
	if (!mt_stepper_once(s))
		release(s, s->newest);
	if (s->supply.ops->rewind(s->supply.ctx, &err)) {
		snprintf(why, size, "%s", err.text);
		return -1;
	}
	s->before = 0;
	s->ended = false;
	return 0;
}

/* --- packets of a batch ------------------------------------------------------------------ */

static bool is_there(const struct mt_packet *p)
{
	return p->verdict != MT_VERDICT_FILTERED && p->verdict != MT_VERDICT_OUTSIDE &&
	       p->verdict != MT_VERDICT_LATE;
}

uint32_t mt_step_next(const struct mt_batch *batch, uint32_t from, struct mt_filter *filter)
{
	uint32_t i = from;
	while (i < batch->n &&
	       !(is_there(&batch->packets[i]) && (!filter || mt_filter_match(filter, &batch->packets[i]) > 0)))
		i++;
	return i;
}

int32_t mt_step_back(const struct mt_batch *batch, int32_t from)
{
	int32_t i = from;
	while (i >= 0 && !is_there(&batch->packets[i]))
		i--;
	return i;
}

void mt_step_again(struct mt_batch *batch, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		struct mt_packet *p = &batch->packets[i];
		if (!is_there(p))
			continue;
		p->verdict = MT_VERDICT_DEFAULT;
		p->flags &= (uint8_t)~MT_PACKET_BYPASSED;
		if (!p->cut)
			continue;
		p->caplen += p->cut;
		p->cut = 0;
		mt_decode(p, &batch->decode[i]);
	}
}

int mt_time_of(const char *text, int64_t *ns)
{
	return mt_parse_time(text, false, ns) ? 0 : -1;
}

/* --- packets to a file ------------------------------------------------------------------- */

/* What follows from the packets, as main.c has it for sources. */
static void settle(struct mt_output_config *c, const struct mt_packet *packets, uint32_t n)
{
	bool mixed = false;
	c->microseconds = true;
	for (uint32_t i = 0; i < n; i++) {
		mixed = mixed || packets[i].linktype != packets[0].linktype;
		c->microseconds = c->microseconds && packets[i].ts_ns % 1000 == 0;
	}
	if (c->format == MT_FORMAT_AUTO)
		c->format = mixed ? MT_FORMAT_PCAPNG : MT_FORMAT_PCAP;
	c->linktype = packets[0].linktype;
}

static int write_all(struct mt_stepper *s, struct mt_output_config *c, struct mt_packet *packets, uint32_t n,
                     struct mt_err *err)
{
	const struct mt_output_hooks no_hooks = {0};
	struct mt_run_counters no_counters = {0};
	struct mt_err later;
	settle(c, packets, n);
	struct mt_output *o = mt_output_open(c, s->ifaces, &no_hooks, &no_counters, err);
	if (!o)
		return -1;
	int rc = mt_output_write(o, packets, n, MT_VERDICT_DEFAULT, err);
	if (mt_output_close(o, rc ? &later : err))
		rc = -1;
	for (uint32_t i = 0; i < n && !rc; i++)
		if (packets[i].verdict == MT_VERDICT_UNWRITABLE)
			rc = mt_err_set(err, "%s: not all packets fit the format; .pcapng takes them", c->path);
	mt_output_free(o);
	return rc;
}

int mt_stepper_save(struct mt_stepper *s, const char *path, struct mt_packet *packets, uint32_t n, char *why,
                    size_t size)
{
	static const char *const no_pairs[] = {NULL};
	struct mt_err err = {{0}};
	char name[32];
	unsigned before = s->options->n_named;
	if (!n) {
		snprintf(why, size, "there are no packets to write");
		return -1;
	}
	snprintf(name, sizeof name, "saved-%u", ++s->saved);
	for (uint32_t i = 0; i < n; i++)
		packets[i].verdict = MT_VERDICT_DEFAULT;
	int place = mt_options_declare_output(s->options, name, path, false, 0, no_pairs, &err);
	int rc = place < 0 ? -1 : write_all(s, &s->options->named[place].output, packets, n, &err);
	mt_options_forget_outputs(s->options, before);
	if (rc)
		snprintf(why, size, "%s", err.text);
	return rc;
}

size_t mt_packet_line(const struct mt_packet *packet, const struct mt_decoded *decoded, const char *source,
                      char *line, size_t size)
{
	return mt_print_packet(packet, decoded, source, false, line, size);
}
