/* SPDX-License-Identifier: ISC */
/*
 * What a client believes from a broker, and from a channel: any answer may come at any time, with right and wrong
 * descriptors, and the channel's page and replies may hold anything. The input is a list of steps, each a byte of kind,
 * a byte of how many bytes follow, and these. No answer crashes a client, makes it wait, or leaves descriptors or maps
 * behind.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/sock.h"
#include "client/client.h"
#include "shm/bell.h"
#include "shm/checksum.h"
#include "shm/slot.h"
#include "shm/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 48

static char dir[] = "/dev/shm/fuzz-client.XXXXXX";
static int page_fd = -1, status_fd = -1;
static struct stash_client *client;
static int broker = -1;
static uint64_t last_number; /* of the client's requests */
static struct stash__channel channel;
static int memfd = -1;

static void
remove_dir(void)
{
	char path[sizeof dir + 16];

	snprintf(path, sizeof path, "%s/bell", dir);
	(void)unlink(path);
	snprintf(path, sizeof path, "%s/status", dir);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
begin_once(void)
{
	static const struct stash__origin origin = { "boot", "store" };
	int dirfd;

	if (page_fd >= 0)
		return;
	STASH_ASSERT(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	STASH_ASSERT(stash__bell_page_make(dirfd, "bell", &page_fd) == 0);
	STASH_ASSERT(stash__status_page_make(dirfd, "status", &origin, &status_fd) == 0);
	close(dirfd);
}

/* Connected, and not yet welcome. The directory names no store, so a link that is lost stays so. */
static void
begin(void)
{
	static const struct stash__client_hooks none = { 0 };
	int sockets[2];

	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	client = stash__client_of_worker("/nonexistent", "fuzz", &none, NULL);
	STASH_ASSERT(client != NULL);
	client->hooks = NULL;
	client->wire = malloc(STASH__WIRE_MAX);
	client->bell = stash__bell_make();
	client->sock = sockets[0];
	client->link = LINK_HELLO;
	client->hello = 1;
	client->wait_ns = 0;
	broker = sockets[1];
	STASH_ASSERT(client->wire != NULL && client->bell >= 0);
}

static void
forget_channel(void)
{
	if (channel.page != NULL)
		stash__channel_unmap(&channel);
	if (memfd >= 0)
		close(memfd);
	memfd = -1;
}

static void
end(void)
{
	stash_client_close(client);
	close(broker);
	forget_channel();
}

/* ---- the broker's side ---- */

/* What the client asks for: its number is what an answer needs. */
static void
hear(void)
{
	static unsigned char wire[STASH__WIRE_MAX];
	int fds[8], nfds;
	struct stash_view v;
	size_t len;

	while (stash__sock_recv(broker, wire, sizeof wire, &len, fds, 8, &nfds, MSG_DONTWAIT) == 0) {
		stash_view_init(&v, wire, len);
		(void)stash_view_int(&v);
		last_number = (uint64_t)stash_view_int(&v);
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
	}
}

static void
make_channel(void)
{
	static const uint8_t id[STASH__ID] = "channel";

	forget_channel();
	STASH_ASSERT(stash__channel_make(id, 0, &memfd) == 0 && stash__channel_map(&channel, memfd) == 0);
}

static int
add_fd(uint8_t kind)
{
	switch (kind % 8) {
	case 0:
	case 1:
		if (memfd < 0)
			make_channel();
		return memfd;
	case 2:
		return page_fd;
	case 3:
		return status_fd;
	case 4:
		return memfd_create("rows", MFD_CLOEXEC);
	case 5:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	default:
		return stash__bell_make();
	}
}

static void
say(struct stash_buf *buf, const uint8_t *kinds, int nkinds)
{
	int fds[4], nfds = 0;
	const void *data;
	size_t len;

	for (; nfds < nkinds; nfds++)
		fds[nfds] = add_fd(kinds[nfds]);
	if (stash_buf_data(buf, &data, &len) == 0)
		(void)stash__sock_send(broker, data, len, fds, nfds);
	stash__buf_fini(buf);
	for (int i = 0; i < nfds; i++)
		if (fds[i] != memfd && fds[i] != page_fd && fds[i] != status_fd)
			close(fds[i]);
}

static void
begin_answer(struct stash_buf *buf, int64_t type, uint64_t number)
{
	stash__buf_init(buf, STASH__WIRE_MAX);
	(void)stash_buf_add_int(buf, type);
	(void)stash_buf_add_int(buf, (int64_t)number);
}

/* As a good one would be. */
static void
welcome(bool lines)
{
	static const uint8_t kinds[] = { 3 };
	struct stash_buf buf;

	begin_answer(&buf, STASH__B_WELCOME, 1);
	(void)stash_buf_add_int(&buf, 0);
	(void)stash_buf_add_text(&buf, "");
	(void)stash_buf_add_int(&buf, STASH__WIRE_VERSION);
	(void)stash_buf_add_bytes(&buf, "0123456789abcdef", STASH__ID);
	(void)stash_buf_add_int(&buf, 1);
	(void)stash_buf_add_int(&buf, 0);
	(void)stash_buf_add_int(&buf, lines);
	say(&buf, kinds, 1);
}

static void
give_channel(void)
{
	static const uint8_t kinds[] = { 0, 7, 2 };
	struct stash_buf buf;

	make_channel();
	begin_answer(&buf, STASH__B_CHANNEL, last_number);
	(void)stash_buf_add_int(&buf, 0);
	(void)stash_buf_add_text(&buf, "");
	say(&buf, kinds, 3);
}

/* Two bytes make an item; the first byte says how many descriptors, and which. */
static void
answer(uint8_t type, const uint8_t *data, size_t len)
{
	static const uint8_t types[] = { 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 80, 81, 100, 101, 0, 200 };
	uint8_t how = len > 0 ? data[0] : 0, kinds[3] = { how, how >> 3, how >> 5 };
	struct stash_buf buf;

	begin_answer(&buf, types[type % sizeof types], last_number + (how == 77));
	for (data++; len >= 3; data += 2, len -= 2) {
		if (data[0] % 4 == 0)
			(void)stash_buf_add_int(&buf, (int8_t)data[1]);
		else if (data[0] % 4 == 1)
			(void)stash_buf_add_text(&buf, data[1] % 2 ? "root/a" : "");
		else if (data[0] % 4 == 2)
			(void)stash_buf_add_bytes(&buf, "channel\0\0\0\0\0\0\0\0\0", data[1] % 17);
		else
			(void)stash_buf_add(&buf, data + 1, 1);
	}
	say(&buf, kinds, how % 4);
}

/* The worker's half of the channel, and the supervisor's mark. */
static void
scribble(const uint8_t *data, size_t len, bool sealed)
{
	uint64_t at, sum;
	size_t n = len > 1 ? len - 1 : 0;

	if (channel.page == NULL || len < 2)
		return;
	if (data[0] > 250) {
		atomic_store(&channel.page->down, data[1]);
		return;
	}
	if (data[0] > 240) {
		atomic_store(&channel.page->req_head, data[1] * 8ull);
		return;
	}
	at = atomic_load(&channel.page->rep_tail);
	memcpy(channel.rep + at % channel.ring_bytes, data + 1, n);
	if (sealed && n >= 8) {
		sum = stash__checksum(channel.rep + at % channel.ring_bytes, n, at);
		memcpy(channel.rep + at % channel.ring_bytes, &sum, sizeof sum);
	}
	atomic_store(&channel.page->rep_tail, at + (data[0] < 200 ? n & ~(size_t)7 : n));
}

/* A reply as the worker would write it, with whatever number and code. */
static void
reply(const uint8_t *data, size_t len)
{
	uint64_t tail;

	if (channel.page == NULL || len < 3)
		return;
	tail = atomic_load(&channel.page->rep_tail);
	if (stash__reply_write(&channel, &tail, data[0], -(int32_t)data[1], data[2], data + 3, len - 3) == 0)
		atomic_store(&channel.page->rep_tail, tail);
}

/* ---- the client's side ---- */

static int
none(void *arg, const struct stash_process *process)
{
	(void)arg;
	STASH_ASSERT(memchr(process->name, '\0', sizeof process->name) != NULL);
	STASH_ASSERT(memchr(process->child, '\0', sizeof process->child) != NULL);
	return 0;
}

static int
no_spec(void *arg, const struct stash_child_spec *spec)
{
	(void)arg;
	STASH_ASSERT(spec->size > 0);
	return 0;
}

static void
use(const uint8_t *data, size_t len)
{
	struct stash_child_counts counts;
	struct stash_process process;
	struct stash_reply r;

	switch (len > 0 ? data[0] % 12 : 0) {
	case 0:
	case 1:
	case 2:
		(void)stash_call_start(client, "a", "tag", data, len, 10000);
		break;
	case 3:
		if (stash_call_next(client, &r, 0) > 0)
			stash_reply_free(&r);
		break;
	case 4:
		(void)stash_whereis(client, "a", &process);
		break;
	case 5:
		(void)stash_which_children(client, "root", none, NULL, 0);
		break;
	case 6:
		(void)stash_count_children(client, "root", &counts, 0);
		break;
	case 7:
		(void)stash_get_childspec(client, "root", "a", no_spec, NULL, 0);
		break;
	case 8:
		(void)stash_registry_list(client, "", none, NULL);
		break;
	case 9:
		if (stash_registry_get(client, "a", &r) == 0)
			stash_reply_free(&r);
		break;
	case 10:
		(void)stash_client_fd(client);
		break;
	default:
		(void)stash_restart_child(client, "root", "a", &process, 0);
	}
	hear();
}

static void
look(void)
{
	stash__link_run(client);
	stash__wait_look(client);
	stash__lines_clear(client);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool good = size > 0 && (data[0] & 1) != 0;

	begin_once();
	begin();
	if (good) {
		welcome((data[0] & 2) != 0);
		look();
		use((const uint8_t *)"\0", 1);
		give_channel();
		look();
		hear();
	}
	for (int i = 0; size > 2 && i < STEPS_MAX; i++) {
		uint8_t kind = data[1];
		size_t len = data[2] < size - 3 ? data[2] : size - 3;
		const uint8_t *at = data + 3;

		if (kind < 96)
			answer(kind, at, len);
		else if (kind < 128)
			scribble(at, len, kind & 1);
		else if (kind < 160)
			reply(at, len);
		else if (kind < 164)
			give_channel();
		else
			use(at, len);
		look();
		data += 2 + len;
		size -= 2 + len;
	}
	end();
	return 0;
}
