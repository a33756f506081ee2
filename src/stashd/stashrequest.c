/* SPDX-License-Identifier: ISC */
/*
 * stashrequest.c: requests to the stash, each kept until it is answered.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/server.h"

struct stashlink_request {
	TAILQ_ENTRY(stashlink_request) link;
	uint64_t number;
	int fd; /* -1: none */
	stashlink_fn *fn;
	void *arg;
	size_t len;
	unsigned char data[];
};

static void
request_free(struct stashlink *k, struct stashlink_request *r)
{
	TAILQ_REMOVE(&k->requests, r, link);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

struct stash_buf *
stashlink_begin(struct stashlink *k, int type)
{
	return mail_begin(type, k->next_number);
}

/* A copy that stays until the answer is in; NULL: no memory. */
static struct stashlink_request *
keep(const struct stash_buf *buf, int fd)
{
	struct stashlink_request *r;
	const void *data;
	size_t len;

	if (stash_buf_data(buf, &data, &len) < 0)
		return NULL;
	r = malloc(sizeof(*r) + len);
	if (r == NULL)
		return NULL;
	r->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (fd >= 0 && r->fd < 0) {
		free(r);
		return NULL;
	}
	r->len = len;
	memcpy(r->data, data, len);
	return r;
}

uint64_t
stashlink_send(struct stashlink *k, const struct stash_buf *buf, int fd, stashlink_fn *fn, void *arg)
{
	struct stashlink_request *r = keep(buf, fd);

	if (r == NULL) {
		stash__log(LOG_ERR, "a request to the stash can't be made: no memory or no descriptor is left");
		return 0;
	}
	r->number = k->next_number++;
	r->fn = fn;
	r->arg = arg;
	TAILQ_INSERT_TAIL(&k->requests, r, link);
	/* If it can't be sent the stash is dead, and the next one gets it. */
	if (k->pid != 0)
		(void)outbox_send(&k->outbox, buf, &fd, fd >= 0 ? 1 : 0);
	return r->number;
}

void
stashlink_forget(struct stashlink *k, const void *arg)
{
	struct stashlink_request *r;

	TAILQ_FOREACH(r, &k->requests, link) {
		if (r->arg == arg)
			r->fn = NULL;
	}
}

void
stashlink_answer(struct stashlink *k, struct mail *m)
{
	struct stashlink_request *r;
	stashlink_fn *fn;
	void *arg;
	int error;
	const char *text;

	/* Answers come nearly in order, so it stands near the front. */
	TAILQ_FOREACH(r, &k->requests, link) {
		if (r->number == m->number)
			break;
	}
	if (r == NULL)
		return; /* an earlier supervisor's, or made twice */
	error = (int)stash__view_range(&m->view, INT32_MIN, 0);
	text = stash_view_text(&m->view);
	if (m->view.error != 0) {
		error = STASH_E_PROTO;
		text = "the stash's answer can't be understood";
	}
	fn = r->fn;
	arg = r->arg;
	request_free(k, r);
	if (fn != NULL)
		fn(arg, error, text, m);
}

void
stashlink_send_again(struct stashlink *k)
{
	struct stashlink_request *r;
	struct stash_buf buf;

	TAILQ_FOREACH(r, &k->requests, link) {
		stash__buf_init(&buf, r->len);
		stash_buf_add(&buf, r->data, r->len);
		(void)outbox_send(&k->outbox, &buf, &r->fd, r->fd >= 0 ? 1 : 0);
		stash__buf_fini(&buf);
	}
}

void
stashlink_drop_requests(struct stashlink *k)
{
	while (!TAILQ_EMPTY(&k->requests))
		request_free(k, TAILQ_FIRST(&k->requests));
}
