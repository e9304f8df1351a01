/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * generate.c - pcap files for the benchmarks: one stream of packets dealt out to several files.
 *
 *   generate --packets 10000000 --files 4 --dir /dev/shm/bench
 *
 * Ethernet, with a VLAN tag or without, IPv4 or IPv6, TCP or UDP; all lengths and checksums right for
 * the whole packet even when less of it is captured; 1 to 2 µs apart.  The shares of tags and of IPv6
 * are of the flows.  The same options give the same bytes.
 *
 * With --dns UDP, which is on port 53 always, has DNS messages: each flow a query, its response, and so on;
 * they are captured whole. 10 million packets of 64 captured bytes take about 2 seconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BUFFER = 1 << 18, /* bytes written at once */
	POOL = 1 << 15,   /* random bytes that payload is taken from, even */
	VLAN_TAG = 4,
	MAX_FRAME = 1514, /* without the tag */
	SMALL_MIN = 74,   /* small frames have 74 to 86 bytes, room for every header; large ones 1514 */
	SMALL_SPREAD = 13,
	SMALL_MEAN = 80,
	RECORD_HEADER = 16,
	NAMES = 1 << 14, /* that are asked for */
	MAX_MESSAGE = 256,
	START = 1795341600 /* 2026-11-22 10:00:00 UTC */
};

struct options {
	uint64_t packets, files, snaplen, mean_size, flows, seed, vlan_percent, ipv6_percent;
	const char *dir;
	bool random_order, ns, dns;
};

struct file {
	int fd;
	size_t used;
	uint8_t buffer[BUFFER];
};

static uint64_t random_state;
static uint8_t pool[POOL + MAX_FRAME];
static uint32_t pool_sum[(POOL + MAX_FRAME) / 2 + 1]; /* of the 16-bit words before */

