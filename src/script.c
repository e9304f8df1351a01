/* SPDX-License-Identifier: BSD-2-Clause */
#include "script.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include "bypass.h"
#include "log.h"
#include "publish.h"
#include "script_call.h"
#include "script_json.h"
#include "units.h"

struct mt_script {
	const struct mt_options *options;
	const struct mt_ifaces *ifaces;
	lua_State *lua;
	int runtime; /* registry reference of the module's table */
	struct mt_hook_state *state;
	struct mt_batch *no_batch; /* state->batch while there is none */

	lua_Alloc alloc; /* LuaJIT's own allocator, behind the limit */
	void *alloc_ctx;
	size_t used, limit;
	bool over_limit; /* an error is about to be raised for that */
	bool dead;       /* left in the middle of compiled code: not to be touched */
	jmp_buf way_out; /* … to call() */

	bool packet_hooks, segment_open, segment_close, block;
	bool is_private, moves_times; /* what outputs must not tell */
	atomic_bool failed;           /* others may ask while a hook is out */
	char *name;                   /* what on_segment_open gave last */
	struct mt_stage_clock *clock; /* --profile; or NULL */
	struct mt_options *declared;  /* takes outputs that scripts declare */
	struct mt_bypass *bypass;
};

enum {
	GC_STEPMUL = 200, /* LuaJIT's default */
	OVER_LIMIT = 3    /* see over_limit() */
};

static char out_of_memory; /* its address is the key of the registry for the struct */

/* --- the state --------------------------------------------------------------------------- */

