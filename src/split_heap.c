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

enum {
	HEAP = 16 * 1024 * 1024, /* bytes of one of the two heaps; a longer record makes it larger for good */
	EXTENT_MIN = 1024,       /* header included */
	EXTENT_MAX = 64 * 1024,  /* only a longer record gets more */
	ALIGN = 64,
	VECTORS = 64,  /* extents written at once */
	STEM_MAX = 180 /* characters of a key in a name */
};

struct heap {
	uint8_t *data;
	size_t used, size;
	struct mt_piece **pieces; /* that have extents in it, in the order in which they came */
	uint32_t n, room;
	int64_t since_ms; /* when the first came */
};

struct mt_split_heap {
	const struct mt_output_config *config;
	const char *extension;
	struct mt_space *space;
	struct mt_codec *codec;
	struct heap heaps[2];
	struct heap *filled; /* one of them */
	int64_t now_ms;
	struct mt_err err; /* of the first failure */
	bool failed;       /* it was told: nothing more is written */

	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* of all below, and of the names of files */
	pthread_cond_t changed;
	struct heap *given; /* to the thread; NULL: it has nothing to do */
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

static void note_written(struct mt_split_heap *h, struct mt_piece *p)
{
	pthread_mutex_lock(&h->lock);
	p->going = NULL;
	if (h->awaited == p)
		pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

/* Append what is in a heap; it is empty then. */
static void write_heap(struct mt_split_heap *h, struct heap *heap)
{
	struct mt_err err;
	int rc = 0;
	for (uint32_t i = 0; i < heap->n && !rc; i++) {
		rc = append(h, heap->pieces[i], &err);
		if (!rc)
			note_written(h, heap->pieces[i]);
	}
	heap->used = 0;
	heap->n = 0;
	pthread_mutex_lock(&h->lock);
	if (rc && !h->broken) {
		h->err = err;
		h->broken = true;
	}
	h->given = NULL;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

static struct heap *wait_for_heap(struct mt_split_heap *h)
{
	pthread_mutex_lock(&h->lock);
	while (!h->given && !h->leave)
		pthread_cond_wait(&h->changed, &h->lock);
	struct heap *heap = h->given;
	pthread_mutex_unlock(&h->lock);
	return heap;
}

static void *thread_main(void *arg)
{
	struct mt_split_heap *h = arg;
	struct heap *heap;
	pthread_setname_np(pthread_self(), "mt-split"); /* for top -H, perf */
	while ((heap = wait_for_heap(h)))
		write_heap(h, heap);
	return NULL;
}

/* Wait until the thread has nothing to do.  0, or -1: a write failed. */
static int settle(struct mt_split_heap *h, struct mt_err *err)
{
	pthread_mutex_lock(&h->lock);
	while (h->given)
		pthread_cond_wait(&h->changed, &h->lock);
	h->failed = h->broken;
	if (h->failed)
		*err = h->err;
	pthread_mutex_unlock(&h->lock);
	return h->failed ? -1 : 0;
}

/* The heap goes to the thread; where there is none it is written here. */
static void give(struct mt_split_heap *h, struct heap *heap, bool last)
{
	if (!h->has_thread && !last)
		h->has_thread = !pthread_create(&h->thread, NULL, thread_main, h);
	pthread_mutex_lock(&h->lock);
	h->given = heap;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
	if (!h->has_thread)
		write_heap(h, heap);
}

/* --- heaps ----------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	uint32_t left = (*(struct mt_piece *const *)a)->number, right = (*(struct mt_piece *const *)b)->number;
	return (left > right) - (left < right);
}

/* Wait for the thread, hand it the heap that was filled, fill the other one. */
static int turn(struct mt_split_heap *h, bool last, struct mt_err *err)
{
	struct heap *heap = h->filled;
	if (settle(h, err))
		return -1;
	if (!heap->n)
		return 0;
	for (uint32_t i = 0; i < heap->n; i++) {
		struct mt_piece *p = heap->pieces[i];
		p->last->used = p->block.used;
		p->going = p->first;
		p->view_going = p->view;
		p->first = p->last = NULL;
		p->block = (struct mt_block){0};
	}
	h->filled = heap == h->heaps ? h->heaps + 1 : h->heaps;
	if (last) /* the order in which they are waited for */
		qsort(heap->pieces, heap->n, sizeof(struct mt_piece *), by_number);
	give(h, heap, last);
	return 0;
}

static int no_memory(const struct mt_split_heap *h, struct mt_err *err)
{
	return mt_err_set(err, "%s: out of memory", h->config->path);
}

/* The heap, which is empty, gets memory for an extent of `bytes`. */
static int open_heap(struct mt_split_heap *h, struct heap *heap, size_t bytes, struct mt_err *err)
{
	size_t size = bytes > HEAP ? bytes : HEAP;
	if (heap->size >= size)
		return 0;
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
	size_t bytes = extent_bytes(next_size(p), need);
	if (h->filled->used + bytes > h->filled->size) {
		if (turn(h, false, err))
			return -1;
		bytes = extent_bytes(EXTENT_MIN, need);
		if (!h->filled->used && open_heap(h, h->filled, bytes, err))
			return -1;
	}
	if (!p->last && note_piece(h, h->filled, p, err))
		return -1;
	struct mt_extent *extent = (struct mt_extent *)(h->filled->data + h->filled->used);
	h->filled->used += bytes;
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
	pthread_mutex_lock(&h->lock);
	bool busy = h->given, broken = h->broken;
	pthread_mutex_unlock(&h->lock);
	if (broken)
		return settle(h, err);
	if (busy || !h->filled->n || h->filled->since_ms + h->config->flush_ms > now_ms)
		return 0;
	return turn(h, false, err);
}

int mt_split_heap_end(struct mt_split_heap *h, struct mt_err *err)
{
	return turn(h, true, err);
}

int mt_split_heap_wait(struct mt_split_heap *h, const struct mt_piece *p, struct mt_err *err)
{
	pthread_mutex_lock(&h->lock);
	h->awaited = p;
	while (p->going && h->given)
		pthread_cond_wait(&h->changed, &h->lock);
	h->awaited = NULL;
	h->failed = h->broken;
	if (h->failed)
		*err = h->err;
	pthread_mutex_unlock(&h->lock);
	return h->failed ? -1 : 0;
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
	h->filled = h->heaps;
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
	for (unsigned i = 0; i < 2; i++) {
		free(h->heaps[i].data);
		free(h->heaps[i].pieces);
	}
	mt_codec_free(h->codec);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
