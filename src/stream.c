/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream.c - bytes from a descriptor, through a decoder if they are compressed.
 *
 * Called once for each chunk of 16 to 256 KiB.  With a pool, compressed data are decoded ahead
 * by its workers (readahead.h), and whoever decodes also reads the descriptor.  One that is
 * not a regular file is polled before each read, so reading never blocks and the source
 * beside it is not held up.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "member_check.h"

/* Each time its input or its output ends, ISA-L copies the 64 KiB around: with large pieces that is little. */
enum { MAX_RAW_BUFFER = 1 << 20, POLL_MS = 100, FOLLOW_MS = 50 };

struct mt_stream {
	int fd;
	bool regular, follow;
	bool raw_end;     /* the descriptor gave its last byte */
	bool sniffed;     /* head is complete and the codec is known */
	uint8_t head[16]; /* first bytes, read to recognise the codec */
	size_t head_len, head_pos;
	struct mt_err late; /* error to report after the good bytes */
	bool failed;
	uint64_t size;
	_Atomic uint64_t consumed;

	/* Compressed data only.  What decoding uses (also raw_end, late, failed) belongs to the thread
	 * that is in fill_ahead. */
	struct mt_decoder *decoder; /* NULL: not compressed */
	bool wrong;                 /* the reading thread has found a wrong checksum */
	bool decoded_all;
	uint8_t *raw; /* compressed bytes */
	size_t raw_size, raw_pos, raw_len;
	pthread_mutex_t next_lock; /* who reads the descriptor holds it; of next, next_len */
	uint8_t *next;             /* bytes behind those in raw, or NULL */
	size_t next_len;
	struct mt_readahead_pool *pool; /* borrowed, or NULL */
	struct mt_readahead *ahead;     /* NULL: decoded as it is read */
	const atomic_bool *stop;
	char label[];
};

