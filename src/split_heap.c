/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split_heap.c - see split_heap.h.
 *
 * The lock is taken some times for each heap and each new file, not for each packet.
 */
#include "split_heap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "log.h"
#include "units.h"

/* Which heaps a file's records go to. */
enum side { QUIET, BUSY, SIDES };

enum {
	BECOMES_BUSY = 16,      /* a file that had this part of a quiet heap */
	STAYS_BUSY = 64,        /* one that had this part of a busy heap */
	EXTENT_MIN = 1024,      /* header included */
	EXTENT_MAX = 64 * 1024, /* only a longer record gets more */
	ALIGN = 64,
	VECTORS = 64,  /* extents written at once */
	STEM_MAX = 180 /* characters of a key in a name */
};

/* Bytes of one heap; a longer record makes it larger for good. */
static const size_t heap_bytes[] = {[QUIET] = 16 * 1024 * 1024, [BUSY] = 4 * 1024 * 1024};

struct heap {
	uint8_t *data;
	size_t used, size;
	struct mt_piece **pieces; /* that have extents in it, in the order in which they came */
	uint32_t n, room;
	int64_t since_ms; /* when the first came */
};

struct pair {
	struct heap heaps[2];
	struct heap *filled; /* one of them */
};

struct mt_split_heap {
	const struct mt_output_config *config;
	const char *extension;
	struct mt_space *space;
	struct mt_codec *codec;
	struct pair pairs[SIDES];
	bool moved; /* a file changed sides, and what it has on its old one may not be written yet */
	int64_t now_ms;
	struct mt_err err; /* of the first failure */
	bool failed;       /* it was told: nothing more is written */

	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* of all below, and of the names of files */
	pthread_cond_t changed;
	struct heap *given[SIDES]; /* to the thread; NULL: it has nothing to do */
	const struct mt_piece *awaited;
	bool leave;
	bool broken; /* err is set */
};

/* --- files ----------------------------------------------------------------------------- */

/* A name of the key without anything that means something to a file system or a shell: "/" and blanks become
 * "_", other bytes %XX.  What is too long ends in a hash of the whole. */
static void stem_of(const char *key, char stem[STEM_MAX + 32])
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:,[]";
	size_t n = 0;
	bool cut = false;
	if (!*key)
		key = "empty";
	for (const char *c = key; *c; c++) {
		if (n + 3 > STEM_MAX)
			cut = true;
		else if (*c == '/' || *c == ' ')
			stem[n++] = '_';
		else if (strchr(plain, *c) && (n || (*c != '.' && *c != '-')))
			stem[n++] = *c;
		else
			n += (size_t)snprintf(stem + n, 4, "%%%02X", (uint8_t)*c);
	}
	stem[n] = 0;
	if (cut)
		snprintf(stem + n, 32, "~%016llx", (unsigned long long)XXH3_64bits(key, strlen(key)));
}

static int create_file(struct mt_split_heap *h, struct mt_piece *p, struct mt_err *err)
{
	char stem[STEM_MAX + 32], name[STEM_MAX + 80];
	struct mt_part part;
	int fd = -1;
	stem_of(p->key, stem);
	snprintf(name, sizeof name, "%s%s", stem, h->extension);
	if (mt_part_create(&part, h->config->path, name, h->extension, &fd, err)) {
		int problem = errno;
		if (fd >= 0)
			close(fd);
		mt_part_clear(&part);
		errno = problem;
		return -1;
	}
	close(part.lock_fd); /* the folder's lock speaks for it from now on */
	part.lock_fd = -1;
	pthread_mutex_lock(&h->lock);
	p->file = part;
	pthread_mutex_unlock(&h->lock);
	return fd;
}

