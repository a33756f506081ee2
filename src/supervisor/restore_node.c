/* SPDX-License-Identifier: ISC */
/*
 * One node out of its row: its place, its state, and of a supervisor what it was
 * at. Whether all nodes fit together is asked at the end, in restore.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "supervisor/restore.h"
#include "supervisor/row.h"

static void
expect(struct sup_rebuild *r, uint64_t seq, enum sup_msg_kind kind, struct sup_node *queue, struct sup_node *child)
{
	struct sup_pending *p;

	if (seq == 0)
		return;
	p = &r->pending[r->npending++];
	p->seq = seq;
	p->kind = kind;
	p->queue = queue;
	p->child = child;
	if (seq > r->sup->seq)
		r->sup->seq = seq;
}

static uint64_t
take_count(struct stash_view *view)
{
	return (uint64_t)stash__view_range(view, 0, INT64_MAX - 1);
}

static void
take_state(struct sup_rebuild *r, struct sup_item *it, struct sup_node *n)
{
	struct stash_view *view = &it->view;
	uint64_t exit_seq, retry_seq;

	n->state = (enum sup_state)stash__view_range(view, 0, SUP_STATES - 1);
	n->start = take_count(view);
	n->up = take_count(view);
	n->restarts = take_count(view);
	n->last = (enum stash_reason)stash__view_range(view, 0, STASH_REASON_NOPROC);
	exit_seq = take_count(view);
	retry_seq = take_count(view);
	n->deadline = stash__view_range(view, 0, INT64_MAX);
	if ((it->flags & ROW_AS_IT_WAS) != 0)
		n->wanted = SUP_WANTED_AS_IT_WAS;
	else if ((it->flags & ROW_WANTED) != 0)
		n->wanted = SUP_WANTED;
	if (n->start > r->sup->start)
		r->sup->start = n->start;
	if (n->above == NULL)
		return;
	if (n->state == SUP_EXITED)
		expect(r, exit_seq, SUP_MSG_EXIT, n->above, n);
	expect(r, retry_seq, SUP_MSG_RETRY, n->above, n);
}

static void
take_op(struct stash_view *view, struct sup_op *op, const char *id[2])
{
	const char *term;
	int64_t flags;

	op->kind = (enum sup_op_kind)stash__view_range(view, 0, SUP_OP_LAST);
	op->outcome = (enum sup_outcome)stash__view_range(view, 0, SUP_OUT_BEGIN);
	op->cause = (enum sup_cause)stash__view_range(view, 0, SUP_CAUSE_AUTO);
	flags = stash__view_range(view, 0, ROW_OP_COUNTED | ROW_OP_RESUMED);
	op->counted = (flags & ROW_OP_COUNTED) != 0;
	op->resumed = (flags & ROW_OP_RESUMED) != 0;
	op->code = (int)stash__view_range(view, STASH_E_TEMPLATE, 0);
	id[0] = stash_view_text(view);
	id[1] = stash_view_text(view);
	term = stash_view_text(view);
	if (term[0] != '\0')
		op->term = sup_text(term);
}

static int
take_super(struct sup_rebuild *r, struct sup_item *it, struct sup_node *n, const char *id[2])
{
	struct stash_view *view = &it->view;
	struct sup_super *s = n->sub;
	size_t i;

	take_op(view, &s->op, id);
	s->stop_seq = take_count(view);
	s->last_start = take_count(view);
	if (s->last_start > r->sup->start)
		r->sup->start = s->last_start;
	s->instances = take_count(view);
	s->ghost = stash__view_range(view, 0, 1) != 0;
	s->history.runs = (size_t)stash__view_range(view, 0, SUP_HISTORY_MAX);
	for (i = 0; i < s->history.runs; i++) {
		s->history.run[i].at = stash__view_range(view, 0, INT64_MAX);
		s->history.run[i].count = stash__view_range(view, 1, INT32_MAX);
		s->history.total += s->history.run[i].count;
		if (i > 0 && s->history.run[i].at < s->history.run[i - 1].at)
			return sup_bad_row(it->key, "its restart history is out of order");
	}
	expect(r, s->stop_seq, SUP_MSG_STOP, n, NULL);
	return 0;
}

static const struct sup_node *
find_above(struct sup_rebuild *r, const struct sup_item *it, const char **id)
{
	const char *cut = strrchr(it->key, '/');
	const struct sup_node *above;
	char *path;

	*id = cut == NULL ? it->key : cut + 1;
	if (cut == NULL)
		return NULL;
	path = sup_text(it->key);
	path[cut - it->key] = '\0';
	above = sup_find_path(r->sup, path);
	free(path);
	return above;
}

/* NULL: it can't be there, and the message says why. */
static struct sup_node *
create_node(struct sup_rebuild *r, struct sup_item *it)
{
	const char *id;
	struct sup_node *above = (struct sup_node *)(uintptr_t)find_above(r, it, &id), *n;
	struct sup_spec *spec = NULL;

	if (it->depth == 0 ? r->sup->root != NULL : above == NULL || above->sub == NULL) {
		(void)sup_bad_row(it->key, "it hangs in no tree");
		return NULL;
	}
	if (sup_take_spec(r, it, above, id, &spec) < 0)
		return NULL;
	if ((spec->kind == SUP_SUPERVISOR) != ((it->flags & ROW_SUPER) != 0) ||
	    (strcmp(spec->id, id) != 0 && (it->flags & ROW_INSTANCE) == 0)) {
		sup_spec_unref(spec);
		(void)sup_bad_row(it->key, "its specification is another one's");
		return NULL;
	}
	n = sup_node_create(r->sup, above, spec, id, spec->name);
	sup_spec_unref(spec);
	if (n == NULL) {
		(void)sup_bad_row(it->key, "it is there twice");
		return NULL;
	}
	n->place = it->place;
	if (above != NULL && above->sub->places < it->place)
		above->sub->places = it->place;
	return n;
}

