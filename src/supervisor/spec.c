/* SPDX-License-Identifier: ISC */
/*
 * Specifications: made, counted, checked as OTP checks them, packed for rows and
 * messages and read again. What comes out of rows and messages is foreign: each
 * length and value is checked before it is believed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "supervisor/spec.h"

/* How deep specifications may be nested in a message: no path has more ids. */
#define DEPTH_MAX (STASH_PATH_MAX / 2)

struct sup_spec *
sup_spec_create(enum sup_kind kind, const char *id, const char *name)
{
	struct sup_spec *spec = calloc(1, sizeof(*spec));

	if (spec == NULL)
		return NULL;
	spec->refs = 1;
	spec->kind = kind;
	spec->type = (int32_t)kind;
	spec->id = strdup(id);
	spec->name = strdup(kind == SUP_SUPERVISOR ? "" : name == NULL ? id : name);
	spec->shutdown_ms = kind == SUP_WORKER ? 5000 : STASH_INFINITY;
	spec->start_timeout_ms = 60000;
	spec->intensity = 1;
	spec->period_s = 5;
	if (spec->id == NULL || spec->name == NULL) {
		sup_spec_unref(spec);
		return NULL;
	}
	return spec;
}

struct sup_spec *
sup_spec_ref(struct sup_spec *spec)
{
	spec->refs++;
	return spec;
}

void
sup_spec_unref(struct sup_spec *spec)
{
	size_t i;

	if (spec == NULL || --spec->refs > 0)
		return;
	for (i = 0; i < spec->nchildren; i++)
		sup_spec_unref(spec->children[i]);
	free(spec->children);
	free(spec->payload);
	free(spec->name);
	free(spec->id);
	free(spec);
}

