/* SPDX-License-Identifier: ISC */
/*
 * query.c: what clients and tools ask about the tree, and what they ask of it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "shm/record.h"
#include "stashd/server.h"

/* ---- a process in a message ---- */

/* Of the base as it is now; a read that is torn shows an older or newer number, and does no harm. */
static uint64_t
read_version(const struct worker *w)
{
	struct stash__in_page page;
	struct stash__base base;
	uint64_t version = 0, word;
	int fd = w->slot == SLOT_OPEN ? worker_file(w, "in", O_RDONLY) : -1;

	if (fd < 0)
		return 0;
	if (stash__read_at(fd, &page, sizeof(page), 0) == (ssize_t)sizeof(page)) {
		word = atomic_load(&page.bases[atomic_load(&page.base_now) & 1]);
		if (stash__read_at(fd, &base, sizeof(base), (off_t)STASH__RING_OFFSET(word)) == (ssize_t)sizeof(base))
			version = base.version;
	}
	close(fd);
	return version;
}

void
query_describe(struct server *s, const struct sup_node *node, struct stash_process *p)
{
	char name[STASH_NAME_MAX + 1];
	struct worker *w;

	memset(p, 0, sizeof(*p));
	strlcpy(p->id, sup_node_id(node), sizeof(p->id));
	strlcpy(p->name, sup_node_name(node), sizeof(p->name));
	strlcpy(p->child, sup_node_path(node), sizeof(p->child));
	p->status = sup_node_status(node);
	p->failed = sup_node_failed(node);
	p->restarts = sup_node_restarts(node);
	p->is_supervisor = sup_node_spec(node)->kind == SUP_SUPERVISOR;
	if (p->is_supervisor)
		return;
	worker_slot_name(p->child, p->name, name);
	w = worker_find(s, name);
	if (w == NULL)
		return;
	p->incarnation = w->incarnation;
	if (w->now != NULL && life_runs(w->now)) {
		p->pid = w->now->pid;
		p->start_time = life_start_time(w->now);
	}
}

void
query_fill(struct server *s, const struct sup_node *node, struct stash_process *p)
{
	char name[STASH_NAME_MAX + 1];
	struct worker *w;

	query_describe(s, node, p);
	worker_slot_name(p->child, p->name, name);
	w = p->is_supervisor ? NULL : worker_find(s, name);
	if (w != NULL)
		p->version = read_version(w);
}

/* ---- lists: some in each message ---- */

enum { LIST_PART = 64 * 1024 };

static void
list_send(struct query_list *l, bool more)
{
	struct stash_buf *buf = mail_begin(STASH__B_PROCESSES, l->number);
	const void *data;
	size_t len;

	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_int(buf, more);
	stash_buf_add_int(buf, l->count);
	if (stash_buf_data(&l->part, &data, &len) == 0)
		stash_buf_add(buf, data, len);
	peer_send(l->peer, buf, NULL, 0);
	stash__buf_reset(&l->part);
	l->count = 0;
}

void
query_list_begin(struct query_list *l, struct peer *p, uint64_t number)
{
	l->peer = p;
	l->number = number;
	l->count = 0;
	stash__buf_init(&l->part, STASH__WIRE_MAX);
}

void
query_list_add(struct query_list *l, const struct stash_process *p)
{
	size_t len;

	(void)stash_buf_data(&l->part, NULL, &len);
	if (len > LIST_PART)
		list_send(l, true);
	(void)stash__pack_process(&l->part, p);
	l->count++;
}

void
query_list_end(struct query_list *l)
{
	list_send(l, false);
	stash__buf_fini(&l->part);
}

/* ---- looking ---- */

void
query_whereis(struct peer *p, uint64_t number, const char *name)
{
	const struct sup_node *node = registry_node(p->server, name);
	struct stash_process process;
	struct stash_buf *buf;

	if (node == NULL) {
		peer_result(p, STASH__B_PROCESS, number, STASH_E_NOENT, "there is no such name");
		return;
	}
	query_fill(p->server, node, &process);
	buf = mail_begin(STASH__B_PROCESS, number);
	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	(void)stash__pack_process(buf, &process);
	peer_send(p, buf, NULL, 0);
}

void
query_list(struct peer *p, uint64_t number)
{
	const struct sup_node *node = NULL;
	struct stash_process process;
	struct query_list list;

	query_list_begin(&list, p, number);
	while ((node = sup_next(p->server->machine, node)) != NULL) {
		query_fill(p->server, node, &process);
		query_list_add(&list, &process);
	}
	query_list_end(&list);
}

/* ---- requests of the machine ---- */

void
query_ask(struct peer *p, int64_t type, uint64_t number, struct sup_request *request, struct admin *admin)
{
	struct wait *wait = wait_create(p, WAIT_REQUEST, type, number, NULL);

	if (wait == NULL) {
		admin_free(admin);
		return;
	}
	wait->admin = admin;
	wait->id = request->id = ++p->server->next_request;
	turn_request(p->server, request);
}

void
query_which(struct peer *p, uint64_t number, const char *path)
{
	struct sup_request request = { .kind = SUP_WHICH_CHILDREN, .supervisor = path };

	query_ask(p, STASH__B_WHICH, number, &request, NULL);
}

void
query_bounce(struct peer *p, uint64_t number, const char *name)
{
	const struct sup_node *node = registry_node(p->server, name), *above;
	struct sup_request request = { .kind = SUP_BOUNCE };

	above = node != NULL ? sup_node_above(node) : NULL;
	if (above == NULL) {
		peer_done(p, number, STASH_E_NOENT, "there is no such name", "");
		return;
	}
	request.supervisor = sup_node_path(above);
	request.child = sup_node_id(node);
	query_ask(p, STASH__B_BOUNCE, number, &request, NULL);
}

