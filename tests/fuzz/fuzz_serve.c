/* SPDX-License-Identifier: ISC */
/*
 * Foreign messages to the stash process, where the supervisor's belong: each is a byte of type, a byte of how many
 * bytes follow, and these, two for each item; or, with the top bit, foreign bytes as they are. There is a real store,
 * and what is asked for is folded and committed. No message ends it, leaves a slot that can't be read, or descriptors
 * behind.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/boot.h"
#include "base/info.h"
#include "base/log.h"
#include "base/sock.h"
#include "shm/bell.h"
#include "stash/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES_MAX 32

static char dir[] = "/dev/shm/fuzz-serve.XXXXXX";
static struct stash__stash_options options;
static struct stash stash;
static int supervisor = -1;

static void
say_nothing(void *arg, int priority, const char *text)
{
	(void)arg;
	(void)priority;
	(void)text;
}

/* LLVMFuzzer ends by exit(): what is in the directory is known. */
static void
remove_dir(void)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", "store.lock", "stash.info", STASH__STATUS_NAME,
		STASH__ROWS_NAME, "supervisor.in" };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		(void)unlinkat(fd, files[i], 0);
	(void)unlinkat(fd, STASH__SLOT_DIR, AT_REMOVEDIR);
	close(fd);
	(void)rmdir(dir);
}

static void
begin_once(void)
{
	struct store_options store = { .map_bytes = 64 << 20, .quota_bytes = 16 << 20 };
	struct stash *s = &stash;
	struct stash__info info;
	int fd;

	if (s->options != NULL)
		return;
	stash__log_sink(say_nothing, NULL);
	STASH_ASSERT(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
	stash__info_new(&info);
	memcpy(info.run_dir, dir, sizeof dir);
	STASH_ASSERT(stash__info_create(dir, &info) == 0 && stash__boot_id(s->origin.boot_id) == 0);
	memcpy(s->origin.store_id, info.id, STASH__ID);
	options.dir = options.run_dir = dir;
	s->options = &options;
	s->run_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	STASH_ASSERT(mkdirat(s->run_dir, STASH__SLOT_DIR, 0700) == 0);
	s->slot_dir = openat(s->run_dir, STASH__SLOT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->lock_fd = -1;
	s->bell = stash__bell_make();
	s->same_boot = true;
	s->fold_interval = STASH__FOLD_INTERVAL_NS;
	pthread_mutex_init(&s->watch, NULL);
	pthread_mutex_init(&s->table, NULL);
	RB_INIT(&s->slots);
	TAILQ_INIT(&s->active);
	TAILQ_INIT(&s->sleeping);
	TAILQ_INIT(&s->unsaved);
	STAILQ_INIT(&s->waiters);
	STAILQ_INIT(&s->job.waiters);
	STAILQ_INIT(&s->answers);
	stash__buf_init(&s->message, STASH__WIRE_MAX);
	stash__buf_init(&s->job.rows, STASH__BUF_MAX);
	s->packet = malloc(STASH__WIRE_MAX);
	STASH_ASSERT(s->packet != NULL && store_open(&s->store, dir, &store) == 0);
	STASH_ASSERT(stash__status_page_make(s->run_dir, STASH__STATUS_NAME, &s->origin, &fd) == 0);
	s->status = stash__status_page_map(fd, true);
	close(fd);
	STASH_ASSERT(s->status != NULL && stash__rows_begin(s) == 0);
}

/* ---- messages ---- */

/* Shutdown ends it. */
static int64_t
type_of(uint8_t byte)
{
	int64_t type = byte & 0xf;

	return type == STASH__S_SHUTDOWN ? STASH__S_OPEN : type;
}

static void
add_items(struct stash_buf *buf, const uint8_t *data, size_t len)
{
	static const char *const texts[] = { "a", "b", "", "a/b", ".x", "c" };
	uint8_t id[STASH__ID] = { 0 };

	for (; len >= 2; data += 2, len -= 2) {
		switch (data[0] % 5) {
		case 0:
			stash_buf_add_int(buf, (int8_t)data[1]);
			break;
		case 1:
			stash_buf_add_int(buf, (int64_t)((uint64_t)data[1] << (data[0] & 63)));
			break;
		case 2:
			id[0] = data[1] % 4;
			stash_buf_add_bytes(buf, id, sizeof id);
			break;
		case 3:
			stash_buf_add_bytes(buf, data + 1, len - 1 < data[0] ? len - 1 : data[0]);
			break;
		default:
			stash_buf_add_text(buf, texts[data[1] % (sizeof texts / sizeof *texts)]);
		}
	}
}

static void
send_message(const uint8_t *data, size_t len, int64_t number)
{
	int bell = (data[0] & 0x40) != 0 ? stash__bell_make() : -1;
	struct stash_buf buf;
	const void *bytes;
	size_t n;

	stash__buf_init(&buf, STASH__WIRE_MAX);
	stash_buf_add_int(&buf, type_of(data[0]));
	stash_buf_add_int(&buf, number);
	if ((data[0] & 0x80) != 0)
		stash_buf_add(&buf, data + 2, len);
	else
		add_items(&buf, data + 2, len);
	if (stash_buf_data(&buf, &bytes, &n) == 0)
		(void)stash__sock_send(supervisor, bytes, n, &bell, bell >= 0 ? 1 : 0);
	stash__buf_fini(&buf);
	if (bell >= 0)
		close(bell);
}

static void
take_answers(void)
{
	static unsigned char wire[STASH__WIRE_MAX];
	int fds[8], nfds;
	size_t len;

	while (stash__sock_recv(supervisor, wire, sizeof wire, &len, fds, 8, &nfds, MSG_DONTWAIT) == 0)
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
}

/* What its threads do in turns. */
static void
turn(void)
{
	struct stash *s = &stash;
	int result;

	pthread_mutex_lock(&s->table);
	stash__serve(s);
	stash__round(s, true);
	result = stash__commit_take(s);
	pthread_mutex_unlock(&s->table);
	if (result == STASH_OK)
		result = stash__commit_run(s);
	pthread_mutex_lock(&s->table);
	stash__commit_report(s, result);
	pthread_mutex_unlock(&s->table);
	take_answers();
}

static void
check_slots(void)
{
	struct slot *slot, *next;
	struct stash__base *base;

	RB_FOREACH_SAFE(slot, slots, &stash.slots, next) {
		STASH_ASSERT(stash__base_copy(&slot->in, &base) == 0 && base->nrows == slot->base.nrows);
		free(base);
		stash__slot_unlink(&stash, slot->name);
		stash__slot_remove(&stash, slot);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int sockets[2];
	int64_t number = 0;

	begin_once();
	STASH_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	stash.control = sockets[0];
	supervisor = sockets[1];
	stash.greeted = true;
	while (size >= 2 && number < MESSAGES_MAX) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		send_message(data, len, ++number);
		turn();
		STASH_ASSERT(!stash.ending && stash.control >= 0);
		data += 2 + len;
		size -= 2 + len;
	}
	turn();
	stash__copy_end(&stash); /* its thread answers through the socket */
	check_slots();
	stash__wait_free(&stash.waiters);
	stash__answer_free(&stash);
	close(sockets[0]);
	close(sockets[1]);
	return 0;
}
