/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * script_call.h - calls of moontap.runtime, for the files that are the Lua side of something.
 */
#ifndef MT_SCRIPT_CALL_H
#define MT_SCRIPT_CALL_H
#include <jansson.h>
#include <lua.h>
#include <stdbool.h>

#include "script.h"

/* The state, to push arguments to and take results from. */
lua_State *mt_script_lua(struct mt_script *s);
/* Push a function of the runtime by its name, below it a handler; false: Lua is dead, nothing was pushed. */
bool mt_script_push(struct mt_script *s, const char *name);
/* Call it with the n arguments above it, under --script-memory.  true: the results are pushed; false: what it
 * raised was reported, nothing is pushed. */
bool mt_script_call(struct mt_script *s, int n, int results);
/* Pop a value as JSON.  New reference, or NULL: it can not be told, which was reported. */
json_t *mt_script_pop_json(struct mt_script *s);

#endif
