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
#include "shm/bell.h"
#include "testlib_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES_MAX 64

static struct server *server;

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

	t_server_turn(server);
	while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* By the input's length: of stashd's own user, or of another one that may do this or that. */
	static const unsigned accesses[] = { ACCESS_OWN, ACCESS_OWN, ACCESS_CALL, ACCESS_LOOK,
		ACCESS_CALL | ACCESS_LOOK, 0 };
	unsigned access = accesses[size % (sizeof(accesses) / sizeof(accesses[0]))];
	uint32_t uid = access == ACCESS_OWN ? (uint32_t)geteuid() : 65534;
	uint64_t number = 1;
	int sockets[2];

	server = t_server_begin();
	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	peer_create(server, sockets[0], access, uid, (uint32_t)getpid());
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
		t_server_turn(server);
	STASH_ASSERT(TAILQ_EMPTY(&server->broker.peers));
	t_server_end(server);
	return 0;
}
