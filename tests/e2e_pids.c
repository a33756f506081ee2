/* SPDX-License-Identifier: ISC */
/*
 * Numbers of processes are not processes: a pid that stands in a slot or in the pidfile may be a stranger's by now, or
 * of another namespace.  A stranger is never signalled.  And stashd as process 1 of a PID namespace, as in a container.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/boot.h"
#include "shm/format.h"
#include "testlib_live.h"

static struct t_stashd d;
static struct t_proc stranger;

static const char *
sequence(void)
{
	return t_config("sequence", "examples/sequence.so", "\"0\"", "", "");
}

static void
begin(void)
{
	memset(&d, 0, sizeof d);
	t_stashd_start(&d, sequence());
}

static bool
is_later(void *arg)
{
	return times(NULL) > *(clock_t *)arg + 1;
}

/* A process that has nothing to do with it.  The kernel tells the starts of processes in ticks: it begins in a later
 * one than all before it, as whoever came by a number again would. */
static void
begin_stranger(void)
{
	clock_t now = times(NULL);

	ck_assert(t_wait_for(is_later, &now, 5000));
	t_spawn(&stranger, (const char *const[]){ "sleep", "1000", NULL }, NULL);
}

static void
end_stranger(void)
{
	ck_assert_msg(!t_ended(&stranger, 0), "the stranger was hit");
	t_kill(&stranger, SIGKILL);
	ck_assert_int_eq(t_wait(&stranger, 5000), 256 + SIGKILL);
}

static void
expect_number(const char *number)
{
	struct stash_client *c = t_client(&d);

	t_expect_call(c, "sequence", "next_number", NULL, number);
	stash_client_close(c);
}

/* Puts another process's number into the slot, as if it had come by it after the worker's death. */
static void
write_owner(pid_t pid)
{
	char path[PATH_MAX + 64];
	uint64_t number = (uint64_t)pid;
	int fd;

	snprintf(path, sizeof path, "%s/slot/sequence.out", t_run_of(&d));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(
	    pwrite(fd, &number, sizeof number, offsetof(struct stash__out_page, owner_pid)), (ssize_t)sizeof number);
	close(fd);
}

START_TEST(test_a_strangers_pid_in_a_slot)
{
	begin();
	expect_number("0");
	t_murder_all(&d);
	begin_stranger();
	write_owner(stranger.pid);
	begin();
	expect_number("1");
	t_stashd_stop(&d, 20000);
	end_stranger();
}
END_TEST

/* Behind its exec no supervisor's death takes it along. */
static bool
sleeps(void *arg)
{
	const pid_t *pid = arg;
	char path[64], name[16] = "";
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)*pid);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	(void)!fgets(name, sizeof name, file);
	fclose(file);
	return strcmp(name, "sleep\n") == 0;
}

static bool
is_reaped(void *arg)
{
	const pid_t *pid = arg;

	return waitpid(*pid, NULL, WNOHANG) == *pid;
}

/* It keeps no state and nobody calls it; still the next stashd must know it from what it starts. */
START_TEST(test_a_program_without_a_name_is_found)
{
	pid_t before;

	memset(&d, 0, sizeof d);
	t_stashd_start(&d,
	    "tree = { children = (\n"
	    "  { id = \"a\"; name = \"\"; exec = [\"/bin/sleep\", \"1000\"]; notify = \"none\"; } ); };");
	before = t_pid(&d, T_WORKER, "unnamed~root~a");
	ck_assert_int_gt(before, 0);
	ck_assert(t_wait_for(sleeps, &before, 10000));
	t_murder_stashd(&d);
	ck_assert_int_eq(waitpid(before, NULL, WNOHANG), 0);
	t_stashd_start(&d, NULL);
	ck_assert(t_wait_for(is_reaped, &before, 10000));
	t_stashd_stop(&d, 20000);
}
END_TEST

START_TEST(test_a_strangers_pid_in_the_pidfile)
{
	struct t_result r;
	char text[32], path[PATH_MAX];

	begin();
	expect_number("0");
	t_murder_all(&d);
	begin_stranger();
	snprintf(text, sizeof text, "%d", (int)stranger.pid);
	snprintf(path, sizeof path, "%s/stashd.pid", t_store(&d));
	t_write_file(path, text);
	begin();
	expect_number("1");
	/* While it runs, too: nobody acts by that number. */
	t_write_file(path, text);
	t_run(&r, NULL, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL });
	ck_assert_int_eq(r.status, EX_TEMPFAIL);
	t_result_free(&r);
	t_run(&r, NULL, (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "shutdown", NULL });
	ck_assert_int_eq(r.status, EX_OK);
	t_result_free(&r);
	ck_assert_int_eq(t_wait(&d.proc, 20000), 0);
	t_kill_all();
	close(stranger.pidfd);
}
END_TEST

/* ---- in a namespace ---- */

static struct t_proc unshare;

