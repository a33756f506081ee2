/* SPDX-License-Identifier: ISC */
/*
 * Shared memory: channels, slots, bases; and that nothing the other side writes there is believed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/channel.h"
#include "shm/map.h"
#include "shm/slot.h"
#include "testlib.h"

static const uint8_t id[STASH__ID] = "a channel's id..";
static const struct stash__origin origin = { "this boot.......", "this store......" };

/* ---- channels ---- */

static struct stash__channel c;
static int memfd;

static void
open_channel(void)
{
	ck_assert_int_eq(stash__channel_make(id, 1, &memfd), 0);
	ck_assert_int_eq(stash__channel_map(&c, memfd), 0);
}

static void
close_channel(void)
{
	stash__channel_unmap(&c);
	close(memfd);
}

START_TEST(test_channel_is_sealed)
{
	open_channel();
	ck_assert_uint_eq(c.ring_bytes, STASH__RING_MIN);
	ck_assert_mem_eq(c.id, id, STASH__ID);
	ck_assert_int_lt(ftruncate(memfd, 4096), 0);
	ck_assert_int_lt(ftruncate(memfd, 1 << 24), 0);
	close_channel();
}
END_TEST

START_TEST(test_channel_refuses_strangers)
{
	struct stash__channel other;
	int fd = memfd_create("stranger", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	ck_assert_int_eq(stash__channel_map(&other, fd), STASH_E_PROTO); /* not sealed */
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	ck_assert_int_eq(stash__channel_map(&other, fd), STASH_E_PROTO); /* no header */
	close(fd);
	open_channel();
	c.page->format = 99;
	ck_assert_int_eq(stash__channel_map(&other, memfd), STASH_E_FORMAT);
	c.page->format = STASH__CHANNEL_FORMAT;
	c.page->ring_bytes *= 2;
	ck_assert_int_eq(stash__channel_map(&other, memfd), STASH_E_PROTO);
	close_channel();
}
END_TEST

/* Every length, over several turns of the ring, arrives as it was sent. */
START_TEST(test_requests_round)
{
	struct stash__copy copy = { NULL, 0 };
	struct stash__message m;
	unsigned char data[20000];
	uint64_t tail = 0, head = 0, number = 0;

	open_channel();
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)(i * 7);
	for (size_t len = 0; len < sizeof data; len += 1 + len / 9) {
		ck_assert_int_eq(stash__request_read(&c, &head, number, &copy, &m), 0);
		ck_assert_int_eq(stash__request_write(&c, &tail, ++number, STASH_MSG_CALL, "a_tag", data, len, 77), 0);
		ck_assert_int_eq(stash__request_read(&c, &head, number - 1, &copy, &m), 0); /* not published */
		stash__request_publish(&c, tail);
		ck_assert_int_eq(stash__request_read(&c, &head, number - 1, &copy, &m), 1);
		ck_assert_str_eq(m.tag, "a_tag");
		ck_assert_uint_eq(m.head.len, len);
		ck_assert_mem_eq(m.data, data, len);
		ck_assert_uint_eq(m.data[len], 0);
		ck_assert_uint_eq((uintptr_t)m.data % 16, 0);
		ck_assert_int_eq(m.head.deadline, 77);
		atomic_store(&c.page->req_head, head);
	}
	ck_assert_uint_gt(head, 2 * c.ring_bytes);
	stash__copy_free(&copy);
	close_channel();
}
END_TEST

START_TEST(test_limits_of_a_channel)
{
	uint64_t tail = 0;
	size_t most;
	void *data = calloc(1, STASH__RING_MIN);

	open_channel();
	most = STASH__RING_MIN / 2;
	ck_assert_int_eq(stash__request_write(&c, &tail, 1, STASH_MSG_CAST, "t", data, most + 1, 0), STASH_E_TOOBIG);
	ck_assert_int_eq(stash__request_write(&c, &tail, 1, STASH_MSG_CAST, "t", data, most, 0), 0);
	ck_assert_int_eq(stash__request_write(&c, &tail, 2, STASH_MSG_CAST, "t", data, most, 0), STASH_E_BUSY);
	ck_assert(stash__reply_room(&c, 0));
	tail = 0;
	ck_assert_int_eq(stash__reply_write(&c, &tail, 1, 0, 0, data, 8), 0);
	ck_assert(stash__reply_room(&c, tail));
	ck_assert_int_eq(stash__reply_write(&c, &tail, 1, 0, 0, data, most + 1), STASH_E_TOOBIG);
	ck_assert_int_eq(stash__reply_write(&c, &tail, 1, 0, 0, data, most), 0);
	ck_assert(!stash__reply_room(&c, tail));
	free(data);
	close_channel();
}
END_TEST

