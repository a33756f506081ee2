/* SPDX-License-Identifier: ISC */
/*
 * The stashd of a scenario: started with what is declared, asked to stop, and buried when it has ended. Where the
 * config file has no words for what is declared, the replayer runs itself with --host in its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/sock.h"
#include "replay/jobs.h"
#include "replay/real.h"
#include "shm/wire.h"

/* How long stashd may take to say that there is another one. */
#define SECOND_MS 60000
#define STOP_MS 10000
#define FAILED "the tree couldn't be started: "

/* ---- starting ---- */

static _Noreturn void
become(struct real *r, int hook)
{
	char log[PATH_MAX], conf[PATH_MAX], fd[16];
	int out;

	snprintf(log, sizeof(log), "%s/log", r->dir);
	snprintf(conf, sizeof(conf), "%s/conf", r->dir);
	snprintf(fd, sizeof(fd), "%d", hook);
	out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(EX_OSERR);
	if (hook >= 0)
		execl("/proc/self/exe", "otp-replay", "--host", r->store, fd, (char *)NULL);
	else
		execl(jobs_stashd, "stashd", "-d", r->store, "-f", conf, (char *)NULL);
	_exit(EX_OSERR);
}

static pid_t
spawn(struct real *r, int hook)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(r, hook);
	if (pid < 0)
		real_complain(r, "fork: %s", strerror(errno));
	return pid;
}

/* ---- what supervisors' inits are ---- */

/* The newest declaration of the path: an outcome, then the specification. */
static int
answer_init(struct real *r, int sock, const char *path)
{
	static const char *const outcomes[] = {
		[SUP_INIT_OK] = "ok", [SUP_INIT_ERROR] = "error", [SUP_INIT_IGNORE] = "ignore"
	};
	struct stash_buf *buf = stash_buf_create();
	struct sup_spec *spec;
	const char *outcome;
	const void *data;
	size_t len;
	int which = SUP_INIT_OK, result;

	pthread_mutex_lock(&r->lock);
	spec = real_sup_spec(r, path);
	outcome = path_next_init(&r->w, world_path(&r->w, path));
	while (which < SUP_INIT_IGNORE && strcmp(outcomes[which], outcome) != 0)
		which++;
	pthread_mutex_unlock(&r->lock);
	if (buf == NULL || spec == NULL)
		abort();
	stash_buf_add_int(buf, which);
	(void)sup_spec_pack_tree(spec, buf);
	result = stash_buf_data(buf, &data, &len);
	if (result == 0)
		result = stash__sock_send(sock, data, len, NULL, 0);
	sup_spec_unref(spec);
	stash_buf_destroy(buf);
	return result;
}

struct hook {
	struct real *r;
	int sock;
};

/* Supervisors' inits are asked for while this program waits for something else. */
static void *
serve_hook(void *arg)
{
	struct hook *hook = arg;
	char path[STASH_PATH_MAX + 1];
	ssize_t n;

	while ((n = recv(hook->sock, path, sizeof(path) - 1, 0)) > 0) {
		path[n] = '\0';
		if (answer_init(hook->r, hook->sock, path) < 0)
			break;
	}
	close(hook->sock);
	free(hook);
	return NULL;
}

static int
on_done(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	(void)arg;
	(void)type;
	(void)fds;
	(void)nfds;
	return (int)stash_view_int(v);
}

static int
open_hook(struct real *r)
{
	struct hook *hook = world_alloc(sizeof(*hook));
	pthread_t thread;
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		abort();
	hook->r = r;
	hook->sock = sockets[0];
	if (pthread_create(&thread, NULL, serve_hook, hook) != 0 || pthread_detach(thread) != 0 ||
	    fcntl(sockets[1], F_SETFD, 0) < 0)
		abort();
	return sockets[1];
}

/* ---- start, as a step ---- */

void
real_root_stop(struct real *r)
{
	if (!real_connect(r)) {
		real_answer(r, NULL, real_time_ns(), "error noproc");
		return;
	}
	/* Asking a second time would mean: at once. */
	if (!r->stopping && stash__client_request(r->client, STASH__B_STOP, NULL, STOP_MS, on_done, NULL) < 0)
		real_complain(r, "stashd can't be asked to stop: %s", stash_errmsg());
	r->stopping = true;
}

/* There is one already: what a second stashd says to that. */
static void
start_second(struct real *r, const struct item *it)
{
	pid_t pid = spawn(r, -1);
	int status = 0;

	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EX_TEMPFAIL)
		real_answer(r, real_tag(it), real_time_ns(), "error already_started");
	else
		real_complain(r, "a second stashd ends with status %d", status);
}

void
real_root_start(struct real *r, const struct item *it)
{
	char conf[PATH_MAX];
	int hook = -1;

	snprintf(conf, sizeof(conf), "%s/conf", r->dir);
	if (r->pid != 0) {
		start_second(r, it);
		return;
	}
	if (r->hosted)
		hook = open_hook(r);
	else if (real_write_config(r, conf) < 0)
		real_complain(r, "%s: %s", conf, strerror(errno));
	r->pid = spawn(r, hook);
	if (hook >= 0)
		close(hook);
	if (r->pid <= 0) {
		r->pid = 0;
		return;
	}
	r->pidfd = pidfd_open(r->pid, 0);
	r->stopping = false;
	r->starting = it;
	r->failed[0] = '\0';
	r->starts++;
}

/* ---- the end ---- */

/* OTP's term for a start that failed is at the end of what stashd says last. */
static void
read_failure(struct real *r)
{
	char log[PATH_MAX], line[2000], *at;
	FILE *f;

	snprintf(log, sizeof(log), "%s/log", r->dir);
	if ((f = fopen(log, "r")) == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if ((at = strstr(line, FAILED)) != NULL)
			snprintf(r->failed, sizeof(r->failed), "error %s", at + strlen(FAILED));
	}
	fclose(f);
}

static void
on_end(struct real *r, int status)
{
	close(r->pidfd);
	r->pid = 0;
	r->moved = true;
	real_disconnect(r);
	real_log_read(r);
	if (r->starting != NULL && r->failed[0] == '\0')
		read_failure(r);
	if (r->starting != NULL && r->failed[0] == '\0')
		real_complain(r, "stashd couldn't be started, status %d", status);
	else if (r->starting != NULL)
		real_answer(r, real_tag(r->starting), real_time_ns(), r->failed);
	else if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != EX_SOFTWARE))
		real_complain(r, "stashd has ended with status %d", status);
	r->starting = NULL;
	real_posts_over(r);
}

void
real_root_look(struct real *r)
{
	int status = 0;

	if (r->pid != 0 && waitpid(r->pid, &status, WNOHANG) == r->pid)
		on_end(r, status);
}

/* All that is left of it, at the end of the scenario: this process is the reaper of what it has started. */
void
real_root_kill(struct real *r)
{
	char path[64], text[16384], *at, *end;
	FILE *f;
	size_t n;
	long pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	for (;;) {
		f = fopen(path, "r");
		n = f == NULL ? 0 : fread(text, 1, sizeof(text) - 1, f);
		if (f != NULL)
			fclose(f);
		text[n] = '\0';
		for (at = text; (pid = strtol(at, &end, 10)) > 0; at = end)
			(void)kill((pid_t)pid, SIGKILL);
		if (waitpid(-1, NULL, 0) < 0)
			break;
	}
	if (r->pid != 0)
		close(r->pidfd);
	r->pid = 0;
}
