/* SPDX-License-Identifier: ISC */
/*
 * OTP's administrative calls on a living stashd: each one, each of its errors with OTP's term, children that are added
 * at run time, and all of it over the death of the supervisor.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "testlib.h"
#include "testlib_live.h"

#define LONG_MS 30000

static struct t_stashd stashd;
static struct stash_client *client;

/* root: a (permanent), web (one_for_one: w), pool (simple_one_for_one: t) */
static void
begin(void)
{
	char config[4 * PATH_MAX];
	const char *module = t_path("child.so");

	memset(&stashd, 0, sizeof stashd);
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

static void
end(void)
{
	stash_client_close(client);
	t_stashd_stop(&stashd, 20000);
}

static struct stash_child_spec
child(const char *id, const char *const *args)
{
	static char module[PATH_MAX];
	struct stash_child_spec spec = { .size = sizeof spec, .id = id, .args = args };

	snprintf(module, sizeof module, "%s", t_build("tests/modules/child.so"));
	spec.module = module;
	return spec;
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* What a call gave, with the term of a failure. */
static void
gives_at(int line, int result, int code, const char *term)
{
	ck_assert_msg(result == code, "line %d: %s instead of %s: %s", line, stash_errname(result), stash_errname(code),
	    result < 0 ? stash_errmsg() : "");
	if (code < 0)
		ck_assert_msg(strcmp(stash_errterm(), term) == 0, "line %d: \"%s\" instead of \"%s\"", line,
		    stash_errterm(), term);
}
#define GIVES(call, code, term) gives_at(__LINE__, call, code, term)

static void
counts_are_at(int line, const char *supervisor, unsigned specs, unsigned active, unsigned supervisors, unsigned workers)
{
	struct stash_child_counts c;

	gives_at(line, stash_count_children(client, supervisor, &c, LONG_MS), 0, "");
	ck_assert_msg(c.specs == specs && c.active == active && c.supervisors == supervisors && c.workers == workers,
	    "line %d: %s: specs %u active %u supervisors %u workers %u", line, supervisor, (unsigned)c.specs,
	    (unsigned)c.active, (unsigned)c.supervisors, (unsigned)c.workers);
}
#define counts_are(...) counts_are_at(__LINE__, __VA_ARGS__)

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

static void
children_are(const char *supervisor, const char *lines)
{
	char text[1000] = "";

	GIVES(stash_which_children(client, supervisor, add_line, text, LONG_MS), 0, "");
	ck_assert_str_eq(text, lines);
}

/* ---- each call ---- */

START_TEST(children_come_and_go)
{
	struct stash_child_spec b = child("b", ARGS("x", "y"));
	struct stash_process p;

	begin();
	children_are("root", "pool,supervisor,running web,supervisor,running a,worker,running");
	counts_are("root", 3, 3, 2, 1);
	GIVES(stash_start_child(client, "root", &b, &p, LONG_MS), 0, "");
	ck_assert_str_eq(p.id, "b");
	ck_assert_str_eq(p.child, "root/b");
	ck_assert_int_eq(p.pid, t_pid(&stashd, T_WORKER, "b"));
	t_expect_call(client, "b", "args", "", "b x y");
	t_expect_call(client, "b", "count", "", "1");
	counts_are("root", 4, 4, 2, 2);
	GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
	t_expect_error(client, "b", "count", "", STASH_E_DOWN);
	GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
	children_are("root", "b,worker,undefined pool,supervisor,running web,supervisor,running a,worker,running");
	counts_are("root", 4, 3, 2, 2);
	GIVES(stash_restart_child(client, "root", "b", &p, LONG_MS), 0, "");
	ck_assert_str_eq(p.name, "b");
	t_expect_call(client, "b", "count", "", "2");
	GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
	GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
	GIVES(stash_whereis(client, "b", NULL), STASH_E_NOENT, "");
	counts_are("root", 3, 3, 2, 1);
	/* The state has stayed. */
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	t_expect_call(client, "b", "count", "", "3");
	end();
}
END_TEST

START_TEST(each_failure_has_its_term)
{
	struct stash_child_spec a = child("a", NULL), b = child("b", NULL), c = child("c", ARGS("fail")), d, e;
	struct stash_process p;

	begin();
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
	d = child("d", NULL);
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
	e = child("e", NULL);
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
	end();
}
END_TEST

START_TEST(a_start_may_be_ignored)
{
	struct stash_child_spec b = child("b", ARGS("ignore")), c = child("c", ARGS("ignore"));
	struct stash_process p;

	begin();
	GIVES(stash_start_child(client, "root", &b, &p, LONG_MS), STASH_IGNORE, "");
	ck_assert_int_eq(p.pid, 0);
	children_are("root", "b,worker,undefined pool,supervisor,running web,supervisor,running a,worker,running");
	GIVES(stash_restart_child(client, "root", "b", &p, LONG_MS), STASH_IGNORE, "");
	GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
	c.restart = STASH_TEMPORARY;
	GIVES(stash_start_child(client, "root", &c, &p, LONG_MS), STASH_IGNORE, "");
	counts_are("root", 3, 3, 2, 1);
	end();
}
END_TEST

START_TEST(a_start_takes_as_long_as_init)
{
	struct stash_child_spec b;
	struct stash_client *other;
	char until[PATH_MAX];

	begin();
	snprintf(until, sizeof until, "until=%s", t_path("go"));
	b = child("b", ARGS(until));
	GIVES(stash_start_child(client, "root", &b, NULL, 100), STASH_E_TIMEDOUT, "");
	/* Its own supervisor waits for it, a sibling branch doesn't. */
	other = t_client(&stashd);
	GIVES(stash_count_children(other, "root", NULL, 100), STASH_E_TIMEDOUT, "");
	GIVES(stash_terminate_child(other, "root/web", "w", LONG_MS), 0, "");
	t_write_file(t_path("go"), "");
	GIVES(stash_restart_child(client, "root", "b", NULL, LONG_MS), STASH_E_RUNNING, "running");
	stash_client_close(other);
	end();
}
END_TEST

/* A supervisor with children is started, restarted and deleted as one. */
START_TEST(a_branch_is_a_child)
{
	struct stash_child_spec kids[] = { child("x", NULL), child("y", ARGS("fail")) };
	struct stash_supervisor_spec branch = {
		.size = sizeof branch, .strategy = STASH_REST_FOR_ONE, .children = kids, .nchildren = 2
	};
	struct stash_child_spec b = { .size = sizeof b, .id = "branch", .supervisor = &branch };

	begin();
	GIVES(
	    stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_START, "failed_to_start_child y init_error");
	counts_are("root", 3, 3, 2, 1);
	kids[1] = child("y", NULL);
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	children_are("root/branch", "y,worker,running x,worker,running");
	t_expect_call(client, "y", "count", "", "1");
	GIVES(stash_terminate_child(client, "root", "branch", LONG_MS), 0, "");
	GIVES(stash_restart_child(client, "root", "branch", NULL, LONG_MS), 0, "");
	t_expect_call(client, "y", "count", "", "2");
	GIVES(stash_terminate_child(client, "root", "branch", LONG_MS), 0, "");
	GIVES(stash_delete_child(client, "root", "branch", LONG_MS), 0, "");
	kids[1] = child("x", NULL);
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_START, "start_spec duplicate_child_name x");
	end();
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
	struct stash_child_spec x = child("x", NULL), y[] = { child("y", ARGS("fail")) };
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

	begin();
	counts_are("root/pool", 1, 0, 0, 0);
	GIVES(stash_start_child(client, "root/pool", &one, &p, LONG_MS), 0, "");
	ck_assert_str_eq(p.name, "t-1");
	ck_assert_str_eq(p.child, "root/pool/t-1");
	t_expect_call(client, "t-1", "args", "", "t-1 first second third");
	GIVES(stash_start_child(client, "root/pool", &named, &p, LONG_MS), 0, "");
	t_expect_call(client, "ann", "args", "", "ann first");
	counts_are("root/pool", 1, 2, 0, 2);
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
	counts_are("root/pool", 1, 1, 0, 1);
	GIVES(stash_whereis(client, "t-1", NULL), STASH_E_NOENT, "");
	/* The same name with other arguments is another instance. */
	one.name = "t-1";
	one.args = ARGS("fourth");
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	t_expect_call(client, "t-1", "args", "", "t-1 first fourth");
	end();
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
	struct stash_child_spec b = child("b", ARGS("x"));
	struct stash_client *other;
	struct seen s = { 0 };

	begin();
	b.restart = STASH_TRANSIENT;
	b.shutdown_ms = STASH_BRUTAL_KILL;
	b.type = 2;
	b.name = "bee";
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	counts_are("root", 4, 4, 3, 1);
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
	end();
}
END_TEST

/* ---- over deaths of the supervisor ---- */

static void
murder_supervisor(void)
{
	pid_t before = t_pid(&stashd, T_SUPERVISOR, NULL);

	ck_assert(t_murder(&stashd, T_SUPERVISOR, NULL));
	ck_assert_int_gt(before, 0);
}

static unsigned
restarts_of(const char *name)
{
	struct stash_process p;

	GIVES(stash_whereis(client, name, &p), 0, "");
	return (unsigned)p.restarts;
}

static bool
has_restarted(void *arg)
{
	const unsigned *want = arg;

	return restarts_of("t-1") == *want;
}

static bool
pool_is_gone(void *arg)
{
	(void)arg;
	return stash_whereis(client, "t-1", NULL) == STASH_E_NOENT;
}

START_TEST(dynamic_children_survive_the_supervisor)
{
	struct stash_child_spec b = child("b", ARGS("x")), one = { .size = sizeof one, .args = ARGS("second") };
	struct stash_supervisor_spec branch = { .size = sizeof branch, .children = &b, .nchildren = 1 };
	struct stash_child_spec s = { .size = sizeof s, .id = "branch", .supervisor = &branch };
	pid_t pid, pid_b;

	begin();
	GIVES(stash_start_child(client, "root", &s, NULL, LONG_MS), 0, "");
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	GIVES(stash_terminate_child(client, "root", "a", LONG_MS), 0, "");
	for (unsigned i = 1; i <= 2; i++) {
		ck_assert(t_murder(&stashd, T_WORKER, "t-1"));
		ck_assert(t_wait_for(has_restarted, &i, LONG_MS));
		t_expect_call(client, "t-1", "args", "", "t-1 first second");
	}
	t_expect_call(client, "t-1", "count", "", "1");
	pid = t_pid(&stashd, T_WORKER, "t-1");
	pid_b = t_pid(&stashd, T_WORKER, "b");
	murder_supervisor();
	children_are(
	    "root", "branch,supervisor,running pool,supervisor,running web,supervisor,running a,worker,undefined");
	children_are("root/branch", "b,worker,running");
	counts_are("root/pool", 1, 1, 0, 1);
	ck_assert_int_eq(t_pid(&stashd, T_WORKER, "t-1"), pid);
	ck_assert_int_eq(t_pid(&stashd, T_WORKER, "b"), pid_b);
	ck_assert_uint_eq(restarts_of("t-1"), 2);
	t_expect_call(client, "t-1", "args", "", "t-1 first second");
	t_expect_call(client, "t-1", "count", "", "2");
	/* Its budget of two was used up by its predecessor's time: with one more the pool ends, and is begun anew. */
	ck_assert(t_murder(&stashd, T_WORKER, "t-1"));
	ck_assert(t_wait_for(pool_is_gone, NULL, LONG_MS));
	counts_are("root/pool", 1, 0, 0, 0);
	GIVES(stash_restart_child(client, "root", "a", NULL, LONG_MS), 0, "");
	end();
}
END_TEST

/* In a process of its own: a start that takes until the supervisor has been killed. */
static void
start_in_child(const char *supervisor, const struct stash_child_spec *spec, int code, struct t_proc *p)
{
	p->pid = fork();
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0) {
		struct stash_client *mine = NULL;
		int result = stash_client_open(&mine, t_store(&stashd), NULL);

		if (result == 0)
			result = stash_start_child(mine, supervisor, spec, NULL, LONG_MS);
		if (result != code)
			fprintf(stderr, "start: %s: %s\n", stash_errname(result), stash_errmsg());
		stash_client_close(mine);
		_exit(result == code ? 0 : 1);
	}
}

