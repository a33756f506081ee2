/* SPDX-License-Identifier: ISC */
/*
 * admin.c: OTP's requests about the children of a supervisor.  The machine decides; here what came is made into its
 * request, and its answer into a sentence, a term and what was asked for.  Nothing is done twice for a client that asks
 * again after a takeover, as far as that can be told: an instance below simple_one_for_one carries the token of the
 * request that made it, another child its id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "shm/record.h"
#include "shm/spec.h"
#include "stashd/describe.h"
#include "stashd/server.h"

struct admin {
	char *supervisor, *child; /* child NULL: none was named */
	char *wrong;		  /* what is wrong with the specification, in a sentence; NULL: nothing */
	bool again;		  /* a predecessor was asked, too */
	bool look;		  /* it was in the queue only to wait until an instance has started */
	uint8_t token[PLAN_TOKEN];
};

void
admin_free(struct admin *a)
{
	if (a == NULL)
		return;
	free(a->supervisor);
	free(a->child);
	free(a->wrong);
	free(a);
}

static struct admin *
create(struct peer *p, uint64_t number, const char *supervisor, const char *child)
{
	struct admin *a = calloc(1, sizeof(*a));

	if (a != NULL) {
		a->supervisor = strdup(supervisor);
		a->child = child != NULL ? strdup(child) : NULL;
		a->again = p->again == number && number != 0;
	}
	if (a != NULL && a->supervisor != NULL && (child == NULL || a->child != NULL))
		return a;
	admin_free(a);
	peer_done(p, number, STASH_E_NOMEM, "the supervisor has no memory", "");
	return NULL;
}

/* ---- what came ---- */

void
admin_on_again(struct peer *p, struct mail *m)
{
	uint64_t number = (uint64_t)stash_view_int(&m->view);

	if (stash_view_end(&m->view) == 0)
		p->again = number;
}

static enum sup_request_kind
kind_of(int64_t type)
{
	switch (type) {
	case STASH__B_TERMINATE_CHILD:
		return SUP_TERMINATE_CHILD;
	case STASH__B_RESTART_CHILD:
		return SUP_RESTART_CHILD;
	case STASH__B_DELETE_CHILD:
		return SUP_DELETE_CHILD;
	default:
		return SUP_GET_CHILDSPEC;
	}
}

void
admin_on_child(struct peer *p, struct mail *m)
{
	struct sup_request request = { .kind = kind_of(m->type) };
	struct admin *a;

	request.supervisor = stash_view_text(&m->view);
	request.child = stash_view_text(&m->view);
	if (stash_view_end(&m->view) < 0)
		return;
	a = create(p, m->number, request.supervisor, request.child);
	if (a != NULL)
		query_ask(p, m->type, m->number, &request, a);
}

void
admin_on_count(struct peer *p, struct mail *m)
{
	struct sup_request request = { .kind = SUP_COUNT_CHILDREN, .supervisor = stash_view_text(&m->view) };
	struct admin *a;

	if (stash_view_end(&m->view) < 0)
		return;
	a = create(p, m->number, request.supervisor, NULL);
	if (a != NULL)
		query_ask(p, m->type, m->number, &request, a);
}

/* ---- start_child ---- */

/* With a process, if there is one. */
static void
answer_started(
    struct peer *p, uint64_t number, int code, const char *text, const char *term, const struct sup_node *node)
{
	struct stash_buf *buf;
	struct stash_process process;

	if (node != NULL)
		query_fill(p->server, node, &process);
	buf = mail_begin(STASH__B_STARTED, number);
	stash_buf_add_int(buf, code);
	stash_buf_add_text(buf, text);
	stash_buf_add_text(buf, term);
	stash_buf_add_int(buf, node != NULL);
	if (node != NULL)
		(void)stash__pack_process(buf, &process);
	peer_send(p, buf, NULL, 0);
}

