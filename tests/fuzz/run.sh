#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# run.sh FUZZER...: runs each for FUZZ_SECONDS, JOBS at a time, from its corpus in the tree (corpus/NAME, which is
# only read) and what it found before in $BUILD/corpus. Prints a line for each: runs, coverage, seconds; shows the
# report of one that found something, and leaves its input in $BUILD. The last line is `N passed, M failed`.
#	BUILD         the build directory         FUZZ_SECONDS  60
#	JOBS          2                           MAX_LEN       longest input, 1024
set -u
: "${BUILD:=build/fuzz}" "${FUZZ_SECONDS:=60}" "${JOBS:=2}" "${MAX_LEN:=1024}"
here=$(dirname "$0")
logs=$BUILD/log
mkdir -p "$logs"

# One fuzzer: leaves NAME.log, and NAME.result (0 or 1).
run_one() {
	local fuzzer=$1 name log begin=$SECONDS status=0 seeds found
	name=$(basename "$fuzzer")
	log=$logs/$name.log
	seeds=$here/corpus/${name#fuzz_}
	found=$BUILD/corpus/$name
	mkdir -p "$found"
	[ -d "$seeds" ] || seeds=$found
	# Limits: an input that takes longer makes somebody wait, which nothing here may do.
	"$fuzzer" -max_total_time="$FUZZ_SECONDS" -max_len="$MAX_LEN" -len_control=0 -timeout=30 -rss_limit_mb=3000 \
		-print_final_stats=1 -artifact_prefix="$BUILD/$name-" "$found" "$seeds" >"$log" 2>&1 || status=1
	echo $status >"$logs/$name.result"
	[ $status = 0 ] || tail -60 "$log"
	printf '%-16s %s, %s runs, coverage %s, %s s\n' "$name" "$([ $status = 0 ] && echo ok || echo FAILED)" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
		"$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)" $((SECONDS - begin))
}

begin=$SECONDS
for fuzzer in "$@"; do
	while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
		wait -n
	done
	rm -f "$logs/$(basename "$fuzzer").result"
	run_one "$fuzzer" &
done
wait
passed=0 failed=0
for fuzzer in "$@"; do
	if [ "$(cat "$logs/$(basename "$fuzzer").result" 2>/dev/null)" = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done
echo "fuzzers: $((SECONDS - begin)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
