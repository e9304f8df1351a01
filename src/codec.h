/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * codec.h - compress a stream of blocks: gzip (ISA-L), zstd, lz4, xz, bz2.
 *
 * -z 0 to 9 goes from fast to small; what it means to each library:
 *
 *          default  -z 0      1 to 9                            threads
 *   gzip   level 1  level 0   1 to 3: 1, 4 to 6: 2, 7 to 9: 3   1     (ISA-L has 0 to 3)
 *   zstd   level 2  level -1  the same                          cores, at most 4
 *   lz4    fast     fast      1, 2: fast; from 3 lz4hc's level  1
 *   xz     -2       -0        the same                          cores, at most 4, in 160 MiB
 *   bz2    -9       -1        the same: blocks of 100 to 900 kB  1
 *
 * Memory is bounded for each codec, level and number of threads: zstd takes 2 MiB a thread up to
 * level 3, 20 at level 9; the dictionary of xz stays at 8 MiB at most, and it gets fewer threads
 * rather than more memory.
 */
#ifndef MT_CODEC_H
#define MT_CODEC_H
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "output.h"

enum mt_codec_step {
	MT_CODEC_RUN,   /* more will come */
	MT_CODEC_FLUSH, /* what was given so far must become readable */
	MT_CODEC_END    /* the file ends here; the codec can then start another */
};

/* Where compressed bytes go.  0, or -1 with err. */
typedef int mt_codec_emit(void *ctx, const uint8_t *data, size_t len, struct mt_err *err);

struct mt_codec;

/* NULL with err if it can not be made. */
struct mt_codec *mt_codec_new(enum mt_codec_id id, int level, struct mt_err *err);
void mt_codec_free(struct mt_codec *codec);
/* Compress len bytes (may be 0).  0; -1 when emit failed or the library did. */
int mt_codec_write(struct mt_codec *codec, const uint8_t *data, size_t len, enum mt_codec_step step,
                   mt_codec_emit *emit, void *ctx, struct mt_err *err);
/* Forget what an unfinished file left behind: the next write starts a file. */
void mt_codec_reset(struct mt_codec *codec);
/* From the next file on use several threads, if the library can.  For long files: they cost some
 * memory, and about a millisecond when they start. */
void mt_codec_spread(struct mt_codec *codec);

#endif
