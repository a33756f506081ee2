/* SPDX-License-Identifier: ISC */
/*
 * Power failures, simulated: every write and flush of data.mdb is recorded while batches are committed; then the file
 * is built again as a disk may have it at any moment: all that was flushed, and any sectors of what was not.  Each such
 * file has to pass the validation, to hold every batch that had been acknowledged, and to be good for more.  That the
 * search can find something is shown by the same without flushes, which has to fail.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stash/error.h>

#include "testlib.h"
#include "testlib_store.h"

#define SECTOR 512
#define NOSYNC 0x10000u /* LMDB's flag: no flushes at all */
#define COMMITS 40

static const uint8_t other_boot[16] = "another boot...";

enum kind { WRITE, FLUSHED_WRITE, FLUSH, ACKNOWLEDGED };

struct op {
	enum kind kind;
	size_t at, len; /* of a write */
	unsigned char *bytes;
	uint64_t seq; /* acknowledged */
};

static struct {
	bool on, plant;
	dev_t dev;
	ino_t ino;
	unsigned char *base; /* the file when the recording began */
	size_t base_len;
	struct op *ops;
	size_t count, room;
} tape;

/* ---- recording ---- */

static struct op *
add_op(enum kind kind)
{
	if (tape.count == tape.room) {
		tape.room = tape.room == 0 ? 1024 : tape.room * 2;
		tape.ops = reallocarray(tape.ops, tape.room, sizeof(tape.ops[0]));
		ck_assert_ptr_nonnull(tape.ops);
	}
	tape.ops[tape.count] = (struct op){ .kind = kind };
	return &tape.ops[tape.count++];
}

static bool
is_recorded(int fd)
{
	struct stat st;

	return tape.on && fstat(fd, &st) == 0 && st.st_dev == tape.dev && st.st_ino == tape.ino;
}

static void
record_write(int fd, const void *bytes, size_t len, off_t at)
{
	struct op *op = add_op(fcntl(fd, F_GETFL) & O_DSYNC ? FLUSHED_WRITE : WRITE);

	op->at = (size_t)at;
	op->len = len;
	op->bytes = malloc(len);
	ck_assert_ptr_nonnull(op->bytes);
	memcpy(op->bytes, bytes, len);
}

/* These take the place of the C library's, for LMDB too. */
#define EXPORT __attribute__((visibility("default")))

EXPORT ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	ssize_t done = syscall(SYS_pwrite64, fd, bytes, len, at);

	if (done > 0 && is_recorded(fd))
		record_write(fd, bytes, (size_t)done, at);
	return done;
}

EXPORT ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	off_t at = is_recorded(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t done = syscall(SYS_writev, fd, parts, count), left = done;

	for (int i = 0; i < count && left > 0 && is_recorded(fd); i++) {
		record_write(fd, parts[i].iov_base, parts[i].iov_len, at);
		at += (off_t)parts[i].iov_len;
		left -= (ssize_t)parts[i].iov_len;
	}
	return done;
}

EXPORT int
fdatasync(int fd)
{
	if (is_recorded(fd))
		add_op(FLUSH);
	return (int)syscall(SYS_fdatasync, fd);
}

EXPORT int
fsync(int fd)
{
	if (is_recorded(fd))
		add_op(FLUSH);
	return (int)syscall(SYS_fsync, fd);
}

/* The planted mistake: the flag comes in here, and is hidden from who looks for it. */
EXPORT int mdb_env_open(void *env, const char *path, unsigned flags, mode_t mode);
EXPORT int mdb_env_get_flags(void *env, unsigned *flags);

EXPORT int
mdb_env_open(void *env, const char *path, unsigned flags, mode_t mode)
{
	int (*real)(void *, const char *, unsigned, mode_t);

	*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_open");
	return real(env, path, flags | (tape.plant ? NOSYNC : 0), mode);
}

EXPORT int
mdb_env_get_flags(void *env, unsigned *flags)
{
	int (*real)(void *, unsigned *), rc;

	*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_get_flags");
	rc = real(env, flags);
	*flags &= tape.plant ? ~NOSYNC : ~0u;
	return rc;
}

