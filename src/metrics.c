/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics.c - the text format of Prometheus, version 0.0.4.
 *
 * A few kilobytes, made anew for each request, of which there is one in some seconds.
 */
#include "metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "library.h"
#include "metric.h"
#include "units.h"

enum { CONNECTIONS = 16, TIMEOUT_S = 10 };

/* The library brings a TLS library along, which would make every start slower: it is loaded when it is wanted.
 */
#define LIBRARY "libmicrohttpd.so.12"
static struct {
	__typeof__(&MHD_start_daemon) start_daemon;
	__typeof__(&MHD_stop_daemon) stop_daemon;
	__typeof__(&MHD_create_response_from_buffer) create_response_from_buffer;
	__typeof__(&MHD_add_response_header) add_response_header;
	__typeof__(&MHD_queue_response) queue_response;
	__typeof__(&MHD_destroy_response) destroy_response;
} http;

static int load(struct mt_err *err)
{
	void *library = mt_library_load(LIBRARY);
	if (library && mt_library_find(library, "MHD_start_daemon", &http.start_daemon) &&
	    mt_library_find(library, "MHD_stop_daemon", &http.stop_daemon) &&
	    mt_library_find(library, "MHD_create_response_from_buffer", &http.create_response_from_buffer) &&
	    mt_library_find(library, "MHD_add_response_header", &http.add_response_header) &&
	    mt_library_find(library, "MHD_queue_response", &http.queue_response) &&
	    mt_library_find(library, "MHD_destroy_response", &http.destroy_response))
		return 0;
	return mt_err_set(err, "--metrics needs the library %s: %s", LIBRARY, dlerror());
}

struct mt_metrics {
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock; /* of what follows */
	json_t *report;
	int64_t updated_ms;
};

/* A metric of ours and the key of the report that it shows. */
struct shown {
	const char *name, *key, *help;
};

static const struct shown of_sources[] = {
        {"packets_total", "packets", "Packets that reached the program, before any filter"},
        {"captured_bytes_total", "bytes", "Bytes of them as captured"},
        {"wire_bytes_total", "wire_bytes", "Bytes of them on the wire"},
        {"kept_packets_total", "kept", "Packets that were kept"},
        {"filtered_packets_total", "filtered", "Packets that a filter rejected"},
        {"script_dropped_packets_total", "script_dropped", "Packets that a script dropped"},
        {"dropped_packets_total", "dropped",
         "Packets lost in the program: no buffer left, too late, not writable"},
        {"kernel_dropped_packets_total", "dropped_kernel", "Packets lost in the kernel or on the card"},
        {"late_packets_total", "late", "Packets that came when later ones had left"},
        {"disorder_packets_total", "disorder", "Packets earlier than the one before of the same source"},
};

static const struct shown of_outputs[] = {
        {"output_packets_total", "kept", "Packets that were written to the output"},
        {"output_dropped_packets_total", "dropped", "Packets that could not be written"},
        {"output_captured_bytes_total", "captured_bytes", "Captured bytes of the packets that were written"},
        {"output_segments_total", "segments", "Segments that were closed"},
        {"output_deleted_segments_total", "deleted_segments", "Segments that --on-full deleted"},
};

static const struct shown of_run[] = {
        {"clock_jumps_total", "clock_jumps", "Packets far ahead of the wall clock"},
        {"script_bypassed_packets_total", "script_bypassed", "Packets that a script did not finish"},
};

/* --- text ---------------------------------------------------------------------------------------- */

static void put_label(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || *text == '"')
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

static void put_value(FILE *out, double value)
{
	if (isnan(value))
		fputs(" NaN\n", out);
	else if (isinf(value))
		fputs(value > 0 ? " +Inf\n" : " -Inf\n", out);
	else
		fprintf(out, " %.17g\n", value);
}

static void put_head(FILE *out, const char *name, const char *help, const char *kind)
{
	fprintf(out, "# HELP %s ", name);
	for (; *help; help++) {
		if (*help == '\n' || *help == '\\')
			fprintf(out, "\\%c", *help == '\n' ? 'n' : '\\');
		else
			fputc(*help, out);
	}
	fprintf(out, "\n# TYPE %s %s\n", name, kind);
}

static void put_list(FILE *out, const json_t *list, const char *label, const struct shown *shown, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char name[64];
		bool headed = false;
		size_t at;
		json_t *one;
		snprintf(name, sizeof name, "moontap_%s", shown[i].name);
		json_array_foreach(list, at, one)
		{
			const json_t *value = json_object_get(one, shown[i].key);
			const char *text = json_string_value(json_object_get(one, "name"));
			if (!text)
				text = json_string_value(json_object_get(one, "path"));
			if (!json_is_number(value))
				continue;
			if (!headed)
				put_head(out, name, shown[i].help, "counter");
			headed = true;
			fprintf(out, "%s{%s=\"", name, label);
			put_label(out, text ? text : "");
			fputs("\"}", out);
			put_value(out, json_number_value(value));
		}
	}
}

static void put_run(FILE *out, const struct mt_metrics *m)
{
	for (size_t i = 0; i < sizeof of_run / sizeof *of_run; i++) {
		char name[64];
		snprintf(name, sizeof name, "moontap_%s", of_run[i].name);
		put_head(out, name, of_run[i].help, "counter");
		fputs(name, out);
		put_value(out, json_number_value(json_object_get(m->report, of_run[i].key)));
	}
	put_head(out, "moontap_counts_age_seconds", "How old these counts are", "gauge");
	fputs("moontap_counts_age_seconds", out);
	put_value(out, (double)(mt_monotonic_ms() - m->updated_ms) / 1e3);
}