static int check_kind(struct mt_stream *s, struct mt_err *err)
{
	struct stat st;
	if (fstat(s->fd, &st))
		return mt_err_set(err, "%s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return mt_err_set(err, "is a directory, expected a capture file");
	s->regular = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
	s->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

/* A descriptor of its own on what kept_fd has open, at the start. */
static int reopen(int kept_fd)
{
	int fd = fcntl(kept_fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

struct mt_stream *mt_stream_open(const char *path, int kept_fd, bool follow, struct mt_err *err)
{
	size_t len = strlen(path) + 1;
	struct mt_stream *s = calloc(1, sizeof *s + len);
	if (!s) {
		mt_err_set(err, "out of memory");
		return NULL;
	}
	memcpy(s->label, path, len);
	s->follow = follow;
	/* Not blocking, so that a pipe without a writer does not hold up the start. */
	s->fd = kept_fd >= 0             ? reopen(kept_fd)
	        : strcmp(path, "-") == 0 ? STDIN_FILENO
	                                 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (s->fd < 0) {
		mt_err_set(err, "%s%s", strerror(errno),
		           errno == EMFILE ? ": more files overlap in time than ulimit -n allows" : "");
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->next_lock, NULL);
	if (check_kind(s, err)) {
		mt_stream_close(s);
		return NULL;
	}
	return s;
}

void mt_stream_read_ahead(struct mt_stream *s, struct mt_readahead_pool *pool, const atomic_bool *stop)
{
	s->pool = pool;
	s->stop = stop;
}

/* mt_readahead_meanwhile: reading the descriptor is a tenth of the work of unpacking gzip. */
static bool read_next(void *ctx)
{
	struct mt_stream *s = ctx;
	ssize_t n = 0;
	if (!s->regular || s->follow)
		return false;
	pthread_mutex_lock(&s->next_lock);
	if (!s->next)
		s->next = malloc(s->raw_size);
	if (s->next && !s->next_len)
		n = read(s->fd, s->next,
		         s->raw_size); /* the end and errors are met again by who needs the bytes */
	if (n > 0)
		s->next_len = (size_t)n;
	pthread_mutex_unlock(&s->next_lock);
	return n > 0;
}

void mt_stream_close(struct mt_stream *s)
{
	if (!s)
		return;
	mt_readahead_free(s->ahead); /* no worker uses the rest from here on */
	if (s->fd != STDIN_FILENO)
		close(s->fd);
	mt_decoder_free(s->decoder);
	free(s->raw);
	free(s->next);
	pthread_mutex_destroy(&s->next_lock);
	free(s);
}

static bool readable(const struct mt_stream *s, int timeout_ms)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	return poll(&p, 1, timeout_ms) > 0;
}

/* The end of a regular file: the last byte, or with follow= a reason to wait. */
static ssize_t file_end(struct mt_stream *s, struct mt_err *err)
{
	struct stat st;
	uint64_t consumed = mt_stream_consumed(s);
	if (s->follow && s->regular) {
		if (fstat(s->fd, &st) == 0 && (uint64_t)st.st_size < consumed)
			return mt_err_set(err, "was cut to %lld bytes while it was followed, %llu were read",
			                  (long long)st.st_size, (unsigned long long)consumed);
		return MT_STREAM_WAIT;
	}
	s->raw_end = true;
	return 0;
}

static ssize_t raw_read(struct mt_stream *s, uint8_t *buffer, size_t size, struct mt_err *err)
{
	if (s->raw_end)
		return 0;
	if (!s->regular && !readable(s, 0))
		return MT_STREAM_WAIT;
	ssize_t n;
	do
		n = read(s->fd, buffer, size);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return MT_STREAM_WAIT;
	if (n < 0)
		return mt_err_set(err, "reading: %s", strerror(errno));
	if (n == 0)
		return file_end(s, err);
	atomic_fetch_add_explicit(&s->consumed, (uint64_t)n, memory_order_relaxed);
	return n;
}

static void keep_error(struct mt_stream *s, const struct mt_err *err)
{
	s->late = *err;
	s->failed = true;
}

static ssize_t plain_read(struct mt_stream *s, uint8_t *buffer, size_t size, struct mt_err *err)
{
	size_t left = s->head_len - s->head_pos;
	if (!left)
		return raw_read(s, buffer, size, err);
	size_t taken = left < size ? left : size;
	memcpy(buffer, s->head + s->head_pos, taken);
	s->head_pos += taken;
	if (taken == size || !s->regular)
		return (ssize_t)taken;
	ssize_t n = raw_read(s, buffer + taken, size - taken, err);
	if (n == -1)
		keep_error(s, err);
	return (ssize_t)taken + (n > 0 ? n : 0);
}

/* Move what was read already behind the bytes in raw; the number of them. */
static size_t take_next(struct mt_stream *s)
{
	size_t n = s->next_len, room = s->raw_size - s->raw_len;
	if (!n)
		return 0;
	if (!s->raw_len) {
		uint8_t *raw = s->raw;
		s->raw = s->next;
		s->next = raw;
	} else {
		n = n < room ? n : room;
		memcpy(s->raw + s->raw_len, s->next, n);
		memmove(s->next, s->next + n, s->next_len - n);
	}
	s->next_len -= n;
	atomic_fetch_add_explicit(&s->consumed, (uint64_t)n, memory_order_relaxed);
	return n;
}

static ssize_t refill_raw(struct mt_stream *s, struct mt_err *err)
{
	if (s->raw_pos) {
		memmove(s->raw, s->raw + s->raw_pos, s->raw_len - s->raw_pos);
		s->raw_len -= s->raw_pos;
		s->raw_pos = 0;
	}
	if (s->raw_len == s->raw_size)
		return mt_err_set(err, "the decoder makes no progress");
	pthread_mutex_lock(&s->next_lock);
	ssize_t n = (ssize_t)take_next(s);
	if (!n)
		n = raw_read(s, s->raw + s->raw_len, s->raw_size - s->raw_len, err);
	pthread_mutex_unlock(&s->next_lock);
	if (n > 0)
		s->raw_len += (size_t)n;
	return n;
}

/* One step of the decoder. 1 go on, 0 over, -1. */
static int decode_step(struct mt_stream *s, struct mt_decode_buffers *b, struct mt_err *err)
{
	b->in = s->raw + s->raw_pos;
	b->in_len = s->raw_len - s->raw_pos;
	b->at_end = s->raw_end;
	int result = mt_decoder_run(s->decoder, b, err);
	s->raw_pos = s->raw_len - b->in_len;
	return result;
}

static ssize_t decoded_read(struct mt_stream *s, uint8_t *buffer, size_t size, const atomic_bool *cancel,
                            struct mt_err *err)
{
	struct mt_decode_buffers b = {.out = buffer, .out_len = size};
	while (!s->decoded_all && b.out_len) {
		if (cancel && atomic_load_explicit(cancel, memory_order_relaxed))
			break;
		size_t room = b.out_len, input = s->raw_len - s->raw_pos;
		bool was_end = s->raw_end;
		int result = decode_step(s, &b, err);
		if (result < 0) {
			keep_error(s, err);
			break;
		}
		s->decoded_all = result == 0;
		if (result == 0 || room != b.out_len || input != s->raw_len - s->raw_pos)
			continue; /* it moved */
		if (was_end) {
			mt_err_set(err, "the compressed data end too early");
			keep_error(s, err);
			break;
		}
		ssize_t n = refill_raw(s, err);
		if (n == MT_STREAM_WAIT && b.out_len == size)
			return MT_STREAM_WAIT;
		if (n == MT_STREAM_WAIT)
			break;
		if (n == -1) {
			keep_error(s, err);
			break;
		}
	}
	return (ssize_t)(size - b.out_len);
}

/* The good bytes first, then the error. */
static ssize_t told_late(const struct mt_stream *s, ssize_t n, struct mt_err *err)
{
	if (n || !s->failed)
		return n;
	*err = s->late;
	return -1;
}

/* mt_readahead_fill: by a worker, or by the thread that reads the stream. */
static ssize_t fill_ahead(void *ctx, uint8_t *buffer, size_t size, const atomic_bool *cancel,
                          struct mt_err *err)
{
	struct mt_stream *s = ctx;
	return told_late(s, s->failed ? 0 : decoded_read(s, buffer, size, cancel, err), err);
}

static int start_decoder(struct mt_stream *s, const struct mt_decoder_ops *codec, struct mt_err *err)
{
	s->decoder = mt_decoder_new(codec, s->label);
	if (s->pool)
		s->ahead = mt_readahead_new(s->pool, fill_ahead, read_next, s);
	s->raw_size = s->ahead ? mt_readahead_buffer_bytes(s->ahead) : MAX_RAW_BUFFER;
	if (s->raw_size > MAX_RAW_BUFFER)
		s->raw_size = MAX_RAW_BUFFER;
	s->raw = malloc(s->raw_size);
	if (!s->decoder || !s->raw || (s->pool && !s->ahead))
		return mt_err_set(err, "out of memory for the %s decoder", codec->name);
	memcpy(s->raw, s->head, s->head_len);
	s->raw_len = s->head_len;
	return 0;
}

/* Read the first bytes until the codec is clear. 1, 0 nothing there, -1, MT_STREAM_WAIT. */
static ssize_t sniff(struct mt_stream *s, struct mt_err *err)
{
	while (s->head_len < MT_DECODER_MAGIC) {
		ssize_t n = raw_read(s, s->head + s->head_len, sizeof s->head - s->head_len, err);
		if (n == 0)
			break;
		if (n < 0)
			return n;
		s->head_len += (size_t)n;
	}
	s->sniffed = true;
	const struct mt_decoder_ops *codec = mt_decoder_detect(s->head, s->head_len);
	return codec && start_decoder(s, codec, err) ? -1 : 1;
}

/* Decoded bytes, as far as the checksum of gzip members is right. */
static ssize_t checked_read(struct mt_stream *s, uint8_t *buffer, size_t size, struct mt_err *err)
{
	struct mt_member_check *check = mt_decoder_check(s->decoder);
	ssize_t n = s->wrong   ? 0
	            : s->ahead ? mt_readahead_read(s->ahead, buffer, size, s->stop, MT_STREAM_WAIT, err)
	                       : fill_ahead(s, buffer, size, NULL, err);
	size_t good =
	        check && !s->wrong ? mt_member_check_pass(check, buffer, n > 0 ? (size_t)n : 0, &s->wrong) : 0;
	if (!s->wrong)
		return n;
	return good ? (ssize_t)good : mt_err_set(err, "gzip data: checksum does not match");
}

ssize_t mt_stream_read(struct mt_stream *s, uint8_t *buffer, size_t size, struct mt_err *err)
{
	if (!s->sniffed) {
		ssize_t n = sniff(s, err);
		if (n < 0)
			return n;
	}
	if (s->decoder)
		return checked_read(s, buffer, size, err);
	return told_late(s, s->failed ? 0 : plain_read(s, buffer, size, err), err);
}

int mt_stream_wait(struct mt_stream *s, const atomic_bool *stop, struct mt_err *err)
{
	for (;;) {
		if (stop && atomic_load_explicit(stop, memory_order_relaxed))
			return mt_err_set(err, "stopped while waiting for its first bytes");
		if (s->regular) { /* being followed */
			poll(NULL, 0, FOLLOW_MS);
			return 0;
		}
		if (readable(s, POLL_MS))
			return 0;
	}
}

int mt_stream_fd(const struct mt_stream *s)
{
	return s->regular ? -1 : s->fd;
}

bool mt_stream_is_regular(const struct mt_stream *s)
{
	return s->regular;
}

uint64_t mt_stream_size(const struct mt_stream *s)
{
	return s->size;
}

uint64_t mt_stream_consumed(const struct mt_stream *s)
{
	return atomic_load_explicit(&s->consumed, memory_order_relaxed);
}