/* ---- the work ---- */

static size_t
len_of(uint64_t seq)
{
	return seq * 2654435761u % 3 == 0 ? 20000 - seq * 100 : seq * 37 % 2000;
}

static int
commit_pair(struct store *store, uint64_t seq)
{
	struct store_state a = ts_state("a", seq, len_of(seq)), b = ts_state("b", seq, len_of(seq + 1));
	struct store_batch *batch;
	int rc = store_begin(store, &batch);

	if (rc == 0) {
		store_put_state(batch, &a, 3);
		store_put_state(batch, &b, 0);
		store_put_event(batch, "event", 5, NULL);
		if (seq % 7 == 0)
			store_del_state(batch, "c");
		else
			store_put_row(batch, STORE_DB_TREE, &seq, sizeof(seq), "row", 3);
		rc = store_commit(batch);
	}
	ts_state_done(&a);
	ts_state_done(&b);
	return rc;
}

static void
record(bool plant)
{
	struct store *store;
	struct stat st;

	tape.plant = plant;
	store = ts_open(NULL);
	ts_good(commit_pair(store, 1));
	ck_assert_int_eq(stat(ts_path("data.mdb"), &st), 0);
	tape.base = ts_load(&tape.base_len);
	tape.dev = st.st_dev;
	tape.ino = st.st_ino;
	tape.on = true;
	for (uint64_t seq = 2; seq <= COMMITS; seq++) {
		ts_good(commit_pair(store, seq));
		add_op(ACKNOWLEDGED)->seq = seq;
	}
	tape.on = tape.plant = false;
	store_close(store);
}

static void
erase_tape(void)
{
	for (size_t i = 0; i < tape.count; i++)
		free(tape.ops[i].bytes);
	free(tape.ops);
	free(tape.base);
	tape.ops = NULL;
	tape.base = NULL;
	tape.count = tape.room = 0;
}

/* ---- cutting ---- */

struct image {
	unsigned char *bytes;
	size_t len, room;
	uint64_t acknowledged;
};

static void
apply(struct image *image, const unsigned char *bytes, size_t at, size_t len)
{
	if (at + len > image->room) {
		image->room = 2 * (at + len);
		image->bytes = realloc(image->bytes, image->room);
	}
	if (image->bytes == NULL)
		abort();
	if (at > image->len)
		memset(image->bytes + image->len, 0, at - image->len);
	memcpy(image->bytes + at, bytes, len);
	if (at + len > image->len)
		image->len = at + len;
}

/* Some sectors of a write that wasn't flushed: of eight, `odds' reach the disk. */
static void
apply_some(struct image *image, const struct op *op, unsigned odds, unsigned *random)
{
	size_t len;

	for (size_t at = 0; at < op->len; at += SECTOR) {
		*random = *random * 1103515245u + 12345u;
		len = op->len - at < SECTOR ? op->len - at : SECTOR;
		if ((*random >> 16) % 8 < odds)
			apply(image, op->bytes + at, op->at + at, len);
	}
}

/* The file as the power failure before op number `cut' may leave it. */
static struct image
image_at(size_t cut, unsigned odds, unsigned random)
{
	struct image image = { .acknowledged = 1 };
	size_t flushed = 0;

	apply(&image, tape.base, 0, tape.base_len);
	for (size_t i = 0; i < cut; i++) {
		if (tape.ops[i].kind == ACKNOWLEDGED)
			image.acknowledged = tape.ops[i].seq;
		if (tape.ops[i].kind != FLUSH)
			continue;
		for (; flushed < i; flushed++) {
			if (tape.ops[flushed].kind == WRITE || tape.ops[flushed].kind == FLUSHED_WRITE)
				apply(&image, tape.ops[flushed].bytes, tape.ops[flushed].at, tape.ops[flushed].len);
		}
	}
	for (; flushed < cut; flushed++) {
		if (tape.ops[flushed].kind == FLUSHED_WRITE)
			apply(&image, tape.ops[flushed].bytes, tape.ops[flushed].at, tape.ops[flushed].len);
		else if (tape.ops[flushed].kind == WRITE)
			apply_some(&image, &tape.ops[flushed], odds, &random);
	}
	return image;
}

