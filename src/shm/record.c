/* SPDX-License-Identifier: ISC */
/*
 * Packing and reading records and processes. No struct of this machine is ever
 * stored or sent: each member is written by itself, in the order of its struct.
 */
#include "shm/record.h"

#include <string.h>

#include <bsd/string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "shm/fields.h"

/* ---- a process ---- */

/* With the status, of which older libraries take any number: for them it is one that they don't know. */
#define FAILED 256u

int
stash__pack_process(struct stash_buf *buf, const struct stash_process *process)
{
	stash_buf_add_text(buf, process->id);
	stash_buf_add_text(buf, process->name);
	stash_buf_add_text(buf, process->child);
	stash_buf_add_int(buf, process->pid);
	stash_buf_add_int(buf, process->status | (process->failed != 0 ? FAILED : 0));
	stash_buf_add_int(buf, process->is_supervisor);
	stash_buf_add_int(buf, (int64_t)process->start_time);
	stash_buf_add_int(buf, (int64_t)process->incarnation);
	stash_buf_add_int(buf, (int64_t)process->version);
	return stash_buf_add_int(buf, (int64_t)process->restarts);
}

/* A text that fits and has no character that a name may not have; "" is one. */
static int
view_name(struct stash_view *view, char *to, size_t size, int (*check)(const char *))
{
	const char *text = stash_view_text(view);

	if (view->error != 0)
		return STASH_E_FORMAT;
	if (*text != '\0' && check(text) < 0)
		return STASH_E_FORMAT;
	return strlcpy(to, text, size) < size ? STASH_OK : STASH_E_FORMAT;
}

int
stash__view_process(struct stash_view *view, struct stash_process *process)
{
	struct stash_process *p = process;
	int wrong;

	memset(p, 0, sizeof *p);
	wrong = view_name(view, p->id, sizeof p->id, stash__check_name);
	wrong |= view_name(view, p->name, sizeof p->name, stash__check_name);
	wrong |= view_name(view, p->child, sizeof p->child, stash__check_path);
	p->pid = (int32_t)stash__view_range(view, 0, INT32_MAX);
	p->status = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	p->failed = (p->status & FAILED) != 0;
	p->status &= ~FAILED;
	p->is_supervisor = (uint32_t)stash__view_range(view, 0, 1);
	p->start_time = (uint64_t)stash_view_int(view);
	p->incarnation = (uint64_t)stash_view_int(view);
	p->version = (uint64_t)stash_view_int(view);
	p->restarts = (uint64_t)stash_view_int(view);
	if (wrong == 0 && view->error == 0)
		return STASH_OK;
	memset(p, 0, sizeof *p);
	return stash__fail(STASH_E_FORMAT, "the description of a process can't be read");
}

/* ---- registry ---- */

int
stash__pack_registry(struct stash_buf *buf, const struct stash__registry_row *row)
{
	stash__pack_process(buf, &row->process);
	stash_buf_add(buf, row->boot_id, sizeof row->boot_id);
	return stash_buf_add_int(buf, row->since_ns);
}

int
stash__unpack_registry(const void *value, size_t len, struct stash__registry_row *row)
{
	struct stash_view view;
	const void *boot;
	int result;

	memset(row, 0, sizeof *row);
	stash_view_init(&view, value, len);
	result = stash__view_process(&view, &row->process);
	if (result < 0)
		return result;
	boot = stash__view_take(&view, sizeof row->boot_id);
	if (boot != NULL)
		memcpy(row->boot_id, boot, sizeof row->boot_id);
	row->since_ns = stash_view_int(&view);
	if (stash_view_end(&view) == STASH_OK)
		return STASH_OK;
	return stash__fail(STASH_E_FORMAT, "the registry's row of \"%s\" can't be read", row->process.name);
}

/* ---- events ---- */

/* A text of the length that events may have; cut between two characters. */
static void
pack_cut(struct stash_buf *buf, const char *text)
{
	char cut[STASH__EVENT_TEXT_MAX + 1];
	size_t len = strlcpy(cut, text != NULL ? text : "", sizeof cut);

	if (len > STASH__EVENT_TEXT_MAX) {
		for (len = STASH__EVENT_TEXT_MAX; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			continue;
		cut[len] = '\0';
	}
	stash_buf_add_text(buf, cut);
}

int
stash__pack_event(struct stash_buf *buf, const struct stash_event *event)
{
	stash_buf_add_int(buf, event->time_ns);
	stash_buf_add_int(buf, event->type);
	stash_buf_add_int(buf, event->reason);
	stash_buf_add_text(buf, event->child != NULL ? event->child : "");
	stash_buf_add_text(buf, event->name != NULL ? event->name : "");
	pack_cut(buf, event->text);
	return stash_buf_data(buf, NULL, NULL);
}

int
stash__unpack_event(uint64_t seq, const void *value, size_t len, struct stash_event *event)
{
	struct stash_view view;

	stash_view_init(&view, value, len);
	event->seq = seq;
	event->time_ns = stash_view_int(&view);
	event->type = (uint32_t)stash__view_range(&view, 0, UINT32_MAX);
	event->reason = (uint32_t)stash__view_range(&view, 0, UINT32_MAX);
	event->child = stash_view_text(&view);
	event->name = stash_view_text(&view);
	event->text = stash_view_text(&view);
	if (stash_view_end(&view) == STASH_OK)
		return STASH_OK;
	return stash__fail(STASH_E_FORMAT, "event %llu can't be read", (unsigned long long)seq);
}

/* ---- schema ---- */

int
stash__schema_key(unsigned char key[STASH__SCHEMA_KEY_MAX], const char *layout, uint32_t version, uint32_t chunk)
{
	int result = stash__check_name(layout);
	size_t len = strlen(layout) + 1;

	if (result < 0)
		return result;
	memcpy(key, layout, len);
	for (int shift = 24; shift >= 0; shift -= 8)
		key[len++] = (unsigned char)(version >> shift);
	for (int shift = 24; shift >= 0; shift -= 8)
		key[len++] = (unsigned char)(chunk >> shift);
	return (int)len;
}

int
stash__pack_schema(struct stash_buf *buf, const struct stash_field *fields, uint64_t image_len)
{
	int result = stash_buf_add_int(buf, (int64_t)image_len);

	return result < 0 ? result : stash__fields_pack(buf, fields, image_len);
}

int
stash__unpack_schema(const void *value, size_t len, uint64_t *image_len, struct stash_field **fields)
{
	struct stash_view view;

	*fields = NULL;
	stash_view_init(&view, value, len);
	*image_len = (uint64_t)stash__view_range(&view, 0, STASH_STATE_MAX);
	if (view.error != 0)
		return stash__fail(STASH_E_FORMAT, "the row of a layout can't be read");
	return stash__fields_unpack(view.at, view.left, *image_len, fields);
}
