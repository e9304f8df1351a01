/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split.c - see split.h.
 */
#include "split.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

#include "codec.h"
#include "flow.h"
#include "linktype.h"
#include "log.h"
#include "manifest.h"
#include "part.h"
#include "units.h"

enum {
	BLOCK_MIN = 1024,          /* the first memory of a file; it doubles */
	BLOCK_MAX = 256 * 1024,    /* a file is written at this size; only a longer record is more */
	MEMORY = 32 * 1024 * 1024, /* all blocks; then all files are written */
	STEM_MAX = 180,            /* characters of a key in a name */
	LINKTYPES = 8              /* remembered for the manifest line of a file */
};

struct piece {
	char *key;
	struct mt_part file; /* path: NULL before the first write */
	struct mt_block block;
	struct mt_segment_view view;  /* what was encoded */
	struct mt_segment_view saved; /* what is in the file */
	uint64_t file_bytes, late, bypassed;
	/* The encoder's state between two packets of this file. */
	void *impl;
	size_t trailer;
	uint16_t linktype;
	bool begun, started, waits;
	uint16_t linktypes[LINKTYPES];
	unsigned n_linktypes;
	int64_t since_ms; /* the oldest byte in the block */
};

struct mt_split {
	const struct mt_output_config *config;
	struct mt_encoder *encoder;
	const struct mt_output_hooks *hooks;
	struct mt_space *space;
	struct mt_codec *codec;
	char extension[32];
	pthread_mutex_t lock;  /* pieces and n */
	struct piece **pieces; /* [0]: the others */
	uint32_t n, size;
	uint32_t *queue; /* numbers of files that wait to be written, the longest first */
	uint32_t n_queue, queue_size;
	struct piece *current; /* its state is the encoder's */
	size_t held;           /* bytes of all blocks */
	int64_t now_ms;
	int lock_fd;
	uint64_t closed;
	json_t *unlisted;
	bool troubled, failed;
};

/* --- keys ------------------------------------------------------------------------------ */

static struct piece *new_piece(const char *key, size_t len)
{
	struct piece *p = calloc(1, sizeof *p);
	if (p && !(p->key = malloc(len + 1))) {
		free(p);
		return NULL;
	}
	if (!p)
		return NULL;
	memcpy(p->key, key, len);
	p->key[len] = 0;
	for (size_t i = 0; i < len; i++)
		if (!p->key[i]) /* as names and JSON show it */
			p->key[i] = '?';
	p->file.lock_fd = -1;
	p->view = (struct mt_segment_view){.start_ns = INT64_MIN,
	                                   .first_ns = INT64_MAX,
	                                   .last_ns = INT64_MIN,
	                                   .reason = "key",
	                                   .source = ""};
	p->saved = p->view;
	return p;
}

/* Its number, or -1. */
static int64_t add_piece(struct mt_split *s, const char *key, size_t len)
{
	if (s->n == s->size) {
		uint32_t size = s->size ? s->size * 2 : 64;
		struct piece **pieces = reallocarray(s->pieces, size, sizeof *pieces);
		if (!pieces)
			return -1;
		s->pieces = pieces;
		s->size = size;
	}
	struct piece *p = new_piece(key, len);
	if (!p)
		return -1;
	s->pieces[s->n] = p;
	return s->n++;
}

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

int32_t mt_split_add(struct mt_hook_state *st, uint32_t verdict, const char *key, size_t len)
{
	struct mt_output *o = st->flow ? mt_flow_output(st->flow, verdict) : NULL;
	struct mt_split *s = o ? mt_output_split(o) : NULL;
	if (!s)
		return -1;
	pthread_mutex_lock(&s->lock);
	int64_t number = s->n > s->config->split_files ? 0 : add_piece(s, key, len);
	pthread_mutex_unlock(&s->lock);
	return (int32_t)number;
}