static bool
file_is_there(void *arg)
{
	return access(arg, F_OK) == 0;
}

static void
reap_well(const struct t_proc *p)
{
	int status;

	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	ck_assert_int_eq(status, 0);
}

/* A request that is under way when the supervisor dies is answered by the next one, and done once. */
START_TEST(a_start_survives_the_supervisor)
{
	char until[PATH_MAX], noted[PATH_MAX];
	const char *args[] = { noted, until, NULL };
	struct stash_child_spec one = { .size = sizeof one, .args = args };
	struct stash_process process;
	struct t_proc p;

	begin();
	snprintf(until, sizeof until, "until=%s", t_path("go"));
	snprintf(noted, sizeof noted, "noted=%s", t_path("starts"));
	start_in_child("root/pool", &one, 0, &p);
	ck_assert(t_wait_for(file_is_there, (void *)(uintptr_t)t_path("starts"), LONG_MS));
	murder_supervisor();
	/* The next one has it in its tree. */
	GIVES(stash_whereis(client, "t-1", &process), 0, "");
	ck_assert_uint_eq(process.status, STASH_STARTING);
	t_write_file(t_path("go"), "");
	reap_well(&p);
	counts_are("root/pool", 1, 1, 0, 1);
	children_are("root/pool", "t-1,worker,running");
	end();
}
END_TEST

