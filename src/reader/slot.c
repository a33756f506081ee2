/* SPDX-License-Identifier: ISC */
/*
 * Last states and black boxes straight from slots, by nobody's leave: also while
 * a worker hangs, while the stash process is dead, and while no stashd runs. A
 * slot's base is what the stash has folded; entries that it hasn't come to yet
 * are as safe, and newer, so they are looked at too. Nothing is taken that
 * fails its checksum, and nothing is ever written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "reader/reader.h"
#include "shm/slot.h"
#include "shm/wire.h"

/* How often the ring is walked again when the stash laps the walk. */
#define WALKS 16

#define NOT_RUN "no worker of that name has run since the last clean stop"

/* Both halves of a slot, mapped; out.page is NULL if there is no such half. */
struct halves {
	struct stash__in in;
	struct stash__out out;
};

/* The newest entry with an image that the base doesn't hold yet. */
struct newest {
	uint64_t at, tail; /* positions in the ring */
	struct stash__entry head;
	bool found;
};

/* STASH_E_NOENT, without a message: there is none. */
static int
slot_dir(const struct stash_store *store)
{
	char path[sizeof store->info.run_dir + sizeof STASH__SLOT_DIR + 1];
	int len = snprintf(path, sizeof path, "%s/%s", store->info.run_dir, STASH__SLOT_DIR), fd;

	if (len < 0 || (size_t)len >= sizeof path)
		return stash__fail(STASH_E_TOOBIG, "%s: the path of the slots is too long", store->info.run_dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return errno == ENOENT ? STASH_E_NOENT : stash__fail_errno("%s: can't be opened", path);
}

static int
no_slot(const char *name, const char *why)
{
	stash__fail(STASH_E_NOENT, "\"%s\" has no slot: %s", name, why);
	return STASH_E_NOENT;
}

static int
open_half(int dir, const char *name, const char *half)
{
	char file[STASH__SLOT_FILE_MAX];
	int fd;

	stash__slot_file(file, name, half);
	fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return errno == ENOENT ? no_slot(name, NOT_RUN) : stash__fail_errno("the slot of \"%s\" can't be opened", name);
}

/* Slots of another boot or store are left over from it, and are none. */
static int
check_origin(const struct stash_store *store, const char *name, const uint8_t *boot_id, const uint8_t *store_id)
{
	if (memcmp(boot_id, store->boot_id, STASH__ID) == 0 && memcmp(store_id, store->info.id, STASH__ID) == 0)
		return STASH_OK;
	return no_slot(name, "what is there is of another boot or store");
}

static void
unmap(struct halves *h)
{
	int in = h->in.fd, out = h->out.fd;

	if (h->in.page != NULL)
		stash__in_unmap(&h->in);
	if (h->out.page != NULL)
		stash__out_unmap(&h->out);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
}

/* It is the worker's, and may be damaged: then there is nothing in its ring, but the base is as good as ever. */
static int
map_out(int dir, const char *name, struct stash__out *out)
{
	int fd = open_half(dir, name, "out"), result;

	if (fd < 0)
		return fd;
	result = stash__out_map_page(out, fd, false);
	out->fd = fd;
	if (result == STASH_OK)
		(void)stash__out_map_ring(out);
	return result;
}

static int
map_in(const struct stash_store *store, int dir, const char *name, struct stash__in *in)
{
	int fd = open_half(dir, name, "in"), result;

	if (fd < 0)
		return fd;
	result = stash__in_map(in, fd, false, NULL);
	in->fd = fd;
	return result < 0 ? result : check_origin(store, name, in->page->boot_id, in->page->store_id);
}

static int
map(const struct stash_store *store, const char *name, struct halves *h)
{
	int dir = slot_dir(store), result;

	*h = (struct halves){ .in.fd = -1, .out.fd = -1 };
	if (dir < 0)
		return dir == STASH_E_NOENT ? no_slot(name, NOT_RUN) : dir;
	result = map_in(store, dir, name, &h->in);
	if (result == STASH_OK)
		result = map_out(dir, name, &h->out);
	close(dir);
	if (result < 0)
		unmap(h);
	return result;
}

/* ---- states ---- */

/* A slot just made has no base yet: its first one is being written. */
static bool
has_base(const struct stash__in *in)
{
	const struct stash__in_page *page = in->page;
	uint32_t now = atomic_load_explicit(&page->base_now, memory_order_acquire) & 1;
	uint64_t offset = STASH__RING_OFFSET(atomic_load_explicit(&page->bases[now], memory_order_acquire)), turn;

	/* One that is out of the file is for stash__base_copy() to refuse. */
	if (offset < STASH__IN_BASES || offset > in->bytes - sizeof(struct stash__base))
		return true;
	memcpy(&turn, (const unsigned char *)page + offset + offsetof(struct stash__base, turn), sizeof turn);
	return turn > 0;
}

/*
 * Walks the entries behind the base; ends at the first that isn't whole. False: the stash has come further
 * meanwhile, and its worker has written over them.
 */
static bool
walk(struct halves *h, const struct stash__base *base, struct newest *n)
{
	struct stash__entry_view view;
	uint64_t at = base->out_head;

	*n = (struct newest){ .tail = atomic_load_explicit(&h->out.page->out_tail, memory_order_acquire) };
	if (stash__out_follow(&h->out) < 0 || h->out.ring == NULL)
		return true;
	for (; at < n->tail; at += view.head.bytes) {
		if (stash__entry_view(&h->out, at, n->tail, &view) < 0)
			return atomic_load_explicit(&h->in.page->out_head, memory_order_acquire) <= at;
		if ((view.head.flags & STASH__ENTRY_IMAGE) == 0 || view.head.number <= base->entry ||
		    view.head.incarnation <= base->fence)
			continue;
		n->at = at;
		n->head = view.head;
		n->found = true;
	}
	return true;
}

static int
copy_data(struct stash_state *state, const void *data, size_t len)
{
	unsigned char *copy = malloc(len + 1);

	if (copy == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a state of %zu bytes", len);
	if (len > 0)
		memcpy(copy, data, len);
	copy[len] = '\0';
	free(state->data);
	state->data = copy;
	return STASH_OK;
}

/* The entry's image; STASH_E_PENDING: it was overwritten meanwhile, so the base has moved. */
static int
take_entry(struct halves *h, const struct newest *n, bool head_only, struct stash_state *state)
{
	struct stash__entry_view view;
	int result = STASH_OK;

	if (stash__entry_view(&h->out, n->at, n->tail, &view) < 0)
		return STASH_E_PENDING;
	state->len = view.head.image_len;
	state->version = view.head.version;
	state->committed_ns = stash__time_ns() - (stash__now_ns() - view.head.stamp);
	state->layout_version = (uint32_t)atomic_load_explicit(&h->out.page->layout_version, memory_order_relaxed);
	memcpy(state->layout, h->out.page->layout, sizeof state->layout);
	state->layout[STASH_NAME_MAX] = '\0';
	if (!head_only)
		result = copy_data(state, view.image, view.head.image_len);
	/* A position is never used twice: if it is whole now, it was so all the time. */
	if (result == STASH_OK && stash__entry_view(&h->out, n->at, n->tail, &view) < 0)
		result = STASH_E_PENDING;
	return result;
}

static int
take_base(const struct stash__base *base, bool head_only, struct stash_state *state)
{
	state->len = base->image_len;
	state->version = base->version;
	state->committed_ns = base->time;
	state->layout_version = base->layout_version;
	memcpy(state->layout, base->layout, sizeof state->layout);
	state->layout[STASH_NAME_MAX] = '\0';
	return head_only ? STASH_OK : copy_data(state, stash__base_image(base), base->image_len);
}

/*
 * What is taken is never older than what was there when the look began: an entry, or a base that holds all that was
 * in the ring then.  base is the caller's to free, also after a failure.
 */
static int
take_newest(struct halves *h, bool head_only, struct stash_state *state, struct stash__base **base, bool *folded)
{
	struct newest n;
	uint64_t began = 0;
	int result;

	for (int i = 0; i < WALKS; i++) {
		free(*base);
		*base = NULL;
		result = stash__base_copy(&h->in, base);
		if (result < 0)
			return result;
		if (i > 0 && (*base)->out_head >= began)
			break;
		if (i == 0)
			began = atomic_load_explicit(&h->out.page->out_tail, memory_order_acquire);
		if (!walk(h, *base, &n))
			continue;
		*folded = !n.found;
		result = n.found ? take_entry(h, &n, head_only, state) : take_base(*base, head_only, state);
		if (result != STASH_E_PENDING)
			return result;
	}
	*folded = true;
	return take_base(*base, head_only, state);
}

/* ---- looks ---- */

static void
fill_look(const struct halves *h, const struct stash__base *base, const struct stash_state *state, bool folded,
    struct stash__look *look)
{
	const struct stash__out_page *out = h->out.page;
	const struct stash__row *rows = stash__base_rows(base);
	uint64_t head = h->in.page->out_head;

	*look = (struct stash__look){ .incarnation = out->owner, .start_time = out->owner_start };
	look->pid = (int32_t)out->owner_pid;
	look->alive = stash__reader_alive(out->owner_pid, out->owner_start);
	look->ack_disk = out->ack_disk != 0;
	look->no_persist = h->in.page->no_persist != 0;
	look->durable = folded && !look->no_persist && base->changed > 0 && h->in.page->durable >= base->changed;
	look->version = state->version;
	look->time_ns = state->committed_ns;
	look->entries = base->entry;
	look->unfolded = out->out_tail > head ? out->out_tail - head : 0;
	look->ring_bytes = h->out.ring_bytes;
	look->retired = base->retired;
	look->crashes = base->crashes;
	look->last_reason = base->last_reason;
	for (uint32_t i = 0; i < base->nrows; i++)
		look->channels += rows[i].used == STASH__USE_IN;
	memcpy(&look->box, h->out.box, sizeof look->box);
	look->box.tag[STASH_TAG_MAX] = '\0';
	look->box.crash.text[STASH__BOX_TEXT - 1] = '\0';
}

int
stash__slot_read(
    struct stash_store *store, const char *name, bool head_only, struct stash_state *state, struct stash__look *look)
{
	struct stash_state own;
	struct stash__base *base = NULL;
	struct halves h;
	bool folded = false;
	int result;

	if (state == NULL) {
		state = &own;
		head_only = true;
	}
	memset(state, 0, sizeof *state);
	result = map(store, name, &h);
	if (result < 0)
		return result;
	if (!has_base(&h.in))
		result = no_slot(name, "it is just being made");
	else
		result = take_newest(&h, head_only, state, &base, &folded);
	if (result == STASH_OK && look != NULL)
		fill_look(&h, base, state, folded, look);
	free(base);
	unmap(&h);
	if (result < 0)
		stash_state_free(state);
	return result;
}

int
stash__store_look(struct stash_store *store, const char *name, struct stash__look *look)
{
	int result = stash__reader_enter(store);

	memset(look, 0, sizeof *look);
	if (result < 0)
		return result;
	result = stash__check_name(name);
	if (result == STASH_OK)
		result = stash__slot_read(store, name, true, NULL, look);
	stash__reader_leave(store);
	return result;
}

int
stash__slot_names(struct stash_store *store, int (*fn)(void *arg, const char *name), void *arg)
{
	int fd = slot_dir(store), result = STASH_OK;
	char name[STASH_NAME_MAX + 1];
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return fd == STASH_E_NOENT ? STASH_OK : fd;
	dir = fdopendir(fd);
	if (dir == NULL) {
		result = stash__fail_errno("the slots in %s can't be listed", store->info.run_dir);
		close(fd);
		return result;
	}
	while (result == STASH_OK && (errno = 0, entry = readdir(dir)) != NULL) {
		if (stash__slot_name(name, entry->d_name, "in"))
			result = fn(arg, name);
	}
	if (result == STASH_OK && errno != 0)
		result = stash__fail_errno("the slots in %s can't be listed", store->info.run_dir);
	closedir(dir);
	return result;
}
