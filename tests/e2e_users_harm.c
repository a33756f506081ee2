/* SPDX-License-Identifier: ISC */
/*
 * A client of another user that means harm: what it holds, what it may write, and what it can't do to the others.
 * Needs root, to become somebody else.
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

/* The protocol by hand. */
struct raw {
	int sock, status, memfd, line, page;
	uint64_t number;
	unsigned char wire[STASH__WIRE_MAX];
};

static int
raw_send(struct raw *r, struct stash_buf *b, int fd)
{
	const void *data;
	size_t len;
	int result = stash_buf_data(b, &data, &len);

	if (result == STASH_OK)
		result = stash__sock_send(r->sock, data, len, &fd, fd >= 0 ? 1 : 0);
	stash__buf_fini(b);
	return result;
}

static void
raw_begin(struct raw *r, struct stash_buf *b, int64_t type)
{
	stash__buf_init(b, STASH__WIRE_MAX);
	(void)stash_buf_add_int(b, type);
	(void)stash_buf_add_int(b, (int64_t)++r->number);
}

/* The answer of that type: its error; descriptors are the caller's. */
static int
raw_answer(struct raw *r, int64_t type, int fds[3], int *nfds)
{
	struct pollfd p = { r->sock, POLLIN, 0 };
	struct stash_view v;
	size_t len;

	if (poll(&p, 1, 10000) <= 0)
		return STASH_E_TIMEDOUT;
	if (stash__sock_recv(r->sock, r->wire, sizeof r->wire, &len, fds, 3, nfds, 0) < 0)
		return STASH_E_DOWN;
	stash_view_init(&v, r->wire, len);
	if (stash_view_int(&v) != type)
		return STASH_E_PROTO;
	(void)stash_view_int(&v);
	return (int)stash_view_int(&v);
}

static int
raw_connect(struct raw *r)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fds[3], nfds = 0, bell = stash__bell_make(), result;
	struct stash_buf b;

	memset(r, 0, sizeof *r);
	snprintf(to.sun_path, sizeof to.sun_path, "%s/" STASH__SOCKET_NAME, t_run_of(&d));
	r->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bell < 0 || connect(r->sock, (struct sockaddr *)&to, sizeof to) < 0)
		return STASH_E_SYSTEM;
	raw_begin(r, &b, STASH__B_HELLO);
	(void)stash_buf_add_int(&b, STASH__WIRE_VERSION);
	(void)stash_buf_add_text(&b, "raw");
	result = raw_send(r, &b, bell);
	close(bell);
	if (result == STASH_OK)
		result = raw_answer(r, STASH__B_WELCOME, fds, &nfds);
	r->status = nfds == 1 ? fds[0] : -1;
	return result;
}

static int
raw_open(struct raw *r, uint64_t ring_bytes)
{
	int fds[3], nfds = 0, result;
	struct stash_buf b;

	raw_begin(r, &b, STASH__B_OPEN);
	(void)stash_buf_add_text(&b, "echo");
	(void)stash_buf_add_int(&b, (int64_t)ring_bytes);
	result = raw_send(r, &b, -1);
	if (result == STASH_OK)
		result = raw_answer(r, STASH__B_CHANNEL, fds, &nfds);
	if (result == STASH_OK && nfds != 3)
		return STASH_E_PROTO;
	if (result == STASH_OK) {
		r->memfd = fds[0];
		r->line = fds[1];
		r->page = fds[2];
	}
	return result;
}

/* A descriptor that is for reading alone can't be made into another. */
static const char *
only_reads(int fd, const char *what)
{
	char path[64];
	void *map;
	int again;

	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		return t_wrong("%s: the descriptor is for writing", what);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again >= 0)
		return t_wrong("%s: can be opened again for writing", what);
	map = mmap(NULL, STASH__PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		return t_wrong("%s: can be mapped for writing", what);
	map = mmap(NULL, STASH__PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || mprotect(map, STASH__PAGE, PROT_READ | PROT_WRITE) == 0)
		return t_wrong("%s: a map of it can be made writable", what);
	return fchmod(fd, 0666) < 0 && ftruncate(fd, 0) < 0 ? NULL : t_wrong("%s: it can be changed", what);
}

