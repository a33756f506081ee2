/* SPDX-License-Identifier: ISC */
/*
 * A client and the end of its supervisor, which is played here: what was answered before the end is read, and a
 * question that is under way is given up when nobody listens any more.  And the one that comes next: it has a status
 * page of its own, and doesn't answer for what the last one has refused.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/info.h"
#include "base/sock.h"
#include "client/client.h"
#include "shm/format.h"
#include "shm/slot.h"
#include "shm/wire.h"
#include "testlib.h"

#define LONG_MS 30000

/* ---- the supervisor ---- */

static struct {
	int listener, peer;
	struct stash__info info;
	char path[PATH_MAX + 20];
	pthread_t thread;
	bool full; /* what the status page of the next one says */
} fake;

static void
fake_open(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	ck_assert_int_eq(stash__info_new(&fake.info), 0);
	strlcpy(fake.info.run_dir, t_run_dir(), sizeof(fake.info.run_dir));
	ck_assert_int_eq(stash__info_create(t_dir(), &fake.info), 0);
	snprintf(fake.path, sizeof(fake.path), "%s/" STASH__SOCKET_NAME, fake.info.run_dir);
	strlcpy(address.sun_path, fake.path, sizeof(address.sun_path));
	fake.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fake.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fake.listener, 1), 0);
}

/* The next message's request number. */
static int64_t
fake_hear(int64_t type)
{
	static char wire[STASH__WIRE_MAX];
	struct stash_view view;
	int fds[STASH__WIRE_FDS], nfds = 0;
	size_t len = 0;
	int64_t heard;

	/* What was asked of a predecessor is announced before it is asked again. */
	do {
		ck_assert_int_eq(
		    stash__sock_recv(fake.peer, wire, sizeof(wire), &len, fds, STASH__WIRE_FDS, &nfds, 0), 0);
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
		stash_view_init(&view, wire, len);
		heard = stash_view_int(&view);
	} while (heard == STASH__B_AGAIN && type != STASH__B_AGAIN);
	ck_assert_int_eq(heard, type);
	return stash_view_int(&view);
}

static void
fake_say(struct stash_buf *buf, int fd)
{
	ck_assert_int_eq(stash__sock_send(fake.peer, buf->data, buf->len, &fd, fd >= 0 ? 1 : 0), 0);
	stash__buf_fini(buf);
}

/* DONE with "noproc", by which it is known again. */
static void
fake_answer(int64_t number)
{
	struct stash_buf buf;

	stash__buf_init(&buf, STASH__WIRE_MAX);
	stash_buf_add_int(&buf, STASH__B_DONE);
	stash_buf_add_int(&buf, number);
	stash_buf_add_int(&buf, STASH_E_DOWN);
	stash_buf_add_text(&buf, "down");
	stash_buf_add_text(&buf, "noproc");
	fake_say(&buf, -1);
}

static int
fake_page(void)
{
	static const struct stash__origin origin;
	int dir = open(fake.info.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	struct stash__status_page *page;

	(void)unlinkat(dir, STASH__STATUS_NAME, 0);
	ck_assert_int_eq(stash__status_page_make(dir, STASH__STATUS_NAME, &origin, &fd), 0);
	close(dir);
	page = stash__status_page_map(fd, true);
	ck_assert_ptr_nonnull(page);
	atomic_store(&page->store_full, fake.full);
	stash__status_page_unmap(page);
	return fd;
}

/* Who comes is welcome, or refused. */
static void
fake_greet(int error)
{
	int page = error == 0 ? fake_page() : -1;
	struct stash_buf buf;
	int64_t number;

	fake.peer = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC);
	number = fake_hear(STASH__B_HELLO);
	stash__buf_init(&buf, STASH__WIRE_MAX);
	stash_buf_add_int(&buf, STASH__B_WELCOME);
	stash_buf_add_int(&buf, number);
	stash_buf_add_int(&buf, error);
	stash_buf_add_text(&buf, error == 0 ? "" : "not now");
	stash_buf_add_int(&buf, STASH__WIRE_VERSION);
	stash_buf_add_bytes(&buf, fake.info.id, STASH__ID);
	stash_buf_add_int(&buf, getpid());
	stash_buf_add_int(&buf, 0);
	fake_say(&buf, page);
	if (page >= 0)
		close(page);
}

