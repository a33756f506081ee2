/* SPDX-License-Identifier: ISC */
/*
 * Packing and reading specifications: text or none, lists, numbers, in the order
 * of the structs. The counts in foreign bytes are compared with what is left
 * before memory is taken for them.
 */
#include "shm/spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/take.h"

#define SPEC_FORMAT 1
/* How deep supervisors may be nested: no path has more ids. */
#define DEPTH_MAX (STASH_PATH_MAX / 2)
/* Bytes that a packed child has at least: 21 numbers. */
#define CHILD_MIN (21 * 8)

/* Members that are added to the structs have to be packed, too. */
_Static_assert(sizeof(struct stash_child_spec) == 128, "struct stash_child_spec has other members");
_Static_assert(sizeof(struct stash_supervisor_spec) == 48, "struct stash_supervisor_spec has other members");

/* ---- packing ---- */

static void
pack_text(struct stash_buf *buf, const char *text)
{
	stash_buf_add_int(buf, text != NULL);
	if (text != NULL)
		stash_buf_add_text(buf, text);
}

static void
pack_list(struct stash_buf *buf, const char *const *list)
{
	int64_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	stash_buf_add_int(buf, list != NULL ? n : -1);
	for (int64_t i = 0; i < n; i++)
		stash_buf_add_text(buf, list[i]);
}

static void
pack_numbers(struct stash_buf *buf, const struct stash_child_spec *in)
{
	const int64_t numbers[] = { in->restart, in->significant, in->notify, in->ack, in->type, in->shutdown_ms,
		in->start_timeout_ms, in->on_supervisor_loss, in->no_persist, in->max_attempts, in->handler_timeout_ms,
		in->history, in->poison_after, in->on_poison };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		stash_buf_add_int(buf, numbers[i]);
}

static int pack_child(struct stash_buf *buf, const void *from, int depth);

static int
pack_supervisor(struct stash_buf *buf, const struct stash_supervisor_spec *from, int depth)
{
	struct stash_supervisor_spec in;
	int result = stash__take(&in, sizeof in, from, "struct stash_supervisor_spec");

	if (result < 0)
		return result;
	stash_buf_add_int(buf, in.strategy);
	stash_buf_add_int(buf, in.auto_shutdown);
	stash_buf_add_int(buf, in.intensity);
	stash_buf_add_int(buf, in.period_s);
	if (in.nchildren > 0 && in.children == NULL)
		return stash__fail(STASH_E_INVAL, "children is NULL, and nchildren isn't 0");
	result = stash_buf_add_int(buf, (int64_t)in.nchildren);
	for (size_t i = 0; i < in.nchildren && result == 0; i++)
		result = pack_child(buf, stash__element(in.children, i), depth + 1);
	return result;
}

static int
pack_child(struct stash_buf *buf, const void *from, int depth)
{
	struct stash_child_spec in;
	int result;

	if (from == NULL)
		return stash__fail(STASH_E_INVAL, "the size of the first child is none");
	if (depth > DEPTH_MAX)
		return stash__fail(STASH_E_INVAL, "the specification is nested too deeply");
	result = stash__take(&in, sizeof in, from, "struct stash_child_spec");
	if (result < 0)
		return result;
	if (in.behaviour != NULL)
		return stash__fail(STASH_E_INVAL,
		    "a behaviour can't be given to a running tree by its address; give its behaviour_name, or a "
		    "module");
	pack_text(buf, in.id);
	pack_text(buf, in.name);
	pack_text(buf, in.behaviour_name);
	pack_text(buf, in.module);
	pack_list(buf, in.exec);
	pack_list(buf, in.args);
	pack_numbers(buf, &in);
	result = stash_buf_add_int(buf, in.supervisor != NULL);
	return result == 0 && in.supervisor != NULL ? pack_supervisor(buf, in.supervisor, depth) : result;
}

int
stash__pack_child(struct stash_buf *buf, const struct stash_child_spec *spec)
{
	stash_buf_add_int(buf, SPEC_FORMAT);
	return pack_child(buf, spec, 1);
}

/* ---- reading ---- */

struct stash__spec_block {
	struct stash__spec_block *next;
	max_align_t data[];
};

struct reading {
	struct stash_view *view;
	struct stash__child *child;
	bool nomem;
};

