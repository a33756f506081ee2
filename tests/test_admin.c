/* SPDX-License-Identifier: ISC */
/*
 * OTP's administrative calls on a living stashd: each one, and each of its errors with OTP's term.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testlib_admin.h"

/* ---- each call ---- */

START_TEST(children_come_and_go)
{
	struct stash_child_spec b = admin_child("b", ARGS("x", "y"));
	struct stash_process p;

	admin_begin();
	admin_children("root", "pool,supervisor,running web,supervisor,running a,worker,running");
	COUNTS("root", 3, 3, 2, 1);
	GIVES(stash_start_child(client, "root", &b, &p, LONG_MS), 0, "");
	ck_assert_str_eq(p.id, "b");
	ck_assert_str_eq(p.child, "root/b");
	ck_assert_int_eq(p.pid, t_pid(&stashd, T_WORKER, "b"));
	t_expect_call(client, "b", "args", "", "b x y");
	t_expect_call(client, "b", "count", "", "1");
	COUNTS("root", 4, 4, 2, 2);
	GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
	t_expect_error(client, "b", "count", "", STASH_E_DOWN);
	GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
	admin_children("root", "b,worker,undefined pool,supervisor,running web,supervisor,running a,worker,running");
	COUNTS("root", 4, 3, 2, 2);
	GIVES(stash_restart_child(client, "root", "b", &p, LONG_MS), 0, "");
	ck_assert_str_eq(p.name, "b");
	t_expect_call(client, "b", "count", "", "2");
	GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
	GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
	GIVES(stash_whereis(client, "b", NULL), STASH_E_NOENT, "");
	COUNTS("root", 3, 3, 2, 1);
	/* The state has stayed. */
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	t_expect_call(client, "b", "count", "", "3");
	admin_end();
}
END_TEST

START_TEST(each_failure_has_its_term)
{
	struct stash_child_spec a = admin_child("a", NULL), b = admin_child("b", NULL),
				c = admin_child("c", ARGS("fail")), d, e;
	struct stash_process p;

	admin_begin();
	GIVES(stash_start_child(client, "root", &a, &p, LONG_MS), STASH_E_STARTED, "already_started");
	ck_assert_int_eq(p.pid, t_pid(&stashd, T_WORKER, "a"));
	GIVES(stash_restart_child(client, "root", "a", &p, LONG_MS), STASH_E_RUNNING, "running");
	GIVES(stash_delete_child(client, "root", "a", LONG_MS), STASH_E_RUNNING, "running");
	GIVES(stash_terminate_child(client, "root", "a", LONG_MS), 0, "");
	GIVES(stash_start_child(client, "root", &a, NULL, LONG_MS), STASH_E_PRESENT, "already_present");
	GIVES(stash_start_child(client, "root", &c, &p, LONG_MS), STASH_E_START, "init_error");
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "it was told to fail"));
	ck_assert_int_eq(p.pid, 0);
	c.args = ARGS("die");
	GIVES(stash_start_child(client, "root", &c, NULL, LONG_MS), STASH_E_START, "killed");
	GIVES(stash_delete_child(client, "root", "c", LONG_MS), STASH_E_NOENT, "not_found");
	GIVES(stash_terminate_child(client, "root", "c", LONG_MS), STASH_E_NOENT, "not_found");
	GIVES(stash_restart_child(client, "root", "c", NULL, LONG_MS), STASH_E_NOENT, "not_found");
	GIVES(stash_start_child(client, "root/nobody", &b, NULL, LONG_MS), STASH_E_NOENT, "noproc");
	GIVES(stash_start_child(client, "root/a", &b, NULL, LONG_MS), STASH_E_NOENT, "noproc");
	GIVES(stash_count_children(client, "root/nobody", NULL, LONG_MS), STASH_E_NOENT, "noproc");
	b.name = "w";
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_EXIST, "already_started");
	d = admin_child("d", NULL);
	d.restart = 3;
	GIVES(stash_start_child(client, "root", &d, NULL, LONG_MS), STASH_E_SPEC, "invalid_restart_type");
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "root/d: restart: is none of"));
	d.restart = STASH_TEMPORARY;
	d.significant = 1;
	GIVES(stash_start_child(client, "root", &d, NULL, LONG_MS), STASH_E_SPEC, "bad_combination");
	d.significant = 0;
	d.module = NULL;
	GIVES(stash_start_child(client, "root", &d, NULL, LONG_MS), STASH_E_SPEC, "");
	d.behaviour_name = "nobody";
	GIVES(stash_start_child(client, "root", &d, NULL, LONG_MS), STASH_E_SPEC, "");
	e = admin_child("e", NULL);
	e.history = 3;
	GIVES(stash_start_child(client, "root", &e, NULL, LONG_MS), STASH_E_INVAL, "");
	e.history = 0;
	e.behaviour = (const struct stash_behaviour *)&e;
	GIVES(stash_start_child(client, "root", &e, NULL, LONG_MS), STASH_E_INVAL, "");
	GIVES(stash_start_child(client, "root", NULL, NULL, LONG_MS), STASH_E_INVAL, "");
	GIVES(stash_delete_child(client, "root", NULL, LONG_MS), STASH_E_INVAL, "");
	GIVES(stash_delete_child(client, "root//x", "a", LONG_MS), STASH_E_INVAL, "");
	GIVES(stash_terminate_child(client, "root", "web", LONG_MS), 0, "");
	GIVES(stash_start_child(client, "root/web", &d, NULL, LONG_MS), STASH_E_SPEC, "");
	GIVES(stash_terminate_child(client, "root/web", "w", LONG_MS), STASH_E_DOWN, "noproc");
	GIVES(stash_count_children(client, "root/web", NULL, LONG_MS), STASH_E_DOWN, "noproc");
	admin_end();
}
END_TEST

