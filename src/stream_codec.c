/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream_codec.c - decoders for gzip (ISA-L), zstd, lz4 frames, xz and bzip2.
 *
 * Each takes as much input and fills as much output as it can in a call; stream.c loops.
 * Files of several members or frames are common (parallel compressors, appended logs), so
 * all decoders go on after the end of one.
 */
#include "stream.h"

#include <bzlib.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "log.h"
#include "member_check.h"

/* Larger windows than xz -9 (65 MiB) and zstd without --long (128 MiB) need are refused. */
enum { TRAILER = 8, SUMMED_HERE = 32 << 10 /* gzip: bytes of a member */ };
enum { XZ_MEMORY = 160 << 20, ZSTD_WINDOW_LOG = 27, SHORTEST_HEADER = 5 };

struct mt_decoder {
	const struct mt_decoder_ops *ops;
	const char *label;
	bool in_member;   /* between the first and the last byte of a member */
	unsigned members; /* begun so far */
	bool padding;     /* gzip: zeros follow the last member */
	size_t hint;      /* zstd, lz4: input that completes the block in hand */
	union {
		struct gzip *gzip;
		ZSTD_DStream *zstd;
		LZ4F_dctx *lz4;
		lzma_stream xz;
		bz_stream bzip2;
	};
};

static void advance(struct mt_decode_buffers *b, size_t in, size_t out)
{
	b->in += in;
	b->in_len -= in;
	b->out += out;
	b->out_len -= out;
}

