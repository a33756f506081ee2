#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# What the built files show to the world: libstash.so exports what src/libstash.map lists, no more and no
# less; stashd exports the same for its modules; and nothing of the crash points is in a normal build,
# while the points build has them (so that this check is known to be able to fail).
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}" "${POINTS:=$BUILD/points}"
bad=0
fail() {
	echo "$*"
	bad=1
}

listed() {
	sed -n '/global:/,/local:/{s/.*global://; s/local:.*//; s:/\*.*\*/::; p}' src/libstash.map |
		tr -s ' ;\t' '\n' | grep . | sort
}
exported() {
	nm -D --defined-only "$1" | awk '{ sub(/@.*/, "", $3); print $3 }' | grep -v '^LIBSTASH\|^STASH_' | sort
}

[ -n "$(listed)" ] || fail "src/libstash.map lists nothing"
difference=$(diff <(listed) <(exported "$BUILD/libstash.so.0")) ||
	fail "libstash.so.0 (>) and src/libstash.map (<) differ:" "$difference"
missing=$(comm -23 <(listed) <(exported "$BUILD/stashd"))
[ -z "$missing" ] || fail "stashd does not export to its modules:" "$missing"
declared=$(comm -23 <(listed) <(grep -ohE '\bstash_[a-z0-9_]+' include/stash/*.h | sort -u))
[ -z "$declared" ] || fail "listed in libstash.map, but in no public header:" "$declared"

# One name a line, in quotes as the macro takes them.
points=$(grep -rohE '\bSTASH_POINT\("[^"]*"\)' src --include='*.[ch]' | sed 's/[^"]*"//; s/".*//' | sort -u)
[ -n "$points" ] || fail "no STASH_POINT in src"
# At the end of what strings prints: bytes before a string may happen to be letters.
any=$(paste -sd'|' <<<"$points")
for file in stashd stashctl stash-inspect stash-bench libstash.so.0 libstash.a; do
	here=$(strings -a "$BUILD/$file")
	! grep -q 'STASH_CRASH' <<<"$here" || fail "$BUILD/$file speaks of STASH_CRASH"
	found=$(grep -E "($any)\$" <<<"$here")
	[ -z "$found" ] || fail "$BUILD/$file has strings of crash points:" "$found"
	! nm -a "$BUILD/$file" 2>/dev/null | grep -q 'stash__point' || fail "$BUILD/$file has stash__point"
done
there=$(strings -a "$POINTS/stashd")
for point in $points; do
	grep -q "$point\$" <<<"$there" || fail "$POINTS/stashd lacks the crash point $point"
done
exit $bad
