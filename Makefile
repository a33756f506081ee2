# SPDX-License-Identifier: ISC
# Builds Stash into $(BUILD); `make help` lists the targets. Sources are found by folder: a new file needs
# no line here. Every tree (normal, crash points, sanitizers, fuzzers) is this Makefile with another BUILD.

BUILD = build
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
PKG_CONFIG ?= pkg-config
# Warnings are errors in CI.
WERROR ?= $(if $(CI),1)
# A list for -fsanitize=, and definitions for this tree.
SANITIZE =
DEFINES =
# Where make install puts modules, and stashd looks for those that are not beside its config file.
LIBDIR = $(PREFIX)/lib
MODULEDIR = $(LIBDIR)/stash/modules
# Seconds for each fuzzer; minutes for `make torture`; groups of packages for `make deps`.
FUZZ_SECONDS = 60
TORTURE_MINUTES = 30
DEPS = libs

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all tests help deps demo check check-asan check-valgrind lint format fuzz fuzzers torture install uninstall \
	clean helpers points-tree run-checks run-valgrind all-fuzzers run-fuzz run-torture FORCE
Q = $(if $(V),,@)
say = @$(if $(V),:,printf '  %-5s %s\n' $(1) $(@:$(CURDIR)/%=%))
# Sub-makes build in parallel, also if nobody said -j.
SUBMAKE = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# ---- flags ----

PKGS := lmdb libbsd libevent_core jansson libconfig libxxhash
pkg = $(shell $(PKG_CONFIG) $(1) 2>/dev/null)
lib_libs := $(call pkg,--libs lmdb libbsd libevent_core jansson) -pthread -ldl -lm
conf_libs := $(call pkg,--libs libconfig)
check_libs = $(call pkg,--libs check)

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
optimised := $(filter-out -O0,$(filter -O%,$(CFLAGS)))
fortify := $(if $(optimised),$(if $(SANITIZE)$(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,-D_FORTIFY_SOURCE=2))
sanitize := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# gcc's UBSan as a shared library would ignore log_path, by which tests/run.sh learns of reports.
static_san := $(if $(SANITIZE),$(if $(findstring clang,$(shell $(CC) --version)),,-static-libasan -static-libubsan))
comma := ,

cppflags = -D_GNU_SOURCE -Iinclude -Isrc $(fortify) $(DEFINES) $(call pkg,--cflags $(PKGS)) $(CPPFLAGS)
cflags = -std=c11 $(warnings) -fPIC -fno-semantic-interposition -fstack-protector-strong $(sanitize) $(CFLAGS)
ldflags = $(sanitize) $(static_san) -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)
depflags = -MMD -MP
compile = $(Q)$(CC) $(cppflags) $(cflags) -fvisibility=hidden $(depflags) -c -o $@ $<

# ---- what there is ----

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