static void *
take_memory(struct reading *r, size_t bytes)
{
	struct stash__spec_block *block = calloc(1, sizeof *block + bytes);

	if (block == NULL) {
		r->nomem = true;
		r->view->error = STASH_E_NOMEM;
		return NULL;
	}
	block->next = r->child->memory;
	r->child->memory = block;
	return block->data;
}

/* A count of things that have at least so many bytes each. */
static int64_t
view_count(struct reading *r, int64_t min, size_t each)
{
	int64_t n = stash_view_int(r->view);

	if (r->view->error == 0 && (n < min || n > (int64_t)(r->view->left / each)))
		r->view->error = STASH_E_FORMAT;
	return r->view->error == 0 ? n : min;
}

static const char *
view_text(struct reading *r)
{
	const char *text;

	if (stash__view_range(r->view, 0, 1) == 0)
		return NULL;
	text = stash_view_text(r->view);
	return r->view->error == 0 ? text : NULL;
}

static const char *const *
view_list(struct reading *r)
{
	int64_t n = view_count(r, -1, 1);
	const char **list = n < 0 ? NULL : take_memory(r, ((size_t)n + 1) * sizeof *list);

	for (int64_t i = 0; list != NULL && i < n; i++)
		list[i] = stash_view_text(r->view);
	return list;
}

static uint32_t
view_u32(struct reading *r)
{
	return (uint32_t)stash__view_range(r->view, 0, UINT32_MAX);
}

static int32_t
view_i32(struct reading *r)
{
	return (int32_t)stash__view_range(r->view, INT32_MIN, INT32_MAX);
}

static void
view_numbers(struct reading *r, struct stash_child_spec *out)
{
	out->restart = view_u32(r);
	out->significant = view_u32(r);
	out->notify = view_u32(r);
	out->ack = view_u32(r);
	out->type = view_u32(r);
	out->shutdown_ms = view_i32(r);
	out->start_timeout_ms = view_i32(r);
	out->on_supervisor_loss = view_u32(r);
	out->no_persist = view_u32(r);
	out->max_attempts = view_u32(r);
	out->handler_timeout_ms = view_i32(r);
	out->history = view_u32(r);
	out->poison_after = view_u32(r);
	out->on_poison = view_u32(r);
}

static void view_child(struct reading *r, struct stash_child_spec *out, int depth);

static const struct stash_supervisor_spec *
view_supervisor(struct reading *r, int depth)
{
	struct stash_supervisor_spec *out = take_memory(r, sizeof *out);
	struct stash_child_spec *children;
	int64_t n;

	if (out == NULL)
		return NULL;
	out->size = sizeof *out;
	out->strategy = view_u32(r);
	out->auto_shutdown = view_u32(r);
	out->intensity = view_i32(r);
	out->period_s = view_u32(r);
	n = view_count(r, 0, CHILD_MIN);
	children = n > 0 ? take_memory(r, (size_t)n * sizeof *children) : NULL;
	out->children = children;
	out->nchildren = children != NULL ? (size_t)n : 0;
	for (int64_t i = 0; children != NULL && i < n && r->view->error == 0; i++)
		view_child(r, &children[i], depth + 1);
	return out;
}

static void
view_child(struct reading *r, struct stash_child_spec *out, int depth)
{
	out->size = sizeof *out;
	out->id = view_text(r);
	out->name = view_text(r);
	out->behaviour_name = view_text(r);
	out->module = view_text(r);
	out->exec = view_list(r);
	out->args = view_list(r);
	view_numbers(r, out);
	if (stash__view_range(r->view, 0, 1) == 0)
		return;
	if (depth >= DEPTH_MAX)
		r->view->error = STASH_E_FORMAT;
	else
		out->supervisor = view_supervisor(r, depth);
}

int
stash__view_child(struct stash_view *view, struct stash__child *child)
{
	struct reading r = { .view = view, .child = child };

	memset(child, 0, sizeof *child);
	(void)stash__view_range(view, SPEC_FORMAT, SPEC_FORMAT);
	view_child(&r, &child->spec, 1);
	if (r.nomem)
		return stash__fail(STASH_E_NOMEM, "no memory for a specification");
	return view->error == 0 ? STASH_OK : stash__fail(STASH_E_FORMAT, "a specification can't be read");
}

void
stash__child_free(struct stash__child *child)
{
	struct stash__spec_block *block;

	while ((block = child->memory) != NULL) {
		child->memory = block->next;
		free(block);
	}
}
