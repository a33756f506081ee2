/* SPDX-License-Identifier: ISC */
/*
 * The store that a command looks at, and whether what it sees is alive. A
 * stashd that doesn't answer is no reason not to look: slots are there.
 */
#include "stash-inspect/inspect.h"

static void
say_offline(const struct look *look)
{
	/* A state's bytes, or a field, stay alone. */
	bool alone = tool_has(look->t, 'r') || tool_has(look->t, 'F');
	FILE *out = alone ? look->t->err : look->t->out;
	char text[TOOL_TIME_MAX];

	fprintf(out, "offline, as of %s\n", tool_time_local(look->as_of_ns, text));
}

int
look_store(const struct tool *t, struct stash_store **store)
{
	int code = stash_store_open(store, t->dir, NULL), status;

	if (code == STASH_OK)
		return 0;
	status = tool_error(t, code, "%s", t->command->name);
	/* Not a name that is missing: there is nothing here at all, as where no stashd is. */
	return code == STASH_E_NOENT ? tool_exit(STASH_E_DOWN) : status;
}

int
look_open(const struct tool *t, struct look *look)
{
	int code;

	*look = (struct look){ .t = t };
	code = look_store(t, &look->store);
	if (code != 0)
		return code;
	code = stash__store_online(look->store);
	if (code < 0)
		tool_error(t, code, "%s: stashd doesn't answer, looking without it", t->command->name);
	look->online = code > 0;
	if (look->online)
		return 0;
	code = stash__store_as_of(look->store, &look->as_of_ns);
	if (code < 0) {
		look_close(look);
		return tool_error(t, code, "%s", t->command->name);
	}
	if (!t->json)
		say_offline(look);
	return 0;
}

void
look_close(struct look *look)
{
	stash_store_close(look->store);
	look->store = NULL;
}

void
look_mark(const struct look *look, json_t *object)
{
	tool_json_set(object, "online", json_boolean(look->online));
	if (!look->online)
		tool_json_set(object, "as_of", tool_json_time(look->as_of_ns));
}

json_t *
look_json(const struct look *look)
{
	json_t *object = tool_json();

	look_mark(look, object);
	return object;
}
