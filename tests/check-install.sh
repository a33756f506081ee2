#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# `make install` into a directory of its own: a program is built from the installed headers and library by
# pkg-config alone, and `make uninstall` leaves no file.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}" "${CC:=cc}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
	echo "$*"
	exit 1
}

# The prefix that the tree was built for, and `-o all`: nothing is built anew while other tests use it.
prefix=$(sed 's|/lib/stash/modules$||' "$BUILD/moduledir") || fail "no $BUILD/moduledir"
usr=$dir$prefix

make --no-print-directory -o all BUILD="$BUILD" PREFIX="$prefix" DESTDIR="$dir" install || fail "make install failed"
for file in sbin/stashd bin/stashctl bin/stash-inspect bin/stash-bench lib/libstash.so lib/libstash.so.0 \
	lib/libstash.a lib/stash/modules/sequence.so share/doc/stash/examples/sequence.c include/stash/stash.h share/man/man7/stash.7; do
	[ -e "$usr/$file" ] || fail "not installed: $file"
done

cat >"$dir/program.c" <<'EOT'
#include <stdio.h>
#include <stash/stash.h>
int
main(void)
{
	puts(stash_version());
	return 0;
}
EOT
export PKG_CONFIG_PATH=$usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dir
version=$(pkg-config --modversion stash) || fail "stash.pc can't be read"
sanitize=
! nm -D "$usr/lib/libstash.so.0" | grep -q __asan || sanitize=-fsanitize=address,undefined
# shellcheck disable=SC2046,SC2086 # words
"$CC" -std=c11 $sanitize $(pkg-config --cflags stash) -o "$dir/program" "$dir/program.c" $(pkg-config --libs stash) ||
	fail "a program doesn't build"
said=$(LD_LIBRARY_PATH=$usr/lib "$dir/program") || fail "a program doesn't run"
[ "$said" = "$version" ] || fail "stash.pc says version $version, the library $said"
"$usr/sbin/stashd" -V || fail "stashd -V failed"

rm "$dir/program" "$dir/program.c"
make --no-print-directory BUILD="$BUILD" PREFIX="$prefix" DESTDIR="$dir" uninstall >/dev/null || fail "make uninstall failed"
left=$(find "$dir" ! -type d)
[ -z "$left" ] || fail "uninstall leaves:" "$left"
