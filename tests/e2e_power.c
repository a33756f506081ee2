/* SPDX-License-Identifier: ISC */
/*
 * Power failures of a whole stashd: what its processes do to the store's directory is recorded, from the first start
 * in no directory on, together with what clients are answered.  At every point of that record the directory is built
 * again as the disk may have it.  Each one must open and be whole, hold what was acknowledged with ack = "disk", and
 * of the rest a moment that was, not before the last that was known to be flushed, and no effect without its cause.
 * On some of them a stashd is started, under another boot's id, with the slots of the old boot still lying there.
 * That the search can find something is shown by a planted MDB_NOSYNC.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "base/info.h"
#include "store/store.h"
#include "testlib_live.h"
#include "testlib_tape.h"

#define ROOM ((size_t)256 << 20)
#define CALLS 30  /* of the client that waits for the disk */
#define STARTS 12 /* of a stashd on an image */

/* Whose answers: workers, and two that no worker is. */
enum who { DISK = 1, CRASH, CAUSE, EFFECT, FLUSHED, WHO_MAX };

static const uint8_t other_boot[16] = "another boot...";
static const char *const preload = "LD_PRELOAD=";

static struct t_stashd d;
static struct tape *tape;

/* ---- recording ---- */

/* Next number of a worker; the answer goes on the tape. */
static int64_t
take(struct stash_client *c, const char *name, enum who who)
{
	struct stash_reply reply;
	int64_t number = -1;

	if (stash_call(c, name, "next_number", NULL, 0, &reply, 60000) != STASH_OK ||
	    stash_parse_int(reply.data, 0, INT64_MAX, &number) != STASH_OK)
		_exit(1);
	stash_reply_free(&reply);
	tape_add(tape, TAPE_ANSWER, who, (uint64_t)number, 0, NULL, 0);
	return number;
}

static int
any(void *arg, const struct stash_state *state)
{
	(void)arg;
	(void)state;
	return 0;
}

/* What was answered before the history was asked for is on the disk when that is answered. */
static void
client_crash(struct stash_client *c, const atomic_bool *stop)
{
	struct stash_store *store;
	int64_t number = 0;

	if (stash_store_open(&store, t_store(&d), NULL) != STASH_OK)
		_exit(1);
	for (unsigned i = 1; !atomic_load(stop); i++) {
		number = take(c, "crash", CRASH);
		if (i % 16 != 0)
			continue;
		if (stash_store_history(store, "crash", any, NULL) != STASH_OK)
			_exit(1);
		tape_add(tape, TAPE_ANSWER, FLUSHED, (uint64_t)number, 0, NULL, 0);
	}
	stash_store_close(store);
}

/* A number of the one is given to the other, padded, so that its state moves about. */
static void
client_effect(struct stash_client *c, const atomic_bool *stop)
{
	char text[1024];

	while (!atomic_load(stop)) {
		int64_t number = take(c, "cause", CAUSE);
		int len = snprintf(text, sizeof text, "%-*lld", (int)(20 + number * 7919 % 900), (long long)number);
		struct stash_reply reply;

		if (stash_call(c, "effect", "update", text, (size_t)len, &reply, 60000) != STASH_OK)
			_exit(1);
		stash_reply_free(&reply);
		tape_add(tape, TAPE_ANSWER, EFFECT, (uint64_t)number, 0, NULL, 0);
	}
}

static void
client_disk(struct stash_client *c, atomic_bool *stop, int calls)
{
	for (int i = 0; i < calls; i++)
		(void)take(c, "disk", DISK);
	atomic_store(stop, true);
}

static void
run_clients(int calls)
{
	atomic_bool *stop = mmap(NULL, sizeof *stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[3];
	int status;

	ck_assert_ptr_ne(stop, MAP_FAILED);
	for (int i = 0; i < 3; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			struct stash_client *c = NULL;

			if (stash_client_open(&c, t_store(&d), NULL) != STASH_OK)
				_exit(1);
			if (i == 0)
				client_disk(c, stop, calls);
			else if (i == 1)
				client_crash(c, stop);
			else
				client_effect(c, stop);
			stash_client_close(c);
			_exit(0);
		}
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_msg(status == 0, "client %d: %d", i, status);
	}
	munmap(stop, sizeof *stop);
}

