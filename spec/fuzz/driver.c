/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * driver.c - feeds a harness (fuzz.h) with mutated inputs.
 *
 *   NAME_fuzz [-t SECONDS] [-s SEED] [-n RUNS] [-o FILE]   FILE: where to save a finding
 *   NAME_fuzz FILE...                                      run these once, to repeat a finding
 *
 * Built with MT_LIBFUZZER it only hands libFuzzer's inputs on.  Else it is a fuzzer of its own, for where
 * there is no clang: the objects are compiled with -fsanitize-coverage=trace-pc, an input that reaches a new
 * edge is kept, and kept ones are mutated further.  The same seed and number of runs do the same again.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

__attribute__((weak)) size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	(void)i;
	(void)data;
	return 0;
}

_Noreturn void mt_fuzz_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

#ifdef MT_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return mt_fuzz_one(data, size);
}

/* Seeds go to the folder MT_FUZZ_SEEDS, which spec/fuzz/run gives to libFuzzer as its corpus. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static uint8_t data[MT_FUZZ_MAX];
	const char *folder = getenv("MT_FUZZ_SEEDS");
	char path[4096];
	size_t size;

	(void)argc;
	(void)argv;
	for (unsigned i = 0; folder && (size = mt_fuzz_seed(i, data)); i++) {
		snprintf(path, sizeof path, "%s/seed-%u", folder, i);
		FILE *file = fopen(path, "wb");
		if (!file || fwrite(data, 1, size, file) != size || fclose(file)) {
			perror(path);
			exit(1);
		}
	}
	return 0;
}

#else
#include <sanitizer/common_interface_defs.h>

enum {
	EDGES = 1 << 15,      /* counters of edges, by hash */
	MAX_CORPUS = 1 << 14, /* inputs that are kept */
	MAX_MUTATIONS = 8,    /* of one input */
	HANGS_AFTER = 10,     /* seconds in one input */
	LOOK_AT_CLOCK = 256   /* runs */
};

struct input {
	uint8_t *data;
	size_t size;
};

static uint8_t edges[EDGES]; /* hit by the input in hand */
static uint8_t known[EDGES]; /* bits of how often, over all inputs */
static uintptr_t last_place;
static struct input corpus[MAX_CORPUS];
static unsigned kept;
static uint64_t random_state = 1;
static const char *save_as;
static uint8_t in_hand[MT_FUZZ_MAX];
static size_t in_hand_size;
static volatile uint64_t runs;

void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void)
{
	uintptr_t place = (uintptr_t)__builtin_return_address(0);

	place = (place ^ place >> 15) * 0x9e3779b1u;
	edges[(place ^ last_place) % EDGES]++;
	last_place = place >> 1;
}

static uint32_t below(uint32_t n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1d) >> 32) % n;
}

/* How often an edge was hit, as one of 8 bits. */
static uint8_t bucket(uint8_t hits)
{
	return (uint8_t)(hits <= 3    ? 1u << (hits - 1)
	                 : hits < 8   ? 8
	                 : hits < 16  ? 16
	                 : hits < 32  ? 32
	                 : hits < 128 ? 64
	                              : 128);
}

/* Has the input in hand reached what none has before it? */
static bool new_edges(void)
{
	bool found = false;

	for (unsigned i = 0; i < EDGES; i += 8) {
		uint64_t eight;
		memcpy(&eight, edges + i, 8);
		for (unsigned k = i; eight && k < i + 8; k++) {
			uint8_t bit = edges[k] ? bucket(edges[k]) : 0;
			found |= (bit & ~known[k]) != 0;
			known[k] |= bit;
		}
	}
	return found;
}

static void keep(const uint8_t *data, size_t size)
{
	struct input *place = &corpus[kept < MAX_CORPUS ? kept++ : below(MAX_CORPUS)];

	free(place->data);
	place->data = malloc(size + 1);
	if (!place->data)
		abort();
	memcpy(place->data, data, size);
	place->size = size;
}

