/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * codec.c - the write side of compression, see codec.h.
 *
 * Called once a block (256 KiB) by sink.c, by one thread at a time.  Each library is wrapped into
 * three functions: start a stream, run one step, free.  A start may follow an ended stream and then
 * takes its memory over.  A step hands its output over in pieces of at most 256 KiB, on the
 * caller's thread.
 */
#include "codec.h"

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zstd.h>

enum {
	OUT_BYTES = 256 * 1024,
	ZSTD_LEVEL = 2,       /* smaller than zstd -1, and still ahead of a pipe into it */
	LZ4_STEP = 64 * 1024, /* input given to lz4 at a time */
	THREADS_MAX = 4,
	ZSTD_JOB = 1024 * 1024, /* input that a zstd thread takes at a time */
	XZ_DICTIONARY = 8 * 1024 * 1024,
	XZ_BLOCK_MIN = 1024 * 1024, /* likewise of xz; as the dictionary, but not less */
	XZ_MEMORY = 160 * 1024 * 1024,
};

struct ops {
	const char *name;
	int (*start)(struct mt_codec *c, struct mt_err *err);
	int (*step)(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
	            struct mt_err *err);
	void (*stop)(struct mt_codec *c);
};

struct mt_codec {
	const struct ops *ops;
	int level;
	bool started; /* a stream is open */
	bool spread;  /* see mt_codec_spread */
	bool blocks;  /* xz: by several threads, which can not flush inside of a block */
	mt_codec_emit *emit;
	void *ctx;
	uint8_t *out;
	size_t out_size;
	union {
		struct isal_zstream gzip;
		ZSTD_CCtx *zstd;
		LZ4F_cctx *lz4;
		lzma_stream xz;
		bz_stream bz2;
	} u;
	uint8_t *level_buffer; /* gzip */
};

static int emit(struct mt_codec *c, size_t len, struct mt_err *err)
{
	return len ? c->emit(c->ctx, c->out, len, err) : 0;
}

/* Threads worth having for the work of a library; the hook thread and the reader get their share of
 * the cores from the scheduler. */
static unsigned thread_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

/* --- gzip ------------------------------------------------------------------------------ */

static const uint32_t gzip_buffer_bytes[] = {ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT,
                                             ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT};

/* ISA-L has levels 0 to 3: -z 0 is its fastest, 9 its smallest. */
static unsigned gzip_level(int level)
{
	return level < 0 ? 1 : level == 0 ? 0 : level <= 3 ? 1 : level <= 6 ? 2 : 3;
}

static int gzip_start(struct mt_codec *c, struct mt_err *err)
{
	unsigned level = gzip_level(c->level);
	uint32_t bytes = gzip_buffer_bytes[level];
	if (bytes && !c->level_buffer && !(c->level_buffer = malloc(bytes)))
		return mt_err_set(err, "gzip: out of memory");
	struct isal_zstream *z = &c->u.gzip;
	isal_deflate_init(z);
	z->gzip_flag = IGZIP_GZIP;
	z->level = level;
	z->level_buf = c->level_buffer;
	z->level_buf_size = bytes;
	return 0;
}

static int gzip_step(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
                     struct mt_err *err)
{
	struct isal_zstream *z = &c->u.gzip;
	z->next_in = (uint8_t *)data;
	z->avail_in = (uint32_t)len;
	z->end_of_stream = step == MT_CODEC_END;
	z->flush = step == MT_CODEC_FLUSH ? SYNC_FLUSH : NO_FLUSH;
	do {
		z->next_out = c->out;
		z->avail_out = (uint32_t)c->out_size;
		int rc = isal_deflate(z);
		if (rc != COMP_OK)
			return mt_err_set(err, "gzip: the compressor failed (%d)", rc);
		if (emit(c, c->out_size - z->avail_out, err))
			return -1;
	} while (z->avail_out == 0 || z->avail_in);
	return 0;
}

static void gzip_stop(struct mt_codec *c)
{
	free(c->level_buffer);
	c->level_buffer = NULL;
}

/* --- zstd ------------------------------------------------------------------------------ */