/* Whether such a thing can be had here: as root, or in a namespace of users, if the kernel lets us. */
static const char *const *
namespaces(void)
{
	static const char *const as_root[] = { "unshare", "-pf", "--mount-proc", "--kill-child=SIGKILL", NULL };
	static const char *const as_user[] = { "unshare", "-Urpf", "--mount-proc", "--kill-child=SIGKILL", NULL };
	const char *const *words = geteuid() == 0 ? as_root : as_user, *argv[8];
	struct t_result r;
	int n = 0, status;

	while (words[n] != NULL) {
		argv[n] = words[n];
		n++;
	}
	argv[n] = "true";
	argv[n + 1] = NULL;
	t_run(&r, NULL, argv);
	status = r.status;
	if (status != 0)
		printf("skipped: PID namespaces can't be had here: %s", r.err);
	t_result_free(&r);
	return status == 0 ? words : NULL;
}

static bool
has_child(void *arg)
{
	return t_children(unshare.pid, arg, 1) == 1;
}

static bool
answers(void *arg)
{
	struct stash_client *c;

	(void)arg;
	if (stash_client_open(&c, t_store(&d), NULL) < 0)
		return false;
	stash_client_close(c);
	return true;
}

/* Runs words as process 1 of a namespace; the number is that outside. */
static pid_t
run_inside(const char *const *space, const char *const *words)
{
	const char *argv[16];
	pid_t pid = 0;
	int n = 0;

	for (; space[n] != NULL; n++)
		argv[n] = space[n];
	for (int i = 0; words[i] != NULL; i++)
		argv[n++] = words[i];
	argv[n] = NULL;
	t_spawn(&unshare, argv, NULL);
	ck_assert(t_wait_for(has_child, &pid, 20000));
	return pid;
}

static void
begin_inside(const char *const *space)
{
	pid_t pid;

	memset(&d, 0, sizeof d);
	d.dir = t_path("store");
	d.conf = t_path("stashd.conf");
	t_write_file(d.conf, sequence());
	pid = run_inside(space, (const char *const[]){ t_build("stashd"), "-d", d.dir, "-f", d.conf, NULL });
	ck_assert_msg(t_wait_for(answers, NULL, 20000), "%s", t_output(&unshare));
	d.proc.pid = pid; /* for t_pid() */
}

static void
signal_one(pid_t pid, int signal)
{
	int pidfd = pidfd_open(pid, 0);

	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(pidfd_send_signal(pidfd, signal, NULL, 0), 0);
	close(pidfd);
}

static bool
has_other_supervisor(void *arg)
{
	const pid_t *old = arg;
	pid_t now = t_pid(&d, T_SUPERVISOR, NULL);

	return now != 0 && now != *old;
}

/* Zombies, and living ones that a stranger has left to process 1. */
static bool
has_no_strangers(void *arg)
{
	pid_t pids[64];
	int n = t_children(d.proc.pid, pids, 64);

	(void)arg;
	for (int i = 0; i < n; i++) {
		char path[64], *stat;
		bool strange;

		snprintf(path, sizeof path, "/proc/%d/stat", (int)pids[i]);
		if (access(path, R_OK) != 0)
			continue;
		stat = t_read_file(path, NULL);
		strange = strstr(stat, ") Z ") != NULL || strstr(stat, "(sleep)") != NULL;
		free(stat);
		if (strange)
			return false;
	}
	return true;
}

/* Of a process that somebody has sent into the namespace: nobody's child is process 1's. */
static void
leave_orphans(void)
{
	char target[32];
	struct t_result r;

	snprintf(target, sizeof target, "%d", (int)d.proc.pid);
	t_run(&r, NULL,
	    (const char *const[]){ "nsenter", "-t", target, "-U", "--preserve-credentials", "-p", "-m", "sh", "-c",
		"(sleep 1000 >/dev/null 2>&1 &) ; (true &) ; exit 0", NULL });
	if (r.status != 0) {
		t_result_free(&r);
		t_run(&r, NULL,
		    (const char *const[]){ "nsenter", "-t", target, "-p", "-m", "sh", "-c",
			"(sleep 1000 >/dev/null 2>&1 &) ; (true &) ; exit 0", NULL });
	}
	ck_assert_msg(r.status == 0, "%s", r.err);
	t_result_free(&r);
}

