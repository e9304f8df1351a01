/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sink.c - block, block hook, codec, descriptor or pipe command; see sink.h.
 *
 * Called for each full block (256 KiB, so some thousand times a second at most) and by the
 * flush timer, on the hook thread.  Plain bytes are written there and then, unless making
 * them takes much longer: another thread would only take a processor from the reading one.  Where scripts work
 * hard, writing moves to a thread, and so does a codec.  Whatever the thread uses belongs to it while blocks
 * are on their way; the hook thread waits for it before it opens or closes a file, or looks at why something
 * failed.
 *
 * Complete means: everything was accepted by the kernel and the file is
 * closed.  There is no fsync: it costs up to a second a segment, and a crash of the machine
 * loses what was in flight anyway.
 */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "beat.h"
#include "child.h"
#include "codec.h"
#include "log.h"
#include "units.h"
#include "writer.h"

enum {
	FULL_BYTES = MT_BLOCK_BYTES / 2, /* less is the end of a small file, not worth a thread */
	POLL_MS = 200,
	LOAD_BLOCKS = 32,        /* written before it is decided whether a thread does it */
	DRAIN_MS = 5,            /* between two looks whether a command has read everything */
	STUCK_MS = 3000,         /* after an interrupt, a command that takes nothing for so long is ended */
	PIPE_BYTES = 1024 * 1024 /* asked for, not insisted on */
};

/* Time of the hook thread, in nanoseconds of its processor, for the last blocks that it wrote itself. */
struct load {
	unsigned blocks;
	int64_t made, written; /* up to and in writes */
	int64_t since;         /* when the last one ended; 0: not known */
};

struct mt_sink {
	struct mt_sink_config config;

	/* The hook thread's. */
	struct mt_block block;
	struct mt_writer *writer; /* NULL: compress and write in the call, what is small */
	bool first;               /* the next block begins with the file header */
	bool failed;              /* nothing more is sent */
	bool codec_holds;         /* the codec was fed since it was last asked to flush */
	bool dropped;             /* see mt_sink_dropped */
	size_t header;            /* bytes of the file header in the first block */
	int64_t held_since_ms;    /* 0: unknown or nothing */
	struct mt_segment_view pushed;
	struct load load;

	/* Of the thread that writes. */
	struct mt_codec *codec;
	char *path;
	int fd;       /* bytes go here: the file, or the command's standard input; -1: none */
	int file_fd;  /* with a command: the file, kept open for its lock; else -1 */
	pid_t pid;    /* of the command; 0: none */
	bool discard; /* the command is gone: drop the rest */
	atomic_bool command_failed;
	bool may_cut;     /* after a failed write */
	bool stale;       /* what an overwritten file holds goes with the first write */
	uint64_t written; /* bytes that the descriptor took */
	struct sha256_ctx sha;
	struct mt_segment_view saved;
};

int mt_block_reserve(struct mt_block *block, size_t n)
{
	if (block->size - block->used >= n)
		return 0;
	size_t size = block->size ? block->size : MT_BLOCK_BYTES;
	while (size - block->used < n)
		size *= 2;
	uint8_t *data = realloc(block->data, size);
	if (!data)
		return -1;
	block->data = data;
	block->size = size;
	return 0;
}

struct mt_sink *mt_sink_new(const struct mt_sink_config *config, struct mt_err *err)
{
	struct mt_sink *s = calloc(1, sizeof *s);
	if (!s || mt_block_reserve(&s->block, MT_BLOCK_BYTES)) {
		free(s);
		mt_err_set(err, "out of memory for an output block");
		return NULL;
	}
	s->config = *config;
	s->fd = s->file_fd = -1;
	if (config->codec != MT_CODEC_NONE && !(s->codec = mt_codec_new(config->codec, config->level, err))) {
		mt_sink_free(s);
		return NULL;
	}
	return s;
}

struct mt_block *mt_sink_block(struct mt_sink *s)
{
	return &s->block;
}

