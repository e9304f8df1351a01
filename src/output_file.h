/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * output_file.h - opening the file of an output without segments.
 */
#ifndef MT_OUTPUT_FILE_H
#define MT_OUTPUT_FILE_H
#include "output.h"

/* A descriptor to write to, or -1: "-" on a terminal, an existing regular file without
 * overwrite, a folder, what can not be created.  Devices, pipes and sockets are written to
 * as they are.  *created: the file is new. */
int mt_output_file_open(const char *path, bool overwrite, bool *created, struct mt_err *err);

/* Rename a regular file to path.failed: the command that was to fill it failed. */
void mt_output_file_failed(const char *path);

#endif
