# moontap - build, test and install.  "make demo" and "make test" work on a bare Debian 12.
#
#   make            build ./moontap            make test      run every spec
#   make demo       install what is missing, build, show it working
#   make deps       install what is missing with apt-get (as root)
#   make install    PREFIX=/usr/local DESTDIR= make lint      clang-format, cppcheck, luacheck, shellcheck
#   make asan       ./build-asan/moontap       make bench     compare with other programs (BENCH=--quick)
#   make docs       docs/reference.md, docs/moontap.d.lua, docs/recipes.md and the outputs in docs/scripting.md
#   make fixtures   record spec/fixtures anew  make clean
#   make fuzz       FUZZ_SECONDS=60 for each harness in spec/fuzz (FUZZ="decode": only these)

PREFIX  ?= /usr/local
CC      ?= cc
LUAJIT  ?= luajit
BUILD   ?= build
PROGRAM ?= moontap
VERSION := 0.1.0
EXTRA   ?=
# make Q= shows the commands
Q       ?= @

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
CFLAGS ?= -O2 -g
override CFLAGS += -std=c11 -D_GNU_SOURCE -DMT_VERSION='"$(VERSION)"' -fvisibility=hidden -pthread \
	$(WARN) -Isrc -I$(BUILD) $(EXTRA)

# --- what the build needs: probed once, into $(BUILD)/config.mk ------------------------
# Not for goals that only start another make, install packages, or delete.
ifneq ($(filter-out deps deps-test deps-bench demo test bench fixtures asan tsan fuzz lint docs clean,$(or $(MAKECMDGOALS),all)),)
include $(BUILD)/config.mk
endif