static int
take_instance(struct sup_rebuild *r, struct sup_item *it, struct sup_node *n)
{
	const char *name = stash_view_text(&it->view);
	const void *args;

	args = stash_view_bytes(&it->view, &n->args_len);
	if (it->view.error != 0 || (name[0] != '\0' && stash__check_name(name) < 0)) {
		n->args_len = 0;
		return sup_bad_row(it->key, "its name or arguments can't be read");
	}
	n->instance = true;
	if (n->args_len > 0) {
		n->args = sup_alloc(n->args_len);
		memcpy(n->args, args, n->args_len);
	}
	sup_node_set_name(r->sup, n, name);
	return 0;
}

static void
count_node(struct sup_rebuild *r, struct sup_node *n)
{
	int64_t deadline = n->deadline;

	n->deadline = SUP_NEVER;
	sup_set_deadline(r->sup, n, deadline);
	if (n->above == NULL)
		return;
	n->above->sub->alive += sup_is_alive(n->state);
	n->above->sub->retrying += n->state == SUP_RESTARTING;
}

int
sup_take_node(struct sup_rebuild *r, struct sup_item *it, const char *id[2])
{
	struct sup_node *n = create_node(r, it);
	int error;

	if (n == NULL)
		return STASH_E_CORRUPT;
	take_state(r, it, n);
	count_node(r, n);
	n->own_spec = (it->flags & ROW_OWN) != 0;
	n->blameless = (it->flags & ROW_BLAMELESS) != 0 && n->state == SUP_EXITED;
	n->failed = (it->flags & ROW_FAILED) != 0 && !sup_is_alive(n->state);
	sup_set_change(r->sup, n, (enum sup_change)(it->flags % ROW_BLAMELESS / ROW_CHANGE));
	if ((it->flags & ROW_INSTANCE) != 0 && (error = take_instance(r, it, n)) < 0)
		return error;
	if (n->sub != NULL && (error = take_super(r, it, n, id)) < 0)
		return error;
	if (stash_view_end(&it->view) < 0)
		return sup_bad_row(it->key, "it has another length, or a number is out of range");
	if ((it->flags & ROW_HOLDS_NAME) != 0 && !sup_claim_name(r->sup, n))
		return sup_bad_row(it->key, "another child has its name");
	return 0;
}
