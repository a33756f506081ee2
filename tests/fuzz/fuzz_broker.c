/* SPDX-License-Identifier: ISC */
/*
 * Foreign messages to the broker. One client says hello, then sends what the input says: each message a byte of kind, a
 * byte of how many bytes follow, and these, which choose and fill the items; or, with the top bit of the kind, foreign
 * bytes as they are. The server has a small tree whose workers never get a process, since the stash never answers. No
 * message brings the broker down, or leaves memory or descriptors behind when the client goes.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "shm/bell.h"
#include "stashd/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES_MAX 64

static struct stash__supervise_config config;
static struct plan_table plans;
static struct server *server;

static const struct stash_behaviour behaviour = { .size = sizeof(behaviour), .name = "fuzz" };
static const struct stash_child_spec template = { .size = sizeof(template), .id = "one", .behaviour = &behaviour };
static const struct stash_supervisor_spec pool = {
	.size = sizeof(pool), .strategy = STASH_SIMPLE_ONE_FOR_ONE, .children = &template, .nchildren = 1
};
static const struct stash_child_spec children[] = {
	{ .size = sizeof(children[0]), .id = "pool", .supervisor = &pool },
	{ .size = sizeof(children[0]), .id = "a", .behaviour = &behaviour },
};
static const struct stash_supervisor_spec root = { .size = sizeof(root), .children = children, .nchildren = 2 };

static void
say_nothing(void *arg, int priority, const char *text)
{
	(void)arg;
	(void)priority;
	(void)text;
}

/* As loop.c has it, without processes: no keeper, no stash, no store, nothing on disk. */
static void
begin(void)
{
	struct server *s = calloc(1, sizeof(*s));
	struct sup_spec *tree;

	STASH_ASSERT(s != NULL && supervise_make_tree(&root, &plans, &tree) == 0);
	stash__log_sink(say_nothing, NULL);
	stash__supervise_defaults(&config);
	s->config = &config;
	s->plans = &plans;
	s->tree = tree;
	s->dir = s->run_dir = "/nonexistent";
	s->run_fd = s->slot_fd = s->way_fd = s->signals_fd = s->lock_fd = s->broker.fd = s->keep.fd = -1;
	s->phase = SERVER_UP;
	TAILQ_INIT(&s->broker.peers);
	STAILQ_INIT(&s->turns);
	STAILQ_INIT(&s->reloads);
	STAILQ_INIT(&s->records.backlog);
	LIST_INIT(&s->records.longs);
	LIST_INIT(&s->records.layouts);
	stash__buf_init(&s->records.scratch, STASH__BUF_MAX);
	s->events = event_base_new();
	s->machine = sup_create(NULL);
	STASH_ASSERT(s->events != NULL && s->machine != NULL && stashlink_init(&s->stash, s, 1) == 0);
	server = s;
	STASH_ASSERT(turn_begin(s, sup_spec_ref(tree)) == 0);
}

static void
end(void)
{
	struct server *s = server;

	reload_free(s);
	reports_free(s);
	broker_close(s);
	mailroom_free(s);
	workers_free(s);
	turn_free(s);
	sup_destroy(s->machine);
	records_close(s);
	stashlink_close(&s->stash);
	event_base_free(s->events);
	sup_spec_unref(s->tree);
	plan_table_free(&plans);
	free(s);
}

/* ---- messages ---- */

/* Those that end the tree or make processes are left out. */
static bool
is_left_out(int64_t type)
{
	return type == STASH__B_STOP || type == STASH__B_RELOAD || type == STASH__B_SHOW;
}

static void
add_text(struct stash_buf *buf, uint8_t byte)
{
	static const char *const texts[] = { "root", "a", "root/a", "root/pool", "one", "pool", "", "no such", "..",
		"/" };

	stash_buf_add_text(buf, texts[byte % (sizeof(texts) / sizeof(texts[0]))]);
}

/* Two bytes make an item. */
static void
add_items(struct stash_buf *buf, const uint8_t *data, size_t len)
{
	for (; len >= 2; data += 2, len -= 2) {
		if (data[0] % 4 == 0)
			stash_buf_add_int(buf, (int8_t)data[1]);
		else if (data[0] % 4 == 1)
			add_text(buf, data[1]);
		else if (data[0] % 4 == 2)
			stash_buf_add_bytes(buf, data + 1, len - 1 < data[1] % 32u ? len - 1 : data[1] % 32u);
		else
			stash_buf_add(buf, data + 1, 1);
	}
}

static void
send_message(int fd, const uint8_t *data, size_t len, uint64_t number)
{
	int64_t type = data[0] & 0x3f;
	struct stash_buf *buf;
	int bell = -1;

	if (is_left_out(type))
		return;
	/* It may name a program, which would be run: the machine hears of nothing from here on. */
	if (type == STASH__B_START_CHILD)
		turn_hold(server);
	buf = mail_begin(type, number);
	if ((data[0] & 0x80) != 0)
		stash_buf_add(buf, data + 2, len);
	else
		add_items(buf, data + 2, len);
	if ((data[0] & 0x40) != 0)
		bell = stash__bell_make();
	(void)mail_send(fd, buf, &bell, bell >= 0 ? 1 : 0);
	if (bell >= 0)
		close(bell);
}

static void
say_hello(int fd)
{
	struct stash_buf *buf = mail_begin(STASH__B_HELLO, 1);
	int bell = stash__bell_make();

	stash_buf_add_int(buf, STASH__WIRE_VERSION);
	stash_buf_add_text(buf, "fuzz");
	STASH_ASSERT(bell >= 0 && mail_send(fd, buf, &bell, 1) == 0);
	close(bell);
}

static void
turn(int fd)
{
	char answer[4096];

	(void)event_base_loop(server->events, EVLOOP_NONBLOCK);
	while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t number = 1;
	int sockets[2];

	begin();
	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	peer_create(server, sockets[0], ACCESS_OWN, (uint32_t)geteuid(), (uint32_t)getpid());
	say_hello(sockets[1]);
	while (size >= 2 && number < MESSAGES_MAX) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		send_message(sockets[1], data, len, ++number);
		turn(sockets[1]);
		data += 2 + len;
		size -= 2 + len;
	}
	peers_tick(server, INT64_MAX / 2);
	close(sockets[1]);
	while (!TAILQ_EMPTY(&server->broker.peers) && ++number < 1000)
		(void)event_base_loop(server->events, EVLOOP_NONBLOCK);
	STASH_ASSERT(TAILQ_EMPTY(&server->broker.peers));
	end();
	return 0;
}
