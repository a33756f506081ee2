/* SPDX-License-Identifier: ISC */
/*
 * Damaged stores: bits flipped, pages zeroed, swapped, overwritten, files cut, at places that a seed decides.  No
 * stashd and no tool dies of one: each says what is wrong, changes nothing, and names the backup; what stash-inspect
 * check finds good, stashd starts on, and only that.  Then the way back: restore, with the slots and without.
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
#include "testlib_live.h"
#include "testlib_tools.h"

#define PAGE 4096u
#define DAMAGES 24 /* looked at by the tools; and of these every so many-th by a stashd */
#define STASHD_EACH 6

static struct t_stashd d;
static unsigned char *whole; /* the store before any damage */
static size_t whole_len;

/* ---- the store ---- */

static const char *
config(void)
{
	static char text[2048];

	snprintf(text, sizeof text,
	    "store = { history = 3; };\n"
	    "tree = { intensity = 100; period = 5; children = (\n"
	    "  { id = \"sequence\"; module = \"%s\"; args = [\"0\"]; },\n"
	    "  { id = \"agent\"; module = \"%s\"; args = [\"a\"]; } ); };\n",
	    t_build("examples/sequence.so"), t_build("examples/agent.so"));
	return text;
}

static void
start(void)
{
	t_stashd_start(&d, config());
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&d), 1), 0);
}

/* The numbers from..to, each once. */
static void
take_with(struct stash_client *c, int from, int to)
{
	char text[16], value[900];

	for (int i = from; i <= to; i++) {
		struct stash_reply reply;

		snprintf(text, sizeof text, "%d", i);
		t_expect_call(c, "sequence", "next_number", NULL, text);
		snprintf(value, sizeof value, "%-*d", 30 + i * 97 % 800, i);
		ck_assert_int_eq(stash_call(c, "agent", "update", value, strlen(value), &reply, 30000), STASH_OK);
		stash_reply_free(&reply);
	}
}

static void
take(int from, int to)
{
	struct stash_client *c = t_client(&d);

	take_with(c, from, to);
	stash_client_close(c);
}

static const char *
data(void)
{
	return t_path("store/data.mdb");
}

