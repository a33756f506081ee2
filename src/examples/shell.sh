#!/bin/sh
# SPDX-License-Identifier: ISC
#
# shell: a worker that is a shell script. It counts, and after kill -9 it goes on
# where it was. It isn't linked with libstash: it keeps its state by stashctl,
# which is looked for in PATH unless STASHCTL says where it is.
#
#	args			seconds between two counts; 1 if there are none
#
# STASH_DIR and STASH_NAME are set by stashd. To have the next sibling wait until
# this one is ready, say notify = "sd_notify", and `systemd-notify --ready' in here.

: "${STASHCTL:=stashctl}"

# What the predecessor has put last; 68: nothing yet.
count=$("$STASHCTL" get "$STASH_NAME")
case $? in
0) ;;
68) count=0 ;;
*) exit 1 ;;
esac

while sleep "${1:-1}"; do
	# Only what has been put counts. If that fails, whether it was put or not: the next incarnation reads it.
	"$STASHCTL" put "$STASH_NAME" "$((count + 1))" || exit 1
	count=$((count + 1))
	echo "counted to $count"
done
