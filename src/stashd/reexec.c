/* SPDX-License-Identifier: ISC */
/*
 * reexec.c: a client wants the binary that stands on the disk now.  The keeper starts a supervisor of it beside this
 * one and tells when that can go on, or why it can't; the client is told, and only then this one gives way.
 */
#include "base/error.h"
#include "base/log.h"
#include "stashd/server.h"

static void
answer(struct server *s, int error, const char *text, const char *version, uint64_t generation)
{
	struct wait *wait = s->reexec;
	struct stash_buf *buf;

	s->reexec = NULL;
	s->reexecing = false;
	if (wait == NULL)
		return;
	buf = mail_begin(STASH__B_REEXECED, wait->number);
	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	if (error == 0) {
		stash_buf_add_text(buf, version);
		stash_buf_add_int(buf, (int64_t)generation);
	}
	peer_send(wait->peer, buf, NULL, 0);
	wait_free(wait);
}

/* 0: it can be tried. */
static int
check(const struct server *s)
{
	if (s->config->binary == NULL)
		return stash__fail(STASH_E_NOENT,
		    "this tree comes from a program, not from stashd: that program has to be started anew");
	if (s->keep.fd < 0)
		return stash__fail(
		    STASH_E_DOWN, "the keeper is dead, and nobody else starts supervisors: restart stashd");
	if (s->phase != SERVER_UP)
		return stash__fail(STASH_E_DOWN, "the tree is stopping");
	if (s->reexecing)
		return stash__fail(STASH_E_BUSY, "a new binary is being started already");
	return 0;
}

void
reexec_ask(struct peer *p, uint64_t number)
{
	struct server *s = p->server;
	struct wait *wait;
	int result = check(s);

	if (result < 0) {
		peer_result(p, STASH__B_REEXECED, number, result, stash_errmsg());
		return;
	}
	wait = wait_create(p, WAIT_REEXEC, STASH__B_REEXEC, number, NULL);
	if (wait == NULL)
		return;
	stash__log(LOG_NOTICE, "reexec: %s is started", s->config->binary->path);
	s->reexec = wait;
	s->reexecing = true;
	keep_reexec(&s->keep, number);
}

void
reexec_answered(
    struct server *s, uint64_t number, int error, const char *text, const char *version, uint64_t generation)
{
	(void)number;
	answer(s, error, text, version, generation);
	if (error < 0)
		return;
	stash__log(LOG_NOTICE, "reexec: stashd %s is ready: this supervisor, of stashd %s, gives way to it", version,
	    stash_version());
	s->reexecing = true; /* to its end, which is near */
	keep_yield(&s->keep);
}

void
reexec_keeper_lost(struct server *s)
{
	answer(s, STASH_E_DOWN, "the keeper has died", "", 0);
}

void
reexec_forget(struct server *s, const struct wait *wait)
{
	if (s->reexec == wait)
		s->reexec = NULL;
}

void
reexec_about(struct peer *p, uint64_t number)
{
	struct server *s = p->server;
	struct stash_buf *buf = mail_begin(STASH__B_ABOUT_IS, number);

	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_text(buf, stash_version());
	stash_buf_add_int(buf, getpid());
	stash_buf_add_int(buf, (int64_t)s->starts + 1);
	stash_buf_add_int(buf, (int64_t)s->generation);
	stash_buf_add_text(buf, s->keeper_version);
	stash_buf_add_int(buf, s->keep.fd >= 0 ? s->keeper_pid : 0);
	peer_send(p, buf, NULL, 0);
}
