/* SPDX-License-Identifier: ISC */
/*
 * Clients of other users: who is let in and for what, over every death.  Needs root, to become somebody else.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/sock.h"
#include "reader/reader.h"
#include "shm/bell.h"
#include "shm/channel.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "testlib_live.h"
#include "testlib_users.h"

static const struct t_user stranger = { .uid = T_STRANGER };
static struct t_stashd d;

/* ---- who is let in ---- */

static const char *
cant_open(void *arg)
{
	struct stash_client *c;
	int result = stash_client_open(&c, t_store(&d), NULL);

	if (result != STASH_E_ACCES)
		return t_wrong("stash_client_open: %s: %s", stash_errname(result), stash_errmsg());
	return strstr(stash_errmsg(), arg) != NULL ? NULL :
						     t_wrong("it doesn't say \"%s\": %s", (char *)arg, stash_errmsg());
}

START_TEST(nobody_else_is_let_in_by_default)
{
	if (!t_users_begin(&d, ""))
		return;
	t_as_user(&stranger, cant_open, "Permission denied");
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(a_user_that_is_named_may_call)
{
	const struct t_user other = { .uid = T_OTHER };

	if (!t_users_begin(&d, T_ALLOW_STRANGER))
		return;
	t_as_user(&stranger, t_calls, &d);
	t_as_user(&other, cant_open, "allow_users");
	t_stashd_stop(&d, 10000);
}
END_TEST

START_TEST(a_group_that_is_named_may_call)
{
	const struct t_user first = { .uid = T_OTHER, .gid = T_GROUP }, further = { .uid = T_OTHER, .extra = T_GROUP },
			    other = { .uid = T_OTHER };

	if (!t_users_begin(&d, "allow_groups = [64242];"))
		return;
	t_as_user(&first, t_calls, &d);
	t_as_user(&further, t_calls, &d);
	t_as_user(&other, cant_open, "allow_groups");
	t_stashd_stop(&d, 10000);
}
END_TEST

/* The next stashd here has another config. */
START_TEST(what_is_allowed_no_more_is_taken_back)
{
	struct stat st;

	if (!t_users_begin(&d, T_ALLOW_STRANGER T_STRANGER_READS))
		return;
	t_as_user(&stranger, t_calls, &d);
	t_murder_all(&d);
	t_stashd_start(&d, t_config("echo", "tests/modules/echo.so", "", "", ""));
	ck_assert_int_eq(stat(t_run_of(&d), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(stat(t_path("store/stash.info"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	t_as_user(&stranger, cant_open, "Permission denied");
	t_stashd_stop(&d, 10000);
}
END_TEST

/* ---- what is refused ---- */

static int
none(void *arg, const struct stash_process *process)
{
	(void)arg;
	(void)process;
	return 0;
}

static int
no_spec(void *arg, const struct stash_child_spec *spec)
{
	(void)arg;
	(void)spec;
	return 0;
}

struct outcome {
	const char *what;
	int result;
};

static const char *
all_are(const struct outcome *t, int result)
{
	for (; t->what != NULL; t++)
		if (t->result != result)
			return t_wrong("%s: %s", t->what, stash_errname(t->result));
	return NULL;
}

/* Everything that changes something is refused; questions about the tree are for those who may look. */
static const char *
administers(bool look)
{
	struct stash_child_spec spec = { .size = sizeof spec, .id = "x" };
	struct stash_child_counts counts;
	struct stash_client *c;
	const char *why;

	spec.exec = (const char *const[]){ "/bin/true", NULL };
	if (stash_client_open(&c, t_store(&d), NULL) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	const struct outcome changes[] = {
		{ "start_child", stash_start_child(c, "root", &spec, NULL, 5000) },
		{ "terminate_child", stash_terminate_child(c, "root", "echo", 5000) },
		{ "restart_child", stash_restart_child(c, "root", "echo", NULL, 5000) },
		{ "delete_child", stash_delete_child(c, "root", "echo", 5000) },
		{ "bounce", stash_bounce(c, "echo", 5000) },
		{ "reload", stash_reload(c, 5000) },
		{ "put", stash_state_put(c, "echo", "x", 1, 5000) },
		{ "stop", stash_stop(c, 5000) },
		{ NULL, 0 },
	};
	const struct outcome questions[] = {
		{ "which_children", stash_which_children(c, "root", none, NULL, 5000) },
		{ "count_children", stash_count_children(c, "root", &counts, 5000) },
		{ "get_childspec", stash_get_childspec(c, "root", "echo", no_spec, NULL, 5000) },
		{ NULL, 0 },
	};
	why = all_are(changes, STASH_E_ACCES);
	if (why == NULL)
		why = all_are(questions, look ? STASH_OK : STASH_E_ACCES);
	stash_client_close(c);
	return why;
}

static const char *
is_no_operator(void *arg)
{
	struct stash_store *store;
	struct stash_state state;
	int result;

	(void)arg;
	if (stash_store_open(&store, t_store(&d), NULL) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	result = stash_store_read(store, "echo", &state);
	stash_store_close(store);
	if (result != STASH_E_ACCES)
		return t_wrong("it reads a state: %s", stash_errname(result));
	return administers(false);
}

START_TEST(a_user_that_may_call_administers_nothing)
{
	struct stash_client *c;
	struct stash_child_counts counts;

	if (!t_users_begin(&d, T_ALLOW_STRANGER))
		return;
	t_as_user(&stranger, is_no_operator, NULL);
	c = t_client(&d);
	ck_assert_int_eq(stash_count_children(c, "root", &counts, 5000), STASH_OK);
	ck_assert_uint_eq(counts.specs, 1);
	ck_assert_uint_eq(counts.active, 1);
	/* What was refused has not reached the worker either. */
	t_expect_call(c, "echo", "count", NULL, "1 0");
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
}
END_TEST

/* ---- who may look ---- */

static const char *
reads(const char *name, uint64_t version)
{
	struct stash_store *store;
	struct stash_state state;
	struct stash_box box;
	const char *why = NULL;

	if (stash_store_open(&store, t_store(&d), NULL) != STASH_OK ||
	    stash_store_read(store, name, &state) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	if (state.version != version)
		why = t_wrong("version %" PRIu64 " in place of %" PRIu64, state.version, version);
	stash_state_free(&state);
	if (stash_store_box(store, name, &box) != STASH_OK)
		why = t_wrong("%s", stash_errmsg());
	stash_store_close(store);
	return why;
}

/* A bell is no slot: who could read it could take the worker's rings. */
static const char *
opens_no_bell(const char *name)
{
	char file[STASH__SLOT_FILE_MAX], path[PATH_MAX];
	int fd;

	stash__slot_file(file, name, "fifo");
	snprintf(path, sizeof path, "%s/" STASH__SLOT_DIR "/%s", t_run_of(&d), file);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		return NULL;
	if (fd < 0)
		return t_wrong("%s: %s", path, strerror(errno));
	close(fd);
	return t_wrong("the bell of %s can be opened", name);
}

static const char *
looks(void *arg)
{
	struct stash_store *store;
	struct stash_client *c;
	struct stash_reply reply;
	const char *why = reads("echo", *(uint64_t *)arg);
	int result;

	if (why != NULL)
		return why;
	if (stash_store_open(&store, t_store(&d), NULL) != STASH_OK ||
	    stash_store_list(store, NULL, none, NULL) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	stash_store_close(store);
	if (stash_client_open(&c, t_store(&d), NULL) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	result = stash_call(c, "echo", "echo", "x", 1, &reply, 5000);
	if (result != STASH_E_ACCES || strstr(stash_errmsg(), "only look") == NULL)
		return t_wrong("a call: %s: %s", stash_errname(result), stash_errmsg());
	if (stash_cast(c, "echo", "x", NULL, 0) != STASH_E_ACCES)
		return t_wrong("a cast is taken");
	stash_client_close(c);
	why = opens_no_bell("echo");
	return why != NULL ? why : administers(true);
}

/* Slots made at the start and later; those that a dead stashd has left. */
START_TEST(a_reader_looks_and_calls_nothing)
{
	struct stash_child_spec late = { .size = sizeof late, .id = "late" };
	struct stash_client *c;
	uint64_t version = 2;
	struct stat st;

	if (!t_users_begin(&d, T_STRANGER_READS))
		return;
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "x", "x");
	ck_assert_int_eq(stash_cast(c, "echo", "x", NULL, 0), STASH_OK);
	t_expect_call(c, "echo", "count", NULL, "2 1");
	version = 3;
	t_as_user(&stranger, looks, &version);
	late.module = t_build("tests/modules/echo.so");
	ck_assert_int_eq(stash_start_child(c, "root", &late, NULL, 10000), STASH_OK);
	t_expect_call(c, "late", "echo", "x", "x");
	stash_client_close(c);
	ck_assert_int_eq(lstat(t_path("store/data.mdb"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0077, 0);
	t_stashd_stop(&d, 10000);
}
END_TEST

static const char *
reads_late(void *arg)
{
	(void)arg;
	return reads("late", 1);
}

static const char *
reads_after_death(void *arg)
{
	const char *why = reads("echo", *(uint64_t *)arg);

	return why != NULL ? why : opens_no_bell("echo");
}

START_TEST(a_reader_reads_slots_made_later_and_those_of_the_dead)
{
	struct stash_child_spec late = { .size = sizeof late, .id = "late" };
	struct stash_client *c;
	uint64_t version = 1;

	if (!t_users_begin(&d, T_STRANGER_READS))
		return;
	c = t_client(&d);
	late.module = t_build("tests/modules/echo.so");
	ck_assert_int_eq(stash_start_child(c, "root", &late, NULL, 10000), STASH_OK);
	t_expect_call(c, "late", "echo", "x", "x");
	t_expect_call(c, "echo", "echo", "x", "x");
	t_as_user(&stranger, reads_late, NULL);
	stash_client_close(c);
	t_murder_all(&d);
	t_as_user(&stranger, reads_after_death, &version);
	t_stashd_start(&d, NULL);
	t_stashd_stop(&d, 10000);
}
END_TEST

struct shown {
	int program;
	const char *const *argv;
	const char *text;
};

/* Opened by root: a directory above may be closed. */
static const char *
inspects(void *arg)
{
	const struct shown *s = arg;
	int out = memfd_create("out", MFD_CLOEXEC), status;
	char text[4096];
	ssize_t n;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		fexecve(s->program, (char *const *)(uintptr_t)s->argv, environ);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return "it can't run a program";
	n = pread(out, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	if (status != 0 || strstr(text, s->text) == NULL)
		return t_wrong("%s: status %x: %s", s->argv[1], status, text);
	return NULL;
}

START_TEST(a_reader_has_the_tool)
{
	const char *store = t_path("store");
	const char *const list[] = { "stash-inspect", "list", "-d", store, NULL },
			  *const tree[] = { "stash-inspect", "tree", "-d", store, NULL },
			  *const show[] = { "stash-inspect", "show", "echo", "-d", store, NULL },
			  *const events[] = { "stash-inspect", "events", "-d", store, NULL };
	struct shown shown[] = { { -1, list, "echo" }, { -1, tree, "echo" }, { -1, show, "messages" },
		{ -1, events, "echo" } };
	struct stash_client *c;

	if (!t_users_begin(&d, T_STRANGER_READS))
		return;
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "x", "x");
	stash_client_close(c);
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
		/* Not close-on-exec: /proc would lose it. */
		shown[i].program = open(t_build("stash-inspect"), O_RDONLY);
		ck_assert_int_ge(shown[i].program, 0);
		t_as_user(&stranger, inspects, &shown[i]);
		close(shown[i].program);
	}
	t_stashd_stop(&d, 10000);
}
END_TEST

/* ---- over deaths ---- */

/* Numbers in order, none twice, none missing: the calls of one client. */
static const char *
counts_on(void *arg)
{
	struct t_storm *s = arg;
	struct stash_client *c;
	struct stash_reply reply;
	int64_t next = 0, number;

	if (stash_client_open(&c, t_store(&d), NULL) != STASH_OK)
		return t_wrong("%s", stash_errmsg());
	while (!s->stop) {
		int result = stash_call(c, "numbers", "next_number", NULL, 0, &reply, 60000);
		if (result != STASH_OK)
			return t_wrong("after %" PRId64 ": %s: %s", next, stash_errname(result), stash_errmsg());
		if (stash_parse_int(reply.data, 0, INT64_MAX, &number) < 0 || number != next)
			return t_wrong("%" PRId64 " was due, %" PRId64 " came", next, number);
		stash_reply_free(&reply);
		next++;
		s->calls = (uint64_t)next;
	}
	stash_client_close(c);
	return NULL;
}

static bool
went_on(void *arg)
{
	const struct t_storm *s = arg;

	return s->calls >= s->done + 20;
}

START_TEST(its_calls_go_on_over_every_death)
{
	static const enum t_who whom[] = { T_WORKER, T_SUPERVISOR, T_STASH, T_WORKER, T_SUPERVISOR };
	struct t_storm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int words;
	pid_t pid;

	if (t_no_users())
		return;
	ck_assert_ptr_ne(s, MAP_FAILED);
	t_open_dirs();
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("numbers", "examples/sequence.so", "0", "", T_ALLOW_STRANGER));
	pid = t_user_start(&stranger, counts_on, s, &words);
	for (int i = 0; i < 20; i++) {
		bool on = t_wait_for(went_on, s, 30000);
		if (!on) /* what it says is worth more than that it stands still */
			s->stop = true;
		if (!on)
			break;
		s->done = s->calls;
		(void)t_murder(&d, whom[i % 5], "numbers");
	}
	ck_assert(t_wait_for(went_on, s, 30000) || s->stop);
	s->stop = true;
	t_user_end(pid, words);
	ck_assert_uint_ge(s->calls, 400);
	munmap(s, sizeof *s);
	t_stashd_stop(&d, 20000);
}
END_TEST

/* All that stashd consists of, at once. */
static void
murder_but_the_client(void)
{
	static const enum t_who order[] = { T_KEEPER, T_SUPERVISOR, T_STASH, T_WORKER };
	int pidfds[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_ge(pidfds[i] = pidfd_open(t_pid(&d, order[i], "numbers"), 0), 0);
	for (int i = 0; i < 4; i++) {
		(void)pidfd_send_signal(pidfds[i], SIGKILL, NULL, 0);
		close(pidfds[i]);
	}
	ck_assert(t_ended(&d.proc, 10000));
}

/* Everything dies but the client, which presents its channel to the next stashd. */
START_TEST(its_channel_is_known_to_the_next_stashd)
{
	struct t_storm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int words;
	pid_t pid;

	if (t_no_users())
		return;
	ck_assert_ptr_ne(s, MAP_FAILED);
	t_open_dirs();
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("numbers", "examples/sequence.so", "0", "", T_ALLOW_STRANGER));
	pid = t_user_start(&stranger, counts_on, s, &words);
	ck_assert(t_wait_for(went_on, s, 30000));
	murder_but_the_client();
	s->done = s->calls;
	t_stashd_start(&d, NULL);
	ck_assert(t_wait_for(went_on, s, 30000));
	s->stop = true;
	t_user_end(pid, words);
	munmap(s, sizeof *s);
	t_stashd_stop(&d, 20000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("users");
	TCase *tc = t_case(s, "let in", 60);

	tcase_add_test(tc, nobody_else_is_let_in_by_default);
	tcase_add_test(tc, a_user_that_is_named_may_call);
	tcase_add_test(tc, a_group_that_is_named_may_call);
	tcase_add_test(tc, what_is_allowed_no_more_is_taken_back);
	tcase_add_test(tc, a_user_that_may_call_administers_nothing);
	tcase_add_test(tc, a_reader_looks_and_calls_nothing);
	tcase_add_test(tc, a_reader_reads_slots_made_later_and_those_of_the_dead);
	tcase_add_test(tc, a_reader_has_the_tool);
	tc = t_case(s, "over deaths", 120);
	tcase_add_test(tc, its_calls_go_on_over_every_death);
	tcase_add_test(tc, its_channel_is_known_to_the_next_stashd);
	return s;
}

TEST_MAIN(suite)
