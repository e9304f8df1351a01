/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dns_fuzz.c - the DNS reader on any payload: it stays inside of it, and what it says fits together.
 *
 * The first byte of the input picks TCP or UDP, ports and how much more there was on the wire; then a UDP
 * header, then the payload.
 */
#include <string.h>

#include "abi.h"
#include "dns.h"
#include "fuzz.h"

enum { HEADER = 8, SECTIONS = 4 };

static void check_match(const struct mt_dns *dns, uint32_t offset, const char *name, int32_t n)
{
	MT_FUZZ_CHECK(mt_dns_name_match(dns->data, dns->len, offset, name, (size_t)n, 0) == 1);
	MT_FUZZ_CHECK(mt_dns_name_match(dns->data, dns->len, offset, name, (size_t)n, 1) == 1);
	MT_FUZZ_CHECK(mt_dns_name_match(dns->data, dns->len, offset, ".", 1, 1) == 1);
	MT_FUZZ_CHECK(mt_dns_name_match(dns->data, dns->len, offset, ".", 1, 0) == (n == 1 && name[0] == '.'));
}

/* What a name is as text is that name.  Returns whether it can be read. */
static int check_name(const struct mt_dns *dns, uint32_t offset)
{
	char name[MT_DNS_NAME_TEXT], lower[MT_DNS_NAME_TEXT];
	int32_t n = mt_dns_name(dns->data, dns->len, offset, 0, name);

	MT_FUZZ_CHECK(mt_dns_name(dns->data, dns->len, offset, 1, lower) == n);
	if (n < 0)
		return 0;
	MT_FUZZ_CHECK(n > 0 && n <= MT_DNS_NAME_TEXT);
	check_match(dns, offset, name, n);
	check_match(dns, offset, lower, n);
	return 1;
}

static void check_text(const struct mt_dns *dns, uint32_t fixed)
{
	static char large[1 << 17];
	char small[16];
	size_t n = mt_dns_rdata_text(dns->data, dns->len, fixed, large, sizeof large);

	MT_FUZZ_CHECK(n < sizeof large && strlen(large) == n);
	MT_FUZZ_CHECK(mt_dns_rdata_text(dns->data, dns->len, fixed, small, sizeof small) == n);
	MT_FUZZ_CHECK(strncmp(large, small, sizeof small - 1) == 0);
	MT_FUZZ_CHECK(mt_dns_rdata_text(dns->data, dns->len, fixed, NULL, 0) == n);
}

/* Returns how many entries of a section can be read. */
static uint32_t check_section(struct mt_dns *dns, uint32_t section, int malformed)
{
	uint32_t i = 0;

	while (mt_dns_record(dns, section, i + 1)) {
		uint32_t need = section ? MT_DNS_FIXED : 4, fixed = dns->fixed;
		MT_FUZZ_CHECK(fixed >= MT_DNS_HEADER && fixed <= dns->len && dns->len - fixed >= need);
		MT_FUZZ_CHECK(dns->name >= MT_DNS_HEADER && dns->name < fixed);
		MT_FUZZ_CHECK(check_name(dns, dns->name) || malformed);
		if (section) {
			uint32_t data_len = dns->data[fixed + 8] * 256u + dns->data[fixed + 9];
			MT_FUZZ_CHECK(dns->len - fixed - MT_DNS_FIXED >= data_len);
			check_text(dns, fixed);
		}
		i++;
	}
	if (i) { /* from the start again */
		uint32_t fixed = dns->fixed;
		MT_FUZZ_CHECK(mt_dns_record(dns, section, 1) && mt_dns_record(dns, section, i) &&
		              dns->fixed == fixed);
	}
	return i;
}

static void check_options(const struct mt_dns *dns)
{
	struct mt_address address;
	uint32_t len;

	for (uint32_t code = 0; code < 16; code++) {
		uint32_t offset = mt_dns_option(dns, code, &len);
		MT_FUZZ_CHECK(!offset || (offset <= dns->len && dns->len - offset >= len));
	}
	int32_t bits = mt_dns_client_subnet(dns, &address);
	MT_FUZZ_CHECK(bits < 0 || (address.len == 4 && bits <= 32) || (address.len == 16 && bits <= 128));
}