static void
save(const unsigned char *bytes, size_t len)
{
	int fd = open(data(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void
inspect(int status, const char *says, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stash_inspect, NULL, words);
	tt_exits(&r, status);
	if (says != NULL && strstr(r.out, says) == NULL)
		tt_complains(&r, says);
	tt_free(&r);
}
#define INSPECT(status, says, ...) inspect(status, says, (const char *const[]){ __VA_ARGS__, NULL })

static void
ctl(int status, const char *says, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stashctl, NULL, words);
	tt_exits(&r, status);
	if (says != NULL && strstr(r.out, says) == NULL)
		tt_complains(&r, says);
	tt_free(&r);
}
#define CTL(status, says, ...) ctl(status, says, (const char *const[]){ __VA_ARGS__, NULL })

/* A store with a backup at number 20, and ten more; stopped in order. */
static void
begin(void)
{
	memset(&d, 0, sizeof d);
	ck_assert_int_eq(mkdir(t_path("backups"), 0700), 0);
	start();
	take(0, 19);
	INSPECT(0, "verified", "backup", t_path("backups"));
	take(20, 29);
	t_stashd_stop(&d, 20000);
	whole = (unsigned char *)t_read_file(data(), &whole_len);
}

static void
end(void)
{
	free(whole);
}

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
	size_t pages = len / PAGE, page = next_random() % pages, other = next_random() % pages,
	       at = next_random() % len;
	unsigned char copy[PAGE];

	switch (next_random() % 8) {
	case 0:
		for (uint64_t n = next_random() % 8 + 1; n > 0; n--)
			file[next_random() % len] ^= (unsigned char)(1u << next_random() % 8);
		snprintf(what, size, "bits flipped");
		break;
	case 1:
		memset(file + page * PAGE, 0, PAGE);
		snprintf(what, size, "page %zu zeroed", page);
		break;
	case 2:
		memcpy(copy, file + page * PAGE, PAGE);
		memcpy(file + page * PAGE, file + other * PAGE, PAGE);
		memcpy(file + other * PAGE, copy, PAGE);
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
		file[page * PAGE + next_random() % 16] ^= (unsigned char)(1 + next_random() % 255);
		snprintf(what, size, "header of page %zu", page);
		break;
	case 6:
		/* What the meta pages say: roots, sizes, transaction. */
		file[next_random() % 2 * PAGE + 16 + next_random() % 136] ^= (unsigned char)(1 + next_random() % 255);
		snprintf(what, size, "meta page");
		break;
	default:
		/* Offsets of a page's entries. */
		for (uint64_t n = next_random() % 4 + 1; n > 0; n--)
			file[page * PAGE + 16 + next_random() % 64] = (unsigned char)next_random();
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
	if (t_ended(&d.proc, 0))
		return true;
	text = t_output(&d.proc);
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

	t_spawn(&d.proc, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL }, NULL);
	ck_assert(t_wait_for(has_ended_or_up, NULL, 20000));
	text = t_output(&d.proc);
	if (d.proc.pid != 0) {
		ck_assert_msg(seen->check == 0, "%s: stashd starts, and check says: %s", what, seen->text);
		take(30, 31);
		t_stashd_stop(&d, 20000);
		free(text);
		text = t_output(&d.proc);
		ck_assert_msg(strstr(text, "the stash") == NULL && strstr(text, "stored") == NULL,
		    "%s: stashd started, and then: %s", what, text);
		free(text);
		return;
	}
	ck_assert_msg(WIFEXITED(d.proc.status) && WEXITSTATUS(d.proc.status) == EX_DATAERR, "%s: %d: %s", what,
	    d.proc.status, text);
	ck_assert_msg(seen->check != 0, "%s: check finds it good, stashd says: %s", what, text);
	ck_assert_msg(strstr(text, "data.mdb: ") != NULL && strstr(text, "Nothing was changed") != NULL &&
		strstr(text, "stashctl -d ") != NULL && strstr(text, "/backups/stash-") != NULL,
	    "%s: %s", what, text);
	free(text);
	after = t_read_file(data(), &after_len);
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

	ck_assert_ptr_ne(seen, MAP_FAILED);
	begin();
	for (n = 0; n < damages || stash__now_ns() < until; n++) {
		unsigned char *copy = malloc(whole_len);
		char what[200];
		size_t len;

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, whole, whole_len);
		seed = n;
		(void)next_random();
		snprintf(what, sizeof what, "damage %u: ", n);
		len = damage(copy, whole_len, what + strlen(what), sizeof what - strlen(what));
		clean(t_path("others"));
		save(copy, len);
		look_with_tools(seen, what);
		told += seen->check != 0;
		if (n % STASHD_EACH == 0 || minutes() > 0) {
			look_with_stashd(seen, copy, len, what);
			starts++;
		}
		free(copy);
	}
	printf("%u damages, %u told of; %u starts\n", n, told, starts);
	ck_assert_uint_ge(told, n / 3);
	munmap(seen, sizeof *seen);
	end();
}
END_TEST

/* All that is wrong is told, also behind what kills the reader. */
START_TEST(test_check_tells_all)
{
	unsigned char *copy;

	begin();
	copy = malloc(whole_len);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, whole, whole_len);
	/* A byte in each value of a state and of an event. */
	for (size_t i = 0; i + 13 < whole_len; i++) {
		if (memcmp(copy + i, "root/sequence", 13) == 0 && i % 2 == 0)
			copy[i + 3] ^= 1;
	}
	save(copy, whole_len);
	INSPECT(EX_DATAERR, "event at place ", "check");
	INSPECT(EX_DATAERR, "registry row \"sequence\"", "check");
	INSPECT(EX_DATAERR, "tree row ", "check");
	INSPECT(EX_DATAERR, "its checksum is wrong", "-j", "check");
	/* The backup is good all the same, and the store is none. */
	INSPECT(0, "good", "check", t_path("backups"));
	INSPECT(EX_NOHOST, "no such backup", "check", t_path("nothing"));
	free(copy);
	end();
}
END_TEST

/* ---- the way back ---- */