static int
is_restarting(void *arg, const struct stash_process *p)
{
	(void)arg;
	return p->status == STASH_RESTARTING;
}

static bool
x_is_restarting(void *arg)
{
	(void)arg;
	return stash_which_children(client, "root/s", is_restarting, NULL, LONG_MS) == 1;
}

/* Its restarts fail, one after the other. */
START_TEST(a_child_may_be_restarting)
{
	char failif[PATH_MAX];
	const char *args[] = { failif, NULL };
	struct stash_child_spec x = admin_child("x", args);
	struct stash_supervisor_spec below = {
		.size = sizeof below, .children = &x, .nchildren = 1, .intensity = INT32_MAX
	};
	struct stash_child_spec s = { .size = sizeof s, .id = "s", .supervisor = &below };

	admin_begin();
	snprintf(failif, sizeof failif, "failif=%s", t_path("fail"));
	GIVES(stash_start_child(client, "root", &s, NULL, LONG_MS), 0, "");
	t_write_file(t_path("fail"), "");
	ck_assert(t_murder(&stashd, T_WORKER, "x"));
	ck_assert(t_wait_for(x_is_restarting, NULL, LONG_MS));
	GIVES(stash_restart_child(client, "root/s", "x", NULL, LONG_MS), STASH_E_RESTARTING, "restarting");
	GIVES(stash_delete_child(client, "root/s", "x", LONG_MS), STASH_E_RESTARTING, "restarting");
	GIVES(stash_start_child(client, "root/s", &x, NULL, LONG_MS), STASH_E_PRESENT, "already_present");
	admin_children("root/s", "x,worker,restarting");
	GIVES(stash_terminate_child(client, "root/s", "x", LONG_MS), 0, "");
	GIVES(stash_restart_child(client, "root/s", "x", NULL, LONG_MS), STASH_E_START, "init_error");
	GIVES(stash_delete_child(client, "root/s", "x", LONG_MS), 0, "");
	admin_end();
}
END_TEST

START_TEST(a_start_may_be_ignored)
{
	struct stash_child_spec b = admin_child("b", ARGS("ignore")), c = admin_child("c", ARGS("ignore"));
	struct stash_process p;

	admin_begin();
	GIVES(stash_start_child(client, "root", &b, &p, LONG_MS), STASH_IGNORE, "");
	ck_assert_int_eq(p.pid, 0);
	admin_children("root", "b,worker,undefined pool,supervisor,running web,supervisor,running a,worker,running");
	GIVES(stash_restart_child(client, "root", "b", &p, LONG_MS), STASH_IGNORE, "");
	GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
	c.restart = STASH_TEMPORARY;
	GIVES(stash_start_child(client, "root", &c, &p, LONG_MS), STASH_IGNORE, "");
	COUNTS("root", 3, 3, 2, 1);
	admin_end();
}
END_TEST

START_TEST(a_start_takes_as_long_as_init)
{
	struct stash_child_spec b;
	struct stash_client *other;
	char until[PATH_MAX];

	admin_begin();
	snprintf(until, sizeof until, "until=%s", t_path("go"));
	b = admin_child("b", ARGS(until));
	GIVES(stash_start_child(client, "root", &b, NULL, 100), STASH_E_TIMEDOUT, "");
	/* Its own supervisor waits for it, a sibling branch doesn't. */
	other = t_client(&stashd);
	GIVES(stash_count_children(other, "root", NULL, 100), STASH_E_TIMEDOUT, "");
	GIVES(stash_terminate_child(other, "root/web", "w", LONG_MS), 0, "");
	t_write_file(t_path("go"), "");
	GIVES(stash_restart_child(client, "root", "b", NULL, LONG_MS), STASH_E_RUNNING, "running");
	stash_client_close(other);
	admin_end();
}
END_TEST