static const char *
config(void)
{
	static char text[2048];

	snprintf(text, sizeof text,
	    "store = { history = 3; };\n"
	    "tree = { intensity = 100; period = 5; children = (\n"
	    "  { id = \"disk\"; module = \"%1$s\"; args = [\"0\"]; ack = \"disk\"; },\n"
	    "  { id = \"crash\"; module = \"%1$s\"; args = [\"0\"]; },\n"
	    "  { id = \"cause\"; module = \"%1$s\"; args = [\"0\"]; },\n"
	    "  { id = \"effect\"; module = \"%2$s\"; args = [\"-1\"]; ack = \"disk\"; } ); };\n",
	    t_build("examples/sequence.so"), t_build("examples/agent.so"));
	return text;
}

/* The directory doesn't exist yet: making it is on the tape too. */
static void
record(bool plant, int calls)
{
	static char load[PATH_MAX + 16], file[PATH_MAX + 16], dir[PATH_MAX + 32];
	static const char *env[] = { load, file, dir, NULL, NULL };

	snprintf(load, sizeof load, "%s%s", preload, t_build("tests/modules/power_tape.so"));
	snprintf(file, sizeof file, "%s=%s/tape", TAPE_ENV, t_run_dir());
	snprintf(dir, sizeof dir, "%s=%s", TAPE_DIR_ENV, t_path("store"));
	env[3] = plant ? TAPE_PLANT_ENV "=1" : NULL;
	tape = tt_tape_make(strchr(file, '=') + 1, ROOM);
	memset(&d, 0, sizeof d);
	d.env = env;
	t_stashd_start(&d, config());
	run_clients(calls);
	t_murder_all(&d);
	ck_assert_uint_eq(atomic_load(&tape->trouble), 0);
}

/* ---- what an image must hold ---- */

/* As of a point of the tape, for each: the highest number that was answered; -1: none. */
struct answered {
	int64_t to[WHO_MAX];
};

/* What was found in an image, in memory shared with the process that looks. */
struct found {
	bool empty;	 /* nothing was made yet */
	int64_t next[4]; /* of disk, crash, cause; and what effect has */
	char wrong[600];
};

static struct found *found;

/* A number out of a worker's stored state; none: nothing was stored. */
static bool
read_number(struct store *store, const char *name, int64_t none, int64_t *number)
{
	struct store_state state;
	int rc = store_get_state(store, name, &state);
	bool is_text = strcmp(name, "effect") == 0;

	*number = none;
	if (rc == STASH_E_NOENT)
		return true;
	if (rc != 0)
		return false;
	if (is_text)
		*number = strtoll(state.data, NULL, 10);
	else
		memcpy(number, state.data, sizeof *number);
	store_state_free(&state);
	return true;
}

static const char *
compare(const struct answered *a)
{
	const int64_t *next = found->next;

	if (next[0] <= a->to[DISK])
		return "an acknowledged number of disk is lost";
	if (next[3] < a->to[EFFECT])
		return "an acknowledged state of effect is lost";
	if (next[1] <= a->to[FLUSHED])
		return "crash is older than what was flushed";
	/* One call of each is under way. */
	if (next[0] > a->to[DISK] + 2 || next[1] > a->to[CRASH] + 2 || next[2] > a->to[CAUSE] + 2)
		return "a state that never was";
	if (next[3] >= next[2])
		return "an effect without its cause";
	return NULL;
}

static const char *
commit_more(struct store *store)
{
	static const char more[] = "a state that comes later";

	for (uint64_t i = 1; i <= 4; i++) {
		struct store_state state = { .name = "more", .seq = i, .version = i, .data = more, .len = sizeof more };
		struct store_batch *batch;

		if (store_begin(store, &batch) != 0 || store_put_state(batch, &state, 2) != 0 ||
		    store_put_event(batch, "event", 5, NULL) != 0 || store_commit(batch) != 0)
			return "can't be committed to";
	}
	return NULL;
}

