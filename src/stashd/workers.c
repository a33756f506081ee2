/* SPDX-License-Identifier: ISC */
/*
 * workers.c: the table of names, and what stays of a worker when its process changes: plan, slot.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/bell.h"
#include "stashd/server.h"
#include "stashd/ways.h"

int
worker_compare_names(const struct worker *a, const struct worker *b)
{
	return strcmp(a->name, b->name);
}

int
worker_compare_nodes(const struct worker *a, const struct worker *b)
{
	return (a->listed > b->listed) - (a->listed < b->listed);
}

RB_GENERATE(worker_names, worker, by_name, worker_compare_names)
RB_GENERATE(worker_nodes, worker, by_node, worker_compare_nodes)

/* ---- the table ---- */

void
worker_slot_name(const char *path, const char *name, char slot_name[STASH_NAME_MAX + 1])
{
	uint64_t hash = 14695981039346656037u;
	int n;

	if (name[0] != '\0') {
		strlcpy(slot_name, name, STASH_NAME_MAX + 1);
		return;
	}
	n = snprintf(slot_name, STASH_NAME_MAX + 1, "unnamed~%s", path);
	if (n > STASH_NAME_MAX) {
		for (const char *c = path; *c != '\0'; c++)
			hash = (hash ^ (unsigned char)*c) * 1099511628211u;
		snprintf(slot_name, STASH_NAME_MAX + 1, "unnamed~%016llx", (unsigned long long)hash);
	}
	for (char *c = slot_name; *c != '\0'; c++) {
		if (*c == '/')
			*c = '~';
	}
}

struct worker *
worker_find(struct server *s, const char *name)
{
	struct worker *w = RB_ROOT(&s->names);
	int order;

	while (w != NULL && (order = strcmp(name, w->name)) != 0)
		w = order < 0 ? RB_LEFT(w, by_name) : RB_RIGHT(w, by_name);
	return w;
}

struct worker *
worker_find_node(struct server *s, uint64_t node)
{
	struct worker key = { .listed = node };

	return node == 0 ? NULL : RB_FIND(worker_nodes, &s->nodes, &key);
}

struct worker *
worker_expected(struct server *s, const char *name)
{
	struct worker *w = s->up || s->follows ? NULL : worker_find(s, name);

	return w != NULL && w->spec != NULL ? w : NULL;
}

struct worker *
worker_get(struct server *s, const char *name)
{
	struct worker *w = worker_find(s, name);

	if (w != NULL)
		return w;
	w = calloc(1, sizeof(*w));
	if (w == NULL || (w->name = strdup(name)) == NULL || (w->path = strdup("")) == NULL) {
		if (w != NULL)
			free(w->name);
		free(w);
		(void)stash__fail(STASH_E_NOMEM, "no memory for the worker %s", name);
		return NULL;
	}
	w->server = s;
	LIST_INIT(&w->dying);
	LIST_INIT(&w->channels);
	TAILQ_INIT(&w->has.ends);
	LIST_INIT(&w->ways);
	TAILQ_INIT(&w->waits);
	RB_INSERT(worker_names, &s->names, w);
	return w;
}

static void
list_under(struct worker *w, uint64_t node)
{
	struct worker *other;

	if (w->listed == node)
		return;
	if (w->listed != 0)
		RB_REMOVE(worker_nodes, &w->server->nodes, w);
	other = worker_find_node(w->server, node);
	if (other != NULL) {
		RB_REMOVE(worker_nodes, &w->server->nodes, other);
		other->listed = 0;
	}
	w->listed = node;
	if (node != 0)
		RB_INSERT(worker_nodes, &w->server->nodes, w);
}

/* A process that was made ahead runs by the old one, and isn't wanted. */
static void
end_ahead(struct worker *w)
{
	if (w->ahead == NULL)
		return;
	w->ahead->asked = true;
	(void)pidfd_send_signal(w->ahead->pidfd, SIGKILL, NULL, 0);
}

static void
claim(struct worker *w)
{
	struct files *f = &w->server->files;

	f->workers += w->claims == 0;
	f->claimed -= w->claims;
	w->claims = FILES_WORKER + (plan_linked(&w->plan) ? 0 : FILES_PROGRAM);
	f->claimed += w->claims;
}

