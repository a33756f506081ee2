#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Examples in the manual and the README are compiled as a reader would do it, so that none of them is ever
# wrong. In a page it is the literal block behind a comment `.\" compiles', `.\" compiles: module' or
# `.\" compiles: program'; in README.md a block ```c. A module is made as a user makes one, and must have
# stash_module; a program is linked with libstash.so; those without a word are compiled only. README's first
# worker and its config are put together too, and the session that it shows is done.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}" "${CC:=cc}"
BUILD=$(realpath "$BUILD") || exit 2
dir=$(mktemp -d)
shm=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$dir")/stash-examples.XXXXXX")
trap 'rm -rf "$dir" "$shm"' EXIT
bad=0
count=0
strict=(-std=c11 -D_GNU_SOURCE -Iinclude -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -O1)
sanitize=()
! nm -D "$BUILD/libstash.so" 2>/dev/null | grep -q __asan || sanitize=("-fsanitize=address,undefined")

fail() {
	echo "$*"
	bad=1
}

# of_page PAGE: each marked block into $dir/NAME-N.KIND.c, mdoc's escapes undone.
of_page() {
	awk -v base="$dir/$(basename "$1")" '
		/^\.\\" compiles/ { kind = $0; sub(/^\.\\" compiles:? */, "", kind); if (kind == "") kind = "part"; next }
		kind != "" && /^\.Bd / { n++; file = base "-" n "." kind ".c"; kind = ""; printf "" >file; next }
		/^\.Ed/ { file = ""; next }
		file != "" { gsub(/\\e/, "\001"); gsub(/\\\(dq/, "\""); gsub(/\\&/, ""); gsub(/\\-/, "-"); gsub(/\001/, "\\"); print >file }
		END { if (kind != "") { print FILENAME ": a mark without a block behind it" >"/dev/stderr"; exit 1 } }' "$1" ||
		fail "$1: can't be read"
}

# of_readme WORD: what stands in the first block ```WORD.
of_readme() {
	awk -v word="$1" '$0 == "```" word && !done { on = 1; next } on && $0 == "```" { on = 0; done = 1 } on' README.md
}

compile() {
	local file=$1 out=${1%.c} words
	count=$((count + 1))
	case $file in
	*.module.c)
		"$CC" "${strict[@]}" "${sanitize[@]}" -shared -fPIC -o "$out.so" "$file" || { fail "$file: isn't a module"; return; }
		words=$(nm -D --defined-only "$out.so")
		grep -q ' stash_module$' <<<"$words" || fail "$file: has no stash_module"
		;;
	*.program.c)
		"$CC" "${strict[@]}" "${sanitize[@]}" -o "$out" "$file" "$BUILD/libstash.so" "-Wl,-rpath,$BUILD" || fail "$file: isn't a program"
		;;
	*) "$CC" "${strict[@]}" -c -o "$out.o" "$file" || fail "$file: doesn't compile" ;;
	esac
}

for page in man/*.[1-8]; do
	of_page "$page"
done
of_readme c >"$dir/readme.module.c"
[ -s "$dir/readme.module.c" ] || fail "README.md has no \`\`\`c"
for file in "$dir"/*.c; do
	compile "$file"
done
[ "$count" -ge 10 ] || fail "only $count examples found: are they still marked?"

# What can be tried stands in the README.
for file in src/examples/*; do
	grep -qF "\`${file##*/}\`" README.md || fail "README.md doesn't name $file"
done

# What the library lets out has a page.
while read -r name; do
	grep -q "^\.Nm $name\( ,\)\?$" man/*.3 || fail "$name is in no page of the manual"
done < <(sed -n '/global:/,/local:/s/^[[:space:]]*\(stash_[a-z0-9_]*\);.*/\1/p' src/libstash.map)

# The mark and the escapes are what this check rests on: a wrong example must be found.
printf '%s\n' '.\" compiles' '.Bd -literal' 'int main(void) { return "\en"; }' '.Ed' >"$dir/wrong.3"
of_page "$dir/wrong.3"
! "$CC" "${strict[@]}" -c -o "$dir/wrong.o" "$dir/wrong.3-1.part.c" 2>/dev/null || fail "the check itself is broken"

# What README.md shows of a session is done, in a directory of its own; what it says comes back has to.
session() {
	local line word said
	while IFS= read -r line; do
		case $line in
		'$ '*'&') eval "${line#\$ }" </dev/null ;;
		'$ '*)
			[ -z "${said:-}" ] || { echo "README.md doesn't show: $said"; return 1; }
			said=$(eval "${line#\$ }" </dev/null) || { echo "README.md: failed: ${line#\$ }"; return 1; }
			word=${line#\$ }
			[[ $word != export* ]] || eval "$word"
			;;
		*)
			[ "$line" = "${said:-}" ] || { echo "README.md: $word: '${said:-}', not '$line'"; return 1; }
			said=
			;;
		esac
	done
	wait
}

mkdir "$dir/readme"
ln -s "$PWD/include" "$BUILD" "$dir/readme"
[ "$(basename "$BUILD")" = build ] || ln -s "$BUILD" "$dir/readme/build"
of_readme c >"$dir/readme/sequence.c"
of_readme conf >"$dir/readme/sequence.conf"
of_readme console | sed "s|/var/tmp/numbers|$dir/readme/store|; s|^\\$ cc |$ $CC |" >"$dir/readme/console"
[ -s "$dir/readme/console" ] || fail "README.md has no \`\`\`console"
(
	cd "$dir/readme" || exit 1
	export RUNTIME_DIRECTORY=$shm
	session <console || { sed 's/^/  stashd.log: /' stashd.log; stashctl shutdown; exit 1; }
) || bad=1
exit $bad