/* A supervisor with children is started, restarted and deleted as one. */
START_TEST(a_branch_is_a_child)
{
	struct stash_child_spec kids[] = { admin_child("x", NULL), admin_child("y", ARGS("fail")) };
	struct stash_supervisor_spec branch = {
		.size = sizeof branch, .strategy = STASH_REST_FOR_ONE, .children = kids, .nchildren = 2
	};
	struct stash_child_spec b = { .size = sizeof b, .id = "branch", .supervisor = &branch };

	admin_begin();
	GIVES(
	    stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_START, "failed_to_start_child y init_error");
	COUNTS("root", 3, 3, 2, 1);
	kids[1] = admin_child("y", NULL);
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	admin_children("root/branch", "y,worker,running x,worker,running");
	t_expect_call(client, "y", "count", "", "1");
	GIVES(stash_terminate_child(client, "root", "branch", LONG_MS), 0, "");
	GIVES(stash_restart_child(client, "root", "branch", NULL, LONG_MS), 0, "");
	t_expect_call(client, "y", "count", "", "2");
	GIVES(stash_terminate_child(client, "root", "branch", LONG_MS), 0, "");
	GIVES(stash_delete_child(client, "root", "branch", LONG_MS), 0, "");
	kids[1] = admin_child("x", NULL);
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_START, "start_spec duplicate_child_name x");
	admin_end();
}
END_TEST

/* ---- a whole tree ---- */

/* In a process of its own, since it owns it. */
static void
supervise_fails(const struct stash_supervisor_spec *top, int code, const char *term)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int result = stash_supervise(top, t_path("own"), NULL);

		if (result != code || strcmp(stash_errterm(), term) != 0)
			fprintf(stderr, "%s (%s): %s\n", stash_errname(result), stash_errterm(), stash_errmsg());
		_exit(result == code && strcmp(stash_errterm(), term) == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

START_TEST(a_tree_that_fails_has_a_term)
{
	struct stash_child_spec x = admin_child("x", NULL), y[] = { admin_child("y", ARGS("fail")) };
	struct stash_supervisor_spec below = { .size = sizeof below, .children = y, .nchildren = 1 };
	struct stash_child_spec s = { .size = sizeof s, .id = "s", .supervisor = &below };
	struct stash_child_spec both[] = { x, s };
	struct stash_supervisor_spec top = { .size = sizeof top, .children = both, .nchildren = 2 };

	supervise_fails(&top, STASH_E_START, "failed_to_start_child s failed_to_start_child y init_error");
	y[0].restart = 5;
	supervise_fails(&top, STASH_E_SPEC, "failed_to_start_child s start_spec invalid_restart_type");
	top.strategy = STASH_SIMPLE_ONE_FOR_ONE;
	y[0].restart = STASH_PERMANENT;
	supervise_fails(&top, STASH_E_SPEC, "bad_start_spec");
}
END_TEST

/* ---- simple_one_for_one ---- */

START_TEST(instances_have_a_template)
{
	struct stash_child_spec one = { .size = sizeof one, .args = ARGS("second", "third") };
	struct stash_child_spec named = { .size = sizeof named, .name = "ann", .args = NULL };
	struct stash_child_spec bad = { .size = sizeof bad, .name = "bad", .args = ARGS("fail") };
	struct stash_process p;

	admin_begin();
	COUNTS("root/pool", 1, 0, 0, 0);
	GIVES(stash_start_child(client, "root/pool", &one, &p, LONG_MS), 0, "");
	ck_assert_str_eq(p.name, "t-1");
	ck_assert_str_eq(p.child, "root/pool/t-1");
	t_expect_call(client, "t-1", "args", "", "t-1 first second third");
	GIVES(stash_start_child(client, "root/pool", &named, &p, LONG_MS), 0, "");
	t_expect_call(client, "ann", "args", "", "ann first");
	COUNTS("root/pool", 1, 2, 0, 2);
	GIVES(stash_start_child(client, "root/pool", &named, &p, LONG_MS), STASH_E_EXIST, "already_started");
	GIVES(stash_start_child(client, "root/pool", &bad, &p, LONG_MS), STASH_E_START, "init_error");
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "it was told to fail"));
	bad.args = ARGS("ignore");
	GIVES(stash_start_child(client, "root/pool", &bad, &p, LONG_MS), STASH_IGNORE, "");
	GIVES(stash_restart_child(client, "root/pool", "ann", &p, LONG_MS), STASH_E_TEMPLATE, "simple_one_for_one");
	GIVES(stash_delete_child(client, "root/pool", "ann", LONG_MS), STASH_E_TEMPLATE, "simple_one_for_one");
	/* A restarted one has its arguments again. */
	GIVES(stash_bounce(client, "t-1", LONG_MS), 0, "");
	t_expect_call(client, "t-1", "args", "", "t-1 first second third");
	GIVES(stash_terminate_child(client, "root/pool", "t-1", LONG_MS), 0, "");
	COUNTS("root/pool", 1, 1, 0, 1);
	GIVES(stash_whereis(client, "t-1", NULL), STASH_E_NOENT, "");
	/* The same name with other arguments is another instance. */
	one.name = "t-1";
	one.args = ARGS("fourth");
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	t_expect_call(client, "t-1", "args", "", "t-1 first fourth");
	admin_end();
}
END_TEST