void
worker_disclaim(struct worker *w)
{
	struct files *f = &w->server->files;

	f->workers -= w->claims > 0;
	f->claimed -= w->claims;
	w->claims = 0;
}

/* node NULL: only the specification is known yet. */
static int
take_spec(struct worker *w, const struct sup_spec *spec, const struct sup_node *node)
{
	const void *instance = NULL;
	size_t len = 0;
	struct plan plan;
	int result;

	STASH_ASSERT(spec != NULL);
	if (node != NULL)
		instance = sup_node_args(node, &len);
	/* Another instance may have the same specification and the same name. */
	if (w->spec == spec && instance == NULL && w->plan.more == NULL) {
		claim(w);
		return 0;
	}
	result = plan_read(&plan, w->server->plans, spec->payload, spec->payload_len);
	if (result == 0 && instance != NULL && (result = plan_read_instance(&plan, instance, len)) < 0)
		plan_free(&plan);
	if (result < 0)
		return result;
	plan_free(&w->plan);
	if (w->spec != NULL && sup_spec_compare(w->spec, spec) != 0)
		end_ahead(w);
	w->plan = plan;
	claim(w);
	sup_spec_ref((struct sup_spec *)(uintptr_t)spec);
	sup_spec_unref(w->spec);
	w->spec = (struct sup_spec *)(uintptr_t)spec;
	w->callable = spec->name[0] != '\0' && plan_linked(&plan);
	if (plan_linked(&plan))
		program_free(w); /* its slot is the worker's own now */
	return 0;
}