static void check(struct mt_dns *dns)
{
	uint32_t sum = 0, wanted = 0;

	mt_dns_walk(dns);
	int malformed = mt_dns_malformed(dns);
	for (uint32_t section = 0; section < SECTIONS; section++) {
		sum += check_section(dns, section, malformed);
		wanted += dns->data[4 + 2 * section] * 256u + dns->data[5 + 2 * section];
	}
	MT_FUZZ_CHECK(sum == wanted || malformed || dns->missing);
	if (dns->question)
		check_name(dns, MT_DNS_HEADER);
	check_options(dns);
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	static struct mt_dns dns;
	struct mt_packet packet = {.data = data + 1};
	struct mt_decoded decoded = {.payload_offset = HEADER};

	if (size < 1 + HEADER)
		return 0;
	packet.caplen = (uint32_t)size - 1;
	packet.wirelen = packet.caplen + (data[0] & 1) * 100u;
	decoded.payload_len = packet.caplen - HEADER;
	decoded.bits = (uint8_t)(MT_HAS_PORTS | (data[0] & 2 ? MT_IS_TCP : MT_IS_UDP));
	decoded.sport = 53;
	if (mt_dns_find(&dns, &packet, &decoded, data[0] & 4 ? MT_DNS_ANY_PORT : MT_DNS_USUAL_PORTS)) {
		MT_FUZZ_CHECK(dns.data >= packet.data + HEADER &&
		              dns.data + dns.len <= packet.data + packet.caplen && dns.len >= MT_DNS_HEADER);
		check(&dns);
	}
	return 0;
}

/* --- inputs to begin with ---------------------------------------------------------------- */

#define UDP_HEADER       "\0\x35\0\x35\0\0\0\0"
#define NAME             "\3www\7example\3com\0"
#define FIXED(type, len) "\0" type "\0\1\0\0\1\0\0" len

static const char response[] = UDP_HEADER
        "\1\2\x81\x80\0\1\0\6\0\1\0\1" NAME "\0\1\0\1"
        "\xc0\x0c" FIXED(
                "\1",
                "\4") "\1\2\3\4"
                      "\xc0\x0c" FIXED(
                              "\5",
                              "\4") "\1x\xc0\x10"
                                    "\xc0\x10" FIXED(
                                            "\x0f",
                                            "\4") "\0\5\xc0\x0c"
                                                  "\xc0\x10" FIXED(
                                                          "\x10",
                                                          "\6") "\2ab\2c\""
                                                                "\xc0\x10" FIXED(
                                                                        "\x21",
                                                                        "\x08") "\0\1\0\2\0\3\xc0\x0c"
                                                                                "\xc0\x10" FIXED(
                                                                                        "\x41",
                                                                                        "\x14") "\0\1\0\0\1\0\3"
                                                                                                "\2h2\0\3\0\2\1"
                                                                                                "\2\0\4\0\0"
                                                                                                "\xc0"
                                                                                                "\x10" FIXED(
                                                                                                        "\6",
                                                                                                        "\x18") "\xc0\x0c\xc0\x0c"
                                                                                                                "12345678901234567890"
                                                                                                                "\0\0\x29\4\xd0\0\0\x80\0\0\x0b\0\x08\0\7\0\1\x18\0\1\2\3";
static const char over_tcp[] = "12345678\0\x21\1\2\1\0\0\1\0\0\0\0\0\0" NAME "\0\x1c\0\1";

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	switch (i) {
	case 0:
	case 1:
	case 2:
		data[0] = (uint8_t)(i == 2 ? 4 : i);
		memcpy(data + 1, response, sizeof response - 1);
		return sizeof response;
	case 3:
		data[0] = 2;
		memcpy(data + 1, over_tcp, sizeof over_tcp - 1);
		return sizeof over_tcp;
	default:
		return 0;
	}
}
