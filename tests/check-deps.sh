#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# .ci/deps.sh against made-up systems: programs of the same names come first in PATH and note that they
# were called. Nothing of this machine's packages is asked or changed.
set -u
cd "$(dirname "$0")/.." || exit 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

# stub NAME BODY: a program that notes its words in $dir/calls.
stub() {
	printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$dir" "$2" >"$dir/bin/$1"
	chmod +x "$dir/bin/$1"
}
# system USER SUDO INSTALLED: dpkg-query knows the packages that match the pattern INSTALLED.
system() {
	rm -rf "${dir:?}/bin" "$dir/calls"
	mkdir "$dir/bin"
	touch "$dir/calls"
	stub id "echo $1"
	stub sudo "[ $2 = yes ] && shift && exec \"\$@\""
	stub dpkg-query "case \$4 in $3) printf 'ii ';; *) exit 1;; esac"
	stub apt-get "exit 0"
	for program in sh env tr true; do ln -s "$(type -P $program)" "$dir/bin/$program"; done
}
run() {
	output=$(PATH=$dir/bin sh .ci/deps.sh "$@" 2>&1 >/dev/null)
	status=$?
}
expect() {
	[ "$1" = "$2" ] || { echo "$case: expected '$2', not '$1'; output: $output"; bad=1; }
}
calls() {
	grep -c "^$1" "$dir/calls"
}

case="nothing missing"
system 1000 no '*' && run libs check lint valgrind fuzz
expect "$status" 0
expect "$(calls apt-get)$(calls sudo)" 00
expect "$output" ""

case="missing, no right to install"
system 1000 no 'lib*' && run libs check
expect "$status" 1
expect "$(calls apt-get)" 0
expect "$output" "deps: missing: pkg-config check; install with: sudo apt-get install -y --no-install-recommends pkg-config check"

case="missing, by sudo"
system 1000 yes 'lib*|pkgconf' && run libs check
expect "$status" 0
expect "$(grep '^apt-get' "$dir/calls" | tr '\n' ';')" "apt-get update -qq;apt-get install -y --no-install-recommends check;"

case="missing, as root"
system 0 no 'check' && run libs check
expect "$status" 0
expect "$(calls sudo)" 0
expect "$(calls 'apt-get update')" 1
expect "$(calls 'apt-get install -y --no-install-recommends pkg-config libbsd-dev')" 1

case="apt-get fails"
system 0 no 'lib*' && stub apt-get 'exit 100' && run libs
expect "$status" 1

case="another system, all there"
system 1000 no x && rm "$dir/bin/dpkg-query" && stub pkg-config 'exit 0' && run libs check
expect "$status" 0

case="another system, one missing"
# shellcheck disable=SC2016 # for the stub to expand
system 1000 no x && rm "$dir/bin/dpkg-query" && stub pkg-config '[ "$2" != lmdb ]' && run libs check
expect "$status" 1
expect "$output" "deps: missing: lmdb; please install the development packages that hold them"

case="unknown group"
system 0 no '*' && run colours
expect "$status" 1
exit $bad