/* The instance that a request with this token has made; NULL: none. */
static const struct sup_node *
find_instance(struct server *s, const char *supervisor, const uint8_t token[PLAN_TOKEN])
{
	const struct sup_node *above = sup_find_path(s->machine, supervisor), *node = above;
	const void *args;
	size_t len;

	while (node != NULL && (node = sup_next(s->machine, node)) != NULL) {
		args = sup_node_args(node, &len);
		if (sup_node_above(node) == above && args != NULL && plan_is_instance(args, len, token))
			return node;
	}
	return NULL;
}

static void
start_instance(struct peer *p, uint64_t number, struct admin *a, const struct stash_child_spec *spec)
{
	struct sup_request request = { .kind = SUP_START_CHILD, .supervisor = a->supervisor };
	const struct sup_node *node = a->again ? find_instance(p->server, a->supervisor, a->token) : NULL;
	struct stash_buf args;
	int result;

	if (node != NULL) {
		/* It has been started, or is on its way: what comes behind it in the queue finds it up, or gone. */
		a->look = true;
		request.kind = SUP_WHICH_CHILDREN;
		query_ask(p, STASH__B_START_CHILD, number, &request, a);
		return;
	}
	stash__buf_init(&args, SUP_BLOB_MAX);
	result = plan_pack_instance(&args, a->token, spec->args);
	if (result == 0)
		result = stash_buf_data(&args, &request.args, &request.args_len);
	request.name = spec->name != NULL && spec->name[0] != '\0' ? spec->name : NULL;
	if (result == 0) {
		query_ask(p, STASH__B_START_CHILD, number, &request, a);
	} else {
		answer_started(p, number, result, stash_errmsg(), stash_errterm(), NULL);
		admin_free(a);
	}
	stash__buf_fini(&args);
}

/* What OTP checks is checked twice: here for a sentence, by the machine when it is the request's turn. */
static int
convert(struct server *s, struct admin *a, const struct stash_child_spec *spec, struct sup_spec **out)
{
	struct sup_convert how = { .pack = plan_pack, .arg = (void *)(uintptr_t)s->plans, .released = true };
	int result = sup_spec_make_child(&how, a->supervisor, spec, out);

	if (result != STASH_E_SPEC)
		return result;
	a->wrong = strdup(stash_errmsg());
	how.as_otp = true;
	return sup_spec_make_child(&how, a->supervisor, spec, out);
}

static void
start_child(struct peer *p, uint64_t number, struct admin *a, const struct stash_child_spec *spec)
{
	struct sup_request request = { .kind = SUP_START_CHILD, .supervisor = a->supervisor };
	int result = convert(p->server, a, spec, &request.spec);

	if (result == 0) {
		query_ask(p, STASH__B_START_CHILD, number, &request, a);
		sup_spec_unref(request.spec);
		return;
	}
	answer_started(p, number, result, stash_errmsg(), stash_errterm(), NULL);
	admin_free(a);
}

/* The machine has an answer to that of its own. */
static bool
is_there(struct server *s, const struct admin *a)
{
	char path[STASH_PATH_MAX + 1];

	return a->child != NULL && snprintf(path, sizeof(path), "%s/%s", a->supervisor, a->child) < (int)sizeof(path) &&
	    sup_find_path(s->machine, path) != NULL;
}

static unsigned
workers_of(const struct stash_child_spec *spec)
{
	const struct stash_supervisor_spec *below = spec->supervisor;
	unsigned n = below == NULL;

	if (below != NULL && below->strategy != STASH_SIMPLE_ONE_FOR_ONE)
		for (size_t i = 0; i < below->nchildren; i++)
			n += workers_of(&below->children[i]);
	return n;
}

