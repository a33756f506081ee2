/* SPDX-License-Identifier: ISC */
/*
 * A program with a tree of its own, as the example has it: its workers, its
 * supervisor and everything are killed, and the state goes on; SIGTERM ends it
 * in order. And what stash_supervise_start() says when a tree can't be had.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "testlib.h"
#include "testlib_live.h"

static struct t_proc program;
static struct t_stashd tree; /* the child of it that is the keeper */
static int visitors = -1;

static bool
has_child(void *arg)
{
	(void)arg;
	return t_children(program.pid, &tree.proc.pid, 1) >= 1;
}

/* Its standard input is a pipe of this test. */
static void
begin(void)
{
	const char *pipe = t_path("visitors");
	char command[3 * PATH_MAX];

	memset(&tree, 0, sizeof tree);
	tree.dir = t_path("store");
	if (visitors < 0) {
		ck_assert_int_eq(mkfifo(pipe, 0600), 0);
		visitors = open(pipe, O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(visitors, 0);
	}
	snprintf(command, sizeof command, "exec %s %s <%s", t_build("examples/embed"), tree.dir, pipe);
	t_spawn(&program, (const char *const[]){ "sh", "-c", command, NULL }, NULL);
	ck_assert(t_wait_for(has_child, NULL, 20000));
}

/* The keeper's one child. */
static void
murder_supervisor(void)
{
	pid_t pid;
	int pidfd;

	ck_assert_int_eq(t_children(tree.proc.pid, &pid, 1), 1);
	pidfd = pidfd_open(pid, 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
	close(pidfd);
}

static void
visit(const char *name, const char *said)
{
	ck_assert_int_eq(dprintf(visitors, "%s\n", name), (int)strlen(name) + 1);
	t_wait_output(&program, said, 30000);
}

START_TEST(the_state_goes_on)
{
	begin();
	visit("Ada", "Ada: visitor 1, after nobody\n");
	ck_assert(t_murder(&tree, T_WORKER, "tickets"));
	ck_assert(t_murder(&tree, T_WORKER, "guests"));
	visit("Bob", "Bob: visitor 2, after Ada\n");
	murder_supervisor();
	visit("Cem", "Cem: visitor 3, after Bob\n");
	ck_assert(t_murder(&tree, T_STASH, NULL));
	visit("Dan", "Dan: visitor 4, after Cem\n");
	t_kill(&program, SIGTERM);
	ck_assert_int_eq(t_wait(&program, 20000), 0);
	t_no_children(5000);
	begin();
	visit("Eva", "Eva: visitor 5, after Dan\n");
	t_kill_all();
	close(program.pidfd);
	begin();
	visit("Fay", "Fay: visitor 6, after Eva\n");
	t_kill(&program, SIGTERM);
	ck_assert_int_eq(t_wait(&program, 20000), 0);
	close(visitors);
	visitors = -1;
}
END_TEST

static int
wrong_init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	(void)state;
	(void)start;
	return stash_fail(worker, "it is wrong on purpose");
}

static const struct stash_behaviour good = STASH_BEHAVIOUR(.name = "good"),
				    wrong = STASH_BEHAVIOUR(.name = "wrong", .init = wrong_init);

START_TEST(a_caller_learns_how_it_began)
{
	struct stash_child_spec child = { .size = sizeof child, .id = "a", .behaviour = &wrong };
	struct stash_supervisor_spec spec = { .size = sizeof spec, .children = &child, .nchildren = 1 };
	struct stash_client *client;
	struct t_result r;
	siginfo_t end = { 0 };
	int running = 7, other;

	ck_assert_int_eq(stash_supervise_start(&spec, t_path("store"), NULL, &running), STASH_E_START);
	ck_assert_int_eq(running, -1);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "failed_to_start_child a"));
	child.behaviour = NULL;
	ck_assert_int_eq(stash_supervise_start(&spec, t_path("store"), NULL, NULL), STASH_E_SPEC);
	child.behaviour = &good;
	ck_assert_int_eq(stash_supervise_start(&spec, t_path("store"), NULL, &running), 0);
	ck_assert_int_eq(stash_supervise_start(&spec, t_path("store"), NULL, &other), STASH_E_BUSY);
	ck_assert_int_eq(stash_client_open(&client, t_path("store"), NULL), 0);
	ck_assert_int_eq(stash_reload(client, 10000), STASH_E_NOENT); /* there is no file to be read */
	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_path("store"), "reexec", NULL });
	ck_assert_int_eq(r.status, EX_NOHOST);
	ck_assert_ptr_nonnull(strstr(r.err, "that program has to be started anew"));
	t_result_free(&r);
	ck_assert_int_eq(stash_stop(client, 20000), 0);
	stash_client_close(client);
	ck_assert_int_eq(waitid(P_PIDFD, (id_t)running, &end, WEXITED), 0);
	ck_assert_int_eq(end.si_code, CLD_EXITED);
	ck_assert_int_eq(end.si_status, 0);
	close(running);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("a tree in a program");
	TCase *tc = t_case(s, "embed", 120);

	tcase_add_test(tc, the_state_goes_on);
	tcase_add_test(tc, a_caller_learns_how_it_began);
	return s;
}

TEST_MAIN(suite)