static void die(const char *what, const char *name)
{
	fprintf(stderr, "generate: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static uint64_t scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t next_random(void)
{
	return scramble(random_state++);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static void fill_pool(void)
{
	for (size_t i = 0; i < sizeof(pool); i += 2) {
		put16(pool + i, (uint32_t)next_random() & 0xffff);
		pool_sum[i / 2 + 1] = pool_sum[i / 2] + (uint32_t)(pool[i] << 8 | pool[i + 1]);
	}
}

static uint32_t sum_words(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	return sum;
}

static uint32_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum ^ 0xffff;
}

/* Internet checksum of len bytes of the pool from the even offset at. */
static uint32_t sum_pool(size_t at, size_t len)
{
	uint32_t sum = pool_sum[(at + len) / 2] - pool_sum[at / 2];

	return len & 1 ? sum + (uint32_t)(pool[at + len - 1] << 8) : sum;
}

static uint32_t sum_message(const uint8_t *p, size_t len)
{
	return sum_words(p, len) + (len & 1 ? (uint32_t)(p[len - 1] << 8) : 0);
}

/* IP header of the flow at p; returns its length. */
static size_t make_ip(uint8_t *p, uint64_t flow, bool v6, bool tcp, size_t ip_len, bool reply)
{
	uint32_t client = (uint32_t)(flow >> 8) & 0xffffff, server = (uint32_t)(flow >> 32) & 0x3ff;

	if (v6) {
		memset(p, 0, 40);
		p[0] = 0x60;
		put16(p + 4, (uint32_t)ip_len - 40);
		p[6] = tcp ? 6 : 17;
		p[7] = 64;
		put32(p + 8, 0x20010db8);
		put32(p + 24, 0x20010db8);
		put32(p + (reply ? 36 : 20), client);
		put32(p + (reply ? 20 : 36), 0x01000000 | server);
		return 40;
	}
	p[0] = 0x45;
	p[1] = 0;
	put16(p + 2, (uint32_t)ip_len);
	put16(p + 4, (uint32_t)random_state);
	put16(p + 6, 0x4000);
	p[8] = 64;
	p[9] = tcp ? 6 : 17;
	put16(p + 10, 0);
	put32(p + (reply ? 16 : 12), 0x0a000000 | client);
	put32(p + (reply ? 12 : 16), 0xc0000200 | server);
	put16(p + 10, fold(sum_words(p, 20)));
	return 20;
}

/* Transport header at p, len bytes with the payload; sum: of the addresses and the payload.  Returns the length
 * of the header. */
static size_t make_transport(uint8_t *p, uint64_t flow, bool tcp, size_t len, bool reply, uint64_t sum)
{
	static const uint16_t ports[] = {443, 443, 443, 80, 53, 53, 22, 8080};
	uint32_t client = 1024 + (uint32_t)(flow >> 42) % 64512, server = ports[flow & 7];
	size_t header = tcp ? 20 : 8, check = tcp ? 16 : 6;

	put16(p, reply ? server : client);
	put16(p + 2, reply ? client : server);
	if (tcp) {
		put32(p + 4, (uint32_t)next_random());
		put32(p + 8, (uint32_t)flow);
		put16(p + 12, 0x5018); /* 20 bytes, PSH and ACK */
		put16(p + 14, 64240);
		put32(p + 16, 0);
	} else {
		put16(p + 4, (uint32_t)len);
		put16(p + 6, 0);
	}
	sum += sum_words(p, header) + (tcp ? 6u : 17u) + len;
	uint32_t checksum = fold(sum);
	put16(p + check, checksum || tcp ? checksum : 0xffff);
	return header;
}

/* What a packet is before its bytes are made. */
struct packet {
	uint64_t flow, random;
	bool tagged, v6, tcp, reply;
	size_t wire_len;
	size_t message_len; /* of DNS; 0: random payload */
	uint8_t message[MAX_MESSAGE];
};

/* --- DNS ---------------------------------------------------------------------------------------------------
 */

static uint8_t *asked; /* by flow: odd while a query waits for its response; counts messages */

static size_t put_label(uint8_t *p, const char *text, size_t len)
{
	p[0] = (uint8_t)len;
	memcpy(p + 1, text, len);
	return len + 1;
}

/* A few names are asked for often, most of them seldom. */
static size_t put_name(uint8_t *p, uint64_t random)
{
	static const char *const ends[] = {"com", "net", "org", "example"};
	uint64_t a = random & 0xffff, number = scramble((a * a >> 16) * a >> 16 & (NAMES - 1));
	char text[16];
	size_t n = 0, len = 4 + number % 9;
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + (number >> 4 * i) % 26);
	if (number >> 60 < 8)
		n += put_label(p, "www", 3);
	n += put_label(p + n, text, len);
	const char *end = ends[number >> 57 & 3];
	n += put_label(p + n, end, strlen(end));
	p[n] = 0;
	return n + 1;
}

/* The next message of a flow: RFC 1035, with one question and up to two addresses. */
static void make_message(struct packet *p, uint64_t flow_number)
{
	uint8_t *m = p->message, count = asked[flow_number]++;
	uint64_t random = scramble(p->flow + (count >> 1));
	bool v6 = random >> 16 & 1, missing = (random >> 20 & 15) == 0;
	unsigned answers = missing ? 0 : 1 + (random >> 24 & 1);
	p->reply = count & 1;
	memset(m, 0, 12);
	put16(m, (uint32_t)(random >> 32));
	put16(m + 2, p->reply ? 0x8180u | (missing ? 3 : 0) : 0x0100);
	put16(m + 4, 1);
	size_t n = 12 + put_name(m + 12, random >> 40);
	put16(m + n, v6 ? 28 : 1);
	put16(m + n + 2, 1);
	n += 4;
	if (p->reply) {
		put16(m + 6, answers);
		for (unsigned i = 0; i < answers; i++) {
			put16(m + n, 0xc00c); /* the name of the question */
			put16(m + n + 2, v6 ? 28 : 1);
			put16(m + n + 4, 1);
			put32(m + n + 6, 300);
			put16(m + n + 10, v6 ? 16 : 4);
			memcpy(m + n + 12, pool + i * 16, v6 ? 16 : 4);
			n += 12 + (v6 ? 16 : 4);
		}
	}
	p->message_len = n;
	p->wire_len = 14 + (p->v6 ? 40 : 20) + 8 + n + (p->tagged ? VLAN_TAG : 0);
}

/* --- packets ------------------------------------------------------------------------------------------------
 */

/* A packet of a random flow, with len bytes and a tag if its flow has one. */
static struct packet choose_packet(const struct options *o, size_t len)
{
	uint64_t r = next_random(), flow = scramble(r % o->flows ^ o->seed << 32);
	struct packet p = {.flow = flow, .random = r, .reply = r >> 63, .wire_len = len};

	p.tcp = (flow & 7) < 4 || (flow & 7) > 5;
	p.v6 = (flow >> 48) * 100 < o->ipv6_percent << 16;
	if (o->vlan_percent && (scramble(flow) & 0xffff) * 100 < o->vlan_percent << 16) {
		p.tagged = true;
		p.wire_len += VLAN_TAG;
	}
	if (o->dns && !p.tcp)
		make_message(&p, r % o->flows);
	return p;
}

/* The frame of the packet, of which the first cap_len bytes are stored at p. */
static void make_frame(uint8_t *p, const struct packet *packet, size_t cap_len)
{
	uint64_t flow = packet->flow;
	size_t at = (packet->random >> 32) % POOL & ~(size_t)1, n = 12, wire_len = packet->wire_len;
	uint8_t head[14 + VLAN_TAG + 40 + 20];

	memcpy(head, packet->reply ? "\2\0\0\0\0\1\2\0\0\0\0\2" : "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
	if (packet->tagged) {
		put16(head + n, 0x8100);
		put16(head + n + 2, 1 + (uint32_t)(flow >> 20) % 4094);
		n += VLAN_TAG;
	}
	put16(head + n, packet->v6 ? 0x86dd : 0x0800);
	n += 2;
	const uint8_t *ip = head + n;
	n += make_ip(head + n, flow, packet->v6, packet->tcp, wire_len - n, packet->reply);
	uint32_t pseudo = packet->v6 ? sum_words(ip + 8, 32) : sum_words(ip + 12, 8);
	size_t headers = n + (packet->tcp ? 20 : 8), payload_len = wire_len - headers;
	const uint8_t *payload = packet->message_len ? packet->message : pool + at;
	uint64_t sum = packet->message_len ? sum_message(payload, payload_len) : sum_pool(at, payload_len);
	n += make_transport(head + n, flow, packet->tcp, wire_len - n, packet->reply, sum + pseudo);
	memcpy(p, head, n < cap_len ? n : cap_len);
	if (n < cap_len)
		memcpy(p + n, payload, cap_len - n);
}

static void flush_file(struct file *f)
{
	for (size_t done = 0; done < f->used;) {
		ssize_t n = write(f->fd, f->buffer + done, f->used - done);
		if (n < 0 && errno != EINTR)
			die("can not write", "a file");
		done += n > 0 ? (size_t)n : 0;
	}
	f->used = 0;
}

static struct file *open_files(const struct options *o)
{
	struct file *files = malloc(o->files * sizeof(*files));
	/* pcap file header 2.4, in the byte order of this machine: Ethernet */
	uint32_t header[6] = {o->ns ? 0xa1b23c4d : 0xa1b2c3d4,        0, 0, 0,
	                      o->dns ? 262144 : (uint32_t)o->snaplen, 1};
	const uint16_t version[2] = {2, 4};
	char path[4096];

	if (!files)
		die("can not allocate", "buffers");
	memcpy(&header[1], version, 4);
	for (uint64_t i = 0; i < o->files; i++) {
		snprintf(path, sizeof(path), "%s/%llu.pcap", o->dir, (unsigned long long)i + 1);
		files[i].fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (files[i].fd < 0)
			die("can not create", path);
		memcpy(files[i].buffer, header, sizeof(header));
		files[i].used = sizeof(header);
	}
	return files;
}

static void generate(const struct options *o)
{
	struct file *files = open_files(o);
	uint64_t large = (o->mean_size - SMALL_MEAN) * 65536 / (MAX_FRAME - SMALL_MEAN), ts_ns = 0;

	for (uint64_t i = 0; i < o->packets; i++) {
		uint64_t r = next_random();
		struct file *f = &files[(o->random_order ? r >> 32 : i) % o->files];
		struct packet packet = choose_packet(
		        o, (r & 0xffff) < large ? MAX_FRAME : SMALL_MIN + (r >> 16 & 0xffff) % SMALL_SPREAD);
		bool whole = packet.message_len || packet.wire_len < o->snaplen;
		size_t cap_len = whole ? packet.wire_len : o->snaplen;
		if (f->used + RECORD_HEADER + cap_len > BUFFER)
			flush_file(f);
		uint32_t rest = (uint32_t)(ts_ns % 1000000000);
		uint32_t record[4] = {START + (uint32_t)(ts_ns / 1000000000), o->ns ? rest : rest / 1000,
		                      (uint32_t)cap_len, (uint32_t)packet.wire_len};
		memcpy(f->buffer + f->used, record, RECORD_HEADER);
		make_frame(f->buffer + f->used + RECORD_HEADER, &packet, cap_len);
		f->used += RECORD_HEADER + cap_len;
		ts_ns += 1000 + (r >> 48) % 1001; /* no two equal: mergecap orders those differently */
	}
	for (uint64_t i = 0; i < o->files; i++) {
		flush_file(&files[i]);
		if (close(files[i].fd) < 0)
			die("can not close", "a file");
	}
	free(files);
}

static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;

	errno = 0;
	uint64_t n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n < min || n > max) {
		fprintf(stderr, "generate: --%s: expected a number from %llu to %llu, found \"%s\"\n", name,
		        (unsigned long long)min, (unsigned long long)max, text);
		exit(1);
	}
	return n;
}

