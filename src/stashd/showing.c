/* SPDX-License-Identifier: ISC */
/*
 * showing.c: a worker's last state in its behaviour's own words, for a tool that asks.  A process of its own finds
 * them, so nobody here waits, nor runs the behaviour's code.
 */
#include <stdlib.h>

#include "base/error.h"
#include "stashd/server.h"

#define AT_ONCE 4 /* such processes for tools */

static unsigned
under_way(const struct server *s)
{
	const struct peer *p;
	const struct wait *wait;
	unsigned n = 0;

	TAILQ_FOREACH(p, &s->broker.peers, link) {
		TAILQ_FOREACH(wait, &p->waits, of_peer)
			n += wait->kind == WAIT_WORDS;
	}
	return n;
}

static void
on_words(void *arg, const char *text)
{
	struct wait *wait = arg;
	struct stash_buf *buf = mail_begin(STASH__B_WORDS, wait->number);

	wait->status = NULL;
	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_int(buf, (int64_t)wait->id);
	stash_buf_add_text(buf, text);
	peer_send(wait->peer, buf, NULL, 0);
	wait_free(wait);
}

void
showing_ask(struct peer *p, uint64_t number, const char *name)
{
	struct server *s = p->server;
	const struct worker *w = worker_find(s, name);
	struct stash__base *base = w != NULL && plan_linked(&w->plan) ? down_base(w) : NULL;
	struct wait *wait;

	if (base == NULL || base->version == 0) {
		free(base);
		peer_result(p, STASH__B_WORDS, number, STASH_E_NOENT, "there is no state of such a worker");
		return;
	}
	if (under_way(s) >= AT_ONCE) {
		free(base);
		peer_result(p, STASH__B_WORDS, number, STASH_E_BUSY, "too many tools ask for states in words");
		return;
	}
	wait = wait_create(p, WAIT_WORDS, STASH__B_SHOW, number, NULL);
	if (wait != NULL) {
		wait->id = base->version;
		wait->status = status_begin(s, &w->plan, base, NULL, on_words, wait);
	}
	free(base); /* the process has a copy */
	if (wait == NULL || wait->status != NULL)
		return;
	wait_free(wait);
	peer_result(p, STASH__B_WORDS, number, STASH_E_SYSTEM, "no process for the state's words can be made");
}
