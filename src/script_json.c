/* SPDX-License-Identifier: BSD-2-Clause */
#include "script_json.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 32, LUA_TCDATA = 10 /* LuaJIT's own type */ };

void mt_lua_push_json(lua_State *L, const json_t *value)
{
	json_t *v = (json_t *)(uintptr_t)value; /* jansson's iterators take no const */
	luaL_checkstack(L, 4, "JSON nested too deep");
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT: {
		const char *key;
		json_t *member;
		lua_newtable(L);
		json_object_foreach(v, key, member)
		{
			mt_lua_push_json(L, member);
			lua_setfield(L, -2, key);
		}
		break;
	}
	case JSON_ARRAY:
		lua_newtable(L);
		for (size_t i = 0; i < json_array_size(v); i++) {
			mt_lua_push_json(L, json_array_get(v, i));
			lua_rawseti(L, -2, (int)i + 1);
		}
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		lua_pushnumber(L, json_number_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(v));
		break;
	default:
		lua_pushnil(L);
	}
}

/* A table that is being converted, and those around it. */
struct level {
	const struct level *around;
	const void *table;
	int depth;
};

static json_t *convert(lua_State *L, int index, const struct level *around);

/* May the table at index be converted within these?  Not if it is one of them: it would never end. */
static bool may_descend(lua_State *L, int index, const struct level *around)
{
	if ((around && around->depth >= MAX_DEPTH) || !lua_checkstack(L, 6))
		return false;
	for (const struct level *l = around; l; l = l->around)
		if (l->table == lua_topointer(L, index))
			return false;
	return true;
}

static json_t *number(lua_Number n)
{
	if (!isfinite(n))
		return json_null();
	return n == floor(n) && fabs(n) <= 9007199254740992.0 ? json_integer((json_int_t)n) : json_real(n);
}

/* A string that is no UTF-8 (a raw address key, say) is shown as hex. */
static json_t *string(const char *text, size_t len)
{
	json_t *s = json_stringn(text, len);
	if (s)
		return s;
	static const char digits[] = "0123456789abcdef";
	json_t *hex = NULL;
	char *buffer = malloc(2 * len + 1);
	if (buffer) {
		for (size_t i = 0; i < len; i++) {
			buffer[2 * i] = digits[(unsigned char)text[i] >> 4];
			buffer[2 * i + 1] = digits[(unsigned char)text[i] & 15];
		}
		hex = json_stringn(buffer, 2 * len);
		free(buffer);
	}
	return hex ? hex : json_null();
}

/* An empty table made by moontap.list(). */
static bool is_list(lua_State *L, int index)
{
	bool list = false;
	if (luaL_getmetafield(L, index, "__list")) {
		list = lua_toboolean(L, -1);
		lua_pop(L, 1);
	}
	return list;
}

/* How many keys a table has. */
static size_t count_keys(lua_State *L, int index)
{
	size_t n = 0;
	lua_pushnil(L);
	for (; lua_next(L, index); n++)
		lua_pop(L, 1);
	return n;
}

/* Counts by port or protocol have whole numbers as keys, 1 among them: an array would hold the first and lose
 * the rest. */
static bool is_array(lua_State *L, int index, size_t n)
{
	size_t keys = count_keys(L, index);
	return keys == n && (n > 0 || is_list(L, index));
}

static json_t *table(lua_State *L, int index, const struct level *around)
{
	struct level level = {around, lua_topointer(L, index), around ? around->depth + 1 : 1};
	size_t n = lua_objlen(L, index);
	bool array = is_array(L, index, n);
	json_t *result = array ? json_array() : json_object();
	if (array) {
		for (size_t i = 1; i <= n; i++) {
			lua_rawgeti(L, index, (int)i);
			json_array_append_new(result, convert(L, -1, &level));
			lua_pop(L, 1);
		}
		return result;
	}
	lua_pushnil(L);
	while (lua_next(L, index)) {
		lua_pushvalue(L, -2); /* lua_tolstring would change the key in place */
		size_t len;
		const char *text = lua_tolstring(L, -1, &len);
		json_t *key = text ? string(text, len) : json_string(luaL_typename(L, -1));
		json_object_set_new(result, json_is_string(key) ? json_string_value(key) : "?",
		                    convert(L, -2, &level));
		json_decref(key);
		lua_pop(L, 2);
	}
	return result;
}

/* The text of a 64-bit number is "12LL" or "12ULL". */
static json_t *big_number(const char *text, size_t len)
{
	char *end;
	if (len < 3 || strcmp(text + len - 2, "LL") != 0)
		return NULL;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (strcmp(end, "LL") != 0 && strcmp(end, "ULL") != 0)
		return NULL;
	return errno ? json_stringn(text, (size_t)(end - text)) : json_integer(n); /* jansson's are signed */
}

static json_t *convert(lua_State *L, int index, const struct level *around)
{
	if (index < 0)
		index = lua_gettop(L) + 1 + index;
	switch (lua_type(L, index)) {
	case LUA_TNUMBER:
		return number(lua_tonumber(L, index));
	case LUA_TBOOLEAN:
		return json_boolean(lua_toboolean(L, index));
	case LUA_TSTRING: {
		size_t len;
		const char *text = lua_tolstring(L, index, &len);
		return string(text, len);
	}
	case LUA_TTABLE:
		return may_descend(L, index, around) ? table(L, index, around) : json_null();
	case LUA_TNIL:
		return json_null();
	default: { /* cdata (64-bit numbers, addresses), userdata, functions: their text */
		lua_getfield(L, LUA_REGISTRYINDEX, MT_LUA_TOSTRING);
		lua_pushvalue(L, index);
		size_t len = 0;
		const char *text = lua_pcall(L, 1, 1, 0) ? NULL : lua_tolstring(L, -1, &len);
		json_t *result = text && lua_type(L, index) == LUA_TCDATA ? big_number(text, len) : NULL;
		if (!result)
			result = text ? string(text, len) : json_null();
		lua_pop(L, 1);
		return result;
	}
	}
}

json_t *mt_lua_to_json(lua_State *L, int index)
{
	return convert(L, index, NULL);
}

int mt_lua_json_encode(lua_State *L)
{
	luaL_checkany(L, 1);
	json_t *value = convert(L, 1, NULL);
	char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	json_decref(value);
	lua_pushstring(L, text ? text : "null");
	free(text);
	return 1;
}

int mt_lua_json_decode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	json_error_t error;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (!value) {
		lua_pushnil(L);
		lua_pushfstring(L, "line %d: %s", error.line, error.text);
		return 2;
	}
	mt_lua_push_json(L, value);
	json_decref(value);
	return 1;
}
