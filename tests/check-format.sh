#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# What stash-format(5) says of every byte, compared with the code. The tables are marked by comments:
#	.\" numbers		rows NAME, VALUE: constants
#	.\" struct NAME		rows offset, bytes, member, or `-' for padding: without a gap, up to the end
#	.\" enum NAME		rows number, enumerator; none of src/shm/wire.h may be missing
#	.\" payload NAME	rows offset, bytes, field: found in what src/store writes
#	.\" items NAME		rows type, item: found in what src/shm packs
# One C program, made of the page, asks the compiler and the library.
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}" "${CC:=cc}"
page=${1:-man/stash-format.5}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
fail() {
	echo "$*"
	bad=1
}

# Lines "KIND NAME CELL CELL CELL" of all marked tables; cells are the words between Ta.
rows() {
	awk '/^\.\\" (numbers|struct|enum|payload|items)/ { kind = $2; name = $3; if (name == "") name = "-"; next }
		/^\.El/ { if (kind != "") print "end", kind, name; kind = "" }
		kind != "" && /^\.It / && !/^\.It Sy/ { n = split(substr($0, 5), cell, / Ta ?/); split(cell[3], third, " ")
			print kind, name, cell[1], cell[2], (n > 2 ? third[1] : "") }' "$page"
}

program() {
	cat <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "shm/fields.h"
#include "shm/format.h"
#include "shm/record.h"
#include "shm/rows.h"
#include "shm/wire.h"
#include "store/row.h"
#include "store/store.h"
static int bad;
static void
same(const char *what, unsigned long long page, unsigned long long code)
{
	if (page != code)
		bad = printf("%s: the page says %llu, the code %llu\n", what, page, code);
}
/* A number of that many bytes that occurs nowhere else. */
static uint64_t
pattern(unsigned field, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)(0x11 * field + i) % 251 << 8 * i;
	return value;
}
static void
find(const char *what, const unsigned char *at, unsigned offset, unsigned bytes, uint64_t value)
{
	uint64_t found = 0;
	for (unsigned i = 0; i < bytes; i++)
		found |= (uint64_t)at[offset + i] << 8 * i;
	same(what, found, value);
}
static void
item(const char *what, const char *type, struct stash_view *view, const char *text, int64_t number)
{
	static const unsigned char boot[16] = "0123456789abcdef";
	const void *bytes;
	if (strcmp(type, "text") == 0 && strcmp(stash_view_text(view), text) != 0)
		bad = printf("%s: isn't this text\n", what);
	else if (strcmp(type, "int") == 0 && stash_view_int(view) != number)
		bad = printf("%s: isn't this number\n", what);
	else if (strcmp(type, "bare") == 0 && ((bytes = stash__view_take(view, 16)) == NULL || memcmp(bytes, boot, 16) != 0))
		bad = printf("%s: isn't there\n", what);
}
END
	members
	echo 'int main(void) { numbers(); structs(); payloads(); items(); return bad != 0; }'
}

# What the rows become: four functions. A field's pattern is its place in the table.
members() {
	rows >"$dir/rows"
	echo 'static void numbers(void) {'
	awk '$1 == "numbers" { printf "same(\"%s\", %sull, (unsigned long long)%s);\n", $3, $4, $3 }
		$1 == "enum" { printf "same(\"%s\", %sull, (unsigned long long)%s);\n", $4, $3, $4 }' "$dir/rows"
	echo '} static void structs(void) {'
	awk '$1 == "struct" {
			if ($3 != end) printf "bad = puts(\"%s.%s: a gap before it, or an overlap\");\n", $2, $5
			end = $3 + $4
			if ($5 != "-") {
				printf "same(\"offset of %s.%s\", %d, offsetof(struct %s, %s));\n", $2, $5, $3, $2, $5
				printf "same(\"size of %s.%s\", %d, sizeof(((struct %s *)0)->%s));\n", $2, $5, $4, $2, $5
			} }
		$1 == "end" && $2 == "struct" { printf "same(\"size of %s\", %d, sizeof(struct %s));\n", $3, end, $3 }
		$1 == "end" { end = 0 }' "$dir/rows"
	echo '} static void payloads(void) {'
	cat <<'END'
	static unsigned char row[STORE_ROW_MAX], before[16];
	unsigned char *at = row + STORE_ROW_HEAD;
	struct store_row opened;
	struct store_state state = { .layout = "lay", .data = "image", .len = 5, .extra = "", .extra_len = 0 };
	struct store_cursor cursor = { .flags = 0 };
	size_t n;