static int zstd_start(struct mt_codec *c, struct mt_err *err)
{
	if (!c->u.zstd && !(c->u.zstd = ZSTD_createCCtx()))
		return mt_err_set(err, "zstd: out of memory");
	ZSTD_CCtx_reset(c->u.zstd, ZSTD_reset_session_only);
	int level = c->level < 0 ? ZSTD_LEVEL : c->level == 0 ? -1 : c->level;
	size_t rc = ZSTD_CCtx_setParameter(c->u.zstd, ZSTD_c_compressionLevel, level);
	if (!ZSTD_isError(rc))
		rc = ZSTD_CCtx_setParameter(c->u.zstd, ZSTD_c_checksumFlag, 1);
	if (ZSTD_isError(rc))
		return mt_err_set(err, "zstd: %s", ZSTD_getErrorName(rc));
	/* A library without threads refuses, and compresses on this one. */
	unsigned threads = c->spread ? thread_count() : 1;
	if (threads > 1 && !ZSTD_isError(ZSTD_CCtx_setParameter(c->u.zstd, ZSTD_c_nbWorkers, (int)threads)))
		ZSTD_CCtx_setParameter(c->u.zstd, ZSTD_c_jobSize, ZSTD_JOB);
	return 0;
}

static int zstd_step(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
                     struct mt_err *err)
{
	static const ZSTD_EndDirective directives[] = {
	        [MT_CODEC_RUN] = ZSTD_e_continue, [MT_CODEC_FLUSH] = ZSTD_e_flush, [MT_CODEC_END] = ZSTD_e_end};
	ZSTD_inBuffer in = {data, len, 0};
	size_t left;
	do {
		ZSTD_outBuffer out = {c->out, c->out_size, 0};
		left = ZSTD_compressStream2(c->u.zstd, &out, &in, directives[step]);
		if (ZSTD_isError(left))
			return mt_err_set(err, "zstd: %s", ZSTD_getErrorName(left));
		if (emit(c, out.pos, err))
			return -1;
	} while (step == MT_CODEC_RUN ? in.pos < in.size : left > 0);
	return 0;
}

static void zstd_stop(struct mt_codec *c)
{
	ZSTD_freeCCtx(c->u.zstd);
	c->u.zstd = NULL;
}

/* --- lz4 ------------------------------------------------------------------------------- */

static int lz4_check(size_t rc, struct mt_err *err)
{
	return LZ4F_isError(rc) ? mt_err_set(err, "lz4: %s", LZ4F_getErrorName(rc)) : 0;
}

static int lz4_start(struct mt_codec *c, struct mt_err *err)
{
	LZ4F_preferences_t prefs = {0};
	prefs.frameInfo.blockSizeID = LZ4F_max256KB;
	prefs.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
	prefs.compressionLevel = c->level < 0 ? 0 : c->level;
	if (!c->u.lz4 && lz4_check(LZ4F_createCompressionContext(&c->u.lz4, LZ4F_VERSION), err))
		return -1;
	size_t bound = LZ4F_compressBound(LZ4_STEP, &prefs) + LZ4F_HEADER_SIZE_MAX;
	if (bound > c->out_size) {
		uint8_t *out = realloc(c->out, bound);
		if (!out)
			return mt_err_set(err, "lz4: out of memory");
		c->out = out;
		c->out_size = bound;
	}
	size_t rc = LZ4F_compressBegin(c->u.lz4, c->out, c->out_size, &prefs);
	return lz4_check(rc, err) ? -1 : emit(c, rc, err);
}

static int lz4_step(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
                    struct mt_err *err)
{
	while (len) {
		size_t take = len < LZ4_STEP ? len : LZ4_STEP;
		size_t rc = LZ4F_compressUpdate(c->u.lz4, c->out, c->out_size, data, take, NULL);
		if (lz4_check(rc, err) || emit(c, rc, err))
			return -1;
		data += take;
		len -= take;
	}
	if (step == MT_CODEC_RUN)
		return 0;
	size_t rc = step == MT_CODEC_END ? LZ4F_compressEnd(c->u.lz4, c->out, c->out_size, NULL)
	                                 : LZ4F_flush(c->u.lz4, c->out, c->out_size, NULL);
	return lz4_check(rc, err) ? -1 : emit(c, rc, err);
}

static void lz4_stop(struct mt_codec *c)
{
	LZ4F_freeCompressionContext(c->u.lz4);
	c->u.lz4 = NULL;
}

/* --- xz -------------------------------------------------------------------------------- */

