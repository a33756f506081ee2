/* SPDX-License-Identifier: ISC */
/*
 * What the suites of reader and tools share; testlib_tools.h says what each call promises.
 */
#include "testlib_tools.h"

#include <bsd/string.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/info.h"
#include "shm/wire.h"
#include "testlib.h"
#include "testlib_store.h"

#define WORDS_MAX 32

void
tt_run(struct tt_result *result, const struct tool_program *program, const char *input, const char *const *words)
{
	char *argv[WORDS_MAX + 2] = { (char *)(uintptr_t)program->name };
	size_t len = input != NULL ? strlen(input) : 0, err_len;
	FILE *in = len > 0 ? fmemopen((void *)(uintptr_t)input, len, "r") : fopen("/dev/null", "re");
	FILE *out = open_memstream(&result->out, &result->len), *err = open_memstream(&result->err, &err_len);
	int argc = 1;

	ck_assert(in != NULL && out != NULL && err != NULL);
	for (; *words != NULL; words++) {
		ck_assert_int_lt(argc, WORDS_MAX);
		argv[argc++] = (char *)(uintptr_t)*words;
	}
	result->status = tool_run(program, argc, argv, in, out, err);
	fclose(in);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_int_eq(fclose(err), 0);
}

void
tt_free(struct tt_result *result)
{
	free(result->out);
	free(result->err);
}

void
tt_exits(const struct tt_result *r, int status)
{
	ck_assert_msg(r->status == status, "exit %d, not %d\n%s%s", r->status, status, r->out, r->err);
}

void
tt_says(const struct tt_result *r, const char *words)
{
	ck_assert_msg(strstr(r->out, words) != NULL, "no \"%s\" in the output\n%s%s", words, r->out, r->err);
}

void
tt_complains(const struct tt_result *r, const char *words)
{
	ck_assert_msg(strstr(r->err, words) != NULL, "no \"%s\" in the errors\n%s", words, r->err);
}

unsigned
tt_lines(const struct tt_result *r)
{
	unsigned n = 0;

	for (const char *p = r->out; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return n;
}

json_t *
tt_json(const struct tt_result *r, unsigned n)
{
	const char *line = r->out;
	json_error_t error;
	json_t *object;

	for (; n > 0; n--) {
		line = strchr(line, '\n');
		ck_assert_msg(line != NULL, "too few lines\n%s%s", r->out, r->err);
		line++;
	}
	object = json_loadb(line, strcspn(line, "\n"), 0, &error);
	ck_assert_msg(object != NULL, "no JSON: %s\n%s", error.text, line);
	ck_assert_int_eq(json_integer_value(json_object_get(object, "schema")), 1);
	return object;
}

/* ---- slots ---- */

struct stash__origin
tt_origin(void)
{
	struct stash__origin origin;
	struct stash__info info;

	ts_good(stash__info_read(ts_dir(), &info));
	memcpy(origin.store_id, info.id, sizeof origin.store_id);
	ts_good(stash__boot_id(origin.boot_id));
	return origin;
}

static int
slot_dir(void)
{
	struct stash__info info;
	const char *path;
	int fd;

	ts_good(stash__info_read(ts_dir(), &info));
	ck_assert(mkdir(info.run_dir, 0700) == 0 || errno == EEXIST);
	path = t_path("slots");
	if (access(path, F_OK) != 0)
		ck_assert_int_eq(symlink(info.run_dir, path), 0);
	path = t_path("slots/%s", STASH__SLOT_DIR);
	ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

void
tt_slot_make(struct tt_slot *slot, const char *name, const struct stash__origin *origin)
{
	char file[STASH__SLOT_FILE_MAX];
	int dir = slot_dir(), fd;

	memset(slot, 0, sizeof *slot);
	stash__slot_file(file, name, "out");
	ts_good(stash__out_make(dir, file, origin, 0, &fd));
	ts_good(stash__out_map(&slot->out, fd, true, NULL));
	stash__slot_file(file, name, "in");
	ts_good(stash__in_make(dir, file, origin, 0, 0, &fd));
	ts_good(stash__in_map(&slot->in, fd, true, NULL));
	strlcpy(slot->out.page->layout, "sequence", sizeof slot->out.page->layout);
	slot->out.page->layout_version = 1;
	close(dir);
}

void
tt_slot_base(struct tt_slot *slot, uint64_t entry, uint64_t version, const void *image, size_t len)
{
	static const struct stash__row none;
	struct stash__base *base = &slot->base;

	base->entry = entry;
	base->changed = version > 0 ? entry : 0;
	base->version = version;
	base->time = stash__time_ns();
	base->image_len = (uint32_t)len;
	base->layout_version = 1;
	strlcpy(base->layout, "sequence", sizeof base->layout);
	ts_good(stash__in_grow(&slot->in, base->nrows, len));
	ts_good(stash__base_write(&slot->in, base, &none, NULL, image));
	stash__base_turn(&slot->in);
}

void
tt_slot_entry(struct tt_slot *slot, uint64_t number, uint64_t version, const void *image, size_t len)
{
	static const struct stash__position none;
	struct stash__entry head = { .number = number, .incarnation = 1, .stamp = stash__now_ns(), .version = version };

	if (image != NULL) {
		head.flags = STASH__ENTRY_IMAGE;
		head.image_len = (uint32_t)len;
	}
	stash__entry_submit(&slot->out, &head, &none, NULL, image);
}

void
tt_slot_close(struct tt_slot *slot)
{
	int out = slot->out.fd, in = slot->in.fd;

	stash__out_unmap(&slot->out);
	stash__in_unmap(&slot->in);
	close(out);
	close(in);
}