END
	awk '$1 == "payload" && $2 == "value" { offset[$5] = $3 }
		END { print "store_value_seal(row, STORE_DB_STATE, \"key\", 3, pattern(7, 8), 40);"
			printf "find(\"value.seq\", row, %d, 8, pattern(7, 8));\n", offset["seq"]
			printf "same(\"a value'"'"'s head\", %d, STORE_ROW_HEAD);\n", offset["seq"] + 8
			print "if (store_value_open(STORE_DB_STATE, \"key\", 3, row, STORE_ROW_HEAD + 40, &opened) != 0)"
			print "	bad = puts(\"a sealed value can'"'"'t be opened\");"
			print "memcpy(before, row, sizeof before); row[30] ^= 1;"
			print "store_value_seal(row, STORE_DB_STATE, \"key\", 3, pattern(7, 8), 40);"
			printf "for (int i = 0; i < 16; i++) if ((i < %d || i >= %d) && row[i] != before[i])\n", offset["checksum"], offset["checksum"] + 8
			print "	bad = printf(\"value.checksum: byte %d follows the payload\\n\", i);" }' "$dir/rows"
	awk '$1 == "payload" && $2 == "state" && $5 ~ /^(version|stored|committed_ns|layout_version|flags)$/ {
			set = set sprintf("state.%s = pattern(%d, %d);\n", $5, ++n, $4)
			look = look sprintf("find(\"state.%s\", at, %d, %d, pattern(%d, %d));\n", $5, $3, $4, n, $4); next }
		$1 == "payload" && $2 == "state" { v = $5 == "len" ? "5" : $5 == "layout_len" ? "3" : $5 == "history_top" ? "77" : "0"
			look = look sprintf("find(\"state.%s\", at, %d, %d, %s);\n", $5, $3, $4, v); last = $3 + $4 }
		$1 == "payload" && $2 == "cursor" {
			set = set sprintf("cursor.%s = pattern(%d, %d);\n", $5, ++n, $4)
			again = again sprintf("find(\"cursor.%s\", at, %d, %d, pattern(%d, %d));\n", $5, $3, $4, n, $4); end = $3 + $4 }
		END { print set "n = store_head_write(at, &state, 77);\n" look
			printf "same(\"a head and its image\", %d, n);\n", last + 3 + 5
			printf "if (memcmp(at + %d, \"layimage\", 8) != 0) bad = puts(\"layout and image aren'"'"'t behind the head\");\n", last
			print "n = store_cursor_write(at, &cursor);\n" again
			printf "same(\"a cursor\", %d, n);\n", end }' "$dir/rows"
	echo '} static void items(void) {'
	cat <<'END'
	struct stash__registry_row r = { .process = { .id = "id", .name = "name", .child = "child", .failed = 1 } };
	struct stash_event e = { .child = "child", .name = "name", .text = "text" };
	static const struct stash_field fields[] = { { "name", 3, 4, 5, STASH_TYPE_INT, 1, 0, NULL }, STASH_FIELD_END };
	struct stash_buf *buf = stash_buf_create();
	struct stash_view view;
	const void *data;
	size_t len;
	memcpy(r.boot_id, "0123456789abcdef", 16);
END
	awk '$1 == "items" && ($2 == "process" || $2 == "registry") && $3 == "int" {
			set = set sprintf("r.%s%s = %d;\n", $2 == "process" ? "process." : "", $4, $4 == "is_supervisor" ? 1 : 100 + ++n)
			value[$2, $4] = $4 == "is_supervisor" ? 1 : 100 + n + ($4 == "status" ? 256 : 0) }
		$1 == "items" && $2 == "event" && $3 == "int" { set = set sprintf("e.%s = %d;\n", $4, 100 + ++n); value[$2, $4] = 100 + n }
		$1 == "items" { row[$2] = row[$2] sprintf("item(\"%s.%s\", \"%s\", &view, \"%s\", %d);\n", $2, $4, $3, $4, value[$2, $4]) }
		END { print set "stash__pack_registry(buf, &r);\nstash_buf_data(buf, &data, &len);\nstash_view_init(&view, data, len);"
			print row["process"] row["registry"] "if (stash_view_end(&view) < 0) bad = puts(\"registry: more items\");"
			print "stash__buf_reset(buf); stash__pack_event(buf, &e); stash_buf_data(buf, &data, &len); stash_view_init(&view, data, len);"
			print row["event"] "if (stash_view_end(&view) < 0) bad = puts(\"event: more items\");" }' "$dir/rows"
	echo 'stash__buf_reset(buf); stash__pack_schema(buf, fields, 99); stash_buf_data(buf, &data, &len); stash_view_init(&view, data, len);'
	echo 'same("schema: length of an image", 99, (unsigned long long)stash_view_int(&view)); same("schema: count", 1, (unsigned long long)stash_view_int(&view));'
	awk '$1 == "items" && $2 == "field" { v = $4 == "offset" ? 3 : $4 == "size" ? 4 : $4 == "count" ? 5 : 1
			printf "item(\"field.%s\", \"%s\", &view, \"%s\", %d);\n", $4, $3, $4, v }' "$dir/rows"
	echo 'if (stash_view_end(&view) < 0) bad = puts("field: more items"); stash_buf_destroy(buf); }'
}

program >"$dir/check.c"
for kind in numbers struct enum payload items; do
	grep -q "^$kind " "$dir/rows" || fail "$page: no table of $kind is left"
done
sanitize=()
! nm "$BUILD/libstash.a" 2>/dev/null | grep -q __asan_init || sanitize=("-fsanitize=address,undefined")
# shellcheck disable=SC2046 # words
"$CC" -std=c11 -D_GNU_SOURCE -Iinclude -Isrc "${sanitize[@]}" $(pkg-config --cflags lmdb libbsd libevent_core jansson) -o "$dir/check" "$dir/check.c" \
	"$BUILD/libstash.a" $(pkg-config --libs lmdb libbsd libevent_core jansson) -pthread -ldl -lm || fail "$page: names something that is not there"
[ ! -x "$dir/check" ] || "$dir/check" || bad=1

# Every message of the code is in the page.
while read -r name; do
	grep -q "^enum [a-z_]* [0-9]* $name " "$dir/rows" || fail "$page: $name is missing"
done < <(grep -oE '\bSTASH__[WBSK]_[A-Z]+ = [0-9]+' src/shm/wire.h | cut -d ' ' -f 1)
exit $bad
