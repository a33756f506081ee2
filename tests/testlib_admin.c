/* SPDX-License-Identifier: ISC */
/*
 * testlib_admin.c: see testlib_admin.h.
 */
#include "testlib_admin.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "shm/wire.h"

struct t_stashd stashd;
struct stash_client *client;

/* root: a (permanent), web (one_for_one: w), pool (simple_one_for_one: t) */
void
admin_begin_dying(const char *const *env)
{
	char config[4 * PATH_MAX];
	const char *module = t_path("child.so");

	memset(&stashd, 0, sizeof stashd);
	stashd.env = env;
	stashd.points = env != NULL;
	ck_assert_int_eq(symlink(t_build("tests/modules/child.so"), module), 0);
	snprintf(config, sizeof config,
	    "tree = { intensity = 3; period = 3600; children = (\n"
	    "  { id = \"a\"; module = \"%s\"; args = [\"one\"]; },\n"
	    "  { id = \"web\"; strategy = \"one_for_one\"; intensity = 2; period = 3600; children = (\n"
	    "    { id = \"w\"; module = \"%s\"; } ); },\n"
	    "  { id = \"pool\"; strategy = \"simple_one_for_one\"; intensity = 2; period = 3600; children = (\n"
	    "    { id = \"t\"; module = \"%s\"; args = [\"first\"]; } ); }\n"
	    "); };\n",
	    module, module, module);
	t_stashd_start(&stashd, config);
	client = t_client(&stashd);
	/* The top answers when all have started. */
	ck_assert_int_eq(stash_count_children(client, "root", NULL, LONG_MS), 0);
}

void
admin_begin(void)
{
	admin_begin_dying(NULL);
}

void
admin_end(void)
{
	stash_client_close(client);
	t_stashd_stop(&stashd, 20000);
}

struct stash_child_spec
admin_child(const char *id, const char *const *args)
{
	static char module[PATH_MAX];
	struct stash_child_spec spec = { .size = sizeof spec, .id = id, .args = args };

	snprintf(module, sizeof module, "%s", t_build("tests/modules/child.so"));
	spec.module = module;
	return spec;
}

/* What a call gave, with the term of a failure. */
void
admin_gives(int line, int result, int code, const char *term)
{
	ck_assert_msg(result == code, "line %d: %s instead of %s: %s", line, stash_errname(result), stash_errname(code),
	    result < 0 ? stash_errmsg() : "");
	if (code < 0)
		ck_assert_msg(strcmp(stash_errterm(), term) == 0, "line %d: \"%s\" instead of \"%s\"", line,
		    stash_errterm(), term);
}

void
admin_counts(int line, const char *supervisor, unsigned specs, unsigned active, unsigned supervisors, unsigned workers)
{
	struct stash_child_counts c;

	admin_gives(line, stash_count_children(client, supervisor, &c, LONG_MS), 0, "");
	ck_assert_msg(c.specs == specs && c.active == active && c.supervisors == supervisors && c.workers == workers,
	    "line %d: %s: specs %u active %u supervisors %u workers %u", line, supervisor, (unsigned)c.specs,
	    (unsigned)c.active, (unsigned)c.supervisors, (unsigned)c.workers);
}

static int
add_line(void *arg, const struct stash_process *p)
{
	char *text = arg;
	size_t len = strlen(text);

	snprintf(text + len, 1000 - len, "%s%s,%s,%s", len > 0 ? " " : "", p->id,
	    p->is_supervisor != 0 ? "supervisor" : "worker",
	    p->status == STASH_RESTARTING  ? "restarting" :
		p->status == STASH_STOPPED ? "undefined" :
					     "running");
	return 0;
}

void
admin_children(const char *supervisor, const char *lines)
{
	char text[1000] = "";

	admin_gives(__LINE__, stash_which_children(client, supervisor, add_line, text, LONG_MS), 0, "");
	ck_assert_str_eq(text, lines);
}

int
admin_slot_files(void)
{
	char path[PATH_MAX];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof path, "%.4000s/" STASH__SLOT_DIR, t_run_of(&stashd));
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}
