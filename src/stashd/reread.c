/* SPDX-License-Identifier: ISC */
/*
 * reread.c: the config is read in a process of its own: it may be wrong, large or on a disk that hangs, and its modules
 * are foreign code.  What comes back, in a memory file, is a tree that is checked again here, or what is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/title.h"
#include "stashd/reload.h"
#include "stashd/server.h"

#define SECONDS_MAX 60

struct reread {
	struct server *server;
	pid_t pid;
	int pidfd, file;
	bool is_late;
	struct spawn_bank bank;
	struct event dead, late;
	reread_fn *done;
	void *arg;
};

/* ---- in the process ---- */

struct job {
	const struct stash__supervise_config *config; /* that runs */
	const struct plan_table *plans;
	const sigset_t *mask;
};

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The keys of store that differ. */
static void
find_later(FILE *out, const struct stash__supervise_config *now, const struct stash__supervise_config *then)
{
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{ "ack", now->ack == then->ack },
		{ "allow_groups", access_same(&now->access.groups, &then->access.groups) },
		{ "allow_users", access_same(&now->access.users, &then->access.users) },
		{ "commit_interval", now->commit_interval_ns == then->commit_interval_ns },
		{ "fold_interval", now->fold_interval_ns == then->fold_interval_ns },
		{ "history", now->history == then->history },
		{ "read_only_users", access_same(&now->access.readers, &then->access.readers) },
		{ "run_dir", same_text(now->run_dir, then->run_dir) },
		{ "size", now->store_bytes == then->store_bytes },
		{ "spin", now->spin_ns == then->spin_ns },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!keys[i].same)
			fprintf(out, "store.%s\n", keys[i].key);
	}
}

/* Children that don't say have what the running stashd has for them. */
static int
read_tree(const struct job *j, struct stash__reread *r, struct sup_spec **tree)
{
	struct plan_table table = { .named = j->plans->named, .ack = j->plans->ack, .history = j->plans->history };
	int result = j->config->reread(j->config->reread_arg, r);

	return result < 0 ? result : supervise_make_tree(r->tree, &table, tree);
}

static int
write_all(int fd, const struct stash_buf *buf)
{
	const unsigned char *data;
	const void *start;
	size_t left;
	ssize_t n;

	if (stash_buf_data(buf, &start, &left) < 0)
		return -1;
	for (data = start; left > 0; data += n, left -= (size_t)n) {
		n = write(fd, data, left);
		if (n < 0 && errno != EINTR)
			return -1;
		n = n < 0 ? 0 : n;
	}
	return 0;
}

static void
report(const struct job *j, int file)
{
	struct stash__reread r = { 0 };
	struct sup_spec *tree = NULL;
	int result = read_tree(j, &r, &tree);
	struct stash_buf buf;
	char *later = NULL;
	size_t len;
	FILE *out = open_memstream(&later, &len);

	if (out == NULL)
		return;
	if (result == 0)
		find_later(out, j->config, r.config);
	(void)fclose(out);
	stash__buf_init(&buf, STASH__BUF_MAX);
	stash_buf_add_int(&buf, result);
	stash_buf_add_text(&buf, result == 0 ? "" : r.mistakes != NULL ? r.mistakes : stash_errmsg());
	stash_buf_add_text(&buf, later != NULL ? later : "");
	if (result == 0)
		(void)sup_spec_pack_tree(tree, &buf);
	(void)write_all(file, &buf);
}

static void
run(void *arg, int file, int null)
{
	const struct job *j = arg;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setpgid(0, 0);
	(void)sigprocmask(SIG_SETMASK, j->mask, NULL);
	stash__log_sink(NULL, NULL);
	stash__log_hasty(false);
	stash__title("stashd: config");
	if (dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
		_exit(EX_OSERR);
	report(j, file);
	_exit(0);
}

/* ---- here ---- */

static void
reread_free(struct reread *r)
{
	siginfo_t info;

	event_del(&r->dead);
	event_del(&r->late);
	spawn_release(&r->bank);
	/* Dead, or killed by now. */
	(void)waitid(P_PIDFD, (id_t)r->pidfd, &info, WEXITED);
	close(r->pidfd);
	close(r->file);
	free(r);
}

static int
parse(const void *data, size_t len, struct reread_result *result)
{
	struct stash_view view;

	stash_view_init(&view, data, len);
	result->error = (int)stash__view_range(&view, INT32_MIN, 0);
	result->text = stash_view_text(&view);
	result->later = stash_view_text(&view);
	if (view.error == 0 && result->error == 0)
		result->error = sup_spec_unpack_tree(&view, &result->tree);
	return stash_view_end(&view) < 0 ? STASH_E_CORRUPT : 0;
}

static void
tell(struct reread *r)
{
	struct reread_result result = { .text = "", .later = "" };
	struct stat st = { 0 };
	void *data = MAP_FAILED;

	if (fstat(r->file, &st) == 0 && st.st_size > 0)
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, r->file, 0);
	if (data == MAP_FAILED || parse(data, (size_t)st.st_size, &result) < 0) {
		sup_spec_unref(result.tree);
		result = (struct reread_result){ .error = r->is_late ? STASH_E_TIMEDOUT : STASH_E_SYSTEM, .later = "" };
		result.text = r->is_late ? "the config couldn't be read within a minute" :
					   "the process that reads the config has died";
	}
	r->done(r->arg, &result);
	sup_spec_unref(result.tree);
	if (data != MAP_FAILED)
		munmap(data, (size_t)st.st_size);
}

static void
on_dead(evutil_socket_t fd, short what, void *arg)
{
	struct reread *r = arg;

	(void)fd;
	(void)what;
	tell(r);
	reread_free(r);
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct reread *r = arg;

	(void)fd;
	(void)what;
	r->is_late = true;
	(void)pidfd_send_signal(r->pidfd, SIGKILL, NULL, 0);
}

static int
make(struct reread *r, struct job *j)
{
	int copy, null, result;

	r->file = memfd_create("stash config", MFD_CLOEXEC);
	copy = r->file < 0 ? -1 : fcntl(r->file, F_DUPFD_CLOEXEC, 3);
	null = copy < 0 ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
	result = null < 0 ? stash__fail_errno("the config can't be read again") :
			    spawn_make(run, j, copy, null, false, &r->bank, &r->pid, &r->pidfd);
	if (null < 0 && copy >= 0)
		close(copy);
	if (result < 0 && r->file >= 0)
		close(r->file);
	return result;
}

struct reread *
reread_begin(struct server *s, reread_fn *done, void *arg)
{
	struct job j = { s->config, s->plans, &s->child_mask };
	struct reread *r = calloc(1, sizeof(*r));
	struct timeval limit = { .tv_sec = SECONDS_MAX };

	if (r == NULL || make(r, &j) < 0) {
		if (r == NULL)
			(void)stash__fail(STASH_E_NOMEM, "no memory to read the config");
		free(r);
		return NULL;
	}
	r->server = s;
	r->done = done;
	r->arg = arg;
	event_assign(&r->dead, s->events, r->pidfd, EV_READ, on_dead, r);
	evtimer_assign(&r->late, s->events, on_late, r);
	server_await(&r->dead, NULL);
	server_await(&r->late, &limit);
	return r;
}

void
reread_cancel(struct reread *r)
{
	(void)pidfd_send_signal(r->pidfd, SIGKILL, NULL, 0);
	reread_free(r);
}
