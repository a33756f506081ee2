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

	/* A worker may be reported as a supervisor; but no supervisor has a name. */
	if (strcmp(process->id, w->id) == 0 && (process->is_supervisor == 0 || *process->name != '\0')) {
		strlcpy(w->name, process->name, STASH_NAME_MAX + 1);
		w->found = true;
	}
	return 0;
}

/* A worker by its supervisor and its id. */
static int
target_of(struct stash_client *client, const struct tool_child *child, char name[STASH_NAME_MAX + 1], int timeout_ms)
{
	struct wanted w = { .id = child->id, .name = name };
	int result = stash_which_children(client, child->supervisor, look, &w, timeout_ms);

	if (result == STASH_OK && !w.found)
		result = stash__fail(STASH_E_NOENT,
		    "supervisor %s has no worker \"%s\"; which-children %s lists what it has", child->supervisor,
		    child->id, child->supervisor);
	if (result == STASH_OK && *name == '\0')
		result = stash__fail(
		    STASH_E_NOENT, "%s/%s has no name, so it can't be called", child->supervisor, child->id);
	return result;
}

/* "root/web/w" in two. */
static int
split(const char *path, struct tool_child *child)
{
	const char *slash = strrchr(path, '/');
	int result = stash__check_path(path);

	if (result < 0)
		return result;
	if (slash == NULL)
		return stash__fail(STASH_E_INVAL, "%s is the path of no child: that is like root/web", path);
	strlcpy(child->supervisor, path, (size_t)(slash - path) + 1);
	if (strlcpy(child->id, slash + 1, sizeof child->id) >= sizeof child->id)
		return stash__fail(STASH_E_TOOBIG, "%s: an id has at most %d bytes", path, STASH_NAME_MAX);
	return STASH_OK;
}

static int
take_pair(const char *supervisor, const char *id, struct tool_child *child)
{
	int result = stash__check_path(supervisor);

	if (result == STASH_OK)
		result = stash__check_name(id);
	if (result == STASH_OK) {
		strlcpy(child->supervisor, supervisor, sizeof child->supervisor);
		strlcpy(child->id, id, sizeof child->id);
	}
	return result;
}

int
tool_child(struct stash_client *client, int argc, char **argv, struct tool_child *child)
{
	struct stash_process process;
	int result;

	if (argc > 1)
		return take_pair(argv[0], argv[1], child);
	if (strchr(argv[0], '/') != NULL)
		return split(argv[0], child);
	result = stash_whereis(client, argv[0], &process);
	return result < 0 ? result : split(process.child, child);
}

int
tool_target_words(struct stash_client *client, int argc, char **argv, char name[STASH_NAME_MAX + 1], int timeout_ms)
{
	struct tool_child child;
	int result;

	if (argc < 2)
		return tool_target(client, argv[0], name, timeout_ms);
	result = take_pair(argv[0], argv[1], &child);
	return result < 0 ? result : target_of(client, &child, name, timeout_ms);
}

int
tool_target(struct stash_client *client, const char *operand, char name[STASH_NAME_MAX + 1], int timeout_ms)
{
	struct tool_child child;
	int result;

	if (strchr(operand, '/') == NULL) {
		result = stash__check_name(operand);
		if (result == STASH_OK)
			strlcpy(name, operand, STASH_NAME_MAX + 1);
		return result;
	}
	result = split(operand, &child);
	return result < 0 ? result : target_of(client, &child, name, timeout_ms);
}
