/* SPDX-License-Identifier: ISC */
/*
 * client.c: a client's handle: open, close, and the descriptor by which others wait for it.
 */
#include "client/client.h"

#include <bsd/stdlib.h>
#include <bsd/string.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/info.h"
#include "base/role.h"
#include "base/take.h"
#include "shm/bell.h"
#include "shm/wire.h"

#define WAIT_MS 5000
#define RING_MAX_BYTES (2 * STASH__RING_MAX)

static int connect_late(struct stash_client *);

int
stash__client_check(const struct stash_client *c, const char *function)
{
	int result = STASH_OK;

	if (c == NULL)
		return stash__fail(STASH_E_INVAL, "%s() without a client", function);
	if (*c->alive == 0)
		return stash__fail(STASH_E_FORKED,
		    "%s(): the client was opened before fork, in the parent: open another one", function);
	if (c->hooks != NULL)
		result = c->hooks->may_call(c->hooks_arg, function, NULL);
	if (result == STASH_OK && c->hooks != NULL && c->wire == NULL)
		result = connect_late((struct stash_client *)(uintptr_t)c);
	return result;
}

/* A page that a child finds wiped: cheaper to ask than getpid(). */
static const unsigned char *
make_alive(void)
{
	unsigned char *page = mmap(NULL, STASH__PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || madvise(page, STASH__PAGE, MADV_WIPEONFORK) < 0) {
		(void)stash__fail_errno("cannot make a page that fork wipes");
		if (page != MAP_FAILED)
			munmap(page, STASH__PAGE);
		return NULL;
	}
	*page = 1;
	return page;
}

static int
take_options(struct stash_client *c, const struct stash_client_options *options)
{
	struct stash_client_options o;
	int result = stash__take(&o, sizeof o, options, "struct stash_client_options");

	if (result < 0)
		return result;
	if (o.ring_bytes > RING_MAX_BYTES || o.wait_ms < 0)
		return stash__fail(STASH_E_INVAL, "ring_bytes is at most %u, wait_ms not negative", RING_MAX_BYTES);
	if (o.label != c->label)
		strlcpy(c->label, o.label != NULL ? o.label : getprogname(), sizeof c->label);
	c->ring_bytes = o.ring_bytes / 2;
	c->wait_ns = (o.wait_ms == 0 ? WAIT_MS : o.wait_ms) * STASH__NS_PER_MS;
	return STASH_OK;
}

static int
prepare(struct stash_client *c, const struct stash_client_options *options)
{
	int result = take_options(c, options);

	if (result < 0)
		return result;
	if (c->alive == NULL)
		c->alive = make_alive();
	c->wire = malloc(STASH__WIRE_MAX);
	if (c->alive == NULL || c->wire == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a client");
	if (c->bell < 0)
		c->bell = stash__bell_make();
	return c->bell < 0 ? c->bell : STASH_OK;
}

static struct stash_client *
create(void)
{
	struct stash_client *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->sock = c->bell = c->epoll = c->timer = c->lines = -1;
	c->next_ref = c->next_request = 1;
	TAILQ_INIT(&c->askeds);
	TAILQ_INIT(&c->routes);
	TAILQ_INIT(&c->finished);
	TAILQ_INIT(&c->spare);
	return c;
}

/* What stash_client_open() does at once. */
static int
connect_late(struct stash_client *c)
{
	struct stash_client_options options = { .size = sizeof options, .label = c->label };
	int result = prepare(c, &options);

	if (result == STASH_OK)
		result = stash__link_open(c, stash__now_ns() + c->wait_ns);
	/* The next use tries anew, whatever this stashd has said or not said. */
	if (result < 0) {
		stash__link_close(c);
		free(c->wire);
		c->wire = NULL;
	}
	return result;
}

struct stash_client *
stash__client_of_worker(const char *dir, const char *label, const struct stash__client_hooks *hooks, void *arg)
{
	struct stash_client *c = create();

	if (c == NULL || (c->dir = strdup(dir)) == NULL || (c->alive = make_alive()) == NULL) {
		stash_client_close(c);
		(void)stash__fail(STASH_E_NOMEM, "no memory for a worker's client");
		return NULL;
	}
	strlcpy(c->label, label, sizeof c->label);
	c->hooks = hooks;
	c->hooks_arg = arg;
	return c;
}

int
stash_client_open(struct stash_client **result, const char *dir, const struct stash_client_options *options)
{
	struct stash_client *c;
	int error;

	if (result == NULL)
		return stash__fail(STASH_E_INVAL, "stash_client_open() has nowhere to put the client");
	*result = NULL;
	if (stash__role() == STASH__ROLE_WORKER)
		return stash__fail(
		    STASH_E_INVAL, "a worker doesn't open clients: it would wait for others inside a transition");
	if (dir == NULL && ((dir = getenv("STASH_DIR")) == NULL || *dir == '\0'))
		dir = "/var/lib/stash";
	c = create();
	if (c == NULL || (c->dir = strdup(dir)) == NULL) {
		free(c);
		return stash__fail(STASH_E_NOMEM, "no memory for a client");
	}
	error = prepare(c, options);
	if (error == STASH_OK)
		error = stash__link_open(c, stash__now_ns() + c->wait_ns);
	if (error < 0) {
		stash_client_close(c);
		return error;
	}
	*result = c;
	return STASH_OK;
}

void
stash_client_close(struct stash_client *c)
{
	bool ours;

	if (c == NULL)
		return;
	ours = c->alive != NULL && *c->alive != 0;
	stash__call_free_all(c);
	if (ours) {
		stash__route_free_all(c);
		stash__link_close(c);
		stash__copy_free(&c->copy);
	}
	for (int *fd = (int[]){ c->bell, c->epoll, c->timer, c->lines, -2 }; *fd != -2; fd++)
		if (ours && *fd >= 0)
			close(*fd);
	if (c->alive != NULL)
		munmap((void *)(uintptr_t)c->alive, STASH__PAGE);
	free(c->wire);
	free(c->run_dir);
	free(c->dir);
	free(c);
}

static int
watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? STASH_OK :
								  stash__fail_errno("cannot watch a descriptor");
}

int
stash__client_watch(struct stash_client *c)
{
	return c->epoll >= 0 ? watch(c->epoll, c->sock) : STASH_OK;
}

void
stash__client_arm(struct stash_client *c, int64_t deadline)
{
	struct itimerspec when = { .it_value = { 0, 0 } };
	int64_t due = stash__link_due(c);

	if (due < deadline)
		deadline = due;
	if (deadline != INT64_MAX) {
		when.it_value.tv_sec = deadline / STASH__NS_PER_S;
		when.it_value.tv_nsec = deadline % STASH__NS_PER_S;
	}
	(void)timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

int
stash_client_fd(struct stash_client *c)
{
	int result = stash__client_check(c, "stash_client_fd");

	if (result < 0 || c->epoll >= 0)
		return result < 0 ? result : c->epoll;
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->timer < 0)
		return stash__fail_errno("cannot make a timer");
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll < 0)
		return stash__fail_errno("cannot make a descriptor to poll");
	result = watch(c->epoll, c->bell);
	if (result == STASH_OK)
		result = watch(c->epoll, c->timer);
	if (result == STASH_OK && c->lines >= 0)
		result = watch(c->epoll, c->lines);
	if (result == STASH_OK && c->sock >= 0)
		result = watch(c->epoll, c->sock);
	if (result < 0) {
		close(c->epoll);
		c->epoll = -1;
		return result;
	}
	c->polled = true;
	return c->epoll;
}
