/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * library.h - functions of libraries that would make every start slower and are loaded when they are wanted.
 */
#ifndef MT_LIBRARY_H
#define MT_LIBRARY_H
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* For good.  NULL: dlerror() says why. */
static inline void *mt_library_load(const char *name)
{
	return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

/* Store the address of a function at *function, a pointer of its type; false: it is not there.  ISO C knows no
 * cast from an object pointer to a function. */
static inline bool mt_library_find(void *library, const char *name, void *function)
{
	void *found = dlsym(library, name);
	memcpy(function, &found, sizeof found);
	return found != NULL;
}

#endif