START_TEST(test_as_process_1)
{
	const char *const *space = namespaces();
	struct t_result r;
	pid_t old;

	if (space == NULL)
		return;
	begin_inside(space);
	expect_number("0");
	for (int i = 1; i <= 3; i++) {
		char number[12];

		snprintf(number, sizeof number, "%d", i);
		old = t_pid(&d, T_SUPERVISOR, NULL);
		ck_assert_int_gt(old, 0);
		signal_one(old, SIGKILL);
		ck_assert(t_wait_for(has_other_supervisor, &old, 20000));
		expect_number(number);
		t_run(&r, NULL,
		    (const char *const[]){ t_build("stashctl"), "-d", t_store(&d), "kill", "sequence", NULL });
		ck_assert_int_eq(r.status, EX_OK);
		t_result_free(&r);
	}
	expect_number("4");
	leave_orphans();
	ck_assert_msg(t_wait_for(has_no_strangers, NULL, 40000), "%s", t_output(&unshare));
	expect_number("5");
	/* Process 1 has no default for a signal: each that stashd(8) tells of has to be taken. */
	signal_one(d.proc.pid, SIGUSR1);
	t_wait_output(&unshare, "sequence", 20000);
	signal_one(d.proc.pid, SIGHUP);
	t_wait_output(&unshare, "SIGHUP", 20000);
	signal_one(d.proc.pid, SIGTERM);
	ck_assert_int_eq(t_wait(&unshare, 20000), 0);
	t_wait_output(&unshare, "down after", 1000);
}
END_TEST

/* The directory is in use, whoever can see those who use it. */
START_TEST(test_from_another_namespace)
{
	const char *const *space = namespaces();
	pid_t inside;

	if (space == NULL)
		return;
	begin();
	expect_number("0");
	inside = run_inside(space, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL });
	(void)inside;
	ck_assert_int_eq(t_wait(&unshare, 20000), EX_TEMPFAIL);
	t_wait_output(&unshare, "another PID namespace", 1000);
	expect_number("1");
	t_stashd_stop(&d, 20000);
	/* And the other way round. */
	begin_inside(space);
	expect_number("2");
	{
		struct t_result r;

		t_run(&r, NULL, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL });
		ck_assert_msg(r.status == EX_TEMPFAIL, "%d: %s", r.status, r.err);
		t_result_free(&r);
	}
	expect_number("3");
	signal_one(d.proc.pid, SIGTERM);
	ck_assert_int_eq(t_wait(&unshare, 20000), 0);
}
END_TEST

/*
 * The number of the dead worker is really given away again: all of stashd is killed, then a stranger is made that has
 * it.
 * Inside, by a shell, since only there numbers can be chosen.
 */
START_TEST(test_a_pid_that_was_given_away)
{
	static const char script[] =
	    "set -e; stashd=$1; ctl=$2; store=$3; conf=$4\n"
	    "call() { \"$ctl\" -d \"$store\" call sequence next_number; }\n"
	    "ready() { until call >/dev/null 2>&1; do :; done; }\n"
	    "\"$stashd\" -d \"$store\" -f \"$conf\" & keeper=$!\n"
	    "ready; call >/dev/null\n"
	    "pids=$(for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = 1 ] || echo $p; done)\n"
	    "worker=$(for p in $pids; do grep -lsz '^stash: sequence' /proc/$p/cmdline || :; done | tr -dc 0-9)\n"
	    "[ -n \"$worker\" ]\n"
	    "kill -9 $pids 2>/dev/null || :\n"
	    "wait $keeper || :\n"
	    "while [ -d /proc/$worker ]; do :; done\n"
	    "i=0; while [ $i -lt 50 ]; do i=$((i + 1))\n"
	    "  echo $((worker - 1)) >/proc/sys/kernel/ns_last_pid; sleep 1000 & stranger=$!\n"
	    "  [ $stranger = $worker ] && break; kill -9 $stranger; wait $stranger || :; done\n"
	    "[ $stranger = $worker ] || { echo 'no such pid'; exit 3; }\n"
	    "\"$stashd\" -d \"$store\" -f \"$conf\" & keeper=$!\n"
	    "ready; number=$(call)\n"
	    "kill -TERM $keeper; wait $keeper\n"
	    "kill -0 $stranger && echo \"alive, number $number\"; kill -9 $stranger\n";
	const char *const *space = namespaces();
	pid_t pid;

	if (space == NULL)
		return;
	memset(&d, 0, sizeof d);
	d.dir = t_path("store");
	d.conf = t_path("stashd.conf");
	t_write_file(d.conf, sequence());
	pid = run_inside(space,
	    (const char *const[]){
		"sh", "-c", script, "sh", t_build("stashd"), t_build("stashctl"), d.dir, d.conf, NULL });
	(void)pid;
	ck_assert_msg(t_wait(&unshare, 60000) == 0, "%s", t_output(&unshare));
	t_wait_output(&unshare, "alive, number", 1000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("pids");
	TCase *strange = t_case(s, "strangers", 60), *inside = t_case(s, "namespaces", 120);

	tcase_add_test(strange, test_a_strangers_pid_in_a_slot);
	tcase_add_test(strange, test_a_program_without_a_name_is_found);
	tcase_add_test(strange, test_a_strangers_pid_in_the_pidfile);
	tcase_add_test(inside, test_as_process_1);
	tcase_add_test(inside, test_from_another_namespace);
	tcase_add_test(inside, test_a_pid_that_was_given_away);
	return s;
}

TEST_MAIN(suite)