/* Wherever the supervisor dies in a start: each request makes one child, whose init runs once. */
START_TEST(each_start_is_done_once)
{
	enum { STARTS = 30 };
	char noted[PATH_MAX];
	const char *args[] = { noted, NULL };
	struct stash_child_spec one = { .size = sizeof one, .args = args };
	struct t_proc p;
	size_t len;
	char *starts;

	begin();
	snprintf(noted, sizeof noted, "noted=%s", t_path("starts"));
	for (int i = 0; i < STARTS; i++) {
		start_in_child("root/pool", &one, 0, &p);
		(void)poll(NULL, 0, i % 10); /* it dies at another point each time */
		(void)t_murder(&stashd, T_SUPERVISOR, NULL);
		reap_well(&p);
	}
	counts_are("root/pool", 1, STARTS, 0, STARTS);
	starts = t_read_file(t_path("starts"), &len);
	ck_assert_uint_eq(len, STARTS);
	free(starts);
	end();
}
END_TEST

/* Everything that was asked while there was no supervisor is asked of the next one. */
START_TEST(requests_wait_for_the_next_supervisor)
{
	struct stash_child_spec b = child("b", NULL);

	begin();
	for (int i = 0; i < 5; i++) {
		murder_supervisor();
		GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
		murder_supervisor();
		GIVES(stash_terminate_child(client, "root", "b", LONG_MS), 0, "");
		murder_supervisor();
		GIVES(stash_delete_child(client, "root", "b", LONG_MS), 0, "");
		counts_are("root", 3, 3, 2, 1);
	}
	end();
}
END_TEST

