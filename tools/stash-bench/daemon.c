/* SPDX-License-Identifier: ISC */
/*
 * A stashd of one's own, on directories that nobody else knows: made, started,
 * waited for, stopped, removed. If it doesn't stop, or leaves a process, that
 * is an error and everything that is left is killed.
 */
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "base/error.h"
#include "stash-bench/bench.h"

/* Until a tree is up, or has stopped, on a slow machine. */
#define UP_NS (20 * STASH__NS_PER_S)
#define UP_EACH_NS (20 * STASH__NS_PER_MS)
#define LOOK_NS (STASH__NS_PER_MS / 2)
#define MEMORY "/dev/shm"

/* ---- directories ---- */

int
bench_temporary(const char *dir, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/stash-bench.XXXXXX", dir) >= PATH_MAX) {
		*path = '\0';
		return stash__fail(STASH_E_TOOBIG, "%.200s...: the path is too long", dir);
	}
	if (mkdtemp(path) != NULL)
		return 0;
	*path = '\0';
	return stash__fail_errno("%s: no directory can be made there", dir);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

void
bench_remove(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *
in_dir(const struct bench_daemon *daemon, const char *name, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", daemon->dir, name) >= PATH_MAX)
		*path = '\0'; /* no file can be opened there: that is told */
	return path;
}

const char *
bench_daemon_store(const struct bench_daemon *daemon, char path[PATH_MAX])
{
	return in_dir(daemon, "store", path);
}

/* ---- the config ---- */

static void
put_text(FILE *f, const char *text)
{
	putc('"', f);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', f);
		putc(*text, f);
	}
	putc('"', f);
}

static void
put_worker(FILE *f, const struct bench_setup *setup, const struct bench_tree *tree, const char *id)
{
	fprintf(f, "  { id = \"%s\"; ", id);
	if (tree->state == BENCH_STATE) {
		fputs("module = ", f);
		put_text(f, setup->module);
	} else {
		fputs("exec = (", f);
		put_text(f, setup->self);
		fputs(", \"worker\", ", f);
		put_text(f, setup->module);
		fprintf(f, ", \"%llu\")", (unsigned long long)tree->state);
	}
	fputs("; }", f);
}

static int
write_config(const struct bench_setup *setup, const struct bench_tree *tree, const struct bench_daemon *daemon)
{
	char path[PATH_MAX], id[32];
	FILE *f = fopen(in_dir(daemon, "stashd.conf", path), "we");

	if (f == NULL)
		return stash__fail_errno("%s", path);
	fprintf(f, "store = { ack = \"%s\"; size = \"4G\"; ", tree->ack_disk ? "disk" : "crash");
	if (tree->spin_ns == 0)
		fputs("spin = 0; ", f);
	else if (tree->spin_ns > 0)
		fprintf(f, "spin = \"%lldns\"; ", (long long)tree->spin_ns);
	fputs("};\ntree = { strategy = \"one_for_one\"; intensity = 1000000; period = 1; children = (\n", f);
	if (!tree->empty)
		put_worker(f, setup, tree, BENCH_NAME);
	for (unsigned i = 0; i < tree->others; i++) {
		snprintf(id, sizeof id, "w%u", i);
		fputs(i > 0 || !tree->empty ? ",\n" : "", f);
		put_worker(f, setup, tree, id);
	}
	fputs("\n); };\n", f);
	return fclose(f) == 0 ? 0 : stash__fail_errno("%s", path);
}

/* ---- start ---- */

