/* SPDX-License-Identifier: ISC */
/*
 * Damaged stores: bits flipped, pages zeroed, swapped, overwritten, files cut, at places that a seed decides.  No
 * stashd and no tool dies of one: each says what is wrong, changes nothing, and names the backup; what stash-inspect
 * check finds good, stashd starts on, and only that.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib_damage.h"
#include "testlib_tools.h"

#define DAMAGES 24 /* looked at by the tools; and of these every so many-th by a stashd */
#define STASHD_EACH 6

/* ---- damage ---- */

static uint64_t seed;

static uint64_t
next_random(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return seed >> 33;
}

/* Of a kind, at a place, which the seed decides; says which. */
static size_t
damage(unsigned char *file, size_t len, char *what, size_t size)
{
	size_t pages = len / TD_PAGE, page = next_random() % pages, other = next_random() % pages,
	       at = next_random() % len;
	unsigned char copy[TD_PAGE];

	switch (next_random() % 8) {
	case 0:
		for (uint64_t n = next_random() % 8 + 1; n > 0; n--)
			file[next_random() % len] ^= (unsigned char)(1u << next_random() % 8);
		snprintf(what, size, "bits flipped");
		break;
	case 1:
		memset(file + page * TD_PAGE, 0, TD_PAGE);
		snprintf(what, size, "page %zu zeroed", page);
		break;
	case 2:
		memcpy(copy, file + page * TD_PAGE, TD_PAGE);
		memcpy(file + page * TD_PAGE, file + other * TD_PAGE, TD_PAGE);
		memcpy(file + other * TD_PAGE, copy, TD_PAGE);
		snprintf(what, size, "pages %zu and %zu swapped", page, other);
		break;
	case 3:
		snprintf(what, size, "cut at %zu", at);
		return at;
	case 4:
		for (size_t i = 0; i < 512; i++)
			file[at / 512 * 512 + i] = (unsigned char)next_random();
		snprintf(what, size, "sector at %zu overwritten", at / 512 * 512);
		break;
	case 5:
		file[page * TD_PAGE + next_random() % 16] ^= (unsigned char)(1 + next_random() % 255);
		snprintf(what, size, "header of page %zu", page);
		break;
	case 6:
		/* What the meta pages say: roots, sizes, transaction. */
		file[next_random() % 2 * TD_PAGE + 16 + next_random() % 136] ^= (unsigned char)(1 +
		    next_random() % 255);
		snprintf(what, size, "meta page");
		break;
	default:
		/* Offsets of a page's entries. */
		for (uint64_t n = next_random() % 4 + 1; n > 0; n--)
			file[page * TD_PAGE + 16 + next_random() % 64] = (unsigned char)next_random();
		snprintf(what, size, "entries of page %zu", page);
		break;
	}
	return len;
}

/* ---- the tools on it ---- */

static const char *const commands[][4] = { { "list" }, { "tree" }, { "show", "sequence" }, { "history", "sequence" },
	{ "history", "agent" }, { "events", "-n", "0" }, { "registry" }, { "whereis", "sequence" }, { "stat" },
	{ "health" }, { "check" } };

/* Exit statuses that are answers. */
static bool
is_answer(int status)
{
	return status == 0 || status == 1 || status == EX_DATAERR || status == EX_NOHOST || status == EX_UNAVAILABLE ||
	    status == EX_TEMPFAIL;
}

/* What check says of it, in memory shared with who runs the tools. */
struct seen {
	int check, backup;
	char last[200], text[2000];
	char next[100]; /* the number that comes next, by its state */
};

static void
run_tools(struct seen *seen)
{
	struct tt_result r;

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		const char *words[6] = { NULL };

		for (size_t k = 0; k < 4; k++)
			words[k] = commands[i][k];
		snprintf(
		    seen->last, sizeof seen->last, "stash-inspect %s %s", words[0], words[1] != NULL ? words[1] : "");
		tt_run(&r, &stash_inspect, NULL, words);
		if (!is_answer(r.status)) {
			snprintf(seen->text, sizeof seen->text, "exit %d: %s", r.status, r.err);
			_exit(1);
		}
		if (strcmp(words[0], "check") == 0) {
			seen->check = r.status;
			snprintf(seen->text, sizeof seen->text, "%s%s", r.out, r.err);
		}
		tt_free(&r);
	}
	snprintf(seen->last, sizeof seen->last, "stash-inspect show -F next");
	TT_RUN(&r, &stash_inspect, "show", "-F", "next", "sequence");
	snprintf(seen->next, sizeof seen->next, "%s", r.out);
	tt_free(&r);
	snprintf(seen->last, sizeof seen->last, "stash-inspect backup");
	TT_RUN(&r, &stash_inspect, "backup", t_path("others"));
	seen->backup = r.status;
	tt_free(&r);
	snprintf(seen->last, sizeof seen->last, "stashctl get");
	TT_RUN(&r, &stashctl, "get", "sequence");
	if (!is_answer(r.status))
		_exit(1);
	tt_free(&r);
	snprintf(seen->last, sizeof seen->last, "stashctl restore");
	TT_RUN(&r, &stashctl, "restore", t_path("backups"));
	if (r.status != EX_USAGE) {
		snprintf(seen->text, sizeof seen->text, "restore: exit %d: %s%s", r.status, r.out, r.err);
		_exit(1);
	}
	tt_free(&r);
	_exit(0);
}

/* In a process of their own, which none of them may end. */
static void
look_with_tools(struct seen *seen, const char *what)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(120 * (unsigned)t_patience());
		run_tools(seen);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "%s: %s: %s %d: %s", what, seen->last, WIFSIGNALED(status) ? "signal" : "exit",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), seen->text);
	/* A copy of what is damaged is no backup. */
	ck_assert_msg((seen->backup == 0) == (seen->check == 0), "%s: check %d, backup %d: %s", what, seen->check,
	    seen->backup, seen->text);
}

