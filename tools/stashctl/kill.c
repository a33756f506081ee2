/* SPDX-License-Identifier: ISC */
/*
 * stashctl kill: a signal to a worker, by its supervisor, which knows by a pidfd
 * that it is the right process. What follows is the supervisor's business.
 */
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "shm/wire.h"
#include "stashctl/ctl.h"

/* "9", "KILL", "SIGKILL"; 0: none of these. */
static int
signal_number(const char *text)
{
	const char *name;
	int64_t number;

	if (stash_parse_int(text, 1, SIGRTMAX, &number) == STASH_OK)
		return (int)number;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i < SIGRTMIN; i++) {
		name = sigabbrev_np(i);
		if (name != NULL && strcasecmp(name, text) == 0)
			return i;
	}
	return 0;
}

static int
ask(struct stash_client *client, int argc, char **argv, int number, int timeout_ms)
{
	char name[STASH_NAME_MAX + 1];
	struct stash_buf items;
	int code = tool_target_words(client, argc, argv, name, timeout_ms);

	if (code < 0)
		return code;
	stash__buf_init(&items, STASH__WIRE_MAX);
	stash_buf_add_text(&items, name);
	code = stash_buf_add_int(&items, number);
	if (code == STASH_OK)
		code = ctl_request(client, STASH__B_KILL, &items, timeout_ms, NULL, NULL);
	stash__buf_fini(&items);
	return code;
}

/* The path of a supervisor: the top one, or one with a slash in it. */
static bool
is_supervisor(const char *word)
{
	return strcmp(word, "root") == 0 || strchr(word, '/') != NULL;
}

/* A last word that is a signal is one; else it may be an id. */
static int
run(struct tool *t, int argc, char **argv)
{
	int number = argc > 2 ? signal_number(argv[argc - 1]) : SIGKILL, words = argc - 1, status, code;
	struct stash_client *client;

	if (argc > 2 && number != 0)
		words--;
	if (number == 0 && (argc > 3 || !is_supervisor(argv[1])))
		return tool_usage(
		    t, "kill: \"%s\" is no signal: give its name or number, as KILL or 9", argv[argc - 1]);
	if (number == 0)
		number = SIGKILL;
	status = tool_connect(t, &client);
	if (status != 0)
		return status;
	code = ask(client, words, argv + 1, number, tool_timeout(t, STASH_TIMEOUT));
	if (code < 0)
		status = tool_error(t, code, "%s %s", argv[0], argv[1]);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_kill = {
	.name = "kill",
	.usage = "{NAME | SUPERVISOR ID} [SIGNAL]",
	.help = "send a worker a signal, KILL by default",
	.min = 1,
	.max = 3,
	.run = run,
};