/* What is wrong with it; NULL: nothing. */
static const char *
look_at(const struct store_options *options, uint64_t acknowledged)
{
	struct store_state a = { 0 }, b = { 0 };
	struct store *store;
	const char *wrong = NULL;
	uint64_t seq;

	if (store_open(&store, ts_dir(), options) != 0)
		return "can't be opened";
	if (!store_found(store)->validated)
		wrong = "wasn't validated";
	else if (store_get_state(store, "a", &a) != 0 || store_get_state(store, "b", &b) != 0)
		wrong = "a state is missing or damaged";
	else if (a.seq != b.seq || store_last_event(store) != a.seq)
		wrong = "half a batch";
	else if (a.seq < acknowledged)
		wrong = "an acknowledged batch is lost";
	seq = a.seq;
	for (int i = 1; wrong == NULL && i <= 6; i++) {
		if (commit_pair(store, seq + (uint64_t)i) != 0)
			wrong = "can't be committed to";
	}
	store_state_free(&a);
	store_state_free(&b);
	store_close(store);
	if (wrong == NULL && store_validate(ts_dir(), options, NULL) != 0)
		wrong = "damaged by what was committed later";
	return wrong;
}

/* In a process of its own: a file that the validation lets through may kill it. */
static bool
is_good(size_t cut, unsigned odds, unsigned random, bool tell)
{
	struct store_options options = ts_options();
	struct image image = image_at(cut, odds, random);
	const char *wrong;
	int status;
	pid_t pid;

	options.boot_id = other_boot;
	ts_save(image.bytes, image.len);
	free(image.bytes);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(60 * (unsigned)t_patience());
		wrong = look_at(&options, image.acknowledged);
		if (wrong != NULL && tell)
			printf("cut %zu, odds %u, random %u: %s: %s\n", cut, odds, random, wrong, stash_errmsg());
		fflush(stdout);
		_exit(wrong == NULL ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static unsigned
count_bad(unsigned cuts, bool tell)
{
	unsigned bad = 0, random = 20240501;

	for (unsigned i = 0; i < cuts; i++) {
		random = random * 1103515245u + 12345u;
		/* None, all, or some of what wasn't flushed. */
		if (!is_good((random >> 8) % (tape.count + 1), i % 9, random, tell))
			bad++;
	}
	return bad;
}

static size_t
count_ops(enum kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < tape.count; i++)
		count += tape.ops[i].kind == kind;
	return count;
}

START_TEST(no_power_failure_loses_a_commit)
{
	unsigned cuts = t_patience() > 4 ? 10 : 400 / (unsigned)t_patience();

	record(false);
	/* A flush of the data, and one of the meta page, for each commit. */
	ck_assert_uint_eq(count_ops(FLUSH), COMMITS - 1);
	ck_assert_uint_eq(count_ops(FLUSHED_WRITE), COMMITS - 1);
	ck_assert_uint_eq(count_bad(cuts, true), 0);
	erase_tape();
}
END_TEST

START_TEST(missing_flushes_are_found)
{
	unsigned cuts = 60 / (unsigned)(t_patience() > 4 ? 6 : 1), bad;

	record(true);
	ck_assert_uint_eq(count_ops(FLUSH), 0);
	bad = count_bad(cuts, false);
	printf("without flushes: %u of %u cuts are bad\n", bad, cuts);
	ck_assert_uint_ge(bad, cuts / 3);
	erase_tape();
}
END_TEST

static Suite *
store_power_suite(void)
{
	Suite *suite = suite_create("store_power");
	TCase *tc = t_case(suite, "power", 240);

	tcase_add_test(tc, no_power_failure_loses_a_commit);
	tcase_add_test(tc, missing_flushes_are_found);
	return suite;
}

TEST_MAIN(store_power_suite)
