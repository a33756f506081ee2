/* SPDX-License-Identifier: ISC */
/*
 * A slot as its worker may have left it: entries with right and wrong parts, tails, black box and page, each as the
 * input says; checksums are made right unless it says otherwise. The stash folds and retires it, a reader reads it, a
 * new worker takes over from it, each as they do in life. The stash's own half is damaged last, for those two.
 * Whatever comes in: the base stays whole, and holds the image of the last entry that was folded.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/boot.h"
#include "base/clock.h"
#include "base/log.h"
#include "reader/reader.h"
#include "shm/checksum.h"
#include "stash/inside.h"
#include "worker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME "w"
#define OPS_MAX 64

static struct stash stash;
static struct stash__stash_options options;
static struct stash_store reader;
static struct slot *slot;
static bool damaged; /* the stash's half: it wouldn't read it again */

/* ---- the input ---- */

static struct {
	const uint8_t *at;
	size_t left;
} in;

static uint8_t
byte(void)
{
	if (in.left == 0)
		return 0;
	in.left--;
	return *in.at++;
}

/* Up to `most' bytes, as many as the next byte says. */
static const uint8_t *
bytes(size_t most, size_t *len)
{
	const uint8_t *at;

	*len = byte();
	if (*len > most)
		*len = most;
	if (*len > in.left)
		*len = in.left;
	at = in.at;
	in.at += *len;
	in.left -= *len;
	return at;
}

/* ---- a stash process without store and supervisor ---- */

static void
say_nothing(void *arg, int priority, const char *text)
{
	(void)arg;
	(void)priority;
	(void)text;
}

static void
remove_dir(void)
{
	(void)unlinkat(stash.run_dir, STASH__STATUS_NAME, 0);
	(void)unlinkat(stash.run_dir, STASH__SLOT_DIR, AT_REMOVEDIR);
	(void)rmdir(reader.info.run_dir);
}