/* Run the harness on memory of exactly this size. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	memcpy(exact, data, size);
	memmove(in_hand, data, size);
	in_hand_size = size;
	last_place = 0;
	mt_fuzz_one(size ? exact : exact + 1, size);
	runs++;
	free(exact);
}

static void save_finding(void)
{
	FILE *file = save_as ? fopen(save_as, "wb") : NULL;

	if (file && fwrite(in_hand, 1, in_hand_size, file) == in_hand_size && fclose(file) == 0)
		fprintf(stderr, "%zu bytes of input saved as %s\n", in_hand_size, save_as);
}

static void on_abort(int signal_number)
{
	save_finding();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void on_alarm(int signal_number)
{
	static uint64_t runs_then;

	(void)signal_number;
	if (runs && runs == runs_then) {
		fprintf(stderr, "one input takes longer than %d seconds\n", HANGS_AFTER);
		save_finding();
		_exit(1);
	}
	runs_then = runs;
	alarm(HANGS_AFTER);
}

/* A number that programs do not expect, 1, 2 or 4 bytes long, at a random place. */
static void put_number(uint8_t *data, size_t size)
{
	static const uint32_t odd[] = {
	        0,   1,    2,      3,      4,      7,      8,       15,         16,         19,
	        20,  31,   32,     39,     40,     63,     64,      127,        128,        255,
	        256, 1500, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
	size_t bytes = (size_t)1 << below(3);
	uint32_t value = odd[below(sizeof odd / sizeof *odd)];

	if (size < bytes)
		return;
	data += below((uint32_t)(size - bytes + 1));
	bool little = below(4) == 0;
	for (size_t i = 0; i < bytes; i++)
		data[little ? i : bytes - 1 - i] = (uint8_t)(value >> 8 * i);
}

/* Copy a piece of `from` over or into data.  Returns the new size. */
static size_t put_piece(uint8_t *data, size_t size, const uint8_t *from, size_t from_size, bool insert)
{
	if (!from_size)
		return size;
	size_t start = below((uint32_t)from_size), n = 1 + below((uint32_t)(from_size - start));
	size_t at = below((uint32_t)size + 1);
	uint8_t piece[MT_FUZZ_MAX];

	if (n > MT_FUZZ_MAX - (insert ? size : at))
		return size;
	memcpy(piece, from + start, n);
	if (insert)
		memmove(data + at + n, data + at, size - at);
	memcpy(data + at, piece, n);
	return insert ? size + n : at + n > size ? at + n : size;
}

static size_t mutate_once(uint8_t *data, size_t size)
{
	uint32_t kind = below(9);

	if (!size || kind == 0) { /* a piece of another one */
		const struct input *other = &corpus[below(kept)];
		return put_piece(data, size, other->data, other->size, below(2));
	}
	size_t at = below((uint32_t)size);
	switch (kind) {
	case 1:
		data[at] ^= (uint8_t)(1u << below(8));
		return size;
	case 2:
		data[at] = (uint8_t)below(256);
		return size;
	case 3:
		data[at] = (uint8_t)(data[at] + below(33) - 16);
		return size;
	case 4:
	case 5:
		put_number(data, size);
		return size;
	case 6: /* a piece of its own again */
		return put_piece(data, size, data, size, below(2));
	case 7: /* a piece less */
		kind = 1 + below((uint32_t)(size - at < 32 ? size - at : 32));
		memmove(data + at, data + at + kind, size - at - kind);
		return size - kind;
	default: /* the end gone */
		return at;
	}
}

static void mutate_and_run(void)
{
	static uint8_t data[MT_FUZZ_MAX];
	const struct input *input = &corpus[below(4) ? below(kept) : kept - 1 - below(kept < 64 ? kept : 64)];
	size_t size = input->size;

	memcpy(data, input->data, size);
	for (uint32_t n = 1 + below(MAX_MUTATIONS); n; n--)
		size = mutate_once(data, size);
	memset(edges, 0, sizeof edges);
	run(data, size);
	if (new_edges())
		keep(data, size);
}

static void run_seeds(void)
{
	static uint8_t data[MT_FUZZ_MAX];
	size_t size;

	run(data, 0);
	for (unsigned i = 0; (size = mt_fuzz_seed(i, data)); i++) {
		memset(edges, 0, sizeof edges);
		run(data, size);
		if (new_edges() || !kept)
			keep(data, size);
	}
	if (!kept)
		keep((const uint8_t *)"0123456789abcdef", 16);
}

static int run_file(const char *path)
{
	static uint8_t data[MT_FUZZ_MAX];
	FILE *file = fopen(path, "rb");

	if (!file) {
		perror(path);
		return 1;
	}
	size_t size = fread(data, 1, sizeof data, file);
	fclose(file);
	run(data, size);
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = 60;
	uint64_t seed = 1, limit = UINT64_MAX;
	int option;

	while ((option = getopt(argc, argv, "t:s:n:o:")) != -1) {
		switch (option) {
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			limit = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			save_as = optarg;
			break;
		default:
			fprintf(stderr, "usage: %s [-t SECONDS] [-s SEED] [-n RUNS] [-o FILE] [FILE...]\n",
			        argv[0]);
			return 2;
		}
	}
	__sanitizer_set_death_callback(save_finding);
	signal(SIGABRT, on_abort);
	signal(SIGALRM, on_alarm);
	alarm(HANGS_AFTER);
	if (optind < argc) {
		int status = 0;
		for (; optind < argc; optind++)
			status |= run_file(argv[optind]);
		return status;
	}
	random_state = seed * 0x9e3779b97f4a7c15 | 1;
	run_seeds();
	time_t end = time(NULL) + (time_t)(seconds + 0.5);
	while (runs < limit && (runs % LOOK_AT_CLOCK || time(NULL) < end))
		mutate_and_run();
	printf("%llu inputs, %u kept, seed %llu\n", (unsigned long long)runs, kept, (unsigned long long)seed);
	for (unsigned i = 0; i < kept; i++)
		free(corpus[i].data);
	return 0;
}
#endif