static const char *
holds_little(void *arg)
{
	static struct raw r;
	int type = 0;
	socklen_t len = sizeof type;
	const char *why;

	(void)arg;
	if (raw_connect(&r) != STASH_OK || raw_open(&r, 0) != STASH_OK)
		return "it gets no channel";
	why = only_reads(r.page, "the worker's bell page");
	if (why == NULL)
		why = only_reads(r.status, "the status page");
	if (why != NULL)
		return why;
	if (stash__bell_is_one(r.line) || getsockopt(r.line, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return "it has a bell that it shares with others";
	if (fcntl(r.memfd, F_ADD_SEALS, F_SEAL_WRITE) == 0 || ftruncate(r.memfd, 0) == 0)
		return "it can change the channel's memory under the worker";
	return NULL;
}

START_TEST(what_it_holds_is_its_own_or_for_reading)
{
	if (!t_users_begin(&d, T_ALLOW_STRANGER))
		return;
	t_as_user(&stranger, holds_little, NULL);
	t_stashd_stop(&d, 10000);
}
END_TEST

/* Writes rubbish over the whole channel, fills its line without ever reading, then waits to be killed. */
static const char *
rages(void *arg)
{
	static struct raw r;
	struct stash__channel map;
	char rings[4096] = { 0 };
	struct t_storm *s = arg;

	if (raw_connect(&r) != STASH_OK || raw_open(&r, 0) != STASH_OK || stash__channel_map(&map, r.memfd) != STASH_OK)
		return "it gets no channel";
	/* A blocking end is its own affair. */
	(void)fcntl(r.line, F_SETFL, 0);
	s->calls = 1;
	for (uint64_t i = 0; !s->stop; i++) {
		(void)send(r.line, rings, sizeof rings, MSG_DONTWAIT | MSG_NOSIGNAL);
		atomic_store(&map.page->client_asleep, 1);
		atomic_store(&map.page->rep_head, i * 8);
		atomic_store(&map.page->req_tail, i * 64);
		map.req[i % map.ring_bytes] = (unsigned char)i;
	}
	return NULL;
}

static bool
began(void *arg)
{
	return ((struct t_storm *)arg)->calls != 0;
}

/* What a quarter of a second of it does to somebody else's calls: nothing. */
START_TEST(one_that_rages_harms_nobody)
{
	struct t_storm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stash_client *c;
	int words, calls = 0;
	int64_t until;
	pid_t pid;

	ck_assert_ptr_ne(s, MAP_FAILED);
	if (!t_users_begin(&d, T_ALLOW_STRANGER))
		return;
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "a", "a");
	for (int i = 0; i < 4; i++) {
		s->calls = 0;
		s->stop = false;
		pid = t_user_start(&stranger, rages, s, &words);
		ck_assert(t_wait_for(began, s, 10000));
		until = stash__now_ns() + STASH__NS_PER_S / 4;
		for (; stash__now_ns() < until; calls++)
			t_expect_call(c, "echo", "echo", "b", "b");
		s->stop = true;
		t_user_end(pid, words);
	}
	ck_assert_int_gt(calls, 100);
	stash_client_close(c);
	t_stashd_stop(&d, 10000);
	munmap(s, sizeof *s);
}
END_TEST

static uint64_t
waits_of(const char *name)
{
	struct stash_store *store;
	struct stash__look look;

	ck_assert_int_eq(stash_store_open(&store, t_store(&d), NULL), STASH_OK);
	ck_assert_int_eq(stash__store_look(store, name, &look), STASH_OK);
	stash_store_close(store);
	return look.box.waits;
}

/* Closes its end, and stays. */
static const char *
hangs_up(void *arg)
{
	static struct raw r;
	struct t_storm *s = arg;

	if (raw_connect(&r) != STASH_OK || raw_open(&r, 0) != STASH_OK || stash__bell_page_map(r.page, false) == NULL)
		return "it gets no channel";
	close(r.line);
	s->calls = 1;
	while (!s->stop)
		(void)poll(NULL, 0, 1);
	return NULL;
}

START_TEST(a_line_that_is_closed_keeps_nobody_awake)
{
	struct t_storm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stash_client *c;
	uint64_t before;
	int words;
	pid_t pid;

	ck_assert_ptr_ne(s, MAP_FAILED);
	if (!t_users_begin(&d, T_ALLOW_STRANGER))
		return;
	pid = t_user_start(&stranger, hangs_up, s, &words);
	ck_assert(t_wait_for(began, s, 10000));
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "a", "a");
	before = waits_of("echo");
	for (int i = 0; i < 50; i++) {
		t_expect_call(c, "echo", "echo", "a", "a");
		(void)poll(NULL, 0, 2);
	}
	/* A worker that can't sleep waits some 100,000 times in that time. */
	ck_assert_uint_lt(waits_of("echo") - before, 1000);
	stash_client_close(c);
	s->stop = true;
	t_user_end(pid, words);
	t_stashd_stop(&d, 10000);
	munmap(s, sizeof *s);
}
END_TEST

