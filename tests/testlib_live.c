/* SPDX-License-Identifier: ISC */
/*
 * testlib_live.c: see testlib_live.h.
 */
#include "testlib_live.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/info.h"
#include "shm/format.h"
#include "shm/slot.h"
#include "shm/wire.h"

const char *
t_config(const char *name, const char *module, const char *args, const char *extra, const char *store)
{
	static char text[2048];

	snprintf(text, sizeof text,
	    "store = { %s };\ntree = { intensity = 1000000; period = 1; children = (\n"
	    "  { id = \"%s\"; module = \"%s\"; args = [%s]; %s }\n); };\n",
	    store, name, t_build(module), args, extra);
	return text;
}

const char *
t_store(const struct t_stashd *d)
{
	return d->dir != NULL ? d->dir : t_path("store");
}

const char *
t_run_of(const struct t_stashd *d)
{
	static char run[PATH_MAX];
	struct stash__info info;

	snprintf(run, sizeof run, "%s", stash__info_read(t_store(d), &info) == STASH_OK ? info.run_dir : "");
	return run;
}

/* Copies the first bytes of a file in the run directory. */
static bool
peek(const struct t_stashd *d, const char *file, void *to, size_t size)
{
	char path[PATH_MAX + 256];
	int fd;
	ssize_t n;

	snprintf(path, sizeof path, "%s/%s", t_run_of(d), file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = pread(fd, to, size, 0);
	close(fd);
	return n == (ssize_t)size;
}

static pid_t
worker_pid(const struct t_stashd *d, const char *name)
{
	struct stash__out_page page;
	char file[STASH__SLOT_FILE_MAX + 16];
	uint64_t start = 0;

	snprintf(file, sizeof file, "%s/%s.out", STASH__SLOT_DIR, name);
	if (!peek(d, file, &page, sizeof page) || page.owner_pid == 0)
		return 0;
	if (stash__start_time((pid_t)page.owner_pid, &start) < 0 || start != page.owner_start)
		return 0;
	return (pid_t)page.owner_pid;
}

static pid_t
stash_pid(const struct t_stashd *d)
{
	struct stash__status_page page;

	return peek(d, STASH__STATUS_NAME, &page, sizeof page) ? (pid_t)page.pid : 0;
}

/* The keeper's child with that title. */
static pid_t
supervisor_pid(const struct t_stashd *d)
{
	pid_t children[4096];
	int n = t_children(d->proc.pid, children, 4096);

	for (int i = 0; i < n && i < 4096; i++) {
		char path[64], title[128] = "";
		int fd;
		snprintf(path, sizeof path, "/proc/%d/cmdline", (int)children[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, title, sizeof title - 1) > 0 && strstr(title, "supervisor") != NULL) {
			close(fd);
			return children[i];
		}
		close(fd);
	}
	return 0;
}

pid_t
t_pid(const struct t_stashd *d, enum t_who who, const char *name)
{
	switch (who) {
	case T_WORKER:
		return worker_pid(d, name);
	case T_STASH:
		return stash_pid(d);
	case T_SUPERVISOR:
		return supervisor_pid(d);
	default:
		return d->proc.pid;
	}
}

bool
t_murder(const struct t_stashd *d, enum t_who who, const char *name)
{
	pid_t pid = t_pid(d, who, name);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	bool sent = false;

	/* Asked again with the pidfd in hand: then it cannot be a stranger with the same number. */
	if (pidfd >= 0 && t_pid(d, who, name) == pid)
		sent = pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0;
	if (pidfd >= 0)
		close(pidfd);
	return sent;
}

void
t_murder_all(struct t_stashd *d)
{
	t_kill_all();
	close(d->proc.pidfd);
	memset(&d->proc, 0, sizeof d->proc);
}

unsigned long
t_memory(pid_t pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f) != NULL && sscanf(line, "Anonymous: %lu", &kib) != 1)
		;
	fclose(f);
	return kib;
}

