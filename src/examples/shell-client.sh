#!/bin/sh
# SPDX-License-Identifier: ISC
#
# shell-client: a client that is a shell script. It takes numbers from the
# sequence (sequence.conf), and none of them twice, whoever is killed meanwhile.
#
#	shell-client.sh [HOW-MANY]	5 if that isn't said

: "${STASHCTL:=stashctl}"
left=${1:-5}

# The exit status tells whether it may be asked again: stashctl(1) has the table.
while [ "$left" -gt 0 ]; do
	number=$("$STASHCTL" call sequence next_number)
	case $? in
	0) echo "my number is $number" && left=$((left - 1)) ;;
	70) echo "my call has crashed the sequence" >&2 && exit 1 ;;
	75) echo "perhaps a number is lost on its way to me: asking for another" >&2 ;;
	*) exit 1 ;;
	esac
done
"$STASHCTL" cast sequence increment_number 10
