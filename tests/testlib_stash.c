/* SPDX-License-Identifier: ISC */
/*
 * A stash process whose supervisor and workers the test plays; testlib_stash.h says what each call promises.
 */
#include "testlib_stash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/info.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "store/store.h"

#define WAIT_MS 10000

#define good(call) ck_assert_msg((call) >= 0, "%s: %s", #call, stash_errmsg())

/* ---- the process ---- */

void
th_begin(struct th_stash *st)
{
	struct stash__info info;

	st->dir = t_path("store");
	st->control = st->peer = -1;
	st->bell = stash__bell_make();
	good(st->bell);
	ck_assert_int_eq(mkdir(st->dir, 0700), 0);
	ck_assert_int_eq(stash__info_new(&info), 0);
	snprintf(st->run_dir, sizeof st->run_dir, "%s/run", t_run_dir());
	snprintf(st->slot_dir, sizeof st->slot_dir, "%s/" STASH__SLOT_DIR, st->run_dir);
	ck_assert_int_eq(mkdir(st->run_dir, 0700), 0);
	strlcpy(info.run_dir, st->run_dir, sizeof info.run_dir);
	good(stash__info_create(st->dir, &info));
	memcpy(st->origin.store_id, info.id, STASH__ID);
	good(stash__boot_id(st->origin.boot_id));
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
th_end(struct th_stash *st)
{
	ck_assert_int_eq(st->proc.pid, 0);
	close_fd(&st->bell);
	close_fd(&st->control);
	close_fd(&st->peer);
	stash__status_page_unmap(st->status);
	st->status = NULL;
}

void
th_launch(struct th_stash *st)
{
	const char *program = st->points ? t_points("tests/helpers/stash_process") :
					   t_build("tests/helpers/stash_process");
	char control[12], bell[12];
	const char *const argv[] = { program, st->dir, st->run_dir, control, bell, NULL };
	int sockets[2];

	close_fd(&st->control);
	close_fd(&st->peer);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	st->control = sockets[0];
	snprintf(control, sizeof control, "%d", sockets[1]);
	snprintf(bell, sizeof bell, "%d", st->bell);
	ck_assert_int_eq(fcntl(sockets[1], F_SETFD, 0), 0);
	ck_assert_int_eq(fcntl(st->bell, F_SETFD, 0), 0);
	t_spawn(&st->proc, argv, st->env);
	ck_assert_int_eq(fcntl(st->bell, F_SETFD, FD_CLOEXEC), 0);
	close(sockets[1]);
}

void
th_hello(struct th_stash *st)
{
	struct th_mail m;
	const void *id;
	size_t len;

	th_receive(st, &m);
	ck_assert_int_eq(m.type, STASH__S_HELLO);
	st->error = (int)m.error;
	strlcpy(st->text, m.text, sizeof st->text);
	if (m.error == 0) {
		st->incarnation = stash_view_int(&m.view);
		id = stash_view_bytes(&m.view, &len);
		ck_assert_uint_eq(len, STASH__ID);
		ck_assert_mem_eq(id, st->origin.store_id, STASH__ID);
		st->slots = stash_view_int(&m.view);
		st->clean = stash_view_int(&m.view);
		st->new_boot = stash_view_int(&m.view);
		ck_assert_int_eq(m.nfds, 2);
		stash__status_page_unmap(st->status);
		st->status = stash__status_page_map(m.fds[0], false);
		ck_assert_ptr_nonnull(st->status);
	}
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
}

void
th_start(struct th_stash *st)
{
	th_launch(st);
	th_hello(st);
	ck_assert_msg(st->error == 0, "hello: %s", st->text);
}

int
th_start_refused(struct th_stash *st)
{
	th_launch(st);
	th_hello(st);
	ck_assert_int_lt(st->error, 0);
	ck_assert_int_eq(t_wait(&st->proc, WAIT_MS), 1);
	return st->error;
}

void
th_kill(struct th_stash *st)
{
	t_kill(&st->proc, SIGKILL);
	ck_assert_int_eq(t_wait(&st->proc, WAIT_MS), 256 + SIGKILL);
}

void
th_restart(struct th_stash *st)
{
	th_kill(st);
	th_start(st);
}

void
th_shutdown(struct th_stash *st)
{
	int error = th_simple(st, STASH__S_SHUTDOWN);

	ck_assert_msg(error == 0, "shutdown: %s", st->text);
	ck_assert_int_eq(t_wait(&st->proc, WAIT_MS), 0);
}

int
th_fds(const struct th_stash *st)
{
	char path[64];
	struct dirent *d;
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)st->proc.pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((d = readdir(dir)) != NULL)
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* ---- messages ---- */

void
th_request(struct th_stash *st, struct stash_buf *buf, int64_t type)
{
	stash__buf_init(buf, STASH__WIRE_MAX);
	stash_buf_add_int(buf, type);
	stash_buf_add_int(buf, ++st->number);
}

static void
send_request(struct th_stash *st)
{
	int result = stash__sock_send(
	    st->control, st->request, st->request_len, &st->request_fd, st->request_fd >= 0 ? 1 : 0);

	ck_assert_msg(result == 0 || (st->sturdy && result == STASH_E_DOWN), "%s", stash_errmsg());
}

void
th_send(struct th_stash *st, struct stash_buf *buf, int fd)
{
	ck_assert_uint_le(buf->len, sizeof st->request);
	memcpy(st->request, buf->data, buf->len);
	st->request_len = buf->len;
	st->request_fd = fd;
	stash__buf_fini(buf);
	send_request(st);
}

/* It is dead: true if the next one is asked now. */
static bool
ask_again(struct th_stash *st)
{
	if (!st->sturdy || !t_ended(&st->proc, WAIT_MS))
		return false;
	ck_assert_int_lt(st->deaths++, 5);
	th_start(st);
	send_request(st);
	return true;
}

static void
receive_one(struct th_stash *st, struct th_mail *m)
{
	struct pollfd pfd = { st->control, POLLIN, 0 };
	size_t len;

	if (poll(&pfd, 1, WAIT_MS * t_patience()) <= 0) {
		char *log = t_output(&st->proc);

		ck_abort_msg("the stash says nothing; its log: %s", log);
	}
	if (stash__sock_recv(st->control, m->data, sizeof m->data, &len, m->fds, 4, &m->nfds, 0) < 0) {
		char *log;

		if (ask_again(st)) {
			receive_one(st, m);
			return;
		}
		log = t_output(&st->proc);
		ck_abort_msg("%s; the stash's log: %s", stash_errmsg(), log);
	}
	stash_view_init(&m->view, m->data, len);
	m->type = stash_view_int(&m->view);
	m->number = stash_view_int(&m->view);
}

void
th_receive(struct th_stash *st, struct th_mail *m)
{
	for (;;) {
		receive_one(st, m);
		if (m->type != STASH__S_BROKEN)
			break;
		st->skipped++;
		strlcpy(st->broken, stash_view_text(&m->view), sizeof st->broken);
		(void)stash_view_text(&m->view);
		ck_assert_int_eq(stash_view_end(&m->view), 0);
	}
	m->error = stash_view_int(&m->view);
	m->text = stash_view_text(&m->view);
	if (m->type == STASH__S_HELLO)
		return;
	ck_assert_int_eq(m->number, st->number);
	strlcpy(st->text, m->text, sizeof st->text);
}

void
th_mail_done(struct th_mail *m)
{
	for (int i = 0; i < m->nfds; i++)
		close(m->fds[i]);
	m->nfds = 0;
}

int
th_done(struct th_stash *st)
{
	struct th_mail m;

	th_receive(st, &m);
	ck_assert_int_eq(m.type, STASH__S_DONE);
	ck_assert_int_eq(stash_view_end(&m.view), 0);
	th_mail_done(&m);
	return (int)m.error;
}

int
th_simple(struct th_stash *st, int64_t type)
{
	struct stash_buf buf;

	th_request(st, &buf, type);
	th_send(st, &buf, -1);
	return th_done(st);
}

int
th_close(struct th_stash *st, const char *name, bool keep)
{
	struct stash_buf buf;

	th_request(st, &buf, STASH__S_CLOSE);
	stash_buf_add_text(&buf, name);
	stash_buf_add_int(&buf, keep);
	th_send(st, &buf, -1);
	return th_done(st);
}

void
th_add_id(struct stash_buf *buf, const char *text)
{
	char id[STASH__ID] = "";

	memcpy(id, text, strnlen(text, sizeof id));
	stash_buf_add_bytes(buf, id, sizeof id);
}

int
th_unchannel(struct th_stash *st, const char *name, const char *id)
{
	struct stash_buf buf;

	th_request(st, &buf, STASH__S_UNCHANNEL);
	stash_buf_add_text(&buf, name);
	th_add_id(&buf, id);
	th_send(st, &buf, -1);
	return th_done(st);
}

void
th_expect_broken(struct th_stash *st, const char *name)
{
	struct th_mail m;

	if (st->skipped == 0) {
		receive_one(st, &m);
		ck_assert_int_eq(m.type, STASH__S_BROKEN);
		strlcpy(st->broken, stash_view_text(&m.view), sizeof st->broken);
		st->skipped = 1;
	}
	ck_assert_str_eq(st->broken, name);
	ck_assert_int_eq(st->skipped, 1);
	st->skipped = 0;
}
