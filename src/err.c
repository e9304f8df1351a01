/* SPDX-License-Identifier: BSD-2-Clause */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int mt_err_set(struct mt_err *err, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(err->text, sizeof err->text, format, ap);
	va_end(ap);
	return -1;
}

int mt_err_prefix(struct mt_err *err, const char *format, ...)
{
	char text[sizeof err->text];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	strncat(text, ": ", sizeof text - strlen(text) - 1);
	strncat(text, err->text, sizeof text - strlen(text) - 1);
	memcpy(err->text, text, sizeof text);
	return -1;
}
