/* SPDX-License-Identifier: BSD-2-Clause */
#include "hooks.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bypass.h"
#include "log.h"
#include "units.h"

enum {
	LOOK_MS = 50,     /* how often the caller looks at a hook that takes long */
	END_FACTOR = 5,   /* on_stop may take so many times the limit: nothing waits for it */
	REPORTED_MAX = 10 /* lost turns that are reported one by one */
};

/* Who may touch what belongs to the caller.  IN_SCRIPT: the caller may take the turn away.  IN_C: the
 * script has called C code that works for the caller.  LOST: taken away, the hook is not back. */
enum turn { NOBODY, IN_SCRIPT, IN_C, LOST };

/* In this order: up to STOP no output is being worked on. */
enum kind { START, BATCH, TICK, LAST_INTERVAL, STOP, SEGMENT_OPEN, SEGMENT_CLOSE, BLOCK, RESULTS, PROFILE };

/* What a turn is about.  It lives as long as the thread, so a lost turn still finds it. */
struct request {
	enum kind kind;
	const struct mt_packet *packets;
	const json_t *a, *b;
	int64_t clock_ns;
	double seconds;
	struct mt_segment_view segment;
	const uint8_t *data;
	size_t len;
	/* answers */
	int status;
	bool keep;
	const char *name;
	json_t *result;
};

struct mt_hooks {
	struct mt_script *script;
	const struct mt_bypass *bypass;
	const struct mt_ifaces *ifaces;
	struct mt_hook_state *state;
	unsigned limit_ms;
	const atomic_bool *stop;
	struct request request;
	atomic_int turn;
	atomic_bool hurry;

	/* with a thread */
	bool started;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool asked, quit;      /* under the lock */
	json_t *own_a, *own_b; /* copies for the script, of the request */
	uint8_t *own_data;
	size_t own_size;

	/* of the caller */
	bool lost; /* the turn that was lost last has not been seen back */
	int64_t lost_ms;
	uint64_t losses;
	uint32_t lost_script;
	const char *lost_hook;
};

/* --- one turn, on whatever thread ----------------------------------------------------------- */

static void perform(struct mt_hooks *h)
{
	struct request *r = &h->request;
	switch (r->kind) {
	case START:
		r->status = mt_script_start(h->script, r->a);
		break;
	case BATCH:
		mt_script_batch(h->script);
		break;
	case TICK:
		r->status = mt_script_tick(h->script, r->clock_ns);
		break;
	case LAST_INTERVAL:
		r->status = mt_script_last_interval(h->script);
		break;
	case STOP:
		r->status = mt_script_stop(h->script, r->a, r->b);
		break;
	case SEGMENT_OPEN:
		r->name = mt_script_segment_open(h->script, &r->segment);
		break;
	case SEGMENT_CLOSE:
		mt_script_segment_close(h->script, r->a);
		break;
	case BLOCK:
		r->keep = mt_script_block(h->script, &r->data, &r->len);
		break;
	case RESULTS:
		r->result = mt_script_results(h->script);
		break;
	case PROFILE:
		r->result = mt_script_profile(h->script, r->seconds);
		break;
	}
}

/* Wait for ever: another thread has taken the outputs over and will end the process. */
static _Noreturn void give_up(void)
{
	for (;;)
		pause();
}

static enum mt_turn run_here(struct mt_hooks *h)
{
	int expected = IN_SCRIPT;
	/* Hooks of outputs are called in the middle of writing: there nobody could finish the outputs. */
	bool may_abandon = h->request.kind <= STOP;
	if (may_abandon)
		atomic_store(&h->turn, IN_SCRIPT);
	perform(h);
	if (may_abandon && !atomic_compare_exchange_strong(&h->turn, &expected, NOBODY))
		give_up();
	return MT_TURN_GOOD;
}

/* --- the thread of the scripts ---------------------------------------------------------------- */

