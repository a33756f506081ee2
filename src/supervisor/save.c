/* SPDX-License-Identifier: ISC */
/*
 * The rows in which the tree outlives its supervisor. There is one for each node,
 * at its path: what can't be derived from others. There is one for each part of a
 * specification that no specification above contains (the top's, and those of
 * supervisors added later), at "PATH//NUMBER", counted in depth before breadth;
 * those change only with the specification. Requests are not in them: who asked
 * asks again.
 *
 * A node's row, as items of <stash/buf.h>:
 *
 *	int	ROW_FORMAT
 *	int	flags, as below
 *	int	place among its siblings, growing, with gaps
 *	...	OWN: its specification (spec.c), and the number of its children there
 *	int	state; number of the last start; of the last that was ready; restarts; reason of the last end
 *	int	order of its exit, of its next restart attempt, in the queue above; 0: none
 *	int	deadline in ns; SUP_NEVER
 *	text	INSTANCE: its name, then bytes: its arguments
 *	...	SUPER: operation (kind, outcome, cause, COUNTED | RESUMED, code; texts: id of the child under way,
 *		of the pivot, term), order of the stop in its queue, highest start number of the children that are
 *		gone, count of instances, ghost; the restart history: count of pairs, then time in ns and count
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "supervisor/node.h"
#include "supervisor/row.h"

static const char *
id_of(const struct sup_node *c)
{
	return c == NULL ? "" : c->id;
}

static void
pack_op(const struct sup_op *op, struct stash_buf *buf)
{
	stash_buf_add_int(buf, op->kind);
	stash_buf_add_int(buf, op->outcome);
	stash_buf_add_int(buf, op->cause);
	stash_buf_add_int(buf, (op->counted ? ROW_OP_COUNTED : 0) | (op->resumed ? ROW_OP_RESUMED : 0));
	stash_buf_add_int(buf, op->code);
	stash_buf_add_text(buf, id_of(op->current));
	stash_buf_add_text(buf, id_of(op->pivot));
	stash_buf_add_text(buf, op->term == NULL ? "" : op->term);
}

static void
pack_super(const struct sup_super *s, struct stash_buf *buf)
{
	size_t i;

	pack_op(&s->op, buf);
	stash_buf_add_int(buf, (int64_t)s->stop_seq);
	stash_buf_add_int(buf, (int64_t)s->last_start);
	stash_buf_add_int(buf, (int64_t)s->instances);
	stash_buf_add_int(buf, s->ghost);
	stash_buf_add_int(buf, (int64_t)s->history.runs);
	for (i = 0; i < s->history.runs; i++) {
		stash_buf_add_int(buf, s->history.run[i].at);
		stash_buf_add_int(buf, s->history.run[i].count);
	}
}

static int64_t
flags_of(const struct sup_node *n)
{
	return (n->own_spec ? ROW_OWN : 0) | (n->instance ? ROW_INSTANCE : 0) | (n->sub != NULL ? ROW_SUPER : 0) |
	    (n->holds_name ? ROW_HOLDS_NAME : 0) | (n->wanted == SUP_WANTED ? ROW_WANTED : 0) |
	    (n->wanted == SUP_WANTED_AS_IT_WAS ? ROW_AS_IT_WAS : 0) | (int64_t)n->change * ROW_CHANGE |
	    (n->state == SUP_EXITED && n->blameless ? ROW_BLAMELESS : 0) | (n->failed ? ROW_FAILED : 0);
}

static int
pack_node(const struct sup_node *n, struct stash_buf *buf)
{
	stash_buf_add_int(buf, ROW_FORMAT);
	stash_buf_add_int(buf, flags_of(n));
	stash_buf_add_int(buf, (int64_t)n->place);
	if (n->own_spec) {
		sup_spec_pack(n->spec, buf);
		stash_buf_add_int(buf, (int64_t)n->spec->nchildren);
	}
	stash_buf_add_int(buf, n->state);
	stash_buf_add_int(buf, (int64_t)n->start);
	stash_buf_add_int(buf, (int64_t)n->up);
	stash_buf_add_int(buf, (int64_t)n->restarts);
	stash_buf_add_int(buf, n->last);
	stash_buf_add_int(buf, n->state == SUP_EXITED ? (int64_t)n->exit_seq : 0);
	stash_buf_add_int(buf, n->retries > 0 ? (int64_t)n->retry_seq : 0);
	stash_buf_add_int(buf, n->deadline);
	if (n->instance) {
		stash_buf_add_text(buf, n->name);
		stash_buf_add_bytes(buf, n->args, n->args_len);
	}
	if (n->sub != NULL)
		pack_super(n->sub, buf);
	return stash_buf_data(buf, NULL, NULL);
}

/* ---- parts of specifications ---- */

/* Number counts down to the part that is looked for; NULL: it isn't in here. */
static struct sup_spec *
part(struct sup_spec *spec, size_t *number)
{
	struct sup_spec *found;
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		if ((*number)-- == 0)
			return spec->children[i];
		if ((found = part(spec->children[i], number)) != NULL)
			return found;
	}
	return NULL;
}

