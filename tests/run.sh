#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# run.sh PROGRAM...: runs test programs (Check programs, or scripts: *.sh), JOBS at a time, each for
# at most LIMIT seconds under tests/guard.c; keeps each log in $BUILD/tests/log and shows it if the
# program failed. The last line is `N passed, M failed`: the tests of a Check program count one by one, a
# script counts as one. Exit status 1 on any failure.
#	BUILD     the build directory            POINTS   that of the build with crash points
#	JOBS      2                              LIMIT    600
#	WRAP      words before each program      PATIENCE how much slower this run is than a plain one
set -u
: "${BUILD:=build}" "${JOBS:=2}" "${LIMIT:=600}" "${PATIENCE:=1}" "${WRAP:=}"
: "${POINTS:=$BUILD/points}"
BUILD=$(realpath -m "$BUILD") POINTS=$(realpath -m "$POINTS")
logs=$BUILD/tests/log

# Sums up Check's lines ("83%: Checks: 6, Failures: 1, Errors: 0"): total and failed.
count_checks() {
	sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$1" |
		awk '{ total += $1; failed += $2 + $3 } END { print total + 0, failed + 0 }'
}

# Sanitizers and valgrind write into files of their own: a report of a process whose death nobody minds
# must not pass. Valgrind's words on system calls that it doesn't know (--PID--) are none.
has_reports() {
	local found
	found=$(grep -lE '^==|runtime error' "$logs/$1".san.* 2>/dev/null) || return 1
	# shellcheck disable=SC2086 # several files
	cat $found >>"$logs/$1.log"
}

# Runs one program; leaves NAME.log and NAME.result (passed, failed), prints one line.
run_one() {
	local program=$1 name log status total failed begin took words
	name=$(basename "$program")
	log=$logs/$name.log
	rm -f "$logs/$name".*
	export ASAN_OPTIONS="detect_leaks=1:abort_on_error=1:log_path=$logs/$name.san:${ASAN_OPTIONS:-}"
	export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:log_path=$logs/$name.san:${UBSAN_OPTIONS:-}"
	export VALGRIND_OPTS="--log-file=$logs/$name.san.%p ${VALGRIND_OPTS:-}"
	case $program in
	*.sh) words="bash $program" ;;
	*) words="$WRAP $program" ;;
	esac
	begin=$(date +%s%N)
	# shellcheck disable=SC2086 # words
	"$BUILD/tests/guard" "$LIMIT" $words >"$log" 2>&1 </dev/null
	status=$?
	took=$((($(date +%s%N) - begin) / 1000000))
	read -r total failed < <(count_checks "$log")
	if [ "${program%.sh}" != "$program" ]; then
		total=1 failed=$((status != 0))
	elif [ "$total" = 0 ]; then
		echo "run.sh: no test ran to its end" >>"$log"
		total=1 failed=1
	elif [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		echo "run.sh: all tests passed, but the program ended with status $status" >>"$log"
		total=$((total + 1)) failed=1
	fi
	if has_reports "$name"; then
		echo "run.sh: there are reports (above)" >>"$log"
		total=$((total + 1)) failed=$((failed + 1))
	fi
	echo "$((total - failed)) $failed" >"$logs/$name.result"
	printf '%-4s  %-32s %5d tests  %4d.%03d s\n' "$([ "$failed" = 0 ] && echo ok || echo FAIL)" "$name" \
		"$total" $((took / 1000)) $((took % 1000))
}

if [ "${1:-}" = --one ]; then
	run_one "$2"
	exit 0
fi

[ $# -gt 0 ] || { echo "usage: run.sh PROGRAM..." >&2; exit 1; }
mkdir -p "$logs"
rm -f "$logs"/*.result
unset STASH_DIR STASH_CRASH STASH_CRASH_DIR STASH_WORKER_FD NOTIFY_SOCKET
export BUILD POINTS LIMIT WRAP LC_ALL=C.UTF-8 STASH_TEST_PATIENCE=$PATIENCE
export CK_DEFAULT_TIMEOUT=${CK_DEFAULT_TIMEOUT:-20} CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-$PATIENCE}
printf '%s\0' "$@" | xargs -0 -r -n 1 -P "$JOBS" bash "$0" --one
passed=0 failed=0
for program in "$@"; do
	name=$(basename "$program")
	p=0 f=1
	[ ! -e "$logs/$name.result" ] || read -r p f <"$logs/$name.result"
	passed=$((passed + p)) failed=$((failed + f))
	[ "$f" = 0 ] || {
		printf '\n---- %s (%s)\n' "$name" "$logs/$name.log"
		tail -n 200 "$logs/$name.log"
	}
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
