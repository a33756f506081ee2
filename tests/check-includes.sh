#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# The arrows between the folders: each include line names a folder, and that folder is one that the
# including one may know. <lmdb.h> is for src/store alone. A rule is tried on a wrong line first, so
# that this check is known to be able to fail.
set -u
cd "$(dirname "$0")/.." || exit 2

# What each folder of src may include, itself included.
allowed() {
	case $1 in
	base) echo base ;;
	shm) echo base shm ;;
	store) echo base shm store ;;
	reader) echo base shm store client reader ;; # asks the stash through a client
	client) echo base shm client ;;
	worker) echo base shm client worker ;;
	stash) echo base shm store stash ;;
	supervisor) echo base supervisor ;;
	stashd) echo base shm store reader client worker stash supervisor stashd ;;
	examples) echo examples ;; # one is compiled into another
	esac
}

# Reads lines "src/FOLDER/FILE:NUMBER:#include ..."; prints those that break a rule.
judge() {
	while IFS=: read -r file number line; do
		folder=${file#src/} folder=${folder%%/*}
		case $line in
		*'<lmdb.h>'*) [ "$folder" = store ] || echo "$file:$number: lmdb.h outside src/store" ;;
		*'"'*'"'*)
			header=${line#*\"} header=${header%%\"*}
			case " $(allowed "$folder") " in
			*" ${header%%/*} "*) [ "$header" != "${header#*/}" ] || echo "$file:$number: names no folder: $header" ;;
			*) echo "$file:$number: src/$folder must not include $header" ;;
			esac
			;;
		esac
	done
}

lines() {
	grep -rnE '^[[:space:]]*#[[:space:]]*include' "$@" --include='*.[ch]'
}

for wrong in 'src/base/x.c:1:#include "shm/slot.h"' 'src/client/x.c:1:#include <lmdb.h>' \
	'src/base/x.c:1:#include "error.h"' 'src/supervisor/x.h:1:#include "shm/slot.h"'; do
	[ -n "$(echo "$wrong" | judge)" ] || { echo "the check itself is broken: $wrong"; exit 2; }
done
bad=$(lines src | judge
	lines include | grep '"' | sed 's|$|  (public headers include <stash/...>)|'
	lines tools tests include 2>/dev/null | grep '<lmdb.h>' | grep -v '^tests/test_store\|^tests/preload/\|^tests/testlib_failing\|^tests/e2e_failing')
[ -z "$bad" ] || { echo "$bad"; exit 1; }
