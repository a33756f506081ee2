/* SPDX-License-Identifier: ISC */
/*
 * plan.c: a child's plan as bytes and back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "stashd/plan.h"

#define WORDS_MAX 4096 /* arguments of a worker */

void
plan_table_free(struct plan_table *t)
{
	free(t->at);
	t->at = NULL;
	t->n = t->room = 0;
}

/* Its place in the table. */
static int64_t
table_add(struct plan_table *t, const struct stash_behaviour *b)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->at[i] == b)
			return (int64_t)i;
	}
	if (t->n == t->room) {
		size_t room = t->room == 0 ? 16 : 2 * t->room;
		const struct stash_behaviour **at = reallocarray(t->at, room, sizeof(*at));

		if (at == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for behaviours");
		t->at = at;
		t->room = room;
	}
	t->at[t->n] = b;
	return (int64_t)t->n++;
}

int
plan_table_named(struct plan_table *t)
{
	int64_t place = 0;

	for (size_t i = 0; place >= 0 && t->named != NULL && t->named[i] != NULL; i++)
		place = table_add(t, t->named[i]);
	return place < 0 ? (int)place : 0;
}

static const struct stash_behaviour *
find_named(const struct plan_table *t, const char *name)
{
	for (size_t i = 0; t->named != NULL && t->named[i] != NULL; i++) {
		if (t->named[i]->name != NULL && strcmp(t->named[i]->name, name) == 0)
			return t->named[i];
	}
	return NULL;
}

static int
pack_words(struct stash_buf *buf, const char *const *words)
{
	int64_t n = 0;

	while (words != NULL && words[n] != NULL)
		n++;
	if (n > WORDS_MAX)
		return stash__fail(STASH_E_SPEC, "%lld arguments are too many", (long long)n);
	stash_buf_add_int(buf, n);
	for (int64_t i = 0; i < n; i++) {
		if (stash_buf_add_text(buf, words[i]) == STASH_E_INVAL)
			return stash__fail(STASH_E_SPEC, "argument %lld isn't UTF-8", (long long)i + 1);
	}
	return 0;
}

static int
pack_behaviour(struct plan_table *t, const struct stash_child_spec *spec, struct stash_buf *buf)
{
	const struct stash_behaviour *b = spec->behaviour;
	int64_t place;

	if (b == NULL && (b = find_named(t, spec->behaviour_name)) == NULL)
		return stash__fail(
		    STASH_E_SPEC, "behaviour_name: \"%s\" is none of the options' behaviours", spec->behaviour_name);
	if (b->name == NULL)
		return stash__fail(STASH_E_SPEC, "behaviour: it has no name");
	place = table_add(t, b);
	if (place < 0)
		return (int)place;
	stash_buf_add_int(buf, PLAN_BEHAVIOUR);
	stash_buf_add_int(buf, place);
	return stash_buf_add_text(buf, b->name);
}

static int
pack_what(struct plan_table *t, const struct stash_child_spec *spec, struct stash_buf *buf)
{
	if (spec->module != NULL) {
		stash_buf_add_int(buf, PLAN_MODULE);
		return stash_buf_add_text(buf, spec->module);
	}
	if (spec->exec != NULL) {
		stash_buf_add_int(buf, PLAN_EXEC);
		return pack_words(buf, spec->exec);
	}
	return pack_behaviour(t, spec, buf);
}

int
plan_pack(void *arg, const struct stash_child_spec *spec, struct stash_buf *buf)
{
	struct plan_table *t = arg;
	uint32_t ack = spec->ack != STASH_ACK_DEFAULT ? spec->ack : t->ack;
	bool nameless = spec->name != NULL && spec->name[0] == '\0';
	int result;

	/* What needs no newer format is written in the older one: plans are compared by their bytes. */
	stash_buf_add_int(buf, spec->on_supervisor_loss != STASH_LOSS_KEEP ? PLAN_FORMAT : PLAN_FORMAT_NO_LOSS);
	result = pack_what(t, spec, buf);
	if (result == 0)
		result = pack_words(buf, spec->args);
	stash_buf_add_int(buf, spec->notify);
	stash_buf_add_int(buf, ack == STASH_ACK_DISK);
	stash_buf_add_int(buf, spec->no_persist != 0 || nameless);
	stash_buf_add_int(buf, spec->max_attempts != 0 ? spec->max_attempts : 3);
	stash_buf_add_int(buf, spec->history != 0 ? spec->history : t->history);
	stash_buf_add_int(buf, spec->handler_timeout_ms > 0 ? spec->handler_timeout_ms : 0);
	if (spec->on_supervisor_loss != STASH_LOSS_KEEP)
		stash_buf_add_int(buf, spec->on_supervisor_loss);
	return result < 0 ? result : stash_buf_data(buf, NULL, NULL);
}

