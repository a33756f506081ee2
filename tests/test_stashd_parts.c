/* SPDX-License-Identifier: ISC */
/*
 * The parts of src/stashd that can be tried by themselves: lines of output, kept descriptors, the run
 * directory, children and their descriptors, orphans, what waits in an outbox.
 */
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/info.h"
#include "shm/wire.h"
#include "stashd/keeplink.h"
#include "stashd/mail.h"
#include "stashd/orphans.h"
#include "stashd/output.h"
#include "stashd/proc.h"
#include "stashd/rundir.h"
#include "stashd/server.h"
#include "stashd/spawn.h"
#include "stashd/vault.h"
#include "testlib.h"

Suite *stashd_parts_suite(void);

/* ---- lines of output ---- */

struct lines {
	char text[16][OUTPUT_LINE_MAX + 1];
	int n;
};

static void
note_line(void *arg, const char *line)
{
	struct lines *l = arg;

	ck_assert_int_lt(l->n, 16);
	snprintf(l->text[l->n++], sizeof(l->text[0]), "%s", line);
}

START_TEST(output_is_cut_into_lines)
{
	struct output_lines o = { NULL, 0 };
	struct lines l = { .n = 0 };

	output_feed(&o, "one\ntw", 6, note_line, &l);
	ck_assert_int_eq(l.n, 1);
	output_feed(&o, "o\n\nthree", 8, note_line, &l);
	ck_assert_int_eq(l.n, 3);
	ck_assert_str_eq(l.text[0], "one");
	ck_assert_str_eq(l.text[1], "two");
	ck_assert_str_eq(l.text[2], "");
	output_end(&o, note_line, &l);
	ck_assert_int_eq(l.n, 4);
	ck_assert_str_eq(l.text[3], "three");
	ck_assert_ptr_null(o.part);
}
END_TEST

START_TEST(a_line_without_end_comes_in_pieces)
{
	struct output_lines o = { NULL, 0 };
	struct lines l = { .n = 0 };
	char data[2 * OUTPUT_LINE_MAX + 10];

	memset(data, 'x', sizeof(data));
	data[5] = '\0';
	output_feed(&o, data, sizeof(data), note_line, &l);
	ck_assert_int_eq(l.n, 2);
	ck_assert_uint_eq(strlen(l.text[0]), OUTPUT_LINE_MAX);
	ck_assert_int_eq(l.text[0][5], '?');
	output_feed(&o, "\n", 1, note_line, &l);
	ck_assert_int_eq(l.n, 3);
	ck_assert_uint_eq(strlen(l.text[2]), 10);
	ck_assert_ptr_null(o.part);
	output_end(&o, note_line, &l);
	ck_assert_int_eq(l.n, 3);
}
END_TEST

/* ---- kept descriptors ---- */

START_TEST(the_vault_keeps_and_lets_go)
{
	struct vault v;
	struct vault_item *item;
	int before = t_fd_count(), fds[2], n;
	pid_t *pids;

	vault_init(&v);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vault_store(&v, "b", 30, fds, 2), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vault_store(&v, "a", 0, fds, 2), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vault_store(&v, "c", 20, fds, 2), 0);
	ck_assert_int_eq(t_fd_count(), before + 6);
	pids = vault_pids(&v, &n);
	ck_assert_int_eq(n, 2);
	ck_assert_int_eq(pids[0], 20);
	ck_assert_int_eq(pids[1], 30);
	free(pids);
	item = vault_next(&v, NULL);
	ck_assert_str_eq(item->key, "a");
	ck_assert_str_eq(vault_next(&v, item)->key, "b");
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vault_store(&v, "a", 0, fds, 2), 0); /* in place of the first */
	ck_assert_int_eq(t_fd_count(), before + 6);
	vault_drop(&v, "b");
	vault_drop(&v, "b");
	ck_assert_int_eq(t_fd_count(), before + 4);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vault_store(&v, "", 0, fds, 2), STASH_E_INVAL);
	ck_assert_int_eq(t_fd_count(), before + 4);
	vault_clear(&v);
	ck_assert_int_eq(t_fd_count(), before);
	ck_assert_ptr_null(vault_pids(&v, &n));
}
END_TEST

/* ---- the run directory ---- */

