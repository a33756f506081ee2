/* SPDX-License-Identifier: ISC */
/*
 * A worker of otp-replay: it asks the program at the other end of a socket how to start and how to stop, and ends by
 * itself when it is told to. It decides nothing, and dies when nobody is there any more.
 *
 * args: the socket's path, its own path (of a template: the supervisor's), an instance's label
 * it says: "init PATH TIME", and gets "ok", "ok untrapped", "ignore", "error", sooner or later
 *          "stop TIME", and gets "end", "crash", "slow MS", sooner or later
 * in between, and while it stops, it may get "exit normal", "exit shutdown", "exit abnormal"
 */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <stash/stash.h>

static int sock = -1, mail[2];
static atomic_bool stopping, leaving;
static struct stash_worker *self;

static void
say(const char *what, const char *path)
{
	struct timespec now;
	char line[800];

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(line, sizeof(line), "%s%s%s %" PRId64, what, path[0] != '\0' ? " " : "", path,
	    (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
	if (send(sock, line, strlen(line), MSG_NOSIGNAL) < 0)
		_exit(99);
}

static void
hear(char line[80])
{
	ssize_t n = recv(sock, line, 79, 0);

	if (n <= 0)
		_exit(99);
	line[n] = '\0';
}

/* What is said while it runs becomes a message of the worker's own, as from any thread. */
static void *
listener(void *arg)
{
	char line[80];

	(void)arg;
	for (;;) {
		hear(line);
		if (!atomic_load(&stopping))
			(void)stash_post(self, "told", line, strlen(line));
		else if (write(mail[1], line, sizeof(line)) != (ssize_t)sizeof(line))
			_exit(99);
	}
	return NULL;
}

static int
begin(bool untrapped)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	pthread_t thread;

	if (untrapped)
		sigaction(SIGTERM, &dfl, NULL);
	return pipe(mail) == 0 && pthread_create(&thread, NULL, listener, NULL) == 0 ? STASH_OK : STASH_E_SYSTEM;
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[700], line[80];

	(void)state;
	if (in->argc < 3)
		return stash_fail(w, "too few arguments");
	self = w;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", in->argv[1]);
	snprintf(path, sizeof(path), "%s%s%s", in->argv[2], in->argc > 3 ? "/" : "", in->argc > 3 ? in->argv[3] : "");
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return stash_fail(w, "%s: nobody is there", in->argv[1]);
	say("init", path);
	hear(line);
	if (strcmp(line, "ignore") == 0)
		return STASH_IGNORE;
	if (strncmp(line, "ok", 2) != 0)
		return stash_fail(w, "told to fail");
	return begin(strcmp(line, "ok untrapped") == 0);
}

static int
handle_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	const char *how = stash_msg_text(msg);

	(void)state;
	atomic_store(&leaving, true);
	if (how != NULL && strcmp(how, "exit normal") == 0)
		return STASH_STOP;
	if (how != NULL && strcmp(how, "exit shutdown") == 0)
		return STASH_STOP_SHUTDOWN;
	return stash_fail(w, "told to end with a failure");
}

/* Asked to stop: until told how, it goes on. */
static void
terminate(struct stash_worker *w, void *state, enum stash_reason reason)
{
	char line[80];

	(void)w;
	(void)state;
	(void)reason;
	if (atomic_load(&leaving))
		return;
	atomic_store(&stopping, true);
	say("stop", "");
	while (read(mail[0], line, sizeof(line)) == (ssize_t)sizeof(line)) {
		if (strcmp(line, "end") == 0)
			return;
		if (strcmp(line, "crash") == 0 || strcmp(line, "exit abnormal") == 0)
			_exit(3);
		if (strcmp(line, "exit normal") == 0)
			_exit(0);
		if (strcmp(line, "exit shutdown") == 0)
			_exit(STASH_EXIT_SHUTDOWN);
		if (strncmp(line, "slow ", 5) == 0) {
			(void)poll(NULL, 0, atoi(line + 5));
			return;
		}
	}
	_exit(99);
}

static const struct stash_behaviour worker = STASH_BEHAVIOUR(.name = "replay_worker", .layout_version = 1, .init = init,
    .handle_info = handle_info, .terminate = terminate);
STASH_MODULE(&worker);