void mt_sink_set_header(struct mt_sink *s, size_t n)
{
	s->header = n;
}

bool mt_sink_dropped(struct mt_sink *s)
{
	bool dropped = s->dropped;
	s->dropped = false;
	return dropped;
}

const struct mt_segment_view *mt_sink_pushed(const struct mt_sink *s)
{
	return &s->pushed;
}

const struct mt_segment_view *mt_sink_saved(const struct mt_sink *s)
{
	return &s->saved;
}

bool mt_sink_command_failed(const struct mt_sink *s)
{
	return s->command_failed;
}

/* An existing file that --overwrite gives us is emptied only now that something replaces it. */
static void empty_stale(struct mt_sink *s)
{
	struct stat st;
	if (s->stale && !fstat(s->fd, &st) && S_ISREG(st.st_mode) && st.st_size && ftruncate(s->fd, 0))
		mt_log_warn("%s: could not be emptied: %s", s->path, strerror(errno));
	s->stale = false;
}

/* The command reads a pipe of ours and writes to the file. */
static int start_command(struct mt_sink *s, const char *file, struct mt_err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC))
		return mt_err_set(err, "%s: can not make a pipe for --pipeout: %s", s->path, strerror(errno));
	int rc = mt_child_spawn(s->config.pipeout, ends[0], s->fd, file, &s->pid, err);
	close(ends[0]);
	if (rc) {
		close(ends[1]);
		s->pid = 0;
		return mt_err_prefix(err, "%s", s->path);
	}
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	fcntl(ends[1], F_SETFL, O_NONBLOCK); /* so that a stuck command can be given up */
	s->file_fd = s->fd;
	s->fd = ends[1];
	return 0;
}

static struct mt_segment_view view_now(const struct mt_sink *s)
{
	return s->config.view ? *s->config.view : (struct mt_segment_view){.reason = "", .source = ""};
}

int mt_sink_begin(struct mt_sink *s, int fd, const char *path, const char *file, bool may_cut,
                  struct mt_err *err)
{
	s->fd = fd;
	s->failed = s->discard = s->codec_holds = false;
	s->command_failed = false;
	s->first = true;
	s->stale = may_cut;
	s->may_cut = may_cut && !s->codec && !s->config.pipeout && !(s->config.hooks && s->config.hooks->block);
	s->held_since_ms = 0;
	s->written = 0;
	s->header = 0;
	s->dropped = false;
	s->block.used = 0;
	s->pushed = s->saved = view_now(s);
	sha256_init(&s->sha);
	free(s->path);
	s->path = strdup(path);
	if (!s->path)
		mt_err_set(err, "%s: out of memory", path);
	else if (!s->config.pipeout)
		return 0;
	else if (empty_stale(s), !start_command(s, file, err))
		return 0;
	else
		s->command_failed = true;
	close(s->fd);
	s->fd = -1;
	return -1;
}

/* The command reads no more before it got everything: it failed, whatever its status says. */
static int command_left(struct mt_sink *s, struct mt_err *err)
{
	int status;
	char text[64];
	s->discard = true;
	s->command_failed = true;
	if (!mt_child_wait(s->pid, 1000, NULL, &status))
		return mt_err_set(err, "%s: the command \"%s\" stopped reading before the end", s->path,
		                  s->config.pipeout);
	s->pid = 0;
	return mt_err_set(err, "%s: the command \"%s\" ended before it had read everything, with %s", s->path,
	                  s->config.pipeout, mt_child_status(status, text, sizeof text));
}

