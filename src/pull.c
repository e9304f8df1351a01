/* SPDX-License-Identifier: BSD-2-Clause */
#include "pull.h"

#include "run.h"
#include "units.h"

enum { TICK_MS = 100 };

static int start(void *ctx, struct mt_err *err)
{
	struct mt_run *run = ctx;
	return mt_run_start_feeds(run, err);
}

/* What is left to do with a batch that has its packets. */
static enum mt_read hand_over(struct mt_run *run, struct mt_batch *b, enum mt_read result)
{
	if (run->reader_screen)
		mt_screen_batch(run->reader_screen, b);
	mt_batch_decode(b);
	b->last = result == MT_END;
	if (b->last || mt_monotonic_ms() - run->losses_at_ms >= TICK_MS)
		mt_run_note_losses(run);
	return result;
}

static enum mt_read pull(void *ctx, struct mt_batch *b, int max_ms, uint64_t *wait_batch)
{
	struct mt_run *run = ctx;
	int64_t until_ms = mt_monotonic_ms() + max_ms;
	bool quiet = false;
	for (;;) {
		if (mt_run_must_end(run, quiet))
			return hand_over(run, b, MT_END);
		enum mt_read r = mt_merge_fill(run->merge, b, wait_batch);
		if (r == MT_OK || r == MT_END)
			return hand_over(run, b, r);
		if (b->n)
			return hand_over(run, b, MT_OK);
		int64_t left_ms = until_ms - mt_monotonic_ms();
		if (r == MT_FULL || left_ms <= 0)
			return r;
		quiet = true;
		mt_merge_poll(run->merge, left_ms < TICK_MS ? (int)left_ms : TICK_MS);
	}
}

static void release(void *ctx, uint64_t batch_seq)
{
	struct mt_run *run = ctx;
	mt_chunks_release(run->chunks, batch_seq);
}

static const char *once(void *ctx)
{
	const struct mt_run *run = ctx;
	for (unsigned i = 0; i < run->n; i++)
		if (!run->sources[i]->parkable)
			return run->sources[i]->spec.word;
	return NULL;
}

static int rewind_sources(void *ctx, struct mt_err *err)
{
	struct mt_run *run = ctx;
	const char *name = once(run);
	if (name)
		return mt_err_set(err, "%s can only be read once", name);
	for (unsigned i = 0; i < run->n; i++)
		mt_source_close(run->sources[i]);
	struct mt_merge *merge = mt_merge_new(run->sources, run->n, run->chunks);
	if (!merge)
		return mt_err_set(err, "out of memory");
	mt_merge_free(run->merge);
	run->merge = merge;
	return 0;
}

static void end(void *ctx)
{
	mt_run_end_feeds(ctx);
}

struct mt_supply mt_pull_supply(struct mt_run *run)
{
	static const struct mt_supply_ops ops = {.start = start,
	                                         .pull = pull,
	                                         .release = release,
	                                         .once = once,
	                                         .rewind = rewind_sources,
	                                         .end = end};
	return (struct mt_supply){&ops, run};
}
