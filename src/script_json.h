/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * script_json.h - values between Lua and JSON: run.stats, manifest lines, results of recipes.
 */
#ifndef MT_SCRIPT_JSON_H
#define MT_SCRIPT_JSON_H
#include <jansson.h>
#include <lua.h>

/* Key of the registry for tostring: the global is the scripts', and may raise. */
#define MT_LUA_TOSTRING "moontap.tostring"

/* Push value as Lua tables, numbers, strings, booleans; null becomes nil.  NULL pushes nil. */
void mt_lua_push_json(lua_State *L, const json_t *value);
/* The value at index as JSON.  A table with the keys 1..n is an array, an empty one an object
 * unless moontap.list() made it;
 * other keys become strings; what JSON can not hold (functions, NaN) becomes its text or
 * null; tables deeper than 32 become null, as do those that hold themselves.  New reference, never NULL. */
json_t *mt_lua_to_json(lua_State *L, int index);
/* For Lua: a value as a line of JSON; JSON text as a value, or nil and what is wrong. */
int mt_lua_json_encode(lua_State *L);
int mt_lua_json_decode(lua_State *L);

#endif