static void
fake_welcome(void)
{
	fake_greet(0);
}

/* The channel that was asked for: there is none. */
static void
fake_no_channel(int64_t number)
{
	struct stash_buf buf;

	stash__buf_init(&buf, STASH__WIRE_MAX);
	stash_buf_add_int(&buf, STASH__B_CHANNEL);
	stash_buf_add_int(&buf, number);
	stash_buf_add_int(&buf, STASH_E_NOENT);
	stash_buf_add_text(&buf, "there is no such name");
	fake_say(&buf, -1);
}

/* The end of supervisor and keeper. */
static void
fake_end(void)
{
	unlink(fake.path);
	close(fake.listener);
	close(fake.peer);
}

/* ---- the client ---- */

static struct stash_client *
join(void *(*behave)(void *), int wait_ms)
{
	struct stash_client_options options = { .size = sizeof(options), .wait_ms = wait_ms };
	struct stash_client *client;

	fake_open();
	ck_assert_int_eq(pthread_create(&fake.thread, NULL, behave, NULL), 0);
	ck_assert_int_eq(stash_client_open(&client, t_dir(), &options), 0);
	return client;
}

static int
count_answers(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	(void)v;
	(void)fds;
	(void)nfds;
	ck_assert_int_eq(type, STASH__B_DONE);
	++*(int *)arg;
	return 0;
}

static void *
answer_and_end(void *arg)
{
	fake_welcome();
	fake_answer(fake_hear(STASH__B_PING));
	fake_end();
	return arg;
}

/* An answer lies there, unread, when the client sends something and learns that nobody is there. */
START_TEST(test_answer_before_the_end)
{
	struct stash_client *client = join(answer_and_end, LONG_MS);
	int answers = 0;
	struct asked ping = { .fd = -1, .fn = count_answers, .arg = &answers };

	stash__buf_init(&ping.message, STASH__WIRE_MAX);
	ping.number = stash__link_compose(client, &ping.message, STASH__B_PING);
	TAILQ_INSERT_TAIL(&client->askeds, &ping, link);
	ck_assert_int_eq(stash__link_send(client, &ping.message, NULL, 0), 0);
	ping.sent = true;
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
	ck_assert_int_eq(
	    stash__client_request(client, STASH__B_PING, NULL, LONG_MS, count_answers, &answers), STASH_E_DOWN);
	ck_assert_int_eq(answers, 1);
	ck_assert(ping.done);
	TAILQ_REMOVE(&client->askeds, &ping, link);
	stash__buf_fini(&ping.message);
	stash_client_close(client);
}
END_TEST

static void *
hear_and_end(void *arg)
{
	fake_welcome();
	(void)fake_hear(STASH__B_LIST);
	fake_end();
	return arg;
}

/* The client would wait for another stashd for longer than this test may last. */
START_TEST(test_question_at_the_end)
{
	struct stash_client *client = join(hear_and_end, 100 * LONG_MS);
	int answers = 0;

	ck_assert_int_eq(stash__client_request(client, STASH__B_LIST, NULL, -1, count_answers, &answers), STASH_E_DOWN);
	ck_assert_int_eq(answers, 0);
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
	stash_client_close(client);
}
END_TEST

static void *
accept_and_end(void *arg)
{
	fake.peer = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC);
	fake_end();
	return arg;
}

/* Nor for one that ended before it had welcomed anybody. */
START_TEST(test_end_before_the_welcome)
{
	struct stash_client_options options = { .size = sizeof(options), .wait_ms = 100 * LONG_MS };
	struct stash_client *client;

	fake_open();
	ck_assert_int_eq(pthread_create(&fake.thread, NULL, accept_and_end, NULL), 0);
	ck_assert_int_eq(stash_client_open(&client, t_dir(), &options), STASH_E_DOWN);
	ck_assert_ptr_null(client);
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
}
END_TEST

/* ---- the next one ---- */

/* At the same socket, so that nobody finds that there is none. */
static void
fake_next(bool full)
{
	close(fake.peer);
	fake.full = full;
	fake_welcome();
}

static void
ask(struct stash_client *client)
{
	int answers = 0;

	ck_assert_int_eq(stash__client_request(client, STASH__B_PING, NULL, LONG_MS, count_answers, &answers), 0);
	ck_assert_int_eq(answers, 1);
}