static bool
holds(const char *dir, const char *prefix)
{
	DIR *dp = opendir(dir);
	struct dirent *e;
	bool yes = false;

	ck_assert_ptr_nonnull(dp);
	while ((e = readdir(dp)) != NULL)
		yes = yes || strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	closedir(dp);
	return yes;
}

START_TEST(test_restore_after_damage)
{
	begin();
	memset(whole + 2 * PAGE, 0xee, whole_len - 2 * PAGE);
	save(whole, whole_len);
	CTL(EX_USAGE, "--yes", "restore");
	ck_assert(!holds(t_store(&d), "data.mdb.damaged"));
	CTL(0, "damaged: ", "restore", "--yes");
	ck_assert(holds(t_store(&d), "data.mdb.damaged-"));
	start();
	take(20, 22);
	t_stashd_stop(&d, 20000);
	/* Back and forth: what a restore has set aside is itself restored. */
	CTL(0, "sequence: version", "restore", "--yes", t_path("backups"));
	ck_assert(holds(t_store(&d), "data.mdb.replaced-"));
	end();
}
END_TEST

START_TEST(test_restore_is_undone)
{
	struct tt_result r;
	char command[PATH_MAX], *at;

	begin();
	TT_RUN(&r, &stashctl, "restore", "-y", t_path("backups"));
	tt_exits(&r, 0);
	at = strstr(r.out, "restore --yes ");
	ck_assert_ptr_nonnull(at);
	snprintf(command, sizeof command, "%s", at + strlen("restore --yes "));
	command[strcspn(command, "\n")] = '\0';
	tt_free(&r);
	CTL(0, "Restored", "restore", "--yes", command);
	start();
	take(30, 31);
	t_stashd_stop(&d, 20000);
	end();
}
END_TEST

START_TEST(test_empty_instead)
{
	begin();
	t_remove_tree(t_path("backups"));
	memset(whole, 0, whole_len);
	save(whole, whole_len);
	CTL(EX_NOHOST, "no good backup is known", "restore", "--yes");
	CTL(0, "empty store", "restore", "--empty", "--yes");
	ck_assert(holds(t_store(&d), "data.mdb.damaged-"));
	start();
	take(0, 2);
	t_stashd_stop(&d, 20000);
	end();
}
END_TEST

START_TEST(test_restore_elsewhere_and_what_is_refused)
{
	struct t_result r;
	char path[PATH_MAX];

	begin();
	/* Another store. */
	ck_assert_int_eq(mkdir(t_path("new"), 0700), 0);
	CTL(EX_NOHOST, "name one", "restore", "--yes", "-d", t_path("new"));
	CTL(0, "Restored", "restore", "--yes", "-d", t_path("new"), t_path("backups"));
	d.dir = t_path("new");
	start();
	take(20, 21);
	CTL(EX_TEMPFAIL, "stashd has to be stopped first", "restore", "--yes", t_path("backups"));
	t_stashd_stop(&d, 20000);
	d.dir = NULL;
	ck_assert_int_eq(setenv("STASH_DIR", t_path("store"), 1), 0);
	/* A byte of a backup. */
	t_run(&r, NULL,
	    (const char *const[]){ "sh", "-c",
		"cd \"$0\" && for f in *.mdb; do printf x | dd of=\"$f\" bs=1 seek=9000 conv=notrunc; done",
		t_path("backups"), NULL });
	ck_assert_int_eq(r.status, 0);
	t_result_free(&r);
	CTL(EX_DATAERR, "its checksum isn't what it was", "restore", "--yes", t_path("backups"));
	CTL(EX_NOHOST, "no good backup is known", "restore", "--yes");
	INSPECT(EX_DATAERR, NULL, "check", t_path("backups"));
	INSPECT(1, "checksum isn't", "check");
	INSPECT(EX_USAGE, "the store's own directory", "backup", t_path("store"));
	/* None of it has touched the store. */
	snprintf(path, sizeof path, "%s", t_path("store"));
	ck_assert(!holds(path, "data.mdb."));
	start();
	take(30, 31);
	t_stashd_stop(&d, 20000);
	end();
}
END_TEST

