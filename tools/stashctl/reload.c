/* SPDX-License-Identifier: ISC */
/*
 * stashctl reload: has stashd read its config file again and apply what has
 * changed; with --dry-run it only tells what would be done.
 */
#include <string.h>

#include "client/client.h"
#include "stashctl/ctl.h"

static void
show(void *arg, const char *what, const char *path, const char *why)
{
	const struct tool *t = arg;
	json_t *o;

	if (!t->json) {
		fprintf(t->out, "%s %s%s%s\n", what, path, *why != '\0' ? ": " : "", why);
		return;
	}
	o = tool_json();
	tool_json_set(o, "step", tool_json_string(what));
	tool_json_set(o, "path", tool_json_string(path));
	tool_json_set(o, "why", tool_json_string(why));
	tool_json_line(t, o);
}

/* The mistakes in a config are told a line each. */
static int
tell(const struct tool *t, int code)
{
	const char *text = stash_errmsg();
	int status = tool_exit(code);
	size_t len;

	for (; *text != '\0'; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		(void)tool_fail(t, status, "%s%.*s", code == STASH_E_SPEC ? "" : "reload: ", (int)len, text);
	}
	if (code == STASH_E_SPEC)
		(void)tool_fail(t, status, "reload: nothing was changed");
	return status;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_client *client;
	int status = tool_connect(t, &client), code;

	(void)argc;
	(void)argv;
	if (status != 0)
		return status;
	code = stash__reload(client, tool_has(t, 'n'), show, t, tool_timeout(t, CTL_LONG_MS));
	if (code < 0)
		status = tell(t, code);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_reload = {
	.name = "reload",
	.usage = "",
	.help = "apply a changed config: what differs is stopped, started, added",
	.options = "jn",
	.run = run,
};