static void *scripts_main(void *arg)
{
	struct mt_hooks *h = arg;
	pthread_setname_np(pthread_self(), "mt-scripts"); /* for top -H, perf */
	pthread_mutex_lock(&h->lock);
	for (;;) {
		while (!h->asked && !h->quit)
			pthread_cond_wait(&h->wake, &h->lock);
		if (h->quit)
			break;
		pthread_mutex_unlock(&h->lock);
		perform(h);
		pthread_mutex_lock(&h->lock);
		h->asked = false;
		/* Lost or not: from here on the script touches nothing. */
		atomic_store(&h->turn, NOBODY);
		pthread_cond_broadcast(&h->wake);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

static int start_thread(struct mt_hooks *h)
{
	if (h->started)
		return 0;
	h->started = !pthread_create(&h->thread, NULL, scripts_main, h);
	if (!h->started)
		mt_log_error("the thread of the scripts could not be started");
	return h->started ? 0 : -1;
}

/* --- reports ---------------------------------------------------------------------------------- */

static const char *hook_name(const struct mt_hooks *h, uint32_t phase)
{
	static const char *const names[] = {[START] = "on_start",
	                                    [TICK] = "on_interval",
	                                    [LAST_INTERVAL] = "on_interval",
	                                    [STOP] = "on_stop",
	                                    [SEGMENT_OPEN] = "on_segment_open",
	                                    [SEGMENT_CLOSE] = "on_segment_close",
	                                    [BLOCK] = "on_block",
	                                    [RESULTS] = "results",
	                                    [PROFILE] = "profile"};
	if (h->request.kind != BATCH)
		return names[h->request.kind];
	if (phase == MT_PHASE_INTERVAL)
		return "on_interval";
	if (phase == MT_PHASE_ROTATE)
		return "rotate";
	return mt_bypass_at(h->bypass, h->lost_script)->batch ? "on_batch" : "on_packet";
}

/* Where the stream was, as far as the hook is about that. */
static char *place(const struct mt_hooks *h, char *text)
{
	const struct request *r = &h->request;
	char at[MT_TIME_TEXT];
	*text = '\0';
	if (r->kind == BATCH)
		mt_script_place(h->script, r->packets, text);
	else if (r->kind == TICK)
		snprintf(text, MT_SCRIPT_PLACE, " (at %s)", mt_format_time_utc(r->clock_ns, at));
	else if (r->kind == SEGMENT_OPEN)
		snprintf(text, MT_SCRIPT_PLACE, " (segment %llu)", (unsigned long long)r->segment.seq);
	return text;
}

static const char *consequence(const struct mt_hooks *h)
{
	switch (h->request.kind) {
	case START:
	case PROFILE:
	case LAST_INTERVAL:
		return "nothing more is asked of it";
	case STOP:
	case RESULTS:
		return "its results are missing";
	default:
		return mt_hooks_lost_ends(h) ? "the run ends"
		                             : "packets go on without scripts until it is back";
	}
}

/* The state belongs to the script, which may change it: each number is read once. */
static void report_loss(struct mt_hooks *h, int64_t ms)
{
	char where[MT_SCRIPT_PLACE];
	uint32_t phase = __atomic_load_n(&h->state->phase, __ATOMIC_RELAXED);
	h->lost_script = __atomic_load_n(&h->state->script, __ATOMIC_RELAXED);
	h->lost_hook = hook_name(h, phase);
	h->lost_ms = mt_monotonic_ms() - ms;
	if (++h->losses > REPORTED_MAX)
		return;
	mt_log_error("script %s: %s has not come back for %.1f s%s; %s%s",
	             mt_bypass_at(h->bypass, h->lost_script)->label, h->lost_hook, (double)ms / 1000,
	             place(h, where), consequence(h),
	             h->losses == REPORTED_MAX ? " (said for the last time)" : "");
}

static void report_return(const struct mt_hooks *h)
{
	if (h->losses <= REPORTED_MAX)
		mt_log_warn("script %s: %s came back after %.1f s",
		            mt_bypass_at(h->bypass, h->lost_script)->label, h->lost_hook,
		            (double)(mt_monotonic_ms() - h->lost_ms) / 1000);
}

/* --- the caller ------------------------------------------------------------------------------- */

static bool take_away(struct mt_hooks *h)
{
	int expected = IN_SCRIPT;
	return atomic_compare_exchange_strong(&h->turn, &expected, LOST);
}

/* The loop over the batch looks at stop before each packet.  A stop that a script asked for stays. */
static void set_stop(struct mt_hooks *h, int32_t from, int32_t to)
{
	__atomic_compare_exchange_n(&h->state->stop, &from, to, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* How long a turn of this kind may take; INT64_MAX: for ever. */
static int64_t limit_of(const struct mt_hooks *h)
{
	switch (h->request.kind) {
	case START: /* nothing is captured yet */
		return atomic_load(h->stop) ? h->limit_ms : INT64_MAX;
	case STOP:
	case RESULTS:
		return (int64_t)h->limit_ms * END_FACTOR;
	default:
		return h->limit_ms;
	}
}

/* Until the turn is over, under the lock.  Time below mt_hooks_leave_script is not the script's. */
static enum mt_turn wait_for_script(struct mt_hooks *h)
{
	int64_t used_ms = 0, seen_ms = mt_monotonic_ms();
	unsigned look_ms = h->limit_ms < LOOK_MS ? h->limit_ms : LOOK_MS;
	while (h->asked) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += look_ms * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&h->wake, &h->lock, &until);
		int64_t now_ms = mt_monotonic_ms();
		if (atomic_load(&h->turn) == IN_SCRIPT)
			used_ms += now_ms - seen_ms;
		seen_ms = now_ms;
		bool over = used_ms >= limit_of(h) || atomic_load(&h->hurry);
		if (h->asked && over && take_away(h)) {
			h->lost = true;
			report_loss(h, used_ms);
			set_stop(h, MT_STOP_NOT, MT_STOP_BATCH);
			return MT_TURN_LOST;
		}
	}
	return MT_TURN_GOOD;
}

/* Give the script copies of what it would borrow: it may hold them for ever. */
static int own_arguments(struct mt_hooks *h)
{
	struct request *r = &h->request;
	json_decref(h->own_a);
	json_decref(h->own_b);
	h->own_a = json_deep_copy(r->a);
	h->own_b = json_deep_copy(r->b);
	r->a = h->own_a;
	r->b = h->own_b;
	if (r->kind != BLOCK)
		return 0;
	if (r->len > h->own_size) {
		free(h->own_data);
		h->own_data = malloc(r->len);
		h->own_size = h->own_data ? r->len : 0;
	}
	if (!h->own_data)
		return -1;
	memcpy(h->own_data, r->data, r->len);
	r->data = h->own_data;
	return 0;
}

static enum mt_turn run_apart(struct mt_hooks *h)
{
	if (start_thread(h) || own_arguments(h)) {
		h->losses++;
		return MT_TURN_LOST;
	}
	pthread_mutex_lock(&h->lock);
	atomic_store(&h->turn, IN_SCRIPT);
	h->asked = true;
	pthread_cond_broadcast(&h->wake);
	enum mt_turn turn = wait_for_script(h);
	pthread_mutex_unlock(&h->lock);
	return turn;
}

bool mt_hooks_ready(struct mt_hooks *h)
{
	if (!h->lost)
		return true;
	if (atomic_load(&h->turn) == LOST)
		return false;
	h->lost = false;
	set_stop(h, MT_STOP_BATCH, MT_STOP_NOT);
	h->state->lost = h->lost_script;
	if (h->request.kind == RESULTS || h->request.kind == PROFILE)
		json_decref(h->request.result);
	report_return(h);
	return true;
}

/* A turn that is lost leaves the request to the script. */
static enum mt_turn ask(struct mt_hooks *h, const struct request *r)
{
	if (!mt_hooks_ready(h))
		return MT_TURN_LOST;
	h->request = *r;
	enum mt_turn turn = h->limit_ms ? run_apart(h) : run_here(h);
	if (turn != MT_TURN_GOOD)
		return turn;
	return h->request.status ? MT_TURN_FAILED : MT_TURN_GOOD;
}

/* --- the calls -------------------------------------------------------------------------------- */

enum mt_turn mt_hooks_start(struct mt_hooks *h, const json_t *sources, int *status)
{
	enum mt_turn turn = ask(h, &(struct request){.kind = START, .a = sources});
	*status = turn == MT_TURN_LOST ? MT_STATUS_SCRIPT : h->request.status;
	return turn;
}

enum mt_turn mt_hooks_batch(struct mt_hooks *h, const struct mt_packet *packets)
{
	return ask(h, &(struct request){.kind = BATCH, .packets = packets});
}

enum mt_turn mt_hooks_tick(struct mt_hooks *h, int64_t clock_ns)
{
	return ask(h, &(struct request){.kind = TICK, .clock_ns = clock_ns});
}

enum mt_turn mt_hooks_last_interval(struct mt_hooks *h)
{
	return ask(h, &(struct request){.kind = LAST_INTERVAL});
}

enum mt_turn mt_hooks_stop(struct mt_hooks *h, const json_t *stats, const json_t *sources)
{
	if (!mt_hooks_ready(h)) {
		mt_log_error("script %s: %s has not come back for %.1f s; the run ends without it%s",
		             mt_bypass_at(h->bypass, h->lost_script)->label, h->lost_hook,
		             (double)(mt_monotonic_ms() - h->lost_ms) / 1000,
		             mt_bypass_results(h->bypass) ? ", results of scripts are missing" : "");
		return MT_TURN_LOST;
	}
	return ask(h, &(struct request){.kind = STOP, .a = stats, .b = sources});
}

const char *mt_hooks_segment_open(struct mt_hooks *h, const struct mt_segment_view *segment)
{
	enum mt_turn turn = ask(h, &(struct request){.kind = SEGMENT_OPEN, .segment = *segment});
	return turn == MT_TURN_LOST ? NULL : h->request.name;
}

void mt_hooks_segment_close(struct mt_hooks *h, const json_t *line)
{
	ask(h, &(struct request){.kind = SEGMENT_CLOSE, .a = line});
}

bool mt_hooks_block(struct mt_hooks *h, const uint8_t **data, size_t *len)
{
	enum mt_turn turn = ask(h, &(struct request){.kind = BLOCK, .data = *data, .len = *len});
	if (turn == MT_TURN_LOST)
		return mt_bypass_rule(h->bypass, true) == MT_RULE_KEEP;
	if (h->request.data != h->own_data) {
		*data = h->request.data;
		*len = h->request.len;
	}
	return h->request.keep;
}

json_t *mt_hooks_results(struct mt_hooks *h)
{
	enum mt_turn turn = ask(h, &(struct request){.kind = RESULTS});
	return turn == MT_TURN_LOST ? json_object() : h->request.result;
}

json_t *mt_hooks_profile(struct mt_hooks *h, double hook_seconds)
{
	enum mt_turn turn = ask(h, &(struct request){.kind = PROFILE, .seconds = hook_seconds});
	return turn == MT_TURN_LOST ? NULL : h->request.result;
}

/* --- below a hook, and beside it -------------------------------------------------------------- */

bool mt_hooks_leave_script(struct mt_hooks *h)
{
	int expected = IN_SCRIPT;
	if (atomic_compare_exchange_strong(&h->turn, &expected, IN_C))
		return true;
	if (!h->limit_ms)
		give_up();
	return false;
}

void mt_hooks_enter_script(struct mt_hooks *h)
{
	atomic_store(&h->turn, IN_SCRIPT);
}

/* The script stores a packet's verdict, then the index of the next.  Compiled Lua has no release
 * stores, so every thread of the process is made to pass a barrier between the reads here. */
uint32_t mt_hooks_finished(const struct mt_hooks *h, uint32_t from)
{
	/* Here and not at the start: it takes some 15 ms. */
	bool barrier = !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	if (!barrier || !__atomic_load_n(&h->state->last_stage, __ATOMIC_ACQUIRE))
		return from;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
		return from;
	uint32_t index = __atomic_load_n(&h->state->index, __ATOMIC_ACQUIRE);
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
		return from;
	return index > from ? index : from;
}

bool mt_hooks_abandon(struct mt_hooks *h)
{
	if (!h->limit_ms)
		return take_away(h);
	atomic_store(&h->hurry, true);
	return false;
}

bool mt_hooks_lost(const struct mt_hooks *h)
{
	return h && h->limit_ms && atomic_load(&h->turn) == LOST;
}

bool mt_hooks_lost_ends(const struct mt_hooks *h)
{
	return h->lost && mt_bypass_at(h->bypass, h->lost_script)->rule == MT_RULE_STOP;
}

bool mt_hooks_any_lost(const struct mt_hooks *h)
{
	return h->losses > 0;
}

bool mt_hooks_apart(const struct mt_hooks *h)
{
	return h->limit_ms != 0;
}

/* --- construction ----------------------------------------------------------------------------- */

struct mt_hooks *mt_hooks_new(struct mt_script *script, const struct mt_ifaces *ifaces, unsigned limit_ms,
                              const atomic_bool *stop)
{
	struct mt_hooks *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->script = script;
	h->bypass = mt_script_bypass(script);
	h->ifaces = ifaces;
	h->state = mt_script_state(script);
	h->limit_ms = limit_ms;
	h->stop = stop;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void mt_hooks_free(struct mt_hooks *h)
{
	if (!h)
		return;
	if (h->started) {
		pthread_mutex_lock(&h->lock);
		h->quit = true;
		pthread_cond_broadcast(&h->wake);
		pthread_mutex_unlock(&h->lock);
		pthread_join(h->thread, NULL);
	}
	json_decref(h->own_a);
	json_decref(h->own_b);
	free(h->own_data);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