/* Words as an array that ends with NULL; they point into the payload's copy. */
static char **
read_words(struct stash_view *view, int *n)
{
	int64_t count = stash__view_range(view, 0, WORDS_MAX);
	char **words = calloc((size_t)count + 1, sizeof(*words));

	for (int64_t i = 0; words != NULL && i < count; i++)
		words[i] = (char *)(uintptr_t)stash_view_text(view);
	*n = (int)count;
	return words;
}

static int
read_behaviour(struct plan *p, const struct plan_table *t, struct stash_view *view)
{
	int64_t place = stash__view_range(view, 0, INT32_MAX);
	const char *name = stash_view_text(view);

	p->behaviour = (size_t)place < t->n && strcmp(t->at[place]->name, name) == 0 ? t->at[place] :
										       find_named(t, name);
	if (p->behaviour == NULL)
		return stash__fail(STASH_E_NOENT, "this program has no behaviour \"%s\"", name);
	return 0;
}

static int
read_what(struct plan *p, const struct plan_table *t, struct stash_view *view)
{
	int n;

	p->kind = (enum plan_kind)stash__view_range(view, PLAN_BEHAVIOUR, PLAN_EXEC);
	if (view->error != 0)
		return 0;
	switch (p->kind) {
	case PLAN_MODULE:
		p->module = stash_view_text(view);
		return 0;
	case PLAN_EXEC:
		p->exec = read_words(view, &n);
		return p->exec == NULL || n == 0 ? stash__fail(STASH_E_CORRUPT, "a program without a name") : 0;
	case PLAN_BEHAVIOUR:
		break;
	}
	return read_behaviour(p, t, view);
}