/* ---- the specification of a child ---- */

struct seen {
	int calls;
	struct stash_child_spec spec;
	struct stash_supervisor_spec supervisor;
	char text[500];
};

static int
see(void *arg, const struct stash_child_spec *spec)
{
	struct seen *s = arg;

	s->calls++;
	s->spec = *spec;
	snprintf(s->text, sizeof s->text, "%s %s %s %s", spec->id, spec->name != NULL ? spec->name : "-",
	    spec->module != NULL ? strrchr(spec->module, '/') + 1 : "-", spec->args != NULL ? spec->args[0] : "-");
	if (spec->supervisor != NULL)
		s->supervisor = *spec->supervisor;
	return 7;
}

/* What was told can be given back. */
static int
start_as_it_is(void *arg, const struct stash_child_spec *spec)
{
	struct stash_client *other = arg;

	return stash_start_child(other, "root", spec, NULL, LONG_MS);
}

START_TEST(a_specification_is_told)
{
	struct stash_child_spec b = admin_child("b", ARGS("x"));
	struct stash_client *other;
	struct seen s = { 0 };

	admin_begin();
	b.restart = STASH_TRANSIENT;
	b.shutdown_ms = STASH_BRUTAL_KILL;
	b.type = 2;
	b.name = "bee";
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	COUNTS("root", 4, 4, 3, 1);
	GIVES(stash_get_childspec(client, "root", "b", see, &s, LONG_MS), 7, "");
	ck_assert_int_eq(s.calls, 1);
	ck_assert_str_eq(s.text, "b bee child.so x");
	ck_assert_uint_eq(s.spec.restart, STASH_TRANSIENT);
	ck_assert_int_eq(s.spec.shutdown_ms, STASH_BRUTAL_KILL);
	ck_assert_uint_eq(s.spec.type, 2);
	ck_assert_int_eq(s.spec.start_timeout_ms, 60000);
	GIVES(stash_get_childspec(client, "root", "web", see, &s, LONG_MS), 7, "");
	ck_assert_uint_eq(s.supervisor.nchildren, 1);
	ck_assert_int_eq(s.supervisor.intensity, 2);
	ck_assert_int_eq(s.spec.shutdown_ms, STASH_INFINITY);
	GIVES(stash_get_childspec(client, "root/pool", "t", see, &s, LONG_MS), 7, "");
	ck_assert_str_eq(s.text, "t t child.so first");
	GIVES(stash_get_childspec(client, "root", "nobody", see, &s, LONG_MS), STASH_E_NOENT, "not_found");
	GIVES(stash_get_childspec(client, "root", "b", NULL, &s, LONG_MS), STASH_E_INVAL, "");
	other = t_client(&stashd);
	GIVES(stash_get_childspec(client, "root", "b", start_as_it_is, other, LONG_MS), STASH_E_STARTED,
	    "already_started");
	stash_client_close(other);
	admin_end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("admin");
	TCase *tc = t_case(s, "admin", 60);

	tcase_add_test(tc, children_come_and_go);
	tcase_add_test(tc, each_failure_has_its_term);
	tcase_add_test(tc, a_child_may_be_restarting);
	tcase_add_test(tc, a_start_may_be_ignored);
	tcase_add_test(tc, a_start_takes_as_long_as_init);
	tcase_add_test(tc, a_branch_is_a_child);
	tcase_add_test(tc, a_tree_that_fails_has_a_term);
	tcase_add_test(tc, instances_have_a_template);
	tcase_add_test(tc, a_specification_is_told);
	return s;
}

TEST_MAIN(suite)
