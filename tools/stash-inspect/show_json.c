/* SPDX-License-Identifier: ISC */
/*
 * What show has gathered, as one JSON object. Parts that there aren't are null.
 */
#include "shm/fields.h"
#include "stash-inspect/show.h"

static json_t *
json_process(const struct stash_process *p)
{
	json_t *o;

	if (*p->child == '\0')
		return json_null();
	o = tool_json_process(p);
	json_object_del(o, "schema");
	return o;
}

static json_t *
json_state(const struct shown *s)
{
	json_t *o = json_object();

	tool_json_set(o, "version", tool_json_number(s->state.version));
	tool_json_set(o, "committed", tool_json_time(s->state.committed_ns));
	tool_json_set(o, "durable", json_boolean(!s->has_slot || s->look.durable));
	tool_json_set(o, "layout", tool_json_string(s->state.layout));
	tool_json_set(o, "layout_version", json_integer((json_int_t)s->state.layout_version));
	tool_json_set(o, "bytes", tool_json_number(s->state.len));
	if (s->fields != NULL)
		tool_json_set(o, "fields", tool_json_fields(s->fields, s->state.data));
	else
		tool_json_set(o, "hex", tool_json_hex(s->state.data, s->state.len));
	if (s->words != NULL) {
		tool_json_set(o, "words", tool_json_string(s->words));
		tool_json_set(o, "words_version", tool_json_number(s->words_version));
	}
	return o;
}

static json_t *
json_message(const struct stash__box *box)
{
	json_t *o;

	if (box->in_hand == 0)
		return json_null();
	o = json_object();
	tool_json_set(o, "kind", json_string(tool_kind_name(box->kind)));
	tool_json_set(o, "tag", tool_json_string(box->tag));
	tool_json_set(o, "bytes", tool_json_number(box->len));
	tool_json_set(o, "attempt", json_integer((json_int_t)box->attempt));
	return o;
}

static json_t *
json_callbacks(const struct stash__box *box)
{
	json_t *o;

	if (bins_quantile(box->bins, 1) == 0)
		return json_null();
	o = json_object();
	tool_json_set(o, "p50_below_ns", tool_json_number(bins_quantile(box->bins, 0.5)));
	tool_json_set(o, "p99_below_ns", tool_json_number(bins_quantile(box->bins, 0.99)));
	tool_json_set(o, "max_below_ns", tool_json_number(bins_quantile(box->bins, 1)));
	return o;
}

static json_t *
json_box(const struct stash__look *l)
{
	const struct stash__box *box = &l->box;
	json_t *o = json_object();

	tool_json_set(o, "alive", json_boolean(l->alive));
	tool_json_set(o, "phase", json_string(phase_name(box->phase)));
	tool_json_set(o, "since_monotonic_ns", tool_json_number(box->since));
	tool_json_set(o, "message", json_message(box));
	tool_json_set(o, "handled", tool_json_number(box->handled));
	tool_json_set(o, "batches", tool_json_number(box->commits));
	tool_json_set(o, "sleeps", tool_json_number(box->waits));
	tool_json_set(o, "waited_ns", tool_json_number(box->waited_ns));
	tool_json_set(o, "callbacks", json_callbacks(box));
	tool_json_set(o, "channels", json_integer((json_int_t)l->channels));
	tool_json_set(o, "entries", tool_json_number(l->entries));
	tool_json_set(o, "unfolded_bytes", tool_json_number(l->unfolded));
	tool_json_set(o, "ack", json_string(l->ack_disk ? "disk" : "crash"));
	tool_json_set(o, "persist", json_boolean(!l->no_persist));
	tool_json_set(o, "deaths", tool_json_number(l->retired));
	tool_json_set(o, "last_reason", l->retired > 0 ? json_string(tool_reason_name(l->last_reason)) : json_null());
	tool_json_set(o, "crashes_in_a_row", json_integer((json_int_t)l->crashes));
	return o;
}

static json_t *
json_crash(const struct shown *s)
{
	json_t *o;

	if (s->crash.seq == 0)
		return json_null();
	o = json_object();
	tool_json_set(o, "seq", tool_json_number(s->crash.seq));
	tool_json_set(o, "time", tool_json_time(s->crash.time_ns));
	tool_json_set(o, "reason", json_string(tool_reason_name(s->crash.reason)));
	tool_json_set(o, "text", tool_json_string(s->crash.text));
	return o;
}

void
show_json(const struct look *look, const struct shown *s)
{
	json_t *line = look_json(look);

	tool_json_set(line, "name", tool_json_string(s->name));
	tool_json_set(line, "process", json_process(&s->process));
	tool_json_set(line, "state", s->has_state ? json_state(s) : json_null());
	tool_json_set(line, "box", s->has_slot ? json_box(&s->look) : json_null());
	tool_json_set(line, "last_crash", json_crash(s));
	tool_json_line(look->t, line);
}
