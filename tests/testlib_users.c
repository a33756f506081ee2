/* SPDX-License-Identifier: ISC */
/* Processes of another user; see testlib_users.h. */
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib_live.h"
#include "testlib_users.h"

bool
t_no_users(void)
{
	if (geteuid() == 0)
		return false;
	printf("not run: only root can become another user\n");
	return true;
}

/* Up to the first directory that everybody gets through. */
static void
open_dir(const char *dir)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof path, "%s", dir);
	while (path[0] != '\0' && stat(path, &st) == 0 && (st.st_mode & S_IXOTH) == 0) {
		ck_assert_int_eq(chmod(path, (st.st_mode & 07777) | 0011), 0);
		*strrchr(path, '/') = '\0';
	}
}

void
t_open_dirs(void)
{
	open_dir(t_dir());
	open_dir(t_run_dir());
}

const char *
t_wrong(const char *fmt, ...)
{
	static char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return text;
}

static const char *
become(const struct t_user *user)
{
	gid_t gid = user->gid != 0 ? user->gid : (gid_t)user->uid;

	if (setgroups(user->extra != 0 ? 1 : 0, &user->extra) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		return "it can't become another user";
	/* Else /proc/self would be root's. */
	if (prctl(PR_SET_DUMPABLE, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return "it can't be an ordinary process";
	return NULL;
}

pid_t
t_user_start(const struct t_user *user, t_user_fn *fn, void *arg, int *words)
{
	int ends[2];
	pid_t pid;

	fflush(NULL);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const char *why = become(user);

		if (why == NULL)
			why = fn(arg);
		if (why != NULL && write(ends[1], why, strlen(why)) < 0)
			_exit(2);
		_exit(why == NULL ? 0 : 1);
	}
	close(ends[1]);
	*words = ends[0];
	return pid;
}

void
t_user_end(pid_t pid, int words)
{
	char text[1024];
	ssize_t n = read(words, text, sizeof text - 1);
	int status;

	text[n > 0 ? n : 0] = '\0';
	close(words);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(
	    WIFEXITED(status) && WEXITSTATUS(status) == 0, "another user's process (status %x): %s", status, text);
}

void
t_as_user(const struct t_user *user, t_user_fn *fn, void *arg)
{
	int words;
	pid_t pid = t_user_start(user, fn, arg, &words);

	t_user_end(pid, words);
}

bool
t_users_begin(struct t_stashd *d, const char *store)
{
	if (t_no_users())
		return false;
	t_open_dirs();
	memset(d, 0, sizeof *d);
	t_stashd_start(d, t_config("echo", "tests/modules/echo.so", "", "", store));
	return true;
}

const char *
t_calls(void *stashd)
{
	struct stash_reply reply;
	struct stash_process process;
	struct stash_client *c;

	if (stash_client_open(&c, t_store(stashd), NULL) != STASH_OK ||
	    stash_call(c, "echo", "echo", "hello", 5, &reply, 10000) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	if (reply.len != 5 || memcmp(reply.data, "hello", 5) != 0)
		return "another answer";
	stash_reply_free(&reply);
	if (stash_cast(c, "echo", "x", NULL, 0) != STASH_OK || stash_send(c, "echo", "x", NULL, 0) != STASH_OK ||
	    stash_whereis(c, "echo", &process) != STASH_OK || process.pid <= 0)
		return t_wrong("%s", stash_errmsg());
	stash_client_close(c);
	return NULL;
}
