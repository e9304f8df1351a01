/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netset_fuzz.c - sets of networks from any text and of any prefixes: the longest match is what a look at
 * every prefix finds.
 *
 * The first byte is even: the rest is a text.  It is odd: the rest are prefixes, a byte for the length and
 * 1 to 8 bytes of address, so that many are close to each other.
 */
#include <string.h>

#include "abi.h"
#include "fuzz.h"

static int covers(const struct mt_netset_prefix *p, const struct mt_address *a)
{
	const uint8_t *x = (const uint8_t *)&p->high, *y = (const uint8_t *)&a->high;
	if (p->len != a->len)
		return 0;
	for (unsigned i = 0; i < p->bits; i++)
		if ((x[i / 8] ^ y[i / 8]) & 0x80 >> i % 8)
			return 0;
	return 1;
}

static uint32_t search(const struct mt_netset *set, const struct mt_address *a)
{
	uint32_t best = 0;
	for (uint32_t i = 0; i < set->count; i++)
		if (covers(&set->prefixes[i], a) &&
		    (!best || set->prefixes[i].bits > set->prefixes[best - 1].bits))
			best = i + 1;
	return best;
}

/* The first and the last address of a prefix, and the ones beside them. */
static void ask_around(const struct mt_netset *set, const struct mt_netset_prefix *p)
{
	for (int end = 0; end < 2; end++) {
		struct mt_address a = {.high = p->high, .low = p->low, .len = p->len};
		uint8_t *bytes = (uint8_t *)&a.high;
		for (unsigned i = p->bits; end && i < 8u * p->len; i++)
			bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
		MT_FUZZ_CHECK(mt_netset_find(set, a.high, a.low, a.len) == search(set, &a));
		for (int i = p->len - 1; i >= 0 && (end ? ++bytes[i] == 0 : bytes[i]-- == 0); i--)
			;
		MT_FUZZ_CHECK(mt_netset_find(set, a.high, a.low, a.len) == search(set, &a));
	}
}

static void add_prefixes(struct mt_netset *set, const uint8_t *data, size_t size)
{
	while (size >= 2) {
		struct mt_net net = {._len = data[0] & 1 ? 4 : 16};
		size_t n = 1 + data[1] % 8;
		uint8_t bytes[16] = {0};
		net._bits = (data[0] >> 1) % (8 * net._len + 1);
		size_t at = data[1] & 8 && net._len == 16 ? 6 : 0; /* around the border of the halves */
		data += 2;
		size -= 2;
		n = n < size ? n : size;
		memcpy(bytes + at, data, n < net._len ? n : 4);
		for (unsigned i = net._bits; i < 8u * 16; i++)
			bytes[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
		memcpy(&net._high, bytes, 8);
		memcpy(&net._low, bytes + 8, 8);
		MT_FUZZ_CHECK(mt_netset_add(set, &net, 0) == 0);
		data += n;
		size -= n;
	}
}

int mt_fuzz_one(const uint8_t *data, size_t size)
{
	double line;
	char why[MT_NET_WHY];
	struct mt_netset *set = mt_netset_new();

	if (!set || !size)
		goto done;
	if (data[0] & 1)
		add_prefixes(set, data + 1, size - 1);
	else if (mt_netset_add_text(set, (const char *)data + 1, size - 1, &line, why))
		goto done;
	MT_FUZZ_CHECK(mt_netset_build(set) == 0);
	for (uint32_t i = 0; i < set->count; i++)
		ask_around(set, &set->prefixes[i]);
done:
	mt_netset_free(set);
	return 0;
}

size_t mt_fuzz_seed(unsigned i, uint8_t *data)
{
	static const char *const seeds[] = {
	        "\2"
	        "10.0.0.0/8 a\n10.7.0.0/16,b\n# c\n2001:db8::/32 \"d\"\n::1\n10.0.0.0/255.0.0.0\n",
	        "\1"
	        "\20\3\20\0\12\1\2\3\4\102\3\40\1\15\270\204\12\0\0\0\1\2\3",
	};
	if (i >= sizeof seeds / sizeof *seeds)
		return 0;
	size_t size = i ? 24 : strlen(seeds[i]);
	memcpy(data, seeds[i], size);
	return size;
}
