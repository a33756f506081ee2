/* SPDX-License-Identifier: ISC */
/*
 * reload.c: SIGHUP and the clients' RELOAD, one after the other: the config is read (reread.c), compared with the tree
 * that runs, and given to the machine, which does the rest.  A config with a mistake changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/log.h"
#include "stashd/reload.h"
#include "stashd/server.h"

enum { PART = 64 * 1024, WHY_MAX = 300, TEXT_MAX = 4000 };

struct reload {
	STAILQ_ENTRY(reload) link;
	struct server *server;
	struct wait *wait; /* NULL: a signal, or its client is gone */
	struct reread *reading;
	bool dry_run;
	uint64_t request; /* of the machine; 0: not given to it yet */
	/* steps, as they go into a message */
	struct stash_buf part;
	int64_t in_part;
	unsigned steps;
};

static void begin_next(struct server *s);

/* ---- its end ---- */

static void
send_steps(struct reload *r, int error, const char *text, const char *term, bool more)
{
	char shown[TEXT_MAX];
	struct stash_buf *buf;
	const void *data;
	size_t len;

	if (r->wait != NULL) {
		/* of many mistakes the first ones */
		if (strlcpy(shown, text, sizeof(shown)) >= sizeof(shown) && strrchr(shown, '\n') != NULL)
			*strrchr(shown, '\n') = '\0';
		buf = mail_begin(STASH__B_STEPS, r->wait->number);
		stash_buf_add_int(buf, error);
		stash_buf_add_text(buf, shown);
		stash_buf_add_text(buf, term);
		stash_buf_add_int(buf, more);
		stash_buf_add_int(buf, r->in_part);
		if (stash_buf_data(&r->part, &data, &len) == 0)
			stash_buf_add(buf, data, len);
		peer_send(r->wait->peer, buf, NULL, 0);
	}
	stash__buf_reset(&r->part);
	r->in_part = 0;
}

static void
drop(struct reload *r)
{
	struct wait *wait = r->wait;

	STAILQ_REMOVE(&r->server->reloads, r, reload, link);
	if (r->reading != NULL)
		reread_cancel(r->reading);
	r->wait = NULL;
	if (wait != NULL)
		wait_free(wait);
	stash__buf_fini(&r->part);
	free(r);
}

static void
over(struct reload *r, int error, const char *text, const char *term)
{
	struct server *s = r->server;

	send_steps(r, error, text, term, false);
	drop(r);
	begin_next(s);
}

/* Told line by line: a config may have many mistakes. */
static void
log_lines(int priority, const char *text)
{
	for (size_t len; *text != '\0'; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		stash__log(priority, "reload: %.*s", (int)len, text);
	}
}

static void
fail(struct reload *r, int error, const char *text)
{
	if (!r->dry_run) {
		log_lines(LOG_ERR, text);
		stash__log(LOG_ERR, "reload: nothing was changed");
		records_event(r->server, STASH_EV_CONFIG, STASH_REASON_CRASH, "", "", "nothing was changed: %.*s",
		    (int)strcspn(text, "\n"), text);
	}
	over(r, error, text, "");
}

/* ---- steps ---- */

static void
add_word(char why[WHY_MAX], const char *word)
{
	size_t len = strlen(why);

	snprintf(why + len, WHY_MAX - len, "%s%s", len > 0 ? ", " : "", word);
}

/* What differs, by the config's keys. */
static void
explain(const struct reload *r, const struct sup_step *step, char why[WHY_MAX])
{
	static const struct {
		unsigned field;
		const char *word;
	} words[] = { { SUP_FIELD_KIND, "kind" }, { SUP_FIELD_NAME, "name" }, { SUP_FIELD_TYPE, "type" },
		{ SUP_FIELD_STRATEGY, "strategy" }, { SUP_FIELD_INTENSITY, "intensity" },
		{ SUP_FIELD_PERIOD, "period" }, { SUP_FIELD_AUTO_SHUTDOWN, "auto_shutdown" },
		{ SUP_FIELD_RESTART, "restart" }, { SUP_FIELD_SIGNIFICANT, "significant" },
		{ SUP_FIELD_SHUTDOWN, "shutdown" }, { SUP_FIELD_START_TIMEOUT, "start_timeout" },
		{ SUP_FIELD_ORDER, "order of children" }, { SUP_FIELD_TEMPLATE, "template" } };

	why[0] = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((step->fields & words[i].field) != 0)
			add_word(why, words[i].word);
	}
	if ((step->fields & SUP_FIELD_PAYLOAD) != 0)
		plan_differs(r->server->plans, step->from, step->to, why, WHY_MAX);
}

static void
add_step(struct reload *r, const char *kind, const char *path, const char *why)
{
	size_t len;

	(void)stash_buf_data(&r->part, NULL, &len);
	if (len > PART)
		send_steps(r, 0, "", "", true);
	stash_buf_add_text(&r->part, kind);
	stash_buf_add_text(&r->part, path);
	stash_buf_add_text(&r->part, why);
	r->in_part++;
}

static void
on_step(void *arg, const struct sup_step *step)
{
	static const char *const kinds[] = { [SUP_STEP_FLAGS] = "flags",
		[SUP_STEP_REMOVE] = "remove",
		[SUP_STEP_CHANGE] = "change",
		[SUP_STEP_ADD] = "add" };
	struct reload *r = arg;
	char why[WHY_MAX];

	explain(r, step, why);
	add_step(r, kinds[step->kind], step->path, why);
	r->steps++;
	if (!r->dry_run)
		stash__log(
		    LOG_INFO, "reload: %s %s%s%s", kinds[step->kind], step->path, why[0] != '\0' ? ": " : "", why);
}