/* A stray write of the other side: neither room for ever lost, nor a result that means nothing. */
START_TEST(test_positions_and_marks_that_cannot_be)
{
	static const uint32_t marks[] = { 1, 8, 18, 64, 0x7fffffff, 0x80000000, 0xfffffff0, UINT32_MAX };
	uint64_t tail = 0, reply = 0;

	open_channel();
	ck_assert_int_eq(stash__request_write(&c, &tail, 1, STASH_MSG_CALL, "t", "", 0, 0), 0);
	for (uint64_t head = tail + 8; head != 0; head *= 2) {
		atomic_store(&c.page->req_head, head);
		ck_assert_int_eq(stash__request_write(&c, &tail, 2, STASH_MSG_CALL, "t", "", 0, 0), STASH_E_PROTO);
	}
	ck_assert_int_eq(stash__reply_write(&c, &reply, 1, 0, 0, "", 0), 0);
	ck_assert(stash__reply_sane(&c, reply));
	atomic_store(&c.page->rep_head, reply + 8);
	ck_assert(!stash__reply_sane(&c, reply) && !stash__reply_room(&c, reply));
	ck_assert_int_eq(stash__channel_down(&c), 0);
	atomic_store(&c.page->down, (uint32_t)-STASH_E_DOWN);
	ck_assert_int_eq(stash__channel_down(&c), STASH_E_DOWN);
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		atomic_store(&c.page->down, marks[i]);
		ck_assert_int_eq(stash__channel_down(&c), STASH_E_PROTO);
	}
	close_channel();
}
END_TEST