static int open_file(struct mt_split_heap *h, struct mt_piece *p, struct mt_err *err)
{
	if (!p->file.path)
		return create_file(h, p, err);
	int fd = open(p->file.path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		return fd;
	int problem = errno;
	mt_err_set(err, "can not open %s again: %s", p->file.path, strerror(problem));
	errno = problem;
	return -1;
}

struct emission {
	int fd;
	const char *path;
	uint64_t bytes;
	int error;
};

static int emit_vectors(struct emission *e, struct iovec *v, int n, struct mt_err *err)
{
	while (n) {
		ssize_t done = writev(e->fd, v, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			e->error = done ? errno : ENOSPC;
			return mt_err_set(err, "can not write %s: %s", e->path, strerror(e->error));
		}
		e->bytes += (uint64_t)done;
		for (; n && (size_t)done >= v->iov_len; v++, n--)
			done -= (ssize_t)v->iov_len;
		if (!n)
			break;
		v->iov_base = (uint8_t *)v->iov_base + done;
		v->iov_len -= (size_t)done;
	}
	return 0;
}

static int emit(void *ctx, const uint8_t *data, size_t len, struct mt_err *err)
{
	struct iovec v = {(void *)(uintptr_t)data, len};
	return emit_vectors(ctx, &v, len ? 1 : 0, err);
}

static int emit_plain(struct emission *e, const struct mt_extent *extent, struct mt_err *err)
{
	while (extent) {
		struct iovec v[VECTORS];
		int n = 0;
		for (; extent && n < VECTORS; extent = extent->next)
			if (extent->used)
				v[n++] = (struct iovec){(void *)(uintptr_t)extent->data, extent->used};
		if (emit_vectors(e, v, n, err))
			return -1;
	}
	return 0;
}

static int emit_packed(struct mt_split_heap *h, struct emission *e, const struct mt_extent *extent,
                       struct mt_err *err)
{
	for (; extent; extent = extent->next) {
		enum mt_codec_step step = extent->next ? MT_CODEC_RUN : MT_CODEC_END;
		if (mt_codec_write(h->codec, extent->data, extent->used, step, emit, e, err)) {
			mt_codec_reset(h->codec);
			return -1;
		}
	}
	return 0;
}

/* One try: what a failed write has left is cut off again. */
static int append_once(struct mt_split_heap *h, struct mt_piece *p, struct mt_err *err)
{
	struct emission e = {.error = 0};
	errno = 0;
	e.fd = open_file(h, p, err);
	if (e.fd < 0)
		return -1;
	e.path = p->file.path;
	int rc = h->codec ? emit_packed(h, &e, p->going, err) : emit_plain(&e, p->going, err);
	if (rc && ftruncate(e.fd, (off_t)p->file_bytes))
		mt_log_warn("%s: can not cut off what was written in part: %s", e.path, strerror(errno));
	if (close(e.fd) && !rc) {
		e.error = errno;
		rc = mt_err_set(err, "can not write %s: %s", e.path, strerror(e.error));
	}
	if (!rc)
		p->file_bytes += e.bytes;
	errno = e.error;
	return rc;
}

static int append(struct mt_split_heap *h, struct mt_piece *p, struct mt_err *err)
{
	int rc;
	while ((rc = append_once(h, p, err)) && mt_space_again(h->space, errno, h->config->path))
		;
	if (rc)
		return -1;
	mt_space_found(h->space, h->config->path);
	p->view_saved = p->view_going;
	return 0;
}

/* --- the thread ------------------------------------------------------------------------ */

/* Returns what is in a hurry. */
static struct heap *note_written(struct mt_split_heap *h, struct mt_piece *p)
{
	pthread_mutex_lock(&h->lock);
	p->going = NULL;
	if (h->awaited == p)
		pthread_cond_signal(&h->changed);
	struct heap *hurried = h->given[BUSY];
	pthread_mutex_unlock(&h->lock);
	return hurried;
}

/* Append what is in a heap; it is empty then.  The busy one, which is full again soon, is not kept waiting by
 * the other. */
static void write_heap(struct mt_split_heap *h, enum side side, struct heap *heap)
{
	struct mt_err err;
	int rc = 0;
	for (uint32_t i = 0; i < heap->n && !rc && !h->broken; i++) {
		rc = append(h, heap->pieces[i], &err);
		struct heap *hurried = rc ? NULL : note_written(h, heap->pieces[i]);
		if (hurried && side != BUSY)
			write_heap(h, BUSY, hurried);
	}
	heap->used = 0;
	heap->n = 0;
	pthread_mutex_lock(&h->lock);
	if (rc) {
		h->err = err;
		h->broken = true;
	}
	h->given[side] = NULL;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

static struct heap *wait_for_heap(struct mt_split_heap *h, enum side *side)
{
	pthread_mutex_lock(&h->lock);
	while (!h->given[BUSY] && !h->given[QUIET] && !h->leave)
		pthread_cond_wait(&h->changed, &h->lock);
	*side = h->given[BUSY] ? BUSY : QUIET;
	struct heap *heap = h->given[*side];
	pthread_mutex_unlock(&h->lock);
	return heap;
}

static void *thread_main(void *arg)
{
	struct mt_split_heap *h = arg;
	struct heap *heap;
	enum side side;
	pthread_setname_np(pthread_self(), "mt-split"); /* for top -H, perf */
	while ((heap = wait_for_heap(h, &side)))
		write_heap(h, side, heap);
	return NULL;
}

/* Does the thread have what stands in the way of giving it another heap of that side?  The lock is held. */
static bool is_occupied(const struct mt_split_heap *h, enum side side)
{
	return h->given[side] || (h->moved && h->given[!side]);
}

/* The lock is held.  0, or -1: a write failed. */
static int look_for_failure(struct mt_split_heap *h, struct mt_err *err)
{
	h->failed = h->broken;
	if (h->failed)
		*err = h->err;
	return h->failed ? -1 : 0;
}

/* Wait until the thread can be given a heap of that side.  0, or -1: a write failed. */
static int settle(struct mt_split_heap *h, enum side side, struct mt_err *err)
{
	pthread_mutex_lock(&h->lock);
	while (is_occupied(h, side))
		pthread_cond_wait(&h->changed, &h->lock);
	int rc = look_for_failure(h, err);
	pthread_mutex_unlock(&h->lock);
	h->moved = false;
	return rc;
}

/* The heap goes to the thread; where there is none it is written here. */
static void give(struct mt_split_heap *h, enum side side, struct heap *heap, bool last)
{
	if (!h->has_thread && !last)
		h->has_thread = !pthread_create(&h->thread, NULL, thread_main, h);
	pthread_mutex_lock(&h->lock);
	h->given[side] = heap;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
	if (!h->has_thread)
		write_heap(h, side, heap);
}

/* --- heaps ----------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	uint32_t left = (*(struct mt_piece *const *)a)->number, right = (*(struct mt_piece *const *)b)->number;
	return (left > right) - (left < right);
}

/* The side that a file belongs on, by what it had of a heap. */
static enum side side_of(const struct mt_piece *p, const struct heap *heap)
{
	uint64_t bytes = p->view.captured_bytes - p->view_going.captured_bytes;
	return bytes >= heap->size / (p->busy ? STAYS_BUSY : BECOMES_BUSY) ? BUSY : QUIET;
}

/* Wait for the thread, hand it the heap that was filled, fill the other one. */
static int turn(struct mt_split_heap *h, enum side side, bool last, struct mt_err *err)
{
	struct pair *pair = h->pairs + side;
	struct heap *heap = pair->filled;
	if (settle(h, side, err))
		return -1;
	if (!heap->n)
		return 0;
	for (uint32_t i = 0; i < heap->n; i++) {
		struct mt_piece *p = heap->pieces[i];
		enum side next = side_of(p, heap);
		h->moved = h->moved || next != side;
		p->busy = next == BUSY;
		p->last->used = p->block.used;
		p->going = p->first;
		p->view_going = p->view;
		p->first = p->last = NULL;
		p->block = (struct mt_block){0};
	}
	pair->filled = heap == pair->heaps ? pair->heaps + 1 : pair->heaps;
	if (last) /* the order in which they are waited for */
		qsort(heap->pieces, heap->n, sizeof(struct mt_piece *), by_number);
	give(h, side, heap, last);
	return 0;
}

static int no_memory(const struct mt_split_heap *h, struct mt_err *err)
{
	return mt_err_set(err, "%s: out of memory", h->config->path);
}

/* The heap, which is empty, gets memory for an extent of `bytes`. */
static int open_heap(struct mt_split_heap *h, struct heap *heap, size_t size, size_t bytes, struct mt_err *err)
{
	size = bytes > size ? bytes : size;
	free(heap->data);
	heap->data = aligned_alloc(ALIGN, size);
	heap->size = heap->data ? size : 0;
	return heap->data ? 0 : no_memory(h, err);
}

static int note_piece(struct mt_split_heap *h, struct heap *heap, struct mt_piece *p, struct mt_err *err)
{
	if (heap->n == heap->room) {
		uint32_t room = heap->room ? heap->room * 2 : 256;
		struct mt_piece **pieces = reallocarray(heap->pieces, room, sizeof *pieces);
		if (!pieces)
			return no_memory(h, err);
		heap->pieces = pieces;
		heap->room = room;
	}
	if (!heap->n)
		heap->since_ms = h->now_ms;
	heap->pieces[heap->n++] = p;
	return 0;
}

/* Of the next extent: about half of what the file has. */
static size_t next_size(const struct mt_piece *p)
{
	size_t last = p->block.size + sizeof(struct mt_extent);
	if (!p->last)
		return EXTENT_MIN;
	last += p->last == p->first ? 0 : last / 2;
	return last < EXTENT_MAX ? last : EXTENT_MAX;
}

static size_t extent_bytes(size_t bytes, size_t need)
{
	size_t size = need + sizeof(struct mt_extent);
	size = size > bytes ? size : bytes;
	return (size + ALIGN - 1) / ALIGN * ALIGN;
}

int mt_split_heap_room(struct mt_split_heap *h, struct mt_piece *p, size_t need, struct mt_err *err)
{
	if (p->block.size - p->block.used >= need)
		return 0;
	if (h->failed) {
		*err = h->err;
		return -1;
	}
	size_t bytes;
	struct heap *heap;
	while (heap = h->pairs[p->busy].filled, bytes = extent_bytes(next_size(p), need),
	       heap->used + bytes > heap->size) {
		if (heap->used ? turn(h, p->busy, false, err)
		               : open_heap(h, heap, heap_bytes[p->busy], bytes, err))
			return -1;
	}
	if (!p->last && note_piece(h, heap, p, err))
		return -1;
	struct mt_extent *extent = (struct mt_extent *)(heap->data + heap->used);
	heap->used += bytes;
	*extent = (struct mt_extent){.next = NULL};
	if (p->last) {
		p->last->used = p->block.used;
		p->last->next = extent;
	} else {
		p->first = extent;
	}
	p->last = extent;
	p->block = (struct mt_block){.data = extent->data, .size = bytes - sizeof *extent};
	return 0;
}

int mt_split_heap_tick(struct mt_split_heap *h, int64_t now_ms, struct mt_err *err)
{
	h->now_ms = now_ms;
	for (enum side side = QUIET; side < SIDES; side++) {
		const struct heap *heap = h->pairs[side].filled;
		pthread_mutex_lock(&h->lock);
		bool broken = h->broken, occupied = is_occupied(h, side);
		pthread_mutex_unlock(&h->lock);
		bool due = heap->n && heap->since_ms + h->config->flush_ms <= now_ms;
		if ((broken || (due && !occupied)) && turn(h, side, false, err))
			return -1;
	}
	return 0;
}

int mt_split_heap_end(struct mt_split_heap *h, struct mt_err *err)
{
	return turn(h, BUSY, true, err) || turn(h, QUIET, true, err) ? -1 : 0;
}

int mt_split_heap_wait(struct mt_split_heap *h, const struct mt_piece *p, struct mt_err *err)
{
	pthread_mutex_lock(&h->lock);
	h->awaited = p;
	while (p->going && (h->given[BUSY] || h->given[QUIET]))
		pthread_cond_wait(&h->changed, &h->lock);
	h->awaited = NULL;
	int rc = look_for_failure(h, err);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* --- life ------------------------------------------------------------------------------ */

const char *mt_split_heap_name(struct mt_split_heap *h, const struct mt_piece *p)
{
	pthread_mutex_lock(&h->lock);
	const char *name = p->file.name;
	pthread_mutex_unlock(&h->lock);
	return name;
}

struct mt_split_heap *mt_split_heap_new(const struct mt_output_config *config, const char *extension,
                                        struct mt_space *space, struct mt_err *err)
{
	struct mt_split_heap *h = calloc(1, sizeof *h);
	if (!h) {
		mt_err_set(err, "%s: out of memory", config->path);
		return NULL;
	}
	h->config = config;
	h->extension = extension;
	h->space = space;
	for (enum side side = QUIET; side < SIDES; side++)
		h->pairs[side].filled = h->pairs[side].heaps;
	h->now_ms = mt_monotonic_ms();
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->changed, NULL);
	if (config->codec == MT_CODEC_NONE || (h->codec = mt_codec_new(config->codec, config->level, err)))
		return h;
	mt_split_heap_free(h);
	return NULL;
}

void mt_split_heap_free(struct mt_split_heap *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->leave = true;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
	if (h->has_thread)
		pthread_join(h->thread, NULL);
	for (enum side side = QUIET; side < SIDES; side++)
		for (unsigned i = 0; i < 2; i++) {
			free(h->pairs[side].heaps[i].data);
			free(h->pairs[side].heaps[i].pieces);
		}
	mt_codec_free(h->codec);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
