/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * codec.h - compress a stream of blocks: gzip (ISA-L), zstd, lz4, xz, bz2.
 *
 * Memory is bounded for each codec and level (xz: its dictionary stays at 8 MiB at most).
 * -z 0 to 9 goes from fast to small and is mapped to what the library has.
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
int mt_codec_reset(struct mt_codec *codec, struct mt_err *err);

#endif