/* A name without a store, or no directory at all, is where a start begins anew. */
static const char *
nothing_there(const char *dir)
{
	char path[PATH_MAX + 16];

	found->empty = true;
	for (int i = 0; i < 4; i++)
		found->next[i] = i < 3 ? 0 : -1;
	snprintf(path, sizeof path, "%s/stash.info", dir);
	if (access(path, F_OK) == 0)
		return NULL;
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	return access(path, F_OK) == 0 ? "a database without stash.info" : NULL;
}

static const char *
look_at(const char *dir, const struct answered *a)
{
	static const char *const names[] = { "disk", "crash", "cause", "effect" };
	struct store_options options = { .boot_id = other_boot, .quota_bytes = 64 << 20 };
	const char *wrong = NULL;
	struct store *store;
	char path[PATH_MAX + 16];

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	found->empty = false;
	if (access(path, F_OK) != 0) {
		wrong = nothing_there(dir);
		return wrong != NULL ? wrong : compare(a);
	}
	if (store_open(&store, dir, &options) != 0)
		return "can't be opened";
	if (!store_found(store)->clean && !store_found(store)->validated)
		wrong = "wasn't validated";
	for (int i = 0; wrong == NULL && i < 4; i++)
		if (!read_number(store, names[i], i < 3 ? 0 : -1, &found->next[i]))
			wrong = "a state is damaged";
	if (wrong == NULL)
		wrong = compare(a);
	if (wrong == NULL)
		wrong = commit_more(store);
	store_close(store);
	if (wrong == NULL && store_validate(dir, &options, NULL) != 0)
		wrong = "damaged by what was committed later";
	return wrong;
}

/* In a process of its own: an image that the validation lets through may kill it. */
static bool
is_good(const char *dir, const struct answered *a)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const char *wrong;

		alarm(60);
		found->wrong[0] = '\0';
		wrong = look_at(dir, a);
		if (wrong != NULL)
			snprintf(found->wrong, sizeof found->wrong,
			    "%s (next of disk %lld, crash %lld, cause %lld; effect %lld): %s", wrong,
			    (long long)found->next[0], (long long)found->next[1], (long long)found->next[2],
			    (long long)found->next[3], stash_errmsg());
		_exit(wrong == NULL ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		snprintf(found->wrong, sizeof found->wrong, "killed who looked at it: signal %d", WTERMSIG(status));
	return status == 0;
}

/* ---- the search ---- */

static void
note(struct answered *a, const struct tape_record *r)
{
	if (r->kind == TAPE_ANSWER && (int64_t)r->at > a->to[r->ino])
		a->to[r->ino] = (int64_t)r->at;
}

struct search {
	unsigned points, images, bad, starts;
	size_t records;
};

static void start_on(const char *image, const struct found *);

static size_t
count_records(void)
{
	struct tape_disk *disk = tt_disk_create(tape);
	size_t n = 0;

	while (tt_disk_step(disk) != NULL)
		n++;
	tt_disk_destroy(disk);
	return n;
}

/* One image of each point, or of every `step'-th; `starts' of them are started on. */
static struct search
search(unsigned variants, size_t step, unsigned starts)
{
	struct search s = { .records = count_records() };
	struct tape_disk *disk = tt_disk_create(tape);
	struct answered a = { .to = { -1, -1, -1, -1, -1, -1 } };
	static char image[PATH_MAX];
	const struct tape_record *r;
	unsigned random = 20260501;
	struct found first;

	/* In memory: what is synced there costs nothing. */
	snprintf(image, sizeof image, "%s/image", t_run_dir());
	for (size_t n = 0; (r = tt_disk_step(disk)) != NULL; n++) {
		note(&a, r);
		/* An answer alone changes nothing on the disk: what it promises is looked for at the next point. */
		if (r->kind == TAPE_ANSWER || (n % step != 0 && n > 60))
			continue;
		s.points++;
		for (unsigned v = 0; v < variants; v++) {
			random = random * 1103515245u + 12345u;
			tt_disk_image(disk, image, v == 0 ? (unsigned)(n % 9) : random >> 8 & 7, random);
			s.images++;
			if (is_good(image, &a))
				continue;
			if (s.bad++ < 5)
				printf("point %zu of %zu, variant %u: %s\n", n, s.records, v, found->wrong);
		}
		/* The first ones, in which the store is made, and then at even distances. */
		if (starts > 0 && (n < 12 || n * starts / s.records != (n - 1) * starts / s.records)) {
			tt_disk_image(disk, image, (unsigned)(n % 9), random);
			ck_assert_msg(is_good(image, &a), "%s", found->wrong);
			first = *found;
			tt_disk_image(disk, image, (unsigned)(n % 9), random);
			start_on(image, &first);
			s.starts++;
		}
	}
	tt_disk_destroy(disk);
	printf(
	    "%zu records, %u points, %u images: %u bad; %u starts\n", s.records, s.points, s.images, s.bad, s.starts);
	return s;
}

