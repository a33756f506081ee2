/* SPDX-License-Identifier: ISC */
/*
 * A copy of the database for a backup: the stash process makes it while a stashd
 * runs; else it is the file itself, copied under the lock that keeps a starting
 * stashd away. Nothing is said about whether it is good.
 */
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"
#include "reader/reader.h"
#include "shm/wire.h"
#include "store/backup.h"

#define NAP_NS (10 * STASH__NS_PER_MS)
#define SILENT_NS (5 * STASH__NS_PER_S) /* it beats each second */

/* Whether the stash process beats: one that can't start, as over a damaged store, would be waited for in vain. */
static bool
is_silent(struct stash_store *store)
{
	struct stash__status_page page;

	return stash__store_status(store, &page) == STASH_OK && stash__now_ns() - (int64_t)page.heartbeat > SILENT_NS;
}

static int
copy_online(struct stash_store *store, int fd, int timeout_ms)
{
	int result = stash__reader_online(store);

	if (result <= 0)
		return result < 0 ? result : STASH_E_DOWN;
	if (is_silent(store))
		return STASH_E_DOWN;
	return stash__client_request_with(store->client, STASH__B_COPY, NULL, fd, timeout_ms, stash__answer_done, NULL);
}

static int
copy_offline(struct stash_store *store, int fd)
{
	int lock, result = store_lock(store->dir, false, 0, &lock);

	if (result < 0)
		return result;
	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		result = stash__fail_errno("the file for a copy of %s", store->dir);
	if (result == STASH_OK)
		result = store_backup_copy_file(store->dir, fd);
	close(lock);
	return result;
}

/* Between a stashd that ends and one that starts neither way may be there for a moment. */
int
stash__store_copy(struct stash_store *store, int fd, int timeout_ms, bool *online)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	int64_t deadline = stash__deadline_ns(STASH__READER_WAIT_MS);
	int result = stash__reader_enter(store);

	if (result < 0)
		return result;
	for (;;) {
		*online = true;
		result = copy_online(store, fd, timeout_ms);
		if (result == STASH_E_DOWN) {
			stash__reader_release(store);
			*online = false;
			result = copy_offline(store, fd);
		}
		if (result != STASH_E_BUSY || stash__left_ms(deadline) == 0)
			break;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	stash__reader_leave(store);
	return result;
}

static int
count_unsaved(void *arg, const char *name)
{
	struct {
		struct stash_store *store;
		unsigned count;
	} *c = arg;
	struct stash_state state;
	struct stash__look look;

	if (stash__slot_read(c->store, name, true, &state, &look) == STASH_OK && !look.no_persist && !look.durable &&
	    state.version > 0)
		c->count++;
	return 0;
}

int
stash__store_unsaved(struct stash_store *store, unsigned *count)
{
	struct {
		struct stash_store *store;
		unsigned count;
	} c = { store, 0 };
	int result = stash__reader_enter(store);

	*count = 0;
	if (result < 0)
		return result;
	result = stash__slot_names(store, count_unsaved, &c);
	*count = c.count;
	stash__reader_leave(store);
	return result;
}