/* ---- stashd on it ---- */

static bool
has_ended_or_up(void *arg)
{
	char *text;
	bool up;

	(void)arg;
	if (t_ended(&td_stashd.proc, 0))
		return true;
	text = t_output(&td_stashd.proc);
	up = strstr(text, "stashd: up:") != NULL;
	free(text);
	return up;
}

/* Starts, on what is good, or refuses: names file and backup, and changes nothing. */
static void
look_with_stashd(const struct seen *seen, const unsigned char *bytes, size_t len, const char *what)
{
	size_t after_len;
	char *text, *after;

	t_spawn(&td_stashd.proc,
	    (const char *const[]){ t_build("stashd"), "-d", t_store(&td_stashd), "-f", td_stashd.conf, NULL }, NULL);
	ck_assert(t_wait_for(has_ended_or_up, NULL, 20000));
	text = t_output(&td_stashd.proc);
	if (td_stashd.proc.pid != 0) {
		ck_assert_msg(seen->check == 0, "%s: stashd starts, and check says: %s", what, seen->text);
		td_take(30, 31);
		t_stashd_stop(&td_stashd, 20000);
		free(text);
		text = t_output(&td_stashd.proc);
		ck_assert_msg(strstr(text, "the stash") == NULL && strstr(text, "stored") == NULL,
		    "%s: stashd started, and then: %s", what, text);
		free(text);
		return;
	}
	ck_assert_msg(WIFEXITED(td_stashd.proc.status) && WEXITSTATUS(td_stashd.proc.status) == EX_DATAERR,
	    "%s: %d: %s", what, td_stashd.proc.status, text);
	ck_assert_msg(seen->check != 0, "%s: check finds it good, stashd says: %s", what, text);
	ck_assert_msg(strstr(text, "data.mdb: ") != NULL && strstr(text, "Nothing was changed") != NULL &&
		strstr(text, "stashctl -d ") != NULL && strstr(text, "/backups/stash-") != NULL,
	    "%s: %s", what, text);
	free(text);
	after = t_read_file(td_data(), &after_len);
	ck_assert_uint_eq(after_len, len);
	ck_assert_msg(memcmp(after, bytes, len) == 0, "%s: the damaged file was changed", what);
	free(after);
}

/* ---- tests ---- */

static int
minutes(void)
{
	const char *text = getenv("STASH_TORTURE");

	return text != NULL ? atoi(text) : 0;
}

static void
clean(const char *dir)
{
	t_remove_tree(dir);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
}

START_TEST(test_damages)
{
	int64_t until = stash__now_ns() + (int64_t)minutes() * 60 * STASH__NS_PER_S;
	struct seen *seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned n, told = 0, starts = 0, damages = t_patience() > 1 && minutes() == 0 ? DAMAGES / 6 : DAMAGES;
	char next[sizeof seen->next];

	ck_assert_ptr_ne(seen, MAP_FAILED);
	td_begin();
	clean(t_path("others"));
	look_with_tools(seen, "the whole store");
	ck_assert_msg(seen->check == 0 && strstr(seen->next, "30") != NULL, "%s%s", seen->text, seen->next);
	memcpy(next, seen->next, sizeof next);
	for (n = 0; n < damages || stash__now_ns() < until; n++) {
		unsigned char *copy = malloc(td_whole_len);
		char what[200];
		size_t len;

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, td_whole, td_whole_len);
		seed = n;
		(void)next_random();
		snprintf(what, sizeof what, "damage %u: ", n);
		len = damage(copy, td_whole_len, what + strlen(what), sizeof what - strlen(what));
		clean(t_path("others"));
		td_save(copy, len);
		look_with_tools(seen, what);
		told += seen->check != 0;
		/* What isn't told of has hit nothing: that is chance, and the state is as it was in any case. */
		ck_assert_msg(seen->check != 0 || strcmp(seen->next, next) == 0,
		    "%s: check finds it good, and next is %s", what, seen->next);
		if (n % STASHD_EACH == 0 || minutes() > 0) {
			look_with_stashd(seen, copy, len, what);
			starts++;
		}
		free(copy);
	}
	printf("%u damages, %u told of; %u starts\n", n, told, starts);
	ck_assert_uint_gt(told, 0);
	munmap(seen, sizeof *seen);
	td_end();
}
END_TEST

/* All that is wrong is told, also behind what kills the reader. */
START_TEST(test_check_tells_all)
{
	unsigned char *copy;

	td_begin();
	copy = malloc(td_whole_len);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, td_whole, td_whole_len);
	/* A byte in each value of a state and of an event. */
	for (size_t i = 0; i + 13 < td_whole_len; i++) {
		if (memcmp(copy + i, "root/sequence", 13) == 0 && i % 2 == 0)
			copy[i + 3] ^= 1;
	}
	td_save(copy, td_whole_len);
	INSPECT(EX_DATAERR, "event at place ", "check");
	INSPECT(EX_DATAERR, "registry row \"sequence\"", "check");
	INSPECT(EX_DATAERR, "tree row ", "check");
	INSPECT(EX_DATAERR, "its checksum is wrong", "-j", "check");
	/* The backup is good all the same, and the store is none. */
	INSPECT(0, "good", "check", t_path("backups"));
	INSPECT(EX_NOHOST, "no such backup", "check", t_path("nothing"));
	free(copy);
	td_end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("damage");
	TCase *c = t_case(s, "damages", 300 + 90 * minutes());

	tcase_add_test(c, test_damages);
	tcase_add_test(c, test_check_tells_all);
	return s;
}

TEST_MAIN(suite)