START_TEST(a_run_directory_is_made_and_found_again)
{
	struct stash__info made, again;
	struct stat st;

	ck_assert_int_eq(mkdir(t_path("store"), 0700), 0);
	ck_assert_int_eq(rundir_prepare(t_path("store"), NULL, &made), 0);
	ck_assert_int_eq(strncmp(made.run_dir, t_run_dir(), strlen(t_run_dir())), 0);
	ck_assert_ptr_nonnull(strstr(made.run_dir, made.id_text));
	ck_assert_int_eq(stat(made.run_dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(rundir_prepare(t_path("store"), NULL, &again), 0);
	ck_assert_str_eq(made.run_dir, again.run_dir);
	ck_assert_mem_eq(made.id, again.id, sizeof(made.id));
	rundir_clean(made.run_dir);
	ck_assert_int_lt(stat(made.run_dir, &st), 0);
}
END_TEST

START_TEST(slots_hold_the_run_directory_where_it_is)
{
	char other[PATH_MAX], slot[PATH_MAX + 16];
	struct stash__info first_info, info;
	int fd;

	ck_assert_int_eq(mkdir(t_path("store"), 0700), 0);
	ck_assert_int_eq(rundir_prepare(t_path("store"), NULL, &first_info), 0);
	snprintf(other, sizeof(other), "%s/other", t_run_dir());
	snprintf(slot, sizeof(slot), "%s/slot/x.out", first_info.run_dir);
	fd = open(slot, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert(rundir_has_slots(first_info.run_dir));
	ck_assert_int_eq(rundir_prepare(t_path("store"), other, &info), 0);
	ck_assert_str_eq(info.run_dir, first_info.run_dir);
	ck_assert_int_eq(unlink(slot), 0);
	ck_assert_int_eq(rundir_prepare(t_path("store"), other, &info), 0);
	ck_assert_str_eq(info.run_dir, other);
	ck_assert_int_eq(stash__info_read(t_path("store"), &info), 0);
	ck_assert_str_eq(info.run_dir, other);
}
END_TEST

START_TEST(a_run_directory_of_others_is_refused)
{
	struct stash__info info;
	char open_dir[PATH_MAX];

	ck_assert_int_eq(mkdir(t_path("store"), 0700), 0);
	snprintf(open_dir, sizeof(open_dir), "%s/open", t_run_dir());
	ck_assert_int_eq(mkdir(open_dir, 0700), 0);
	ck_assert_int_eq(chmod(open_dir, 0777), 0);
	ck_assert_int_eq(rundir_prepare(t_path("store"), open_dir, &info), STASH_E_ACCES);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "open"));
	ck_assert_int_eq(rundir_prepare(t_path("store"), "relative", &info), STASH_E_INVAL);
}
END_TEST

/* ---- children ---- */

static int
count_own_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir != NULL && readdir(dir) != NULL)
		n++;
	return n - 3; /* the directory itself, ".", ".." */
}

/* Tells how many descriptors it has, then what came by the second one. */
static void
child(void *arg, int out, int in)
{
	int fds = count_own_fds();
	char c = 'x';

	if (read(in, &c, 1) != 1)
		c = 'y';
	dprintf(out, "%d %c %s %d", fds, c, (const char *)arg, getppid() > 1);
	_exit(7);
}

