/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h - what a harness and the driver agree on.
 *
 * A harness is one file NAME_fuzz.c; `make fuzz` builds it with the sanitizers and runs it.
 * It links with every object of the program but main.o.
 */
#ifndef MT_FUZZ_H
#define MT_FUZZ_H
#include <stddef.h>
#include <stdint.h>

enum { MT_FUZZ_MAX = 4096 /* the longest input */ };

/* One input.  data ends where the sanitizer notices reads behind it; size may be 0.  A finding is
 * whatever ends the process: a sanitizer's report, a failed MT_FUZZ_CHECK.  Returns 0. */
int mt_fuzz_one(const uint8_t *data, size_t size);
/* Optional: write input number i (from 0) to begin with to data (MT_FUZZ_MAX bytes).  Returns its
 * size, 0 behind the last. */
size_t mt_fuzz_seed(unsigned i, uint8_t *data);

/* What must hold for every input. */
#define MT_FUZZ_CHECK(condition) ((condition) ? (void)0 : mt_fuzz_failed(#condition, __FILE__, __LINE__))
_Noreturn void mt_fuzz_failed(const char *condition, const char *file, int line);

#endif
