/* SPDX-License-Identifier: ISC */
/*
 * names.c: the registry as clients see it: names by prefix, values, groups.
 * An answer in several messages begins anew when a supervisor dies in its midst: it comes in order, so that what was
 * had already is known by its name.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "client/client.h"
#include "shm/record.h"
#include "shm/wire.h"

static int
garbled(void)
{
	return stash__fail(STASH_E_PROTO, "the supervisor's answer can't be understood");
}

/* What every answer begins with. */
static int
read_error(struct stash_view *v)
{
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v);

	return error < 0 ? stash__fail(error, "%s", text) : STASH_OK;
}

static int
ask(struct stash_client *c, int type, const char *text, int (*fn)(void *, int, struct stash_view *, int *, int),
    void *arg)
{
	struct stash_buf items;
	int result;

	stash__buf_init(&items, STASH__WIRE_MAX);
	(void)stash_buf_add_text(&items, text);
	result = stash__client_request(c, type, &items, (int)(c->wait_ns / STASH__NS_PER_MS), fn, arg);
	stash__buf_fini(&items);
	return result;
}

/* ---- lists ---- */

struct each {
	stash_process_fn *fn;
	void *arg;
	int result; /* the function's, when it wanted no more */
	char last[STASH_NAME_MAX + 1];
};

static int
on_processes(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct stash_process process;
	struct each *each = arg;
	int result = read_error(v);
	int64_t more, count;

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_PROCESSES)
		return result < 0 ? result : garbled();
	more = stash_view_int(v);
	for (count = stash_view_int(v); count > 0; count--) {
		if (stash__view_process(v, &process) < 0)
			return garbled();
		if (each->result != 0 || strcmp(process.name, each->last) <= 0)
			continue;
		strlcpy(each->last, process.name, sizeof each->last);
		each->result = each->fn(each->arg, &process);
	}
	return more != 0;
}

int
stash_registry_list(struct stash_client *c, const char *prefix, stash_process_fn *fn, void *arg)
{
	struct each each = { fn, arg, 0, "" };
	int result = stash__client_check(c, "stash_registry_list");

	if (result == STASH_OK && fn == NULL)
		result = stash__fail(STASH_E_INVAL, "stash_registry_list() without a function");
	if (result == STASH_OK && prefix != NULL && *prefix != '\0')
		result = stash__check_name(prefix);
	if (result == STASH_OK)
		result = ask(c, STASH__B_NAMES, prefix != NULL ? prefix : "", on_processes, &each);
	return result < 0 ? result : each.result;
}

static int
list_group(struct stash_client *c, const char *function, const char *group, struct each *each)
{
	int result = stash__client_check(c, function);

	if (result == STASH_OK)
		result = group == NULL ? stash__fail(STASH_E_INVAL, "%s() without a group", function) :
					 stash__check_name(group);
	return result < 0 ? result : ask(c, STASH__B_GROUP, group, on_processes, each);
}

int
stash_group_list(struct stash_client *c, const char *group, stash_process_fn *fn, void *arg)
{
	struct each each = { fn, arg, 0, "" };
	int result = fn == NULL ? stash__fail(STASH_E_INVAL, "stash_group_list() without a function") :
				  list_group(c, "stash_group_list", group, &each);

	return result < 0 ? result : each.result;
}

/* ---- a value ---- */

static int
on_value(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct stash_reply *reply = arg;
	int result = read_error(v);
	const void *data;
	size_t len;

	(void)fds;
	(void)nfds;
	if (result < 0)
		return result;
	data = stash_view_bytes(v, &len);
	if (type != STASH__B_VALUE_OF || stash_view_end(v) < 0)
		return garbled();
	reply->data = aligned_alloc(16, (len + 1 + 15) & ~(size_t)15);
	if (reply->data == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a value of %zu bytes", len);
	memcpy(reply->data, data, len);
	((char *)reply->data)[len] = '\0';
	reply->len = len;
	return STASH_OK;
}

int
stash_registry_get(struct stash_client *c, const char *name, struct stash_reply *reply)
{
	struct stash_reply mine;
	int result = stash__client_check(c, "stash_registry_get");

	if (reply == NULL)
		reply = &mine;
	memset(reply, 0, sizeof *reply);
	if (result == STASH_OK)
		result = name == NULL ? stash__fail(STASH_E_INVAL, "stash_registry_get() without a name") :
					stash__check_name(name);
	if (result == STASH_OK)
		result = ask(c, STASH__B_VALUE, name, on_value, reply);
	reply->error = result;
	if (reply == &mine)
		stash_reply_free(reply);
	return result;
}

/* ---- to all members ---- */

struct members {
	char (*names)[STASH_NAME_MAX + 1];
	size_t count, room;
};

static int
add_member(void *arg, const struct stash_process *process)
{
	struct members *m = arg;

	if (m->count == m->room) {
		size_t room = m->room * 2 + 16;
		void *names = reallocarray(m->names, room, sizeof *m->names);
		if (names == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for %zu members", room);
		m->names = names;
		m->room = room;
	}
	strlcpy(m->names[m->count++], process->name, sizeof *m->names);
	return 0;
}

/* A message that no member can take is the caller's mistake; a member that is down, or gone, is none. */
static int
cast_to_all(struct stash_client *c, const struct members *m, const char *tag, const void *data, size_t len)
{
	struct route *route;
	int reached = 0, result;

	/* All ways are asked for at once, so that those that restart are waited for together. */
	for (size_t i = 0; i < m->count; i++)
		(void)stash__route_get(c, m->names[i], &route);
	for (size_t i = 0; i < m->count; i++) {
		result = stash_cast(c, m->names[i], tag, data, len);
		if (result == STASH_E_INVAL || result == STASH_E_TOOBIG || result == STASH_E_FULL ||
		    result == STASH_E_NOMEM)
			return result;
		reached += result == STASH_OK;
	}
	return reached;
}

int
stash_group_cast(struct stash_client *c, const char *group, const char *tag, const void *data, size_t len)
{
	struct members m = { NULL, 0, 0 };
	struct each each = { add_member, &m, 0, "" };
	int result = tag == NULL || (data == NULL && len > 0) ?
	    stash__fail(STASH_E_INVAL, "stash_group_cast() without a tag, or its data") :
	    stash__check_tag(tag);

	if (result == STASH_OK)
		result = list_group(c, "stash_group_cast", group, &each);
	if (result == STASH_OK)
		result = each.result;
	if (result == STASH_OK)
		result = cast_to_all(c, &m, tag, data, len);
	free(m.names);
	return result;
}