static _Unwind_Reason_Code look_for_trace(struct _Unwind_Context *frame, void *found)
{
	Dl_info info;
	void *ip = (void *)_Unwind_GetIP(frame); /* NULL: the end of the main thread's stack */
	if (ip && !dladdr(ip, &info))            /* in no file: LuaJIT has made this code */
		*(bool *)found = true;
	return *(bool *)found ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* Were we called, from further up, by compiled Lua? */
static bool below_compiled_code(void)
{
	bool found = false;
	_Unwind_Backtrace(look_for_trace, &found);
	return found;
}

/* The first instruction of Lua that is interpreted again. */
static void raise_out_of_memory(lua_State *L, lua_Debug *unused)
{
	(void)unused;
	lua_sethook(L, NULL, 0, 0);
	lua_gc(L, LUA_GCSETSTEPMUL, GC_STEPMUL);
	lua_pushlightuserdata(L, &out_of_memory);
	lua_rawget(L, LUA_REGISTRYINDEX);
	struct mt_script *s = lua_touserdata(L, -1);
	s->over_limit = false;
	if (s->state->stop == MT_STOP_BATCH)
		s->state->stop = MT_STOP_NOT;
	s->state->slack = (double)s->options->script_memory; /* to deal with it */
	luaL_error(L, "not enough memory");
}

/* The scripts want more than --script-memory.  May they have it?
 * To give nothing is no answer for compiled code: Debian's LuaJIT then takes the stack of the last C call for
 * that of the trace and writes anywhere.  So there is twice as much again (it may double a table in one
 * piece), and the error is raised from a hook once the interpreter is back: the loop over the packets leaves
 * its trace when it sees stop, any other when the collector's next cycle becomes atomic, which is made to be
 * soon. A trace that does neither and gets even there costs the whole state: it is left where it is, by
 * longjmp, and not touched again. */
static bool over_limit(struct mt_script *s, size_t wanted)
{
	if (wanted / OVER_LIMIT <= s->limit) {
		if (!s->over_limit && !s->state->slack) {
			s->over_limit = true;
			if (s->state->stop == MT_STOP_NOT)
				s->state->stop = MT_STOP_BATCH;
			lua_sethook(s->lua, raise_out_of_memory, LUA_MASKCOUNT, 1);
			lua_gc(s->lua, LUA_GCSETSTEPMUL, 0); /* a cycle in one step */
			lua_gc(s->lua, LUA_GCRESTART, 0);    /* now */
		}
		return true;
	}
	if (!below_compiled_code())
		return false;
	s->dead = true;
	longjmp(s->way_out, 1);
}

/* LuaJIT's allocator with a limit.  Shrinking always works. */
static void *limited_alloc(void *ctx, void *ptr, size_t old, size_t size)
{
	struct mt_script *s = ctx;
	if (size > old && s->used + (size - old) > s->limit && !over_limit(s, s->used + (size - old)))
		return NULL;
	void *p = s->alloc(s->alloc_ctx, ptr, old, size);
	if (p || !size)
		s->used += size - old;
	return p;
}

/* Some services forbid pages that are written and then executed (systemd's
 * MemoryDenyWriteExecute): there the first compiled trace would kill the process. */
static bool may_compile(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	/* cppcheck-suppress invalidFunctionArg ; -1 is what an anonymous mapping takes */
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	bool ok = !mprotect(p, size, PROT_READ | PROT_EXEC);
	munmap(p, size);
	return ok;
}

static int report_traceback(lua_State *L)
{
	const char *text = lua_tostring(L, 1);
	luaL_traceback(L, L, text ? text : "error without text", 1);
	return 1;
}

/* Push runtime.NAME; false: Lua is dead.  The memory limit is for scripts, not for what we pass to them: it
 * holds again from call() on. */
bool mt_script_push(struct mt_script *s, const char *name)
{
	if (s->dead)
		return false;
	s->limit = SIZE_MAX;
	lua_pushcfunction(s->lua, report_traceback);
	lua_rawgeti(s->lua, LUA_REGISTRYINDEX, s->runtime);
	lua_getfield(s->lua, -1, name);
	lua_remove(s->lua, -2);
	return true;
}

static void report_death(struct mt_script *s)
{
	char place[MT_SCRIPT_PLACE];
	s->failed = true;
	mt_log_error("script %s: not enough memory (--script-memory) in the middle of compiled code%s: no "
	             "script can "
	             "be called any more",
	             mt_bypass_at(s->bypass, s->state->script)->label,
	             mt_script_place(s, s->state->batch->packets, place));
}

/* Call what push_function pushed, with n arguments above it.  The library catches what scripts
 * raise, so an error that arrives here is memory running out in it, or our own fault: it
 * ends the run like a failed script. */
bool mt_script_call(struct mt_script *s, int n, int results)
{
	int handler = lua_gettop(s->lua) - n - 1;
	if (setjmp(s->way_out)) {
		report_death(s);
		return false;
	}
	s->limit = s->options->script_memory;
	if (s->used <= s->limit)
		s->state->slack = 0;
	int r = lua_pcall(s->lua, n, results, handler);
	if (s->over_limit) { /* it did not come to that */
		s->over_limit = false;
		if (s->state->stop == MT_STOP_BATCH)
			s->state->stop = MT_STOP_NOT;
		lua_sethook(s->lua, NULL, 0, 0);
		lua_gc(s->lua, LUA_GCSETSTEPMUL, GC_STEPMUL);
	}
	if (r == 0) {
		lua_remove(s->lua, handler);
		return true;
	}
	s->limit = SIZE_MAX;
	const char *text = lua_tostring(s->lua, -1);
	mt_log_error("%s", r == LUA_ERRMEM ? "scripts: out of memory (--script-memory)"
	                   : text          ? text
	                                   : "script error");
	lua_settop(s->lua, handler - 1);
	lua_gc(s->lua, LUA_GCCOLLECT, 0);
	s->failed = true;
	return false;
}

static uint16_t link_of_first(const struct mt_script *s)
{
	return mt_ifaces_count(s->ifaces) ? mt_ifaces_get(s->ifaces, 0)->linktype : 1;
}

/* add_bypass(label, rule, packets, batch, blocks, results, filter, keep): the next script of the chain, as
 * bypass.h has it. */
static int add_bypass(lua_State *L)
{
	struct mt_script *s = lua_touserdata(L, lua_upvalueindex(1));
	static const char *const rules[] = {"keep", "drop", "stop", NULL};
	struct mt_err err;
	struct mt_bypass_script script = {.label = (char *)(uintptr_t)luaL_checkstring(L, 1),
	                                  .rule = MT_RULE_KEEP + (unsigned)luaL_checkoption(L, 2, NULL, rules),
	                                  .packets = lua_toboolean(L, 3),
	                                  .batch = lua_toboolean(L, 4),
	                                  .blocks = lua_toboolean(L, 5),
	                                  .results = lua_toboolean(L, 6)};
	if (mt_bypass_add(s->bypass, &script, luaL_optstring(L, 7, NULL), luaL_optstring(L, 8, NULL),
	                  link_of_first(s), &err))
		return luaL_error(L, "%s", err.text);
	return 0;
}

/* linktype() -> that of the first interface, for filters to be checked against. */
static int first_linktype(lua_State *L)
{
	struct mt_script *s = lua_touserdata(L, lua_upvalueindex(1));
	lua_pushinteger(L, link_of_first(s));
	return 1;
}

/* package.loaders[1] for --lua-dir: DIR/moontap/x.lua before the module in the binary. */
static const char lua_dir_loader[] = "local dir = ...\n"
                                     "table.insert(package.loaders, 1, function(name)\n"
                                     "  local path = dir .. '/' .. name:gsub('%.', '/') .. '.lua'\n"
                                     "  local file = io.open(path)\n"
                                     "  if not file then return nil end\n"
                                     "  file:close()\n"
                                     "  return assert(loadfile(path))\n"
                                     "end)\n";

/* Room for chains of many hooks; see the measurements on trace limits in docs. */
static const char compiler_options[] =
        "require('jit.opt').start('maxtrace=8000', 'maxrecord=16000', 'maxsnap=2000', 'maxirconst=2000',\n"
        "  'maxside=1000', 'maxmcode=16384', 'sizemcode=256')\n";

static int open_library(struct mt_script *s, struct mt_err *err)
{
	lua_State *L = s->lua;
	luaL_openlibs(L);
	lua_getglobal(L, "tostring");
	lua_setfield(L, LUA_REGISTRYINDEX, MT_LUA_TOSTRING);
	if (!may_compile()) {
		mt_log_warn("this process may not make memory executable: scripts run interpreted, slowly");
		luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	}
	if (luaL_loadstring(L, compiler_options) || lua_pcall(L, 0, 0, 0))
		return mt_err_set(err, "LuaJIT: %s", lua_tostring(L, -1));
	if (s->options->lua_dir) {
		if (luaL_loadstring(L, lua_dir_loader))
			return mt_err_set(err, "--lua-dir: %s", lua_tostring(L, -1));
		lua_pushstring(L, s->options->lua_dir);
		if (lua_pcall(L, 1, 0, 0))
			return mt_err_set(err, "--lua-dir: %s", lua_tostring(L, -1));
	}
	lua_getglobal(L, "require");
	lua_pushstring(L, "moontap.runtime");
	if (lua_pcall(L, 1, 1, 0))
		return mt_err_set(err, "Lua library: %s", lua_tostring(L, -1));
	s->runtime = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

struct mt_script *mt_script_new(const struct mt_options *options, const struct mt_ifaces *ifaces,
                                struct mt_err *err)
{
	struct mt_script *s = calloc(1, sizeof *s);
	if (s) {
		s->state = calloc(1, sizeof *s->state);
		s->no_batch = calloc(1, sizeof *s->no_batch);
		s->bypass = mt_bypass_new();
		s->lua = luaL_newstate();
	}
	if (!s || !s->state || !s->no_batch || !s->bypass || !s->lua) {
		mt_err_set(err, "out of memory");
		mt_script_free(s);
		return NULL;
	}
	s->options = options;
	s->ifaces = ifaces;
	s->no_batch->decoded = 1;
	s->state->batch = s->no_batch;
	s->state->first_ns = s->state->clock_ns = s->state->hook_ns = INT64_MIN;
	if (open_library(s, err)) {
		mt_script_free(s);
		return NULL;
	}
	s->alloc = lua_getallocf(s->lua, &s->alloc_ctx);
	s->used = (size_t)lua_gc(s->lua, LUA_GCCOUNT, 0) * 1024;
	s->limit = options->script_memory;
	lua_setallocf(s->lua, limited_alloc, s);
	lua_pushlightuserdata(s->lua, &out_of_memory);
	lua_pushlightuserdata(s->lua, s);
	lua_rawset(s->lua, LUA_REGISTRYINDEX);
	return s;
}

void mt_script_free(struct mt_script *s)
{
	if (!s)
		return;
	if (s->lua && !s->dead) {
		s->limit = SIZE_MAX;
		lua_close(s->lua);
	}
	mt_bypass_free(s->bypass);
	free(s->name);
	free(s->state);
	free(s->no_batch);
	free(s);
}

lua_State *mt_script_lua(struct mt_script *s)
{
	return s->lua;
}

/* --- loading ----------------------------------------------------------------------------- */

static void set_flag(lua_State *L, const char *key, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, key);
}

static void add_word(lua_State *L, int place, const char *text, bool expression)
{
	lua_newtable(L);
	lua_pushstring(L, text);
	lua_setfield(L, -2, "text");
	set_flag(L, "expression", expression);
	lua_rawseti(L, -2, place);
}

enum { MAX_PAIRS = 64 };

/* declare_output(name, path, segmented, {option, value, …}): the place of its verdict, or nil and why not. */
static int declare_output(lua_State *L)
{
	struct mt_script *s = lua_touserdata(L, lua_upvalueindex(1));
	const char *pairs[MAX_PAIRS + 1] = {NULL};
	struct mt_err err;
	size_t n = lua_objlen(L, 4);
	lua_settop(L, 6);
	for (size_t i = 0; i < n && i < MAX_PAIRS; i++) {
		lua_rawgeti(L, 4, (int)i + 1);
		pairs[i] = luaL_checkstring(L, -1); /* stays on the stack */
	}
	luaL_checkstack(L, 4, "too many options");
	if (lua_toboolean(L, 6) && s->declared->has_output) {
		lua_pushnil(L);
		lua_pushliteral(
		        L,
		        "all packets go to files of their keys, which are not rotated; -o and -B with -G, -S "
		        "or -P would get none");
		return 2;
	}
	int place =
	        mt_options_declare_output(s->declared, luaL_checkstring(L, 1), luaL_checkstring(L, 2),
	                                  lua_toboolean(L, 3), (uint32_t)luaL_optnumber(L, 5, 0), pairs, &err);
	if (place < 0) {
		lua_pushnil(L);
		lua_pushstring(L, err.text);
		return 2;
	}
	lua_pushinteger(L, place + 1);
	return 1;
}

/* publish(name, value): whether there was room. */
static int publish(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	lua_settop(L, 2);
	lua_pushboolean(L, mt_publish(name, mt_lua_to_json(L, 2)));
	return 1;
}

/* The settings that runtime.load gets. */
static void push_settings(struct mt_script *s, const char *extra)
{
	static const char *const rules[] = {
	        [MT_RULE_KEEP] = "keep", [MT_RULE_DROP] = "drop", [MT_RULE_STOP] = "stop"};
	const struct mt_options *o = s->options;
	lua_State *L = s->lua;
	lua_newtable(L);
	lua_newtable(L);
	int n = 0;
	for (unsigned i = 0; i < o->n_scripts; i++)
		add_word(L, ++n, o->scripts[i].text, o->scripts[i].expression);
	if (extra)
		add_word(L, ++n, extra, false);
	lua_setfield(L, -2, "scripts");
	lua_newtable(L);
	for (unsigned i = 0; i < o->n_named; i++) {
		lua_pushinteger(L, (lua_Integer)i + 1);
		lua_setfield(L, -2, o->named[i].name);
	}
	lua_setfield(L, -2, "outputs");
	set_flag(L, "json", o->json);
	set_flag(L, "live", o->any_live);
	set_flag(L, "repl", o->repl);
	set_flag(L, "print_to_stderr", o->json || mt_options_packets_on_stdout(o));
	lua_pushnumber(L, (lua_Number)o->script_errors);
	lua_setfield(L, -2, "max_errors");
	lua_pushnumber(L, (lua_Number)o->script_memory);
	lua_setfield(L, -2, "memory");
	lua_pushstring(L, MT_VERSION);
	lua_setfield(L, -2, "version");
	if (o->on_script_error != MT_RULE_DEFAULT) {
		lua_pushstring(L, rules[o->on_script_error]);
		lua_setfield(L, -2, "rule");
	}
	if (s->clock) {
		lua_pushlightuserdata(L, s->clock);
		lua_setfield(L, -2, "clock");
	}
	lua_pushlightuserdata(L, s);
	lua_pushcclosure(L, declare_output, 1);
	lua_setfield(L, -2, "declare_output");
	if (o->control) {
		lua_pushcfunction(L, publish);
		lua_setfield(L, -2, "publish");
	}
	lua_pushcfunction(L, mt_lua_json_encode);
	lua_setfield(L, -2, "json_encode");
	lua_pushcfunction(L, mt_lua_json_decode);
	lua_setfield(L, -2, "json_decode");
	lua_pushlightuserdata(L, s);
	lua_pushcclosure(L, add_bypass, 1);
	lua_setfield(L, -2, "add_bypass");
	lua_pushlightuserdata(L, s);
	lua_pushcclosure(L, first_linktype, 1);
	lua_setfield(L, -2, "linktype");
}

void mt_script_set_outputs(struct mt_script *s, struct mt_options *options)
{
	s->declared = options;
}

static bool flag(lua_State *L, const char *key)
{
	lua_getfield(L, -1, key);
	bool value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

void mt_script_set_clock(struct mt_script *s, struct mt_stage_clock *clock)
{
	s->clock = clock;
}

int mt_script_load(struct mt_script *s, const char *extra, struct mt_err *err)
{
	lua_State *L = s->lua;
	mt_script_push(s, "load");
	lua_pushlightuserdata(L, s->state);
	push_settings(s, extra);
	if (!mt_script_call(s, 2, 2))
		return mt_err_set(err, "the scripts could not be loaded");
	int result = 1;
	if (lua_isnil(L, -2)) {
		const char *why = lua_tostring(L, -1);
		result = mt_err_set(err, "%s", why ? why : "script error");
	} else {
		lua_pop(L, 1);
		lua_getfield(L, -1, "help");
		if (lua_isstring(L, -1)) {
			puts(lua_tostring(L, -1));
			result = 0;
		}
		lua_pop(L, 1);
		s->packet_hooks = flag(L, "packet");
		s->segment_open = flag(L, "segment_open");
		s->segment_close = flag(L, "segment_close");
		s->block = flag(L, "block");
		s->is_private = flag(L, "is_private");
		s->moves_times = flag(L, "moves_times");
	}
	lua_settop(L, 0);
	return result;
}

struct mt_hook_state *mt_script_state(struct mt_script *s)
{
	return s->state;
}

bool mt_script_has_packet_hooks(const struct mt_script *s)
{
	return s->packet_hooks;
}

bool mt_script_has_segment_open(const struct mt_script *s)
{
	return s->segment_open;
}

bool mt_script_has_segment_close(const struct mt_script *s)
{
	return s->segment_close;
}

bool mt_script_has_block(const struct mt_script *s)
{
	return s->block;
}

bool mt_script_is_private(const struct mt_script *s)
{
	return s->is_private;
}

bool mt_script_moves_times(const struct mt_script *s)
{
	return s->moves_times;
}

bool mt_script_failed(const struct mt_script *s)
{
	return s->failed || __atomic_load_n(&s->state->errors, __ATOMIC_RELAXED);
}

struct mt_bypass *mt_script_bypass(const struct mt_script *s)
{
	return s->bypass;
}

/* --- hooks ------------------------------------------------------------------------------- */

/* Call a function of the runtime that returns whether all is well. */
static int call_status(struct mt_script *s, int n)
{
	bool good = mt_script_call(s, n, 1);
	if (good) {
		good = lua_toboolean(s->lua, -1);
		lua_pop(s->lua, 1);
	}
	if (!good)
		s->failed = true;
	return good ? 0 : -1;
}

int mt_script_start(struct mt_script *s, const json_t *sources)
{
	if (!mt_script_push(s, "start"))
		return MT_STATUS_SCRIPT;
	mt_lua_push_json(s->lua, sources);
	if (!mt_script_call(s, 1, 1))
		return MT_STATUS_SCRIPT;
	int status = lua_isnil(s->lua, -1)       ? MT_STATUS_USAGE
	             : lua_toboolean(s->lua, -1) ? MT_STATUS_OK
	                                         : MT_STATUS_SCRIPT;
	lua_pop(s->lua, 1);
	return status;
}

void mt_script_batch(struct mt_script *s)
{
	if (!mt_script_push(s, "batch") || !mt_script_call(s, 0, 0))
		s->state->action = MT_ACTION_BROKEN;
	s->state->generation++; /* no packet outlives the call */
	if (s->state->action == MT_ACTION_FAIL || s->state->action == MT_ACTION_BROKEN)
		s->failed = true;
}

int mt_script_tick(struct mt_script *s, int64_t clock_ns)
{
	s->state->clock_ns = clock_ns;
	return mt_script_push(s, "tick") ? call_status(s, 0) : 0;
}

int mt_script_last_interval(struct mt_script *s)
{
	return mt_script_push(s, "last_interval") ? call_status(s, 0) : 0;
}

int mt_script_stop(struct mt_script *s, const json_t *stats, const json_t *sources)
{
	s->state->batch = s->no_batch;
	if (!mt_script_push(s, "stop"))
		return -1;
	mt_lua_push_json(s->lua, stats);
	mt_lua_push_json(s->lua, sources);
	return call_status(s, 2);
}

const char *mt_script_segment_open(struct mt_script *s, const struct mt_segment_view *segment)
{
	if (!mt_script_push(s, "segment_open"))
		return NULL;
	lua_pushlightuserdata(s->lua, (void *)(uintptr_t)segment);
	if (!mt_script_call(s, 1, 1))
		return NULL;
	free(s->name);
	const char *name = lua_tostring(s->lua, -1);
	s->name = name ? strdup(name) : NULL;
	lua_pop(s->lua, 1);
	return s->name;
}

void mt_script_segment_close(struct mt_script *s, const json_t *line)
{
	if (!mt_script_push(s, "segment_close"))
		return;
	mt_lua_push_json(s->lua, line);
	mt_script_call(s, 1, 0);
}

bool mt_script_block(struct mt_script *s, const uint8_t **data, size_t *len)
{
	lua_State *L = s->lua;
	if (!mt_script_push(s, "block"))
		return mt_bypass_rule(s->bypass, true) == MT_RULE_KEEP;
	lua_pushlightuserdata(L, (void *)(uintptr_t)*data);
	lua_pushnumber(L, (lua_Number)*len);
	if (!mt_script_call(s, 2, 1))
		return false; /* a failing script can not leak */
	bool keep = !lua_isboolean(L, -1);
	if (lua_isstring(L, -1)) {
		/* The string stays on the registry until the next block. */
		*data = (const uint8_t *)lua_tolstring(L, -1, len);
		lua_setfield(L, LUA_REGISTRYINDEX, "moontap.block");
	} else {
		lua_pop(L, 1);
	}
	return keep;
}

static int to_json(lua_State *L)
{
	*(json_t **)lua_touserdata(L, 2) = mt_lua_to_json(L, 1);
	return 0;
}

/* It may raise: it takes memory of Lua's. */
json_t *mt_script_pop_json(struct mt_script *s)
{
	json_t *value = NULL;
	s->limit = SIZE_MAX;
	lua_pushcfunction(s->lua, to_json);
	lua_insert(s->lua, -2);
	lua_pushlightuserdata(s->lua, &value);
	if (lua_pcall(s->lua, 2, 0, 0)) {
		const char *text = lua_tostring(s->lua, -1);
		mt_log_error("scripts: a result can not be told: %s", text ? text : "error");
		s->failed = true;
		lua_pop(s->lua, 1);
	}
	return value;
}

json_t *mt_script_results(struct mt_script *s)
{
	if (!mt_script_push(s, "results") || !mt_script_call(s, 0, 1))
		return json_object();
	json_t *results = mt_script_pop_json(s);
	if (!json_is_object(results)) {
		json_decref(results);
		results = json_object();
	}
	return results;
}

json_t *mt_script_profile(struct mt_script *s, double hook_seconds)
{
	if (!s->clock || !mt_script_push(s, "profile"))
		return NULL;
	lua_pushnumber(s->lua, hook_seconds);
	if (!mt_script_call(s, 1, 1))
		return NULL;
	return mt_script_pop_json(s);
}

/* --- what others ask --------------------------------------------------------------------- */

int mt_script_list_recipes(struct mt_err *err)
{
	lua_State *L = luaL_newstate();
	if (!L)
		return mt_err_set(err, "out of memory");
	luaL_openlibs(L);
	static const char text[] = "return require('moontap.runtime').list_recipes()";
	int r = luaL_loadstring(L, text) || lua_pcall(L, 0, 1, 0) ? -1 : 0;
	const char *result = lua_tostring(L, -1);
	if (r)
		mt_err_set(err, "recipes: %s", result ? result : "error");
	else
		puts(result);
	lua_close(L);
	return r;
}

char *mt_script_place(const struct mt_script *s, const struct mt_packet *packets, char *text)
{
	const struct mt_batch *b = s->state->batch;
	uint32_t index = __atomic_load_n(&s->state->index, __ATOMIC_RELAXED);
	char at[MT_TIME_TEXT];
	*text = '\0';
	if (index >= b->n)
		return text;
	const struct mt_packet *p = &packets[index];
	mt_format_time_utc(p->ts_ns, at); /* "DATETtimeZ", and as moontap.format.time writes it: */
	*strchr(at, 'T') = ' ';
	*strchr(at, 'Z') = '\0';
	snprintf(text, MT_SCRIPT_PLACE, " (packet %.0f, from %.100s, at %s UTC)", s->state->before + index + 1,
	         mt_ifaces_get(s->ifaces, p->iface)->source, at);
	return text;
}

const char *mt_script_version(void)
{
	return LUAJIT_VERSION;
}

void mt_script_log(int level, const char *text)
{
	if (level)
		mt_log_warn("%s", text);
	else
		mt_log_error("%s", text);
}
