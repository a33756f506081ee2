/* SPDX-License-Identifier: ISC */
/*
 * answer.c: messages to the supervisor.  They never wait: what the socket doesn't take is kept, with copies of its
 * descriptors, and goes out in order; until then nothing more is read from the supervisor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/sock.h"
#include "stash/inside.h"

void
stash__give_up(const char *why)
{
	stash__log(LOG_CRIT,
	    "the stash can't be asked or answer: %s: this process ends, and the next one is asked again", why);
	_exit(EX_OSERR);
}

void
stash__answer(struct stash *s, int64_t type, int64_t number, int error)
{
	stash__buf_reset(&s->message);
	stash_buf_add_int(&s->message, type);
	stash_buf_add_int(&s->message, number);
	stash_buf_add_int(&s->message, error);
	stash_buf_add_text(&s->message, error < 0 ? stash_errmsg() : "");
}

static void
drop(struct answer *a)
{
	for (int i = 0; i < a->nfds; i++)
		close(a->fds[i]);
	free(a);
}

static void
keep(struct stash *s, const int *fds, int nfds)
{
	struct answer *a = calloc(1, sizeof *a + s->message.len);

	for (int i = 0; a != NULL && i < nfds; i++) {
		a->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (a->fds[i] < 0) {
			drop(a);
			a = NULL;
			break;
		}
		a->nfds = i + 1;
	}
	if (a == NULL)
		stash__give_up("no memory or descriptors to keep an answer until the supervisor reads it");
	a->len = s->message.len;
	memcpy(a->data, s->message.data, a->len);
	STAILQ_INSERT_TAIL(&s->answers, a, link);
}

/* One that can't be sent: what was asked has no answer any more, and both ends have to know that. */
static void
not_sent(struct stash *s, int result)
{
	if (result != STASH_E_DOWN)
		stash__give_up(stash_errmsg());
	(void)shutdown(s->control, SHUT_RDWR);
}

void
stash__answer_send(struct stash *s, const int *fds, int nfds)
{
	int result = s->message.error;

	if (s->control < 0)
		return;
	if (result == STASH_OK && !STAILQ_EMPTY(&s->answers))
		result = STASH_E_BUSY;
	if (result == STASH_OK)
		result = stash__sock_send(s->control, s->message.data, s->message.len, fds, nfds);
	if (result == STASH_E_BUSY)
		keep(s, fds, nfds);
	else if (result < 0)
		not_sent(s, result);
}

void
stash__answer_flush(struct stash *s)
{
	struct answer *a;

	while ((a = STAILQ_FIRST(&s->answers)) != NULL) {
		int result = stash__sock_send(s->control, a->data, a->len, a->fds, a->nfds);

		if (result == STASH_E_BUSY)
			return;
		if (result < 0)
			not_sent(s, result);
		STAILQ_REMOVE_HEAD(&s->answers, link);
		drop(a);
	}
}

void
stash__answer_free(struct stash *s)
{
	struct answer *a;

	while ((a = STAILQ_FIRST(&s->answers)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->answers, link);
		drop(a);
	}
}

/* ---- unasked ---- */

void
stash__answer_broken(struct stash *s, const char *name, const char *text)
{
	stash__buf_reset(&s->message);
	stash_buf_add_int(&s->message, STASH__S_BROKEN);
	stash_buf_add_int(&s->message, 0);
	stash_buf_add_text(&s->message, name);
	stash_buf_add_text(&s->message, text);
	stash__answer_send(s, NULL, 0);
}

static const char *
what_was_found(const struct store_found *found)
{
	if (found->created)
		return "a new store was made";
	if (found->clean)
		return "the store was stopped cleanly";
	if (found->same_boot)
		return "the store is as the last stash process of this boot left it";
	return found->validated ?
	    "the machine went down without a clean stop; the store was looked through and is good" :
	    "the machine went down without a clean stop";
}

void
stash__answer_hello(struct stash *s, int error)
{
	const struct store_found *found;
	struct slot *slot;
	int fds[2];

	if (error < 0) {
		stash__answer(s, STASH__S_HELLO, 0, error);
		stash__answer_send(s, NULL, 0);
		return;
	}
	found = store_found(s->store);
	stash__buf_reset(&s->message);
	stash_buf_add_int(&s->message, STASH__S_HELLO);
	stash_buf_add_int(&s->message, 0);
	stash_buf_add_int(&s->message, STASH_OK);
	stash_buf_add_text(&s->message, what_was_found(found));
	stash_buf_add_int(&s->message, (int64_t)atomic_load(&s->status->incarnation));
	stash_buf_add_bytes(&s->message, s->origin.store_id, STASH__ID);
	stash_buf_add_int(&s->message, s->nslots);
	stash_buf_add_int(&s->message, found->clean);
	stash_buf_add_int(&s->message, !found->same_boot);
	fds[0] = openat(s->run_dir, STASH__STATUS_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	fds[1] = s->bell;
	if (fds[0] < 0)
		stash__log(LOG_ERR, "cannot open the status page: %s", strerror(errno));
	stash__answer_send(s, fds, fds[0] < 0 ? 0 : 2);
	if (fds[0] >= 0)
		close(fds[0]);
	s->greeted = true;
	RB_FOREACH(slot, slots, &s->slots) {
		if (slot->broken)
			stash__answer_broken(s, slot->name, "the slot is broken");
	}
}
