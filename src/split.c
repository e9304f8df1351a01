/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split.c - see split.h.
 */
#include "split.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec.h"
#include "flow.h"
#include "linktype.h"
#include "log.h"
#include "manifest.h"
#include "part.h"
#include "split_heap.h"

enum {
	AHEAD = 16, /* so many packets before its own a file is fetched from memory, and half of that its block
	             */
	HEAD = 128  /* bytes before those of the first packet: headers of file and record, where begin does not
	               write it */
};

struct mt_split {
	const struct mt_output_config *config;
	struct mt_encoder *encoder;
	const struct mt_output_hooks *hooks;
	struct mt_space *space;
	struct mt_split_heap *heap;
	char extension[32];
	pthread_mutex_t lock;     /* pieces and n */
	struct mt_piece **pieces; /* [0]: the others */
	uint32_t n, size;
	struct mt_piece *current; /* its state is the encoder's */
	struct mt_block scratch;  /* what begins or ends a file */
	int lock_fd;
	uint64_t closed;
	json_t *unlisted;
	bool troubled, failed;
};

/* --- keys ------------------------------------------------------------------------------ */

static struct mt_piece *new_piece(const char *key, size_t len)
{
	struct mt_piece *p = calloc(1, sizeof *p);
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
	p->view_saved = p->view;
	return p;
}