SRC  := $(sort $(wildcard src/*.c))
OBJ  := $(SRC:src/%.c=$(BUILD)/%.o)
LUA  := $(sort $(wildcard lua/moontap/*.lua lua/moontap/*/*.lua))
RECIPES := $(sort $(wildcard scripts/*.lua))
# The module name is the path: lua/moontap/packet.lua is moontap.packet, scripts/top.lua is recipes.top.
LUAOBJ := $(foreach file,$(LUA),$(BUILD)/lua/$(subst /,.,$(file:lua/%.lua=%)).o) $(RECIPES:scripts/%.lua=$(BUILD)/lua/recipes.%.o) \
	$(BUILD)/lua/moontap.abi_text.o $(BUILD)/lua/moontap.help_text.o $(BUILD)/lua/moontap.recipe_list.o

.PHONY: all help deps deps-test deps-bench demo test bench fixtures lint asan tsan fuzz docs install clean
all: $(PROGRAM)

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

$(PROGRAM): $(OBJ) $(LUAOBJ)
	@echo '  LINK $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Wl,-E -o $@ $^ $(CONFIG_LIBS) -lm -ldl
	ln -sf $(notdir $@) $(dir $@)mtracecap

# Flags that were given once hold for later calls of make; others mean probing and building afresh.
flags := $(strip $(CPPFLAGS)|$(LDFLAGS))
FORCE:
ifeq ($(MAKE_RESTARTS),)
ifneq ($(flags),$(CONFIG_FOR))
$(BUILD)/config.mk: FORCE
endif
endif
$(BUILD)/config.mk: .ci/probe
	@mkdir -p $(BUILD)/lua
	@CONFIG_FOR='$(flags)' CC='$(CC)' LUAJIT='$(LUAJIT)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' .ci/probe > $@.tmp && mv $@.tmp $@

$(BUILD)/%.o: src/%.c $(BUILD)/config.mk
	@echo '  CC   $<'
	$(Q)$(CC) $(CPPFLAGS) $(CONFIG_CFLAGS) $(CFLAGS) $(FUZZ_COVERAGE) -MMD -MP -c -o $@ $<

# src/abi.h as one ffi.cdef: no preprocessor lines, no export marks.
$(BUILD)/lua/moontap.abi_text.lua: src/abi.h $(BUILD)/config.mk
	@{ echo 'return [=====['; sed -e '/^#/d' -e 's/MT_EXPORT //' $<; echo ']=====]'; } > $@
# What help() of the prompt says.
$(BUILD)/lua/moontap.help_text.lua: docs/reference.md $(BUILD)/config.mk
	@{ echo 'return [=====['; cat $<; echo ']=====]'; } > $@
$(BUILD)/lua/moontap.recipe_list.lua: $(RECIPES) $(BUILD)/config.mk
	@echo 'return { $(RECIPES:scripts/%.lua="%",) }' > $@
$(BUILD)/lua/moontap.%.o: $(BUILD)/lua/moontap.%.lua
	$(Q)$(LUAJIT) -bg -n moontap.$* $< $@
$(BUILD)/lua/moontap.%.o: lua/moontap/%.lua $(BUILD)/config.mk
	$(Q)$(LUAJIT) -bg -n moontap.$* $< $@
$(BUILD)/lua/moontap.repl.%.o: lua/moontap/repl/%.lua $(BUILD)/config.mk
	$(Q)$(LUAJIT) -bg -n moontap.repl.$* $< $@
$(BUILD)/lua/recipes.%.o: scripts/%.lua $(BUILD)/config.mk
	$(Q)$(LUAJIT) -bg -n recipes.$* $< $@

-include $(OBJ:.o=.d)

# --- set-up ----------------------------------------------------------------------------
deps:
	@BUILD='$(BUILD)' CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' .ci/deps build
deps-test:
	@BUILD='$(BUILD)' CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' .ci/deps test

demo: deps
	@$(MAKE) --no-print-directory $(PROGRAM)
	@scripts_dir=. sh bench/demo.sh

test: deps-test
	@$(MAKE) --no-print-directory $(PROGRAM)
	@spec/run $(SPECS)

deps-bench:
	@BUILD='$(BUILD)' CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' .ci/deps bench

bench: deps-bench
	@$(MAKE) --no-print-directory $(PROGRAM)
	@bench/run $(BENCH)

fixtures: deps-test
	@$(MAKE) --no-print-directory $(PROGRAM)
	@spec/record-fixtures

asan: deps
	@$(MAKE) --no-print-directory BUILD=build-asan PROGRAM=build-asan/moontap \
		EXTRA='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1' build-asan/moontap
tsan: deps
	@$(MAKE) --no-print-directory BUILD=build-tsan PROGRAM=build-tsan/moontap \
		EXTRA='-fsanitize=thread -fno-omit-frame-pointer -O1' build-tsan/moontap

# --- fuzzing ---------------------------------------------------------------------------
# With clang's libFuzzer if it links, else (or with FUZZ_ENGINE=driver) with the one in spec/fuzz/driver.c.
FUZZ ?=
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 1
FUZZ_ENGINE ?= $(shell echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | \
	clang -x c -fsanitize=fuzzer - -o /dev/null 2>/dev/null && echo libfuzzer || echo driver)
FUZZ_libfuzzer = CC=clang FUZZ_COVERAGE=-fsanitize=fuzzer-no-link FUZZ_LINK='-fsanitize=fuzzer -DMT_LIBFUZZER'
FUZZ_driver = FUZZ_COVERAGE=-fsanitize-coverage=trace-pc
fuzz: deps
	@$(MAKE) --no-print-directory BUILD=build-fuzz/$(FUZZ_ENGINE) $(FUZZ_$(FUZZ_ENGINE)) \
		EXTRA='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1' fuzz-programs
	@spec/fuzz/run build-fuzz/$(FUZZ_ENGINE) $(FUZZ_SECONDS) $(FUZZ_SEED) $(FUZZ)

HARNESSES := $(sort $(wildcard spec/fuzz/*_fuzz.c))
.PHONY: fuzz-programs
fuzz-programs: $(HARNESSES:spec/fuzz/%.c=$(BUILD)/%)
$(BUILD)/libmoontap.a: $(filter-out $(BUILD)/main.o,$(OBJ))
	@rm -f $@
	$(Q)$(AR) rcs $@ $^
$(BUILD)/%_fuzz: spec/fuzz/%_fuzz.c spec/fuzz/driver.c spec/fuzz/fuzz.h $(BUILD)/libmoontap.a
	@echo '  LINK $@'
	$(Q)$(CC) $(CPPFLAGS) $(CONFIG_CFLAGS) $(CFLAGS) $(FUZZ_LINK) $(LDFLAGS) -o $@ $(filter %.c %.a,$^) $(CONFIG_LIBS) -lm -ldl

lint: deps-test
	@$(MAKE) --no-print-directory $(PROGRAM)
	@.ci/lint

docs: deps-test
	@$(MAKE) --no-print-directory $(PROGRAM)
	@.ci/docs
	@.ci/fill-examples docs/scripting.md
	@.ci/recipes
	@.ci/session

install: $(PROGRAM)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/moontap
	ln -sf moontap $(DESTDIR)$(PREFIX)/bin/mtracecap
	install -m 644 docs/moontap.1 $(DESTDIR)$(PREFIX)/share/man/man1/moontap.1
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@BINDIR@|$(PREFIX)/bin|' docs/moontap@.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/moontap@.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/moontap@.service

clean:
	rm -rf build build-asan build-tsan build-fuzz moontap mtracecap demo
