/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls.h - numbers of TLS that tls.c and its fuzzer share.  The functions that Lua calls are in abi.h.
 */
#ifndef MT_TLS_H
#define MT_TLS_H
#include "abi.h"

enum { MT_TLS_CLIENT_HELLO = 1, MT_TLS_SERVER_HELLO = 2 };

#endif