/* Keys that wait. */
static void
add_later(struct reload *r, const char *later)
{
	char key[64];

	for (size_t len; *later != '\0'; later += len + 1) {
		len = strcspn(later, "\n");
		snprintf(key, sizeof(key), "%.*s", (int)len, later);
		add_step(r, "later", key, "takes effect at the next start");
		if (!r->dry_run)
			stash__log(LOG_WARNING, "reload: %s: takes effect at the next start", key);
		if (later[len] == '\0')
			break;
	}
}

/* ---- its way ---- */

/* Those that the config adds; children that it takes away leave their descriptors later. */
static int
more_than_fit(struct server *s, const struct sup_spec *tree)
{
	unsigned now = s->files.workers, then = files_workers_of(tree);

	return then > now ? files_for_workers(s, then - now) : 0;
}

static void
on_read(void *arg, const struct reread_result *result)
{
	struct reload *r = arg;
	struct server *s = r->server;
	int error = result->error;

	r->reading = NULL;
	if (error < 0) {
		fail(r, error, result->text[0] != '\0' ? result->text : stash_strerror(error));
		return;
	}
	if (s->phase != SERVER_UP) {
		fail(r, STASH_E_DOWN, "the tree is stopping");
		return;
	}
	add_later(r, result->later);
	error = more_than_fit(s, result->tree);
	if (error == 0)
		error = sup_reload_steps(s->machine, result->tree, on_step, r);
	if (error < 0) {
		fail(r, error, stash_errmsg());
	} else if (r->dry_run) {
		over(r, 0, "", "");
	} else {
		send_steps(r, 0, "", "", true);
		stash__log(LOG_NOTICE, "reload: the config is applied: %u steps", r->steps);
		records_event(s, STASH_EV_CONFIG, STASH_REASON_NORMAL, "", "", "applied: %u steps", r->steps);
		r->request = ++s->next_request;
		turn_reload(s, sup_spec_ref(result->tree), r->request);
	}
}

static void
begin_next(struct server *s)
{
	struct reload *r = STAILQ_FIRST(&s->reloads);

	if (r == NULL || r->reading != NULL || r->request != 0)
		return;
	if (s->config->reread == NULL) {
		fail(r, STASH_E_NOENT,
		    "this tree comes from a program, not from a config file: there is nothing to read");
		return;
	}
	r->reading = reread_begin(s, on_read, r);
	if (r->reading == NULL)
		fail(r, STASH_E_SYSTEM, stash_errmsg());
}

static struct reload *
create(struct server *s)
{
	struct reload *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->server = s;
	stash__buf_init(&r->part, STASH__BUF_MAX);
	STAILQ_INSERT_TAIL(&s->reloads, r, link);
	return r;
}

void
reload_ask(struct peer *p, uint64_t number, bool dry_run)
{
	struct wait *wait = wait_create(p, WAIT_RELOAD, STASH__B_RELOAD, number, NULL);
	struct reload *r = wait != NULL ? create(p->server) : NULL;

	if (r == NULL) {
		if (wait != NULL) {
			peer_done(p, number, STASH_E_NOMEM, "the supervisor has no memory", "");
			wait_free(wait);
		}
		return;
	}
	r->wait = wait;
	r->dry_run = dry_run;
	begin_next(p->server);
}

void
reload_signal(struct server *s)
{
	struct reload *r;

	if (s->phase == SERVER_BOOT) {
		s->reload_due = true;
		return;
	}
	stash__log(LOG_NOTICE, "SIGHUP: the config is read again");
	r = s->phase == SERVER_UP ? create(s) : NULL;
	if (r == NULL)
		return;
	begin_next(s);
}

void
reload_up(struct server *s)
{
	bool due = s->reload_due;

	s->reload_due = false;
	if (due)
		reload_signal(s);
}

/* ---- the machine's word ---- */

static struct reload *
find(struct server *s, uint64_t request)
{
	struct reload *r;

	STAILQ_FOREACH(r, &s->reloads, link) {
		if (r->request == request && request != 0)
			return r;
	}
	return NULL;
}

bool
reload_replied(struct server *s, const struct sup_action *a)
{
	struct reload *r = find(s, a->request);
	char text[SUP_TERM_MAX + STASH_PATH_MAX + 64];

	if (r == NULL)
		return false;
	if (a->code == 0)
		snprintf(text, sizeof(text), "done");
	else if (a->code == STASH_E_START)
		snprintf(text, sizeof(text), "a child couldn't be started, and is stopped: %s", a->term);
	else
		snprintf(text, sizeof(text), "%s", stash_strerror(a->code));
	stash__log(a->code == 0 ? LOG_NOTICE : LOG_ERR, "reload: %s", text);
	if (a->code != 0)
		records_event(s, STASH_EV_CONFIG, STASH_REASON_CRASH, "", "", "%s", text);
	over(r, a->code, text, a->term);
	return true;
}

void
reload_refused(struct server *s, uint64_t request, int error, const char *text)
{
	struct reload *r = find(s, request);

	if (r != NULL)
		fail(r, error, text);
}

void
reload_forget(struct server *s, const struct wait *wait)
{
	struct reload *r;

	STAILQ_FOREACH(r, &s->reloads, link) {
		if (r->wait == wait)
			r->wait = NULL;
	}
}

void
reload_free(struct server *s)
{
	while (!STAILQ_EMPTY(&s->reloads))
		drop(STAILQ_FIRST(&s->reloads));
}