static void
begin_once(void)
{
	struct stash *s = &stash;
	char dir[] = "/dev/shm/fuzz-slot.XXXXXX";
	int fd;

	if (s->options != NULL)
		return;
	stash__log_sink(say_nothing, NULL);
	STASH_ASSERT(mkdtemp(dir) != NULL && stash__boot_id(reader.boot_id) == 0);
	memcpy(reader.info.run_dir, dir, sizeof dir);
	memset(reader.info.id, 's', STASH__ID);
	reader.pid = getpid();
	memcpy(s->origin.boot_id, reader.boot_id, STASH__ID);
	memcpy(s->origin.store_id, reader.info.id, STASH__ID);
	s->options = &options;
	s->run_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	STASH_ASSERT(mkdirat(s->run_dir, STASH__SLOT_DIR, 0700) == 0);
	s->slot_dir = openat(s->run_dir, STASH__SLOT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s->bell = s->control = s->lock_fd = -1;
	RB_INIT(&s->slots);
	TAILQ_INIT(&s->active);
	TAILQ_INIT(&s->sleeping);
	TAILQ_INIT(&s->unsaved);
	STASH_ASSERT(stash__status_page_make(s->run_dir, STASH__STATUS_NAME, &s->origin, &fd) == 0);
	s->status = stash__status_page_map(fd, true);
	close(fd);
	STASH_ASSERT(s->status != NULL && atexit(remove_dir) == 0);
}

/* ---- what a worker does, rightly and wrongly ---- */

static struct stash__out *
out_half(void)
{
	static struct stash__out out;
	int fd;

	if (out.page != NULL) {
		fd = out.fd;
		stash__out_unmap(&out);
		close(fd);
	}
	fd = slot != NULL ? stash__slot_file_open(&stash, NAME, "out", O_RDWR) : -1;
	if (fd >= 0 && stash__out_map(&out, fd, true, NULL) == 0)
		return &out;
	if (fd >= 0)
		close(fd);
	memset(&out, 0, sizeof out);
	return NULL;
}

/* Small numbers, so that what is right is hit often. */
static uint64_t
small(uint64_t right)
{
	uint8_t b = byte();

	return b < 200 ? right : right + (uint64_t)(int64_t)(int8_t)b;
}

static size_t
make_records(unsigned char *to, size_t room, uint64_t last)
{
	size_t used = 0;

	for (int n = byte() % 4; n > 0; n--) {
		struct stash__record r = { .kind = byte() % 6, .id = small(++last), .place = byte() % 4, .ref = n };
		char tag[STASH_TAG_MAX + 1] = "t";
		size_t len;
		const uint8_t *data;

		if (r.kind == STASH__RECORD_DONE)
			r.id = byte();
		data = bytes(64, &len);
		if (used + stash__record_bytes(1, len) > room)
			break;
		stash__record_put(to + used, &r, tag, data, len);
		if (byte() > 240)
			((struct stash__record *)(void *)(to + used))->bytes = byte();
		used += stash__record_bytes(1, len);
	}
	return used;
}

static void
write_entry(struct stash__out *out)
{
	static _Alignas(8) unsigned char entry[4096], records[1024];
	uint64_t tail = atomic_load(&out->page->out_tail), sum;
	struct stash__entry head = { .flags = byte() & 7, .number = small(slot->base.entry + 1) };
	struct stash__position p[4] = { { 0 } };
	size_t image_len, at = sizeof head;
	const uint8_t *image;

	if (tail % 8 != 0 || out->ring_bytes < sizeof entry)
		return;
	head.incarnation = small(slot->base.fence + 1);
	head.version = small(slot->base.version + 1);
	head.stamp = stash__now_ns() + (byte() > 240 ? STASH__NS_PER_S : 0);
	head.npositions = byte() % 5;
	for (unsigned i = 0; i < head.npositions; i++) {
		uint32_t place = byte() % 4;
		const struct stash__row *row = place < slot->base.nrows ? &slot->rows[place] : NULL;

		p[i % 4] = (struct stash__position){ .place = place, .flags = byte() & 1 };
		p[i % 4].req_bytes = (row != NULL ? row->req_bytes : 0) + (uint64_t)(byte() % 16) * 8;
		p[i % 4].req_count = (row != NULL ? row->req_count : 0) + byte() % 3;
		p[i % 4].rep_bytes = (row != NULL ? row->rep_bytes : 0) + (uint64_t)(byte() % 16) * 8;
		p[i % 4].rep_count = (row != NULL ? row->rep_count : 0) + byte() % 3;
	}
	if (head.npositions > 4)
		head.npositions = 4;
	head.records_bytes = (uint32_t)make_records(records, sizeof records, slot->base.last_record);
	image = bytes(255, &image_len);
	head.image_len = (head.flags & STASH__ENTRY_IMAGE) != 0 ? (uint32_t)image_len : 0;
	head.bytes = (uint32_t)stash__entry_bytes(head.npositions, (uint64_t)head.records_bytes + head.image_len);
	memset(entry, 0, sizeof entry);
	memcpy(entry + at, p, head.npositions * sizeof *p);
	at += head.npositions * sizeof *p;
	memcpy(entry + at, records, head.records_bytes);
	memcpy(entry + at + head.records_bytes, image, head.image_len);
	memcpy(entry, &head, sizeof head);
	/* A byte turned before the checksum is made, or after it. */
	if (byte() > 230)
		entry[8 + byte() % (head.bytes - 8)] ^= byte();
	sum = stash__checksum(entry, head.bytes, tail);
	memcpy(entry, &sum, sizeof sum);
	if (byte() > 250)
		entry[byte() % head.bytes] ^= 1;
	memcpy(out->ring + tail % out->ring_bytes, entry, head.bytes);
	atomic_store(&out->page->out_tail, tail + head.bytes);
}

static void
write_raw(struct stash__out *out, bool sealed)
{
	uint64_t tail = atomic_load(&out->page->out_tail), sum;
	unsigned char *at = out->ring + tail % out->ring_bytes;
	size_t len;
	const uint8_t *data = bytes(255, &len);

	memcpy(at, data, len);
	if (sealed && len >= 8) {
		sum = stash__checksum(at, len, tail);
		memcpy(at, &sum, sizeof sum);
	}
	atomic_store(&out->page->out_tail, tail + len);
}

/* Somewhere in the half that is the worker's, behind what says whose it is. */
static void
scribble(struct stash__out *out, size_t from, size_t room)
{
	size_t at = from + ((size_t)byte() << 8 | byte()) % room, len;
	const uint8_t *data = bytes(64, &len);

	if (len > from + room - at)
		len = from + room - at;
	memcpy((unsigned char *)out->page + at, data, len);
}

/* ---- who reads it ---- */

static struct stash__base *
read_base(void)
{
	struct stash__in half;
	struct stash__base *base = NULL;
	int fd = stash__slot_file_open(&stash, NAME, "in", O_RDONLY);

	if (fd >= 0 && stash__in_map(&half, fd, false, NULL) == 0) {
		if (stash__base_copy(&half, &base) < 0)
			base = NULL;
		stash__in_unmap(&half);
	}
	if (fd >= 0)
		close(fd);
	return base;
}

static void
read_as_tool(void)
{
	struct stash_state state;
	struct stash__look look;

	if (stash__slot_read(&reader, NAME, false, &state, &look) < 0)
		return;
	STASH_ASSERT(state.data != NULL && ((const char *)state.data)[state.len] == '\0');
	STASH_ASSERT(strlen(state.layout) <= STASH_NAME_MAX && strlen(look.box.tag) <= STASH_TAG_MAX);
	STASH_ASSERT(strlen(look.box.crash.text) < STASH__BOX_TEXT);
	stash_state_free(&state);
}

static void
take_over(void)
{
	static const struct stash_behaviour behaviour = {
		.size = sizeof behaviour, .name = "fuzz", .state_size = 16, .layout_version = 1
	};
	struct stash_worker *w = calloc(1, sizeof *w);

	STASH_ASSERT(w != NULL);
	w->behaviour = &behaviour;
	w->control = w->bell = w->stash_bell = w->lines = w->task_epoll = -1;
	w->base = read_base();
	TAILQ_INIT(&w->open);
	TAILQ_INIT(&w->fresh);
	TAILQ_INIT(&w->asked);
	STAILQ_INIT(&w->names.downs);
	stash__buf_init(&w->records, 2 * (size_t)STASH__RECORDS_BYTES);
	if (w->base != NULL && stash__records_load(w) == 0 && stash__state_allocate(w) == 0) {
		(void)stash__state_load(w);
		(void)stash__record_waits(w);
		(void)stash__record_deadline(w);
	}
	stash__records_free_all(w);
	stash__state_free(w);
	free(w->base);
	free(w);
}

/* ---- the stash ---- */

static void
check(void)
{
	struct stash__base *base;

	if (damaged)
		return;
	base = read_base();
	STASH_ASSERT(base != NULL && base->entry == slot->base.entry && base->nrows == slot->base.nrows);
	STASH_ASSERT(base->records_bytes == slot->base.records_bytes && base->image_len == slot->base.image_len);
	STASH_ASSERT(base->image_len <= STASH_STATE_MAX && base->nrecords <= 2 * STASH__RECORDS_MAX);
	free(base);
}

static void
retire(void)
{
	static const int statuses[] = { 0, -1, 9, 11, 6, 0x100, 0x5000 };
	struct verdict v;
	uint64_t incarnation = small(slot->base.fence + 1);
	int status = statuses[byte() % (sizeof statuses / sizeof *statuses)];
	uint32_t cause = byte() % 4;

	if (incarnation == 0 || incarnation > INT64_MAX)
		return;
	if (stash__retire(&stash, slot, incarnation, status, cause, byte() % 5, &v) == 0)
		STASH_ASSERT(v.verdict <= STASH__VERDICT_CAREFUL);
}

static void
channel(void)
{
	uint8_t id[STASH__ID] = { byte() % 4 };
	uint32_t place;

	if ((byte() & 3) != 0)
		(void)stash__channel_add(&stash, slot, id, 0, 1 + (byte() & 1), &place);
	else
		(void)stash__channel_drop(&stash, slot, id);
}

/* The half that only the stash writes, for those who read it. */
static void
damage(void)
{
	struct stash__in half;
	int fd = stash__slot_file_open(&stash, NAME, "in", O_RDWR);
	unsigned char *file;
	struct stash__base *base;
	uint64_t where, room, size;
	size_t len, at;
	const uint8_t *data;

	damaged = true;
	if (fd < 0 || stash__in_map(&half, fd, true, NULL) < 0)
		return;
	file = (unsigned char *)half.page;
	where = STASH__RING_OFFSET(half.page->bases[half.page->base_now & 1]);
	room = half.bytes - where;
	base = (struct stash__base *)(void *)(file + where);
	at = ((size_t)byte() << 8 | byte()) % 1024;
	data = bytes(64, &len);
	if (at + len < room)
		memcpy(file + where + at, data, len);
	size = stash__base_bytes(base->nrows, (uint64_t)base->records_bytes + base->image_len);
	if (size <= room)
		base->checksum = stash__checksum(base, size, 0);
	if (byte() > 200) {
		at = 64 + byte() % 128;
		data = bytes(64, &len);
		memcpy(file + at, data, len);
	}
	stash__in_unmap(&half);
	close(fd);
}

/* ---- one life ---- */

static void
step(void)
{
	struct stash__out *out = out_half();
	unsigned op = byte() % 16;

	if (op < 5 && out != NULL)
		write_entry(out);
	else if (op < 7 && out != NULL)
		write_raw(out, op == 5);
	else if (op == 7 && out != NULL)
		atomic_store(&out->page->out_tail, small(atomic_load(&out->page->out_tail)));
	else if (op == 8 && out != NULL)
		scribble(out, STASH__OUT_BOX, sizeof(struct stash__box));
	else if (op == 9 && out != NULL)
		scribble(out, offsetof(struct stash__out_page, ring), sizeof(struct stash__out_page) - 64);
	else if (op < 12 && !damaged)
		(void)stash__fold(&stash, slot, INT64_MAX);
	else if (op == 12 && !damaged)
		retire();
	else if (op == 13 && !damaged)
		channel();
	else if (op == 14) {
		/* Readers of a base that is never whole try for long: once is enough. */
		damage();
		in.left = 0;
	}
	if (op != 15)
		return;
	read_as_tool();
	take_over();
	check();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stash__out *out;

	begin_once();
	in.at = data;
	in.left = size;
	damaged = false;
	slot = stash__slot_add(&stash, NAME);
	STASH_ASSERT(slot != NULL && stash__slot_rows(slot, 1) == 0);
	slot->persist = byte() & 1;
	STASH_ASSERT(stash__slot_make(&stash, slot, 0, 0) == 0);
	stash__slot_publish(&stash, slot, "");
	out = out_half();
	memcpy(out->page->layout, "fuzz", 5);
	atomic_store(&out->page->layout_version, 1);
	atomic_store(&out->page->owner, 3);
	for (int i = 0; i < OPS_MAX && in.left > 0; i++)
		step();
	read_as_tool();
	take_over();
	check();
	stash__slot_unlink(&stash, NAME);
	stash__slot_remove(&stash, slot);
	slot = NULL;
	(void)out_half();
	return 0;
}