static void
become_stashd(const struct bench_setup *setup, const struct bench_daemon *daemon)
{
	char store[PATH_MAX], conf[PATH_MAX], log[PATH_MAX];
	const char *const argv[] = { setup->stashd, "-d", bench_daemon_store(daemon, store), "-f",
		in_dir(daemon, "stashd.conf", conf), NULL };
	int fd = open(in_dir(daemon, "log", log), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
	    dup2(fd, STDERR_FILENO) < 0)
		_exit(127);
	/* If this program dies, the tree is stopped in order. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (setenv("RUNTIME_DIRECTORY", daemon->run, 1) != 0 || unsetenv("STASH_DIR") != 0)
		_exit(127);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* Its last words, since a temporary directory keeps none. */
static int
dead(const struct bench_daemon *daemon)
{
	char path[PATH_MAX], text[600] = "", *line;
	FILE *f = fopen(in_dir(daemon, "log", path), "re");
	size_t n = 0;

	if (f != NULL) {
		if (fseek(f, -(long)(sizeof text - 1), SEEK_END) != 0)
			rewind(f);
		n = fread(text, 1, sizeof text - 1, f);
		fclose(f);
	}
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	line = n == sizeof text - 1 ? strchr(text, '\n') : NULL; /* without the one that was cut */
	return stash__fail(STASH_E_DOWN, "stashd has ended; its last words: %s", line != NULL ? line + 1 : text);
}

static int
first_child(void *arg, const struct stash_process *process)
{
	(void)arg;
	(void)process;
	return 1;
}

/* A request is answered when the start is over. */
static int
is_up(const struct bench_daemon *daemon)
{
	struct stash_client *client;
	int code = bench_client(daemon, &client);

	if (code != 0)
		return code;
	code = stash_which_children(client, "root", first_child, NULL, (int)(daemon->patience_ns / STASH__NS_PER_MS));
	stash_client_close(client);
	return code;
}

static int
wait_until_up(struct bench_daemon *daemon, int64_t start)
{
	int code;

	for (;;) {
		code = is_up(daemon);
		daemon->start_ns = stash__now_ns() - start;
		if (code >= 0)
			return 0;
		if (bench_await_end(daemon->pidfd, 0))
			return dead(daemon);
		if (daemon->start_ns > daemon->patience_ns || bench_interrupted())
			return stash__fail(STASH_E_TIMEDOUT, "stashd's tree doesn't come up");
		bench_sleep_ns(LOOK_NS);
	}
}

int
bench_daemon_again(const struct bench_setup *setup, struct bench_daemon *daemon)
{
	int64_t start = stash__now_ns();

	daemon->pid = fork();
	if (daemon->pid == 0)
		become_stashd(setup, daemon);
	if (daemon->pid < 0) {
		daemon->pid = 0;
		return stash__fail_errno("cannot fork");
	}
	daemon->pidfd = pidfd_open(daemon->pid, 0);
	if (daemon->pidfd < 0)
		return stash__fail_errno("cannot open a pidfd");
	return wait_until_up(daemon, start);
}

int
bench_daemon_start(const struct bench_setup *setup, const struct bench_tree *tree, struct bench_daemon *daemon)
{
	char store[PATH_MAX];
	int error;

	*daemon = (struct bench_daemon){ .pidfd = -1, .patience_ns = UP_NS + tree->others * UP_EACH_NS };
	error = bench_temporary(setup->dir, daemon->dir);
	if (error == 0)
		error = bench_temporary(MEMORY, daemon->run);
	if (error == 0)
		error = write_config(setup, tree, daemon);
	if (error == 0 && access(bench_daemon_store(daemon, store), F_OK) == 0)
		error = stash__fail(STASH_E_EXIST, "%s: is there already", store);
	if (error == 0)
		error = bench_daemon_again(setup, daemon);
	return error != 0 ? bench_daemon_end(daemon, error) : 0;
}

/* ---- stop ---- */

int
bench_daemon_halt(struct bench_daemon *daemon)
{
	int status = 0, error = 0;

	if (daemon->pid > 0) {
		if (daemon->pidfd >= 0)
			(void)pidfd_send_signal(daemon->pidfd, SIGTERM, NULL, 0);
		if (daemon->pidfd < 0 || !bench_await_end(daemon->pidfd, daemon->patience_ns))
			error = stash__fail(STASH_E_TIMEDOUT, "stashd doesn't stop");
		else if (waitpid(daemon->pid, &status, 0) != daemon->pid || status != 0)
			error = dead(daemon);
		if (daemon->pidfd >= 0)
			close(daemon->pidfd);
		daemon->pid = 0;
		daemon->pidfd = -1;
	}
	if (bench_reap_all() > 0 && error == 0)
		error = stash__fail(STASH_E_SYSTEM, "stashd has ended and left processes behind");
	return error;
}

int
bench_daemon_end(struct bench_daemon *daemon, int error)
{
	char words[STASH__ERRMSG_MAX];
	int halted;

	/* The first error's words are the ones to tell. */
	snprintf(words, sizeof words, "%s", stash_errmsg());
	halted = bench_daemon_halt(daemon);
	if (*daemon->dir != '\0')
		bench_remove(daemon->dir);
	if (*daemon->run != '\0')
		bench_remove(daemon->run);
	return error != 0 ? stash__fail(error, "%s", words) : halted;
}

/* ---- talking to it ---- */

int
bench_client(const struct bench_daemon *daemon, struct stash_client **client)
{
	char store[PATH_MAX];
	struct stash_client_options options = { .size = sizeof options, .label = "stash-bench" };

	return stash_client_open(client, bench_daemon_store(daemon, store), &options);
}

int
bench_ask(struct stash_client *client, const char *name, const char *tag, uint64_t *number)
{
	struct stash_reply reply;
	int code = stash_call(client, name, tag, NULL, 0, &reply, STASH_TIMEOUT);

	*number = 0;
	if (code == 0 && reply.len != sizeof *number)
		code = stash__fail(STASH_E_PROTO, "%s replied %zu bytes to %s, not a number", name, reply.len, tag);
	else if (code == 0)
		memcpy(number, reply.data, sizeof *number);
	stash_reply_free(&reply);
	return code;
}

int
bench_ask_once(const struct bench_daemon *daemon, const char *name, const char *tag, uint64_t *number)
{
	struct stash_client *client;
	int code = bench_client(daemon, &client);

	if (code == 0) {
		code = bench_ask(client, name, tag, number);
		stash_client_close(client);
	}
	return code;
}
