/* SPDX-License-Identifier: ISC */
/*
 * testlib_examples.c: see testlib_examples.h. Must show the whole session line when one comes out otherwise.
 */
#include "testlib_examples.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS 32

/* The folder of the examples' sources, seen from this file's. */
static const char *
source(const char *name)
{
	static char path[PATH_MAX];
	const char *self = __FILE__, *slash = strrchr(self, '/');

	snprintf(path, sizeof path, "%.*s../src/examples/%s", slash != NULL ? (int)(slash - self + 1) : 0, self, name);
	return path;
}

static void
link_modules(void)
{
	DIR *dir = opendir(t_build("examples"));
	struct dirent *entry;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);
		char built[PATH_MAX];

		if (len < 4 || strcmp(entry->d_name + len - 3, ".so") != 0 ||
		    access(t_path("%s", entry->d_name), F_OK) == 0)
			continue;
		snprintf(built, sizeof built, "%s/%s", t_build("examples"), entry->d_name);
		ck_assert_int_eq(symlink(built, t_path("%s", entry->d_name)), 0);
	}
	closedir(dir);
}

/* Puts `to' for the first `from' in the text, which must be there. */
static void
edit(char **text, const char *from, const char *to)
{
	const char *at = strstr(*text, from);
	char *other;

	ck_assert_msg(at != NULL, "the config has no '%s'", from);
	ck_assert_int_ge(asprintf(&other, "%.*s%s%s", (int)(at - *text), *text, to, at + strlen(from)), 0);
	free(*text);
	*text = other;
}

void
t_example_start(struct t_stashd *d, const char *conf, const char *const *edits)
{
	char *text = t_read_file(source(conf), NULL);

	link_modules();
	for (; edits != NULL && edits[0] != NULL; edits += 2)
		edit(&text, edits[0], edits[1]);
	t_stashd_start(d, text);
	ck_assert_int_eq(setenv("STASH_DIR", t_store(d), 1), 0);
	free(text);
}

static void
session(struct t_result *r, const char *command)
{
	const char *argv[WORDS + 2] = { t_build("stashctl") };
	char *words = strdup(command), *rest = words;

	ck_assert_ptr_nonnull(words);
	for (int i = 1; i <= WORDS && rest != NULL; i++)
		argv[i] = strsep(&rest, " ");
	ck_assert_ptr_null(rest);
	t_run(r, NULL, argv);
	free(words);
}

void
t_session(const char *command, const char *output)
{
	struct t_result r;

	session(&r, command);
	ck_assert_msg(r.status == 0 && strcmp(r.out, output) == 0,
	    "$ stashctl %s\nends with %d (0 expected) and writes '%s' ('%s' expected)\n%s", command, r.status, r.out,
	    output, r.err);
	t_result_free(&r);
}

void
t_session_says(const char *command, const char *words)
{
	struct t_result r;

	session(&r, command);
	ck_assert_msg(r.status == 0 && strstr(r.out, words) != NULL,
	    "$ stashctl %s\nends with %d (0 expected) and writes '%s' (with '%s' expected)\n%s", command, r.status,
	    r.out, words, r.err);
	t_result_free(&r);
}

void
t_session_fails(const char *command, int status, const char *words)
{
	struct t_result r;

	session(&r, command);
	ck_assert_msg(r.status == status && strstr(r.err, words) != NULL,
	    "$ stashctl %s\nends with %d (%d expected), its complaint ('%s' expected):\n%s", command, r.status, status,
	    words, r.err);
	t_result_free(&r);
}

char *
t_session_output(const char *command, int *status)
{
	struct t_result r;
	char *both;

	session(&r, command);
	ck_assert_int_ge(asprintf(&both, "%s%s", r.out, r.err), 0);
	if (status != NULL)
		*status = r.status;
	t_result_free(&r);
	return both;
}

struct birth {
	const struct t_stashd *d;
	const char *name;
	pid_t old, now;
};

static bool
is_reborn(void *arg)
{
	struct birth *b = arg;

	b->now = t_pid(b->d, T_WORKER, b->name);
	return b->now > 0 && b->now != b->old;
}

pid_t
t_reborn(const struct t_stashd *d, const char *name, pid_t old)
{
	struct birth b = { d, name, old, 0 };

	ck_assert_msg(t_wait_for(is_reborn, &b, 20000), "%s (pid %d) was not replaced; the log:\n%s", name, (int)old,
	    t_output(&d->proc));
	return b.now;
}