layers := base shm store reader client worker stash supervisor stashd
daemon_c := $(wildcard src/stashd/main.c src/stashd/conf*.c)
conf_c := $(filter-out src/stashd/main.c,$(daemon_c))
lib_c := $(filter-out $(daemon_c),$(wildcard $(layers:%=src/%/*.c)))
example_c := $(wildcard src/examples/*.c)
program_c := $(wildcard src/examples/*/*.c)
tool_c = $(wildcard tools/$(1)*.c tools/$(1)/*.c)
common_c := $(wildcard tools/common/*.c)
# The commands of the tools, which their tests run within themselves.
command_c := $(filter-out %/main.c,$(foreach t,stashctl stash-inspect,$(call tool_c,$t)))
map := $(wildcard src/libstash.map)

tools := $(foreach t,stashctl stash-inspect stash-bench,$(if $(call tool_c,$t),$(BUILD)/$t))
stashd := $(if $(wildcard src/stashd/main.c),$(BUILD)/stashd)
examples := $(example_c:src/examples/%.c=$(BUILD)/examples/%.so)
programs := $(foreach p,$(program_c),$(BUILD)/examples/$(basename $(notdir $p)))
libs := $(if $(lib_c),$(BUILD)/libstash.a $(BUILD)/libstash.so)

# The longest first, so that they don't end up alone.
# Two load a library before all else, which sanitizers want to be themselves.
preloading := tests/e2e_failing.c tests/e2e_power.c
suites := $(patsubst %.c,$(BUILD)/%,$(filter-out $(if $(SANITIZE),$(preloading)),$(wildcard tests/e2e_*.c tests/test_*.c)))
modules := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/modules/*.c))
helpers := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/helpers/*.c))
# Not under sanitizers: they stand before the same functions.
preload := $(if $(SANITIZE),,$(if $(wildcard tests/preload/*.c),$(BUILD)/tests/failing.so))
replay_c := $(wildcard tests/replay/*.c)
replay := $(if $(replay_c),$(BUILD)/tests/otp-replay)
simulate_c := $(wildcard tests/simulate/*.c) $(patsubst %,tests/replay/%.c,world paths steps scenario)
simulate := $(if $(wildcard tests/simulate/*.c),$(BUILD)/tests/tree-simulate)
# FUZZERS= chooses some of them by name.
FUZZERS = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzzers := $(FUZZERS:%=$(BUILD)/fuzz_%)
scripts := $(wildcard tests/e2e_*.sh tests/check-*.sh)
# Those that need neither pidfds nor a map of 64 GiB, which valgrind doesn't know; nor those in which processes
# die on purpose, over damaged stores for example: valgrind would report each death.
valgrind_suites := $(filter $(addprefix $(BUILD)/tests/test_,base% shm% store% tree% conf% tools%), \
	$(filter-out %_damage %_power %_process,$(suites)))

all: $(libs) $(stashd) $(tools) $(examples) $(programs)
	@:
tests: all $(suites) $(modules) $(helpers) $(preload) $(replay) $(simulate) $(BUILD)/tests/guard
	@:

# ---- rules ----

# Changes only when the flags do, and then everything is compiled again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@$(PKG_CONFIG) --exists --print-errors $(PKGS) || { echo 'libraries are missing: try make deps' >&2; exit 1; }
	@echo '$(CC) $(cppflags) $(cflags) $(ldflags)' | cmp -s - $@ || \
		echo '$(CC) $(cppflags) $(cflags) $(ldflags)' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(compile)
# Where stashd looks for modules depends on PREFIX: only these are compiled again for another one.
$(BUILD)/moduledir: FORCE
	@mkdir -p $(@D)
	@echo '$(MODULEDIR)' | cmp -s - $@ || echo '$(MODULEDIR)' >$@
$(call obj,$(conf_c)): $(BUILD)/moduledir
$(call obj,$(conf_c)): cppflags += -DMODULE_DIR='"$(MODULEDIR)"'
$(BUILD)/obj/tools/%.o: cppflags += -Itools
$(BUILD)/obj/tests/%.o: cppflags += -Itests -Itools

$(BUILD)/libstash.a: $(call obj,$(lib_c))
$(BUILD)/libtools.a: $(call obj,$(common_c))
$(BUILD)/tests/libtest.a: $(call obj,$(wildcard tests/testlib*.c) $(filter-out tests/replay/replay.c,$(replay_c)) $(conf_c) $(common_c) $(command_c))
%.a:
	@mkdir -p $(@D)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/libstash.so.0: $(call obj,$(lib_c)) $(map)
	$(call say,LINK)
	$(Q)$(CC) $(cflags) -shared -Wl,-soname,libstash.so.0 -Wl,-Bsymbolic-functions $(map:%=-Wl,--version-script=%) $(if $(SANITIZE),,-Wl,-z,defs) \
		$(ldflags) -o $@ $(filter %.o,$^) $(lib_libs)
$(BUILD)/libstash.so: $(BUILD)/libstash.so.0
	$(Q)ln -sf libstash.so.0 $@

# What loads modules carries the whole library and exports the public names, since a module brings no
# library along: there is one copy in a process.
$(BUILD)/exports: src/libstash.map
	@mkdir -p $(@D)
	$(Q){ echo '{'; sed -n '/global:/,/local:/{s/.*global://; s/local:.*//; p}' $<; echo '};'; } >$@
whole = -Wl,--whole-archive $(BUILD)/libstash.a -Wl,--no-whole-archive
exports := $(if $(SANITIZE),-rdynamic,$(map:%=-Wl$(comma)--export-dynamic-symbol-list=$(BUILD)/exports))
# All objects and archives among the prerequisites, the library whole.
program = $(Q)mkdir -p $(@D) && $(CC) -pie $(cflags) $(ldflags) $(exports) -o $@ $(filter %.o,$^) \
	$(filter-out $(BUILD)/libstash.a,$(filter %.a,$^)) $(whole) $(1) $(conf_libs) $(lib_libs)
hosting := $(BUILD)/libstash.a $(if $(map),$(BUILD)/exports)

$(BUILD)/stashd: $(call obj,$(daemon_c)) $(hosting)
	$(call say,LINK)
	$(call program)

# Specifications on stashctl's command line are as in the config file.
parts_of_stashctl := $(conf_c)
define tool_rule
$(1): $(call obj,$(call tool_c,$(notdir $(1))) $(parts_of_$(notdir $(1)))) $(BUILD)/libtools.a $(hosting)
	$$(call say,LINK)
	$$(call program)
endef
$(foreach t,$(tools),$(eval $(call tool_rule,$t)))

$(suites) $(BUILD)/tests/guard: $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/tests/libtest.a $(hosting)
	$(call say,LINK)
	$(call program,$(check_libs))
$(helpers): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(hosting)
	$(call say,LINK)
	$(call program)
$(replay): $(call obj,$(replay_c)) $(hosting)
	$(call say,LINK)
	$(call program)
$(simulate): $(call obj,$(simulate_c)) $(hosting)
	$(call say,LINK)
	$(call program)
$(fuzzers): $(BUILD)/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/tests/libtest.a $(hosting)
	$(call say,LINK)
	$(call program,-fsanitize=fuzzer $(check_libs))

# Its functions stand for the libraries' own, so nothing may be checked or turned into another call.
$(BUILD)/obj/tests/preload/%.o: cppflags += -U_FORTIFY_SOURCE
$(BUILD)/tests/failing.so: $(call obj,$(wildcard tests/preload/*.c))
	$(call say,LINK)
	$(Q)$(CC) -shared $(cflags) -fvisibility=default $(LDFLAGS) -o $@ $^ -ldl

define program_rule
$(BUILD)/examples/$(basename $(notdir $(1))): $(call obj,$(1)) $(hosting)
	$$(call say,LINK)
	$$(call program)
endef
$(foreach p,$(program_c),$(eval $(call program_rule,$p)))

# Modules are built as a user builds them, without the library.
module = $(Q)mkdir -p $(@D) && $(CC) $(cppflags) $(cflags) $(depflags) -shared $(ldflags) -o $@ $< $(module_libs)
$(BUILD)/examples/bridge.so: module_libs = $(call pkg,--libs libevent_core)
$(BUILD)/examples/%.so: src/examples/%.c $(BUILD)/flags
	$(call say,MOD)
	$(module)
$(BUILD)/tests/modules/%.so: tests/modules/%.c $(BUILD)/flags
	$(call say,MOD)
	$(module)

-include $(shell find $(BUILD)/obj $(BUILD)/examples $(BUILD)/tests -name '*.d' 2>/dev/null)

# ---- what to do with it ----

deps:
	@sh .ci/deps.sh $(DEPS)

demo:
	@sh .ci/deps.sh libs
	@$(SUBMAKE) all
	@BUILD=$(abspath $(BUILD)) sh tests/demo.sh

check:
	@sh .ci/deps.sh libs check
	@$(SUBMAKE) tests points-tree
	@$(MAKE) --no-print-directory run-checks
points-tree:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/points DEFINES='$(DEFINES) -DSTASH_POINTS' all $(if $(helpers),helpers)
helpers: $(helpers)
	@:
run-checks:
	@BUILD=$(BUILD) POINTS=$(BUILD)/points bash tests/run.sh $(scripts) $(suites)

# Everything is slower there, and is given more time.
check-asan:
	@PATIENCE=4 LIMIT=1500 $(MAKE) --no-print-directory BUILD=$(BUILD)/asan SANITIZE=address,undefined CFLAGS='-O1 -g' check

check-valgrind:
	@sh .ci/deps.sh libs check valgrind
	@$(SUBMAKE) tests
	@$(MAKE) --no-print-directory run-valgrind
run-valgrind:
	@BUILD=$(BUILD) STASH_TEST_MAP=4G PATIENCE=20 LIMIT=1800 CK_DEFAULT_TIMEOUT=10 \
		WRAP='valgrind -q --vgdb=no --trace-children=yes --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite' \
		bash tests/run.sh $(valgrind_suites)

lint:
	@sh .ci/deps.sh libs lint
	@CC='$(CC)' CPPFLAGS='$(cppflags)' bash tests/lint.sh
format:
	clang-format -i $$(find src tools tests -name '*.[ch]')

fuzz_tree = BUILD=$(BUILD)/fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined CFLAGS='-O1 -g'
fuzz: fuzzers
	@$(SUBMAKE) $(fuzz_tree) run-fuzz
fuzzers:
	@sh .ci/deps.sh libs check fuzz
	@$(SUBMAKE) $(fuzz_tree) all-fuzzers
all-fuzzers: $(fuzzers)
	@:
# What they find goes into $(BUILD)/corpus; the corpus in the tree is only read. tests/fuzz/run.sh has the rest.
run-fuzz: $(fuzzers)
	@BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) bash tests/fuzz/run.sh $(fuzzers)

torture:
	@sh .ci/deps.sh libs check
	@$(SUBMAKE) tests points-tree
	@$(MAKE) --no-print-directory run-torture
run-torture:
	@BUILD=$(BUILD) STASH_TORTURE=$(TORTURE_MINUTES) JOBS=1 CK_TIMEOUT_MULTIPLIER=$$((2 * $(TORTURE_MINUTES))) \
		LIMIT=$$((120 * $(TORTURE_MINUTES))) bash tests/run.sh $(filter $(BUILD)/tests/e2e_%,$(suites)) \
		$(wildcard tests/e2e_*.sh) tests/check-simulate.sh

# ---- installation ----

version := $(shell sed -n 's/.*"\([0-9]*\.[0-9]*\.[0-9]*\)".*/\1/p' src/base/version.c 2>/dev/null)
BINDIR = $(PREFIX)/bin
SBINDIR = $(PREFIX)/sbin
INCLUDEDIR = $(PREFIX)/include
MANDIR = $(PREFIX)/share/man
EXAMPLEDIR = $(PREFIX)/share/doc/stash/examples
# Pairs MODE:SOURCE:TARGET, for install and uninstall alike.
installed := $(stashd:%=755:%:$(SBINDIR)/stashd) \
	$(foreach t,$(tools),755:$t:$(BINDIR)/$(notdir $t)) \
	644:$(BUILD)/libstash.a:$(LIBDIR)/libstash.a 755:$(BUILD)/libstash.so.0:$(LIBDIR)/libstash.so.0 \
	644:$(BUILD)/stash.pc:$(LIBDIR)/pkgconfig/stash.pc \
	$(foreach h,$(wildcard include/stash/*.h),644:$h:$(INCLUDEDIR)/stash/$(notdir $h)) \
	$(foreach e,$(examples),755:$e:$(MODULEDIR)/$(notdir $e)) \
	$(foreach e,$(example_c) $(program_c) $(wildcard src/examples/*.conf src/examples/*.txt),644:$e:$(EXAMPLEDIR)/$(notdir $e)) \
	$(foreach e,$(wildcard src/examples/*.sh),755:$e:$(EXAMPLEDIR)/$(notdir $e)) \
	$(foreach m,$(wildcard man/*.[1-8]),644:$m:$(MANDIR)/man$(subst .,,$(suffix $m))/$(notdir $m))

$(BUILD)/stash.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'Name: stash' 'Description: Shared-memory state stash with crash-tolerant workers' \
		'Version: $(version)' 'Requires.private: lmdb libbsd libevent_core jansson' \
		'Libs: -L$(LIBDIR) -lstash' 'Libs.private: -pthread -ldl -lm' 'Cflags: -I$(INCLUDEDIR)' >$@

install: all $(BUILD)/stash.pc
	@set -e; for i in $(installed); do \
		target=$(DESTDIR)$${i##*:} source=$${i#*:}; \
		install -D -m $${i%%:*} "$${source%:*}" "$$target"; \
	done
	@ln -sf libstash.so.0 $(DESTDIR)$(LIBDIR)/libstash.so

uninstall:
	rm -f $(foreach i,$(installed),$(DESTDIR)$(lastword $(subst :, ,$i))) $(DESTDIR)$(LIBDIR)/libstash.so
	-rmdir -p --ignore-fail-on-non-empty $(addprefix $(DESTDIR),$(EXAMPLEDIR) $(MODULEDIR) $(INCLUDEDIR)/stash)

clean:
	rm -rf $(BUILD)

help:
	@echo 'all             programs, library and examples, in $(BUILD)/'
	@echo 'demo            the story: a sequence that survives every kill'
	@echo 'check           all tests        check-asan      the same under ASan and UBSan'
	@echo 'check-valgrind  the in-process suites under valgrind'
	@echo 'lint            clang-tidy, clang-format, mandoc, own rules        format  clang-format, in place'
	@echo 'fuzz            each fuzzer for FUZZ_SECONDS=$(FUZZ_SECONDS)      torture  end-to-end tests for TORTURE_MINUTES=$(TORTURE_MINUTES)'
	@echo 'install         PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)        uninstall'
	@echo 'deps            installs what is missing: DEPS="libs check lint valgrind fuzz"'
	@echo 'clean           removes $(BUILD)/'
	@echo 'Variables: CC CFLAGS CPPFLAGS LDFLAGS WERROR=1 V=1 BUILD=$(BUILD)'
