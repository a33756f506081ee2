/* SPDX-License-Identifier: ISC */
/*
 * The nodes of the tree: made, found, named, moved from state to state, and
 * removed; and the restart history of a supervisor. Decides nothing: what is to
 * happen next is the business of the other files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "supervisor/node.h"

RB_GENERATE(sup_handles, sup_node, by_handle, sup_cmp_handle)
RB_GENERATE(sup_paths, sup_node, by_path, sup_cmp_path)
RB_GENERATE(sup_names, sup_node, by_name, sup_cmp_name)
RB_GENERATE(sup_deadlines, sup_node, by_deadline, sup_cmp_deadline)

#define MOVE(state) (1u << (state))

/* From each state the legal next ones. */
static const struct {
	const char *name;
	unsigned next;
} states[SUP_STATES] = {
	[SUP_DOWN] = { "down", MOVE(SUP_STARTING) | MOVE(SUP_RESTARTING) },
	[SUP_STARTING] = { "starting", MOVE(SUP_RUNNING) | MOVE(SUP_DOWN) | MOVE(SUP_ABORTING) | MOVE(SUP_KILLING) },
	[SUP_ABORTING] = { "aborting", MOVE(SUP_DOWN) | MOVE(SUP_KILLING) },
	[SUP_RUNNING] = { "running", MOVE(SUP_STOPPING) | MOVE(SUP_KILLING) | MOVE(SUP_EXITED) },
	[SUP_STOPPING] = { "stopping", MOVE(SUP_KILLING) | MOVE(SUP_DOWN) },
	[SUP_KILLING] = { "killing", MOVE(SUP_DOWN) },
	[SUP_EXITED] = { "exited", MOVE(SUP_DOWN) | MOVE(SUP_STARTING) },
	[SUP_RESTARTING] = { "restarting", MOVE(SUP_DOWN) | MOVE(SUP_STARTING) },
};

int
sup_cmp_handle(struct sup_node *a, struct sup_node *b)
{
	return a->handle < b->handle ? -1 : a->handle > b->handle;
}

int
sup_cmp_path(struct sup_node *a, struct sup_node *b)
{
	return strcmp(a->path, b->path);
}

int
sup_cmp_name(struct sup_node *a, struct sup_node *b)
{
	return strcmp(a->name, b->name);
}

int
sup_cmp_deadline(struct sup_node *a, struct sup_node *b)
{
	if (a->deadline != b->deadline)
		return a->deadline < b->deadline ? -1 : 1;
	return sup_cmp_handle(a, b);
}

void *
sup_alloc(size_t size)
{
	void *p = calloc(1, size);

	STASH_ASSERT(p != NULL);
	return p;
}

char *
sup_text(const char *text)
{
	char *copy;

	if (text == NULL)
		return NULL;
	copy = strdup(text);
	STASH_ASSERT(copy != NULL);
	return copy;
}

const char *
sup_state_name(enum sup_state state)
{
	return states[state].name;
}

bool
sup_legal_move(enum sup_state from, enum sup_state to)
{
	return (states[from].next & MOVE(to)) != 0;
}

bool
sup_is_alive(enum sup_state state)
{
	switch (state) {
	case SUP_STARTING:
	case SUP_ABORTING:
	case SUP_RUNNING:
	case SUP_STOPPING:
	case SUP_KILLING:
		return true;
	case SUP_DOWN:
	case SUP_EXITED:
	case SUP_RESTARTING:
		return false;
	}
	return false;
}

bool
sup_is_simple(const struct sup_node *n)
{
	return n->spec->strategy == STASH_SIMPLE_ONE_FOR_ONE;
}

static void
make_path(struct sup_node *n, const struct sup_node *above, const char *id)
{
	size_t room = (above == NULL ? 0 : strlen(above->path) + 1) + strlen(id) + 1;

	n->path = sup_alloc(room);
	if (above == NULL)
		snprintf(n->path, room, "%s", id);
	else
		snprintf(n->path, room, "%s/%s", above->path, id);
	n->id = n->path + (room - 1 - strlen(id));
}

static struct sup_super *
super_create(void)
{
	struct sup_super *s = sup_alloc(sizeof(*s));

	TAILQ_INIT(&s->children);
	TAILQ_INIT(&s->queue);
	TAILQ_INIT(&s->ended);
	return s;
}

/*
 * A new child at the end of its supervisor, or the top if above is NULL. NULL if that path is taken or too long. The
 * name is only noted: sup_claim_name() takes it.
 */