static void
one_child(bool copy)
{
	struct spawn_bank bank;
	int to[2], from[2], pidfd, status;
	char text[100] = "";
	siginfo_t info;
	pid_t pid;

	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	ck_assert_int_eq(spawn_make(child, (char[]){ "hello" }, from[1], to[0], copy, &bank, &pid, &pidfd), 0);
	ck_assert_int_eq(write(to[1], "z", 1), 1);
	ck_assert_int_eq(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(info.si_pid, pid);
	ck_assert_int_eq(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED), 0);
	status = proc_wait_status(&info);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	ck_assert_int_gt(read(from[0], text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, "5 z hello 1");
	spawn_release(&bank);
	spawn_sweep();
	/* Nobody has the writing end any more. */
	ck_assert_int_eq(read(from[0], text, 1), 0);
	close(pidfd);
	close(to[1]);
	close(from[0]);
}

START_TEST(a_child_keeps_two_descriptors)
{
	int before = t_fd_count(), more[40];

	ck_assert_int_eq(spawn_setup(), 0);
	for (int i = 0; i < 40; i++)
		more[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 50; i++)
		one_child(i % 2 == 1);
	for (int i = 0; i < 40; i++)
		close(more[i]);
	spawn_teardown();
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

START_TEST(many_children_at_once_find_a_bank_or_a_copy)
{
	enum { N = 40 };
	struct spawn_bank bank[N];
	int to[N][2], from[N][2], pidfd[N];
	siginfo_t info;
	pid_t pid[N];

	ck_assert_int_eq(spawn_setup(), 0);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(pipe2(to[i], O_CLOEXEC), 0);
		ck_assert_int_eq(pipe2(from[i], O_CLOEXEC), 0);
		ck_assert_int_eq(
		    spawn_make(child, (char[]){ "many" }, from[i][1], to[i][0], false, &bank[i], &pid[i], &pidfd[i]),
		    0);
	}
	for (int i = N - 1; i >= 0; i--) {
		char text[100] = "";

		ck_assert_int_eq(write(to[i][1], "z", 1), 1);
		ck_assert_int_gt(read(from[i][0], text, sizeof(text) - 1), 0);
		ck_assert_str_eq(text, "5 z many 1");
		ck_assert_int_eq(waitid(P_PIDFD, (id_t)pidfd[i], &info, WEXITED), 0);
		spawn_release(&bank[i]);
		close(pidfd[i]);
		close(to[i][1]);
		close(from[i][0]);
	}
	spawn_teardown();
}
END_TEST

/* ---- orphans ---- */

START_TEST(only_unknown_children_are_ended)
{
	struct orphans o;
	pid_t before, known, unknown;
	int left;

	before = fork();
	if (before == 0) {
		(void)pause();
		_exit(0);
	}
	ck_assert_int_eq(orphans_begin(&o), 0);
	known = fork();
	if (known == 0) {
		(void)pause();
		_exit(0);
	}
	unknown = fork();
	if (unknown == 0) {
		(void)pause();
		_exit(0);
	}
	for (int i = 0; (left = orphans_end_unknown(&o, &known, 1, 0, 0)) > 0 && i < 1000; i++)
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(left, 0);
	ck_assert_int_lt(kill(unknown, 0), 0); /* killed and reaped */
	ck_assert_int_eq(kill(known, SIGKILL), 0);
	ck_assert_int_eq(kill(before, SIGKILL), 0);
	ck_assert_int_eq(waitpid(known, NULL, 0), known);
	ck_assert_int_eq(waitpid(before, NULL, 0), before);
	orphans_free(&o);
}
END_TEST

/* ---- messages that wait ---- */

static void
note_broken(void *arg, int error)
{
	*(int *)arg = error;
}

START_TEST(an_outbox_keeps_order_and_descriptors)
{
	struct event_base *events = event_base_new();
	int before = t_fd_count(), sockets[2], broken = 0, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct outbox o;
	struct mail m;
	int64_t n = 0, seen = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	outbox_init(&o, events, sockets[0], note_broken, &broken);
	while (o.bytes < 100000) {
		struct stash_buf *buf = mail_begin(1, (uint64_t)n++);

		stash_buf_add_bytes(buf, (char[500]){ 0 }, 500);
		ck_assert_int_eq(outbox_send(&o, buf, &null, 1), 0);
	}
	while (seen < n) {
		ck_assert_int_ge(event_base_loop(events, EVLOOP_NONBLOCK), 0);
		while (mail_recv(sockets[1], &m) == 0) {
			ck_assert_int_eq((int64_t)m.number, seen++);
			ck_assert_int_eq(m.nfds, 1);
			mail_done(&m);
		}
	}
	ck_assert(!o.waiting);
	ck_assert_uint_eq(o.bytes, 0);
	close(sockets[1]);
	ck_assert_int_eq(outbox_send(&o, mail_begin(1, 0), NULL, 0), STASH_E_DOWN);
	outbox_close(&o);
	outbox_close(&o);
	close(sockets[0]);
	close(null);
	ck_assert_int_eq(broken, 0);
	ck_assert_int_eq(t_fd_count(), before);
	event_base_free(events);
}
END_TEST

START_TEST(deaths_are_told_in_words)
{
	char text[64];

	proc_describe(W_EXITCODE(3, 0), text, sizeof(text));
	ck_assert_str_eq(text, "exit status 3");
	proc_describe(W_EXITCODE(0, SIGSEGV) | WCOREFLAG, text, sizeof(text));
	ck_assert_str_eq(text, "SIGSEGV, core dumped");
	proc_describe(W_EXITCODE(0, SIGRTMIN + 3), text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "signal"));
	proc_describe(-1, text, sizeof(text));
	ck_assert_str_ne(text, "");
	ck_assert(!proc_traced(getpid()));
	ck_assert_int_lt(proc_open(getpid(), 1), 0);
}
END_TEST

