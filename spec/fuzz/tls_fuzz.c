/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_fuzz.c - the reader of TLS hellos on any payload: it stays inside of it, what it says fits together,
 * and a second look says the same.
 *
 * The first byte of the input picks TCP or UDP (DTLS), the rest is the payload.
 */
#include <string.h>

#include "abi.h"
#include "fuzz.h"
#include "tls.h"

static struct mt_tls tls, again;

static void check_vector(uint32_t offset, uint32_t len)
{
	MT_FUZZ_CHECK(offset <= tls.len && tls.len - offset >= len);
}

static void check_name(uint32_t offset, uint32_t len)
{
	char text[MT_TLS_NAME_TEXT];

	check_vector(offset, len);
	MT_FUZZ_CHECK(len <= 255);
	int32_t n = mt_tls_text(tls.hello + offset, len, 0, text);
	MT_FUZZ_CHECK(n >= (int32_t)len && n <= MT_TLS_NAME_TEXT);
	for (int32_t i = 0; i < n; i++)
		MT_FUZZ_CHECK(text[i] > 0x20 && text[i] < 0x7f);
}

static void check_numbers(void)
{
	uint32_t offset = tls.ciphers, count = 0;

	check_vector(tls.ciphers, tls.ciphers_len);
	while (mt_tls_next_number(tls.hello, &offset, tls.ciphers + tls.ciphers_len) >= 0)
		count++;
	MT_FUZZ_CHECK(count == tls.cipher_count || tls.type == MT_TLS_SERVER_HELLO);
}

static void check_extensions(void)
{
	uint32_t offset = tls.extensions, body, len, count = 0;

	MT_FUZZ_CHECK(tls.extensions <= tls.extensions_end && tls.extensions_end <= tls.len);
	while (mt_tls_next_extension(tls.hello, &offset, tls.extensions_end, &body, &len) >= 0) {
		check_vector(body, len);
		count++;
	}
	MT_FUZZ_CHECK(count == tls.extension_count);
}

static void check_names(void)
{
	uint32_t offset = tls.alpn, name;
	int32_t len;

	check_vector(tls.alpn, tls.alpn_len);
	while ((len = mt_tls_next_name(tls.hello, &offset, tls.alpn + tls.alpn_len, &name)) >= 0)
		check_name(name, (uint32_t)len);
	if (tls.sni) {
		const char *host = (const char *)tls.hello + tls.sni;
		check_name(tls.sni, tls.sni_len);
		if (!memchr(host, 0, tls.sni_len))
			MT_FUZZ_CHECK(
			        mt_tls_host_match(tls.hello + tls.sni, tls.sni_len, host, tls.sni_len, 0) == 1);
	}
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	struct mt_packet packet = {.data = data + 1};
	struct mt_decoded decoded = {.payload_offset = 0};

	if (size < 1)
		return 0;
	packet.caplen = packet.wirelen = decoded.payload_len = (uint32_t)size - 1;
	decoded.bits = (uint8_t)(MT_HAS_PORTS | (data[0] & 1 ? MT_IS_UDP : MT_IS_TCP));
	if (!mt_tls_find(&tls, &packet, &decoded))
		return 0;
	MT_FUZZ_CHECK(tls.hello == tls.joined + 4 || tls.len <= packet.caplen);
	MT_FUZZ_CHECK(tls.len <= MT_TLS_JOINED || tls.hello >= packet.data);
	check_numbers();
	check_extensions();
	check_names();
	again.payload = tls.payload;
	again.payload_len = tls.payload_len;
	again.dtls = tls.dtls;
	mt_tls_parse(&again);
	MT_FUZZ_CHECK(again.version == tls.version && again.sni == tls.sni && again.alpn == tls.alpn &&
	              again.malformed == tls.malformed && again.extension_count == tls.extension_count);
	return 0;
}

/* --- inputs to begin with ---------------------------------------------------------------- */

#define RANDOM "01234567890123456789012345678901"
#define EXTENSIONS                                                                           \
	"\0\x35\x0a\x0a\0\0\0\0\0\x0e\0\x0c\0\0\x09localhost\0\x10\0\x0e\0\x0c\2h2\x08http/" \
	"1.1\0\x2b\0\5\4\x1a\x1a"                                                            \
	"\3\4\0\x17"
#define CLIENT "\3\3" RANDOM "\4abcd\0\6\x0a\x0a\x13\1\xc0\x2f\1\0" EXTENSIONS

static const char client[] = "\x16\3\1\0\x6c\1\0\0\x68" CLIENT "\0\0";
static const char in_two[] = "\x16\3\1\0\5\1\0\0\x68\3\x16\3\1\0\x67\3" RANDOM
                             "\4abcd\0\6\x0a\x0a\x13\1\xc0\x2f\1\0" EXTENSIONS "\0\0";
static const char server[] = "\x16\3\3\0\x36\2\0\0\x32\3\3" RANDOM "\0\x13\1\0\0\x0a\0\x2b\0\2\3\4\0\0\0\0";
static const char datagram[] = "\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x75\1\0\0\x69\0\0\0\0\0\0\0\x69\xfe\xfd" RANDOM
                               "\4abcd\0\0\6\x0a\x0a\x13\1\xc0\x2f\1\0" EXTENSIONS "\0\0";

static const struct {
	const char *bytes;
	size_t size;
} seeds[] = {{client, sizeof client - 1},
             {in_two, sizeof in_two - 1},
             {server, sizeof server - 1},
             {datagram, sizeof datagram - 1}};

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	if (i >= sizeof seeds / sizeof *seeds)
		return 0;
	data[0] = i == 3;
	memcpy(data + 1, seeds[i].bytes, seeds[i].size);
	return seeds[i].size + 1;
}