/* Several threads, as many as fit into the memory.  false: one has to do. */
static bool xz_start_threads(struct mt_codec *c, const lzma_filter *filters, uint32_t dictionary)
{
	lzma_mt mt = {.filters = filters, .check = LZMA_CHECK_CRC64};
	mt.block_size = dictionary < XZ_BLOCK_MIN ? XZ_BLOCK_MIN : dictionary;
	mt.threads = thread_count();
	while (mt.threads > 1 && lzma_stream_encoder_mt_memusage(&mt) > XZ_MEMORY)
		mt.threads--;
	return mt.threads > 1 && lzma_stream_encoder_mt(&c->u.xz, &mt) == LZMA_OK;
}

static int xz_start(struct mt_codec *c, struct mt_err *err)
{
	lzma_options_lzma options;
	uint32_t preset = c->level < 0 ? 2 : (uint32_t)c->level;
	if (lzma_lzma_preset(&options, preset))
		return mt_err_set(err, "xz: no such level: %d", c->level);
	if (options.dict_size > XZ_DICTIONARY)
		options.dict_size = XZ_DICTIONARY;
	lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
	c->blocks = c->spread && xz_start_threads(c, filters, options.dict_size);
	if (c->blocks)
		return 0;
	lzma_ret rc = lzma_stream_encoder(&c->u.xz, filters, LZMA_CHECK_CRC64);
	return rc == LZMA_OK ? 0 : mt_err_set(err, "xz: the compressor can not start (%d)", (int)rc);
}

static int xz_step(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
                   struct mt_err *err)
{
	static const lzma_action actions[] = {
	        [MT_CODEC_RUN] = LZMA_RUN, [MT_CODEC_FLUSH] = LZMA_SYNC_FLUSH, [MT_CODEC_END] = LZMA_FINISH};
	lzma_stream *z = &c->u.xz;
	z->next_in = data;
	z->avail_in = len;
	lzma_action action = actions[step];
	if (step == MT_CODEC_RUN && !len)
		return 0;
	if (c->blocks && step == MT_CODEC_FLUSH)
		action = LZMA_FULL_FLUSH;
	lzma_ret rc;
	do {
		z->next_out = c->out;
		z->avail_out = c->out_size;
		rc = lzma_code(z, action);
		if (rc != LZMA_OK && rc != LZMA_STREAM_END)
			return mt_err_set(err, "xz: the compressor failed (%d)", (int)rc);
		if (emit(c, c->out_size - z->avail_out, err))
			return -1;
	} while (step == MT_CODEC_RUN ? z->avail_in > 0 : rc != LZMA_STREAM_END);
	return 0;
}

static void xz_stop(struct mt_codec *c)
{
	lzma_end(&c->u.xz);
	memset(&c->u.xz, 0, sizeof c->u.xz);
}

/* --- bz2: no way to flush into the middle, so a flush ends the stream and another follows; nor to
 * use a stream's memory again ------------------------------------------------------------- */

static int bz2_start(struct mt_codec *c, struct mt_err *err)
{
	memset(&c->u.bz2, 0, sizeof c->u.bz2);
	int rc = BZ2_bzCompressInit(&c->u.bz2, c->level < 1 ? (c->level < 0 ? 9 : 1) : c->level, 0, 0);
	return rc == BZ_OK ? 0 : mt_err_set(err, "bz2: the compressor can not start (%d)", rc);
}

static int bz2_step(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
                    struct mt_err *err)
{
	bz_stream *z = &c->u.bz2;
	z->next_in = (char *)data;
	z->avail_in = (unsigned)len;
	if (step == MT_CODEC_RUN && !len)
		return 0;
	int rc;
	do {
		z->next_out = (char *)c->out;
		z->avail_out = (unsigned)c->out_size;
		rc = BZ2_bzCompress(z, step == MT_CODEC_RUN ? BZ_RUN : BZ_FINISH);
		if (rc < 0)
			return mt_err_set(err, "bz2: the compressor failed (%d)", rc);
		if (emit(c, c->out_size - z->avail_out, err))
			return -1;
	} while (step == MT_CODEC_RUN ? z->avail_in > 0 : rc != BZ_STREAM_END);
	if (step != MT_CODEC_RUN) {
		BZ2_bzCompressEnd(z);
		c->started = false; /* the next block starts a stream */
	}
	return 0;
}

