/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * checksum.c - checksums for Lua.
 *
 * Called for whole strings of saved state, a few times a run.
 */
#include <isa-l/crc.h>

#include "abi.h"

uint32_t mt_crc32(const uint8_t *data, size_t len)
{
	return crc32_gzip_refl(0, data, len);
}