/* Wait until fd takes more.  -1: a stuck command was given up. */
static int wait_writable(struct mt_sink *s, int64_t *stuck_since, struct mt_err *err)
{
	struct pollfd pfd = {.fd = s->fd, .events = POLLOUT};
	int rc = poll(&pfd, 1, POLL_MS);
	mt_beat(MT_BEAT_WRITER);
	if (rc != 0 || !s->pid || !s->config.interrupted || !atomic_load(s->config.interrupted))
		return 0;
	int64_t now = mt_monotonic_ms();
	if (!*stuck_since)
		*stuck_since = now;
	if (now - *stuck_since < STUCK_MS && atomic_load(s->config.interrupted) == 1)
		return 0;
	mt_child_kill(s->pid);
	s->pid = 0;
	s->command_failed = true;
	return mt_err_set(err, "%s: the command \"%s\" takes no more data and was ended", s->path,
	                  s->config.pipeout);
}

/* Write all of it; s->written tells how far it got.  0 or -1. */
static int write_all(struct mt_sink *s, const uint8_t *data, size_t len, struct mt_err *err)
{
	int64_t stuck_since = 0;
	while (len && !s->discard) {
		ssize_t n = write(s->fd, data, len);
		if (n > 0) {
			if (s->config.sha256 && !s->config.pipeout)
				sha256_update(&s->sha, (size_t)n, data);
			s->written += (uint64_t)n;
			data += n;
			len -= (size_t)n;
			stuck_since = 0;
			if (s->config.space)
				mt_space_found(s->config.space, s->path);
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n < 0 && errno == EAGAIN) {
			if (wait_writable(s, &stuck_since, err))
				return -1;
		} else if (n < 0 && errno == EPIPE && s->pid) {
			if (command_left(s, err))
				return -1;
		} else {
			int error = n < 0 ? errno : ENOSPC;
			if (!s->config.space || !mt_space_again(s->config.space, error, s->path))
				return mt_err_set(err, "can not write %s: %s", s->path, strerror(error));
		}
	}
	return 0;
}

static int emit(void *ctx, const uint8_t *data, size_t len, struct mt_err *err)
{
	return write_all(ctx, data, len, err);
}

/* A write failed inside the block: leave a file that ends with a whole record. */
static void cut_to_whole(struct mt_sink *s, const struct mt_write *w, uint64_t before)
{
	struct stat st;
	uint64_t packets = 0;
	if (!s->may_cut || fstat(s->fd, &st) || !S_ISREG(st.st_mode))
		return;
	size_t part = (size_t)(s->written - before);
	uint64_t whole = before + s->config.whole(w->data, part, w->first, &packets);
	if (whole < s->written && !ftruncate(s->fd, (off_t)whole))
		s->written = whole;
	s->saved.packets += packets;
}

/* Compress and write.  On the writer's thread if there is one. */
static int work(void *ctx, const struct mt_write *w, struct mt_err *err)
{
	struct mt_sink *s = ctx;
	uint64_t before = s->written;
	if (s->stale)
		empty_stale(s);
	int rc = s->codec ? mt_codec_write(s->codec, w->data, w->len, w->step, emit, s, err)
	                  : write_all(s, w->data, w->len, err);
	if (rc)
		cut_to_whole(s, w, before);
	else if (!s->codec || w->step != MT_CODEC_RUN)
		s->saved = w->view;
	return rc;
}

/* Have a thread from now on.  Without one, which is no failure, work goes on in the call. */
static void start_writer(struct mt_sink *s)
{
	if (s->writer)
		return;
	s->writer = mt_writer_new(work, s);
	if (s->writer && s->codec)
		mt_codec_spread(s->codec);
}

static int64_t processor_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Has the hook thread needed most of its time for other things than writing? */
static bool worth_a_thread(struct load *l)
{
	if (l->blocks < LOAD_BLOCKS)
		return false;
	bool worth = l->made > 2 * l->written;
	*l = (struct load){.since = l->since};
	return worth;
}