/* ---- a stashd on an image ---- */

static void
copy_tree(const char *from, const char *to)
{
	struct t_result r;

	t_remove_tree(to);
	t_run(&r, NULL, (const char *const[]){ "cp", "-a", from, to, NULL });
	ck_assert_msg(r.status == 0, "%s", r.err);
	t_result_free(&r);
}

static void
expect_next(struct stash_client *c, const char *name, int64_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)number);
	t_expect_call(c, name, "next_number", NULL, text);
}

/* Another boot, and the slots of the old one: each worker goes on where the image is, nothing of the slots is seen. */
static void
start_on(const char *image, const struct found *f)
{
	static char load[PATH_MAX + 16], boot[PATH_MAX + 32];
	static const char *env[] = { load, boot, NULL };
	struct t_stashd other = { .env = env };
	struct stash_client *c;
	char run[PATH_MAX];

	snprintf(load, sizeof load, "%s%s", preload, t_build("tests/modules/power_tape.so"));
	snprintf(boot, sizeof boot, "%s=%s", TAPE_BOOT_ENV, t_path("boot_id"));
	t_write_file(t_path("boot_id"), "01234567-89ab-cdef-0123-456789abcdef\n");
	other.dir = image;
	if (!f->empty) {
		snprintf(run, sizeof run, "%s", t_run_of(&other));
		if (*run != '\0')
			copy_tree(t_path("slots"), run);
	}
	t_stashd_start(&other, config());
	c = t_client(&other);
	expect_next(c, "disk", f->next[0]);
	expect_next(c, "crash", f->next[1]);
	expect_next(c, "cause", f->next[2]);
	stash_client_close(c);
	t_stashd_stop(&other, 20000);
}

/* ---- tests ---- */

static int
minutes(void)
{
	const char *text = getenv("STASH_TORTURE");

	return text != NULL ? atoi(text) : 0;
}

static void
begin(void)
{
	found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(found, MAP_FAILED);
}

static void
end(void)
{
	tt_tape_free(tape);
	munmap(found, sizeof *found);
}

START_TEST(test_every_point)
{
	int long_one = minutes();
	struct search s;

	begin();
	record(false, long_one > 0 ? 40 * long_one : CALLS);
	copy_tree(t_run_of(&d), t_path("slots"));
	s = search(long_one > 0 ? 8 : 1, 1, long_one > 0 ? 20 * (unsigned)long_one : STARTS);
	ck_assert_uint_eq(s.bad, 0);
	ck_assert_uint_ge(s.points, 10 * CALLS);
	ck_assert_uint_ge(s.starts, STARTS);
	end();
}
END_TEST

START_TEST(test_missing_flushes_are_found)
{
	struct search s;

	begin();
	record(true, CALLS / 2);
	s = search(1, 7, 0);
	ck_assert_uint_ge(s.bad, s.images / 10);
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("power");
	TCase *c = t_case(s, "power", 300 + 120 * minutes());

	tcase_add_test(c, test_every_point);
	tcase_add_test(c, test_missing_flushes_are_found);
	return s;
}

TEST_MAIN(suite)