int
sup_spec_set_payload(struct sup_spec *spec, const void *data, size_t len)
{
	void *copy = NULL;

	if (len > SUP_BLOB_MAX)
		return stash__fail(STASH_E_TOOBIG, "the specification of %s is too large: %zu bytes", spec->id, len);
	if (len > 0) {
		if ((copy = malloc(len)) == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for the specification of %s", spec->id);
		memcpy(copy, data, len);
	}
	free(spec->payload);
	spec->payload = copy;
	spec->payload_len = len;
	return 0;
}

int
sup_spec_add_child(struct sup_spec *spec, struct sup_spec *child)
{
	size_t room = spec->nchildren;
	void *grown;

	if (child == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the children of %s", spec->id);
	if ((room & (room - 1)) == 0) { /* full: double it */
		grown = reallocarray(spec->children, room == 0 ? 1 : 2 * room, sizeof(struct sup_spec *));
		if (grown == NULL) {
			sup_spec_unref(child);
			return stash__fail(STASH_E_NOMEM, "no memory for the children of %s", spec->id);
		}
		spec->children = grown;
	}
	spec->children[spec->nchildren++] = child;
	return 0;
}

/* ---- as OTP checks it ---- */

const char *
sup_spec_check_flags(const struct sup_spec *spec)
{
	if (spec->strategy < STASH_ONE_FOR_ONE || spec->strategy > STASH_SIMPLE_ONE_FOR_ONE)
		return "invalid_strategy";
	if (spec->intensity < 0)
		return "invalid_intensity";
	if (spec->period_s <= 0)
		return "invalid_period";
	if (spec->auto_shutdown < STASH_AUTO_NEVER || spec->auto_shutdown > STASH_AUTO_ALL_SIGNIFICANT)
		return "invalid_auto_shutdown";
	return NULL;
}

const char *
sup_spec_check_child(const struct sup_spec *spec, int32_t auto_shutdown)
{
	if (spec->restart < STASH_PERMANENT || spec->restart > STASH_TEMPORARY)
		return "invalid_restart_type";
	if (spec->significant == 1 && (auto_shutdown == STASH_AUTO_NEVER || spec->restart == STASH_PERMANENT))
		return "bad_combination";
	if (spec->significant != 0 && spec->significant != 1)
		return "invalid_significant";
	if (spec->type != SUP_WORKER && spec->type != SUP_SUPERVISOR)
		return "invalid_child_type";
	if (spec->shutdown_ms < STASH_BRUTAL_KILL)
		return "invalid_shutdown";
	return NULL;
}

/* ---- packed ---- */

int
sup_spec_pack(const struct sup_spec *spec, struct stash_buf *buf)
{
	stash_buf_add_int(buf, spec->kind);
	stash_buf_add_text(buf, spec->id);
	stash_buf_add_text(buf, spec->name);
	stash_buf_add_int(buf, spec->type);
	stash_buf_add_int(buf, spec->restart);
	stash_buf_add_int(buf, spec->significant);
	stash_buf_add_int(buf, spec->shutdown_ms);
	stash_buf_add_int(buf, spec->start_timeout_ms);
	stash_buf_add_bytes(buf, spec->payload, spec->payload_len);
	stash_buf_add_int(buf, spec->strategy);
	stash_buf_add_int(buf, spec->auto_shutdown);
	stash_buf_add_int(buf, spec->intensity);
	stash_buf_add_int(buf, spec->period_s);
	return stash_buf_data(buf, NULL, NULL);
}

int
sup_spec_pack_tree(const struct sup_spec *spec, struct stash_buf *buf)
{
	size_t i;

	sup_spec_pack(spec, buf);
	stash_buf_add_int(buf, (int64_t)spec->nchildren);
	for (i = 0; i < spec->nchildren; i++)
		sup_spec_pack_tree(spec->children[i], buf);
	return stash_buf_data(buf, NULL, NULL);
}

static int
bad(const char *what)
{
	return stash__fail(STASH_E_CORRUPT, "a specification can't be read: %s", what);
}

static int32_t
take_int(struct stash_view *view)
{
	return (int32_t)stash__view_range(view, INT32_MIN, INT32_MAX);
}

/* Numbers come as they are, also wrong ones: what they mean is checked when the child is started. */
static int
take_fields(struct stash_view *view, struct sup_spec *spec)
{
	const void *payload;
	size_t len;

	spec->type = take_int(view);
	spec->restart = take_int(view);
	spec->significant = take_int(view);
	spec->shutdown_ms = take_int(view);
	spec->start_timeout_ms = take_int(view);
	payload = stash_view_bytes(view, &len);
	spec->strategy = take_int(view);
	spec->auto_shutdown = take_int(view);
	spec->intensity = take_int(view);
	spec->period_s = take_int(view);
	if (view->error != 0)
		return bad("it is cut short, or a number is out of range");
	if (spec->start_timeout_ms <= 0 && spec->start_timeout_ms != STASH_INFINITY)
		return bad("its start_timeout is no time");
	return sup_spec_set_payload(spec, payload, len);
}

int
sup_spec_unpack(struct stash_view *view, struct sup_spec **out)
{
	int64_t kind = stash__view_range(view, SUP_WORKER, SUP_SUPERVISOR);
	const char *id = stash_view_text(view), *name = stash_view_text(view);
	struct sup_spec *spec;
	int error;

	if (view->error != 0)
		return bad("it is cut short, or is of no known kind");
	if (stash__check_name(id) < 0 || (name[0] != '\0' && stash__check_name(name) < 0))
		return bad("its id or name isn't allowed");
	spec = sup_spec_create((enum sup_kind)kind, id, name);
	if (spec == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a specification");
	if ((error = take_fields(view, spec)) < 0) {
		sup_spec_unref(spec);
		return error;
	}
	*out = spec;
	return 0;
}

static int
unpack_tree(struct stash_view *view, struct sup_spec **out, int depth)
{
	struct sup_spec *spec, *child;
	int64_t count;
	int error;

	if (depth > DEPTH_MAX)
		return bad("it is nested too deeply");
	if ((error = sup_spec_unpack(view, &spec)) < 0)
		return error;
	count = stash__view_range(view, 0, spec->kind == SUP_SUPERVISOR ? INT32_MAX : 0);
	for (; count > 0 && error == 0 && view->error == 0; count--) {
		if ((error = unpack_tree(view, &child, depth + 1)) == 0)
			error = sup_spec_add_child(spec, child);
	}
	if (error == 0 && view->error != 0)
		error = bad("its children are cut short");
	if (error < 0) {
		sup_spec_unref(spec);
		return error;
	}
	*out = spec;
	return 0;
}

int
sup_spec_unpack_tree(struct stash_view *view, struct sup_spec **out)
{
	return unpack_tree(view, out, 0);
}