/* More than it may have: channels, connections, memory. */
static const char *
is_greedy(void *arg)
{
	static struct raw r, more[64];
	int opened = 0, result = STASH_OK, connected = 1;

	(void)arg;
	if (raw_connect(&r) != STASH_OK)
		return "it isn't let in";
	result = raw_open(&r, STASH__RING_MAX);
	if (result != STASH_E_TOOBIG)
		return t_wrong("rings of %u bytes: %s", STASH__RING_MAX, stash_errname(result));
	for (result = STASH_OK; result == STASH_OK && opened < 1000; opened++)
		result = raw_open(&r, 0);
	if (result != STASH_E_BUSY || opened < 20 || opened > 200)
		return t_wrong("channel %d: %s", opened, stash_errname(result));
	for (result = STASH_OK; result == STASH_OK && connected < 64; connected++)
		result = raw_connect(&more[connected]);
	return connected >= 10 && connected < 64 ? NULL : t_wrong("it has %d connections", connected);
}

START_TEST(one_that_is_greedy_is_stopped)
{
	struct stash_client *c;

	if (!t_users_begin(&d, T_ALLOW_STRANGER))
		return;
	t_as_user(&stranger, is_greedy, NULL);
	c = t_client(&d);
	t_expect_call(c, "echo", "echo", "a", "a");
	stash_client_close(c);
	/* All of it is gone with its process. */
	t_as_user(&stranger, t_calls, &d);
	t_stashd_stop(&d, 10000);
}
END_TEST

/* A bell that is none: what is written into it would block, or be somebody's file. */
START_TEST(a_bell_that_is_none_is_refused)
{
	static struct raw r;
	int ends[2], fds[3], nfds;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct stash_buf b;

	memset(&d, 0, sizeof d);
	t_stashd_start(&d, t_config("echo", "tests/modules/echo.so", "", "", ""));
	snprintf(to.sun_path, sizeof to.sun_path, "%s/" STASH__SOCKET_NAME, t_run_of(&d));
	r.sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(connect(r.sock, (struct sockaddr *)&to, sizeof to), 0);
	raw_begin(&r, &b, STASH__B_HELLO);
	(void)stash_buf_add_int(&b, STASH__WIRE_VERSION);
	(void)stash_buf_add_text(&b, "raw");
	ck_assert_int_eq(raw_send(&r, &b, ends[1]), STASH_OK);
	ck_assert_int_eq(raw_answer(&r, STASH__B_WELCOME, fds, &nfds), STASH_E_PROTO);
	close(ends[0]);
	close(ends[1]);
	close(r.sock);
	t_stashd_stop(&d, 10000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("users_harm");
	TCase *tc = t_case(s, "harm", 60);

	tcase_add_test(tc, what_it_holds_is_its_own_or_for_reading);
	tcase_add_test(tc, one_that_rages_harms_nobody);
	tcase_add_test(tc, a_line_that_is_closed_keeps_nobody_awake);
	tcase_add_test(tc, one_that_is_greedy_is_stopped);
	tcase_add_test(tc, a_bell_that_is_none_is_refused);
	return s;
}

TEST_MAIN(suite)
