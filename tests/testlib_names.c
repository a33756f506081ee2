/* SPDX-License-Identifier: ISC */
/*
 * testlib_names.c: see testlib_names.h.
 */
#include "testlib_names.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

struct t_stashd tn_d;
struct stash_client *tn_c;

/* Workers a, b, c and what else the test wants. */
void
tn_start_dying(const char *more, const char *const *env)
{
	static char text[32768];
	char module[PATH_MAX];

	snprintf(module, sizeof module, "%s", t_build("tests/modules/names.so"));
	snprintf(text, sizeof text,
	    "tree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"a\"; module = \"%s\"; }, { id = \"b\"; module = \"%s\"; }, { id = \"c\"; module = \"%s\"; }%s\n"
	    "); };\n",
	    module, module, module, more);
	memset(&tn_d, 0, sizeof tn_d);
	tn_d.env = env;
	tn_d.points = env != NULL;
	t_stashd_start(&tn_d, text);
	tn_c = t_client(&tn_d);
}

void
tn_start(const char *more)
{
	tn_start_dying(more, NULL);
}

/* ", { id = ID; module = ...; REST }" */
const char *
tn_child(const char *id, const char *rest)
{
	static char text[4][PATH_MAX + 256];
	static int i;

	i = (i + 1) % 4;
	snprintf(text[i], sizeof text[i], ", { id = \"%s\"; module = \"%s\"; %s }", id,
	    t_build("tests/modules/names.so"), rest);
	return text[i];
}

void
tn_stop(void)
{
	stash_client_close(tn_c);
	t_stashd_stop(&tn_d, 20000);
}

void
tn_expect(const char *name, const char *tag, const char *data, const char *text)
{
	t_expect_call(tn_c, name, tag, data, text);
}

/* ---- conditions ---- */

struct wanted {
	const char *name, *tag, *text;
};

static bool
answers(void *arg)
{
	const struct wanted *w = arg;
	struct stash_reply reply;
	bool good = stash_call(tn_c, w->name, w->tag, NULL, 0, &reply, 10000) == STASH_OK && reply.data != NULL &&
	    strcmp(reply.data, w->text) == 0;

	stash_reply_free(&reply);
	return good;
}

void
tn_expect_soon(const char *name, const char *tag, const char *text)
{
	struct wanted w = { name, tag, text };

	if (!t_wait_for(answers, &w, 20000))
		tn_expect(name, tag, NULL, text); /* says what it is instead */
}

struct state_wanted {
	const char *name;
	uint32_t status;
	int32_t other_than; /* pid */
};

static bool
has_status(void *arg)
{
	const struct state_wanted *s = arg;
	struct stash_process p;

	return stash_whereis(tn_c, s->name, &p) == STASH_OK && p.status == s->status &&
	    (s->status != STASH_RUNNING || (p.pid != 0 && p.pid != s->other_than));
}

void
tn_wait_status(const char *name, uint32_t status, int32_t other_than)
{
	struct state_wanted s = { name, status, other_than };

	ck_assert_msg(t_wait_for(has_status, &s, 60000), "%s doesn't become %u", name, status);
}

int32_t
tn_pid_of(const char *name)
{
	struct stash_process p;

	ck_assert_int_eq(stash_whereis(tn_c, name, &p), STASH_OK);
	return p.pid;
}

/* Kills a running worker, and returns when it is dead. */
void
tn_kill_worker(const char *name)
{
	int32_t pid;
	int pidfd;
	struct pollfd p = { .events = POLLIN };

	tn_wait_status(name, STASH_RUNNING, 0);
	pid = tn_pid_of(name);
	pidfd = pidfd_open(pid, 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
	p.fd = pidfd;
	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	close(pidfd);
}

void
tn_kill_and_wait(const char *name)
{
	int32_t pid = tn_pid_of(name);

	tn_kill_worker(name);
	tn_wait_status(name, STASH_RUNNING, pid);
}

struct supervisor_is {
	pid_t other_than;
};

static bool
is_replaced(void *arg)
{
	const struct supervisor_is *s = arg;
	pid_t now = t_pid(&tn_d, T_SUPERVISOR, NULL);

	return now != 0 && now != s->other_than;
}

void
tn_kill_supervisor(void)
{
	struct supervisor_is s = { t_pid(&tn_d, T_SUPERVISOR, NULL) };

	ck_assert(t_murder(&tn_d, T_SUPERVISOR, NULL));
	ck_assert(t_wait_for(is_replaced, &s, 20000));
}

int64_t
tn_monitor(const char *watcher, const char *target)
{
	struct stash_reply reply;
	int64_t ref = 0;

	ck_assert_int_eq(stash_call(tn_c, watcher, "monitor", target, strlen(target), &reply, 20000), STASH_OK);
	ck_assert_int_eq(stash_parse_int(reply.data, 1, INT64_MAX, &ref), STASH_OK);
	stash_reply_free(&reply);
	return ref;
}
