/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * digest.c - what a pcap file holds, whatever the order of its packets: the benchmark's judge where
 * mergecap and moontap may order equal time stamps of different sources differently.
 *
 *   digest FILE
 *
 * Prints "PACKETS BACKWARDS HASH": how many packets, how often one is earlier than the one before, and
 * the sum of a hash of each one's time in nanoseconds, lengths and bytes.  Reads about 2 GB a second; only
 * files in this machine's byte order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CAPTURED = 1 << 20 };

struct record {
	uint32_t sec, fraction, captured, length;
};

static _Noreturn void die(const char *path, const char *what)
{
	fprintf(stderr, "digest: %s: %s\n", path, what);
	exit(1);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 29;
}

static uint64_t hash_bytes(uint64_t hash, const uint8_t *p, size_t len)
{
	uint64_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = mix(hash, word);
	}
	word = 0;
	memcpy(&word, p, len);
	return mix(hash, word);
}

int main(int argc, char **argv)
{
	uint32_t header[6];
	uint64_t packets = 0, backwards = 0, sum = 0, last = 0;
	struct record r;

	if (argc != 2) {
		fputs("usage: digest FILE\n", stderr);
		return 1;
	}
	const char *path = argv[1];
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(MAX_CAPTURED);
	if (!file || !data)
		die(path, strerror(errno));
	if (fread(header, 1, sizeof(header), file) < sizeof(header))
		die(path, "shorter than a file header");
	if (header[0] != 0xa1b2c3d4 && header[0] != 0xa1b23c4d)
		die(path, "not a pcap file in this machine's byte order");
	const uint64_t unit_ns = header[0] == 0xa1b2c3d4 ? 1000 : 1;
	size_t n;
	while ((n = fread(&r, 1, sizeof(r), file)) == sizeof(r)) {
		if (r.captured > MAX_CAPTURED || fread(data, 1, r.captured, file) < r.captured)
			die(path, "ends within a packet");
		uint64_t time = r.sec * UINT64_C(1000000000) + r.fraction * unit_ns;
		backwards += time < last;
		last = time;
		sum += hash_bytes(mix(mix(1, time), (uint64_t)r.captured << 32 | r.length), data, r.captured);
		packets++;
	}
	if (n > 0)
		die(path, "ends within a record header");
	if (ferror(file))
		die(path, strerror(errno));
	printf("%" PRIu64 " %" PRIu64 " %016" PRIx64 "\n", packets, backwards, sum);
	free(data);
	fclose(file);
	return 0;
}