struct sup_node *
sup_node_create(struct sup *sup, struct sup_node *above, struct sup_spec *spec, const char *id, const char *name)
{
	struct sup_node *n = sup_alloc(sizeof(*n));

	make_path(n, above, id);
	if (strlen(n->path) > STASH_PATH_MAX || RB_INSERT(sup_paths, &sup->paths, n) != NULL) {
		free(n->path);
		free(n);
		return NULL;
	}
	n->handle = ++sup->handle;
	RB_INSERT(sup_handles, &sup->handles, n);
	n->above = above;
	n->name = sup_text(name);
	n->spec = sup_spec_ref(spec);
	n->deadline = SUP_NEVER;
	n->last = STASH_REASON_NOPROC;
	if (spec->kind == SUP_SUPERVISOR)
		n->sub = super_create();
	if (above == NULL) {
		sup->root = n;
	} else {
		n->place = ++above->sub->places;
		above->sub->nchildren++;
		TAILQ_INSERT_TAIL(&above->sub->children, n, sibling);
	}
	sup_touch(sup, n);
	return n;
}

static void
unlink_node(struct sup *sup, struct sup_node *n)
{
	RB_REMOVE(sup_handles, &sup->handles, n);
	RB_REMOVE(sup_paths, &sup->paths, n);
	if (n->holds_name)
		RB_REMOVE(sup_names, &sup->names, n);
	sup->freed = sup->freed || (n->holds_name && sup->blocked);
	sup->changing -= n->change != SUP_KEEP;
	if (n->deadline != SUP_NEVER)
		RB_REMOVE(sup_deadlines, &sup->deadlines, n);
	if (n->dirty)
		TAILQ_REMOVE(&sup->dirty, n, dirty_link);
	if (n->ready)
		TAILQ_REMOVE(&sup->ready, n, ready_link);
	if (n->above == NULL) {
		sup->root = NULL;
		return;
	}
	n->above->sub->nchildren--;
	n->above->sub->alive -= sup_is_alive(n->state);
	n->above->sub->retrying -= n->state == SUP_RESTARTING;
	TAILQ_REMOVE(&n->above->sub->children, n, sibling);
}

static void
super_free(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;
	struct sup_msg *msg;

	while ((c = TAILQ_LAST(&n->sub->children, sup_nodes)) != NULL)
		sup_node_free(sup, c);
	while ((msg = TAILQ_FIRST(&n->sub->queue)) != NULL) {
		TAILQ_REMOVE(&n->sub->queue, msg, link);
		sup_msg_free(msg);
	}
	sup_ended_clear(n);
	sup_ask_free(n->sub->op.ask);
	free(n->sub->op.term);
	free(n->sub);
}

void
sup_node_free(struct sup *sup, struct sup_node *n)
{
	if (n->sub != NULL)
		super_free(sup, n);
	unlink_node(sup, n);
	sup_spec_unref(n->spec);
	free(n->args);
	free(n->name);
	free(n->path);
	free(n);
}

static void
tell_removed(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;

	if (n->sub != NULL) {
		TAILQ_FOREACH_REVERSE(c, &n->sub->children, sup_nodes, sibling)
			tell_removed(sup, c);
		if (n->own_spec)
			sup_forget_specs(sup, n);
	} else {
		sup_act_gone(sup, n);
	}
	sup_act_forget(sup, n->path);
}

/* Start numbers grow, also over the end of the nodes that had them. */
static void
keep_start(struct sup *sup, struct sup_node *above, const struct sup_node *n)
{
	uint64_t last = n->sub != NULL && n->sub->last_start > n->start ? n->sub->last_start : n->start;
	const struct sup_node *c;

	if (last > above->sub->last_start) {
		above->sub->last_start = last;
		sup_touch(sup, above);
	}
	if (n->sub == NULL)
		return;
	TAILQ_FOREACH(c, &n->sub->children, sibling)
		keep_start(sup, above, c);
}

void
sup_node_remove(struct sup *sup, struct sup_node *n)
{
	STASH_ASSERT(!sup_is_alive(n->state));
	if (n->above != NULL)
		keep_start(sup, n->above, n);
	if (n->instance && n->up != 0)
		sup_ended_add(n->above, n->id);
	tell_removed(sup, n);
	sup_node_free(sup, n);
}

void
sup_node_set_spec(struct sup *sup, struct sup_node *n, struct sup_spec *spec, bool own)
{
	if (n->own_spec && n->sub != NULL)
		sup_forget_specs(sup, n);
	sup_spec_ref(spec);
	sup_spec_unref(n->spec);
	n->spec = spec;
	n->own_spec = own;
	if (own && n->sub != NULL)
		sup_save_specs(sup, n);
	sup_touch(sup, n);
}