static void
start(struct peer *p, uint64_t number, const char *supervisor, const void *token, const struct stash_child_spec *spec)
{
	const struct sup_node *node = sup_find_path(p->server->machine, supervisor);
	bool simple = node != NULL && sup_node_spec(node)->kind == SUP_SUPERVISOR &&
	    sup_node_spec(node)->strategy == STASH_SIMPLE_ONE_FOR_ONE;
	struct sup_request nowhere = { .kind = SUP_START_CHILD, .supervisor = supervisor };
	const char *name = spec->name != NULL || simple ? spec->name : spec->id;
	const struct alias *alias = name != NULL ? registry_alias(p->server, name) : NULL;
	struct admin *a;

	if (alias != NULL) {
		(void)stash__fail(STASH_E_EXIST, "the name %s is taken by %s", name, alias->owner->name);
		answer_started(p, number, STASH_E_EXIST, stash_errmsg(), "", NULL);
		return;
	}
	a = create(p, number, supervisor, simple ? NULL : spec->id);

	if (a == NULL)
		return;
	memcpy(a->token, token, PLAN_TOKEN);
	if (!a->again && !is_there(p->server, a) && files_for_workers(p->server, workers_of(spec)) < 0) {
		answer_started(p, number, STASH_E_BUSY, stash_errmsg(), "system_limit", NULL);
		admin_free(a);
		return;
	}
	if (simple)
		start_instance(p, number, a, spec);
	else if (node != NULL && sup_node_spec(node)->kind == SUP_SUPERVISOR)
		start_child(p, number, a, spec);
	else
		query_ask(p, STASH__B_START_CHILD, number, &nowhere, a);
}

void
admin_on_start(struct peer *p, struct mail *m)
{
	const char *supervisor = stash_view_text(&m->view);
	struct stash__child child;
	size_t len;
	const void *token = stash_view_bytes(&m->view, &len);

	if (len != PLAN_TOKEN)
		m->view.error = STASH_E_FORMAT;
	if (stash__view_child(&m->view, &child) == STASH_E_NOMEM)
		peer_done(p, m->number, STASH_E_NOMEM, "the supervisor has no memory", "");
	else if (stash_view_end(&m->view) == 0)
		start(p, m->number, supervisor, token, &child.spec);
	stash__child_free(&child);
}

/* ---- in words ---- */

/* Why its last start failed, as the worker said it. */
static const char *
why(struct server *s, const struct sup_action *reply)
{
	char name[STASH_NAME_MAX + 1];
	const struct worker *w;

	worker_slot_name(reply->path, reply->name, name);
	w = reply->path[0] != '\0' ? worker_find(s, name) : NULL;
	return w != NULL && w->why != NULL ? w->why : NULL;
}

static void
sentence_about_child(struct server *s, const struct admin *a, const struct sup_action *r, char *text, size_t size)
{
	const char *child = a->child != NULL ? a->child : r->name, *more = why(s, r);

	switch (r->code) {
	case STASH_E_STARTED:
		snprintf(text, size, "%s: child \"%s\" is started already%s", a->supervisor, child,
		    a->again ? ", perhaps by this very request, which was repeated to a new supervisor" : "");
		return;
	case STASH_E_PRESENT:
		snprintf(text, size,
		    "%s: child \"%s\" is there already and doesn't run: restart it, or delete it first%s",
		    a->supervisor, child,
		    a->again ? "; perhaps it comes from this very request, which was repeated" : "");
		return;
	case STASH_E_RUNNING:
		snprintf(text, size, "%s: child \"%s\" runs: terminate it first", a->supervisor, child);
		return;
	case STASH_E_RESTARTING:
		snprintf(text, size, "%s: child \"%s\" is being restarted: terminate it first, or try later",
		    a->supervisor, child);
		return;
	case STASH_E_EXIST:
		snprintf(text, size, "%s: the name of child \"%s\" is taken: give it another", a->supervisor, child);
		return;
	case STASH_E_START:
		snprintf(text, size, "%s: child \"%s\" couldn't be started: %s", a->supervisor, child,
		    more != NULL ? more : r->term);
		return;
	default:
		snprintf(text, size, "%s: child \"%s\": %s", a->supervisor, child,
		    r->term[0] != '\0' ? r->term : stash_strerror(r->code));
		return;
	}
}