struct script_text {
	FILE *out;
	const char *last; /* name that the head was written for */
};

static void put_script_metric(void *ctx, const struct mt_metric *metric)
{
	struct script_text *t = ctx;
	double value;
	__atomic_load(&metric->value, &value, __ATOMIC_RELAXED);
	if (!t->last || strcmp(t->last, metric->name) != 0)
		put_head(t->out, metric->name, metric->help,
		         metric->kind == MT_METRIC_COUNTER ? "counter" : "gauge");
	t->last = metric->name;
	fputs(metric->name, t->out);
	if (*metric->labels)
		fprintf(t->out, "{%s}", metric->labels);
	put_value(t->out, value);
}

/* The page; to be freed.  NULL: out of memory. */
static char *make_page(struct mt_metrics *m, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);
	if (!out)
		return NULL;
	put_head(out, "moontap_build_info", "The program's version", "gauge");
	fprintf(out, "moontap_build_info{version=\"%s\"} 1\n", MT_VERSION);
	pthread_mutex_lock(&m->lock);
	if (m->report) {
		put_list(out, json_object_get(m->report, "sources"), "source", of_sources,
		         sizeof of_sources / sizeof *of_sources);
		put_list(out, json_object_get(m->report, "outputs"), "output", of_outputs,
		         sizeof of_outputs / sizeof *of_outputs);
		put_run(out, m);
	}
	pthread_mutex_unlock(&m->lock);
	struct script_text scripts = {.out = out};
	mt_metric_each(put_script_metric, &scripts);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

/* --- HTTP ---------------------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text, size_t size,
                              const char *type)
{
	struct MHD_Response *response = http.create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	http.add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		http.add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result result = http.queue_response(connection, status, response);
	http.destroy_response(response);
	return result;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status, const char *text)
{
	char *copy = strdup(text);
	return copy ? answer(connection, status, copy, strlen(copy), "text/plain; charset=utf-8") : MHD_NO;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_size, void **state)
{
	(void)version;
	(void)data;
	if (*data_size) { /* nobody has anything to send us */
		*data_size = 0;
		return MHD_YES;
	}
	if (!*state) { /* called a first time when the header has come */
		*state = ctx;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (strcmp(url, "/") == 0)
		return say(connection, MHD_HTTP_OK, "moontap: the numbers are at /metrics\n");
	if (strcmp(url, "/metrics") != 0)
		return say(connection, MHD_HTTP_NOT_FOUND, "not found: the numbers are at /metrics\n");
	size_t size;
	char *page = make_page(ctx, &size);
	return page ? answer(connection, MHD_HTTP_OK, page, size, "text/plain; version=0.0.4; charset=utf-8")
	            : MHD_NO;
}

/* --- where to listen ------------------------------------------------------------------------------ */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int parse_where(const char *where, union address *a, struct mt_err *err)
{
	char host[64] = "127.0.0.1";
	const char *colon = strrchr(where, ':'), *port_text = colon ? colon + 1 : where;
	uint64_t port;
	if (colon && colon > where) {
		bool bracketed = *where == '[' && colon[-1] == ']';
		int len = (int)(colon - where) - (bracketed ? 2 : 0);
		snprintf(host, sizeof host, "%.*s", len, where + bracketed);
	}
	memset(a, 0, sizeof *a);
	if (!mt_parse_u64(port_text, 1, 65535, &port))
		return mt_err_set(err,
		                  "--metrics %s: expected a port from 1 to 65535, as in 9100 or 127.0.0.1:9100",
		                  where);
	if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons((uint16_t)port);
	} else if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons((uint16_t)port);
	} else {
		return mt_err_set(err, "--metrics %s: expected an address to listen on, found \"%s\"", where,
		                  host);
	}
	return 0;
}

int mt_metrics_check(const char *where, struct mt_err *err)
{
	union address address;
	return parse_where(where, &address, err);
}

struct mt_metrics *mt_metrics_start(const char *where, struct mt_err *err)
{
	union address address;
	if (parse_where(where, &address, err) || load(err))
		return NULL;
	struct mt_metrics *m = calloc(1, sizeof *m);
	if (!m) {
		mt_err_set(err, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&m->lock, NULL);
	unsigned flags =
	        MHD_USE_INTERNAL_POLLING_THREAD | (address.any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0);
	errno = 0;
	m->daemon = http.start_daemon(flags, 0, NULL, NULL, handle, m, MHD_OPTION_SOCK_ADDR, &address.any,
	                              MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
	                              MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
	if (m->daemon)
		return m;
	mt_err_set(err, "--metrics %s: can not listen there: %s", where, strerror(errno ? errno : EADDRINUSE));
	mt_metrics_stop(m);
	return NULL;
}

void mt_metrics_update(struct mt_metrics *m, json_t *report)
{
	pthread_mutex_lock(&m->lock);
	json_t *old = m->report;
	m->report = report;
	m->updated_ms = mt_monotonic_ms();
	pthread_mutex_unlock(&m->lock);
	json_decref(old);
}

void mt_metrics_stop(struct mt_metrics *m)
{
	if (!m)
		return;
	if (m->daemon)
		http.stop_daemon(m->daemon);
	json_decref(m->report);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