static void *
become_full(void *arg)
{
	fake_welcome();
	fake_answer(fake_hear(STASH__B_PING));
	fake_next(true);
	fake_answer(fake_hear(STASH__B_PING));
	return arg;
}

/* Stopped and started again, a stashd has another status page: what that says counts. */
START_TEST(test_next_stashd_is_full)
{
	struct stash_client *client = join(become_full, LONG_MS);

	ask(client);
	ask(client);
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
	ck_assert_int_eq(stash_cast(client, "x", "t", NULL, 0), STASH_E_FULL);
	ck_assert_int_eq(stash_call_start(client, "x", "t", NULL, 0, 1000), STASH_E_FULL);
	fake_end();
	stash_client_close(client);
}
END_TEST

static void *
become_empty(void *arg)
{
	fake_welcome();
	fake_answer(fake_hear(STASH__B_PING));
	fake_next(false);
	fake_no_channel(fake_hear(STASH__B_OPEN));
	return arg;
}

static bool
is_taken(void *arg)
{
	int result = stash_cast(arg, "x", "t", NULL, 0);

	ck_assert(result == STASH_E_FULL || result == STASH_E_NOENT);
	return result == STASH_E_NOENT;
}

/* And not what the last one said, also if nothing is asked for but what that refused. */
START_TEST(test_next_stashd_has_room)
{
	struct stash_client *client;

	fake.full = true;
	client = join(become_empty, LONG_MS);
	ck_assert_int_eq(stash_cast(client, "x", "t", NULL, 0), STASH_E_FULL);
	ask(client);
	ck_assert(t_wait_for(is_taken, client, 5000));
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
	fake_end();
	stash_client_close(client);
}
END_TEST

/* ---- a worker's own client ---- */

static int
may_call(void *arg, const char *function, const char *name)
{
	(void)arg;
	(void)function;
	(void)name;
	return STASH_OK;
}

static const struct stash__client_hooks hooks = { .may_call = may_call };

static void *
refuse(void *arg)
{
	fake_greet(STASH_E_BUSY);
	close(fake.peer);
	return arg;
}

static void *
say_nothing(void *arg)
{
	char byte;

	fake.peer = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC);
	(void)fake_hear(STASH__B_HELLO);
	ck_assert_int_eq(recv(fake.peer, &byte, 1, 0), 0); /* it has given up */
	close(fake.peer);
	return arg;
}

static void *
welcome_and_answer(void *arg)
{
	fake_welcome();
	fake_answer(fake_hear(STASH__B_PING));
	return arg;
}

/* Its first use, by which it connects. */
static void
use(struct stash_client *client, void *(*behave)(void *), int result)
{
	ck_assert_int_eq(pthread_create(&fake.thread, NULL, behave, NULL), 0);
	ck_assert_int_eq(stash__client_check(client, "stash_call"), result);
}

/* It lives as long as its worker: what was refused once is asked for again, and leaves no descriptor behind. */
START_TEST(test_refused_at_first)
{
	struct stash_client *client;
	int fds = 0;

	fake_open();
	client = stash__client_of_worker(t_dir(), "worker", &hooks, NULL);
	ck_assert_ptr_nonnull(client);
	for (int i = 0; i < 3; i++) {
		use(client, refuse, STASH_E_BUSY);
		ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
		if (i == 0)
			fds = t_fd_count();
		ck_assert_int_eq(t_fd_count(), fds);
	}
	use(client, say_nothing, STASH_E_DOWN);
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
	ck_assert_int_eq(t_fd_count(), fds);
	use(client, welcome_and_answer, STASH_OK);
	ask(client);
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
	fake_end();
	stash_client_close(client);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("a client's link");
	TCase *c = t_case(s, "ends", 20);

	tcase_add_test(c, test_answer_before_the_end);
	tcase_add_test(c, test_question_at_the_end);
	tcase_add_test(c, test_end_before_the_welcome);
	c = t_case(s, "the next", 30);
	tcase_add_test(c, test_next_stashd_is_full);
	tcase_add_test(c, test_next_stashd_has_room);
	tcase_add_test(c, test_refused_at_first);
	return s;
}

TEST_MAIN(suite)