void
sup_node_set_name(struct sup *sup, struct sup_node *n, const char *name)
{
	if (strcmp(n->name, name) == 0)
		return;
	if (n->holds_name)
		RB_REMOVE(sup_names, &sup->names, n);
	n->holds_name = false;
	free(n->name);
	n->name = sup_text(name);
	sup_touch(sup, n);
}

/* A name belongs to the child, from its first start until it is no child any more. */
bool
sup_claim_name(struct sup *sup, struct sup_node *n)
{
	if (n->holds_name || n->name[0] == '\0')
		return true;
	if (RB_INSERT(sup_names, &sup->names, n) != NULL)
		return false;
	n->holds_name = true;
	return true;
}

static bool
is_group(const struct sup_node *n)
{
	return n->spec->strategy == STASH_ONE_FOR_ALL || n->spec->strategy == STASH_REST_FOR_ONE;
}

/* What is told of the children that are down hangs on their supervisor, and on siblings that are tried again. */
void
sup_set_state(struct sup *sup, struct sup_node *n, enum sup_state state)
{
	STASH_ASSERT(sup_legal_move(n->state, state));
	if (n->above != NULL) {
		n->above->sub->alive -= sup_is_alive(n->state);
		n->above->sub->alive += sup_is_alive(state);
		n->above->sub->retrying -= n->state == SUP_RESTARTING;
		n->above->sub->retrying += state == SUP_RESTARTING;
	}
	if (n->above != NULL && (n->state == SUP_RESTARTING || state == SUP_RESTARTING) && is_group(n->above))
		sup_touch_down(sup, n->above);
	n->state = state;
	if (state != SUP_EXITED)
		n->blameless = false;
	sup_set_deadline(sup, n, SUP_NEVER);
	sup_touch(sup, n);
	if (n->sub != NULL)
		sup_touch_down(sup, n);
}

/* What is told of the children below hangs on it, too. */
void
sup_set_failed(struct sup *sup, struct sup_node *n, bool failed)
{
	if (n->failed == failed)
		return;
	n->failed = failed;
	sup_touch(sup, n);
	if (n->sub != NULL)
		sup_touch_down(sup, n);
}

void
sup_set_deadline(struct sup *sup, struct sup_node *n, int64_t deadline)
{
	if (n->deadline != SUP_NEVER)
		RB_REMOVE(sup_deadlines, &sup->deadlines, n);
	n->deadline = deadline;
	if (deadline != SUP_NEVER)
		RB_INSERT(sup_deadlines, &sup->deadlines, n);
}

void
sup_touch(struct sup *sup, struct sup_node *n)
{
	if (n->dirty)
		return;
	n->dirty = true;
	TAILQ_INSERT_TAIL(&sup->dirty, n, dirty_link);
}

void
sup_touch_down(struct sup *sup, struct sup_node *n)
{
	struct sup_node *c;

	TAILQ_FOREACH(c, &n->sub->children, sibling) {
		if (c->state != SUP_DOWN)
			continue;
		sup_touch(sup, c);
		if (c->sub != NULL)
			sup_touch_down(sup, c);
	}
}

struct sup_node *
sup_child_find(const struct sup *sup, const struct sup_node *n, const char *id)
{
	char path[STASH_PATH_MAX + 1];
	int len = snprintf(path, sizeof(path), "%s/%s", n->path, id);
	const struct sup_node *found;

	if (len < 0 || (size_t)len >= sizeof(path) || strchr(id, '/') != NULL)
		return NULL;
	found = sup_find_path(sup, path);
	return (struct sup_node *)(uintptr_t)found;
}

/* Two neighbours become one, at the time of the later one: nothing is forgotten too early. */
static void
coarsen(struct sup_history *h)
{
	size_t i;

	for (i = 0; i < h->runs / 2; i++) {
		h->run[i].at = h->run[2 * i + 1].at;
		h->run[i].count = h->run[2 * i].count + h->run[2 * i + 1].count;
	}
	if (h->runs % 2 != 0)
		h->run[i++] = h->run[h->runs - 1];
	h->runs = i;
}

/* A restart counts for one period. */
bool
sup_history_add(struct sup_node *n, int64_t now)
{
	struct sup_history *h = &n->sub->history;
	int64_t period = (int64_t)n->spec->period_s * 1000000000;
	size_t old = 0;

	while (old < h->runs && now - h->run[old].at > period)
		h->total -= h->run[old++].count;
	h->runs -= old;
	memmove(h->run, h->run + old, h->runs * sizeof(h->run[0]));
	if (h->runs == SUP_HISTORY_MAX)
		coarsen(h);
	h->run[h->runs].at = now;
	h->run[h->runs++].count = 1;
	h->total++;
	return h->total <= n->spec->intensity;
}