void
t_murder_stashd(struct t_stashd *d)
{
	/* Each would start the next one of those behind it. */
	pid_t rest[2] = { t_pid(d, T_SUPERVISOR, NULL), t_pid(d, T_STASH, NULL) };

	ck_assert(rest[0] > 0 && rest[1] > 0);
	t_kill(&d->proc, SIGKILL);
	(void)t_wait(&d->proc, 10000);
	for (int i = 0; i < 2; i++) { /* the test's children by now */
		ck_assert_int_eq(kill(rest[i], SIGKILL), 0);
		ck_assert_int_eq(waitpid(rest[i], NULL, 0), rest[i]);
	}
	memset(&d->proc, 0, sizeof d->proc);
}

struct stash_client *
t_client(const struct t_stashd *d)
{
	struct stash_client *c = NULL;
	int result = stash_client_open(&c, t_store(d), NULL);

	ck_assert_msg(result == STASH_OK, "open: %s", stash_errmsg());
	return c;
}

void
t_expect_call(struct stash_client *c, const char *name, const char *tag, const char *data, const char *text)
{
	struct stash_reply reply;
	int result = stash_call(c, name, tag, data, data != NULL ? strlen(data) : 0, &reply, 30000);

	ck_assert_msg(result == STASH_OK, "%s %s: %s: %s", name, tag, stash_errname(result), stash_errmsg());
	ck_assert_str_eq(reply.data, text);
	stash_reply_free(&reply);
}

void
t_expect_error(struct stash_client *c, const char *name, const char *tag, const char *data, int error)
{
	struct stash_reply reply;
	int result = stash_call(c, name, tag, data, data != NULL ? strlen(data) : 0, &reply, 30000);

	ck_assert_msg(result == error, "%s %s: %s (%s) instead of %s", name, tag, stash_errname(result), stash_errmsg(),
	    stash_errname(error));
	ck_assert_int_eq(reply.error, error);
	stash_reply_free(&reply);
}

/* ---- numbers ---- */

struct t_numbers *
t_numbers_make(void)
{
	struct t_numbers *n = mmap(
	    NULL, sizeof *n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(n, MAP_FAILED);
	n->first = UINT64_MAX;
	return n;
}

void
t_numbers_free(struct t_numbers *n)
{
	munmap(n, sizeof *n);
}

void
t_numbers_add(struct t_numbers *n, int64_t number)
{
	uint64_t i = (uint64_t)number, now;

	if (i >= sizeof n->seen || atomic_fetch_add(&n->seen[i], 1) != 0)
		atomic_fetch_add(&n->twice, 1);
	for (now = n->first; i < now && !atomic_compare_exchange_weak(&n->first, &now, i);)
		;
	for (now = n->last; i > now && !atomic_compare_exchange_weak(&n->last, &now, i);)
		;
	atomic_fetch_add(&n->count, 1);
}

void
t_numbers_check(const struct t_numbers *n, const char *what)
{
	uint64_t missing = 0, first = n->first, last = n->last;

	for (uint64_t i = first; i <= last && i < sizeof n->seen; i++)
		missing += n->seen[i] == 0;
	printf("%s: %llu numbers, %llu twice, %llu missing, %llu errors, longest call %llu us\n", what,
	    (unsigned long long)n->count, (unsigned long long)n->twice, (unsigned long long)missing,
	    (unsigned long long)n->errors, (unsigned long long)n->longest_ns / 1000);
	fflush(stdout);
	ck_assert_msg(n->errors == 0, "%s: %llu errors, the last: %s: %s", what, (unsigned long long)n->errors,
	    stash_errname(n->last_error), n->message);
	ck_assert_uint_gt(n->count, 0);
	ck_assert_uint_eq(n->twice, 0);
	ck_assert_uint_eq(missing, 0);
	ck_assert_uint_eq(n->count, last - first + 1);
}