int
worker_plan(struct worker *w, const struct sup_node *node)
{
	const char *path = sup_node_path(node);

	if (strcmp(w->path, path) != 0) {
		char *copy = strdup(path);

		if (copy == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for a path");
		free(w->path);
		w->path = copy;
	}
	list_under(w, sup_node_handle(node));
	return take_spec(w, sup_node_spec(node), node);
}

int
worker_expect(struct server *s, const struct sup_spec *spec, const char *path)
{
	char name[STASH_NAME_MAX + 1];
	struct worker *w;
	int result;

	worker_slot_name(path, spec->name, name);
	w = worker_get(s, name);
	if (w == NULL)
		return STASH_E_NOMEM;
	result = take_spec(w, spec, NULL);
	if (result == 0)
		worker_open(w);
	return result;
}

int
worker_remember(struct server *s, const struct sup_node *node)
{
	char name[STASH_NAME_MAX + 1];
	struct worker *w;
	int result;

	worker_slot_name(sup_node_path(node), sup_node_name(node), name);
	w = worker_get(s, name);
	if (w == NULL)
		return STASH_E_NOMEM;
	if (w->spec != NULL)
		return 0;
	result = take_spec(w, sup_node_spec(node), node);
	if (result < 0)
		return 0; /* it can't be run any more: there is nothing to be known of it */
	worker_open(w);
	return w->slot == SLOT_ASKED;
}

int
worker_bell(const struct worker *w)
{
	char file[STASH__SLOT_FILE_MAX];

	stash__slot_file(file, w->name, "fifo");
	return stash__bell_open(w->server->slot_fd, file);
}

int
worker_file(const struct worker *w, const char *half, int flags)
{
	char file[STASH__SLOT_FILE_MAX];
	int fd;

	stash__slot_file(file, w->name, half);
	fd = openat(w->server->slot_fd, file, flags | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 ? fd : stash__fail_errno("%s: its slot can't be opened", w->name);
}

/* ---- its slot ---- */

/* Rows beyond what one message lists. */
static int
read_rows(struct worker *w, int fd)
{
	struct stash__in in;
	struct stash__base *base;
	int result = stash__in_map(&in, fd, false, &w->server->origin);

	if (result < 0)
		return result;
	result = stash__base_copy(&in, &base);
	stash__in_unmap(&in);
	if (result < 0)
		return result;
	for (uint32_t i = 0; i < base->nrows; i++) {
		const struct stash__row *row = &stash__base_rows(base)[i];

		if (row->used == STASH__USE_IN)
			mailroom_row(w, row->id, i, row->uid);
	}
	free(base);
	return 0;
}

static int
take_rows(struct worker *w, struct mail *m)
{
	int64_t count = stash__view_range(&m->view, 0, STASH__PLACES),
		listed = count < STASH__S_CHANNELS ? count : STASH__S_CHANNELS;

	for (int64_t i = 0; i < listed; i++) {
		size_t len;
		const void *id = stash_view_bytes(&m->view, &len);
		uint32_t place = (uint32_t)stash_view_int(&m->view), uid = (uint32_t)stash_view_int(&m->view);

		if (m->view.error == 0 && len == STASH__ID && listed == count)
			mailroom_row(w, id, place, uid);
	}
	if (stash_view_end(&m->view) < 0)
		return stash__fail(STASH_E_PROTO, "what the stash says about a slot can't be understood");
	return listed == count ? 0 : read_rows(w, m->nfds > 1 ? m->fds[1] : -1);
}

/* Who has had its go, and lives, has the slot, whatever a stray write has made of the name in it. */
static bool
has_slot(const struct life *l)
{
	struct pollfd p = { .fd = l->pidfd, .events = POLLIN };

	return l->phase >= LIFE_STARTING && l->phase <= LIFE_READY && poll(&p, 1, 0) == 0;
}

/* Who wrote to the slot last, by its own word. */
static void
look_for_stranger(struct worker *w, int fd, uint64_t fence)
{
	struct stash__out_page page;
	uint64_t owner;
	struct life *l;

	if (w->now != NULL && has_slot(w->now))
		return;
	if (fd < 0 || stash__read_at(fd, &page, sizeof(page), 0) != (ssize_t)sizeof(page))
		return;
	owner = atomic_load(&page.owner);
	if (owner > fence + STASH__OWNER_AHEAD) { /* a stray write: whoever it was isn't retired yet */
		if (w->now != NULL || !LIST_EMPTY(&w->dying))
			return;
		owner = fence + 1 > w->incarnation ? fence + 1 : w->incarnation;
	}
	if (owner <= fence)
		return;
	if (owner > w->incarnation)
		w->incarnation = owner;
	if (w->now != NULL && w->now->incarnation == owner)
		return;
	LIST_FOREACH(l, &w->dying, link) {
		if (l->incarnation == owner)
			return;
	}
	reap_stranger(w, owner, (pid_t)atomic_load(&page.owner_pid), atomic_load(&page.owner_start));
}

void
worker_look_again(struct worker *w, uint64_t fence)
{
	int fd = worker_file(w, "out", O_RDONLY);

	look_for_stranger(w, fd, fence);
	if (fd >= 0)
		close(fd);
}

static void
fail_start(struct worker *w, int error, const char *text)
{
	struct server *s = w->server;
	uint64_t start = w->start;

	/* A predecessor has let go of it, and the stash is about to. */
	if (!w->gone || error != STASH_E_BUSY)
		stash__log(LOG_ERR, "%s: its slot can't be opened: %s", w->name, text);
	takeover_slot_open(w);
	w->slot = SLOT_UNKNOWN;
	w->start = 0;
	if (start != 0)
		turn_failed(s, w->node, start, error == STASH_E_FULL ? "store_full" : "no_slot");
}

static void
on_opened(void *arg, int error, const char *text, struct mail *m)
{
	struct worker *w = arg;
	uint64_t fence = 0;

	if (error == 0) {
		fence = (uint64_t)stash_view_int(&m->view);
		(void)stash_view_int(&m->view); /* version */
		(void)stash_view_int(&m->view); /* retired */
		error = take_rows(w, m);
		text = stash_errmsg();
	}
	if (error < 0) {
		fail_start(w, error, text);
		return;
	}
	if (fence > w->incarnation)
		w->incarnation = fence;
	w->slot = SLOT_OPEN;
	mailroom_rows_known(w);
	look_for_stranger(w, m->nfds > 0 ? m->fds[0] : -1, fence);
	life_go_on(w);
	if (w->now != NULL && w->now->phase >= LIFE_STARTING && w->now->phase <= LIFE_READY) {
		mailroom_attach_all(w->now); /* one that was taken over: what it has, it leaves as it is */
		ways_tell_all(w->now);
		monitor_catch_up(w); /* what a predecessor had noted, and perhaps not sent: it takes nothing twice */
	}
	takeover_slot_open(w);
}

static int
ask_slot(struct worker *w, void (*fn)(void *, int, const char *, struct mail *))
{
	struct stashlink *k = &w->server->stash;
	struct stash_buf *buf = stashlink_begin(k, STASH__S_OPEN);

	stash_buf_add_text(buf, w->name);
	w->slot_no_persist = w->plan.no_persist;
	w->slot_history = w->plan.history;
	stash_buf_add_int(buf, w->plan.no_persist);
	stash_buf_add_int(buf, w->plan.history);
	stash_buf_add_int(buf, 0);
	stash_buf_add_int(buf, 0);
	return stashlink_send(k, buf, -1, fn, w) != 0;
}

static void
on_changed(void *arg, int error, const char *text, struct mail *m)
{
	const struct worker *w = arg;

	(void)m;
	if (error < 0)
		stash__log(LOG_ERR, "%s: its slot is kept as before: %s", w->name, text);
}

void
worker_open(struct worker *w)
{
	bool changed = w->slot_no_persist != w->plan.no_persist || w->slot_history != w->plan.history;

	/* Requests of one name are done in their order, and the next incarnation's retire comes later. */
	if (w->slot == SLOT_OPEN && changed)
		(void)ask_slot(w, on_changed);
	if (w->slot == SLOT_UNKNOWN && ask_slot(w, on_opened))
		w->slot = SLOT_ASKED;
}

static void
on_shown(void *arg, int error, const char *text, struct mail *m)
{
	struct worker *w = arg;

	(void)m;
	w->showing = false;
	if (error < 0)
		stash__log(LOG_ERR, "%s: the new stash process doesn't know its slot: %s", w->name, text);
}

void
workers_show(struct server *s)
{
	struct worker *w;

	/* What the last one was asked and never answered goes to this one as it is. */
	RB_FOREACH(w, worker_names, &s->names) {
		if (w->slot == SLOT_OPEN && !w->showing)
			w->showing = ask_slot(w, on_shown);
	}
}

/* ---- its status ---- */

void
worker_record(struct worker *w, enum stash_status status, bool gone)
{
	w->status = status;
	w->gone = gone;
	w->since_ns = stash__time_ns();
	records_registry(w, gone);
	if (!gone)
		registry_claim(w);
	if (status != STASH_STOPPED)
		return;
	if (w->now == NULL && LIST_EMPTY(&w->dying))
		monitor_lost(w);
	registry_over(w);
}

void
worker_status(struct worker *w, enum stash_status status, bool gone)
{
	/* STOPPED: no next one comes by itself; whoever waits has to be told, the rest goes with the last process. */
	w->down_due = status == STASH_STOPPED;
	peers_worker_status(w, gone);
	if (gone) {
		STASH_POINT("sup_gone");
		ways_owner_gone(w);
	}
	if (w->down_due)
		life_go_on(w);
}

static void
worker_free(struct worker *w)
{
	struct life *l;

	if (w->now != NULL)
		life_free(w->now);
	if (w->ahead != NULL)
		life_free(ahead_take(w, 0));
	while ((l = LIST_FIRST(&w->dying)) != NULL) {
		LIST_REMOVE(l, link);
		life_free(l);
	}
	ways_free(w);
	RB_REMOVE(worker_names, &w->server->names, w);
	program_free(w);
	plan_free(&w->plan);
	sup_spec_unref(w->spec);
	free(w->name);
	free(w->path);
	free(w->why);
	free(w->death);
	free(w);
}

void
worker_forget(struct worker *w)
{
	stashlink_forget(&w->server->stash, w);
	list_under(w, 0);
	worker_free(w);
}

void
workers_tick(struct server *s)
{
	struct worker *w;

	RB_FOREACH(w, worker_names, &s->names) {
		if (w->now != NULL)
			life_signal_again(w->now);
	}
}

void
workers_free(struct server *s)
{
	registry_free(s);
	while (!RB_EMPTY(&s->names))
		worker_free(RB_ROOT(&s->names));
	RB_INIT(&s->nodes);
}