int
plan_read(struct plan *p, const struct plan_table *t, const void *payload, size_t len)
{
	struct stash_view view;
	int64_t format;
	int result;

	memset(p, 0, sizeof(*p));
	p->memory = malloc(len + 1);
	if (p->memory == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a worker's plan");
	memcpy(p->memory, payload, len);
	stash_view_init(&view, p->memory, len);
	format = stash__view_range(&view, PLAN_FORMAT_FIRST, PLAN_FORMAT);
	result = read_what(p, t, &view);
	if (result == 0) {
		p->args = read_words(&view, &p->nargs);
		p->notify = (uint32_t)stash__view_range(&view, 0, STASH_NOTIFY_SD);
		p->ack_disk = stash__view_range(&view, 0, 1) != 0;
		p->no_persist = stash__view_range(&view, 0, 1) != 0;
		p->max_attempts = (uint32_t)stash__view_range(&view, 1, UINT32_MAX);
		p->history = (uint32_t)stash__view_range(&view, 0, UINT32_MAX);
		if (format > PLAN_FORMAT_FIRST)
			p->handler_timeout_ms = (int32_t)stash__view_range(&view, 0, INT32_MAX);
		if (format > PLAN_FORMAT_NO_LOSS)
			p->dies_with_supervisor = stash__view_range(&view, 0, 1) != 0;
		if (p->args == NULL || stash_view_end(&view) < 0)
			result = stash__fail(STASH_E_CORRUPT, "what a worker is to run can't be read");
	}
	if (result < 0)
		plan_free(p);
	return result;
}

void
plan_free(struct plan *p)
{
	free(p->exec);
	free(p->args);
	free(p->memory);
	free(p->more);
	memset(p, 0, sizeof(*p));
}

bool
plan_linked(const struct plan *p)
{
	return p->kind != PLAN_EXEC || p->notify == STASH_NOTIFY_STASH;
}

void
plan_describe(const struct plan *p, struct stash_child_spec *spec)
{
	spec->behaviour_name = p->kind == PLAN_BEHAVIOUR ? p->behaviour->name : NULL;
	spec->module = p->kind == PLAN_MODULE ? p->module : NULL;
	spec->exec = p->kind == PLAN_EXEC ? (const char *const *)p->exec : NULL;
	spec->args = p->nargs > 0 ? (const char *const *)p->args : NULL;
	spec->notify = p->notify;
	spec->ack = p->ack_disk ? STASH_ACK_DISK : STASH_ACK_CRASH;
	spec->no_persist = p->no_persist;
	spec->max_attempts = p->max_attempts;
	spec->handler_timeout_ms = p->handler_timeout_ms;
	spec->on_supervisor_loss = p->dies_with_supervisor ? STASH_LOSS_KILL : STASH_LOSS_KEEP;
}

/* ---- instances ---- */

int
plan_pack_instance(struct stash_buf *buf, const uint8_t token[PLAN_TOKEN], const char *const *args)
{
	int result;

	stash_buf_add(buf, token, PLAN_TOKEN);
	result = pack_words(buf, args);
	return result < 0 ? result : stash_buf_data(buf, NULL, NULL);
}

bool
plan_is_instance(const void *instance, size_t len, const uint8_t token[PLAN_TOKEN])
{
	return len >= PLAN_TOKEN && memcmp(instance, token, PLAN_TOKEN) == 0;
}

int
plan_read_instance(struct plan *p, const void *instance, size_t len)
{
	struct stash_view view;
	char **words, **all;
	int n;

	p->more = malloc(len + 1);
	if (p->more == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for arguments");
	if (len > 0)
		memcpy(p->more, instance, len);
	stash_view_init(&view, p->more, len);
	(void)stash__view_take(&view, PLAN_TOKEN);
	words = read_words(&view, &n);
	all = words == NULL ? NULL : reallocarray(p->args, (size_t)p->nargs + (size_t)n + 1, sizeof(*all));
	if (all == NULL || stash_view_end(&view) < 0) {
		p->args = all != NULL ? all : p->args;
		free(words);
		return stash__fail(STASH_E_CORRUPT, "the arguments of an instance can't be read");
	}
	memcpy(all + p->nargs, words, ((size_t)n + 1) * sizeof(*all));
	free(words);
	p->args = all;
	p->nargs += n;
	return 0;
}

/* ---- two plans ---- */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_words(char *const *a, char *const *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	while (*a != NULL && *b != NULL && strcmp(*a, *b) == 0) {
		a++;
		b++;
	}
	return *a == NULL && *b == NULL;
}

static void
name_keys(const struct plan *a, const struct plan *b, char *why, size_t size)
{
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{ "behaviour", a->behaviour == b->behaviour },
		{ "module", same_text(a->module, b->module) },
		{ "exec", same_words(a->exec, b->exec) },
		{ "args", same_words(a->args, b->args) },
		{ "notify", a->notify == b->notify },
		{ "ack", a->ack_disk == b->ack_disk },
		{ "persist", a->no_persist == b->no_persist },
		{ "max_attempts", a->max_attempts == b->max_attempts },
		{ "history", a->history == b->history },
		{ "handler_timeout", a->handler_timeout_ms == b->handler_timeout_ms },
		{ "on_supervisor_loss", a->dies_with_supervisor == b->dies_with_supervisor },
	};
	size_t len;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		len = strlen(why);
		if (!keys[i].same)
			snprintf(why + len, size - len, "%s%s", len > 0 ? ", " : "", keys[i].key);
	}
}

void
plan_differs(const struct plan_table *t, const struct sup_spec *from, const struct sup_spec *to, char *why, size_t size)
{
	struct plan a, b;

	if (from->kind != SUP_WORKER || to->kind != SUP_WORKER)
		return;
	if (plan_read(&a, t, from->payload, from->payload_len) < 0)
		return;
	if (plan_read(&b, t, to->payload, to->payload_len) == 0) {
		name_keys(&a, &b, why, size);
		plan_free(&b);
	}
	plan_free(&a);
}