/* A block through its hook and on its way. */
static int send_block(struct mt_sink *s, enum mt_codec_step step, struct mt_err *err)
{
	struct mt_write w = {.data = s->block.data, .len = s->block.used, .step = step, .first = s->first};
	if (w.len && s->config.hooks && s->config.hooks->block &&
	    !s->config.hooks->block(s->config.hooks->ctx, &w.data, &w.len)) {
		s->dropped = true;
		w.data = s->block.data;
		w.len = s->first ? s->header : 0;
	} else {
		s->pushed = view_now(s);
	}
	w.view = s->pushed;
	int rc = s->writer ? mt_writer_push(s->writer, &s->block, &w, err) : work(s, &w, err);
	if (rc)
		s->failed = true;
	if (w.len)
		s->first = false;
	s->header = 0; /* it was in that block */
	s->codec_holds = s->codec && step == MT_CODEC_RUN && (w.len || s->codec_holds);
	s->block.used = 0;
	return rc;
}

/* Has the thread met a failure?  0, or -1: then it is idle. */
static int check_writer(struct mt_sink *s, struct mt_err *err)
{
	if (!s->writer || !mt_writer_failed(s->writer))
		return 0;
	s->failed = true;
	return mt_writer_finish(s->writer, err);
}

int mt_sink_push(struct mt_sink *s, struct mt_err *err)
{
	if (s->failed)
		return mt_err_set(err, "%s: nothing more is written after the failure", s->path);
	if (check_writer(s, err))
		return -1;
	if (s->writer || s->block.used < FULL_BYTES)
		return send_block(s, MT_CODEC_RUN, err);
	if (s->codec || worth_a_thread(&s->load)) {
		start_writer(s);
		return send_block(s, MT_CODEC_RUN, err);
	}
	int64_t begin = processor_ns();
	int rc = send_block(s, MT_CODEC_RUN, err);
	int64_t end = processor_ns();
	if (s->load.since) {
		s->load.blocks++;
		s->load.made += begin - s->load.since;
		s->load.written += end - begin;
	}
	s->load.since = end;
	return rc;
}

int mt_sink_tick(struct mt_sink *s, int64_t now_ms, struct mt_err *err)
{
	if (s->fd < 0 || s->failed)
		return 0;
	if (check_writer(s, err))
		return -1;
	if (!s->block.used && !s->codec_holds) {
		s->held_since_ms = 0;
		return 0;
	}
	if (!s->held_since_ms)
		s->held_since_ms = now_ms;
	/* Half the time: the data may be older than the tick that found it, and ticks are 200 ms apart. */
	if (now_ms - s->held_since_ms < s->config.flush_ms / 2)
		return 0;
	if (s->codec)
		start_writer(s); /* to flush one takes as long as a whole block */
	if (s->writer && !mt_writer_has_room(s->writer))
		return 0; /* data are moving: a later tick asks again */
	s->held_since_ms = 0;
	return send_block(s, MT_CODEC_FLUSH, err);
}

/* Has the command read all that is in the pipe?  Waits until it has, or has gone. */
static bool all_read(struct mt_sink *s)
{
	for (;;) {
		int left = 0;
		struct pollfd pfd = {.fd = s->fd};
		if (ioctl(s->fd, FIONREAD, &left) || !left)
			return true;
		if (poll(&pfd, 1, DRAIN_MS) > 0 && pfd.revents & POLLERR)
			return ioctl(s->fd, FIONREAD, &left) || !left;
		mt_beat(MT_BEAT_WRITER);
		if (s->config.interrupted && atomic_load(s->config.interrupted))
			return true; /* end_command gives it some time, then ends it */
	}
}

/* Close the pipe, wait for the command.  0, or -1 if it failed. */
static int end_command(struct mt_sink *s, struct mt_err *err)
{
	int status = 0;
	char text[64];
	if (!s->pid)
		return s->command_failed ? -1 : 0;
	mt_child_wait(s->pid, -1, s->config.interrupted, &status);
	s->pid = 0;
	if (!status)
		return 0;
	s->command_failed = true;
	return mt_err_set(err, "%s: the command \"%s\" ended with %s", s->path, s->config.pipeout,
	                  mt_child_status(status, text, sizeof text));
}

