/* SPDX-License-Identifier: ISC */
/*
 * The live black box of a worker, the status page, and since when what is there
 * has not changed: figures that are read without disturbing anyone.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "reader/reader.h"
#include "shm/slot.h"
#include "shm/wire.h"

uint32_t
stash__box_phase(uint32_t phase)
{
	switch ((enum stash__phase)phase) {
	case STASH__PHASE_INIT:
		return 1;
	case STASH__PHASE_IDLE:
		return 2;
	case STASH__PHASE_CALLBACK:
	case STASH__PHASE_TERMINATE:
		return 3;
	case STASH__PHASE_BETWEEN:
	case STASH__PHASE_SUBMIT:
		return 4;
	case STASH__PHASE_WAITING:
		return 5;
	case STASH__PHASE_NONE:
	case STASH__PHASE_DONE:
		break;
	}
	return 0;
}

int
stash_store_box(struct stash_store *store, const char *name, struct stash_box *box)
{
	struct stash__look look;
	int result;

	if (box == NULL)
		return stash__fail(STASH_E_INVAL, "stash_store_box: box is NULL");
	memset(box, 0, sizeof *box);
	result = stash__store_look(store, name, &look);
	if (result < 0)
		return result;
	box->phase = stash__box_phase(look.box.phase);
	box->since_ns = (int64_t)look.box.since;
	box->handled = look.box.handled;
	box->commits = look.box.commits;
	if (look.box.in_hand != 0) {
		box->kind = look.box.kind;
		box->attempt = look.box.attempt;
		strlcpy(box->tag, look.box.tag, sizeof box->tag);
	}
	return STASH_OK;
}

static int
run_file(const struct stash_store *store, const char *file)
{
	char path[sizeof store->info.run_dir + STASH__SLOT_FILE_MAX];
	int len = snprintf(path, sizeof path, "%s/%s", store->info.run_dir, file), fd;

	if (len < 0 || (size_t)len >= sizeof path)
		return stash__fail(STASH_E_TOOBIG, "%s: the path is too long", store->info.run_dir);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return stash__fail(STASH_E_NOENT, "%s: there is none: nothing has run since the last clean stop", path);
	return stash__fail_errno("%s: can't be opened", path);
}

static int
copy_status(const struct stash_store *store, int fd, struct stash__status_page *page)
{
	struct stash__status_page *shared;
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_size < STASH__PAGE)
		return stash__fail(STASH_E_CORRUPT, "the status page is too short");
	shared = stash__status_page_map(fd, false);
	if (shared == NULL)
		return STASH_E_CORRUPT;
	memcpy(page, shared, sizeof *page);
	stash__status_page_unmap(shared);
	if (memcmp(page->store_id, store->info.id, sizeof page->store_id) != 0)
		return stash__fail(STASH_E_NOENT, "the status page belongs to another store");
	return STASH_OK;
}

int
stash__store_status(struct stash_store *store, struct stash__status_page *page)
{
	int result = stash__reader_enter(store), fd;

	memset(page, 0, sizeof *page);
	if (result < 0)
		return result;
	fd = run_file(store, STASH__STATUS_NAME);
	result = fd;
	if (fd >= 0) {
		result = copy_status(store, fd, page);
		close(fd);
	}
	stash__reader_leave(store);
	return result;
}

/* ---- as of ---- */

static int
newer_slot(void *arg, const char *name)
{
	struct {
		struct stash_store *store;
		int64_t time_ns;
	} *newest = arg;
	struct stash_state state;

	if (stash__slot_read(newest->store, name, true, &state, NULL) == STASH_OK &&
	    state.committed_ns > newest->time_ns)
		newest->time_ns = state.committed_ns;
	return 0;
}

int
stash__store_as_of(struct stash_store *store, int64_t *time_ns)
{
	struct {
		struct stash_store *store;
		int64_t time_ns;
	} newest = { store, 0 };
	char path[sizeof store->info.run_dir];
	struct stat st;
	int result = stash__reader_enter(store);

	*time_ns = 0;
	if (result < 0)
		return result;
	if ((size_t)snprintf(path, sizeof path, "%s/data.mdb", store->dir) < sizeof path && stat(path, &st) == 0)
		newest.time_ns = st.st_mtim.tv_sec * STASH__NS_PER_S + st.st_mtim.tv_nsec;
	result = stash__slot_names(store, newer_slot, &newest);
	*time_ns = newest.time_ns;
	stash__reader_leave(store);
	return result;
}