static unsigned clamp_uint(size_t n)
{
	return n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

static int cut_short(const struct mt_decoder *d, struct mt_err *err)
{
	return mt_err_set(err, "%s data end before the end of the stream", d->ops->name);
}

/* Input for one call: both libraries forget what a call has decoded when a later block in
 * the same input is damaged, so they get a block at a time. */
static size_t one_block(const struct mt_decoder *d, const struct mt_decode_buffers *b)
{
	size_t n = d->hint ? d->hint : SHORTEST_HEADER;
	return n < b->in_len ? n : b->in_len;
}

static int trailing_garbage(struct mt_decoder *d, struct mt_decode_buffers *b)
{
	mt_log_warn("%s: what follows the %s data is not %s and is ignored", d->label, d->ops->name,
	            d->ops->name);
	advance(b, b->in_len, 0);
	return 0;
}

/* Between members of gzip and bzip2.  2: one begins here; 1: more bytes are needed; 0: the
 * stream is over. */
static int begin_member(struct mt_decoder *d, struct mt_decode_buffers *b)
{
	while (d->members && b->in_len && b->in[0] == 0) {
		d->padding = true; /* tapes pad with zeros */
		advance(b, 1, 0);
	}
	if (!b->in_len)
		return b->at_end ? 0 : 1;
	size_t n = d->ops->magic_len;
	if (b->in_len < n && !b->at_end && memcmp(b->in, d->ops->magic, b->in_len) == 0)
		return 1;
	if (b->in_len < n || memcmp(b->in, d->ops->magic, n) != 0 || d->padding)
		return trailing_garbage(d, b);
	d->in_member = true;
	d->members++;
	return 2;
}

/* --- gzip ------------------------------------------------------------------------------ */

/* ISA-L's own reading of the member header (ISAL_GZIP) takes a header checksum that it never
 * initialised for one to compare with, so at random it refuses good files (seen in 2.30). The
 * header is read here with a structure that is all zeros. */
struct gzip {
	struct inflate_state inflate;
	struct isal_gzip_header header;
	bool in_header, in_trailer;
	uint64_t decoded; /* bytes of the stream so far */
	uint64_t length;  /* of the member */
	uint32_t crc;     /* of the member, up to where the reader goes on */
	bool handed_on;   /* … which it does */
	struct mt_member_check *check;
	uint8_t last[TRAILER]; /* bytes that were taken last */
	uint8_t trailer[TRAILER];
	unsigned n_trailer;
};

static int gzip_open(struct mt_decoder *d)
{
	d->gzip = calloc(1, sizeof *d->gzip);
	if (d->gzip)
		d->gzip->check = mt_member_check_new();
	if (d->gzip && d->gzip->check)
		return 0;
	free(d->gzip);
	return -1;
}

static void gzip_close(struct mt_decoder *d)
{
	mt_member_check_free(d->gzip->check);
	free(d->gzip);
}

struct mt_member_check *mt_decoder_check(const struct mt_decoder *d)
{
	return d->ops->open == gzip_open ? d->gzip->check : NULL;
}

static const char *gzip_error(int code)
{
	switch (code) {
	case ISAL_INVALID_BLOCK:
		return "invalid deflate block";
	case ISAL_INVALID_SYMBOL:
		return "invalid deflate symbol";
	case ISAL_INVALID_LOOKBACK:
		return "invalid deflate distance";
	case ISAL_INVALID_WRAPPER:
		return "invalid gzip header";
	case ISAL_UNSUPPORTED_METHOD:
		return "unknown compression method";
	case ISAL_INCORRECT_CHECKSUM:
		return "checksum does not match";
	default:
		return "damaged data";
	}
}

static void begin_gzip(struct gzip *g)
{
	isal_inflate_init(&g->inflate);
	g->inflate.crc_flag = ISAL_DEFLATE;
	g->header = (struct isal_gzip_header){0};
	g->in_header = true;
	g->in_trailer = g->handed_on = false;
	g->length = g->n_trailer = 0;
	g->crc = 0;
}

/* Bytes that a call has made.  Short members are summed up here, so that there are not many marks. */
static int note_decoded(struct gzip *g, const uint8_t *bytes, size_t n)
{
	g->decoded += n;
	g->length += n;
	if (g->handed_on)
		return 0;
	g->crc = crc32_gzip_refl(g->crc, bytes, n);
	g->handed_on = g->length >= SUMMED_HERE;
	return g->handed_on ? mt_member_check_begin(g->check, g->decoded, g->crc) : 0;
}

/* Bytes that a call has taken: ISA-L may want to give up to eight of them back at the end, when they are no
 * longer in the input. */
static void note_taken(struct gzip *g, const uint8_t *bytes, size_t n)
{
	size_t kept = n < TRAILER ? TRAILER - n : 0;
	memmove(g->last, g->last + TRAILER - kept, kept);
	memcpy(g->last + kept, bytes + n - (TRAILER - kept), TRAILER - kept);
}

/* ISA-L has taken some bytes behind the data.  It keeps them (2.30), or gives them back (2.32), perhaps when
 * they are no longer in the input. */
static void begin_trailer(struct gzip *g, size_t back)
{
	struct inflate_state *z = &g->inflate;
	unsigned bits = z->read_in_length > 0 ? (unsigned)z->read_in_length : 0;
	uint64_t held = bits ? z->read_in >> bits % 8 : 0;
	g->in_trailer = true;
	memcpy(g->trailer, g->last + TRAILER - back, back);
	for (g->n_trailer = (unsigned)back; bits >= 8 && g->n_trailer < TRAILER; bits -= 8, held >>= 8)
		g->trailer[g->n_trailer++] = (uint8_t)held;
	z->read_in_length = 0;
}

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Checksum and length, RFC 1952, 2.3.1. */
static int read_trailer(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	struct gzip *g = d->gzip;
	size_t n = TRAILER - g->n_trailer < b->in_len ? TRAILER - g->n_trailer : b->in_len;
	memcpy(g->trailer + g->n_trailer, b->in, n);
	g->n_trailer += (unsigned)n;
	advance(b, n, 0);
	if (g->n_trailer < TRAILER)
		return b->at_end && !n ? cut_short(d, err) : 1;
	uint32_t crc = get_le32(g->trailer);
	d->in_member = false;
	if (get_le32(g->trailer + 4) != (uint32_t)g->length || (!g->handed_on && g->crc != crc))
		return mt_err_set(err, "gzip data: %s", gzip_error(ISAL_INCORRECT_CHECKSUM));
	if (g->handed_on && mt_member_check_end(g->check, g->decoded, crc))
		return mt_err_set(err, "out of memory");
	return 1;
}

static int gzip_decode(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	struct gzip *g = d->gzip;
	struct inflate_state *z = &g->inflate;
	if (!d->in_member) {
		int begun = begin_member(d, b);
		if (begun < 2)
			return begun;
		begin_gzip(g);
	}
	if (g->in_trailer)
		return read_trailer(d, b, err);
	size_t in = b->in_len, out = clamp_uint(b->out_len);
	z->next_in = (uint8_t *)(uintptr_t)b->in;
	z->avail_in = (uint32_t)in;
	z->next_out = b->out;
	z->avail_out = (uint32_t)out;
	int code = g->in_header ? isal_read_gzip_header(z, &g->header) : ISAL_DECOMP_OK;
	g->in_header = g->in_header && code == ISAL_END_INPUT;
	if (!g->in_header && code == ISAL_DECOMP_OK)
		code = isal_inflate(z);
	size_t back = z->avail_in > in ? z->avail_in - in : 0;
	size_t taken = back ? 0 : in - z->avail_in, made = out - z->avail_out;
	if (note_decoded(g, b->out, made))
		return mt_err_set(err, "out of memory");
	note_taken(g, b->in, taken);
	advance(b, taken, made);
	if (code < 0)
		return mt_err_set(err, "gzip data: %s", gzip_error(code));
	if (z->block_state == ISAL_BLOCK_FINISH) {
		begin_trailer(g, back);
		return read_trailer(d, b, err);
	}
	if (b->at_end && !b->in_len && !taken && !made)
		return cut_short(d, err);
	return 1;
}

/* --- zstd ------------------------------------------------------------------------------ */

static int zstd_open(struct mt_decoder *d)
{
	d->zstd = ZSTD_createDStream();
	if (!d->zstd)
		return -1;
	ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	return 0;
}

static void zstd_close(struct mt_decoder *d)
{
	ZSTD_freeDStream(d->zstd);
}

static int zstd_decode(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	if (!d->in_member && !b->in_len)
		return b->at_end ? 0 : 1;
	ZSTD_inBuffer in = {.src = b->in, .size = one_block(d, b)};
	ZSTD_outBuffer out = {.dst = b->out, .size = b->out_len};
	size_t code = ZSTD_decompressStream(d->zstd, &out, &in);
	advance(b, in.pos, out.pos);
	if (ZSTD_isError(code))
		return mt_err_set(err, "zstd data: %s", ZSTD_getErrorName(code));
	d->in_member = code != 0;
	d->hint = code;
	if (d->in_member && b->at_end && !b->in_len && !in.pos && !out.pos)
		return cut_short(d, err);
	return 1;
}

/* --- lz4 ------------------------------------------------------------------------------- */

static int lz4_open(struct mt_decoder *d)
{
	return LZ4F_isError(LZ4F_createDecompressionContext(&d->lz4, LZ4F_VERSION)) ? -1 : 0;
}

static void lz4_close(struct mt_decoder *d)
{
	LZ4F_freeDecompressionContext(d->lz4);
}

static int lz4_decode(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	if (!d->in_member && !b->in_len)
		return b->at_end ? 0 : 1;
	size_t in = one_block(d, b), out = b->out_len;
	size_t code = LZ4F_decompress(d->lz4, b->out, &out, b->in, &in, NULL);
	if (LZ4F_isError(code))
		return mt_err_set(err, "lz4 data: %s", LZ4F_getErrorName(code));
	advance(b, in, out);
	d->in_member = code != 0;
	d->hint = code;
	if (d->in_member && b->at_end && !b->in_len && !in && !out)
		return cut_short(d, err);
	return 1;
}

/* --- xz -------------------------------------------------------------------------------- */

static int xz_open(struct mt_decoder *d)
{
	d->xz = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_stream_decoder(&d->xz, XZ_MEMORY, LZMA_CONCATENATED) == LZMA_OK ? 0 : -1;
}

static void xz_close(struct mt_decoder *d)
{
	lzma_end(&d->xz);
}

static int xz_decode(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	d->xz.next_in = b->in;
	d->xz.avail_in = b->in_len;
	d->xz.next_out = b->out;
	d->xz.avail_out = b->out_len;
	lzma_ret code = lzma_code(&d->xz, b->at_end ? LZMA_FINISH : LZMA_RUN);
	advance(b, b->in_len - d->xz.avail_in, b->out_len - d->xz.avail_out);
	switch (code) {
	case LZMA_OK:
		return 1;
	case LZMA_STREAM_END:
		return 0;
	case LZMA_BUF_ERROR:
		return b->at_end ? cut_short(d, err) : 1;
	case LZMA_MEMLIMIT_ERROR:
		return mt_err_set(err, "xz data need %llu MiB of memory, the limit is %d",
		                  (unsigned long long)(lzma_memusage(&d->xz) >> 20), XZ_MEMORY >> 20);
	case LZMA_MEM_ERROR:
		return mt_err_set(err, "out of memory for xz data");
	default:
		return mt_err_set(err, "xz data are damaged");
	}
}

/* --- bzip2 ----------------------------------------------------------------------------- */

static int bzip2_open(struct mt_decoder *d)
{
	(void)d; /* begins with each member */
	return 0;
}

static void bzip2_close(struct mt_decoder *d)
{
	if (d->in_member)
		BZ2_bzDecompressEnd(&d->bzip2);
}

static int bzip2_begin(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	int begun = begin_member(d, b);
	if (begun < 2)
		return begun;
	d->bzip2 = (bz_stream){.next_in = NULL};
	if (BZ2_bzDecompressInit(&d->bzip2, 0, 0) == BZ_OK)
		return 2;
	d->in_member = false;
	return mt_err_set(err, "out of memory for bzip2 data");
}

static int bzip2_decode(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	if (!d->in_member) {
		int begun = bzip2_begin(d, b, err);
		if (begun < 2)
			return begun;
	}
	unsigned in = clamp_uint(b->in_len), out = clamp_uint(b->out_len);
	d->bzip2.next_in = (char *)(uintptr_t)b->in;
	d->bzip2.avail_in = in;
	d->bzip2.next_out = (char *)b->out;
	d->bzip2.avail_out = out;
	int code = BZ2_bzDecompress(&d->bzip2);
	unsigned taken = in - d->bzip2.avail_in, made = out - d->bzip2.avail_out;
	advance(b, taken, made);
	if (code == BZ_STREAM_END) {
		BZ2_bzDecompressEnd(&d->bzip2);
		d->in_member = false;
		return 1;
	}
	if (code != BZ_OK)
		return mt_err_set(err, "bzip2 data: %s",
		                  code == BZ_MEM_ERROR ? "out of memory"
		                                       : "damaged, or a checksum does not match");
	if (b->at_end && !b->in_len && !taken && !made)
		return cut_short(d, err);
	return 1;
}

/* --- all of them ----------------------------------------------------------------------- */

static const struct mt_decoder_ops codecs[] = {
        {"gzip", "\x1f\x8b\x08", 3, gzip_open, gzip_decode, gzip_close},
        {"zstd", "\x28\xb5\x2f\xfd", 4, zstd_open, zstd_decode, zstd_close},
        {"lz4", "\x04\x22\x4d\x18", 4, lz4_open, lz4_decode, lz4_close},
        {"xz", "\xfd\x37zXZ\0", 6, xz_open, xz_decode, xz_close},
        {"bzip2", "BZh", 3, bzip2_open, bzip2_decode, bzip2_close},
};

const struct mt_decoder_ops *mt_decoder_detect(const uint8_t *head, size_t len)
{
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
		if (len >= codecs[i].magic_len && memcmp(head, codecs[i].magic, codecs[i].magic_len) == 0)
			return &codecs[i];
	/* zstd files from pzstd or seekable writers begin with a skippable frame, as lz4 may. */
	if (len >= 4 && (head[0] & 0xf0) == 0x50 && memcmp(head + 1, "\x2a\x4d\x18", 3) == 0)
		return &codecs[1];
	return NULL;
}

struct mt_decoder *mt_decoder_new(const struct mt_decoder_ops *ops, const char *label)
{
	struct mt_decoder *d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	d->ops = ops;
	d->label = label;
	if (ops->open(d)) {
		free(d);
		return NULL;
	}
	return d;
}

int mt_decoder_run(struct mt_decoder *d, struct mt_decode_buffers *b, struct mt_err *err)
{
	return d->ops->decode(d, b, err);
}

void mt_decoder_free(struct mt_decoder *d)
{
	if (!d)
		return;
	d->ops->close(d);
	free(d);
}