static void bz2_stop(struct mt_codec *c)
{
	BZ2_bzCompressEnd(&c->u.bz2);
	memset(&c->u.bz2, 0, sizeof c->u.bz2);
}

/* --------------------------------------------------------------------------------------- */

static const struct ops codecs[] = {
        [MT_CODEC_GZIP] = {"gzip", gzip_start, gzip_step, gzip_stop},
        [MT_CODEC_ZSTD] = {"zstd", zstd_start, zstd_step, zstd_stop},
        [MT_CODEC_LZ4] = {"lz4", lz4_start, lz4_step, lz4_stop},
        [MT_CODEC_XZ] = {"xz", xz_start, xz_step, xz_stop},
        [MT_CODEC_BZ2] = {"bz2", bz2_start, bz2_step, bz2_stop},
};

struct mt_codec *mt_codec_new(enum mt_codec_id id, int level, struct mt_err *err)
{
	if (mt_codec_check(id, level, err))
		return NULL;
	struct mt_codec *c = calloc(1, sizeof *c);
	if (!c || !(c->out = malloc(OUT_BYTES))) {
		free(c);
		mt_err_set(err, "%s: out of memory", codecs[id].name);
		return NULL;
	}
	c->out_size = OUT_BYTES;
	c->ops = &codecs[id];
	c->level = level;
	return c;
}

void mt_codec_free(struct mt_codec *c)
{
	if (!c)
		return;
	c->ops->stop(c);
	free(c->out);
	free(c);
}

int mt_codec_write(struct mt_codec *c, const uint8_t *data, size_t len, enum mt_codec_step step,
                   mt_codec_emit *emit_fn, void *ctx, struct mt_err *err)
{
	c->emit = emit_fn;
	c->ctx = ctx;
	if (!c->started) {
		if (step == MT_CODEC_FLUSH && !len)
			return 0; /* everything is readable already */
		if (c->ops->start(c, err))
			return -1;
		c->started = true;
	}
	if (c->ops->step(c, data, len, step, err))
		return -1;
	if (step == MT_CODEC_END)
		c->started = false;
	return 0;
}

void mt_codec_reset(struct mt_codec *c)
{
	c->ops->stop(c);
	c->started = false;
}

void mt_codec_spread(struct mt_codec *c)
{
	c->spread = true;
}

/* --- names ----------------------------------------------------------------------------- */

const char *mt_codec_extension(enum mt_codec_id codec)
{
	static const char *const extensions[] = {
	        [MT_CODEC_NONE] = "",    [MT_CODEC_GZIP] = ".gz", [MT_CODEC_ZSTD] = ".zst",
	        [MT_CODEC_LZ4] = ".lz4", [MT_CODEC_XZ] = ".xz",   [MT_CODEC_BZ2] = ".bz2",
	};
	return extensions[codec];
}

/* A name of -Z, and the shortest prefix of it that counts. */
static const struct {
	const char *name;
	size_t shortest;
	enum mt_codec_id id;
} names[] = {
        {"gzip", 1, MT_CODEC_GZIP}, {"gz", 1, MT_CODEC_GZIP},   {"zlib", 2, MT_CODEC_GZIP},
        {"zstd", 2, MT_CODEC_ZSTD}, {"zst", 2, MT_CODEC_ZSTD},  {"lz4", 2, MT_CODEC_LZ4},
        {"xz", 1, MT_CODEC_XZ},     {"bzip2", 1, MT_CODEC_BZ2}, {"bz2", 1, MT_CODEC_BZ2},
        {"none", 1, MT_CODEC_NONE}, {"no", 1, MT_CODEC_NONE},
};

int mt_codec_parse(const char *text, enum mt_codec_id *codec)
{
	size_t len = strlen(text);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (len < names[i].shortest || strncasecmp(text, names[i].name, len) != 0)
			continue;
		*codec = names[i].id;
		return 0;
	}
	return -1;
}

int mt_codec_check(enum mt_codec_id codec, int level, struct mt_err *err)
{
	if (codec < MT_CODEC_NONE || codec > MT_CODEC_BZ2)
		return mt_err_set(err, "no such codec: %d (there are gz, zst, lz4, xz and bz2)", (int)codec);
	if (level < -1 || level > 9)
		return mt_err_set(err, "compression level %d: expected 0 to 9", level);
	return 0;
}