static void hex_digest(struct sha256_ctx *sha, char *hex)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	sha256_digest(sha, sizeof digest, digest);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* What a command has written has to be read back for its hash. */
static void hash_file(int fd, char *hex)
{
	uint8_t *buffer = malloc(MT_BLOCK_BYTES);
	struct sha256_ctx sha;
	off_t at = 0;
	ssize_t n;
	sha256_init(&sha);
	if (!buffer)
		return;
	while ((n = pread(fd, buffer, MT_BLOCK_BYTES, at)) > 0) {
		sha256_update(&sha, (size_t)n, buffer);
		at += n;
	}
	free(buffer);
	if (n == 0)
		hex_digest(&sha, hex);
}

int64_t mt_sink_busy_ms(const struct mt_sink *s, int64_t now_ms)
{
	return s->writer ? mt_writer_busy_ms(s->writer, now_ms) : 0;
}

bool mt_sink_removed(const struct mt_sink *s)
{
	struct stat st;
	return s->fd >= 0 && !fstat(s->file_fd >= 0 ? s->file_fd : s->fd, &st) && S_ISREG(st.st_mode) &&
	       !st.st_nlink;
}

static int close_file(struct mt_sink *s, struct mt_sink_result *result, struct mt_err *err)
{
	int rc = 0, fd = s->file_fd >= 0 ? s->file_fd : s->fd;
	struct stat st;
	result->removed = mt_sink_removed(s);
	if (s->file_fd >= 0) {
		bool whole = s->discard || all_read(s);
		close(s->fd); /* end of file for the command */
		rc = end_command(s, err);
		if (!rc && !whole) {
			s->command_failed = true;
			rc = mt_err_set(err, "%s: the command \"%s\" ended before it had read everything",
			                s->path, s->config.pipeout);
		}
	}
	result->command_failed = s->command_failed;
	result->file_bytes = !fstat(fd, &st) && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : s->written;
	if (s->config.sha256 && s->config.pipeout)
		hash_file(fd, result->sha256);
	else if (s->config.sha256)
		hex_digest(&s->sha, result->sha256);
	/* Network file systems tell of failed writes here. */
	if (close(fd) && errno != EINTR && !rc)
		rc = mt_err_set(err, "can not close %s: %s", s->path, strerror(errno));
	s->fd = s->file_fd = -1;
	return rc;
}

/* The rest and the end of the codec's stream; afterwards the thread is idle. */
static int send_end(struct mt_sink *s, struct mt_err *err)
{
	if (s->failed)
		return mt_err_set(err, "%s: incomplete after a failure", s->path);
	if (check_writer(s, err))
		return -1;
	int rc = send_block(s, MT_CODEC_END, err);
	if (rc || !s->writer)
		return rc;
	rc = mt_writer_finish(s->writer, err);
	s->failed = rc != 0;
	return rc;
}

int mt_sink_end(struct mt_sink *s, struct mt_sink_result *result, struct mt_err *err)
{
	memset(result, 0, sizeof *result);
	if (s->fd < 0)
		return 0;
	int rc = send_end(s, err);
	struct mt_err close_err = {0};
	if (close_file(s, result, &close_err) && (!rc || result->command_failed)) {
		if (close_err.text[0])
			*err = close_err;
		rc = -1;
	}
	return rc;
}

void mt_sink_abort(struct mt_sink *s, struct mt_sink_result *result)
{
	struct mt_err ignored;
	memset(result, 0, sizeof *result);
	if (s->fd < 0)
		return;
	s->failed = true;
	s->block.used = 0;
	if (s->writer)
		mt_writer_drop(s->writer);
	if (s->codec)
		mt_codec_reset(s->codec);
	close_file(s, result, &ignored);
}

void mt_sink_free(struct mt_sink *s)
{
	if (!s)
		return;
	struct mt_sink_result ignored;
	mt_sink_abort(s, &ignored);
	mt_writer_free(s->writer);
	mt_codec_free(s->codec);
	free(s->block.data);
	free(s->path);
	free(s);
}