static int
pack_part(const struct sup_spec *spec, struct stash_buf *buf)
{
	stash_buf_add_int(buf, ROW_FORMAT);
	sup_spec_pack(spec, buf);
	stash_buf_add_int(buf, (int64_t)spec->nchildren);
	return stash_buf_data(buf, NULL, NULL);
}

static void
spec_key(char key[SUP_KEY_MAX + 1], const struct sup_node *n, size_t number)
{
	snprintf(key, SUP_KEY_MAX + 1, "%s//%zu", n->path, number);
}

static void
save_parts(struct sup *sup, const struct sup_node *n, struct sup_spec *spec, size_t *number)
{
	char key[SUP_KEY_MAX + 1];
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		spec_key(key, n, (*number)++);
		sup_act_save_spec(sup, key, spec->children[i]);
		save_parts(sup, n, spec->children[i], number);
	}
}

void
sup_save_specs(struct sup *sup, const struct sup_node *n)
{
	size_t number = 0;

	save_parts(sup, n, n->spec, &number);
}

static size_t
count_parts(const struct sup_spec *spec)
{
	size_t i, count = spec->nchildren;

	for (i = 0; i < spec->nchildren; i++)
		count += count_parts(spec->children[i]);
	return count;
}

void
sup_forget_specs(struct sup *sup, const struct sup_node *n)
{
	char key[SUP_KEY_MAX + 1];
	size_t i, count = count_parts(n->spec);

	for (i = 0; i < count; i++) {
		spec_key(key, n, i);
		sup_act_forget(sup, key);
	}
}

/* All parts in their order; room for count_parts(). */
static size_t
list_parts(struct sup_spec *spec, struct sup_spec **list, size_t at)
{
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		list[at++] = spec->children[i];
		at = list_parts(spec->children[i], list, at);
	}
	return at;
}

/* Whether the part's row is as it was. */
static bool
same_part(const struct sup_spec *a, const struct sup_spec *b)
{
	return strcmp(a->id, b->id) == 0 && a->nchildren == b->nchildren && sup_spec_compare(a, b) == 0;
}

/* Few rows for a small change: they go into one entry. */
void
sup_update_specs(struct sup *sup, struct sup_node *n, struct sup_spec *spec)
{
	size_t i, before = count_parts(n->spec), after = count_parts(spec);
	struct sup_spec **old = sup_alloc((before + after + 1) * sizeof(struct sup_spec *)), **new = old + before;
	char key[SUP_KEY_MAX + 1];

	(void)list_parts(n->spec, old, 0);
	(void)list_parts(spec, new, 0);
	for (i = 0; i < before || i < after; i++) {
		spec_key(key, n, i);
		if (i >= after)
			sup_act_forget(sup, key);
		else if (i >= before || !same_part(old[i], new[i]))
			sup_act_save_spec(sup, key, new[i]);
	}
	free(old);
	sup_spec_ref(spec);
	sup_spec_unref(n->spec);
	n->spec = spec;
	sup_touch(sup, n);
}

/* ---- by key ---- */

bool
sup_spec_key(const char *key, size_t *path_len, size_t *number)
{
	const char *cut = strstr(key, "//"), *at;

	if (cut == NULL)
		return false;
	*path_len = (size_t)(cut - key);
	*number = 0;
	for (at = cut + 2; *at >= '0' && *at <= '9' && at - cut < 10; at++)
		*number = *number * 10 + (size_t)(*at - '0');
	return at > cut + 2 && *at == '\0';
}

static int
pack_by_spec_key(const struct sup *sup, const char *key, size_t path_len, size_t number, struct stash_buf *buf)
{
	const struct sup_node *n;
	struct sup_spec *spec;
	char *path;

	if (sup->given != NULL && sup->given->key != NULL && sup->given->spec != NULL &&
	    strcmp(sup->given->key, key) == 0)
		return pack_part(sup->given->spec, buf);
	path = sup_text(key);
	path[path_len] = '\0';
	n = sup_find_path(sup, path);
	free(path);
	if (n == NULL || !n->own_spec || (spec = part(n->spec, &number)) == NULL)
		return stash__fail(STASH_E_NOENT, "there is no row %s in the tree", key);
	return pack_part(spec, buf);
}

int
sup_pack(const struct sup *sup, const char *key, struct stash_buf *buf)
{
	const struct sup_node *n;
	size_t path_len, number;

	if (sup_spec_key(key, &path_len, &number))
		return pack_by_spec_key(sup, key, path_len, number, buf);
	n = sup_find_path(sup, key);
	if (n == NULL)
		return stash__fail(STASH_E_NOENT, "there is no row %s in the tree", key);
	return pack_node(n, buf);
}

void
sup_save_all(struct sup *sup)
{
	struct sup_node *n;

	for (n = sup->root; n != NULL; n = (struct sup_node *)(uintptr_t)sup_next(sup, n)) {
		if (n->own_spec && n->sub != NULL)
			sup_save_specs(sup, n);
		sup_touch(sup, n);
	}
}