/* Its number, or -1. */
static int64_t add_piece(struct mt_split *s, const char *key, size_t len)
{
	if (s->n == s->size) {
		uint32_t size = s->size ? s->size * 2 : 64;
		struct mt_piece **pieces = reallocarray(s->pieces, size, sizeof *pieces);
		if (!pieces)
			return -1;
		s->pieces = pieces;
		s->size = size;
	}
	struct mt_piece *p = new_piece(key, len);
	if (!p)
		return -1;
	p->number = s->n;
	s->pieces[s->n] = p;
	return s->n++;
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
		const struct mt_piece *p = s->pieces[number];
		*view = (struct mt_split_view){.key = p->key,
		                               .file = mt_split_heap_name(s->heap, p),
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
	s->unlisted = json_array();
	pthread_mutex_init(&s->lock, NULL);
	snprintf(s->extension, sizeof s->extension, ".%s%s", mt_format_name(config->format),
	         mt_codec_extension(config->codec));
	/* the encoder was opened with a state of its own, each file has one here */
	if (encoder->ops->close)
		encoder->ops->close(encoder);
	int rc = 0;
	if (!(s->heap = mt_split_heap_new(config, s->extension, space, err)))
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

static void free_piece(struct mt_split *s, struct mt_piece *p)
{
	s->encoder->impl = p->impl;
	if (p->impl && s->encoder->ops && s->encoder->ops->close)
		s->encoder->ops->close(s->encoder);
	s->encoder->impl = NULL;
	mt_part_clear(&p->file);
	free(p->key);
	free(p);
}

void mt_split_free(struct mt_split *s)
{
	if (!s)
		return;
	leave(s);
	mt_split_heap_free(s->heap);
	for (uint32_t i = 0; i < s->n; i++)
		free_piece(s, s->pieces[i]);
	mt_part_unlock_folder(s->config->path, s->lock_fd);
	json_decref(s->unlisted);
	pthread_mutex_destroy(&s->lock);
	free(s->scratch.data);
	free(s->pieces);
	free(s);
}

/* --- encoding -------------------------------------------------------------------------- */

/* Its state is its own again. */
static void leave(struct mt_split *s)
{
	const struct mt_encoder *e = s->encoder;
	struct mt_piece *p = s->current;
	if (!p)
		return;
	p->impl = e->impl;
	p->trailer = e->trailer;
	p->linktype = e->linktype;
	p->begun = e->begun;
	s->current = NULL;
}

/* The encoder goes on with this file. */
static void enter(struct mt_split *s, struct mt_piece *p)
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

/* What a function of the encoder that begins or ends a file has to say goes to the file. */
static int add(struct mt_split *s, struct mt_piece *p, int (*function)(struct mt_encoder *e), size_t more,
               struct mt_err *err)
{
	s->scratch.used = 0;
	s->encoder->block = &s->scratch;
	int rc = function(s->encoder);
	s->encoder->block = &p->block;
	if (rc)
		return no_memory(s, err);
	if (!s->scratch.used && !more)
		return 0;
	if (mt_split_heap_room(s->heap, p, s->scratch.used + more, err))
		return -1;
	if (s->scratch.used)
		memcpy(p->block.data + p->block.used, s->scratch.data, s->scratch.used);
	p->block.used += s->scratch.used;
	return 0;
}

/* The header of a file, and room for its first packet. */
static int start(struct mt_split *s, struct mt_piece *p, const struct mt_packet *packet, struct mt_err *err)
{
	struct mt_encoder *e = s->encoder;
	e->linktype = s->config->linktype;
	e->trailer = 0;
	e->begun = false;
	if (e->ops->open && e->ops->open(e, err))
		return -1;
	if (add(s, p, e->ops->begin, HEAD + mt_encode_caplen(e, packet), err))
		return -1;
	p->view.start_ns = packet->ts_ns;
	p->started = true;
	return 0;
}

static void note_linktype(struct mt_piece *p, uint16_t linktype)
{
	for (unsigned i = 0; i < p->n_linktypes; i++)
		if (p->linktypes[i] == linktype)
			return;
	if (p->n_linktypes < MT_PIECE_LINKTYPES)
		p->linktypes[p->n_linktypes++] = linktype;
}

static int write_packet(struct mt_split *s, struct mt_piece *p, struct mt_packet *packet, uint8_t verdict,
                        struct mt_err *err)
{
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
		if (mt_split_heap_room(s->heap, p, s->encoder->need, err))
			return -1;
	if (packet->verdict == verdict)
		note_linktype(p, packet->linktype);
	p->begun = s->encoder->begun;
	p->linktype = s->encoder->linktype;
	return 0;
}

/* With thousands of files each packet's is somewhere else in memory. */
static inline void fetch(const struct mt_split *s, const uint32_t *parts, uint32_t i, uint32_t n)
{
	if (i + AHEAD < n && parts[i + AHEAD] < s->n)
		__builtin_prefetch(s->pieces[parts[i + AHEAD]], 1);
	if (i + AHEAD / 2 >= n || parts[i + AHEAD / 2] >= s->n)
		return;
	const struct mt_block *block = &s->pieces[parts[i + AHEAD / 2]]->block;
	__builtin_prefetch((const uint8_t *)block + 64, 1);
	__builtin_prefetch(block->data + block->used, 1);
}

int mt_split_write(struct mt_split *s, struct mt_packet *packets, const uint32_t *parts, uint32_t n,
                   uint8_t verdict, struct mt_err *err)
{
	int rc = 0;
	bool (*put)(const struct mt_encoder *e, const struct mt_packet *p, uint16_t linktype,
	            struct mt_block *block, struct mt_segment_view *view) = s->encoder->ops->put;
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < n && !rc; i++) {
		fetch(s, parts, i, n);
		if (packets[i].verdict != verdict)
			continue;
		struct mt_piece *p = s->pieces[parts[i] < s->n ? parts[i] : 0];
		if (!put || !p->begun || !put(s->encoder, &packets[i], p->linktype, &p->block, &p->view))
			rc = write_packet(s, p, &packets[i], verdict, err);
		if (packets[i].flags & (MT_PACKET_LATE | MT_PACKET_BYPASSED) && packets[i].verdict == verdict) {
			p->late += !!(packets[i].flags & MT_PACKET_LATE);
			p->bypassed += !!(packets[i].flags & MT_PACKET_BYPASSED);
		}
	}
	s->failed = s->failed || rc;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int mt_split_tick(struct mt_split *s, int64_t now_ms, struct mt_err *err)
{
	pthread_mutex_lock(&s->lock);
	int rc = mt_split_heap_tick(s->heap, now_ms, err);
	s->failed = s->failed || rc;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* --- the end --------------------------------------------------------------------------- */

static json_t *make_line(const struct mt_split *s, const struct mt_piece *p)
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

static void warn_once(struct mt_split *s, const struct mt_err *err)
{
	if (!s->troubled)
		mt_log_warn("%s", err->text);
	s->troubled = true;
}

static void record(struct mt_split *s, struct mt_manifest *manifest, json_t *line)
{
	struct mt_err err;
	int rc;
	do {
		errno = 0;
		rc = mt_manifest_put(manifest, line, &err);
	} while (rc && mt_space_again(s->space, errno, s->config->path));
	if (!rc)
		return;
	json_array_append(s->unlisted, line);
	warn_once(s, &err);
}

static int finish_file(struct mt_split *s, struct mt_piece *p, struct mt_manifest *manifest, struct mt_err *err)
{
	if (mt_part_finish(&p->file, "", err))
		return -1;
	json_t *line = make_line(s, p);
	record(s, manifest, line);
	s->closed++;
	if (s->hooks && s->hooks->segment_close) {
		pthread_mutex_unlock(&s->lock); /* the hook may ask for what is there */
		s->hooks->segment_close(s->hooks->ctx, line);
		pthread_mutex_lock(&s->lock);
	}
	json_decref(line);
	return 0;
}

/* What its end has to say. */
static int end_piece(struct mt_split *s, struct mt_piece *p, struct mt_err *err)
{
	if (!p->started)
		return 0;
	enter(s, p);
	return add(s, p, s->encoder->ops->end, 0, err);
}

static int write_ends(struct mt_split *s, struct mt_err *err)
{
	int rc = 0;
	for (uint32_t i = 0; i < s->n && !rc; i++)
		rc = end_piece(s, s->pieces[i], err);
	return rc ? -1 : mt_split_heap_end(s->heap, err);
}

int mt_split_close(struct mt_split *s, struct mt_err *err)
{
	struct mt_manifest manifest = MT_MANIFEST(s->config->path);
	struct mt_err other;
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	if (s->failed)
		mt_split_heap_end(s->heap, &other);
	else
		rc = write_ends(s, err);
	s->failed = s->failed || rc;
	/* After a failure what is in a file is whole, without what its end would have said. */
	for (uint32_t i = 0; i < s->n; i++) {
		struct mt_piece *p = s->pieces[i];
		if (mt_split_heap_wait(s->heap, p, s->failed ? &other : err) && !s->failed) {
			rc = -1;
			s->failed = true;
		}
		p->view = p->view_saved;
		if (p->file.path && p->view.packets && finish_file(s, p, &manifest, rc ? &other : err)) {
			rc = -1;
			s->failed = true;
		}
	}
	if (mt_manifest_close(&manifest, &other))
		warn_once(s, &other);
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
		const struct mt_segment_view *v = s->failed ? &s->pieces[i]->view_saved : &s->pieces[i]->view;
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