static struct wait *
find_wait(struct server *s, uint64_t id)
{
	struct peer *p;
	struct wait *wait;

	TAILQ_FOREACH(p, &s->broker.peers, link) {
		TAILQ_FOREACH(wait, &p->waits, of_peer) {
			if (wait->kind == WAIT_REQUEST && wait->id == id)
				return wait;
		}
	}
	return NULL;
}

/* What which_children tells is OTP's view, in which there is no difference between a child that is down for now and
 * one that is down for good. */
static void
as_otp_says(const struct sup_child *child, struct stash_process *p)
{
	p->is_supervisor = child->type == SUP_SUPERVISOR;
	if (child->state == SUP_CHILD_RESTARTING)
		p->status = STASH_RESTARTING;
	else if (child->state == SUP_CHILD_UNDEFINED)
		p->status = STASH_STOPPED;
	else if (p->status == STASH_RESTARTING || p->status == STASH_STOPPED)
		p->status = STASH_RUNNING;
	if (p->status != STASH_STOPPED)
		p->failed = 0;
}

static void
reply_children(struct server *s, const struct wait *wait, const struct sup_action *a)
{
	struct query_list list;

	query_list_begin(&list, wait->peer, wait->number);
	for (size_t i = 0; i < a->nchildren; i++) {
		const struct sup_node *node = sup_find(s->machine, a->children[i].node);
		struct stash_process process;

		if (node != NULL) {
			query_fill(s, node, &process);
			as_otp_says(&a->children[i], &process);
		} else {
			memset(&process, 0, sizeof(process));
			strlcpy(process.id, a->children[i].id, sizeof(process.id));
			process.status = a->children[i].state == SUP_CHILD_RESTARTING ? STASH_RESTARTING :
											STASH_STOPPED;
			process.is_supervisor = a->children[i].type == SUP_SUPERVISOR;
		}
		query_list_add(&list, &process);
	}
	query_list_end(&list);
}

void
query_reply(struct server *s, const struct sup_action *a)
{
	struct wait *wait = reload_replied(s, a) ? NULL : find_wait(s, a->request);
	const char *text = a->code < 0 ? stash_strerror(a->code) : "";

	if (wait == NULL)
		return; /* nobody waits any more */
	if (wait->admin != NULL)
		admin_reply(wait, a);
	else if (wait->type == STASH__B_WHICH && a->code >= 0)
		reply_children(s, wait, a);
	else if (wait->type == STASH__B_WHICH)
		peer_result(wait->peer, STASH__B_PROCESSES, wait->number, a->code, text);
	else
		peer_done(wait->peer, wait->number, a->code, a->term[0] != '\0' ? a->term : text, a->term);
	wait_free(wait);
}

/* ---- acts ---- */

void
query_kill(struct peer *p, uint64_t number, const char *name, int signal)
{
	struct worker *w = registry_worker(p->server, name);

	if (w == NULL || registry_node(p->server, name) == NULL)
		peer_done(p, number, STASH_E_NOENT, "there is no such name", "");
	else if (w->now == NULL || !life_runs(w->now))
		peer_done(p, number, STASH_E_DOWN, "it has no process at the moment", "");
	else if (pidfd_send_signal(w->now->pidfd, signal, NULL, 0) < 0)
		peer_done(
		    p, number, stash__fail_errno("%s: can't be sent signal %d", name, signal), stash_errmsg(), "");
	else
		peer_done(p, number, 0, "", "");
}

static void
on_scanned(void *arg, int error, const char *text, struct mail *m)
{
	struct wait *wait = arg;
	struct stash_buf *buf = mail_begin(STASH__B_ROWS, wait->number);

	stash_buf_add_int(buf, error);
	stash_buf_add_text(buf, text);
	if (error == 0) {
		stash_buf_add_int(buf, stash_view_int(&m->view));
		stash_buf_add_int(buf, stash_view_int(&m->view));
	}
	peer_send(wait->peer, buf, m->fds, m->nfds);
	wait_free(wait);
}

void
query_scan(struct peer *p, uint64_t number, int64_t db, const void *from, size_t from_len, int64_t rows)
{
	struct stashlink *k = &p->server->stash;
	struct wait *wait = wait_create(p, WAIT_SCAN, STASH__B_SCAN, number, NULL);
	struct stash_buf *buf;

	if (wait == NULL)
		return;
	buf = stashlink_begin(k, STASH__S_SCAN);
	stash_buf_add_int(buf, db);
	stash_buf_add_bytes(buf, from, from_len);
	stash_buf_add_int(buf, rows);
	if (stashlink_send(k, buf, -1, on_scanned, wait) == 0) {
		peer_result(p, STASH__B_ROWS, number, STASH_E_NOMEM, "the supervisor has no memory");
		wait_free(wait);
	}
}

static void
on_copied(void *arg, int error, const char *text, struct mail *m)
{
	struct wait *wait = arg;

	(void)m;
	peer_done(wait->peer, wait->number, error, text, "");
	wait_free(wait);
}

void
query_copy(struct peer *p, uint64_t number, int fd)
{
	struct stashlink *k = &p->server->stash;
	struct wait *wait = fd < 0 ? NULL : wait_create(p, WAIT_SCAN, STASH__B_COPY, number, NULL);

	if (fd < 0) {
		peer_done(p, number, STASH_E_PROTO, "a copy of the store without a file for it", "");
	} else if (wait != NULL && stashlink_send(k, stashlink_begin(k, STASH__S_COPY), fd, on_copied, wait) == 0) {
		peer_done(p, number, STASH_E_NOMEM, "the supervisor has no memory or no descriptor", "");
		wait_free(wait);
	}
}
