/* SPDX-License-Identifier: ISC */
/*
 * stashctl start-child: OTP's request. The specification is one child of the
 * config file, with relative paths from here: what is sent has absolute ones.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "stashctl/ctl.h"
#include "stashd/config.h"

static int
start(const struct tool *t, const char *supervisor, const struct stash_child_spec *spec)
{
	struct stash_process process;
	struct stash_client *client;
	int status = tool_connect(t, &client), code;

	if (status != 0)
		return status;
	code = stash_start_child(client, supervisor, spec, &process, tool_timeout(t, CTL_LONG_MS));
	if (code < 0)
		status = tool_error(t, code, "%s %s", t->command->name, supervisor);
	else
		ctl_started(t, code, &process);
	stash_client_close(client);
	return status;
}

/* Everything that is wrong with it, a line for each; nothing is asked then. */
static int
tell_mistakes(const struct tool *t, const char *supervisor, const struct conf *conf)
{
	(void)conf_print_mistakes(conf, t->err);
	return tool_fail(
	    t, tool_exit(STASH_E_SPEC), "%s %s: the specification is wrong: see above", t->command->name, supervisor);
}

static int
run(struct tool *t, int argc, char **argv)
{
	bool input = strcmp(argv[2], "-") == 0;
	struct conf *conf = NULL;
	struct ctl_data data;
	int status, code = stash__check_path(argv[1]);

	if (code < 0)
		return tool_error(t, code, "%s", argv[0]);
	status = ctl_data(t, argc - 2, argv + 2, STASH_DATA_MAX, &data);
	if (status == 0) {
		data.bytes[data.len] = '\0';
		code = memchr(data.bytes, '\0', data.len) != NULL ?
		    stash__fail(STASH_E_SPEC, "a specification has no NUL in it") :
		    conf_parse_child(&conf, data.bytes, argv[1], input ? "standard input" : "specification", ".");
		if (conf != NULL && code < 0)
			status = tell_mistakes(t, argv[1], conf);
		else if (code < 0)
			status = tool_error(t, code, "%s %s", argv[0], argv[1]);
		else
			status = start(t, argv[1], conf_child(conf));
	}
	conf_free(conf);
	free(data.bytes);
	return status;
}

const struct tool_command ctl_start_child = {
	.name = "start-child",
	.usage = "SUPERVISOR SPEC",
	.help = "add a child, SPEC as in the config file: { id = ...; }; - is standard input",
	.min = 2,
	.max = -1,
	.options = "j",
	.run = run,
};
