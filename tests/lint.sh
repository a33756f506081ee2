#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# What can be said of the sources without running them. Each part prints what it found and goes on to the
# next; the last line is `N passed, M failed`. CPPFLAGS comes from the Makefile.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${CPPFLAGS:=-D_GNU_SOURCE -Iinclude -Isrc}"
passed=0 failed=0

# The sources of the tree, not what is built; public headers are set by hand (see below).
sources() {
	find src tools tests -name "$1" 2>/dev/null | sort
}
scripts() {
	find .ci tests -name '*.sh' | sort
	echo .ci/run
}

part() {
	local found status
	found=$("$@" 2>&1)
	status=$?
	if [ $status = 0 ] && [ -z "$found" ]; then
		passed=$((passed + 1))
		echo "ok    $1"
	else
		failed=$((failed + 1))
		printf 'FAIL  %s\n%s\n' "$1" "$found"
	fi
}

# Not the public headers: their comments stand in columns, which clang-format 14 can't keep.
format() {
	sources '*.[ch]' | xargs -r clang-format --dry-run --Werror
}

tidy() {
	# shellcheck disable=SC2086 # words
	sources '*.c' | grep -v '^src/base/error.c$' | xargs -r -P "$(nproc)" -I '{}' \
		clang-tidy --quiet '{}' -- -std=c11 $CPPFLAGS -Itools -Itests -include tests/analyzer.h 2>/dev/null
	# shellcheck disable=SC2086 # words; the one that analyzer.h speaks of
	clang-tidy --quiet src/base/error.c -- -std=c11 $CPPFLAGS 2>/dev/null
}

# Each public header can be included alone, by a strict compiler.
headers() {
	local header
	for header in include/stash/*.h; do
		echo "#include <stash/${header##*/}>" |
			${CC:-cc} -std=c11 -pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c - || echo "$header"
	done
}

# Pages of a tree that isn't installed can't be found, nor those of packages that aren't.
manual() {
	find man -name '*.[1-8]' | sort | xargs -r mandoc -Tlint -W style 2>&1 |
		grep -v 'STYLE: referenced manual not found\|outdated mandoc.db'
	return 0 # what is printed counts
}

includes() {
	bash tests/check-includes.sh
}

shell() {
	scripts | xargs shellcheck -S warning
}

long_lines() {
	{ sources '*.[ch]'; find include -name '*.h'; } | while read -r file; do
		expand "$file" | awk -v file="$file" 'length($0) > 120 { print file ":" NR ": " length($0) " columns" }'
	done
}

long_files() {
	{ sources '*.[ch]'; find include -name '*.h'; } | xargs wc -l | awk '$2 != "total" && $1 > 600 { print $2 ": " $1 " lines" }'
}

licence() {
	{ sources '*.[ch]'; find include -name '*.h'; scripts; echo Makefile; } | while read -r file; do
		head -n 2 "$file" | grep -q 'SPDX-License-Identifier: ISC' || echo "$file: no SPDX line"
	done
}

unwanted_calls() {
	! grep -rnE '\b(strcpy|strcat|sprintf|vsprintf|gets|system|tmpnam|mktemp|alloca|signal|strtok)\(' \
		src tools include --include='*.[ch]'
}

unfinished_marks() {
	! grep -rnE 'TODO|FIXME|\bXXX\b|HACK|not implemented|unimplemented' src include tools man
}

sleeping_tests() {
	! grep -rnE '(^|[^_[:alnum:]])(sleep|usleep|nanosleep)\(' tests --include='*.c'
}

for name in format tidy headers manual includes shell long_lines long_files licence unwanted_calls \
	unfinished_marks sleeping_tests; do
	part $name
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
