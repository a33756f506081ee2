#!/bin/sh
# SPDX-License-Identifier: ISC
# demo.sh: the story that this project exists for, told by its own programs on a temporary directory.
# Says what it does and what came back, and fails if an answer isn't the expected one. BUILD: the build directory.
set -eu
BUILD=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/stash-demo.XXXXXX")
shm=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$work")/stash-demo.XXXXXX")
RUNTIME_DIRECTORY=$shm STASH_DIR=$work/store
export RUNTIME_DIRECTORY STASH_DIR
keeper=
log=$work/log

cleanup() {
	status=$?
	trap - EXIT INT TERM
	if [ -n "$keeper" ] && kill -0 "$keeper" 2>/dev/null; then
		kill -TERM "$keeper" 2>/dev/null || true
		wait "$keeper" 2>/dev/null || true
	fi
	[ "$status" = 0 ] || { echo; echo "The demo failed. The log of stashd:"; cat "$log" 2>/dev/null; } >&2
	rm -rf "$work" "$shm"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n%s\n' "$*"; }

die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# start CONFIG: stashd in the background, until it answers.
start() {
	: >"$log"
	"$BUILD/stashd" -f "$1" >>"$log" 2>&1 &
	keeper=$!
	tries=0
	until "$BUILD/stashctl" -t 10 wait sequence >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 1000 ] && kill -0 "$keeper" 2>/dev/null || die "stashd didn't come up"
	done
}

stop() {
	"$BUILD/stashctl" shutdown
	wait "$keeper"
	keeper=
}

# expect NUMBER: the next number of the sequence must be that one.
expect() {
	got=$("$BUILD/stashctl" -t 30 call sequence next_number)
	printf '  $ stashctl call sequence next_number\n  %s\n' "$got"
	[ "$got" = "$1" ] || die "next_number gave $got, expected $1"
}

# crash: the cast that is no number; waits until the log tells of it.
crash() {
	printf '  $ stashctl cast sequence increment_number cat\n'
	"$BUILD/stashctl" cast sequence increment_number cat
	tries=0
	until grep -q "$1" "$log"; do
		tries=$((tries + 1))
		[ "$tries" -lt 3000 ] || die "the crash report never came"
		"$BUILD/stashctl" ping >/dev/null
	done
	sed -n '/sequence/s/^/  | /p' "$log" | tail -n "${2:-8}"
}

# pid_of WHO: worker, stash, supervisor or keeper.
pid_of() {
	case $1 in
	worker) "$BUILD/stash-inspect" --json whereis sequence ;;
	stash) "$BUILD/stash-inspect" --json stat ;;
	supervisor) "$BUILD/stashctl" --json ping ;;
	keeper) echo "\"pid\": $keeper" ;;
	esac | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1
}

murder() {
	victim=$(pid_of "$1")
	[ -n "$victim" ] || die "found no pid of the $1"
	echo "  \$ kill -9 $victim    # the $1"
	kill -9 "$victim"
}

cat >"$work/naive.conf" <<END
tree = { intensity = 1000; period = 1; children = (
  { id = "sequence"; module = "$BUILD/examples/sequence.so"; args = ["123"]; persist = false; }
); };
END
sed 's/persist = false; //' "$work/naive.conf" >"$work/stash.conf"
sed 's/sequence\.so/book.so/' "$work/stash.conf" >"$work/book.conf"

say "1. The server without a stash: persist = false. A crash takes its state along."
start "$work/naive.conf"
expect 123
expect 124
crash 'wants a number'
expect 123
stop

say "2. The book's way: the state goes to the stash when the server terminates. That survives the crash, but no kill -9."
start "$work/book.conf"
expect 123
crash 'the next number is 124' 2
expect 124
murder worker
expect 124
stop
rm -rf "$STASH_DIR"

say "3. The same server, its state in the stash after each message. The crash costs that message and nothing else."
start "$work/stash.conf"
expect 123
expect 124
expect 125
crash 'the next number is 126' 12
expect 126
expect 127

say "4. kill -9 of the worker, of the stash process, of the supervisor: the sequence goes on."
next=128
for who in worker stash supervisor; do
	murder $who
	expect $next
	next=$((next + 1))
done

say "5. kill -9 of all of them at once, and a new start."
all=
for who in keeper supervisor stash worker; do
	all="$all $(pid_of $who)"
done
echo "  \$ kill -9$all"
# shellcheck disable=SC2086 # several pids
kill -9 $all
wait "$keeper" 2>/dev/null || true
start "$work/stash.conf"
expect $next
stop

say "No gap, no repeat: 123 to $next, over eight deaths."