static void
sentence(struct server *s, const struct admin *a, const struct sup_action *r, char *text, size_t size)
{
	bool noproc = strcmp(r->term, "noproc") == 0;

	text[0] = '\0';
	if (r->code >= 0)
		return;
	if (r->code == STASH_E_SPEC && a->wrong != NULL)
		snprintf(text, size, "%s", a->wrong);
	else if (r->code == STASH_E_NOENT && noproc)
		snprintf(text, size, "there is no supervisor %s", a->supervisor);
	else if (r->code == STASH_E_DOWN && noproc)
		snprintf(text, size, "supervisor %s doesn't run", a->supervisor);
	else if (r->code == STASH_E_NOENT)
		snprintf(text, size, "supervisor %s has no child \"%s\"; which-children %s lists what it has",
		    a->supervisor, a->child != NULL ? a->child : "", a->supervisor);
	else if (r->code == STASH_E_TEMPLATE)
		snprintf(text, size,
		    "supervisor %s is simple_one_for_one: its children are started and terminated (by name), no more",
		    a->supervisor);
	else
		sentence_about_child(s, a, r, text, size);
}

/* ---- answers ---- */

/* What was started before the takeover, now that it is up, or gone again. */
static void
answer_look(struct wait *wait)
{
	const struct admin *a = wait->admin;
	struct server *s = wait->peer->server;
	const struct sup_node *node = find_instance(s, a->supervisor, a->token);

	if (node != NULL)
		answer_started(wait->peer, wait->number, 0, "", "", node);
	else
		answer_started(wait->peer, wait->number, STASH_E_START,
		    "the start was under way when the supervisor died, and came to nothing", "init_error", NULL);
}

static void
answer_counts(struct wait *wait, const struct sup_action *r)
{
	struct stash_buf *buf = mail_begin(STASH__B_COUNTS, wait->number);

	stash_buf_add_int(buf, 0);
	stash_buf_add_text(buf, "");
	stash_buf_add_int(buf, (int64_t)r->specs);
	stash_buf_add_int(buf, (int64_t)r->active);
	stash_buf_add_int(buf, (int64_t)r->supervisors);
	stash_buf_add_int(buf, (int64_t)r->workers);
	peer_send(wait->peer, buf, NULL, 0);
}

enum { SPEC_PART = 64 * 1024 };

static void
send_parts(struct wait *wait, const unsigned char *data, size_t len)
{
	struct stash_buf *buf;
	size_t at = 0, n;

	do {
		n = len - at < SPEC_PART ? len - at : SPEC_PART;
		buf = mail_begin(STASH__B_CHILDSPEC, wait->number);
		stash_buf_add_int(buf, 0);
		stash_buf_add_text(buf, "");
		stash_buf_add_int(buf, at + n < len);
		stash_buf_add_int(buf, (int64_t)at);
		stash_buf_add_bytes(buf, data + at, n);
		peer_send(wait->peer, buf, NULL, 0);
		at += n;
	} while (at < len);
}

static void
answer_childspec(struct wait *wait, const struct sup_spec *spec)
{
	struct stash_buf buf;
	struct describe d;
	const void *data;
	size_t len;
	int result;

	stash__buf_init(&buf, STASH__BUF_MAX);
	result = describe_begin(&d, wait->peer->server->plans, spec);
	if (result == 0)
		result = stash__pack_child(&buf, &d.child);
	if (result == 0 && (result = stash_buf_data(&buf, &data, &len)) == 0)
		send_parts(wait, data, len);
	else
		peer_done(wait->peer, wait->number, result, stash_errmsg(), "");
	describe_end(&d);
	stash__buf_fini(&buf);
}

void
admin_reply(struct wait *wait, const struct sup_action *r)
{
	const struct admin *a = wait->admin;
	struct server *s = wait->peer->server;
	char text[STASH__ERRMSG_MAX];

	sentence(s, a, r, text, sizeof(text));
	if (a->look && r->code == 0)
		answer_look(wait);
	else if (wait->type == STASH__B_START_CHILD || wait->type == STASH__B_RESTART_CHILD)
		answer_started(wait->peer, wait->number, r->code, text, r->term, sup_find(s->machine, r->node));
	else if (r->code < 0)
		peer_done(wait->peer, wait->number, r->code, text, r->term);
	else if (wait->type == STASH__B_COUNT_CHILDREN)
		answer_counts(wait, r);
	else if (wait->type == STASH__B_GET_CHILDSPEC)
		answer_childspec(wait, r->spec);
	else
		peer_done(wait->peer, wait->number, 0, "", "");
}
