/* SPDX-License-Identifier: ISC */
/*
 * From what is written on the command line to a running stashd and the name of
 * a worker in it: a name is taken as it is, a child's path is looked up in its
 * supervisor.
 */
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/name.h"
#include "common/tool.h"

int
tool_connect(const struct tool *t, struct stash_client **client)
{
	int code = stash_client_open(client, t->dir, NULL);

	return code < 0 ? tool_error(t, code, "%s", t->command->name) : 0;
}

struct wanted {
	const char *id;
	char *name;
	bool found;
};

static int
look(void *arg, const struct stash_process *process)
{
	struct wanted *w = arg;

	if (strcmp(process->id, w->id) == 0 && !process->is_supervisor) {
		strlcpy(w->name, process->name, STASH_NAME_MAX + 1);
		w->found = true;
	}
	return 0;
}

int
tool_target(struct stash_client *client, const char *operand, char name[STASH_NAME_MAX + 1], int timeout_ms)
{
	const char *slash = strrchr(operand, '/');
	struct wanted w = { .name = name };
	char supervisor[STASH_PATH_MAX + 1];
	int result;

	if (slash == NULL) {
		result = stash__check_name(operand);
		if (result == STASH_OK)
			strlcpy(name, operand, STASH_NAME_MAX + 1);
		return result;
	}
	result = stash__check_path(operand);
	if (result < 0)
		return result;
	w.id = slash + 1;
	strlcpy(supervisor, operand, (size_t)(slash - operand) + 1);
	result = stash_which_children(client, supervisor, look, &w, timeout_ms);
	if (result == STASH_OK && !w.found)
		result = stash__fail(STASH_E_NOENT,
		    "supervisor %s has no worker \"%s\"; which-children %s lists what it has", supervisor, w.id,
		    supervisor);
	if (result == STASH_OK && *name == '\0')
		result = stash__fail(STASH_E_NOENT, "%s has no name, so it can't be called", operand);
	return result;
}