/* The operator's word about slots: asked for, and kept to. */
START_TEST(test_slots_and_a_backup)
{
	begin();
	start();
	take(30, 39);
	t_murder_all(&d);
	CTL(EX_USAGE, "--keep-slots", "restore", "--yes", t_path("backups"));
	ck_assert(!holds(t_store(&d), "data.mdb.replaced-"));
	CTL(0, "kept", "restore", "--yes", "--keep-slots", t_path("backups"));
	start();
	take(40, 41);
	t_murder_all(&d);
	CTL(0, "discarded", "restore", "--yes", "--discard-slots", t_path("backups"));
	start();
	take(20, 21);
	t_stashd_stop(&d, 20000);
	end();
}
END_TEST

/* Copied over by hand, stashd refuses, and says what to do; it is done. */
START_TEST(test_store_exchanged_by_hand)
{
	begin();
	start();
	take(30, 39);
	t_murder_all(&d);
	save(whole, whole_len); /* of number 29 */
	for (int i = 0; i < 2; i++) {
		char *text;

		t_spawn(
		    &d.proc, (const char *const[]){ t_build("stashd"), "-d", t_store(&d), "-f", d.conf, NULL }, NULL);
		ck_assert_int_eq(t_wait(&d.proc, 20000), EX_DATAERR);
		text = t_output(&d.proc);
		ck_assert_msg(strstr(text, "keep-slots") != NULL && strstr(text, "discard-slots") != NULL, "%s", text);
		free(text);
	}
	CTL(0, "next start", "keep-slots");
	start();
	take(40, 41);
	t_murder_all(&d);
	save(whole, whole_len);
	CTL(EX_USAGE, "--yes", "discard-slots");
	CTL(0, "until the next reboot", "discard-slots", "--yes");
	start();
	take(30, 31);
	t_stashd_stop(&d, 20000);
	end();
}
END_TEST

/* ---- while it runs ---- */

static bool
says_damaged(void *arg)
{
	char *text = t_output(&d.proc);
	bool yes = strstr(text, "the stash can't start: ") != NULL;

	(void)arg;
	free(text);
	return yes;
}

static bool
is_ill(void *arg)
{
	struct tt_result r;
	bool ill;

	(void)arg;
	TT_RUN(&r, &stash_inspect, "health");
	ill = r.status == 1 && strstr(r.out, "silent") != NULL;
	tt_free(&r);
	return ill;
}

/* The file is spoilt under a running stash process: workers go on, nothing that was answered is lost, and the way back
 * keeps the slots. */
START_TEST(test_damage_of_a_living_store)
{
	struct stash_client *c;
	int fd;

	begin();
	start();
	c = t_client(&d);
	take_with(c, 30, 39);
	fd = open(data(), O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (_i == 0)
		ck_assert_int_eq(ftruncate(fd, 3 * PAGE), 0);
	else
		for (off_t at = 2 * PAGE; at < (off_t)whole_len; at += PAGE)
			ck_assert_int_eq(pwrite(fd, whole, PAGE, at), PAGE);
	close(fd);
	(void)t_murder(&d, T_STASH, NULL);
	ck_assert(t_wait_for(says_damaged, NULL, 30000));
	take_with(c, 40, 49);
	stash_client_close(c);
	ck_assert(t_wait_for(is_ill, NULL, 20000));
	t_kill(&d.proc, SIGTERM);
	(void)t_wait(&d.proc, 90000);
	t_no_children(20000);
	CTL(0, "kept", "restore", "--yes", "--keep-slots");
	start();
	take(50, 51);
	t_stashd_stop(&d, 20000);
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("damage");
	TCase *c = t_case(s, "damages", 300 + 90 * minutes());

	tcase_add_test(c, test_damages);
	tcase_add_test(c, test_check_tells_all);
	c = t_case(s, "back", 120);
	tcase_add_test(c, test_restore_after_damage);
	tcase_add_test(c, test_restore_is_undone);
	tcase_add_test(c, test_empty_instead);
	tcase_add_test(c, test_restore_elsewhere_and_what_is_refused);
	tcase_add_test(c, test_slots_and_a_backup);
	tcase_add_test(c, test_store_exchanged_by_hand);
	tcase_add_loop_test(c, test_damage_of_a_living_store, 0, 2);
	return s;
}

TEST_MAIN(suite)