int32_t mt_split_look(struct mt_hook_state *st, uint32_t verdict, uint32_t number, struct mt_split_view *view)
{
	struct mt_output *o = st->flow ? mt_flow_output(st->flow, verdict) : NULL;
	struct mt_split *s = o ? mt_output_split(o) : NULL;
	int32_t found = 0;
	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	if (number < s->n) {
		const struct piece *p = s->pieces[number];
		*view = (struct mt_split_view){.key = p->key,
		                               .file = p->file.name,
		                               .packets = p->view.packets,
		                               .captured_bytes = p->view.captured_bytes,
		                               .wire_bytes = p->view.wire_bytes};
		found = 1;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* --- open ------------------------------------------------------------------------------ */

struct mt_split *mt_split_new(const struct mt_output_config *config, struct mt_encoder *encoder,
                              const struct mt_output_hooks *hooks, struct mt_space *space, struct mt_err *err)
{
	if (hooks && hooks->block) {
		mt_err_set(err, "%s: a split output can not be used beside an on_block hook", config->path);
		return NULL;
	}
	struct mt_split *s = calloc(1, sizeof *s);
	if (!s) {
		mt_err_set(err, "%s: out of memory", config->path);
		return NULL;
	}
	s->config = config;
	s->encoder = encoder;
	s->hooks = hooks;
	s->space = space;
	s->lock_fd = -1;
	s->now_ms = mt_monotonic_ms();
	s->unlisted = json_array();
	pthread_mutex_init(&s->lock, NULL);
	snprintf(s->extension, sizeof s->extension, ".%s%s", mt_format_name(config->format),
	         mt_codec_extension(config->codec));
	/* the encoder was opened with a state of its own, each file has one here */
	if (encoder->ops->close)
		encoder->ops->close(encoder);
	int rc = 0;
	if (config->codec != MT_CODEC_NONE && !(s->codec = mt_codec_new(config->codec, config->level, err)))
		rc = -1;
	if (!rc && mt_make_folders(config->path, err))
		rc = -1;
	if (!rc && access(config->path, W_OK | X_OK))
		rc = mt_err_set(err, "%s: can not create files there: %s", config->path, strerror(errno));
	if (!rc && (s->lock_fd = mt_part_lock_folder(config->path)) < 0)
		rc = mt_err_set(err, "%s: can not lock the folder: %s", config->path, strerror(errno));
	if (!rc && add_piece(s, "others", 6) < 0)
		rc = mt_err_set(err, "%s: out of memory", config->path);
	if (!rc)
		return s;
	mt_split_free(s);
	return NULL;
}

static void leave(struct mt_split *s);

static void free_piece(struct mt_split *s, struct piece *p)
{
	s->encoder->impl = p->impl;
	if (p->impl && s->encoder->ops && s->encoder->ops->close)
		s->encoder->ops->close(s->encoder);
	s->encoder->impl = NULL;
	mt_part_clear(&p->file);
	free(p->block.data);
	free(p->key);
	free(p);
}

void mt_split_free(struct mt_split *s)
{
	if (!s)
		return;
	leave(s);
	for (uint32_t i = 0; i < s->n; i++)
		free_piece(s, s->pieces[i]);
	mt_part_unlock_folder(s->config->path, s->lock_fd);
	mt_codec_free(s->codec);
	json_decref(s->unlisted);
	pthread_mutex_destroy(&s->lock);
	free(s->pieces);
	free(s->queue);
	free(s);
}

/* --- files ----------------------------------------------------------------------------- */

struct emission {
	int fd;
	const char *path;
	uint64_t bytes;
	int error;
};

static int emit(void *ctx, const uint8_t *data, size_t len, struct mt_err *err)
{
	struct emission *e = ctx;
	while (len) {
		ssize_t n = write(e->fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			e->error = n ? errno : ENOSPC;
			return mt_err_set(err, "can not write %s: %s", e->path, strerror(e->error));
		}
		data += n;
		len -= (size_t)n;
		e->bytes += (uint64_t)n;
	}
	return 0;
}

static int create_file(struct mt_split *s, struct piece *p, struct mt_err *err)
{
	char stem[STEM_MAX + 32], name[STEM_MAX + 80];
	int fd = -1;
	stem_of(p->key, stem);
	snprintf(name, sizeof name, "%s%s", stem, s->extension);
	if (mt_part_create(&p->file, s->config->path, name, s->extension, &fd, err)) {
		int problem = errno;
		if (fd >= 0)
			close(fd);
		mt_part_clear(&p->file);
		errno = problem;
		return -1;
	}
	close(p->file.lock_fd); /* the folder's lock speaks for it from now on */
	p->file.lock_fd = -1;
	return fd;
}

static int open_file(struct mt_split *s, struct piece *p, struct mt_err *err)
{
	if (!p->file.path)
		return create_file(s, p, err);
	int fd = open(p->file.path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		return fd;
	int problem = errno;
	mt_err_set(err, "can not open %s again: %s", p->file.path, strerror(problem));
	errno = problem;
	return -1;
}

/* One try: what a failed write has left is cut off again. */
static int append_once(struct mt_split *s, struct piece *p, struct mt_err *err)
{
	struct emission e = {.error = 0};
	errno = 0;
	e.fd = open_file(s, p, err);
	if (e.fd < 0)
		return -1;
	e.path = p->file.path;
	int rc = s->codec ? mt_codec_write(s->codec, p->block.data, p->block.used, MT_CODEC_END, emit, &e, err)
	                  : emit(&e, p->block.data, p->block.used, err);
	if (rc) {
		if (s->codec)
			mt_codec_reset(s->codec);
		if (ftruncate(e.fd, (off_t)p->file_bytes))
			mt_log_warn("%s: can not cut off what was written in part: %s", e.path,
			            strerror(errno));
	}
	if (close(e.fd) && !rc) {
		e.error = errno;
		rc = mt_err_set(err, "can not write %s: %s", e.path, strerror(e.error));
	}
	if (!rc)
		p->file_bytes += e.bytes;
	errno = e.error;
	return rc;
}

/* Write the block; it is empty afterwards. */
static int append(struct mt_split *s, struct piece *p, struct mt_err *err)
{
	int rc;
	if (!p->block.used)
		return 0;
	while ((rc = append_once(s, p, err)) && mt_space_again(s->space, errno, s->config->path))
		;
	if (rc) {
		s->failed = true;
		return -1;
	}
	mt_space_found(s->space, s->config->path);
	p->block.used = 0;
	p->saved = p->view;
	return 0;
}

static void drop_block(struct mt_split *s, struct piece *p)
{
	s->held -= p->block.size;
	free(p->block.data);
	p->block = (struct mt_block){0};
}

static int append_all(struct mt_split *s, struct mt_err *err)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (append(s, s->pieces[i], err))
			return -1;
		drop_block(s, s->pieces[i]);
		s->pieces[i]->waits = false;
	}
	s->n_queue = 0;
	return 0;
}

/* --- encoding -------------------------------------------------------------------------- */

/* Its state is its own again. */
static void leave(struct mt_split *s)
{
	const struct mt_encoder *e = s->encoder;
	struct piece *p = s->current;
	if (!p)
		return;
	p->impl = e->impl;
	p->trailer = e->trailer;
	p->linktype = e->linktype;
	p->begun = e->begun;
	s->current = NULL;
}

/* The encoder goes on with this file. */
static void enter(struct mt_split *s, struct piece *p)
{
	struct mt_encoder *e = s->encoder;
	if (s->current == p)
		return;
	leave(s);
	e->block = &p->block;
	e->view = &p->view;
	e->impl = p->impl;
	e->trailer = p->trailer;
	e->linktype = p->linktype;
	e->begun = p->begun;
	e->any_linktype = false;
	s->current = p;
}

static int no_memory(struct mt_split *s, struct mt_err *err)
{
	s->failed = true;
	return mt_err_set(err, "%s: out of memory", s->config->path);
}

/* Room for `need` bytes more, by writing or by growing. */
static int make_room(struct mt_split *s, struct piece *p, size_t need, struct mt_err *err)
{
	size_t size = p->block.size ? p->block.size : BLOCK_MIN;
	if (p->block.used && p->block.used + need > BLOCK_MAX && append(s, p, err))
		return -1;
	if (p->block.size - p->block.used >= need)
		return 0;
	while (size < p->block.used + need)
		size *= 2;
	if (s->held + size - p->block.size > MEMORY) {
		if (append_all(s, err))
			return -1;
		for (size = BLOCK_MIN; size < need;)
			size *= 2;
	}
	uint8_t *data = realloc(p->block.data, size);
	if (!data)
		return no_memory(s, err);
	s->held += size - p->block.size;
	p->block.data = data;
	p->block.size = size;
	return 0;
}

/* The header of a file. */
static int start(struct mt_split *s, struct piece *p, const struct mt_packet *packet, struct mt_err *err)
{
	struct mt_encoder *e = s->encoder;
	e->linktype = s->config->linktype;
	e->trailer = 0;
	e->begun = false;
	if (make_room(s, p, BLOCK_MIN, err) || (e->ops->open && e->ops->open(e, err)))
		return -1;
	size_t size = p->block.size;
	if (e->ops->begin(e))
		return no_memory(s, err);
	s->held += p->block.size - size;
	p->view.start_ns = packet->ts_ns;
	p->started = true;
	return 0;
}

/* It is in the queue of those that wait to be written. */
static int note_waiting(struct mt_split *s, struct piece *p, uint32_t number, struct mt_err *err)
{
	if (p->waits)
		return 0;
	if (s->n_queue == s->queue_size) {
		uint32_t size = s->queue_size ? s->queue_size * 2 : 64;
		uint32_t *queue = reallocarray(s->queue, size, sizeof *queue);
		if (!queue)
			return no_memory(s, err);
		s->queue = queue;
		s->queue_size = size;
	}
	s->queue[s->n_queue++] = number;
	p->waits = true;
	p->since_ms = s->now_ms;
	return 0;
}

static void note_linktype(struct piece *p, uint16_t linktype)
{
	for (unsigned i = 0; i < p->n_linktypes; i++)
		if (p->linktypes[i] == linktype)
			return;
	if (p->n_linktypes < LINKTYPES)
		p->linktypes[p->n_linktypes++] = linktype;
}

static int write_packet(struct mt_split *s, uint32_t number, struct mt_packet *packet, uint8_t verdict,
                        struct mt_err *err)
{
	struct piece *p = s->pieces[number];
	uint32_t i = 0;
	enter(s, p);
	if (!p->started) {
		s->encoder->linktype = s->config->linktype;
		enum mt_refusal why = s->encoder->ops->check(s->encoder, packet);
		if (why != MT_REFUSALS) {
			mt_encoder_refuse(s->encoder, packet, why);
			return 0;
		}
		if (start(s, p, packet, err))
			return -1;
	}
	while (s->encoder->ops->encode(s->encoder, packet, 1, &i, verdict) != MT_STOP_END)
		if (make_room(s, p, s->encoder->need + BLOCK_MIN, err))
			return -1;
	if (packet->verdict != verdict)
		return 0;
	note_linktype(p, packet->linktype);
	p->late += !!(packet->flags & MT_PACKET_LATE);
	p->bypassed += !!(packet->flags & MT_PACKET_BYPASSED);
	return note_waiting(s, p, number, err);
}

int mt_split_write(struct mt_split *s, struct mt_packet *packets, const uint32_t *parts, uint32_t n,
                   uint8_t verdict, struct mt_err *err)
{
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < n && !rc; i++)
		if (packets[i].verdict == verdict)
			rc = write_packet(s, parts[i] < s->n ? parts[i] : 0, &packets[i], verdict, err);
	s->failed = s->failed || rc;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int mt_split_tick(struct mt_split *s, int64_t now_ms, struct mt_err *err)
{
	int rc = 0;
	uint32_t i = 0;
	pthread_mutex_lock(&s->lock);
	s->now_ms = now_ms;
	for (; i < s->n_queue && !rc; i++) {
		struct piece *p = s->pieces[s->queue[i]];
		if (p->since_ms + s->config->flush_ms > now_ms)
			break;
		rc = append(s, p, err);
		p->waits = false;
	}
	if (i) {
		s->n_queue -= i;
		memmove(s->queue, s->queue + i, s->n_queue * sizeof *s->queue);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* --- the end --------------------------------------------------------------------------- */

static json_t *make_line(const struct mt_split *s, const struct piece *p)
{
	uint8_t set[MT_LINKTYPE_SET] = {0};
	for (unsigned i = 0; i < p->n_linktypes; i++)
		set[p->linktypes[i] >> 3] |= (uint8_t)(1u << (p->linktypes[i] & 7));
	struct mt_manifest_entry entry = {
	        .run = s->config->segment.run_id,
	        .output = s->config->name,
	        .file = p->file.name,
	        .start_ns = p->view.start_ns,
	        .end_ns = p->view.last_ns,
	        .first_ns = p->view.first_ns,
	        .last_ns = p->view.last_ns,
	        .packets = p->view.packets,
	        .captured_bytes = p->view.captured_bytes,
	        .wire_bytes = p->view.wire_bytes,
	        .file_bytes = p->file_bytes,
	        .reason = "key",
	        .format = mt_format_name(s->config->format),
	        .linktypes = mt_linktype_names(set),
	        .snaplen = s->config->snaplen,
	        .late = p->late,
	        .script_bypassed = p->bypassed,
	        .sources = json_array(), /* what a source lost belongs to no key */
	};
	json_t *line = mt_manifest_line(&entry);
	json_object_set_new(line, "key", mt_json_text(p->key));
	return line;
}

static void record(struct mt_split *s, json_t *line)
{
	struct mt_err err;
	int rc;
	do {
		errno = 0;
		rc = mt_manifest_append(s->config->path, line, &err);
	} while (rc && mt_space_again(s->space, errno, s->config->path));
	if (!rc)
		return;
	json_array_append(s->unlisted, line);
	if (!s->troubled)
		mt_log_warn("%s", err.text);
	s->troubled = true;
}

static int finish_file(struct mt_split *s, struct piece *p, struct mt_err *err)
{
	/* part.c wants it locked and open */
	p->file.lock_fd = open(p->file.path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (p->file.lock_fd < 0)
		return mt_err_set(err, "can not open %s again: %s", p->file.path, strerror(errno));
	if (mt_part_finish(&p->file, "", err))
		return -1;
	close(p->file.lock_fd);
	p->file.lock_fd = -1;
	json_t *line = make_line(s, p);
	record(s, line);
	s->closed++;
	if (s->hooks && s->hooks->segment_close) {
		pthread_mutex_unlock(&s->lock); /* the hook may ask for what is there */
		s->hooks->segment_close(s->hooks->ctx, line);
		pthread_mutex_lock(&s->lock);
	}
	json_decref(line);
	return 0;
}

/* After a failure: what is in the file is whole, without what its end would have said. */
static int close_piece(struct mt_split *s, struct piece *p, struct mt_err *err)
{
	if (!p->started)
		return 0;
	if (!s->failed) {
		enter(s, p);
		size_t size = p->block.size;
		if (s->encoder->ops->end(s->encoder))
			return no_memory(s, err);
		s->held += p->block.size - size;
		if (append(s, p, err))
			return -1;
	}
	drop_block(s, p);
	p->view = p->saved;
	return p->file.path && p->saved.packets ? finish_file(s, p, err) : 0;
}

int mt_split_close(struct mt_split *s, struct mt_err *err)
{
	struct mt_err other;
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < s->n; i++)
		if (close_piece(s, s->pieces[i], rc ? &other : err)) {
			rc = -1;
			s->failed = true;
			if (s->pieces[i]->view.packets > s->pieces[i]->saved.packets)
				s->pieces[i]->view = s->pieces[i]->saved;
		}
	pthread_mutex_unlock(&s->lock);
	mt_part_unlock_folder(s->config->path, s->lock_fd);
	s->lock_fd = -1;
	return rc;
}

/* --- questions ------------------------------------------------------------------------- */

struct mt_segment_view mt_split_total(const struct mt_split *s)
{
	struct mt_segment_view sum = {.first_ns = INT64_MAX, .last_ns = INT64_MIN};
	for (uint32_t i = 0; i < s->n; i++) {
		const struct mt_segment_view *v = s->failed ? &s->pieces[i]->saved : &s->pieces[i]->view;
		sum.packets += v->packets;
		sum.captured_bytes += v->captured_bytes;
		sum.wire_bytes += v->wire_bytes;
		sum.first_ns = v->first_ns < sum.first_ns ? v->first_ns : sum.first_ns;
		sum.last_ns = v->last_ns > sum.last_ns ? v->last_ns : sum.last_ns;
	}
	return sum;
}

uint64_t mt_split_closed(const struct mt_split *s)
{
	return s->closed;
}

bool mt_split_troubled(const struct mt_split *s)
{
	return s->troubled;
}

struct collected {
	const struct mt_split *s;
	json_t *lines;
};

static void collect_line(void *ctx, json_t *line)
{
	struct collected *c = ctx;
	const char *run = json_string_value(json_object_get(line, "run"));
	const char *output = json_string_value(json_object_get(line, "output"));
	if (run && output && !strcmp(run, c->s->config->segment.run_id) && !strcmp(output, c->s->config->name))
		json_array_append(c->lines, line);
}

json_t *mt_split_json(const struct mt_split *s)
{
	struct collected c = {s, json_array()};
	mt_manifest_each(s->config->path, collect_line, &c);
	json_array_extend(c.lines, s->unlisted);
	return c.lines;
}