static void usage(FILE *out)
{
	fputs("usage: generate [--packets N] [--files N] [--snaplen BYTES] [--mean-size BYTES] [--flows N]\n"
	      "                [--seed N] [--vlan PERCENT] [--ipv6 PERCENT] [--random-order] [--ns] [--dns]\n"
	      "                [--dir DIR]\n"
	      "Writes DIR/1.pcap, DIR/2.pcap ... whose packets, merged by time, are one stream.\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	        {"packets", 1, NULL, 'p'},   {"files", 1, NULL, 'f'}, {"snaplen", 1, NULL, 's'},
	        {"mean-size", 1, NULL, 'm'}, {"flows", 1, NULL, 'l'}, {"seed", 1, NULL, 'e'},
	        {"vlan", 1, NULL, 'v'},      {"ipv6", 1, NULL, '6'},  {"dir", 1, NULL, 'd'},
	        {"ns", 0, NULL, 'n'},        {"dns", 0, NULL, 'q'},   {"random-order", 0, NULL, 'r'},
	        {"help", 0, NULL, 'h'},      {NULL, 0, NULL, 0}};
	struct options o = {.packets = 1000000,
	                    .files = 4,
	                    .snaplen = 64,
	                    .mean_size = 750,
	                    .flows = 10000,
	                    .seed = 1,
	                    .ipv6_percent = 20,
	                    .dir = "."};
	int option, index = 0;

	while ((option = getopt_long(argc, argv, "h", longs, &index)) != -1) {
		const char *name = longs[index].name;
		switch (option) {
		case 'p':
			o.packets = number(name, optarg, 0, UINT64_MAX);
			break;
		case 'f':
			o.files = number(name, optarg, 1, 1000);
			break;
		case 's':
			o.snaplen = number(name, optarg, 1, 262144);
			break;
		case 'm':
			o.mean_size = number(name, optarg, SMALL_MEAN, MAX_FRAME);
			break;
		case 'l':
			o.flows = number(name, optarg, 1, UINT32_MAX);
			break;
		case 'e':
			o.seed = number(name, optarg, 0, UINT32_MAX);
			break;
		case 'v':
			o.vlan_percent = number(name, optarg, 0, 100);
			break;
		case '6':
			o.ipv6_percent = number(name, optarg, 0, 100);
			break;
		case 'd':
			o.dir = optarg;
			break;
		case 'n':
			o.ns = true;
			break;
		case 'q':
			o.dns = true;
			break;
		case 'r':
			o.random_order = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 1;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 1;
	}
	random_state = o.seed << 32;
	fill_pool();
	asked = calloc(o.flows, 1);
	if (!asked)
		die("can not allocate", "flows");
	generate(&o);
	return 0;
}
