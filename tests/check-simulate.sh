#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# The tree machine in random histories, judged by an oracle (tests/simulate): none breaks a rule; the recorded
# scenarios of OTP break none either, nor do those that once did. And the simulator is known to be able to find
# something: machines with one wrong line each are found out, and what it shows is a small scenario that otp-replay
# accepts. With STASH_TORTURE=MINUTES it goes on for so long, each time with other seeds.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}" "${STASH_TEST_PATIENCE:=1}" "${STASH_TORTURE:=0}"
simulate=$BUILD/tests/tree-simulate
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
fail() {
	echo "$*"
	bad=1
}

# histories ARGUMENT...: shows what was found, which is kept beside the logs.
histories() {
	"$simulate" -o "$dir/found.scn" "$@" || {
		fail "a rule was broken; as a scenario:"
		cat "$dir/found.scn"
		cp "$dir/found.scn" "$BUILD/tests/"
	}
}

"$simulate" tests/conformance/*.scn tests/simulate/found/*.scn || fail "scenarios break rules"
if [ "$STASH_TORTURE" -gt 0 ]; then
	end=$(($(date +%s) + 60 * STASH_TORTURE))
	while [ "$bad" = 0 ] && [ "$(date +%s)" -lt "$end" ]; do
		histories -n 500000 -s "$(date +%s%N)"
	done
	exit $bad
fi
histories -n $((100000 / (STASH_TEST_PATIENCE * STASH_TEST_PATIENCE))) -s 1

# ---- wrong machines ----

# The compiler with its flags, as this tree was built.
read -ra compiler <"$BUILD/flags"
read -ra libs < <(pkg-config --libs lmdb libbsd libevent_core jansson)
objects=("$BUILD"/obj/tests/simulate/*.o)
for name in world paths steps scenario; do
	objects+=("$BUILD/obj/tests/replay/$name.o")
done

# mutant NAME FILE SED: FILE of the machine with the one line that SED changes.
mutant() {
	local name=$1 file=$2 out=$dir/$1 lines
	sed -e "$3" "src/supervisor/$file" >"$out.c"
	lines=$(diff "src/supervisor/$file" "$out.c" | grep -c '^>')
	[ "$lines" = 1 ] || { echo "mutant $name: $lines lines of $file are changed, not 1" && return 1; }
	if ! "${compiler[@]}" -Wno-error -w -c -o "$out.o" "$out.c" ||
		! "${compiler[@]}" -o "$out" "$out.o" "${objects[@]}" "$BUILD/libstash.a" "${libs[@]}" -pthread -ldl -lm; then
		echo "mutant $name can't be built"
		return 1
	fi
	ASAN_OPTIONS=detect_leaks=0 "$out" -n 30000 -s 1 -o "$out.scn" >"$out.log" 2>&1
	[ $? = 1 ] || { echo "mutant $name is not found out" && return 1; }
	lines=$(grep -vc '^expect \|^#' "$out.scn")
	printf 'mutant %-24s %2d lines  %s\n' "$name" "$lines" "$(tail -n 1 "$out.scn")"
	if [ "$lines" -ge 12 ]; then
		cat "$out.scn"
		return 1
	fi
	"$BUILD/tests/otp-replay" --machine "$out.scn" >"$out.log" 2>&1
	[ $? -le 1 ] || { echo "mutant $name: otp-replay doesn't accept the scenario" && return 1; }
}

jobs=()
run() {
	mutant "$@" &
	jobs+=($!)
	[ ${#jobs[@]} -lt 2 ] || { wait "${jobs[0]}" || bad=1; jobs=("${jobs[1]}"); }
}

run intensity_plus_one tree.c 's/h->total <= n->spec->intensity/h->total <= n->spec->intensity + 1/'
run window_never_ends tree.c 's/now - h->run\[old\].at > period/now < 0/'
run end_from_the_first stop.c '/SUP_OP_END, sup_is_simple/s/TAILQ_LAST([^)]*)/TAILQ_FIRST(\&n->sub->children)/'
run answer_lost request.c '/^terminate_over/,/^}/s/sup_answer(sup, ask, 0, NULL, NULL)/sup_ask_free(ask)/'
run queue_not_answered stop.c 's/sup_answer(sup, msg->ask, STASH_E_DOWN, "noproc", NULL)/sup_ask_free(msg->ask)/'
run killed_is_no_failure restart.c \
	's/(c->last == STASH_REASON_CRASH || c->last == STASH_REASON_KILLED)/c->last == STASH_REASON_CRASH/'
run brutal_is_asked stop.c 's/c->spec->shutdown_ms == STASH_BRUTAL_KILL/c->spec->shutdown_ms == STASH_INFINITY/'
run killed_too_early stop.c 's/(int64_t)c->spec->shutdown_ms \* 1000000/(int64_t)c->spec->shutdown_ms * 1000/'
run group_from_the_first restart.c '/^begin_group_start/,/^}/s/op->pivot != NULL ? op->pivot : //'
run no_second_attempt restart.c '/^sup_restart_step/,/^}/s/outcome == SUP_OUT_FAILED/outcome == SUP_OUT_ENDED/'
run auto_shutdown_early restart.c 's/ && any_significant_left(n))/ \&\& n == NULL)/'
run killed_leaves_one stop.c 's/if (n->sub->alive > 0)/if (n->sub->alive > 1)/'
run budget_not_restored restore_node.c 's/s->history.total += s->history.run\[i\].count/s->history.total += 0/'
run exit_not_in_rows save.c 's/n->state == SUP_EXITED ? (int64_t)n->exit_seq : 0/0/'
for job in "${jobs[@]}"; do
	wait "$job" || bad=1
done
exit $bad