/* Every bit of a published frame, turned over, is noticed; so is every position that cannot be. */
START_TEST(test_every_damage_is_noticed)
{
	struct stash__copy copy = { NULL, 0 };
	struct stash__message m;
	uint64_t tail = 0, head = 0;

	open_channel();
	ck_assert_int_eq(stash__request_write(&c, &tail, 1, STASH_MSG_CALL, "tag", "some data", 9, 1), 0);
	stash__request_publish(&c, tail);
	for (uint64_t bit = 0; bit < tail * 8; bit++) {
		c.req[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_msg(stash__request_read(&c, &head, 0, &copy, &m) == STASH_E_PROTO, "bit %d passed", (int)bit);
		ck_assert_uint_eq(head, 0);
		c.req[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	for (uint64_t wrong = 1; wrong < 64; wrong++) {
		atomic_store(&c.page->req_tail,
		    wrong == 63	     ? UINT64_MAX :
			wrong < tail ? wrong :
				       c.ring_bytes * wrong + 8);
		ck_assert_int_eq(stash__request_read(&c, &head, 0, &copy, &m), STASH_E_PROTO);
	}
	stash__request_publish(&c, tail);
	ck_assert_int_eq(stash__request_read(&c, &head, 1, &copy, &m), STASH_E_PROTO); /* out of order */
	ck_assert_int_eq(stash__request_read(&c, &head, 0, &copy, &m), 1);
	stash__copy_free(&copy);
	close_channel();
}
END_TEST

/* A frame of the ring's earlier turn is not one of this turn, though its bytes are right. */
START_TEST(test_old_frame_is_no_frame)
{
	struct stash__copy copy = { NULL, 0 };
	struct stash__message m;
	uint64_t tail = 0, head;

	open_channel();
	ck_assert_int_eq(stash__request_write(&c, &tail, 1, STASH_MSG_CALL, "tag", NULL, 0, 1), 0);
	head = c.ring_bytes;
	stash__request_publish(&c, head + tail);
	ck_assert_int_eq(stash__request_read(&c, &head, 0, &copy, &m), STASH_E_PROTO);
	stash__copy_free(&copy);
	close_channel();
}
END_TEST

/* ---- slots ---- */

static int
open_dir(void)
{
	int fd = open(t_run_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(test_entries_round)
{
	struct stash__out w, s;
	struct stash__position p[3] = { { .place = 1, .req_count = 4 }, { .place = 2 },
		{ .place = 9, .rep_bytes = 77 } };
	unsigned char image[5000];
	uint64_t head = 0;
	int dir = open_dir(), fd;

	ck_assert_int_eq(stash__out_make(dir, "n.out", &origin, 0, &fd), 0);
	ck_assert_int_eq(stash__out_map(&w, fd, true, &origin), 0);
	ck_assert_int_eq(stash__out_map(&s, fd, false, &origin), 0);
	memset(image, 'i', sizeof image);
	for (uint64_t n = 1; n < 200; n++) {
		struct stash__entry e = {
			.number = n, .npositions = (uint16_t)(n % 4), .image_len = (uint32_t)(n * 25)
		};
		struct stash__entry_view v;
		e.flags = STASH__ENTRY_IMAGE;
		ck_assert_uint_ge(stash__entry_room(&w, head), stash__entry_bytes(e.npositions, e.image_len));
		stash__entry_submit(&w, &e, p, NULL, image);
		ck_assert_int_eq(stash__entry_view(&s, head, s.page->out_tail, &v), 0);
		ck_assert_uint_eq(v.head.number, n);
		ck_assert(memcmp(v.positions, p, (n % 4) * sizeof p[0]) == 0);
		ck_assert_mem_eq(v.image, image, n * 25);
		head += v.head.bytes;
	}
	ck_assert_uint_gt(head, 3 * w.ring_bytes);
	stash__out_unmap(&w);
	stash__out_unmap(&s);
	close(fd);
	close(dir);
}
END_TEST

START_TEST(test_damaged_entry_is_noticed)
{
	struct stash__out w;
	struct stash__entry e = { .number = 1, .flags = STASH__ENTRY_IMAGE, .image_len = 20, .npositions = 1 };
	struct stash__position p = { .place = 1 };
	struct stash__entry_view v;
	uint64_t tail;
	int dir = open_dir(), fd;

	ck_assert_int_eq(stash__out_make(dir, "n.out", &origin, 0, &fd), 0);
	ck_assert_int_eq(stash__out_map(&w, fd, true, NULL), 0);
	stash__entry_submit(&w, &e, &p, NULL, "twenty bytes of it..");
	tail = w.page->out_tail;
	for (uint64_t bit = 0; bit < tail * 8; bit++) {
		w.ring[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_msg(stash__entry_view(&w, 0, tail, &v) == STASH_E_CORRUPT, "bit %d passed", (int)bit);
		w.ring[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	ck_assert_int_eq(stash__entry_view(&w, 0, tail + w.ring_bytes, &v), STASH_E_CORRUPT);
	ck_assert_int_eq(stash__entry_view(&w, 0, tail - 8, &v), STASH_E_CORRUPT);
	ck_assert_int_eq(stash__entry_view(&w, 0, 3, &v), STASH_E_CORRUPT);
	ck_assert_int_eq(stash__entry_view(&w, 0, tail, &v), 0);
	stash__out_unmap(&w);
	close(fd);
	close(dir);
}
END_TEST

START_TEST(test_ring_moves_when_it_has_grown)
{
	struct stash__out w, s;
	struct stash__entry e = { .number = 1 };
	struct stash__entry_view v;
	int dir = open_dir(), fd;

	ck_assert_int_eq(stash__out_make(dir, "n.out", &origin, 0, &fd), 0);
	ck_assert_int_eq(stash__out_map(&w, fd, true, NULL), 0);
	ck_assert_int_eq(stash__out_map(&s, fd, false, NULL), 0);
	ck_assert_int_eq(stash__out_move(&w), 0);
	ck_assert_uint_eq(w.ring_bytes, STASH__ENTRIES_MIN);
	ck_assert_int_eq(stash__out_grow(fd, 4 * STASH__ENTRIES_MIN, "n.out"), 0);
	ck_assert_int_eq(stash__out_move(&w), 0);
	ck_assert_uint_eq(w.ring_bytes, 4 * STASH__ENTRIES_MIN);
	stash__entry_submit(&w, &e, NULL, NULL, NULL);
	ck_assert_int_eq(stash__out_follow(&s), 0);
	ck_assert_uint_eq(s.ring_bytes, 4 * STASH__ENTRIES_MIN);
	ck_assert_int_eq(stash__entry_view(&s, 0, s.page->out_tail, &v), 0);
	stash__out_unmap(&w);
	stash__out_unmap(&s);
	close(fd);
	close(dir);
}
END_TEST

/* The name of a worker is known by its file, whole, and to whoever has just a descriptor. */
START_TEST(test_name_of_a_slot_file)
{
	char name[STASH_NAME_MAX + 1], file[STASH_NAME_MAX + 8];

	ck_assert(stash__slot_name(name, "web.value.in", "in"));
	ck_assert_str_eq(name, "web.value");
	ck_assert(stash__slot_name(name, "in.bell", "bell"));
	ck_assert_str_eq(name, "in");
	ck_assert(!stash__slot_name(name, ".in", "in"));
	ck_assert(!stash__slot_name(name, "in", "in"));
	ck_assert(!stash__slot_name(name, "within", "in"));
	ck_assert(!stash__slot_name(name, "a.out", "in"));
	ck_assert(!stash__slot_name(name, "a.in.new", "in"));
	ck_assert(!stash__slot_name(name, "\x01.in", "in"));
	memset(file, 'a', sizeof file);
	memcpy(file + STASH_NAME_MAX, ".in", sizeof ".in");
	ck_assert(stash__slot_name(name, file, "in"));
	memcpy(file + STASH_NAME_MAX, "a.in", sizeof "a.in");
	ck_assert(!stash__slot_name(name, file, "in"));
}
END_TEST

START_TEST(test_slot_file_of_a_name)
{
	int dir = open(t_run_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), made, fd;
	char file[STASH__SLOT_FILE_MAX];

	stash__slot_file(file, "the name", "bell");
	ck_assert_int_eq(stash__bell_page_make(dir, file, &made), 0);
	fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ck_assert(stash__slot_file_is(fd, "the name", "bell"));
	ck_assert(!stash__slot_file_is(fd, "name", "bell"));
	ck_assert(!stash__slot_file_is(fd, "the nam", "bell"));
	ck_assert(!stash__slot_file_is(fd, "the name", "in"));
	ck_assert(!stash__slot_file_is(-1, "the name", "bell"));
	ck_assert_int_eq(unlinkat(dir, file, 0), 0);
	ck_assert(!stash__slot_file_is(fd, "the name", "bell"));
	close(fd);
	close(made);
	close(dir);
}
END_TEST

START_TEST(test_slot_of_another_origin)
{
	static const struct stash__origin boot = { "another boot....", "this store......" },
					  store = { "this boot.......", "another store..." };
	struct stash__out o;
	struct stash__in in;
	int dir = open_dir(), out, base;

	ck_assert_int_eq(stash__out_make(dir, "n.out", &origin, 0, &out), 0);
	ck_assert_int_eq(stash__in_make(dir, "n.in", &origin, 0, 0, &base), 0);
	ck_assert_int_eq(stash__out_map(&o, out, false, &boot), STASH_E_FORMAT);
	ck_assert_int_eq(stash__out_map(&o, out, false, &store), STASH_E_FORMAT);
	ck_assert_int_eq(stash__in_map(&in, base, false, &boot), STASH_E_FORMAT);
	ck_assert_int_eq(stash__out_map(&o, base, false, NULL), STASH_E_CORRUPT);
	ck_assert_int_eq(stash__in_map(&in, out, false, NULL), STASH_E_CORRUPT);
	close(out);
	close(base);
	close(dir);
}
END_TEST

/* Readers and a writer that never stops: no copy is ever torn. */
struct race {
	struct stash__in in;
	_Atomic bool stop;
};

static void *
turn_for_ever(void *arg)
{
	struct race *r = arg;
	struct stash__row rows[8];
	unsigned char image[3000];
	struct stash__base head = { .image_len = sizeof image, .nrows = 8 };

	for (unsigned n = 1; !atomic_load(&r->stop); n++) {
		memset(rows, (int)(n & 0xff), sizeof rows);
		memset(image, (int)(n & 0xff), sizeof image);
		head.entry = n;
		if (stash__base_write(&r->in, &head, rows, NULL, image) < 0)
			abort();
		stash__base_turn(&r->in);
	}
	return NULL;
}

START_TEST(test_base_is_never_torn)
{
	struct race r = { .stop = false };
	struct stash__in reader;
	pthread_t writer;
	int dir = open_dir(), fd;
	uint64_t last = 0, seen = 0;

	ck_assert_int_eq(stash__in_make(dir, "n.in", &origin, 8, 3000, &fd), 0);
	ck_assert_int_eq(stash__in_map(&r.in, fd, true, NULL), 0);
	ck_assert_int_eq(stash__in_map(&reader, fd, false, NULL), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, turn_for_ever, &r), 0);
	for (int i = 0; i < 3000; i++) {
		struct stash__base *b = NULL;
		int result = stash__base_copy(&reader, &b);
		if (result == STASH_E_CORRUPT && last == 0)
			continue; /* nothing written yet */
		ck_assert_int_eq(result, 0);
		ck_assert_uint_ge(b->entry, last);
		seen += b->entry != last;
		last = b->entry;
		for (uint32_t k = 0; k < b->image_len; k++)
			if (stash__base_image(b)[k] != (unsigned char)b->entry)
				ck_abort_msg("torn at %u", k);
		free(b);
	}
	atomic_store(&r.stop, true);
	pthread_join(writer, NULL);
	ck_assert_uint_gt(seen, 1);
	stash__in_unmap(&reader);
	stash__in_unmap(&r.in);
	close(fd);
	close(dir);
}
END_TEST

/* A client may present any memory as its channel. */
START_TEST(test_channel_is_of_ordinary_memory)
{
	struct stash__channel huge;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

	if (fd < 0) {
		printf("not run: this kernel has no huge pages\n");
		return;
	}
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	ck_assert_int_eq(stash__channel_map(&huge, fd), STASH_E_PROTO);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "ordinary"));
	close(fd);
}
END_TEST

/* Whoever takes over reads its layout as text. */
START_TEST(test_base_layout_ends)
{
	struct stash__base head = { .entry = 1 }, *b;
	struct stash__in in;
	int dir = open_dir(), fd;

	memset(head.layout, 'x', sizeof head.layout);
	ck_assert_int_eq(stash__in_make(dir, "l.in", &origin, 0, 100, &fd), 0);
	ck_assert_int_eq(stash__in_map(&in, fd, true, NULL), 0);
	ck_assert_int_eq(stash__base_write(&in, &head, NULL, NULL, ""), 0);
	stash__base_turn(&in);
	ck_assert_int_eq(stash__base_copy(&in, &b), 0);
	ck_assert_uint_eq(strnlen(b->layout, sizeof b->layout), STASH_NAME_MAX);
	free(b);
	stash__in_unmap(&in);
	close(fd);
	close(dir);
}
END_TEST

START_TEST(test_base_grows)
{
	struct stash__in in, reader;
	struct stash__base head = { .image_len = 100 }, *b;
	unsigned char *image = malloc(1 << 20);
	int dir = open_dir(), fd;

	memset(image, 'x', 1 << 20);
	ck_assert_int_eq(stash__in_make(dir, "n.in", &origin, 0, 100, &fd), 0);
	ck_assert_int_eq(stash__in_map(&in, fd, true, NULL), 0);
	ck_assert_int_eq(stash__in_map(&reader, fd, false, NULL), 0);
	ck_assert_int_eq(stash__base_copy_former(&reader, &b), STASH_E_NOENT);
	head.image_len = 1 << 20;
	ck_assert_int_eq(stash__base_write(&in, &head, NULL, NULL, image), STASH_E_TOOBIG);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(stash__in_grow(&in, 0, 1 << 20), 0);
		head.entry++;
		ck_assert_int_eq(stash__base_write(&in, &head, NULL, NULL, image), 0);
		stash__base_turn(&in);
	}
	ck_assert_int_eq(stash__base_copy(&reader, &b), 0);
	ck_assert_uint_eq(b->image_len, 1 << 20);
	ck_assert_mem_eq(stash__base_image(b), image, 1 << 20);
	ck_assert_uint_eq(b->entry, 2);
	free(b);
	ck_assert_int_eq(stash__base_copy_former(&reader, &b), 0);
	ck_assert_uint_eq(b->entry, 1);
	free(b);
	free(image);
	stash__in_unmap(&in);
	stash__in_unmap(&reader);
	close(fd);
	close(dir);
}
END_TEST

/* A child of a worker or client has none of the maps. */
START_TEST(test_fork_inherits_no_map)
{
	int status;
	pid_t pid;

	open_channel();
	pid = fork();
	if (pid == 0) {
		unsigned char residency;
		_exit(mincore(c.page, 1, &residency) < 0 && errno == ENOMEM ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close_channel();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("shm");
	TCase *channel = t_case(s, "channel", 30), *slot = t_case(s, "slot", 30);

	tcase_add_test(channel, test_channel_is_sealed);
	tcase_add_test(channel, test_channel_refuses_strangers);
	tcase_add_test(channel, test_requests_round);
	tcase_add_test(channel, test_limits_of_a_channel);
	tcase_add_test(channel, test_positions_and_marks_that_cannot_be);
	tcase_add_test(channel, test_every_damage_is_noticed);
	tcase_add_test(channel, test_old_frame_is_no_frame);
	tcase_add_test(slot, test_entries_round);
	tcase_add_test(slot, test_damaged_entry_is_noticed);
	tcase_add_test(slot, test_ring_moves_when_it_has_grown);
	tcase_add_test(slot, test_slot_file_of_a_name);
	tcase_add_test(slot, test_name_of_a_slot_file);
	tcase_add_test(slot, test_slot_of_another_origin);
	tcase_add_test(slot, test_base_is_never_torn);
	tcase_add_test(slot, test_base_grows);
	tcase_add_test(slot, test_base_layout_ends);
	tcase_add_test(slot, test_channel_is_of_ordinary_memory);
	tcase_add_test(slot, test_fork_inherits_no_map);
	return s;
}

TEST_MAIN(suite)
