/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls.h - what tls.c and tls_fingerprint.c share of a hello.  The functions that Lua calls are in abi.h.
 */
#ifndef MT_TLS_H
#define MT_TLS_H
#include <stdbool.h>

#include "abi.h"

enum { MT_TLS_CLIENT_HELLO = 1, MT_TLS_SERVER_HELLO = 2 };

/* RFC 8701: values that mean nothing and are sent so that nobody trips over new ones: 0x0a0a, 0x1a1a, … 0xfafa.
 */
static inline bool mt_tls_is_grease(uint16_t value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

#endif
