/* SPDX-License-Identifier: ISC */
/*
 * What the supervisor is told by its stash and by a worker, while a client of another user opens channels, each in the
 * order that the input says: a byte of who speaks, a byte of how many bytes follow, and these, two for each item.
 * Answers of the stash have the number of its last request. No message brings the supervisor down, makes a process, or
 * leaves memory or descriptors behind.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "shm/bell.h"
#include "testlib_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 64
#define NO_PID 0x7ffffff0 /* of no process: what is sent there arrives nowhere */
#define STRANGER 65534u

static struct server *server;
static int worker = -1, stash = -1, client = -1; /* their ends */

/* The stash's last request, of those that this answers. */
static struct {
	int64_t type;
	uint64_t number;
	char name[STASH_NAME_MAX + 1];
} asked;

static uint8_t last_id[STASH__ID]; /* of a channel that the worker was given, or the stash asked for */

static void
pair(int *ours, int *theirs)
{
	int sockets[2];

	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	*ours = sockets[0];
	*theirs = sockets[1];
}

/* A worker that has been let go; a stash that has been adopted. */
static void
begin(void)
{
	struct worker *w;
	struct life *l;
	int fds[3], bell = stash__bell_make();
	struct stash_buf *buf;

	server = t_server_begin();
	w = worker_find(server, "a");
	STASH_ASSERT(w != NULL && (l = life_create(w, w->node, w->start, ++w->incarnation)) != NULL);
	w->start = 0;
	w->now = l;
	l->pid = NO_PID;
	l->phase = LIFE_STARTING;
	pair(&l->control, &worker);
	STASH_ASSERT(life_watch(l) == 0);
	pair(&fds[0], &stash);
	/* In place of a pidfd: nobody dies, and nobody is killed by it. */
	fds[1] = stash__bell_make();
	fds[2] = stash__bell_make();
	STASH_ASSERT(stashlink_adopt(&server->stash, NO_PID, fds) == 0);
	stashlink_send_again(&server->stash);
	pair(&fds[0], &client);
	peer_create(server, fds[0], ACCESS_CALL, STRANGER, (uint32_t)getpid());
	buf = mail_begin(STASH__B_HELLO, 1);
	stash_buf_add_int(buf, STASH__WIRE_VERSION);
	stash_buf_add_text(buf, "fuzz");
	STASH_ASSERT(bell >= 0 && mail_send(client, buf, &bell, 1) == 0);
	close(bell);
	memset(&asked, 0, sizeof(asked));
	t_server_turn(server);
}

/* ---- what it says ---- */

static void
note(struct mail *m)
{
	const char *name = stash_view_text(&m->view);
	size_t len;
	const void *id = m->type == STASH__S_CHANNEL ? stash_view_bytes(&m->view, &len) : NULL;

	asked.type = m->type;
	asked.number = m->number;
	snprintf(asked.name, sizeof(asked.name), "%s", name);
	if (id != NULL && len == STASH__ID)
		memcpy(last_id, id, STASH__ID);
}

static void
hear(int fd)
{
	struct mail m;

	while (mail_recv(fd, &m) == 0) {
		if (fd == stash)
			note(&m);
		mail_done(&m);
	}
}

static void
turn(void)
{
	t_server_turn(server);
	hear(stash);
	hear(worker);
	hear(client);
}

/* ---- what is said to it ---- */

static void
add_items(struct stash_buf *buf, const uint8_t *data, size_t len)
{
	static const char *const texts[] = { "a", "", "pool", "no such", "x y", "root/a" };

	for (; len >= 2; data += 2, len -= 2) {
		if (data[0] % 5 == 0)
			stash_buf_add_int(buf, (int8_t)data[1]);
		else if (data[0] % 5 == 1)
			stash_buf_add_text(buf, texts[data[1] % (sizeof(texts) / sizeof(texts[0]))]);
		else if (data[0] % 5 == 2)
			stash_buf_add_bytes(buf, last_id, data[1] < 240 ? STASH__ID : data[1] % STASH__ID);
		else if (data[0] % 5 == 3)
			stash_buf_add_bytes(buf, data + 1, len - 1 < data[1] ? len - 1 : data[1]);
		else
			stash_buf_add(buf, data + 1, 1);
	}
}

static void
send_message(int fd, struct stash_buf *buf, int nfds)
{
	int fds[3] = { server->stash.bell, server->stash.bell, server->stash.bell };

	(void)mail_send(fd, buf, fds, nfds);
}

/* The answer that it waits for, or another one; a slot that is open would get a process, unless it has one. */
static void
from_stash(const uint8_t *data, size_t len)
{
	static const int64_t types[] = { STASH__S_HELLO, STASH__S_BROKEN, STASH__S_DONE, 99 };
	bool right = data[0] < 200, has_process = strcmp(asked.name, "a") == 0;
	int64_t type = right ? asked.type + STASH__S_HELLO : types[data[0] % 4];
	struct stash_buf *buf = mail_begin(type, right || data[0] % 4 == 2 ? asked.number : 0);

	if (right)
		stash_buf_add_int(buf,
		    asked.type == STASH__S_OPEN && !has_process ? STASH_E_SYSTEM :
			data[0] < 160				? 0 :
								  -(int)(data[0] % 31));
	if (right)
		stash_buf_add_text(buf, "");
	add_items(buf, data + 1, len - 1);
	send_message(stash, buf, data[0] % 4);
}

static void
from_worker(const uint8_t *data, size_t len)
{
	static const int64_t types[] = { STASH__W_READY, STASH__W_GROW, STASH__W_LAYOUT, STASH__W_DETACHED,
		STASH__W_REFUSED, STASH__W_LOG, STASH__W_WAY, STASH__W_WAY_OVER, STASH__W_NAMES, STASH__W_TAKEN,
		STASH__W_ASK_FIELDS, 0, 99 };
	struct stash_buf *buf = mail_begin(types[data[0] % (sizeof(types) / sizeof(types[0]))], data[0]);

	add_items(buf, data + 1, len - 1);
	send_message(worker, buf, data[0] > 250 ? 1 : 0);
}

static void
from_client(const uint8_t *data, size_t len)
{
	static uint64_t number = 10;
	static const int64_t types[] = { STASH__B_OPEN, STASH__B_PRESENT, STASH__B_CLOSE, STASH__B_WHEREIS,
		STASH__B_AWAIT, STASH__B_CANCEL, STASH__B_NAMES, STASH__B_VALUE, STASH__B_GROUP, STASH__B_KILL };
	struct stash_buf *buf = mail_begin(types[data[0] % (sizeof(types) / sizeof(types[0]))], number++);

	if (data[0] > 200) {
		buf = mail_begin(STASH__B_OPEN, number++);
		stash_buf_add_text(buf, "a");
		stash_buf_add_int(buf, 0);
	} else {
		add_items(buf, data + 1, len - 1);
	}
	(void)mail_send(client, buf, NULL, 0);
}

static void
end(void)
{
	close(client);
	close(worker);
	turn();
	peers_tick(server, INT64_MAX / 2);
	mailroom_tick(server, INT64_MAX / 2);
	for (int i = 0; i < 10; i++)
		t_server_turn(server);
	t_server_end(server);
	close(stash);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	turn();
	for (int i = 0; size > 2 && i < STEPS_MAX; i++) {
		uint8_t who = data[0];
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		if (len > 0 && who < 100)
			from_stash(data + 2, len);
		else if (len > 0 && who < 180)
			from_worker(data + 2, len);
		else if (len > 0)
			from_client(data + 2, len);
		turn();
		data += 2 + len;
		size -= 2 + len;
	}
	end();
	return 0;
}
