/* SPDX-License-Identifier: BSD-2-Clause */
#include "script_prompt.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "manifest.h"
#include "profile.h"
#include "script_call.h"
#include "script_json.h"

static struct mt_script_prompt *prompt_of(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* report() -> { totals =, sources = } as in --json. */
static int report(lua_State *L)
{
	const struct mt_script_prompt *p = prompt_of(L);
	json_t *o = p->report(p->ctx);
	mt_lua_push_json(L, o);
	json_decref(o);
	return 1;
}

/* interrupted() -> true, once, when the user asks for the end of what runs. */
static int interrupted(lua_State *L)
{
	const struct mt_script_prompt *p = prompt_of(L);
	lua_pushboolean(L, p->interrupted(p->ctx));
	return 1;
}

/* ask(what [, arguments]) -> value, or nil and why there is none. */
static int ask(lua_State *L)
{
	const struct mt_script_prompt *p = prompt_of(L);
	struct mt_err err = {{0}};
	json_t *arguments = lua_istable(L, 2) ? mt_lua_to_json(L, 2) : NULL;
	json_t *value = p->ask(p->ctx, luaL_checkstring(L, 1), arguments, &err);
	mt_lua_push_json(L, value);
	json_decref(value);
	if (value)
		return 1;
	lua_pushstring(L, err.text);
	return 2;
}

static void add_segment(void *list, json_t *line)
{
	json_array_append(list, line);
}

/* manifests({folder, …}, run) -> the lines of that run in the manifests there. */
static int manifests(lua_State *L)
{
	json_t *all = json_array(), *list = json_array(), *line;
	size_t i;
	const char *id = luaL_checkstring(L, 2);
	lua_settop(L, 2);
	for (int k = 1; k <= (int)lua_objlen(L, 1); k++) {
		lua_rawgeti(L, 1, k);
		if (lua_isstring(L, -1))
			mt_manifest_each(lua_tostring(L, -1), add_segment, all);
		lua_pop(L, 1);
	}
	json_array_foreach(all, i, line)
	{
		const char *run = json_string_value(json_object_get(line, "run"));
		if (run && strcmp(run, id) == 0)
			json_array_append(list, line);
	}
	mt_lua_push_json(L, list);
	json_decref(all);
	json_decref(list);
	return 1;
}

static void set_function(struct mt_script_prompt *p, lua_State *L, const char *name, lua_CFunction f)
{
	lua_pushlightuserdata(L, p);
	lua_pushcclosure(L, f, 1);
	lua_setfield(L, -2, name);
}

int mt_script_prompt_begin(struct mt_script_prompt *p)
{
	lua_State *L = mt_script_lua(p->script);
	if (!mt_script_push(p->script, "prompt"))
		return -1;
	lua_pushlightuserdata(L, p->stepper);
	lua_newtable(L);
	set_function(p, L, "report", report);
	set_function(p, L, "interrupted", interrupted);
	lua_pushboolean(L, p->live);
	lua_setfield(L, -2, "live");
	lua_pushboolean(L, p->colours);
	lua_setfield(L, -2, "colours");
	if (p->ask) {
		set_function(p, L, "ask", ask);
		set_function(p, L, "manifests", manifests);
	}
	lua_pushlightuserdata(L, p->clock);
	lua_setfield(L, -2, "clock");
	mt_stage_begin(p->clock, MT_STAGE_HOOK);
	return mt_script_call(p->script, 2, 0) ? 0 : -1;
}

enum mt_prompt_result mt_script_prompt_line(void *ctx, const char *text)
{
	static const char *const names[] = {[MT_PROMPT_DONE] = "done",
	                                    [MT_PROMPT_FAILED] = "error",
	                                    [MT_PROMPT_INTERRUPTED] = "interrupted",
	                                    [MT_PROMPT_MORE] = "more",
	                                    [MT_PROMPT_EXIT] = "exit"};
	struct mt_script_prompt *p = ctx;
	lua_State *L = mt_script_lua(p->script);
	enum mt_prompt_result result = MT_PROMPT_FAILED;
	if (!mt_script_push(p->script, "line"))
		return MT_PROMPT_EXIT;
	lua_pushstring(L, text);
	if (!mt_script_call(p->script, 1, 2))
		return MT_PROMPT_FAILED;
	const char *name = lua_tostring(L, -2);
	for (unsigned i = 0; name && i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i]) == 0)
			result = i;
	size_t len = 0;
	const char *answer = lua_tolstring(L, -1, &len);
	FILE *out = result == MT_PROMPT_FAILED || result == MT_PROMPT_INTERRUPTED ? stderr : stdout;
	if (answer && len && result != MT_PROMPT_MORE) {
		fflush(stdout); /* what a script printed comes first */
		bool red = out == stderr && mt_prompt_colours(STDERR_FILENO);
		fputs(red ? "\33[31m" : "", out);
		fwrite(answer, 1, len, out);
		fputs(red ? "\33[0m\n" : "\n", out);
	}
	lua_pop(L, 2);
	fflush(stdout);
	return result;
}

json_t *mt_script_prompt_value(struct mt_script_prompt *p)
{
	if (!mt_script_push(p->script, "value") || !mt_script_call(p->script, 0, 1))
		return NULL;
	return mt_script_pop_json(p->script);
}

char **mt_script_prompt_complete(void *ctx, const char *text, size_t *word)
{
	struct mt_script_prompt *p = ctx;
	lua_State *L = mt_script_lua(p->script);
	if (!mt_script_push(p->script, "complete"))
		return NULL;
	lua_pushstring(L, text);
	if (!mt_script_call(p->script, 1, 2))
		return NULL;
	*word = (size_t)lua_tonumber(L, -1);
	size_t n = lua_istable(L, -2) ? lua_objlen(L, -2) : 0;
	char **names = calloc(n + 1, sizeof *names);
	for (size_t i = 0; names && i < n; i++) {
		lua_rawgeti(L, -2, (int)i + 1);
		const char *name = lua_tostring(L, -1);
		names[i] = name ? strdup(name) : NULL;
		lua_pop(L, 1);
		if (!names[i])
			break;
	}
	lua_pop(L, 2);
	return names;
}
