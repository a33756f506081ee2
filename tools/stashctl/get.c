/* SPDX-License-Identifier: ISC */
/*
 * stashctl get: a last state as it is, byte by byte. It only reads, so it works
 * without a stashd too.
 */
#include <string.h>

#include <bsd/string.h>
#include <stash/store.h>

#include "stashctl/ctl.h"

/* A path is what the supervisor knows; a name is one by itself. */
static int
find(struct tool *t, const char *operand, char name[STASH_NAME_MAX + 1])
{
	struct stash_client *client;
	int status, code;

	if (strchr(operand, '/') == NULL) {
		if (strlcpy(name, operand, STASH_NAME_MAX + 1) > STASH_NAME_MAX)
			return tool_fail(
			    t, tool_exit(STASH_E_NOENT), "get: a name has at most %d bytes", STASH_NAME_MAX);
		return 0;
	}
	status = tool_connect(t, &client);
	if (status != 0)
		return status;
	code = tool_target(client, operand, name, tool_timeout(t, STASH_TIMEOUT));
	if (code < 0)
		status = tool_error(t, code, "get %s", operand);
	stash_client_close(client);
	return status;
}

static int
show(struct tool *t, struct stash_store *store, const char *name)
{
	struct stash_state state;
	int code = stash_store_read(store, name, &state), status = 0;

	if (code < 0)
		status = tool_error(t, code, "get %s", name);
	else if (state.version == 0)
		status = tool_fail(t, tool_exit(STASH_E_NOENT), "get %s: it has no state yet", name);
	else if (state.len > 0)
		tool_put(t->out, state.data, state.len);
	stash_state_free(&state);
	return status;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_store *store;
	char name[STASH_NAME_MAX + 1];
	int status = find(t, argv[1], name), code;

	(void)argc;
	if (status != 0)
		return status;
	code = stash_store_open(&store, t->dir, NULL);
	if (code < 0) {
		status = tool_error(t, code, "get %s", name);
		/* No store at all is no state that isn't there yet. */
		return code == STASH_E_NOENT ? tool_exit(STASH_E_DOWN) : status;
	}
	status = show(t, store, name);
	stash_store_close(store);
	return status;
}

const struct tool_command ctl_get = {
	.name = "get",
	.usage = "NAME",
	.help = "print a last state as it is, with or without a stashd",
	.min = 1,
	.max = 1,
	.run = run,
};