/* ---- a keeper that does one thing after the other ---- */

enum { QUESTIONS = 3000 };
static unsigned answers;

static void
on_answer(void *arg, uint64_t number, pid_t pid, int state, int status)
{
	(void)arg;
	ck_assert_int_eq((pid_t)number, pid);
	ck_assert_int_eq(state, 1);
	ck_assert_int_eq(status, 9);
	answers++;
}

/* As the real one: reads nothing while there is no room for its answer. */
static void
answer_all(int fd)
{
	struct mail m;

	for (int i = 0; i < QUESTIONS; i++) {
		struct stash_buf *buf;

		while (mail_recv(fd, &m) == STASH_E_PENDING)
			(void)mail_wait(fd, INT64_MAX);
		buf = mail_begin(STASH__K_STATUSED, m.number);
		(void)stash_view_text(&m.view);
		stash_buf_add_int(buf, stash_view_int(&m.view));
		stash_buf_add_int(buf, 1);
		stash_buf_add_int(buf, 9);
		mail_done(&m);
		if (mail_send_wait(fd, buf, NULL, 0, 60000) != 0)
			_exit(1);
	}
	_exit(0);
}

START_TEST(many_are_asked_for_at_once)
{
	struct event_base *events = event_base_new();
	struct keeplink k;
	int sockets[2], status;
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	pid = fork();
	if (pid == 0)
		answer_all(sockets[1]);
	close(sockets[1]);
	keep_open(&k, sockets[0]);
	k.statused = on_answer;
	ck_assert_int_eq(keep_watch(&k, events), 0);
	for (int i = 1; i <= QUESTIONS; i++)
		keep_status(&k, (uint64_t)i, "w/1/1/one", i);
	while (answers < QUESTIONS)
		ck_assert_int_eq(event_base_loop(events, EVLOOP_ONCE), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	keep_close(&k);
	event_base_free(events);
}
END_TEST

/* Whose tree it is, as a keeper says it; one of version 1 doesn't. */
START_TEST(an_older_keeper_does_not_say_who_had_begun)
{
	struct keeplink k;
	struct stash_buf *buf;
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	keep_open(&k, sockets[0]);
	for (int said = -1; said <= 1; said++) {
		for (int before = 0; before <= 1; before++) {
			bool begun = before != 0;

			buf = mail_begin(STASH__K_END, 0);
			stash_buf_add_int(buf, 2);
			if (said >= 0)
				stash_buf_add_int(buf, said);
			ck_assert_int_eq(mail_send(sockets[1], buf, NULL, 0), 0);
			ck_assert_int_eq(keep_fetch(&k, NULL, NULL, &begun), 0);
			ck_assert_int_eq(begun, said >= 0 ? said : before);
		}
	}
	keep_close(&k);
	close(sockets[1]);
}
END_TEST

Suite *
stashd_parts_suite(void)
{
	Suite *s = suite_create("stashd_parts");
	TCase *text = t_case(s, "text", 20), *files = t_case(s, "files", 20), *children = t_case(s, "children", 30);

	tcase_add_test(text, output_is_cut_into_lines);
	tcase_add_test(text, a_line_without_end_comes_in_pieces);
	tcase_add_test(text, deaths_are_told_in_words);
	tcase_add_test(files, the_vault_keeps_and_lets_go);
	tcase_add_test(files, a_run_directory_is_made_and_found_again);
	tcase_add_test(files, slots_hold_the_run_directory_where_it_is);
	tcase_add_test(files, a_run_directory_of_others_is_refused);
	tcase_add_test(files, an_outbox_keeps_order_and_descriptors);
	tcase_add_test(children, a_child_keeps_two_descriptors);
	tcase_add_test(children, many_children_at_once_find_a_bank_or_a_copy);
	tcase_add_test(children, only_unknown_children_are_ended);
	tcase_add_test(children, many_are_asked_for_at_once);
	tcase_add_test(children, an_older_keeper_does_not_say_who_had_begun);
	return s;
}

TEST_MAIN(stashd_parts_suite)
