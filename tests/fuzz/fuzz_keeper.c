/* SPDX-License-Identifier: ISC */
/*
 * The socket between keeper and supervisor, from both ends: what the keeper is told to keep, to drop and to say, and
 * what a supervisor takes back from it. The first byte says which end is meant. The keeper's vault holds what it was
 * given last under each key, and nothing is left behind.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "shm/bell.h"

/* Its handlers are its own business; here they are wanted without its processes. */
#define keeper_run fuzz_keeper_run
#define keeper_pass_on fuzz_keeper_pass_on
#include "stashd/keeper.c"
#undef keeper_pass_on
#undef keeper_run

#include "stashd/keeplink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES_MAX 48

static int items; /* that the supervisor has taken */

static void
say_nothing(void *arg, int priority, const char *text)
{
	(void)arg;
	(void)priority;
	(void)text;
}

static void
pair(int sockets[2])
{
	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
}

/* A byte of kind, and two for each item. */
static void
send_message(int to, int64_t type, const uint8_t *data, size_t len)
{
	static const char *const keys[] = { "listen", "stash", "b/a", "c/00/0/0/a", "", "l/1", "x" };
	struct stash_buf *buf = mail_begin(type, len);
	int fds[5], nfds = len > 0 ? data[0] % 6 : 0;

	for (int i = 0; i < nfds; i++)
		fds[i] = stash__bell_make();
	for (; len >= 2; data += 2, len -= 2) {
		if (data[0] % 4 == 0)
			/* Of no process: what is asked about it harms nobody. */
			stash_buf_add_int(buf, data[1] > 200 ? -(int64_t)data[1] : 0x7f000000 + data[1]);
		else if (data[0] % 4 == 1)
			stash_buf_add_text(buf, keys[data[1] % (sizeof(keys) / sizeof(keys[0]))]);
		else if (data[0] % 4 == 2)
			stash_buf_add_bytes(buf, data, len < data[1] ? len : data[1]);
		else
			stash_buf_add(buf, data + 1, 1);
	}
	(void)mail_send(to, buf, fds, nfds);
	for (int i = 0; i < nfds; i++)
		close(fds[i]);
}

static void
drain(int fd)
{
	struct mail m;

	while (mail_recv(fd, &m) == 0)
		mail_done(&m);
}

static void
to_keeper(const uint8_t *data, size_t size)
{
	struct keeper k = { .pidfd = -1, .signals = -1 };
	struct vault_item *item = NULL;
	int sockets[2];

	pair(sockets);
	vault_init(&k.vault);
	k.socket = sockets[0];
	for (int i = 0; size >= 2 && i < MESSAGES_MAX; i++) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		send_message(sockets[1], data[0] % 9, data + 2, len);
		read_socket(&k);
		drain(sockets[1]);
		data += 2 + len;
		size -= 2 + len;
	}
	while ((item = vault_next(&k.vault, item)) != NULL)
		STASH_ASSERT(item->nfds >= 0 && item->nfds <= VAULT_FDS && strlen(item->key) <= VAULT_KEY_MAX);
	vault_clear(&k.vault);
	close(sockets[0]);
	close(sockets[1]);
}

static void
on_item(void *arg, const char *key, pid_t pid, int *fds, int nfds)
{
	(void)arg;
	STASH_ASSERT(strlen(key) < STASH__WIRE_MAX && pid >= 0 && nfds <= STASH__SOCK_FDS);
	if (nfds > 0 && (pid & 1) != 0) {
		close(fds[0]);
		fds[0] = -1;
	}
	items++;
}

static void
statused(void *arg, uint64_t number, pid_t pid, int state, int status)
{
	(void)arg;
	(void)number;
	STASH_ASSERT(pid > 0 && state >= 0 && state <= 2 && status >= -1);
}

static void
to_supervisor(const uint8_t *data, size_t size)
{
	struct event_base *events = event_base_new();
	struct keeplink k;
	struct stash_buf *buf;
	bool begun = false;
	int sockets[2];

	pair(sockets);
	keep_open(&k, sockets[0]);
	k.statused = statused;
	for (int i = 0; size >= 2 && i < MESSAGES_MAX; i++) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		send_message(sockets[1], 64 + data[0] % 5, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	/* It always ends; a keeper that doesn't is waited for. */
	buf = mail_begin(STASH__K_END, 0);
	stash_buf_add_int(buf, 1);
	if (size % 2 != 0) /* else as an older one says it */
		stash_buf_add_int(buf, 1);
	(void)mail_send(sockets[1], buf, NULL, 0);
	(void)keep_fetch(&k, on_item, NULL, &begun);
	STASH_ASSERT(events != NULL && keep_watch(&k, events) == 0);
	(void)event_base_loop(events, EVLOOP_NONBLOCK);
	keep_close(&k);
	event_base_free(events);
	close(sockets[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	stash__log_sink(say_nothing, NULL);
	if (data[0] & 1)
		to_keeper(data + 1, size - 1);
	else
		to_supervisor(data + 1, size - 1);
	return 0;
}