/* Whatever ended without order goes on as it was: the tree is the stored one. */
START_TEST(dynamic_children_survive_everything)
{
	struct stash_child_spec b = child("b", ARGS("x")), one = { .size = sizeof one, .args = ARGS("second") };

	begin();
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	GIVES(stash_start_child(client, "root/pool", &one, NULL, LONG_MS), 0, "");
	t_expect_call(client, "t-1", "count", "", "1");
	stash_client_close(client);
	t_murder_all(&stashd);
	t_stashd_start(&stashd, NULL);
	client = t_client(&stashd);
	counts_are("root", 4, 4, 2, 2);
	t_expect_call(client, "b", "args", "", "b x");
	t_expect_call(client, "t-1", "args", "", "t-1 first second");
	t_expect_call(client, "t-1", "count", "", "2");
	/* A clean stop ends that. */
	stash_client_close(client);
	t_stashd_stop(&stashd, 20000);
	t_stashd_start(&stashd, NULL);
	client = t_client(&stashd);
	counts_are("root", 3, 3, 2, 1);
	end();
}
END_TEST

START_TEST(without_stashd_all_is_down)
{
	struct stash_child_spec b = child("b", NULL);

	begin();
	t_stashd_stop(&stashd, 20000);
	GIVES(stash_count_children(client, "root", NULL, LONG_MS), STASH_E_DOWN, "");
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), STASH_E_DOWN, "");
	GIVES(stash_whereis(client, "a", NULL), STASH_E_DOWN, "");
	t_stashd_start(&stashd, NULL);
	GIVES(stash_start_child(client, "root", &b, NULL, LONG_MS), 0, "");
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("admin");
	TCase *tc = t_case(s, "calls", 60);

	tcase_add_test(tc, children_come_and_go);
	tcase_add_test(tc, each_failure_has_its_term);
	tcase_add_test(tc, a_start_may_be_ignored);
	tcase_add_test(tc, a_start_takes_as_long_as_init);
	tcase_add_test(tc, a_branch_is_a_child);
	tcase_add_test(tc, a_tree_that_fails_has_a_term);
	tcase_add_test(tc, instances_have_a_template);
	tcase_add_test(tc, a_specification_is_told);
	tc = t_case(s, "deaths", 60);
	tcase_add_test(tc, dynamic_children_survive_the_supervisor);
	tcase_add_test(tc, a_start_survives_the_supervisor);
	tcase_add_test(tc, each_start_is_done_once);
	tcase_add_test(tc, requests_wait_for_the_next_supervisor);
	tcase_add_test(tc, dynamic_children_survive_everything);
	tcase_add_test(tc, without_stashd_all_is_down);
	return s;
}

TEST_MAIN(suite)
