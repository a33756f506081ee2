#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# All scenarios of tests/conformance, on the tree machine and with real processes: each agrees with what OTP did. And
# what is expected has no part in it: without the expect lines the same is printed.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}" "${STASH_TEST_PATIENCE:=1}"
replay=$BUILD/tests/otp-replay
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
fail() {
	echo "$*"
	bad=1
}

mkdir "$dir/stripped"
for file in tests/conformance/*.scn; do
	grep -v '^expect' "$file" >"$dir/stripped/${file##*/}"
done
all=$(find tests/conformance -name '*.scn' | wc -l)
[ "$all" -ge 383 ] || fail "only $all scenarios are there"

# What was seen, without the comments on what differs.
seen() {
	grep -v '^#' "$1" | grep -v ' scenarios, '
}

# agree HOW...: all of them, and nothing is left behind.
agree() {
	"$replay" "$@" tests/conformance/*.scn >"$dir/out" 2>"$dir/err" || fail "otp-replay $*: exit status $?"
	[ "$(tail -n 1 "$dir/out")" = "$all scenarios, 0 differ" ] || fail "otp-replay $*: $(tail -n 1 "$dir/out")"
	cat "$dir/err"
	grep -B 40 '^#' "$dir/out"
	seen "$dir/out" >"$dir/seen"
}

# blind HOW FILES: prints the same of these without their expect lines, and says that they differ.
blind() {
	local how=$1 name
	shift
	"$replay" "$how" "$@" 2>/dev/null >"$dir/out"
	[ $? = 1 ] || fail "otp-replay $how: without the expect lines everything differs, and it doesn't say so"
	seen "$dir/out" >"$dir/blind"
	for name in "$@"; do
		name=$(sed -n 's/^scenario //p' "$name")
		sed -n "/^scenario $name\$/,/^scenario /p" "$dir/seen" | sed '1b;/^scenario /d'
	done >"$dir/those"
	cmp "$dir/those" "$dir/blind" || diff "$dir/those" "$dir/blind" | head -n 40
	cmp -s "$dir/those" "$dir/blind" || fail "otp-replay $how: the expect lines make a difference"
}

begin=$(date +%s%N)
agree --machine
took=$((($(date +%s%N) - begin) / 1000000))
echo "--machine: $took ms"
[ $took -lt $((2000 * STASH_TEST_PATIENCE)) ] || fail "--machine: $took ms are too long"
blind --machine "$dir"/stripped/*.scn

begin=$(date +%s)
agree --processes
echo "--processes: $(($(date +%s) - begin)) s"
# Some of each kind.
# shellcheck disable=SC2046 # words
blind --processes $(find "$dir/stripped" -name '*.scn' | sort | awk 'NR % 8 == 3')
exit $bad
